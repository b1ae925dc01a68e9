"""The tables, as the newest migration leaves them. Times are seconds since the epoch."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

__all__ = ["HEAD", "VERSION_TABLE", "events", "jobs", "leases", "metadata", "pools", "readings"]

HEAD: Final = "0003"
"""The revision this code is written for: that of the newest file in ``migrations/versions``.

Said here as well, so that opening a database that is up to date need not import Alembic.
"""

VERSION_TABLE: Final = "alembic_version"

metadata = MetaData()

# JSON rather than JSONB: a traceback may hold \\u0000, which only the former keeps.
_JSON = JSON(none_as_null=True)

pools = Table(
    "pools",
    metadata,
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("options", _JSON, nullable=False),
    Column("created_at", Double, nullable=False),
    PrimaryKeyConstraint("name", name="pk_pools"),
)

# `pool` is no foreign key: the record of what ran outlives the attachment of where it ran.
jobs = Table(
    "jobs",
    metadata,
    Column("id", Text, nullable=False),
    Column("pool", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("desired", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("spec", _JSON, nullable=False),
    Column("handle", _JSON),
    Column("seen", _JSON),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("placement", _JSON, nullable=False, server_default=text("'[]'")),
    Column("submitter", _JSON),
    PrimaryKeyConstraint("id", name="pk_jobs"),
    Index("ix_jobs_created_at", "created_at"),
    Index("ix_jobs_pool_state", "pool", "state"),
)

# A GPU's UUID is its own in the whole world: two pools on one machine cannot lease it twice.
# `job` is no foreign key: of a job that was given up it may not be known yet that it is gone.
leases = Table(
    "leases",
    metadata,
    Column("gpu", Text, nullable=False),
    Column("job", Text, nullable=False),
    Column("pool", Text, nullable=False),
    Column("node", Text, nullable=False),
    Column("shared", Boolean, nullable=False),
    Column("since", Double, nullable=False),
    PrimaryKeyConstraint("gpu", "job", name="pk_leases"),
    Index("ix_leases_job", "job"),
    Index(
        "ux_leases_exclusive",
        "gpu",
        unique=True,
        sqlite_where=text("NOT shared"),
        postgresql_where=text("NOT shared"),
    ),
)

# An id is never used twice, not even after the newest event was deleted: watchers remember ids.
events = Table(
    "events",
    metadata,
    Column(
        "id",
        BigInteger().with_variant(Integer, "sqlite"),
        nullable=False,
        autoincrement=True,
    ),
    Column("at", Double, nullable=False),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", _JSON, nullable=False),
    PrimaryKeyConstraint("id", name="pk_events"),
    Index("ix_events_subject_id", "subject", "id"),
    sqlite_autoincrement=True,
)

# A row is many buckets of all GPUs of a node (``telemetry/packing.py``): a row a bucket would be
# ten times as large. `pool` is no foreign key: it may be attached again.
readings = Table(
    "readings",
    metadata,
    Column("pool", Text, nullable=False),
    Column("node", Text, nullable=False),
    Column("resolution", Integer, nullable=False),
    Column("start", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
    PrimaryKeyConstraint("pool", "node", "resolution", "start", name="pk_readings"),
    Index("ix_readings_resolution_start", "resolution", "start"),
)
