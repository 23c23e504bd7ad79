"""Nonces that need no store: each carries its time and a keyed hash that proves it is ours.

Only nonces that were used with a right answer are remembered, for the replay check; whoever
knows no password cannot make this table grow.
"""

from __future__ import annotations

import hashlib
from hmac import compare_digest
from typing import Final, final

from omaim.errors import UsageError
from omaim.ids import Ids

FRESH: Final = 0
EXPIRED: Final = 1
FORGED: Final = 2

_STAMP: Final = 8  # hex digits of the time
_HEAD: Final = 24  # time and 64 random bits
_LENGTH: Final = 48  # all, with 96 bits of the keyed hash
_SKEW: Final = 30  # seconds that clocks of nodes with a common key may differ
_WINDOW: Final = 30  # how far a count may come late behind the highest; keeps an entry in 62 bits
_MASK: Final = (1 << _WINDOW) - 1
_CLOSED: Final = (0xFFFFFFFF << _WINDOW) | _MASK


@final
class Nonces:
    """Make nonces, know them again, and see each use once only.

    Args:
        key: at least 16 secret octets. Nodes with a common key accept each other's nonces,
            but notice replays on the same node only.
        ids: where the random part comes from.
        lifetime: seconds after which a nonce is stale.
        capacity: how many used nonces are remembered. When one must be forgotten early, all
            made up to its time turn stale, so that a forgotten one is never accepted again.
        since: nonces made earlier are stale: the time of the start, where the key outlives
            the process and the memory of what was used does not.

    Spec: RFC 7616 §3.3 (nonce), §3.4 (nc), §5.4, §5.5
    """

    __slots__ = ("_capacity", "_floor", "_ids", "_lifetime", "_sealer", "_used")

    def __init__(
        self,
        key: bytes,
        ids: Ids,
        lifetime: float = 300.0,
        capacity: int = 100_000,
        since: float = 0.0,
    ) -> None:
        if len(key) < 16:
            raise UsageError("the nonce key is too short: give 16 octets or more")
        self._sealer = hashlib.blake2s(key=hashlib.sha256(key).digest(), digest_size=12)
        self._ids = ids
        self._lifetime = lifetime
        self._capacity = capacity
        self._floor = int(since)
        self._used: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._used)

    def make(self, realm: str, now: float) -> str:
        """Return a new nonce of 48 hex digits, which is fresh even if the clock was set back.

        Args:
            now: seconds, 0 to 2**32; on a clock that all nodes with this key share.
        """
        head = f"{max(int(now), self._floor):08x}{self._ids.token(16)}"
        return head + self._seal(head, realm)

    def _seal(self, head: str, realm: str) -> str:
        sealing = self._sealer.copy()  # half the price of making one
        sealing.update(f"{head}{realm}".encode("utf-8", "surrogateescape"))
        return sealing.hexdigest()

    def check(self, nonce: str, realm: str, now: float) -> int:
        """Return :data:`FRESH`, :data:`EXPIRED`, or :data:`FORGED` for none of ours."""
        if len(nonce) != _LENGTH or not nonce.isascii():
            return FORGED
        if not compare_digest(self._seal(nonce[:_HEAD], realm), nonce[_HEAD:]):
            return FORGED
        stamp = int(nonce[:_STAMP], 16)
        age = now - stamp
        if age > self._lifetime or stamp < self._floor:
            return EXPIRED
        if age < -_SKEW and stamp > self._floor:
            return EXPIRED
        return FRESH

    def aging(self, nonce: str, now: float) -> bool:
        """Tell whether a fresh nonce is past half its lifetime: time to send a next one.

        Spec: RFC 7616 §3.5 (nextnonce)
        """
        return now - int(nonce[:_STAMP], 16) > self._lifetime / 2

    def spend(self, nonce: str, count: int, now: float) -> bool:
        """Note one use of a nonce that :meth:`check` found fresh.

        Args:
            count: the client's nonce count; 0 when it sent none, then the nonce works once.

        Returns:
            Whether this count is new. It may come late, but no more than 30 behind the
            highest seen, as datagrams overtake one another.

        Spec: RFC 7616 §3.4 (nc)
        """
        head = nonce[:_HEAD]
        used = self._used
        entry = used.get(head, -1)
        if entry < 0:
            self._make_room(now)
            used[head] = (count << _WINDOW) | 1 if count else _CLOSED
            return True
        if not count:
            return False
        ahead = count - (entry >> _WINDOW)
        seen = entry & _MASK
        if ahead > 0:
            seen = ((seen << ahead) & _MASK) | 1 if ahead < _WINDOW else 1
            used[head] = (count << _WINDOW) | seen
            return True
        bit = 1 << -ahead if ahead > -_WINDOW else 0
        if not bit or seen & bit:
            return False
        used[head] = entry | bit
        return True

    def _make_room(self, now: float) -> None:
        """Drop expired nonces, two at most, and one unexpired when the table is full."""
        used = self._used
        for _ in range(2):
            if not used:
                return
            oldest = next(iter(used))
            stamp = int(oldest[:_STAMP], 16)
            expired = now - stamp > self._lifetime
            if not expired and len(used) < self._capacity:
                return
            del used[oldest]
            self._floor = max(self._floor, stamp + 1)
            if not expired:
                return
