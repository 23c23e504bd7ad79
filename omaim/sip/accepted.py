"""The 2xx of an INVITE, repeated by the user agent that gave it until the ACK comes.

Spec: RFC 3261 §13.3.1.4; RFC 6026 §8.1
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from omaim.sip.timing import Timing
from omaim.sip.transitions import SEND, TIMED_OUT
from omaim.timers import NEVER, Timed


@final
class AcceptedInvite(Timed):
    """Repeat the 2xx of an INVITE until its ACK comes, as the core of a user agent must.

    The transaction does not do it: the 2xx is acknowledged end to end, over every transport.

    Args:
        timing: the timers.
        now: when the 2xx was sent first.
        act: called after :meth:`wake` with this object and the time; takes the outputs: SEND,
            send the 2xx once more; TIMED_OUT, no ACK came in 64 × T1, say BYE.

    Spec: RFC 3261 §13.3.1.4; RFC 6026 §8.1
    """

    __slots__ = ("_act", "_end_at", "_out", "_pause", "_timing")

    def __init__(
        self, timing: Timing, now: float, act: Callable[[AcceptedInvite, float], None]
    ) -> None:
        super().__init__()
        self._act = act
        self._end_at = now + timing.h
        self._out = 0
        self._pause = timing.g
        self._timing = timing
        self.deadline = now + self._pause

    def acknowledged(self, now: float) -> None:
        """The ACK came; further ones change nothing."""
        self.deadline = NEVER

    def wake(self, now: float) -> None:
        if now >= self._end_at:
            self._out |= TIMED_OUT
            self.deadline = NEVER
        elif now >= self.deadline:
            self._out |= SEND
            self._pause = min(2.0 * self._pause, self._timing.t2)
            self.deadline = min(now + self._pause, self._end_at)
        self._act(self, now)

    def take(self) -> int:
        """Return what is to be done, as bits, and forget it."""
        out = self._out
        self._out = 0
        return out
