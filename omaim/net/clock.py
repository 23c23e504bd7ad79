"""Two clocks, never mixed: one for timers, one for what is written down.

- ``clock``, an ``IReactorTime``: ``clock.seconds()`` only goes
  forward. Deadlines, pauses and ages within one process are counted in it; its number means
  nothing outside, and is never stored or sent.
- ``now()``: seconds since the epoch, UTC. Whatever is stored, sent or shown is dated with it, and
  compared with it when it comes back; it jumps when somebody sets the system's time.

Twisted's reactors count in the system's time: set forward, it ends every transaction at once; set
back, it stops every timer for as long. :func:`steady` mends that.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def steady(reactor: Any) -> None:
    """Let a reactor's timers go forward evenly, whatever happens to the system's time.

    Its ``seconds()`` goes on from what it shows now, so that calls that wait already keep their
    moments. Doing it twice changes nothing. To be done by whoever owns the process.
    """
    if getattr(reactor.seconds, "steady", False):
        return
    monotonic = time.monotonic
    ahead = float(reactor.seconds()) - monotonic()

    def seconds() -> float:
        return monotonic() + ahead

    seconds.steady = True  # type: ignore[attr-defined]
    reactor.seconds = seconds


def wall(clock: Any) -> Callable[[], float]:
    """Return what tells the time of day beside ``clock``: seconds since the epoch, UTC.

    Simulated time tells it by a method ``now``; beside a reactor it is the system's.
    """
    own: Callable[[], float] | None = getattr(clock, "now", None)
    return time.time if own is None else own
