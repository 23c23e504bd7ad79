"""One request of ours and what comes of it, over as many targets as it takes.

Spec: RFC 3261 §8.1.2, §18.1.1; RFC 3263 §4.3
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from omaim.errors import PeerError, Unavailable
from omaim.sip.flow import TCP, UDP, Flow
from omaim.sip.headers import RetryAfter
from omaim.sip.locating import Target
from omaim.sip.message import Request, Response
from omaim.timers import Alarm

if TYPE_CHECKING:
    from omaim.net.endpoint import Endpoint
    from omaim.sip.transaction import ClientTransaction

MOST_TRIES: Final = 8
SILENCE: Final = 2.0  # times T1 behind the moment at which a live server has said 100 at least
LONGEST_AVOIDED: Final = 300.0  # seconds that a Retry-After may keep us from a target

_log = Logger()


class Exchange:
    """A request that was sent, until its final response.

    Differs: a MESSAGE that has another server to turn to does so over UDP when the first has not
    even said 100 by the time that RFC 4320 §4.1 sets, and not only after Timer F (RFC 3263 §4.3):
    whoever waits for the answer would have given up by then. The first may still answer; one
    that takes both copies for one request (RFC 3261 §8.2.2.2) is waited for.

    Attributes:
        request: the request; it belongs to the exchange from the start.
        transaction: the client transaction of the present attempt, None before the first.
        flow: the path of the present attempt, None before the first.
        target: where the present attempt goes, None when a flow was given.
    """

    __slots__ = (
        "_cancelled",
        "_done",
        "_endpoint",
        "_heard",
        "_held",
        "_loop",
        "_older",
        "_on_end",
        "_on_response",
        "_spare",
        "_targets",
        "_tries",
        "flow",
        "request",
        "target",
        "transaction",
    )

    def __init__(
        self,
        endpoint: Endpoint,
        request: Request,
        on_response: Callable[[Response], object],
        on_end: Callable[[], object] | None,
        loop: str = "",
    ) -> None:
        self.request = request
        self._loop = loop
        self.transaction: ClientTransaction | None = None
        self.flow: Flow | None = None
        self.target: Target | None = None
        self._endpoint = endpoint
        self._on_response = on_response
        self._on_end = on_end
        self._targets: list[Target] = []  # the next one last
        self._spare: Target | None = None  # a datagram target, should its stream be refused
        self._tries = 0
        self._older = 0  # attempts that were too silent, and may still be answered
        self._held: Response | None = None  # says no more than that another copy is there
        self._heard = False
        self._cancelled = False
        self._done = False

    def cancel(self) -> None:
        """Give up: CANCEL an INVITE (it still gets its final response), try no other target.

        Spec: RFC 3261 §9.1
        """
        if self._done or self._cancelled:
            return
        self._cancelled = True
        if self.transaction is not None:
            self._endpoint.cancel(self.transaction)
        else:
            self._endpoint.later(self._fail, 487)

    def give_up(self) -> None:
        """Forget the request: it is not repeated, and no answer is told any more.

        A server that is dead would otherwise still get it when it comes back.
        """
        self._done = self._cancelled = True
        self._on_end = None
        if self.transaction is not None:
            self._endpoint.transactions.give_up(self.transaction)

    def start(self, flow: Flow | None, targets: list[Target] | None) -> None:
        """Send the request, at once when it is known where to."""
        if flow is not None:
            self._send_by(flow)
            return
        if targets is None:
            try:
                found = self._endpoint.locate(self.request)
            except Unavailable:
                self._endpoint.later(self._fail, 503)
                return
            except PeerError as error:
                self._endpoint.later(self._fail, error.status)
                return
            if isinstance(found, Deferred):
                found.addCallbacks(self._located, self._not_located)
                return
            targets = found
        self._targets = targets[MOST_TRIES - 1 :: -1]
        self._next()

    def _located(self, targets: list[Target]) -> None:
        self._targets = targets[MOST_TRIES - 1 :: -1]
        if not self._cancelled:
            self._next()

    def _not_located(self, failure: Failure) -> None:
        if not failure.check(Unavailable):
            _log.failure("Finding a server failed", failure)
        self._endpoint.later(self._fail, 503)

    def _next(self) -> None:
        """Try the next target; when there is none left, say so."""
        endpoint = self._endpoint
        while self._targets:
            target = self._targets.pop()
            if (
                target.transport == UDP
                and target is not self._spare
                and endpoint.too_large(self.request)
            ):
                # RFC 3261 §18.1.1: by a stream, and by UDP only where there is no stream.
                self._spare = target
                self._targets.append(target)
                target = Target(TCP, target.host, target.port, target.domain)
            flow = endpoint.flow_to(target)
            if flow is not None:
                self.target = target
                self._send_by(flow)
                return
        endpoint.later(self._fail, 503)

    def _send_by(self, flow: Flow) -> None:
        if self._tries:
            self.request.remove_first("Via")
        self._tries += 1
        self._heard = False
        self.flow = flow
        self.transaction = self._endpoint.start(
            self.request,
            flow,
            self._responded,
            self._ended if self._on_end else None,
            self._loop,
        )
        if self._targets:
            self.transaction.elsewhere = True
            if not flow.reliable and self.request.method == "MESSAGE":
                self._watch(self.transaction)

    def _watch(self, transaction: ClientTransaction) -> None:
        """Turn to the next server if this one stays silent."""
        endpoint = self._endpoint

        def silent(now: float) -> None:
            idle = self._heard or self._done or self._cancelled
            if idle or self.transaction is not transaction or not self._targets:
                return
            if self.target is not None:
                endpoint.resolver.failed(self.target)
            transaction.on_response = self._responded_late
            self._older += 1
            endpoint.count("silent")
            self._next()

        timing = endpoint.timing
        alarm = Alarm(silent)
        alarm.deadline = endpoint.now() + timing.late + SILENCE * timing.t1
        endpoint.driver.deadlines.arm(alarm)
        endpoint.arm()

    def _responded_late(self, response: Response) -> None:
        """A server that was too silent answers after all, or never does."""
        if response.status < 200:
            return
        self._older -= 1
        if self._done:
            return
        if response.local or response.status == 503:
            held = self._held
            if held is None or self._older:
                return
            response = held
        self._done = True
        self._endpoint.guarded(self._on_response, response)

    def _responded(self, response: Response) -> None:
        if self._done and (response.status >= 300 or self.request.method == "MESSAGE"):
            return
        if response.status == 482 and self._older:
            self._held = response
            return
        if (response.status == 503 or response.local) and self._failed_over(response):
            return
        self._heard = True
        if response.status >= 200:
            self._done = True
        self._endpoint.guarded(self._on_response, response)

    def _failed_over(self, response: Response) -> bool:
        """Go on to the next target where a failure allows it.

        Spec: RFC 3263 §4.3
        """
        target, endpoint = self.target, self._endpoint
        if response.local and self._heard and response.status == 408:
            return False  # the server lives, it is only slow
        if response.local and response.status == 408 and self.flow is not None:
            endpoint.ping(self.flow)  # a stream whose peer has vanished ends for good
        spare, self._spare = self._spare, None
        if target is not None and response.status in (408, 503):
            if spare is None or not response.local:
                endpoint.resolver.failed(target, *_pause(response))
            if spare is not None:
                if response.local:
                    self._spare = spare  # it may go by UDP now, however large
                else:
                    self._targets.remove(spare)
        if not self._targets or self._cancelled or self._tries >= MOST_TRIES:
            return False
        endpoint.count("failover")
        self._next()
        return True

    def _ended(self) -> None:
        if self._done and self._on_end is not None:
            on_end, self._on_end = self._on_end, None
            self._endpoint.guarded(on_end)

    def _fail(self, status: int) -> None:
        """Report that the request could not even be sent."""
        if self._done:
            return
        self._done = True
        response = self.request.response(status)
        response.local = True
        self._endpoint.guarded(self._on_response, response)
        if self._on_end is not None:
            self._ended()


def _pause(response: Response) -> tuple[float, ...]:
    """Return how long a server wants to be left alone, if it says so.

    Spec: RFC 3261 §20.33, §21.5.4
    """
    text = None if response.local else response.first("Retry-After")
    if text is None:
        return ()
    try:
        return (min(float(RetryAfter.parse(text).seconds), LONGEST_AVOIDED),)
    except PeerError:
        return ()
