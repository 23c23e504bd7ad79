"""Conversations are recorded for those who want it, and shown to nobody else."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail

from omaim.bodies.cpim import Cpim
from omaim.bodies.deferred_list import MEDIA_TYPE as DEFERRED
from omaim.bodies.history_list import (
    MEDIA_TYPE,
    Recorded,
    parse_history_list,
    write_history_list,
)
from omaim.bodies.im_settings import ServiceSettings
from omaim.bodies.iscomposing import MEDIA_TYPE as COMPOSING
from omaim.bodies.resource_lists import Entry
from omaim.errors import PeerError, Unavailable
from omaim.im.content import Content
from omaim.im.history import FETCHED, LARGEST, Place, Search
from omaim.im.policy import Settings
from omaim.im.recording import CONFERENCE
from omaim.node.events import HistoryDeleted, HistoryRetrieved, MessageRecorded
from omaim.sip.message import Request
from omaim.stores.records import NEVER, Conversation, HistoryEntry
from tests.im.support import ALICE, BOB, CAROL, EXPLODER, IM, XENIA, YUSUF, cpim
from tests.im.test_lists import listed
from tests.im.test_settings import SettingsTestCase

FETCH = "sip:history@north.example"
DELETE = "sip:history-delete@north.example"
ROOM = "sip:room@north.example"
ON = ServiceSettings(history_pager=True, history_session=True)


class HistoryTestCase(SettingsTestCase):
    """Bob has his history on, and Alice has not."""

    def setUp(self) -> None:
        super().setUp()
        self.etag = self.published(ON)

    def recorded(self, owner: str = BOB, **named: Any) -> tuple[Conversation, ...]:
        """Return what is recorded for somebody."""
        found: tuple[Conversation, ...] = self.wait(self.im.history.search(owner, Search(**named)))
        return found

    def said(self, owner: str = BOB) -> list[bytes]:
        """Return the bodies that are recorded for somebody, in the order of recording."""
        found: list[HistoryEntry] = []
        for one in self.recorded(owner):
            found += self.wait(self.stores.history.entries(owner, one.reference))
        return [one.body for one in found]

    def references(self, owner: str = BOB) -> list[str]:
        return [one.reference for one in self.recorded(owner)]

    def wish(self, address: str, *references: str, sender: str = BOB, case: str = "orig") -> int:
        """Have somebody ask for something; return the status."""
        body = write_history_list([Recorded(one) for one in references]) if references else b""
        response = self.send(case, sender, address, body, MEDIA_TYPE if references else "")
        self.clock.advance(1)
        return response.status


class PagerTests(HistoryTestCase):
    def test_both_directions(self) -> None:
        """What one sends and what one gets, each with its sides and its time."""
        self.send("orig", BOB, XENIA, b"to xenia", headers=(("Subject", "S"),))
        self.clock.advance(5)
        self.send("term", XENIA, BOB, b"to bob")
        self.send("orig", ALICE, XENIA, b"alice's own")
        one, two = self.recorded()
        self.assertEqual((one.kind, one.peer, one.subject), ("pager", XENIA, "S"))
        self.assertEqual(one.participants, (BOB, XENIA))
        self.assertEqual((two.peer, two.participants), (XENIA, (XENIA, BOB)))
        self.assertAlmostEqual(two.started_at - one.started_at, 5.0, places=1)
        self.assertEqual(self.said(), [b"to xenia", b"to bob"])
        self.assertEqual(self.recorded(ALICE), ())

    def test_refused(self) -> None:
        """What the other side does not take is no conversation."""
        self.core.script = [603]
        self.send("orig", BOB, XENIA)
        self.core.script = [603]
        self.send("term", XENIA, BOB)
        self.im.settings.put(BOB, Settings(rejects=frozenset((YUSUF,))))
        self.send("term", YUSUF, BOB)
        self.assertEqual(self.recorded(), ())

    def test_deferred(self) -> None:
        """A message that waits is recorded when it is accepted, and once."""
        self.send("term", XENIA, BOB, b"later", state="unreg")
        self.assertEqual(self.said(), [b"later"])
        self.register(BOB)
        self.assertEqual(self.bodies(), [b"later"])
        self.assertEqual(self.said(), [b"later"])

    def test_repeats(self) -> None:
        """A message that comes twice is recorded once; another one with its name is not it."""
        for text in ("one", "one", "two"):
            self.send("term", XENIA, BOB, cpim(text), "message/cpim")
        self.assertEqual(len(self.recorded()), 2)
        for _ in range(2):
            self.send("orig", BOB, XENIA, cpim("mine", sender=BOB, to=XENIA), "message/cpim")
        self.assertEqual(len(self.recorded()), 3)

    def test_no_messages(self) -> None:
        """Reports and signs of typing are not recorded, nor what says nothing."""
        typing = b'<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing"/>'
        for case, sender, to in (("orig", BOB, XENIA), ("term", XENIA, BOB)):
            report = cpim(wanted="", sender=sender, to=to)
            report = report.replace(b"text/plain", b"message/imdn+xml")
            for body, kind in ((report, "message/cpim"), (typing, COMPOSING), (b"", "")):
                self.assertEqual(self.send(case, sender, to, body, kind).status, 200)
        self.assertEqual(self.recorded(), ())

    def test_subject(self) -> None:
        """What a message is about stands in a header, or in its envelope (RFC 3862 §4.6)."""
        body = cpim("hi", sender=XENIA).replace(b"DateTime", b"Subject: Lunch\r\nDateTime")
        self.send("term", XENIA, BOB, body, "message/cpim")
        self.send("term", XENIA, BOB, body, "message/cpim", headers=(("Subject", "Dinner"),))
        self.assertEqual([one.subject for one in self.recorded()], ["Lunch"])

    def test_hidden(self) -> None:
        """Who wants to stay unknown stays so in the history of the recipient."""
        self.send("term", XENIA, BOB, headers=(("Privacy", "id"),))
        (one,) = self.recorded()
        self.assertEqual(one.peer, "sip:anonymous@anonymous.invalid")
        self.assertNotIn(XENIA, one.participants)

    def test_lists(self) -> None:
        """A message to a list: one in the sender's history, one in each recipient's."""
        self.published(ON, user=ALICE)
        body, kind = listed(Entry(BOB), Entry(CAROL), Entry(XENIA))
        headers = (("Require", "recipient-list-message"),)
        self.send("orig", ALICE, EXPLODER, body, kind, headers=headers)
        (mine,) = self.recorded(ALICE)
        self.assertEqual((mine.peer, mine.participants), (EXPLODER, (ALICE, BOB, CAROL, XENIA)))
        (his,) = self.recorded()
        self.assertEqual((his.peer, his.participants), (ALICE, (ALICE, BOB)))
        self.assertEqual(self.recorded(CAROL), ())

    def test_switched(self) -> None:
        """The switch has its effect at once, and not on what was before."""
        self.send("term", XENIA, BOB, b"one")
        self.published(ServiceSettings(history_pager=False), self.etag)
        self.send("term", XENIA, BOB, b"two")
        self.assertEqual(self.said(), [b"one"])

    def test_secret(self) -> None:
        """What was said is in the outbox until it is recorded, and told to nobody."""
        self.send("term", XENIA, BOB)
        self.assertEqual(self.of(MessageRecorded), [])
        self.assertEqual(len([one for one in self.outbox() if isinstance(one, MessageRecorded)]), 1)
        self.clock.advance(11)
        self.assertEqual(self.outbox(), [])
        self.assertEqual(self.said(), [b"hello"])

    def test_expiry(self) -> None:
        """What is too old is gone."""
        self.stop()
        self.start(history_validity=600.0)
        self.send("term", XENIA, BOB)
        self.clock.advance(599)
        self.assertEqual(len(self.recorded()), 1)
        self.clock.advance(2)
        self.assertEqual(self.recorded(), ())
        self.clock.advance(11)
        self.assertEqual(self.successResultOf(self.stores.history.search(BOB)), ())

    def test_quota(self) -> None:
        """The oldest makes room, by number and by size; others' is not touched."""
        self.stop()
        self.start(history_count=3, history_size=100)
        self.published(ON, user=CAROL)
        self.send("term", XENIA, CAROL)
        for number in range(5):
            self.send("term", XENIA, BOB, b"%d" % number)
        self.assertEqual(self.said(), [b"2", b"3", b"4"])
        self.send("term", XENIA, BOB, b"x" * 99)
        self.clock.advance(11)
        self.assertEqual(self.said(), [b"4", b"x" * 99])
        self.assertEqual(self.send("term", XENIA, BOB, b"y" * 101).status, 200)
        self.assertEqual(self.said(), [b"4", b"x" * 99])
        self.assertEqual(self.said(CAROL), [b"hello"])

    def test_restart(self) -> None:
        """What was in the outbox only is recorded by the next life."""
        self.patch(self.stores.history, "record", lambda *_, **__: fail(Unavailable("no disk")))
        self.assertEqual(self.send("term", XENIA, BOB, b"one").status, 200)
        self.assertEqual(self.send("term", XENIA, BOB, b"two", state="unreg").status, 202)
        self.stop()
        self.patch(
            self.stores.history,
            "record",
            type(self.stores.history).record.__get__(self.stores.history),
        )
        self.start()
        self.assertEqual(self.said(), [b"one", b"two"])

    def test_store_recovers(self) -> None:
        """While the history store cannot answer messages go on; what was said is not lost."""
        self.patch(self.stores.history, "record", lambda *_, **__: fail(Unavailable("no disk")))
        self.assertEqual(self.send("term", XENIA, BOB, b"one").status, 200)
        self.assertEqual(subscribe(self), 200)
        self.assertEqual(self.core.others[-1].body, b"")
        self.assertEqual(len(self.flushLoggedErrors(Unavailable)), 1)
        self.clock.advance(30)
        record = type(self.stores.history).record.__get__(self.stores.history)
        self.patch(self.stores.history, "record", record)
        self.clock.advance(11)
        self.assertEqual(self.said(), [b"one"])


def subscribe(
    test: SettingsTestCase,
    event: str = "sip-profile",
    *,
    sender: str = BOB,
    target: str = FETCH,
    accept: str = MEDIA_TYPE,
    expires: int = 600,
) -> int:
    """Subscribe to a list; return the status."""
    headers = [
        ("Route", f"<sip:{IM};lr>"),
        ("P-Asserted-Identity", f"<{sender}>"),
        ("Event", event),
        ("Expires", str(expires)),
    ]
    if accept:
        headers.append(("Accept", accept))
    request: Request = test.core.ua.make("SUBSCRIBE", target, headers)
    status = test.ask(request).status
    test.clock.advance(1)
    return status


class ListTests(HistoryTestCase):
    def setUp(self) -> None:
        super().setUp()
        for text in (b"one", b"two", b"three"):
            self.send("term", XENIA, BOB, text, headers=(("Subject", text.decode()),))
            self.clock.advance(100)
        self.send("orig", BOB, YUSUF, b"four", headers=(("Subject", "four"),))

    def told(self) -> list[str]:
        """Return the subjects of the list that was told last."""
        notify = self.core.others[-1]
        self.assertEqual(notify.first("Content-Type"), MEDIA_TYPE)
        self.document = parse_history_list(notify.body)
        return [one.subject for one in self.document.entries]

    def search(self, params: str) -> list[str]:
        self.assertEqual(subscribe(self, f"sip-profile{params}", expires=0), 200)
        return self.told()

    def test_packages(self) -> None:
        """Clients differ in the event package; all show the list (spec 10 §11)."""
        for package in ("xcap-diff", "sip-profile", "ua-profile"):
            self.assertEqual(subscribe(self, package), 200)
            self.assertEqual(self.told(), ["one", "two", "three", "four"])
        self.assertEqual(len(self.core.others), 3)

    def test_document(self) -> None:
        """The list tells what it is about, not what was said (spec 10 §11)."""
        self.search("")
        first, last = self.document.entries[0], self.document.entries[-1]
        self.assertEqual(first.size, 3)
        assert first.pager is not None
        assert last.pager is not None
        self.assertEqual((first.pager.sender, first.pager.recipient), (XENIA, BOB))
        self.assertEqual((last.pager.sender, last.pager.recipient), (BOB, YUSUF))
        self.assertGreater(first.expires_at, first.date + 7_000_000)
        self.assertNotIn(b"four</", self.core.others[-1].body.replace(b"four</subject", b""))

    def test_own_address(self) -> None:
        """At one's own address the Accept says which list is meant; without, what waits."""
        self.assertEqual(subscribe(self, target=BOB), 200)
        self.assertEqual(len(self.told()), 4)
        for accept in (DEFERRED, f"{MEDIA_TYPE};q=0.5, {DEFERRED}", ""):
            self.assertEqual(subscribe(self, target=BOB, accept=accept), 200)
            self.assertEqual(self.core.others[-1].first("Content-Type"), DEFERRED)

    def test_accept(self) -> None:
        """Who cannot read the list of the function is told so: 406."""
        self.assertEqual(subscribe(self, accept=DEFERRED), 406)
        self.assertEqual(subscribe(self, accept="application/*"), 200)
        self.assertEqual(len(self.told()), 4)

    def test_search(self) -> None:
        """By the other side, by time, from the end, in pages."""
        self.assertEqual(self.search(f';peer="{YUSUF}"'), ["four"])
        self.assertEqual(self.search(f';peer="{ALICE}"'), [])
        since = int(self.clock.seconds() - 250)
        self.assertEqual(self.search(f";since={since}"), ["two", "three", "four"])
        self.assertEqual(self.search(f";since={since};until={since + 100}"), ["two"])
        self.assertEqual(self.search(";limit=3"), ["one", "two", "three"])
        self.assertEqual(self.search(f";limit=3;after={self.document.next}"), ["four"])
        self.assertEqual(self.document.next, 0)
        self.assertEqual(self.search(";latest;limit=2"), ["four", "three"])
        self.assertEqual(self.search(f";latest;limit=2;after={self.document.next}"), ["two", "one"])

    def test_bad_search(self) -> None:
        """A wish that cannot be understood is 400."""
        for params in (";since=yesterday", ";limit=-1", ";after=1.5", ";peer=xenia", ';peer="\t"'):
            self.assertEqual(subscribe(self, f"sip-profile{params}"), 400, params)

    def test_changes(self) -> None:
        """Each change is told, but not too often."""
        subscribe(self, f'sip-profile;peer="{XENIA}"')
        self.clock.advance(10)
        before = len(self.core.others)
        for _ in range(5):
            self.send("term", XENIA, BOB, headers=(("Subject", "five"),))
        self.clock.advance(10)
        self.assertEqual(self.told(), ["one", "two", "three"] + ["five"] * 5)
        self.assertLessEqual(len(self.core.others), before + 2)
        self.wish(DELETE)
        self.clock.advance(10)
        self.assertEqual(self.told(), [])

    def test_others(self) -> None:
        """Only the owner may see: 403 for others, and each sees his own."""
        self.assertEqual(subscribe(self, sender=CAROL, target=BOB), 403)
        self.assertEqual(subscribe(self, sender=XENIA), 403)
        self.assertEqual(subscribe(self, sender=CAROL), 200)
        self.assertEqual(self.told(), [])

    def test_long(self) -> None:
        """A list that would be too long for a document is cut, and says where it goes on."""
        crowd = tuple(f"sip:{'x' * 100}{one}@north.example" for one in range(20))
        for number in range(200):
            one = Conversation(
                BOB, f"r{number}", "pager", CAROL, 1e9, 1e9, NEVER, "long", (CAROL, *crowd)
            )
            self.successResultOf(self.stores.history.record(one))
        document = self.wait(self.im.history.document(BOB, Search(peer=CAROL, limit=400)))
        self.assertLess(len(document), 262_144)
        first = parse_history_list(document)
        rest = self.recorded(peer=CAROL, after=first.next, limit=400)
        self.assertEqual(len(first.entries) + len(rest), 200)


class FetchTests(HistoryTestCase):
    def setUp(self) -> None:
        super().setUp()
        for number, text in enumerate(("one", "two")):
            body = cpim(text, sender=XENIA, message_id=f"m{number}")
            self.send("term", XENIA, BOB, body, "message/cpim")
        self.send("orig", BOB, XENIA, b"three", headers=(("Subject", "S"),))
        self.core.seen.clear()

    def test_fetch(self) -> None:
        """Each comes in a MESSAGE of its own, with the original time, and wants no reports."""
        first, _, third = self.references()
        self.assertEqual(self.wish(FETCH, third, "unknown", first), 202)
        three, one = self.core.seen
        for request in (three, one):
            self.assertEqual(
                (request.uri, request.first("P-Asserted-Identity")), (BOB, f"<{FETCH}>")
            )
            self.assertEqual(request.first("Content-Type"), "message/cpim")
            self.assertLessEqual(len(request.to_bytes()), LARGEST)
        self.assertTrue((one.first("Content-ID") or "").startswith(f"<{first}."))
        message = Cpim.parse(one.body)
        self.assertEqual((message.date_time, message.message_id), ("2026-01-01T00:00:00Z", "m0"))
        self.assertEqual((message.wanted, message.part.content), ([], b"one"))
        message = Cpim.parse(three.body)
        self.assertEqual(message.from_ and message.from_.uri, BOB)
        self.assertEqual([to.uri for to in message.to], [XENIA])
        self.assertEqual((message.subject(), message.part.content), ("S", b"three"))
        self.assertEqual(
            [event.references for event in self.of(HistoryRetrieved)], [(third,), (first,)]
        )
        self.assertEqual(len(self.recorded()), 3)

    def test_one_at_a_time(self) -> None:
        """A further message is sent when the one before was answered (RFC 3428 §8)."""
        self.core.otherwise = None
        self.assertEqual(self.wish(FETCH, *self.references()), 202)
        self.assertEqual(len({request.call_id for request in self.core.seen}), 1)
        for number in (2, 3, 3):
            incoming = self.core.incoming[-1]
            incoming.respond(incoming.response(200))
            self.clock.advance(1)
            self.assertEqual(len({request.call_id for request in self.core.seen}), number)

    def test_not_there(self) -> None:
        """Who has gone meanwhile gets nothing more, and may ask again."""
        self.core.script = [480]
        self.wish(FETCH, *self.references())
        self.assertEqual(len(self.core.seen), 1)
        self.wish(FETCH, *self.references())
        self.assertEqual(len(self.core.seen), 4)

    def test_too_many(self) -> None:
        """Nobody has more under way than that."""
        self.core.otherwise = None
        body = write_history_list([Recorded(one) for one in self.references()])
        asked = [self.send("orig", BOB, FETCH, body, MEDIA_TYPE).status for _ in range(40)]
        self.assertEqual((asked[0], asked[-1]), (202, 480))
        self.assertLessEqual(asked.count(202) * 3, FETCHED + 1)

    def test_session_needed(self) -> None:
        """What does not fit into 1300 octets needs a session: 413, and nothing is sent."""
        self.send("term", XENIA, BOB, b"x" * 1200)
        self.core.seen.clear()
        *_, small, large = self.references()
        response = self.send(
            "orig", BOB, FETCH, write_history_list([Recorded(small), Recorded(large)]), MEDIA_TYPE
        )
        self.assertEqual(response.status, 413)
        self.assertIn("session is needed", response.first("Warning") or "")
        self.assertEqual(self.core.seen, [])
        recorder = self.im.recorder
        session = self.wait(recorder.begin(BOB, XENIA))
        self.assertEqual(self.wish(FETCH, session), 413)

    def test_delete(self) -> None:
        """What its owner deletes is gone; without a list, everything."""
        first, second, third = self.references()
        self.assertEqual(self.wish(DELETE, second, "unknown"), 200)
        self.assertEqual(self.references(), [first, third])
        (event,) = self.of(HistoryDeleted)
        self.assertEqual((event.owner, event.references), (BOB, (second, "unknown")))
        self.assertEqual(self.wish(DELETE, second), 404)
        self.assertEqual(self.wish(DELETE), 200)
        self.assertEqual(self.recorded(), ())

    def test_one_delete_address(self) -> None:
        """Either address deletes what its list says (spec 11 §3 has one delete-uri)."""
        first, *_ = self.references()
        self.assertEqual(self.wish("sip:deferred-delete@north.example", first), 200)
        self.assertEqual(len(self.recorded()), 2)
        self.send("term", XENIA, BOB, b"later", state="unreg")
        (waiting,) = self.wait(self.im.deferring.waiting(BOB))
        body = write_history_list([Recorded(waiting.reference)])
        self.assertEqual(self.send("orig", BOB, DELETE, body, DEFERRED).status, 200)
        self.assertEqual(self.waiting(BOB), [])
        self.assertEqual(len(self.recorded()), 3)

    def test_others(self) -> None:
        """References of others are unknown ones; strangers have nothing here."""
        references = self.references()
        for address in (FETCH, DELETE):
            self.assertEqual(self.wish(address, *references, sender=CAROL), 404)
            self.assertEqual(self.wish(address, *references, sender=XENIA, case=""), 403)
        self.assertEqual(self.core.seen, [])
        self.assertEqual(len(self.recorded()), 3)

    def test_bad(self) -> None:
        """No list, another body, a broken list."""
        self.assertEqual(self.wish(FETCH), 400)
        for address in (FETCH, DELETE):
            response = self.send("orig", BOB, address, b"all, please")
            self.assertEqual((response.status, response.first("Accept")), (415, MEDIA_TYPE))
            self.assertEqual(self.send("orig", BOB, address, b"<x", MEDIA_TYPE).status, 400)


class SessionTests(HistoryTestCase):
    """What the code that conducts sessions calls."""

    def begin(self, owner: str = BOB, peer: str = XENIA, **named: Any) -> str:
        found: str = self.wait(self.im.recorder.begin(owner, peer, (owner, peer), **named))
        return found

    def say(self, reference: str, text: bytes, owner: str = BOB, kind: str = "text/plain") -> bool:
        recorder = self.im.recorder
        found: bool = self.wait(recorder.message(owner, reference, XENIA, owner, kind, text))
        return found

    def test_life(self) -> None:
        """A session from its beginning to its end, with who was there."""
        start = self.clock.seconds()
        session = self.begin(subject="Lunch", at=start)
        self.clock.advance(5)
        self.assertTrue(self.say(session, b"one"))
        self.wait(self.im.recorder.joined(BOB, session, (YUSUF, XENIA)))
        self.assertTrue(self.say(session, b"two"))
        self.clock.advance(5)
        self.wait(self.im.recorder.end(BOB, session))
        (found,) = self.recorded()
        self.assertEqual((found.kind, found.peer, found.subject), ("session", XENIA, "Lunch"))
        self.assertEqual((found.started_at, found.ended_at), (start, start + 10))
        self.assertEqual(found.participants, (BOB, XENIA, YUSUF))
        self.assertEqual((found.count, found.size), (2, 6))
        self.assertFalse(self.say(session, b"afterwards"))
        self.assertEqual(self.said(), [b"one", b"two"])
        (shown,) = parse_history_list(self.wait(self.im.history.document(BOB, Search()))).entries
        assert shown.conference is not None
        assert shown.conference.parties is not None
        self.assertEqual(len(shown.conference.parties.people), 3)
        self.assertEqual(shown.conference.ended_at - shown.conference.started_at, 10)

    def test_not_wanted(self) -> None:
        """Who does not want it recorded, or is not ours, has no reference."""
        for owner in (ALICE, XENIA):
            self.assertEqual(self.begin(owner, BOB), "")
            self.assertFalse(self.say("", b"no", owner))
        self.wait(self.im.recorder.end(ALICE, ""))
        self.assertEqual(self.recorded(ALICE), ())

    def test_no_messages(self) -> None:
        """Reports and signs of typing are never recorded as messages."""
        session = self.begin(kind=CONFERENCE, peer=ROOM)
        report = cpim(wanted="").replace(b"text/plain", b"message/imdn+xml")
        for body, kind in ((report, "message/cpim"), (b"<x/>", COMPOSING), (b"", "text/plain")):
            self.assertFalse(self.say(session, body, kind=kind))
        self.assertTrue(self.say(session, b"\xff\x00", kind="message/cpim"))
        self.assertEqual(self.said(), [b"\xff\x00"])

    def test_switched_off(self) -> None:
        """History that is switched off during a session records no more of it."""
        session = self.begin()
        self.say(session, b"one")
        self.published(ServiceSettings(history_session=False), self.etag)
        self.assertFalse(self.say(session, b"two"))
        self.assertEqual(self.said(), [b"one"])

    def test_deleted(self) -> None:
        """A session that is deleted while it goes on does not come back."""
        session = self.begin()
        self.say(session, b"one")
        self.assertEqual(self.wish(DELETE, session), 200)
        self.assertFalse(self.say(session, b"two"))
        self.wait(self.im.recorder.end(BOB, session))
        self.assertEqual(self.recorded(), ())

    def test_quota(self) -> None:
        """A session that goes on makes others go, and takes no more than there is."""
        self.stop()
        self.start(history_count=2, history_size=10)
        self.send("term", XENIA, BOB, b"old")
        session = self.begin()
        self.assertEqual(
            [self.say(session, text) for text in (b"12345", b"6789", b"ab", b"c")],
            [True, True, False, True],
        )
        self.clock.advance(11)
        self.assertEqual(self.said(), [b"12345", b"6789", b"c"])

    def test_not_durable(self) -> None:
        """What cannot be recorded is said so, so that it is not acknowledged."""
        session = self.begin()
        self.patch(self.stores.history, "record", lambda *_, **__: fail(Unavailable("no disk")))
        saying = Deferred.fromCoroutine(
            self.im.recorder.message(BOB, session, XENIA, BOB, "text/plain", b"lost?")
        )
        self.failureResultOf(saying, Unavailable)

    def test_large(self) -> None:
        """A large message is recorded once, like a pager message."""
        recorder, content = self.im.recorder, Content("text/plain", b"x" * 5000)
        for _ in range(2):
            kept = recorder.keep(BOB, XENIA, XENIA, (BOB,), content, "id", 5.0, "big")
            self.assertTrue(self.wait(kept))
        (one,) = self.recorded()
        self.assertEqual((one.kind, one.size, one.subject), ("large", 5000, "big"))
        self.assertFalse(self.wait(recorder.keep(ALICE, BOB, ALICE, (BOB,), content, "id", 5.0)))

    def test_contents(self) -> None:
        """Pages of CPIM, conversation by conversation, until there is no more."""
        first, second = self.begin(), self.begin(peer=YUSUF)
        for text in (b"a1", b"a2", b"a3"):
            self.say(first, text)
            self.say(second, b"b" + text[1:])
        wanted = [second, "unknown", first]
        found, page, pages = [], self.wait(self.im.history.contents(BOB, wanted, None, 2)), 0
        while True:
            pages += 1
            self.assertLessEqual(len(page.parts), 2)
            found += [Cpim.parse(part.content).part.content for part in page.parts]
            if page.next is None:
                break
            page = self.wait(self.im.history.contents(BOB, wanted, page.next, 2))
        self.assertEqual(found, [b"b1", b"b2", b"b3", b"a1", b"a2", b"a3"])
        self.assertLessEqual(pages, 4)
        for part in page.parts:
            self.assertTrue(part.first("Content-ID").startswith(f"<{first}."))
        self.assertEqual(self.wait(self.im.history.contents(CAROL, wanted)).parts, ())

    def test_large_pages(self) -> None:
        """A page ends when it is large, whatever its limit."""
        session = self.begin()
        for _ in range(5):
            self.say(session, b"x" * 600_000)
        page = self.wait(self.im.history.contents(BOB, [session]))
        self.assertEqual(len(page.parts), 2)
        page = self.wait(self.im.history.contents(BOB, [session], page.next))
        self.assertEqual(page.next and page.next.index, 0)
        page = self.wait(self.im.history.contents(BOB, [session], Place(1)))
        self.assertEqual((page.parts, page.next), ((), None))


class SearchTests(HistoryTestCase):
    def test_numbers(self) -> None:
        """Whatever stands there, it is a search or a PeerError."""
        for text in ("9" * 19, "١", "0x1", "", "1e9"):
            request = self.core.ua.make("SUBSCRIBE", FETCH, [("Event", f'x;after="{text}"')])
            self.assertRaises(PeerError, Search.of, request)
