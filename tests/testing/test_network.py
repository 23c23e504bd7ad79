"""The simulated network: what it does on purpose. (What all networks do: tests/net.)"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from omaim.testing.network import PATIENCE, Clock, Link, SimulatedNetwork


class ClockTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock(100.0)
        self.seen: list[tuple[str, float]] = []

    def note(self, name: str) -> None:
        self.seen.append((name, self.clock.seconds()))

    def test_interfaces(self) -> None:
        """It can stand where a reactor gives the time."""
        self.assertTrue(verifyObject(IReactorTime, self.clock))
        self.assertTrue(verifyObject(IDelayedCall, self.clock.callLater(1, self.note, "x")))

    def test_each_at_its_moment(self) -> None:
        """Calls come in order of time, then of their making, each seeing its own moment."""
        for delay, name in ((2, "c"), (1, "a"), (1, "b"), (9, "z")):
            self.clock.callLater(delay, self.note, name)
        self.clock.advance(5)
        self.assertEqual(self.seen, [("a", 101.0), ("b", 101.0), ("c", 102.0)])
        self.assertEqual(self.clock.seconds(), 105.0)

    def test_calls_that_call(self) -> None:
        """What becomes due while time passes happens too."""
        self.clock.callLater(1, lambda: self.clock.callLater(1, self.note, "later"))
        self.clock.advance(3)
        self.assertEqual(self.seen, [("later", 102.0)])

    def test_moved(self) -> None:
        """A call may be cancelled, delayed and reset, once it is not over."""
        gone, later, sooner = (self.clock.callLater(5, self.note, n) for n in ("g", "l", "s"))
        gone.cancel()
        later.delay(5)
        sooner.reset(1)
        self.assertEqual(len(self.clock.getDelayedCalls()), 2)
        self.clock.pump([1, 8, 1])
        self.assertEqual(self.seen, [("s", 101.0), ("l", 110.0)])
        self.assertRaises(AlreadyCancelled, gone.cancel)
        self.assertRaises(AlreadyCalled, later.reset, 1)
        self.assertFalse(later.active())

    def test_wait(self) -> None:
        """A Deferred is waited for in virtual time; patience has an end."""
        result: Deferred[str] = Deferred()
        self.clock.callLater(3600, result.callback, "done")
        self.assertEqual(self.clock.wait(result), "done")
        self.assertEqual(self.clock.seconds(), 3700.0)
        self.assertRaises(TimeoutError, self.clock.wait, Deferred(), 10)
        failed: Deferred[str] = Deferred()
        self.clock.callLater(1, failed.errback, KeyError("x"))
        self.assertRaises(KeyError, self.clock.wait, failed)


class Recorder:
    """Remembers what happens on a stream."""

    def __init__(self) -> None:
        self.stream: Any = None
        self.data = b""
        self.why: str | None = None

    def connected(self, stream: Any) -> None:
        self.stream = stream

    def received(self, data: bytes) -> None:
        self.data += data

    def drained(self) -> None:
        """Nobody waits for this."""

    def closed(self, why: str) -> None:
        self.why = why


class LinkTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.network = SimulatedNetwork(self.clock, 7)
        self.got: list[int] = []
        self.times: list[float] = []
        self.one = self.network.listen_datagram("10.0.0.1", 5060, lambda data, address: None)
        self.two = self.network.listen_datagram("10.0.0.2", 5060, self.arrived)

    def arrived(self, data: bytes, address: Any) -> None:
        self.got.append(int(data))
        self.times.append(self.clock.seconds())

    def burst(self, count: int = 1000) -> None:
        for at in range(count):
            self.one.send(b"%d" % at, ("10.0.0.2", 5060))
        self.clock.advance(10)

    def test_perfect(self) -> None:
        """By default everything arrives, in order, after the delay."""
        start = self.clock.seconds()
        self.burst(10)
        self.assertEqual(self.got, list(range(10)))
        self.assertEqual({round(at - start, 6) for at in self.times}, {0.001})

    def test_loss_and_duplication(self) -> None:
        """The shares that are lost and doubled are about those asked for."""
        self.network.link = Link(loss=0.2, duplicate=0.1)
        self.burst()
        self.assertTrue(700 < len(set(self.got)) < 900)
        self.assertTrue(20 < len(self.got) - len(set(self.got)) < 150)
        self.assertEqual(self.network.datagrams, 1000)
        self.assertGreater(self.network.lost, 100)

    def test_disorder(self) -> None:
        """Datagrams overtake one another where asked."""
        self.network.link = Link(reorder=0.1)
        for at in range(100):
            self.one.send(b"%d" % at, ("10.0.0.2", 5060))
            self.clock.advance(0.001)
        self.clock.advance(1)
        self.assertNotEqual(self.got, sorted(self.got))
        self.assertEqual(sorted(self.got), list(range(100)))

    def test_one_path_only(self) -> None:
        """A path can be unlike the others."""
        self.network.between("10.0.0.1", "10.0.0.2", Link(delay=3.0))
        start = self.clock.seconds()
        self.burst(1)
        self.assertEqual(round(self.times[0] - start, 6), 3.0)

    def test_cut(self) -> None:
        """What is cut off gets nothing until it is mended."""
        for pair in (("10.0.0.1", "10.0.0.2"), ("10.0.0.2",)):
            self.network.cut(*pair)
            self.burst(5)
            self.assertEqual(self.got, [])
            self.network.mend(*pair)
            self.burst(5)
            self.assertEqual(len(self.got), 5)
            self.got.clear()

    def test_nobody_there(self) -> None:
        """A datagram to a closed port is lost without a word."""
        self.two.close()
        self.burst(1)
        self.assertEqual((self.got, self.network.lost), ([], 1))


class StreamCutTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.network = SimulatedNetwork(self.clock, 7, Link(split=0.5, loss=0.3))
        self.near, self.far = Recorder(), Recorder()
        self.network.listen_stream("10.0.0.2", 5060, lambda host, port: self.far)
        self.network.connect_stream("10.0.0.2", 5060, self.near, local_host="10.0.0.1")
        self.clock.advance(1)

    def test_loss_only_delays(self) -> None:
        """A stream arrives whole and in order over a bad path, later."""
        data = bytes(range(256)) * 200
        self.near.stream.write(data)
        self.clock.advance(60)
        self.assertEqual(self.far.data, data)

    def test_short_cut(self) -> None:
        """A stream survives a cut that ends in time, and loses nothing."""
        self.network.cut("10.0.0.2")
        self.near.stream.write(b"hello")
        self.clock.advance(PATIENCE / 2)
        self.assertEqual((self.far.data, self.near.why), (b"", None))
        self.network.mend("10.0.0.2")
        self.clock.advance(1)
        self.assertEqual((self.far.data, self.near.why), (b"hello", None))

    def test_long_cut(self) -> None:
        """A stream with something to say dies of a long cut; one without does not notice."""
        self.network.cut("10.0.0.2")
        self.near.stream.write(b"hello")
        self.clock.advance(PATIENCE + 1)
        self.assertEqual((self.near.why, self.far.why), ("Connection timed out", None))

    def test_reset(self) -> None:
        """A reset ends both ends at once."""
        self.network.reset("10.0.0.1", "10.0.0.2")
        self.clock.advance(1)
        self.assertEqual((self.near.why, self.far.why), ("Connection was reset",) * 2)

    def test_connecting_across_a_cut(self) -> None:
        """An attempt across a cut takes as long as it may, and fails."""
        self.network.cut("10.0.0.2")
        late = Recorder()
        self.network.connect_stream("10.0.0.2", 5060, late, timeout=5)
        self.clock.advance(4)
        self.assertIsNone(late.why)
        self.clock.advance(2)
        self.assertIsNotNone(late.why)
