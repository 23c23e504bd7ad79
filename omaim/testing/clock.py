"""Virtual time: a day passes in as long as its events take.

Twisted's own test clock sorts all its calls at each new one; this one keeps a heap, so that
a hundred thousand timers are no burden.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer


@implementer(IDelayedCall)
class Call:
    """One call that waits for its time."""

    __slots__ = ("_act", "_at", "_clock", "_done", "_named", "_plain")

    def __init__(
        self, clock: Clock, at: float, act: Callable[..., object], plain: Any, named: Any
    ) -> None:
        self._clock = clock
        self._at = at
        self._act = act
        self._plain = plain
        self._named = named
        self._done: type[Exception] | None = None

    def getTime(self) -> float:
        return self._at

    def cancel(self) -> None:
        self._check()
        self._done = AlreadyCancelled

    def delay(self, secondsLater: float) -> None:
        self._check()
        self._at += secondsLater
        self._clock._push(self)

    def reset(self, secondsFromNow: float) -> None:
        self._check()
        self._at = self._clock.seconds() + secondsFromNow
        self._clock._push(self)

    def active(self) -> bool:
        return self._done is None

    def _check(self) -> None:
        if self._done is not None:
            raise self._done

    def _run(self) -> None:
        self._done = AlreadyCalled
        self._act(*self._plain, **self._named)


@implementer(IReactorTime)
class Clock:
    """A clock that stands still until :meth:`advance` or :meth:`run` moves it.

    The time for timers, :meth:`seconds`, and that of the day, :meth:`now`, go in step, until
    :meth:`set` moves the second alone, as somebody does who sets a computer's time.

    Args:
        start: what it shows at first, in seconds.
        ahead: how much more the time of day is.
    """

    def __init__(self, start: float = 1_000_000.0, ahead: float = 0.0) -> None:
        self._now = start
        self._ahead = ahead
        self._heap: list[tuple[float, int, Call]] = []
        self._serial = 0

    def seconds(self) -> float:
        return self._now

    def now(self) -> float:
        """Return the time of day: seconds since the epoch, UTC."""
        return self._now + self._ahead

    def set(self, seconds: float) -> None:
        """Set the time of day forward by so much, or back; no timer notices."""
        self._ahead += seconds

    def callLater(
        self, delay: float, callable: Callable[..., object], *args: Any, **kw: Any
    ) -> Any:
        call = Call(self, self._now + max(0.0, delay), callable, args, kw)
        self._push(call)
        return call

    def getDelayedCalls(self) -> list[Call]:
        return [call for at, _, call in self._heap if call.active() and call.getTime() == at]

    def advance(self, seconds: float) -> None:
        """Let time pass; everything due meanwhile happens, each at its own moment."""
        end = self._now + seconds
        while self._step(end):
            pass
        self._now = end

    def pump(self, steps: list[float]) -> None:
        """Advance by each of ``steps`` in turn."""
        for step in steps:
            self.advance(step)

    def run(self, until: Callable[[], object], patience: float = 86400.0) -> bool:
        """Let time pass event by event until ``until()`` is true; tell whether it came true.

        Args:
            patience: the most seconds of virtual time.
        """
        end = self._now + patience
        while not until():
            if not self._step(end):
                return bool(until())
        return True

    def wait(self, result: Deferred[Any], patience: float = 86400.0) -> Any:
        """Let time pass until ``result`` fires; return its value or raise its error.

        Raises:
            TimeoutError: it did not fire within ``patience`` seconds of virtual time.
        """
        outcome: list[Any] = []
        result.addBoth(outcome.append)
        if not self.run(lambda: outcome, patience):
            raise TimeoutError(f"nothing came of it in {patience} virtual seconds")
        if isinstance(outcome[0], Failure):
            outcome[0].raiseException()
        return outcome[0]

    def _push(self, call: Call) -> None:
        self._serial += 1
        heappush(self._heap, (call._at, self._serial, call))

    def _step(self, end: float) -> bool:
        """Do the next call that is due by ``end``; False when there is none."""
        heap = self._heap
        while heap and heap[0][0] <= end:
            at, _, call = heappop(heap)
            if call.active() and at == call._at:
                self._now = max(self._now, at)
                call._run()
                return True
        return False
