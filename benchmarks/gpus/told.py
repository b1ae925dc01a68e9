"""What a browser is sent of GPUs each second, and what it costs to make."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.figure import Figure, Goal, Judged
from benchmarks.registry import Run
from jupyter_aiinfra.server.feeds import GpusFeed
from jupyter_aiinfra.telemetry import Frame, NodeState, NodeView, Sample, Scope
from jupyter_aiinfra.telemetry.frames import make_frame
from jupyter_aiinfra.telemetry.sample import parse_sample
from tests.support.readings import trace

__all__ = ["told"]

_NODES, _GPUS = 64, 8
_SECONDS = 120
_SERIES = ("util", "mem_used", "power_w", "temp_c", "sm_mhz", "pcie_rx_bps", "pcie_tx_bps")


def told(run: Run) -> Sequence[Figure]:
    """Send a minute or two of made-up training of 64 nodes of 8 GPUs to one browser."""
    scopes = {
        "a pool": Scope(pool="lab"),
        "one node": Scope(pool="lab", node="n0"),
        "an overview": Scope(pool="lab", detail="nodes"),
    }
    rates: dict[str, list[float]] = {name: [] for name in scopes}
    plain: list[float] = []
    encoding: list[float] = []
    parsing: list[float] = []
    verbose: list[float] = []
    for number in range(1, run.rounds + 1):
        seconds = [_second(each) for each in _ticks(number)]
        parsing.append(1000 * sum(spent for _, _, spent in seconds) / len(seconds))
        samples = [each for _, each, _ in seconds]
        verbose.append(_verbose([lines for lines, _, _ in seconds]))
        for name, scope in scopes.items():
            wire, raw, spent = _sent(scope, samples)
            rates[name].append(wire)
            if name == "a pool":
                plain.append(raw)
                encoding.append(1000 * spent)
        run.say(f"told {number}/{run.rounds}: {rates['a pool'][-1]:.0f} B/s a pool")
    what = f"{_NODES} nodes of {_GPUS} GPUs, 7 series and 6 of each node at 1 Hz, a random walk"
    socket = "compressed as the server's socket does (deflate, level 1, one context a socket)"
    return (
        Figure(
            name="a browser that watches a pool",
            unit="B/s",
            ours=tuple(rates["a pool"]),
            judged=Judged.OURS,
            goal=Goal(limit=2000),
            note=f"{what}; deltas, {socket}.",
        ),
        Figure(
            name="the same, against JSON with names",
            unit="B/s",
            ours=tuple(rates["a pool"]),
            raw=tuple(verbose),
            goal=Goal(limit=1 / 8),
            note="raw is the GPUs as objects with the names of 7 series, compressed alike.",
        ),
        Figure(
            name="a browser that watches one node of it",
            unit="B/s",
            ours=tuple(rates["one node"]),
            judged=Judged.OURS,
            goal=Goal(limit=200),
            note=f"{_GPUS} GPUs; as above.",
        ),
        Figure(
            name="a browser with the overview of the pool",
            unit="B/s",
            ours=tuple(rates["an overview"]),
            judged=Judged.OURS,
            goal=Goal(limit=200),
            note=f"a row a node: mean utilization, sums of memory, power and GPUs in use, of "
            f"{_NODES} nodes; as above.",
        ),
        Figure(
            name="a browser whose proxy takes compression out",
            unit="B/s",
            ours=tuple(plain),
            judged=Judged.OURS,
            note="the deltas of the pool as they are.",
        ),
        Figure(
            name="making and encoding a tick of the pool",
            unit="ms",
            ours=tuple(encoding),
            judged=Judged.OURS,
            note="once a second, however many browsers, on the engine's thread.",
        ),
        Figure(
            name="reading the lines of a tick",
            unit="ms",
            ours=tuple(parsing),
            judged=Judged.OURS,
            note=f"{_NODES} lines of a probe with {_GPUS} GPUs each, on the engine's thread.",
        ),
    )


def _ticks(seed: int) -> Iterator[list[dict[str, Any]]]:
    nodes = [trace(_GPUS, seed=1000 * seed + number) for number in range(_NODES)]
    for _ in range(_SECONDS):
        yield [next(node) for node in nodes]


def _second(lines: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[Sample], float]:
    texts = [json.dumps(line).encode() for line in lines]
    begun = time.process_time()
    samples = [parse_sample(text) for text in texts]
    return lines, samples, time.process_time() - begun


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
