"""What the verbs on records share: one row, one change, one event, in a given transaction."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import Column, Connection, Row, insert, select, update

from jupyter_aiinfra.errors import JobNotFound, StoreError
from jupyter_aiinfra.model import JobState, from_wire, to_wire
from jupyter_aiinfra.store.schema import events, jobs

__all__ = ["add_event", "add_state_event", "change", "job_row", "read_record"]

T = TypeVar("T")

# What decides whether a job may change; the spec, which may be long, does not.
_GUARDED: Final[tuple[Column[Any], ...]] = tuple(
    jobs.c[name] for name in ("id", "state", "desired", "version", "handle")
)


def job_row(connection: Connection, job_id: str) -> Row[Any]:
    """Return what decides about a change of the job, or raise JobNotFound."""
    row = connection.execute(select(*_GUARDED).where(jobs.c.id == job_id)).first()
    if row is None:
        raise JobNotFound(job_id)
    return row


def change(connection: Connection, row: Row[Any], values: Mapping[str, Any]) -> None:
    """Change the job of `row`, and its version with it."""
    statement = update(jobs).where(jobs.c.id == row.id, jobs.c.version == row.version)
    stamped = {**values, "version": row.version + 1, "updated_at": time.time()}
    changed = connection.execute(statement.values(stamped)).rowcount
    if changed != 1:  # writers are alone, so only who goes around this class can bring this about
        raise StoreError(
            f"job {row.id} was changed by another program in the middle of a transaction",
            hint="only jupyter-aiinfra may write to its database",
        )


def add_state_event(
    connection: Connection, row: Row[Any], state: JobState, reason: str | None
) -> None:
    """Note that the job of `row` goes into another state."""
    detail = {"from": row.state, "to": state.value}
    if reason is not None:
        detail["reason"] = reason
    add_event(connection, "job.state", row.id, detail)


def add_event(connection: Connection, kind: str, subject: str, detail: Mapping[str, Any]) -> int:
    """Add an entry to the timeline of `subject`; return its id."""
    values = {"at": time.time(), "kind": kind, "subject": subject, "detail": to_wire(detail)}
    added = connection.execute(insert(events).values(values)).inserted_primary_key
    assert added is not None  # noqa: S101 - of a single-row insert it never is
    return int(added[0])


def read_record(row: Row[Any], kind: type[T], what: str) -> T:
    """Return a row as the dataclass `kind`; `what` it is of is said where it cannot be read."""
    # A name of a column may be a subclass of str, which msgspec takes for something else.
    data = {str(name): value for name, value in row._asdict().items()}
    try:
        return from_wire(data, kind)
    except msgspec.ValidationError as error:
        raise StoreError(
            f"the record of {what} cannot be read: {error}",
            hint="another version of this package may have written it: upgrade jupyter_aiinfra",
        ) from error
