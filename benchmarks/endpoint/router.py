"""The same model asked directly and through the router, and the first answer after zero."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.endpoint.mlp import Server, asked, served
from benchmarks.endpoint.models import BODY, write
from benchmarks.figure import Figure, Goal
from benchmarks.registry import Run

__all__ = ["from_zero", "router"]

# What else the machine does comes and goes: one long look each would compare two of its moods.
_TURNS = 4
_SECONDS = 0.8
_NOTE = (
    "the model of the first figures, one worker; client, router and server on the same cores; the "
    f"mean of {_TURNS} turns in each round."
)
_CPU = "the router's process alone (ours) and the server's (raw), in the same requests."
_ZERO = (
    "from starting the replica to the answer: to a request that waits at the router (ours), to one "
    "that is sent to the replica as soon as it listens (raw)."
)
_JSON = {"content-type": "application/json"}


def router(run: Run) -> Sequence[Figure]:
    """Ask through the router and directly, in turn, at each number of clients."""
    folder = write(run.folder / "mlp")
    found: dict[tuple[str, int, str], list[float]] = {}
    with served(folder, ours=True) as server:
        place = _home(run.folder, f"http://127.0.0.1:{server.port}")
        with _routing(place) as before:
            for number in range(1, run.rounds + 1):
                for clients in (1, 32, 128):
                    told = _in_turn(before, server, clients)
                    for name, one in told.items():
                        for what, value in one.items():
                            found.setdefault((name, clients, what), []).append(value)
                    rates = [f"{name} {one['rate']:.0f}/s" for name, one in told.items()]
                    run.say(f"router {number}/{run.rounds}, {clients} clients: {', '.join(rates)}")

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
        figure("latency p50 through the router", 1, "p50", "ms", None),
        figure("router", 32, "rate", "1/s", Goal(limit=0.85, at_least=True)),
        figure("router", 128, "rate", "1/s", Goal(limit=0.85, at_least=True)),
        Figure(
            name="processor time in the router, 32 clients",
            unit="ms",
            ours=tuple(found["ours", 32, "cpu"]),
            raw=tuple(found["ours", 32, "served"]),
            note=_CPU,
        ),
    )


def _in_turn(before: Server, server: Server, clients: int) -> dict[str, dict[str, float]]:
    """Ask both in turn for a short while, some times; return the means."""
    found: dict[str, list[dict[str, float]]] = {"ours": [], "raw": []}
    for _ in range(_TURNS):
        used = server.cpu_seconds()
        told = asked(before, clients, "/mlp/predict", seconds=_SECONDS)
        # All of this was asked through the router, its warm-up, too.
        told["served"] = _milliseconds(server, used, told)
        found["ours"].append(told)
        found["raw"].append(asked(server, clients, seconds=_SECONDS))
    return {
        name: {what: statistics.fmean(one[what] for one in each) for what in each[0]}
        for name, each in found.items()
    }


def _milliseconds(server: Server, used: float, told: dict[str, float]) -> float:
    return 1000 * (server.cpu_seconds() - used) / (1.25 * told["answers"])


def from_zero(run: Run) -> Sequence[Figure]:
    """Let a request wait for its replica, and start the same replica without a router."""
    folder = write(run.folder / "mlp")
    near, far = run.folder / "near.sock", run.folder / "far.sock"
    ours: list[float] = []
    raw: list[float] = []
    with _routing(_home(run.folder, f"unix:{near}")) as before:
        for number in range(1, run.rounds + 1):
            through = http.client.HTTPConnection("127.0.0.1", before.port, timeout=120)
            ours.append(_first(folder, near, through, "/mlp/predict"))
            raw.append(_first(folder, far, _Unix(far), "/predict"))
            run.say(f"zero {number}/{run.rounds}: ours {ours[-1]:.2f} s, raw {raw[-1]:.2f} s")
    return (
        Figure(
            name="first answer from zero",
            unit="s",
            ours=tuple(ours),
            raw=tuple(raw),
            goal=Goal(limit=1.3),
            note=_ZERO,
        ),
    )


class _Unix(http.client.HTTPConnection):
    """Waits for a socket that is not there yet."""

    def __init__(self, path: Path) -> None:
        super().__init__("replica", timeout=120)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        until = time.monotonic() + 60
        while self.sock.connect_ex(str(self._path)):
            assert time.monotonic() < until, "it does not listen"
            time.sleep(0.005)


def _first(folder: Path, path: Path, by: http.client.HTTPConnection, where: str) -> float:
    """Start a replica that listens at `path`, and ask at once; return seconds to the answer."""
    answered: list[float] = []

    def ask() -> None:
        by.request("POST", where, BODY, _JSON)
        answer = by.getresponse()
        assert answer.status == 200, answer.read()
        answer.read()
        answered.append(time.perf_counter())

    asking = threading.Thread(target=ask)
    begun = time.perf_counter()
    asking.start()
    argv = [sys.executable, "-m", "jupyter_aiinfra.serving", str(folder), "--workers", "1"]
    process = subprocess.Popen([*argv, "--unix", str(path)], stdout=subprocess.DEVNULL)
    try:
        asking.join()
    finally:
        process.terminate()
        process.wait(30)
        by.close()
    (at,) = answered
    return at - begun


def _home(folder: Path, address: str) -> Path:
    """Write the configuration of a router with one replica; return where."""
    replica = {"id": "one", "address": address}
    endpoint = {
        "versions": {"1": {"replicas": [replica]}},
        "traffic": [{"version": "1", "weight": 1}],
    }
    path = folder / "router.json"
    path.write_text(json.dumps({"revision": 1, "endpoints": {"mlp": endpoint}}))
    return path


@contextmanager
def _routing(config: Path) -> Iterator[Server]:
    argv = [sys.executable, "-m", "jupyter_aiinfra.routing", str(config)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        with contextlib.closing(process.stdout):
            said = process.stdout.readline().decode()
        yield Server(psutil.Process(process.pid), int(said.rpartition(":")[2]))
    finally:
        process.terminate()
        process.wait(60)
