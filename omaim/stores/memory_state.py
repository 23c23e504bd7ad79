"""Publications, subscriptions, leases and documents in memory."""

from __future__ import annotations

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from omaim.stores.interfaces import (
    Conflict,
    IDocumentStore,
    ILeaseStore,
    IPublicationStore,
    ISubscriptionStore,
)
from omaim.stores.records import Document, Lease, Publication, SubscriptionRecord


@implementer(IPublicationStore)
class MemoryPublicationStore:
    """See :class:`IPublicationStore`."""

    def __init__(self) -> None:
        self._publications: dict[str, Publication] = {}

    def put(self, publication: Publication, old_etag: str = "") -> Deferred[None]:
        there = self._publications
        if old_etag:
            old = there.get(old_etag)
            if old is None or (old.aor, old.package) != (publication.aor, publication.package):
                return fail(Conflict(f"no publication {old_etag} of {publication.aor}"))
        if publication.etag in there and publication.etag != old_etag:
            return fail(Conflict(f"the entity-tag {publication.etag} is taken"))
        there.pop(old_etag, None)
        there[publication.etag] = publication
        return succeed(None)

    def get(self, etag: str) -> Deferred[Publication | None]:
        return succeed(self._publications.get(etag))

    def remove(self, etag: str) -> Deferred[bool]:
        return succeed(self._publications.pop(etag, None) is not None)

    def of(self, aor: str, package: str, now: float) -> Deferred[tuple[Publication, ...]]:
        found = [
            one
            for one in self._publications.values()
            if (one.aor, one.package) == (aor, package) and one.expires_at > now
        ]
        found.sort(key=lambda one: (one.published_at, one.etag))
        return succeed(tuple(found))

    def aors(self, package: str, after: str = "", limit: int = 1000) -> Deferred[tuple[str, ...]]:
        found = {one.aor for one in self._publications.values() if one.package == package}
        return succeed(tuple(sorted(aor for aor in found if aor > after)[:limit]))

    def take_expired(
        self, now: float, limit: int = 100, package: str = ""
    ) -> Deferred[tuple[Publication, ...]]:
        over = [
            one
            for one in self._publications.values()
            if one.expires_at <= now and package in ("", one.package)
        ]
        over.sort(key=lambda one: (one.expires_at, one.etag))
        for one in over[:limit]:
            del self._publications[one.etag]
        return succeed(tuple(over[:limit]))


@implementer(ISubscriptionStore)
class MemorySubscriptionStore:
    """See :class:`ISubscriptionStore`."""

    def __init__(self) -> None:
        self._subscriptions: dict[str, SubscriptionRecord] = {}
        self._version = 0

    def put(self, subscription: SubscriptionRecord) -> Deferred[int]:
        stored = self._subscriptions.get(subscription.key)
        if (0 if stored is None else stored.version) != subscription.version:
            return fail(Conflict(f"the subscription {subscription.key} has changed"))
        self._version += 1
        self._subscriptions[subscription.key] = attrs.evolve(subscription, version=self._version)
        return succeed(self._version)

    def get(self, key: str) -> Deferred[SubscriptionRecord | None]:
        return succeed(self._subscriptions.get(key))

    def remove(self, key: str) -> Deferred[bool]:
        return succeed(self._subscriptions.pop(key, None) is not None)

    def to(self, resource: str, package: str) -> Deferred[tuple[SubscriptionRecord, ...]]:
        found = [
            one
            for one in self._subscriptions.values()
            if (one.resource, one.package) == (resource, package)
        ]
        return succeed(tuple(sorted(found, key=_key)))

    def held_by(
        self, node: str, after: str = "", limit: int = 1000
    ) -> Deferred[tuple[SubscriptionRecord, ...]]:
        found = [
            one for one in self._subscriptions.values() if one.node == node and one.key > after
        ]
        return succeed(tuple(sorted(found, key=_key)[:limit]))

    def expired(self, now: float, limit: int = 100) -> Deferred[tuple[SubscriptionRecord, ...]]:
        over = [one for one in self._subscriptions.values() if one.expires_at <= now]
        over.sort(key=lambda one: (one.expires_at, one.key))
        return succeed(tuple(over[:limit]))


def _key(subscription: SubscriptionRecord) -> str:
    return subscription.key


@implementer(ILeaseStore)
class MemoryLeaseStore:
    """See :class:`ILeaseStore`."""

    def __init__(self) -> None:
        self._leases: dict[str, Lease] = {}
        self._version = 0

    def acquire(self, name: str, owner: str, now: float, until: float) -> Deferred[Lease]:
        old = self._leases.get(name)
        if old is not None and old.owner == owner:
            new = Lease(name, owner, until, old.version)
        elif old is None or old.until <= now:
            self._version += 1
            new = Lease(name, owner, until, self._version)
        else:
            return succeed(old)
        self._leases[name] = new
        return succeed(new)

    def release(self, name: str, owner: str) -> Deferred[bool]:
        old = self._leases.get(name)
        if old is None or old.owner != owner:
            return succeed(False)
        del self._leases[name]
        return succeed(True)

    def get(self, name: str) -> Deferred[Lease | None]:
        return succeed(self._leases.get(name))

    def held(self, prefix: str = "") -> Deferred[tuple[Lease, ...]]:
        names = sorted(name for name in self._leases if name.startswith(prefix))
        return succeed(tuple(self._leases[name] for name in names))


@implementer(IDocumentStore)
class MemoryDocumentStore:
    """See :class:`IDocumentStore`."""

    def __init__(self) -> None:
        self._documents: dict[str, Document] = {}

    def get(self, path: str) -> Deferred[Document | None]:
        return succeed(self._documents.get(path))

    def put(self, document: Document, old_etag: str = "") -> Deferred[None]:
        old = self._documents.get(document.path)
        if (old.etag if old is not None else "") != old_etag:
            return fail(Conflict(f"the document {document.path} has changed"))
        self._documents[document.path] = document
        return succeed(None)

    def remove(self, path: str, old_etag: str) -> Deferred[None]:
        old = self._documents.get(path)
        if old is None or old.etag != old_etag:
            return fail(Conflict(f"the document {path} has changed"))
        del self._documents[path]
        return succeed(None)

    def under(
        self, prefix: str = "", after: str = "", limit: int = 1000
    ) -> Deferred[tuple[Document, ...]]:
        paths = sorted(path for path in self._documents if path.startswith(prefix) and path > after)
        return succeed(
            tuple(attrs.evolve(self._documents[path], body=b"") for path in paths[:limit])
        )
