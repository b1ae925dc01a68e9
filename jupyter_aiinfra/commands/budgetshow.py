"""How budgets and idle GPUs are put into words and rows, the same on every surface."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from jupyter_aiinfra.commands.show import bytes_text
from jupyter_aiinfra.cost.money import Money, wire_money
from jupyter_aiinfra.governance import BudgetView, IdleJob, IdleKernel, IdleReport
from jupyter_aiinfra.model import Decision, IdleRule, to_wire
from jupyter_aiinfra.progress import seconds_text

__all__ = [
    "BUDGET_COLUMNS",
    "IDLE_COLUMNS",
    "budget_lines",
    "budget_rows",
    "budget_value",
    "idle_rows",
    "idle_value",
    "rule_text",
]

BUDGET_COLUMNS = ("budget", "of", "period", "limit", "spent", "at the limit", "state", "jobs")
IDLE_COLUMNS = ("who", "where", "holds", "idle for", "cost since", "what")

_ACTIONS: Mapping[str, str] = {
    "warn": "warn",
    "refuse": "refuse launches",
    "ask": "ask, then stop",
    "stop": "stop",
}


def budget_rows(views: Sequence[BudgetView]) -> list[tuple[str, ...]]:
    """Return one row a budget for :data:`BUDGET_COLUMNS`."""
    rows: list[tuple[str, ...]] = []
    for view in views:
        budget = view.budget
        rows.append(
            (
                budget.id,
                "everything" if budget.scope == "all" else f"{budget.scope} {budget.subject}",
                view.window.name,
                view.verdict.limit.text,
                _spent(view),
                _ACTIONS[budget.action],
                _state(view),
                str(len(view.jobs)),
            )
        )
    return rows


def _spent(view: BudgetView) -> str:
    verdict = view.verdict
    if verdict.spent is None or verdict.share is None:
        return "n/a"
    return f"{verdict.spent.text} ({verdict.share:.0%})"


def _state(view: BudgetView) -> str:
    verdict, until = view.verdict, view.budget.snoozed_until
    if verdict.snoozed and until is not None:
        return f"snoozed until {_clock(until)}"
    words = {"within": "within", "warned": "nearly spent", "spent": "spent", "unknown": "n/a"}
    return words[verdict.reach] + (" (in part)" if verdict.problem else "")


def budget_lines(view: BudgetView, decisions: Sequence[Decision]) -> list[str]:
    """Return everything of one budget, as lines; `decisions` are the newest first."""
    budget, verdict = view.budget, view.verdict
    lines = [f"budget {budget.id}: {view.name}", f"  spent   {_spent(view)} in {view.window.name}"]
    if verdict.problem:
        lines.append(f"  but     {verdict.problem}")
    lines.append(f"  state   {_state(view)}")
    if verdict.snoozed and budget.snoozed_by:
        lines.append(f"  by      {budget.snoozed_by}")
    action = f"warn at {budget.warn_share:.0%}, at the limit {_ACTIONS[budget.action]}"
    if budget.grace_seconds is not None:
        action += f", with {seconds_text(budget.grace_seconds)} to save"
    lines.append(f"  does    {action}")
    if view.rate is not None and view.jobs:
        when = f", spent {_clock(view.spent_at)}" if view.spent_at is not None else ""
        lines.append(f"  rate    {view.rate.text} an hour{when}")
    lines.append(f"  jobs    {', '.join(view.jobs) or 'none that runs or waits'}")
    lines += [f"  {_clock(each.at)}  {each.kind}: {each.text}" for each in decisions]
    return lines


def budget_value(view: BudgetView, decisions: Sequence[Decision] | None = None) -> dict[str, Any]:
    """Return a budget for a program."""
    verdict = view.verdict
    value: dict[str, Any] = {
        **to_wire(view.budget),
        "name": view.name,
        "window": to_wire(view.window),
        "limit": wire_money(verdict.limit),
        "spent": wire_money(verdict.spent),
        "share": verdict.share,
        "reach": verdict.reach,
        "snoozed": verdict.snoozed,
        "problem": verdict.problem,
        "rate": wire_money(view.rate),
        "spent_at": view.spent_at,
        "jobs": list(view.jobs),
    }
    if decisions is not None:
        value["decisions"] = to_wire(list(decisions))
    return value


# --- idle GPUs -----------------------------------------------------------------------------------


def rule_text(rule: IdleRule | None) -> str:
    """Return ``stopped after 30 min``, ``warned``, or ``not watched``."""
    if rule is None:
        return "as the settings say"
    if not rule.watch:
        return "not watched"
    if rule.stop_seconds is None:
        return "warned, and not stopped"
    return f"stopped after {seconds_text(rule.stop_seconds)}"


def idle_rows(report: IdleReport) -> list[tuple[str, ...]]:
    """Return one row a job or kernel for :data:`IDLE_COLUMNS`."""
    return [
        *(_job_row(each, report.at) for each in report.jobs),
        *(_kernel_row(each, report.at) for each in report.kernels),
    ]


def _job_row(job: IdleJob, at: float) -> tuple[str, ...]:
    what = {"waits": "alive: ", "idle": "", "hung": "hung: "}[job.state] + job.why
    if job.stops_at is not None:
        what = f"stopped {_clock(job.stops_at)}: {what}"
    gpus = f"{job.gpus} GPU{'' if job.gpus == 1 else 's'}"
    return (f"job {job.job}", job.pool, gpus, _for(job.since, at), _money(job.cost), what)


def _kernel_row(kernel: IdleKernel, at: float) -> tuple[str, ...]:
    who = f"kernel {kernel.pid}" + (f" of {kernel.user}" if kernel.user else "")
    number = "" if kernel.index is None else f" GPU {kernel.index}"
    held = bytes_text(kernel.memory_bytes)
    where = f"{kernel.pool}: {kernel.node}{number}"
    return (who, where, held, _for(kernel.since, at), _money(kernel.cost), kernel.command[:60])


def _for(since: float | None, at: float) -> str:
    return "n/a" if since is None else seconds_text(max(0.0, at - since))


def _money(cost: Money | None) -> str:
    return "n/a" if cost is None else cost.text


def idle_value(report: IdleReport) -> dict[str, Any]:
    """Return it for a program."""

    def paid(each: IdleJob | IdleKernel) -> dict[str, Any]:
        return {"rate": wire_money(each.rate), "cost": wire_money(each.cost)}

    return {
        "at": report.at,
        "jobs": [
            {**_plain(each, "rule"), "rule": to_wire(each.rule), **paid(each)}
            for each in report.jobs
        ],
        "kernels": [{**_plain(each), **paid(each)} for each in report.kernels],
        "silent": [{"pool": pool, "problem": why} for pool, why in report.silent],
    }


def _plain(each: IdleJob | IdleKernel, *but: str) -> dict[str, Any]:
    left_out = {"rate", "cost", *but}
    return {name: value for name, value in vars(each).items() if name not in left_out}


def _clock(at: float) -> str:
    return f"{dt.datetime.fromtimestamp(at, dt.timezone.utc):%Y-%m-%d %H:%M} UTC"
