"""The verbs on runs of schedules. Each is one short transaction.

A run is a row with a key that is once in a schedule: of all who come to a slot at once, and after
every restart, one writes it.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Connection, Row, and_, delete, func, insert, or_, select, update

from jupyter_aiinfra.errors import NotFound, UsageError
from jupyter_aiinfra.model import Submitter, to_wire
from jupyter_aiinfra.schedule import ACTIVE, Run, RunState, Schedule
from jupyter_aiinfra.store.database import Database
from jupyter_aiinfra.store.notices import tell_ends
from jupyter_aiinfra.store.rows import read_record
from jupyter_aiinfra.store.schema import events, schedule_runs

__all__ = ["Decided", "RunRecords", "active_of", "add_runs", "end_runs", "parts"]

_ACTIVE: Final = tuple(sorted(state.value for state in ACTIVE))
_SEVERAL: Final = 400  # parameters of one statement, far below what any database takes


@dataclass(frozen=True, kw_only=True)
class Decided:
    """What was decided at one look at a schedule, as it was then.

    Parameters
    ----------
    runs
        To be recorded, but for those whose key is taken.
    cancel
        Ids of runs to be ended.
    """

    schedule: Schedule
    decided: float
    next_due: float | None
    seen: str | None = None
    runs: tuple[Run, ...] = ()
    cancel: tuple[str, ...] = ()


class RunRecords:
    """What is known of the runs of schedules; a part of the store."""

    _database: Database

    def add_runs(self, runs: Sequence[Run]) -> Sequence[Run]:
        """Record runs, but for those whose key is taken; return those that were recorded."""
        with self._database.write() as connection:
            return add_runs(connection, runs)

    def get_run(self, run_id: str) -> Run:
        """Return the run of that id or beginning of one, or raise NotFound or UsageError."""
        begins = func.substr(schedule_runs.c.id, 1, len(run_id)) == run_id
        query = select(schedule_runs).where(begins).order_by(schedule_runs.c.id).limit(5)
        with self._database.read() as connection:
            rows = connection.execute(query).all() if run_id else []
        exact = [row for row in rows if row.id == run_id]
        if len(rows) > 1 and not exact:
            ids = ", ".join(row.id for row in rows)
            raise UsageError(f"{run_id!r} may be several runs: {ids}", hint="give more of the id")
        if not rows:
            raise NotFound(f"there is no run {run_id!r}", hint="schedule runs NAME lists them")
        return _run((exact or rows)[0])

    def runs_by_id(self, run_ids: Sequence[str]) -> Sequence[Run]:
        """Return the runs of exactly these ids, as far as they are there."""
        found: list[Run] = []
        with self._database.read() as connection:
            for some in parts(run_ids):
                query = select(schedule_runs).where(schedule_runs.c.id.in_(some))
                found += [_run(row) for row in connection.execute(query).all()]
        return found

    def run_of_job(self, job_id: str) -> Run | None:
        """Return the run that a job is the present attempt of."""
        query = select(schedule_runs).where(schedule_runs.c.job == job_id)
        with self._database.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else _run(row)

    def active_runs(self, *, states: Collection[RunState] = ACTIVE) -> Sequence[Run]:
        """Return the runs that are not over, those that may begin soonest first."""
        wanted = schedule_runs.c.state.in_([state.value for state in states])
        query = select(schedule_runs).where(wanted).order_by(schedule_runs.c.start_at)
        with self._database.read() as connection:
            return [_run(row) for row in connection.execute(query).all()]

    def runs(
        self,
        *,
        schedule: str | None = None,
        states: Collection[RunState] | None = None,
        since: float | None = None,
        text: str | None = None,
        before: str | None = None,
        limit: int | None = 200,
    ) -> Sequence[Run]:
        """Return runs, newest first: of one schedule, in some states, with a text in id or reason.

        Only those after the run `before` in this order, at most so many.
        """
        runs = schedule_runs.c
        query = select(schedule_runs).order_by(runs.created_at.desc(), runs.id.desc()).limit(limit)
        if schedule is not None:
            query = query.where(runs.schedule == schedule)
        if states is not None:
            query = query.where(runs.state.in_([state.value for state in states]))
        if since is not None:
            query = query.where(runs.created_at >= since)
        if text:
            word = text.lower()
            query = query.where(
                or_(
                    *(
                        func.lower(column).contains(word, autoescape=True)
                        for column in (runs.id, runs.reason, runs.job)
                    )
                )
            )
        with self._database.read() as connection:
            if before is not None:
                at = connection.scalar(select(runs.created_at).where(runs.id == before))
                if at is not None:
                    older = and_(runs.created_at == at, runs.id < before)
                    query = query.where(or_(runs.created_at < at, older))
            return [_run(row) for row in connection.execute(query).all()]

    def last_runs(self, count: int) -> Mapping[str, Sequence[Run]]:
        """Return the last runs of each schedule, the newest first: at most so many of each."""
        place = func.row_number().over(
            partition_by=schedule_runs.c.schedule,
            order_by=(schedule_runs.c.created_at.desc(), schedule_runs.c.id.desc()),
        )
        ranked = select(schedule_runs, place.label("place")).subquery()
        query = select(ranked).where(ranked.c.place <= count).order_by(ranked.c.place)
        found: dict[str, list[Run]] = {}
        with self._database.read() as connection:
            for row in connection.execute(query).all():
                found.setdefault(row.schedule, []).append(_run(row))
        return found

    def change_run(self, run: Run, *, then: Sequence[Decided] = (), **values: Any) -> Run | None:
        """Change a run if it is still as given; ``None``: it is not, read it again.

        What follows from it, such as the runs of schedules that come after, is written with it.
        """
        with self._database.write() as connection:
            changed = _change_run(connection, run, values)
            if changed is None:
                return None
            for each in then:
                add_runs(connection, each.runs)
                end_runs(connection, each.cancel)
        return changed

    def claim_runs(self, wanted: Sequence[tuple[Run, str]], *, claim: Submitter) -> Sequence[Run]:
        """Have runs started by this process, each by a job of that id; return those that it got."""
        with self._database.write() as connection:
            changed = [
                _change_run(
                    connection,
                    run,
                    {"state": RunState.DUE, "job": job_id, "claim": claim},
                )
                for run, job_id in wanted
            ]
        return [each for each in changed if each is not None]

    def stop_run(self, run_id: str, *, reason: str) -> Run:
        """Want the end of a run; one that has no job yet is over at once."""
        with self._database.write() as connection:
            end_runs(connection, [run_id], reason=reason)
            row = connection.execute(
                select(schedule_runs).where(schedule_runs.c.id == run_id)
            ).first()
        if row is None:
            raise NotFound(f"there is no run {run_id!r}")
        return _run(row)

    def remove_run(self, run_id: str) -> None:
        """Delete one run; one that is not there is no error."""
        table = schedule_runs.c
        with self._database.write() as connection:
            schedule = connection.scalar(select(table.schedule).where(table.id == run_id))
            if schedule is not None:
                connection.execute(delete(schedule_runs).where(table.id == run_id))
                connection.execute(insert(events), [_removed(run_id, schedule)])

    def purge_runs(
        self,
        *,
        schedule: str | None = None,
        before: float | None = None,
        keep: int | None = None,
        keep_failures: bool = False,
    ) -> Sequence[Run]:
        """Delete runs that are over: older than a time, or all but the newest; return them.

        Where both are given, only what is older *and* not among the newest of its schedule.
        """
        runs = schedule_runs.c
        place = func.row_number().over(
            partition_by=runs.schedule, order_by=(runs.created_at.desc(), runs.id.desc())
        )
        over = select(runs.id, place.label("place")).where(runs.state.not_in(_ACTIVE))
        if schedule is not None:
            over = over.where(runs.schedule == schedule)
        ranked = over.subquery()
        query = select(schedule_runs).join(ranked, ranked.c.id == runs.id)
        if keep is not None:
            query = query.where(ranked.c.place > keep)
        if before is not None:
            query = query.where(runs.created_at < before)
        if keep_failures:
            kept = (RunState.FAILED.value, RunState.LOST.value)
            query = query.where(runs.state.not_in(kept))
        with self._database.write() as connection:
            gone = [_run(row) for row in connection.execute(query).all()]
            for some in parts([run.id for run in gone]):
                connection.execute(delete(schedule_runs).where(runs.id.in_(some)))
            if gone:
                told = [_removed(run.id, run.schedule) for run in gone]
                connection.execute(insert(events), told)
        return gone


# --- rows ----------------------------------------------------------------------------------------


def _run(row: Row[Any]) -> Run:
    return read_record(row, Run, f"run {row.id!r}")


def parts(ids: Sequence[str]) -> list[Sequence[str]]:
    """Return ids in parts that a statement can take."""
    return [ids[first : first + _SEVERAL] for first in range(0, len(ids), _SEVERAL)]


def active_of(connection: Connection, ids: Sequence[str]) -> list[Run]:
    """Return the runs of some schedules that are not over."""
    where = (schedule_runs.c.schedule.in_(ids), schedule_runs.c.state.in_(_ACTIVE))
    query = select(schedule_runs).where(*where).order_by(schedule_runs.c.created_at)
    return [_run(row) for row in connection.execute(query).all()]


def add_runs(connection: Connection, runs: Sequence[Run]) -> list[Run]:
    """Record runs whose key is not taken. Writers are alone, so that a look tells."""
    taken: set[tuple[str, str]] = set()
    table = schedule_runs.c
    for some in parts([run.key for run in runs]):
        for row in connection.execute(select(table.schedule, table.key).where(table.key.in_(some))):
            taken.add((row.schedule, row.key))
    added: dict[tuple[str, str], Run] = {}
    for run in runs:
        if (run.schedule, run.key) not in taken:
            added.setdefault((run.schedule, run.key), run)
    if added:
        connection.execute(insert(schedule_runs), [to_wire(run) for run in added.values()])
        told = [_told(run, run.created_at) for run in added.values()]
        connection.execute(insert(events), told)
        tell_ends(connection, [*added.values()])
    return list(added.values())


def _change_run(connection: Connection, run: Run, values: Mapping[str, Any]) -> Run | None:
    statement = update(schedule_runs).where(
        schedule_runs.c.id == run.id, schedule_runs.c.revision == run.revision
    )
    changed = replace(run, **values, revision=run.revision + 1)
    plain = to_wire(changed)
    stamped = {name: plain[name] for name in [*values, "revision"]}
    if connection.execute(statement.values(stamped)).rowcount != 1:
        return None
    if changed.state is not run.state:
        connection.execute(insert(events), [_told(changed, time.time())])
        tell_ends(connection, [changed])
    return changed


def end_runs(connection: Connection, run_ids: Sequence[str], *, reason: str | None = None) -> None:
    """Have runs end: what waits is over at once, of what runs the end is wanted."""
    for run_id in run_ids:
        query = select(schedule_runs).where(schedule_runs.c.id == run_id)
        row = connection.execute(query).first()
        if row is None or row.state not in _ACTIVE:
            continue
        run = _run(row)
        values: dict[str, Any] = {"stop": True}
        if run.state is RunState.QUEUED:
            said = reason or "another run took its place before it began"
            values |= {"state": RunState.CANCELLED, "reason": said, "ended_at": time.time()}
        elif reason is not None or run.reason is None:
            values["reason"] = reason or "another run takes its place"
        _change_run(connection, run, values)


def _told(run: Run, at: float) -> dict[str, Any]:
    """Return the entry in the timeline of a run that is in another state."""
    detail = {"schedule": run.schedule, "to": run.state.value}
    if run.reason is not None:
        detail["reason"] = run.reason
    return {"at": at, "kind": "run.state", "subject": run.id, "detail": detail}


def _removed(run_id: str, schedule: str) -> dict[str, Any]:
    """Return the entry in the timeline of a run that was deleted."""
    detail = {"schedule": schedule}
    return {"at": time.time(), "kind": "run.removed", "subject": run_id, "detail": detail}
