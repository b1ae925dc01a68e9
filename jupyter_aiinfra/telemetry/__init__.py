"""Live telemetry of every node of every pool: samples, history, rollups and what is told of them.

One sampler a node and process, whoever reads; bounded memory; ``None`` is unknown, and a gap is a
gap.
"""

from __future__ import annotations

from jupyter_aiinfra.telemetry.frames import (
    Frame,
    GpusDelta,
    GpusFrame,
    GpuView,
    NodeView,
    Scope,
    delta_frame,
    full_frame,
)
from jupyter_aiinfra.telemetry.hub import NodeSample, Telemetry
from jupyter_aiinfra.telemetry.ranges import Curve, Range
from jupyter_aiinfra.telemetry.sample import GpuReading, Sample, sample_line
from jupyter_aiinfra.telemetry.sampler import NodeState

__all__ = [
    "Curve",
    "Frame",
    "GpuReading",
    "GpuView",
    "GpusDelta",
    "GpusFrame",
    "NodeSample",
    "NodeState",
    "NodeView",
    "Range",
    "Sample",
    "Scope",
    "Telemetry",
    "delta_frame",
    "full_frame",
    "sample_line",
]
