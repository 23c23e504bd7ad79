"""One MSRP frame: its head as it came, what it says, and how one is written.

A head stays octets until somebody asks for a field; what is written is built from octets as well.

Spec: RFC 4975 §7, §9
"""

from __future__ import annotations

import re
from typing import Final, final

from omaim.errors import PeerError

LAST: Final = ord("$")  # the flag of the chunk that ends its message
MORE: Final = ord("+")  # more chunks of the message follow
ABORTED: Final = ord("#")  # nothing follows, and the message is not whole

YES: Final = "yes"
NO: Final = "no"
PARTIAL: Final = "partial"

LARGEST: Final = 1 << 62  # octets of a message that we can count
SMALL: Final = 2048  # octets of a chunk that need not be interruptible, §7.1.1

COMMENTS: Final = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    408: "Timeout",
    413: "Stop Sending",
    415: "Unsupported Media Type",
    423: "Out Of Bounds",
    424: "Malformed Nickname",
    425: "Nickname Taken",
    428: "Private Messages Not Supported",
    481: "No Such Session",
    501: "Unknown Method",
    506: "Session In Use",
}

is_ident: Final = re.compile(rb"[A-Za-z0-9][A-Za-z0-9.\-+%=]{3,31}").fullmatch
is_path: Final = re.compile(rb"[!-~]+(?: [!-~]+)*").fullmatch  # fit to be written back
is_media_type: Final = re.compile(
    rb"[A-Za-z0-9!#$%&'*+\-.^_`|~]+/[A-Za-z0-9!#$%&'*+\-.^_`|~]+(?:[ \t]*;.*)?", re.DOTALL
).fullmatch
_is_method: Final = re.compile(rb"[A-Z]{1,32}").fullmatch
_is_name: Final = re.compile(rb"[A-Za-z][!#-'*+\-.0-9A-Z^-~]*").fullmatch
_is_range: Final = re.compile(rb"([0-9]{1,20})-(?:([0-9]{1,20})|\*)/(?:([0-9]{1,20})|\*)").fullmatch
_is_status: Final = re.compile(rb"([0-9]{3}) ([0-9]{3})(?: (.*))?", re.DOTALL).fullmatch

_CONTROL: Final = bytes([code for code in range(32) if code not in (9, 10, 13)]) + b"\x7f"
_CHALLENGE: Final = b"WWW-Authenticate"
_TO: Final = b"To-Path: "
_FROM: Final = b"\r\nFrom-Path: "
# By lower case, the spelling under which a field is kept.
_NAMES: Final = {
    name.lower(): name
    for name in (
        b"To-Path",
        b"From-Path",
        b"Message-ID",
        b"Success-Report",
        b"Failure-Report",
        b"Byte-Range",
        b"Status",
        b"Use-Nickname",
        b"Use-Path",
        b"Expires",
        b"Min-Expires",
        b"Max-Expires",
        b"WWW-Authenticate",
        b"Authorization",
        b"Authentication-Info",
        b"Content-Type",
        b"Content-ID",
        b"Content-Description",
        b"Content-Disposition",
    )
}
_SPELT: Final = frozenset(_NAMES.values())
_WORDS: Final = (b"Success-Report", b"Failure-Report")  # their values have no case, RFC 4234 §2.3


@final
class ByteRange:
    """Which octets of its message a chunk or report is about; the first octet is number 1.

    Attributes:
        start: number of the first octet.
        end: number of the last one; -1 for ``*``; one less than ``start`` when there is none.
        total: octets of the message; -1 for ``*``.

    Spec: RFC 4975 §7.1.1
    """

    __slots__ = ("end", "start", "total")

    def __init__(self, start: int, end: int = -1, total: int = -1) -> None:
        self.start: Final = start
        self.end: Final = end
        self.total: Final = total

    @staticmethod
    def parse(text: bytes) -> ByteRange:
        """Return the range that a Byte-Range field gives.

        Raises:
            PeerError: it is none, or no message is as large.
        """
        found = _is_range(text)
        if found is None:
            raise PeerError("not a Byte-Range")
        start = int(found[1])
        end = -1 if found[2] is None else int(found[2])
        total = -1 if found[3] is None else int(found[3])
        if start < 1 or start > LARGEST or end > LARGEST or total > LARGEST:
            raise PeerError("a Byte-Range is out of bounds")
        if -1 < end < start - 1:
            raise PeerError("a Byte-Range ends before it begins")
        return ByteRange(start, end, total)

    def to_bytes(self) -> bytes:
        """Return it as the field's value."""
        return str(self).encode("ascii")

    def __str__(self) -> str:
        end = "*" if self.end < 0 else str(self.end)
        total = "*" if self.total < 0 else str(self.total)
        return f"{self.start}-{end}/{total}"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ByteRange)
            and self.start == other.start
            and self.end == other.end
            and self.total == other.total
        )

    def __hash__(self) -> int:
        return hash((self.start, self.end, self.total))

    def __repr__(self) -> str:
        return f"<ByteRange {self}>"


@final
class Head:
    """The head of one request or response.

    Attributes:
        transaction: the transaction identifier.
        method: of a request; empty for a response.
        status: of a response; 0 for a request.
        comment: of a response; may be empty.
        lines: the fields as they came, without the last line end.
        has_body: a body, perhaps an empty one, belongs to it.
        wrong: why it is no good head; "" for a good one. Of a bad one, ``transaction``,
            ``method`` and perhaps the paths can be trusted, enough to answer it 400.

    Spec: RFC 4975 §9
    """

    __slots__ = (
        "_fields",
        "comment",
        "has_body",
        "lines",
        "method",
        "status",
        "to_end",
        "transaction",
        "wrong",
    )

    def __init__(
        self,
        transaction: bytes,
        method: bytes,
        status: int,
        comment: bytes,
        lines: bytes,
        has_body: bool,
    ) -> None:
        self.transaction: Final = transaction
        self.method: Final = method
        self.status: Final = status
        self.comment: Final = comment
        self.lines: Final = lines
        self.has_body: Final = has_body
        self.wrong = ""
        self._fields: dict[bytes, bytes] | None = None
        self.to_end = lines.find(b"\r\n")
        if self.to_end < 0 or not lines.startswith(_TO) or not lines.startswith(_FROM, self.to_end):
            self._reorder()

    @property
    def is_request(self) -> bool:
        """Whether it is a request."""
        return self.status == 0

    @property
    def to_path(self) -> bytes:
        """The value of To-Path; empty when a bad head has none."""
        if self.to_end < 0:
            return self.fields.get(b"To-Path", b"")
        return self.lines[9 : self.to_end]

    @property
    def from_path(self) -> bytes:
        """The value of From-Path; empty when a bad head has none."""
        if self.to_end < 0:
            return self.fields.get(b"From-Path", b"")
        start = self.to_end + 13
        end = self.lines.find(b"\r\n", start)
        return self.lines[start:] if end < 0 else self.lines[start:end]

    @property
    def fields(self) -> dict[bytes, bytes]:
        """All fields by name, spelt as in the RFCs if they have it; reading it checks them.

        What the report fields say is in lower case.
        """
        known = self._fields
        return self._read() if known is None else known

    def get(self, name: bytes) -> bytes | None:
        """Return a field's value; ``None`` when there is none.

        Several WWW-Authenticate come as one, with line ends between them.
        """
        return self.fields.get(name)

    def check(self) -> str:
        """Read all fields; return ``wrong``."""
        if self._fields is None:
            self._read()
        return self.wrong

    def _reorder(self) -> None:
        """Something is not where it should be; perhaps only the spelling is unusual."""
        self.to_end = -1
        names = list(self._read())
        if names[:2] != [b"To-Path", b"From-Path"]:
            self.wrong = self.wrong or "To-Path and From-Path do not come first"

    def _read(self) -> dict[bytes, bytes]:
        fields: dict[bytes, bytes] = {}
        name = b""
        wrong = ""
        split = self.lines.split(b"\r\n")
        ends = len(split) - 1
        if (
            self.lines.count(b"\r") != ends
            or self.lines.count(b"\n") != ends
            or len(self.lines.translate(None, _CONTROL)) != len(self.lines)
        ):
            wrong = "a field holds a control character"
        for line in split:
            colon = line.find(b": ")
            name = line[:colon] if colon > 0 else b""
            if name not in _SPELT:
                name = _NAMES.get(name.lower(), name)
                if not _is_name(name):
                    wrong = "a line is no header field"
                    continue
            value = line[colon + 2 :]
            if name in fields and name == _CHALLENGE:
                fields[name] += b"\r\n" + value  # one for each algorithm, RFC 7616 §3.7
            elif name in fields:
                wrong = "a field is given twice"
            elif not value.isascii() and not _is_utf8(value):
                wrong = "a field is not UTF-8"
            else:
                fields[name] = value
        for word in _WORDS:
            said = fields.get(word)
            if said is not None and not said.islower():
                fields[word] = said.lower()
        if not wrong:
            if self.has_body:
                if name != b"Content-Type":
                    wrong = "Content-Type is not the last field before a body"
            elif b"Content-Type" in fields:
                wrong = "there is a Content-Type but no body"
        self.wrong = self.wrong or wrong
        self._fields = fields
        return fields

    def __repr__(self) -> str:
        return f"<Head {self.transaction!r} {self.method or self.status!r}>"


def parse_start(line: bytes, lines: bytes, has_body: bool) -> Head | None:
    """Return the head that a start line and its fields make.

    ``None`` when the line is none of MSRP's, so that nobody knows where the frame ends.

    Spec: RFC 4975 §9 (req-start, resp-start)
    """
    parts = line.split(b" ", 3)
    if len(parts) < 3 or parts[0] != b"MSRP" or is_ident(parts[1]) is None:
        return None
    word = parts[2]
    if len(word) == 3 and word.isdigit():
        comment = parts[3] if len(parts) == 4 else b""
        return Head(parts[1], b"", int(word), comment, lines, has_body)
    head = Head(parts[1], word, 0, b"", lines, has_body)
    if len(parts) != 3 or _is_method(word) is None:
        head.wrong = "not a good request line"
    return head


@final
class Status:
    """What a Status field says.

    Attributes:
        namespace: "000" for the codes of RFC 4975.
        code: as of a response.
        comment: for people; may be empty.

    Spec: RFC 4975 §7.1.2, §9
    """

    __slots__ = ("code", "comment", "namespace")

    def __init__(self, namespace: str, code: int, comment: str = "") -> None:
        self.namespace: Final = namespace
        self.code: Final = code
        self.comment: Final = comment

    @staticmethod
    def parse(text: bytes) -> Status:
        """Return the status that a field gives.

        Raises:
            PeerError: it is none.
        """
        found = _is_status(text)
        if found is None:
            raise PeerError("not a Status")
        comment = found[3]
        decoded = "" if comment is None else comment.decode("utf-8", "replace")
        return Status(found[1].decode("ascii"), int(found[2]), decoded)


@final
class Report:
    """What became of a message, or of some of its octets, as its receiver or a relay says.

    Attributes:
        message_id: of the message that was sent; "" when only an answer that nobody kept a
            record for can be meant.
        status: 200, or the code of what went wrong.
        comment: for people; may be empty.
        span: the octets that it is about; ``None`` when it does not say.

    Spec: RFC 4975 §7.1.2 to §7.1.4, §7.3.2
    """

    __slots__ = ("comment", "message_id", "span", "status")

    def __init__(
        self, message_id: str, status: int, comment: str = "", span: ByteRange | None = None
    ) -> None:
        self.message_id: Final = message_id
        self.status: Final = status
        self.comment: Final = comment
        self.span: Final = span

    @property
    def ends_session(self) -> bool:
        """Whether octets were lost, so that the session has to be negotiated anew (§7.3.2)."""
        return self.status not in (200, 403, 404, 413, 415, 428)

    def __repr__(self) -> str:
        return f"<Report {self.message_id} {self.status} {self.span}>"


def phrase(status: int, comment: str) -> bytes:
    """Return the comment for a status line or a Status field: the usual one for "".

    Line ends, which cannot stand there, become spaces.
    """
    said = (comment or COMMENTS.get(status, "")).encode("utf-8", "replace")
    if b"\r" in said or b"\n" in said:
        said = said.replace(b"\r", b" ").replace(b"\n", b" ")
    return said


def write_response(
    transaction: bytes, status: int, comment: str, to: bytes, own: bytes, more: bytes = b""
) -> bytes:
    """Return a whole response.

    Args:
        comment: "" for the usual one.
        to: the value of To-Path.
        own: the value of From-Path.
        more: further fields, each with its line end.

    Spec: RFC 4975 §7.2
    """
    said = phrase(status, comment)
    code = b"%d %b" % (status, said) if said else b"%d" % status
    return b"MSRP %b %b\r\nTo-Path: %b\r\nFrom-Path: %b\r\n%b-------%b$\r\n" % (
        transaction,
        code,
        to,
        own,
        more,
        transaction,
    )


def write_request(
    transaction: bytes,
    method: bytes,
    to: bytes,
    own: bytes,
    more: bytes = b"",
    body: bytes | None = None,
    flag: bytes = b"$",
) -> bytes:
    """Return a whole request.

    Args:
        to: the value of To-Path.
        own: the value of From-Path.
        more: further fields, each with its line end; with a body, Content-Type comes last.
        body: ``None`` for none, which is not the same as an empty one.

    Spec: RFC 4975 §7.1
    """
    content = b"" if body is None else b"\r\n%b\r\n" % body
    return b"MSRP %b %b\r\nTo-Path: %b\r\nFrom-Path: %b\r\n%b%b-------%b%b\r\n" % (
        transaction,
        method,
        to,
        own,
        more,
        content,
        transaction,
        flag,
    )


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
