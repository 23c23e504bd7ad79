"""The outbox, deferred messages and history in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from omaim.errors import UsageError
from omaim.stores.interfaces import (
    Conflict,
    IDeferredStore,
    IHistoryStore,
    IOutbox,
    QuotaExceeded,
)
from omaim.stores.records import (
    ATTEMPTED,
    DELIVERED,
    NEVER,
    REPORT,
    WAITING,
    Added,
    Conversation,
    DeferredMessage,
    HistoryEntry,
    Quota,
    ServiceEventRecord,
    Usage,
)


@implementer(IOutbox)
class MemoryOutbox:
    """See :class:`IOutbox`."""

    def __init__(self) -> None:
        self._events: dict[int, ServiceEventRecord] = {}  # in rising order
        self._last = 0
        self._marks: dict[str, int] = {}

    def take(self, events: Iterable[ServiceEventRecord]) -> int:
        """Keep events at once: for the other memory stores, whose facts they are."""
        last = 0
        for event in events:
            self._last = last = self._last + 1
            self._events[last] = attrs.evolve(event, position=last)
        return last

    def append(self, events: Sequence[ServiceEventRecord]) -> Deferred[int]:
        return succeed(self.take(events))

    def read(self, after: int, limit: int = 100) -> Deferred[tuple[ServiceEventRecord, ...]]:
        behind = (event for position, event in self._events.items() if position > after)
        return succeed(tuple(islice(behind, limit)))

    def mark(self, reader: str, position: int) -> Deferred[None]:
        self._marks[reader] = max(position, self._marks.get(reader, 0))
        return succeed(None)

    def positions(self) -> Deferred[dict[str, int]]:
        return succeed(dict(self._marks))

    def forget(self, reader: str) -> Deferred[None]:
        self._marks.pop(reader, None)
        return succeed(None)

    def trim(self) -> Deferred[int]:
        upto = min(self._marks.values(), default=self._last)
        done = [position for position in self._events if position <= upto]
        for position in done:
            del self._events[position]
        return succeed(len(done))


@implementer(IDeferredStore)
class MemoryDeferredStore:
    """See :class:`IDeferredStore`."""

    def __init__(self, outbox: MemoryOutbox) -> None:
        self._outbox = outbox
        self._last = 0
        self._boxes: dict[str, dict[str, DeferredMessage]] = {}  # by recipient, reference
        self._known: dict[tuple[str, str, str], tuple[str, int]] = {}
        self._ended: dict[tuple[str, str], tuple[float, DeferredMessage]] = {}

    def add(
        self,
        message: DeferredMessage,
        quota: Quota | None = None,
        events: tuple[ServiceEventRecord, ...] = (),
    ) -> Deferred[Added]:
        identity = (message.recipient, message.sender, message.message_id)
        if message.message_id:
            known = self._known.get(identity)
            if known is not None:
                return succeed(Added(*known, duplicate=True))
        box = self._boxes.get(message.recipient, {})
        key = (message.recipient, message.reference)
        if message.reference in box or key in self._ended:
            return fail(Conflict(f"the reference {message.reference} is taken"))
        size = size_of(message)
        dropped: tuple[str, ...] = ()
        if quota is not None:
            waiting = [(one.reference, one.size, one.kind) for one in box.values()]
            room = make_room(waiting, size, message.kind, quota)
            if room is None:
                return fail(QuotaExceeded(f"{message.recipient} has no room for the message"))
            dropped = room
        for reference in dropped:
            self._forget(box.pop(reference))
        self._last += 1
        stored = attrs.evolve(
            message,
            position=self._last,
            size=size,
            state=WAITING,
            attempt="",
            attempt_until=0.0,
            attempts=0,
        )
        self._boxes.setdefault(message.recipient, box)[message.reference] = stored
        if message.message_id:
            self._known[identity] = (stored.reference, stored.position)
        self._outbox.take(events)
        return succeed(Added(stored.reference, stored.position, False, dropped))

    def waiting(
        self, recipient: str, now: float, after: int = 0, limit: int = 100, bodies: bool = True
    ) -> Deferred[tuple[DeferredMessage, ...]]:
        found = sorted(
            (
                one
                for one in self._boxes.get(recipient, {}).values()
                if one.position > after and one.expires_at > now
            ),
            key=lambda one: one.position,
        )[:limit]
        if not bodies:
            found = [attrs.evolve(one, body=b"") for one in found]
        return succeed(tuple(found))

    def get(self, recipient: str, reference: str) -> Deferred[DeferredMessage | None]:
        return succeed(self._boxes.get(recipient, {}).get(reference))

    def attempt(
        self, recipient: str, references: Sequence[str], attempt: str, now: float, until: float
    ) -> Deferred[tuple[str, ...]]:
        box = self._boxes.get(recipient, {})
        claimed = []
        for reference in references:
            one = box.get(reference)
            if one is None or (
                one.state == ATTEMPTED and one.attempt != attempt and one.attempt_until > now
            ):
                continue
            box[reference] = attrs.evolve(
                one,
                state=ATTEMPTED,
                attempt=attempt,
                attempt_until=until,
                attempts=one.attempts + 1,
            )
            claimed.append(reference)
        return succeed(tuple(claimed))

    def release(self, recipient: str, references: Sequence[str], attempt: str) -> Deferred[int]:
        box = self._boxes.get(recipient, {})
        released = 0
        for reference in references:
            one = box.get(reference)
            if one is not None and one.state == ATTEMPTED and one.attempt == attempt:
                box[reference] = attrs.evolve(one, state=WAITING, attempt_until=0.0)
                released += 1
        return succeed(released)

    def finish(
        self,
        recipient: str,
        references: Sequence[str],
        state: int,
        keep_until: float,
        events: tuple[ServiceEventRecord, ...] = (),
    ) -> Deferred[tuple[str, ...]]:
        if state < DELIVERED:
            return fail(UsageError("finish takes DELIVERED, DELETED or EXPIRED"))
        box = self._boxes.get(recipient, {})
        ended = [reference for reference in dict.fromkeys(references) if reference in box]
        for reference in ended:
            one = box.pop(reference)
            self._ended[recipient, reference] = (keep_until, attrs.evolve(one, body=b""))
        if recipient in self._boxes and not box:
            del self._boxes[recipient]
        if ended:
            self._outbox.take(events)
        return succeed(tuple(ended))

    def usage(self, recipient: str) -> Deferred[Usage]:
        box = self._boxes.get(recipient, {})
        return succeed(Usage(len(box), sum(one.size for one in box.values())))

    def recipients(self, after: str = "", limit: int = 1000) -> Deferred[tuple[str, ...]]:
        return succeed(tuple(sorted(one for one in self._boxes if one > after)[:limit]))

    def expired(self, now: float, limit: int = 100) -> Deferred[tuple[DeferredMessage, ...]]:
        over = [
            one for box in self._boxes.values() for one in box.values() if one.expires_at <= now
        ]
        over.sort(key=lambda one: (one.expires_at, one.position))
        return succeed(tuple(over[:limit]))

    def sweep(self, now: float) -> Deferred[int]:
        done = [key for key, (until, _) in self._ended.items() if until <= now]
        for key in done:
            self._forget(self._ended.pop(key)[1])
        return succeed(len(done))

    def _forget(self, message: DeferredMessage) -> None:
        self._known.pop((message.recipient, message.sender, message.message_id), None)


def size_of(message: DeferredMessage) -> int:
    """Return the octets of a message that count for the quota: content and header lines."""
    return (
        len(message.body)
        + len(message.content_type)
        + len(message.subject)
        + sum(len(name) + len(value) for name, value in message.headers)
    )


def make_room(
    waiting: Iterable[tuple[str, int, str]], size: int, kind: str, quota: Quota
) -> tuple[str, ...] | None:
    """Say which reports must go so that a message fits, oldest first.

    Args:
        waiting: (reference, size, kind) of what is there, oldest first.

    Returns:
        Their references, or None when even that does not help.
    """
    there = list(waiting)
    count = len(there) + 1 - quota.count
    octets = sum(one[1] for one in there) + size - quota.size
    dropped: list[str] = []
    for reference, weight, other in there:
        if count <= 0 and octets <= 0:
            break
        if other == REPORT and kind != REPORT:
            dropped.append(reference)
            count -= 1
            octets -= weight
    return tuple(dropped) if count <= 0 and octets <= 0 else None


@implementer(IHistoryStore)
class MemoryHistoryStore:
    """See :class:`IHistoryStore`."""

    def __init__(self, outbox: MemoryOutbox) -> None:
        self._outbox = outbox
        self._last = 0
        self._owners: dict[str, dict[str, Conversation]] = {}
        self._entries: dict[tuple[str, str], list[HistoryEntry]] = {}

    def record(
        self,
        conversation: Conversation,
        entries: Sequence[HistoryEntry] = (),
        events: tuple[ServiceEventRecord, ...] = (),
        once: bool = False,
    ) -> Deferred[Conversation]:
        own = self._owners.setdefault(conversation.owner, {})
        old = own.get(conversation.reference)
        if once and old is not None:
            return succeed(old)
        if old is None:
            self._last += 1
            old = attrs.evolve(conversation, count=0, size=0, position=self._last)
        kept = self._entries.setdefault((conversation.owner, conversation.reference), [])
        for entry in entries:
            self._last += 1
            kept.append(attrs.evolve(entry, position=self._last))
        now = own[conversation.reference] = extended(old, conversation, entries)
        self._outbox.take(events)
        return succeed(now)

    def get(self, owner: str, reference: str) -> Deferred[Conversation | None]:
        return succeed(self._owners.get(owner, {}).get(reference))

    def search(
        self,
        owner: str,
        peer: str = "",
        since: float = 0.0,
        until: float = NEVER,
        after: int = 0,
        limit: int = 100,
        latest: bool = False,
    ) -> Deferred[tuple[Conversation, ...]]:
        own = self._owners.get(owner, {}).values()
        found = (
            one
            for one in (reversed(own) if latest else own)
            if (not after or (one.position < after if latest else one.position > after))
            and peer in ("", one.peer)
            and one.started_at <= until
            and one.ended_at >= since
        )
        return succeed(tuple(islice(found, limit)))

    def entries(
        self, owner: str, reference: str, after: int = 0, limit: int = 100
    ) -> Deferred[tuple[HistoryEntry, ...]]:
        kept = self._entries.get((owner, reference), ())
        return succeed(tuple(islice((one for one in kept if one.position > after), limit)))

    def unended(
        self, after: int = 0, limit: int = 100
    ) -> Deferred[tuple[tuple[Conversation, float], ...]]:
        found = [
            one
            for own in self._owners.values()
            for one in own.values()
            if one.ended_at == NEVER and one.position > after
        ]
        found.sort(key=lambda one: one.position)
        return succeed(tuple((one, self._last_at(one)) for one in found[:limit]))

    def _last_at(self, conversation: Conversation) -> float:
        kept = self._entries[conversation.owner, conversation.reference]
        return max([one.at for one in kept], default=conversation.started_at)

    def delete(
        self, owner: str, references: Sequence[str], events: tuple[ServiceEventRecord, ...] = ()
    ) -> Deferred[int]:
        own = self._owners.get(owner, {})
        removed = 0
        for reference in references:
            if own.pop(reference, None) is not None:
                del self._entries[owner, reference]
                removed += 1
        if removed:
            self._outbox.take(events)
        return succeed(removed)

    def usage(self, owner: str) -> Deferred[Usage]:
        own = self._owners.get(owner, {}).values()
        return succeed(Usage(len(own), sum(one.size for one in own)))

    def sweep(self, now: float) -> Deferred[int]:
        over = [
            one for own in self._owners.values() for one in own.values() if one.expires_at <= now
        ]
        for one in over:
            del self._owners[one.owner][one.reference]
            del self._entries[one.owner, one.reference]
        return succeed(len(over))


def extended(
    old: Conversation, given: Conversation, entries: Sequence[HistoryEntry]
) -> Conversation:
    """Return a stored conversation with what is given anew, and with these entries."""
    return attrs.evolve(
        old,
        ended_at=given.ended_at,
        expires_at=given.expires_at,
        subject=given.subject,
        participants=given.participants,
        cut_off=given.cut_off,
        count=old.count + len(entries),
        size=old.size + sum(len(entry.body) for entry in entries),
    )
