"""GPUs: what a browser is sent, what the store keeps, and how soon a chart is there."""

from __future__ import annotations

from benchmarks.gpus.kept import kept
from benchmarks.gpus.told import told

__all__ = ["MEASURES", "PACKAGES"]

PACKAGES = ("tornado", "sqlalchemy")
MEASURES = (told, kept)
