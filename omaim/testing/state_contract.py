"""What implementations of the other stores must show; see :mod:`omaim.testing.store_contract`."""

# mypy: disable-error-code="no-untyped-call,override"
from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from omaim.stores.interfaces import (
    Conflict,
    IDocumentStore,
    IHistoryStore,
    ILeaseStore,
    IPublicationStore,
    ISubscriptionStore,
)
from omaim.stores.records import (
    NEVER,
    Conversation,
    Document,
    HistoryEntry,
    Publication,
    SubscriptionRecord,
    Usage,
)
from omaim.testing.store_contract import ALICE, BOB, StoreContract, event


def publication(etag: str, **fields: Any) -> Publication:
    """Return a publication with everything filled in."""
    given: dict[str, Any] = {
        "aor": ALICE,
        "package": "presence",
        "expires_at": 2000.0,
        "content_type": "application/pidf+xml",
        "body": b"<presence/>",
        "publisher": ALICE,
        "published_at": 1000.0,
    }
    return Publication(etag=etag, **{**given, **fields})


def subscription(key: str, **fields: Any) -> SubscriptionRecord:
    """Return a subscription with everything filled in."""
    given: dict[str, Any] = {
        "resource": ALICE,
        "package": "reg",
        "watcher": BOB,
        "expires_at": 2000.0,
        "node": "n1",
        "event_id": "7",
        "accept": ("application/reginfo+xml",),
        "call_id": "c",
        "local_tag": "l",
        "remote_tag": "r",
        "local_uri": ALICE,
        "remote_uri": BOB,
        "remote_target": "sip:bob@192.0.2.1",
        "route_set": ("<sip:p1;lr>", "<sip:p2;lr>"),
        "local_cseq": 3,
        "remote_cseq": 4,
        "notified": 5,
        "extra": "{}",
    }
    return SubscriptionRecord(key, **{**given, **fields})


def conversation(reference: str, **fields: Any) -> Conversation:
    """Return a conversation with everything filled in."""
    given: dict[str, Any] = {
        "kind": "session",
        "peer": BOB,
        "started_at": 1000.0,
        "subject": "s",
        "participants": (ALICE, BOB),
    }
    return Conversation(ALICE, reference, **{**given, **fields})


def entry(reference: str, body: bytes = b"\x00hi", **fields: Any) -> HistoryEntry:
    """Return a message of a conversation."""
    given: dict[str, Any] = {"content_type": "message/cpim", "message_id": "m", "at": 1001.0}
    return HistoryEntry(ALICE, reference, sender=BOB, recipient=ALICE, body=body, **given | fields)


class PublicationContract(StoreContract):
    """Of :class:`IPublicationStore`."""

    def test_interface(self) -> None:
        """It does all that the interface lists."""
        verifyObject(IPublicationStore, self.stores.publications)

    def test_put(self) -> Deferred[None]:
        """A publication is found by entity-tag, and among those of its presentity."""

        async def test() -> None:
            store = self.stores.publications
            late, early = publication("a", published_at=1001.0), publication("b")
            for one in (late, early, publication("c", package="other")):
                await store.put(one)
            self.assertEqual(await store.get("a"), late)
            self.assertIsNone(await store.get("zz"))
            self.assertEqual(await store.of(ALICE, "presence", 1999.0), (early, late))
            self.assertEqual(await store.of(ALICE, "presence", 2000.0), ())
            self.assertEqual(await store.of(BOB, "presence", 1500.0), ())
            self.assertTrue(await store.remove("a"))
            self.assertFalse(await store.remove("a"))
            self.assertEqual(await store.of(ALICE, "presence", 1999.0), (early,))

        return self.going(test())

    def test_modify(self) -> Deferred[None]:
        """A change names the tag it replaces, which is gone then (RFC 3903 §6 step 6)."""

        async def test() -> None:
            store = self.stores.publications
            await store.put(publication("a"))
            await store.put(publication("b", body=b"<new/>"), "a")
            self.assertIsNone(await store.get("a"))
            await self.raised(Conflict, store.put(publication("c"), "a"))
            await self.raised(Conflict, store.put(publication("c", aor=BOB), "b"))
            await self.raised(Conflict, store.put(publication("c", package="x"), "b"))
            await self.raised(Conflict, store.put(publication("b")))
            self.assertEqual(await store.get("b"), publication("b", body=b"<new/>"))
            self.assertIsNone(await store.get("c"))
            await store.put(publication("b", expires_at=3000.0), "b")
            self.assertEqual(await store.get("b"), publication("b", expires_at=3000.0))

        return self.going(test())

    def test_expiry(self) -> Deferred[None]:
        """What has expired is handed out once."""

        async def test() -> None:
            store = self.stores.publications
            for etag, until in (("a", 1200.0), ("b", 1100.0), ("c", 1300.0)):
                await store.put(publication(etag, expires_at=until))
            self.assertEqual(await store.take_expired(1099.0), ())
            first = await store.take_expired(1200.0, 1)
            rest = await store.take_expired(1200.0)
            self.assertEqual([one.etag for one in first + rest], ["b", "a"])
            self.assertEqual(await store.take_expired(1200.0), ())
            await store.put(publication("d", expires_at=1250.0, package="other"))
            (taken,) = await store.take_expired(1300.0, package="presence")
            self.assertEqual(taken.etag, "c")
            self.assertEqual(await store.take_expired(1300.0, package="presence"), ())
            self.assertEqual(len(await store.take_expired(1300.0)), 1)

        return self.going(test())

    def test_aors(self) -> Deferred[None]:
        """Whose state there is, page by page; each once, expired or not."""

        async def test() -> None:
            store = self.stores.publications
            await store.put(publication("a", aor=BOB))
            await store.put(publication("b"))
            await store.put(publication("c"))
            await store.put(publication("d", aor=BOB, package="other"))
            both = tuple(sorted((ALICE, BOB)))
            self.assertEqual(await store.aors("presence"), both)
            self.assertEqual(await store.aors("presence", limit=1), both[:1])
            self.assertEqual(await store.aors("presence", both[0]), both[1:])
            self.assertEqual(await store.aors("other"), (BOB,))
            self.assertEqual(await store.aors("none"), ())

        return self.going(test())


class SubscriptionContract(StoreContract):
    """Of :class:`ISubscriptionStore`."""

    def test_interface(self) -> None:
        """It does all that the interface lists."""
        verifyObject(ISubscriptionStore, self.stores.subscriptions)

    def test_put(self) -> Deferred[None]:
        """A subscription is changed by who knows its version, and found in several ways."""

        async def test() -> None:
            store = self.stores.subscriptions
            version = await store.put(subscription("k"))
            stored = subscription("k", version=version)
            self.assertEqual(await store.get("k"), stored)
            await self.raised(Conflict, store.put(subscription("k")))
            await self.raised(Conflict, store.put(subscription("new", version=9)))
            newer = await store.put(attrs.evolve(stored, local_cseq=4, node="n2"))
            self.assertGreater(newer, version)
            stored = attrs.evolve(stored, local_cseq=4, node="n2", version=newer)
            self.assertEqual(await store.to(ALICE, "reg"), (stored,))
            self.assertEqual(await store.to(ALICE, "presence"), ())
            self.assertEqual(await store.held_by("n1"), ())
            self.assertEqual(await store.held_by("n2"), (stored,))
            self.assertTrue(await store.remove("k"))
            self.assertFalse(await store.remove("k"))
            self.assertIsNone(await store.get("k"))

        return self.going(test())

    def test_pages(self) -> Deferred[None]:
        """A node's subscriptions come in pages; expired ones the longest expired first."""

        async def test() -> None:
            store = self.stores.subscriptions
            for key, until in (("b", 1100.0), ("a", 1200.0), ("c", NEVER)):
                await store.put(subscription(key, expires_at=until))
            page = await store.held_by("n1", limit=2)
            self.assertEqual([one.key for one in page], ["a", "b"])
            self.assertEqual([one.key for one in await store.held_by("n1", "b")], ["c"])
            self.assertEqual([one.key for one in await store.expired(1200.0)], ["b", "a"])
            self.assertEqual([one.key for one in await store.expired(1200.0, 1)], ["b"])
            self.assertEqual([one.key for one in await store.to(ALICE, "reg")], ["a", "b", "c"])

        return self.going(test())


class LeaseContract(StoreContract):
    """Of :class:`ILeaseStore`."""

    def test_interface(self) -> None:
        """It does all that the interface lists."""
        verifyObject(ILeaseStore, self.stores.leases)

    def test_acquire(self) -> Deferred[None]:
        """One owner at a time; the version tells a later owner from an earlier."""

        async def test() -> None:
            store = self.stores.leases
            mine = await store.acquire("room", "n1", 0.0, 10.0)
            self.assertEqual((mine.name, mine.owner, mine.until), ("room", "n1", 10.0))
            self.assertEqual(await store.acquire("room", "n2", 9.9, 19.9), mine)
            longer = await store.acquire("room", "n1", 9.9, 19.9)
            self.assertEqual(longer, attrs.evolve(mine, until=19.9))
            theirs = await store.acquire("room", "n2", 19.9, 30.0)
            self.assertEqual((theirs.owner, theirs.until), ("n2", 30.0))
            self.assertGreater(theirs.version, mine.version)
            self.assertEqual(await store.get("room"), theirs)
            self.assertFalse(await store.release("room", "n1"))
            self.assertTrue(await store.release("room", "n2"))
            self.assertIsNone(await store.get("room"))
            again = await store.acquire("room", "n1", 20.0, 30.0)
            self.assertGreater(again.version, theirs.version)

        return self.going(test())

    def test_race(self) -> Deferred[None]:
        """Of two who ask at once, one has it, and both are told who."""

        async def test() -> None:
            store = self.stores.leases
            asked = [store.acquire("room", name, 0.0, 10.0) for name in ("n1", "n2")]
            self.assertEqual([(await one).owner for one in asked], ["n1", "n1"])

        return self.going(test())

    def test_held(self) -> Deferred[None]:
        """Leases are listed by the beginning of their names."""

        async def test() -> None:
            store = self.stores.leases
            for name in ("node/b", "node/a", "nodes", "room/a"):
                await store.acquire(name, "n1", 0.0, 10.0)
            self.assertEqual([one.name for one in await store.held("node/")], ["node/a", "node/b"])
            self.assertEqual(len(await store.held()), 4)

        return self.going(test())


class DocumentContract(StoreContract):
    """Of :class:`IDocumentStore`."""

    def test_interface(self) -> None:
        """It does all that the interface lists."""
        verifyObject(IDocumentStore, self.stores.documents)

    def test_put(self) -> Deferred[None]:
        """Only who knows the present entity-tag may write (RFC 4825 §7.11)."""

        async def test() -> None:
            store = self.stores.documents
            first = Document("g/friends", "e1", "application/xml", b"\x00<a/>", 1000.0)
            await self.raised(Conflict, store.put(first, "e0"))
            await store.put(first)
            self.assertEqual(await store.get("g/friends"), first)
            self.assertIsNone(await store.get("g/other"))
            await self.raised(Conflict, store.put(first))
            second = attrs.evolve(first, etag="e2", body=b"<b/>")
            await self.raised(Conflict, store.put(second, "e3"))
            await store.put(second, "e1")
            self.assertEqual(await store.get("g/friends"), second)
            await self.raised(Conflict, store.remove("g/friends", "e1"))
            await self.raised(Conflict, store.remove("g/other", ""))
            await store.remove("g/friends", "e2")
            self.assertIsNone(await store.get("g/friends"))
            await store.put(first)

        return self.going(test())

    def test_under(self) -> Deferred[None]:
        """Documents are listed by the beginning of their paths, in pages, without bodies."""

        async def test() -> None:
            store = self.stores.documents
            for path in ("g/b", "g/a", "g/B", "g_", "h/a", "g/ü"):
                await store.put(Document(path, "e", "t", b"body"))
            found = await store.under("g/")
            self.assertEqual([one.path for one in found], ["g/B", "g/a", "g/b", "g/ü"])
            self.assertEqual({one.body for one in found}, {b""})
            page = await store.under("g/", after="g/a", limit=1)
            self.assertEqual([one.path for one in page], ["g/b"])
            self.assertEqual(len(await store.under()), 6)

        return self.going(test())


class HistoryContract(StoreContract):
    """Of :class:`IHistoryStore`."""

    def test_interface(self) -> None:
        """It does all that the interface lists."""
        verifyObject(IHistoryStore, self.stores.history)

    def test_record(self) -> Deferred[None]:
        """A conversation grows entry by entry, each with its event in the outbox."""

        async def test() -> None:
            store = self.stores.history
            begun = await store.record(conversation("a"), events=(event("Begun"),))
            self.assertEqual(begun, conversation("a", position=begun.position))
            now = await store.record(
                conversation("a", ended_at=1100.0, subject="t"),
                (entry("a"), entry("a", b"12345")),
                (event("Said"),),
            )
            self.assertEqual(
                now,
                attrs.evolve(begun, ended_at=1100.0, subject="t", count=2, size=8),
            )
            self.assertEqual(await store.get(ALICE, "a"), now)
            self.assertIsNone(await store.get(BOB, "a"))
            said = await store.entries(ALICE, "a")
            self.assertEqual(
                [attrs.evolve(one, position=0) for one in said],
                [entry("a"), entry("a", b"12345")],
            )
            self.assertEqual(await store.entries(ALICE, "a", limit=1), said[:1])
            self.assertEqual(await store.entries(ALICE, "a", said[0].position), said[1:])
            self.assertEqual(await store.entries(BOB, "a"), ())
            kinds = [one.kind for one in await self.stores.outbox.read(0)]
            self.assertEqual(kinds, ["Begun", "Said"])
            self.assertEqual(await store.usage(ALICE), Usage(1, 8))
            self.assertEqual(await store.usage(BOB), Usage())

        return self.going(test())

    def test_record_once(self) -> Deferred[None]:
        """What is recorded once is not recorded again, nor is its event."""

        async def test() -> None:
            store = self.stores.history
            for number in range(2):
                given = conversation("a", subject=str(number))
                now = await store.record(given, (entry("a"),), (event("Said"),), once=True)
                self.assertEqual((now.subject, now.count, now.size), ("0", 1, 3))
            self.assertEqual(len(await store.entries(ALICE, "a")), 1)
            self.assertEqual(len(await self.stores.outbox.read(0)), 1)

        return self.going(test())

    def test_search(self) -> Deferred[None]:
        """Conversations are found by peer and time, in the order of recording, in pages."""

        async def test() -> None:
            store = self.stores.history
            for name, peer, started, ended in (
                ("a", BOB, 1000.0, 1100.0),
                ("b", "sip:room@two.example", 1050.0, NEVER),
                ("c", BOB, 1200.0, 1300.0),
            ):
                await store.record(
                    conversation(name, peer=peer, started_at=started, ended_at=ended)
                )

            async def found(**narrowed: Any) -> str:
                return "".join([one.reference for one in await store.search(ALICE, **narrowed)])

            self.assertEqual(await found(), "abc")
            self.assertEqual(await found(peer=BOB), "ac")
            self.assertEqual(await found(since=1101.0), "bc")
            self.assertEqual(await found(until=1100.0), "ab")
            self.assertEqual(await found(peer=BOB, since=1100.0, until=1199.0), "a")
            page = await store.search(ALICE, limit=2)
            self.assertEqual(await found(after=page[-1].position), "c")
            self.assertEqual(await found(latest=True), "cba")
            self.assertEqual(await found(latest=True, peer=BOB, limit=1), "c")
            self.assertEqual(await found(latest=True, after=page[-1].position), "a")

        return self.going(test())

    def test_unended(self) -> Deferred[None]:
        """What has no end is found, whosever it is, with the last thing known of it."""

        async def test() -> None:
            store = self.stores.history
            silent = await store.record(conversation("silent"))
            await store.record(conversation("over", ended_at=1100.0), (entry("over"),))
            said = (entry("said", at=1500.0), entry("said", at=1400.0))
            talked = await store.record(conversation("said"), said)
            his = await store.record(attrs.evolve(conversation("his"), owner=BOB))
            found = await store.unended()
            self.assertEqual(found, ((silent, 1000.0), (talked, 1500.0), (his, 1000.0)))
            self.assertEqual(await store.unended(silent.position, 1), found[1:2])
            ended = attrs.evolve(talked, ended_at=1500.0, cut_off=True)
            self.assertEqual(await store.record(ended), ended)
            self.assertEqual(await store.get(ALICE, "said"), ended)
            self.assertEqual(await store.unended(), (found[0], found[2]))

        return self.going(test())

    def test_delete(self) -> Deferred[None]:
        """Deleting and expiring remove the entries too."""

        async def test() -> None:
            store = self.stores.history
            for name, until in (("a", NEVER), ("b", 1500.0), ("c", 1600.0)):
                await store.record(conversation(name, expires_at=until), (entry(name),))
            self.assertEqual(await store.delete(ALICE, ["a", "zz"], (event("Deleted"),)), 1)
            self.assertEqual(await store.delete(ALICE, ["a"], (event("Deleted"),)), 0)
            self.assertEqual(len(await self.stores.outbox.read(0)), 1)
            self.assertEqual(await store.entries(ALICE, "a"), ())
            self.assertEqual(await store.sweep(1499.0), 0)
            self.assertEqual(await store.sweep(1500.0), 1)
            self.assertEqual(await store.entries(ALICE, "b"), ())
            self.assertEqual([one.reference for one in await store.search(ALICE)], ["c"])

        return self.going(test())
