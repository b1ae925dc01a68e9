"""What pools cost, what they have, what jobs had of them, and what that came to."""

from __future__ import annotations

import json
import time

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_HOUR = 3600


def upgrade() -> None:
    _add_facts()
    _add_usage()
    _take_over()


def _add_facts() -> None:
    op.create_table(
        "prices",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            nullable=False,
            autoincrement=True,
        ),
        sa.Column("pool", sa.Text, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("rate", sa.Text),
        sa.Column("currency", sa.Text),
        sa.Column("unit", sa.Text),
        sa.Column("terms", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_prices"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_prices_pool_since", "prices", ["pool", "since"])
    op.create_table(
        "catalog",
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("sku", sa.Text, nullable=False),
        sa.Column("region", sa.Text, nullable=False),
        sa.Column("spot", sa.Boolean, nullable=False),
        sa.Column("row", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("provider", "sku", "region", "spot", name="pk_catalog"),
    )
    op.create_table(
        "capacity",
        sa.Column("pool", sa.Text, nullable=False),
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("slot", sa.Text, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger),
        sa.Column("model", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("pool", "node", "slot", "since", name="pk_capacity"),
    )
    op.create_table(
        "allocations",
        sa.Column("job", sa.Text, nullable=False),
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("slot", sa.Text, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger),
        sa.Column("pool", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("job", "node", "slot", "since", name="pk_allocations"),
    )
    op.create_index("ix_allocations_pool_until", "allocations", ["pool", "until"])
    op.create_index("ix_allocations_slot", "allocations", ["pool", "node", "slot"])
    op.create_table(
        "charged_jobs",
        sa.Column("job", sa.Text, nullable=False),
        sa.Column("pool", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("notebook", sa.Text),
        sa.Column("user", sa.Text),
        sa.Column("project", sa.Text),
        sa.Column("team", sa.Text),
        sa.Column("cost_centre", sa.Text),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("job", name="pk_charged_jobs"),
    )


def _add_usage() -> None:
    amounts = ("allocated", "used", "idle")
    op.create_table(
        "usage",
        sa.Column("start", sa.BigInteger, nullable=False),
        sa.Column("pool", sa.Text, nullable=False),
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("job", sa.Text, nullable=False),
        sa.Column("price", sa.BigInteger, nullable=False),
        sa.Column("parts", sa.Integer, nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in amounts),
        sa.PrimaryKeyConstraint("start", "pool", "node", "job", "price", "parts", name="pk_usage"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_usage_job", "usage", ["job"])
    op.create_table(
        "usage_days",
        sa.Column("day", sa.BigInteger, nullable=False),
        sa.Column("pool", sa.Text, nullable=False),
        sa.Column("job", sa.Text, nullable=False),
        sa.Column("price", sa.BigInteger, nullable=False),
        sa.Column("parts", sa.Integer, nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in amounts),
        sa.PrimaryKeyConstraint("day", "pool", "job", "price", "parts", name="pk_usage_days"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "meters",
        sa.Column("pool", sa.Text, nullable=False),
        sa.Column("settled", sa.BigInteger, nullable=False),
        sa.Column("dirty", sa.BigInteger),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("looked_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("pool", name="pk_meters"),
    )


def _take_over() -> None:
    """Meter from now on what is attached and leased already; of what is over nothing is known."""
    connection = op.get_bind()
    hour = int(time.time()) // _HOUR * _HOUR
    connection.execute(
        sa.text(
            "INSERT INTO meters (pool, settled, dirty, version, looked_at) "
            "SELECT name, :hour, NULL, 1, 0 FROM pools"
        ),
        {"hour": hour},
    )
    connection.execute(
        sa.text(
            "INSERT INTO allocations (job, node, slot, since, until, pool) "
            "SELECT job, node, gpu, CAST(since * 1000000 AS BIGINT), NULL, pool FROM leases"
        )
    )
    query = sa.text(
        "SELECT id, pool, name, kind, created_at, spec FROM jobs WHERE ended_at IS NULL"
    )
    insert = sa.text(
        'INSERT INTO charged_jobs (job, pool, name, kind, created_at, notebook, "user", tags) '
        "VALUES (:job, :pool, :name, :kind, :created_at, :notebook, :user, '{}')"
    )
    for row in connection.execute(query).all():
        spec = json.loads(row.spec) if isinstance(row.spec, str) else row.spec
        origin = spec.get("origin") or {}
        values = {
            "job": row.id,
            "pool": row.pool,
            "name": row.name,
            "kind": row.kind,
            "created_at": row.created_at,
            "notebook": origin.get("notebook"),
            "user": origin.get("user"),
        }
        connection.execute(insert, values)


def downgrade() -> None:
    for table in (
        "meters",
        "usage_days",
        "usage",
        "charged_jobs",
        "allocations",
        "capacity",
        "catalog",
        "prices",
    ):
        op.drop_table(table)
