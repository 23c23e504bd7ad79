"""Group commit: one writer, many acknowledgements, one fsync.

Writes are functions of a :class:`Batch`. A thread takes all that have come while it was busy,
runs them in one transaction in the order of asking, commits, and only then are they
acknowledged.

A write that raises an :class:`OmaimError` has changed nothing yet, and fails alone. When the
database itself refuses a statement, the batch is done again with a savepoint around each
write, so that only the guilty one fails; a write therefore may run twice, and touches
nothing but its batch.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Generic, Protocol, TypeVar, cast

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

from omaim.errors import OmaimError, Unavailable
from omaim.stores.interfaces import Conflict

T = TypeVar("T")

_MOST_TOGETHER: Final = 1000  # writes in one transaction
_RESERVE: Final = 64  # numbers taken at a time: unused ones are never given


class Cursor(Protocol):
    """What a write does its statements with: a DB-API cursor."""

    @property
    def rowcount(self) -> int:
        """How many rows the last statement has changed."""

    def execute(self, statement: str, values: Mapping[str, object] = ..., /) -> object:
        """Run a statement with named values."""

    def executemany(self, statement: str, rows: Sequence[Mapping[str, object]], /) -> object:
        """Run a statement once for each row."""

    def fetchmany(self, number: int, /) -> Sequence[Any]:
        """Return the next rows found."""

    def fetchall(self) -> list[Any]:
        """Return the remaining rows found."""


class Dialect(Protocol):
    """What differs between the SQL stores, as the writer sees it."""

    begin: str  # the statement that opens a writing transaction
    count_up: str  # adds :number to the counter :name and returns its value
    insert_event: str

    def connect(self) -> Any:
        """Return a DB-API connection in autocommit mode, used by one thread at a time."""

    def blame(self, error: Exception) -> Exception:
        """Return what the caller gets for an error of the driver."""


class Batch:
    """One transaction on its way.

    Attributes:
        cursor: for the statements of a write.
    """

    def __init__(self, cursor: Cursor, dialect: Dialect) -> None:
        self.cursor = cursor
        self._dialect = dialect
        self._events: list[dict[str, object]] = []
        self._numbers: dict[str, tuple[int, int]] = {}  # first unused and last, by counter

    def number(self, counter: str, many: int = 1) -> int:
        """Return the first of ``many`` numbers that this counter gives only once.

        The counter's row stays locked until the commit: a later transaction's numbers are
        higher.
        """
        first, last = self._numbers.get(counter, (1, 0))
        if last - first + 1 < many:
            reserve = max(many, _RESERVE)
            self.cursor.execute(self._dialect.count_up, {"name": counter, "number": reserve})
            last = int(self.cursor.fetchall()[0][0])
            first = last - reserve + 1
        self._numbers[counter] = (first + many, last)
        return first

    def event(self, row: dict[str, object]) -> None:
        """Append a row to the outbox, behind those of earlier writes."""
        self._events.append(row)

    def flush(self) -> None:
        """Write what has been gathered."""
        if self._events:
            events, self._events = self._events, []
            first = self.number("outbox", len(events))
            for position, row in enumerate(events, first):
                row["position"] = position
            self.cursor.executemany(self._dialect.insert_event, events)

    def drop(self) -> None:
        """Forget what has been gathered, and numbers that may have been rolled back."""
        self._events = []
        self._numbers = {}


class _Job(Generic[T]):
    """One write and what became of it."""

    __slots__ = ("asked_at", "error", "fired", "result", "size", "write")

    def __init__(self, write: Callable[[Batch], T], size: int, asked_at: float) -> None:
        self.write = write
        self.size = size
        self.asked_at = asked_at
        self.fired: Deferred[T] = Deferred()
        self.result: T | None = None
        self.error: Exception | None = None


class Commits:
    """The one writer of a database.

    Args:
        dialect: how to connect, and the statements the writer itself needs.
        reactor: where acknowledgements fire.
        seconds: the time, for noticing that writing has stalled.
        most_waiting: how many writes may wait, beyond which further ones are refused.
        most_octets: the same for their size.
        patience: seconds that a write may have waited before further ones are refused.
    """

    def __init__(
        self,
        dialect: Dialect,
        reactor: IReactorFromThreads,
        seconds: Callable[[], float],
        most_waiting: int = 20_000,
        most_octets: int = 64 * 1024 * 1024,
        patience: float = 10.0,
    ) -> None:
        self._dialect = dialect
        self._reactor = reactor
        self._seconds = seconds
        self._most_waiting = most_waiting
        self._most_octets = most_octets
        self._patience = patience
        self._unacknowledged: deque[_Job[Any]] = deque()  # reactor thread only
        self._octets = 0
        self._waiting: list[_Job[Any]] = []  # under the lock, like what follows
        self._lock = threading.Condition(threading.Lock())
        self._stopping = False
        self._stopped: Deferred[None] = Deferred()
        self._connection: Any = None  # writer thread only
        self._commits = 0  # how many transactions were committed
        self._writes = 0  # how many writes they held
        self._thread = threading.Thread(target=self._run, name="omaim-commits", daemon=True)

    def start(self) -> None:
        """Start the writer."""
        self._thread.start()

    def gauges(self) -> dict[str, float]:
        """Return how much waits, and what has been done since the start."""
        return {
            "writes_waiting": len(self._unacknowledged),
            "octets_waiting": self._octets,
            "commits": self._commits,
            "writes": self._writes,
        }

    def submit(self, write: Callable[[Batch], T], size: int = 0) -> Deferred[T]:
        """Run a write in the next transaction.

        Args:
            write: runs in the writer's thread, perhaps twice.
            size: octets it holds in memory, when they matter.

        Returns:
            What ``write`` returned, once that is durable.

        Raises:
            Unavailable: writing is behind, or has failed; nothing was written.
        """
        behind = self._unacknowledged
        if self._stopping:
            return fail(Unavailable("the store is closed"))
        if behind:
            if len(behind) >= self._most_waiting or self._octets + size > self._most_octets:
                return fail(Unavailable(f"the store has {len(behind)} writes waiting"))
            lag = self._seconds() - behind[0].asked_at
            if lag > self._patience:
                return fail(Unavailable(f"the store has not written for {lag:.0f} seconds"))
        job = _Job(write, size, self._seconds())
        behind.append(job)
        self._octets += size
        with self._lock:
            self._waiting.append(job)
            self._lock.notify()
        return job.fired

    def stop(self) -> Deferred[None]:
        """Finish what was asked for, then end the writer."""
        if not self._stopping:
            with self._lock:
                self._stopping = True
                self._lock.notify()
        return self._stopped

    def _run(self) -> None:
        """Be the writer."""
        while True:
            with self._lock:
                while not self._waiting and not self._stopping:
                    self._lock.wait()
                jobs = self._waiting[:_MOST_TOGETHER]
                del self._waiting[:_MOST_TOGETHER]
            if not jobs:
                break
            self._commit(jobs)
            self._reactor.callFromThread(self._acknowledge, jobs)
        self._disconnect()
        self._reactor.callFromThread(self._ended)

    def _commit(self, jobs: list[_Job[Any]]) -> None:
        """Do the jobs in one transaction, or leave an error in those that have failed."""
        try:
            cursor = self._cursor()
            try:
                self._together(cursor, jobs)
            except Exception as error:
                if len(jobs) == 1:
                    raise
                self._undo()
                if self._connection is None:
                    raise Unavailable(f"the store is gone: {error}") from error
                self._apart(cursor, jobs)
            # Not tried again when it fails: perhaps it was only its confirmation that got lost.
            cursor.execute("COMMIT")
        except Exception as error:
            self._undo()
            for job in jobs:
                job.error = job.error or self._dialect.blame(error)
        else:
            self._commits += 1
            self._writes += len(jobs)

    def _together(self, cursor: Cursor, jobs: list[_Job[Any]]) -> None:
        """The usual case: the database refuses none."""
        batch = Batch(cursor, self._dialect)
        cursor.execute(self._dialect.begin)
        for job in jobs:
            try:
                job.result = job.write(batch)
            except OmaimError as error:
                job.error = error
        batch.flush()

    def _apart(self, cursor: Cursor, jobs: list[_Job[Any]]) -> None:
        """It refuses at least one: a savepoint around each."""
        batch = Batch(cursor, self._dialect)
        cursor.execute(self._dialect.begin)
        for job in jobs:
            cursor.execute("SAVEPOINT one")
            job.error = None
            try:
                job.result = job.write(batch)
                batch.flush()
            except Exception as error:
                job.error = self._dialect.blame(error)
                batch.drop()
                cursor.execute("ROLLBACK TO SAVEPOINT one")
            cursor.execute("RELEASE SAVEPOINT one")

    def _cursor(self) -> Cursor:
        if self._connection is None:
            self._connection = self._dialect.connect()
        return cast(Cursor, self._connection.cursor())

    def _undo(self) -> None:
        """Roll back; a connection that cannot is given up."""
        if self._connection is not None:
            try:
                self._connection.rollback()
            except Exception:
                self._disconnect()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except Exception:
                pass  # it was broken; what it had not committed is refused already

    def _acknowledge(self, jobs: list[_Job[Any]]) -> None:
        """Tell the callers, in their order."""
        for job in jobs:
            self._unacknowledged.popleft()
            self._octets -= job.size
            if job.error is None:
                job.fired.callback(job.result)
            else:
                job.fired.errback(Failure(job.error))

    def _ended(self) -> None:
        self._stopped.callback(None)


def blame(error: Exception, integrity: type[Exception], driver: type[Exception]) -> Exception:
    """Return the error that a caller gets for one of the driver.

    Args:
        integrity: the driver's class for a violated constraint.
        driver: its class for all errors.
    """
    if isinstance(error, OmaimError):
        return error
    if isinstance(error, integrity):
        return Conflict(f"the store holds something that excludes this: {error}")
    if isinstance(error, driver):
        return Unavailable(f"the store cannot serve: {error}")
    return error
