"""Two clients talk in a session, without a server between (IM-9)."""

from __future__ import annotations

import re
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from omaim.client import arrivals
from omaim.client import talk as talk_module
from omaim.client.arrivals import Closed
from omaim.client.composing import Content, write_cpim
from omaim.client.conversation import Conversation
from omaim.client.failures import Busy, Declined, Ended, Failure, TooLarge, Unreachable, WrongFormat
from omaim.client.invited import Invited
from omaim.client.messages import Message, Typing
from omaim.errors import UsageError
from omaim.msrp import OPEN, Outgoing
from omaim.roles.description import Description
from omaim.roles.negotiation import Negotiation
from tests.client.support import ALICE, BOB, PairTests


class InviteTests(PairTests):
    def test_both_ways(self) -> None:
        """What the module's docstring shows: invite, talk, leave (RFC 4975 §4)."""
        invited: list[Invited] = []
        statuses: list[int] = []
        self.bob.on_invitation(invited.append)
        inviting = Deferred.fromCoroutine(
            self.alice.invite("bob", subject="Lunch", ringing=statuses.append)
        )
        self.settle()
        (asked,) = invited
        self.assertEqual((asked.sender, asked.subject, asked.room), (ALICE, "Lunch", ""))
        self.assertEqual(statuses, [180])
        self.assertNoResult(inviting)
        his = self.wait(asked.accept())
        hers: Conversation = self.wait(inviting)
        sent = self.wait(hers.send("Hungry?"))
        self.settle()
        message = self.successResultOf(his.next())
        self.assertEqual((message.text, message.sender), ("Hungry?", ALICE))
        self.assertEqual(sent.status, "delivered")
        message.read()
        answer = self.wait(message.reply("Very"))
        self.settle()
        self.assertEqual(sent.status, "displayed")
        self.assertEqual(self.successResultOf(hers.next()).text, "Very")
        self.assertEqual(answer.to, (ALICE,))
        ends: list[str] = []
        his.on_end(ends.append)
        self.wait(hers.leave())
        self.settle()
        self.assertEqual(ends, [""])
        self.assertTrue(his.ended and hers.ended)
        self.assertEqual(self.alice.conversations, [])
        self.assertEqual(self.bob.conversations, [])
        self.failureResultOf(his.next(), Closed)

    def test_headers(self) -> None:
        """An INVITE asks for an IM Client and says who we are (OMA SIMPLE IM 1.0)."""
        _, his = self.talk(subject="Lunch")
        invite = his.leg.call.request
        self.assertEqual(invite.first("Accept-Contact"), "*;+g.oma.sip-im")
        self.assertEqual(invite.first("P-Preferred-Identity"), f"<{ALICE}>")
        self.assertEqual(invite.first("Subject"), "Lunch")
        contact = invite.contacts[0]
        self.assertTrue(contact.params.has("+g.oma.sip-im"))
        self.assertIn("timer", invite.supported)
        self.assertIn(b"m=message", invite.body)
        self.assertIn(b"accept-types:message/cpim", invite.body)

    def test_declined(self) -> None:
        """603 is Declined, 486 Busy; the other side is told which (RFC 3261 §21)."""
        for status, kind in ((603, Declined), (486, Busy)):
            self.bob.on_invitation(lambda invited, status=status: invited.decline(status))  # type: ignore[misc]
            with self.assertRaises(kind) as caught:
                self.wait(self.alice.invite("bob"))
            self.assertEqual(caught.exception.status, status)
        self.assertEqual(self.alice.sessions._means.legs, set())

    def test_nobody_to_ask(self) -> None:
        """A client that does not talk answers 480."""
        with self.assertRaises(Unreachable):
            self.wait(self.alice.invite("bob"))

    def test_given_up(self) -> None:
        """Who cancels gives up; the other side can accept no more (RFC 3261 §9)."""
        invited: list[Invited] = []
        cancelled: list[bool] = []
        self.bob.on_invitation(invited.append)
        inviting = Deferred.fromCoroutine(self.alice.invite("bob"))
        self.settle()
        invited[0].on_cancel(lambda: cancelled.append(True))
        inviting.cancel()
        self.settle()
        self.failureResultOf(inviting, Failure)
        self.assertEqual(cancelled, [True])
        with self.assertRaises(Ended):
            self.wait(invited[0].accept())

    def test_answered_once(self) -> None:
        """An invitation has one answer."""
        invited: list[Invited] = []
        self.bob.on_invitation(invited.append)
        inviting = Deferred.fromCoroutine(self.alice.invite("bob"))
        self.settle()
        self.wait(invited[0].accept())
        self.wait(inviting)
        with self.assertRaises(UsageError):
            invited[0].decline()

    def test_secure(self) -> None:
        """MSRP over TLS, each side known by its fingerprint (RFC 4975 §14.4; RFC 8122)."""
        hers, his = self.talk(secure=True)
        assert hers.talk.medium is not None
        self.assertTrue(str(hers.talk.medium.session.uri).startswith("msrps:"))
        self.assertTrue(hers.talk.medium.agreed.remote.fingerprints)
        self.wait(hers.send("in private"))
        self.settle()
        self.assertEqual(self.successResultOf(his.next()).text, "in private")

    def test_cema(self) -> None:
        """Who knows CEMA says so; with one that does not, and nobody between, all is as ever."""
        self.alice._means = self.alice.sessions._means = attrs.evolve(self.alice._means, cema=True)
        hers, his = self.talk()
        self.assertIn(b"a=msrp-cema", his.leg.call.request.body)
        self.wait(hers.send("hello"))
        self.settle()
        self.assertEqual(self.successResultOf(his.next()).text, "hello")

    def test_cema_falls_back(self) -> None:
        """Where somebody between has changed the answer of one that does not know CEMA, and
        would connect by the path, she offers again without it (RFC 6714 §4.2)."""
        self.alice._means = self.alice.sessions._means = attrs.evolve(self.alice._means, cema=True)
        self.bob._media._tried |= {"TCP", "TLS"}  # he cannot listen: he is active
        offers: list[bytes] = []
        answer = Negotiation.answer

        async def between(negotiation: Negotiation, offer: Any, wishes: Any) -> Description:
            said = await answer(negotiation, offer, wishes)
            offers.append(offer.body)
            if b"a=msrp-cema" not in offer.body:
                return said
            return Description(re.sub(rb"c=IN IP4 [\d.]+", b"c=IN IP4 192.0.2.77", said.body))

        self.patch(Negotiation, "answer", between)
        hers, his = self.talk()
        self.settle()
        self.assertEqual([b"a=msrp-cema" in body for body in offers], [True, False])
        for end, other in ((hers, his), (his, hers)):
            self.wait(end.send("hello"))
            self.settle()
            self.assertEqual(self.successResultOf(other.next()).text, "hello")

    def test_early_words(self) -> None:
        """What comes before anybody listens waits for who listens later."""
        hers, his = self.talk()
        for text in ("one", "two"):
            self.wait(hers.send(text))
        got: list[str] = []
        his.on_message(lambda message: got.append(message.text))
        self.assertEqual(got, ["one", "two"])

    def test_iterate(self) -> None:
        """A conversation can be iterated over, until it ends."""
        hers, his = self.talk()
        got: list[str] = []

        async def listen() -> None:
            async for message in his:
                got.append(message.text)

        listening = Deferred.fromCoroutine(listen())
        for text in ("one", "two"):
            self.wait(hers.send(text))
        self.wait(hers.leave())
        self.settle()
        self.successResultOf(listening)
        self.assertEqual(got, ["one", "two"])


class TalkTests(PairTests):
    def setUp(self) -> None:
        super().setUp()
        self.hers, self.his = self.talk()
        self.got: list[Message] = []
        self.his.on_message(self.got.append)

    def test_order(self) -> None:
        """Many at once arrive in their order, each once."""
        sending = [Deferred.fromCoroutine(self.hers.send(str(n))) for n in range(50)]
        self.settle(5.0)
        for one in sending:
            self.successResultOf(one)
        self.assertEqual([one.text for one in self.got], [str(n) for n in range(50)])

    def test_typing(self) -> None:
        """Who writes is told; a message, or time, ends it (RFC 3994 §3)."""
        told: list[Typing] = []
        self.his.on_typing(told.append)
        self.hers.typing()
        self.settle()
        self.assertEqual(told, [Typing(ALICE, True)])
        self.wait(self.hers.send("there"))
        self.settle()
        self.assertEqual(told[1:], [Typing(ALICE, False)])
        self.hers.typing()
        self.settle(20.0)
        self.assertEqual([one.active for one in told[2:]], [True, False])

    def test_too_large(self) -> None:
        """What the other side does not take is not even sent (RFC 4975 §8.6)."""
        with self.assertRaises(TooLarge):
            self.wait(self.hers.send(b"x" * (talk_module.LARGEST + 1), "text/plain"))
        with self.assertRaises(WrongFormat) as caught:
            self.wait(self.hers.send(b"x", "image/png"))
        self.assertIn("text/plain", caught.exception.accepted)
        self.assertEqual(self.got, [])

    def test_repeated(self) -> None:
        """A message that comes twice is shown once (RFC 4975 §5.4)."""
        self.wait(self.hers.send("once"))
        assert self.hers.talk.medium is not None
        session = self.hers.talk.medium.session
        body = write_cpim(
            Content(b"again", "text/plain"),
            self.hers.talk._means.own,
            [BOB],
            1.0,
            "same-id",
            (),
        ).to_bytes()
        for _ in range(2):
            session.send(Outgoing("message/cpim", body))
        self.settle()
        self.assertEqual([one.text for one in self.got], ["once", "again"])

    def test_junk(self) -> None:
        """A message that cannot be read is answered 400, and the session goes on (§10.1)."""
        assert self.hers.talk.medium is not None
        statuses: list[int] = []
        self.hers.talk.medium.session.send(
            Outgoing("message/cpim", b"no envelope", on_end=statuses.append)
        )
        self.settle()
        self.assertEqual(statuses, [400])
        self.wait(self.hers.send("still here"))
        self.assertEqual([one.text for one in self.got], ["still here"])

    def test_bare(self) -> None:
        """To who takes no envelopes text goes bare; MSRP itself reports (RFC 4975 §7.1.2)."""
        self.closed(self.bob)
        self.bob = self.client(
            "bob", "10.0.0.21:5060", listen="10.0.0.22:5060", accept=("text/plain",)
        )
        self.wait(self.bob.open())
        self.addCleanup(self.closed, self.bob)
        hers, his = self.talk()
        sent = self.wait(hers.send("bare"))
        self.settle()
        message = self.successResultOf(his.next())
        self.assertEqual((message.text, message.message_id), ("bare", ""))
        self.assertEqual(sent.status, "delivered")
        self.assertEqual(self.wait(his.send("back")).status, "pending")
        self.assertEqual(self.successResultOf(hers.next()).text, "back")

    def test_session_timer(self) -> None:
        """A long conversation is refreshed and goes on (RFC 4028)."""
        self.settle(4 * 1800.0)
        self.assertFalse(self.hers.ended)
        self.wait(self.hers.send("still here"))
        self.assertEqual([one.text for one in self.got], ["still here"])

    def test_connection_lost(self) -> None:
        """When the MSRP connection breaks another takes its place (RFC 4975 §5.4)."""
        self.network.reset("10.0.0.21")
        self.settle(5.0)
        self.assertFalse(self.hers.ended or self.his.ended)
        self.wait(self.hers.send("still here"))
        self.wait(self.his.send("me too"))
        self.assertEqual([one.text for one in self.got], ["still here"])
        self.assertEqual(self.successResultOf(self.hers.next()).text, "me too")
        self.settle(60.0)
        self.network.reset("10.0.0.21")
        self.settle(5.0)
        self.wait(self.his.send("again"))

    def test_lost_for_good(self) -> None:
        """Where no other can be had, both sides learn that it is over."""
        self.network.cut("10.0.0.21")
        self.network.reset("10.0.0.21")
        self.settle(60.0)
        self.assertTrue(self.hers.ended and self.his.ended)
        with self.assertRaises(Ended):
            self.wait(self.hers.send("anybody?"))

    def test_lost_and_lost(self) -> None:
        """A session that breaks again at once is given up."""
        for _ in range(2):
            self.network.reset("10.0.0.21")
            self.settle(5.0)
        self.settle(60.0)
        self.assertTrue(self.hers.ended and self.his.ended)

    def test_report_after_the_end(self) -> None:
        """Who reads a message after the session is over reports by MESSAGE (RFC 5438 §7.2)."""
        sent = self.wait(self.hers.send("later"))
        self.settle()
        self.wait(self.hers.leave())
        self.settle()
        self.got[0].read()
        self.settle()
        self.assertEqual(sent.status, "displayed")

    def test_close(self) -> None:
        """A client that is closed ends its conversations; nothing is left."""
        self.wait(self.alice.close())
        self.settle()
        self.assertTrue(self.his.ended)
        assert self.bob._media.endpoint is not None
        self.assertEqual(self.bob._media.endpoint.sessions, [])

    def test_full(self) -> None:
        """Who does not fetch what comes does not get more than fits; the sender learns it."""
        self.patch(arrivals, "WAITING", 2)
        for text in ("1", "2"):
            self.wait(self.his.send(text))
        with self.assertRaises(TooLarge):
            self.wait(self.his.send("3"))
        self.assertEqual(self.successResultOf(self.hers.next()).text, "1")
        self.wait(self.his.send("3"))


class HiddenTests(PairTests):
    def test_active_only(self) -> None:
        """Who cannot listen connects (RFC 6135 §4.2.2)."""
        self.alice._media._tried.add("TCP")
        hers, his = self.talk()
        assert hers.talk.medium is not None
        self.assertEqual(hers.talk.medium.session.uri.port, 9)
        self.assertEqual(hers.talk.medium.session.state, OPEN)
        self.wait(his.send("hello"))
        self.assertEqual(self.successResultOf(hers.next()).text, "hello")
