"""What the store holds of a day of 512 GPUs, and how long a week's chart takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.figure import Figure
from benchmarks.gpus.scene import GPUS, NODES, alone, lines, sample_of
from benchmarks.registry import Run
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store, open_store
from jupyter_aiinfra.store.readings import ChunkKey
from jupyter_aiinfra.telemetry.owners import owner_labels
from jupyter_aiinfra.telemetry.ranges import read_range
from jupyter_aiinfra.telemetry.rollup import RESOLUTIONS, Rollups
from jupyter_aiinfra.telemetry.sampler import sample_steps

__all__ = ["kept"]

_HOUR, _DAY, _WEEK = 3600, 86400, 7 * 86400
_BEGIN = 1_700_000_000 // (_HOUR * 240) * _HOUR * 240


def kept(run: Run) -> Sequence[Figure]:
    """Roll up real hours of a few nodes, and fill a store of 64 nodes with what came of them."""
    sizes: list[float] = []
    charts: list[float] = []
    pooled: list[float] = []
    owned: list[float] = []
    writes: list[float] = []
    for number in range(1, run.rounds + 1):
        folder = run.folder / str(number)
        store = open_store(Settings(home=folder))
        writes.append(_roll(store, seed=number))
        sizes.append(_day(store, folder) / 1e6)
        charts.append(1000 * _chart(store, by="gpu", nodes=["n0"]))
        pooled.append(1000 * _chart(store, by="pool", nodes=None))
        owned.append(1000 * _chart(store, by="user", nodes=None))
        store.close()
        run.say(f"kept {number}/{run.rounds}: {sizes[-1]:.1f} MB, {pooled[-1]:.0f} ms")
    week = "a week of means, least and most from the store, by 700 points at most"
    return (
        alone(
            f"a day of {NODES * GPUS} GPUs at 1 Hz in the store",
            "MB",
            sizes,
            limit=50,
            note=f"the SQLite file with buckets of 10 s, a minute and an hour of {NODES} nodes and "
            "their GPUs, and whose these were; an hour of one node (random walks) is rolled up, "
            "and stands for all hours of all nodes.",
        ),
        alone(
            f"a week's chart of a pool of {NODES * GPUS} GPUs",
            "ms",
            pooled,
            limit=300,
            note=f"{week}, utilization of all GPUs together.",
        ),
        alone(
            "the same, a curve a user",
            "ms",
            owned,
            limit=300,
            note="each bucket goes to those whose the GPU was then.",
        ),
        alone(
            f"a week's chart of a node's {GPUS} GPUs",
            "ms",
            charts,
            limit=300,
            note=f"{week}, a curve a GPU.",
        ),
        alone(
            "writing a minute of one node",
            "ms",
            writes,
            note="processor time, once a minute, on a thread of its own; the mean over an hour.",
        ),
    )


def _roll(store: Store, *, seed: int) -> float:
    """Roll up an hour of one node; return how long the writing of a minute takes, in ms."""
    rollups = Rollups(store)
    node = lines(seed, nodes=1, start=_BEGIN)
    spent = 0.0
    for second in range(_HOUR):
        (line,) = next(node)
        sample = sample_of(line)
        labels = owner_labels(sample)
        rollups.add("lab", "n0", _BEGIN + second, sample_steps(sample), labels)
        if second % 60 == 59:
            begun = time.process_time()
            rollups.write(before=_BEGIN + second + 60)
            spent += time.process_time() - begun
    rollups.write(before=float("inf"))
    return 1000 * spent / 60


def _day(store: Store, folder: Path) -> float:
    """Copy the hour to a day of all nodes; return by how many bytes that makes the file larger."""
    hour = {width: store.chunks(width, start=0, end=1 << 40) for width in RESOLUTIONS}
    path = Path(Settings(home=folder).database.removeprefix("sqlite:///"))
    empty = path.stat().st_size
    # A chunk of hours is only begun: a whole one is as long as one of minutes.
    whole = hour[60][ChunkKey("lab", "n0", 60, _BEGIN)]
    for number in range(NODES):
        made: dict[ChunkKey, bytes] = {}
        for width, chunks in hour.items():
            for start in range(_BEGIN, _BEGIN + _DAY, width * 60):
                known = chunks.get(ChunkKey("lab", "n0", width, _BEGIN + (start - _BEGIN) % _HOUR))
                made[ChunkKey("lab", f"n{number}", width, start)] = known or whole
        # Of the week before only hours are read.
        store.change_chunks(list(made), lambda _, made=made: made)  # type: ignore[misc]
    size = path.stat().st_size - empty
    for number in range(NODES):
        before = {
            ChunkKey("lab", f"n{number}", 3600, start): whole
            for start in range(_BEGIN - 4 * 60 * _HOUR, _BEGIN + 1, 60 * _HOUR)
        }
        store.change_chunks(list(before), lambda _, before=before: before)  # type: ignore[misc]
    return float(size)


def _chart(store: Store, *, by: str, nodes: list[str] | None) -> float:
    end = _BEGIN + _DAY
    begun = time.perf_counter()
    found = read_range(
        store,
        start=end - _WEEK,
        end=end,
        points=700,
        now=end,
        pool="lab",
        nodes=nodes,
        by=by,  # type: ignore[arg-type]
    )
    assert sum(mean is not None for mean in found.curves[0].mean) > 150
    return time.perf_counter() - begun
