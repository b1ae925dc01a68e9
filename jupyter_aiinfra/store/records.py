"""The verbs on pools, jobs and events. Each is one short transaction."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import (
    Column,
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
    update,
)

from jupyter_aiinfra.errors import (
    Conflict,
    JobNotFound,
    PoolExists,
    PoolNotFound,
    StoreError,
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
    from_wire,
    to_wire,
)
from jupyter_aiinfra.store.database import Database
from jupyter_aiinfra.store.schema import events, jobs, pools

__all__ = ["Store"]

T = TypeVar("T")

_FINAL: Final = tuple(state.value for state in JobState if state.final)
_ORDER: Final = {JobState.PENDING: 0, JobState.STARTING: 1, JobState.RUNNING: 2}
_CANDIDATES_SHOWN: Final = 5
_PLAIN: Final = re.compile(r"[ !#-\[\]-~]+")  # ASCII that is itself in JSON
# What decides whether a job may change; the spec, which may be long, does not.
_GUARDED: Final[tuple[Column[Any], ...]] = tuple(
    jobs.c[name] for name in ("id", "state", "desired", "version", "handle")
)


class Store:
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
            _add_event(connection, "pool.added", record.name, {"kind": record.kind})

    def get_pool(self, name: str) -> PoolRecord:
        """Return the pool of that name, or raise PoolNotFound, which knows the others."""
        with self._database.read() as connection:
            row = _pool_row(connection, name)
            if row is None:
                raise PoolNotFound(name, _pool_names(connection))
        return _record(row, PoolRecord, f"pool {name!r}")

    def list_pools(self) -> Sequence[PoolRecord]:
        """Return all pools, by name."""
        with self._database.read() as connection:
            rows = connection.execute(select(pools).order_by(pools.c.name)).all()
        return [_record(row, PoolRecord, f"pool {row.name!r}") for row in rows]

    def remove_pool(self, name: str) -> None:
        """Detach a pool, or raise PoolNotFound; the jobs on it stay on record, over or not."""
        with self._database.write() as connection:
            if _pool_row(connection, name) is None:
                raise PoolNotFound(name, _pool_names(connection))
            connection.execute(delete(pools).where(pools.c.name == name))
            _add_event(connection, "pool.removed", name, {})

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
        values = {
            **to_wire(job),
            "name": job.spec.name,
            "kind": job.spec.kind.value,
            "ended_at": _ended_at(job.seen),
        }
        with self._database.write() as connection:
            if _pool_row(connection, job.pool) is None:
                raise PoolNotFound(job.pool, _pool_names(connection))
            if connection.execute(select(jobs.c.id).where(jobs.c.id == job.id)).first():
                raise Conflict(f"there is a job {job.id!r} already", hint="each job needs a new id")
            connection.execute(insert(jobs).values(values))
            detail = {"pool": job.pool, "name": job.spec.name, "state": job.state.value}
            _add_event(connection, "job.added", job.id, detail)

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
        return _record(row, Job, f"job {row.id!r}")

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
        return [_record(row, Job, f"job {row.id!r}") for row in rows]

    def count_active(self) -> Mapping[str, int]:
        """Return how many jobs are not over, by pool; a pool without any is left out."""
        query = select(jobs.c.pool, func.count()).where(jobs.c.state.not_in(_FINAL))
        with self._database.read() as connection:
            return {str(pool): n for pool, n in connection.execute(query.group_by(jobs.c.pool))}

    def bind(self, job_id: str, *, handle: Handle) -> bool:
        """Note that the pool has accepted the job: a pending one without a handle is starting."""
        values = {"handle": to_wire(handle), "state": JobState.STARTING.value}
        with self._database.write() as connection:
            row = _job_row(connection, job_id)
            if row.state != JobState.PENDING.value or row.handle is not None:
                return False
            _change(connection, row, values)
            _add_state_event(connection, row, JobState.STARTING, None)
            return True

    def advance(self, job_id: str, *, expected: int, seen: Observation) -> bool:
        """Note what was seen of the job, if it is still at version `expected`.

        A job goes forward only, and not at all once it is over: the record keeps the first end.
        An event is added only when the state is another.
        """
        values = {"state": seen.state.value, "seen": to_wire(seen), "ended_at": _ended_at(seen)}
        with self._database.write() as connection:
            row = _job_row(connection, job_id)
            if row.version != expected or not _may_follow(JobState(row.state), seen.state):
                return False
            _change(connection, row, values)
            if row.state != seen.state.value:
                _add_state_event(connection, row, seen.state, seen.reason)
            return True

    def request(self, job_id: str, *, expected: int, desired: Desired) -> bool:
        """Note what is wanted of the job, if it is still at version `expected` and not over."""
        with self._database.write() as connection:
            row = _job_row(connection, job_id)
            if row.version != expected or JobState(row.state).final:
                return False
            _change(connection, row, {"desired": desired.value})
            _add_event(connection, "job.desired", job_id, {"from": row.desired, "to": desired})
            return True

    def fail_pending(self, job_id: str, *, reason: str) -> bool:
        """Note that a job no pool has accepted never will be: pending without handle, it failed."""
        now = time.time()
        seen = Observation(state=JobState.FAILED, seen_at=now, ended_at=now, reason=reason)
        values = {"state": seen.state.value, "seen": to_wire(seen), "ended_at": now}
        with self._database.write() as connection:
            row = _job_row(connection, job_id)
            if row.state != JobState.PENDING.value or row.handle is not None:
                return False
            _change(connection, row, values)
            _add_state_event(connection, row, seen.state, reason)
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
            row = _job_row(connection, job_id)
            if not JobState(row.state).final:
                raise Conflict(
                    f"job {job_id} is {row.state}, not over",
                    hint=f"wait for it, or stop it with %jobs cancel {job_id}",
                )
            connection.execute(delete(jobs).where(jobs.c.id == job_id))
            _add_event(connection, "job.removed", job_id, {"state": row.state})

    # --- events --------------------------------------------------------------------------------

    def add_event(self, kind: str, subject: str, detail: Mapping[str, Any] | None = None) -> int:
        """Add an entry to the timeline of `subject`, a job's id or a pool's name; return its id."""
        with self._database.write() as connection:
            return _add_event(connection, kind, subject, detail or {})

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
        return [_record(row, Event, f"event {row.id}") for row in rows]

    def version(self) -> int:
        """Return the greatest id of an event, 0 when there is none: cheap, for watchers."""
        with self._database.read() as connection:
            return int(connection.scalar(select(func.max(events.c.id))) or 0)


def _may_follow(now: JobState, then: JobState) -> bool:
    return not now.final and (then.final or _ORDER[then] >= _ORDER[now])


def _ended_at(seen: Observation | None) -> float | None:
    if seen is None or not seen.state.final:
        return None
    return seen.seen_at if seen.ended_at is None else seen.ended_at


def _pool_row(connection: Connection, name: str) -> Row[Any] | None:
    return connection.execute(select(pools).where(pools.c.name == name)).first()


def _pool_names(connection: Connection) -> Sequence[str]:
    return connection.scalars(select(pools.c.name).order_by(pools.c.name)).all()


def _job_row(connection: Connection, job_id: str) -> Row[Any]:
    row = connection.execute(select(*_GUARDED).where(jobs.c.id == job_id)).first()
    if row is None:
        raise JobNotFound(job_id)
    return row


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


def _change(connection: Connection, row: Row[Any], values: Mapping[str, Any]) -> None:
    change = update(jobs).where(jobs.c.id == row.id, jobs.c.version == row.version)
    stamped = {**values, "version": row.version + 1, "updated_at": time.time()}
    changed = connection.execute(change.values(stamped)).rowcount
    if changed != 1:  # writers are alone, so only who goes around this class can bring this about
        raise StoreError(
            f"job {row.id} was changed by another program in the middle of a transaction",
            hint="only jupyter-aiinfra may write to its database",
        )


def _add_state_event(
    connection: Connection, row: Row[Any], state: JobState, reason: str | None
) -> None:
    detail = {"from": row.state, "to": state.value}
    if reason is not None:
        detail["reason"] = reason
    _add_event(connection, "job.state", row.id, detail)


def _add_event(connection: Connection, kind: str, subject: str, detail: Mapping[str, Any]) -> int:
    values = {"at": time.time(), "kind": kind, "subject": subject, "detail": to_wire(detail)}
    added = connection.execute(insert(events).values(values)).inserted_primary_key
    assert added is not None  # noqa: S101 - of a single-row insert it never is
    return int(added[0])


def _record(row: Row[Any], kind: type[T], what: str) -> T:
    # A name of a column may be a subclass of str, which msgspec takes for something else.
    data = {str(name): value for name, value in row._asdict().items()}
    try:
        return from_wire(data, kind)
    except msgspec.ValidationError as error:
        raise StoreError(
            f"the record of {what} cannot be read: {error}",
            hint="another version of this package may have written it: upgrade jupyter_aiinfra",
        ) from error


def _some(ids: Sequence[str]) -> str:
    more = len(ids) - _CANDIDATES_SHOWN
    return ", ".join(ids[:_CANDIDATES_SHOWN]) + (f" and {more} more" if more > 0 else "")
