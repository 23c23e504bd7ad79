"""What happens in rooms is written down in its order, many events in one commit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import Unavailable
from omaim.im.journal import Journal
from omaim.im.room_journal import RoomJournal
from omaim.node.events import RoomEnded, ServiceEvent
from omaim.node.taps import Taps

ROOM = "sip:room.tea@north.example"


class _Outbox:
    """Commits when told."""

    def __init__(self) -> None:
        self.commits: list[tuple[Any, ...]] = []
        self.waiting: list[Deferred[None]] = []

    def append(self, records: tuple[Any, ...]) -> Deferred[None]:
        self.commits.append(records)
        self.waiting.append(Deferred())
        return self.waiting[-1]


class JournalTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.outbox: Any = _Outbox()
        self.turn: list[Callable[[], object]] = []
        self.told: list[ServiceEvent] = []
        self.done: list[str] = []
        taps = Taps()
        taps.add(ServiceEvent, self.told.append)
        journal = Journal("im", self.outbox, taps, lambda: None)  # type: ignore[arg-type]
        self.journal = RoomJournal(journal, self.turn.append)

    def note(self, why: str) -> None:
        self.journal.note(RoomEnded(at=1.0, entity="im", room=ROOM, why=why), ROOM)

    def whys(self) -> list[str]:
        return [one.why for one in self.told if isinstance(one, RoomEnded)]

    def go(self) -> None:
        for act in self.turn[:]:
            self.turn.remove(act)
            act()

    def test_gathered(self) -> None:
        """What happens in one turn, and during a commit, goes into one commit."""
        self.note("one")
        self.journal.after(lambda: self.done.append("one"))
        self.note("two")
        self.go()
        self.assertEqual([len(one) for one in self.outbox.commits], [2])
        self.note("three")
        self.journal.after(lambda: self.done.append("three"))
        self.note("four")
        self.go()
        self.assertEqual((len(self.outbox.commits), self.done, self.whys()), (1, [], []))
        self.outbox.waiting[0].callback(None)
        self.assertEqual((self.done, self.whys()), (["one"], ["one", "two"]))
        self.go()
        self.outbox.waiting[1].callback(None)
        self.assertEqual((self.done, self.whys()[2:]), (["one", "three"], ["three", "four"]))
        self.assertEqual([one.about for one in self.outbox.commits[1]], [ROOM, ROOM])

    def test_nothing_to_wait_for(self) -> None:
        """Without events what waits for them is done at once, or after those under way."""
        self.journal.after(lambda: self.done.append("at once"))
        self.assertEqual(self.done, ["at once"])
        self.note("one")
        self.go()
        self.journal.after(lambda: self.done.append("later"))
        self.assertEqual(self.done, ["at once"])
        self.outbox.waiting[0].callback(None)
        self.assertEqual(self.done, ["at once", "later"])

    def test_lost(self) -> None:
        """What was said is said: a failing outbox is logged, and nobody waits for ever."""
        self.note("one")
        self.journal.after(lambda: self.done.append("one"))
        self.go()
        self.outbox.waiting[0].errback(Unavailable("the disk is full"))
        self.assertEqual((self.done, self.whys()), (["one"], ["one"]))
        self.note("two")
        self.journal.after(lambda: 1 / 0)
        self.journal.after(lambda: self.done.append("two"))
        self.go()
        self.outbox.waiting[1].callback(None)
        self.assertEqual(self.done, ["one", "two"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
