"""Byte streams on a reactor: TCP, and TLS over it.

Twisted's transports do the work; here are the limits they leave to us: what a peer that does
not read may make us keep, and who the peer of a TLS stream is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

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

HANDSHAKE: Final = 10.0  # seconds a peer may take over its TLS handshake
LINGER: Final = 10.0  # seconds a peer may take to read what is left after close()
BACKLOG: Final = 1024


@implementer(IHandshakeListener, IPushProducer)
class ReactorStream(Protocol):
    """One TCP or TLS stream; see ``omaim.net.network.Stream``.

    Args:
        reactor: for the time limits on handshake and goodbye.
        receiver: who is told.
        secure: TLS lies below.
        domain: whom a server's certificate must name; "" for accepted streams.
    """

    def __init__(self, reactor: Any, receiver: Receiver, secure: bool, domain: str) -> None:
        self.local: tuple[str, int] = ("", 0)
        self.remote: tuple[str, int] = ("", 0)
        self.secure = secure
        self.peer_names: tuple[str, ...] = ()
        self._reactor = reactor
        self._receiver = receiver
        self._domain = domain
        self._pending: list[bytes] = []
        self._pending_size = 0
        self._full = False
        self._up = False
        self._why = ""
        self._limit: Any = None

    @property
    def buffered(self) -> int:
        return self._pending_size

    def write(self, data: bytes) -> None:
        if self._full:
            self._pending.append(data)
            self._pending_size += len(data)
        else:
            self._wire.write(data)

    def close(self) -> None:
        if self._wire is None:
            return
        self._wire.unregisterProducer()
        self._full = False
        self._release()
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
        if self.secure:
            self._arm(HANDSHAKE)
        else:
            self._wire.setTcpNoDelay(True)
            self._start()

    def handshakeCompleted(self) -> None:
        certificate = self._wire.getPeerCertificate()
        if certificate is not None:
            self.peer_names = identities(certificate.to_cryptography())
        if self._domain and not names_domain(self.peer_names, self._domain):
            self._why = f"the certificate does not name {self._domain}"
            self._wire.abortConnection()
        else:
            self._start()

    def dataReceived(self, data: bytes) -> None:
        if self._up:
            self._receiver.received(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._disarm()
        self._wire = None
        self._pending.clear()
        self._pending_size = 0
        self._receiver.closed(self._why or _plain(reason))

    def pauseProducing(self) -> None:
        """The system takes no more for now."""
        self._full = True

    def resumeProducing(self) -> None:
        """The system has taken all."""
        self._full = False
        self._release()
        if not self._full and self._up:
            self._receiver.drained()

    def stopProducing(self) -> None:
        """The stream is going; ``connectionLost`` follows."""

    _wire: Any = None

    def _start(self) -> None:
        self._disarm()
        self._up = True
        self._wire.registerProducer(self, True)
        self._receiver.connected(self)

    def _release(self) -> None:
        pending, self._pending, self._pending_size = self._pending, [], 0
        if pending:
            self._wire.write(b"".join(pending))

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._limit = self._reactor.callLater(seconds, self._late)

    def _disarm(self) -> None:
        if self._limit is not None and self._limit.active():
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
        self, reactor: Any, host: str, port: int, accept: Accept, tls: TlsSettings | None
    ) -> None:
        factory = _Acceptor(reactor, accept, tls)
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

    def __init__(self, reactor: Any, accept: Accept, tls: TlsSettings | None) -> None:
        self._reactor = reactor
        self._accept = accept
        self._tls = None if tls is None else TLSMemoryBIOFactory(tls.server(), False, self)

    def buildProtocol(self, address: Any) -> Any:
        receiver = self._accept(address.host, address.port)
        if receiver is None:
            return None
        stream = ReactorStream(self._reactor, receiver, self._tls is not None, "")
        return stream if self._tls is None else TLSMemoryBIOProtocol(self._tls, stream)


class ReactorConnector(ClientFactory):
    """One attempt to connect, and the stream that comes of it."""

    noisy = False

    def __init__(self, receiver: Receiver, tls: TlsSettings | None, domain: str) -> None:
        self._receiver = receiver
        self._tls = tls
        self._domain = domain
        self._attempt: Any = None
        self._stream: ReactorStream | None = None

    def connect(self, reactor: Any, host: str, port: int, local_host: str, timeout: float) -> None:
        """Begin; the receiver hears the rest."""
        domain = self._domain if self._tls is not None and self._tls.verify else ""
        self._stream = ReactorStream(reactor, self._receiver, self._tls is not None, domain)
        factory: Any = self
        if self._tls is not None:
            factory = TLSMemoryBIOFactory(self._tls.client(self._domain), True, self)
        bind = (local_host, 0) if local_host else None
        self._attempt = reactor.connectTCP(host, port, factory, timeout, bind)

    def abort(self) -> None:
        """Give up, whatever has been reached."""
        if self._attempt is not None and self._attempt.state == "connecting":
            self._attempt.stopConnecting()
        elif self._stream is not None:
            self._stream.abort()

    def buildProtocol(self, address: Any) -> ReactorStream | None:
        return self._stream

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        self._receiver.closed(_plain(reason))


def _pair(address: IPv4Address | IPv6Address) -> tuple[str, int]:
    return address.host, address.port


def _plain(reason: Failure) -> str:
    """Return one line for the log; "" for an ordinary end."""
    if isinstance(reason.value, ConnectionDone):
        return ""
    return " ".join(str(reason.value).split())[:200] or type(reason.value).__name__
