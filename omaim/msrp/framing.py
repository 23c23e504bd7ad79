"""From octets to MSRP frames, however a stream is cut, without ever holding a body.

Spec: RFC 4975 §5.1, §7.1, §7.3.1, §9
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from omaim.msrp.frame import Head, is_ident, parse_start

_START: Final = b"MSRP "
_CRLF: Final = b"\r\n"
_BLANK: Final = b"\r\n\r\n"
_DASHES: Final = b"\r\n-------"
_FLAGS: Final = b"$+#"
_CR: Final = 13
_START_LINE: Final = 512  # octets; 5 + 32 + 1 + a method or a short comment
_COUNTED: Final = 1024  # octets of a head below which its lines need not be counted


@final
class FrameLimits:
    """The largest heads that are accepted.

    Args:
        head: octets of start line and fields; with more the stream is given up.
        lines: fields; with more the request is answered 400.
    """

    __slots__ = ("head", "lines")

    def __init__(self, head: int = 16384, lines: int = 64) -> None:
        self.head: Final = head
        self.lines: Final = lines


@final
class Part:
    """A whole frame, or the next piece of one.

    Attributes:
        head: the same object in all pieces of one frame.
        data: octets of the body; without the line end before the end-line.
        first: this is where the frame begins.
        flag: ``LAST``, ``MORE`` or ``ABORTED`` where it ends, else 0.
    """

    __slots__ = ("data", "first", "flag", "head")

    def __init__(self, head: Head, data: bytes, first: bool, flag: int) -> None:
        self.head: Final = head
        self.data: Final = data
        self.first: Final = first
        self.flag: Final = flag

    def __repr__(self) -> str:
        return f"<Part {self.head!r} {len(self.data)} {self.first} {self.flag}>"


@final
class FrameParser:
    """Cuts one stream into frames; keeps no more than one unfinished head or end-line.

    However the octets are cut into pieces, the same frames with the same data come out. A head
    that is no good comes out with ``wrong`` set, as long as it is known where its frame ends;
    otherwise ``broken`` says why nothing comes any more.

    Differs: line ends between frames are skipped (some peers keep connections alive with them),
    and an empty body may lack its own line end.

    Args:
        limits: what a head may be.
        on_octets: gets the octets of each part as they came, before the part comes out.

    Attributes:
        broken: why the stream is given up; "" while all is well.
    """

    __slots__ = ("_head", "_lead", "_limits", "_mark", "_on_octets", "_rest", "broken")

    def __init__(
        self, limits: FrameLimits, on_octets: Callable[[bytes], object] | None = None
    ) -> None:
        self.broken = ""
        self._on_octets = on_octets
        self._limits = limits
        self._rest = b""  # not understood yet
        self._head: Head | None = None  # of the frame whose body is coming
        self._mark = b""  # what its end-line begins with
        self._lead = 0  # octets of the rest that come before the body: the line end there

    @property
    def unfinished(self) -> bool:
        """Whether a frame has begun and not ended: the moment to be impatient."""
        return self._head is not None or len(self._rest) > 0

    @property
    def in_head(self) -> bool:
        """Whether a head has begun and not ended."""
        return self._head is None and len(self._rest) > 0

    def feed(self, data: bytes) -> list[Part]:
        """Return what these octets bring, in order."""
        parts: list[Part] = []
        if self.broken:
            return parts
        if self._rest:
            data = self._rest + data
            self._rest = b""
        position = 0
        size = len(data)
        while position < size:
            if self._head is None:
                moved = self._begin(data, position, parts)
            else:
                moved = self._go_on(data, position, parts)
            if moved < 0:
                break
            position = moved
        return parts

    def _begin(self, data: bytes, position: int, parts: list[Part]) -> int:
        """Take a head, and the body behind it if it is here; return where it ended, or -1."""
        if data.startswith(_CRLF, position):
            return position + 2
        line_end = data.find(_CRLF, position, position + _START_LINE)
        if line_end < 0:
            size = len(data) - position
            start = data[position : position + 5]
            if not _START.startswith(start) and start != b"\r":
                return self._give_up("not MSRP")
            if size >= _START_LINE:
                return self._give_up("the start line is too long")
            self._rest = data[position:]
            return -1
        space = data.find(b" ", position + 5, line_end)
        transaction = data[position + 5 : space] if space > 0 else b""
        if is_ident(transaction) is None or not data.startswith(_START, position):
            return self._give_up("not MSRP")
        mark = _DASHES + transaction
        end, whole = self._find_end(data, line_end, mark)
        stop = end + 2 if end >= 0 else len(data)
        blank = data.find(_BLANK, line_end, stop)
        head_end = blank if blank >= 0 else end
        if (head_end if head_end >= 0 else len(data)) - position > self._limits.head:
            return self._give_up("the head is too large")
        if blank < 0 and not whole:
            self._rest = data[position:]
            return -1
        lines = _between(data, line_end + 2, head_end)
        head = parse_start(data[position:line_end], lines, blank >= 0)
        if head is None:
            return self._give_up("not MSRP")
        if len(lines) > _COUNTED and lines.count(_CRLF) >= self._limits.lines:
            head.wrong = "the head has too many fields"
        if whole:
            body = _between(data, blank + 4, end) if blank >= 0 else b""
            parts.append(Part(head, body, True, data[end + len(mark)]))
            return self._seen(data, position, end + len(mark) + 3)
        if self._on_octets is not None:
            self._on_octets(data[position : blank + 2])
        self._head = head
        self._mark = mark
        self._lead = 2
        return self._hand_out(data, blank + 2, end, parts, True)

    def _go_on(self, data: bytes, position: int, parts: list[Part]) -> int:
        """Take more of a body; return where it ended, or -1."""
        head = self._head
        assert head is not None
        mark = self._mark
        end, whole = self._find_end(data, position, mark)
        if not whole:
            return self._hand_out(data, position, end, parts, False)
        self._head = None
        body = _between(data, position + self._lead, end)
        parts.append(Part(head, body, False, data[end + len(mark)]))
        return self._seen(data, position, end + len(mark) + 3)

    def _hand_out(
        self, data: bytes, position: int, end: int, parts: list[Part], first: bool
    ) -> int:
        """Pass on what is surely body; keep what may be an end-line's beginning. Return -1."""
        head = self._head
        assert head is not None
        lead = self._lead
        if end < 0:
            end = self._tail(data, position)
        if end == position and lead:
            body = b""
        else:
            start = position + lead
            body = data if start == 0 and end == len(data) else data[start:end]
            self._lead = 0
        self._rest = data[end:]
        if end > position:
            self._seen(data, position, end)
        if first or body:
            parts.append(Part(head, body, first, 0))
        return -1

    def _tail(self, data: bytes, position: int) -> int:
        """Return where the end of ``data`` begins to look like the beginning of an end-line."""
        mark = self._mark
        size = len(data)
        at = data.find(b"\r", max(position, size - len(mark) + 1))
        while at >= 0:
            if mark.startswith(data[at:]):
                return at
            at = data.find(b"\r", at + 1)
        return size

    def _find_end(self, data: bytes, position: int, mark: bytes) -> tuple[int, bool]:
        """Return where the end-line is, and whether all of it; -1 when there is none.

        A line that only begins like it is none (RFC 4975 §7.1: the flag and the line end
        belong to it).
        """
        length = len(mark)
        size = len(data)
        end = data.find(mark, position)
        while end >= 0:
            behind = end + length
            if behind + 3 <= size:
                if data[behind] in _FLAGS and data.startswith(_CRLF, behind + 1):
                    return end, True
            elif behind == size or (
                data[behind] in _FLAGS and (behind + 1 == size or data[behind + 1] == _CR)
            ):
                return end, False
            end = data.find(mark, end + 2)
        return -1, False

    def _seen(self, data: bytes, start: int, end: int) -> int:
        """Show these octets to whoever watches; return ``end``."""
        if self._on_octets is not None:
            self._on_octets(data[start:end])
        return end

    def _give_up(self, why: str) -> int:
        self.broken = why
        self._rest = b""
        self._head = None
        return -1


def _between(data: bytes, start: int, end: int) -> bytes:
    """Return the octets from ``start`` to ``end``, none when they are the wrong way round.

    Compiled, a slice may not be.
    """
    return data[start:end] if start < end else b""
