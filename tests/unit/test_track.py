from __future__ import annotations

import ast
import functools
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.node import supervise, track
from jupyter_aiinfra.node.track import Point

PACE = track.Pace(
    sample=0.01,
    poll=0.005,
    open=30.0,
    answer=30.0,
    finish=30.0,
    drain=30.0,
    first_delay=0.001,
    last_delay=0.01,
)


class Problem(Exception):
    """An error of MLflow's making."""

    def __init__(self, message: str, error_code: str = "INTERNAL_ERROR") -> None:
        super().__init__(message)
        self.error_code = error_code


class FakeStore:
    """One MLflow, in memory; `down` makes every call fail, `faults` the first ones of a name."""

    def __init__(self) -> None:
        self.down = False
        self.faults: dict[str, list[Exception]] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []

    def __call__(self, uri: str) -> FakeStore:
        self._called("connect")
        return self

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.down:
            raise Problem("Connection refused")
        if self.faults.get(name):
            raise self.faults[name].pop(0)

    def experiment(self, experiment_id: str | None, name: str | None) -> str:
        self._called("experiment")
        return experiment_id or f"id of {name}"

    def find(self, experiment_id: str, job: str) -> str | None:
        self._called("find")
        return next((i for i, r in self.runs.items() if r["tags"]["aiinfra.job"] == job), None)

    def create(self, experiment_id: str, name: str | None, tags: dict[str, str]) -> str:
        self._called("create")
        run_id = f"run{len(self.runs)}"
        run = {"status": "RUNNING", "ended_at": None, "name": name, "tags": dict(tags)}
        self.runs[run_id] = {**run, "params": {}, "points": [], "files": {}}
        return run_id

    def known(self, run_id: str) -> tuple[str, dict[str, str], dict[str, str]]:
        self._called("known")
        run = self.runs[run_id]
        return run["status"], dict(run["params"]), dict(run["tags"])

    def log_params(self, run_id: str, params: dict[str, str]) -> None:
        self._called("log_params")
        known = self.runs[run_id]["params"]
        if any(known.get(key, value) != value for key, value in params.items()):
            raise Problem("Changing param values is not allowed", "INVALID_PARAMETER_VALUE")
        known.update(params)

    def log_points(
        self, run_id: str, points: Sequence[Point], tags: dict[str, str] | None = None
    ) -> None:
        self._called("log_points")
        assert len(points) <= track.BATCH_METRICS
        self.runs[run_id]["points"].extend(points)
        self.runs[run_id]["tags"].update(tags or {})

    def artifacts(self, run_id: str) -> set[str]:
        self._called("artifacts")
        return set(self.runs[run_id]["files"])

    def log_file(self, run_id: str, path: str, name: str) -> None:
        self._called("log_file")
        self.runs[run_id]["files"][name] = Path(path).read_text()

    def log_text(self, run_id: str, text: str, name: str) -> None:
        self._called("log_text")
        self.runs[run_id]["files"][name] = text

    def finish(self, run_id: str, status: str, ended_at: float) -> None:
        self._called("finish")
        self.runs[run_id].update(status=status, ended_at=ended_at)


class FixedSampler:
    def read(self) -> dict[str, float]:
        return {"system/cpu_utilization_percentage": 50.0}


class Bench:
    """A run directory, a store and the supervisor's end of the pipe."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = FakeStore()
        self.reader, self.writer = os.pipe()
        self.write("spec.json", {"job": "0abc", "world": 1})
        self.write("cell.py", "print(1)\n")

    def write(self, name: str, value: Any) -> None:
        text = value if isinstance(value, str) else json.dumps(value)
        (self.folder / name).write_text(text)

    @property
    def answer(self) -> dict[str, Any] | None:
        found = supervise.read_json(str(self.folder / "track.run.json"))
        return found if found is None else dict(found)

    @property
    def only_run(self) -> dict[str, Any]:
        (run,) = self.store.runs.values()
        return dict(run)

    def companion(self, pace: track.Pace = PACE, **request: Any) -> track.Companion:
        where = {"job": "0abc", "uri": "http://tracker", "experiment": "vision"}
        what = {"run_name": "digits", "params": {"nodes": 1}, "tags": {"mlflow.user": "me"}}
        request = {**where, **what, "artifacts": ["cell.py"], **request}
        run = supervise.Run(str(self.folder))
        return track.Companion(run, request, pace=pace, store=self.store)

    def vigil(self) -> track.Vigil:
        return track.Vigil(supervise.Run(str(self.folder)), self.reader)

    def end(self, **record: Any) -> None:
        defaults = {"state": "succeeded", "rc": 0, "started_at": 10.0, "ended_at": 13.5}
        self.write("exit.json", {**defaults, **record})
        self.close_pipe()

    def close_pipe(self) -> None:
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    def close(self) -> None:
        self.close_pipe()
        os.close(self.reader)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(track, "environment_lock", lambda: "torch==2.13.0\n")
    made = Bench(tmp_path)
    yield made
    made.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.002)


# --- making the run -----------------------------------------------------------------------------


def test_the_run_is_made_and_rank_0_is_told_before_anything_slow(bench: Bench) -> None:
    companion = bench.companion()

    assert companion.open()

    assert bench.answer == {
        "uri": "http://tracker",
        "run_id": "run0",
        "experiment_id": "id of vision",
        "error": None,
    }
    assert bench.only_run["name"] == "digits"
    assert bench.only_run["tags"] == {"mlflow.user": "me", "aiinfra.job": "0abc"}
    assert bench.store.calls == ["connect", "experiment", "find", "create"]


def test_what_may_pass_is_tried_again(bench: Bench) -> None:
    bench.store.faults = {
        "connect": [Problem("table experiments already exists")],
        "experiment": [OSError("database is locked")],
    }

    assert bench.companion().open()
    assert bench.answer is not None
    assert bench.answer["run_id"] == "run0"


def test_what_cannot_pass_is_said_at_once(bench: Bench) -> None:
    bench.store.faults = {"connect": [track.Refused("mlflow cannot be imported")]}

    assert not bench.companion().open()

    assert bench.store.calls == ["connect"]
    assert bench.answer == {
        "uri": "http://tracker",
        "run_id": None,
        "experiment_id": None,
        "error": "mlflow cannot be imported",
    }


def test_a_server_that_is_away_is_said_in_bounded_time(bench: Bench) -> None:
    bench.store.down = True

    assert not bench.companion(PACE._replace(open=0.05)).open()

    assert len(bench.store.calls) > 1
    assert bench.answer is not None
    assert bench.answer["error"] == (
        "MLflow at http://tracker: nothing answers there; is the server running?"
    )


def test_a_call_that_hangs_is_answered_for_and_its_run_is_still_kept(bench: Bench) -> None:
    gate = threading.Event()
    inner = bench.store.experiment

    def hang(experiment_id: str | None, name: str | None) -> str:
        assert gate.wait(30)
        return inner(experiment_id, name)

    bench.store.experiment = hang  # type: ignore[method-assign]
    companion = bench.companion(PACE._replace(answer=0.01))
    thread = threading.Thread(target=companion.open)
    thread.start()
    until(lambda: bench.answer is not None)
    assert bench.answer is not None
    assert bench.answer["error"] == "MLflow at http://tracker: no answer in time"

    gate.set()
    thread.join(30)
    assert bench.answer["run_id"] == "run0"
    assert bench.answer["error"] is None


def test_a_companion_that_died_before_it_answered_is_taken_up(bench: Bench) -> None:
    assert bench.companion().open()
    (bench.folder / "track.run.json").unlink()

    assert bench.companion().open()

    assert bench.answer is not None
    assert bench.answer["run_id"] == "run0"
    assert len(bench.store.runs) == 1


def test_a_run_that_is_known_is_not_forgotten_over_a_refusal(bench: Bench) -> None:
    assert bench.companion().open()
    bench.store.faults = {"connect": [track.Refused("mlflow cannot be imported")]}

    assert not bench.companion().open()

    assert bench.answer is not None
    assert bench.answer["run_id"] == "run0"


@pytest.mark.parametrize(
    ("error", "permanent"),
    [
        (Problem("no such run", "RESOURCE_DOES_NOT_EXIST"), True),
        (Problem("who are you", "PERMISSION_DENIED"), True),
        (PermissionError(13, "Permission denied"), True),
        (ImportError("no module named sqlalchemy"), True),
        (Problem("internal"), False),
        (Problem("slow down", "REQUEST_LIMIT_EXCEEDED"), False),
        (ConnectionError("reset by peer"), False),
        (TimeoutError(), False),
    ],
)
def test_which_errors_may_pass(error: Exception, permanent: bool) -> None:
    assert track.is_permanent(error) is permanent


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Problem("HTTP: Max retries exceeded … Connection refused"), "is the server running?"),
        (Problem("[Errno -2] Name or service not known"), "the host name is unknown"),
        (Problem("failed with error code 401 != 200"), "user name and password"),
        (Problem("x" * 5000), "(cut from 5000 characters)"),
        (Problem("two\nlines"), "MLflow at http://t: two lines"),
        (ValueError(), "MLflow at http://t: ValueError"),
    ],
)
def test_an_error_is_one_sentence(error: Exception, words: str) -> None:
    text = track.sentence("http://t", error)

    assert words in text
    assert "\n" not in text
    assert len(text) < 400


# --- while the job runs -------------------------------------------------------------------------


def test_a_job_from_beginning_to_end(bench: Bench) -> None:
    companion = bench.companion()
    assert companion.open()
    (bench.folder / "ranks").mkdir()
    for rank, peak in ((0, 100), (1, 300)):
        bench.write(f"ranks/{rank}.json", {"rank": rank})
        bench.write(f"ranks/{rank}.exit.json", {"rank": rank, "max_memory_bytes": peak})
    taken: list[bool] = []
    thread = threading.Thread(
        target=lambda: taken.append(companion.attend(bench.vigil(), FixedSampler()))  # type: ignore[arg-type]
    )
    thread.start()
    until(lambda: len(bench.only_run["points"]) > 2)
    bench.end()
    thread.join(30)

    run = bench.only_run
    assert taken == [True]
    assert (run["status"], run["ended_at"]) == ("FINISHED", 13.5)
    assert run["tags"]["aiinfra.state"] == "succeeded"
    assert "aiinfra.reason" not in run["tags"]
    assert run["params"] == {"aiinfra.nodes": "1"}
    assert run["files"]["cell.py"] == "print(1)\n"
    assert run["files"]["requirements.txt"] == "torch==2.13.0\n"
    figures = {p.key: p.value for p in run["points"] if p.key.startswith("aiinfra/")}
    assert figures == {"aiinfra/duration_seconds": 3.5, "aiinfra/max_memory_bytes": 300.0}
    system = [p for p in run["points"] if p.key == "system/cpu_utilization_percentage"]
    assert [p.step for p in system] == sorted(p.step for p in system)
    assert all(p.value == 50.0 for p in system)


@pytest.mark.parametrize(
    ("state", "status"),
    [("succeeded", "FINISHED"), ("failed", "FAILED"), ("cancelled", "KILLED"), ("lost", "FAILED")],
)
def test_the_outcome_is_the_supervisors_word(bench: Bench, state: str, status: str) -> None:
    companion = bench.companion()
    assert companion.open()
    bench.store.runs["run0"]["status"] = "FINISHED"  # what rank 0's own atexit does
    bench.end(state=state, reason="rank 1 raised ValueError: no")

    assert companion.attend(bench.vigil(), None)

    assert bench.only_run["status"] == status
    assert bench.only_run["tags"]["aiinfra.state"] == state
    assert bench.only_run["tags"]["aiinfra.reason"] == "rank 1 raised ValueError: no"


def test_a_second_companion_completes_what_is_missing_and_only_that(bench: Bench) -> None:
    assert bench.companion().open()
    bench.store.runs["run0"]["params"] = {"aiinfra.nodes": "1"}
    bench.end()

    again = bench.companion(params={"nodes": 1, "procs": 2})
    assert again.open()
    assert again.attend(bench.vigil(), None)
    first = json.dumps(bench.only_run)
    assert bench.only_run["params"] == {"aiinfra.nodes": "1", "aiinfra.procs": "2"}
    assert bench.only_run["status"] == "FINISHED"
    bench.store.calls.clear()

    third = bench.companion(params={"nodes": 1, "procs": 2})
    assert third.open()
    assert third.attend(bench.vigil(), None)
    assert json.dumps(bench.only_run) == first
    assert not {"create", "log_points", "finish", "log_file", "log_text"} & {*bench.store.calls}


def test_an_outage_delays_and_loses_nothing(bench: Bench) -> None:
    companion = bench.companion()
    assert companion.open()
    bench.store.down = True
    taken: list[bool] = []
    thread = threading.Thread(
        target=lambda: taken.append(companion.attend(bench.vigil(), FixedSampler()))  # type: ignore[arg-type]
    )
    thread.start()
    until(lambda: bench.store.calls.count("log_params") > 2)
    bench.end()
    until(lambda: bench.store.calls.count("known") > 2)
    assert thread.is_alive()
    bench.store.down = False
    thread.join(30)

    assert taken == [True]
    assert bench.only_run["status"] == "FINISHED"
    assert bench.only_run["params"] == {"aiinfra.nodes": "1"}
    assert [p for p in bench.only_run["points"] if p.key.startswith("system/")]
    assert {"cell.py", "requirements.txt"} <= {*bench.only_run["files"]}


def test_a_server_that_stays_away_ends_the_companion_without_success(bench: Bench) -> None:
    companion = bench.companion(PACE._replace(finish=0.05, drain=0.05))
    assert companion.open()
    bench.store.down = True
    bench.end()

    assert not companion.attend(bench.vigil(), None)
    assert not [t for t in threading.enumerate() if t.name == "aiinfra-sender"]


def test_a_parameter_that_is_refused_costs_no_other(bench: Bench) -> None:
    companion = bench.companion(params={"nodes": 1, "procs": 2})
    assert companion.open()
    bench.store.runs["run0"]["params"] = {"aiinfra.procs": "of the user"}
    bench.end()

    assert companion.attend(bench.vigil(), None)

    assert bench.only_run["params"] == {"aiinfra.nodes": "1", "aiinfra.procs": "of the user"}


def test_artifacts_are_small_files_of_the_run_directory(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(track, "ARTIFACT_BYTES", 100)
    bench.write("big.py", "#" * 101)
    bench.write("requirements.txt", "# of the bundle\n")
    (bench.folder / "passwd").symlink_to("/etc/passwd")
    names = ["big.py", "../outside", "passwd", "gone.py", "cell.py", "requirements.txt"]
    companion = bench.companion(artifacts=names)
    assert companion.open()
    bench.end()

    assert companion.attend(bench.vigil(), None)

    assert bench.only_run["files"] == {
        "cell.py": "print(1)\n",
        "requirements.txt": "# of the bundle\n",
    }


def test_what_other_nodes_do_is_logged_once_each(bench: Bench) -> None:
    companion = bench.companion()
    name = "system/node_1/gpu_0_utilization_percentage"
    assert companion._sample(FixedSampler()) != []  # type: ignore[arg-type]
    bench.write("system.nodes.json", {"1": {"at": 5.0, "values": {name: 40.0}}})

    def others() -> list[tuple[str, float]]:
        sample = companion._sample(FixedSampler())  # type: ignore[arg-type]
        return [(point.key, point.value) for point in sample if "node_" in point.key]

    assert others() == [(name, 40.0)]
    assert others() == []  # it has said nothing new
    bench.write("system.nodes.json", {"1": {"at": 6.0, "values": {name: 41.0}}})
    assert others() == [(name, 41.0)]


def test_figures_that_cannot_be_read_do_not_end_the_vigil(bench: Bench) -> None:
    class Broken:
        count = 0

        def read(self) -> dict[str, float]:
            Broken.count += 1
            raise RuntimeError("the driver is gone")

    companion = bench.companion()
    assert companion.open()
    thread = threading.Thread(target=companion.attend, args=(bench.vigil(), Broken()))
    thread.start()
    until(lambda: Broken.count > 1)
    bench.end()
    thread.join(30)

    assert bench.only_run["status"] == "FINISHED"


# --- when it is over ----------------------------------------------------------------------------


def test_the_vigil_goes_on_when_only_the_supervisor_was_killed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: dict[str, Any] = {"state": "running"}
    monkeypatch.setattr(supervise, "status", lambda folder: known)
    vigil = bench.vigil()
    assert vigil.wait(0.0) is None

    bench.close_pipe()
    status = vigil.wait(5.0)
    assert status is not None
    assert track.outcome(status, now=1.0) is None

    known = {"state": "lost", "reason": "every process was killed"}
    status = vigil.wait(0.0)
    assert status is not None
    assert track.outcome(status, now=7.0) == track.Outcome(
        state="lost",
        reason="every process was killed",
        ended_at=7.0,
        duration_seconds=None,
        max_memory_bytes=None,
    )


def test_the_record_ends_the_vigil_though_the_pipe_is_open(bench: Bench) -> None:
    bench.write("exit.json", {"state": "failed", "ended_at": 2.0})

    status = bench.vigil().wait(0.0)

    assert status is not None
    assert status["state"] == "failed"


def test_a_missing_pipe_is_an_ended_one(bench: Bench) -> None:
    vigil = track.Vigil(supervise.Run(str(bench.folder)), 12345)

    assert vigil.wait(0.0) is not None


def test_a_run_directory_that_was_removed_is_a_lost_job() -> None:
    end = track.outcome({"state": "absent"}, now=5.0)

    assert end is not None
    assert (end.state, end.status, end.reason) == (
        "lost",
        "FAILED",
        "its run directory was removed",
    )


# --- sending ------------------------------------------------------------------------------------


def _pass(gate: threading.Event) -> None:
    assert gate.wait(30)


def sample_of(step: int, size: int = 1) -> list[Point]:
    return [Point(f"m{index}", 1.0, 0.0, step) for index in range(size)]


def test_a_full_spool_keeps_its_beginning_and_its_end() -> None:
    spool = track.Spool(samples=100)
    for step in range(1000):
        spool.put(sample_of(step))

    waiting = spool.first()
    steps = [point.step for sample in waiting for point in sample]
    assert len(spool) <= 100
    assert steps == sorted(steps)
    assert steps[0] == 0
    assert steps[-1] > 990


def test_a_batch_fits_one_request_and_stays_until_it_was_sent() -> None:
    spool = track.Spool()
    for step in range(5):
        spool.put(sample_of(step, size=400))

    batch = spool.first()

    assert [sample[0].step for sample in batch] == [0, 1]
    assert spool.first() == batch
    spool.drop(batch)
    assert [sample[0].step for sample in spool.first()] == [2, 3]


def test_many_samples_go_out_in_few_requests() -> None:
    gate = threading.Event()
    sizes: list[int] = []
    sender = track.Sender(
        lambda points: sizes.append(len(points)),
        task=("wait", functools.partial(_pass, gate)),
        pace=PACE,
    )
    sender.start()
    for step in range(3000):
        sender.put(sample_of(step))
    gate.set()

    assert sender.close()
    assert sizes == [1000, 1000, 1000]


def test_a_batch_that_is_refused_is_left_and_the_next_one_sent() -> None:
    sent: list[int] = []

    def send(points: Sequence[Point]) -> None:
        if points[0].step == 0:
            raise Problem("no", "INVALID_PARAMETER_VALUE")
        sent.extend(point.step for point in points)

    sender = track.Sender(send, task=("nothing", lambda: None), pace=PACE)
    sender.put(sample_of(0, size=track.BATCH_METRICS))
    sender.put(sample_of(1))
    sender.start()

    assert not sender.close()
    assert sent == [1]


# --- names and values ---------------------------------------------------------------------------


def test_a_long_value_is_cut_with_a_note() -> None:
    assert track.cut("abc", 3) == "abc"
    text = track.cut("x" * 7000, 6000)
    assert len(text) == 6000
    assert text.endswith(" … (cut from 7000 characters)")


def test_a_name_is_made_one_that_mlflow_takes() -> None:
    assert track.safe_key("aiinfra.a b/c-d:e_1") == "aiinfra.a b/c-d:e_1"
    assert track.safe_key("lr*2\n=x") == "lr_2__x"
    assert len(track.safe_key("k" * 300)) == 250


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("sqlite:////srv/a%20b/m.db", "/srv/a b/m.db"),
        ("sqlite+pysqlite:////srv/m.db?x=1", "/srv/m.db"),
        ("http://tracker", None),
        ("file:///srv", None),
    ],
)
def test_where_a_database_lies(uri: str, path: str | None) -> None:
    assert track.sqlite_path(uri) == path


def test_mlflows_own_monitor_has_precedence_when_it_was_asked_for() -> None:
    name = "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING"
    assert track.system_metrics_wanted({})
    assert track.system_metrics_wanted({name: "false"})
    assert not track.system_metrics_wanted({name: "true"})
    assert not track.system_metrics_wanted({name: "1"})


# --- the program --------------------------------------------------------------------------------


def test_it_says_how_it_is_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert track.main(["track.py"]) == 2
    assert "track.py RUN_DIR" in capsys.readouterr().err
    assert track.main(["track.py", str(tmp_path)]) == 2
    assert "no tracking was asked for" in capsys.readouterr().err


def test_the_lock_lists_each_installed_package_once_in_order() -> None:
    lines = track.environment_lock().splitlines()
    names = [line.partition("==")[0] for line in lines]
    assert names == sorted(set(names))
    assert f"pytest=={pytest.__version__}" in lines
    assert all(line.partition("==")[2] for line in lines)


def test_only_one_companion_attends_a_job(tmp_path: Path) -> None:
    (tmp_path / "track.json").write_text('{"uri": "http://tracker"}')

    with track.only_one(str(tmp_path / "track.json")) as mine:
        assert mine
        assert track.main(["track.py", str(tmp_path)]) == 0
    assert not (tmp_path / "track.run.json").exists()


def test_it_is_python_of_3_8() -> None:
    source = Path(track.__file__).read_text()

    ast.parse(source, feature_version=(3, 8))
