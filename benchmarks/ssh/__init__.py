"""The ssh pool: attaching, launching on several nodes, sending files, streaming logs of many."""

from __future__ import annotations

from benchmarks.ssh.attaching import attach
from benchmarks.ssh.launching import first_step
from benchmarks.ssh.sending import bundles
from benchmarks.ssh.spreading import spread_out
from benchmarks.ssh.streaming import logs

__all__ = ["MEASURES", "PACKAGES"]

PACKAGES = ("torch", "accelerate", "ipython", "ipykernel", "jupyter_client")
MEASURES = (attach, first_step, spread_out, bundles, logs)
