"""Byte streams on a reactor: TCP, and TLS over it.

Twisted's transports do the work; here is what they leave to us: writes of one turn leave
together and at once, what a peer that does not read makes us keep is counted, and the peer of
a TLS stream is verified.
"""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.interfaces import IHandshakeListener, IPushProducer
from twisted.internet.protocol import ClientFactory, Factory, Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from omaim.errors import Unavailable
from omaim.net.tls import TlsSettings, identities, names_domain

if TYPE_CHECKING:
    from omaim.net.network import Accept, Receiver

DOUBT: Final = 0.5  # seconds in which what has come in time is read, however busy we are
HANDSHAKE: Final = 10.0  # seconds a peer may take over its TLS handshake
LINGER: Final = 10.0  # seconds a peer may take to read what is left after close()
BACKLOG: Final = 1024
ROUNDS: Final = 8  # of passing on in one turn: a message through an IM Server takes five
MOST_A_TURN: Final = 65536  # octets kept for the end of the turn; with more, it is now
SLICE: Final = 262_144  # octets handed over at once, so that it shows how much a slow peer takes


class TimeLimit:
    """Calls ``act`` when a peer had its time, and what it did meanwhile has been seen.

    After much work a reactor looks at its timers before it looks at its sockets; so it is let
    through once more before the time is over.

    Args:
        reactor: what counts.
        seconds: how long the peer may take.
        act: called at the end.
    """

    __slots__ = ("_act", "_call", "_reactor")

    def __init__(self, reactor: Any, seconds: float, act: Callable[[], None]) -> None:
        self._act = act
        self._reactor = reactor
        self._call = reactor.callLater(max(0.0, seconds - DOUBT), self._over)

    def cancel(self) -> None:
        """It was in time."""
        if self._call.active():
            self._call.cancel()

    def _over(self) -> None:
        self._call = self._reactor.callLater(DOUBT, self._act)


class Flushed(typing.Protocol):
    """What has something to pass on at the end of a turn."""

    def flush(self) -> None:
        """Pass it on."""


class Turn:
    """What was written to, on one network, in this turn of the reactor.

    A read that brings forty requests ends in one write per peer, without waiting for the
    reactor to say that the peer can be written to: it nearly always can.
    """

    __slots__ = ("_depth", "_reactor", "_scheduled", "_written")

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._written: list[Flushed] = []
        self._depth = 0
        self._scheduled = False

    def begin(self) -> None:
        """Something is being read."""
        self._depth += 1

    def end(self) -> None:
        """It has been dealt with."""
        self._depth -= 1
        if self._written and not self._depth:
            self._flush()

    def note(self, written: Flushed) -> None:
        """``written`` has something to pass on."""
        self._written.append(written)
        if not self._depth:
            self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._reactor.callLater(0, self._late)

    def _late(self) -> None:
        self._scheduled = False
        self._flush()

    def _flush(self) -> None:
        """Pass on what was written, and what is written because of that; but not for ever."""
        self._depth += 1
        try:
            for _ in range(ROUNDS):
                written, self._written = self._written, []
                for one in written:
                    one.flush()
                if not self._written:
                    break
        finally:
            self._depth -= 1
            if self._written:
                self._schedule()


@implementer(IHandshakeListener, IPushProducer)
class ReactorStream(Protocol):
    """One TCP or TLS stream; see ``omaim.net.network.Stream``.

    Args:
        reactor: for the time limits on handshake and goodbye.
        turn: of the network.
        receiver: who is told.
        secure: TLS lies below.
        domain: whom a server's certificate must name; "" for accepted streams.

    Attributes:
        stranger: no authority vouches for the peer's certificate; told during the handshake.
    """

    def __init__(
        self, reactor: Any, turn: Turn, receiver: Receiver, secure: bool, domain: str
    ) -> None:
        self.local: tuple[str, int] = ("", 0)
        self.remote: tuple[str, int] = ("", 0)
        self.secure = secure
        self.peer_names: tuple[str, ...] = ()
        self.peer_certificate = b""
        self.stranger = False
        self._reactor = reactor
        self._turn = turn
        self._receiver = receiver
        self._domain = domain
        self._wire: Any = None  # Twisted's transport, while there is one
        self._out: list[bytes] = []
        self._size = 0  # octets in there
        self._handed = 0  # octets that the transport has from us, to send when it can
        self._noted = False
        self._full = False
        self._up = False
        self._closing = False
        self._why = ""
        self._limit: TimeLimit | None = None

    @property
    def buffered(self) -> int:
        return self._size + self._handed

    def write(self, data: bytes) -> None:
        if self._wire is None or self._closing:
            return
        self._out.append(data)
        self._size += len(data)
        if self._full:
            return
        if self._size > MOST_A_TURN:
            self.flush()
        elif not self._noted:
            self._noted = True
            self._turn.note(self)

    def flush(self) -> None:
        """Send what was written, as far as the system takes it."""
        self._noted = False
        while self._out and not self._full and self._wire is not None:
            data = self._take(SLICE)
            if self.secure:
                self._wire.write(data)
                continue
            try:
                sent = self._wire.socket.send(data)
            except OSError:
                sent = 0  # busy, or broken: the transport will find out
            if sent < len(data):
                self._full = True
                self._hand_over(data[sent:])
                self._wire.registerProducer(self, False)

    def close(self) -> None:
        if self._wire is None or self._closing:
            return
        self.flush()
        self._closing = True
        self._wire.unregisterProducer()
        if self._out:
            self._wire.write(self._take(self._size))
        self._wire.loseConnection()
        self._arm(LINGER)

    def abort(self) -> None:
        if self._wire is not None:
            self._wire.abortConnection()

    def pause(self) -> None:
        if self._wire is not None:
            self._wire.pauseProducing()

    def resume(self) -> None:
        if self._wire is not None:
            self._wire.resumeProducing()

    def connectionMade(self) -> None:
        self._wire = self.transport
        self.local, self.remote = _pair(self._wire.getHost()), _pair(self._wire.getPeer())
        self._wire.setTcpKeepAlive(True)
        self._wire.setTcpNoDelay(True)
        if self.secure:
            self._arm(HANDSHAKE)
        else:
            self._start()

    def handshakeCompleted(self) -> None:
        certificate = self._wire.getPeerCertificate()
        if certificate is not None:
            self.peer_certificate = certificate.to_cryptography().public_bytes(Encoding.DER)
            if not self.stranger:
                self.peer_names = identities(certificate.to_cryptography())
        if self._domain and not names_domain(self.peer_names, self._domain):
            self._why = f"the certificate does not name {self._domain}"
            self._wire.abortConnection()
        else:
            self._wire.registerProducer(self, True)
            self._start()

    def dataReceived(self, data: bytes) -> None:
        if self._up:
            turn = self._turn
            turn.begin()
            try:
                self._receiver.received(data)
            finally:
                turn.end()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._disarm()
        self._wire = None
        self._out.clear()
        self._size = self._handed = 0
        self._receiver.closed(self._why or _plain(reason))

    def pauseProducing(self) -> None:
        """The system takes no more for now (TLS only; for TCP we know by ourselves)."""
        self._full = True

    def resumeProducing(self) -> None:
        """The transport has nothing left; also called once when we hand something over."""
        if self._closing or self._wire is None:
            return
        if self._handed and not self.secure and self._first:
            self._first = False
            return
        self._handed = 0
        if self._out and not self.secure:
            self._hand_over(self._take(SLICE))
            self._first = False
            return
        self._full = False
        if not self.secure:
            self._wire.unregisterProducer()
        self.flush()
        if not self._full and self._up:
            self._receiver.drained()

    def stopProducing(self) -> None:
        """The stream is going; ``connectionLost`` follows."""

    _first = False  # the call that registerProducer makes at once is still to come

    def _start(self) -> None:
        self._disarm()
        self._up = True
        self._receiver.connected(self)

    def _take(self, most: int) -> bytes:
        """Return what was written first, whole pieces, and forget it."""
        out = self._out
        if self._size <= most or len(out) == 1:
            self._out, self._size = [], 0
            return out[0] if len(out) == 1 else b"".join(out)
        size = count = 0
        while size < most:
            size += len(out[count])
            count += 1
        data = b"".join(out[:count])
        del out[:count]
        self._size -= size
        return data

    def _hand_over(self, data: bytes) -> None:
        self._handed = len(data)
        self._first = True
        self._wire.write(data)

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._limit = TimeLimit(self._reactor, seconds, self._late)

    def _disarm(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
        self._limit = None

    def _late(self) -> None:
        self._why = self._why or "the peer took too long"
        self.abort()


class ReactorListener:
    """One listening socket.

    Raises:
        Unavailable: the address is not ours or in use.
    """

    def __init__(
        self,
        reactor: Any,
        turn: Turn,
        host: str,
        port: int,
        accept: Accept,
        tls: TlsSettings | None,
    ) -> None:
        factory = _Acceptor(reactor, turn, accept, tls)
        try:
            self._port = reactor.listenTCP(port, factory, backlog=BACKLOG, interface=host)
        except CannotListenError as error:
            raise Unavailable(
                f"cannot listen on TCP {host} port {port}: {error.socketError}"
            ) from error
        self.host, self.port = _pair(self._port.getHost())

    def close(self) -> Deferred[None]:
        return maybeDeferred(self._port.stopListening)


class _Acceptor(Factory):
    noisy = False

    def __init__(self, reactor: Any, turn: Turn, accept: Accept, tls: TlsSettings | None) -> None:
        self._reactor = reactor
        self._turn = turn
        self._accept = accept
        self._tls = None if tls is None else TLSMemoryBIOFactory(tls.server(), False, self)

    def buildProtocol(self, address: Any) -> Any:
        receiver = self._accept(address.host, address.port)
        if receiver is None:
            return None
        stream = ReactorStream(self._reactor, self._turn, receiver, self._tls is not None, "")
        return stream if self._tls is None else TLSMemoryBIOProtocol(self._tls, stream)


class ReactorConnector(ClientFactory):
    """One attempt to connect, and the stream that comes of it."""

    noisy = False

    def __init__(self, receiver: Receiver, tls: TlsSettings | None, domain: str) -> None:
        self._receiver = receiver
        self._tls = tls
        self._domain = domain
        self._attempt: Any = None
        self._limit: TimeLimit | None = None
        self._late = False
        self._stream: ReactorStream | None = None

    def connect(
        self, reactor: Any, turn: Turn, host: str, port: int, local_host: str, timeout: float
    ) -> None:
        """Begin; the receiver hears the rest."""
        tls = self._tls
        named = tls is not None and tls.verify and not tls.self_signed
        domain = self._domain if named else ""
        self._stream = ReactorStream(reactor, turn, self._receiver, self._tls is not None, domain)
        factory: Any = self
        if self._tls is not None:
            factory = TLSMemoryBIOFactory(self._tls.client(self._domain), True, self)
        bind = (local_host, 0) if local_host else None
        self._attempt = reactor.connectTCP(host, port, factory, None, bind)
        self._limit = TimeLimit(reactor, timeout, self._give_up)

    def abort(self) -> None:
        """Give up, whatever has been reached."""
        if self._attempt is not None and self._attempt.state == "connecting":
            self._attempt.stopConnecting()
        elif self._stream is not None:
            self._stream.abort()

    def buildProtocol(self, address: Any) -> ReactorStream | None:
        self._disarm()
        return self._stream

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        self._disarm()
        self._receiver.closed("the attempt took too long" if self._late else _plain(reason))

    def _give_up(self) -> None:
        if self._attempt is not None and self._attempt.state == "connecting":
            self._late = True
            self._attempt.stopConnecting()

    def _disarm(self) -> None:
        if self._limit is not None:
            self._limit.cancel()


def _pair(address: IPv4Address | IPv6Address) -> tuple[str, int]:
    return address.host, address.port


def _plain(reason: Failure) -> str:
    """Return one line for the log; "" for an ordinary end."""
    if isinstance(reason.value, ConnectionDone):
        return ""
    return " ".join(str(reason.value).split())[:200] or type(reason.value).__name__
