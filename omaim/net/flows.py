"""Where an endpoint listens, and its flows: one per peer over UDP, one per connection else.

Spec: RFC 3261 §18.1.1, §18.2.1; RFC 5626 §5.2
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from omaim.net.connection import Connections
from omaim.net.ports import Listener, StreamPort, bracketed
from omaim.net.tls import TlsSettings
from omaim.sip.flow import TLS, UDP, Flow
from omaim.sip.front import Front
from omaim.sip.locating import Target, default_port
from omaim.sip.transport import DatagramPaths
from omaim.sip.uri import SipUri

_ANY: Final = {"0.0.0.0": "192.0.2.1", "::": "2001:db8::1"}  # wildcard: somebody outside


class Flows:
    """The listeners and flows of one endpoint.

    Args:
        network: where sockets come from.
        connections: keeps the streams.
        tls: who we are as a TLS client; the first TLS listener's settings when not given.

    Attributes:
        listeners: where the endpoint listens.
        datagrams: the flows of each UDP socket.
        sent_by: what our Vias say; a response whose top Via says something else is not ours.
    """

    def __init__(
        self, network: Any, connections: Connections, tls: TlsSettings | None = None
    ) -> None:
        self.listeners: list[Listener] = []
        self.sent_by: set[str] = set()
        self._network = network
        self._connections = connections
        self._tls = tls
        self.datagrams: list[DatagramPaths] = []
        self._serial = 0

    def listen_datagram(
        self,
        host: str,
        port: int,
        advertise: str,
        receiver: Callable[[DatagramPaths], Callable[[bytes, Any], None]],
        refused: Callable[[Flow], None],
    ) -> Listener:
        """Bind a UDP socket; ``receiver`` makes what takes its datagrams.

        Args:
            refused: called with each flow whose peer cannot be reached.

        Raises:
            Unavailable: the address is not ours or in use.
        """
        paths = DatagramPaths(self._next_serial)

        def unreachable(address: Any) -> None:
            flow = paths.known(address[0], address[1])
            if flow is not None:
                refused(flow)

        socket = self._network.listen_datagram(host, port, receiver(paths), unreachable)
        listener = self._add(UDP, advertise, socket)
        paths.bind(listener.host, listener.port, listener.front(), socket.send)
        self.datagrams.append(paths)
        return listener

    def listen_stream(
        self, transport: str, host: str, port: int, tls: TlsSettings | None, advertise: str
    ) -> Listener:
        """Accept streams.

        Raises:
            Unavailable: the address is not ours or in use.
        """
        settings = (tls or self._tls or TlsSettings()) if transport == TLS else None
        accepting = StreamPort(transport, self._connections, self._next_serial)
        socket = self._network.listen_stream(host, port, accepting.accept, settings)
        self._tls = self._tls or settings
        listener = self._add(transport, advertise, socket)
        accepting.front = listener.front()
        return listener

    def _add(self, transport: str, advertise: str, socket: Any) -> Listener:
        if socket.host in _ANY and not advertise:
            advertise = self._network.source_for(_ANY[socket.host])
        listener = Listener(transport, advertise, socket)
        self.listeners.append(listener)
        self.sent_by.add(listener.sent_by)
        if listener.port == default_port(transport):
            self.sent_by.add(listener.advertised)
        return listener

    def _front(self, transport: str, remote_host: str, local_host: str) -> Front:
        """Return our Via for a connection that we open."""
        alias = transport == TLS and self._tls is not None and bool(self._tls.certificate)
        ipv6 = ":" in remote_host
        alike = [one for one in self.listeners if (":" in one.host) == ipv6] or self.listeners
        for listener in alike:
            if listener.transport == transport:
                return listener.front(alias)
        if alike:
            host = alike[0].advertised
        else:
            host = bracketed(local_host or self._network.source_for(remote_host))
        self.sent_by.add(host)
        return Front(transport, host, 0)

    def stream_to(self, target: Target) -> Flow:
        """Return a connection to ``target``, new or known."""
        domain = target.domain or target.host
        known = self._connections.find(target.transport, target.host, target.port, domain)
        return known or self._connect(target, domain)

    def answering(self, address: tuple[str, int], flow: Flow) -> Flow | None:
        """Return the path for answers to ``address`` by the socket of ``flow``.

        ``None`` when it is ``flow`` itself, or the address is of another family.
        """
        if address == (flow.remote_host, flow.remote_port):
            return None
        for paths in self.datagrams:
            if paths.is_for(flow.local_host, flow.local_port):
                return paths.to(*address) if paths.ipv6 == (":" in address[0]) else None
        return None

    def describe(self, flow: Flow) -> str:
        """Return a text that finds the flow again; guessable, so seal it before it leaves.

        Spec: RFC 5626 §5.2 (flow tokens)
        """
        return (
            f"{flow.transport} {flow.local_host} {flow.local_port} "
            f"{flow.remote_host} {flow.remote_port} {flow.serial}"
        )

    def find(self, text: str) -> Flow | None:
        """Return the flow that :meth:`describe` told of; ``None`` when it is gone."""
        parts = text.split(" ")
        if len(parts) != 6 or not all(part.isdecimal() for part in parts[2::2] + parts[5:]):
            return None
        transport, local, local_port, remote, remote_port, serial = parts
        if transport == UDP:
            for paths in self.datagrams:
                if paths.is_for(local, int(local_port)):
                    return paths.to(remote, int(remote_port))
            return None
        flow = self._connections.by_serial(int(serial))
        if flow is None or (flow.remote_host, flow.remote_port) != (remote, int(remote_port)):
            return None
        return flow

    def owns(self, uri: SipUri) -> bool:
        """Tell whether a URI leads to one of our listeners, as a Route to us does."""
        for listener in self.listeners:
            transport = listener.transport
            if uri.transport.upper() not in ("", transport):
                continue
            if (
                uri.host in (listener.advertised, bracketed(listener.host))
                and (uri.port or default_port(TLS if uri.scheme == "sips" else transport))
                == listener.port
            ):
                return True
        return False

    def _connect(self, target: Target, domain: str) -> Flow:
        tls = None
        if target.transport == TLS:
            tls = self._tls = self._tls or TlsSettings()
        flow = Flow(target.transport, "", 0, target.host, target.port, None, self._next_serial())
        local = ""
        for listener in self.listeners:
            if (":" in listener.host) == (":" in target.host) and listener.host not in _ANY:
                local = listener.host
                break
        front = self._front(target.transport, target.host, local)
        connection = self._connections.add(flow, front, domain if tls else "", True)
        connection.give_up = self._network.connect_stream(
            target.host,
            target.port,
            connection,
            tls,
            domain,
            local,
            self._connections.limits.connect,
        )
        return flow

    def _next_serial(self) -> int:
        self._serial += 1
        return self._serial
