"""A ladder as a capture file that other tools read.

Each message becomes the packets that would have carried it: IP and UDP, or IP and TCP with a
handshake and right sequence numbers. What went over TLS is written in the clear. A comment
on each packet names the entities and the reference point.

Spec: draft-ietf-opsawg-pcapng §4.1 (SHB), §4.2 (IDB), §4.3 (EPB); RFC 791, 8200, 768, 9293
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from omaim.features.ladder import Ladder, Step

_RAW_IP: Final = 101  # LINKTYPE_RAW: the packet begins with its IP header
_SEGMENT: Final = 1400  # octets of TCP payload in one packet
_SIP_PORTS: Final = frozenset({5060})

_COMMENT: Final = 1
_APPLICATION: Final = 4
_NAME: Final = 2
_END: Final = b"\0\0\0\0"

_FIN, _SYN, _PUSH, _ACK = 1, 2, 8, 16
_UDP, _TCP = 17, 6


def write_pcapng(ladder: Ladder) -> bytes:
    """Return the capture: a section, an interface, and the packets in order."""
    writer = _Writer()
    for step in ladder.steps:
        writer.step(step)
    return b"".join(writer.blocks)


def decode_as(ladder: Ladder) -> list[str]:
    """Return the arguments that make tshark take every port in the ladder for what it is.

    tshark knows SIP by its port, 5060, and takes 5061 for TLS; all other ports, and 5061,
    which holds clear text here, need a hint: ``-d tcp.port==5061,sip``.
    """
    hints: dict[str, None] = {}
    for step in ladder.steps:
        layer = "udp" if step.transport == "UDP" else "tcp"
        name = {"SIP": "sip", "MSRP": "msrp", "HTTP": "http"}.get(step.protocol)
        if name is None:
            continue
        # Either end may be the one that listens: the client's port is as good as the server's.
        for port in (step.source_address[1], step.target_address[1]):
            if name != "sip" or port not in _SIP_PORTS:
                hints[f"{layer}.port=={port},{name}"] = None
    return [piece for hint in hints for piece in ("-d", hint)]


class _Stream:
    """One TCP connection: what each side sends next."""

    def __init__(self) -> None:
        self.next: dict[tuple[str, int], int] = {}


class _Writer:
    """Packets into blocks."""

    def __init__(self) -> None:
        self.blocks: list[bytes] = [
            _block(
                0x0A0D0D0A,
                struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1),
                [(_APPLICATION, "omaim"), (_COMMENT, "Messages in the clear, also from TLS")],
            ),
            _block(1, struct.pack("<HHI", _RAW_IP, 0, 0), [(_NAME, "omaim")]),
        ]
        self._streams: dict[frozenset[tuple[str, int]], _Stream] = {}
        self._invented: dict[str, str] = {}
        self._serial = 0

    def step(self, step: Step) -> None:
        """Add the packets of one message."""
        source = (self._numeric(step.source_address[0]), step.source_address[1])
        target = (self._numeric(step.target_address[0]), step.target_address[1])
        if (":" in source[0]) != (":" in target[0]):
            source, target = (_mapped(source[0]), source[1]), (_mapped(target[0]), target[1])
        words = [f"{step.source.name} → {step.target.name}", step.point, str(step.summary)]
        if step.transport != "UDP":
            words.append(step.transport)
        if step.lost:
            words.append("lost")
        comment = ", ".join(word for word in words if word)
        if step.transport == "UDP":
            head = struct.pack("!HHHH", source[1], target[1], 8 + len(step.data), 0)
            self._packet(step.time, source[0], target[0], _UDP, head + step.data, 6, comment)
            return
        stream = self._stream(step.time, source, target)
        for start in range(0, len(step.data) or 1, _SEGMENT):
            piece = step.data[start : start + _SEGMENT]
            last = start + _SEGMENT >= len(step.data)
            flags = _ACK | (_PUSH if last else 0)
            self._segment(step.time, stream, source, target, flags, piece, comment)
            comment = ""

    def _stream(self, time: float, source: tuple[str, int], target: tuple[str, int]) -> _Stream:
        """Return the connection between two sockets, opened by who speaks first."""
        key = frozenset({source, target})
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = _Stream()
            stream.next = {target: 2000, source: 1000}
            self._segment(time, stream, source, target, _SYN, b"", "")
            self._segment(time, stream, target, source, _SYN | _ACK, b"", "")
            self._segment(time, stream, source, target, _ACK, b"", "")
        return stream

    def _segment(
        self,
        time: float,
        stream: _Stream,
        source: tuple[str, int],
        target: tuple[str, int],
        flags: int,
        data: bytes,
        comment: str,
    ) -> None:
        number = stream.next[source] & 0xFFFFFFFF
        expected = stream.next[target] & 0xFFFFFFFF if flags & _ACK else 0
        head = struct.pack(
            "!HHIIBBHHH", source[1], target[1], number, expected, 5 << 4, flags, 65535, 0, 0
        )
        stream.next[source] += len(data) + (1 if flags & (_SYN | _FIN) else 0)
        self._packet(time, source[0], target[0], _TCP, head + data, 16, comment)

    def _packet(
        self,
        time: float,
        source: str,
        target: str,
        protocol: int,
        payload: bytes,
        checksum_at: int,
        comment: str,
    ) -> None:
        here, there = ip_address(source), ip_address(target)
        pseudo = here.packed + there.packed + struct.pack("!II", len(payload), protocol)
        checksum = _checksum(pseudo + payload) or 0xFFFF
        payload = payload[:checksum_at] + struct.pack("!H", checksum) + payload[checksum_at + 2 :]
        if here.version == 4:
            self._serial = (self._serial + 1) & 0xFFFF
            head = struct.pack(
                "!BBHHHBBH4s4s",
                0x45,
                0,
                20 + len(payload),
                self._serial,
                0x4000,
                64,
                protocol,
                0,
                here.packed,
                there.packed,
            )
            head = head[:10] + struct.pack("!H", _checksum(head)) + head[12:]
        else:
            head = struct.pack(
                "!IHBB16s16s", 6 << 28, len(payload), protocol, 64, here.packed, there.packed
            )
        packet = head + payload
        micros = max(int(time * 1_000_000), 0)
        fixed = struct.pack(
            "<IIIII", 0, micros >> 32, micros & 0xFFFFFFFF, len(packet), len(packet)
        )
        options = [(_COMMENT, comment)] if comment else []
        self.blocks.append(_block(6, fixed + _padded(packet), options))

    def _numeric(self, host: str) -> str:
        """Return an address for a host; a name gets one of RFC 5737's for documentation."""
        try:
            return str(ip_address(host.partition("%")[0]))
        except ValueError:
            number = len(self._invented) % 254 + 1
            return self._invented.setdefault(host, f"192.0.2.{number}")


def _mapped(host: str) -> str:
    """Return an address as IPv6."""
    address: IPv4Address | IPv6Address = ip_address(host)
    return (
        host
        if address.version == 6
        else str(IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed))
    )


def _block(kind: int, body: bytes, options: list[tuple[int, str]]) -> bytes:
    written = b""
    for code, text in options:
        value = text.encode()[:60_000]
        written += struct.pack("<HH", code, len(value)) + _padded(value)
    if written:
        written += _END
    length = 12 + len(body) + len(written)
    return struct.pack("<II", kind, length) + body + written + struct.pack("<I", length)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def _checksum(data: bytes) -> int:
    """Return the checksum of IP, UDP and TCP (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
