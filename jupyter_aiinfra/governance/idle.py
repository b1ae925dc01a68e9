"""Whether a job uses its GPUs: pure, of what they did in a window, and of what the job itself says.

A GPU that does nothing is no proof that its job does nothing: data may be on its way, a checkpoint
be written, a metric be computed on CPUs. So a job is only idle where nothing at all moves: its GPUs
compute nothing, their memory and their bus are still, its processes neither compute nor read nor
write, no rank reports a step and no log grows. What is not known is never held against a job.

A collective call that hangs is the other way round: it keeps a GPU "busy" at 100 % while nothing
comes of it. It is told by the steps that stay away and by the power, which is flat and far below
that of the steps before.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["BUCKET_SECONDS", "IDLE_PERCENT", "Heartbeat", "IdleVerdict", "Pulse", "judge_idle"]

BUCKET_SECONDS: Final = 10.0
"""How long each of what is judged is."""

IDLE_PERCENT: Final = 5.0
"""A GPU that computes less than this in every second is not used."""

_GAP_SECONDS: Final = 180.0
_LATE_SECONDS: Final = 60.0
_MEMORY_BYTES: Final = 256 << 20
_BUS_BYTES: Final = 64 << 20  # a second; an idle card's driver alone makes a little traffic
_SPINS_PERCENT: Final = 90.0
_FLAT_SHARE: Final = 0.12
_FALLEN_SHARE: Final = 0.7
_STEPS_MISSED: Final = 10
_BASELINE: Final = 12
"""So many pulses before the last step tell what power a job takes that works."""


@dataclass(frozen=True)
class Pulse:
    """What all GPUs of a job did in ten seconds from ``at`` on; ``None`` is unknown.

    Utilization and power are those of the GPU that did most: a job is not idle because one of its
    GPUs is. ``memory_bytes`` is of all, ``bus_bytes`` a second both ways, of the busiest.
    """

    at: float
    utilization_most: float | None = None
    utilization_least: float | None = None
    memory_bytes: float | None = None
    bus_bytes: float | None = None
    power_watts: float | None = None


@dataclass(frozen=True, kw_only=True)
class Heartbeat:
    """What a job says of itself: all ``None`` is a job that says nothing, or that is not heard.

    ``said_at`` is when a rank last reported a step or wrote to its log, ``worked_at`` when its
    processes last computed, read or wrote; ``step_at`` the last step alone, ``step_seconds`` how
    long one takes; ``began_at`` when its code began.
    """

    began_at: float | None = None
    said_at: float | None = None
    worked_at: float | None = None
    step_at: float | None = None
    step_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class IdleVerdict:
    """What a window shows.

    ``busy``: GPUs compute. ``waits``: they do not, and the job is alive all the same. ``idle``:
    nothing moves. ``hung``: GPUs spin and nothing comes of it. ``unknown``: not enough is known.
    ``since`` is from when on, ``why`` in a few words. Only ``idle`` and ``hung`` are waste.
    """

    state: Literal["busy", "waits", "idle", "hung", "unknown"]
    since: float | None = None
    why: str = ""

    @property
    def wasteful(self) -> bool:
        """Whether such a job may be stopped."""
        return self.state in ("idle", "hung")


def judge_idle(
    pulses: Sequence[Pulse], heartbeat: Heartbeat, *, seconds: float, now: float
) -> IdleVerdict:
    """Return what the last so many seconds show.

    Parameters
    ----------
    pulses
        In the order of time; those from before the window tell what the job's work looks like.
    """
    # Signs of life are recorded a little late.
    start = now - seconds - _LATE_SECONDS
    if heartbeat.began_at is None or heartbeat.began_at > start:
        return IdleVerdict(state="unknown", why="it has not run for so long")
    window = [each for each in pulses if each.at >= start - BUCKET_SECONDS]
    missing = _missing(window, start=start, now=now)
    if missing:
        return IdleVerdict(state="unknown", why=missing)
    if all((each.utilization_most or 0.0) < IDLE_PERCENT for each in window):
        return _quiet(pulses, window, heartbeat, start=start)
    hung = _hung(pulses, window, heartbeat, seconds=seconds, now=now)
    if hung is not None:
        return hung
    return IdleVerdict(state="busy")


def _missing(window: Sequence[Pulse], *, start: float, now: float) -> str:
    """Return what is not known of a window; nothing where it can be judged."""
    known = [each.at for each in window if each.utilization_most is not None]
    if not known:
        return "its GPUs were not read"
    moments = [start, *known, now]
    gaps = (later - at for at, later in itertools.pairwise(moments))
    # Readings are written down a minute or so late.
    if max(gaps) > _GAP_SECONDS:
        return "its GPUs were not read for a while"
    return ""


# --- GPUs that do nothing ------------------------------------------------------------------------


def _quiet(
    pulses: Sequence[Pulse], window: Sequence[Pulse], heartbeat: Heartbeat, *, start: float
) -> IdleVerdict:
    since = _quiet_since(pulses)
    moved = _moves(window)
    if moved:
        return IdleVerdict(state="waits", since=since, why=moved)
    if heartbeat.said_at is None or heartbeat.worked_at is None:
        return IdleVerdict(state="waits", since=since, why="what it does is not known")
    if heartbeat.said_at >= start:
        return IdleVerdict(state="waits", since=since, why="it reports steps, or its log grows")
    if heartbeat.worked_at >= start:
        return IdleVerdict(
            state="waits", since=since, why="its processes compute on CPUs, read or write"
        )
    alive = max(heartbeat.said_at, heartbeat.worked_at)
    return IdleVerdict(
        state="idle",
        since=max(since, alive),
        why="its GPUs compute nothing, no step is reported, no log grows and no process works",
    )


def _quiet_since(pulses: Sequence[Pulse]) -> float:
    """Return from when on no GPU has computed, as far as the pulses go."""
    since = pulses[-1].at
    for each in reversed(pulses):
        if (each.utilization_most or 0.0) >= IDLE_PERCENT:
            return since
        since = each.at
    return since


def _moves(window: Sequence[Pulse]) -> str:
    """Return what moves on GPUs that do not compute."""
    memory = [each.memory_bytes for each in window if each.memory_bytes is not None]
    if memory and max(memory) - min(memory) > _MEMORY_BYTES:
        return "the memory of its GPUs fills or empties"
    if any(each.bus_bytes is not None and each.bus_bytes > _BUS_BYTES for each in window):
        return "data goes to its GPUs"
    return ""


# --- GPUs that spin ------------------------------------------------------------------------------


def _hung(
    pulses: Sequence[Pulse],
    window: Sequence[Pulse],
    heartbeat: Heartbeat,
    *,
    seconds: float,
    now: float,
) -> IdleVerdict | None:
    """Return that a job hangs, where its own steps and the power of its GPUs both say so."""
    last, took = heartbeat.step_at, heartbeat.step_seconds or 0.0
    if last is None or heartbeat.said_at is None:
        return None
    silent = now - max(last, heartbeat.said_at)
    if silent < max(seconds, _STEPS_MISSED * took) or _moves(window):
        return None
    spins = all(
        each.utilization_least is not None and each.utilization_least >= _SPINS_PERCENT
        for each in window
    )
    power = [each.power_watts for each in window if each.power_watts is not None]
    before = [
        each.power_watts for each in pulses if each.at < last and each.power_watts is not None
    ][-10 * _BASELINE :]
    if not spins or len(power) < len(window) or len(before) < _BASELINE:
        return None
    usual, level = statistics.median(before), statistics.median(power)
    flat = max(power) - min(power) <= _FLAT_SHARE * level
    if not flat or level > _FALLEN_SHARE * usual:
        return None
    return IdleVerdict(
        state="hung",
        since=max(last, heartbeat.said_at),
        why=(
            f"no step for {silent / 60:.0f} min, and its GPUs spin at {level:.0f} W "
            f"where its steps took {usual:.0f} W"
        ),
    )
