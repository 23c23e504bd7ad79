"""Messages on their way in: chunks put together, answered, and reported on.

Spec: RFC 4975 §5.4, §7.1.3, §7.1.4, §7.2, §7.3.1
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from omaim.errors import PeerError, UsageError
from omaim.msrp.accepting import Accepting
from omaim.msrp.assembling import Patchwork
from omaim.msrp.frame import (
    ABORTED,
    LAST,
    MORE,
    NO,
    PARTIAL,
    YES,
    ByteRange,
    Head,
    is_ident,
    is_media_type,
    is_path,
    phrase,
    write_response,
)
from omaim.msrp.means import Means
from omaim.msrp.recent import Recent
from omaim.msrp.sending import Turns

STOP: Final = 413
TOIL: Final = 16  # times that the octets of a message may be moved while it is put together

_UNDECIDED: Final = 0  # nobody has said what to do with it
_COLLECT: Final = 1
_STREAM: Final = 2
_REFUSED: Final = 3
_KNOWN: Final = 4  # has been here before
_OVER: Final = 5

_REPORTS: Final = frozenset([b"yes", b"no", b"partial"])


def _whole(body: bytes) -> None:
    """Take a message without reaction."""


def _data(offset: int, data: bytes) -> None:
    """Take octets without reaction."""


def _ended(complete: bool) -> None:
    """Take an end without reaction."""


def _failed() -> None:
    """Take it without reaction."""


@final
class Incoming:
    """A message whose first chunk is here.

    Whoever gets it decides before ``on_message`` returns: :meth:`collect`, :meth:`stream` or
    :meth:`refuse`; a message that nobody wants is refused with 413.

    Attributes:
        message_id: given by its sender.
        content_type: with its parameters.
        size: octets of the whole message as the sender says; -1 when he does not know. Trust
            what arrives instead.
        success_report: the sender wants to know when it has arrived.
        failure_report: ``YES``, ``PARTIAL`` or ``NO``.
        received: octets that came in order so far.
        head: of the first chunk.

    Spec: RFC 4975 §7.3.1
    """

    __slots__ = (
        "_chunk",
        "_comment",
        "_held",
        "_inbox",
        "_last",
        "_limit",
        "_mode",
        "_on_data",
        "_on_end",
        "_on_failed",
        "_on_whole",
        "_patches",
        "_pieces",
        "_report_later",
        "_status",
        "_total",
        "_twin",
        "content_type",
        "failure_report",
        "head",
        "last",
        "message_id",
        "received",
        "size",
        "success_report",
        "watched",
    )

    def __init__(
        self,
        inbox: Inbox,
        head: Head,
        message_id: str,
        content_type: str,
        size: int,
        success_report: bool,
        failure_report: str,
    ) -> None:
        self.head: Final = head
        self.message_id: Final = message_id
        self.content_type: Final = content_type
        self.size: Final = size
        self.success_report: Final = success_report
        self.failure_report: Final = failure_report
        self.received = 0
        self.last = 0.0  # when something came
        self.watched = False  # stands in the connection's lane
        self._inbox: Final = inbox
        self._mode = _UNDECIDED
        self._limit = 0
        self._pieces: list[bytes] = []  # in order, while all came in order
        self._patches: Patchwork | None = None
        self._total = -1  # octets of the message, once its last chunk is here
        self._status = 0
        self._comment = ""
        self._chunk: Chunk | None = None  # that is coming in
        self._last: list[Chunk] = []  # those whose answers are held
        self._twin: Incoming | None = None  # whose answer is held, while this one came again
        self._held = False
        self._report_later = False
        self._on_whole: Callable[[bytes], object] = _whole
        self._on_data: Callable[[int, bytes], object] = _data
        self._on_end: Callable[[bool], object] = _ended
        self._on_failed: Callable[[], object] = _failed

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The MIME fields beside Content-Type."""
        return [
            (name.decode("ascii"), value.decode("utf-8"))
            for name, value in self.head.fields.items()
            if name[:8].lower() == b"content-" and name != b"Content-Type"
        ]

    def collect(
        self,
        limit: int,
        on_whole: Callable[[bytes], object],
        on_failed: Callable[[], object] = _failed,
    ) -> None:
        """Put the message together, its chunks in whatever order they come.

        Args:
            limit: most octets; a larger message is refused with 413.
            on_whole: gets the body; it may still :meth:`refuse` or :meth:`hold`.
            on_failed: the message will not become whole.
        """
        self._decide(_COLLECT)
        self._limit = limit
        self._on_whole = on_whole
        self._on_failed = on_failed
        if self.size > limit:
            self.refuse(STOP)

    def stream(
        self,
        on_data: Callable[[int, bytes], object],
        on_end: Callable[[bool], object],
    ) -> None:
        """Get the body as it comes, in order, each octet once.

        Chunks that come before their turn are kept until the gap closes, up to the limit
        ``ahead``; beyond that the message is refused with 413. Where chunks overlap, what has
        been given out stays.

        Args:
            on_data: gets the number of octets before, and some more. To slow the sender down,
                pause the session.
            on_end: called once; False when the message will not become whole.
        """
        self._decide(_STREAM)
        self._on_data = on_data
        self._on_end = on_end

    def refuse(self, status: int = STOP, comment: str = "") -> None:
        """Want no more of this message; what still comes of it is dropped.

        The chunk at hand is answered with ``status`` (if the sender wants that), and so are
        those that follow. Neither ``on_whole``, ``on_failed`` nor ``on_end`` are called then.
        """
        if self._mode in (_REFUSED, _OVER):
            return
        self._mode = _REFUSED
        self._status = status
        self._comment = comment
        self._pieces.clear()
        self._patches = None
        if self._chunk is not None:
            self._inbox.answer(self._chunk, status, comment)

    def hold(self) -> None:
        """Keep back the last chunk's answer, and the success report, until :meth:`release`.

        For what has to be durable before it is acknowledged. Call it before or in ``on_whole``
        or ``on_end``. Who holds longer than 30 seconds makes the sender believe it failed.
        """
        self._held = True

    def release(self, status: int = 200, comment: str = "") -> None:
        """Answer what :meth:`hold` kept back."""
        if not self._held:
            return
        self._held = False
        last, self._last = self._last, []
        if last:
            self._inbox.release(self, last, status, comment)
        elif status != 200:
            self.refuse(status, comment)

    def report_later(self) -> None:
        """Send no success report by itself: whoever passes the message on will :meth:`report`."""
        self._report_later = True

    def report(self, status: int = 200, comment: str = "", span: ByteRange | None = None) -> None:
        """Tell the sender what became of the message, if it wants to know.

        Args:
            status: 200, or what went wrong after its chunks had been accepted.
            span: the octets meant; all that have come when not given.

        Spec: RFC 4975 §7.1.3, §7.1.4
        """
        wanted = self.success_report if status == 200 else self.failure_report != NO
        if wanted:
            total = self._total if self._total >= 0 else self.size
            self._inbox.report(
                self.head, status, comment, span or ByteRange(1, self.received, total)
            )

    @property
    def refused(self) -> bool:
        """Whether no more of it is wanted."""
        return self._mode == _REFUSED

    @property
    def over(self) -> bool:
        """Whether it is whole, or will never be."""
        return self._mode == _OVER

    @property
    def undecided(self) -> bool:
        """Whether nobody has said yet what to do with it."""
        return self._mode == _UNDECIDED

    def put(self, offset: int, data: bytes) -> None:
        """Take some octets; ``offset`` of the message come before them."""
        mode = self._mode
        if mode == _COLLECT:
            if offset + len(data) > self._limit:
                self.refuse(STOP)
            elif offset == self.received and self._patches is None:
                self._pieces.append(data)
                self.received = offset + len(data)
            else:
                self._patch(offset, data)
        elif mode == _STREAM:
            self._pass_on(offset, data)

    def is_whole(self, total: int) -> bool:
        """The last chunk ends at ``total``, or -1 for another one; tell whether all is here."""
        if total >= 0:
            self._total = total
        total = self._total
        if total < 0:
            return False
        if self._mode == _COLLECT and self._patches is not None:
            return self._patches.whole(total)
        return self.received >= total

    def deliver(self) -> None:
        """All is here."""
        mode = self._mode
        if mode == _STREAM:
            self._on_end(True)
            if self._mode == _STREAM:
                self._mode = _OVER
        elif mode == _COLLECT:
            pieces, self._pieces = self._pieces, []
            if self._patches is not None:
                body = self._patches.take(0)[: self._total]
                self._patches = None
                self.received = len(body)
            else:
                body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
                if len(body) > self._total:
                    body = body[: self._total]
            self._on_whole(body)
            if self._mode == _COLLECT:
                self._mode = _OVER

    def give_up(self) -> None:
        """It will not become whole."""
        mode = self._mode
        self._mode = _OVER
        self._pieces.clear()
        self._patches = None
        self._chunk = None
        if mode == _STREAM:
            self._on_end(False)
        elif mode == _COLLECT:
            self._on_failed()

    def _decide(self, mode: int) -> None:
        if self._mode != _UNDECIDED:
            raise UsageError("it has been decided already what becomes of this message")
        self._mode = mode

    def _patch(self, offset: int, data: bytes) -> None:
        patches = self._patches
        if patches is None:
            patches = self._patches = Patchwork()
            patches.put(0, b"".join(self._pieces))
            self._pieces.clear()
        patches.put(offset, data)
        if self._is_toil(patches):
            self.refuse(STOP, "too many gaps")

    def _is_toil(self, patches: Patchwork) -> bool:
        """Tell whether it costs too much to put the message together as it comes."""
        limits = self._inbox.means.limits
        most = TOIL * max(patches.octets, limits.ahead)
        return len(patches) > limits.gaps or patches.moved > most

    def _pass_on(self, offset: int, data: bytes) -> None:
        behind = self.received - offset
        if behind < 0:
            patches = self._patches
            if patches is None:
                patches = self._patches = Patchwork()
            patches.put(offset, data)
            if patches.octets > self._inbox.means.limits.ahead or self._is_toil(patches):
                self.refuse(STOP, "too far out of order")
            return
        if behind:
            data = data[behind:] if behind < len(data) else b""
        if data:
            at = self.received
            self.received = at + len(data)
            self._on_data(at, data)
        patches = self._patches
        if patches is not None and self._mode == _STREAM:
            data = patches.take(self.received)
            if data:
                at = self.received
                self.received = at + len(data)
                self._on_data(at, data)
            if not len(patches):
                self._patches = None


@final
class Chunk:
    """One SEND that is coming in.

    Attributes:
        head: its head.
        incoming: its message; ``None`` when there is none.
        offset: octets of the message before what comes next.
        answered: nothing more has to be said about it.
    """

    __slots__ = ("answered", "failure_report", "head", "incoming", "offset", "start")

    def __init__(
        self, head: Head, incoming: Incoming | None, offset: int, failure_report: str
    ) -> None:
        self.head: Final = head
        self.incoming: Final = incoming
        self.start: Final = offset
        self.offset = offset
        self.failure_report: Final = failure_report
        self.answered = False


@final
class Inbox:
    """The messages of one session on their way in.

    Args:
        means: of the endpoint.
        own: our URI, as From-Path of what we answer.
        on_message: gets each new message.
        on_full: told when too many answers wait for something of ours, and when no more.
        accepting: what is refused without asking anybody; ``None``: nothing.

    Attributes:
        turns: the connection's, once there is one.
        recent: the messages that came last.
    """

    __slots__ = (
        "_from",
        "_full",
        "_held",
        "_incoming",
        "_kind",
        "_on_full",
        "_on_message",
        "_own",
        "_previous",
        "accepting",
        "means",
        "recent",
        "turns",
    )

    def __init__(
        self,
        means: Means,
        own: bytes,
        on_message: Callable[[Incoming], object],
        on_full: Callable[[bool], object],
        accepting: Accepting | None,
    ) -> None:
        self.means: Final = means
        self.turns: Turns | None = None
        self.recent = Recent(means.limits.recent)
        self.accepting = accepting
        self._own = own
        self._on_message = on_message
        self._on_full = on_full
        self._full = False
        self._incoming: dict[str, Incoming] = {}
        self._held: dict[str, Incoming] = {}  # whole, but not answered
        self._kind = b"text/plain"  # the last Content-Type, which was a good one
        self._from = b""  # From-Path of the last request
        self._previous = b""  # its first URI

    def begin(self, head: Head, data: bytes) -> Chunk:
        """Return the chunk that this SEND is; it may have been answered already.

        Args:
            data: what has come of its body.

        Raises:
            PeerError: it is not as it has to be; answer 400.
        """
        fields = head.fields
        path = head.from_path
        if path != self._from:
            if is_path(path) is None:
                raise PeerError("From-Path cannot be answered")
            self._from = path
            self._previous = path.split(b" ", 1)[0]
        failure = fields.get(b"Failure-Report", b"yes")
        success = fields.get(b"Success-Report", b"no")
        if failure not in _REPORTS or (success != b"no" and success != b"yes"):
            raise PeerError("a report field has no such value")
        failure_report = YES
        if failure != b"yes":
            failure_report = NO if failure == b"no" else PARTIAL
        name = fields.get(b"Message-ID")
        if name is None:
            if head.has_body:
                raise PeerError("Message-ID is missing")
            return Chunk(head, None, 0, failure_report)
        if is_ident(name) is None:
            raise PeerError("not a good Message-ID")
        message_id = name.decode("ascii")
        field = fields.get(b"Byte-Range")
        start, total = 0, -1
        if field is not None:
            span = ByteRange.parse(field)
            start, total = span.start - 1, span.total
        incoming = self._incoming.get(message_id)
        if incoming is None:
            if not head.has_body:
                return Chunk(head, None, 0, failure_report)
            return self._first(
                head, message_id, total, success == b"yes", failure_report, start, data
            )
        if field is None:
            raise PeerError("Byte-Range is missing in a later chunk")
        chunk = Chunk(head, incoming, start, failure_report)
        incoming._chunk = chunk
        if incoming._mode == _REFUSED:
            self.answer(chunk, incoming._status, incoming._comment)
        return chunk

    def _first(
        self,
        head: Head,
        message_id: str,
        size: int,
        success_report: bool,
        failure_report: str,
        start: int,
        data: bytes,
    ) -> Chunk:
        kind = head.fields[b"Content-Type"]
        if kind != self._kind:
            if is_media_type(kind) is None:
                raise PeerError("Content-Type is no media type")
            self._kind = kind
        content_type = kind.decode("utf-8")
        incoming = Incoming(
            self, head, message_id, content_type, size, success_report, failure_report
        )
        chunk = Chunk(head, incoming, start, failure_report)
        incoming._chunk = chunk
        twin = self._held.get(message_id)
        if twin is not None or self.recent.has(message_id):
            self.means.count("duplicates")
            incoming._mode = _KNOWN
            incoming._twin = twin
            return chunk
        if len(self._incoming) >= self.means.limits.messages:
            self.means.count("too_many_messages")
            incoming.refuse(STOP, "too many messages at a time")
            return chunk
        self._incoming[message_id] = incoming
        status = 0
        if self.accepting is not None:
            status = self.accepting.check(content_type, size, data)
        if status:
            incoming.refuse(status)
        else:
            self._on_message(incoming)
            if incoming._mode == _UNDECIDED:
                incoming.refuse(STOP)
        return chunk

    def data(self, chunk: Chunk, data: bytes) -> None:
        """Some octets of the chunk have come."""
        incoming = chunk.incoming
        offset = chunk.offset
        chunk.offset = offset + len(data)
        if incoming is not None and data:
            accepting = self.accepting
            if accepting is not None and 0 < accepting.max_size < chunk.offset:
                incoming.refuse(STOP)
            incoming.put(offset, data)

    def end(self, chunk: Chunk, flag: int) -> None:
        """The chunk is over."""
        incoming = chunk.incoming
        if incoming is None:
            if not chunk.answered:
                self.answer(chunk, 200)
            return
        incoming._chunk = None
        mode = incoming._mode
        if mode == _REFUSED:
            if flag != MORE:
                self._incoming.pop(incoming.message_id, None)
            return
        if mode in (_KNOWN, _OVER):
            self._again(chunk, incoming, flag)
            return
        if flag == ABORTED:
            self._incoming.pop(incoming.message_id, None)
            self.answer(chunk, 200)
            incoming.give_up()
            return
        if not incoming.is_whole(chunk.offset if flag == LAST else -1):
            self.answer(chunk, 200)
            return
        self._incoming.pop(incoming.message_id, None)
        incoming._chunk = chunk
        incoming.deliver()
        incoming._chunk = None
        if incoming._mode == _REFUSED:
            return  # and answered so
        if incoming._held:
            incoming._last.append(chunk)
            self._held[incoming.message_id] = incoming
            if len(self._held) >= self.means.limits.held and not self._full:
                self._full = True
                self._on_full(True)
        else:
            self._conclude(incoming, chunk, 200, "")

    def fail(self, chunk: Chunk) -> None:
        """A defect of ours keeps the message from being served."""
        incoming = chunk.incoming
        if incoming is not None:
            incoming.refuse(STOP)
        elif not chunk.answered:
            self.answer(chunk, STOP)

    def release(self, incoming: Incoming, last: list[Chunk], status: int, comment: str) -> None:
        """Answer the chunks that were kept waiting: the first, and repeats of it."""
        self._held.pop(incoming.message_id, None)
        self._conclude(incoming, last[0], status, comment)
        for chunk in last[1:]:
            self.answer(chunk, status, comment)
        if self._full and len(self._held) <= self.means.limits.held // 2:
            self._full = False
            self._on_full(False)

    def _conclude(self, incoming: Incoming, chunk: Chunk, status: int, comment: str) -> None:
        """Answer the chunk that made the message whole, and report if that is wanted."""
        self.answer(chunk, status, comment)
        if status == 200:
            self.recent.add(incoming.message_id)
            if not incoming._report_later:
                incoming.report(200)

    def answer(self, chunk: Chunk, status: int, comment: str = "") -> None:
        """Answer a chunk, if that is wanted and has not been done.

        Spec: RFC 4975 §7.1.4, §7.2
        """
        if chunk.answered:
            return
        chunk.answered = True
        failure_report = chunk.failure_report
        if failure_report == YES or (failure_report == PARTIAL and status != 200):
            self._respond(chunk.head, status, comment)

    def report(self, head: Head, status: int, comment: str, span: ByteRange) -> None:
        """Send a REPORT about the message that began with ``head``.

        Spec: RFC 4975 §7.1.2
        """
        turns = self.turns
        if turns is None:
            return
        if turns.is_choked():
            # Not to be read while its answers wait does not stop those who report on it.
            self.means.count("reports_dropped")
            return
        transaction = self.means.transaction()
        said = phrase(status, comment)
        turns.control(
            b"MSRP %b REPORT\r\nTo-Path: %b\r\nFrom-Path: %b\r\nMessage-ID: %b\r\n"
            b"Byte-Range: %b\r\nStatus: 000 %d%b\r\n-------%b$\r\n"
            % (
                transaction,
                head.from_path,
                self._own,
                head.fields.get(b"Message-ID", b""),
                span.to_bytes(),
                status,
                b" " + said if said else b"",
                transaction,
            )
        )

    def expire(self, incoming: Incoming) -> None:
        """Nothing has come of a message for too long."""
        if self._incoming.get(incoming.message_id) is incoming:
            self.means.count("unfinished_messages")
            del self._incoming[incoming.message_id]
            incoming.give_up()

    def holds(self, incoming: Incoming) -> bool:
        """Tell whether more of ``incoming`` is expected."""
        return self._incoming.get(incoming.message_id) is incoming

    def close(self) -> None:
        """The session is over: what is not whole will not become so."""
        self.turns = None
        self._held.clear()
        unfinished, self._incoming = self._incoming, {}
        for incoming in unfinished.values():
            incoming.give_up()

    def _again(self, chunk: Chunk, incoming: Incoming, flag: int) -> None:
        """Octets of a message that has been here came again: say that they arrived (§5.4)."""
        twin = incoming._twin
        if flag == LAST and twin is not None and twin._held:
            twin._last.append(chunk)
            return
        self.answer(chunk, 200)
        if flag == LAST and incoming._mode == _KNOWN and incoming.success_report:
            span = ByteRange(chunk.start + 1, chunk.offset, chunk.offset)
            self.report(chunk.head, 200, "", span)

    def _respond(self, head: Head, status: int, comment: str) -> None:
        turns = self.turns
        if turns is None:
            return
        path = head.from_path
        if path != self._from:
            self._from = path
            self._previous = path.split(b" ", 1)[0]
        turns.control(write_response(head.transaction, status, comment, self._previous, self._own))
