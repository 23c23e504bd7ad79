"""A person's terminal: lines in, lines out, and the line being typed stays whole.

On a terminal the bottom line is edited here (see :mod:`omaim.client.line_editor`) and
everything else is printed above it. Without one, lines are read and written as they are.
"""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import sys
import termios
from collections.abc import Callable
from typing import Any, Final, Protocol

from twisted.internet import stdio
from twisted.internet.protocol import Protocol as Wire
from twisted.protocols.basic import LineReceiver

from omaim.client.line_editor import Completer, LineEditor, printable

STYLES: Final = {"note": "2", "error": "31", "peer": "1", "own": "36"}
_WIDTH: Final = 80


class Screen(Protocol):
    """Where a prompt shows what happens.

    Attributes:
        on_line: gets each line that was typed.
        on_key: called when a person did something at the terminal.
        on_end: called when there is no more to come.
        patient: each line waits until what the one before asked for is done.
    """

    patient: bool
    on_line: Callable[[str], object]
    on_key: Callable[[], object]
    on_end: Callable[[], object]

    @property
    def line(self) -> str:
        """What is being typed."""

    def start(self, complete: Completer) -> None:
        """Begin; ``complete`` tells what the text before the cursor may become."""

    def show(self, text: str, style: str = "") -> None:
        """Show one line; ``style`` is a key of :data:`STYLES`."""

    def ask(self, prompt: str) -> None:
        """Show this before the line being typed."""

    def stop(self) -> None:
        """Leave the terminal as it was found."""


def nothing(*_: object) -> None:
    """Do nothing."""


class Terminal(Wire):
    """A screen on a real terminal.

    Args:
        reactor: Twisted's.
        source, target: file descriptors of the terminal.
        colours: whether to use them.
    """

    patient = False

    def __init__(
        self, reactor: Any, source: int = 0, target: int = 1, colours: bool = True
    ) -> None:
        self.on_line: Callable[[str], object] = nothing
        self.on_key: Callable[[], object] = nothing
        self.on_end: Callable[[], object] = nothing
        self._reactor = reactor
        self._source = source
        self._target = target
        self._colours = colours
        self._editor = LineEditor()
        self._found: list[Any] = []
        self._io: Any = None

    @property
    def line(self) -> str:
        """What is being typed."""
        return self._editor.text

    def start(self, complete: Completer) -> None:
        """Take the terminal over."""
        self._editor = LineEditor(complete)
        self._found = termios.tcgetattr(self._source)
        self._raw()
        # Types of Twisted follow the platform, and take this for the one of Windows.
        standard: Any = stdio.StandardIO
        self._io = standard(self, self._source, self._target, self._reactor)
        signal.signal(signal.SIGCONT, self._continued)
        signal.signal(signal.SIGWINCH, self._resized)

    def stop(self) -> None:
        """Give it back."""
        if self._found:
            self._write("\r\x1b[K")
            termios.tcsetattr(self._source, termios.TCSADRAIN, self._found)
            self._found = []
            signal.signal(signal.SIGCONT, signal.SIG_DFL)
            signal.signal(signal.SIGWINCH, signal.SIG_DFL)
            self._io.loseConnection()

    def show(self, text: str, style: str = "") -> None:
        """Print a line above the one being typed."""
        self._write(f"\r\x1b[K{self._styled(printable(text), style)}\n{self._line()}")

    def ask(self, prompt: str) -> None:
        """Put ``prompt`` before the line being typed."""
        self._editor.prompt = prompt
        self._write(f"\r\x1b[K{self._line()}")

    def dataReceived(self, data: bytes) -> None:
        """Take keys."""
        editor = self._editor
        lines = editor.feed(data)
        if editor.choices:
            self.show("  ".join(choice.rpartition(" ")[2] for choice in editor.choices), "note")
            editor.choices = []
        self._write(f"\r\x1b[K{self._line()}")
        self.on_key()
        for line in lines:
            self.on_line(line)
        if editor.ended:
            self.on_end()

    def connectionLost(self, reason: Any = None) -> None:
        """The terminal is gone."""
        self.on_end()

    def _raw(self) -> None:
        """Get each key at once and unechoed; Ctrl-C and Ctrl-Z stay signals."""
        mode = termios.tcgetattr(self._source)
        mode[3] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN)
        mode[0] &= ~(termios.IXON | termios.ICRNL | termios.INLCR)
        mode[6][termios.VMIN] = 1
        mode[6][termios.VTIME] = 0
        termios.tcsetattr(self._source, termios.TCSADRAIN, mode)

    def _continued(self, number: int, frame: Any) -> None:
        """We were stopped, and the shell had the terminal meanwhile."""
        self._raw()
        self._resized(number, frame)

    def _resized(self, number: int, frame: Any) -> None:
        self._reactor.callFromThread(lambda: self._write(f"\r\x1b[K{self._line()}"))

    def _line(self) -> str:
        text, column = self._editor.shown(self._width())
        return text + "\r" + (f"\x1b[{column}C" if column else "")

    def _width(self) -> int:
        try:
            packed = fcntl.ioctl(self._target, termios.TIOCGWINSZ, b"\0" * 8)
        except OSError:
            return _WIDTH
        width: int = struct.unpack("HHHH", packed)[1]
        return width or _WIDTH

    def _styled(self, text: str, style: str) -> str:
        if not self._colours or style not in STYLES:
            return text
        return f"\x1b[{STYLES[style]}m{text}\x1b[0m"

    def _write(self, text: str) -> None:
        if self._io is not None:
            self._io.write(text.encode("utf-8", "replace"))


class Pipe(LineReceiver):
    """A screen without a terminal: lines from a file or another program, plain lines out."""

    patient = True
    delimiter = b"\n"

    def __init__(self, reactor: Any) -> None:
        self.on_line: Callable[[str], object] = nothing
        self.on_key: Callable[[], object] = nothing
        self.on_end: Callable[[], object] = nothing
        self._reactor = reactor
        self._io: Any = None

    @property
    def line(self) -> str:
        """Nothing: lines come whole."""
        return ""

    def start(self, complete: Completer) -> None:
        """Read."""
        standard: Any = stdio.StandardIO
        self._io = standard(self, reactor=self._reactor)

    def stop(self) -> None:
        """Read no more."""
        if self._io is not None:
            self._io.loseConnection()

    def show(self, text: str, style: str = "") -> None:
        """Write a line; somebody sees it at once."""
        sys.stdout.write(printable(text) + "\n")
        sys.stdout.flush()
        self.on_key()

    def ask(self, prompt: str) -> None:
        """Say nothing: nobody looks."""

    def lineReceived(self, line: bytes) -> None:
        """Take a line."""
        self.on_line(line.rstrip(b"\r").decode("utf-8", "replace"))

    def lineLengthExceeded(self, line: bytes) -> None:
        """Drop what is too long to be a message."""

    def connectionLost(self, reason: Any = None) -> None:
        """That was all."""
        self.on_end()


def screen_for(reactor: Any) -> Terminal | Pipe:
    """Return the screen that fits standard input and output."""
    if os.isatty(0) and os.isatty(1) and os.environ.get("TERM", "dumb") != "dumb":
        return Terminal(reactor, colours="NO_COLOR" not in os.environ)
    return Pipe(reactor)
