"""Identifiers that nobody can guess: branches, tags, Call-IDs, tokens.

All come from one :class:`Ids`, so that a test can seed it and see the same bytes each run.
"""

from __future__ import annotations

import os
import random
from typing import Final, final

COOKIE: Final = "z9hG4bK"  # RFC 3261 §8.1.1.7
_POOL: Final = 4096  # octets asked of the system at a time: a call costs as much as 100 ids


@final
class Ids:
    """A source of identifiers with at least 64 random bits each.

    Args:
        seed: ``None`` draws from the system's secure source; a number makes the
            sequence repeatable, for tests only.

    Spec: RFC 3261 §8.1.1.4, §8.1.1.7, §19.3
    """

    __slots__ = ("_hex", "_position", "_random")

    def __init__(self, seed: int | None = None) -> None:
        self._random: random.Random | None = None if seed is None else random.Random(seed)
        self._hex = ""
        self._position = 0

    def token(self, digits: int = 16) -> str:
        """Return ``digits`` random lower-case hex digits, 4 bits each (at most 4096)."""
        start = self._position
        end = start + digits
        if end > len(self._hex):
            source = self._random
            octets = os.urandom(_POOL) if source is None else source.randbytes(_POOL)
            self._hex = octets.hex()
            start, end = 0, digits
        self._position = end
        return self._hex[start:end]

    def branch(self) -> str:
        """Return a Via branch with RFC 3261's magic cookie."""
        return COOKIE + self.token(20)

    def tag(self) -> str:
        """Return a From or To tag."""
        return self.token(16)

    def call_id(self) -> str:
        """Return a Call-ID without a host part, which would tell where it was made."""
        return self.token(32)

    def uuid_urn(self) -> str:
        """Return a random ``urn:uuid:`` (RFC 4122 §4.4), as ``+sip.instance`` wants it."""
        digits = self.token(32)
        variant = "89ab"[int(digits[16], 16) & 3]
        return (
            f"urn:uuid:{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-"
            f"{variant}{digits[17:20]}-{digits[20:]}"
        )

    def fraction(self) -> float:
        """Return a number from 0 (included) to 1 (excluded), for jitter and weights."""
        return int(self.token(8), 16) / 4294967296.0
