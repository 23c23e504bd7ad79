"""The stores in PostgreSQL keep the contract; test_postgres.py runs this where there is one.

``OMAIM_TEST_POSTGRES`` names a database of which everything is dropped before each test:
``postgresql+psycopg://user@/database?host=/run/postgresql``.
"""

from __future__ import annotations

import os
from typing import Any

from sqlalchemy import create_engine, text
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList, ensureDeferred
from twisted.trial.unittest import TestCase

from omaim.stores import Conflict, Stores, open_stores
from omaim.stores.records import ServiceEventRecord
from omaim.testing.state_contract import (
    DocumentContract,
    HistoryContract,
    LeaseContract,
    PublicationContract,
    SubscriptionContract,
)
from omaim.testing.store_contract import (
    ALICE,
    BindingContract,
    DeferredContract,
    OutboxContract,
    StoreContract,
    UserContract,
    binding,
    event,
    message,
    user,
)

URL = os.environ.get("OMAIM_TEST_POSTGRES", "")


def open_database() -> Deferred[Stores]:
    """Open what is there."""
    return open_stores(URL, reactor, reactor)  # type: ignore[arg-type]


class InPostgres(StoreContract):
    """Opens an empty database."""

    def open(self) -> Deferred[Stores]:
        engine = create_engine(URL)
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA IF EXISTS public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        engine.dispose()
        return open_database()


class PostgresBindingTests(InPostgres, BindingContract, TestCase):
    """Bindings."""

    def test_two_nodes(self) -> Deferred[None]:
        """A node that lost a race knows afterwards what the other has written."""

        async def test() -> None:
            other = await open_database()
            try:
                version = await self.stores.bindings.replace(ALICE, 0, (binding(),))
                await self.raised(Conflict, other.bindings.replace(ALICE, 0, ()))
                self.assertEqual(other.bindings.peek(ALICE).version, version)
                await other.bindings.replace(ALICE, version, ())
                self.assertEqual((await self.stores.bindings.get(ALICE)).bindings, ())
                self.assertEqual(self.stores.bindings.count(), 0)
            finally:
                await other.close()

        return ensureDeferred(test())


class PostgresUserTests(InPostgres, UserContract, TestCase):
    """Users."""

    def test_two_nodes(self) -> Deferred[None]:
        """What one node has provisioned the other finds when it asks the store."""

        async def test() -> None:
            other = await open_database()
            try:
                await self.stores.users.put(user())
                found = await other.users.get_by_identity(ALICE)
                assert found is not None
                self.assertEqual(found.profile, "<ServiceProfile/>")
                self.assertEqual(other.users.peek_by_identity(ALICE), found)
                await self.stores.users.remove("alice@one.example")
                self.assertIsNone(await other.users.get("alice@one.example"))
                self.assertEqual(other.users.count(), 0)
            finally:
                await other.close()

        return ensureDeferred(test())


class PostgresDeferredTests(InPostgres, DeferredContract, TestCase):
    """Deferred messages."""


class PostgresOutboxTests(InPostgres, OutboxContract, TestCase):
    """The outbox."""

    def test_two_nodes(self) -> Deferred[None]:
        """However the commits of two nodes interleave, a reader skips no event."""

        async def test() -> None:
            other = await open_database()
            seen: list[ServiceEventRecord] = []
            try:
                for _ in range(20):
                    writing = [
                        node.outbox.append((event(), event()))
                        for node in (self.stores, other)
                        for _ in range(5)
                    ]
                    after = seen[-1].position if seen else 0
                    seen += await self.stores.outbox.read(after, 7)
                    await DeferredList(writing)
                after = seen[-1].position if seen else 0
                seen += await self.stores.outbox.read(after, 1000)
                self.assertEqual(len(seen), 400)
                self.assertEqual(len({one.position for one in seen}), 400)
            finally:
                await other.close()

        return ensureDeferred(test())

    def test_crossing(self) -> Deferred[None]:
        """Two nodes that write the same rows in opposite orders do not stop each other."""

        async def test() -> None:
            other = await open_database()
            try:
                for turn in range(20):
                    writing: list[Deferred[Any]] = []
                    for node, order in ((self.stores, "ab"), (other, "ba")):
                        for name in order:
                            writing.append(node.leases.acquire(name, "n", 0.0, float(turn)))
                            add = node.deferred.add(message(f"{turn}"), events=(event(),))
                            writing.append(add)
                    results = await DeferredList(writing)
                    self.assertTrue(all(good for good, _ in results))
                    duplicates = [one.duplicate for _, one in results[1::2]]
                    self.assertEqual(sorted(duplicates), [False, True, True, True])
            finally:
                await other.close()

        return ensureDeferred(test())


class PostgresHistoryTests(InPostgres, HistoryContract, TestCase):
    """Recorded conversations."""


class PostgresPublicationTests(InPostgres, PublicationContract, TestCase):
    """Publications."""


class PostgresSubscriptionTests(InPostgres, SubscriptionContract, TestCase):
    """Subscriptions."""


class PostgresLeaseTests(InPostgres, LeaseContract, TestCase):
    """Leases."""


class PostgresDocumentTests(InPostgres, DocumentContract, TestCase):
    """Documents."""
