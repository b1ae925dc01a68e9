"""What a function takes and gives, as its type hints say."""

from __future__ import annotations

import collections.abc
import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.promote.packaging.schema import Schema, called_as, parameters
from jupyter_aiinfra.serving.schema import Field

__all__ = ["by_hints", "hinted", "hints_of"]

_EXAMPLE = "give an example call, such as example=(x,), or record some"
_SCALARS: Mapping[Any, str] = {float: "float64", int: "int64", bool: "bool", str: "string"}
_SEQUENCES = (list, tuple, collections.abc.Sequence, collections.abc.Iterable)

_Shape = tuple[int | None, ...]


def hints_of(source: Callable[..., Any]) -> Mapping[str, Any]:
    """Return the type hints of what is called; none where they cannot be read."""
    called = source.forward if hasattr(source, "forward") else source
    target = called if hasattr(called, "__annotations__") else type(called).__call__
    try:
        return typing.get_type_hints(target)
    except Exception:  # noqa: BLE001 - hints are anybody's text, and this one says nothing to us
        return {}


def by_hints(
    source: Callable[..., Any], hints: Mapping[str, Any], *, batched: bool | None
) -> Schema:
    """Return what `source` takes and gives by its hints alone.

    Raises
    ------
    UsageError
        A parameter has none, or one that does not say its shape.
    """
    wanted = {
        name: parameter
        for name, parameter in parameters(source).items()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    }
    if not wanted:
        raise UsageError(f"{called_as(source)} takes nothing, and an endpoint is asked something")
    fields, takes, free = [], {}, False
    for name in wanted:
        if name not in hints:
            raise UsageError(
                f"what {called_as(source)} takes as {name} is not known: it has no type hint",
                hint=_EXAMPLE,
            )
        found = hinted(hints[name])
        if found is None:
            free = True
            takes[name] = "value"
            continue
        if found[0] == "array":
            raise UsageError(
                f"the shape of {name} is not known: a type hint does not say it", hint=_EXAMPLE
            )
        kind, dtype, sizes = found
        takes[name] = kind
        fields.append(Field(name=name, dtype=dtype, shape=sizes))
    shape = "one" if len(takes) == 1 else "object" if free else "named"
    if free or inspect.isgeneratorfunction(source):
        return Schema(
            takes=dict.fromkeys(takes, "value"), shape="one" if len(takes) == 1 else "object"
        )
    if batched:
        fields = [replace(field, shape=field.shape[1:]) for field in fields]
    given = hinted(hints.get("return"))
    outputs = (
        ()
        if given is None or given[0] != "item" or batched
        else (Field(name="output", dtype=given[1]),)
    )
    return Schema(
        inputs=tuple(fields), outputs=outputs, batched=bool(batched), takes=takes, shape=shape
    )


def hinted(hint: Any) -> tuple[str, str, _Shape] | None:
    """Return kind, dtype and shape of what a hint says; ``None`` where that is any value."""
    if hint in _SCALARS:
        return "item", _SCALARS[hint], ()
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is np.ndarray or origin is np.ndarray or _is_tensor_type(hint) or _is_frame_type(hint):
        return "array", "", ()
    if origin in _SEQUENCES and inner:
        plain = [each for each in inner if each is not Ellipsis]
        if len(set(plain)) != 1:
            return None
        part = hinted(plain[0])
        if part is None or part[0] == "array":
            return None
        fixed = origin is tuple and Ellipsis not in inner
        return "list", part[1], (len(inner) if fixed else None, *part[2])
    return None


def _is_tensor_type(hint: Any) -> bool:
    torch: Any = sys.modules.get("torch")
    return torch is not None and inspect.isclass(hint) and issubclass(hint, torch.Tensor)


def _is_frame_type(hint: Any) -> bool:
    pandas: Any = sys.modules.get("pandas")
    return pandas is not None and hint in (pandas.DataFrame, pandas.Series)
