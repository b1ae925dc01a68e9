"""What the GPUs of a job, or one GPU, did lately: from the readings in the store."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Final

from jupyter_aiinfra.governance.idle import BUCKET_SECONDS, IDLE_PERCENT, Pulse
from jupyter_aiinfra.telemetry.ranges import MOST_POINTS, Curve, read_range
from jupyter_aiinfra.telemetry.rollup import ReadingStore

__all__ = ["idle_since", "read_pulses"]

_SERIES: Final = ("utilization", "memory", "power", "pcie_rx", "pcie_tx")


def read_pulses(
    store: ReadingStore,
    *,
    pool: str,
    gpus: Collection[str],
    start: float,
    now: float,
) -> list[Pulse]:
    """Return what some GPUs of a pool did together since a time, in the order of time."""
    points = min(MOST_POINTS, math.ceil((now - start) / BUCKET_SECONDS) + 1)
    found = read_range(
        store,
        start=start,
        end=now,
        points=max(2, points),
        now=now,
        series=_SERIES,
        pool=pool,
        gpus=gpus,
    )
    by = {name: [curve for curve in found.curves if curve.series == name] for name in _SERIES}
    pulses = []
    for place in range(found.count):
        pulse = _pulse(by, place, at=found.start + place * found.width_seconds, gpus=len(gpus))
        if pulse is not None:
            pulses.append(pulse)
    return pulses


def _pulse(by: dict[str, list[Curve]], place: int, *, at: float, gpus: int) -> Pulse | None:
    """Return one moment; ``None`` where it is not known of all GPUs what they did."""
    most = _values(by["utilization"], place, lambda curve: curve.most)
    if len(most) < gpus:
        return None
    # Of several GPUs, each of which may wait for another, it is the busiest that counts.
    least = _values(by["utilization"], place, lambda curve: curve.least)
    memory = _values(by["memory"], place, lambda curve: curve.mean)
    power = _values(by["power"], place, lambda curve: curve.mean)
    bus = [
        sum(_values([one for one in both if one.gpu == gpu], place, lambda curve: curve.mean))
        for both in [[*by["pcie_rx"], *by["pcie_tx"]]]
        for gpu in {curve.gpu for curve in both}
    ]
    return Pulse(
        at=at,
        utilization_most=max(most),
        utilization_least=min(least) if least else None,
        memory_bytes=sum(memory) if len(memory) == gpus else None,
        bus_bytes=max(bus) if bus else None,
        power_watts=max(power) if len(power) == gpus else None,
    )


def _values(
    curves: Sequence[Curve],
    place: int,
    part: Callable[[Curve], Sequence[float | None]],
) -> list[float]:
    found = (part(curve)[place] for curve in curves)
    return [value for value in found if value is not None]


def idle_since(
    store: ReadingStore, *, pool: str, gpu: str, now: float, back: float
) -> float | None:
    """Return since when a GPU has computed nothing, at most so far back.

    ``None`` where it computes, or was not read.
    """
    pulses = read_pulses(store, pool=pool, gpus=[gpu], start=now - back, now=now)
    since = None
    for each in reversed(pulses):
        if each.utilization_most is None or each.utilization_most >= IDLE_PERCENT:
            break
        since = each.at
    return since
