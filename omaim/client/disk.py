"""Steps on files, in threads, so that a slow disk holds up nothing but its file.

Steps of one file are done one after the other (:class:`Work`); files do not wait for one another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from twisted.internet.defer import Deferred, DeferredLock, DeferredSemaphore, succeed
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

AT_A_TIME: Final = 4  # steps that may be in threads; others need threads, too

T = TypeVar("T")


class Disk:
    """Where the files of one client are.

    Args:
        clock: the reactor. With virtual time, which knows no threads, each step is done in a
            turn of its own.
    """

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._threads = hasattr(clock, "getThreadPool")
        self._turns = DeferredSemaphore(AT_A_TIME)
        self._steps = 0
        self._idle: list[Deferred[None]] = []

    def run(self, act: Callable[..., T], *args: Any) -> Deferred[T]:
        """Do one step; fires with what it returns or raises.

        Who cancels it waits no longer; a step that has begun is done nevertheless.
        """
        result: Deferred[T] = Deferred()
        self._steps += 1
        doing: Deferred[T] = self._turns.run(self._begin, act, *args)
        doing.addBoth(self._done)
        doing.chainDeferred(result)
        return result

    def _begin(self, act: Callable[..., T], *args: Any) -> Deferred[T]:
        if self._threads:
            clock = self._clock
            return deferToThreadPool(clock, clock.getThreadPool(), act, *args)
        return deferLater(self._clock, 0.0, act, *args)

    def _done(self, outcome: T | Failure) -> T | Failure:
        self._steps -= 1
        if not self._steps and self._idle:
            self._clock.callLater(0.0, self._tell)  # the next step of the file may follow at once
        return outcome

    def _tell(self) -> None:
        if not self._steps:
            idle, self._idle = self._idle, []
            for one in idle:
                one.callback(None)

    def idle(self) -> Deferred[None]:
        """Return what fires when no step is under way."""
        if not self._steps:
            return succeed(None)
        waiting: Deferred[None] = Deferred(lambda one: self._idle.remove(one))
        self._idle.append(waiting)
        return waiting


class Work:
    """Steps on one file, one after the other.

    Args:
        disk: does them.
    """

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._lock = DeferredLock()

    def do(self, act: Callable[..., T], *args: Any) -> Deferred[T]:
        """Do a step when all earlier ones are done; see :meth:`Disk.run`."""
        result: Deferred[T] = Deferred()
        doing: Deferred[T] = self._lock.run(self._disk.run, act, *args)
        doing.chainDeferred(result)
        return result

    def done(self) -> Deferred[None]:
        """Return what fires when all steps so far are done."""
        return self.do(_nothing)


def _nothing() -> None:
    """Do nothing."""
