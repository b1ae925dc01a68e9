"""A bench for run directories: makes them, and speaks to the supervisor as a pool does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.node import supervise

PROGRAM = str(supervise.__file__)


def wait_until(condition: Callable[[], Any], *, seconds: float = 60.0) -> Any:
    """Return the first true value of `condition`, or fail: late, as machines may be busy."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    pytest.fail(f"not true within {seconds} s")


class Bench:
    """Makes run directories and speaks to the supervisor as a pool does: by running it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.jobs: list[str] = []

    def make(self, script: str, **changes: Any) -> Path:
        run_dir = self.root / f"run{len(self.jobs)}"
        run_dir.mkdir(mode=0o700)
        job = f"test{os.getpid()}x{len(self.jobs)}"
        self.jobs.append(job)
        spec = {
            "format": 1,
            "job": job,
            "node_rank": 0,
            "node_count": 1,
            "procs": 1,
            "world": 1,
            "head": "127.0.0.1",
            "port": None,
            "gpus": None,
            "argv": ["/bin/sh", "-c", script],
            "env": {},
            "cwd": str(self.root),
            "blobs": str(self.root / "blobs"),
            "verify_world": False,
            "grace_seconds": 0.5,
            "start_timeout_seconds": 20.0,
            "time_limit_seconds": None,
            "tracker": None,
        }
        supervise.write_json(str(run_dir / "spec.json"), {**spec, **changes})
        return run_dir

    def verb(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-I", "-S", PROGRAM, *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def start(self, script: str, *, secrets: str = "", **changes: Any) -> Path:
        run_dir = self.make(script, **changes)
        done = self.verb("start", str(run_dir), stdin=secrets)
        assert done.returncode == 0, done.stdout + done.stderr
        return run_dir

    def end(self, run_dir: Path) -> dict[str, Any]:
        def over() -> Any:
            seen = supervise.status(str(run_dir))
            return seen if seen["state"] not in ("starting", "running") else None

        return dict(wait_until(over))

    def tagged(self, run_dir: Path) -> list[dict[str, Any]]:
        spec = supervise.Run(run_dir).spec
        assert spec is not None
        return supervise.tagged(spec["job"])


@contextmanager
def open_bench(root: Path) -> Iterator[Bench]:
    """Yield a bench; nothing of its jobs may be left behind."""
    bench = Bench(root)
    yield bench
    left = [who for job in bench.jobs for who in supervise.tagged(job)]
    for who in left:
        supervise.send(who, signal.SIGKILL)
    assert not left, "a test left processes of its job behind"
