"""How busy GPUs were, minute by minute, as the meter wants it: from the readings in the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from jupyter_aiinfra.cost.meter import GAP, HOUR
from jupyter_aiinfra.store.readings import ChunkKey
from jupyter_aiinfra.telemetry.packing import Columns, opened
from jupyter_aiinfra.telemetry.rollup import MINUTE, RESOLUTIONS, ReadingStore, chunk_start

__all__ = ["read_load"]

_SERIES: Final = "utilization"
_MINUTES: Final = HOUR // MINUTE
_PERCENT: Final = 100


def read_load(
    store: ReadingStore, *, pool: str, start: int, end: int, now: float
) -> dict[tuple[str, str, int], Sequence[int]]:
    """Return the utilization of a pool's GPUs by node, UUID and hour between two times.

    Minutes where they are kept still; of what is older, the mean of an hour stands for each.
    """
    loads: dict[tuple[str, str, int], Sequence[int]] = {}
    minutes_from = max(start, int(now - RESOLUTIONS[MINUTE]))
    if start < minutes_from:
        first = chunk_start(start, HOUR)
        for key, data in store.chunks(
            HOUR, start=first, end=min(end, minutes_from), pool=pool
        ).items():
            loads.update(_hours(key, data))
    if minutes_from < end:
        first = chunk_start(minutes_from, MINUTE)
        for key, data in store.chunks(MINUTE, start=first, end=end, pool=pool).items():
            loads.update(_minutes(key, data))
    return loads


def _minutes(key: ChunkKey, data: bytes) -> dict[tuple[str, str, int], Sequence[int]]:
    """Return a chunk of minutes, which is an hour."""
    found: dict[tuple[str, str, int], Sequence[int]] = {}
    for column in _columns(data):
        means = column.means
        if max(means, default=0) > _PERCENT:
            means = [min(mean, _PERCENT) for mean in means]
        minutes: Sequence[int] = means
        if len(means) < _MINUTES:
            gaps = [GAP] * _MINUTES
            for place, mean in zip(column.places, means, strict=True):
                gaps[place] = mean
            minutes = gaps
        found[key.node, column.gpu, key.start] = minutes
    return found


def _hours(key: ChunkKey, data: bytes) -> dict[tuple[str, str, int], Sequence[int]]:
    found: dict[tuple[str, str, int], Sequence[int]] = {}
    for column in _columns(data):
        for place, mean in zip(column.places, column.means, strict=True):
            hour = key.start + place * HOUR
            found[key.node, column.gpu, hour] = [min(mean, _PERCENT)] * _MINUTES
    return found


def _columns(data: bytes) -> Sequence[Columns]:
    try:
        return opened(data, series=(_SERIES,)).columns
    except ValueError:  # damaged, or of a version to come: not known
        return []
