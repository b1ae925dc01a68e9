from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_aiinfra.cost.money import (
    Money,
    Unit,
    currency_code,
    money,
    parse_money,
    parse_rate,
    total,
    wire_money,
)
from jupyter_aiinfra.errors import UsageError

amounts = st.fractions(min_value=-(10**9), max_value=10**9)


@pytest.mark.parametrize(
    ("text", "amount", "currency"),
    [
        ("20usd", "20", "USD"),
        ("20 USD", "20", "USD"),
        ("$20", "20", "USD"),
        ("€0.50", "0.50", "EUR"),
        ("0.50€", "0.50", "EUR"),
        ("12", "12", "USD"),
        ("£3", "3", "GBP"),
        ("1000000.000001chf", "1000000.000001", "CHF"),
    ],
)
def test_amounts_are_read(text: str, amount: str, currency: str) -> None:
    assert parse_money(text) == Money(Fraction(amount), currency)


@pytest.mark.parametrize("text", ["", "usd", "-3usd", "$3usd", "1e9", "20 usdd", "nan", "3,50eur"])
def test_what_is_no_amount_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_money(text)
    assert "20usd" in caught.value.hint


def test_another_currency_than_the_one_that_is_said_is_refused() -> None:
    assert parse_money("3", currency="eur") == money(3, "EUR")
    with pytest.raises(UsageError, match=r"USD.*EUR"):
        parse_money("$3", currency="eur")


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("2.49/gpu-h", Unit.GPU),
        ("2.49/h", Unit.GPU),
        ("2.49", Unit.GPU),
        ("2.49usd/node-hour", Unit.NODE),
    ],
)
def test_prices_are_read(text: str, unit: Unit) -> None:
    rate = parse_rate(text)
    assert (rate.money, rate.unit) == (money("2.49"), unit)


@pytest.mark.parametrize("text", ["2.49/day", "x/gpu-h", "2.49/"])
def test_what_is_no_price_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_rate(text)
    assert "2.49/gpu-h" in caught.value.hint


def test_two_currencies_are_never_put_together() -> None:
    one, other = money(1, "usd"), money(1, "eur")
    for mix in (
        lambda: one + other,
        lambda: one - other,
        lambda: one < other,
        lambda: one >= other,
        lambda: one > other,
        lambda: one <= other,
    ):
        with pytest.raises(UsageError, match="two currencies"):
            mix()
    assert total([one, other, one]) == (money(1, "EUR"), money(2, "USD"))
    assert one != other


@given(st.lists(amounts, min_size=1, max_size=20))
def test_sums_are_exact_whatever_the_order(parts: list[Fraction]) -> None:
    there = total(Money(each, "USD") for each in parts)
    back = total(Money(each, "USD") for each in reversed(parts))
    assert there == back
    assert there[0].amount == sum(parts)


@given(amounts)
def test_what_is_kept_comes_back_as_it_was(amount: Fraction) -> None:
    value = Money(amount, "USD")
    assert money(Fraction(value.wire_exact)) == value
    assert abs(Fraction(Decimal(value.wire)) - amount) <= Fraction(1, 2 * 10**9)


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("12.345", "$12.34"),
        ("12.355", "$12.36"),
        ("1234567.891", "$1,234,567.89"),
        ("0", "$0.00"),
        ("0.0123", "$0.0123"),
        ("0.000012", "$0.000012"),
        ("-3", "-$3.00"),
    ],
)
def test_only_what_is_shown_is_rounded(amount: str, shown: str) -> None:
    assert money(amount).text == shown


def test_other_currencies_are_shown_by_their_code() -> None:
    assert str(money("3.5", "chf")) == "3.50 CHF"
    assert money("0.5", "eur").text == "€0.50"


def test_a_float_is_refused_because_it_is_not_exact() -> None:
    with pytest.raises(TypeError, match="not exact"):
        money(2.49)  # type: ignore[arg-type]


def test_what_crosses_says_its_currency_and_the_unknown_stays_unknown() -> None:
    assert wire_money(money("12.50", "eur")) == {"amount": "12.5", "currency": "EUR"}
    assert wire_money(money(0)) == {"amount": "0", "currency": "USD"}
    assert wire_money(None) is None


def test_a_currency_has_three_letters() -> None:
    assert currency_code("$") == "USD"
    with pytest.raises(UsageError, match="'euro'"):
        currency_code("euro")
