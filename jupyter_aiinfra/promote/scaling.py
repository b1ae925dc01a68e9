"""How many replicas a version is to have, from what its router saw of late; pure."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from jupyter_aiinfra.endpoint import Scaling

__all__ = ["Load", "Seen", "p95_of", "replicas_for"]

_WINDOW_SECONDS = 15.0
_MOST = 0.95


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One look at a version.

    Parameters
    ----------
    requests
        Under way and waiting.
    counts
        Answers so far by latency, as the router counts them.
    """

    at: float
    requests: int
    counts: tuple[int, ...] = ()


@dataclass
class Load:
    """What was seen of a version of late, and how many replicas that wanted."""

    seen: deque[Seen] = field(default_factory=deque)
    wanted: deque[tuple[float, int]] = field(default_factory=deque)

    def note(self, seen: Seen) -> None:
        """Add a look; forget those that count no more."""
        self.seen.append(seen)
        while self.seen[0].at < seen.at - _WINDOW_SECONDS:
            self.seen.popleft()


def p95_of(buckets_ms: Sequence[float], counts: Sequence[int]) -> float | None:
    """Return the bound within which 95 of 100 answers came; ``None`` where there was none."""
    total = sum(counts)
    if not total:
        return None
    reached = 0
    for bound, count in zip(buckets_ms, counts, strict=False):
        reached += count
        if reached >= _MOST * total:
            return float(bound)
    return math.inf


def replicas_for(
    scaling: Scaling,
    load: Load,
    *,
    present: int,
    buckets_ms: Sequence[float],
    last_request: float | None,
    now: float,
) -> int:
    """Return how many replicas there are to be.

    More are there at once; fewer only when fewer have been enough for ``cool_seconds``; none when
    nobody has asked for ``idle_seconds``, and only where that is allowed.

    Parameters
    ----------
    last_request
        When a request came; ``None``: not since that is known.
    """
    asked = max((each.requests for each in load.seen), default=0)
    if scaling.least == 0 and not asked:
        quiet = last_request is None or now - last_request >= scaling.idle_seconds
        if present == 0 or (quiet and _watched_for(load, scaling.idle_seconds, now)):
            load.wanted.clear()
            return 0
    needed = math.ceil(asked / scaling.in_flight)
    slow = _p95(load, buckets_ms)
    if scaling.p95_ms is not None and slow is not None and slow > scaling.p95_ms:
        needed = max(needed, present + 1)
    needed = min(max(needed, scaling.least, 1), scaling.most)
    load.wanted.append((now, needed))
    while load.wanted[0][0] < now - scaling.cool_seconds:
        load.wanted.popleft()
    if needed >= present:
        return needed
    # As many as were ever needed of late; what was seen for a shorter time says nothing.
    return max(count for _, count in load.wanted) if _cooled(load, scaling, now) else present


def _cooled(load: Load, scaling: Scaling, now: float) -> bool:
    return now - load.wanted[0][0] >= 0.9 * scaling.cool_seconds


def _watched_for(load: Load, seconds: float, now: float) -> bool:
    """Whether it was looked at long enough to say that nothing came."""
    return bool(load.seen) and now - load.seen[0].at >= min(seconds, 0.5 * _WINDOW_SECONDS)


def _p95(load: Load, buckets_ms: Sequence[float]) -> float | None:
    """Return it of the answers within the window."""
    if len(load.seen) < 2:  # noqa: PLR2004
        return None
    first, last = load.seen[0].counts, load.seen[-1].counts
    if len(first) != len(last) or any(a > b for a, b in zip(first, last, strict=True)):
        return None  # the router has begun to count anew
    return p95_of(buckets_ms, [b - a for a, b in zip(first, last, strict=True)])
