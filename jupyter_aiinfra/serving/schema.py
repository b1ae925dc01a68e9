"""What a model takes and gives: typed fields, decoded from JSON and checked by name.

A *batch* is a mapping of field to array whose first axis counts examples, or, for a model without
typed fields, a list of JSON values. Reading is fast where the input is right; only where it is not
does somebody look for which value is to blame.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import msgspec
import numpy as np
import numpy.typing as npt

from jupyter_aiinfra.serving.faults import BadInput

__all__ = ["DTYPES", "Array", "Batch", "Field", "Reader", "Signature", "listed", "rows_of"]

Array = npt.NDArray[Any]
Batch = Mapping[str, Array] | Sequence[Any]

# Our name of a type to numpy's. Text is Python's str in an object array.
DTYPES: Mapping[str, np.dtype[Any]] = {
    **{
        name: np.dtype(name)
        for name in (
            *("bool", "int8", "int16", "int32", "int64"),
            *("uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"),
        )
    },
    "string": np.dtype(object),
}


@dataclass(frozen=True, kw_only=True)
class Field:
    """One tensor or column.

    Parameters
    ----------
    shape
        Of one example, without the axis that counts them; ``None`` is any length.
    nan
        Whether values that are not finite are let through. JSON has none, so only binary bodies
        can bring them.
    """

    name: str
    dtype: str = "float32"
    shape: tuple[int | None, ...] = ()
    nan: bool = False

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"{self.name}: no type {self.dtype!r}; there are {', '.join(DTYPES)}")

    @property
    def kind(self) -> str:
        """``b``, ``i``, ``u``, ``f`` or ``O``, as numpy says it."""
        return DTYPES[self.dtype].kind

    def json_type(self, *, rows: bool = True) -> Any:
        """Return the type by which msgspec reads examples (or one) of this field."""
        item: Any = {"b": bool, "i": int, "u": int, "f": float, "O": str}[self.kind]
        for _ in range(len(self.shape) + rows):
            item = list[item]
        return item

    def json_schema(self, *, rows: bool = True) -> dict[str, Any]:
        """Return the JSON schema of examples of this field, or of one."""
        schema: dict[str, Any]
        if self.kind == "O":
            schema = {"type": "string"}
        elif self.kind == "b":
            schema = {"type": "boolean"}
        elif self.kind == "f":
            # What is too large becomes infinite, which is let through where NaN is.
            schema = {"type": "number"} | ({} if self.nan else _range(DTYPES[self.dtype]))
        else:
            info = np.iinfo(DTYPES[self.dtype])
            schema = {"type": "integer", "minimum": int(info.min), "maximum": int(info.max)}
        for size in reversed(self.shape):
            schema = {"type": "array", "items": schema}
            schema |= {"minItems": size, "maxItems": size} if size is not None else {"minItems": 1}
        return {"type": "array", "items": schema, "minItems": 1} if rows else schema

    def array(self, values: Any, where: str) -> Array:
        """Return JSON `values` as examples of this field.

        Raises
        ------
        BadInput
            The shape is wrong, or a number does not fit; it names the value.
        """
        try:
            with np.errstate(over="ignore"):
                made = np.array(values, DTYPES[self.dtype])
        except (ValueError, OverflowError) as error:
            raise self._blame(values, where) from error
        if self.kind == "O" and made.ndim != len(self.shape) + 1:
            raise self._blame(values, where)
        return self.checked(made, where)

    def checked(self, array: Array, where: str) -> Array:
        """Return `array` if it holds examples of this field.

        Raises
        ------
        BadInput
            It has another shape or type, or holds what is not finite.
        """
        wanted = self.shape
        shape = array.shape
        if shape[1:] != wanted and not self._fits(shape):
            raise BadInput(
                f"has shape {_shape_text(shape)}, but {_shape_text(('n', *wanted))} is expected",
                field=where,
            )
        if not shape[0]:
            raise BadInput("holds no example", field=where)
        if array.dtype != DTYPES[self.dtype]:
            raise BadInput(f"is {array.dtype}, but {self.dtype} is expected", field=where)
        if self.kind == "f" and not self.nan and not np.isfinite(array).all():
            bad = np.argwhere(~np.isfinite(array))
            place = "".join(f"[{index}]" for index in bad[0])
            raise BadInput("is not a finite number of this type", field=where + place)
        return array

    def _fits(self, shape: tuple[int, ...]) -> bool:
        return len(shape) == len(self.shape) + 1 and all(
            wanted in (None, size) and size
            for wanted, size in zip(self.shape, shape[1:], strict=True)
        )

    def _blame(self, values: Any, where: str) -> BadInput:
        """Return what is wrong with the first value of `values` that has no place in an array."""
        found = self._first_fault(values, (None, *self.shape), where)
        return found or BadInput("its lists are not all of one length", field=where)

    def _first_fault(
        self, values: Any, shape: tuple[int | None, ...], where: str
    ) -> BadInput | None:
        if not shape:
            return None if self._in_range(values) else self._out_of_range(where)
        if shape[0] is not None and len(values) != shape[0]:
            return BadInput(f"{len(values)} values where {shape[0]} are expected", field=where)
        for index, value in enumerate(values):
            if found := self._first_fault(value, shape[1:], f"{where}[{index}]"):
                return found
        return None

    def _in_range(self, value: Any) -> bool:
        if self.kind not in "iu":
            return True
        info = np.iinfo(DTYPES[self.dtype])
        return bool(info.min <= value <= info.max)

    def _out_of_range(self, where: str) -> BadInput:
        return BadInput(f"does not fit into {self.dtype}", field=where)


def _range(dtype: np.dtype[Any]) -> dict[str, float]:
    """Return which numbers of JSON do not become infinite in a float type."""
    info = np.finfo(dtype)
    most = float(info.max)
    # From the middle between the greatest number and what would be the next one on.
    beyond = most + math.ldexp(1.0, info.maxexp - 2 - info.nmant)
    if math.isfinite(beyond):
        return {"exclusiveMinimum": -beyond, "exclusiveMaximum": beyond}
    return {"minimum": -most, "maximum": most}


def _shape_text(shape: Sequence[Any]) -> str:
    return "[" + ", ".join("any" if size is None else str(size) for size in shape) + "]"


@dataclass(frozen=True, kw_only=True)
class Signature:
    """What goes in and what comes out.

    Parameters
    ----------
    inputs
        Empty: any JSON value is an example, and so is any answer.
    outputs
        Empty: whatever the model returns. They describe, and are checked for rows only.
    """

    inputs: tuple[Field, ...] = ()
    outputs: tuple[Field, ...] = ()

    @property
    def free(self) -> bool:
        """Whether an example may be any JSON value."""
        return not self.inputs

    @property
    def ragged(self) -> bool:
        """Whether two requests may differ in shape, so that they cannot always share a batch."""
        return any(None in field.shape for field in self.inputs)

    def field(self, name: str) -> Field:
        """Return the input `name`."""
        for field in self.inputs:
            if field.name == name:
                return field
        known = ", ".join(field.name for field in self.inputs)
        raise BadInput(f"no such input; the model takes {known}", field=f"inputs.{name}")

    def checked(self, arrays: Mapping[str, Array]) -> Mapping[str, Array]:
        """Return `arrays` if they are a batch: every input is there, right, and equally long.

        Raises
        ------
        BadInput
            They are not; it names the input.
        """
        for name in arrays:
            self.field(name)
        for field in self.inputs:
            if field.name not in arrays:
                raise BadInput("is missing", field=f"inputs.{field.name}")
            field.checked(arrays[field.name], f"inputs.{field.name}")
        return self.even(arrays)

    def even(self, arrays: Mapping[str, Array]) -> Mapping[str, Array]:
        """Return `arrays` if all hold the same number of examples."""
        if len(arrays) > 1:
            first = self.inputs[0].name
            rows = len(arrays[first])
            for name, array in arrays.items():
                if len(array) != rows:
                    raise BadInput(
                        f"{len(array)} examples, but {first} has {rows}", field=f"inputs.{name}"
                    )
        return arrays

    def json_schema(self) -> dict[str, Any]:
        """Return the JSON schema of what stands under ``inputs``."""
        if self.free:
            return {"type": "array", "items": {}, "minItems": 1}
        if len(self.inputs) == 1:
            return self.inputs[0].json_schema()
        return {
            "type": "object",
            "properties": {field.name: field.json_schema() for field in self.inputs},
            "required": [field.name for field in self.inputs],
            "additionalProperties": False,
        }


# The letters by which `struct` packs a number, refusing what does not fit.
_LETTERS = {
    "int8": "b",
    "int16": "h",
    "int32": "i",
    "int64": "q",
    "uint8": "B",
    "uint16": "H",
    "uint32": "I",
    "uint64": "Q",
    "float16": "e",
    "float32": "f",
    "float64": "d",
}


class _Rows:
    """Makes arrays of rows of one length, in half the time that numpy takes for small ones."""

    def __init__(self, field: Field) -> None:
        self._field = field
        size = field.shape[0] if len(field.shape) == 1 else None
        self._size = size or 0
        letter = _LETTERS.get(field.dtype, "")
        packs = bool(size and letter and not field.nan)
        self._pack = struct.Struct(f"={size}{letter}").pack if packs else None
        self._dtype = DTYPES[field.dtype]

    def array(self, values: Any, where: str) -> Array:
        """Return what :meth:`Field.array` does."""
        pack = self._pack
        if pack is not None and values:
            try:
                if len(values) == 1:
                    packed = bytearray(pack(*values[0]))
                else:
                    packed = bytearray().join([pack(*row) for row in values])
                made: Array = np.ndarray((len(values), self._size), self._dtype, packed)
                return made  # noqa: TRY300 - nothing else is tried
            except (struct.error, OverflowError):
                # It does not fit. Which value is to blame is looked for in the long way.
                pass
        return self._field.array(values, where)


class Reader:
    """Reads ``{"inputs": …}`` for one signature; the types are built once."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        kind: Any
        if signature.free:
            kind = list[Any]
        elif len(signature.inputs) == 1:
            kind = signature.inputs[0].json_type()
        else:
            kind = msgspec.defstruct(
                "Inputs",
                [
                    (f"_{number}", field.json_type())
                    for number, field in enumerate(signature.inputs)
                ],
                rename={f"_{n}": field.name for n, field in enumerate(signature.inputs)},
                forbid_unknown_fields=True,
            )
        body = msgspec.defstruct("Body", [("inputs", kind)], forbid_unknown_fields=True)
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(body)
        self._rows = [_Rows(field) for field in signature.inputs]

    def read(self, body: bytes) -> Batch:
        """Return the batch in `body`.

        Raises
        ------
        BadInput
            It is not JSON, or not what the signature asks for.
        """
        values = self.decoded(self._decoder, body).inputs
        fields = self._signature.inputs
        if not fields:
            if not values:
                raise BadInput("holds no example", field="inputs")
            return cast("Sequence[Any]", values)
        if len(fields) == 1:
            return {fields[0].name: self._rows[0].array(values, "inputs")}
        return self._signature.even(
            {
                field.name: rows.array(getattr(values, f"_{number}"), f"inputs.{field.name}")
                for number, (field, rows) in enumerate(zip(fields, self._rows, strict=True))
            }
        )

    @staticmethod
    def decoded(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
        """Decode `body`, and say by name what is wrong with it where something is."""
        try:
            return decoder.decode(body)
        except msgspec.ValidationError as error:
            raise _named(str(error)) from error
        except RecursionError as error:
            raise BadInput("the JSON is nested too deep") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _not_json(body, str(error)) from error


def _named(text: str) -> BadInput:
    """Turn ``Expected `float`, got `str` - at `$.inputs[0]``` into a field and a sentence."""
    said, _, place = text.partition(" - at `")
    return BadInput(said, field=place.rstrip("`").removeprefix("$").removeprefix("."))


def _not_json(body: bytes, text: str) -> BadInput:
    """Tell NaN and Infinity, which many programs write and JSON has not, from other faults."""
    try:
        value = json.loads(body)
    except RecursionError:
        return BadInput("the JSON is nested too deep")
    except ValueError:
        return BadInput(f"the body is no JSON in UTF-8: {text}")
    place = _not_finite(value, "")
    said = "NaN and Infinity are no JSON, and not accepted"
    return BadInput(said, field=place.removeprefix(".")) if place else BadInput(text)


def _not_finite(value: Any, where: str) -> str:
    if isinstance(value, float):
        return "" if math.isfinite(value) else where
    found = ""
    pairs: list[tuple[str, Any]] = []
    if isinstance(value, list):
        pairs = [(f"[{index}]", item) for index, item in enumerate(value)]
    elif isinstance(value, dict):
        pairs = [(f".{key}", item) for key, item in value.items()]
    for step, item in pairs:
        found = found or _not_finite(item, where + step)
    return found


def rows_of(batch: Batch) -> int:
    """Return how many examples `batch` holds."""
    # The kind of all that is read here, and quickly told from others.
    if isinstance(batch, dict):
        for array in batch.values():
            return len(array)
    if isinstance(batch, Mapping):
        return len(next(iter(batch.values())))
    return len(batch)


def listed(value: Any) -> Any:
    """Return `value` as what JSON can say: arrays become lists, numpy's numbers Python's."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value
