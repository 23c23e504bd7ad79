"""A file that goes out, read as fast as the other side takes it.

::

    upload = await client.send_file("bob@south.example", "report.pdf")
    upload.on_progress(lambda one: print(one.octets, one.size))
    await upload.done()

Spec: RFC 5547 §8.2.1, §8.3.2, §8.4; RFC 4975 §7.1
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import BinaryIO, Final

from twisted.logger import Logger
from twisted.python.failure import Failure as Broken

from omaim.bodies.cpim import MEDIA_TYPE as CPIM_TYPE
from omaim.bodies.file_selector import FileTransfer
from omaim.bodies.sdp import SENDONLY
from omaim.client.composing import Content, write_cpim
from omaim.client.disk import Disk, Work
from omaim.client.leg import Leg
from omaim.client.means import Means
from omaim.client.transfer import FAILED, Transfer
from omaim.errors import UsageError
from omaim.msrp import Incoming, Outgoing, Report, Session, SessionUser
from omaim.roles.negotiation import Medium, Wish
from omaim.timers import Alarm

READ: Final = 131_072  # octets of the file in one go
AHEAD: Final = 524_288  # octets that wait for the connection, at most
CONFIRMED: Final = 30.0  # seconds after the last answer for the report that all has arrived
BINARY: Final = "application/octet-stream"

_log = Logger()


class Upload(Transfer[int]):
    """A file that goes out; ``done()`` gives the octets that were sent.

    Args:
        path: of the file.
        transfer: what is said about it.
        secure: over TLS.
        disk: reads the file.

    Attributes:
        confirmed: octets of the file that have arrived, as the other side says.
        again: sends what is not confirmed.
    """

    def __init__(
        self, means: Means, peer: str, path: Path, transfer: FileTransfer, secure: bool, disk: Disk
    ) -> None:
        super().__init__(means, peer, transfer.selector)
        self.path = path
        self.transfer = transfer
        self.confirmed = transfer.first - 1
        self.octets = transfer.first - 1
        size = transfer.selector.size or 0
        last = size if transfer.last is None else transfer.last
        self._left = max(0, last - transfer.first + 1)
        self._total = self._left
        self._head = 0  # octets of the envelope before the file's
        self.again: Callable[[], Awaitable[Upload]] | None = None
        self._work = Work(disk)
        self._file: BinaryIO | None = None
        self._reading = False
        self._outgoing: Outgoing | None = None
        self._late = Alarm(lambda _: self.succeeded(self._total))
        self.wish = Wish(
            SessionUser(_refuse, on_closed=self._closed),
            ("*",),
            direction=SENDONLY,
            secure=secure,
            file=transfer,
        )

    def begin(self, leg: Leg, medium: Medium, own: bool) -> None:
        """The other side wants it: send."""
        self.joined(leg, medium, own)
        opening = self._work.do(self._open)
        opening.addCallbacks(lambda _: self._begin(medium), self._unreadable)
        opening.addErrback(self._broken)

    def _open(self) -> None:
        self._file = file = self.path.open("rb")
        file.seek(self.transfer.first - 1)

    def _begin(self, medium: Medium) -> None:
        """The file is open: send it."""
        if self.over or not medium.open:
            self._shut()
            return
        kind, prefix = self._wrapped(medium)
        self._head = len(prefix)
        limit = medium.max_size
        if limit is not None and self._head + self._total > limit:
            self.failed(f"the other side takes {limit} octets at most", 413)
            return
        self._outgoing = outgoing = Outgoing(
            kind,
            size=self._head + self._total,
            success_report=True,
            on_end=self._ended,
            on_report=self._reported,
            on_drained=self._pump,
            on_progress=self._progressed,
        )
        medium.session.send(outgoing)
        if prefix:
            outgoing.write(prefix)
        self._pump()

    def _wrapped(self, medium: Medium) -> tuple[str, bytes]:
        """Return the content type, and what stands before the file's octets."""
        kind = self.selector.type or BINARY
        accepts = medium.accepts
        if accepts.takes(kind) and not (accepts.wants_cpim and accepts.takes_wrapped(kind)):
            return kind, b""
        means = self._means
        envelope = write_cpim(Content(b"", kind), means.own, [self.peer], means.now(), "", ())
        return CPIM_TYPE, envelope.to_bytes()

    def _pump(self) -> None:
        """Read on, as long as what is read goes out."""
        outgoing = self._outgoing
        if outgoing is None or self._reading or self.over or outgoing.ended:
            return
        if not self._left:
            outgoing.finish()
        elif outgoing.pending < AHEAD:
            self._reading = True
            reading = self._work.do(self._read, min(READ, self._left))
            reading.addCallbacks(self._got, self._unreadable).addErrback(self._broken)

    def _read(self, most: int) -> bytes:
        data = b"" if self._file is None else self._file.read(most)
        if not data:
            raise OSError(0, "it has become shorter")
        return data

    def _got(self, data: bytes) -> None:
        self._reading = False
        if self._outgoing is not None and not self.over:
            self._left -= len(data)
            self._outgoing.write(data)
            self._pump()

    def _unreadable(self, failure: Broken) -> None:
        error = failure.value
        if not isinstance(error, OSError):
            failure.raiseException()
        if self._outgoing is not None:
            self._outgoing.abort()
        self.failed(f"{self.path} cannot be read: {error.strerror}")
        self._shut()

    def _broken(self, failure: Broken) -> None:
        _log.failure("A file was not sent", failure)
        self.failed("it could not be read")
        self._shut()

    def _progressed(self, octets: int) -> None:
        if not self.over:
            self.moved(self.transfer.first - 1 + max(0, octets - self._head))

    def _reported(self, report: Report) -> None:
        if report.status != 200:
            self.failed("the other side could not keep it", report.status)
            return
        self.alive()
        end = report.span.end if report.span is not None else -1
        if end >= 0:
            got = self.transfer.first - 1 + min(self._total, max(0, end - self._head))
            self.confirmed = max(self.confirmed, got)
        if self._outgoing is not None and self._outgoing.ended:
            self._check()

    def _ended(self, status: int) -> None:
        if status != 200:
            why = {0: "given up", 413: "the other side wants no more of it"}
            self.failed(why.get(status, "the session was lost"), status)
            return
        self._check()
        if not self.over:
            phone = self._means.phone
            self._late.deadline = phone.now() + CONFIRMED
            phone.arm(self._late)

    def _check(self) -> None:
        if self.confirmed >= self.transfer.first - 1 + self._total:
            self.succeeded(self._total)

    def _closed(self, session: Session, why: str) -> None:
        self.failed(why or "the session has ended")
        self._shut()

    def succeeded(self, result: int) -> None:
        """It is there: end what carried it."""
        super().succeeded(result)
        self._shut()
        self.let_go()

    def _shut(self) -> None:
        self._work.do(self._close)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    async def resume(self) -> Upload:
        """Send what the other side has not confirmed, after a failure; return what sends it.

        Raises:
            UsageError: it has not failed.
            Failure: the other side does not want it, or cannot be reached.

        Spec: RFC 5547 §6 (file-range)
        """
        if self.state != FAILED or self.again is None:
            raise UsageError("only what has failed is sent again")
        return await self.again()

    def abort(self) -> None:
        """Send no more; the other side is told.

        Spec: RFC 5547 §8.4
        """
        if self._outgoing is not None and not self.over:
            self._outgoing.abort()
        self.failed("given up")
        self._shut()


def _refuse(session: Session, incoming: Incoming) -> None:
    """Nothing is to come back."""
    incoming.refuse(403)
