"""Run a coroutine on Twisted's reactor, as scripts and commands do."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Start the reactor, run ``main`` to its end, stop the reactor; return its result.

    An exception of ``main`` is raised here; Ctrl-C raises KeyboardInterrupt. It can be called
    once in a process: Twisted's reactor does not start again.
    """
    from twisted.internet import reactor as started

    reactor: Any = started
    outcome: list[Any] = []

    def ended(result: Any) -> None:
        outcome.append(result)
        if reactor.running:
            reactor.stop()

    def begin() -> None:
        Deferred.fromCoroutine(main()).addBoth(ended)

    reactor.callWhenRunning(begin)
    reactor.run()
    if not outcome:
        raise KeyboardInterrupt
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    result: T = outcome[0]
    return result
