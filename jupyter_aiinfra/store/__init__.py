"""The record of pools, jobs and events: one SQLite file, or a PostgreSQL database for a team.

The pools hold the truth; this keeps what was last seen of it. Any number of processes share one
store: each change is a compare-and-set in one short transaction, and nothing is cached.
"""

from __future__ import annotations

from jupyter_aiinfra.store.database import shown_url
from jupyter_aiinfra.store.opening import open_store
from jupyter_aiinfra.store.records import Store

__all__ = ["Store", "open_store", "shown_url"]
