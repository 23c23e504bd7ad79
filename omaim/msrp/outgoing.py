"""Messages on their way out, and those of one session together.

Spec: RFC 4975 §5.4, §7.1.1, §7.3.2
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, final

from omaim.errors import UsageError
from omaim.msrp.content import Content
from omaim.msrp.frame import YES, Report
from omaim.msrp.means import Means

if TYPE_CHECKING:
    from omaim.msrp.sending import Turns

PIECE: Final = 65536  # octets given to the connection at a time
REMEMBERED: Final = 256  # finished messages of one session that still take their reports

BURDEN: Final = 512  # octets that the head of a waiting message, and what we note of it, cost

GONE: Final = 481  # what became of messages when their session ended

NEW: Final = 0  # none of it has left
SENDING: Final = 1
SENT: Final = 2  # all octets have left, answers are due
ENDED: Final = 3


def _end(status: int) -> None:
    """Take the end without reaction."""


def _report(report: Report) -> None:
    """Stands for: nobody wants the reports."""


def _drained() -> None:
    """Take it without reaction."""


def _progress(octets: int) -> None:
    """Take it without reaction."""


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
        "_headers",
        "_on_end",
        "_pieces",
        "_skip",
        "_success_report",
        "content",
        "finished",
        "message_id",
        "on_drained",
        "on_progress",
        "on_report",
        "outbox",
        "pending",
        "position",
        "queued",
        "size",
        "stage",
        "status",
        "unanswered",
        "waited",
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
        self.on_drained = on_drained
        self.on_progress = on_progress
        self.outbox: Outbox | None = None
        self._pieces: deque[bytes] = deque()
        self._skip = 0  # octets of the first piece that have gone
        self.finished = False
        self.queued = False
        self.stage = NEW
        self.unanswered = 0
        self.waited = False  # something could not go to the connection at once
        if body is not None:
            self.finished = True
            if body:
                self._pieces.append(body)
                self.pending = len(body)
            self.size = start + len(body)
        elif content is None and not content_type:
            self.finished = True

    @property
    def ended(self) -> bool:
        """Whether ``on_end`` has been called."""
        return self.stage == ENDED

    @property
    def in_frame(self) -> bool:
        """Whether the whole message can leave in one frame at once."""
        return self.finished and self.pending <= PIECE and self.stage == NEW

    def write(self, data: bytes) -> None:
        """Send more of the body, which is kept by reference until the connection takes it.

        Look at ``pending`` and stop for a while when it grows. After the end (the receiver
        may want no more) what is written is dropped.

        Raises:
            UsageError: the message is finished.
        """
        if self.finished:
            if self.stage == ENDED:
                return
            raise UsageError("this message has been finished; send another one")
        if not data:
            return
        self._pieces.append(data)
        size = len(data)
        self.pending += size
        outbox = self.outbox
        if outbox is not None:
            outbox.pending += size
            outbox.queue(self)

    def finish(self) -> None:
        """Say that all has been written."""
        if not self.finished:
            self.finished = True
            if self.outbox is not None:
                self.outbox.queue(self)

    def abort(self) -> None:
        """Send no more; the receiver is told that the message is not whole."""
        if self.stage == ENDED:
            return
        outbox = self.outbox
        if outbox is not None and self.stage != SENT:
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
        if self.stage == ENDED:
            return
        self.stage = ENDED
        self.finished = True
        self.status = status
        self._pieces.clear()
        outbox = self.outbox
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

    @property
    def burden(self) -> int:
        """Octets that what waits costs here, heads included: many small messages weigh, too."""
        waiting = len(self._unfinished) if self.turns is None else self._queued
        return self.pending + BURDEN * waiting

    def sends(self, message_id: str) -> bool:
        """Tell whether a message with this Message-ID is on its way."""
        return message_id in self._unfinished

    def send(self, outgoing: Outgoing) -> None:
        """Begin to send; what waits for the connection is kept.

        Raises:
            UsageError: it was sent before, cannot be written, or its Message-ID is in use.
        """
        if outgoing.stage != NEW:
            raise UsageError("this message was sent before")
        outgoing.prepare(self._means)
        if outgoing.message_id in self._unfinished:
            raise UsageError(f"Message-ID {outgoing.message_id} is being sent already")
        self._unfinished[outgoing.message_id] = outgoing
        outgoing.outbox = self
        self.pending += outgoing.pending
        self.queue(outgoing)

    def queue(self, outgoing: Outgoing) -> None:
        """Let ``outgoing`` have turns."""
        turns = self.turns
        if turns is not None:
            turns.add(outgoing)
        if turns is None or outgoing.queued:
            outgoing.waited = self._waited = True

    def open(self, turns: Turns) -> None:
        """The session has its connection: what waits may go."""
        self.turns = turns
        for outgoing in list(self._unfinished.values()):
            turns.add(outgoing)

    def take_over(self, older: Outbox) -> None:
        """Send what waits in ``older``, in its order; nothing else may wait here yet.

        A message of which a part has left goes on behind that part. What has left as a whole,
        and what the peer has to answer a part of, remains where it is.

        Spec: RFC 4975 §5.4 (the chunks of a message may be split across sessions)
        """
        turns = older.turns
        for outgoing in list(older._unfinished.values()):
            content = outgoing.content
            answered = content is not None and content.failure_report == YES
            if outgoing.stage == SENT or (outgoing.stage == SENDING and answered):
                continue
            if turns is not None:
                turns.release(outgoing)
            del older._unfinished[outgoing.message_id]
            older.pending -= outgoing.pending
            outgoing.outbox = self
            self._unfinished[outgoing.message_id] = outgoing
            self.pending += outgoing.pending
            self.queue(outgoing)

    def joined(self, outgoing: Outgoing) -> None:
        """``outgoing`` waits for the connection."""
        outgoing.queued = True
        self._queued += 1

    def left(self, outgoing: Outgoing) -> None:
        """``outgoing`` waits no more."""
        if outgoing.queued:
            outgoing.queued = False
            self._queued -= 1

    def drained(self, outgoing: Outgoing) -> None:
        """Tell those who want to know that ``outgoing`` waits no more."""
        if outgoing.waited:
            outgoing.waited = False
            outgoing.on_drained()
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
        known = self._unfinished.pop(outgoing.message_id, None) is not None
        if known and wants_reports(outgoing):
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

    def forget(self, message_id: str) -> None:
        """No more reports are expected for a finished message."""
        self._finished.pop(message_id, None)

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


def wants_reports(outgoing: Outgoing) -> bool:
    """Tell whether ``outgoing`` takes its reports itself."""
    return outgoing.on_report is not _report
