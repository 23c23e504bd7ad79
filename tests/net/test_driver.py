"""One reactor call for all machines."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from omaim.net.driver import GRAIN, Driver
from omaim.testing.clock import Clock
from omaim.timers import Alarm


class DriverTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.driver = Driver(self.clock)
        self.rung: list[float] = []
        self.start = self.clock.seconds()

    def alarm(self, seconds: float) -> Alarm:
        """Return an alarm that rings in some seconds."""
        alarm = Alarm(lambda now: self.rung.append(round(now - self.start, 3)))
        alarm.deadline = self.driver.now() + seconds
        self.driver.deadlines.arm(alarm)
        self.driver.arm()
        return alarm

    def test_one_call_for_many(self) -> None:
        """However many wait, the reactor has one call."""
        for seconds in (9, 3, 5, 1, 7):
            self.alarm(seconds)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(10)
        self.assertEqual(self.rung, [1, 3, 5, 7, 9])
        self.assertEqual(len(self.clock.getDelayedCalls()), 0)

    def test_grain(self) -> None:
        """Deadlines close together share a wake; none is early."""
        for seconds in (0.0, GRAIN / 5, GRAIN / 2):
            self.alarm(seconds)
        self.clock.advance(1)
        self.assertEqual(self.rung, [GRAIN] * 3)

    def test_failing_machine(self) -> None:
        """A machine that fails is logged; the others are woken all the same."""

        def broken(now: float) -> None:
            raise ZeroDivisionError

        failing = Alarm(broken)
        failing.deadline = self.driver.now() + 1
        self.driver.deadlines.arm(failing)
        self.alarm(1)
        self.alarm(2)
        self.clock.advance(3)
        self.assertEqual(len(self.rung), 2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_stop(self) -> None:
        """A stopped driver wakes nobody, whatever is armed later."""
        self.alarm(1)
        self.driver.stop()
        self.alarm(1)
        self.clock.advance(5)
        self.assertEqual((self.rung, self.clock.getDelayedCalls()), ([], []))
