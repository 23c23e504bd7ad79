"""The way of a request through the proxy of a domain, as far as it is the same for most.

:meth:`Routing.receive` reads as the procedure: check it, know its sender, serve the sender,
find the callee, serve the callee, deliver. What depends on services, other networks and dialogs
is asked of a :class:`Ways`; ``omaim.core.routing`` is.

Spec: RFC 3261 §16; 3GPP TS 24.229 §5.4.3 (request routing)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from omaim.errors import PeerError
from omaim.sip.authenticating import Challenge
from omaim.sip.bindings import Binding
from omaim.sip.delivering import Delivery
from omaim.sip.gruu import Gruus
from omaim.sip.icid import Charging
from omaim.sip.identity import FUNCTIONS, check_privacy, claimed_by, strip_untrusted
from omaim.sip.job import Job
from omaim.sip.message import Request
from omaim.sip.neighbours import PEER, SERVICE, Neighbours
from omaim.sip.proxying import OwnAddresses, loop_part, visited_here
from omaim.sip.proxying import validate as check_hop
from omaim.sip.relaying import DIALOGS
from omaim.sip.senders import Senders
from omaim.sip.subscribed import Served, Subscribers
from omaim.sip.transaction import ServerTransaction
from omaim.sip.upstream import Upstream
from omaim.sip.uri import SipUri, canonical_aor

UNDERSTOOD: Final = frozenset({"path", "gruu", "outbound", "privacy"})
ABSTRACT: Final = frozenset({"im", "pres"})  # schemes that mean a user of whatever protocol
IM_METHODS: Final = frozenset({"MESSAGE", "INVITE"})


@final
class Ways:
    """Where a request goes on that does not go the way of most; each gets its job.

    Args:
        refuse: answers with an error.
        unauthorised: answers a user who has no IM service.
        challenge: asks for proof.
        returns: takes back what an application server passed on as we wrote it; false leaves
            it to be looked at.
        resume: serves a request whose Route named us; with our URIs.
        inside: serves a request inside a dialog; likewise.
        from_service: serves what an application server made by itself; with its name, and
            whether the services of the sender are wanted.
        from_peer: serves what comes from another network.
        from_stranger: serves what comes from outside the trust domain, and from no user.
        originate: takes it through the services of its sender.
        terminate: takes it through those of its callee; INVITEs also where there are none.
        towards: sends it to the domain of its Request-URI.
    """

    __slots__ = (
        "challenge",
        "from_peer",
        "from_service",
        "from_stranger",
        "inside",
        "originate",
        "refuse",
        "resume",
        "returns",
        "terminate",
        "towards",
        "unauthorised",
    )

    def __init__(
        self,
        refuse: Callable[[Job, PeerError], None],
        unauthorised: Callable[[Job], None],
        challenge: Callable[[Job, Challenge], None],
        returns: Callable[[Job], bool],
        resume: Callable[[Job, list[str]], None],
        inside: Callable[[Job, list[str]], None],
        from_service: Callable[[Job, str, bool], None],
        from_peer: Callable[[Job], None],
        from_stranger: Callable[[Job], None],
        originate: Callable[[Job, Served], None],
        terminate: Callable[[Job, Served], None],
        towards: Callable[[Job], None],
    ) -> None:
        self.refuse: Final = refuse
        self.unauthorised: Final = unauthorised
        self.challenge: Final = challenge
        self.returns: Final = returns
        self.resume: Final = resume
        self.inside: Final = inside
        self.from_service: Final = from_service
        self.from_peer: Final = from_peer
        self.from_stranger: Final = from_stranger
        self.originate: Final = originate
        self.terminate: Final = terminate
        self.towards: Final = towards


@final
class Routing:
    """The proxy of one domain.

    Args:
        ways: where else a request may go.
        own: how to tell our own URIs.
        serves: tells whether a host is this domain.
        senders: finds out who sends.
        reachable: returns where a primary identity is registered now.
        services: there are public service identities, which come before users.
        most: requests that may wait for an answer at a time; 503 above.
    """

    __slots__ = (
        "_charging",
        "_delivery",
        "_gruus",
        "_most",
        "_neighbours",
        "_own",
        "_reachable",
        "_senders",
        "_serves",
        "_services",
        "_subscribers",
        "_upstream",
        "_ways",
    )

    def __init__(
        self,
        ways: Ways,
        own: OwnAddresses,
        serves: Callable[[str], bool],
        neighbours: Neighbours,
        senders: Senders,
        subscribers: Subscribers,
        gruus: Gruus,
        charging: Charging,
        upstream: Upstream,
        delivery: Delivery,
        reachable: Callable[[str], list[Binding]],
        services: bool,
        most: int,
    ) -> None:
        self._ways: Final = ways
        self._own: Final = own
        self._serves: Final = serves
        self._neighbours: Final = neighbours
        self._senders: Final = senders
        self._subscribers: Final = subscribers
        self._gruus: Final = gruus
        self._charging: Final = charging
        self._upstream: Final = upstream
        self._delivery: Final = delivery
        self._reachable: Final = reachable
        self._services: Final = services
        self._most: Final = most

    def receive(self, transaction: ServerTransaction) -> None:
        """Route a request.

        Spec: RFC 3261 §16.3 to §16.6
        """
        request = transaction.request
        flow = transaction.flow
        neighbour = self._neighbours.of(flow)
        job = Job(transaction, request, neighbour, "")
        self._upstream.pending += 1
        try:
            job.loop = loop_part(request)
            check_hop(request, self._own, UNDERSTOOD, job.loop, ABSTRACT)
            if transaction.invite:
                transaction.context = job
            if neighbour is None:
                strip_untrusted(request)
            elif neighbour.kind == PEER:
                request.remove(FUNCTIONS)  # those of another network (RFC 7315 §4.5.1)
            elif self._ways.returns(job):
                return
            visited = visited_here(request, self._own, flow.transport, flow.local_port)
            if visited:
                self._ways.resume(job, visited)
            elif request.to.tag:
                self._ways.inside(job, visited)
            else:
                self.begin(job, False)
        except PeerError as error:
            self._ways.refuse(job, error)
        except Exception:
            self._upstream.done(job)
            raise

    def begin(self, job: Job, originating: bool) -> None:
        """Serve a request outside dialogs by where it is from.

        Args:
            originating: our URI in its Route asked for the services of the sender.

        Raises:
            PeerError: we have too much to do (503); it wants to go along foreign routes (403).
        """
        if self._upstream.pending > self._most:
            raise PeerError("too busy", 503)
        neighbour = job.neighbour
        if neighbour is not None and neighbour.kind == SERVICE:
            self._ways.from_service(job, neighbour.name, originating)
            return
        if job.request.has("Route"):
            raise PeerError("this network does not relay along foreign routes", 403)
        if neighbour is None:
            self._from_user(job)
        else:
            self._ways.from_peer(job)

    def _from_user(self, job: Job) -> None:
        """Serve a request from outside the trust domain: prove it, or turn it away.

        Spec: RFC 3261 §22.3; RFC 3325 §5
        """
        request = job.request
        claimed = claimed_by(request)
        if not self._senders.may_be_ours(claimed):
            self._ways.from_stranger(job)
            return
        known = self._senders.identify(request, job.transaction.flow, claimed)
        if isinstance(known, Challenge):
            self._ways.challenge(job, known)
            return
        job.served = known
        if request.method in DIALOGS:
            self._check_contact(request, known)
        if not known.subscriber.im_service and request.method in IM_METHODS:
            self._ways.unauthorised(job)
            return
        if request.has("Privacy"):
            check_privacy(request)
        job.vector = self._charging.begin(request, True)
        if known.plain:
            self.towards(job)
        else:
            self._ways.originate(job, known)

    def _check_contact(self, request: Request, served: Served) -> None:
        """Let nobody have the rest of its dialog sent to somebody else, by a GRUU of ours.

        Raises:
            PeerError: its Contact is a GRUU that the sender does not have (403).

        Spec: RFC 5627 §6.2
        """
        for contact in request.contacts:
            uri = contact.uri
            if not isinstance(uri, SipUri) or uri.gr is None or not self._serves(uri.host):
                continue
            owner = self._subscribers.of(self._gruus.owner(uri))
            if owner is None or owner.subscriber.private_id != served.subscriber.private_id:
                raise PeerError("this GRUU is somebody else's", 403)

    def towards(self, job: Job) -> None:
        """Send a request whose sender is served to the domain of its Request-URI.

        Raises:
            PeerError: it leads nowhere.
        """
        request = job.request
        if not self._services and request.method != "SUBSCRIBE":
            served = self.callee(request)
            if served is not None:
                self.terminate(job, served)
                return
        self._ways.towards(job)

    def callee(self, request: Request) -> Served | None:
        """Return the user of this domain whom the Request-URI means, if it does.

        Raises:
            PeerError: the identity is barred, or a GRUU was not made here (404).
        """
        uri = request.request_uri
        if not isinstance(uri, SipUri):
            aor = canonical_aor(request.uri)
        elif not self._serves(uri.host):
            return None  # another core of this process may have such a user
        elif uri.gr is not None:
            target = self._gruus.resolve(uri)
            aor = target.aor if target is not None else uri.aor()
        elif uri.user.startswith("+") and uri.params.get("user") == "phone":
            aor = canonical_aor("tel:" + uri.user)  # RFC 3261 §19.1.6
        else:
            aor = canonical_aor(request.uri)
        served = self._subscribers.of(aor)
        if served is not None and served.barred:
            raise PeerError("nobody has this address here", 404)
        return served

    def terminate(self, job: Job, served: Served) -> None:
        """Serve the callee, then deliver.

        Raises:
            PeerError: no device can be reached.
        """
        if served.plain and not job.transaction.invite:
            self.reach(job, served)
        else:
            self._ways.terminate(job, served)

    def reach(self, job: Job, served: Served) -> None:
        """Deliver a request whose callee needs no service any more.

        Raises:
            PeerError: no device can be reached.
        """
        job.terminating = True
        self.deliver(job, self._reachable(served.primary))

    def deliver(self, job: Job, bindings: list[Binding]) -> None:
        """Send a request to the devices of its callee.

        Raises:
            PeerError: no device can be reached.
        """
        relay = self._delivery.relay(job, job.request, job.loop, bindings)
        job.relay = relay
        relay.start()
