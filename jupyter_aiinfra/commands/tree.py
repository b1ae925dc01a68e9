"""The verbs of pools and jobs as one click tree, run by magics and command line alike."""

from __future__ import annotations

import os
from typing import Any

import click

from jupyter_aiinfra.commands.context import Context
from jupyter_aiinfra.commands.costshow import cost_lines, cost_now_value
from jupyter_aiinfra.commands.group import (
    SETTINGS,
    TAKES_CONTEXT,
    Verbs,
    complete_job,
    complete_pool,
    seconds_of_option,
)
from jupyter_aiinfra.commands.poolverbs import pool
from jupyter_aiinfra.commands.reconcileshow import leak_lines
from jupyter_aiinfra.commands.show import (
    JOB_COLUMNS,
    job_lines,
    job_rows,
    launched_text,
    state_text,
)
from jupyter_aiinfra.errors import PoolNotFound, UnknownOption, Unreachable, UsageError
from jupyter_aiinfra.leases import positions
from jupyter_aiinfra.logview import ByteRedactor
from jupyter_aiinfra.model import LAUNCHER, Job, JobState, to_wire
from jupyter_aiinfra.training import check_secrets

__all__ = ["invoke", "jobs", "pool"]


def invoke(command: click.Command, words: list[str], *, name: str, context: Context) -> Any:
    """Run `command` with `words`; what click refuses becomes an error of ours.

    Raises
    ------
    UsageError, UnknownOption
        Words that the command does not take.
    """
    try:
        return command.main(
            args=words, prog_name=name, standalone_mode=False, obj=context, auto_envvar_prefix=None
        )
    except click.NoSuchOption as error:
        known = [flag for p in _params(error) for flag in p.opts]
        raise UnknownOption(error.option_name, known) from None
    except click.UsageError as error:
        hint = f"{error.ctx.command_path} --help tells more" if error.ctx else ""
        raise UsageError(error.format_message(), hint=hint) from None
    except click.Abort:
        raise KeyboardInterrupt from None


def _params(error: click.UsageError) -> list[click.Parameter]:
    return error.ctx.command.get_params(error.ctx) if error.ctx else []


# --- jobs --------------------------------------------------------------------------------------


@click.group(cls=Verbs, default="list", context_settings=SETTINGS)
def jobs() -> None:
    """See, follow, stop and repeat jobs. A job is named by its id or a beginning of it.

    \b
    Examples:
      jobs                      newest first
      jobs show 1mz4k           everything known of one job
      jobs logs 1mz4k --rank 1  one rank's log
      jobs attach 1mz4k         follow its output, fetch its results
      jobs cancel 1mz4k         interrupt, then terminate, then kill
      jobs rerun 1mz4k          the same code and data again
    """  # noqa: D301 - click keeps the lines below its \b


_JOB = click.argument("job_id", metavar="ID", shell_complete=complete_job)


def _known_secrets(job: Job) -> list[str]:
    """Return the values of the job's secrets, as far as this process knows them."""
    return [os.environ[name] for name in job.spec.secrets if name in os.environ]


def _refreshed(context: Context, job_id: str) -> Job:
    """Return a job as it is now; as it was last seen, where its pool cannot tell."""
    engine = context.session.engine
    try:
        return context.session.run(engine.refresh(job_id))
    except (Unreachable, PoolNotFound) as error:
        context.surface.text(f"{error.message}; shown as last seen")
        return engine.store.get_job(job_id)


@jobs.command("list")
@click.option("--pool", "pool_name", shell_complete=complete_pool, help="only this pool's")
@click.option("--active", is_flag=True, help="only those that are not over")
@click.option(
    "--limit",
    default=20,
    show_default=True,
    type=click.IntRange(min=1),
    help="how many at most",
)
@TAKES_CONTEXT
def _list_jobs(context: Context, pool_name: str | None, *, active: bool, limit: int) -> None:
    """List jobs, newest first.

    \b
    Examples:
      jobs list --pool here --active
      jobs list --limit 100
    """  # noqa: D301 - click keeps the lines below its \b
    engine = context.session.engine
    silent = context.session.run(engine.tick())
    found = engine.store.list_jobs(pool=pool_name, active=active, limit=limit)
    queued = engine.store.list_jobs(states=[JobState.QUEUED])
    rows = job_rows(found, places=positions(queued))
    of_pool = f" of a pool named {pool_name!r}" if pool_name else ""
    none = f"no {'active ' if active else ''}jobs{of_pool}" if active or of_pool else "no jobs yet"
    context.surface.table(JOB_COLUMNS, rows, empty=none)
    if silent:
        context.surface.text(f"as last seen, since the pool does not answer: {', '.join(silent)}")
    for line in leak_lines(context.session.run(engine.leaks())):
        context.surface.text(line)
    context.surface.value(to_wire(list(found)))


@jobs.command("show")
@_JOB
@TAKES_CONTEXT
def _show_job(context: Context, job_id: str) -> None:
    """Show everything known of one job.

    \b
    Example:
      jobs show 1mz4k
    """  # noqa: D301 - click keeps the lines below its \b
    job = _refreshed(context, job_id)
    now = context.session.engine.costing.now([job])[job.id]
    lines = [*job_lines(job), *cost_lines(now, running=not job.state.final)]
    if job.spec.tags:
        tags = ", ".join(f"{name}={value}" for name, value in sorted(job.spec.tags.items()))
        lines.append(f"  tags    {tags}")
    context.surface.text("\n".join(lines))
    context.surface.value({**to_wire(job), "cost": cost_now_value(now)})


@jobs.command("logs")
@_JOB
@click.option("--rank", default=0, show_default=True, help="whose log")
@click.option("--launcher", is_flag=True, help="what accelerate launch itself printed")
@click.option("--offset", default=0, type=click.IntRange(min=0), help="begin at this byte")
@click.option("--follow", "-f", is_flag=True, help="go on until the job is over")
@TAKES_CONTEXT
def _logs(
    context: Context, job_id: str, rank: int, offset: int, *, launcher: bool, follow: bool
) -> None:
    """Print a rank's log, whole or from a byte offset.

    \b
    Examples:
      jobs logs 1mz4k --follow
      jobs logs 1mz4k --rank 1
      jobs logs 1mz4k --launcher
    """  # noqa: D301 - click keeps the lines below its \b
    engine = context.session.engine
    job = engine.store.get_job(job_id)
    if not launcher and not 0 <= rank < job.spec.world:
        raise UsageError(f"--rank {rank}: job {job.id} has ranks 0 to {job.spec.world - 1}")
    wanted = LAUNCHER if launcher else rank

    hidden = ByteRedactor(_known_secrets(job))

    async def show() -> int:
        end = offset
        async for chunk in engine.logs(job.id, rank=wanted, offset=offset, follow=follow):
            context.surface.log(hidden.feed(chunk.data))
            end = chunk.offset + len(chunk.data)
        context.surface.log(hidden.feed(b"", last=True))
        return end

    end = context.session.run(show())
    context.surface.value({"job": job.id, "rank": wanted, "offset": offset, "end": end})


@jobs.command("attach")
@_JOB
@click.option("--no-fetch", is_flag=True, help="leave the results where they are")
@TAKES_CONTEXT
def _attach_job(context: Context, job_id: str, *, no_fetch: bool) -> Job:
    """Follow a job's output to its end, then bring its results back.

    \b
    Examples:
      jobs attach 1mz4k
      jobs attach 1mz4k --no-fetch
    """  # noqa: D301 - click keeps the lines below its \b
    job = _refreshed(context, job_id)
    context.surface.hide(_known_secrets(job))
    job = context.surface.watch(job, fetch=not no_fetch)
    context.surface.value(to_wire(job))
    return job


@jobs.command("stacks")
@_JOB
@TAKES_CONTEXT
def _stacks(context: Context, job_id: str) -> None:
    """Put the stacks of all ranks of a job into their logs, now; they go on.

    \b
    Example:
      jobs stacks 1mz4k
    """  # noqa: D301 - click keeps the lines below its \b
    job = _refreshed(context, job_id)
    answers = context.session.run(context.session.engine.dump_stacks(job.id))
    lines = [
        f"rank {one.rank}: its stacks are in its log now (by {one.how})"
        if one.how
        else f"rank {one.rank}: no stacks: {one.problem}"
        for one in answers
    ]
    none = f"no rank of job {job.id} runs: {state_text(job)}"
    shown = f"see them with: jobs logs {job.id} --rank N"
    context.surface.text("\n".join([*lines, shown] if lines else [none]))
    context.surface.value({"job": job.id, "ranks": to_wire(answers)})


@jobs.command("cancel")
@_JOB
@click.option(
    "--grace",
    metavar="TIME",
    callback=seconds_of_option("--grace"),
    help="how long until SIGTERM, instead of the job's own: 30s, 5m",
)
@TAKES_CONTEXT
def _cancel(context: Context, job_id: str, grace: float | None) -> None:
    """Ask a job to end: SIGINT, then SIGTERM, then SIGKILL. Returns at once.

    \b
    Examples:
      jobs cancel 1mz4k
      jobs cancel 1mz4k --grace 30s
    """  # noqa: D301 - click keeps the lines below its \b
    engine = context.session.engine
    before = engine.store.get_job(job_id)
    job = context.session.run(engine.cancel(before.id, grace=grace))
    over = f"job {job.id} was over already: {job.state.value}"
    if job.state.final and not before.state.final:
        over = f"job {job.id} is cancelled: it was still waiting for GPUs"
    context.surface.text(over if job.state.final else f"job {job.id} is told to end")
    context.surface.value(to_wire(job))


@jobs.command("rerun")
@_JOB
@click.option("--detach", is_flag=True, help="return at once")
@TAKES_CONTEXT
def _rerun(context: Context, job_id: str, *, detach: bool) -> Job:
    """Run the same code with the same data on the same pool again, as a new job.

    \b
    Examples:
      jobs rerun 1mz4k
      jobs rerun 1mz4k --detach
    """  # noqa: D301 - click keeps the lines below its \b
    engine = context.session.engine
    secrets = check_secrets(engine.store.get_job(job_id).spec.secrets, os.environ)
    context.surface.hide(secrets.values())
    job = context.session.run(engine.rerun(job_id, secrets=secrets))
    context.surface.text(f"job {job.id} runs what {job_id} ran")
    if not detach:
        job = context.surface.watch(job, fetch=True)
    elif job.state is JobState.QUEUED:
        context.surface.text(launched_text(job))
    context.surface.value(to_wire(job))
    return job


@jobs.command("remove")
@_JOB
@TAKES_CONTEXT
def _remove(context: Context, job_id: str) -> None:
    """Forget a job that is over and delete its files.

    \b
    Example:
      jobs remove 1mz4k
    """  # noqa: D301 - click keeps the lines below its \b
    job = context.session.engine.store.get_job(job_id)
    context.session.run(context.session.engine.remove(job.id))
    context.surface.text(f"removed {job.id} and its files")
    context.surface.value({"removed": job.id})
