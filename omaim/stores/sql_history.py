"""Recorded conversations in a SQL database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import attrs
from sqlalchemy import ColumnElement, bindparam, func, select
from twisted.internet.defer import Deferred
from zope.interface import implementer

from omaim.stores import schema
from omaim.stores.commits import Batch
from omaim.stores.database import ZERO, Database
from omaim.stores.interfaces import IHistoryStore
from omaim.stores.memory_messages import extended
from omaim.stores.records import NEVER, Conversation, HistoryEntry, ServiceEventRecord, Usage
from omaim.stores.sql_messages import event_rows

_BEYOND: Final = 2**62  # behind every position


@implementer(IHistoryStore)
class SqlHistoryStore:
    """See :class:`IHistoryStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        text, table, entries = database.text, schema.conversations, schema.entries
        c, e = table.c, entries.c
        columns = select(
            c.owner, c.reference, c.kind, c.peer, c.started_at, c.ended_at, c.expires_at,
            c.subject, c.participants, c.count, c.size, c.position, c.cut_off,
        )  # fmt: skip
        owned = c.owner == bindparam("the_owner")
        named = owned & (c.reference == bindparam("the_reference"))

        def search(narrowed: ColumnElement[bool], latest: bool) -> str:
            edge, order = c.position > bindparam("after"), c.position.asc()
            if latest:
                edge, order = c.position < bindparam("after"), c.position.desc()
            return text(
                columns.where(narrowed)
                .where(edge)
                .where(c.started_at <= bindparam("until"))
                .where(c.ended_at >= bindparam("since"))
                .order_by(order)
                .limit(bindparam("number"))
                .offset(ZERO)
            )

        self._get = text(columns.where(named))
        with_peer = owned & (c.peer == bindparam("the_peer"))
        self._searches = {
            (bool(peer), latest): search(with_peer if peer else owned, latest)
            for peer in (False, True)
            for latest in (False, True)
        }
        self._insert = text(table.insert())
        self._update = text(
            table.update()
            .where(named)
            .values(
                ended_at=bindparam("ended_at"),
                expires_at=bindparam("expires_at"),
                subject=bindparam("subject"),
                participants=bindparam("participants"),
                count=bindparam("count"),
                size=bindparam("size"),
                cut_off=bindparam("cut_off"),
            )
        )
        self._delete = text(table.delete().where(named))
        self._usage = text(select(func.count(), func.coalesce(func.sum(c.size), ZERO)).where(owned))
        self._over = text(select(c.owner, c.reference).where(c.expires_at <= bindparam("now")))
        last = (
            select(func.max(e.at))
            .where(e.owner == c.owner)
            .where(e.reference == c.reference)
            .scalar_subquery()
        )
        self._unended = text(
            columns.add_columns(func.coalesce(last, c.started_at))
            .where(c.ended_at == bindparam("never"))
            .where(c.position > bindparam("after"))
            .order_by(c.position)
            .limit(bindparam("number"))
            .offset(ZERO)
        )
        of = (e.owner == bindparam("the_owner")) & (e.reference == bindparam("the_reference"))
        self._entries = text(
            select(
                e.owner, e.reference, e.at, e.sender, e.recipient, e.content_type, e.body,
                e.message_id, e.position,
            )
            .where(of)
            .where(e.position > bindparam("after"))
            .order_by(e.position)
            .limit(bindparam("number"))
            .offset(ZERO)
        )  # fmt: skip
        self._insert_entry = text(entries.insert())
        self._delete_entries = text(entries.delete().where(of))

    def record(
        self,
        conversation: Conversation,
        entries: Sequence[HistoryEntry] = (),
        events: tuple[ServiceEventRecord, ...] = (),
        once: bool = False,
    ) -> Deferred[Conversation]:
        names = {"the_owner": conversation.owner, "the_reference": conversation.reference}
        rows = [attrs.asdict(one) for one in entries]
        facts = event_rows(events)

        def write(batch: Batch) -> Conversation:
            cursor = batch.cursor
            cursor.execute(self._get, names)
            found = _conversations(cursor.fetchall())
            if found and once:
                return found[0]
            if found:
                now = extended(found[0], conversation, entries)
                cursor.execute(self._update, {**_row(now), **names})
            else:
                position = batch.number("history")
                new = attrs.evolve(conversation, position=position, count=0, size=0)
                now = extended(new, conversation, entries)
                cursor.execute(self._insert, _row(now))
            if rows:
                first = batch.number("history", len(rows))
                cursor.executemany(
                    self._insert_entry,
                    [{**row, "position": position} for position, row in enumerate(rows, first)],
                )
            for fact in facts:
                batch.event(fact)
            return now

        return self._database.write(write, sum(len(one.body) for one in entries))

    def get(self, owner: str, reference: str) -> Deferred[Conversation | None]:
        found = self._database.rows(self._get, {"the_owner": owner, "the_reference": reference})
        return found.addCallback(_conversation)

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
        values: dict[str, object] = {
            "the_owner": owner,
            "since": since,
            "until": until,
            "after": _BEYOND if latest and not after else after,
            "number": limit,
        }
        if peer:
            values["the_peer"] = peer
        statement = self._searches[bool(peer), latest]
        return self._database.rows(statement, values).addCallback(_conversations)

    def entries(
        self, owner: str, reference: str, after: int = 0, limit: int = 100
    ) -> Deferred[tuple[HistoryEntry, ...]]:
        found = self._database.rows(
            self._entries,
            {"the_owner": owner, "the_reference": reference, "after": after, "number": limit},
        )
        return found.addCallback(_entries)

    def unended(
        self, after: int = 0, limit: int = 100
    ) -> Deferred[tuple[tuple[Conversation, float], ...]]:
        values = {"never": NEVER, "after": after, "number": limit}
        return self._database.rows(self._unended, values).addCallback(_with_last)

    def delete(
        self, owner: str, references: Sequence[str], events: tuple[ServiceEventRecord, ...] = ()
    ) -> Deferred[int]:
        wanted = [{"the_owner": owner, "the_reference": one} for one in references]
        facts = event_rows(events)

        def write(batch: Batch) -> int:
            removed = self._remove(batch, wanted)
            if removed:
                for fact in facts:
                    batch.event(fact)
            return removed

        return self._database.write(write)

    def usage(self, owner: str) -> Deferred[Usage]:
        found = self._database.rows(self._usage, {"the_owner": owner})
        return found.addCallback(lambda rows: Usage(int(rows[0][0]), int(rows[0][1])))

    def sweep(self, now: float) -> Deferred[int]:
        def write(batch: Batch) -> int:
            batch.cursor.execute(self._over, {"now": now})
            over = [
                {"the_owner": owner, "the_reference": reference}
                for owner, reference in batch.cursor.fetchall()
            ]
            return self._remove(batch, over)

        return self._database.write(write)

    def _remove(self, batch: Batch, wanted: list[dict[str, str]]) -> int:
        removed = 0
        for names in wanted:
            batch.cursor.execute(self._delete, names)
            if batch.cursor.rowcount == 1:
                removed += 1
                batch.cursor.execute(self._delete_entries, names)
        return removed


def _row(conversation: Conversation) -> dict[str, Any]:
    row = attrs.asdict(conversation)
    row["participants"] = json.dumps(conversation.participants)
    row["cut_off"] = int(conversation.cut_off)
    return row


def _conversations(rows: list[Any]) -> tuple[Conversation, ...]:
    found = []
    for row in rows:
        values = list(row)
        values[8] = tuple(json.loads(values[8]))
        values[12] = bool(values[12])
        found.append(Conversation(*values))
    return tuple(found)


def _with_last(rows: list[Any]) -> tuple[tuple[Conversation, float], ...]:
    found = _conversations([row[:-1] for row in rows])
    return tuple(zip(found, (float(row[-1]) for row in rows), strict=True))


def _conversation(rows: list[Any]) -> Conversation | None:
    found = _conversations(rows)
    return found[0] if found else None


def _entries(rows: list[Any]) -> tuple[HistoryEntry, ...]:
    found = []
    for row in rows:
        values = list(row)
        values[6] = bytes(values[6])
        found.append(HistoryEntry(*values))
    return tuple(found)
