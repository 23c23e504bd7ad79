"""A ladder for a browser: one page or one picture, with nothing to fetch and no script.

A click on an arrow shows its message; that is done with a link and ``:target``, so the page
works from a file and under the strictest content policy.
"""

from __future__ import annotations

from html import escape
from typing import Final

from omaim.features.ladder import Ladder, Step
from omaim.features.ladder_fold import fold
from omaim.features.ladder_words import printable

_LEFT: Final = 90  # pixels before the first column, for the time
_GAP: Final = 150  # between two columns
_TOP: Final = 70
_ROW: Final = 36
_SIGN: Final = 8  # pixels of one character, at most
_PAGE: Final = 30  # messages after which the names stand there again
_LISTED: Final = 2000  # messages that a line stands for, and the page lists
_SHOWN: Final = 20_000  # octets of a message that the page shows

_STYLE: Final = """
.ladder{font:12px ui-monospace,monospace;background:#fff}
.ladder text{fill:#222;paint-order:stroke;stroke:#fff;stroke-width:3px}
.ladder .name{font-weight:bold}
.ladder .again{font-weight:bold;fill:#777}
.ladder .role,.ladder .time{fill:#777}
.ladder .life{stroke:#ccc}
.ladder .arrow{stroke:#246;stroke-width:1.5}
.ladder .head{fill:#246}
.ladder .msrp .arrow{stroke:#838}
.ladder .msrp .head{fill:#838}
.ladder .answer .arrow{stroke-dasharray:5 3}
.ladder .bad .arrow,.ladder .lost .arrow{stroke:#b22}
.ladder .bad .head{fill:#b22}
.ladder .lost .end{fill:#b22}
.ladder .point{fill:#284;font-weight:bold}
.ladder a:hover .arrow{stroke-width:3}
"""
_PAGE_STYLE: Final = """
body{margin:0;font:13px sans-serif}
main{margin-right:44vw;overflow-x:auto}
aside{position:fixed;top:0;right:0;width:44vw;height:100vh;overflow:auto;
 box-sizing:border-box;background:#f7f7f4;border-left:1px solid #ccc;padding:12px}
aside section{display:none}
aside section:target{display:block}
pre{white-space:pre-wrap;overflow-wrap:anywhere;font:12px ui-monospace,monospace}
"""


def draw_svg(ladder: Ladder) -> str:
    """Return the ladder as one SVG picture; hovering over an arrow shows its message.

    Many chunks of one message are one arrow (see :mod:`~omaim.features.ladder_fold`).
    """
    return _svg(fold(ladder), linked=False)


def draw_html(ladder: Ladder, title: str = "Ladder") -> str:
    """Return the ladder as one page; a click on an arrow shows its message.

    Many chunks of one message are one arrow, and a click shows their list and the first.
    """
    ladder = fold(ladder)
    start = ladder.steps[0].time if ladder.steps else 0.0
    sections = "".join(_section(number, step, start) for number, step in enumerate(ladder.steps))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{_PAGE_STYLE}</style></head><body><main>"
        f"{_svg(ladder, linked=True)}</main><aside><p>Click on an arrow to see its message."
        f"</p>{sections}</aside></body></html>\n"
    )


def _svg(ladder: Ladder, linked: bool) -> str:
    at = {party.name: _LEFT + index * _GAP for index, party in enumerate(ladder.parties)}
    height = _y(len(ladder.steps))
    ends = [min(at[one.source.name], at[one.target.name]) + _long(one) for one in ladder.steps]
    width = max([_LEFT + _GAP * max(len(at), 1) - _GAP // 3, *ends])
    start = ladder.steps[0].time if ladder.steps else 0.0
    pieces = [
        f'<svg class="ladder" xmlns="http://www.w3.org/2000/svg" width="{width}" '
        f'height="{height}" viewBox="0 0 {width} {height}"><style>{_STYLE}</style>'
    ]
    for party in ladder.parties:
        x = at[party.name]
        pieces.append(
            f'<line class="life" x1="{x}" y1="{_TOP - 14}" x2="{x}" y2="{height}"/>'
            f'<text class="name" x="{x}" y="18" text-anchor="middle">{_text(party.name)}</text>'
            f'<text class="role" x="{x}" y="34" text-anchor="middle">{_text(party.role)}</text>'
            f'<text class="role" x="{x}" y="48" text-anchor="middle">{_text(party.domain)}</text>'
        )
    for number, step in enumerate(ladder.steps):
        if number and number % _PAGE == 0:
            y = _y(number) - _ROW - 2
            pieces += [
                f'<text class="again" x="{at[party.name]}" y="{y}" text-anchor="middle">'
                f"{_text(party.name)}</text>"
                for party in ladder.parties
            ]
        drawn = _step(step, at[step.source.name], at[step.target.name], number, start)
        pieces.append(f'<a href="#m{number}">{drawn}</a>' if linked else drawn)
    pieces.append("</svg>")
    return "".join(pieces)


def _long(step: Step) -> int:
    """Return about how many pixels the words beside an arrow take, and a little room."""
    return 30 + _SIGN * len(f"{step.point} TLS ↻ {step.summary}")


def _y(number: int) -> int:
    """Return how far down a message is; the names take a row every so often."""
    return _TOP + _ROW * (number + 1 + number // _PAGE)


def _step(step: Step, x1: int, x2: int, number: int, start: float) -> str:
    y = _y(number)
    kinds = ["msrp"] if step.protocol == "MSRP" else []
    if step.summary.method:
        kinds.append("answer")
        if step.summary.title[:1] in ("4", "5", "6"):
            kinds.append("bad")
    if step.lost:
        kinds.append("lost")
    way = 1 if x2 >= x1 else -1
    if x1 == x2:
        line = f'<path class="arrow" fill="none" d="M{x1} {y - 6}h26v12h-20"/>'
        head_at = x1 + 4
        way = -1
    else:
        line = f'<line class="arrow" x1="{x1}" y1="{y}" x2="{x2 - 6 * way}" y2="{y}"/>'
        head_at = x2
    if step.lost:
        end = f'<text class="end" x="{head_at - 10 * way}" y="{y + 5}">✕</text>'
    else:
        point_y = y + 6 if x1 == x2 else y
        end = (
            f'<polygon class="head" points="{head_at},{point_y} {head_at - 9 * way},{point_y - 4} '
            f'{head_at - 9 * way},{point_y + 4}"/>'
        )
    again = "↻ " if step.again else ""
    secure = "TLS " if step.transport == "TLS" else ""
    return (
        f'<g class="{" ".join(kinds)}"><title>{_text(_message(step), 4000)}</title>'
        f'<rect x="0" y="{y - 20}" width="{max(x1, x2) + 240}" height="{_ROW - 4}" '
        f'fill="#fff" fill-opacity="0"/>{line}{end}'
        f'<text class="time" x="4" y="{y + 4}">{step.time - start:.3f}</text>'
        f'<text x="{min(x1, x2) + 8}" y="{y - 6}"><tspan class="point">{_text(step.point)}'
        f"</tspan> {again}{secure}{_text(str(step.summary))}</text></g>"
    )


def _section(number: int, step: Step, start: float) -> str:
    ends = (
        f"{step.source.name} {_place(step.source_address)} → "
        f"{step.target.name} {_place(step.target_address)}"
    )
    octets = sum(len(one.data) for one in step.folded or (step,))
    words = f"{step.point} {step.protocol} over {step.transport}, {octets} octets"
    lost = "<p>It did not arrive.</p>" if step.lost else ""
    return (
        f'<section id="m{number}"><h3>{_text(str(step.summary))}</h3><p>{_text(ends)}<br>'
        f"{_text(words)}</p>{lost}{_list(step, start)}"
        f"<pre>{_text(_message(step), _SHOWN)}</pre></section>"
    )


def _list(step: Step, start: float) -> str:
    """Return the messages that a step stands for, one line each."""
    if not step.folded:
        return ""
    lines = [f"{one.time - start:.3f} {_text(str(one.summary))}" for one in step.folded[:_LISTED]]
    if len(step.folded) > _LISTED:
        lines.append(f"and {len(step.folded) - _LISTED} more")
    return f"<p>{'<br>'.join(lines)}</p><p>The first of them:</p>"


def _place(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _message(step: Step) -> str:
    return step.data[:_SHOWN].decode("utf-8", "replace").replace("\r\n", "\n")


def _text(text: str, most: int = 0) -> str:
    """Return the text for XML: one line if no length is given, else with its lines."""
    if not most:
        return escape(printable(text))
    safe = "".join(sign if sign.isprintable() or sign == "\n" else "·" for sign in text[:most])
    return escape(safe if len(text) <= most else safe + "…")
