"""What a network gives: datagrams and byte streams, real or simulated.

Everything above holds an :class:`INetwork` and never a reactor. :class:`ReactorNetwork` is the
real one; ``omaim.testing.network.SimulatedNetwork`` the other, on which every entity runs
unchanged. Hosts are numeric addresses throughout, IPv6 without brackets: names are the
resolver's business.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface, implementer

from omaim.errors import Unavailable
from omaim.net.stream import ReactorConnector, ReactorListener, Turn
from omaim.net.tls import TlsSettings
from omaim.net.udp import DatagramSocket

Address = tuple[Any, ...]  # (host, port) first; IPv6 sockets append flow and scope
Received = Callable[[bytes, Address], None]  # one datagram and where it came from
Refused = Callable[[Address], None]  # where datagrams cannot go


class Receiver(Protocol):
    """Who is told what happens on one stream. None of the three may raise."""

    def connected(self, stream: Stream) -> None:
        """The stream is up and, under TLS, verified; it may be written to from now on."""

    def received(self, data: bytes) -> None:
        """Some bytes have come."""

    def drained(self) -> None:
        """All that was written has been taken by the system, after a time when it had not."""

    def closed(self, why: str) -> None:
        """The stream is gone, or never came up; the last call. ``why`` is "" for a clean end."""


class Stream(Protocol):
    """One byte stream: plain TCP or TLS.

    Attributes:
        local: host and port here.
        remote: host and port of the peer.
        secure: the stream is encrypted.
        peer_names: names in the peer's verified certificate (RFC 5922 §7.1).
        peer_certificate: the peer's certificate, verified or not, as DER; empty for none.
        buffered: bytes written that the system has not taken yet.
    """

    local: tuple[str, int]
    remote: tuple[str, int]
    secure: bool
    peer_names: tuple[str, ...]
    peer_certificate: bytes

    @property
    def buffered(self) -> int: ...

    def write(self, data: bytes) -> None:
        """Send, or keep until the peer reads; writes of one turn leave together."""

    def close(self) -> None:
        """Send what is left, then end."""

    def abort(self) -> None:
        """End now; what is left is lost."""

    def pause(self) -> None:
        """Read no more, so that the peer has to wait."""

    def resume(self) -> None:
        """Read again."""


Accept = Callable[[str, int], Receiver | None]  # who will serve this peer; None turns it away


class Datagrams(Protocol):
    """One bound datagram socket.

    Attributes:
        host: the address it is bound to.
        port: the port it is bound to.
    """

    host: str
    port: int

    def send(self, data: bytes, address: Address) -> bool:
        """Send one datagram; False when the system refuses this peer or this size.

        A socket that is busy keeps a few datagrams and drops the rest, as UDP may.
        """

    def close(self) -> Deferred[None]:
        """Receive and send no more; fires when the port is free."""


class Listening(Protocol):
    """One listening stream socket.

    Attributes:
        host: the address it is bound to.
        port: the port it is bound to.
    """

    host: str
    port: int

    def close(self) -> Deferred[None]:
        """Accept no more; accepted streams stay. Fires when the port is free."""


class INetwork(Interface):
    """Where sockets come from."""

    simulated = Attribute("True when no real socket is behind it.")

    def listen_datagram(
        host: str, port: int, received: Received, refused: Refused | None = None
    ) -> Datagrams:
        """Bind a datagram socket; ``port`` 0 takes a free one.

        Args:
            refused: called with each peer of which the network says that a datagram cannot
                reach it, where it says so; never before the sending has returned.

        Raises:
            Unavailable: the address is not ours or in use.
        """

    def listen_stream(
        host: str, port: int, accept: Accept, tls: TlsSettings | None = None
    ) -> Listening:
        """Accept streams; ``port`` 0 takes a free one.

        Raises:
            Unavailable: the address is not ours or in use.
        """

    def connect_stream(
        host: str,
        port: int,
        receiver: Receiver,
        tls: TlsSettings | None = None,
        domain: str = "",
        local_host: str = "",
        timeout: float = 10.0,
    ) -> Callable[[], None]:
        """Open a stream; ``receiver`` hears ``connected`` or ``closed``, never before this returns.

        Args:
            domain: whom the peer's certificate must name (RFC 5922 §7.3); "" means ``host``.
            timeout: seconds for the connection and, under TLS, again for the handshake.

        Returns:
            What gives up the attempt, and aborts the stream when it is up.
        """

    def source_for(host: str) -> str:
        """Return the address here from which ``host`` is reached.

        Raises:
            Unavailable: no route.
        """

    def is_local(host: str) -> bool:
        """Tell whether ``host`` is numeric and may be bound here."""


@implementer(INetwork)
class ReactorNetwork:
    """The real network.

    Args:
        reactor: a Twisted reactor with sockets.
    """

    simulated = False

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._turn = Turn(reactor)
        self._near: dict[Any, DatagramSocket] = {}

    def listen_datagram(
        self, host: str, port: int, received: Received, refused: Refused | None = None
    ) -> Datagrams:
        return DatagramSocket(self._reactor, host, port, received, self._turn, refused, self._near)

    def listen_stream(
        self, host: str, port: int, accept: Accept, tls: TlsSettings | None = None
    ) -> Listening:
        return ReactorListener(self._reactor, self._turn, host, port, accept, tls)

    def connect_stream(
        self,
        host: str,
        port: int,
        receiver: Receiver,
        tls: TlsSettings | None = None,
        domain: str = "",
        local_host: str = "",
        timeout: float = 10.0,
    ) -> Callable[[], None]:
        if not _numeric(host):  # Twisted would ask the system for it, in a thread
            call = self._reactor.callLater(0, receiver.closed, "not an address")
            return lambda: call.reset(0) if call.active() else None
        connector = ReactorConnector(receiver, tls, domain or host)
        connector.connect(self._reactor, self._turn, host, port, local_host, timeout)
        return connector.abort

    def source_for(self, host: str) -> str:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((host, 9))  # chooses a route, sends nothing
                return str(probe.getsockname()[0])
        except OSError as error:
            raise Unavailable(f"no route to {host}: {error}") from error

    def is_local(self, host: str) -> bool:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.bind((host, 0))
        except OSError:
            return False
        return True


def _numeric(host: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    except (OSError, ValueError):
        return False
    return True
