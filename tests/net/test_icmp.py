"""Ports that are closed, on real sockets: who is told, and what goes on unharmed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from omaim.ids import Ids
from omaim.net.endpoint import Endpoint
from omaim.net.icmp import ask_for_errors
from omaim.net.network import ReactorNetwork
from omaim.sip.locating import Target
from omaim.sip.message import Response
from tests.net.support import Sink, invite, message

# On a reactor of its own: a socket goes on, and sleeps, after errors that came while it waited.
PROGRAM = """
import sys
if sys.argv[1] == "asyncio":
    from twisted.internet import asyncioreactor
    asyncioreactor.install()
elif sys.argv[1] == "poll":
    from twisted.internet import pollreactor
    pollreactor.install()
import socket
from twisted.internet import reactor
from omaim.net.udp import DatagramSocket

closed = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
closed.bind(("127.0.0.1", 0))
nobody = closed.getsockname()
closed.close()
got, refused, reads = [], [], [0]
one = DatagramSocket(reactor, "127.0.0.1", 0, lambda data, source: got.append(data),
                     refused=refused.append)
two = DatagramSocket(reactor, "127.0.0.1", 0, lambda data, source: None)
read = one.doRead
def counted():
    reads[0] += 1
    return read()
one.doRead = counted
def send():
    for _ in range(3):
        assert one.send(b"x", nobody)
        assert one.send(b"x", (two.host, two.port))
def close():
    print(len(got), sorted({address == nobody for address in refused}), reads[0] < 50)
    one.close()
    two.close()
    reactor.stop()
for at in (0.1, 0.2, 0.3):
    reactor.callLater(at, send)
    reactor.callLater(at + 0.05, two.send, b"y", (one.host, one.port))
reactor.callLater(0.6, close)
reactor.run()
"""


class Case:
    """What the tests on real sockets need."""

    def setUp(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            if not ask_for_errors(probe):
                raise SkipTest("this system does not tell which datagrams were refused")


class ReactorTests(Case, SynchronousTestCase):
    def test_reactors(self) -> None:
        """On each reactor the socket goes on, hears of the dead peer, and does not spin."""
        for name in ("default", "asyncio", "poll"):
            done = subprocess.run(
                [sys.executable, "-c", PROGRAM, name],
                capture_output=True,
                text=True,
                timeout=20,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
            self.assertEqual(
                (done.returncode, done.stdout, done.stderr), (0, "3 [True] True\n", ""), name
            )


def free_port(host: str) -> int:
    """Return a UDP port that is closed."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


class EndpointTests(Case, TestCase):
    """RFC 3261 §18.4, RFC 3263 §4.3."""

    timeout = 30

    async def endpoint(self, host: str) -> Endpoint:
        endpoint = Endpoint(ReactorNetwork(reactor), reactor, ids=Ids())
        await endpoint.listen("UDP", host, 0)
        self.addCleanup(endpoint.stop)
        return endpoint

    async def ask(self, endpoint: Endpoint, request: Any, *ports: int) -> tuple[Response, float]:
        """Send a request to several ports; return the answer and the seconds it took."""
        host = endpoint.listeners[0].host
        answer: Deferred[Response] = Deferred()

        def responded(response: Response) -> None:
            if response.status >= 200 and not answer.called:
                answer.callback(response)

        began = reactor.seconds()
        targets = [Target("UDP", host, port) for port in ports]
        endpoint.send(request, responded, targets=targets)
        return await answer, reactor.seconds() - began

    async def test_next_server(self) -> None:
        """A closed port is followed by the next server at once, on IPv4 and IPv6."""
        for host in ("127.0.0.1", "::1"):
            try:
                closed = free_port(host)
            except OSError:
                continue  # without IPv6 the first is all there is
            alice, bob = await self.endpoint(host), await self.endpoint(host)
            Sink(bob)
            for request in (message("sip:bob@example.com"), invite("sip:bob@example.com", 2)):
                response, seconds = await self.ask(alice, request, closed, bob.listeners[0].port)
                self.assertEqual(response.status, 200)
                self.assertLess(seconds, 2.0)
            self.assertGreater(alice.counters["unreachable"], 0)

    async def test_starting_again(self) -> None:
        """A server that is the only one may start again within some seconds."""
        alice = await self.endpoint("127.0.0.1")
        port = free_port("127.0.0.1")
        bob = Endpoint(ReactorNetwork(reactor), reactor, ids=Ids())
        Sink(bob)
        self.addCleanup(bob.stop)
        deferLater(reactor, 1.0, bob.listen, "UDP", "127.0.0.1", port)
        response, _ = await self.ask(alice, message("sip:bob@example.com"), port)
        self.assertEqual(response.status, 200)

    async def test_dead(self) -> None:
        """One that stays dead is given up long before Timer F (RFC 3261 §17.1.4)."""
        alice = await self.endpoint("127.0.0.1")
        port = free_port("127.0.0.1")
        response, seconds = await self.ask(alice, message("sip:bob@example.com"), port)
        self.assertEqual((response.status, response.local), (503, True))
        self.assertLess(seconds, 12.0)

    async def test_others_unharmed(self) -> None:
        """Errors about one peer lose nothing to another."""
        alice, bob = await self.endpoint("127.0.0.1"), await self.endpoint("127.0.0.1")
        sink = Sink(bob)
        closed = free_port("127.0.0.1")
        for number in range(20):
            alice.send(message("sip:x@y.example", cseq=100 + number), lambda response: None,
                       targets=[Target("UDP", "127.0.0.1", closed)])  # fmt: skip
            response, seconds = await self.ask(
                alice, message("sip:bob@example.com", cseq=number), bob.listeners[0].port
            )
            self.assertEqual(response.status, 200)
            self.assertLess(seconds, 0.4)
        self.assertEqual(len(sink.seen), 20)
