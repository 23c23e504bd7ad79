"""One listening socket each: its name to the outside, and the flows that come by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.internet.defer import Deferred, fail, succeed

from omaim.sip.flow import UDP, Flow
from omaim.sip.front import Front

if TYPE_CHECKING:
    from omaim.net.connection import Connection, Connections
    from omaim.net.network import Datagrams, Listening
    from omaim.net.tls import TlsSettings

FLOWS: Final = 65536  # datagram peers remembered; forgetting one costs a little time, no more


class Path(Protocol):
    """What stands in ``Flow.connection``."""

    def send(self, data: bytes) -> bool:
        """Write one message; False when it cannot be delivered."""


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


class DatagramPaths:
    """The flows over one UDP socket: one per peer, made when first needed.

    Args:
        serial: returns the number of the next flow.

    Attributes:
        ipv6: of which family it is.
        peek: returns the flow to a peer if there is one, by an address as the socket gives it;
            for those who are in a hurry.
    """

    def __init__(self, serial: Callable[[], int]) -> None:
        self.ipv6 = False
        self._serial = serial
        self._host = ""
        self._port = 0
        self._socket: Any = None
        self._front = Front(UDP, "localhost", 0)
        self._flows: dict[Any, Flow] = {}
        self.peek: Callable[[Any], Flow | None] = self._flows.get

    def bind(self, listener: Listener) -> None:
        """Take the socket; nothing works before."""
        self._front = listener.front()
        self._host, self._port, self._socket = listener.host, listener.port, listener.socket
        self.ipv6 = ":" in listener.host

    def is_for(self, host: str, port: int) -> bool:
        """Tell whether this is the socket with that address."""
        return self._host == host and self._port == port

    def to(self, host: str, port: int) -> Flow:
        """Return the flow to a peer."""
        return self.flow((host, port, 0, 0) if self.ipv6 else (host, port))

    def known(self, address: Any) -> Flow | None:
        """Return the flow to a peer, if we have sent something there lately."""
        host, port = address[0], address[1]
        return self._flows.get((host, port, 0, 0) if self.ipv6 else (host, port))

    def flow(self, address: Any) -> Flow:
        """Return the flow to a peer; ``address`` is as the socket gives it."""
        flow = self._flows.get(address)
        if flow is None:
            if len(self._flows) >= FLOWS:
                self._flows.clear()
            path = DatagramPath(self._socket, address)
            flow = Flow(UDP, self._host, self._port, address[0], address[1], path, self._serial())
            flow.front = self._front
            self._flows[address] = flow
        return flow


class DatagramPath:
    """The way to one UDP peer."""

    __slots__ = ("_address", "_send")

    def __init__(self, socket: Any, address: Any) -> None:
        self._send = socket.send
        self._address = address

    def send(self, data: bytes) -> bool:
        return self._send(data, self._address)  # type: ignore[no-any-return]


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
