"""The core while somebody sets the system's time: timers do not notice."""

from __future__ import annotations

from omaim.net.wire import WireRecord
from tests.core.support import DOMAIN, IM, CoreCase

BOB = f"sip:bob@{DOMAIN}"
HOUR = 3600.0


class TimeTests(CoreCase):
    settings = {"im_server": f"sip:{IM}", "default_expires": 86400, "im_down": "deliver"}

    def setUp(self) -> None:
        super().setUp()
        self.im = self.server()
        self.alice, self.bob = self.phone("alice", 1), self.phone("bob", 2)
        self.register(self.bob)
        self.register(self.alice)
        self.assertEqual(self.send(self.alice, BOB).status, 200)

    def test_under_way(self) -> None:
        """A request that waits for its answer is not given up, nor a service for dead, when the
        time is set forward (RFC 3261 §17.1.2.2: Timer F is a duration)."""
        for jump in (HOUR, -2 * HOUR):
            self.bob.answer = 0
            sending = self.start(self.alice, BOB)
            self.clock.advance(1.0)
            self.clock.set(jump)
            self.clock.advance(4.0)
            self.assertNoResult(sending)
            self.bob.respond(self.bob.pending.pop(), 202)
            self.assertEqual(self.wait(sending).status, 202)

    def test_dead_service(self) -> None:
        """A dead service is gone past after its five seconds when the time is set back."""
        self.successResultOf(self.im.endpoint.stop())
        sending = self.start(self.alice, BOB)
        self.clock.advance(1.0)
        self.clock.set(-HOUR)
        before = self.clock.seconds()
        self.assertEqual(self.wait(sending).status, 200)
        self.assertLess(self.clock.seconds() - before, 12.0)

    def test_timer_c(self) -> None:
        """Timer C of a fork ends in its time (RFC 3261 §16.8)."""
        self.bob.answer = 0
        sending = self.start(self.alice, BOB, "INVITE")
        self.clock.advance(1.0)
        self.bob.respond(self.bob.pending.pop(), 180)
        self.clock.set(HOUR)
        self.clock.advance(150.0)
        self.assertNoResult(sending)
        self.clock.set(-2 * HOUR)
        self.clock.advance(120.0)
        self.assertIn(self.successResultOf(sending).status, (408, 487))

    def test_nonces(self) -> None:
        """Nobody who knows the password is refused, whichever way the time is set."""
        for jump in (10 * HOUR, -20 * HOUR, 100.0, -100.0):
            self.clock.set(jump)
            self.assertEqual(self.send(self.alice, BOB).status, 200)
            self.assertEqual(self.register(self.bob).status, 200)

    def test_lockout(self) -> None:
        """Who guessed too often waits his minute, though the time was set back."""
        guest = self.phone("alice", 3, user="nobody")
        guest.agent.credentials._password = b"wrong"
        guest.agent.credentials.username = f"alice@{DOMAIN}"
        for _ in range(25):
            status = self.register(guest).status
        self.assertEqual(status, 403)
        self.clock.set(-HOUR)
        self.clock.advance(61.0)
        self.assertEqual(self.register(guest).status, 401)

    def test_bindings(self) -> None:
        """Stored times are those of the day: a binding stays until then."""
        self.clock.set(-HOUR)
        self.clock.advance(60.0)
        self.assertEqual(self.send(self.alice, BOB).status, 200)
        self.clock.set(50 * HOUR)
        self.clock.advance(60.0)
        self.assertEqual(self.send(self.alice, BOB).status, 480)

    def test_trace(self) -> None:
        """What crosses the wire is dated by the time of day."""
        seen: list[WireRecord] = []
        self.node.taps.add_wire(seen.append)
        self.clock.set(5 * HOUR)
        self.send(self.alice, BOB)
        self.assertTrue(seen)
        for record in seen:
            self.assertLess(abs(record.time - self.clock.now()), 5.0)
