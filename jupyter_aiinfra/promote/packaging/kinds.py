"""Values of calls: of what kind each is, and as what JSON and arrays have."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from jupyter_aiinfra.serving.schema import DTYPES

__all__ = ["array_of", "dtype_of", "is_frame", "is_module", "kind_of", "plain", "unwrapped"]


def plain(value: Any) -> Any:
    """Return `value` as what JSON can say; for msgspec, where it does not know a type."""
    torch: Any = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return array_of(value).tolist()
    if hasattr(value, "columns") and hasattr(value, "to_numpy"):
        return {str(name): value[name].tolist() for name in value.columns}
    if isinstance(value, (np.ndarray, np.generic)) or hasattr(value, "to_numpy"):
        return value.tolist()
    raise NotImplementedError(type(value).__name__)


def kind_of(value: Any) -> str:
    """Return ``array``, ``tensor``, ``item``, ``list`` (of numbers or text), or else ``value``."""
    torch: Any = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return "tensor"
    if isinstance(value, np.ndarray):
        return "array" if dtype_of(value) else "value"
    if isinstance(value, (bool, int, float, str, np.generic)):
        return "item"
    if isinstance(value, (list, tuple)) and _rectangular(value) is not None:
        return "list"
    return "value"


def _rectangular(value: Any) -> np.ndarray[Any, Any] | None:
    """Return lists of numbers or of text as an array, if they are as long as each other."""
    try:
        array = np.array(value)
    except ValueError:
        return None
    if not array.size:
        return None
    if array.dtype.kind in "US":
        # A list of numbers and text becomes one of text, which it is not.
        text = _leaves(value)
        return array if all(type(leaf) is str for leaf in text) else None
    if array.dtype.kind == "O" or any(isinstance(leaf, dict) for leaf in _leaves(value)):
        return None
    return array


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return [leaf for each in value for leaf in _leaves(each)]
    return [value]


def array_of(value: Any) -> Any:
    """Return `value` as an array of numpy, on this machine."""
    torch: Any = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        return value.float().numpy() if value.dtype is torch.bfloat16 else value.numpy()
    return np.asarray(value)


def dtype_of(array: Any) -> str | None:
    """Return our name of an array's type; ``None`` where no request can bring it."""
    if array.dtype.kind == "U":
        return "string"
    if array.dtype.kind == "O":
        return "string" if all(type(each) is str for each in array.reshape(-1)) else None
    name = str(array.dtype.name)
    return name if name in DTYPES else None


def unwrapped(value: Any) -> Any:
    """Return a series or a frame of pandas as an array."""
    return value.to_numpy() if hasattr(value, "to_numpy") else value


def is_frame(value: Any) -> bool:
    """Whether `value` is a data frame of pandas."""
    pandas: Any = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame)


def is_module(value: Any) -> bool:
    """Whether `value` is a module of torch; where that is not loaded, nothing is."""
    torch: Any = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)
