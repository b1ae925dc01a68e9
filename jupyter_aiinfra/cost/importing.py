"""Prices from files: SkyPilot's catalogs, a list of one's own machines, and our own form."""

from __future__ import annotations

import csv
import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import msgspec

from jupyter_aiinfra.cost.catalog import CatalogRow, read_csv
from jupyter_aiinfra.cost.money import currency_code
from jupyter_aiinfra.errors import UsageError, did_you_mean
from jupyter_aiinfra.model import from_wire

__all__ = ["Imported", "as_records", "read_machines", "read_prices", "read_skypilot"]

_HOURS_A_YEAR: Final = Fraction(36525, 100) * 24
_WATTS_A_KILOWATT: Final = 1000
_NEEDED: Final = ("InstanceType", "AcceleratorName", "AcceleratorCount", "Price", "Region")


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What a file held: prices, and in words what of it was left out."""

    rows: tuple[CatalogRow, ...]
    notes: tuple[str, ...] = ()


def read_prices(
    path: Path, *, provider: str | None = None, as_of: dt.date | None = None
) -> Imported:
    """Read the prices of a file, whatever of these it is.

    Parameters
    ----------
    provider
        Whose a catalog of SkyPilot's is, which does not say so; the folder that it lies in is
        taken where nobody says.
    as_of
        As of when it is; the day that the file was written, where nobody says.

    Raises
    ------
    UsageError
        It is none, or something in it is wrong: names the row.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        day = as_of or dt.datetime.fromtimestamp(path.stat().st_mtime, dt.timezone.utc).date()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    if path.suffix.lower() in (".yaml", ".yml"):
        return read_machines(text, source=path.name, as_of=day)
    header = next(csv.reader(text.splitlines()), [])
    if "InstanceType" in header:
        whose = provider or path.absolute().parent.name
        return read_skypilot(text.splitlines(), provider=whose, source=path.name, as_of=day)
    return Imported(rows=tuple(read_csv(text.splitlines(), where=path.name)))


# --- SkyPilot ----------------------------------------------------------------------------------


def read_skypilot(lines: Sequence[str], *, provider: str, source: str, as_of: dt.date) -> Imported:
    """Read a ``vms.csv`` of SkyPilot's catalogs, of any cloud and version, by its header.

    Of the zones of a region the cheapest counts. Machines whose row names no accelerator are left
    out: on Google's cloud theirs is the price without GPUs, which would be far too little.
    """
    reader = csv.DictReader(lines)
    missing = [name for name in _NEEDED if name not in (reader.fieldnames or ())]
    if missing:
        raise UsageError(
            f"{source} is no catalog of SkyPilot's: it has no column {missing[0]!r}",
            hint=f"it needs {', '.join(_NEEDED)}, and may have SpotPrice",
        )
    cheapest: dict[tuple[str, str, bool], CatalogRow] = {}
    left_out = 0
    for number, row in enumerate(reader, start=2):
        where = f"{source}, row {number}"
        sku = (row["InstanceType"] or "").strip()
        gpu = (row["AcceleratorName"] or "").strip()
        if not sku or not gpu:
            left_out += 1
            continue
        count = _amount(row["AcceleratorCount"], where, "AcceleratorCount")
        if count is None or count < 1 or count != int(count):
            left_out += 1  # a part of a GPU
            continue
        for column, spot in (("Price", False), ("SpotPrice", True)):
            amount = _amount(row.get(column), where, column)
            if amount is None:
                continue
            found = CatalogRow(
                provider=provider,
                sku=sku,
                gpu=gpu,
                gpus=int(count),
                region=(row["Region"] or "").strip(),
                spot=spot,
                amount=str(amount),
                currency="USD",
                source=f"SkyPilot catalog {source}",
                as_of=as_of.isoformat(),
                confidence="community",
            )
            key = (sku, found.region, spot)
            known = cheapest.get(key)
            if known is None or Fraction(found.amount) < Fraction(known.amount):
                cheapest[key] = found
    if not cheapest:
        raise UsageError(f"{source} has no price of a machine with GPUs")
    rows_left = f"{left_out:,} rows without whole GPUs or without a machine were left out"
    return Imported(rows=tuple(cheapest.values()), notes=(rows_left,) if left_out else ())


def _amount(text: str | None, where: str, column: str) -> Decimal | None:
    text = (text or "").strip()
    if not text or text.lower() == "nan":
        return None
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise UsageError(f"{where}: {column} is {text!r}, not a number") from None
    if not amount.is_finite() or amount < 0:
        raise UsageError(f"{where}: {column} is {text!r}, not an amount")
    return amount


# --- one's own machines ------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Machine:
    """One kind of machine, as its owner describes it; see the guide."""

    name: str
    gpu: str = ""
    gpus: int = 0
    gpu_hour: str | None = None
    node_hour: str | None = None
    purchase: str | None = None
    years: str | None = None
    watts: str | None = None
    tariff: str | None = None
    currency: str | None = None
    as_of: str | None = None


_EXAMPLE: Final = (
    "a machine has gpu_hour, or node_hour, or purchase and years (and watts and tariff)"
)


def read_machines(text: str, *, source: str, as_of: dt.date) -> Imported:
    """Read a list of one's own machines in YAML; their skus are ``owned:NAME``.

    Raises
    ------
    UsageError
        It is no such list: names the machine, and the nearest word that is known.
    """
    import yaml  # noqa: PLC0415 - only this needs it

    try:
        # As text: a float is not exact, and 1.10 would be another number.
        data = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - makes nothing but text
    except yaml.YAMLError as error:
        raise UsageError(f"{source} is no YAML: {' '.join(str(error).split())}") from error
    machines = data.get("machines") if isinstance(data, dict) else None
    if not isinstance(machines, list) or not machines:
        raise UsageError(f"{source} has no list of machines", hint=_EXAMPLE)
    common = str(data.get("currency", "usd"))
    return Imported(rows=tuple(_owned(each, source, as_of, common) for each in machines))


def _owned(data: Any, source: str, as_of: dt.date, currency: str) -> CatalogRow:
    known = [each.name for each in fields(_Machine)]
    if not isinstance(data, dict):
        raise UsageError(f"{source}: {data!r} is no machine", hint=_EXAMPLE)
    where = f"{source}: machine {data.get('name', '(without a name)')!r}"
    for name in data:
        if name not in known:
            hint = did_you_mean(str(name), known) or f"it may have {', '.join(known)}"
            raise UsageError(f"{where}: unknown word {name!r}", hint=hint)
    try:
        machine = from_wire(data, _Machine, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(f"{where}: {error}", hint=_EXAMPLE) from error
    if not re.fullmatch(r"[\w.-]+", machine.name):
        raise UsageError(f"{where}: a name has letters, digits, dots and dashes")
    amount, how = _machine_hour(machine, where)
    return CatalogRow(
        provider="owned",
        sku=machine.name,
        gpu=machine.gpu,
        gpus=machine.gpus,
        region="",
        spot=False,
        amount=str(amount),
        currency=currency_code(machine.currency or currency),
        source=f"{source}: {how}",
        as_of=machine.as_of or as_of.isoformat(),
        confidence="owner",
    )


def _machine_hour(machine: _Machine, where: str) -> tuple[Fraction, str]:
    """Return what an hour of a machine costs its owner, and how that was come to."""
    said = [machine.gpu_hour, machine.node_hour, machine.purchase]
    if sum(each is not None for each in said) != 1:
        raise UsageError(f"{where} needs one price, and one alone", hint=_EXAMPLE)
    if machine.gpu_hour is not None:
        if machine.gpus < 1:
            raise UsageError(f"{where} has a price a GPU, and no gpus", hint="add gpus: 8")
        return _fraction(machine.gpu_hour, where, "gpu_hour") * machine.gpus, "price a GPU-hour"
    if machine.node_hour is not None:
        return _fraction(machine.node_hour, where, "node_hour"), "price a node-hour"
    years = _fraction(machine.years, where, "years")
    if not years:
        raise UsageError(f"{where}: years is 0")
    amount = _fraction(machine.purchase, where, "purchase") / (years * _HOURS_A_YEAR)
    how = f"bought for {machine.purchase}, over {machine.years} years"
    if machine.watts is not None or machine.tariff is not None:
        watts = _fraction(machine.watts, where, "watts")
        amount += watts / _WATTS_A_KILOWATT * _fraction(machine.tariff, where, "tariff")
        how += f", {machine.watts} W at {machine.tariff} a kWh"
    return amount, how


def _fraction(text: str | None, where: str, name: str) -> Fraction:
    if text is None:
        raise UsageError(f"{where} does not say {name}", hint=_EXAMPLE)
    try:
        amount = Fraction(text.replace("_", ""))
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"{where}: {name} is {text!r}, not a number") from None
    if amount < 0:
        raise UsageError(f"{where}: {name} is {text}, less than nothing")
    return amount


def as_records(rows: Sequence[CatalogRow]) -> list[Mapping[str, Any]]:
    """Return rows as the store keeps them."""
    names = [each.name for each in fields(CatalogRow)]
    return [{name: getattr(row, name) for name in names} for row in rows]
