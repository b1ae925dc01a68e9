"""``schedule``: notebooks that run by themselves; run by magics and command line alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from jupyter_aiinfra.commands.context import Context
from jupyter_aiinfra.commands.differverbs import compare, diff
from jupyter_aiinfra.commands.endpointpromote import promote_endpoint
from jupyter_aiinfra.commands.group import (
    SETTINGS,
    TAKES_CONTEXT,
    Verbs,
    complete_pool,
    complete_schedule,
)
from jupyter_aiinfra.commands.notifyverbs import NOTIFY_OPTIONS, notify_of
from jupyter_aiinfra.commands.scheduleshow import (
    RUN_COLUMNS,
    SCHEDULE_COLUMNS,
    VERSION_COLUMNS,
    run_rows,
    run_value,
    schedule_lines,
    schedule_rows,
    schedule_value,
    slot_rows,
    version_rows,
)
from jupyter_aiinfra.engine.drafting import Draft, local_zone
from jupyter_aiinfra.engine.scheduling import ScheduleView
from jupyter_aiinfra.errors import NotFound, PoolError, UsageError
from jupyter_aiinfra.model import to_wire
from jupyter_aiinfra.promote.outputs import FORMS
from jupyter_aiinfra.promote.triggers import parse_at, parse_every
from jupyter_aiinfra.schedule import Policy, Run, RunState, Trigger

__all__ = ["promote", "schedule"]

_CATCH_UP: Final = ("none", "last", "all")
_OVERLAP: Final = ("skip", "queue", "cancel-previous", "parallel")
_RUNS: Final = 50


@click.group(cls=Verbs, default="list", context_settings=SETTINGS)
def schedule() -> None:
    """Run notebooks by themselves: at times, one after another, or when a file changes.

    They are fired by every Jupyter server with this extension and by `jupyter aiinfra serve`, any
    number of them on one database, each slot once.

    \b
    Examples:
      schedule add report.ipynb --cron "0 2 * * *" --timezone Europe/Berlin --pool lab
      schedule                          what there is, and when it runs next
      schedule run report -p lr 0.1     now, with another value
      schedule runs report --failed
      schedule pause report
    """  # noqa: D301 - click keeps the lines below its \b


@click.group(cls=Verbs, default="schedule", context_settings=SETTINGS)
def promote() -> None:
    """Have a notebook, or what it has made, work without you.

    \b
    Examples:
      promote schedule report.ipynb --cron "0 2 * * *" --pool lab -p lr 0.1
      promote endpoint predict --name digits --pool lab
    """  # noqa: D301 - click keeps the lines below its \b


def _length(flag: str) -> Callable[[click.Context, click.Parameter, str | None], float | None]:
    def read(_ctx: click.Context, _param: click.Parameter, text: str | None) -> float | None:
        return None if text is None else parse_every(text, option=flag)

    return read


def _named(
    _ctx: click.Context, _param: click.Parameter, words: Sequence[tuple[str, str]]
) -> Sequence[tuple[str, str]]:
    # -p NAME=VALUE has taken the next word for its value: what follows would be called wrong.
    for name, value in words:
        if "=" in name:
            raise UsageError(
                f"-p {name} {value}: {name!r} is no name of a parameter",
                hint="a name and a value, with a space between them: -p lr 0.1",
                option="parameter",
            )
    return words


_NAME = click.argument("name", metavar="SCHEDULE", shell_complete=complete_schedule)
_PARAMETER = click.option(
    "-p",
    "--parameter",
    "words",
    nargs=2,
    multiple=True,
    callback=_named,
    metavar="NAME VALUE",
    help="a parameter of the notebook; secret:NAME names a secret",
)

_WANTED: Final[Sequence[Any]] = (
    click.option("--pool", shell_complete=complete_pool, help="where it runs"),
    click.option(
        "--cron", "lines", multiple=True, metavar="LINE", help="minute hour day month weekday"
    ),
    click.option("--every", metavar="TIME", callback=_length("every"), help="such as 15m"),
    click.option(
        "--at", "moments", multiple=True, metavar="TIME", help="such as '2026-12-01 02:30'"
    ),
    click.option(
        "--after", metavar="SCHEDULE", help="when a run of another schedule has succeeded"
    ),
    click.option("--on-end", is_flag=True, help="with --after: however that has ended"),
    click.option("--when-changed", metavar="PATH", help="when a file (or URL) has changed"),
    click.option("--timezone", metavar="ZONE", help="such as Europe/Berlin (this machine's)"),
    _PARAMETER,
    click.option("--catch-up", type=click.Choice(_CATCH_UP), help="of missed slots (none)"),
    click.option(
        "--window",
        metavar="TIME",
        callback=_length("window"),
        help="older slots are not caught up",
    ),
    click.option("--overlap", type=click.Choice(_OVERLAP), help="while a run is not over (skip)"),
    click.option("--parallel", type=click.IntRange(1), help="how many at once; sets --overlap"),
    click.option("--retries", type=click.IntRange(0, 100), help="how often it is tried again (0)"),
    click.option("--backoff", metavar="TIME", callback=_length("backoff"), help="first pause (1m)"),
    click.option(
        "--jitter", metavar="TIME", callback=_length("jitter"), help="begin up to so late"
    ),
    click.option("--until", metavar="TIME", help="no slot after it"),
    click.option("--except", "days", multiple=True, metavar="DAY", help="2026-12-24[/2027-01-06]"),
    click.option("--kernel", metavar="NAME", help="another than the notebook's"),
    click.option("--env", "environment", metavar="FILE", help="an environment built for it"),
    click.option("--gpus", type=click.IntRange(0), help="how many GPUs it wants (0)"),
    click.option("--file", "files", multiple=True, metavar="PATH", help="a file that it reads"),
    click.option(
        "--secret", "secrets", multiple=True, metavar="NAME", help="a secret that it needs"
    ),
    click.option("--cell-timeout", metavar="TIME", callback=_length("cell_timeout")),
    click.option("--timeout", metavar="TIME", callback=_length("timeout"), help="of a whole run"),
    click.option("--output", "outputs", multiple=True, metavar="URL", help="where results go"),
    click.option("--form", "forms", multiple=True, type=click.Choice(FORMS)),
    click.option("--keep", type=click.IntRange(1), help="results of so many runs are kept"),
    click.option(
        "--fired-by",
        type=click.Choice(("server", "pool")),
        help="who starts its slots: any server of ours, or cron on the pool's first node (server)",
    ),
    *NOTIFY_OPTIONS,
    click.option("--note", default="", help="what this version is about"),
)


def _wanted(command: Any) -> Any:
    for option in reversed(_WANTED):
        command = option(command)
    return command


def _draft(
    given: Mapping[str, Any], *, old: Policy, zone: str, options: Mapping[str, Any]
) -> Draft:
    """Return what the options of a line say; what they do not is as it was."""
    zone = given["timezone"] or zone
    return Draft(
        pool=given["pool"],
        timezone=given["timezone"],
        triggers=_triggers(given, zone),
        policy=_policy(given, old, zone),
        words=dict(given["words"]),
        options={**options, **_options(given, options)},
        note=given["note"],
    )


def _triggers(given: Mapping[str, Any], zone: str) -> tuple[Trigger, ...] | None:
    found = []
    if given["lines"]:
        found.append(Trigger(kind="cron", lines=tuple(given["lines"])))
    if given["every"] is not None:
        found.append(Trigger(kind="every", seconds=given["every"]))
    if given["moments"]:
        times = tuple(parse_at(text, zone) for text in given["moments"])
        found.append(Trigger(kind="at", times=times))
    if given["after"]:
        on = "end" if given["on_end"] else "success"
        found.append(Trigger(kind="after", schedule=given["after"], on=on))  # type: ignore[arg-type]
    elif given["on_end"]:
        raise UsageError("--on-end says how --after is meant", option="on_end")
    if given["when_changed"]:
        found.append(Trigger(kind="file", path=_whole(given["when_changed"])))
    return tuple(found) or None


def _whole(path: str) -> str:
    # Who looks at it has another folder to begin from.
    return path if "://" in path else str(Path(path).expanduser().absolute())


def _policy(given: Mapping[str, Any], old: Policy, zone: str) -> Policy:
    values = {
        "catch_up": given["catch_up"],
        "window_seconds": given["window"],
        "overlap": given["overlap"] or ("parallel" if given["parallel"] else None),
        "parallel": given["parallel"],
        "retries": given["retries"],
        "backoff_seconds": given["backoff"],
        "jitter_seconds": given["jitter"],
        "ends_at": None
        if given["until"] is None
        else parse_at(given["until"], zone, option="until"),
        "except_days": tuple(given["days"]) or None,
    }
    return replace(old, **{name: value for name, value in values.items() if value is not None})


def _options(given: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    values = {
        "kernel": given["kernel"],
        "environment": given["environment"],
        "gpus": given["gpus"],
        "files": list(given["files"]) or None,
        "secrets": list(given["secrets"]) or None,
        "cell_seconds": given["cell_timeout"],
        "run_seconds": given["timeout"],
        "outputs": list(given["outputs"]) or None,
        "forms": list(given["forms"]) or None,
        "keep_count": given["keep"],
        "fired_by": given["fired_by"],
        "notify": notify_of(given, old.get("notify") or {}),
    }
    return {name: value for name, value in values.items() if value is not None}


@schedule.command("list")
@click.option("--removed", is_flag=True, help="also those that can be put back")
@TAKES_CONTEXT
def _list(context: Context, *, removed: bool) -> None:
    """List the schedules, with how their last runs ended: + well, x not, s skipped, m missed.

    \b
    Examples:
      schedule list
      schedule list --removed
    """  # noqa: D301 - click keeps the lines below its \b
    views = context.session.engine.schedules.views(removed=removed)
    empty = 'nothing is scheduled: schedule add NOTEBOOK --cron "0 2 * * *" --pool POOL'
    context.surface.table(SCHEDULE_COLUMNS, schedule_rows(views), empty=empty)
    context.surface.value([schedule_value(view) for view in views])


@click.command("add")
@click.argument("notebook", type=click.Path(path_type=Path))
@click.option("--name", help="what it is called (as the notebook)")
@_wanted
@TAKES_CONTEXT
def _add(context: Context, /, notebook: Path, *, name: str | None, **given: Any) -> None:
    """Schedule a notebook: it is frozen as it is now, with what it needs.

    \b
    Examples:
      schedule add report.ipynb --cron "0 2 * * *" --timezone Europe/Berlin --pool lab
      schedule add sync.ipynb --every 15m --pool lab --overlap queue --retries 2
      schedule add train.ipynb --after sync --pool gpus --gpus 1 -p lr 0.1
    """  # noqa: D301 - click keeps the lines below its \b
    engine = context.session.engine
    draft = _draft(given, old=Policy(), zone=local_zone(), options={})
    made = context.session.run(engine.schedules.add(replace(draft, name=name, notebook=notebook)))
    context.surface.text("\n".join(schedule_lines(made)))
    context.surface.value(schedule_value(made))


schedule.add_command(_add, "add")
schedule.add_command(diff)
schedule.add_command(compare)
promote.add_command(_add, "schedule")
promote.add_command(promote_endpoint, "endpoint")


@schedule.command("edit")
@_NAME
@click.option("--notebook", type=click.Path(path_type=Path), help="another notebook")
@click.option("--name", "new_name", help="what it is called from now on")
@_wanted
@TAKES_CONTEXT
def _edit(
    context: Context, /, name: str, *, notebook: Path | None, new_name: str | None, **given: Any
) -> None:
    """Make a new version: the notebook as it is now, and what else is given.

    \b
    Examples:
      schedule edit report --cron "0 3 * * *"
      schedule edit report -p lr 0.2 --retries 2
    """  # noqa: D301 - click keeps the lines below its \b
    engine = context.session.engine
    old = engine.schedules.show(name).version
    draft = _draft(given, old=old.policy, zone=old.timezone, options=old.options)
    asked = replace(draft, name=new_name, notebook=notebook)
    made = context.session.run(engine.schedules.edit(name, asked))
    context.surface.text("\n".join(schedule_lines(made)))
    context.surface.value(schedule_value(made))


@schedule.command("preview")
@click.argument("notebook", type=click.Path(path_type=Path))
@_wanted
@TAKES_CONTEXT
def _preview(context: Context, /, notebook: Path, **given: Any) -> None:
    """Show the next ten slots that a schedule would have. Nothing is recorded.

    \b
    Example:
      schedule preview report.ipynb --cron "30 2 * * *" --timezone Europe/Berlin
    """  # noqa: D301 - click keeps the lines below its \b
    engine = context.session.engine
    draft = _draft(given, old=Policy(), zone=local_zone(), options={})
    _, slots = context.session.run(engine.schedules.preview(replace(draft, notebook=notebook)))
    context.surface.table(
        ("slot", "begins later by"), slot_rows(slots), empty="no slot by the clock"
    )
    context.surface.value([to_wire(slot) for slot in slots])


@schedule.command("show")
@_NAME
@TAKES_CONTEXT
def _show(context: Context, name: str) -> None:
    """Show one schedule, its next slots, versions and last runs.

    \b
    Example:
      schedule show report
    """  # noqa: D301 - click keeps the lines below its \b
    engine = context.session.engine
    view = engine.schedules.show(name)
    context.surface.text("\n".join(schedule_lines(view)))
    versions = engine.schedules.versions(view.schedule.id)
    context.surface.table(VERSION_COLUMNS, version_rows(versions), empty="no version")
    _show_runs(context, view.last_runs)
    context.surface.value(schedule_value(view))


def _show_runs(context: Context, runs: Sequence[Run]) -> None:
    views = context.session.engine.schedules.views(removed=True, slots=0)
    names = {view.schedule.id: view.schedule.name for view in views}
    zones = {view.schedule.id: view.version.timezone for view in views}
    context.surface.table(RUN_COLUMNS, run_rows(runs, names, zones), empty="no run yet")


@schedule.command("runs")
@click.argument("name", metavar="SCHEDULE", required=False, shell_complete=complete_schedule)
@click.option("--failed", is_flag=True, help="only those that failed or were lost")
@click.option("--active", is_flag=True, help="only those that are not over")
@click.option("--find", "text", metavar="TEXT", help="in their id, job or reason")
@click.option("--limit", type=click.IntRange(1), default=_RUNS, show_default=True)
@TAKES_CONTEXT
def _runs(
    context: Context, *, name: str | None, failed: bool, active: bool, text: str | None, limit: int
) -> None:
    """List runs, newest first.

    \b
    Examples:
      schedule runs report
      schedule runs report --failed
    """  # noqa: D301 - click keeps the lines below its \b
    states = None
    if failed:
        states = [RunState.FAILED, RunState.LOST]
    elif active:
        states = [state for state in RunState if not state.final]
    runs = context.session.engine.schedules.runs(name, states=states, text=text, limit=limit)
    _show_runs(context, runs)
    context.surface.value([run_value(run) for run in runs])


@schedule.command("run")
@_NAME
@_PARAMETER
@click.option("--wait", is_flag=True, help="return once it is over")
@TAKES_CONTEXT
def _run(context: Context, *, name: str, words: Sequence[tuple[str, str]], wait: bool) -> None:
    """Run a schedule now, beside its slots; it is started from here.

    \b
    Examples:
      schedule run report
      schedule run report -p lr 0.2 --wait
    """  # noqa: D301 - click keeps the lines below its \b
    engine = context.session.engine
    asked = engine.schedules.run_now(name, words=dict(words))

    async def start() -> Run:
        while True:
            pause = await engine.schedules.tick()
            await engine.schedules.firing.settled()
            run = engine.store.get_run(asked.id)
            if run.state.final or not wait:
                await engine.notifying.tick()  # there need be no server that does
                return run
            await engine.schedules.firing.rest(min(max(pause, 0.1), 1.0))

    run = context.session.run(start())
    _show_runs(context, [run])
    context.surface.value(run_value(run))


@schedule.command("duplicate")
@_NAME
@click.argument("new_name", metavar="NEW_NAME")
@TAKES_CONTEXT
def _duplicate(context: Context, name: str, new_name: str) -> None:
    """Make another schedule of what one runs now, with the same frozen files.

    \b
    Example:
      schedule duplicate report report-of-a-friend
    """  # noqa: D301 - click keeps the lines below its \b
    made = context.session.engine.schedules.duplicate(name, new_name)
    context.surface.text("\n".join(schedule_lines(made)))
    context.surface.value(schedule_value(made))


@schedule.command("cancel")
@click.argument("run_id", metavar="RUN")
@TAKES_CONTEXT
def _cancel(context: Context, run_id: str) -> None:
    """End a run: one that waits at once, one that runs with time to save.

    \b
    Example:
      schedule cancel rw4bqcgtp5
    """  # noqa: D301 - click keeps the lines below its \b
    run = context.session.run(context.session.engine.schedules.cancel_run(run_id))
    _show_runs(context, [run])
    context.surface.value(run_value(run))


def _align(context: Context, view: ScheduleView) -> None:
    """Tell the node whose cron fires it; where that does not answer, a server does so later."""
    try:
        context.session.run(context.session.engine.schedules.align(view.schedule.id))
    except (PoolError, NotFound) as error:
        context.surface.text(f"recorded, but its node was not told: {error.message}")


@schedule.command("pause")
@_NAME
@click.option("--because", default="", metavar="TEXT", help="why, for others")
@TAKES_CONTEXT
def _pause(context: Context, *, name: str, because: str) -> None:
    """Run no more slots; runs that are not over go on.

    \b
    Example:
      schedule pause report
    """  # noqa: D301 - click keeps the lines below its \b
    view = context.session.engine.schedules.pause(name, reason=because)
    _align(context, view)
    context.surface.text(f"{view.schedule.name} is paused; schedule resume has it go on")
    context.surface.value(schedule_value(view))


@schedule.command("resume")
@_NAME
@TAKES_CONTEXT
def _resume(context: Context, name: str) -> None:
    """Run again, from now on: what came while it was paused is not caught up.

    \b
    Example:
      schedule resume report
    """  # noqa: D301 - click keeps the lines below its \b
    view = context.session.engine.schedules.resume(name)
    _align(context, view)
    context.surface.text("\n".join(schedule_lines(view)))
    context.surface.value(schedule_value(view))


@schedule.command("remove")
@_NAME
@TAKES_CONTEXT
def _remove(context: Context, name: str) -> None:
    """Run it no more; `schedule restore` puts it back.

    \b
    Example:
      schedule remove report
    """  # noqa: D301 - click keeps the lines below its \b
    view = context.session.engine.schedules.remove(name)
    _align(context, view)
    context.surface.text(
        f"removed {view.schedule.name}; schedule restore {view.schedule.id} puts it back"
    )
    context.surface.value(schedule_value(view))


@schedule.command("restore")
@click.argument("name", metavar="ID")
@TAKES_CONTEXT
def _restore(context: Context, name: str) -> None:
    """Put back a schedule that was removed.

    \b
    Example:
      schedule restore sae1shxn
    """  # noqa: D301 - click keeps the lines below its \b
    view = context.session.engine.schedules.restore(name)
    _align(context, view)
    context.surface.text("\n".join(schedule_lines(view)))
    context.surface.value(schedule_value(view))


@schedule.command("rollback")
@_NAME
@click.argument("number", metavar="VERSION", type=click.IntRange(1))
@TAKES_CONTEXT
def _rollback(context: Context, name: str, number: int) -> None:
    """Run an earlier version once more, as a new one.

    \b
    Example:
      schedule rollback report 3
    """  # noqa: D301 - click keeps the lines below its \b
    view = context.session.engine.schedules.roll_back(name, number)
    _align(context, view)
    context.surface.text("\n".join(schedule_lines(view)))
    context.surface.value(schedule_value(view))


@schedule.command("purge")
@click.argument("name", metavar="SCHEDULE", required=False, shell_complete=complete_schedule)
@click.option("--older-than", metavar="TIME", callback=_length("older_than"), help="such as 30d")
@click.option("--keep", type=click.IntRange(0), help="keep so many of each schedule")
@click.option("--keep-failures", is_flag=True, help="keep those that failed")
@TAKES_CONTEXT
def _purge(
    context: Context,
    *,
    name: str | None,
    older_than: float | None,
    keep: int | None,
    keep_failures: bool,
) -> None:
    """Delete runs that are over from the record.

    \b
    Example:
      schedule purge report --keep 100
    """  # noqa: D301 - click keeps the lines below its \b
    gone = context.session.engine.schedules.purge(
        name, older_than=older_than, keep=keep, keep_failures=keep_failures
    )
    context.surface.text(f"deleted {len(gone)} runs from the record")
    context.surface.value({"deleted": [run.id for run in gone]})
