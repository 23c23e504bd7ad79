"""omaim/node/control.py, commands.py and omaim/net/local.py: commands to a running node."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from omaim.errors import OmaimError, Unavailable, UsageError
from omaim.net.local import LONGEST, ask
from omaim.net.network import ReactorNetwork
from omaim.node.config import NodeConfig
from omaim.node.control import Control, listen_for_control
from omaim.node.node import Node
from omaim.node.people import make_user
from omaim.sip.bindings import Binding
from omaim.stores.memory import memory_stores
from omaim.stores.records import DeferredMessage


class ControlTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.control = Control()
        self.did: list[Any] = []

    def run_one(self, **request: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(self.control.run(request)))

    def refused(self, **request: Any) -> str:
        asked = Deferred.fromCoroutine(self.control.run(request))
        return str(self.failureResultOf(asked, UsageError).value)

    def add(self, entity: str = "", domain: str = "", act: Any = None) -> None:
        def note(aor: str, count: int = 1) -> str:
            self.did.append((entity, aor, count))
            return "done"

        self.control.add(
            "count",
            act or note,
            "count",
            entity=entity,
            domain=domain,
            values=("count",),
            needs=("aor",),
        )

    def test_runs(self) -> None:
        """A command gets its values by name."""
        self.add()
        self.assertEqual(self.run_one(command="count", aor="sip:a@b", count=2), "done")
        self.assertEqual(self.did, [("", "sip:a@b", 2)])

    def test_results(self) -> None:
        """A command may return a value, a Deferred or a coroutine."""

        async def later(aor: str) -> str:
            return aor

        for act in (lambda aor: aor, lambda aor: succeed(aor), later):
            self.control = Control()
            self.add(act=act)
            self.assertEqual(self.run_one(command="count", aor="x"), "x")

    def test_which_entity(self) -> None:
        """Of several entities, the domain of the address tells which; or its name."""
        self.add("core-north", "north.example")
        self.add("core-south", "south.example")
        self.run_one(command="count", aor="sip:x@South.example")
        self.run_one(command="count", aor="sip:x@south.example", entity="core-north")
        self.assertEqual([entity for entity, _, _ in self.did], ["core-south", "core-north"])
        said = self.refused(command="count", aor="sip:x@east.example")
        self.assertIn("core-north, core-south", said)
        self.assertIn("entity", self.refused(command="count", aor="x", entity="core-east"))

    def test_refused(self) -> None:
        """What is unknown, missing or too much is said, and nothing is done."""
        self.add()
        self.assertIn("there are: count", self.refused(command="nothing"))
        self.assertIn("there are: count", self.refused())
        self.assertIn("missing: aor", self.refused(command="count"))
        self.assertIn("takes", self.refused(command="count", aor="x", more=1))
        self.assertIn("aor", self.refused(command="count", aor={"a": 1}))
        self.assertEqual(self.did, [])

    @given(
        request=st.dictionaries(
            st.sampled_from(["command", "aor", "entity", "count", "x"]),
            st.none() | st.booleans() | st.text(max_size=5) | st.lists(st.integers(), max_size=2),
        )
    )
    def test_junk(self, request: dict[str, Any]) -> None:
        """Whatever is asked, the answer is a result or an error of ours."""
        self.control = Control()
        self.add()
        asked = Deferred.fromCoroutine(self.control.run(request))
        results: list[Any] = []
        asked.addErrback(lambda failure: failure.trap(OmaimError)).addBoth(results.append)
        self.assertEqual(len(results), 1)


class SocketTests(TestCase):
    """A node with a control socket on the real reactor."""

    def setUp(self) -> Any:
        # trial's own folders are too deep for the path of a socket
        self.folder = tempfile.mkdtemp(prefix="omaim-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.path = os.path.join(self.folder, "control")
        self.stores = memory_stores()
        config = NodeConfig(name="test", state="memory:")
        self.node = Node(config, reactor, ReactorNetwork(reactor), self.stores)
        listen_for_control(self.node, self.path)
        self.node.startService()
        self.addCleanup(self.node.stopService)
        user = make_user("alice@north.example", "north.example", "pw", ("sip:alice@north.example",))
        return self.stores.users.put(user)

    def ask(self, command: str, **values: Any) -> Any:
        return deferToThread(ask, self.path, command, 5.0, **values)

    async def test_status(self) -> None:
        """A node tells how it is; it is ready when its entities are."""
        status = await self.ask("status")
        self.assertEqual((status["name"], status["ready"]), ("test", False))
        await self.node.ready()
        self.assertTrue((await self.ask("status"))["ready"])

    async def test_users(self) -> None:
        """It lists its users and where they are, and never a credential."""
        aor = "sip:alice@north.example"
        now = self.node.clock.seconds()
        binding = Binding(aor, "sip:alice@127.0.0.1:5062", "call", 1, now + 60)
        await self.stores.bindings.replace(aor, 0, [binding])
        (user,) = (await self.ask("users"))["users"]
        self.assertEqual(user["private"], "alice@north.example")
        self.assertEqual(user["contacts"], ["sip:alice@127.0.0.1:5062"])
        found = await self.ask("user", aor="alice@north.example")
        self.assertEqual(found["bindings"][0]["contact"], "sip:alice@127.0.0.1:5062")
        self.assertEqual(found["waiting"], {"messages": 0, "octets": 0})
        self.assertNotIn("ha1", json.dumps([user, found]))

    async def test_waiting(self) -> None:
        """It tells how much waits for somebody, but not what."""
        now = self.node.clock.seconds()
        aor = "sip:alice@north.example"
        message = DeferredMessage(aor, "r", "sip:b@c", "m", "text/plain", b"secret!", now, now + 60)
        await self.stores.deferred.add(message)
        found = await self.ask("user", aor=aor)
        self.assertEqual(found["waiting"]["messages"], 1)
        self.assertNotIn("secret!", json.dumps(found))

    async def test_refused(self) -> None:
        """An error of the other side is raised here, in its words."""
        with self.assertRaisesRegex(UsageError, "nobody here"):
            await self.ask("user", aor="nobody@north.example")
        with self.assertRaisesRegex(UsageError, "no address"):
            await self.ask("user", aor="sip:")

    async def test_broken(self) -> None:
        """A command that crashes is answered without its inside, and logged."""

        def crash() -> None:
            raise RuntimeError("inside")

        self.node.control.add("crash", crash, "crash")
        with self.assertRaisesRegex(UsageError, "the log says why") as caught:
            await self.ask("crash")
        self.assertNotIn("inside", str(caught.exception))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def raw(self, data: bytes) -> Any:
        def talk() -> bytes:
            with socket.socket(socket.AF_UNIX) as line:
                line.settimeout(5)
                line.connect(self.path)
                try:
                    line.sendall(data)
                    return line.recv(65536)
                except (BrokenPipeError, ConnectionResetError):
                    return b""

        return deferToThread(talk)

    async def test_junk(self) -> None:
        """What is no request is said so; a line without end is cut off."""
        for junk in (b"\n", b"{]\n", b"[1]\n", b"[" * 60000 + b"\n", b"\xff\xfe\n"):
            self.assertIn(b"one JSON object", await self.raw(junk))
        self.assertEqual(await self.raw(b"x" * (LONGEST + 1000)), b"")

    async def test_private(self) -> None:
        """Only the owner may connect."""
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)

    async def test_left_behind(self) -> None:
        """A socket that a dead process left is taken over; a live one is not."""
        left = os.path.join(self.folder, "left")
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(left)
        listen_for_control(self.node, left)
        self.assertIn("status", str(await deferToThread(ask, left, "help", 5.0)))
        error = self.assertRaises(Unavailable, listen_for_control, self.node, left)
        self.assertIn("already", str(error))

    async def test_cannot(self) -> None:
        """A path that cannot be had is named: a file, too long, nowhere."""
        plain = os.path.join(self.folder, "file")
        with open(plain, "w", encoding="utf-8"):
            pass
        for path in (plain, os.path.join(self.folder, "x" * 120), "/nowhere/x"):
            error = self.assertRaises(Unavailable, listen_for_control, self.node, path)
            self.assertIn(path, str(error))
        self.assertTrue(os.path.exists(plain))

    async def test_nobody_there(self) -> None:
        """Asking where nobody listens says so."""
        with self.assertRaisesRegex(Unavailable, "is it running"):
            ask("/nowhere/x", "status")
