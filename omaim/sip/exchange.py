"""One request of ours and what comes of it, over as many targets as it takes.

Spec: RFC 3261 §8.1.2, §18.1.1; RFC 3263 §4.3
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from omaim.errors import PeerError
from omaim.ids import Ids
from omaim.sip.flow import TCP, UDP, Flow
from omaim.sip.headers import RetryAfter
from omaim.sip.locating import AVOIDED, Target, next_hop, numeric_target
from omaim.sip.matching import Transactions
from omaim.sip.message import RETRY_AFTER, Request, Response
from omaim.sip.timing import Timing
from omaim.sip.transaction import ClientTransaction
from omaim.sip.transport import DatagramPaths
from omaim.timers import NEVER, Deadlines, Timed, Wakeup

MOST_TRIES: Final = 8
SILENCE: Final = 2.0  # times T1 behind the moment at which a live server has said 100 at least
LONGEST_AVOIDED: Final = 300.0  # seconds that a Retry-After may keep us from a target
LARGEST_DATAGRAM: Final = 1300  # octets of a request whose path is unknown, RFC 3261 §18.1.1
_OUR_VIA: Final = 110  # octets that our Via may add


@final
class Outlet:
    """The way out of one endpoint: what its exchanges need, one function for each thing.

    Args:
        transactions: each attempt is one of them.
        deadlines: where those wait who listen for a sign of life.
        timing: the SIP timers.
        ids: source of branches.
        supported: the transports that are spoken.
        now: returns the time.
        wakeup: to be kept after transactions were given something.
        datagrams: the flows of each UDP socket.
        stream_to: returns a connection to a target, ``None`` when none can be made.
        has_room: tells whether one more request may wait for the peer of a stream.
        find: finds the targets of an exchange, then calls its :meth:`Exchange.found` or, in a
            later turn, its :meth:`Exchange.fail`.
        avoid: puts a target last for some seconds.
        fail_later: calls :meth:`Exchange.fail` with a status in the next turn.
        ping: finds out whether the peer of a flow is still there.
        crashed: called where a function of the user raised; the exception is the current one.
        count: counts under a name.
    """

    __slots__ = (
        "_ids",
        "_stream_to",
        "avoid",
        "count",
        "crashed",
        "datagrams",
        "deadlines",
        "fail_later",
        "find",
        "has_room",
        "now",
        "ping",
        "supported",
        "timing",
        "transactions",
        "wakeup",
    )

    def __init__(
        self,
        transactions: Transactions,
        deadlines: Deadlines,
        timing: Timing,
        ids: Ids,
        supported: tuple[str, ...],
        now: Callable[[], float],
        wakeup: Wakeup,
        datagrams: list[DatagramPaths],
        stream_to: Callable[[Target], Flow | None],
        has_room: Callable[[Flow], bool],
        find: Callable[[Exchange], None],
        avoid: Callable[[Target, float], None],
        fail_later: Callable[[Exchange, int], None],
        ping: Callable[[Flow], None],
        crashed: Callable[[], None],
        count: Callable[[str], None],
    ) -> None:
        self.transactions: Final = transactions
        self.deadlines: Final = deadlines
        self.timing: Final = timing
        self.supported: Final = supported
        self.now: Final = now
        self.wakeup: Final = wakeup
        self.datagrams: Final = datagrams
        self.has_room: Final = has_room
        self.find: Final = find
        self.avoid: Final = avoid
        self.fail_later: Final = fail_later
        self.ping: Final = ping
        self.crashed: Final = crashed
        self.count: Final = count
        self._ids: Final = ids
        self._stream_to: Final = stream_to

    def flow_to(self, target: Target) -> Flow | None:
        """Return a path to ``target``, new or known; ``None`` when we have no socket for it."""
        if target.transport != UDP:
            return self._stream_to(target)
        ipv6 = ":" in target.host
        for paths in self.datagrams:
            if paths.ipv6 == ipv6:
                return paths.to(target.host, target.port)
        return None

    def add_via(self, request: Request, flow: Flow, loop: str = "") -> None:
        """Put our Via with a fresh branch on top."""
        front = flow.front
        if front is not None:
            front.put_on(request, self._ids.branch() + loop)

    def begin(
        self,
        request: Request,
        flow: Flow,
        on_response: Callable[[Response], None],
        on_end: Callable[[], None] | None,
        loop: str = "",
    ) -> ClientTransaction:
        """Put our Via on top and begin a transaction."""
        self.add_via(request, flow, loop)
        return self.transactions.start(request, flow, on_response, on_end, self.now())

    def too_large(self, request: Request) -> bool:
        """Tell whether a request must not go by UDP.

        Spec: RFC 3261 §18.1.1
        """
        size = len(request.body) + len(request.uri) + _OUR_VIA
        for line in request.lines:
            size += len(line) + 2
        return size > LARGEST_DATAGRAM and TCP in self.supported


@final
class Exchange:
    """A request that was sent, until its final response.

    What a server may have is not sent again while that server may still answer: a stream that is
    slow is waited for, as long as Timers B and F say. Where so much waits already that a request
    is not even written, another server may have it, or the answer is a local 503 with Retry-After.

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
        "_busy",
        "_cancelled",
        "_done",
        "_heard",
        "_held",
        "_loop",
        "_older",
        "_on_end",
        "_on_response",
        "_outlet",
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
        outlet: Outlet,
        request: Request,
        on_response: Callable[[Response], object],
        on_end: Callable[[], object] | None = None,
        loop: str = "",
    ) -> None:
        self.request = request
        self.transaction: ClientTransaction | None = None
        self.flow: Flow | None = None
        self.target: Target | None = None
        self._outlet: Final = outlet
        self._on_response = on_response
        self._on_end = on_end
        self._loop = loop
        self._targets: list[Target] = []  # the next one last
        self._spare: Target | None = None  # a datagram target, should its stream be refused
        self._tries = 0
        self._older = 0  # attempts that were too silent, and may still be answered
        self._held: Response | None = None  # says no more than that another copy is there
        self._heard = False
        self._busy = False  # a server was not asked, as too much waits for it already
        self._cancelled = False
        self._done = False

    def cancel(self) -> None:
        """Give up: CANCEL an INVITE (it still gets its final response), try no other target.

        Spec: RFC 3261 §9.1
        """
        if self._done or self._cancelled:
            return
        self._cancelled = True
        outlet = self._outlet
        if self.transaction is not None:
            outlet.transactions.cancel(self.transaction, outlet.now())
            outlet.wakeup.arm()
        else:
            outlet.fail_later(self, 487)

    def give_up(self) -> None:
        """Forget the request: it is not repeated, and no answer is told any more.

        A server that is dead would otherwise still get it when it comes back.
        """
        self._done = True
        self._cancelled = True
        self._on_end = None
        if self.transaction is not None:
            self._outlet.transactions.give_up(self.transaction)

    def start(self, flow: Flow | None, targets: list[Target] | None) -> None:
        """Send the request, at once when it is known where to."""
        if flow is not None:
            if flow.reliable and not self._outlet.has_room(flow):
                self._busy = True
                self._outlet.count("busy")
                self._outlet.fail_later(self, 503)
            else:
                self._send_by(flow)
        elif targets is not None:
            self.found(targets)
        else:
            outlet = self._outlet
            try:
                secure, uri = next_hop(self.request)
            except PeerError as error:
                outlet.fail_later(self, error.status)
                return
            target = numeric_target(secure, uri.maddr or uri.host, uri.port, uri.transport)
            if target is None or target.transport not in outlet.supported:
                outlet.find(self)
            else:
                self._targets.append(target)
                self._next()

    def found(self, targets: list[Target]) -> None:
        """The request may go to these places, the best first."""
        self._targets = targets[MOST_TRIES - 1 :: -1]
        if not self._cancelled:
            self._next()

    def fail(self, status: int) -> None:
        """Report that the request could not even be sent."""
        if self._done:
            return
        self._done = True
        response = self.request.response(status)
        response.local = True
        if self._busy and status == 503:
            response.add("Retry-After", RETRY_AFTER)
        self._tell(response)
        self._ended()

    def _next(self) -> None:
        """Try the next target; when there is none left, say so."""
        outlet = self._outlet
        while self._targets:
            target = self._targets.pop()
            if (
                target.transport == UDP
                and target is not self._spare
                and outlet.too_large(self.request)
            ):
                # RFC 3261 §18.1.1: by a stream, and by UDP only where there is no stream.
                self._spare = target
                self._targets.append(target)
                target = Target(TCP, target.host, target.port, target.domain)
            flow = outlet.flow_to(target)
            if flow is None:
                continue
            if flow.reliable and not outlet.has_room(flow):
                self._busy = True
                outlet.count("busy")
                self._drop_spare()
                continue
            self.target = target
            self._send_by(flow)
            return
        outlet.fail_later(self, 503)

    def _send_by(self, flow: Flow) -> None:
        if self._tries:
            self.request.remove_first("Via")
        self._tries += 1
        self._heard = False
        self.flow = flow
        outlet = self._outlet
        on_end = self._ended if self._on_end is not None else None
        transaction = outlet.begin(self.request, flow, self._responded, on_end, self._loop)
        self.transaction = transaction
        if self._targets:
            transaction.elsewhere = True
            if not flow.reliable and self.request.method == "MESSAGE":
                outlet.deadlines.arm(_Watch(self, transaction, outlet))
        outlet.wakeup.arm()

    def silent(self, transaction: ClientTransaction) -> None:
        """Turn to the next server where the one of an attempt stays silent."""
        idle = self._heard or self._done or self._cancelled
        if idle or self.transaction is not transaction or not self._targets:
            return
        outlet = self._outlet
        if self.target is not None:
            outlet.avoid(self.target, AVOIDED)
        transaction.on_response = self._responded_late
        self._older += 1
        outlet.count("silent")
        self._next()

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
        self._tell(response)

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
        self._tell(response)

    def _tell(self, response: Response) -> None:
        try:
            self._on_response(response)
        except Exception:
            self._outlet.crashed()

    def _failed_over(self, response: Response) -> bool:
        """Go on to the next target where a failure allows it.

        Spec: RFC 3263 §4.3
        """
        target = self.target
        outlet = self._outlet
        if response.local and self._heard and response.status == 408:
            return False  # the server lives, it is only slow
        flow = self.flow
        if response.local and response.status == 408 and flow is not None:
            outlet.ping(flow)  # a stream whose peer has vanished ends for good
        if flow is None or flow.up:
            self._drop_spare()  # RFC 3261 §18.1.1: UDP is for where there is no stream at all
        if target is not None and self._spare is None and response.status in (408, 503):
            outlet.avoid(target, _pause(response))
        if not self._targets or self._cancelled or self._tries >= MOST_TRIES:
            return False
        outlet.count("failover")
        self._next()
        return True

    def _drop_spare(self) -> None:
        """Do not turn to UDP for a server that is reached by a stream."""
        if self._spare is not None:
            if self._targets and self._targets[-1] is self._spare:
                self._targets.pop()
            self._spare = None

    def _ended(self) -> None:
        on_end = self._on_end
        if not self._done or on_end is None:
            return
        self._on_end = None
        try:
            on_end()
        except Exception:
            self._outlet.crashed()


@final
class _Watch(Timed):
    """Listens for a sign of life from the server of one attempt."""

    __slots__ = ("_exchange", "_transaction")

    def __init__(self, exchange: Exchange, transaction: ClientTransaction, outlet: Outlet) -> None:
        super().__init__()
        timing = outlet.timing
        self.deadline = outlet.now() + timing.late + SILENCE * timing.t1
        self._exchange = exchange
        self._transaction = transaction

    def wake(self, now: float) -> None:
        self.deadline = NEVER
        self._exchange.silent(self._transaction)


def _pause(response: Response) -> float:
    """Return how many seconds a server is to be left alone: what it says, or the usual.

    Spec: RFC 3261 §20.33, §21.5.4
    """
    text = None if response.local else response.first("Retry-After")
    if text is None:
        return AVOIDED
    try:
        return min(float(RetryAfter.parse(text).seconds), LONGEST_AVOIDED)
    except PeerError:
        return AVOIDED
