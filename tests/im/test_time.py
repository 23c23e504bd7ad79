"""The IM Server while somebody sets the system's time."""

from __future__ import annotations

from omaim.im.delivery import ATTEMPT
from omaim.im.timetable import FIRST_PAUSE
from tests.im.support import BOB, XENIA, ImTestCase

HOUR = 3600.0


class TimeTests(ImTestCase):
    def test_retry(self) -> None:
        """The next try comes in its time, whichever way the time was set."""
        for jump in (-HOUR, HOUR):
            self.send("term", XENIA, BOB, state="unreg")
            self.core.script = [503]
            self.register(BOB)
            self.assertEqual(len(self.core.seen), 1)
            self.clock.set(jump)
            self.clock.advance(FIRST_PAUSE - 5.0)
            self.assertEqual(len(self.core.seen), 1)
            self.clock.advance(7.0)
            self.assertEqual(len(self.core.seen), 2)
            self.assertEqual(self.waiting(BOB), [])
            self.core.seen.clear()

    def test_attempt_of_another(self) -> None:
        """An attempt that seems to last longer than any is over: the time was set back."""
        self.send("term", XENIA, BOB, state="unreg")
        (message,) = self.successResultOf(self.stores.deferred.waiting(BOB, 0.0))
        now = self.clock.now()
        self.wait(
            self.stores.deferred.attempt(BOB, [message.reference], "im-2 x", now, now + ATTEMPT)
        )
        self.clock.set(-HOUR)
        self.register(BOB)
        self.assertEqual(self.bodies(), [b"hello"])

    def test_silent_device(self) -> None:
        """A message under way when the time is set back waits no hour for its next try."""
        self.core.script = [None]
        self.assertEqual(self.send("term", XENIA, BOB).status, 202)
        self.clock.set(-HOUR)
        self.clock.advance(2 * ATTEMPT)
        self.assertEqual(self.waiting(BOB), [])

    def test_validity(self) -> None:
        """Stored times are those of the day: a message ends then, whatever passed meanwhile."""
        self.send("term", XENIA, BOB, state="unreg", headers=(("Expires", "7200"),))
        self.clock.set(-HOUR)
        self.clock.advance(2 * HOUR)
        self.assertEqual(self.waiting(BOB), [b"hello"])
        self.clock.set(HOUR)
        self.clock.advance(60.0)
        self.assertEqual(self.waiting(BOB), [])
