"""The ledger: keeps usage up to date in the store, and answers what it came to.

Nothing has to run for it: usage is computed of recorded facts, at any later time, by any process.
Two that do so at once do the same work, and one of them writes it down. An hour is computed again
while it lasts, a few minutes more (readings come late), and whenever a fact of it turns out to have
been another: a job that had ended while its node could not be reached.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from jupyter_aiinfra.cost.catalog import Terms, terms_from_wire
from jupyter_aiinfra.cost.load import read_load
from jupyter_aiinfra.cost.meter import (
    HOUR,
    HOUR_US,
    NOBODY,
    SECOND_US,
    Allocation,
    Capacity,
    Facts,
    PriceSince,
    Usage,
    cost_of,
    meter,
)
from jupyter_aiinfra.cost.money import Money, Rate, Unit, money, total
from jupyter_aiinfra.errors import JobNotFound, UsageError
from jupyter_aiinfra.store import Store
from jupyter_aiinfra.store.charging import (
    DIMENSIONS,
    ChargedJob,
    Dimension,
    MeterRow,
    PoolFacts,
    PriceRow,
    SumRow,
    UsageRow,
)

__all__ = ["SETTLE_SECONDS", "Bill", "JobCost", "Ledger", "Line", "PoolPrice", "Scope"]

SETTLE_SECONDS: Final = 60.0
"""How old what is settled may be, for who only looks at jobs."""

_LATE_SECONDS: Final = 300
_HOURS_AT_ONCE: Final = 24
_TRIES: Final = 5


@dataclass(frozen=True, kw_only=True)
class PoolPrice:
    """What a pool costs since ``since`` (seconds); ``rate`` ``None`` is unknown, and never zero."""

    id: int
    pool: str
    since: float
    rate: Rate | None
    terms: Terms


@dataclass(frozen=True, kw_only=True)
class Line:
    """What one thing came to: GPU time in seconds, and money, one amount a currency.

    Parameters
    ----------
    key
        What of; ``None`` are jobs that have no such thing, a project for example.
    unallocated
        Whether it is what pools had and nobody was given.
    allocated_seconds, used_seconds, idle_seconds
        Of GPUs. Of what is neither used nor idle it is not known.
    node_seconds
        Of nodes without GPUs.
    cost, used_cost, idle_cost
        Empty where no price is known.
    unpriced_seconds
        How much of all the time has no price, and is in none of the amounts.
    """

    key: str | None
    unallocated: bool
    allocated_seconds: float
    used_seconds: float
    idle_seconds: float
    node_seconds: float
    cost: tuple[Money, ...]
    used_cost: tuple[Money, ...]
    idle_cost: tuple[Money, ...]
    unpriced_seconds: float


@dataclass(frozen=True, kw_only=True)
class Bill:
    """Lines, and all of them together, between two times in seconds since the epoch."""

    start: float
    end: float
    by: Dimension
    lines: tuple[Line, ...]
    total: Line


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Whose cost is meant: a job's, a pool's, a user's, …; all ``None`` is everybody's."""

    job: str | None = None
    notebook: str | None = None
    user: str | None = None
    pool: str | None = None
    project: str | None = None
    team: str | None = None
    cost_centre: str | None = None

    @property
    def where(self) -> Mapping[str, str]:
        """The columns that it narrows, and to what."""
        given = {name: getattr(self, name) for name in DIMENSIONS if name != "day"}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class JobCost:
    """What a job has cost up to ``at``, and costs an hour now; exact, and not rounded to an hour.

    Parameters
    ----------
    cost
        One amount a currency; empty where no price is known.
    rate
        An hour of all that it holds now; ``None`` where it holds nothing, or a price is unknown.
    allocated_seconds, node_seconds
        Of GPUs, and of nodes without any.
    unpriced_seconds
        What of these has no price.
    used_seconds, idle_seconds
        Of GPUs, as far as settled.
    """

    job: str
    at: float
    cost: tuple[Money, ...]
    rate: Money | None
    allocated_seconds: float
    node_seconds: float
    unpriced_seconds: float
    used_seconds: float
    idle_seconds: float
    terms: Terms | None

    @property
    def known(self) -> bool:
        """Whether all of what it had has a price."""
        return bool(self.cost) and not self.unpriced_seconds


class Ledger:
    """The usage of one store; for any thread and any number of processes.

    Parameters
    ----------
    wall
        Seconds since the epoch.
    """

    def __init__(self, store: Store, *, wall: Callable[[], float] = time.time) -> None:
        self.store = store
        self._wall = wall

    # --- keeping it ----------------------------------------------------------------------------

    def settle(self, *, older_than: float = 0.0, now: float | None = None) -> int:
        """Bring the usage of all pools up to date; return how many were.

        Parameters
        ----------
        older_than
            Leave alone what was settled in the last so many seconds and has no news.
        """
        now = self._wall() if now is None else now
        done = 0
        for each in self.store.meters(due=True):
            fresh = 0 <= now - each.looked_at < older_than and each.dirty is None
            if not fresh:
                done += self._settle_pool(each, now)
        return done

    def _settle_pool(self, found: MeterRow, now: float) -> bool:
        """Settle one pool, a day at a time; others may do the same at once."""
        end = int(now) // HOUR * HOUR + HOUR
        sure = (int(now) - _LATE_SECONDS) // HOUR * HOUR
        failures = 0
        while failures < _TRIES:
            start = found.settled if found.dirty is None else min(found.settled, found.dirty)
            if start >= end:
                # Our clock is behind that of who settled this: it is further than we can see.
                return False
            upto = min(end, start + _HOURS_AT_ONCE * HOUR)
            done = self._settle_hours(found, start, upto, now, sure)
            if done and upto == end:
                return True
            failures += not done
            again = [each for each in self.store.meters() if each.pool == found.pool]
            if not again:
                return False
            found = again[0]
            if not done and found.looked_at >= now and found.dirty is None:
                return True  # somebody else has done it meanwhile
        return False

    def _settle_hours(self, found: MeterRow, start: int, upto: int, now: float, sure: int) -> bool:
        at = min(upto * SECOND_US, round(now * SECOND_US))
        facts = self.store.facts(found.pool, start=start * SECOND_US, end=at)
        if facts is None or facts.meter.version != found.version:
            return False
        rows = self._metered(facts, start * SECOND_US, at)
        # What was settled is gone over again up to its end, if its facts have changed.
        dirty = upto if found.dirty is not None and upto < found.settled else None
        settled = max(found.settled, min(upto, sure))
        return self.store.settle(
            found.pool,
            expected=found.version,
            start=start,
            end=upto,
            settled=settled,
            rows=rows,
            at=now if upto > now else found.looked_at,
            dirty=dirty,
        )

    def _metered(self, facts: PoolFacts, start: int, end: int) -> list[UsageRow]:
        load = read_load(
            self.store,
            pool=facts.meter.pool,
            start=start // SECOND_US,
            end=-(-end // SECOND_US),
            now=self._wall(),
        )
        found = meter(replace(_facts(facts), load=load), start=start, end=end)
        return [UsageRow(*row) for row in found]

    # --- prices --------------------------------------------------------------------------------

    def price(self, pool: str, *, at: float | None = None) -> PoolPrice | None:
        """Return what a pool costs now, or did; ``None`` where nobody has ever said."""
        moment = (self._wall() if at is None else at) * SECOND_US
        held = [row for row in self.store.prices(pool=pool) if row.since <= moment]
        return _pool_price(held[-1]) if held else None

    def set_price(self, pool: str, terms: Terms, *, since: float | None = None) -> PoolPrice:
        """Say what a pool costs from now on, or from an earlier moment; see :class:`Terms`."""
        at = self._wall() if since is None else since
        rate = terms.rate
        number = self.store.set_price(
            pool,
            since=at,
            rate=None if rate is None else rate.money.wire_exact,
            currency=None if rate is None else rate.money.currency,
            unit=None if rate is None else rate.unit.value,
            terms=terms.wire,
        )
        return PoolPrice(id=number, pool=pool, since=at, rate=rate, terms=terms)

    # --- asking it -----------------------------------------------------------------------------

    def bill(
        self,
        *,
        start: float,
        end: float,
        by: Dimension = "job",
        scope: Scope | None = None,
        unallocated: bool = True,
    ) -> Bill:
        """Return what was used between two times, by one thing; from full hours to full hours.

        As far as settled: call :meth:`settle` first.
        """
        first, last = int(start) // HOUR * HOUR, -(-int(end) // HOUR) * HOUR
        if last <= first:
            raise UsageError(
                f"nothing lies between {start!r} and {end!r}", hint="give the earlier time first"
            )
        where = (scope or Scope()).where
        rows = self.store.sums(start=first, end=last, by=by, where=where)
        if not unallocated or any(name not in ("pool",) for name in where):
            rows = [row for row in rows if row.is_job]
        rates = self._rates()
        groups: defaultdict[tuple[str | None, bool], list[SumRow]] = defaultdict(list)
        for row in rows:
            groups[row.key, not row.is_job and by != "day"].append(row)
        lines = [_line(key, idle, some, rates) for (key, idle), some in groups.items()]
        lines.sort(key=lambda line: (line.unallocated, *_rank(line)))
        return Bill(
            start=first,
            end=last,
            by=by,
            lines=tuple(lines),
            total=_line(None, False, rows, rates),  # noqa: FBT003
        )

    def spend(
        self, scope: Scope, *, start: float = 0.0, end: float | None = None
    ) -> tuple[Money, ...]:
        """Return what jobs in a scope have cost since a time, one amount a currency.

        Up to now, whatever is settled: what runs is added by the second. `start` is taken as the
        full hour that it is in. What has no price is in it with nothing.
        """
        now = self._wall()
        if end is None and set(scope.where) == {"job"} and not start:
            return self.job_cost(str(scope.job), now=now).cost
        upto = now if end is None else end
        done = self.bill(start=start, end=max(upto, start + 1), scope=scope, unallocated=False)
        late = self._since_settled(scope, start, now) if end is None else ()
        return total([*done.total.cost, *late])

    def _since_settled(self, scope: Scope, start: float, now: float) -> Iterator[Money]:
        """Yield what came since pools were last settled, of jobs in a scope."""
        where = scope.where
        for found in self.store.meters(due=True):
            since = max(found.looked_at or found.settled, start)
            if since >= now or where.get("pool", found.pool) != found.pool:
                continue
            first, last = round(since * SECOND_US), round(now * SECOND_US)
            facts = self.store.facts(found.pool, start=first, end=last)
            if facts is None:
                continue
            rows = meter(_facts(facts), start=first, end=last, by_hour=False)
            jobs = {row.job for row in rows if row.job != NOBODY}
            mine = {each.job for each in self.store.charged_jobs(jobs) if _is_in(each, where)}
            rates = {row.id: _rate(row) for row in facts.prices}
            for row in rows:
                rate = rates.get(row.price)
                if row.job in mine and rate is not None:
                    yield cost_of(rate.money, row.allocated, row.parts)

    def job_costs(
        self, job_ids: Collection[str], *, now: float | None = None
    ) -> Mapping[str, JobCost]:
        """Return what each of these jobs has cost up to now; of one that had nothing, nothing.

        Computed of the facts themselves, so that it is exact to the second whatever is settled.
        """
        now = self._wall() if now is None else now
        end = round(now * SECOND_US)
        settled: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
        for job, _price, _allocated, used, idle in self.store.job_usage(job_ids):
            settled[job][0] += used
            settled[job][1] += idle
        found: dict[str, JobCost] = {}
        wanted = set(job_ids)
        for pool, rows in self.store.allocations_beside(job_ids).items():
            given = [Allocation(**row._asdict()) for row in rows]
            start = min(each.since for each in given)
            facts = self.store.facts(pool, start=start, end=end)
            if facts is None or start >= end:
                continue
            prices = {row.id: _pool_price(row) for row in facts.prices}
            mine = {(each.node, each.slot) for each in given}
            # What else the node has decides how a node's price is shared.
            nodes = {node for node, _slot in mine}
            had = [each for each in _facts(facts).capacity if each.node in nodes]
            known = replace(_facts(facts), capacity=had, allocations=given)
            found |= _job_costs(wanted, known, prices, start, end, settled)
        return found

    def job_cost(self, job_id: str, *, now: float | None = None) -> JobCost:
        """Return what a job has cost up to now; see :meth:`job_costs`."""
        none = JobCost(
            job=job_id,
            at=self._wall() if now is None else now,
            cost=(),
            rate=None,
            allocated_seconds=0.0,
            node_seconds=0.0,
            unpriced_seconds=0.0,
            used_seconds=0.0,
            idle_seconds=0.0,
            terms=None,
        )
        return self.job_costs([job_id], now=now).get(job_id, none)

    def charged(self, job_id: str) -> ChargedJob:
        """Return who pays for a job, also when its record is gone."""
        found = self.store.charged_jobs([job_id])
        if not found:
            raise JobNotFound(job_id)
        return found[0]

    def _rates(self) -> Mapping[int, Rate]:
        rates = {row.id: _rate(row) for row in self.store.prices()}
        return {number: rate for number, rate in rates.items() if rate is not None}


def _is_in(job: ChargedJob, where: Mapping[str, str]) -> bool:
    return all(getattr(job, name) == value for name, value in where.items())


def _facts(found: PoolFacts) -> Facts:
    return Facts(
        capacity=[
            Capacity(node=row.node, slot=row.slot, since=row.since, until=row.until)
            for row in found.capacity
        ],
        allocations=[Allocation(**row._asdict()) for row in found.allocations],
        prices=[
            PriceSince(id=row.id, since=row.since, unit=Unit(row.unit) if row.unit else None)
            for row in found.prices
        ],
    )


def _rate(row: PriceRow) -> Rate | None:
    if row.rate is None or row.currency is None or row.unit is None:
        return None
    return Rate(money(Fraction(row.rate), row.currency), Unit(row.unit))


def _pool_price(row: PriceRow) -> PoolPrice:
    return PoolPrice(
        id=row.id,
        pool=row.pool,
        since=row.since / SECOND_US,
        rate=_rate(row),
        terms=terms_from_wire(row.terms),
    )


def _line(
    key: str | None,
    unallocated: bool,
    rows: Sequence[SumRow],
    rates: Mapping[int, Rate],
) -> Line:
    sums: list[dict[tuple[int, int], int]] = [defaultdict(int) for _ in range(3)]
    on_gpus, on_nodes, unpriced = [0, 0, 0], 0, 0
    for row in rows:
        amounts = (row.allocated, row.used, row.idle)
        if row.parts:
            on_gpus = [one + other for one, other in zip(on_gpus, amounts, strict=True)]
        else:
            on_nodes += row.allocated
        if row.price not in rates:
            unpriced += row.allocated
            continue
        for number, amount in enumerate(amounts):
            sums[number][row.price, row.parts] += amount
    cost, used, idle = (
        total(cost_of(rates[price].money, amount, parts) for (price, parts), amount in each.items())
        for each in sums
    )
    return Line(
        key=key,
        unallocated=unallocated,
        allocated_seconds=on_gpus[0] / SECOND_US,
        used_seconds=on_gpus[1] / SECOND_US,
        idle_seconds=on_gpus[2] / SECOND_US,
        node_seconds=on_nodes / SECOND_US,
        cost=cost,
        used_cost=used,
        idle_cost=idle,
        unpriced_seconds=unpriced / SECOND_US,
    )


def _rank(line: Line) -> tuple[Fraction, float, str]:
    most = max((each.amount for each in line.cost), default=Fraction(0))
    return -most, -line.allocated_seconds - line.node_seconds, line.key or ""


def _job_costs(
    wanted: Collection[str],
    facts: Facts,
    prices: Mapping[int, PoolPrice],
    start: int,
    end: int,
    settled: Mapping[str, Sequence[int]],
) -> dict[str, JobCost]:
    """Return what jobs of one pool have cost."""
    rates = {number: price.rate for number, price in prices.items() if price.rate is not None}
    given = {each.job for each in facts.allocations} & set(wanted)
    rows = _by_job(meter(facts, start=start, end=end, by_hour=False))
    # An hour of what is held now is what it costs an hour.
    held = [
        replace(each, until=None)
        for each in facts.allocations
        if each.since <= end and (each.until is None or each.until > end)
    ]
    hour = meter(replace(facts, allocations=held), start=end, end=end + HOUR_US, by_hour=False)
    coming = _by_job(hour)
    newest = max(prices.values(), key=lambda price: (price.since, price.id), default=None)
    found = {}
    for job in given:
        mine = rows.get(job, [])
        unpriced = sum(row.allocated for row in mine if row.price not in rates)
        used, idle = settled.get(job, (0, 0))
        found[job] = JobCost(
            job=job,
            at=end / SECOND_US,
            cost=_sum(mine, rates),
            rate=_only(coming.get(job, []), rates),
            allocated_seconds=sum(row.allocated for row in mine if row.parts) / SECOND_US,
            node_seconds=sum(row.allocated for row in mine if not row.parts) / SECOND_US,
            unpriced_seconds=unpriced / SECOND_US,
            used_seconds=used / SECOND_US,
            idle_seconds=idle / SECOND_US,
            terms=None if newest is None else newest.terms,
        )
    return found


def _by_job(rows: Sequence[Usage]) -> Mapping[str, list[Usage]]:
    found: defaultdict[str, list[Usage]] = defaultdict(list)
    for row in rows:
        found[row.job].append(row)
    return found


def _sum(rows: Sequence[Usage], rates: Mapping[int, Rate]) -> tuple[Money, ...]:
    return total(
        cost_of(rates[row.price].money, row.allocated, row.parts)
        for row in rows
        if row.price in rates
    )


def _only(rows: Sequence[Usage], rates: Mapping[int, Rate]) -> Money | None:
    """Return what an hour costs, where all of it is known; nothing where nothing is held."""
    if any(row.price not in rates for row in rows):
        return None
    sums = _sum(rows, rates)
    return sums[0] if len(sums) == 1 else None
