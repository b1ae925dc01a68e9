"""Readings over hours, days and months: means, least and most of buckets, kept in the store.

Buckets of 10 s are kept for two days, of a minute for two weeks, of an hour for 400 days. Only
those of 10 s are made of samples; the others are made anew of the finer ones as these are written,
so that however often and by whomever that is done, they come out the same. Where several servers
watch one node, or one takes over from another in the middle of a bucket, their buckets of 10 s are
put together: the mean weighted by samples, least and most of both. A bucket without a sample is
not there, and is a gap on reading.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, Protocol

from jupyter_aiinfra.store.readings import ChunkKey
from jupyter_aiinfra.telemetry.packing import BUCKETS, Bucket, Chunk, merged, pack, unpack
from jupyter_aiinfra.telemetry.sampler import NODE_ROW
from jupyter_aiinfra.telemetry.series import GPU_SERIES, NODE_SERIES

__all__ = ["FINEST", "HOUR", "MINUTE", "RESOLUTIONS", "ReadingStore", "Rollups", "chunk_start"]

FINEST: Final = 10
MINUTE: Final = 60
HOUR: Final = 3600
RESOLUTIONS: Final[Mapping[int, float]] = {
    FINEST: 48 * 3600.0,
    MINUTE: 14 * 86400.0,
    HOUR: 400 * 86400.0,
}
"""Seconds of a bucket, and for how many seconds such buckets are kept."""

_SETTLED_SECONDS: Final = 3.0
_NODES_AT_ONCE: Final = 4
_HOURS_EVERY: Final = 600


class ReadingStore(Protocol):
    """What this needs of the store."""

    def chunks(
        self,
        resolution: int,
        *,
        start: int,
        end: int,
        pool: str | None = None,
        nodes: Collection[str] | None = None,
    ) -> Mapping[ChunkKey, bytes]:
        """Return the chunks that begin from `start` on and before `end`."""
        ...

    def change_chunks(
        self,
        keys: Collection[ChunkKey],
        change: Callable[[Mapping[ChunkKey, bytes]], Mapping[ChunkKey, bytes]],
    ) -> None:
        """Replace chunks by what `change` makes of them, alone."""
        ...

    def drop_chunks(self, resolution: int, *, before: int) -> int:
        """Forget the chunks that begin before a time."""
        ...


class _Open:
    """A bucket that samples are still coming for: sum, least, most and count of each series.

    And how often each GPU was whose.
    """

    __slots__ = ("cells", "labels")

    def __init__(self) -> None:
        self.cells: dict[tuple[str, int], list[int]] = {}
        self.labels: dict[str, Counter[str]] = {}

    def add(self, rows: Mapping[str, Sequence[int | None]], labels: Mapping[str, str]) -> None:
        for uuid, label in labels.items():
            self.labels.setdefault(uuid, Counter())[label] += 1
        for uuid, values in rows.items():
            for number, value in enumerate(values):
                if value is None:
                    continue
                cell = self.cells.get((uuid, number))
                if cell is None:
                    self.cells[uuid, number] = [value, value, value, 1]
                    continue
                cell[0] += value
                cell[1] = min(cell[1], value)
                cell[2] = max(cell[2], value)
                cell[3] += 1

    def buckets(self) -> Iterable[tuple[str, str, Bucket]]:
        for (uuid, number), (total, least, most, count) in self.cells.items():
            mean = (total + count // 2) // count
            series = NODE_SERIES if uuid == NODE_ROW else GPU_SERIES
            yield uuid, series[number].name, Bucket(mean, least, most, count)


_Node = tuple[str, str]
"""The names of a pool and of a node of it."""
_Ready = dict[_Node, dict[int, _Open]]
"""By node, buckets by their number since the epoch."""


class Rollups:
    """Gathers samples, and writes what is complete of them when told to; from any thread."""

    def __init__(self, store: ReadingStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._open: dict[_Node, dict[int, _Open]] = {}
        self._hours: dict[_Node, set[int]] = {}

    def add(
        self,
        pool: str,
        node: str,
        at: float,
        rows: Mapping[str, Sequence[int | None]],
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Take in a sample, as steps; `at` is seconds since the epoch by our clock.

        `labels` say whose its GPUs are.
        """
        with self._lock:
            buckets = self._open.setdefault((pool, node), {})
            buckets.setdefault(int(at // FINEST), _Open()).add(rows, labels or {})

    @contextmanager
    def still(self) -> Iterator[Mapping[ChunkKey, Chunk]]:
        """Yield what is not in the store yet, as chunks of the finest buckets.

        Nothing is written meanwhile: what is read of the store within has none of it.
        """
        with self._writing:
            chunks: dict[ChunkKey, Chunk] = {}
            with self._lock:
                for node, buckets in self._open.items():
                    for number, open_bucket in buckets.items():
                        key = _key(node, FINEST, number * FINEST)
                        _merge(chunks.setdefault(key, Chunk()), number, open_bucket)
            yield chunks

    def write(self, *, before: float) -> None:
        """Write every bucket that has ended by `before`; infinity writes those under way, too.

        Raises
        ------
        StoreError, StorageFull
            What could not be written is kept for the next time, as far as an hour goes back.
        """
        with self._writing:
            ready = self._take(before)
            nodes = list(ready)
            for first in range(0, len(nodes), _NODES_AT_ONCE):
                some = {node: ready[node] for node in nodes[first : first + _NODES_AT_ONCE]}
                try:
                    self._write(some, last=before == math.inf)
                except BaseException:
                    self._put_back({node: ready[node] for node in nodes[first:]})
                    raise

    def sweep(self, now: float) -> int:
        """Forget what is older than it is kept; return how many chunks."""
        return sum(
            self._store.drop_chunks(width, before=int(now - kept) - width * BUCKETS)
            for width, kept in RESOLUTIONS.items()
        )

    def _take(self, before: float) -> _Ready:
        ready: _Ready = {}
        with self._lock:
            for node, buckets in list(self._open.items()):
                ended = [n for n in buckets if (n + 1) * FINEST + _SETTLED_SECONDS <= before]
                if ended:
                    ready[node] = {number: buckets.pop(number) for number in ended}
                if not buckets:
                    del self._open[node]
        return ready

    def _put_back(self, ready: _Ready) -> None:
        with self._lock:
            for node, buckets in ready.items():
                newest = max(buckets)
                kept = {n: each for n, each in buckets.items() if n > newest - HOUR // FINEST}
                # What came meanwhile is of later buckets, but for a clock that was set back.
                self._open[node] = {**kept, **self._open.get(node, {})}

    def _write(self, ready: _Ready, *, last: bool) -> None:
        hours = {node: self._hours_due(node, buckets, last=last) for node, buckets in ready.items()}
        keys = set()
        for node, buckets in ready.items():
            starts = [number * FINEST for number in buckets]
            keys |= {_key(node, width, at) for width in (FINEST, MINUTE) for at in starts}
            keys |= {_key(node, width, at) for width in (MINUTE, HOUR) for at in hours[node]}

        def change(found: Mapping[ChunkKey, bytes]) -> Mapping[ChunkKey, bytes]:
            chunks = {key: _read(found.get(key)) for key in keys}
            for node, buckets in ready.items():
                for number, opened in buckets.items():
                    _merge(chunks[_key(node, FINEST, number * FINEST)], number, opened)
                for at in {number * FINEST // MINUTE * MINUTE for number in buckets}:
                    _coarsen(chunks, node, at, finer=FINEST, coarser=MINUTE)
                for at in hours[node]:
                    _coarsen(chunks, node, at, finer=MINUTE, coarser=HOUR)
            return {key: pack(chunk) for key, chunk in chunks.items()}

        self._store.change_chunks(keys, change)
        for node, done in hours.items():
            self._hours[node] -= done

    def _hours_due(self, node: _Node, buckets: Collection[int], *, last: bool) -> set[int]:
        """Return which hours to make anew: not each minute, for nobody looks at them so closely."""
        hours = self._hours.setdefault(node, set())
        hours |= {number * FINEST // HOUR * HOUR for number in buckets}
        if last or any((number + 1) * FINEST % _HOURS_EVERY == 0 for number in buckets):
            return set(hours)
        return hours - {max(hours)}


def _key(node: _Node, width: int, at: int) -> ChunkKey:
    """Return the chunk of a resolution that a time is in."""
    return ChunkKey(*node, width, chunk_start(at, width))


def chunk_start(at: float, width: int) -> int:
    """Return when the chunk begins that the bucket of a time is in."""
    return int(at // (width * BUCKETS)) * width * BUCKETS


def _read(data: bytes | None) -> Chunk:
    if data is None:
        return Chunk()
    try:
        return unpack(data)
    except ValueError:  # damaged, or of a version to come: it is begun anew
        return Chunk()


def _merge(chunk: Chunk, number: int, opened: _Open) -> None:
    place = number % BUCKETS
    for uuid, name, bucket in opened.buckets():
        column = chunk.column(uuid, name)
        column[place] = merged(column.get(place), bucket)
    for uuid, counts in opened.labels.items():
        chunk.labels.setdefault(uuid, {})[place] = max(counts, key=counts.__getitem__)


def _coarsen(
    chunks: Mapping[ChunkKey, Chunk], node: _Node, at: int, *, finer: int, coarser: int
) -> None:
    """Make the bucket at `at` of what the finer chunk, which holds all of it, has by now."""
    source, into = chunks[_key(node, finer, at)], chunks[_key(node, coarser, at)]
    first, place = at // finer % BUCKETS, at // coarser % BUCKETS
    for uuid, columns in source.columns.items():
        for name, column in columns.items():
            places = range(first, first + coarser // finer)
            found = [column[each] for each in places if each in column]
            if found:
                into.column(uuid, name)[place] = _together(found)
    for uuid, labels in source.labels.items():
        counts = Counter(
            labels[each] for each in range(first, first + coarser // finer) if each in labels
        )
        if counts:
            # Of one that was several's it is told whose it was most of the time.
            into.labels.setdefault(uuid, {})[place] = max(counts, key=counts.__getitem__)


def _together(found: Sequence[Bucket]) -> Bucket:
    count = sum(each.count for each in found)
    total = sum(each.mean * each.count for each in found)
    least, most = min(each.least for each in found), max(each.most for each in found)
    return Bucket((total + count // 2) // count, least, most, count)
