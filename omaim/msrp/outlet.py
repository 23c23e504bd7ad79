"""The sending side of one connection of a relay: what passes, and what becomes of it.

Frames are built at once and written together at the end of the turn. A body that comes in
pieces leaves in pieces; whatever else wants the connection interrupts its chunk. Each SEND that
was answered to the previous hop is remembered until the next hop answers: else its originator
gets a REPORT.

Spec: RFC 4976 §6.4.1; RFC 4975 §5.1, §7.1.1
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from omaim.msrp.channel import Line
from omaim.msrp.frame import COMMENTS, SMALL, Head, write_response
from omaim.msrp.means import Means
from omaim.msrp.passing import Passing, Paths, fields_of, write_report
from omaim.timers import NEVER

TURN: Final = 65536  # octets that are kept for the end of a turn; with more, they leave now
LATE: Final = 1024  # requests of which no answer is due, remembered in case one comes
_MORE: Final = b"+"
_LAST: Final = b"$"
_ABORTED: Final = b"#"


@final
class Passed:
    """A request that was passed on and may be answered.

    Attributes:
        source: where it came by.
        fields: of a SEND, behind the paths, each after a line end.
        offset: octets of the received chunk before these; size: how many these are.
        vouched: the previous hop has our 200, so that silence has to be reported.
        transaction: of another request: the one under which it came, for its answer.
        tries: it is an AUTH with credentials.
        deadline: when the answer is overdue.
    """

    __slots__ = (
        "deadline",
        "fields",
        "offset",
        "paths",
        "size",
        "source",
        "transaction",
        "tries",
        "vouched",
    )

    def __init__(
        self,
        source: Outlet,
        paths: Paths,
        fields: bytes,
        offset: int,
        size: int,
        vouched: bool,
        transaction: bytes = b"",
        tries: bool = False,
    ) -> None:
        self.source: Final = source
        self.paths: Final = paths
        self.fields: Final = fields
        self.offset: Final = offset
        self.size: Final = size
        self.vouched: Final = vouched
        self.transaction: Final = transaction
        self.tries: Final = tries
        self.deadline = NEVER


@final
class Route:
    """How requests with the same To-Path and From-Path go on.

    Args:
        paths: of theirs.
        onward: the connection by which they go on.
        until: when a URI of ours in them ends.
    """

    __slots__ = ("onward", "paths", "until")

    def __init__(self, paths: Paths, onward: Outlet, until: float) -> None:
        self.paths: Final = paths
        self.onward: Final = onward
        self.until: Final = until


@final
class Outlet:
    """The sending side of one connection, which may still be coming up.

    Args:
        means: of the endpoint.
        touched: gets this outlet when it has something to flush.
        schedule: called with a moment at which :meth:`wake` is wanted.
        watched: tells whether somebody wants to see each frame by itself.

    Attributes:
        closed: it takes nothing any more.
        stuck: the peer takes nothing at the moment.
        stuck_since: since when; infinity when it does.
        again: returns another connection to the relay that came first in a From-Path, when this
            one is gone.
        on_refused: an AUTH with credentials was refused at another relay.
        owed: requests that came by this connection, for which the next hop's answer is due: a
            REPORT may have to go back.
        told_at: when something was written last; 0 when nothing was.
    """

    __slots__ = (
        "_feeder",
        "_late",
        "_line",
        "_means",
        "_most",
        "_open",
        "_out",
        "_passed",
        "_schedule",
        "_size",
        "_touched",
        "_untimed",
        "_waiting",
        "_watched",
        "_window",
        "again",
        "closed",
        "on_refused",
        "owed",
        "stuck",
        "stuck_since",
        "told_at",
    )

    def __init__(
        self,
        means: Means,
        touched: list[Outlet],
        schedule: Callable[[float], None],
        watched: Callable[[], bool],
    ) -> None:
        self.closed = False
        self.stuck = False
        self.stuck_since = NEVER
        self.owed = 0
        self.told_at = 0.0
        self.again: Callable[[bytes], Outlet | None] | None = None
        self.on_refused: Callable[[], None] | None = None
        self._means = means
        self._touched = touched
        self._schedule = schedule
        self._watched = watched
        self._window = means.limits.window
        self._most = means.limits.unanswered
        self._line: Line | None = None
        self._out: list[bytes] = []
        self._size = 0  # octets in there
        self._open: Passing | None = None  # the chunk that has begun and not ended
        self._feeder: Outlet | None = None  # of the connection by which it comes
        self._passed: dict[bytes, Passed] = {}  # answers are due; oldest first
        self._late: dict[bytes, Passed] = {}  # answers may come: Failure-Report is "partial"
        self._untimed: list[Passed] = []  # those that a stuck peer has not got yet
        self._waiting: list[Callable[[], None]] = []

    @property
    def up(self) -> bool:
        """Whether the connection is there."""
        return self._line is not None and not self.closed

    @property
    def pending(self) -> int:
        """How many requests may still be answered."""
        return len(self._passed)

    @property
    def at_rest(self) -> bool:
        """Whether it is up, nothing waits to be sent, and no answer is due here or to here."""
        line = self._line
        return (
            line is not None
            and not (self.closed or self._passed or self.owed or self._size or self._waiting)
            and self._open is None
            and not line.buffered()
        )

    @property
    def full(self) -> bool:
        """Whether nothing more shall be passed on for now."""
        if self._size >= TURN:
            self.flush()
        return (
            self.stuck
            or (self._size >= self._window and self._line is None)
            or len(self._passed) >= self._most
        )

    @property
    def choked(self) -> bool:
        """Whether so much is unread that the peer must not send, either."""
        line = self._line
        return self.stuck and line is not None and line.buffered() >= self._means.limits.unread

    @property
    def deadline(self) -> float:
        """When the next answer is overdue; infinity when none is due."""
        for passed in self._passed.values():
            return passed.deadline
        return NEVER

    def wait(self, resume: Callable[[], None]) -> None:
        """Call ``resume`` when there is room again, or never will be."""
        self._waiting.append(resume)

    def come_up(self, line: Line) -> None:
        """The connection is there."""
        self._line = line
        self.flush()
        if not self.stuck:
            self.drained()

    def put(self, data: bytes) -> None:
        """Send a whole frame: of a message or not."""
        if self.closed:
            return
        if self._open is not None:
            self._interrupt(_MORE)
        self._write(data)

    def pass_whole(
        self,
        source: Outlet,
        paths: Paths,
        fields: bytes,
        content: bytes,
        size: int,
        failure: bytes,
        flag: bytes,
    ) -> None:
        """Pass on a SEND that is here as a whole.

        Args:
            content: the body with the blank line before it; empty for none.
            size: octets of the body.
            failure: its Failure-Report.

        Spec: RFC 4976 §6.4.1
        """
        transaction = self._means.transaction()
        while transaction in content:
            transaction = self._means.transaction()
        if self._open is not None:
            self._interrupt(_MORE)
        self._write(
            b"".join(
                (
                    b"MSRP ",
                    transaction,
                    paths.send,
                    fields,
                    content,
                    b"\r\n-------",
                    transaction,
                    flag,
                    b"\r\n",
                )
            )
        )
        if failure != b"no":
            vouched = failure != b"partial"
            self._expect(transaction, Passed(source, paths, fields, 0, size, vouched))

    def pass_other(
        self,
        source: Outlet,
        paths: Paths,
        method: bytes,
        fields: bytes,
        content: bytes,
        flag: bytes,
        transaction: bytes = b"",
        tries: bool = False,
    ) -> None:
        """Pass on a request that is no SEND.

        Args:
            transaction: under which it came, if an answer goes back under it; else empty.
            tries: it is an AUTH with credentials.

        Spec: RFC 4976 §6.4.2
        """
        new = self._means.transaction()
        while new in content:
            new = self._means.transaction()
        parts = (b"MSRP ", new, b" ", method, paths.onward, fields, content)
        self.put(b"".join((*parts, b"\r\n-------", new, flag, b"\r\n")))
        if transaction:
            self._expect(new, Passed(source, paths, b"", 0, 0, False, transaction, tries))

    def pass_piece(self, source: Outlet, passing: Passing, data: bytes, flag: bytes) -> None:
        """Pass on the next piece of a chunk.

        Args:
            flag: of the chunk's end; empty while it goes on.
        """
        if passing.refused:
            return
        if self._open is not passing:
            if data:
                passing.held.append(data)
                passing.held_size += len(data)
            if not flag and passing.held_size < SMALL and self._open is not None:
                return  # not worth a chunk yet
            data = b"".join(passing.held)
            passing.held.clear()
            passing.held_size = 0
            if not data and (flag == _MORE or (flag == _ABORTED and not passing.sent)):
                return
            self._begin(source, passing, data)
        elif data:
            if passing.clashes(data):
                self._interrupt(_MORE)
                self._begin(source, passing, data)
            else:
                self._write(data)
                passing.note(data)
        if flag:
            self._interrupt(flag)

    def abandon(self, source: Outlet, passing: Passing) -> None:
        """Nothing more comes of a chunk: its source is gone."""
        if not self.closed and not passing.refused:
            passing.held.clear()
            passing.held_size = 0
            self.pass_piece(source, passing, b"", _ABORTED)
            passing.refused = 408

    def answered(self, head: Head) -> bool:
        """Take a response; False when it is for nothing that was passed on, or no good one.

        Spec: RFC 4976 §6.4.3
        """
        transaction = head.transaction
        status = head.status
        passed = self._passed.get(transaction)
        if passed is None:
            passed = self._late.pop(transaction, None)
            if passed is not None:
                if not 200 <= status < 300:
                    self._report(passed, status)
                return True
            passing = self._open
            if passing is None or passing.transaction != transaction:
                return False
            if not 200 <= status < 300:
                self._refuse(passing, status)
            return True
        if passed.transaction and head.check():
            return False
        del self._passed[transaction]
        passed.source.owed -= 1
        if passed.transaction:
            self._send_back(passed, status, head)
        elif not 200 <= status < 300:
            self._report(passed, status)
        if self._waiting and len(self._passed) <= self._most // 2 and not self.full:
            self._release()
        return True

    def flush(self) -> None:
        """Write what has gathered."""
        line = self._line
        out = self._out
        if line is None or not out or self.closed:
            return
        if len(out) == 1 or self._watched():
            for data in out:
                line.write(data)
        else:
            line.write(b"".join(out))
        out.clear()
        self._size = 0
        self.told_at = self._means.now()
        if not self.stuck and line.buffered() >= self._window:
            self.stuck = True
            self.stuck_since = self.told_at
            self._schedule(self.stuck_since + self._means.limits.stalled)

    def drained(self) -> None:
        """The peer has taken all; only from now on can answers to the last of it be due."""
        self.stuck = False
        self.stuck_since = NEVER
        if self._untimed:
            at = self._means.now() + self._means.limits.answer
            for passed in self._untimed:
                passed.deadline = at
            self._untimed.clear()
            self._schedule(at)
        self._release()

    def wake(self, now: float) -> None:
        """Report what is overdue (§6.4.1)."""
        while self._passed:
            transaction = next(iter(self._passed))
            passed = self._passed[transaction]
            if passed.deadline > now:
                break
            del self._passed[transaction]
            passed.source.owed -= 1
            if not passed.transaction:
                self._means.count("answer_timeout")
                self._report(passed, 408)
        if self._waiting and not self.full:
            self._release()

    def lost(self) -> None:
        """The connection is gone, or never came up: say what may not have arrived."""
        if self.closed:
            return
        self.closed = True
        unsent = self._line is None
        passing = self._open
        self._open = self._feeder = None
        if passing is not None:
            passing.refused = 408
        self._out.clear()
        self._size = 0
        self._untimed.clear()
        passed, self._passed = self._passed, {}
        late, self._late = self._late, {}
        for one in passed.values():
            one.source.owed -= 1
            if one.transaction:
                self._send_back(one, 408, None)
            else:
                self._report(one, 408)
        for one in late.values() if unsent else ():
            self._report(one, 408)
        self._release()

    def _begin(self, source: Outlet, passing: Passing, data: bytes) -> None:
        """Open a chunk that begins with ``data``."""
        if self._open is not None:
            self._interrupt(_MORE)
        transaction = self._means.transaction()
        while transaction in data:
            transaction = self._means.transaction()
        fields = passing.head()
        self._write(b"MSRP %b%b%b\r\n\r\n" % (transaction, passing.paths.send, fields))
        passing.transaction = transaction
        passing.mark = b"-------" + transaction
        passing.start = passing.sent
        passing.tail = b""
        if data:
            self._write(data)
            passing.note(data)
        self._open, self._feeder = passing, source

    def _interrupt(self, flag: bytes) -> None:
        """End the open chunk."""
        passing, source = self._open, self._feeder
        if passing is None:
            return
        self._open = self._feeder = None
        transaction, passing.transaction = passing.transaction, b""
        self._write(b"\r\n-------%b%b\r\n" % (transaction, flag))
        if passing.failure != b"no" and flag != _ABORTED:
            start = passing.start
            size = passing.sent - start
            vouched = passing.vouched
            assert source is not None
            passed = Passed(source, passing.paths, passing.fields, start, size, vouched)
            self._expect(transaction, passed)

    def _write(self, data: bytes) -> None:
        if not self._size:
            self._touched.append(self)
        self._out.append(data)
        self._size += len(data)

    def _expect(self, transaction: bytes, passed: Passed) -> None:
        if not passed.vouched and not passed.transaction:
            late = self._late  # an answer is no more than possible: they must hold up nobody
            if len(late) >= LATE:
                del late[next(iter(late))]
            late[transaction] = passed
            return
        if self.stuck or self._line is None:
            passed.deadline = NEVER
            self._untimed.append(passed)
        else:
            passed.deadline = self._means.now() + self._means.limits.answer
            if not self._passed:
                self._schedule(passed.deadline)
        self._passed[transaction] = passed
        passed.source.owed += 1

    def _refuse(self, passing: Passing, status: int) -> None:
        """The next hop wants no more of the chunk that is open."""
        source = self._feeder
        start = passing.start
        size = passing.sent - start
        self._interrupt(_ABORTED)
        passing.refused = status
        passing.held.clear()
        passing.held_size = 0
        if passing.failure != b"no" and source is not None:
            self._report(Passed(source, passing.paths, passing.fields, start, size, False), status)

    def _report(self, passed: Passed, status: int) -> None:
        """Tell the originator of a SEND what became of it.

        Spec: RFC 4976 §6.4.1, §6.4.3
        """
        means = self._means
        paths = passed.paths
        source: Outlet | None = passed.source
        if source is not None and source.closed:
            source = None if source.again is None else source.again(paths.origin)
        transaction = means.transaction()
        report = write_report(transaction, status, paths, passed.fields, passed.offset, passed.size)
        if source is None or not report:
            means.count("reports_lost")
            return
        means.count(f"reported_{status}" if status in COMMENTS else "reported_other")
        source.put(report)

    def _send_back(self, passed: Passed, status: int, head: Head | None) -> None:
        """Answer a request that is no SEND, as the next hop has; without ``head``, for it.

        Spec: RFC 4976 §6.4.3
        """
        source = passed.source
        paths = passed.paths
        said, back, more, refused = "", paths.ours, b"", False
        if head is not None:
            said = head.comment.decode("utf-8", "replace")
            back = back + b" " + head.from_path
            fields = fields_of(head)
            more = fields[2:] + b"\r\n" if fields else b""
            refused = status == 401 and passed.tries and b"stale=true" not in fields.lower()
        source.put(write_response(passed.transaction, status, said, paths.origin, back, more))
        if refused and source.on_refused is not None:
            source.on_refused()

    def _release(self) -> None:
        """Let those go on who wait for room."""
        waiting, self._waiting = self._waiting, []
        for resume in waiting:
            resume()
