"""Scenarios themselves: what they refuse, what fails them, and what is left behind."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase, TestCase

from omaim.client.failures import Refused
from omaim.errors import UsageError
from omaim.testing.scenario import (
    EVERYWHERE,
    IN_PROCESS,
    VIRTUAL,
    Layout,
    Missed,
    ScenarioNetwork,
    holds,
    refused,
    same,
    scenario,
)
from omaim.testing.stages import Loopback, Simulated


@scenario(shows=("IMS-04/pager",))
async def silence(net: ScenarioNetwork) -> None:
    """Nobody writes to bob, who expects something."""
    bob = await net.online("bob")
    await net.message(bob, within=1.0)


@scenario(shows=("IMS-04/pager",))
async def defect(net: ScenarioNetwork) -> None:
    """Something goes wrong out of sight, and is only logged."""
    try:
        raise ZeroDivisionError("hidden")
    except ZeroDivisionError:
        Logger().failure("nobody looks")


@scenario(shows=("IMS-04/pager",), stages=IN_PROCESS, layout=Layout(without=("im-north",)))
async def without_a_server(net: ScenarioNetwork) -> None:
    """The layout decides which servers there are."""
    relays = ["relay-north", "relay-south"]
    same(sorted(net.entities), ["core-north", "core-south", "im-south", *relays], "servers")
    await net.stop("core-south")
    same(sorted(net.entities), ["core-north", "im-south", *relays], "servers")
    await net.start("core-south")
    await net.online("xenia")


@scenario(shows=("IMS-39",), stages=VIRTUAL)
async def time_and_cuts(net: ScenarioNetwork) -> None:
    """Virtual time passes at once, and a cut network carries nothing."""
    before = net.clock.seconds()
    await net.sleep(86400)
    same(net.clock.seconds() - before, 86400.0, "seconds that passed")
    alice = net.client("alice")
    net.simulated.cut(net.home("north").core)
    try:
        await alice.register()
    except Exception as error:
        holds("408" in str(error) or "nobody" in str(error), f"why: {error}")
    net.simulated.mend(net.home("north").core)
    await net.online("bob")


@scenario(shows=("IMS-04/pager",))
async def endless(net: ScenarioNetwork) -> None:
    """A script that waits for ever."""
    await Deferred()


class ScriptTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.stage = Simulated()
        self.addCleanup(self.stage.close)

    def test_words(self) -> None:
        """A check that does not hold raises Missed and says what was found."""
        same([1], [1], "lists")
        holds("text", "there is text")
        error = self.assertRaises(Missed, same, 1, 2, "the number")
        self.assertEqual(str(error), "the number: 1, not 2")
        self.assertRaises(Missed, holds, "", "there is text")

    def test_refused(self) -> None:
        """refused() wants that failure and no other, and one at all."""

        async def fails() -> None:
            raise Refused(403, "no")

        async def works() -> None:
            pass

        failure = self.successResultOf(Deferred.fromCoroutine(refused(fails(), 403)))
        self.assertEqual(failure.status, 403)
        for doing in (refused(fails(), 404), refused(works(), 403)):
            self.failureResultOf(Deferred.fromCoroutine(doing), Missed)

    def test_summary_is_needed(self) -> None:
        """A scenario without a docstring shows nothing that one could read."""

        async def mute(net: ScenarioNetwork) -> None:
            pass

        self.assertRaises(UsageError, scenario(shows=("IMS-01",)), mute)

    def test_layouts_are_not_for_split_labs(self) -> None:
        """A split lab cannot be laid out otherwise."""

        async def other(net: ScenarioNetwork) -> None:
            """Wants another layout."""

        make = scenario(shows=("IMS-01",), stages=EVERYWHERE, layout=Layout(secure=True))
        self.assertRaises(UsageError, make, other)

    def test_missed(self) -> None:
        """What a scenario misses is the outcome, with a ladder of what happened before."""
        outcome = self.stage.play(silence)
        self.assertFalse(outcome.passed)
        self.assertIn("not within 1 s: message to <Client sip:bob@north.example>", outcome.why)
        names = [party.name for party in outcome.ladder.parties]
        self.assertEqual(names, ["bob", "core-north", "im-north"])
        self.assertEqual(outcome.ladder.steps[0].point, "IM-1")

    def test_logged_failures_count(self) -> None:
        """A traceback in the log fails a scenario whose checks all hold."""
        outcome = self.stage.play(defect)
        self.assertIn("ZeroDivisionError: hidden", outcome.why)
        self.flushLoggedErrors(ZeroDivisionError)

    def test_same_seed_same_ladder(self) -> None:
        """Two runs with one seed send the same octets at the same moments."""
        first, second = (self.stage.play(silence, seed=7).ladder for _ in range(2))
        self.assertEqual(
            [(step.time, step.summary) for step in first.steps],
            [(step.time, step.summary) for step in second.steps],
        )
        self.assertEqual(first.steps[0].data, second.steps[0].data)

    def test_layout(self) -> None:
        """Servers stop and start as told, and those left out are not there."""
        self.assertEqual(self.stage.play(without_a_server).why, "")

    def test_virtual_time(self) -> None:
        """A day passes in no time; what is cut is cut until it is mended."""
        self.assertEqual(self.stage.play(time_and_cuts).why, "")

    def test_patience(self) -> None:
        """Virtual time ends, too: a script that waits for ever does not hang the run."""
        outcome = self.stage.play(endless, patience=3600.0)
        self.assertEqual(outcome.why, "not over after 3600 s")


class SocketTests(TestCase):
    def setUp(self) -> None:
        self.stage = Loopback(reactor)
        self.addCleanup(self.stage.close)

    def test_missed(self) -> Deferred[None]:
        """On sockets the outcome is the same, and every socket is closed at the end."""

        def check(outcome: object) -> None:
            self.assertIn("message to <Client sip:bob@north.example>", outcome.why)  # type: ignore[attr-defined]

        return self.stage.play(silence).addCallback(check)

    def test_two_at_once(self) -> Deferred[None]:
        """Two networks of one stage run side by side, on ports of their own."""
        other = Loopback(reactor)
        self.addCleanup(other.close)
        first, second = self.stage.play(silence), other.play(silence)

        async def both() -> None:
            for one in (first, second):
                self.assertIn("message to", (await one).why)

        return Deferred.fromCoroutine(both())
