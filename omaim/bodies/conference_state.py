"""The state of a conference, and the documents that lead from one to the next.

:func:`changes` is for a focus that tells what is new, :class:`ConferenceTable` for a watcher
that is told.

Spec: RFC 4575 §4
"""

from __future__ import annotations

from typing import Final, final

import attrs

from omaim.bodies.conference_info import (
    DELETED,
    FULL,
    PARTIAL,
    ConferenceInfo,
    Endpoint,
    User,
)

APPLIED: Final = "applied"
OLD: Final = "old"  # seen already: nothing changed
MISSED: Final = "missed"  # something between is missing: ask for full state by a refresh
ENDED: Final = "ended"  # the conference is over: end the subscription

USERS: Final = 5000  # that a watcher keeps; more are not noted


def changes(before: ConferenceInfo, after: ConferenceInfo) -> ConferenceInfo:
    """Return the partial document that leads from one full state to the next.

    Who has changed is told in full, who is gone as deleted. What is absent in ``after`` only
    cannot be told in part: the document is full, then.

    Args:
        before: what the watchers know.
        after: what holds now; its version is the document's.

    Spec: RFC 4575 §4.4, §4.6
    """
    for part in ("description", "host", "activity"):
        if getattr(after, part) is None and getattr(before, part) is not None:
            return after
    known = {one.entity: one for one in before.users}
    there = {one.entity for one in after.users}
    told = []
    for one in after.users:
        old = known.get(one.entity)
        if old is not one and old != one:  # in a large room most are the very same
            told.append(one)
    told += [User(entity, state=DELETED) for entity in known if entity not in there]
    return ConferenceInfo(
        entity=after.entity,
        version=after.version,
        state=PARTIAL,
        description=None if after.description == before.description else after.description,
        host=None if after.host == before.host else after.host,
        activity=None if after.activity == before.activity else after.activity,
        users=tuple(told),
        users_state=PARTIAL if told else None,
    )


@final
class ConferenceTable:
    """A watcher's view of a conference, kept up to date by the documents of one subscription.

    Attributes:
        info: everything known, but its users; ``None`` before the first full document.
        users: by entity, in the order in which they came.

    Spec: RFC 4575 §4.6
    """

    __slots__ = ("info", "users")

    def __init__(self) -> None:
        self.info: ConferenceInfo | None = None
        self.users: dict[str, User] = {}

    def apply(self, document: ConferenceInfo) -> str:
        """Take a document in.

        Returns:
            :data:`APPLIED`, or :data:`OLD` for one that came late or twice and changed nothing,
            or :data:`MISSED` for a partial one after a gap (it changed nothing, and refreshing the
            subscription tells all), or :data:`ENDED` when nobody is in the conference any more.
        """
        known = self.info
        if known is not None and document.version <= known.version:
            return OLD
        if document.state != PARTIAL:
            self.info = attrs.evolve(document, users=())
            self.users.clear()
            if document.state == DELETED:
                return ENDED
            for user in document.users:
                self._take(user)
            return APPLIED
        if known is None or document.version != known.version + 1:
            return MISSED
        self.info = attrs.evolve(
            known,
            version=document.version,
            description=document.description or known.description,
            host=document.host or known.host,
            activity=document.activity or known.activity,
        )
        if document.users_state in (FULL, DELETED):
            self.users.clear()
        if document.users_state in (FULL, PARTIAL):
            for user in document.users:
                self._take(user)
        return APPLIED

    def _take(self, user: User) -> None:
        known = self.users.get(user.entity)
        if user.state == DELETED:
            self.users.pop(user.entity, None)
        elif known is not None and user.state == PARTIAL:
            self.users[user.entity] = _merged_user(known, user)
        elif known is not None or len(self.users) < USERS:
            self.users[user.entity] = attrs.evolve(
                user,
                endpoints=tuple(_settled(one) for one in user.endpoints if one.state != DELETED),
                state=FULL,
            )


def _settled(endpoint: Endpoint) -> Endpoint:
    return attrs.evolve(endpoint, state=FULL)


def _merged_user(known: User, news: User) -> User:
    """Return a user of whom only what changed was told."""
    endpoints = {one.entity: one for one in known.endpoints}
    for one in news.endpoints:
        old = endpoints.get(one.entity)
        if one.state == DELETED:
            endpoints.pop(one.entity, None)
        elif old is not None and one.state == PARTIAL:
            endpoints[one.entity] = _merged_endpoint(old, one)
        elif old is not None or len(endpoints) < USERS:
            endpoints[one.entity] = _settled(one)
    return User(
        known.entity,
        news.text or known.text,
        news.nickname or known.nickname,
        news.aors or known.aors,
        news.roles or known.roles,
        news.languages or known.languages,
        news.cascaded_focus or known.cascaded_focus,
        tuple(endpoints.values()),
    )


def _merged_endpoint(known: Endpoint, news: Endpoint) -> Endpoint:
    """Return an endpoint of which only what changed was told."""
    media = {one.id: one for one in known.media}
    for one in news.media:
        if one.id in media or len(media) < USERS:
            media[one.id] = one
    return Endpoint(
        known.entity,
        news.status or known.status,
        news.text or known.text,
        news.referred or known.referred,
        news.joining_method or known.joining_method,
        news.joining_info or known.joining_info,
        news.disconnection_method or known.disconnection_method,
        news.disconnection_info or known.disconnection_info,
        tuple(media.values()),
        news.dialog or known.dialog,
    )
