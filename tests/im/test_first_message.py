"""The message that comes with an INVITE, at the servers (spec 10 §5, §7, §8)."""

from __future__ import annotations

from typing import Any

from omaim.bodies.mime import Part
from omaim.bodies.multipart import Multipart, parse_multipart
from omaim.bodies.sdp import MEDIA_TYPE as SDP
from omaim.im.policy import Settings
from omaim.net.wire import OUT
from omaim.node.events import MessageDeferred, MessageRefused, ServiceEvent
from omaim.node.hooks import Deliver, Refuse
from omaim.node.questions import MayPost
from omaim.roles.call import Call
from omaim.roles.description import CallFailed
from omaim.roles.negotiation import Negotiation
from omaim.testing.scenario import ScenarioNetwork
from tests.im.parties import TAG, Party, SessionCase, refused
from tests.im.support import cpim

WANTED = "positive-delivery, negative-delivery, processing"


def message(alice: Party, to: str, text: str = "hello", **more: Any) -> bytes:
    """Return a message of alice's in its envelope."""
    return cpim(text, WANTED, sender=more.pop("author", alice.aor), to=to, **more)


async def invite(alice: Party, to: str, body: bytes, kind: str = "message/cpim") -> Call:
    """Invite somebody with a message beside the offer."""
    negotiation = Negotiation(alice.msrp)
    offer = negotiation.offer([alice.wished()])
    first = Part([("Content-Type", kind)], body)
    whole = Multipart("mixed", [Part([("Content-Type", SDP)], offer.body), first])
    content_type, octets = whole.write()
    try:
        call = await alice.inviter.invite(to, octets, content_type, headers=(TAG,))
    except BaseException:
        negotiation.close()
        raise
    await negotiation.read_answer(call.remote)
    alice._up(call, negotiation)
    return call


def firsts(party: Party) -> list[bytes]:
    """Return what came with the invitations."""
    found = []
    for invitation in party.invitations:
        request = invitation.request
        whole = parse_multipart(request.first("Content-Type") or "", request.body)
        found += [part.content for part in whole.parts if part.media_type != SDP]
    return found


def warning(failed: CallFailed) -> str:
    return failed.response.first("Warning") or ""


class PassingTests(SessionCase):
    async def _passes(self, net: ScenarioNetwork) -> None:
        alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
        body = message(alice, xenia.aor)
        await invite(alice, xenia.aor, body)
        self.assertEqual(firsts(xenia), [body])
        alice.say("and more")
        await net.sleep(1.0)
        self.assertEqual(xenia.user.bodies, [b"and more"])
        self.assertNotIn(b"hello", xenia.calls[0].local.body + alice.calls[0].remote.body)

    def test_anchored(self) -> None:
        """It goes on unchanged, beside an offer that is the server's (RFC 5621 §8)."""
        self.play(self._passes)

    def test_direct(self) -> None:
        """Likewise where the offer is the caller's own."""
        self.play(self._passes, media="direct")

    def test_refreshed(self) -> None:
        """A session that is refreshed does not say it again (RFC 4028 §7.4)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            await invite(alice, xenia.aor, message(alice, xenia.aor))
            await net.sleep(4000.0)
            self.assertFalse(xenia.calls[0].over)
            said = [one for one in net.seen("im-south", "INVITE") if b"hello" in one.body]
            self.assertEqual({one.to.tag for one in said}, {""}, "only what begins the session")

        self.play(script, idle=0.0, media="direct")

    async def _judged(self, net: ScenarioNetwork) -> None:
        alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
        asked: list[MayPost] = []

        async def judge(question: MayPost) -> Deliver | Refuse:
            asked.append(question)
            if "rude" in question.text:
                return Refuse(403, "mind your language")
            return Deliver("good day")

        net.nodes["im-north"].hooks.add(MayPost, "manners", judge)
        await invite(alice, xenia.aor, message(alice, xenia.aor))
        (changed,) = firsts(xenia)
        self.assertIn(b"good day", changed)
        self.assertNotIn(b"hello", changed)
        first = asked[0]
        self.assertEqual((first.sender, first.recipients), (alice.aor, (xenia.aor,)))
        self.assertEqual((first.text, first.content_type), ("hello", "text/plain"))
        reports: list[Any] = []
        alice.client.on_report(reports.append)
        rude = message(alice, xenia.aor, "rude", message_id="m2")
        failed = await refused(invite(alice, xenia.aor, rude))
        self.assertEqual(failed.status, 403)
        self.assertIn("mind your language", warning(failed))
        self.assertEqual(len(xenia.invitations), 1)
        await net.sleep(2.0)
        self.assertEqual([(one.message_id, one.status) for one in reports], [("m2", "forbidden")])

    def test_judged_by_a_feature(self) -> None:
        """Features decide about it as about any message: its text may be changed, or it is
        refused, and the invitation with it."""
        self.play(self._judged)

    def test_judged_on_the_direct_way(self) -> None:
        """Likewise where the session itself does not pass the server."""
        self.play(self._judged, media="direct")

    def test_in_another_name(self) -> None:
        """Its CPIM From has to be the sender, as in pager mode."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            bob = net.person("bob").aor
            failed = await refused(invite(alice, xenia.aor, message(alice, xenia.aor, author=bob)))
            self.assertEqual(failed.status, 403)
            broken = await refused(invite(alice, xenia.aor, b"From: <"))
            self.assertEqual(broken.status, 400)
            self.assertEqual(xenia.invitations, [])

        self.play(script)


class KeptTests(SessionCase):
    def waiting(self, net: ScenarioNetwork, user: str, name: str = "im-south") -> Any:
        return net.nodes[name].stores.deferred.waiting(user, net.now())

    def test_away(self) -> None:
        """Who has no device gets it later; the caller hears 480, and that it is kept, with
        "stored" for who asked (spec 10 §8)."""

        async def script(net: ScenarioNetwork) -> None:
            alice = await Party.come(net, "alice")
            yusuf = net.person("yusuf").aor
            reports: list[Any] = []
            alice.client.on_report(reports.append)
            heard: list[Any] = []
            net.nodes["im-south"].taps.add(MessageDeferred, heard.append)
            gone: list[Any] = []
            for name in ("im-north", "im-south"):
                net.nodes[name].taps.add(MessageRefused, gone.append)
            body = message(alice, yusuf)
            failed = await refused(invite(alice, yusuf, body))
            self.assertEqual(failed.status, 480)
            self.assertIn("the first message is kept for later", warning(failed))
            self.assertEqual(gone, [], "what is kept is not refused")
            (kept,) = await self.waiting(net, yusuf)
            self.assertEqual((kept.body, kept.message_id), (body, "m1"))
            self.assertEqual([one.recipient for one in heard], [yusuf])
            await net.sleep(2.0)
            self.assertEqual([(one.message_id, one.status) for one in reports], [("m1", "stored")])
            again = await refused(invite(alice, yusuf, body))
            self.assertEqual(again.status, 480)
            self.assertEqual(len(await self.waiting(net, yusuf)), 1, "called once more")
            await net.stop("im-south")
            await net.start("im-south")
            back = await net.online("yusuf")
            self.assertEqual((await net.message(back)).text, "hello")
            await net.nothing(back)

        self.play(script)

    def test_once(self) -> None:
        """Who sends it as a message of its own after that has it delivered once: while it waits,
        and when it has arrived."""

        async def script(net: ScenarioNetwork) -> None:
            alice = await Party.come(net, "alice")
            yusuf = net.person("yusuf").aor
            body = message(alice, yusuf)
            await refused(invite(alice, yusuf, body))

            async def post() -> int:
                request = alice.agent.make(
                    "MESSAGE", yusuf, [("Content-Type", "message/cpim")], body
                )
                return (await alice.agent.request(request)).status

            self.assertEqual(await post(), 202)
            self.assertEqual(len(await self.waiting(net, yusuf)), 1)
            back = await net.online("yusuf")
            self.assertEqual((await net.message(back)).message_id, "m1")
            self.assertEqual(await post(), 202)
            await net.nothing(back)
            sent = [one for one in net.seen("im-south", "MESSAGE", OUT) if one.body == body]
            self.assertEqual(len(sent), 1, "the server sends it once")

        self.play(script)

    def test_when(self) -> None:
        """It is kept when the callee cannot be reached, and not when he has declined, is busy, or
        wants nothing kept (spec 10 §8, RFC 3428 §7)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            south = net.entities["im-south"].settings
            cases = (
                (Settings(willing=False), 200, 480, True),
                (Settings(), 480, 480, True),
                (Settings(), 500, 480, True),
                (Settings(), 486, 486, False),
                (Settings(), 603, 603, False),
                (Settings(), 404, 404, False),
                (Settings(defers=False), 480, 480, False),
                (Settings(defers=False, willing=False), 200, 480, False),
                (Settings(rejects=frozenset([alice.aor])), 200, 403, False),
            )
            for number, (settings, answer, status, kept) in enumerate(cases):
                south.put(xenia.aor, settings)
                xenia.answers = answer
                before = len(await self.waiting(net, xenia.aor))
                body = message(alice, xenia.aor, message_id=f"m{number}")
                failed = await refused(invite(alice, xenia.aor, body))
                self.assertEqual(failed.status, status, answer)
                self.assertEqual("is kept for later" in warning(failed), kept, answer)
                grown = len(await self.waiting(net, xenia.aor)) - before
                if settings.willing is False and settings.defers:
                    self.assertEqual(grown, 1, "it waits for better days")
                elif not kept:
                    self.assertLessEqual(grown, 0, answer)

        self.play(script, delivery="notify")

    def test_polite(self) -> None:
        """Who is not to learn that he is unwelcome hears what he would if the callee were away,
        and gets no report; nothing is kept (spec 10 §7)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            reports: list[Any] = []
            alice.client.on_report(reports.append)
            settings = Settings(rejects=frozenset([alice.aor]), polite=True)
            net.entities["im-south"].settings.put(xenia.aor, settings)
            away = await refused(invite(alice, net.person("yusuf").aor, b"hello", "text/plain"))
            failed = await refused(invite(alice, xenia.aor, message(alice, xenia.aor)))
            self.assertEqual((failed.status, warning(failed)), (away.status, warning(away)))
            await net.sleep(2.0)
            self.assertEqual((reports, xenia.invitations), ([], []))
            self.assertEqual(len(await self.waiting(net, xenia.aor)), 0)

        self.play(script)

    def test_no_room(self) -> None:
        """Where there is no room it is not kept, and said to have failed."""

        async def script(net: ScenarioNetwork) -> None:
            alice = await Party.come(net, "alice")
            yusuf = net.person("yusuf").aor
            reports: list[Any] = []
            alice.client.on_report(reports.append)
            await refused(invite(alice, yusuf, message(alice, yusuf)))
            failed = await refused(invite(alice, yusuf, message(alice, yusuf, message_id="m2")))
            self.assertEqual(failed.status, 480)
            self.assertIn("no room for more messages", warning(failed))
            await net.sleep(2.0)
            found = [(one.message_id, one.status) for one in reports]
            self.assertEqual(sorted(found), [("m1", "stored"), ("m2", "failed")])

        self.play(script, quota_count=1)


class HistoryTests(SessionCase):
    def test_recorded(self) -> None:
        """It is the first of the session that is recorded, on both sides, and there once."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            wants = Settings(history_session=True, history_pager=True)
            for name, party in (("im-north", alice), ("im-south", xenia)):
                net.entities[name].settings.put(party.aor, wants)
            await invite(alice, xenia.aor, message(alice, xenia.aor))
            alice.say("and more")
            await net.sleep(2.0)
            for name, party in (("im-north", alice), ("im-south", xenia)):
                store = net.nodes[name].stores.history
                (one,) = await store.search(party.aor)
                self.assertEqual((one.kind, one.count), ("session", 2))
                entries = await store.entries(party.aor, one.reference)
                self.assertEqual(entries[0].message_id, "m1")
                self.assertEqual((entries[0].sender, entries[0].recipient), (alice.aor, xenia.aor))
                self.assertEqual(entries[1].body, b"and more")

        self.play(script)

    def test_kept(self) -> None:
        """One that is kept is recorded as the pager message that it becomes, on both sides, once
        though it is sent again."""

        async def script(net: ScenarioNetwork) -> None:
            alice = await Party.come(net, "alice")
            yusuf = net.person("yusuf").aor
            wants = Settings(history_pager=True)
            for name, person in (("im-north", alice.aor), ("im-south", yusuf)):
                net.entities[name].settings.put(person, wants)
            body = message(alice, yusuf)
            await refused(invite(alice, yusuf, body))
            request = alice.agent.make("MESSAGE", yusuf, [("Content-Type", "message/cpim")], body)
            await alice.agent.request(request)
            await net.sleep(2.0)
            for name, person in (("im-north", alice.aor), ("im-south", yusuf)):
                found = await net.nodes[name].stores.history.search(person)
                self.assertEqual([(one.kind, one.count) for one in found], [("pager", 1)], name)

        self.play(script)


class CountingTests(SessionCase):
    def test_counted(self) -> None:
        """It counts among the messages of the session (charging, spec 10 §13)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            heard: list[Any] = []
            net.nodes["im-north"].taps.add(ServiceEvent, heard.append)
            await invite(alice, xenia.aor, b"hello", "text/plain")
            alice.say("more")
            await net.sleep(1.0)
            await alice.leave()
            await net.sleep(1.0)
            ended = heard[-1]
            self.assertEqual((ended.messages, ended.octets), (2, 9))

        self.play(script)


class ApartTests(SessionCase):
    """A device that takes no message beside a session description."""

    def simple(self, xenia: Party) -> None:
        take = xenia.inviter.on_invite
        assert take is not None

        def invited(invitation: Any) -> object:
            if (invitation.request.first("Content-Type") or "").startswith("multipart/"):
                xenia.invitations.append(invitation)
                invitation.reject(415, [("Accept", "application/sdp")])
                return None
            return take(invitation)

        xenia.inviter.on_invite = invited

    def test_said_first(self) -> None:
        """It is invited without, and the server says the message before anything else; the caller
        has nothing to do (RFC 3261 §21.4.13)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            self.simple(xenia)
            body = message(alice, xenia.aor)
            await invite(alice, xenia.aor, body)
            alice.say("and more")
            await net.sleep(1.0)
            self.assertEqual(xenia.user.bodies, [body, b"and more"])
            kinds = [one.request.first("Content-Type") or "" for one in xenia.invitations]
            self.assertEqual([one.partition("/")[0] for one in kinds], ["multipart", "application"])
            first, second = (one.request.call_id for one in xenia.invitations)
            self.assertNotEqual(first, second)

        self.play(script)

    def test_plain(self) -> None:
        """Who takes no envelope in the session either gets the text; who takes no text has it
        reported as failed."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            self.simple(xenia)
            reports: list[Any] = []
            alice.client.on_report(reports.append)
            xenia.wish = xenia.wished(accept_types=("text/plain",))
            await invite(alice, xenia.aor, message(alice, xenia.aor))
            await net.sleep(2.0)
            self.assertEqual((xenia.user.bodies, reports), ([b"hello"], []))
            xenia.user.mode = "none"
            await invite(alice, xenia.aor, message(alice, xenia.aor, message_id="m2"))
            await net.sleep(2.0)
            self.assertEqual([(one.message_id, one.status) for one in reports], [("m2", "failed")])

        self.play(script)

    def test_direct(self) -> None:
        """Where MSRP does not pass the server the caller hears 415, and may do it itself."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            self.simple(xenia)
            failed = await refused(invite(alice, xenia.aor, message(alice, xenia.aor)))
            self.assertEqual(failed.status, 415)
            self.assertEqual(failed.response.first("Accept"), "application/sdp")

        self.play(script, media="direct")
