"""Invitations that are accepted without asking, and messages that come with them."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis.strategies import booleans, builds, none, sampled_from
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.cpim import MEDIA_TYPE as CPIM
from omaim.client import Conversation, Invited, sessions
from omaim.client.answering import Answering
from omaim.client.failures import Declined, Refused, Unreachable, WrongFormat
from omaim.client.first_message import LARGEST, Opening
from omaim.client.messages import Message, Report
from omaim.errors import PeerError
from omaim.im.policy import Settings
from omaim.sip.answer_mode import AUTO, MANUAL, AnswerMode
from tests.client.support import ALICE, BOB, HomeTests, PairTests

wishes = none() | builds(AnswerMode, sampled_from([AUTO, MANUAL, "Later"]), booleans(), booleans())
switches = builds(Answering, booleans(), booleans(), booleans())


class DecidingTests(SynchronousTestCase):
    @given(switches, wishes, booleans(), booleans())
    def test_never_unasked(
        self, answering: Answering, asked: AnswerMode | None, room: bool, trusted: bool
    ) -> None:
        """Nothing is answered that the person has not switched on; what others say counts only
        from our own server, and if that is switched on."""
        try:
            found = answering.by_itself(asked, room, trusted)
        except PeerError as error:
            assert asked is not None
            self.assertEqual((error.status, asked.required), (403, True))
            return
        ours = answering.everything or (room and answering.rooms)
        told = asked is not None and asked.mode == AUTO and trusted and answering.told
        self.assertEqual(found, ours or told)
        if asked is not None and asked.required:
            self.assertEqual(asked.mode, AUTO if found else MANUAL)


class AnsweringTests(PairTests):
    """What comes from the other's address is taken for our own server's."""

    def asked(self) -> list[Invited]:
        invited: list[Invited] = []
        self.bob.on_invitation(invited.append)
        return invited

    def test_told(self) -> None:
        """Told so by our server, and switched on: no ringing, and the answer says how it was."""
        invited = self.asked()
        rung: list[int] = []
        for switched in (True, False):
            self.bob.auto_answer = switched
            inviting = Deferred.fromCoroutine(
                self.alice.invite("bob", answer=AnswerMode(AUTO), ringing=rung.append)
            )
            self.settle()
            if not switched:
                self.assertEqual((len(invited), rung), (1, [180]))
                self.wait(invited[0].accept())
                self.settle()
            talk = self.successResultOf(inviting)
            self.assertEqual(talk.answered, AUTO if switched else MANUAL)
            self.wait(talk.leave())
            self.settle()

    def test_told_by_anybody(self) -> None:
        """Who reaches us past our server does not have us answer (RFC 5373: authorization)."""
        invited = self.asked()
        self.bob.auto_answer = True
        carol = self.client("carol", "10.0.0.22:5060", listen="10.0.0.23:5060")
        self.wait(carol.open())
        self.addCleanup(self.closed, carol)
        inviting = Deferred.fromCoroutine(carol.invite("bob", answer=AnswerMode(AUTO)))
        self.settle()
        self.assertNoResult(inviting)
        invited[0].decline()
        self.settle()
        self.failureResultOf(inviting, Declined)
        must = AnswerMode(AUTO, required=True)
        with self.assertRaises(Refused) as caught:
            self.wait(carol.invite("bob", answer=must))
        self.assertIn("automatic answer forbidden", str(caught.exception))
        self.assertEqual(len(invited), 1)

    def test_required(self) -> None:
        """Who insists on the person does not get a device that answers all by itself."""
        self.bob.auto_accept = True
        with self.assertRaises(Refused) as caught:
            self.wait(self.alice.invite("bob", answer=AnswerMode(MANUAL, required=True)))
        self.assertIn("manual answer forbidden", str(caught.exception))
        self.assertEqual(self.wait(self.alice.invite("bob")).answered, "")

    def test_nobody_there(self) -> None:
        """Without a person, what may not be answered automatically is 480."""
        self.bob.auto_answer = True
        with self.assertRaises(Unreachable):
            self.wait(self.alice.invite("bob"))
        talk = self.wait(self.alice.invite("bob", answer=AnswerMode(AUTO, privileged=True)))
        self.assertEqual(talk.answered, AUTO)


class FirstMessageTests(PairTests):
    def setUp(self) -> None:
        super().setUp()
        self.invited: list[Invited] = []
        self.reports: list[Report] = []
        self.bob.on_invitation(self.invited.append)
        self.alice.on_report(self.reports.append)

    def call(self, first: str = "Hungry?") -> Deferred[Conversation]:
        inviting = Deferred.fromCoroutine(self.alice.invite("bob", first=first))
        self.settle()
        return inviting

    def texts(self) -> list[str]:
        """Return what bob has outside of conversations."""
        found: list[Message] = []
        self.bob.on_message(found.append)
        return [one.text for one in found]

    def test_accepted(self) -> None:
        """It is shown with the invitation, reported on while it rings, and the first of the
        conversation; it is answered and read there."""
        inviting = self.call()
        (invited,) = self.invited
        assert invited.first is not None
        self.assertEqual((invited.first.text, invited.first.sender), ("Hungry?", ALICE))
        self.assertEqual([one.status for one in self.reports], ["delivered"])
        his = self.wait(invited.accept())
        hers = self.wait(inviting)
        first = self.successResultOf(his.next())
        self.assertEqual(first, invited.first)
        first.read()
        self.wait(first.reply("Very"))
        self.settle()
        self.assertEqual(self.successResultOf(hers.next()).text, "Very")
        assert hers.first is not None
        self.assertEqual(hers.first.status, "displayed")
        self.assertEqual(self.texts(), [])

    def test_given_up(self) -> None:
        """When the caller gives up it is among our messages; it can be answered there."""
        inviting = self.call()
        inviting.cancel()
        self.settle()
        self.failureResultOf(inviting)
        message = self.wait(self.bob.inbox.next())
        self.assertEqual((message.text, message.sender), ("Hungry?", ALICE))
        self.wait(message.reply("Too late?"))
        self.assertEqual(self.wait(self.alice.inbox.next()).text, "Too late?")

    def test_declined(self) -> None:
        """Who declines has seen it: it is not shown again, and what is told of it counts."""
        inviting = self.call()
        self.invited[0].decline()
        self.settle()
        self.failureResultOf(inviting, Declined)
        self.assertEqual(self.texts(), [])
        self.assertEqual([one.status for one in self.reports], ["delivered"])

    def test_large(self) -> None:
        """What is too large for an INVITE is said first in the session."""
        long = "long " * LARGEST
        inviting = self.call(long)
        self.assertIsNone(self.invited[0].first)
        his = self.wait(self.invited[0].accept())
        hers = self.wait(inviting)
        self.settle()
        assert hers.first is not None
        self.assertEqual(hers.first.status, "delivered")
        self.assertEqual(self.successResultOf(his.next()).text, long)

    def test_not_taken(self) -> None:
        """Who takes no text, with the invitation or in the session, is not made to: nothing is left
        of the session, and the failure says why (RFC 3261 §21.4.13)."""
        dave = self.client(
            "dave", "10.0.0.25:5060", listen="10.0.0.24:5060", accept=(CPIM, "image/png")
        )
        everything = (CPIM, "*/*")
        eve = self.client("eve", "10.0.0.24:5060", listen="10.0.0.25:5060", accept=everything)
        for client in (dave, eve):
            self.wait(client.open())
            self.addCleanup(self.closed, client)
        dave.auto_accept = True
        with self.assertRaises(WrongFormat):
            self.wait(eve.invite("dave", first="Hungry?"))
        self.settle()
        self.assertEqual((eve.conversations, dave.conversations), ([], []))
        self.wait(eve.invite("dave"))

    def test_full(self) -> None:
        """With no room for messages there is none for one that comes along: 480."""
        self.bob.inbox._arrivals._waiting.extend([None] * 1000)  # type: ignore[list-item]
        self.failureResultOf(self.call(), Unreachable)
        self.assertEqual(self.invited, [])

    def test_repeated(self) -> None:
        """One that is known already is not shown a second time."""
        opening = Opening(self.alice._means, BOB, "Hungry?")
        self.patch(sessions, "Opening", lambda *_: opening)
        inviting = self.call()
        self.invited[0].decline()
        self.settle()
        self.failureResultOf(inviting)
        self.call()
        self.assertIsNone(self.invited[1].first)


class RoomTests(HomeTests):
    def test_rooms_only(self) -> None:
        """A client may go into each room it is invited to, and ask about people all the same."""
        alice, bob = self.registered("alice"), self.registered("bob")
        for client in (alice, bob):
            self.addCleanup(self.closed, client)
        bob.auto_join = True
        invited: list[Invited] = []
        begun: list[Conversation] = []
        bob.on_invitation(invited.append)
        bob.on_conversation(begun.append)
        self.wait(alice.conference(["bob"], "Plans"))
        self.settle()
        self.assertEqual((len(begun), invited), (1, []))
        calling = Deferred.fromCoroutine(alice.invite("bob"))
        self.settle()
        self.assertEqual(len(invited), 1)
        invited[0].decline()
        self.settle()
        self.failureResultOf(calling, Declined)

    def closed(self, client: Any) -> None:
        self.wait(client.close())

    def test_published(self) -> None:
        """A person can have those answered automatically whom its server lets do so, without
        their asking (spec 10 §5: forced by policy)."""
        alice, bob = self.registered("alice"), self.registered("bob")
        for client in (alice, bob):
            self.addCleanup(self.closed, client)
        self.im.settings.put(BOB, Settings(auto=frozenset([ALICE])))
        invited: list[Invited] = []
        bob.on_invitation(invited.append)
        bob.auto_answer = True
        self.wait(bob.settings.want(automatic=True))
        rung: list[int] = []
        talk = self.wait(alice.invite("bob", ringing=rung.append))
        self.assertEqual((talk.answered, rung, invited), (AUTO, [], []))
