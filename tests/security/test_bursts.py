"""Hundreds of requests in one instant, none of them meant ill."""

from __future__ import annotations

from collections import Counter

from twisted.internet.defer import Deferred, gatherResults

from omaim.net.limits import StreamLimits
from omaim.roles.description import CallFailed
from omaim.testing.scenario import ScenarioNetwork
from tests.im.parties import Party, SessionCase

MANY = 300


class BurstTests(SessionCase):
    async def burst(self, net: ScenarioNetwork) -> tuple[Counter[int], Counter[str], Party]:
        """Let alice call bob, who is busy, so often at once; return how she was answered and how
        often, with which Retry-After, and bob."""
        alice, bob = await Party.come(net, "alice"), await Party.come(net, "bob")
        bob.answers = 486
        statuses: Counter[int] = Counter()
        waits: Counter[str] = Counter()

        async def call() -> None:
            try:
                await alice.invite(bob.aor)
            except CallFailed as failure:
                statuses[failure.response.status] += 1
                waits[failure.response.first("Retry-After") or ""] += 1

        await gatherResults([Deferred.fromCoroutine(call()) for _ in range(MANY)])
        await net.sleep(StreamLimits().stalled)
        for name in ("core-north", "im-north"):
            counters = net.entities[name].endpoint.counters
            self.assertEqual(counters["stream_lost"] + counters["failover"], 0, name)
            self.assertEqual(net.entities[name].endpoint.connections.waiting, 0)
        return statuses, waits, bob

    def test_calls(self) -> None:
        """Each call in a burst is answered by the callee, whom each reaches once."""

        async def script(net: ScenarioNetwork) -> None:
            statuses, _, bob = await self.burst(net)
            self.assertEqual((statuses, len(bob.invitations)), ({486: MANY}, MANY))

        self.play(script, sessions_each=0)

    def test_too_many_calls(self) -> None:
        """What there is no room for is told so (RFC 3261 §21.5.4), and nothing is taken for a
        copy of itself (§8.2.2.2); the others are served."""

        async def script(net: ScenarioNetwork) -> None:
            limits = StreamLimits(unread=80_000)
            net.entities["core-north"].endpoint.connections.limits = limits
            statuses, waits, bob = await self.burst(net)
            self.assertEqual(sum(statuses.values()), MANY)
            # 500 is what becomes of the 503 to the server's own call (RFC 3261 §16.7 step 6).
            self.assertLessEqual(set(statuses), {486, 500, 503})
            self.assertGreater(statuses[503], 0)
            self.assertEqual(waits["5"], statuses[503])
            self.assertEqual(len(bob.invitations), statuses[486])

        self.play(script, sessions_each=0)
