"""Timers when somebody sets the system's time: on each reactor, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from omaim.net.clock import steady, wall
from omaim.testing.clock import Clock

# The system's time is what Twisted takes from the time module; here it can be set.
PROGRAM = """
import sys, time
real, ahead = time.time, [0.0]
time.time = lambda: real() + ahead[0]
if sys.argv[1] == "asyncio":
    from twisted.internet import asyncioreactor
    asyncioreactor.install()
from twisted.internet import reactor
from omaim.net.clock import steady, wall
assert abs(reactor.seconds() - real()) < 1.0

began = time.monotonic()
fired = []
def note(name):
    fired.append((name, time.monotonic() - began))
    if name == "last":
        reactor.stop()
def set_clock():
    ahead[0] += float(sys.argv[2])
    assert abs(wall(reactor)() - real() - ahead[0]) < 1.0

reactor.callLater(0.3, note, "before")  # it waits already when the clock is made steady
steady(reactor)
steady(reactor)
assert abs(reactor.seconds() - real()) < 1.0
reactor.callLater(0.1, set_clock)
reactor.callLater(0.4, note, "after")
reactor.callLater(0.2, lambda: reactor.callLater(0.3, note, "last"))
reactor.callLater(4000.0, note, "never")
reactor.run()
for name, seconds in fired:
    print(name, round(seconds, 3))
"""


class SteadyTests(SynchronousTestCase):
    def fired(self, reactor: str, jump: float) -> dict[str, float]:
        """Return what fired, and after how many seconds, when the time was set by ``jump``."""
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, reactor, str(jump)],
            capture_output=True,
            text=True,
            timeout=20,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        pairs = [line.split() for line in done.stdout.splitlines()]
        return {name: float(seconds) for name, seconds in pairs}

    def test_jumps(self) -> None:
        """However the system's time is set, each timer fires in its time and none early."""
        for reactor in ("default", "asyncio"):
            for jump in (-3600.0, 3600.0):
                found = self.fired(reactor, jump)
                self.assertEqual(list(found), ["before", "after", "last"], (reactor, jump))
                for name, seconds in (("before", 0.3), ("after", 0.4), ("last", 0.5)):
                    self.assertGreaterEqual(found[name], seconds - 0.01)
                    self.assertLess(found[name], seconds + 5.0)

    def test_simulated(self) -> None:
        """Simulated time has both, in step until one is set; making it steady changes nothing."""
        clock = Clock(100.0, 5000.0)
        now, fired = wall(clock), []
        clock.callLater(10.0, lambda: fired.append(clock.seconds()))
        clock.advance(5.0)
        self.assertEqual((clock.seconds(), now()), (105.0, 5105.0))
        clock.set(-3600.0)
        clock.advance(4.0)
        self.assertEqual((clock.seconds(), now(), fired), (109.0, 1509.0, []))
        clock.advance(1.0)
        self.assertEqual(fired, [110.0])

    def test_twice(self) -> None:
        """A reactor is made steady once."""

        class Reactor:
            def seconds(self) -> float:
                return 5000.0

        reactor = Reactor()
        steady(reactor)
        first = reactor.seconds
        steady(reactor)
        self.assertIs(reactor.seconds, first)
        self.assertLess(abs(reactor.seconds() - 5000.0), 1.0)
