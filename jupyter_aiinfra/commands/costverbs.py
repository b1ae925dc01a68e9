"""``cost``: what jobs and pools have cost, and would; run by magics and command line alike."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any, Final, cast

import click

from jupyter_aiinfra.commands.context import Context
from jupyter_aiinfra.commands.costshow import (
    CATALOG_COLUMNS,
    WHATIF_COLUMNS,
    bill_columns,
    bill_note,
    bill_rows,
    bill_value,
    catalog_row,
    jobs_of,
    whatif_note,
    whatif_rows,
    whatif_value,
)
from jupyter_aiinfra.commands.endpointshow import REQUEST_COLUMNS, request_rows, request_value
from jupyter_aiinfra.commands.group import (
    SETTINGS,
    TAKES_CONTEXT,
    Verbs,
    complete_endpoint,
    complete_job,
    complete_pool,
    seconds_of_option,
)
from jupyter_aiinfra.commands.periods import PERIODS, parse_period
from jupyter_aiinfra.commands.tags import parse_tag
from jupyter_aiinfra.cost.bill import Scope, pool_price
from jupyter_aiinfra.cost.catalog import bundled, imported
from jupyter_aiinfra.cost.export import focus_rows, format_of, write_csv, write_parquet
from jupyter_aiinfra.cost.importing import as_records, read_prices
from jupyter_aiinfra.cost.meter import HOUR
from jupyter_aiinfra.engine.endpointcosts import WINDOW_SECONDS
from jupyter_aiinfra.errors import Unreachable, UsageError
from jupyter_aiinfra.model import to_wire
from jupyter_aiinfra.store.usage import DIMENSIONS, Dimension

__all__ = ["cost"]

_MOST_WINDOW_SECONDS: Final = 7 * 86_400.0
_BY = tuple(each.replace("_", "-") for each in DIMENSIONS)


class _Cost(Verbs):
    """Takes a time in place of a verb: ``cost today`` shows what today has cost."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        first = args[0] if args else ""
        known = first in self.commands or first in ("-h", "--help") or ctx.resilient_parsing
        if first and not known and not first.startswith("-"):
            args = [self.default, *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Cost, default="show", context_settings=SETTINGS)
def cost() -> None:
    """See what jobs and pools have cost, and would cost.

    \b
    Examples:
      cost                                today, by job
      cost month --by project
      cost 2026-11-01..2026-11-15 --by user --pool lab
      cost export november.csv 2026-11
      cost whatif 1mz4k
      cost endpoints
      cost prices h100
    """  # noqa: D301 - click keeps the lines below its \b


def _narrowed(command: Any) -> Any:
    for name, what in reversed(
        (
            ("pool", "of this pool alone"),
            ("user", "of this user's jobs"),
            ("notebook", "of jobs from this notebook"),
            ("project", "of jobs of this project"),
            ("team", "of jobs of this team"),
            ("cost-centre", "of jobs of this cost centre"),
        )
    ):
        complete = complete_pool if name == "pool" else None
        command = click.option(f"--{name}", help=what, shell_complete=complete)(command)
    return command


_PERIOD = click.argument("period", required=False, default="today")


@cost.command("show")
@_PERIOD
@click.option(
    "--by", type=click.Choice(_BY), default="job", show_default=True, help="a line for each of what"
)
@_narrowed
@TAKES_CONTEXT
def _show(context: Context, /, period: str, by: str, **narrowed: str | None) -> None:
    """Show what a time has cost: today, yesterday, week, month, 2026-11, DATE..DATE.

    Of GPUs it also tells which part of the time they worked. What nobody was given costs as well,
    and is a line of its own.

    \b
    Examples:
      cost show today
      cost show month --by pool
      cost show month --by notebook --user ada
    """  # noqa: D301 - click keeps the lines below its \b
    start, end = parse_period(period)
    engine = context.session.engine
    context.session.run(engine.settle())
    bill = engine.ledger.bill(
        start=start,
        end=end,
        by=cast("Dimension", by.replace("-", "_")),
        scope=Scope(**narrowed),
    )
    wanted = [line.key for line in bill.lines if line.key] if bill.by == "job" else []
    jobs = jobs_of(bill, engine.store.charged_jobs(wanted))
    empty = "nothing was used in that time"
    context.surface.table(bill_columns(bill), bill_rows(bill, jobs), empty=empty)
    context.surface.text(bill_note(bill))
    context.surface.value(bill_value(bill, jobs))


@cost.command("endpoints")
@click.argument("name", required=False, metavar="[ENDPOINT]", shell_complete=complete_endpoint)
@click.option(
    "--window",
    metavar="TIME",
    default="1d",
    show_default=True,
    callback=seconds_of_option("--window"),
    help="what lately is, at most 7d",
)
@TAKES_CONTEXT
def _endpoints(context: Context, name: str | None, window: float | None) -> None:
    """Show what 1,000 requests to endpoints cost: since the deploy, and lately.

    All replicas count, whether they were asked or not. A version without a price, or whose requests
    nobody knows, has none.

    \b
    Examples:
      cost endpoints
      cost endpoints digits --window 6h
    """  # noqa: D301 - click keeps the lines below its \b
    seconds = WINDOW_SECONDS if window is None else window
    if not 0 < seconds <= _MOST_WINDOW_SECONDS:
        raise UsageError(
            f"--window {seconds:g} s cannot be",
            hint="up to 7d: requests are known by the hour for a week",
            option="window",
        )
    engine = context.session.engine
    work = engine.endpoints.costs(name, window_seconds=seconds)
    found = context.session.run(work)
    empty = "nothing is deployed: endpoint deploy FOLDER --name NAME --pool POOL"
    context.surface.table(REQUEST_COLUMNS, request_rows(found), empty=empty)
    context.surface.value([request_value(whole.endpoint, each) for whole, each in found])


@cost.command("export")
@click.argument("file", type=click.Path(dir_okay=False))
@_PERIOD
@click.option("--format", "kind", type=click.Choice(["csv", "parquet"]), help="of the file")
@TAKES_CONTEXT
def _export(context: Context, file: str, period: str, kind: str | None) -> None:
    """Write usage by the hour into FILE, under the names of FOCUS.

    \b
    Examples:
      cost export november.csv 2026-11
      cost export november.parquet 2026-11
    """  # noqa: D301 - click keeps the lines below its \b
    start, end = parse_period(period)
    path = Path(file).expanduser()
    form = format_of(path, kind)
    engine = context.session.engine
    context.session.run(engine.settle())
    prices = {row.id: pool_price(row) for row in engine.store.prices()}
    first, last = int(start) // HOUR * HOUR, -(-int(end) // HOUR) * HOUR
    rows = focus_rows(engine.store, prices, start=first, end=last)
    try:
        count = (write_csv if form == "csv" else write_parquet)(path, rows)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    context.surface.text(f"{count:,} row{'' if count == 1 else 's'} in {path}")
    context.surface.value({"file": str(path), "format": form, "rows": count})


@cost.command("whatif")
@click.argument("job_id", metavar="ID", shell_complete=complete_job)
@TAKES_CONTEXT
def _whatif(context: Context, job_id: str) -> None:
    """Show how long a job would take, and what it would cost, in other shapes.

    On 1, 2, 4 or 8 GPUs (or ranks, on CPUs), as spot machines or not, in bf16 or not, and on the
    other attached pools; made of the steps that it has measured, with what is assumed.

    \b
    Example:
      cost whatif 1mz4k
    """  # noqa: D301 - click keeps the lines below its \b
    engine = context.session.engine
    job = engine.store.get_job(job_id)
    try:
        job = context.session.run(engine.refresh(job.id))
    except Unreachable as error:
        context.surface.text(f"{error.message}; shown as last seen")
    found = context.session.run(engine.costing.what_if(job))
    empty = "no attached pool that answers could run it"
    context.surface.table(WHATIF_COLUMNS, whatif_rows(found), empty=empty)
    context.surface.text(whatif_note(found))
    context.surface.value(whatif_value(found))


@cost.command("tag")
@click.argument("job_id", metavar="ID", shell_complete=complete_job)
@click.argument("tags", nargs=-1, required=True, metavar="NAME=VALUE…")
@TAKES_CONTEXT
def _tag(context: Context, job_id: str, tags: tuple[str, ...]) -> None:
    """Say who pays for a job; an empty value takes a tag away.

    \b
    Examples:
      cost tag 1mz4k project=vision team=research
      cost tag 1mz4k project=
    """  # noqa: D301 - click keeps the lines below its \b
    engine = context.session.engine
    job = engine.ledger.charged(engine.store.get_job(job_id).id)
    changed = {**job.tags, **dict(parse_tag("tag", each, empty=True) for each in tags)}
    kept = {name: value for name, value in changed.items() if value}
    engine.store.tag_job(job.job, kept)
    said = ", ".join(f"{name}={value}" for name, value in sorted(kept.items())) or "no tags"
    context.surface.text(f"job {job.job}: {said}")
    context.surface.value({"job": job.job, "tags": kept})


# --- prices ------------------------------------------------------------------------------------


@cost.group("prices", cls=_Cost, default="list", context_settings=SETTINGS)
def _prices() -> None:
    """See the prices that are known, and add others.

    \b
    Examples:
      cost prices h100
      cost prices import catalogs/v7/aws/vms.csv --provider aws
      cost prices import machines.yaml
    """  # noqa: D301 - click keeps the lines below its \b


@_prices.command("list")
@click.argument("text", required=False, default="")
@click.option("--region", default="", help="in regions of which this is a part")
@TAKES_CONTEXT
def _list_prices(context: Context, text: str, region: str) -> None:
    """List prices; with TEXT those with it in sku or GPU. The cheapest GPU-hour is first.

    \b
    Examples:
      cost prices list h100
      cost prices list a100 --region us-east-1
    """  # noqa: D301 - click keeps the lines below its \b
    rows = [*imported(context.session.engine.store.catalog_rows()), *bundled()]
    needle, where = text.lower(), region.lower()
    found = {
        (row.name, row.region, row.spot): row
        for row in reversed(rows)  # what was imported goes before what is bundled
        if needle in f"{row.name} {row.gpu}".lower() and where in row.region.lower()
    }
    shown = sorted(found.values(), key=lambda row: (row.rate.money.amount, row.name))
    empty = "no such price is known; %pool price NAME --price 2.49/gpu-h says what you pay"
    context.surface.table(CATALOG_COLUMNS, [catalog_row(row) for row in shown], empty=empty)
    context.surface.value(to_wire(shown))


@_prices.command("import")
@click.argument("file", type=click.Path())
@click.option("--provider", help="whose a catalog of SkyPilot's is, such as aws")
@click.option(
    "--as-of", metavar="DATE", help="as of when its prices are; without it the file's day"
)
@TAKES_CONTEXT
def _import_prices(context: Context, file: str, provider: str | None, as_of: str | None) -> None:
    """Add prices: a catalog of SkyPilot's (CSV), a list of your machines (YAML), or our own CSV.

    They go before those that come with this package, and are used when a pool is given a sku.

    \b
    Examples:
      cost prices import vms.csv --provider aws
      cost prices import machines.yaml --as-of 2026-11-01
    """  # noqa: D301 - click keeps the lines below its \b
    try:
        day = None if as_of is None else dt.date.fromisoformat(as_of)
    except ValueError:
        raise UsageError(f"--as-of {as_of!r} is no day", hint="such as 2026-11-09") from None
    found = read_prices(Path(file), provider=provider, as_of=day)
    count = context.session.engine.store.import_catalog(as_records(found.rows))
    skus = len({row.name for row in found.rows})
    lines = [f"{count:,} prices of {skus:,} skus are known from {Path(file).name}", *found.notes]
    context.surface.text("\n".join(lines))
    context.surface.value({"rows": count, "skus": skus, "notes": list(found.notes)})


assert set(PERIODS).isdisjoint(cost.commands)  # noqa: S101 - a time is taken in place of a verb
