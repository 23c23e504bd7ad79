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

from omaim.bodies.cpim import MEDIA_TYPE as CPIM_TYPE
from omaim.bodies.file_selector import FileTransfer
from omaim.bodies.sdp import RECVONLY
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
HEAD: Final = 16_384  # octets of an envelope around the file


class Download(Transfer[Path]):
    """A file that comes in; ``done()`` gives where it is.

    Args:
        transfer: what is said about it.
        partial: takes the octets; it has begun.
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
        name: str = "",
        *,
        secure: bool = False,
        asked: bool = False,
    ) -> None:
        super().__init__(means, peer, transfer.selector)
        self.transfer = transfer
        self.octets = partial.have
        self._partial = partial
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
            self._partial.write(data)
        except (OSError, NotWhole) as error:
            incoming.refuse(413, "it cannot be kept")
            self.failed(_words(error))
            return
        self.moved(self._partial.have)
        if incoming.received - self._reported >= TOLD:
            self._reported = incoming.received
            incoming.report(200, span=ByteRange(1, incoming.received, incoming.size))

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
        last = self.transfer.last
        if not complete or (last is not None and self._partial.have < last):
            self.failed("not all of it has come")
            return
        size = self.selector.size
        if size is not None and self._partial.have < size:
            self._partial.close()
            self.failed(f"that was the part asked for: {self._partial.have} of {size} octets")
            return
        try:
            path = self._partial.finish(self.selector, self._name)
        except (OSError, NotWhole) as error:
            incoming.refuse(413, "what has come is not the file")
            self.failed(_words(error))
            return
        self.succeeded(path)
        phone = self._means.phone
        self._linger.deadline = phone.now() + LINGER
        phone.arm(self._linger)

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
        return await self.again()

    def failed(self, why: str, status: int = 0) -> None:
        """It did not work; what has come is kept."""
        if not self.over:
            self._partial.close()
        super().failed(why, status)

    def abort(self) -> None:
        """Take no more; the other side is told, what has come is gone.

        Spec: RFC 5547 §8.4
        """
        if self.over:
            return
        if self._incoming is not None:
            self._incoming.refuse(413, "given up")
        self._partial.discard()
        self.failed("given up")


def _words(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"it cannot be written: {error.strerror or error}"
    return str(error)
