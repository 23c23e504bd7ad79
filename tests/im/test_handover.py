"""Deferred messages are handed to a session of their recipient, one by one, and once."""

from __future__ import annotations

from omaim.bodies.cpim import Cpim
from omaim.errors import PeerError
from omaim.im.handover import Handed, Handover
from omaim.node.events import MessageDelivered
from tests.im.support import ALICE, BOB, CAROL, XENIA, ImTestCase, cpim


class HandoverTests(ImTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.send("term", XENIA, BOB, cpim("one"), "message/cpim", state="unreg")
        self.clock.advance(100)
        headers = (("Subject", "S"), ("Privacy", "id"))
        self.send("term", XENIA, BOB, b"two", state="unreg", headers=headers)
        self.send("term", ALICE, BOB, b"three", state="unreg")
        self.core.seen.clear()

    def session(self, *references: str, user: str = BOB) -> Handover:
        found: Handover = self.wait(self.im.retrieval.session(user, references))
        return found

    def next(self, session: Handover) -> Handed:
        found: Handed | None = self.wait(session.next())
        assert found is not None
        return found

    def test_all(self) -> None:
        """Oldest first, as CPIM with the original time; what is confirmed is over."""
        session = self.session()
        self.assertEqual(len(session), 3)
        one, two, three = (self.next(session) for _ in range(3))
        self.assertIsNone(self.wait(session.next()))
        message = Cpim.parse(one.part.content)
        self.assertEqual(
            (message.date_time, message.part.content), ("2026-01-01T00:00:00Z", b"one")
        )
        message = Cpim.parse(two.part.content)
        self.assertEqual(message.from_ and message.from_.uri, "sip:anonymous@anonymous.invalid")
        self.assertEqual((message.subject(), message.part.content), ("S", b"two"))
        for handed in (one, two, three):
            self.wait(session.confirmed(handed.reference))
        self.wait(session.close())
        self.assertEqual(self.waiting(BOB), [])
        delivered = [one for one in self.of(MessageDelivered) if one.recipient == BOB]
        self.assertEqual([one.deferred for one in delivered], [True] * 3)
        self.register(BOB)
        self.assertEqual(self.core.seen, [])

    def test_named(self) -> None:
        """Only what was asked for; others are not there, nor is what is another's."""
        second = self.wait(self.im.deferring.waiting(BOB))[1].reference
        session = self.session("unknown", second)
        self.assertEqual(self.next(session).reference, second)
        self.assertIsNone(self.wait(session.next()))
        for user, status in ((CAROL, 404), (XENIA, 403)):
            try:
                self.session(second, user=user)
            except PeerError as error:
                self.assertEqual(error.status, status)
            else:
                self.fail("it was shown")

    def test_not_confirmed(self) -> None:
        """What the client has not reported on waits again, and is delivered."""
        session = self.session()
        first = self.next(session)
        self.next(session)
        self.wait(session.confirmed(first.reference))
        self.wait(session.confirmed("unknown"))
        self.wait(session.close())
        self.clock.advance(1)
        self.assertEqual(self.bodies(), [b"two", b"three"])

    def test_not_pushed_meanwhile(self) -> None:
        """While a session has it, nobody else delivers it."""
        session = self.session()
        first = self.next(session)
        self.register(BOB)
        self.clock.advance(300)
        self.assertEqual(self.core.seen, [])
        self.wait(session.confirmed(first.reference))
        self.wait(session.close())
        self.clock.advance(1)
        self.assertEqual(self.bodies(), [b"two", b"three"])

    def test_pushed_before(self) -> None:
        """What is delivered in another way meanwhile is passed over."""
        session = self.session()
        self.core.script = [200, 480]
        self.register(BOB)
        self.assertEqual(len(self.core.seen), 2)
        self.clock.advance(1)
        self.assertEqual(Cpim.parse(self.next(session).part.content).part.content, b"two")

    def test_expired(self) -> None:
        """What has expired meanwhile is not handed out."""
        self.send("term", XENIA, CAROL, b"brief", state="unreg", headers=(("Expires", "60"),))
        session = self.session(user=CAROL)
        self.clock.advance(61)
        self.assertIsNone(self.wait(session.next()))

    def test_crash(self) -> None:
        """After a crash nobody waits for the session of the earlier life."""
        self.next(self.session())
        self.stop()
        self.start()
        self.register(BOB)
        self.assertEqual(self.bodies(), [cpim("one"), b"two", b"three"])
