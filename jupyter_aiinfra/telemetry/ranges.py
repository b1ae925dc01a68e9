"""Curves of what was recorded, between any two times, of as many points as can be drawn."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.store.readings import ChunkKey
from jupyter_aiinfra.telemetry.packing import Columns, columns
from jupyter_aiinfra.telemetry.rollup import HOUR, RESOLUTIONS, ReadingStore, chunk_start
from jupyter_aiinfra.telemetry.series import GPU_SERIES, MOST_STEPS, GpuSeries

__all__ = ["MOST_POINTS", "By", "Curve", "Range", "read_range"]

By = Literal["gpu", "node", "pool"]

MOST_POINTS: Final = 2000
_FINER: Final = 8
"""As many finer buckets as this may go into a point: more would be read for nothing to be seen."""
_SERIES: Final[Mapping[str, GpuSeries]] = {series.name: series for series in GPU_SERIES}


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One series of one GPU, or of all of a node or pool together, by buckets; ``None`` is a gap.

    In the unit of the series; of one without a spread, least and most are those of the means.
    """

    pool: str
    node: str | None
    gpu: str | None
    series: str
    mean: tuple[float | None, ...]
    least: tuple[float | None, ...]
    most: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class Range:
    """Curves over the same buckets: the first begins at ``start``, each is ``width_seconds``."""

    start: float
    width_seconds: int
    count: int
    curves: tuple[Curve, ...]


def read_range(
    store: ReadingStore,
    *,
    start: float,
    end: float,
    points: int,
    now: float,
    series: Sequence[str] = ("utilization",),
    pool: str | None = None,
    nodes: Collection[str] | None = None,
    gpus: Collection[str] | None = None,
    by: By = "gpu",
) -> Range:
    """Return curves between two times, of `points` buckets at most.

    Parameters
    ----------
    by
        What a curve is of: one GPU, or the mean of all GPUs of a node or a pool.

    Raises
    ------
    UsageError
        Times, a number of points or a series that cannot be.
    """
    _check(start, end, points, series)
    resolution = _resolution(end - start, points, age=now - start)
    width = resolution * max(1, math.ceil((end - start) / resolution / points))
    # Buckets begin at multiples of their width: the first may do so before `start`.
    while math.ceil((end - start // width * width) / width) > points:
        width += resolution
    first = int(start // width) * width
    count = math.ceil((end - first) / width)
    found = store.chunks(
        resolution,
        start=chunk_start(first, resolution),
        end=math.ceil(end),
        pool=pool,
        nodes=nodes,
    )
    cells: dict[tuple[str, str | None, str | None, str], _Cells] = {}
    for key, data in found.items():
        for alike in _alike(columns(data, series=series, gpus=gpus), together=by != "gpu"):
            node = None if by == "pool" else key.node
            which = (key.pool, node, alike[0].gpu if by == "gpu" else None, alike[0].series)
            if which not in cells:
                cells[which] = _Cells(first, width, count)
            cells[which].gather(alike, key)
    return Range(
        start=float(first),
        width_seconds=width,
        count=count,
        curves=tuple(cells[which].curve(which) for which in sorted(cells, key=str)),
    )


def _check(start: float, end: float, points: int, series: Sequence[str]) -> None:
    if not (math.isfinite(start) and math.isfinite(end)) or end <= start or start < 0:
        raise UsageError(
            f"nothing lies between {start!r} and {end!r}",
            hint="give two times in seconds since the epoch, the earlier first",
        )
    if not 1 < points <= MOST_POINTS:
        raise UsageError(f"{points} points: expected 2 to {MOST_POINTS}")
    for name in series:
        if name not in _SERIES:
            raise UsageError(f"there is no series {name!r}", hint=f"there are {', '.join(_SERIES)}")


def _resolution(seconds: float, points: int, *, age: float) -> int:
    """Return the finest buckets that go back so far, and are not far more than the points."""
    for width, kept in RESOLUTIONS.items():
        if age <= kept and seconds / width <= _FINER * points:
            return width
    return HOUR


def _alike(found: Sequence[Columns], *, together: bool) -> list[list[Columns]]:
    """Return columns in groups that can be put together as they are; `together` is whether to.

    Most often the GPUs of a node have the same buckets of as many samples, and are one group.
    """
    groups: list[list[Columns]] = []
    for column in found:
        last = groups[-1][0] if together and groups else None
        if (
            last is not None
            and last.series == column.series
            and last.places == column.places
            and last.counts == column.counts
        ):
            groups[-1].append(column)
        else:
            groups.append([column])
    return groups


class _Cells:
    """What goes into the buckets of a curve: so many from one moment on, each so wide."""

    def __init__(self, first: int, width: int, count: int) -> None:
        self._first = first
        self._width = width
        self._totals = [0] * count
        self._counts = [0] * count
        self._least = [MOST_STEPS] * count
        self._most = [0] * count

    def gather(self, alike: Sequence[Columns], key: ChunkKey) -> None:
        """Put the buckets of columns that have the same ones into the wider ones."""
        one = alike[0]
        means, least, most = one.means, one.least, one.most
        if len(alike) > 1:
            means = list(map(sum, zip(*(each.means for each in alike), strict=True)))
            least = list(map(min, zip(*(each.least for each in alike), strict=True)))
            most = list(map(max, zip(*(each.most for each in alike), strict=True)))
        end, width, step = len(self._totals), self._width, key.resolution
        begin = key.start - self._first
        for place, number, mean, low, high in zip(
            one.places, one.counts, means, least, most, strict=True
        ):
            at = (begin + place * step) // width
            if 0 <= at < end:
                self._totals[at] += mean * number
                self._counts[at] += number * len(alike)
                self._least[at] = min(self._least[at], low)
                self._most[at] = max(self._most[at], high)

    def curve(self, which: tuple[str, str | None, str | None, str]) -> Curve:
        """Return the curve that has come of it, in its unit."""
        pool, node, gpu, name = which
        step = _SERIES[name].step
        counts = self._counts
        return Curve(
            pool=pool,
            node=node,
            gpu=gpu,
            series=name,
            mean=tuple(
                round(step * total / count, 3) if count else None
                for total, count in zip(self._totals, counts, strict=True)
            ),
            least=_known(self._least, counts, step),
            most=_known(self._most, counts, step),
        )


def _known(values: Sequence[int], counts: Sequence[int], step: float) -> tuple[float | None, ...]:
    pairs = zip(values, counts, strict=True)
    return tuple(step * value if count else None for value, count in pairs)
