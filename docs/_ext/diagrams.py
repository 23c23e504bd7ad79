"""State diagrams as SVG: states below one another, the way that things go is down.

A step to the next state goes straight down; one that skips states, or goes back, has a lane of
its own at the right. What leaves a state as it is stands in its box.
"""

from __future__ import annotations

from html import escape
from itertools import pairwise
from typing import NamedTuple

LEFT = 10
WIDTH = 300  # of a box
LANE = 190
LINE = 15
STYLE = (
    ".machine{font:12px sans-serif;max-width:100%;height:auto}"
    ".machine rect{fill:#8881;stroke:#789;rx:6px}"
    ".machine .edge{fill:none;stroke:#47a;stroke-width:1.4}"
    ".machine .head{fill:#47a}"
    ".machine text{fill:currentColor}"
    ".machine .state{font-weight:bold;font-size:14px}"
    ".machine .does{opacity:.7}"
)


class Edge(NamedTuple):
    """One transition."""

    source: str
    target: str
    what: str
    does: str


def order(edges: list[Edge]) -> list[str]:
    """Return the states, each before those it leads to as far as that can be."""
    states = list(dict.fromkeys(state for edge in edges for state in edge[:2]))
    steps = {(edge.source, edge.target) for edge in edges if edge.source != edge.target}
    found: list[str] = []
    while len(found) < len(states):
        left = [state for state in states if state not in found]
        free = [
            state for state in left if not any(to == state and frm in left for frm, to in steps)
        ]
        found.append((free or left)[0])
    return found


def draw(edges: list[Edge]) -> str:
    """Return the diagram."""
    states = order(edges)
    stays = {
        state: [edge for edge in edges if edge.source == edge.target == state] for state in states
    }
    steps: dict[tuple[str, str], list[Edge]] = {}
    for edge in edges:
        if edge.source != edge.target:
            steps.setdefault((edge.source, edge.target), []).append(edge)
    straight = {pair for pair in pairwise(states) if pair in steps}
    lanes = sorted(
        (pair for pair in steps if pair not in straight),
        key=lambda pair: abs(states.index(pair[1]) - states.index(pair[0])),
    )
    tops, y = {}, 10
    heights = {}
    for number, state in enumerate(states):
        ports = sum(state in pair for pair in lanes)
        heights[state] = max(30 + LINE * len(stays[state]), 14 + 12 * ports)
        tops[state] = y
        below = steps.get((state, states[number + 1]), []) if number + 1 < len(states) else []
        y += heights[state] + 26 + 2 * LINE * max(len(below), 1)
    lines: list[str] = []
    used = dict.fromkeys(states, 0)
    for state in states:
        lines.append(
            f'<rect x="{LEFT}" y="{tops[state]}" width="{WIDTH}" height="{heights[state]}"/>'
            f'<text class="state" x="{LEFT + 10}" y="{tops[state] + 19}">{escape(state)}</text>'
        )
        for row, edge in enumerate(stays[state]):
            lines.append(_label(LEFT + 10, tops[state] + 36 + LINE * row, edge, "↻ "))
    for source, target in pairwise(states):
        if (source, target) in straight:
            x, top, bottom = LEFT + 40, tops[source] + heights[source], tops[target]
            lines.append(f'<path class="edge" d="M{x} {top}V{bottom - 4}"/>{_head(x, bottom)}')
            lines += _labels(x + 8, top + 18, steps[source, target])
    right = LEFT + WIDTH
    for number, pair in enumerate(lanes):
        x = right + 24 + LANE * number
        ends = []
        for state in pair:
            used[state] += 1
            ends.append(tops[state] + 4 + 12 * used[state])
        start, end = ends
        lines.append(
            f'<path class="edge" d="M{right} {start}H{x}V{end}H{right + 6}"/>{_head(right, end, 1)}'
        )
        down = 18 if end > start else -26
        gap = next(state for state in states if tops[state] + heights[state] >= start)
        lines += _labels(x + 6, tops[gap] + heights[gap] + down, steps[pair])
    width = right + 40 + LANE * max(len(lanes), 1) + 40
    return (
        f'<svg class="machine" viewBox="0 0 {width} {y - 40}" width="{width}" '
        f'xmlns="http://www.w3.org/2000/svg" role="img"><style>{STYLE}</style>'
        + "".join(lines)
        + "</svg>"
    )


def _labels(x: int, y: int, edges: list[Edge]) -> list[str]:
    return [_label(x, y + 2 * LINE * row, edge, "", LINE) for row, edge in enumerate(edges)]


def _label(x: int, y: int, edge: Edge, mark: str, below: int = 0) -> str:
    does = f'<tspan class="does" {{}}>{escape(edge.does)}</tspan>'
    where = f'x="{x}" dy="{below}"' if below else 'dx="4"'
    return f'<text x="{x}" y="{y}">{mark}{escape(edge.what)}{does.format(where)}</text>'


def _head(x: int, y: int, sideways: int = 0) -> str:
    if sideways:
        return f'<polygon class="head" points="{x},{y} {x + 8},{y - 4} {x + 8},{y + 4}"/>'
    return f'<polygon class="head" points="{x},{y} {x - 4},{y - 8} {x + 4},{y - 8}"/>'
