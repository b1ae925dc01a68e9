"""The companion with a real MLflow: a database, and a server that goes away and comes back."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.model import new_job_id
from jupyter_aiinfra.node import supervise, track
from jupyter_aiinfra.pools.nodeside import node_files

# MLflow is imported here to look at what was logged; its own warnings are not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")

RANK_0 = """
import mlflow
for step in range(3):
    mlflow.log_metric("loss", 1.0 / (step + 1), step=step)
mlflow.log_param("mixed_precision", "fp16")
raise SystemExit(3)
"""


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


class Job:
    """A run directory with its companion; the test is the supervisor."""

    def __init__(self, folder: Path, uri: str, **request: Any) -> None:
        self.id = new_job_id()
        self.folder = folder / self.id
        self.cwd = folder / "cwd"
        self.uri = uri
        self.process: subprocess.Popen[bytes] | None = None
        (self.folder / "aiinfra").mkdir(parents=True)
        (self.folder / "logs").mkdir()
        self.cwd.mkdir(exist_ok=True)
        (self.folder / "aiinfra" / "readings").mkdir()
        for file in node_files():
            assert file.path is not None
            (self.folder / file.path).write_bytes(b"".join(file.read()))
        (self.folder / "cell.py").write_text("print('hello')\n")
        self.write("spec.json", {"job": self.id, "world": 1, "gpus": None})
        defaults = {"format": 1, "job": self.id, "uri": uri, "artifacts": ["cell.py"]}
        self.write("track.json", {**defaults, "sample_seconds": 0.2, **request})

    def write(self, name: str, value: Any) -> None:
        (self.folder / name).write_text(json.dumps(value))

    @property
    def answer(self) -> dict[str, Any] | None:
        found = supervise.read_json(str(self.folder / "track.run.json"))
        return None if found is None else dict(found)

    @property
    def log(self) -> str:
        return (self.folder / "logs" / "tracker.log").read_text()

    def start(self) -> Job:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
        environment[supervise.COMPANION_TAG] = self.id
        with (self.folder / "logs" / "tracker.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(self.folder / "aiinfra" / "track.py"), str(self.folder)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self.cwd,
                env=environment,
                start_new_session=True,
            )
        return self

    def joined(self) -> dict[str, Any]:
        until(lambda: self.answer)
        assert self.answer is not None
        assert self.answer["error"] is None, self.log
        return self.answer

    def hang_up(self) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.close()

    def end(self, state: str = "succeeded", **record: Any) -> None:
        now = time.time()
        defaults = {"format": 1, "state": state, "rc": 0, "started_at": now - 2, "ended_at": now}
        self.write("exit.json", {**defaults, **record})
        self.hang_up()

    def wait(self, seconds: float = 60.0) -> int:
        assert self.process is not None
        return self.process.wait(seconds)

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            with contextlib.suppress(BrokenPipeError):
                self.hang_up()


@pytest.fixture
def job_of(tmp_path: Path) -> Iterator[Callable[..., Job]]:
    made: list[Job] = []

    def make(uri: str, **request: Any) -> Job:
        made.append(Job(tmp_path, uri, **request))
        return made[-1]

    yield make
    for job in made:
        job.close()


@pytest.fixture(scope="module")
def client_of() -> Iterator[Callable[[str], Any]]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in track.MLFLOW_ENVIRONMENT.items():
            patch.setenv(name, value)
        mlflow = pytest.importorskip("mlflow")
        yield lambda uri: mlflow.MlflowClient(tracking_uri=uri)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, client_of: Callable[[str], Any]) -> Path:
    """A database that has MLflow's tables: making them takes seconds."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    client_of(f"sqlite:///{path}").get_experiment_by_name("Default")
    return path


@pytest.fixture
def database(tmp_path: Path, prepared: Path) -> str:
    (tmp_path / "home").mkdir()
    shutil.copy(prepared, tmp_path / "home" / "mlflow.db")
    return f"sqlite:///{tmp_path}/home/mlflow.db"


def test_a_job_and_its_rank_0_share_one_run(
    tmp_path: Path,
    database: str,
    job_of: Callable[..., Job],
    client_of: Callable[[str], Any],
) -> None:
    job = job_of(
        database,
        experiment="vision",
        run_name="digits",
        params={"command": "x" * 7000, "mixed_precision": "no", "odd*name": "1"},
        tags={"mlflow.user": "ada", "mlflow.source.git.commit": "c0ffee"},
    ).start()
    made = job.joined()
    rank = subprocess.run(
        [sys.executable, "-c", RANK_0],
        cwd=job.cwd,
        check=False,
        env={
            **os.environ,
            "MLFLOW_TRACKING_URI": made["uri"],
            "MLFLOW_RUN_ID": made["run_id"],
            "MLFLOW_EXPERIMENT_ID": made["experiment_id"],
        },
        capture_output=True,
    )
    assert rank.returncode == 3, rank.stderr.decode()
    client = client_of(database)
    run_id = made["run_id"]
    until(lambda: client.get_run(run_id).data.params.get("aiinfra.command"))
    ended_at = time.time()
    job.end("failed", ended_at=ended_at, started_at=ended_at - 2.5, rc=3, reason="rank 0 left")
    assert job.wait() == 0, job.log

    run = client.get_run(run_id)
    assert run.info.status == "FAILED"
    assert run.info.end_time == int(ended_at * 1000)
    assert run.info.run_name == "digits"
    assert client.get_experiment(run.info.experiment_id).name == "vision"
    assert run.data.params["mixed_precision"] == "fp16"
    assert run.data.params["aiinfra.mixed_precision"] == "no"
    assert run.data.params["aiinfra.odd_name"] == "1"
    assert run.data.params["aiinfra.command"].endswith("(cut from 7000 characters)")
    tags = run.data.tags
    assert tags["mlflow.user"] == "ada"
    assert tags["mlflow.source.git.commit"] == "c0ffee"
    assert (tags["aiinfra.job"], tags["aiinfra.state"]) == (job.id, "failed")
    assert tags["aiinfra.reason"] == "rank 0 left"
    assert run.data.metrics["aiinfra/duration_seconds"] == 2.5
    assert [m.step for m in client.get_metric_history(run_id, "loss")] == [0, 1, 2]
    files = {item.path for item in client.list_artifacts(run_id, "aiinfra")}
    assert files == {"aiinfra/cell.py", "aiinfra/requirements.txt"}
    assert system_metrics_by_mlflow() <= {*run.data.metrics}
    # Nothing is left in the user's folder: artifacts lie beside the database.
    assert list(job.cwd.iterdir()) == []
    assert (tmp_path / "home" / "mlruns").is_dir()


def system_metrics_by_mlflow() -> set[str]:
    """Return the names that MLflow's own monitor would have logged here."""
    names: set[str] = set()
    for noun in ("CPU", "Disk", "Network"):
        module = importlib.import_module(f"mlflow.system_metrics.metrics.{noun.lower()}_monitor")
        monitor = getattr(module, f"{noun}Monitor")()
        monitor.collect_metrics()
        names |= {f"system/{name}" for name in monitor.aggregate_metrics()}
    return names


def test_a_second_companion_changes_nothing(
    database: str, job_of: Callable[..., Job], client_of: Callable[[str], Any]
) -> None:
    job = job_of(database, params={"nodes": "1"}).start()
    run_id = job.joined()["run_id"]
    job.end("cancelled", reason="by the user")
    assert job.wait() == 0, job.log
    first = client_of(database).get_run(run_id).to_dictionary()
    assert first["info"]["status"] == "KILLED"

    job.start()
    job.hang_up()
    assert job.wait() == 0, job.log

    assert client_of(database).get_run(run_id).to_dictionary() == first


def test_a_killed_supervisor_does_not_end_the_run(
    database: str, job_of: Callable[..., Job], client_of: Callable[[str], Any]
) -> None:
    job = job_of(database)
    gone = {"pid": 2**22, "start": 1, "boot": supervise.boot_id(), "pidns": "x", "wrapper": None}
    job.write("supervisor.json", gone)
    rank = subprocess.Popen(
        [sys.executable, "-c", "input()"],
        env={**os.environ, supervise.TAG: job.id},
        stdin=subprocess.PIPE,
    )
    try:
        run_id = job.start().joined()["run_id"]
        client = client_of(database)
        job.hang_up()
        # It still samples after the pipe has ended, so it knows that the job runs on.
        name = "system/disk_usage_megabytes"
        seen = len(client.get_metric_history(run_id, name))
        until(lambda: len(client.get_metric_history(run_id, name)) > seen + 2)
        assert client.get_run(run_id).info.status == "RUNNING"
        (job.folder / "rc").write_text("7\n")
    finally:
        rank.kill()
        rank.communicate()
    assert job.wait() == 0, job.log

    run = client.get_run(run_id)
    assert (run.info.status, run.data.tags["aiinfra.state"]) == ("FAILED", "failed")
    assert "status 7" in run.data.tags["aiinfra.reason"]


def test_two_jobs_may_make_the_database_at_once(
    tmp_path: Path, job_of: Callable[..., Job], client_of: Callable[[str], Any]
) -> None:
    uri = f"sqlite:///{tmp_path}/new/folder/mlflow.db"
    jobs = [job_of(uri, experiment="vision").start() for _ in range(2)]
    answers = [job.joined() for job in jobs]
    for job in jobs:
        job.end()
        assert job.wait() == 0, job.log
        # One at a time: MLflow's own migrations trip over each other, and may break the database.
        assert "trying again" not in job.log

    assert len({answer["run_id"] for answer in answers}) == 2
    assert len({answer["experiment_id"] for answer in answers}) == 1
    runs = client_of(uri).search_runs([answers[0]["experiment_id"]])
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_a_deleted_experiment_is_said_in_one_sentence(
    database: str, job_of: Callable[..., Job], client_of: Callable[[str], Any]
) -> None:
    client = client_of(database)
    client.delete_experiment(client.create_experiment("old"))
    job = job_of(database, experiment="old").start()

    assert job.wait() == 1
    assert job.answer is not None
    assert job.answer["run_id"] is None
    assert job.answer["error"] == (
        "the MLflow experiment 'old' was deleted; restore it or name another one"
    )


def test_a_server_that_is_not_there_is_said_in_bounded_time(job_of: Callable[..., Job]) -> None:
    port = supervise.free_port("127.0.0.1")
    begun = time.monotonic()
    job = job_of(f"http://127.0.0.1:{port}").start()

    assert job.wait() == 1
    assert time.monotonic() - begun < 45
    assert job.answer is not None
    assert job.answer["error"] == (
        f"MLflow at http://127.0.0.1:{port}: nothing answers there; is the server running?"
    )


# --- a server ------------------------------------------------------------------------------------


class Wire:
    """A port in front of another one that can be cut off and joined again."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = supervise.free_port("127.0.0.1")
        self._listener: socket.socket | None = None
        self._open: list[socket.socket] = []

    def join(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port), reuse_port=True)
        threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def cut(self) -> None:
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._listener, self._open = None, []

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", self.target))
                self._open += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=[source, sink], daemon=True).start()

    @staticmethod
    def _carry(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def server(tmp_path: Path, prepared: Path) -> Iterator[int]:
    (tmp_path / "server").mkdir()
    shutil.copy(prepared, tmp_path / "server" / "mlflow.db")
    port = supervise.free_port("127.0.0.1")
    store = f"sqlite:///{tmp_path}/server/mlflow.db"
    with (tmp_path / "server" / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"),
                *("--port", str(port), "--workers", "1", "--backend-store-uri", store),
                *("--artifacts-destination", str(tmp_path / "server" / "artifacts")),
            ],
            stdout=log,
            stderr=log,
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            start_new_session=True,
        )
    try:
        until(lambda: process.poll() is not None or healthy(port), 90)
        assert process.poll() is None, (tmp_path / "server" / "log").read_text()
        yield port
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def test_a_server_that_was_away_has_everything_afterwards(
    server: int, job_of: Callable[..., Job], client_of: Callable[[str], Any]
) -> None:
    wire = Wire(server)
    wire.join()
    client = client_of(f"http://127.0.0.1:{server}")
    job = job_of(f"http://127.0.0.1:{wire.port}", experiment="vision", params={"nodes": "1"})
    run_id = job.start().joined()["run_id"]
    name = "system/disk_usage_megabytes"
    until(lambda: len(client.get_metric_history(run_id, name)) > 1)

    wire.cut()
    gone_at = time.time()
    # Each try waits longer than the one before: by the third, samples were taken in the outage.
    until(lambda: job.log.count("system metrics: ") > 2)
    back_at = time.time()
    job.end()
    until(lambda: "the outcome" in job.log)
    assert client.get_run(run_id).info.status == "RUNNING"
    wire.join()
    try:
        assert job.wait() == 0, job.log
    finally:
        wire.cut()

    run = client.get_run(run_id)
    assert (run.info.status, run.data.tags["aiinfra.state"]) == ("FINISHED", "succeeded")
    assert run.data.params == {"aiinfra.nodes": "1"}
    times = [metric.timestamp / 1000 for metric in client.get_metric_history(run_id, name)]
    assert [at for at in times if gone_at < at <= back_at]
    assert {item.path for item in client.list_artifacts(run_id, "aiinfra")} == {
        "aiinfra/cell.py",
        "aiinfra/requirements.txt",
    }
