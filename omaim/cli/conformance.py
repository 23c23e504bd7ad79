"""``omaim conformance``: play every scenario, and write down what that shows."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from omaim.errors import UsageError
from omaim.testing.collecting import collect
from omaim.testing.conformance import judge_all, write_json, write_markdown
from omaim.testing.scenario import SIMULATED, Scenario
from omaim.testing.stages import Outcome, Simulated


@click.command("conformance")
@click.option(
    "--scenarios",
    default="tests.scenarios",
    show_default=True,
    help="Package with the scenarios; by default those of the checkout in the current folder.",
)
@click.option("--only", multiple=True, metavar="NAME", help="Play these only; writes nothing.")
@click.option(
    "--out",
    default="docs",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for conformance.md and conformance.json.",
)
def command(scenarios: str, only: tuple[str, ...], out: Path) -> None:
    """Play every scenario in virtual time and write the table of requirements.

    \b
    omaim conformance                       docs/conformance.md and docs/conformance.json
    omaim conformance --only across_domains one scenario, and why it fails

    The exit status is 1 when a scenario fails. Requirements that no scenario shows are in the
    table as what they are: not there yet.
    """
    stage = Simulated()
    try:
        outcomes = [_played(stage, one) for one in _chosen(scenarios, only)]
    finally:
        stage.close()
    verdicts = judge_all(outcomes)
    counts: dict[str, int] = {}
    for verdict in verdicts:
        counts[verdict.word] = counts.get(verdict.word, 0) + 1
    failed = [outcome for outcome in outcomes if not outcome.passed]
    click.echo(f"{len(outcomes)} scenarios, {len(failed)} failed")
    if not only:
        click.echo("requirements: " + ", ".join(f"{n} {word}" for word, n in counts.items()))
        try:
            out.mkdir(parents=True, exist_ok=True)
            (out / "conformance.md").write_text(write_markdown(outcomes), encoding="utf-8")
            (out / "conformance.json").write_text(write_json(outcomes), encoding="utf-8")
        except OSError as error:
            raise UsageError(f"cannot write {error.filename}: {error.strerror}") from None
        click.echo(f"written: {out / 'conformance.md'}, {out / 'conformance.json'}")
    if failed:
        sys.exit(1)


def _chosen(package: str, only: tuple[str, ...]) -> list[Scenario]:
    """Return the scenarios to play.

    Raises:
        UsageError: there are none, or none of a name.
    """
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = [one for module in collect(package).values() for one in module]
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{error.name} is not here: run this in a checkout, or name a package of scenarios"
        ) from None
    unknown = set(only) - {one.name for one in found}
    if unknown:
        raise UsageError(f"no scenario is called {', '.join(sorted(unknown))}")
    return [one for one in found if SIMULATED in one.stages and (not only or one.name in only)]


def _played(stage: Simulated, one: Scenario) -> Outcome:
    outcome = stage.play(one)
    click.echo(f"{'ok    ' if outcome.passed else 'FAILED'} {one.name}: {one.summary}")
    if not outcome.passed:
        click.echo("".join(f"       {line}\n" for line in outcome.why.strip().split("\n")))
    return outcome
