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

REVISION: Final = "0002"  # of the migration that makes what is described here

metadata = MetaData()

# Text that is compared by its octets: ranges of it mean the same in both databases.
Key: Final = Text().with_variant(Text(collation="C"), "postgresql")

counters = Table(
    "counters",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

bindings = Table(
    "bindings",
    metadata,
    Column("aor", Key, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("packed", Text, nullable=False),  # JSON
)

users = Table(
    "users",
    metadata,
    Column("private_id", Key, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("packed", Text, nullable=False),
)

identities = Table(
    "identities",
    metadata,
    Column("uri", Text, primary_key=True),
    Column("private_id", Key, nullable=False, index=True),
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
    Column("recipient", Key, nullable=False),
    Column("reference", Key, nullable=False),
    Column("sender", Text, nullable=False),
    Column("message_id", Text),  # NULL is never a duplicate
    Column("content_type", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("stored_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),  # infinite once ended
    Column("sent_at", Double, nullable=False),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("headers", Text, nullable=False),  # JSON
    Column("state", Integer, nullable=False),
    Column("attempt", Text, nullable=False),
    Column("attempt_until", Double, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("keep_until", Double, nullable=False),  # infinite until ended
    UniqueConstraint("recipient", "reference", name="deferred_reference"),
    UniqueConstraint("recipient", "sender", "message_id", name="deferred_message_id"),
)
Index("deferred_waiting", deferred.c.recipient, deferred.c.state, deferred.c.position)
Index("deferred_expires_at", deferred.c.expires_at)
Index("deferred_keep_until", deferred.c.keep_until)

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

publications = Table(
    "publications",
    metadata,
    Column("etag", Text, primary_key=True),
    Column("aor", Key, nullable=False),
    Column("package", Text, nullable=False),
    Column("expires_at", Double, nullable=False, index=True),
    Column("content_type", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("publisher", Text, nullable=False),
    Column("published_at", Double, nullable=False),
)
Index("publications_of", publications.c.aor, publications.c.package)

subscriptions = Table(
    "subscriptions",
    metadata,
    Column("key", Key, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("resource", Text, nullable=False),
    Column("package", Text, nullable=False),
    Column("node", Key, nullable=False, index=True),
    Column("expires_at", Double, nullable=False, index=True),
    Column("packed", Text, nullable=False),  # JSON
)
Index("subscriptions_to", subscriptions.c.resource, subscriptions.c.package)

leases = Table(
    "leases",
    metadata,
    Column("name", Key, primary_key=True),
    Column("owner", Key, nullable=False),
    Column("until", Double, nullable=False),
    Column("version", BigInteger, nullable=False),
)

documents = Table(
    "documents",
    metadata,
    Column("path", Key, primary_key=True),
    Column("etag", Text, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("changed_at", Double, nullable=False),
)

conversations = Table(
    "conversations",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("owner", Key, nullable=False),
    Column("reference", Key, nullable=False),
    Column("kind", Text, nullable=False),
    Column("peer", Text, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("ended_at", Double, nullable=False),  # infinite while it goes on
    Column("expires_at", Double, nullable=False, index=True),
    Column("subject", Text, nullable=False),
    Column("participants", Text, nullable=False),  # JSON
    Column("count", BigInteger, nullable=False),  # of entries
    Column("size", BigInteger, nullable=False),  # octets of all entries
    Column("cut_off", Integer, nullable=False, server_default="0"),  # 1: its end is the last
    # thing known of it
    UniqueConstraint("owner", "reference", name="conversations_reference"),
)
Index("conversations_peer", conversations.c.owner, conversations.c.peer)

entries = Table(
    "entries",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("owner", Key, nullable=False),
    Column("reference", Key, nullable=False),  # of the conversation
    Column("at", Double, nullable=False),
    Column("sender", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
)
Index("entries_of", entries.c.owner, entries.c.reference, entries.c.position)
