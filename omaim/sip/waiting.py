"""Queues for machines that all wait equally long: joining and leaving cost the same, little.

Most transactions end long before their first deadline, and almost all deadlines are the same
few durations after now. In a heap they would pile up; here each is gone the moment it leaves.
"""

from __future__ import annotations

from typing import final

from omaim.timers import NEVER, Deadlines, Timed


class Waiting(Timed):
    """A machine that can stand in one :class:`Lane`.

    Its ``deadline`` may change only while it stands in none.
    """

    __slots__ = ("after", "before", "lane")

    def __init__(self) -> None:
        super().__init__()
        self.lane: Lane | None = None
        self.before: Waiting | None = None
        self.after: Waiting | None = None

    def leave(self) -> None:
        """Step out of the lane, if in one."""
        lane = self.lane
        if lane is None:
            return
        before = self.before
        after = self.after
        if before is None:
            lane.first = after
        else:
            before.after = after
        if after is None:
            lane.last = before
        else:
            after.before = before
        self.lane = None
        self.before = None
        self.after = None


@final
class Lane(Timed):
    """Machines in the order of their deadlines, which is the order in which they came.

    Args:
        deadlines: where the lane waits for the first of them.

    Attributes:
        first: the one whose deadline comes first, or None.
        last: the one whose deadline comes last, or None.
    """

    __slots__ = ("_deadlines", "first", "last")

    def __init__(self, deadlines: Deadlines) -> None:
        super().__init__()
        self.first: Waiting | None = None
        self.last: Waiting | None = None
        self._deadlines = deadlines

    def put(self, waiting: Waiting) -> None:
        """Let a machine wait at the end; it leaves the lane it is in.

        A deadline before that of the last one (time went backwards) is kept by the heap.
        """
        if waiting.lane is not None:
            waiting.leave()
        last = self.last
        if last is None:
            self.first = waiting
            self.deadline = waiting.deadline
            self._deadlines.arm(self)
        elif waiting.deadline < last.deadline:
            self._deadlines.arm(waiting)
            return
        else:
            last.after = waiting
            waiting.before = last
        self.last = waiting
        waiting.lane = self

    def wake(self, now: float) -> None:
        """Wake each whose deadline has come; each has left when it is woken."""
        try:
            first = self.first
            while first is not None and first.deadline <= now:
                first.leave()
                first.wake(now)
                first = self.first
        finally:
            first = self.first
            self.deadline = NEVER if first is None else first.deadline
