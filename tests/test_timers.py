"""The heap of deadlines."""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import floats, integers, lists, one_of, tuples
from twisted.trial.unittest import SynchronousTestCase

from omaim.timers import NEVER, Alarm, Deadlines, Wakeup


def alarm(log: list[tuple[int, float]], name: int) -> Alarm:
    """Return an alarm that notes its name and the time in ``log``."""
    return Alarm(lambda now: log.append((name, now)))


class DeadlinesTests(SynchronousTestCase):
    def test_order(self) -> None:
        """The earliest is woken first, however they were armed."""
        log: list[tuple[int, float]] = []
        deadlines = Deadlines()
        for name, moment in ((1, 3.0), (2, 1.0), (3, 2.0)):
            timed = alarm(log, name)
            timed.deadline = moment
            deadlines.arm(timed)
        self.assertEqual(deadlines.next(), 1.0)
        self.assertEqual(deadlines.run(2.5), 2)
        self.assertEqual([name for name, _ in log], [2, 3])
        self.assertEqual(deadlines.run(3.0), 1)
        self.assertEqual(deadlines.next(), NEVER)

    def test_error_keeps_the_rest(self) -> None:
        """An error of one alarm leaves the others armed."""
        log: list[tuple[int, float]] = []
        deadlines = Deadlines()

        def fail(now: float) -> None:
            raise RuntimeError("no")

        bad, good = Alarm(fail), alarm(log, 1)
        bad.deadline, good.deadline = 1.0, 2.0
        deadlines.arm(bad)
        deadlines.arm(good)
        self.assertRaises(RuntimeError, deadlines.run, 5.0)
        deadlines.run(5.0)
        self.assertEqual(log, [(1, 5.0)])

    @given(
        moves=lists(
            tuples(integers(0, 4), one_of(floats(0, 100), floats(NEVER, NEVER))), max_size=40
        )
    )
    def test_woken_when_due_and_never_else(self, moves: list[tuple[int, float]]) -> None:
        """However deadlines move, each alarm is woken once at its last one, or not at all."""
        log: list[tuple[int, float]] = []
        deadlines = Deadlines()
        alarms = [alarm(log, name) for name in range(5)]
        for name, moment in moves:
            alarms[name].deadline = moment
            deadlines.arm(alarms[name])
        wanted = {name: timed.deadline for name, timed in enumerate(alarms)}
        now = 0.0
        while now <= 101:
            deadlines.run(now)
            now += 1.0
        for name, moment in wanted.items():
            times = [when for who, when in log if who == name]
            if moment == NEVER:
                self.assertEqual(times, [])
            else:
                self.assertEqual(len(times), 1)
                self.assertTrue(moment <= times[0] <= moment + 1.0)


class WakeupTests(SynchronousTestCase):
    def test_nearer(self) -> None:
        """A plan is made when the earliest deadline has come nearer, and then only."""
        plans: list[float] = []
        deadlines = Deadlines()
        wakeup = Wakeup(deadlines, plans.append)
        wakeup.arm()
        for moment in (5.0, 7.0, 3.0):
            timed = alarm([], 1)
            timed.deadline = moment
            deadlines.arm(timed)
            wakeup.arm()
        self.assertEqual((plans, wakeup.at), ([5.0, 3.0], 3.0))
