"""What is ready, called without ceremony: as Twisted does, but for the ceremony."""

from __future__ import annotations

import socket
import sys
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IReadDescriptor, IWriteDescriptor
from twisted.internet.main import CONNECTION_DONE
from twisted.python import context
from twisted.python.log import ILogContext
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from omaim.net.polling import AGAIN, straight


@implementer(IReadDescriptor, IWriteDescriptor)
class End:
    """One end of a pair of sockets: notes what it is called for."""

    def __init__(self, reactor: Any, seen: list[str], name: str) -> None:
        self.reactor = reactor
        self.seen = seen
        self.name = name
        self.near, self.far = socket.socketpair()
        self.reading: Any = None
        self.losing: Any = None
        self.system: Any = "not served"

    def fileno(self) -> int:
        return self.near.fileno()

    def logPrefix(self) -> str:
        return self.name

    def doRead(self) -> Any:
        self.system = context.get(ILogContext)["system"]
        self.seen.append(f"{self.name} reads {self.near.recv(100)!r}")
        return self.reading and self.reading()

    def doWrite(self) -> Any:
        self.seen.append(f"{self.name} writes")
        self.reactor.removeWriter(self)

    def connectionLost(self, reason: Any) -> None:
        self.seen.append(f"{self.name} is lost: {reason.type.__name__}")
        if self.losing:
            self.losing()


class Loud(EPollReactor):
    """A reactor of somebody else's."""


class StraightTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.seen: list[str] = []

    def made(self, kind: type[Any] = EPollReactor, names: str = "a") -> tuple[Any, list[End]]:
        """Return a reactor that does not run, and descriptors that it reads."""
        reactor = kind()
        ends = [End(reactor, self.seen, name) for name in names]
        for end in ends:
            reactor.addReader(end)
            self.addCleanup(end.near.close)
            self.addCleanup(end.far.close)
        for one in (*reactor._internalReaders, reactor._poller):
            self.addCleanup(
                getattr(one, "close", None) or (lambda one=one: one.connectionLost(None))
            )
        return reactor, ends

    def test_served(self) -> None:
        """Reading, writing and the end of the peer reach a descriptor as they always do."""
        histories = []
        for change in (straight, lambda reactor: None):
            reactor, (end,) = self.made()
            change(reactor)
            change(reactor)
            reactor.doIteration(0)
            end.far.send(b"hello")
            reactor.doIteration(0)
            reactor.addWriter(end)
            reactor.doIteration(0)
            reactor.doIteration(0)
            end.reading = lambda: CONNECTION_DONE
            end.far.close()
            reactor.doIteration(0)
            self.assertEqual(reactor.getReaders().count(end), 0)
            histories.append(self.seen[:])
            self.seen.clear()
        self.assertEqual(histories[0], histories[1])
        self.assertEqual(
            histories[0],
            ["a reads b'hello'", "a writes", "a reads b''", "a is lost: ConnectionDone"],
        )

    def test_context(self) -> None:
        """No context is made; other reactors make theirs."""
        for kind, system in ((EPollReactor, "-"), (Loud, "a")):
            reactor, (end,) = self.made(kind)
            straight(reactor)
            end.far.send(b"hello")
            reactor.doIteration(0)
            self.assertEqual(end.system, system)

    def test_failures(self) -> None:
        """Whoever fails is lost and logged, even when losing fails; the next is served."""
        reactor, ends = self.made(names="ab")
        straight(reactor)

        def fail() -> None:
            raise ArithmeticError

        for end in ends:
            end.reading = end.losing = fail
            end.far.send(b"hello")
        reactor.doIteration(0)
        self.assertEqual(
            sorted(self.seen),
            [
                "a is lost: ArithmeticError",
                "a reads b'hello'",
                "b is lost: ArithmeticError",
                "b reads b'hello'",
            ],
        )
        self.assertEqual(len(self.flushLoggedErrors(ArithmeticError)), 4)

    def test_gone_meanwhile(self) -> None:
        """Who was let go of while others were served is not called."""
        reactor, ends = self.made(names="ab")
        straight(reactor)
        for end, other in (ends, reversed(ends)):
            end.reading = lambda other=other: reactor.removeReader(other)
            end.far.send(b"hello")
        reactor.doIteration(0)
        self.assertEqual(len(self.seen), 1)

    def test_again(self) -> None:
        """It waits again at once, until it is given a call, told to stop, or has nothing."""
        for act in (
            lambda reactor: reactor.callLater(0, int),
            lambda reactor: reactor.threadCallQueue.append(int),
            lambda reactor: setattr(reactor, "_justStopped", True),
            lambda reactor: setattr(reactor, "running", False),
            lambda reactor: None,
        ):
            reactor, (end,) = self.made()
            straight(reactor)
            reactor.running = True
            reactor.callLater(0.001, int)
            reactor._insertNewDelayedCalls()
            before = reactor.seconds

            def again(reactor: Any = reactor, end: End = end, act: Any = act) -> None:
                if len(self.seen) < 3:
                    end.far.send(b"hello")
                else:
                    act(reactor)

            end.reading = again
            end.far.send(b"hello")
            begun = before()
            reactor.doIteration(5)
            self.assertEqual(len(self.seen), 3)
            self.assertLess(before() - begun, 4)
            self.seen.clear()

    def test_bounded(self) -> None:
        """Who always has something to be read does not keep a reactor from its own loop."""
        reactor, (end,) = self.made()
        straight(reactor)
        reactor.running = True
        end.reading = lambda: end.far.send(b"hello") and None
        end.far.send(b"hello")
        reactor.doIteration(5)
        self.assertEqual(len(self.seen), AGAIN)

    def test_others(self) -> None:
        """A clock, and a Twisted that is made otherwise, are left alone."""

        class Other:
            pass

        Other.__name__ = "EPollReactor"
        module = sys.modules["twisted.internet.epollreactor"]
        for kind in (Other, object):
            self.patch(module, "EPollReactor", Other)
            other = kind()
            straight(other)
            self.assertFalse(hasattr(other, "doIteration"))
