"""What a job's ranks did with their GPUs, in a line each: for what stays when it is over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from jupyter_aiinfra.telemetry import Frame, GpuReading, GpuView

__all__ = ["GpuUse", "UseOfGpus", "memory_text", "percent_text", "use_wire"]

_GIB: Final = 1 << 30
_UNKNOWN: Final = "n/a"


@dataclass(frozen=True, kw_only=True)
class GpuUse:
    """One rank on its GPUs (``localhost:3``) while they were read; ``None`` is unknown.

    Of several GPUs, utilization is their mean and memory their sum.
    """

    rank: int
    gpus: tuple[str, ...]
    mean_percent: float | None = None
    peak_percent: float | None = None
    peak_memory_bytes: int | None = None
    memory_total_bytes: int | None = None


@dataclass
class _Sums:
    gpus: dict[str, int | None]
    count: int = 0
    percent: float = 0.0
    peak_percent: float | None = None
    peak_memory: int | None = None


class UseOfGpus:
    """Adds up frame after frame. A GPU is a rank's where a process of the rank is on it.

    Parameters
    ----------
    job
        The id of the job.
    """

    def __init__(self, job: str) -> None:
        self._job = job
        self._ranks: dict[int, _Sums] = {}

    @property
    def ranks(self) -> Sequence[GpuUse]:
        """What is known of each rank, in their order."""
        return tuple(_use(rank, sums) for rank, sums in sorted(self._ranks.items()))

    def take(self, frame: Frame) -> None:
        """Add a frame; its seconds count alike."""
        held: dict[int, list[tuple[GpuView, GpuReading | None]]] = {}
        for gpu in frame.gpus:
            for holder in gpu.holders:
                for rank in holder.ranks if holder.job == self._job else ():
                    held.setdefault(rank, []).append((gpu, frame.reading(gpu)))
        for rank, gpus in held.items():
            sums = self._ranks.setdefault(rank, _Sums(gpus={}))
            for gpu, _ in gpus:
                label = _label(frame.nodes[gpu.node].name, gpu)
                sums.gpus[label] = gpu.memory_total_bytes
            _add(sums, [found for _, found in gpus if found is not None], self._job, rank)


def _label(node: str, gpu: GpuView) -> str:
    number = "?" if gpu.index is None else gpu.index
    return f"{node}:{number}" if gpu.parent is None else f"{node}: slice {number}"


def _add(sums: _Sums, found: Sequence[GpuReading], job: str, rank: int) -> None:
    used = [each.utilization_percent for each in found if each.utilization_percent is not None]
    if used:
        percent = sum(used) / len(used)
        sums.count += 1
        sums.percent += percent
        sums.peak_percent = max(sums.peak_percent or 0.0, percent)
    memory = [each for each in (_memory(gpu, job, rank) for gpu in found) if each is not None]
    if memory:
        sums.peak_memory = max(sums.peak_memory or 0, sum(memory))


def _memory(gpu: GpuReading, job: str, rank: int) -> int | None:
    """Return what a rank has of a GPU's memory; all that is in use where that cannot be told."""
    mine = [each for each in gpu.processes or () if each.job == job and each.seat == rank]
    told = [each.memory_bytes for each in mine if each.memory_bytes is not None]
    return sum(told) if told and len(told) == len(mine) else gpu.memory_used_bytes


def _use(rank: int, sums: _Sums) -> GpuUse:
    totals = [total for total in sums.gpus.values() if total is not None]
    return GpuUse(
        rank=rank,
        gpus=tuple(sums.gpus),
        mean_percent=sums.percent / sums.count if sums.count else None,
        peak_percent=sums.peak_percent,
        peak_memory_bytes=sums.peak_memory,
        memory_total_bytes=sum(totals) if len(totals) == len(sums.gpus) else None,
    )


def percent_text(percent: float | None) -> str:
    """Return ``71 %``, or ``n/a``."""
    return _UNKNOWN if percent is None else f"{percent:.0f} %"


def memory_text(use: GpuUse) -> str:
    """Return ``61.2 of 80 GiB``, or ``n/a``."""
    if use.peak_memory_bytes is None:
        return _UNKNOWN
    peak = f"{use.peak_memory_bytes / _GIB:.3g}"
    if use.memory_total_bytes is None:
        return f"{peak} GiB"
    return f"{peak} of {use.memory_total_bytes / _GIB:.3g} GiB"


def use_wire(uses: Sequence[GpuUse]) -> list[Mapping[str, Any]]:
    """Return what the output of a cell keeps for a page that draws it."""
    return [
        {
            "rank": use.rank,
            "gpus": list(use.gpus),
            "mean_percent": _rounded(use.mean_percent),
            "peak_percent": _rounded(use.peak_percent),
            "peak_memory_bytes": use.peak_memory_bytes,
            "memory_total_bytes": use.memory_total_bytes,
        }
        for use in uses
    ]


def _rounded(percent: float | None) -> float | None:
    return None if percent is None else round(percent, 1)
