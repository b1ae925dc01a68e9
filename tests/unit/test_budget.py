"""What budgets decide: pure, tried over random histories too."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_aiinfra.cost.money import Money, money
from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.governance.budget import (
    Spend,
    Target,
    covers,
    judge,
    make_budget,
    name_of,
    steps,
    window_of,
)
from jupyter_aiinfra.model import Budget, Decision, JobKind, JobSpec, Origin

NOW = dt.datetime(2026, 11, 25, 12, tzinfo=dt.timezone.utc).timestamp()
HOUR = 3600.0
DAY = 24 * HOUR


def a_budget(**changes: object) -> Budget:
    made = make_budget("100usd", scope="user", subject="anna", now=NOW)
    return replace(made, id="b1", **changes)  # type: ignore[arg-type]


def spent(amount: str, currency: str = "USD") -> Spend:
    return Spend(amounts=(money(amount, currency),))


def decided(
    budget: Budget,
    spend: Spend,
    *targets: Target,
    now: float = NOW,
    claimed: dict[str, Decision] | None = None,
) -> list[Decision]:
    verdict = judge(budget, spend, now=now)
    return steps(budget, verdict, targets, now=now, claimed=claimed or {})


# --- as asked for --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"amount": "lots"}, "no amount of money"),
        ({"amount": "0usd"}, "more than nothing"),
        ({"scope": "usr"}, "did you mean user"),
        ({"scope": "user", "subject": ""}, "of which one"),
        ({"scope": "all", "subject": "anna"}, "of which one"),
        ({"period": "month", "scope": "job"}, "all of the job"),
        ({"period": "year"}, "no period"),
        ({"action": "shout"}, "no action"),
        ({"warn_at": 1.5}, "from 0 to 1"),
        ({"grace_seconds": -1.0}, "30 days"),
    ],
)
def test_what_cannot_be_is_refused_by_name(wrong: dict[str, object], said: str) -> None:
    asked: dict[str, object] = {"amount": "20usd", "scope": "user", "subject": "anna", "now": NOW}
    with pytest.raises(UsageError) as caught:
        make_budget(**(asked | wrong))  # type: ignore[arg-type]
    assert said in f"{caught.value.message} {caught.value.hint}"
    assert caught.value.option == next(iter(wrong if "subject" not in wrong else ("scope",)))


def test_a_budget_is_a_month_s_and_a_job_s_is_all_of_it() -> None:
    assert make_budget("20usd", scope="user", subject="anna", now=NOW).period == "month"
    assert make_budget("20usd", scope="job", subject="j", now=NOW).period == "total"
    assert name_of(a_budget()) == "$100.00 a month for user anna"
    assert name_of(make_budget("9eur", scope="all", period="day", now=NOW)) == (
        "€9.00 a day for everything"
    )


def test_periods_are_those_of_utc() -> None:
    month = window_of(a_budget(), NOW)
    assert month.name == "2026-11"
    assert month.start == dt.datetime(2026, 11, 1, tzinfo=dt.timezone.utc).timestamp()
    assert month.end == dt.datetime(2026, 12, 1, tzinfo=dt.timezone.utc).timestamp()
    day = window_of(a_budget(period="day"), NOW)
    assert (day.name, day.end) == ("2026-11-25", day.start + DAY)
    assert window_of(a_budget(period="total"), NOW).start == 0


@given(st.floats(0, 4e9))
def test_every_moment_is_in_its_period(at: float) -> None:
    for period in ("day", "month"):
        window = window_of(a_budget(period=period), at)
        assert window.start <= at
        assert window.end is not None
        assert at < window.end
        assert window.start % HOUR == 0


def test_whose_cost_counts() -> None:
    spec = JobSpec(
        kind=JobKind.TRAIN,
        name="n",
        argv=("x",),
        origin=Origin(user="anna", notebook="a.ipynb"),
        tags={"project": "llm", "cost-centre": "47"},
    )
    hits = {
        "job": "j1",
        "notebook": "a.ipynb",
        "user": "anna",
        "pool": "lab",
        "project": "llm",
        "cost-centre": "47",
    }
    for scope, subject in hits.items():
        mine = a_budget(scope=scope, subject=subject)
        assert covers(mine, spec, pool="lab", job="j1")
        assert not covers(replace(mine, subject="other"), spec, pool="lab", job="j1")
    assert covers(a_budget(scope="all", subject=""), spec, pool="lab")
    assert not covers(a_budget(scope="team", subject=""), spec, pool="lab")


# --- how far it is -------------------------------------------------------------------------------


def test_how_far_it_is() -> None:
    budget = a_budget()
    reached = {
        text: judge(budget, spent(text), now=NOW).reach
        for text in ("0", "79.99", "80", "99.999999", "100", "1000")
    }
    assert reached == {
        "0": "within",
        "79.99": "within",
        "80": "warned",
        "99.999999": "warned",
        "100": "spent",
        "1000": "spent",
    }


def test_nothing_has_run_is_nothing_spent() -> None:
    verdict = judge(a_budget(), Spend(), now=NOW)
    assert (verdict.reach, verdict.spent) == ("within", money("0"))


def test_an_unknown_price_is_no_price_of_zero() -> None:
    verdict = judge(a_budget(), Spend(unpriced=("lab",), unpriced_seconds=60), now=NOW)
    assert (verdict.reach, verdict.spent, verdict.share) == ("unknown", None, None)
    assert "nobody has said what lab costs" in verdict.problem
    assert decided(a_budget(), Spend(unpriced=("lab",)), Target(job="j1")) == []


def test_what_had_no_price_before_it_got_one_is_told_of() -> None:
    some = Spend(amounts=(money("5"),), unpriced_seconds=95)
    verdict = judge(a_budget(), some, now=NOW)
    assert (verdict.reach, verdict.spent) == ("within", money("5"))
    assert verdict.problem == "95 s of what it counts had no price then, and are not in it"


def test_another_currency_is_never_added() -> None:
    verdict = judge(a_budget(), spent("500", "EUR"), now=NOW)
    assert (verdict.reach, verdict.spent) == ("unknown", None)
    assert "€500.00 of another currency" in verdict.problem
    both = Spend(amounts=(money("500", "EUR"), money("90")))
    verdict = judge(a_budget(), both, now=NOW)
    assert (verdict.reach, verdict.spent) == ("warned", money("90"))
    assert "€500.00" in verdict.problem


def test_a_snoozed_budget_does_nothing_and_says_so() -> None:
    budget = a_budget(snoozed_until=NOW + HOUR)
    assert judge(budget, spent("200"), now=NOW).snoozed
    assert decided(budget, spent("200"), Target(job="j1")) == []
    assert decided(budget, spent("200"), Target(job="j1"), now=NOW + HOUR)


# --- what it does --------------------------------------------------------------------------------


def test_it_warns_every_job_and_says_what_comes() -> None:
    found = decided(a_budget(), spent("85"), Target(job="j1"), Target(job="j2"))
    assert [each.job for each in found] == [None, "j1", "j2"]
    assert {each.kind for each in found} == {"warning"}
    assert found[1].text == (
        "budget of $100.00 a month for user anna: $85.00 of $100.00 spent; at $100.00 it is stopped"
    )


@pytest.mark.parametrize("action", ["warn", "refuse"])
def test_what_only_warns_or_refuses_stops_nothing(action: str) -> None:
    found = decided(a_budget(action=action), spent("120"), Target(job="j1"))
    assert {each.kind for each in found} == {"warning"}


def test_it_stops_with_time_to_save() -> None:
    found = decided(a_budget(), spent("100"), Target(job="j1"), Target(job="j2", grace_seconds=300))
    stops = {each.job: each.grace_seconds for each in found if each.kind == "stop"}
    assert stops == {"j1": 120.0, "j2": 300}
    exact = decided(a_budget(grace_seconds=5.0), spent("100"), Target(job="j2", grace_seconds=300))
    assert [each.grace_seconds for each in exact if each.kind == "stop"] == [5.0]


def test_a_job_that_ends_already_is_left_to_it() -> None:
    found = decided(a_budget(), spent("100"), Target(job="j1", stopping=True))
    assert [each.job for each in found] == [None]


def test_it_asks_once_and_stops_when_nobody_answers() -> None:
    budget = a_budget(action="ask", ask_seconds=600.0)
    target = Target(job="j1")
    first = decided(budget, spent("100"), target)
    assert [(each.kind, each.job, each.until) for each in first] == [
        ("question", None, NOW + 600),
        ("question", "j1", NOW + 600),
    ]
    claimed = {each.key: each for each in first}
    assert decided(budget, spent("101"), target, now=NOW + 599, claimed=claimed) == []
    # One that began meanwhile is asked about too, and has as long as the others.
    late = decided(budget, spent("101"), Target(job="j9"), now=NOW + 300, claimed=claimed)
    assert [(each.kind, each.job, each.until) for each in late] == [("question", "j9", NOW + 600)]
    stops = decided(budget, spent("101"), target, now=NOW + 600, claimed=claimed)
    assert [(each.kind, each.job) for each in stops] == [("stop", "j1")]
    assert "nobody said in 10 min that it may go on" in stops[0].text
    # The answer is a snooze: it is asked anew once that is over.
    later = replace(budget, revision=2, snoozed_until=NOW + HOUR)
    again = decided(later, spent("101"), target, now=NOW + HOUR, claimed=claimed)
    assert [each.kind for each in again] == ["question", "question"]


def test_a_job_s_own_budget_speaks_of_the_job_alone() -> None:
    budget = a_budget(scope="job", subject="j1", period="total")
    for amount, kind in (("85", "warning"), ("100", "stop")):
        found = decided(budget, spent(amount), Target(job="j1"))
        assert [(each.kind, each.job) for each in found] == [(kind, "j1")]


def test_what_was_decided_is_not_decided_again() -> None:
    first = decided(a_budget(), spent("100"), Target(job="j1"))
    claimed = {each.key: each for each in first}
    assert decided(a_budget(), spent("150"), Target(job="j1"), claimed=claimed) == []
    changed = a_budget(revision=2)
    assert decided(changed, spent("150"), Target(job="j1"), claimed=claimed)
    next_month = decided(
        a_budget(), spent("150"), Target(job="j1"), now=NOW + 30 * DAY, claimed=claimed
    )
    assert {each.key for each in next_month}.isdisjoint(claimed)


_MOMENTS = st.tuples(
    st.floats(0, 6 * HOUR),  # that goes by
    st.integers(0, 60),  # dollars that are spent meanwhile
    st.sampled_from(["look", "look", "look", "snooze", "restart"]),
)


@given(
    history=st.lists(_MOMENTS, max_size=30),
    action=st.sampled_from(["warn", "refuse", "ask", "stop"]),
    share=st.floats(0.01, 1.0),
    jobs=st.integers(0, 3),
)
def test_over_any_history_a_budget_acts_once_and_never_too_early(
    history: list[tuple[float, int, str]], action: str, share: float, jobs: int
) -> None:
    budget = a_budget(action=action, warn_share=share, period="total")
    now, amount = NOW, Fraction(0)
    claimed: dict[str, Decision] = {}
    stopped: set[str | None] = set()
    for seconds, dollars, what in history:
        now += seconds
        amount += dollars
        if what == "snooze":
            until = now + HOUR
            budget = replace(budget, snoozed_until=until, revision=budget.revision + 1)
            continue
        spend = Spend(amounts=(Money(amount, "USD"),))
        verdict = judge(budget, spend, now=now)
        targets = [Target(job=f"j{n}", stopping=f"j{n}" in stopped) for n in range(jobs)]
        found = steps(budget, verdict, targets, now=now, claimed=claimed)
        assert steps(budget, verdict, targets, now=now, claimed=claimed) == found
        snoozed = budget.snoozed_until is not None and now < budget.snoozed_until
        for each in found:
            assert not snoozed
            assert each.key not in claimed
            assert each.job not in stopped
            assert amount >= 100 * Fraction(share).limit_denominator(10**6)
            if each.kind in ("stop", "question"):
                assert amount >= 100
                assert action in ("ask", "stop")
            if each.kind == "stop":
                assert each.grace_seconds is not None
                stopped.add(each.job)
            claimed[each.key] = each
        assert len({each.key for each in found}) == len(found)
        if amount >= 100 and action == "stop" and not snoozed:
            assert stopped == {f"j{n}" for n in range(jobs)}
