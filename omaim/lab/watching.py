"""Show what crosses the wire of a running lab, a few moments after it did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs
from twisted.internet.task import LoopingCall

from omaim.features.ladder import Ladder, Recorder, climb, name_clients
from omaim.features.ladder_sessions import Sessions, name_sessions
from omaim.net.wire import WireRecord
from omaim.node.node import Node

OFTEN: Final = 0.2  # seconds between two looks
LATEST: Final = 2.0  # seconds after which even a busy wire is shown
MOST: Final = 500  # messages in one picture


class Watching:
    """Gives the messages of a node as ladders, each from one silence to the next, until it stops.

    Args:
        node: whose wire it is.
        show: gets each ladder.
    """

    def __init__(self, node: Node, show: Callable[[Ladder], object]) -> None:
        self._node = node
        self._show = show
        self._recorder = Recorder(MOST)
        self._sessions = Sessions(node.directory)
        self._kept: list[WireRecord] = []
        self._since = 0.0
        self._end = node.taps.add_wire(self._recorder)
        self._looking: Any = LoopingCall(self._look)
        self._looking.clock = node.clock
        self._looking.start(OFTEN, now=False)
        node.on_stop(self.stop)

    def stop(self) -> None:
        """Show what is left, and look no more."""
        if not self._looking.running:
            return
        self._looking.stop()
        self._end()
        self._kept += self._recorder.take()
        self._draw()

    def _look(self) -> None:
        news = self._recorder.take()
        now = self._node.clock.seconds()
        if news and not self._kept:
            self._since = now
        self._kept += news
        if self._kept and (not news or now - self._since >= LATEST or len(self._kept) >= MOST):
            self._draw()

    def _draw(self) -> None:
        kept, self._kept = self._kept, []
        directory = self._node.directory
        name_clients(kept, directory)
        name_sessions(kept, directory, self._sessions)
        ladder = climb(kept, directory, sessions=self._sessions)
        steps = tuple(step for step in ladder.steps if step.summary.title != "keep-alive")
        if steps:
            self._show(attrs.evolve(ladder, steps=steps))
