"""How far each pool's usage is computed, and how that is told that a fact is another."""

from __future__ import annotations

from typing import Final, NamedTuple

from sqlalchemy import Connection, insert, select, update

from jupyter_aiinfra.store.schema import meters

__all__ = ["MeterRow", "read_meter", "touch"]

_HOUR: Final = 3600
_US: Final = 1_000_000


class MeterRow(NamedTuple):
    """How far a pool's usage is computed; see the table."""

    pool: str
    settled: int
    dirty: int | None
    version: int
    looked_at: float


def touch(connection: Connection, pool: str, at: int) -> None:
    """Note that a fact of a pool, which holds from `at` (microseconds) on, is another."""
    hour = at // _US // _HOUR * _HOUR
    found = read_meter(connection, pool)
    if found is None:
        values = {"pool": pool, "settled": hour, "dirty": None, "version": 1, "looked_at": 0.0}
        connection.execute(insert(meters).values(values))
        return
    dirty = found.dirty
    if hour < found.settled:
        dirty = hour if dirty is None else min(dirty, hour)
    where = meters.c.pool == pool
    connection.execute(update(meters).where(where).values(version=found.version + 1, dirty=dirty))


def read_meter(connection: Connection, pool: str) -> MeterRow | None:
    """Return how far a pool is metered; ``None`` where nothing of it ever was."""
    query = select(*(meters.c[name] for name in MeterRow._fields)).where(meters.c.pool == pool)
    row = connection.execute(query).first()
    return None if row is None else MeterRow(*row)
