"""What a model takes and gives, as seen from what it was called with.

A function takes many examples at once, as arrays whose first axis counts them, or one at a time;
which of both is seen from its calls, and may be said.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.promote.packaging.calls import Call
from jupyter_aiinfra.promote.packaging.hints import by_hints, hinted, hints_of
from jupyter_aiinfra.promote.packaging.kinds import (
    array_of,
    dtype_of,
    is_frame,
    kind_of,
    plain,
    unwrapped,
)
from jupyter_aiinfra.promote.packaging.schema import Schema, bound, check_callable
from jupyter_aiinfra.serving.schema import DTYPES, Field

__all__ = ["outputs_of", "schema_of"]

_Shape = tuple[int | None, ...]


def schema_of(
    source: Callable[..., Any], calls: Sequence[Call], *, batched: bool | None = None
) -> Schema:
    """Return what `source` takes and gives, as seen from `calls` and from its type hints.

    Raises
    ------
    UsageError
        Neither tells it, or what they tell cannot be served; names the parameter.
    """
    check_callable(source)
    hints = hints_of(source)
    if not calls:
        return by_hints(source, hints, batched=batched)
    given = [bound(source, call) for call in calls]
    if any(set(each) != set(given[0]) for each in given):
        # Options that some calls leave out: each call is a JSON object of its own.
        return _free(given, several=True)
    if not given[0]:
        raise UsageError("it was called without any argument, and an endpoint is asked something")
    if len(given[0]) == 1 and is_frame(next(iter(given[0].values()))):
        return _frame(given, calls)
    kinds = {name: _same_kind([each[name] for each in given]) for name in given[0]}
    if "value" in kinds.values() or inspect.isgeneratorfunction(source):
        return _free(given)
    arrays = {name: [_array(each[name], name, hints.get(name)) for each in given] for name in kinds}
    results = [call.result for call in calls]
    many = _is_batched(kinds, arrays, results, hints) if batched is None else batched
    inputs = tuple(_field(name, found, rows=many) for name, found in arrays.items())
    return Schema(
        inputs=inputs,
        outputs=_outputs(results, rows=many, fixed=not _ragged(inputs)),
        batched=many,
        takes=kinds,
        shape="one" if len(kinds) == 1 else "named",
    )


def _same_kind(values: Sequence[Any]) -> str:
    kinds = {kind_of(value) for value in values}
    if len(kinds) != 1:
        return "value"
    (kind,) = kinds
    if kind in ("list", "array", "tensor", "item"):
        depths = {
            np.ndim(np.asarray(value)) if kind != "tensor" else value.ndim for value in values
        }
        same = len({dtype_of(array_of(value)) is None for value in values}) == 1
        return kind if len(depths) == 1 and same else "value"
    return kind


def _array(value: Any, name: str, hint: Any) -> Any:
    array = array_of(value)
    dtype = dtype_of(array)
    if dtype is None:
        raise UsageError(
            f"{name} is {array.dtype}, which no request can bring",
            hint=f"there are {', '.join(DTYPES)}",
        )
    told = hinted(hint) if hint is not None else None
    if told is not None and told[1] == "float64" and array.dtype.kind in "iu":
        return array.astype(np.float64)  # 3 was given where 3.0 was meant
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise UsageError(
            f"{name} of a recorded call holds NaN or infinity, and JSON has neither",
            hint="call it with finite numbers",
        )
    return array.astype(object) if dtype == "string" else array


def _is_batched(
    kinds: Mapping[str, str],
    arrays: Mapping[str, Sequence[Any]],
    results: Sequence[Any],
    hints: Mapping[str, Any],
) -> bool:
    if any((hinted(hints.get(name)) or ("",))[0] == "item" for name in kinds):
        return False
    least = 2 if "list" in kinds.values() else 1
    for number, result in enumerate(results):
        given = [found[number] for found in arrays.values()]
        lengths = {len(each) for each in given if each.ndim >= least}
        if len(lengths) != 1 or any(each.ndim < least for each in given):
            return False
        if _rows(result) != lengths:
            return False
    return True


def _rows(result: Any) -> set[int]:
    """Return how many examples each part of an answer seems to hold."""
    parts: Sequence[Any]
    if isinstance(result, Mapping):
        parts = list(result.values())
    elif isinstance(result, tuple):
        parts = result
    else:
        parts = [result]
    return {len(part) if hasattr(part, "__len__") and _depth(part) else -1 for part in parts}


def _depth(part: Any) -> int:
    return int(getattr(part, "ndim", 0 if isinstance(part, str) else 1))


def _field(name: str, arrays: Sequence[Any], *, rows: bool) -> Field:
    shapes = [array.shape[1:] if rows else array.shape for array in arrays]
    if not all(array.size for array in arrays):
        raise UsageError(f"{name} of a recorded call is empty", hint="call it with something in it")
    dtype = np.result_type(*arrays) if arrays[0].dtype.kind != "O" else arrays[0].dtype
    told = "string" if dtype.kind == "O" else str(dtype.name)
    return Field(name=name, dtype=told, shape=_common(shapes))


def _common(shapes: Sequence[tuple[int, ...]]) -> _Shape:
    return tuple(sizes[0] if len(set(sizes)) == 1 else None for sizes in zip(*shapes, strict=True))


def _ragged(fields: Sequence[Field]) -> bool:
    return any(None in field.shape for field in fields)


def outputs_of(results: Sequence[Any]) -> tuple[Field, ...]:
    """Return the typed answers of a model that takes many examples at once."""
    parts = [result if is_frame(result) else unwrapped(result) for result in results]
    return _outputs(parts, rows=True, fixed=True)


def _outputs(results: Sequence[Any], *, rows: bool, fixed: bool) -> tuple[Field, ...]:
    """Return the typed answers, if all are typed in one way; what is not stays any value."""
    named = [_named_parts(result) for result in results]
    if any(each is None or set(each) != set(named[0] or ()) for each in named):
        return ()
    parts = [each for each in named if each is not None]
    if not rows and (len(parts[0]) > 1 or not fixed or isinstance(results[0], Mapping)):
        return ()
    fields = []
    for name in parts[0]:
        arrays = [array_of(each[name]) for each in parts]
        known = [dtype_of(array) for array in arrays]
        if None in known or len({array.ndim for array in arrays}) != 1:
            return ()
        shapes = [array.shape[1:] if rows else array.shape for array in arrays]
        if not rows and len(set(shapes)) > 1:
            return ()
        text = "string" in known
        dtype = "string" if text else str(np.result_type(*arrays).name)
        fields.append(Field(name=name, dtype=dtype, shape=_common(shapes), nan=not text))
    return tuple(fields)


def _named_parts(result: Any) -> dict[str, Any] | None:
    if isinstance(result, Mapping):
        found = {str(name): each for name, each in result.items()}
    elif is_frame(result):
        found = {str(name): result[name].to_numpy() for name in result.columns}
    elif isinstance(result, tuple):
        found = {f"output_{number}": each for number, each in enumerate(result)}
    else:
        found = {"output": result}
    if any(kind_of(unwrapped(each)) == "value" for each in found.values()):
        return None
    return {name: unwrapped(each) for name, each in found.items()}


def _frame(bound: Sequence[Mapping[str, Any]], calls: Sequence[Call]) -> Schema:
    frames = [next(iter(each.values())) for each in bound]
    columns = [str(name) for name in frames[0].columns]
    if any([str(name) for name in frame.columns] != columns for frame in frames):
        raise UsageError("the recorded data frames do not all have the same columns")
    inputs = []
    for name in columns:
        arrays = [_array(frame[name].to_numpy(), name, None) for frame in frames]
        inputs.append(_field(name, arrays, rows=True))
    results = [call.result for call in calls]
    if any(_rows(unwrapped(r)) != {len(f)} for r, f in zip(results, frames, strict=True)):
        raise UsageError(
            "it does not return one answer for each row of its data frame",
            hint="return as many rows as came in",
        )
    return Schema(
        inputs=tuple(inputs),
        outputs=_outputs(results, rows=True, fixed=True),
        batched=True,
        takes=dict.fromkeys(columns, "array"),
        shape="frame",
    )


def _free(bound: Sequence[Mapping[str, Any]], *, several: bool = False) -> Schema:
    """Return the schema of a function that takes JSON values, one example at a time."""
    takes: dict[str, str] = {}
    for each in bound:
        for name, value in each.items():
            kind = kind_of(value)
            if kind in ("array", "tensor"):
                takes[name] = f"{kind}:{array_of(value).dtype.name}"
            else:
                takes[name] = "value"
                _check_json(name, value)
    return Schema(takes=takes, shape="object" if several or len(takes) > 1 else "one")


def _check_json(name: str, value: Any) -> None:
    try:
        msgspec.json.encode(value, enc_hook=plain)
    except (TypeError, NotImplementedError, msgspec.MsgspecError):
        raise UsageError(
            f"{name} is a {type(value).__name__}, which no request can bring",
            hint="take numbers, text, lists, objects, arrays, tensors or a data frame, and make "
            "the rest of these",
        ) from None
