"""Pages for browsers and scrapers, read-only: a few paths, each made by a function.

Spec: RFC 9110 §9.3.1 (GET), §15.5.5, §15.5.6
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.web.http import HTTPChannel, HTTPFactory, Request

from omaim.errors import Unavailable
from omaim.net.ports import bracketed

IDLE: Final = 30.0  # seconds that a peer may say nothing
PEERS: Final = 64  # connections at a time
BODY: Final = 1024  # octets that a request may carry, for nothing

_log = Logger()


@attrs.frozen
class Page:
    """What a path leads to now."""

    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    status: int = 200


class _Request(Request):
    """One request. Its body is thrown away; a large one ends the connection."""

    _octets = 0

    def handleContentChunk(self, data: bytes) -> None:
        self._octets += len(data)
        if self._octets > BODY:
            transport: Any = self.channel.transport
            transport.abortConnection()

    def process(self) -> None:
        """Answer, now that all of it has come."""
        page = self._page()
        self.setResponseCode(page.status)
        self.setHeader("Content-Type", page.content_type)
        self.setHeader("Content-Length", str(len(page.body)))
        self.setHeader("Cache-Control", "no-store")
        if self.method != b"HEAD":
            self.write(page.body)
        self.finish()

    def _page(self) -> Page:
        if self.method not in (b"GET", b"HEAD"):
            self.setHeader("Allow", "GET, HEAD")
            return Page(b"only GET and HEAD\n", status=405)
        pages = self.channel.factory.pages
        make = pages.get(self.path.decode("latin-1"))
        if make is None:
            there = "".join(f"{path}\n" for path in sorted(pages))
            return Page(f"no such page; there are:\n{there}".encode(), status=404)
        try:
            page: Page = make()
        except Exception:
            _log.failure("the page {path} could not be made", path=self.path.decode("latin-1"))
            return Page(b"the page could not be made\n", status=500)
        return page


class _Channel(HTTPChannel):
    """One connection."""

    requestFactory = _Request

    def connectionLost(self, reason: Any = connectionDone) -> None:
        """Make room for the next."""
        self.factory.peers -= 1
        super().connectionLost(reason)


class _Pages(HTTPFactory):
    """Serves so many peers at a time, and no more."""

    noisy = False
    protocol = _Channel  # type: ignore[assignment]

    def __init__(self, reactor: Any, pages: Mapping[str, Callable[[], Page]]) -> None:
        super().__init__(timeout=IDLE, reactor=reactor)
        self.pages = pages
        self.peers = 0

    def buildProtocol(self, address: Any) -> Any:
        """Return who serves a new connection; ``None`` turns it away."""
        if self.peers >= PEERS:
            return None
        self.peers += 1
        return super().buildProtocol(address)

    def log(self, request: Any) -> None:
        """Write no access log: scrapers come every few seconds."""


class HttpListener:
    """A place where pages are served.

    Attributes:
        host: the address it is bound to.
        port: the port it is bound to.
    """

    def __init__(self, port: Any) -> None:
        place = port.getHost()
        self.host: str = place.host
        self.port: int = place.port
        self._port = port

    @property
    def url(self) -> str:
        """Where that is, for people."""
        return f"http://{bracketed(self.host)}:{self.port}"

    def close(self) -> Deferred[None]:
        """Serve no more; fires when the port is free."""
        return maybeDeferred(self._port.stopListening)


def listen_http(
    reactor: Any, host: str, port: int, pages: Mapping[str, Callable[[], Page]]
) -> HttpListener:
    """Serve pages by plain HTTP.

    Args:
        reactor: one that listens.
        host: numeric address to bind.
        port: 0 takes a free one.
        pages: what makes the page of each path, ``/metrics``.

    Raises:
        Unavailable: the address is not ours or in use.
    """
    try:
        return HttpListener(reactor.listenTCP(port, _Pages(reactor, pages), interface=host))
    except CannotListenError as error:
        raise Unavailable(f"cannot serve pages at {bracketed(host)}:{port}: {error}") from error
