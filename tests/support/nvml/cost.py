"""Processor time of one reading of all GPUs: ours, and a plain loop over pynvml for the same.

Run with a library (``MockNvml.environ()``); prints microseconds as JSON. The best of many short
turns, taken alternately, is what other programs on the machine disturb least.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import pynvml

from jupyter_aiinfra.node import nvml
from jupyter_aiinfra.node.nvidia import Nvidia
from jupyter_aiinfra.node.probe import Probe

_TURNS, _READINGS = 25, 20


def plain(gpus: list[Any]) -> list[dict[str, Any]]:
    """Read what a sample tells of, as a script would that nothing ever goes wrong for."""
    rows = []
    for index, gpu in enumerate(gpus):
        memory = pynvml.nvmlDeviceGetMemoryInfo(gpu, version=pynvml.nvmlMemory_v2)
        fields = pynvml.nvmlDeviceGetFieldValues(gpu, [138, 139, 197, 198])
        processes = pynvml.nvmlDeviceGetComputeRunningProcesses(gpu)
        rows.append(
            {
                "index": index,
                "util": pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu,
                "mem_used": memory.used,
                "mem_total": memory.total,
                "power_w": pynvml.nvmlDeviceGetPowerUsage(gpu) / 1000,
                "power_limit_w": pynvml.nvmlDeviceGetEnforcedPowerLimit(gpu) / 1000,
                "temp_c": pynvml.nvmlDeviceGetTemperature(gpu, 0),
                "sm_mhz": pynvml.nvmlDeviceGetClockInfo(gpu, 1),
                "mem_mhz": pynvml.nvmlDeviceGetClockInfo(gpu, 2),
                "throttle": pynvml.nvmlDeviceGetCurrentClocksEventReasons(gpu),
                "ecc": pynvml.nvmlDeviceGetTotalEccErrors(gpu, 1, 0),
                "enc": pynvml.nvmlDeviceGetEncoderUtilization(gpu)[0],
                "dec": pynvml.nvmlDeviceGetDecoderUtilization(gpu)[0],
                "bytes": [field.value.ullVal for field in fields],
                "procs": [(each.pid, each.usedGpuMemory) for each in processes],
            }
        )
    return rows


def main() -> None:
    """Measure."""
    pynvml.nvmlInit()
    gpus = [pynvml.nvmlDeviceGetHandleByIndex(n) for n in range(pynvml.nvmlDeviceGetCount())]
    library = nvml.load()
    assert library is not None
    ours = Nvidia(library, replace=lambda: None)
    probe = Probe(replace=lambda: None)
    turns: dict[str, Callable[[], Any]] = {
        "pynvml": lambda: plain(gpus),
        "gpus": lambda: ours.sample(1.0),
        # With processors, memory, disks, network, the owners of processes, and as a line.
        "whole": lambda: json.dumps(probe.sample(0)),
    }
    best = dict.fromkeys(turns, float("inf"))
    for _ in range(_TURNS):
        for name, turn in turns.items():
            began = time.process_time()
            for _ in range(_READINGS):
                turn()
            best[name] = min(best[name], (time.process_time() - began) / _READINGS * 1e6)
    sys.stdout.write(json.dumps(best))


if __name__ == "__main__":
    main()
