"""Money: an exact amount of one currency, and rates of it. Two currencies are never added.

An amount is a fraction, since a price an hour times a second has thirds of cents; only what is
shown is rounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from enum import Enum
from fractions import Fraction
from typing import Any, Final

from jupyter_aiinfra.errors import UsageError

__all__ = [
    "Money",
    "Rate",
    "Unit",
    "currency_code",
    "money",
    "parse_money",
    "parse_rate",
    "total",
    "wire_money",
]

_SYMBOLS: Final[Mapping[str, str]] = {"$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "₹": "INR"}
_SHOWN: Final[Mapping[str, str]] = {code: symbol for symbol, code in _SYMBOLS.items()}
_NUMBER: Final = r"\d{1,12}(?:\.\d{1,12})?"
_AMOUNT: Final = re.compile(
    rf"(?P<symbol>[$€£¥₹])?\s*(?P<number>{_NUMBER})\s*(?P<after>[$€£¥₹]|[A-Za-z]{{3}})?"
)
_WIRE_PLACES: Final = 9
_SMALL: Final = Fraction(1, 10)


class Unit(str, Enum):
    """What a price is for an hour of: a GPU, or a whole node."""

    GPU = "gpu-hour"
    NODE = "node-hour"


_UNITS: Final[Mapping[str, Unit]] = {
    "h": Unit.GPU,
    "hour": Unit.GPU,
    "hr": Unit.GPU,
    "gpu-h": Unit.GPU,
    "gpu-hr": Unit.GPU,
    "gpu-hour": Unit.GPU,
    "node-h": Unit.NODE,
    "node-hr": Unit.NODE,
    "node-hour": Unit.NODE,
    "machine-h": Unit.NODE,
}


@dataclass(frozen=True)
class Money:
    """An exact amount of a currency.

    Adding, subtracting or comparing two currencies raises :class:`.UsageError`: no exchange rate
    is assumed.
    """

    amount: Fraction
    currency: str

    def __add__(self, other: Money) -> Money:
        return Money(self.amount + self._same(other), self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(self.amount - self._same(other), self.currency)

    def __mul__(self, factor: int | Fraction) -> Money:
        return Money(self.amount * factor, self.currency)

    def __truediv__(self, divisor: int | Fraction) -> Money:
        return Money(self.amount / divisor, self.currency)

    def __lt__(self, other: Money) -> bool:
        return self.amount < self._same(other)

    def __le__(self, other: Money) -> bool:
        return self.amount <= self._same(other)

    def __gt__(self, other: Money) -> bool:
        return self.amount > self._same(other)

    def __ge__(self, other: Money) -> bool:
        return self.amount >= self._same(other)

    def __str__(self) -> str:
        return self.text

    def _same(self, other: Money) -> Fraction:
        if other.currency != self.currency:
            raise UsageError(
                f"{self.text} and {other.text} are two currencies and cannot be put together",
                hint="nothing here converts money: give prices and budgets in one currency",
            )
        return other.amount

    def rounded(self, places: int = 2) -> Decimal:
        """Return the amount as a decimal number of so many places, half to even."""
        with localcontext() as context:
            context.prec = 60
            exact = Decimal(self.amount.numerator) / Decimal(self.amount.denominator)
            return exact.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN)

    @property
    def text(self) -> str:
        """For a person: ``$12.35``, and more places where there would be nothing to see."""
        places = 2
        if self.amount and abs(self.amount) < _SMALL:
            places = 4 if abs(self.amount) >= Fraction(1, 2000) else 6
        number = self.rounded(places)
        sign = "-" if number < 0 else ""
        symbol = _SHOWN.get(self.currency)
        if symbol is None:
            return f"{number:,} {self.currency}"
        return f"{sign}{symbol}{abs(number):,}"

    @property
    def wire(self) -> str:
        """For a program: the amount as a decimal number of nine places at most, in text."""
        text = format(self.rounded(_WIRE_PLACES), "f").rstrip("0").rstrip(".")
        return "0" if text in {"", "-0"} else text

    @property
    def wire_exact(self) -> str:
        """For the record: the amount as a fraction in text, without any rounding."""
        return str(self.amount)


@dataclass(frozen=True)
class Rate:
    """So much money an hour of a GPU or of a node."""

    money: Money
    unit: Unit = Unit.GPU

    @property
    def text(self) -> str:
        """For a person: ``$2.49 a GPU-hour``."""
        return f"{self.money.text} a {'GPU' if self.unit is Unit.GPU else 'node'}-hour"


def money(amount: Decimal | int | str | Fraction, currency: str = "USD") -> Money:
    """Return so much of a currency, exactly; a ``float`` is refused, for it is not exact."""
    if isinstance(amount, float):
        raise TypeError(f"{amount!r} is not exact: give a Decimal or text")
    return Money(Fraction(amount), currency_code(currency))


def total(parts: Iterable[Money]) -> tuple[Money, ...]:
    """Return the sums of `parts`, one a currency, by its code."""
    sums: dict[str, Fraction] = {}
    for part in parts:
        sums[part.currency] = sums.get(part.currency, Fraction(0)) + part.amount
    return tuple(Money(amount, currency) for currency, amount in sorted(sums.items()))


def currency_code(text: str) -> str:
    """Return ``USD`` for ``usd`` or ``$``.

    Raises
    ------
    UsageError
        It is no code of three letters.
    """
    code = _SYMBOLS.get(text, text).upper()
    if not re.fullmatch(r"[A-Z]{3}", code):
        raise UsageError(
            f"{text!r} is no currency", hint="give its code of three letters, such as usd or eur"
        )
    return code


def parse_money(text: str, *, currency: str | None = None) -> Money:
    """Read ``20usd``, ``20 USD``, ``$20``, ``€20`` or ``20``, which is in `currency` or dollars.

    Raises
    ------
    UsageError
        It is none, or says another currency than `currency`.
    """
    found = _AMOUNT.fullmatch(text.strip())
    said = found and (found["symbol"] or found["after"])
    if found is None or (found["symbol"] and found["after"]):
        raise UsageError(f"{text!r} is no amount of money", hint="such as 20usd, 0.50eur or $20")
    wanted = None if currency is None else currency_code(currency)
    code = currency_code(said) if said else wanted or "USD"
    if wanted is not None and code != wanted:
        raise UsageError(
            f"{text!r} is in {code}, and the currency is said to be {wanted}",
            hint="say one of them",
        )
    return Money(Fraction(found["number"]), code)


def parse_rate(text: str, *, currency: str | None = None) -> Rate:
    """Read ``2.49/gpu-h``, ``€3/h``, ``1.20eur/node-h``; a plain number is for a GPU.

    Raises
    ------
    UsageError
        It is none.
    """
    amount, slash, unit = text.strip().partition("/")
    known = _UNITS.get(unit.strip().lower()) if slash else Unit.GPU
    if known is None:
        raise UsageError(
            f"{text!r}: a price is for gpu-h or node-h, not for {unit.strip()!r}",
            hint="such as 2.49/gpu-h, or 1.20eur/node-h for machines without GPUs",
        )
    try:
        return Rate(parse_money(amount, currency=currency), known)
    except UsageError as error:
        raise UsageError(
            f"{text!r} is no price: {error.message}", hint="such as 2.49/gpu-h or 1.20eur/node-h"
        ) from None


def wire_money(value: Money | None) -> Mapping[str, Any] | None:
    """Return ``{"amount": "12.34", "currency": "USD"}``; the unknown stays ``None``."""
    return None if value is None else {"amount": value.wire, "currency": value.currency}
