"""One listening socket each: its name to the outside, and the flows that come by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, fail, succeed

from omaim.sip.flow import Flow
from omaim.sip.front import Front

if TYPE_CHECKING:
    from omaim.net.connection import Connection, Connections
    from omaim.net.network import Datagrams, Listening
    from omaim.net.tls import TlsSettings


class Listener:
    """One place where an endpoint listens.

    Attributes:
        transport: "UDP", "TCP" or "TLS".
        host: the address it is bound to, IPv6 without brackets.
        port: the port it is bound to.
        advertised: the host that our Via and URIs name, IPv6 in brackets.
        sent_by: the same with the port.
    """

    def __init__(self, transport: str, advertise: str, socket: Datagrams | Listening) -> None:
        self.transport = transport
        self.host = socket.host
        self.port = socket.port
        self.advertised = bracketed(advertise or socket.host).lower()
        self.sent_by = f"{self.advertised}:{socket.port}"
        self.socket = socket

    def front(self, alias: bool = False) -> Front:
        """Return our Via for requests from here."""
        return Front(self.transport, self.advertised, self.port, alias)

    def close(self) -> Deferred[None]:
        """Listen no more."""
        return self.socket.close()


class Listens:
    """Who listens at addresses, as endpoints do."""

    def listen(
        self,
        transport: str,
        host: str,
        port: int = 0,
        tls: TlsSettings | None = None,
        advertise: str = "",
    ) -> Deferred[Listener]:
        """Receive at an address.

        Args:
            transport: "TCP" or "TLS", or "UDP" for SIP.
            host: numeric address to bind.
            port: 0 takes a free one.
            tls: who we are, for TLS. With ``self_signed``, clients known by their fingerprint
                come in as well.
            advertise: the host that Via and URIs name instead of ``host``; for a wildcard,
                the address that leads outside when not given.

        Returns:
            the listener; it fails with Unavailable when the address cannot be had.
        """
        try:
            return succeed(self._listen(transport.upper(), host, port, tls, advertise))
        except Exception:
            return fail()

    def _listen(
        self, transport: str, host: str, port: int, tls: TlsSettings | None, advertise: str
    ) -> Listener:
        raise NotImplementedError


class StreamPort:
    """One listening stream socket: makes a connection of each stream that arrives.

    Attributes:
        front: our Via for requests by these connections; set once the port is known.
    """

    def __init__(self, transport: str, connections: Connections, serial: Callable[[], int]) -> None:
        self.front = Front(transport, "localhost", 0)
        self._transport = transport
        self._connections = connections
        self._serial = serial

    def accept(self, host: str, port: int) -> Connection | None:
        """Return who serves a new stream; see ``omaim.net.network.Accept``."""
        flow = Flow(self._transport, "", 0, host, port, None, self._serial())
        return self._connections.accept(flow, self.front)


def bracketed(host: str) -> str:
    """Return ``host`` as it stands in URIs and Vias: IPv6 in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
