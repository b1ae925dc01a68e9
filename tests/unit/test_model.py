from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_aiinfra import model
from jupyter_aiinfra.model import (
    CaptureKind,
    Desired,
    FileRef,
    Handle,
    Interpreter,
    Job,
    JobKind,
    JobSpec,
    JobState,
    Manifest,
    ManifestItem,
    NodePlan,
    Observation,
    Origin,
    Plan,
    RankError,
    RankStatus,
    TrackingRun,
    TrackingSpec,
    from_wire,
    new_job_id,
    to_wire,
)

SPEC = JobSpec(
    kind=JobKind.TRAIN,
    name="digits",
    argv=("python", "cell.py"),
    nodes=2,
    procs=3,
    env={"A": "1"},
    secrets=("TOKEN",),
    files=(FileRef(digest="ab", size_bytes=2, path="cell.py"), FileRef(digest="cd", size_bytes=0)),
    fetch=("history",),
    time_limit_seconds=60.0,
    tracking=TrackingSpec(uri="sqlite:///x", params={"lr": "0.1"}),
    manifest=Manifest(
        items=(
            ManifestItem(name="x", kind=CaptureKind.DATA, type="int", size_bytes=5),
            ManifestItem(name="f", kind=CaptureKind.REFUSED, type="file", reason="it is open"),
        ),
        size_bytes=5,
    ),
    origin=Origin(code="print(x)", host="h", process={"pid": 1}, git={"commit": "0"}),
)
SEEN = Observation(
    state=JobState.FAILED,
    seen_at=3.0,
    started_at=1.0,
    ended_at=2.0,
    exit_code=1,
    reason="rank 1 raised ValueError: no",
    failed_rank=1,
    ranks=(RankStatus(rank=1, node="n", signal=9, error=RankError(type="E", message="no")),),
    ended_by={"SIGINT": (0, 1)},
    tracking=TrackingRun(uri="sqlite:///x", run_id="r"),
    results=("history",),
)
JOB = Job(id="1", pool="p", spec=SPEC, handle=Handle(kind="k", data={"a": [1]}), seen=SEEN)


def test_everything_about_a_job_goes_through_json_and_back() -> None:
    assert from_wire(json.loads(json.dumps(to_wire(JOB))), Job) == JOB


def test_a_field_of_the_wrong_type_is_named_by_its_path() -> None:
    data = to_wire(JOB)
    data["spec"]["procs"] = "two"
    with pytest.raises(msgspec.ValidationError, match=r"\$\.spec\.procs"):
        from_wire(data, Job)


def test_values_that_cross_a_layer_cannot_be_changed() -> None:
    classes = [
        value
        for name in model.__all__
        if isinstance(value := getattr(model, name), type) and dataclasses.is_dataclass(value)
    ]
    assert len(classes) > 15
    for kind in classes:
        assert kind.__dataclass_params__.frozen, kind  # type: ignore[attr-defined]
        assert all(field.kw_only for field in dataclasses.fields(kind)), kind


@pytest.mark.parametrize("state", JobState)
def test_four_states_are_final(state: JobState) -> None:
    assert state.final is (state.value in {"succeeded", "failed", "cancelled", "lost"})


def test_what_a_job_knows_of_its_times_is_what_was_seen() -> None:
    assert (JOB.started_at, JOB.ended_at) == (1.0, 2.0)
    unseen = dataclasses.replace(JOB, seen=None)
    assert (unseen.started_at, unseen.ended_at) == (None, None)
    assert unseen.desired is Desired.RUN


def test_the_world_is_all_ranks_of_all_nodes() -> None:
    assert SPEC.world == 6


def test_what_cannot_travel_is_found_in_the_manifest() -> None:
    assert [item.name for item in SPEC.manifest.refused] == ["f"]
    assert Manifest().refused == ()


def test_the_minor_version_is_what_bytecode_depends_on() -> None:
    assert Interpreter(executable="python", version="3.13.0rc1").minor == (3, 13)


def test_a_plan_is_text_that_can_be_pasted_into_a_shell() -> None:
    node = NodePlan(
        node_rank=0,
        node="gpu0",
        address="10.0.0.1",
        argv=("python", "my script.py", "$HOME"),
        env={"B": "2", "A": "1"},
        cwd="/work",
        run_dir="/runs/1",
    )
    assert Plan(job=JOB, nodes=(node,)).text.splitlines() == [
        "node 0  gpu0 (10.0.0.1)",
        "  in   /work",
        "  run  python 'my script.py' '$HOME'",
        "  env  A=1",
        "  env  B=2",
        "  logs /runs/1/logs",
    ]


def test_ids_are_names_everywhere_and_never_the_same() -> None:
    # Made in one second, they differ by five characters: one of 500 is there already in one of 270
    # times, two of them in one of 150,000.
    ids = {new_job_id() for _ in range(500)}
    assert len(ids) >= 499
    for job_id in ids:
        assert len(job_id) == 12
        assert job_id.isascii()
        assert job_id.isalnum()
        assert job_id == job_id.lower()


@given(st.tuples(*[st.integers(min_value=1_600_000_000, max_value=4_000_000_000)] * 2))
def test_ids_sort_by_time(times: tuple[int, int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        made = []
        for at in sorted(times):
            patch.setattr(time, "time", lambda at=at: at + 0.5)
            made.append(new_job_id()[:7])
    assert made == sorted(made)
    assert (made[0] == made[1]) is (times[0] == times[1])


def test_threads_that_meet_a_type_at_once_do_not_end_the_process() -> None:
    # In processes of their own: what went wrong here ended them, and only the first time counts.
    script = """
import sys, threading
from jupyter_aiinfra.model import Job, JobKind, JobSpec, from_wire, to_wire
sys.setswitchinterval(1e-6)
data = to_wire(Job(id="a", pool="b", spec=JobSpec(kind=JobKind.TRAIN, name="x", argv=("a",))))
together = threading.Barrier(4)
read = []
def convert():
    together.wait()
    read.append(from_wire(data, Job))
threads = [threading.Thread(target=convert) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert len(read) == 4
"""
    for _ in range(4):
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
