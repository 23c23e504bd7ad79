"""What those may cost us who have not proved who they are.

A datagram's source may be forged; whoever sends many would make us answer somebody who never
asked. So each source has an allowance of answers, which fills up slowly, and at once when the
source proves by right credentials that it gets our answers.

Spec: RFC 3261 §26.3.2.4
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from omaim.sip.flow import UDP, Flow

SOURCES: Final = 20_000  # addresses remembered; the one longest unseen goes first


@final
class Admission:
    """Counts answers to strangers.

    Args:
        rate: answers a second to one address that proves nothing; 0 for any number.
        burst: answers at once.
        now: seconds of the clock for timers.

    Attributes:
        refused: how many answers were not given.
    """

    __slots__ = ("_burst", "_left", "_now", "_rate", "refused")

    def __init__(self, rate: float, burst: float, now: Callable[[], float]) -> None:
        self.refused = 0
        self._rate = rate
        self._burst = burst
        self._now = now
        self._left: dict[str, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._left)

    def may_answer(self, flow: Flow) -> bool:
        """Tell whether to answer; on a stream the peer has shown that it hears us."""
        if flow.transport != UDP or not self._rate:
            return True
        now = self._now()
        host = flow.remote_host
        left, at = self._left.pop(host, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._rate)
        if len(self._left) >= SOURCES:
            del self._left[next(iter(self._left))]
        if left < 1.0:
            self._left[host] = (left, now)
            self.refused += 1
            return False
        self._left[host] = (left - 1.0, now)
        return True

    def proved(self, flow: Flow) -> None:
        """Somebody at this address answered a challenge: give back what that cost."""
        known = self._left.get(flow.remote_host)
        if known is not None and flow.transport == UDP:
            left = known[0] + 1.0
            if left >= self._burst:
                del self._left[flow.remote_host]
            else:
                self._left[flow.remote_host] = (left, known[1])
