"""The octets of one message that came out of order.

Spec: RFC 4975 §7.3.1
"""

from __future__ import annotations

from bisect import bisect_right
from typing import final


@final
class Patchwork:
    """Octets with gaps between; where pieces overlap, the one that came last counts.

    Attributes:
        octets: how many are held.
        moved: how many that were held had to be moved so far, to make room for others; who
            sends so that this grows far beyond what is held means no good.
    """

    __slots__ = ("_pieces", "_starts", "moved", "octets")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._pieces: list[bytearray] = []  # beside its start each; they do not touch
        self.octets = 0
        self.moved = 0

    def __len__(self) -> int:
        """Return the number of pieces."""
        return len(self._starts)

    def put(self, offset: int, data: bytes) -> None:
        """Add ``data``, of which ``offset`` octets of the message come before."""
        if not data:
            return
        starts, pieces = self._starts, self._pieces
        end = offset + len(data)
        first = bisect_right(starts, offset) - 1
        if first < 0 or starts[first] + len(pieces[first]) < offset:
            first += 1
        elif starts[first] + len(pieces[first]) == offset and (
            first + 1 == len(starts) or starts[first + 1] > end
        ):
            pieces[first] += data  # most frequent: it goes on behind the last one
            self.octets += len(data)
            return
        if first < len(starts) and starts[first] <= offset:
            at = offset - starts[first]
            if end <= starts[first] + len(pieces[first]):
                pieces[first][at : at + len(data)] = data  # inside: nothing is moved
                return
        last = bisect_right(starts, end)  # those from first to before last touch the new one
        if first == last:
            starts.insert(first, offset)
            pieces.insert(first, bytearray(data))
            self.octets += len(data)
            return
        start = min(offset, starts[first])
        joined = pieces[first][: offset - start]
        joined += data
        tail = pieces[last - 1]
        tail_end = starts[last - 1] + len(tail)
        if tail_end > end:
            joined += tail[len(tail) - (tail_end - end) :]
        for piece in pieces[first:last]:
            self.octets -= len(piece)
        self.octets += len(joined)
        self.moved += len(joined) - len(data)
        starts[first:last] = [start]
        pieces[first:last] = [joined]

    def take(self, offset: int) -> bytes:
        """Return the octets that go on at ``offset`` and forget them and all before.

        Empty when there is a gap.
        """
        starts, pieces = self._starts, self._pieces
        while starts and starts[0] <= offset:
            start = starts.pop(0)
            piece = pieces.pop(0)
            self.octets -= len(piece)
            if start + len(piece) > offset:
                return bytes(piece[offset - start :])
        return b""

    def whole(self, total: int) -> bool:
        """Tell whether the first ``total`` octets are here without a gap."""
        if not total:
            return True
        return bool(self._starts) and not self._starts[0] and len(self._pieces[0]) >= total
