"""Sessions between two, through the IM Servers of both domains, in virtual time."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred

from omaim.bodies.sdp import SENDONLY
from omaim.errors import Unavailable
from omaim.im.policy import Settings
from omaim.msrp import Outgoing
from omaim.node.events import SessionEnded, SessionRefused, SessionStarted
from omaim.node.hooks import Deliver, Refuse
from omaim.node.questions import MayInvite, MayPost
from omaim.testing.scenario import ScenarioNetwork
from tests.im.parties import Party, SessionCase, refused
from tests.im.support import cpim
from tests.msrp.support import User


class PassingTests(SessionCase):
    def test_across(self) -> None:
        """Text goes both ways over three MSRP legs; BYE ends all of it (spec 10 §5)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            heard: list[Any] = []
            net.nodes["im-north"].taps.add(SessionStarted, heard.append)
            net.nodes["im-north"].taps.add(SessionEnded, heard.append)
            await alice.invite(xenia.aor, headers=(("Subject", "tea"),))
            alice.say("hello")
            xenia.say("good day")
            await net.sleep(1.0)
            self.assertEqual(xenia.user.bodies, [b"hello"])
            self.assertEqual(alice.user.bodies, [b"good day"])
            sessions = [net.entities[name].msrp.sessions for name in ("im-north", "im-south")]
            self.assertEqual([len(one) for one in sessions], [2, 2])
            self.assertEqual(
                sorted(one.uri.secure for one in sessions[0]), [False, True], "IM-7 and IM-8"
            )
            await alice.leave()
            await net.sleep(1.0)
            self.assertEqual(len(xenia.ended), 1)
            for name in ("im-north", "im-south"):
                entity = net.entities[name]
                self.assertEqual(entity.msrp.sessions, [])
                self.assertEqual(entity.sessions.conversations, set())
            started, ended = heard
            self.assertEqual((started.caller, started.callee), (alice.aor, xenia.aor))
            self.assertEqual((started.subject, started.direct), ("tea", False))
            self.assertEqual((ended.messages, ended.octets), (2, 13))

        self.play(script)

    def test_at_home(self) -> None:
        """Two of one domain: their IM Server serves the caller, then the callee."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob = await Party.come(net, "alice"), await Party.come(net, "bob")
            await alice.invite(bob.aor)
            alice.say("hello")
            await net.sleep(1.0)
            self.assertEqual(bob.user.bodies, [b"hello"])
            await bob.leave()
            await net.sleep(1.0)
            self.assertEqual(len(alice.ended), 1)

        self.play(script)

    def test_long_messages_and_reports(self) -> None:
        """What is long passes while it comes; reports of the far end come back (RFC 4975 §7.1)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            await alice.invite(xenia.aor, alice.wished(accept_types=("*",)))
            reports: list[Any] = []
            long = bytes(range(256)) * 8192  # 2 MiB
            alice.session().send(
                Outgoing("text/plain", long, success_report=True, on_report=reports.append)
            )
            alice.say("short", success_report=True, on_report=reports.append)
            await net.sleep(30.0)
            self.assertEqual(sorted(map(len, xenia.user.bodies)), [5, len(long)])
            self.assertIn(long, xenia.user.bodies)
            self.assertEqual([one.status for one in reports], [200, 200])

        self.play(script)

    def test_refused_by_the_far_end(self) -> None:
        """What the far end does not take is reported to the sender (RFC 4975 §7.1.2)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            xenia.user.mode = "none"
            await alice.invite(xenia.aor)
            reports: list[Any] = []
            alice.say("unwanted", on_report=reports.append)
            await net.sleep(1.0)
            self.assertEqual([one.status for one in reports], [413])

        self.play(script)

    def test_direct(self) -> None:
        """Where nobody needs to record, MSRP goes from client to client (IM-9)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            call = await alice.invite(xenia.aor)
            alice.say("just between us")
            await net.sleep(1.0)
            self.assertEqual(xenia.user.bodies, [b"just between us"])
            self.assertEqual(net.entities["im-north"].msrp.sessions, [])
            self.assertEqual(xenia.session().remote_path, (alice.session().uri,))
            self.assertEqual(len(net.entities["im-north"].sessions.conversations), 1)
            await alice.change(call, alice.negotiations[call].media[0].wish)
            await alice.leave()
            await net.sleep(1.0)
            self.assertEqual(len(xenia.ended), 1)
            self.assertEqual(net.entities["im-south"].sessions.conversations, set())

        self.play(script, media="direct")

    def test_direct_for_some(self) -> None:
        """Between users of whom both servers are told so, sessions go from client to client; all
        others pass the servers; those that somebody has recorded pass his."""

        async def script(net: ScenarioNetwork) -> None:
            names = ("bob", "carol", "yusuf", "xenia")
            bob, carol, yusuf, xenia = [await Party.come(net, name) for name in names]

            async def passing(one: Party, other: Party, text: str) -> list[int]:
                await one.invite(other.aor)
                one.say(text)
                await net.sleep(1.0)
                self.assertEqual(other.user.bodies[-1:], [text.encode()])
                servers = [net.entities[name].msrp for name in ("im-north", "im-south")]
                found = [len(server.sessions) for server in servers]
                await one.leave()
                await net.sleep(1.0)
                return found

            self.assertEqual(await passing(carol, yusuf, "just between us"), [0, 0])
            self.assertEqual(await passing(yusuf, carol, "and again"), [0, 0])
            self.assertEqual(await passing(bob, yusuf, "hello"), [2, 2])
            self.assertEqual(await passing(carol, xenia, "good day"), [2, 2])
            await carol.client.history.switch(session=True)
            self.assertEqual(await passing(carol, yusuf, "for the record"), [2, 0])
            self.assertEqual(await passing(yusuf, carol, "noted"), [2, 0])

        self.play(script, direct=("carol@north.example", "yusuf@south.example"))

    def test_second_medium(self) -> None:
        """A medium that a party adds is added for both, and can end alone (RFC 3264 §8)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            first = alice.wished()
            call = await alice.invite(xenia.aor, first)
            extra = User()
            second = attrs.evolve(alice.wished(), user=extra.user, direction=SENDONLY)
            far = xenia.negotiations[xenia.calls[0]]
            wanted = far.media[0].wish
            more = attrs.evolve(xenia.wished(), user=User().user)
            xenia.calls[0].on_offer = lambda offer: far.answer(offer, [wanted, more])
            await alice.change(call, first, second)
            self.assertEqual(len(net.entities["im-south"].msrp.sessions), 4)
            alice.session(1).send(Outgoing("text/plain", b"by the second"))
            alice.say("by the first")
            await net.sleep(1.0)
            self.assertEqual(xenia.user.bodies, [b"by the first"])
            xenia.calls[0].on_offer = far.confirm
            await alice.change(call, first, None)
            await net.sleep(1.0)
            self.assertEqual(len(net.entities["im-south"].msrp.sessions), 2)
            alice.say("still here")
            await net.sleep(1.0)
            self.assertEqual(xenia.user.bodies, [b"by the first", b"still here"])

        self.play(script)


class HistoryTests(SessionCase):
    def test_recorded(self) -> None:
        """Who wants history has the session recorded, each message before it is acknowledged;
        reports and typing are no messages (spec 10 §11)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            wants = Settings(history_session=True)
            net.entities["im-north"].settings.put(alice.aor, wants)
            await alice.invite(xenia.aor, headers=(("Subject", "tea"),))
            store = net.nodes["im-north"].stores.history
            ends: list[int] = []
            alice.say("hello", on_end=ends.append)
            xenia.say("good day")
            composing = b'<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"/>'
            alice.say(composing, "application/im-iscomposing+xml")
            alice.say("x" * 100_000)
            await net.until(lambda: ends, "alice's message is taken")
            (one,) = await store.search(alice.aor)
            self.assertGreaterEqual(one.count, 1)
            await net.sleep(2.0)
            await alice.leave()
            await net.sleep(1.0)
            (one,) = await store.search(alice.aor)
            self.assertEqual((one.peer, one.subject, one.kind), (xenia.aor, "tea", "session"))
            self.assertLess(one.ended_at, 1e12)
            entries = await store.entries(alice.aor, one.reference)
            said = [(entry.sender, entry.recipient, entry.body[:8]) for entry in entries]
            self.assertEqual(
                sorted(said),
                sorted(
                    [
                        (alice.aor, xenia.aor, b"hello"),
                        (xenia.aor, alice.aor, b"good day"),
                        (alice.aor, xenia.aor, b"xxxxxxxx"),
                    ]
                ),
            )
            self.assertEqual(await store.search(xenia.aor), ())
            south = net.nodes["im-south"].stores.history
            self.assertEqual(await south.search(xenia.aor), ())

        self.play(script)

    def test_too_large_to_record(self) -> None:
        """A message above the limit is not in the record, but its type and its size are."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            net.entities["im-north"].settings.put(alice.aor, Settings(history_session=True))
            await alice.invite(xenia.aor)
            store = net.nodes["im-north"].stores.history
            ends: list[int] = []
            alice.say("x" * 1_200_000, on_end=ends.append)
            await net.until(lambda: ends, "the message is taken")
            (one,) = await store.search(alice.aor)
            (entry,) = await store.entries(alice.aor, one.reference)
            self.assertEqual((ends, len(xenia.user.bodies[-1])), ([200], 1_200_000))
            self.assertEqual(entry.body, b"[text/plain, 1200000 octets: too large to be recorded]")
            self.assertEqual((entry.sender, entry.recipient), (alice.aor, xenia.aor))

        self.play(script)

    def test_not_taken_unrecorded(self) -> None:
        """What cannot be recorded is not acknowledged."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            net.entities["im-north"].settings.put(alice.aor, Settings(history_session=True))
            await alice.invite(xenia.aor)
            recorder = net.entities["im-north"].recorder

            async def broken(*args: Any, **named: Any) -> bool:
                raise Unavailable("the disk is full")

            recorder.message = broken
            ends: list[int] = []
            alice.say("hello", on_end=ends.append)
            await net.sleep(1.0)
            self.assertEqual(ends, [413])
            self.assertEqual(xenia.user.bodies, [])

        self.play(script)


class RefusalTests(SessionCase):
    def test_declined(self) -> None:
        """What the callee answers reaches the caller; nothing is left (spec 10 §12)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            xenia.answers = 603
            self.assertEqual((await refused(alice.invite(xenia.aor))).status, 603)
            self.assertEqual(net.entities["im-north"].msrp.sessions, [])
            self.assertEqual(net.entities["im-south"].msrp.sessions, [])

        self.play(script)

    def test_away(self) -> None:
        """Who is not registered, or not willing, is not available (spec 10 §8)."""

        async def script(net: ScenarioNetwork) -> None:
            alice = await Party.come(net, "alice")
            yusuf = net.person("yusuf").aor
            self.assertEqual((await refused(alice.invite(yusuf))).status, 480)
            xenia = await Party.come(net, "xenia")
            net.entities["im-south"].settings.put(xenia.aor, Settings(willing=False))
            self.assertEqual((await refused(alice.invite(xenia.aor))).status, 480)
            self.assertEqual(xenia.invitations, [])

        self.play(script)

    def test_blocked(self) -> None:
        """Who is on the reject list is refused, and not told which list it is (spec 10 §7)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            heard: list[Any] = []
            net.nodes["im-south"].taps.add(SessionRefused, heard.append)
            block = Settings(rejects=frozenset({alice.aor}), accepts=frozenset({alice.aor}))
            net.entities["im-south"].settings.put(xenia.aor, block)
            failed = await refused(alice.invite(xenia.aor))
            self.assertEqual(failed.status, 403)
            self.assertIn("399", failed.response.first("Warning") or "")
            self.assertEqual([one.status for one in heard], [403])

        self.play(script)

    def test_no_msrp(self) -> None:
        """An offer without a usable MSRP medium is refused with 488 (RFC 4975 §8.6)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            body = (
                b"v=0\r\no=- 1 1 IN IP4 127.0.1.10\r\ns=-\r\nc=IN IP4 127.0.1.10\r\nt=0 0\r\n"
                b"m=audio 4000 RTP/AVP 0\r\n"
            )
            tag = ("Accept-Contact", "*;+g.oma.sip-im")
            inviting = alice.inviter.invite(xenia.aor, body, headers=(tag,))
            self.assertEqual((await refused(inviting)).status, 488)

        self.play(script)

    def test_given_up(self) -> None:
        """The caller gives up while it rings: so the callee stops ringing (RFC 3261 §9)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            xenia.inviter.on_invite = xenia.invitations.append
            calling = Deferred.fromCoroutine(alice.invite(xenia.aor))
            await net.until(lambda: xenia.invitations, "xenia's phone rings")
            xenia.invitations[0].ring()
            await net.sleep(1.0)
            calling.cancel()
            self.assertTrue((await refused(calling)).cancelled)
            await net.until(lambda: xenia.invitations[0].answered, "it stops")
            self.assertTrue(xenia.invitations[0].reason)
            self.assertEqual(net.entities["im-north"].msrp.sessions, [])

        self.play(script)

    def test_features(self) -> None:
        """Features may refuse an invitation, and refuse or change what is said."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            hooks = net.nodes["im-north"].hooks

            async def no(question: MayInvite) -> Refuse | None:
                return Refuse(403, "not on Sundays") if question.subject == "work" else None

            async def mind(question: MayPost) -> Any:
                if "damn" in question.text:
                    return Refuse(403, "language")
                return Deliver(question.text.replace("tea", "coffee"))

            hooks.add(MayInvite, "sunday", no)
            hooks.add(MayPost, "mind", mind)
            failed = await refused(alice.invite(xenia.aor, headers=(("Subject", "work"),)))
            self.assertEqual(failed.status, 403)
            await alice.invite(xenia.aor)
            ends: list[int] = []
            alice.say("damn", on_end=ends.append)
            alice.say("more tea", on_end=ends.append)
            await net.sleep(1.0)
            self.assertEqual(xenia.user.bodies, [b"more coffee"])
            self.assertEqual(ends, [403, 200])

        self.play(script)

    def test_features_and_size(self) -> None:
        """A text is looked at whatever its sender says of its size; one of more than 64 KiB goes
        on unread, and what it is is told."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            asked: list[MayPost] = []

            async def mind(question: MayPost) -> Any:
                asked.append(question)
                if "damn" in question.text:
                    return Refuse(403, "language")
                return Deliver(question.text.replace("tea", "coffee"))

            net.nodes["im-north"].hooks.add(MayPost, "mind", mind)
            await alice.invite(xenia.aor)
            ends: list[int] = []
            for size, text in ((-1, b"damn"), (70_000, b"damn"), (-1, b"tea"), (70_000, b"tea")):
                out = Outgoing("text/plain", None, size=size, on_end=ends.append)
                alice.session().send(out)
                out.write(text + b"." * 3000)
                await net.sleep(1.0)
                out.write(b".")
                out.finish()
                await net.sleep(1.0)
            self.assertEqual(ends, [403, 403, 200, 200])
            self.assertEqual(xenia.user.bodies, [b"coffee" + b"." * 3001] * 2)
            self.assertEqual({one.size for one in asked}, {3004, 3005})
            xenia.user.bodies.clear()
            asked.clear()
            long = cpim("damn" * 20_000, sender=alice.aor, to=xenia.aor)
            alice.say(long, "message/cpim", on_end=ends.append)
            await net.until(lambda: xenia.user.bodies, "the long one arrives", 20.0)
            self.assertEqual(xenia.user.bodies, [long])
            self.assertEqual([(one.content_type, one.text) for one in asked], [("text/plain", "")])
            broken = Outgoing("text/plain", None)
            alice.session().send(broken)
            broken.write(b"damn" * 1000)
            await net.sleep(1.0)
            broken.abort()
            alice.say("and so on")
            await net.sleep(1.0)
            self.assertEqual(xenia.user.bodies, [long, b"and so on"])

        self.play(script)

    def test_rewritten_and_recorded(self) -> None:
        """What a feature has changed is recorded as it went on, whatever its sender said of its
        size."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            im: Any = net.entities["im-north"]
            im.settings.put(alice.aor, Settings(history_session=True))

            async def mind(question: MayPost) -> Any:
                return Deliver(question.text.replace("tea", "coffee"))

            net.nodes["im-north"].hooks.add(MayPost, "mind", mind)
            await alice.invite(xenia.aor)
            out = Outgoing("text/plain", None)
            alice.session().send(out)
            out.write(b"tea" + b"." * 3000)
            await net.sleep(1.0)
            out.finish()
            await net.sleep(1.0)
            history = net.nodes["im-north"].stores.history
            (one,) = await history.search(alice.aor)
            (entry,) = await history.entries(alice.aor, one.reference)
            self.assertEqual(entry.body, b"coffee" + b"." * 3000)
            self.assertEqual(xenia.user.bodies, [entry.body])

        self.play(script)


class EndTests(SessionCase):
    def test_idle(self) -> None:
        """A session in which nobody says anything ends by itself (spec 10 §5)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            await alice.invite(xenia.aor)
            await net.sleep(200.0)
            alice.say("I am thinking")
            await net.sleep(200.0)
            self.assertEqual(alice.ended, [])
            await net.sleep(150.0)
            self.assertEqual((len(alice.ended), len(xenia.ended)), (1, 1))

        self.play(script)

    def test_lost_connection(self) -> None:
        """When a party's connection is lost, both calls end (RFC 4975 §5.4)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            await alice.invite(xenia.aor)
            await net.sleep(1.0)
            xenia.session().close("died")
            await xenia.msrp.stop()
            alice.say("anybody there?")
            await net.until(lambda: alice.ended, "alice learns it", 60.0)

        self.play(script)

    def test_server_stops(self) -> None:
        """A server that stops says so to both parties."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            await alice.invite(xenia.aor)
            await net.stop("im-north")
            await net.sleep(1.0)
            self.assertEqual((len(alice.ended), len(xenia.ended)), (1, 1))

        self.play(script)
