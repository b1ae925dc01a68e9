"""Cost: how long metering takes, how soon a bill is there, and whether what-if tells the truth."""

from __future__ import annotations

from benchmarks.cost.asked import asked
from benchmarks.cost.metered import metered
from benchmarks.cost.predicted import predicted

__all__ = ["MEASURES", "PACKAGES"]

PACKAGES = ("sqlalchemy", "torch", "accelerate")
MEASURES = (metered, asked, predicted)
