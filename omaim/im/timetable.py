"""When to try again what could not be delivered.

Spec: RFC 3428 §8 (congestion): who cannot be reached is tried ever more seldom
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from typing import Final

FIRST_PAUSE: Final = 30.0  # seconds before a failed delivery is tried again, then doubling
LONGEST_PAUSE: Final = 900.0
_DOUBLINGS: Final = 16


class Timetable:
    """The moments at which recipients are to be tried; at most one for each.

    Args:
        now: seconds of the clock for timers.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._heap: list[tuple[float, str]] = []
        self._due: dict[str, float] = {}
        self._failures: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._due)

    def later(self, who: str, seconds: float) -> None:
        """Note a moment, unless an earlier one is noted."""
        at = self._now() + seconds
        if at < self._due.get(who, float("inf")):
            self._due[who] = at
            heappush(self._heap, (at, who))

    def failed(self, who: str) -> None:
        """A try has failed: note the next one, each time after a longer pause."""
        failures = self._failures.get(who, 0)
        self._failures[who] = min(failures + 1, _DOUBLINGS)
        self.later(who, min(FIRST_PAUSE * 2.0**failures, LONGEST_PAUSE))

    def succeeded(self, who: str) -> None:
        """The next pause is a short one again."""
        self._failures.pop(who, None)

    def forget(self, who: str) -> None:
        """It is being tried now."""
        self._due.pop(who, None)

    def take(self) -> Iterator[str]:
        """Yield those whose moment has come, and forget the moments."""
        now, heap = self._now(), self._heap
        while heap and heap[0][0] <= now:
            at, who = heappop(heap)
            if self._due.get(who) == at:
                del self._due[who]
                yield who
