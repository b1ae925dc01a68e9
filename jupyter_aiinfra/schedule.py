"""The nouns of what runs by a schedule: what is wanted, each version of it, and each run.

As in :mod:`~jupyter_aiinfra.model`: frozen, ``None`` means unknown, times are seconds since the
epoch.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Literal

from jupyter_aiinfra.model import Submitter, short_id

__all__ = [
    "ACTIVE",
    "CatchUp",
    "Notification",
    "Outcome",
    "Overlap",
    "Policy",
    "Run",
    "RunState",
    "Schedule",
    "Trigger",
    "TriggerKind",
    "Version",
    "new_run_id",
    "new_schedule_id",
]

TriggerKind = Literal["cron", "every", "at", "after", "file"]
CatchUp = Literal["none", "last", "all"]
Overlap = Literal["skip", "queue", "cancel-previous", "parallel"]


class RunState(str, Enum):
    """What is known of a run.

    ``DUE`` is claimed and to be started now, ``QUEUED`` waits for an earlier run, for its own time
    or for the pause before a retry, ``RUNNING`` has a job. Of the final ones ``SKIPPED`` was not
    started because another was running, ``MISSED`` because nobody was there in time.
    """

    DUE = "due"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"
    SKIPPED = "skipped"
    MISSED = "missed"

    @property
    def final(self) -> bool:
        """Whether no further state can follow."""
        return self not in ACTIVE


ACTIVE: Final = frozenset({RunState.DUE, RunState.QUEUED, RunState.RUNNING})
"""The states of a run that is not over."""


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """What makes a schedule run; of the fields, those of its kind are set.

    Parameters
    ----------
    lines
        ``cron``: one or several lines of 5 fields, or of 6 (seconds before them).
    seconds
        ``every``: the interval. ``file``: how often the file is looked at.
    anchor
        ``every``: a moment that the interval is counted from.
    times
        ``at``: the moments.
    schedule, on
        ``after``: the id of the schedule whose runs it follows, and whether each end counts or
        only success.
    path
        ``file``: a path of this machine, or a URL.
    """

    kind: TriggerKind
    lines: tuple[str, ...] = ()
    seconds: float | None = None
    anchor: float | None = None
    times: tuple[float, ...] = ()
    schedule: str | None = None
    on: Literal["success", "end"] = "success"
    path: str | None = None


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What is done where life is not as planned.

    Parameters
    ----------
    catch_up
        Of the slots that nobody was there for: run none, the newest, or all of them.
    window_seconds
        A slot older than this is not caught up; ``None``: however old.
    overlap
        When a slot comes while a run is not over: skip it, queue it behind, cancel that run, or run
        up to ``parallel`` of them at once (and queue more).
    retries
        How often a run that failed, or was lost, is begun again; the first time
        ``backoff_seconds`` later, then each time ``backoff_factor`` times as late, but never later
        than ``backoff_most_seconds``.
    jitter_seconds
        A run begins up to this much after its slot: always the same for one slot.
    ends_at
        No slot after it.
    except_days
        Days without slots, in the zone of the schedule: ``2026-12-24`` or ``2026-12-24/2027-01-06``
        (both included).
    """

    catch_up: CatchUp = "none"
    window_seconds: float | None = None
    overlap: Overlap = "skip"
    parallel: int = 1
    retries: int = 0
    backoff_seconds: float = 60.0
    backoff_factor: float = 2.0
    backoff_most_seconds: float = 3600.0
    jitter_seconds: float = 0.0
    ends_at: float | None = None
    except_days: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Version:
    """What a schedule ran, or runs, at one time. Never changed: editing makes the next number.

    Parameters
    ----------
    notebook
        Where it came from; what runs is in `snapshot`.
    parameters
        All values, as JSON: dates as ISO text, secrets as ``secret:NAME``.
    form
        The JSON schema that they fit.
    options
        How a run runs: kernel, environment, timeouts, outputs and what else
        :mod:`jupyter_aiinfra.promote` reads there.
    snapshot
        What is frozen of notebook, files, environment and git state.
    """

    schedule: str
    number: int
    notebook: str
    pool: str
    timezone: str = "UTC"
    triggers: tuple[Trigger, ...] = ()
    policy: Policy = field(default_factory=Policy)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    form: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    snapshot: Mapping[str, Any] = field(default_factory=dict)
    created_at: float = field(default_factory=time.time)
    created_by: str | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A schedule as it stands; what it runs is its version of that number.

    Parameters
    ----------
    next_due
        When it has to be looked at next; ``None``: not by the clock.
    decided
        Whatever was due up to then is decided.
    upstream
        The schedule whose runs it follows.
    watched, seen
        The file that it watches, and what that looked like.
    revision
        Grows with each change of this row.
    """

    id: str
    name: str
    version: int = 1
    paused_at: float | None = None
    paused_by: str | None = None
    pause_reason: str = ""
    removed_at: float | None = None
    next_due: float | None = None
    decided: float = 0.0
    upstream: str | None = None
    watched: str | None = None
    seen: str | None = None
    revision: int = 0
    created_at: float = field(default_factory=time.time)
    created_by: str | None = None

    @property
    def live(self) -> bool:
        """Whether its slots are run."""
        return self.paused_at is None and self.removed_at is None


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a schedule, or a slot that was not run and why.

    Parameters
    ----------
    key
        What it is for, once in a schedule: ``slot:1767229200``, ``after:RUN``, ``file:…``,
        ``now:…``.
    slot
        The moment it is for; ``None`` where no clock asked for it.
    version
        The number of the version that it runs.
    start_at
        Not sooner than this.
    attempt, job, jobs
        Which attempt it is, the id that the job of it has or will have, and those of earlier
        attempts. An id is chosen before the launch: who comes later cannot launch it twice.
    parameters
        All values of this run; ``None``: those of its version.
    outputs
        What was stored, by form, and what was found in it.
    claim
        The process that starts or ends it just now.
    stop
        Somebody wants it to end.
    slots, last_slot
        A stretch of missed slots is one row: how many, and the last of them.
    """

    id: str
    schedule: str
    version: int
    key: str
    trigger: str
    state: RunState
    slot: float | None = None
    reason: str | None = None
    created_at: float = field(default_factory=time.time)
    start_at: float = 0.0
    started_at: float | None = None
    ended_at: float | None = None
    attempt: int = 1
    job: str | None = None
    jobs: tuple[str, ...] = ()
    parameters: Mapping[str, Any] | None = None
    outputs: Mapping[str, Any] = field(default_factory=dict)
    claim: Submitter | None = None
    stop: bool = False
    slots: int = 1
    last_slot: float | None = None
    revision: int = 0

    def values(self, version: Version) -> Mapping[str, Any]:
        """Return the values of its parameters."""
        return version.parameters if self.parameters is None else self.parameters


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the end of a run's job means for the run.

    Parameters
    ----------
    retry
        Whether another attempt may help.
    outputs
        What was stored, by form, and what was found in it.
    """

    state: RunState
    reason: str | None = None
    retry: bool = True
    outputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Notification:
    """Something to be said to people elsewhere, once.

    Parameters
    ----------
    key
        What it is, and to whom.
    target
        The name of who is told, in the settings.
    event, subject, detail
        What has happened; to which run or budget; and what is known of it.
    due_at
        When it is said next; ``None``: not any more.
    tries, sent_at, problem
        How often it was tried, when it was said, and why not.
    """

    key: str
    target: str
    event: Literal["failure", "success", "missed", "budget"]
    subject: str
    detail: Mapping[str, Any] = field(default_factory=dict)
    created_at: float = field(default_factory=time.time)
    due_at: float | None = None
    tries: int = 0
    sent_at: float | None = None
    problem: str | None = None


def new_schedule_id() -> str:
    """Return a new id: short enough to be typed."""
    return short_id("s", 7)


def new_run_id() -> str:
    """Return a new id of a run."""
    return short_id("r", 9)
