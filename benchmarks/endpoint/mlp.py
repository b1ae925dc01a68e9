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
from benchmarks.registry import CannotMeasure, Run

__all__ = ["Server", "asked", "free_port", "mlp", "served", "started"]

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
def served(
    folder: Path,
    *,
    ours: bool,
    options: Sequence[str] = (),
    body: bytes = BODY,
    key: str = "",
) -> Iterator[Server]:
    """Have the model in `folder` served."""
    port = free_port()
    argv = [sys.executable, "-m"]
    if ours:
        argv += ["jupyter_aiinfra.serving", str(folder), "--workers", "1", "--port", str(port)]
        argv += options
    else:
        argv += ["uvicorn", "raw:app", "--no-access-log", "--log-level", "warning"]
        argv += ["--port", str(port)]
    with started(argv, folder, port, body=body, key=key) as server:
        yield server


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def started(
    argv: Sequence[str],
    folder: Path,
    port: int,
    *,
    path: str = "/predict",
    body: bytes = BODY,
    key: str = "",
    packages: Path | None = None,
) -> Iterator[Server]:
    """Run a server in `folder` that answers `body` at `path`, with the packages of a peer."""
    home = str(Path(__file__).parents[2])
    places = [str(packages or ""), home, str(folder)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(places), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, cwd=folder)
    try:
        _until_answered(f"http://127.0.0.1:{port}{path}", body, key, process)
        yield Server(psutil.Process(process.pid), port)
    finally:
        if process.poll() is None:
            family = psutil.Process(process.pid).children(recursive=True)
            process.terminate()
            process.wait(30)
            for one in psutil.wait_procs(family, timeout=10)[1]:
                one.kill()


def _until_answered(url: str, body: bytes, key: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 180
    headers = {"content-type": "application/json"} | ({"x-api-key": key} if key else {})
    asked = urllib.request.Request(url, body, headers)  # noqa: S310 - ours
    while not _answered(asked):
        if process.poll() is not None or time.monotonic() > until:
            raise CannotMeasure(f"{url} does not answer")
        time.sleep(0.1)


def _answered(asked: urllib.request.Request) -> bool:
    try:
        with urllib.request.urlopen(asked, timeout=5) as answer:  # noqa: S310 - ours
            return bool(answer.read())
    except OSError:
        return False


def asked(
    server: Server,
    clients: int,
    path: str = "/predict",
    *,
    body: bytes = BODY,
    key: str = "",
    seconds: float = _SECONDS,
) -> dict[str, float]:
    """Ask for a while on so many connections; return requests a second, and milliseconds."""
    before = server.cpu_seconds()
    argv = [sys.executable, str(_LOAD), str(server.port), path, str(clients), str(seconds)]
    done = subprocess.run([*argv, key], input=body, capture_output=True, check=False, timeout=60)
    if done.returncode:
        raise RuntimeError(f"asking {path} failed: {done.stderr.decode()}")
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
