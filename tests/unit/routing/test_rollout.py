"""A rollout is promoted with evidence, and rolled back as soon as the evidence is there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_aiinfra.routing.config import Endpoint, Gates, Rollout, Share, Version
from jupyter_aiinfra.routing.rollout import Course, Progress, traffic_of


def course(progress: Progress | None = None, *, gates: Gates | None = None, **told: Any) -> Course:
    known: dict[str, Any] = {"steps": (5, 50, 100), "step_seconds": 10, "least_requests": 50}
    rollout = Rollout(id="r", from_="3", to="4", gates=gates or Gates(), **(known | told))
    return Course(rollout, progress, now=1000.0)


def fill(one: Course, number: int, *, good: bool = True, seconds: float = 0.01) -> None:
    for _ in range(number):
        one.answered(seconds, good=good)


def test_steps_to_the_end() -> None:
    one = course()
    for step in range(3):
        assert one.progress.step == step
        assert not one.look(passed=9.9)
        fill(one, 49)
        assert not one.look(passed=5)
        assert one.progress.reason == "waits for requests: 49 of 50"
        fill(one, 1)
        assert one.look(passed=0, now=2000.0 + step)
    assert one.progress.state == "promoted"
    assert one.progress.reason == "at 100 %: all gates held, last with 50 answers, 0 of them errors"
    assert one.status().since == 2002.0
    assert not one.look(passed=1000)


def test_nothing_is_promoted_unseen() -> None:
    one = course()
    assert not one.look(passed=1e6)
    assert one.progress.reason == "waits for requests: 0 of 50"
    fill(one, 50)
    # What came in time counts, however late.
    assert one.look(passed=0)


def test_one_that_needs_nobody_to_ask() -> None:
    one = course(least_requests=0, steps=(50, 100))
    assert one.look(passed=10)
    assert one.look(passed=10)
    assert one.progress.state == "promoted"
    assert one.progress.reason == "at 100 %: all gates held, last with no requests"
    # Who asks is judged all the same, though not by a first answer.
    one = course(least_requests=0, steps=(50, 100), gates=Gates(error_rate=0.05, p95_ms=None))
    one.answered(0.01, good=False)
    assert not one.look(passed=1)
    one.answered(0.01, good=False)
    assert one.look(passed=1)
    assert one.progress.state == "rolled-back"


def test_a_window_has_to_pass() -> None:
    one = course()
    fill(one, 1000)
    assert not one.look(passed=4)
    assert one.progress.reason == "watched for 4 of 10 s"


def test_errors_roll_back_at_once() -> None:
    one = course()
    assert one.answered(0.01, good=False)
    # One of fifty is what 2 % allow.
    assert not one.look(passed=0.1)
    assert one.answered(0.01, good=False)
    assert one.look(passed=0.1, now=1234.0)
    assert one.progress.state == "rolled-back"
    assert one.progress.since == 1234.0
    said = "at 5 %: 2 of 2 answers of version 4 were errors; 2 % may be"
    assert one.progress.reason == said


def test_errors_within_the_rate_do_not() -> None:
    one = course()
    fill(one, 196)
    fill(one, 4, good=False)
    assert one.look(passed=10)
    assert (one.progress.state, one.progress.step, one.progress.errors) == ("running", 1, 0)


def test_slow_answers_roll_back() -> None:
    one = course()
    fill(one, 97)
    fill(one, 5, seconds=0.3)
    assert not one.look(passed=1)
    fill(one, 1, seconds=0.3)
    assert one.look(passed=0)
    assert "6 of 103 answers of version 4 took longer than 200 ms" in one.progress.reason


def test_other_answers_roll_back() -> None:
    one = course(gates=Gates(agreement=0.9))
    assert one.compares
    for _ in range(5):
        assert one.compared(same=False)
    assert not one.look(passed=1)
    one.compared(same=False)
    assert one.look(passed=0)
    assert "6 of 6 answers of version 4 differ from those of version 3" in one.progress.reason
    assert not one.compares


def test_agreement_wants_comparisons() -> None:
    one = course(gates=Gates(agreement=0.9))
    fill(one, 60)
    assert not one.look(passed=10)
    assert one.progress.reason == "waits for answers to compare: 0 of 50"
    for _ in range(50):
        assert not one.compared(same=True)
    assert one.look(passed=0)


def test_gates_may_be_off() -> None:
    one = course(gates=Gates(error_rate=None, p95_ms=None), steps=(100,))
    fill(one, 50, good=False, seconds=9)
    assert one.look(passed=10)
    assert one.progress.state == "promoted"


def test_a_version_that_is_never_ready() -> None:
    one = course()
    one.unready(passed=60)
    assert not one.look(passed=60)
    assert "waits for a replica of version 4" in one.progress.reason
    one.unready(passed=1)
    assert one.look(passed=1)
    assert "no replica that was ready for 61 s" in one.progress.reason


def test_being_ready_again_is_enough() -> None:
    one = course()
    one.unready(passed=50)
    one.answered(0.01, good=True)
    one.unready(passed=50)
    assert not one.look(passed=100)


def test_a_step_that_is_less_than_all_stays() -> None:
    one = course(steps=(10,))
    fill(one, 50)
    assert not one.look(passed=10)
    assert one.progress.reason == "stays at 10 %: all gates hold"
    assert one.progress.requests == 0
    fill(one, 2, good=False)
    assert one.look(passed=0)
    assert one.progress.state == "rolled-back"


def test_it_goes_on_where_it_was() -> None:
    one = course()
    fill(one, 50)
    one.look(passed=10)
    fill(one, 7)
    again = course(one.progress)
    assert (again.progress.step, again.progress.requests) == (1, 7)
    # A later rollout begins at its beginning.
    other = Course(Rollout(id="s", from_="3", to="4"), one.progress, now=5.0)
    assert other.progress == Progress(id="s", since=5.0)
    # A configuration with fewer steps does not lose it.
    one.progress.step = 2
    assert course(one.progress, steps=(5, 10)).progress.step == 1


ENDPOINT = Endpoint(
    versions={"3": Version(), "4": Version(), "5": Version()},
    traffic=(
        Share(version="3", weight=100),
        Share(version="4", header={"X-Version": "4"}),
        Share(version="5", weight=1, header={"X-Version": "5"}),
    ),
)


def test_traffic_of_a_rollout() -> None:
    one = course()
    four = {"X-Version": "4"}
    running = traffic_of(ENDPOINT, one)
    assert [(share.version, share.weight) for share in running] == [("3", 95), ("4", 5), ("5", 0)]
    assert [share.header for share in running] == [None, four, {"X-Version": "5"}]
    one.progress.state = "promoted"
    assert traffic_of(ENDPOINT, one) == (Share(version="4", weight=100, header=four),)
    one.progress.state = "rolled-back"
    assert traffic_of(ENDPOINT, one) == (Share(version="3", weight=100),)


def test_traffic_without_one() -> None:
    assert traffic_of(ENDPOINT, None) == ENDPOINT.traffic
    assert traffic_of(Endpoint(versions={"1": Version()}), None) == (Share(version="1", weight=1),)
    assert traffic_of(Endpoint(versions={"1": Version(), "2": Version()}), None) == ()


@given(
    answers=st.lists(st.tuples(st.booleans(), st.sampled_from([0.01, 0.5])), max_size=400),
    rate=st.sampled_from([0.0, 0.02, 0.5, 1.0]),
)
def test_the_verdict_is_that_of_the_whole(answers: list[tuple[bool, float]], rate: float) -> None:
    """What is promoted held its gates, and what was ended would not have held them."""
    one = course(gates=Gates(error_rate=rate, p95_ms=200), steps=(100,), least_requests=20)
    for good, seconds in answers:
        if one.answered(seconds, good=good):
            one.look(passed=0)
        if not one.running:
            break
    one.look(passed=10)
    progress = one.progress
    of = max(progress.requests, 20)
    holds = progress.errors <= rate * of and progress.slow <= 0.05 * of
    expected = "rolled-back" if not holds else "promoted" if progress.requests >= 20 else "running"
    assert progress.state == expected


@pytest.mark.parametrize("state", ["promoted", "rolled-back"])
def test_a_decision_is_for_good(state: str) -> None:
    one = course()
    one.progress.state = state
    fill(one, 100, good=False)
    assert not one.look(passed=100)
    assert one.progress.state == state
