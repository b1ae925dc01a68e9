"""Many buckets of one node as few bytes: what the store keeps of readings.

A chunk is the buckets of one resolution from one moment on, of all GPUs of a node and of the node
itself, whose name is empty. Each series of each is a column: the means as differences from one
bucket to the next, least and most as distances from the mean, all in steps and as variable-length
whole numbers; series by series, and compressed. A series that is not asked for is skipped unread.
Beside them is written whose each GPU was, as runs of buckets in which that was the same.
"""

from __future__ import annotations

import functools
import operator
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final, NamedTuple

from jupyter_aiinfra.telemetry.series import GPU_SERIES, NODE_SERIES

__all__ = [
    "BUCKETS",
    "Bucket",
    "Chunk",
    "Column",
    "Columns",
    "Opened",
    "merged",
    "opened",
    "opened_chunk",
    "pack",
    "unpack",
]

BUCKETS: Final = 60
"""Buckets of a chunk."""

_VERSION: Final = 2
_MORE: Final = 0x80


@dataclass(frozen=True, slots=True)
class Bucket:
    """What one series of one GPU came to in one bucket, in steps, and of how many samples."""

    mean: int
    least: int
    most: int
    count: int


Column = dict[int, Bucket]
"""Buckets by their number in the chunk; one that is missing is a gap."""


@dataclass
class Chunk:
    """The columns of a node's GPUs, by UUID and the name of the series; and whose they were.

    ``labels`` has, by UUID and bucket, what ``owners.py`` writes.
    """

    columns: dict[str, dict[str, Column]] = field(default_factory=dict)
    labels: dict[str, dict[int, str]] = field(default_factory=dict)

    def column(self, gpu: str, series: str) -> Column:
        """Return a column, an empty one that is now in the chunk where there was none."""
        return self.columns.setdefault(gpu, {}).setdefault(series, {})


def merged(one: Bucket | None, other: Bucket) -> Bucket:
    """Return what two that saw parts of a bucket, or the same of it, saw together."""
    if one is None:
        return other
    count = one.count + other.count
    mean = (one.mean * one.count + other.mean * other.count + count // 2) // count
    return Bucket(mean, min(one.least, other.least), max(one.most, other.most), count)


def pack(chunk: Chunk) -> bytes:
    """Return a chunk as bytes."""
    gpus = sorted(chunk.columns)
    names = [name for name in _SPREAD if any(chunk.columns[gpu].get(name) for gpu in gpus)]
    labels = sorted({each for gpu in gpus for each in chunk.labels.get(gpu, {}).values()})
    parts = [_packed_labels(chunk, gpus, labels)]
    parts += [part for name in names for part in _packed(chunk, gpus, name)]
    head = bytearray()
    for texts in (gpus, names, labels):
        _number(head, len(texts))
        for text in texts:
            data = text.encode("utf-8", "replace")
            _number(head, len(data))
            head += data
    for part in parts:
        _number(head, len(part))
    length = bytearray()
    _number(length, len(head))
    made = bytes([_VERSION])
    compressor = zlib.compressobj(9)
    for part in (bytes(length + head), *parts):
        # What is alike has a block of its own, with a code made for it: a fifth less in all.
        made += compressor.compress(part) + compressor.flush(zlib.Z_BLOCK)
    return made + compressor.flush()


# What a node and its GPUs both have is kept in one series, with what the GPUs' has.
_SPREAD: Final[Mapping[str, bool]] = {
    series.name: series.spread for series in (*NODE_SERIES, *GPU_SERIES)
}


class Columns(NamedTuple):
    """A column as it is read: which buckets, of how many samples, and their means and bounds."""

    gpu: str
    series: str
    places: Sequence[int]
    counts: Sequence[int]
    means: Sequence[int]
    least: Sequence[int]
    most: Sequence[int]


class Opened(NamedTuple):
    """What is wanted of a chunk. ``labels`` says by UUID and bucket whose the GPUs were."""

    columns: Sequence[Columns]
    labels: Mapping[str, Mapping[int, str]]


def unpack(
    data: bytes, *, series: Collection[str] | None = None, gpus: Collection[str] | None = None
) -> Chunk:
    """Return the chunk of :func:`pack`, or only some of its series and GPUs.

    Raises
    ------
    ValueError
        These bytes are none, or of a version that is not known.
    """
    found = opened(data, series=series, gpus=gpus)
    chunk = Chunk(labels={gpu: dict(labels) for gpu, labels in found.labels.items()})
    for each in found.columns:
        rows = zip(each.places, each.means, each.least, each.most, each.counts, strict=True)
        column = {place: Bucket(*values) for place, *values in rows}
        chunk.columns.setdefault(each.gpu, {})[each.series] = column
    return chunk


def opened(
    data: bytes, *, series: Collection[str] | None = None, gpus: Collection[str] | None = None
) -> Opened:
    """Return the columns of :func:`pack` that are wanted and not empty; see :func:`unpack`."""
    if data[:1] != bytes([_VERSION]):
        raise ValueError(f"readings of version {data[:1].hex() or 'none'} cannot be read")
    found: list[Columns] = []
    try:
        body = zlib.decompress(data[1:])
        length, at = _read_number(body, 0)
        uuids, names, texts, lengths = _head(body[at : at + length])
        at += length
        labels = _unpacked_labels(uuids, texts, body[at : at + lengths[0]])
        at += lengths[0]
        for number, name in enumerate(names):
            parts = []
            for part in lengths[1 + _PARTS * number : 1 + _PARTS * (number + 1)]:
                parts.append(body[at : at + part])
                at += part
            if series is None or name in series:
                found += _unpacked(uuids, name, *parts)
    except (zlib.error, IndexError, TypeError, ValueError) as error:
        raise ValueError(f"damaged readings: {error}") from error
    if gpus is not None:
        found = [each for each in found if each.gpu in gpus]
        labels = {gpu: each for gpu, each in labels.items() if gpu in gpus}
    return Opened(found, labels)


def opened_chunk(
    chunk: Chunk, *, series: Collection[str], gpus: Collection[str] | None = None
) -> Opened:
    """Return of a chunk what :func:`opened` does of its bytes."""
    found = []
    for uuid, columns in chunk.columns.items():
        for name, column in columns.items():
            if name not in series or not column or (gpus is not None and uuid not in gpus):
                continue
            places, buckets = zip(*sorted(column.items()), strict=True)
            counts, means = [b.count for b in buckets], [b.mean for b in buckets]
            least, most = [b.least for b in buckets], [b.most for b in buckets]
            found.append(Columns(uuid, name, places, counts, means, least, most))
    return Opened(found, chunk.labels)


_PARTS: Final = 3


def _packed_labels(chunk: Chunk, gpus: Sequence[str], labels: Sequence[str]) -> bytes:
    """Return whose each GPU was: how many runs, and of each the gap before it, length, number."""
    body = bytearray()
    numbers = {label: number for number, label in enumerate(labels)}
    for gpu in gpus:
        runs: list[list[int]] = []
        for place, label in sorted(chunk.labels.get(gpu, {}).items()):
            number = numbers[label]
            if runs and runs[-1][1] == place and runs[-1][2] == number:
                runs[-1][1] += 1
            else:
                runs.append([place, place + 1, number])
        _number(body, len(runs))
        end = 0
        for first, last, number in runs:
            _number(body, first - end)
            _number(body, last - first)
            _number(body, number)
            end = last
    return bytes(body)


def _unpacked_labels(
    uuids: Sequence[str], labels: Sequence[str], part: bytes
) -> dict[str, dict[int, str]]:
    numbers = iter(_numbers(part))
    found: dict[str, dict[int, str]] = {}
    try:
        for uuid in uuids:
            end = 0
            for _ in range(next(numbers)):
                first = end + next(numbers)
                end = first + min(next(numbers), BUCKETS)
                label = labels[next(numbers)]
                found.setdefault(uuid, {}).update(dict.fromkeys(range(first, end), label))
    except StopIteration as error:
        raise ValueError("what tells whose the GPUs were is cut off") from error
    return found


def _packed(chunk: Chunk, gpus: Sequence[str], name: str) -> tuple[bytes, bytes, bytes]:
    """Return one series of all GPUs: which buckets of how many samples, means, least and most."""
    shape, means, spread = bytearray(), bytearray(), bytearray()
    for gpu in gpus:
        column = chunk.columns[gpu].get(name, {})
        _number(shape, len(column))
        before, count, mean = -1, 0, 0
        for place, bucket in sorted(column.items()):
            _number(shape, place - before - 1)
            _signed(shape, bucket.count - count)
            _signed(means, bucket.mean - mean)
            before, count, mean = place, bucket.count, bucket.mean
            if _SPREAD[name]:
                _number(spread, bucket.mean - bucket.least)
                _number(spread, bucket.most - bucket.mean)
    return bytes(shape), bytes(means), bytes(spread)


def _unpacked(
    uuids: Sequence[str], name: str, shape: bytes, means: bytes, spread: bytes
) -> Iterator[Columns]:
    # By lists and not by buckets: a chart of a week is made of a hundred thousand of them.
    changes, widths = _numbers(means), _numbers(spread)
    at = 0
    for uuid, (places, counts) in zip(uuids, _shapes(len(uuids), shape), strict=True):
        if not places:
            continue
        end = at + len(places)
        made = list(accumulate((each >> 1) ^ -(each & 1) for each in changes[at:end]))
        if len(made) != len(places):
            raise ValueError("a column is cut off")
        least = most = made
        if widths:
            least = list(map(operator.sub, made, widths[2 * at : 2 * end : 2]))
            most = list(map(operator.add, made, widths[2 * at + 1 : 2 * end : 2]))
            if not len(least) == len(most) == len(made):
                raise ValueError("a column is cut off")
        yield Columns(uuid, name, places, counts, made, least, most)
        at = end


@functools.lru_cache(maxsize=256)
def _shapes(gpus: int, shape: bytes) -> tuple[tuple[list[int], list[int]], ...]:
    """Return the places and counts of each column: most chunks have the same ones, all of them."""
    numbers, at = _numbers(shape), 0
    found = []
    for _ in range(gpus):
        length = 2 * numbers[at]
        part = numbers[at + 1 : at + 1 + length]
        if len(part) != length:
            raise ValueError("a column is cut off")
        places = [place - 1 for place in accumulate(gap + 1 for gap in part[::2])]
        counts = list(accumulate((each >> 1) ^ -(each & 1) for each in part[1::2]))
        found.append((places, counts))
        at += 1 + length
    return tuple(found)


def _head(body: bytes) -> tuple[list[str], list[str], list[str], list[int]]:
    at, lists = 0, []
    for _ in range(3):
        texts = []
        count, at = _read_number(body, at)
        for _ in range(count):
            length, at = _read_number(body, at)
            texts.append(body[at : at + length].decode())
            at += length
        lists.append(texts)
    return lists[0], lists[1], lists[2], _numbers(body[at:])


def _number(body: bytearray, value: int) -> None:
    while value >= _MORE:
        body.append(value & (_MORE - 1) | _MORE)
        value >>= 7
    body.append(value)


def _signed(body: bytearray, value: int) -> None:
    _number(body, value << 1 if value >= 0 else ((-value) << 1) - 1)


def _read_number(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = body[at]
        at += 1
        value |= (byte & (_MORE - 1)) << shift
        if byte < _MORE:
            return value, at
        shift += 7


def _numbers(body: bytes) -> list[int]:
    if not body or max(body) < _MORE:
        return list(body)
    found: list[int] = []
    value = shift = 0
    for byte in body:
        if byte < _MORE:
            found.append(value | byte << shift)
            value = shift = 0
        else:
            value |= (byte & (_MORE - 1)) << shift
            shift += 7
    return found
