"""Queues for machines that all wait equally long."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.sip.flow import Flow
from omaim.sip.message import Request
from omaim.sip.timing import Timing
from omaim.sip.transaction import ServerTransaction
from omaim.sip.waiting import Lane
from omaim.timers import NEVER, Deadlines

FLOW = Flow("UDP", "192.0.2.1", 5060, "192.0.2.2", 5060)
REQUEST = Request.make("MESSAGE", "sip:bob@b.example", [])
WAIT = Timing().late


class Laned:
    """A lane of transactions that note who was woken when."""

    def __init__(self) -> None:
        self.deadlines = Deadlines()
        self.lane = Lane(self.deadlines)
        self.woken: list[tuple[str, float]] = []

    def join(self, name: str, now: float) -> ServerTransaction:
        one = ServerTransaction(REQUEST, FLOW, name, Timing(), now, self._act)
        self.lane.put(one)
        return one

    def _act(self, one: ServerTransaction, now: float) -> None:
        self.woken.append((one.key, now))
        if one.key == "bad":
            raise ValueError("bad")

    def names(self) -> list[str]:
        """Return who waits, checked in both directions."""
        forth: list[str] = []
        back: list[str] = []
        one: Any = self.lane.first
        while one is not None:
            forth.append(one.key)
            one = one.after
        one = self.lane.last
        while one is not None:
            back.append(one.key)
            one = one.before
        assert forth == back[::-1]
        return forth


class LaneTests(SynchronousTestCase):
    def test_woken_in_order(self) -> None:
        """Each is woken at its own deadline, and has left by then."""
        laned = Laned()
        for number in range(3):
            laned.join(str(number), float(number))
        self.assertEqual(laned.names(), ["0", "1", "2"])
        self.assertEqual(laned.deadlines.next(), WAIT)
        laned.deadlines.run(WAIT - 0.001)
        self.assertEqual(laned.woken, [])
        laned.deadlines.run(WAIT + 1.0)
        self.assertEqual(laned.woken, [("0", WAIT + 1.0), ("1", WAIT + 1.0)])
        self.assertEqual((laned.names(), laned.deadlines.next()), (["2"], WAIT + 2.0))

    def test_leaves_nothing(self) -> None:
        """Who left is not woken, and the heap holds one entry for the whole lane."""
        laned = Laned()
        ones = [laned.join(str(number), float(number)) for number in range(100)]
        for one in ones:
            one.leave()
            one.leave()
        self.assertEqual((laned.names(), len(laned.deadlines)), ([], 1))
        laned.deadlines.run(1000.0)
        self.assertEqual((laned.woken, len(laned.deadlines)), ([], 0))
        laned.join("again", 2000.0)
        self.assertEqual(laned.deadlines.next(), 2000.0 + WAIT)

    def test_time_went_backwards(self) -> None:
        """A deadline before the last one's is kept all the same."""
        laned = Laned()
        laned.join("later", 5.0)
        laned.join("earlier", 4.0)
        self.assertEqual(laned.names(), ["later"])
        laned.deadlines.run(4.0 + WAIT)
        self.assertEqual(laned.woken, [("earlier", 4.0 + WAIT)])

    def test_error(self) -> None:
        """The error of one goes up; the others are woken by the next run."""
        laned = Laned()
        for name in ("a", "bad", "b"):
            laned.join(name, 0.0)
        self.assertRaises(ValueError, laned.deadlines.run, 10.0)
        laned.deadlines.run(10.0)
        self.assertEqual([name for name, _ in laned.woken], ["a", "bad", "b"])
        self.assertEqual((laned.names(), laned.lane.deadline), ([], NEVER))

    @given(st.lists(st.tuples(st.sampled_from(["join", "leave", "run"]), st.floats(0.0, 9.0))))
    def test_like_a_list(self, steps: list[tuple[str, float]]) -> None:
        """However they come and go, those wait who joined, did not leave, and are not due."""
        laned = Laned()
        waiting: list[ServerTransaction] = []
        now = 0.0
        for number, (step, amount) in enumerate(steps):
            now += amount
            if step == "join":
                waiting.append(laned.join(str(number), now))
            elif step == "leave" and waiting:
                waiting.pop(int(amount * len(waiting) / 9.0) - 1).leave()
            elif step == "run":
                laned.deadlines.run(now)
                waiting = [one for one in waiting if one.lane is not None]
                self.assertTrue(all(one.deadline > now for one in waiting))
            self.assertEqual(laned.names(), [one.key for one in waiting])
