"""What is shown of the GPUs of one tick: as objects here, as two kinds of messages for a browser.

A full frame says everything; a delta says what has changed since another tick. The numbers of a
frame are steps of their series (``series.py``), series by series: first the first series of all
rows, then the second of all rows, and so on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeVar

from jupyter_aiinfra.telemetry.alerts import GpuAlert
from jupyter_aiinfra.telemetry.deltas import changes
from jupyter_aiinfra.telemetry.sample import GpuReading, Sample
from jupyter_aiinfra.telemetry.sampler import NodeState
from jupyter_aiinfra.telemetry.series import GPU_SERIES, NODE_SERIES, Series, steps

__all__ = [
    "OVERVIEW_SERIES",
    "Frame",
    "GpuHolder",
    "GpuProcessView",
    "GpuView",
    "GpusDelta",
    "GpusFrame",
    "NodeView",
    "Scope",
    "SeriesView",
    "delta_frame",
    "full_frame",
    "make_frame",
    "series_of",
]

_V = TypeVar("_V")

_MIB: Final = 1 << 20
_MOST_PROCESSES: Final = 16
_COMMAND_LENGTH: Final = 80

OVERVIEW_SERIES: Final = (
    Series(name="utilization", unit="%", step=1),
    Series(name="memory", unit="bytes", step=512 * _MIB),
    Series(name="power", unit="W", step=10),
    Series(name="busy", unit="GPUs", step=1),
)
"""The series of a node in an overview: the mean utilization of its GPUs, and sums.

``busy`` are those that a job holds, that a process is on, or that compute.
"""


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Which GPUs: those of a pool, of one node of it, or of a job.

    ``detail`` is ``gpus`` for a row a GPU, or ``nodes`` for an overview with a row a node.
    """

    pool: str | None = None
    node: str | None = None
    job: str | None = None
    detail: Literal["gpus", "nodes"] = "gpus"


@dataclass(frozen=True, kw_only=True)
class GpuHolder:
    """A job that has a GPU: by a lease, by processes of these ranks of it, or by both."""

    job: str
    ranks: tuple[int, ...] = ()
    leased: bool = False


@dataclass(frozen=True, kw_only=True)
class GpuProcessView:
    """A process on a GPU, as it is shown."""

    pid: int
    user: str | None
    command: str | None
    memory_bytes: int | None
    job: str | None
    rank: int | None


@dataclass(frozen=True, kw_only=True)
class NodeView:
    """A node, less its series.

    ``problems`` are what its probe cannot read; ``gpus`` is how many GPUs it has, ``None`` while
    that is unknown. ``jobs`` are those that have GPUs of it, also while it is not live, and
    ``alerts`` says which GPUs somebody should look at.
    """

    name: str
    state: NodeState
    problem: str = ""
    problems: tuple[str, ...] = ()
    gpus: int | None = None
    cpu_count: int | None = None
    memory_total_bytes: int | None = None
    jobs: tuple[str, ...] = ()
    alerts: tuple[GpuAlert, ...] = ()


@dataclass(frozen=True, kw_only=True)
class GpuView:
    """A GPU, or a slice of one, less its series. ``node`` is the number of its node.

    ``processes`` is ``None`` where they cannot be told.
    """

    node: int
    uuid: str
    name: str
    index: int | None
    parent: str | None = None
    lost: bool = False
    memory_total_bytes: int | None = None
    power_limit_watts: float | None = None
    throttle: tuple[str, ...] | None = None
    ecc_errors: int | None = None
    xid: int | None = None
    holders: tuple[GpuHolder, ...] = ()
    processes: tuple[GpuProcessView, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One tick. ``samples`` are the readings it was made of, of the nodes that are live."""

    scope: Scope
    seq: int
    at: float
    nodes: tuple[NodeView, ...]
    gpus: tuple[GpuView, ...] = ()
    node_values: tuple[int | None, ...] = ()
    gpu_values: tuple[int | None, ...] = ()
    samples: Mapping[str, Sample] = field(default_factory=dict)

    @property
    def rows(self) -> tuple[object, ...]:
        """What has to be the same in two frames for one to be told as a change of the other."""
        return tuple(node.name for node in self.nodes), tuple(
            (gpu.node, gpu.uuid) for gpu in self.gpus
        )

    def reading(self, gpu: GpuView) -> GpuReading | None:
        """Return what was read of a GPU; ``None`` while its node is not live."""
        sample = self.samples.get(self.nodes[gpu.node].name)
        found = (each for each in sample.gpus if each.uuid == gpu.uuid) if sample else ()
        return next(iter(found), None)


def series_of(scope: Scope) -> tuple[Sequence[Series], Sequence[Series]]:
    """Return the series of the nodes and of the GPUs in frames of `scope`."""
    if scope.detail == "nodes":
        return OVERVIEW_SERIES, ()
    return NODE_SERIES, GPU_SERIES


def make_frame(
    scope: Scope,
    *,
    seq: int,
    at: float,
    nodes: Sequence[tuple[NodeView, Sample | None]],
    leases: Mapping[str, Sequence[str]],
    gpus: frozenset[str] | None = None,
) -> Frame:
    """Return the frame of what is known of some nodes.

    Parameters
    ----------
    nodes
        Each with its newest sample, however old.
    leases
        The jobs that each GPU is leased to.
    gpus
        The only ones to be shown, beside those on which the job of the scope has processes.
    """
    views: list[tuple[GpuView, GpuReading | None]] = []
    for number, (node, sample) in enumerate(nodes):
        live = node.state is NodeState.LIVE
        for gpu in sample.gpus if sample is not None else ():
            view = _gpu_view(number, gpu, leases.get(gpu.uuid, ()))
            holds = (
                gpus is None
                or gpu.uuid in gpus
                or any(holder.job == scope.job for holder in view.holders)
            )
            if holds:
                views.append((view, gpu if live else None))
    shown = [node for node, _ in nodes]
    samples = {
        node.name: sample
        for node, sample in nodes
        if sample is not None and node.state is NodeState.LIVE
    }
    if scope.detail == "nodes":
        values = _overview(shown, views)
        return Frame(
            scope=scope, seq=seq, at=at, nodes=tuple(shown), node_values=values, samples=samples
        )
    return Frame(
        scope=scope,
        seq=seq,
        at=at,
        nodes=tuple(shown),
        gpus=tuple(view for view, _ in views),
        node_values=tuple(
            steps(series.read(samples[node.name].node), series.step)
            if node.name in samples
            else None
            for series in NODE_SERIES
            for node in shown
        ),
        gpu_values=tuple(
            None if gpu is None or gpu.lost else steps(series.read(gpu), series.step)
            for series in GPU_SERIES
            for _, gpu in views
        ),
        samples=samples,
    )


def _rounded(count: int | None) -> int | None:
    """Return bytes in steps of about a thirtieth: a few more are no news of a whole row."""
    if count is None:
        return None
    step = max(16 * _MIB, 1 << max(count.bit_length() - 6, 0))
    return count // step * step


def _gpu_view(node: int, gpu: GpuReading, leased: Sequence[str]) -> GpuView:
    ranks: dict[str, set[int]] = {job: set() for job in leased}
    for process in gpu.processes or ():
        if process.job is not None:
            ranks.setdefault(process.job, set()).update(
                () if process.seat is None else (process.seat,)
            )
    processes = None
    if gpu.processes is not None:
        processes = tuple(
            GpuProcessView(
                pid=each.pid,
                user=each.user,
                command=(each.command or "")[:_COMMAND_LENGTH] or None,
                memory_bytes=_rounded(each.memory_bytes),
                job=each.job,
                rank=each.seat,
            )
            for each in gpu.processes[:_MOST_PROCESSES]
        )
    return GpuView(
        node=node,
        uuid=gpu.uuid,
        name=gpu.name,
        index=gpu.index,
        parent=gpu.parent,
        lost=gpu.lost,
        memory_total_bytes=gpu.memory_total_bytes,
        power_limit_watts=gpu.power_limit_watts,
        throttle=gpu.throttle,
        ecc_errors=gpu.ecc_errors,
        xid=gpu.xid,
        holders=tuple(
            GpuHolder(job=job, ranks=tuple(sorted(found)), leased=job in leased)
            for job, found in sorted(ranks.items())
        ),
        processes=processes,
    )


def _overview(
    nodes: Sequence[NodeView], views: Sequence[tuple[GpuView, GpuReading | None]]
) -> tuple[int | None, ...]:
    """Return the series of :data:`OVERVIEW_SERIES`; unknown where a node is not live."""
    rows: list[list[float | None]] = []
    for number in range(len(nodes)):
        mine = [(view, gpu) for view, gpu in views if view.node == number and gpu is not None]
        # A slice is a part of its GPU, which is counted.
        whole = [gpu for view, gpu in mine if view.parent is None]
        used = [gpu.utilization_percent for gpu in whole if gpu.utilization_percent is not None]
        memory = [gpu.memory_used_bytes for gpu in whole if gpu.memory_used_bytes is not None]
        power = [gpu.power_watts for gpu in whole if gpu.power_watts is not None]
        busy = {
            view.parent or view.uuid
            for view, gpu in mine
            if view.holders or view.processes or (gpu.utilization_percent or 0) > 0
        }
        rows.append(
            [
                sum(used) / len(used) if used else None,
                sum(memory) if memory else None,
                sum(power) if power else None,
                len(busy) if mine else None,
            ]
        )
    return tuple(
        steps(row[number], series.step)
        for number, series in enumerate(OVERVIEW_SERIES)
        for row in rows
    )


# --- for a browser -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class SeriesView:
    """A series: its name, its unit, and how much of that a step is."""

    name: str
    unit: str
    step: float


@dataclass(frozen=True, kw_only=True)
class GpusFrame:
    """The GPUs of a scope as they are: what each delta with the same ``key`` is a change of.

    ``node_values`` and ``gpu_values`` are in steps, series by series: the number of row ``r`` of
    ``n`` in series ``s`` is at ``s * n + r``. ``None`` is unknown.
    """

    key: int
    scope: Scope
    seq: int
    at: float
    node_series: tuple[SeriesView, ...]
    gpu_series: tuple[SeriesView, ...]
    nodes: tuple[NodeView, ...]
    gpus: tuple[GpuView, ...]
    node_values: tuple[int | None, ...]
    gpu_values: tuple[int | None, ...]
    type: Literal["gpus"] = "gpus"


@dataclass(frozen=True, kw_only=True)
class GpusDelta:
    """What has changed since the frame or delta ``since`` of that ``key``.

    ``n`` and ``g`` are the changes of ``node_values`` and ``gpu_values``, as
    ``telemetry/deltas.py`` writes them. ``nodes`` and ``gpus`` have, by their number, those rows
    whole of which anything else has changed.
    """

    key: int
    seq: int
    since: int
    at: float
    n: str = ""
    g: str = ""
    nodes: Mapping[str, NodeView] = field(default_factory=dict)
    gpus: Mapping[str, GpuView] = field(default_factory=dict)
    type: Literal["gpus+"] = "gpus+"


def full_frame(frame: Frame, *, key: int = 0) -> GpusFrame:
    """Return everything of a frame."""
    nodes, gpus = series_of(frame.scope)
    return GpusFrame(
        key=key,
        scope=frame.scope,
        seq=frame.seq,
        at=frame.at,
        node_series=tuple(map(_series_view, nodes)),
        gpu_series=tuple(map(_series_view, gpus)),
        nodes=frame.nodes,
        gpus=frame.gpus,
        node_values=frame.node_values,
        gpu_values=frame.gpu_values,
    )


def delta_frame(old: Frame, new: Frame, *, key: int = 0) -> GpusDelta | None:
    """Return what is new since `old`; ``None`` where the rows are others: all has to be told."""
    if old.rows != new.rows:
        return None
    return GpusDelta(
        key=key,
        seq=new.seq,
        since=old.seq,
        at=new.at,
        n=changes(old.node_values, new.node_values),
        g=changes(old.gpu_values, new.gpu_values),
        nodes=_changed(old.nodes, new.nodes),
        gpus=_changed(old.gpus, new.gpus),
    )


def _changed(old: Sequence[_V], new: Sequence[_V]) -> dict[str, _V]:
    pairs = enumerate(zip(old, new, strict=True))
    return {str(number): now for number, (before, now) in pairs if before != now}


def _series_view(series: Series) -> SeriesView:
    return SeriesView(name=series.name, unit=series.unit, step=series.step)
