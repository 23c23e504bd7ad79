"""omaim/features/metrics.py and omaim/net/http.py: numbers that are right, on a page."""

from __future__ import annotations

from typing import Any
from unittest import mock

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase, TestCase

from omaim.errors import Unavailable, UsageError
from omaim.features import metrics
from omaim.net import http
from omaim.net.http import Page, listen_http
from omaim.net.wire import WireRecord
from omaim.node.config import NodeConfig
from omaim.node.events import MessageAccepted, MessageRefused
from omaim.node.node import Node
from omaim.stores.memory import memory_stores
from omaim.testing.clock import Clock
from omaim.testing.network import SimulatedNetwork


class Wire(Protocol):
    """What a scraper sees."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.data = b""
        self.done: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self.request)

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Any = connectionDone) -> None:
        self.done.callback(self.data)


class HttpTests(SynchronousTestCase):
    """The server alone, on a reactor of memory."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        pages = {"/one": lambda: Page(b"1\n"), "/broken": lambda: Page(str(1 / 0).encode())}
        listen_http(self.reactor, "127.0.0.1", 9090, pages)
        self.factory = self.reactor.tcpServers[0][1]

    def connect(self) -> tuple[Any, StringTransport]:
        channel = self.factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 40000))
        transport = StringTransport()
        if channel is not None:
            channel.makeConnection(transport)
        return channel, transport

    def ask(self, request: bytes) -> bytes:
        channel, transport = self.connect()
        channel.dataReceived(request + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        return transport.value()

    def test_page(self) -> None:
        """A page comes with its length and type, and is not to be kept."""
        answer = self.ask(b"GET /one")
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer)
        self.assertIn(b"Content-Length: 2\r\n", answer)
        self.assertIn(b"Cache-Control: no-store\r\n", answer)
        self.assertTrue(answer.endswith(b"\r\n\r\n1\n"))

    def test_head(self) -> None:
        """HEAD tells the same without the page (RFC 9110 §9.3.2)."""
        answer = self.ask(b"HEAD /one")
        self.assertIn(b"Content-Length: 2\r\n", answer)
        self.assertTrue(answer.endswith(b"\r\n\r\n"))

    def test_no_such_page(self) -> None:
        """404 tells which pages there are."""
        answer = self.ask(b"GET /two")
        self.assertTrue(answer.startswith(b"HTTP/1.1 404 "))
        self.assertIn(b"/one\n", answer)

    def test_other_method(self) -> None:
        """Nothing can be written; 405 says what can be done (RFC 9110 §15.5.6)."""
        answer = self.ask(b"POST /one")
        self.assertTrue(answer.startswith(b"HTTP/1.1 405 "))
        self.assertIn(b"Allow: GET, HEAD\r\n", answer)

    def test_defect(self) -> None:
        """A page that breaks is a 500 without a traceback, and it is in the log."""
        answer = self.ask(b"GET /broken")
        self.assertTrue(answer.startswith(b"HTTP/1.1 500 "))
        self.assertNotIn(b"ZeroDivision", answer)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_large_body(self) -> None:
        """A request with a large body ends its connection before the body has come."""
        channel, transport = self.connect()
        channel.dataReceived(b"GET /one HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n")
        channel.dataReceived(b"x" * (http.BODY + 1))
        self.assertTrue(transport.disconnected)
        self.assertEqual(transport.value(), b"")

    def test_peers(self) -> None:
        """So many connections and no more; one that ends makes room."""
        channels = [self.connect()[0] for _ in range(http.PEERS)]
        self.assertIsNone(self.connect()[0])
        channels[0].connectionLost(connectionDone)
        self.assertIsNotNone(self.connect()[0])

    def test_idle(self) -> None:
        """Who says nothing is let go."""
        _, transport = self.connect()
        self.reactor.advance(http.IDLE + 1)
        self.assertTrue(transport.disconnecting)


class MetricsTests(TestCase):
    def setUp(self) -> None:
        clock = MemoryReactorClock()
        self.node = Node(
            NodeConfig(name="n", state="memory:"), clock, SimulatedNetwork(Clock()), memory_stores()
        )
        self.node.endpoint("core-north").count("malformed")
        self.metrics = metrics.Metrics(self.node)

    def see(self, data: bytes, direction: str = "in") -> None:
        record = WireRecord(
            0.0, "core-north", direction, "SIP", "UDP", ("127.0.1.1", 5060), ("1.2.3.4", 5), data
        )
        self.node.taps._record(record)

    def value(self, line: str) -> float:
        """Return the value of the line that begins so."""
        for one in self.metrics.page().body.decode().splitlines():
            if one.startswith(line + " "):
                return float(one.rpartition(" ")[2])
        raise AssertionError(f"no {line} in\n{self.metrics.page().body.decode()}")

    def test_wire(self) -> None:
        """Each message counts by method or status; what peers make up is "other"."""
        for _ in range(3):
            self.see(b"MESSAGE sip:a@b SIP/2.0\r\n")
        self.see(b"SIP/2.0 202 Accepted\r\n", "out")
        self.see(b"\r\n\r\n")
        for junk in (b"FOO sip:a@b SIP/2.0\r\n", b"BAR x", b"SIP/2.0 2x0 no", b"SIP/2.0", b"\xff"):
            self.see(junk)
        name = (
            'omaim_messages_on_wire_total{direction="%s",entity="core-north",transport="UDP",'
            'what="%s"}'
        )
        self.assertEqual(self.value(name % ("in", "MESSAGE")), 3)
        self.assertEqual(self.value(name % ("out", "202")), 1)
        self.assertEqual(self.value(name % ("in", "keep-alive")), 1)
        self.assertEqual(self.value(name % ("in", "other")), 5)

    def test_bounded(self) -> None:
        """However many methods peers invent, nothing grows."""
        for number in range(1000):
            self.see(b"M%d sip:a@b SIP/2.0\r\n" % number)
            self.see(b"SIP/2.0 200%d x" % number)
        self.assertLess(len(self.metrics._wire), 5)
        self.assertLess(len(self.metrics.page().body), 10_000)

    def test_events(self) -> None:
        """Service events count by their names, refusals by status too, sizes in a histogram."""
        named: Any = {"at": 0.0, "entity": "im-north", "message_id": "1", "sender": "sip:a@b"}
        self.node.taps.publish(
            MessageAccepted(
                side="originating",
                recipients=("sip:c@d",),
                content_type="text/plain",
                size=250,
                **named,
            )
        )
        self.node.taps.publish(MessageRefused(recipient="sip:c@d", status=403, why="", **named))
        events = 'omaim_service_events_total{entity="im-north",event="%s"}'
        self.assertEqual(self.value(events % "MessageAccepted"), 1)
        self.assertEqual(self.value(events % "MessageRefused"), 1)
        refused = 'omaim_messages_refused_total{entity="im-north",status="403"}'
        self.assertEqual(self.value(refused), 1)
        sizes = 'omaim_message_octets_bucket{entity="im-north",le="%s"}'
        self.assertEqual(self.value(sizes % "100.0"), 0)
        self.assertEqual(self.value(sizes % "300.0"), 1)
        self.assertNotIn(b"sip:a@b", self.metrics.page().body)

    def test_gauges(self) -> None:
        """What the node holds is read when the page is made."""
        counted = 'omaim_endpoint_events_total{entity="core-north",event="malformed"}'
        self.assertEqual(self.value(counted), 1)
        self.node.endpoints["core-north"].count("malformed")
        self.assertEqual(self.value(counted), 2)
        self.assertEqual(self.value("omaim_store_users"), 0)
        self.assertEqual(self.value('omaim_transactions{entity="core-north",side="server"}'), 0)
        self.assertEqual(self.value("omaim_ready"), 0)

    def test_ready(self) -> None:
        """A balancer is told 503 until every entity is of use."""
        self.assertEqual(self.metrics.ready().status, 503)
        self.node.is_ready = True
        self.assertEqual(self.metrics.ready().status, 200)

    def test_no_extra(self) -> None:
        """Without prometheus-client the node does not start, and one line names the extra."""
        with mock.patch.object(metrics, "prometheus", None):
            error = self.assertRaises(UsageError, metrics.attach, self.node)
        self.assertIn("omaim[metrics]", str(error))

    def test_no_address(self) -> None:
        """The feature without its setting is a mistake that is told."""
        self.assertRaises(UsageError, metrics.attach, self.node)


class PageTests(TestCase):
    """The page over a socket, from a node's own settings."""

    def node(self, address: str) -> Node:
        config = NodeConfig(name="n", state="memory:", metrics=address)
        network = SimulatedNetwork(Clock())
        return Node(config, reactor, network, memory_stores())

    async def test_setting(self) -> None:
        """The setting alone switches it on; the port is free again when the node has stopped."""
        probe = listen_http(reactor, "127.0.0.1", 0, {})
        port = probe.port
        await probe.close()
        node = self.node(f"127.0.0.1:{port}")
        wire = Wire(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), wire)
        answer = await wire.done
        self.assertIn(b"text/plain; version=0.0.4", answer)
        self.assertIn(b'omaim_build{form="', answer)
        error = self.assertRaises(Unavailable, self.node, f"127.0.0.1:{port}")
        self.assertIn(str(port), str(error))
        node.startService()
        await node.stopService()
        again = listen_http(reactor, "127.0.0.1", port, {})
        await again.close()
