"""A reader of the outbox gets everything, whatever fails between."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import Unavailable
from omaim.node.events import MessageDeleted, ReportSent, ServiceEvent, to_json
from omaim.node.outbox import BATCH, OutboxReader
from omaim.stores.memory_messages import MemoryOutbox
from omaim.stores.records import ServiceEventRecord


def deleted(number: int) -> MessageDeleted:
    """Return an event."""
    return MessageDeleted(at=float(number), entity="im", message_id=str(number), recipient="r")


class OutboxReaderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.outbox = MemoryOutbox()
        self.got: list[str] = []
        self.failing = 0
        self.slow: list[Deferred[None]] | None = None
        self.reader = self.life()

    def life(self) -> OutboxReader:
        """Return a reader as it is after a start."""
        return OutboxReader("reader", self.outbox, (MessageDeleted,), self.act)

    async def act(self, event: MessageDeleted) -> None:
        if self.failing:
            self.failing -= 1
            raise Unavailable("not now")
        self.got.append(event.message_id)
        if self.slow is not None:
            waiting: Deferred[None] = Deferred()
            self.slow.append(waiting)
            await waiting

    def write(self, *events: ServiceEvent) -> None:
        records = []
        for event in events:
            kind, text = to_json(event)
            records.append(ServiceEventRecord(kind, event.at, text.encode()))
        self.successResultOf(self.outbox.append(records))

    def begin(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.reader.start()))
        self.successResultOf(Deferred.fromCoroutine(self.reader.enrol()))

    def catch_up(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.reader.caught_up()))

    def marks(self) -> dict[str, int]:
        return self.successResultOf(self.outbox.positions())

    def test_kinds(self) -> None:
        """It gets the events of its kinds, in order, and marks what it has passed over too."""
        self.begin()
        other = ReportSent(at=0.0, entity="im", message_id="x", recipient="r", disposition="failed")
        self.write(deleted(1), other, deleted(2), other)
        self.reader.poke()
        self.assertEqual(self.got, ["1", "2"])
        self.catch_up()
        self.assertEqual(self.marks(), {"reader": 4})
        self.assertEqual(self.successResultOf(self.outbox.trim()), 4)

    def test_batches(self) -> None:
        """However much there is, it gets all of it."""
        self.begin()
        self.write(*map(deleted, range(3 * BATCH + 1)))
        self.catch_up()
        self.assertEqual(self.got, [str(number) for number in range(3 * BATCH + 1)])

    def test_not_enrolled(self) -> None:
        """Nothing is kept for a reader that nobody needs."""
        self.write(deleted(1))
        self.catch_up()
        self.assertEqual((self.got, self.marks()), ([], {}))
        self.begin()
        self.assertEqual(self.marks(), {"reader": 0})
        self.successResultOf(Deferred.fromCoroutine(self.reader.retire()))
        self.assertEqual((self.got, self.marks()), (["1"], {}))

    def test_next_life(self) -> None:
        """What was not marked comes again, what was marked does not."""
        self.begin()
        self.write(deleted(1))
        self.catch_up()
        self.write(deleted(2))
        self.reader.poke()
        self.write(deleted(3))
        self.reader = self.life()
        self.begin()
        self.assertEqual(self.got, ["1", "2", "2", "3"])

    def test_failure(self) -> None:
        """What cannot be done now is done later, and not marked before."""
        self.begin()
        self.failing = 1
        self.write(deleted(1), deleted(2))
        self.failureResultOf(Deferred.fromCoroutine(self.reader.caught_up()), Unavailable)
        self.assertEqual(self.marks(), {"reader": 0})
        self.catch_up()
        self.assertEqual(self.got, ["2", "1", "2"])
        self.assertEqual(self.marks(), {"reader": 2})

    def test_broken(self) -> None:
        """A fault of ours is logged, and what waits for it hears of it."""
        self.begin()

        async def broken(event: object) -> None:
            raise ZeroDivisionError

        self.patch(self.reader, "_act", broken)
        self.write(deleted(1))
        catching_up = Deferred.fromCoroutine(self.reader.caught_up())
        self.failureResultOf(catching_up, ZeroDivisionError)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_while_busy(self) -> None:
        """Who wants to catch up while something is under way waits for what came since."""
        self.begin()
        self.slow = []
        self.write(deleted(1))
        self.reader.poke()
        self.write(deleted(2))
        catching_up = Deferred.fromCoroutine(self.reader.caught_up())
        self.slow[0].callback(None)
        self.assertNoResult(catching_up)
        self.assertEqual(self.got, ["1", "2"])
        self.slow[1].callback(None)
        self.successResultOf(catching_up)
        self.assertEqual(self.marks(), {"reader": 2})

    def test_store_away(self) -> None:
        """An outbox that cannot answer is asked again."""
        self.begin()
        self.write(deleted(1))
        self.patch(self.outbox, "read", lambda *_: fail(Unavailable("away")))
        self.failureResultOf(Deferred.fromCoroutine(self.reader.caught_up()), Unavailable)
        self.patch(self.outbox, "read", MemoryOutbox.read.__get__(self.outbox))
        self.catch_up()
        self.assertEqual(self.got, ["1"])
