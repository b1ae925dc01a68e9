"""Kinds of pools by name: ours are listed here, others are entry points.

Both map a kind to ``module:class``, which is imported when a pool of that kind is opened. The group
of the entry points is ``jupyter_aiinfra.pools``.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Mapping
from typing import Protocol

from jupyter_aiinfra.errors import UsageError, did_you_mean
from jupyter_aiinfra.model import PoolRecord
from jupyter_aiinfra.pools.base import Pool
from jupyter_aiinfra.settings import Settings

__all__ = ["KINDS", "PoolClass", "kinds", "open_pool", "pool_class"]

KINDS: Mapping[str, str] = {
    "local": "jupyter_aiinfra.pools.local:LocalPool",
    "simulated": "jupyter_aiinfra.pools.simulated:SimulatedPool",
    "ssh": "jupyter_aiinfra.pools.ssh:SshPool",
}

_GROUP = "jupyter_aiinfra.pools"


class PoolClass(Protocol):
    """What a registered class offers beside :class:`Pool`: its options, and a way to open it."""

    kind: str
    options_type: type

    def from_record(self, record: PoolRecord, settings: Settings) -> Pool:
        """Open the pool that `record` describes."""
        ...


def kinds() -> Mapping[str, str]:
    """Return every known kind with where its class is found."""
    found = dict(KINDS)
    for entry in importlib.metadata.entry_points(group=_GROUP):
        found.setdefault(entry.name, entry.value)
    return found


def pool_class(kind: str) -> PoolClass:
    """Import and return the class of `kind`.

    Raises
    ------
    UsageError
        No such kind; names the nearest.
    """
    # Entry points are looked up only for a kind that is not ours: that scan costs milliseconds.
    known = KINDS if kind in KINDS else kinds()
    if kind not in known:
        hint = did_you_mean(kind, known) or f"known kinds: {', '.join(sorted(known))}"
        raise UsageError(f"there is no pool kind {kind!r}", hint=hint)
    module, _, name = known[kind].partition(":")
    found: PoolClass = getattr(importlib.import_module(module), name)
    return found


def open_pool(record: PoolRecord, settings: Settings) -> Pool:
    """Open an attached pool."""
    return pool_class(record.kind).from_record(record, settings)
