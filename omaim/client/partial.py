"""A file that is arriving: what has come stands beside its place until it is whole.

All of this waits for the disk, and is done in the steps of :mod:`omaim.client.disk`.

Spec: RFC 5547 §6 (file-range), §8.2.2, §8.3.1 (hash); §10 (names)
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO, Final

from omaim.bodies.file_selector import SHA1, FileSelector, safe_name
from omaim.errors import UsageError

BLOCK: Final = 1_048_576  # octets that are read or hashed in one go
ALIKE: Final = 1000  # files of the same name in one folder


class NotWhole(Exception):
    """What has come is not the file."""


class Partial:
    """A file on its way into a folder.

    Args:
        folder: where it will be.
        key: tells it from other files on their way; the same for the same file makes it
            resume. Hex digits.
        most: octets it may have.
        lasting: keep what has come when the transfer breaks off.

    Attributes:
        path: where what has come stands.
        have: octets that are here, from the first one of the file on.
    """

    def __init__(self, folder: Path, key: str, most: int, lasting: bool = True) -> None:
        if not key.isalnum():
            raise UsageError("a key is letters and digits")
        self.folder = folder
        self.key = key
        self.path = folder / f".{key}.part"
        self._most = most
        self._lasting = lasting
        self._file: BinaryIO | None = None
        self._digest = hashlib.sha1(usedforsecurity=False)
        self.have = self.path.stat().st_size if self.path.is_file() else 0

    def begin(self, first: int) -> None:
        """Get ready for the octets from ``first`` on (1 is the first of the file).

        Go on with :meth:`catch_up`.

        Raises:
            NotWhole: octets before them are missing.
            OSError: the folder cannot be written to.
        """
        if first - 1 > self.have:
            raise NotWhole(f"the first {first - 1} octets are not here")
        self.folder.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        self._file = file = os.fdopen(os.open(self.path, flags, 0o666), "r+b")
        file.truncate(first - 1)
        self.have = first - 1
        self._digest = hashlib.sha1(usedforsecurity=False)

    def catch_up(self) -> bool:
        """Hash some more of what is here already; tell whether there is more of it.

        Raises:
            OSError: it cannot be read.
        """
        data = self._file.read(BLOCK) if self._file is not None else b""
        self._digest.update(data)
        return bool(data)

    def write(self, data: bytes) -> None:
        """Take the octets that follow.

        Raises:
            NotWhole: it becomes larger than it may.
            OSError: the disk is full, or the like.
        """
        if self._file is None:
            raise UsageError("begin first")
        if self.have + len(data) > self._most:
            raise NotWhole(f"it has more than {self._most} octets")
        self._file.write(data)
        self._digest.update(data)
        self.have += len(data)

    def finish(self, wanted: FileSelector, name: str) -> Path:
        """Put the file into its place; return where that is.

        A file that is there already stays: the new one gets a number.

        Args:
            wanted: what the file has to be.
            name: as its sender has it.

        Raises:
            NotWhole: it is another one; what has come is gone.
            OSError: it cannot be put there.
        """
        file = self._file
        if file is None:
            raise UsageError("begin first")
        flaw = wanted.flaw(self.have, {SHA1: self._digest.digest()})
        if flaw:
            self.discard()
            raise NotWhole(flaw)
        file.flush()
        os.fsync(file.fileno())
        self._shut()
        return self._place(safe_name(name))

    def _place(self, name: str) -> Path:
        stem, dot, extension = name.rpartition(".")
        if not dot:
            stem, extension = name, ""
        for number in range(ALIKE):
            numbered = f"{stem} ({number})" if number else stem
            target = self.folder / f"{numbered}{dot}{extension}"
            try:
                os.link(self.path, target)
            except FileExistsError:
                continue
            self.path.unlink()
            self.have = 0
            return target
        raise FileExistsError(f"there are {ALIKE} files called {name}")

    def close(self) -> None:
        """The transfer broke off: keep what has come, if there is to be another try."""
        self._shut()
        if not self._lasting:
            self.discard()

    def discard(self) -> None:
        """Forget what has come."""
        self._shut()
        self.path.unlink(missing_ok=True)
        self.have = 0

    def _shut(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def tidy(folder: Path, before: float) -> None:
    """Remove what broke off before a moment (seconds since the epoch), and was not gone on with."""
    for part in folder.glob(".*.part"):
        try:
            if part.stat().st_mtime < before:
                part.unlink()
        except OSError:
            continue
