"""What an MSRP frame is, in a few words, and what else ladders read in one.

A ladder shows what was on the wire, broken and cut frames, too, so nothing here is refused:
what cannot be read is left out. Octets are looked at in place; a frame may be large.

Spec: RFC 4975 §7, §9; RFC 4976 §5; RFC 7701 §6, §7
"""

from __future__ import annotations

import re
from typing import Final

import attrs

from omaim.bodies import cpim
from omaim.bodies.cpim import Cpim
from omaim.bodies.mime import Part, parse_params
from omaim.errors import PeerError
from omaim.features.ladder_words import Summary, content, printable, short, size_words

SEND: Final = "SEND"
REPORT: Final = "REPORT"
PIECE: Final = "…"  # the title of octets that no start line came before

_START: Final = re.compile(
    rb"MSRP ([A-Za-z0-9][A-Za-z0-9.\-+%=]{3,31}) "
    rb"(?:([A-Z]{1,20})|(\d{3})(?: ([^\r\n]{0,200}))?)\r\n"
)
_HEAD: Final = 65_536  # octets in which the headers are looked for
_RANGE: Final = re.compile(r"(\d{1,18})-(\d{1,18}|\*)/(\d{1,18}|\*)")
_URI: Final = re.compile(r"(msrps?)://(?:([^@/]*)@)?([^/;]*)(?:/([^;]*))?", re.IGNORECASE)


@attrs.frozen
class Frame:
    """One frame: the fields of its head, and where its body is in the octets."""

    tid: str
    method: str  # "" of a response
    status: int  # 0 of a request
    comment: str
    headers: dict[str, str]  # by names in lower case; the first of each
    body: bytes = attrs.field(repr=False)
    size: int  # octets of the body
    flag: str  # "$", "+" or "#"; "" when its end is missing
    has_body: bool

    def has(self, name: str) -> bool:
        """Tell whether there is a header, its name in lower case."""
        return name in self.headers

    def get(self, name: str) -> str:
        """Return the value of a header, "" if there is none."""
        return self.headers.get(name, "")

    @property
    def to_path(self) -> list[str]:
        """The URIs that it is for, the next hop first."""
        return self.get("to-path").split()[:20]

    @property
    def from_path(self) -> list[str]:
        """The URIs that it is from, the last hop first."""
        return self.get("from-path").split()[:20]

    @property
    def range(self) -> tuple[int, int, int]:
        """First and last octet of the message that it holds, and how many there are; -1 for what
        is not known.

        Spec: RFC 4975 §7.1.1
        """
        found = _RANGE.fullmatch(self.get("byte-range").strip())
        start = int(found[1]) if found else 1
        total = int(found[3]) if found and found[3] != "*" else -1
        if self.method == SEND:
            end = start + self.size - 1
        else:
            end = int(found[2]) if found and found[2] != "*" else -1
        if self.flag == "$" and self.method == SEND and total < 0:
            total = end
        return start, end, total

    @property
    def whole(self) -> bool:
        """Tell whether it holds a message from its beginning to its end."""
        start, end, total = self.range
        return start == 1 and self.flag == "$" and end == total


def starts(data: bytes) -> str:
    """Return the transaction id when the octets begin a frame, else ""."""
    found = _START.match(data)
    return found[1].decode() if found else ""


def ends(tail: bytes, tid: str) -> bool:
    """Tell whether octets end with the end-line of a transaction (RFC 4975 §7.1)."""
    mark = b"-------" + tid.encode()
    return tail[-3:-2] in (b"$", b"+", b"#") and tail[:-3].endswith(mark) and tail.endswith(b"\r\n")


def read_frame(data: bytes) -> Frame | None:
    """Return what a frame says; ``None`` when the octets are not the beginning of one."""
    found = _START.match(data)
    if found is None:
        return None
    tid = found[1].decode()
    end = len(data)
    flag = ""
    if ends(data[-45:], tid):
        flag = chr(data[-3])
        end = len(data) - len(tid) - 10
    blank = data.find(b"\r\n\r\n", found.end() - 2, _HEAD)
    has_body = 0 <= blank < end
    head = data[found.end() : blank if has_body else min(end, _HEAD)]
    headers: dict[str, str] = {}
    for line in head.decode("utf-8", "replace").split("\r\n"):
        name, colon, value = line.partition(":")
        if colon:
            headers.setdefault(name.lower(), value.strip())
    start = blank + 4 if has_body else end
    stop = max(start, end - 2 if flag else end)  # the line break before the end-line is no body
    return Frame(
        tid=tid,
        method=(found[2] or b"").decode(),
        status=int(found[3] or 0),
        comment=(found[4] or b"").decode("utf-8", "replace"),
        headers=headers,
        body=data[start : min(stop, start + _HEAD)],
        size=stop - start,
        flag=flag,
        has_body=has_body,
    )


def uri_key(uri: str) -> str:
    """Return what two URIs of one session have in common, "" for no MSRP URI.

    Spec: RFC 4975 §6.1
    """
    found = _URI.match(uri)
    return f"{found[1].lower()}://{found[3].lower()}/{found[4] or ''}" if found else ""


def uri_place(uri: str) -> tuple[str, int] | None:
    """Return host and port of an MSRP URI, ``None`` when it does not name them."""
    found = _URI.match(uri)
    if found is None:
        return None
    host, _, port = found[3].rpartition(":")
    if not host or not port.isascii() or not port.isdecimal() or len(port) > 5:
        return None
    return host.strip("[]").lower(), int(port)


def summarise_frame(
    frame: Frame, method: str = "", rooms: frozenset[str] = frozenset(), file: str = ""
) -> Summary:
    """Return what a frame is.

    Args:
        method: of the request that a response answers, when it is known.
        rooms: addresses of the chat room whose session this is; what is for another address
            is a private message.
        file: the name of the file whose transfer this session is.
    """
    if frame.status:
        words = [f"Use-Path of {len(path.split())}" for path in [frame.get("use-path")] if path]
        words += [f"expires {value}" for value in [frame.get("expires")] if value]
        title = printable(f"{frame.status} {frame.comment}".strip(), 40)
        return Summary(title, method or "?", hint=printable(" ".join(words), 60))
    if frame.method == SEND:
        return _send(frame, rooms, file)
    hints = []
    if frame.method == REPORT:
        hints.append(" ".join(frame.get("status").split(" ")[1:2]) or "no status")
        hints.append(frame.get("byte-range"))
    elif frame.has("use-nickname"):
        name = frame.get("use-nickname")
        plain = name[1:-1] if len(name) > 1 and name[0] == name[-1] == '"' else name
        hints.append(f"“{printable(plain, 40)}”" if plain else "none")
    if frame.has("authorization"):
        hints.append("+credentials")
    return Summary(printable(frame.method, 20), hint=printable(" ".join(filter(None, hints)), 80))


def _send(frame: Frame, rooms: frozenset[str], file: str) -> Summary:
    """Return what a chunk is: who says what to whom, and how much of it this is."""
    hints: list[str] = []
    who = ""
    start, end, total = frame.range
    if not frame.has_body:
        hints.append("empty")
    elif file:
        hints.append(printable(file, 40))
        if frame.whole:
            hints.append(size_words(frame.size))
    elif start > 1:
        hints.append(_kind(frame.get("content-type")))
    else:
        who, said = _said(frame, rooms)
        hints.append(said)
    part = ""
    if frame.has_body and not frame.whole:
        part = f"{start}-{end}/{total if total >= 0 else '*'}"
    if frame.flag == "#":
        part = f"{part} aborted".strip()
    elif not frame.flag:
        part = f"{part} without its end".strip()
    return Summary(SEND, "", who, " ".join(hints), part)


def _said(frame: Frame, rooms: frozenset[str]) -> tuple[str, str]:
    """Return "alice→bob" and what is said, of the beginning of a message."""
    kind = frame.get("content-type")
    part = Part([("Content-Type", kind or "application/octet-stream")], frame.body)
    try:
        if part.media_type == cpim.MEDIA_TYPE:
            message = Cpim.parse(frame.body)
            author, to = message.from_, message.to
            names = ", ".join(short(one.uri) for one in to[:1])
            more = f" +{len(to) - 1}" if len(to) > 1 else ""
            who = f"{short(author.uri) if author else ''}→{names}{more}"
            said = _body(message.part, frame)
            away = len(to) == 1 and bool(rooms) and bare(to[0].uri) not in rooms
            return who, f"private {said}" if away and not said.startswith("IMDN") else said
    except PeerError:
        pass
    user = _user(frame)
    said = f"{_file_name(frame)} {_body(part, frame)}".strip()
    return f"{user}→" if user else "", said


def _body(part: Part, frame: Frame) -> str:
    """Return what is in a message, of which there may be only the beginning."""
    if frame.whole and len(frame.body) == frame.size:
        return content(part)
    if part.media_type != "text/plain":
        return _kind(part.content_type) + ("" if not frame.whole else f" {size_words(frame.size)}")
    return content(Part(part.headers, _characters(part.content)))


def _characters(data: bytes) -> bytes:
    """Return the octets without the beginning of a character at their end (RFC 3629 §3)."""
    for count in range(1, min(4, len(data) + 1)):
        octet = data[-count]
        if octet >= 0xC0:
            length = 2 if octet < 0xE0 else 3 if octet < 0xF0 else 4
            return data[:-count] if length > count else data
        if octet < 0x80:
            break
    return data


def _kind(content_type: str) -> str:
    name = content_type.partition(";")[0].rpartition("/")[2].strip() or "octets"
    return printable(name.removesuffix("+xml").removeprefix("vnd."), 24)


def _file_name(frame: Frame) -> str:
    """Return the name that a SEND gives to what it carries (RFC 2183 §2.3)."""
    try:
        params = parse_params(frame.get("content-disposition"))[1]
    except PeerError:
        return ""
    return printable(params.get("filename", ""), 40)


def _user(frame: Frame) -> str:
    """Return the user that the sender's URI names (RFC 4975 §6)."""
    found = _URI.match(frame.from_path[-1]) if frame.from_path else None
    return printable(found[2], 20) if found and found[2] else ""


def bare(uri: str) -> str:
    """Return an address without parameters and in one case, so that two can be compared."""
    return uri.partition(";")[0].partition("?")[0].strip("<>").lower()
