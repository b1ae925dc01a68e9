"""What is to be said to people elsewhere."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "notifications",
        *(sa.Column(name, sa.Text, nullable=False) for name in ("key", "target", "event")),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("detail", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("due_at", sa.Double),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("sent_at", sa.Double),
        sa.Column("problem", sa.Text),
        sa.PrimaryKeyConstraint("key", name="pk_notifications"),
    )
    for name in ("due_at", "created_at"):
        op.create_index(f"ix_notifications_{name}", "notifications", [name])


def downgrade() -> None:
    op.drop_table("notifications")
