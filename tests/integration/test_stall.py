"""Ranks that report their steps, hang and go on: seen on their node, with nobody connected."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.node import stall, supervise
from jupyter_aiinfra.pools.files import observation_from_status
from jupyter_aiinfra.pools.nodeside import node_files
from tests.support.bench import Bench, open_bench, wait_until

LAUNCHER = """
for rank in $(seq 0 $(($AIINFRA_WORLD_SIZE - 1))); do
    RANK=$rank LOCAL_RANK=$rank WORLD_SIZE=$AIINFRA_WORLD_SIZE "$0" "$1" & pids="$pids $!"
done
status=0
for pid in $pids; do wait $pid || status=$?; done
exit $status
"""

# Makes a few steps, waits in a function with a name to look for, and makes some more.
HANGS = """
import os, signal, threading, time
from jupyter_aiinfra import step

def waits_for_a_peer():
    while not os.path.exists("release"):
        time.sleep(0.02)

def also_in_another_thread():
    waits_for_a_peer()

seen = []
signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
thread = threading.Thread(target=also_in_another_thread)
thread.start()
for number in range(1, 6):
    step(number)
    time.sleep(0.01)
print("about to hang", end="", flush=True)
waits_for_a_peer()
thread.join()
while not os.path.exists("end"):
    step()
    time.sleep(0.02)
print("went on", seen)
"""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with open_bench(tmp_path) as bench:
        yield bench


def run_cell(bench: Bench, cell: str, *, world: int = 2, **spec: Any) -> Path:
    argv = ["/bin/sh", "-c", LAUNCHER, sys.executable, "${AIINFRA_RUN_DIR}/aiinfra/rank.py"]
    run_dir = bench.make("", argv=argv, world=world, procs=world, verify_world=True, **spec)
    for file in node_files():
        path = run_dir / str(file.path)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"".join(file.read()))
    (run_dir / "cell.py").write_text(cell)
    task = {"format": 1, "entry": "cell.py", "argv": ["cell.py"], "path": ["src"], "cell": True}
    (run_dir / "task.json").write_text(json.dumps(task))
    done = bench.verb("start", str(run_dir))
    assert done.returncode == 0, done.stdout + done.stderr
    return run_dir


def log(run_dir: Path, rank: int = 0) -> str:
    path = run_dir / f"logs/rank-{rank}.log"
    return path.read_text(errors="replace") if path.exists() else ""


def status(run_dir: Path) -> dict[str, Any]:
    return dict(supervise.status(str(run_dir)))


def dumps(run_dir: Path, rank: int) -> list[str]:
    return re.findall(r"^aiinfra: .*; stacks of rank \d+ follow$", log(run_dir, rank), re.MULTILINE)


def two_more_beats(run_dir: Path) -> None:
    """Wait until the supervisor has surely looked again: it does at every heartbeat."""

    def beat() -> float:
        return (run_dir / "heartbeat").stat().st_mtime

    last = beat()
    wait_until(lambda: beat() > last)
    newer = beat()
    wait_until(lambda: beat() > newer)


def in_two_threads(run_dir: Path, rank: int) -> None:
    wait_until(lambda: log(run_dir, rank).count("waits_for_a_peer") >= 2)


def release(bench: Bench, run_dir: Path) -> dict[str, Any]:
    (bench.root / "release").touch()
    (bench.root / "end").touch()
    return bench.end(run_dir)


def test_the_status_tells_how_far_each_rank_is_and_which_is_slow(bench: Bench) -> None:
    cell = """
import os, time
from jupyter_aiinfra import step
while not os.path.exists("end"):
    time.sleep(0.15 if os.environ["RANK"] == "1" else 0.01)
    step(loss=0.5)
"""
    run_dir = run_cell(bench, cell)

    def both() -> Any:
        ranks = observation_from_status(status(run_dir), seen_at=time.time()).ranks
        return ranks if len(ranks) == 2 and all((rank.step or 0) > 5 for rank in ranks) else None

    fast, slow = wait_until(both)
    assert fast.step > slow.step
    assert 0.01 <= fast.step_seconds < 0.15 <= slow.step_seconds
    assert fast.metrics == slow.metrics == {"loss": 0.5}
    assert abs(time.time() - fast.step_at) < 60
    assert release(bench, run_dir)["state"] == "succeeded"
    # What was noted last stays known when all is over.
    assert all(rank["step"] > 5 for rank in status(run_dir)["ranks"])


def test_ranks_that_hang_have_their_stacks_in_their_logs_once_and_go_on(bench: Bench) -> None:
    run_dir = run_cell(bench, HANGS, stall_seconds=0.5)
    wait_until(lambda: "went on" in log(run_dir) or all(dumps(run_dir, rank) for rank in (0, 1)))
    wait_until(lambda: log(run_dir, 1).count("waits_for_a_peer") >= 2)
    since = status(run_dir)["stalled_since"]
    assert since is not None
    assert since <= time.time() - 0.5
    two_more_beats(run_dir)
    assert status(run_dir)["stalled_since"] == since

    (bench.root / "release").touch()
    wait_until(lambda: status(run_dir)["stalled_since"] is None)
    seen = release(bench, run_dir)
    assert seen["state"] == "succeeded"
    for rank in (0, 1):
        text = log(run_dir, rank)
        assert len(dumps(run_dir, rank)) == 1
        # On a line of its own, behind what was printed without an end of line.
        assert re.search(
            rf"^about to hang\naiinfra: no rank has made a step for \d+ s; "
            rf"stacks of rank {rank} follow$",
            text,
            re.MULTILINE,
        )
        assert "also_in_another_thread" in text
        assert "went on []" in text, "a handler of the user's code was called"


def test_a_second_stall_is_dumped_again(bench: Bench) -> None:
    cell = HANGS.replace(
        'while not os.path.exists("end"):\n    step()',
        """
step()
while not os.path.exists("end"):""",
    )
    run_dir = run_cell(bench, cell, world=1, stall_seconds=0.3)
    wait_until(lambda: len(dumps(run_dir, 0)) == 1)
    (bench.root / "release").touch()
    wait_until(lambda: len(dumps(run_dir, 0)) == 2)
    assert release(bench, run_dir)["state"] == "succeeded"


def test_a_new_supervisor_does_not_dump_the_same_stall_again(bench: Bench) -> None:
    run_dir = run_cell(bench, HANGS, world=1, stall_seconds=0.3)
    wait_until(lambda: dumps(run_dir, 0))
    since = status(run_dir)["stalled_since"]
    old = supervise.Run(run_dir).json("supervisor.json")
    assert supervise.send(old, signal.SIGKILL)
    wait_until(lambda: not supervise.alive(old))
    bench.verb("adopt", str(run_dir))
    two_more_beats(run_dir)
    assert status(run_dir)["stalled_since"] == since
    assert len(dumps(run_dir, 0)) == 1
    assert release(bench, run_dir)["state"] == "succeeded"


@pytest.mark.parametrize(
    ("cell", "limit"),
    [(HANGS.replace("    step(number)\n", ""), 0.3), (HANGS, None)],
    ids=["no step was ever reported", "off"],
)
def test_what_is_never_found_stalled(bench: Bench, cell: str, limit: float | None) -> None:
    run_dir = run_cell(bench, cell, world=1, stall_seconds=limit)
    wait_until(lambda: "about to hang" in log(run_dir))
    two_more_beats(run_dir)
    assert status(run_dir)["stalled_since"] is None
    assert release(bench, run_dir)["state"] == "succeeded"
    assert dumps(run_dir, 0) == []


class TestDump:
    """The verb: stacks at any time, whether steps are reported or not."""

    def ask(self, run_dir: Path) -> list[dict[str, Any]]:
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(run_dir / "aiinfra/stall.py"), "dump", str(run_dir)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_all_ranks_answer(self, bench: Bench) -> None:
        run_dir = run_cell(bench, HANGS)
        wait_until(lambda: all("about to hang" in log(run_dir, rank) for rank in (0, 1)))
        answers = self.ask(run_dir)
        assert [(answer["rank"], answer["problem"]) for answer in answers] == [(0, None), (1, None)]
        for rank in (0, 1):
            in_two_threads(run_dir, rank)
            assert f"stacks were asked for; stacks of rank {rank} follow" in log(run_dir, rank)
        assert release(bench, run_dir)["state"] == "succeeded"
        assert self.ask(run_dir) == []

    def test_py_spy_beside_the_jobs_python_is_asked_first(self, bench: Bench) -> None:
        tools = self.tool(bench, 'echo "frames of $3: $*"')
        run_dir = run_cell(bench, HANGS, world=1, env={"PATH": f"{tools}:/usr/bin:/bin"})
        wait_until(lambda: "about to hang" in log(run_dir))
        assert self.ask(run_dir) == [{"rank": 0, "how": "py-spy", "problem": None}]
        pid = status(run_dir)["ranks"][0]["pid"]
        assert f"rank 0 follow\nframes of {pid}: dump --pid {pid}\n" in log(run_dir)
        assert release(bench, run_dir)["state"] == "succeeded"

    def test_where_py_spy_may_not_look_faulthandler_does(self, bench: Bench) -> None:
        tools = self.tool(bench, "echo 'Permission Denied' >&2; exit 1")
        run_dir = run_cell(bench, HANGS, world=1, env={"PATH": f"{tools}:/usr/bin:/bin"})
        wait_until(lambda: "about to hang" in log(run_dir))
        assert self.ask(run_dir) == [{"rank": 0, "how": "faulthandler", "problem": None}]
        wait_until(lambda: log(run_dir).count("waits_for_a_peer") >= 2)
        assert release(bench, run_dir)["state"] == "succeeded"

    def test_a_rank_that_does_not_listen_is_not_killed_by_the_question(self, bench: Bench) -> None:
        cell = HANGS.replace(
            'print("about',
            'import faulthandler; faulthandler.unregister(signal.SIGRTMIN + 7)\nprint("about',
        )
        run_dir = run_cell(bench, cell, world=1, env={"PATH": "/usr/bin:/bin"})
        wait_until(lambda: "about to hang" in log(run_dir))
        (answer,) = self.ask(run_dir)
        if answer["how"] != "py-spy":  # which may be installed here
            assert "faulthandler does not listen" in answer["problem"]
            assert "the stacks of rank 0 cannot be had" in log(run_dir)
        assert release(bench, run_dir)["state"] == "succeeded"

    def test_a_wrong_verb_says_what_there_is(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert stall.main(["stall.py", "look", "/nowhere"]) == 2
        assert "stall.py dump DIR" in capsys.readouterr().err

    def tool(self, bench: Bench, script: str) -> Path:
        folder = bench.root / "tools"
        folder.mkdir()
        (folder / "py-spy").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "py-spy").chmod(0o700)
        return folder
