"""A lab for foreign programs, and the programs in bounded time.

A program that is not installed makes its tests skip, by name and loudly: what did not run has
not passed.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, TestCase

from omaim.lab.entity import add_entities
from omaim.lab.topology import FOR_ALL, Plan, lay_out
from omaim.node.config import NodeConfig
from omaim.node.node import Node, open_node
from omaim.roles.incoming import Incoming
from omaim.roles.user_agent import UserAgent
from omaim.sip.answering import Answerer
from omaim.sip.message import Request, Response


def own_mounts() -> list[str]:
    """Return what runs a command with mounts of its own.

    Raises:
        SkipTest: this system does not let us.
    """
    unshare = program("unshare")
    for options in ("-rm", "-m"):
        trial = [unshare, options, "mount", "--bind", "/etc/hosts", "/etc/hosts"]
        if not subprocess.run(trial, capture_output=True).returncode:
            return [unshare, options]
    sys.stderr.write("\nINTEROP NOT RUN: programs cannot have a hosts file of their own here\n")
    raise SkipTest("unshare does not work here: interop was NOT run")


def program(name: str) -> str:
    """Return the path of a program.

    Raises:
        SkipTest: it is not installed.
    """
    path = shutil.which(name)
    if path is None:
        sys.stderr.write(f"\nINTEROP NOT RUN: {name} is not installed\n")
        raise SkipTest(f"{name} is not installed: its interop was NOT run")
    return path


def pause(seconds: float) -> Deferred[None]:
    """Return a Deferred that fires after so many seconds."""
    done: Deferred[None] = Deferred()
    reactor.callLater(seconds, done.callback, None)
    return done


class Running(ProcessProtocol):
    """One program at work; ended, by its pid, when its time is over.

    Attributes:
        output: all that it printed, as text.
        status: its exit status, ``None`` while it runs or when it was ended.
    """

    def __init__(self, command: Sequence[str], folder: str, timeout: float) -> None:
        self.status: int | None = None
        self.ended = False
        self._output = bytearray()
        self._waiting: list[Deferred[None]] = []
        self._process: Any = reactor.spawnProcess(
            self, command[0], list(command), env={**os.environ, "TERM": "dumb"}, path=folder
        )
        self._limit = reactor.callLater(timeout, self.end)

    @property
    def output(self) -> str:
        return self._output.decode(errors="replace")

    def outReceived(self, data: bytes) -> None:
        self._output += data

    errReceived = outReceived

    def end(self) -> None:
        """End it now, if it still runs."""
        if not self.ended:
            try:
                self._process.signalProcess("KILL")
            except ProcessExitedAlready:
                return

    def finished(self) -> Deferred[None]:
        """Return a Deferred that fires when the program is over."""
        done: Deferred[None] = Deferred()
        if self.ended:
            done.callback(None)
        else:
            self._waiting.append(done)
        return done

    def stop(self) -> Deferred[None]:
        """Ask it to end, with all that it started, and wait for that."""
        if not self.ended:
            with contextlib.suppress(ProcessExitedAlready):
                self._process.signalProcess("TERM")
            late = reactor.callLater(3.0, self.end)
            return self.finished().addCallback(lambda _: late.cancel() if late.active() else None)
        return self.finished()

    def processEnded(self, reason: Failure) -> None:
        self.ended = True
        self.status = getattr(reason.value, "exitCode", None)
        if self._limit.active():
            self._limit.cancel()
        for done in self._waiting:
            done.callback(None)


class Phone:
    """A user of ours, on a socket of its own."""

    def __init__(self, agent: UserAgent) -> None:
        self.agent = agent
        self.messages: list[Request] = []
        agent.on("MESSAGE", self._message)
        agent.attach()

    def _message(self, incoming: Incoming) -> Response:
        self.messages.append(incoming.request)
        return incoming.response(200)

    async def register(self) -> Response:
        """Register for ten minutes."""
        domain = self.agent.identity.partition("@")[2]
        contact = self.agent.endpoint.uri(user="phone")
        headers = [("Contact", f"<{contact}>"), ("Expires", "600")]
        return await self.agent.request(
            self.agent.make("REGISTER", f"sip:{domain}", headers, to=f"<{self.agent.identity}>")
        )

    async def say(self, to: str, text: str) -> Response:
        """Send a pager message."""
        headers = [("Content-Type", "text/plain")]
        return await self.agent.request(self.agent.make("MESSAGE", to, headers, text.encode()))

    async def heard(self, text: str, seconds: float = 5.0) -> Request:
        """Return the message with this text, when it comes."""
        for _ in range(int(seconds / 0.05)):
            for message in self.messages:
                if message.body == text.encode():
                    return message
            await pause(0.05)
        raise AssertionError(f"{text!r} did not come, only {[m.body for m in self.messages]}")


def free_base() -> str:
    """Return loopback addresses that nothing listens on yet."""
    for _ in range(50):
        base = f"127.{random.randrange(32, 250)}"
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
                one.bind((f"{base}.1.1", 5060))
        except OSError:
            continue
        return base
    raise SkipTest("this machine has no free loopback addresses: interop was NOT run")


class InteropCase(TestCase):
    """A lab whose cores offer what ``omaim lab`` does by itself, or what a test says.

    Attributes:
        core: address of the core of north.example.
        node: of the lab.
        folder: for what a program needs; removed at the end.
    """

    timeout = 30
    algorithms: tuple[str, ...] = FOR_ALL  # what ``omaim lab`` offers

    def setUp(self) -> Any:
        self.folder = Path(tempfile.mkdtemp(prefix="omaim-interop-"))
        self.addCleanup(shutil.rmtree, self.folder)
        return Deferred.fromCoroutine(self._open())

    async def _open(self) -> None:
        plan = Plan(self.folder, free_base(), algorithms=self.algorithms)
        contents = lay_out(plan, datetime.datetime.now(datetime.UTC))
        self.plan = plan
        self.adapt(contents["entities"])
        self.core, self.other_core = (home.core for home in plan.homes)
        self.node: Node = await open_node(NodeConfig(state="memory:", dns=(plan.dns,)), reactor)
        add_entities(self.node, contents, "interop")
        self.node.startService()
        self.addCleanup(self.node.stopService)
        await self.node.ready()

    def adapt(self, entities: dict[str, Any]) -> None:
        """Change the network before it starts."""

    async def phone(self, name: str, domain: str, core: str) -> Phone:
        """Return a phone that sends everything to ``core`` first."""
        endpoint = self.node.endpoint(f"phone-{name}")
        await endpoint.listen("UDP", "127.0.0.1", 0)
        self.addCleanup(endpoint.stop)
        answerer = Answerer(f"{name}@{domain}", f"{name}-secret", self.node.ids)
        route = f"<sip:{core}:5060;lr>"
        return Phone(
            UserAgent(endpoint, f"sip:{name}@{domain}", credentials=answerer, routes=[route])
        )

    async def online(self, name: str = "xenia") -> Phone:
        """Return a phone of south.example that is registered."""
        phone = await self.phone(name, "south.example", self.other_core)
        self.assertEqual((await phone.register()).status, 200)
        return phone

    def start(self, *command: str, timeout: float = 15.0) -> Running:
        """Run a program in the test's folder; it ends with the test at the latest."""
        running = Running(command, str(self.folder), timeout)
        self.addCleanup(running.stop)
        return running

    async def run_program(self, *command: str, timeout: float = 15.0) -> Running:
        """Run a program until it is over."""
        running = self.start(*command, timeout=timeout)
        await running.finished()
        return running

    def named(self, *command: str) -> list[str]:
        """Return a command that finds the lab's domains in a hosts file of its own."""
        homes = self.plan.homes
        hosts = [f"{home.core} {home.domain} core.{home.domain}" for home in homes]
        hosts += ["127.0.0.1 localhost", f"127.0.0.1 phone.example {socket.gethostname()}"]
        (self.folder / "hosts").write_text("\n".join(hosts) + "\n")
        (self.folder / "resolv").write_text(
            f"nameserver {self.plan.dns.partition(':')[0]}\noptions timeout:1 attempts:1\n"
        )
        mounts = (
            f"mount --bind {self.folder}/hosts /etc/hosts && "
            f"mount --bind {self.folder}/resolv /etc/resolv.conf"
        )
        return [*own_mounts(), "sh", "-c", f'{mounts} && exec "$@"', "sh", *command]
