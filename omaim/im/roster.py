"""Who is in a room, as watchers are told: whole at first, then what has changed.

Each watcher counts versions of its own, so that they have no gaps however seldom it is told, and
so that a change that came and went between two documents costs nothing.

Spec: RFC 4575 §3.9, §4.3 to §4.6, §5; RFC 7701 §7.4 (nickname); RFC 6501
"""

from __future__ import annotations

from typing import Final

from omaim.bodies.conference_info import (
    CONNECTED,
    DELETED,
    FULL,
    PARTIAL,
    Activity,
    ConferenceInfo,
    Description,
    User,
)

_TRACES: Final = 1000  # addresses that have gone, remembered for watchers that are behind


def is_connected(user: User) -> bool:
    """Tell whether a user is there with any device."""
    return any(one.status == CONNECTED for one in user.endpoints)


class Roster:
    """The users of one room.

    Attributes:
        is_over: the room has ended.
        locked: nobody may come in.
    """

    def __init__(self, entity: str, subject: str = "", most: int = 0) -> None:
        self.entity = entity
        self.subject = subject
        self.most = most
        self.locked = False
        self.is_over = False
        self._users: dict[str, User] = {}
        self._count = 0
        self._changed: dict[str, int] = {}  # entity to number of its last change, rising
        self._change = 0
        self._watches: dict[RosterWatch, None] = {}

    @property
    def description(self) -> Description:
        """What is known of the conference before anybody comes."""
        return Description(subject=self.subject, maximum_user_count=self.most or None)

    @property
    def activity(self) -> Activity:
        """How it goes with the conference."""
        return Activity(self._count, not self.is_over, self.locked)

    @property
    def count(self) -> int:
        """How many users are connected."""
        return self._count

    def users(self) -> tuple[User, ...]:
        """Return all users, in the order of their coming."""
        return tuple(self._users.values())

    def get(self, entity: str) -> User | None:
        return self._users.get(entity)

    def put(self, user: User) -> None:
        """Add a user, or replace what is known of one."""
        old = self._users.get(user.entity)
        if old == user:
            return
        self._count += is_connected(user) - (old is not None and is_connected(old))
        self._users[user.entity] = user
        self._note(user.entity)

    def remove(self, entity: str) -> None:
        """Strike a user off."""
        old = self._users.pop(entity, None)
        if old is not None:
            self._count -= is_connected(old)
            self._note(entity)
            self._forget_traces()

    def over(self) -> None:
        """The room has ended (RFC 4575 §4.6: state "deleted")."""
        self.is_over = True
        self._change += 1

    def _note(self, entity: str) -> None:
        self._change += 1
        self._changed.pop(entity, None)
        self._changed[entity] = self._change

    def _forget_traces(self) -> None:
        """Forget who has gone as soon as every watcher knows, and sooner if they are many."""
        if len(self._changed) - len(self._users) <= _TRACES:
            return
        gone = [one for one in self._changed if one not in self._users]
        seen = min((one.seen for one in self._watches), default=self._change)
        for one in gone:
            if self._changed[one] <= seen:
                del self._changed[one]
        for one in gone[: -_TRACES // 2]:
            number = self._changed.pop(one, 0)
            for watch in self._watches:
                if watch.seen < number:
                    watch.is_lost = True

    def watch(self) -> RosterWatch:
        """Return a new watcher's view."""
        watch = RosterWatch(self)
        self._watches[watch] = None
        return watch

    def forget(self, watch: RosterWatch) -> None:
        self._watches.pop(watch, None)

    @property
    def change(self) -> int:
        """The number of the last change."""
        return self._change

    def changes(self, after: int) -> tuple[list[User], list[str]]:
        """Return the users that changed since change ``after``, and those that have gone."""
        entities: list[str] = []
        for entity in reversed(self._changed):
            if self._changed[entity] <= after:
                break
            entities.append(entity)
        entities.reverse()
        users = [self._users[one] for one in entities if one in self._users]
        return users, [one for one in entities if one not in self._users]


class RosterWatch:
    """What one subscription has been told.

    Attributes:
        version: of the last report, 0 before the first.
        seen: the number of the last change that it contained.
        is_lost: too much was forgotten for a partial report.
    """

    def __init__(self, roster: Roster) -> None:
        self.version = 0
        self.seen = 0
        self.is_lost = True
        self._roster = roster
        self._known: set[str] = set()

    @property
    def is_behind(self) -> bool:
        """Whether there is something to tell."""
        return self.is_lost or self.seen != self._roster.change

    def full(self) -> ConferenceInfo:
        """Return all there is: for the answer to each SUBSCRIBE (RFC 4575 §3.2)."""
        self.is_lost = True
        return self._report()

    def next(self) -> ConferenceInfo | None:
        """Return what has changed since the last report; ``None`` if nothing has.

        It is a full one when it is the first, or when too much has happened.
        """
        return self._report() if self.is_behind else None

    def close(self) -> None:
        """The subscription has ended."""
        self._roster.forget(self)

    def _report(self) -> ConferenceInfo:
        roster = self._roster
        self.version += 1
        state, users = FULL, list(roster.users())
        description: Description | None = roster.description
        if roster.is_over:
            state, users, description = DELETED, [], None
        elif self.is_lost:
            self._known = {one.entity for one in users}
        else:
            users, gone = roster.changes(self.seen)
            gone = [one for one in gone if one in self._known]
            self._known.difference_update(gone)
            self._known.update(one.entity for one in users)
            users += [User(one, state=DELETED) for one in gone]
            state, description = PARTIAL, None
        self.seen = roster.change
        self.is_lost = False
        return ConferenceInfo(
            entity=roster.entity,
            version=self.version,
            state=state,
            description=description,
            activity=None if state == DELETED else roster.activity,
            users=tuple(users),
            users_state=state if users or state == FULL else None,
        )
