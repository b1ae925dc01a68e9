"""Budgets, what was decided by them, what is done about idle GPUs, and what a job is told of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("notice", sa.JSON))
    op.create_table(
        "budgets",
        *(
            sa.Column(name, sa.Text, nullable=False)
            for name in ("id", "scope", "subject", "period", "amount", "currency", "action")
        ),
        sa.Column("warn_share", sa.Double, nullable=False),
        sa.Column("grace_seconds", sa.Double),
        sa.Column("ask_seconds", sa.Double, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("created_by", sa.Text),
        sa.Column("snoozed_until", sa.Double),
        sa.Column("snoozed_by", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_budgets"),
    )
    op.create_index("ux_budgets_scope", "budgets", ["scope", "subject", "period"], unique=True)
    op.create_table(
        "decisions",
        *(sa.Column(name, sa.Text, nullable=False) for name in ("key", "by", "kind", "text")),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("job", sa.Text),
        sa.Column("until", sa.Double),
        sa.Column("grace_seconds", sa.Double),
        sa.PrimaryKeyConstraint("key", name="pk_decisions"),
    )
    op.create_index("ix_decisions_by_at", "decisions", ["by", "at"])
    op.create_index("ix_decisions_job", "decisions", ["job"])
    op.create_table(
        "idle_rules",
        sa.Column("pool", sa.Text, nullable=False),
        sa.Column("stop_seconds", sa.Double),
        sa.Column("warn_seconds", sa.Double),
        sa.Column("watch", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("pool", name="pk_idle_rules"),
    )


def downgrade() -> None:
    for table in ("idle_rules", "decisions", "budgets"):
        op.drop_table(table)
    op.drop_column("jobs", "notice")
