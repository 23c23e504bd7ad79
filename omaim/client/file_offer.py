"""Somebody wants to send us a file.

Spec: RFC 5547 §8.3.1
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from twisted.internet.defer import Deferred

from omaim.bodies.file_selector import FileTransfer
from omaim.client.download import Download
from omaim.client.failures import Ended, Failure
from omaim.client.handing import hand
from omaim.errors import UsageError

DECLINED: Final = 603


class FileOffer:
    """A file that is offered, and waits for our answer.

    Attributes:
        sender: URI of who offers it.
        verified: the network says who that is.
        transfer: what is said about the file.
    """

    def __init__(
        self,
        sender: str,
        verified: bool,
        transfer: FileTransfer,
        prepare: Callable[[FileOffer, Path, str], Awaitable[Download]],
    ) -> None:
        self.sender = sender
        self.verified = verified
        self.transfer = transfer
        self._decided: Deferred[Download | int] = Deferred()
        self._afterwards: list[Callable[[], object]] = []
        self._prepare = prepare
        self._answered = False
        self._gone = False
        self._on_cancel: Callable[[], object] | None = None

    def __repr__(self) -> str:
        return f"<FileOffer of {self.name} by {self.sender}>"

    @property
    def name(self) -> str:
        """The file's name as its owner has it; anything may be in it."""
        return self.transfer.selector.name or "file"

    @property
    def size(self) -> int | None:
        """Octets of the whole file, if known."""
        return self.transfer.selector.size

    @property
    def type(self) -> str:
        """Its media type, "" if not known."""
        return self.transfer.selector.type

    @property
    def answered(self) -> bool:
        """It was accepted or declined, or is not offered any more."""
        return self._answered

    def on_cancel(self, act: Callable[[], object]) -> None:
        """Call ``act`` when the other side gives up."""
        self._on_cancel = act

    async def accept(self, folder: str | Path = ".", name: str = "") -> Download:
        """Take the file; return the download, which begins now.

        What has come of the same file before is not sent again, if its sender knows that.

        Args:
            folder: where to put it; made if it is not there.
            name: of the file there; by default the sender's, made harmless.

        Raises:
            Ended: it is not offered any more.
            UsageError: it was answered already.
            NotAcceptable: what comes before the octets that are offered is not here.
            OSError: the folder cannot be written to.
        """
        self._answer()
        try:
            download = await self._prepare(self, Path(folder), name)
        except Failure as failure:
            self._decide(failure.status)
            raise
        except BaseException:
            self._decide(500)
            raise
        self._decide(download)
        return download

    def decided(self) -> Deferred[Download | int]:
        """Return what fires with the download, or the status with which it was declined."""
        return self._decided

    def when_decided(self, act: Callable[[], object]) -> None:
        """Call ``act`` then."""
        self._afterwards.append(act)

    def _decide(self, what: Download | int) -> None:
        for act in self._afterwards:
            act()
        self._decided.callback(what)

    def decline(self, status: int = DECLINED) -> None:
        """Do not take it."""
        self._answer()
        self._decide(status)

    def gone(self) -> None:
        """It is not offered any more."""
        if not self._answered:
            self._answered = self._gone = True
            self._decide(487)
            hand(self._on_cancel)

    def _answer(self) -> None:
        if self._gone:
            raise Ended(481, "the file is not offered any more")
        if self._answered:
            raise UsageError("this offer was answered already")
        self._answered = True
