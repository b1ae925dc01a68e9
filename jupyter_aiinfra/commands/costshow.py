"""How cost is put into words, rows and JSON, the same on every surface."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from jupyter_aiinfra.commands.show import duration_text
from jupyter_aiinfra.cost.bill import Bill, Line, PoolPrice
from jupyter_aiinfra.cost.catalog import OLD_DAYS, CatalogRow, price_age
from jupyter_aiinfra.cost.estimate import Estimate, Option
from jupyter_aiinfra.cost.money import Money, Unit, wire_money
from jupyter_aiinfra.engine.costing import CostNow, WhatIf
from jupyter_aiinfra.progress import seconds_text
from jupyter_aiinfra.store.charging import ChargedJob

__all__ = [
    "CATALOG_COLUMNS",
    "UNKNOWN",
    "WHATIF_COLUMNS",
    "bill_columns",
    "bill_note",
    "bill_rows",
    "bill_value",
    "catalog_row",
    "cost_lines",
    "cost_now_value",
    "estimate_value",
    "jobs_of",
    "money_text",
    "price_line",
    "price_value",
    "whatif_note",
    "whatif_rows",
    "whatif_value",
]

UNKNOWN: Final = "n/a"
_NOBODY: Final = "(nobody)"
_NONE: Final = "(none)"
_HOUR: Final = 3600
CATALOG_COLUMNS: Final = (
    "sku",
    "GPUs",
    "region",
    "kind",
    "a GPU-hour",
    "a machine-hour",
    "as of",
    "confidence",
    "source",
)
WHATIF_COLUMNS: Final = ("pool", "ranks", "nodes", "how", "a step", "takes", "costs", "assumes")


def money_text(parts: Sequence[Money]) -> str:
    """Return amounts, one a currency; the unknown is ``n/a``, and never zero."""
    return " + ".join(each.text for each in parts) or UNKNOWN


def _wire(parts: Sequence[Money]) -> list[Mapping[str, Any]]:
    return [each for each in map(wire_money, parts) if each is not None]


# --- bills -------------------------------------------------------------------------------------


def bill_columns(bill: Bill) -> tuple[str, ...]:
    """Return the columns of a bill."""
    named = ("job", "name") if bill.by == "job" else (bill.by.replace("_", "-"),)
    return (*named, "GPU-hours", "used", "idle", "cost", "of it idle")


def bill_rows(bill: Bill, jobs: Mapping[str, ChargedJob]) -> list[tuple[str, ...]]:
    """Return a row a line for :func:`bill_columns`, and one for all of them."""
    rows = [_line_row(bill, line, jobs) for line in bill.lines]
    if len(rows) > 1:
        blank = ("all", "") if bill.by == "job" else ("all",)
        rows.append((*blank, *_amounts(bill.total)))
    return rows


def _line_row(bill: Bill, line: Line, jobs: Mapping[str, ChargedJob]) -> tuple[str, ...]:
    key = line.key or _NONE
    if line.unallocated:
        key = f"{line.key} {_NOBODY}" if bill.by == "pool" else _NOBODY
    elif bill.by == "day" and line.key is not None:
        key = dt.datetime.fromtimestamp(int(line.key), dt.timezone.utc).date().isoformat()
    if bill.by != "job":
        return (key, *_amounts(line))
    known = jobs.get(line.key or "")
    return (key, known.name if known else "", *_amounts(line))


def _amounts(line: Line) -> tuple[str, ...]:
    hours = f"{line.allocated_seconds / _HOUR:,.2f}"
    if not line.allocated_seconds and line.node_seconds:
        hours = f"{line.node_seconds / _HOUR:,.2f} node-h"
    measured = line.used_seconds + line.idle_seconds
    cost = money_text(line.cost)
    if line.cost and line.unpriced_seconds:
        cost += " + unpriced"
    return (
        hours,
        _share(line.used_seconds, line.allocated_seconds, measured),
        _share(line.idle_seconds, line.allocated_seconds, measured),
        cost,
        money_text(line.idle_cost) if measured else UNKNOWN,
    )


def _share(part: float, whole: float, measured: float) -> str:
    return f"{100 * part / whole:.0f} %" if measured and whole else UNKNOWN


def bill_note(bill: Bill) -> str:
    """Return what there is to say beside the rows: between when, and what has no price."""
    start, end = (_moment(at) for at in (bill.start, bill.end))
    lines = [f"from {start} to {end}"]
    if bill.total.unpriced_seconds:
        hours = f"{bill.total.unpriced_seconds / _HOUR:,.2f}"
        lines.append(
            f"{hours} hours have no price and are in no amount: %pool price NAME --price 2.49/gpu-h"
        )
    unknown = bill.total.allocated_seconds - bill.total.used_seconds - bill.total.idle_seconds
    if bill.total.allocated_seconds and unknown > 0.01 * bill.total.allocated_seconds:
        share = 100 * unknown / bill.total.allocated_seconds
        lines.append(f"of {share:.0f} % of the GPU time it is not known whether it was used")
    return "\n".join(lines)


def _moment(at: float) -> str:
    return dt.datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M %Z")


def bill_value(bill: Bill, jobs: Mapping[str, ChargedJob]) -> dict[str, Any]:
    """Return a bill for a program."""
    return {
        "start": bill.start,
        "end": bill.end,
        "by": bill.by,
        "lines": [_line_value(bill, line, jobs) for line in bill.lines],
        "total": _line_value(bill, bill.total, {}),
    }


def _line_value(bill: Bill, line: Line, jobs: Mapping[str, ChargedJob]) -> dict[str, Any]:
    known = jobs.get(line.key or "") if bill.by == "job" else None
    return {
        "key": line.key,
        "name": known.name if known else None,
        "unallocated": line.unallocated,
        "allocated_seconds": line.allocated_seconds,
        "used_seconds": line.used_seconds,
        "idle_seconds": line.idle_seconds,
        "node_seconds": line.node_seconds,
        "unpriced_seconds": line.unpriced_seconds,
        "cost": _wire(line.cost),
        "used_cost": _wire(line.used_cost),
        "idle_cost": _wire(line.idle_cost),
    }


# --- one job -----------------------------------------------------------------------------------


def cost_lines(now: CostNow, *, running: bool) -> list[str]:
    """Return what a job has cost as lines of ``jobs show``."""
    cost, rest = now.cost, now.projection
    if not cost.cost:
        return [f"  cost    {UNKNOWN}: {now.reason}"] if now.reason else []
    text = money_text(cost.cost)
    if cost.unpriced_seconds:
        text += f" and what has no price ({now.reason})"
    if running and cost.rate is not None:
        text += f" so far, {cost.rate.text} an hour"
    if rest.step_cost is not None:
        text += f", {rest.step_cost.text} a step"
    lines = [f"  cost    {text}"]
    if running and rest.total is not None and rest.remaining_seconds is not None:
        left = duration_text(rest.remaining_seconds)
        lines.append(f"          {rest.total.text} in all, in {left}, at the pace of now")
    if cost.terms is not None:
        lines.append(f"  price   {cost.terms.text()}")
    return lines


def cost_now_value(now: CostNow) -> dict[str, Any]:
    """Return what a job has cost for a program."""
    cost, rest = now.cost, now.projection
    return {
        "at": cost.at,
        "cost": _wire(cost.cost),
        "hourly": wire_money(cost.rate),
        "allocated_seconds": cost.allocated_seconds,
        "used_seconds": cost.used_seconds,
        "idle_seconds": cost.idle_seconds,
        "node_seconds": cost.node_seconds,
        "unpriced_seconds": cost.unpriced_seconds,
        "step_cost": wire_money(rest.step_cost),
        "projected": wire_money(rest.total),
        "finish_at": rest.finish_at,
        "price": None if cost.terms is None else dict(cost.terms.wire),
        "reason": now.reason,
    }


# --- prices ------------------------------------------------------------------------------------


def price_line(price: PoolPrice | None, name: str) -> str:
    """Return what a pool costs as a line of ``pool show``."""
    if price is None:
        return f"  price   unknown: %pool price {name} --price 2.49/gpu-h says it"
    return f"  price   {price.terms.text()}"


def price_value(price: PoolPrice | None) -> dict[str, Any] | None:
    """Return what a pool costs for a program, with its age."""
    if price is None:
        return None
    age = price_age(price.terms.as_of)
    return {
        "since": price.since,
        "rate": None if price.rate is None else wire_money(price.rate.money),
        "unit": None if price.rate is None else price.rate.unit.value,
        **{
            name: value
            for name, value in price.terms.wire.items()
            if name not in ("amount", "currency", "unit")
        },
        "age_days": age,
        "old": age is not None and age > OLD_DAYS and price.terms.confidence != "owner",
        "text": price.terms.text(),
    }


def catalog_row(row: CatalogRow) -> tuple[str, ...]:
    """Return a price for :data:`CATALOG_COLUMNS`."""
    age = price_age(row.as_of)
    old = " (old)" if age is not None and age > OLD_DAYS and row.confidence != "owner" else ""
    rate = row.rate
    return (
        row.name,
        f"{row.gpus} {row.gpu}".strip() if row.gpus else "none",
        row.region or "any",
        "spot" if row.spot else "on demand",
        rate.money.text if rate.unit is Unit.GPU else UNKNOWN,
        row.machine.text,
        row.as_of + old,
        row.confidence,
        row.source,
    )


# --- to come -----------------------------------------------------------------------------------


def estimate_value(estimate: Estimate) -> dict[str, Any]:
    """Return what a launch will cost for a program."""
    before = estimate.before
    return {
        "hourly": wire_money(estimate.hourly),
        "most": wire_money(estimate.most),
        "most_seconds": estimate.most_seconds,
        "likely": wire_money(estimate.likely),
        "before": None if before is None else {"job": before.job, "seconds": before.seconds},
        "reason": estimate.reason,
        "text": estimate.text,
    }


def whatif_rows(found: WhatIf) -> list[tuple[str, ...]]:
    """Return a row an option for :data:`WHATIF_COLUMNS`."""
    return [_option_row(found, option) for option in found.options]


def _option_row(found: WhatIf, option: Option) -> tuple[str, ...]:
    candidate = option.candidate
    how = [candidate.gpu or "CPUs"]
    how += ["spot"] * candidate.spot + ["bf16"] * candidate.bf16
    remarks = list(option.assumes) or ([] if option.problem else ["as it was measured"])
    if option.problem:
        remarks.append(option.problem)
    mine = candidate.pool == found.measured.pool and _same(found, option)
    return (
        f"{candidate.pool}{' *' if mine else ''}",
        str(candidate.ranks),
        str(candidate.nodes),
        ", ".join(how),
        UNKNOWN if option.step_seconds is None else seconds_text(option.step_seconds),
        UNKNOWN if option.seconds is None else duration_text(option.seconds),
        UNKNOWN if option.cost is None else option.cost.text,
        "; ".join(remarks),
    )


def _same(found: WhatIf, option: Option) -> bool:
    measured, candidate = found.measured, option.candidate
    return (measured.ranks, measured.nodes, measured.bf16) == (
        candidate.ranks,
        candidate.nodes,
        candidate.bf16,
    )


def whatif_note(found: WhatIf) -> str:
    """Return what the table rests on."""
    measured = found.measured
    lines = [
        (
            f"* job {found.job}: {measured.steps:,} steps of {seconds_text(measured.step_seconds)} "
            f"on {measured.ranks} rank{'' if measured.ranks == 1 else 's'}, and "
            f"{duration_text(measured.overhead_seconds)} beside them"
        ),
        *found.notes,
    ]
    return "\n".join(lines)


def whatif_value(found: WhatIf) -> dict[str, Any]:
    """Return the table for a program."""
    measured = found.measured
    return {
        "job": found.job,
        "measured": {
            "pool": measured.pool,
            "ranks": measured.ranks,
            "nodes": measured.nodes,
            "step_seconds": measured.step_seconds,
            "steps": measured.steps,
            "overhead_seconds": measured.overhead_seconds,
            "gpu": measured.gpu,
            "bf16": measured.bf16,
        },
        "options": [
            {
                "pool": option.candidate.pool,
                "ranks": option.candidate.ranks,
                "nodes": option.candidate.nodes,
                "gpu": option.candidate.gpu,
                "spot": option.candidate.spot,
                "bf16": option.candidate.bf16,
                "measured": _same(found, option)
                and option.candidate.pool == measured.pool
                and not option.assumes,
                "hourly": wire_money(option.candidate.rate),
                "step_seconds": option.step_seconds,
                "seconds": option.seconds,
                "cost": wire_money(option.cost),
                "assumes": list(option.assumes),
                "problem": option.problem,
            }
            for option in found.options
        ],
        "notes": list(found.notes),
    }


def jobs_of(bill: Bill, jobs: Iterable[ChargedJob]) -> Mapping[str, ChargedJob]:
    """Return who pays, by job, for a bill by job."""
    return {each.job: each for each in jobs} if bill.by == "job" else {}
