"""The stores in memory: the reference for the others, and what unit tests use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from omaim.sip.bound import BindingCache
from omaim.stores.cache import UserCache
from omaim.stores.interfaces import Conflict, IBindingStore, IUserStore, Stores
from omaim.stores.memory_messages import MemoryDeferredStore, MemoryHistoryStore, MemoryOutbox
from omaim.stores.memory_state import (
    MemoryDocumentStore,
    MemoryLeaseStore,
    MemoryPublicationStore,
    MemorySubscriptionStore,
)
from omaim.stores.records import Binding, BindingSet, User


@implementer(IBindingStore)
class MemoryBindingStore:
    """See :class:`IBindingStore`."""

    def __init__(self) -> None:
        self._cache = BindingCache()
        self._version = 0
        self.peek = self._cache.peek
        self.aors = self._cache.aors
        self.count = self._cache.count
        self.next_due = self._cache.next_due

    def replace(self, aor: str, old: int, bindings: Sequence[Binding]) -> Deferred[int]:
        if self._cache.peek(aor).version != old:
            return fail(Conflict(f"the bindings of {aor} have changed"))
        version = 0
        if bindings:
            self._version = version = self._version + 1
        self._cache.set(aor, version, bindings)
        return succeed(version)

    def get(self, aor: str) -> Deferred[BindingSet]:
        return succeed(self._cache.peek(aor))

    def due(self, now: float, limit: int = 1000) -> tuple[str, ...]:
        return self._cache.due(now, limit)


@implementer(IUserStore)
class MemoryUserStore:
    """See :class:`IUserStore`."""

    def __init__(self) -> None:
        self._cache = UserCache()
        self._version = 0
        self.peek = self._cache.peek
        self.peek_by_identity = self._cache.peek_by_identity
        self.watch = self._cache.watch
        self.private_ids = self._cache.private_ids
        self.count = self._cache.count

    def put(self, user: User) -> Deferred[int]:
        stored = self._cache.peek(user.private_id)
        if (0 if stored is None else stored.version) != user.version:
            return fail(Conflict(f"the user {user.private_id} has changed"))
        try:
            self._cache.check((user,))
        except Conflict as conflict:
            return fail(conflict)
        return succeed(self._set(user))

    def put_many(self, users: Iterable[User]) -> Deferred[int]:
        batch = tuple(users)
        try:
            self._cache.check(batch)
        except Conflict as conflict:
            return fail(conflict)
        for user in batch:
            self._set(user)
        return succeed(len(batch))

    def remove(self, private_id: str) -> Deferred[bool]:
        return succeed(self._cache.remove(private_id))

    def get(self, private_id: str) -> Deferred[User | None]:
        return succeed(self._cache.peek(private_id))

    def get_by_identity(self, uri: str) -> Deferred[User | None]:
        return succeed(self._cache.peek_by_identity(uri))

    def _set(self, user: User) -> int:
        self._version += 1
        self._cache.set(attrs.evolve(user, version=self._version))
        return self._version


def memory_stores() -> Stores:
    """Return empty stores that are gone with the process."""
    bindings, users, outbox = MemoryBindingStore(), MemoryUserStore(), MemoryOutbox()
    return Stores(
        bindings=bindings,
        users=users,
        deferred=MemoryDeferredStore(outbox),
        outbox=outbox,
        history=MemoryHistoryStore(outbox),
        publications=MemoryPublicationStore(),
        subscriptions=MemorySubscriptionStore(),
        leases=MemoryLeaseStore(),
        documents=MemoryDocumentStore(),
        gauges=lambda: {"bindings": bindings.count(), "users": users.count()},
        close=lambda: succeed(None),
    )
