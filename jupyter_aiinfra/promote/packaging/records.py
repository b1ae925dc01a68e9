"""``calls.jsonl``: recorded calls as the requests that they would be, and the answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.promote.packaging.calls import Call
from jupyter_aiinfra.promote.packaging.kinds import plain
from jupyter_aiinfra.promote.packaging.schema import Schema, bound

__all__ = ["CALLS", "Record", "lines", "read_records", "recorded", "tolerance"]

CALLS = "calls.jsonl"

# Of a type, what differs between two ways of computing the same: batches of another size, threads
# in another order, another build of the same library.
_TOLERANCES = {"float16": (2e-2, 2e-3), "float32": (1e-4, 1e-5), "float64": (1e-6, 1e-9)}


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One line: the ``inputs`` of a request, and the ``outputs`` that the notebook gave."""

    inputs: Any
    outputs: Any


def recorded(source: Callable[..., Any], calls: Sequence[Call], schema: Schema) -> list[Record]:
    """Return `calls` as requests to an endpoint that is asked as `schema` says."""
    return [
        Record(inputs=_inputs(bound(source, call), schema), outputs=_outputs(call.result, schema))
        for call in calls
    ]


def lines(records: Sequence[Record]) -> bytes:
    """Return the text of ``calls.jsonl``."""
    return b"".join(msgspec.json.encode(record) + b"\n" for record in records)


def read_records(path: Path) -> list[Record]:
    """Return the calls in a file, as ``endpoint samples --out`` writes it.

    Raises
    ------
    UsageError
        It is none; names the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}", option="calls") from None
    told = enumerate(text.splitlines(), 1)
    return [_record(line, f"{path}, line {number}") for number, line in told if line.strip()]


def _record(line: str, where: str) -> Record:
    try:
        told = json.loads(line)
    except ValueError as error:
        raise UsageError(f"{where}: {error}", option="calls") from None
    if not isinstance(told, dict) or not {"inputs", "outputs"} <= told.keys():
        raise UsageError(
            f"{where} is no recorded call",
            hint='{"inputs": …, "outputs": …}, as endpoint samples NAME --out FILE writes them',
            option="calls",
        )
    return Record(inputs=told["inputs"], outputs=told["outputs"])


def tolerance(schema: Schema) -> tuple[float, float]:
    """Return how much an answer may differ: a share of the value, and at least so much."""
    known = [_TOLERANCES[each.dtype] for each in schema.outputs if each.dtype in _TOLERANCES]
    found = known or [_TOLERANCES["float32"]]
    return max(share for share, _ in found), max(least for _, least in found)


def _json(value: Any) -> Any:
    try:
        return json.loads(msgspec.json.encode(value, enc_hook=plain))
    except (TypeError, NotImplementedError, msgspec.MsgspecError) as error:
        raise UsageError(
            f"it returned what no answer can hold: {error}",
            hint="return numbers, text, lists, objects, arrays, tensors or a data frame",
        ) from None


def _inputs(given: Mapping[str, Any], schema: Schema) -> Any:
    if schema.shape == "rows":
        return _json(next(iter(given.values())))
    if schema.shape == "frame":
        (frame,) = given.values()
        columns = {field.name: _json(frame[field.name]) for field in schema.inputs}
        return next(iter(columns.values())) if len(columns) == 1 else columns
    if not schema.inputs:
        return [_json(next(iter(given.values())) if schema.shape == "one" else dict(given))]
    rows = {field.name: _typed(given[field.name], schema) for field in schema.inputs}
    return next(iter(rows.values())) if len(rows) == 1 else rows


def _typed(value: Any, schema: Schema) -> Any:
    told = _json(value)
    return told if schema.batched else [told]


def _outputs(result: Any, schema: Schema) -> Any:
    if not schema.batched:
        # An example's answer is one thing, whatever it is made of.
        return [_json(result)]
    if hasattr(result, "columns"):
        result = {str(name): result[name].to_numpy() for name in result.columns}
    if isinstance(result, tuple) and len(result) == len(schema.outputs) > 1:
        pairs = zip(schema.outputs, result, strict=True)
        result = {field.name: value for field, value in pairs}
    if isinstance(result, Mapping):
        parts = {str(name): _json(value) for name, value in result.items()}
        return next(iter(parts.values())) if len(parts) == 1 else parts
    return _json(np.asarray(result) if isinstance(result, tuple) else result)
