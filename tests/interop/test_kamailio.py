"""Kamailio (Debian's 5.6) as the core of a neighbour domain, over IP-1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Protocol

from tests.interop.support import InteropCase, Phone, pause, program

DOMAIN = "west.example"
HERE = Path(__file__).resolve().parent


class KamailioTests(InteropCase):
    def setUp(self) -> Any:
        self.kamailio = program("kamailio")
        return super().setUp()

    def adapt(self, entities: dict[str, Any]) -> None:
        self.west = f"{self.plan.base}.9.1"
        entities["dns"]["servers"].append(
            f"core.{DOMAIN}=udp:{self.west}:5060+tcp:{self.west}:5060"
        )
        entities["core-north"]["peers"].append(f"{DOMAIN}={self.west}")

    async def neighbour(self) -> Phone:
        """Start Kamailio; return the phone of walt, who is registered there."""
        text = (HERE / "kamailio.cfg").read_text()
        for word, meaning in (("DOMAIN", DOMAIN), ("PLACE", self.west), ("NORTH", self.core)):
            text = text.replace(word, meaning)
        (self.folder / "kamailio.cfg").write_text(text)
        running = self.start(
            *(self.kamailio, "-DD", "-E", "-m", "32", "-M", "4"),
            *("-f", str(self.folder / "kamailio.cfg"), "-Y", str(self.folder)),
            *("-P", str(self.folder / "pid"), "-w", str(self.folder)),
            timeout=25,
        )
        for _ in range(100):
            try:
                probe = await connectProtocol(
                    TCP4ClientEndpoint(reactor, self.west, 5060), Protocol()
                )
            except ConnectError:
                if running.ended:
                    self.fail(running.output)
                await pause(0.1)
                continue
            assert probe.transport is not None
            probe.transport.loseConnection()
            break
        walt = await self.phone("walt", DOMAIN, self.west)
        self.assertEqual((await walt.register()).status, 200)
        return walt

    def test_across(self) -> Any:
        """Messages cross IP-1 both ways, with asserted senders and charging vectors."""

        async def run() -> None:
            walt = await self.neighbour()
            bob = await self.phone("bob", "north.example", self.core)
            self.assertEqual((await bob.register()).status, 200)
            seen: list[Any] = []
            self.node.taps.add_wire(seen.append)
            self.assertEqual((await bob.say(f"sip:walt@{DOMAIN}", "to the west")).status, 200)
            message = await walt.heard("to the west")
            self.assertEqual(message.first("P-Asserted-Identity"), "<sip:bob@north.example>")
            across = [
                one.data for one in seen if one.remote[0] == self.west and b"west" in one.data
            ]
            self.assertTrue(any(b"P-Charging-Vector: icid-value=" in data for data in across))
            self.assertFalse(any(b"P-Charging-Function" in data for data in across))
            self.assertEqual((await walt.say("sip:bob@north.example", "to the north")).status, 200)
            message = await bob.heard("to the north")
            self.assertEqual(message.first("P-Asserted-Identity"), f"<sip:walt@{DOMAIN}>")
            self.assertFalse(message.has("P-Charging-Vector"))

        return Deferred.fromCoroutine(run())

    def test_refusals(self) -> Any:
        """404 of the neighbour comes back; it cannot reach third domains through us."""

        async def run() -> None:
            walt = await self.neighbour()
            bob = await self.phone("bob", "north.example", self.core)
            self.assertEqual((await bob.say(f"sip:nobody@{DOMAIN}", "x")).status, 404)
            self.assertEqual((await walt.say("sip:xenia@south.example", "x")).status, 403)

        return Deferred.fromCoroutine(run())
