"""What ``omaim lab`` prints."""

from __future__ import annotations

import json
import shutil

import click

from omaim.cli.pictures import step_values, text_of
from omaim.lab.demo import STEPS, Played
from omaim.lab.topology import Home, Plan


def bold(text: str) -> str:
    """Return the text in bold, where that can be seen."""
    return click.style(text, bold=True)


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
    lines += [
        f"DNS for both domains: {plan.dns}. The authority to trust for TLS:",
        f"  {plan.folder}/ca.pem",
        "",
        bold("Two people talk, each in a terminal of their own:"),
        *(
            f"  OMAIM_PASSWORD={one.password} omaim client {one.private_id} "
            f"-s {_place(home.core, plan.port)}"
            for home, one in ((north, north.people[0]), (south, south.people[0]))
        ),
        bold("One message from the command line, with its delivery report:"),
        f"  OMAIM_PASSWORD={north.people[1].password} omaim say {north.people[1].private_id} "
        f"{south.people[0].private_id} Hello -s {_place(north.core, plan.port)}",
        bold("Who is there:"),
        f"  omaim user list{f' --control {control}' if control else ''}",
        *_others(plan),
        "",
    ]
    if trace:
        lines += [
            bold("Every message so far as a ladder (--watch draws them as they pass):"),
            f"  omaim ladder {trace}",
            "",
        ]
    end = "the folder stays" if kept else "nothing of it is kept"
    lines.append(f"Ctrl-C ends the lab; {end}.")
    return "\n".join(lines)


def _home(plan: Plan, home: Home) -> list[str]:
    people = [f"    {one.aor:<28}password {one.password}" for one in home.people]
    return [
        f"{bold(home.domain)}   core {home.core}   IM Server {home.im}   "
        f"udp and tcp {plan.port}, tls {plan.port + 1}",
        *people,
        "",
    ]


def _place(host: str, port: int) -> str:
    return host if port == 5060 else f"{host}:{port}"


def _others(plan: Plan) -> list[str]:
    """Return how other people's software joins in, as far as it is installed."""
    if not shutil.which("baresip"):
        return []
    home = plan.homes[0]
    one = home.people[2]
    return [
        bold("Other software, here baresip; a line of ~/.baresip/accounts:"),
        f"  <{one.aor}>;auth_user={one.private_id};auth_pass={one.password};"
        f'outbound="sip:{home.core}:{plan.port}"',
    ]


def show_step(number: int, step: Played) -> None:
    """Print one step of the demo."""
    click.echo()
    click.echo(bold(f"{number}/{len(STEPS)}  {step.title}"))
    click.echo(click.wrap_text(step.story, 96, "     ", "     "))
    click.echo()
    click.echo(text_of(step.ladder))
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
