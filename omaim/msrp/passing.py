"""What a relay knows of a request that it passes on, and what it says about it later.

Spec: RFC 4976 §6.4
"""

from __future__ import annotations

from typing import Final, final

from omaim.errors import PeerError
from omaim.msrp.frame import COMMENTS, ByteRange, Head

_RANGE: Final = b"\r\nbyte-range: "


@final
class Paths:
    """The paths of requests that come and go on by the same way.

    Args:
        ours: the URIs of ours that stand in front of To-Path, as written.
        to: To-Path without them.
        origin: From-Path as it came.

    Attributes:
        own: the first of our URIs.
        onward: both paths as they go on.
        send: the same behind the method of a SEND.
        answer: a 200 to a SEND, between one transaction identifier and the other.

    Spec: RFC 4976 §6.4
    """

    __slots__ = ("answer", "onward", "origin", "ours", "own", "send")

    def __init__(self, ours: list[bytes], to: bytes, origin: bytes) -> None:
        back = b" ".join([*reversed(ours), origin])
        first = origin.split(b" ", 1)[0]
        self.origin: Final = origin
        self.ours: Final = b" ".join(ours)
        self.own: Final = ours[0]
        self.onward: Final = b"\r\nTo-Path: %b\r\nFrom-Path: %b" % (to, back)
        self.send: Final = b" SEND" + self.onward
        self.answer: Final = b" 200 OK\r\nTo-Path: %b\r\nFrom-Path: %b\r\n-------" % (
            first,
            ours[0],
        )


@final
class Passing:
    """A chunk that is passed on while it comes.

    Args:
        paths: as it goes on.
        fields: behind the paths, each after a line end.
        failure: its Failure-Report.

    Attributes:
        refused: the status with which the next hop has refused it, or 408; 0 while it has not.

    Raises:
        PeerError: its Byte-Range is none.
    """

    __slots__ = (
        "_after",
        "_before",
        "_total",
        "failure",
        "fields",
        "held",
        "held_size",
        "mark",
        "paths",
        "refused",
        "sent",
        "start",
        "tail",
        "transaction",
        "vouched",
    )

    def __init__(self, paths: Paths, fields: bytes, failure: bytes) -> None:
        self.paths: Final = paths
        self.fields: Final = fields
        self.failure: Final = failure
        self.vouched: Final = failure != b"no" and failure != b"partial"
        self.refused = 0
        self.sent = 0  # octets that have gone into chunks
        self.start = 0  # how many of them before the open chunk
        self.transaction = b""  # of the open chunk; empty when none is open
        self.mark = b""  # what must not stand in it
        self.tail = b""  # its last octets
        self.held: list[bytes] = []  # octets that wait for a chunk to be worth it
        self.held_size = 0
        at = fields.lower().find(_RANGE)
        if at < 0:
            self._before = b"\r\nByte-Range: "
            self._after = fields
            span = ByteRange(1)
        else:
            value = at + len(_RANGE)
            end = fields.find(b"\r\n", value)
            end = len(fields) if end < 0 else end
            span = ByteRange.parse(fields[value:end])
            self._before = fields[:value]
            self._after = fields[end:]
        self._total = span

    def head(self) -> bytes:
        """Return the fields for a chunk that begins with what comes next."""
        span = ByteRange(self._total.start + self.sent, -1, self._total.total)
        return self._before + span.to_bytes() + self._after

    def clashes(self, data: bytes) -> bool:
        """Tell whether the end-line would stand in the open chunk if ``data`` came next.

        Who reads what we send could have it written here, to go on with frames of his own.
        """
        return self.mark in data or self.mark in self.tail + data[: len(self.mark)]

    def note(self, data: bytes) -> None:
        """These octets have gone into the open chunk."""
        self.sent += len(data)
        keep = len(self.mark) - 1
        self.tail = data[-keep:] if len(data) >= keep else (self.tail + data)[-keep:]


def write_report(
    transaction: bytes, status: int, paths: Paths, fields: bytes, offset: int, size: int
) -> bytes:
    """Return a REPORT for the originator of a SEND; empty when it cannot be written.

    Args:
        fields: of the SEND, behind the paths, each after a line end.
        offset: octets of the received chunk before those that it is about; size: how many
            these are.

    Spec: RFC 4976 §6.4.1, §6.4.3; RFC 4975 §7.1.2
    """
    known = read_fields(fields)
    message_id = known.get(b"message-id")
    if message_id is None:
        return b""
    start, total = 1, -1
    field = known.get(b"byte-range")
    if field is not None:
        try:
            span = ByteRange.parse(field)
            start, total = span.start, span.total
        except PeerError:
            pass
    first = start + offset
    return (
        b"MSRP %b REPORT\r\nTo-Path: %b\r\nFrom-Path: %b\r\nMessage-ID: %b\r\n"
        b"Byte-Range: %b\r\nStatus: 000 %03d %b\r\n-------%b$\r\n"
        % (
            transaction,
            paths.origin,
            paths.own,
            message_id,
            ByteRange(first, first + size - 1, total).to_bytes(),
            status,
            COMMENTS.get(status, "").encode("ascii"),
            transaction,
        )
    )


def read_fields(fields: bytes) -> dict[bytes, bytes]:
    """Return header fields by lower-case name; those that are none are left out."""
    known: dict[bytes, bytes] = {}
    for line in fields.split(b"\r\n"):
        name, colon, value = line.partition(b": ")
        if colon:
            known.setdefault(name.lower(), value)
    return known


def fields_of(head: Head) -> bytes:
    """Return the fields behind the paths, each after a line end."""
    if head.to_end >= 0:
        at = head.lines.find(b"\r\n", head.to_end + 2)
        return b"" if at < 0 else head.lines[at:]
    names = (b"To-Path", b"From-Path")
    rest = [b"\r\n%b: %b" % pair for pair in head.fields.items() if pair[0] not in names]
    return b"".join(rest)
