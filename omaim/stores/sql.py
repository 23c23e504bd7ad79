"""Bindings and users in a SQL database, with everything the core asks for also in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache

import attrs
from sqlalchemy import and_, bindparam, select
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from omaim.sip.bound import BindingCache
from omaim.stores import schema
from omaim.stores.cache import (
    UserCache,
    pack_bindings,
    pack_user,
    profile_of,
    unpack_bindings,
    unpack_user,
)
from omaim.stores.commits import Batch, Cursor
from omaim.stores.database import Database
from omaim.stores.interfaces import Conflict, IBindingStore, IUserStore
from omaim.stores.records import Binding, BindingSet, User


@implementer(IBindingStore)
class SqlBindingStore:
    """See :class:`IBindingStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cache = BindingCache()
        self.peek = self._cache.peek
        self.aors = self._cache.aors
        self.count = self._cache.count
        self.next_due = self._cache.next_due
        table = schema.bindings
        same = and_(table.c.aor == bindparam("the_aor"), table.c.version == bindparam("old"))
        self._load = database.text(select(table.c.aor, table.c.version, table.c.packed))
        self._get = database.text(
            select(table.c.version, table.c.packed).where(table.c.aor == bindparam("the_aor"))
        )
        self._insert = database.text(table.insert())
        self._update = database.text(
            table.update()
            .where(same)
            .values(
                version=bindparam("version"),
                packed=bindparam("packed"),
            )
        )
        self._delete = database.text(table.delete().where(same))

    def load(self, cursor: Cursor) -> None:
        """Read all there is; before the store is used."""
        cursor.execute(self._load)
        while rows := cursor.fetchmany(1000):
            for aor, version, packed in rows:
                self._cache.set(aor, version, unpack_bindings(aor, packed))

    def replace(self, aor: str, old: int, bindings: Sequence[Binding]) -> Deferred[int]:
        packed = pack_bindings(bindings)
        row: dict[str, object] = {"aor": aor, "the_aor": aor, "old": old, "packed": packed}

        def write(batch: Batch) -> int:
            cursor = batch.cursor
            version = row["version"] = batch.number("bindings") if bindings else 0
            if bindings and old == 0:
                cursor.execute(self._get, row)
                if cursor.fetchall():
                    raise Conflict(f"the bindings of {aor} have changed")
                cursor.execute(self._insert, row)
                return version
            if not bindings and old == 0:
                cursor.execute(self._get, row)
                unchanged = not cursor.fetchall()
            else:
                cursor.execute(self._update if bindings else self._delete, row)
                unchanged = cursor.rowcount == 1
            if not unchanged:
                raise Conflict(f"the bindings of {aor} have changed")
            return version

        def written(version: int) -> int:
            self._cache.set(aor, version, bindings)
            return version

        return self._database.write(write).addCallbacks(written, self._stale, errbackArgs=(aor,))

    def get(self, aor: str) -> Deferred[BindingSet]:
        if not self._database.shared:
            return succeed(self._cache.peek(aor))

        def found(rows: list[tuple[int, str]]) -> BindingSet:
            version, packed = rows[0] if rows else (0, "[]")
            if version != self._cache.peek(aor).version:
                self._cache.set(aor, version, unpack_bindings(aor, packed))
            return self._cache.peek(aor)

        return self._database.rows(self._get, {"the_aor": aor}).addCallback(found)

    def due(self, now: float, limit: int = 1000) -> tuple[str, ...]:
        return self._cache.due(now, limit)

    def _stale(self, failure: Failure, aor: str) -> Deferred[int] | Failure:
        """Another node has written: read what, then fail."""
        if self._database.shared and failure.check(Conflict):
            read: Deferred[BindingSet] = self.get(aor)
            return read.addBoth(lambda _: failure)
        return failure


@implementer(IUserStore)
class SqlUserStore:
    """See :class:`IUserStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cache = UserCache()
        self.peek = self._cache.peek
        self.peek_by_identity = self._cache.peek_by_identity
        self.watch = self._cache.watch
        self.private_ids = self._cache.private_ids
        self.count = self._cache.count
        users, identities, profiles = schema.users, schema.identities, schema.profiles
        mine = users.c.private_id == bindparam("the_id")
        self._load_users = database.text(select(users.c.private_id, users.c.packed))
        self._load_identities = database.text(select(identities.c.uri, identities.c.private_id))
        self._load_profiles = database.text(select(profiles.c.digest, profiles.c.content))
        self._get = database.text(select(users.c.version, users.c.packed).where(mine))
        self._owner = database.text(
            select(identities.c.private_id).where(identities.c.uri == bindparam("the_uri"))
        )
        self._insert = database.text(users.insert())
        self._delete = database.text(users.delete().where(mine))
        self._insert_identity = database.text(identities.insert())
        self._delete_identities = database.text(
            identities.delete().where(identities.c.private_id == bindparam("the_id"))
        )
        self._profile = database.text(
            select(profiles.c.digest, profiles.c.content).where(
                profiles.c.digest == bindparam("the_digest")
            )
        )
        self._insert_profile = database.text(profiles.insert())

    def load(self, cursor: Cursor) -> None:
        """Read all there is; before the store is used."""
        cursor.execute(self._load_profiles)
        profiles = cursor.fetchall()
        cursor.execute(self._load_users)
        users = cursor.fetchall()
        cursor.execute(self._load_identities)
        self._cache.load(users, cursor.fetchall(), profiles)

    def put(self, user: User) -> Deferred[int]:
        def write(batch: Batch) -> list[tuple[User, str]]:
            batch.cursor.execute(self._get, {"the_id": user.private_id})
            stored = batch.cursor.fetchall()
            if (stored[0][0] if stored else 0) != user.version:
                raise Conflict(f"the user {user.private_id} has changed")
            return self._write(batch, (user,))

        return self._database.write(write).addCallback(self._written).addCallback(_version)

    def put_many(self, users: Iterable[User]) -> Deferred[int]:
        batch_of_users = tuple(users)

        def write(batch: Batch) -> list[tuple[User, str]]:
            return self._write(batch, batch_of_users)

        return self._database.write(write).addCallback(self._written).addCallback(len)

    def remove(self, private_id: str) -> Deferred[bool]:
        values = {"the_id": private_id}

        def write(batch: Batch) -> bool:
            batch.cursor.execute(self._delete_identities, values)
            batch.cursor.execute(self._delete, values)
            return batch.cursor.rowcount == 1

        def written(removed: bool) -> bool:
            self._cache.remove(private_id)
            return removed

        return self._database.write(write).addCallback(written)

    def get(self, private_id: str) -> Deferred[User | None]:
        if not self._database.shared:
            return succeed(self._cache.peek(private_id))
        return self._database.read(lambda cursor: self._read(cursor, private_id)).addCallback(
            self._seen, private_id
        )

    def get_by_identity(self, uri: str) -> Deferred[User | None]:
        if not self._database.shared:
            return succeed(self._cache.peek_by_identity(uri))

        def owner(rows: list[tuple[str]]) -> Deferred[User | None]:
            return self.get(rows[0][0]) if rows else succeed(None)

        found: Deferred[list[tuple[str]]] = self._database.rows(self._owner, {"the_uri": uri})
        return found.addCallback(owner)

    def _read(self, cursor: Cursor, private_id: str) -> User | None:
        cursor.execute(self._get, {"the_id": private_id})
        rows = cursor.fetchall()
        if not rows:
            return None
        packed = rows[0][1]
        profiles = self._cache.profiles
        digest = profile_of(packed)
        if digest not in profiles:
            cursor.execute(self._profile, {"the_digest": digest})
            profiles = dict(cursor.fetchall())
        return unpack_user(private_id, packed, profiles)

    def _seen(self, user: User | None, private_id: str) -> User | None:
        """Remember what another node may have written."""
        if user is None:
            self._cache.remove(private_id)
        else:
            self._written(((user, pack_user(user, digest_of(user.profile))),))
        return user

    def _write(self, batch: Batch, users: tuple[User, ...]) -> list[tuple[User, str]]:
        """Put users over what is there. Returns: them, with their versions, and packed."""
        first = batch.number("users", len(users) or 1)
        stored = []
        for version, user in enumerate(users, first):
            user = attrs.evolve(user, version=version)
            stored.append((user, pack_user(user, digest_of(user.profile))))
        cursor = batch.cursor
        contents = {digest_of(one): one for one in {user.profile for user in users} if one}
        for digest, content in contents.items():
            cursor.execute(self._profile, {"the_digest": digest})
            if not cursor.fetchall():
                cursor.execute(self._insert_profile, {"digest": digest, "content": content})
        ids = [{"the_id": user.private_id} for user in users]
        cursor.executemany(self._delete_identities, ids)
        cursor.executemany(self._delete, ids)
        cursor.executemany(
            self._insert,
            [
                {"private_id": user.private_id, "version": user.version, "packed": packed}
                for user, packed in stored
            ],
        )
        cursor.executemany(
            self._insert_identity,
            [
                {"uri": one.uri, "private_id": user.private_id}
                for user in users
                for one in user.identities
            ],
        )
        return stored

    def _written(self, stored: Sequence[tuple[User, str]]) -> Sequence[tuple[User, str]]:
        for user, packed in stored:
            self._cache.profiles.setdefault(digest_of(user.profile), user.profile)
            self._cache.set(user, packed)
        return stored


@lru_cache(maxsize=256)
def digest_of(profile: str) -> str:
    """Return what stands for a service profile in the rows of its users."""
    return hashlib.sha256(profile.encode()).hexdigest()[:32] if profile else ""


def _version(stored: Sequence[tuple[User, str]]) -> int:
    return stored[0][0].version
