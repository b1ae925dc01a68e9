"""GPUs: what reading and watching them costs, what the store keeps, how soon a chart is there."""

from __future__ import annotations

from benchmarks.gpus.drawn import drawn
from benchmarks.gpus.kept import kept
from benchmarks.gpus.sampled import sampled
from benchmarks.gpus.told import told
from benchmarks.gpus.watched import watched

__all__ = ["MEASURES", "PACKAGES"]

PACKAGES = ("nvidia-ml-py", "tornado", "sqlalchemy")
MEASURES = (sampled, watched, told, kept, drawn)
