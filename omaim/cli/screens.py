"""What ``omaim lab`` prints."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import click

from omaim.cli.pictures import step_values, text_of
from omaim.lab.demo import STEPS
from omaim.lab.rooms import BOARD, DIRECT, LOBBY
from omaim.lab.scene import Played
from omaim.lab.topology import Home, Plan


def bold(text: str) -> str:
    """Return the text in bold, where that can be seen."""
    return click.style(text, bold=True)


def called(name: str) -> str:
    """Return how people here call a command of ours: by its path when the shell would not find
    it, as in an environment that is not switched on."""
    beside = Path(sys.executable).with_name(name)
    if shutil.which(name) or not beside.exists():
        return name
    here = os.path.relpath(beside)
    return str(beside) if here.startswith("..") else here


def lab_screen(plan: Plan, seconds: float, kept: bool, trace: str, control: str) -> str:
    """Return what people see of a running lab.

    Args:
        seconds: that the start took.
        kept: the folder stays when the lab ends.
        trace: the file with every message, if any.
        control: the socket for commands, if it is not where ``omaim user`` looks.
    """
    lines = [f"{bold('The lab is ready')} ({seconds:.1f} s).", ""]
    for home in plan.homes:
        lines += _home(plan, home)
    north, south = plan.homes
    third = north.people[2]
    omaim = called("omaim")
    told = f" --control {control}" if control else ""
    alice, xenia = north.people[0], south.people[0]
    lines += [
        f"DNS for both domains: {plan.dns}. The authority to trust for TLS:",
        f"  {plan.folder}/ca.pem",
        "",
        bold("Two people talk, each in a terminal of their own:"),
        *(
            f"  OMAIM_PASSWORD={one.password} {omaim} client {one.private_id} "
            f"-s {_place(home.core, plan.port)}"
            for home, one in ((north, alice), (south, xenia))
        ),
        bold("There they type, for instance:"),
        *_typed(
            (f"/to {xenia.private_id} Hello", "one message; Tab completes, /help shows all"),
            (f"/talk {xenia.private_id} Lunch", "a session; the other side answers /accept"),
            ("/send FILE", "a file, to whom the line goes to"),
            (f"/join {LOBBY}", "a chat room for all; then /nick, /whisper, /who, /leave"),
            (f"/join {BOARD}", "one for Alice, Bob and Xenia only"),
            (f"/conference bob,{xenia.private_id}", "people called into one room"),
        ),
        f"  {_names(DIRECT)} talk without a server between (IM-9), all others with it.",
        bold("Behind a NAT, sessions go by the MSRP relay of the domain:"),
        f"  OMAIM_PASSWORD={third.password} {omaim} client {third.private_id} "
        f"-s {_place(north.core, plan.port)} \\",
        f"    --relay 'msrps://relay.{north.domain};tcp' --dns {plan.dns} \\",
        f"    --ca {plan.folder}/ca.pem",
        bold("One message from the command line, with its delivery report:"),
        f"  OMAIM_PASSWORD={north.people[1].password} {omaim} say {north.people[1].private_id} "
        f"{south.people[0].private_id} Hello -s {_place(north.core, plan.port)}",
        bold("Who is there, and which rooms:"),
        f"  {omaim} user{told} list",
        f"  {omaim} group{told} list",
        bold("Any SIP phone joins in as:"),
        f"  address {third.aor}, name {third.private_id}, password {third.password},",
        f"  outbound proxy sip:{north.core}:{plan.port};transport=udp",
        "",
    ]
    if trace:
        lines += [
            bold("Every message so far as a ladder (--watch draws them as they pass):"),
            f"  {omaim} ladder {trace}",
            "",
        ]
    end = "the folder stays" if kept else "nothing of it is kept"
    lines.append(f"Ctrl-C ends the lab; {end}.")
    return "\n".join(lines)


def _typed(*lines: tuple[str, str]) -> list[str]:
    """Return what to type and what it does, side by side."""
    width = max(len(typed) for typed, _ in lines)
    return [f"  {typed.ljust(width)}  {what}" for typed, what in lines]


def _names(people: tuple[str, ...]) -> str:
    return " and ".join(one.partition("@")[0].title() for one in people)


def _home(plan: Plan, home: Home) -> list[str]:
    people = [f"    {one.aor:<28}password {one.password}" for one in home.people]
    return [
        f"{bold(home.domain)}   core {home.core}   IM Server {home.im}   relay {home.relay}",
        f"    SIP {plan.port}, tls {plan.port + 1}   "
        f"MSRP {plan.msrp_port}, tls {plan.msrp_port + 1}, relay {plan.msrp_port}",
        *people,
        "",
    ]


def _place(host: str, port: int) -> str:
    return host if port == 5060 else f"{host}:{port}"


def show_step(number: int, step: Played) -> None:
    """Print one step of the demo."""
    click.echo()
    click.echo(bold(f"{number}/{len(STEPS)}  {step.title}"))
    click.echo(click.wrap_text(step.story, 96, "     ", "     "))
    click.echo()
    click.echo(text_of(step.ladder))
    for note in step.notes:
        click.echo(
            click.style(click.wrap_text(f"Not drawn: {note}.", 96, "  … ", "    "), dim=True)
        )
    for check in step.checks:
        if check.passed:
            click.echo(f"  {click.style('✓', fg='green')} {check.text}")
        else:
            click.echo(f"  {click.style(f'✗ {check.text}', fg='red')}: {check.detail}")


def verdict(played: list[Played]) -> bool:
    """Print what the demo came to; tell whether everything was as it should be."""
    checks = [check for step in played for check in step.checks]
    failed = sum(1 for check in checks if not check.passed)
    click.echo()
    if failed or not checks:
        click.echo(click.style(f"{failed} of {len(checks)} checks failed.", fg="red", bold=True))
    else:
        click.echo(click.style(f"All {len(checks)} checks passed.", fg="green", bold=True))
    return bool(checks) and not failed


def outcome(played: list[Played]) -> str:
    """Return what the demo came to as JSON."""
    values = {
        "passed": all(step.passed for step in played),
        "steps": [
            {
                "title": step.title,
                "story": step.story,
                "checks": [
                    {"text": one.text, "passed": one.passed, "detail": one.detail}
                    for one in step.checks
                ],
                "messages": [step_values(one) for one in step.ladder.steps],
            }
            for step in played
        ],
    }
    return json.dumps(values, ensure_ascii=False, indent=1) + "\n"
