"""Results as a table, on the terminal and in a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
YARDSTICK = "kamailio"  # the server that others are compared with


def table(found: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    rows = [
        "| operation | server | CPU µs | times tuned Kamailio | CPU µs, busy | times | "
        "per second, busy | resident MiB |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    results = found["results"]
    reference = {one["key"]: one for one in results if one["server"] == YARDSTICK}
    for one in results:
        if "paced_us" in one:
            cells = [one["title"], one["server"]]
            base = reference.get(one["key"])
            for kind in ("paced_us", "busy_us"):
                cells += [f"{one[kind]:.0f}", f"{one[kind] / base[kind]:.2f}" if base else ""]
            cells += [f"{one['busy_rate']:.0f}", f"{one['resident'] / 2**20:.0f}"]
            rows.append("| " + " | ".join(cells) + " |")
    lines = ["\n".join(rows), ""]
    for one in results:
        if "late_us" in one:
            lines.append(
                f"- {one['server']}: forgetting a relayed MESSAGE 32 s later takes "
                f"{one['late_us']:.1f} µs more."
            )
    plain = {one["server"]: one for one in results if one["key"] == "relay"}
    for one in results:
        base = plain.get(one["server"])
        if one["key"] == "im" and base:
            paced, busy = (one[kind] / base[kind] for kind in ("paced_us", "busy_us"))
            lines.append(
                f"- {one['server']}: a MESSAGE through the IM Server costs {paced:.1f} times the "
                f"plain relay, busy {busy:.1f} times."
            )
    for one in results:
        if "per_binding" in one:
            lines.append(
                f"- {one['server']}: {one['title']}: {one['resident'] / 2**20:.0f} MiB, "
                f"{(one['resident'] - one['idle']) / 2**20:.0f} more than before, "
                f"{one['per_binding']:.0f} octets each."
            )
        if "seconds" in one:
            lines.append(
                f"- {one['server']}: {one['title']}: {one['seconds']:.1f} s, "
                f"{one['cpu']:.1f} s of CPU, {one['resident'] / 2**20:.0f} MiB."
            )
    machine = found["machine"]
    lines.append(
        f"\nMeasured {machine['date']} on {machine['cpu']}, {machine['system']}, "
        f"Python {machine['python']}; Kamailio: {machine['kamailio']}."
    )
    return "\n".join(lines)


def write_table(page: Path, found: dict[str, Any]) -> None:
    """Replace what stands between the marks of a page."""
    text = page.read_text()
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n{table(found)}\n{END}{after}")
