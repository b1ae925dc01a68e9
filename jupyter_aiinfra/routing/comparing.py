"""Whether two answers to one request say the same; pure."""

from __future__ import annotations

import math
import zlib
from typing import Any

import msgspec

__all__ = ["same_answer", "same_packed", "unpacked"]

_UNPACKED_BYTES = 4 * 2**20
# They name who answered, and are not the answer.
_LABELS = frozenset({"id", "model_name", "model_version", "version"})
_DEEP = 64


def unpacked(lines: bytes, body: bytes) -> bytes | None:
    """Return a body without its gzip or deflate; ``None`` where it cannot be read."""
    encoding = b""
    for line in lines.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-encoding":
            encoding = value.strip().lower()
    if encoding in {b"", b"identity"}:
        return body
    if encoding not in {b"gzip", b"deflate"}:
        return None
    reader = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        data = reader.decompress(body, _UNPACKED_BYTES)
    except zlib.error:
        return None
    return data if reader.eof else None


def same_packed(
    one: tuple[bytes, bytes], other: tuple[bytes, bytes], *, tolerance: float
) -> bool | None:
    """Whether two bodies, each with its header lines, are equal; ``None``: they cannot be read."""
    first, second = unpacked(*one), unpacked(*other)
    if first is None or second is None:
        return None
    return same_answer(first, second, tolerance=tolerance)


def same_answer(one: bytes, other: bytes, *, tolerance: float) -> bool:
    """Whether two bodies are equal: as JSON, numbers within `tolerance`; else byte by byte."""
    if one == other:
        return True
    try:
        first, second = msgspec.json.decode(one), msgspec.json.decode(other)
    except (msgspec.DecodeError, RecursionError):
        return False
    if isinstance(first, dict) and isinstance(second, dict):
        first = {name: value for name, value in first.items() if name not in _LABELS}
        second = {name: value for name, value in second.items() if name not in _LABELS}
    return _same(first, second, tolerance, _DEEP)


def _same(one: Any, other: Any, tolerance: float, deep: int) -> bool:
    if isinstance(one, float) or isinstance(other, float):
        numbers = isinstance(one, int | float) and isinstance(other, int | float)
        return numbers and math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)
    if type(one) is not type(other) or not deep:
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(
            _same(value, other[name], tolerance, deep - 1) for name, value in one.items()
        )
    if isinstance(one, list):
        return len(one) == len(other) and all(
            _same(value, beside, tolerance, deep - 1)
            for value, beside in zip(one, other, strict=True)
        )
    return bool(one == other)
