"""``omaim lab``: a whole network in one process, its demo, and the same network in many."""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import click

from omaim.cli.pictures import files_options, text_of, write_file, write_files
from omaim.cli.running import run, the_reactor, until_stopped
from omaim.cli.screens import bold, called, lab_screen, outcome, show_step, verdict
from omaim.lab.demo import play
from omaim.lab.scene import ORDER, Played
from omaim.lab.stage import Stage
from omaim.lab.starting import BASE, Folder, control_path, free_plan, start_lab
from omaim.lab.topology import FOR_ALL, Plan, split, start_line
from omaim.lab.watching import Watching
from omaim.node.config import read_file


def _places(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say where the network is."""
    for option in (
        click.option("--dns-port", default=5300, show_default=True, help="Port of its DNS."),
        click.option("--port", default=5060, show_default=True, help="SIP port; TLS is one above."),
        click.option(
            "--base",
            default="",
            metavar="127.N",
            help="First two numbers of its loopback addresses.  [default: 127.0, or another one "
            "when that is in use]",
        ),
    ):
        command = option(command)
    return command


_md5 = click.option(
    "--md5",
    is_flag=True,
    help="Offer digest with MD5 only: some clients, baresip among them, take no other beside it. "
    "Otherwise SHA-256 is offered as well.",
)


def _offering(plan: Plan, md5: bool) -> Plan:
    return attrs.evolve(plan, algorithms=("MD5",) if md5 else FOR_ALL)


@click.group("lab", invoke_without_command=True)
@_places
@click.option("--folder", default="", help="Keep state, keys and certificates there.")
@click.option("--trace", default="", metavar="FILE", help="Record every message, for omaim ladder.")
@click.option("--watch", "-w", is_flag=True, help="Draw every message as it passes.")
@_md5
@click.option("--verbose", "-v", is_flag=True, help="Show the whole log.")
@click.pass_context
def command(
    context: click.Context,
    base: str,
    port: int,
    dns_port: int,
    folder: str,
    trace: str,
    watch: bool,
    md5: bool,
    verbose: bool,
) -> None:
    """Run a whole network: two home domains with three people each.

    \b
    omaim lab               start it; Ctrl-C ends it
    omaim lab --watch       the same, and draw every message as it passes
    omaim lab demo          start one, play a dozen scenes, draw the messages, end it
    omaim lab split DIR     write it down as processes of their own

    It needs no configuration, no root, and of the network the loopback addresses only.
    """
    if context.invoked_subcommand is not None:
        return

    async def main() -> None:
        started = time.monotonic()
        with Folder(folder) as place:
            plan = _offering(free_plan(place.path, port, dns_port, base), md5)
            control = control_path(plan.base)
            traced = trace or str(place.path / "trace.jsonl")
            click.echo(f"Starting two domains on {plan.base}.x.x …", err=True)
            node, _ = await start_lab(plan, the_reactor(), traced, control)
            try:
                shown = "" if plan.base == BASE else control
                seconds = time.monotonic() - started
                click.echo(lab_screen(plan, seconds, place.kept, traced, shown))
                if watch:
                    Watching(node, lambda ladder: click.echo("\n" + text_of(ladder), nl=False))
                await until_stopped()
            finally:
                click.echo("\nEnding the lab …", err=True)
                await node.stopService()

    run(main, verbose)


@command.command("demo")
@_places
@click.option(
    "--against", default="", metavar="FILE", help="Topology file of a network that runs already."
)
@click.option("--verbose", "-v", is_flag=True, help="Show the whole log.")
@files_options
def demo(
    base: str,
    port: int,
    dns_port: int,
    against: str,
    verbose: bool,
    html_file: str | None,
    svg_file: str | None,
    pcap_file: str | None,
    json_file: str | None,
) -> None:
    """Play a dozen scenes between people of two domains and draw the messages.

    The columns are people's phones and servers. SIP passes IM-1 between client and core, IM-2
    between core and IM Server, IP-1 between the cores of two domains; MSRP passes IM-7 between
    client and IM Server, IM-8 between two IM Servers, IM-9 between clients. After each scene
    stands what it showed; the exit status is 1 if something did not happen as it should.
    """

    async def scenes(stage: Stage) -> list[Played]:
        try:
            return await play(stage, show_step)
        finally:
            await stage.close()
            whole = stage.ladder(stage.records, ORDER)
            write_files(whole, "omaim lab demo", html_file, svg_file, pcap_file)

    async def main() -> list[Played]:
        started = time.monotonic()
        if against:
            stage = Stage(read_file(against), against, the_reactor())
            click.echo(f"Playing on the network of {against}.")
            if not stage.complete:
                click.echo("It writes no trace: the ladders show what the phones see.")
            return await scenes(stage)
        with Folder("") as place:
            plan = free_plan(place.path, port, dns_port, base)
            click.echo(f"Starting two domains on {plan.base}.x.x …", err=True)
            node, lab = await start_lab(plan, the_reactor())
            try:
                click.echo(f"A lab of two domains is ready ({time.monotonic() - started:.1f} s).")
                return await scenes(Stage(lab.contents, "the lab", the_reactor(), node))
            finally:
                await node.stopService()

    played = run(main, verbose)
    if json_file:
        write_file(json_file, outcome(played).encode())
    if not verdict(played):
        sys.exit(1)


@command.command("split")
@click.argument("folder", metavar="DIR")
@_places
@_md5
def split_up(folder: str, base: str, port: int, dns_port: int, md5: bool) -> None:
    """Write the network down as processes of their own.

    DIR gets one topology file that all processes share, the people, certificates, and a script
    that starts everything. Every process keeps its own state, and writes its log and its trace
    there.

    \b
    omaim lab split network
    sh network/start.sh                                  # in another terminal
    omaim lab demo --against network/network.toml
    """
    path = Path(folder).resolve()
    now = datetime.datetime.now(datetime.UTC)
    contents = split(_offering(Plan(path, base or BASE, port, dns_port), md5), now)
    omaim, twistd = called("omaim"), called("twistd")
    click.echo(bold("Each entity is a process; they start in any order:"))
    for name, entity in contents["entities"].items():
        click.echo(f"  {start_line(twistd, name, entity['kind'], folder)}")
    click.echo(bold("All of them, until Ctrl-C:"))
    click.echo(f"  sh {folder}/start.sh")
    click.echo(bold("Then:"))
    click.echo(f"  {omaim} lab demo --against {folder}/network.toml")
    click.echo(f"  {omaim} user --config {folder}/network.toml list")
    click.echo(f"  {omaim} ladder {folder}/*.jsonl")
