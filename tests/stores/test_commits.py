"""Group commit: what is acknowledged, what is refused, and in which order."""

from __future__ import annotations

import sqlite3
import threading
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList, ensureDeferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.trial.unittest import TestCase

from omaim.errors import OmaimError, Unavailable, UsageError
from omaim.stores.commits import Batch, Commits, blame
from omaim.stores.interfaces import Conflict


class Lite:
    """A database of one table of our own, beside the counters and the outbox."""

    begin = "BEGIN IMMEDIATE"
    count_up = "UPDATE counters SET value = value + :number WHERE name = :name RETURNING value"
    insert_event = "INSERT INTO outbox VALUES (:position, :kind)"

    def __init__(self, path: str) -> None:
        self.path = path
        self.connected = 0
        self.refusing: Exception | None = None
        connection = self.connect()
        connection.executescript(
            "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER);"
            "INSERT INTO counters VALUES ('outbox', 0), ('one', 0);"
            "CREATE TABLE outbox (position INTEGER PRIMARY KEY, kind TEXT);"
            "CREATE TABLE things (name TEXT PRIMARY KEY);"
        )
        connection.close()

    def connect(self) -> Any:
        if self.refusing is not None:
            raise self.refusing
        self.connected += 1
        return sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)

    def blame(self, error: Exception) -> Exception:
        return blame(error, sqlite3.IntegrityError, sqlite3.Error)

    def rows(self, query: str) -> list[Any]:
        connection = sqlite3.connect(self.path)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()


class CommitsTests(TestCase):
    """The writer on a real file, held back by writes that wait."""

    def setUp(self) -> None:
        self.now = 100.0
        self.lite = Lite(self.mktemp())
        self.commits = self.make()

    def make(self, **limits: Any) -> Commits:
        commits = Commits(self.lite, IReactorFromThreads(reactor), lambda: self.now, **limits)
        commits.start()
        self.addCleanup(commits.stop)
        return commits

    def hold(self, commits: Commits | None = None) -> tuple[threading.Event, Deferred[str]]:
        """Keep the writer busy until the event is set."""
        running, go = threading.Event(), threading.Event()

        def write(batch: Batch) -> str:
            running.set()
            go.wait(10)
            return "held"

        held = (commits or self.commits).submit(write)
        self.assertTrue(running.wait(10))
        return go, held

    def insert(self, name: str) -> Any:
        """Return a write that adds a thing and an event."""

        def write(batch: Batch) -> str:
            batch.event({"kind": name})
            batch.cursor.execute("INSERT INTO things VALUES (:name)", {"name": name})
            return name

        return write

    def test_together(self) -> Deferred[None]:
        """Writes asked for while the writer is busy share a commit, in their order."""

        async def test() -> None:
            go, held = self.hold()
            fired: list[str] = []
            asked = [
                self.commits.submit(self.insert(name)).addCallback(fired.append) for name in "cab"
            ]
            self.assertEqual(self.commits.gauges()["writes_waiting"], 4)
            go.set()
            self.assertEqual(await held, "held")
            await DeferredList(asked)
            self.assertEqual(fired, ["c", "a", "b"])
            events = self.lite.rows("SELECT position, kind FROM outbox ORDER BY position")
            self.assertEqual([kind for _, kind in events], ["c", "a", "b"])
            gauges = self.commits.gauges()
            self.assertEqual((gauges["commits"], gauges["writes"]), (2, 4))
            self.assertEqual((gauges["writes_waiting"], gauges["octets_waiting"]), (0, 0))

        return ensureDeferred(test())

    def test_durable_when_fired(self) -> Deferred[None]:
        """What an acknowledgement speaks of is visible to others by then."""

        async def test() -> None:
            await self.commits.submit(self.insert("a"))
            self.assertEqual(self.lite.rows("SELECT name FROM things"), [("a",)])

        return ensureDeferred(test())

    def test_refused_statement(self) -> Deferred[None]:
        """A statement that the database refuses fails its caller only, events included."""

        async def test() -> None:
            await self.commits.submit(self.insert("a"))
            go, _ = self.hold()
            asked = [self.commits.submit(self.insert(name)) for name in "bac"]
            go.set()
            results = await DeferredList(asked, consumeErrors=True)
            self.assertEqual([good for good, _ in results], [True, False, True])
            self.assertIsInstance(results[1][1].value, Conflict)
            names = self.lite.rows("SELECT name FROM things ORDER BY name")
            self.assertEqual(names, [("a",), ("b",), ("c",)])
            kinds = self.lite.rows("SELECT kind FROM outbox ORDER BY position")
            self.assertEqual(kinds, [("a",), ("b",), ("c",)])

        return ensureDeferred(test())

    def test_refused_by_write(self) -> Deferred[None]:
        """A write that refuses by itself costs the others nothing: they run once."""

        async def test() -> None:
            runs = []

            def counted(batch: Batch) -> None:
                runs.append(1)

            def refuse(batch: Batch) -> None:
                raise Conflict("too late")

            go, _ = self.hold()
            asked = [self.commits.submit(write) for write in (counted, refuse, counted)]
            go.set()
            results = await DeferredList(asked, consumeErrors=True)
            self.assertEqual([good for good, _ in results], [True, False, True])
            self.assertEqual(len(runs), 2)

        return ensureDeferred(test())

    def test_defect(self) -> Deferred[None]:
        """A defect in a write reaches its caller as it is."""

        async def test() -> None:
            def defect(batch: Batch) -> None:
                raise ZeroDivisionError

            await self.assertFailure(self.commits.submit(defect), ZeroDivisionError)
            await self.commits.submit(self.insert("a"))

        return ensureDeferred(test())

    def test_numbers(self) -> Deferred[None]:
        """A number comes once only, also when its write is rolled back and done again."""

        async def test() -> None:
            def number(batch: Batch) -> int:
                return batch.number("one", 3)

            def spoiled(batch: Batch) -> int:
                batch.number("one", 100)
                batch.cursor.execute("INSERT INTO nowhere VALUES (1)")
                return 0

            found = [await self.commits.submit(number) for _ in range(3)]
            go, _ = self.hold()
            asked = [self.commits.submit(write) for write in (number, spoiled, number)]
            go.set()
            results: list[Any] = await DeferredList(asked, consumeErrors=True)
            self.assertIsInstance(results[1][1].value, Unavailable)
            found += [results[0][1], results[2][1]]
            used = {number + offset for number in found for offset in range(3)}
            self.assertEqual(len(used), 15)
            self.assertEqual(found, sorted(found))

        return ensureDeferred(test())

    def test_behind(self) -> Deferred[None]:
        """Beyond the limits a write is refused at once and clearly; nothing is lost."""

        async def test() -> None:
            commits = self.make(most_waiting=3, most_octets=100, patience=5.0)
            go, held = self.hold(commits)
            first = commits.submit(self.insert("a"), 60)
            heavy = commits.submit(self.insert("b"), 60)
            await self.assertFailure(heavy, Unavailable)
            second = commits.submit(self.insert("c"))
            many = commits.submit(self.insert("d"))
            error = await self.assertFailure(many, Unavailable)
            self.assertEqual(str(error), "the store has 3 writes waiting")
            go.set()
            await DeferredList([held, first, second])
            self.assertEqual(self.lite.rows("SELECT count(*) FROM things"), [(2,)])
            await commits.submit(self.insert("b"), 60)

        return ensureDeferred(test())

    def test_stalled(self) -> Deferred[None]:
        """When nothing has been written for long, more is not taken on."""

        async def test() -> None:
            commits = self.make(patience=5.0)
            go, held = self.hold(commits)
            self.now += 5.0
            waiting = commits.submit(self.insert("a"))
            self.now += 0.1
            await self.assertFailure(commits.submit(self.insert("b")), Unavailable)
            go.set()
            await DeferredList([held, waiting])
            await commits.submit(self.insert("b"))

        return ensureDeferred(test())

    def test_lost_connection(self) -> Deferred[None]:
        """Without a database callers get Unavailable; when it is back, it is used again."""

        async def test() -> None:
            self.lite.refusing = sqlite3.OperationalError("gone")
            await self.assertFailure(self.commits.submit(self.insert("a")), Unavailable)
            self.lite.refusing = None
            await self.commits.submit(self.insert("a"))

        return ensureDeferred(test())

    def test_broken_commit(self) -> Deferred[None]:
        """When the transaction itself cannot be had, all of a batch fail and none is kept."""

        async def test() -> None:
            def end_it(batch: Batch) -> None:
                batch.cursor.execute("ROLLBACK")

            go, _ = self.hold()
            asked = [self.commits.submit(self.insert("a")), self.commits.submit(end_it)]
            go.set()
            results = await DeferredList(asked, consumeErrors=True)
            self.assertEqual([good for good, _ in results], [False, False])
            self.assertEqual(self.lite.rows("SELECT count(*) FROM things"), [(0,)])
            await self.commits.submit(self.insert("a"))

        return ensureDeferred(test())

    def test_stop(self) -> Deferred[None]:
        """Stopping finishes what was asked for; afterwards nothing is taken."""

        async def test() -> None:
            asked = [self.commits.submit(self.insert(name)) for name in "abc"]
            await self.commits.stop()
            self.assertTrue(all(one.called for one in asked))
            self.assertEqual(self.lite.rows("SELECT count(*) FROM things"), [(3,)])
            await self.assertFailure(self.commits.submit(self.insert("d")), Unavailable)
            await self.commits.stop()

        return ensureDeferred(test())

    def test_blame(self) -> None:
        """Who is at fault is the type of the error."""
        for error, blamed in (
            (sqlite3.IntegrityError("x"), Conflict),
            (sqlite3.OperationalError("database is locked"), Unavailable),
            (UsageError("x"), UsageError),
            (KeyError("x"), KeyError),
        ):
            self.assertIsInstance(self.lite.blame(error), blamed)
        self.assertTrue(issubclass(Conflict, OmaimError))
