"""Peers that are slow, busy or deaf, and what waits for them (on the simulated network)."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from omaim.ids import Ids
from omaim.net.endpoint import Endpoint
from omaim.net.limits import StreamLimits
from omaim.net.stream import DOUBT, TimeLimit
from omaim.sip.locating import Target
from omaim.sip.message import RETRY_AFTER, Response
from omaim.sip.transaction import ServerTransaction
from omaim.testing.network import Clock, SimulatedNetwork
from tests.net.support import Sink, invite, message
from tests.net.test_connection import Peer, wire

LIMITS = StreamLimits(half=5, unread=200_000, unread_total=300_000, stalled=8)
BOB = "10.0.0.2"
CAROL = "10.0.0.3"


class Server:
    """A bare server that reads when it is told to."""

    def __init__(self, network: SimulatedNetwork, host: str = BOB) -> None:
        self.heard = b""
        self.stream: Any = None
        network.listen_stream(host, 5060, lambda *peer: self)

    def connected(self, stream: Any) -> None:
        self.stream = stream
        stream.pause()

    def received(self, data: bytes) -> None:
        self.heard += data

    def read_a_little(self) -> None:
        """Take what is on its way."""
        self.stream.resume()
        self.stream.pause()

    def drained(self) -> None:
        """Nothing is written here."""

    def closed(self, why: str) -> None:
        """The client is gone."""


class SlowServerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.network = SimulatedNetwork(self.clock)
        self.alice = Endpoint(self.network, self.clock, stream_limits=LIMITS)
        for transport in ("UDP", "TCP"):
            self.successResultOf(self.alice.listen(transport, "10.0.0.1", 5060))
        self.bob = Server(self.network)
        self.finals: dict[int, Response] = {}

    def send(self, number: int, size: int = 10_000, host: str = BOB) -> Any:
        """Send a large MESSAGE, to a server that would take it by UDP, too."""
        request = message(f"sip:bob@{host}", b"x" * size, number)
        return self.alice.send(request, lambda final: self.finals.update({number: final}))

    def test_steady(self) -> None:
        """Who takes something now and then is not dropped, whatever waits, and gets all of it."""
        for number in range(20):
            self.send(number)
        for _ in range(4):
            self.clock.advance(7)
            self.bob.read_a_little()
        self.clock.advance(1)
        self.bob.read_a_little()
        self.assertEqual(self.bob.heard.count(b"MESSAGE sip:"), 20)
        self.assertEqual((self.finals, dict(self.alice.counters)), ({}, {}))

    def test_stalled(self) -> None:
        """Who takes nothing for too long is dropped, though it keeps the connection up."""
        for number in range(20):
            self.send(number)
        self.clock.advance(LIMITS.stalled + LIMITS.stalled / 2)
        self.assertEqual(self.alice.counters["dropped_unread"], 1)
        finals = {(final.status, final.local) for final in self.finals.values()}
        self.assertEqual((len(self.finals), finals), (20, {(503, True)}))
        self.assertEqual(self.network.datagrams, 0)  # RFC 3261 §18.1.1: no UDP after a stream
        self.assertEqual(self.alice.connections.waiting, 0)

    def test_no_room(self) -> None:
        """What does not fit is refused, with a time to wait (RFC 3261 §21.5.4); the rest stays."""
        self.send(0)
        self.clock.advance(0.1)
        for number in range(1, 60):
            self.send(number)
        self.clock.advance(0.1)
        refused = list(self.finals.values())
        self.assertGreater(len(refused), 20)
        self.assertEqual({final.status for final in refused}, {503})
        self.assertEqual({final.first("Retry-After") for final in refused}, {RETRY_AFTER})
        self.assertEqual(self.alice.counters["busy"], len(refused))
        self.bob.stream.resume()
        self.clock.advance(1)
        self.send(60)
        self.clock.advance(1)
        self.assertEqual(self.bob.heard.count(b"MESSAGE sip:"), 61 - len(refused))
        self.assertEqual(self.network.datagrams, 0)

    def test_no_room_before_it_is_up(self) -> None:
        """The same holds while the connection is being made."""
        self.network.cut(BOB)
        for number in range(60):
            self.send(number)
        self.clock.advance(0.1)
        self.assertEqual({final.status for final in self.finals.values()}, {503})
        self.assertEqual(len(self.finals), 60 - LIMITS.unread // 10_000)
        self.assertEqual(self.alice.counters["dropped_unread"], 0)

    def test_another_server(self) -> None:
        """What was not written may go to another server at once (RFC 3263 §4.3)."""
        carol = Endpoint(self.network, self.clock)
        self.successResultOf(carol.listen("TCP", CAROL, 5060))
        sink = Sink(carol)
        targets = [Target("TCP", BOB, 5060), Target("TCP", CAROL, 5060)]
        for number in range(36):
            request = message("sip:bob@example.com", b"x" * 10_000, number)
            self.alice.send(
                request,
                partial(self.finals.__setitem__, number),
                targets=targets,
            )
        self.clock.advance(1)
        self.bob.stream.resume()
        self.clock.advance(1)
        self.assertEqual({final.status for final in self.finals.values()}, {200})
        self.assertEqual(self.bob.heard.count(b"MESSAGE sip:") + len(sink.seen), 36)
        self.assertGreater(len(sink.seen), 10)

    def test_all_slow_peers(self) -> None:
        """All slow peers together make us keep so much; who is not slow does not notice."""
        slow = [Server(self.network, f"10.0.1.{at}") for at in range(1, 5)]
        for server in range(1, 5):
            self.send(server * 100, host=f"10.0.1.{server}")
        self.clock.advance(0.1)
        for number in range(1, 40):
            for server in range(1, 5):
                self.send(server * 100 + number, host=f"10.0.1.{server}")
        self.assertLess(self.alice.connections.waiting, LIMITS.unread_total + 50_000)
        kept = sum(one._stream.buffered for one in self.alice.connections._streams if one._stream)
        self.assertLess(kept, LIMITS.unread_total + 100_000)
        self.send(1)
        self.clock.advance(0.1)
        self.bob.read_a_little()
        self.assertEqual(self.bob.heard.count(b"MESSAGE sip:"), 1)
        for one in slow:
            one.stream.abort()
        self.clock.advance(LIMITS.stalled)
        self.assertEqual(self.alice.connections.waiting, 0)


class DeafClientTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.network = SimulatedNetwork(self.clock)
        self.endpoint = Endpoint(self.network, self.clock, stream_limits=LIMITS)
        self.successResultOf(self.endpoint.listen("TCP", BOB, 5060))
        self.served: list[ServerTransaction] = []
        self.endpoint.on_request = self.serve
        self.peer = Peer(self.network)
        self.clock.advance(0.1)

    def serve(self, transaction: ServerTransaction) -> None:
        """Answer with something large."""
        self.served.append(transaction)
        response = transaction.request.response(200, None, "tag")
        response.body = b"y" * 5_000
        self.endpoint.respond(transaction, response)

    def test_half_a_message(self) -> None:
        """The time in which we did not read does not count as that in which nothing came."""
        self.peer.stream.pause()
        for number in range(50):
            self.peer.stream.write(wire(number))
            self.clock.advance(0.01)
        data = wire(50)
        self.peer.stream.write(data[:50])
        self.clock.advance(LIMITS.half + 1)
        self.assertLess(len(self.served), 50)  # it is not read
        self.peer.stream.resume()
        self.clock.advance(LIMITS.half - 1)
        self.peer.stream.write(data[50:])
        self.clock.advance(1)
        self.assertEqual((len(self.served), self.peer.why), (51, None))

    def test_late_but_there(self) -> None:
        """What comes before we would have looked counts as in time, however busy we were."""
        data = wire()
        self.peer.stream.write(data[:50])
        self.clock.advance(LIMITS.half + DOUBT / 2)
        self.peer.stream.write(data[50:])
        self.clock.advance(1)
        self.assertEqual((len(self.served), self.peer.why), (1, None))

    def test_both_busy(self) -> None:
        """Two who have much to say to one another do not wait for one another for ever."""
        alice = Endpoint(self.network, self.clock, stream_limits=LIMITS)
        finals: Counter[int] = Counter()

        def count(final: Response) -> None:
            finals[final.status] += 1

        def echo(transaction: ServerTransaction) -> None:
            response = transaction.request.response(200, None, "tag")
            response.body = b"z" * 5_000
            alice.respond(transaction, response)

        alice.on_request = echo
        there = alice.send(message(f"sip:b@{BOB};transport=tcp"), count).flow
        self.clock.advance(1)
        back = self.served[0].flow
        for number in range(2, 72):
            alice.send(message(f"sip:b@{BOB}", b"x" * 2_000, number), count, flow=there)
            self.endpoint.send(message("sip:a@x", b"x" * 2_000, 100 + number), count, flow=back)
        self.clock.advance(30)
        self.assertEqual(finals, {200: 141})


class TimeLimitTests(SynchronousTestCase):
    def test_once_more_around(self) -> None:
        """A time that is over when the reactor comes back to it is over a little later only."""
        clock = Clock()
        over: list[float] = []
        TimeLimit(clock, 8.0, lambda: over.append(clock.seconds()))
        start = clock.seconds()
        clock.advance(7.9)
        self.assertEqual(over, [])
        clock.advance(1.0)
        self.assertEqual(over, [start + 8.0])

    def test_in_time(self) -> None:
        """Nothing happens to who was in time, also at the last moment."""
        for after in (1.0, 7.8, 9.0):
            clock = Clock()
            over: list[float] = []
            limit = TimeLimit(clock, 8.0, partial(over.append, 8.0))
            clock.advance(after)
            limit.cancel()
            clock.advance(10.0)
            self.assertEqual(len(over), after > 8.0)


class CopyTests(SynchronousTestCase):
    """What a server may have is not sent again while it may still answer (RFC 3263 §4.3)."""

    def play(self, seed: int, steps: list[int], targets: list[Target] | None) -> None:
        clock = Clock()
        network = SimulatedNetwork(clock, seed)
        limits = StreamLimits(unread=60_000, unread_total=90_000, stalled=8)
        alice = Endpoint(network, clock, ids=Ids(1), stream_limits=limits)
        servers = [Endpoint(network, clock, ids=Ids(2)), Endpoint(network, clock, ids=Ids(3))]
        copies: dict[str, list[str]] = {}
        merged: list[str] = []

        def serve(server: Endpoint, transaction: ServerTransaction) -> None:
            request = transaction.request
            copies.setdefault(request.call_id, []).append(request.via.branch)
            if server.transactions.claim(transaction, clock.seconds()):
                clock.callLater(0.2 * (seed % 4), server.reply, transaction, 200)
            else:
                merged.append(request.call_id)

        for endpoint, host in zip((alice, *servers), ("10.0.0.1", BOB, CAROL), strict=True):
            for transport in ("UDP", "TCP"):
                self.successResultOf(endpoint.listen(transport, host, 5060))
        for server in servers:
            server.on_request = partial(serve, server)
        finals: dict[int, list[Response]] = {}
        for at, step in enumerate(steps):
            streams = [one._stream for one in servers[0].connections._streams if one._stream]
            if step == 0:
                for stream in streams:
                    stream.pause()
            elif step == 1:
                for stream in streams:
                    stream.resume()
            elif step == 2:
                clock.advance(3)
            elif step == 3:
                network.reset(BOB)
            else:
                make = invite if step == 4 else message
                request = make(f"sip:b@{BOB}", cseq=at)
                request.body = b"x" * (1_500 * step)
                finals[at] = []
                alice.send(request, finals[at].append, targets=targets)
            clock.advance(0.05)
        broke = alice.counters["stream_lost"]
        for stream in [one._stream for one in servers[0].connections._streams if one._stream]:
            stream.resume()
        clock.advance(200)
        for at, responses in finals.items():
            last = [one for one in responses if one.status >= 200]
            self.assertEqual(len(last), 1, at)
            self.assertNotEqual(last[0].status, 482)
            if last[0].first("Retry-After"):
                self.assertNotIn(f"call-{at}", copies)  # it was not even written
        if targets is None or not broke:
            self.assertEqual([ways for ways in copies.values() if len(ways) > 1], [])
        self.assertEqual(merged, [])
        self.assertEqual(alice.connections.waiting, 0)
        self.assertEqual(self.flushLoggedErrors(), [])

    @given(st.integers(0, 2**32), st.lists(st.integers(0, 7), max_size=60))
    def test_one_server(self, seed: int, steps: list[int]) -> None:
        """The only server gets no second copy, by whatever transport, even if the stream breaks."""
        self.play(seed, steps, None)

    @given(st.integers(0, 2**32), st.lists(st.sampled_from((0, 1, 2, 4, 5, 6)), max_size=9))
    def test_two_servers(self, seed: int, steps: list[int]) -> None:
        """Nor does another one while the stream to the first is alive."""
        self.play(seed, steps, [Target("TCP", BOB, 5060), Target("TCP", CAROL, 5060)])

    def test_same_branch_by_another_way(self) -> None:
        """A repeat on another transport is the same request, not a merged one; its answer finds
        the way (RFC 3261 §8.2.2.2, §17.2.3, §18.2.2)."""
        clock = Clock()
        network = SimulatedNetwork(clock)
        bob = Endpoint(network, clock, user_agent=True)
        for transport in ("UDP", "TCP"):
            self.successResultOf(bob.listen(transport, BOB, 5060))
        held: list[ServerTransaction] = []
        bob.on_request = held.append
        request = invite(f"sip:bob@{BOB}")
        request.prepend("Via", "SIP/2.0/TCP 10.0.0.1:5060;branch=z9hG4bKsame")
        peer = Peer(network)
        clock.advance(0.1)
        peer.stream.write(request.to_bytes())
        clock.advance(0.1)
        peer.stream.abort()
        clock.advance(0.1)
        answers: list[bytes] = []
        network.listen_datagram("10.0.0.1", 5060, lambda data, source: answers.append(data))
        again = request.to_bytes().replace(b"SIP/2.0/TCP", b"SIP/2.0/UDP")
        network.send(("10.0.0.1", 5060), again, (BOB, 5060))
        clock.advance(0.1)
        self.assertEqual(len(held), 1)
        bob.reply(held[0], 486)
        clock.advance(1)
        network.send(("10.0.0.1", 5060), again, (BOB, 5060))
        clock.advance(1)
        self.assertIn(b"SIP/2.0 486", b"".join(answers))
        self.assertNotIn(b"SIP/2.0 482", b"".join(answers))
