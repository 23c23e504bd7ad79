"""What is kept in memory of bindings and users, so that a request need not wait.

The memory stores consist of these; the SQL stores keep one beside their tables. Users that
come packed from a table stay so, but for those asked for of late: that halves both the
memory that 100,000 of them need and the time of a start.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from heapq import heappop, heappush
from typing import Final, TypeVar, cast

from omaim.stores.interfaces import Conflict
from omaim.stores.records import (
    NEVER,
    Binding,
    BindingSet,
    Credential,
    PublicIdentity,
    User,
)

V = TypeVar("V", str, tuple[str, ...])

_NONE: Final = BindingSet()
_AGAIN: Final = 30.0  # seconds until a due address that nobody handled is due again
_SHARED: Final = 4096  # different values that the pool holds at most
_UNPACKED: Final = 16384  # users held both ways at most


class Pool:
    """One copy of what many records have alike: software names, parameters, paths."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[object, object] = {}

    def one(self, value: V) -> V:
        """Return an equal value, the same each time while the pool remembers it."""
        known = self._known
        found = known.get(value)
        if found is None:
            if len(known) >= _SHARED:
                known.clear()  # whoever sends ever new ones costs no more than this
            known[value] = found = value
        return cast(V, found)


def pack_bindings(bindings: Iterable[Binding]) -> str:
    """Return the bindings of one address as text; the address itself is left out."""
    return json.dumps([one.values()[1:] for one in bindings], separators=(",", ":"))


def unpack_bindings(aor: str, packed: str) -> tuple[Binding, ...]:
    """Undo :func:`pack_bindings`; fields that an older text lacks get their defaults."""
    found = []
    for values in json.loads(packed):
        values[5] = tuple(values[5])
        found.append(Binding(aor, *values))
    return tuple(found)


def pack_user(user: User, profile: str) -> str:
    """Return a user as text, without private id.

    Args:
        profile: what stands for the user's service profile, which many share.
    """
    return json.dumps(
        [
            user.version,
            [
                [one.uri, int(one.barred), one.implicit_set, one.display, int(one.default)]
                for one in user.identities
            ],
            [[one.algorithm, one.realm, one.ha1] for one in user.credentials],
            user.secret, int(user.im_service), profile, user.ccf, user.ecf, user.settings,
        ],
        separators=(",", ":"),
    )  # fmt: skip


def unpack_user(private_id: str, packed: str, profiles: dict[str, str]) -> User:
    """Undo :func:`pack_user`.

    Args:
        profiles: service profile by what stands for it.
    """
    version, identities, credentials, secret, im, profile, ccf, ecf, settings = json.loads(packed)
    return User(
        private_id,
        tuple(
            [
                PublicIdentity(uri, bool(barred), group, display, bool(default))
                for uri, barred, group, display, default in identities
            ]
        ),
        tuple([Credential(algorithm, realm, ha1) for algorithm, realm, ha1 in credentials]),
        secret,
        bool(im),
        profiles.get(profile, ""),
        tuple(ccf),
        tuple(ecf),
        tuple([(name, value) for name, value in settings]),
        version,
    )


def profile_of(packed: str) -> str:
    """Return what stands for the service profile in a packed user."""
    return str(json.loads(packed)[5])


class _Entry:
    """The bindings of one address, and when to look at them."""

    __slots__ = ("armed", "expires_at", "held")

    def __init__(self, held: BindingSet, expires_at: float) -> None:
        self.held = held
        self.expires_at = expires_at  # of the binding that expires first
        self.armed = NEVER  # when the heap will look at this entry


class BindingCache:
    """Bindings by address of record, and a heap of when they expire."""

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
        share = self._pool.one
        path, user_agent, params = share(one.path), share(one.user_agent), share(one.params)
        if path is one.path and user_agent is one.user_agent and params is one.params:
            return one
        return Binding(
            one.aor, one.contact, one.call_id, one.cseq, one.expires_at, one.q,
            path, one.instance, one.reg_id, one.flow_token, user_agent,
            params, one.pub_gruu, one.temp_gruu, one.received, one.private_id,
            one.registered_at, one.contact_id, one.updated_at,
        )  # fmt: skip


class UserCache:
    """Users by private id and by public identity."""

    def __init__(self) -> None:
        self._users: dict[str, User | str] = {}  # by private id, packed or not
        self._unpacked: dict[str, User] = {}  # some of the packed
        self._owners: dict[str, str] = {}  # public identity → private id
        self._watchers: list[Callable[[], object]] = []
        self.profiles: dict[str, str] = {"": ""}  # service profile by what stands for it

    def watch(self, changed: Callable[[], object]) -> None:
        """Call ``changed`` whenever a user has changed."""
        self._watchers.append(changed)

    def _tell(self) -> None:
        for changed in self._watchers:
            changed()

    def peek(self, private_id: str) -> User | None:
        """Return the user of that private id."""
        held = self._users.get(private_id)
        return self._unpack(private_id, held) if isinstance(held, str) else held

    def _unpack(self, private_id: str, held: str) -> User:
        found = self._unpacked.get(private_id)
        if found is None:
            found = unpack_user(private_id, held, self.profiles)
            if len(self._unpacked) >= _UNPACKED:
                self._unpacked.clear()
            self._unpacked[private_id] = found
        return found

    def peek_by_identity(self, uri: str) -> User | None:
        """Return the user who has that public identity."""
        private_id = self._owners.get(uri)
        if private_id is None:
            return None
        held = self._users.get(private_id)
        return self._unpack(private_id, held) if isinstance(held, str) else held

    def check(self, users: Iterable[User]) -> None:
        """Make sure that no identity is, or among these becomes, another user's.

        Raises:
            Conflict: one is.
        """
        claimed: dict[str, str] = {}
        for user in users:
            for one in user.identities:
                owner = claimed.setdefault(one.uri, user.private_id)
                if self._owners.get(one.uri, owner) != user.private_id or (
                    owner != user.private_id
                ):
                    raise Conflict(f"{one.uri} is another user's")

    def set(self, user: User, packed: str = "") -> None:
        """Put this user in the place of the one with the same private id.

        Args:
            packed: the same, to be held in its stead.
        """
        self.remove(user.private_id)
        self._users[user.private_id] = packed or user
        for one in user.identities:
            self._owners[one.uri] = user.private_id
        self._tell()

    def remove(self, private_id: str) -> bool:
        """Take a user out. Returns: whether there was one."""
        old = self.peek(private_id)
        if old is None:
            return False
        del self._users[private_id]
        self._unpacked.pop(private_id, None)
        for one in old.identities:
            if self._owners.get(one.uri) == private_id:
                del self._owners[one.uri]
        self._tell()
        return True

    def load(
        self,
        users: Iterable[tuple[str, str]],
        identities: Iterable[tuple[str, str]],
        profiles: Iterable[tuple[str, str]],
    ) -> None:
        """Take (private id, packed), (identity, private id), (key, profile) from tables."""
        self.profiles.update(profiles)
        self._users.update(users)
        names = {private_id: private_id for private_id in self._users}
        for uri, private_id in identities:
            self._owners[uri] = names.get(private_id, private_id)
        self._tell()

    def private_ids(self) -> Iterator[str]:
        """Iterate over a copy of the private ids."""
        return iter(tuple(self._users))

    def count(self) -> int:
        """Return how many users there are."""
        return len(self._users)
