"""Route one request: where it is from, whom it serves, which services see it, the next hop.

:meth:`Router.receive` reads as the procedure: check it, find its place, know its sender, serve
the sender, serve the callee, send it on. Each step either answers, or hands a :class:`Job` to
the next.

Spec: RFC 3261 §16; 3GPP TS 24.229 §5.4.3 (request routing)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b
from hmac import compare_digest
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from omaim.core.authenticator import Authenticator, Challenge
from omaim.core.chain import Chain, Place
from omaim.core.charging import Charging
from omaim.core.interconnect import PEER, SERVICE, Neighbour, Neighbours
from omaim.core.registrar import Registrar, primary_of
from omaim.core.service_profile import (
    CONTINUE,
    NO_REGISTRATION,
    ORIGINATING,
    ORIGINATING_UNREGISTERED,
    TERMINATING,
    TERMINATING_UNREGISTERED,
    Criteria,
    Profile,
)
from omaim.errors import PeerError
from omaim.ids import Ids
from omaim.net.endpoint import Endpoint
from omaim.net.exchange import Exchange
from omaim.node.hooks import Hooks, Refuse
from omaim.node.questions import WhereTo
from omaim.sip.bindings import Binding, choose
from omaim.sip.charging import ChargingVector
from omaim.sip.flow import Flow
from omaim.sip.forking import CANCEL, FORWARD, START, Branch, Fork, Policy
from omaim.sip.gruu import Gruus
from omaim.sip.identity import (
    PREFERRED,
    SERVED,
    ServedUser,
    assert_identity,
    keep_called_party,
    leave_domain,
    leave_trust_domain,
    strip_untrusted,
)
from omaim.sip.message import Request, Response
from omaim.sip.outbound import FlowTokens, flow_failed
from omaim.sip.preferences import PreferenceReader, Target, arrange, disposition
from omaim.sip.proxying import (
    OwnAddresses,
    forwarded_copy,
    loop_part,
    own_uri,
    postprocess,
    preprocess,
    record_route,
    refusal,
    validate,
)
from omaim.sip.transaction import ServerTransaction
from omaim.sip.uri import SipUri, TelUri, canonical_aor, parse_uri
from omaim.stores.interfaces import IUserStore
from omaim.stores.records import User

UNDERSTOOD: Final = frozenset({"sec-agree", "path", "gruu", "outbound"})
DIALOGS: Final = frozenset({"INVITE", "SUBSCRIBE", "REFER", "NOTIFY", "UPDATE"})
IM_METHODS: Final = frozenset({"MESSAGE", "INVITE"})

_log = Logger()


@attrs.frozen
class Served:
    """A user of this domain whose profile a request passes."""

    user: User
    aor: str  # the identity that is used
    primary: str  # under which its bindings are kept


class Job:
    """One request on its way through the core.

    Attributes:
        request: preprocessed; what is forwarded are copies.
        neighbour: who sent it, ``None`` for a user or a stranger.
        skip: the server that made the request and need not see it again.
        vector: its charging vector, ``None`` in a plain SIP network.
        terminating: the callee is ours.
    """

    __slots__ = (
        "exchanges",
        "fork",
        "heard",
        "loop",
        "neighbour",
        "request",
        "served",
        "skip",
        "terminating",
        "transaction",
        "vector",
    )

    def __init__(
        self,
        transaction: ServerTransaction,
        request: Request,
        neighbour: Neighbour | None,
        loop: str,
    ) -> None:
        self.transaction = transaction
        self.request = request
        self.neighbour = neighbour
        self.loop = loop
        self.skip = ""
        self.vector: ChargingVector | None = None
        self.served: Served | None = None
        self.terminating = False
        self.fork: Fork | None = None
        self.heard = False
        self.exchanges: list[Exchange] = []


class Router:
    """The proxy of one domain.

    Args:
        endpoint: messages come and go through it.
        own: how to tell our own URIs.
        serves: tells whether a host is this domain.
        authenticate: "always", "flow" or "never".
        strangers: whether requests from unknown networks reach our users.
        psis: the server of each public service identity.
        profile_of: the service profile of an identity of a user.
        key: a secret of this core.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        registrar: Registrar,
        users: IUserStore,
        authenticator: Authenticator,
        neighbours: Neighbours,
        hooks: Hooks,
        charging: Charging,
        own: OwnAddresses,
        serves: Callable[[str], bool],
        domain: str,
        profile_of: Callable[[User, str], Profile],
        chain: Chain,
        flow_tokens: FlowTokens,
        gruus: Gruus,
        policy: Policy,
        now: Callable[[], float],
        ids: Ids,
        key: bytes,
        authenticate: str = "always",
        strangers: bool = False,
        psis: Mapping[str, str] | None = None,
        ims: bool = True,
        record_routing: bool = True,
    ) -> None:
        self._endpoint = endpoint
        self._registrar = registrar
        self._users = users
        self._authenticator = authenticator
        self._neighbours = neighbours
        self._hooks = hooks
        self._charging = charging
        self._own = own
        self._serves = serves
        self._domain = domain
        self._profile_of = profile_of
        self._chain = chain
        self._tokens = flow_tokens
        self._gruus = gruus
        self._policy = policy
        self._now = now
        self._ids = ids
        self._key = blake2b(b"dialogs", key=key[:64], digest_size=32).digest()
        self._authenticate = authenticate
        self._strangers = strangers
        self._psis = psis or {}
        self._ims = ims
        self._record_routing = record_routing
        self._preferences = PreferenceReader()
        self._invites: dict[str, Job] = {}

    # The way in

    def receive(self, transaction: ServerTransaction) -> None:
        """Route a request.

        Raises:
            PeerError: it is answered with that.

        Spec: RFC 3261 §16.3 to §16.6
        """
        request, flow = transaction.request, transaction.flow
        loop = loop_part(request)
        validate(request, self._own, UNDERSTOOD, loop)
        visited = preprocess(request, self._own, flow.transport, flow.local_port)
        neighbour = self._neighbours.of(flow)
        job = Job(transaction, request, neighbour, loop)
        if request.method == "INVITE":
            self._invites[transaction.key] = job
        if neighbour is None:
            strip_untrusted(request)
        if visited or request.to.tag:
            self._resume(job, visited)
        elif neighbour is None:
            self._from_user(job)
        elif neighbour.kind == SERVICE:
            self._from_service(job)
        else:
            self._from_peer(job)

    def acknowledge(self, request: Request, flow: Flow) -> None:
        """Forward the ACK of a 2xx, without state (RFC 3261 §16.11)."""
        try:
            validate(request, self._own, UNDERSTOOD)
            visited = preprocess(request, self._own, flow.transport, flow.local_port)
            to_flow = self._dialog_way(request, visited, flow, self._neighbours.of(flow))
            copy = forwarded_copy(request, request.uri)
            postprocess(copy)
            self._endpoint.send_ack(copy, flow=to_flow)
        except PeerError as error:
            self._endpoint.count("ack_refused")
            _log.debug("an ACK goes nowhere: {why}", why=error.why)

    def cancel(self, transaction: ServerTransaction, cancel: Request) -> None:
        """The caller gave up its INVITE: so do all branches (RFC 3261 §16.10)."""
        job = self._invites.get(transaction.key)
        if job is None:
            self._endpoint.reply(transaction, 487)
        elif job.fork is not None:
            job.fork.cancel(self._now())
            self._perform(job)
        else:
            for exchange in job.exchanges:
                exchange.cancel()

    # Who is it

    def _resume(self, job: Job, visited: list[str]) -> None:
        """Serve a request that has been here before: back from a service, or in a dialog."""
        request = job.request
        if visited:
            uri = parse_uri(visited[0])
            odi = uri.params.get("odi") if isinstance(uri, SipUri) else None
            if odi is not None:
                self._back_from_service(job, self._chain.open(odi))
                return
        if request.to.tag:
            flow = self._dialog_way(request, visited, job.transaction.flow, job.neighbour)
            job.vector = self._charging.recall(request)
            self._forward(job, request.uri, None, flow)
            return
        if job.neighbour is None:
            self._from_user(job)
        elif job.neighbour.kind == SERVICE:
            self._from_service(job)
        else:
            self._from_peer(job)

    def _back_from_service(self, job: Job, place: Place) -> None:
        """Go on where the service chain was left (3GPP TS 24.229 §5.4.3.2, §5.4.3.3)."""
        if job.neighbour is None or job.neighbour.kind != SERVICE:
            raise PeerError("only application servers continue a service chain", 403)
        user = self._users.peek_by_identity(place.served)
        if user is None:
            raise PeerError("the served user is no more", 404)
        served = Served(user, place.served, primary_of(user, place.served))
        job.vector = self._charging.begin(job.request, False)
        if job.vector is not None and job.vector.icid != place.icid:
            # The server lost the vector: what the place remembers goes on.
            job.vector = ChargingVector(place.icid, orig_ioi=self._domain)
        originating = place.session_case in (ORIGINATING, ORIGINATING_UNREGISTERED)
        if originating:
            self._originate(job, served, place.priority)
        else:
            retargeted = self._callee(job.request)
            if retargeted is None or retargeted.primary != served.primary:
                # The server chose another callee: this user's services are over.
                self._towards(job)
            else:
                self._terminate(job, served, place.priority)

    def _from_user(self, job: Job) -> None:
        """Serve a request from outside the trust domain: prove it, or turn it away.

        Spec: RFC 3261 §22.3; RFC 3325 §5
        """
        request, flow = job.request, job.transaction.flow
        claimed = self._claimed(request)
        if not self._serves(claimed.rpartition("@")[2]):
            if not self._strangers or not self._ours(request):
                raise PeerError("this network is not known here", 403)
            job.vector = self._charging.begin(request, False)
            self._towards(job)
            return
        if self._authenticate == "never":
            user = self._users.peek_by_identity(claimed)
            if user is None:
                raise PeerError("nobody has this address here", 403)
        elif self._authenticate == "flow" and flow.identity:
            user = self._users.peek_by_identity(flow.identity)
            if user is None:
                raise PeerError("this user is no more", 403)
        else:
            proof = self._authenticator.proxy(request, flow.remote_host, self._now())
            if isinstance(proof, Challenge):
                self._challenge(job, proof)
                return
            user = proof.user
            # What proves something to us proves it to nobody further on (RFC 3261 §22.3).
            request.remove("Proxy-Authorization")
            request.remove("Authorization")
        served = self._identify(user, request, claimed)
        if not user.im_service and request.method in IM_METHODS:
            response = request.response(403, None, self._endpoint.tag_of(job.transaction))
            response.add("Warning", f'399 {self._domain} "127 Service not authorised"')
            self._endpoint.respond(job.transaction, response)
            return
        job.vector = self._charging.begin(request, True)
        job.served = served
        self._originate(job, served, -1)

    def _identify(self, user: User, request: Request, claimed: str) -> Served:
        """Assert the identity that the user prefers, of those it may use (RFC 3325 §5)."""
        barred = user.identity(claimed)
        if barred is not None and barred.barred:
            raise PeerError("this identity may not be used", 403)
        usable = [one.uri for one in user.identities if not one.barred and one.default]
        usable += [one.uri for one in user.identities if not one.barred and not one.default]
        aor = assert_identity(request, tuple(usable))
        return Served(user, aor, primary_of(user, aor))

    def _from_service(self, job: Job) -> None:
        """Serve a request that an application server made by itself."""
        assert job.neighbour is not None
        job.skip = job.neighbour.name
        job.vector = self._charging.begin(job.request, True)
        self._towards(job)

    def _from_peer(self, job: Job) -> None:
        """Serve a request from another network: for our users only, we are no transit."""
        if not self._ours(job.request):
            raise PeerError("this network carries no transit traffic", 403)
        job.vector = self._charging.begin(job.request, False)
        self._towards(job)

    def _claimed(self, request: Request) -> str:
        """Return the address that the sender says it has; proof comes later."""
        preferred = request.addresses(PREFERRED)
        return canonical_aor((preferred[0] if preferred else request.from_).uri_text)

    def _ours(self, request: Request) -> bool:
        uri = request.request_uri
        if isinstance(uri, SipUri):
            return self._serves(uri.host)
        return self._callee(request) is not None

    # Services of the sender

    def _originate(self, job: Job, served: Served, after: int) -> None:
        registered = bool(self._registrar.reachable(served.primary, self._now()))
        case = ORIGINATING if registered else ORIGINATING_UNREGISTERED
        job.served = served
        criteria = self._next_service(job, served, case, after)
        if criteria is not None:
            self._to_service(job, served, criteria, case)
        else:
            self._towards(job)

    def _next_service(self, job: Job, served: Served, case: int, after: int) -> Criteria | None:
        profile = self._profile_of(served.user, served.aor)
        while True:
            criteria = profile.next_server(job.request, case, NO_REGISTRATION, after)
            if criteria is None or not job.skip or not self._made_by(job, criteria):
                return criteria
            after = criteria.priority

    def _made_by(self, job: Job, criteria: Criteria) -> bool:
        """Tell whether the server of a criterion is the one that made the request.

        Servers are known by address or by certificate, criteria by URI; the URI's host, or
        an address that was resolved for it, has to be the one.
        """
        uri = parse_uri(criteria.server.name)
        if not isinstance(uri, SipUri):
            return False
        if job.skip == uri.host.strip("[]"):
            return True
        try:
            found = self._endpoint.resolver.locate(uri)
        except Exception:
            return False
        if isinstance(found, Deferred):
            found.addErrback(lambda failure: None)
            return False
        return any(target.host == job.skip for target in found)

    def _to_service(self, job: Job, served: Served, criteria: Criteria, case: int) -> None:
        """Send the request to an application server; it comes back by our second Route.

        Spec: 3GPP TS 24.229 §5.4.3.2, §5.4.3.3; RFC 5502 §4.2
        """
        server = criteria.server.name
        icid = job.vector.icid if job.vector is not None else ""
        token = self._chain.seal(Place(case, served.aor, criteria.priority, server, icid))
        routes = [
            server if ";lr" in server else f"{server};lr",
            f"{self._endpoint.uri()};lr;odi={token}",
        ]
        copy = forwarded_copy(job.request, job.request.uri, routes=routes)
        if self._ims:
            originating = case in (ORIGINATING, ORIGINATING_UNREGISTERED)
            state = "reg" if case in (ORIGINATING, TERMINATING) else "unreg"
            role = "orig" if originating else "term"
            copy.set(SERVED, str(ServedUser(served.aor, role, state)))
            self._charging.to_service(copy, job.vector, served.user)
        job.heard = False

        def answered(response: Response) -> None:
            status = response.status
            if status < 200:
                job.heard = job.heard or status > 100
            elif (
                not job.heard
                and (status == 408 or 500 <= status < 600)
                and self._go_past(job, served, criteria, case)
            ):
                return
            self._upstream(job, response)

        job.exchanges = [self._endpoint.send(copy, answered, loop=job.loop)]

    def _go_past(self, job: Job, served: Served, criteria: Criteria, case: int) -> bool:
        """The server does not answer: go on without it, if its criteria say so.

        Spec: 3GPP TS 29.228 Annex B.2.2 (default handling)
        """
        _log.warn(
            "{server} does not serve {user}; default handling {handling}",
            server=criteria.server.name,
            user=served.aor,
            handling="continue" if criteria.server.default_handling == CONTINUE else "terminate",
        )
        if criteria.server.default_handling != CONTINUE:
            return False
        try:
            if case in (ORIGINATING, ORIGINATING_UNREGISTERED):
                self._originate(job, served, criteria.priority)
            else:
                self._terminate(job, served, criteria.priority)
        except PeerError as error:
            self.refuse(job.transaction, error)
        return True

    # Where to

    def _towards(self, job: Job) -> None:
        """Send the request to the domain of its Request-URI: ours, or another."""
        request = job.request
        uri = request.request_uri
        service = self._psis.get(canonical_aor(request.uri)) if self._psis else None
        if service is not None:
            self._forward(job, request.uri, [f"{service};lr"], None)
            return
        served = self._callee(request)
        if served is not None:
            self._terminate(job, served, -1)
        elif isinstance(uri, SipUri) and self._serves(uri.host):
            raise PeerError("nobody has this address here", 404)
        elif isinstance(uri, TelUri):
            raise PeerError("this number leads nowhere: no ENUM is configured", 404)
        elif request.has("Route") and job.neighbour is None:
            raise PeerError("this network does not relay along foreign routes", 403)
        else:
            self._outward(job)

    def _callee(self, request: Request) -> Served | None:
        """Return the user of this domain whom the Request-URI means, if it does."""
        uri = request.request_uri
        if isinstance(uri, SipUri) and not self._serves(uri.host):
            return None  # another core of this process may have such a user
        if isinstance(uri, SipUri) and uri.gr is not None:
            target = self._gruus.resolve(uri)
            aor = target.aor if target is not None else uri.aor()
        else:
            aor = canonical_aor(request.uri)
        user = self._users.peek_by_identity(aor)
        if user is None:
            return None
        identity = user.identity(aor)
        if identity is None or identity.barred:
            raise PeerError("nobody has this address here", 404)
        return Served(user, aor, primary_of(user, aor))

    def _outward(self, job: Job) -> None:
        """Send the request to another network over IP-1.

        Spec: RFC 3325 §5; 3GPP TS 24.229 §5.4.3.2 (Mw)
        """
        if self._hooks.wanted(WhereTo):
            Deferred.fromCoroutine(self._ask_way(job)).addErrback(
                lambda failure: self._crashed(job, failure)
            )
        else:
            self._leave(job, None)

    async def _ask_way(self, job: Job) -> None:
        question = WhereTo(
            domain=self._domain,
            method=job.request.method,
            request_uri=job.request.uri,
            served=job.served.aor if job.served else "",
        )
        opinion = await self._hooks.ask(question)
        if isinstance(opinion, Refuse):
            self.refuse(job.transaction, PeerError(opinion.reason, opinion.status))
            return
        self._leave(job, [opinion] if isinstance(opinion, str) else None)

    def _leave(self, job: Job, routes: list[str] | None) -> None:
        self._forward(job, job.request.uri, routes, None)

    # Services of the callee, and its devices

    def _terminate(self, job: Job, served: Served, after: int) -> None:
        job.terminating = True
        now = self._now()
        bindings = self._registrar.reachable(served.primary, now)
        case = TERMINATING if bindings else TERMINATING_UNREGISTERED
        criteria = self._next_service(job, served, case, after)
        if criteria is not None:
            self._to_service(job, served, criteria, case)
            return
        self._deliver(job, bindings, now)

    def _deliver(self, job: Job, bindings: list[Binding], now: float) -> None:
        """Send the request to the devices at which the callee is registered.

        Spec: RFC 3261 §16.5; RFC 3841 §7.2; RFC 5626 §7; RFC 5627 §6.1
        """
        request = job.request
        uri = request.request_uri
        if isinstance(uri, SipUri) and uri.gr is not None:
            target = self._gruus.resolve(uri)
            if target is not None:
                bindings = self._gruus.select(target, bindings, now)
        if not bindings:
            raise PeerError("the callee is not registered", 480)
        reader = self._preferences
        targets = []
        stated = request.has("Accept-Contact") or request.has("Reject-Contact")
        single = len(bindings) == 1
        for group in choose(bindings, now):
            binding = group[0]
            features = None
            if stated or not single:
                features = reader.features(binding.params)
            made = Target(
                binding.contact,
                int(binding.q * 1000),
                features,
                [_bare(text) for text in binding.path],
                group,
            )
            targets.append(made)
        if stated or len(targets) > 1:
            targets = reader.read(request).order(targets)
        groups = arrange(targets, disposition(request) if len(targets) > 1 else 0)
        if not groups:
            raise PeerError("no device of the callee is what the caller wants", 480)
        job.fork = Fork(request, groups, self._policy, self._ids)
        job.fork.start(now)
        self._perform(job)

    def _perform(self, job: Job) -> None:
        fork = job.fork
        assert fork is not None
        for step in fork.take():
            if step.kind == START and step.branch is not None:
                self._start(job, fork, step.branch)
            elif step.kind == CANCEL and step.branch is not None:
                exchange: Any = step.branch.note
                if exchange is not None:
                    exchange.cancel()
            elif step.kind == FORWARD and step.response is not None:
                self._send_up(job, step.response)

    def _start(self, job: Job, fork: Fork, branch: Branch) -> None:
        """Send the request to one device."""
        target = branch.target
        ways: Any = target.note
        binding: Binding = ways[0]
        flow: Flow | None = None
        lost = False
        if binding.flow_token and not binding.path:
            flow, lost = self._flow_of(binding)
        request = job.request
        copy = forwarded_copy(
            request,
            request.uri,
            routes=target.routes or None,
            breadth=branch.breadth,
            record_routes=self._record_routes(job, flow, target.uri),
        )
        if self._ims:
            keep_called_party(copy)
        copy.uri = target.uri
        leave_trust_domain(copy)
        postprocess(copy)

        def answered(response: Response) -> None:
            if response.status == 430 or (response.local and response.status in (408, 503)):
                self._other_way(fork, ways)
            fork.respond(branch, response, self._now())
            self._perform(job)

        if lost:
            local = request.response(430, None, self._ids.tag())
            local.local = True
            self._endpoint.later(answered, local)
            return
        exchange = self._endpoint.send(copy, answered, flow=flow, loop=job.loop)
        branch.note = exchange

    def _flow_of(self, binding: Binding) -> tuple[Flow | None, bool]:
        """Return the flow by which a device is connected, and whether it needed one and lost it.

        Spec: RFC 5626 §5.3, §7
        """
        connected = binding.reg_id > 0 or binding.received != ""
        token = binding.flow_token
        try:
            name = self._tokens.open(token)
        except PeerError:
            return None, binding.reg_id > 0  # made before we last started
        if name.transport == "UDP" and not connected:
            return None, False
        flow = self._endpoint.find_flow(
            f"{name.transport} {name.local_host} {name.local_port} "
            f"{name.remote_host} {name.remote_port} {name.serial}"
        )
        return flow, flow is None and binding.reg_id > 0

    def _other_way(self, fork: Fork, ways: list[Binding]) -> None:
        """One flow to a device failed: try its next one (RFC 5626 §7)."""
        if len(ways) > 1:
            rest = ways[1:]
            binding = rest[0]
            path = [_bare(text) for text in binding.path]
            made = Target(binding.contact, int(binding.q * 1000), None, path, rest)
            fork.add([made], self._now(), compare=False)  # one device, one URI

    # On the way

    def _forward(self, job: Job, uri: str, routes: list[str] | None, flow: Flow | None) -> None:
        """Send the request on to one next hop, with what that one may know."""
        copy = forwarded_copy(
            job.request,
            uri,
            routes=routes,
            record_routes=self._record_routes(job, flow, uri),
        )
        hop = parse_uri(postprocess(copy))
        if flow is None and isinstance(hop, SipUri) and self._neighbours.knows(hop.host):
            copy.remove(SERVED)
            self._charging.to_network(copy, job.vector)
        else:
            leave_trust_domain(copy)
        job.exchanges = [
            self._endpoint.send(
                copy, lambda response: self._upstream(job, response), flow=flow, loop=job.loop
            )
        ]

    def _upstream(self, job: Job, response: Response) -> None:
        """Pass a response back, our Via taken off."""
        if response.local:
            status = 500 if response.status == 503 else response.status
            if status == 408 and job.request.method != "INVITE":
                self._endpoint.count("timeout")  # RFC 4320 §4.2: silence
                return
            response = job.request.response(status, None, self._ids.tag())
        elif response.status == 100:
            return
        else:
            response.remove_first("Via")
        self._send_up(job, response)

    def _send_up(self, job: Job, response: Response) -> None:
        if job.neighbour is None:
            leave_trust_domain(response)
        else:
            self._charging.answer(response, job.vector, job.terminating)
            if job.neighbour.kind == PEER:
                leave_domain(response)
        self._endpoint.respond(job.transaction, response)
        if response.status >= 200 and job.request.method == "INVITE":
            self._invites.pop(job.transaction.key, None)

    def refuse(self, transaction: ServerTransaction, error: PeerError) -> None:
        """Answer a request with an error."""
        tag = self._endpoint.tag_of(transaction)
        self._endpoint.respond(transaction, refusal(transaction.request, error, tag))
        self._invites.pop(transaction.key, None)

    def _challenge(self, job: Job, challenge: Challenge) -> None:
        tag = self._endpoint.tag_of(job.transaction)
        response = job.request.response(challenge.status, None, tag)
        for name, value in challenge.headers:
            response.add(name, value)
        self._endpoint.respond(job.transaction, response)
        self._invites.pop(job.transaction.key, None)

    def _crashed(self, job: Job, failure: Any) -> None:
        if failure.check(PeerError):
            self.refuse(job.transaction, failure.value)
            return
        _log.failure("a request was not routed", failure)
        self._endpoint.reply(job.transaction, 500)

    # Dialogs that stay on us

    def _record_routes(self, job: Job, flow: Flow | None, uri: str) -> list[str] | None:
        """Return the Record-Route values for a request that makes a dialog.

        The user part proves later that the dialog passed here, and names the flow to a
        device that is connected to us.

        Spec: RFC 3261 §16.6 step 4; RFC 5626 §5.3
        """
        request = job.request
        if request.method not in DIALOGS:
            return None
        self._charging.remember(request.call_id, job.vector)
        if not self._record_routing:
            return None
        seal = self._seal(request.call_id)
        arrived = job.transaction.flow
        up = down = seal
        if job.neighbour is None:
            up = f"{seal}.{self._tokens.make(arrived)}"
        if flow is not None:
            down = f"{seal}.{self._tokens.make(flow)}"
        parsed = parse_uri(uri)
        leaves_by = flow.transport if flow is not None else ""
        if not leaves_by and isinstance(parsed, SipUri):
            leaves_by = parsed.transport.upper()
        upstream = self._at(arrived.transport, up)
        downstream = self._at(leaves_by or "UDP", down)
        return record_route(upstream, downstream)

    def _at(self, transport: str, user: str) -> str:
        found = self._endpoint.uri(transport, user) or self._endpoint.uri("TCP", user)
        return found or own_uri(self._domain, 0, "UDP", user)

    def _seal(self, call_id: str) -> str:
        return blake2b(call_id.encode(), key=self._key, digest_size=9).hexdigest()

    def _dialog_way(
        self,
        request: Request,
        visited: list[str],
        arrived: Flow,
        neighbour: Neighbour | None,
    ) -> Flow | None:
        """Return the flow by which a request inside a dialog goes on, ``None`` by its routes.

        Whoever is outside the trust domain has to show that the dialog passed here.

        Raises:
            PeerError: it did not (403), or the flow is gone (430).

        Spec: RFC 3261 §16.12; RFC 5626 §5.3.1
        """
        proved = False
        way: Flow | None = None
        for text in visited:
            uri = parse_uri(text)
            if not isinstance(uri, SipUri):
                continue
            seal, _, token = uri.user.partition(".")
            if not compare_digest(seal.encode(), self._seal(request.call_id).encode()):
                continue
            proved = True
            if token and not request.has("Route"):
                name = self._tokens.open(token)
                if not name.names(arrived):
                    way = self._endpoint.find_flow(
                        f"{name.transport} {name.local_host} {name.local_port} "
                        f"{name.remote_host} {name.remote_port} {name.serial}"
                    )
                    if way is None:
                        raise flow_failed()
        if not proved and neighbour is None:
            raise PeerError("no such dialog passed here", 403)
        return way


def _bare(text: str) -> str:
    """Return the URI of a name-addr text."""
    start, end = text.find("<"), text.rfind(">")
    return text[start + 1 : end] if 0 <= start < end else text
