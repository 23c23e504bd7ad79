"""One MESSAGE to many: RFC 5365 as the IM Server does it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import fail

from omaim.bodies.cpim import Cpim
from omaim.bodies.mime import Part
from omaim.bodies.multipart import Multipart, parse_multipart
from omaim.bodies.resource_lists import MEDIA_TYPE, Entry, ResourceList, parse_lists, write_lists
from omaim.errors import Unavailable
from omaim.im.policy import Settings
from omaim.node.events import MessageAccepted, MessageDelivered
from omaim.node.hooks import Deliver
from omaim.node.questions import MayPost
from omaim.sip.message import Request, Response
from tests.im.support import ALICE, BOB, CAROL, EXPLODER, XENIA, YUSUF, ImTestCase, cpim

REQUIRE = ("Require", "recipient-list-message")


def listed(*people: Entry, text: bytes = b"hello", kind: str = "text/plain") -> tuple[bytes, str]:
    """Return body and type of a list message."""
    parts = [
        Part([("Content-Type", kind)], text),
        Part(
            [("Content-Type", MEDIA_TYPE), ("Content-Disposition", "recipient-list")],
            write_lists([ResourceList(people)]),
        ),
    ]
    content_type, body = Multipart("mixed", parts).write()
    return body, content_type


class ListTestCase(ImTestCase):
    def explode(self, *people: Entry, sender: str = ALICE, **named: Any) -> Response:
        """Send a list message from Alice's leg; let its copies be delivered."""
        body, content_type = listed(*people, **named)
        response = self.send("orig", sender, EXPLODER, body, content_type, headers=(REQUIRE,))
        self.clock.advance(1)
        return response

    def copies(self) -> dict[str, Request]:
        """Return the copies by recipient; nobody gets two."""
        found = {one.uri: one for one in self.core.seen}
        self.assertEqual(len(found), len(self.core.seen))
        return found


class ExplodeTests(ListTestCase):
    def test_three(self) -> None:
        """Three people, one of them twice and one bcc, get one message each (RFC 5365 §7)."""
        response = self.explode(
            Entry(BOB, copy="to"),
            Entry(XENIA, copy="cc"),
            Entry(BOB, copy="cc"),
            Entry(CAROL, copy="bcc"),
        )
        self.assertEqual(response.status, 202)
        self.assertIn("IM-serv/OMA1.0", response.first("Server") or "")
        copies = self.copies()
        self.assertEqual(set(copies), {BOB, CAROL, XENIA})
        for uri, copy in copies.items():
            self.assertEqual(copy.first("To"), f"<{uri}>")
            self.assertEqual(copy.first("P-Asserted-Identity"), f"<{ALICE}>")
            self.assertEqual(copy.from_.uri_text, ALICE)
            self.assertEqual(
                copy.first("P-Charging-Vector"), "icid-value=charge-1;orig-ioi=north.example"
            )
            self.assertFalse(copy.has("Require"))
            parts = parse_multipart(copy.first("Content-Type") or "", copy.body).parts
            self.assertEqual(parts[0].content, b"hello")
            (shown,) = parse_lists(parts[1].content)
            self.assertEqual(
                [(one.uri, one.copy) for one in shown.items],
                [(BOB, "to"), (XENIA, "cc")],
            )
        self.assertEqual(len({copy.call_id for copy in copies.values()}), 3)

    def test_events(self) -> None:
        """It is accepted once, with all recipients, and delivered to each."""
        self.explode(Entry(BOB), Entry(XENIA))
        (event,) = self.of(MessageAccepted)
        self.assertEqual((event.side, event.recipients), ("list", (BOB, XENIA)))
        delivered = {one.recipient for one in self.of(MessageDelivered)}
        self.assertEqual(delivered, {BOB, XENIA})

    def test_spellings(self) -> None:
        """One person by many spellings gets one message."""
        response = self.explode(
            Entry(BOB),
            Entry(f"{BOB};p=1"),
            Entry(f"{BOB};p=2"),
            Entry("sip:bob@NORTH.example:5060"),
            Entry("im:bob@north.example"),
            Entry("sip:%62ob@north.example;transport=tcp"),
        )
        self.assertEqual(response.status, 202)
        self.assertEqual(list(self.copies()), [BOB])

    def test_undisclosed(self) -> None:
        """A list of bcc only is seen by nobody: the copy is the message alone."""
        self.explode(Entry(BOB), Entry(CAROL))
        for copy in self.copies().values():
            self.assertEqual((copy.first("Content-Type"), copy.body), ("text/plain", b"hello"))

    def test_cpim(self) -> None:
        """In each copy CPIM is addressed to its reader alone (RFC 5438 §8)."""
        self.explode(
            Entry(BOB), Entry(XENIA), text=cpim(to=EXPLODER, wanted="display"), kind="message/cpim"
        )
        for uri, copy in self.copies().items():
            message = Cpim.parse(copy.body)
            self.assertEqual([one.uri for one in message.to], [uri])
            self.assertNotIn((BOB if uri == XENIA else XENIA).encode(), copy.body)

    def test_from_outside(self) -> None:
        """Users of other networks may use the service through the core."""
        body, content_type = listed(Entry(BOB))
        response = self.send("", XENIA, EXPLODER, body, content_type, headers=(REQUIRE,))
        self.assertEqual(response.status, 202)

    def test_bad(self) -> None:
        """What is no list message is refused, with what helps the sender."""
        response = self.send("orig", ALICE, EXPLODER)
        self.assertEqual((response.status, response.first("Require")), (421, REQUIRE[1]))
        body, content_type = listed(Entry(BOB))
        for headers, status, name in (
            ((("Require", "recipient-list-message, foo"),), 420, "Unsupported"),
            ((REQUIRE, ("Content-Type", "text/plain")), 400, "Warning"),
        ):
            response = self.send("orig", ALICE, EXPLODER, body, content_type, headers=headers)
            self.assertEqual(response.status, status)
            self.assertTrue(response.has(name))
        headers = (REQUIRE, ("Privacy", "id"))
        response = self.send("", "", EXPLODER, body, content_type, headers=headers)
        self.assertEqual(response.status, 403)
        self.assertEqual(self.core.seen, [])

    def test_repeat(self) -> None:
        """A sender that did not hear 202 repeats; nobody gets the message twice."""
        body, content_type = listed(
            Entry(BOB), Entry(XENIA), text=cpim(to=EXPLODER), kind="message/cpim"
        )
        for _ in range(2):
            response = self.send("orig", ALICE, EXPLODER, body, content_type, headers=(REQUIRE,))
            self.assertEqual(response.status, 202)
            self.clock.advance(1)
        self.assertEqual(set(self.copies()), {BOB, XENIA})

    def test_other_exploder(self) -> None:
        """A list message to another network's service is that network's to explode."""
        body, content_type = listed(Entry(BOB))
        there = "sip:exploder@south.example"
        self.core.ua.supported.add(REQUIRE[1])
        response = self.send("orig", ALICE, there, body, content_type, headers=(REQUIRE,))
        self.assertEqual(response.status, 200)
        (seen,) = self.core.seen
        self.assertEqual((seen.uri, seen.first("Require")), (there, REQUIRE[1]))


class RecipientTests(ListTestCase):
    def test_absent(self) -> None:
        """The copy for somebody who is away waits for the registration, and that is told."""
        self.core.answers[BOB] = 480
        text = cpim(to=EXPLODER, wanted="processing")
        self.explode(Entry(BOB), Entry(CAROL), text=text, kind="message/cpim")
        self.assertEqual(len(self.waiting(BOB)), 1)
        self.clock.advance(1)
        ((to, found),) = self.reports()
        self.assertEqual((to, found.status, found.recipient_uri), (ALICE, "stored", BOB))
        self.core.answers.clear()
        self.core.seen.clear()
        self.register(BOB)
        self.assertEqual([one.uri for one in self.core.seen], [BOB])
        self.clock.advance(1)
        self.assertEqual(self.waiting(BOB), [])

    def test_unwilling(self) -> None:
        """Who wants nothing now gets the copy later; the sender hears that it is stored."""
        self.im.settings.put(BOB, Settings(willing=False))
        text = cpim(to=EXPLODER, wanted="processing")
        self.explode(Entry(BOB), text=text, kind="message/cpim")
        ((to, found),) = self.reports()
        self.assertEqual((to, found.status, found.recipient_uri), (ALICE, "stored", BOB))
        self.assertEqual(len(self.core.seen), 1)

    def test_network_down(self) -> None:
        """The copy for another network is tried again until it gets there."""
        self.core.answers[XENIA] = 503
        self.explode(Entry(XENIA))
        self.clock.advance(100)
        self.core.answers.clear()
        self.clock.advance(1000)
        self.assertEqual(self.core.seen[-1].uri, XENIA)
        self.assertEqual(self.waiting(f"north.example {XENIA}"), [])
        self.assertEqual(len(self.of(MessageDelivered)), 1)

    def test_unknown(self) -> None:
        """An address that nobody has is reported, and hurts nobody else."""
        self.core.answers["sip:nobody@north.example"] = 404
        text = cpim(to=EXPLODER, wanted="negative-delivery")
        self.explode(
            Entry("sip:nobody@north.example"), Entry(CAROL), text=text, kind="message/cpim"
        )
        ((to, found),) = self.reports()
        self.assertEqual((to, found.status), (ALICE, "failed"))
        self.assertIn(CAROL, [one.uri for one in self.core.seen])

    def test_policy(self) -> None:
        """The recipients' rules hold for copies too."""
        self.im.settings.put(BOB, Settings(rejects=frozenset({ALICE})))
        self.im.settings.put(CAROL, Settings(rejects=frozenset({ALICE}), polite=True))
        text = cpim(to=EXPLODER, wanted="negative-delivery")
        response = self.explode(
            Entry(BOB), Entry(CAROL), Entry(XENIA), text=text, kind="message/cpim"
        )
        self.assertEqual(response.status, 202)
        self.assertEqual({one.uri for one in self.core.seen}, {XENIA, ALICE})
        ((to, found),) = self.reports()
        self.assertEqual((to, found.status, found.recipient_uri), (ALICE, "forbidden", BOB))

    def test_hooks(self) -> None:
        """Features are asked once for the sender, and for each recipient of ours."""
        asked: list[MayPost] = []

        async def opine(question: MayPost) -> object:
            asked.append(question)
            return Deliver("mild") if question.side == "originating" else None

        self.node.hooks.add(MayPost, "test", opine)
        self.explode(Entry(BOB, copy="to"), Entry(XENIA), text=b"loud")
        first, second = asked
        self.assertEqual((first.side, first.recipients), ("originating", (BOB, XENIA)))
        self.assertEqual((second.side, second.recipients), ("terminating", (BOB,)))
        for copy in self.copies().values():
            self.assertIn(b"mild", copy.body)
            self.assertNotIn(b"loud", copy.body)


class LimitTests(ListTestCase):
    settings = {"list_maximum": 3, "quota_count": 1}

    def test_most(self) -> None:
        """A list that is too long is refused before anybody gets anything."""
        people = [Entry(f"sip:u{number}@north.example") for number in range(4)]
        self.assertEqual(self.explode(*people).status, 413)
        self.assertEqual(self.core.seen, [])
        self.assertEqual(self.explode(*people[:3]).status, 202)

    def test_no_room(self) -> None:
        """Who has no room misses the message; the sender hears it, the others get it."""
        self.send("term", XENIA, BOB, state="unreg")
        self.core.answers[BOB] = 480
        text = cpim(to=EXPLODER, wanted="negative-delivery")
        response = self.explode(Entry(BOB), Entry(CAROL), text=text, kind="message/cpim")
        self.assertEqual(response.status, 202)
        found = [one for to, one in self.reports() if to == ALICE]
        self.assertEqual([(one.status, one.recipient_uri) for one in found], [("failed", BOB)])
        self.assertIn(CAROL, [one.uri for one in self.core.seen])

    def test_broken_inside(self) -> None:
        """What is broken deep inside is the sender's fault, 400; to repeat it does not help."""
        text = cpim(to=EXPLODER, wanted="processing")
        text = text.replace(b"Content-Type: text/plain", b"Content-Type: multipart/mixed")
        self.assertIn(b"multipart/mixed", text)
        people = Entry(BOB), Entry(XENIA)
        self.assertEqual(self.explode(*people, text=text, kind="message/cpim").status, 400)
        self.assertEqual(self.core.seen, [])

    def test_store_down(self) -> None:
        """Nothing is promised that is not stored: 503, so that the sender repeats."""
        self.patch(type(self.stores.deferred), "add", lambda *_: fail(Unavailable("no disk")))
        self.assertEqual(self.explode(Entry(BOB), Entry(XENIA)).status, 503)
        self.assertEqual(self.core.seen, [])


class ConsentTests(ListTestCase):
    settings = {"consent": "demand"}

    def test_consent(self) -> None:
        """Without consent of all nobody gets it: 470 and who is missing (RFC 5360 §5.9.1)."""
        self.im.settings.put(BOB, Settings(consents=frozenset({ALICE})))
        response = self.explode(Entry(BOB), Entry(YUSUF))
        self.assertEqual(response.status, 470)
        self.assertEqual(response.first("Permission-Missing"), f"<{YUSUF}>")
        self.assertEqual(self.core.seen, [])
        self.assertEqual(self.explode(Entry(BOB)).status, 202)
