"""A small model at 1, 32 and 128 clients: requests a second, latency, processor time a request."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.endpoint.models import BODY, write
from benchmarks.figure import Figure, Goal
from benchmarks.registry import Run

__all__ = ["Server", "asked", "mlp", "served"]

_SECONDS = 2.0
_LOAD = Path(__file__).with_name("load.py")
_NOTE = "one worker, JSON of 128 numbers, closed loop, client and server on the same cores."


def mlp(run: Run) -> Sequence[Figure]:
    """Ask both in turn, at each number of clients."""
    folder = write(run.folder / "mlp")
    found: dict[tuple[str, int, str], list[float]] = {}
    with served(folder, ours=True) as ours, served(folder, ours=False) as raw:
        for number in range(1, run.rounds + 1):
            for clients in (1, 32, 128):
                for name, server in (("ours", ours), ("raw", raw)):
                    told = asked(server, clients)
                    for what in ("rate", "p50", "p99", "cpu"):
                        found.setdefault((name, clients, what), []).append(told[what])
                told_by = [f"{n} {found[n, clients, 'rate'][-1]:.0f}/s" for n in ("ours", "raw")]
                run.say(f"mlp {number}/{run.rounds}, {clients} clients: {', '.join(told_by)}")

    def figure(name: str, clients: int, what: str, unit: str, goal: Goal | None) -> Figure:
        return Figure(
            name=f"{name}, {clients} client{'s' if clients > 1 else ''}",
            unit=unit,
            ours=tuple(found["ours", clients, what]),
            raw=tuple(found["raw", clients, what]),
            goal=goal,
            note=_NOTE,
        )

    return (
        figure("latency p50", 1, "p50", "ms", Goal(limit=0.6)),
        figure("requests", 1, "rate", "1/s", None),
        figure("requests", 32, "rate", "1/s", Goal(limit=8, at_least=True)),
        figure("latency p99", 32, "p99", "ms", Goal(limit=0.1)),
        figure("processor time a request", 32, "cpu", "ms", Goal(limit=0.12)),
        figure("requests", 128, "rate", "1/s", Goal(limit=15, at_least=True)),
    )


class Server:
    """A server's process, and where it listens."""

    def __init__(self, process: psutil.Process, port: int) -> None:
        self.process = process
        self.port = port

    def cpu_seconds(self) -> float:
        """Return what it and its children have used."""
        family = [self.process, *self.process.children(recursive=True)]
        return sum(sum(one.cpu_times()[:2]) for one in family)


@contextmanager
def served(folder: Path, *, ours: bool) -> Iterator[Server]:
    """Have the model in `folder` served."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = [sys.executable, "-m"]
    if ours:
        argv += ["jupyter_aiinfra.serving", str(folder), "--workers", "1", "--port", str(port)]
    else:
        argv += ["uvicorn", "raw:app", "--no-access-log", "--log-level", "warning"]
        argv += ["--port", str(port)]
    home = str(Path(__file__).parents[2])
    env = os.environ | {"PYTHONPATH": f"{home}{os.pathsep}{folder}", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, cwd=folder)
    try:
        _until_answered(port, process)
        yield Server(psutil.Process(process.pid), port)
    finally:
        process.terminate()
        process.wait(30)


def _until_answered(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    headers = {"content-type": "application/json"}
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/predict", BODY, headers)
    while not _answered(asked):
        assert process.poll() is None, "it ended"
        assert time.monotonic() < until, "it does not answer"
        time.sleep(0.1)


def _answered(asked: urllib.request.Request) -> bool:
    try:
        with urllib.request.urlopen(asked, timeout=5) as answer:  # noqa: S310 - ours
            return bool(answer.read())
    except OSError:
        return False


def asked(server: Server, clients: int, path: str = "/predict") -> dict[str, float]:
    """Ask for a while on so many connections; return requests a second, and milliseconds."""
    before = server.cpu_seconds()
    argv = [sys.executable, str(_LOAD), str(server.port), path, str(clients), str(_SECONDS)]
    done = subprocess.run(argv, input=BODY, capture_output=True, check=True, timeout=60)
    told: dict[str, Any] = json.loads(done.stdout)
    assert told["answers"], told
    assert not told["failed"], told
    # The warm-up is a fifth of what was asked.
    used = (server.cpu_seconds() - before) / (told["answers"] * 1.25)
    return {
        "rate": told["rate"],
        "p50": 1000 * told["p50"],
        "p99": 1000 * told["p99"],
        "cpu": 1000 * used,
        "answers": told["answers"],
    }
