"""omaim/core/commands.py: what an operator can tell a running core, with a real client."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from omaim.client import Client, Failure
from omaim.core.config import Config
from omaim.core.entity import build
from omaim.errors import UsageError
from omaim.net.network import ReactorNetwork
from omaim.node.config import NodeConfig
from omaim.node.node import Node
from omaim.node.people import make_user
from omaim.stores.memory import memory_stores

ALICE = "sip:alice@north.example"


class CommandsTests(TestCase):
    timeout = 30

    async def start(self) -> None:
        stores = memory_stores()
        self.node = Node(NodeConfig(state="memory:"), reactor, ReactorNetwork(reactor), stores)
        self.addCleanup(self.node.stopService)
        await stores.users.put(make_user("alice@north.example", "north.example", "pw", (ALICE,)))
        core = build(self.node, Config(listen=("udp:127.0.0.1:0", "tcp:127.0.0.1:0")), "core-north")
        core.setServiceParent(self.node)
        self.node.startService()
        await core.ready()
        self.server = core.endpoint.uri()

    def tell(self, command: str, **values: Any) -> Any:
        return self.node.control.run({"command": command, **values})

    def client(self, name: str, password: str) -> Client:
        client = Client(
            f"{name}@north.example",
            password,
            self.server,
            node=self.node,
            listen="127.0.0.1",
            name=name,
        )
        self.addCleanup(client.close)
        return client

    def contacts(self, aor: str) -> int:
        return len(self.node.stores.bindings.peek(aor).bindings)

    async def test_deregister(self) -> None:
        """Registrations end by order of the network, all or the one that is named (RFC 3680)."""
        await self.start()
        alice = self.client("alice", "pw")
        await alice.register()
        self.assertEqual(self.contacts(ALICE), 1)
        none = await self.tell("deregister", aor=ALICE, contact="sip:other@127.0.0.1")
        self.assertEqual((none["ended"], self.contacts(ALICE)), (0, 1))
        ended = await self.tell("deregister", aor="alice@north.example", event="rejected")
        self.assertEqual(ended, {"aor": ALICE, "ended": 1})
        self.assertEqual(self.contacts(ALICE), 0)

    async def test_add_and_remove(self) -> None:
        """Who is added can register at once; who is removed cannot, and is registered no more."""
        await self.start()
        added = await self.tell("add-user", aor="dora@north.example", password="dp")
        self.assertEqual(added["private"], "dora@north.example")
        dora = self.client("dora", "dp")
        await dora.register()
        removed = await self.tell("remove-user", aor="dora@north.example")
        self.assertEqual(removed["ended"], 1)
        self.assertEqual(self.contacts("sip:dora@north.example"), 0)
        with self.assertRaises(Failure):
            await self.client("dora", "dp").register()

    async def test_refused(self) -> None:
        """What makes no sense is refused in words, and nothing changes."""
        await self.start()
        for command, values, said in (
            ("deregister", {"aor": "bob@north.example"}, "nobody here"),
            ("deregister", {"aor": "alice@south.example"}, "not of north.example"),
            ("deregister", {"aor": ALICE, "event": "annoyed"}, "one of deactivated"),
            ("deregister", {"aor": ALICE, "event": "probation", "retry_after": "x"}, "number"),
            ("add-user", {"aor": ALICE, "password": "x"}, "exists already"),
            ("add-user", {"aor": "sip:", "password": "x"}, "no address"),
            ("add-user", {"aor": "sip:north.example", "password": "x"}, "not of north.example"),
            ("add-user", {"aor": "dora@north.example"}, "missing: password"),
            (
                "add-user",
                {"aor": "d@north.example", "password": "x", "private": "alice@north.example"},
                "is taken",
            ),
            ("remove-user", {"aor": "bob@north.example"}, "nobody here"),
        ):
            with self.assertRaisesRegex(UsageError, said):
                await self.tell(command, **values)
        self.assertEqual(self.node.stores.users.count(), 1)
