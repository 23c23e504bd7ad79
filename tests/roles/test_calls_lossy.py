"""Calls on networks that lose, repeat and reorder, with changes from both sides at any time."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis.strategies import floats, integers, lists, sampled_from, tuples
from twisted.internet.defer import Deferred

from omaim.roles.call import Call
from omaim.roles.description import CallEnded, CallFailed, Description
from omaim.testing.clock import Clock
from omaim.testing.network import Link, SimulatedNetwork
from tests.roles.calls import Calls, Party

BAD = Link(delay=0.01, jitter=0.05, loss=0.15, duplicate=0.1, reorder=0.15)
MOVES = ("reinvite", "update", "ask", "refresh", "info", "bye")

moves = lists(
    tuples(floats(0.0, 8.0), sampled_from((0, 1)), sampled_from(MOVES)), min_size=1, max_size=10
)


class LossyTests(Calls):
    def start(self, seed: int, link: Link) -> None:
        """Begin anew, so that each example has a network of its own."""
        self.clock = Clock()
        self.network = SimulatedNetwork(self.clock, seed, link)
        self.serial = 0
        self.bob = Party(self.agent("10.0.0.1", "bob"))
        self.alice = Party(self.agent("10.0.0.2", "alice"))
        self.results: list[Deferred[Any]] = []
        self.failures: list[str] = []

    def fresh(self, offer: Description | None = None) -> bytes:
        """Return a description that nobody has given before."""
        self.serial += 1
        return b"v=0 %d\r\n" % self.serial

    def connect(self) -> list[Call]:
        """Return both ends of a call, or nothing where the network was too bad."""
        try:
            ours = self.wait(self.alice.call())
        except CallFailed:
            return []
        self.clock.run(lambda: self.bob.calls and self.bob.calls[0].up, 40.0)
        both = [ours, self.bob.calls[0]]
        for one in both:
            one.on_offer = self.fresh
        return both

    def move(self, call: Call, what: str) -> None:
        """Do one thing; whatever comes of it, something has to."""
        acts = {
            "reinvite": lambda: call.reinvite(self.fresh()),
            "update": lambda: call.update(self.fresh()),
            "ask": call.reinvite,
            "refresh": call.update,
            "info": lambda: call.request_in("INFO"),
            "bye": call.bye,
        }
        result = Deferred.fromCoroutine(acts[what]())
        result.addErrback(self.failed)
        self.results.append(result)

    def failed(self, failure: Any) -> None:
        """Keep what failed as it may."""
        failure.trap(CallEnded, CallFailed)
        self.failures.append(str(failure.value))

    def check(self, ends: list[Call]) -> None:
        """Both sides agree about whether there is a call, and about its session."""
        for result in self.results:
            self.assertTrue(result.called)
        if not ends:
            return
        ours, theirs = ends
        self.assertEqual(ours.over, theirs.over, (ours.ending, theirs.ending))
        if ours.over:
            self.none_left()
        else:
            self.assertEqual((ours.local, ours.remote), (theirs.remote, theirs.local))
            self.assertEqual((ours.calling.outstanding, theirs.calling.outstanding), (0, 0))
            self.assertEqual((len(ours.turns), len(theirs.turns), theirs._answers), (0, 0, {}))

    @given(seed=integers(0, 2**32), script=moves)
    def test_agree(self, seed: int, script: list[tuple[float, int, str]]) -> None:
        """Whatever both do at whatever time, they do not disagree for ever (§14)."""
        self.start(seed, BAD)
        ends = self.connect()
        for pause, side, what in script if ends else []:
            self.move(ends[side], what)
            self.clock.advance(pause)
        self.clock.advance(4000.0)
        self.check(ends)

    @given(seed=integers(0, 2**32), script=moves)
    def test_all_done(self, seed: int, script: list[tuple[float, int, str]]) -> None:
        """On a good network every change gets through, however they cross (§14.1)."""
        self.start(seed, Link(delay=0.05, jitter=0.02))
        ends = self.connect()
        for pause, side, what in script:
            if what != "bye":
                self.move(ends[side], what)
            self.clock.advance(pause)
        self.clock.advance(120.0)
        self.assertEqual(self.failures, [])
        self.check(ends)
        self.assertTrue(ends[0].up)

    @given(seed=integers(0, 2**32), at=floats(0.0, 0.6), ring=floats(0.0, 0.5))
    def test_given_up(self, seed: int, at: float, ring: float) -> None:
        """CANCEL at any moment leaves nothing of the call on either side (§9, §15)."""
        self.start(seed, BAD)
        self.bob.automatic = False
        calling = Deferred.fromCoroutine(self.alice.call())

        def answer() -> None:
            for invitation in self.bob.invitations:
                self.results.append(Deferred.fromCoroutine(self.bob.accept(invitation)))

        self.clock.callLater(ring, answer)
        self.clock.advance(at)
        calling.addErrback(lambda failure: failure.trap(CallFailed))
        calling.cancel()
        if self.alice.calls:
            self.move(self.alice.calls[0], "bye")
        self.clock.advance(4000.0)
        self.check([])
        self.none_left()
