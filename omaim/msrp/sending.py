"""Messages on their way out: cut into chunks, in fair turns, until answered.

A chunk stays open as long as its message has something to say and nobody else wants the
connection; an answer, a report or another message interrupts it.

Spec: RFC 4975 §5.1, §7.1, §7.1.1, §7.3.2, §10
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, final

from omaim.errors import UsageError
from omaim.msrp.frame import (
    NO,
    PARTIAL,
    SMALL,
    YES,
    ByteRange,
    Head,
    Report,
    is_ident,
)
from omaim.msrp.means import Means

PIECE: Final = 65536  # octets given to the connection at a time
TURN: Final = 16384  # octets that a message may send before the next one has its turn
LATE: Final = 64  # transactions without an answer due that one connection remembers
REMEMBERED: Final = 256  # finished messages of one session that may still be reported on

GONE: Final = 481  # what became of messages when their session ended

_NEW: Final = 0  # not given to a session
_SENDING: Final = 1
_SENT: Final = 2  # all octets have left, answers are due
_ENDED: Final = 3


def _end(status: int) -> None:
    """Take the end without reaction."""


def _report(report: Report) -> None:
    """Stands for: nobody wants the reports."""


def _drained() -> None:
    """Take it without reaction."""


def _progress(octets: int) -> None:
    """Take it without reaction."""


@final
class Content:
    """What all chunks of a message say alike, written once.

    Args:
        message_id: 4 to 32 characters.
        content_type: with its parameters; "" for a request without a body.
        headers: further MIME fields.
        success_report: ask for success reports.
        failure_report: ``YES``, ``PARTIAL`` or ``NO``.

    Raises:
        UsageError: something cannot be written so.

    Attributes:
        before: the fields before Byte-Range, each with its line end.
        after: those behind, and the empty line.
    """

    __slots__ = ("after", "before", "failure_report", "message_id", "success_report")

    def __init__(
        self,
        message_id: str,
        content_type: str,
        headers: list[tuple[str, str]] | None = None,
        success_report: bool = False,
        failure_report: str = YES,
    ) -> None:
        if is_ident(message_id.encode("utf-8")) is None:
            raise UsageError(f"{message_id!r} cannot be a Message-ID: RFC 4975 §9 (ident)")
        if failure_report not in (YES, NO, PARTIAL):
            raise UsageError(f"Failure-Report is yes, partial or no, not {failure_report!r}")
        before = f"Message-ID: {message_id}\r\n"
        if success_report:
            before += "Success-Report: yes\r\n"
        if failure_report != YES:
            before += f"Failure-Report: {failure_report}\r\n"
        after = ""
        for name, value in headers or ():
            if not name.lower().startswith("content-") or _breaks(name) or _breaks(value):
                raise UsageError(f"{name!r} cannot be a field of an MSRP message")
            after += f"{name}: {value}\r\n"
        if content_type:
            if _breaks(content_type):
                raise UsageError("a line end in a content type")
            after += f"Content-Type: {content_type}\r\n\r\n"
        self.message_id: Final = message_id
        self.success_report: Final = success_report
        self.failure_report: Final = failure_report
        self.before: Final = before.encode("utf-8")
        self.after: Final = after.encode("utf-8")


@final
class Outgoing:
    """One message to send, whole or piece by piece.

    Args:
        content_type: with its parameters; "" together with no body makes a request that says
            nothing and is not shown to anybody (§7.1).
        body: the whole body; ``None`` when it comes by :meth:`write`.
        message_id: "" for a new one.
        size: octets of the whole message, if known; -1 else. Only a hint for the receiver.
        headers: further MIME fields, whose names begin with "Content-".
        success_report: ask for success reports; they come to ``on_report``.
        failure_report: ``YES``: each chunk is answered within 30 seconds or has failed;
            ``PARTIAL``: only failures are told; ``NO``: nothing is.
        start: octets that an earlier session has delivered; ``body`` and :meth:`write` go on
            behind them (§5.4).
        content: instead of the former, what several copies share.
        on_end: called once when nothing more will happen: 200 all was sent, and accepted
            where an answer was asked for; 0 :meth:`abort` was called; 408 no answer;
            481 the session ended first; else the receiver's code, 413: it wants no more.
        on_report: gets reports about this message, and with ``PARTIAL`` refusals that come
            after the end; the session's user gets them when this is not given.
        on_drained: everything written has gone to the connection, after it had not.
        on_progress: gets the octets given to the connection so far, ``start`` included.

    Attributes:
        pending: octets that wait here.
        position: octets of the message given to the connection, ``start`` included.

    Spec: RFC 4975 §7.1.1
    """

    __slots__ = (
        "_content_type",
        "_failure_report",
        "_finished",
        "_headers",
        "_on_drained",
        "_on_end",
        "_on_progress",
        "_outbox",
        "_pieces",
        "_queued",
        "_skip",
        "_state",
        "_success_report",
        "_unanswered",
        "_waited",
        "content",
        "message_id",
        "on_report",
        "pending",
        "position",
        "size",
        "status",
    )

    def __init__(
        self,
        content_type: str = "",
        body: bytes | None = None,
        message_id: str = "",
        *,
        size: int = -1,
        headers: list[tuple[str, str]] | None = None,
        success_report: bool = False,
        failure_report: str = YES,
        start: int = 0,
        content: Content | None = None,
        on_end: Callable[[int], object] = _end,
        on_report: Callable[[Report], object] = _report,
        on_drained: Callable[[], object] = _drained,
        on_progress: Callable[[int], object] = _progress,
    ) -> None:
        self.message_id = content.message_id if content is not None else message_id
        self.content = content
        self.size = size
        self.pending = 0
        self.position = start
        self.status = 0
        self.on_report: Final = on_report
        self._content_type = content_type
        self._headers = headers
        self._success_report = success_report
        self._failure_report = failure_report
        self._on_end = on_end
        self._on_drained = on_drained
        self._on_progress = on_progress
        self._outbox: Outbox | None = None
        self._pieces: deque[bytes] = deque()
        self._skip = 0  # octets of the first piece that have gone
        self._finished = False
        self._queued = False
        self._state = _NEW
        self._unanswered = 0
        self._waited = False  # something could not go to the connection at once
        if body is not None:
            self._finished = True
            if body:
                self._pieces.append(body)
                self.pending = len(body)
            self.size = start + len(body)
        elif content is None and not content_type:
            self._finished = True

    @property
    def ended(self) -> bool:
        """Whether ``on_end`` has been called."""
        return self._state == _ENDED

    @property
    def in_frame(self) -> bool:
        """Whether the whole message can leave in one frame at once."""
        return self._finished and self.pending <= PIECE and self._state == _NEW

    def write(self, data: bytes) -> None:
        """Send more of the body, which is kept by reference until the connection takes it.

        Look at ``pending`` and stop for a while when it grows. After the end (the receiver
        may want no more) what is written is dropped.

        Raises:
            UsageError: the message is finished.
        """
        if self._finished:
            if self._state == _ENDED:
                return
            raise UsageError("this message has been finished; send another one")
        if not data:
            return
        self._pieces.append(data)
        size = len(data)
        self.pending += size
        outbox = self._outbox
        if outbox is not None:
            outbox.pending += size
            outbox.queue(self)

    def finish(self) -> None:
        """Say that all has been written."""
        if not self._finished:
            self._finished = True
            if self._outbox is not None:
                self._outbox.queue(self)

    def abort(self) -> None:
        """Send no more; the receiver is told that the message is not whole."""
        if self._state == _ENDED:
            return
        outbox = self._outbox
        if outbox is not None and self._state != _SENT:
            outbox.cut_off(self, True)
        self.end(0)

    def prepare(self, means: Means) -> Content:
        """Return what all chunks say; made at the first time.

        Raises:
            UsageError: it cannot be written.
        """
        content = self.content
        if content is None:
            if not self.message_id:
                self.message_id = means.message_id()
            content = self.content = Content(
                self.message_id,
                self._content_type,
                self._headers,
                self._success_report,
                self._failure_report,
            )
        return content

    def end(self, status: int) -> None:
        """Tell that nothing more will happen."""
        if self._state == _ENDED:
            return
        self._state = _ENDED
        self._finished = True
        self.status = status
        self._pieces.clear()
        outbox = self._outbox
        if outbox is not None:
            outbox.ended(self)
        self.pending = 0
        self._on_end(status)

    def take(self, most: int) -> bytes:
        """Return at most ``most`` of the octets that wait."""
        pieces = self._pieces
        if not pieces:
            return b""
        piece = pieces[0]
        skip = self._skip
        if len(piece) - skip > most:
            self._skip = skip + most
            data = piece[skip : skip + most]
        else:
            pieces.popleft()
            self._skip = 0
            data = piece[skip:] if skip else piece
            size = len(data)
            if pieces and size + len(pieces[0]) <= most:
                more = [data]
                while pieces and size + len(pieces[0]) <= most:
                    piece = pieces.popleft()
                    size += len(piece)
                    more.append(piece)
                data = b"".join(more)
        size = len(data)
        self.pending -= size
        self.position += size
        return data


@final
class Sent:
    """One request that has left: a chunk, or one that is no message."""

    __slots__ = ("act", "deadline", "done", "end", "outgoing", "start", "transaction")

    def __init__(
        self,
        transaction: bytes,
        outgoing: Outgoing | None,
        start: int,
        end: int,
        act: Callable[[int, Head | None], object] | None = None,
    ) -> None:
        self.transaction: Final = transaction
        self.outgoing: Final = outgoing
        self.start: Final = start  # octets before it
        self.end: Final = end
        self.act: Final = act
        self.deadline = 0.0
        self.done = False


@final
class Outbox:
    """The messages of one session on their way out.

    Args:
        means: of the endpoint.
        on_gone: called when the peer says that the session is not there (481, 506).
        on_drained: nothing waits any more, after something had.

    Attributes:
        paths: To-Path and From-Path of our requests, with their line ends.
        turns: the connection's, once there is one.
        pending: octets that wait.
        frames: requests that have left.
    """

    __slots__ = (
        "_finished",
        "_means",
        "_on_drained",
        "_queued",
        "_unfinished",
        "_waited",
        "frames",
        "on_gone",
        "paths",
        "pending",
        "turns",
    )

    def __init__(
        self,
        means: Means,
        on_gone: Callable[[str], None],
        on_drained: Callable[[], None],
    ) -> None:
        self.paths = b""
        self.turns: Turns | None = None
        self.pending = 0
        self.frames = 0
        self.on_gone: Final = on_gone
        self._means = means
        self._on_drained = on_drained
        self._unfinished: dict[str, Outgoing] = {}
        self._finished: dict[str, Outgoing] = {}
        self._queued = 0  # messages that wait for the connection
        self._waited = False

    def send(self, outgoing: Outgoing) -> None:
        """Begin to send; what waits for the connection is kept.

        Raises:
            UsageError: it was sent before, cannot be written, or its Message-ID is in use.
        """
        if outgoing._state != _NEW:
            raise UsageError("this message was sent before")
        outgoing.prepare(self._means)
        if outgoing.message_id in self._unfinished:
            raise UsageError(f"Message-ID {outgoing.message_id} is being sent already")
        self._unfinished[outgoing.message_id] = outgoing
        outgoing._outbox = self
        self.pending += outgoing.pending
        self.queue(outgoing)

    def queue(self, outgoing: Outgoing) -> None:
        """Let ``outgoing`` have turns."""
        turns = self.turns
        if turns is not None:
            turns.add(outgoing)
        if turns is None or outgoing._queued:
            outgoing._waited = self._waited = True

    def open(self, turns: Turns) -> None:
        """The session has its connection: what waits may go."""
        self.turns = turns
        for outgoing in list(self._unfinished.values()):
            turns.add(outgoing)

    def joined(self, outgoing: Outgoing) -> None:
        """``outgoing`` waits for the connection."""
        outgoing._queued = True
        self._queued += 1

    def left(self, outgoing: Outgoing) -> None:
        """``outgoing`` waits no more."""
        if outgoing._queued:
            outgoing._queued = False
            self._queued -= 1

    def drained(self, outgoing: Outgoing) -> None:
        """Tell those who want to know that ``outgoing`` waits no more."""
        if outgoing._waited:
            outgoing._waited = False
            outgoing._on_drained()
        if self._waited and not self._queued:
            self._waited = False
            self._on_drained()

    def cut_off(self, outgoing: Outgoing, tell: bool) -> None:
        """Give ``outgoing`` no more turns."""
        if self.turns is not None:
            self.turns.remove(outgoing, tell)

    def ended(self, outgoing: Outgoing) -> None:
        """``outgoing`` is done with; it may be reported on for some time yet."""
        self.pending -= outgoing.pending
        if self._unfinished.pop(outgoing.message_id, None) is not None:
            finished = self._finished
            if len(finished) >= REMEMBERED:
                del finished[next(iter(finished))]
            finished[outgoing.message_id] = outgoing
        if self._waited and not self._queued:
            self._waited = False
            self._on_drained()

    def find(self, message_id: str) -> Outgoing | None:
        """Return the message with this Message-ID, if it is remembered."""
        found = self._unfinished.get(message_id)
        return self._finished.get(message_id) if found is None else found

    def close(self) -> None:
        """End all that is not finished: the session is gone."""
        turns = self.turns
        unfinished = list(self._unfinished.values())
        if turns is not None:
            for outgoing in unfinished:
                turns.remove(outgoing, True)
        self.turns = None
        for outgoing in unfinished:
            outgoing.end(GONE)
        self._finished.clear()


@final
class Turns:
    """All that leaves by one connection: who may send next, and which answers are due.

    Args:
        means: of the endpoint.
        write: gives octets to the connection.
        buffered: returns how many of them it has not sent yet.
        schedule: called with a moment at which :meth:`wake` is wanted.
        on_full: called when the connection takes no more.
    """

    __slots__ = (
        "_buffered",
        "_chunk",
        "_closed",
        "_lane",
        "_late",
        "_mark",
        "_means",
        "_most",
        "_on_full",
        "_open",
        "_pumping",
        "_queue",
        "_schedule",
        "_sent",
        "_start",
        "_tail",
        "_transaction",
        "_window",
        "_write",
    )

    def __init__(
        self,
        means: Means,
        write: Callable[[bytes], object],
        buffered: Callable[[], int],
        schedule: Callable[[float], None],
        on_full: Callable[[], None],
    ) -> None:
        self._means = means
        self._write = write
        self._buffered = buffered
        self._schedule = schedule
        self._on_full = on_full
        self._window = means.limits.window
        self._most = means.limits.unanswered
        self._queue: deque[Outgoing] = deque()
        self._pumping = False
        self._closed = False
        self._open: Outgoing | None = None  # whose chunk has no end-line yet
        self._transaction = b""  # of that chunk
        self._mark = b""  # what must not stand in it
        self._tail = b""  # its last octets
        self._start = 0  # octets of the message before it
        self._chunk = 0  # octets in it
        self._sent: dict[bytes, Sent] = {}  # answers are due
        self._late: dict[bytes, Sent] = {}  # answers may come
        self._lane: deque[Sent] = deque()  # those of _sent by deadline, and some that are done

    @property
    def busy(self) -> bool:
        """Whether something waits to be sent or for its answer."""
        return bool(self._queue) or bool(self._sent) or self._open is not None

    @property
    def deadline(self) -> float:
        """When the next answer is overdue; infinity when none is due."""
        lane = self._lane
        while lane and lane[0].done:
            lane.popleft()
        return lane[0].deadline if lane else float("inf")

    def control(self, data: bytes) -> None:
        """Send a response, a report or another request that goes before all messages."""
        if self._open is not None:
            self._interrupt(b"+")
        self._write(data)

    def request(
        self, transaction: bytes, data: bytes, act: Callable[[int, Head | None], object]
    ) -> None:
        """Send a request that is no message; ``act`` gets the status of its answer, and its head.

        408 and no head stand for: none came.
        """
        self.control(data)
        self._expect(Sent(transaction, None, 0, 0, act))

    def may_write(self) -> bool:
        """Tell whether a frame could go straight to the connection."""
        if self._queue:
            return False
        if self._buffered() < self._window:
            return True
        self._on_full()
        return False

    def add(self, outgoing: Outgoing) -> None:
        """Let a message have turns, as far as it has something to say."""
        outbox = outgoing._outbox
        if outbox is not None and not outgoing._queued and outgoing._state < _SENT:
            outbox.joined(outgoing)
            self._queue.append(outgoing)
        if not self._pumping:
            self.pump()

    def pump(self) -> None:
        """Send what the connection takes."""
        if self._pumping:
            return
        self._pumping = True
        queue = self._queue
        try:
            while queue and len(self._sent) < self._most:
                if self._buffered() >= self._window:
                    self._on_full()
                    break
                outgoing = queue[0]
                outbox = outgoing._outbox
                assert outbox is not None
                if outgoing.in_frame:
                    queue.popleft()
                    outbox.left(outgoing)
                    if self._open is not None:
                        self._interrupt(b"+")
                    self._send_whole(outgoing, outbox)
                else:
                    self._send_piece(outgoing, outbox)
                if not outgoing._queued:
                    outbox.drained(outgoing)
        finally:
            self._pumping = False

    def remove(self, outgoing: Outgoing, tell: bool) -> None:
        """Give a message no more turns.

        Args:
            tell: let the receiver know that nothing follows, even if no chunk is open.
        """
        if outgoing._queued and outgoing._outbox is not None:
            outgoing._outbox.left(outgoing)
            self._queue.remove(outgoing)
        if self._open is outgoing:
            self._interrupt(b"#")
        elif tell and outgoing._state == _SENDING and not self._closed:
            self._begin(outgoing, b"", True)
            self._interrupt(b"#")

    def answered(self, head: Head) -> bool:
        """Take a response; False when no request of ours is known that it could be for."""
        transaction = head.transaction
        sent = self._sent.pop(transaction, None)
        if sent is None:
            sent = self._late.pop(transaction, None)
            if sent is None:
                outgoing = self._open
                if outgoing is None or transaction != self._transaction:
                    return False
                sent = Sent(transaction, outgoing, self._start, outgoing.position)
        sent.done = True
        status = head.status
        if sent.act is not None:
            sent.act(status, head)
        elif 200 <= status < 300:
            self._accepted(sent)
        else:
            self._refused(sent, status, head.comment.decode("utf-8", "replace"))
        if self._queue:
            self.pump()
        return True

    def wake(self, now: float) -> None:
        """Give up the answers that are overdue."""
        lane = self._lane
        while lane and (lane[0].done or lane[0].deadline <= now):
            sent = lane.popleft()
            if sent.done:
                continue
            sent.done = True
            self._sent.pop(sent.transaction, None)
            self._means.count("answer_timeout")
            if sent.act is not None:
                sent.act(408, None)
            else:
                self._refused(sent, 408, "")
        if self._queue:
            self.pump()

    def close(self) -> None:
        """The connection is gone. The sessions' own messages end with their sessions."""
        for outgoing in self._queue:
            if outgoing._outbox is not None:
                outgoing._outbox.left(outgoing)
        self._queue.clear()
        self._open = None
        self._closed = True
        self._late.clear()
        lane, self._lane = self._lane, deque()
        self._sent.clear()
        for sent in lane:
            if not sent.done and sent.act is not None:
                sent.done = True
                sent.act(GONE, None)

    def fail(self, outgoing: Outgoing, status: int) -> None:
        """A message was refused or lost: send no more of it."""
        if outgoing._state != _ENDED:
            self.remove(outgoing, False)
            outgoing.end(status)

    def _send_whole(self, outgoing: Outgoing, outbox: Outbox) -> None:
        """Send a message in one frame."""
        content = outgoing.content
        assert content is not None
        start = outgoing.position
        body = outgoing.take(PIECE)
        outbox.pending -= len(body)
        transaction = self._means.transaction()
        while transaction in body:
            transaction = self._means.transaction()
        if content.after:
            end = outgoing.position
            if outgoing.size < 0:
                outgoing.size = end
            if len(body) > SMALL:
                span = b"Byte-Range: %d-*/%d\r\n" % (start + 1, outgoing.size)
            else:
                span = b"Byte-Range: %d-%d/%d\r\n" % (start + 1, end, outgoing.size)
            parts = [
                b"MSRP ",
                transaction,
                b" SEND\r\n",
                outbox.paths,
                content.before,
                span,
                content.after,
                body,
                b"\r\n-------",
                transaction,
                b"$\r\n",
            ]
        else:
            parts = [
                b"MSRP ",
                transaction,
                b" SEND\r\n",
                outbox.paths,
                content.before,
                b"-------",
                transaction,
                b"$\r\n",
            ]
        outbox.frames += 1
        self._write(b"".join(parts))
        self._left(outgoing, transaction, start, True)
        outgoing._on_progress(outgoing.position)

    def _send_piece(self, outgoing: Outgoing, outbox: Outbox) -> None:
        """Send the next piece of the message at the head of the queue."""
        queue = self._queue
        finished = outgoing._finished
        opened = self._open is outgoing
        if not finished and outgoing.pending < (1 if opened else SMALL):
            queue.popleft()
            outbox.left(outgoing)
            return
        data = outgoing.take(PIECE if len(queue) == 1 else TURN)
        outbox.pending -= len(data)
        ends = finished and not outgoing.pending
        if opened and self._clashes(data):
            self._interrupt(b"+")
            opened = False
        if opened:
            self._write(data)
            self._chunk += len(data)
            self._note_tail(data)
        else:
            if self._open is not None:
                self._interrupt(b"+")
            self._begin(outgoing, data, ends)
        if ends:
            queue.popleft()
            outbox.left(outgoing)
            self._interrupt(b"$")
        elif len(queue) > 1 and self._chunk >= TURN:
            self._interrupt(b"+")
            queue.rotate(-1)
        outgoing._on_progress(outgoing.position)

    def _begin(self, outgoing: Outgoing, data: bytes, ends: bool) -> None:
        """Open a chunk that begins with ``data``, which has been taken already."""
        outbox = outgoing._outbox
        content = outgoing.content
        if outbox is None or content is None:
            return
        transaction = self._means.transaction()
        while transaction in data:
            transaction = self._means.transaction()
        start = outgoing.position - len(data)
        end = outgoing.position if ends and len(data) <= SMALL else -1
        total = outgoing.size
        if total < 0 and outgoing._finished:
            total = outgoing.position + outgoing.pending
        span = ByteRange(start + 1, end, total)
        parts = [
            b"MSRP ",
            transaction,
            b" SEND\r\n",
            outbox.paths,
            content.before,
            b"Byte-Range: ",
            span.to_bytes(),
            b"\r\n",
            content.after,
        ]
        self._write(b"".join(parts))
        if data:
            self._write(data)
        outgoing._state = _SENDING
        outbox.frames += 1
        self._open = outgoing
        self._transaction = transaction
        self._mark = b"-------" + transaction
        self._tail = b""
        self._start = start
        self._chunk = len(data)
        self._note_tail(data)

    def _clashes(self, data: bytes) -> bool:
        """Tell whether the end-line would stand in the open chunk if ``data`` came next.

        Somebody who reads what we send could have it written here to end our frame early, and
        to go on with a frame of his own for another session of the same connection.
        """
        mark = self._mark
        return mark in data or mark in self._tail + data[: len(mark)]

    def _note_tail(self, data: bytes) -> None:
        keep = len(self._mark) - 1
        self._tail = data[-keep:] if len(data) >= keep else (self._tail + data)[-keep:]

    def _interrupt(self, flag: bytes) -> None:
        """End the open chunk."""
        outgoing = self._open
        if outgoing is None:
            return
        self._open = None
        self._write(b"\r\n-------%b%b\r\n" % (self._transaction, flag))
        if flag != b"#":
            self._left(outgoing, self._transaction, self._start, flag == b"$")

    def _left(self, outgoing: Outgoing, transaction: bytes, start: int, last: bool) -> None:
        """A chunk has left: expect its answer."""
        content = outgoing.content
        failure = NO if content is None else content.failure_report
        if last:
            outgoing._state = _SENT
        if failure == YES:
            outgoing._unanswered += 1
            self._expect(Sent(transaction, outgoing, start, outgoing.position))
            return
        if failure == PARTIAL:
            late = self._late
            if len(late) >= LATE:
                del late[next(iter(late))]
            late[transaction] = Sent(transaction, outgoing, start, outgoing.position)
        if last:
            outgoing.end(200)

    def _expect(self, sent: Sent) -> None:
        lane = self._lane
        while lane and lane[0].done:
            lane.popleft()
        sent.deadline = self._means.now() + self._means.limits.answer
        self._sent[sent.transaction] = sent
        lane.append(sent)
        if len(lane) == 1:
            self._schedule(sent.deadline)

    def _accepted(self, sent: Sent) -> None:
        outgoing = sent.outgoing
        if outgoing is not None and outgoing._unanswered:
            outgoing._unanswered -= 1
            if not outgoing._unanswered and outgoing._state == _SENT:
                outgoing.end(200)

    def _refused(self, sent: Sent, status: int, comment: str) -> None:
        outgoing = sent.outgoing
        if outgoing is None:
            return
        outbox = outgoing._outbox
        if outgoing._state != _ENDED:
            self.fail(outgoing, status)
        elif outgoing.on_report is not _report:
            span = ByteRange(sent.start + 1, sent.end, outgoing.size)
            outgoing.on_report(Report(outgoing.message_id, status, comment, span))
        if status in (481, 506) and outbox is not None:
            outbox.on_gone(f"the peer answered {status}")


def wants_reports(outgoing: Outgoing) -> bool:
    """Tell whether ``outgoing`` takes its reports itself."""
    return outgoing.on_report is not _report


def _breaks(text: str) -> bool:
    return "\r" in text or "\n" in text or "\0" in text
