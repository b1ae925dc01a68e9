"""The verbs, and the only place that changes state: attach, launch, refresh, cancel, reconcile.

Any number of engines in any number of processes may work on one store at once. Each change is a
compare-and-set: who loses reads again. What is *desired* is written first, then *requested* of the
pool, then *observed*; the step between them may be repeated without harm.
"""

from __future__ import annotations

from jupyter_aiinfra.engine.attached import PoolCheck, PoolOpener, PoolView
from jupyter_aiinfra.engine.face import Engine
from jupyter_aiinfra.engine.reconciling import Orphan, Reconciled

__all__ = ["Engine", "Orphan", "PoolCheck", "PoolOpener", "PoolView", "Reconciled"]
