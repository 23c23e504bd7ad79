"""Who makes the offer of a session between two, and what changes it."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred

from omaim.bodies.mime import Part
from omaim.bodies.multipart import Multipart, parse_multipart
from omaim.bodies.sdp import INACTIVE, MEDIA_TYPE, RECVONLY, SENDONLY
from omaim.errors import PeerError
from omaim.msrp import Outgoing
from omaim.roles.description import CallFailed
from omaim.roles.negotiation import RETIRING, Negotiation
from omaim.testing.scenario import ScenarioNetwork
from tests.im.pairs import SERVERS, FaultCase, pair
from tests.im.parties import TAG, Party, refused
from tests.msrp.support import User


async def without_offer(alice: Party, to: str, **more: Any) -> Any:
    """Invite somebody who is to make the offer."""
    negotiation = Negotiation(alice.msrp)

    async def answered(offer: Any) -> Any:
        if not offer.body:
            return negotiation.again()
        wishes = [None if one is None else alice.wished() for one in negotiation.read_offer(offer)]
        return await negotiation.answer(offer, wishes)

    call = await alice.inviter.invite(to, headers=(TAG,), on_offer=answered, **more)
    alice._up(call, negotiation)
    return call


def offering(xenia: Party) -> None:
    """Let somebody make the offer when an INVITE has none."""

    async def invited(invitation: Any) -> None:
        xenia.invitations.append(invitation)
        if invitation.described:
            await xenia._invited(invitation)
            return
        invitation.ring()
        negotiation = Negotiation(xenia.msrp)
        offer = negotiation.offer([xenia.wished()])
        call = await invitation.accept(offer.body)
        await negotiation.read_answer(call.remote)
        xenia._up(call, negotiation)

    xenia.inviter.on_invite = invited


class OfferlessTests(FaultCase):
    async def _talk(self, net: ScenarioNetwork) -> None:
        alice, xenia = await pair(net)
        offering(xenia)
        await without_offer(alice, xenia.aor)
        await net.until(lambda: xenia.calls, "the call is up")
        alice.say("hello")
        xenia.say("good day")
        await net.sleep(1.0)
        self.assertEqual((xenia.user.bodies, alice.user.bodies), ([b"hello"], [b"good day"]))
        await alice.leave()
        await net.sleep(1.0)
        self.nothing_left(net)

    def test_anchored(self) -> None:
        """An INVITE without offer: that of the callee comes in our 2xx, the caller's answer in its
        ACK goes on in ours (RFC 3261 §13.2.1)."""
        self.play(self._talk)

    def test_direct(self) -> None:
        """Likewise where MSRP goes from client to client."""
        self.play(self._talk, media="direct")

    def test_refused(self) -> None:
        """A refusal of the callee comes back, and nothing is left."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)
            xenia.answers = 603
            self.assertEqual(await self.status(without_offer(alice, xenia.aor)), 603)
            self.nothing_left(net)

        self.play(script)

    def test_no_answer(self) -> None:
        """A caller whose ACK has no answer, or none that can be used, ends both calls."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)
            offering(xenia)

            def never(offer: Any) -> Any:
                raise PeerError("not like this", 488)

            call = await alice.inviter.invite(xenia.aor, headers=(TAG,), on_offer=never)
            await net.sleep(5.0)
            self.assertTrue(call.over)
            self.nothing_left(net)

        self.play(script)

    def test_given_up(self) -> None:
        """A caller that never acknowledges has both calls ended (RFC 3261 §13.3.1.4)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)
            offering(xenia)
            never: Deferred[Any] = Deferred()
            await alice.inviter.invite(xenia.aor, headers=(TAG,), on_offer=lambda _: never)
            await net.sleep(60.0)
            self.nothing_left(net)

        self.play(script)

    def test_later(self) -> None:
        """A re-INVITE without offer gets one, and the session goes on (RFC 3261 §14.2)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)
            call = await alice.invite(xenia.aor)
            negotiation = alice.negotiations[call]
            asked: list[bytes] = []

            async def answered(offer: Any) -> Any:
                asked.append(offer.body)
                return await negotiation.confirm(offer)

            call.on_offer = answered
            await call.reinvite()
            await net.sleep(1.0)
            self.assertEqual(len(asked), 1)
            alice.say("still here")
            await net.sleep(1.0)
            self.assertEqual(xenia.user.bodies, [b"still here"])
            self.assertFalse(call.over)

        self.play(script)


class BodyTests(FaultCase):
    def test_other_parts(self) -> None:
        """What stands beside the offer goes on: a list of who else is invited (RFC 5366 §4)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)
            negotiation = Negotiation(alice.msrp)
            offer = negotiation.offer([alice.wished()])
            rest = Part(
                [
                    ("Content-Type", "application/resource-lists+xml"),
                    ("Content-Disposition", "recipient-list-history; handling=optional"),
                ],
                b"<resource-lists/>",
            )
            kind, body = Multipart(
                "mixed", [Part([("Content-Type", MEDIA_TYPE)], offer.body), rest]
            ).write()
            call = await alice.inviter.invite(xenia.aor, body, kind, headers=(TAG,))
            await negotiation.read_answer(call.remote)
            request = xenia.invitations[0].request
            parts = parse_multipart(request.first("Content-Type") or "", request.body).parts
            self.assertEqual(
                [one.media_type for one in parts], [MEDIA_TYPE, "application/resource-lists+xml"]
            )
            self.assertEqual(parts[1].content, b"<resource-lists/>")
            self.assertEqual(parts[1].disposition, "recipient-list-history")
            self.assertNotIn(offer.body, request.body, "the offer is ours")

        self.play(script)

    def test_no_session(self) -> None:
        """A body that describes no session is refused with what would do (RFC 3261 §8.2.3)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)
            calling = alice.inviter.invite(
                xenia.aor, b"hello", "text/plain", headers=(TAG,), on_offer=lambda _: b""
            )
            failed = await refused(calling)
            self.assertEqual(failed.status, 415)
            self.assertIn(MEDIA_TYPE, failed.response.first("Accept") or "")
            calling = alice.inviter.invite(
                xenia.aor, b"\x1f\x8b", headers=(TAG, ("Content-Encoding", "gzip"))
            )
            self.assertEqual(await self.status(calling), 415)
            calling = alice.inviter.invite(xenia.aor, b"v=0\r\nx", headers=(TAG,))
            self.assertEqual(await self.status(calling), 400)
            self.assertEqual(xenia.invitations, [])
            self.nothing_left(net)

        self.play(script)


class ChangeTests(FaultCase):
    def test_hold(self) -> None:
        """Who holds the session, or resumes it, has the other party know (RFC 3264 §8.4)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)
            call = await alice.invite(xenia.aor)
            here, there = alice.negotiations[call], xenia.negotiations[xenia.calls[0]]
            theirs = there.media[0]
            ours = here.media[0]
            assert theirs is not None
            assert theirs.agreed is not None
            assert ours is not None
            assert ours.agreed is not None
            body = here.again().body
            for said, heard, may_send in (
                (SENDONLY, RECVONLY, False),
                (INACTIVE, INACTIVE, False),
                (RECVONLY, SENDONLY, True),
                ("sendrecv", "sendrecv", True),
            ):
                answer = await call.reinvite(
                    body.replace(b"a=path", b"a=%b\r\na=path" % said.encode())
                )
                self.assertIn(b"a=%b" % heard.encode(), answer.body + b"a=sendrecv")
                theirs = there.media[0]
                assert theirs is not None
                assert theirs.agreed is not None
                self.assertEqual(theirs.may_send, may_send, said)
            xenia.say("still the same session")
            await net.sleep(1.0)
            self.assertEqual(alice.user.bodies, [b"still the same session"])
            self.assertEqual(len(net.entities["im-south"].msrp.sessions), 2)

        self.play(script)

    def test_hold_by_the_callee(self) -> None:
        """Likewise by the callee."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)
            call = await alice.invite(xenia.aor)
            far = xenia.calls[0]
            body = xenia.negotiations[far].again().body
            await far.reinvite(body.replace(b"a=path", b"a=inactive\r\na=path"))
            ours = alice.negotiations[call].media[0]
            assert ours is not None
            assert ours.agreed is not None
            self.assertFalse(ours.may_send)
            await far.reinvite(body)
            ours = alice.negotiations[call].media[0]
            assert ours is not None
            assert ours.agreed is not None
            self.assertTrue(ours.may_send)

        self.play(script)

    def test_moved(self) -> None:
        """A party that moves to a new session takes the conversation along (RFC 4975 §5.4)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)
            call = await alice.invite(xenia.aor)
            for mover in (alice, xenia):
                own = mover.calls[0]
                await mover.change(own, mover.wished())
                alice.session(0, call).send(Outgoing("text/plain", b"from alice"))
                xenia.session(0, xenia.calls[0]).send(Outgoing("text/plain", b"from xenia"))
                await net.sleep(1.0)
            self.assertEqual(xenia.user.bodies, [b"from alice"] * 2)
            self.assertEqual(alice.user.bodies, [b"from xenia"] * 2)
            self.assertFalse(call.over)
            await net.sleep(RETIRING)
            for name in SERVERS:
                self.assertEqual(len(net.entities[name].msrp.sessions), 2)

        self.play(script)

    def test_refused_then_taken(self) -> None:
        """A medium that the other party has refused once can be added later: all was as before."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)
            first = alice.wished()
            call = await alice.invite(xenia.aor, first)
            far = xenia.negotiations[xenia.calls[0]]
            wanted = far.media[0].wish

            def no(offer: Any) -> Any:
                raise PeerError("not now", 488)

            xenia.calls[0].on_offer = no
            here = alice.negotiations[call]
            self.assertEqual(await self.status(alice.change(call, first, alice.wished())), 488)
            here.withdraw()
            self.assertEqual(len(net.entities["im-south"].msrp.sessions), 2)
            extra = User()
            more = attrs.evolve(xenia.wished(), user=extra.user)
            xenia.calls[0].on_offer = lambda offer: far.answer(offer, [wanted, more])
            await alice.change(call, first, alice.wished())
            alice.session(1, call).send(Outgoing("text/plain", b"by the second"))
            alice.session(0, call).send(Outgoing("text/plain", b"by the first"))
            await net.sleep(1.0)
            self.assertEqual(extra.bodies, [b"by the second"])
            self.assertEqual(xenia.user.bodies, [b"by the first"])
            for name in SERVERS:
                self.assertEqual(len(net.entities[name].msrp.sessions), 4)

        self.play(script)

    def test_requests_in_the_dialog(self) -> None:
        """What the server does not pass on is refused without ending the call: 405, and 603 for
        REFER (RFC 5057 §5.1; RFC 3515 §2.4.2)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)
            call = await alice.invite(xenia.aor)
            for method in ("INFO", "MESSAGE"):
                response = await call.request_in(method, [("Content-Type", "text/plain")], b"hello")
                self.assertEqual(response.status, 405, method)
            try:
                await call.refer("sip:bob@north.example")
            except CallFailed as failed:
                self.assertEqual(failed.status, 603)
            else:
                self.fail("a REFER was accepted")
            self.assertFalse(call.over)
            alice.say("still here")
            await net.sleep(1.0)
            self.assertEqual(xenia.user.bodies, [b"still here"])

        self.play(script)
