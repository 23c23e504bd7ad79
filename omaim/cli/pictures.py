"""Ladders for people: on the terminal with colours, and as files."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from omaim.errors import UsageError
from omaim.features.ladder import POINTS, Ladder, Step
from omaim.features.ladder_svg import draw_html, draw_svg
from omaim.features.ladder_text import draw_text
from omaim.features.pcapng import write_pcapng

_POINT = re.compile(r"(?<=[│ ] )((?:IM|IP|GM)-\d+)(?= )")
_REFUSED = re.compile(r"\b([456]\d\d [A-Z][A-Za-z ]+)(?= \()")
_LINES = re.compile(r"[│┼├┤]")

MEDIA_POINTS = frozenset(point.name for point in POINTS if point.protocol == "MSRP")


def width() -> int:
    """Return the columns to draw in: those of the terminal, 100 elsewhere."""
    if not sys.stdout.isatty():
        return 100

    return max(80, min(shutil.get_terminal_size((100, 24)).columns, 140))


def coloured(ladder: str) -> str:
    """Return a ladder with colours; click takes them away where nobody sees them."""
    ladder = _LINES.sub(lambda found: click.style(found[0], dim=True), ladder)
    ladder = _POINT.sub(_pointed, ladder)
    return _REFUSED.sub(lambda found: click.style(found[1], fg="red"), ladder)


def _pointed(found: re.Match[str]) -> str:
    """Return a reference point in the colour of what passes there: SIP or MSRP."""
    media = found[1] in MEDIA_POINTS
    return click.style(found[1], fg="magenta" if media else "green", bold=True)


def text_of(ladder: Ladder) -> str:
    """Return a ladder for the terminal."""
    return coloured(draw_text(ladder, width()))


def files_options(command: Any) -> Any:
    """Give a command the options that write a ladder to files."""
    for name, what in (
        ("json", "what was seen, as JSON, for programs"),
        ("pcap", "a capture (pcapng) for Wireshark and tshark"),
        ("svg", "a picture"),
        ("html", "a page where a click shows the message"),
    ):
        option = click.option(f"--{name}", f"{name}_file", metavar="FILE", help=f"Write {what}.")
        command = option(command)
    return command


def write_files(
    ladder: Ladder, title: str, html: str | None, svg: str | None, pcap: str | None
) -> None:
    """Write the files that were asked for, and tell of each.

    Raises:
        UsageError: one cannot be written.
    """
    for path, made in (
        (html, lambda: draw_html(ladder, title).encode()),
        (svg, lambda: draw_svg(ladder).encode()),
        (pcap, lambda: write_pcapng(ladder)),
    ):
        if path:
            write_file(path, made())


def write_file(path: str, octets: bytes) -> None:
    """Write a file and say so.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        Path(path).write_bytes(octets)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None
    click.echo(f"Written: {path}", err=True)


def step_values(step: Step) -> dict[str, Any]:
    """Return a message of a ladder as values for JSON."""
    return {
        "time": step.time,
        "from": step.source.name,
        "to": step.target.name,
        "point": step.point,
        "protocol": step.protocol,
        "transport": step.transport,
        "what": str(step.summary),
        "lost": step.lost,
        "again": step.again,
        "text": step.data.decode("utf-8", "replace"),
    }
