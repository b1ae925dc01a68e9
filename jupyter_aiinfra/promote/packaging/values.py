"""Values of a notebook as plain JSON, arrays and tensors: never as a pickle.

What reads them is ``serving/carried.py``, which says what a tree is. A value that only a pickle
could carry is refused by name. Objects are carried as their class, by name, and their attributes:
that of a ``torch.nn.Module``, and of classes that the notebook or a module beside it defines.
"""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import fractions
import functools
import math
import pathlib
import re
import sys
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Collection, Mapping
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

from jupyter_aiinfra.errors import CaptureError

__all__ = ["Encoder"]

_WITH_MLFLOW = "log the model with MLflow, and package models:/NAME or runs:/RUN/NAME"
_PLAIN = (type(None), bool, int, str)
_TIMES = (dt.date, dt.datetime, dt.time)
_OWN_WAYS = ("__reduce__", "__reduce_ex__", "__getstate__", "__setstate__")

_Tree = Any


class Encoder:
    """Turns values into trees, and collects the arrays and tensors of all of them.

    Parameters
    ----------
    own
        Top-level modules whose classes may be carried by their attributes: those that travel.
    """

    def __init__(self, *, own: Collection[str] = ()) -> None:
        self.trees: dict[str, _Tree] = {}
        self.arrays: dict[str, Any] = {}
        self.tensors: dict[str, Any] = {}
        self._own = {"__main__", *own}
        # By its id, each object met: held, so that no id is used again. And its tree, which gets a
        # number when the object is met once more.
        self._met: dict[int, tuple[Any, dict[str, _Tree] | None]] = {}
        self._numbers = 0

    def add(self, name: str, value: Any) -> None:
        """Take in `value`.

        Raises
        ------
        CaptureError
            It, or something in it, can only travel as a pickle; says where that is.
        """
        self.trees[name] = self._tree(value, name)

    def _tree(self, value: Any, path: str) -> _Tree:
        if type(value) in _PLAIN:
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"$": "float", "of": repr(value)}
        known = self._met.get(id(value))
        if known is not None:
            return self._again(known, path)
        self._met[id(value)] = (value, None)
        tree: dict[str, _Tree] = {}
        # Known before its parts are looked at: what holds itself finds itself.
        if _is_filled_later(value):
            self._met[id(value)] = (value, tree)
        tree.update(self._made(value, path))
        self._met[id(value)] = (value, tree)
        return tree

    def _again(self, known: tuple[Any, dict[str, _Tree] | None], path: str) -> _Tree:
        _, tree = known
        if tree is None:
            raise _refused(path, "holds itself in a way that cannot be written down", "")
        if tree.get("$") == "reference":
            return tree
        if "n" not in tree:
            tree["n"] = self._numbers
            self._numbers += 1
        return {"$": "ref", "n": tree["n"]}

    def _made(self, value: Any, path: str) -> dict[str, _Tree]:
        for find in (self._container, self._named, self._numeric, self._small, self._instance):
            tree = find(value, path)
            if tree is not None:
                return tree
        kind = type(value)
        raise _refused(
            path,
            f"is a {kind.__module__}.{kind.__qualname__}, which could only travel as a pickle, "
            "and packages hold none",
            f"{_WITH_MLFLOW}, or make it inside the function",
        )

    def _all(self, values: Any, path: str) -> list[_Tree]:
        return [self._tree(each, f"{path}[{number}]") for number, each in enumerate(values)]

    def _pairs(self, values: Mapping[Any, Any], path: str) -> list[list[_Tree]]:
        return [
            [self._tree(key, f"a key of {path}"), self._tree(each, f"{path}[{key!r}]")]
            for key, each in values.items()
        ]

    # --- collections -------------------------------------------------------------------------

    def _container(self, value: Any, path: str) -> dict[str, _Tree] | None:
        kind = type(value)
        if kind in (list, tuple, set):
            parts = _sorted(value) if kind is set else value
            return {"$": kind.__name__, "of": self._all(parts, path)}
        if kind in (dict, OrderedDict, Counter, defaultdict):
            tree: dict[str, _Tree] = {"$": "dict"}
            if kind is not dict:
                tree["class"] = {"$": "reference", "name": f"collections:{kind.__name__}"}
            if kind is defaultdict:
                tree["default"] = self._tree(value.default_factory, f"{path}.default_factory")
            return {**tree, "of": self._pairs(value, path)}
        if kind in (frozenset, deque):
            parts = _sorted(value) if kind is frozenset else value
            listed = {"$": "list", "of": self._all(parts, path)}
            if kind is frozenset:
                return _call("builtins:frozenset", [listed])
            return _call("collections:deque", [listed, value.maxlen])
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            called = self._tree(kind, f"type({path})")
            return {"$": "call", "call": called, "of": self._all(value, path), "by": []}
        return None

    # --- what has a name ---------------------------------------------------------------------

    def _named(self, value: Any, path: str) -> dict[str, _Tree] | None:
        if isinstance(value, enum.Enum):
            kind = type(value)
            return self._reference(kind, f"{kind.__qualname__}.{value.name}", value, path)
        if isinstance(value, (type, FunctionType, BuiltinFunctionType)) or _is_ufunc(value):
            name = getattr(value, "__qualname__", value.__name__)
            return self._reference(value, name, value, path)
        if isinstance(value, MethodType):
            owner = self._tree(value.__self__, f"{path}.__self__")
            return {"$": "method", "of": owner, "name": value.__name__}
        if isinstance(value, functools.partial):
            called = [self._tree(part, path) for part in (value.func, *value.args)]
            by = self._pairs(value.keywords, path)
            return _call("functools:partial", called, by)
        return None

    @staticmethod
    def _reference(owner: Any, name: str, value: Any, path: str) -> dict[str, _Tree]:
        if "<" in name:
            what = "is a function without a name of its own"
            raise _refused(path, what, "define it with `def` at the top of a cell")
        module = getattr(owner, "__module__", None)
        if module != "__main__" and not _has(sys.modules.get(module or ""), name, value):
            module, name = _found(owner)
        return {"$": "reference", "name": f"{module}:{name}"}

    # --- numbers -----------------------------------------------------------------------------

    def _numeric(self, value: Any, path: str) -> dict[str, _Tree] | None:
        pandas: Any = sys.modules.get("pandas")
        if pandas is not None and type(value) is pandas.DataFrame:
            return self._frame(value, path, pandas)
        return self._of_numpy(value, path) or self._of_torch(value, path)

    def _of_numpy(self, value: Any, path: str) -> dict[str, _Tree] | None:
        numpy: Any = sys.modules.get("numpy")
        if numpy is None:
            return None
        if type(value) in (numpy.ndarray, numpy.memmap):
            if value.dtype.kind == "O":
                parts = self._all(value.reshape(-1).tolist(), path)
                return {"$": "objects", "shape": list(value.shape), "of": parts}
            if value.dtype.hasobject:
                raise _refused(path, "is an array of objects", "use plain columns")
            return {"$": "array", "key": self._array(value)}
        if isinstance(value, numpy.generic):
            return {"$": "scalar", "key": self._array(numpy.asarray(value))}
        if isinstance(value, numpy.dtype) and not value.hasobject:
            return _call("numpy:dtype", [value.str])
        return None

    def _of_torch(self, value: Any, path: str) -> dict[str, _Tree] | None:
        torch: Any = sys.modules.get("torch")
        if torch is None:
            return None
        if isinstance(value, torch.Tensor):
            return self._tensor(value, path, torch)
        if isinstance(value, torch.dtype):
            return {"$": "reference", "name": f"torch:{str(value).removeprefix('torch.')}"}
        if isinstance(value, torch.device):
            return _call("torch:device", [str(value)])
        if isinstance(value, torch.Size):
            return _call("torch:Size", [{"$": "list", "of": list(value)}])
        return None

    def _array(self, value: Any) -> str:
        key = f"a{len(self.arrays)}"
        self.arrays[key] = value
        return key

    def _tensor(self, value: Any, path: str, torch: Any) -> dict[str, _Tree]:
        if type(value) not in (torch.Tensor, torch.nn.Parameter) or value.layout != torch.strided:
            what = "is a tensor of a kind that safetensors cannot hold"
            raise _refused(path, what, "turn it into a dense one")
        # Named by where it is, so that any tool that opens the file shows something to go by.
        key, number = path, 1
        while key in self.tensors:
            number += 1
            key = f"{path}#{number}"
        self.tensors[key] = value.detach().cpu().contiguous()
        tree: dict[str, _Tree] = {"$": "tensor", "key": key}
        if isinstance(value, torch.nn.Parameter):
            tree |= {"parameter": True, "grad": value.requires_grad}
        return tree

    def _frame(self, value: Any, path: str, pandas: Any) -> dict[str, _Tree]:
        if not value.index.equals(pandas.RangeIndex(len(value))):
            what = "is a data frame with an index"
            raise _refused(path, what, "reset_index() makes columns of it")
        columns = [value.iloc[:, number].to_numpy() for number in range(value.shape[1])]
        return {
            "$": "frame",
            "columns": self._all(value.columns.tolist(), f"{path}.columns"),
            "types": [str(each) for each in value.dtypes],
            "of": self._all(columns, path),
        }

    # --- small things ------------------------------------------------------------------------

    @staticmethod
    def _small(value: Any, path: str) -> dict[str, _Tree] | None:
        del path
        kind = type(value)
        made = _SMALL.get(kind)
        if made is not None:
            return made(value)
        if kind in _TIMES and getattr(value, "tzinfo", None) is None:
            return _call(f"datetime:{kind.__name__}.fromisoformat", [value.isoformat()])
        if isinstance(value, pathlib.PurePath):
            return _call("pathlib:Path", [str(value)])
        if kind is re.Pattern and isinstance(value.pattern, str):
            return _call("re:compile", [value.pattern, value.flags])
        return None

    # --- objects -----------------------------------------------------------------------------

    def _instance(self, value: Any, path: str) -> dict[str, _Tree] | None:
        torch: Any = sys.modules.get("torch")
        if torch is not None and isinstance(value, torch.nn.Module):
            return self._module(value, path, torch)
        kind = type(value)
        if kind.__module__.partition(".")[0] not in self._own or not _is_plain(kind):
            return None
        state = dict(getattr(value, "__dict__", {}))
        for base in kind.__mro__:
            slots = vars(base).get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                    state[name] = getattr(value, name)
        return {
            "$": "object",
            "class": self._tree(kind, f"type({path})"),
            "state": self._attributes(state, path),
        }

    def _module(self, value: Any, path: str, torch: Any) -> dict[str, _Tree]:
        if isinstance(value, torch.jit.ScriptModule):
            what = "is a scripted module"
            raise _refused(path, what, "package the module that it was scripted from")
        kind = type(value)
        if kind.__module__ == "torch.fx.graph_module" or "<locals>" in kind.__qualname__:
            what = f"is of a class made on the way ({kind.__module__}.{kind.__qualname__})"
            raise _refused(path, what, 'package it with form="export"')
        own = "__getstate__" in {name for base in kind.__mro__[:-1] for name in vars(base)}
        state = dict(value.__getstate__() if own else vars(value))
        empty = vars(torch.nn.Module())
        hooks = [name for name in state if "_hooks" in name and name in empty and state[name]]
        if hooks:
            what = f"has hooks ({', '.join(sorted(hooks))})"
            raise _refused(path, what, "remove them, or do what they do in forward()")
        state = {
            name: each
            for name, each in state.items()
            if name not in empty
            or name in ("_parameters", "_buffers", "_modules", "training")
            or name == "_non_persistent_buffers_set"
        }
        inner = []
        for name, each in state.items():
            if name in ("_parameters", "_buffers", "_modules"):
                parts = [
                    [part, self._tree(found, f"{path}.{part}")] for part, found in each.items()
                ]
                inner.append([name, {"$": "dict", "of": parts}])
            else:
                inner.append([name, self._tree(each, f"{path}.{name}")])
        called = self._tree(kind, f"type({path})")
        return {"$": "module", "class": called, "state": inner}

    def _attributes(self, state: Mapping[str, Any], path: str) -> list[list[_Tree]]:
        return [[name, self._tree(each, f"{path}.{name}")] for name, each in state.items()]


def _has(module: Any, name: str, value: Any) -> bool:
    try:
        return functools.reduce(getattr, name.split("."), module) is value
    except AttributeError:
        return False


def _found(thing: Any) -> tuple[str, str]:
    """Return where `thing` can be imported from, of which its own word is not true."""
    name = str(thing.__name__)
    for module, loaded in list(sys.modules.items()):
        # Asking the module itself might import more.
        known = getattr(loaded, "__dict__", {})
        if module != "__main__" and known.get(name) is thing:
            return module, name
    raise _refused(name, "has no module that it could be imported from", "wrap it in a function")


def _call(name: str, of: list[_Tree], by: list[list[_Tree]] | None = None) -> dict[str, _Tree]:
    called = {"$": "reference", "name": name}
    return {"$": "call", "call": called, "of": of, "by": by or []}


def _hex(value: bytes | bytearray) -> dict[str, _Tree]:
    return _call(f"builtins:{type(value).__name__}.fromhex", [value.hex()])


def _ends(value: Any) -> dict[str, _Tree]:
    return _call(f"builtins:{type(value).__name__}", [value.start, value.stop, value.step])


def _text(value: Any) -> dict[str, _Tree]:
    kind = type(value)
    return _call(f"{kind.__module__}:{kind.__name__}", [str(value)])


def _delta(value: dt.timedelta) -> dict[str, _Tree]:
    return _call("datetime:timedelta", [value.days, value.seconds, value.microseconds])


_SMALL: Mapping[type, Callable[[Any], dict[str, _Tree]]] = {
    bytes: _hex,
    bytearray: _hex,
    range: _ends,
    slice: _ends,
    complex: _text,
    decimal.Decimal: _text,
    fractions.Fraction: _text,
    uuid.UUID: _text,
    dt.timedelta: _delta,
}


def _is_filled_later(value: Any) -> bool:
    """Whether what reads the tree makes the thing first, and then fills it."""
    torch: Any = sys.modules.get("torch")
    if isinstance(value, (list, dict, set)):
        return True
    return not isinstance(value, (tuple, frozenset, deque, functools.partial, MethodType)) and (
        hasattr(value, "__dict__") or (torch is not None and isinstance(value, torch.nn.Module))
    )


def _is_plain(kind: type) -> bool:
    """Whether instances are no more than their attributes, as Python keeps them."""
    if any(base.__module__ == "builtins" and base is not object for base in kind.__mro__):
        return False
    given = {
        name: vars(base)[name]
        for base in kind.__mro__
        if base is not object
        for name in _OWN_WAYS
        if name in vars(base)
    }
    # Those that ``@dataclass(frozen=True, slots=True)`` makes do no more than we do.
    return all(getattr(each, "__module__", "") == "dataclasses" for each in given.values())


def _is_ufunc(value: Any) -> bool:
    numpy: Any = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ufunc)


def _sorted(values: Any) -> list[Any]:
    """Return a set in an order that is the same in every process, so that digests are."""
    try:
        return sorted(values)
    except TypeError:
        return sorted(values, key=repr)


def _refused(path: str, what: str, hint: str) -> CaptureError:
    return CaptureError(f"`{path}` {what}", hint=hint)
