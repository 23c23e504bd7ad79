"""What is ready, called without ceremony.

Twisted's epoll reactor puts a context for log lines around each event: two dictionaries, a
look into the thread's storage and five calls, which a server that is woken for each datagram pays
in full each time. Who logs with ``twisted.logger.Logger``, as all of omaim and most of
Twisted does, has nothing from it.
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.logger import Logger

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
    except AttributeError:
        return

    def iteration(timeout: float | None) -> None:
        try:
            ready = poll(-1 if timeout is None else timeout, max(1, len(selectables)))
        except InterruptedError:
            return
        for fd, event in ready:
            selectable = selectables.get(fd)
            if selectable is not None:
                try:
                    serve(selectable, fd, event)
                except Exception:
                    _log.failure("A descriptor that was lost failed")

    reactor.doIteration = iteration
