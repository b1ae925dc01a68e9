"""Schedules: what ten thousand of them cost, and how soon notebooks have run, one and twenty."""

from __future__ import annotations

from benchmarks.schedule.due import due
from benchmarks.schedule.many import listed, ticked
from benchmarks.schedule.shown import shown
from benchmarks.schedule.single import cold, warm
from benchmarks.schedule.twenty import twenty

__all__ = ["MEASURES", "PACKAGES"]

PACKAGES = ("papermill", "nbclient", "sqlalchemy")
MEASURES = (cold, warm, twenty, due, ticked, listed, shown)
