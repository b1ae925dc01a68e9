"""Leases of GPUs, where a job was placed, and who took it out of the queue."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "jobs", sa.Column("placement", sa.JSON, nullable=False, server_default=sa.text("'[]'"))
    )
    op.add_column("jobs", sa.Column("submitter", sa.JSON))
    op.create_table(
        "leases",
        sa.Column("gpu", sa.Text, nullable=False),
        sa.Column("job", sa.Text, nullable=False),
        sa.Column("pool", sa.Text, nullable=False),
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("shared", sa.Boolean, nullable=False),
        sa.Column("since", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("gpu", "job", name="pk_leases"),
    )
    op.create_index("ix_leases_job", "leases", ["job"])
    op.create_index(
        "ux_leases_exclusive",
        "leases",
        ["gpu"],
        unique=True,
        sqlite_where=sa.text("NOT shared"),
        postgresql_where=sa.text("NOT shared"),
    )


def downgrade() -> None:
    op.drop_table("leases")
    op.drop_column("jobs", "submitter")
    op.drop_column("jobs", "placement")
