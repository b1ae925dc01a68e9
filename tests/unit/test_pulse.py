"""Signs of life of a job on its node."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jupyter_aiinfra.model import Observation
from jupyter_aiinfra.node import pulse, supervise
from jupyter_aiinfra.pools.files import observation_from_status
from jupyter_aiinfra.pools.merging import merged_observation
from jupyter_aiinfra.progress import settled, steadied


@pytest.fixture
def run(tmp_path: Path) -> supervise.Run:
    for name in ("logs", "ranks"):
        (tmp_path / name).mkdir()
    return supervise.Run(tmp_path)


def aged(path: Path, seconds: float) -> None:
    path.touch()
    at = time.time() - seconds
    os.utime(path, (at, at))


def test_the_newest_word_of_any_rank_counts(run: supervise.Run, tmp_path: Path) -> None:
    assert pulse.signs(run) == {"said_ago": None, "worked_ago": None}
    aged(tmp_path / "logs/rank-0.log", 500)
    aged(tmp_path / "logs/rank-1.log", 100)
    aged(tmp_path / "ranks/0.step", 300)
    aged(tmp_path / "logs/supervisor.log", 1)
    aged(tmp_path / "worked", 40)
    found = pulse.signs(run)
    assert found["said_ago"] == pytest.approx(100, abs=5)
    assert found["worked_ago"] == pytest.approx(40, abs=5)


def test_stacks_that_were_dumped_are_no_word_of_the_ranks(
    run: supervise.Run, tmp_path: Path
) -> None:
    now = time.time()
    aged(tmp_path / "logs/rank-0.log", 100)
    run.write("stall.json", {"since": now - 400, "at": now - 110})
    assert pulse.signs(run)["said_ago"] == pytest.approx(400, abs=5)
    aged(tmp_path / "logs/rank-0.log", 10)
    assert pulse.signs(run)["said_ago"] == pytest.approx(10, abs=5)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("cpu", "moved", "works"),
    [(0.0, 0, False), (0.9, 0, False), (1.5, 0, True), (0.0, 1 << 20, False), (0.0, 1 << 26, True)],
)
def test_work_is_processor_time_or_bytes(
    run: supervise.Run,
    tmp_path: Path,
    clock: list[float],
    monkeypatch: pytest.MonkeyPatch,
    cpu: float,
    moved: int,
    *,
    works: bool,
) -> None:
    spent = [(5.0, 100)]
    monkeypatch.setattr(pulse, "_spent", lambda _pid: spent[0])
    watch = pulse.PulseWatch(run, lambda: [{"pid": 7, "start": 1}])
    watch.look()
    (tmp_path / "worked").unlink()
    spent[0] = (5.0 + cpu, 100 + moved)
    watch.look()  # too soon
    assert not (tmp_path / "worked").exists()
    clock[0] += 20
    watch.look()
    assert (tmp_path / "worked").exists() is works


def test_a_new_process_is_work(
    run: supervise.Run, tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "_spent", lambda _pid: (0.0, 0))
    there = [{"pid": 7, "start": 1}]
    watch = pulse.PulseWatch(run, lambda: list(there))
    watch.look()
    (tmp_path / "worked").unlink()
    there.append({"pid": 7, "start": 2})
    clock[0] += 20
    watch.look()
    assert (tmp_path / "worked").exists()


def test_what_a_process_has_spent_is_read() -> None:
    loop = "x = 0\nwhile True: x += 1"
    with subprocess.Popen([sys.executable, "-c", loop]) as process:
        deadline = time.monotonic() + 30
        while (pulse._spent(process.pid) or (0.0, 0))[0] < 0.2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.kill()
    assert pulse._spent(process.pid) is None


# --- on their way to the record ------------------------------------------------------------------


def status(**changes: object) -> dict[str, object]:
    return {"state": "running", "said_ago": 30.0, "worked_ago": 5.0, **changes}


def test_they_are_told_by_our_clock() -> None:
    seen = observation_from_status(status(), seen_at=1000.0)
    assert (seen.said_at, seen.worked_at) == (970.0, 995.0)
    older = observation_from_status({"state": "running"}, seen_at=1000.0)
    assert (older.said_at, older.worked_at) == (None, None)


def test_of_several_nodes_the_last_sign_counts_if_all_have_told() -> None:
    both = [status(), status(said_ago=3.0, worked_ago=None)]
    seen = merged_observation(both, names=["a", "b"], seen_at=1000.0)
    assert (seen.said_at, seen.worked_at) == (997.0, None)


def test_they_are_written_down_by_the_minute() -> None:
    before = Observation(state="running", seen_at=1.0, said_at=100.0)  # type: ignore[arg-type]
    later = Observation(state="running", seen_at=2.0, said_at=159.0)  # type: ignore[arg-type]
    assert steadied(later, before).said_at == 100.0
    much_later = Observation(state="running", seen_at=3.0, said_at=160.0)  # type: ignore[arg-type]
    assert steadied(much_later, before).said_at == 160.0
    assert steadied(later, None) == later
    assert settled(later).said_at is None
