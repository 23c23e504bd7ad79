"""Run a coroutine on Twisted's reactor, as scripts and commands do."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")

LAST_WORDS: Final = 5.0  # seconds that a coroutine has to clean up after Ctrl-C


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Start the reactor, run ``main`` to its end, stop the reactor; return its result.

    An exception of ``main`` is raised here. Ctrl-C cancels ``main``, which may then clean up
    (a client de-registers), and raises KeyboardInterrupt. It can be called once in a process:
    Twisted's reactor does not start again.
    """
    from twisted.internet import reactor as started

    reactor: Any = started
    outcome: list[Any] = []
    running: list[Deferred[Any]] = []
    over: Deferred[None] = Deferred()

    def ended(result: Any) -> None:
        outcome.append(result)
        over.callback(None)
        if reactor.running and not interrupted:
            reactor.stop()

    interrupted: list[bool] = []

    def begin() -> None:
        running.append(Deferred.fromCoroutine(main()))
        running[0].addBoth(ended)

    def interrupt() -> Deferred[None] | None:
        if outcome or not running:
            return None
        interrupted.append(True)
        running[0].cancel()
        over.addTimeout(LAST_WORDS, reactor)
        return over.addErrback(lambda _: None)

    reactor.callWhenRunning(begin)
    reactor.addSystemEventTrigger("before", "shutdown", interrupt)
    reactor.run()
    if interrupted or not outcome:
        raise KeyboardInterrupt
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    result: T = outcome[0]
    return result
