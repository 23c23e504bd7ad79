"""The line at the bottom of a terminal."""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import binary, integers, lists, sampled_from, text
from twisted.trial.unittest import SynchronousTestCase

from omaim.client.line_editor import LONGEST, LineEditor, columns, printable

KEYS = {
    "left": b"\x1b[D",
    "right": b"\x1b[C",
    "up": b"\x1b[A",
    "down": b"\x1bOB",
    "home": b"\x1b[H",
    "end": b"\x1b[4~",
    "delete": b"\x1b[3~",
    "backspace": b"\x7f",
    "word left": b"\x1b[1;5D",
    "word right": b"\x1bf",
    "kill end": b"\x0b",
    "kill start": b"\x15",
    "kill word": b"\x17",
    "enter": b"\r",
}


class EditorTests(SynchronousTestCase):
    def typed(self, *pieces: bytes | str) -> tuple[list[str], LineEditor]:
        """Return the finished lines, and the editor."""
        editor = LineEditor()
        lines: list[str] = []
        for piece in pieces:
            data = KEYS.get(piece, piece.encode()) if isinstance(piece, str) else piece
            lines += editor.feed(data)
        return lines, editor

    def test_line(self) -> None:
        """Enter finishes a line; what follows begins the next."""
        lines, editor = self.typed(b"one\rtwo\nthr")
        self.assertEqual((lines, editor.text, editor.cursor), (["one", "two"], "thr", 3))

    def test_editing(self) -> None:
        """Each key does what people expect."""
        for pieces, left, cursor in (
            (("abc", "left", "X"), "abXc", 3),
            (("abc", "left", "left", "right", "X"), "abXc", 3),
            (("abc", "home", "X"), "Xabc", 1),
            (("abc", "home", "end", "X"), "abcX", 4),
            (("abc", "backspace"), "ab", 2),
            (("abc", "home", "backspace"), "abc", 0),
            (("abc", "home", "delete"), "bc", 0),
            (("abc", "home", b"\x04"), "bc", 0),
            (("ab cd", "word left", "X"), "ab Xcd", 4),
            (("ab cd", "home", "word right", "X"), "abX cd", 3),
            (("ab cd", "left", "kill end"), "ab c", 4),
            (("ab cd", "left", "kill start"), "d", 0),
            (("ab cd  ", "kill word"), "ab ", 3),
            (("grüß", "backspace"), "grü", 3),
        ):
            _, editor = self.typed(*pieces)
            self.assertEqual((editor.text, editor.cursor), (left, cursor), pieces)

    def test_history(self) -> None:
        """The arrows bring back earlier lines, and the one that was begun."""
        _, editor = self.typed("one", "enter", "two", "enter", "new", "up")
        self.assertEqual(editor.text, "two")
        editor.feed(KEYS["up"] * 5)
        self.assertEqual(editor.text, "one")
        editor.feed(KEYS["down"] * 5)
        self.assertEqual(editor.text, "new")

    def test_history_skips(self) -> None:
        """Empty lines and the same line twice are not kept."""
        _, editor = self.typed("one", "enter", "one", "enter", " ", "enter", "enter", "up", "up")
        self.assertEqual(editor.text, "one")

    def test_end(self) -> None:
        """Ctrl-D ends on an empty line only."""
        self.assertFalse(self.typed(b"a\x04")[1].ended)
        self.assertTrue(self.typed(b"\x04")[1].ended)

    def test_unknown_keys(self) -> None:
        """Keys that mean nothing here leave no trace."""
        _, editor = self.typed(b"a\x1b[15~\x1b[200~\x1bz\x00\x1b\x01\x1b[1;2Pb")
        self.assertEqual(editor.text, "ba")

    def test_longest(self) -> None:
        """A line does not grow without end."""
        _, editor = self.typed(b"x" * (LONGEST + 10))
        self.assertEqual(len(editor.text), LONGEST)

    def test_completion(self) -> None:
        """Tab adds what is certain, and offers what is not."""
        words = ["/help", "/here", "/quit "]
        editor = LineEditor(lambda before: [one for one in words if one.startswith(before)])
        editor.feed(b"/q\t")
        self.assertEqual(editor.text, "/quit ")
        editor.feed(b"\x15/h\t")
        self.assertEqual((editor.text, editor.choices), ("/he", []))
        editor.feed(b"\t")
        self.assertEqual((editor.text, editor.choices), ("/he", ["/help", "/here"]))
        editor.choices = []
        editor.feed(b"x\t")
        self.assertEqual((editor.text, editor.choices), ("/hex", []))

    @given(pieces=lists(sampled_from([*KEYS.values(), b"a", "ü漢".encode(), b" "]), max_size=40))
    def test_any_split(self, pieces: list[bytes]) -> None:
        """However the bytes are cut, the line is the same."""
        data = b"".join(pieces)
        whole, single = LineEditor(), LineEditor()
        lines = whole.feed(data)
        bytewise = [line for octet in data for line in single.feed(bytes((octet,)))]
        self.assertEqual(lines, bytewise)
        self.assertEqual((whole.text, whole.cursor), (single.text, single.cursor))

    @given(data=binary(max_size=60), width=integers(1, 40))
    def test_any_bytes(self, data: bytes, width: int) -> None:
        """Whatever is typed, the cursor is in the line and the line fits the terminal."""
        editor = LineEditor()
        for line in editor.feed(data):
            self.assertTrue(line.isprintable())
        self.assertTrue(0 <= editor.cursor <= len(editor.text))
        shown, column = editor.shown(width)
        self.assertLessEqual(columns(shown), max(8, width - 1))
        self.assertLessEqual(column, columns(shown))

    def test_shown(self) -> None:
        """A long line is shown around its cursor; wide characters take two columns."""
        editor = LineEditor()
        editor.prompt = "bob> "
        editor.feed(b"abcdefghijklmnop")
        self.assertEqual(editor.shown(15), ("bob> hijklmnop", 14))
        editor.feed(KEYS["home"])
        self.assertEqual(editor.shown(15), ("bob> abcdefghi", 5))
        editor.feed(b"\x0b" + "漢字".encode())
        self.assertEqual(editor.shown(15), ("bob> 漢字", 9))


class PrintableTests(SynchronousTestCase):
    def test_escapes(self) -> None:
        """What others write cannot steer the terminal."""
        self.assertEqual(printable("a\x1b]0;title\x07b\x9b2J\u202ec"), "a�]0;title�b�2J�c")
        self.assertEqual(printable("one\r\ntwo\tthree"), "one  two three")
        self.assertEqual(printable("grüß 漢 👩\u200d🚀"), "grüß 漢 👩\u200d🚀")

    @given(anything=text())
    def test_always(self, anything: str) -> None:
        """Nothing that is not printable is left, and nothing gets longer."""
        clean = printable(anything)
        self.assertEqual(len(clean), len(anything))
        self.assertTrue(clean.replace("\u200d", "").isprintable())
