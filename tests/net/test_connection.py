"""SIP streams: keep-alive, and what peers may cost (on the simulated network)."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from omaim.net.endpoint import Endpoint
from omaim.net.limits import StreamLimits
from omaim.sip.flow import Flow
from omaim.sip.message import Response
from omaim.testing.network import Clock, Link, SimulatedNetwork
from tests.net.support import Sink, message

LIMITS = StreamLimits(total=8, per_host=4, idle=100, first=20, half=5, pong=10, unread=20_000)
HOST = "10.0.0.2"


class Peer:
    """A bare stream to the endpoint."""

    def __init__(self, network: SimulatedNetwork, host: str = "10.0.0.1") -> None:
        self.stream: Any = None
        self.data = b""
        self.why: str | None = None
        self.give_up = network.connect_stream(HOST, 5060, self, local_host=host)

    def connected(self, stream: Any) -> None:
        self.stream = stream

    def received(self, data: bytes) -> None:
        self.data += data

    def drained(self) -> None:
        """Nothing more to write."""

    def closed(self, why: str) -> None:
        self.why = why


def wire(cseq: int = 1, body: bytes = b"Hello") -> bytes:
    """Return a MESSAGE as it goes over a stream."""
    request = message(f"sip:bob@{HOST}", body, cseq)
    request.prepend("Via", f"SIP/2.0/TCP 10.0.0.1;branch=z9hG4bK{cseq}")
    return request.to_bytes()


class ConnectionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.network = SimulatedNetwork(self.clock)
        self.endpoint = Endpoint(self.network, self.clock, stream_limits=LIMITS)
        self.successResultOf(self.endpoint.listen("TCP", HOST, 5060))
        self.sink = Sink(self.endpoint)
        self.closed: list[Flow] = []
        self.endpoint.on_flow_closed = self.closed.append

    def peer(self, host: str = "10.0.0.1") -> Peer:
        peer = Peer(self.network, host)
        self.clock.advance(0.1)
        return peer

    def test_ping(self) -> None:
        """A double CRLF is answered by a single one (RFC 5626 §4.4.1)."""
        peer = self.peer()
        peer.stream.write(b"\r\n\r\n")
        self.clock.advance(1)
        self.assertEqual(peer.data, b"\r\n")

    def test_any_cut(self) -> None:
        """Messages arrive whole however the stream is cut, pings between them too."""
        self.network.link = Link(split=1.0)
        peer = self.peer()
        peer.stream.write(wire(1) + b"\r\n\r\n" + wire(2))
        self.clock.advance(5)
        self.assertEqual(len(self.sink.seen), 2)
        self.assertEqual(peer.data.count(b"SIP/2.0 200"), 2)

    def test_silent_newcomer(self) -> None:
        """Who connects and says nothing is dropped."""
        peer = self.peer()
        self.clock.advance(LIMITS.first - 1)
        self.assertIsNone(peer.why)
        self.clock.advance(2)
        self.assertIsNotNone(peer.why)
        self.assertEqual(self.endpoint.counters["dropped_idle"], 1)

    def test_idle(self) -> None:
        """Who has spoken may be silent for longer, and a keep-alive counts."""
        peer = self.peer()
        peer.stream.write(wire())
        self.clock.advance(LIMITS.idle - 10)
        peer.stream.write(b"\r\n\r\n")
        self.clock.advance(LIMITS.idle - 10)
        self.assertIsNone(peer.why)
        self.clock.advance(20)
        self.assertIsNotNone(peer.why)
        self.assertEqual([flow.remote_host for flow in self.closed], ["10.0.0.1"])
        self.assertFalse(self.closed[0].open)

    def test_slow_loris(self) -> None:
        """A message that comes octet by octet has to be whole in time."""
        peer = self.peer()
        for octet in wire()[:30]:
            if peer.why is None:
                peer.stream.write(bytes([octet]))
            self.clock.advance(0.5)
        self.assertIsNotNone(peer.why)
        self.assertEqual(self.endpoint.counters["dropped_half"], 1)

    def test_half_messages_in_time(self) -> None:
        """The clock starts anew with each message: a steady slow peer is served."""
        peer = self.peer()
        for cseq in range(1, 6):
            data = wire(cseq)
            peer.stream.write(data[:50])
            self.clock.advance(LIMITS.half - 1)
            peer.stream.write(data[50:])
            self.clock.advance(1)
        self.assertEqual((len(self.sink.seen), peer.why), (5, None))

    def test_begun_by_many(self) -> None:
        """What all have begun to say and not ended is bounded: who began first has to go."""
        self.endpoint.connections.limits = attrs.evolve(LIMITS, begun=3000, begun_per_host=2000)
        peers = [self.peer(f"10.0.1.{number}") for number in range(3)]
        messages = [wire(number, b"x" * 2000) for number in range(3)]
        for peer, whole in zip(peers, messages, strict=True):
            peer.stream.write(whole[:1200])
            self.clock.advance(0.1)
        self.assertEqual([peer.why is None for peer in peers], [False, True, True])
        for peer, whole in zip(peers[1:], messages[1:], strict=True):
            peer.stream.write(whole[1200:])
            self.clock.advance(0.1)
        self.assertEqual((len(self.sink.seen), self.endpoint.counters["dropped_crowded"]), (2, 1))
        for number in range(10, 48):  # what is over counts no more
            whole = wire(number, b"x" * 1500)
            for piece in (whole[:100], whole[100:900], whole[900:]):
                peers[1].stream.write(piece)
                self.clock.advance(0.1)
        self.assertEqual((len(self.sink.seen), peers[1].why), (40, None))

    def test_begun_by_one_host(self) -> None:
        """Nobody loses a connection because another host begins too much."""
        self.endpoint.connections.limits = attrs.evolve(LIMITS, begun=5000, begun_per_host=2000)
        whole = wire(1, b"x" * 3000)
        other = self.peer("10.0.0.3")
        other.stream.write(whole[:1500])
        for _ in range(20):
            peer = self.peer()
            peer.stream.write(whole[:1500])
            self.clock.advance(0.1)
        self.assertIsNone(other.why)
        self.assertEqual(len(self.endpoint.connections), 2)

    def test_never_reading(self) -> None:
        """Who never reads the answers is dropped, and what is kept for him stays bounded."""
        peer = self.peer()
        peer.stream.pause()
        most = 0
        for cseq in range(1, 2000):
            if peer.why is not None:
                break
            peer.stream.write(wire(cseq))
            self.clock.advance(0.01)
            for connection in list(self.endpoint.connections._streams):
                most = max(most, connection._stream.buffered if connection._stream else 0)
        self.clock.advance(LIMITS.idle + 1)
        self.assertIsNotNone(peer.why)
        self.assertLess(most, LIMITS.unread + 1000)

    def test_too_many_from_one_host(self) -> None:
        """One address may hold so many connections; others are not hurt."""
        peers = [self.peer() for _ in range(6)]
        self.assertEqual([peer.why is None for peer in peers], [True] * 4 + [False] * 2)
        self.assertIsNone(self.peer("10.0.0.3").why)
        self.assertEqual(self.endpoint.counters["refused_per_host"], 2)
        peers[0].stream.abort()
        self.clock.advance(1)
        self.assertIsNone(self.peer().why)

    def test_too_many(self) -> None:
        """All together may hold so many connections."""
        peers = [self.peer(f"10.0.1.{at}") for at in range(10)]
        self.assertEqual(sum(peer.why is None for peer in peers), 8)
        self.assertEqual(self.endpoint.counters["refused_total"], 2)

    def test_no_sip(self) -> None:
        """What is no SIP ends the connection without an answer."""
        peer = self.peer()
        peer.stream.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        self.clock.advance(1)
        self.assertEqual((peer.data, peer.why), (b"", ""))
        self.assertEqual(self.endpoint.counters["malformed"], 1)

    def test_endless_header(self) -> None:
        """A header without end is cut off at the limit."""
        peer = self.peer()
        peer.stream.write(b"MESSAGE sip:a SIP/2.0\r\nX: " + b"x" * 100_000)
        self.clock.advance(1)
        self.assertIsNotNone(peer.why)

    def test_large_body_announced(self) -> None:
        """A body over the limit is refused before it comes, with 413 (RFC 3261 §21.4.11)."""
        peer = self.peer()
        data = wire().replace(b"Content-Length: 5", b"Content-Length: 99999999")
        peer.stream.write(data)
        self.clock.advance(1)
        self.assertTrue(peer.data.startswith(b"SIP/2.0 413 "))
        self.assertIsNotNone(peer.why)

    def test_error_on_a_stream(self) -> None:
        """A bad message that can be cut out is answered 400; the connection lives on."""
        peer = self.peer()
        peer.stream.write(wire(1).replace(b"Call-ID", b"X-ID") + wire(2))
        self.clock.advance(1)
        self.assertEqual(peer.data.count(b"SIP/2.0 400"), 1)
        self.assertEqual(len(self.sink.seen), 1)
        self.assertIsNone(peer.why)


class PingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.network = SimulatedNetwork(self.clock)
        self.alice = Endpoint(self.network, self.clock, stream_limits=LIMITS)
        self.bob = Endpoint(self.network, self.clock)
        self.successResultOf(self.bob.listen("TCP", HOST, 5060))
        Sink(self.bob)
        self.responses: list[Response] = []
        exchange = self.alice.send(message(f"sip:bob@{HOST};transport=tcp"), self.responses.append)
        self.clock.run(lambda: self.responses)
        assert exchange.flow is not None
        self.flow = exchange.flow

    def test_alive(self) -> None:
        """A flow whose pings are answered lives."""
        for _ in range(5):
            self.alice.ping(self.flow)
            self.clock.advance(30)
        self.assertTrue(self.flow.open)

    def test_dead(self) -> None:
        """A flow without pong in time has failed (RFC 5626 §4.4.1)."""
        closed: list[Flow] = []
        self.alice.on_flow_closed = closed.append
        self.network.cut(HOST)
        self.alice.ping(self.flow)
        self.clock.advance(LIMITS.pong + 1)
        self.assertEqual(closed, [self.flow])
        self.assertFalse(self.flow.open)

    def test_request_on_a_dead_flow(self) -> None:
        """A request for a flow that is gone fails at once (RFC 3261 §18.4)."""
        self.network.reset(HOST)
        self.clock.advance(1)
        self.alice.send(message("sip:b@x", cseq=2), self.responses.append, flow=self.flow)
        self.clock.advance(1)
        self.assertEqual((self.responses[-1].status, self.responses[-1].local), (503, True))

    def test_break_while_waiting(self) -> None:
        """A request whose connection breaks fails at once, not after 32 seconds."""
        self.bob.on_request = lambda transaction: None
        self.alice.send(message("sip:b@x", cseq=2), self.responses.append, flow=self.flow)
        self.clock.advance(1)
        self.network.reset(HOST)
        self.clock.advance(1)
        self.assertEqual((self.responses[-1].status, self.responses[-1].local), (503, True))

    def test_vanished(self) -> None:
        """A stream on which a request timed out is asked for life, and ended without."""
        self.bob.on_request = lambda transaction: None
        self.network.cut(HOST)
        self.network.link = Link(delay=0.01)
        self.alice.send(message("sip:b@x", cseq=2), self.responses.append, flow=self.flow)
        self.clock.advance(33 + LIMITS.pong)
        self.assertEqual(self.responses[-1].status, 408)
        self.assertFalse(self.flow.open)

    def test_slow_but_alive(self) -> None:
        """A peer that answers the ping keeps its stream, though it leaves a request unanswered."""
        self.bob.on_request = lambda transaction: None
        self.alice.send(message("sip:b@x", cseq=2), self.responses.append, flow=self.flow)
        self.clock.advance(33 + LIMITS.pong)
        self.assertEqual(self.responses[-1].status, 408)
        self.assertTrue(self.flow.open)
