"""The tables of the first release."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create them."""
    counters = op.create_table(
        "counters",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(
        counters,
        [{"name": name, "value": 0} for name in ("bindings", "users", "deferred", "outbox")],
    )
    op.create_table(
        "bindings",
        sa.Column("aor", sa.Text, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("packed", sa.Text, nullable=False),
    )
    op.create_table(
        "users",
        sa.Column("private_id", sa.Text, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("packed", sa.Text, nullable=False),
    )
    op.create_table(
        "identities",
        sa.Column("uri", sa.Text, primary_key=True),
        sa.Column("private_id", sa.Text, nullable=False),
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
        sa.Column("recipient", sa.Text, nullable=False),
        sa.Column("reference", sa.Text, nullable=False),
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
    op.create_index("deferred_expiry", "deferred", ["state", "expires_at"])
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


def downgrade() -> None:
    """Nothing comes before the first release.

    Raises:
        NotImplementedError: always.
    """
    raise NotImplementedError
