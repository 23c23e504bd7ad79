"""omaim lab, omaim lab demo and omaim user, as people run them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from unittest import SkipTest

import click
from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from omaim.cli.main import main
from omaim.cli.screens import called, lab_screen, show_step, verdict
from omaim.cli.user import sockets
from omaim.errors import UsageError
from omaim.features.ladder import Ladder
from omaim.lab.demo import STEPS
from omaim.lab.scene import Check, Played
from omaim.lab.topology import Plan
from tests.lab.support import Running, free_base, omaim, short_folder


def told(*arguments: str, **environment: str) -> str:
    """Run a command that needs no reactor; return what it said."""
    result = CliRunner().invoke(main, arguments, env=environment)
    return result.output if result.exit_code == 0 else f"status {result.exit_code}: {result.output}"


@cache
def demo() -> tuple[str, subprocess.CompletedProcess[str]]:
    """Play the demo, once for all tests; return where its files are, and what it said."""
    made = os.path.abspath("demo")
    played = omaim(
        *("lab", "demo", "--base", free_base(), "--html", f"{made}.html", "--svg", f"{made}.svg"),
        *("--pcap", f"{made}.pcapng", "--json", f"{made}.json"),
    )
    return made, played


class LabTests(SynchronousTestCase):
    def test_lab(self) -> None:
        """The lab tells within seconds how to use it; a message is sent by the line it shows, its
        users are shown and changed; a second lab there says why not; Ctrl-C ends it, and
        nothing of it is left."""
        folder, base = short_folder(self), free_base()
        environment = {**os.environ, "XDG_RUNTIME_DIR": str(folder), "TMPDIR": str(folder)}
        environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        lab = Running(
            [sys.executable, "-m", "omaim.cli.main", "lab", "--base", base],
            folder,
            env=environment,
        )
        self.addCleanup(lab.end)
        self.assertTrue(lab.until(lambda: "Ctrl-C ends the lab" in lab.output, 20.0), lab.output)
        screen = lab.output
        ready = re.search(r"The lab is ready \((\d+\.\d) s\)", screen)
        assert ready is not None, screen
        self.assertLess(float(ready[1]), 5.0)
        for line in (
            f"core {base}.1.1",
            "alice-secret",
            "sip:zoe@south.example",
            "omaim client alice",
        ):
            self.assertIn(line, screen)
        self.assertNotIn("starting on", screen)
        lines = [line for line in screen.splitlines() if str(folder) not in line]
        self.assertLessEqual(max(map(len, lines)), 100)

        told_it = omaim(
            *("say", "bob@north.example", "xenia@south.example", "Hello"),
            *("-s", f"{base}.1.1", "--wait", "0.1"),
            env={**os.environ, "OMAIM_PASSWORD": "bob-secret"},
        )
        self.assertIn("pending", told_it.stdout)
        (control,) = folder.glob("omaim/*.sock")
        self._user(str(control))
        (trace,) = folder.glob("omaim-lab-*/trace.jsonl")
        self.assertIn("MESSAGE bob→xenia", told("ladder", str(trace)))

        again = omaim("lab", "--base", base)
        self.assertEqual(again.returncode, 1)
        self.assertIn(f"{base}.0.10:5300", again.stderr)
        self.assertEqual([line for line in again.stderr.splitlines() if "Traceback" in line], [])

        self.assertEqual(lab.interrupt(), 0)
        self.assertNotIn("Traceback", lab.output)
        self.assertEqual([path.name for path in folder.glob("omaim-lab-*")], [])
        self.assertFalse(control.exists())

    def _user(self, control: str) -> None:
        user = ("user", "--control", control)
        self.assertEqual(told(*user, "list").count("away"), 6)
        self.assertIn("waiting    1 messages", told(*user, "show", "xenia@south.example"))
        self.assertIn(
            "dora@north.example was added",
            told(*user, "add", "dora@north.example", OMAIM_PASSWORD="dora-secret"),
        )
        self.assertIn(
            "exists already", told(*user, "add", "dora@north.example", OMAIM_PASSWORD="x")
        )
        self.assertIn("not registered", told(*user, "show", "sip:dora@north.example"))
        self.assertIn("was removed", told(*user, "remove", "dora@north.example"))
        self.assertIn("nobody here", told(*user, "remove", "dora@north.example"))
        self.assertIn("0 registrations", told(*user, "deregister", "alice@north.example"))
        self.assertIn("say which", told(*user, "deregister", "alice@east.example"))

    def test_demo(self) -> None:
        """The demo passes, in plain text where nobody sees colours, and writes its files."""
        made, played = demo()
        self.assertEqual(played.returncode, 0, played.stdout + played.stderr)
        self.assertIn("checks passed.", played.stdout)
        self.assertNotIn("\x1b", played.stdout)
        self.assertNotIn("-secret", played.stdout)
        self.assertLessEqual(max(map(len, played.stdout.splitlines())), 100)
        found = json.loads(Path(f"{made}.json").read_text())
        self.assertTrue(found["passed"])
        self.assertEqual(len(found["steps"]), len(STEPS))
        self.assertIn("Hello from the north!", Path(f"{made}.html").read_text())

    def test_capture(self) -> None:
        """tshark reads every message of the demo as SIP or MSRP, and finds nothing wrong."""
        tshark = shutil.which("tshark")
        if tshark is None:
            raise SkipTest("NOT RUN: tshark is not installed, so the demo was not dissected")
        made, played = demo()
        self.assertEqual(played.returncode, 0, played.stdout)

        def found(filter: str, *fields: str) -> list[str]:
            command = [tshark, "-n", "-r", f"{made}.pcapng", "-Y", filter, "-T", "fields"]
            for field in fields:
                command += ["-e", field]
            ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
            return ran.stdout.splitlines()

        told = json.loads(Path(f"{made}.json").read_text())["steps"]
        drawn = [one for step in told for one in step["messages"]]
        sip = found("sip", "sip.Method")
        self.assertLessEqual({"REGISTER", "MESSAGE", "INVITE", "BYE", "REFER", "NOTIFY"}, set(sip))
        self.assertGreaterEqual(len(sip), sum(1 for one in drawn if one["protocol"] == "SIP"))
        msrp = found("msrp", "msrp.method", "msrp.status.code")
        self.assertLessEqual({"SEND\t", "REPORT\t", "NICKNAME\t", "\t200"}, set(msrp))
        self.assertGreaterEqual(len(msrp), sum(1 for one in drawn if one["protocol"] == "MSRP"))
        for point in ("IM-7", "IM-8", "IM-9"):
            self.assertTrue(found(f'msrp and frame.comment contains "{point}"', "frame.number"))
        self.assertEqual(found("_ws.malformed or tcp.analysis.flags", "frame.number"), [])

    def test_against_nothing(self) -> None:
        """A network that is not there: one line for a missing file, failed checks otherwise."""
        missing = omaim("lab", "demo", "--against", "/nowhere.toml")
        self.assertEqual((missing.returncode, missing.stderr.count("\n")), (1, 1))


class ScreenTests(SynchronousTestCase):
    def test_ports(self) -> None:
        """Lines to copy name the port when it is not the usual one."""
        plan = Plan(Path("/x"), "127.9", 15060, 15300)
        screen = lab_screen(plan, 0.5, True, "", "/x/control")
        for line in ("-s 127.9.1.1:15060", "tls 15061", "--control /x/control", "the folder stays"):
            self.assertIn(line, screen)
        self.assertIn("MSRP 2855", screen)
        plan = Plan(Path("/x"), msrp_port=2855)
        self.assertIn("MSRP 2855", lab_screen(plan, 0.5, True, "", ""))

    def test_called(self) -> None:
        """Commands are named so that they can be copied, found by the shell or not."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "omaim").touch(mode=0o755)
        self.patch(sys, "executable", str(folder / "python"))
        self.patch(os, "environ", {"PATH": str(folder)})
        self.assertEqual(called("omaim"), "omaim")
        self.patch(os, "environ", {"PATH": "/nowhere"})
        self.assertEqual(called("omaim"), f"{folder}/omaim")
        self.assertEqual(called("twistd"), "twistd")

    def test_verdict(self) -> None:
        """A failed check shows what was seen instead, and fails the whole."""
        good = Played("A title", "A story.", Ladder((), ()), (Check("is so", True),))
        bad = Played("Another", "A story.", Ladder((), ()), (Check("is not", False, "seen this"),))
        outcomes = []

        @click.command()
        def command() -> None:
            show_step(1, bad)
            outcomes.append([verdict([good]), verdict([good, bad]), verdict([])])

        result = CliRunner().invoke(command)
        self.assertEqual(outcomes, [[True, False, False]], result.output)
        self.assertIn("✗ is not: seen this", result.output)
        self.assertIn("1 of 2 checks failed", result.output)


class UserTests(SynchronousTestCase):
    def test_sockets(self) -> None:
        """Where commands go: what is named, the cores of a topology, or the lab."""
        self.assertEqual(sockets("/a", None), {"": "/a"})
        path = self.mktemp()
        Path(path).write_text(
            '[node]\ncontrol = "/shared"\n[entities.a]\nkind = "core"\ndomain = "a.example"\n'
            '[entities.b]\nkind = "core"\ndomain = "b.example"\n[entities.b.node]\ncontrol = "/b"\n'
            '[entities.c]\nkind = "im"\n'
        )
        self.assertEqual(sockets(None, path), {"a.example": "/shared", "b.example": "/b"})
        Path(path).write_text('[entities.a]\nkind = "core"\n')
        self.assertRaises(UsageError, sockets, None, path)
        self.patch(os, "environ", {"OMAIM_CONTROL": "/c"})
        self.assertEqual(sockets(None, None), {"": "/c"})

    def test_nobody_runs(self) -> None:
        """Without a lab the command says so."""
        said = told("user", "--control", "/nowhere/x", "list")
        self.assertIn("status 1", said)
        self.assertIn("is it running?", said)

    def test_help(self) -> None:
        """Every command teaches its use."""
        for arguments, word in (
            (("lab",), "Ctrl-C"),
            (("lab", "demo"), "IM-1"),
            (("lab", "split"), "start.sh"),
            (("ladder",), "trace"),
            (("user",), "omaim user list"),
            (("group",), "omaim group list"),
            (("user", "deregister"), "probation"),
        ):
            self.assertIn(word, told(*arguments, "--help"))
