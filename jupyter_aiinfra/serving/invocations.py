"""``/invocations``: what MLflow's scoring server takes, so that its own client works."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from jupyter_aiinfra.serving.faults import BadInput, Unsupported
from jupyter_aiinfra.serving.schema import Array, Batch, Field, Reader, Signature, listed

__all__ = ["predictions", "read_csv", "read_invocation"]


class _Split(msgspec.Struct):
    columns: list[str]
    data: list[list[Any]]
    index: Any = None


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    dataframe_split: _Split | None = None
    dataframe_records: list[dict[str, Any]] | None = None
    instances: msgspec.Raw = msgspec.Raw()
    inputs: msgspec.Raw = msgspec.Raw()
    params: dict[str, Any] | None = None


_decoder = msgspec.json.Decoder(_Body)


def read_invocation(body: bytes, signature: Signature, reader: Reader) -> Batch:
    """Return the batch in a JSON body of MLflow's kinds.

    Raises
    ------
    BadInput
        It is none of them, or not what the model takes; it names the column.
    """
    told: _Body = Reader.decoded(_decoder, body)
    instances, inputs = bytes(told.instances), bytes(told.inputs)
    ways = {
        "dataframe_split": told.dataframe_split is not None,
        "dataframe_records": told.dataframe_records is not None,
        "instances": bool(instances),
        "inputs": bool(inputs),
    }
    given = [way for way, there in ways.items() if there]
    if len(given) != 1:
        raise BadInput(f"exactly one of {', '.join(ways)} is expected, not {given or 'none'}")
    if told.dataframe_split is not None:
        return _split(told.dataframe_split, signature)
    if told.dataframe_records is not None:
        return _records(told.dataframe_records, signature, "dataframe_records")
    raw = inputs or instances
    if len(signature.inputs) == 1 and raw.lstrip()[:1] == b"{":
        # One input may be named, too.
        return _columns(_decoded(raw, dict[str, list[Any]]), signature, "inputs")
    if given == ["instances"] and signature.inputs and b"{" in raw.lstrip()[:16]:
        return _records(_decoded(raw, list[dict[str, Any]]), signature, "instances")
    return reader.read(b'{"inputs":' + raw + b"}")


def _decoded(raw: bytes, kind: Any) -> Any:
    return Reader.decoded(msgspec.json.Decoder(kind), raw)


def _split(told: _Split, signature: Signature) -> Batch:
    width = len(told.columns)
    for number, row in enumerate(told.data):
        if len(row) != width:
            raise BadInput(
                f"{len(row)} values for {width} columns", field=f"dataframe_split.data[{number}]"
            )
    if signature.free:
        return [dict(zip(told.columns, row, strict=True)) for row in told.data]
    columns = zip(*told.data, strict=True) if told.data else [() for _ in told.columns]
    given = {name: list(values) for name, values in zip(told.columns, columns, strict=True)}
    return _columns(given, signature, "dataframe_split")


def _records(records: Sequence[Mapping[str, Any]], signature: Signature, where: str) -> Batch:
    if signature.free:
        return list(records)
    given: dict[str, list[Any]] = {field.name: [] for field in signature.inputs}
    for number, record in enumerate(records):
        for name in record:
            signature.field(name)
        for name, values in given.items():
            if name not in record:
                raise BadInput("is missing", field=f"{where}[{number}].{name}")
            values.append(record[name])
    return _columns(given, signature, where)


def _columns(given: Mapping[str, list[Any]], signature: Signature, where: str) -> Batch:
    arrays: dict[str, Array] = {}
    for name in given:
        signature.field(name)
    for field in signature.inputs:
        if field.name not in given:
            raise BadInput("is missing", field=f"{where}.{field.name}")
        arrays[field.name] = _column(field, given[field.name], f"{where}.{field.name}")
    return signature.even(arrays)


def _column(field: Field, values: list[Any], where: str) -> Array:
    if field.nan and field.kind == "f" and not field.shape:
        values = [np.nan if value is None else value for value in values]
    try:
        values = msgspec.convert(values, field.json_type())
    except msgspec.ValidationError as error:
        said, _, place = str(error).partition(" - at `$")
        raise BadInput(said, field=where + place.rstrip("`")) from error
    return field.array(values, where)


def read_csv(body: bytes, signature: Signature) -> Batch:
    """Return the batch in a CSV with a line of names.

    Raises
    ------
    BadInput
        A value is not what its column takes; it names both.
    Unsupported
        The model takes what a table cannot hold.
    """
    if signature.free or any(field.shape for field in signature.inputs):
        raise Unsupported("this model takes no table, so no CSV")
    try:
        rows = list(csv.reader(io.StringIO(body.decode()), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"no CSV in UTF-8: {error}") from error
    if not rows:
        raise BadInput("the first line names the columns")
    fields = {field.name: field for field in signature.inputs}
    data = []
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(rows[0]):
            raise BadInput(f"{len(row)} values for {len(rows[0])} columns", field=f"line {number}")
        pairs = zip(rows[0], row, strict=True)
        data.append([_cell(fields.get(name), text, name) for name, text in pairs])
    return _split(_Split(columns=rows[0], data=data), signature)


def _cell(field: Field | None, text: str, where: str) -> Any:
    if field is None or field.kind == "O":
        return text
    if field.kind == "b":
        if text.lower() not in ("true", "false"):
            raise BadInput(f"{text[:40]!r} is neither true nor false", field=where)
        return text.lower() == "true"
    if not text and field.nan:
        return None
    try:
        return float(text) if field.kind == "f" else int(text)
    except ValueError as error:
        raise BadInput(f"{text[:40]!r} is no {field.dtype}", field=where) from error


def predictions(answer: Batch) -> bytes:
    """Return an answer as MLflow gives it: a list, or a list of records where there are several."""
    if not isinstance(answer, Mapping):
        return msgspec.json.encode({"predictions": list(answer)}, enc_hook=listed)
    if len(answer) == 1:
        return msgspec.json.encode({"predictions": listed(next(iter(answer.values())))})
    columns = [listed(array) for array in answer.values()]
    records = [dict(zip(answer, row, strict=True)) for row in zip(*columns, strict=True)]
    return msgspec.json.encode({"predictions": records})
