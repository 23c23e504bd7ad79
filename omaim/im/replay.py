"""The last messages of a room, for those who come late.

Who was here before gets what was said since; who is new gets the last few. Nobody is shown a
message twice on one device, unless the server has been started anew between.

Spec: OMA SIMPLE IM 1.0 (chat room, history for who joins)
"""

from __future__ import annotations

from collections import deque
from typing import Final

import attrs

_GUESTS: Final = 10_000  # devices of which it is remembered what they have seen


@attrs.frozen
class Said:
    """A message that was said to all."""

    number: int  # rising
    media_type: str  # of the content in the wrapper
    body: bytes = attrs.field(repr=False)  # message/cpim


class Replay:
    """The last messages.

    Args:
        most: how many are kept.
        size: octets of all of them.
    """

    def __init__(self, most: int, size: int = 4_194_304) -> None:
        self.most = most
        self.size = size
        self._said: deque[Said] = deque()
        self._octets = 0
        self._number = 0
        self._seen: dict[tuple[str, bool, str], int] = {}

    def takes(self, size: int) -> bool:
        """Tell whether a message of so many octets is kept."""
        return self.most > 0 and size <= self.size

    def add(self, media_type: str, body: bytes) -> None:
        """Keep a message that was just said."""
        self._number += 1
        if not self.takes(len(body)):
            return
        self._said.append(Said(self._number, media_type, body))
        self._octets += len(body)
        while len(self._said) > self.most or self._octets > self.size:
            self._octets -= len(self._said.popleft().body)

    def missed(self, aor: str, hidden: bool, device: str) -> list[Said]:
        """Return what a device has not seen of what is kept, the oldest first."""
        seen = self._seen.get((aor, hidden, device), 0)
        return [one for one in self._said if one.number > seen]

    def left(self, aor: str, hidden: bool, device: str) -> None:
        """A device has seen all up to now, and sees nothing from now on."""
        key = (aor, hidden, device)
        self._seen.pop(key, None)
        self._seen[key] = self._number
        if len(self._seen) > _GUESTS:
            del self._seen[next(iter(self._seen))]

    def __len__(self) -> int:
        return len(self._said)
