"""MSRP endpoints in virtual time, over a network that cuts, delays and breaks."""

from __future__ import annotations

import random
from typing import Any

from twisted.internet.defer import succeed
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import Unavailable, UsageError
from omaim.ids import Ids
from omaim.msrp import (
    CLOSED,
    OPEN,
    WAITING,
    Incoming,
    Limits,
    MsrpUri,
    Outgoing,
    Session,
    SessionUser,
)
from omaim.net.msrp import MsrpEndpoint, MsrpLimits
from omaim.net.resolver import Resolver
from omaim.net.tls import TlsSettings
from omaim.sip.locating import Answer
from omaim.testing.clock import Clock
from omaim.testing.network import Link, SimulatedNetwork
from tests.msrp.support import User
from tests.net.support import Authority

OURS = Authority()

ROUGH = Link(delay=0.01, jitter=0.02, loss=0.05, split=0.1)


class Case(SynchronousTestCase):
    def start(self, link: Link | None = None, seed: int = 0) -> None:
        self.clock = Clock()
        self.network = SimulatedNetwork(self.clock, seed, link)
        self.endpoints: list[MsrpEndpoint] = []

    def endpoint(self, host: str, **more: Any) -> MsrpEndpoint:
        seed = len(self.endpoints) + 1
        endpoint = MsrpEndpoint(self.network, self.clock, ids=Ids(seed), **more)
        if host:
            self.clock.wait(endpoint.listen("TCP", host))
        self.endpoints.append(endpoint)
        return endpoint

    def pair(self, near: MsrpEndpoint, far: MsrpEndpoint) -> tuple[Session, User, Session, User]:
        one, other = User(), User()
        active, passive = near.session(one.user), far.session(other.user)
        far.connect(passive, active.path, False)
        near.connect(active, passive.path, True)
        return active, one, passive, other

    def finish(self) -> None:
        """Nothing is left when all have stopped."""
        for endpoint in self.endpoints:
            self.clock.wait(endpoint.stop())
            self.assertEqual((endpoint.connections, endpoint.sessions), (0, []))
            self.assertEqual(endpoint.counters["crashed"], 0)


class RoughTests(Case):
    def test_random_sizes(self) -> None:
        """Messages of all sizes, both ways, in several sessions of one connection, over a path
        that cuts and stalls: each arrives once and whole."""
        for seed in range(4):
            self.start(ROUGH, seed)
            chance = random.Random(seed)
            near, far = self.endpoint("10.0.0.1"), self.endpoint("10.0.0.2")
            pairs = [self.pair(near, far) for _ in range(3)]
            sent: dict[int, list[bytes]] = {}
            statuses: list[int] = []
            for number in range(60):
                which = chance.randrange(6)
                session = pairs[which // 2][0 if which % 2 else 2]
                body = bytes([number]) * chance.choice((0, 10, 3000, 30_000, 100_000))
                sent.setdefault(which, []).append(body)
                if chance.random() < 0.5:
                    session.send(Outgoing("text/plain", body, on_end=statuses.append))
                else:
                    stream = Outgoing("text/plain", on_end=statuses.append)
                    session.send(stream)
                    for at in range(0, len(body), 1700):
                        stream.write(body[at : at + 1700])
                    stream.finish()
                if chance.random() < 0.3:
                    self.clock.advance(chance.random() * 0.2)
                if chance.random() < 0.2:
                    session.pause()
                    self.clock.callLater(chance.random(), session.resume)
            self.assertTrue(self.clock.run(lambda s=statuses: len(s) == 60, 600))  # type: ignore[misc]
            self.assertEqual(statuses, [200] * 60)
            for which, bodies in sent.items():
                user = pairs[which // 2][3 if which % 2 else 1]
                self.assertEqual(sorted(user.bodies), sorted(bodies))
            self.assertEqual(near.counters["connections_opened"], 1)
            self.finish()

    def test_aborts_and_breaks(self) -> None:
        """Whatever is aborted, closed or broken: each message ends once on each side, and
        nothing is left."""
        for seed in range(8):
            self.start(ROUGH, seed)
            chance = random.Random(seed)
            near, far = self.endpoint("10.0.0.1"), self.endpoint("10.0.0.2")
            pairs = [self.pair(near, far) for _ in range(3)]
            for pair in pairs:
                pair[3].mode = "stream"
            ends: dict[int, list[int]] = {}
            streams: list[Outgoing] = []
            for number in range(20):
                ends[number] = []
                stream = Outgoing("text/plain", on_end=ends[number].append)
                streams.append(stream)
                try:
                    pairs[number % 3][0].send(stream)
                except UsageError:
                    stream.abort()
                for _ in range(chance.randrange(1, 6)):
                    stream.write(b"x" * chance.randrange(40_000))
                    self.clock.advance(chance.random() * 0.1)
                chance.choice((stream.abort, stream.finish, lambda: None))()
            pairs[0][0].close()
            pairs[1][2].close()
            self.clock.advance(1.0)
            self.network.reset("10.0.0.1")
            self.clock.advance(60.0)
            for number, statuses in ends.items():
                self.assertEqual(len(statuses), 1, number)
            for active, one, passive, other in pairs:
                self.assertEqual((active.state, passive.state), (CLOSED, CLOSED))
                self.assertEqual((len(one.closed), len(other.closed)), (1, 1))
                self.assertEqual(set(other.ends), set(other.streams))
            self.finish()

    def test_back_to_back(self) -> None:
        """What is passed on from session to session needs little memory, however slow the
        last reader is."""
        self.start(Link(delay=0.001, split=0.02))
        first, server, last = (self.endpoint(f"10.0.0.{n}") for n in (1, 2, 3))
        sink = User("stream")
        active, end = server.session(User().user), last.session(sink.user)
        most = [0]

        def forward(session: Session, incoming: Incoming) -> None:
            out = Outgoing(incoming.content_type, on_drained=session.resume)
            active.send(out)

            def data(offset: int, piece: bytes) -> None:
                out.write(piece)
                most[0] = max(most[0], active.pending)
                if active.pending > 100_000:
                    session.pause()

            def ended(complete: bool) -> None:
                out.finish()

            incoming.stream(data, ended)

        source, middle = first.session(User().user), server.session(SessionUser(forward))
        last.connect(end, active.path, False)
        server.connect(active, end.path, True)
        server.connect(middle, source.path, False)
        first.connect(source, middle.path, True)
        self.clock.advance(1.0)
        body = Outgoing("application/octet-stream", b"x" * 2_000_000)
        source.send(body)
        end.pause()
        self.clock.advance(20.0)
        self.assertEqual(sink.ends, {})
        self.assertGreater(body.pending, 1_000_000)
        end.resume()
        self.assertTrue(self.clock.run(lambda: sink.ends, 60))
        self.assertEqual([len(got) for got in sink.streams.values()], [2_000_000])
        self.assertLess(most[0], 400_000)
        self.finish()


class ReachingTests(Case):
    def test_names(self) -> None:
        """A host is looked up; if an address does not answer, the next is tried (§6.2)."""
        self.start()
        asked: list[tuple[str, str]] = []

        def ask(name: str, kind: str) -> Any:
            asked.append((name, kind))
            addresses = ["10.0.0.9", "10.0.0.2"] if kind == "A" else []
            return succeed((Answer(addresses=addresses), 60.0))

        near = self.endpoint("10.0.0.1", resolver=Resolver(self.clock, ask))
        far = self.endpoint("10.0.0.2")
        user, callee = User(), User()
        session = near.session(user.user)
        passive = far.session(callee.user)
        there = MsrpUri("far.example", passive.uri.port, passive.uri.session)
        near.connect(session, (there,), True)
        self.clock.advance(20.0)
        self.assertEqual((session.state, user.closed), (CLOSED, ["the peer answered 481"]))
        self.assertEqual({kind for _, kind in asked}, {"A", "AAAA"})
        self.assertEqual(near.counters["connect_failed"], 1)
        session = near.session(user.user)
        near.connect(session, passive.path, True, address=("far.example", passive.uri.port))
        self.clock.advance(20.0)
        self.assertEqual((session.state, callee.opened), (OPEN, 1))
        self.assertEqual(near.counters["connections_opened"], 2)
        self.finish()

    def test_no_such_host(self) -> None:
        """A host that is not found, or not to be looked up, ends the session."""
        self.start()

        def ask(name: str, kind: str) -> Any:
            return succeed((Answer(), 60.0))

        for resolver in (None, Resolver(self.clock, ask)):
            near = self.endpoint("", resolver=resolver)
            user = User()
            session = near.session(user.user)
            near.connect(session, (MsrpUri("far.example", 9, "x"),), True)
            self.clock.advance(20.0)
            self.assertEqual(len(user.closed), 1)
            self.assertIn("far.example", user.closed[0])
        user = User()
        session = near.session(user.user)
        near.connect(session, (MsrpUri("10.0.0.2", 0, "x"),), True)
        self.assertEqual(user.closed, ["the peer's URI has no port"])
        self.assertRaises(UsageError, near.connect, session, session.path, True)
        self.assertRaises(UsageError, near.connect, near.session(user.user), (), True)
        self.finish()

    def test_ipv6(self) -> None:
        """Addresses of IPv6 stand in brackets in URIs (RFC 3986 §3.2.2)."""
        self.start()
        near, far = self.endpoint("fd00::1"), self.endpoint("fd00::2")
        active, _, passive, other = self.pair(near, far)
        self.assertIn("msrp://[fd00::2]:", str(passive.uri))
        active.send(Outgoing("text/plain", b"hello"))
        self.clock.advance(1.0)
        self.assertEqual(other.bodies, [b"hello"])
        self.finish()

    def test_certificates(self) -> None:
        """The simulated TLS knows fingerprints and authorities as the real one does."""
        certificate, key = Authority().issue()
        own = TlsSettings(certificate, key, OURS.pem, self_signed=True)
        for fingerprints, opened in (((own.fingerprint(),), 1), (("sha-256 00",), 0), ((), 0)):
            self.start()
            near, far = self.endpoint(""), self.endpoint("")
            self.clock.wait(far.listen("TLS", "10.0.0.2", 0, own))
            user, other = User(), User()
            active, passive = near.session(user.user, "TLS"), far.session(other.user, "TLS")
            near.connect(active, passive.path, True, fingerprints=fingerprints)
            self.clock.advance(1.0)
            self.assertEqual((other.opened, len(user.closed)), (opened, 1 - opened))
            self.finish()

    def test_own_relay(self) -> None:
        """Our relay is always connected to by us; only the active side sends at once
        (RFC 6135 §4.5)."""
        self.start()
        near, relay = self.endpoint(""), self.endpoint("10.0.0.2")
        hop = relay.session(User().user).uri
        user = User()
        session = near.session(user.user)
        session.relays = (hop,)
        near.connect(session, (MsrpUri("10.0.0.3", 9, "x"),), False)
        self.clock.advance(1.0)
        self.assertEqual((session.state, user.opened), (OPEN, 1))
        self.assertEqual((near.connections, relay.counters["no_such_session"]), (1, 0))
        self.assertEqual(session.uri.port, 9)
        self.finish()

    def test_passive_waits(self) -> None:
        """The passive side connects to nobody; it may be told the path again later."""
        self.start()
        near, far = self.endpoint("10.0.0.1"), self.endpoint("10.0.0.2")
        active, passive = near.session(User().user), far.session(User().user)
        far.connect(passive, active.path, False)
        self.clock.advance(10.0)
        self.assertEqual((passive.state, far.connections), (WAITING, 0))
        near.connect(active, passive.path, True)
        self.clock.advance(1.0)
        far.connect(passive, active.path, False)
        near.connect(active, passive.path, True)
        self.assertEqual((passive.state, near.connections), (OPEN, 1))
        self.finish()

    def test_limits(self) -> None:
        """Sessions are limited; a stopped endpoint has none, nor listens by UDP."""
        self.start()
        near = self.endpoint("10.0.0.1", peers=MsrpLimits(sessions=1))
        first = near.session(User().user)
        self.assertRaises(Unavailable, near.session, User().user)
        first.close()
        second = near.session(User().user)
        self.assertNotEqual(first.uri.session, second.uri.session)
        self.assertEqual(len(second.uri.session), 32)
        self.assertRaises(UsageError, self.endpoint("").session, User().user, "UDP")
        self.assertRaises(UsageError, self.endpoint, "", limits=Limits(window=65536))
        self.failureResultOf(near.listen("UDP", "10.0.0.1"), UsageError)
        self.finish()
        self.assertRaises(Unavailable, near.session, User().user)

    def test_stopped_while_connecting(self) -> None:
        """An endpoint can stop at any time."""
        self.start()
        near = self.endpoint("10.0.0.1")
        user = User()
        session = near.session(user.user)
        near.connect(session, (MsrpUri("10.0.0.2", 9, "x"),), True)
        self.finish()
        self.clock.advance(60.0)
        self.assertEqual(user.closed, ["stopped"])
