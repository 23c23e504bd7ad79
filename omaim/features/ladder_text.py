"""A ladder for a terminal: one line for each message, columns on the left, words on the right."""

from __future__ import annotations

from typing import Final
from unicodedata import east_asian_width

from omaim.features.ladder import Ladder, Step
from omaim.features.ladder_fold import fold
from omaim.features.ladder_words import printable

_TIME: Final = 9  # columns for the seconds since the first message
_WORDS: Final = 44  # columns for what the message is, when there is room
_NARROWEST: Final = 4  # columns between two parties
_WIDEST: Final = 12
_PAGE: Final = 50  # messages after which the names stand there again


def draw_text(ladder: Ladder, width: int = 100) -> str:
    """Return the ladder as lines of at most ``width`` columns, each ended by a newline.

    With very many parties the lines get longer rather than unreadable. A message that did
    not arrive ends in ╳; one that was sent before is marked ↻. Many chunks of one message are
    one line (see :mod:`~omaim.features.ladder_fold`).
    """
    ladder = fold(ladder)
    start = ladder.steps[0].time if ladder.steps else 0.0
    span = ladder.steps[-1].time - start if ladder.steps else 0.0
    margin = max(_TIME, len(f"{span:.3f}") + 2)
    count = max(len(ladder.parties), 1)
    gap = max(_NARROWEST, min(_WIDEST, (width - margin - _WORDS) // count))
    at = {party.name: index * gap for index, party in enumerate(ladder.parties)}
    columns = list(at.values())
    heads = _heads([printable(party.name, 30) for party in ladder.parties], columns)
    names = [" " * margin + head for head in heads]
    lines = list(names)
    room = max(width - margin - count * gap, 20)
    for number, step in enumerate(ladder.steps):
        if number and number % _PAGE == 0:
            lines += names
        arrow = _arrow(at[step.source.name], at[step.target.name], columns, step.lost)
        words = cut(_words(step), room)
        time = f"{step.time - start:.3f}".rjust(margin - 2)
        lines.append(f"{time}  {arrow.ljust(count * gap)}{words}")
    return "".join(line.rstrip() + "\n" for line in lines)


def _heads(names: list[str], columns: list[int]) -> list[str]:
    """Return the lines with the names, each on the first line where it has room."""
    rows: list[list[tuple[int, str]]] = []
    row_of: list[int] = []
    for name, column in zip(names, columns, strict=True):
        ends = [placed[-1][0] + _columns_of(placed[-1][1]) for placed in rows]
        row = next((row for row, end in enumerate(ends) if end < column), len(rows))
        if row == len(rows):
            rows.append([])
        rows[row].append((column, name))
        row_of.append(row)
    lines = []
    for row, placed in enumerate(rows):
        line = ""
        used = 0
        marks = [(column, "│") for at, column in enumerate(columns) if row_of[at] < row]
        for column, text in sorted([*placed, *marks]):
            if column < used:
                continue  # a name above runs over this column
            line += " " * (column - used) + text
            used = column + _columns_of(text)
        lines.append(line)
    return lines


def _arrow(source: int, target: int, columns: list[int], lost: bool) -> str:
    cells = [" "] * (columns[-1] + 2)
    for column in columns:
        cells[column] = "│"
    if source == target:
        cells[source + 1] = "↺"
        return "".join(cells)
    low, high = min(source, target), max(source, target)
    for column in range(low + 1, high):
        cells[column] = "┼" if cells[column] == "│" else "─"
    if source < target:
        cells[source] = "├"
        cells[target - 1] = "╳" if lost else "▶"
    else:
        cells[source] = "┤"
        cells[target + 1] = "╳" if lost else "◀"
    return "".join(cells)


def _words(step: Step) -> str:
    again = "↻ " if step.again else ""
    secure = "TLS " if step.transport == "TLS" else ""
    return f"{step.point:<5}{again}{secure}{step.summary}"


def cut(text: str, room: int) -> str:
    """Return the text cut to so many columns, with … where something is missing."""
    if _columns_of(text) <= room:
        return text
    kept = ""
    used = 0
    for sign in text:
        used += _columns_of(sign)
        if used > room - 1:
            break
        kept += sign
    return kept.rstrip() + "…"


def _columns_of(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(2 if east_asian_width(sign) in "WF" else 1 for sign in text)
