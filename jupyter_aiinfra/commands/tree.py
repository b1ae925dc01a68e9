"""The verbs of pools and jobs as one click tree, run by magics and command line alike."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from jupyter_aiinfra.commands.context import Context
from jupyter_aiinfra.commands.session import Session
from jupyter_aiinfra.commands.show import (
    ENVIRONMENT_COLUMNS,
    JOB_COLUMNS,
    POOL_COLUMNS,
    environment_rows,
    job_lines,
    job_rows,
    launched_text,
    pool_lines,
    pool_rows,
    state_text,
)
from jupyter_aiinfra.errors import (
    AiInfraError,
    PoolNotFound,
    UnknownOption,
    Unreachable,
    UsageError,
)
from jupyter_aiinfra.leases import positions
from jupyter_aiinfra.logview import ByteRedactor
from jupyter_aiinfra.model import LAUNCHER, Job, JobState, to_wire
from jupyter_aiinfra.pools import kinds, pool_class
from jupyter_aiinfra.training import check_secrets

if TYPE_CHECKING:
    from jupyter_aiinfra.store import Store

__all__ = ["complete_pool_or_job", "invoke", "jobs", "pool"]

_TAKES_CONTEXT = click.make_pass_decorator(Context)


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


class _Verbs(click.Group):
    """A group that, without a verb, does what its first verb does: ``%jobs`` lists."""

    default: str

    def __init__(self, *args: Any, default: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.default = default

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        verb = bool(args) and (not args[0].startswith("-") or args[0] in ("--help", "-h"))
        # While a word is completed (click's resilient parsing) the verb may be still to come.
        if not verb and not ctx.resilient_parsing:
            args = [self.default, *args]
        return super().parse_args(ctx, args)


_SETTINGS = {"help_option_names": ["-h", "--help"]}


# --- pools -------------------------------------------------------------------------------------


@click.group(cls=_Verbs, default="list", context_settings=_SETTINGS)
def pool() -> None:
    """Attach GPU pools and see what is there.

    \b
    Examples:
      pool attach here --kind local
      pool attach other --kind local --python ~/envs/torch/bin/python --max-procs 4
      pool list
      pool show here
      pool detach here
    """  # noqa: D301 - click keeps the lines below its \b


def _complete_pool(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    return _begin(incomplete, lambda store: [record.name for record in store.list_pools()])


def _complete_job(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    return _begin(incomplete, lambda store: [job.id for job in store.list_jobs(limit=50)])


def complete_pool_or_job(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the pools and the jobs whose name begins so."""
    return [*_complete_pool(ctx, param, incomplete), *_complete_job(ctx, param, incomplete)]


def _begin(incomplete: str, words: Callable[[Store], list[str]]) -> list[str]:
    """Return those of `words` that begin like `incomplete`, from a session of their own."""
    session = Session()
    try:
        return [word for word in words(session.engine.store) if word.startswith(incomplete)]
    except AiInfraError:
        # A store that cannot be opened is told by the command, not by the tab key.
        return []
    finally:
        session.close()


class _Attach(click.Command):
    """Adds the options of the pool kind that was named: each kind declares its own."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta["kind"] = _named_kind(args)
        return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        params = super().get_params(ctx)
        kind = ctx.meta.get("kind", "local")
        options: list[click.Parameter] = [
            click.Option([f"--{field.name.replace('_', '-')}"], help=field.metadata.get("help", ""))
            for field in dataclasses.fields(pool_class(kind).options_type)
        ]
        return [*params[:-1], *options, params[-1]]


def _named_kind(args: list[str]) -> str:
    for index, word in enumerate(args):
        if word == "--kind" and index + 1 < len(args):
            return args[index + 1]
        if word.startswith("--kind="):
            return word.partition("=")[2]
    return "local"


@pool.command("attach", cls=_Attach)
@click.argument("name")
@click.option("--kind", default="local", show_default=True, help="what the pool is")
@_TAKES_CONTEXT
def _attach(context: Context, /, name: str, kind: str, **options: str | None) -> None:
    """Attach a pool under NAME, after asking it what is there.

    \b
    Examples:
      pool attach here --kind local
      pool attach four --kind local --max-procs 4
    """  # noqa: D301 - click keeps the lines below its \b
    given = {key: value for key, value in options.items() if value is not None}
    engine = context.session.engine
    view = context.session.run(engine.attach(name, kind=kind, options=given))
    context.surface.text("\n".join(["attached", *pool_lines(view)]))
    context.surface.value(to_wire(view))


@pool.command("list")
@_TAKES_CONTEXT
def _list_pools(context: Context) -> None:
    """List the attached pools, with what each has as of now."""
    views = context.session.run(context.session.engine.pools())
    empty = "no pool is attached yet; attach this machine: %pool attach here --kind local"
    context.surface.table(POOL_COLUMNS, pool_rows(views), empty=empty)
    context.surface.value(to_wire(list(views)))


@pool.command("show")
@click.argument("name", shell_complete=_complete_pool)
@_TAKES_CONTEXT
def _show_pool(context: Context, name: str) -> None:
    """Show one pool: its nodes, their GPUs, Python and packages."""
    view = context.session.run(context.session.engine.show_pool(name))
    context.surface.text("\n".join(pool_lines(view)))
    context.surface.value(to_wire(view))


@pool.command("detach")
@click.argument("name", shell_complete=_complete_pool)
@click.option("--force", is_flag=True, help="even while jobs on it are not over; they go on")
@_TAKES_CONTEXT
def _detach(context: Context, name: str, *, force: bool) -> None:
    """Forget a pool. Nothing on it is touched; attach it again to undo."""
    context.session.run(context.session.engine.detach(name, force=force))
    context.surface.text(f"detached {name}; its jobs and files stay as they are")
    context.surface.value({"detached": name})


@pool.command("reconcile")
@click.argument("name", shell_complete=_complete_pool)
@_TAKES_CONTEXT
def _reconcile(context: Context, name: str) -> None:
    """Hold the record of a pool against what really runs there."""
    found = context.session.run(context.session.engine.reconcile(name))
    lines = [
        *(f"bound    {job}: it had reached its pool unrecorded" for job in found.bound),
        *(f"failed   {job}: it never reached its pool" for job in found.failed),
        *(f"orphan   {job}: it runs, and nothing records it" for job in found.orphans),
    ]
    context.surface.text("\n".join(lines) or f"{name}: the record is true")
    context.surface.value(to_wire(found))


@pool.command("env")
@click.argument("name", shell_complete=_complete_pool)
@click.option("--remove", metavar="DIGEST", help="remove those whose digest begins so")
@_TAKES_CONTEXT
def _environments(context: Context, name: str, *, remove: str | None) -> None:
    """List the environments built on a pool's nodes, or remove one that is not in use.

    \b
    Examples:
      pool env here
      pool env here --remove 3fa85f64
    """  # noqa: D301 - click keeps the lines below its \b
    engine = context.session.engine
    if remove is not None:
        gone = context.session.run(engine.remove_environment(name, remove))
        lines = [f"removed {each.digest[:12]} from {node}" for node, each in gone]
        context.surface.text("\n".join(lines))
    else:
        gone = context.session.run(engine.environments(name))
        empty = f"no environment was built on {name} yet; --env requirements.txt builds one"
        context.surface.table(ENVIRONMENT_COLUMNS, environment_rows(gone), empty=empty)
    context.surface.value([{"node": node, **to_wire(each)} for node, each in gone])


@pool.command("kinds")
@_TAKES_CONTEXT
def _kinds(context: Context) -> None:
    """List the kinds of pools that can be attached."""
    found = sorted(kinds())
    context.surface.text("\n".join(found))
    context.surface.value(found)


# --- jobs --------------------------------------------------------------------------------------


@click.group(cls=_Verbs, default="list", context_settings=_SETTINGS)
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


_JOB = click.argument("job_id", metavar="ID", shell_complete=_complete_job)


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
@click.option("--pool", "pool_name", shell_complete=_complete_pool, help="only this pool's")
@click.option("--active", is_flag=True, help="only those that are not over")
@click.option(
    "--limit",
    default=20,
    show_default=True,
    type=click.IntRange(min=1),
    help="how many at most",
)
@_TAKES_CONTEXT
def _list_jobs(context: Context, pool_name: str | None, *, active: bool, limit: int) -> None:
    """List jobs, newest first."""
    engine = context.session.engine
    silent = context.session.run(engine.tick())
    found = engine.store.list_jobs(pool=pool_name, active=active, limit=limit)
    queued = engine.store.list_jobs(states=[JobState.QUEUED])
    rows = job_rows(found, places=positions(queued))
    context.surface.table(JOB_COLUMNS, rows, empty="no jobs yet")
    if silent:
        context.surface.text(f"as last seen, since the pool does not answer: {', '.join(silent)}")
    context.surface.value(to_wire(list(found)))


@jobs.command("show")
@_JOB
@_TAKES_CONTEXT
def _show_job(context: Context, job_id: str) -> None:
    """Show everything known of one job."""
    job = _refreshed(context, job_id)
    context.surface.text("\n".join(job_lines(job)))
    context.surface.value(to_wire(job))


@jobs.command("logs")
@_JOB
@click.option("--rank", default=0, show_default=True, help="whose log")
@click.option("--launcher", is_flag=True, help="what accelerate launch itself printed")
@click.option("--offset", default=0, type=click.IntRange(min=0), help="begin at this byte")
@click.option("--follow", "-f", is_flag=True, help="go on until the job is over")
@_TAKES_CONTEXT
def _logs(
    context: Context, job_id: str, rank: int, offset: int, *, launcher: bool, follow: bool
) -> None:
    """Print a rank's log, whole or from a byte offset."""
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
@_TAKES_CONTEXT
def _attach_job(context: Context, job_id: str, *, no_fetch: bool) -> Job:
    """Follow a job's output to its end, then bring its results back."""
    job = _refreshed(context, job_id)
    context.surface.hide(_known_secrets(job))
    job = context.surface.watch(job, fetch=not no_fetch)
    context.surface.value(to_wire(job))
    return job


@jobs.command("stacks")
@_JOB
@_TAKES_CONTEXT
def _stacks(context: Context, job_id: str) -> None:
    """Put the stacks of all ranks of a job into their logs, now; they go on."""
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
    type=click.FloatRange(min=0),
    help="seconds until SIGTERM instead of the job's own",
)
@_TAKES_CONTEXT
def _cancel(context: Context, job_id: str, grace: float | None) -> None:
    """Ask a job to end: SIGINT, then SIGTERM, then SIGKILL. Returns at once."""
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
@_TAKES_CONTEXT
def _rerun(context: Context, job_id: str, *, detach: bool) -> Job:
    """Run the same code with the same data on the same pool again, as a new job."""
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
@_TAKES_CONTEXT
def _remove(context: Context, job_id: str) -> None:
    """Forget a job that is over and delete its files."""
    job = context.session.engine.store.get_job(job_id)
    context.session.run(context.session.engine.remove(job.id))
    context.surface.text(f"removed {job.id} and its files")
    context.surface.value({"removed": job.id})
