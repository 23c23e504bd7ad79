"""Which messages have been here already.

Spec: RFC 4975 §5.4
"""

from __future__ import annotations

from typing import final


@final
class Recent:
    """The Message-IDs that came last, so that a message is shown once only.

    Sessions that follow one another may share it (RFC 4975 §5.4).

    Args:
        most: how many are remembered.
    """

    __slots__ = ("_known", "_most")

    def __init__(self, most: int) -> None:
        self._known: dict[str, bool] = {}
        self._most = most

    def has(self, message_id: str) -> bool:
        """Tell whether it was here."""
        return message_id in self._known

    def add(self, message_id: str) -> None:
        """Remember it."""
        known = self._known
        if len(known) >= self._most:
            del known[next(iter(known))]
        known[message_id] = True
