"""What reading 8 GPUs costs: our probe, a loop over pynvml for the same, and other monitors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.figure import Figure, Goal
from benchmarks.gpus.peers import VERSIONS, monitors
from benchmarks.gpus.scene import GPUS, alone
from benchmarks.registry import CannotMeasure, Run
from tests.support.nvml import MockNvml, build, gpu

__all__ = ["mock_gpus", "sampled"]

_TURNS = 25
_PEER_TURNS = 3  # gpustat sleeps for a tenth of a second a GPU
_READINGS = 20
_PEERS = ("nvitop", "gpustat")


def mock_gpus(folder: Path) -> MockNvml:
    """Return a compiled library with 8 GPUs, a process on each."""
    try:
        library = build(folder / "library")
    except BaseException as error:  # what a test that needs it does without a compiler
        if type(error).__name__ != "Skipped":
            raise
        raise CannotMeasure(str(error)) from error
    mock = MockNvml(folder / "gpus", library)
    mock.gpus = [gpu(each, procs=f"{os.getpid()}:1000") for each in range(GPUS)]
    mock.write()
    return mock


def sampled(run: Run) -> Sequence[Figure]:
    """Read in several ways in one process, which finds a compiled library that answers at once."""
    mock = mock_gpus(run.folder)
    peers = monitors()
    found: dict[str, list[float]] = {}
    for number in range(1, run.rounds + 1):
        costs = _costs(mock, _TURNS, "pynvml", "ours", "line")
        # In processes of their own: they change pynvml as they are loaded.
        for name in _PEERS:
            costs |= _costs(mock, _PEER_TURNS, name, path=peers)
        for name, cost in costs.items():
            found.setdefault(name, []).append(cost)
        run.say(f"sampled {number}/{run.rounds}: ratio {costs['ours'] / costs['pynvml']:.2f}")
    what = f"processor time of a reading of {GPUS} GPUs, the least of many short turns"
    library = "a compiled library answers all calls at once, so the difference is that of programs"
    return (
        Figure(
            name=f"reading {GPUS} GPUs",
            unit="µs",
            ours=tuple(found["ours"]),
            raw=tuple(found["pynvml"]),
            goal=Goal(limit=0.5),
            note=f"{what}; raw is a loop over pynvml for the same fields; {library}.",
        ),
        Figure(
            name="a whole line of the probe",
            unit="µs",
            ours=tuple(found["line"]),
            raw=tuple(found["pynvml"]),
            note="with processors, memory, disks, network and whose the processes are, as JSON; "
            "raw is pynvml for the GPUs alone.",
        ),
        *(
            Figure(
                name=f"{name} for {GPUS} GPUs",
                unit="µs",
                ours=tuple(found[name]),
                raw=tuple(found["pynvml"]),
                note=f"not ours: what {name} {VERSIONS[name]} takes for a snapshot of its own, "
                "against pynvml.",
            )
            for name in _PEERS
        ),
        _calls(run, mock),
    )


def _costs(mock: MockNvml, turns: int, *names: str, path: Path | None = None) -> dict[str, float]:
    environ = _environ(mock, path)
    argv = [sys.executable, "-m", "benchmarks.gpus.readers", str(turns), *names]
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    costs: dict[str, float] = json.loads(done.stdout)
    return costs


def _environ(mock: MockNvml, path: Path | None = None) -> Mapping[str, str]:
    root = str(Path(__file__).parents[2])
    folders = os.pathsep.join([root] if path is None else [root, str(path)])
    return mock.environ(PYTHONPATH=folders)


def _calls(run: Run, mock: MockNvml) -> Figure:
    """Count the calls of a reading, by the difference that more readings make."""

    def calls(readings: int) -> int:
        trace = run.folder / f"calls-{readings}"
        code = (
            "from jupyter_aiinfra.node import nvml; from jupyter_aiinfra.node.nvidia import Nvidia;"
            "reader = Nvidia(nvml.load(), replace=lambda: None);"
            f"[reader.sample(1.0) for _ in range({readings})]"
        )
        environ = {**_environ(mock), "MOCK_NVML_TRACE": str(trace)}
        subprocess.run([sys.executable, "-c", code], env=environ, check=True)
        return len(trace.read_text().splitlines())

    each = (calls(2 * _READINGS) - calls(_READINGS)) / _READINGS
    return alone(
        f"calls into the driver for a reading of {GPUS} GPUs",
        "calls",
        [each] * run.rounds,
        note="counted by the library; a node is read once however many look (see the browsers).",
    )
