"""What was said about the price of a pool, and the terms that come of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

import msgspec

from jupyter_aiinfra.cost.catalog import CatalogRow, Terms, find
from jupyter_aiinfra.cost.money import parse_rate
from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.model import from_wire

__all__ = ["PRICE_OPTIONS", "PriceOptions", "agree", "split_options"]


@dataclass(frozen=True, kw_only=True)
class PriceOptions:
    """What every kind of pool takes beside its own options."""

    sku: str | None = field(
        default=None, metadata={"help": "what its machines are in a catalog: aws:p5.48xlarge"}
    )
    region: str | None = field(default=None, metadata={"help": "where they are: us-east-1"})
    spot: bool = field(default=False, metadata={"help": "whether they are spot machines"})
    price: str | None = field(
        default=None, metadata={"help": "what an hour costs: 2.49/gpu-h, 1.20eur/node-h"}
    )
    currency: str | None = field(default=None, metadata={"help": "the price's currency: eur"})

    @property
    def given(self) -> bool:
        """Whether anything was said at all."""
        return self != PriceOptions()


PRICE_OPTIONS: Final = tuple(each.name for each in fields(PriceOptions))


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], PriceOptions]:
    """Return the options of the kind of a pool, and what is said about its price.

    Raises
    ------
    UsageError
        Something that is said about the price cannot be.
    """
    own = {name: value for name, value in options.items() if name not in PRICE_OPTIONS}
    said = {name: options[name] for name in PRICE_OPTIONS if options.get(name) is not None}
    try:
        return own, from_wire(said, PriceOptions, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(f"the price cannot be read: {error}") from error


def agree(
    asked: PriceOptions, rows: Sequence[CatalogRow], *, today: dt.date | None = None
) -> Terms:
    """Return the terms that were meant; `rows` are catalogs, those first that go before others.

    Raises
    ------
    UsageError
        They contradict each other, or name a price that nobody knows.
    """
    day = (today or dt.datetime.now(dt.timezone.utc).date()).isoformat()
    if asked.price is not None:
        try:
            rate = parse_rate(asked.price, currency=asked.currency)
        except UsageError as error:
            raise UsageError(error.message, hint=error.hint, option="price") from None
        return Terms(
            amount=rate.money.wire_exact,
            currency=rate.money.currency,
            unit=rate.unit.value,
            sku=asked.sku,
            region=asked.region,
            spot=asked.spot,
            source="what you said",
            as_of=day,
            confidence="owner",
        )
    if asked.sku is None:
        wrong = "region" if asked.region else "spot" if asked.spot else "currency"
        raise UsageError(
            f"--{wrong} alone says no price",
            hint="add --sku, such as aws:p5.48xlarge, or --price 2.49/gpu-h",
            option=wrong,
        )
    try:
        row = find(rows, asked.sku, region=asked.region, spot=asked.spot)
    except UsageError as error:
        raise UsageError(error.message, hint=error.hint, option="sku") from None
    rate = row.rate
    if asked.currency is not None and asked.currency.upper() != rate.money.currency:
        raise UsageError(
            f"the price of {row.name} is in {rate.money.currency}, not {asked.currency.upper()}",
            hint="nothing here converts money: --price says what you pay in your currency",
            option="currency",
        )
    return Terms(
        amount=rate.money.wire_exact,
        currency=rate.money.currency,
        unit=rate.unit.value,
        sku=row.name,
        gpu=row.gpu,
        region=row.region or None,
        spot=row.spot,
        source=row.source,
        as_of=row.as_of,
        confidence=row.confidence,
    )
