from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from jupyter_aiinfra.model import JobKind, JobSpec, JobState, NodePlan, RankError, TrackingRun
from jupyter_aiinfra.node.supervise import FORMAT
from jupyter_aiinfra.pools.files import observation_from_status, orders

SPEC = JobSpec(
    kind=JobKind.TRAIN,
    name="digits",
    argv=("python", "${AIINFRA_RUN_DIR}/aiinfra/rank.py"),
    nodes=2,
    procs=4,
    env={"A": "1"},
    secrets=("TOKEN",),
    port=29500,
    time_limit_seconds=60.0,
    stall_seconds=120.0,
    companion=("python", "track.py"),
)


def a_node(rank: int) -> NodePlan:
    return NodePlan(
        node_rank=rank,
        node=f"n{rank}",
        address="10.0.0.1",
        argv=SPEC.argv,
        env=SPEC.env,
        cwd="/work",
        run_dir="/runs/1",
    )


def test_orders_are_json_with_everything_a_node_needs() -> None:
    made = orders(
        "1",
        SPEC,
        dataclasses.replace(a_node(0), gpus=("GPU-0", "GPU-1")),
        head="10.0.0.1",
        blobs="/blobs",
    )
    assert json.loads(json.dumps(made)) == made
    assert made == {
        "format": FORMAT,
        "job": "1",
        "name": "digits",
        "kind": "train",
        "origin": {"host": None, "user": None},
        "node_rank": 0,
        "node_count": 2,
        "nodes": [{"name": "n0", "address": "10.0.0.1"}],
        "min_nodes": None,
        "max_restarts": 0,
        "dead_peer_seconds": 10.0,
        "join_seconds": 60.0,
        "checkpoints": None,
        "artifacts": [],
        "secrets": True,
        "procs": 4,
        "world": 8,
        "head": "10.0.0.1",
        "port": 29500,
        "gpus": "GPU-0,GPU-1",
        "argv": ["python", "${AIINFRA_RUN_DIR}/aiinfra/rank.py"],
        "argv_alone": None,
        "env": {"A": "1"},
        "cwd": "/work",
        "blobs": "/blobs",
        "verify_world": True,
        "grace_seconds": 10.0,
        "start_timeout_seconds": 600.0,
        "time_limit_seconds": 60.0,
        "stall_seconds": 120.0,
        "tracker": ["python", "track.py"],
    }


def test_only_the_first_node_keeps_the_mlflow_run_and_others_are_read() -> None:
    made = orders("1", SPEC, a_node(1), head="10.0.0.1", blobs="/blobs")
    tracker = ["python", "track.py", "meter"]
    assert (made["node_rank"], made["tracker"], made["gpus"]) == (1, tracker, None)
    alone = dataclasses.replace(SPEC, companion=())
    assert orders("1", alone, a_node(1), head="h", blobs="/blobs")["tracker"] is None


def test_no_secret_is_in_the_orders() -> None:
    assert "TOKEN" not in json.dumps(orders("1", SPEC, a_node(0), head="h", blobs="/blobs"))


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("starting", JobState.STARTING),
        ("running", JobState.RUNNING),
        ("succeeded", JobState.SUCCEEDED),
        ("failed", JobState.FAILED),
        ("cancelled", JobState.CANCELLED),
        ("lost", JobState.LOST),
        ("absent", JobState.LOST),
    ],
)
def test_each_word_of_a_node_is_a_state(word: str, state: JobState) -> None:
    seen = observation_from_status({"state": word}, seen_at=7.0)
    assert (seen.state, seen.seen_at) == (state, 7.0)
    assert (seen.supervised, seen.stopping, seen.ranks, seen.results) == (True, False, (), ())


def test_a_word_nobody_knows_is_no_state() -> None:
    with pytest.raises(KeyError):
        observation_from_status({"state": "dancing"}, seen_at=7.0)


def test_a_run_directory_that_is_gone_is_the_reason() -> None:
    assert observation_from_status({"state": "absent"}, seen_at=7.0).reason == (
        "its run directory is gone"
    )


def test_all_that_a_node_tells_is_seen() -> None:
    status: dict[str, Any] = {
        "job": "1",
        "world": 2,
        "state": "failed",
        "rc": 1,
        "started_at": 1.0,
        "ended_at": 2.0,
        "reason": "rank 1 raised ValueError: no",
        "failed_rank": 1,
        "ended_by": {"SIGINT": [0]},
        "strays": 3,
        "supervised": False,
        "stop": {"grace_seconds": 1.0},
        "results": ["history"],
        "tracking": {"uri": "sqlite:///x", "run_id": "r", "experiment_id": "0", "error": None},
        "ranks": [
            {
                "rank": 0,
                "node": "n0",
                "pid": 10,
                "started_at": 1.0,
                "ended_at": 2.0,
                "exit_code": None,
                "signal": 2,
                "max_memory_bytes": 5,
                "error": None,
            },
            {
                "rank": 1,
                "node": None,
                "error": {"type": "ValueError", "message": "no", "traceback": "…", "line": 3},
            },
        ],
    }
    seen = observation_from_status(status, seen_at=7.0)
    assert (seen.exit_code, seen.started_at, seen.ended_at) == (1, 1.0, 2.0)
    assert (seen.failed_rank, seen.ended_by, seen.strays) == (1, {"SIGINT": (0,)}, 3)
    assert (seen.supervised, seen.stopping, seen.results) == (False, True, ("history",))
    assert seen.tracking == TrackingRun(uri="sqlite:///x", run_id="r", experiment_id="0")
    first, second = seen.ranks
    assert (first.node, first.pid, first.signal, first.max_memory_bytes) == ("n0", 10, 2, 5)
    assert first.error is None
    assert (second.node, second.exit_code) == ("", None)
    assert second.error == RankError(type="ValueError", message="no", traceback="…", line=3)


def test_how_far_a_rank_is_and_that_none_moves_are_seen() -> None:
    step = {"step": 7, "step_at": 9.0, "step_seconds": 0.5, "metrics": {"loss": None}}
    status: dict[str, Any] = {
        "state": "running",
        "stalled_since": 9.0,
        "ranks": [{"rank": 0, **step}, {"rank": 1}],
    }
    seen = observation_from_status(status, seen_at=10.0)
    first, second = seen.ranks
    assert seen.stalled_since == 9.0
    assert (first.step, first.step_at, first.step_seconds) == (7, 9.0, 0.5)
    assert first.metrics == {"loss": None}
    assert (second.step, second.step_at, second.step_seconds, second.metrics) == (
        None,
        None,
        None,
        {},
    )
