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

__all__ = [
    "HEAD",
    "VERSION_TABLE",
    "allocations",
    "budgets",
    "capacity",
    "catalog",
    "charged_jobs",
    "decisions",
    "endpoint_keys",
    "endpoint_replicas",
    "endpoint_versions",
    "endpoints",
    "events",
    "idle_rules",
    "jobs",
    "leases",
    "metadata",
    "meters",
    "notifications",
    "pools",
    "prices",
    "readings",
    "routers",
    "schedule_runs",
    "schedule_versions",
    "schedules",
    "usage",
    "usage_days",
]

HEAD: Final = "0008"
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
    Column("notice", _JSON),
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

# --- cost: since and until in whole microseconds, start and day in seconds, since the epoch -------

# What a pool costs from a moment on; the newest row holds. `rate` is an exact decimal number, in
# text, for an hour of `unit`; without one the price is not known.
prices = Table(
    "prices",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), nullable=False, autoincrement=True),
    Column("pool", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("rate", Text),
    Column("currency", Text),
    Column("unit", Text),
    Column("terms", _JSON, nullable=False),
    PrimaryKeyConstraint("id", name="pk_prices"),
    Index("ix_prices_pool_since", "pool", "since"),
    sqlite_autoincrement=True,
)

# Prices that somebody has imported: rows of `cost/catalog.py`, by where they came from.
catalog = Table(
    "catalog",
    metadata,
    Column("provider", Text, nullable=False),
    Column("sku", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("spot", Boolean, nullable=False),
    Column("row", _JSON, nullable=False),
    PrimaryKeyConstraint("provider", "sku", "region", "spot", name="pk_catalog"),
)

# Which slots (GPUs by UUID; "" is a node without any) a pool has had, and when.
capacity = Table(
    "capacity",
    metadata,
    Column("pool", Text, nullable=False),
    Column("node", Text, nullable=False),
    Column("slot", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("until", BigInteger),
    Column("model", Text, nullable=False),
    PrimaryKeyConstraint("pool", "node", "slot", "since", name="pk_capacity"),
)

# Which slots a job was given, and when; it outlives leases and the record of the job.
allocations = Table(
    "allocations",
    metadata,
    Column("job", Text, nullable=False),
    Column("node", Text, nullable=False),
    Column("slot", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("until", BigInteger),
    Column("pool", Text, nullable=False),
    PrimaryKeyConstraint("job", "node", "slot", "since", name="pk_allocations"),
    Index("ix_allocations_pool_until", "pool", "until"),
    Index("ix_allocations_slot", "pool", "node", "slot"),
)

# Who pays for a job: it outlives the record of the job.
charged_jobs = Table(
    "charged_jobs",
    metadata,
    Column("job", Text, nullable=False),
    Column("pool", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("notebook", Text),
    Column("user", Text),
    Column("project", Text),
    Column("team", Text),
    Column("cost_centre", Text),
    Column("tags", _JSON, nullable=False),
    PrimaryKeyConstraint("job", name="pk_charged_jobs"),
)

# A row is what one job (or nobody: "") had of a node in an hour, in microseconds. It is computed of
# the facts above, and again when they turn out to have been others.
usage = Table(
    "usage",
    metadata,
    Column("start", BigInteger, nullable=False),
    Column("pool", Text, nullable=False),
    Column("node", Text, nullable=False),
    Column("job", Text, nullable=False),
    Column("price", BigInteger, nullable=False),
    Column("parts", Integer, nullable=False),
    Column("allocated", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=False),
    Column("idle", BigInteger, nullable=False),
    PrimaryKeyConstraint("start", "pool", "node", "job", "price", "parts", name="pk_usage"),
    Index("ix_usage_job", "job"),
    sqlite_with_rowid=False,
)

# The same by day (UTC) and without the nodes: what a month is added up of.
usage_days = Table(
    "usage_days",
    metadata,
    Column("day", BigInteger, nullable=False),
    Column("pool", Text, nullable=False),
    Column("job", Text, nullable=False),
    Column("price", BigInteger, nullable=False),
    Column("parts", Integer, nullable=False),
    Column("allocated", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=False),
    Column("idle", BigInteger, nullable=False),
    PrimaryKeyConstraint("day", "pool", "job", "price", "parts", name="pk_usage_days"),
    sqlite_with_rowid=False,
)

# Up to which hour a pool's usage is settled, and from which on it is to be computed again. The
# version grows with each fact and each settlement, and guards compare-and-set.
meters = Table(
    "meters",
    metadata,
    Column("pool", Text, nullable=False),
    Column("settled", BigInteger, nullable=False),
    Column("dirty", BigInteger),
    Column("version", BigInteger, nullable=False),
    Column("looked_at", Double, nullable=False),
    PrimaryKeyConstraint("pool", name="pk_meters"),
)

# --- governance: in seconds ---------------------------------------------------------------------

# One budget a scope, subject and period. `amount` is exact, in text.
budgets = Table(
    "budgets",
    metadata,
    Column("id", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("period", Text, nullable=False),
    Column("amount", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("warn_share", Double, nullable=False),
    Column("grace_seconds", Double),
    Column("ask_seconds", Double, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("created_by", Text),
    Column("snoozed_until", Double),
    Column("snoozed_by", Text),
    PrimaryKeyConstraint("id", name="pk_budgets"),
    Index("ux_budgets_scope", "scope", "subject", "period", unique=True),
)

# Who writes the row acts: what is decided is decided once. `job` is no foreign key: what was
# decided of a job outlives its record.
decisions = Table(
    "decisions",
    metadata,
    Column("key", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("job", Text),
    Column("until", Double),
    Column("grace_seconds", Double),
    PrimaryKeyConstraint("key", name="pk_decisions"),
    Index("ix_decisions_by_at", "by", "at"),
    Index("ix_decisions_job", "job"),
)

# What is done about jobs of a pool that do not use their GPUs.
idle_rules = Table(
    "idle_rules",
    metadata,
    Column("pool", Text, nullable=False),
    Column("stop_seconds", Double),
    Column("warn_seconds", Double),
    Column("watch", Boolean, nullable=False),
    PrimaryKeyConstraint("pool", name="pk_idle_rules"),
)

# --- schedules -----------------------------------------------------------------------------------

# `next_due` is when somebody has to look at it next, by the clock; `upstream` is the schedule whose
# runs it follows. A name is free again once its schedule is removed, which can be undone.
schedules = Table(
    "schedules",
    metadata,
    Column("id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("paused_at", Double),
    Column("paused_by", Text),
    Column("pause_reason", Text, nullable=False),
    Column("removed_at", Double),
    Column("next_due", Double),
    Column("decided", Double, nullable=False),
    Column("upstream", Text),
    Column("watched", Text),
    Column("seen", Text),
    Column("revision", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("created_by", Text),
    PrimaryKeyConstraint("id", name="pk_schedules"),
    Index("ix_schedules_next_due", "next_due"),
    Index("ix_schedules_decided", "decided"),
    Index("ix_schedules_upstream", "upstream"),
    Index(
        "ux_schedules_name",
        "name",
        unique=True,
        sqlite_where=text("removed_at IS NULL"),
        postgresql_where=text("removed_at IS NULL"),
    ),
)

# Rows are never changed: what ran can be told for as long as the schedule is on record.
schedule_versions = Table(
    "schedule_versions",
    metadata,
    Column("schedule", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("notebook", Text, nullable=False),
    Column("pool", Text, nullable=False),
    Column("timezone", Text, nullable=False),
    Column("triggers", _JSON, nullable=False),
    Column("policy", _JSON, nullable=False),
    Column("parameters", _JSON, nullable=False),
    Column("form", _JSON, nullable=False),
    Column("options", _JSON, nullable=False),
    Column("snapshot", _JSON, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("created_by", Text),
    Column("note", Text, nullable=False),
    PrimaryKeyConstraint("schedule", "number", name="pk_schedule_versions"),
)

# Who writes the row of a key runs it: each slot once. `job` is no foreign key: a job may be removed
# before its run, and its id is chosen before there is one.
schedule_runs = Table(
    "schedule_runs",
    metadata,
    Column("id", Text, nullable=False),
    Column("schedule", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("key", Text, nullable=False),
    Column("trigger", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("slot", Double),
    Column("reason", Text),
    Column("created_at", Double, nullable=False),
    Column("start_at", Double, nullable=False),
    Column("started_at", Double),
    Column("ended_at", Double),
    Column("attempt", Integer, nullable=False),
    Column("job", Text),
    Column("jobs", _JSON, nullable=False),
    Column("parameters", _JSON),
    Column("outputs", _JSON, nullable=False),
    Column("claim", _JSON),
    Column("stop", Boolean, nullable=False),
    Column("slots", Integer, nullable=False),
    Column("last_slot", Double),
    Column("revision", Integer, nullable=False),
    PrimaryKeyConstraint("id", name="pk_schedule_runs"),
    Index("ux_schedule_runs_key", "schedule", "key", unique=True),
    Index("ix_schedule_runs_created_at", "created_at"),
    Index("ix_schedule_runs_schedule", "schedule", "created_at"),
    Index("ix_schedule_runs_state", "state", "start_at"),
    Index("ix_schedule_runs_job", "job"),
)

# Who changes `tries` says it. Nothing is said any more where `due_at` is not set.
notifications = Table(
    "notifications",
    metadata,
    Column("key", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", _JSON, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("due_at", Double),
    Column("tries", Integer, nullable=False),
    Column("sent_at", Double),
    Column("problem", Text),
    PrimaryKeyConstraint("key", name="pk_notifications"),
    Index("ix_notifications_due_at", "due_at"),
    Index("ix_notifications_created_at", "created_at"),
)

# --- endpoints -----------------------------------------------------------------------------------

# `revision` grows with each change of an endpoint, also of its versions, replicas and keys: who
# decides on what was read writes only if it still is so. A name is free again once it is removed.
endpoints = Table(
    "endpoints",
    metadata,
    Column("id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("router", Text, nullable=False),
    Column("newest", Integer, nullable=False),
    Column("options", _JSON, nullable=False),
    Column("scaling", _JSON, nullable=False),
    Column("traffic", _JSON, nullable=False),
    Column("shadow", Integer),
    Column("rollout", _JSON),
    Column("removed_at", Double),
    Column("revision", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("created_by", Text),
    PrimaryKeyConstraint("id", name="pk_endpoints"),
    Index(
        "ux_endpoints_name",
        "name",
        unique=True,
        sqlite_where=text("removed_at IS NULL"),
        postgresql_where=text("removed_at IS NULL"),
    ),
)

endpoint_versions = Table(
    "endpoint_versions",
    metadata,
    Column("endpoint", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("package", _JSON, nullable=False),
    Column("pool", Text, nullable=False),
    Column("options", _JSON, nullable=False),
    Column("wanted", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("retire_at", Double),
    Column("failures", Integer, nullable=False),
    Column("failed_at", Double),
    Column("created_at", Double, nullable=False),
    Column("created_by", Text),
    Column("note", Text, nullable=False),
    PrimaryKeyConstraint("endpoint", "number", name="pk_endpoint_versions"),
)

# The id is that of the replica's job, and is chosen before there is one.
endpoint_replicas = Table(
    "endpoint_replicas",
    metadata,
    Column("id", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("reach", _JSON),
    Column("claim", _JSON),
    Column("created_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("leaving_at", Double),
    PrimaryKeyConstraint("id", name="pk_endpoint_replicas"),
    Index("ix_endpoint_replicas_endpoint", "endpoint", "state"),
)

endpoint_keys = Table(
    "endpoint_keys",
    metadata,
    Column("id", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("scopes", _JSON, nullable=False),
    Column("per_second", Double),
    Column("created_at", Double, nullable=False),
    Column("created_by", Text),
    Column("ends_at", Double),
    PrimaryKeyConstraint("id", name="pk_endpoint_keys"),
    Index("ix_endpoint_keys_endpoint", "endpoint"),
)

# One a home and machine: `key` says which. The id of its job is chosen before there is one.
routers = Table(
    "routers",
    metadata,
    Column("key", Text, nullable=False),
    Column("job", Text, nullable=False),
    Column("pool", Text, nullable=False),
    Column("claim", _JSON),
    Column("revision", Integer, nullable=False),
    PrimaryKeyConstraint("key", name="pk_routers"),
)
