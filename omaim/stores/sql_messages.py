"""Deferred messages and the outbox in a SQL database."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import bindparam, func, literal_column, select
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from omaim.errors import UsageError
from omaim.stores import schema
from omaim.stores.commits import Batch
from omaim.stores.database import ZERO, Database
from omaim.stores.interfaces import IDeferredStore, IOutbox, QuotaExceeded
from omaim.stores.memory_messages import make_room, size_of
from omaim.stores.records import (
    ATTEMPTED,
    DELIVERED,
    NEVER,
    WAITING,
    Added,
    DeferredMessage,
    Quota,
    ServiceEventRecord,
    Usage,
)


def event_rows(events: Iterable[ServiceEventRecord]) -> list[dict[str, object]]:
    """Return events as rows of the outbox, without positions."""
    return [
        {"kind": one.kind, "at": one.at, "data": one.data, "about": one.about} for one in events
    ]


@implementer(IOutbox)
class SqlOutbox:
    """See :class:`IOutbox`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        table, readers = schema.outbox, schema.readers
        self._read = database.text(
            select(table.c.kind, table.c.at, table.c.data, table.c.about, table.c.position)
            .where(table.c.position > bindparam("after"))
            .order_by(table.c.position)
            .limit(bindparam("number"))
            .offset(ZERO)
        )
        self._delete = database.text(table.delete().where(table.c.position <= bindparam("upto")))
        self._last = database.text(select(func.max(table.c.position)))
        self._positions = database.text(select(readers.c.reader, readers.c.position))
        of_reader = readers.c.reader == bindparam("the_reader")
        self._position = database.text(select(readers.c.position).where(of_reader))
        self._enrol = database.text(readers.insert())
        self._mark = database.text(
            readers.update().where(of_reader).values(position=bindparam("position"))
        )
        self._forget = database.text(readers.delete().where(of_reader))

    def append(self, events: Sequence[ServiceEventRecord]) -> Deferred[int]:
        if not events:
            return succeed(0)
        rows = event_rows(events)

        def write(batch: Batch) -> dict[str, object]:
            for row in rows:
                batch.event(row)
            return rows[-1]  # the batch notes its position when it is flushed

        size = sum(len(one.data) for one in events)
        return self._database.write(write, size).addCallback(_position)

    def read(self, after: int, limit: int = 100) -> Deferred[tuple[ServiceEventRecord, ...]]:
        found = self._database.rows(self._read, {"after": after, "number": limit})
        return found.addCallback(_events)

    def mark(self, reader: str, position: int) -> Deferred[None]:
        values = {"reader": reader, "the_reader": reader, "position": position}

        def write(batch: Batch) -> None:
            cursor = batch.cursor
            cursor.execute(self._position, values)
            rows = cursor.fetchall()
            if not rows:
                cursor.execute(self._enrol, values)
            elif rows[0][0] < position:
                cursor.execute(self._mark, values)

        return self._database.write(write)

    def positions(self) -> Deferred[dict[str, int]]:
        found: Deferred[list[Any]] = self._database.rows(self._positions, {})
        return found.addCallback(lambda rows: dict(rows))

    def forget(self, reader: str) -> Deferred[None]:
        def write(batch: Batch) -> None:
            batch.cursor.execute(self._forget, {"the_reader": reader})

        return self._database.write(write)

    def trim(self) -> Deferred[int]:
        def write(batch: Batch) -> int:
            cursor = batch.cursor
            cursor.execute(self._positions)
            marks = [position for _, position in cursor.fetchall()]
            if not marks:
                cursor.execute(self._last)
                marks = [cursor.fetchall()[0][0] or 0]
            cursor.execute(self._delete, {"upto": min(marks)})
            return cursor.rowcount

        return self._database.write(write)


def _position(row: dict[str, Any]) -> int:
    return int(row["position"])


def _events(rows: list[tuple[str, float, bytes, str, int]]) -> tuple[ServiceEventRecord, ...]:
    return tuple(
        ServiceEventRecord(kind, at, bytes(data), about, position)
        for kind, at, data, about, position in rows
    )


@implementer(IDeferredStore)
class SqlDeferredStore:
    """See :class:`IDeferredStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        table = schema.deferred
        c = table.c
        of_recipient = c.recipient == bindparam("the_recipient")
        named = of_recipient & (c.reference == bindparam("the_reference"))
        live = c.state < literal_column(str(DELIVERED))
        head = (
            c.recipient, c.reference, c.sender, c.message_id, c.content_type,
        )  # fmt: skip
        tail = (
            c.stored_at, c.expires_at, c.sent_at, c.kind, c.subject, c.headers, c.state,
            c.attempt, c.attempt_until, c.attempts, c.position, c.size,
        )  # fmt: skip
        full = select(*head, c.body, *tail)
        text = database.text
        waiting = (
            of_recipient
            & live
            & (c.position > bindparam("after"))
            & (c.expires_at > bindparam("now"))
        )
        self._waiting = text(
            full.where(waiting).order_by(c.position).limit(bindparam("number")).offset(ZERO)
        )
        self._waiting_heads = text(
            select(*head, literal_column("NULL").label("body"), *tail)
            .where(waiting)
            .order_by(c.position)
            .limit(bindparam("number"))
            .offset(ZERO)
        )
        self._get = text(full.where(named & live))
        self._expired = text(
            full.where(live & (c.expires_at <= bindparam("now")))
            .order_by(c.expires_at, c.position)
            .limit(bindparam("number"))
            .offset(ZERO)
        )
        self._known = text(
            select(c.reference, c.position).where(
                of_recipient
                & (c.sender == bindparam("the_sender"))
                & (c.message_id == bindparam("the_message_id"))
            )
        )
        self._sizes = text(
            select(c.reference, c.size, c.kind).where(of_recipient & live).order_by(c.position)
        )
        self._insert = text(table.insert())
        self._remove = text(table.delete().where(named))
        self._attempt = text(
            table.update()
            .where(
                named
                & live
                & (
                    (c.state == literal_column(str(WAITING)))
                    | (c.attempt == bindparam("the_attempt"))
                    | (c.attempt_until <= bindparam("now"))
                )
            )
            .values(
                state=literal_column(str(ATTEMPTED)),
                attempt=bindparam("the_attempt"),
                attempt_until=bindparam("until"),
                attempts=c.attempts + literal_column("1"),
            )
        )
        self._release = text(
            table.update()
            .where(
                named
                & (c.state == literal_column(str(ATTEMPTED)))
                & (c.attempt == bindparam("the_attempt"))
            )
            .values(state=literal_column(str(WAITING)), attempt_until=ZERO)
        )
        self._finish = text(
            table.update()
            .where(named & live)
            .values(
                state=bindparam("the_state"),
                keep_until=bindparam("until"),
                expires_at=bindparam("never"),
                body=bindparam("empty"),
            )
        )
        self._usage = text(
            select(func.count(), func.coalesce(func.sum(c.size), ZERO)).where(of_recipient & live)
        )
        self._recipients = text(
            select(c.recipient)
            .where(live & (c.recipient > bindparam("after")))
            .group_by(c.recipient)
            .order_by(c.recipient)
            .limit(bindparam("number"))
            .offset(ZERO)
        )
        self._sweep = text(table.delete().where(c.keep_until <= bindparam("now")))

    def add(
        self,
        message: DeferredMessage,
        quota: Quota | None = None,
        events: tuple[ServiceEventRecord, ...] = (),
    ) -> Deferred[Added]:
        row = _row(message)
        rows = event_rows(events)
        names = {
            "the_recipient": message.recipient,
            "the_reference": message.reference,
            "the_sender": message.sender,
            "the_message_id": message.message_id,
        }

        def write(batch: Batch) -> Added:
            cursor = batch.cursor
            if message.message_id:
                cursor.execute(self._known, names)
                known = cursor.fetchall()
                if known:
                    return Added(known[0][0], known[0][1], True)
            dropped = () if quota is None else self._room(batch, message, quota)
            position = batch.number("deferred")
            for reference in dropped:
                cursor.execute(self._remove, {**names, "the_reference": reference})
            cursor.execute(self._insert, {**row, "position": position})
            for event in rows:
                batch.event(event)
            return Added(message.reference, position, False, dropped)

        return self._database.write(write, size_of(message))

    def waiting(
        self, recipient: str, now: float, after: int = 0, limit: int = 100, bodies: bool = True
    ) -> Deferred[tuple[DeferredMessage, ...]]:
        found = self._database.rows(
            self._waiting if bodies else self._waiting_heads,
            {"the_recipient": recipient, "now": now, "after": after, "number": limit},
        )
        return found.addCallback(_messages)

    def get(self, recipient: str, reference: str) -> Deferred[DeferredMessage | None]:
        found = self._database.rows(
            self._get, {"the_recipient": recipient, "the_reference": reference}
        )
        return found.addCallback(_message)

    def attempt(
        self, recipient: str, references: Sequence[str], attempt: str, now: float, until: float
    ) -> Deferred[tuple[str, ...]]:
        values = {"the_attempt": attempt, "now": now, "until": until}
        return self._change(self._attempt, recipient, references, values)

    def release(self, recipient: str, references: Sequence[str], attempt: str) -> Deferred[int]:
        values = {"the_attempt": attempt}
        return self._change(self._release, recipient, references, values).addCallback(len)

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
        values = {"the_state": state, "until": keep_until, "never": NEVER, "empty": b""}
        return self._change(self._finish, recipient, references, values, events)

    def usage(self, recipient: str) -> Deferred[Usage]:
        found = self._database.rows(self._usage, {"the_recipient": recipient})
        return found.addCallback(lambda rows: Usage(int(rows[0][0]), int(rows[0][1])))

    def recipients(self, after: str = "", limit: int = 1000) -> Deferred[tuple[str, ...]]:
        found = self._database.rows(self._recipients, {"after": after, "number": limit})
        return found.addCallback(lambda rows: tuple(recipient for (recipient,) in rows))

    def expired(self, now: float, limit: int = 100) -> Deferred[tuple[DeferredMessage, ...]]:
        found = self._database.rows(self._expired, {"now": now, "number": limit})
        return found.addCallback(_messages)

    def sweep(self, now: float) -> Deferred[int]:
        def write(batch: Batch) -> int:
            batch.cursor.execute(self._sweep, {"now": now})
            return batch.cursor.rowcount

        return self._database.write(write)

    def _room(self, batch: Batch, message: DeferredMessage, quota: Quota) -> tuple[str, ...]:
        """Return the references of reports that must go.

        Raises:
            QuotaExceeded: even that does not make room.
        """
        cursor, size = batch.cursor, size_of(message)
        cursor.execute(self._usage, {"the_recipient": message.recipient})
        count, octets = cursor.fetchall()[0]
        if count < quota.count and octets + size <= quota.size:
            return ()
        cursor.execute(self._sizes, {"the_recipient": message.recipient})
        room = make_room(cursor.fetchall(), size, message.kind, quota)
        if room is None:
            raise QuotaExceeded(f"{message.recipient} has no room for the message")
        return room

    def _change(
        self,
        statement: str,
        recipient: str,
        references: Sequence[str],
        values: dict[str, Any],
        events: Iterable[ServiceEventRecord] = (),
    ) -> Deferred[tuple[str, ...]]:
        """Run a statement for each reference. Returns: those of which a row changed."""
        rows = event_rows(events)
        wanted = tuple(references)

        def write(batch: Batch) -> tuple[str, ...]:
            cursor = batch.cursor
            changed = []
            for reference in wanted:
                names = {"the_recipient": recipient, "the_reference": reference}
                cursor.execute(statement, {**values, **names})
                if cursor.rowcount == 1:
                    changed.append(reference)
            if changed:
                for event in rows:
                    batch.event(event)
            return tuple(changed)

        return self._database.write(write)


def _row(message: DeferredMessage) -> dict[str, object]:
    return {
        "recipient": message.recipient,
        "reference": message.reference,
        "sender": message.sender,
        "message_id": message.message_id or None,
        "content_type": message.content_type,
        "body": message.body,
        "stored_at": message.stored_at,
        "expires_at": message.expires_at,
        "sent_at": message.sent_at,
        "kind": message.kind,
        "subject": message.subject,
        "headers": json.dumps(message.headers, separators=(",", ":")),
        "state": WAITING,
        "attempt": "",
        "attempt_until": 0.0,
        "attempts": 0,
        "size": size_of(message),
        "keep_until": NEVER,
    }


def _messages(rows: list[Any]) -> tuple[DeferredMessage, ...]:
    found = []
    for row in rows:
        values = list(row)
        values[3] = values[3] or ""
        values[5] = bytes(values[5] or b"")
        values[11] = tuple((name, value) for name, value in json.loads(values[11]))
        found.append(DeferredMessage(*values))
    return tuple(found)


def _message(rows: list[Any]) -> DeferredMessage | None:
    found = _messages(rows)
    return found[0] if found else None
