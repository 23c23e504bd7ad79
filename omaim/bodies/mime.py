"""One MIME entity: header lines, and octets under them.

Multiparts are made of these and a CPIM message carries one. Headers that nobody touched are
written back byte for byte, folds included.

Spec: RFC 2045; RFC 2183 (Content-Disposition); RFC 3204 §4 (its handling parameter)
"""

from __future__ import annotations

import re
from binascii import Error, a2b_base64, a2b_qp
from typing import Final, final

from omaim.errors import PeerError, UsageError

HEAD_SIZE: Final = 16_384  # octets of the headers of one entity
HEADERS: Final = 100  # of one entity

_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FOLD: Final = re.compile(r"\r\n[ \t]+")
_FORBIDDEN: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_TYPE: Final = re.compile(r"\s*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)(?:/([!#$%&'*+\-.^_`|~0-9A-Za-z]+))?")
_PARAM: Final = re.compile(
    r"\s*;\s*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)\s*=\s*"
    r"(?:\"((?:[^\"\\]|\\.)*)\"|([^\s;,\"()<>@:\\/\[\]?=]+))",
    re.DOTALL,
)
_QUOTED_PAIR: Final = re.compile(r"\\(.)", re.DOTALL)
_SAFE: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


class BadMime(PeerError):
    """A body whose MIME structure cannot be read."""

    status = 400


def parse_params(value: str) -> tuple[str, dict[str, str]]:
    """Return the leading type of a Content- header, in lower case, and its parameters.

    Raises:
        BadMime: no type, a broken parameter, or a parameter given twice.

    Spec: RFC 2045 §5.1; RFC 2183 §2
    """
    head = _TYPE.match(value)
    if head is None:
        raise BadMime(f"{value[:60]!r} names no type")
    params: dict[str, str] = {}
    at = head.end()
    while True:
        found = _PARAM.match(value, at)
        if found is None:
            break
        name = found.group(1).lower()
        if name in params:
            raise BadMime(f"parameter {name[:40]} is given twice")
        quoted = found.group(2)
        if quoted is not None:
            params[name] = _QUOTED_PAIR.sub(r"\1", quoted)
        else:
            params[name] = found.group(3)
        at = found.end()
    if value[at:].strip(" \t\r\n;"):
        raise BadMime(f"{value[:60]!r} has a broken parameter")
    return head.group(0).strip().lower(), params


def write_params(kind: str, params: dict[str, str]) -> str:
    """Return a Content- header's value; parameters are quoted where they must be."""
    text = kind
    for name, value in params.items():
        if _SAFE.fullmatch(value) is None:
            value = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        text += f";{name}={value}"
    return text


@final
class Part:
    """Header lines and the octets that they describe.

    Args:
        headers: names and values, in order; values on one line.
        content: the octets, exactly.

    Spec: RFC 2045 §3
    """

    __slots__ = ("_head", "content", "headers")

    def __init__(self, headers: list[tuple[str, str]], content: bytes) -> None:
        self.headers = headers
        self.content = content
        self._head: bytes | None = None

    @staticmethod
    def parse(data: bytes) -> Part:
        """Return the entity that the octets are.

        A blank line parts headers and content; it may be missing when nothing follows, and
        it comes first when there are no headers.

        Raises:
            BadMime: a header line is broken, or there are too many.
        """
        if data.startswith(b"\r\n"):
            return Part([], data[2:])
        end = data.find(b"\r\n\r\n", 0, HEAD_SIZE + 4)
        if end >= 0:
            head = data[: end + 2]
            content = data[end + 4 :]
        elif len(data) > HEAD_SIZE:
            raise BadMime(f"MIME headers are longer than {HEAD_SIZE} octets")
        else:
            head = data
            content = b""
        part = Part(_parse_headers(head), content)
        if end >= 0:
            part._head = head
        return part

    def first(self, name: str) -> str:
        """Return the value of the first header with this name, in any case; "" if none."""
        wanted = name.lower()
        for header, value in self.headers:
            if header.lower() == wanted:
                return value
        return ""

    def set(self, name: str, value: str) -> None:
        """Replace the first header of this name and drop its doubles, or append it."""
        wanted = name.lower()
        headers: list[tuple[str, str]] = []
        placed = False
        for header, old in self.headers:
            if header.lower() != wanted:
                headers.append((header, old))
            elif not placed:
                placed = True
                headers.append((name, value))
        if not placed:
            headers.append((name, value))
        self.headers = headers
        self._head = None

    def remove(self, name: str) -> None:
        """Drop every header of this name."""
        wanted = name.lower()
        self.headers = [pair for pair in self.headers if pair[0].lower() != wanted]
        self._head = None

    @property
    def content_type(self) -> str:
        """The Content-Type as it stands; what MIME assumes when there is none."""
        return self.first("Content-Type") or "text/plain;charset=us-ascii"

    @property
    def media_type(self) -> str:
        """Type and subtype, in lower case and without parameters: ``text/plain``."""
        return parse_params(self.content_type)[0]

    @property
    def disposition(self) -> str:
        """The disposition type, in lower case; "" when there is no Content-Disposition."""
        value = self.first("Content-Disposition")
        return parse_params(value)[0] if value else ""

    @property
    def optional(self) -> bool:
        """Whether a receiver that does not understand the part may ignore it.

        Spec: RFC 3204 §4; RFC 3261 §20.11 (required when nothing is said)
        """
        value = self.first("Content-Disposition")
        return bool(value) and parse_params(value)[1].get("handling", "").lower() == "optional"

    @property
    def content_id(self) -> str:
        """The Content-ID without its angle brackets, "" if none."""
        value = self.first("Content-ID").strip()
        return value[1:-1] if value.startswith("<") and value.endswith(">") else value

    def decoded(self) -> bytes:
        """Return the content with its Content-Transfer-Encoding undone.

        Raises:
            BadMime: an unknown encoding, or octets that are not so encoded.

        Spec: RFC 2045 §6
        """
        coding = self.first("Content-Transfer-Encoding").strip().lower()
        if coding in ("", "binary", "8bit", "7bit"):
            return self.content
        if coding == "base64":
            try:
                return a2b_base64(self.content)
            except Error:
                raise BadMime("content is not base64") from None
        if coding == "quoted-printable":
            return a2b_qp(self.content)
        raise BadMime(f"content has the transfer encoding {coding[:40]}", 415)

    def text(self) -> str:
        """Return the content as text by its charset, UTF-8 when it names none.

        Raises:
            BadMime: an unknown charset, or octets that are not in it.

        Spec: RFC 2046 §4.1.2; RFC 3428 §4 (UTF-8)
        """
        charset = parse_params(self.content_type)[1].get("charset", "utf-8").lower()
        if charset not in ("utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "utf-16"):
            raise BadMime(f"text is in the charset {charset[:40]}", 415)
        try:
            # What claims to be ASCII and is not is UTF-8 more often than junk.
            return self.decoded().decode("utf-8" if "ascii" in charset else charset)
        except UnicodeDecodeError:
            raise BadMime(f"text is not {charset}") from None

    def to_bytes(self) -> bytes:
        """Return the entity; headers that came from the wire and were not changed, as they came.

        Raises:
            UsageError: a header cannot be written: a defect of who made it.
        """
        head = self._head
        if head is None:
            lines: list[str] = []
            for name, value in self.headers:
                if _FORBIDDEN.search(value) is not None or _NAME.fullmatch(name) is None:
                    raise UsageError(f"MIME header {name!r} cannot be written")
                lines.append(f"{name}: {value}\r\n")
            head = "".join(lines).encode()
        return head + b"\r\n" + self.content

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Part):
            return NotImplemented
        return self.headers == other.headers and self.content == other.content

    def __hash__(self) -> int:
        return hash(self.content)

    def __repr__(self) -> str:
        return f"<Part {self.content_type} {len(self.content)} octets>"


def _parse_headers(head: bytes) -> list[tuple[str, str]]:
    """Return the headers, unfolded, or raise BadMime."""
    try:
        text = head.decode()
    except UnicodeDecodeError:
        raise BadMime("MIME headers are not UTF-8") from None
    if "\r\n " in text or "\r\n\t" in text:
        text = _FOLD.sub(" ", text)
    headers: list[tuple[str, str]] = []
    for line in text.split("\r\n"):
        if not line:
            continue
        name, colon, value = line.partition(":")
        name = name.rstrip(" \t")
        if not colon or _NAME.fullmatch(name) is None or _FORBIDDEN.search(value) is not None:
            raise BadMime(f"MIME header {line[:40]!r} is broken")
        headers.append((name, value.strip(" \t")))
    if len(headers) > HEADERS:
        raise BadMime(f"more than {HEADERS} MIME headers")
    return headers
