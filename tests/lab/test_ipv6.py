"""A home domain on real IPv6 sockets: core, IM Server and clients on [::1].

This machine has one such address, so that an IM Server cannot be told from a phone by it: where
there is one, everything is TLS, and names tell.
"""

from __future__ import annotations

import datetime
import socket
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SkipTest, TestCase

from omaim.client import Client, Message
from omaim.core import entity as core
from omaim.im import entity as im
from omaim.im.config import Config as ImConfig
from omaim.lab.certificates import write_certificates
from omaim.net.network import ReactorNetwork
from omaim.net.wire import WireRecord
from omaim.node.config import NodeConfig
from omaim.node.node import Node
from omaim.node.people import make_user
from omaim.stores.memory import memory_stores
from omaim.testing.dns import SimulatedDns

HOST = "::1"
DOMAIN = "north.example"
CORE = f"core.{DOMAIN}"
IM = f"im.{DOMAIN}"


def free_port() -> int:
    """Return a port of [::1] that is free over UDP and TCP.

    Raises:
        SkipTest: this machine has no such address.
    """
    why: OSError | None = None
    for _ in range(20):
        try:
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as one:
                one.bind((HOST, 0))
                port: int = one.getsockname()[1]
                with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as other:
                    other.bind((HOST, port))
                    return port
        except OSError as error:
            why = error
    raise SkipTest(f"this machine has no [::1] to listen on: {why}")


class Ipv6Tests(TestCase):
    timeout = 60

    async def start(self, *listen: str, zone: str = "", **settings: Any) -> None:
        """Start a core."""
        stores = memory_stores()
        self.node = Node(
            NodeConfig(state="memory:"),
            reactor,
            ReactorNetwork(reactor),
            stores,
            SimulatedDns(zone).ask,
        )
        await stores.users.put_many(
            [
                make_user(f"{name}@{DOMAIN}", DOMAIN, name, (f"sip:{name}@{DOMAIN}",))
                for name in ("alice", "bob")
            ]
        )
        self.addCleanup(self.node.stopService)
        self.node.startService()
        await self.add(
            core.build(self.node, core.Config(domain=DOMAIN, listen=listen, **settings), "core")
        )
        self.seen: list[WireRecord] = []
        self.node.taps.add_wire(self.seen.append)

    async def add(self, part: Any) -> None:
        """Let an entity serve."""
        part.setServiceParent(self.node)
        await part.ready()

    def client(self, name: str, server: str, **named: Any) -> Client:
        """Return a client on [::1]."""
        client = Client(
            f"{name}@{DOMAIN}", name, server, node=self.node, name=name, listen=HOST, **named
        )
        self.addCleanup(client.close)
        return client

    async def next(self, client: Client) -> Message:
        """Return the next message that a client gets."""
        coming: Deferred[Message] = client.inbox.next()
        return await coming.addTimeout(20.0, reactor)

    async def talk(self, server: str, **named: Any) -> None:
        """Two people write to each other."""
        self.seen.clear()
        alice, bob = self.client("alice", server, **named), self.client("bob", server, **named)
        await alice.register()
        await bob.register()
        await alice.send(f"sip:bob@{DOMAIN}", "hello", reports=())
        message = await self.next(bob)
        self.assertEqual((message.text, message.verified), ("hello", True))
        await bob.send(message.sender, "hello yourself", reports=())
        self.assertEqual((await self.next(alice)).text, "hello yourself")
        here = {one.local[0] for one in self.seen} - {""}  # "": not connected yet
        self.assertEqual(here, {HOST})
        self.assertEqual({one.remote[0] for one in self.seen}, {HOST})
        await alice.close()
        await bob.close()

    def test_by_address(self) -> Any:
        """By the server's address, over UDP and over TCP (RFC 3261 §19.1.1, §18.2.1)."""

        async def run() -> None:
            port = free_port()
            await self.start(f"udp:[{HOST}]:{port}", f"tcp:[{HOST}]:{port}")
            for transport in ("udp", "tcp"):
                await self.talk(f"[{HOST}]:{port}", transport=transport)
                self.assertIn(transport.upper(), {one.transport for one in self.seen})
            self.assertNotIn("UDP", {one.transport for one in self.seen if one.entity == "alice"})

        return Deferred.fromCoroutine(run())

    def test_by_name(self) -> Any:
        """By the domain, whose server DNS knows by an AAAA record (RFC 3263 §4.2)."""

        async def run() -> None:
            port = free_port()
            zone = f"_sip._udp.{DOMAIN} SRV 0 0 {port} {CORE}\n{CORE} AAAA {HOST}"
            await self.start(f"udp:[{HOST}]:{port}", f"tcp:[{HOST}]:{port}", zone=zone)
            await self.talk("")

        return Deferred.fromCoroutine(run())

    def test_im_server(self) -> Any:
        """With an IM Server, over TLS: what waits for somebody is delivered when they are there."""

        async def run() -> None:
            port, im_port = free_port(), free_port()
            folder = Path(self.mktemp())
            folder.mkdir()
            names = {"core": ((DOMAIN, CORE), HOST), "im": ((IM,), HOST)}
            write_certificates(folder, names, datetime.datetime.now(datetime.UTC))
            ca = str(folder / "ca.pem")
            await self.start(
                f"tls:[{HOST}]:{port}",
                zone=f"{CORE} AAAA {HOST}\n{IM} AAAA {HOST}",
                host=CORE,
                certificate=str(folder / "core.pem"),
                ca=ca,
                im_server=f"sip:{IM}:{im_port};transport=tls",
            )
            config = ImConfig(
                domain=DOMAIN,
                listen=(f"tls:[{HOST}]:{im_port}",),
                certificate=str(folder / "im.pem"),
                ca=ca,
                core=f"sip:{CORE}:{port};transport=tls",
                trusted=(CORE,),
            )
            await self.add(im.build(self.node, config, "im"))
            server = f"sip:{CORE}:{port};transport=tls"
            alice = self.client("alice", server, ca=ca)
            await alice.register()
            kept = await alice.send(f"sip:bob@{DOMAIN}", "for later")
            self.assertEqual(kept.status, "pending")
            bob = self.client("bob", server, ca=ca)
            await bob.register()
            self.assertEqual((await self.next(bob)).text, "for later")
            await bob.close()
            await alice.close()
            await self.talk(server, ca=ca)
            self.assertIn("im", {one.entity for one in self.seen})

        return Deferred.fromCoroutine(run())
