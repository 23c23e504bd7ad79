"""The MSRP relay over loopback sockets: TLS, digest, one relay and two, peers without one."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred

from omaim.features.metrics import Metrics
from omaim.msrp import CLOSED, MsrpUri, Outgoing, Report
from omaim.net.wire import WireRecord
from omaim.roles.relay_client import NotAuthorized, Passage
from tests.msrp.relays import frames
from tests.net.loopback import STRANGERS
from tests.relay.support import Client, RelayCase, junk, settings

BODY = bytes(range(256)) * 20_000  # 5 MB


class OneRelayTests(RelayCase):
    async def pair(self, **more: Any) -> tuple[Client, Client]:
        """Return two clients of one relay, connected with one another."""
        self.relays = [await self.relay(**more)]
        uri = self.uri(self.relays[0])
        alice, bob = self.client("alice"), self.client("bob")
        await alice.behind(uri)
        await bob.behind(uri)
        bob.connect(alice.session, False)
        alice.connect(bob.session, True)
        return alice, bob

    async def test_paths(self) -> None:
        """The SDP path is Use-Path reversed and the own URI; Use-Path names the relay by its
        host and port (RFC 4976 §5.1, §4.2)."""
        alice, _ = await self.pair()
        assert alice.passage is not None
        first, own = alice.session.path
        self.assertEqual(alice.session.relays, (first,))
        self.assertIs(own, alice.session.uri)
        self.assertEqual((first.host, first.secure), ("relay.north.example", True))
        self.assertEqual(first.port, next(iter(self.relays[0]._places)))
        self.assertGreaterEqual(len(first.session) * 4, 64)
        self.assertEqual(alice.passage.expires, 3600)

    async def test_messages(self) -> None:
        """Two clients behind one relay hear one another, over the connections of their AUTH
        alone; each SEND is answered hop by hop, reports go from end to end (RFC 4976 §6.4)."""
        alice, bob = await self.pair()
        statuses: list[int] = []
        reports: list[Report] = []
        for number in range(20):
            body = b"%d" % number
            alice.session.send(
                Outgoing(
                    "text/plain",
                    body,
                    success_report=True,
                    on_end=statuses.append,
                    on_report=reports.append,
                )
            )
        bob.session.send(Outgoing("text/plain", b"and back"))
        await self.until(lambda: len(bob.user.bodies) == 20 and alice.user.bodies)
        await self.until(lambda: len(reports) == 20 and len(statuses) == 20)
        self.assertEqual(bob.user.bodies, [b"%d" % number for number in range(20)])
        self.assertEqual({report.status for report in reports}, {200})
        self.assertEqual(self.relays[0].endpoint.connections, 2)

    async def test_large(self) -> None:
        """Large bodies pass both ways at once, in pieces, and messages in between."""
        alice, bob = await self.pair()
        alice.session.send(Outgoing("application/octet-stream", BODY))
        bob.session.send(Outgoing("application/octet-stream", BODY[::-1]))
        alice.session.send(Outgoing("text/plain", b"small"))
        await self.until(lambda: len(bob.user.bodies) == 2 and alice.user.bodies, 30)
        self.assertEqual(sorted(map(len, bob.user.bodies)), [5, len(BODY)])
        self.assertEqual(max(bob.user.bodies, key=len), BODY)
        self.assertEqual(alice.user.bodies, [BODY[::-1]])

    async def test_client_gone(self) -> None:
        """The URI of a client whose connection is gone is none any more: 481 (§6.3)."""
        alice, bob = await self.pair()
        alice.session.send(Outgoing("text/plain", b"1"))
        await self.until(lambda: bob.user.bodies)
        await bob.endpoint.stop()
        await self.until(lambda: self.relays[0].endpoint.connections == 1)
        statuses: list[int] = []
        alice.session.send(Outgoing("text/plain", b"2", on_end=statuses.append))
        await self.until(lambda: statuses)
        self.assertEqual((statuses, alice.session.state), ([481], CLOSED))

    async def test_watched(self) -> None:
        """Whoever watches the wire sees each frame by itself, in the clear."""
        alice, bob = await self.pair()
        seen: list[WireRecord] = []
        self.relays[0].node.taps.add_wire(seen.append)  # type: ignore[attr-defined]
        for _ in range(3):
            alice.session.send(Outgoing("text/plain", b"hello"))
        await self.until(lambda: len(bob.user.bodies) == 3)
        await self.until(lambda: len(seen) >= 14)
        for record in seen:
            self.assertEqual(len(frames(record.data)), 1, record.data)
            self.assertEqual((record.protocol, record.transport), ("MSRP", "TLS"))

    async def test_counters(self) -> None:
        """What passes is counted."""
        alice, bob = await self.pair()
        for _ in range(3):
            alice.session.send(Outgoing("text/plain", b"hello"))
        await self.until(lambda: len(bob.user.bodies) == 3)
        relay = self.relays[0]
        relay._tick()
        self.assertEqual(relay.endpoint.counters["chunks_relayed"], 4)  # and the first, empty one
        self.assertEqual(relay.endpoint.counters["uris"], 2)
        page = Metrics(relay.node).page().body  # type: ignore[attr-defined]
        self.assertIn(b'event="chunks_relayed"} 4.0', page)
        self.assertIn(b'omaim_msrp_connections{entity="relay.north.example"} 2.0', page)


class ElsewhereTests(RelayCase):
    async def test_peer_without_relay(self) -> None:
        """A peer that has no relay connects to ours, and is answered on its connection (§6.4.2)."""
        relay = await self.relay()
        alice, bob = self.client("alice"), self.client("bob")
        await alice.behind(self.uri(relay))
        alice.connect(bob.session, False)
        bob.connect(alice.session, True)
        bob.session.send(Outgoing("text/plain", b"to her"))
        await self.until(lambda: alice.user.bodies)
        alice.session.send(Outgoing("text/plain", b"to him"))
        await self.until(lambda: bob.user.bodies)
        self.assertEqual((alice.user.bodies, bob.user.bodies), ([b"to her"], [b"to him"]))
        self.assertEqual(relay.endpoint.counters["connections_opened"], 0)

    async def test_relay_connects(self) -> None:
        """The relay connects to a peer that listens; with TLS, its certificate has to be right."""
        relay = await self.relay()
        for authority, arrives in ((None, True), ("strangers", False)):
            tls = settings("bob.example")
            if authority:
                tls = settings("bob.example", authority=STRANGERS)
            alice, bob = self.client("alice"), self.client("bob", tls=tls)
            await bob.endpoint.listen("TLS", "127.0.0.1", 0, tls, "bob.example")
            bob.session = bob.endpoint.session(bob.user.user, "TLS")
            await alice.behind(self.uri(relay))
            bob.connect(alice.session, False)
            alice.connect(bob.session, True)
            reports: list[Report] = []
            alice.session.send(Outgoing("text/plain", b"hello", on_report=reports.append))
            if arrives:
                await self.until(lambda bob=bob: bob.user.bodies)
            else:
                await self.until(lambda reports=reports, alice=alice: reports or alice.user.reports)
                self.assertEqual((reports + alice.user.reports)[0].status, 408)

    async def test_two_relays(self) -> None:
        """Each side has a relay of its own: messages both ways, over one connection between
        the relays, each known to the other by its certificate (§6.3)."""
        first = await self.relay("one.north.example")
        second = await self.relay("two.north.example")
        alice, bob = self.client("alice"), self.client("bob")
        await alice.behind(self.uri(first))
        await bob.behind(self.uri(second))
        bob.connect(alice.session, False)
        alice.connect(bob.session, True)
        alice.session.send(Outgoing("application/octet-stream", BODY))
        await self.until(lambda: bob.user.bodies, 30)
        bob.session.send(Outgoing("application/octet-stream", BODY))
        await self.until(lambda: alice.user.bodies, 30)
        self.assertEqual((alice.user.bodies, bob.user.bodies), ([BODY], [BODY]))
        self.assertEqual(first.endpoint.counters["connections_opened"], 1)
        self.assertEqual(second.endpoint.counters["connections_opened"], 0)

    async def test_chain(self) -> None:
        """One client behind two relays: the second is asked through the first, Use-Path has
        both in the order of To-Path (§5.1), and the peer reaches the client through both."""
        inner = await self.relay("inner.north.example")
        outer = await self.relay("outer.north.example")
        alice, bob = self.client("alice"), self.client("bob")
        for relay in (inner, outer):
            port = next(iter(relay._places))
            self.names.services[f"_msrps._tcp.{relay.config.host}"] = (port, "host.example")
        await alice.behind("msrps://inner.north.example;tcp", "msrps://outer.north.example;tcp")
        self.assertEqual(
            [uri.host for uri in alice.session.relays],
            ["inner.north.example", "outer.north.example"],
        )
        self.assertEqual(
            [uri.host for uri in alice.session.path[:2]],
            ["outer.north.example", "inner.north.example"],
        )
        alice.connect(bob.session, False)
        bob.connect(alice.session, True)
        bob.session.send(Outgoing("text/plain", b"to her"))
        await self.until(lambda: alice.user.bodies)
        alice.session.send(Outgoing("text/plain", b"to him"))
        await self.until(lambda: bob.user.bodies)
        self.assertEqual(outer.endpoint.counters["connections_opened"], 0)
        grant = next(iter(outer.relay.grants._by_key.values()))
        self.assertEqual((grant.peer, grant.owner), ("inner.north.example", 0))

    async def test_two_chains(self) -> None:
        """Both behind the same two relays."""
        inner = await self.relay("inner.north.example")
        outer = await self.relay("outer.north.example")
        alice, bob = self.client("alice"), self.client("bob")
        await alice.behind(self.uri(inner), self.uri(outer))
        await bob.behind(self.uri(inner), self.uri(outer))
        bob.connect(alice.session, False)
        alice.connect(bob.session, True)
        alice.session.send(Outgoing("application/octet-stream", BODY))
        await self.until(lambda: bob.user.bodies, 30)
        self.assertEqual(bob.user.bodies, [BODY])


class AuthTests(RelayCase):
    async def test_wrong_password(self) -> None:
        """A wrong password ends in 401, an unknown user as well (§6.3)."""
        relay = await self.relay()
        alice, carol = self.client("alice"), self.client("carol")
        error = await self.assertFailure(
            self.deferred(alice.behind(self.uri(relay), password="wrong")), NotAuthorized
        )
        self.assertEqual(error.status, 401)
        error = await self.assertFailure(
            self.deferred(carol.behind(self.uri(relay))), NotAuthorized
        )
        self.assertEqual(error.status, 401)

    async def test_algorithms(self) -> None:
        """MD5 for those who know nothing else, SHA-256 for all others (§9.1)."""
        relay = await self.relay()
        for algorithms in (("MD5",), ("SHA-256",)):
            alice = self.client("alice")
            await alice.behind(self.uri(relay), algorithms=algorithms)
            self.assertTrue(alice.session.relays)

    async def test_bounds(self) -> None:
        """Too short and too long wishes are told the bound, which the client then takes (423)."""
        relay = await self.relay(min_expires=100, max_expires=200)
        for wish, given in ((10, 100), (150, 150), (900, 200)):
            alice = self.client("alice")
            await alice.behind(self.uri(relay), expires=wish)
            assert alice.passage is not None
            self.assertEqual(alice.passage.expires, given)

    async def test_service(self) -> None:
        """A relay without a port is found by SRV, else at port 2855 (§8)."""
        relay = await self.relay()
        port = next(iter(relay._places))
        self.names.services["_msrps._tcp.relay.north.example"] = (port, "host.north.example")
        alice = self.client("alice")
        await alice.behind("msrps://alice@relay.north.example;tcp")
        self.assertEqual(alice.session.relays[0].port, port)
        self.assertEqual(
            self.names.asked[:2],
            [("_msrps._tcp.relay.north.example", "SRV"), ("host.north.example", "A")],
        )

    async def test_stranger(self) -> None:
        """A relay with a certificate for somebody else gets no credentials."""
        self.names.services["_msrps._tcp.other.example"] = (0, "")
        relay = await self.relay()
        alice = self.client("alice")
        port = next(iter(relay._places))
        failing = self.deferred(alice.behind(f"msrps://other.example:{port};tcp"))
        error = await self.assertFailure(failing, Exception)
        self.assertIn("does not name other.example", str(error))
        self.assertEqual(relay.endpoint.counters["auth_401"], 0)

    async def test_plain(self) -> None:
        """AUTH without TLS gets 403, except where a laboratory allows it (§9.2)."""
        for plain in (False, True):
            relay = await self.relay(listen=("tcp:127.0.0.1:0",), plain=plain)
            alice = self.client("alice", "TCP")
            asking = self.deferred(alice.behind(self.uri(relay), plain=True))
            if plain:
                await asking
                self.assertFalse(alice.session.relays[0].secure)
            else:
                error = await self.assertFailure(asking, NotAuthorized)
                self.assertEqual(error.status, 403)

    async def test_renewed(self) -> None:
        """Before a way ends there is another; after a loss as well; no more once released."""
        relay = await self.relay(min_expires=1)
        alice = self.client("alice")
        ways: list[Passage] = []
        client = alice.asking(self.uri(relay), expires=1)

        def renewed(way: Passage) -> None:
            self.assertNotEqual(alice.session.relays, way.relays)
            way.adopt(alice.session)
            ways.append(way)

        first = await client.authorize(alice.session, renewed)
        await self.until(lambda: ways, 3)
        self.assertEqual(alice.session.relays, ways[0].relays)
        self.assertTrue(first.released)
        for leg in relay.relay.legs:
            leg.end("enough")
        count = len(ways)
        await self.until(lambda: len(ways) > count, 4)
        self.assertIsNot(ways[-1].connection, first.connection)
        ways[-1].release()
        count = len(ways)
        await self.pause(1.2)
        self.assertEqual(len(ways), count)

    async def test_closed_session(self) -> None:
        """A session that ends with its connection gets no other way: its user knows."""
        relay = await self.relay()
        alice, bob = self.client("alice"), self.client("bob")
        ways: list[object] = []
        alice.passage = await alice.asking(self.uri(relay)).authorize(alice.session, ways.append)
        alice.connect(bob.session, True)
        await self.until(lambda: alice.user.opened)
        for leg in relay.relay.legs:
            leg.end("enough")
        await self.until(lambda: alice.user.closed)
        await self.until(lambda: alice.passage is not None and alice.passage.released, 4)
        self.assertEqual(ways, [])

    def deferred(self, coroutine: Coroutine[Any, Any, Any]) -> Deferred[Any]:
        return Deferred.fromCoroutine(coroutine)


class HostileTests(RelayCase):
    async def test_junk(self) -> None:
        """Junk ends its own connection and nothing else."""
        relay = await self.relay(listen=("tcp:127.0.0.1:0",))
        for data in (junk(3000), b"GET / HTTP/1.1\r\n\r\n", b"MSRP a b\r\n", b"\0" * 600):
            raw = await self.raw(relay)
            raw.say(data)
            await self.until(lambda raw=raw: raw.gone)
        self.assertEqual(relay.endpoint.counters["crashed"], 0)
        await self.until(lambda: not relay.endpoint.connections)

    async def test_not_for_us(self) -> None:
        """A request for somebody else ends the connection (§6.2)."""
        relay = await self.relay(listen=("tcp:127.0.0.1:0",))
        raw = await self.raw(relay)
        raw.say(
            b"MSRP abcd SEND\r\nTo-Path: msrp://else.example:9/x;tcp\r\n"
            b"From-Path: msrp://a.example:9/y;tcp\r\nMessage-ID: 1234\r\n-------abcd$\r\n"
        )
        await self.until(lambda: raw.gone)
        self.assertEqual(raw.frames, [])

    async def test_too_many(self) -> None:
        """One address gets no more connections than allowed."""
        relay = await self.relay(listen=("tcp:127.0.0.1:0",), max_connections_each=3)
        raws = [await self.raw(relay) for _ in range(4)]
        await self.until(lambda: raws[3].gone)
        self.assertEqual([raw.gone for raw in raws], [False, False, False, True])

    async def test_full(self) -> None:
        """At its limit the relay ends what was not used for longest instead of refusing whoever
        comes; one that has something under way stays (§6.5)."""
        relay = await self.relay(max_connections=3)
        alice, bob = self.client("alice"), self.client("bob")
        await alice.behind(self.uri(relay))
        await bob.behind(self.uri(relay))
        bob.connect(alice.session, False)
        alice.connect(bob.session, True)
        await self.until(lambda: bob.user.opened)
        bob.user.on_whole = lambda incoming: incoming.hold()
        alice.session.send(Outgoing("text/plain", b"slowly"))
        await self.until(lambda: bob.user.bodies)
        others = [self.client("alice") for _ in range(3)]
        for other in others:
            await other.behind(self.uri(relay))
        counters = relay.endpoint.counters
        self.assertEqual((counters["closed_for_room"], counters["refused_total"]), (2, 0))
        self.assertEqual(relay.endpoint.connections, 3)
        self.assertEqual((alice.user.closed, bob.user.closed), ([], []))
        await self.until(lambda: others[0].passage.connection.over)

    async def test_full_of_work(self) -> None:
        """Where each connection is needed, whoever comes is refused, and told 408 who wants to
        go on to somewhere."""
        relay = await self.relay(max_connections=1)
        alice = self.client("alice")
        await alice.behind(self.uri(relay))
        assert alice.passage is not None
        statuses: list[int] = []
        alice.session.send(Outgoing("text/plain", b"2", on_end=statuses.append))
        alice.passage.connect((MsrpUri("127.0.0.1", 9999, "x", True),), True)
        await self.until(lambda: statuses)
        self.assertEqual(statuses, [408])
        self.assertEqual(relay.endpoint.counters["connections_opened"], 0)
        self.assertFalse(alice.passage.connection.over)

    async def test_low_port(self) -> None:
        """The relay is no way to services that are not MSRP: 403, and no connection."""
        relay = await self.relay()
        alice = self.client("alice")
        await alice.behind(self.uri(relay))
        assert alice.passage is not None
        alice.passage.connect((MsrpUri("127.0.0.1", 25, "x"),), True)
        statuses: list[int] = []
        alice.session.send(Outgoing("text/plain", b"2", on_end=statuses.append))
        await self.until(lambda: statuses)
        self.assertEqual(statuses, [403])
        self.assertEqual(relay.endpoint.counters["connections_opened"], 0)

    async def test_networks(self) -> None:
        """The relay connects to next hops in the networks that it was told alone (RFC 4975 §14),
        and may be told of a lower port."""
        relay = await self.relay(msrp_networks=("10.0.0.0/8",), msrp_lowest_port=20)
        alice = self.client("alice")
        await alice.behind(self.uri(relay))
        assert alice.passage is not None
        statuses: list[int] = []
        alice.session.send(Outgoing("text/plain", b"2", on_end=statuses.append))
        alice.passage.connect((MsrpUri("127.0.0.1", 25, "x"),), True)
        await self.until(lambda: alice.user.reports or 408 in statuses)
        self.assertEqual(relay.endpoint.counters["refused_targets"], 1)
        self.assertEqual(relay.endpoint.counters["connections_opened"], 0)

    async def test_expired(self) -> None:
        """After its time a URI is none: 481."""
        relay = await self.relay(min_expires=1)
        alice, bob = self.client("alice"), self.client("bob")
        await alice.behind(self.uri(relay), expires=1)
        await bob.behind(self.uri(relay))
        bob.connect(alice.session, False)
        alice.connect(bob.session, True)
        alice.session.send(Outgoing("text/plain", b"1"))
        await self.until(lambda: bob.user.bodies)
        await self.pause(1.1)
        statuses: list[int] = []
        alice.session.send(Outgoing("text/plain", b"2", on_end=statuses.append))
        await self.until(lambda: statuses)
        self.assertEqual((statuses, bob.user.bodies), ([481], [b"1"]))
