"""Opening stores: the schema's age, what cannot be opened, and both dialects."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, select
from sqlalchemy.dialects import postgresql
from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.trial.unittest import SynchronousTestCase, TestCase

import omaim.stores
from omaim.errors import Unavailable, UsageError
from omaim.stores import Stores, open_stores
from omaim.stores.database import Database, compile_for, engine_for
from omaim.stores.schema import REVISION, conversations, metadata
from omaim.stores.sql import SqlBindingStore, SqlUserStore
from omaim.stores.sql_history import SqlHistoryStore
from omaim.stores.sql_messages import SqlDeferredStore, SqlOutbox
from omaim.stores.sql_state import (
    SqlDocumentStore,
    SqlLeaseStore,
    SqlPublicationStore,
    SqlSubscriptionStore,
)
from omaim.testing.store_contract import ALICE, binding, event, message, user


def opened(url: str) -> Deferred[Stores]:
    """Open stores on the real reactor."""
    return open_stores(url, reactor, reactor)  # type: ignore[arg-type]


class OpeningTests(TestCase):
    """Of :func:`open_stores`."""

    def test_reopened(self) -> Deferred[None]:
        """Everything is there again, in memory too, and numbers go on."""

        async def test() -> None:
            url = f"sqlite:///{os.path.abspath(self.mktemp())}"
            stores = await opened(url)
            version = await stores.bindings.replace(ALICE, 0, (binding(), binding(name="b")))
            await stores.users.put_many([user("alice"), user("bob", profile="")])
            await stores.deferred.add(message("a"), events=(event(),))
            await stores.close()
            stores = await opened(url)
            found = stores.bindings.peek(ALICE)
            self.assertEqual(found.bindings, (binding(), binding(name="b")))
            self.assertEqual((found.version, stores.bindings.count()), (version, 2))
            self.assertEqual(stores.bindings.next_due(), binding().expires_at)
            self.assertEqual(stores.users.count(), 2)
            for name, profile in (("alice", "<ServiceProfile/>"), ("bob", "")):
                one = stores.users.peek_by_identity(f"tel:+1555{name}")
                assert one is not None
                self.assertEqual((one.private_id, one.profile), (f"{name}@one.example", profile))
            (kept,) = await stores.deferred.waiting("sip:bob@two.example", 0.0)
            self.assertEqual(kept.body, message("a").body)
            self.assertEqual(len(await stores.outbox.read(0)), 1)
            gauges = stores.gauges()
            self.assertEqual((gauges["bindings"], gauges["users"], gauges["writes"]), (2, 2, 0))
            self.assertGreater(await stores.bindings.replace(ALICE, version, ()), -1)
            newer = await stores.bindings.replace(ALICE, 0, (binding(),))
            self.assertGreater(newer, version)
            await stores.close()

        return ensureDeferred(test())

    def test_durable(self) -> Deferred[None]:
        """The file is in WAL mode, and each commit waits for the disk."""

        async def test() -> None:
            path = os.path.abspath(self.mktemp())
            database = Database(f"sqlite:///{path}", IReactorFromThreads(reactor), lambda: 0.0)
            database.open()
            connection = database.connect()
            for pragma, value in (
                ("journal_mode", "wal"),
                ("synchronous", 2),
                ("busy_timeout", 5000),
            ):
                cursor = connection.cursor()
                cursor.execute(f"PRAGMA {pragma}")
                self.assertEqual(cursor.fetchone(), (value,))
            connection.close()
            database.engine.dispose()

        return ensureDeferred(test())

    def test_later_schema(self) -> Deferred[None]:
        """A database that a later omaim has made is refused, untouched, and clearly."""

        async def test() -> None:
            path = os.path.abspath(self.mktemp())
            await (await opened(f"sqlite:///{path}")).close()
            file = sqlite3.connect(path)
            with file:
                file.execute("UPDATE alembic_version SET version_num = '9999'")
            file.close()
            error = await self.assertFailure(opened(f"sqlite:///{path}"), UsageError)
            self.assertIn("a later omaim has made this database (schema 9999", str(error))

        return ensureDeferred(test())

    def test_no_such_place(self) -> Deferred[None]:
        """A file that cannot be, or is no database, says so."""

        async def test() -> None:
            nowhere = os.path.abspath(self.mktemp())
            error = await self.assertFailure(opened(f"sqlite:///{nowhere}/x"), Unavailable)
            self.assertIn(nowhere, str(error))
            with open(nowhere, "w") as file:
                file.write("this is no database, whatever else it may be\n" * 100)
            await self.assertFailure(opened(f"sqlite:///{nowhere}"), Unavailable)

        return ensureDeferred(test())

    def test_closed(self) -> Deferred[None]:
        """A closed store takes no writes."""

        async def test() -> None:
            stores = await opened(f"sqlite:///{os.path.abspath(self.mktemp())}")
            await stores.close()
            await self.assertFailure(stores.outbox.append((event(),)), Unavailable)
            await self.assertFailure(stores.outbox.read(0), Unavailable)

        return ensureDeferred(test())


class UrlTests(SynchronousTestCase):
    """What a URL may be."""

    def test_refused(self) -> None:
        """Anything else than a known database is a wrong setting, and says what is right."""
        for url in (
            "",
            "nonsense",
            "sqlite://",
            "sqlite:///:memory:",
            "nosuch://x/y",
            "mysql://x/y",
        ):
            self.assertRaises(UsageError, engine_for, url)

    def test_no_driver(self) -> None:
        """Without the driver of PostgreSQL the error says what to install."""
        self.patch(sys, "modules", {**sys.modules, "psycopg": None})
        error = self.assertRaises(UsageError, engine_for, "postgresql://x/y")
        self.assertEqual(str(error), "psycopg is missing: install omaim[postgres]")

    def test_memory(self) -> None:
        """``memory:`` needs nothing."""
        stores = self.successResultOf(opened("memory:"))
        self.assertEqual(stores.users.count(), 0)
        self.successResultOf(stores.close())


class SchemaTests(SynchronousTestCase):
    """The migrations make what :mod:`omaim.stores.schema` says."""

    def test_same(self) -> None:
        """Alembic finds no difference, and the head is the revision we ask for."""
        path = os.path.abspath(self.mktemp())
        database = Database(f"sqlite:///{path}", IReactorFromThreads(reactor), lambda: 0.0)
        database.open()
        with database.engine.connect() as connection:
            context = MigrationContext.configure(connection)
            self.assertEqual(compare_metadata(context, metadata), [])
            self.assertEqual(context.get_current_revision(), REVISION)
        database.engine.dispose()
        folder = os.path.join(os.path.dirname(omaim.stores.__file__), "migrations")
        self.assertEqual(ScriptDirectory(folder).get_heads(), [REVISION])

    def test_older(self) -> None:
        """A database of the first release is brought up to date, with what it holds."""
        path = os.path.abspath(self.mktemp())
        config = Config()
        folder = os.path.join(os.path.dirname(omaim.stores.__file__), "migrations")
        config.set_main_option("script_location", folder)
        engine = create_engine(f"sqlite:///{path}")
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "0001")
            connection.exec_driver_sql(
                "INSERT INTO conversations VALUES (7, 'sip:a@b', 'r', 'session', 'sip:c@d', "
                "1.0, 2.0, 3.0, 's', '[]', 0, 0)"
            )
        engine.dispose()
        database = Database(f"sqlite:///{path}", IReactorFromThreads(reactor), lambda: 0.0)
        database.open()
        with database.engine.connect() as connection:
            found = connection.execute(select(conversations.c.reference, conversations.c.cut_off))
            self.assertEqual([tuple(row) for row in found], [("r", 0)])
            context = MigrationContext.configure(connection)
            self.assertEqual(context.get_current_revision(), REVISION)
        database.engine.dispose()

    def test_alembic_on_demand(self) -> None:
        """A database that is up to date opens without importing Alembic."""
        path = os.path.abspath(self.mktemp())
        script = (
            "import sys\n"
            "from omaim.stores.database import Database\n"
            f"database = Database('sqlite:///{path}', None, float)\n"
            "database.open()\n"
            "print('alembic' in sys.modules)\n"
        )
        printed = [
            subprocess.run(
                [sys.executable, "-c", script], capture_output=True, check=True, text=True
            ).stdout.strip()
            for _ in range(2)
        ]
        self.assertEqual(printed, ["True", "False"])


class PostgresText:
    """Stands where a database is, and compiles for PostgreSQL; nothing can be run."""

    shared = True

    def __init__(self) -> None:
        self.texts: list[str] = []

    def text(self, statement: Any) -> str:
        self.texts.append(compile_for(postgresql.dialect(), statement))
        return self.texts[-1]


class PostgresTests(SynchronousTestCase):
    """What can be known about PostgreSQL without one."""

    def test_statements(self) -> None:
        """Every statement compiles, with its values by name."""
        database: Any = PostgresText()
        for store in (
            SqlBindingStore,
            SqlUserStore,
            SqlDeferredStore,
            SqlOutbox,
            SqlHistoryStore,
            SqlPublicationStore,
            SqlSubscriptionStore,
            SqlLeaseStore,
            SqlDocumentStore,
        ):
            store(database)
        self.assertGreater(len(database.texts), 60)
        for text in database.texts:
            self.assertNotIn("?", text)
            self.assertNotIn(":", text.replace("::", ""))
