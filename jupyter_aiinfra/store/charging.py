"""The verbs on what cost is computed of, and on what came of it. Each is one short transaction.

Facts are written by whoever brings them about: what a pool has, what it costs, and what a job was
given, in the transaction that gives it. Usage is computed of them elsewhere (``cost/ledger.py``)
and written here, if meanwhile no fact and no usage of its pool was.
"""

from __future__ import annotations

import time
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

from jupyter_aiinfra.model import Job, JobState, Placement
from jupyter_aiinfra.store.database import Database
from jupyter_aiinfra.store.schema import (
    allocations,
    capacity,
    catalog,
    charged_jobs,
    meters,
    prices,
    usage,
    usage_days,
)

__all__ = [
    "DIMENSIONS",
    "AllocationRow",
    "CapacityRow",
    "ChargeRecords",
    "ChargedJob",
    "Dimension",
    "Held",
    "MeterRow",
    "PoolFacts",
    "PriceRow",
    "SumRow",
    "UsageRow",
    "allocate",
    "charge",
    "deallocate",
    "end_capacity",
    "touch",
]

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


class PriceRow(NamedTuple):
    """What an hour of ``unit`` costs on a pool from ``since`` on; ``rate`` ``None`` is unknown."""

    id: int
    pool: str
    since: int
    rate: str | None
    currency: str | None
    unit: str | None
    terms: Mapping[str, Any]


class CapacityRow(NamedTuple):
    """A slot that a pool had; ``until`` ``None``: has."""

    node: str
    slot: str
    since: int
    until: int | None
    model: str


class AllocationRow(NamedTuple):
    """A slot that a job had; ``until`` ``None``: has."""

    job: str
    node: str
    slot: str
    since: int
    until: int | None


class Held(NamedTuple):
    """A slot that is there now, and the model of its GPU ("" for a node without any)."""

    slot: str
    model: str = ""


class MeterRow(NamedTuple):
    """How far a pool's usage is computed; see the table."""

    pool: str
    settled: int
    dirty: int | None
    version: int
    looked_at: float


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


class ChargedJob(NamedTuple):
    """Who pays for a job."""

    job: str
    pool: str
    name: str
    kind: str
    created_at: float
    notebook: str | None
    user: str | None
    project: str | None
    team: str | None
    cost_centre: str | None
    tags: Mapping[str, str]


class ChargeRecords:
    """What is known of cost; a part of the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- prices --------------------------------------------------------------------------------

    def set_price(
        self,
        pool: str,
        *,
        since: float,
        rate: str | None,
        currency: str | None,
        unit: str | None,
        terms: Mapping[str, Any],
    ) -> int:
        """Note what a pool costs from a moment on; return the number of that price.

        What is settled after that moment is computed again.
        """
        values = {"rate": rate, "currency": currency, "unit": unit, "terms": dict(terms)}
        at = round(since * _US)
        with self._database.write() as connection:
            added = connection.execute(insert(prices).values(pool=pool, since=at, **values))
            touch(connection, pool, at)
            key = added.inserted_primary_key
            assert key is not None  # noqa: S101 - of a single-row insert it never is
            return int(key[0])

    def prices(self, *, pool: str | None = None) -> Sequence[PriceRow]:
        """Return the prices of a pool, or of all, oldest first."""
        columns = [prices.c[name] for name in PriceRow._fields]
        query = select(*columns).order_by(prices.c.pool, prices.c.since, prices.c.id)
        if pool is not None:
            query = query.where(prices.c.pool == pool)
        with self._database.read() as connection:
            return [PriceRow(*row) for row in connection.execute(query)]

    def import_catalog(self, rows: Sequence[Mapping[str, Any]]) -> int:
        """Keep rows of a catalog; those of the same provider, sku, region and kind are replaced."""
        keys = ("provider", "sku", "region", "spot")
        with self._database.write() as connection:
            for row in rows:
                same = [catalog.c[key] == row[key] for key in keys]
                connection.execute(delete(catalog).where(*same))
                values = {key: row[key] for key in keys}
                connection.execute(insert(catalog).values(**values, row=dict(row)))
        return len(rows)

    def catalog_rows(self) -> Sequence[Mapping[str, Any]]:
        """Return what was imported."""
        query = select(catalog.c.row).order_by(
            catalog.c.provider, catalog.c.sku, catalog.c.region, catalog.c.spot
        )
        with self._database.read() as connection:
            return list(connection.scalars(query))

    # --- what a pool has -----------------------------------------------------------------------

    def note_capacity(
        self, pool: str, nodes: Mapping[str, Collection[Held]], *, at: float, all_of: bool = False
    ) -> bool:
        """Note which slots nodes have now; whether that was news.

        Of nodes that are not named nothing is said, unless these are `all_of` them.
        """
        now = round(at * _US)
        wanted = {(node, held.slot): held.model for node, slots in nodes.items() for held in slots}
        with self._database.read() as connection:
            if _differ(_open_capacity(connection, pool), wanted, nodes, all_of=all_of) == ([], []):
                return False
        with self._database.write() as connection:
            known = _open_capacity(connection, pool)
            new, gone = _differ(known, wanted, nodes, all_of=all_of)
            for node, slot in gone:
                where = [capacity.c.pool == pool, capacity.c.until.is_(None)]
                where += [capacity.c.node == node, capacity.c.slot == slot]
                until = max(now, known[node, slot])
                connection.execute(update(capacity).where(*where).values(until=until))
            for node, slot in new:
                same = [capacity.c.pool == pool, capacity.c.node == node, capacity.c.slot == slot]
                # Taken away and back within one tick of the clock, it was never gone.
                again = connection.execute(
                    update(capacity).where(*same, capacity.c.since == now).values(until=None)
                ).rowcount
                if not again:
                    values = {"pool": pool, "node": node, "slot": slot, "since": now}
                    model = wanted[node, slot]
                    connection.execute(insert(capacity).values(**values, model=model))
            touch(connection, pool, now)
            return True

    # --- jobs ----------------------------------------------------------------------------------

    def charged_jobs(self, ids: Collection[str] | None = None) -> Sequence[ChargedJob]:
        """Return who pays for these jobs, or for all; one that is not known is left out."""
        columns = [charged_jobs.c[name] for name in ChargedJob._fields]
        found: list[ChargedJob] = []
        with self._database.read() as connection:
            if ids is None:
                return [ChargedJob(*row) for row in connection.execute(select(*columns))]
            wanted = list(dict.fromkeys(ids))
            for first in range(0, len(wanted), _AT_ONCE):
                some = charged_jobs.c.job.in_(wanted[first : first + _AT_ONCE])
                found += [ChargedJob(*r) for r in connection.execute(select(*columns).where(some))]
        return found

    def tag_job(self, job_id: str, tags: Mapping[str, str]) -> bool:
        """Change the tags of a job, all of them; whether there is such a job."""
        with self._database.write() as connection:
            changed = connection.execute(
                update(charged_jobs).where(charged_jobs.c.job == job_id).values(**_tagged(tags))
            )
            return changed.rowcount == 1

    def allocations_beside(self, job_ids: Collection[str]) -> Mapping[str, list[AllocationRow]]:
        """Return, by pool, what these jobs were given, and all that others had of the same."""
        columns = [allocations.c[name] for name in AllocationRow._fields]
        found: dict[str, list[AllocationRow]] = {}
        other = allocations.alias("other")
        meets = and_(
            other.c.pool == allocations.c.pool,
            other.c.node == allocations.c.node,
            other.c.slot == allocations.c.slot,
            or_(other.c.until.is_(None), other.c.until > allocations.c.since),
            or_(allocations.c.until.is_(None), allocations.c.until > other.c.since),
        )
        wanted = list(dict.fromkeys(job_ids))
        with self._database.read() as connection:
            for first in range(0, len(wanted), _AT_ONCE):
                mine = other.c.job.in_(wanted[first : first + _AT_ONCE])
                query = select(allocations.c.pool, *columns).where(
                    exists(select(literal(1)).where(meets, mine))
                )
                for pool, *row in connection.execute(query):
                    found.setdefault(str(pool), []).append(AllocationRow(*row))
        return {pool: list(dict.fromkeys(rows)) for pool, rows in found.items()}

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

    def facts(self, pool: str, *, start: int, end: int) -> PoolFacts | None:
        """Return what is on record of a pool between two times in microseconds."""
        with self._database.read() as connection:
            # Its version first: what is written in between makes the settlement be refused.
            found = _meter(connection, pool)
            if found is None:
                return None
            had = connection.execute(
                select(*(capacity.c[name] for name in CapacityRow._fields)).where(
                    capacity.c.pool == pool, *_between(capacity, start, end)
                )
            )
            given = connection.execute(
                select(*(allocations.c[name] for name in AllocationRow._fields)).where(
                    allocations.c.pool == pool, *_between(allocations, start, end)
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
            found = _meter(connection, pool)
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


# --- in the transactions of others -----------------------------------------------------------------


def touch(connection: Connection, pool: str, at: int) -> None:
    """Note that a fact of a pool, which holds from `at` (microseconds) on, is another."""
    hour = at // _US // _HOUR * _HOUR
    found = _meter(connection, pool)
    if found is None:
        values = {"pool": pool, "settled": hour, "dirty": None, "version": 1, "looked_at": 0.0}
        connection.execute(insert(meters).values(values))
        return
    dirty = found.dirty
    if hour < found.settled:
        dirty = hour if dirty is None else min(dirty, hour)
    where = meters.c.pool == pool
    connection.execute(update(meters).where(where).values(version=found.version + 1, dirty=dirty))


def charge(connection: Connection, job: Job) -> None:
    """Note who pays for a job that is new."""
    origin = job.spec.origin
    connection.execute(
        insert(charged_jobs).values(
            job=job.id,
            pool=job.pool,
            name=job.spec.name,
            kind=job.spec.kind.value,
            created_at=job.created_at,
            notebook=origin.notebook,
            user=origin.user,
            **_tagged(job.spec.tags),
        )
    )
    if job.state is not JobState.QUEUED and not job.state.final:
        allocate(connection, job.pool, job.id, job.placement, at=time.time())


def allocate(
    connection: Connection, pool: str, job_id: str, placement: Sequence[Placement], *, at: float
) -> None:
    """Note what a job is given: the GPUs of its placement, or nodes as they are."""
    since = round(at * _US)
    slots = dict.fromkeys(
        (place.node, slot) for place in placement for slot in (place.gpus or ("",))
    )
    if not slots:
        return
    rows = [
        {"job": job_id, "node": node, "slot": slot, "since": since, "until": None, "pool": pool}
        for node, slot in slots
    ]
    connection.execute(insert(allocations), rows)
    touch(connection, pool, since)


def deallocate(connection: Connection, job_id: str, *, at: float | None = None) -> None:
    """Note when a job has let go of all that it had; now, where that is not known."""
    now = round(time.time() * _US)
    until = now if at is None else min(now, round(at * _US))
    open_ones = [allocations.c.job == job_id, allocations.c.until.is_(None)]
    pools = connection.scalars(select(allocations.c.pool).where(*open_ones).distinct()).all()
    # A clock may have been set back: nothing ends before it begins.
    later = [*open_ones, allocations.c.since > until]
    connection.execute(update(allocations).where(*later).values(until=allocations.c.since))
    connection.execute(update(allocations).where(*open_ones).values(until=until))
    for pool in pools:
        touch(connection, pool, until)


def end_capacity(connection: Connection, pool: str) -> None:
    """Note that a pool is no longer ours."""
    now = round(time.time() * _US)
    open_ones = [capacity.c.pool == pool, capacity.c.until.is_(None)]
    later = [*open_ones, capacity.c.since > now]
    connection.execute(update(capacity).where(*later).values(until=capacity.c.since))
    connection.execute(update(capacity).where(*open_ones).values(until=now))
    touch(connection, pool, now)


def _tagged(tags: Mapping[str, str]) -> Mapping[str, Any]:
    return {
        "project": tags.get("project"),
        "team": tags.get("team"),
        "cost_centre": tags.get("cost-centre"),
        "tags": dict(tags),
    }


def _meter(connection: Connection, pool: str) -> MeterRow | None:
    query = select(*(meters.c[name] for name in MeterRow._fields)).where(meters.c.pool == pool)
    row = connection.execute(query).first()
    return None if row is None else MeterRow(*row)


def _open_capacity(connection: Connection, pool: str) -> Mapping[tuple[str, str], int]:
    query = select(capacity.c.node, capacity.c.slot, capacity.c.since).where(
        capacity.c.pool == pool, capacity.c.until.is_(None)
    )
    return {(node, slot): since for node, slot, since in connection.execute(query)}


_Slots = list[tuple[str, str]]


def _differ(
    known: Mapping[tuple[str, str], int],
    wanted: Mapping[tuple[str, str], str],
    nodes: Collection[str],
    *,
    all_of: bool,
) -> tuple[_Slots, _Slots]:
    """Return which slots are new, and which are gone."""
    gone = [each for each in known if each not in wanted and (all_of or each[0] in nodes)]
    return [each for each in wanted if each not in known], gone


def _between(table: Any, start: int, end: int) -> list[ColumnElement[bool]]:
    return [table.c.since < end, or_(table.c.until.is_(None), table.c.until > start)]


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
