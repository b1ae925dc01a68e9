"""Budgets on the real local pool: saved on the signal, gone on with, and stopped by one of many."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.model import Desired, Job, JobState
from jupyter_aiinfra.node import supervise
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store
from tests.postgres_server import PostgresServer, postgres_server
from tests.support.bench import wait_until
from tests.support.site import Site

__all__ = ["postgres_server"]

pytestmark = pytest.mark.timeout(400)

STEPS = 2000

# Two ranks that are told of the stop each by a signal of their own. A step is in the log once
# it is made; rank 0 saves the last one. That takes longer than the job's own grace allows: only who
# stops it gives it the time.
CELL = """
import json, os, signal, sys, time
from jupyter_aiinfra import step as report
folder, total, rank = sys.argv[1], int(sys.argv[2]), int(os.environ["RANK"])
saved, stop = os.path.join(folder, "saved.json"), os.path.join(folder, "stop")
step = json.load(open(saved))["step"] if os.path.exists(saved) else 0
pause = 0.0 if step else 0.02
signal.signal(signal.SIGINT, lambda *_: open(stop + str(rank), "w").close())
log = open(os.path.join(folder, "steps-" + str(rank)), "a")
while step < total:
    time.sleep(pause)
    step += 1
    print(step, file=log, flush=True)
    report(step)
    if os.path.exists(stop + str(rank)):
        time.sleep(3)
        if rank == 0:
            with open(saved + ".new", "w") as file:
                json.dump({"step": step}, file)
            os.replace(saved + ".new", saved)
        break
"""

RANKS = """
for rank in 0 1; do
    RANK=$rank LOCAL_RANK=$rank WORLD_SIZE=2 "$0" "$1" & pids="$pids $!"
done
status=0
for pid in $pids; do wait $pid || status=$?; done
exit $status
"""

LAUNCHER = """
import asyncio, json, os, signal, sys
from jupyter_aiinfra.bundle import Bundle, bundle_file
from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.model import JobKind, JobSpec
from jupyter_aiinfra.pools.nodeside import with_node_files
from jupyter_aiinfra.settings import load_settings
from jupyter_aiinfra.store import open_store

given = json.loads(sys.argv[1])
files = [bundle_file(path, text) for path, text in given["files"].items()]
bundle = with_node_files(Bundle(files=tuple(files)))
settings = load_settings()
engine = Engine(open_store(settings), settings)
spec = JobSpec(
    kind=JobKind.TRAIN, name="long", procs=2, files=bundle.refs(), **given["spec"]
)
job = asyncio.run(engine.launch("here", spec, bundle))
print(job.id, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


class Place(Site):
    """A site whose record may be kept elsewhere, with servers that may be killed."""

    database: str | None = None

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.servers: list[subprocess.Popen[str]] = []
        self.folder = root / "checkpoints"
        self.folder.mkdir()

    @property
    def environ(self) -> dict[str, str]:
        kept = {**super().environ, "JUPYTER_AIINFRA_SAVE_SECONDS": "30"}
        return kept | ({"JUPYTER_AIINFRA_DATABASE_URL": self.database} if self.database else {})

    @property
    def settings(self) -> Settings:
        return Settings(home=self.home, database_url=self.database)

    def serve(self) -> subprocess.Popen[str]:
        """Start a server; return once it answers."""
        words = ("serve", "--port", "0", "--json", "--", "--allow-root")
        process = self.begin(*words)
        assert process.stdout is not None
        for line in iter(process.stdout.readline, ""):
            if line.startswith("}"):
                break
        self.servers.append(process)
        return process

    def launch(self, **spec: Any) -> str:
        """Launch a job from a process that is killed right after, as a kernel may be."""
        argv = ["/bin/sh", "-c", RANKS, sys.executable, "${AIINFRA_RUN_DIR}/aiinfra/rank.py"]
        words = ["cell.py", str(self.folder), str(STEPS)]
        task = {"format": 1, "entry": "cell.py", "argv": words, "path": ["src"], "cell": True}
        given = {
            "files": {"cell.py": CELL, "task.json": json.dumps(task)},
            "spec": {"argv": argv, **spec},
        }
        done = subprocess.run(
            [sys.executable, "-c", LAUNCHER, json.dumps(given)],
            cwd=self.work,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        return done.stdout.strip()

    def made(self) -> list[int]:
        """Return the steps that were made, in their order."""
        path = self.folder / "steps-0"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def saved(self) -> int:
        """Return the step that is in the checkpoint."""
        return int(json.loads((self.folder / "saved.json").read_text())["step"])

    def over(self, job_id: str) -> Job:
        """Return the record of a job once somebody has written its end down."""
        wait_until(lambda: self.store.get_job(job_id).state.final, seconds=120)
        return self.store.get_job(job_id)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    for server in place.servers:
        server.kill()
        server.communicate(timeout=60)
    for job in place.jobs():
        for who in supervise.tagged(job.id):
            supervise.send(who, signal.SIGKILL)
    place.close()


def priced(place: Place, hourly: str) -> None:
    done = place.command("pool", "attach", "here", "--kind", "local", "--price", hourly)
    assert done.returncode == 0, done.stderr


def kinds(store: Store, subject: str) -> list[str]:
    return [event.kind for event in store.events(subject=subject)]


def test_stopped_by_a_restarted_server_and_gone_on_with_to_the_right_step(place: Place) -> None:
    """The launching process is gone, and the server that saw the job begin is gone too."""
    priced(place, "3600usd/node-h")  # a dollar a second
    first = place.serve()
    job_id = place.launch(budget="40 USD", grace_seconds=0.5)
    wait_until(place.made, seconds=60)
    first.kill()
    first.communicate(timeout=60)
    place.serve()

    job = place.over(job_id)
    assert job.state is JobState.CANCELLED, job
    assert job.desired is Desired.STOP
    assert job.seen is not None
    assert job.seen.reason is not None
    assert "of $40.00 spent; stopped, with 30 s to save" in job.seen.reason
    # It saved although that took longer than the grace that it was launched with.
    made = place.made()
    assert place.saved() == made[-1] < STEPS
    assert made == list(range(1, made[-1] + 1))
    spent = place.engine().ledger.job_cost(job_id).cost[0]
    assert 40 <= spent.amount < 80
    shown = place.command("jobs", "show", job_id)
    assert "because budget of $40.00" in shown.stdout

    # The same code again, from where it was: each step once, and all of them.
    for told in place.folder.glob("stop*"):
        told.unlink()
    again = place.launch()
    assert place.over(again).state is JobState.SUCCEEDED
    assert place.made() == list(range(1, STEPS + 1))


def test_two_servers_on_one_postgresql_act_once(
    place: Place, postgres_server: PostgresServer
) -> None:
    place.database = postgres_server.new_database()
    priced(place, "3600usd/node-h")
    done = place.command("budget", "set", "25usd", "--pool", "here", "--warn-at", "10", "--json")
    assert done.returncode == 0, done.stderr
    budget = json.loads(done.stdout)["id"]
    servers = [place.serve(), place.serve()]
    job_id = place.launch(grace_seconds=0.5)

    job = place.over(job_id)
    assert all(server.poll() is None for server in servers)
    assert job.state is JobState.CANCELLED
    assert place.saved() == place.made()[-1]
    decided = [(each.kind, each.job) for each in place.store.decisions(by=budget)]
    once = [("stop", job_id), ("warning", None), ("warning", None), ("warning", job_id)]
    assert sorted(decided, key=str) == sorted(once, key=str)
    assert kinds(place.store, job_id).count("job.notice") == 2
    assert kinds(place.store, job_id).count("job.desired") == 1

    refused = place.command("run", str(place.script("x.py", "pass\n")), "--pool", "here")
    assert refused.returncode == 1
    assert "no more jobs may begin" in refused.stderr
    snoozed = place.command("budget", "snooze", budget, "--for", "1h", "--json")
    assert json.loads(snoozed.stdout)["snoozed"] is True


def test_the_time_limit_holds_on_the_node_with_nobody_there(place: Place) -> None:
    priced(place, "1usd/node-h")
    job_id = place.launch(time_limit_seconds=3.0, grace_seconds=20.0)
    wait_until(place.made, seconds=60)
    # Nobody looks: not even the record knows.
    wait_until(lambda: not supervise.tagged(job_id), seconds=60)
    assert place.store.get_job(job_id).state not in (JobState.CANCELLED, JobState.SUCCEEDED)
    assert place.saved() == place.made()[-1] < STEPS
    done = place.command("jobs", "show", job_id, "--json")
    job = json.loads(done.stdout)
    assert job["state"] == "cancelled"
    assert "time limit of 3 s" in job["seen"]["reason"]
