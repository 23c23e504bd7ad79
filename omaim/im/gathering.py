"""Many small writes as few commits, in their order.

A room may speak faster than a disk can sync. While one commit is under way, what comes meanwhile
gathers for the next.

Spec: design of omaim.node.events
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

_log = Logger()

T = TypeVar("T")
Act = Callable[[], object]


class Gathering(Generic[T]):
    """Writes what is noted.

    Args:
        write: writes some of it down, durably.
        later: has something called in the next turn.
        lost: is told why some of it could not be written; what waited for it goes on.
    """

    def __init__(
        self,
        write: Callable[[list[T]], Coroutine[Any, Any, object]],
        later: Callable[[Act], object],
        lost: Callable[[Failure], object],
    ) -> None:
        self._write = write
        self._later = later
        self._lost = lost
        self._notes: list[T] = []
        self._acts: list[Act] = []
        self._busy = False

    def note(self, note: T) -> None:
        """Write something down, soon."""
        self._notes.append(note)
        self._start()

    def after(self, act: Act) -> None:
        """Call ``act`` when all is durable that was noted so far."""
        if self._notes or self._busy:
            self._acts.append(act)
        else:
            act()

    def _start(self) -> None:
        if not self._busy:
            self._busy = True
            self._later(self._begin)

    def _begin(self) -> None:
        notes, self._notes = self._notes, []
        acts, self._acts = self._acts, []
        writing = Deferred.fromCoroutine(self._write(notes))
        writing.addErrback(self._lost)
        writing.addCallback(lambda _: self._written(acts))

    def _written(self, acts: list[Act]) -> None:
        for act in acts:
            try:
                act()
            except Exception:
                _log.failure("what waited to be written down was not done")
        self._busy = False
        if self._notes:
            self._start()
        elif self._acts:
            acts, self._acts = self._acts, []
            self._written(acts)
