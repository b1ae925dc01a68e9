"""Usage under the names of FOCUS (the FinOps open cost and usage specification), as CSV or Parquet.

A row is what one job, or nobody, had of a node in an hour. Amounts are decimal numbers of nine
places; columns of ours begin with ``x_``, as the specification wants it.
"""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Protocol

from jupyter_aiinfra.cost.bill import PoolPrice
from jupyter_aiinfra.cost.meter import HOUR, NOBODY, SECOND_US, cost_of
from jupyter_aiinfra.cost.money import Unit
from jupyter_aiinfra.errors import MissingExtra, UsageError
from jupyter_aiinfra.store.charging import ChargedJob
from jupyter_aiinfra.store.usage import UsageRow

__all__ = ["COLUMNS", "Usages", "focus_rows", "format_of", "write_csv", "write_parquet"]

_PLACES: Final = 9
_AT_ONCE: Final = 10_000
_UNITS: Final[Mapping[Unit, str]] = {Unit.GPU: "GPU-Hours", Unit.NODE: "Node-Hours"}

COLUMNS: Final = (
    "BillingAccountId",
    "BillingPeriodStart",
    "BillingPeriodEnd",
    "ChargePeriodStart",
    "ChargePeriodEnd",
    "ChargeCategory",
    "ChargeDescription",
    "ProviderName",
    "PublisherName",
    "InvoiceIssuerName",
    "ServiceCategory",
    "ServiceName",
    "SkuId",
    "RegionId",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "PricingCategory",
    "PricingUnit",
    "PricingQuantity",
    "ConsumedUnit",
    "ConsumedQuantity",
    "ListUnitPrice",
    "ContractedUnitPrice",
    "ListCost",
    "ContractedCost",
    "BilledCost",
    "EffectiveCost",
    "BillingCurrency",
    "Tags",
    "x_Pool",
    "x_Job",
    "x_JobName",
    "x_User",
    "x_Notebook",
    "x_Project",
    "x_Team",
    "x_CostCentre",
    "x_UsedQuantity",
    "x_IdleQuantity",
    "x_UsedCost",
    "x_IdleCost",
    "x_PriceSource",
    "x_PriceAsOf",
    "x_PriceConfidence",
)


class Usages(Protocol):
    """What this needs of the store."""

    def usage_rows(
        self, *, start: int, end: int, after: tuple[Any, ...] | None = None, limit: int = _AT_ONCE
    ) -> Iterable[tuple[str, UsageRow]]:
        """Return rows in the order of their keys, after one of them."""
        ...

    def charged_jobs(self, ids: Collection[str] | None = None) -> Iterable[ChargedJob]:
        """Return who pays for jobs."""
        ...


def focus_rows(
    store: Usages, prices: Mapping[int, PoolPrice], *, start: int, end: int
) -> Iterator[dict[str, Any]]:
    """Yield a row for each usage between two hours; amounts are :class:`Decimal`, times datetimes.

    Where no price is known, amounts are ``None``: an unknown cost is not a cost of zero.
    """
    after: tuple[Any, ...] | None = None
    while True:
        rows = list(store.usage_rows(start=start, end=end, after=after, limit=_AT_ONCE))
        if not rows:
            return
        wanted = {row.job for _, row in rows if row.job != NOBODY}
        jobs = {each.job: each for each in store.charged_jobs(wanted)}
        for pool, row in rows:
            yield _focus_row(pool, row, prices.get(row.price), jobs.get(row.job))
        pool, last = rows[-1]
        after = (last.start, pool, last.node, last.job, last.price, last.parts)


def _focus_row(
    pool: str, row: UsageRow, price: PoolPrice | None, job: ChargedJob | None
) -> dict[str, Any]:
    start = dt.datetime.fromtimestamp(row.start, dt.timezone.utc)
    month = start.replace(day=1, hour=0)
    following = (month + dt.timedelta(days=32)).replace(day=1)
    idle = row.job == NOBODY
    provider, sku, region, spot = pool, None, None, False
    if price is not None:
        terms = price.terms
        named, colon, _ = (terms.sku or "").partition(":")
        provider = named if colon else pool
        sku, region, spot = terms.sku, terms.region, terms.spot
    what = "time of a job" if not idle else "time that no job was given"
    kind = "GPU" if row.parts else "Node"
    values: dict[str, Any] = {
        "BillingAccountId": "jupyter-aiinfra",
        "BillingPeriodStart": month,
        "BillingPeriodEnd": following,
        "ChargePeriodStart": start,
        "ChargePeriodEnd": start + dt.timedelta(seconds=HOUR),
        "ChargeCategory": "Usage",
        "ChargeDescription": f"{kind} {what} on {row.node}",
        "ProviderName": provider,
        "PublisherName": provider,
        "InvoiceIssuerName": provider,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": pool,
        "SkuId": sku,
        "RegionId": region,
        "ResourceId": f"{pool}/{row.node}",
        "ResourceName": row.node,
        "ResourceType": kind,
        "PricingCategory": "Dynamic" if spot else "Standard",
        "Tags": dict(job.tags) if job else {},
        "x_Pool": pool,
        "x_Job": None if idle else row.job,
        "x_JobName": job.name if job else None,
        "x_User": job.user if job else None,
        "x_Notebook": job.notebook if job else None,
        "x_Project": job.project if job else None,
        "x_Team": job.team if job else None,
        "x_CostCentre": job.cost_centre if job else None,
    }
    values |= _amounts(row, price)
    return {name: values.get(name) for name in COLUMNS}


def _amounts(row: UsageRow, price: PoolPrice | None) -> dict[str, Any]:
    unit = "GPU-Hours" if row.parts else "Node-Hours"
    found: dict[str, Any] = {
        "ConsumedUnit": unit,
        "ConsumedQuantity": _hours(row.allocated),
        "x_UsedQuantity": _hours(row.used),
        "x_IdleQuantity": _hours(row.idle),
    }
    if price is None or price.rate is None:
        return found
    money = price.rate.money
    cost, used, idle = (
        cost_of(money, amount, row.parts).rounded(_PLACES)
        for amount in (row.allocated, row.used, row.idle)
    )
    terms = price.terms
    return {
        **found,
        "PricingUnit": _UNITS[price.rate.unit],
        "PricingQuantity": _hours(row.allocated, max(row.parts, 1)),
        "ListUnitPrice": money.rounded(_PLACES),
        "ContractedUnitPrice": money.rounded(_PLACES),
        "ListCost": cost,
        "ContractedCost": cost,
        "BilledCost": cost,
        "EffectiveCost": cost,
        "BillingCurrency": money.currency,
        "x_UsedCost": used,
        "x_IdleCost": idle,
        "x_PriceSource": terms.source or None,
        "x_PriceAsOf": terms.as_of,
        "x_PriceConfidence": terms.confidence,
    }


def _hours(amount: int, parts: int = 1) -> Decimal:
    return (Decimal(amount) / (SECOND_US * HOUR * parts)).quantize(Decimal(1).scaleb(-_PLACES))


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows as CSV, times in UTC; return how many. What is not known is empty."""
    count = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in rows:
            writer.writerow([_text(row[name]) for name in COLUMNS])
            count += 1
    return count


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dt.datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, dict):
        import json  # noqa: PLC0415 - tags only

        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def write_parquet(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows as Parquet, amounts as decimal numbers; return how many.

    Raises
    ------
    MissingExtra
        Pyarrow is not installed.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - only this needs it, and nothing installs it for us
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtra("pyarrow", "parquet") from error
    schema = pa.schema([(name, _arrow_type(pa, name)) for name in COLUMNS])
    count = 0
    with pq.ParquetWriter(path, schema) as writer:
        batch: list[dict[str, Any]] = []
        for row in rows:
            batch.append({**row, "Tags": list(row["Tags"].items())})
            if len(batch) == _AT_ONCE:
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))
                count, batch = count + len(batch), []
        writer.write_table(pa.Table.from_pylist(batch, schema=schema))
    return count + len(batch)


def _arrow_type(pa: Any, name: str) -> Any:
    if name.endswith(("Start", "End")):
        return pa.timestamp("us", tz="UTC")
    if name.endswith(("Cost", "Quantity", "UnitPrice")):
        return pa.decimal128(28, _PLACES)
    return pa.map_(pa.string(), pa.string()) if name == "Tags" else pa.string()


def format_of(path: Path, asked: str | None) -> str:
    """Return ``csv`` or ``parquet``, as asked for or as the name of the file says.

    Raises
    ------
    UsageError
        It is neither.
    """
    found = asked or path.suffix.lstrip(".").lower()
    if found not in ("csv", "parquet"):
        raise UsageError(
            f"{path.name}: usage is written as csv or parquet",
            hint="give the file such an ending, or say --format csv",
        )
    return found
