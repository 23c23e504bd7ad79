"""A network as processes of its own: start them, wait until they are of use, end them.

For tests and tools; people use the script that ``omaim lab split`` writes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from omaim.errors import OmaimError, Unavailable
from omaim.net.local import ask
from omaim.node.config import read_file

START: Final = 30.0  # seconds a process may take until it is ready
END: Final = 10.0  # seconds a process may take to end before it is killed
_PAUSE: Final = 0.05


class Processes:
    """All processes of a topology file, each a ``twistd`` of its own.

    Args:
        topology: path of the file; logs go beside it.
        python: the interpreter to run them with.
        names: of the parts to start; all if empty.

    Attributes:
        children: the processes by the names of their parts.
    """

    def __init__(
        self, topology: Path, python: str = sys.executable, names: tuple[str, ...] = ()
    ) -> None:
        self.topology = topology
        self.contents: dict[str, Any] = read_file(str(topology))
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self._python = python
        self._names = names or tuple(self.contents["entities"])

    def start(self) -> None:
        """Start what does not run yet; return when all are ready.

        Raises:
            Unavailable: one ended or did not get ready in time; all are ended then, and the
                message has the end of its log.
        """
        try:
            for name in self._names:
                if name not in self.children or self.children[name].poll() is not None:
                    self.children[name] = self._spawn(name)
            end = time.monotonic() + START
            for name in self._names:
                self._wait(name, end)
        except BaseException:
            self.stop()
            raise

    def stop(self, *names: str) -> None:
        """End processes, all if none is named, and wait for them."""
        chosen = [self.children.pop(name) for name in names or tuple(self.children)]
        for child in chosen:
            if child.poll() is None:
                child.terminate()
        for child in chosen:
            try:
                child.wait(END)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait(END)

    def kill(self, name: str) -> None:
        """End one process at once, as a crash would."""
        child = self.children.pop(name)
        child.kill()
        child.wait(END)

    def log(self, name: str) -> Path:
        """Return the path of a process's log."""
        return self.topology.parent / f"{name}.log"

    def _spawn(self, name: str) -> subprocess.Popen[bytes]:
        kind = self.contents["entities"][name]["kind"]
        command = [
            self._python,
            "-c",
            "from twisted.scripts.twistd import run; run()",
            "--nodaemon",
            "--pidfile=",
            f"--logfile={self.log(name)}",
            f"omaim-{kind}",
            f"--config={self.topology}",
            f"--name={name}",
        ]
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=self.topology.parent,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )

    def _wait(self, name: str, end: float) -> None:
        control = self.contents["entities"][name].get("node", {}).get("control", "")
        child = self.children[name]
        while True:
            if child.poll() is not None:
                raise Unavailable(f"{name} ended with status {child.returncode}: {self._why(name)}")
            if not control:
                return
            try:
                if ask(control, "status", 1.0)["ready"]:
                    return
            except OmaimError:
                pass  # not yet
            if time.monotonic() > end:
                raise Unavailable(f"{name} was not ready in {START:g} s: {self._why(name)}")
            time.sleep(_PAUSE)

    def _why(self, name: str) -> str:
        """Return the last words of a process."""
        child = self.children[name]
        if child.poll() is not None and child.stderr is not None:
            said = child.stderr.read().decode(errors="replace").strip()
            if said:
                return said.splitlines()[-1]
        try:
            lines = self.log(name).read_text(errors="replace").splitlines()
        except OSError:
            return "it has written no log"
        critical = [line for line in lines if "critical" in line]
        return (critical or lines or ["its log is empty"])[-1]
