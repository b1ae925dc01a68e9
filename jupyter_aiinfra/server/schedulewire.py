"""What crosses between server and browser of schedules and their runs; see ``wire.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from jupyter_aiinfra.engine.scheduling import ScheduleView, Slot
from jupyter_aiinfra.schedule import Policy, Run, RunState, Trigger, Version

__all__ = [
    "PauseRequest",
    "PreviewItem",
    "RollbackRequest",
    "RunItem",
    "RunRequest",
    "RunsPage",
    "ScheduleDetail",
    "ScheduleItem",
    "ScheduleRequest",
    "SchedulesItem",
    "SlotItem",
    "VersionItem",
    "run_item",
    "schedule_item",
    "slot_item",
    "version_item",
]

_State = Literal["active", "paused", "removed", "ended"]


@dataclass(frozen=True, kw_only=True)
class SlotItem:
    """A moment that a schedule is due at, when its run begins, and how its zone says it."""

    slot: float
    start_at: float
    text: str


@dataclass(frozen=True, kw_only=True)
class RunItem:
    """A run of a schedule, or a slot that was not run and why.

    Parameters
    ----------
    trigger
        ``clock``, ``catch-up``, ``after``, ``file``, ``now`` or ``rerun``.
    slot
        The moment it is for; ``null`` where no clock asked for it.
    slots, last_slot
        A stretch of missed slots is one: how many, and the last of them.
    job, jobs
        The job of the present attempt, and those of earlier ones.
    parameters
        All values; ``null``: those of its version.
    outputs
        What was stored of it.
    """

    id: str
    schedule: str
    schedule_name: str
    version: int
    trigger: str
    state: RunState
    slot: float | None
    reason: str | None
    created_at: float
    start_at: float
    started_at: float | None
    ended_at: float | None
    attempt: int
    job: str | None
    jobs: tuple[str, ...]
    parameters: Mapping[str, Any] | None
    outputs: Mapping[str, Any]
    stopping: bool
    slots: int
    last_slot: float | None


@dataclass(frozen=True, kw_only=True)
class VersionItem:
    """What a schedule runs, or ran: all but the frozen files."""

    number: int
    notebook: str
    pool: str
    timezone: str
    triggers: tuple[Trigger, ...]
    policy: Policy
    parameters: Mapping[str, Any]
    form: Mapping[str, Any]
    options: Mapping[str, Any]
    created_at: float
    created_by: str | None
    note: str


@dataclass(frozen=True, kw_only=True)
class ScheduleItem:
    """A schedule, what it runs, when next, and how its last runs ended (the newest first).

    ``problem`` says why it does not run, or what keeps its file from being looked at.
    """

    id: str
    name: str
    state: _State
    version: VersionItem
    next_slots: tuple[SlotItem, ...]
    last_runs: tuple[RunItem, ...]
    paused_at: float | None
    paused_by: str | None
    problem: str
    created_at: float
    created_by: str | None


@dataclass(frozen=True, kw_only=True)
class SchedulesItem:
    """All schedules, by name."""

    schedules: tuple[ScheduleItem, ...]


@dataclass(frozen=True, kw_only=True)
class ScheduleDetail:
    """A schedule and its versions, the newest first."""

    item: ScheduleItem
    versions: tuple[VersionItem, ...]


@dataclass(frozen=True, kw_only=True)
class ScheduleRequest:
    """Make a schedule, or a version of one; what is ``null`` is as it was, or as is usual.

    ``notebook`` is a path below the server's root, ``parameters`` are all values that are given.
    """

    name: str | None = None
    notebook: str | None = None
    pool: str | None = None
    timezone: str | None = None
    triggers: tuple[Trigger, ...] | None = None
    policy: Policy | None = None
    parameters: Mapping[str, Any] | None = None
    options: Mapping[str, Any] | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class PreviewItem:
    """The next slots that a schedule would have, and the form of its notebook's parameters."""

    slots: tuple[SlotItem, ...]
    form: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class PauseRequest:
    """Run no more slots, and why."""

    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class RollbackRequest:
    """Run an earlier version once more."""

    number: int


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """Run a schedule now; ``parameters`` go over those of its version."""

    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RunsPage:
    """Runs, the newest first; ``more``: there are others behind the last."""

    runs: tuple[RunItem, ...]
    more: bool


def slot_item(slot: Slot) -> SlotItem:
    """Return a slot as it crosses."""
    return SlotItem(slot=slot.slot, start_at=slot.start_at, text=slot.text)


def run_item(run: Run, name: str) -> RunItem:
    """Return a run as it crosses, with the name of its schedule."""
    return RunItem(
        id=run.id,
        schedule=run.schedule,
        schedule_name=name,
        version=run.version,
        trigger=run.trigger,
        state=run.state,
        slot=run.slot,
        reason=run.reason,
        created_at=run.created_at,
        start_at=run.start_at,
        started_at=run.started_at,
        ended_at=run.ended_at,
        attempt=run.attempt,
        job=run.job,
        jobs=run.jobs,
        parameters=run.parameters,
        outputs=run.outputs,
        stopping=run.stop and not run.state.final,
        slots=run.slots,
        last_slot=run.last_slot,
    )


def version_item(version: Version) -> VersionItem:
    """Return a version as it crosses: without what is frozen."""
    return VersionItem(
        number=version.number,
        notebook=version.notebook,
        pool=version.pool,
        timezone=version.timezone,
        triggers=version.triggers,
        policy=version.policy,
        parameters=version.parameters,
        form=version.form,
        options=version.options,
        created_at=version.created_at,
        created_by=version.created_by,
        note=version.note,
    )


def schedule_item(view: ScheduleView) -> ScheduleItem:
    """Return a schedule as it crosses."""
    schedule = view.schedule
    return ScheduleItem(
        id=schedule.id,
        name=schedule.name,
        state=view.state,
        version=version_item(view.version),
        next_slots=tuple(slot_item(each) for each in view.next_slots),
        last_runs=tuple(run_item(run, schedule.name) for run in view.last_runs),
        paused_at=schedule.paused_at,
        paused_by=schedule.paused_by,
        problem=view.problem,
        created_at=schedule.created_at,
        created_by=schedule.created_by,
    )
