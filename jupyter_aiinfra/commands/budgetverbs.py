"""``budget`` and ``idle``: what acts on cost and waste; run by magics and command line alike."""

from __future__ import annotations

import getpass
import time
from typing import Any

import click

from jupyter_aiinfra.commands.budgetshow import (
    BUDGET_COLUMNS,
    IDLE_COLUMNS,
    budget_lines,
    budget_rows,
    budget_value,
    idle_rows,
    idle_value,
    rule_text,
)
from jupyter_aiinfra.commands.context import Context
from jupyter_aiinfra.commands.group import (
    SETTINGS,
    TAKES_CONTEXT,
    Verbs,
    complete_budget,
    complete_job,
    complete_pool,
    complete_pool_or_job,
    seconds_of_option,
)
from jupyter_aiinfra.commands.launch_line import idle_rule
from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.governance import ACTIONS, PERIODS, SCOPES, make_budget
from jupyter_aiinfra.model import to_wire

__all__ = ["budget", "idle"]

_DECISIONS = 20


@click.group(cls=Verbs, default="list", context_settings=SETTINGS)
def budget() -> None:
    """Say what may be spent, and what is done once it is.

    Budgets are kept by whoever looks: a Jupyter server does by itself, and so does each kernel that
    follows a job and each `jobs` of the command line. Days and months are those of UTC.

    \b
    Examples:
      budget set 200usd --user anna
      budget set 5000usd --project llm --action ask --warn-at 70
      budget set 20usd --job 1mz4k
      budget                        what is set, and how far it is spent
      budget show b1mz4k            one of them, and what it has done
      budget snooze b1mz4k --for 2h
      budget remove b1mz4k
    """  # noqa: D301 - click keeps the lines below its \b


def _of_what(command: Any) -> Any:
    complete = {"job": complete_job, "pool": complete_pool}
    for name in reversed([each for each in SCOPES if each != "all"]):
        shown = "the cost of this job" if name == "job" else f"the cost of this {name}"
        option = click.option(
            f"--{name}", metavar="NAME", help=shown, shell_complete=complete.get(name)
        )
        command = option(command)
    return click.option("--all", "all_", is_flag=True, help="the cost of everything")(command)


_NAME = click.argument("name", metavar="BUDGET", shell_complete=complete_budget)


@budget.command("list")
@TAKES_CONTEXT
def _list(context: Context) -> None:
    """List the budgets, with how far each is spent.

    \b
    Example:
      budget list
    """  # noqa: D301 - click keeps the lines below its \b
    views = context.session.engine.governor.views()
    context.surface.table(
        BUDGET_COLUMNS, budget_rows(views), empty="no budget is set: budget set 200usd --user anna"
    )
    context.surface.value([budget_value(each) for each in views])


@budget.command("show")
@_NAME
@TAKES_CONTEXT
def _show(context: Context, name: str) -> None:
    """Show one budget, and what was decided by it.

    \b
    Example:
      budget show anna
    """  # noqa: D301 - click keeps the lines below its \b
    engine = context.session.engine
    view = engine.governor.view(name)
    decisions = engine.store.decisions(by=view.budget.id, limit=_DECISIONS)
    context.surface.text("\n".join(budget_lines(view, decisions)))
    context.surface.value(budget_value(view, decisions))


@budget.command("set")
@click.argument("amount")
@_of_what
@click.option("--period", type=click.Choice(PERIODS), help="month, or total for a job")
@click.option(
    "--action",
    type=click.Choice(ACTIONS),
    default="stop",
    show_default=True,
    help="what is done at the limit",
)
@click.option("--warn-at", type=click.FloatRange(0, 100), help="percent at which is warned (80)")
@click.option(
    "--grace",
    metavar="TIME",
    callback=seconds_of_option("--grace"),
    help="how long jobs may take to save when they are stopped (2m, or their own)",
)
@click.option(
    "--answer-in",
    metavar="TIME",
    callback=seconds_of_option("--answer-in"),
    help="how long `ask` waits for an answer before it stops the jobs (15m)",
)
@TAKES_CONTEXT
def _set(context: Context, /, amount: str, *, all_: bool, **given: Any) -> None:
    """Set a budget. One of the same scope and period is changed.

    \b
    warn     says so at the limit
    refuse   lets no more jobs begin
    ask      does that too, and stops jobs unless somebody says in time that they may go on
    stop     does that too, and stops jobs: a signal, time to save, the end

    \b
    Examples:
      budget set 200usd --user anna
      budget set 30eur --pool lab --period day --action refuse
      budget set 5000usd --project llm --action ask --answer-in 1h
      budget set 20usd --job 1mz4k --grace 5m
    """  # noqa: D301 - click keeps the lines below its \b
    wanted = {each: given[each.replace("-", "_")] for each in SCOPES if each != "all"}
    named = {name: value for name, value in wanted.items() if value is not None}
    warn_at: float | None = given["warn_at"]
    if len(named) + all_ != 1:
        raise UsageError(
            "a budget counts the cost of one thing",
            hint="such as --user anna, --pool lab, --project llm, --job ID or --all",
        )
    scope, subject = next(iter(named.items()), ("all", ""))
    asked = make_budget(
        amount,
        scope=scope,
        subject=subject,
        period=given["period"],
        action=given["action"],
        warn_at=None if warn_at is None else warn_at / 100,
        grace_seconds=given["grace"],
        ask_seconds=given["answer_in"],
        by=getpass.getuser(),
        now=time.time(),
    )
    governor = context.session.engine.governor
    made = governor.set_budget(asked)
    context.session.run(context.session.engine.govern())
    view = governor.view(made.id)
    context.surface.text("\n".join(budget_lines(view, ())))
    context.surface.value(budget_value(view))


@budget.command("snooze")
@_NAME
@click.option(
    "--for",
    "seconds",
    default="1h",
    show_default=True,
    metavar="TIME",
    callback=seconds_of_option("--for"),
    help="how long it does nothing",
)
@click.option("--wake", is_flag=True, help="have it act again now")
@TAKES_CONTEXT
def _snooze(context: Context, name: str, seconds: float, *, wake: bool) -> None:
    """Have a budget do nothing for a while: jobs go on, and new ones may begin.

    \b
    Examples:
      budget snooze b1mz4k
      budget snooze anna --for 1d
      budget snooze anna --wake
    """  # noqa: D301 - click keeps the lines below its \b
    governor = context.session.engine.governor
    done = governor.snooze(name, seconds=None if wake else seconds)
    view = governor.view(done.id)
    context.surface.text("\n".join(budget_lines(view, ())))
    context.surface.value(budget_value(view))


@budget.command("stop")
@_NAME
@TAKES_CONTEXT
def _stop(context: Context, name: str) -> None:
    """Stop the jobs that a budget counts, now, with time to save.

    \b
    Example:
      budget stop anna
    """  # noqa: D301 - click keeps the lines below its \b
    engine = context.session.engine
    stopped = context.session.run(engine.governor.stop_jobs(name, by=getpass.getuser()))
    text = f"told to end, with time to save: {', '.join(stopped)}" if stopped else "no job runs"
    context.surface.text(text)
    context.surface.value({"stopped": list(stopped)})


@budget.command("remove")
@_NAME
@TAKES_CONTEXT
def _remove(context: Context, name: str) -> None:
    """Forget a budget. Jobs that it is stopping are stopped all the same.

    \b
    Example:
      budget remove anna
    """  # noqa: D301 - click keeps the lines below its \b
    removed = context.session.engine.governor.remove(name)
    context.surface.text(f"removed {removed.id}")
    context.surface.value({"removed": removed.id})


# --- idle GPUs -----------------------------------------------------------------------------------


@click.group(cls=Verbs, default="show", context_settings=SETTINGS)
def idle() -> None:
    """See who holds GPUs without using them and what that costs, and say what is done about it.

    \b
    Examples:
      idle                    jobs and notebook kernels with idle GPUs
      idle show lab           of one pool
      idle set lab 30m        stop jobs of a pool that do not use their GPUs for 30 minutes
      idle set 1mz4k never    leave this job alone
      idle rules              what is done where
    """  # noqa: D301 - click keeps the lines below its \b


@idle.command("show")
@click.argument("pool", required=False, shell_complete=complete_pool)
@TAKES_CONTEXT
def _idle_show(context: Context, pool: str | None) -> None:
    """Show jobs and kernels that hold GPUs which compute nothing.

    \b
    Examples:
      idle show
      idle show lab
    """  # noqa: D301 - click keeps the lines below its \b
    if pool is not None:
        context.session.engine.store.get_pool(pool)
    report = context.session.run(context.session.engine.governor.idle(pool=pool))
    empty = "no job and no kernel is seen to hold GPUs without using them"
    context.surface.table(IDLE_COLUMNS, idle_rows(report), empty=empty)
    for name, why in report.silent:
        context.surface.text(f"{name} could not be read: {why}")
    context.surface.value(idle_value(report))


@idle.command("set")
@click.argument("name", metavar="POOL|JOB", shell_complete=complete_pool_or_job)
@click.argument("what", metavar="TIME|warn|never|default")
@TAKES_CONTEXT
def _idle_set(context: Context, name: str, what: str) -> None:
    """Say what is done when jobs of a pool, or one job, do not use their GPUs.

    \b
    TIME     they are stopped after so long, with time to save
    warn     it is said, and nothing is stopped
    never    nobody looks
    default  as the settings say

    \b
    Examples:
      idle set lab 30m
      idle set lab warn
      idle set 1mz4k never
    """  # noqa: D301 - click keeps the lines below its \b
    rule = None if what == "default" else idle_rule("idle set", what)
    context.session.engine.governor.set_idle(name, rule)
    context.surface.text(f"{name}: {rule_text(rule)}")
    context.surface.value({"name": name, "rule": None if rule is None else to_wire(rule)})


@idle.command("rules")
@TAKES_CONTEXT
def _idle_rules(context: Context) -> None:
    """List what is done about idle GPUs, by pool and job.

    \b
    Example:
      idle rules
    """  # noqa: D301 - click keeps the lines below its \b
    rules = context.session.engine.store.idle_rules()
    rows = [(name, rule_text(rule)) for name, rule in sorted(rules.items())]
    context.surface.table(("pool or job", "idle jobs are"), rows, empty="as the settings say")
    context.surface.value({name: to_wire(rule) for name, rule in rules.items()})
