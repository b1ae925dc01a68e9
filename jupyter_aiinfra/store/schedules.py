"""The verbs on schedules and their versions. Each is one short transaction.

All that is decided at one look at a schedule is written together, if the schedule is still as it
was when it was decided on: of all who look at once, one writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from jupyter_aiinfra.errors import Conflict, NotFound
from jupyter_aiinfra.model import to_wire
from jupyter_aiinfra.schedule import Run, Schedule, Version
from jupyter_aiinfra.store.database import Database
from jupyter_aiinfra.store.naming import meant, unknown
from jupyter_aiinfra.store.rows import add_event, read_record
from jupyter_aiinfra.store.runs import Decided, active_of, add_runs, end_runs, parts
from jupyter_aiinfra.store.schema import schedule_runs, schedule_versions, schedules

__all__ = ["ON_NODE", "DueSchedule", "ScheduleRecords"]

ON_NODE: Final = "cron:"
"""How what was seen of a schedule begins that a node's cron fires."""

_MOST_FOLLOWING: Final = 1000


@dataclass(frozen=True, kw_only=True)
class DueSchedule:
    """A schedule to decide on, with what it runs and which of its runs are not over."""

    schedule: Schedule
    version: Version
    active: tuple[Run, ...] = ()


class ScheduleRecords:
    """What is known of schedules and their runs; a part of the store."""

    _database: Database

    # --- schedules -----------------------------------------------------------------------------

    def add_schedule(self, schedule: Schedule, version: Version) -> None:
        """Record a schedule with its first version; Conflict where its name is taken."""
        with self._database.write() as connection:
            _free(connection, schedule.name)
            connection.execute(insert(schedules).values(to_wire(schedule)))
            connection.execute(insert(schedule_versions).values(to_wire(version)))
            add_event(connection, "schedule.added", schedule.id, {"name": schedule.name})

    def get_schedule(self, name: str, *, removed: bool = False) -> Schedule:
        """Return the schedule of that name, id or beginning of an id.

        Raises
        ------
        NotFound, UsageError
            There is none, or there are several.
        """
        found = meant(self._called(name, removed=removed), name, "schedule")
        if found is None:
            raise unknown(self.schedules(removed=removed), name, "schedule")
        return found

    def _called(self, name: str, *, removed: bool) -> Sequence[Schedule]:
        """Return those that may be meant by `name`, or a few more; not all that there are."""
        begins = schedules.c.id.startswith(name, autoescape=True)
        query = select(schedules).where(or_(schedules.c.name == name, begins))
        query = query.order_by(schedules.c.name, schedules.c.created_at)
        if not removed:
            query = query.where(schedules.c.removed_at.is_(None))
        with self._database.read() as connection:
            return [_schedule(row) for row in connection.execute(query).all()]

    def find_schedule(self, schedule_id: str) -> Schedule | None:
        """Return the schedule of exactly that id, removed or not; ``None``: there is none."""
        query = select(schedules).where(schedules.c.id == schedule_id)
        with self._database.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else _schedule(row)

    def schedules(self, *, removed: bool = False) -> Sequence[Schedule]:
        """Return all schedules, by name; with `removed`, also those that can be put back."""
        query = select(schedules).order_by(schedules.c.name, schedules.c.created_at)
        if not removed:
            query = query.where(schedules.c.removed_at.is_(None))
        with self._database.read() as connection:
            return [_schedule(row) for row in connection.execute(query).all()]

    def change_schedule(
        self, schedule: Schedule, *, event: str, version: Version | None = None, **values: Any
    ) -> Schedule | None:
        """Change a schedule if it is still as given; ``None``: it is not, read it again.

        With `version`, that is added and is the one that runs from now on. Its new number is
        chosen by the caller, from the schedule as it is given.
        """
        with self._database.write() as connection:
            if values.get("name", schedule.name) != schedule.name or (
                schedule.removed_at is not None and "removed_at" in values
            ):
                _free(connection, values.get("name", schedule.name))
            if version is not None:
                values = {**values, "version": version.number}
            if not _set(connection, schedule, values):
                return None
            if version is not None:
                connection.execute(insert(schedule_versions).values(to_wire(version)))
            add_event(connection, event, schedule.id, {"name": schedule.name})
        return replace(schedule, **values, revision=schedule.revision + 1)

    def schedule_version(self, schedule_id: str, number: int) -> Version:
        """Return a version of a schedule, or raise NotFound."""
        where = (schedule_versions.c.schedule == schedule_id, schedule_versions.c.number == number)
        with self._database.read() as connection:
            row = connection.execute(select(schedule_versions).where(*where)).first()
        if row is None:
            raise NotFound(f"schedule {schedule_id} has no version {number}")
        return _version(row)

    def schedule_versions(self, schedule_id: str) -> Sequence[Version]:
        """Return all versions of a schedule, the newest first."""
        query = (
            select(schedule_versions)
            .where(schedule_versions.c.schedule == schedule_id)
            .order_by(schedule_versions.c.number.desc())
        )
        with self._database.read() as connection:
            return [_version(row) for row in connection.execute(query).all()]

    def current_versions(self, *, removed: bool = False) -> Mapping[str, Version]:
        """Return what each schedule runs now, by its id."""
        query = select(schedule_versions).join(schedules, _runs_now())
        if not removed:
            query = query.where(schedules.c.removed_at.is_(None))
        with self._database.read() as connection:
            return {row.schedule: _version(row) for row in connection.execute(query).all()}

    def left_on_nodes(self) -> Sequence[Schedule]:
        """Return what a node's cron may still fire, and is paused or removed."""
        query = select(schedules).where(
            schedules.c.seen.like(f"{ON_NODE}%"),
            or_(schedules.c.paused_at.is_not(None), schedules.c.removed_at.is_not(None)),
        )
        with self._database.read() as connection:
            return [_schedule(row) for row in connection.execute(query).all()]

    def forget_schedules(self, *, removed_before: float) -> int:
        """Delete what was removed before a time for good, with versions and runs; how many."""
        gone = and_(schedules.c.removed_at.is_not(None), schedules.c.removed_at < removed_before)
        with self._database.write() as connection:
            ids = connection.scalars(select(schedules.c.id).where(gone)).all()
            for some in parts(ids):
                for table in (schedule_runs, schedule_versions):
                    connection.execute(delete(table).where(table.c.schedule.in_(some)))
                connection.execute(delete(schedules).where(schedules.c.id.in_(some)))
        return len(ids)

    # --- deciding ------------------------------------------------------------------------------

    def due_schedules(
        self, now: float, *, ahead_seconds: float, limit: int
    ) -> Sequence[DueSchedule]:
        """Return the schedules that are to be decided on, those that have waited longest first.

        Also those that were decided on by a clock that was ahead by more than so many seconds.
        """
        live = (schedules.c.paused_at.is_(None), schedules.c.removed_at.is_(None))
        due = self._with_versions(
            [schedules.c.next_due <= now, *live], by=schedules.c.next_due, limit=limit
        )
        # Not one query with OR: that would walk through all schedules in the order of an index.
        ahead = self._with_versions(
            [schedules.c.decided > now + ahead_seconds, *live],
            by=schedules.c.decided,
            limit=limit,
        )
        known = {each.schedule.id for each in due}
        return [*due, *(each for each in ahead if each.schedule.id not in known)][:limit]

    def following(self, schedule_id: str) -> Sequence[DueSchedule]:
        """Return the schedules that follow the runs of one."""
        return self._with_versions(
            [
                schedules.c.upstream == schedule_id,
                schedules.c.paused_at.is_(None),
                schedules.c.removed_at.is_(None),
            ],
            by=schedules.c.created_at,
            limit=_MOST_FOLLOWING,
        )

    def _with_versions(
        self, where: Sequence[ColumnElement[bool]], *, by: ColumnElement[Any], limit: int
    ) -> Sequence[DueSchedule]:
        query = select(schedules).where(*where).order_by(by).limit(limit)
        with self._database.read() as connection:
            rows = [_schedule(row) for row in connection.execute(query).all()]
            if not rows:
                return ()
            found: dict[str, Version] = {}
            active: dict[str, list[Run]] = {}
            for some in parts([each.id for each in rows]):
                of_these = schedule_versions.c.schedule.in_(some)
                versions = select(schedule_versions).join(schedules, _runs_now()).where(of_these)
                for row in connection.execute(versions).all():
                    found[row.schedule] = _version(row)
                for run in active_of(connection, some):
                    active.setdefault(run.schedule, []).append(run)
        return [
            DueSchedule(
                schedule=each, version=found[each.id], active=tuple(active.get(each.id, ()))
            )
            for each in rows
            if each.id in found  # else it was edited between the two reads: with the next look
        ]

    def decide_schedules(self, decided: Sequence[Decided]) -> Sequence[Run]:
        """Write down what was decided; return the runs that were recorded by this call.

        Of a schedule that was decided on by somebody else, or changed, meanwhile, nothing is.
        """
        added: list[Run] = []
        with self._database.write() as connection:
            for each in decided:
                values = {"decided": each.decided, "next_due": each.next_due}
                if each.seen is not None:
                    values["seen"] = each.seen  # type: ignore[assignment]
                if _set(connection, each.schedule, values):
                    added += add_runs(connection, each.runs)
                    end_runs(connection, each.cancel)
        return added

    def next_due(self) -> float | None:
        """Return when a schedule has to be looked at next; ``None``: none by the clock."""
        query = select(func.min(schedules.c.next_due))
        with self._database.read() as connection:
            found = connection.scalar(query)
        return None if found is None else float(found)


# --- rows ----------------------------------------------------------------------------------------


def _schedule(row: Row[Any]) -> Schedule:
    return read_record(row, Schedule, f"schedule {row.id!r}")


def _version(row: Row[Any]) -> Version:
    return read_record(row, Version, f"version {row.number} of schedule {row.schedule!r}")


def _runs_now() -> ColumnElement[bool]:
    return and_(
        schedules.c.id == schedule_versions.c.schedule,
        schedules.c.version == schedule_versions.c.number,
    )


def _free(connection: Connection, name: str) -> None:
    taken = (schedules.c.name == name, schedules.c.removed_at.is_(None))
    if connection.scalar(select(schedules.c.id).where(*taken)) is not None:
        raise Conflict(
            f"there is a schedule {name!r} already", hint="edit that one, or choose another name"
        )


def _set(connection: Connection, schedule: Schedule, values: Mapping[str, Any]) -> bool:
    statement = update(schedules).where(
        schedules.c.id == schedule.id, schedules.c.revision == schedule.revision
    )
    stamped = {**values, "revision": schedule.revision + 1}
    return connection.execute(statement.values(stamped)).rowcount == 1
