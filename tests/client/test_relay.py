"""A client behind an MSRP relay, over loopback sockets (RFC 4976)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from omaim.client import Client
from omaim.client.conversation import Conversation
from omaim.client.failures import Failure
from omaim.errors import UsageError
from omaim.net.msrp import NOWHERE
from tests.net.loopback import OURS
from tests.net.support import Authority
from tests.relay.support import DOMAIN, RelayCase


class RelayTests(RelayCase):
    """Alice cannot be reached, and has a relay; bob talks to her directly."""

    timeout = 30

    async def open(self, name: str, server: str, **more: Any) -> Client:
        ca = Path(self.mktemp())
        ca.write_bytes(OURS.pem)
        client = Client(
            f"{name}@{DOMAIN}",
            f"{name}-secret",
            server,
            username=name,
            listen=more.pop("listen"),
            ca=str(ca),
            clock=reactor,
            **more,
        )
        self.addCleanup(lambda: Deferred.fromCoroutine(client.close()))
        await client.open()
        return client

    async def pair(self, relay: str, **more: Any) -> tuple[Client, Client]:
        """Return alice, whose relay this is, and bob; they reach one another without a server."""
        bob = await self.open("bob", "127.0.0.1:9", listen="127.0.0.1")
        port = bob.endpoint.listeners[0].port
        alice = await self.open(
            "alice", f"127.0.0.1:{port}", listen="127.0.0.1", relay=relay, **more
        )
        alice._media._tried |= {"TCP", "TLS"}  # she cannot listen
        bob.auto_accept = True
        return alice, bob

    def test_talk(self) -> Any:
        """She offers her relay's URI, he connects to it, and both talk (§5.1). Her own relay may be
        where she goes to no peer."""

        async def run() -> None:
            relay = await self.relay("127.0.0.1")
            alice, bob = await self.pair(self.uri(relay), msrp_networks=["10.0.0.0/8"])
            begun: Deferred[Conversation] = Deferred()
            bob.on_conversation(begun.callback)
            hers = await alice.invite("bob")
            his = await begun
            medium = hers.talk.medium
            assert medium is not None
            self.assertEqual(medium.session.uri.port, NOWHERE)
            self.assertEqual(len(medium.session.path), 2)
            await hers.send("from behind")
            self.assertEqual((await his.next()).text, "from behind")
            await his.send("to behind")
            self.assertEqual((await hers.next()).text, "to behind")
            path = Path(self.mktemp())
            path.write_bytes(b"x" * 300_000)
            bob.files.folder = Path(self.mktemp())
            upload = await hers.send_file(path)
            await upload.done()
            (taken,) = bob.files.folder.iterdir()
            self.assertEqual(taken.read_bytes(), path.read_bytes())
            await hers.leave()

        return Deferred.fromCoroutine(run())

    def test_no_way(self) -> Any:
        """Where the relay cannot be trusted, or refuses, nobody is invited."""

        async def run() -> None:
            stranger = await self.relay("127.0.0.1", authority=Authority())
            alice, _ = await self.pair(self.uri(stranger))
            with self.assertRaises(Failure):
                await alice.invite("bob")
            self.assertEqual(alice.sessions._means.legs, set())
            relay = await self.relay("127.0.0.1")
            alice, _ = await self.pair(self.uri(relay).replace("msrps", "msrp"))
            with self.assertRaises(Failure):
                await alice.invite("bob")

        return Deferred.fromCoroutine(run())

    def test_networks(self) -> Any:
        """Peers have a client connect only to the networks that it was told (RFC 4975 §14)."""

        async def run() -> None:
            alice, _ = await self.pair("", msrp_networks=["10.0.0.0/8"], msrp_lowest_port=20)
            talk = await alice.invite("bob")
            ended: Deferred[str] = Deferred()
            talk.on_end(ended.callback)
            await ended
            endpoint = alice._media.endpoint
            assert endpoint is not None
            self.assertTrue(endpoint.counters["refused_targets"])
            self.assertEqual(endpoint.counters["connections_opened"], 0)

        return Deferred.fromCoroutine(run())

    def test_no_uri(self) -> None:
        """A relay is an MSRP URI."""
        with self.assertRaises(UsageError):
            Client("alice@north.example", relay="relay.north.example")
