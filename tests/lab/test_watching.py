"""omaim/lab/watching.py: the wire of a running lab, drawn as it goes."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from omaim.features.ladder import Ladder
from omaim.lab.watching import LATEST, OFTEN, Watching
from omaim.net.network import ReactorNetwork
from omaim.net.wire import WireRecord
from omaim.node.config import NodeConfig
from omaim.node.node import Node
from omaim.stores.memory import memory_stores
from tests.features.ladders import PLACES, both, request


class WatchingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        config = NodeConfig(state="memory:")
        self.node = Node(config, self.clock, ReactorNetwork(reactor), memory_stores())
        for place in PLACES:
            self.node.directory.note(place)
        self.shown: list[Ladder] = []
        self.watching = Watching(self.node, self.shown.append)
        self.addCleanup(self.watching.stop)

    def see(self, records: list[WireRecord]) -> None:
        look = self.node.wire.record
        assert look is not None
        for record in records:
            look(record)

    def test_from_silence_to_silence(self) -> None:
        """What belongs together is one picture, shown once the wire is quiet."""
        self.see(both(0.0, "alice", "core-north", request(1)))
        self.clock.advance(OFTEN)
        self.see(both(0.1, "core-north", "im-north", request(1)))
        self.clock.advance(OFTEN)
        self.assertEqual(self.shown, [])
        self.clock.advance(OFTEN)
        (ladder,) = self.shown
        self.assertEqual([step.point for step in ladder.steps], ["IM-1", "IM-2"])
        self.clock.advance(10)
        self.assertEqual(len(self.shown), 1)

    def test_never_quiet(self) -> None:
        """A wire that is never quiet is shown all the same."""
        for number in range(round(LATEST / OFTEN) + 2):
            self.see(both(number * OFTEN, "alice", "core-north", request(number)))
            self.clock.advance(OFTEN)
        self.assertEqual(len(self.shown), 1)

    def test_keep_alives(self) -> None:
        """Keep-alives alone are not worth a picture."""
        self.see(both(0.0, "alice", "core-north", b"\r\n\r\n"))
        self.clock.pump([OFTEN, OFTEN])
        self.assertEqual(self.shown, [])

    def test_stop(self) -> None:
        """At the end the rest is shown, and nobody looks at the wire any more."""
        self.see(both(0.0, "alice", "core-north", request(1)))
        self.watching.stop()
        self.assertEqual(len(self.shown), 1)
        self.assertIsNone(self.node.wire.record)
        self.assertEqual(self.clock.getDelayedCalls(), [])
