"""Give something to a function of the user, which may be a coroutine, and may fail."""

from __future__ import annotations

from collections.abc import Callable, Coroutine

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

_log = Logger()


def hand(act: Callable[..., object] | None, *what: object) -> None:
    """Call ``act`` if there is one; what goes wrong there is logged and hurts nobody else."""
    if act is not None:
        maybeDeferred(_call, act, *what).addErrback(_broken)


def _call(act: Callable[..., object], *what: object) -> object:
    result = act(*what)
    return Deferred.fromCoroutine(result) if isinstance(result, Coroutine) else result


def _broken(failure: Failure) -> None:
    _log.failure("A function of the client's user failed", failure)
