"""The tables, as one text for SQLite and PostgreSQL.

The migrations create them; a test compares the two. Addresses of record have one row each for
all their bindings, users one row with what only the core reads packed as JSON: the start
with 100,000 users is a sequential read of short rows.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

REVISION: Final = "0001"  # of the migration that makes what is described here

metadata = MetaData()

counters = Table(
    "counters",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

bindings = Table(
    "bindings",
    metadata,
    Column("aor", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("expires_at", Double, nullable=False),  # of the first to expire
    Column("number", Integer, nullable=False),
    Column("packed", Text, nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("private_id", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("packed", Text, nullable=False),
)

identities = Table(
    "identities",
    metadata,
    Column("uri", Text, primary_key=True),
    Column("private_id", Text, nullable=False, index=True),
)

profiles = Table(
    "profiles",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("content", Text, nullable=False),
)

deferred = Table(
    "deferred",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("recipient", Text, nullable=False),
    Column("reference", Text, nullable=False),
    Column("sender", Text, nullable=False),
    Column("message_id", Text),  # NULL is never a duplicate
    Column("content_type", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("stored_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),  # of the message
    Column("sent_at", Double, nullable=False),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("headers", Text, nullable=False),  # JSON
    Column("state", Integer, nullable=False),
    Column("attempt", Text, nullable=False),
    Column("attempt_until", Double, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("keep_until", Double, nullable=False),  # of an ended one
    UniqueConstraint("recipient", "reference", name="deferred_reference"),
    UniqueConstraint("recipient", "sender", "message_id", name="deferred_message_id"),
)
Index("deferred_waiting", deferred.c.recipient, deferred.c.state, deferred.c.position)
Index("deferred_expiry", deferred.c.state, deferred.c.expires_at)

outbox = Table(
    "outbox",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("about", Text, nullable=False),
)

readers = Table(
    "readers",
    metadata,
    Column("reader", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
)
