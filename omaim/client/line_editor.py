"""One editable line at the bottom of a terminal, without I/O.

Keys go in with :meth:`LineEditor.feed`, finished lines come out; :meth:`LineEditor.shown` says
what the terminal must show. Text that arrives meanwhile is printed above by who owns the
terminal, and the line stays as it was typed.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Callable
from typing import Final

HISTORY: Final = 500  # lines
LONGEST: Final = 4_000  # characters of one line
TYPED: Final = 24  # columns that a prompt leaves to what is typed, at least
_ESCAPES: Final = {
    "[A": "up",
    "OA": "up",
    "[B": "down",
    "OB": "down",
    "[C": "right",
    "OC": "right",
    "[D": "left",
    "OD": "left",
    "[H": "home",
    "OH": "home",
    "[1~": "home",
    "[7~": "home",
    "[F": "end",
    "OF": "end",
    "[4~": "end",
    "[8~": "end",
    "[3~": "delete",
    "[1;5C": "word right",
    "f": "word right",
    "[1;5D": "word left",
    "b": "word left",
}
_CONTROLS: Final = {
    "\x01": "home",
    "\x02": "left",
    "\x04": "end of input",
    "\x05": "end",
    "\x06": "right",
    "\x08": "backspace",
    "\x09": "complete",
    "\x0a": "enter",
    "\x0b": "kill to end",
    "\x0c": "redraw",
    "\x0d": "enter",
    "\x0e": "down",
    "\x10": "up",
    "\x15": "kill to start",
    "\x17": "kill word",
    "\x7f": "backspace",
}
_ESCAPE: Final = re.compile(r"\x1b(\[[0-9;]*[A-Za-z~]|O[A-Za-z]|[a-z\x7f])")
_UNFINISHED: Final = re.compile(r"\x1b(\[[0-9;]{0,16}|O)?")
_JOINER: Final = "\u200d"  # makes one emoji of two

Completer = Callable[[str], list[str]]  # the line up to the cursor -> what it may become


class LineEditor:
    """The line, its cursor and its history.

    Args:
        complete: gets the text before the cursor, returns the texts that it may become.

    Attributes:
        prompt: stands before the line.
        text: the line.
        cursor: number of characters before the cursor.
        ended: Ctrl-D was typed on an empty line.
        choices: what a completion could not decide between; whoever shows them empties it.
    """

    def __init__(self, complete: Completer | None = None) -> None:
        self.prompt = "> "
        self.text = ""
        self.cursor = 0
        self.ended = False
        self.choices: list[str] = []
        self._complete = complete
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending = ""
        self._history: list[str] = []
        self._place = 0  # in the history; its length means the new line
        self._kept = ""  # the new line, while the history is shown

    def feed(self, data: bytes) -> list[str]:
        """Take what was typed; return the lines that are finished, without their ends."""
        self._pending += self._decoder.decode(data)
        lines: list[str] = []
        while self._pending and not self.ended:
            key = self._next_key()
            if key is None:
                break
            line = self._press(key)
            if line is not None:
                lines.append(line)
        return lines

    def shown(self, width: int) -> tuple[str, int]:
        """Return the visible text of the line, prompt included, and the cursor's column.

        A line that is too long for the terminal is shown in part, around the cursor.

        Args:
            width: columns of the terminal.
        """
        room = max(8, width - 1)
        prompt = self.prompt if columns(self.prompt) <= max(room // 2, room - TYPED) else "> "
        room -= columns(prompt)
        start = 0
        before = columns(self.text[: self.cursor])
        while before > room:
            before -= columns(self.text[start])
            start += 1
        end = start
        used = 0
        while end < len(self.text) and used + columns(self.text[end]) <= room:
            used += columns(self.text[end])
            end += 1
        return prompt + self.text[start:end], columns(prompt) + before

    def _next_key(self) -> str | None:
        """Take one key off what was typed: its name, or the character itself."""
        first = self._pending[0]
        if first == "\x1b":
            found = _ESCAPE.match(self._pending)
            if found is not None:
                self._pending = self._pending[found.end() :]
                return _ESCAPES.get(found[1], "nothing")
            if _UNFINISHED.fullmatch(self._pending) is not None:
                return None
            self._pending = self._pending[1:]
            return "nothing"
        self._pending = self._pending[1:]
        if first in _CONTROLS:
            return _CONTROLS[first]
        return first if first.isprintable() else "nothing"

    def _press(self, key: str) -> str | None:
        """Do what a key does; return the line that it finished."""
        if len(key) == 1:
            if len(self.text) < LONGEST:
                self._put(self.text[: self.cursor] + key + self.text[self.cursor :])
                self.cursor += 1
            return None
        if key == "enter":
            return self._enter()
        text, cursor = self.text, self.cursor
        if key == "backspace" and cursor:
            self._put(text[: cursor - 1] + text[cursor:], cursor - 1)
        elif key == "delete" or (key == "end of input" and text):
            self._put(text[:cursor] + text[cursor + 1 :])
        elif key == "end of input":
            self.ended = True
        elif key == "left":
            self.cursor = max(0, cursor - 1)
        elif key == "right":
            self.cursor = min(len(text), cursor + 1)
        elif key == "home":
            self.cursor = 0
        elif key == "end":
            self.cursor = len(text)
        elif key == "word left":
            self.cursor = self._word_start()
        elif key == "word right":
            self.cursor = self._word_end()
        elif key == "kill to end":
            self._put(text[:cursor])
        elif key == "kill to start":
            self._put(text[cursor:], 0)
        elif key == "kill word":
            start = self._word_start()
            self._put(text[:start] + text[cursor:], start)
        elif key == "up":
            self._recall(self._place - 1)
        elif key == "down":
            self._recall(self._place + 1)
        elif key == "complete":
            self._completed()
        return None

    def _put(self, text: str, cursor: int | None = None) -> None:
        self.text = text
        if cursor is not None:
            self.cursor = cursor

    def _enter(self) -> str:
        line = self.text
        if line.strip() and (not self._history or self._history[-1] != line):
            self._history.append(line)
            del self._history[:-HISTORY]
        self._place = len(self._history)
        self._put("", 0)
        return line

    def _recall(self, place: int) -> None:
        if not 0 <= place <= len(self._history):
            return
        if self._place == len(self._history):
            self._kept = self.text
        self._place = place
        text = self._kept if place == len(self._history) else self._history[place]
        self._put(text, len(text))

    def _word_start(self) -> int:
        before = self.text[: self.cursor].rstrip()
        return before.rfind(" ") + 1

    def _word_end(self) -> int:
        start = self.cursor
        while start < len(self.text) and self.text[start] == " ":
            start += 1
        end = self.text.find(" ", start)
        return len(self.text) if end < 0 else end

    def _completed(self) -> None:
        """Add what all completions have in common; offer them when that is nothing."""
        before, after = self.text[: self.cursor], self.text[self.cursor :]
        found = self._complete(before) if self._complete is not None else []
        if not found:
            return
        common = found[0]
        for one in found[1:]:
            while not one.startswith(common):
                common = common[:-1]
        if len(common) > len(before):
            self._put(common + after, len(common))
        elif len(found) > 1:
            self.choices = found


def columns(text: str) -> int:
    """Return how many columns of a terminal a printable text takes."""
    return sum(_columns(sign) for sign in text)


def _columns(sign: str) -> int:
    if sign < "\u0300":
        return 1
    if unicodedata.combining(sign) or unicodedata.category(sign) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in ("W", "F") else 1


def printable(text: str) -> str:
    """Return a text without what could steer a terminal; ends of lines become spaces.

    What others write must not move the cursor, change the window's title or hide what stands
    before it.
    """
    return "".join(
        sign
        if sign.isprintable() or sign == _JOINER
        else (" " if sign in "\r\n\t\v\f\x85\u2028\u2029" else "\ufffd")
        for sign in text
    )
