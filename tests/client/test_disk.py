"""Files on a slow disk: they hold up nobody but themselves, keep their order, and end cleanly."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from omaim.client import Client, disk, download
from omaim.client.disk import Disk, Work
from omaim.client.failures import Failure
from omaim.client.file_offer import FileOffer
from omaim.client.partial import Partial
from omaim.client.upload import Upload
from omaim.testing.clock import Clock
from tests.net.loopback import LoopbackCase

DATA = bytes(range(256)) * 20_000  # about 5 MB


class Gate:
    """Holds up a step in its thread, until it is opened.

    Attributes:
        came: how often it was come to.
    """

    def __init__(self, act: Callable[..., Any], after: int = 0) -> None:
        self.came = 0
        self._act = act
        self._after = after
        self._open = threading.Event()

    def __get__(self, instance: Any, owner: Any) -> Callable[..., Any]:
        def enter(*args: Any) -> Any:
            self.came += 1
            assert threading.current_thread() is not threading.main_thread()
            if self.came > self._after:
                self._open.wait(20.0)
            return self._act(instance, *args)

        return enter

    def open(self) -> None:
        self._open.set()


async def turns(count: int = 50) -> None:
    """Let the reactor go round."""
    for _ in range(count):
        await deferLater(reactor, 0.001)


class SlowTests(LoopbackCase):
    """Two clients over loopback sockets; the disk of one of them stands still."""

    timeout = 60

    async def open(self, name: str, server: str, port: int = 0) -> Client:
        client = Client(
            f"{name}@north.example", "", server, listen=f"127.0.0.1:{port}", clock=reactor
        )
        self.addCleanup(lambda: Deferred.fromCoroutine(client.close()))
        await client.open()
        return client

    async def pair(self) -> tuple[Client, Client]:
        bob = await self.open("bob", "127.0.0.1:9")
        port = bob.endpoint.listeners[0].port
        alice = await self.open("alice", f"127.0.0.1:{port}")
        bob.auto_accept = True
        return alice, bob

    def gate(self, owner: Any, name: str, after: int = 0) -> Gate:
        gate = Gate(getattr(owner, name), after)
        self.patch(owner, name, gate)
        self.addCleanup(gate.open)
        return gate

    def file(self) -> Path:
        path = Path(self.mktemp())
        path.write_bytes(DATA)
        return path

    async def _talks_on(self, gate: Gate, alice: Client, bob: Client) -> None:
        """While the disk stands still, everything else goes on."""
        await self.until(lambda: gate.came)
        for text in ("still", "here"):
            await alice.send("bob", text, reports=())
            self.assertEqual((await bob.inbox.next()).text, text)

    async def _arrives(self, gate: Gate, upload: Upload, bob: Client) -> None:
        """When the disk goes on, the file comes whole."""
        gate.open()
        await upload.done()
        assert bob.files.folder is not None
        (taken,) = Path(bob.files.folder).iterdir()
        self.assertEqual(taken.read_bytes(), DATA)

    def test_writing(self) -> Any:
        """Who takes a file with a slow disk still talks, and makes the sender wait (§7.1)."""

        async def case() -> None:
            alice, bob = await self.pair()
            gate = self.gate(Partial, "write", after=3)
            bob.files.folder = Path(self.mktemp())
            upload = await alice.send_file("bob", self.file())
            await self._talks_on(gate, alice, bob)
            (transfer,) = [one for one in bob.sessions._means.legs if one.media[0] is not None]
            await turns()
            self.assertFalse(upload.over)
            medium = transfer.media[0]
            assert medium is not None
            waiting = medium.session.user.on_closed.__self__._behind  # type: ignore[attr-defined]
            self.assertLess(waiting, download.BEHIND + 300_000)
            await self._arrives(gate, upload, bob)

        return Deferred.fromCoroutine(case())

    def test_finishing(self) -> Any:
        """The last answer waits until the file is in its place, and nobody else does."""

        async def case() -> None:
            alice, bob = await self.pair()
            gate = self.gate(Partial, "finish")
            bob.files.folder = Path(self.mktemp())
            upload = await alice.send_file("bob", self.file())
            await self._talks_on(gate, alice, bob)
            self.assertFalse(upload.over)
            await self._arrives(gate, upload, bob)

        return Deferred.fromCoroutine(case())

    def test_reading(self) -> Any:
        """Who sends a file from a slow disk still talks."""

        async def case() -> None:
            alice, bob = await self.pair()
            gate = self.gate(Upload, "_read", after=2)
            bob.files.folder = Path(self.mktemp())
            upload = await alice.send_file("bob", self.file())
            await self._talks_on(gate, alice, bob)
            self.assertFalse(upload.over)
            gate.open()
            await upload.done()

        return Deferred.fromCoroutine(case())

    def test_looking(self) -> Any:
        """Before a file is offered it is hashed: that holds up nobody, and can be given up."""

        async def case() -> None:
            alice, bob = await self.pair()
            gate = self.gate(Path, "stat")
            sending = Deferred.fromCoroutine(alice.send_file("bob", self.file()))
            await self._talks_on(gate, alice, bob)
            self.assertFalse(sending.called)
            sending.cancel()
            self.failureResultOf(sending, CancelledError)
            gate.open()

        return Deferred.fromCoroutine(case())

    def test_given_up(self) -> Any:
        """A file that is given up while the disk stands still leaves nothing behind."""

        async def case() -> None:
            alice, bob = await self.pair()
            gate = self.gate(Partial, "write", after=1)
            folder = Path(self.mktemp())
            offers: list[FileOffer] = []
            bob.on_file(offers.append)
            sending = Deferred.fromCoroutine(alice.send_file("bob", self.file()))
            await self.until(lambda: offers)
            taking = await offers[0].accept(folder)
            upload = await sending
            await self.until(lambda: gate.came > 1)
            taking.abort()
            self.assertTrue(taking.over)
            with self.assertRaises(Failure):
                await upload.done()
            self.assertEqual(len(list(folder.iterdir())), 1)
            gate.open()
            await bob.files.disk.idle()
            self.assertEqual(list(folder.iterdir()), [])
            self.assertEqual(bob.files._busy, set())

        return Deferred.fromCoroutine(case())

    def test_closed(self) -> Any:
        """A client that is closed meanwhile keeps what has come, in order, to go on with."""

        async def case() -> None:
            alice, bob = await self.pair()
            gate = self.gate(Partial, "write", after=2)
            folder = bob.files.folder = Path(self.mktemp())
            await alice.send_file("bob", self.file())
            await self.until(lambda: gate.came > 2)
            closing = Deferred.fromCoroutine(bob.close())
            await turns()
            gate.open()
            await closing
            (part,) = folder.iterdir()
            kept = part.read_bytes()
            self.assertGreater(len(kept), 0)
            self.assertEqual(kept, DATA[: len(kept)])

        return Deferred.fromCoroutine(case())

    def test_full(self) -> Any:
        """A disk that is full ends the transfer for both, and the sender knows (RFC 4975 §10)."""

        async def case() -> None:
            def write(partial: Partial, data: bytes) -> None:
                raise OSError(28, "No space left on device")

            alice, bob = await self.pair()
            self.patch(Partial, "write", write)
            bob.files.folder = Path(self.mktemp())
            upload = await alice.send_file("bob", self.file())
            with self.assertRaises(Failure) as caught:
                await upload.done()
            self.assertEqual(caught.exception.status, 413)

        return Deferred.fromCoroutine(case())


class WorkTests(SynchronousTestCase):
    """The steps themselves, in virtual time."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.disk = Disk(self.clock)

    def test_order(self) -> None:
        """Steps of one file keep their order, whatever one of them raises."""
        work = Work(self.disk)
        done: list[int] = []
        steps = [work.do(done.append, number) for number in range(5)]
        steps.insert(2, work.do(int, "no number"))  # type: ignore[arg-type]
        self.assertEqual(done, [])
        self.clock.advance(1.0)
        self.assertEqual(done, [0, 1, 2, 3, 4])
        self.failureResultOf(steps[2], ValueError)

    def test_cancelled(self) -> None:
        """Who gives up waiting does not let the next step overtake the one under way."""
        work = Work(self.disk)
        done: list[int] = []
        first = work.do(done.append, 1)
        second = work.do(done.append, 2)
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertEqual(done, [])
        self.clock.advance(1.0)
        self.successResultOf(second)
        self.assertEqual(done, [1, 2])

    def test_idle(self) -> None:
        """It is known when nothing is under way."""
        self.successResultOf(self.disk.idle())
        for _ in range(2 * disk.AT_A_TIME):
            self.disk.run(int)
        waiting = self.disk.idle()
        self.assertNoResult(waiting)
        self.clock.advance(1.0)
        self.successResultOf(waiting)
