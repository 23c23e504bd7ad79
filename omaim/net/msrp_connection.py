"""One MSRP connection: from the sockets to a channel and back.

Spec: RFC 4975 §5.4, §14.4
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from omaim.msrp.channel import Channel, Line
from omaim.msrp.session import Session
from omaim.net.fingerprint import matches
from omaim.net.tls import names_host
from omaim.net.wire import IN, OUT, WireRecord

if TYPE_CHECKING:
    from omaim.msrp.uri import MsrpUri
    from omaim.net.msrp import MsrpEndpoint
    from omaim.net.network import Stream

_log = Logger()


class Served(Protocol):
    """What lives on a connection: a :class:`Channel`, or a relay's machine."""

    def received(self, data: bytes) -> None: ...

    def go_on(self) -> None: ...

    def drained(self) -> None: ...

    def lost(self, why: str) -> None: ...


@attrs.frozen
class Hop:
    """Where a connection leads; those for the same hop share one.

    Spec: RFC 4975 §5.4
    """

    host: str  # as in the URI, or the address to use instead (RFC 6714), lower case
    port: int  # 0 for a relay that the DNS knows (RFC 4976 §8)
    secure: bool
    domain: str = ""  # whom the certificate must name
    fingerprints: tuple[str, ...] = ()  # or what it must be
    ours: bool = False  # our own relay, not what a peer has named


class MsrpConnection:
    """One stream. Is a ``Receiver`` of the network.

    Attributes:
        served: what lives on it, once it is up.
        host: of the peer.
        hop: where it leads; ``None`` for an accepted one.
        stream: the stream, while there is one.
        give_up: ends the attempt to connect.
        over: it carries nothing any more.
    """

    __slots__ = (
        "_expected",
        "_next",
        "_owner",
        "_trying",
        "_waiting",
        "channel",
        "give_up",
        "gone",
        "hop",
        "host",
        "over",
        "served",
        "stream",
    )

    def __init__(self, owner: MsrpEndpoint, host: str, hop: Hop | None) -> None:
        self.host = host
        self.hop = hop
        self.served: Served | None = None
        self.channel: Channel | None = None
        self.stream: Stream | None = None
        self.give_up: Callable[[], None] | None = None
        self.over = False
        self.gone: Deferred[None] = Deferred()
        self._owner = owner
        self._waiting: list[tuple[Session, bool]] = []
        self._next: Callable[[str], bool] | None = None
        self._expected: list[Callable[[str], object]] = []
        self._trying = ""  # address that is being connected to

    def when_up(self, act: Callable[[str], object]) -> None:
        """Call ``act`` with "" as soon as it is up, or with the reason why it never will be."""
        if self.over:
            act("the connection ended")
        elif self.served is not None:
            act("")
        else:
            self._expected.append(act)

    def carry(self, session: Session, active: bool) -> None:
        """Let a session have this connection, as soon as it is up."""
        if self.over:
            self._owner.guarded(session.lost, "the connection ended")
        elif self.channel is not None:
            self._owner.guarded(self.channel.bind, session, active)
        else:
            self._waiting.append((session, active))

    def attempt(self, again: Callable[[str], bool], host: str) -> None:
        """Call ``again`` when the connection does not come up: it tells whether it tries on.

        Args:
            host: address that is being connected to.
        """
        self._next = again
        self._trying = host

    def _settle(self) -> None:
        """It has come up, or failed."""
        host, self._trying = self._trying, ""
        if host:
            self._owner.settled(host)

    def line(self) -> Line:
        """Return what a channel, or a relay's machine, needs of this connection."""
        stream = self.stream
        assert stream is not None
        return Line(
            self.write,
            partial(_buffered, stream),
            stream.pause,
            stream.resume,
            self.close,
            self.abort,
        )

    def write(self, data: bytes) -> None:
        """Send octets."""
        stream = self.stream
        if stream is not None:
            stream.write(data)
            if self._owner.wire.record is not None:
                self.show(OUT, data)

    def show(self, direction: str, data: bytes) -> None:
        """Show octets to whoever watches: a frame, or a piece of a large one."""
        record = self._owner.wire.record
        stream = self.stream
        if record is not None and stream is not None:
            transport = "TLS" if stream.secure else "TCP"
            owner = self._owner
            local, remote = stream.local, stream.remote
            record(
                WireRecord(
                    owner.wall(), owner.name, direction, "MSRP", transport, local, remote, data
                )
            )

    def watch(self, data: bytes) -> None:
        """Show octets that have come."""
        if self._owner.wire.record is not None:
            self.show(IN, data)

    def find(self, uri: MsrpUri) -> Session | None:
        """Return the session with a URI, if this connection may have it."""
        session = self._owner.find(uri)
        stream = self.stream
        if session is None or stream is None or session.uri.secure != stream.secure:
            return None
        if session.fingerprints and not matches(stream.peer_certificate, session.fingerprints):
            self._owner.count("wrong_certificate")
            self._owner.guarded(session.lost, "the peer's certificate has another fingerprint")
            return None
        if session.mutual and self._is_stranger(session, stream):
            self._owner.count("wrong_certificate")
            return None  # and nobody hears that there is such a session
        return session

    def _is_stranger(self, session: Session, stream: Stream) -> bool:
        """Tell whether a connection cannot be that of a session's peer.

        Before the peer's path is known, it only has to be somebody whom an authority knows.
        """
        if not self._owner.verifies:
            return False
        if not stream.peer_names:
            return True
        path = session.remote_path
        return bool(path) and not names_host(stream.peer_certificate, path[0].bare_host)

    def close(self, why: str) -> None:
        """End it when all has been sent."""
        if self.stream is not None:
            self.stream.close()
        elif self.give_up is not None:
            self.give_up()
        self._lose(why)

    def abort(self, why: str) -> None:
        """End it at once."""
        stream, give_up = self.stream, self.give_up
        self._lose(why)
        if stream is not None:
            stream.abort()
        elif give_up is not None:
            give_up()

    def connected(self, stream: Stream) -> None:
        self._settle()
        if self.over:
            stream.abort()
            return
        self.stream = stream
        self._next = None
        hop = self.hop
        if hop is not None and hop.secure:
            why = self._mistrust(stream, hop)
            if why:
                self._owner.count("wrong_certificate")
                self.abort(why)
                return
        self._owner.guarded(self._serve)

    def received(self, data: bytes) -> None:
        served = self.served
        if served is None:
            return
        act: Callable[[], None] = partial(served.received, data)
        while True:
            try:
                act()
            except Exception:
                self._owner.crashed()
                act = served.go_on
            else:
                break

    def drained(self) -> None:
        if self.served is not None:
            self._owner.guarded(self.served.drained)

    def closed(self, why: str) -> None:
        self._settle()
        again, self._next = self._next, None
        if not self.over and again is not None and again(why):
            return
        self._lose(why or "closed by the peer")
        self.stream = None
        if not self.gone.called:
            self.gone.callback(None)

    def _serve(self) -> None:
        channel = self._owner.serve(self)
        self.served = channel
        if isinstance(channel, Channel):
            self.channel = channel
        waiting, self._waiting = self._waiting, []
        for session, active in waiting:
            self.carry(session, active)
        self._tell("")

    def _tell(self, why: str) -> None:
        expected, self._expected = self._expected, []
        for act in expected:
            self._owner.guarded(act, why)

    def _mistrust(self, stream: Stream, hop: Hop) -> str:
        """Return why the peer of a connection of ours is not the right one; "" if it is.

        Spec: RFC 4975 §5.4, §14.4
        """
        if hop.fingerprints:
            if not matches(stream.peer_certificate, hop.fingerprints):
                return "the peer's certificate has another fingerprint"
        elif self._owner.verifies:
            if not stream.peer_names:
                return "no authority vouches for the peer"
            if not names_host(stream.peer_certificate, hop.domain):
                return f"the certificate does not name {hop.domain}"
        return ""

    def _lose(self, why: str) -> None:
        if self.over:
            return
        self.over = True
        _log.debug(
            "{name}: connection with {host}: {why}", name=self._owner.name, host=self.host, why=why
        )
        self._owner.forget(self)
        waiting, self._waiting = self._waiting, []
        if self.served is not None:
            self._owner.guarded(self.served.lost, why)
        for session, _ in waiting:
            self._owner.guarded(session.lost, why)
        self._tell(why or "the connection ended")


def _buffered(stream: Stream) -> int:
    return stream.buffered
