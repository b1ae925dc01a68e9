"""How far a job is: the slowest rank, the stall, and the line that says so."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_aiinfra.model import JobState, Observation, RankStatus
from jupyter_aiinfra.progress import Progress, progress, seconds_text, settled

NOW = 1000.0


def a_rank(
    rank: int, step: int | None = None, took: float | None = None, **more: Any
) -> RankStatus:
    at = None if step is None else more.pop("step_at", NOW)
    return RankStatus(rank=rank, node="n", step=step, step_at=at, step_seconds=took, **more)


def seen(*ranks: RankStatus, state: JobState = JobState.RUNNING, **more: Any) -> Observation:
    return Observation(state=state, seen_at=NOW, ranks=ranks, **more)


def far(*ranks: RankStatus, stall_seconds: float | None = None, **more: Any) -> Progress:
    found = progress(seen(*ranks, **more), stall_seconds=stall_seconds, now=NOW)
    assert found is not None
    return found


@pytest.mark.parametrize("nothing", [None, seen(), seen(a_rank(0), a_rank(1))])
def test_who_reports_no_step_has_no_progress(nothing: Observation | None) -> None:
    assert progress(nothing) is None


def test_the_line_as_in_the_guide() -> None:
    ranks = [a_rank(n, 1240, took) for n, took in enumerate((0.42, 0.4, 0.42, 0.71))]
    found = far(*ranks)
    assert found.text == "step 1,240 · 0.42 s a step · rank 3 is slowest: 0.71 s"
    assert [rank.slow for rank in found.ranks] == [False, False, False, True]


def test_of_two_ranks_the_faster_is_the_measure() -> None:
    found = far(a_rank(0, 10, 0.2), a_rank(1, 10, 0.31))
    assert found.slowest is not None
    assert found.slowest.rank == 1


@pytest.mark.parametrize("times", [(0.2, 0.3), (0.2,), (0.2, 0.25, 0.29, 0.3)])
def test_ranks_that_are_much_alike_have_no_slowest(times: tuple[float, ...]) -> None:
    found = far(*(a_rank(n, 10, took) for n, took in enumerate(times)))
    assert found.slowest is None
    assert "slowest" not in found.text


def test_a_rank_far_behind_is_named_with_what_it_lacks() -> None:
    found = far(a_rank(0, 100, 0.5), a_rank(1, 100, 0.5), a_rank(2, 88, 0.6))
    assert found.text.endswith("rank 2 is slowest: 0.60 s, 12 steps behind")


def test_a_rank_far_behind_without_a_time_is_named_too() -> None:
    found = far(a_rank(0, 100, 0.5), a_rank(1, 1))
    assert found.text.endswith("rank 1 is 99 steps behind")


@pytest.mark.parametrize(
    "late",
    [a_rank(1, 98, 0.5), a_rank(1, 10, 0.001), a_rank(1, 50, 0.5, exit_code=1)],
    ids=["two steps", "a moment", "ended"],
)
def test_a_little_behind_is_not_worth_a_word(late: RankStatus) -> None:
    assert far(a_rank(0, 100, late.step_seconds), late).slowest is None


def test_ranks_that_report_nothing_hold_nobody_up() -> None:
    found = far(a_rank(0, 100, 0.5), a_rank(1))
    assert (found.slowest, [rank.rank for rank in found.ranks]) == (None, [0])


def test_the_first_step_has_no_time() -> None:
    assert far(a_rank(0, 1)).text == "step 1"


def test_metrics_are_those_of_the_first_rank_that_has_some() -> None:
    found = far(
        a_rank(0, 5, 1.0),
        a_rank(1, 5, 1.0, metrics={"loss": 0.123456, "accuracy": None}),
        a_rank(2, 5, 1.0, metrics={"loss": 9.0}),
    )
    assert found.text == "step 5 · loss 0.1235 · accuracy nan · 1.0 s a step"


class TestStall:
    def test_it_is_what_the_node_says(self) -> None:
        found = far(a_rank(0, 5, 1.0), stalled_since=NOW - 320)
        assert found.stalled_seconds == 320
        assert found.text.endswith(
            "no rank has made a step for 5 min 20 s: their stacks are in the logs"
        )

    def test_a_supervised_job_is_the_nodes_to_judge(self) -> None:
        assert far(a_rank(0, 5, 1.0, step_at=0.0), stall_seconds=10).stalled_seconds is None

    @pytest.mark.parametrize(
        ("rank", "limit", "stalled"),
        [
            (a_rank(0, 5, 1.0, step_at=NOW - 20), 10, 20),
            (a_rank(0, 5, 3.0, step_at=NOW - 20), 10, None),
            (a_rank(0, 5, 1.0, step_at=NOW - 20), None, None),
            (a_rank(0, 5, 1.0, step_at=NOW - 5), 10, None),
            (a_rank(0, 5, 1.0, step_at=NOW - 20, exit_code=0), 10, None),
        ],
        ids=["too long", "steps that take long", "off", "not yet", "ended"],
    )
    def test_without_a_supervisor_it_is_found_here(
        self, rank: RankStatus, limit: float | None, stalled: float | None
    ) -> None:
        found = far(rank, stall_seconds=limit, supervised=False)
        assert found.stalled_seconds == stalled

    def test_one_rank_that_moves_is_enough(self) -> None:
        ranks = a_rank(0, 5, 1.0, step_at=0.0), a_rank(1, 5, 1.0)
        assert far(*ranks, stall_seconds=10, supervised=False).stalled_seconds is None

    def test_a_job_that_is_over_does_not_stall(self) -> None:
        found = far(a_rank(0, 5, 1.0), stalled_since=1.0, state=JobState.CANCELLED)
        assert found.stalled_seconds is None


def test_settled_leaves_out_the_steps_and_nothing_else() -> None:
    before = seen(a_rank(0, 5, 1.0, metrics={"loss": 1.0}), reason="x")
    after = seen(a_rank(0, 6, 2.0), reason="x")
    assert settled(before) == settled(after) == seen(a_rank(0), reason="x")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0042, "4.2 ms"),
        (0.0996, "0.10 s"),
        (0.42, "0.42 s"),
        (3.14159, "3.1 s"),
        (71.2, "71 s"),
        (320.0, "5 min 20 s"),
        (7440.0, "2 h 04 min"),
    ],
)
def test_durations_as_people_say_them(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text
