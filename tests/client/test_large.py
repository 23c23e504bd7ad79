"""Large messages between two clients (large message mode)."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from omaim.client import arrivals
from omaim.client import large as large_module
from omaim.client.failures import NotFound, Refused, TooLarge, Unreachable, WrongFormat
from omaim.sip.message import Request
from omaim.testing.network import Link
from tests.client.support import ALICE, BOB, DOMAIN, HomeTests, PairTests

CAROL = f"sip:carol@{DOMAIN}"
TEXT = "A long story. " * 1000


class LargeTests(PairTests):
    def setUp(self) -> None:
        super().setUp()
        self.invites: list[Request] = []
        invited = self.bob.sessions._means.inviter.on_invite
        assert invited is not None

        def seen(invitation: object) -> object:
            self.invites.append(invitation.request)  # type: ignore[attr-defined]
            return invited(invitation)  # type: ignore[arg-type]

        self.bob.sessions._means.inviter.on_invite = seen

    def test_by_size(self) -> None:
        """What does not fit into a MESSAGE goes in a session, and arrives in the inbox."""
        sent = self.wait(self.alice.send("bob", TEXT, subject="Story"))
        message = self.successResultOf(self.bob.inbox.next())
        self.assertEqual((message.text, message.sender), (TEXT, ALICE))
        self.assertEqual(message.subject, "Story")
        self.settle()
        self.assertEqual(sent.status, "delivered")
        message.read()
        self.settle()
        self.assertEqual(sent.status, "displayed")
        self.assertEqual(self.alice.sessions._means.legs, set())
        self.assertEqual(self.bob.sessions._means.legs, set())

    def test_invite(self) -> None:
        """The INVITE says what it is for: by its tags, and that only one side sends."""
        self.wait(self.alice.send("bob", TEXT))
        (invite,) = self.invites
        self.assertEqual(invite.first("Accept-Contact"), "*;+g.oma.sip-im.large-message")
        self.assertTrue(invite.contacts[0].params.has("+g.oma.sip-im.large-message"))
        self.assertIn(b"a=sendonly", invite.body)

    def test_small(self) -> None:
        """What fits goes as a MESSAGE."""
        self.wait(self.alice.send("bob", "short"))
        self.assertEqual(self.invites, [])
        self.assertEqual(self.successResultOf(self.bob.inbox.next()).text, "short")

    def test_wished(self) -> None:
        """A small message may go as a large one."""
        self.wait(self.alice.send("bob", "short", large=True))
        self.assertEqual(len(self.invites), 1)
        self.assertEqual(self.successResultOf(self.bob.inbox.next()).text, "short")

    def test_no_question(self) -> None:
        """Nobody is asked: it is a message, not a talk."""
        asked: list[object] = []
        self.bob.on_invitation(asked.append)
        self.wait(self.alice.send("bob", TEXT))
        self.assertEqual(asked, [])

    def test_plain(self) -> None:
        """Without an envelope it arrives as well."""
        self.wait(self.alice.send("bob", TEXT, plain=True))
        self.assertEqual(self.successResultOf(self.bob.inbox.next()).text, TEXT)

    def test_too_large(self) -> None:
        """What the recipient does not take is not sent."""
        self.patch(large_module, "LARGEST", 5000)
        with self.assertRaises(TooLarge):
            self.wait(self.alice.send("bob", TEXT))
        self.settle()
        self.assertEqual(self.alice.sessions._means.legs, set())

    def test_wrong_format(self) -> None:
        """A type that the recipient does not take is refused, plain or not (RFC 4975 §10.6)."""
        with self.assertRaises(WrongFormat):
            self.wait(self.alice.send("bob", b"x" * 5000, content_type="image/png"))
        with self.assertRaises(WrongFormat):
            self.wait(self.alice.send("bob", b"x" * 5000, content_type="image/png", plain=True))

    def test_full(self) -> None:
        """Who has no room for another message refuses it, so that a server keeps it."""
        self.patch(arrivals, "WAITING", 1)
        self.wait(self.alice.send("bob", TEXT))
        with self.assertRaises(Unreachable):
            self.wait(self.alice.send("bob", TEXT))
        self.assertEqual(len(self.successResultOf(self.bob.inbox.next()).text), len(TEXT))
        self.wait(self.alice.send("bob", TEXT))

    def test_cut(self) -> None:
        """What broke off on the way is not shown, and its sender knows."""
        self.network.between("10.0.0.21", "10.0.0.22", Link(delay=0.2))
        sending = Deferred.fromCoroutine(self.alice.send("bob", "x" * 1_000_000))
        self.settle(3.0)
        self.network.reset("10.0.0.21")
        self.settle(60.0)
        self.failureResultOf(sending)
        reading = self.bob.inbox.next().addErrback(lambda _: None)
        self.assertNoResult(reading)
        self.assertEqual(self.bob.sessions._means.legs, set())


class ThroughServerTests(HomeTests):
    def test_offline(self) -> None:
        """A large message waits at the server, and comes when its recipient does."""
        alice = self.registered("alice")
        sent = self.wait(alice.send("bob", TEXT))
        self.assertEqual(sent.status, "pending")
        bob = self.registered("bob")
        self.settle(5.0)
        self.assertEqual(self.successResultOf(bob.inbox.next()).text, TEXT)
        self.settle(5.0)
        self.assertEqual(sent.status, "delivered")

    def test_online(self) -> None:
        """A large message passes the server at once."""
        alice, bob = self.registered("alice"), self.registered("bob")
        sent = self.wait(alice.send("bob", TEXT))
        self.assertEqual(self.successResultOf(bob.inbox.next()).text, TEXT)
        self.settle(5.0)
        self.assertEqual(sent.status, "delivered")


class ManyTests(HomeTests):
    def test_list_by_size(self) -> None:
        """What does not fit goes to a list as a large message: to who is there and who is not."""
        alice, bob = self.registered("alice"), self.registered("bob")
        sent = self.wait(alice.send(["bob", "carol", "bob"], TEXT, subject="Story"))
        self.assertEqual(sent.status, "pending")
        self.settle(5.0)
        message = self.successResultOf(bob.inbox.next())
        self.assertEqual((message.text, message.subject, message.sender), (TEXT, "Story", ALICE))
        self.assertEqual((message.group, set(message.others)), ("", {BOB, CAROL}))
        carol = self.registered("carol")
        self.settle(5.0)
        self.assertEqual(self.successResultOf(carol.inbox.next()).text, TEXT)
        self.settle(5.0)
        self.assertEqual({one.recipient for one in sent.reports}, {BOB, CAROL})
        for one in (alice, bob, carol):
            self.assertEqual(one.sessions._means.legs, set())
            self.assertNoResult(one.inbox.next().addErrback(lambda _: None))

    def test_small_list(self) -> None:
        """A message to several people that fits goes as a MESSAGE, blind copies unseen."""
        alice, bob = self.registered("alice"), self.registered("bob")
        self.wait(alice.send(["bob"], "short"))
        self.settle(5.0)
        self.assertEqual(self.successResultOf(bob.inbox.next()).text, "short")
        self.wait(alice.send_list([], TEXT, bcc=["bob", "carol"]))
        self.settle(5.0)
        message = self.successResultOf(bob.inbox.next())
        self.assertEqual((message.text, message.others), (TEXT, ()))

    def test_never_large(self) -> None:
        """A list message that must not go as a large one is not sent when it does not fit."""
        with self.assertRaises(TooLarge):
            self.wait(self.registered("alice").send(["bob"], TEXT, large=False))

    def test_group_by_size(self) -> None:
        """A group gets messages of any size; its members see which group, and answer to it."""
        tea = f"sip:room.tea@{DOMAIN}"
        self.group(tea, f"{ALICE} {BOB} {CAROL}")
        alice, bob, carol = [self.registered(one) for one in ("alice", "bob", "carol")]
        for text in ("short", TEXT):
            sent = self.wait(alice.send("room.tea", text))
            self.settle(5.0)
            self.assertNotEqual(sent.status, "failed")
            for one in (bob, carol):
                message = self.successResultOf(one.inbox.next())
                self.assertEqual((message.text, message.sender), (text, ALICE))
                self.assertEqual((message.group, message.to), (tea, (tea,)))
            self.assertEqual({one.recipient for one in sent.reports}, {BOB, CAROL})
        self.wait(message.reply_all("to all"))
        self.settle(5.0)
        for one in (alice, bob):
            self.assertEqual(self.successResultOf(one.inbox.next()).group, tea)
        self.wait(message.reply("to you"))
        self.settle(5.0)
        answer = self.successResultOf(alice.inbox.next())
        self.assertEqual((answer.text, answer.group), ("to you", ""))

    def test_refused(self) -> None:
        """Who may not write to a group learns why, in either mode."""
        self.group(f"sip:room.tea@{DOMAIN}", BOB)
        alice = self.registered("alice")
        for text in ("short", TEXT):
            with self.assertRaisesRegex(Refused, "119 Function not allowed"):
                self.wait(alice.send("room.tea", text))
            with self.assertRaises(NotFound):
                self.wait(alice.send("room.none", text))
