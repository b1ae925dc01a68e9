"""A site: one private home with its folder of work, and the programs that are started there."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.model import Job
from jupyter_aiinfra.node import supervise
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store, open_store
from tests.support.bench import wait_until

COMMAND = (
    sys.executable,
    "-c",
    "import sys; from jupyter_aiinfra.cli import main; sys.exit(main())",
)
FINAL = ("succeeded", "failed", "cancelled", "lost")

# What the machine's owner has set must not reach a test; nor may a test's tools reach the network.
_DROPPED = ("ACCELERATE_", "AIINFRA_", "JPY_", "JUPYTER", "MLFLOW_", "MPLBACKEND", "PYTEST_")


class Site:
    """A private home and everything done in it, as a user's machine has them.

    Parameters
    ----------
    root
        An empty folder. ``home`` in it is ours, ``work`` is where notebooks and scripts lie.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = root / "home"
        self.work = root / "work"
        self.work.mkdir(parents=True)
        self._store: Store | None = None

    @property
    def environ(self) -> dict[str, str]:
        """The environment of every program here."""
        kept = {name: text for name, text in os.environ.items() if not name.startswith(_DROPPED)}
        own = {
            "HOME": "user",
            "IPYTHONDIR": "ipython",
            "JUPYTER_AIINFRA_HOME": "home",
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "XDG_CONFIG_HOME": "config",
        }
        path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', os.defpath)}"
        return {**kept, **{name: str(self.root / f) for name, f in own.items()}, "PATH": path}

    # --- the command line ------------------------------------------------------------------------

    def command(
        self, *words: str, env: Mapping[str, str] | None = None, seconds: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run ``jupyter aiinfra words…`` to its end."""
        return subprocess.run(
            [*COMMAND, *words],
            cwd=self.work,
            env={**self.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def begin(
        self, *words: str, env: Mapping[str, str] | None = None, log: Path | None = None
    ) -> subprocess.Popen[str]:
        """Start ``jupyter aiinfra words…`` in a process group of its own, as a shell does.

        With `log`, its standard error goes there: more of it than a pipe holds would stop it.
        """
        with contextlib.ExitStack() as stack:
            errors = subprocess.PIPE if log is None else stack.enter_context(log.open("wb"))
            return subprocess.Popen(
                [*COMMAND, *words],
                cwd=self.work,
                env={**self.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )

    def attach(self, *options: str, name: str = "here") -> None:
        """Attach the local pool."""
        done = self.command("pool", "attach", name, "--kind", "local", *options)
        assert done.returncode == 0, done.stderr

    def script(self, name: str, text: str) -> Path:
        """Write a file into the folder of work."""
        path = self.work / name
        path.write_text(text)
        return path

    # --- what is there ---------------------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        """The settings that the programs here find."""
        return Settings(home=self.home)

    @property
    def store(self) -> Store:
        """The record, read by the test itself."""
        if self._store is None:
            self._store = open_store(self.settings)
        return self._store

    def engine(self) -> Engine:
        """Return an engine of the test's own process."""
        return Engine(self.store, self.settings)

    def jobs(self) -> Sequence[Job]:
        """Return every job on record, newest first."""
        return self.store.list_jobs()

    def newest(self) -> Job:
        """Return the job that was launched last; wait until there is one."""
        found: Sequence[Job] = wait_until(self.jobs)
        return found[0]

    def next_job(self, known: Sequence[str]) -> Job:
        """Wait for a job that is not among `known`."""
        new: Sequence[Job] = wait_until(
            lambda: [job for job in self.jobs() if job.id not in known], seconds=60
        )
        return new[0]

    def run_dir(self, job_id: str) -> Path:
        """Return where the job's files are."""
        return self.home / "runs" / job_id

    def run_dirs(self) -> list[str]:
        """Return the names of all run directories."""
        runs = self.home / "runs"
        return sorted(path.name for path in runs.iterdir()) if runs.is_dir() else []

    def log(self, job_id: str, rank: int = 0) -> bytes:
        """Return a rank's log file; empty while there is none."""
        path = self.run_dir(job_id) / "logs" / f"rank-{rank}.log"
        return path.read_bytes() if path.exists() else b""

    def status(self, job_id: str) -> dict[str, Any]:
        """Return what the node knows; this writes nothing, neither there nor in the record."""
        return dict(supervise.status(str(self.run_dir(job_id))))

    def wait_for_log(self, job_id: str, text: str, *, rank: int = 0, seconds: float = 60) -> None:
        """Wait until a rank has written `text`, or fail with what it wrote instead."""

        def written() -> bool:
            if text.encode() in self.log(job_id, rank):
                return True
            assert self.status(job_id)["state"] not in FINAL, self.story(job_id)
            return False

        wait_until(written, seconds=seconds)

    def end(self, job_id: str, *, seconds: float = 60) -> dict[str, Any]:
        """Wait until the job is over, without touching its record; return its status."""

        def over() -> dict[str, Any] | None:
            seen = self.status(job_id)
            return seen if seen["state"] in FINAL else None

        return dict(wait_until(over, seconds=seconds))

    def story(self, job_id: str) -> str:
        """Return what is known of a job, for the message of a failed test."""
        logs = sorted((self.run_dir(job_id) / "logs").glob("*.log"))
        texts = [f"--- {path.name}\n{path.read_text(errors='replace')[-3000:]}" for path in logs]
        return "\n".join([str(self.status(job_id)), *texts])

    def processes(self, job_id: str) -> list[dict[str, Any]]:
        """Return the living processes that carry the job's tag."""
        return list(supervise.tagged(job_id))

    def supervisor(self, job_id: str) -> dict[str, Any]:
        """Return the identity of the job's supervisor; wait until there is one."""
        run = supervise.Run(str(self.run_dir(job_id)))
        return dict(wait_until(lambda: run.json("supervisor.json"), seconds=60))

    def kill_supervisor(self, job_id: str) -> None:
        """Kill -9 of the job's supervisor; returns once it is gone."""
        supervisor = self.supervisor(job_id)
        assert supervise.send(supervisor, signal.SIGKILL)
        wait_until(lambda: not supervise.alive(supervisor))

    def kill_processes(self, job_id: str) -> None:
        """Kill -9 of everything that carries the job's tag; returns once all of it is gone."""

        def gone() -> bool:
            left = self.processes(job_id)
            for who in left:
                supervise.send(who, signal.SIGKILL)
            return not left

        wait_until(gone)

    def close(self) -> list[str]:
        """End what is still running of any job; return the jobs that had something running."""
        found = []
        for job_id in self.run_dirs():
            run = supervise.Run(str(self.run_dir(job_id)))
            if supervise.supervised(run) and run.json("exit.json") is None:
                found.append(job_id)
                supervise.send(run.json("supervisor.json"), signal.SIGKILL)
            if self.processes(job_id):
                found.append(job_id)
                self.kill_processes(job_id)
        if self._store is not None:
            self._store.close()
        return found


@contextmanager
def open_site(root: Path) -> Iterator[Site]:
    """Yield a site. Nothing may run on when the test that used it is over."""
    site = Site(root)
    try:
        yield site
    finally:
        left = site.close()
        shutil.rmtree(site.home, ignore_errors=True)
    assert not left, f"processes of these jobs were left behind: {left}"
