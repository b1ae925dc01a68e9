"""Many buckets of one node as few bytes: what the store keeps of readings.

A chunk is the buckets of one resolution from one moment on, of all GPUs of a node. Each series of
each GPU is a column: the means as differences from one bucket to the next, least and most as
distances from the mean, all in steps and as variable-length whole numbers; series by series, and
compressed. A series that is not asked for is skipped unread.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from jupyter_aiinfra.telemetry.series import GPU_SERIES

__all__ = ["BUCKETS", "Bucket", "Chunk", "merged", "pack", "unpack"]

BUCKETS: Final = 60
"""Buckets of a chunk."""

_VERSION: Final = 1
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
    """The columns of a node's GPUs, by UUID and the name of the series."""

    columns: dict[str, dict[str, Column]] = field(default_factory=dict)

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
    parts = [part for name in names for part in _packed(chunk, gpus, name)]
    head = bytearray()
    for texts in (gpus, names):
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


_SPREAD: Final[Mapping[str, bool]] = {series.name: series.spread for series in GPU_SERIES}


def unpack(
    data: bytes, *, series: Collection[str] | None = None, gpus: Collection[str] | None = None
) -> Chunk:
    """Return the chunk of :func:`pack`, or only some of its series and GPUs.

    Raises
    ------
    ValueError
        These bytes are none, or of a version that is not known.
    """
    if data[:1] != bytes([_VERSION]):
        raise ValueError(f"readings of version {data[:1].hex() or 'none'} cannot be read")
    try:
        body = zlib.decompress(data[1:])
        length, at = _read_number(body, 0)
        uuids, names, lengths = _head(body[at : at + length])
        at += length
        chunk = Chunk({uuid: {} for uuid in uuids if gpus is None or uuid in gpus})
        for number, name in enumerate(names):
            parts = []
            for part in lengths[_PARTS * number : _PARTS * (number + 1)]:
                parts.append(body[at : at + part])
                at += part
            if series is None or name in series:
                for uuid, column in zip(uuids, _unpacked(len(uuids), *parts), strict=True):
                    if uuid in chunk.columns and column:
                        chunk.columns[uuid][name] = column
    except (zlib.error, IndexError, StopIteration, RuntimeError, UnicodeDecodeError) as error:
        raise ValueError(f"damaged readings: {error}") from error
    return chunk


_PARTS: Final = 3


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


def _unpacked(gpus: int, shape: bytes, means: bytes, spread: bytes) -> Iterator[Column]:
    shapes, changes, widths = _numbers(shape), _numbers(means), _numbers(spread)
    for _ in range(gpus):
        column: Column = {}
        place, count, mean = -1, 0, 0
        for _ in range(next(shapes)):
            place += next(shapes) + 1
            count += _plain(next(shapes))
            mean += _plain(next(changes))
            below, above = (next(widths), next(widths)) if spread else (0, 0)
            column[place] = Bucket(mean, mean - below, mean + above, count)
        yield column


def _head(body: bytes) -> tuple[list[str], list[str], list[int]]:
    at, lists = 0, []
    for _ in range(2):
        texts = []
        count, at = _read_number(body, at)
        for _ in range(count):
            length, at = _read_number(body, at)
            texts.append(body[at : at + length].decode())
            at += length
        lists.append(texts)
    return lists[0], lists[1], list(_numbers(body[at:]))


def _plain(number: int) -> int:
    return (number >> 1) ^ -(number & 1)


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


def _numbers(body: bytes) -> Iterator[int]:
    value = shift = 0
    for byte in body:
        if byte < _MORE:
            yield value | byte << shift
            value = shift = 0
        else:
            value |= (byte & (_MORE - 1)) << shift
            shift += 7
