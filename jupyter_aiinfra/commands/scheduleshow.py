"""Schedules and their runs as tables, lines and values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from jupyter_aiinfra.commands.show import duration_text
from jupyter_aiinfra.engine.scheduling import ScheduleView, Slot
from jupyter_aiinfra.model import to_wire
from jupyter_aiinfra.promote.crontab import pool_fires
from jupyter_aiinfra.promote.policy import moment_text
from jupyter_aiinfra.promote.zones import zone_of
from jupyter_aiinfra.schedule import Run, RunState, Trigger, Version

__all__ = [
    "RUN_COLUMNS",
    "SCHEDULE_COLUMNS",
    "VERSION_COLUMNS",
    "run_rows",
    "run_value",
    "schedule_lines",
    "schedule_rows",
    "schedule_value",
    "slot_rows",
    "trigger_text",
    "version_rows",
]

SCHEDULE_COLUMNS: Final = ("name", "runs", "next", "last runs", "pool", "state")
RUN_COLUMNS: Final = ("run", "schedule", "for", "state", "took", "job", "why")
VERSION_COLUMNS: Final = ("version", "since", "by", "when", "parameters", "note")

_LAST: Final = 10
_MARKS: Final = {
    RunState.SUCCEEDED: "+",
    RunState.FAILED: "x",
    RunState.LOST: "x",
    RunState.CANCELLED: "c",
    RunState.SKIPPED: "s",
    RunState.MISSED: "m",
}


def trigger_text(version: Version) -> str:
    """Return in words when a version runs."""
    said = [_trigger(each, version) for each in version.triggers]
    return "; ".join(said) or "only when asked"


def _trigger(trigger: Trigger, version: Version) -> str:
    if trigger.kind == "cron":
        return f"{' | '.join(trigger.lines)} ({version.timezone})"
    if trigger.kind == "every":
        return f"every {duration_text(trigger.seconds)}"
    if trigger.kind == "at":
        zone = zone_of(version.timezone)
        return "at " + ", ".join(moment_text(each, zone) for each in trigger.times)
    if trigger.kind == "after":
        return f"after {trigger.schedule} ({trigger.on})"
    return f"when {trigger.path} changes"


def schedule_rows(views: Sequence[ScheduleView]) -> list[tuple[str, ...]]:
    """Return a row a schedule."""
    return [
        (
            view.schedule.name,
            trigger_text(view.version),
            view.next_slots[0].text if view.next_slots else "",
            "".join(_MARKS.get(run.state, ".") for run in reversed(view.last_runs[:_LAST])),
            view.version.pool,
            f"{view.state}: {view.problem}" if view.problem else view.state,
        )
        for view in views
    ]


def schedule_lines(view: ScheduleView) -> list[str]:
    """Return all that is to be known of one schedule."""
    schedule, version, policy = view.schedule, view.version, view.version.policy
    lines = [
        f"{schedule.name} ({schedule.id}), {view.state}, version {version.number}",
        f"  notebook    {version.notebook} on {version.pool}",
        f"  runs        {trigger_text(version)}",
        f"  missed      catches up {policy.catch_up}{_window(policy.window_seconds)}",
        f"  overlap     {policy.overlap}{_parallel(version)}",
        f"  retries     {policy.retries}",
    ]
    if pool_fires(version):
        lines.append(f"  fired by    cron on the first node of {version.pool}")
    if version.parameters:
        said = ", ".join(f"{name}={value!r}" for name, value in version.parameters.items())
        lines.append(f"  parameters  {said}")
    if policy.except_days:
        lines.append(f"  not on      {', '.join(policy.except_days)}")
    if policy.ends_at is not None:
        lines.append(f"  until       {moment_text(policy.ends_at, zone_of(version.timezone))}")
    if view.problem:
        lines.append(f"  problem     {view.problem}")
    lines += [f"  next        {slot.text}" for slot in view.next_slots]
    if view.state == "ended":
        lines.append(
            "  next        none, its times are over: "
            f"schedule run {schedule.name} runs it now, schedule edit gives it others"
        )
    return lines


def _window(seconds: float | None) -> str:
    return "" if seconds is None else f" of the last {duration_text(seconds)}"


def _parallel(version: Version) -> str:
    return f" {version.policy.parallel}" if version.policy.overlap == "parallel" else ""


def schedule_value(view: ScheduleView) -> dict[str, Any]:
    """Return a schedule as plain data."""
    version = to_wire(view.version)
    version.pop("snapshot")  # as large as what it freezes
    return {
        **to_wire(view.schedule),
        "state": view.state,
        "version": version,
        "next": [to_wire(slot) for slot in view.next_slots],
        "last_runs": [run_value(run) for run in view.last_runs],
        "problem": view.problem,
    }


def slot_rows(slots: Sequence[Slot]) -> list[tuple[str, ...]]:
    """Return a row a slot."""
    return [(slot.text, duration_text(slot.start_at - slot.slot)) for slot in slots]


def run_rows(
    runs: Sequence[Run], names: dict[str, str], zones: dict[str, str]
) -> list[tuple[str, ...]]:
    """Return a row a run; by the name and the zone of its schedule."""
    return [
        (
            run.id,
            names.get(run.schedule, run.schedule),
            _for(run, zones.get(run.schedule, "UTC")),
            run.state.value if run.attempt == 1 else f"{run.state.value} ({run.attempt} attempts)",
            _took(run),
            run.job or "",
            run.reason or "",
        )
        for run in runs
    ]


def _for(run: Run, zone: str) -> str:
    if run.slot is None:
        return run.trigger
    more = f" and {run.slots - 1} more" if run.slots > 1 else ""
    return moment_text(run.slot, zone_of(zone)) + more


def _took(run: Run) -> str:
    if run.started_at is None or run.ended_at is None:
        return ""
    return duration_text(run.ended_at - run.started_at)


def run_value(run: Run) -> dict[str, Any]:
    """Return a run as plain data."""
    value: dict[str, Any] = to_wire(run)
    value.pop("claim")
    return value


def version_rows(versions: Sequence[Version]) -> list[tuple[str, ...]]:
    """Return a row a version."""
    return [
        (
            str(each.number),
            moment_text(each.created_at, zone_of(each.timezone)),
            each.created_by or "",
            trigger_text(each),
            ", ".join(f"{name}={value!r}" for name, value in each.parameters.items()),
            each.note,
        )
        for each in versions
    ]
