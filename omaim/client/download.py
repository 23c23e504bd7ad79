"""A file that comes in.

::

    async def offered(offer):
        download = await offer.accept("downloads")
        print("here it is:", await download.done())

    client.on_file(offered)

Spec: RFC 5547 §8.2.2, §8.3.1, §8.4
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from twisted.logger import Logger
from twisted.python.failure import Failure as Broken

from omaim.bodies.cpim import MEDIA_TYPE as CPIM_TYPE
from omaim.bodies.file_selector import FileTransfer
from omaim.bodies.sdp import RECVONLY
from omaim.client.disk import Work
from omaim.client.leg import Leg
from omaim.client.means import Means
from omaim.client.partial import NotWhole, Partial
from omaim.client.transfer import FAILED, Transfer
from omaim.errors import UsageError
from omaim.msrp import ByteRange, Incoming, Session, SessionUser
from omaim.roles.negotiation import Medium, Wish
from omaim.timers import Alarm

TOLD: Final = 1_048_576  # octets after which the sender is told what has arrived
LINGER: Final = 30.0  # seconds after the end that the sender has to end the session
REFUSED: Final = 2.0  # seconds that it has when we want no more of the file
HEAD: Final = 16_384  # octets of an envelope around the file
BEHIND: Final = 1_048_576  # octets that may wait for the disk; then the sender waits

_log = Logger()


class Download(Transfer[Path]):
    """A file that comes in; ``done()`` gives where it is.

    Args:
        transfer: what is said about it.
        partial: takes the octets; it has begun.
        work: does that.
        name: that it will have, but for what makes it unique.
        secure: over TLS.
        asked: we have asked for the file, and say so in our offer.

    Attributes:
        again: asks the other side for what is missing.
    """

    def __init__(
        self,
        means: Means,
        peer: str,
        transfer: FileTransfer,
        partial: Partial,
        work: Work,
        name: str = "",
        *,
        secure: bool = False,
        asked: bool = False,
    ) -> None:
        super().__init__(means, peer, transfer.selector)
        self.transfer = transfer
        self.octets = partial.have
        self._partial = partial
        self._work = work
        self._behind = 0
        self._finishing = False
        self._name = name or transfer.selector.name
        self._incoming: Incoming | None = None
        self._head: bytearray | None = None  # of the envelope, while it comes
        self._reported = 0
        self._linger = Alarm(lambda _: self.let_go())
        self.again: Callable[[], Awaitable[Download]] | None = None
        self.wish = Wish(
            SessionUser(self._begins, on_closed=self._closed),
            ("*",),
            direction=RECVONLY,
            secure=secure,
            file=transfer if asked else None,
        )

    def begin(self, leg: Leg, medium: Medium, own: bool) -> None:
        """It may come."""
        self.joined(leg, medium, own)
        told = medium.agreed.remote.transfer if medium.agreed is not None else None
        if told is not None and told.selector:
            known = self.selector
            hashes = known.hashes or told.selector.hashes
            if known.contradicts(told.selector):
                self.failed("the other side offers another file")
                return
            size = known.size if known.size is not None else told.selector.size
            merged = type(known)(
                known.name or told.selector.name,
                size,
                known.type or told.selector.type,
                known.params or told.selector.params,
                hashes,
            )
            self.selector = merged

    @property
    def have(self) -> int:
        """Octets that are here, from the first of the file on."""
        return self._partial.have

    def _begins(self, session: Session, incoming: Incoming) -> None:
        if self._incoming is not None or self.over:
            incoming.refuse(413, "one file was agreed on")
            return
        self._incoming = incoming
        if incoming.content_type.partition(";")[0].strip().lower() == CPIM_TYPE:
            self._head = bytearray()
        incoming.stream(self._came, self._ended)

    def _came(self, offset: int, data: bytes) -> None:
        incoming = self._incoming
        if incoming is None or self.over:
            return
        try:
            data = self._unwrapped(data)
        except NotWhole as error:
            self._give_back(413, "it cannot be kept")
            self.failed(str(error))
            return
        size, received = len(data), incoming.received
        self._wait(size)
        writing = self._work.do(self._partial.write, data)
        writing.addBoth(self._written, size, received)
        writing.addErrback(self._broken)

    def _written(self, outcome: object, size: int, received: int) -> None:
        """Some octets are on the disk, or are not.

        Args:
            received: of the message, with them.
        """
        self._wait(-size)
        incoming = self._incoming
        if incoming is None or self.over:
            return
        if isinstance(outcome, Broken):
            if not outcome.check(OSError, NotWhole):
                outcome.raiseException()
            self._give_back(413, "it cannot be kept")
            self._fail(_words(outcome.value))
            return
        self.moved(self._partial.have)
        if received - self._reported >= TOLD:
            self._reported = received
            incoming.report(200, span=ByteRange(1, received, incoming.size))

    def _wait(self, size: int) -> None:
        """So many octets more wait for the disk, or fewer: let the sender wait, or go on."""
        before, self._behind = self._behind, self._behind + size
        session = None if self._medium is None else self._medium.session
        if session is None:
            return
        if before <= BEHIND < self._behind:
            session.pause()
        elif before > BEHIND >= self._behind:
            session.resume()

    def _unwrapped(self, data: bytes) -> bytes:
        """Return what of the data is the file's, behind the head of an envelope."""
        head = self._head
        if head is None:
            return data
        head += data
        first = head.find(b"\r\n\r\n")
        second = head.find(b"\r\n\r\n", first + 4) if first >= 0 else -1
        if second < 0:
            if len(head) > HEAD:
                raise NotWhole("its envelope does not end")
            return b""
        self._head = None
        return bytes(head[second + 4 :])

    def _ended(self, complete: bool) -> None:
        incoming = self._incoming
        if incoming is None or self.over:
            return
        if not complete:
            self.failed("not all of it has come")
            return
        incoming.hold()
        self._finishing = True
        self._work.done().addCallback(lambda _: self._conclude()).addErrback(self._broken)

    def _conclude(self) -> None:
        """All that has come is on the disk."""
        if self.over:
            return
        partial, size, last = self._partial, self.selector.size, self.transfer.last
        if last is not None and partial.have < last:
            self._give_back(413, "not all of it has come")
            self._fail("not all of it has come")
        elif size is not None and partial.have < size:
            self._give_back(200)
            self._fail(f"that was the part asked for: {partial.have} of {size} octets")
        else:
            finishing = self._work.do(partial.finish, self.selector, self._name)
            finishing.addCallbacks(self._finished, self._not_finished).addErrback(self._broken)

    def _finished(self, path: Path) -> None:
        self._finishing = False
        self._give_back(200)
        self.succeeded(path)
        self._let_go_in(LINGER)

    def _not_finished(self, failure: Broken) -> None:
        if not failure.check(OSError, NotWhole):
            failure.raiseException()
        self._give_back(413, "what has come is not the file")
        self._fail(_words(failure.value))

    def _give_back(self, status: int, why: str = "") -> None:
        """Answer the message, whether all of it is here or not."""
        incoming = self._incoming
        if incoming is not None:
            incoming.release(status, why)
            if status != 200:
                incoming.refuse(status, why)

    def _broken(self, failure: Broken) -> None:
        _log.failure("A file was not taken", failure)
        self._give_back(413, "it cannot be kept")
        self._fail("it could not be kept")

    def _closed(self, session: Session, why: str) -> None:
        self.failed(why or "the session has ended")

    async def resume(self) -> Download:
        """Ask the other side for what is missing after a failure; return what brings it.

        Raises:
            UsageError: it has not failed, or without a hash nobody can tell whether it is
                the same file.
            Failure: the other side cannot, or does not want to.

        Spec: RFC 5547 §6 (file-range), §8.2.2
        """
        if self.state != FAILED or self.again is None:
            raise UsageError("only what has failed, of a file whose hash is known, is resumed")
        await self._work.done()
        return await self.again()

    def _fail(self, why: str) -> None:
        self._finishing = False
        self.failed(why)

    def failed(self, why: str, status: int = 0) -> None:
        """It did not work; what has come is kept.

        What has come whole waits for the disk only: the end of the session does it no harm.
        """
        if self._finishing:
            return
        if not self.over:
            self._work.do(self._partial.close)
        super().failed(why, status)

    def leave(self) -> None:
        """End what carried it; whose file was refused hears that first."""
        if self._incoming is not None and self._incoming.refused:
            self._let_go_in(REFUSED)
        else:
            self.let_go()

    def _let_go_in(self, seconds: float) -> None:
        phone = self._means.phone
        self._linger.deadline = phone.now() + seconds
        phone.arm(self._linger)

    def when_closed(self, act: Callable[[], object]) -> None:
        """Call ``act`` when it is over, and nothing is written any more."""
        self.when_over(lambda: self._work.done().addBoth(lambda _: act()))

    def abort(self) -> None:
        """Take no more; the other side is told, what has come is gone.

        Spec: RFC 5547 §8.4
        """
        if self.over:
            return
        self._give_back(413, "given up")
        self._work.do(self._partial.discard)
        self._fail("given up")


def _words(error: BaseException | None) -> str:
    if isinstance(error, OSError):
        return f"it cannot be written: {error.strerror or error}"
    return str(error)
