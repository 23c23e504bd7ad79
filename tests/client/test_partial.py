"""A file that arrives in pieces, from any octet on, with any break: whole, or not there."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.bodies.file_selector import SHA1, FileSelector
from omaim.client.partial import NotWhole, Partial, tidy
from omaim.errors import UsageError

DATA = bytes(range(200))
FILE = FileSelector("data", len(DATA), hashes=((SHA1, hashlib.sha1(DATA).digest()),))
KEY = "ab12"


class PartialTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())

    def partial(self, most: int = 200, lasting: bool = True) -> Partial:
        return Partial(self.folder, KEY, most, lasting)

    def begin(self, partial: Partial, first: int) -> None:
        partial.begin(first)
        while partial.catch_up():
            pass

    def names(self) -> list[str]:
        return sorted(one.name for one in self.folder.iterdir())

    def test_whole(self) -> None:
        """What has come whole appears, and nothing else is left."""
        partial = self.partial()
        self.begin(partial, 1)
        partial.write(DATA[:50])
        self.assertEqual(self.names(), [".ab12.part"])
        partial.write(DATA[50:])
        path = partial.finish(FILE, "data.bin")
        self.assertEqual((path.read_bytes(), self.names()), (DATA, ["data.bin"]))

    def test_gap(self) -> None:
        """What comes behind a gap is not taken."""
        with self.assertRaises(NotWhole):
            self.partial().begin(2)

    def test_too_much(self) -> None:
        """No more is written than the file may have."""
        partial = self.partial(100)
        self.begin(partial, 1)
        with self.assertRaises(NotWhole):
            partial.write(DATA)
        self.assertEqual(partial.have, 0)

    def test_not_lasting(self) -> None:
        """Without a hash nothing is kept of what broke off."""
        partial = self.partial(lasting=False)
        self.begin(partial, 1)
        partial.write(DATA[:50])
        partial.close()
        self.assertEqual(self.names(), [])

    def test_link(self) -> None:
        """What stands in the way as a link is not followed."""
        self.folder.mkdir()
        (self.folder / ".ab12.part").symlink_to(self.folder / "elsewhere")
        with self.assertRaises(OSError):
            self.partial().begin(1)
        self.assertFalse((self.folder / "elsewhere").exists())

    def test_unbegun(self) -> None:
        """Nothing is written before it began."""
        with self.assertRaises(UsageError):
            self.partial().write(b"x")
        with self.assertRaises(UsageError):
            Partial(self.folder, "../x", 1)

    def test_tidy(self) -> None:
        """What broke off long ago is removed, and nothing else."""
        partial = self.partial()
        self.begin(partial, 1)
        partial.write(DATA)
        partial.close()
        (self.folder / "kept.txt").write_text("x")
        tidy(self.folder, 0.0)
        self.assertEqual(len(self.names()), 2)
        os.utime(partial.path, (1.0, 1.0))
        os.utime(self.folder / "kept.txt", (1.0, 1.0))
        tidy(self.folder, 2.0)
        self.assertEqual(self.names(), ["kept.txt"])

    @given(
        st.lists(
            st.tuples(
                st.integers(1, 210),  # the first octet of this try
                st.lists(st.integers(0, 120), max_size=4),  # sizes of what comes
                st.booleans(),  # it is the right file
                st.booleans(),  # another process goes on
            ),
            max_size=8,
        )
    )
    def test_any_cut(self, tries: list[tuple[int, list[int], bool, bool]]) -> None:
        """However often it breaks off, and wherever it goes on, it is whole or not there.

        Spec: RFC 5547 §6, §8.3.1
        """
        if self.folder.exists():
            for one in self.folder.iterdir():
                one.unlink()
        partial = self.partial()
        wrong = bytes(len(DATA))
        model = b""
        for first, sizes, right, anew in tries:
            if anew:
                partial.close()
                partial = self.partial()
            self.assertEqual(partial.have, len(model))
            if first - 1 > len(model):
                with self.assertRaises(NotWhole):
                    partial.begin(first)
                continue
            self.begin(partial, first)
            model = model[: first - 1]
            source = DATA if right else wrong
            for size in sizes:
                piece = source[len(model) : len(model) + size]
                partial.write(piece)
                model += piece
            if len(model) < len(DATA):
                partial.close()
                continue
            try:
                path = partial.finish(FILE, "data")
            except NotWhole:
                self.assertNotEqual(model, DATA)
                self.assertEqual(self.names(), [])
            else:
                self.assertEqual((model, path.read_bytes()), (DATA, DATA))
                path.unlink()
            model = b""
            partial = self.partial()
        partial.close()
        self.assertLessEqual(set(self.names()) if self.folder.exists() else set(), {".ab12.part"})
