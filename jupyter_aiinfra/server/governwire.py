"""What crosses between server and browser of budgets and idle GPUs; see ``wire.py``.

Amounts are as in ``costwire.py``: exact, in text; what is not known is ``null``, and never zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jupyter_aiinfra.governance import BudgetView, IdleJob, IdleKernel, IdleReport
from jupyter_aiinfra.model import Decision, IdleRule
from jupyter_aiinfra.server.costwire import Amount, amount

__all__ = [
    "BudgetDetail",
    "BudgetItem",
    "BudgetRequest",
    "BudgetsNews",
    "IdleItem",
    "IdleJobItem",
    "IdleKernelItem",
    "IdleRequest",
    "IdleRuleItem",
    "SilentPool",
    "SnoozeRequest",
    "StoppedItem",
    "budget_detail",
    "budget_item",
    "idle_item",
]

_Scope = Literal["job", "notebook", "user", "pool", "project", "team", "cost-centre", "all"]
_Period = Literal["day", "month", "total"]
_Action = Literal["warn", "refuse", "ask", "stop"]


@dataclass(frozen=True, kw_only=True)
class BudgetItem:
    """A budget, and how far it is spent.

    Parameters
    ----------
    name
        What it is called: ``$200.00 a month for user anna``.
    subject
        Whose cost counts: a job's id, a user's name; empty for the scope ``all``.
    window, window_start, window_end
        The period that is counted (``2026-11``, ``2026-11-25``, ``total``), in UTC.
    spent, share
        So far, and as a part of the limit; ``null`` where it is not known.
    reach
        ``within``, ``warned`` (the part at which is warned is spent), ``spent``, ``unknown``.
    snoozed, snoozed_until, snoozed_by
        Whether it does nothing just now, up to when, and who said so.
    problem
        What of the cost is not in it and why; empty where all is.
    hourly, spent_at
        What its jobs cost now, and when it is spent at that.
    jobs
        Those that it counts and that are not over.
    asks_until
        While it asks whether its jobs may go on: when they are stopped if nobody answers.
    decided_at
        When it last decided anything: a warning, a question, a stop, a refusal.
    """

    id: str
    name: str
    scope: _Scope
    subject: str
    period: _Period
    action: _Action
    limit: Amount
    warn_share: float
    grace_seconds: float | None
    ask_seconds: float
    window: str
    window_start: float
    window_end: float | None
    spent: Amount | None
    share: float | None
    reach: Literal["within", "warned", "spent", "unknown"]
    snoozed: bool
    snoozed_until: float | None
    snoozed_by: str | None
    problem: str
    hourly: Amount | None
    spent_at: float | None
    jobs: tuple[str, ...]
    asks_until: float | None
    decided_at: float | None
    created_at: float
    created_by: str | None


@dataclass(frozen=True, kw_only=True)
class BudgetDetail:
    """A budget, and what was decided by it, newest first."""

    item: BudgetItem
    decisions: tuple[Decision, ...]


@dataclass(frozen=True, kw_only=True)
class BudgetRequest:
    """Set a budget; one of the same scope, subject and period is changed and keeps its id.

    ``amount`` is as a person writes it: ``200usd``, ``0.50 eur``, ``$20``. Without a period it is a
    month's, or all of a job's.
    """

    amount: str
    scope: _Scope
    subject: str = ""
    period: _Period | None = None
    action: _Action = "stop"
    warn_share: float = 0.8
    grace_seconds: float | None = None
    ask_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class SnoozeRequest:
    """For how long a budget is to do nothing; ``null`` wakes it up."""

    seconds: float | None = 3600.0


@dataclass(frozen=True, kw_only=True)
class StoppedItem:
    """The jobs that were told to end, with time to save."""

    stopped: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class BudgetsNews:
    """All budgets, as they are now."""

    budgets: tuple[BudgetItem, ...]
    type: Literal["budgets"] = "budgets"


# --- idle GPUs -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class IdleJobItem:
    """A job that does not use its GPUs.

    ``waits`` is one that is alive all the same, ``idle`` one in which nothing moves, ``hung`` one
    whose GPUs spin and nothing comes of it; ``why`` says how that is known. ``cost`` is what it has
    cost since then; ``stops_at`` when it is stopped, if it is.
    """

    job: str
    name: str
    pool: str
    gpus: int
    state: Literal["waits", "idle", "hung"]
    why: str
    since: float | None
    stops_at: float | None
    hourly: Amount | None
    cost: Amount | None
    rule: IdleRule


@dataclass(frozen=True, kw_only=True)
class IdleKernelItem:
    """A notebook's kernel that holds memory of a GPU which computes nothing."""

    pool: str
    node: str
    gpu: str
    index: int | None
    pid: int
    user: str | None
    command: str
    memory_bytes: int | None
    since: float | None
    hourly: Amount | None
    cost: Amount | None


@dataclass(frozen=True, kw_only=True)
class SilentPool:
    """A pool whose GPUs could not be read, and why."""

    pool: str
    problem: str


@dataclass(frozen=True, kw_only=True)
class IdleRuleItem:
    """What is done about idle GPUs of a pool or a job."""

    name: str
    rule: IdleRule


@dataclass(frozen=True, kw_only=True)
class IdleItem:
    """Who holds GPUs without using them, and what is done about it where that was said."""

    at: float
    jobs: tuple[IdleJobItem, ...]
    kernels: tuple[IdleKernelItem, ...]
    silent: tuple[SilentPool, ...]
    rules: tuple[IdleRuleItem, ...]


@dataclass(frozen=True, kw_only=True)
class IdleRequest:
    """What is to be done about idle GPUs of a pool or a job; ``null`` is what the settings say."""

    rule: IdleRule | None = None


# --- from what the engine tells ------------------------------------------------------------------


def budget_item(view: BudgetView) -> BudgetItem:
    """Return a budget as it crosses."""
    budget, verdict = view.budget, view.verdict
    limit, until = amount(verdict.limit), view.asks_until
    assert limit is not None  # noqa: S101 - every budget has one
    return BudgetItem(
        id=budget.id,
        name=view.name,
        scope=budget.scope,
        subject=budget.subject,
        period=budget.period,
        action=budget.action,
        limit=limit,
        warn_share=budget.warn_share,
        grace_seconds=budget.grace_seconds,
        ask_seconds=budget.ask_seconds,
        window=view.window.name,
        window_start=view.window.start,
        window_end=view.window.end,
        spent=amount(verdict.spent),
        share=verdict.share,
        reach=verdict.reach,
        snoozed=verdict.snoozed,
        snoozed_until=budget.snoozed_until,
        snoozed_by=budget.snoozed_by,
        problem=verdict.problem,
        hourly=amount(view.rate) if view.jobs else None,
        spent_at=view.spent_at,
        jobs=view.jobs,
        asks_until=until,
        decided_at=view.decided_at,
        created_at=budget.created_at,
        created_by=budget.created_by,
    )


def budget_detail(view: BudgetView, decisions: Sequence[Decision]) -> BudgetDetail:
    """Return a budget with what was decided by it."""
    return BudgetDetail(item=budget_item(view), decisions=tuple(decisions))


def idle_item(report: IdleReport, rules: Sequence[tuple[str, IdleRule]]) -> IdleItem:
    """Return who holds GPUs without using them as it crosses."""
    return IdleItem(
        at=report.at,
        jobs=tuple(_job(each) for each in report.jobs),
        kernels=tuple(_kernel(each) for each in report.kernels),
        silent=tuple(SilentPool(pool=pool, problem=why) for pool, why in report.silent),
        rules=tuple(IdleRuleItem(name=name, rule=rule) for name, rule in rules),
    )


def _job(job: IdleJob) -> IdleJobItem:
    return IdleJobItem(
        job=job.job,
        name=job.name,
        pool=job.pool,
        gpus=job.gpus,
        state=job.state,
        why=job.why,
        since=job.since,
        stops_at=job.stops_at,
        hourly=amount(job.rate),
        cost=amount(job.cost),
        rule=job.rule,
    )


def _kernel(kernel: IdleKernel) -> IdleKernelItem:
    return IdleKernelItem(
        pool=kernel.pool,
        node=kernel.node,
        gpu=kernel.gpu,
        index=kernel.index,
        pid=kernel.pid,
        user=kernel.user,
        command=kernel.command,
        memory_bytes=kernel.memory_bytes,
        since=kernel.since,
        hourly=amount(kernel.rate),
        cost=amount(kernel.cost),
    )
