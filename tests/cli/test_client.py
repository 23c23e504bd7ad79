"""``omaim client`` and ``omaim say`` as people and scripts run them, over real sockets."""

from __future__ import annotations

import datetime
import os
import random
import re
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.trial.unittest import TestCase

import omaim
from omaim.client import Client
from omaim.core import entity as core
from omaim.im import entity as im
from omaim.im.config import Config as ImConfig
from omaim.lab.certificates import write_certificates
from omaim.net.network import ReactorNetwork
from omaim.node.config import NodeConfig
from omaim.node.node import Node
from omaim.node.people import make_user
from omaim.stores.memory import memory_stores

DOMAIN = "north.example"
PATIENCE = 20.0  # seconds; far more than anything here takes


class Command(ProcessProtocol):
    """An ``omaim`` command that runs, on a terminal of its own if wanted."""

    def __init__(self, arguments: list[str], password: str = "", terminal: bool = False) -> None:
        self.output = ""
        self.errors = ""
        self.status: Deferred[int] = Deferred()
        self._wanted: tuple[re.Pattern[str], Deferred[str]] | None = None
        environment = {
            **os.environ,
            "PYTHONPATH": str(Path(omaim.__file__).parent.parent),
            "PYTHONIOENCODING": "utf-8",
            "TERM": "xterm",
        }
        environment.pop("OMAIM_PASSWORD", None)
        if password:
            environment["OMAIM_PASSWORD"] = password
        self.process: Any = reactor.spawnProcess(
            self,
            sys.executable,
            [sys.executable, "-m", "omaim.cli.main", *arguments],
            environment,
            usePTY=terminal,
        )

    def outReceived(self, data: bytes) -> None:
        self.output += data.decode("utf-8", "replace")
        self._look()

    def errReceived(self, data: bytes) -> None:
        self.errors += data.decode("utf-8", "replace")

    def processEnded(self, reason: Any) -> None:
        reason.trap(ProcessDone, ProcessTerminated)
        status, self.status = self.status, Deferred()
        status.callback(reason.value.exitCode)

    def shows(self, pattern: str) -> Deferred[str]:
        """Wait until something appears; what came before is looked at only once."""
        found: Deferred[str] = Deferred()
        found.addTimeout(PATIENCE, reactor, lambda *_: self._missing(pattern))
        self._wanted = re.compile(pattern), found
        self._look()
        return found

    def _missing(self, pattern: str) -> None:
        raise AssertionError(f"no {pattern!r} in {self.output!r} {self.errors!r}")

    def _look(self) -> None:
        if self._wanted is not None:
            pattern, found = self._wanted
            match = pattern.search(self.output)
            if match is not None:
                self._wanted = None
                self.output = self.output[match.end() :]
                found.callback(match[0])

    def type(self, text: str) -> None:
        """Type at the terminal."""
        self.process.write(text.encode())

    def kill(self) -> None:
        """End it, if it still runs."""
        if self.process.pid:
            self.process.signalProcess("KILL")


class LoopbackTests(TestCase):
    """A core and an IM Server on an address of their own."""

    timeout = 60

    def setUp(self) -> Any:
        return Deferred.fromCoroutine(self._set_up())

    async def _set_up(self) -> None:
        one, two, three = (random.randint(1, 250) for _ in range(3))
        self.core_host, self.im_host = f"127.{one}.{two}.{three}", f"127.{one}.{two}.{three + 1}"
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        write_certificates(
            self.folder, {"core": ((DOMAIN,), self.core_host)}, datetime.datetime.now(datetime.UTC)
        )
        stores = memory_stores()
        self.node = Node(NodeConfig(state="memory:"), reactor, ReactorNetwork(reactor), stores)
        await stores.users.put_many(
            [
                make_user(f"{name}@{DOMAIN}", DOMAIN, name, (f"sip:{name}@{DOMAIN}",))
                for name in ("alice", "bob")
            ]
        )
        at, im_at = f"{self.core_host}:5060", f"{self.im_host}:5060"
        parts = (
            core.build(
                self.node,
                core.Config(
                    domain=DOMAIN,
                    listen=(f"udp:{at}", f"tcp:{at}", f"tls:{self.core_host}:5061"),
                    certificate=str(self.folder / "core.pem"),
                    ca=str(self.folder / "ca.pem"),
                    services=(self.im_host,),
                    im_server=f"sip:{im_at}",
                ),
                "core",
            ),
            im.build(
                self.node,
                ImConfig(
                    domain=DOMAIN,
                    listen=(f"udp:{im_at}", f"tcp:{im_at}"),
                    msrp=(f"tcp:{self.im_host}:2855",),
                    core=f"sip:{at}",
                    trusted=(self.core_host,),
                ),
                "im",
            ),
        )
        for part in parts:
            part.setServiceParent(self.node)
        self.node.startService()
        self.addCleanup(self.node.stopService)
        for part in parts:
            await part.ready()

    def client(self, name: str, **named: Any) -> Client:
        """Return a client in this process."""
        named.setdefault("server", self.core_host)
        return Client(f"{name}@{DOMAIN}", name, **named)

    def start(
        self, *arguments: str, password: str = "", terminal: bool = False, server: str = ""
    ) -> Command:
        """Start a command."""
        where = ["--server", server or self.core_host]
        command = Command([*arguments, *where], password, terminal)
        self.addCleanup(command.kill)
        return command


class LibraryTests(LoopbackTests):
    """The same library, real sockets and Twisted's reactor."""

    def exchange(self, **named: Any) -> Any:
        """Send a message each way between alice, who is reached so, and bob over UDP."""

        async def run() -> None:
            alice, bob = self.client("alice", **named), self.client("bob")
            await alice.register()
            await bob.register()
            sent = await alice.send("bob", "hello")
            await sent.delivered(PATIENCE)
            message = await bob.inbox.next()
            self.assertEqual(message.text, "hello")
            answer = await message.reply("hello yourself")
            await answer.delivered(PATIENCE)
            self.assertEqual((await alice.inbox.next()).text, "hello yourself")
            await alice.close()
            await bob.close()

        return Deferred.fromCoroutine(run())

    def test_udp(self) -> Any:
        """Over UDP."""
        return self.exchange(transport="udp")

    def test_tcp(self) -> Any:
        """Over TCP, by one connection both ways (RFC 5626)."""
        return self.exchange(transport="tcp")

    def test_tls(self) -> Any:
        """Over TLS, with the server's certificate checked and none of ours."""
        return self.exchange(transport="tls", ca=str(self.folder / "ca.pem"))

    def test_session(self) -> Any:
        """A session through the server, typing and a file in it, over real sockets."""

        async def run() -> None:
            alice, bob = self.client("alice"), self.client("bob")
            await alice.register()
            await bob.register()
            begun: Deferred[Any] = Deferred()
            bob.auto_accept = True
            bob.on_conversation(begun.callback)
            bob.files.folder = self.folder / "taken"
            hers = await alice.invite("bob", subject="Lunch")
            his = await begun
            sent = await hers.send("Hungry?")
            message = await his.next()
            self.assertEqual(message.text, "Hungry?")
            await sent.delivered(PATIENCE)
            await message.reply("Very")
            self.assertEqual((await hers.next()).text, "Very")
            path = self.folder / "menu.bin"
            path.write_bytes(os.urandom(3_000_000))
            upload = await hers.send_file(path)
            await upload.done()
            taken = self.folder / "taken" / "menu.bin"
            self.assertEqual(taken.read_bytes(), path.read_bytes())
            await hers.leave()
            await alice.close()
            await bob.close()

        return Deferred.fromCoroutine(run())

    def test_secure_session(self) -> Any:
        """A session over TLS, with nobody's certificate known before."""

        async def run() -> None:
            at = f"{self.core_host.rpartition('.')[0]}"
            alice = self.client("alice", server=f"{at}.252:5062", listen=f"{at}.251:5062")
            bob = self.client("bob", server=f"{at}.251:5062", listen=f"{at}.252:5062")
            await alice.open()
            await bob.open()
            begun: Deferred[Any] = Deferred()
            bob.auto_accept = True
            bob.on_conversation(begun.callback)
            hers = await alice.invite("bob", secure=True)
            his = await begun
            await hers.send("in private")
            self.assertEqual((await his.next()).text, "in private")
            await his.leave()
            await alice.close()
            await bob.close()

        return Deferred.fromCoroutine(run())


class SayTests(LoopbackTests):
    def test_file(self) -> Any:
        """A file to somebody who takes it; the exit status is 0."""

        async def run() -> None:
            bob = self.client("bob")
            await bob.register()
            bob.files.folder = self.folder / "taken"
            path = self.folder / "report.txt"
            path.write_text("all is well")
            say = self.start("say", f"alice@{DOMAIN}", "bob", "--file", str(path), password="alice")
            self.assertEqual(await say.status, 0)
            self.assertEqual((say.output, say.errors), ("delivered\n", ""))
            self.assertEqual((self.folder / "taken" / "report.txt").read_text(), "all is well")
            both = self.start("say", f"alice@{DOMAIN}", "bob", password="alice")
            self.assertEqual(await both.status, 1)
            self.assertIn("--file", both.errors)
            await bob.close()

        return Deferred.fromCoroutine(run())

    def test_delivered(self) -> Any:
        """One message, and its report; the exit status is 0."""

        async def run() -> None:
            bob = self.client("bob")
            await bob.register()
            say = self.start("say", f"alice@{DOMAIN}", "bob", "good", "day", password="alice")
            self.assertEqual(await say.status, 0)
            self.assertEqual((say.output, say.errors), ("delivered\n", ""))
            self.assertEqual((await bob.inbox.next()).text, "good day")
            await bob.close()

        return Deferred.fromCoroutine(run())

    def test_pending(self) -> Any:
        """Nobody there: the server keeps it, and the exit status is 0."""

        async def run() -> None:
            say = self.start(
                "say", f"alice@{DOMAIN}", "bob", "later", "--wait", "0.5", password="alice"
            )
            self.assertEqual(await say.status, 0)
            self.assertIn("pending", say.output)

        return Deferred.fromCoroutine(run())

    def test_failures(self) -> Any:
        """What fails is one line on stderr that says what to do; the exit status is 1."""

        async def run() -> None:
            for arguments, password, server, why in (
                (("say", f"alice@{DOMAIN}", "nobody", "x"), "alice", "", "404"),
                (("say", f"alice@{DOMAIN}", "bob", "x"), "wrong", "", "check the identity"),
                (("say", f"alice@{DOMAIN}", "bob", "x"), "alice", "a b", "write HOST"),
                (("say", "alice", "bob", "x"), "alice", "", "sip:alice@north.example"),
            ):
                say = self.start(*arguments, password=password, server=server)
                self.assertEqual(await say.status, 1)
                self.assertIn(why, say.errors)
                self.assertNotIn("Traceback", say.errors)
                self.assertEqual(say.errors.count("\n"), 1)

        return Deferred.fromCoroutine(run())


class PromptTests(LoopbackTests):
    def test_terminal(self) -> Any:
        """A person types a password and messages; what comes in leaves the typed line whole."""

        async def run() -> None:
            bob = self.client("bob")
            await bob.register()
            prompt = self.start("client", f"alice@{DOMAIN}", terminal=True)
            await prompt.shows("Password of alice@north.example: ")
            prompt.type("alice\r")
            await prompt.shows("You are registered")
            prompt.type("/to bob\r")
            await prompt.shows("bob> ")
            prompt.type("grüß dich\r")
            await prompt.shows("you to bob: grüß dich")
            await prompt.shows("bob has got: grüß dich")
            self.assertEqual((await bob.inbox.next()).text, "grüß dich")
            prompt.type("half a li")
            await prompt.shows("half a li")
            sent = await bob.send("alice", "\x1b]0;evil\x07interrupting")
            # Above the line, without what steers terminals, and then the line again.
            await prompt.shows(r"\r\x1b\[K\x1b\[1m\d\d:\d\d bob: .\]0;evil.interrupting\x1b\[0m")
            await prompt.shows(r"bob> half a li\r\x1b\[14C")
            prompt.type("ne\r")
            await prompt.shows("you to bob: half a line")
            await sent.displayed(PATIENCE)
            prompt.type("/he\t\r")
            await prompt.shows("Tab completes")
            prompt.type("\x04")
            self.assertEqual(await prompt.status, 0)
            self.assertEqual((await bob.send("alice", "gone?")).status, "pending")
            await bob.close()

        return Deferred.fromCoroutine(run())

    def test_talk_at_terminal(self) -> Any:
        """A person talks in a session and sends a file, whose progress leaves the line whole."""

        async def run() -> None:
            bob = self.client("bob")
            await bob.register()
            bob.auto_accept = True
            bob.files.folder = self.folder / "taken"
            begun: Deferred[Any] = Deferred()
            bob.on_conversation(begun.callback)
            path = self.folder / "big.bin"
            path.write_bytes(os.urandom(20_000_000))
            prompt = self.start("client", f"alice@{DOMAIN}", password="alice", terminal=True)
            await prompt.shows("You are registered")
            prompt.type("/talk bob\r")
            await prompt.shows(r"bob \(talking\)> ")
            his = await begun
            prompt.type("Hungry?\r")
            self.assertEqual((await his.next()).text, "Hungry?")
            prompt.type(f"/send {path}\r")
            await prompt.shows(r"\[big.bin █+·+ \d+%\] bob \(talking\)> ")
            await prompt.shows("bob has big.bin")
            prompt.type("/leave\r")
            await prompt.shows("The talk with bob is over")
            prompt.type("\x04")
            self.assertEqual(await prompt.status, 0)
            self.assertEqual((bob.files.folder / "big.bin").stat().st_size, 20_000_000)
            await bob.close()

        return Deferred.fromCoroutine(run())

    def test_interrupt(self) -> Any:
        """Ctrl-C de-registers, leaves the terminal as it was, and ends."""

        async def run() -> None:
            prompt = self.start("client", f"alice@{DOMAIN}", terminal=True, password="alice")
            await prompt.shows("You are registered")
            prompt.type("\x03")
            self.assertEqual(await prompt.status, 130)
            self.assertNotIn("Traceback", prompt.output)
            bob = self.client("bob")
            await bob.register()
            self.assertEqual((await bob.send("alice", "gone?")).status, "pending")
            await bob.close()

        return Deferred.fromCoroutine(run())

    def test_pipe(self) -> Any:
        """Lines from another program are sent, and answers are plain lines."""

        async def run() -> None:
            bob = self.client("bob")
            await bob.register()
            prompt = self.start("client", f"alice@{DOMAIN}", password="alice")
            prompt.type("/to bob\nfrom a pipe\n/who\n")
            await prompt.shows("you to bob: from a pipe\n")
            prompt.process.closeStdin()
            self.assertEqual(await prompt.status, 0)
            self.assertNotIn("\x1b", prompt.output)
            self.assertEqual((await bob.inbox.next()).text, "from a pipe")
            await bob.close()

        return Deferred.fromCoroutine(run())

    def test_wrong_password(self) -> Any:
        """A wrong password is said, and the status is 1."""

        async def run() -> None:
            prompt = self.start("client", f"alice@{DOMAIN}", password="wrong")
            self.assertEqual(await prompt.status, 1)
            self.assertIn("check the identity and the password", prompt.output)

        return Deferred.fromCoroutine(run())


class HelpTests(TestCase):
    timeout = 30

    def test_help(self) -> Any:
        """Help teaches with an example."""

        async def run() -> None:
            for arguments, words in (
                ((), ("omaim lab", "client", "say")),
                (("client",), ("omaim client alice@north.example", "OMAIM_PASSWORD")),
                (("say",), ("omaim say alice@north.example", "--wait")),
            ):
                command = Command([*arguments, "--help"])
                self.addCleanup(command.kill)
                self.assertEqual(await command.status, 0)
                for word in words:
                    self.assertIn(word, command.output)

        return Deferred.fromCoroutine(run())
