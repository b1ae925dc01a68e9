from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_aiinfra.cost.meter import (
    GAP,
    HOUR,
    HOUR_US,
    NOBODY,
    NODE_SLOT,
    SECOND_US,
    Allocation,
    Capacity,
    Facts,
    PriceSince,
    Usage,
    cost_of,
    meter,
)
from jupyter_aiinfra.cost.money import Money, Unit, money

# A moment in the middle of an hour, on a day on which clocks are changed in Europe.
BEGIN = 1_792_893_600 - 1800
RATES: Mapping[int, tuple[Money, Unit]] = {
    1: (money("2.49"), Unit.GPU),
    2: (money("55.04"), Unit.NODE),
    3: (money("0.10"), Unit.GPU),
}
UNKNOWN = 9


def us(seconds: float) -> int:
    return round((BEGIN + seconds) * SECOND_US)


# --- the simple reference: tick by tick, in fractions --------------------------------------------

TICK = 20  # nothing of a random history happens within one


def reference(  # noqa: C901 - as plain as can be, rather than short
    facts: Facts, start: int, end: int
) -> Mapping[tuple[str, int], list[Fraction]]:
    """Return by job and price: machine time in seconds, used, idle, and an hour's share of it."""
    found: dict[tuple[str, int], list[Fraction]] = defaultdict(lambda: [Fraction(0)] * 4)
    nodes = {each.node for each in facts.capacity} | {each.node for each in facts.allocations}
    for second in range(start, end, TICK):
        at = second * SECOND_US
        price = None
        for each in sorted(facts.prices, key=lambda each: (each.since, each.id)):
            if each.since <= at:
                price = each
        for node in nodes:
            has = {e.slot for e in facts.capacity if e.node == node and holds(e, at)}
            given = [e for e in facts.allocations if e.node == node and holds(e, at)]
            slots = has | {e.slot for e in given if e.slot != NODE_SLOT or not has}
            for slot in slots:
                jobs = {e.job for e in given if e.slot == slot} or {NOBODY}
                number, share = 0, Fraction(1)
                if price is not None and price.unit is not None:
                    if price.unit is Unit.NODE:
                        gpus = len([e for e in has if e != NODE_SLOT])
                        share = Fraction(1, 1 if slot == NODE_SLOT else max(1, gpus))
                        number = price.id
                    elif slot != NODE_SLOT:
                        number = price.id
                hour = second // HOUR * HOUR
                minutes = facts.load.get((node, slot, hour))
                percent = GAP if minutes is None else minutes[(second - hour) // 60]
                for job in jobs:
                    part = Fraction(TICK, len(jobs))
                    row = found[job, number]
                    row[0] += part
                    if percent != GAP:
                        row[1] += part * percent / 100
                        row[2] += part * (100 - percent) / 100
                    row[3] += part * share
    return found


def holds(fact: Allocation | Capacity, at: int) -> bool:
    return fact.since <= at and (fact.until is None or at < fact.until)


def metered(rows: Sequence[Usage]) -> Mapping[tuple[str, int], list[Fraction]]:
    found: dict[tuple[str, int], list[Fraction]] = defaultdict(lambda: [Fraction(0)] * 4)
    for row in rows:
        sums = found[row.job, row.price]
        for number, amount in enumerate((row.allocated, row.used, row.idle)):
            sums[number] += Fraction(amount, SECOND_US)
        sums[3] += Fraction(row.allocated, SECOND_US * max(1, row.parts))
    return found


# --- random histories ----------------------------------------------------------------------------

SPAN = 9000  # two and a half hours
moments = st.integers(-60, SPAN // TICK + 60).map(lambda number: number * TICK)
slots = st.sampled_from([("n0", "a"), ("n0", "b"), ("n0", "c"), ("n1", "d"), ("n2", NODE_SLOT)])


@st.composite
def intervals(draw: st.DrawFn) -> tuple[int, int | None]:
    since = draw(moments)
    # Also one that ends before it begins: a clock was set back in between.
    return us(since), draw(
        st.none() | st.integers(-30, SPAN // TICK).map(lambda n: us(since + n * TICK))
    )


@st.composite
def histories(draw: st.DrawFn) -> Facts:
    capacity = []
    for node, slot in draw(st.lists(slots, unique=True)):
        since, until = draw(intervals())
        capacity.append(Capacity(node=node, slot=slot, since=since, until=until))
        if until is not None and draw(st.booleans()):
            later = max(since, until) + draw(st.integers(0, 150)) * TICK * SECOND_US
            capacity.append(Capacity(node=node, slot=slot, since=later))
    allocations = []
    for job in "stuvw"[: draw(st.integers(0, 5))]:
        # Several slots, each with its own time: an elastic job that grew.
        for node, slot in draw(st.lists(slots, min_size=1, max_size=3, unique=True)):
            since, until = draw(intervals())
            allocations.append(Allocation(job=job, node=node, slot=slot, since=since, until=until))
    changes = draw(st.lists(st.tuples(moments, st.sampled_from([*RATES, UNKNOWN])), max_size=4))
    # The number of a price is that of its row: one that is said again is another row.
    prices = [
        PriceSince(
            id=10 * number + which,
            since=us(at),
            unit=RATES[which][1] if which in RATES else None,
        )
        for number, (at, which) in enumerate(changes)
    ]
    hours = range(BEGIN // HOUR * HOUR, BEGIN + SPAN + HOUR, HOUR)
    percent = st.integers(0, 100) | st.just(GAP)
    load = {
        (node, slot, hour): draw(st.lists(percent, min_size=1, max_size=60)) * 60
        for node, slot in draw(st.lists(slots, unique=True, max_size=3))
        for hour in hours
    }
    load = {key: values[:60] for key, values in load.items()}
    return Facts(capacity=capacity, allocations=allocations, prices=prices, load=load)


def assert_alike(
    found: Mapping[tuple[str, int], list[Fraction]],
    wanted: Mapping[tuple[str, int], list[Fraction]],
    *,
    within: Fraction,
) -> None:
    for key in {*found, *wanted}:
        if key[0] == NOBODY and key[1] == 0:
            continue  # idle nodes without GPUs and price are not told of
        for one, other in zip(
            found.get(key, [Fraction(0)] * 4), wanted.get(key, [Fraction(0)] * 4), strict=True
        ):
            assert abs(one - other) <= within, key


@settings(max_examples=80, deadline=None)
@given(histories())
def test_the_meter_says_what_looking_all_the_time_says(facts: Facts) -> None:
    wanted = reference(facts, BEGIN, BEGIN + SPAN)
    rows = meter(facts, start=us(0), end=us(SPAN))
    # Where jobs share a GPU, microseconds are given to one of them whole: one for each change.
    assert_alike(metered(rows), wanted, within=Fraction(1, 1000))
    # All together nothing is lost, whoever has it.
    totals: dict[int, list[Fraction]] = defaultdict(lambda: [Fraction(0)] * 4)
    for sign, each in ((1, metered(rows)), (-1, wanted)):
        for (job, price), sums in each.items():
            if (job, price) != (NOBODY, 0):
                totals[price][0] += sign * sums[0]
                totals[price][3] += sign * sums[3]
    assert all(not sums[0] and not sums[3] for price, sums in totals.items() if price)


@settings(max_examples=100, deadline=None)
@given(histories(), st.lists(st.integers(1, SPAN - 1), max_size=5))
def test_it_does_not_matter_when_and_how_often_it_is_asked(facts: Facts, cuts: list[int]) -> None:
    whole = metered(meter(facts, start=us(0), end=us(SPAN)))
    bounds = [0, *sorted(set(cuts)), SPAN]
    parts = [
        row
        for first, last in itertools.pairwise(bounds)
        for row in meter(facts, start=us(first), end=us(last))
    ]
    assert_alike(metered(parts), whole, within=Fraction(len(bounds) * 5, 10**4))
    again = meter(facts, start=us(0), end=us(SPAN))
    assert metered(again) == whole
    coarse = metered(meter(facts, start=us(0), end=us(SPAN), by_hour=False))
    for key, sums in coarse.items():
        assert abs(sums[0] - whole[key][0]) <= Fraction(1, 1000)


@settings(max_examples=100, deadline=None)
@given(histories())
def test_jobs_and_what_nobody_had_are_the_pools_bill(facts: Facts) -> None:
    rows = meter(facts, start=us(0), end=us(SPAN))
    for row in rows:
        assert row.allocated > 0
        assert row.used >= 0 <= row.idle
        assert row.used + row.idle <= row.allocated
        assert row.start % HOUR == 0
    # The bill, of what is there and of prices alone: a GPU costs whether anybody has it or not.
    alone = meter(Facts(capacity=facts.capacity, prices=facts.prices), start=us(0), end=us(SPAN))
    given_beside = [row for row in meter(facts, start=us(0), end=us(SPAN)) if row.job != NOBODY]
    listed = _cost(alone)
    everything = _cost(rows)
    # A job may have been given what is listed nowhere: that comes on top.
    assert everything >= listed
    if all(_listed(each, facts.capacity) for each in facts.allocations):
        assert everything == listed
        assert _cost(given_beside) <= listed


def _cost(rows: Sequence[Usage]) -> Fraction:
    return sum(
        (
            cost_of(RATES[row.price % 10][0], row.allocated, row.parts).amount
            for row in rows
            if row.price % 10 in RATES
        ),
        Fraction(0),
    )


def _listed(allocation: Allocation, capacity: Sequence[Capacity]) -> bool:
    until = us(SPAN) if allocation.until is None else allocation.until
    since, until = max(allocation.since, us(0)), min(until, us(SPAN))
    return since >= until or any(
        each.node == allocation.node
        and each.slot == allocation.slot
        and each.since <= since
        and (each.until is None or each.until >= until)
        for each in capacity
    )


# --- by hand -------------------------------------------------------------------------------------


def one(job: str, since: float, until: float | None, slot: str = "a") -> Allocation:
    end = None if until is None else us(until)
    return Allocation(job=job, node="n0", slot=slot, since=us(since), until=end)


HAS = [Capacity(node="n0", slot=slot, since=us(-HOUR)) for slot in "ab"]
PRICE = [PriceSince(id=1, since=us(-HOUR), unit=Unit.GPU)]


def by_job(facts: Facts, seconds: int = SPAN) -> Mapping[str, Fraction]:
    sums: dict[str, Fraction] = defaultdict(Fraction)
    for row in meter(facts, start=us(0), end=us(seconds)):
        sums[row.job] += Fraction(row.allocated, SECOND_US)
    return sums


def test_two_jobs_that_share_a_gpu_pay_half_of_it_each() -> None:
    facts = Facts(
        capacity=HAS[:1], prices=PRICE, allocations=[one("s", 0, 3000), one("t", 1000, 4000)]
    )
    assert by_job(facts) == {"s": 2000, "t": 2000, NOBODY: SPAN - 4000}


def test_an_elastic_job_pays_for_what_it_grew_by_from_then_on() -> None:
    facts = Facts(
        capacity=HAS, prices=PRICE, allocations=[one("s", 0, 3000), one("s", 1000, 3000, "b")]
    )
    assert by_job(facts)["s"] == 5000


def test_a_price_that_changes_in_mid_run_holds_from_then_on() -> None:
    prices = [*PRICE, PriceSince(id=3, since=us(600), unit=Unit.GPU)]
    facts = Facts(capacity=HAS, prices=prices, allocations=[one("s", 0, 900)])
    rows = [row for row in meter(facts, start=us(0), end=us(SPAN)) if row.job == "s"]
    costs = [cost_of(RATES[row.price][0], row.allocated, row.parts).amount for row in rows]
    assert sum(costs) == Fraction("2.49") * 600 / 3600 + Fraction("0.10") * 300 / 3600


def test_the_price_of_a_node_is_shared_by_its_gpus() -> None:
    prices = [PriceSince(id=2, since=us(-HOUR), unit=Unit.NODE)]
    facts = Facts(capacity=HAS, prices=prices, allocations=[one("s", 0, 3600)])
    rows = meter(facts, start=us(0), end=us(3600))
    total = sum(cost_of(RATES[2][0], row.allocated, row.parts).amount for row in rows)
    mine = sum(
        cost_of(RATES[2][0], row.allocated, row.parts).amount for row in rows if row.job == "s"
    )
    assert (mine, total) == (Fraction("27.52"), Fraction("55.04"))


def test_a_price_of_gpus_says_nothing_of_a_node_without_any() -> None:
    node = Capacity(node="n0", slot=NODE_SLOT, since=us(0))
    facts = Facts(capacity=[node], prices=PRICE, allocations=[one("s", 0, 100, NODE_SLOT)])
    (row,) = meter(facts, start=us(0), end=us(SPAN))
    assert (row.job, row.price, row.parts, row.allocated) == ("s", 0, 0, 100 * SECOND_US)


def test_a_job_on_cpus_of_a_node_with_gpus_has_none_of_them() -> None:
    facts = Facts(capacity=HAS, prices=PRICE, allocations=[one("s", 0, 100, NODE_SLOT)])
    assert set(by_job(facts)) == {NOBODY}


def test_an_unknown_price_is_no_price_of_zero() -> None:
    prices = [*PRICE, PriceSince(id=UNKNOWN, since=us(600), unit=None)]
    facts = Facts(capacity=HAS[:1], prices=prices, allocations=[one("s", 0, 900)])
    rows = meter(facts, start=us(0), end=us(900))
    assert [(row.price, row.allocated // SECOND_US) for row in rows] == [(0, 300), (1, 600)]


def test_the_load_of_part_of_a_minute_counts_for_that_part() -> None:
    hour = us(0) // HOUR_US * HOUR
    minutes = [GAP] * 60
    minutes[30], minutes[31] = 50, 100
    facts = Facts(
        capacity=HAS[:1],
        prices=PRICE,
        allocations=[one("s", 30, 180)],
        load={("n0", "a", hour): minutes},
    )
    (mine,) = [row for row in meter(facts, start=us(0), end=us(1800)) if row.job == "s"]
    seconds = tuple(each / SECOND_US for each in (mine.allocated, mine.used, mine.idle))
    assert seconds == (150, 75, 15)


@pytest.mark.parametrize("end", [0, -1])
def test_of_no_time_there_is_no_usage(end: int) -> None:
    assert meter(Facts(capacity=HAS, prices=PRICE), start=us(0), end=us(end)) == []
