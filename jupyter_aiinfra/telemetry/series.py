"""The series that are drawn, each in steps no finer than can be seen.

A reading becomes a small whole number of steps, so that what changes is little and what is kept is
small: utilization in whole percent, memory in 16 MiB, power in whole watts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from jupyter_aiinfra.telemetry.sample import GpuReading, NodeReading

__all__ = ["GPU_SERIES", "MOST_STEPS", "NODE_SERIES", "GpuSeries", "NodeSeries", "Series", "steps"]

_MIB: Final = 1 << 20

MOST_STEPS: Final = 32_000
"""The largest number of steps that is told or kept; what is more is told as this."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """One series: its name on every surface, its unit, and how much of that one step is.

    ``spread`` is whether least and most are kept of it beside the mean.
    """

    name: str
    unit: str
    step: float
    spread: bool = False


@dataclass(frozen=True, kw_only=True)
class GpuSeries(Series):
    """A series of a GPU."""

    read: Callable[[GpuReading], float | None]


@dataclass(frozen=True, kw_only=True)
class NodeSeries(Series):
    """A series of a node."""

    read: Callable[[NodeReading], float | None]


GPU_SERIES: Final = (
    GpuSeries(
        name="utilization", unit="%", step=1, spread=True, read=lambda g: g.utilization_percent
    ),
    GpuSeries(
        name="memory", unit="bytes", step=16 * _MIB, spread=True, read=lambda g: g.memory_used_bytes
    ),
    GpuSeries(name="power", unit="W", step=1, spread=True, read=lambda g: g.power_watts),
    GpuSeries(name="temperature", unit="°C", step=1, read=lambda g: g.temperature_celsius),
    GpuSeries(name="clock", unit="MHz", step=15, read=lambda g: g.sm_clock_mhz),
    GpuSeries(
        name="pcie_rx", unit="bytes/s", step=32 * _MIB, read=lambda g: g.pcie_rx_bytes_per_second
    ),
    GpuSeries(
        name="pcie_tx", unit="bytes/s", step=32 * _MIB, read=lambda g: g.pcie_tx_bytes_per_second
    ),
)

NODE_SERIES: Final = (
    NodeSeries(name="cpu", unit="%", step=1, read=lambda n: n.cpu_percent),
    NodeSeries(name="memory", unit="bytes", step=256 * _MIB, read=lambda n: n.memory_used_bytes),
    NodeSeries(
        name="disk_read", unit="bytes/s", step=4 * _MIB, read=lambda n: n.disk_read_bytes_per_second
    ),
    NodeSeries(
        name="disk_write",
        unit="bytes/s",
        step=4 * _MIB,
        read=lambda n: n.disk_write_bytes_per_second,
    ),
    NodeSeries(
        name="network_rx",
        unit="bytes/s",
        step=4 * _MIB,
        read=lambda n: n.network_rx_bytes_per_second,
    ),
    NodeSeries(
        name="network_tx",
        unit="bytes/s",
        step=4 * _MIB,
        read=lambda n: n.network_tx_bytes_per_second,
    ),
)


def steps(value: float | None, step: float) -> int | None:
    """Return `value` as a whole number of steps; the unknown stays unknown."""
    return None if value is None else min(int(value / step + 0.5), MOST_STEPS)
