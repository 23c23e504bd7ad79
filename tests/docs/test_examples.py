"""The examples of the pages: Python runs, TOML configures, commands exist, links lead somewhere."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import click
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from omaim.cli.main import main
from omaim.node.config import NodeConfig, make_config
from omaim.node.entity import maker_of, makers
from omaim.node.hooks import Feature, IFeature, Refuse
from omaim.node.node import Node
from omaim.node.questions import MayPost
from omaim.roles.user_agent import UserAgent
from omaim.stores.memory import memory_stores
from omaim.testing.network import Clock, SimulatedNetwork

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    page
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
    if not {"changes", "_build"} & set(page.parts)
)
BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^ {4,}(?:[A-Z_]+=\S+ )*((?:\./run )?omaim .*|\./run .*)$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
RUNS = {"demo", "lab", "tests", "shell", "omaim"}


def blocks(language: str) -> Iterator[tuple[Path, str]]:
    """Yield the examples in one language, and their pages."""
    for page in PAGES:
        for indent, tongue, text in BLOCK.findall(page.read_text(encoding="utf-8")):
            if tongue == language:
                yield page, re.sub(f"^{indent}", "", text, flags=re.MULTILINE)


class ExampleTests(SynchronousTestCase):
    def test_python(self) -> None:
        """The Python of each page runs from top to bottom; nothing in it is a stub."""
        for page in PAGES:
            pieces = [text for where, text in blocks("python") if where == page]
            names: dict[str, Any] = {"__name__": "example"}
            for piece in pieces:
                with mock.patch("omaim.client.run"):
                    exec(compile(piece, str(page), "exec"), names)
        self.assertGreaterEqual(len(list(blocks("python"))), 8)

    def test_toml(self) -> None:
        """The tables of each TOML example are settings that exist."""
        checked = 0
        for page, text in blocks("toml"):
            contents = tomllib.loads(text)
            where = page.name
            if "node" in contents:
                make_config(NodeConfig, contents["node"], where)
                checked += 1
            for part in contents.get("entities", {}).values():
                settings = {
                    key: value for key, value in part.items() if key not in ("kind", "node")
                }
                make_config(NodeConfig, part.get("node", {}), where)
                if part["kind"] in {maker.name for maker in makers()}:
                    make_config(maker_of(part["kind"]).config(), settings, where)
                    checked += 1
        self.assertGreaterEqual(checked, 8)

    def test_commands(self) -> None:
        """Each command and option that a page names is there."""
        checked = 0
        for page in PAGES:
            for line in COMMAND.findall(page.read_text(encoding="utf-8")):
                words = shlex.split(line, comments=True)
                if words[0] == "./run":
                    self.assertIn(words[1], RUNS, page)
                    words = {"demo": ["omaim", "lab"], "omaim": []}.get(words[1], [""]) + words[1:]
                if words[0] == "omaim":
                    self.check_command(words[1:], f"{page.name}: {line}")
                    checked += 1
        self.assertGreaterEqual(checked, 10)

    def check_command(self, words: list[str], where: str) -> None:
        command: click.Command = main
        context = click.Context(command)
        while isinstance(command, click.Group):
            plain = [word for word in words if not word.startswith("-")]
            found = command.get_command(context, plain[0]) if plain else None
            if found is None and command.invoke_without_command:
                break
            if found is None and len(plain) > 1:  # the value of an option came first
                words = words[words.index(plain[0]) + 1 :]
                continue
            self.assertIsNotNone(found, where)
            assert found is not None
            command, words = found, words[words.index(plain[0]) + 1 :]
        known = {option for parameter in command.params for option in parameter.opts}
        used = {word.partition("=")[0] for word in words if word.startswith("-")}
        self.assertLessEqual(used, known, where)

    def test_links(self) -> None:
        """Links to files of the tree lead to one."""
        for page in PAGES:
            for target in LINK.findall(page.read_text(encoding="utf-8")):
                if "://" in target:
                    continue
                self.assertTrue((page.parent / target).exists(), f"{page.name}: {target}")

    def test_modules(self) -> None:
        """Modules that pages name exist."""
        named = set()
        for page in PAGES:
            named |= set(re.findall(r"\{module\}`([\w.]+)`", page.read_text(encoding="utf-8")))
        self.assertGreater(len(named), 40)
        for name in named:
            path = ROOT.joinpath(*name.split("."))
            self.assertTrue(path.with_suffix(".py").exists() or path.is_dir(), name)

    def test_newcomer(self) -> None:
        """The first feature of the page does what the page says."""
        names: dict[str, Any] = {}
        exec(
            next(text for page, text in blocks("python") if page.stem == "writing-a-feature"), names
        )
        quiet = names["quiet"]
        self.assertIsInstance(quiet, Feature)
        self.assertTrue(IFeature.providedBy(quiet))

        def ask(text: str) -> object:
            question = MayPost("a", "originating", "sip:a@a", (), "text/plain", text, len(text))
            return self.successResultOf(Deferred.fromCoroutine(quiet(question)))

        self.assertEqual(ask("HELLO"), Refuse(403, "No shouting"))
        self.assertIsNone(ask("Hello"))

    def test_entity(self) -> None:
        """The entity of the page accepts MESSAGE, refuses the rest, and stops."""
        names: dict[str, Any] = {"__name__": "example"}
        page = "writing-an-entity"
        exec(next(text for where, text in blocks("python") if where.stem == page), names)
        clock = Clock()
        network = SimulatedNetwork(clock, 1)
        node = Node(NodeConfig(state="memory:"), clock, network, memory_stores())
        entity = names["build"](node, names["Config"](listen="udp:127.0.3.1:5060"), "sink-1")
        entity.startService()
        self.successResultOf(entity.ready())
        self.assertEqual([place.name for place in node.directory.places()], ["sink-1"])
        peer = node.endpoint("peer")
        self.successResultOf(peer.listen("UDP", "127.0.3.2"))
        agent = UserAgent(peer, "sip:a@example.com")
        for method, status in (("MESSAGE", 200), ("INFO", 405)):
            sent = Deferred.fromCoroutine(agent.request(agent.make(method, "sip:127.0.3.1:5060")))
            clock.pump([0.1] * 10)
            self.assertEqual(self.successResultOf(sent).status, status)
        for stopping in (entity.stopService(), peer.stop()):
            clock.pump([1.0] * 10)
            self.successResultOf(stopping)
