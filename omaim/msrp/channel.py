"""One connection and the sessions that share it.

Spec: RFC 4975 §5.4, §7.2, §7.3; RFC 7701 §7
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, final

from omaim.errors import PeerError
from omaim.msrp.frame import Head, is_path, write_response
from omaim.msrp.framing import FrameParser, Part
from omaim.msrp.incoming import Chunk, Incoming
from omaim.msrp.means import Means
from omaim.msrp.nickname import read_nickname
from omaim.msrp.sending import Turns
from omaim.msrp.session import CLOSED, LATER, Session
from omaim.msrp.uri import MsrpUri, read_path
from omaim.timers import NEVER, Alarm

_CROWD: Final = 64  # entries of a lane before those that are done with are looked for
CLAIM: Final = 4.0  # seconds that a request on a connection of ours waits until its peer is known
_SPARE: Final = 64  # spellings of our URIs that a peer may use beside ours


@final
class Line:
    """A connection as a channel sees it.

    Args:
        write: sends octets, or keeps them until the peer reads.
        buffered: returns how many are kept.
        pause: reads no more for now.
        resume: reads again.
        close: ends it when all has been sent, for this reason.
        abort: ends it at once, for this reason.
    """

    __slots__ = ("abort", "buffered", "close", "pause", "resume", "write")

    def __init__(
        self,
        write: Callable[[bytes], object],
        buffered: Callable[[], int],
        pause: Callable[[], object],
        resume: Callable[[], object],
        close: Callable[[str], object],
        abort: Callable[[str], object],
    ) -> None:
        self.write: Final = write
        self.buffered: Final = buffered
        self.pause: Final = pause
        self.resume: Final = resume
        self.close: Final = close
        self.abort: Final = abort


@final
class Channel:
    """One connection that is up.

    Args:
        means: of the endpoint.
        line: the connection.
        find: returns the session with a URI, whatever its state; ``None`` when there is none
            that this connection may have.
        initiated: we opened it; else the peer has to send a request soon.
        on_octets: gets what comes, frame by frame, or in pieces of large ones.

    Attributes:
        turns: its sending side.
        served: a request for a session of ours has come, or we opened it.
    """

    __slots__ = (
        "_alarm",
        "_aliases",
        "_at",
        "_body_size",
        "_bound",
        "_choked",
        "_chunk",
        "_claimed",
        "_claimed_by",
        "_closed",
        "_crowd",
        "_deaf_since",
        "_find",
        "_first_by",
        "_full_since",
        "_half_since",
        "_idle_since",
        "_lane",
        "_line",
        "_means",
        "_now",
        "_parser",
        "_parts",
        "_paused",
        "_reading",
        "_serving",
        "_session",
        "_shared",
        "_stalled",
        "served",
        "turns",
    )

    def __init__(
        self,
        means: Means,
        line: Line,
        find: Callable[[MsrpUri], Session | None],
        initiated: bool,
        on_octets: Callable[[bytes], object] | None = None,
    ) -> None:
        now = means.now()
        self.served = initiated
        self.turns: Final = Turns(means, line.write, line.buffered, self._schedule, self._full)
        self._means = means
        self._line = line
        self._find = find
        self._parser = FrameParser(means.limits.frame, on_octets)
        self._bound: dict[bytes, Session] = {}  # by our URI as we write it
        self._aliases: dict[bytes, Session] = {}  # as the peer writes it
        self._paused: list[Session] = []
        self._reading = True
        self._deaf_since = 0.0  # when it was that nothing was read any more
        self._parts: list[Part] = []
        self._at = 0  # how many of them are done
        self._serving = False
        self._stalled = False  # they wait for something
        self._shared = initiated  # with sessions of others: it leads to our relay
        self._claimed: Session | None = None  # whose peer is not known yet
        self._claimed_by = NEVER
        self._session: Session | None = None  # that the frame at hand is for
        self._chunk: Chunk | None = None  # that it is, if it is a SEND
        self._body_size = 0  # octets of another request's body so far
        self._lane: deque[tuple[float, Session, Incoming]] = deque()
        self._crowd = _CROWD
        self._now = now
        self._first_by = NEVER if initiated else now + means.limits.first
        self._half_since = NEVER  # when the head at hand began
        self._idle_since = now
        self._full_since = NEVER  # since when the peer takes nothing
        self._choked = False  # so much waits for it that it is not read
        self._closed = False
        self._alarm = Alarm(self._wake)
        self._reschedule(now)

    @property
    def sessions(self) -> list[Session]:
        """The sessions that it carries."""
        return list(self._bound.values())

    @property
    def closed(self) -> bool:
        """Whether it carries nothing any more."""
        return self._closed

    def bind(self, session: Session, active: bool) -> None:
        """Let a session have this connection.

        Args:
            active: we have to show the peer whose connection it is (§5.4).
        """
        self._bound[str(session.uri).encode("ascii")] = session
        self._idle_since = NEVER
        session.open(self.turns, self._pause, self._release, active)

    def received(self, data: bytes) -> None:
        """Some octets have come.

        What the sessions' users raise goes up from here; :meth:`go_on` then serves the rest.
        """
        if self._closed:
            return
        self._now = self._means.now()
        parts = self._parser.feed(data)
        if self._parts:
            self._parts = self._parts[self._at :] + parts
        else:
            self._parts = parts
        self._at = 0
        self.go_on()

    def go_on(self) -> None:
        """Serve what has come and waits."""
        if self._serving:
            return  # a user has let more come in; the loop below goes on with that
        self._serving = True
        try:
            while self._at < len(self._parts) and not self._stalled and not self._closed:
                part = self._parts[self._at]
                self._at += 1
                self._take(part)
        finally:
            self._serving = False
        if self._stalled or self._closed:
            return
        self._parts = []
        self._at = 0
        parser = self._parser
        if parser.broken:
            self._means.count("broken_framing")
            self._line.close(parser.broken)
            self.lost(parser.broken)
        elif not parser.in_head:
            self._half_since = NEVER
        elif self._half_since == NEVER:
            self._half_since = self._now
            self._schedule(self._now + self._means.limits.half)
        self._check_full()

    def drained(self) -> None:
        """The connection has sent all it had."""
        self._full_since = NEVER
        self._choked = False
        self._read_or_not()
        self.turns.pump()

    def lost(self, why: str) -> None:
        """The connection is gone, and its sessions with it (§5.4)."""
        if self._closed:
            return
        self._closed = True
        self._alarm.deadline = NEVER
        self.turns.close()
        sessions = list(self._bound.values())
        self._bound.clear()
        self._aliases.clear()
        self._lane.clear()
        for session in sessions:
            session.lost(why)

    def _take(self, part: Part) -> None:
        head = part.head
        if head.status:
            if part.flag:
                self._response(head)
            return
        try:
            if part.first:
                self._session = None
                self._chunk = None
                self._begin(part)
            elif self._chunk is not None:
                self._go_on(self._chunk, part)
            elif self._session is not None:
                self._collect(self._session, part)
        except PeerError as error:
            self._refuse(head, error.status, error.why)
        except Exception:
            chunk, self._chunk = self._chunk, None
            if chunk is not None and self._session is not None:
                self._session.inbox.fail(chunk)
            raise

    def _begin(self, part: Part) -> None:
        """A request begins."""
        head = part.head
        wrong = head.check()
        if wrong:
            raise PeerError(wrong)
        path = head.to_path
        session = self._bound.get(path)
        if session is None:
            session = self._aliases.get(path)
            if session is None:
                session = self._look_up(head, path, part)
                if session is None:
                    return
        self._session = session
        if head.method == b"SEND":
            chunk = self._chunk = session.inbox.begin(head, part.data)
            self._go_on(chunk, part)
        else:
            self._body_size = 0
            self._collect(session, part)

    def _go_on(self, chunk: Chunk, part: Part) -> None:
        """A SEND goes on."""
        session = self._session
        if session is None:
            return
        inbox = session.inbox
        if part.data:
            inbox.data(chunk, part.data)
        if part.flag:
            inbox.end(chunk, part.flag)
            self._chunk = None
        incoming = chunk.incoming
        if incoming is not None and (not part.flag or inbox.holds(incoming)):
            incoming.last = self._now
            if not incoming.watched:
                incoming.watched = True
                at = self._now + self._means.limits.silence
                if len(self._lane) >= self._crowd:
                    self._thin_out()
                self._lane.append((at, session, incoming))
                self._schedule(at)

    def _thin_out(self) -> None:
        """Drop the messages that are over from the lane."""
        lane = self._lane
        self._lane = deque([entry for entry in lane if entry[1].inbox.holds(entry[2])])
        self._crowd = max(_CROWD, 2 * len(self._lane))

    def _collect(self, session: Session, part: Part) -> None:
        """Another request goes on; its body is small, or it is refused."""
        self._body_size += len(part.data)
        if self._body_size > self._means.limits.control:
            self._session = None
            raise PeerError("the body of a request that is no message is too large")
        if not part.flag:
            return
        self._session = None
        head = part.head
        method = head.method
        if method == b"REPORT":
            session.reported(head)
        elif method == b"NICKNAME":
            value = head.get(b"Use-Nickname")
            if value is None:
                raise PeerError("Use-Nickname is missing")
            status = session.nickname_asked(head, read_nickname(value))
            if status != LATER:
                self._respond(head, status, "")
        else:
            self._means.count("unknown_method")
            self._respond(head, 501, "")

    def _look_up(self, head: Head, path: bytes, part: Part) -> Session | None:
        """Return the session that a request is for, bound now if it was not.

        ``None`` when the request has been refused, or has to wait.

        Spec: RFC 4975 §5.4, §7.3
        """
        uris = read_path(path)
        session = self._find(uris[0]) if len(uris) == 1 else None
        if session is None or session.state == CLOSED:
            self._means.count("no_such_session")
            self._refuse(head, 481, "")
            return None
        own = str(session.uri).encode("ascii")
        if self._bound.get(own) is not session:
            if session.outbox.turns is not None:
                self._means.count("session_in_use")
                self._refuse(head, 506, "")
                return None
            if not session.vouched:
                if not session.wait_for_voucher(self._vouched):
                    self._means.count("session_in_use")
                    self._refuse(head, 506, "")
                    return None
                self._at -= 1
                self._stalled = True
                self._first_by = NEVER  # it is we who take time
                if self._shared:
                    self._claimed = session
                    self._claimed_by = self._now + CLAIM
                    self._schedule(self._claimed_by)
                self._read_or_not()
                return None
            source = read_path(head.from_path)
            if not session.is_peer(source):
                self._means.count("wrong_sender")
                self._refuse(head, 481, "")
                return None
            if not session.remote_path:
                session.lead_to(source)
            self.served = True
            self._first_by = NEVER
            self.bind(session, False)
            if session.state == CLOSED:
                self._refuse(head, 481, "")
                return None
        if path != own and len(self._aliases) < _SPARE:
            self._aliases[path] = session
        return session

    def _vouched(self) -> None:
        """What a request waited for has been decided."""
        if self._closed:
            return
        self._stalled = False
        self._claimed_by = NEVER
        if not self.served:
            self._first_by = self._means.now() + self._means.limits.first
            self._schedule(self._first_by)
        self._read_or_not()
        self.go_on()

    def _response(self, head: Head) -> None:
        if self.turns.answered(head):
            return
        status = head.status
        if status != 200:
            session = self._bound.get(head.to_path)
            if session is not None:
                session.refused(status, head.comment.decode("utf-8", "replace"))

    def _refuse(self, head: Head, status: int, why: str) -> None:
        """Answer a request that goes nowhere, if an answer is possible and wanted."""
        self._session = None
        self._chunk = None
        self._means.count(f"answered_{status}")
        if head.method == b"REPORT":
            return
        if is_path(head.from_path) is None or is_path(head.to_path) is None:
            return
        if head.method == b"SEND" and head.get(b"Failure-Report") == b"no":
            return
        self._respond(head, status, why)

    def _respond(self, head: Head, status: int, comment: str) -> None:
        """Answer a request that has no message.

        Spec: RFC 4975 §7.2
        """
        to = head.from_path
        if head.method == b"SEND":
            to = to.split(b" ", 1)[0]
        own = head.to_path.split(b" ", 1)[0]
        self.turns.control(write_response(head.transaction, status, comment, to, own))

    def _pause(self, session: Session, paused: bool) -> None:
        if paused:
            self._paused.append(session)
        elif session in self._paused:
            self._paused.remove(session)
        self._read_or_not()

    def _release(self, session: Session) -> None:
        """A session needs this connection no more."""
        self._bound.pop(str(session.uri).encode("ascii"), None)
        for spelling in [one for one, other in self._aliases.items() if other is session]:
            del self._aliases[spelling]
        if session in self._paused:
            self._paused.remove(session)
            self._read_or_not()
        if not self._bound and not self._closed:
            self._idle_since = self._means.now()
            self._schedule(self._idle_since + self._means.limits.idle)

    def _full(self) -> None:
        """The connection takes no more for now."""
        if self._full_since == NEVER:
            self._full_since = self._means.now()
            self._schedule(self._full_since + self._means.limits.stalled)

    def _check_full(self) -> None:
        """Who does not read, is not read."""
        kept = self._line.buffered()
        if kept >= self._means.limits.window:
            self._full()
            if kept >= self._means.limits.unread and not self._choked:
                self._choked = True
                self._read_or_not()

    def _read_or_not(self) -> None:
        if self._closed:
            return
        wanted = not self._paused and not self._stalled and not self._choked
        if wanted == self._reading:
            return
        self._reading = wanted
        now = self._means.now()
        if not wanted:
            self._deaf_since = now
            self._line.pause()
            return
        # What may be here unread is not late.
        deaf = now - self._deaf_since
        self.turns.excuse(deaf)
        self._half_since += deaf
        self._first_by += deaf
        self._reschedule(now)
        self._line.resume()

    def _schedule(self, at: float) -> None:
        if at < self._alarm.deadline:
            self._alarm.deadline = at
            self._means.arm(self._alarm)

    def _wake(self, now: float) -> None:
        if self._closed:
            return
        limits = self._means.limits
        self._now = now
        reading = self._reading
        if reading:
            self.turns.wake(now)
        lane = self._lane
        while lane and lane[0][0] <= now:
            _, session, incoming = lane.popleft()
            if session.inbox.holds(incoming):
                if incoming.last + limits.silence <= now:
                    session.inbox.expire(incoming)
                else:
                    lane.append((now + limits.silence, session, incoming))
        if self._claimed_by <= now and self._claimed is not None:
            self._means.count("claims_refused")
            self._claimed.refuse_claims()
        why = ""
        if reading and self._first_by <= now:
            why = "no request in time"
        elif reading and self._half_since + limits.half <= now:
            why = "half a request"
        elif self._full_since + limits.stalled <= now:
            why = "the peer does not read"
        if why:
            self._means.count("dropped_" + why.replace(" ", "_"))
            self._line.abort(why)
            self.lost(why)
        elif self._idle_since + limits.idle <= now and not self.turns.busy:
            self._means.count("closed_idle")
            self._line.close("idle")
            self.lost("idle")
        self._reschedule(now)

    def _reschedule(self, now: float) -> None:
        if self._closed:
            return
        limits = self._means.limits
        at = min(
            self._lane[0][0] if self._lane else NEVER,
            self._full_since + limits.stalled,
            self._claimed_by,
            max(self._idle_since + limits.idle, now + 1.0),
        )
        if self._reading:
            at = min(at, self.turns.deadline, self._first_by, self._half_since + limits.half)
        self._schedule(at)
