"""What of a node's GPUs somebody should look at: one that is lost, hot, or held and not used.

Told with each node, so that an overview has it too, and known without a page: the samples of a
node are followed from the first one on, whoever reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from jupyter_aiinfra.telemetry.sample import GpuReading, Sample

__all__ = ["IDLE_PERCENT", "IDLE_SECONDS", "Follower", "GpuAlert", "Held"]

IDLE_PERCENT: Final = 5.0
IDLE_SECONDS: Final = 600.0
"""A GPU that a job has held for so long, below so much utilization all the time, is told of."""

_HOT: Final = frozenset({"sw_thermal", "hw_thermal"})
_HOT_CELSIUS: Final = 90.0
"""Where the reasons cannot be told: NVIDIA's and AMD's cards slow down at about this."""
_CALM_SECONDS: Final = 30.0
"""Heat that comes and goes is told of as one."""
_GAP_SECONDS: Final = 30.0
"""After so long without a sample nobody knows what a GPU did meanwhile."""

Held = Mapping[str, Mapping[str, float]]
"""By GPU the jobs that it is leased to, and since when."""


@dataclass(frozen=True, kw_only=True)
class GpuAlert:
    """A GPU to be looked at. ``idle`` is of ``job``, which holds it; ``since`` is when it began."""

    kind: Literal["lost", "hot", "idle"]
    uuid: str
    index: int | None
    since: float
    job: str | None = None


class Follower:
    """Follows the samples of one node."""

    def __init__(self) -> None:
        self._at = float("-inf")
        self._idle: dict[str, float] = {}
        self._hot: dict[str, tuple[float, float]] = {}
        self._lost: dict[str, float] = {}
        self._seen: dict[tuple[str, str], float] = {}

    def take(self, at: float, sample: Sample) -> None:
        """Take what was sampled at a time; times ascend."""
        if at - self._at > _GAP_SECONDS:
            self._idle.clear()
            self._hot.clear()
            self._seen.clear()
        self._at = at
        seen = {
            (gpu.uuid, process.job)
            for gpu in sample.gpus
            for process in gpu.processes or ()
            if process.job is not None
        }
        self._seen = {who: self._seen.get(who, at) for who in seen}
        self._lost = {gpu.uuid: self._lost.get(gpu.uuid, at) for gpu in sample.gpus if gpu.lost}
        for gpu in sample.gpus:
            used = gpu.utilization_percent
            # What is unknown is not idle.
            if used is None or used >= IDLE_PERCENT or gpu.lost:
                self._idle.pop(gpu.uuid, None)
            else:
                self._idle.setdefault(gpu.uuid, at)
            if _is_hot(gpu):
                since, last = self._hot.get(gpu.uuid, (at, at))
                self._hot[gpu.uuid] = (since if at - last <= _CALM_SECONDS else at, at)

    def alerts(self, sample: Sample, held: Held) -> tuple[GpuAlert, ...]:
        """Return what there is to tell, as of the last sample, which is `sample`."""
        found = []
        for gpu in sample.gpus:
            if gpu.uuid in self._lost:
                found.append(_alert("lost", gpu, self._lost[gpu.uuid]))
                continue
            since, last = self._hot.get(gpu.uuid, (0.0, float("-inf")))
            if self._at - last <= _CALM_SECONDS:
                found.append(_alert("hot", gpu, since))
            found.extend(self._idle_of(gpu, held.get(gpu.uuid, {})))
        return tuple(found)

    def _idle_of(self, gpu: GpuReading, leased: Mapping[str, float]) -> list[GpuAlert]:
        since = self._idle.get(gpu.uuid)
        if since is None:
            return []
        jobs = dict(leased)
        for process in gpu.processes or ():
            if process.job is not None:
                seen = self._seen.get((gpu.uuid, process.job), self._at)
                jobs[process.job] = min(jobs.get(process.job, seen), seen)
        both = {job: max(since, held) for job, held in jobs.items()}
        return [
            _alert("idle", gpu, begun, job=job)
            for job, begun in sorted(both.items())
            if self._at - begun >= IDLE_SECONDS
        ]


def _alert(
    kind: Literal["lost", "hot", "idle"], gpu: GpuReading, since: float, *, job: str | None = None
) -> GpuAlert:
    return GpuAlert(kind=kind, uuid=gpu.uuid, index=gpu.index, since=round(since, 1), job=job)


def _is_hot(gpu: GpuReading) -> bool:
    if gpu.throttle is not None:
        return not _HOT.isdisjoint(gpu.throttle)
    return gpu.temperature_celsius is not None and gpu.temperature_celsius >= _HOT_CELSIUS
