"""Which recorded conversations have no end of their own."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what says so."""
    op.add_column(
        "conversations", sa.Column("cut_off", sa.Integer, nullable=False, server_default="0")
    )


def downgrade() -> None:
    """Take it away again."""
    op.drop_column("conversations", "cut_off")
