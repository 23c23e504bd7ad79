"""One request that came in, as those who answer it see it.

Spec: RFC 3261 §8.2
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from omaim.errors import PeerError, Unavailable
from omaim.net.endpoint import Endpoint
from omaim.sip.calling import Overlapping
from omaim.sip.flow import Flow
from omaim.sip.message import RETRY_AFTER, Request, Response, error_response
from omaim.sip.pacing import IntervalTooBrief
from omaim.sip.session_timer import IntervalTooSmall
from omaim.sip.transaction import ServerTransaction

_log = Logger()


class Incoming:
    """A request and the means to answer it.

    Attributes:
        request: as it came.
        transaction: it belongs to; another transaction user may need it.
        flow: the path it came by.
        tag: the To tag of all our responses to it.
        answered: a final response was sent.
        on_cancel: gets the CANCEL of an INVITE, and answers the INVITE 487; that is done
            without asking where nobody is set.
    """

    __slots__ = ("_endpoint", "answered", "flow", "on_cancel", "request", "tag", "transaction")

    def __init__(self, endpoint: Endpoint, transaction: ServerTransaction) -> None:
        self._endpoint = endpoint
        self.transaction = transaction
        self.request: Request = transaction.request
        self.flow: Flow = transaction.flow
        self.tag: str = self.request.to.tag or endpoint.ids.tag()
        self.answered = False
        self.on_cancel: Callable[[Request], object] | None = None

    def response(
        self, status: int, headers: Iterable[tuple[str, str]] = (), body: bytes = b""
    ) -> Response:
        """Build a response with these header fields; it is sent when returned or responded.

        Spec: RFC 3261 §8.2.6
        """
        response = self.request.response(status, None, "" if status == 100 else self.tag)
        response.add_all(headers)
        response.body = body
        return response

    def respond(self, response: Response) -> None:
        """Send a response; what comes after a final one is dropped."""
        if self.answered:
            return
        if response.status >= 200:
            self.answered = True
        software = self._endpoint.software
        if software and not response.has("Server"):
            response.add("Server", software)
        self._endpoint.respond(self.transaction, response)

    def reply(self, status: int, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Build and send a response without body."""
        self.respond(self.response(status, headers))

    def refuse(self, error: PeerError) -> None:
        """Send the response that an error deserves."""
        response = error_response(self.request, error, self.tag)
        for name, value in getattr(error, "headers", ()):
            response.add(name, value)
        if isinstance(error, IntervalTooBrief):
            response.set("Min-Expires", str(error.min_expires))
        elif isinstance(error, IntervalTooSmall):
            response.set("Min-SE", str(error.min_se))
        elif isinstance(error, Overlapping):
            response.set("Retry-After", str(error.retry_after))
        self.respond(response)


Answer = Callable[[Incoming], Response | Coroutine[Any, Any, Response | None] | None]


def perform(incoming: Incoming, answer: Answer) -> None:
    """Have ``answer`` answer, and send what it returns or what its error deserves."""
    try:
        result = answer(incoming)
    except Exception:
        _failed(Failure(), incoming)
        return
    if result is None:
        return
    if isinstance(result, Response):
        incoming.respond(result)
        return
    waiting = Deferred.fromCoroutine(result)
    waiting.addCallback(_answered, incoming)
    waiting.addErrback(_failed, incoming)


def _answered(response: Response | None, incoming: Incoming) -> None:
    if response is not None:
        incoming.respond(response)


def _failed(failure: Failure, incoming: Incoming) -> None:
    error = failure.value
    if isinstance(error, PeerError):
        incoming.refuse(error)
    elif isinstance(error, Unavailable):
        incoming.reply(503, [("Retry-After", RETRY_AFTER)])
    else:
        _log.failure("Answering {method} failed", failure, method=incoming.request.method)
        incoming.reply(500)
