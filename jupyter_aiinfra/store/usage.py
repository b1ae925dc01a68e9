"""The verbs on usage: how far it is computed, what came of it, and what that adds up to.

Usage is computed of facts elsewhere (``cost/ledger.py``) and written here, if meanwhile no fact and
no usage of its pool was. Each verb is one short transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from jupyter_aiinfra.store.charging import AllocationRow, CapacityRow, ChargeRecords, PriceRow
from jupyter_aiinfra.store.meters import MeterRow, read_meter
from jupyter_aiinfra.store.schema import (
    allocations,
    capacity,
    charged_jobs,
    meters,
    usage,
    usage_days,
)

__all__ = ["DIMENSIONS", "Dimension", "MeterRow", "PoolFacts", "SumRow", "UsageRecords", "UsageRow"]

_HOUR: Final = 3600
_DAY: Final = 86400
_US: Final = 1_000_000
_AT_ONCE: Final = 500

Dimension = Literal["job", "pool", "user", "notebook", "project", "team", "cost_centre", "day"]
"""What sums are made by."""
DIMENSIONS: Final[tuple[Dimension, ...]] = (
    "job",
    "notebook",
    "user",
    "pool",
    "project",
    "team",
    "cost_centre",
    "day",
)


class PoolFacts(NamedTuple):
    """What is on record of one pool for a window of time, as of ``version`` of its meter."""

    meter: MeterRow
    capacity: Sequence[CapacityRow]
    allocations: Sequence[AllocationRow]
    prices: Sequence[PriceRow]


class UsageRow(NamedTuple):
    """See ``cost/meter.py``."""

    start: int
    node: str
    job: str
    price: int
    parts: int
    allocated: int
    used: int
    idle: int


class SumRow(NamedTuple):
    """Usage added up by something (``key``; ``None`` where there is no such thing), and price."""

    key: str | None
    pool: str
    is_job: bool
    price: int
    parts: int
    allocated: int
    used: int
    idle: int


class UsageRecords(ChargeRecords):
    """What jobs and pools came to; a part of the store."""

    # --- metering ------------------------------------------------------------------------------

    def meters(self, *, due: bool = False) -> Sequence[MeterRow]:
        """Return how far each pool is metered; only those that there is something to add to."""
        query = select(*(meters.c[name] for name in MeterRow._fields)).order_by(meters.c.pool)
        if due:
            settled = meters.c.settled * _US
            later = or_(capacity.c.until.is_(None), capacity.c.until > settled)
            longer = or_(allocations.c.until.is_(None), allocations.c.until > settled)
            query = query.where(
                or_(
                    meters.c.dirty.is_not(None),
                    exists(select(literal(1)).where(capacity.c.pool == meters.c.pool, later)),
                    exists(select(literal(1)).where(allocations.c.pool == meters.c.pool, longer)),
                )
            )
        with self._database.read() as connection:
            return [MeterRow(*row) for row in connection.execute(query)]

    def facts(
        self, pool: str, *, start: int, end: int, nodes: Collection[str] | None = None
    ) -> PoolFacts | None:
        """Return what is on record of a pool, or of some of its nodes, between two times.

        These are in microseconds.
        """
        with self._database.read() as connection:
            # Its version first: what is written in between makes the settlement be refused.
            found = read_meter(connection, pool)
            if found is None:
                return None
            had = connection.execute(
                select(*(capacity.c[name] for name in CapacityRow._fields)).where(
                    capacity.c.pool == pool, *_between(capacity, start, end, nodes)
                )
            )
            given = connection.execute(
                select(*(allocations.c[name] for name in AllocationRow._fields)).where(
                    allocations.c.pool == pool, *_between(allocations, start, end, nodes)
                )
            )
            rows = [CapacityRow(*row) for row in had], [AllocationRow(*row) for row in given]
        return PoolFacts(found, *rows, self.prices(pool=pool))

    def settle(
        self,
        pool: str,
        *,
        expected: int,
        start: int,
        end: int,
        settled: int,
        rows: Sequence[UsageRow],
        at: float,
        dirty: int | None = None,
    ) -> bool:
        """Replace the usage of hours from `start` up to `end`, if nobody has been faster.

        Parameters
        ----------
        expected
            The version of the pool's meter that the rows were computed at.
        settled
            Up to which hour they are now as good as they get.
        dirty
            From which hour on there is still to be computed again.
        """
        days = sorted({hour // _DAY * _DAY for hour in range(start, end, _HOUR)})
        with self._database.write() as connection:
            found = read_meter(connection, pool)
            if found is None or found.version != expected:
                return False
            connection.execute(
                delete(usage).where(
                    usage.c.pool == pool, usage.c.start >= start, usage.c.start < end
                )
            )
            if rows:
                connection.execute(insert(usage), [{"pool": pool, **row._asdict()} for row in rows])
            if days:
                _add_up_days(connection, pool, days[0], days[-1] + _DAY)
            values = {"settled": settled, "dirty": dirty, "looked_at": at}
            connection.execute(
                update(meters).where(meters.c.pool == pool).values(version=expected + 1, **values)
            )
            return True

    # --- what it came to -----------------------------------------------------------------------

    def sums(
        self,
        *,
        start: int,
        end: int,
        by: Dimension,
        where: Mapping[str, str] | None = None,
    ) -> Sequence[SumRow]:
        """Add usage up from one hour up to another (seconds since the epoch), by one thing.

        `where` narrows it to one job, pool, user, notebook, project, team or cost centre.
        """
        whole_from, whole_to = -(-start // _DAY) * _DAY, end // _DAY * _DAY
        if whole_from < whole_to:
            spans = [(start, whole_from), (whole_to, end)]
            parts = [_summed(usage_days, "day", whole_from, whole_to, where, day=by == "day")]
        else:
            spans, parts = [(start, end)], []
        parts += [
            _summed(usage, "start", first, last, where, day=by == "day")
            for first, last in spans
            if first < last
        ]
        totals: dict[tuple[Any, ...], list[int]] = {}
        with self._database.read() as connection:
            for part in parts:
                for *key, allocated, used, idle in connection.execute(part):
                    row = totals.setdefault(tuple(key), [0, 0, 0])
                    for number, amount in enumerate((allocated, used, idle)):
                        row[number] += int(amount)
        named = self._names(by, {str(key[1]) for key in totals})
        return _keyed(totals, by, named)

    def _names(self, by: Dimension, jobs: Collection[str]) -> Mapping[str, str | None]:
        if by in ("job", "pool", "day"):
            return {}
        column = charged_jobs.c[by]
        with self._database.read() as connection:
            rows = connection.execute(select(charged_jobs.c.job, column).where(column.is_not(None)))
            return {str(job): name for job, name in rows if job in jobs}

    def usage_rows(
        self, *, start: int, end: int, after: tuple[Any, ...] | None = None, limit: int = 10_000
    ) -> Sequence[tuple[str, UsageRow]]:
        """Return rows of usage with their pools, in the order of their keys, after one of them."""
        columns = [usage.c[name] for name in UsageRow._fields]
        key = [usage.c[name] for name in ("start", "pool", "node", "job", "price", "parts")]
        query = select(usage.c.pool, *columns).where(usage.c.start >= start, usage.c.start < end)
        if after is not None:
            query = query.where(_after(key, after))
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(*key).limit(limit))
            return [(str(pool), UsageRow(*row)) for pool, *row in rows]

    def job_usage(self, job_ids: Collection[str]) -> Sequence[tuple[str, int, int, int, int]]:
        """Return price and microseconds allocated, used and idle of jobs, as far as settled."""
        amounts = [func.sum(usage.c[name]) for name in ("allocated", "used", "idle")]
        query = select(usage.c.job, usage.c.price, *amounts).group_by(usage.c.job, usage.c.price)
        found = []
        wanted = list(dict.fromkeys(job_ids))
        with self._database.read() as connection:
            for first in range(0, len(wanted), _AT_ONCE):
                some = usage.c.job.in_(wanted[first : first + _AT_ONCE])
                for job, price, *rest in connection.execute(query.where(some)):
                    found.append((str(job), int(price), *(int(each) for each in rest)))
        return found  # type: ignore[return-value]


def _between(
    table: Any, start: int, end: int, nodes: Collection[str] | None
) -> list[ColumnElement[bool]]:
    overlap = [table.c.since < end, or_(table.c.until.is_(None), table.c.until > start)]
    return overlap if nodes is None else [*overlap, table.c.node.in_(sorted(nodes))]


def _add_up_days(connection: Connection, pool: str, start: int, end: int) -> None:
    """Make the days of a pool anew of its hours."""
    connection.execute(
        delete(usage_days).where(
            usage_days.c.pool == pool, usage_days.c.day >= start, usage_days.c.day < end
        )
    )
    day = (usage.c.start - usage.c.start % _DAY).label("day")
    keys = (usage.c.pool, usage.c.job, usage.c.price, usage.c.parts)
    amounts = [func.sum(usage.c[name]).label(name) for name in ("allocated", "used", "idle")]
    made = (
        select(day, *keys, *amounts)
        .where(usage.c.pool == pool, usage.c.start >= start, usage.c.start < end)
        .group_by(day, *keys)
    )
    names = ["day", "pool", "job", "price", "parts", "allocated", "used", "idle"]
    connection.execute(insert(usage_days).from_select(names, made))


def _summed(
    table: Any,
    column: str,
    first: int,
    last: int,
    where: Mapping[str, str] | None,
    *,
    day: bool,
) -> Select[Any]:
    at = table.c[column]
    when = (at - at % _DAY).label("day") if day else literal(0).label("day")
    keys = [table.c.pool, table.c.job, table.c.price, table.c.parts]
    amounts = [func.sum(table.c[name]) for name in ("allocated", "used", "idle")]
    query = select(table.c.pool, table.c.job, when, table.c.price, table.c.parts, *amounts)
    query = query.where(at >= first, at < last).group_by(*keys, *([when] if day else []))
    for name, value in (where or {}).items():
        if name in ("job", "pool"):
            query = query.where(table.c[name] == value)
        else:
            some = select(charged_jobs.c.job).where(charged_jobs.c[name] == value)
            query = query.where(table.c.job.in_(some))
    return query


def _keyed(
    totals: Mapping[tuple[Any, ...], Sequence[int]],
    by: Dimension,
    named: Mapping[str, str | None],
) -> list[SumRow]:
    merged: dict[tuple[str | None, str, bool, int, int], list[int]] = {}
    for (pool, job, day, price, parts), amounts in totals.items():
        key: str | None = named.get(job)
        if by == "job":
            key = job or None
        elif by == "pool":
            key = pool
        elif by == "day":
            key = str(int(day))
        row = merged.setdefault((key, pool, bool(job), int(price), int(parts)), [0, 0, 0])
        for number, amount in enumerate(amounts):
            row[number] += amount
    return [SumRow(*key, *amounts) for key, amounts in merged.items()]


def _after(key: Sequence[Any], values: Sequence[Any]) -> ColumnElement[bool]:
    """Return the condition for rows that come after one in the order of their keys."""
    found: ColumnElement[bool] = literal(value=False)
    for column, value in reversed(list(zip(key, values, strict=True))):
        found = or_(column > value, and_(column == value, found))
    return found
