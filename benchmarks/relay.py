"""Measure the MSRP relay: ``python -m benchmarks.relay``; beside Kamailio's msrp module if it is
installed.

Each server is a process of its own; what counts is the CPU time of its processes for one SEND
with a body of 150 octets that a peer without a relay sends through it to a client of the relay,
and that is answered by the relay and by the client. The interpreter that runs this measures the
omaim that is installed for it; ``--omaim`` names further ones. Loopback, TCP.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.processes import Broken, Server, free_port, kamailio

HERE = Path(__file__).resolve().parent
BODY = b"x" * 150
END = re.compile(rb"\r\n-------[^\r\n]{4,32}[$+#]\r\n")
SENDS = re.compile(rb"MSRP (\S+) SEND\r\nTo-Path: (\S+)[^\r]*\r\nFrom-Path: (\S+)")


class Client:
    """One client of a relay, that blocks."""

    def __init__(self, address: tuple[str, int], name: str) -> None:
        self.name = name
        self.uri = f"msrp://127.0.0.1:7/{name}session;tcp"
        self._socket = socket.create_connection(address)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(20)
        self._rest = b""
        self.relay = f"msrp://127.0.0.1:{address[1]};tcp"
        self.use_path = ""

    def authorize(self) -> None:
        """Get a URI, with credentials if they are wanted."""
        head = self._auth("")
        if b" 401 " in head.split(b"\r\n")[0] + b" ":
            from omaim.ids import Ids
            from omaim.sip.answering import Answerer

            answerer = Answerer(self.name, self.name, Ids(), ("MD5",))
            values = re.findall(rb"WWW-Authenticate: ([^\r]*)", head)
            answerer.take("WWW-Authenticate", [value.decode() for value in values], 0)
            answers = answerer.answers("AUTH", self.relay, b"")
            head = self._auth(f"Authorization: {answers[0][1]}\r\n")
        found = re.search(rb"Use-Path: ([^\r]*)", head)
        if found is None:
            raise Broken(head.decode())
        self.use_path = found[1].decode()

    def send(self, data: bytes) -> None:
        """Send octets."""
        self._socket.sendall(data)

    def read(self, count: int) -> bytes:
        """Return the octets of that many frames."""
        data = self._rest
        while True:
            ends = list(END.finditer(data))
            if len(ends) >= count:
                at = ends[count - 1].end()
                self._rest = data[at:]
                return data[:at]
            more = self._socket.recv(1 << 20)
            if not more:
                raise Broken("the relay has closed a connection")
            data += more

    def close(self) -> None:
        """End it."""
        self._socket.close()

    def _auth(self, fields: str) -> bytes:
        self.send(
            f"MSRP auth1 AUTH\r\nTo-Path: {self.relay}\r\nFrom-Path: {self.uri}\r\n"
            f"{fields}-------auth1$\r\n".encode()
        )
        return self.read(1)


def relay(near: Client, far: Client, count: int, window: int) -> None:
    """Send SENDs from ``near`` to ``far``, so many under way at a time, each answered twice."""
    to = f"{far.use_path} {far.uri}"
    text = (
        "MSRP {0} SEND\r\nTo-Path: {1}\r\nFrom-Path: {2}\r\nMessage-ID: {0}m\r\n"
        "Byte-Range: 1-150/150\r\nContent-Type: text/plain\r\n\r\n{3}\r\n-------{0}$\r\n"
    )
    for first in range(0, count, window):
        near.send(
            "".join(
                text.format(f"t{first + number:08d}", to, near.uri, BODY.decode())
                for number in range(window)
            ).encode()
        )
        came = SENDS.findall(far.read(window))
        if len(came) != window:
            raise Broken(f"{len(came)} of {window} messages came")
        far.send(
            b"".join(
                b"MSRP %b 200 OK\r\nTo-Path: %b\r\nFrom-Path: %b\r\n-------%b$\r\n"
                % (transaction, back, own, transaction)
                for transaction, own, back in came
            )
        )
        if near.read(window).count(b" 200 OK\r\n") != window:
            raise Broken("a SEND was not answered 200")


def measure(server: Server, count: int, rounds: int) -> dict[str, Any]:
    """Return microseconds of CPU per SEND, and SENDs a second, for windows of 1 and 50."""
    near, far = Client(server.address, "near"), Client(server.address, "far")
    far.authorize()
    found: dict[str, Any] = {}
    try:
        for name, window, share in (("pipelined", 50, 1), ("one by one", 1, 5)):
            relay(near, far, count // 10, window)
            costs, rates = [], []
            for _ in range(rounds):
                before, began = server.cpu(), time.monotonic()
                relay(near, far, count // share, window)
                rates.append(count / share / (time.monotonic() - began))
                costs.append((server.cpu() - before) / (count / share) * 1e6)
            found[name] = {
                "us": round(statistics.median(costs), 1),
                "all": [round(cost, 1) for cost in costs],
                "sends/s": round(statistics.median(rates)),
            }
        found["resident"] = server.memory()
    finally:
        near.close()
        far.close()
    return found


def start(command: list[str], address: tuple[str, int], core: int, folder: Path) -> Server:
    """Start a server; return it when it accepts connections."""
    server = Server(address, command, core, folder)
    while server.process.poll() is None and time.monotonic() - server.begun < 60:
        try:
            socket.create_connection(address).close()
        except OSError:
            time.sleep(0.05)
        else:
            return server
    server.stop()
    raise Broken((folder / "server.log").read_text())


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--omaim", action="append", default=[], help="another interpreter")
    parser.add_argument("--count", type=int, default=20_000, help="SENDs of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", default="0,1", help="of the server and of the load")
    wanted = parser.parse_args()
    core, own = (int(text) for text in wanted.cores.split(","))
    os.sched_setaffinity(0, {own})
    print(f"Python {platform.python_version()}, body of {len(BODY)} octets, TCP")
    for python in (sys.executable, *wanted.omaim):
        with tempfile.TemporaryDirectory() as folder:
            port = free_port()
            command = [python, "-P", str(HERE / "relay_server.py"), str(port)]
            server = start(command, ("127.0.0.1", port), core, Path(folder))
            try:
                assert server.process.stdout is not None
                form = json.loads(server.process.stdout.readline())
                _show(f"omaim, {form}", measure(server, wanted.count, wanted.rounds))
            finally:
                server.stop()
    if not kamailio():
        print("Kamailio is not installed")
        return
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        command = [kamailio(), "-DD", "-E", "-f", str(HERE / "kamailio" / "relay.cfg")]
        command += ["-Y", folder, "-P", f"{folder}/pid", "-w", folder, "-m", "512", "-M", "32"]
        command += ["-A", f"PORT={port}"]
        server = start(command, ("127.0.0.1", port), core, Path(folder))
        try:
            _show("Kamailio's msrp module", measure(server, wanted.count, wanted.rounds))
        finally:
            server.stop()


def _show(name: str, found: dict[str, Any]) -> None:
    for kind in ("pipelined", "one by one"):
        one = found[kind]
        print(f"{name:24}{kind:12}{one['us']:8.1f} us  {one['sends/s']:8} /s  {one['all']}")
    print(f"{name:24}{'resident':12}{found['resident'] / 1048576:8.1f} MiB", flush=True)


if __name__ == "__main__":
    main()
