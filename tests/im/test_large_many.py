"""Large messages to lists and to groups, through the IM Servers of both domains."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import fail

from omaim.bodies.cpim import Cpim
from omaim.bodies.file_selector import FileSelector, FileTransfer
from omaim.bodies.imdn import read_reports
from omaim.bodies.mime import Part
from omaim.bodies.multipart import Multipart, parse_multipart
from omaim.bodies.resource_lists import MEDIA_TYPE, Entry, ResourceList, parse_lists, write_lists
from omaim.bodies.sdp import SENDONLY
from omaim.client import Client
from omaim.errors import Unavailable
from omaim.im.groups import GLOBAL
from omaim.im.policy import Settings
from omaim.node.events import MessageAccepted, MessageRefused
from omaim.node.hooks import Deliver, Refuse
from omaim.node.questions import MayPost
from omaim.roles.negotiation import Negotiation
from omaim.stores.records import LARGE
from omaim.testing.scenario import ScenarioNetwork
from tests.im.parties import Party, SessionCase, refused
from tests.im.support import cpim

EXPLODER = "sip:exploder@north.example"
TEA = "sip:room.tea@north.example"
LARGE_MODE = ("Accept-Contact", "*;+g.oma.sip-im.large-message")
REQUIRE = ("Require", "recipient-list-invite")
STORY = "A long story. " * 3000  # 42 kB


async def begin(
    sender: Party,
    to: str = EXPLODER,
    *people: Entry,
    headers: tuple[tuple[str, str], ...] = (LARGE_MODE,),
    **more: Any,
) -> None:
    """Announce a large message as a client does, with a list if there is somebody on it."""
    negotiation = Negotiation(sender.msrp)
    more.setdefault("direction", SENDONLY)
    offer = negotiation.offer([sender.wished(accept_types=("*",), **more)])
    kind, body = offer.content_type, offer.body
    if people:
        listed = [("Content-Type", MEDIA_TYPE), ("Content-Disposition", "recipient-list")]
        parts = [Part([("Content-Type", kind)], body)]
        parts.append(Part(listed, write_lists([ResourceList(people)])))
        kind, body = Multipart("mixed", parts).write()
        headers = (*headers, REQUIRE)
    try:
        call = await sender.inviter.invite(to, body, kind, headers)
    except BaseException:
        negotiation.close()
        raise
    await negotiation.read_answer(call.remote)
    sender._up(call, negotiation)


async def send(
    sender: Party,
    to: str = EXPLODER,
    *people: Entry,
    body: str | bytes = STORY,
    kind: str = "text/plain",
) -> int:
    """Send a large message; return how it ended."""
    await begin(sender, to, *people)
    return await finish(sender, body, kind)


async def finish(sender: Party, body: str | bytes = STORY, kind: str = "text/plain") -> int:
    ends: list[int] = []
    sender.say(body, kind, on_end=ends.append)
    await sender.net.until(lambda: ends, "the message is answered")
    await sender.leave()
    return ends[0]


async def define(net: ScenarioNetwork, *members: str, **more: str) -> None:
    """Define a group in the north."""
    command = {"command": "add-group", "entity": "im-north", "aor": TEA}
    await net.nodes["im-north"].control.run({**command, "members": " ".join(members), **more})


class ListTests(SessionCase):
    def test_each_once(self) -> None:
        """Whoever is on the list gets it once, as the list's copy control says (RFC 5366 §4, RFC
        5364 §4); who is away when he comes; the sender hears 200 when all copies are stored."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob = await Party.come(net, "alice"), await net.online("bob")
            xenia, yusuf = await net.online("xenia"), net.person("yusuf").aor
            people = [Entry(bob.identity, copy="to"), Entry(xenia.identity, copy="cc")]
            people += [Entry(bob.identity.upper().replace("SIP:BOB", "sip:bob")), Entry(yusuf)]
            heard: list[Any] = []
            net.nodes["im-north"].taps.add(MessageAccepted, heard.append)
            self.assertEqual(await send(alice, EXPLODER, *people), 200)
            accepted = heard[0]
            everybody = (bob.identity, xenia.identity, yusuf)
            self.assertEqual((accepted.side, accepted.recipients), ("list", everybody))
            for one in (bob, xenia):
                await self.read(net, one, alice, {bob.identity, xenia.identity})
            await net.sleep(10.0)
            await self.read(net, await net.online("yusuf"), alice, {bob.identity, xenia.identity})
            for one in (bob, xenia):
                await net.nothing(one, 1.0)
            for name in ("im-north", "im-south"):
                self.assertEqual(net.entities[name].msrp.sessions, [])

        self.play(script)

    async def read(
        self, net: ScenarioNetwork, one: Client, sender: Party, others: set[str]
    ) -> None:
        message = await net.message(one, 600.0)
        self.assertEqual((message.text, message.sender), (STORY, sender.aor))
        self.assertEqual(set(message.others), others)

    def test_stored_at_once(self) -> None:
        """When the sender hears 200, each copy is in the store, addressed to its reader alone."""

        async def script(net: ScenarioNetwork) -> None:
            alice = await Party.come(net, "alice")
            bob, carol = net.person("bob").aor, net.person("carol").aor
            text = cpim(STORY, sender=alice.aor, to=EXPLODER)
            await begin(alice, EXPLODER, Entry(bob), Entry(carol))
            self.assertEqual(await finish(alice, text, "message/cpim"), 200)
            store = net.nodes["im-north"].stores.deferred
            for one, other in ((bob, carol), (carol, bob)):
                (kept,) = await store.waiting(one, 0.0)
                message = Cpim.parse(kept.body)
                self.assertEqual([to.uri for to in message.to], [one])
                self.assertNotIn(other.encode(), kept.body)
                self.assertEqual((kept.message_id, message.part.text()), ("m1", STORY))
            self.assertEqual(
                await send(alice, EXPLODER, Entry(bob), body=text, kind="message/cpim"), 200
            )
            self.assertEqual(len(await store.waiting(bob, 0.0)), 1, "a repeat is known again")

        self.play(script)

    def test_refused(self) -> None:
        """What cannot be used is refused before anything is sent, with what helps the sender."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob = await Party.come(net, "alice"), Entry(net.person("bob").aor)
            answer = (await refused(begin(alice))).response
            self.assertEqual((answer.status, answer.first("Require")), (421, REQUIRE[1]))
            for people, more, status in (
                ((bob,), {"headers": ()}, 488),
                ((bob,), {"direction": "sendrecv"}, 488),
                ((), {"headers": (LARGE_MODE, REQUIRE)}, 400),
                ([Entry(f"sip:u{number}@north.example") for number in range(4)], {}, 413),
                ((Entry("http://x.example"),), {}, 400),
                ((bob,), {"file": FileTransfer(FileSelector("x", 5001), "id")}, 403),
            ):
                answer = (await refused(begin(alice, EXPLODER, *people, **more))).response
                self.assertEqual(answer.status, status, (people, more))
            self.assertIn('"133 Size exceeded"', answer.first("Warning") or "")
            self.assertEqual(net.entities["im-north"].msrp.sessions, [])

        self.play(script, list_maximum=3, large_maximum=5000)

    def test_too_large(self) -> None:
        """More than may be sent, or than all copies may make together, is stopped: 413."""

        async def script(net: ScenarioNetwork) -> None:
            alice = await Party.come(net, "alice")
            bob, carol = Entry(net.person("bob").aor), Entry(net.person("carol").aor)
            self.assertEqual(await send(alice, EXPLODER, bob, body="x" * 5001), 413)
            self.assertEqual(await send(alice, EXPLODER, bob, carol, body="x" * 4001), 413)
            store = net.nodes["im-north"].stores.deferred
            self.assertEqual((await store.usage(bob.uri)).count, 0)
            self.assertEqual(await send(alice, EXPLODER, bob, carol, body="x" * 4000), 200)
            self.assertEqual(await send(alice, EXPLODER, bob, body="y" * 5000), 200)
            self.assertEqual((await store.usage(bob.uri)).count, 2)

        self.play(script, large_maximum=5000, large_copies=8000)

    def test_too_many(self) -> None:
        """One sender may be sending so many at a time; what is held together is bounded (413)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob = await Party.come(net, "alice"), Entry(net.person("bob").aor)
            store = net.entities["im-north"].sessions.store
            for _ in range(2):
                await begin(alice, EXPLODER, bob)
            answer = (await refused(begin(alice, EXPLODER, bob))).response
            self.assertEqual(answer.status, 486)
            self.assertIn('"102 Too many', answer.first("Warning") or "")
            self.assertEqual(await finish(alice), 200)
            await net.sleep(1.0)
            self.assertEqual(await send(alice, EXPLODER, bob), 200)
            store._gathered = 1000
            self.assertEqual(await send(alice, EXPLODER, bob), 413)
            self.assertEqual(await send(alice, EXPLODER, bob, body="small"), 200)
            await net.sleep(600.0)
            self.assertEqual((store._open, store._held), ({}, 0), "nothing is left over")

        self.play(script, sessions_each=2)

    def test_consent(self) -> None:
        """Where consent is demanded, a list without it is refused: 470 (RFC 5360 §5.9)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob = await Party.come(net, "alice"), net.person("bob").aor
            answer = (await refused(begin(alice, EXPLODER, Entry(bob)))).response
            self.assertEqual(answer.status, 470)
            self.assertEqual(answer.first("Permission-Missing"), f"<{bob}>")
            consents = Settings(consents=frozenset({alice.aor}))
            net.entities["im-north"].settings.put(bob, consents)
            self.assertEqual(await send(alice, EXPLODER, Entry(bob)), 200)

        self.play(script, consent="demand")

    def test_no_room(self) -> None:
        """Who has no room, or wants none, misses it, which is reported; others get it."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await net.online("xenia")
            bob, carol = net.person("bob").aor, net.person("carol").aor
            known = net.entities["im-north"].settings
            known.put(carol, Settings(rejects=frozenset({alice.aor})))
            store = net.nodes["im-north"].stores.deferred
            self.assertEqual(await send(alice, EXPLODER, Entry(bob)), 200)
            text = cpim(STORY, "negative-delivery", sender=alice.aor, to=EXPLODER)
            people = [Entry(one) for one in (bob, carol, xenia.identity)]
            got: list[Any] = []
            alice.client.on_report(got.append)
            self.assertEqual(
                await send(alice, EXPLODER, *people, body=text, kind="message/cpim"), 200
            )
            self.assertEqual((await net.message(xenia)).text, STORY)
            await net.until(lambda: len(got) == 2, "the reports")
            self.assertEqual(
                {(one.recipient, one.status) for one in got},
                {(bob, "failed"), (carol, "forbidden")},
            )
            self.assertEqual((await store.usage(bob)).count, 1)

        self.play(script, quota_size=60000)

    def test_store_down(self) -> None:
        """Nothing is acknowledged that is not stored (413 in MSRP)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob = await Party.come(net, "alice"), net.person("bob").aor
            store = net.nodes["im-north"].stores.deferred
            self.patch(type(store), "add", lambda *_: fail(Unavailable("no disk")))
            self.assertEqual(await send(alice, EXPLODER, Entry(bob)), 413)
            self.assertEqual(net.entities["im-north"].msrp.sessions, [])

        self.play(script)

    def test_hooks_and_history(self) -> None:
        """Features are asked as for small ones; it is recorded once on each side."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob = await Party.come(net, "alice"), net.person("bob").aor
            asked: list[MayPost] = []

            async def opine(question: MayPost) -> object:
                asked.append(question)
                if question.side == "terminating":
                    return None
                return Refuse(403, "no") if "bad" in question.text else Deliver("mild")

            net.nodes["im-north"].hooks.add(MayPost, "test", opine)
            known = net.entities["im-north"].settings
            for one in (alice.aor, bob):
                known.put(one, Settings(history_pager=True))
            told: list[Any] = []
            net.nodes["im-north"].taps.add(MessageRefused, told.append)
            self.assertEqual(await send(alice, EXPLODER, Entry(bob), body="bad"), 403)
            self.assertEqual([(one.status, one.why) for one in told], [(403, "no")])
            self.assertEqual(await send(alice, EXPLODER, Entry(bob)), 200)
            self.assertEqual(
                [(one.side, one.recipients) for one in asked[1:]],
                [("originating", (bob,)), ("terminating", (bob,))],
            )
            stores = net.nodes["im-north"].stores
            (kept,) = await stores.deferred.waiting(bob, 0.0)
            self.assertEqual(kept.body, b"mild")
            (sent,) = await stores.history.search(alice.aor)
            self.assertEqual((sent.kind, sent.peer), (LARGE, EXPLODER))
            (received,) = await stores.history.search(bob)
            self.assertEqual((received.kind, received.peer), (LARGE, alice.aor))

        self.play(script)

    def test_forged_author(self) -> None:
        """The author in the envelope has to be the sender: 403."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob = await Party.come(net, "alice"), net.person("bob").aor
            text = cpim(STORY, sender=bob, to=EXPLODER)
            ended = await send(alice, EXPLODER, Entry(bob), body=text, kind="message/cpim")
            self.assertEqual(ended, 403)

        self.play(script)

    def test_picture(self) -> None:
        """Of something else than text the list history is a part beside it (RFC 5365 §7.3)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob = await Party.come(net, "alice"), net.person("bob").aor
            picture = bytes(range(256)) * 200
            people = Entry(bob, copy="to"), Entry(net.person("carol").aor)
            self.assertEqual(
                await send(alice, EXPLODER, *people, body=picture, kind="image/png"), 200
            )
            (kept,) = await net.nodes["im-north"].stores.deferred.waiting(bob, 0.0)
            first, last = parse_multipart(kept.content_type, kept.body).parts
            self.assertEqual((first.content_type, first.content), ("image/png", picture))
            (shown,) = parse_lists(last.content)
            self.assertEqual([one.uri for one in shown.items], [bob])

        self.play(script)


class GroupTests(SessionCase):
    def test_members(self) -> None:
        """All members but the sender get it, addressed to the group (spec 10 §3, §4)."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob, xenia = [await net.online(one) for one in ("alice", "bob", "xenia")]
            await define(net, alice.identity, bob.identity, xenia.identity)
            await xenia.send(TEA, STORY)
            for one in (alice, bob):
                message = await net.message(one)
                self.assertEqual((message.text, message.sender), (STORY, xenia.identity))
                self.assertEqual(message.group, TEA)
            await net.nothing(xenia, 1.0)
            await bob.send(TEA, STORY * 2)
            for one in (alice, xenia):
                self.assertEqual((await net.message(one)).group, TEA)

        self.play(script)

    def test_refused(self) -> None:
        """The group's rules hold before anything is sent; a session in it is another thing."""

        async def script(net: ScenarioNetwork) -> None:
            alice, xenia = await Party.come(net, "alice"), await Party.come(net, "xenia")
            await define(net, alice.aor)
            self.assertEqual(
                (await refused(begin(alice, "sip:room.none@north.example"))).status, 404
            )
            answer = (await refused(begin(xenia, TEA))).response
            self.assertEqual(answer.status, 403)
            self.assertIn("119 Function not allowed", answer.first("Warning") or "")
            answer = (await refused(begin(alice, TEA, Entry(xenia.aor)))).response
            self.assertEqual((answer.status, answer.first("Unsupported")), (420, REQUIRE[1]))
            await begin(alice, TEA)
            self.assertEqual(net.entities["im-north"].focus.conferences, {}, "no room is opened")
            await alice.leave()
            room = await alice.client.join(TEA)
            self.assertEqual(list(net.entities["im-north"].focus.conferences), [TEA])
            await room.leave()

        self.play(script)

    def test_undisclosed_reports(self) -> None:
        """A group that hides its members hides them in the reports on large messages, too."""

        async def script(net: ScenarioNetwork) -> None:
            alice, bob = await net.online("alice"), await net.online("bob")
            await define(net, bob.identity, everybody="yes")
            groups = net.entities["im-north"].groups
            group = await groups.get(TEA)
            self.assertTrue(group.rights((alice.identity,), False).see)
            await hide(net)
            sent = await alice.send(TEA, STORY)
            self.assertEqual((await net.message(bob)).text, STORY)
            await net.until(lambda: sent.reports, "the report")
            self.assertEqual({one.recipient for one in sent.reports}, {TEA})
            seen = [one for one in net.seen("alice", "MESSAGE") if hasattr(one, "uri")]
            for one in seen:
                if (one.first("Content-Type") or "") == "message/cpim":
                    self.assertTrue(read_reports(Cpim.parse(one.body)))
                    self.assertNotIn(b"bob", one.to_bytes())

        self.play(script)


async def hide(net: ScenarioNetwork) -> None:
    """Let nobody see who is in the group."""
    store = net.nodes["im-north"].stores.documents
    document = await store.get(GLOBAL + TEA)
    assert document is not None
    body = document.body.replace(b"allow-conference-state>true", b"allow-conference-state>false")
    assert body != document.body
    await store.put(attrs.evolve(document, etag="hidden", body=body), document.etag)
