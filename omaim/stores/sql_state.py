"""Publications, subscriptions, leases and documents in a SQL database."""

from __future__ import annotations

import json
from typing import Any, Final

import attrs
from sqlalchemy import bindparam, literal_column, select
from twisted.internet.defer import Deferred
from zope.interface import implementer

from omaim.stores import schema
from omaim.stores.commits import Batch
from omaim.stores.database import ZERO, Database
from omaim.stores.interfaces import (
    Conflict,
    IDocumentStore,
    ILeaseStore,
    IPublicationStore,
    ISubscriptionStore,
)
from omaim.stores.records import Document, Lease, Publication, SubscriptionRecord

_LAST: Final = "\U0010ffff"  # sorts behind every name


@implementer(IPublicationStore)
class SqlPublicationStore:
    """See :class:`IPublicationStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        table = schema.publications
        c = table.c
        columns = select(
            c.aor, c.package, c.etag, c.expires_at, c.content_type, c.body, c.publisher,
            c.published_at,
        )  # fmt: skip
        named = c.etag == bindparam("the_etag")
        self._get = database.text(columns.where(named))
        self._of = database.text(
            columns.where(c.aor == bindparam("the_aor"))
            .where(c.package == bindparam("the_package"))
            .where(c.expires_at > bindparam("now"))
            .order_by(c.published_at, c.etag)
        )
        of_package = c.package == bindparam("the_package")
        expired = columns.where(c.expires_at <= bindparam("now"))
        self._expired, self._expired_of = (
            database.text(
                narrowed.order_by(c.expires_at, c.etag).limit(bindparam("number")).offset(ZERO)
            )
            for narrowed in (expired, expired.where(of_package))
        )
        self._aors = database.text(
            select(c.aor)
            .where(of_package & (c.aor > bindparam("after")))
            .group_by(c.aor)
            .order_by(c.aor)
            .limit(bindparam("number"))
            .offset(ZERO)
        )
        self._insert = database.text(table.insert())
        self._remove = database.text(table.delete().where(named))
        self._replace = database.text(
            table.delete()
            .where(named)
            .where(c.aor == bindparam("the_aor"))
            .where(c.package == bindparam("the_package"))
        )

    def put(self, publication: Publication, old_etag: str = "") -> Deferred[None]:
        row = attrs.asdict(publication)
        names = {
            "the_etag": old_etag,
            "the_aor": publication.aor,
            "the_package": publication.package,
        }

        def write(batch: Batch) -> None:
            cursor = batch.cursor
            if publication.etag != old_etag:
                cursor.execute(self._get, {"the_etag": publication.etag})
                if cursor.fetchall():
                    raise Conflict(f"the entity-tag {publication.etag} is taken")
            if old_etag:
                cursor.execute(self._replace, names)
                if cursor.rowcount != 1:
                    raise Conflict(f"no publication {old_etag} of {publication.aor}")
            cursor.execute(self._insert, row)

        return self._database.write(write, len(publication.body))

    def get(self, etag: str) -> Deferred[Publication | None]:
        found = self._database.rows(self._get, {"the_etag": etag})
        return found.addCallback(_publications).addCallback(_first)

    def remove(self, etag: str) -> Deferred[bool]:
        return self._database.changes(self._remove, {"the_etag": etag}).addCallback(bool)

    def of(self, aor: str, package: str, now: float) -> Deferred[tuple[Publication, ...]]:
        values = {"the_aor": aor, "the_package": package, "now": now}
        return self._database.rows(self._of, values).addCallback(_publications)

    def aors(self, package: str, after: str = "", limit: int = 1000) -> Deferred[tuple[str, ...]]:
        values = {"the_package": package, "after": after, "number": limit}
        found: Deferred[list[Any]] = self._database.rows(self._aors, values)
        return found.addCallback(lambda rows: tuple(aor for (aor,) in rows))

    def take_expired(
        self, now: float, limit: int = 100, package: str = ""
    ) -> Deferred[tuple[Publication, ...]]:
        values: dict[str, object] = {"now": now, "number": limit}
        statement = self._expired
        if package:
            statement = self._expired_of
            values["the_package"] = package

        def write(batch: Batch) -> tuple[Publication, ...]:
            cursor = batch.cursor
            cursor.execute(statement, values)
            found = _publications(cursor.fetchall())
            for one in found:
                cursor.execute(self._remove, {"the_etag": one.etag})
            return found

        return self._database.write(write)


def _publications(rows: list[Any]) -> tuple[Publication, ...]:
    return tuple(
        Publication(aor, package, etag, expires_at, content_type, bytes(body), publisher, at)
        for aor, package, etag, expires_at, content_type, body, publisher, at in rows
    )


def _first(found: tuple[Any, ...]) -> Any:
    return found[0] if found else None


@implementer(ISubscriptionStore)
class SqlSubscriptionStore:
    """See :class:`ISubscriptionStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        table = schema.subscriptions
        c = table.c
        columns = select(c.packed)
        named = c.key == bindparam("the_key")
        self._get = database.text(columns.where(named))
        self._version = database.text(select(c.version).where(named))
        self._insert = database.text(table.insert())
        self._remove = database.text(table.delete().where(named))
        self._to = database.text(
            columns.where(c.resource == bindparam("the_resource"))
            .where(c.package == bindparam("the_package"))
            .order_by(c.key)
        )
        self._held_by = database.text(
            columns.where(c.node == bindparam("the_node"))
            .where(c.key > bindparam("after"))
            .order_by(c.key)
            .limit(bindparam("number"))
            .offset(ZERO)
        )
        self._expired = database.text(
            columns.where(c.expires_at <= bindparam("now"))
            .order_by(c.expires_at, c.key)
            .limit(bindparam("number"))
            .offset(ZERO)
        )

    def put(self, subscription: SubscriptionRecord) -> Deferred[int]:
        key = {"the_key": subscription.key}

        def write(batch: Batch) -> int:
            cursor = batch.cursor
            cursor.execute(self._version, key)
            stored = cursor.fetchall()
            if (stored[0][0] if stored else 0) != subscription.version:
                raise Conflict(f"the subscription {subscription.key} has changed")
            version = batch.number("subscriptions")
            new = attrs.evolve(subscription, version=version)
            cursor.execute(self._remove, key)
            cursor.execute(
                self._insert,
                {
                    "key": new.key,
                    "version": version,
                    "resource": new.resource,
                    "package": new.package,
                    "node": new.node,
                    "expires_at": new.expires_at,
                    "packed": json.dumps(attrs.astuple(new), separators=(",", ":")),
                },
            )
            return version

        return self._database.write(write)

    def get(self, key: str) -> Deferred[SubscriptionRecord | None]:
        found = self._database.rows(self._get, {"the_key": key})
        return found.addCallback(_subscriptions).addCallback(_first)

    def remove(self, key: str) -> Deferred[bool]:
        return self._database.changes(self._remove, {"the_key": key}).addCallback(bool)

    def to(self, resource: str, package: str) -> Deferred[tuple[SubscriptionRecord, ...]]:
        values = {"the_resource": resource, "the_package": package}
        return self._database.rows(self._to, values).addCallback(_subscriptions)

    def held_by(
        self, node: str, after: str = "", limit: int = 1000
    ) -> Deferred[tuple[SubscriptionRecord, ...]]:
        values = {"the_node": node, "after": after, "number": limit}
        return self._database.rows(self._held_by, values).addCallback(_subscriptions)

    def expired(self, now: float, limit: int = 100) -> Deferred[tuple[SubscriptionRecord, ...]]:
        values = {"now": now, "number": limit}
        return self._database.rows(self._expired, values).addCallback(_subscriptions)


def _subscriptions(rows: list[tuple[str]]) -> tuple[SubscriptionRecord, ...]:
    found = []
    for (packed,) in rows:
        values: list[Any] = json.loads(packed)
        for index, value in enumerate(values):
            if isinstance(value, list):
                values[index] = tuple(value)
        found.append(SubscriptionRecord(*values))
    return tuple(found)


@implementer(ILeaseStore)
class SqlLeaseStore:
    """See :class:`ILeaseStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        table = schema.leases
        c = table.c
        columns = select(c.name, c.owner, c.until, c.version)
        named = c.name == bindparam("the_name")
        self._get = database.text(columns.where(named))
        self._held = database.text(
            columns.where(c.name >= bindparam("prefix"))
            .where(c.name < bindparam("behind"))
            .order_by(c.name)
        )
        self._insert = database.text(table.insert())
        self._take = database.text(
            table.update()
            .where(named)
            .values(
                owner=bindparam("the_owner"),
                until=bindparam("until"),
                version=bindparam("version"),
            )
        )
        self._release = database.text(
            table.delete().where(named).where(c.owner == bindparam("the_owner"))
        )

    def acquire(self, name: str, owner: str, now: float, until: float) -> Deferred[Lease]:
        values = {"the_name": name, "the_owner": owner, "until": until}

        def write(batch: Batch) -> Lease:
            cursor = batch.cursor
            cursor.execute(self._get, values)
            rows = cursor.fetchall()
            old = Lease(*rows[0]) if rows else None
            if old is not None and old.owner != owner and old.until > now:
                return old
            ours = old is not None and old.owner == owner
            version = old.version if old is not None and ours else batch.number("leases")
            new = Lease(name, owner, until, version)
            if old is None:
                cursor.execute(self._insert, attrs.asdict(new))
                return new
            cursor.execute(self._take, {**values, "version": version})
            return new

        return self._database.write(write)

    def release(self, name: str, owner: str) -> Deferred[bool]:
        values = {"the_name": name, "the_owner": owner}
        return self._database.changes(self._release, values).addCallback(bool)

    def get(self, name: str) -> Deferred[Lease | None]:
        found = self._database.rows(self._get, {"the_name": name})
        return found.addCallback(_leases).addCallback(_first)

    def held(self, prefix: str = "") -> Deferred[tuple[Lease, ...]]:
        values = {"prefix": prefix, "behind": prefix + _LAST}
        return self._database.rows(self._held, values).addCallback(_leases)


def _leases(rows: list[Any]) -> tuple[Lease, ...]:
    return tuple(Lease(*row) for row in rows)


@implementer(IDocumentStore)
class SqlDocumentStore:
    """See :class:`IDocumentStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        table = schema.documents
        c = table.c
        named = c.path == bindparam("the_path")
        same = named & (c.etag == bindparam("old_etag"))
        self._get = database.text(
            select(c.path, c.etag, c.content_type, c.body, c.changed_at).where(named)
        )
        self._under = database.text(
            select(
                c.path,
                c.etag,
                c.content_type,
                literal_column("NULL").label("body"),
                c.changed_at,
            )
            .where(c.path >= bindparam("prefix"))
            .where(c.path < bindparam("behind"))
            .where(c.path > bindparam("after"))
            .order_by(c.path)
            .limit(bindparam("number"))
            .offset(ZERO)
        )
        self._insert = database.text(table.insert())
        self._remove = database.text(table.delete().where(same))

    def get(self, path: str) -> Deferred[Document | None]:
        found = self._database.rows(self._get, {"the_path": path})
        return found.addCallback(_documents).addCallback(_first)

    def put(self, document: Document, old_etag: str = "") -> Deferred[None]:
        row = attrs.asdict(document)
        names = {"the_path": document.path, "old_etag": old_etag}

        def write(batch: Batch) -> None:
            cursor = batch.cursor
            if old_etag:
                cursor.execute(self._remove, names)
                changed = cursor.rowcount != 1
            else:
                cursor.execute(self._get, names)
                changed = bool(cursor.fetchall())
            if changed:
                raise Conflict(f"the document {document.path} has changed")
            cursor.execute(self._insert, row)

        return self._database.write(write, len(document.body))

    def remove(self, path: str, old_etag: str) -> Deferred[None]:
        names = {"the_path": path, "old_etag": old_etag}

        def write(batch: Batch) -> None:
            batch.cursor.execute(self._remove, names)
            if batch.cursor.rowcount != 1:
                raise Conflict(f"the document {path} has changed")

        return self._database.write(write)

    def under(
        self, prefix: str = "", after: str = "", limit: int = 1000
    ) -> Deferred[tuple[Document, ...]]:
        values = {"prefix": prefix, "behind": prefix + _LAST, "after": after, "number": limit}
        return self._database.rows(self._under, values).addCallback(_documents)


def _documents(rows: list[Any]) -> tuple[Document, ...]:
    return tuple(
        Document(path, etag, content_type, bytes(body or b""), changed_at)
        for path, etag, content_type, body, changed_at in rows
    )
