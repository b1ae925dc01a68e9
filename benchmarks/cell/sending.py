"""A large variable that travels with a cell twice."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cell.kernel import Kernel, kernel
from benchmarks.figure import Figure, Goal, Judged
from benchmarks.registry import Run

__all__ = ["variables"]

_MEGABYTES = 200
_MAKE = f"import numpy\nbig = numpy.random.default_rng().standard_normal({_MEGABYTES * 125_000})"
_CELL = "%%accelerate here --cpu --procs 1 --mixed-precision no --detach\nprint({name})"
_SECONDS = 60.0


def variables(run: Run) -> Sequence[Figure]:
    """Launch a cell that uses the variable, twice; new data in each round."""
    sent: list[tuple[float, float]] = []
    took: list[tuple[float, float]] = []
    with kernel(run.folder) as opened:
        opened.run(_CELL.format(name="1"))  # what a first launch imports is not at issue
        for number in range(1, run.rounds + 1):
            opened.run(_MAKE)
            first, second = _launch(opened, run.folder), _launch(opened, run.folder)
            sent.append((second[0], first[0]))
            took.append((second[1], first[1]))
            run.say(f"variables {number}/{run.rounds}: again {second}, first {first}")
    return (
        Figure(
            name="bytes of a variable sent again",
            unit="B",
            ours=tuple(again for again, _ in sent),
            raw=tuple(first for _, first in sent),
            judged=Judged.OURS,
            goal=Goal(limit=0, always=True),
            note=f"{_MEGABYTES} MB of random numbers used by a cell: what the second launch wrote "
            "of it (ours) and the first one (raw).",
        ),
        Figure(
            name="launch with it again",
            unit="s",
            ours=tuple(again for again, _ in took),
            raw=tuple(first for _, first in took),
            note="the whole cell with --detach, the second launch (ours) against the first (raw): "
            "capture, place and start.",
        ),
    )


def _launch(opened: Kernel, folder: Path) -> tuple[float, float]:
    """Launch; return the bytes of the variable that were written, and the seconds it took."""
    blobs, runs = folder / "home" / "blobs", folder / "home" / "runs"
    before_blobs, before_runs = _stamps(blobs), set(runs.iterdir())
    ran = opened.run(_CELL.format(name="big.nbytes"))
    (made,) = set(runs.iterdir()) - before_runs
    manifest = json.loads((made / "manifest.json").read_text(encoding="utf-8"))
    digests = set(_digests(manifest["variables"]))
    new = dict(_stamps(blobs).items() - before_blobs.items())
    deadline = time.monotonic() + _SECONDS
    while not (made / "exit.json").exists():  # the next launch is not to meet this one's ranks
        if time.monotonic() > deadline:
            raise RuntimeError(f"the launch did not end within {_SECONDS:g} s")
        time.sleep(0.05)
    return float(
        sum(size for (name, _, _), size in new.items() if name in digests)
    ), ran.wall_seconds


def _stamps(blobs: Path) -> dict[tuple[str, int, int], int]:
    """Return the size of each blob by its name and what changes when it is written again."""
    stamps = {}
    for path in blobs.glob("??/*"):
        info = path.stat()
        stamps[path.name, info.st_ino, info.st_mtime_ns] = info.st_size
    return stamps


def _digests(value: Any) -> Iterator[str]:
    """Yield every string below `value`: the digests are among them, however they are nested."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _digests(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _digests(inner)
