"""Junk on every socket: the right refusal or silence, no crash, and never a larger answer."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omaim.net.incoming import MARGIN
from omaim.testing.strategies import mutated, splits
from tests.security.support import (
    NORTH,
    NORTH_IM,
    SIP,
    SIPS,
    AttackCase,
    Attacker,
    ScenarioNetwork,
    text_of,
    transactions,
)

VECTORS: Final = Path(__file__).parent.parent / "vectors" / "sip-torture"
TORTURE: Final = [path.read_bytes() for path in sorted(VECTORS.glob("**/*.dat"))]
PLACES: Final = ((NORTH, "core-north"), (NORTH_IM, "im-north"))
ALIVE: Final = 40.0  # seconds after which nothing of a request may be left


def addressed(data: bytes, source: tuple[str, int]) -> bytes:
    """Let the first Via of a message name its sender, so that answers come back to us."""
    head, via, rest = data.partition(b"Via: SIP/2.0/UDP ")
    if not via:
        return data
    end = min(rest.find(b";") % (len(rest) + 1), rest.find(b"\r") % (len(rest) + 1))
    return head + via + b"%s:%d;rport" % (source[0].encode(), source[1]) + rest[end:]


class MalformedTests(AttackCase):
    def test_torture_by_datagrams(self) -> None:
        """Mutated torture messages by UDP: servers live on; malformed ones get no larger answer."""

        @settings(max_examples=12, suppress_health_check=list(HealthCheck))
        @given(st.lists(mutated(TORTURE), min_size=60, max_size=60))
        def run(datagrams: list[bytes]) -> None:
            async def script(net: ScenarioNetwork) -> None:
                attacker = Attacker(net)
                for data in datagrams:
                    for host, name in PLACES:
                        counters = net.entities[name].endpoint.counters
                        source = attacker.source()
                        bad = counters["malformed"]
                        attacker.forge(source, addressed(data, source), host)
                        await net.sleep(0.01)
                        if counters["malformed"] > bad:
                            sent = sum(len(one) for pair, one in attacker.heard if pair == source)
                            self.assertLessEqual(sent, len(data) + 40 + MARGIN, data)
                await self.still_serves(net, attacker)

            self.play(script)

        run()

    def test_torture_by_streams(self) -> None:
        """The same in any pieces by TCP and TLS: answered, closed or dropped, all in time."""

        @settings(max_examples=12, suppress_health_check=list(HealthCheck))
        @given(st.data())
        def run(data: st.DataObject) -> None:
            streams = [
                data.draw(splits(data.draw(mutated(TORTURE)) + data.draw(mutated(TORTURE))))
                for _ in range(12)
            ]

            async def script(net: ScenarioNetwork) -> None:
                attacker = Attacker(net)
                lines = []
                for number, pieces in enumerate(streams):
                    host, _ = PLACES[number % 2]
                    line = attacker.line(host, SIPS if number % 3 == 0 else SIP)
                    lines.append(line)
                    for piece in pieces:
                        line.send(piece)
                        await net.sleep(0.01)
                await self.still_serves(net, attacker)
                await net.sleep(1000)
                for line in lines:
                    self.assertEqual(line.state, "gone")
                for _, name in PLACES:
                    self.assertLessEqual(len(net.entities[name].endpoint.connections), 1)

            self.play(script)

        run()

    async def still_serves(self, net: ScenarioNetwork, attacker: Attacker) -> None:
        """Servers answer as before, and forget what happened."""
        for number, (host, name) in enumerate(PLACES):
            source = attacker.source()
            data = text_of(
                "MESSAGE",
                "sip:bob@north.example",
                source,
                sender="sip:alice@north.example",
                number=900 + number,
            )
            status = (await attacker.ask(data, source, host)).status
            self.assertEqual(status, 407 if host == NORTH else 403)
            await net.sleep(ALIVE)
            self.assertLessEqual(transactions(net, name), 5, name)

    def test_random_octets(self) -> None:
        """What is no SIP at all gets silence."""

        @settings(max_examples=10)
        @given(st.lists(st.binary(min_size=1, max_size=2000), min_size=30, max_size=30))
        def run(datagrams: list[bytes]) -> None:
            async def script(net: ScenarioNetwork) -> None:
                attacker = Attacker(net)
                source = attacker.source()
                for data in datagrams:
                    for host, _ in PLACES:
                        attacker.forge(source, data, host)
                await net.sleep(1)
                self.assertEqual(attacker.heard, [])

            self.play(script)

        run()

    def test_statuses(self) -> None:
        """Each defect gets the status that its RFC names."""

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            good = "sip:bob@north.example"
            cases: tuple[tuple[int, tuple[bytes, bytes]], ...] = (
                (400, (b"CSeq: 1 MESSAGE", b"CSeq: 1 INVITE")),
                (400, (b"CSeq: 1 MESSAGE", b"CSeq: 99999999999 MESSAGE")),
                (400, (b"Call-ID: attack-1\r\n", b"")),
                (400, (b"Max-Forwards: 70", b"Max-Forwards: x")),
                (400, (b"Content-Length: 0", b"Content-Length: -1")),
                (400, (b"Content-Length: 0", b"Content-Length: 5")),
                (400, (b"Content-Length: 0", b"Content-Length: 0\r\nContent-Length: 5")),
                (400, (b"From: <sip:m", b"From: <sip:m>;tag=1\r\nFrom: <sip:m")),
                (505, (b" SIP/2.0\r\nVia", b" SIP/7.0\r\nVia")),
                (414, (b"MESSAGE sip:bob", b"MESSAGE sip:" + b"b" * 9000)),
                (416, (b"MESSAGE sip:bob@north.example", b"MESSAGE nobody:x")),
                (513, (b"Call-ID: ", b"X: " + b"y" * 20000 + b"\r\nCall-ID: ")),
                (513, (b"Call-ID: ", b"X: y\r\n" * 300 + b"Call-ID: ")),
                (513, (b"Call-ID: ", (b"X: " + b"y" * 9000 + b"\r\n") * 6 + b"Call-ID: ")),
                (420, (b"Call-ID: ", b"Proxy-Require: nothing-known\r\nCall-ID: ")),
                (483, (b"Max-Forwards: 70", b"Max-Forwards: 0")),
            )
            for number, (status, (old, new)) in enumerate(cases):
                source = attacker.source()
                data = text_of("MESSAGE", good, source, branch=f"z9hG4bKcase{number}")
                self.assertIn(old, data)
                attacker.forge(source, data.replace(old, new, 1))
                await net.sleep(0.5)
                found = [one.status for one in attacker.answers(source)]
                self.assertEqual(found, [status], new[:60])

        self.play(script)

    def test_declared_length_by_stream(self) -> None:
        """A huge Content-Length on a stream is refused at once, before any of it is kept."""

        async def script(net: ScenarioNetwork) -> None:
            attacker = Attacker(net)
            source = attacker.source()
            for declared in (b"2000000", b"4294967296", b"9" * 400):
                line = attacker.line()
                data = text_of("MESSAGE", "sip:bob@north.example", source, transport="TCP")
                line.send(data.replace(b"Content-Length: 0", b"Content-Length: " + declared))
                await net.sleep(1)
                self.assertRegex(line.heard, rb"^SIP/2.0 (413|400) ")
                self.assertEqual(line.state, "gone")

        self.play(script)
