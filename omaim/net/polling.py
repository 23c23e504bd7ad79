"""What is ready, called without ceremony.

Twisted's epoll reactor puts a context for log lines around each event: two dictionaries, a
look into the thread's storage and five calls, which a server that is woken for each datagram pays
in full each time. Who logs with ``twisted.logger.Logger``, as all of omaim and most of
Twisted does, has nothing from it. Before each wait the reactor looks for calls that are due, in
ten calls of its own; where none can be due, it may as well wait at once.
"""

from __future__ import annotations

import select
import sys
from typing import Any, Final

from twisted.logger import Logger

from omaim.net.udp import DatagramSocket

AGAIN: Final = 32  # waits in one turn of the reactor, as long as it would have nothing else to do
LONGEST: Final = 3600.0  # seconds of one wait
_READABLE: Final = getattr(select, "EPOLLIN", 1)

_log = Logger()


def straight(reactor: Any) -> None:
    """Let an epoll reactor call what is ready straight away.

    All else stays as it is: events and errors mean the same to the descriptors, whatever is raised
    is logged. Lines of the old ``twisted.python.log`` no longer say which descriptor was served.
    Other reactors, those derived from it among them, stay as they are. Doing it twice changes
    nothing. To be done by whoever owns the process.
    """
    module = sys.modules.get("twisted.internet.epollreactor")
    if module is None or type(reactor) is not module.EPollReactor:
        return
    # Looked up one by one, so that a Twisted that has none of them keeps its own way.
    try:
        poll, serve = reactor._poller.poll, reactor._doReadOrWrite
        selectables = reactor._selectables
        _idle(reactor)
    except AttributeError:
        return

    def iteration(timeout: float | None) -> None:
        for _ in range(AGAIN):
            try:
                ready = poll(-1 if timeout is None else timeout, max(1, len(selectables)))
            except InterruptedError:
                return
            for fd, event in ready:
                selectable = selectables.get(fd)
                if event == _READABLE and type(selectable) is DatagramSocket:
                    selectable.doRead()  # it is open as long as it is here, and never raises
                elif selectable is not None:
                    try:
                        serve(selectable, fd, event)
                    except Exception:
                        _log.failure("A descriptor that was lost failed")
            if not ready or timeout == 0:
                return
            timeout = _idle(reactor)
            if timeout == 0:
                return

    reactor.doIteration = iteration


def _idle(reactor: Any) -> float:
    """Return for how many seconds the reactor has nothing to do of itself; 0 for not at all."""
    if (
        reactor._newTimedCalls
        or reactor.threadCallQueue
        or reactor._justStopped
        or not reactor.running
    ):
        return 0.0
    pending = reactor._pendingTimedCalls
    if not pending:
        return LONGEST
    left: float = pending[0].time - reactor.seconds()
    return min(max(0.0, left), LONGEST)
