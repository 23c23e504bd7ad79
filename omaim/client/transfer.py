"""A file on its way between two clients, either way: how it stands, and how it ends.

Spec: RFC 5547 §8
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure as Broken

from omaim.bodies.file_selector import FileSelector
from omaim.client.failures import Failure
from omaim.client.handing import hand
from omaim.client.leg import Leg
from omaim.client.means import Means
from omaim.errors import OmaimError
from omaim.roles.negotiation import Medium
from omaim.timers import NEVER, Alarm

WAITING: Final = "waiting"  # for the other side
MOVING: Final = "moving"
DONE: Final = "done"
FAILED: Final = "failed"

T = TypeVar("T")

_log = Logger()


class TransferFailed(Failure):
    """The file did not get to the other side whole."""

    advice = "try again; what has arrived is kept, where the file's hash is known"


class Transfer(Generic[T]):
    """One file on its way.

    Attributes:
        peer: URI of the other side.
        selector: what is known about the file.
        state: WAITING, MOVING, DONE or FAILED.
        octets: of the whole file, that have been sent or have come.
        failure: why it failed.
        silence: seconds that nothing may happen; then it has failed.
    """

    silence: float = 180.0

    def __init__(self, means: Means, peer: str, selector: FileSelector) -> None:
        self.peer = peer
        self.selector = selector
        self.state = WAITING
        self.octets = 0
        self.failure: Failure | None = None
        self._means = means
        self._leg: Leg | None = None
        self._medium: Medium | None = None
        self._own = False
        self._on_progress: Callable[[Transfer[T]], object] | None = None
        self._waiting: list[Deferred[T]] = []
        self._result: T | None = None
        self._ends: list[Callable[[], object]] = []
        self._alarm = Alarm(lambda _: self.failed("nothing has come for too long"))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.name}: {self.state}>"

    @property
    def name(self) -> str:
        """The file's name, as its owner has it."""
        return self.selector.name or "file"

    @property
    def size(self) -> int | None:
        """Octets of the whole file, if known."""
        return self.selector.size

    @property
    def over(self) -> bool:
        """It is done or has failed."""
        return self.state in (DONE, FAILED)

    def on_progress(self, act: Callable[[Transfer[T]], object]) -> None:
        """Tell ``act`` whenever more of it has gone or come, and of the end."""
        self._on_progress = act

    def done(self) -> Deferred[T]:
        """Return what fires when it is done; it fails with a Failure if it does."""
        if self._result is not None:
            return succeed(self._result)
        if self.failure is not None:
            return fail(self.failure)
        waiting: Deferred[T] = Deferred(lambda one: self._waiting.remove(one))
        self._waiting.append(waiting)
        return waiting

    def when_over(self, act: Callable[[], object]) -> None:
        """Call ``act`` when it is done or has failed."""
        if self.over:
            act()
        else:
            self._ends.append(act)

    # What uploads and downloads use.

    def joined(self, leg: Leg, medium: Medium, own: bool) -> None:
        """It has its medium.

        Args:
            own: the call is there for this file only.
        """
        self._leg, self._medium, self._own = leg, medium, own
        self.state = MOVING
        leg.ending.append(lambda why: self.failed(why or "the session has ended"))
        self.alive()

    def alive(self) -> None:
        """Something happened."""
        if not self.over:
            self._alarm.deadline = self._means.phone.now() + self.silence
            self._means.phone.arm(self._alarm)

    def moved(self, octets: int) -> None:
        """So much of the file has gone or come."""
        self.octets = octets
        self.alive()
        hand(self._on_progress, self)

    def succeeded(self, result: T) -> None:
        """It is done."""
        if self.over:
            return
        self.state, self._result = DONE, result
        self._settle()
        for waiting in self._take_waiting():
            waiting.callback(result)

    def failed(self, why: str, status: int = 0) -> None:
        """It did not work; nothing happens if it is over."""
        if self.over:
            return
        self.state = FAILED
        self.failure = TransferFailed(status, why)
        self._settle()
        for waiting in self._take_waiting():
            waiting.errback(self.failure)
        self.leave()

    def _settle(self) -> None:
        self._alarm.deadline = NEVER
        ends, self._ends = self._ends, []
        for act in ends:
            act()
        hand(self._on_progress, self)

    def _take_waiting(self) -> list[Deferred[T]]:
        waiting, self._waiting = self._waiting, []
        return waiting

    def leave(self) -> None:
        """It has failed: end what carried it."""
        self.let_go()

    def let_go(self) -> None:
        """End the medium, with the call if that is all there is in it."""
        leg, medium = self._leg, self._medium
        if leg is None or medium is None or leg.over:
            return
        self._leg = None
        ending = leg.close() if self._own else leg.drop(medium)
        Deferred.fromCoroutine(ending).addErrback(_not_ended)


def _not_ended(failure: Broken) -> None:
    if failure.check(OmaimError):
        _log.info("A file's medium was not ended: {why}", why=failure.getErrorMessage())
    else:
        _log.failure("A file's medium was not ended", failure)
