"""The supervisor against real processes: start, end, stop, and deaths of every part."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.node import supervise
from tests.support.bench import Bench, open_bench, wait_until


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with open_bench(tmp_path) as bench:
        yield bench


def kill_supervisor(run_dir: Path) -> None:
    supervisor = json.loads((run_dir / "supervisor.json").read_text())
    assert supervise.send(supervisor, signal.SIGKILL)
    wait_until(lambda: not supervise.alive(supervisor))


def test_a_job_that_ends_well_is_recorded_with_its_output(bench: Bench) -> None:
    run_dir = bench.start("echo out; echo err >&2")
    seen = bench.end(run_dir)
    assert (seen["state"], seen["rc"], seen["reason"]) == ("succeeded", 0, None)
    assert (run_dir / "logs/launcher.log").read_text() == "out\nerr\n"


def test_the_rank_contract_reaches_the_environment_and_the_arguments(bench: Bench) -> None:
    run_dir = bench.start(
        'echo "$AIINFRA_NODE_RANK $AIINFRA_NODE_COUNT $AIINFRA_HEAD $AIINFRA_WORLD_SIZE $0 $1"',
        argv=["/bin/sh", "-c", 'echo "$AIINFRA_PORT $0 $EXTRA $SECRET"', "${AIINFRA_PORT}"],
        env={"EXTRA": "yes"},
        secrets='{"SECRET": "hush"}',
    )
    assert bench.end(run_dir)["state"] == "succeeded"
    port, argument, extra, secret = (run_dir / "logs/launcher.log").read_text().split()
    assert port == argument
    assert 1024 <= int(port) < 65536
    assert (extra, secret) == ("yes", "hush")
    for path in run_dir.rglob("*"):
        if path.is_file() and path.name != "launcher.log":
            assert "hush" not in path.read_text(), path


def test_a_second_start_starts_nothing(bench: Bench) -> None:
    run_dir = bench.start("echo once")
    assert bench.end(run_dir)["state"] == "succeeded"
    assert bench.verb("start", str(run_dir)).returncode == 0
    assert (run_dir / "logs/launcher.log").read_text() == "once\n"


def test_everything_in_the_run_directory_is_private(bench: Bench) -> None:
    run_dir = bench.start("true")
    bench.end(run_dir)
    for path in run_dir.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode & 0o077 == 0, f"{path} is {mode:o}"


def test_the_users_umask_holds_for_what_the_job_writes(bench: Bench, tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        run_dir = bench.start("echo mine >made.txt")
        bench.end(run_dir)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "made.txt").stat().st_mode) == 0o644


@pytest.mark.parametrize(
    ("script", "rc", "reason"),
    [
        ("exit 3", 3, "the launcher ended with status 3 before any rank began"),
        ("kill -SEGV $$", 139, "the launcher ended with status 139 before any rank began"),
        ("exec /nowhere/at/all", 127, "the launcher ended with status 127 before any rank began"),
    ],
)
def test_a_job_that_fails_says_how(bench: Bench, script: str, rc: int, reason: str) -> None:
    seen = bench.end(bench.start(script))
    assert (seen["state"], seen["rc"], seen["reason"]) == ("failed", rc, reason)


def test_how_long_a_job_ran_does_not_depend_on_how_the_clock_is_set(bench: Bench) -> None:
    run_dir = bench.start("sleep 0.5")
    seen = bench.end(run_dir)
    assert 0.5 <= seen["lasted"] < 60.0
    record = json.loads((run_dir / "exit.json").read_text())
    # As if the machine's clock had been set a day ahead after the end, or back.
    for skew in (-86_400.0, 86_400.0):
        changed = {**record, "ended_at": record["ended_at"] + skew}
        (run_dir / "exit.json").write_text(json.dumps(changed))
        assert 0.0 <= supervise.status(str(run_dir))["ended_ago"] < 60.0
    # The clock of another boot says nothing of this one.
    begun = json.loads((run_dir / "begun.json").read_text())
    (run_dir / "begun.json").write_text(json.dumps({**begun, "boot": "another"}))
    assert supervise.dated(supervise.Run(str(run_dir)), {})["lasted"] is None


def test_a_stop_lets_the_job_end_by_itself_first(bench: Bench) -> None:
    run_dir = bench.start("trap 'echo saved; exit 4' INT; echo up; while :; do sleep 0.1; done")
    wait_until(lambda: "up" in (run_dir / "logs/launcher.log").read_text())
    bench.verb("kill", str(run_dir), "20")
    seen = bench.end(run_dir)
    assert (seen["state"], seen["rc"], seen["reason"]) == ("cancelled", 4, "stopped on request")
    assert "saved" in (run_dir / "logs/launcher.log").read_text()


def test_a_job_deaf_to_signals_is_killed_after_the_grace(bench: Bench) -> None:
    # setsid: torch's agents put their workers out of reach of a process group's signal.
    deaf = "trap '' INT TERM; echo up; setsid sh -c \"trap '' INT TERM; sleep 60\" & sleep 60; wait"
    run_dir = bench.start(deaf)
    wait_until(lambda: "up" in (run_dir / "logs/launcher.log").read_text())
    begun = time.monotonic()
    bench.verb("kill", str(run_dir), "0.3")
    seen = bench.end(run_dir)
    assert seen["state"] == "cancelled"
    assert time.monotonic() - begun < 10
    assert bench.tagged(run_dir) == []


def test_the_second_request_to_stop_shortens_the_grace(bench: Bench) -> None:
    run_dir = bench.start("trap '' INT; echo up; while :; do sleep 0.1; done")
    wait_until(lambda: "up" in (run_dir / "logs/launcher.log").read_text())
    bench.verb("kill", str(run_dir), "600")
    assert bench.tagged(run_dir)
    bench.verb("kill", str(run_dir), "0")
    assert bench.end(run_dir)["state"] == "cancelled"


def test_a_stop_after_the_end_changes_nothing(bench: Bench) -> None:
    run_dir = bench.start("true")
    bench.end(run_dir)
    assert bench.verb("kill", str(run_dir), "1").returncode == 0
    assert bench.verb("kill", str(run_dir), "1").returncode == 0
    assert supervise.status(str(run_dir))["state"] == "succeeded"


def test_a_time_limit_ends_the_job_and_says_so(bench: Bench) -> None:
    seen = bench.end(bench.start("sleep 60", time_limit_seconds=0.3))
    assert (seen["state"], seen["reason"]) == ("cancelled", "the time limit of 0.3 s was reached")


def test_what_the_job_left_running_is_ended_and_counted(bench: Bench) -> None:
    run_dir = bench.start("setsid sleep 300 & setsid sleep 300 & exit 0")
    seen = bench.end(run_dir)
    assert (seen["state"], seen["strays"]) == ("succeeded", 2)
    assert bench.tagged(run_dir) == []


def test_a_killed_supervisor_is_seen_and_the_job_goes_on(bench: Bench) -> None:
    run_dir = bench.start("echo a; sleep 1.5; echo b; exit 5")
    kill_supervisor(run_dir)
    seen = supervise.status(str(run_dir))
    assert (seen["state"], seen["supervised"]) == ("starting", False)
    seen = bench.end(run_dir)
    assert (seen["state"], seen["rc"]) == ("failed", 5)
    assert (run_dir / "logs/launcher.log").read_text() == "a\nb\n"


def test_an_adopted_job_is_watched_to_its_end(bench: Bench) -> None:
    run_dir = bench.start("sleep 1; setsid sleep 300 & exit 6")
    kill_supervisor(run_dir)
    for _ in range(3):
        bench.verb("adopt", str(run_dir))
    assert supervise.status(str(run_dir))["supervised"]
    seen = bench.end(run_dir)
    assert (seen["state"], seen["rc"], seen["strays"]) == ("failed", 6, 1)
    assert json.loads((run_dir / "exit.json").read_text())["state"] == "failed"


def test_a_job_without_supervisor_can_be_stopped(bench: Bench) -> None:
    run_dir = bench.start("trap '' INT TERM; sleep 300 & wait; sleep 300")
    kill_supervisor(run_dir)
    bench.verb("kill", str(run_dir), "0.2")
    assert bench.end(run_dir)["state"] == "cancelled"
    assert bench.tagged(run_dir) == []


def test_a_job_killed_whole_is_lost(bench: Bench) -> None:
    run_dir = bench.start("sleep 300")
    kill_supervisor(run_dir)
    for who in bench.tagged(run_dir):
        supervise.send(who, signal.SIGKILL)
    wait_until(lambda: not bench.tagged(run_dir))
    seen = supervise.status(str(run_dir))
    assert seen["state"] == "lost"
    assert "no exit status is known" in seen["reason"]


def test_a_restarted_node_is_told_from_a_killed_job(bench: Bench) -> None:
    run_dir = bench.start("sleep 300")
    kill_supervisor(run_dir)
    for who in bench.tagged(run_dir):
        supervise.send(who, signal.SIGKILL)
    wait_until(lambda: not bench.tagged(run_dir))
    path = run_dir / "supervisor.json"
    supervise.write_json(str(path), {**json.loads(path.read_text()), "boot": "another"})
    assert "restarted" in supervise.status(str(run_dir))["reason"]


def test_a_supervisor_that_comes_up_during_the_look_is_no_lost_job(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = bench.make("sleep 300")
    look = supervise.tagged

    def slow_look(job: str, tag: str = supervise.TAG) -> list[dict[str, Any]]:
        found = look(job, tag)
        monkeypatch.setattr(supervise, "tagged", look)
        assert bench.verb("start", str(run_dir)).returncode == 0
        return found

    monkeypatch.setattr(supervise, "tagged", slow_look)
    seen = supervise.status(str(run_dir))
    assert (seen["state"], seen["supervised"]) == ("starting", True)
    bench.verb("kill", str(run_dir), "0")
    assert bench.end(run_dir)["state"] == "cancelled"


def test_a_reused_pid_is_never_signalled() -> None:
    sleeper = subprocess.Popen(["sleep", "300"])
    try:
        who = supervise.identity(sleeper.pid)
        assert who is not None
        assert not supervise.send({**who, "start": who["start"] - 1}, signal.SIGKILL)
        assert not supervise.send({**who, "boot": "another"}, signal.SIGKILL)
        assert not supervise.send({**who, "pidns": "another"}, signal.SIGKILL)
        assert sleeper.poll() is None
        assert supervise.send(who, signal.SIGTERM)
        assert sleeper.wait(10) == -signal.SIGTERM
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_forged_record_with_a_living_pid_is_not_believed(bench: Bench) -> None:
    run_dir = bench.start("true")
    bench.end(run_dir)
    (run_dir / "exit.json").unlink()
    (run_dir / "rc").unlink()
    record = json.loads((run_dir / "supervisor.json").read_text())
    supervise.write_json(str(run_dir / "supervisor.json"), {**record, "pid": 1})
    assert supervise.status(str(run_dir))["state"] == "lost"


def test_a_supervisor_told_to_end_takes_its_job_with_it(bench: Bench) -> None:
    run_dir = bench.start("sleep 300")
    supervise.send(json.loads((run_dir / "supervisor.json").read_text()), signal.SIGTERM)
    seen = bench.end(run_dir)
    assert seen["state"] == "cancelled"
    assert "SIGTERM" in seen["reason"]


def test_a_missing_working_directory_is_reported_and_nothing_runs(bench: Bench) -> None:
    run_dir = bench.make("true", cwd=str(bench.root / "nowhere"))
    done = bench.verb("start", str(run_dir))
    assert done.returncode == 1
    assert "No such file" in json.loads(done.stdout)["error"]


def test_a_tracker_outlives_the_ranks_and_sees_the_end(bench: Bench) -> None:
    run_dir = bench.start(
        "exit 7",
        tracker=[
            "/bin/sh",
            "-c",
            'cat >/dev/null; cp "$0/exit.json" "$0/logs/seen.json"',
            "${AIINFRA_RUN_DIR}",
        ],
    )
    bench.end(run_dir)
    seen = run_dir / "logs/seen.json"
    wait_until(lambda: seen.exists() and seen.read_text().endswith("}\n"))
    assert json.loads(seen.read_text())["rc"] == 7


def test_status_of_a_young_and_of_an_absent_run(bench: Bench, tmp_path: Path) -> None:
    assert supervise.status(str(tmp_path / "none")) == {"state": "absent"}
    run_dir = bench.make("true")
    assert supervise.status(str(run_dir))["state"] == "starting"
    os.utime(run_dir / "spec.json", (0, 0))
    seen = supervise.status(str(run_dir))
    assert (seen["state"], seen["reason"]) == ("failed", "the job was never started on its node")


def test_a_start_without_orders_is_refused_and_makes_nothing(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    done = bench.verb("start", str(folder))
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert (answer["errno"], answer["error"]) == (
        errno.ENOENT,
        f"there is no spec.json in {folder}",
    )
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("words", [(), ("start",), ("kill", "/run"), ("dance", "/run")])
def test_a_verb_that_cannot_be_understood_prints_the_verbs(
    bench: Bench, words: tuple[str, ...]
) -> None:
    done = bench.verb(*words)
    assert done.returncode == 2
    assert "supervise.py start DIR" in done.stderr


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM])
def test_where_the_kernel_has_no_pidfds_processes_are_signalled_by_pid(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_pid: int) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "pidfd_open", refuse)
    with subprocess.Popen(["sleep", "60"]) as process:
        who = supervise.identity(process.pid)
        assert who is not None
        assert not supervise.send({**who, "start": who["start"] + 1}, signal.SIGKILL)
        assert process.poll() is None
        assert supervise.send(who, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not supervise.send(who, signal.SIGKILL)
    assert not supervise.send(None, signal.SIGKILL)


_FAMILY = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
import supervise
told = [supervise.is_subreaper(), supervise.has_children()]
supervise.become_subreaper()
reader, writer = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        os.close(writer)
        os.read(reader, 1)  # until nobody can write any more
    os._exit(0)
os.wait()
os.close(reader)
told += [supervise.is_subreaper(), supervise.has_children()]
os.close(writer)
os.wait()
print(json.dumps([*told, supervise.has_children()]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are had on Linux only")
def test_an_orphan_of_ours_is_a_child_of_ours() -> None:
    folder = str(Path(supervise.__file__).parent)
    told = subprocess.check_output([sys.executable, "-I", "-S", "-c", _FAMILY, folder])
    assert json.loads(told) == [False, False, True, True, False]
