"""From octets to messages: one datagram, or a stream cut anywhere.

Parsing looks at the start line, cuts the header into lines and knows their names; it reads no
value but Content-Length. :func:`check` then reads what every message must have.

Spec: RFC 3261 §7, §8.1.1, §18.3, §25.1; RFC 5626 §3.5.1; RFC 4475, RFC 5118 (what to bear)
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias, cast, final

from omaim.errors import PeerError
from omaim.grammar import is_token, number
from omaim.ids import COOKIE
from omaim.sip.message import Request, Response, value_of
from omaim.sip.names import NAMES, canonical_name
from omaim.sip.uri import SipUri

METHODS: Final = frozenset(
    [
        "ACK",
        "BYE",
        "CANCEL",
        "INFO",
        "INVITE",
        "MESSAGE",
        "NOTIFY",
        "OPTIONS",
        "PRACK",
        "PUBLISH",
        "REFER",
        "REGISTER",
        "SUBSCRIBE",
        "UPDATE",
    ]
)  # the registered ones; another method is answered 501

_NEEDED: Final = ("Via", "From", "To", "Call-ID", "CSeq")
# A bit for each name that has to be there, or may be there once only; Via may come again.
_BITS: Final = {
    "Via": 1,
    "From": 2,
    "To": 4,
    "Call-ID": 8,
    "CSeq": 16,
    "Max-Forwards": 32,
    "Content-Length": 64,
    "Content-Type": 128,
    "Expires": 256,
    "Event": 512,
    "Max-Breadth": 1024,
}
_ALL_NEEDED: Final = 31
_VIA: Final = 1
_CR: Final = 13
_FOLDS: Final = 4  # lines per header field that are borne, on average
_END: Final = b"\r\n\r\n"
SILENCE: Final = b"\r\n\0 "  # octets that only keep a path alive
_is_version: Final = re.compile(r"SIP/[0-9]+\.[0-9]+", re.I).fullmatch


class BadMessage(PeerError):
    """The octets are no SIP message that we may act on.

    Attributes:
        request: what could be read of a request, enough to answer it; ``None`` when nothing
            can or may be answered (no SIP at all, or a response): drop it silently.
        fatal: on a stream, nobody knows where the next message begins: answer, then close.
    """

    def __init__(
        self, why: str, status: int = 400, request: Request | None = None, fatal: bool = False
    ) -> None:
        super().__init__(why, status)
        self.request = request
        self.fatal = fatal


@final
class Limits:
    """The largest sizes that are accepted, in octets unless said otherwise.

    Args:
        start_line: without its line end; a longer one is answered 414.
        header_line: one header field with its folding; longer: 513.
        headers: number of header fields; more: 513.
        head: start line and all header fields; larger: 513.
        body: larger: 413.
        nesting: levels of multipart bodies, for those who open them.
    """

    __slots__ = ("body", "head", "header_line", "headers", "nesting", "start_line")

    def __init__(
        self,
        start_line: int = 8192,
        header_line: int = 16384,
        headers: int = 256,
        head: int = 49152,
        body: int = 1048576,
        nesting: int = 8,
    ) -> None:
        self.start_line: Final = start_line
        self.header_line: Final = header_line
        self.headers: Final = headers
        self.head: Final = head
        self.body: Final = body
        self.nesting: Final = nesting


DEFAULT_LIMITS: Final = Limits()


@final
class Ping:
    """A double CRLF between messages: the peer wants a single one back (RFC 5626 §3.5.1)."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<Ping>"


@final
class Pong:
    """The single CRLF that answers our ping (RFC 5626 §3.5.1)."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<Pong>"


PING: Final = Ping()
PONG: Final = Pong()

Item: TypeAlias = Request | Response | Ping | Pong | BadMessage


def parse_datagram(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Request | Response | None:
    """Return the message in one datagram; ``None`` when it only keeps a path alive.

    Octets behind the Content-Length are dropped; without Content-Length the body goes to the
    end of the datagram. A header that is not UTF-8, or has a CR or LF of its own, is refused.

    Raises:
        BadMessage: it is no good message.

    Spec: RFC 3261 §18.3; RFC 4475 §3.1.1.8, §3.1.2.2. Differs: RFC 3261 §25.1 lets a header
    nobody knows hold stray octets above 127; here they are an error, as text must be text.
    """
    if data[:2] == b"\r\n" or not data or data[0] == 0:
        data = data.lstrip(SILENCE)
        if not data:
            return None
    end = data.find(_END)
    ended = end >= 0
    if not ended:
        end = len(data)
    message, error = _read_head(data[:end], limits)
    if message is None:
        raise error or BadMessage("not SIP")
    if error is None and not ended:
        error = _bad(message, "the header does not end with an empty line")
    if error is None and end > limits.head:
        error = _bad(message, "the header is too large", 513)
    if error is not None:
        raise error
    start = end + 4
    if "Content-Length" in message.names:
        size = _content_length(message)
        if start + size > len(data):
            raise _bad(message, "the body is shorter than its Content-Length")
        message.body = data[start : start + size]
        message.note_length(size)
    else:
        message.body = data[start:]
    if len(message.body) > limits.body:
        raise _bad(message, "the body is too large", 413)
    return message


def _bad(
    message: Request | Response | None, why: str, status: int = 400, fatal: bool = False
) -> BadMessage:
    return BadMessage(why, status, message if isinstance(message, Request) else None, fatal)


def _content_length(message: Request | Response) -> int:
    if message.names.count("Content-Length") > 1:
        raise _bad(message, "Content-Length is given twice", 400, True)
    text = value_of(message.lines[message.names.index("Content-Length")])
    try:
        return number(text)
    except PeerError:
        raise _bad(message, "Content-Length is no number", 400, True)


def _read_head(data: bytes, limits: Limits) -> tuple[Request | Response | None, BadMessage | None]:
    """Return what could be read, and what is wrong with it."""
    why = ""
    status = 400
    try:
        head = data.decode("utf-8")
    except UnicodeDecodeError:
        head = data.decode("utf-8", "replace")
        why = "the header is not UTF-8"
    lines = head.split("\r\n")
    if head.count("\n") != len(lines) - 1 or head.count("\r") != len(lines) - 1:
        # Another element might take it for a line end and see a header that we did not.
        lines = [line.replace("\r", " ").replace("\n", " ") for line in lines]
        why = "a line end is not CRLF"
    start = lines.pop(0)
    if len(lines) > _FOLDS * limits.headers:
        lines = lines[: limits.headers]
        why, status = "there are too many header lines", 513
    found = [NAMES.get(line.partition(":")[0]) for line in lines]
    if None in found:
        names, lines, wrong = _read_lines(lines)
        if not why:
            why = wrong
    else:
        names = cast("list[str]", found)  # quoted: not built at run time
    if len(lines) > limits.headers:
        why, status = "there are too many header fields", 513
    elif len(data) > limits.header_line:
        for line in lines:
            if len(line) > limits.header_line:
                why, status = "a header field is too long", 513
    message: Request | Response
    if start[:4].upper() == "SIP/":
        parsed = _read_status_line(start, names, lines)
        if parsed is None:
            return None, BadMessage("not a good status line")
        message = parsed
    else:
        parts = start.split(" ")
        if len(parts) == 3 and parts[2] == "SIP/2.0" and parts[1] and is_token(parts[0]):
            message = Request(parts[0], parts[1], names, lines)
        else:
            method, _, rest = start.strip(" \t").partition(" ")
            uri, _, version = rest.rpartition(" ")
            if _is_version(version) is None:
                return None, BadMessage("not SIP")
            message = Request(method, uri.strip(" \t"), names, lines)
            if len(parts) != 3 or not parts[1] or not is_token(parts[0]):
                why = "not a good request line"
            elif parts[2].upper() != "SIP/2.0":
                why, status = "only SIP/2.0 is understood", 505
        if len(start) > limits.start_line:
            why, status = "the request line is too long", 414
    if why:
        return message, _bad(message, why, status)
    return message, None


def _read_lines(lines: list[str]) -> tuple[list[str], list[str], str]:
    """Name the lines when some are folded, rarely named or bad; bad ones are left out."""
    names: list[str] = []
    whole: list[str] = []
    why = ""
    for line in lines:
        if line[:1] == " " or line[:1] == "\t":
            if whole:
                whole[-1] += "\r\n" + line
            else:
                why = "the header begins with a continuation"
            continue
        colon = line.find(":")
        try:
            name = canonical_name(line[:colon].rstrip(" \t") if colon > 0 else "")
        except PeerError:
            why = "a header line has no good name"
            continue
        names.append(name)
        whole.append(line)
    return names, whole, why


def _read_status_line(start: str, names: list[str], lines: list[str]) -> Response | None:
    version, _, rest = start.partition(" ")
    digits, _, reason = rest.partition(" ")
    if version.upper() != "SIP/2.0" or len(digits) != 3 or not digits.isdecimal():
        return None
    if not digits.isascii() or not "100" <= digits <= "699":
        return None
    return Response(int(digits), reason, names, lines)


@final
class StreamParser:
    """Cuts a stream into messages and keep-alives; holds at most one unfinished message.

    However the octets are cut into pieces, the same items come out. After a fatal error
    nothing comes any more.

    Spec: RFC 3261 §18.3, §7.5; RFC 5626 §3.5.1
    """

    __slots__ = (
        "_buffer",
        "_closed",
        "_error",
        "_half",
        "_head",
        "_limits",
        "_message",
        "_need",
        "_pongs",
    )

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._buffer = bytearray()
        self._message: Request | Response | None = None  # waits for its body
        self._error: BadMessage | None = None  # what is wrong with that message
        self._head = 0  # octets of the head of that message
        self._need = -1  # octets of body that the unfinished message still lacks; -1: no head
        self._half = False  # one CRLF of a ping has come
        self._pongs = 0  # pings of ours that wait for their answer
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether a fatal error has come."""
        return self._closed

    @property
    def unfinished(self) -> bool:
        """Whether a message has begun and not ended: the moment to be impatient."""
        return self._need >= 0 or len(self._buffer) > 0

    @property
    def held(self) -> int:
        """How many octets of a message that has begun are kept."""
        return len(self._buffer) + self._head

    def discard(self) -> None:
        """Forget what is kept; nothing comes any more."""
        self._closed = True
        self._buffer.clear()
        self._message = None
        self._error = None
        self._head = 0

    def expect_pong(self) -> None:
        """Note that a ping went out: the next CRLF between messages is its pong."""
        self._pongs += 1

    def feed(self, data: bytes) -> list[Item]:
        """Return what has become whole with these octets, in order."""
        items: list[Item] = []
        if self._closed:
            return items
        buffer = self._buffer
        if buffer:
            searched = max(0, len(buffer) - 3)
            buffer += data
            if self._need >= 0:
                if len(buffer) < self._need:
                    return items
            elif (
                len(buffer) <= self._limits.head
                and buffer.find(_END, searched) < 0
                and buffer[:1] != b"\r"
            ):
                return items
            data = bytes(buffer)
            buffer.clear()
        position = 0
        while not self._closed:
            moved = self._step(data, position, items)
            if moved < 0:
                break
            position = moved
        if not self._closed and position < len(data):
            buffer += data[position:]
        return items

    def _step(self, data: bytes, position: int, items: list[Item]) -> int:
        """Take one head, body or keep-alive; return where it ended, or -1 for: need more."""
        if self._need >= 0:
            end = position + self._need
            if end > len(data):
                return -1
            self._finish(data[position:end], items)
            return end
        if data[position : position + 2] == b"\r\n":
            if self._pongs:
                self._pongs -= 1
                items.append(PONG)
            elif self._half:
                self._half = False
                items.append(PING)
            else:
                self._half = True
            return position + 2
        if position == len(data) or (position + 1 == len(data) and data[position] == _CR):
            return -1
        end = data.find(_END, position)
        size = (end if end >= 0 else len(data)) - position
        if size > self._limits.head + (0 if end >= 0 else 3):
            self._fail(BadMessage("the header is too large", 513, None, True), items)
            return -1
        if end < 0:
            return -1
        self._half = False
        self._begin(data[position:end], items)
        return end + 4

    def _begin(self, head: bytes, items: list[Item]) -> None:
        message, error = _read_head(head, self._limits)
        if message is None:
            self._fail(_bad(None, error.why if error is not None else "not SIP", 400, True), items)
            return
        if "Content-Length" not in message.names:
            self._fail(
                _bad(message, "on a stream Content-Length has to be given", 400, True), items
            )
            return
        try:
            size = _content_length(message)
        except BadMessage as bad:
            self._fail(bad, items)
            return
        if size > self._limits.body:
            self._fail(_bad(message, "the body is too large", 413, True), items)
            return
        self._message = message
        self._error = error
        self._need = size
        self._head = len(head)

    def _finish(self, body: bytes, items: list[Item]) -> None:
        message = self._message
        error = self._error
        size = self._need
        self._message = None
        self._error = None
        self._need = -1
        self._head = 0
        if error is not None:
            items.append(error)
        elif message is not None:
            message.body = body
            message.note_length(size)
            items.append(message)

    def _fail(self, error: BadMessage, items: list[Item]) -> None:
        error.fatal = True
        self._closed = True
        items.append(error)


def check(message: Request | Response) -> None:
    """Make sure that a message has what every message must have, and each only once.

    Raises:
        BadMessage: 400, or 501 for a method nobody registered whose CSeq names another.

    Spec: RFC 3261 §8.1.1, §8.2, §16.3, §20. Differs: Max-Forwards may be missing, and so
    may the tag of From and the branch of Via, as in RFC 2543.
    """
    seen = 0
    for name in message.names:
        bit = _BITS.get(name, 0)
        if bit & seen & ~_VIA:
            raise _bad(message, name + " is given more than once")
        seen |= bit
    if seen & _ALL_NEEDED != _ALL_NEEDED:
        for name in _NEEDED:
            if name not in message.names:
                raise _bad(message, name + " is missing")
    try:
        _check_values(message)
    except BadMessage:
        raise
    except PeerError as error:
        raise _bad(message, error.why, error.status)


def _check_values(message: Request | Response) -> None:
    if message.via.branch == COOKIE:
        raise PeerError("the branch is nothing but the magic cookie")
    cseq = message.cseq
    if isinstance(message, Request):
        if cseq.method != message.method:
            if message.method in METHODS:
                raise PeerError("CSeq names another method")
            raise PeerError("this method is not implemented", 501)
        uri = message.request_uri
        if isinstance(uri, SipUri) and uri.headers:
            raise PeerError("a Request-URI has no headers")
        if ":::" in message.uri:
            message.uri = str(uri)
        if "Max-Forwards" in message.names and message.max_forwards is None:
            raise PeerError("Max-Forwards is not readable")
    message.from_  # noqa: B018  reading it is the check
    message.to  # noqa: B018
    message.call_id  # noqa: B018
