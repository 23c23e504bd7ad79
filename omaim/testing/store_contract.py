"""What every implementation of the stores must show: inherit, and give ``open``.

For a database of your own::

    class MyStores(BindingContract, UserContract, DeferredContract, OutboxContract, TestCase):
        def open(self):
            return open_stores("postgresql+psycopg:///test", reactor, reactor)

The database must be empty at each :meth:`StoreContract.open`.
"""

# mypy: disable-error-code="no-untyped-call,override"
from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from omaim.errors import UsageError
from omaim.stores.interfaces import (
    Conflict,
    IBindingStore,
    IDeferredStore,
    IOutbox,
    IUserStore,
    QuotaExceeded,
    Stores,
)
from omaim.stores.records import (
    ATTEMPTED,
    DELETED,
    DELIVERED,
    EXPIRED,
    NEVER,
    REPORT,
    WAITING,
    Binding,
    BindingSet,
    Credential,
    DeferredMessage,
    PublicIdentity,
    Quota,
    ServiceEventRecord,
    Usage,
    User,
)

if TYPE_CHECKING:
    Base = TestCase
else:
    Base = object  # a contract is a test only where it is inherited together with TestCase

T = TypeVar("T")

ALICE = "sip:alice@one.example"
BOB = "sip:bob@two.example"


def binding(aor: str = ALICE, name: str = "a", **fields: Any) -> Binding:
    """Return a binding with everything filled in."""
    given: dict[str, Any] = {
        "contact": f"sip:{name}@192.0.2.1:5060;transport=tcp",
        "call_id": f"call-{name}",
        "cseq": 7,
        "expires_at": 4600.0,
        "q": 0.7,
        "path": ("<sip:edge.one.example;lr>", "<sip:in.one.example;lr>"),
        "instance": "urn:uuid:00000000-0000-1000-8000-000a95a0e128",
        "reg_id": 1,
        "flow_token": "f1",
        "user_agent": "IM-client/OMA1.0 omaim",
        "params": ";+g.oma.sip-im;expires=3600",
        "pub_gruu": f"{aor};gr=urn:uuid:00000000-0000-1000-8000-000a95a0e128",
        "temp_gruu": "sip:tgruu.7hs==@one.example;gr",
        "received": "sip:198.51.100.7:1024;transport=tcp",
        "private_id": "alice@one.example",
        "registered_at": 1000.0,
        "contact_id": "c1",
        "updated_at": 1500.0,
    }
    return Binding(aor, **{**given, **fields})


def user(name: str = "alice", **fields: Any) -> User:
    """Return a user with everything filled in."""
    given: dict[str, Any] = {
        "identities": (
            PublicIdentity(f"sip:{name}@one.example", display="A Name", default=True),
            PublicIdentity(f"tel:+1555{name}"),
            PublicIdentity(f"sip:{name}.barred@one.example", barred=True),
            PublicIdentity(f"sip:{name}.work@one.example", implicit_set=0),
        ),
        "credentials": (Credential("MD5", "one.example", "0" * 32),),
        "secret": "k",
        "profile": "<ServiceProfile/>",
        "ccf": ("aaa://ccf.one.example", "aaa://ccf2.one.example"),
        "ecf": ("aaa://ecf.one.example",),
        "settings": (("deferred", "push"),),
    }
    return User(f"{name}@one.example", **{**given, **fields})


def message(reference: str, recipient: str = BOB, **fields: Any) -> DeferredMessage:
    """Return a message with everything filled in."""
    given: dict[str, Any] = {
        "sender": ALICE,
        "message_id": f"id-{reference}",
        "content_type": "message/cpim",
        "body": b"\x00\xffhello",
        "stored_at": 1000.0,
        "expires_at": 2000.0,
        "sent_at": 999.5,
        "subject": "s",
        "headers": (("Subject", "s"), ("Priority", "urgent")),
    }
    return DeferredMessage(recipient, reference, **{**given, **fields})


def event(kind: str = "MessageAccepted", **fields: Any) -> ServiceEventRecord:
    """Return a service event."""
    return ServiceEventRecord(kind, **{"at": 1000.5, "data": b"\x00{}", "about": ALICE, **fields})


class StoreContract(Base):
    """Opens stores for a test and closes them after it."""

    stores: Stores

    def open(self) -> Deferred[Stores]:
        """Return empty stores."""
        raise NotImplementedError

    def setUp(self) -> Deferred[None]:
        """Open the stores."""
        return self.open().addCallback(self._opened)

    def _opened(self, stores: Stores) -> None:
        self.stores = stores

    def tearDown(self) -> Deferred[None]:
        """Close them."""
        return self.stores.close()

    def going(self, test: Coroutine[Any, Any, T]) -> Deferred[T]:
        """Run the coroutine of a test."""
        return ensureDeferred(test)

    async def raised(self, error: type[Exception], result: Deferred[Any]) -> None:
        """Make sure that the result is that error."""
        await self.assertFailure(result, error)


class BindingContract(StoreContract):
    """Of :class:`IBindingStore`."""

    def test_interface(self) -> None:
        """It does all that the interface lists."""
        verifyObject(IBindingStore, self.stores.bindings)

    def test_replace(self) -> Deferred[None]:
        """What was written is read back, from the store and from memory."""

        async def test() -> None:
            store = self.stores.bindings
            self.assertEqual(store.peek(ALICE), BindingSet())
            two = (binding(), binding(name="b", expires_at=NEVER, path=()))
            version = await store.replace(ALICE, 0, two)
            self.assertGreater(version, 0)
            self.assertEqual(await store.get(ALICE), BindingSet(version, two))
            self.assertEqual(store.peek(ALICE), BindingSet(version, two))
            self.assertEqual((store.count(), list(store.aors())), (2, [ALICE]))
            one = (binding(cseq=8),)
            newer = await store.replace(ALICE, version, one)
            self.assertGreater(newer, version)
            self.assertEqual(store.peek(ALICE), BindingSet(newer, one))
            self.assertEqual(store.count(), 1)

        return self.going(test())

    def test_conflict(self) -> Deferred[None]:
        """Only who knows the present version may write; a loser changes nothing."""

        async def test() -> None:
            store = self.stores.bindings
            await self.raised(Conflict, store.replace(ALICE, 3, (binding(),)))
            await self.raised(Conflict, store.replace(ALICE, 3, ()))
            first = store.replace(ALICE, 0, (binding(),))
            second = store.replace(ALICE, 0, (binding(name="b"),))
            version = await first
            await self.raised(Conflict, second)
            await self.raised(Conflict, store.replace(ALICE, 0, ()))
            await self.raised(Conflict, store.replace(ALICE, version + 1, ()))
            self.assertEqual(store.peek(ALICE), BindingSet(version, (binding(),)))

        return self.going(test())

    def test_empty(self) -> Deferred[None]:
        """Without bindings an address is as new, yet no version comes again."""

        async def test() -> None:
            store = self.stores.bindings
            version = await store.replace(ALICE, 0, (binding(),))
            self.assertEqual(await store.replace(ALICE, version, ()), 0)
            self.assertEqual(store.peek(ALICE), BindingSet())
            self.assertEqual((store.count(), list(store.aors())), (0, []))
            self.assertEqual(await store.replace(ALICE, 0, ()), 0)
            self.assertNotEqual(await store.replace(ALICE, 0, (binding(),)), version)

        return self.going(test())

    def test_due(self) -> Deferred[None]:
        """An address is due when its first binding expires, and again until handled."""

        async def test() -> None:
            store = self.stores.bindings
            two = (binding(expires_at=100.0), binding(name="b", expires_at=50.0))
            version = await store.replace(ALICE, 0, two)
            await store.replace(BOB, 0, (binding(BOB, expires_at=60.0),))
            self.assertEqual(store.next_due(), 50.0)
            self.assertEqual(store.due(49.9), ())
            self.assertEqual(store.due(70.0, 1), (ALICE,))
            self.assertEqual(store.due(70.0), (BOB,))
            self.assertEqual(store.due(70.0), ())
            await store.replace(ALICE, version, two[:1])
            self.assertEqual(store.due(99.9), ())
            self.assertEqual(sorted(store.due(130.0)), [ALICE, BOB])

        return self.going(test())

    def test_refreshed(self) -> Deferred[None]:
        """A refresh in time postpones; an address that is gone is not due."""

        async def test() -> None:
            store = self.stores.bindings
            version = await store.replace(ALICE, 0, (binding(expires_at=50.0),))
            version = await store.replace(ALICE, version, (binding(expires_at=90.0),))
            self.assertEqual(store.due(60.0), ())
            self.assertEqual(store.due(90.0), (ALICE,))
            await store.replace(ALICE, version, ())
            self.assertEqual(store.due(1000.0), ())
            self.assertEqual(store.next_due(), NEVER)

        return self.going(test())


class UserContract(StoreContract):
    """Of :class:`IUserStore`."""

    def test_interface(self) -> None:
        """It does all that the interface lists."""
        verifyObject(IUserStore, self.stores.users)

    def test_put(self) -> Deferred[None]:
        """A user is found by private id and by each public identity."""

        async def test() -> None:
            store = self.stores.users
            version = await store.put(user())
            stored = user(version=version)
            self.assertEqual(await store.get("alice@one.example"), stored)
            self.assertEqual(store.peek("alice@one.example"), stored)
            for one in stored.identities:
                self.assertEqual(store.peek_by_identity(one.uri), stored)
                self.assertEqual(await store.get_by_identity(one.uri), stored)
            self.assertIsNone(store.peek("bob@one.example"))
            self.assertIsNone(await store.get("bob@one.example"))
            self.assertIsNone(store.peek_by_identity(BOB))
            self.assertIsNone(await store.get_by_identity(BOB))
            self.assertEqual((store.count(), list(store.private_ids())), (1, ["alice@one.example"]))

        return self.going(test())

    def test_change(self) -> Deferred[None]:
        """Who knows the present version may write; identities left out are free again."""

        async def test() -> None:
            store = self.stores.users
            version = await store.put(user())
            await self.raised(Conflict, store.put(user()))
            await self.raised(Conflict, store.put(user(version=version + 1)))
            await self.raised(Conflict, store.put(user("bob", version=1)))
            plain = user(version=version, identities=(), profile="", im_service=False)
            newer = await store.put(plain)
            self.assertGreater(newer, version)
            self.assertEqual(store.peek("alice@one.example"), attrs.evolve(plain, version=newer))
            self.assertIsNone(store.peek_by_identity(ALICE))
            await store.put(user("bob", identities=(PublicIdentity(ALICE),)))

        return self.going(test())

    def test_identity_taken(self) -> Deferred[None]:
        """An identity belongs to one user; nothing of a refused batch is stored."""

        async def test() -> None:
            store = self.stores.users
            await store.put(user())
            thief = user("bob", identities=(PublicIdentity(ALICE),))
            await self.raised(Conflict, store.put(thief))
            await self.raised(Conflict, store.put_many((user("carol"), thief)))
            self.assertEqual(store.count(), 1)
            self.assertIsNone(await store.get_by_identity("sip:carol@one.example"))
            twice = user("dora", identities=(PublicIdentity(BOB),))
            await self.raised(
                Conflict,
                store.put_many((twice, user("emma", identities=(PublicIdentity(BOB),)))),
            )

        return self.going(test())

    def test_put_many(self) -> Deferred[None]:
        """A batch is written over what is there."""

        async def test() -> None:
            store = self.stores.users
            await store.put(user())
            self.assertEqual(await store.put_many(()), 0)
            batch = [user(secret="new"), user("bob"), user("carol", profile="<Other/>")]
            self.assertEqual(await store.put_many(iter(batch)), 3)
            self.assertEqual(store.count(), 3)
            for one in batch:
                stored = store.peek(one.private_id)
                assert stored is not None
                self.assertGreater(stored.version, 0)
                self.assertEqual(attrs.evolve(stored, version=0), one)

        return self.going(test())

    def test_watch(self) -> Deferred[None]:
        """Who watches hears of each change when it can be seen in memory."""

        async def test() -> None:
            store = self.stores.users
            seen: list[bool] = []
            store.watch(lambda: seen.append(store.peek_by_identity(ALICE) is not None))
            version = await store.put(user())
            self.assertEqual(seen[-1:], [True])
            await store.put(user(version=version, im_service=False))
            self.assertEqual(seen[-1:], [True])
            await store.remove("alice@one.example")
            self.assertEqual(seen[-1:], [False])
            count = len(seen)
            await store.put_many([user()])
            self.assertEqual(seen[-1:], [True])
            self.assertGreater(len(seen), count)

        return self.going(test())

    def test_remove(self) -> Deferred[None]:
        """A removed user is nowhere."""

        async def test() -> None:
            store = self.stores.users
            await store.put(user())
            self.assertTrue(await store.remove("alice@one.example"))
            self.assertFalse(await store.remove("alice@one.example"))
            self.assertIsNone(store.peek_by_identity(ALICE))
            self.assertEqual(store.count(), 0)
            await store.put(user())

        return self.going(test())


class DeferredContract(StoreContract):
    """Of :class:`IDeferredStore`."""

    def test_interface(self) -> None:
        """It does all that the interface lists."""
        verifyObject(IDeferredStore, self.stores.deferred)

    def test_add(self) -> Deferred[None]:
        """Messages come back whole, in the order of storing, in pages."""

        async def test() -> None:
            store = self.stores.deferred
            given = [message(name) for name in "cab"]
            added = [await store.add(one) for one in given]
            self.assertEqual([one.reference for one in added], ["c", "a", "b"])
            self.assertFalse(any(one.duplicate for one in added))
            await store.add(message("x", recipient=ALICE))
            found = await store.waiting(BOB, 1500.0)
            self.assertEqual([one.reference for one in found], ["c", "a", "b"])
            for one, was, where in zip(found, given, added, strict=True):
                self.assertEqual(one, attrs.evolve(was, position=where.position, size=one.size))
                self.assertGreater(one.size, len(one.body))
            page = await store.waiting(BOB, 1500.0, limit=2)
            self.assertEqual(page, found[:2])
            rest = await store.waiting(BOB, 1500.0, after=page[-1].position)
            self.assertEqual(rest, found[2:])
            heads = await store.waiting(BOB, 1500.0, bodies=False)
            self.assertEqual(heads, tuple(attrs.evolve(one, body=b"") for one in found))
            self.assertEqual(await store.get(BOB, "a"), found[1])
            self.assertIsNone(await store.get(ALICE, "a"))
            self.assertEqual(await store.usage(BOB), Usage(3, sum(one.size for one in found)))
            self.assertEqual(await store.usage("sip:nobody@two.example"), Usage())
            self.assertEqual(await store.recipients(), (ALICE, BOB))
            self.assertEqual(await store.recipients(limit=1), (ALICE,))
            self.assertEqual(await store.recipients(after=ALICE), (BOB,))

        return self.going(test())

    def test_duplicate(self) -> Deferred[None]:
        """The same Message-ID from the same sender is kept once, also after its delivery."""

        async def test() -> None:
            store, outbox = self.stores.deferred, self.stores.outbox
            first = await store.add(message("a", message_id="m"), events=(event(),))
            again = await store.add(message("b", message_id="m"), events=(event(),))
            self.assertEqual(
                (again.duplicate, again.reference, again.position), (True, "a", first.position)
            )
            self.assertEqual(len(await outbox.read(0)), 1)
            await store.finish(BOB, ["a"], DELIVERED, 3000.0)
            self.assertTrue((await store.add(message("b", message_id="m"))).duplicate)
            self.assertEqual(await store.sweep(2999.0), 0)
            self.assertEqual(await store.sweep(3000.0), 1)
            self.assertFalse((await store.add(message("b", message_id="m"))).duplicate)
            others = [
                message("c", message_id="m", sender=BOB),
                message("c", message_id="m", recipient=ALICE),
                message("d", message_id=""),
                message("e", message_id=""),
            ]
            for one in others:
                self.assertFalse((await store.add(one)).duplicate)

        return self.going(test())

    def test_reference_taken(self) -> Deferred[None]:
        """A reference names one message of a recipient, as long as it is known."""

        async def test() -> None:
            store = self.stores.deferred
            await store.add(message("a"))
            await self.raised(Conflict, store.add(message("a", message_id="other")))
            await store.finish(BOB, ["a"], DELETED, 5000.0)
            await self.raised(Conflict, store.add(message("a", message_id="other")))

        return self.going(test())

    def test_quota(self) -> Deferred[None]:
        """Over the quota nothing is stored; reports make room for messages only."""

        async def test() -> None:
            store = self.stores.deferred
            two = Quota(count=2)
            await store.add(message("r", kind=REPORT), two)
            await store.add(message("a"), two)
            await self.raised(QuotaExceeded, store.add(message("s", kind=REPORT), two))
            added = await store.add(message("b"), two)
            self.assertEqual(added.dropped, ("r",))
            await self.raised(QuotaExceeded, store.add(message("c"), two, (event(),)))
            self.assertEqual(await self.stores.outbox.read(0), ())
            found = await store.waiting(BOB, 0.0)
            self.assertEqual([one.reference for one in found], ["a", "b"])
            octets = (await store.usage(BOB)).size
            size = found[0].size
            await self.raised(QuotaExceeded, store.add(message("c"), Quota(9, octets + size - 1)))
            await store.add(message("c"), Quota(9, octets + size))
            await store.finish(BOB, ["a"], DELIVERED, 5000.0)
            self.assertEqual((await store.usage(BOB)).count, 2)

        return self.going(test())

    def test_attempt(self) -> Deferred[None]:
        """An attempt is noted, and is nobody else's until it has run out."""

        async def test() -> None:
            store = self.stores.deferred
            for name in "ab":
                await store.add(message(name))
            claimed = await store.attempt(BOB, ["a", "zz"], "one", 1100.0, 1160.0)
            self.assertEqual(claimed, ("a",))
            (first, second) = await store.waiting(BOB, 1100.0)
            self.assertEqual(
                (first.state, first.attempt, first.attempt_until, first.attempts),
                (ATTEMPTED, "one", 1160.0, 1),
            )
            self.assertEqual((second.state, second.attempts), (WAITING, 0))
            self.assertEqual(await store.attempt(BOB, ["a", "b"], "two", 1159.0, 1200.0), ("b",))
            self.assertEqual(await store.attempt(BOB, ["a"], "one", 1159.0, 1170.0), ("a",))
            self.assertEqual(await store.attempt(BOB, ["a"], "two", 1170.0, 1200.0), ("a",))
            again = await store.get(BOB, "a")
            assert again is not None
            self.assertEqual((again.attempt, again.attempts), ("two", 3))
            self.assertEqual(await store.release(BOB, ["a"], "one"), 0)
            self.assertEqual(await store.release(BOB, ["a", "b"], "two"), 2)
            self.assertEqual(await store.attempt(BOB, ["a"], "three", 1171.0, 1200.0), ("a",))

        return self.going(test())

    def test_finish(self) -> Deferred[None]:
        """A message ends once; who ends it has its events in the outbox."""

        async def test() -> None:
            store, outbox = self.stores.deferred, self.stores.outbox
            for name in "ab":
                await store.add(message(name))
            await store.attempt(BOB, ["a"], "one", 1100.0, 1160.0)
            ended = await store.finish(BOB, ["a", "zz"], DELIVERED, 5000.0, (event("Delivered"),))
            self.assertEqual(ended, ("a",))
            again = await store.finish(BOB, ["a"], DELETED, 5000.0, (event("Deleted"),))
            self.assertEqual(again, ())
            self.assertEqual([one.kind for one in await outbox.read(0)], ["Delivered"])
            self.assertIsNone(await store.get(BOB, "a"))
            self.assertEqual(await store.attempt(BOB, ["a"], "two", 9999.0, 9999.0), ())
            self.assertEqual([one.reference for one in await store.waiting(BOB, 0.0)], ["b"])
            await store.finish(BOB, ["b"], DELETED, 5000.0)
            self.assertEqual(await store.recipients(), ())
            await self.raised(UsageError, store.finish(BOB, ["b"], WAITING, 0.0))

        return self.going(test())

    def test_expiry(self) -> Deferred[None]:
        """What is over is not delivered, and is listed until somebody ends it."""

        async def test() -> None:
            store = self.stores.deferred
            await store.add(message("a", expires_at=1200.0))
            await store.add(message("b", expires_at=1100.0))
            await store.add(message("c", expires_at=NEVER))
            self.assertEqual(await store.expired(1099.0), ())
            self.assertEqual([one.reference for one in await store.expired(1200.0)], ["b", "a"])
            self.assertEqual(len(await store.expired(1200.0, limit=1)), 1)
            waiting = await store.waiting(BOB, 1200.0)
            self.assertEqual([one.reference for one in waiting], ["c"])
            await store.finish(BOB, ["a", "b"], EXPIRED, 1300.0)
            self.assertEqual(await store.expired(9999.0), ())
            self.assertEqual(await store.sweep(9999.0), 2)

        return self.going(test())


class OutboxContract(StoreContract):
    """Of :class:`IOutbox`."""

    def test_interface(self) -> None:
        """It does all that the interface lists."""
        verifyObject(IOutbox, self.stores.outbox)

    def test_read(self) -> Deferred[None]:
        """Events come back whole and in order, those with facts among them."""

        async def test() -> None:
            outbox = self.stores.outbox
            self.assertEqual(await outbox.append(()), 0)
            last = await outbox.append((event("A"), event("B")))
            await self.stores.deferred.add(message("a"), events=(event("C"),))
            final = await outbox.append((event("D"),))
            self.assertGreater(final, last)
            found = await outbox.read(0)
            self.assertEqual([one.kind for one in found], ["A", "B", "C", "D"])
            self.assertEqual(found[0], event("A", position=found[0].position))
            self.assertEqual((found[1].position, found[3].position), (last, final))
            self.assertEqual(await outbox.read(last, 1), found[2:3])
            self.assertEqual(await outbox.read(final), ())

        return self.going(test())

    def test_marks(self) -> Deferred[None]:
        """Each reader has its place; what all have read can go."""

        async def test() -> None:
            outbox = self.stores.outbox
            positions = [await outbox.append((event(),)) for _ in range(4)]
            await outbox.mark("history", positions[2])
            await outbox.mark("history", positions[0])
            await outbox.mark("charging", 0)
            self.assertEqual(await outbox.positions(), {"history": positions[2], "charging": 0})
            self.assertEqual(await outbox.trim(), 0)
            await outbox.mark("charging", positions[1])
            self.assertEqual(await outbox.trim(), 2)
            self.assertEqual([one.position for one in await outbox.read(0)], positions[2:])
            await outbox.forget("charging")
            self.assertEqual(await outbox.trim(), 1)
            await outbox.forget("history")
            self.assertEqual(await outbox.trim(), 1)
            self.assertGreater(await outbox.append((event(),)), positions[3])

        return self.going(test())
