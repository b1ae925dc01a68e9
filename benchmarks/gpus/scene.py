"""What the measures of GPUs share: how large the pool is, what its nodes do, and how it is told."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.figure import Figure, Goal, Judged
from jupyter_aiinfra.telemetry.sample import Sample, parse_sample
from tests.support.readings import trace

__all__ = ["GPUS", "NODES", "alone", "lines", "sample_of"]

NODES, GPUS = 64, 8


def lines(seed: int, *, nodes: int = NODES, start: float = 1.7e9) -> Iterator[list[dict[str, Any]]]:
    """Yield what the probes of all nodes print in each second: a made-up training."""
    traces = [trace(GPUS, seed=1000 * seed + number, start=start) for number in range(nodes)]
    while True:
        yield [next(each) for each in traces]


def sample_of(line: dict[str, Any]) -> Sample:
    """Return a line as the sample that it is read as."""
    return parse_sample(json.dumps(line).encode())


def alone(
    name: str, unit: str, ours: Sequence[float], *, limit: float | None = None, note: str
) -> Figure:
    """Return a figure of ours that is held against nothing but its goal."""
    goal = None if limit is None else Goal(limit=limit)
    return Figure(name=name, unit=unit, ours=tuple(ours), judged=Judged.OURS, goal=goal, note=note)
