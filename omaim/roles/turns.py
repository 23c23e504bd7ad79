"""Who may send next in a call: a queue of changes that wait for their turn.

Spec: RFC 3261 §14.1
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred


class Turns:
    """Those who wait, in order.

    Args:
        free: tells of a method, and whether its request holds a description, whether it may go
            out now.
    """

    def __init__(self, free: Callable[[str, bool], bool]) -> None:
        self._free = free
        self._waiting: list[tuple[str, bool, Deferred[None]]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def wait(self, method: str, described: bool) -> Deferred[None] | None:
        """Return what fires when the turn has come; ``None`` if that is now. BYE may overtake."""
        if (method == "BYE" or not self._waiting) and self._free(method, described):
            return None
        waiting: Deferred[None] = Deferred()
        self._waiting.append((method, described, waiting))
        return waiting

    def advance(self) -> None:
        """Let those go on whose turn has come."""
        for turn in list(self._waiting):
            if turn not in self._waiting:
                return  # one that went on has let the others go on, or ended the call
            method, described, waiting = turn
            if waiting.called:
                self._waiting.remove(turn)  # it was cancelled
            elif self._free(method, described):
                self._waiting.remove(turn)
                waiting.callback(None)

    def end(self) -> list[Deferred[None]]:
        """Return those who waited in vain."""
        waiting, self._waiting = self._waiting, []
        return [one for _, _, one in waiting]
