"""Counters that all workers of an endpoint share, told in Prometheus' words by any of them.

One row of doubles a worker in a file that all map: a count is an addition in memory, and what a
worker had counted outlives it.
"""

from __future__ import annotations

import mmap
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path

__all__ = ["BATCHES", "CODES", "LATENCIES", "Metrics"]

CODES = (200, 204, 400, 401, 403, 404, 405, 408, 413, 415, 429, 499, 500, 503, 504)
LATENCIES = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 10.0)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)

# Where each series begins in a row: a slot beyond the last bound is infinity, then comes the sum.
_LATENCY = len(CODES) + 1
_LATENCY_SUM = _LATENCY + len(LATENCIES) + 1
_BATCH = _LATENCY_SUM + 1
_BATCH_SUM = _BATCH + len(BATCHES) + 1
_FORWARD = _BATCH_SUM + 1
_QUEUE = _FORWARD + 1
_ACTIVE = _QUEUE + 1
_SLOTS = _ACTIVE + 1
_CODE = {code: number for number, code in enumerate(CODES)}


class Metrics:
    """The counters of one worker, and the sums over all.

    Parameters
    ----------
    path
        Of the file that all map; made with zeros where it is not there. ``None``: by itself.
    """

    def __init__(self, path: Path | None = None, *, worker: int = 0, workers: int = 1) -> None:
        size = 8 * _SLOTS * workers
        if path is None:
            shared = mmap.mmap(-1, size)
        else:
            with path.open("a+b") as file:
                file.truncate(size)
                shared = mmap.mmap(file.fileno(), size)
        self._all = memoryview(shared).cast("d")
        self._mine = self._all[worker * _SLOTS : (worker + 1) * _SLOTS]
        self.queue(0)
        self._mine[_ACTIVE] = 0

    def began(self) -> None:
        """Count a request that came."""
        self._mine[_ACTIVE] += 1

    def ended(self, code: int, seconds: float) -> None:
        """Count a request that was answered."""
        mine = self._mine
        mine[_ACTIVE] -= 1
        mine[_CODE.get(code, len(CODES))] += 1
        mine[_LATENCY + bisect_left(LATENCIES, seconds)] += 1
        mine[_LATENCY_SUM] += seconds

    def batch(self, rows: int, seconds: float) -> None:
        """Count a forward pass."""
        mine = self._mine
        mine[_BATCH + bisect_left(BATCHES, rows)] += 1
        mine[_BATCH_SUM] += rows
        mine[_FORWARD] += seconds

    def queue(self, rows: int) -> None:
        """Say how many examples wait here."""
        self._mine[_QUEUE] = rows

    def text(self, *, model: str, version: str) -> str:
        """Return all of it, over all workers, as Prometheus reads it."""
        whole = self._all
        sums = [sum(whole[slot::_SLOTS]) for slot in range(_SLOTS)]
        label = f'model="{_escaped(model)}",version="{_escaped(version)}"'
        lines: list[str] = []

        def told(name: str, kind: str, about: str, rows: Iterator[tuple[str, float]]) -> None:
            lines.append(f"# HELP aiinfra_endpoint_{name} {about}")
            lines.append(f"# TYPE aiinfra_endpoint_{name} {kind}")
            lines.extend(f"aiinfra_endpoint_{name}{what} {value:.17g}" for what, value in rows)

        codes = [*map(str, CODES), "other"]
        told(
            "requests_total",
            "counter",
            "Answers, by status.",
            ((f'{{{label},code="{code}"}}', sums[n]) for n, code in enumerate(codes)),
        )
        told(
            "request_seconds",
            "histogram",
            "From a request's first byte to its answer.",
            _histogram(label, LATENCIES, sums[_LATENCY:_LATENCY_SUM], sums[_LATENCY_SUM]),
        )
        told(
            "batch_examples",
            "histogram",
            "Examples in one forward pass.",
            _histogram(label, BATCHES, sums[_BATCH:_BATCH_SUM], sums[_BATCH_SUM]),
        )
        told(
            "forward_seconds_total",
            "counter",
            "Time in forward passes.",
            iter([(f"{{{label}}}", sums[_FORWARD])]),
        )
        told(
            "queue_examples",
            "gauge",
            "Examples that wait.",
            iter([(f"{{{label}}}", sums[_QUEUE])]),
        )
        told(
            "active_requests",
            "gauge",
            "Requests under way.",
            iter([(f"{{{label}}}", sums[_ACTIVE])]),
        )
        return "\n".join(lines) + "\n"


def _histogram(
    label: str, bounds: Sequence[float], counts: Sequence[float], total: float
) -> Iterator[tuple[str, float]]:
    upto = list(accumulate(counts))
    for bound, count in zip([*map(str, bounds), "+Inf"], upto, strict=True):
        yield f'_bucket{{{label},le="{bound}"}}', count
    yield f"_sum{{{label}}}", total
    yield f"_count{{{label}}}", upto[-1]


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
