"""MSRP for the tests of ladders: frames, and the session descriptions that set sessions up."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from omaim.bodies.cpim import Address, Cpim
from omaim.bodies.mime import Part
from omaim.net.wire import IN, OUT, WireRecord
from omaim.node.directory import Directory, Place

ALICE = "msrp://10.0.1.10:49152/alice1;tcp"
IM = "msrp://10.0.1.2:2855/im1;tcp"
ROOM = "sip:room.cafe@north.example"

PLACES = (
    Place("core-north", "core", "10.0.1.1", 5060, "north.example"),
    Place("im-north", "im", "10.0.1.2", 5060, "north.example"),
    Place("im-north", "im", "10.0.1.2", 2855, "north.example"),
    Place("im-south", "im", "10.0.2.2", 2855, "south.example"),
)


def directory() -> Directory:
    made = Directory()
    for place in PLACES:
        made.note(place)
    return made


def send(
    body: bytes | None = b"Hello",
    tid: str = "a786hjs2",
    extent: str = "",
    flag: str = "$",
    kind: str = "text/plain",
    to: str = IM,
    by: str = ALICE,
    message: str = "87652491",
    headers: str = "",
) -> bytes:
    """A SEND as in RFC 4975 §4."""
    head = f"MSRP {tid} SEND\r\nTo-Path: {to}\r\nFrom-Path: {by}\r\nMessage-ID: {message}\r\n"
    head += f"Byte-Range: {extent}\r\n" if extent else ""
    head += headers
    if body is None:
        return f"{head}-------{tid}{flag}\r\n".encode()
    head += f"Content-Type: {kind}\r\n\r\n"
    return head.encode() + body + f"\r\n-------{tid}{flag}\r\n".encode()


def answer(tid: str = "a786hjs2", said: str = "200 OK", to: str = ALICE, by: str = IM) -> bytes:
    return f"MSRP {tid} {said}\r\nTo-Path: {to}\r\nFrom-Path: {by}\r\n-------{tid}$\r\n".encode()


def request(method: str, headers: str = "", tid: str = "b123", to: str = IM) -> bytes:
    """A request without a body."""
    head = f"MSRP {tid} {method}\r\nTo-Path: {to}\r\nFrom-Path: {ALICE}\r\n{headers}"
    return f"{head}-------{tid}$\r\n".encode()


def chunks(body: bytes, count: int, message: str = "file1", tid: str = "chunk") -> list[bytes]:
    """A message in chunks that are alike."""
    size = len(body) // count
    found = []
    for number in range(count):
        start = number * size
        end = len(body) if number == count - 1 else start + size
        extent = f"{start + 1}-{end}/{len(body)}"
        flag = "$" if number == count - 1 else "+"
        name = f"{tid}{number}"
        piece = body[start:end]
        found.append(send(piece, name, extent, flag, "image/jpeg", message=message))
    return found


def cpim(to: str, part: Part | None = None, by: str = "sip:alice@north.example") -> bytes:
    part = part or Part([("Content-Type", "text/plain")], b"Hello")
    return Cpim.make(Address("", by), [Address("", to)], "", part).to_bytes()


def sdp(path: str, *more: str, port: int = 2855, protocol: str = "TCP/MSRP") -> bytes:
    lines = ["v=0", "o=- 1 1 IN IP4 10.0.1.10", "s=-", "c=IN IP4 10.0.1.10", "t=0 0"]
    lines += [f"m=message {port} {protocol} *", "a=accept-types:*", f"a=path:{path}", *more]
    return ("\r\n".join(lines) + "\r\n").encode()


def invite(
    body: bytes,
    by: str = "sip:alice@north.example",
    to: str = ROOM,
    contact: str = "<sip:alice@10.0.1.10>",
    status: str = "",
    call: str = "call1",
) -> bytes:
    """An INVITE with a session description, or with ``status`` the answer to one."""
    start = f"SIP/2.0 {status}" if status else f"INVITE {to} SIP/2.0"
    return (
        f"{start}\r\nVia: SIP/2.0/UDP 10.0.1.10;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n"
        f"From: <{by}>;tag=1\r\nTo: <{to}>{';tag=2' if status else ''}\r\nCall-ID: {call}\r\n"
        f"CSeq: 1 INVITE\r\nContact: {contact}\r\nContent-Type: application/sdp\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


AT = {
    "alice": ("10.0.1.10", 49152),
    "core-north": ("10.0.1.1", 5060),
    "im-north": ("10.0.1.2", 2855),
    "im-south": ("10.0.2.2", 2855),
    "relay": ("10.0.1.3", 2855),
    "bob": ("10.0.1.11", 2855),
    "relay-bob": ("10.0.1.4", 2855),
}


def out(time: float, source: str, target: str, data: bytes, protocol: str = "MSRP") -> WireRecord:
    return WireRecord(time, source, OUT, protocol, "TCP", AT[source], AT[target], data)


def into(time: float, source: str, target: str, data: bytes, protocol: str = "MSRP") -> WireRecord:
    return WireRecord(time, target, IN, protocol, "TCP", AT[target], AT[source], data)


def both(time: float, source: str, target: str, data: bytes) -> list[WireRecord]:
    return [out(time, source, target, data), into(time + 0.001, source, target, data)]


def pieces(record: WireRecord, cuts: Iterable[int]) -> list[WireRecord]:
    """The record in pieces, cut at some places after its start line."""
    first = record.data.index(b"\r\n") + 2
    places = sorted({min(max(cut, first), len(record.data)) for cut in cuts})
    found: list[WireRecord] = []
    for start, end in zip([0, *places], [*places, len(record.data)], strict=True):
        if end > start:
            time = record.time + 0.0001 * len(found)
            found.append(attrs.evolve(record, time=time, data=record.data[start:end]))
    return found
