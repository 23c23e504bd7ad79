"""omaim/features/pcapng.py: the ladder for other tools; tshark has the last word."""

import os
import shutil
import struct
import subprocess
from ipaddress import ip_address
from unittest import SkipTest

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.features.ladder import climb
from omaim.features.pcapng import decode_as, write_pcapng
from omaim.net.wire import IN, OUT, WireRecord
from tests.features import sessions
from tests.features.ladders import ADDRESS, both, directory, records, request, response, walk


def blocks(data: bytes) -> list[tuple[int, bytes]]:
    """Return (type, body) of each block, checking the lengths at both ends."""
    found = []
    at = 0
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        assert length % 4 == 0
        assert struct.unpack_from("<I", data, at + length - 4)[0] == length
        found.append((kind, data[at + 8 : at + length - 4]))
        at += length
    return found


def packets(data: bytes) -> list[tuple[int, bytes, bytes]]:
    """Return (microseconds, packet, options) of each packet."""
    found = []
    for kind, body in blocks(data):
        if kind == 6:
            _, high, low, length, original = struct.unpack_from("<IIIII", body)
            assert length == original
            end = 20 + length + -length % 4
            found.append((high << 32 | low, body[20 : 20 + length], body[end:]))
    return found


def total(data: bytes) -> int:
    """Return RFC 1071's sum: 0xFFFF over what holds its own checksum."""
    if len(data) % 2:
        data += b"\0"
    value = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while value >> 16:
        value = (value & 0xFFFF) + (value >> 16)
    return value


class FormatTests(SynchronousTestCase):
    def test_head(self) -> None:
        """A section header, then one interface of raw IP packets."""
        section, interface = blocks(write_pcapng(climb([], directory())))
        self.assertEqual(section[0], 0x0A0D0D0A)
        self.assertEqual(struct.unpack_from("<IHH", section[1]), (0x1A2B3C4D, 1, 0))
        self.assertEqual((interface[0], struct.unpack_from("<H", interface[1])[0]), (1, 101))

    @given(seen=st.lists(records, max_size=8))
    def test_anything(self, seen: list[WireRecord]) -> None:
        """Whatever was seen, all lengths and checksums are right, and all octets are there."""
        ladder = climb(seen, directory())
        carried = b""
        for _, packet, _ in packets(write_pcapng(ladder)):
            if packet[0] >> 4 == 4:
                self.assertEqual(total(packet[:20]), 0xFFFF)
                self.assertEqual(struct.unpack_from("!H", packet, 2)[0], len(packet))
                protocol, ends, payload = packet[9], packet[12:20], packet[20:]
            else:
                self.assertEqual(struct.unpack_from("!H", packet, 4)[0], len(packet) - 40)
                protocol, ends, payload = packet[6], packet[8:40], packet[40:]
            pseudo = ends + struct.pack("!II", len(payload), protocol)
            self.assertEqual(total(pseudo + payload), 0xFFFF)
            carried += payload[8 if protocol == 17 else 20 :]
        self.assertEqual(carried, b"".join(step.data for step in ladder.steps))

    def test_comments(self) -> None:
        """The first packet of a message names both ends, the reference point and the words."""
        found = [options for _, _, options in packets(write_pcapng(climb(walk(), directory())))]
        texts = [text[4 : 4 + text[2]].decode() for text in found if text]
        self.assertEqual(texts[0], "alice → core-north, IM-1, MESSAGE alice→bob “Hello”")
        self.assertIn(", IP-1, ", texts[3])
        self.assertTrue(texts[3].endswith(", TLS"))
        self.assertEqual(len(texts), 14)

    def test_stream(self) -> None:
        """A connection opens once; its octets are numbered without a gap (RFC 9293 §3.4)."""
        seen = [
            *both(0.0, "alice", "core-north", request(1, b"x" * 4000), "TCP"),
            *both(0.1, "core-north", "alice", response(), "TCP"),
            *both(0.2, "alice", "core-north", request(2), "TCP"),
        ]
        upcoming: dict[tuple[int, int], int] = {}
        syns = 0
        for _, packet, _ in packets(write_pcapng(climb(seen, directory()))):
            tcp = packet[20:]
            source, target, number, expected, _, flags = struct.unpack_from("!HHIIBB", tcp)
            syns += flags >> 1 & 1
            if (source, target) in upcoming:
                self.assertEqual(number, upcoming[source, target])
            if flags & 16:
                self.assertEqual(expected, upcoming[target, source])
            upcoming[source, target] = number + len(tcp) - 20 + (flags >> 1 & 1)
        self.assertEqual(syns, 2)

    def test_hosts_with_names(self) -> None:
        """A host that has a name only gets an address for documentation (RFC 5737)."""
        one = WireRecord(0.0, "a", OUT, "SIP", "UDP", ("left", 1), ("right", 2), b"x")
        (_, packet, _) = packets(write_pcapng(climb([one], directory())))[0]
        self.assertEqual(
            [str(ip_address(packet[12:16])), str(ip_address(packet[16:20]))],
            ["192.0.2.1", "192.0.2.2"],
        )


class TsharkTests(SynchronousTestCase):
    """What tshark makes of it. Without tshark these did not run, and say so."""

    def setUp(self) -> None:
        if shutil.which("tshark") is None:
            raise SkipTest("NOT RUN: tshark is not installed, so no capture was dissected")

    def dissect(
        self, seen: list[WireRecord], hinted: bool, *fields: str, protocol: str = "sip"
    ) -> list[list[str]]:
        """Return these fields of every packet of a protocol."""
        ladder = climb(seen, directory())
        name = self.mktemp()
        with open(name, "wb") as capture:
            capture.write(write_pcapng(ladder))
        command = ["tshark", "-n", "-r", name, "-Y", protocol, "-T", "fields", "-E", "separator=|"]
        command += ["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"]
        command += ["-o", "tcp.check_checksum:TRUE"]
        command += decode_as(ladder) if hinted else []
        for field in fields:
            command += ["-e", field]
        environment = {**os.environ, "HOME": os.path.abspath(os.path.dirname(name))}
        ran = subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=True, env=environment
        )
        return [line.split("|") for line in ran.stdout.splitlines()]

    def test_walk(self) -> None:
        """Every message of the walk is SIP to tshark, the ones from TLS too."""
        found = self.dissect(
            walk(), False, "sip.Method", "sip.Status-Code", "ip.src", "ip.dst", "frame.comment"
        )
        self.assertEqual([row[0] for row in found[:7]], ["MESSAGE"] * 7)
        self.assertEqual([row[1] for row in found[7:]], ["200"] * 7)
        self.assertEqual(found[0][2:4], ["127.0.1.1", "127.0.1.10"])
        self.assertIn("IP-1", found[3][4])

    def test_sound(self) -> None:
        """tshark finds nothing wrong: checksums good, no gaps, a long message put together."""
        seen = [
            *both(0.0, "alice", "core-south", request(1, b"x" * 5000), "TLS"),
            *both(0.1, "core-south", "alice", response(1), "TLS"),
            *both(0.2, "alice", "core-south", request(2), "TLS"),
        ]
        found = self.dissect(
            seen,
            False,
            "sip.Call-ID",
            "sip.Content-Length",
            "ip.checksum.status",
            "tcp.checksum.status",
            "tcp.analysis.flags",
        )
        self.assertEqual(
            found,
            [["1", "5000", "1", "1", ""], ["1", "0", "1", "1", ""], ["2", "5", "1", "1", ""]],
        )

    def test_odd_ports_and_ipv6(self) -> None:
        """With the hints, SIP is found on any port, over IPv6 as well."""
        one = ("::1", 40001), ("::1", 40002)
        seen = [
            WireRecord(0.0, "a", OUT, "SIP", "UDP", *one, request()),
            WireRecord(0.0, "b", IN, "SIP", "UDP", *one[::-1], request()),
            WireRecord(0.1, "a", OUT, "SIP", "TCP", ADDRESS["alice"], ADDRESS["bob"], request(2)),
        ]
        found = self.dissect(seen, True, "sip.Call-ID", "ipv6.dst", "udp.checksum.status")
        self.assertEqual(found, [["1", "::1", "1"], ["2", "", ""]])

    def test_msrp(self) -> None:
        """MSRP is found without any option: on its port, over TLS and on any other, large frames
        that many packets hold, and ones that the sockets saw in pieces."""
        big = sessions.send(b"x" * 200_000, "largeone1", "1-*/200000")
        part = sessions.out(0.4, "im-north", "alice", big)
        seen = [
            *sessions.both(0.0, "alice", "im-north", sessions.send(tid="smallone1")),
            *sessions.both(0.1, "im-north", "alice", sessions.answer("smallone1")),
            *sessions.both(0.2, "alice", "im-north", sessions.request("NICKNAME", tid="nickname1")),
            *sessions.both(0.3, "im-north", "alice", sessions.answer("nickname1", "425 Taken")),
            *sessions.pieces(part, [50_000, 100_000, 150_001]),
            *sessions.both(0.5, "alice", "im-north", sessions.answer("largeone1")),
        ]
        fields = ("msrp.method", "msrp.status.code", "msrp.transaction.id", "tcp.analysis.flags")
        for transport, port in (("TCP", 2855), ("TLS", 2856), ("TCP", 40123)):
            moved = [
                attrs.evolve(
                    one,
                    transport=transport,
                    local=(one.local[0], port if one.local[1] == 2855 else one.local[1]),
                    remote=(one.remote[0], port if one.remote[1] == 2855 else one.remote[1]),
                )
                for one in seen
            ]
            found = self.dissect(moved, False, *fields, protocol="msrp")
            self.assertEqual(
                [(row[0] or row[1], row[2].partition(",")[0], row[3]) for row in found],
                [
                    ("SEND", "smallone1", ""),
                    ("200", "smallone1", ""),
                    ("NICKNAME", "nickname1", ""),
                    ("425", "nickname1", ""),
                    ("SEND", "largeone1", ""),
                    ("200", "largeone1", ""),
                ],
            )

    def test_msrp_elsewhere(self) -> None:
        """On a port that tshark takes for another protocol the hints help."""
        record = sessions.out(0.0, "alice", "im-north", sessions.send())
        record = attrs.evolve(record, remote=("10.0.1.2", 8080))
        self.assertEqual(self.dissect([record], False, "msrp.method", protocol="msrp"), [])
        found = self.dissect([record], True, "msrp.method", protocol="msrp")
        self.assertEqual(found, [["SEND"]])
