"""One heap of deadlines, so that any number of machines share one reactor call.

A machine derives from :class:`Timed`, keeps its next moment in ``deadline`` and moves it as it
likes; whoever moved it calls :meth:`Deadlines.arm`. A deadline that moved later, or was
forgotten, costs nothing until its old moment comes: the heap then looks at ``deadline`` again.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final, final

from mypy_extensions import mypyc_attr

NEVER: Final = float("inf")  # the deadline of a machine that waits for nothing


@mypyc_attr(allow_interpreted_subclasses=True)
class Timed:
    """Something with one moment at which it wants to be woken.

    Attributes:
        deadline: monotonic seconds, or :data:`NEVER`.
        armed: the earliest moment at which the heap will look at this object again;
            the heap's own note.
    """

    __slots__ = ("armed", "deadline")

    def __init__(self) -> None:
        self.deadline: float = NEVER
        self.armed: float = NEVER

    def wake(self, now: float) -> None:
        """The deadline has come: act, and set the next one or :data:`NEVER`."""
        raise NotImplementedError


@final
class Alarm(Timed):
    """A deadline that calls a function: for owners that are no :class:`Timed` themselves.

    Args:
        act: called with the time when the deadline has come.
    """

    __slots__ = ("_act",)

    def __init__(self, act: Callable[[float], None]) -> None:
        super().__init__()
        self._act = act

    def wake(self, now: float) -> None:
        self.deadline = NEVER
        self._act(now)


@final
class Deadlines:
    """The heap. It never reads a clock: the time comes in with each call."""

    __slots__ = ("_heap", "_serial")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timed]] = []
        self._serial = 0

    def __len__(self) -> int:
        return len(self._heap)

    def arm(self, timed: Timed) -> None:
        """Take note of the present ``deadline`` of ``timed``."""
        deadline = timed.deadline
        if deadline < timed.armed:
            timed.armed = deadline
            self._serial += 1
            heappush(self._heap, (deadline, self._serial, timed))

    def next(self) -> float:
        """Return when :meth:`run` is wanted next; it may then find nothing to do."""
        return self._heap[0][0] if self._heap else NEVER

    def run(self, now: float) -> int:
        """Wake all whose deadline is at or before ``now``, earliest first.

        Returns:
            How many were woken. An error of one goes up to the caller; it and all before
            it are done with, the rest wait for the next call.
        """
        woken = 0
        heap = self._heap
        while heap and heap[0][0] <= now:
            moment, _, timed = heappop(heap)
            if moment != timed.armed:
                continue  # an earlier moment was noted since, and has been served
            timed.armed = NEVER
            if timed.deadline <= now:
                woken += 1
                try:
                    timed.wake(now)
                finally:
                    self.arm(timed)
            else:
                self.arm(timed)
        return woken


@final
class Wakeup:
    """What sees to it that :meth:`Deadlines.run` is called in time, by one call of a reactor.

    Args:
        deadlines: the heap.
        plan: called with the moment of the earliest deadline when that has come nearer.

    Attributes:
        at: the moment that was planned; :data:`NEVER` for none.
    """

    __slots__ = ("_deadlines", "_plan", "at")

    def __init__(self, deadlines: Deadlines, plan: Callable[[float], None]) -> None:
        self.at: float = NEVER
        self._deadlines: Final = deadlines
        self._plan: Final = plan

    def arm(self) -> None:
        """See to it that the earliest deadline is kept.

        Whoever gave a machine an input calls this when done; it costs next to nothing when the
        earliest deadline has not moved forward.
        """
        at = self._deadlines.next()
        if at < self.at:
            self.at = at
            self._plan(at)
