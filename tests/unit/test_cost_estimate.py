from __future__ import annotations

from dataclasses import replace

import pytest

from jupyter_aiinfra.cost.estimate import (
    Before,
    Candidate,
    Measured,
    before_launch,
    hourly,
    projection,
    what_if,
)
from jupyter_aiinfra.cost.money import Money, Rate, Unit, money

GPU_RATE, NODE_RATE = Rate(money("2")), Rate(money("16"), Unit.NODE)


@pytest.mark.parametrize(
    ("rate", "nodes", "gpus", "node_gpus", "cost"),
    [
        (GPU_RATE, 2, 4, 8, money("16")),
        (NODE_RATE, 2, 4, 8, money("16")),
        (NODE_RATE, 2, 0, 0, money("32")),
        (None, 1, 1, 8, None),
        (GPU_RATE, 1, 0, 0, None),
        (NODE_RATE, 1, 0, 8, None),
        (NODE_RATE, 1, 1, None, None),
    ],
)
def test_an_hour_of_a_job_costs_what_it_will_hold(
    rate: Rate | None, nodes: int, gpus: int, node_gpus: int | None, cost: Money | None
) -> None:
    found, reason = hourly(rate, nodes=nodes, gpus=gpus, node_gpus=node_gpus)
    assert found == cost
    assert bool(reason) is (cost is None)


def test_what_is_known_before_a_launch_is_said() -> None:
    found = before_launch(
        money("3.60"), "", limit_seconds=7200, before=Before(job="1mz4k", seconds=100)
    )
    assert (found.likely, found.most) == (money("0.10"), money("7.20"))
    assert found.text == (
        "$3.60 an hour; about $0.10, as job 1mz4k took 100 s; "
        "$7.20 at most, for the 2 h 00 min it may take"
    )
    unknown = before_launch(None, "it has no price", limit_seconds=60, before=None)
    assert (unknown.hourly, unknown.text) == (None, "unknown: it has no price")
    assert before_launch(money(1), "", limit_seconds=None, before=None).text == "$1.00 an hour"


def test_the_rest_of_a_job_is_told_by_its_steps() -> None:
    values = {"cost": money(1), "rate": money("3.60"), "step_seconds": 2.0, "now": 100.0}
    found = projection(step=40, of=100, **values)  # type: ignore[arg-type]
    assert found.step_cost == money("0.002")
    assert (found.remaining_seconds, found.finish_at) == (120.0, 220.0)
    assert found.total == money("1.12")
    without = projection(step=40, of=None, **values)  # type: ignore[arg-type]
    assert (without.step_cost, without.total) == (money("0.002"), None)
    unpriced = projection(**{**values, "step": 4, "of": 8, "rate": None, "cost": None})  # type: ignore[arg-type]
    assert (unpriced.finish_at, unpriced.total, unpriced.step_cost) == (108.0, None, None)
    assert projection(**{**values, "step": None, "of": 9}).step_cost is None  # type: ignore[arg-type]


# --- what if -------------------------------------------------------------------------------------

ON_GPUS = Measured(
    job="1mz4k",
    pool="lab",
    ranks=1,
    nodes=1,
    step_seconds=1.0,
    steps=1000,
    overhead_seconds=60.0,
    gpu="H100",
)
ON_CPUS = replace(ON_GPUS, gpu=None, cpu_seconds=1.9, cores=2, steps=100)


def on_gpus(ranks: int, **changes: object) -> Candidate:
    values: dict[str, object] = {"pool": "lab", "nodes": 1, "gpu": "H100"}
    return Candidate(**{**values, "rate": money(2 * ranks), "ranks": ranks, **changes})  # type: ignore[arg-type]


def on_cpus(ranks: int, cores: int = 2) -> Candidate:
    return Candidate(pool="lab", nodes=1, ranks=ranks, rate=money(1), cores=cores)


def test_the_job_as_it_is_comes_out_as_it_was_measured() -> None:
    (found,) = what_if(ON_GPUS, [on_gpus(1)])
    assert (found.seconds, found.assumes) == (1060.0, ())
    assert found.cost == money("2") * 1060 / 3600


def test_more_gpus_share_the_same_data_and_wait_for_each_other() -> None:
    (found,) = what_if(ON_GPUS, [on_gpus(2)])
    assert found.step_seconds == pytest.approx(1 / 0.97)
    assert found.seconds == pytest.approx(60 + 500 / 0.97)
    assert any("wait for each other 3 %" in each for each in found.assumes)
    assert any("same data" in each for each in found.assumes)
    four, eight = what_if(ON_GPUS, [on_gpus(4), on_gpus(8)])
    assert found.seconds is not None
    assert four.seconds is not None
    assert eight.seconds is not None
    assert found.seconds > four.seconds > eight.seconds
    # On two nodes they wait longer than on one.
    (apart,) = what_if(ON_GPUS, [on_gpus(4, nodes=2)])
    assert (apart.seconds or 0) > (four.seconds or 0)


def test_what_was_measured_of_another_run_goes_before_any_assumption() -> None:
    other = replace(ON_GPUS, job="other", ranks=2, step_seconds=1.5, steps=500)
    (found,) = what_if(ON_GPUS, [on_gpus(2)], others=[other])
    assert found.step_seconds == 1.5
    assert "measured in job other" in found.assumes


def test_spot_and_bf16_say_what_they_assume() -> None:
    plain, half, spot = what_if(
        ON_GPUS, [on_gpus(1), on_gpus(1, bf16=True), on_gpus(1, spot=True, rate=money(1))]
    )
    assert half.step_seconds == pytest.approx(1 / 1.5)
    assert any("bf16" in each for each in half.assumes)
    assert (spot.seconds or 0) > (plain.seconds or 0)
    assert any("interrupted" in each for each in spot.assumes)


def test_of_a_gpu_that_it_never_ran_on_nothing_is_said() -> None:
    (found,) = what_if(ON_GPUS, [on_gpus(1, gpu="A100", pool="other")])
    assert (found.seconds, found.cost) == (None, None)
    assert "never run on A100" in found.problem


def test_without_a_price_there_is_a_time_and_no_cost() -> None:
    (found,) = what_if(ON_GPUS, [on_gpus(2, rate=None, reason="no price")])
    assert found.seconds is not None
    assert (found.cost, found.problem) == (None, "no price")


def test_ranks_on_cpus_share_the_cores() -> None:
    one, two = what_if(ON_CPUS, [on_cpus(1), on_cpus(2)])
    assert one.seconds == 160.0
    # Each has one core of two, and a step needs 1.9 seconds of them.
    assert two.step_seconds == pytest.approx(1.9 / 0.97)
    assert two.seconds == pytest.approx(60 + 50 * 1.9 / 0.97)
    assert any("1 cores instead of the 1.9" in each for each in two.assumes)
    # One that leaves a core idle loses nothing by a second.
    lazy = replace(ON_CPUS, cpu_seconds=0.95)
    (both,) = what_if(lazy, [on_cpus(2)])
    assert both.step_seconds == pytest.approx(1 / 0.97)
    (more,) = what_if(ON_CPUS, [on_cpus(1, cores=4)])
    assert more.step_seconds == 1.0  # the job as it is
    unknown = replace(ON_CPUS, cpu_seconds=None)
    (guess,) = what_if(unknown, [on_cpus(2)])
    assert any("as many free cores" in each for each in guess.assumes)


def test_fewer_ranks_have_more_cores_each() -> None:
    crowded = replace(ON_CPUS, ranks=2, cpu_seconds=0.97)
    (alone,) = what_if(crowded, [on_cpus(1)])
    assert alone.step_seconds == pytest.approx(0.97 / 2 * 0.97)
