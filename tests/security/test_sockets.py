"""The same over real sockets: what the kernel, Twisted and OpenSSL add to it."""

from __future__ import annotations

import os
import random
import socket
import ssl
from typing import Any, Final

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from omaim.net.limits import StreamLimits
from omaim.testing.scenario import LOOPBACK, Layout, Scenario, ScenarioNetwork
from omaim.testing.stages import Loopback
from tests.security.support import text_of
from tests.security.test_malformed import TORTURE

BOB: Final = "sip:bob@north.example"
CROWD: Final = 300  # real connections at a time


class SocketTests(TestCase):
    timeout = 60

    def play(self, script: Any) -> Any:
        """Play a script on loopback sockets of its own."""
        stage = Loopback(reactor)
        self.addCleanup(stage.close)

        async def run() -> None:
            one = Scenario(self.id(), (), self.id(), script, (LOOPBACK,), Layout())
            outcome = await stage.play(one)
            if not outcome.passed:
                self.fail(outcome.why)

        return Deferred.fromCoroutine(run())

    def alive(self, net: ScenarioNetwork) -> Any:
        """Return a Deferred that fires when the core has answered an OPTIONS in good time."""

        def ask() -> bytes:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
                one.bind(("127.0.0.1", 0))
                one.settimeout(5)
                data = text_of("OPTIONS", "sip:north.example", one.getsockname())
                one.sendto(data, self.place(net))
                return one.recv(65536)

        return deferToThread(ask)

    def place(self, net: ScenarioNetwork, more: int = 0) -> tuple[str, int]:
        """Return where the core of the north is; TLS one port above."""
        return net.home("north").core, net.plan.port + more

    def connections(self, net: ScenarioNetwork) -> Any:
        return net.entities["core-north"].endpoint.connections

    def test_crowd(self) -> Any:
        """Hundreds of connections that say nothing are dropped, their sockets closed."""

        async def script(net: ScenarioNetwork) -> None:
            connections = self.connections(net)
            connections.limits = StreamLimits(total=CROWD, per_host=CROWD, first=1.0, half=1.0)
            before = len(os.listdir("/proc/self/fd"))
            crowd = []
            for number in range(CROWD + 50):
                one = socket.socket()
                one.setblocking(False)
                one.connect_ex(self.place(net, number % 2))
                crowd.append(one)
                if number % 25 == 0:
                    await net.sleep(0.01)
            await net.sleep(0.3)
            self.assertLessEqual(len(connections), CROWD)
            self.assertGreater(len(connections), CROWD / 3)
            self.assertTrue((await self.alive(net)).startswith(b"SIP/2.0 "))
            await net.until(lambda: not len(connections), "all are dropped", 10)
            for one in crowd:
                one.close()
            await net.until(
                lambda: len(os.listdir("/proc/self/fd")) <= before + 10, "sockets are closed", 10
            )

        return self.play(script)

    def test_torture(self) -> Any:
        """Torture messages in random pieces by UDP, TCP and TLS, valid TLS records or not."""

        async def script(net: ScenarioNetwork) -> None:
            chance = random.Random(7)
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

            def junk(data: bytes) -> bytes:
                spoilt = bytearray(data)
                for _ in range(chance.randrange(6)):
                    spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
                return bytes(spoilt)

            def send() -> None:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
                    for data in TORTURE:
                        one.sendto(junk(data), self.place(net))
                    one.sendto(b"x" * 65000, self.place(net))
                    one.sendto(b"", self.place(net))
                for number, data in enumerate(TORTURE):
                    with socket.create_connection(self.place(net, number % 3 and 1), 5) as line:
                        line.settimeout(5)
                        try:
                            if number % 3 == 1:
                                with context.wrap_socket(line) as safe:
                                    self.in_pieces(safe, junk(data), chance)
                            else:
                                self.in_pieces(line, junk(data), chance)
                        except OSError:
                            continue  # it was cut off

            await deferToThread(send)
            self.assertTrue((await self.alive(net)).startswith(b"SIP/2.0 "))
            self.assertEqual(net.entities["core-north"].endpoint.counters["crashed"], 0)

        return self.play(script)

    def in_pieces(self, line: socket.socket, data: bytes, chance: random.Random) -> None:
        at = 0
        while at < len(data):
            size = chance.choice((1, 7, 100, 2000))
            line.sendall(data[at : at + size])
            at += size

    def test_deaf(self) -> Any:
        """A real peer that sends without reading is dropped, or not read any more."""

        async def script(net: ScenarioNetwork) -> None:
            connections = self.connections(net)
            connections.limits = StreamLimits(unread=100_000, first=2.0, idle=2.0)
            one = socket.socket()
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.connect(self.place(net))
            one.setblocking(False)
            number = 0
            for _ in range(300):
                try:
                    for _ in range(20):
                        number += 1
                        one.send(
                            text_of(
                                "MESSAGE",
                                BOB,
                                ("127.0.0.1", 5060),
                                sender="sip:alice@north.example",
                                number=number,
                                transport="TCP",
                            )
                        )
                except BlockingIOError:
                    pass
                except OSError:
                    break
                await net.sleep(0.002)
                for stream in connections._streams:
                    if stream._stream is not None:
                        self.assertLess(stream._stream.buffered, 200_000)
            self.assertGreater(number, 100)
            await net.until(lambda: not len(connections), "the deaf peer is dropped", 15)
            one.close()

        return self.play(script)
