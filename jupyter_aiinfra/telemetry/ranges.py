"""Curves of what was recorded, between any two times, of as many points as can be drawn."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.store.readings import ChunkKey
from jupyter_aiinfra.telemetry.owners import Owner, owners_in
from jupyter_aiinfra.telemetry.packing import Chunk, Columns, Opened, opened, opened_chunk
from jupyter_aiinfra.telemetry.rollup import HOUR, RESOLUTIONS, ReadingStore, chunk_start
from jupyter_aiinfra.telemetry.sampler import NODE_ROW
from jupyter_aiinfra.telemetry.series import GPU_SERIES, MOST_STEPS, NODE_SERIES, Series

__all__ = ["MOST_POINTS", "By", "Curve", "Of", "Placed", "Range", "read_range"]

By = Literal["gpu", "node", "pool", "user", "job", "rank"]
Of = Literal["gpus", "nodes"]

MOST_POINTS: Final = 2000
_FINER: Final = 8
"""As many finer buckets as this may go into a point: more would be read for nothing to be seen."""
_SERIES: Final[Mapping[Of, Mapping[str, Series]]] = {
    "gpus": {series.name: series for series in GPU_SERIES},
    "nodes": {series.name: series for series in NODE_SERIES},
}


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One series of one GPU, or of all of a node, pool, user or job together, by buckets.

    ``None`` is a gap. In the unit of the series; of one without a spread, least and most are those
    of the means. Of a node itself, ``gpu`` is ``None``.
    """

    pool: str
    node: str | None
    gpu: str | None
    series: str
    mean: tuple[float | None, ...]
    least: tuple[float | None, ...]
    most: tuple[float | None, ...]
    user: str | None = None
    job: str | None = None
    rank: int | None = None


@dataclass(frozen=True, kw_only=True)
class Range:
    """Curves over the same buckets: the first begins at ``start``, each is ``width_seconds``."""

    start: float
    width_seconds: int
    count: int
    curves: tuple[Curve, ...]


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A job, and the GPUs that it was given: each with the rank that it is likely to have had."""

    job: str
    gpus: Mapping[str, int | None]


class _Which(NamedTuple):
    """What a curve is of."""

    pool: str
    node: str | None = None
    gpu: str | None = None
    series: str = ""
    user: str | None = None
    job: str | None = None
    rank: int | None = None


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
    of: Of = "gpus",
    placed: Placed | None = None,
    unwritten: Mapping[ChunkKey, Chunk] | None = None,
) -> Range:
    """Return curves between two times, of `points` buckets at most.

    Parameters
    ----------
    by
        What a curve is of: one GPU, the mean of all GPUs of a node or a pool, or that of the GPUs
        on which a user or a job had processes; of each GPU of each rank of a job.
    of
        Whether it is of GPUs or of the nodes themselves: their processors, memory and so on.
    placed
        The job whose GPUs these are to be, for as long as they were its own.
    unwritten
        What is not in the store yet.

    Raises
    ------
    UsageError
        Times, a number of points or a series that cannot be.
    """
    _check(start, end, points, series, of)
    if of == "nodes":
        if by not in {"gpu", "node", "pool"}:
            raise UsageError(f"by={by!r}: nodes themselves are shown by node or pool")
        by, gpus, placed = "pool" if by == "pool" else "node", {NODE_ROW}, None
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
    sort = _sorter(by, placed)
    cells: dict[_Which, _Cells] = {}

    def gather(key: ChunkKey, chunk: Opened) -> None:
        for which, alike in _sorted(key, chunk, by=by, of=of, sort=sort):
            if which not in cells:
                cells[which] = _Cells(first, width, count)
            cells[which].gather(alike, key)

    for key, data in found.items():
        with contextlib.suppress(ValueError):  # damaged, or of another version: a gap
            gather(key, opened(data, series=series, gpus=gpus))
    for key, chunk in (unwritten or {}).items():
        if pool in (None, key.pool) and (nodes is None or key.node in nodes):
            gather(key, opened_chunk(chunk, series=series, gpus=gpus))
    return Range(
        start=float(first),
        width_seconds=width,
        count=count,
        curves=tuple(
            cells[which].curve(which, _SERIES[of][which.series].step)
            for which in sorted(cells, key=str)
        ),
    )


# --- what is whose -------------------------------------------------------------------------------

_Sort = Callable[[str, str], Collection[Owner | None]]
"""Says, of the UUID of a GPU and a label, of whose curves it is a part; of ``None``: of its own."""

_NOBODY: Final = Owner(None, None, None)


def _sorter(by: By, placed: Placed | None) -> _Sort | None:
    """Return how buckets are sorted; ``None`` where that does not depend on whose they are."""
    if by not in {"user", "job", "rank"} and placed is None:
        return None
    known: dict[tuple[str, str], Collection[Owner | None]] = {}

    def sort(gpu: str, label: str) -> Collection[Owner | None]:
        given = placed is not None and gpu in placed.gpus
        at = (gpu if given else "", label)
        if at not in known:
            owners = owners_in(label) if label else ()
            if placed is not None:
                mine = [each for each in owners if each.job == placed.job]
                if given and not mine:  # its own, also while no process of it is to be seen there
                    mine = [Owner(None, placed.job, placed.gpus[gpu])]
                owners = tuple(mine)
            known[at] = _parts(owners, by)
        return known[at]

    return sort


def _parts(owners: Sequence[Owner], by: By) -> Collection[Owner | None]:
    if by == "user":
        return {_NOBODY._replace(user=each.user) for each in owners if each.user is not None}
    if by == "job":
        return {_NOBODY._replace(job=each.job) for each in owners if each.job is not None}
    if by == "rank":
        return {each._replace(user=None) for each in owners if each.job is not None}
    return {None} if owners else ()


def _sorted(
    key: ChunkKey, chunk: Opened, *, by: By, of: Of, sort: _Sort | None
) -> Iterable[tuple[_Which, list[Columns]]]:
    """Yield columns that can be put together as they are, with the curve that they belong to."""
    together: dict[Owner | None, list[Columns]] = {}
    for column in chunk.columns:
        if of == "gpus" and column.gpu == NODE_ROW:
            continue
        if sort is None:
            together.setdefault(None, []).append(column)
            continue
        for owner, part in _split(column, chunk.labels.get(column.gpu, {}), sort):
            together.setdefault(owner, []).append(part)
    single = by in {"gpu", "rank"}
    for owner, columns in together.items():
        user, job, rank = owner or _NOBODY
        for alike in _alike(columns, together=not single):
            which = _Which(
                pool=key.pool,
                node=key.node if single or by == "node" else None,
                gpu=alike[0].gpu if single else None,
                series=alike[0].series,
                user=user,
                job=job,
                rank=rank,
            )
            yield which, alike


def _split(
    column: Columns, labels: Mapping[int, str], sort: _Sort
) -> Iterable[tuple[Owner | None, Columns]]:
    """Yield a column in parts, by whose its buckets are."""
    known = set(labels.values())
    if not known or (len(known) == 1 and all(map(labels.__contains__, column.places))):
        # Most often it was one job's all the time.
        for owner in sort(column.gpu, next(iter(known), "")):
            yield owner, column
        return
    parts: dict[Owner | None, list[int]] = {}
    for number, place in enumerate(column.places):
        for owner in sort(column.gpu, labels.get(place, "")):
            parts.setdefault(owner, []).append(number)
    for owner, numbers in parts.items():
        if len(numbers) == len(column.places):
            yield owner, column
            continue
        kept = [[values[number] for number in numbers] for values in column[2:]]
        yield owner, Columns(column.gpu, column.series, *kept)


def _check(start: float, end: float, points: int, series: Sequence[str], of: Of) -> None:
    if not (math.isfinite(start) and math.isfinite(end)) or end <= start or start < 0:
        raise UsageError(
            f"nothing lies between {start!r} and {end!r}",
            hint="give two times in seconds since the epoch, the earlier first",
        )
    if not 1 < points <= MOST_POINTS:
        raise UsageError(f"{points} points: expected 2 to {MOST_POINTS}")
    for name in series:
        if name not in _SERIES[of]:
            hint = f"of {of} there are {', '.join(_SERIES[of])}"
            raise UsageError(f"there is no series {name!r}", hint=hint)


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

    def curve(self, which: _Which, step: float) -> Curve:
        """Return the curve that has come of it, in its unit."""
        counts = self._counts
        return Curve(
            **which._asdict(),
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
