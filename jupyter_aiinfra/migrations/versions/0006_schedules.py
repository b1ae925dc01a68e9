"""Schedules, their versions, and their runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _schedules()
    _versions()
    _runs()


def _schedules() -> None:
    op.create_table(
        "schedules",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("paused_at", sa.Double),
        sa.Column("paused_by", sa.Text),
        sa.Column("pause_reason", sa.Text, nullable=False),
        sa.Column("removed_at", sa.Double),
        sa.Column("next_due", sa.Double),
        sa.Column("decided", sa.Double, nullable=False),
        *(sa.Column(name, sa.Text) for name in ("upstream", "watched", "seen")),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("created_by", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_schedules"),
    )
    for name in ("next_due", "decided", "upstream"):
        op.create_index(f"ix_schedules_{name}", "schedules", [name])
    there = sa.text("removed_at IS NULL")
    op.create_index(
        "ux_schedules_name",
        "schedules",
        ["name"],
        unique=True,
        sqlite_where=there,
        postgresql_where=there,
    )


def _versions() -> None:
    op.create_table(
        "schedule_versions",
        sa.Column("schedule", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("notebook", "pool", "timezone")),
        *(
            sa.Column(name, sa.JSON, nullable=False)
            for name in ("triggers", "policy", "parameters", "form", "options", "snapshot")
        ),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("created_by", sa.Text),
        sa.Column("note", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("schedule", "number", name="pk_schedule_versions"),
    )


def _runs() -> None:
    op.create_table(
        "schedule_runs",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("schedule", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("key", "trigger", "state")),
        sa.Column("slot", sa.Double),
        sa.Column("reason", sa.Text),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("start_at", sa.Double, nullable=False),
        sa.Column("started_at", sa.Double),
        sa.Column("ended_at", sa.Double),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("job", sa.Text),
        sa.Column("jobs", sa.JSON, nullable=False),
        sa.Column("parameters", sa.JSON),
        sa.Column("outputs", sa.JSON, nullable=False),
        sa.Column("claim", sa.JSON),
        sa.Column("stop", sa.Boolean, nullable=False),
        sa.Column("slots", sa.Integer, nullable=False),
        sa.Column("last_slot", sa.Double),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_schedule_runs"),
    )
    table = "schedule_runs"
    op.create_index("ux_schedule_runs_key", table, ["schedule", "key"], unique=True)
    op.create_index("ix_schedule_runs_created_at", table, ["created_at"])
    op.create_index("ix_schedule_runs_schedule", table, ["schedule", "created_at"])
    op.create_index("ix_schedule_runs_state", table, ["state", "start_at"])
    op.create_index("ix_schedule_runs_job", table, ["job"])


def downgrade() -> None:
    for table in ("schedule_runs", "schedule_versions", "schedules"):
        op.drop_table(table)
