"""Readings in Prometheus' text format, under the names of NVIDIA's dcgm-exporter where it has one.

What is unknown has no line. A job is labelled ``aiinfra_job``: Prometheus itself gives every series
a label ``job``, and would rename ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from jupyter_aiinfra.telemetry.frames import Frame, GpuView, NodeView
from jupyter_aiinfra.telemetry.sample import GpuReading, NodeReading
from jupyter_aiinfra.telemetry.sampler import NodeState

__all__ = ["CONTENT_TYPE", "METRICS", "exposition", "family"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_MIB: Final = 1 << 20


@dataclass(frozen=True)
class _GpuMetric:
    name: str
    help: str
    read: Callable[[GpuReading], float | None]
    type: Literal["gauge", "counter"] = "gauge"


@dataclass(frozen=True)
class _NodeMetric:
    name: str
    help: str
    read: Callable[[NodeReading], float | None]


def _free(gpu: GpuReading) -> float | None:
    if gpu.memory_total_bytes is None or gpu.memory_used_bytes is None:
        return None
    return max(gpu.memory_total_bytes - gpu.memory_used_bytes, 0) / _MIB


def _mib(count: int | None) -> float | None:
    return None if count is None else count / _MIB


_GPUS: Final = (
    _GpuMetric("DCGM_FI_DEV_GPU_UTIL", "GPU utilization (in %).", lambda g: g.utilization_percent),
    _GpuMetric(
        "DCGM_FI_DEV_FB_USED",
        "Framebuffer memory used (in MiB).",
        lambda g: _mib(g.memory_used_bytes),
    ),
    _GpuMetric("DCGM_FI_DEV_FB_FREE", "Framebuffer memory free (in MiB).", _free),
    _GpuMetric(
        "DCGM_FI_DEV_FB_TOTAL",
        "Framebuffer memory of the GPU (in MiB).",
        lambda g: _mib(g.memory_total_bytes),
    ),
    _GpuMetric("DCGM_FI_DEV_POWER_USAGE", "Power draw (in W).", lambda g: g.power_watts),
    _GpuMetric(
        "DCGM_FI_DEV_POWER_MGMT_LIMIT", "Power limit (in W).", lambda g: g.power_limit_watts
    ),
    _GpuMetric("DCGM_FI_DEV_GPU_TEMP", "GPU temperature (in C).", lambda g: g.temperature_celsius),
    _GpuMetric("DCGM_FI_DEV_SM_CLOCK", "SM clock frequency (in MHz).", lambda g: g.sm_clock_mhz),
    _GpuMetric(
        "DCGM_FI_DEV_MEM_CLOCK", "Memory clock frequency (in MHz).", lambda g: g.memory_clock_mhz
    ),
    _GpuMetric("DCGM_FI_DEV_ENC_UTIL", "Encoder utilization (in %).", lambda g: g.encoder_percent),
    _GpuMetric("DCGM_FI_DEV_DEC_UTIL", "Decoder utilization (in %).", lambda g: g.decoder_percent),
    _GpuMetric(
        "DCGM_FI_DEV_XID_ERRORS", "Value of the last XID error encountered.", lambda g: g.xid
    ),
    _GpuMetric(
        "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL",
        "Total number of double-bit volatile ECC errors.",
        lambda g: g.ecc_errors,
        "counter",
    ),
    _GpuMetric(
        "DCGM_FI_PROF_PCIE_RX_BYTES",
        "Data received over PCIe (in bytes per second).",
        lambda g: g.pcie_rx_bytes_per_second,
    ),
    _GpuMetric(
        "DCGM_FI_PROF_PCIE_TX_BYTES",
        "Data sent over PCIe (in bytes per second).",
        lambda g: g.pcie_tx_bytes_per_second,
    ),
    _GpuMetric(
        "DCGM_FI_PROF_NVLINK_RX_BYTES",
        "Data received over NVLink (in bytes per second).",
        lambda g: g.nvlink_rx_bytes_per_second,
    ),
    _GpuMetric(
        "DCGM_FI_PROF_NVLINK_TX_BYTES",
        "Data sent over NVLink (in bytes per second).",
        lambda g: g.nvlink_tx_bytes_per_second,
    ),
    _GpuMetric("aiinfra_gpu_lost", "Whether the driver has lost the GPU.", lambda g: float(g.lost)),
    _GpuMetric(
        "aiinfra_gpu_processes",
        "Processes that use the GPU.",
        lambda g: None if g.processes is None else len(g.processes),
    ),
)

_NODES: Final = (
    _NodeMetric("aiinfra_node_cpu_percent", "CPU busy (in %).", lambda n: n.cpu_percent),
    _NodeMetric("aiinfra_node_memory_used_bytes", "Memory in use.", lambda n: n.memory_used_bytes),
    _NodeMetric(
        "aiinfra_node_memory_total_bytes", "Memory of the node.", lambda n: n.memory_total_bytes
    ),
    _NodeMetric("aiinfra_node_disk_used_bytes", "Disk space in use.", lambda n: n.disk_used_bytes),
    _NodeMetric(
        "aiinfra_node_disk_total_bytes", "Disk space of the node.", lambda n: n.disk_total_bytes
    ),
    _NodeMetric(
        "aiinfra_node_disk_read_bytes_per_second",
        "Data read from disks.",
        lambda n: n.disk_read_bytes_per_second,
    ),
    _NodeMetric(
        "aiinfra_node_disk_write_bytes_per_second",
        "Data written to disks.",
        lambda n: n.disk_write_bytes_per_second,
    ),
    _NodeMetric(
        "aiinfra_node_network_receive_bytes_per_second",
        "Data received.",
        lambda n: n.network_rx_bytes_per_second,
    ),
    _NodeMetric(
        "aiinfra_node_network_transmit_bytes_per_second",
        "Data sent.",
        lambda n: n.network_tx_bytes_per_second,
    ),
)

_POOL_UP: Final = ("aiinfra_pool_up", "Whether any node of the pool answers.")
_NODE_UP: Final = ("aiinfra_node_up", "Whether the node is read just now.")
_JOBS: Final = ("aiinfra_jobs", "Jobs that are not over, by state.")

METRICS: Final[frozenset[str]] = frozenset(
    {
        *(metric.name for metric in _GPUS),
        *(metric.name for metric in _NODES),
        _POOL_UP[0],
        _NODE_UP[0],
        _JOBS[0],
    }
)
"""The names of all metrics."""


def exposition(frames: Mapping[str, Frame | None], jobs: Mapping[tuple[str, str], int]) -> str:
    """Return the text that Prometheus reads.

    Parameters
    ----------
    frames
        What is known of the GPUs of each pool; ``None`` of a pool that cannot be read.
    jobs
        How many jobs there are, by pool and state.
    """
    lines: list[str] = []
    for metric in _GPUS:
        found = [
            (_gpu_labels(pool, frame.nodes[view.node], view), metric.read(reading))
            for pool, frame in frames.items()
            if frame is not None
            for view in frame.gpus
            if (reading := frame.reading(view)) is not None
        ]
        family(lines, metric.name, metric.help, found, metric.type)
    for node_metric in _NODES:
        of_nodes = [
            ({"pool": pool, "node": name}, node_metric.read(sample.node))
            for pool, frame in frames.items()
            if frame is not None
            for name, sample in frame.samples.items()
        ]
        family(lines, node_metric.name, node_metric.help, of_nodes)
    up = {
        (pool, node.name): node.state is NodeState.LIVE
        for pool, frame in frames.items()
        if frame is not None
        for node in frame.nodes
    }
    family(lines, *_NODE_UP, [({"pool": p, "node": n}, float(live)) for (p, n), live in up.items()])
    live_pools = {pool for (pool, _), live in up.items() if live}
    family(lines, *_POOL_UP, [({"pool": pool}, float(pool in live_pools)) for pool in frames])
    counts = [({"pool": p, "state": s}, float(count)) for (p, s), count in jobs.items()]
    family(lines, *_JOBS, counts)
    return "".join(f"{line}\n" for line in lines)


def _gpu_labels(pool: str, node: NodeView, gpu: GpuView) -> dict[str, str]:
    labels = {
        "gpu": "" if gpu.index is None else str(gpu.index),
        "UUID": gpu.uuid,
        "modelName": gpu.name,
        "Hostname": node.name,
        "pool": pool,
        "node": node.name,
        "aiinfra_job": ",".join(holder.job for holder in gpu.holders),
        "rank": ",".join(str(rank) for holder in gpu.holders for rank in holder.ranks),
    }
    if gpu.parent is not None:
        # As dcgm-exporter tells slices: by their number within a GPU.
        labels["GPU_I_ID"] = labels["gpu"]
        labels["parent"] = gpu.parent
    return labels


def family(
    lines: list[str],
    name: str,
    text: str,
    found: Sequence[tuple[dict[str, str], float | None]],
    kind: str = "gauge",
    *,
    places: int = 3,
) -> None:
    """Add a metric with its values, to so many places; what is unknown has no line."""
    known = [(labels, value) for labels, value in found if value is not None]
    if not known:
        return
    lines.append(f"# HELP {name} {text}")
    lines.append(f"# TYPE {name} {kind}")
    for labels, value in known:
        shown = ",".join(f'{label}="{_escaped(each)}"' for label, each in labels.items())
        lines.append(f"{name}{{{shown}}} {_number(value, places)}")


def _escaped(text: str) -> str:
    made = text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return made.encode("utf-8", "replace").decode()


def _number(value: float, places: int) -> str:
    return str(int(value)) if value == int(value) else repr(round(value, places))
