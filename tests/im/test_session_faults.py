"""What crosses, presses or is lost in sessions between two: the server in between holds its own."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, DeferredList, DeferredLock

from omaim.bodies.sdp import SENDONLY
from omaim.im.policy import Settings
from omaim.msrp import Outgoing
from omaim.node.hooks import Refuse
from omaim.node.questions import MayInvite, MayPost
from omaim.roles.description import CallFailed, Description
from omaim.testing.scenario import ScenarioNetwork
from tests.im.pairs import SERVERS, FaultCase, pair
from tests.im.parties import Party, refused


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
                for call in victim.calls:
                    call.on_offer = None  # another session is not wanted
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
