"""The verbs on what cost is computed of, and on what came of it. Each is one short transaction.

Facts are written by whoever brings them about: what a pool has, what it costs, and what a job was
given, in the transaction that gives it.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, delete, func, insert, or_, select, tuple_, update

from jupyter_aiinfra.model import Job, JobState, Placement
from jupyter_aiinfra.store.database import Database
from jupyter_aiinfra.store.meters import touch
from jupyter_aiinfra.store.schema import (
    allocations,
    capacity,
    catalog,
    charged_jobs,
    events,
    prices,
)

__all__ = [
    "AllocationRow",
    "CapacityRow",
    "ChargeRecords",
    "ChargedJob",
    "Held",
    "PriceRow",
    "allocate",
    "charge",
    "deallocate",
    "end_capacity",
]

_US: Final = 1_000_000
_AT_ONCE: Final = 500
# Two clocks that nobody sets differ by less than a minute, or a thousandth of a long time.
_CLOCKS_DIFFER_US: Final = 60 * _US
_CLOCKS_DRIFT: Final = 1000


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

    def note_capacity(self, pool: str, nodes: Mapping[str, Collection[Held]], *, at: float) -> bool:
        """Note which slots nodes have now; whether that was news.

        Of nodes that are not named nothing is said.
        """
        now = round(at * _US)
        wanted = {(node, held.slot): held.model for node, slots in nodes.items() for held in slots}
        with self._database.read() as connection:
            if _differ(_open_capacity(connection, pool), wanted, nodes) == ([], []):
                return False
        with self._database.write() as connection:
            known = _open_capacity(connection, pool)
            new, gone = _differ(known, wanted, nodes)
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
        found: dict[str, set[AllocationRow]] = {}
        wanted = list(dict.fromkeys(job_ids))
        with self._database.read() as connection:
            for first in range(0, len(wanted), _AT_ONCE):
                mine = allocations.c.job.in_(wanted[first : first + _AT_ONCE])
                for pool, rows in _given(connection, [mine]).items():
                    found.setdefault(pool, set()).update(rows, _beside(connection, pool, rows))
        return {pool: sorted(rows, key=lambda row: row[:4]) for pool, rows in found.items()}


# --- in the transactions of others ---------------------------------------------------------------


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


def deallocate(
    connection: Connection, job_id: str, *, at: float | None = None, lasted: float | None = None
) -> None:
    """Note when a job has let go of all that it had; now, where that is not known.

    Where it ran for `lasted` seconds, and our clock says otherwise, that was set meanwhile: the job
    has had what it was given for as long as it ran.
    """
    now = round(time.time() * _US)
    until = now if at is None else min(now, round(at * _US))
    open_ones = [allocations.c.job == job_id, allocations.c.until.is_(None)]
    begun = connection.execute(
        select(allocations.c.pool, func.min(allocations.c.since))
        .where(*open_ones)
        .group_by(allocations.c.pool)
    ).all()
    if lasted is not None and begun:
        first = min(since for _, since in begun)
        until = _as_long(connection, job_id, first, until, round(lasted * _US))
    # A clock may have been set back: nothing ends before it begins.
    later = [*open_ones, allocations.c.since > until]
    connection.execute(update(allocations).where(*later).values(until=allocations.c.since))
    connection.execute(update(allocations).where(*open_ones).values(until=until))
    for pool, since in begun:
        touch(connection, pool, max(until, since))


def _as_long(connection: Connection, job_id: str, since: int, until: int, lasted: int) -> int:
    """Return the end of what began `since` and ran for `lasted`, which our clock puts at `until`.

    It ran from the time at which its pool had it at the latest, so it ended `lasted` later at most,
    and that long after it was given its GPUs at the least.
    """
    bound: float | None = connection.scalar(
        select(func.min(events.c.at)).where(
            events.c.subject == job_id,
            events.c.kind == "job.state",
            events.c.detail["to"].as_string() == JobState.STARTING.value,
        )
    )
    slack = max(_CLOCKS_DIFFER_US, lasted // _CLOCKS_DRIFT)
    if until < since + lasted - slack:
        return since + lasted
    if bound is not None and until > round(bound * _US) + lasted + slack:
        return max(since, round(bound * _US) + lasted)
    return until


def end_capacity(connection: Connection, pool: str) -> None:
    """Note that a pool is no longer ours."""
    now = round(time.time() * _US)
    open_ones = [capacity.c.pool == pool, capacity.c.until.is_(None)]
    later = [*open_ones, capacity.c.since > now]
    connection.execute(update(capacity).where(*later).values(until=capacity.c.since))
    connection.execute(update(capacity).where(*open_ones).values(until=now))
    touch(connection, pool, now)


def _given(
    connection: Connection, where: Sequence[ColumnElement[bool]]
) -> Mapping[str, list[AllocationRow]]:
    columns = [allocations.c[name] for name in AllocationRow._fields]
    found: dict[str, list[AllocationRow]] = {}
    for pool, *row in connection.execute(select(allocations.c.pool, *columns).where(*where)):
        found.setdefault(str(pool), []).append(AllocationRow(*row))
    return found


def _beside(
    connection: Connection, pool: str, rows: Sequence[AllocationRow]
) -> Iterator[AllocationRow]:
    """Yield what was given of the same slots in the time of these rows."""
    since = min(row.since for row in rows)
    untils = [row.until for row in rows if row.until is not None]
    overlap = [or_(allocations.c.until.is_(None), allocations.c.until > since)]
    if len(untils) == len(rows):
        overlap.append(allocations.c.since < max(untils))
    slots = sorted({(row.node, row.slot) for row in rows})
    for first in range(0, len(slots), _AT_ONCE):
        some = slots[first : first + _AT_ONCE]
        same = tuple_(allocations.c.node, allocations.c.slot).in_(some)
        yield from _given(connection, [allocations.c.pool == pool, same, *overlap]).get(pool, ())


def _tagged(tags: Mapping[str, str]) -> Mapping[str, Any]:
    return {
        "project": tags.get("project"),
        "team": tags.get("team"),
        "cost_centre": tags.get("cost-centre"),
        "tags": dict(tags),
    }


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
) -> tuple[_Slots, _Slots]:
    """Return which slots are new, and which are gone."""
    gone = [each for each in known if each not in wanted and each[0] in nodes]
    return [each for each in wanted if each not in known], gone
