"""What of a notebook's names can be served; asked by the form that deploys, of the kernel."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

__all__ = ["Answer", "servable"]

_MOST: Final = 200
"""So many of each are told; a notebook with more names is asked by typing one."""
_ARRAYS: Final = ("numpy", "torch", "pandas")


class Answer:
    """What is told, as the JSON that a kernel's client reads."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        self.told = told

    def _repr_json_(self) -> dict[str, Any]:
        return dict(self.told)


def servable(names: Mapping[str, Any] | None = None, *, hidden: Any = None) -> Answer:
    """Return which names an endpoint can be made of, and which can be the example of a call.

    It only looks: nothing is imported, called or changed, and a value that does not say what it is
    is left out.

    Parameters
    ----------
    names, hidden
        Those of the notebook, and those of them that are IPython's own; by default the kernel's.
    """
    if names is None:
        names = vars(sys.modules["__main__"])
    if hidden is None:
        shell = names.get("get_ipython", lambda: None)()
        hidden = getattr(shell, "user_ns_hidden", {})
    own = {
        name: value
        for name, value in names.items()
        if not name.startswith("_") and not (name in hidden and hidden[name] is value)
    }
    return Answer(
        {
            "sources": list(_first(_source(*each) for each in own.items())),
            "examples": list(_first(_example(*each) for each in own.items())),
        }
    )


def _first(found: Iterator[dict[str, Any] | None]) -> Iterator[dict[str, Any]]:
    kept = (each for each in found if each is not None)
    yield from (each for each, _ in zip(kept, range(_MOST), strict=False))


def _source(name: str, value: Any) -> dict[str, Any] | None:
    torch: Any = sys.modules.get("torch")
    # Not by isinstance alone: while torch is being imported it has no `nn` yet.
    module = getattr(getattr(torch, "nn", None), "Module", None)
    if module is not None and isinstance(value, module):
        return {"name": name, "kind": "module", "text": type(value).__name__, "calls": 0}
    recorded = getattr(sys.modules.get(_CALLS), "Recorded", None)
    if recorded is not None and isinstance(value, recorded):
        made, calls = value.function, len(value.calls)
    else:
        made, calls = value, 0
    if not isinstance(made, types.FunctionType) or not _is_own(made):
        return None
    return {"name": name, "kind": "function", "text": _signature(made), "calls": calls}


_CALLS: Final = "jupyter_aiinfra.promote.packaging.calls"


def _is_own(function: types.FunctionType) -> bool:
    """Whether it is of the notebook, or of a file beside it: what is installed is no model."""
    if function.__module__ == "__main__":
        return True
    if function.__module__.partition(".")[0] == __name__.partition(".")[0]:
        return False  # where this is developed it lies beside the notebook
    file = getattr(sys.modules.get(function.__module__), "__file__", None)
    if file is None:
        return False
    path = Path(file)
    return path.is_relative_to(Path.cwd()) and "site-packages" not in path.parts


def _signature(function: types.FunctionType) -> str:
    try:
        return str(inspect.signature(function))
    except (TypeError, ValueError):
        return "(…)"


def _example(name: str, value: Any) -> dict[str, Any] | None:
    kind = type(value)
    if kind.__module__.partition(".")[0] in _ARRAYS and not isinstance(value, type):
        shape = getattr(value, "shape", None)
        if not isinstance(shape, tuple):
            return None
        size = " x ".join(str(each) for each in shape)
        return {"name": name, "text": f"{kind.__name__} {size}".rstrip()}
    if isinstance(value, (list, tuple, dict)) and value:
        return {"name": name, "text": f"{kind.__name__} of {len(value)}"}
    return None
