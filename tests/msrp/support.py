"""Two ends of MSRP without a network, and what their users see."""

from __future__ import annotations

from collections import Counter
from typing import Any

from omaim.ids import Ids
from omaim.msrp import (
    Accepting,
    Channel,
    FrameLimits,
    FrameParser,
    Head,
    Incoming,
    Limits,
    Line,
    Means,
    MsrpUri,
    Outgoing,
    Part,
    Report,
    Session,
    SessionUser,
)
from omaim.timers import Alarm, Deadlines

LARGE = 1 << 26


class User:
    """Takes everything, and remembers.

    Attributes:
        bodies: whole messages.
        mode: "collect" or "stream"; "none" decides nothing.
    """

    def __init__(self, mode: str = "collect", limit: int = LARGE) -> None:
        self.mode = mode
        self.limit = limit
        self.bodies: list[bytes] = []
        self.seen: list[Incoming] = []
        self.streams: dict[str, bytearray] = {}
        self.ends: dict[str, bool] = {}
        self.failed: list[str] = []
        self.reports: list[Report] = []
        self.opened = 0
        self.drained = 0
        self.closed: list[str] = []
        self.nicknames: list[str] = []
        self.nickname_status = 200
        self.on_whole: Any = None
        self.user = SessionUser(
            self._message,
            self._open,
            self._report,
            self._nickname,
            self._drained,
            self._closed,
        )

    def _open(self, session: Session) -> None:
        self.opened += 1

    def _drained(self, session: Session) -> None:
        self.drained += 1

    def _report(self, session: Session, report: Report) -> None:
        self.reports.append(report)

    def _nickname(self, session: Session, name: str) -> int:
        self.nicknames.append(name)
        return self.nickname_status

    def _closed(self, session: Session, why: str) -> None:
        self.closed.append(why)

    def _message(self, session: Session, incoming: Incoming) -> None:
        self.seen.append(incoming)
        name = incoming.message_id
        if self.mode == "collect":

            def whole(body: bytes) -> None:
                self.bodies.append(body)
                if self.on_whole is not None:
                    self.on_whole(incoming)

            incoming.collect(self.limit, whole, lambda: self.failed.append(name))
        elif self.mode == "stream":
            got = self.streams[name] = bytearray()

            def data(offset: int, piece: bytes) -> None:
                assert offset == len(got), (offset, len(got))
                got.extend(piece)

            def ended(complete: bool) -> None:
                assert name not in self.ends
                self.ends[name] = complete

            incoming.stream(data, ended)


class End:
    """One end of a connection, with a clock that stands still until it is moved."""

    def __init__(self, world: World, initiated: bool, seed: int, limits: Limits) -> None:
        self.out: list[bytes] = []
        self.stuck = False  # the connection takes nothing
        self.kept = 0
        self.paused = False
        self.ended: list[str] = []
        self.counters: Counter[str] = Counter()
        self.deadlines = Deadlines()
        self.table: dict[str, Session] = {}
        self.world = world
        self.means = Means(
            lambda: world.now,
            Ids(seed),
            self._arm,
            lambda name: self.counters.update([name]),
            limits,
        )
        self.line = Line(
            self._write, lambda: self.kept, self._pause, self._resume, self._end, self._end
        )
        self.channel = Channel(
            self.means, self.line, lambda uri: self.table.get(uri.key), initiated
        )

    def session(self, user: User, name: str = "", accepting: Accepting | None = None) -> Session:
        """Return a session that can be found."""
        uri = MsrpUri("host.example", 7000 + len(self.table), name or self.means.ids.token(16))
        session = Session(self.means, uri, user.user, accepting, self._over)
        self.table[uri.key] = session
        return session

    def take(self) -> bytes:
        """Return what was written since the last time."""
        out, self.out = b"".join(self.out), []
        return out

    def wake(self) -> None:
        self.deadlines.run(self.world.now)

    def _over(self, session: Session) -> None:
        self.table.pop(session.uri.key)

    def _write(self, data: bytes) -> None:
        self.out.append(data)
        if self.stuck:
            self.kept += len(data)

    def _pause(self) -> None:
        self.paused = True

    def _resume(self) -> None:
        self.paused = False

    def _end(self, why: str) -> None:
        self.ended.append(why)
        self.channel.lost(why)

    def _arm(self, alarm: Alarm) -> None:
        self.deadlines.arm(alarm)


class World:
    """A connection between ``near``, who opened it, and ``far``."""

    def __init__(self, near: Limits | None = None, far: Limits | None = None) -> None:
        self.now = 1000.0
        self.near = End(self, True, 1, near or Limits())
        self.far = End(self, False, 2, far or Limits())
        self.seen: list[bytes] = []  # all that was sent, in turns

    def carry(self) -> int:
        """Let both ends hear one another until there is silence; return how many octets."""
        carried = 0
        while self.near.out or self.far.out:
            for source, sink in ((self.near, self.far), (self.far, self.near)):
                data = source.take()
                if data:
                    carried += len(data)
                    self.seen.append(data)
                    sink.channel.received(data)
        return carried

    def pair(
        self, near: User, far: User, accepting: Accepting | None = None
    ) -> tuple[Session, Session]:
        """Return two sessions that are connected."""
        one, other = self.near.session(near), self.far.session(far, "", accepting)
        one.lead_to(other.path)
        other.lead_to(one.path)
        self.near.channel.bind(one, True)
        self.carry()
        return one, other

    def pass_time(self, seconds: float) -> None:
        """Move the clock; each end is woken when it wants to be."""
        end = self.now + seconds
        while True:
            at = min(self.near.deadlines.next(), self.far.deadlines.next())
            if at > end:
                break
            self.now = max(self.now, at)
            self.near.wake()
            self.far.wake()
            self.carry()
        self.now = end


def parts(data: bytes, limits: FrameLimits | None = None) -> list[Part]:
    """Return the parts of some octets fed at once."""
    return FrameParser(limits or FrameLimits()).feed(data)


def heads(data: bytes) -> list[Head]:
    """Return the heads of the frames in some octets."""
    return [part.head for part in parts(data) if part.first]


def text(body: bytes, **more: Any) -> Outgoing:
    """Return a text message."""
    return Outgoing("text/plain", body, **more)
