"""The tables of the first release."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

Key = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
COUNTERS = ("bindings", "users", "deferred", "outbox", "subscriptions", "leases", "history")


def upgrade() -> None:
    """Create them."""
    counters = op.create_table(
        "counters",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(
        counters,
        [{"name": name, "value": 0} for name in COUNTERS],
    )
    op.create_table(
        "bindings",
        sa.Column("aor", Key, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("packed", sa.Text, nullable=False),
    )
    op.create_table(
        "users",
        sa.Column("private_id", Key, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("packed", sa.Text, nullable=False),
    )
    op.create_table(
        "identities",
        sa.Column("uri", sa.Text, primary_key=True),
        sa.Column("private_id", Key, nullable=False),
    )
    op.create_index("ix_identities_private_id", "identities", ["private_id"])
    op.create_table(
        "profiles",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("content", sa.Text, nullable=False),
    )
    op.create_table(
        "deferred",
        sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("recipient", Key, nullable=False),
        sa.Column("reference", Key, nullable=False),
        sa.Column("sender", sa.Text, nullable=False),
        sa.Column("message_id", sa.Text),
        sa.Column("content_type", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("stored_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Column("sent_at", sa.Double, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("headers", sa.Text, nullable=False),
        sa.Column("state", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Text, nullable=False),
        sa.Column("attempt_until", sa.Double, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("keep_until", sa.Double, nullable=False),
        sa.UniqueConstraint("recipient", "reference", name="deferred_reference"),
        sa.UniqueConstraint("recipient", "sender", "message_id", name="deferred_message_id"),
    )
    op.create_index("deferred_waiting", "deferred", ["recipient", "state", "position"])
    op.create_index("deferred_expires_at", "deferred", ["expires_at"])
    op.create_index("deferred_keep_until", "deferred", ["keep_until"])
    op.create_table(
        "outbox",
        sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.Column("about", sa.Text, nullable=False),
    )
    op.create_table(
        "readers",
        sa.Column("reader", sa.Text, primary_key=True),
        sa.Column("position", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "publications",
        sa.Column("etag", sa.Text, primary_key=True),
        sa.Column("aor", Key, nullable=False),
        sa.Column("package", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Column("content_type", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("publisher", sa.Text, nullable=False),
        sa.Column("published_at", sa.Double, nullable=False),
    )
    op.create_index("ix_publications_expires_at", "publications", ["expires_at"])
    op.create_index("publications_of", "publications", ["aor", "package"])
    op.create_table(
        "subscriptions",
        sa.Column("key", Key, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("resource", sa.Text, nullable=False),
        sa.Column("package", sa.Text, nullable=False),
        sa.Column("node", Key, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Column("packed", sa.Text, nullable=False),
    )
    op.create_index("ix_subscriptions_node", "subscriptions", ["node"])
    op.create_index("ix_subscriptions_expires_at", "subscriptions", ["expires_at"])
    op.create_index("subscriptions_to", "subscriptions", ["resource", "package"])
    op.create_table(
        "leases",
        sa.Column("name", Key, primary_key=True),
        sa.Column("owner", Key, nullable=False),
        sa.Column("until", sa.Double, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "documents",
        sa.Column("path", Key, primary_key=True),
        sa.Column("etag", sa.Text, nullable=False),
        sa.Column("content_type", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("changed_at", sa.Double, nullable=False),
    )
    op.create_table(
        "conversations",
        sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("owner", Key, nullable=False),
        sa.Column("reference", Key, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("peer", sa.Text, nullable=False),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("ended_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("participants", sa.Text, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("owner", "reference", name="conversations_reference"),
    )
    op.create_index("ix_conversations_expires_at", "conversations", ["expires_at"])
    op.create_index("conversations_peer", "conversations", ["owner", "peer"])
    op.create_table(
        "entries",
        sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("owner", Key, nullable=False),
        sa.Column("reference", Key, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("sender", sa.Text, nullable=False),
        sa.Column("recipient", sa.Text, nullable=False),
        sa.Column("message_id", sa.Text, nullable=False),
        sa.Column("content_type", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_index("entries_of", "entries", ["owner", "reference", "position"])


def downgrade() -> None:
    """Nothing comes before the first release.

    Raises:
        NotImplementedError: always.
    """
    raise NotImplementedError
