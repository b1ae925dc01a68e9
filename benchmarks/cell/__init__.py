"""The training cell: loading, first step, throughput, logs, variables; raw is accelerate itself."""

from __future__ import annotations

from benchmarks.cell.loading import load
from benchmarks.cell.output import logs
from benchmarks.cell.sending import variables
from benchmarks.cell.training import first_step, throughput

__all__ = ["MEASURES", "PACKAGES"]

PACKAGES = ("torch", "accelerate", "ipython", "ipykernel", "jupyter_client", "numpy")
MEASURES = (load, first_step, throughput, logs, variables)
