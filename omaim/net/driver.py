"""One reactor call for any number of machines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from omaim.timers import NEVER, Deadlines, Wakeup

GRAIN: Final = 0.005  # seconds; deadlines that fall this close together share one wake

_log = Logger()


class Driver:
    """Wake the machines on one heap when their deadlines come.

    Args:
        clock: where the time comes from and who calls later.
        deadlines: the heap; a new one when not given.

    Attributes:
        deadlines: the heap.
        wakeup: to be kept by whoever gave a machine an input.
        arm: does so.
    """

    def __init__(self, clock: IReactorTime, deadlines: Deadlines | None = None) -> None:
        self.deadlines = Deadlines() if deadlines is None else deadlines
        self.wakeup = Wakeup(self.deadlines, self._plan)
        self.arm: Callable[[], None] = self.wakeup.arm
        self._clock: Any = clock
        self._call: Any = None

    def now(self) -> float:
        """Return the time that all machines of this driver live in."""
        return self._clock.seconds()  # type: ignore[no-any-return]

    def stop(self) -> None:
        """Wake nobody any more."""
        if self._call is not None:
            self._call.cancel()
        # Sooner than any deadline, so that no later arm() has an effect.
        self._call, self.wakeup.at = None, -NEVER

    def _plan(self, at: float) -> None:
        if self._call is not None:
            self._call.cancel()
        self._call = self._clock.callLater(max(GRAIN, at - self._clock.seconds()), self._wake)

    def _wake(self) -> None:
        self._call, self.wakeup.at = None, NEVER
        try:
            self.deadlines.run(self._clock.seconds())
        except Exception:
            _log.failure("A machine failed when its time came")
        self.arm()
