"""On the way: one request to its next hops, their answers back, with what each may know.

Spec: RFC 3261 §16.6, §16.7; RFC 3325 §5; RFC 7315 §4.5
"""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from omaim.core.dialogs import Dialogs
from omaim.core.visits import Visit
from omaim.errors import PeerError, Unavailable
from omaim.ids import Ids
from omaim.net.endpoint import Endpoint
from omaim.sip.authenticating import Challenge
from omaim.sip.dismissing import Dismissing
from omaim.sip.flow import Flow
from omaim.sip.forking import CANCELLING, Branch, Fork, Policy
from omaim.sip.icid import Charging
from omaim.sip.identity import SERVED, leave_trust_domain, strip_untrusted
from omaim.sip.job import Job
from omaim.sip.message import Request, Response
from omaim.sip.neighbours import Neighbours
from omaim.sip.preferences import Target
from omaim.sip.proxying import forwarded_copy, postprocess, refusal, stand_in, wants_sips
from omaim.sip.relaying import DIALOGS, Heard, Leg, Relay, Relaying
from omaim.sip.upstream import Upstream
from omaim.sip.uri import SipUri, parse_uri

_log = Logger()


class Forwarder:
    """Sends requests on and answers back.

    Args:
        endpoint: messages come and go through it.
        neighbours: who may be told what.
        dialogs: marks what makes a dialog.
        dismissing: turns strangers away.
        policy: how to fork, Timer C among it.

    Attributes:
        upstream: answers the senders.
        relaying: what all forks have in common.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        neighbours: Neighbours,
        charging: Charging,
        dialogs: Dialogs,
        dismissing: Dismissing,
        policy: Policy,
        ids: Ids,
    ) -> None:
        self._endpoint = endpoint
        self._neighbours = neighbours
        self._charging = charging
        self._dialogs = dialogs
        self._dismissing = dismissing
        self._policy = policy
        self._ids = ids
        upstream = self.upstream = Upstream(
            endpoint.transactions,
            endpoint.driver.wakeup,
            endpoint.now,
            charging,
            self._as_before,
            endpoint.lags,
            endpoint.count,
        )
        self.relaying = Relaying(
            endpoint.outlet, endpoint.driver.deadlines, upstream.answered, upstream.silent
        )

    # Requests

    def forward(
        self, job: Job, uri: str, routes: list[str] | None = None, flow: Flow | None = None
    ) -> None:
        """Send a request on to one next hop, with what that one may know.

        Args:
            uri: the Request-URI it gets.
            routes: what it has to visit first, topmost first.
            flow: the connection of a device inside a dialog; ``None`` for all others.
        """
        if not job.open:
            return  # the caller gave up while we asked for the way
        copy = forwarded_copy(job.request, uri, routes=routes)
        trusted = self.trusts(postprocess(copy), flow)
        if trusted:
            copy.remove(SERVED)
            self._charging.to_network(copy, job.vector)
        else:
            leave_trust_domain(copy)
        if copy.method in DIALOGS:
            self.along(job, copy, flow, trusted)
            return

        def answered(response: Response) -> None:
            if not trusted:
                strip_untrusted(response)
            self.pass_back(job, response)

        job.relay = None
        self._endpoint.send(copy, answered, flow=flow, loop=job.loop)

    def trusts(self, hop: str, flow: Flow | None) -> bool:
        """Tell whether a next hop is inside the trust domain; a maddr leads anywhere.

        Args:
            flow: the connection of a device; ``None`` where the URI of the hop decides.
        """
        if flow is not None:
            return False
        uri = parse_uri(hop)
        return isinstance(uri, SipUri) and not uri.maddr and self._neighbours.knows(uri.host)

    def along(
        self,
        job: Job,
        copy: Request,
        flow: Flow | None,
        trusted: bool,
        heard: Heard | None = None,
    ) -> None:
        """Send a request that makes a dialog to one next hop, so that it can be cancelled.

        Args:
            copy: complete but for Record-Route and Via.
            trusted: the next hop is inside the trust domain.
            heard: gets each response first; what it returns true for goes no further.
        """

        def begin(owner: object, relay: Relay, branch: Branch) -> None:
            self.depart(job, Leg(relay, branch, trusted, heard), branch, copy, flow)

        target = Target(copy.uri, 1000, None, [], None)
        fork = Fork(job.request, [[target]], self._policy, self._ids, False)
        job.relay = Relay(self.relaying, job, job.request, fork, job.loop, begin)
        job.relay.start()

    def depart(
        self, owner: object, leg: Leg, branch: Branch, copy: Request, flow: Flow | None
    ) -> None:
        """Send a request that makes a dialog on one branch, marked with Record-Route."""
        job = cast(Job, owner)
        if flow is not None:
            self._mark(job, copy, flow, flow.transport)
            leg.send(copy, flow)
        else:
            self._depart_marked(job, leg, branch, copy)

    def _depart_marked(self, job: Job, leg: Leg, branch: Branch, copy: Request) -> None:
        """Find the next hop first: our mark names the transport by which the request leaves.

        Spec: RFC 3261 §16.6 step 4
        """

        def located(targets: list[Any]) -> None:
            if branch.state == CANCELLING:
                self._answer_here(leg, copy, 487)
            elif targets:
                self._mark(job, copy, None, targets[0].transport)
                leg.send(copy, None, targets)
            else:
                self._answer_here(leg, copy, 503)

        try:
            found = self._endpoint.locate(copy)
        except (PeerError, Unavailable):
            found = []
        if isinstance(found, Deferred):
            found.addErrback(_nowhere).addCallback(located)
        else:
            located(found)

    def later(self, relay: Relay, branch: Branch, response: Response) -> None:
        """Give a branch, in the next turn, the response to a request that did not leave."""
        response.local = True
        self._endpoint.later(relay.respond, branch, response, False)

    def cancel(self, job: Job) -> None:
        """The caller gave up its INVITE: so do all branches (RFC 3261 §16.10)."""
        relay = job.relay
        if relay is None:
            self.answer(job, 487)
        else:
            relay.cancel()

    def abandon(self, job: Job) -> None:
        """Give up where a request is now; it goes elsewhere, or nowhere."""
        relay, job.relay = job.relay, None
        if relay is not None:
            relay.abandon()

    def _answer_here(self, leg: Leg, copy: Request, status: int) -> None:
        response = copy.response(status, None, self._ids.tag())
        response.local = True
        self._endpoint.later(leg.responded, response)

    def _mark(self, job: Job, copy: Request, flow: Flow | None, transport: str) -> None:
        if self._dialogs.record_routing:
            values = self._dialogs.record_routes(job, flow, transport, wants_sips(copy))
            for value in reversed(values):
                copy.prepend("Record-Route", value)

    # Responses

    def pass_back(self, job: Job, response: Response) -> None:
        """Pass back what the only next hop of a request without a fork answered.

        Spec: RFC 3261 §16.7; RFC 4320 §4
        """
        status = response.status
        if status < 200:
            return
        if status == 408:
            self._endpoint.count("timeout")  # RFC 4320 §4.2: silence
            self.done(job)
            return
        if response.local or status == 503:
            response = stand_in(job.request, response, self._ids.tag())
        else:
            response.remove_first("Via")
        self.upstream.send(job, response)

    def _as_before(self, job: Job, response: Response) -> Response:
        """Return the answer to what a server passed on, or what it was the first time.

        A server that died and came back gets its request again and passes it on again. The
        device says 482 to that (RFC 3261 §8.2.2.2), which is not what became of the message.
        """
        visit = cast(Visit, job.visit)
        if 200 <= response.status < 300:
            visit.accepted = response.status
        elif response.status == 482 and visit.accepted:
            return job.request.response(visit.accepted, None, self._ids.tag())
        return response

    def done(self, job: Job) -> None:
        """The request waits for nothing any more."""
        self.upstream.done(job)

    # Answers of our own

    def answer(self, job: Job, status: int, *headers: tuple[str, str]) -> None:
        """Answer a request by ourselves."""
        self.done(job)
        if job.transaction.answered:
            return
        tag = self._endpoint.tag_of(job.transaction)
        response = job.request.response(status, None, tag)
        response.add_all(headers)
        self._endpoint.respond(job.transaction, response)

    def refuse(self, job: Job, error: PeerError) -> None:
        """Answer a request with an error."""
        self.done(job)
        transaction = job.transaction
        if transaction.answered:
            return
        if job.stranger:
            self._dismissing.refuse(transaction, error)
        else:
            response = refusal(job.request, error, self._endpoint.tag_of(transaction))
            self._endpoint.respond(transaction, response)

    def challenge(self, job: Job, challenge: Challenge) -> None:
        """Ask for proof."""
        self.done(job)
        self._dismissing.challenge(job.transaction, challenge)

    def crashed(self, job: Job, failure: Any) -> None:
        """Answer a request whose way broke off here."""
        if failure.check(PeerError):
            self.refuse(job, failure.value)
            return
        _log.failure("a request was not routed", failure)
        self.answer(job, 500)


def _nowhere(failure: Any) -> list[Any]:
    """No server was found."""
    failure.trap(Unavailable, PeerError)
    return []
