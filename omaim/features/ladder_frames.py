"""Pieces of MSRP frames put together: a large frame crosses a socket in many.

Spec: RFC 4975 §7.1 (where a frame ends)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import attrs

from omaim.features.ladder_msrp import ends, starts
from omaim.net.wire import WireRecord

_LONGEST_END: Final = 45  # octets of an end-line


class _Open:
    """A frame whose end has not come yet."""

    def __init__(self, at: int, tid: str, record: WireRecord) -> None:
        self.at = at
        self.tid = tid
        self.pieces = [record.data]
        self.tail = record.data[-_LONGEST_END:]

    def add(self, data: bytes) -> None:
        """Take one piece more."""
        self.pieces.append(data)
        self.tail = (self.tail + data[-_LONGEST_END:])[-_LONGEST_END:]


def whole_frames(records: Iterable[WireRecord]) -> list[WireRecord]:
    """Return the records with one for each frame of MSRP, at the time of its first piece.

    A frame begins with its start line, and the next record of its connection and direction
    that does not is more of it, until its end has come. Pieces without a beginning stay alone.

    Args:
        records: by time.
    """
    found: list[WireRecord] = []
    under_way: dict[tuple[object, ...], _Open] = {}

    def close(frame: _Open) -> None:
        if len(frame.pieces) > 1:
            found[frame.at] = attrs.evolve(found[frame.at], data=b"".join(frame.pieces))

    for record in records:
        if record.protocol != "MSRP":
            found.append(record)
            continue
        way = (record.entity, record.direction, record.transport, record.local, record.remote)
        frame = under_way.get(way)
        tid = starts(record.data)
        if frame is not None and not tid:
            frame.add(record.data)
        else:
            if frame is not None:
                close(under_way.pop(way))
            found.append(record)
            if not tid:
                continue
            frame = under_way[way] = _Open(len(found) - 1, tid, record)
        if ends(frame.tail, frame.tid):
            close(under_way.pop(way))
    for frame in under_way.values():
        close(frame)
    return found
