"""Arrays as bytes (numpy's own format, safetensors), and bodies that were compressed.

Everything here is read from strangers: a length is compared with what is there before anything is
made of it, and nothing is ever unpickled.
"""

from __future__ import annotations

import gzip
import io
import math
import tokenize
import zlib
from collections.abc import Mapping

import msgspec
import numpy as np

from jupyter_aiinfra.serving.faults import BadInput, TooLarge, Unsupported
from jupyter_aiinfra.serving.schema import Array

__all__ = [
    "NPY",
    "SAFETENSORS",
    "compressed",
    "decompressed",
    "from_npy",
    "from_safetensors",
    "to_npy",
    "to_safetensors",
]

NPY = "application/x-npy"
SAFETENSORS = "application/x-safetensors"

# A safetensors file begins with the length of its header, in so many bytes.
_LENGTH = 8

_SAFE_TYPES = {
    "BOOL": "bool",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "U8": "uint8",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
}
_SAFE_NAMES = {np.dtype(value): name for name, value in _SAFE_TYPES.items()}


# What numpy raises over a header that is none: it reads it as a literal of Python.
_NO_HEADER = (
    *(ValueError, SyntaxError, TypeError, RecursionError, MemoryError),
    tokenize.TokenError,
)


class _Tensor(msgspec.Struct):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


_head_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_tensor_decoder = msgspec.json.Decoder(_Tensor)


def from_npy(body: bytes) -> Array:
    """Return the array in the ``.npy`` file `body`.

    Raises
    ------
    BadInput
        It is no such file, or holds Python objects.
    """
    stream = io.BytesIO(body)
    try:
        version = np.lib.format.read_magic(stream)
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = read(stream)
    except _NO_HEADER as error:
        raise BadInput("no .npy file") from error
    if dtype.hasobject:
        raise BadInput("holds Python objects, which are not accepted")
    data = body[stream.tell() :]
    if dtype.fields or not dtype.itemsize or math.prod(shape) * dtype.itemsize != len(data):
        raise BadInput(f"{len(data)} bytes do not make an array {dtype} of shape {list(shape)}")
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    # Big-endian files exist; the model is asked in this machine's order.
    return array.astype(dtype.newbyteorder("="), copy=False)


def to_npy(array: Array) -> bytes:
    """Return `array` as an ``.npy`` file."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=False)
    return stream.getvalue()


def from_safetensors(body: bytes) -> dict[str, Array]:
    """Return the arrays in the safetensors file `body`, by name.

    Raises
    ------
    BadInput
        It is no such file.
    """
    length = int.from_bytes(body[:_LENGTH], "little")
    if len(body) < _LENGTH or length > len(body) - _LENGTH:
        raise BadInput("no safetensors file: its header is longer than the body")
    data = memoryview(body)[_LENGTH + length :]
    arrays = {}
    try:
        head = _head_decoder.decode(body[_LENGTH : _LENGTH + length])
        for name, raw in head.items():
            if name != "__metadata__":
                arrays[name] = _tensor(_tensor_decoder.decode(raw), data, name)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"no safetensors file: {error}") from error
    return arrays


def _tensor(told: _Tensor, data: memoryview, name: str) -> Array:
    begin, end = told.data_offsets
    if told.dtype not in _SAFE_TYPES:
        raise BadInput(f"type {told.dtype} is not accepted", field=f"inputs.{name}")
    dtype = np.dtype(_SAFE_TYPES[told.dtype])
    size = math.prod(told.shape) * dtype.itemsize
    if not 0 <= begin <= end <= len(data) or end - begin != size or min(told.shape, default=0) < 0:
        raise BadInput(
            f"bytes {begin} to {end} do not make {told.dtype} of shape {told.shape}",
            field=f"inputs.{name}",
        )
    return np.frombuffer(data[begin:end], dtype).reshape(told.shape)


def to_safetensors(arrays: Mapping[str, Array]) -> bytes:
    """Return `arrays` as a safetensors file.

    Raises
    ------
    Unsupported
        One of them is text, which that format has not.
    """
    head: dict[str, object] = {}
    parts: list[bytes] = []
    place = 0
    for name, array in arrays.items():
        if array.dtype not in _SAFE_NAMES:
            raise Unsupported(f"{name} is {array.dtype}, which safetensors cannot hold")
        data = np.ascontiguousarray(array).tobytes()
        head[name] = {
            "dtype": _SAFE_NAMES[array.dtype],
            "shape": array.shape,
            "data_offsets": (place, place + len(data)),
        }
        place += len(data)
        parts.append(data)
    text = msgspec.json.encode(head)
    # The data begins at a multiple of eight, as the format asks for.
    text += b" " * (-len(text) % _LENGTH)
    return b"".join([len(text).to_bytes(_LENGTH, "little"), text, *parts])


def decompressed(body: bytes, encoding: str, *, limit_bytes: int) -> bytes:
    """Return `body` as it was before it was compressed.

    Raises
    ------
    BadInput
        It is broken or ends early.
    TooLarge
        It becomes larger than `limit_bytes`; no more than that is ever unpacked.
    Unsupported
        The encoding is neither gzip nor deflate.
    """
    if encoding not in ("gzip", "deflate"):
        raise Unsupported(f"content encoding {encoding!r}: gzip and deflate are accepted")
    unpacker = zlib.decompressobj(wbits=31 if encoding == "gzip" else 15)
    try:
        plain = unpacker.decompress(body, limit_bytes + 1)
    except zlib.error as error:
        raise BadInput(f"the body is no {encoding}: {error}") from error
    if len(plain) > limit_bytes:
        raise TooLarge(f"the body unpacks to more than {limit_bytes:,} bytes")
    if not unpacker.eof:
        raise BadInput(f"the body is {encoding} that ends early")
    return plain


def compressed(body: bytes, accepted: str) -> tuple[bytes, str]:
    """Return `body` in the best encoding of an ``Accept-Encoding``, and its name (or nothing)."""
    offers = [offer.strip().split(";") for offer in accepted.lower().split(",")]
    names = {parts[0] for parts in offers if "q=0" not in [p.strip() for p in parts[1:]]}
    if "gzip" in names:
        return gzip.compress(body, 1, mtime=0), "gzip"
    if "deflate" in names:
        return zlib.compress(body, 1), "deflate"
    return body, ""
