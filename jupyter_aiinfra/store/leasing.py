"""The verbs on the queue and on leases of GPUs. Each is one short transaction.

Writers are alone in the database, so that looking and leasing in one transaction cannot be
overtaken; an index refuses a second exclusive lease of a GPU all the same.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, delete, insert, select

from jupyter_aiinfra.model import (
    Desired,
    JobState,
    Lease,
    Observation,
    Placement,
    Submitter,
    to_wire,
)
from jupyter_aiinfra.store.charging import allocate, deallocate
from jupyter_aiinfra.store.database import Database
from jupyter_aiinfra.store.rows import add_state_event, change, job_row, read_record
from jupyter_aiinfra.store.schema import jobs, leases

__all__ = ["LeaseRecords", "hold", "let_go"]

_FINAL: Final = tuple(state.value for state in JobState if state.final)


class LeaseRecords:
    """What is known of leases and of jobs that wait for them; a part of the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def leases(self, *, pool: str | None = None) -> Sequence[Lease]:
        """Return the leases of one pool, or of all: pools on one machine share its GPUs."""
        query = select(leases).order_by(leases.c.since, leases.c.gpu, leases.c.job)
        if pool is not None:
            query = query.where(leases.c.pool == pool)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [read_record(row, Lease, f"the lease of {row.gpu}") for row in rows]

    def claim(
        self,
        job_id: str,
        *,
        expected: int,
        placement: Sequence[Placement],
        shared: bool,
        submitter: Submitter,
    ) -> bool:
        """Take a queued job out of the queue, with leases of the GPUs it is placed on.

        Only at version `expected`, while it is wanted, and while all of the GPUs may be leased;
        then it is pending, and its submitter's to start.
        """
        values = {
            "state": JobState.PENDING.value,
            "placement": to_wire(tuple(placement)),
            "submitter": to_wire(submitter),
            "seen": None,  # what it waited for
        }
        with self._database.write() as connection:
            row = job_row(connection, job_id)
            waits = row.state == JobState.QUEUED.value and row.desired == Desired.RUN.value
            if row.version != expected or not waits:
                return False
            pool = connection.scalars(select(jobs.c.pool).where(jobs.c.id == job_id)).one()
            if not hold(connection, pool, job_id, placement, shared=shared):
                return False
            allocate(connection, pool, job_id, placement, at=time.time())
            change(connection, row, values)
            add_state_event(connection, row, JobState.PENDING, None)
            return True

    def end_queued(self, job_id: str, *, state: JobState, reason: str) -> bool:
        """Note the end of a job that was waiting in the queue still: nothing of it has run."""
        now = time.time()
        seen = Observation(state=state, seen_at=now, ended_at=now, reason=reason)
        values = {"state": state.value, "seen": to_wire(seen), "ended_at": now}
        with self._database.write() as connection:
            row = job_row(connection, job_id)
            if row.state != JobState.QUEUED.value:
                return False
            change(connection, row, values)
            add_state_event(connection, row, state, reason)
            return True

    def release(self, job_id: str) -> bool:
        """Let go of the GPUs of a job whose record has ended, or is gone.

        For who has looked, and found nothing of the job where it may have run.
        """
        with self._database.write() as connection:
            states = connection.scalars(select(jobs.c.state).where(jobs.c.id == job_id)).all()
            if any(state not in _FINAL for state in states):
                return False
            return let_go(connection, job_id)


def hold(
    connection: Connection, pool: str, job_id: str, placement: Sequence[Placement], *, shared: bool
) -> bool:
    """Lease every GPU of `placement` to the job; none where one of them is held against it."""
    wanted = {gpu: place.node for place in placement for gpu in place.gpus}
    if not wanted:
        return True
    others = select(leases.c.gpu).where(leases.c.gpu.in_(wanted), leases.c.job != job_id)
    if shared:  # with those who share as well
        others = others.where(~leases.c.shared)
    if connection.execute(others.limit(1)).first() is not None:
        return False
    since = time.time()
    rows = [
        {"gpu": gpu, "job": job_id, "pool": pool, "node": node, "shared": shared, "since": since}
        for gpu, node in wanted.items()
    ]
    connection.execute(insert(leases), rows)
    return True


def let_go(
    connection: Connection,
    job_id: str,
    *,
    at: float | None = None,
    lasted: float | None = None,
) -> bool:
    """End the leases of a job; whether it had any.

    It has had what it was given up to `at`, and ran for `lasted` seconds.
    """
    deallocate(connection, job_id, at=at, lasted=lasted)
    return connection.execute(delete(leases).where(leases.c.job == job_id)).rowcount > 0
