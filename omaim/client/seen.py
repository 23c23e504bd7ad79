"""Messages that were here before: whoever delivers may do it twice.

Spec: RFC 3428 §7; RFC 4975 §5.4; OMA SIMPLE IM 1.0 (receiving)
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

REMEMBERED: Final = 10_000  # messages of which a repeat is recognised

Name = tuple[str, ...]  # what tells a message from any other


class Seen:
    """The messages that one client took last, however they came."""

    def __init__(self) -> None:
        self._names: OrderedDict[Name, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._names)

    def has(self, name: Name | None) -> bool:
        """Tell whether a message is known; one without a name never is."""
        if name is None or name not in self._names:
            return False
        self._names.move_to_end(name)
        return True

    def add(self, name: Name | None) -> None:
        """Remember a message."""
        if name is not None:
            self._names[name] = None
            if len(self._names) > REMEMBERED:
                self._names.popitem(last=False)
