"""The verbs on pools, jobs and events. Each is one short transaction."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Text,
    cast,
    delete,
    func,
    insert,
    or_,
    select,
    tuple_,
)

from jupyter_aiinfra.errors import (
    Conflict,
    JobNotFound,
    PoolExists,
    PoolNotFound,
    UsageError,
)
from jupyter_aiinfra.model import (
    Desired,
    Event,
    Handle,
    Job,
    JobState,
    Observation,
    PoolRecord,
    to_wire,
)
from jupyter_aiinfra.store.charging import charge, end_capacity
from jupyter_aiinfra.store.database import Database
from jupyter_aiinfra.store.endpoints import EndpointRecords
from jupyter_aiinfra.store.governing import (
    GovernanceRecords,
    add_budget,
    budget_of,
    forget_budget_of,
)
from jupyter_aiinfra.store.leasing import LeaseRecords, hold, let_go
from jupyter_aiinfra.store.meters import touch
from jupyter_aiinfra.store.notices import NotificationRecords
from jupyter_aiinfra.store.readings import ReadingRecords
from jupyter_aiinfra.store.rows import (
    add_event,
    add_state_event,
    change,
    job_row,
    read_record,
)
from jupyter_aiinfra.store.runs import RunRecords
from jupyter_aiinfra.store.schedules import ScheduleRecords
from jupyter_aiinfra.store.schema import events, jobs, pools
from jupyter_aiinfra.store.usage import UsageRecords

__all__ = ["Store"]

_FINAL: Final = tuple(state.value for state in JobState if state.final)
_ORDER: Final = {
    state: number
    for number, state in enumerate(
        (JobState.QUEUED, JobState.PENDING, JobState.STARTING, JobState.RUNNING)
    )
}
_CANDIDATES_SHOWN: Final = 5
_PLAIN: Final = re.compile(r"[ !#-\[\]-~]+")  # ASCII that is itself in JSON


class Store(
    LeaseRecords,
    ReadingRecords,
    UsageRecords,
    GovernanceRecords,
    ScheduleRecords,
    RunRecords,
    NotificationRecords,
    EndpointRecords,
):
    """What is known of pools and jobs, shared by every process that opens the same database.

    May be used from any thread and on both sides of a fork. Nothing is cached: each call sees
    what others have committed. Any call may raise StoreError or StorageFull, and has then changed
    nothing.

    A verb that returns ``bool`` is a compare-and-set: true when this call made the change, false
    when the record had moved on (read it again). Ids of jobs are full ids, but for
    :meth:`get_job`. Each change of a pool, or of a job's state or desire, adds an event in the
    same transaction: ``pool.added``, ``pool.removed``, ``job.added``, ``job.state``,
    ``job.desired``, ``job.removed``.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def url_shown(self) -> str:
        """Where the store is, fit to be shown: without a password."""
        return self._database.shown

    def close(self) -> None:
        """Let go of connections. Idempotent; a later call connects again."""
        self._database.close()

    # --- pools ---------------------------------------------------------------------------------

    def add_pool(self, record: PoolRecord) -> None:
        """Attach a pool; PoolExists when the name is taken."""
        values = to_wire(record)
        with self._database.write() as connection:
            if _pool_row(connection, record.name) is not None:
                raise PoolExists(
                    f"a pool named {record.name!r} is attached already",
                    hint=f"look at it with %pool show {record.name}, or choose another name",
                )
            connection.execute(insert(pools).values(values))
            touch(connection, record.name, round(time.time() * 1_000_000))
            add_event(connection, "pool.added", record.name, {"kind": record.kind})

    def get_pool(self, name: str) -> PoolRecord:
        """Return the pool of that name, or raise PoolNotFound, which knows the others."""
        with self._database.read() as connection:
            row = _pool_row(connection, name)
            if row is None:
                raise PoolNotFound(name, _pool_names(connection))
        return read_record(row, PoolRecord, f"pool {name!r}")

    def list_pools(self) -> Sequence[PoolRecord]:
        """Return all pools, by name."""
        with self._database.read() as connection:
            rows = connection.execute(select(pools).order_by(pools.c.name)).all()
        return [read_record(row, PoolRecord, f"pool {row.name!r}") for row in rows]

    def remove_pool(self, name: str) -> None:
        """Detach a pool, or raise PoolNotFound; the jobs on it stay on record, over or not."""
        with self._database.write() as connection:
            if _pool_row(connection, name) is None:
                raise PoolNotFound(name, _pool_names(connection))
            connection.execute(delete(pools).where(pools.c.name == name))
            end_capacity(connection, name)
            add_event(connection, "pool.removed", name, {})

    # --- jobs ----------------------------------------------------------------------------------

    def add_job(self, job: Job) -> None:
        """Record a job as given.

        Raises
        ------
        PoolNotFound
            Its pool is not attached (any more).
        Conflict
            The id is taken.
        """
        with self._database.write() as connection:
            _insert_job(connection, job)

    def add_placed(self, job: Job) -> bool:
        """Record a job as given, and lease it the GPUs of its placement: both, or nothing.

        Raises what :meth:`add_job` does.
        """
        with self._database.write() as connection:
            if not hold(connection, job.pool, job.id, job.placement, shared=job.spec.share):
                return False
            _insert_job(connection, job)
            return True

    def get_job(self, job_id: str) -> Job:
        """Return the job of that id, or the only one whose id begins like that.

        Raises
        ------
        JobNotFound
            No id begins like that.
        UsageError
            Several do; the message names them.
        """
        begins = func.substr(jobs.c.id, 1, len(job_id)) == job_id
        newest = (jobs.c.created_at.desc(), jobs.c.id.desc())
        with self._database.read() as connection:
            row = connection.execute(select(jobs).where(jobs.c.id == job_id)).first()
            if row is None and job_id:
                found = connection.scalars(select(jobs.c.id).where(begins).order_by(*newest)).all()
                if len(found) > 1:
                    raise UsageError(
                        f"{job_id!r} is the beginning of {len(found)} jobs: {_some(found)}",
                        hint="give more of the id",
                    )
                row = connection.execute(select(jobs).where(jobs.c.id.in_(found))).first()
        if row is None:
            raise JobNotFound(job_id)
        return read_record(row, Job, f"job {row.id!r}")

    def jobs_by_id(self, ids: Collection[str]) -> Sequence[Job]:
        """Return the jobs of exactly these ids, newest first; one that is not there is left out."""
        query = select(jobs).where(jobs.c.id.in_(list(ids))).order_by(jobs.c.created_at.desc())
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [read_record(row, Job, f"job {row.id!r}") for row in rows]

    def list_jobs(
        self,
        *,
        pool: str | None = None,
        active: bool = False,
        limit: int | None = None,
        states: Collection[JobState] | None = None,
        before: str | None = None,
        hint: str | None = None,
    ) -> Sequence[Job]:
        """Return jobs, newest first: of one pool, only those not over, at most so many.

        Of these, only those in one of `states`, and only those that come after the job `before`:
        its full id is enough, also when it has been removed since. With `hint`, jobs may be left
        out that have this text nowhere, in either case; whether others have it is not said.
        """
        query = select(jobs).order_by(jobs.c.created_at.desc(), jobs.c.id.desc()).limit(limit)
        if pool is not None:
            query = query.where(jobs.c.pool == pool)
        if active:
            query = query.where(jobs.c.state.not_in(_FINAL))
        if states is not None:
            query = query.where(jobs.c.state.in_([state.value for state in states]))
        if hint is not None and _PLAIN.fullmatch(hint):
            query = query.where(_may_hold(hint.lower()))
        with self._database.read() as connection:
            if before is not None:
                query = query.where(_older(connection, before))
            rows = connection.execute(query).all()
        return [read_record(row, Job, f"job {row.id!r}") for row in rows]

    def count_active(self) -> Mapping[str, int]:
        """Return how many jobs are not over, by pool; a pool without any is left out."""
        query = select(jobs.c.pool, func.count()).where(jobs.c.state.not_in(_FINAL))
        with self._database.read() as connection:
            return {str(pool): n for pool, n in connection.execute(query.group_by(jobs.c.pool))}

    def bind(self, job_id: str, *, handle: Handle) -> bool:
        """Note that the pool has accepted the job: a pending one without a handle is starting."""
        values = {"handle": to_wire(handle), "state": JobState.STARTING.value}
        with self._database.write() as connection:
            row = job_row(connection, job_id)
            if row.state != JobState.PENDING.value or row.handle is not None:
                return False
            change(connection, row, values)
            add_state_event(connection, row, JobState.STARTING, None)
            return True

    def advance(self, job_id: str, *, expected: int, seen: Observation) -> bool:
        """Note what was seen of the job, if it is still at version `expected`.

        A job goes forward only, and not at all once it is over: the record keeps the first end.
        An event is added when the state is another, and one for each attempt that is new. With the
        end, its GPUs are let go.
        """
        values = {"state": seen.state.value, "seen": to_wire(seen), "ended_at": _ended_at(seen)}
        with self._database.write() as connection:
            row = job_row(connection, job_id)
            if row.version != expected or not _may_follow(JobState(row.state), seen.state):
                return False
            change(connection, row, values)
            for restart in _new_restarts(connection, job_id, seen):
                add_event(connection, "job.restart", job_id, restart)
            if row.state != seen.state.value:
                add_state_event(connection, row, seen.state, seen.reason)
            if seen.state.final:
                let_go(connection, job_id, at=_left_at(seen), lasted=seen.lasted_seconds)
            return True

    def request(self, job_id: str, *, expected: int, desired: Desired) -> bool:
        """Note what is wanted of the job, if it is still at version `expected` and not over."""
        with self._database.write() as connection:
            row = job_row(connection, job_id)
            if row.version != expected or JobState(row.state).final:
                return False
            change(connection, row, {"desired": desired.value})
            add_event(connection, "job.desired", job_id, {"from": row.desired, "to": desired})
            return True

    def fail_pending(self, job_id: str, *, reason: str, keep_leases: bool = False) -> bool:
        """Note that a job no pool has accepted never will be: pending without handle, it failed.

        Where it may run all the same, because its pool went silent in the middle of taking it,
        its leases are kept, until :meth:`release` says that they need not be.
        """
        now = time.time()
        seen = Observation(state=JobState.FAILED, seen_at=now, ended_at=now, reason=reason)
        values = {"state": seen.state.value, "seen": to_wire(seen), "ended_at": now}
        with self._database.write() as connection:
            row = job_row(connection, job_id)
            if row.state != JobState.PENDING.value or row.handle is not None:
                return False
            change(connection, row, values)
            add_state_event(connection, row, seen.state, reason)
            if not keep_leases:
                let_go(connection, job_id)
            return True

    def remove_job(self, job_id: str) -> None:
        """Forget a job that is over; its events stay.

        Raises
        ------
        JobNotFound
            No such job.
        Conflict
            It is not over.
        """
        with self._database.write() as connection:
            row = job_row(connection, job_id)
            if not JobState(row.state).final:
                raise Conflict(
                    f"job {job_id} is {row.state}, not over",
                    hint=f"wait for it, or stop it with %jobs cancel {job_id}",
                )
            connection.execute(delete(jobs).where(jobs.c.id == job_id))
            forget_budget_of(connection, job_id)
            add_event(connection, "job.removed", job_id, {"state": row.state})

    # --- events --------------------------------------------------------------------------------

    def add_event(self, kind: str, subject: str, detail: Mapping[str, Any] | None = None) -> int:
        """Add an entry to the timeline of `subject`, a job's id or a pool's name; return its id."""
        with self._database.write() as connection:
            return add_event(connection, kind, subject, detail or {})

    def events(
        self, *, since: int = 0, subject: str | None = None, limit: int = 1000
    ) -> Sequence[Event]:
        """Return the events after id `since`, oldest first, at most `limit`.

        Who goes on from the greatest id returned misses none.
        """
        query = select(events).where(events.c.id > since).order_by(events.c.id).limit(limit)
        if subject is not None:
            query = query.where(events.c.subject == subject)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [read_record(row, Event, f"event {row.id}") for row in rows]

    def version(self) -> int:
        """Return the greatest id of an event, 0 when there is none: cheap, for watchers."""
        with self._database.read() as connection:
            return int(connection.scalar(select(func.max(events.c.id))) or 0)


def _insert_job(connection: Connection, job: Job) -> None:
    values = {
        **to_wire(job),
        "name": job.spec.name,
        "kind": job.spec.kind.value,
        "ended_at": _ended_at(job.seen),
    }
    if _pool_row(connection, job.pool) is None:
        raise PoolNotFound(job.pool, _pool_names(connection))
    if connection.execute(select(jobs.c.id).where(jobs.c.id == job.id)).first():
        raise Conflict(f"there is a job {job.id!r} already", hint="each job needs a new id")
    connection.execute(insert(jobs).values(values))
    charge(connection, job)
    budget = budget_of(job)
    if budget is not None:
        add_budget(connection, budget)
    detail = {"pool": job.pool, "name": job.spec.name, "state": job.state.value}
    add_event(connection, "job.added", job.id, detail)


def _may_follow(now: JobState, then: JobState) -> bool:
    return not now.final and (then.final or _ORDER[then] >= _ORDER[now])


def _new_restarts(
    connection: Connection, job_id: str, seen: Observation
) -> Iterator[Mapping[str, Any]]:
    """Yield the restarts that no event tells of yet.

    Not those that the last observation lacks: a node that was cut off for a while may have told of
    an earlier attempt in between.
    """
    if not seen.restarts:
        return
    query = select(events.c.detail).where(
        events.c.subject == job_id, events.c.kind == "job.restart"
    )
    told = {detail["attempt"] for (detail,) in connection.execute(query)}
    for restart in seen.restarts:
        if restart.attempt not in told:
            yield to_wire(restart)


def _ended_at(seen: Observation | None) -> float | None:
    if seen is None or not seen.state.final:
        return None
    return seen.seen_at if seen.ended_at is None else seen.ended_at


def _left_at(seen: Observation) -> float | None:
    """Return when a job that has ended let go of what it had, by our clock.

    The clock of its node may go differently; how long ago it was, the node can tell.
    """
    if seen.ended_ago_seconds is not None:
        return seen.seen_at - seen.ended_ago_seconds
    return _ended_at(seen)


def _pool_row(connection: Connection, name: str) -> Row[Any] | None:
    return connection.execute(select(pools).where(pools.c.name == name)).first()


def _pool_names(connection: Connection) -> Sequence[str]:
    return connection.scalars(select(pools.c.name).order_by(pools.c.name)).all()


def _may_hold(text: str) -> ColumnElement[bool]:
    """Return a condition that holds for every job that has `text` in it, and for some others."""
    spec = cast(jobs.c.spec, Text)
    columns = (jobs.c.id, jobs.c.pool, spec)
    holds = [func.lower(column).contains(text, autoescape=True) for column in columns]
    # Letters outside ASCII are escaped in JSON; some of them are ASCII in their other case.
    return or_(*holds, spec.contains("\\u", autoescape=True))


def _older(connection: Connection, job_id: str) -> ColumnElement[bool]:
    """Return the condition for jobs that come after `job_id`, newest first."""
    created_at = connection.scalar(select(jobs.c.created_at).where(jobs.c.id == job_id))
    if created_at is None:
        # It is gone; its id still tells the second that it was made in.
        return jobs.c.id < job_id
    return tuple_(jobs.c.created_at, jobs.c.id) < tuple_(created_at, job_id)


def _some(ids: Sequence[str]) -> str:
    more = len(ids) - _CANDIDATES_SHOWN
    return ", ".join(ids[:_CANDIDATES_SHOWN]) + (f" and {more} more" if more > 0 else "")
