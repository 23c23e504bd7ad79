"""What every network does: one contract, for the real one and the simulated one."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.interfaces import IReadDescriptor, IWriteDescriptor
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from omaim.errors import Unavailable
from omaim.net.network import INetwork, ReactorNetwork
from omaim.net.stream import ROUNDS, Turn
from omaim.net.udp import BATCH, NEAR, QUEUE, SPARSE, DatagramSocket
from omaim.testing.network import Clock, SimulatedNetwork

PATIENCE = 5000  # steps of a millisecond


class Receiver:
    """Remembers what happens on a stream."""

    def __init__(self, echo: bool = False) -> None:
        self.stream: Any = None
        self.data = b""
        self.why: str | None = None
        self.drains = 0
        self._echo = echo

    def connected(self, stream: Any) -> None:
        self.stream = stream

    def received(self, data: bytes) -> None:
        self.data += data
        if self._echo:
            self.stream.write(data)

    def drained(self) -> None:
        self.drains += 1

    def closed(self, why: str) -> None:
        assert self.why is None, "closed is the last call, and comes once"
        self.why = why


class Contract:
    """What is expected of an ``INetwork``; ``host`` is an address that may be bound."""

    network: Any
    host = "127.0.0.1"

    async def until(self, true: Callable[[], object]) -> None:
        """Let time pass until something is true."""
        raise NotImplementedError

    async def pair(self, echo: bool = False) -> tuple[Receiver, Receiver]:
        """Return both ends of a stream: who accepted, who connected."""
        far, near = Receiver(echo), Receiver()
        self.listening = self.network.listen_stream(self.host, 0, lambda host, port: far)
        self.network.connect_stream(self.host, self.listening.port, near)
        await self.until(lambda: near.stream and far.stream)
        return far, near

    async def end(self, *receivers: Receiver) -> None:
        """End the streams and the listener."""
        for receiver in receivers:
            if receiver.why is None:
                receiver.stream.abort()
        await self.until(lambda: all(receiver.why is not None for receiver in receivers))
        await self.listening.close()

    async def test_interface(self) -> None:
        """It provides what it promises."""
        assert verifyObject(INetwork, self.network)

    async def test_datagrams(self) -> None:
        """A datagram arrives whole, with its source, also an empty and a large one."""
        got: list[tuple[bytes, Any]] = []
        one = self.network.listen_datagram(self.host, 0, lambda *args: got.append(args))
        two = self.network.listen_datagram(self.host, 0, lambda *args: got.append(args))
        for data in (b"x", b"", b"y" * 60_000):
            got.clear()
            assert one.send(data, (two.host, two.port))
            await self.until(lambda: got)
            assert got[0][0] == data
            assert got[0][1][:2] == (one.host, one.port)
        await one.close()
        await two.close()

    async def test_datagrams_refused(self) -> None:
        """What the system will never carry is refused at once."""
        one = self.network.listen_datagram(self.host, 0, lambda *args: None)
        assert not one.send(b"x" * 70_000, (self.host, 9))
        assert not one.send(b"x", (self.host, 0))
        assert not one.send(b"x", (self.host, 70_000))
        assert not one.send(b"x", ("::1", 9))
        await one.close()

    async def test_address_in_use(self) -> None:
        """An address that is taken, or is not ours, is Unavailable; a closed one is free."""
        one = self.network.listen_datagram(self.host, 0, lambda *args: None)
        two = self.network.listen_stream(self.host, 0, lambda *args: None)
        for listen, port in (
            (self.network.listen_datagram, one.port),
            (self.network.listen_stream, two.port),
        ):
            for host in (self.host, "host.example"):
                try:
                    listen(host, port, lambda *args: None)
                except Unavailable:
                    continue
                raise AssertionError("that address is taken or none")
        await one.close()
        await two.close()
        await self.network.listen_datagram(self.host, one.port, lambda *args: None).close()

    async def test_stream(self) -> None:
        """Octets arrive in order; both ends know both addresses."""
        far, near = await self.pair(echo=True)
        for at in range(50):
            near.stream.write(b"%d " % at)
        expected = b"".join(b"%d " % at for at in range(50))
        await self.until(lambda: len(near.data) == len(expected))
        assert near.data == far.data == expected
        assert near.stream.remote == far.stream.local == (self.host, self.listening.port)
        assert near.stream.local == far.stream.remote
        assert not near.stream.secure
        assert near.stream.peer_names == ()
        await self.end(far, near)

    async def test_clean_end(self) -> None:
        """close() sends what was written, then ends; both hear ""."""
        far, near = await self.pair()
        near.stream.write(b"x" * 500_000)
        near.stream.close()
        await self.until(lambda: far.why is not None and near.why is not None)
        assert len(far.data) == 500_000
        assert (far.why, near.why) == ("", "")
        await self.end(far, near)

    async def test_abort(self) -> None:
        """abort() ends at once; the other side hears of it."""
        far, near = await self.pair()
        near.stream.abort()
        await self.until(lambda: far.why is not None and near.why is not None)
        near.stream.write(b"nothing comes of this")
        near.stream.close()
        near.stream.abort()
        await self.end(far, near)

    async def test_back_pressure(self) -> None:
        """For a peer that does not read, octets are kept and counted; then it is told."""
        far, near = await self.pair()
        far.stream.pause()
        total = 0
        for _ in range(200):
            near.stream.write(b"x" * 65_536)
            total += 65_536
        await self.until(lambda: near.stream.buffered > 1_000_000)
        far.stream.resume()
        await self.until(lambda: len(far.data) == total)
        await self.until(lambda: near.stream.buffered == 0 and near.drains)
        await self.end(far, near)

    async def test_refused(self) -> None:
        """A closed port, and a listener that wants nobody, end in closed()."""
        closed = self.network.listen_stream(self.host, 0, lambda *args: None)
        await closed.close()
        receiver = Receiver()
        self.network.connect_stream(self.host, closed.port, receiver)
        assert receiver.why is None
        await self.until(lambda: receiver.why)
        assert receiver.stream is None
        self.listening = self.network.listen_stream(self.host, 0, lambda *args: None)
        receiver = Receiver()
        self.network.connect_stream(self.host, self.listening.port, receiver)
        await self.until(lambda: receiver.why is not None)
        await self.listening.close()

    async def test_no_address(self) -> None:
        """What is no numeric address ends in closed(), and nobody is asked for it."""
        for host in ("host.example", "::zz", ":", "", "1.2.3.4.5", "a\0b"):
            receiver = Receiver()
            give_up = self.network.connect_stream(host, 5060, receiver)
            assert receiver.why is None
            give_up()
            await self.until(lambda receiver=receiver: receiver.why)  # type: ignore[misc]
            assert receiver.stream is None

    async def test_given_up(self) -> None:
        """An attempt that is given up ends in closed()."""
        far = Receiver()
        self.listening = self.network.listen_stream(self.host, 0, lambda *args: far)
        receiver = Receiver()
        self.network.connect_stream(self.host, self.listening.port, receiver)()
        await self.until(lambda: receiver.why is not None)
        assert receiver.stream is None
        await self.listening.close()

    async def test_local_host(self) -> None:
        """A stream may leave from an address of choice; a source can be asked for."""
        far, near = Receiver(), Receiver()
        self.listening = self.network.listen_stream(self.host, 0, lambda host, port: far)
        port = self.listening.port
        self.network.connect_stream(self.host, port, near, local_host=self.host)
        await self.until(lambda: near.stream and far.stream)
        assert far.stream.remote[0] == self.host
        assert self.network.is_local(self.network.source_for(self.host))
        assert not self.network.is_local("host.example")
        await self.end(far, near)


class SimulatedContractTests(Contract, TestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.network = SimulatedNetwork(self.clock, 1)

    async def until(self, true: Callable[[], object]) -> None:
        assert self.clock.run(true, 120)


class LoopbackContractTests(Contract, TestCase):
    def setUp(self) -> None:
        self.network = ReactorNetwork(reactor)

    async def until(self, true: Callable[[], object]) -> None:
        for _ in range(PATIENCE):
            if true():
                return
            await deferLater(reactor, 0.001)
        raise AssertionError("nothing came of it")


class LoopbackIpv6ContractTests(LoopbackContractTests):
    host = "::1"

    async def test_datagrams_refused(self) -> None:
        """An address of the other family is refused at once."""
        one = self.network.listen_datagram(self.host, 0, lambda *args: None)
        assert not one.send(b"x" * 70_000, (self.host, 9))
        assert not one.send(b"x", ("10.0.0.1", 9))
        await one.close()


class _Reactor:
    """Notes who wants to read and write."""

    def __init__(self) -> None:
        self.readers: set[object] = set()
        self.writers: set[object] = set()
        self.addReader = self.readers.add
        self.removeReader = self.readers.discard
        self.addWriter = self.writers.add
        self.removeWriter = self.writers.discard


class DatagramSocketTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = _Reactor()
        self.got: list[bytes] = []
        self.socket = DatagramSocket(
            self.reactor, "127.0.0.1", 0, lambda data, _: self.got.append(data)
        )
        self.addCleanup(self.socket.close)
        self.peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(self.peer.close)

    def test_interfaces(self) -> None:
        """It is what a reactor can wait for."""
        self.assertTrue(verifyObject(IReadDescriptor, self.socket))
        self.assertTrue(verifyObject(IWriteDescriptor, self.socket))
        self.assertIn(self.socket, self.reactor.readers)

    def test_batch(self) -> None:
        """One wake takes many datagrams, but not so many that others starve."""
        for _ in range(BATCH + 10):
            self.peer.sendto(b"x", ("127.0.0.1", self.socket.port))
        self.socket.doRead()
        self.assertEqual(len(self.got), BATCH)
        self.socket.doRead()
        self.assertEqual(len(self.got), BATCH + 10)

    def test_receiver_fails(self) -> None:
        """A failing receiver is logged, and hurts no other datagram."""

        def broken(data: bytes, address: object) -> None:
            self.got.append(data)
            raise ZeroDivisionError

        self.socket._received = broken
        for _ in range(3):
            self.peer.sendto(b"x", ("127.0.0.1", self.socket.port))
        self.socket.doRead()
        self.assertEqual(len(self.got), 3)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 3)

    def test_busy(self) -> None:
        """While the system takes none, some are kept, in order, and the rest is lost."""
        self.peer.bind(("127.0.0.1", 0))
        self.peer.settimeout(5)
        address = self.peer.getsockname()
        real, self.socket._socket = self.socket._socket, _Busy()  # type: ignore[assignment]
        for at in range(QUEUE + 50):
            self.assertTrue(self.socket.send(b"%d" % at, address))
        self.assertEqual(len(self.socket._waiting), QUEUE)
        self.assertIn(self.socket, self.reactor.writers)
        self.socket.doWrite()
        self.assertEqual(len(self.socket._waiting), QUEUE)
        self.socket._socket = real
        self.socket.doWrite()
        self.assertEqual([self.peer.recv(9) for _ in range(3)], [b"0", b"1", b"2"])
        for _ in range(QUEUE // BATCH + 1):
            self.socket.doWrite()
        self.assertNotIn(self.socket, self.reactor.writers)

    def test_sparse(self) -> None:
        """Where datagrams come one by one, none is lost or left, whatever we look for."""
        for at in range(3 * SPARSE):
            self.peer.sendto(b"%d" % at, ("127.0.0.1", self.socket.port))
            self.socket.doRead()
            self.assertEqual(self.got[-1], b"%d" % at)
        for _ in range(BATCH):
            self.peer.sendto(b"x", ("127.0.0.1", self.socket.port))
        for _ in range(SPARSE + 1):
            self.socket.doRead()
        self.assertEqual(len(self.got), 3 * SPARSE + BATCH)

    def test_near(self) -> None:
        """What is for a socket of the same network goes there in the same turn, in order."""
        clock = Clock()
        turn, near, got = Turn(clock), {}, []  # type: ignore[var-annotated]
        reactor = _Reactor()
        sockets: list[DatagramSocket] = []

        def received(data: bytes, source: object) -> None:
            got.append((data, source))
            if len(data) < 6:  # there and back
                sockets[len(data) % 2].send(data + b"x", sockets[1 - len(data) % 2]._address)

        for _ in range(2):
            one = DatagramSocket(reactor, "127.0.0.1", 0, received, turn, near=near)
            self.addCleanup(one.close)
            sockets.append(one)
        turn.begin()
        for data in (b"1x", b"2x"):
            self.assertTrue(sockets[0].send(data, sockets[1]._address))
        self.assertEqual(got, [])
        turn.end()
        lengths = [len(data) for data, _ in got]
        self.assertEqual(lengths, sorted(lengths))
        self.assertEqual([data[:1] for data, _ in got], [b"1", b"2"] * 5)
        self.assertEqual(got[0][1], sockets[0]._address)
        sockets[0].send(b"outside a turn", sockets[1]._address)
        self.assertEqual(len(got), 10)
        clock.advance(0)
        self.assertEqual(len(got), 11)
        sockets[0].send(b"for nobody", sockets[1]._address)
        sockets[1].close()
        clock.advance(0)
        self.assertEqual(len(got), 11)
        self.assertNotIn(sockets[1]._address, near)

    def test_near_for_ever(self) -> None:
        """Two that answer each other without end leave time for others; a flood is cut."""
        calls = _Calls()
        turn, near = Turn(calls), {}  # type: ignore[var-annotated]
        seen: list[bytes] = []
        sockets: list[DatagramSocket] = []

        def received(data: bytes, source: object) -> None:
            seen.append(data)
            sockets[len(seen) % 2].send(data, source)

        for _ in range(2):
            one = DatagramSocket(self.reactor, "127.0.0.1", 0, received, turn, near=near)
            self.addCleanup(one.close)
            sockets.append(one)
        sockets[0].send(b"x", sockets[1]._address)
        for times in (1, 2, 3):
            (call,) = calls
            calls.clear()
            call()
            self.assertEqual(len(seen), times * ROUNDS)
        for _ in range(NEAR + 10):
            sockets[0].hand(b"y", sockets[1]._address)
        self.assertEqual(len(sockets[0]._arrived), NEAR)

    def test_closed(self) -> None:
        """A closed socket sends and receives nothing, and leaves the reactor."""
        self.socket.close()
        self.assertFalse(self.socket.send(b"x", ("127.0.0.1", 9)))
        self.assertEqual((self.reactor.readers, self.reactor.writers), (set(), set()))


class _Calls(list[Callable[[], object]]):
    """What a reactor is asked to call later."""

    def callLater(self, delay: float, act: Callable[[], object]) -> None:
        self.append(act)


class _Busy:
    """A socket whose buffer is full."""

    def sendto(self, data: bytes, address: object) -> None:
        raise BlockingIOError
