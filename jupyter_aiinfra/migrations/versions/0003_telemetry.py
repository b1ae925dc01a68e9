"""Readings of GPUs over time, many buckets of a node in a row."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "readings",
        sa.Column("pool", sa.Text, nullable=False),
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("resolution", sa.Integer, nullable=False),
        sa.Column("start", sa.BigInteger, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("pool", "node", "resolution", "start", name="pk_readings"),
    )
    op.create_index("ix_readings_resolution_start", "readings", ["resolution", "start"])


def downgrade() -> None:
    op.drop_table("readings")
