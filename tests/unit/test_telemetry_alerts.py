"""Which GPUs somebody should look at, and which not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jupyter_aiinfra.telemetry.alerts import Follower, GpuAlert
from jupyter_aiinfra.telemetry.sample import Sample, parse_sample
from tests.support.readings import a_gpu, a_sample

JOB = "1ng9dkb4fpfh"


def sample(*gpus: dict[str, Any]) -> Sample:
    return parse_sample(json.dumps(a_sample(*gpus)).encode())


class Node:
    """A node whose samples come once in `step` seconds."""

    def __init__(self, step: float = 10.0) -> None:
        self.follower = Follower()
        self.at = 1000.0
        self.step = step

    def pass_seconds(self, seconds: float, *gpus: dict[str, Any]) -> None:
        """Let time pass in which the GPUs are as given."""
        until = self.at + seconds
        while self.at < until:
            self.at += self.step
            self.last = sample(*gpus)
            self.follower.take(self.at, self.last)

    def alerts(self, **leased: float) -> list[GpuAlert]:
        return list(self.follower.alerts(self.last, {a_gpu(0)["uuid"]: leased} if leased else {}))


def process(job: str | None) -> dict[str, Any]:
    return {"pid": 1, "mem": 1, "user": "ada", "cmd": "python", "job": job, "seat": 0}


class TestIdle:
    def test_held_by_a_lease_and_unused_for_ten_minutes(self) -> None:
        node = Node()
        node.pass_seconds(590, a_gpu(0, util=4.9))
        assert node.alerts(**{JOB: 0.0}) == []
        node.pass_seconds(20, a_gpu(0, util=0))
        (alert,) = node.alerts(**{JOB: 0.0})
        assert (alert.kind, alert.index, alert.job, alert.since) == ("idle", 0, JOB, 1010.0)
        node.pass_seconds(10, a_gpu(0, util=5))
        assert node.alerts(**{JOB: 0.0}) == []

    def test_not_of_nobody_and_not_of_a_job_that_has_just_come(self) -> None:
        node = Node()
        node.pass_seconds(3600, a_gpu(0, util=0))
        assert node.alerts() == []
        assert node.alerts(**{JOB: node.at - 500}) == []
        assert len(node.alerts(**{JOB: node.at - 600})) == 1

    def test_held_by_a_process_of_ours_and_not_by_one_of_others(self) -> None:
        node = Node()
        node.pass_seconds(3600, a_gpu(0, util=0, procs=[process(None)]))
        assert node.alerts() == []
        node.pass_seconds(300, a_gpu(0, util=0, procs=[process(JOB)]))
        assert node.alerts() == []
        node.pass_seconds(310, a_gpu(0, util=0, procs=[process(JOB)]))
        assert [alert.job for alert in node.alerts()] == [JOB]

    def test_what_is_unknown_and_what_was_not_read_is_not_idle(self) -> None:
        node = Node()
        node.pass_seconds(900, a_gpu(0, util=None))
        assert node.alerts(**{JOB: 0.0}) == []
        node.pass_seconds(500, a_gpu(0, util=0))
        node.at += 100
        node.pass_seconds(500, a_gpu(0, util=0))
        assert node.alerts(**{JOB: 0.0}) == []


class TestHot:
    @pytest.mark.parametrize(
        ("changes", "is_hot"),
        [
            ({"throttle": ["sw_power_cap"]}, False),
            ({"throttle": ["hw_slowdown", "hw_thermal"]}, True),
            ({"throttle": ["sw_thermal"]}, True),
            ({"throttle": [], "temp_c": 95}, False),
            ({"throttle": None, "temp_c": 95}, True),
            ({"throttle": None, "temp_c": 80}, False),
            ({"throttle": None, "temp_c": None}, False),
        ],
    )
    def test_by_the_reasons_or_else_by_the_temperature(
        self, changes: dict[str, Any], *, is_hot: bool
    ) -> None:
        node = Node()
        node.pass_seconds(10, a_gpu(0, **changes))
        assert [alert.kind for alert in node.alerts()] == (["hot"] if is_hot else [])

    def test_what_comes_and_goes_is_one(self) -> None:
        node = Node()
        node.pass_seconds(10, a_gpu(0, throttle=["sw_thermal"]))
        node.pass_seconds(20, a_gpu(0))
        (first,) = node.alerts()
        node.pass_seconds(10, a_gpu(0, throttle=["sw_thermal"]))
        assert node.alerts() == [first]
        node.pass_seconds(40, a_gpu(0))
        assert node.alerts() == []


def test_a_lost_gpu_is_lost_and_nothing_else() -> None:
    node = Node()
    node.pass_seconds(700, a_gpu(0, util=0, throttle=["sw_thermal"]), a_gpu(1))
    node.pass_seconds(20, a_gpu(0, util=None, throttle=None, lost=True), a_gpu(1))
    (alert,) = node.alerts(**{JOB: 0.0})
    assert (alert.kind, alert.uuid, alert.since) == ("lost", a_gpu(0)["uuid"], 1710.0)
    node.pass_seconds(40, a_gpu(0), a_gpu(1))
    assert node.alerts(**{JOB: 0.0}) == []
