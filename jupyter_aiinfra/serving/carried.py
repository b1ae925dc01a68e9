"""What a package made from a notebook is loaded by: its values, and its function as it is called.

This one file travels in every package, under the name ``aiinfra_carried``, so that a package can be
loaded wherever Python, and what the model itself needs, are there. It reads plain JSON, arrays and
tensors, and never unpickles.

A tree of ``values.json`` is JSON where that can say it, and else an object with the key ``"$"``:
what kind of thing it is. ``"n"`` numbers what occurs more than once, ``{"$": "ref"}`` is it again.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = ["ARRAYS", "FORMAT", "MODULES", "TENSORS", "VALUES", "Values", "adapted", "opened"]

FORMAT = 1
VALUES = "values.json"
ARRAYS = "values.npz"
TENSORS = "model.safetensors"
MODULES = "modules"
"""The folder with local modules of the notebook."""


def opened(place: str, namespace: dict[str, Any]) -> Values:
    """Return the values beside the file `place`, whose names are `namespace`.

    The folder of local modules comes first where Python looks for modules.
    """
    folder = os.path.dirname(os.path.abspath(place))  # noqa: PTH100, PTH120 - starts sooner
    modules = os.path.join(folder, MODULES)  # noqa: PTH118
    if os.path.isdir(modules) and modules not in sys.path:  # noqa: PTH112
        sys.path.insert(0, modules)
    return Values(folder, namespace)


class Values:
    """Values of a package, each made when its name is loaded."""

    def __init__(self, folder: str, namespace: dict[str, Any]) -> None:
        self._folder = folder
        self._namespace = namespace
        with open(self._path(VALUES), encoding="utf-8") as file:  # noqa: PTH123
            told = json.load(file)
        if told["format"] != FORMAT:
            raise ValueError(f"{VALUES} is of format {told['format']}, and {FORMAT} is read here")
        self._trees: dict[str, Any] = told["values"]
        self._made: dict[int, Any] = {}
        self._stores: dict[str, Any] = {}
        self._loaded: set[str] = set()

    def load(self, name: str) -> None:
        """Put the value of `name` into the namespace, once."""
        if name not in self._loaded:
            self._loaded.add(name)
            self._namespace[name] = self._value(self._trees[name])

    def load_all(self) -> None:
        """Load what was not yet, and let the files go."""
        for name in self._trees:
            self.load(name)
        self._stores.clear()
        self._made.clear()

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, name)  # noqa: PTH118

    def _value(self, tree: Any) -> Any:
        if not isinstance(tree, dict):
            return tree
        read: Callable[[Any], Any] = getattr(self, f"_{tree['$']}")
        return read(tree)

    def _keep(self, tree: Mapping[str, Any], made: Any) -> Any:
        if "n" in tree:
            self._made[tree["n"]] = made
        return made

    def _all(self, trees: Any) -> list[Any]:
        return [self._value(each) for each in trees]

    def _pairs(self, trees: Any) -> Iterator[tuple[Any, Any]]:
        for key, value in trees:
            yield self._value(key), self._value(value)

    # --- kinds ---

    def _ref(self, tree: Any) -> Any:
        return self._made[tree["n"]]

    def _float(self, tree: Any) -> Any:
        return float(tree["of"])

    def _list(self, tree: Any) -> Any:
        made: list[Any] = self._keep(tree, [])
        made.extend(self._all(tree["of"]))
        return made

    def _tuple(self, tree: Any) -> Any:
        return self._keep(tree, tuple(self._all(tree["of"])))

    def _set(self, tree: Any) -> Any:
        made: set[Any] = self._keep(tree, set())
        made.update(self._all(tree["of"]))
        return made

    def _dict(self, tree: Any) -> Any:
        made = self._keep(tree, self._mapping(tree))
        for key, value in self._pairs(tree["of"]):
            made[key] = value
        return made

    def _mapping(self, tree: Any) -> Any:
        kind = self._value(tree["class"]) if "class" in tree else dict
        return kind(self._value(tree["default"])) if "default" in tree else kind()

    def _call(self, tree: Any) -> Any:
        called = self._value(tree["call"])
        return self._keep(tree, called(*self._all(tree["of"]), **dict(self._pairs(tree["by"]))))

    def _method(self, tree: Any) -> Any:
        return self._keep(tree, getattr(self._value(tree["of"]), tree["name"]))

    def _reference(self, tree: Any) -> Any:
        module, _, path = tree["name"].partition(":")
        if module == "__main__":
            top, _, rest = path.partition(".")
            found = self._namespace[top]
            return functools.reduce(getattr, rest.split("."), found) if rest else found
        return functools.reduce(getattr, path.split("."), importlib.import_module(module))

    def _object(self, tree: Any) -> Any:
        kind = self._value(tree["class"])
        made = self._keep(tree, kind.__new__(kind))
        for name, value in self._pairs(tree["state"]):
            object.__setattr__(made, name, value)
        return made

    def _module(self, tree: Any) -> Any:
        torch = importlib.import_module("torch")
        kind = self._value(tree["class"])
        made = self._keep(tree, kind.__new__(kind))
        state = dict(vars(torch.nn.Module()))
        state.update(self._pairs(tree["state"]))
        made.__setstate__(state)
        return made

    def _array(self, tree: Any) -> Any:
        return self._keep(tree, self._store(ARRAYS)[tree["key"]])

    def _scalar(self, tree: Any) -> Any:
        return self._keep(tree, self._store(ARRAYS)[tree["key"]][()])

    def _objects(self, tree: Any) -> Any:
        numpy = importlib.import_module("numpy")
        made = self._keep(tree, numpy.empty(tree["shape"], dtype=object))
        made.reshape(-1)[:] = self._all(tree["of"])
        return made

    def _tensor(self, tree: Any) -> Any:
        torch = importlib.import_module("torch")
        made = self._store(TENSORS)[tree["key"]]
        if tree.get("parameter"):
            made = torch.nn.Parameter(made, requires_grad=bool(tree.get("grad")))
        return self._keep(tree, made)

    def _frame(self, tree: Any) -> Any:
        pandas = importlib.import_module("pandas")
        columns = self._all(tree["columns"])
        made = pandas.DataFrame(dict(enumerate(self._all(tree["of"]))))
        made = made.astype(dict(enumerate(tree["types"])))
        made.columns = columns
        return self._keep(tree, made)

    def _store(self, name: str) -> Any:
        if name not in self._stores:
            if name == ARRAYS:
                numpy = importlib.import_module("numpy")
                with numpy.load(self._path(name), allow_pickle=False) as file:
                    self._stores[name] = {key: file[key] for key in file.files}
            else:
                self._stores[name] = importlib.import_module("safetensors.torch").load_file(
                    self._path(name)
                )
        return self._stores[name]


# --- how the function is called ------------------------------------------------------------------


def adapted(
    function: Callable[..., Any], takes: Mapping[str, Any], *, shape: str = "named"
) -> Callable[..., Any]:
    """Return `function` as the server calls it, its answers made of arrays and plain values.

    Parameters
    ----------
    takes
        By the parameter's name, what it wants: ``array``, ``tensor``, ``list``, ``item``,
        ``value`` (as it is in JSON) or ``array:DTYPE``, ``tensor:DTYPE`` of a value in JSON.
    shape
        How the server hands inputs over. ``one``: the only input by position; ``named``: each by
        its name; ``object``: one mapping of them all; ``frame``: columns of one data frame.
    """

    def given(args: tuple[Any, ...], named: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        if shape == "frame":
            pandas = importlib.import_module("pandas")
            columns = dict(zip(takes, args, strict=False)) | dict(named)
            return [pandas.DataFrame(columns)], {}
        if shape == "one":
            ((_, kind),) = takes.items()
            return [_wanted(kind, args[0])], {}
        told = args[0] if shape == "object" else named
        if not isinstance(told, Mapping):
            raise TypeError(f"an object with {', '.join(takes)} is expected")
        return [], {name: _wanted(takes[name], value) for name, value in told.items()}

    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def parts(*args: Any, **named: Any) -> Iterator[Any]:
            inside, by_name = given(args, named)
            for part in function(*inside, **by_name):
                yield _plain(part)

        return parts

    @functools.wraps(function)
    def answer(*args: Any, **named: Any) -> Any:
        inside, by_name = given(args, named)
        return _plain(function(*inside, **by_name))

    return answer


def _wanted(kind: str, value: Any) -> Any:
    kind, _, dtype = kind.partition(":")
    if kind == "array":
        return importlib.import_module("numpy").asarray(value, dtype) if dtype else value
    if kind == "tensor":
        numpy, torch = importlib.import_module("numpy"), importlib.import_module("torch")
        array = numpy.asarray(value, dtype or None)
        return torch.from_numpy(array if array.flags.writeable else array.copy())
    if kind in ("list", "item"):
        return value.tolist() if hasattr(value, "tolist") else value
    return value


def _plain(value: Any) -> Any:
    """Return what a function gave with tensors as arrays, and frames as columns."""
    if isinstance(value, tuple):
        return tuple(_plain(each) for each in value)
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return _numeric(value)


def _numeric(value: Any) -> Any:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return value.detach().cpu().numpy()
    if hasattr(value, "columns") and hasattr(value, "to_numpy"):
        return {str(name): value[name].to_numpy() for name in value.columns}
    if hasattr(value, "to_numpy"):
        return value.to_numpy()
    return value
