"""Endpoints, their versions, replicas and keys, and the routers in front of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _endpoints()
    _versions()
    _replicas()
    _keys()
    _routers()


def _endpoints() -> None:
    op.create_table(
        "endpoints",
        *(sa.Column(name, sa.Text, nullable=False) for name in ("id", "name", "router")),
        sa.Column("newest", sa.Integer, nullable=False),
        *(sa.Column(name, sa.JSON, nullable=False) for name in ("options", "scaling", "traffic")),
        sa.Column("shadow", sa.Integer),
        sa.Column("rollout", sa.JSON),
        sa.Column("removed_at", sa.Double),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("created_by", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_endpoints"),
    )
    there = sa.text("removed_at IS NULL")
    op.create_index(
        "ux_endpoints_name",
        "endpoints",
        ["name"],
        unique=True,
        sqlite_where=there,
        postgresql_where=there,
    )


def _versions() -> None:
    op.create_table(
        "endpoint_versions",
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("package", sa.JSON, nullable=False),
        sa.Column("pool", sa.Text, nullable=False),
        sa.Column("options", sa.JSON, nullable=False),
        sa.Column("wanted", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("retire_at", sa.Double),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("failed_at", sa.Double),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("created_by", sa.Text),
        sa.Column("note", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("endpoint", "number", name="pk_endpoint_versions"),
    )


def _replicas() -> None:
    op.create_table(
        "endpoint_replicas",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("reach", sa.JSON),
        sa.Column("claim", sa.JSON),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("ended_at", sa.Double),
        sa.Column("leaving_at", sa.Double),
        sa.PrimaryKeyConstraint("id", name="pk_endpoint_replicas"),
    )
    op.create_index("ix_endpoint_replicas_endpoint", "endpoint_replicas", ["endpoint", "state"])


def _keys() -> None:
    op.create_table(
        "endpoint_keys",
        *(sa.Column(name, sa.Text, nullable=False) for name in ("id", "endpoint", "name")),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("per_second", sa.Double),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("created_by", sa.Text),
        sa.Column("ends_at", sa.Double),
        sa.PrimaryKeyConstraint("id", name="pk_endpoint_keys"),
    )
    op.create_index("ix_endpoint_keys_endpoint", "endpoint_keys", ["endpoint"])


def _routers() -> None:
    op.create_table(
        "routers",
        *(sa.Column(name, sa.Text, nullable=False) for name in ("key", "job", "pool")),
        sa.Column("claim", sa.JSON),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_routers"),
    )


def downgrade() -> None:
    for table in (
        "routers",
        "endpoint_keys",
        "endpoint_replicas",
        "endpoint_versions",
        "endpoints",
    ):
        op.drop_table(table)
