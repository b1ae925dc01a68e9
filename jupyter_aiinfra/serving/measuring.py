"""How large and how fast a package is, and how its answers compare with those on record.

Loads the model as a worker does, and writes one JSON object to standard output. What the model
itself prints goes to standard error.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jupyter_aiinfra.serving.faults import BadInput
from jupyter_aiinfra.serving.model import CannotServe, Served, load_model
from jupyter_aiinfra.serving.recorded import place_and_device, read_calls, telling
from jupyter_aiinfra.serving.schema import Batch, Reader, listed, rows_of

__all__ = ["main"]

_MANY = 32
_TIMES = 50
_SECONDS = 1.0


def main(argv: Sequence[str]) -> int:
    """Measure the package in the folder that `argv` names; return an exit status.

    A second word is where it computes, whatever the manifest says.
    """
    with telling() as tell:
        try:
            told = _measured(*place_and_device(argv))
        except (CannotServe, BadInput) as error:
            told = {"failed": str(error)}
        tell(told)
    return 0


def _measured(folder: Path, device: str | None) -> dict[str, Any]:
    served = load_model(folder, device=device)
    reader = Reader(served.signature)
    calls = read_calls(folder)
    batches = [reader.read(call.body) for call in calls]
    if not batches:
        raise CannotServe("no call was recorded, so there is nothing to measure it by")
    told = _compared(served, batches, [call.outputs for call in calls])
    return {
        "device": served.device,
        "weight_bytes": served.weight_bytes,
        "one_seconds": _best(served, _rows(batches[0], 1)),
        "many_seconds": _best(served, _rows(batches[0], _MANY)),
        "many": _MANY,
        **told,
    }


def _rows(batch: Any, count: int) -> Batch:
    """Return `count` of the examples in `batch`, again and again where there are fewer."""
    chosen = np.arange(count) % rows_of(batch)
    return {name: array[chosen] for name, array in batch.items()}


def _best(served: Served, batch: Batch) -> float:
    """Return the shortest time of many: what the machine does beside it only adds to it."""
    best, first = float("inf"), time.perf_counter()
    for number in range(_TIMES):
        begun = time.perf_counter()
        if number and begun - first > _SECONDS:
            break
        served.predict(batch)
        best = min(best, time.perf_counter() - begun)
    return best


def _compared(served: Served, batches: Sequence[Batch], recorded: Sequence[Any]) -> dict[str, Any]:
    """Return by how much answers differ, as a part of the largest, and how many choose the same.

    What is chosen is the place of the largest of an example's values, where it has several.
    """
    off = largest = 0.0
    examples = same = chosen = 0
    for batch, wanted in zip(batches, recorded, strict=True):
        examples += rows_of(batch)
        for found, known in _pairs(served.predict(batch), wanted):
            if found.shape != known.shape:
                raise CannotServe(f"it answers {found.shape} where {known.shape} is on record")
            if found.size:
                off = max(off, float(np.abs(found - known).max()))
                largest = max(largest, float(np.abs(known).max()))
            if found.ndim == 2 and found.shape[1] > 1:  # noqa: PLR2004 - a row of values each
                chosen += len(found)
                same += int((found.argmax(axis=1) == known.argmax(axis=1)).sum())
    return {
        "examples": examples,
        "off": off / largest if largest else off,
        "chosen": chosen,
        "same": same,
    }


def _pairs(found: Any, wanted: Any) -> list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Return what was answered beside what is on record, as numbers."""
    if not isinstance(wanted, Mapping):
        wanted = dict.fromkeys(found, wanted) if len(found) == 1 else {}
    return [
        (np.asarray(listed(found[name]), np.float64), np.asarray(value, np.float64))
        for name, value in wanted.items()
    ]
