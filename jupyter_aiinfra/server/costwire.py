"""What crosses between server and browser of cost; see ``wire.py``.

Amounts are decimal numbers in text, of nine places at most: exact, which a number of JavaScript is
not. What is not known is ``null`` or an empty list, and never zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jupyter_aiinfra.widgets.costwire import (
    Amount,
    JobCostItem,
    PriceItem,
    amount,
    amounts,
    job_cost_item,
    price_item,
)

__all__ = [
    "Amount",
    "CatalogItem",
    "CostLine",
    "CostReport",
    "CostSummary",
    "JobCostItem",
    "PoolRate",
    "PriceItem",
    "PriceRequest",
    "TagRequest",
    "WhatIfItem",
    "WhatIfReport",
    "amount",
    "amounts",
    "job_cost_item",
    "price_item",
]


@dataclass(frozen=True, kw_only=True)
class PriceRequest:
    """What a pool costs from now on, or since an earlier time; as ``%pool price`` takes it."""

    price: str | None = None
    sku: str | None = None
    region: str | None = None
    spot: bool = False
    currency: str | None = None
    since: float | None = None


@dataclass(frozen=True, kw_only=True)
class CostLine:
    """What one thing came to; ``unallocated`` is what nobody was given. See :class:`JobCostItem`.

    ``key`` is ``null`` for jobs that have no such thing; of a day it is its date (UTC), and a day
    has a line of what jobs were given and one of what nobody was.
    """

    key: str | None
    name: str | None
    unallocated: bool
    allocated_seconds: float
    used_seconds: float
    idle_seconds: float
    node_seconds: float
    unpriced_seconds: float
    cost: tuple[Amount, ...]
    used_cost: tuple[Amount, ...]
    idle_cost: tuple[Amount, ...]


@dataclass(frozen=True, kw_only=True)
class CostReport:
    """What a time has cost, from a full hour to a full hour."""

    start: float
    end: float
    by: str
    lines: tuple[CostLine, ...]
    total: CostLine


@dataclass(frozen=True, kw_only=True)
class PoolRate:
    """What the jobs on a pool cost an hour now."""

    pool: str
    hourly: tuple[Amount, ...]
    jobs: int


@dataclass(frozen=True, kw_only=True)
class CostSummary:
    """What is spent now: ``hourly`` by all jobs that hold anything, ``today`` and this ``month``.

    ``unpriced_jobs`` hold something that has no price. Days are those of the server's time zone.
    """

    at: float
    hourly: tuple[Amount, ...]
    today: tuple[Amount, ...]
    month: tuple[Amount, ...]
    pools: tuple[PoolRate, ...]
    unpriced_jobs: int


@dataclass(frozen=True, kw_only=True)
class WhatIfItem:
    """What another shape would come to; ``measured`` is the job as it is."""

    pool: str
    ranks: int
    nodes: int
    gpu: str | None
    spot: bool
    bf16: bool
    measured: bool
    hourly: Amount | None
    step_seconds: float | None
    seconds: float | None
    cost: Amount | None
    assumes: tuple[str, ...]
    problem: str


@dataclass(frozen=True, kw_only=True)
class WhatIfReport:
    """Other shapes of a job, of its measured steps; ``notes`` say what is missing."""

    job: str
    steps: int
    step_seconds: float
    overhead_seconds: float
    options: tuple[WhatIfItem, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class CatalogItem:
    """A known price of a sku, on demand or spot: of a GPU of it, and of the whole machine."""

    sku: str
    gpu: str
    gpus: int
    region: str
    spot: bool
    price: Amount
    unit: str
    machine: Amount
    source: str
    as_of: str
    age_days: int | None
    old: bool
    confidence: str


@dataclass(frozen=True, kw_only=True)
class TagRequest:
    """The tags of a job, all of them: who pays for it."""

    tags: Mapping[str, str] = field(default_factory=dict)
