"""Two answers say the same when only names, packing and the last digits differ."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import pytest

from jupyter_aiinfra.routing.comparing import same_answer, unpacked


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"outputs": [1, 2], "version": "3"}, {"outputs": [1, 2], "version": "4"}, True),
        ({"outputs": [[0.5]]}, {"outputs": [[0.5001]]}, True),
        ({"outputs": [[0.5]]}, {"outputs": [[0.51]]}, False),
        ({"outputs": [1]}, {"outputs": [1.0]}, True),
        ({"outputs": [1000.0]}, {"outputs": [1000.5]}, True),
        ({"outputs": [0.0]}, {"outputs": [0.0005]}, True),
        ({"outputs": ["cat"]}, {"outputs": ["dog"]}, False),
        ({"outputs": [1]}, {"outputs": [1, 2]}, False),
        ({"outputs": {"a": 1, "b": None}}, {"outputs": {"b": None, "a": 1}}, True),
        ({"outputs": {"a": 1}}, {"outputs": {"b": 1}}, False),
        ({"outputs": [True]}, {"outputs": [1]}, False),
        ({"outputs": [None]}, {"outputs": [0.0]}, False),
        # A name that is a value, and not a label of who answered.
        ({"outputs": [{"version": 1}]}, {"outputs": [{"version": 2}]}, False),
        ([1, 2], [1, 2.0001], True),
        ([1], {"0": 1}, False),
    ],
)
def test_json(one: Any, other: Any, same: bool) -> None:
    told = json.dumps(one).encode(), json.dumps(other).encode()
    assert same_answer(*told, tolerance=1e-3) is same
    assert same_answer(*reversed(told), tolerance=1e-3) is same


def test_what_is_no_json() -> None:
    assert same_answer(b"\x93NUMPY1", b"\x93NUMPY1", tolerance=1e-3)
    assert not same_answer(b"\x93NUMPY1", b"\x93NUMPY2", tolerance=1e-3)
    assert not same_answer(b"{}", b"", tolerance=1e-3)
    deep = b"[" * 500 + b"1" + b"]" * 500
    assert same_answer(deep, deep, tolerance=1e-3)
    # What is deeper than is looked at is not taken for the same.
    assert not same_answer(deep, deep.replace(b"1", b"2"), tolerance=1e-3)


@pytest.mark.parametrize(
    ("encoding", "body", "plain"),
    [
        ("", b"x", b"x"),
        ("identity", b"x", b"x"),
        ("gzip", gzip.compress(b"x", mtime=0), b"x"),
        ("GZIP", gzip.compress(b"x", mtime=0), b"x"),
        ("deflate", zlib.compress(b"x"), b"x"),
        ("gzip", gzip.compress(b"x" * 100, mtime=0)[:-9], None),
        ("gzip", b"not gzip", None),
        ("gzip", gzip.compress(bytes(5 * 2**20), mtime=0), None),
        ("br", b"x", None),
    ],
    ids=["none", "identity", "gzip", "capitals", "deflate", "cut", "broken", "large", "unknown"],
)
def test_packed(encoding: str, body: bytes, plain: bytes | None) -> None:
    lines = f"content-type: a/b\r\ncontent-encoding: {encoding}\r\n".encode()
    assert unpacked(lines, body) == plain
