"""The services of a user: which application servers see a request, one after the other.

Spec: 3GPP TS 24.229 §5.4.3.2, §5.4.3.3, §5.4.3.4; TS 29.228 Annex B.2.2
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from omaim.core.chain import Chain, Place
from omaim.core.forwarding import Forwarder
from omaim.core.registrar import Registrar
from omaim.core.service_profile import (
    CONTINUE,
    NO_REGISTRATION,
    ORIGINATING,
    ORIGINATING_DIVERTED,
    ORIGINATING_UNREGISTERED,
    TERMINATING,
    TERMINATING_UNREGISTERED,
    Criteria,
)
from omaim.core.subscribers import profile_of
from omaim.core.visits import Visit, Visits
from omaim.errors import PeerError, Unavailable
from omaim.ids import Ids
from omaim.net.endpoint import Endpoint
from omaim.sip.answer_mode import HEADERS as ANSWER_MODES
from omaim.sip.bindings import Binding
from omaim.sip.charging import ChargingVector
from omaim.sip.exchange import Exchange
from omaim.sip.icid import Charging
from omaim.sip.identity import SERVED, ServedUser
from omaim.sip.job import Job
from omaim.sip.message import Request, Response
from omaim.sip.neighbours import SERVICE
from omaim.sip.proxying import forwarded_copy, postprocess
from omaim.sip.relaying import DIALOGS
from omaim.sip.routing import Routing
from omaim.sip.subscribed import Served, Subscribers
from omaim.sip.uri import SipUri, parse_uri

FOR_SENDER: Final = frozenset({ORIGINATING, ORIGINATING_UNREGISTERED, ORIGINATING_DIVERTED})
UNREGISTERED: Final = frozenset({ORIGINATING_UNREGISTERED, TERMINATING_UNREGISTERED})
REMEMBERED: Final = 10_000  # servers' visits that were given up; they may still come back

_log = Logger()


class Services:
    """Takes requests through the service profiles of sender and callee.

    Args:
        subscribers: the users, with their service profiles.
        chain: seals places in a service chain.
        own_uri: of the core.
        now: seconds since the epoch.
        patience: seconds in which an application server has to show a sign of life, and
            those in which it then has to act: pass the request on, or answer more than 100.
        ims: whether servers are told what IMS tells them.

    Attributes:
        routing: where a request goes when the services of its sender, or callee, are done.
        place: how a Route value begins that leads back into a service chain.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        forwarder: Forwarder,
        registrar: Registrar,
        subscribers: Subscribers,
        chain: Chain,
        charging: Charging,
        now: Callable[[], float],
        ids: Ids,
        own_uri: str,
        domain: str,
        patience: tuple[float, float],
        ims: bool,
    ) -> None:
        self.routing: Routing
        self._endpoint = endpoint
        self._forwarder = forwarder
        self._registrar = registrar
        self._subscribers = subscribers
        self._chain = chain
        self._charging = charging
        self._now = now
        self._ids = ids
        self._domain = domain
        self._ims = ims
        self._given_up: dict[str, None] = {}
        self.place = f"<{own_uri};lr;odi="
        self._visits = Visits(endpoint.driver, patience, self._expired)

    def originate(self, job: Job, served: Served, diverted: bool = False) -> None:
        """Serve the sender.

        Args:
            diverted: the callee of the request sends it elsewhere.
        """
        job.served = served
        if served.plain:
            self.routing.towards(job)
            return
        if diverted:
            case = ORIGINATING_DIVERTED
        elif self.reachable(served.primary):
            case = ORIGINATING
        else:
            case = ORIGINATING_UNREGISTERED
        if self._serve(job, served, case, -1):
            self.routing.towards(job)

    def _go_on(self, job: Job, served: Served, case: int, after: int) -> None:
        """Serve the sender from some place in its profile on."""
        job.served = served
        if self._serve(job, served, case, after):
            self.routing.towards(job)

    def terminate(self, job: Job, served: Served, after: int = -1) -> None:
        """Serve the callee, then deliver."""
        job.terminating = True
        bindings = self.reachable(served.primary)
        case = TERMINATING if bindings else TERMINATING_UNREGISTERED
        if self._serve(job, served, case, after):
            if after < 0 and not job.skip:
                _leave_undecided(job.request)
            self.routing.deliver(job, bindings)

    def reachable(self, primary: str) -> list[Binding]:
        """Return where a primary identity is registered now."""
        return self._registrar.reachable(primary, self._now())

    def resume(self, job: Job, token: str) -> None:
        """Go on where the service chain was left.

        Raises:
            PeerError: the sender may not, or the place is not one of ours (403); it was decided
                without that server, which took too long (487); the user is no more (404).
        """
        if job.neighbour is None or job.neighbour.kind != SERVICE:
            raise PeerError("only application servers continue a service chain", 403)
        place = self._chain.open(token)
        if token in self._given_up:
            raise PeerError("the request is no longer this server's", 487)
        job.visit = self._visits.passed_on(token)
        served = self._subscribers.of(place.served)
        if served is None:
            raise PeerError("the served user is no more", 404)
        job.skip = place.skip
        job.vector = self._charging.begin(job.request, False)
        if job.vector is not None and job.vector.icid != place.icid:
            # The server lost the vector: what the place remembers goes on.
            job.vector = ChargingVector(place.icid, orig_ioi=self._domain)
        if place.session_case in FOR_SENDER:
            self._go_on(job, served, place.session_case, place.priority)
            return
        callee = self.routing.callee(job.request)
        if callee is None or callee.primary != served.primary:
            # The server chose another callee: these services are over.
            self.originate(job, served, diverted=True)
        else:
            self.terminate(job, served, place.priority)

    def to_psi(self, job: Job, server: str) -> None:
        """Send the request to the server of a public service identity.

        Spec: 3GPP TS 23.228 §5.4.12
        """
        copy = forwarded_copy(job.request, job.request.uri, routes=[loose(server)])
        copy.remove(SERVED)
        self._charging.to_service(copy, job.vector)
        self._send(job, copy, lambda response: False)

    def _serve(self, job: Job, served: Served, case: int, after: int) -> bool:
        """Send the request to the next server that is to see it; true when there is none."""
        if served.plain:
            return True
        profile = profile_of(served)
        while True:
            criteria = profile.next_server(job.request, case, NO_REGISTRATION, after)
            if criteria is None:
                return True
            if criteria.server.name in job.silent:
                # It may still find the request, and would take this for a copy (482).
                if criteria.server.default_handling != CONTINUE:
                    raise PeerError("an application server does not answer", 504)
                after = criteria.priority
                continue
            if job.skip:
                made = self._made_by(job, criteria)
                if isinstance(made, Deferred):
                    made.addBoth(self._located, job, served, case, after)
                    return False
                if made:
                    after = criteria.priority
                    continue
            self._to_server(job, served, criteria, case)
            return False

    def _made_by(self, job: Job, criteria: Criteria) -> bool | Deferred[object]:
        """Tell whether the server of a criterion is the one that made the request.

        Servers are known by address or by certificate, criteria by URI; the URI's host, or
        an address that was resolved for it, has to be the one. A Deferred fires when it is
        worth asking again.
        """
        uri = parse_uri(criteria.server.name)
        if not isinstance(uri, SipUri):
            return False
        if job.skip == uri.host.strip("[]"):
            return True
        try:
            found = self._endpoint.resolver.locate(uri)
        except (PeerError, Unavailable):
            return False
        if isinstance(found, Deferred):
            if job.looked_up:
                found.addErrback(lambda failure: None)
                return False
            job.looked_up = True
            return found.addCallback(lambda targets: None)
        return any(target.host == job.skip for target in found)

    def _located(self, outcome: object, job: Job, served: Served, case: int, after: int) -> None:
        self._again(job, served, case, after)

    def _again(self, job: Job, served: Served, case: int, after: int) -> None:
        if not job.open:
            return  # the caller gave up meanwhile
        try:
            if case in FOR_SENDER:
                self._go_on(job, served, case, after)
            else:
                self.terminate(job, served, after)
        except PeerError as error:
            self._forwarder.refuse(job, error)

    def _to_server(self, job: Job, served: Served, criteria: Criteria, case: int) -> None:
        """Send the request to an application server; it comes back by our second Route.

        Spec: 3GPP TS 24.229 §5.4.3.2, §5.4.3.3; RFC 5502 §4.2
        """
        server = criteria.server.name
        icid = job.vector.icid if job.vector is not None else self._ids.token(16)
        place = Place(case, served.aor, criteria.priority, server, icid, job.skip)
        token = self._chain.seal(place)
        routes = [loose(server), f"{self.place[1:]}{token}"]
        copy = forwarded_copy(job.request, job.request.uri, routes=routes)
        state = "unreg" if case in UNREGISTERED else "reg"
        role = "orig" if case in FOR_SENDER else "term"
        copy.set(SERVED, str(ServedUser(served.aor, role, state)))
        if self._ims:
            self._charging.to_service(copy, job.vector, served.subscriber.functions)
        visit = Visit(job, served, criteria, case, token, self._endpoint.now())
        self._visits.begin(visit)
        visit.exchange = self._send(job, copy, lambda response: self._heard(visit, response))

    def _heard(self, visit: Visit, response: Response) -> bool:
        """Take a server's response; true when it is to go no further."""
        if not response.local:
            self._visits.heard(visit)
        if visit.over:
            return True
        status = response.status
        if status < 200:
            visit.provisional(status)
            return False
        self._visits.end(visit)
        visit.exchange = None  # it refers to the visit
        if response.local:
            if response.has("Retry-After"):
                return False  # it lives, and there is no room: no reason to go without it
            visit.job.silent += (visit.criteria.server.name,)
        failed = status == 408 or 500 <= status < 600
        return failed and not visit.alive and not visit.cancelled and self._go_past(visit)

    def _expired(self, visit: Visit) -> None:
        """A server took too long; when it is back it shall not find the request waiting."""
        if visit.exchange is not None:
            visit.exchange.give_up()
        visit.job.silent += (visit.criteria.server.name,)
        if not self._go_past(visit):
            self._forwarder.abandon(visit.job)
            self._forwarder.answer(visit.job, 504)

    def _send(self, job: Job, copy: Request, heard: Callable[[Response], bool]) -> Exchange | None:
        postprocess(copy)
        if copy.method in DIALOGS:
            self._forwarder.along(job, copy, None, True, heard)
            return None
        job.relay = None

        def answered(response: Response) -> None:
            if not heard(response):
                self._forwarder.pass_back(job, response)

        return self._endpoint.send(copy, answered, loop=job.loop)

    def _go_past(self, visit: Visit) -> bool:
        """A server does not serve: go on without it, if its criteria say so.

        Spec: 3GPP TS 29.228 Annex B.2.2 (default handling)
        """
        criteria = visit.criteria
        go_on = criteria.server.default_handling == CONTINUE
        _log.warn(
            "{server} does not serve {user}; the request {fate}",
            server=criteria.server.name,
            user=visit.served.aor,
            fate="goes on" if go_on else "ends",
        )
        self._endpoint.count("service_failed")
        if len(self._given_up) >= REMEMBERED:
            del self._given_up[next(iter(self._given_up))]
        self._given_up[visit.token] = None
        if not go_on:
            return False
        if visit.case not in FOR_SENDER:
            _leave_undecided(visit.job.request)
        self._forwarder.abandon(visit.job)
        self._again(visit.job, visit.served, visit.case, criteria.priority)
        return True


def _leave_undecided(request: Request) -> None:
    """No service of the callee has seen how the caller wants to be answered: no device obeys.

    A device takes what it hears of that for what its own server has decided.

    Spec: RFC 5373 (the callee's side has to authorize it)
    """
    if request.method == "INVITE":
        for name in ANSWER_MODES:
            request.remove(name)


def loose(uri: str) -> str:
    """Return the URI of a server as a Route that leaves the Request-URI alone."""
    return uri if ";lr" in uri else f"{uri};lr"
