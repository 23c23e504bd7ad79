"""Files of one client: sent, offered, asked for, and given to who asks.

Spec: RFC 5547
"""

from __future__ import annotations

import hashlib
import mimetypes
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from omaim.bodies.file_selector import (
    ATTACHMENT,
    SHA1,
    START,
    FileSelector,
    FileTransfer,
    judge,
)
from omaim.bodies.message_media import MessageMedia
from omaim.bodies.sdp import RECVONLY, SENDONLY, SENDRECV
from omaim.client.disk import Disk, Work
from omaim.client.download import Download
from omaim.client.failures import Busy, NotAcceptable, failure_class
from omaim.client.file_offer import FileOffer
from omaim.client.handing import hand
from omaim.client.leg import Leg
from omaim.client.means import Means
from omaim.client.offered import Offered
from omaim.client.partial import BLOCK, NotWhole, Partial, tidy
from omaim.client.transfer import Transfer
from omaim.client.upload import BINARY, Upload
from omaim.errors import PeerError, UsageError
from omaim.roles.invitation import Invitation
from omaim.roles.negotiation import Medium, Wish
from omaim.sip.uri import canonical_aor, comparable

ID: Final = 32  # hex digits of a file-transfer-id
SHARED: Final = 200  # files that others may ask for
KNOWN: Final = 200  # transfers of one conversation
DECIDING: Final = 120.0  # seconds for the answer to a file that is offered in a conversation
UNDER_WAY: Final = 50  # transfers at a time
LARGEST: Final = 1 << 32  # octets of a file that we take, unless the user says otherwise
DIGEST: Final = 20  # octets of a SHA-1 hash
KEPT: Final = 7 * 86400.0  # seconds that parts of files are kept, to go on with

_log = Logger()


@attrs.frozen
class _Shared:
    """A file that some may ask for."""

    path: Path
    file: FileSelector
    to: frozenset[str]  # canonical addresses
    changed: int  # st_mtime_ns when it was looked at


class Files:
    """The files of one client.

    Args:
        means: of the client.

    Attributes:
        on_file: gets each file that is offered.
        folder: where files that are offered go without asking; ``None`` asks.
        most: octets of a file that we take.
        disk: where all of them are.
    """

    def __init__(self, means: Means) -> None:
        self.disk = Disk(means.clock)
        self.on_file: Callable[[FileOffer], object] | None = None
        self.folder: Path | None = None
        self.most = LARGEST
        self._means = means
        self._shared: OrderedDict[str, _Shared] = OrderedDict()
        self._busy: set[tuple[Path, str]] = set()  # folder and key of what is arriving
        self._under_way = 0

    # Sending.

    async def send(
        self,
        peer: str,
        path: str | Path,
        *,
        leg: Leg | None = None,
        secure: bool = False,
        after: int = 0,
        progress: Callable[[Transfer[int]], object] | None = None,
    ) -> Upload:
        """Send a file; return when the other side wants it.

        Args:
            peer: URI.
            path: of the file.
            leg: of a conversation with the peer, to send it there; else in a call of its own.
            secure: over TLS.
            after: octets that the peer has; what follows them is sent.
            progress: told of each step.
        """
        self._room()
        shared = await self._share(Path(path), [peer])
        file = shared.file
        transfer = FileTransfer(
            file,
            self._new_id(),
            disposition=ATTACHMENT,
            modified=shared.changed / 1e9,
            first=after + 1,
            last=file.size if after else None,
        )
        upload = Upload(self._means, peer, Path(path), transfer, secure, self.disk)
        upload.again = lambda: self._resume(upload, secure)
        if progress is not None:
            upload.on_progress(progress)
        await self._offer(upload, upload.wish, peer, leg, upload.begin)
        return upload

    async def _resume(self, upload: Upload, secure: bool) -> Upload:
        """Send what the other side has not confirmed."""
        after = upload.confirmed
        if after:
            try:
                return await self.send(upload.peer, upload.path, after=after, secure=secure)
            except NotAcceptable:
                pass  # it has not kept what came: from the beginning, then
        return await self.send(upload.peer, upload.path, secure=secure)

    async def _offer(
        self,
        transfer: Transfer[int] | Transfer[Path],
        wish: Wish,
        peer: str,
        leg: Leg | None,
        begin: Callable[[Leg, Medium, bool], None],
    ) -> None:
        """Offer a medium for a file, and let it begin when the peer accepts."""
        if leg is not None:
            medium: Medium | None = await leg.add(wish)
            own = False
        else:
            leg = await Leg.invite(self._means, peer, [wish])
            medium, own = leg.media[0], True
        if medium is None:
            raise failure_class(603)(603)
        self._count(transfer)
        begin(leg, medium, own)

    # Asking for one.

    async def request(
        self,
        owner: str,
        wanted: FileSelector,
        folder: str | Path,
        *,
        leg: Leg | None = None,
        secure: bool = False,
        name: str = "",
    ) -> Download:
        """Ask for a file; return when its owner sends it. What is here of it is kept."""
        if not wanted:
            raise UsageError("say which file: by its name, size, type or hash")
        self._room()
        work = Work(self.disk)
        partial = await self._partial(Path(folder), wanted)
        resumes = partial.have > 0 and (wanted.size is None or partial.have < wanted.size)
        first = partial.have + 1 if resumes else 1
        transfer = FileTransfer(wanted, self._new_id(), first=first)
        download = self._download(owner, transfer, partial, work, name, secure=secure, asked=True)
        try:
            await _begun(work, partial, first)
            await self._offer(download, download.wish, owner, leg, download.begin)
        except Exception:
            download.failed("it was not sent")
            await work.done()
            raise
        self._resumable(download, Path(folder), name)
        return download

    def _resumable(self, download: Download, folder: Path, name: str) -> None:
        """Let a download be resumed, where a hash tells that it is the same file."""
        wanted = download.selector
        if any(kind == SHA1 for kind, _ in wanted.hashes):
            download.again = lambda: self.request(download.peer, wanted, folder, name=name)

    # Being asked.

    async def share(self, path: str | Path, people: Sequence[str]) -> FileSelector:
        """Let people ask for a file; return what is known about it.

        Raises:
            UsageError: it cannot be read.
        """
        return (await self._share(Path(path), people)).file

    async def _share(self, path: Path, people: Sequence[str]) -> _Shared:
        work = Work(self.disk)
        try:
            changed = (await work.do(path.stat)).st_mtime_ns
            file = await describe(path, work)
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}") from None
        to = frozenset(canonical_aor(one) for one in people)
        key = str(path.absolute())
        before = self._shared.pop(key, None)
        if before is not None and before.file == file:
            to |= before.to
        self._shared[key] = shared = _Shared(path, file, to, changed)
        if len(self._shared) > SHARED:
            self._shared.popitem(last=False)
        return shared

    async def _asked_for(self, peer: str, wanted: FileSelector) -> _Shared:
        """Return the file that somebody asks for.

        Raises:
            PeerError: 404, there is none that it may have, or more than one.
        """
        person = comparable(peer)
        found = []
        for one in list(self._shared.values()):
            fits = person in one.to and wanted.selects(one.file)
            if fits and await self.disk.run(_same, one):
                found.append(one)
        if len({one.file.hashes for one in found}) != 1:
            raise PeerError("no such file is here for you", 404)
        return found[0]

    # What comes by INVITE.

    async def invited(
        self, invitation: Invitation, offered: Offered, peer: str, verified: bool
    ) -> None:
        """Answer an INVITE that is about a file.

        Raises:
            PeerError: it is refused.
        """
        brought = await self._brought(offered.media, peer, verified, offered.secure, invitation)
        if isinstance(brought, int):
            if not invitation.answered:
                invitation.reject(brought)
            return
        wishes: list[Wish | None] = [None] * offered.count
        wishes[offered.index] = brought.wish
        try:
            leg = await Leg.accept(self._means, invitation, wishes)
        except BaseException:
            brought.failed("the other side is gone")
            raise
        self._begin(brought, leg, True)

    async def bring(self, leg: Leg, media: MessageMedia, peer: str, verified: bool) -> Wish | None:
        """Return what we bring to a file that is offered in a conversation, if we want it."""
        secure = media.path[0].lower().startswith("msrps")
        transfer = media.transfer
        try:
            if transfer is not None:
                if judge(transfer, leg.transfers) != START or len(leg.transfers) >= KNOWN:
                    raise PeerError("this transfer was here before", 488)
                leg.transfers[transfer.id] = transfer.selector
            brought = await self._brought(media, peer, verified, secure, leg)
        except PeerError as error:
            _log.info("A file is refused: {why}", why=error.why)
            return None
        if isinstance(brought, int):
            return None
        # The medium is made by the answer, which follows when this has returned.
        leg.answered.append(partial(self._begin, brought, leg, False))
        return brought.wish

    def _begin(self, brought: Upload | Download, leg: Leg, own: bool) -> None:
        for medium in leg.media:
            if medium is not None and medium.wish is brought.wish:
                self._count(brought)
                brought.begin(leg, medium, own)
                return
        brought.failed("it was not agreed on")

    async def _brought(
        self,
        media: MessageMedia,
        peer: str,
        verified: bool,
        secure: bool,
        asker: Invitation | Leg,
    ) -> Upload | Download | int:
        """Return what is to be done about a file medium, or the status to refuse it with."""
        transfer = media.transfer
        if transfer is None or media.direction == SENDRECV:
            raise PeerError("a file goes one way", 488)
        if self._under_way >= UNDER_WAY:
            raise PeerError("too many files are under way", 486)
        if media.direction == RECVONLY:
            shared = await self._asked_for(peer, transfer.selector)
            said = attrs.evolve(transfer.provided(shared.file), selector=shared.file)
            if transfer.first > (shared.file.size or 0) + 1:
                raise PeerError("the file has no such octets", 488)
            return Upload(self._means, peer, shared.path, said, secure, self.disk)
        if media.direction != SENDONLY:
            raise PeerError("nothing is to be sent", 488)
        return await self._decide(transfer, peer, verified, secure, asker)

    async def _decide(
        self,
        transfer: FileTransfer,
        peer: str,
        verified: bool,
        secure: bool,
        asker: Invitation | Leg,
    ) -> Download | int:
        """Ask our user about a file that is offered."""
        size = transfer.selector.size
        if size is not None and size > self.most:
            raise PeerError(f"files of more than {self.most} octets are not taken here", 403)

        async def prepare(offer: FileOffer, folder: Path, name: str) -> Download:
            work = Work(self.disk)
            await work.do(tidy, folder, self._means.now() - KEPT)
            partial = await self._partial(folder, transfer.selector)
            download = self._download(peer, transfer, partial, work, name, secure=secure)
            try:
                await _begun(work, partial, transfer.first)
            except (NotWhole, OSError) as error:
                download.failed(str(error))
                if isinstance(error, NotWhole):
                    raise failure_class(488)(488, str(error)) from error
                raise
            self._resumable(download, folder, name)
            return download

        offer = FileOffer(peer, verified, transfer, prepare)
        if isinstance(asker, Invitation):
            asker.on_cancel = lambda _: offer.gone()
        else:
            asker.ending.append(lambda _: offer.gone())
            late = self._means.clock.callLater(DECIDING, offer.gone)
            offer.when_decided(lambda: late.cancel() if late.active() else None)
        if self.folder is not None:
            accepting = Deferred.fromCoroutine(offer.accept(self.folder))
            accepting.addErrback(
                lambda failure: _log.info("A file is refused: {why}", why=failure.value)
            )
        elif self.on_file is None:
            raise PeerError("files are not taken here", 488)
        else:
            if isinstance(asker, Invitation):
                asker.ring()
            hand(self.on_file, offer)
        return await offer.decided()

    # How.

    async def _partial(self, folder: Path, file: FileSelector) -> Partial:
        """Return where a file goes; the same place for the same file, if a hash tells that."""
        digest = next((value for kind, value in file.hashes if kind == SHA1), b"")
        if len(digest) != DIGEST:
            digest = b""
        most = min(self.most, self.most if file.size is None else file.size)
        lasting = bool(digest) and (folder, digest.hex()) not in self._busy
        key = digest.hex() if lasting else self._new_id()
        self._busy.add((folder, key))
        try:
            return await self.disk.run(Partial, folder, key, most, lasting)
        except BaseException:
            self._busy.discard((folder, key))
            raise

    def _new_id(self) -> str:
        return self._means.phone.ids.token(ID)

    def _room(self) -> None:
        if self._under_way >= UNDER_WAY:
            raise Busy(0, f"{UNDER_WAY} files are under way")

    def _count(self, transfer: Transfer[int] | Transfer[Path]) -> None:
        """Note that a transfer is under way, until it is over."""
        self._under_way += 1

        def over() -> None:
            self._under_way -= 1

        transfer.when_over(over)

    def _download(
        self,
        peer: str,
        transfer: FileTransfer,
        partial: Partial,
        work: Work,
        name: str,
        **named: bool,
    ) -> Download:
        download = Download(self._means, peer, transfer, partial, work, name, **named)
        download.when_closed(lambda: self._busy.discard((partial.folder, partial.key)))
        return download


def selector(name: str, sha1: str, size: int | None, type: str) -> FileSelector:
    """Return which file is meant.

    Args:
        name: as its owner has it.
        sha1: hex digits of its hash.
        size: octets.
        type: media type.

    Raises:
        UsageError: the hash is none.
    """
    hashes: tuple[tuple[str, bytes], ...] = ()
    if sha1:
        try:
            hashes = ((SHA1, bytes.fromhex(sha1.replace(":", ""))),)
        except ValueError:
            raise UsageError("a hash is written in hex digits") from None
    return FileSelector(name, size, type.lower(), hashes=hashes)


async def _begun(work: Work, partial: Partial, first: int) -> None:
    """Get a file ready for the octets from ``first`` on; see :meth:`Partial.begin`."""
    await work.do(partial.begin, first)
    while await work.do(partial.catch_up):
        pass


async def describe(path: Path, work: Work) -> FileSelector:
    """Return what can be said about a file: name, size, type and hash.

    Raises:
        OSError: it cannot be read.

    Spec: RFC 5547 §6
    """
    digest = hashlib.sha1(usedforsecurity=False)
    size = 0
    file: BinaryIO = await work.do(path.open, "rb")

    def hashed() -> int:
        data = file.read(BLOCK)
        digest.update(data)
        return len(data)

    try:
        while read := await work.do(hashed):
            size += read
    finally:
        work.do(file.close)
    kind = mimetypes.guess_type(path.name)[0] or BINARY
    return FileSelector(path.name, size, kind, hashes=((SHA1, digest.digest()),))


def _same(one: _Shared) -> bool:
    """Tell whether a file has not been touched since it was looked at."""
    try:
        return one.path.stat().st_mtime_ns == one.changed
    except OSError:
        return False
