"""The servers under test, each in processes of its own, and what they cost."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import IO, Any

HERE = Path(__file__).resolve().parent
TICK = os.sysconf("SC_CLK_TCK")
PATIENCE = 60.0  # seconds until a server serves
PROBE = (
    "OPTIONS sip:127.0.0.1:{port} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{own};branch=z9hG4bKp\r\n"
    "Max-Forwards: 0\r\nFrom: <sip:p@127.0.0.1>;tag=p\r\nTo: <sip:p@127.0.0.1>\r\n"
    "Call-ID: p\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
)


class Broken(Exception):
    """A server did not start, or died."""


class Server:
    """Processes that serve SIP at one address, pinned to one core.

    Args:
        address: where it listens, UDP and TCP.
        command: how to start it.
        core: the CPU it may use.
        folder: its working directory.
    """

    def __init__(
        self, address: tuple[str, int], command: list[str], core: int, folder: Path
    ) -> None:
        self.address = address
        self.begun = time.monotonic()
        self._log: IO[bytes] = (folder / "server.log").open("wb")
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=self._log,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )

    def processes(self) -> list[int]:
        """Return the numbers of the processes: the first one and its children."""
        found = [self.process.pid]
        for parent in found:
            children = Path(f"/proc/{parent}/task/{parent}/children")
            if children.exists():
                found += [int(text) for text in children.read_text().split()]
        return found

    def cpu(self) -> float:
        """Return the seconds of CPU that all of them have used, in user space and in the kernel."""
        ticks = 0
        for number in self.processes():
            fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / TICK

    def memory(self) -> int:
        """Return the octets of resident memory; what processes share counts once."""
        total = 0
        for number in self.processes():
            for line in Path(f"/proc/{number}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        return total

    def stop(self) -> None:
        """End it and wait until it is gone."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._log.close()


def free_port() -> int:
    """Return a port that is free for UDP and TCP on all loopback addresses that we use."""
    while True:
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            stream.bind(("", 0))
            port: int = stream.getsockname()[1]
            try:
                datagrams.bind(("", port))
            except OSError:
                continue
            return port


def start_omaim(
    python: str, core: int, folder: Path, wanted: dict[str, Any]
) -> tuple[Server, dict[str, Any]]:
    """Start omaim as installed for ``python``; return it when it serves, and what it says."""
    port = free_port() if wanted.pop("serve", True) else 0
    command = [python, "-P", str(HERE / "server.py")]
    host = wanted["core_host"]
    server = Server((host, port), [*command, json.dumps({**wanted, "port": port})], core, folder)
    assert server.process.stdout is not None
    line = server.process.stdout.readline()
    if not port and not line:
        return server, {}
    said = json.loads(line or b'{"error": "it said nothing"}')
    if "error" in said:
        server.stop()
        raise Broken(said["error"] + (folder / "server.log").read_text())
    return server, {**said, "seconds": time.monotonic() - server.begun}


def kamailio() -> str:
    """Return the path of Kamailio; empty when it is not installed."""
    return shutil.which("kamailio", path=os.environ.get("PATH", "") + ":/usr/sbin") or ""


def start_kamailio(core: int, folder: Path, tuned: bool, defines: list[str]) -> Server:
    """Start Kamailio with the configuration beside us; return it when it serves.

    Args:
        tuned: the fast memory manager, one worker for one core; else both as Debian has
            them, but for the memory: Debian's 64 MiB are full after 5,000 messages.
        defines: further switches of the configuration.
    """
    port = free_port()
    command = [kamailio(), "-DD", "-E", "-f", str(HERE / "kamailio" / "kamailio.cfg")]
    command += ["-Y", str(folder), "-P", str(folder / "pid"), "-w", str(folder)]
    command += ["-m", "2048", "-M", "8", *(["-x", "fm"] if tuned else [])]
    for define in [f"PORT={port}", *(["WORKERS=1"] if tuned else []), *defines]:
        command += ["-A", define]
    server = Server(("127.0.0.1", port), command, core, folder)
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        probe.settimeout(0.1)
        text = PROBE.format(port=port, own=probe.getsockname()[1])
        while server.process.poll() is None and time.monotonic() - server.begun < PATIENCE:
            try:
                probe.sendto(text.encode(), server.address)
                if probe.recv(65535):
                    return server
            except OSError:
                time.sleep(0.05)
    server.stop()
    raise Broken((folder / "server.log").read_text())
