"""What happens in rooms, written down: many events in one commit, in their order.

A room may speak faster than a disk can sync. While one commit is under way, what happens
meanwhile gathers for the next.

Spec: design of omaim.node.events
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from omaim.im.journal import Journal
from omaim.node.events import ServiceEvent

_log = Logger()

Act = Callable[[], object]


class RoomJournal:
    """Writes the events of all rooms of one server.

    Args:
        journal: where they go.
        later: has something called in the next turn.
    """

    def __init__(self, journal: Journal, later: Callable[[Act], object]) -> None:
        self._journal = journal
        self._later = later
        self._events: list[tuple[ServiceEvent, str]] = []
        self._acts: list[Act] = []
        self._busy = False

    def note(self, event: ServiceEvent, about: str) -> None:
        """Write an event down, soon.

        Args:
            about: address of the room.
        """
        self._events.append((event, about))
        self._start()

    def after(self, act: Act) -> None:
        """Call ``act`` when all is durable that was noted so far."""
        if self._events or self._busy:
            self._acts.append(act)
        else:
            act()

    def _start(self) -> None:
        if not self._busy:
            self._busy = True
            self._later(self._write)

    def _write(self) -> None:
        events, self._events = self._events, []
        acts, self._acts = self._acts, []
        writing = Deferred.fromCoroutine(self._journal.append_each(events))
        writing.addErrback(_lost)
        writing.addCallback(lambda _: self._written(acts))

    def _written(self, acts: list[Act]) -> None:
        for act in acts:
            try:
                act()
            except Exception:
                _log.failure("what waited for an event was not done")
        self._busy = False
        if self._events:
            self._start()
        elif self._acts:
            acts, self._acts = self._acts, []
            self._written(acts)


def _lost(failure: Failure) -> None:
    _log.failure("events of rooms are lost", failure)
