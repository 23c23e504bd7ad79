"""A network without sockets, in virtual time, that loses, delays and cuts as told.

All entities of a test share one :class:`SimulatedNetwork`; what they hold is an ``INetwork``
as in real life. The same seed gives the same run.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable
from typing import Any, Final

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from omaim.errors import Unavailable, UsageError
from omaim.net.network import Accept, INetwork, Received, Receiver, Refused
from omaim.net.tls import NONE, REQUIRED, TlsSettings, names_domain
from omaim.testing.clock import Clock

LARGEST: Final = 65507  # octets in a datagram
WINDOW: Final = 65536  # octets of a stream that are under way or unread
RETRANSMISSION: Final = 0.2  # seconds that a loss costs a stream
PATIENCE: Final = 60.0  # seconds a stream survives a cut

Pair = tuple[str, int]


@attrs.frozen
class Link:
    """How a path treats what it carries; probabilities from 0 to 1, times in seconds."""

    delay: float = 0.001
    jitter: float = 0.0  # up to this much is added at random
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0  # a datagram waits for ten delays, so that later ones overtake it
    split: float = 0.0  # a piece of a stream arrives in two


@implementer(INetwork)
class SimulatedNetwork:
    """The network.

    Args:
        clock: the virtual time it lives in.
        seed: of all that happens by chance.
        link: how paths are unless :meth:`between` says otherwise.

    Attributes:
        datagrams: how many were sent.
        lost: how many of them never arrived.
        icmp: senders hear of ports that are closed.
    """

    simulated = True

    def __init__(self, clock: Clock, seed: int = 0, link: Link | None = None) -> None:
        self.clock = clock
        self.chance = random.Random(seed)
        self.link = link or Link()
        self.datagrams = 0
        self.lost = 0
        self.icmp = False
        self._links: dict[frozenset[str], Link] = {}
        self._cuts: set[frozenset[str]] = set()
        self._sockets: dict[Pair, SimulatedDatagrams] = {}
        self._listeners: dict[Pair, SimulatedListener] = {}
        self._halves: list[_Half] = []
        self._port = 32768

    def between(self, one: str, other: str, link: Link) -> None:
        """Let the path between two addresses be like ``link``."""
        self._links[frozenset((one, other))] = link

    def cut(self, one: str, other: str = "*") -> None:
        """Let nothing pass between two addresses, or between one and all."""
        self._cuts.add(frozenset((one, other)))

    def mend(self, one: str, other: str = "*") -> None:
        """End a cut; streams that are still alive go on."""
        self._cuts.discard(frozenset((one, other)))
        for half in list(self._halves):
            half.pump()

    def reset(self, one: str, other: str = "*") -> None:
        """Break all streams between two addresses, or of one; both ends hear of it at once."""
        for half in list(self._halves):
            ends = {half.source.local[0], half.source.remote[0]}
            if one in ends and (other == "*" or other in ends):
                half.source.lose("Connection was reset")

    def listen_datagram(
        self, host: str, port: int, received: Received, refused: Refused | None = None
    ) -> SimulatedDatagrams:
        local = self._bind(host, port, self._sockets)
        return SimulatedDatagrams(self, local, received, refused)

    def listen_stream(
        self, host: str, port: int, accept: Accept, tls: TlsSettings | None = None
    ) -> SimulatedListener:
        if tls is not None and not tls.certificate:
            raise UsageError("give the TLS listener a certificate and its key")
        local = self._bind(host, port, self._listeners)
        return SimulatedListener(self, local, accept, tls)

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
        stream = SimulatedStream(self, receiver, tls is not None)
        if not self.is_local(host):
            stream.lose("not an address")
            return stream.abort
        stream.local = (local_host or self.source_for(host), self._free())
        stream.remote = (host, port)
        limit = self.clock.callLater(timeout, stream.lose, "the attempt took too long")
        trip = self.delay(stream.local[0], host)
        self.clock.callLater(trip, self._arrive, stream, tls, domain or host, limit)
        return stream.abort

    def source_for(self, host: str) -> str:
        return "::1" if ":" in host else "127.0.0.1"

    def is_local(self, host: str) -> bool:
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return False
        return True

    def is_cut(self, one: str, other: str) -> bool:
        cuts = self._cuts
        return bool(cuts) and (
            frozenset((one, other)) in cuts
            or frozenset((one, "*")) in cuts
            or frozenset((other, "*")) in cuts
        )

    def link_of(self, one: str, other: str) -> Link:
        return self._links.get(frozenset((one, other)), self.link) if self._links else self.link

    def delay(self, one: str, other: str) -> float:
        link = self.link_of(one, other)
        return link.delay + (link.jitter * self.chance.random() if link.jitter else 0.0)

    def send(self, source: Pair, data: bytes, target: Pair) -> None:
        """Carry one datagram, or not."""
        self.datagrams += 1
        link = self.link_of(source[0], target[0])
        chance = self.chance.random
        copies = 2 if link.duplicate and chance() < link.duplicate else 1
        for _ in range(copies):
            if self.is_cut(source[0], target[0]) or (link.loss and chance() < link.loss):
                self.lost += 1
                continue
            trip = self.delay(source[0], target[0])
            if link.reorder and chance() < link.reorder:
                trip += 10 * link.delay
            self.clock.callLater(trip, self._deliver, source, data, target)

    def _deliver(self, source: Pair, data: bytes, target: Pair) -> None:
        receiving = self._sockets.get(target)
        if receiving is None:
            self.lost += 1
            sender = self._sockets.get(source)
            if self.icmp and sender is not None and sender.refused is not None:
                back = self.delay(target[0], source[0])
                self.clock.callLater(back, sender.refused, target)
        else:
            receiving.received(data, source)

    def _arrive(
        self, stream: SimulatedStream, tls: TlsSettings | None, domain: str, limit: Any
    ) -> None:
        """The first packet of a connection reaches the other side."""
        if stream.gone:
            limit.cancel() if limit.active() else None
            return
        if self.is_cut(stream.local[0], stream.remote[0]):
            return  # and so the attempt will take too long
        limit.cancel()
        listener = self._listeners.get(stream.remote)
        if listener is None:
            self.clock.callLater(self.delay(*_hosts(stream)), stream.lose, "Connection was refused")
            return
        receiver = listener.accept(*stream.local)
        if receiver is None:
            self.clock.callLater(self.delay(*_hosts(stream)), stream.lose, "Connection was reset")
            return
        peer = SimulatedStream(self, receiver, listener.tls is not None)
        peer.local, peer.remote = stream.remote, stream.local
        peer.join(stream)
        stream.join(peer)
        why = _handshake(tls, listener.tls, domain, stream, peer)
        if why:
            peer.lose(why)
            return
        peer.begin()
        self.clock.callLater(self.delay(*_hosts(stream)), stream.begin)

    def _bind(self, host: str, port: int, taken: dict[Pair, Any]) -> Pair:
        if not self.is_local(host):
            raise Unavailable(f"cannot listen on {host}: not a numeric address")
        local = (host, port or self._free())
        if local in taken:
            raise Unavailable(f"cannot listen on {host} port {port}: in use")
        return local

    def _free(self) -> int:
        self._port = 32768 + (self._port + 1 - 32768) % 28000
        return self._port


class SimulatedDatagrams:
    """One datagram socket; see ``omaim.net.network.Datagrams``."""

    def __init__(
        self,
        network: SimulatedNetwork,
        local: Pair,
        received: Received,
        refused: Refused | None = None,
    ) -> None:
        self.host, self.port = local
        self.received = received
        self.refused = refused
        self._network = network
        network._sockets[local] = self

    def send(self, data: bytes, address: Any) -> bool:
        if len(data) > LARGEST or not 0 < address[1] < 65536:
            return False
        if (":" in address[0]) != (":" in self.host):
            return False
        self._network.send((self.host, self.port), bytes(data), (address[0], address[1]))
        return True

    def close(self) -> Deferred[None]:
        self._network._sockets.pop((self.host, self.port), None)
        return succeed(None)


class SimulatedListener:
    """One listening stream socket; see ``omaim.net.network.Listening``."""

    def __init__(
        self, network: SimulatedNetwork, local: Pair, accept: Accept, tls: TlsSettings | None
    ) -> None:
        self.host, self.port = local
        self.accept = accept
        self.tls = tls
        self._network = network
        network._listeners[local] = self

    def close(self) -> Deferred[None]:
        self._network._listeners.pop((self.host, self.port), None)
        return succeed(None)


class SimulatedStream:
    """One end of a byte stream; see ``omaim.net.network.Stream``."""

    def __init__(self, network: SimulatedNetwork, receiver: Receiver, secure: bool) -> None:
        self.local: Pair = ("", 0)
        self.remote: Pair = ("", 0)
        self.secure = secure
        self.peer_names: tuple[str, ...] = ()
        self.peer_certificate = b""
        self.network = network
        self.receiver = receiver
        self.up = False
        self.gone = False
        self.paused = False
        self._out: _Half | None = None
        self._peer: SimulatedStream | None = None

    @property
    def buffered(self) -> int:
        return len(self._out.outbox) if self._out is not None else 0

    def write(self, data: bytes) -> None:
        if self._out is not None and not self.gone:
            self._out.write(data)

    def close(self) -> None:
        if self._out is not None and not self.gone:
            self._out.finish()

    def abort(self) -> None:
        self.lose("aborted")

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        if self._peer is not None and self._peer._out is not None:
            self._peer._out.pump()

    def join(self, peer: SimulatedStream) -> None:
        self._peer = peer
        self._out = _Half(self.network, self, peer)

    def begin(self) -> None:
        if not self.gone:
            self.up = True
            self.receiver.connected(self)
            if self._peer is not None and self._peer._out is not None:
                self._peer._out.pump()

    def lose(self, why: str) -> None:
        """The stream breaks: we hear of it at once, the peer a trip later."""
        if self.gone:
            return
        self._end(why)
        peer = self._peer
        if peer is not None and not self.network.is_cut(*_hosts(self)):
            self.network.clock.callLater(
                self.network.delay(*_hosts(self)), peer.lose, "Connection was reset"
            )

    def _end(self, why: str) -> None:
        if not self.gone:
            self.gone, self.up = True, False
            if self._out is not None:
                self._out.stop()
            self.network.clock.callLater(0, self.receiver.closed, why)


class _Half:
    """One direction of a stream: in order, without loss, never more than a window unread."""

    def __init__(
        self, network: SimulatedNetwork, source: SimulatedStream, sink: SimulatedStream
    ) -> None:
        self.outbox = bytearray()
        self.source = source
        self._network = network
        self._sink = sink
        self._arrived: list[bytes | None] = []  # None is the end
        self._under_way = 0
        self._last = 0.0
        self._finished = False
        self._flushing: Any = None
        self._stalled: Any = None
        self._filled = False
        network._halves.append(self)

    def write(self, data: bytes) -> None:
        if not self._finished:
            self.outbox += data
            self._later()

    def finish(self) -> None:
        if not self._finished:
            self._finished = True
            self._later()

    def stop(self) -> None:
        if self in self._network._halves:
            self._network._halves.remove(self)
        for call in (self._flushing, self._stalled):
            if call is not None and call.active():
                call.cancel()
        self.outbox.clear()

    def pump(self) -> None:
        """Move what can move: from the outbox to the wire, from the wire to the reader."""
        if self._network.is_cut(*_hosts(self.source)):
            if self._stalled is None or not self._stalled.active():
                self._stalled = self._network.clock.callLater(
                    PATIENCE, self.source.lose, "Connection timed out"
                )
            return
        if self._stalled is not None and self._stalled.active():
            self._stalled.cancel()
        self._read()
        while self.outbox and self._under_way < WINDOW:
            piece = bytes(self.outbox[: WINDOW - self._under_way])
            link = self._network.link_of(*_hosts(self.source))
            if link.split and len(piece) > 1 and self._network.chance.random() < link.split:
                piece = piece[: self._network.chance.randrange(1, len(piece))]
            del self.outbox[: len(piece)]
            self._under_way += len(piece)
            self._depart(piece)
        if self.outbox:
            self._filled = True
        elif self._filled:
            self._filled = False
            self.source.receiver.drained()
        if self._finished and not self.outbox and not self.source.gone:
            self._depart(None)
            self.source._end("")

    def _later(self) -> None:
        if self._flushing is None or not self._flushing.active():
            self._flushing = self._network.clock.callLater(0, self.pump)

    def _depart(self, piece: bytes | None) -> None:
        link = self._network.link_of(*_hosts(self.source))
        now = self._network.clock.seconds()
        trip = self._network.delay(*_hosts(self.source))
        if link.loss and self._network.chance.random() < link.loss:
            trip += RETRANSMISSION
        self._last = max(self._last, now + trip)
        self._network.clock.callLater(self._last - now, self._arrive, piece)

    def _arrive(self, piece: bytes | None) -> None:
        self._arrived.append(piece)
        self.pump() if not self.source.gone else self._read()

    def _read(self) -> None:
        sink = self._sink
        while self._arrived and sink.up and not sink.paused:
            piece = self._arrived.pop(0)
            if piece is None:
                sink._end("")
                return
            self._under_way -= len(piece)
            sink.receiver.received(piece)


def _hosts(stream: SimulatedStream) -> tuple[str, str]:
    return stream.local[0], stream.remote[0]


def _handshake(
    client: TlsSettings | None,
    server: TlsSettings | None,
    domain: str,
    near: SimulatedStream,
    far: SimulatedStream,
) -> str:
    """Do what TLS would: fill in who the peers are, or return why not."""
    if client is None and server is None:
        return ""
    if client is None or server is None:
        return "the TLS handshake failed"
    near.peer_certificate = _der(server.certificate)
    if client.verify:
        if _trusted(server.certificate, client.trust):
            near.peer_names = server.names()
        elif not client.self_signed:
            return "certificate verify failed"
        if not client.self_signed and not names_domain(near.peer_names, domain):
            return f"the certificate does not name {domain}"
    if server.client_certificates == NONE:
        return ""
    if client.certificate:
        far.peer_certificate = _der(client.certificate)
        if _trusted(client.certificate, server.trust):
            far.peer_names = client.names()
        elif not server.self_signed:
            return "certificate verify failed"
    elif server.client_certificates == REQUIRED:
        return "peer did not return a certificate"
    return ""


def _der(chain: bytes) -> bytes:
    return x509.load_pem_x509_certificates(chain)[0].public_bytes(Encoding.DER)


def _trusted(chain: bytes, trust: bytes) -> bool:
    """Tell whether a chain leads to an authority; dates and constraints are not looked at."""
    authorities = x509.load_pem_x509_certificates(trust) if trust else []
    certificates = x509.load_pem_x509_certificates(chain)
    for certificate in certificates:
        for authority in authorities:
            if certificate == authority:
                return True
            try:
                certificate.verify_directly_issued_by(authority)
            except Exception:
                continue
            return True
    return False


__all__ = ["Clock", "Link", "SimulatedNetwork"]
