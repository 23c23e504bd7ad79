"""Who offers another MSRP session when one is lost, when, and how often (RFC 4975 §5.4)."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import PeerError
from omaim.net.endpoint import Endpoint
from omaim.roles import mending
from omaim.roles.description import CallEnded
from omaim.roles.mending import Mending
from omaim.roles.user_agent import UserAgent
from omaim.testing.network import Clock, SimulatedNetwork


class MendingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        endpoint = Endpoint(SimulatedNetwork(self.clock, 1), self.clock)
        self.there = True
        self.offers: list[float] = []
        self.given_up: list[float] = []
        self.answer: Any = None
        agent = UserAgent(endpoint, "sip:alice@north.example")
        self.mending = Mending(agent, lambda: not self.there, self._renew, self._give_up)
        self.begun = self.clock.seconds()

    def _now(self) -> float:
        return self.clock.seconds() - self.begun

    async def _renew(self) -> None:
        self.offers.append(self._now())
        if isinstance(self.answer, Deferred):
            await self.answer
        elif self.answer is not None:
            raise self.answer
        self.there = True
        self.mending.stop()

    def _give_up(self) -> None:
        self.given_up.append(self._now())
        self.mending.stop()

    def lose(self, caller: bool = True) -> None:
        self.there = False
        self.mending.broken(caller)

    def pass_(self, seconds: float) -> None:
        for _ in range(int(seconds * 10)):
            self.clock.advance(0.1)

    def test_caller(self) -> None:
        """Who has called offers another one soon."""
        self.lose()
        self.pass_(60.0)
        self.assertEqual(len(self.offers), 1)
        self.assertLess(self.offers[0], 1.0)
        self.assertEqual(self.given_up, [])

    def test_callee(self) -> None:
        """Who was called leaves it to the caller for a while, and then does it itself."""
        self.lose(False)
        self.pass_(60.0)
        self.assertAlmostEqual(self.offers[0], mending.LATE, delta=0.3)
        self.assertEqual(len(self.offers), 1)

    def test_peer_is_quicker(self) -> None:
        """Where the peer has offered one meanwhile, nothing is offered."""
        self.lose(False)
        self.pass_(2.0)
        self.there = True
        self.pass_(60.0)
        self.assertEqual((self.offers, self.given_up), ([], []))

    def test_crossed(self) -> None:
        """An offer that crosses another change is made again (RFC 3261 §14.1)."""
        self.answer = PeerError("crossed", 491)
        self.lose()
        self.pass_(5.0)
        self.answer = None
        self.pass_(5.0)
        self.assertGreater(len(self.offers), 2)
        self.assertEqual(self.given_up, [])

    def test_refused(self) -> None:
        """Who does not want another one ends it; so does who is gone."""
        for answer in (PeerError("no", 488), CallEnded("over")):
            self.answer = answer
            self.lose()
            self.pass_(3.0)
            self.assertEqual(len(self.given_up), 1)
            self.given_up.clear()
            self.pass_(60.0)

    def test_silence(self) -> None:
        """Nobody waits for ever."""
        self.answer = Deferred()
        self.lose()
        self.pass_(120.0)
        self.assertEqual(len(self.offers), 1)
        self.assertAlmostEqual(self.given_up[0], mending.PATIENCE, delta=0.3)

    def test_stopped(self) -> None:
        """When the call is over nothing more happens."""
        self.lose()
        self.mending.stop()
        self.pass_(120.0)
        self.assertEqual((self.offers, self.given_up), ([], []))

    @given(st.lists(st.integers(1, 80), max_size=12), st.booleans())
    def test_any_losses(self, pauses: list[int], caller: bool) -> None:
        """However often it breaks: at most one offer for each, and none mended within a pause."""
        self.setUp()
        last = -1000.0
        for pause in pauses:
            offers, given_up = len(self.offers), len(self.given_up)
            self.lose(caller)
            if self._now() < last + mending.PAUSE:
                self.assertEqual(len(self.given_up), given_up + 1)
                break
            last = self._now()
            self.pass_(pause)
            self.assertLessEqual(len(self.offers), offers + 1)
            if not self.there:
                break
