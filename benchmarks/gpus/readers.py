"""``python -m benchmarks.gpus.readers TURNS NAME…``: read all GPUs in several ways, in turn.

Run with a library (``MockNvml.environ()``). Prints, as JSON and by name, the microseconds of
processor time of one reading: the least of many short turns, taken one after the other, which is
what other programs on the machine disturb least.
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import pynvml

from jupyter_aiinfra.node import nvml
from jupyter_aiinfra.node.nvidia import Nvidia
from jupyter_aiinfra.node.probe import Probe
from tests.support.nvml.cost import plain

__all__ = ["READERS", "main"]

_Reader = Callable[[], Any]

# Seconds of a turn, whatever a reading takes.
_TURN_SECONDS = 0.02


def _pynvml() -> _Reader:
    pynvml.nvmlInit()
    gpus = [pynvml.nvmlDeviceGetHandleByIndex(n) for n in range(pynvml.nvmlDeviceGetCount())]
    return lambda: plain(gpus)


def _ours() -> _Reader:
    library = nvml.load()
    assert library is not None
    nvidia = Nvidia(library, replace=lambda: None)
    return lambda: nvidia.sample(1.0)


def _line() -> _Reader:
    probe = Probe(replace=lambda: None)
    return lambda: json.dumps(probe.sample(0))


def _nvitop() -> _Reader:
    devices = importlib.import_module("nvitop").Device.all()
    return lambda: [device.as_snapshot() for device in devices]


def _gpustat() -> _Reader:
    query: _Reader = importlib.import_module("gpustat").GPUStatCollection.new_query
    return query


READERS: Mapping[str, Callable[[], _Reader]] = {
    "pynvml": _pynvml,
    "ours": _ours,
    "line": _line,
    "nvitop": _nvitop,
    "gpustat": _gpustat,
}


def main(argv: list[str]) -> None:
    """Measure."""
    turns, names = int(argv[0]), argv[1:]
    logging.disable()  # what a peer says of what the library lacks is not what is measured
    readers = {name: READERS[name]() for name in names}
    for reader in readers.values():  # what is looked up once is not what a reading costs
        reader()
        reader()
    best = dict.fromkeys(names, float("inf"))
    for _ in range(turns):
        for name, reader in readers.items():
            best[name] = min(best[name], _microseconds(reader))
    sys.stdout.write(json.dumps(best))


def _microseconds(reader: _Reader) -> float:
    count, begun, until = 0, time.process_time(), time.monotonic() + _TURN_SECONDS
    while count == 0 or time.monotonic() < until:
        reader()
        count += 1
    return (time.process_time() - begun) / count * 1e6


if __name__ == "__main__":
    main(sys.argv[1:])
