"""What goes wrong, or crosses, in sessions between two: the server in between holds its own."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred, DeferredList, DeferredLock

from omaim.bodies.cpim import Address, Cpim
from omaim.bodies.mime import Part
from omaim.bodies.multipart import Multipart, parse_multipart
from omaim.bodies.sdp import INACTIVE, MEDIA_TYPE, RECVONLY, SENDONLY
from omaim.errors import PeerError
from omaim.im.policy import Settings
from omaim.msrp import Outgoing
from omaim.net.tls import TlsSettings
from omaim.node.events import SessionEnded
from omaim.node.hooks import Refuse
from omaim.node.questions import MayInvite, MayPost
from omaim.roles.description import CallFailed, Description
from omaim.roles.negotiation import Negotiation
from omaim.sip.headers import DialogRef
from omaim.testing.scenario import ScenarioNetwork
from tests.im.parties import TAG, Party, SessionCase
from tests.im.test_sessions import refused
from tests.msrp.support import User

SERVERS = ("im-north", "im-south")


async def pair(net: ScenarioNetwork, *names: str) -> tuple[Party, Party]:
    one, two = names or ("alice", "xenia")
    return await Party.come(net, one), await Party.come(net, two)


class FaultCase(SessionCase):
    def nothing_left(self, net: ScenarioNetwork, but: int = 0) -> None:
        """No server keeps anything of a session, but for so many that go on."""
        for name in SERVERS:
            entity = net.entities[name]
            self.assertEqual(len(entity.msrp.sessions), 2 * but, name)
            self.assertEqual(len(entity.sessions.conversations), but, name)
            self.assertEqual(len(entity.sessions._inviter), 2 * but, name)
            self.assertEqual(entity.sessions._ringing, {}, name)

    async def status(self, doing: Any) -> int:
        return (await refused(doing)).status


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


class CrossingTests(FaultCase):
    def test_given_up_while_asked(self) -> None:
        """Who gives up while it is asked whether he may invite, rings nobody (RFC 3261 §9.2)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)
            asking: Deferred[None] = Deferred()

            async def slow(question: MayInvite) -> None:
                await asking

            net.nodes["im-north"].hooks.add(MayInvite, "slow", slow)
            calling = Deferred.fromCoroutine(alice.invite(xenia.aor))
            await net.sleep(1.0)
            calling.cancel()
            self.assertTrue((await refused(calling)).cancelled)
            await net.sleep(1.0)
            asking.callback(None)
            await net.sleep(2.0)
            self.assertEqual(xenia.invitations, [])
            self.nothing_left(net)

        self.play(script)

    def test_given_up_while_accepted(self) -> None:
        """A CANCEL that crosses the 200 leaves no call: whoever accepted gets BYE."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)
            for moment in range(0, 60, 4):
                calling = Deferred.fromCoroutine(alice.invite(xenia.aor))
                await net.sleep(moment / 1000)
                calling.cancel()
                try:
                    await calling
                except CallFailed:
                    pass
                else:
                    await alice.leave()
                await net.sleep(40.0)
                self.nothing_left(net)
                self.assertTrue(all(one.over for one in xenia.calls))

        self.play(script)

    def test_hangs_up_at_once(self) -> None:
        """A callee that accepts and hangs up before the caller has heard of it leaves no call."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)
            recorder = net.entities["im-north"].recorder
            begin = recorder.begin

            async def slowly(*args: Any) -> Any:
                await net.sleep(1.0)
                return await begin(*args)

            recorder.begin = slowly
            calling = Deferred.fromCoroutine(alice.invite(xenia.aor))
            await net.until(lambda: xenia.calls and xenia.calls[0].up, "xenia accepts")
            await net.sleep(0.2)
            await xenia.leave()
            self.assertEqual(await self.status(calling), 480)
            await net.sleep(5.0)
            self.nothing_left(net)

        self.play(script)

    def test_useless_answer(self) -> None:
        """A callee that accepts and takes none of what is offered leaves nothing (488)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)

            async def nothing(invitation: Any) -> None:
                offer = invitation.body
                body = offer.replace(b"m=message 2855", b"m=message 0")
                await invitation.accept(body)

            xenia.inviter.on_invite = nothing
            self.assertEqual(await self.status(alice.invite(xenia.aor)), 488)
            await net.sleep(5.0)
            self.nothing_left(net)

        self.play(script)

    def test_much_ringing(self) -> None:
        """A callee that rings very often is no fault of ours, whatever the caller asks for."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)

            def ringing(invitation: Any) -> None:
                for number in range(60):
                    invitation._incoming.respond(
                        invitation._response(180 + number % 4, (), Description())
                    )
                invitation.reject(486)

            xenia.inviter.on_invite = ringing
            for _ in range(2):
                calling = alice.invite(xenia.aor, headers=(("Require", "100rel"),))
                self.assertEqual(await self.status(calling), 486)
            self.nothing_left(net)

        self.play(script)

    def test_two_accept(self) -> None:
        """Of two devices that accept at once one has the call, the other gets BYE (RFC 3261
        §13.2.2.4)."""

        async def script(net: ScenarioNetwork) -> None:
            alice = await Party.come(net, "alice")
            one = await Party.come(net, "xenia", device="one")
            two = await Party.come(net, "xenia", device="two")
            await alice.invite(one.aor)
            await net.sleep(5.0)
            up = [call for party in (one, two) for call in party.calls if not call.over]
            self.assertEqual(len(up), 1)
            alice.say("hello")
            await net.sleep(1.0)
            self.assertEqual(one.user.bodies + two.user.bodies, [b"hello"])
            await alice.leave()
            await net.sleep(1.0)
            self.nothing_left(net)

        self.play(script)

    def test_both_change(self) -> None:
        """Changes of both parties that cross are both made in the end (RFC 3261 §14.1)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)
            first = alice.wished()
            call = await alice.invite(xenia.aor, first)
            locks = {alice: DeferredLock(), xenia: DeferredLock()}

            def taking(party: Party, call: Any) -> None:
                negotiation = party.negotiations[call]

                async def answered(offer: Any) -> Any:
                    async with locks[party]:
                        count = len(negotiation.read_offer(offer))
                        known = [one.wish if one else None for one in negotiation.media]
                        more = [party.wished() for _ in range(count - len(known))]
                        return await negotiation.answer(offer, [*known, *more])

                call.on_offer = answered

            taking(alice, call)
            taking(xenia, xenia.calls[0])

            async def add(party: Party, call: Any) -> None:
                negotiation = party.negotiations[call]
                for _ in range(8):
                    async with locks[party]:
                        known = [one.wish if one else None for one in negotiation.media]
                        offer = negotiation.offer([*known, party.wished()])
                        try:
                            answer = await call.reinvite(offer.body, wait=False)
                            await negotiation.read_answer(answer)
                            return
                        except CallFailed as failed:
                            negotiation.withdraw()
                            if failed.status != 491:
                                raise
                    await net.sleep(call.calling.pause())

            both = [
                Deferred.fromCoroutine(add(alice, call)),
                Deferred.fromCoroutine(add(xenia, xenia.calls[0])),
            ]
            for _, result in await DeferredList(both):
                self.assertIsNone(result)
            for name in SERVERS:
                sessions = net.entities[name].msrp.sessions
                self.assertEqual(len(sessions), 6, name)
                secure = [one.uri.secure for one in sessions]
                self.assertEqual(secure.count(True), 3, "those between the domains")
            for index in range(3):
                alice.session(index, call).send(Outgoing("text/plain", b"%d" % index))
            await net.sleep(1.0)
            self.assertEqual(sorted(xenia.user.bodies), [b"0", b"1", b"2"])

        self.play(script)

    def test_bye_while_asked(self) -> None:
        """A BYE while a feature thinks about a message: the rest is quiet."""

        async def script(net: ScenarioNetwork) -> None:
            for size in (5, 200_000):
                alice, xenia = await pair(net)
                asking: Deferred[None] = Deferred()

                async def slow(question: MayPost, asking: Deferred[None] = asking) -> None:
                    await asking

                hooks = net.nodes["im-north"].hooks
                remove = hooks.add(MayPost, "slow", slow)
                net.entities["im-north"].settings.put(alice.aor, Settings(history_session=True))
                await alice.invite(xenia.aor)
                alice.say(b"x" * size)
                await net.sleep(1.0)
                await alice.leave()
                await net.sleep(1.0)
                asking.callback(None)
                await net.sleep(1.0)
                self.nothing_left(net)
                self.assertEqual(xenia.user.bodies, [])
                if callable(remove):
                    remove()
                await alice.client.close()
                await xenia.client.close()

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
            wanted = far.media[0].wish  # type: ignore[union-attr]

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


class PressureTests(FaultCase):
    def test_refused_in_the_middle(self) -> None:
        """Who wants no more of a long message while its sender is held back does not leave him
        held back: what he says next arrives (RFC 4975 §7.3.1)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)
            await alice.invite(xenia.aor)
            xenia.user.mode = "stream"
            await net.sleep(1.0)
            sent = alice.say(bytes(4_000_000))
            await net.until(lambda: xenia.user.seen, "it begins")
            xenia.session().pause()
            await net.sleep(10.0)
            xenia.user.seen[0].refuse(413)
            xenia.session().resume()
            await net.until(lambda: sent.ended, "the sender hears of it", 60.0)
            xenia.user.mode = "collect"
            alice.say("after that")
            await net.until(lambda: xenia.user.bodies, "the next arrives")
            self.assertEqual(xenia.user.bodies, [b"after that"])

        self.play(script)

    def test_slow_receiver(self) -> None:
        """However much somebody says to one who does not read, servers keep little of it."""

        async def script(net: ScenarioNetwork) -> None:
            for size, count in ((8_000, 2_000), (4_000_000, 4)):
                alice, xenia = await pair(net)
                await alice.invite(xenia.aor)
                await net.sleep(1.0)
                xenia.session().pause()
                for _ in range(count):
                    alice.say(bytes(size))
                await net.sleep(5.0)
                for name in SERVERS:
                    kept = sum(one.pending for one in net.entities[name].msrp.sessions)
                    self.assertLess(kept, 1_500_000, name)
                xenia.session().resume()
                bodies = xenia.user.bodies
                while len(bodies) < count:
                    await net.sleep(1.0)
                await alice.client.close()
                await xenia.client.close()
                await alice.leave()
                await net.sleep(1.0)
                await alice.msrp.stop()
                await xenia.msrp.stop()

        self.play(script)

    def test_slow_for_long(self) -> None:
        """Who is held back for long is not taken for dead: what is said to him arrives, and its
        answers count (RFC 4975 §7.1.1)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)
            await alice.invite(xenia.aor)
            await net.sleep(1.0)
            xenia.session().pause()
            for _ in range(500):
                alice.say(bytes(8_000))
            await net.sleep(5.0)
            ends: list[int] = []
            reports: list[Any] = []
            xenia.say("wait a moment", on_end=ends.append, on_report=reports.append)
            await net.sleep(50.0)
            xenia.session().resume()
            await net.until(lambda: len(xenia.user.bodies) == 500, "all arrives", 60.0)
            self.assertEqual(alice.user.bodies, [b"wait a moment"])
            self.assertEqual((ends, reports), ([200], []))
            self.assertEqual((alice.ended, xenia.ended), ([], []))

        self.play(script)

    def test_many_reports(self) -> None:
        """Many messages wait for their reports at a time, and all reports arrive (RFC 4975
        §7.1.2)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)
            held: list[Any] = []

            def whole(incoming: Any) -> None:
                incoming.report_later()
                held.append(incoming)

            xenia.user.on_whole = whole
            await alice.invite(xenia.aor)
            reports: list[Any] = []
            for number in range(250):
                alice.say(f"{number}", success_report=True, on_report=reports.append)
            await net.until(lambda: len(held) == 250, "all arrive")
            await net.sleep(1.0)
            for incoming in held:
                incoming.report()
            await net.sleep(2.0)
            self.assertEqual(len(reports), 250)

        self.play(script)

    def test_slow_feature(self) -> None:
        """However much somebody says while a feature thinks, the server keeps little of it."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)
            asking: Deferred[None] = Deferred()
            asked: list[int] = []

            async def slow(question: MayPost) -> Refuse | None:
                asked.append(question.size)
                await asking
                return None

            net.nodes["im-north"].hooks.add(MayPost, "slow", slow)
            await alice.invite(xenia.aor)
            await net.sleep(1.0)
            taken: list[int] = []
            for _ in range(1_000):
                alice.say(bytes(10_000), failure_report="no")
            for session in net.entities["im-north"].msrp.sessions:
                inbox = session.inbox
                taken.append(len(inbox._held))
            await net.sleep(3.0)
            held = max(len(one.inbox._held) for one in net.entities["im-north"].msrp.sessions)
            self.assertLess(held, 100)
            asking.callback(None)
            await net.until(lambda: len(xenia.user.bodies) == 1_000, "all arrives", 60.0)

        self.play(script)

    def test_long_and_slow(self) -> None:
        """A session in which a long message moves on is not idle (spec 10 §5)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)
            await alice.invite(xenia.aor)
            out = alice.session().send(Outgoing("text/plain", None))
            xenia.user.mode = "stream"
            for _ in range(100):
                out.write(bytes(10_000))
                await net.sleep(10.0)
            self.assertEqual(alice.ended, [])
            out.finish()
            await net.until(lambda: xenia.user.ends, "it arrives")
            self.assertEqual(list(xenia.user.ends.values()), [True])

        self.play(script)

    def test_dies_in_the_middle(self) -> None:
        """A party that dies in the middle of a message ends both calls; nothing is left."""

        async def script(net: ScenarioNetwork) -> None:
            for dying in ("sender", "receiver"):
                alice, xenia = await pair(net)
                await alice.invite(xenia.aor)
                await net.sleep(1.0)
                out = alice.session().send(Outgoing("text/plain", None))
                xenia.user.mode = "stream"
                out.write(bytes(1_000_000))
                await net.sleep(1.0)
                victim = alice if dying == "sender" else xenia
                for connection in list(victim.msrp._connections):
                    connection.abort("died")
                out.write(bytes(100_000)) if dying == "receiver" else None
                await net.sleep(40.0)
                self.assertTrue(all(call.over for call in (*alice.calls, *xenia.calls)), dying)
                self.nothing_left(net)
                await alice.client.close()
                await xenia.client.close()

        self.play(script)

    def test_many(self) -> None:
        """Hundreds of sessions at once; when they are over, nothing is left."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)
            calls = await DeferredList(
                [Deferred.fromCoroutine(alice.invite(xenia.aor)) for _ in range(200)]
            )
            self.assertEqual(len(net.entities["im-south"].msrp.sessions), 400)
            for _, call in calls:
                alice.session(0, call).send(Outgoing("text/plain", b"hello"))
            await net.until(lambda: len(xenia.user.bodies) == 200, "all arrive", 60.0)
            self.assertLess(net.entities["im-south"].msrp.connections, 10)
            await DeferredList([Deferred.fromCoroutine(call.bye()) for _, call in calls])
            await net.sleep(5.0)
            self.nothing_left(net)

        self.play(script)


class LargeTests(FaultCase):
    def test_nothing_comes(self) -> None:
        """Who is taken a large message from and sends none, or is gone, is hung up on."""

        async def script(net: ScenarioNetwork) -> None:
            alice = await Party.come(net, "alice")
            yusuf = net.person("yusuf").aor
            wish = alice.wished(accept_types=("*",), direction=SENDONLY)
            large = (("Accept-Contact", "*;+g.oma.sip-im.large-message"),)
            call = await alice.invite(yusuf, wish, headers=large)
            south = net.entities["im-south"]
            await net.sleep(1.0)
            self.assertEqual(len(south.msrp.sessions), 1)
            await net.sleep(400.0)
            self.assertTrue(call.over)
            self.nothing_left(net)
            call = await alice.invite(yusuf, wish, headers=large)
            await net.sleep(1.0)
            for session in list(south.msrp.sessions):
                session.lost("died")
            await net.sleep(2.0)
            self.assertTrue(call.over)
            self.nothing_left(net)

        self.play(script, idle=0.0)


class EndTests(FaultCase):
    def test_never_acknowledged(self) -> None:
        """A caller that never sends its ACK has the callee hung up on (RFC 3261 §13.3.1.4)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)
            alice.agent.endpoint.send_ack = lambda *args, **named: None
            await alice.invite(xenia.aor)
            await net.sleep(60.0)
            self.assertTrue(xenia.calls[0].over)
            self.nothing_left(net)

        self.play(script)

    def test_refreshed(self) -> None:
        """Each side has its own session timer; one whose party is gone ends both (RFC 4028 §10)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)
            call = await alice.invite(xenia.aor)
            await net.sleep(4000.0)
            self.assertFalse(call.over)
            self.assertFalse(xenia.calls[0].over)
            alice.agent.endpoint.stop()
            await net.sleep(4000.0)
            self.assertTrue(xenia.calls[0].over)
            self.nothing_left(net)

        self.play(script, idle=0.0)

    def test_restart(self) -> None:
        """A server that comes back knows nothing of its sessions, and says so (481)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)
            call = await alice.invite(xenia.aor)
            entity = net.entities["im-north"]
            entity.sessions.conversations.clear()  # it dies, and tells nobody
            await net.stop("im-north")
            await net.start("im-north")
            ends: list[int] = []
            if alice.session().state != "closed":
                alice.say("anybody?", on_end=ends.append)
            self.assertEqual((await call.request_in("UPDATE")).status, 481)
            self.assertTrue(call.over)
            await alice.invite(xenia.aor)
            alice.say("again")
            await net.sleep(1.0)
            self.assertIn(b"again", xenia.user.bodies)

        self.play(script)

    def test_stopped_while_ringing(self) -> None:
        """A server that stops while it rings answers the caller, and the callee stops ringing."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)
            xenia.inviter.on_invite = lambda one: (xenia.invitations.append(one), one.ring())
            calling = Deferred.fromCoroutine(alice.invite(xenia.aor))
            await net.until(lambda: xenia.invitations, "it rings")
            await net.stop("im-north")
            await net.sleep(2.0)
            self.assertIn(await self.status(calling), (480, 500, 503))
            self.assertTrue(xenia.invitations[0].answered)

        self.play(script)


class IdentityTests(FaultCase):
    def test_spoofed_replaces(self) -> None:
        """Only a participant may take the place of a participant (RFC 3891 §3)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)
            bob = await Party.come(net, "bob")
            call = await alice.invite(xenia.aor)
            dialog = call.dialog
            ref = DialogRef(dialog.call_id, dialog.remote_tag, dialog.local_tag)
            replaces = (("Replaces", str(ref)),)
            self.assertEqual(await self.status(bob.invite(xenia.aor, headers=replaces)), 403)
            hidden = (*replaces, ("Privacy", "id"))
            self.assertEqual(await self.status(bob.invite(xenia.aor, headers=hidden)), 403)
            self.assertFalse(call.over)
            self.assertEqual(len(xenia.invitations), 1)
            heard: list[Any] = []
            net.nodes["im-north"].taps.add(SessionEnded, heard.append)
            other = await Party.come(net, "alice", device="other")
            await other.invite(xenia.aor, headers=replaces)
            self.assertTrue(xenia.invitations[1].replaces is not None)
            await net.sleep(5.0)
            self.assertTrue(call.over)
            self.assertEqual(len(heard), 1, "the first conversation is over")
            self.assertEqual(len(net.entities["im-north"].sessions.conversations), 1)
            other.say("from my other device")
            await net.sleep(1.0)
            self.assertEqual(xenia.user.bodies, [b"from my other device"])

        self.play(script)

    def test_anonymous(self) -> None:
        """Who wants to stay unknown is so in From, Contact and identity (RFC 3323 §5)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)
            await alice.invite(
                xenia.aor, headers=(("Privacy", "user;id"), ("Subject", "guess who"))
            )
            request = xenia.invitations[0].request
            text = request.to_bytes().lower()
            self.assertNotIn(b"alice", text)
            self.assertNotIn(b"p-asserted-identity", text)

        self.play(script)

    def test_in_another_name(self) -> None:
        """Nobody writes in somebody else's name inside an envelope, in a short message or in a
        long one (spec 10 §7)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)
            bob = net.person("bob").aor
            await alice.invite(xenia.aor)
            ends: list[int] = []
            for author in (bob, alice.aor, "sip:anonymous@anonymous.invalid"):
                for size in (5, 100_000):
                    part = Part([("Content-Type", "text/plain")], b"x" * size)
                    message = Cpim.make(
                        Address("", author), [Address("", xenia.aor)], "2026-01-01T00:00:00Z", part
                    )
                    octets = message.to_bytes()
                    alice.say(octets, "message/cpim", on_end=ends.append)
                    await net.sleep(1.0)
                    out = Outgoing("message/cpim", None, on_end=ends.append)
                    alice.session().send(out)
                    for at in (0, 3, 30, 60):
                        out.write(octets[at : {0: 3, 3: 30, 30: 60}.get(at, len(octets))])
                        await net.sleep(0.1)
                    out.finish()
                    await net.sleep(1.0)
            self.assertEqual(ends, [403] * 4 + [200] * 8)
            authors = [Cpim.parse(body).from_ for body in xenia.user.bodies]
            self.assertNotIn(bob, [one.uri for one in authors if one is not None])
            self.assertEqual(len(authors), 8)

        self.play(script)

    def test_hops(self) -> None:
        """Each server takes a hop off, so that an INVITE that comes back ends (RFC 3261 §16.3)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)
            await alice.invite(xenia.aor)
            left = int(xenia.invitations[0].request.first("Max-Forwards") or "0")
            self.assertLessEqual(left, 66)
            make = alice.agent.make

            def few(*args: Any, **named: Any) -> Any:
                request = make(*args, **named)
                request.set("Max-Forwards", "3")
                return request

            alice.agent.make = few
            self.assertEqual(await self.status(alice.invite(xenia.aor)), 483)
            await net.sleep(1.0)
            self.assertEqual(len(xenia.invitations), 1)
            self.nothing_left(net, 1)

        self.play(script)


class BetweenDomainsTests(FaultCase):
    """IM-8: servers of two domains prove to one another who they are."""

    def test_stranger(self) -> None:
        """Who has no certificate of the other server gets no session between the two, even if it
        knows its address; the other server gets it all the same."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)
            accepting: Deferred[None] = Deferred()

            async def slowly(invitation: Any) -> None:
                invitation.ring()
                await accepting
                await xenia._invited(invitation)

            xenia.inviter.on_invite = slowly
            calling = Deferred.fromCoroutine(alice.invite(xenia.aor))
            await net.sleep(1.0)
            north = net.entities["im-north"].msrp
            between = [one for one in north.sessions if one.uri.secure]
            self.assertEqual([one.mutual for one in between], [True])
            stranger = User()
            session = xenia.msrp.session(stranger.user, "TLS")
            xenia.msrp._client_tls = TlsSettings(verify=False, self_signed=True)
            xenia.msrp._tls = TlsSettings(verify=False)
            xenia.msrp.connect(session, between[0].path, True)
            await net.until(lambda: stranger.closed, "the stranger is turned away")
            self.assertEqual(stranger.closed, ["the peer answered 481"])
            accepting.callback(None)
            await calling
            alice.say("hello")
            await net.sleep(1.0)
            self.assertEqual(xenia.user.bodies, [b"hello"])
            self.assertEqual(north.counters["wrong_certificate"], 1)

        self.play(script)

    def test_in_clear(self) -> None:
        """Where servers of other domains have to prove who they are, nothing of them comes in
        clear: 488, and a medium that is added later is refused."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await pair(net)
            north = net.entities["im-north"].sessions
            north._secure_peers = False
            self.assertEqual(await self.status(alice.invite(xenia.aor)), 488)
            self.assertEqual(xenia.invitations, [])
            wish = alice.wished(direction=SENDONLY)
            large = ("Accept-Contact", "*;+g.oma.sip-im.large-message")
            yusuf = net.person("yusuf").aor
            calling = alice.invite(yusuf, wish, headers=(large,))
            self.assertEqual(await self.status(calling), 488)
            north._secure_peers = True
            call = await alice.invite(xenia.aor)
            (conversing,) = north.conversations
            plan = conversing.plan
            assert plan is not None
            plan._far_secure, plan._mutual = False, (False, False)
            known = alice.negotiations[call].media[0]
            assert known is not None
            await alice.change(call, known.wish, alice.wished())
            self.assertIsNone(alice.negotiations[call].media[1])
            self.assertEqual(len(net.entities["im-south"].msrp.sessions), 2)

        self.play(script)
