"""What happens in rooms, written down: many events in one commit, in their order.

Spec: design of omaim.node.events
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger
from twisted.python.failure import Failure

from omaim.im.gathering import Act, Gathering
from omaim.im.journal import Journal
from omaim.node.events import ServiceEvent

_log = Logger()


class RoomJournal:
    """Writes the events of all rooms of one server.

    Args:
        journal: where they go.
        later: has something called in the next turn.
    """

    def __init__(self, journal: Journal, later: Callable[[Act], object]) -> None:
        self._events = Gathering(journal.append_each, later, _lost)

    def note(self, event: ServiceEvent, about: str) -> None:
        """Write an event down, soon.

        Args:
            about: address of the room.
        """
        self._events.note((event, about))

    def after(self, act: Act) -> None:
        """Call ``act`` when all is durable that was noted so far."""
        self._events.after(act)


def _lost(failure: Failure) -> None:
    _log.failure("events of rooms are lost", failure)
