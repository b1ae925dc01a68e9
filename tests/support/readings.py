"""Made-up samples of made-up GPUs, in the shape that the probe prints."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

__all__ = ["GIB", "SMOOTH", "a_gpu", "a_sample", "trace"]

GIB = 1 << 30

# How far each series walks in a second, in its unit.
SMOOTH = {
    "util": 2.5,
    "mem_used": 0.8 * (1 << 20),
    "power_w": 8.0,
    "temp_c": 0.3,
    "sm_mhz": 9.0,
    "pcie_rx_bps": 96.0 * (1 << 20),
    "pcie_tx_bps": 96.0 * (1 << 20),
}
_LIMITS = {
    "util": (0.0, 100.0),
    "mem_used": (0.0, 80.0 * GIB),
    "power_w": (60.0, 700.0),
    "temp_c": (25.0, 92.0),
    "sm_mhz": (210.0, 1980.0),
    "pcie_rx_bps": (0.0, 60e9),
    "pcie_tx_bps": (0.0, 60e9),
}
# How far each series of the node walks in a second, and how far at most.
_MACHINE = {
    "cpu": (1.0, 100.0),
    "memory": (64.0 * (1 << 20), 512.0 * GIB),
    "disk_read": (4e6, 2e9),
    "disk_write": (4e6, 2e9),
    "network_rx": (4e6, 12e9),
    "network_tx": (4e6, 12e9),
}


def a_gpu(number: int = 0, **changes: Any) -> dict[str, Any]:
    """Return what a probe says of a GPU."""
    return {
        "uuid": f"GPU-{number:08x}-1b2c-4d5e-8f90-a1b2c3d4e5f6",
        "name": "NVIDIA H100 80GB HBM3",
        "index": number,
        "parent": None,
        "util": 50.0,
        "mem_used": 40 * GIB,
        "mem_total": 80 * GIB,
        "power_w": 350.0,
        "power_limit_w": 700.0,
        "temp_c": 55,
        "sm_mhz": 1980,
        "mem_mhz": 2619,
        "throttle": [],
        "pcie_rx_bps": 1e9,
        "pcie_tx_bps": 2e9,
        "nvlink_rx_bps": None,
        "nvlink_tx_bps": None,
        "ecc": 0,
        "xid": 0,
        "enc": 0,
        "dec": 0,
        "procs": [],
        "lost": False,
        **changes,
    }


def a_sample(
    *gpus: dict[str, Any], seq: int = 1, at: float = 1000.0, **changes: Any
) -> dict[str, Any]:
    """Return what a probe prints."""
    return {
        "v": 1,
        "seq": seq,
        "at": at,
        "up": at,
        "cpu": {"percent": 12.5, "count": 64},
        "memory": {"used": 100 * GIB, "total": 512 * GIB},
        "disk": {"used": GIB, "total": 2 * GIB, "read_bps": 0.0, "write_bps": 1e6},
        "net": {"rx_bps": 1e6, "tx_bps": 2e6},
        "gpus": list(gpus),
        "problems": [],
        **changes,
    }


def trace(
    gpus: int, *, seed: int, start: float = 1_700_000_000.0, interval: float = 1.0
) -> Iterator[dict[str, Any]]:
    """Yield samples of a node whose GPUs train, for ever: each series walks at random.

    One job has all of its GPUs.
    """
    chance = random.Random(seed)  # noqa: S311 - made-up readings
    first = chance.randrange(1 << 20) << 8
    state = [
        {name: chance.uniform((low + high) / 2, high) for name, (low, high) in _LIMITS.items()}
        for _ in range(gpus)
    ]
    machine = {name: chance.uniform(0, high) for name, (_, high) in _MACHINE.items()}
    seq = 0
    while True:
        rows = []
        for name, (width, high) in _MACHINE.items():
            machine[name] = min(max(machine[name] + chance.gauss(0, width), 0.0), high)
        for number, values in enumerate(state):
            for name, width in SMOOTH.items():
                low, high = _LIMITS[name]
                values[name] = min(max(values[name] + chance.gauss(0, width), low), high)
            told = {**values, "mem_used": int(values["mem_used"])}
            process = {"pid": 4000 + number, "mem": told["mem_used"], "user": "ada"}
            process |= {"cmd": "python train.py", "job": f"1{first:011d}", "seat": number}
            rows.append({**a_gpu(first + number, index=number, procs=[process]), **told})
        at = start + seq * interval
        yield a_sample(*rows, seq=seq, at=at, **_machine(machine))
        seq += 1


def _machine(values: dict[str, float]) -> dict[str, Any]:
    return {
        "cpu": {"percent": values["cpu"], "count": 64},
        "memory": {"used": int(values["memory"]), "total": 512 * GIB},
        "disk": {
            "used": GIB,
            "total": 2 * GIB,
            "read_bps": values["disk_read"],
            "write_bps": values["disk_write"],
        },
        "net": {"rx_bps": values["network_rx"], "tx_bps": values["network_tx"]},
    }
