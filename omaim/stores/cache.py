"""What is kept in memory of users, so that a request need not wait; and bindings as text.

The memory store consists of it; the SQL store keeps one beside its tables. Users that
come packed from a table stay so, but for those asked for of late: that halves both the
memory that 100,000 of them need and the time of a start.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from omaim.stores.interfaces import Conflict
from omaim.stores.records import (
    Binding,
    Credential,
    PublicIdentity,
    User,
)

_UNPACKED: Final = 16384  # users held both ways at most


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
