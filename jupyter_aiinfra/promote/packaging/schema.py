"""What a model takes and gives, and how its function is called for that."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.model import from_wire
from jupyter_aiinfra.promote.packaging.calls import Call
from jupyter_aiinfra.serving.schema import Field

__all__ = ["Schema", "arguments", "bound", "called_as", "check_callable", "declared", "parameters"]


@dataclass(frozen=True, kw_only=True)
class Schema:
    """What a model takes and gives.

    Parameters
    ----------
    inputs, outputs
        As in ``endpoint.json``; empty where they are any JSON value.
    batched
        Whether one call takes many examples.
    takes, shape
        How the function is called, as :func:`.carried.adapted` wants it.
    """

    inputs: tuple[Field, ...] = ()
    outputs: tuple[Field, ...] = ()
    batched: bool = False
    takes: Mapping[str, str] = field(default_factory=dict)
    shape: str = "one"


def arguments(source: Callable[..., Any], example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments by position and by name that `example` stands for.

    A tuple is arguments by position; a mapping whose keys are parameters is arguments by name;
    anything else is the only argument.
    """
    if isinstance(example, tuple) and not hasattr(example, "_fields"):
        return example, {}
    if isinstance(example, dict) and example and set(example) <= set(parameters(source)):
        return (), dict(example)
    return (example,), {}


def bound(source: Callable[..., Any], call: Call) -> dict[str, Any]:
    """Return the arguments of `call` by the names of the parameters that they are of."""
    called: Any = source.forward if hasattr(source, "forward") else source
    try:
        found = inspect.signature(called).bind(*call.args, **call.kwargs)
    except TypeError as error:
        raise UsageError(f"the example is not what {called_as(source)} takes: {error}") from None
    names = dict(found.arguments)
    for name, parameter in found.signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            names.update(names.pop(name, {}))
        elif parameter.kind is parameter.POSITIONAL_ONLY and len(names) > 1:
            raise UsageError(
                f"{called_as(source)} takes {name} by position only, and inputs have names",
                hint="leave out the / of its parameters",
            )
    return names


def declared(signature: Any, schema: Schema) -> Schema:
    """Return `schema` with what the user said of inputs and outputs in its place.

    Parameters
    ----------
    signature
        ``{"inputs": […], "outputs": […]}``, each an object as in ``endpoint.json``.
    """
    if not isinstance(signature, Mapping) or not set(signature) <= {"inputs", "outputs"}:
        raise UsageError(
            f"signature {signature!r}: an object with `inputs` and `outputs` is expected",
            hint='such as {"inputs": [{"name": "x", "dtype": "float32", "shape": [4]}]}',
        )
    for side, told in signature.items():
        try:
            fields = from_wire(told, tuple[Field, ...])
        except (msgspec.ValidationError, ValueError) as error:
            raise UsageError(f"signature {side}: {error}") from None
        if side == "inputs":
            missing = {field.name for field in fields} ^ set(schema.takes or ())
            if schema.takes and missing:
                raise UsageError(
                    f"signature inputs: {', '.join(sorted(missing))} is not in both the signature "
                    f"and the function, which takes {', '.join(schema.takes)}"
                )
            schema = replace(schema, inputs=fields)
        else:
            schema = replace(schema, outputs=fields)
    return schema


def check_callable(source: Callable[..., Any]) -> None:
    """Check that an endpoint can ask `source`.

    Raises
    ------
    UsageError
        It is asynchronous, or gives its inputs no names.
    """
    if inspect.iscoroutinefunction(source) or inspect.isasyncgenfunction(source):
        raise UsageError(
            f"{called_as(source)} is asynchronous, and an endpoint calls its function in a thread",
            hint="write it with def",
        )
    for parameter in parameters(source).values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            raise UsageError(
                f"{called_as(source)} takes *{parameter.name}, which gives its inputs no names",
                hint="name its parameters",
            )


def parameters(source: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of what is called: a function, or a module's ``forward``."""
    called = source.forward if hasattr(source, "forward") else source
    try:
        return inspect.signature(called).parameters
    except (TypeError, ValueError):
        raise UsageError(
            f"{called_as(source)} does not tell its parameters",
            hint="wrap it in a function of yours",
        ) from None


def called_as(source: Any) -> str:
    """Return what people know `source` by."""
    return str(getattr(source, "__name__", type(source).__name__))
