"""What is found in a store by a name, and held for those who ask again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar, final

HELD: Final = 16_384  # names held so at most; what is asked for again is found again

T = TypeVar("T")


@final
class Held(Generic[T]):
    """Finds things by their names: those asked for of late without asking the store.

    Args:
        find: returns what has a name, ``None`` for nothing; that is not held.
        most: names held at most.
    """

    __slots__ = ("_find", "_held", "_most")

    def __init__(self, find: Callable[[str], T | None], most: int = HELD) -> None:
        self._find: Final = find
        self._most: Final = most
        self._held: dict[str, T] = {}

    def __len__(self) -> int:
        return len(self._held)

    def of(self, name: str) -> T | None:
        """Return what has this name, ``None`` for nothing."""
        held = self._held.get(name)
        if held is None:
            held = self._find(name)
            if held is not None:
                if len(self._held) >= self._most:
                    self._held.clear()
                self._held[name] = held
        return held

    def forget(self) -> None:
        """Find everything anew: something has changed."""
        self._held.clear()
