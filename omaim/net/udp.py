"""Datagrams on a reactor: a socket that is emptied in one go, when there is much in it.

What one socket of a network sends to another of the same network need not pass through the
system: entities in one process hand each other their messages, octet for octet.

Twisted's own UDP port costs a third more per datagram; this one is a bare descriptor. Errors that
the network reports have peers' addresses: see :mod:`omaim.net.icmp`. A reactor takes them for the
end of the descriptor, or for something to be read; both ways they are read and the socket goes on.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from errno import EINTR, ENOBUFS
from typing import Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IHalfCloseableDescriptor,
    IReadDescriptor,
    IWriteDescriptor,
)
from twisted.logger import Logger
from zope.interface import implementer

from omaim.errors import Unavailable
from omaim.net.icmp import ask_for_errors, read_errors
from omaim.net.stream import Turn

BATCH: Final = 64  # datagrams taken before other descriptors have their turn
SPARSE: Final = 16  # turns in which a datagram is taken to be the only one, once one was
LARGEST: Final = 65535
SYSTEM_BUFFER: Final = 4 * 1024 * 1024  # octets asked of the kernel, which may give less
QUEUE: Final = 512  # datagrams kept while the socket takes no more
NEAR: Final = 4096  # datagrams kept from sockets of the same network, until the end of the turn
MOST: Final = 65507  # octets in a datagram
_ANY: Final = frozenset({"0.0.0.0", "::"})

_log = Logger()


@implementer(IReadDescriptor, IWriteDescriptor, IHalfCloseableDescriptor)
class DatagramSocket:
    """One bound UDP socket, IPv4 or IPv6.

    Args:
        reactor: where to wait for datagrams.
        host: numeric address to bind, IPv6 without brackets.
        port: port to bind, 0 for a free one.
        received: called with each datagram and its source; what it raises is logged.
        refused: called with the address of a peer that cannot be reached, in a later turn than
            the sending.
        turn: of the network, whose streams may be written to meanwhile.
        near: the sockets of the network by address; this one adds itself. It stays out when it
            is bound to all addresses, as nobody knows then by which one it sends.

    Raises:
        Unavailable: the address is not ours or in use.
    """

    def __init__(
        self,
        reactor: Any,
        host: str,
        port: int,
        received: Callable[[bytes, Any], None],
        turn: Turn | None = None,
        refused: Callable[[Any], None] | None = None,
        near: dict[Any, DatagramSocket] | None = None,
    ) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                self._socket.setsockopt(socket.SOL_SOCKET, option, SYSTEM_BUFFER)
            if family == socket.AF_INET6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            self._socket.bind((host, port))
        except (OSError, OverflowError) as error:
            self._socket.close()
            raise Unavailable(f"cannot listen on UDP {host} port {port}: {error}") from error
        self.host: str = self._socket.getsockname()[0]
        self.port: int = self._socket.getsockname()[1]
        self._reactor = reactor
        self._received = received
        self._refused = refused
        self._errors = refused is not None and ask_for_errors(self._socket)
        self._turn = turn or Turn(reactor)
        self._waiting: deque[tuple[bytes, Any]] = deque()
        self._arrived: deque[tuple[bytes, Any]] = deque()  # from sockets of the same network
        self._address = self._socket.getsockname()
        self._near: dict[Any, DatagramSocket] = {}
        if near is not None and self.host not in _ANY:
            self._near = near
            near[self._address] = self
        self._closed = False
        self._sparse = 0  # turns in which we do not look for a second datagram
        reactor.addReader(self)

    def send(self, data: bytes, address: Any) -> bool:
        if self._closed:
            return False
        peer = self._near.get(address)
        if peer is not None and len(data) <= MOST:
            peer.hand(data, self._address)
            return True
        if self._waiting:
            return self._wait(data, address)
        try:
            self._socket.sendto(data, address)
        except BlockingIOError:
            return self._wait(data, address)
        except (OSError, OverflowError) as error:
            if self._errors and self._take_errors():
                return self._again(data, address)  # it was about an earlier datagram
            return _is_loss(error)
        return True

    def close(self) -> Deferred[None]:
        if not self._closed:
            self._closed = True
            if self._near.get(self._address) is self:
                del self._near[self._address]
            self._arrived.clear()
            self._reactor.removeReader(self)
            self._reactor.removeWriter(self)
            self._waiting.clear()
            self._socket.close()
        return succeed(None)

    def _again(self, data: bytes, address: Any) -> bool:
        try:
            self._socket.sendto(data, address)
        except BlockingIOError:
            return self._wait(data, address)
        except OSError as error:
            return _is_loss(error)
        return True

    def hand(self, data: bytes, source: Any) -> None:
        """Take a datagram from a socket of the same network; it is served later in the turn."""
        if not self._arrived:
            self._turn.note(self)
        if len(self._arrived) < NEAR:
            self._arrived.append((data, source))

    def flush(self) -> None:
        """Serve what was handed over until now."""
        for _ in range(len(self._arrived)):
            if not self._arrived:
                return  # closed meanwhile
            data, source = self._arrived.popleft()
            self._serve(data, source)
        if self._arrived:
            self._turn.note(self)

    def _serve(self, data: bytes, source: Any) -> None:
        try:
            self._received(data, source)
        except Exception:
            _log.failure("A datagram was not served")

    def _wait(self, data: bytes, address: Any) -> bool:
        if len(self._waiting) < QUEUE:
            self._waiting.append((data, address))
            self._reactor.addWriter(self)
        return True

    def doRead(self) -> None:
        """Take what is there.

        To find out that there is no more costs nearly as much as to find a datagram. So where
        they come one by one they are taken so; now and then we look whether it still is so.
        """
        receive, received, turn = self._socket.recvfrom, self._received, self._turn
        most = BATCH
        if self._sparse:
            self._sparse -= 1
            most = 1
        turn.begin()
        try:
            for taken in range(most):
                try:
                    data, address = receive(LARGEST)
                except BlockingIOError:
                    if taken == 1:
                        self._sparse = SPARSE
                    if not taken and self._errors:
                        self._take_errors()  # what else woke us
                    return
                except OSError:
                    if self._errors:
                        self._take_errors()
                    continue  # about an earlier datagram
                try:
                    received(data, address)
                except Exception:
                    _log.failure("A datagram was not served")
                if self._closed:
                    return
        finally:
            turn.end()

    def doWrite(self) -> None:
        for _ in range(BATCH):
            if not self._waiting:
                self._reactor.removeWriter(self)
                return
            data, address = self._waiting[0]
            try:
                self._socket.sendto(data, address)
            except BlockingIOError:
                return
            except OSError:
                if self._errors:
                    self._take_errors()  # lost, as datagrams may be
            self._waiting.popleft()

    def _take_errors(self) -> bool:
        """Read what the network reported; tell whether there was something."""
        found = read_errors(self._socket)
        refused = self._refused
        if refused is not None:
            for address in found:
                self._reactor.callLater(0, refused, address)
        return bool(found)

    def readConnectionLost(self, reason: object) -> None:
        """The reactor sees an error and has let go of us: there are some to be read."""
        if not self._closed:
            self._take_errors()
            self._reactor.addReader(self)

    def writeConnectionLost(self, reason: object) -> None:
        """See :meth:`readConnectionLost`."""

    def fileno(self) -> int:
        return self._socket.fileno()

    def connectionLost(self, reason: object) -> None:
        self.close()

    def logPrefix(self) -> str:
        return "UDP"


def _is_loss(error: Exception) -> bool:
    """Tell a full queue in the kernel, which is loss as UDP may have, from what is this peer's."""
    return getattr(error, "errno", 0) in (ENOBUFS, EINTR)
