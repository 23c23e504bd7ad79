"""The core over real loopback sockets: register, and a message from one user to another."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from omaim.core.entity import Config, build
from omaim.net.network import ReactorNetwork
from omaim.node.config import NodeConfig
from omaim.node.node import Node
from omaim.node.people import make_user
from omaim.roles.incoming import Incoming
from omaim.roles.user_agent import UserAgent
from omaim.sip.answering import Answerer
from omaim.sip.message import Request, Response
from omaim.stores.memory import memory_stores

DOMAIN = "north.example"


class Phone:
    """A user agent of one of the people, on a socket of its own."""

    def __init__(self, agent: UserAgent) -> None:
        self.agent = agent
        self.messages: list[Request] = []
        agent.on("MESSAGE", self._message)
        agent.attach()

    def _message(self, incoming: Incoming) -> Response:
        self.messages.append(incoming.request)
        return incoming.response(200)

    async def register(self, expires: int = 600) -> Response:
        """Register over UDP."""
        contact = self.agent.endpoint.uri(user="phone")
        request = self.agent.make(
            "REGISTER",
            f"sip:{DOMAIN}",
            [("Contact", f"<{contact}>"), ("Expires", str(expires))],
            to=f"<{self.agent.identity}>",
        )
        return await self.agent.request(request)

    async def message(self, to: str, text: str) -> Response:
        """Send a pager message."""
        headers = [("Content-Type", "text/plain")]
        return await self.agent.request(self.agent.make("MESSAGE", to, headers, text.encode()))


class CoreTests(TestCase):
    def setUp(self) -> Any:
        return Deferred.fromCoroutine(self._set_up())

    async def _set_up(self) -> None:
        network = ReactorNetwork(reactor)
        stores = memory_stores()
        self.node = Node(NodeConfig(state="memory:"), reactor, network, stores)
        await stores.users.put_many(
            [
                make_user(f"{name}@{DOMAIN}", DOMAIN, name, (f"sip:{name}@{DOMAIN}",))
                for name in ("alice", "bob")
            ]
        )
        self.core = build(self.node, Config(listen=("udp:127.0.0.1:0",)), "core")
        self.core.setServiceParent(self.node)
        self.node.startService()
        self.addCleanup(self.node.stopService)
        await self.core.ready()

    async def phone(self, name: str, password: str | None = None) -> Phone:
        """Return a phone that sends everything to the core first."""
        endpoint = self.node.endpoint(f"phone-{name}")
        await endpoint.listen("UDP", "127.0.0.1", 0)
        self.addCleanup(endpoint.stop)
        answerer = Answerer(f"{name}@{DOMAIN}", password or name, self.node.ids)
        route = f"<{self.core.endpoint.uri()};lr>"
        return Phone(
            UserAgent(endpoint, f"sip:{name}@{DOMAIN}", credentials=answerer, routes=[route])
        )

    def test_register(self) -> Any:
        """A user who answers the challenge gets a binding (RFC 3261 §10.2, §22.2)."""

        async def run() -> None:
            alice = await self.phone("alice")
            response = await alice.register()
            self.assertEqual(response.status, 200)
            self.assertIn("<sip:phone@127.0.0.1:", response.first("Contact") or "")
            self.assertEqual(response.all("P-Associated-URI"), [f"<sip:alice@{DOMAIN}>"])
            self.assertIn(";lr>", response.first("Service-Route") or "")
            response = await alice.register(0)
            self.assertEqual((response.status, response.all("Contact")), (200, []))

        return Deferred.fromCoroutine(run())

    def test_wrong_password(self) -> Any:
        """A wrong password stays 401."""

        async def run() -> None:
            alice = await self.phone("alice", "wrong")
            self.assertEqual((await alice.register()).status, 401)

        return Deferred.fromCoroutine(run())

    def test_message(self) -> Any:
        """A message reaches the registered callee with the sender's asserted identity."""

        async def run() -> None:
            alice, bob = await self.phone("alice"), await self.phone("bob")
            await bob.register()
            response = await alice.message(f"sip:bob@{DOMAIN}", "hello")
            self.assertEqual(response.status, 200)
            (seen,) = bob.messages
            self.assertEqual(seen.body, b"hello")
            self.assertEqual(seen.first("P-Asserted-Identity"), f"<sip:alice@{DOMAIN}>")
            self.assertEqual(seen.first("P-Called-Party-ID"), f"<sip:bob@{DOMAIN}>")
            self.assertIsNone(seen.first("P-Charging-Vector"))
            self.assertIsNone(seen.first("Proxy-Authorization"))

        return Deferred.fromCoroutine(run())

    def test_nobody(self) -> Any:
        """Unknown users are 404, absent ones 480 (RFC 3261 §16.5)."""

        async def run() -> None:
            alice = await self.phone("alice")
            self.assertEqual((await alice.message(f"sip:nobody@{DOMAIN}", "x")).status, 404)
            self.assertEqual((await alice.message(f"sip:bob@{DOMAIN}", "x")).status, 480)

        return Deferred.fromCoroutine(run())
