"""Schedules: what ten thousand of them cost, and how soon a notebook has run."""

from __future__ import annotations

from benchmarks.schedule.cold import cold
from benchmarks.schedule.many import listed, ticked

__all__ = ["MEASURES", "PACKAGES"]

PACKAGES = ("papermill", "nbclient", "sqlalchemy")
MEASURES = (cold, ticked, listed)
