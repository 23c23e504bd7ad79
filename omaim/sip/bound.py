"""Bindings kept in memory, so that a request need not wait for a store.

A store in memory consists of a :class:`BindingCache`; one on tables keeps it beside them.

Spec: RFC 3261 §10.3 (location service)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from typing import Final, final

from omaim.sip.bindings import Binding
from omaim.timers import NEVER

_AGAIN: Final = 30.0  # seconds until a due address that nobody handled is due again
_SHARED: Final = 4096  # different values that the pool holds at most, of each kind


@final
class BindingSet:
    """All bindings of one address of record. Never changed once made.

    Attributes:
        version: what a store compares when they are replaced; 0 when there are none.
    """

    __slots__ = ("bindings", "version")

    def __init__(self, version: int = 0, bindings: tuple[Binding, ...] = ()) -> None:
        self.version: Final = version
        self.bindings: Final = bindings

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, BindingSet)
            and self.version == other.version
            and self.bindings == other.bindings
        )

    def __hash__(self) -> int:
        return hash((self.version, self.bindings))

    def __repr__(self) -> str:
        return f"BindingSet({self.version!r}, {self.bindings!r})"


_NONE: Final = BindingSet()


@final
class Pool:
    """One copy of what many records have alike: software names, parameters, paths."""

    __slots__ = ("_paths", "_texts")

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._paths: dict[tuple[str, ...], tuple[str, ...]] = {}

    def text(self, value: str) -> str:
        """Return an equal text, the same each time while the pool remembers it."""
        known = self._texts
        found = known.get(value)
        if found is None:
            if len(known) >= _SHARED:
                known.clear()  # whoever sends ever new ones costs no more than this
            known[value] = found = value
        return found

    def path(self, value: tuple[str, ...]) -> tuple[str, ...]:
        """Return an equal path, the same each time while the pool remembers it."""
        known = self._paths
        found = known.get(value)
        if found is None:
            if len(known) >= _SHARED:
                known.clear()
            known[value] = found = value
        return found


@final
class _Entry:
    """The bindings of one address, and when to look at them."""

    __slots__ = ("armed", "expires_at", "held")

    def __init__(self, held: BindingSet, expires_at: float) -> None:
        self.held = held
        self.expires_at = expires_at  # of the binding that expires first
        self.armed = NEVER  # when the heap will look at this entry


@final
class BindingCache:
    """Bindings by address of record, and a heap of when they expire."""

    __slots__ = ("_count", "_entries", "_heap", "_pool")

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._heap: list[tuple[float, str]] = []
        self._pool = Pool()
        self._count = 0

    def peek(self, aor: str) -> BindingSet:
        """Return the bindings of that address."""
        entry = self._entries.get(aor)
        return _NONE if entry is None else entry.held

    def set(self, aor: str, version: int, bindings: Iterable[Binding]) -> None:
        """Put these in the place of what the address had."""
        entry = self._entries.get(aor)
        if entry is not None:
            self._count -= len(entry.held.bindings)
        held = BindingSet(version, tuple([self._shared(one) for one in bindings]))
        if not held.bindings:
            self._entries.pop(aor, None)
            return
        self._count += len(held.bindings)
        expires_at = min([one.expires_at for one in held.bindings])
        if entry is None:
            first = held.bindings[0].aor
            aor = first if first == aor else aor  # the same string, once
            entry = self._entries[aor] = _Entry(held, expires_at)
        else:
            entry.held = held
            entry.expires_at = expires_at
        if expires_at < entry.armed:
            entry.armed = expires_at
            heappush(self._heap, (expires_at, aor))

    def aors(self) -> Iterator[str]:
        """Iterate over a copy of the addresses."""
        return iter(tuple(self._entries))

    def count(self) -> int:
        """Return how many bindings there are."""
        return self._count

    def due(self, now: float, limit: int) -> tuple[str, ...]:
        """Return addresses with an expired binding; arm each again for later."""
        found: list[str] = []
        heap = self._heap
        while heap and heap[0][0] <= now and len(found) < limit:
            moment, aor = heappop(heap)
            entry = self._entries.get(aor)
            if entry is None or entry.armed != moment:
                continue  # gone, or noted for an earlier moment that has been served
            if entry.expires_at <= now:
                found.append(aor)
                entry.armed = now + _AGAIN
            else:
                entry.armed = entry.expires_at
            heappush(heap, (entry.armed, aor))
        return tuple(found)

    def next_due(self) -> float:
        """Return the earliest moment in the heap."""
        return self._heap[0][0] if self._heap else NEVER

    def _shared(self, one: Binding) -> Binding:
        """Return an equal binding, made of shared parts where they repeat."""
        pool = self._pool
        path, user_agent, params = (
            pool.path(one.path),
            pool.text(one.user_agent),
            pool.text(one.params),
        )
        if path is one.path and user_agent is one.user_agent and params is one.params:
            return one
        return Binding(
            one.aor, one.contact, one.call_id, one.cseq, one.expires_at, one.q,
            path, one.instance, one.reg_id, one.flow_token, user_agent,
            params, one.pub_gruu, one.temp_gruu, one.received, one.private_id,
            one.registered_at, one.contact_id, one.updated_at,
        )  # fmt: skip
