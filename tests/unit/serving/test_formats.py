"""Arrays as bytes go there and back; what strangers send is measured before it is believed."""

from __future__ import annotations

import contextlib
import gzip
import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save

from jupyter_aiinfra.serving.faults import BadInput, TooLarge, Unsupported
from jupyter_aiinfra.serving.formats import (
    compressed,
    decompressed,
    from_npy,
    from_safetensors,
    to_npy,
    to_safetensors,
)
from jupyter_aiinfra.serving.schema import Array

ARRAYS: list[Array] = [
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.asfortranarray(np.arange(6).reshape(2, 3)),
    np.arange(3, dtype=">f4"),
    np.array([True, False]),
    np.array(3.0),
]


@pytest.mark.parametrize("array", ARRAYS)
def test_npy(array: Array) -> None:
    again = from_npy(to_npy(array))
    assert again.tolist() == array.tolist()
    assert again.dtype.isnative
    assert np.load(io.BytesIO(to_npy(array))).tolist() == array.tolist()


def npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x93NUMPY",
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,)}\n"),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}\n", b"1234"),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}\n", b"12345678"),
        npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}\n", b"1234"),
        npy("__import__('os').abort()\n"),
        npy("(" * 5000),
    ],
)
def test_what_is_no_npy_is_refused(body: bytes) -> None:
    with pytest.raises(BadInput):
        from_npy(body)


def test_safetensors_are_those_of_others() -> None:
    arrays: dict[str, Array] = {"a": ARRAYS[0], "b": np.array([1, 2], np.int8)}
    assert {k: v.tolist() for k, v in from_safetensors(save(arrays)).items()} == {
        k: v.tolist() for k, v in arrays.items()
    }
    assert {k: v.tolist() for k, v in load(to_safetensors(arrays)).items()} == {
        k: v.tolist() for k, v in arrays.items()
    }


def test_safetensors_have_no_text() -> None:
    with pytest.raises(Unsupported, match="a is object"):
        to_safetensors({"a": np.array(["x"], object)})


def safe(header: bytes, data: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + data


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff" * 8,
        safe(b"["),
        safe(b'{"a": 1}'),
        safe(b'{"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}', b"1234"),
        safe(b'{"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 4]}}', b"1234"),
        safe(b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]}}', b"1234"),
        safe(b'{"a": {"dtype": "F32", "shape": [-1, -1], "data_offsets": [0, 4]}}', b"1234"),
        safe(b'{"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}', b"1234"),
        safe(b'{"a": ' + b"[" * 100_000),
    ],
)
def test_what_is_no_safetensors_is_refused(body: bytes) -> None:
    with pytest.raises(BadInput):
        from_safetensors(body)


@given(st.binary(max_size=200))
def test_bytes_of_strangers_do_no_harm(body: bytes) -> None:
    for read in (from_npy, from_safetensors):
        with contextlib.suppress(BadInput):
            read(body)


class TestCompression:
    @pytest.mark.parametrize(
        ("accepted", "name"),
        [
            ("gzip, deflate", "gzip"),
            ("GZIP;q=0.5", "gzip"),
            ("gzip;q=0, deflate", "deflate"),
            ("br", ""),
            ("", ""),
        ],
    )
    def test_there_and_back(self, accepted: str, name: str) -> None:
        body, encoding = compressed(b"hello" * 100, accepted)
        assert encoding == name
        plain = decompressed(body, encoding, limit_bytes=500) if encoding else body
        assert plain == b"hello" * 100

    @pytest.mark.parametrize(
        "body",
        [b"", b"nonsense", gzip.compress(b"hello" * 100)[:-12], zlib.compress(b"hello")],
        # Not the bytes: a gzip header holds the second, and every worker collects in its own.
        ids=["empty", "nonsense", "cut", "zlib"],
    )
    def test_broken(self, body: bytes) -> None:
        with pytest.raises(BadInput, match="gzip"):
            decompressed(body, "gzip", limit_bytes=1000)

    def test_a_bomb_is_not_unpacked(self) -> None:
        with pytest.raises(TooLarge, match="1,000 bytes"):
            decompressed(gzip.compress(bytes(10_000_000)), "gzip", limit_bytes=1000)

    def test_others_are_named(self) -> None:
        with pytest.raises(Unsupported, match="'br'"):
            decompressed(b"", "br", limit_bytes=1)
