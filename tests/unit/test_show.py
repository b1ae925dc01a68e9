from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.commands.show import (
    JOB_COLUMNS,
    POOL_COLUMNS,
    bytes_text,
    duration_text,
    exit_status,
    job_lines,
    job_rows,
    launched_text,
    log_folder,
    pool_lines,
    pool_rows,
    state_text,
    waits_text,
)
from jupyter_aiinfra.engine import PoolView
from jupyter_aiinfra.model import (
    Desired,
    Gpu,
    GpuProcess,
    Handle,
    Interpreter,
    Job,
    JobState,
    Lease,
    Node,
    Observation,
    Placement,
    PoolRecord,
    RankError,
    RankStatus,
    TrackingRun,
)
from tests.support.engines import a_spec


def a_job(state: JobState = JobState.RUNNING, **seen: Any) -> Job:
    observed = Observation(state=state, seen_at=500.0, **seen)
    return Job(id="1mz4k", pool="here", spec=a_spec(procs=2), state=state, seen=observed)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "?"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (1_500_000, "1.5 MB"),
        (150_000_000_000, "150 GB"),
        (2_500_000_000_000, "2.5 TB"),
    ],
)
def test_bytes(count: int | None, text: str) -> None:
    assert bytes_text(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.0, "0.0 s"),
        (59.94, "59.9 s"),
        (60, "1:00"),
        (3599.9, "59:59"),
        (3723, "1:02:03"),
        (90_000, "25:00:00"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration_text(seconds) == text


def test_the_state_as_a_person_says_it() -> None:
    assert state_text(a_job()) == "running"
    assert state_text(dataclasses.replace(a_job(), desired=Desired.STOP)) == "stopping"
    assert state_text(a_job(supervised=False)) == "running (unsupervised)"
    over = dataclasses.replace(a_job(JobState.CANCELLED), desired=Desired.STOP)
    assert state_text(over) == "cancelled"


@pytest.mark.parametrize(
    ("job", "status"),
    [
        (a_job(JobState.SUCCEEDED), 0),
        (a_job(JobState.CANCELLED), 130),
        (a_job(JobState.LOST), 70),
        (a_job(JobState.FAILED), 1),
        (dataclasses.replace(a_job(JobState.FAILED), seen=None), 1),
        (
            a_job(
                JobState.FAILED,
                failed_rank=1,
                ranks=(
                    RankStatus(rank=0, node="n", exit_code=0),
                    RankStatus(rank=1, node="n", exit_code=3),
                ),
            ),
            3,
        ),
        (
            a_job(JobState.FAILED, failed_rank=0, ranks=(RankStatus(rank=0, node="n", signal=9),)),
            137,
        ),
        (a_job(JobState.FAILED, failed_rank=0, ranks=(RankStatus(rank=0, node="n"),)), 1),
        (a_job(JobState.FAILED, failed_rank=5, ranks=(RankStatus(rank=0, node="n"),)), 1),
    ],
)
def test_the_exit_status_says_how_a_job_ended(job: Job, status: int) -> None:
    assert exit_status(job) == status


GPUS = (
    Gpu(uuid="GPU-a", name="H200", index=0, memory_total_bytes=10**9, memory_used_bytes=0),
    Gpu(uuid="GPU-b", name="H200", index=1),
)
PYTHON = Interpreter(executable="/opt/python", version="3.11.7", packages={"torch": "2.13.0"})
RECORD = PoolRecord(name="here", kind="local", options={"max_procs": 4, "python": None})


def a_view(*nodes: Node, active: int = 0) -> PoolView:
    return PoolView(record=RECORD, nodes=nodes, problem=None, active_jobs=active)


def test_pools_in_rows() -> None:
    one = Node(name="a", address="x", gpus=GPUS, max_procs=2)
    two = Node(name="b", address="y", max_procs=8)
    away = PoolView(record=RECORD, nodes=None, problem="no answer", active_jobs=3)
    open_ended = Node(name="c", address="z")
    rows = pool_rows([a_view(one, two, active=1), away, a_view(open_ended)])
    assert rows == [
        ("here", "local", "live", "2", "2", "10", "1"),
        ("here", "local", "unreachable", "?", "?", "?", "3"),
        ("here", "local", "live", "1", "0", "?", "0"),
    ]
    assert all(len(row) == len(POOL_COLUMNS) for row in rows)


def test_a_pool_in_lines() -> None:
    node = Node(name="a", address="x", cpus=8, memory_bytes=10**9, python=PYTHON, gpus=GPUS)
    assert pool_lines(a_view(node, active=1)) == [
        "pool here: local (max_procs=4)",
        "  node a: 8 cores, 1 GB memory, ? disk free, at most ? ranks",
        "    Python 3.11.7 (/opt/python)",
        "    torch 2.13.0",
        "    GPU 0: H200, 0 B of 1 GB used  GPU-a",
        "    GPU 1: H200, ? of ? used  GPU-b",
        "  1 active job",
    ]
    bare = dataclasses.replace(PYTHON, packages={})
    lines = pool_lines(
        a_view(Node(name="a", address="x", python=bare), Node(name="b", address="y"))
    )
    assert "    neither torch nor accelerate installed" in lines
    assert lines.count("    no GPU: ranks train on CPUs") == 2
    assert lines[-1] == "  0 active jobs"


def test_who_has_the_gpus_of_a_pool() -> None:
    held = dataclasses.replace(GPUS[0], memory_used_bytes=5 << 30)
    used = Gpu(uuid="GPU-c", name="H200", index=2, used_by=(GpuProcess(pid=7, user="bo"),))
    node = Node(name="a", address="x", gpus=(held, GPUS[1], used))
    leases = (
        Lease(pool="here", node="a", gpu="GPU-a", job="1abc", shared=True),
        Lease(pool="there", node="a", gpu="GPU-a", job="2def", shared=True),
    )
    lines = pool_lines(dataclasses.replace(a_view(node), leases=leases))
    assert lines[-4].endswith("GPU-a  leased to 1abc, 2def (shared)")
    assert lines[-3].endswith("GPU-b  free")
    assert lines[-2].endswith("GPU-c  used by PID 7 of bo")


def test_a_queued_job_says_where_it_is_and_what_it_waits_for() -> None:
    waits = a_job(JobState.QUEUED, reason="waits for 2 GPUs; 2nd in the queue")
    assert job_rows([waits], places={waits.id: 2})[0][3] == "queued (2nd)"
    assert job_rows([waits])[0][3] == "queued"
    assert "  queue   waits for 2 GPUs; 2nd in the queue" in job_lines(waits)
    said = f"job {waits.id} is queued on {waits.pool}: waits for 2 GPUs; 2nd in the queue; %jobs"
    assert launched_text(waits).startswith(said)
    assert "\n" not in launched_text(waits)
    secret = dataclasses.replace(waits.spec, secrets=("TOKEN",))
    assert "while this one lives" in launched_text(dataclasses.replace(waits, spec=secret))
    assert waits_text(dataclasses.replace(waits, seen=None)) == "waits for GPUs"


def test_a_placed_job_says_which_gpus_it_has() -> None:
    place = (Placement(node="gpu1", gpus=("GPU-a", "GPU-b")), Placement(node="gpu2"))
    job = dataclasses.replace(a_job(JobState.RUNNING), placement=place)
    assert "  gpus    GPU-a, GPU-b on gpu1" in job_lines(job)


def test_a_pool_that_does_not_answer_says_why() -> None:
    record = dataclasses.replace(RECORD, options={})
    view = PoolView(record=record, nodes=None, problem="no answer", active_jobs=0)
    assert pool_lines(view) == ["pool here: local", "  unreachable: no answer"]


def test_jobs_in_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "localtime", time.gmtime)
    monkeypatch.setattr(time, "time", lambda: 175.0)
    jobs = [
        dataclasses.replace(a_job(JobState.PENDING), seen=None, created_at=0.0),
        a_job(started_at=100.0),
        a_job(JobState.SUCCEEDED, started_at=100.0, ended_at=104.2),
        a_job(JobState.LOST, started_at=100.0),
    ]
    rows = job_rows(jobs)
    assert rows[0] == ("1mz4k", "digits", "here", "pending", "2", "1970-01-01 00:00:00", "-")
    assert [row[-1] for row in rows] == ["-", "1:15", "4.2 s", "-"]
    assert rows[1][5] == "1970-01-01 00:01:40"
    assert all(len(row) == len(JOB_COLUMNS) for row in rows)


def test_everything_of_a_job_in_lines(tmp_path: Path) -> None:
    ranks = (
        RankStatus(rank=0, node="n", pid=10, signal=2, max_memory_bytes=10**9),
        RankStatus(
            rank=1, node="n", pid=11, exit_code=1, error=RankError(type="ValueError", message="no")
        ),
        RankStatus(rank=2, node="n", pid=12),
    )
    job = dataclasses.replace(
        a_job(
            JobState.FAILED,
            reason="rank 1 raised ValueError: no",
            ended_by={"SIGINT": (0, 2)},
            ranks=ranks,
            tracking=TrackingRun(uri="sqlite:///x", run_id="r"),
            results=("history",),
        ),
        handle=Handle(kind="local", data={"run_dir": str(tmp_path)}),
    )
    lines = job_lines(job)
    assert lines[0] == "job 1mz4k: digits, failed"
    assert lines[1] == "  on      here, 2 ranks"
    assert lines[3:] == [
        "  because rank 1 raised ValueError: no",
        "  ended   SIGINT ended ranks [0, 2]",
        "  rank 0  n, pid 10: ended by signal 2, 1 GB at most",
        "  rank 1  n, pid 11: exit status 1 (ValueError: no)",
        "  rank 2  n, pid 12: no word of its end",
        "  mlflow  run r at sqlite:///x",
        "  results history",
        f"  logs    {tmp_path}/logs",
    ]
    elsewhere = Handle(kind="ssh", data={"run_dir": "/nowhere/1mz4k"})
    assert log_folder(dataclasses.replace(job, handle=elsewhere)) is None
    running = a_job(ranks=ranks[2:], tracking=TrackingRun(uri="u", error="refused"))
    assert "  rank 2  n, pid 12: running" in job_lines(running)
    assert "  mlflow  run none (refused) at u" in job_lines(running)
    assert len(job_lines(dataclasses.replace(job, seen=None, handle=None))) == 3


def test_a_job_tells_how_far_it_is_and_which_rank_is_slow() -> None:
    fast = RankStatus(rank=0, node="n", pid=1, step=1240, step_at=1.0, step_seconds=0.42)
    slow = RankStatus(rank=1, node="n", pid=2, step=1236, step_at=1.0, step_seconds=0.71)
    lines = job_lines(a_job(ranks=(fast, slow)))
    assert (
        "  far     step 1,240 · 0.42 s a step · rank 1 is slowest: 0.71 s, 4 steps behind" in lines
    )
    assert "  rank 0  n, pid 1: running, step 1,240, 0.42 s a step" in lines
    assert "  rank 1  n, pid 2: running, step 1,236, 0.71 s a step, 4 behind (slow)" in lines


def test_a_job_that_reports_no_step_has_no_line_on_it() -> None:
    lines = job_lines(a_job(ranks=(RankStatus(rank=0, node="n", pid=1),)))
    assert not [line for line in lines if "step" in line]
