"""The table of requirements: what is known, what counts, and how it is written."""

from __future__ import annotations

import json

import attrs
from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import UsageError
from omaim.testing.collecting import collect
from omaim.testing.conformance import (
    FAILED,
    MISSING,
    PARTLY,
    SHOWN,
    check_shows,
    essence,
    judge_all,
    requirements,
    write_json,
    write_markdown,
)
from omaim.testing.scenario import ScenarioNetwork, holds, scenario
from omaim.testing.stages import Outcome, Simulated

# What the first light has to show, by section of the architecture document.
WANTED = {
    *(f"IMS-{n:02}" for n in (1, 2, 4, 7, 8, 12, 13, 17, 21, 22, 24, 25, 26, 28, 29, 35, 36)),
    *(f"IMS-{n}" for n in (38, 39, 41, 42, 43, 47, 59, 60, 61, 63, 64, 65)),
}


@scenario(shows=("IMS-39", "IMS-04/pager"))
async def hello(net: ScenarioNetwork) -> None:
    """Carol says hello to bob."""
    bob, carol = await net.online("bob"), await net.online("carol")
    await carol.send(bob.identity, "hello", reports=())
    await net.message(bob)


@scenario(shows=("IMS-39",))
async def broken(net: ScenarioNetwork) -> None:
    """A scenario that fails."""
    holds(False, "black is white")


class ConformanceTests(SynchronousTestCase):
    def setUp(self) -> None:
        stage = Simulated()
        self.addCleanup(stage.close)
        self.good: Outcome = stage.play(hello)
        self.bad: Outcome = stage.play(broken)

    def words(self, *outcomes: Outcome) -> dict[str, str]:
        """Return the verdict on each requirement."""
        return {one.requirement.id: one.word for one in judge_all(outcomes)}

    def test_table(self) -> None:
        """Every requirement has a section, a strength and words."""
        found = requirements()
        self.assertEqual(len(found), 86)
        for one in found.values():
            self.assertRegex(one.id, r"^IMS-\d\d[a-k]?$")
            self.assertRegex(one.section, r"^[345](\.\d+)*$")
            self.assertIn(one.strength, ("shall", "may", "is"))
            self.assertTrue(one.about)

    def test_scenarios_name_requirements(self) -> None:
        """Each scenario shows requirements that exist, under a name of its own."""
        known = requirements()
        every = [one for module in collect("tests.scenarios").values() for one in module]
        for one in every:
            self.assertTrue(one.shows, one.name)
            check_shows(one.shows, known, one.name)
        names = [one.name for one in every]
        self.assertEqual(len(names), len(set(names)))

    def test_first_light(self) -> None:
        """Each requirement of the first light has a scenario."""
        every = [one for module in collect("tests.scenarios").values() for one in module]
        shown = {name.partition("/")[0] for one in every for name in one.shows}
        self.assertEqual(WANTED - shown, set())

    def test_unknown(self) -> None:
        """A requirement that nobody knows, or half of one, is refused with the names there are."""
        known = requirements()
        self.assertRaises(UsageError, check_shows, ("IMS-99",), known, "x")
        self.assertRaises(UsageError, check_shows, ("IMS-39/half",), known, "x")
        error = self.assertRaises(UsageError, check_shows, ("IMS-04",), known, "x")
        self.assertIn("IMS-04/pager", str(error))

    def test_verdicts(self) -> None:
        """Shown, shown in part, failed when one of two fails, and not there."""
        words = self.words(self.good)
        self.assertEqual((words["IMS-39"], words["IMS-04"]), (SHOWN, PARTLY))
        self.assertEqual(words["IMS-03"], MISSING)
        self.assertEqual(self.words(self.good, self.bad)["IMS-39"], FAILED)
        self.assertEqual(self.words(attrs.evolve(self.good, passed=False))["IMS-04"], FAILED)

    def test_essence(self) -> None:
        """A ladder shows the messages, and registrations where there is nothing else."""
        talk = essence(self.good.ladder)
        self.assertTrue(talk.steps)
        self.assertFalse([step for step in talk.steps if b" REGISTER" in step.data])
        self.assertIn("carol", [party.name for party in talk.parties])

    def test_markdown(self) -> None:
        """The page has a row for each requirement and a ladder for each scenario."""
        text = write_markdown([self.good, self.bad])
        rows = [line for line in text.split("\n") if line.startswith("| IMS-")]
        self.assertEqual(len(rows), 86)
        (row,) = [one for one in rows if one.startswith("| IMS-04 ")]
        self.assertIn("in part; not yet: large, session | [hello](#hello) |", row)
        self.assertIn("MESSAGE carol→bob", text)
        self.assertIn("failed: not so: black is white", text)

    def test_json(self) -> None:
        """The same for programs, the same each time."""
        text = write_json([self.good, self.bad])
        found = json.loads(text)
        self.assertEqual(len(found["requirements"]), 86)
        self.assertEqual([one["passed"] for one in found["scenarios"]], [True, False])
        self.assertEqual(text, write_json([self.good, self.bad]))
