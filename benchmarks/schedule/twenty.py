"""Twenty notebooks at once, here and by jupyter-scheduler: how long, and how much memory."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.extras import installed
from benchmarks.figure import Figure, Goal
from benchmarks.registry import CannotMeasure, Run
from benchmarks.schedule.notebooks import NAME, engine_with, over, trivial
from jupyter_aiinfra.node.supervise import free_port

__all__ = ["serve", "twenty"]

_CHILD: Final = "from benchmarks.schedule.twenty import serve; serve()"
_MANY: Final = 20
_PEER: Final = "jupyter_scheduler==2.12.1"
_MARK: Final = "BENCHMARK_PEAK"
_HOST: Final = "127.0.0.1"
_LOOK_SECONDS = 0.25
_START_SECONDS = 60.0
_END_SECONDS = 600.0


def twenty(run: Run) -> Sequence[Figure]:
    """Ask for twenty runs at once, in turn."""
    peer = installed("jupyter-scheduler", "--no-deps", _PEER, "croniter<2", "pytz<=2024.2")
    notebook = trivial(run.folder / f"{NAME}.ipynb")
    times: list[tuple[float, float]] = []
    peaks: list[tuple[float, float]] = []
    for number in range(1, run.rounds + 1):
        ours, our_peak = _ours(notebook)
        raw, raw_peak = _raw(notebook, peer, run.folder / f"peer-{number}")
        times.append((ours, raw))
        peaks.append((our_peak, raw_peak))
        run.say(
            f"twenty {number}/{run.rounds}: ours {ours:.1f} s, {our_peak:.0f} MiB; "
            f"raw {raw:.1f} s, {raw_peak:.0f} MiB"
        )
    return (
        Figure(
            name=f"{_MANY} notebooks at once, until the last is over",
            unit="s",
            ours=tuple(each for each, _ in times),
            raw=tuple(each for _, each in times),
            goal=Goal(limit=1 / 5),
            note="as many at once as there are cores, no kernel waits at the beginning; raw is "
            f"{_PEER.replace('==', ' ')}, which starts them all.",
        ),
        Figure(
            name=f"{_MANY} notebooks at once, most memory",
            unit="MiB",
            ours=tuple(each for each, _ in peaks),
            raw=tuple(each for _, each in peaks),
            goal=Goal(limit=0.2),
            note="proportional set size of all processes: of what runs them (ours: the engine; "
            "raw: the Jupyter server), and of all that has begun; four times a second.",
        ),
    )


# --- ours ----------------------------------------------------------------------------------------


def _ours(notebook: Path) -> tuple[float, float]:
    with tempfile.TemporaryDirectory(prefix="aiinfra-") as home, _marked() as (mark, environ):
        argv = [sys.executable, "-c", _CHILD, str(notebook), home]
        pipe = subprocess.PIPE
        with subprocess.Popen(argv, stdin=pipe, stdout=pipe, env=environ, text=True) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            if child.stdout.readline() != "ready\n":
                raise RuntimeError("the engine did not start")
            with _watched(mark) as peak:
                begun = time.perf_counter()
                child.stdin.write("go\n")
                child.stdin.flush()
                said = child.stdout.readline()
                took = time.perf_counter() - begun
            child.stdin.close()
        if said != "over\n":
            raise RuntimeError("not all runs succeeded")
    return took, peak.most


def serve() -> None:
    """Be the process that runs ours: its arguments are the notebook, and a folder for all else."""
    asyncio.run(_serve(Path(sys.argv[1]), Path(sys.argv[2])))


async def _serve(notebook: Path, home: Path) -> None:
    engine = await engine_with(notebook, home, parallel=_MANY)
    engine.runs.keeps_warm = True
    try:
        print("ready", flush=True)
        sys.stdin.readline()
        asked = [engine.schedules.run_now(NAME).id for _ in range(_MANY)]
        await over(engine, *asked)
        print("over", flush=True)
        sys.stdin.readline()
    finally:
        await engine.aclose()


# --- jupyter-scheduler ---------------------------------------------------------------------------


def _raw(notebook: Path, peer: Path, folder: Path) -> tuple[float, float]:
    folder.mkdir()
    with _marked() as (mark, environ), _served(peer, folder, environ) as url:
        (folder / notebook.name).write_bytes(notebook.read_bytes())
        (place,) = _asked(f"{url}/runtime_environments")
        wanted = {
            "name": NAME,
            "input_uri": notebook.name,
            "output_formats": ["ipynb"],
            "runtime_environment_name": place["name"],
        }
        with _watched(mark) as peak:
            begun = time.perf_counter()
            for _ in range(_MANY):
                _asked(f"{url}/jobs", wanted)
            while True:
                jobs = _asked(f"{url}/jobs?max_items=100")["jobs"]
                states = [job["status"] for job in jobs]
                if "FAILED" in states:
                    raise RuntimeError(f"a job of jupyter-scheduler failed: {jobs[0]}")
                if states.count("COMPLETED") == _MANY:
                    break
                if time.perf_counter() - begun > _END_SECONDS:
                    raise RuntimeError(f"not over in {_END_SECONDS:g} s: {states}")
                time.sleep(_LOOK_SECONDS)
            took = time.perf_counter() - begun
    return took, peak.most


@contextlib.contextmanager
def _served(peer: Path, folder: Path, environ: dict[str, str]) -> Iterator[str]:
    """Yield the address of a Jupyter server with jupyter-scheduler and nothing else."""
    port = free_port(_HOST)
    places = {
        name: str(folder / name.lower()) for name in ("JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    }
    extensions = {"jupyter_scheduler": True, "jupyter_aiinfra": False, "jupyterlab": False}
    config = folder / "config"
    config.mkdir()
    told = {"ServerApp": {"jpserver_extensions": extensions}}
    (config / "jupyter_server_config.json").write_text(json.dumps(told))
    argv = [sys.executable, "-m", "jupyter_server", "--allow-root", f"--port={port}"]
    argv += [f"--ServerApp.root_dir={folder}", "--IdentityProvider.token=", "--no-browser"]
    argv += ["--ServerApp.disable_check_xsrf=True"]
    environ = {**environ, **places, "JUPYTER_CONFIG_DIR": str(config), "PYTHONPATH": str(peer)}
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen(argv, env=environ, stdout=log, stderr=log)
    url = f"http://{_HOST}:{port}/scheduler"
    try:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            with contextlib.suppress(OSError):
                _asked(f"{url}/runtime_environments")
                break
            if time.monotonic() > deadline or child.poll() is not None:
                said = (folder / "log").read_text(errors="replace").splitlines()
                raise CannotMeasure(f"jupyter-scheduler does not answer: {said[-1:]}")
            time.sleep(_LOOK_SECONDS)
        yield url
    finally:
        child.kill()  # it does not end by itself while it has jobs
        child.wait()


def _asked(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})  # noqa: S310 - ours
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - ours
        return json.loads(answer.read())


# --- memory --------------------------------------------------------------------------------------


@contextlib.contextmanager
def _marked() -> Iterator[tuple[bytes, dict[str, str]]]:
    """Yield what the processes of one side carry, and the variables to begin it with."""
    token = secrets.token_hex(8)
    yield f"{_MARK}={token}".encode(), {**os.environ, _MARK: token}


class _Peak:
    """The most memory of all processes with a mark, in MiB."""

    def __init__(self) -> None:
        self.most = 0.0


@contextlib.contextmanager
def _watched(mark: bytes) -> Iterator[_Peak]:
    """Sum up the memory of all processes with `mark`, now and then."""
    peak = _Peak()
    over = threading.Event()

    def look() -> None:
        while not over.wait(_LOOK_SECONDS):
            peak.most = max(peak.most, sum(_sizes(mark)) / 1024)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


def _sizes(mark: bytes) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                for line in (entry / "smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        yield int(line.split()[1])
