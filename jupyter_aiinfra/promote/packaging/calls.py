"""Recorded calls: what a function or module was given in the notebook, and what it returned.

They tell what a model takes, and are what the packaged model is held against before it is used.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.promote.packaging.kinds import is_module

__all__ = ["KEPT", "Call", "Recorded", "called", "record", "recording"]

KEPT = 20
"""How many calls are kept: the first ones, as those that follow are mostly more of the same."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call, with copies of what went in and came out."""

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    result: Any = None


class Recorded:
    """A function that keeps what it was called with, and otherwise is what it was.

    A call that raises is not kept.
    """

    def __init__(self, function: Callable[..., Any], *, keep: int = KEPT) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.calls: list[Call] = []
        self._keep = keep

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function, and keep the call if there is room."""
        if len(self.calls) >= self._keep:
            return self.function(*args, **kwargs)
        # Before the call, which may change what it is given.
        given, named = _copied(args), _copied(kwargs)
        result = self.function(*args, **kwargs)
        if isinstance(result, Iterator):
            result = list(result)
            self.calls.append(Call(args=given, kwargs=named, result=_copied(result)))
            return iter(result)
        self.calls.append(Call(args=given, kwargs=named, result=_copied(result)))
        return result


def record(function: Callable[..., Any]) -> Recorded:
    """Return `function` as one whose calls are kept; also to be written as a decorator."""
    if not callable(function):
        raise UsageError(f"{function!r} cannot be called, so there is nothing to record")
    return Recorded(function)


@contextlib.contextmanager
def recording(
    source: Any, *, namespace: MutableMapping[str, Any] | None = None, keep: int = KEPT
) -> Iterator[list[Call]]:
    """Record the calls of `source` while the block runs; yields the list that they come into.

    Parameters
    ----------
    source
        A ``torch.nn.Module``, of which calls in evaluation mode are kept; or a function that
        `namespace` holds, where it is replaced meanwhile.
    namespace
        By default the names of the notebook.
    """
    if is_module(source):
        with _hooked(source, keep) as calls:
            yield calls
        return
    names = vars(sys.modules["__main__"]) if namespace is None else namespace
    found = [name for name, value in names.items() if value is source]
    if not callable(source) or not found:
        raise UsageError(
            f"{getattr(source, '__name__', source)!r} is no function that the notebook has by name",
            hint="record what is called by its name in the cell, or decorate it with @record",
        )
    recorded = Recorded(source, keep=keep)
    names.update(dict.fromkeys(found, recorded))
    try:
        yield recorded.calls
    finally:
        for name in found:
            if names.get(name) is recorded:
                names[name] = source


@contextlib.contextmanager
def _hooked(module: Any, keep: int) -> Iterator[list[Call]]:
    calls: list[Call] = []

    def note(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if len(calls) < keep and not module.training:
            calls.append(Call(args=_copied(args), kwargs=_copied(kwargs), result=_copied(result)))

    handle = module.register_forward_hook(note, with_kwargs=True)
    try:
        yield calls
    finally:
        handle.remove()


def called(source: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
    """Call `source` as the server will, a module in evaluation mode, and return the call."""
    given, named = _copied(args), _copied(kwargs)
    if not is_module(source):
        result = source(*args, **kwargs)
        if isinstance(result, Iterator):
            result = list(result)
        return Call(args=given, kwargs=named, result=_copied(result))
    torch: Any = sys.modules["torch"]
    training = [part for part in source.modules() if part.training]
    source.eval()
    try:
        with torch.inference_mode():
            result = source(*args, **kwargs)
    finally:
        for part in training:
            part.training = True
    return Call(args=given, kwargs=named, result=_copied(result))


def _copied(value: Any) -> Any:
    torch: Any = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return value.detach().cpu().clone()
    if type(value) in (list, tuple):
        return type(value)(_copied(each) for each in value)
    if type(value) is dict:
        return {key: _copied(each) for key, each in value.items()}
    return copy.deepcopy(value)
