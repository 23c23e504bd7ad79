"""omaim conformance: scenarios are played, and the table is written."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from omaim.cli.main import main


class ConformanceTests(SynchronousTestCase):
    def run_command(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, ["conformance", *arguments])

    def test_one(self) -> None:
        """One scenario is played and told of; nothing is written."""
        result = self.run_command("--only", "across_domains")
        self.assertEqual(result.exit_code, 0, result.output)
        self.assertIn("ok     across_domains: A message crosses", result.output)
        self.assertNotIn("written", result.output)

    def test_package(self) -> None:
        """All scenarios of a package are played, and both documents are written."""
        out = self.mktemp()
        result = self.run_command("--scenarios", "tests.cli.scenarios", "--out", out)
        self.assertEqual(result.exit_code, 1, result.output)
        self.assertIn("2 scenarios, 1 failed", result.output)
        self.assertIn("FAILED in_vain: Nothing is so.", result.output)
        self.assertIn("not so: black is white", result.output)
        found = json.loads(Path(out, "conformance.json").read_text())
        verdicts = {one["id"]: one["verdict"] for one in found["requirements"]}
        self.assertEqual((verdicts["IMS-01"], verdicts["IMS-39"]), ("shown", "failed"))
        self.assertEqual(verdicts["IMS-10"], "does not exist yet")
        self.assertIn("### In vain", Path(out, "conformance.md").read_text())

    def test_nothing_to_play(self) -> None:
        """What is not there is named, with what to do."""
        result = CliRunner().invoke(main, ["conformance", "--scenarios", "no.such.package"])
        self.assertEqual(result.exit_code, 1)
        self.assertIn("run this in a checkout", result.output)
        result = self.run_command("--only", "no_such")
        self.assertIn("no scenario is called no_such", result.output)
