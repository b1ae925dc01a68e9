"""The verbs on readings: chunks of bytes, which it does not read, by pool, node and time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, delete, insert, select, tuple_, update

from jupyter_aiinfra.store.database import Database
from jupyter_aiinfra.store.schema import readings

__all__ = ["ChunkKey", "ReadingRecords"]


class ChunkKey(NamedTuple):
    """Which chunk: buckets of ``resolution`` seconds of a node, from ``start`` on."""

    pool: str
    node: str
    resolution: int
    start: int


_KEY = (readings.c.pool, readings.c.node, readings.c.resolution, readings.c.start)


class ReadingRecords:
    """What is known of GPUs over time; a part of the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def chunks(
        self,
        resolution: int,
        *,
        start: int,
        end: int,
        pool: str | None = None,
        nodes: Collection[str] | None = None,
    ) -> Mapping[ChunkKey, bytes]:
        """Return the chunks that begin from `start` on and before `end`."""
        query = select(*_KEY, readings.c.data).where(
            readings.c.resolution == resolution, readings.c.start >= start, readings.c.start < end
        )
        if pool is not None:
            query = query.where(readings.c.pool == pool)
        if nodes is not None:
            query = query.where(readings.c.node.in_(nodes))
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(*_KEY)).all()
        return {ChunkKey(*row[:-1]): bytes(row[-1]) for row in rows}

    def change_chunks(
        self,
        keys: Collection[ChunkKey],
        change: Callable[[Mapping[ChunkKey, bytes]], Mapping[ChunkKey, bytes]],
    ) -> None:
        """Replace chunks by what `change` makes of those of `keys` that are there.

        Nobody else writes meanwhile: `change` is to be quick.
        """
        with self._database.write() as connection:
            found = _found(connection, keys)
            for key, data in change(found).items():
                if key not in found:
                    connection.execute(insert(readings).values(**key._asdict(), data=data))
                elif data != found[key]:
                    where = _is(key)
                    connection.execute(update(readings).where(*where).values(data=data))

    def drop_chunks(self, resolution: int, *, before: int) -> int:
        """Forget the chunks of a resolution that begin before a time; return how many."""
        old = (readings.c.resolution == resolution, readings.c.start < before)
        with self._database.read() as connection:
            if connection.execute(select(readings.c.start).where(*old).limit(1)).first() is None:
                return 0
        with self._database.write() as connection:
            return int(connection.execute(delete(readings).where(*old)).rowcount)


def _found(connection: Connection, keys: Collection[ChunkKey]) -> Mapping[ChunkKey, bytes]:
    if not keys:
        return {}
    query = select(*_KEY, readings.c.data).where(tuple_(*_KEY).in_(list(keys)))
    return {ChunkKey(*row[:-1]): bytes(row[-1]) for row in connection.execute(query)}


def _is(key: ChunkKey) -> list[ColumnElement[bool]]:
    return [column == value for column, value in zip(_KEY, key, strict=True)]
