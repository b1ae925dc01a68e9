"""What usage comes to in money: lines of a bill, and what jobs have cost; pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from jupyter_aiinfra.cost.catalog import Terms, terms_from_wire
from jupyter_aiinfra.cost.meter import (
    HOUR_US,
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
from jupyter_aiinfra.store.charging import ChargedJob, PriceRow
from jupyter_aiinfra.store.usage import DIMENSIONS, Dimension, PoolFacts, SumRow

__all__ = [
    "Bill",
    "JobCost",
    "Line",
    "PoolPrice",
    "Scope",
    "facts_of",
    "is_in",
    "job_costs_of",
    "line_of",
    "pool_price",
    "rank_of",
    "rate_of",
]


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
        Empty where no price is known; the latter two also where nobody measured.
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

    @staticmethod
    def none(job: str, *, at: float) -> JobCost:
        """Return what a job has cost that was given nothing, as far as anybody knows."""
        return JobCost(
            job=job,
            at=at,
            cost=(),
            rate=None,
            allocated_seconds=0.0,
            node_seconds=0.0,
            unpriced_seconds=0.0,
            used_seconds=0.0,
            idle_seconds=0.0,
            terms=None,
        )

    @property
    def known(self) -> bool:
        """Whether all of what it had has a price."""
        return bool(self.cost) and not self.unpriced_seconds


def is_in(job: ChargedJob, where: Mapping[str, str]) -> bool:
    """Return whether a job is one of those that are narrowed down to."""
    return all(getattr(job, name) == value for name, value in where.items())


def facts_of(found: PoolFacts) -> Facts:
    """Return what is on record as the meter wants it."""
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


def rate_of(row: PriceRow) -> Rate | None:
    """Return what an hour costs by a price, where it is known."""
    if row.rate is None or row.currency is None or row.unit is None:
        return None
    return Rate(money(Fraction(row.rate), row.currency), Unit(row.unit))


def pool_price(row: PriceRow) -> PoolPrice:
    """Return a price as it is on record."""
    return PoolPrice(
        id=row.id,
        pool=row.pool,
        since=row.since / SECOND_US,
        rate=rate_of(row),
        terms=terms_from_wire(row.terms),
    )


def line_of(
    key: str | None, rows: Sequence[SumRow], rates: Mapping[int, Rate], *, unallocated: bool = False
) -> Line:
    """Return what rows come to together."""
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
        # Where nobody measured, a currency has no idle part, and not one of 0.
        known = amounts if row.used + row.idle else amounts[:1]
        for number, amount in enumerate(known):
            sums[number][row.price, row.parts] += amount
    measured = on_gpus[1] + on_gpus[2] > 0
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
        used_cost=used if measured else (),
        idle_cost=idle if measured else (),
        unpriced_seconds=unpriced / SECOND_US,
    )


def rank_of(line: Line) -> tuple[Fraction, float, str]:
    """Return what lines are sorted by: those first that cost most."""
    most = max((each.amount for each in line.cost), default=Fraction(0))
    return -most, -line.allocated_seconds - line.node_seconds, line.key or ""


def job_costs_of(
    wanted: Collection[str],
    facts: Facts,
    prices: Mapping[int, PoolPrice],
    *,
    window: tuple[int, int],
    settled: Mapping[str, Sequence[int]],
) -> dict[str, JobCost]:
    """Return what jobs of one pool have cost."""
    start, end = window
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
