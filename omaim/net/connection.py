"""SIP over one stream, and all the streams of one endpoint.

A connection that sends half a message and waits, that says nothing for long, or that takes
nothing of what waits for it, is dropped; so no peer makes us keep more than the limits say. A
peer that is busy and reads slowly is not: what waits for it waits, answers are given in the end,
and only requests that there is no room for are refused.

Spec: RFC 3261 §18; RFC 5626 §3.5.1, §4.4.1 (keep-alive); RFC 5923 (alias)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred

from omaim.net.stream import DOUBT
from omaim.net.tls import names_domain
from omaim.sip.flow import TLS, Flow
from omaim.sip.parser import Limits, Ping, Pong, StreamParser
from omaim.timers import NEVER, Alarm, Deadlines

if TYPE_CHECKING:
    from omaim.net.limits import StreamLimits
    from omaim.net.network import Stream
    from omaim.sip.front import Front
    from omaim.sip.message import Request, Response
    from omaim.sip.parser import BadMessage

ANSWER: Final = b"SIP/2.0 "  # how responses begin, and nothing else
PING: Final = b"\r\n\r\n"
PONG: Final = b"\r\n"
LOOKS: Final = 4  # at a slow peer, in the time that it may take nothing
LITTLE: Final = 64  # of what may wait for one peer, the part that is not looked at


class Connections:
    """All streams of one endpoint, by the peer they lead to.

    Args:
        limits: what peers may cost.
        message_limits: what a message may be.
        deadlines: where the time limits wait.
        now: returns the time.
        on_message: gets each message, or what is wrong with it, and the flow it came by.
        on_batch: called after all messages of one read.
        on_lost: a flow is gone, for this reason; called once for each, possibly from within
            a :meth:`Connection.send`.
        count: counts under a name.

    Attributes:
        waiting: octets that wait for peers who read slowly, when last looked at.
    """

    def __init__(
        self,
        limits: StreamLimits,
        message_limits: Limits,
        deadlines: Deadlines,
        now: Callable[[], float],
        on_message: Callable[[Request | Response | BadMessage, Flow, float], None],
        on_batch: Callable[[], None],
        on_lost: Callable[[Flow, str], None],
        count: Callable[[str], None],
    ) -> None:
        self.limits = limits
        self.message_limits = message_limits
        self.deadlines = deadlines
        self.now = now
        self.on_message = on_message
        self.on_batch = on_batch
        self.on_lost = on_lost
        self.count = count
        self.waiting = 0
        self._all: dict[int, Connection] = {}  # by the serial of the flow
        self._by_peer: dict[tuple[str, str, int], list[Connection]] = {}
        self._per_host: dict[str, int] = {}
        self._begun: dict[Connection, int] = {}  # octets of messages in pieces, the oldest first
        self._begun_by: dict[str, int] = {}  # the same by host
        self._begun_sum = 0
        self._streams: set[Connection] = set()  # until the network has let go of them
        self._when_empty: list[Deferred[None]] = []

    def __len__(self) -> int:
        return len(self._all)

    def accept(self, flow: Flow, front: Front) -> Connection | None:
        """Return who will serve an accepted stream; ``None`` when there are too many."""
        if len(self._all) >= self.limits.total:
            self.count("refused_total")
            return None
        if self._per_host.get(flow.remote_host, 0) >= self.limits.per_host:
            self.count("refused_per_host")
            return None
        return self.add(flow, front, "", False)

    def add(self, flow: Flow, front: Front, domain: str, ours: bool) -> Connection:
        """Return a new connection for ``flow``.

        Args:
            front: our Via for requests by it.
            domain: whom a TLS server must prove to be.
            ours: we opened it, and so believe that SIP is spoken there.
        """
        connection = Connection(self, flow, domain, ours)
        flow.connection = connection
        flow.send = connection.send
        flow.front = front
        self._streams.add(connection)
        self._all[flow.serial] = connection
        host = flow.remote_host
        self._per_host[host] = self._per_host.get(host, 0) + 1
        self.know(connection, flow.remote_port)
        return connection

    def know(self, connection: Connection, port: int) -> None:
        """Let ``connection`` be found under ``port`` of its peer's address."""
        flow = connection.flow
        key = (flow.transport, flow.remote_host, port)
        known = self._by_peer.setdefault(key, [])
        if connection not in known:
            known.append(connection)
            connection.keys.append(key)

    def find(self, transport: str, host: str, port: int, domain: str) -> Flow | None:
        """Return the flow to a peer, if one is open; under TLS, one that proved ``domain``.

        Spec: RFC 3261 §18.1.1 (reuse); RFC 5922 §7.3
        """
        for connection in self._by_peer.get((transport, host, port), ()):
            flow = connection.flow
            if flow.open and (
                transport != TLS
                or connection.domain == domain
                or names_domain(flow.peer_names, domain)
            ):
                return flow
        return None

    def remove(self, connection: Connection) -> None:
        """Forget ``connection``."""
        flow = connection.flow
        if self._all.pop(flow.serial, None) is None:
            return
        left = self._per_host[flow.remote_host] - 1
        if left:
            self._per_host[flow.remote_host] = left
        else:
            del self._per_host[flow.remote_host]
        for key in connection.keys:
            known = self._by_peer[key]
            known.remove(connection)
            if not known:
                del self._by_peer[key]

    def note_begun(self, connection: Connection, octets: int) -> None:
        """Note how much of a message that has begun is kept for a connection, 0 for none.

        Where it is too much in all, connections end: this one if its host has too much, else
        those whose messages began first.
        """
        host = connection.flow.remote_host
        more = octets - self._begun.get(connection, 0)
        if octets:
            self._begun[connection] = octets
        else:
            self._begun.pop(connection, None)
        self._begun_sum += more
        of_host = self._begun_by.get(host, 0) + more
        if of_host:
            self._begun_by[host] = of_host
        else:
            self._begun_by.pop(host, None)
        if more > 0 and of_host > self.limits.begun_per_host:
            connection.drop("crowded")
        while self._begun_sum > self.limits.begun:
            next(iter(self._begun)).drop("crowded")

    def by_serial(self, serial: int) -> Flow | None:
        """Return the open flow of this number."""
        connection = self._all.get(serial)
        return None if connection is None else connection.flow

    def close(self) -> Deferred[None]:
        """End all streams; what has been written still goes out. Fires when all are gone."""
        for connection in list(self._all.values()):
            connection.close()
        done: Deferred[None] = Deferred()
        if self._streams:
            self._when_empty.append(done)
        else:
            done.callback(None)
        return done

    def abort(self) -> None:
        """End what is left at once."""
        for connection in list(self._streams):
            connection.abort()

    def ended(self, connection: Connection) -> None:
        """The network has let go of ``connection``."""
        self._streams.discard(connection)
        if not self._streams:
            waiting, self._when_empty = self._when_empty, []
            for done in waiting:
                done.callback(None)


class Connection:
    """One SIP stream: parses what comes, keeps to the limits. Is a ``Receiver`` of the network.

    Attributes:
        flow: the flow it is.
        domain: whom the peer had to prove to be, for those that we opened under TLS.
        keys: what it is known under to its :class:`Connections`.
        give_up: ends the attempt to connect, for those that we opened.
    """

    __slots__ = (
        "_alarm",
        "_before",
        "_before_size",
        "_begun",
        "_doubt",
        "_half_since",
        "_last",
        "_look_at",
        "_moved_at",
        "_owner",
        "_parser",
        "_paused",
        "_pong_by",
        "_served",
        "_stream",
        "_taken",
        "_waiting",
        "_written",
        "domain",
        "flow",
        "give_up",
        "keys",
    )

    def __init__(self, owner: Connections, flow: Flow, domain: str, ours: bool) -> None:
        self._alarm = Alarm(self._wake)
        self.flow = flow
        self.domain = domain
        self.keys: list[tuple[str, str, int]] = []
        self.give_up: Callable[[], None] | None = None
        self._owner = owner
        self._parser = StreamParser(owner.message_limits)
        self._stream: Stream | None = None
        self._before: list[bytes] = []  # written before the stream was up
        self._before_size = 0
        self._begun = 0  # octets of the message at hand
        self._last = owner.now()
        self._half_since = NEVER  # when the message at hand began
        self._pong_by = NEVER
        self._served = ours  # the peer has shown that it speaks SIP
        self._doubt = False  # its time is over, unless something has come meanwhile
        self._paused = False
        self._written = 0  # octets given to the stream
        self._taken = 0  # of them by the system, when last looked at
        self._moved_at = NEVER  # when that last was more than before
        self._look_at = NEVER
        self._waiting = 0  # our part of what the owner counts

    @property
    def _unread(self) -> int:
        return self._before_size if self._stream is None else self._stream.buffered

    @property
    def lags(self) -> bool:
        """Much waits for the peer."""
        return self._unread > self._owner.limits.unread // LITTLE

    @property
    def has_room(self) -> bool:
        """One more request may wait for the peer; answers and what goes with them always may."""
        limits = self._owner.limits
        return not self.lags or (
            self._unread < limits.unread and self._owner.waiting < limits.unread_total
        )

    def send(self, data: bytes) -> bool:
        """Write one message; False when the connection is gone or its peer does not read."""
        stream = self._stream
        if stream is None:
            if not self.flow.open:
                return False
            self._before.append(data)
            self._before_size += len(data)
            if self._before_size > 2 * self._owner.limits.unread:
                self.drop("unread")
                return False
            return True
        stream.write(data)
        self._written += len(data)
        unread = stream.buffered
        return unread <= self._owner.limits.unread // LITTLE or self._lags(data, unread)

    def ping(self) -> None:
        """Ask for a sign of life; without one, the flow counts as failed.

        Spec: RFC 5626 §4.4.1
        """
        if self._pong_by == NEVER and self.send(PING):
            self._parser.expect_pong()
            self._pong_by = self._owner.now() + self._owner.limits.pong
            self._schedule()

    def drop(self, why: str) -> None:
        """End the connection at once, counted under ``why``."""
        if self.flow.open:
            self._owner.count("dropped_" + why)
            self._lose(why)
            self.abort()

    def abort(self) -> None:
        """End the stream below, whatever its state."""
        if self._stream is not None:
            self._stream.abort()
        elif self.give_up is not None:
            self.give_up()

    def close(self) -> None:
        """End the connection when all has been sent."""
        if self._stream is not None:
            self._stream.close()
        elif self.give_up is not None:
            self.give_up()
        self._lose("closed here")

    def connected(self, stream: Stream) -> None:
        flow = self.flow
        if not flow.open:
            stream.abort()
            return
        self._stream = stream
        flow.up = True
        flow.local_host, flow.local_port = stream.local
        flow.peer_names = stream.peer_names
        before, self._before = self._before, []
        for data in before:
            self.send(data)
        self._last = self._owner.now()
        self._schedule()
        self._owner.on_batch()

    def received(self, data: bytes) -> None:
        owner, flow = self._owner, self.flow
        if not flow.open:
            return
        now = owner.now()
        parser = self._parser
        for item in parser.feed(data):
            self._last = now
            self._half_since = NEVER
            if isinstance(item, Ping):
                self.send(PONG)
            elif isinstance(item, Pong):
                self._pong_by = NEVER
            else:
                self._served = True
                owner.on_message(item, flow, now)
            if not flow.open:
                return
        if parser.closed:
            owner.count("dropped_framing")
            self.close()
        elif parser.unfinished and self._half_since == NEVER:
            self._half_since = now
            self._schedule()
        if parser.held != self._begun:
            self._begun = parser.held
            owner.note_begun(self, self._begun)
        owner.on_batch()

    def drained(self) -> None:
        self._count(0)
        self._read_on()

    def closed(self, why: str) -> None:
        self._stream = None
        self._lose(why or "closed by the peer")
        self._owner.ended(self)

    def _lags(self, data: bytes, unread: int) -> bool:
        """Note that much waits for the peer, last ``data``; False when it is too much."""
        owner = self._owner
        limits = owner.limits
        if unread > 2 * limits.unread:
            self.drop("unread")
            return False
        self._count(unread)
        if self._look_at == NEVER:
            now = owner.now()
            self._taken = self._written - unread
            self._moved_at = now
            self._look_at = now + limits.stalled / LOOKS
            self._schedule()
        asked = data.startswith(ANSWER) or data == PONG
        much = unread > limits.unread // 2 or owner.waiting > limits.unread_total
        if asked and much and not self._paused and self._stream is not None:
            self._paused = True  # who does not read what it asked for, is not read
            self._stream.pause()
        return True

    def _look(self, now: float) -> None:
        """See whether the peer takes what waits for it."""
        limits = self._owner.limits
        unread = self._unread
        taken = self._written - unread
        if taken > self._taken:
            self._taken = taken
            self._moved_at = now
        elif now >= self._moved_at + limits.stalled:
            self.drop("unread")
            return
        else:
            self._read_on()  # two who wait to be read first would wait for ever
        self._count(unread)
        self._look_at = now + limits.stalled / LOOKS if unread else NEVER

    def _read_on(self) -> None:
        if self._paused and self._stream is not None:
            self._paused = False
            if self._half_since != NEVER:
                self._half_since = self._owner.now()  # it was we who did not read
            self._stream.resume()

    def _count(self, unread: int) -> None:
        self._owner.waiting += unread - self._waiting
        self._waiting = unread

    def _wake(self, now: float) -> None:
        limits = self._owner.limits
        if now >= self._look_at:
            self._look(now)
            if not self.flow.open:
                return
        why = ""
        if now >= self._half_since + limits.half and not self._paused:
            why = "half"
        elif now >= self._pong_by:
            why = "pong"
        elif now >= self._last + (limits.idle if self._served else limits.first):
            why = "idle"
        if not why:
            self._doubt = False
            self._schedule()
        elif self._doubt:
            self.drop(why)
        else:
            # After much work timers come before what has been sent in time, and not been read.
            self._doubt = True
            self._alarm.deadline = now + DOUBT
            self._owner.deadlines.arm(self._alarm)

    def _schedule(self) -> None:
        limits = self._owner.limits
        self._alarm.deadline = min(
            NEVER if self._paused else self._half_since + limits.half,
            self._pong_by,
            self._look_at,
            self._last + (limits.idle if self._served else limits.first),
        )
        self._owner.deadlines.arm(self._alarm)

    def _lose(self, why: str) -> None:
        if self.flow.open:
            self.flow.open = False
            self._alarm.deadline = NEVER
            self._before.clear()
            self._parser.discard()
            if self._begun:
                self._begun = 0
                self._owner.note_begun(self, 0)
            self._count(0)
            self._owner.remove(self)
            self._owner.on_lost(self.flow, why)
