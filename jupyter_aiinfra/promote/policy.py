"""What becomes of each slot: pure decisions, each with its reason in words.

What is decided is a run to be recorded, with a key that is the same whoever comes to it: the store
takes a key once in a schedule.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.promote.triggers import DaysOff, Timetable, delay_of, timetable_of
from jupyter_aiinfra.promote.zones import zone_of
from jupyter_aiinfra.schedule import Policy, Run, RunState, Schedule, Version

__all__ = [
    "LATE_SECONDS",
    "MOST_WAITING",
    "SET_BACK_SECONDS",
    "Ending",
    "Ruling",
    "Verdict",
    "after_attempt",
    "check_policy",
    "moment_text",
    "room",
    "rule",
    "rule_event",
    "slot_key",
]

LATE_SECONDS: Final = 60.0
"""How much later than its slot a run may begin without being one that was missed."""

SET_BACK_SECONDS: Final = 300.0
"""How far a clock may be behind another before it counts as having been put back."""

MOST_WAITING: Final = 1000
"""How many runs of a schedule may wait for each other."""

_MOST_COUNTED: Final = 1000
_AT_ONCE: Final = 100


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One run that is decided on: the fields of it that a decision sets.

    ``cancel`` are the runs that it takes the place of.
    """

    key: str
    trigger: str
    state: RunState
    reason: str | None = None
    slot: float | None = None
    start_at: float = 0.0
    slots: int = 1
    last_slot: float | None = None
    cancel: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """What is decided at one look at a schedule; up to ``decided`` nothing is left to decide."""

    verdicts: tuple[Verdict, ...]
    decided: float
    next_due: float | None


def rule(
    schedule: Schedule,
    version: Version,
    active: Sequence[Run],
    *,
    now: float,
    timetable: Timetable | None = None,
) -> Ruling:
    """Decide about all slots of a schedule up to now that are not decided yet.

    Parameters
    ----------
    active
        Its runs that are not over.
    timetable
        That of `version`, where it is at hand.

    Notes
    -----
    A clock that was put back does no harm: what it comes to once more is taken already. Of many
    slots that are caught up, some are decided at a time, and the next look is due at once.
    """
    times = timetable or timetable_of(version)
    if not schedule.live:
        return Ruling(verdicts=(), decided=now, next_due=None)
    since = schedule.decided
    if since > now + SET_BACK_SECONDS:
        since = now
    if since >= now:
        return Ruling(verdicts=(), decided=since, next_due=times.next_after(since))
    begin, verdicts = _missed(version, times, since=since, now=now)
    slots = times.between(begin, now, most=_AT_ONCE)
    every = len(slots) < _AT_ONCE
    if version.policy.catch_up == "last" and slots and slots[0] <= now - LATE_SECONDS:
        slots = slots[-1:]
    judge = _Overlap(schedule, version, active)
    verdicts += [judge.slot(slot, late=now - slot, newest=slot == slots[-1]) for slot in slots]
    decided = now if every else slots[-1]
    return Ruling(
        verdicts=tuple(verdicts),
        decided=decided,
        next_due=times.next_after(decided) if every else now,
    )


def _missed(
    version: Version, times: Timetable, *, since: float, now: float
) -> tuple[float, list[Verdict]]:
    """Return the moment from which slots are run, and what is said of those before it."""
    policy = version.policy
    on_time = now - LATE_SECONDS
    if since >= on_time:
        return since, []
    oldest = since
    if policy.window_seconds is not None:
        oldest = max(since, now - max(policy.window_seconds, LATE_SECONDS))
    if policy.catch_up == "none":
        begin, why = max(since, on_time), "nobody was there, and missed slots are not caught up"
    elif policy.catch_up == "all":
        begin, why = oldest, f"older than what is caught up ({_time(policy.window_seconds)})"
    else:
        newest = times.last(oldest, now)
        begin = now if newest is None else _before(newest)
        why = "nobody was there, and only the newest slot is caught up"
        if newest is None:
            why = f"older than what is caught up ({_time(policy.window_seconds)})"
    found = times.between(since, begin, most=_MOST_COUNTED)
    if not found:
        return begin, []
    last = found[-1]
    if len(found) == _MOST_COUNTED:
        last = times.last(since, begin) or last
    return begin, [_stretch(version, found, last, why)]


def _before(moment: float) -> float:
    return moment - 1 / 1024


def _stretch(version: Version, found: Sequence[float], last: float, why: str) -> Verdict:
    zone = zone_of(version.timezone)
    count = f"{len(found)}" if found[-1] == last else f"more than {len(found)}"
    what = moment_text(found[0], zone)
    if len(found) > 1:
        what = f"{count} slots from {what} to {moment_text(last, zone)}"
    return Verdict(
        key=slot_key(found[0]),
        trigger="clock",
        state=RunState.MISSED,
        reason=f"{what}: {why}",
        slot=found[0],
        slots=len(found),
        last_slot=last,
    )


def slot_key(slot: float) -> str:
    """Return what a run of a slot is known by in its schedule, whoever decides on it."""
    return f"slot:{slot:.3f}".rstrip("0").rstrip(".")


class _Overlap:
    """What becomes of runs that come while others are not over, one after another."""

    def __init__(self, schedule: Schedule, version: Version, active: Sequence[Run]) -> None:
        self._schedule = schedule
        self._policy = version.policy
        self._zone = zone_of(version.timezone)
        self._active = [(run.id, run.slot, run.state) for run in active]
        self._waiting = sum(run.state is RunState.QUEUED for run in active)

    def slot(self, slot: float, *, late: float, newest: bool) -> Verdict:
        """Decide about one slot; `newest`: no other is decided on after it now."""
        caught_up = late >= LATE_SECONDS
        queue = caught_up and self._policy.catch_up == "all"
        if self._policy.overlap == "cancel-previous" and not queue and not newest:
            return Verdict(
                key=slot_key(slot),
                trigger="clock",
                state=RunState.SKIPPED,
                reason="a newer slot takes its place",
                slot=slot,
            )
        start = slot + delay_of(self._schedule.id, slot, self._policy)
        said = f"caught up, {_time(late)} late" if caught_up else None
        return self.run(
            slot_key(slot),
            trigger="catch-up" if caught_up else "clock",
            slot=slot,
            start_at=start,
            said=said,
            queue=queue,
        )

    def run(
        self,
        key: str,
        *,
        trigger: str,
        slot: float | None,
        start_at: float,
        said: str | None,
        queue: bool = False,
    ) -> Verdict:
        """Decide about one run: start, wait, or skip it."""
        overlap = "queue" if queue else self._policy.overlap
        places = self._policy.parallel if self._policy.overlap == "parallel" else 1
        state, reason = RunState.QUEUED, said
        cancel: tuple[str, ...] = ()
        if overlap == "cancel-previous":
            cancel = tuple(each for each, _, _ in self._active if each)
            self._active.clear()
            if cancel:
                reason = _join(said, f"takes the place of {', '.join(cancel)}")
        elif len(self._active) >= places:
            others = self._named()
            if overlap == "skip":
                return Verdict(
                    key=key,
                    trigger=trigger,
                    state=RunState.SKIPPED,
                    reason=_join(said, f"{others} is not over"),
                    slot=slot,
                )
            if self._waiting >= MOST_WAITING:
                return Verdict(
                    key=key,
                    trigger=trigger,
                    state=RunState.SKIPPED,
                    reason=_join(said, f"{MOST_WAITING} runs wait already"),
                    slot=slot,
                )
            reason = _join(said, f"waits for the end of {others}")
        self._active.append(("", slot, state))
        self._waiting += 1
        return Verdict(
            key=key,
            trigger=trigger,
            state=state,
            reason=reason,
            slot=slot,
            start_at=start_at,
            cancel=cancel,
        )

    def _named(self) -> str:
        run, slot, _ = self._active[0]
        when = "" if slot is None else f" of {moment_text(slot, self._zone)}"
        return f"run {run}{when}" if run else f"the run{when}"


def rule_event(
    schedule: Schedule,
    version: Version,
    active: Sequence[Run],
    *,
    key: str,
    trigger: str,
    now: float,
) -> Verdict | None:
    """Decide about a run that no clock asks for; ``None``: not on this day, or not any more."""
    policy = version.policy
    if not schedule.live or (policy.ends_at is not None and now > policy.ends_at):
        return None
    if policy.except_days and DaysOff(policy.except_days, version.timezone).over(now) is not None:
        return None
    judge = _Overlap(schedule, version, active)
    return judge.run(key, trigger=trigger, slot=None, start_at=now, said=None)


def room(policy: Policy, active: Iterable[Run], *, now: float) -> list[Run]:
    """Return which of the waiting runs of a schedule may be started now, in their order.

    A run that waits for its next attempt keeps its place: nothing else is started meanwhile.
    """
    runs = sorted(active, key=lambda run: (run.start_at, run.created_at, run.id))
    places = policy.parallel if policy.overlap == "parallel" else 1
    taken = sum(run.state is not RunState.QUEUED or run.attempt > 1 for run in runs)
    found = []
    for run in runs:
        if run.state is not RunState.QUEUED or run.stop or run.start_at > now:
            continue
        if run.attempt > 1:
            found.append(run)
        elif taken < places:
            found.append(run)
            taken += 1
    return found


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What follows of the end of an attempt: the state, and when the next attempt may begin."""

    state: RunState
    reason: str | None
    retry_at: float | None = None


def after_attempt(
    policy: Policy, run: Run, state: RunState, reason: str | None, *, retry: bool, now: float
) -> Ending:
    """Decide whether a run that has ended that way is begun again."""
    tried = f"attempt {run.attempt} of {policy.retries + 1}: " if policy.retries else ""
    if state not in (RunState.FAILED, RunState.LOST) or run.stop:
        return Ending(state=state, reason=reason)
    if not retry or run.attempt > policy.retries:
        return Ending(state=state, reason=f"{tried}{reason}" if reason else reason)
    pause = min(
        policy.backoff_seconds * policy.backoff_factor ** (run.attempt - 1),
        policy.backoff_most_seconds,
    )
    said = reason or state.value
    return Ending(
        state=RunState.QUEUED,
        reason=f"{tried}{said}; again in {_time(pause)}",
        retry_at=now + pause,
    )


def check_policy(policy: Policy, timezone: str) -> None:
    """Raise a UsageError that says what of a policy cannot be."""
    DaysOff(policy.except_days, timezone)
    if policy.overlap == "parallel" and not 1 <= policy.parallel <= MOST_WAITING:
        raise UsageError(
            f"{policy.parallel!r} runs at once: from 1 to {MOST_WAITING}", option="overlap"
        )
    if policy.window_seconds is not None and policy.window_seconds <= 0:
        raise UsageError(
            f"a window of {policy.window_seconds!r} s catches nothing up",
            hint="--catch-up none says so",
            option="window",
        )
    if not 0 <= policy.retries <= _MOST_RETRIES:
        raise UsageError(f"{policy.retries!r} retries: from 0 to {_MOST_RETRIES}", option="retries")
    lengths = (policy.window_seconds, policy.jitter_seconds, policy.backoff_seconds)
    if any(each is not None and not each <= _MOST_SECONDS for each in lengths):
        raise UsageError("a window, a jitter and a pause are a year at the most", option="window")
    if policy.jitter_seconds < 0 or policy.backoff_seconds < 0 or policy.backoff_factor < 1:
        raise UsageError(
            "a delay is no less than nothing, and the pauses between retries grow",
            option="jitter" if policy.jitter_seconds < 0 else "backoff",
        )


_MOST_RETRIES: Final = 100
_MOST_SECONDS: Final = 366 * 86400.0


def moment_text(moment: float, zone: ZoneInfo) -> str:
    """Return a moment as people of a zone say it."""
    shown = dt.datetime.fromtimestamp(moment, zone)
    clock = f"{shown:%H:%M:%S}" if shown.second else f"{shown:%H:%M}"
    return f"{shown:%Y-%m-%d} {clock} {shown.tzname()}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "any time"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or (seconds >= size and seconds % size == 0):
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def _join(first: str | None, second: str) -> str:
    return second if first is None else f"{first}; {second}"
