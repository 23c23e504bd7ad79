"""Where an endpoint listens, and the paths by which its answers go back.

Spec: RFC 3261 §18.2; RFC 3581 §4
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.internet.defer import Deferred

from omaim.sip.flow import TCP, TLS, UDP, Flow
from omaim.sip.locating import default_port, is_numeric

if TYPE_CHECKING:
    from omaim.net.connection import Connection, Connections
    from omaim.net.network import Datagrams, Listening
    from omaim.sip.headers import Via
    from omaim.sip.message import Request

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
        sent_by: what our Via says: the advertised host and the port, IPv6 in brackets.
        advertised: the host of ``sent_by``.
    """

    def __init__(self, transport: str, advertise: str, socket: Datagrams | Listening) -> None:
        self.transport = transport
        self.host = socket.host
        self.port = socket.port
        self.advertised = bracketed(advertise or socket.host)
        self.sent_by = f"{self.advertised}:{socket.port}"
        self.socket = socket

    def close(self) -> Deferred[None]:
        """Listen no more."""
        return self.socket.close()


class DatagramPaths:
    """The flows over one UDP socket: one per peer, made when first needed.

    Args:
        listener: the socket.
        serial: returns the number of the next flow.
    """

    def __init__(self, listener: Listener, serial: Callable[[], int]) -> None:
        self.listener = listener
        self.ipv6 = ":" in listener.host
        self._serial = serial
        self._flows: dict[Any, Flow] = {}

    def flow(self, address: Any) -> Flow:
        """Return the flow to a peer; ``address`` is as the socket gives it."""
        flow = self._flows.get(address)
        if flow is None:
            if len(self._flows) >= FLOWS:
                self._flows.clear()
            listener = self.listener
            path = DatagramPath(listener.socket, address)
            flow = Flow(
                UDP,
                listener.host,
                listener.port,
                address[0],
                address[1],
                path,
                self._serial(),
            )
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
    """One listening stream socket: makes a connection of each stream that arrives."""

    def __init__(self, transport: str, connections: Connections, serial: Callable[[], int]) -> None:
        self._transport = transport
        self._connections = connections
        self._serial = serial

    def accept(self, host: str, port: int) -> Connection | None:
        """Return who serves a new stream; see ``omaim.net.network.Accept``."""
        flow = Flow(self._transport, "", 0, host, port, None, self._serial())
        return self._connections.accept(flow)


def stamp(request: Request, flow: Flow) -> None:
    """Write into the top Via where the request really came from.

    What a sender claims in "received" is never believed.

    Raises:
        PeerError: the Via is missing or broken.

    Spec: RFC 3261 §18.2.1; RFC 3581 §4
    """
    via = request.via
    source = flow.remote_host
    asked = via.rport >= 0
    if asked or via.host.strip("[]") != source or via.params.has("received"):
        if asked:
            via = via.with_param("rport", str(flow.remote_port))
        via = via.with_param("received", source)
        request.remove_first("Via")
        request.prepend("Via", str(via))


def answer_address(via: Via, flow: Flow) -> tuple[str, int]:
    """Return where answers to a request over UDP go; ``via`` is as it came.

    Spec: RFC 3261 §18.2.2; RFC 3581 §4
    """
    maddr = via.maddr.strip("[]")
    if maddr and is_numeric(maddr):
        return maddr, via.port or default_port(UDP)
    if via.rport >= 0:
        return flow.remote_host, flow.remote_port
    return flow.remote_host, via.port or default_port(UDP)


def bracketed(host: str) -> str:
    """Return ``host`` as it stands in URIs and Vias: IPv6 in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


__all__ = [
    "TCP",
    "TLS",
    "DatagramPath",
    "DatagramPaths",
    "Listener",
    "Path",
    "StreamPort",
    "answer_address",
    "bracketed",
    "stamp",
]
