"""``/aiinfra/cost``: what is spent, was spent and would be; prices; who pays for a job."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Final

from jupyter_server.auth.decorator import authorized
from tornado import web

from jupyter_aiinfra.commands.costshow import whatif_value
from jupyter_aiinfra.commands.periods import parse_period
from jupyter_aiinfra.commands.tags import parse_tag
from jupyter_aiinfra.cost.bill import Bill, Line, Scope, pool_price
from jupyter_aiinfra.cost.catalog import OLD_DAYS, CatalogRow, bundled, imported, price_age
from jupyter_aiinfra.cost.export import focus_rows, write_csv
from jupyter_aiinfra.cost.meter import HOUR
from jupyter_aiinfra.cost.money import Money, total
from jupyter_aiinfra.cost.terms import PriceOptions
from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.server.costwire import (
    CatalogItem,
    CostLine,
    CostReport,
    CostSummary,
    JobCostItem,
    PoolRate,
    PriceItem,
    PriceRequest,
    TagRequest,
    WhatIfItem,
    WhatIfReport,
    amount,
    amounts,
    job_cost_item,
    price_item,
)
from jupyter_aiinfra.server.handlers import AiInfraHandler
from jupyter_aiinfra.server.jobs import recorded_job
from jupyter_aiinfra.server.queries import integer, number, text
from jupyter_aiinfra.server.routes import Operation, Query, Route
from jupyter_aiinfra.store.charging import ChargedJob
from jupyter_aiinfra.store.usage import DIMENSIONS

__all__ = [
    "ROUTES",
    "CatalogHandler",
    "ExportHandler",
    "JobCostsHandler",
    "PoolPriceHandler",
    "ReportHandler",
    "SummaryHandler",
    "TagsHandler",
    "WhatIfHandler",
    "cost_report",
    "cost_summary",
]

_MOST_JOBS: Final = 500
_MOST_PRICES: Final = 1000
_SETTLED_SECONDS: Final = 15.0


def cost_report(bill: Bill, jobs: Mapping[str, ChargedJob]) -> CostReport:
    """Return a bill as it crosses."""
    return CostReport(
        start=bill.start,
        end=bill.end,
        by=bill.by,
        lines=tuple(_line(bill, line, jobs) for line in bill.lines),
        total=_line(bill, bill.total, {}),
    )


def _line(bill: Bill, line: Line, jobs: Mapping[str, ChargedJob]) -> CostLine:
    known = jobs.get(line.key or "")
    key = line.key
    if bill.by == "day" and key is not None:
        key = time.strftime("%Y-%m-%d", time.gmtime(int(key)))
    return CostLine(
        key=key,
        name=known.name if known else None,
        unallocated=line.unallocated,
        allocated_seconds=line.allocated_seconds,
        used_seconds=line.used_seconds,
        idle_seconds=line.idle_seconds,
        node_seconds=line.node_seconds,
        unpriced_seconds=line.unpriced_seconds,
        cost=amounts(line.cost),
        used_cost=amounts(line.used_cost),
        idle_cost=amounts(line.idle_cost),
    )


def cost_summary(engine: Engine) -> CostSummary:
    """Return what is spent now, today and this month, up to now."""
    jobs = engine.store.list_jobs(active=True)
    costs = engine.ledger.job_costs([job.id for job in jobs])
    by_pool: defaultdict[str, list[Money]] = defaultdict(list)
    counts: defaultdict[str, int] = defaultdict(int)
    unpriced = 0
    for job in jobs:
        cost = costs.get(job.id)
        if cost is None:
            continue
        counts[job.pool] += 1
        if cost.rate is not None:
            by_pool[job.pool].append(cost.rate)
        else:
            unpriced += 1
    today, month = (parse_period(name)[0] for name in ("today", "month"))
    everybody = Scope()
    return CostSummary(
        at=time.time(),
        hourly=amounts(total(rate for rates in by_pool.values() for rate in rates)),
        today=amounts(engine.ledger.spend(everybody, start=today)),
        month=amounts(engine.ledger.spend(everybody, start=month)),
        pools=tuple(
            PoolRate(pool=pool, hourly=amounts(total(by_pool[pool])), jobs=count)
            for pool, count in sorted(counts.items())
        ),
        unpriced_jobs=unpriced,
    )


class ReportHandler(AiInfraHandler):
    """What a time has cost."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Write it, by one thing."""
        start, end = _window(self)
        by = (text(self, "by") or "job").replace("-", "_")
        if by not in DIMENSIONS:
            raise UsageError(f"by={by!r}: expected {', '.join(DIMENSIONS)}")
        names = [each.name for each in fields(Scope)]
        scope = Scope(**{name: text(self, name) for name in names})

        async def report(engine: Engine) -> CostReport:
            await engine.settle(older_than=_SETTLED_SECONDS)
            bill = engine.ledger.bill(start=start, end=end, by=by, scope=scope, split_days=True)
            wanted = [line.key for line in bill.lines if line.key] if by == "job" else []
            jobs = {each.job: each for each in engine.store.charged_jobs(wanted)}
            return cost_report(bill, jobs)

        self.answer(await self.engine.run(report))


def _window(handler: AiInfraHandler) -> tuple[float, float]:
    """Return the time that is asked about: by its name, or from when to when; today without."""
    period = text(handler, "period")
    if period is not None:
        return parse_period(period)
    start, end = parse_period("today")
    start = number(handler, "start", default=start)
    return start, number(handler, "end", default=max(end, start + HOUR))


class SummaryHandler(AiInfraHandler):
    """What is spent now."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Write what an hour costs now, and what today and this month have."""
        self.answer(await self.engine.call(cost_summary))


class JobCostsHandler(AiInfraHandler):
    """What some jobs have cost."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Write it for each of them that is on record."""
        ids = [each for each in (text(self, "ids") or "").split(",") if each]
        if not 0 < len(ids) <= _MOST_JOBS:
            raise UsageError(f"ids: expected 1 to {_MOST_JOBS} ids of jobs, with commas between")

        def costs(engine: Engine) -> list[JobCostItem]:
            jobs = engine.store.jobs_by_id(ids)
            return [job_cost_item(now) for now in engine.costing.now(jobs).values()]

        self.answer(await self.engine.call(costs))


class WhatIfHandler(AiInfraHandler):
    """A job in other shapes."""

    @web.authenticated
    @authorized
    async def get(self, id: str) -> None:  # noqa: A002 - the parameter's name in the path
        """Write what each would come to."""

        async def report(engine: Engine) -> WhatIfReport:
            found = await engine.costing.what_if(recorded_job(engine, id))
            value = whatif_value(found)["options"]
            return WhatIfReport(
                job=found.job,
                steps=found.measured.steps,
                step_seconds=found.measured.step_seconds,
                overhead_seconds=found.measured.overhead_seconds,
                options=tuple(
                    WhatIfItem(
                        **{
                            **plain,
                            "assumes": option.assumes,
                            "hourly": amount(option.candidate.rate),
                            "cost": amount(option.cost),
                        }
                    )
                    for plain, option in zip(value, found.options, strict=True)
                ),
                notes=found.notes,
            )

        self.answer(await self.engine.run(report))


class TagsHandler(AiInfraHandler):
    """Who pays for a job."""

    @web.authenticated
    @authorized
    async def put(self, id: str) -> None:  # noqa: A002
        """Replace its tags, and write them."""
        asked = self.body(TagRequest)
        tags = dict(parse_tag("tag", f"{name}={value}") for name, value in asked.tags.items())

        def replace(engine: Engine) -> TagRequest:
            job = engine.ledger.charged(id)
            engine.store.tag_job(job.job, tags)
            return TagRequest(tags=tags)

        self.answer(await self.engine.call(replace))


class ExportHandler(AiInfraHandler):
    """Usage under the names of FOCUS."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Write it as CSV."""
        start, end = _window(self)
        await self.engine.run(lambda engine: engine.settle())
        engine = await self.engine.call(lambda engine: engine)
        with tempfile.TemporaryDirectory(prefix="aiinfra-") as folder:
            path = Path(folder) / "usage.csv"
            # On a thread of its own: a year of usage must hold up nobody.
            await asyncio.to_thread(_write, engine, path, start, end)
            self.set_header("Content-Type", "text/csv; charset=utf-8")
            self.set_header("Content-Disposition", 'attachment; filename="usage.csv"')
            with path.open("rb") as file:
                while part := file.read(1 << 20):
                    self.write(part)
                    await self.flush()
        self.finish(set_content_type="text/csv; charset=utf-8")


def _write(engine: Engine, path: Path, start: float, end: float) -> None:
    prices = {row.id: pool_price(row) for row in engine.store.prices()}
    first, last = int(start) // HOUR * HOUR, -(-int(end) // HOUR) * HOUR
    write_csv(path, focus_rows(engine.store, prices, start=first, end=last))


# --- prices ------------------------------------------------------------------------------------


class CatalogHandler(AiInfraHandler):
    """The prices that are known."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Write those that have a text in sku or GPU, the cheapest GPU-hour first."""
        needle = (text(self, "search") or "").lower()
        limit = integer(self, "limit", default=100, least=1, most=_MOST_PRICES)
        rows = await self.engine.call(
            lambda engine: [*imported(engine.store.catalog_rows()), *bundled()]
        )
        found = {
            (row.name, row.region, row.spot): row
            for row in reversed(rows)
            if needle in f"{row.name} {row.gpu}".lower()
        }
        shown = sorted(found.values(), key=lambda row: (row.rate.money.amount, row.name))
        self.answer([_catalog_item(row) for row in shown[:limit]])


def _catalog_item(row: CatalogRow) -> CatalogItem:
    age = price_age(row.as_of)
    price, machine = amounts((row.rate.money, row.machine))
    return CatalogItem(
        sku=row.name,
        gpu=row.gpu,
        gpus=row.gpus,
        region=row.region,
        spot=row.spot,
        price=price,
        unit=row.rate.unit.value,
        machine=machine,
        source=row.source,
        as_of=row.as_of,
        age_days=age,
        old=age is not None and age > OLD_DAYS and row.confidence != "owner",
        confidence=row.confidence,
    )


class PoolPriceHandler(AiInfraHandler):
    """What a pool costs."""

    @web.authenticated
    @authorized
    async def get(self, name: str) -> None:
        """Write what it costs and did, the newest first."""

        def prices(engine: Engine) -> Sequence[PriceItem]:
            engine.store.get_pool(name)
            history = [price_item(pool_price(row)) for row in engine.store.prices(pool=name)]
            return [item for item in reversed(history) if item is not None]

        self.answer(await self.engine.call(prices))

    @web.authenticated
    @authorized
    async def post(self, name: str) -> None:
        """Say what it costs from now on."""
        asked = self.body(PriceRequest)
        said = PriceOptions(
            price=asked.price or None,
            sku=asked.sku or None,
            region=asked.region or None,
            spot=asked.spot,
            currency=asked.currency or None,
        )
        self.answer(
            await self.engine.call(
                lambda engine: price_item(engine.set_price(name, said, since=asked.since))
            )
        )


_TIME = (
    Query(name="period", type="string", description="today, month, 2026-11, DATE or DATE..DATE"),
    Query(name="start", type="number", description="or from when, in seconds since the epoch"),
    Query(name="end", type="number", description="and to when"),
)
_NARROWED = tuple(
    Query(name=each.name, type="string", description=f"of this {each.name.replace('_', ' ')} alone")
    for each in fields(Scope)
)

ROUTES = (
    Route(
        path="cost",
        handler=ReportHandler,
        operations={
            "get": Operation(
                summary="What a time has cost, by one thing",
                answer=CostReport,
                query=(
                    *_TIME,
                    Query(name="by", type="string", description=", ".join(DIMENSIONS) + "; job"),
                    *_NARROWED,
                ),
            )
        },
    ),
    Route(
        path="cost/now",
        handler=SummaryHandler,
        operations={
            "get": Operation(
                summary="What an hour costs now, and what today and this month have cost",
                answer=CostSummary,
            )
        },
    ),
    Route(
        path="cost/jobs",
        handler=JobCostsHandler,
        operations={
            "get": Operation(
                summary="What jobs have cost up to now",
                answer=list[JobCostItem],
                query=(
                    Query(
                        name="ids",
                        type="string",
                        description=f"ids of jobs with commas between, {_MOST_JOBS} at most",
                    ),
                ),
            )
        },
    ),
    Route(
        path="cost/export",
        handler=ExportHandler,
        operations={
            "get": Operation(
                summary="Usage by the hour as CSV, under the names of FOCUS",
                answer=bytes,
                kind="text/csv",
                query=_TIME,
            )
        },
    ),
    Route(
        path="cost/prices",
        handler=CatalogHandler,
        operations={
            "get": Operation(
                summary="Prices that are known, the cheapest GPU-hour first",
                answer=list[CatalogItem],
                query=(
                    Query(name="search", type="string", description="a text in sku or GPU"),
                    Query(
                        name="limit",
                        type="integer",
                        description=f"at most so many: 1 to {_MOST_PRICES}, or 100",
                    ),
                ),
            )
        },
    ),
    Route(
        path="pools/{name}/price",
        handler=PoolPriceHandler,
        operations={
            "get": Operation(
                summary="What a pool costs and did, the newest first", answer=list[PriceItem]
            ),
            "post": Operation(
                summary="Say what a pool costs from now on", answer=PriceItem, body=PriceRequest
            ),
        },
    ),
    Route(
        path="jobs/{id}/whatif",
        handler=WhatIfHandler,
        operations={
            "get": Operation(
                summary="How long a job would take, and cost, in other shapes", answer=WhatIfReport
            )
        },
    ),
    Route(
        path="jobs/{id}/tags",
        handler=TagsHandler,
        operations={
            "put": Operation(
                summary="Say who pays for a job: all of its tags",
                answer=TagRequest,
                body=TagRequest,
            )
        },
    ),
)
