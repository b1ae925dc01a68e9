"""What many browsers that look at GPUs cost everybody else on the Jupyter server."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from benchmarks.figure import Figure, Goal
from benchmarks.gpus.peers import VERSIONS, dashboard
from benchmarks.gpus.sampled import mock_gpus
from benchmarks.gpus.scene import GPUS
from benchmarks.registry import CannotMeasure, Run
from tests.support.nvml import MockNvml
from tests.support.site import open_site

__all__ = ["watched"]

_HERTZ, _BROWSERS = 10, 50
_EVERY_SECONDS = 0.04
_SECONDS = 12.0
_START_SECONDS = 120.0
_PCIE_MILLISECONDS = 20
"""What NVIDIA documents for the call that counts bytes over PCIe."""


class _Server:
    """A Jupyter server on a free port, with a library of its own."""

    def __init__(self, folder: Path, mock: MockNvml, *words: str, **environ: str) -> None:
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.token = secrets.token_hex(16)
        self.log = folder / "server.log"
        options = [
            *("--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={self.port}"),
            *("--ServerApp.port_retries=0", f"--IdentityProvider.token={self.token}"),
            f"--ServerApp.root_dir={folder}",
        ]
        site = {**os.environ, **environ}
        own = mock.environ(**{name: text for name, text in site.items() if name != "PATH"})
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *words, *options],
                env=own,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                said = self.log.read_text(errors="replace").strip().splitlines()[-3:]
                raise CannotMeasure(f"a Jupyter server does not start: {' '.join(said)}")
            time.sleep(0.2)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            self.latencies(0.1)
            return True
        return False

    def latencies(self, seconds: float) -> list[float]:
        """Ask for what has nothing to do with GPUs, at fixed times; return milliseconds, sorted.

        Each counts from when it was due: who waits for an answer asks the next late.
        """
        found = []
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with closing(link):
            begun = time.monotonic()
            for number in range(max(1, int(seconds / _EVERY_SECONDS))):
                due = begun + number * _EVERY_SECONDS
                time.sleep(max(0.0, due - time.monotonic()))
                link.request("GET", "/api", headers={"Authorization": f"token {self.token}"})
                link.getresponse().read()
                found.append(1000 * (time.monotonic() - due))
        return sorted(found)

    @contextmanager
    def browsers(self, count: int, path: str, message: Mapping[str, object]) -> Iterator[None]:
        """Have so many browsers look meanwhile."""
        url = f"ws://127.0.0.1:{self.port}{path}"
        words = [str(count), url, self.token, json.dumps(message)]
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.gpus.browsers", *words],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise RuntimeError("the browsers do not get to see anything")
            yield
            process.communicate()  # which ends its input, and reads what it says then

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def watched(run: Run) -> Sequence[Figure]:
    """Ask a server for something else: while nobody looks, and while 50 browsers do, at 10 Hz."""
    peer = dashboard()
    found: dict[str, list[float]] = {}
    with open_site(run.folder / "site") as site:
        site.attach()
        mock = mock_gpus(run.folder)
        for each in mock.gpus:  # both ways of counting bytes over PCIe, as on real ones
            each |= {"pcie_tx_bytes": 10**9, "pcie_rx_bytes": 10**9}
            each |= {"slow": f"nvmlDeviceGetPcieThroughput:{_PCIE_MILLISECONDS}"}
        mock.write()
        trace = run.folder / "calls"
        words = ("-m", "benchmarks.gpus.quick", str(_HERTZ))
        environ = {**site.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        ours = _Server(run.folder, mock, *words, **environ, MOCK_NVML_TRACE=str(trace))
        try:
            for number in range(1, run.rounds + 1):
                _round(ours, trace, found)
                _say(run, number, found, "ours")
        finally:
            ours.close()
        config = '{"ServerApp": {"jpserver_extensions": {"jupyter_aiinfra": false, '
        config += '"jupyterlab_nvdashboard": true}}}'
        (site.root / "config").mkdir(exist_ok=True)
        (site.root / "config" / "jupyter_server_config.json").write_text(config)
        environ = {**site.environ, "PYTHONPATH": str(peer)}
        theirs = _Server(run.folder, mock, "-m", "jupyter_server", **environ)
        try:
            for number in range(1, run.rounds + 1):
                _peer_round(theirs, found)
                _say(run, number, found, "peer")
        finally:
            theirs.close()
    return _figures(found)


def _round(server: _Server, trace: Path, found: dict[str, list[float]]) -> None:
    topics = {"topics": [{"topic": "gpus", "pool": "here"}]}
    _keep(found, "ours idle", server.latencies(_SECONDS))
    for count, name in ((1, "calls of one"), (_BROWSERS, "calls of all")):
        with server.browsers(count, "/aiinfra/stream", topics):
            before, begun = _lines(trace), time.monotonic()
            if count == 1:
                time.sleep(_SECONDS / 2)
            else:
                _keep(found, "ours", server.latencies(_SECONDS))
            rate = (_lines(trace) - before) / (time.monotonic() - begun)
            found.setdefault(name, []).append(rate / _HERTZ)


def _peer_round(server: _Server, found: dict[str, list[float]]) -> None:
    _keep(found, "peer idle", server.latencies(_SECONDS))
    asked = {"updateFrequency": 1000 / _HERTZ, "isPaused": False}
    with server.browsers(1, "/nvdashboard/gpu_resource", asked):
        _keep(found, "peer", server.latencies(_SECONDS))


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)


def _keep(found: dict[str, list[float]], name: str, latencies: Sequence[float]) -> None:
    found.setdefault(f"{name} p50", []).append(statistics.median(latencies))
    found.setdefault(f"{name} p99", []).append(latencies[int(0.99 * (len(latencies) - 1))])


def _say(run: Run, number: int, found: Mapping[str, Sequence[float]], who: str) -> None:
    idle, busy = found[f"{who} idle p50"][-1], found[f"{who} p50"][-1]
    run.say(f"watched {number}/{run.rounds}: {who} {busy:.1f} ms, idle {idle:.1f} ms")


def _figures(found: Mapping[str, Sequence[float]]) -> Sequence[Figure]:
    how = (
        f"GET /api every {1000 * _EVERY_SECONDS:g} ms for {_SECONDS:g} s, each from when it was "
        "due; raw is the same server while nobody looks"
    )
    gpus = f"{GPUS} GPUs of a compiled library"
    slow = f"in which bytes over PCIe take {_PCIE_MILLISECONDS} ms to count"
    return (
        *(
            Figure(
                name=f"another request while {_BROWSERS} browsers look, {name}",
                unit="ms",
                ours=tuple(found[f"ours {name}"]),
                raw=tuple(found[f"ours idle {name}"]),
                goal=Goal(limit=1.5),
                note=f"{how}. {gpus}, {slow}; sockets of another process, "
                f"told {_HERTZ} times a second.",
            )
            for name in ("p50", "p99")
        ),
        *(
            Figure(
                name=f"jupyterlab-nvdashboard with one browser, {name}",
                unit="ms",
                ours=tuple(found[f"peer {name}"]),
                raw=tuple(found[f"peer idle {name}"]),
                note=f"not ours: gpu_resource of version {VERSIONS['jupyterlab-nvdashboard']} at "
                f"{_HERTZ} Hz, its default; as above.",
            )
            for name in ("p50", "p99")
        ),
        Figure(
            name=f"calls into the driver a look, {_BROWSERS} browsers against one",
            unit="calls",
            ours=tuple(found["calls of all"]),
            raw=tuple(found["calls of one"]),
            goal=Goal(limit=1.1),
            note=f"counted by the library, {_HERTZ} looks a second; those that a busy machine "
            "leaves out are not made.",
        ),
    )
