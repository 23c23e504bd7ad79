"""One MESSAGE to the address of a group: the IM Server as its controlling function."""

from __future__ import annotations

from typing import Any

from omaim.bodies.common_policy import OTHER_IDENTITY, Other, Permission, Rule
from omaim.bodies.cpim import IMDN, Address, Cpim
from omaim.bodies.groups import (
    LIST_MEMBER,
    MEDIA_TYPE,
    MESSAGE_SESSION,
    GroupDocument,
    Service,
    write_groups,
)
from omaim.bodies.imdn import DELIVERY, parse_imdn, report
from omaim.bodies.mime import Part
from omaim.bodies.multipart import Multipart, parse_multipart
from omaim.bodies.resource_lists import Entry
from omaim.errors import Unavailable
from omaim.im.group_documents import ACTIONS
from omaim.im.groups import GLOBAL
from omaim.im.policy import Settings
from omaim.node.events import MessageAccepted, MessageDelivered, MessageRefused
from omaim.node.hooks import Deliver, Refuse
from omaim.node.questions import MayPost
from omaim.sip.message import Request, Response
from omaim.stores.records import Document
from tests.im.support import ALICE, BOB, CAROL, XENIA, ImTestCase, cpim

TEA = "sip:room.tea@north.example"
CAKE = "sip:room.cake@north.example"
FAR = "sip:room.far@south.example"


class GroupTestCase(ImTestCase):
    def define(
        self,
        uri: str,
        *members: str,
        members_may: tuple[str, ...] = ("join", "see", "anonymous"),
        others_may: tuple[str, ...] = (),
        **more: Any,
    ) -> None:
        """Write the document of a group, over the one that is there."""
        rules = [_rule("members", Other(LIST_MEMBER), members_may)]
        if others_may:
            rules.append(_rule("others", Other(OTHER_IDENTITY), others_may))
        group = GroupDocument(
            uri, members=tuple(Entry(one) for one in members), rules=tuple(rules), **more
        )
        store, path = self.stores.documents, GLOBAL + uri
        before = self.successResultOf(store.get(path))
        etag = "" if before is None else before.etag
        body = write_groups([group])
        document = Document(path, f"{etag}x", MEDIA_TYPE, body, self.clock.seconds())
        self.successResultOf(store.put(document, etag))
        self.clock.advance(60)

    def write(
        self, to: str = TEA, body: bytes = b"", kind: str = "message/cpim", **named: Any
    ) -> Response:
        """Send a message from Alice's leg to a group; let its copies be delivered."""
        sender = named.pop("sender", ALICE)
        body = body or cpim(to=to, sender=sender or ALICE)
        response = self.send(named.pop("case", "orig"), sender, to, body, kind, **named)
        self.clock.advance(1)
        return response

    def copies(self) -> dict[str, Request]:
        """Return the copies by recipient, and forget them; nobody gets two."""
        found = {one.uri: one for one in self.core.seen}
        self.assertEqual(len(found), len(self.core.seen))
        self.core.seen.clear()
        return found

    def told(self, response: Response) -> tuple[int, str]:
        """Return status and text of a refusal."""
        return response.status, (response.first("Warning") or "").partition('"')[2].rstrip('"')


def _rule(name: str, condition: Other, rights: tuple[str, ...]) -> Rule:
    return Rule(name, (condition,), tuple(Permission(ACTIONS[one], "true") for one in rights))


class MembersTests(GroupTestCase):
    def test_all_but_the_sender(self) -> None:
        """All members but the sender get one copy each, whoever they are (spec 10 §3)."""
        self.define(TEA, ALICE, BOB, "sip:bob@NORTH.example;x=1", CAROL, XENIA)
        self.assertEqual(self.write().status, 202)
        copies = self.copies()
        self.assertEqual(set(copies), {BOB, CAROL, XENIA})
        for uri, copy in copies.items():
            self.assertEqual(copy.first("To"), f"<{uri}>")
            self.assertEqual(copy.first("P-Asserted-Identity"), f"<{ALICE}>")
            self.assertEqual(copy.from_.uri_text, ALICE)
            self.assertIn("charge-1", copy.first("P-Charging-Vector") or "")
            message = Cpim.parse(copy.body)
            self.assertEqual([one.uri for one in message.to], [TEA], "who answers, answers all")
            self.assertEqual((message.message_id, message.part.content), ("m1", b"hello"))
            self.assertIsNone(message.first("Original-To", IMDN))
        self.assertEqual(len({copy.call_id for copy in copies.values()}), 3)

    def test_all_addresses_of_the_sender(self) -> None:
        """By no address of its own gets the sender what it wrote (spec 10 §3)."""
        other, number = "sip:al@north.example", "tel:+15550100"
        answer = self.core.ua.make("REGISTER", "sip:north.example", to=f"<{ALICE}>").response(200)
        for one in (ALICE, other):
            answer.add("P-Associated-URI", f"<{one}>")
        self.register(ALICE, body=answer.to_bytes(), kind="message/sip")
        self.define(TEA, other, number, BOB)
        asserted = ("P-Asserted-Identity", f"<{ALICE}>, <{number}>")
        self.assertEqual(self.write(headers=(asserted,)).status, 202)
        self.assertEqual(set(self.copies()), {BOB})

    def test_from_another_domain(self) -> None:
        """A member elsewhere writes to the group by its own network."""
        self.define(TEA, ALICE, XENIA)
        body = cpim(sender=XENIA, to=TEA)
        self.assertEqual(self.write(case="", sender=XENIA, body=body).status, 202)
        self.assertEqual(self.copies()[ALICE].first("P-Asserted-Identity"), f"<{XENIA}>")

    def test_other_address(self) -> None:
        """A group whose address begins otherwise is found where the core sends what is for it."""
        tea = "sip:tea@north.example"
        self.define(tea, ALICE, BOB)
        self.assertEqual(self.write(tea).status, 200)
        self.assertEqual(set(self.copies()), {tea}, "the sender's side passes it on")
        self.assertEqual(self.write(tea, case="").status, 202)
        self.assertEqual(set(self.copies()), {BOB})

    def test_absent(self) -> None:
        """The copy for somebody who is away waits; a repeat of the message adds nothing."""
        self.core.answers[BOB] = 480
        self.define(TEA, ALICE, BOB, CAROL)
        for _ in range(2):
            self.assertEqual(self.write().status, 202)
        self.assertEqual(len(self.waiting(BOB)), 1)
        self.assertEqual(len([one for one in self.core.seen if one.uri == CAROL]), 1)
        self.core.answers.clear()
        self.core.seen.clear()
        self.register(BOB)
        self.assertEqual([one.uri for one in self.core.seen if one.uri != ALICE], [BOB])

    def test_nobody_else(self) -> None:
        """A group of the sender alone takes the message, for nobody."""
        self.define(TEA, ALICE)
        self.im.settings.put(ALICE, Settings(history_pager=True))
        self.assertEqual(self.write().status, 202)
        self.assertEqual(self.core.seen, [])
        self.clock.advance(20)
        self.assertEqual(len(self.successResultOf(self.stores.history.search(ALICE))), 1)

    def test_changed(self) -> None:
        """Who is a member counts as the document says when the message comes."""
        self.define(TEA, ALICE, BOB)
        self.write()
        self.define(TEA, ALICE, CAROL)
        self.core.seen.clear()
        self.write(body=cpim(to=TEA, message_id="m2"))
        self.assertEqual(set(self.copies()), {CAROL})


class RefusalTests(GroupTestCase):
    def test_not_a_member(self) -> None:
        """Who is no member, and whom the rules do not let in, is refused (spec 10 §12)."""
        self.define(TEA, BOB)
        told = self.told(self.write())
        self.assertEqual(told, (403, "119 Function not allowed due to the policy of the group"))
        self.assertEqual([to for to, _ in self.reports()], [ALICE], "that is all that is sent")
        self.assertEqual(self.of(MessageRefused)[0].status, 403)
        self.define(TEA, BOB, others_may=("join",))
        self.core.seen.clear()
        self.assertEqual(self.write().status, 202)
        self.assertEqual(set(self.copies()), {BOB})

    def test_no_pager_mode(self) -> None:
        """A group that is for sessions only takes no messages (supported-services)."""
        services = (Service("im", (MESSAGE_SESSION,)),)
        self.define(TEA, ALICE, BOB, services=services)
        status, why = self.told(self.write())
        self.assertEqual((status, why[:24]), (403, "119 Function not allowed"))

    def test_unknown(self) -> None:
        """No such group: 404; a conference that has ended: 410 (spec 10 §12)."""
        self.assertEqual(self.write("sip:room.none@north.example").status, 404)
        gone = "sip:conf.1@north.example"
        self.assertEqual(self.write(gone).status, 404)
        self.im.focus._remember(gone)
        self.assertEqual(self.write(gone).status, 410)
        here: Any = self.im.focus.conferences
        here[gone] = None
        self.addCleanup(here.clear)
        self.assertEqual(self.write(gone).status, 403, "it goes on: say it there")
        here.clear()

    def test_anonymous(self) -> None:
        """Without a name one writes where the group allows it; nobody vouched for may not."""
        self.define(TEA, ALICE, BOB, members_may=("join",))
        hidden = (("Privacy", "id"),)
        self.assertEqual(self.write(headers=hidden).status, 403)
        self.define(TEA, ALICE, BOB, others_may=("join", "anonymous"))
        self.core.seen.clear()
        self.assertEqual(self.write(headers=hidden).status, 202)
        copy = self.copies()[BOB]
        self.assertEqual(copy.first("Privacy"), "id")
        author = Cpim.parse(copy.body).from_
        assert author is not None
        self.assertTrue(author.uri.endswith(".invalid"))
        self.assertNotIn(b"alice", copy.body)
        self.assertEqual(self.write(case="", sender="", headers=hidden).status, 403)

    def test_size_and_expiry(self) -> None:
        """The limits of all messages hold: size (413), and what came too late (480)."""
        self.define(TEA, ALICE, BOB)
        self.assertEqual(self.write(body=b"x" * 20481, kind="text/plain").status, 413)
        late = (("Date", "Thu, 01 Jan 1970 00:00:02 GMT"), ("Expires", "1"))
        self.clock.advance(10)
        self.assertEqual(self.write(headers=late).status, 480)
        self.assertNotIn(BOB, [one.uri for one in self.core.seen])

    def test_forged_author(self) -> None:
        """The author in the envelope has to be the sender, from other domains too."""
        self.define(TEA, ALICE, XENIA, BOB)
        body = cpim(sender=ALICE, to=TEA)
        self.assertEqual(self.write(case="", sender=XENIA, body=body).status, 403)

    def test_broken(self) -> None:
        """What is broken is the sender's fault (400), whatever is broken; nobody gets it."""
        self.define(TEA, ALICE, BOB)
        whole = cpim(to=TEA)
        for kind, body in (
            ("message/cpim", b"From"),
            ("message/cpim", whole[:40]),
            ("message/cpim", whole.replace(b"Content-Type", b"X-Type")),
            ("multipart/mixed", whole),
            ("multipart/mixed;boundary=x", b"--x"),
            ("multipart/mixed;boundary=x", b"--x\r\nContent-Type: message/cpim\r\n\r\n\r\n--x--"),
        ):
            self.assertEqual(self.write(body=body, kind=kind).status, 400, (kind, body))
        self.assertEqual([one.uri for one in self.core.seen], [])
        self.assertEqual(self.im.endpoint.counters["crashed"], 0)

    def test_typing(self) -> None:
        """That somebody is writing is nothing to be kept for everybody."""
        self.define(TEA, ALICE, BOB)
        kind = "application/im-iscomposing+xml"
        self.assertEqual(self.write(body=b"<isComposing/>", kind=kind).status, 403)

    def test_store_down(self) -> None:
        """Nothing is promised that is not stored: 503."""
        self.define(TEA, ALICE, BOB)
        self.patch(type(self.stores.deferred), "add", lambda *_: _fail())
        self.assertEqual(self.write().status, 503)
        self.assertEqual(self.core.seen, [])


def _fail() -> Any:
    raise Unavailable("no disk")


class ManyTests(GroupTestCase):
    settings = {"group_maximum": 2, "history_count": 10}

    def test_too_many(self) -> None:
        """A group with more members than may get a message takes none."""
        self.define(TEA, ALICE, BOB, CAROL, XENIA)
        self.assertEqual(self.write().status, 403)
        self.define(TEA, ALICE, BOB, CAROL)
        self.assertEqual(self.write().status, 202)


class HooksTests(GroupTestCase):
    def test_asked_once(self) -> None:
        """Features are asked once for all members, and once for each recipient of ours."""
        asked: list[MayPost] = []

        async def opine(question: MayPost) -> object:
            asked.append(question)
            return Deliver("mild") if question.side == "originating" else None

        self.node.hooks.add(MayPost, "test", opine)
        self.define(TEA, ALICE, BOB, XENIA)
        self.write(body=cpim("loud", to=TEA))
        self.assertEqual(
            [(one.side, one.recipients) for one in asked],
            [("originating", (BOB, XENIA)), ("terminating", (BOB,))],
        )
        for copy in self.copies().values():
            self.assertIn(b"mild", copy.body)
            self.assertNotIn(b"loud", copy.body)

    def test_refused(self) -> None:
        """What a feature refuses goes to nobody."""

        async def opine(question: MayPost) -> object:
            return Refuse(403, "no")

        self.node.hooks.add(MayPost, "test", opine)
        self.define(TEA, ALICE, BOB)
        self.assertEqual(self.write(body=cpim(to=TEA, wanted="")).status, 403)
        self.assertEqual(self.core.seen, [])

    def test_events(self) -> None:
        """It is accepted once, with all members, and delivered to each."""
        self.define(TEA, ALICE, BOB, XENIA)
        self.write()
        (event,) = self.of(MessageAccepted)
        self.assertEqual((event.side, event.recipients), ("list", (BOB, XENIA)))
        delivered = {one.recipient for one in self.of(MessageDelivered)}
        self.assertEqual(delivered, {BOB, XENIA})

    def test_history(self) -> None:
        """It is recorded once for its sender and once for each who wants it: for the group."""
        self.define(TEA, ALICE, BOB, CAROL)
        for one in (ALICE, BOB):
            self.im.settings.put(one, Settings(history_pager=True))
        for _ in range(2):
            self.write()
        self.clock.advance(20)
        history = self.stores.history
        (sent,) = self.successResultOf(history.search(ALICE))
        self.assertEqual((sent.peer, sent.participants), (TEA, (ALICE, TEA)))
        (received,) = self.successResultOf(history.search(BOB))
        self.assertEqual((received.peer, received.participants), (ALICE, (ALICE, TEA)))
        self.assertEqual(self.successResultOf(history.search(CAROL)), ())

    def test_policy(self) -> None:
        """What a member does not want of a sender does not come by a group either."""
        self.im.settings.put(BOB, Settings(rejects=frozenset({ALICE})))
        self.define(TEA, ALICE, BOB, CAROL)
        self.write()
        ((to, found),) = self.reports()
        self.assertEqual((to, found.status, found.recipient_uri), (ALICE, "forbidden", BOB))
        self.assertIn(CAROL, [one.uri for one in self.core.seen])


class EnvelopeTests(GroupTestCase):
    def test_plain(self) -> None:
        """A message without an envelope gets one, so that members see what it was for; to repeat
        the message does not double it."""
        self.define(TEA, ALICE, BOB)
        request = self.core.isc(
            "orig", ALICE, TEA, b"hi", headers=(("Subject", "News"), ("Call-ID", "one"))
        )
        for _ in range(2):
            again = request.copy()
            again.set("CSeq", request.first("CSeq") or "")
            self.assertEqual(self.ask(again).status, 202)
            self.clock.advance(40)
        message = Cpim.parse(self.copies()[BOB].body)
        self.assertEqual([one.uri for one in message.to], [TEA])
        self.assertEqual(message.from_, Address("", ALICE))
        self.assertEqual((message.subject(), message.part.text()), ("News", "hi"))
        self.assertTrue(message.message_id)
        self.assertEqual(message.wanted, [])

    def test_readdressed(self) -> None:
        """A group by another spelling is called by its address; the author learns what he wrote."""
        self.define(TEA, ALICE, BOB)
        self.write(body=cpim(to="im:room.tea@north.example", wanted="display"))
        message = Cpim.parse(self.copies()[BOB].body)
        self.assertEqual([one.uri for one in message.to], [TEA])
        self.assertIn("im:room.tea@", message.value("Original-To", IMDN))

    def test_lists_are_removed(self) -> None:
        """What is beside the message stays, but for recipient lists (RFC 5365 §7.3)."""
        self.define(TEA, ALICE, BOB)
        parts = [
            Part([("Content-Type", "message/cpim")], cpim(to=TEA)),
            Part([("Content-Type", "image/png")], b"png"),
            Part([("Content-Type", "x/y"), ("Content-Disposition", "recipient-list")], b"<l/>"),
        ]
        kind, body = Multipart("mixed", parts).write()
        self.assertEqual(self.write(body=body, kind=kind).status, 202)
        copy = self.copies()[BOB]
        found = parse_multipart(copy.first("Content-Type") or "", copy.body).parts
        self.assertEqual([one.media_type for one in found], ["message/cpim", "image/png"])

    def test_encoded(self) -> None:
        """What nobody here can read goes on as it is."""
        self.define(TEA, ALICE, BOB)
        self.im.settings.put(BOB, Settings(willing=False))
        self.write(body=b"\x1f\x8b", kind="text/plain", headers=(("Content-Encoding", "gzip"),))
        (kept,) = self.successResultOf(self.stores.deferred.waiting(BOB, 0.0))
        self.assertEqual((kept.content_type, kept.body), ("text/plain", b"\x1f\x8b"))
        self.assertIn(("Content-Encoding", "gzip"), kept.headers)

    def test_encoded_envelope(self) -> None:
        """An envelope that nobody here can read is not taken for a broken one (RFC 3261 §20.12)."""
        self.define(TEA, ALICE, BOB)
        self.im.settings.put(BOB, Settings(willing=False, history_pager=True))
        encoded = (("Content-Encoding", "gzip"),)
        self.assertEqual(self.write(body=b"\x1f\x8b", headers=encoded).status, 202)
        (kept,) = self.successResultOf(self.stores.deferred.waiting(BOB, 0.0))
        self.assertEqual((kept.content_type, kept.body), ("message/cpim", b"\x1f\x8b"))


class NestedTests(GroupTestCase):
    def test_each_once(self) -> None:
        """Groups that contain one another: everybody gets it once, by the group he is in."""
        self.define(TEA, ALICE, BOB, CAKE)
        self.define(CAKE, BOB, CAROL, TEA)
        self.assertEqual(self.write().status, 202)
        to = {uri: Cpim.parse(copy.body).to[0].uri for uri, copy in self.copies().items()}
        self.assertEqual(to, {BOB: TEA, CAROL: CAKE})

    def test_closed(self) -> None:
        """A group inside that does not let the sender write is reported as forbidden."""
        self.define(TEA, ALICE, BOB, CAKE)
        self.define(CAKE, CAROL)
        for _ in range(2):
            self.write()
        ((to, found),) = self.reports()
        self.assertEqual((to, found.status, found.recipient_uri), (ALICE, "forbidden", CAKE))
        self.assertEqual({one.uri for one in self.core.seen}, {BOB, ALICE})

    def test_elsewhere(self) -> None:
        """A group of another domain that contains ours sends it back: it ends here."""
        self.define(TEA, ALICE, BOB, FAR)
        for kind, body in (("message/cpim", cpim(to=TEA)), ("text/plain", b"hi")):
            self.write(body=body, kind=kind)
            copies = self.copies()
            self.assertEqual(set(copies), {BOB, FAR})
            back = copies[FAR].body.replace(TEA.encode(), FAR.encode())
            self.assertEqual(self.write(case="", body=back).status, 202)
            self.assertEqual(self.copies(), {})

    def test_known_later(self) -> None:
        """A group that was defined meanwhile is one, after half a minute at most."""
        self.define(TEA, ALICE, CAKE)
        self.write()
        self.assertEqual(set(self.copies()), {CAKE}, "taken for a person")
        self.define(CAKE, CAROL, TEA)
        self.write(body=cpim(to=TEA, message_id="m2"))
        self.assertEqual(set(self.copies()), {CAROL})


class ReportTests(GroupTestCase):
    def reported(self, copy: Request, by: str) -> Response:
        """Have a member's client report on its copy, to whom it says."""
        made = report(
            Cpim.parse(copy.body), DELIVERY, "delivered", f"r-{by}", recipient=Address("", by)
        )
        assert made is not None
        route = made.value("IMDN-Route", IMDN).strip("<>") or ALICE
        return self.write(route, made.to_bytes(), sender=by)

    def test_disclosed(self) -> None:
        """Who may see the members hears from each of them (RFC 5438 §8)."""
        self.define(TEA, ALICE, BOB)
        self.write()
        message = Cpim.parse(self.copies()[BOB].body)
        self.assertIsNone(message.first("IMDN-Record-Route", IMDN))

    def test_undisclosed(self) -> None:
        """Who may not see the members hears that it was delivered, in the name of the group."""
        self.define(TEA, ALICE, BOB, CAROL, members_may=("join",))
        self.write()
        copies = self.copies()
        for uri in (BOB, CAROL):
            self.assertEqual(self.reported(copies[uri], uri).status, 202)
        self.assertEqual([one.uri for one in self.core.seen], [ALICE, ALICE])
        for request in self.core.seen:
            self.assertEqual(request.first("P-Asserted-Identity"), f"<{TEA}>")
            text = request.to_bytes()
            for name in (b"bob", b"carol"):
                self.assertNotIn(name, text.lower().replace(b"r-sip:" + name, b""))
            found = parse_imdn(Cpim.parse(request.body).part.decoded())
            self.assertEqual((found.recipient_uri, found.status), (TEA, "delivered"))

    def test_own_reports_undisclosed(self) -> None:
        """What the server itself reports takes the same way, and names nobody."""
        self.core.answers[XENIA] = 404
        self.define(TEA, ALICE, XENIA, members_may=("join",))
        self.write(body=cpim(to=TEA, wanted="negative-delivery"))
        (failed,) = [one for one in self.core.seen if one.uri == TEA]
        self.core.seen.clear()
        self.write(case="", sender=XENIA, body=failed.body)
        (told,) = self.core.seen
        self.assertEqual(told.uri, ALICE)
        self.assertNotIn(b"xenia", told.to_bytes())

    def test_strangers(self) -> None:
        """Only members report by a group, and only to who may write there."""
        self.define(TEA, ALICE, BOB, members_may=("join",))
        self.write()
        copy = self.copies()[BOB]
        self.assertEqual(self.reported(copy, CAROL).status, 403)
        body = copy.body.replace(ALICE.encode(), CAROL.encode())
        copy.set_body(body, "message/cpim")
        self.assertEqual(self.reported(copy, BOB).status, 403)
        self.assertEqual(self.core.seen, [])

    def test_not_for_all(self) -> None:
        """A report that did not come by the group is for nobody (RFC 5438 §8)."""
        self.define(TEA, ALICE, BOB)
        self.write()
        message = Cpim.parse(self.copies()[BOB].body)
        made = report(message, DELIVERY, "delivered", "r1", recipient=Address("", BOB))
        assert made is not None
        self.assertEqual(self.write(TEA, made.to_bytes(), sender=BOB).status, 400)
        self.assertEqual(self.core.seen, [])
