"""The Open Inference Protocol, version 2, over HTTP: what NVIDIA's ``tritonclient`` speaks.

A model without typed fields has one input and one output of ``BYTES``, each element a JSON text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from jupyter_aiinfra.serving.faults import BadInput
from jupyter_aiinfra.serving.schema import DTYPES, Array, Batch, Field, Reader, Signature

__all__ = ["FREE_INPUT", "Asked", "metadata", "read_infer", "write_infer"]

_NAMES = {
    **{name: name.upper() for name in DTYPES if name.startswith(("bool", "int", "uint"))},
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "string": "BYTES",
}
_TYPES = {theirs: ours for ours, theirs in _NAMES.items()}
FREE_INPUT = Field(name="input", dtype="string")
_MAX_AXES = 16
_LENGTH = 4


class _Tensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] = {}
    data: msgspec.Raw = msgspec.Raw()


class _Output(msgspec.Struct):
    name: str
    parameters: dict[str, Any] = {}


class _Infer(msgspec.Struct):
    inputs: list[_Tensor]
    id: str = ""
    parameters: dict[str, Any] = {}
    outputs: list[_Output] = []


_decoder = msgspec.json.Decoder(_Infer)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What of a request concerns the answer.

    Parameters
    ----------
    outputs
        Which are wanted, and whether as bytes; empty is all.
    binary
        Whether those that say nothing come as bytes.
    """

    id: str
    outputs: dict[str, bool]
    binary: bool


def metadata(name: str, version: str, signature: Signature) -> dict[str, Any]:
    """Return the model metadata of the protocol."""
    inputs = signature.inputs or (FREE_INPUT,)
    outputs = signature.outputs or (
        () if signature.inputs else (Field(name="output", dtype="string"),)
    )
    return {
        "name": name,
        "versions": [version],
        "platform": "jupyter_aiinfra",
        "inputs": [_told(field) for field in inputs],
        "outputs": [_told(field) for field in outputs],
    }


def _told(field: Field) -> dict[str, Any]:
    shape = [-1, *(-1 if size is None else size for size in field.shape)]
    return {"name": field.name, "datatype": _NAMES[field.dtype], "shape": shape}


def read_infer(body: bytes, head_bytes: int | None, signature: Signature) -> tuple[Batch, Asked]:
    """Return the batch in a request, and how it wants its answer.

    Parameters
    ----------
    head_bytes
        How much of `body` is JSON (``Inference-Header-Content-Length``); ``None``: all.

    Raises
    ------
    BadInput
        It is not what the protocol or the model asks for; it names the input.
    """
    if head_bytes is not None and not 0 <= head_bytes <= len(body):
        raise BadInput("is longer than the body", field="Inference-Header-Content-Length")
    head = body if head_bytes is None else body[:head_bytes]
    told: _Infer = Reader.decoded(_decoder, head)
    rest = memoryview(body)[len(head) :]
    fields = {field.name: field for field in signature.inputs or (FREE_INPUT,)}
    arrays: dict[str, Array] = {}
    for number, tensor in enumerate(told.inputs):
        where = f"inputs.{tensor.name}" if tensor.name in fields else f"inputs[{number}]"
        if tensor.name not in fields:
            known = ", ".join(fields)
            raise BadInput(f"no input {tensor.name!r}; the model takes {known}", field=where)
        if tensor.name in arrays:
            raise BadInput("is given twice", field=where)
        array, rest = _read(tensor, fields[tensor.name], rest, where)
        arrays[tensor.name] = array
    if len(rest):
        raise BadInput(f"{len(rest)} bytes of the body belong to no input")
    asked = Asked(
        id=told.id,
        outputs={o.name: o.parameters.get("binary_data") is True for o in told.outputs},
        binary=told.parameters.get("binary_data_output") is True,
    )
    if signature.free:
        return _free(Signature(inputs=(FREE_INPUT,)).checked(arrays)), asked
    return signature.checked(arrays), asked


def _read(tensor: _Tensor, field: Field, rest: memoryview, where: str) -> tuple[Array, memoryview]:
    if _TYPES.get(tensor.datatype) != field.dtype:
        raise BadInput(f"is {tensor.datatype}, but {_NAMES[field.dtype]} is expected", field=where)
    shape = tensor.shape
    if not 0 < len(shape) <= _MAX_AXES or min(shape) < 0:
        raise BadInput(f"shape {shape} is none", field=where)
    count = math.prod(shape)
    size = tensor.parameters.get("binary_data_size")
    if size is None:
        return _from_json(tensor, field, count, where), rest
    if type(size) is not int or not 0 <= size <= len(rest):
        raise BadInput(f"binary_data_size {size!r} is not in the body", field=where)
    data, rest = rest[:size], rest[size:]
    if field.kind == "O":
        return _texts(data, count, where).reshape(shape), rest
    dtype = DTYPES[field.dtype]
    if count * dtype.itemsize != size:
        raise BadInput(f"{size} bytes do not make {tensor.datatype} of {shape}", field=where)
    return np.frombuffer(data, dtype).reshape(shape), rest


def _from_json(tensor: _Tensor, field: Field, count: int, where: str) -> Array:
    """Read values that stand flat, or nested as the shape says."""
    flat = Field(name=field.name, dtype=field.dtype, nan=field.nan)
    if not bytes(tensor.data):
        raise BadInput("has no data", field=where)
    try:
        values = msgspec.json.decode(tensor.data, type=flat.json_type())
    except (msgspec.MsgspecError, RecursionError):
        nested = Field(name=field.name, dtype=field.dtype, shape=(None,) * (len(tensor.shape) - 1))
        try:
            values = msgspec.json.decode(tensor.data, type=nested.json_type())
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise BadInput(str(error).replace("`$", "`data"), field=where) from error
        array = nested.array(values, where)
        if list(array.shape) != tensor.shape:
            raise BadInput(
                f"data of shape {list(array.shape)} is told to be {tensor.shape}", field=where
            ) from None
        return array
    if len(values) != count:
        raise BadInput(f"{len(values)} values do not make shape {tensor.shape}", field=where)
    if not count:
        raise BadInput("holds no example", field=where)
    return flat.array(values, where).reshape(tensor.shape)


def _texts(data: memoryview, count: int, where: str) -> Array:
    """Read texts, each after its length in four bytes."""
    texts: list[str] = []
    place = 0
    while place + _LENGTH <= len(data):
        end = place + _LENGTH + int.from_bytes(data[place : place + _LENGTH], "little")
        if end > len(data):
            break
        try:
            texts.append(str(data[place + _LENGTH : end], "utf-8"))
        except UnicodeDecodeError as error:
            raise BadInput(f"element {len(texts)} is no UTF-8", field=where) from error
        place = end
    if place != len(data) or len(texts) != count:
        raise BadInput(f"the bytes do not make {count} elements", field=where)
    array = np.empty(count, object)
    array[:] = texts
    return array


def _free(arrays: Mapping[str, Array]) -> list[Any]:
    examples: list[Any] = []
    try:
        examples.extend(map(msgspec.json.decode, arrays[FREE_INPUT.name]))
    except (msgspec.MsgspecError, RecursionError) as error:
        where = f"inputs.{FREE_INPUT.name}[{len(examples)}]"
        raise BadInput(f"no JSON: {error}", field=where) from error
    return examples


def write_infer(
    answer: Batch, asked: Asked, *, name: str, version: str
) -> tuple[bytes, int | None]:
    """Return the body of an answer, and how much of it is JSON where that is not all.

    Raises
    ------
    BadInput
        An output is wanted that there is not.
    """
    if not isinstance(answer, Mapping):
        texts = np.empty(len(answer), object)
        texts[:] = [msgspec.json.encode(value).decode() for value in answer]
        answer = {"output": texts}
    for wanted in asked.outputs:
        if wanted not in answer:
            raise BadInput(
                f"no such output; there are {', '.join(answer)}", field=f"outputs.{wanted}"
            )
    told: list[dict[str, Any]] = []
    parts: list[bytes] = []
    for output in asked.outputs or answer:
        array = answer[output]
        kind = "string" if array.dtype.kind in "OUS" else array.dtype.name
        one: dict[str, Any] = {"name": output, "datatype": _NAMES[kind], "shape": array.shape}
        if asked.binary or asked.outputs.get(output):
            data = _packed(array) if kind == "string" else np.ascontiguousarray(array).tobytes()
            one["parameters"] = {"binary_data_size": len(data)}
            parts.append(data)
        else:
            one["data"] = array.reshape(-1).tolist()
        told.append(one)
    head = {"model_name": name, "model_version": version, "outputs": told}
    if asked.id:
        head["id"] = asked.id
    text = msgspec.json.encode(head)
    return b"".join([text, *parts]), len(text) if parts else None


def _packed(array: Array) -> bytes:
    texts = [str(value).encode() for value in array.reshape(-1)]
    return b"".join(len(text).to_bytes(_LENGTH, "little") + text for text in texts)
