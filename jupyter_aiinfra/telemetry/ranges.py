"""Curves of what was recorded, between any two times, of as many points as can be drawn."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.store.readings import ChunkKey
from jupyter_aiinfra.telemetry.packing import Bucket, unpack
from jupyter_aiinfra.telemetry.rollup import HOUR, RESOLUTIONS, ReadingStore, chunk_start
from jupyter_aiinfra.telemetry.series import GPU_SERIES, GpuSeries

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
    buckets = _Buckets(first, width, count)
    cells: dict[tuple[str, str | None, str | None, str], _Cells] = defaultdict(dict)
    for key, data in found.items():
        for uuid, columns in unpack(data, series=series, gpus=gpus).columns.items():
            node = None if by == "pool" else key.node
            gpu = uuid if by == "gpu" else None
            for name, column in columns.items():
                buckets.gather(cells[key.pool, node, gpu, name], column, key)
    return Range(
        start=float(first),
        width_seconds=width,
        count=count,
        curves=tuple(_curve(which, cells[which], count) for which in sorted(cells, key=str)),
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


_Cells = dict[int, list[int]]
"""By the number of its bucket: sum of the means by samples, samples, least and most."""


@dataclass(frozen=True)
class _Buckets:
    """The buckets that are returned: so many from one moment on, each so wide."""

    first: int
    width: int
    count: int

    def gather(self, cells: _Cells, column: Mapping[int, Bucket], key: ChunkKey) -> None:
        """Put the buckets of a chunk's column into the wider ones."""
        for place, bucket in column.items():
            number = (key.start + place * key.resolution - self.first) // self.width
            if not 0 <= number < self.count:
                continue
            total = bucket.mean * bucket.count
            cell = cells.get(number)
            if cell is None:
                cells[number] = [total, bucket.count, bucket.least, bucket.most]
                continue
            cell[0] += total
            cell[1] += bucket.count
            cell[2] = min(cell[2], bucket.least)
            cell[3] = max(cell[3], bucket.most)


def _curve(
    which: tuple[str, str | None, str | None, str], cells: Mapping[int, Sequence[int]], count: int
) -> Curve:
    pool, node, gpu, name = which
    step = _SERIES[name].step
    found = [cells.get(number) for number in range(count)]
    return Curve(
        pool=pool,
        node=node,
        gpu=gpu,
        series=name,
        mean=tuple(None if cell is None else round(step * cell[0] / cell[1], 3) for cell in found),
        least=tuple(None if cell is None else step * cell[2] for cell in found),
        most=tuple(None if cell is None else step * cell[3] for cell in found),
    )
