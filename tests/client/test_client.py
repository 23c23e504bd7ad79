"""The IM Client against a core and an IM Server, in virtual time."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from omaim.bodies.imdn import DELIVERY, DISPLAY
from omaim.client import Client
from omaim.client.failures import (
    Dismissed,
    NoAnswer,
    NoReport,
    NotDelivered,
    NotFound,
    TooLarge,
    WrongPassword,
)
from omaim.client.messages import Message, State, Typing
from omaim.errors import UsageError
from omaim.net.wire import WireRecord
from tests.client.support import ALICE, BOB, DOMAIN, HomeTests


class RegisterTests(HomeTests):
    def test_register(self) -> None:
        """A client registers with feature tag, instance and outbound (RFC 5626 §4.2)."""
        alice = self.client("alice")
        granted = self.wait(alice.register())
        self.assertTrue(alice.registered)
        self.assertEqual(granted.associated, (ALICE,))
        self.assertTrue(granted.outbound)
        self.assertIn(";gr=urn:uuid:", granted.pub_gruu)

    def test_wrong_password(self) -> None:
        """A wrong password is a failure of its own, and the client gives up."""
        alice = self.client("alice", password="wrong")
        with self.assertRaises(WrongPassword) as caught:
            self.wait(alice.register())
        self.assertIn("password", str(caught.exception))
        self.assertFalse(alice.registered)

    def test_nobody_there(self) -> None:
        """Without a server, registering fails; with ``insist`` it goes on (RFC 5626 §4.5)."""
        alice = self.client("alice", "10.0.0.99:5060;transport=tcp")
        with self.assertRaises(NoAnswer):
            self.wait(alice.register())
        insisting: Deferred[object] = Deferred.fromCoroutine(alice.register(insist=True))
        self.clock.advance(600.0)
        self.assertNoResult(insisting)
        self.wait(alice.close())
        self.failureResultOf(insisting)

    def test_stays_registered(self) -> None:
        """A day later the binding still stands, refreshed with credentials (RFC 3261 §10.2.4)."""
        alice = self.registered("alice", expires=600)
        self.clock.advance(86400.0)
        self.assertTrue(alice.registered)
        bob = self.registered("bob")
        self.assertEqual(self.wait(bob.send("alice", "still there?")).status, "delivered")

    def test_close(self) -> None:
        """Closing removes the binding: what comes then is kept (RFC 3261 §10.2.2)."""
        alice, bob = self.registered("alice"), self.registered("bob")
        self.wait(bob.close())
        self.assertEqual(self.wait(alice.send("bob", "hello")).status, "pending")

    def test_stream_lost(self) -> None:
        """A broken connection is made again, and messages come by it (RFC 5626 §4.5)."""
        alice = self.registered("alice", transport="tcp")
        bob = self.registered("bob", transport="tcp")
        self.clock.advance(3600.0)
        self.network.reset("10.0.0.12")
        self.settle(90.0)
        self.assertTrue(bob.registered)
        self.assertEqual(self.wait(alice.send("bob", "hello")).status, "delivered")

    def test_dead_stream(self) -> None:
        """A connection that died in silence is found by a keep-alive (RFC 5626 §4.4.1)."""
        states: list[str] = []
        bob = self.registered("bob", transport="tcp")
        bob.on_state = lambda state: states.append(state.name)
        self.clock.advance(600.0)
        self.network.cut("10.0.0.11", "10.0.0.1")
        self.clock.advance(400.0)
        self.assertIn("registering", states)
        self.network.mend("10.0.0.11", "10.0.0.1")
        self.clock.advance(4000.0)
        self.assertEqual(states[-1], "registered")
        alice = self.registered("alice")
        self.assertEqual(self.wait(alice.send("bob", "hello")).status, "delivered")


class NetworkTests(HomeTests):
    """The operator ends registrations (3GPP TS 24.229 §5.4.1.5; RFC 3680 §5.3)."""

    def ended(self, event: str, seconds: float) -> tuple[Client, list[State]]:
        """Have alice's registration ended by the core; return her client and what it told."""
        states: list[State] = []
        alice = self.registered("alice")
        alice.on_state = states.append
        self.settle()
        self.wait(self.core.registrar.deregister(ALICE, event))
        self.settle(seconds)
        return alice, states

    def test_rejected(self) -> None:
        """Whose registration is rejected stays away, and the person is told why."""
        alice, states = self.ended("rejected", 3600.0)
        self.assertFalse(alice.registered)
        self.assertEqual([one.name for one in states], ["failed"])
        self.assertIsInstance(states[0].failure, Dismissed)

    def test_deactivated(self) -> None:
        """Whose registration is deactivated registers anew, and stays reachable."""
        alice, _ = self.ended("deactivated", 60.0)
        self.assertTrue(alice.registered)
        bob = self.registered("bob")
        self.assertEqual(self.wait(bob.send("alice", "back?")).status, "delivered")

    def test_own_close(self) -> None:
        """To leave by oneself is no dismissal."""
        states: list[State] = []
        alice = self.registered("alice")
        alice.on_state = states.append
        self.settle()
        self.wait(alice.unregister())
        self.settle(60.0)
        self.assertEqual([(one.name, one.failure) for one in states], [("off", None)])


class SendTests(HomeTests):
    def test_five_lines(self) -> None:
        """What the package's docstring shows."""
        bob = self.registered("bob")

        async def main() -> tuple[str, str, str]:
            client = self.client("alice")
            await client.register()
            sent = await client.send(BOB, "hello")
            report = await sent.delivered(timeout=10)
            await client.close()
            return sent.status, report.kind, report.recipient

        self.assertEqual(self.wait(main()), ("delivered", DELIVERY, BOB))
        message = self.successResultOf(bob.inbox.next())
        self.assertEqual((message.sender, message.text, message.verified), (ALICE, "hello", True))
        self.assertEqual(message.to, (BOB,))
        self.assertLess(abs(message.sent_at - self.clock.now()), 2.0)

    def test_display_report(self) -> None:
        """The sender hears that a message was read, once, when it was (RFC 5438 §7.2.1.2)."""
        alice, bob = self.registered("alice"), self.registered("bob")
        sent = self.wait(alice.send("bob", "read this"))
        self.wait(sent.delivered())
        self.settle(60.0)
        self.assertEqual(sent.status, "delivered")
        message = self.successResultOf(bob.inbox.next())
        self.assertTrue(self.wait(message.read()))
        self.assertEqual(self.wait(sent.displayed()).kind, DISPLAY)
        self.assertEqual(sent.status, "displayed")
        self.assertFalse(self.wait(message.read()))
        self.assertEqual([report.kind for report in sent.reports], [DELIVERY, DISPLAY])

    def test_reply(self) -> None:
        """A message can be answered in one call."""
        alice, bob = self.registered("alice"), self.registered("bob")
        self.wait(alice.send("bob", "how are you?"))
        message = self.successResultOf(bob.inbox.next())
        self.wait(message.reply("fine"))
        self.assertEqual(self.successResultOf(alice.inbox.next()).text, "fine")

    def test_pending(self) -> None:
        """A message to somebody offline is pending, and delivered when they come."""
        alice = self.registered("alice")
        sent = self.wait(alice.send("bob", "later"))
        self.assertEqual(sent.status, "pending")
        with self.assertRaises(NoReport):
            self.wait(sent.delivered(timeout=5))
        bob = self.registered("bob")
        self.assertEqual(self.wait(sent.delivered()).status, "delivered")
        self.assertEqual(self.successResultOf(bob.inbox.next()).text, "later")

    def test_expired(self) -> None:
        """A message whose time is over is reported as failed (RFC 3428 §7, RFC 5438 §8.1)."""
        alice = self.registered("alice")
        sent = self.wait(alice.send("bob", "soon", validity=60))
        with self.assertRaises(NotDelivered):
            self.wait(sent.delivered(timeout=600))
        self.assertEqual(sent.status, "failed")

    def test_plain(self) -> None:
        """Plain text goes without an envelope, and without reports."""
        alice, bob = self.registered("alice"), self.registered("bob")
        sent = self.wait(alice.send("bob", "grüß dich", plain=True))
        message = self.successResultOf(bob.inbox.next())
        self.assertEqual((message.text, message.message_id), ("grüß dich", ""))
        self.assertEqual(message.sender, ALICE)
        self.assertEqual(self.wait(sent.delivered()).status, "delivered")
        with self.assertRaises(UsageError):
            self.wait(sent.displayed())
        with self.assertRaises(UsageError):
            self.wait(self.wait(alice.send("carol", "later", plain=True)).delivered())

    def test_subject_and_name(self) -> None:
        """Subject and display name arrive."""
        alice, bob = self.registered("alice", display="Alice Ä."), self.registered("bob")
        self.wait(alice.send("bob", "text", subject="Lunch: today?"))
        message = self.successResultOf(bob.inbox.next())
        self.assertEqual((message.subject, message.name), ("Lunch: today?", "Alice Ä."))

    def test_unknown(self) -> None:
        """Nobody there is a NotFound that says what to do (RFC 3261 §21.4.5)."""
        alice = self.registered("alice")
        with self.assertRaises(NotFound) as caught:
            self.wait(alice.send("nobody", "hello"))
        self.assertEqual(caught.exception.status, 404)
        self.assertIn("check how the address is written", str(caught.exception))

    def test_too_large(self) -> None:
        """More than 1300 octets do not go out in pager mode (RFC 3428 §8)."""
        alice = self.registered("alice")
        before = self.network.datagrams
        with self.assertRaises(TooLarge) as caught:
            self.wait(alice.send("bob", "x" * 1300, large=False))
        self.assertIn("large message", str(caught.exception))
        self.assertEqual(self.network.datagrams, before)

    def test_largest(self) -> None:
        """A message just under the limit arrives, over a stream where UDP is too small."""
        alice, bob = self.registered("alice"), self.registered("bob")
        size = 1300
        sent = None
        while sent is None:
            try:
                sent = self.wait(alice.send("bob", "x" * size, large=False))
            except TooLarge:
                size -= 1
        self.assertEqual(sent.status, "delivered")
        self.assertEqual(len(self.successResultOf(bob.inbox.next()).text), size)

    def test_small_ones_by_udp(self) -> None:
        """An ordinary message with its credentials fits into a datagram (RFC 3261 §18.1.1)."""
        alice = self.registered("alice")
        seen: list[WireRecord] = []
        alice.endpoint.wire.record = seen.append
        for _ in range(2):
            self.wait(alice.send("bob", "an ordinary message of ordinary length, as people write"))
        sent = [one for one in seen if one.direction == "out" and one.data[:8] == b"MESSAGE "]
        self.assertEqual({one.transport for one in sent}, {"UDP"})
        self.assertTrue(any(b"\r\nProxy-Authorization: " in one.data for one in sent))
        self.assertFalse(any(b"\r\nAuthorization: " in one.data for one in sent))

    def test_list(self) -> None:
        """A list message reaches each; those in copy see one another, others do not (RFC 5365)."""
        alice, bob, carol = (self.registered(name) for name in ("alice", "bob", "carol"))
        sent = self.wait(alice.send_list(["bob", "alice"], "hello all", bcc=["carol", "bob"]))
        self.assertEqual(sent.status, "pending")
        self.wait(sent.delivered(recipient="sip:carol@north.example"))
        self.wait(sent.delivered(recipient=BOB))
        first = self.successResultOf(bob.inbox.next())
        self.assertEqual((first.text, first.others), ("hello all", (BOB, ALICE)))
        second = self.successResultOf(carol.inbox.next())
        self.assertEqual((second.text, second.others), ("hello all", (BOB, ALICE)))
        self.assertNoResult(bob.inbox.next())

    def test_two_devices(self) -> None:
        """Both devices of a user get a message, and each reports (RFC 3261 §16.7)."""
        alice = self.registered("alice")
        desk, phone = self.registered("bob"), self.registered("bob")
        sent = self.wait(alice.send("bob", "hello"))
        self.settle()
        got = [self.successResultOf(one.inbox.next()).text for one in (desk, phone)]
        self.assertEqual(got, ["hello", "hello"])
        self.assertEqual(len(sent.reports), 2)

    def test_order(self) -> None:
        """Messages to one recipient arrive in the order they were sent (RFC 3428 §8)."""
        alice, bob = self.registered("alice"), self.registered("bob")
        sending = [Deferred.fromCoroutine(alice.send("bob", str(number))) for number in range(20)]
        for one in sending:
            self.wait(one)
        got = [self.successResultOf(bob.inbox.next()).text for _ in range(20)]
        self.assertEqual(got, [str(number) for number in range(20)])


class ReceiveTests(HomeTests):
    def test_iterator(self) -> None:
        """``async for`` gives each message, and ends with the client."""
        alice, bob = self.registered("alice"), self.registered("bob")
        got: list[str] = []

        async def main() -> None:
            async for message in bob.messages():
                got.append(message.text)

        running = Deferred.fromCoroutine(main())
        for text in ("one", "two"):
            self.wait(alice.send("bob", text))
        self.assertEqual(got, ["one", "two"])
        self.wait(bob.close())
        self.successResultOf(running)

    def test_function(self) -> None:
        """A coroutine function can take messages instead."""
        alice, bob = self.registered("alice"), self.registered("bob")
        got: list[str] = []

        async def take(message: Message) -> None:
            got.append(message.text)
            await message.reply("thanks")

        bob.on_message(take)
        self.wait(alice.send("bob", "here"))
        self.settle()
        self.assertEqual(got, ["here"])
        self.assertEqual(self.successResultOf(alice.inbox.next()).text, "thanks")

    def test_typing(self) -> None:
        """Somebody who types is noticed, and nothing else happens (RFC 3994)."""
        alice, bob = self.registered("alice"), self.registered("bob")
        heard: list[Typing] = []
        bob.on_typing(heard.append)
        body = (
            b"<?xml version='1.0' encoding='UTF-8'?>"
            b"<isComposing xmlns='urn:ietf:params:xml:ns:im-iscomposing'>"
            b"<state>active</state></isComposing>"
        )
        kind = "application/im-iscomposing+xml"
        self.wait(alice.send("bob", body, content_type=kind, plain=True))
        self.wait(alice.send("bob", body, content_type=kind, reports=()))
        self.assertEqual(heard, [Typing(ALICE, True)] * 2)
        self.assertNoResult(bob.inbox.next())


class AddressTests(HomeTests):
    def test_addresses(self) -> None:
        """People write addresses as they like."""
        alice = self.client("alice")
        for text, uri in (
            ("bob", BOB),
            (" <sip:bob@north.example> ", BOB),
            ("xenia@south.example", "sip:xenia@south.example"),
            ("tel:+15550100", "tel:+15550100"),
        ):
            self.assertEqual(alice.address(text), uri)
        for text in ("", "http://x", "sip:", "a b", "sip:north.example"):
            with self.assertRaises(UsageError):
                alice.address(text)

    def test_identity(self) -> None:
        """An identity needs a user and a domain; the error shows one."""
        for text in ("alice", "sip:north.example", "tel:+1555"):
            with self.assertRaises(UsageError) as caught:
                type(self.client("alice"))(text)
            self.assertIn(DOMAIN, str(caught.exception))
