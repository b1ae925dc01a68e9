"""Shares are exact, callers stay where they are, and headers go before weights."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from jupyter_aiinfra.routing.choice import Choice
from jupyter_aiinfra.routing.config import Share


def shares(**weights: float) -> tuple[Share, ...]:
    return tuple(Share(version=name, weight=weight) for name, weight in weights.items())


@given(percent=st.integers(1, 99), number=st.integers(100, 2000))
def test_a_share_is_exact(percent: int, number: int) -> None:
    choice = Choice(shares(old=100 - percent, new=percent))
    drawn = Counter(choice.draw() for _ in range(number))
    assert abs(drawn["new"] - number * percent / 100) <= 5


def test_a_caller_moves_once() -> None:
    callers = [b"caller-%d" % number for number in range(500)]
    before: set[bytes] = set()
    for percent in (5, 25, 50, 100):
        choice = Choice(shares(old=100 - percent, new=percent))
        new = {caller for caller in callers if choice.draw(caller) == "new"}
        assert before <= new
        assert abs(len(new) - 5 * percent) < 60
        before = new
    assert len(before) == 500


def test_headers_go_first() -> None:
    choice = Choice(
        (
            Share(version="3", weight=1),
            Share(version="4", header={"X-Version": "4", "x-team": "a"}),
            Share(version="5", header={"X-Version": "5"}),
        )
    )
    assert choice.by_headers
    assert choice.ruled({b"x-version": b"4", b"x-team": b"a"}) == "4"
    assert choice.ruled({b"x-version": b"4"}) is None
    assert choice.ruled({b"x-version": b"5"}) == "5"
    # No weight, no draw.
    assert {choice.draw() for _ in range(50)} == {"3"}


def test_nobody_to_ask() -> None:
    assert Choice(()).draw() is None
    assert not Choice(()).by_headers


def test_who_else() -> None:
    assert list(Choice(shares(a=1, b=1, c=0)).others("a")) == ["b"]
