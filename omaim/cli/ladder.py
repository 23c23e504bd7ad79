"""``omaim ladder``: draw what a trace recorded."""

from __future__ import annotations

import json
import re
import sys

import attrs
import click

from omaim.cli.pictures import files_options, step_values, text_of, write_file, write_files
from omaim.errors import UsageError
from omaim.features.ladder import Ladder, Step, climb, name_clients
from omaim.features.ladder_msrp import read_frame, uri_key
from omaim.features.ladder_sessions import name_sessions, sessions_in
from omaim.node.directory import Directory
from omaim.node.trace import read_lines, read_trace


@click.command("ladder")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--call",
    metavar="CALL-ID",
    help="Only messages with this Call-ID, and those of the MSRP sessions it sets up.",
)
@click.option(
    "--protocol",
    "protocols",
    multiple=True,
    type=click.Choice(("SIP", "MSRP", "HTTP"), case_sensitive=False),
    help="Only messages of this protocol; may be given more than once.",
)
@click.option("--only", metavar="TEXT", help="Only messages that hold this text (any case).")
@click.option("--last", type=click.IntRange(1), help="Only so many messages at the end.")
@click.option("--keep-alives", is_flag=True, help="Show keep-alives, too.")
@files_options
def command(
    files: tuple[str, ...],
    call: str | None,
    protocols: tuple[str, ...],
    only: str | None,
    last: int | None,
    keep_alives: bool,
    html_file: str | None,
    svg_file: str | None,
    pcap_file: str | None,
    json_file: str | None,
) -> None:
    """Draw a ladder from trace files: who sent what to whom, at which reference point.

    Processes write a trace when their configuration says trace = "FILE"; those of several
    processes become one ladder. A - stands for the standard input.

    \b
    omaim lab --trace lab.jsonl            # play with the lab, end it with Ctrl-C, then:
    omaim ladder lab.jsonl
    omaim ladder network/*.jsonl --only bob@north.example --html ladder.html
    omaim ladder lab.jsonl --protocol msrp

    Many chunks of one MSRP message are one line; captures and JSON have every frame.

    Without any of the options that write files, the ladder goes to the terminal.
    """
    directory = Directory()
    records = []
    for path in files:
        if path == "-":
            lines = iter(sys.stdin.readline, "")
            records += read_lines(lines, directory, "standard input")
        else:
            records += read_trace(path, directory)
    if not records:
        raise UsageError("the trace holds no messages yet")
    name_clients(records, directory)
    ladder = climb(records, directory, sessions=name_sessions(records, directory))
    ladder = chosen(ladder, call, protocols, only, last, keep_alives)
    if not ladder.steps:
        raise UsageError(f"none of the {len(records)} records fits")
    if not (html_file or svg_file or pcap_file or json_file):
        click.echo(text_of(ladder), nl=False)
    write_files(ladder, "Ladder", html_file, svg_file, pcap_file)
    if json_file:
        values = [step_values(step) for step in ladder.steps]
        write_file(json_file, (json.dumps(values, ensure_ascii=False, indent=1) + "\n").encode())


def chosen(
    ladder: Ladder,
    call: str | None,
    protocols: tuple[str, ...],
    only: str | None,
    last: int | None,
    keep_alives: bool,
) -> Ladder:
    """Return the part of a ladder that was asked for, with the parties that appear in it."""
    steps = list(ladder.steps)
    if not keep_alives:
        steps = [step for step in steps if step.summary.title != "keep-alive"]
    if call:
        steps = _of_call(steps, call)
    if protocols:
        wanted_protocols = {protocol.upper() for protocol in protocols}
        steps = [step for step in steps if step.protocol in wanted_protocols]
    if only:
        wanted = only.lower().encode()
        steps = [step for step in steps if wanted in step.data.lower()]
    if last:
        steps = steps[-last:]
    there = {party.name for step in steps for party in (step.source, step.target)}
    parties = tuple(party for party in ladder.parties if party.name in there)
    return attrs.evolve(ladder, parties=parties, steps=tuple(steps))


def _of_call(steps: list[Step], call: str) -> list[Step]:
    """Return the SIP messages with a Call-ID, and the MSRP of the sessions that they describe."""
    line = re.compile(
        rb"^(?:call-id|i)[ \t]*:[ \t]*" + re.escape(call.encode()) + rb"[ \t]*\r?$",
        re.IGNORECASE | re.MULTILINE,
    )
    described: set[str] = set()
    for step in steps:
        if step.protocol == "SIP" and line.search(step.data):
            described |= sessions_in(step.data)

    def belongs(step: Step) -> bool:
        if step.protocol != "MSRP":
            return line.search(step.data) is not None
        frame = read_frame(step.data)
        if frame is None:
            return False
        return any(uri_key(uri) in described for uri in (*frame.to_path, *frame.from_path))

    return [step for step in steps if belongs(step)]
