"""How far the ranks of a job are, which one holds the others up, and whether any moves at all."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from jupyter_aiinfra.model import Observation, RankStatus

__all__ = [
    "SIGN_SECONDS",
    "Progress",
    "RankProgress",
    "progress",
    "seconds_text",
    "settled",
    "steadied",
]

_SLOWER = 1.5  # than the median rank
_STEPS_BEHIND = 3
# Ranks are read one after the other, and a record may be a little late.
_SECONDS_BEHIND = 1.0
_STEPS_MISSED = 10
SIGN_SECONDS = 60.0
"""How late the record may be about when a job last gave a sign of life."""
_MINUTE, _HOUR = 60, 3600


@dataclass(frozen=True, kw_only=True)
class RankProgress:
    """One rank that reports its steps. ``behind`` is how many the first one is ahead.

    ``slow`` where its steps take much longer than those of the others, or it is far behind.
    """

    rank: int
    step: int
    step_at: float | None = None
    step_seconds: float | None = None
    behind: int = 0
    slow: bool = False


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A job that reports its steps.

    ``step`` is that of the rank that is ahead, ``of`` how many there will be, where it says so,
    ``step_seconds`` the median of the ranks.
    ``slowest`` is set where one rank holds the others up. ``stalled_seconds`` is how long none has
    made a step, once that is too long. ``metrics`` are those of the first rank that reports any.
    """

    step: int
    step_seconds: float | None
    ranks: tuple[RankProgress, ...]
    slowest: RankProgress | None = None
    stalled_seconds: float | None = None
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    of: int | None = None

    @property
    def text(self) -> str:
        """Say it in one line: ``step 1,240 · 0.42 s a step · rank 3 is slowest: 0.71 s``."""
        parts = [f"step {self.step:,}" + ("" if self.of is None else f" of {self.of:,}")]
        parts += [
            f"{name} {'nan' if value is None else format(value, '.4g')}"
            for name, value in self.metrics.items()
        ]
        if self.step_seconds is not None:
            parts.append(f"{seconds_text(self.step_seconds)} a step")
        if self.slowest is not None:
            parts.append(_slowest_text(self.slowest))
        if self.stalled_seconds is not None:
            waited = seconds_text(self.stalled_seconds)
            parts.append(f"no rank has made a step for {waited}: their stacks are in the logs")
        return " · ".join(parts)


def progress(
    seen: Observation | None, *, stall_seconds: float | None = None, now: float | None = None
) -> Progress | None:
    """Return how far a job is, or ``None`` where no rank has reported a step.

    Parameters
    ----------
    seen
        What was seen of the job.
    stall_seconds
        How long no rank may make a step, and ten of their usual steps at least. The node finds a
        stall itself; this does where its supervisor is gone. ``None`` does not look.
    now
        Seconds since the epoch.
    """
    reporting = [rank for rank in seen.ranks if rank.step is not None] if seen else []
    if seen is None or not reporting:
        return None
    now = time.time() if now is None else now
    ahead = max(rank.step or 0 for rank in reporting)
    times = [rank.step_seconds for rank in reporting if rank.step_seconds is not None]
    # The lower one of two: half of the ranks may be slow, and the others the measure.
    usual = statistics.median_low(times) if times else None
    over = seen.state.final
    ranks = tuple(_rank(rank, ahead=ahead, usual=usual, over=over) for rank in reporting)
    slow = [rank for rank in ranks if rank.slow]
    return Progress(
        step=ahead,
        step_seconds=usual,
        ranks=ranks,
        slowest=max(slow, key=lambda rank: (rank.step_seconds or 0.0, rank.behind), default=None),
        stalled_seconds=None if over else _stalled(seen, reporting, usual, stall_seconds, now),
        metrics=next((rank.metrics for rank in reporting if rank.metrics), {}),
        of=max((rank.step_of for rank in reporting if rank.step_of is not None), default=None),
    )


def settled(seen: Observation) -> Observation:
    """Return `seen` without what changes at every step: how far the ranks are."""
    ranks = tuple(
        dataclasses.replace(
            rank, step=None, step_at=None, step_seconds=None, step_cpu_seconds=None, metrics={}
        )
        for rank in seen.ranks
    )
    return dataclasses.replace(seen, ranks=ranks, said_at=None, worked_at=None)


def steadied(seen: Observation, before: Observation | None) -> Observation:
    """Return `seen` with the last signs of life as they were, if they are hardly any later.

    They change at each look, and are asked for by the minute.
    """
    if before is None:
        return seen
    return dataclasses.replace(
        seen,
        said_at=_steady(seen.said_at, before.said_at),
        worked_at=_steady(seen.worked_at, before.worked_at),
    )


def _steady(now: float | None, before: float | None) -> float | None:
    if now is None or before is None or abs(now - before) >= SIGN_SECONDS:
        return now
    return before


def seconds_text(seconds: float) -> str:
    """Return ``4.2 ms``, ``0.42 s``, ``71 s``, ``5 min 20 s`` or ``2 h 04 min``."""
    if seconds < 0.0995:  # noqa: PLR2004 - shown with two digits, it would be 0.10 s
        return f"{seconds * 1000:.2g} ms"
    if seconds < 9.95:  # noqa: PLR2004 - from here on hundredths are noise
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 2 * _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02d} s"
    return f"{whole // _HOUR:,} h {whole % _HOUR // _MINUTE:02d} min"


def _rank(rank: RankStatus, *, ahead: int, usual: float | None, over: bool) -> RankProgress:
    step = rank.step or 0
    behind = ahead - step
    ended = rank.exit_code is not None or rank.signal is not None
    took = rank.step_seconds
    slow = took is not None and usual is not None and took > _SLOWER * usual
    late = behind >= _STEPS_BEHIND and behind * (usual or 0.0) >= _SECONDS_BEHIND
    return RankProgress(
        rank=rank.rank,
        step=step,
        step_at=rank.step_at,
        step_seconds=took,
        behind=behind,
        slow=slow or (late and not ended and not over),
    )


def _stalled(
    seen: Observation,
    reporting: list[RankStatus],
    usual: float | None,
    limit: float | None,
    now: float,
) -> float | None:
    if seen.stalled_since is not None:
        return max(0.0, now - seen.stalled_since)
    at = [
        rank.step_at
        for rank in reporting
        if rank.step_at is not None and rank.exit_code is None and rank.signal is None
    ]
    if limit is None or seen.supervised or not at:
        return None
    waited = now - max(at)
    return waited if waited >= max(limit, _STEPS_MISSED * (usual or 0.0)) else None


def _slowest_text(rank: RankProgress) -> str:
    late = f"{rank.behind:,} step{'' if rank.behind == 1 else 's'} behind" if rank.behind else ""
    if rank.step_seconds is None:
        return f"rank {rank.rank} is {late}"
    took = f"rank {rank.rank} is slowest: {seconds_text(rank.step_seconds)}"
    return f"{took}, {late}" if rank.behind >= _STEPS_BEHIND else took
