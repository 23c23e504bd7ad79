"""All that leaves by one connection: in fair turns, until answered.

A chunk stays open as long as its message has something to say and nobody else wants the
connection; an answer, a report or another message interrupts it.

Spec: RFC 4975 §5.1, §7.1, §7.1.1, §7.3.2, §10
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, final

from omaim.msrp.frame import NO, PARTIAL, SMALL, YES, ByteRange, Head, Report
from omaim.msrp.means import Means
from omaim.msrp.outgoing import (
    ENDED,
    GONE,
    PIECE,
    SENDING,
    SENT,
    Outbox,
    Outgoing,
    wants_reports,
)

TURN: Final = 16384  # octets that a message may send before the next one has its turn
STRETCH: Final = 262144  # octets of a chunk: its answer tells that a slow peer goes on
CROWD: Final = 1024  # entries of the lane before those that are done with are looked for
LATE: Final = 64  # transactions without an answer due that one connection remembers


@final
class Sent:
    """One request that has left: a chunk, or one that is no message."""

    __slots__ = ("act", "deadline", "done", "end", "number", "outgoing", "start", "transaction")

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
        self.number = 0  # in the order in which answers are due
        self.done = False


@final
class Turns:
    """All that leaves by one connection: who may send next, and which answers are due.

    An answer is overdue 30 seconds after its request has left, as far as we see that. There may
    be much between us and a slow peer that nobody sees: so what has left later than all that was
    answered so far is not late as long as answers come.

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
        "_crowd",
        "_due",
        "_heard_at",
        "_lane",
        "_late",
        "_mark",
        "_means",
        "_most",
        "_newest",
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
        self._crowd = CROWD
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
        self._due = 0  # how many answers have been due so far
        self._newest = 0  # number of the last request that has been answered
        self._heard_at = 0.0  # when that was

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
        return self._late_at(lane[0]) if lane else float("inf")

    def _late_at(self, sent: Sent) -> float:
        """Return when the answer to a request is overdue."""
        if sent.number < self._newest:
            return sent.deadline
        return max(sent.deadline, self._heard_at + self._means.limits.answer)

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

    def is_choked(self) -> bool:
        """Tell whether so much waits for the peer that it is not even read."""
        return self._buffered() >= self._means.limits.unread

    def add(self, outgoing: Outgoing) -> None:
        """Let a message have turns, as far as it has something to say."""
        outbox = outgoing.outbox
        if outbox is not None and not outgoing.queued and outgoing.stage < SENT:
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
                outbox = outgoing.outbox
                assert outbox is not None
                if outgoing.in_frame:
                    queue.popleft()
                    outbox.left(outgoing)
                    if self._open is not None:
                        self._interrupt(b"+")
                    self._send_whole(outgoing, outbox)
                else:
                    self._send_piece(outgoing, outbox)
                if not outgoing.queued:
                    outbox.drained(outgoing)
        finally:
            self._pumping = False

    def remove(self, outgoing: Outgoing, tell: bool) -> None:
        """Give a message no more turns.

        Args:
            tell: let the receiver know that nothing follows, even if no chunk is open.
        """
        if outgoing.queued and outgoing.outbox is not None:
            outgoing.outbox.left(outgoing)
            self._queue.remove(outgoing)
        if self._open is outgoing:
            self._interrupt(b"#")
        elif tell and outgoing.stage == SENDING and not self._closed:
            if self._open is not None:
                self._interrupt(b"+")
            self._begin(outgoing, b"", True)
            self._interrupt(b"#")

    def release(self, outgoing: Outgoing) -> None:
        """Give a message no more turns: the rest of it goes by another connection."""
        if outgoing.queued and outgoing.outbox is not None:
            outgoing.outbox.left(outgoing)
            self._queue.remove(outgoing)
        if self._open is outgoing:
            self._interrupt(b"+")
        late = self._late
        for transaction in [key for key, sent in late.items() if sent.outgoing is outgoing]:
            del late[transaction]

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
        if sent.number > self._newest:
            self._newest = sent.number
            self._heard_at = self._means.now()
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
        while lane and (lane[0].done or self._late_at(lane[0]) <= now):
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

    def excuse(self, seconds: float) -> None:
        """Wait so much longer for the answers that are due: nothing was read meanwhile."""
        self._heard_at += seconds
        for sent in self._lane:
            sent.deadline += seconds

    def close(self) -> None:
        """The connection is gone. The sessions' own messages end with their sessions."""
        for outgoing in self._queue:
            if outgoing.outbox is not None:
                outgoing.outbox.left(outgoing)
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
        if outgoing.stage != ENDED:
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
        outgoing.on_progress(outgoing.position)

    def _send_piece(self, outgoing: Outgoing, outbox: Outbox) -> None:
        """Send the next piece of the message at the head of the queue."""
        queue = self._queue
        finished = outgoing.finished
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
        elif self._chunk >= STRETCH:
            self._interrupt(b"+")
        outgoing.on_progress(outgoing.position)

    def _begin(self, outgoing: Outgoing, data: bytes, ends: bool) -> None:
        """Open a chunk that begins with ``data``, which has been taken already."""
        outbox = outgoing.outbox
        content = outgoing.content
        if outbox is None or content is None:
            return
        transaction = self._means.transaction()
        while transaction in data:
            transaction = self._means.transaction()
        start = outgoing.position - len(data)
        end = outgoing.position if ends and len(data) <= SMALL else -1
        total = outgoing.size
        if total < 0 and outgoing.finished:
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
        outgoing.stage = SENDING
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
            outgoing.stage = SENT
        if failure == YES:
            outgoing.unanswered += 1
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
        if len(lane) >= self._crowd:  # behind one that is not answered
            lane = self._lane = deque([one for one in lane if not one.done])
            self._crowd = max(CROWD, 2 * len(lane))
        sent.deadline = self._means.now() + self._means.limits.answer
        self._due += 1
        sent.number = self._due
        self._sent[sent.transaction] = sent
        lane.append(sent)
        if len(lane) == 1:
            self._schedule(sent.deadline)

    def _accepted(self, sent: Sent) -> None:
        outgoing = sent.outgoing
        if outgoing is not None and outgoing.unanswered:
            outgoing.unanswered -= 1
            if not outgoing.unanswered and outgoing.stage == SENT:
                outgoing.end(200)

    def _refused(self, sent: Sent, status: int, comment: str) -> None:
        outgoing = sent.outgoing
        if outgoing is None:
            return
        outbox = outgoing.outbox
        if outgoing.stage != ENDED:
            self.fail(outgoing, status)
        elif wants_reports(outgoing):
            span = ByteRange(sent.start + 1, sent.end, outgoing.size)
            outgoing.on_report(Report(outgoing.message_id, status, comment, span))
        if status in (481, 506) and outbox is not None:
            outbox.on_gone(f"the peer answered {status}")
