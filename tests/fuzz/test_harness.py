"""Inputs that once broke a parser, and a short hunt for more."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from omaim.errors import PeerError
from tests.fuzz.harness import FOUND, TARGETS, Target, attempt, hunt

RUNS = 250  # of each target, the same in each run of the tests


class HarnessTests(SynchronousTestCase):
    def test_found(self) -> None:
        """What was found once stays mended."""
        for path in sorted(FOUND.iterdir()):
            if path.suffix and path.stem in TARGETS:
                with self.subTest(path.name):
                    self.assertEqual(attempt(TARGETS[path.stem], path.read_bytes()), "")

    def test_seeds(self) -> None:
        """Good input is taken, or refused with an answer."""
        for name, target in TARGETS.items():
            self.assertNotEqual(target.seeds, (), name)
            for seed in target.seeds:
                self.assertEqual(attempt(target, seed), "", name)

    def test_hunt(self) -> None:
        """A short hunt finds nothing."""
        for name in TARGETS:
            _, found = hunt(name, 1, lambda runs: runs >= RUNS)
            self.assertEqual(found, [], name)

    def test_finds(self) -> None:
        """The harness sees other errors than PeerError, and slowness."""

        def broken(data: bytes) -> None:
            if b"x" in data:
                raise ValueError("x")
            raise PeerError("no x")

        self.assertIn("ValueError", attempt(Target(broken, (b"x",)), b"ax"))
        self.assertEqual(attempt(Target(broken, (b"x",)), b"a"), "")
