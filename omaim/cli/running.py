"""Run a command on Twisted's reactor, to an orderly end even when it is interrupted."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.python.failure import Failure

from omaim.node.logs import begin_logging

T = TypeVar("T")
PATIENCE: Final = 1.0  # seconds after which a second Ctrl-C ends the process at once


def the_reactor() -> Any:
    """Return Twisted's reactor."""
    from twisted.internet import reactor

    return reactor


def run(main: Callable[[], Coroutine[Any, Any, T]], verbose: bool = False) -> T:
    """Run a coroutine and return its result.

    Ctrl-C cancels what it awaits and lets it clean up; one that does not catch the
    CancelledError ends the process with status 130.

    Args:
        verbose: show the whole log, not only what people want to see.
    """
    begin_logging(sys.stderr, verbose=verbose)
    reactor = the_reactor()
    outcome: list[Any] = []

    def begin() -> None:
        running = Deferred.fromCoroutine(main())
        over: Deferred[None] = Deferred()

        def interrupt() -> Deferred[None] | None:
            if outcome:
                return None
            # A key held down, or a group told twice, must not break the orderly end; one
            # more Ctrl-C after a while ends a process that does not come to its end.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            reactor.callLater(PATIENCE, signal.signal, signal.SIGINT, signal.SIG_DFL)
            running.cancel()
            return over

        def end(result: Any) -> None:
            outcome.append(result)
            over.callback(None)
            try:
                reactor.stop()
            except ReactorNotRunning:
                pass  # it is stopping, and that is why we end

        reactor.addSystemEventTrigger("before", "shutdown", interrupt)
        running.addBoth(end)

    reactor.callWhenRunning(begin)
    reactor.run()
    if not outcome:
        raise KeyboardInterrupt
    if isinstance(outcome[0], Failure):
        if outcome[0].check(CancelledError):
            sys.exit(130)
        outcome[0].raiseException()
    result: T = outcome[0]
    return result


async def until_stopped() -> None:
    """Wait until somebody ends the process."""
    try:
        await Deferred()
    except CancelledError:
        pass
