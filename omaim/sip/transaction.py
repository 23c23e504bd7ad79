"""The four transaction machines of SIP, as two classes: a server's and a client's.

What they do stands in the tables of :mod:`omaim.sip.transitions`; :mod:`omaim.sip.matching`
finds the machine for a message, and does what the machine asks for.

A machine takes inputs with the time, and says with ``take()`` what is to be done: a set of
bits, so that nothing is allocated. Its ``deadline`` is the next moment of its timers.

Spec: RFC 3261 §17; RFC 6026; RFC 4320
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from omaim.errors import UsageError
from omaim.sip.flow import Flow
from omaim.sip.hop import client_key
from omaim.sip.message import Request, Response
from omaim.sip.timing import Timing
from omaim.sip.transitions import (
    ABANDON,
    ACK,
    CALLING,
    CALM,
    END,
    ERROR,
    EXPIRE,
    INPUTS,
    INVITE_CLIENT,
    INVITE_SERVER,
    LIVES,
    OTHER_CLIENT,
    OTHER_SERVER,
    OUTPUTS,
    PACING,
    PROCEEDING,
    QUIET,
    REQUEST,
    START,
    TICK,
    TRYING,
    flatten,
    kind,
    life,
)
from omaim.sip.waiting import Waiting
from omaim.timers import NEVER

RESTART: Final = 5.0  # seconds in which a server may come back whose port is closed

_INVITE_CLIENT: Final = flatten(INVITE_CLIENT)
_OTHER_CLIENT: Final = flatten(OTHER_CLIENT)
_INVITE_SERVER: Final = flatten(INVITE_SERVER)
_OTHER_SERVER: Final = flatten(OTHER_SERVER)


@final
class ServerTransaction(Waiting):
    """One request that came, until no message about it can come any more.

    Args:
        request: as it came.
        flow: the path it came by.
        key: under which its repeats are found.
        timing: the timers.
        now: monotonic seconds.
        act: called after :meth:`wake`, with this object and the time, to take the outputs.

    Attributes:
        method: of the request.
        invite: the request is an INVITE.
        flow: the path the request came by.
        reply_to: the path of the answers; another than ``flow`` only where a Via without
            rport over UDP says so.
        state: one of the states of :mod:`omaim.sip.transitions`.
        wire: the latest response, kept to be repeated.
        tag: the To tag of our answers to an INVITE, "" as long as there is none.
        claim: what :meth:`Transactions.claim <omaim.sip.matching.Transactions.claim>` noted.
        ack_key: where an ACK without RFC 3261's branch finds it; "" for the others. The To
            tag of the answer is its last part, once there is one.
        context: the user's own; a proxy finds its forks here when CANCEL comes. Let go with
            the final response, but for an INVITE.

    Spec: RFC 3261 §17.2; RFC 6026 §7.1; RFC 4320 §4

    Differs: a non-INVITE request that its user leaves without answer is forgotten at 64 × T1 + T4;
    RFC 3261 has no timer there, RFC 4320 §4.2 says that no answer comes then.
    """

    __slots__ = (
        "_act",
        "_end_at",
        "_out",
        "_pause",
        "_request",
        "_table",
        "_tick_at",
        "_timing",
        "ack_key",
        "claim",
        "context",
        "flow",
        "invite",
        "key",
        "method",
        "reply_to",
        "state",
        "tag",
        "wire",
    )

    def __init__(
        self,
        request: Request,
        flow: Flow,
        key: str,
        timing: Timing,
        now: float,
        act: Callable[[ServerTransaction, float], None],
    ) -> None:
        method = request.method
        self.armed = NEVER  # what Waiting.__init__ would do, at half the price
        self.lane = None
        self.before = None
        self.after = None
        self.method = method
        self.flow = flow
        self.reply_to = flow
        self.key = key
        self.wire = b""
        self.tag = ""
        self.claim = ""
        self.ack_key = ""
        self.context: object = None
        self._request: Request | None = request
        self._timing = timing
        self._act = act
        self._out = 0
        self._pause = 0.0
        if method == "INVITE":
            self.invite = True
            self.state = PROCEEDING
            self._table = _INVITE_SERVER
            self._tick_at = now + timing.trying
            self._end_at = NEVER
        else:
            self.invite = False
            self.state = TRYING
            self._table = _OTHER_SERVER
            self._tick_at = now + timing.late
            self._end_at = now + timing.patience
        self.deadline = self._tick_at

    @property
    def request(self) -> Request:
        """The request, until it has its final response; take it before answering.

        Raises:
            UsageError: it was let go.
        """
        request = self._request
        if request is None:
            raise UsageError("an answered transaction keeps no request: take it before answering")
        return request

    @property
    def answered(self) -> bool:
        """A final response was given, or will never be."""
        return self.state > PROCEEDING

    def repeated(self, now: float) -> None:
        """The same request came again."""
        self._step(REQUEST, now)

    def acknowledged(self, now: float) -> None:
        """An ACK came that matches (INVITE only)."""
        self._step(ACK, now)

    def respond(self, status: int, now: float) -> None:
        """The user answers; when SEND comes out, the response goes into ``wire`` and is sent.

        What RFC 4320 forbids for a non-INVITE request is swallowed: every provisional but
        100, an early 100 over an unreliable transport, and 408.
        """
        if not self.invite:
            if status == 408:
                self._step(ABANDON, now)
                return
            if status < 200 and (
                status != 100
                or (self.state == TRYING and now < self._tick_at and not self.flow.reliable)
            ):
                return
        self._step(kind(status), now)

    def failed(self, now: float) -> None:
        """A response could not be delivered at all (§17.2.4)."""
        self._step(ERROR, now)

    def wake(self, now: float) -> None:
        if now >= self._end_at:
            self._step(EXPIRE, now)
        elif now >= self._tick_at:
            self._step(TICK, now)
        self._act(self, now)

    def take(self) -> int:
        """Return what is to be done, as bits, and forget it."""
        out = self._out
        self._out = 0
        return out

    def _step(self, what: int, now: float) -> None:
        cell = self._table[self.state * INPUTS + what]
        actions = cell >> 3
        if not actions:
            return
        self.state = cell & 7
        self._out |= actions & OUTPUTS
        if actions & PACING:
            self._pace(actions, now)
        if actions & LIVES:
            self._request = None
            length = life(actions, self._timing, self.flow.reliable)
            self._end_at = now + length
            if length == 0.0:
                self._step(EXPIRE, now)
                return
        if actions & END:
            self._request = None
            self.deadline = NEVER
        else:
            self.deadline = min(self._tick_at, self._end_at)

    def _pace(self, actions: int, now: float) -> None:
        if actions & QUIET:
            self._tick_at = NEVER
            return
        if actions & START:
            if self.flow.reliable:
                self._tick_at = NEVER
                return
            self._pause = self._timing.g
        else:
            self._pause = min(2.0 * self._pause, self._timing.t2)
        self._tick_at = now + self._pause


@final
class ClientTransaction(Waiting):
    """One request that was sent, until no answer to it can come any more.

    Args:
        request: with our Via on top; not changed afterwards.
        flow: the path it goes by.
        timing: the timers.
        now: monotonic seconds.
        act: called after :meth:`wake`, with this object and the time, to take the outputs.
        on_response: gets each response that is not a repeat.
        on_end: called once when the transaction is forgotten, or None.

    Attributes:
        method: of the request.
        invite: the request is an INVITE.
        branch: of the top Via.
        key: under which answers are found.
        state: one of the states of :mod:`omaim.sip.transitions`.
        wire: the request as sent, kept to be repeated.
        ack: the ACK for an error response, likewise.
        cancelling: the user wants the request cancelled.
        cancelled: CANCEL was sent.
        elsewhere: its user has another server to turn to.
        hopeless: the request cannot be sent; the user hears it at the next wake.

    Spec: RFC 3261 §17.1; RFC 6026 §7.2
    """

    __slots__ = (
        "_act",
        "_end_at",
        "_out",
        "_pause",
        "_request",
        "_table",
        "_tick_at",
        "_timing",
        "ack",
        "branch",
        "cancelled",
        "cancelling",
        "elsewhere",
        "flow",
        "hopeless",
        "invite",
        "key",
        "method",
        "on_end",
        "on_response",
        "state",
        "wire",
    )

    def __init__(
        self,
        request: Request,
        flow: Flow,
        timing: Timing,
        now: float,
        act: Callable[[ClientTransaction, float], None],
        on_response: Callable[[Response], None],
        on_end: Callable[[], None] | None = None,
    ) -> None:
        method = request.method
        branch = request.via.branch
        self.armed = NEVER  # what Waiting.__init__ would do, at half the price
        self.lane = None
        self.before = None
        self.after = None
        self.method = method
        self.flow = flow
        self.branch = branch
        self.key = client_key(branch, method)
        self.wire = b""
        self.ack = b""
        self.cancelling = False
        self.cancelled = False
        self.elsewhere = False
        self.hopeless = False
        self.on_response = on_response
        self.on_end = on_end
        self._request: Request | None = request
        self._timing = timing
        self._act = act
        self._out = 0
        if method == "INVITE":
            self.invite = True
            self.state = CALLING
            self._table = _INVITE_CLIENT
            self._pause = timing.a
            self._end_at = now + timing.b
        else:
            self.invite = False
            self.state = TRYING
            self._table = _OTHER_CLIENT
            self._pause = timing.e
            self._end_at = now + timing.f
        self._tick_at = NEVER if flow.reliable else now + self._pause
        self.deadline = min(self._tick_at, self._end_at)

    @property
    def request(self) -> Request:
        """The request, until its final response.

        Raises:
            UsageError: it was let go.
        """
        request = self._request
        if request is None:
            raise UsageError("an answered transaction keeps no request: keep it when sending")
        return request

    @property
    def answered(self) -> bool:
        """A final response came, or the transaction failed."""
        return self.state > PROCEEDING

    def responded(self, status: int, now: float) -> None:
        """A response that matches came from the wire."""
        self._step(kind(status), now)

    def failed(self, now: float) -> None:
        """The transport could not deliver (§17.1.4)."""
        self._step(ERROR, now)

    def refused(self, now: float) -> bool:
        """Tell whether word that the peer cannot be reached ends it; if so, :meth:`failed`.

        It does at once where there is another server, else when it has been so for
        :data:`RESTART` seconds.
        """
        if self.state > PROCEEDING:
            return False
        whole = self._timing.b if self.invite else self._timing.f
        return self.elsewhere or (self._end_at < NEVER and now >= self._end_at - whole + RESTART)

    def abandon(self, now: float) -> None:
        """CANCEL was sent: wait no longer than 64 × T1 for the final response (§9.1)."""
        self._step(ABANDON, now)

    def let_go(self) -> None:
        """Forget the request and its bytes, which no row needs after the final response."""
        self._request = None
        self.wire = b""

    def give_up(self, now: float) -> None:
        """The request cannot be sent: fail, but not before the caller of this has returned."""
        self.hopeless = True
        self.deadline = now

    def wake(self, now: float) -> None:
        if self.hopeless:
            self._step(ERROR, now)
        elif now >= self._end_at:
            self._step(EXPIRE, now)
        elif now >= self._tick_at:
            self._step(TICK, now)
        self._act(self, now)

    def take(self) -> int:
        """Return what is to be done, as bits, and forget it."""
        out = self._out
        self._out = 0
        return out

    def _step(self, what: int, now: float) -> None:
        cell = self._table[self.state * INPUTS + what]
        actions = cell >> 3
        if not actions:
            return
        self.state = cell & 7
        self._out |= actions & OUTPUTS
        if actions & PACING:
            self._pace(actions, now)
        if actions & LIVES:
            length = life(actions, self._timing, self.flow.reliable)
            self._end_at = now + length
            if length == 0.0:
                self._step(EXPIRE, now)
                return
        if actions & END:
            self.deadline = NEVER
        else:
            self.deadline = min(self._tick_at, self._end_at)

    def _pace(self, actions: int, now: float) -> None:
        if actions & QUIET:
            self._tick_at = NEVER
            return
        if actions & CALM:
            self._pause = self._timing.t2
        elif self.invite:
            self._pause *= 2.0
        else:
            self._pause = min(2.0 * self._pause, self._timing.t2)
        self._tick_at = now + self._pause
