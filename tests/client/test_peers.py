"""What others can: asked by OPTIONS, remembered, and what the choice of the mode makes of it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from omaim.client import peers
from omaim.client.capabilities import Capabilities
from omaim.client.failures import Declined, TooLarge
from omaim.client.invited import Invited
from omaim.roles.incoming import Incoming
from omaim.sip.message import Request, Response
from tests.client.support import ALICE, BOB, HomeTests, PairTests

LONG = "A long story. " * 1000


class AnswerTests(PairTests):
    def ask(self, **headers: str) -> Response:
        phone = self.alice._phone
        fields = list(headers.items())
        response: Response = self.wait(phone.request(phone.make("OPTIONS", BOB, fields)))
        return response

    def test_answer(self) -> None:
        """We tell methods, types, tags and media (RFC 3261 §11.2; RFC 3840 §9; RFC 3264 §9)."""
        response = self.ask()
        self.assertEqual(response.status, 200)
        for name in ("Allow", "Accept", "Supported"):
            self.assertTrue(response.first(name), name)
        self.assertIn("message/cpim", response.values("Accept"))
        (contact,) = response.contacts
        for tag in ("+g.oma.sip-im", "+g.oma.sip-im.large-message", "methods"):
            self.assertTrue(contact.params.has(tag), tag)
        for line in (b"m=message 0 TCP/MSRP *", b"a=chatroom:nickname private-messages"):
            self.assertIn(line, response.body)
        self.assertIn(b"a=file-selector", response.body)
        self.assertEqual(self.ask(Accept="text/plain").body, b"")

    def test_busy(self) -> None:
        """OPTIONS gets the status that an INVITE would get (RFC 3261 §11.2)."""
        self.patch(self.bob.peers, "_busy", lambda: True)
        self.assertEqual(self.ask().status, 486)

    def test_asked(self) -> None:
        """What the answer says is understood, remembered for an hour, and asked for anew then."""
        known = self.wait(self.alice.can("bob"))
        self.assertEqual(
            (known.messages, known.large, known.sessions, known.files, known.status),
            (True, True, True, True, 200),
        )
        self.assertIn("text/plain", known.accept)
        asked: list[Incoming] = []
        answer = self.bob.peers._answer
        self.bob._phone.on("OPTIONS", lambda incoming: asked.append(incoming) or answer(incoming))
        self.wait(self.alice.can("bob"))
        self.assertEqual(asked, [])
        self.wait(self.alice.can("bob", fresh=True))
        self.settle(peers.KEPT + 1)
        both = [Deferred.fromCoroutine(self.alice.can("bob")) for _ in range(2)]
        self.settle()
        self.assertEqual(*map(self.successResultOf, both))
        self.assertEqual(len(asked), 2)

    def test_silent(self) -> None:
        """Who does not answer soon is not waited for, and nothing is concluded from that."""
        self.bob._phone.on("OPTIONS", lambda incoming: None)
        before = self.clock.seconds()
        known = self.wait(self.alice.can("bob"))
        self.assertLess(self.clock.seconds() - before, 6.0)
        self.assertEqual(known, Capabilities(status=408))

    def test_shown(self) -> None:
        """What an INVITE shows is learnt without asking; an answer counts more (RFC 3840 §9)."""
        self.wait(self.bob.send("alice", LONG))
        self.assertTrue(self.alice.peers.known(BOB).large)
        self.assertEqual(self.alice.peers.known(BOB).status, 0)
        self.assertIsNone(self.alice.peers.known("sip:carol@north.example").large)

    def test_most(self) -> None:
        """Not of everybody who ever wrote."""
        self.patch(peers, "MOST", 3)
        request = self.alice._phone.make("INVITE", BOB, [("Contact", "<sip:x@y>;+g.oma.sip-im")])
        for number in range(10):
            self.alice.peers.shown(f"sip:u{number}@x.example", request)
        self.assertEqual(len(self.alice.peers._known), 3)
        self.assertTrue(self.alice.peers.known("sip:u9@x.example").sessions)


class ModeTests(PairTests):
    """The mode goes by size and by what the recipient can."""

    def bob_says(self, tags: str, allow: str = "INVITE, MESSAGE, OPTIONS") -> None:
        def answer(incoming: Incoming) -> Response:
            contact = f"{self.bob._phone.contact}{tags}"
            return incoming.response(200, [("Allow", allow), ("Contact", contact)])

        self.bob._phone.on("OPTIONS", answer)

    def test_small(self) -> None:
        """What fits into a MESSAGE goes so, and nobody is asked."""
        self.bob._phone.on("OPTIONS", lambda incoming: self.fail("asked"))
        self.wait(self.alice.send("bob", "hi"))

    def test_session(self) -> None:
        """Who takes no large messages, but talks, is invited for the one message."""
        self.bob_says(";+g.oma.sip-im")
        invited: list[Invited] = []
        self.bob.on_invitation(invited.append)
        sending = Deferred.fromCoroutine(self.alice.send("bob", LONG, subject="Story"))
        self.settle()
        self.assertEqual(invited[0].subject, "Story")
        talk = self.wait(invited[0].accept())
        self.settle(2.0)
        self.assertEqual(self.successResultOf(talk.next()).text, LONG)
        sent = self.successResultOf(sending)
        self.assertTrue(talk.ended)
        self.assertEqual(sent.status, "delivered")

    def test_session_declined(self) -> None:
        """Who does not accept that has not got the message, and the sender knows."""
        self.bob_says(";+g.oma.sip-im")
        self.bob.on_invitation(lambda invited: invited.decline())
        with self.assertRaises(Declined):
            self.wait(self.alice.send("bob", LONG))

    def test_neither(self) -> None:
        """A device for short messages only cannot be sent a long one: the failure says so."""
        self.bob_says("", "MESSAGE, OPTIONS")
        with self.assertRaises(TooLarge) as caught:
            self.wait(self.alice.send("bob", LONG))
        self.assertIn("neither large messages nor sessions", str(caught.exception))

    def test_unknown(self) -> None:
        """Where nothing is known a large message is tried: a server may keep it."""
        self.bob._phone.on("OPTIONS", lambda incoming: incoming.response(480))
        self.wait(self.alice.send("bob", LONG))
        self.assertEqual(self.successResultOf(self.bob.inbox.next()).text, LONG)

    def test_wished(self) -> None:
        """Who says which mode it shall be is obeyed."""
        self.bob_says("", "MESSAGE, OPTIONS")
        self.wait(self.alice.send("bob", LONG, large=True))


class HomeAskTests(HomeTests):
    def test_through_the_core(self) -> None:
        """OPTIONS finds the device by the core, and tells of who is not there."""
        alice, bob = self.registered("alice"), self.registered("bob")
        self.assertTrue(self.wait(alice.can("bob")).large)
        known = self.wait(alice.can("carol"))
        self.assertEqual((known.status, known.large), (480, None))
        self.wait(bob.close())


class ToldTests(SynchronousTestCase):
    def response(self, headers: list[tuple[str, str]], body: bytes = b"") -> Response:
        request = Request.make(
            "OPTIONS",
            BOB,
            [
                ("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1"),
                ("From", f"<{ALICE}>;tag=1"),
                ("To", f"<{BOB}>"),
                ("Call-ID", "1"),
                ("CSeq", "1 OPTIONS"),
            ],
        )
        response = request.response(200, None, "2")
        response.add_all(headers)
        response.body = body
        return response

    def test_plain_phone(self) -> None:
        """A phone without tags has no instant messages but MESSAGE."""
        fields = [("Allow", "INVITE, ACK, BYE, MESSAGE"), ("Contact", "<sip:b@192.0.2.1>")]
        told = Capabilities.told(self.response(fields))
        self.assertEqual((told.messages, told.large, told.sessions), (True, False, False))
        told = Capabilities.told(self.response(fields[:1]))
        self.assertEqual((told.messages, told.large, told.sessions), (True, None, None))

    def test_by_its_media(self) -> None:
        """Without our tags a description with MSRP in it tells of sessions (RFC 3264 §9)."""
        sdp = b"v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
        msrp = b"m=message 0 TCP/MSRP *\r\na=accept-types:text/plain\r\n"
        for media, sessions in ((msrp, True), (b"m=audio 0 RTP/AVP 0\r\n", False)):
            fields = [("Allow", "INVITE"), ("Content-Type", "application/sdp")]
            told = Capabilities.told(self.response(fields, sdp + media))
            self.assertEqual((told.sessions, told.files), (sessions, False))

    def test_proxy(self) -> None:
        """What a proxy answers for itself says nothing of the user (RFC 3261 §11.2)."""
        self.assertEqual(Capabilities.told(self.response([])), Capabilities(status=200))

    @given(st.text(max_size=40), st.text(max_size=40), st.binary(max_size=200))
    def test_junk(self, contact: str, allow: str, body: bytes) -> None:
        """Whatever somebody answers, nothing breaks."""
        clean = [
            (name, value.replace("\r", "").replace("\n", ""))
            for name, value in (
                ("Contact", contact),
                ("Allow", allow),
                ("Content-Type", "application/sdp"),
            )
        ]
        told: Any = Capabilities.told(self.response(clean, body))
        self.assertIn(told.large, (None, False))
