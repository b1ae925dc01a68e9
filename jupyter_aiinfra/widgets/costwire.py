"""What a job has cost as it crosses to a page, from a kernel as from the server.

Amounts are decimal numbers in text, of nine places at most: exact, which a number of JavaScript is
not. What is not known is ``null`` or an empty list, and never zero.
"""

from __future__ import annotations

from dataclasses import dataclass

from jupyter_aiinfra.cost.bill import PoolPrice
from jupyter_aiinfra.cost.catalog import OLD_DAYS, Terms, price_age
from jupyter_aiinfra.cost.money import Money
from jupyter_aiinfra.engine.costing import CostNow

__all__ = [
    "Amount",
    "JobCostItem",
    "PriceItem",
    "amount",
    "amounts",
    "job_cost_item",
    "price_item",
]


@dataclass(frozen=True, kw_only=True)
class Amount:
    """An amount of money; ``text`` is how to show it."""

    amount: str
    currency: str
    text: str


@dataclass(frozen=True, kw_only=True)
class PriceItem:
    """What an hour of ``unit`` (``gpu-hour``, ``node-hour``) costs on a pool, and who says so.

    ``age_days`` is counted from ``as_of``; ``old`` where that is long ago. ``text`` says all of it.
    """

    price: Amount | None
    unit: str
    text: str
    since: float | None
    sku: str | None = None
    region: str | None = None
    spot: bool = False
    source: str = ""
    as_of: str | None = None
    age_days: int | None = None
    old: bool = False
    confidence: str | None = None


@dataclass(frozen=True, kw_only=True)
class JobCostItem:
    """What a job has cost up to ``at``; while it runs add ``hourly`` for the time since then.

    Parameters
    ----------
    cost
        So far, one a currency; empty where it is not known, and ``reason`` says why.
    hourly
        What it holds now; ``null`` once it is over.
    step_cost
        Of a step, where it reports them.
    projected, finish_at
        In all, and when it will be done, where it has said how many steps there will be.
    allocated_seconds, used_seconds, idle_seconds
        Of GPUs; of the rest it is not known. ``node_seconds`` are of nodes without GPUs.
    unpriced_seconds
        What of it has no price, and is in no amount.
    """

    job: str
    at: float
    cost: tuple[Amount, ...]
    hourly: Amount | None
    step_cost: Amount | None
    projected: Amount | None
    finish_at: float | None
    allocated_seconds: float
    used_seconds: float
    idle_seconds: float
    node_seconds: float
    unpriced_seconds: float
    price: PriceItem | None
    reason: str = ""


def amount(value: Money | None) -> Amount | None:
    """Return an amount as it crosses; the unknown stays unknown."""
    if value is None:
        return None
    return Amount(amount=value.wire, currency=value.currency, text=value.text)


def amounts(values: tuple[Money, ...]) -> tuple[Amount, ...]:
    """Return amounts, one a currency."""
    return tuple(
        Amount(amount=each.wire, currency=each.currency, text=each.text) for each in values
    )


def price_item(price: PoolPrice | None) -> PriceItem | None:
    """Return what a pool costs; ``None`` where nobody has said."""
    return None if price is None else _terms_item(price.terms, price.since)


def _terms_item(terms: Terms, since: float | None) -> PriceItem:
    age = price_age(terms.as_of)
    rate = terms.rate
    return PriceItem(
        price=None if rate is None else amount(rate.money),
        unit=terms.unit,
        text=terms.text(),
        since=since,
        sku=terms.sku,
        region=terms.region,
        spot=terms.spot,
        source=terms.source,
        as_of=terms.as_of,
        age_days=age,
        old=age is not None and age > OLD_DAYS and terms.confidence != "owner",
        confidence=terms.confidence,
    )


def job_cost_item(now: CostNow) -> JobCostItem:
    """Return what a job has cost as it crosses."""
    cost, rest = now.cost, now.projection
    return JobCostItem(
        job=cost.job,
        at=cost.at,
        cost=amounts(cost.cost),
        hourly=amount(cost.rate),
        step_cost=amount(rest.step_cost),
        projected=amount(rest.total),
        finish_at=rest.finish_at,
        allocated_seconds=cost.allocated_seconds,
        used_seconds=cost.used_seconds,
        idle_seconds=cost.idle_seconds,
        node_seconds=cost.node_seconds,
        unpriced_seconds=cost.unpriced_seconds,
        price=None if cost.terms is None else _terms_item(cost.terms, None),
        reason=now.reason,
    )
