"""The verbs on what is to be said to people elsewhere. Each is one short transaction.

What is to be said is written with what it is about, so that it is said also when who wrote it dies
right after. Of all who come to say it, one has it at a time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, and_, delete, func, insert, or_, select, update

from jupyter_aiinfra.model import to_wire
from jupyter_aiinfra.schedule import Notification, Run, RunState
from jupyter_aiinfra.store.database import Database
from jupyter_aiinfra.store.rows import read_record
from jupyter_aiinfra.store.schema import notifications, schedule_versions

__all__ = ["NotificationRecords", "add_notifications", "tell_ends"]

_EVENTS: Final[Mapping[RunState, str]] = {
    RunState.FAILED: "failure",
    RunState.LOST: "failure",
    RunState.SUCCEEDED: "success",
    RunState.MISSED: "missed",
}
_SEVERAL: Final = 400


class NotificationRecords:
    """What is to be said, and was; a part of the store."""

    _database: Database

    def due_notifications(self, now: float, *, limit: int = 20) -> Sequence[Notification]:
        """Return what is to be said by now, what waits longest first."""
        table = notifications.c
        query = select(notifications).where(table.due_at <= now).order_by(table.due_at).limit(limit)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [read_record(row, Notification, f"notification {row.key!r}") for row in rows]

    def next_notification(self) -> float | None:
        """Return when something is to be said next; ``None``: nothing is."""
        with self._database.read() as connection:
            found = connection.scalar(select(func.min(notifications.c.due_at)))
        return None if found is None else float(found)

    def claim_notification(self, notification: Notification, *, until: float) -> bool:
        """Have one said by this process, which has until then; true for one caller only."""
        table = notifications.c
        with self._database.write() as connection:
            statement = update(notifications).where(
                table.key == notification.key,
                table.tries == notification.tries,
                table.due_at.is_not(None),
            )
            values = {"tries": notification.tries + 1, "due_at": until}
            return connection.execute(statement.values(values)).rowcount == 1

    def settle_notification(
        self, key: str, *, sent_at: float | None, problem: str | None, due_at: float | None
    ) -> None:
        """Write down how it went: said, or why not and when it is tried again, if it is."""
        values = {"sent_at": sent_at, "problem": problem, "due_at": due_at}
        with self._database.write() as connection:
            where = notifications.c.key == key
            connection.execute(update(notifications).where(where).values(values))

    def notifications(
        self, *, subject: str | None = None, limit: int = 100
    ) -> Sequence[Notification]:
        """Return what was said or is to be, the newest first; of one run or budget."""
        table = notifications.c
        query = select(notifications).order_by(table.created_at.desc(), table.key).limit(limit)
        if subject is not None:
            query = query.where(table.subject == subject)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [read_record(row, Notification, f"notification {row.key!r}") for row in rows]

    def forget_notifications(self, *, before: float) -> int:
        """Delete those that were written down before a time; how many."""
        with self._database.write() as connection:
            old = notifications.c.created_at < before
            return connection.execute(delete(notifications).where(old)).rowcount


def add_notifications(connection: Connection, wanted: Iterable[Notification]) -> None:
    """Write down what is to be said, but for what is written down already."""
    new = {each.key: each for each in wanted}
    for some in _parts([*new]):
        taken = select(notifications.c.key).where(notifications.c.key.in_(some))
        for key in connection.scalars(taken).all():
            del new[key]
    if new:
        connection.execute(insert(notifications), [to_wire(each) for each in new.values()])


@dataclass(frozen=True)
class _Of:
    schedule: str
    number: int


def tell_ends(connection: Connection, runs: Sequence[Run]) -> None:
    """Have it said that runs have come to their ends, to whom their versions name."""
    ended = [run for run in runs if run.state in _EVENTS]
    if not ended:
        return
    wanted = _wanted(connection, {_Of(run.schedule, run.version) for run in ended})
    now = time.time()
    add_notifications(
        connection,
        [
            Notification(
                key=f"run/{run.id}/{_EVENTS[run.state]}/{target}",
                target=target,
                event=_EVENTS[run.state],  # type: ignore[arg-type]
                subject=run.id,
                detail={"schedule": run.schedule, "state": run.state.value, "reason": run.reason},
                created_at=now,
                due_at=now,
            )
            for run in ended
            for target in wanted.get(_Of(run.schedule, run.version), {}).get(_EVENTS[run.state], ())
        ],
    )


def _wanted(
    connection: Connection, versions: Iterable[_Of]
) -> dict[_Of, Mapping[str, Sequence[str]]]:
    """Return who is to be told of what, by version; those where nobody is are left out."""
    table = schedule_versions.c
    found = {}
    for some in _parts(list(versions)):
        these = or_(
            *(and_(table.schedule == each.schedule, table.number == each.number) for each in some)
        )
        query = select(table.schedule, table.number, table.options).where(these)
        for row in connection.execute(query):
            if row.options.get("notify"):
                found[_Of(row.schedule, row.number)] = row.options["notify"]
    return found


def _parts(ids: Sequence[Any]) -> list[Sequence[Any]]:
    return [ids[first : first + _SEVERAL] for first in range(0, len(ids), _SEVERAL)]
