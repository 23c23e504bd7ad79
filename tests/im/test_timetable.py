"""When recipients are tried again."""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import floats, lists, sampled_from, tuples
from twisted.trial.unittest import SynchronousTestCase

from omaim.im.timetable import FIRST_PAUSE, LONGEST_PAUSE, Timetable


class TimetableTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 0.0
        self.table = Timetable(lambda: self.now)

    @given(lists(tuples(sampled_from("abc"), floats(0, 100)), max_size=12))
    def test_earliest(self, wishes: list[tuple[str, float]]) -> None:
        """Each is tried once, at the earliest moment that was noted."""
        self.setUp()
        first: dict[str, float] = {}
        for who, seconds in wishes:
            self.table.later(who, seconds)
            first[who] = min(first.get(who, 1000.0), seconds)
        for self.now in sorted(first.values()):
            for who in self.table.take():
                self.assertEqual(first.pop(who), self.now)
        self.assertEqual((first, len(self.table)), ({}, 0))

    def test_pauses(self) -> None:
        """Pauses double up to a longest one, and a success makes them short again."""
        pauses = []
        for _ in range(7):
            start = self.now
            self.table.failed("a")
            while not list(self.table.take()):
                self.now += 5.0
            pauses.append(self.now - start)
        self.assertEqual(pauses, [30.0, 60.0, 120.0, 240.0, 480.0, 900.0, 900.0])
        self.assertEqual((pauses[0], pauses[-1]), (FIRST_PAUSE, LONGEST_PAUSE))
        self.table.succeeded("a")
        self.table.failed("a")
        self.now += FIRST_PAUSE
        self.assertEqual(list(self.table.take()), ["a"])

    def test_forget(self) -> None:
        """Who is tried now needs no other moment."""
        self.table.later("a", 1.0)
        self.table.forget("a")
        self.now = 2.0
        self.assertEqual(list(self.table.take()), [])
