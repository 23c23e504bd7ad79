"""omaim lab split: the same network as processes of their own, and the demo on it."""

from __future__ import annotations

import datetime
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import attrs
from click.testing import CliRunner
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from omaim.bodies.deferred_list import Waiting
from omaim.cli.main import main
from omaim.cli.screens import called
from omaim.errors import Unavailable
from omaim.lab.processes import Processes
from omaim.lab.topology import Plan, split
from omaim.net.local import ask
from omaim.node.config import read_file
from omaim.testing.scenario import ScenarioNetwork, same
from omaim.testing.stages import Split
from tests.lab.support import Running, free_base, omaim, short_folder
from tests.scenarios.delivery import told_and_fetched

NOW = datetime.datetime.now(datetime.UTC)


def is_ready(control: str) -> bool:
    """Tell whether the process behind a control socket is of use."""
    try:
        return bool(ask(control, "status", 2.0)["ready"])
    except Unavailable:
        return False


def told(*arguments: str) -> str:
    """Run a command that needs no reactor; return what it said."""
    result = CliRunner().invoke(main, arguments)
    return result.output if result.exit_code == 0 else f"status {result.exit_code}"


class SplitTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = short_folder(self)
        self.base = free_base()

    def test_network(self) -> None:
        """The script starts seven processes, the demo plays on them, their traces make one ladder,
        users are listed and deregistered by command, and the script's end is that of all."""
        folder = str(self.folder / "network")
        said = told("lab", "split", folder, "--base", self.base)
        topology = f"{folder}/network.toml"
        for kind, name in (
            *(("core", "core-north"), ("im", "im-south"), ("dns", "dns")),
            ("relay", "relay-south"),
        ):
            line = f"{called('twistd')} --nodaemon --pidfile= omaim-{kind} --config {topology}"
            self.assertIn(f"{line} --name {name}\n", said)
        script = Running(["sh", f"{folder}/start.sh"], self.folder)
        self.addCleanup(script.end)
        self.addCleanup(script.terminate)
        parts = read_file(topology)["entities"]
        sockets = [part["node"]["control"] for part in parts.values()]
        self.assertTrue(script.until(lambda: all(map(is_ready, sockets))), script.output)

        outcome = f"{folder}/demo.json"
        played = omaim("lab", "demo", "--against", topology, "--json", outcome)
        self.assertEqual(played.returncode, 0, played.stdout + played.stderr)
        found = json.loads(Path(outcome).read_text())
        self.assertTrue(found["passed"])
        points = {one["point"] for step in found["steps"] for one in step["messages"]}
        self.assertLessEqual({"IM-1", "IM-2", "IP-1", "IM-7", "IM-8", "IM-9"}, points)

        traces = [f"{folder}/{name}.jsonl" for name in parts if name != "dns"]
        drawn = told("ladder", *traces, "--only", "Hello from the north!")
        for word in ("alice", "core-north", "im-south", "xenia", "IM-1", "IM-2", "IP-1"):
            self.assertIn(word, drawn)
        users = ("user", "--config", topology)
        self.assertEqual(told(*users, "list").count("\n"), 6)
        self.assertIn("0 registrations ended", told(*users, "deregister", "xenia@south.example"))
        self.assertEqual(told(*users, "show", "nobody@south.example"), "status 1")

        self.assertEqual(script.terminate(), 0)
        self.assertFalse(any(map(is_ready, sockets)))
        for name in parts:
            log = Path(folder, f"{name}.log").read_text()
            self.assertIn(f"{name} has stopped", log)
            self.assertNotIn("Traceback", log)
            self.assertNotIn("-secret", log)

    def test_processes(self) -> None:
        """A process is ready when start returns, can be killed and started again, and ends."""
        split(Plan(self.folder, self.base), NOW)
        processes = Processes(self.folder / "network.toml", names=("core-north",))
        self.addCleanup(processes.stop)
        processes.start()
        control = str(self.folder / "core-north.sock")
        self.assertTrue(is_ready(control))
        processes.kill("core-north")
        self.assertFalse(is_ready(control))
        processes.start()
        self.assertTrue(is_ready(control))
        processes.stop()
        self.assertFalse(is_ready(control))

    def test_address_taken(self) -> None:
        """A process whose address is in use ends with status 1, and the reason is told."""
        split(Plan(self.folder, self.base), NOW)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind((f"{self.base}.1.1", 5060))
            processes = Processes(self.folder / "network.toml", names=("core-north",))
            error = self.assertRaises(Unavailable, processes.start)
        self.assertIn("core-north ended with status 1", str(error))
        self.assertIn(f"{self.base}.1.1", str(error))
        self.assertEqual(processes.children, {})


class NotifyTests(TestCase):
    """A split lab whose users are told what waits for them, instead of getting it."""

    timeout = 120

    def test_notify(self) -> Deferred[None]:
        """The list comes, what is asked for is delivered or deleted; and the IM Server still
        knows what waits, and who watches it, when it was killed and started again."""
        stage = Split(reactor, {"im-south": {"delivery": "notify"}})
        self.addCleanup(stage.close)
        stage.start()

        async def play() -> None:
            outcome = await stage.play(told_and_fetched)
            self.assertTrue(outcome.passed, outcome.why)
            outcome = await stage.play(attrs.evolve(told_and_fetched, play=told_after_a_death))
            self.assertTrue(outcome.passed, outcome.why)

        async def told_after_a_death(net: ScenarioNetwork) -> None:
            alice = await net.online("alice")
            await alice.send("sip:zoe@south.example", "one", reports=())
            lists: list[tuple[Waiting, ...]] = []
            zoe = net.client("zoe")
            zoe.on_waiting(lists.append)
            await zoe.register()
            await net.until(lambda: lists, "a list of what waits")
            watched = zoe.deferred.watch(lists.append)
            await net.until(lambda: len(lists) > 1, "the list that is watched")
            stage.processes.kill("im-south")
            stage.processes.start()
            seen = len(lists)
            await net.until(lambda: len(lists) > seen, "the list after the death", within=15.0)
            same(len(lists[-1]), 1, "what waits")
            await zoe.deferred.retrieve()
            same((await net.message(zoe)).text, "one", "what zoe gets")
            await net.until(lambda: not lists[-1], "the change", within=15.0)
            await watched.stop()

        return Deferred.fromCoroutine(play())


class TwistdTests(SynchronousTestCase):
    """twistd itself, with the plugins."""

    def twistd(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        return subprocess.run(
            [*command, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=environment,
        )

    def test_help(self) -> None:
        """twistd lists the entities; each tells of its settings."""
        listed = self.twistd("--help").stdout
        for kind in ("core", "im", "relay", "client", "lab", "dns"):
            self.assertIn(f"omaim-{kind}", listed)
        told = self.twistd("omaim-core", "--help").stdout
        for word in ("--domain", "--listen", "--config", "--log-format", "topology"):
            self.assertIn(word, told)

    def test_lab(self) -> None:
        """twistd omaim-lab runs the whole network, with a log that programs read."""
        folder, base = short_folder(self), free_base()
        control, log = str(folder / "control"), folder / "log"
        lab = Running(
            [
                *(sys.executable, "-c", "from twisted.scripts.twistd import run; run()"),
                *("--nodaemon", "--pidfile=", "omaim-lab", f"--base={base}", "--state=memory:"),
                *(f"--control={control}", "--log-format=json", f"--log-file={log}"),
            ],
            folder,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        self.addCleanup(lab.end)

        self.assertTrue(lab.until(lambda: is_ready(control)), lab.output)
        users = ask(control, "users")["users"]
        self.assertEqual(len(users), 6)
        added = ask(control, "add-user", aor="sip:dora@north.example", password="dora-secret")
        self.assertEqual(added["private"], "dora@north.example")
        lab.interrupt()
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        words = [line["message"] for line in lines]
        self.assertIn("lab is ready", words)
        self.assertEqual(words[-1], "lab has stopped")
        self.assertNotIn("-secret", log.read_text())
        self.assertEqual(lab.output, "")
