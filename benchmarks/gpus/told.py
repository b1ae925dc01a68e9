"""What a browser is sent of GPUs each second, and what it costs to make."""

from __future__ import annotations

import itertools
import json
import time
import zlib
from collections.abc import Sequence
from typing import Any

from benchmarks.figure import Figure, Goal
from benchmarks.gpus.scene import GPUS, NODES, alone, lines
from benchmarks.registry import Run
from jupyter_aiinfra.server.feeds import GpusFeed
from jupyter_aiinfra.telemetry import Frame, NodeState, NodeView, Sample, Scope
from jupyter_aiinfra.telemetry.frames import make_frame
from jupyter_aiinfra.telemetry.sample import parse_sample

__all__ = ["told"]

_SECONDS = 120
_SERIES = ("util", "mem_used", "power_w", "temp_c", "sm_mhz", "pcie_rx_bps", "pcie_tx_bps")
_SCOPES = {
    "pool": Scope(pool="lab"),
    "node": Scope(pool="lab", node="n0"),
    "overview": Scope(pool="lab", detail="nodes"),
}


def told(run: Run) -> Sequence[Figure]:
    """Send two minutes of made-up training of 64 nodes of 8 GPUs to one browser."""
    rates: dict[str, list[float]] = {name: [] for name in _SCOPES}
    plain: list[float] = []
    encoding: list[float] = []
    parsing: list[float] = []
    verbose: list[float] = []
    for number in range(1, run.rounds + 1):
        ticks = list(itertools.islice(lines(number), _SECONDS))
        samples, spent = _parsed(ticks)
        parsing.append(spent)
        verbose.append(_verbose(ticks))
        for name, scope in _SCOPES.items():
            wire, raw, spent = _sent(scope, samples)
            rates[name].append(wire)
            if name == "pool":
                plain.append(raw)
                encoding.append(1000 * spent)
        run.say(f"told {number}/{run.rounds}: {rates['pool'][-1]:.0f} B/s a pool")
    what = (
        f"{NODES} nodes of {GPUS} GPUs, each with a process, 7 series and 6 of each node at 1 Hz, "
        "a random walk"
    )
    socket = "compressed as the server's socket does (deflate, level 1, one context a socket)"
    rows = (
        f"a row a node: mean utilization, sums of memory, power and GPUs in use, of {NODES} nodes"
    )
    return (
        alone(
            "a browser that watches a pool",
            "B/s",
            rates["pool"],
            limit=2000,
            note=f"{what}; deltas, {socket}.",
        ),
        Figure(
            name="the same, against JSON with names",
            unit="B/s",
            ours=tuple(rates["pool"]),
            raw=tuple(verbose),
            goal=Goal(limit=1 / 8),
            note="raw is the GPUs as objects with the names of 7 series, compressed alike.",
        ),
        alone(
            "a browser that watches one node of it",
            "B/s",
            rates["node"],
            limit=200,
            note=f"{GPUS} GPUs; as above.",
        ),
        alone(
            "a browser with the overview of the pool",
            "B/s",
            rates["overview"],
            limit=200,
            note=f"{rows}; as above.",
        ),
        alone(
            "a browser whose proxy takes compression out",
            "B/s",
            plain,
            note="the deltas of the pool as they are.",
        ),
        alone(
            "making and encoding a tick of the pool",
            "ms",
            encoding,
            note="once a second, however many browsers, on the engine's thread.",
        ),
        alone(
            "reading the lines of a tick",
            "ms",
            parsing,
            note=f"{NODES} lines of a probe with {GPUS} GPUs each, on the engine's thread.",
        ),
    )


def _parsed(ticks: list[list[dict[str, Any]]]) -> tuple[list[list[Sample]], float]:
    """Return the samples, and how many milliseconds of processor time a tick took."""
    texts = [[json.dumps(line).encode() for line in tick] for tick in ticks]
    begun = time.process_time()
    samples = [[parse_sample(text) for text in tick] for tick in texts]
    return samples, 1000 * (time.process_time() - begun) / len(ticks)


def _sent(scope: Scope, seconds: list[list[Sample]]) -> tuple[float, float, float]:
    """Return bytes a second as sent and before compression, and seconds of a tick's work."""
    feed = GpusFeed()
    socket = _Socket()
    last: Frame | None = None
    raw, spent = 0, 0.0
    for seq, samples in enumerate(seconds, 1):
        nodes = [
            (_node(f"n{number}", sample), sample)
            for number, sample in enumerate(samples[:1] if scope.node else samples)
        ]
        begun = time.process_time()
        frame = make_frame(scope, seq=seq, at=1.7e9 + seq, nodes=nodes, leases={})
        feed.put(frame, feed.change(last, frame))
        spent += time.process_time() - begun
        message = feed.since(feed.stamp - 1 or None)
        assert message is not None
        sent = socket.send(message)
        if last is None:  # what comes once
            socket.sent -= sent
        else:
            raw += len(message)
        last = frame
    ticks = len(seconds) - 1
    return socket.sent / ticks, raw / ticks, spent / len(seconds)


def _node(name: str, sample: Sample) -> NodeView:
    return NodeView(name=name, state=NodeState.LIVE, gpus=len(sample.gpus))


def _verbose(seconds: list[list[dict[str, Any]]]) -> float:
    socket = _Socket()
    for nodes in seconds:
        rows = [
            {name: gpu[name] for name in ("uuid", *_SERIES)}
            for node in nodes
            for gpu in node["gpus"]
        ]
        socket.send(json.dumps(rows).encode())
    return socket.sent / len(seconds)


class _Socket:
    """Compression as tornado does it, with what ``server/stream.py`` asks for."""

    def __init__(self) -> None:
        self.sent = 0
        self._compressor = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS, 6)

    def send(self, message: bytes) -> int:
        data = self._compressor.compress(message) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
        header = 4  # of the frame, less the four bytes that are left out at its end
        self.sent += len(data) - 4 + header
        return len(data)
