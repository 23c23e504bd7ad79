"""A Unix socket for commands to a running process: a line of JSON, and one back.

Only the owner of the socket's file can connect. The far end (:func:`ask`) is for programs
that have nothing else to do, and waits.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.protocols.policies import TimeoutMixin

from omaim.errors import OmaimError, Unavailable, UsageError

LONGEST: Final = 65536  # octets of a request
MOST: Final = 16  # connections at a time
IDLE: Final = 60.0  # seconds after which a silent one is ended
_PATH: Final = 107  # octets of a socket's path, by the system

Answer = Callable[[Mapping[str, Any]], Awaitable[object]]

_log = Logger()


class _Line(LineOnlyReceiver, TimeoutMixin):
    """One connection: one request, one answer."""

    delimiter = b"\n"
    MAX_LENGTH = LONGEST
    factory: _Lines
    transport: Any

    def connectionMade(self) -> None:
        self.factory.open += 1
        self.setTimeout(IDLE)
        if self.factory.open > MOST:
            self.transport.abortConnection()

    def connectionLost(self, reason: Any = None) -> None:
        self.factory.open -= 1
        self.setTimeout(None)

    def lineReceived(self, line: bytes) -> None:
        self.setTimeout(None)
        self.transport.pauseProducing()
        Deferred.fromCoroutine(self._serve(line))

    async def _serve(self, line: bytes) -> None:
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise ValueError("not an object")
            reply: dict[str, Any] = {"result": await self.factory.answer(request)}
        except OmaimError as error:
            reply = {"error": str(error)}
        except (ValueError, RecursionError):
            reply = {"error": "a request is one JSON object on a line"}
        except Exception:
            _log.failure("a command failed")
            reply = {"error": "the command failed; the log says why"}
        self.transport.write(json.dumps(reply, default=str).encode() + b"\n")
        self.transport.loseConnection()


class _Lines(Factory):
    protocol: Any = _Line
    noisy = False

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.open = 0


def listen_local(reactor: Any, path: str, answer: Answer) -> Callable[[], Deferred[None]]:
    """Answer requests at a Unix socket of which nobody else may make use.

    Args:
        path: of the socket's file; one that a dead process left is taken over.
        answer: gets each request; its OmaimErrors are told to the other side.

    Returns:
        What stops it; the file goes then.

    Raises:
        Unavailable: it cannot listen there.
    """
    if len(os.fsencode(path)) > _PATH:
        raise Unavailable(f"{path} is too long for a socket: at most {_PATH} octets")
    _remove_left(path)
    try:
        port = reactor.listenUNIX(path, _Lines(answer), mode=0o600)
    except CannotListenError as error:
        raise Unavailable(f"cannot listen on {path}: {error.socketError}") from None

    async def stop() -> None:
        await port.stopListening()

    return lambda: Deferred.fromCoroutine(stop())


def _remove_left(path: str) -> None:
    """Remove a socket on which nobody listens any more."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise Unavailable(f"{path} is there and no socket")
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1.0)
            probe.connect(path)
    except FileNotFoundError:
        return
    except ConnectionRefusedError:
        os.unlink(path)
        return
    except OSError as error:
        raise Unavailable(f"cannot use {path}: {error.strerror or error}") from None
    raise Unavailable(f"somebody answers at {path}; is it running already?")


def ask(path: str, command: str, timeout: float = 10.0, **values: Any) -> Any:
    """Put a command to a running process and wait for what it answers.

    Args:
        path: of its socket.
        command: see :mod:`omaim.node.control`.
        timeout: seconds.
        values: what the command needs.

    Raises:
        Unavailable: nobody listens there, or no answer came in time.
        UsageError: the process refused; its own words.
    """
    request = json.dumps({**values, "command": command}).encode() + b"\n"
    end = time.monotonic() + timeout
    answer = b""
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(timeout)
            line.connect(path)
            line.sendall(request)
            while not answer.endswith(b"\n"):
                line.settimeout(max(end - time.monotonic(), 0.001))
                piece = line.recv(65536)
                if not piece:
                    raise Unavailable(f"{path} ended the connection without an answer")
                answer += piece
    except TimeoutError:
        raise Unavailable(f"no answer from {path} in {timeout:g} s") from None
    except OSError as error:
        raise Unavailable(f"nobody listens at {path} ({error.strerror}): is it running?") from None
    reply = json.loads(answer)
    if "error" in reply:
        raise UsageError(reply["error"])
    return reply["result"]
