"""Addresses for the labs of tests, so that two runs and a lab of somebody's can go on at once."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omaim.lab.starting import taken
from omaim.lab.topology import Plan


def free_base() -> str:
    """Return the beginning of loopback addresses that nobody uses."""
    chance = random.SystemRandom()
    for _ in range(20):
        base = f"127.{chance.randrange(100, 255)}"
        if not taken(Plan(Path("unused"), base)):
            return base
    raise AssertionError("no loopback addresses are free")


def short_folder(case: Any) -> Path:
    """Return a folder with a path short enough for sockets; it is removed after the test."""
    folder = Path(tempfile.mkdtemp(prefix="omaim-"))
    case.addCleanup(shutil.rmtree, folder, True)
    return folder


def omaim(*arguments: str, timeout: float = 60.0, **named: Any) -> subprocess.CompletedProcess[str]:
    """Run the command omaim to its end."""
    command = [sys.executable, "-m", "omaim.cli.main", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, check=False, **named
    )


class Running:
    """A command that goes on until it is told to end.

    Args:
        command: and its arguments.
        folder: for its output.
    """

    def __init__(self, command: list[str], folder: Path, **named: Any) -> None:
        self._path = folder / "output"
        with self._path.open("w") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Whoever runs the tests in the background has told their children to ignore it.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
                **named,
            )

    @property
    def output(self) -> str:
        """What it has said so far."""
        return self._path.read_text()

    def until(self, holds: Callable[[], object], seconds: float = 30.0) -> bool:
        """Wait until something holds or the process ends; tell whether it holds."""
        end = time.monotonic() + seconds
        while not holds():
            if self.process.poll() is not None or time.monotonic() > end:
                return bool(holds())
            time.sleep(0.02)
        return True

    def interrupt(self, seconds: float = 15.0) -> int:
        """Press Ctrl-C; return the status with which it ended."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(seconds)

    def terminate(self, seconds: float = 15.0) -> int:
        """Tell it to end as a service manager does; return the status with which it ended."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(seconds)

    def end(self) -> None:
        """Make sure that it is gone."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
