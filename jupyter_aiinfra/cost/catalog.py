"""Prices by provider and sku: the bundled catalog, what was imported, and how one is found.

Every row says where its price is from, as of when, and how far it can be relied on. Prices of one
sku differ by a factor of three between sources of one year: what is shown always says its age, and
a row that somebody has imported goes before a bundled one.
"""

from __future__ import annotations

import contextlib
import csv
import datetime as dt
import difflib
import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from importlib import resources
from typing import Any, Final

import msgspec

from jupyter_aiinfra.cost.money import Money, Rate, Unit, currency_code, money
from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.model import from_wire

__all__ = [
    "CONFIDENCES",
    "OLD_DAYS",
    "CatalogRow",
    "Terms",
    "bundled",
    "find",
    "imported",
    "price_age",
    "read_csv",
    "terms_from_wire",
]

OLD_DAYS: Final = 90
"""From this age on, in days, a price is said to be old."""

CONFIDENCES: Final = ("owner", "list", "transcribed", "community", "memory")
"""How far a price can be relied on: said by who pays it; the provider's own list; copied of that by
somebody; collected by a community; remembered, and confirmed nowhere."""

_COLUMNS: Final = (
    "provider",
    "sku",
    "gpu",
    "gpus",
    "region",
    "on_demand",
    "spot",
    "currency",
    "source",
    "as_of",
    "confidence",
)


@dataclass(frozen=True, kw_only=True)
class CatalogRow:
    """The price of an hour of one sku with all of its GPUs; exact, as a decimal number in text.

    ``region`` "" is everywhere. ``gpus`` 0 is a machine without any.
    """

    provider: str
    sku: str
    gpu: str
    gpus: int
    region: str
    spot: bool
    amount: str
    currency: str
    source: str
    as_of: str
    confidence: str

    def __post_init__(self) -> None:
        where = f"the price of {self.provider}:{self.sku}"
        try:
            good = Fraction(self.amount) >= 0
        except (ValueError, ZeroDivisionError):
            good = False
        if not good:
            raise UsageError(f"{where}: {self.amount!r} is no amount of money")
        currency_code(self.currency)
        if self.gpus < 0:
            raise UsageError(f"{where}: {self.gpus} GPUs")
        if not self.source:
            raise UsageError(f"{where} does not say where it is from", hint="give it a source")
        _date(self.as_of, where)
        if self.confidence not in CONFIDENCES:
            raise UsageError(
                f"{where}: there is no confidence {self.confidence!r}",
                hint=f"it is one of {', '.join(CONFIDENCES)}",
            )

    @property
    def name(self) -> str:
        """As ``--sku`` takes it."""
        return f"{self.provider}:{self.sku}"

    @property
    def machine(self) -> Money:
        """An hour of the whole machine."""
        return money(Fraction(self.amount), self.currency)

    @property
    def rate(self) -> Rate:
        """An hour of a GPU of it; of the machine where it has none."""
        if self.gpus == 0:
            return Rate(self.machine, Unit.NODE)
        return Rate(self.machine / self.gpus, Unit.GPU)


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What is agreed on for a pool, as it was said, and where its price comes from.

    ``amount`` is an hour of ``unit``, exact, in text; ``None`` is unknown.
    """

    amount: str | None = None
    currency: str = "USD"
    unit: str = Unit.GPU.value
    sku: str | None = None
    gpu: str | None = None
    region: str | None = None
    spot: bool = False
    source: str = ""
    as_of: str | None = None
    confidence: str | None = None

    @property
    def rate(self) -> Rate | None:
        """The price, where it is known."""
        if self.amount is None:
            return None
        return Rate(money(Fraction(self.amount), self.currency), Unit(self.unit))

    @property
    def wire(self) -> Mapping[str, Any]:
        """As plain JSON types."""
        return asdict(self)

    def text(self, *, today: dt.date | None = None) -> str:
        """Say it in one line, with its age: ``$6.88 a GPU-hour, aws:p5.48xlarge, 16 days old``."""
        rate = self.rate
        parts = ["price unknown" if rate is None else rate.text]
        if self.sku:
            where = f" in {self.region}" if self.region else ""
            parts.append(f"{self.sku}{where}{', spot' if self.spot else ''}")
        elif self.spot:
            parts.append("spot")
        age = price_age(self.as_of, today=today)
        if age is not None and self.confidence != "owner":
            parts.append(
                f"{age} day{'' if age == 1 else 's'} old{': OLD' if age > OLD_DAYS else ''}"
            )
        if self.confidence == "memory":
            parts.append("confirmed nowhere")
        if self.source:
            parts.append(f"from {self.source}")
        return ", ".join(parts)


def terms_from_wire(data: Mapping[str, Any]) -> Terms:
    """Return terms as :attr:`Terms.wire` gave them; of those that cannot be read, unknown ones."""
    known = {name: value for name, value in data.items() if name in Terms.__dataclass_fields__}
    try:
        return from_wire(known, Terms)
    except msgspec.ValidationError:
        return Terms()


def price_age(as_of: str | None, *, today: dt.date | None = None) -> int | None:
    """Return how many days old a price is; ``None`` where nobody knows."""
    if not as_of:
        return None
    day = dt.date.fromisoformat(as_of)
    return max(0, ((today or dt.datetime.now(dt.timezone.utc).date()) - day).days)


# --- reading -----------------------------------------------------------------------------------


@functools.cache
def bundled() -> tuple[CatalogRow, ...]:
    """Return the catalog that comes with this package."""
    text = resources.files(__package__).joinpath("catalog.csv").read_text(encoding="utf-8")
    return tuple(read_csv(text.splitlines(), where="the bundled catalog"))


def imported(rows: Iterable[Mapping[str, Any]]) -> list[CatalogRow]:
    """Return rows as the store has them; those that cannot be read are left out."""
    found = []
    for row in rows:
        with contextlib.suppress(UsageError, msgspec.ValidationError):
            found.append(from_wire(dict(row), CatalogRow))
    return found


def read_csv(lines: Iterable[str], *, where: str) -> list[CatalogRow]:
    """Read a catalog in our own form: a row a sku and region, a machine's price on demand and spot.

    Raises
    ------
    UsageError
        Says which line, and what is wrong with it.
    """
    reader = csv.DictReader(line for line in lines if not line.startswith("#"))
    missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise UsageError(
            f"{where} has no column {missing[0]!r}", hint=f"its columns are {', '.join(_COLUMNS)}"
        )
    found: list[CatalogRow] = []
    for number, row in enumerate(reader, start=2):
        try:
            found += _rows(row)
        except UsageError as error:  # noqa: PERF203 - it says which row
            raise UsageError(f"{where}, row {number}: {error.message}", hint=error.hint) from None
    return found


def _rows(row: Mapping[str, str | None]) -> list[CatalogRow]:
    text = {name: (row.get(name) or "").strip() for name in _COLUMNS}
    if not text["provider"] or not text["sku"]:
        raise UsageError("a price needs a provider and a sku")
    if not re.fullmatch(r"\d{1,4}", text["gpus"]):
        raise UsageError(f"gpus={text['gpus']!r}: expected a whole number")
    common = {name: text[name] for name in ("provider", "sku", "gpu", "region", "source", "as_of")}
    found = [
        CatalogRow(
            **common,
            gpus=int(text["gpus"]),
            spot=spot,
            amount=text[column],
            currency=currency_code(text["currency"]),
            confidence=text["confidence"],
        )
        for column, spot in (("on_demand", False), ("spot", True))
        if text[column]
    ]
    if not found:
        raise UsageError(f"{text['provider']}:{text['sku']} has no price at all")
    return found


def _date(text: str, where: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{where}: {text!r} is no date", hint="say as of when, such as 2026-11-09"
        ) from None


# --- finding -----------------------------------------------------------------------------------


def find(
    rows: Sequence[CatalogRow], sku: str, *, region: str | None = None, spot: bool = False
) -> CatalogRow:
    """Return the price of ``provider:sku``, or of a sku that only one provider has.

    Of several rows that fit, the first: put what was imported before what is bundled.

    Raises
    ------
    UsageError
        There is none; names the nearest, or the regions there are.
    """
    provider, colon, name = sku.partition(":")
    if not colon:
        provider, name = "", sku
    named = [
        row
        for row in rows
        if row.sku.lower() == name.lower() and provider.lower() in ("", row.provider.lower())
    ]
    if not named:
        raise UsageError(f"no price is known for the sku {sku!r}", hint=_nearest(rows, sku))
    providers = sorted({row.provider for row in named})
    if len(providers) > 1:
        choices = ", ".join(f"{each}:{name}" for each in providers)
        raise UsageError(f"several providers have {sku!r}", hint=f"it is one of {choices}")
    priced = [row for row in named if row.spot is spot]
    if not priced:
        other = "on demand" if spot else "as spot"
        raise UsageError(
            f"of {named[0].name} only the price {other} is known",
            hint="--price says what you pay, such as --price 2.49/gpu-h",
        )
    return _in_region(priced, region)


def _in_region(rows: Sequence[CatalogRow], region: str | None) -> CatalogRow:
    regions = sorted({row.region for row in rows if row.region})
    if region is None:
        if len(regions) > 1:
            raise UsageError(
                f"the price of {rows[0].name} depends on the region",
                hint=f"--region is one of {', '.join(regions)}",
            )
        return rows[0]
    for row in rows:
        if row.region.lower() == region.lower():
            return row
    for row in rows:
        if not row.region:
            return replace(row, region=region)
    near = difflib.get_close_matches(region, regions, n=1, cutoff=0.5)
    meant = f"did you mean {near[0]}? " if near else ""
    raise UsageError(
        f"the price of {rows[0].name} in {region!r} is not known",
        hint=f"{meant}known are {', '.join(regions)}; --price says what you pay",
    )


def _nearest(rows: Sequence[CatalogRow], sku: str) -> str:
    names = sorted({row.name for row in rows})
    by_lower = {name.lower(): name for name in names} | {
        name.partition(":")[2].lower(): name for name in names
    }
    near = difflib.get_close_matches(sku.lower(), by_lower, n=3, cutoff=0.5)
    found = list(dict.fromkeys(by_lower[each] for each in near))
    if found:
        return f"did you mean {' or '.join(found)}? cost prices lists what is known"
    return "cost prices lists what is known; --price says what you pay, such as 2.49/gpu-h"
