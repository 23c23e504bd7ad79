"""What the architecture asks for, which scenarios show it, and whether they do.

The table of requirements is data (``requirements.toml``), the scenarios name what they show, and
:func:`write_markdown` and :func:`write_json` say what came of playing them. Nothing in the two
documents is written by hand.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from omaim.errors import UsageError
from omaim.features.ladder import Ladder, Step
from omaim.features.ladder_text import draw_text
from omaim.testing.stages import Outcome

SHOWN: Final = "shown"
PARTLY: Final = "in part"
FAILED: Final = "failed"
MISSING: Final = "does not exist yet"

_WIDTH: Final = 120  # columns of a ladder
_STEPS: Final = 40  # messages of a ladder; what follows is counted
_SETTING_UP: Final = ("REGISTER", "SUBSCRIBE", "NOTIFY")
_CSEQ: Final = re.compile(rb"^cseq[ \t]*:[ \t]*\d+[ \t]+([A-Z]+)", re.IGNORECASE | re.MULTILINE)


@attrs.frozen
class Requirement:
    """One requirement of the architecture."""

    id: str  # "IMS-04"
    section: str  # of the architecture document
    strength: str  # "shall", "may" or "is", for a definition
    about: str
    parts: tuple[str, ...] = ()  # shown one by one; empty: as a whole


@attrs.frozen
class Verdict:
    """What is known about one requirement."""

    requirement: Requirement
    word: str  # SHOWN, PARTLY, FAILED or MISSING
    scenarios: tuple[str, ...]  # names of those that are about it
    lacking: tuple[str, ...]  # parts that nothing shows


def requirements() -> dict[str, Requirement]:
    """Return every requirement by its id, in the order of the document."""
    text = Path(__file__).with_name("requirements.toml").read_text(encoding="utf-8")
    found = {}
    for key, entry in tomllib.loads(text).items():
        parts = tuple(entry.pop("parts", ()))
        found[key] = Requirement(key, parts=parts, **entry)
    return found


def check_shows(shows: Sequence[str], known: Mapping[str, Requirement], who: str) -> None:
    """Refuse a scenario that shows what nobody asked for.

    Raises:
        UsageError: a name is no requirement, or no part of it.
    """
    for one in shows:
        key, _, part = one.partition("/")
        wanted = known.get(key)
        if wanted is None or (part not in wanted.parts if wanted.parts else part):
            parts = ", ".join(f"{key}/{name}" for name in wanted.parts) if wanted else ""
            hint = f"; its parts are {parts}" if parts else ""
            raise UsageError(f"{who} shows {one}, which is no requirement{hint}")


def judge_all(outcomes: Sequence[Outcome]) -> list[Verdict]:
    """Return the verdict on each requirement.

    A requirement fails when any scenario about it does, on any stage.

    Raises:
        UsageError: a scenario shows what is no requirement.
    """
    known = requirements()
    about: dict[str, list[tuple[str, Outcome]]] = {key: [] for key in known}
    for outcome in outcomes:
        check_shows(outcome.scenario.shows, known, outcome.scenario.name)
        for one in outcome.scenario.shows:
            key, _, part = one.partition("/")
            about[key].append((part, outcome))
    return [_judge(known[key], found) for key, found in about.items()]


def _judge(wanted: Requirement, found: list[tuple[str, Outcome]]) -> Verdict:
    names = tuple(dict.fromkeys(outcome.scenario.name for _, outcome in found))
    shown = {part for part, outcome in found if outcome.passed}
    lacking = tuple(part for part in wanted.parts if part not in shown)
    if not found:
        word = MISSING
    elif not all(outcome.passed for _, outcome in found):
        word = FAILED
    else:
        word = PARTLY if lacking else SHOWN
    return Verdict(wanted, word, names, lacking)


def essence(ladder: Ladder) -> Ladder:
    """Return a ladder without what only sets the scene: registrations before messages."""
    steps = [step for step in ladder.steps if step.summary.title != "keep-alive"]
    talk = [step for step in steps if not _sets_up(step)]
    chosen = talk or steps
    there = {party for step in chosen for party in (step.source, step.target)}
    parties = tuple(party for party in ladder.parties if party in there)
    return Ladder(parties, tuple(chosen))


def _sets_up(step: Step) -> bool:
    found = _CSEQ.search(step.data)
    return found is not None and found[1].decode() in _SETTING_UP


def write_json(outcomes: Sequence[Outcome]) -> str:
    """Return everything as JSON, for other programs."""
    verdicts = judge_all(outcomes)
    return (
        json.dumps(
            {
                "requirements": [
                    {
                        **attrs.asdict(one.requirement),
                        "verdict": one.word,
                        "scenarios": list(one.scenarios),
                        "lacking": list(one.lacking),
                    }
                    for one in verdicts
                ],
                "scenarios": [_plain(outcome) for outcome in outcomes],
            },
            indent=1,
            ensure_ascii=False,
        )
        + "\n"
    )


def _plain(outcome: Outcome) -> dict[str, Any]:
    ladder = essence(outcome.ladder)
    start = ladder.steps[0].time if ladder.steps else 0.0
    return {
        "name": outcome.scenario.name,
        "summary": outcome.scenario.summary,
        "stage": outcome.stage,
        "shows": list(outcome.scenario.shows),
        "passed": outcome.passed,
        "why": outcome.why,
        "ladder": [
            f"{step.time - start:.3f} {step.source.name} > {step.target.name} "
            f"{step.point} {step.summary}{' (lost)' if step.lost else ''}"
            for step in ladder.steps[:_STEPS]
        ],
    }


def write_markdown(outcomes: Sequence[Outcome]) -> str:
    """Return the table and the ladders as a page for people."""
    verdicts = judge_all(outcomes)
    counts = {
        word: len([one for one in verdicts if one.word == word])
        for word in (SHOWN, PARTLY, FAILED, MISSING)
    }
    failed = sum(1 for outcome in outcomes if not outcome.passed)
    lines = [
        "# Conformance",
        "",
        "Written by `omaim conformance`, which plays every scenario of `tests/scenarios`; "
        "do not edit.",
        "",
        f"Of {len(verdicts)} requirements {counts[SHOWN]} are shown, {counts[PARTLY]} in part, "
        f"{counts[FAILED]} failed, and {counts[MISSING]} have no scenario: they do not exist yet. "
        f"Of {len(outcomes)} scenarios {failed} failed.",
        "",
        "| Requirement | Section | | About | Verdict | Scenarios |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [_row(one) for one in verdicts]
    lines += ["", "## Scenarios", ""]
    for outcome in outcomes:
        lines += _chapter(outcome)
    return "\n".join(lines).rstrip() + "\n"


def _row(one: Verdict) -> str:
    asked = one.requirement
    word = one.word
    if one.word in (PARTLY, FAILED) and one.lacking:
        word += f"; not yet: {', '.join(one.lacking)}"
    names = ", ".join(f"[{name}](#{_anchor(name)})" for name in one.scenarios)
    about = asked.about.replace("|", "\\|")
    return f"| {asked.id} | {asked.section} | {asked.strength} | {about} | {word} | {names} |"


def _chapter(outcome: Outcome) -> list[str]:
    one = outcome.scenario
    ladder = essence(outcome.ladder)
    more = len(ladder.steps) - _STEPS
    drawn = draw_text(Ladder(ladder.parties, ladder.steps[:_STEPS]), _WIDTH).rstrip("\n")
    verdict = "passed" if outcome.passed else f"failed: {outcome.why.strip().splitlines()[-1]}"
    return [
        f"### {_title(one.name)}",
        "",
        f"{one.summary} Shows {', '.join(one.shows)}. On the {outcome.stage} stage: {verdict}.",
        "",
        "```text",
        *drawn.split("\n"),
        *([f"… and {more} messages more"] if more > 0 else []),
        "```",
        "",
    ]


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _anchor(name: str) -> str:
    return _title(name).lower().replace(" ", "-")
