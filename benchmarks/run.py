"""Measure omaim and Kamailio, side by side: ``python -m benchmarks``.

Each server is pinned to one core, the load runs on another; what counts is the CPU time of the
server. Needs the omaim to be measured installed for the interpreter that runs this, or for
those that ``--omaim`` names; Kamailio is measured when it is installed. Loopback only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.load import Clients, Failed
from benchmarks.processes import Server, kamailio, start_kamailio, start_omaim
from benchmarks.report import table, write_table
from benchmarks.scenarios import PEOPLE, SCENARIOS, Scenario

WINDOW = 50  # operations under way
ROUNDS = 5
PACE = 2000  # operations begun per second, the same for every server
CROWD = 100_000
LINGER = 40.0  # seconds after which no transaction of RFC 3261 is left
TUNED, SHIPPED = "kamailio", "kamailio as Debian starts it"


@dataclass
class Candidate:
    """One server to measure.

    Attributes:
        name: in the results.
        python: the interpreter for which omaim is installed; empty for Kamailio.
        tuned: of Kamailio: with its best settings.
    """

    name: str
    python: str = ""
    tuned: bool = True


@dataclass
class Bench:
    """One run of the benchmarks: what it shall do, and what it has found."""

    candidates: list[Candidate]
    rounds: int
    pace: int
    scale: float
    crowd: int
    cores: tuple[int, int]
    results: list[dict[str, Any]] = field(default_factory=list)

    def start(
        self, candidate: Candidate, scenario: Scenario, folder: Path, users: int
    ) -> Server | None:
        """Start a server for a scenario; ``None`` when it cannot do that."""
        if candidate.python:
            wanted = {
                "state": f"sqlite:///{folder}/state.sqlite" if scenario.durable else "memory:",
                "users": users,
                "authenticate": "never",
                "profile": "ims",
                "im": False,
                "core_host": "127.0.0.1",
                "im_host": "",
                **scenario.omaim,
            }
            return start_omaim(candidate.python, self.cores[0], folder, wanted)[0]
        if scenario.kamailio is None:
            return None
        defines = [f"USERS={users}", *scenario.kamailio]
        return start_kamailio(self.cores[0], folder, candidate.tuned, defines)

    def scenario(self, scenario: Scenario, candidate: Candidate) -> None:
        """Measure one scenario on one server."""
        count = max(100, int(scenario.count * self.scale))
        users = PEOPLE if scenario.people else count
        with tempfile.TemporaryDirectory() as name:
            server = self.start(candidate, scenario, Path(name), users)
            if server is None:
                return
            clients = Clients(server.address, scenario.stream, scenario.paths, users)
            try:
                found = self._rounds(scenario, server, clients, count, users)
            except Failed as error:
                print(f"{candidate.name}: {scenario.title}: {error}", file=sys.stderr)
                return
            finally:
                clients.close()
                server.stop()
        self.note(scenario.key, scenario.title, candidate, found)

    def _rounds(
        self, scenario: Scenario, server: Server, clients: Clients, count: int, users: int
    ) -> dict[str, Any]:
        if scenario.people:
            clients.register(users, WINDOW)
        elif scenario.key == "refresh":
            clients.register_digest(users, WINDOW)
        scenario.operation(clients, count // 5, WINDOW)
        found: dict[str, Any] = {}
        for kind, pace in (("paced", self.pace), ("busy", 0)):
            clients.pace = pace
            costs, rates = [], []
            for _ in range(self.rounds):
                before = server.cpu()
                seconds = scenario.operation(clients, count, WINDOW)
                costs.append((server.cpu() - before) / count * 1e6)
                rates.append(count / seconds)
            found[f"{kind}_us"] = statistics.median(costs)
            found[f"{kind}_rate"] = statistics.median(rates)
            found[f"{kind}_all"] = [round(cost, 1) for cost in costs]
        found["resident"] = server.memory()
        if scenario.key == "relay" and self.scale >= 1:
            found["late_us"] = self._late(server) / ((2 * self.rounds + 0.2) * count) * 1e6
        return found

    def _late(self, server: Server) -> float:
        """Return the seconds of CPU that forgetting old transactions takes, less idling."""
        before = server.cpu()
        time.sleep(LINGER)
        used = server.cpu() - before
        before = server.cpu()
        time.sleep(LINGER / 4)
        return max(0.0, used - 4 * (server.cpu() - before))

    def memory(self, candidate: Candidate) -> None:
        """Measure the memory that a registered user takes."""
        scenario = Scenario("memory", f"{self.crowd} bindings", Clients.register, self.crowd)
        with tempfile.TemporaryDirectory() as name:
            server = self.start(candidate, scenario, Path(name), self.crowd)
            assert server is not None
            clients = Clients(server.address, False, 1, self.crowd)
            try:
                idle = server.memory()
                for first in range(0, self.crowd, 1000):
                    clients.register(min(1000, self.crowd - first), WINDOW, first)
                    time.sleep(0.3 * min(1.0, self.scale))  # as in life: few at any moment
                time.sleep(LINGER)
                taken = server.memory() - idle
            finally:
                clients.close()
                server.stop()
        found = {"resident": idle + taken, "idle": idle, "per_binding": taken / self.crowd}
        self.note("memory", f"memory of {self.crowd:,} bindings", candidate, found)

    def beginning(self, candidate: Candidate) -> None:
        """Measure a start with many users in SQLite."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            wanted: dict[str, Any] = {
                "state": f"sqlite:///{folder}/state.sqlite",
                "users": self.crowd,
                "authenticate": "always",
                "profile": "ims",
                "im": False,
                "core_host": "127.0.0.1",
                "im_host": "",
            }
            filler, _ = start_omaim(
                candidate.python, self.cores[0], folder, {**wanted, "serve": False}
            )
            filler.process.wait()
            filler.stop()
            server, said = start_omaim(
                candidate.python, self.cores[0], folder, {**wanted, "users": 0}
            )
            found = {
                "seconds": said["seconds"],
                "cpu": server.cpu(),
                "resident": server.memory(),
            }
            server.stop()
        self.note("start", f"start with {self.crowd:,} users in SQLite", candidate, found)

    def note(self, key: str, title: str, candidate: Candidate, found: dict[str, Any]) -> None:
        """Keep and show a result."""
        self.results.append({"key": key, "title": title, "server": candidate.name, **found})
        shown = {name: round(one, 1) for name, one in found.items() if isinstance(one, float)}
        print(f"{candidate.name}: {title}: {shown}", file=sys.stderr, flush=True)


def machine() -> dict[str, str]:
    """Return on what this runs."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "cpu": f"{os.cpu_count()} × {model}",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "kamailio": _kamailio_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def _kamailio_version() -> str:
    if not kamailio():
        return "not installed"
    said = subprocess.run([kamailio(), "-v"], capture_output=True, text=True, check=False).stdout
    return said.split("\n")[0].removeprefix("version: ").partition(" (")[0]


def _cores() -> tuple[int, int]:
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        print("one core only: server and load share it", file=sys.stderr)
    return usable[0], usable[-1]


def _candidates(names: list[str], with_kamailio: bool) -> list[Candidate]:
    found = []
    for text in names or [f"omaim={sys.executable}"]:
        name, _, python = text.rpartition("=")
        found.append(Candidate(name or "omaim", python))
    if with_kamailio and kamailio():
        found += [Candidate(TUNED), Candidate(SHIPPED, tuned=False)]
    elif with_kamailio:
        print("Kamailio is not installed: omaim alone is measured", file=sys.stderr)
    return found


def main() -> None:
    """Measure, print a table, and write what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--omaim",
        action="append",
        default=[],
        metavar="NAME=PYTHON",
        help="an interpreter for which omaim is installed; may be given several times",
    )
    parser.add_argument("--no-kamailio", action="store_true")
    parser.add_argument("--only", default="", help="keys of scenarios, with commas")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--pace", type=int, default=PACE, help="operations per second")
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of operations")
    parser.add_argument("--crowd", type=int, default=CROWD, help="users in memory and start")
    parser.add_argument("--json", type=Path, help="write the results there")
    parser.add_argument("--page", type=Path, help="replace the table in this page")
    options = parser.parse_args()
    cores = _cores()
    os.sched_setaffinity(0, {cores[1]})
    bench = Bench(
        _candidates(options.omaim, not options.no_kamailio),
        options.rounds,
        options.pace,
        options.scale,
        options.crowd,
        cores,
    )
    only = set(options.only.split(",")) - {""}
    for scenario in SCENARIOS:
        if not only or scenario.key in only:
            for candidate in bench.candidates:
                bench.scenario(scenario, candidate)
    for candidate in bench.candidates:
        if candidate.name != SHIPPED and (not only or "memory" in only):
            bench.memory(candidate)
        if candidate.python and (not only or "start" in only):
            bench.beginning(candidate)
    found = {"machine": machine(), "results": bench.results}
    print(table(found))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    if options.page:
        write_table(options.page, found)
