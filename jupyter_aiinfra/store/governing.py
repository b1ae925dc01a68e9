"""The verbs on budgets, on what was decided by them, and on idle GPUs. Each is one transaction.

A decision is a row with a key: of all who come to it at once, and after every restart, one writes
it, and with it what follows in the record. What has to be done elsewhere (the job's end) follows
from the record too, so that it is done also when that one dies right after.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from jupyter_aiinfra.errors import JobNotFound, NotFound, UsageError, did_you_mean
from jupyter_aiinfra.model import (
    Budget,
    Decision,
    Desired,
    IdleRule,
    Job,
    JobState,
    Notice,
    to_wire,
)
from jupyter_aiinfra.schedule import Notification
from jupyter_aiinfra.store.database import Database
from jupyter_aiinfra.store.notices import add_notifications
from jupyter_aiinfra.store.rows import add_event, change, job_row, read_record
from jupyter_aiinfra.store.schema import budgets, decisions, idle_rules, jobs

__all__ = ["GovernanceRecords", "add_budget", "budget_of", "forget_budget_of"]

_RANK: Final = {"warning": 0, "question": 1, "stop": 2}
_STOP: Final = Desired.STOP.value
_FINAL: Final = tuple(state.value for state in JobState if state.final)


class GovernanceRecords:
    """What is known of budgets and decisions; a part of the store."""

    _database: Database

    # --- budgets -------------------------------------------------------------------------------

    def set_budget(self, budget: Budget) -> Budget:
        """Set a budget; one of the same scope and period is changed, and keeps its id."""
        with self._database.write() as connection:
            return add_budget(connection, budget)

    def budgets(self) -> Sequence[Budget]:
        """Return all budgets, the oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(select(budgets).order_by(budgets.c.created_at, budgets.c.id))
            return [read_record(row, Budget, f"budget {row.id!r}") for row in rows.all()]

    def get_budget(self, name: str) -> Budget:
        """Return the budget of that id or beginning of one, or the only one of that subject.

        Raises
        ------
        NotFound, UsageError
            There is none, or there are several.
        """
        known = self.budgets()
        for fits in (
            [each for each in known if each.id == name],
            [each for each in known if name and each.id.startswith(name)],
            [each for each in known if name and each.subject == name],
        ):
            if len(fits) == 1:
                return fits[0]
            if fits:
                ids = ", ".join(each.id for each in fits)
                raise UsageError(f"{name!r} may be several budgets: {ids}", hint="give one's id")
        names = [word for each in known for word in (each.id, each.subject) if word]
        hint = did_you_mean(name, names) or "%budget list shows them"
        raise NotFound(f"there is no budget {name!r}", hint=hint)

    def remove_budget(self, budget_id: str) -> bool:
        """Forget a budget, and what it says of jobs but for those it has stopped."""
        with self._database.write() as connection:
            found = connection.execute(delete(budgets).where(budgets.c.id == budget_id))
            if not found.rowcount:
                return False
            _take_notices_back(connection, budget_id)
            add_event(connection, "budget.removed", budget_id, {})
            return True

    def snooze_budget(self, budget_id: str, *, until: float | None, by: str | None = None) -> bool:
        """Have a budget do nothing until a time; ``None`` wakes it up.

        What it has said of jobs is taken back, but for those it has stopped.
        """
        with self._database.write() as connection:
            row = connection.execute(select(budgets).where(budgets.c.id == budget_id)).first()
            if row is None:
                return False
            values = {"snoozed_until": until, "snoozed_by": by, "revision": row.revision + 1}
            connection.execute(update(budgets).where(budgets.c.id == budget_id).values(values))
            _take_notices_back(connection, budget_id)
            add_event(connection, "budget.snoozed", budget_id, {"until": until, "by": by})
            return True

    # --- decisions -----------------------------------------------------------------------------

    def decide(
        self, decision: Decision, *, revision: int | None = None, tell: Sequence[str] = ()
    ) -> bool:
        """Write a decision down, if nobody has, and what follows: true for one caller only.

        Of a job that is over nothing is decided any more, nor the stop of one that is told to end
        already. A stop makes its end desired. With
        `revision`, the budget it is decided by must still be at that. `tell` are targets of
        notifications that are told what a budget has decided.
        """
        with self._database.write() as connection:
            taken = select(decisions.c.key).where(decisions.c.key == decision.key)
            if connection.execute(taken).first() is not None:
                return False
            if revision is not None and not _is_at(connection, decision.by, revision):
                return False
            if decision.job is not None and decision.kind != "refusal":
                row = _open_job(connection, decision.job)
                if row is None or (decision.kind == "stop" and row.desired == _STOP):
                    return False  # it ends already, and not because of this
                _notify(connection, row, decision)
            connection.execute(insert(decisions).values(to_wire(decision)))
            if decision.by != "idle":
                detail = {"kind": decision.kind, "job": decision.job, "text": decision.text}
                add_event(connection, "budget.decided", decision.by, detail)
                add_notifications(connection, _notifications(decision, tell))
            return True

    def decisions(
        self, *, by: str | None = None, job: str | None = None, limit: int = 200
    ) -> Sequence[Decision]:
        """Return what was decided, newest first: by one budget or the idle policy, of one job."""
        query = select(decisions).order_by(decisions.c.at.desc(), decisions.c.key).limit(limit)
        if by is not None:
            query = query.where(decisions.c.by == by)
        if job is not None:
            query = query.where(decisions.c.job == job)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [read_record(row, Decision, f"decision {row.key!r}") for row in rows]

    def last_decided(self) -> Mapping[str, float]:
        """Return when something was decided last, by the budgets (and ``idle``) that did."""
        query = select(decisions.c.by, func.max(decisions.c.at)).group_by(decisions.c.by)
        with self._database.read() as connection:
            return {by: float(at) for by, at in connection.execute(query).all()}

    def claimed(self, keys: Sequence[str]) -> Mapping[str, Decision]:
        """Return those of some decisions that are taken, by key."""
        found: dict[str, Decision] = {}
        with self._database.read() as connection:
            for first in range(0, len(keys), 500):
                some = decisions.c.key.in_(keys[first : first + 500])
                for row in connection.execute(select(decisions).where(some)):
                    found[row.key] = read_record(row, Decision, f"decision {row.key!r}")
        return found

    def take_notice_back(self, job_id: str, *, by: str) -> bool:
        """Say no longer what `by` has said of a job, unless it has stopped it."""
        with self._database.write() as connection:
            return _take_notices_back(connection, by, job_id) > 0

    # --- idle GPUs -----------------------------------------------------------------------------

    def set_idle_rule(self, pool: str, rule: IdleRule | None) -> None:
        """Say what is done about idle GPUs of a pool; ``None`` leaves it to the settings."""
        with self._database.write() as connection:
            connection.execute(delete(idle_rules).where(idle_rules.c.pool == pool))
            if rule is not None:
                connection.execute(insert(idle_rules).values({"pool": pool, **to_wire(rule)}))
            add_event(connection, "pool.idle", pool, {} if rule is None else to_wire(rule))

    def idle_rules(self) -> Mapping[str, IdleRule]:
        """Return what is done about idle GPUs, by pool."""
        with self._database.read() as connection:
            rows = connection.execute(select(idle_rules)).all()
        return {row.pool: read_record(row, IdleRule, f"idle GPUs of {row.pool}") for row in rows}


def add_budget(connection: Connection, budget: Budget) -> Budget:
    """Set a budget; see :meth:`GovernanceRecords.set_budget`."""
    same = (
        budgets.c.scope == budget.scope,
        budgets.c.subject == budget.subject,
        budgets.c.period == budget.period,
    )
    old = connection.execute(select(budgets).where(*same)).first()
    values = to_wire(budget)
    if old is not None:
        kept = {"id": old.id, "created_at": old.created_at, "revision": old.revision + 1}
        values |= kept
        connection.execute(update(budgets).where(budgets.c.id == old.id).values(values))
        _take_notices_back(connection, old.id)
    else:
        connection.execute(insert(budgets).values(values))
    shown = {key: values[key] for key in ("scope", "subject", "period", "action")}
    add_event(connection, "budget.set", values["id"], shown)
    row = connection.execute(select(budgets).where(budgets.c.id == values["id"])).one()
    return read_record(row, Budget, f"budget {row.id!r}")


def forget_budget_of(connection: Connection, job_id: str) -> None:
    """Forget the budget of a job that is removed."""
    connection.execute(delete(budgets).where(budgets.c.scope == "job", budgets.c.subject == job_id))


def _is_at(connection: Connection, budget_id: str, revision: int) -> bool:
    query = select(budgets.c.revision).where(budgets.c.id == budget_id)
    return connection.scalar(query) == revision


def _open_job(connection: Connection, job_id: str) -> Row[Any] | None:
    try:
        row = job_row(connection, job_id)
    except JobNotFound:
        return None
    return None if JobState(row.state).final else row


def _notify(connection: Connection, row: Row[Any], decision: Decision) -> None:
    """Have the job of `row` say what was decided of it, and end it where it was that."""
    stored = connection.scalar(select(jobs.c.notice).where(jobs.c.id == row.id))
    values: dict[str, Any] = {}
    assert decision.kind != "refusal"  # noqa: S101 - there is no job then
    if stored is None or _RANK[decision.kind] >= _RANK[stored["kind"]]:
        values["notice"] = to_wire(
            Notice(
                kind=decision.kind,
                text=decision.text,
                by=decision.by,
                at=decision.at,
                until=decision.until,
                grace_seconds=decision.grace_seconds,
            )
        )
    if decision.kind == "stop":
        values["desired"] = _STOP
    change(connection, row, values)
    detail = {"kind": decision.kind, "by": decision.by, "text": decision.text}
    add_event(connection, "job.notice", row.id, detail)
    if decision.kind == "stop":
        add_event(connection, "job.desired", row.id, {"from": row.desired, "to": _STOP})


def _notifications(decision: Decision, targets: Sequence[str]) -> list[Notification]:
    detail = {"kind": decision.kind, "job": decision.job, "text": decision.text}
    # Of a budget that warns of several jobs it is said once.
    what = decision.key.removesuffix(f"/{decision.job}")
    return [
        Notification(
            key=f"decision/{what}/{target}",
            target=target,
            event="budget",
            subject=decision.by,
            detail=detail,
            created_at=decision.at,
            due_at=decision.at,
        )
        for target in targets
    ]


def _take_notices_back(connection: Connection, by: str, job_id: str | None = None) -> int:
    query = select(jobs.c.id, jobs.c.notice).where(
        jobs.c.state.not_in(_FINAL), jobs.c.notice.is_not(None)
    )
    if job_id is not None:
        query = query.where(jobs.c.id == job_id)
    count = 0
    for found, notice in connection.execute(query).all():
        if notice["by"] == by and notice["kind"] != "stop":
            change(connection, job_row(connection, found), {"notice": None})
            add_event(connection, "job.notice", found, {"kind": "over", "by": by})
            count += 1
    return count


def budget_of(job: Job, *, at: float | None = None) -> Budget | None:
    """Return the budget that a job was launched with."""
    if job.spec.budget is None:
        return None
    amount, _, currency = job.spec.budget.partition(" ")
    return Budget(
        id=f"b{job.id}",
        scope="job",
        subject=job.id,
        period="total",
        amount=amount,
        currency=currency,
        created_at=time.time() if at is None else at,
        created_by=job.spec.origin.user,
    )
