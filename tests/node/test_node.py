"""omaim/node/node.py and entity.py: one process's beginning and end, and its command line."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any

import attrs
from twisted.application.service import Application, IServiceMaker, Service
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import ILogObserver
from twisted.plugin import IPlugin
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from omaim.errors import Unavailable, UsageError
from omaim.net.network import ReactorNetwork
from omaim.net.wire import OUT, WireRecord
from omaim.node import node as node_module
from omaim.node.config import NodeConfig, setting
from omaim.node.directory import Place
from omaim.node.entity import (
    EntityMaker,
    IEntity,
    IEntityMaker,
    _configs,
    _log_of,
    maker_of,
    makers,
)
from omaim.node.events import UserRegistered
from omaim.node.hooks import Refuse
from omaim.node.node import Node, lazy_dns, node_service, open_node, tls_settings
from omaim.node.questions import MayPost
from omaim.node.trace import read_trace
from omaim.stores.memory import memory_stores


@attrs.frozen
class Config:
    """Settings of an echo."""

    listen: str = setting("udp:5070", "where SIP arrives")
    names: tuple[str, ...] = setting((), "names it answers to")


@implementer(IEntity)
class Echo(Service):
    """An entity that does nothing but start and stop."""

    def __init__(self, node: Node, config: Config, name: str) -> None:
        self.node, self.config, self.name = node, config, name
        self.failing = ""

    def ready(self) -> Deferred[None]:
        return fail(Unavailable(self.failing)) if self.failing else succeed(None)


def build(node: Node, config: Config, name: str) -> Echo:
    return Echo(node, config, name)


ECHO = EntityMaker("echo", "tests.node.test_node", "Answers each MESSAGE.")


def make_node(**settings: Any) -> Node:
    config = NodeConfig(state="memory:", **settings)
    return Node(config, Clock(), ReactorNetwork(reactor), memory_stores())


class NodeTests(SynchronousTestCase):
    def test_entities(self) -> None:
        """Entities start and stop with their node, and are found by name."""
        node = make_node()
        echo = node.add("echo-1", ECHO, Config())
        self.assertTrue(verifyObject(IEntity, echo))
        node.startService()
        self.assertTrue(echo.running)
        self.successResultOf(node.ready())
        self.assertTrue(node.is_ready)
        self.assertIs(node.entities["echo-1"], echo)
        self.successResultOf(node.stopService())
        self.assertFalse(echo.running)

    def test_not_ready(self) -> None:
        """The first reason why an entity is not of use is what people get to hear."""
        node = make_node()
        node.add("good", ECHO, Config())
        echo: Any = node.add("bad", ECHO, Config())
        echo.failing = "the address is taken"
        failure = self.failureResultOf(node.ready(), Unavailable)
        self.assertEqual(str(failure.value), "the address is taken")
        self.assertFalse(node.is_ready)

    def test_trace(self) -> None:
        """A node that is told to writes every message and place to a file, until it stops."""
        path = self.mktemp()
        node = make_node(trace=path)
        node.directory.note(Place("core", "core", "127.0.0.1", 5060))
        record = WireRecord(1.0, "core", OUT, "SIP", "UDP", ("::1", 1), ("::1", 2), b"x")
        look = node.wire.record
        assert look is not None
        look(record)
        self.successResultOf(node.stopService())
        look(record)
        self.assertEqual(read_trace(path), [record])

    def test_msrp(self) -> None:
        """An entity gets an MSRP endpoint that shares the node's clock and watchers."""
        node = make_node()
        endpoint = node.msrp("im")
        self.assertIs(node.msrp_endpoints["im"], endpoint)
        self.assertEqual((endpoint.name, endpoint.wire), ("im", node.wire))

    def test_stops(self) -> None:
        """What is to be done at the end is done once, after the entities have stopped."""
        node = make_node()
        echo = node.add("echo", ECHO, Config())
        node.startService()
        seen: list[bool] = []
        node.on_stop(lambda: seen.append(bool(echo.running)))
        self.successResultOf(node.stopService())
        self.successResultOf(node.stopService())
        self.assertEqual(seen, [False])

    def test_features(self) -> None:
        """Features are attached by name, with their settings."""
        node = make_node(
            features=("wordfilter",), feature_settings={"wordfilter": {"words": ["spam"]}}
        )
        question = MayPost(
            "north.example", "originating", "sip:a@b", ("sip:c@d",), "text/plain", "spam", 4
        )
        asked = Deferred.fromCoroutine(node.hooks.ask(question))
        self.assertIsInstance(self.successResultOf(asked), Refuse)

    def test_no_feature(self) -> None:
        """A feature that is not there, or is set wrongly, is said so."""
        error = self.assertRaises(UsageError, make_node, features=("nothing",))
        self.assertIn("installed: ", str(error))
        error = self.assertRaises(
            UsageError,
            make_node,
            features=("wordfilter",),
            feature_settings={"wordfilter": {"word": ["x"]}},
        )
        self.assertIn("did you mean words?", str(error))

    def test_lazy_dns(self) -> None:
        """Nothing looks at the system's name servers until a name is asked for."""
        made: list[object] = []

        class Watched:
            def __init__(self, clock: object, servers: object) -> None:
                made.append(servers)

            def ask(self, name: str, kind: str) -> Deferred[Any]:
                return succeed((name, kind))

        self.patch(node_module, "Dns", Watched)
        ask = lazy_dns(Clock(), [("127.0.0.1", 53)])
        make_node().ask_dns([])
        self.assertEqual(made, [])
        self.assertEqual(self.successResultOf(ask("a.example", "A")), ("a.example", "A"))
        ask("b.example", "A")
        self.assertEqual(made, [[("127.0.0.1", 53)]])

    def test_tls(self) -> None:
        """No certificate is no TLS; one that cannot be read is named."""
        self.assertIsNone(tls_settings("", ""))
        error = self.assertRaises(UsageError, tls_settings, "/nowhere/x.pem", "")
        self.assertIn("/nowhere/x.pem", str(error))


class OpenTests(TestCase):
    async def test_open(self) -> None:
        """A node on the real network has what its configuration says."""
        path = self.mktemp()
        node = await open_node(NodeConfig(state=f"sqlite:///{path}"), reactor)
        node.startService()
        heard: list[object] = []
        node.taps.add(UserRegistered, heard.append)
        event = UserRegistered(at=0.0, entity="x", aor="sip:a@b", contacts=(), initial=True)
        node.taps.publish(event)
        self.assertEqual(heard, [event])
        await node.stopService()
        self.assertTrue(os.path.exists(str(path)))

    async def test_cannot(self) -> None:
        """A node that cannot have its trace file leaves nothing open."""
        path = os.path.abspath(self.mktemp())
        config = NodeConfig(state=f"sqlite:///{path}", trace="/nowhere/x")
        with self.assertRaises(UsageError):
            await open_node(config, reactor)
        await (await open_node(attrs.evolve(config, trace=""), reactor)).stopService()


class MakerTests(SynchronousTestCase):
    def parse(self, *arguments: str) -> usage.Options:
        options = ECHO.options()
        options.parseOptions(arguments)
        return options

    def refused(self, *arguments: str) -> str:
        said, sys.stderr = sys.stderr, io.StringIO()
        try:
            error = self.assertRaises(SystemExit, ECHO.makeService, self.parse(*arguments))
            text = sys.stderr.getvalue()
        finally:
            sys.stderr = said
        self.assertEqual(error.code, 1)
        self.assertEqual(text.count("\n"), 1)
        return text

    def write(self, text: str) -> str:
        path = Path(self.mktemp())
        path.write_text(text)
        return str(path)

    def test_plugin(self) -> None:
        """One declaration is plugin, service maker and entity maker."""
        for interface in (IPlugin, IServiceMaker, IEntityMaker):
            self.assertTrue(verifyObject(interface, ECHO))
        self.assertEqual(ECHO.tapname, "omaim-echo")

    def test_found(self) -> None:
        """Discovery finds the entities of omaim; an unknown kind is answered with those."""
        names = {maker.name for maker in makers()}
        self.assertLessEqual({"core", "im", "client", "lab", "dns"}, names)
        self.assertEqual(maker_of("core").name, "core")
        self.assertIn("core", str(self.assertRaises(UsageError, maker_of, "nothing")))

    def test_help(self) -> None:
        """The help names every setting of the entity and of the node, and its default."""
        text = str(ECHO.options())
        for part in ("--listen", "udp:5070", "--state", "--trace", "--config", "--name", "none"):
            self.assertIn(part, text)

    def test_every_entity(self) -> None:
        """Each of omaim's own entities has a help, and its defaults make a configuration."""
        for maker in makers():
            self.assertIn("--config", str(maker.options()))  # type: ignore[attr-defined]
            maker.config()()

    def test_order(self) -> None:
        """The command line counts before the part of the file, and that before defaults."""
        path = self.write(
            '[node]\nstate = "memory:"\n[entities.one]\nkind = "echo"\nlisten = "udp:1"\n'
            'names = ["a"]\n'
        )
        options = self.parse("--config", path, "--name", "one", "--listen", "udp:2")
        node, config = _configs(ECHO, options)
        self.assertEqual(config, Config("udp:2", ("a",)))
        self.assertEqual((node.name, node.state), ("one", "memory:"))

    def test_keeps_nothing(self) -> None:
        """What keeps no state leaves no file where it is started, unless it is told to."""
        maker = maker_of("client")
        assert isinstance(maker, EntityMaker)
        self.assertIn("[default: memory:]", " ".join(str(maker.options()).split()))
        path = self.write('[entities.one]\nkind = "client"\n')
        for arguments, state in (
            ((), "memory:"),
            (("--config", path, "--name", "one"), "memory:"),
            (("--state", "sqlite:///one.db"), "sqlite:///one.db"),
        ):
            options = maker.options()
            options.parseOptions(list(arguments))
            self.assertEqual(_configs(maker, options)[0].state, state)
        self.assertEqual(_configs(ECHO, self.parse())[0].state, "sqlite:///omaim.db")

    def test_refused(self) -> None:
        """What is wrong ends twistd with one line, not with a traceback."""
        path = self.write('[entities.one]\nkind = "core"\n')
        self.assertIn("twistd omaim-core", self.refused("--config", path, "--name", "one"))
        self.assertIn("there are: one", self.refused("--config", path, "--name", "two"))
        self.assertIn("/nowhere", self.refused("--config", "/nowhere"))
        self.assertIn("text or json", self.refused("--log-format", "xml"))

    def test_log(self) -> None:
        """Our log goes to terminals, to what the configuration names and to programs; the rest
        is twistd's, whose options count."""
        for twistd, settings, ours in (
            ({"nodaemon": 1}, {}, True),
            ({"nodaemon": 1, "logfile": "-"}, {}, True),
            ({"nodaemon": 1, "logfile": "x"}, {}, False),
            ({}, {}, False),
            ({"nodaemon": 1, "syslog": 1}, {}, False),
            ({"logger": "x"}, {"log_format": "json"}, False),
            ({"nodaemon": 1, "logfile": self.mktemp()}, {"log_format": "json"}, True),
            ({}, {"log_file": self.mktemp()}, True),
        ):
            log = _log_of(NodeConfig(**settings), twistd)
            self.assertEqual(log is not None, ours, (twistd, settings))
            for path in (twistd.get("logfile"), settings.get("log_file")):
                if ours and path and path != "-":
                    self.assertTrue(os.path.exists(str(path)))
            application = Application("omaim-echo")
            node_service(NodeConfig(), [], log).setServiceParent(application)
            self.assertIs(application.getComponent(ILogObserver), log)
