"""Route what does not go the way of most: by other networks, in dialogs, from services.

The way of most is :class:`omaim.sip.routing.Routing`, which asks for :class:`Router` where it
ends. Each step either answers, or hands the :class:`~omaim.sip.job.Job` to the next.

Spec: RFC 3261 §16; 3GPP TS 24.229 §5.4.3 (request routing)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from omaim.core.config import wildcards
from omaim.core.dialogs import Dialogs
from omaim.core.forwarding import Forwarder
from omaim.core.services import Services, loose
from omaim.errors import PeerError
from omaim.net.endpoint import Endpoint
from omaim.node.hooks import Hooks, Refuse
from omaim.node.questions import WhereTo
from omaim.sip.delivering import Delivery
from omaim.sip.flow import Flow
from omaim.sip.gruu import Gruus
from omaim.sip.icid import Charging
from omaim.sip.identity import (
    asserted_identities,
    leave_trust_domain,
    served_user,
    strip_untrusted,
)
from omaim.sip.job import Job
from omaim.sip.message import Request
from omaim.sip.neighbours import Neighbours
from omaim.sip.proxying import OwnAddresses, forwarded_copy, postprocess, visited_here
from omaim.sip.proxying import validate as check_hop
from omaim.sip.routing import UNDERSTOOD, Routing, Ways
from omaim.sip.senders import Senders
from omaim.sip.subscribed import Served, Subscribers
from omaim.sip.transaction import ServerTransaction
from omaim.sip.uri import OtherUri, SipUri, TelUri, canonical_aor, parse_uri

_log = Logger()


class Router:
    """The proxy of one domain.

    Args:
        endpoint: messages come by it.
        own: how to tell our own URIs.
        serves: tells whether a host is this domain.
        senders: finds out who sends.
        withhold: takes off a request of a user's, inside a dialog, what proves it to us.
        strangers: whether requests from unknown networks reach our users.
        psis: the server of each public service identity, wildcarded ones among them.
        local: serves a SUBSCRIBE for a user by the core itself; true when it did.
        secure: trusted networks are reached over TLS only.
        most: requests that may wait for an answer at a time; 503 above.

    Attributes:
        routing: the way of most requests.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        subscribers: Subscribers,
        senders: Senders,
        withhold: Callable[[Request], None],
        neighbours: Neighbours,
        hooks: Hooks,
        charging: Charging,
        dialogs: Dialogs,
        forwarder: Forwarder,
        services: Services,
        delivery: Delivery,
        gruus: Gruus,
        own: OwnAddresses,
        serves: Callable[[str], bool],
        domain: str,
        strangers: bool,
        psis: Mapping[str, str],
        local: Callable[[Job, Served], bool],
        secure: bool,
        most: int,
    ) -> None:
        self._endpoint = endpoint
        self._subscribers = subscribers
        self._withhold = withhold
        self._neighbours = neighbours
        self._hooks = hooks
        self._charging = charging
        self._dialogs = dialogs
        self._forwarder = forwarder
        self._services = services
        self._delivery = delivery
        self._own = own
        self._serves = serves
        self._domain = domain
        self._strangers = strangers
        self._psis = psis
        self._wildcards = wildcards(psis)
        self._local = local
        self._secure = secure
        ways = Ways(
            forwarder.refuse,
            self._unauthorised,
            forwarder.challenge,
            self._returns,
            self._resume,
            self._inside,
            self._from_service,
            self._from_peer,
            self._from_stranger,
            services.originate,
            services.terminate,
            self.towards,
        )
        self.routing = services.routing = Routing(
            ways,
            own,
            serves,
            neighbours,
            senders,
            subscribers,
            gruus,
            charging,
            forwarder.upstream,
            delivery,
            services.reachable,
            bool(psis),
            most,
        )

    # The way in

    def acknowledge(self, request: Request, flow: Flow) -> None:
        """Forward the ACK of a 2xx, without state, and with what its next hop may know.

        Spec: RFC 3261 §16.11; RFC 3325 §5
        """
        try:
            check_hop(request, self._own, UNDERSTOOD)
            visited = visited_here(request, self._own, flow.transport, flow.local_port)
            neighbour = self._neighbours.of(flow)
            way = self._dialogs.way(request, visited, flow, neighbour)
            if neighbour is None:
                strip_untrusted(request)
                self._withhold(request)
            uri: str = request.uri
            path = self._path_to_service(request) if way is None else None
            hop = ""
            callee = None if way is not None else self._device(request)
            if callee is not None:
                bindings = self._services.reachable(callee.primary)
                uri, path, way, hop = self._delivery.place(request, bindings)
            copy = forwarded_copy(request, uri, routes=path)
            next_hop = postprocess(copy)
            if callee is not None or not self._forwarder.trusts(next_hop, way):
                leave_trust_domain(copy)
            if hop and not path:
                copy.next_hop = hop
            self._endpoint.send_ack(copy, flow=way)
        except PeerError as error:
            self._endpoint.count("ack_refused")
            _log.debug("an ACK goes nowhere: {why}", why=error.why)

    def cancel(self, transaction: ServerTransaction, cancel: Request) -> None:
        """The caller gave up its INVITE (RFC 3261 §16.10)."""
        job: Any = transaction.context
        if job is None:
            self._endpoint.reply(transaction, 487)
        else:
            self._forwarder.cancel(job)

    # Who is it

    def _returns(self, job: Job) -> bool:
        """Take back what a service passed on as we wrote it; false leaves it to be looked at.

        Each such Route is new, and reading it as a URI would be the most of the work.
        """
        request = job.request
        route = request.first("Route")
        place = self._services.place
        if route is None or not route.startswith(place) or ";" in request.uri:
            return False
        token = route[len(place) :].partition(">")[0]
        request.remove_first("Route")
        self._services.resume(job, token)
        return True

    def _resume(self, job: Job, visited: list[str]) -> None:
        """Serve a request whose Route named us: back from a service, in a dialog, or new."""
        uri = parse_uri(visited[-1])
        params = uri.params if isinstance(uri, SipUri) else None
        token = params.get("odi") if params is not None else None
        if token:
            self._services.resume(job, token)
        elif job.request.to.tag:
            self._inside(job, visited)
        else:
            self.routing.begin(job, params is not None and params.has("orig"))

    def _inside(self, job: Job, visited: list[str]) -> None:
        """Serve a request inside a dialog: it goes where the dialog goes."""
        request = job.request
        flow = self._dialogs.way(request, visited, job.transaction.flow, job.neighbour)
        job.vector = self._charging.recall(request)
        if job.neighbour is None:
            self._withhold(request)
        callee = None if flow is not None else self._device(request)
        if callee is not None:
            self.routing.reach(job, callee)
        else:
            path = self._path_to_service(request) if flow is None else None
            self._forwarder.forward(job, request.uri, path, flow)

    def _device(self, request: Request) -> Served | None:
        """Return our user whose device a request inside a dialog is for, named by a GRUU.

        Raises:
            PeerError: the Request-URI is of this domain, and nobody's and no service's (404).

        Spec: RFC 5627 §6.1
        """
        if request.has("Route"):
            return None
        uri = request.request_uri
        if not isinstance(uri, SipUri) or not self._own.owns(uri):
            return None
        callee = self.routing.callee(request)
        if callee is None and self._server_of(request) is None:
            raise PeerError("nobody has this address here", 404)
        return callee

    def _from_stranger(self, job: Job) -> None:
        """Serve a request from outside the trust domain whose sender is no user of ours."""
        if not self._strangers or not self._ours(job.request):
            raise PeerError("this network is not known here", 403)
        job.vector = self._charging.begin(job.request, False)
        self.routing.towards(job)

    def _unauthorised(self, job: Job) -> None:
        warning = f'399 {self._domain} "127 Service not authorised"'
        self._forwarder.answer(job, 403, ("Warning", warning))

    def _from_service(self, job: Job, name: str, originating: bool) -> None:
        """Serve a request that an application server made by itself.

        Spec: 3GPP TS 24.229 §5.7.3 (an application server as originating user agent)
        """
        job.skip = name
        job.vector = self._charging.begin(job.request, True)
        if not originating:
            self.routing.towards(job)
            return
        told = served_user(job.request)
        asserted = asserted_identities(job.request)
        aor = canonical_aor(told.uri) if told is not None else asserted[0] if asserted else ""
        served = self._subscribers.of(aor)
        if served is None:
            raise PeerError("nobody here is served by that", 404)
        self._services.originate(job, served)

    def _from_peer(self, job: Job) -> None:
        """Serve a request from another network: for our users only, we are no transit."""
        if not self._ours(job.request):
            raise PeerError("this network carries no transit traffic", 403)
        job.vector = self._charging.begin(job.request, False)
        self.routing.towards(job)

    def _ours(self, request: Request) -> bool:
        uri = request.request_uri
        if isinstance(uri, TelUri):
            return self.routing.callee(request) is not None
        return self._serves(_host_of(uri))

    # Where to

    def towards(self, job: Job) -> None:
        """Send the request to the domain of its Request-URI: ours, or another."""
        request = job.request
        uri = request.request_uri
        if isinstance(uri, OtherUri):
            # An instant inbox or a presentity, which both are SIP users here (RFC 3861 §3.3).
            request.uri = "sip:" + request.uri.partition(":")[2]
            uri = request.request_uri
        server = self._psis.get(canonical_aor(request.uri)) if self._psis else None
        if server is not None:
            self._services.to_psi(job, server)
            return
        served = self.routing.callee(request)
        if served is not None:
            if request.method == "SUBSCRIBE" and self._local(job, served):
                self._forwarder.done(job)
            else:
                self._services.terminate(job, served)
            return
        server = self._server_of(request)
        if server is not None:
            self._services.to_psi(job, server)
        elif isinstance(uri, SipUri) and self._serves(uri.host):
            raise PeerError("nobody has this address here", 404)
        elif isinstance(uri, TelUri):
            raise PeerError("this number leads nowhere: no ENUM is configured", 404)
        else:
            self._outward(job)

    def _server_of(self, request: Request) -> str | None:
        """Return the server of the service that the Request-URI means and no user has.

        Spec: 3GPP TS 23.228 §5.4.12; TS 23.003 §13.5
        """
        if not self._psis:
            return None
        aor = canonical_aor(request.uri)
        server = self._psis.get(aor)
        if server is not None:
            return server
        for start, end, server in self._wildcards:
            if aor.startswith(start) and aor.endswith(end):
                return server
        return None

    def _path_to_service(self, request: Request) -> list[str] | None:
        """Return the Route of a request inside a dialog whose target is a service's address.

        A conference says its own URI in Contact, not where it is served.

        Spec: RFC 4579 §5.4
        """
        server = None if request.has("Route") else self._server_of(request)
        return [loose(server)] if server is not None else None

    def _outward(self, job: Job) -> None:
        """Send the request to another network over IP-1.

        Spec: RFC 3325 §5; 3GPP TS 24.229 §5.4.3.2 (Mw)
        """
        if self._hooks.wanted(WhereTo):
            Deferred.fromCoroutine(self._ask_way(job)).addErrback(
                lambda failure: self._forwarder.crashed(job, failure)
            )
        else:
            self._forwarder.forward(job, job.request.uri, self._way_to(job.request))

    def _way_to(self, request: Request) -> list[str] | None:
        """Return the Route to another network, ``None`` where DNS decides."""
        uri = request.request_uri
        if self._secure and isinstance(uri, SipUri) and uri.host in self._neighbours.domains:
            return [f"sip:{uri.host};transport=tls;lr"]
        return None

    async def _ask_way(self, job: Job) -> None:
        question = WhereTo(
            domain=self._domain,
            method=job.request.method,
            request_uri=job.request.uri,
            served=job.served.aor if job.served else "",
        )
        opinion = await self._hooks.ask(question)
        if isinstance(opinion, Refuse):
            raise PeerError(opinion.reason, opinion.status)
        routes = [opinion] if isinstance(opinion, str) else self._way_to(job.request)
        self._forwarder.forward(job, job.request.uri, routes)


def _host_of(uri: Any) -> str:
    if isinstance(uri, SipUri):
        return uri.host
    return str(uri).rpartition("@")[2].partition("?")[0].partition(";")[0].lower()
