"""omaim/lab/demo.py and stage.py: the demo on a lab in this process, over loopback."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import TestCase

from omaim.errors import Unavailable, UsageError
from omaim.features.ladder import Ladder
from omaim.lab import demo
from omaim.lab import scene as scenes
from omaim.lab.demo import STEPS, play
from omaim.lab.scene import Check, Played, Scene
from omaim.lab.stage import Stage
from omaim.lab.starting import start_lab
from omaim.lab.topology import Plan
from omaim.node.logs import to_json, to_text
from omaim.sip.digest import hash_a1
from tests.lab.support import free_base, short_folder


def points(ladder: Ladder) -> set[str]:
    return {step.point for step in ladder.steps}


class DemoTests(TestCase):
    timeout = 120

    async def lab(self, **named: Any) -> Stage:
        self.folder = short_folder(self)
        self.plan = Plan(self.folder, free_base())
        self.node, self.lab_entity = await start_lab(self.plan, reactor, **named)
        self.addCleanup(self.node.stopService)
        stage = Stage(self.lab_entity.contents, "the lab", reactor, self.node)
        self.addCleanup(stage.close)
        return stage

    async def test_demo(self) -> None:
        """Every step shows what it is to show, at the reference points where it happens; no
        password and nothing it can be computed from is in logs, trace or ladder."""
        logged: list[str] = []

        def observe(event: Any) -> None:
            logged.append(to_json(event) + to_text(event))

        globalLogPublisher.addObserver(observe)  # type: ignore[arg-type]
        self.addCleanup(globalLogPublisher.removeObserver, observe)  # type: ignore[arg-type]
        trace = str(short_folder(self) / "trace.jsonl")
        stage = await self.lab(trace=trace)
        self.assertTrue(stage.complete)
        shown: list[tuple[int, Played]] = []
        played = await play(stage, lambda number, step: shown.append((number, step)))
        for step in played:
            for check in step.checks:
                self.assertTrue(check.passed, f"{step.title}: {check.text}: {check.detail}")
            self.assertTrue(step.checks and step.passed)
        self.assertEqual([number for number, _ in shown], list(range(1, len(STEPS) + 1)))
        ladders = [step.ladder for step in played]
        register, across, offline, to_many, refused, session, direct, relayed = ladders[:8]
        file, retrieve, room, private, conference = ladders[8:]
        self.assertLessEqual({"IM-1", "IM-2"}, points(register))
        for ladder in (across, offline, to_many, refused):
            self.assertLessEqual({"IM-1", "IM-2", "IP-1"}, points(ladder))
        for ladder, media in (
            (session, {"IM-7", "IM-8"}),
            (direct, {"IM-9"}),
            (relayed, {"IM-9"}),
            (file, {"IM-7"}),
            (retrieve, {"IM-7"}),
            (room, {"IM-7", "IM-8"}),
            (private, {"IM-7", "IM-8"}),
            (conference, {"IM-7", "IM-8"}),
        ):
            self.assertLessEqual({"IM-1", "IM-2"}, points(ladder))
            found = {step.point for step in ladder.steps if step.protocol == "MSRP"}
            self.assertEqual(found - {""}, media)
        self.assertEqual(len(room.parties), 10)
        self.assertIn(("relay-north", "relay"), [(one.name, one.role) for one in relayed.parties])
        auth = [step.point for step in relayed.steps if step.summary.title == "AUTH"]
        self.assertEqual(auth, ["", ""])
        names = [party.name for party in across.parties]
        self.assertEqual(
            names, ["alice", "core-north", "im-north", "core-south", "im-south", "xenia"]
        )
        self.assertFalse(
            [
                step
                for ladder in (across, offline, *ladders[5:])
                for step in ladder.steps
                if step.lost
            ]
        )
        with open(trace, encoding="utf-8") as traced:
            told = [traced.read(), *logged, *(str(step) for step in played)]
        self.assertIn("MESSAGE", told[0])
        for person in stage.people.values():
            secrets = [person.password] + [
                hash_a1(algorithm, person.private_id, person.domain, person.password.encode())
                for algorithm in ("MD5", "SHA-256", "SHA-512-256")
            ]
            for secret in secrets:
                self.assertFalse([text for text in told if secret in text])

    async def test_broken_step(self) -> None:
        """A step that breaks has failed, and the others are played all the same."""
        stage = await self.lab()
        del stage.people["xenia"]
        played = await play(stage, lambda number, step: None)
        self.assertEqual(len(played), len(STEPS))
        passed = [step.passed for step in played]
        self.assertEqual(
            passed, [number in (3, 7, 8, 9, 10) for number in range(1, len(STEPS) + 1)]
        )
        self.assertIn("nobody is called xenia", played[0].checks[-1].detail)

    async def test_silence(self) -> None:
        """A step in which nobody answers ends, and has failed."""
        stage = await self.lab()
        self.patch(demo, "LONGEST", 0.1)
        for name in ("core-north", "core-south"):
            self.node.endpoints[name].on_request = lambda transaction: None
        played = await play(stage, lambda number, step: None)
        self.assertFalse(any(step.passed for step in played))
        self.assertIn("it did not in 0.1 s", played[0].checks[-1].detail)

    async def test_failed_check(self) -> None:
        """A check that does not hold says what was seen instead."""
        stage = await self.lab()
        scene = Scene(stage, self.folder)
        scene.check("one is one", True, "never shown")
        scene.check("one is two", False, "one")
        self.assertEqual(
            scene.checks, [Check("one is one", True), Check("one is two", False, "one")]
        )
        self.assertFalse(await stage.until(lambda: False, 0.05))
        self.assertRaises(UsageError, stage.phone, "nobody")

    async def test_nobody_comes(self) -> None:
        """What a scene waits for in vain is told."""
        self.patch(scenes, "LATEST", 0.1)
        scene = Scene(await self.lab(), self.folder)
        await scene.arrive("alice")
        with self.assertRaisesRegex(Unavailable, "alice was not invited"):
            await scene.invited("alice")
        with self.assertRaisesRegex(Unavailable, "tea did not happen in 0.1 s"):
            await scene.within(Deferred(), "tea")
        await scene.aside("Nothing happens", lambda: scene.stage.wait(0.01))
        self.assertRegex(scene.notes[0], r"^Nothing happens: \d+ messages$")
        self.assertRaises(UsageError, scene.phone, "bob")

    async def test_taken(self) -> None:
        """A second lab on the same addresses does not start, and says which one is in use."""
        await self.lab()
        plan = Plan(short_folder(self), self.plan.base)
        with self.assertRaisesRegex(Unavailable, f"{self.plan.base}.0.10:5300"):
            await start_lab(plan, reactor)
