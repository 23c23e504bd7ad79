"""MSRP for an entity: listening, connecting, and sessions that share connections.

Spec: RFC 4975 §5.4, §6.2; RFC 6135 §4; RFC 6714 §4
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from omaim.errors import OmaimError, Unavailable, UsageError
from omaim.ids import Ids
from omaim.msrp.accepting import Accepting
from omaim.msrp.channel import Channel
from omaim.msrp.means import Limits, Means
from omaim.msrp.session import CLOSED, WAITING, Session, SessionUser
from omaim.msrp.uri import MsrpUri
from omaim.net.clock import wall
from omaim.net.driver import Driver
from omaim.net.msrp_connection import Hop, MsrpConnection, Served
from omaim.net.ports import Listener, Listens, bracketed
from omaim.net.reach import Reach
from omaim.net.resolver import Resolver
from omaim.net.stream import MOST_A_TURN
from omaim.net.tls import TlsSettings
from omaim.net.wire import Wire
from omaim.sip.locating import Target
from omaim.timers import Alarm

TCP: Final = "TCP"
TLS: Final = "TLS"
SECRET: Final = 32  # hex digits of a session-id: 128 bits (RFC 4975 §14.1)
NOWHERE: Final = 9  # the port in the URI of one who accepts no connections (RFC 6135 §4.2.2)
RELAYS: Final = "_msrps._tcp."  # prefix of SRV names (RFC 4976 §8)
RELAY_PORT: Final = 2855
GRACE: Final = 2.0  # seconds that peers have to read our last words
_ANY: Final = {"0.0.0.0": "192.0.2.1", "::": "2001:db8::1"}  # wildcard: somebody outside

_log = Logger()


@attrs.frozen
class MsrpLimits:
    """What the peers of one endpoint may cost it, beside each connection's own limits."""

    total: int = attrs.field(default=20_000, metadata={"help": "connections at a time"})
    per_host: int = attrs.field(
        default=4_000, metadata={"help": "connections at a time from one address"}
    )
    sessions: int = attrs.field(default=100_000, metadata={"help": "sessions at a time"})
    connect: float = attrs.field(
        default=8.0, metadata={"help": "seconds for a connection of ours to come up"}
    )
    attempts: int = attrs.field(
        default=256, metadata={"help": "connections to one address that come up at a time"}
    )


class MsrpEndpoint(Listens):
    """One MSRP endpoint.

    Args:
        network: where sockets come from.
        clock: the reactor, or virtual time.
        resolver: finds hosts; numeric addresses only when not given.
        name: of the entity, for ladders and logs.
        ids: source of identifiers.
        wire: where watchers look. Each record is one frame, or one piece of a frame that is
            written or arrives in pieces.
        limits: what a connection may cost, and how long things may take.
        peers: what all peers may cost.
        tls: who we are when we connect by TLS, and whom we believe; the first TLS listener's
            settings when not given.
        sessmatch: find sessions by the session-id alone, whatever host and port a border
            element wrote into the URI.
        allowed: where peers may have us connect to.

    Raises:
        UsageError: ``limits.window`` is not more than what a stream keeps for the end of a turn.

    Attributes:
        counters: how often what happened, by name.
        listeners: where it listens.
        wall: tells the time of day, for what watchers are shown.
        means: what floor 1 gets; :class:`omaim.msrp.Shared` wants it.
        serve: makes what lives on a new connection: a channel for sessions, unless a relay
            sets something of its own.
        allowed: where peers may have us connect to; relays of our own are at any place.
        make_room: asked when there are as many connections as there may be: ends one, or says
            that none can end.
    """

    def __init__(
        self,
        network: Any,
        clock: IReactorTime,
        resolver: Resolver | None = None,
        *,
        name: str = "",
        ids: Ids | None = None,
        wire: Wire | None = None,
        limits: Limits | None = None,
        peers: MsrpLimits | None = None,
        tls: TlsSettings | None = None,
        sessmatch: bool = False,
        allowed: Reach | None = None,
    ) -> None:
        self.name = name
        self.ids = ids or Ids()
        self.wire = wire or Wire()
        self.peers = peers or MsrpLimits()
        self.counters: Counter[str] = Counter()
        self.listeners: list[Listener] = []
        self.now: Callable[[], float] = clock.seconds
        self.wall = wall(clock)
        self.driver = Driver(clock)
        limits = limits or Limits()
        if limits.window <= MOST_A_TURN:
            # A stream says that it is empty only after it was really full.
            raise UsageError(f"the window has to be larger than {MOST_A_TURN} octets")
        self.means = Means(self.now, self.ids, self._arm, self.count, limits)
        self.serve: Callable[[MsrpConnection], Served] = self._channel
        self.allowed = allowed or Reach()
        self.make_room: Callable[[], bool] = _no_room
        self._network = network
        self._clock: Any = clock
        self._resolver = resolver or Resolver(clock, ids=self.ids)
        self._tls = tls
        self._client_tls: TlsSettings | None = None
        self._sessmatch = sessmatch
        self._sessions: dict[str, Session] = {}
        self._by_hop: dict[Hop, MsrpConnection] = {}
        self._connections: set[MsrpConnection] = set()
        self._per_host: Counter[str] = Counter()
        self._attempts: Counter[str] = Counter()  # that are under way, by address
        self._stopped = False

    def session(
        self,
        user: SessionUser,
        transport: str = TCP,
        accepting: Accepting | None = None,
        vouched: bool = True,
        mutual: bool = False,
    ) -> Session:
        """Return a new session with a URI that nobody can guess; nothing is sent yet.

        Put ``session.path`` into the SDP, and call :meth:`connect` when the peer's is here.
        Without a listener for the transport, the URI has port 9: only an active side can do so
        (RFC 6135 §4.2.2).

        Args:
            user: is told what happens.
            transport: "TCP" or "TLS".
            accepting: what the SDP declares; other messages are refused (415, 413).
            vouched: False lets requests wait until :meth:`connect` has told which path and
                certificate the peer has: for those who offer and wait for a connection, which
                may be faster than the answer, and of somebody else who has seen the offer.
            mutual: over TLS, a connection of the peer has to show a certificate, by an authority
                that we believe, for the host that the peer's path begins with; requests wait
                until :meth:`connect` has told that path.

        Raises:
            Unavailable: there are too many sessions, or the endpoint has stopped.
        """
        if self._stopped or len(self._sessions) >= self.peers.sessions:
            raise Unavailable("no further MSRP session can be had here now")
        upper = transport.upper()
        if upper not in (TCP, TLS):
            raise UsageError(f"MSRP runs over TCP or TLS, not {transport}")
        host, port = self._place(upper)
        uri = MsrpUri(host, port, self.ids.token(SECRET), upper == TLS)
        session = Session(self.means, uri, user, accepting, self._over)
        session.mutual = mutual and upper == TLS
        session.vouched = vouched and not session.mutual
        self._sessions[self._key(uri)] = session
        return session

    def connect(
        self,
        session: Session,
        remote_path: tuple[MsrpUri, ...],
        active: bool,
        address: tuple[str, int] | None = None,
        fingerprints: tuple[str, ...] = (),
        domain: str = "",
        by: MsrpConnection | None = None,
    ) -> None:
        """Let a session reach its peer, now that the peer's SDP is known.

        The active side connects, or uses a connection that leads there already, and sends a
        request at once; the passive one waits for that request. A session with ``relays`` of
        its own always connects to the first of them; the passive one sends nothing before it
        was sent something (RFC 6135 §4.5). Success is told by
        ``on_open``, failure by ``on_closed``, perhaps before this returns.

        Calling it again is of use for a passive session that was reached before the peer's SDP
        was known. A peer whose path changes in a later SDP needs a new session.

        Args:
            remote_path: what the peer's SDP says in ``a=path``.
            active: whether we are the active side.
            address: where to connect instead of the first URI's host and port (RFC 6714 §4).
            fingerprints: the peer's ``a=fingerprint``; then no authority is asked.
            domain: whom the certificate must name; the first URI's host when not given.
            by: the connection on which a relay of ours handed out the session's ``relays``,
                which are of no use on another (RFC 4976 §6.3).

        Raises:
            UsageError: the session is closed, or the path is empty.
        """
        if session.state == CLOSED:
            raise UsageError("this session is closed")
        if not remote_path:
            raise UsageError("the peer's path is empty")
        session.fingerprints = fingerprints
        session.lead_to(remote_path)
        self.guarded(session.vouch, True)
        if session.outbox.turns is not None or not (active or session.relays):
            return
        if by is not None:
            if by.over:
                self.guarded(session.lost, "the connection to the relay ended")
            elif active:
                by.carry(session, active)
            else:
                # Until the peer has been heard, its relay, or ours, would not find it (§4.5).
                by.gone.addCallback(lambda _: self._unheard(session))
            return
        first = session.relays[0] if session.relays else remote_path[0]
        host, port = address or (first.bare_host, first.port)
        if not port:
            self.guarded(session.lost, "the peer's URI has no port")
            return
        hop = Hop(
            host.lower(),
            port,
            first.secure,
            (domain or first.bare_host).lower() if first.secure and not fingerprints else "",
            fingerprints if first.secure else (),
            bool(session.relays),
        )
        self.reach(hop).carry(session, active)

    def _unheard(self, session: Session) -> None:
        """The connection is gone on which a peer was to be heard."""
        if session.state == WAITING:
            self.guarded(session.lost, "the connection to the relay ended")

    def reach(self, hop: Hop) -> MsrpConnection:
        """Return a connection that leads to ``hop``; a new one comes up later.

        A hop without a port is a relay: the DNS knows where it listens.

        Spec: RFC 4975 §5.4, §6.2; RFC 4976 §8
        """
        known = self._by_hop.get(hop)
        if known is not None:
            return known
        connection = MsrpConnection(self, hop.host, hop)
        full = self._is_full()
        self._by_hop[hop] = connection
        self._connections.add(connection)
        if full:
            self.count("refused_total")
            self._clock.callLater(0, connection.closed, "there are too many connections")
            return connection
        try:
            host = bracketed(hop.host)
            if hop.port:
                found = self._resolver.locate_host(False, host, hop.port, TCP)
            else:
                found = self._resolver.locate_service(RELAYS, RELAY_PORT, host, 0)
        except OmaimError as error:
            self._clock.callLater(0, connection.closed, str(error))
            return connection
        if isinstance(found, list):
            self._try(connection, found)
        else:
            found.addCallback(self._found, connection)
            found.addErrback(self._unfound, connection)
        return connection

    def has_room(self, hop: Hop) -> bool:
        """Tell whether :meth:`reach` has a connection to ``hop``, or may open one."""
        return hop in self._by_hop or not self._is_full()

    @property
    def host(self) -> str:
        """The host that URIs of ours name, IPv6 in brackets."""
        return self._place(TCP)[0]

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """What ``a=fingerprint`` says of our certificate; nothing without one (RFC 8122 §5)."""
        tls = self._tls
        return (tls.fingerprint(),) if tls is not None and tls.certificate else ()

    async def addresses(self, host: str) -> tuple[str, ...]:
        """Return the addresses of a host; none when it cannot be found."""
        try:
            found = self._resolver.locate_host(False, host, NOWHERE, TCP)
            targets = found if isinstance(found, list) else await found
        except OmaimError:
            return ()
        return tuple(target.host for target in targets)

    def find(self, uri: MsrpUri) -> Session | None:
        """Return the session that a URI means."""
        return self._sessions.get(self._key(uri))

    @property
    def sessions(self) -> list[Session]:
        """The sessions that are not closed."""
        return list(self._sessions.values())

    @property
    def connections(self) -> int:
        """How many connections there are, those that are coming up included."""
        return len(self._connections)

    @property
    def verifies(self) -> bool:
        """Whether an authority has to vouch for those we connect to."""
        return self._tls is None or self._tls.verify

    def stop(self) -> Deferred[None]:
        """Listen no more, end all sessions and connections; fires when no socket is left."""
        self._stopped = True
        pending: list[Deferred[Any]] = [listener.close() for listener in self.listeners]
        self.listeners.clear()
        for session in self.sessions:
            self.guarded(session.close, "stopped")
        connections = list(self._connections)
        for connection in connections:
            connection.close("stopped")
        if connections:
            late = self._clock.callLater(GRACE, _abort, connections)
            gone = DeferredList([connection.gone for connection in connections])
            gone.addCallback(lambda _: late.cancel() if late.active() else None)
            pending.append(gone)
        self.driver.stop()
        done: Deferred[None] = DeferredList(pending).addCallback(lambda _: None)
        return done

    def count(self, name: str) -> None:
        """Count one more ``name``."""
        self.counters[name] += 1

    def guarded(self, act: Callable[..., object], *args: object) -> None:
        """Call ``act``; a defect there is logged and counted, and hurts nobody else."""
        try:
            act(*args)
        except Exception:
            self.crashed()

    def crashed(self) -> None:
        """Log and count a defect; for use where the exception is caught."""
        _log.failure("{name}: a message was not served", name=self.name)
        self.count("crashed")

    def forget(self, connection: MsrpConnection) -> None:
        """``connection`` carries nothing any more."""
        self._connections.discard(connection)
        hop = connection.hop
        if hop is not None and self._by_hop.get(hop) is connection:
            del self._by_hop[hop]
        elif hop is None:
            self._per_host[connection.host] -= 1
            if not self._per_host[connection.host]:
                del self._per_host[connection.host]
        self.count("connections_closed")

    def _accept(self, host: str, port: int) -> MsrpConnection | None:
        if self._per_host[host] >= self.peers.per_host:
            self.count("refused_per_host")
            return None
        if self._stopped or self._is_full():
            self.count("refused_total")
            return None
        connection = MsrpConnection(self, host, None)
        self._connections.add(connection)
        self._per_host[host] += 1
        self.count("connections_accepted")
        return connection

    def _is_full(self) -> bool:
        """Tell whether there is no place for one more connection, and none can be made."""
        return len(self._connections) >= self.peers.total and not self.make_room()

    def _listen(
        self, transport: str, host: str, port: int, tls: TlsSettings | None, advertise: str
    ) -> Listener:
        if transport not in (TCP, TLS):
            raise UsageError(f"listen on TCP or TLS; {transport} is not spoken")
        settings = (tls or self._tls or TlsSettings()) if transport == TLS else None
        socket = self._network.listen_stream(host, port, self._accept, settings)
        self._tls = self._tls or settings
        if socket.host in _ANY and not advertise:
            advertise = self._network.source_for(_ANY[socket.host])
        listener = Listener(transport, advertise, socket)
        self.listeners.append(listener)
        return listener

    def _place(self, transport: str) -> tuple[str, int]:
        for listener in self.listeners:
            if listener.transport == transport:
                return listener.advertised, listener.port
        for listener in self.listeners:
            return listener.advertised, NOWHERE
        return bracketed(self._network.source_for(_ANY["0.0.0.0"])), NOWHERE

    def _key(self, uri: MsrpUri) -> str:
        return uri.session if self._sessmatch else uri.key

    def _over(self, session: Session) -> None:
        self._sessions.pop(self._key(session.uri), None)

    def _channel(self, connection: MsrpConnection) -> Channel:
        return Channel(
            self.means,
            connection.line(),
            connection.find,
            connection.hop is not None,
            connection.watch,
        )

    def _arm(self, alarm: Alarm) -> None:
        self.driver.deadlines.arm(alarm)
        self.driver.arm()

    def _found(self, targets: list[Target], connection: MsrpConnection) -> None:
        self._try(connection, targets)

    def _unfound(self, failure: Failure, connection: MsrpConnection) -> None:
        if not failure.check(OmaimError):
            _log.failure("{name}: a host could not be looked up", failure, name=self.name)
        # In the next turn: whoever wants the connection has not said so yet.
        self._clock.callLater(0, connection.closed, failure.getErrorMessage())

    def _try(self, connection: MsrpConnection, targets: list[Target]) -> None:
        """Connect to the first of ``targets``, and to the next one if that fails (§6.2)."""
        hop = connection.hop
        if connection.over or hop is None:
            return
        target, left, why = self._choose(targets, hop)
        if target is None:
            # In the next turn: whoever wants the connection has not said so yet.
            self._clock.callLater(0, connection.closed, why)
            return

        def again(why: str) -> bool:
            self.count("connect_failed")
            if left:
                self._try(connection, left)
            return bool(left)

        connection.attempt(again, target.host)
        self._attempts[target.host] += 1
        self.count("connections_opened")
        connection.give_up = self._network.connect_stream(
            target.host,
            target.port,
            connection,
            self._for_clients() if hop.secure else None,
            hop.domain or hop.host,
            self._source(target.host),
            self.peers.connect,
        )

    def _choose(self, targets: list[Target], hop: Hop) -> tuple[Target | None, list[Target], str]:
        """Return the first target that may be connected to, and those behind it; or why none."""
        why = "nobody is there"
        here = [host for one in self.listeners for host in (one.host, one.advertised)]
        for number, target in enumerate(targets):
            refused = "" if hop.ours else self.allowed.refuses(target.host, target.port, here)
            if refused:
                self.count("refused_targets")
                why = f"{target.host}:{target.port}: {refused}"
                _log.warn("{name}: not connected to {why}", name=self.name, why=why)
            elif self._attempts[target.host] >= self.peers.attempts:
                self.count("refused_attempts")
                why = f"too many connections to {target.host} are coming up"
            else:
                return target, targets[number + 1 :], ""
        return None, [], why

    def settled(self, host: str) -> None:
        """An attempt to connect to an address has succeeded or failed."""
        self._attempts[host] -= 1
        if self._attempts[host] <= 0:
            del self._attempts[host]

    def _source(self, host: str) -> str:
        """Return the address to connect from: one that we listen on, if it is of that family."""
        for listener in self.listeners:
            if (":" in listener.host) == (":" in host) and listener.host not in _ANY:
                return listener.host
        return ""

    def _for_clients(self) -> TlsSettings:
        """Return TLS settings for connecting; the connection itself looks at the certificate."""
        if self._client_tls is None:
            self._client_tls = attrs.evolve(self._tls or TlsSettings(), self_signed=True)
        return self._client_tls


def _no_room() -> bool:
    """Keep all connections: whoever has one needs it."""
    return False


def _abort(connections: list[MsrpConnection]) -> None:
    for connection in connections:
        if connection.stream is not None:
            connection.stream.abort()
