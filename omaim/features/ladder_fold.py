"""Many chunks, one line: what keeps the ladder of a long message or a file readable.

A message of MSRP that takes more than a few chunks is one line where its first chunk was, and
so are the answers to them and the reports on it. What was refused or lost keeps a line of its
own. The picture for people is folded; captures and JSON have every frame.
"""

from __future__ import annotations

from typing import Final

import attrs

from omaim.features.ladder import Ladder, Step
from omaim.features.ladder_msrp import REPORT, SEND, Frame, read_frame
from omaim.features.ladder_words import size_words

FEW: Final = 3  # of these each has its line

_Key = tuple[object, ...]


def fold(ladder: Ladder) -> Ladder:
    """Return the ladder with one step for the chunks of a message, if they are many."""
    groups: dict[_Key, list[tuple[int, Step, Frame | None]]] = {}
    asked: dict[_Key, str] = {}
    for number, step in enumerate(ladder.steps):
        frame = read_frame(step.data) if step.protocol == "MSRP" else None
        key = _key(step, frame, asked) if step.protocol == "MSRP" else None
        again = step.again and frame is not None
        alone = key is None or step.lost or again or bool(step.folded)
        groups.setdefault((number,) if alone else key or (), []).append((number, step, frame))
    steps: dict[int, Step] = {}
    for group in groups.values():
        if len(group) > FEW:
            steps[group[0][0]] = _one([(step, frame) for _, step, frame in group])
        else:
            steps.update((number, step) for number, step, _ in group)
    return attrs.evolve(ladder, steps=tuple(steps[number] for number in sorted(steps)))


def _key(step: Step, frame: Frame | None, asked: dict[_Key, str]) -> _Key | None:
    """Return what a frame has in common with those that go into one line with it."""
    way = (step.source.name, step.target.name, step.source_address, step.target_address)
    if frame is None:
        return ("piece", *way)
    if frame.status:
        message = asked.get((frame.tid, step.target.name, step.source.name))
        return (frame.status, message, *way) if message else None
    message = frame.get("message-id")
    if frame.method == SEND and message:
        asked[frame.tid, step.source.name, step.target.name] = message
        return (SEND, message, *way)
    if frame.method == REPORT and message:
        return (REPORT, message, frame.get("status"), *way)
    return None


def _one(group: list[tuple[Step, Frame | None]]) -> Step:
    """Return the step that stands for a group."""
    first, frame = group[0]
    summary = attrs.evolve(first.summary, part=f"×{len(group)}")
    if frame is None:
        octets = sum(len(step.data) for step, _ in group)
        summary = attrs.evolve(first.summary, hint=f"{len(group)} pieces, {size_words(octets)}")
    elif frame.method == SEND:
        summary = attrs.evolve(first.summary, part=_range([one for _, one in group if one]))
    elif frame.method == REPORT:
        code = " ".join(frame.get("status").split(" ")[1:2])
        summary = attrs.evolve(first.summary, hint=code, part=f"×{len(group)}")
    return attrs.evolve(first, summary=summary, folded=tuple(step for step, _ in group))


def _range(frames: list[Frame]) -> str:
    """Return how much of a message some chunks of it are: "1-2048/9000 (4 chunks, 2048 B)"."""
    start = min(frame.range[0] for frame in frames)
    end = max(frame.range[1] for frame in frames)
    total = max(frame.range[2] for frame in frames)
    flags = {frame.flag for frame in frames}
    whole = start == 1 and end == total and "$" in flags
    said = f"{start}-{end}" if whole else f"{start}-{end}/{total if total >= 0 else '*'}"
    octets = size_words(sum(frame.size for frame in frames))
    aborted = ", aborted" if "#" in flags else ""
    return f"{said} ({len(frames)} chunks, {octets}{aborted})"
