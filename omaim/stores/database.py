"""One SQL database: connecting, statements, reading beside the writer, the schema's age."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, cast

from sqlalchemy import ColumnElement, bindparam, create_engine, event, inspect, literal_column, text
from sqlalchemy.engine import Connection, Dialect, Engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import Insert
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from omaim.errors import Unavailable, UsageError
from omaim.stores.commits import Batch, Commits, Cursor, blame
from omaim.stores.schema import REVISION, counters, outbox

T = TypeVar("T")

ZERO: Final[ColumnElement[Any]] = literal_column(
    "0"
)  # SQLite wants an offset beside a limit, and not as a value

_READERS: Final = 3  # threads that read
_OPENING: Final = 5061  # names the lock of whoever brings the schema up to date
# One node writes at a time: no two can deadlock, and what a write has checked stays true. As
# each commits all that has come meanwhile, this costs little.
_BEGIN_SHARED: Final = "BEGIN; SELECT pg_advisory_xact_lock(5062)"
# A node that hangs in the middle of a commit is cut off, so that the others go on.
_PATIENCE: Final = "SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '10s'"
_BUSY: Final = 5000  # milliseconds to wait for a lock that another process holds


class _Daemon(threading.Thread):
    """A thread that keeps no process alive which ends without closing its stores."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, daemon=True, **named)


class _Readers(ThreadPool):
    """Threads that read."""

    threadFactory = _Daemon


class Database:
    """A database of the schema in :mod:`omaim.stores.schema`.

    Statements are compiled once to the driver's text and run on its cursor, with named values:
    going through a SQLAlchemy connection costs several times what SQLite itself does.

    Args:
        url: as SQLAlchemy has it: ``sqlite:///path``, ``postgresql+psycopg://…``.
        reactor: where results fire.
        seconds: the time.
    """

    def __init__(
        self, url: str, reactor: IReactorFromThreads, seconds: Callable[[], float]
    ) -> None:
        self._reactor = reactor
        self.engine = engine_for(url)
        self.shared = self.engine.dialect.name != "sqlite"  # other processes write too
        self.begin = _BEGIN_SHARED if self.shared else "BEGIN IMMEDIATE"
        self.count_up = self.text(
            counters.update()
            .where(counters.c.name == bindparam("name"))
            .values(value=counters.c.value + bindparam("number"))
            .returning(counters.c.value)
        )
        self.insert_event = self.text(outbox.insert())
        self._driver = self.engine.dialect.loaded_dbapi
        self.commits = Commits(self, reactor, seconds)
        self._pool = _Readers(0, _READERS, "omaim-reads")

    def open(self) -> None:
        """Bring the schema up to date; blocks, for a thread.

        Raises:
            UsageError: a later omaim has made the database.
            Unavailable: it cannot be opened.
        """
        try:
            with self.engine.begin() as connection:
                bring_up_to_date(connection)
        except UsageError:
            self.engine.dispose()
            raise
        except Exception as error:
            self.engine.dispose()
            name = self.engine.url.render_as_string(hide_password=True)
            raise Unavailable(f"cannot open {name}: {error}") from error

    def start(self) -> None:
        """Start the threads; in the reactor's."""
        self._pool.start()
        self.commits.start()

    def close(self) -> Deferred[None]:
        """Finish the writes, end the threads."""
        stopped = self.commits.stop()
        stopped.addCallback(self._closed)
        return stopped

    def _closed(self, result: None) -> None:
        self._pool.stop()
        self.engine.dispose()

    def text(self, statement: ClauseElement) -> str:
        """Return a statement as the driver wants it, its values by name."""
        return compile_for(self.engine.dialect, statement)

    def connect(self) -> Any:
        """Return the writer's own connection."""
        connection = self.engine.raw_connection()
        connection.detach()
        if self.shared:
            cast(Any, connection.dbapi_connection).autocommit = True
            connection.cursor().execute(_PATIENCE)
        return connection

    def blame(self, error: Exception) -> Exception:
        """Return what a caller gets for an error of the driver."""
        return blame(error, self._driver.IntegrityError, self._driver.Error)

    def write(self, write: Callable[[Batch], T], size: int = 0) -> Deferred[T]:
        """Run a write in the next commit."""
        return self.commits.submit(write, size)

    def read(self, read: Callable[[Cursor], T]) -> Deferred[T]:
        """Run a reading function in a thread of its own."""
        if self._pool.joined:
            return fail(Unavailable("the store is closed"))
        return deferToThreadPool(self._reactor, self._pool, self.read_now, read)

    def read_now(self, read: Callable[[Cursor], T]) -> T:
        """Run it here; blocks."""
        try:
            connection = self.engine.raw_connection()
            try:
                return read(cast(Cursor, connection.cursor()))
            finally:
                connection.close()
        except Exception as error:
            blamed = self.blame(error)
            if blamed is error:
                raise
            raise blamed from error

    def rows(self, statement: str, values: Mapping[str, object]) -> Deferred[list[Any]]:
        """Return the rows that a statement finds."""

        def read(cursor: Cursor) -> list[Any]:
            cursor.execute(statement, values)
            return cursor.fetchall()

        return self.read(read)

    def changes(self, statement: str, values: Mapping[str, object]) -> Deferred[int]:
        """Run a statement in the next commit. Returns: how many rows it changed."""

        def write(batch: Batch) -> int:
            batch.cursor.execute(statement, values)
            return batch.cursor.rowcount

        return self.write(write)


def compile_for(dialect: Dialect, statement: ClauseElement) -> str:
    """Return a statement as text; every value in it is a named parameter.

    Raises:
        UsageError: a value is written into the statement.
    """
    columns = None
    if isinstance(statement, Insert):
        columns = [column.name for column in statement.table.columns]
    compiled = cast(SQLCompiler, statement.compile(dialect=dialect, column_keys=columns))
    fixed = [name for name, bind in compiled.binds.items() if not bind.required]
    if fixed:
        raise UsageError(f"use bindparam for {', '.join(fixed)}")
    return str(compiled)


def engine_for(url: str) -> Engine:
    """Return an engine whose connections are as durable as the stores promise.

    Raises:
        UsageError: no such kind of database, or its driver is not installed.
    """
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            if parsed.database in (None, "", ":memory:"):
                raise UsageError('name a file, as in "sqlite:///omaim.db", or say "memory:"')
            engine = create_engine(parsed, paramstyle="named")
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
            return engine
        if parsed.get_backend_name() != "postgresql":
            raise UsageError(
                f"omaim keeps its state in SQLite or PostgreSQL, not in {parsed.get_backend_name()}"
            )
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        return create_engine(parsed)
    except (ArgumentError, NoSuchModuleError) as error:
        raise UsageError(f"not a database that omaim knows: {error}") from error
    except ModuleNotFoundError as error:
        raise UsageError(f"{error.name} is missing: install omaim[postgres]") from error


def _prepare_sqlite(connection: Any, record: object) -> None:
    """Make a new connection durable; transactions are begun by hand."""
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_BUSY}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def bring_up_to_date(connection: Connection) -> None:
    """Run the migrations that this database has not seen.

    Raises:
        UsageError: it has seen one that we do not know.
    """
    if connection.dialect.name == "postgresql":  # other nodes may be starting too
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_OPENING})"))
    revision = None
    if inspect(connection).has_table("alembic_version"):
        revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if revision == REVISION:
        return
    # Alembic takes a while to import, and is needed once in the life of a database.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from alembic.util.exc import CommandError

    config = Config()
    scripts = os.path.join(os.path.dirname(__file__), "migrations")
    config.set_main_option("script_location", scripts.replace("%", "%%"))
    config.attributes["connection"] = connection
    if revision is not None:
        try:
            ScriptDirectory.from_config(config).get_revision(revision)
        except CommandError as error:
            raise UsageError(
                f"a later omaim has made this database (schema {revision}, known here: "
                f"{REVISION}): use that version, or another database"
            ) from error
    command.upgrade(config, REVISION)
