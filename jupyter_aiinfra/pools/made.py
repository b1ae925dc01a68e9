"""GPUs that are made up: a cluster of nodes whose jobs load, train, wait and end, by a seed.

What a node does is a function of the seed and of the seconds since the cluster began, and of
nothing else: whoever looks, and however often, sees the same. Nodes have roles in turn: two train
one job together, in which one rank is slow and hot; one has a job that waits for its data, and a
notebook that holds a GPU and does nothing; one answers requests, in bursts. In half an hour one of
its GPUs is lost to the driver for two minutes.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from jupyter_aiinfra.model import ID_ALPHABET, Gpu, Interpreter, Node

__all__ = ["MadeCluster"]

_GIB: Final = 1 << 30
_MASK: Final = (1 << 64) - 1

_PERIOD: Final = 900  # of a job, and of what is idle after it
_LOADS, _TRAINS = 25, 780
_SAVES_EVERY, _SAVES = 180, 8
_HEATS_EVERY, _HOT = 120, 75  # of the rank that is slow
_CAPPED: Final = 0.93  # of the power that is allowed
_SLICES: Final = ((3, 4), (2, 2), (1, 1))  # of the processors, and of the memory
_LOST_EVERY, _LOST_FROM, _LOST_TO = 1800, 600, 720


@dataclass(frozen=True)
class _Model:
    """What there is to know of a model of GPU."""

    name: str
    memory: int
    watts: int
    idle_watts: int
    clock: int
    memory_clock: int
    links: bool


_H100 = _Model("NVIDIA H100 80GB HBM3", 80 * _GIB, 700, 72, 1980, 2619, links=True)
_A100 = _Model("NVIDIA A100-SXM4-40GB", 40 * _GIB, 400, 52, 1410, 1215, links=True)
_L4 = _Model("NVIDIA L4", 23 * _GIB, 72, 16, 2040, 6251, links=False)

_TRAIN, _MIXED, _SERVE = range(3)
_MODELS: Final = {_TRAIN: _H100, _MIXED: _A100, _SERVE: _L4}
_COMMANDS: Final = {
    "train": "python train_llm.py",
    "starved": "python finetune.py",
    "notebook": "python ipykernel_launcher",
    "serve": "python serve.py",
}
_CPU_PERCENT: Final = {"": 1.5, "notebook": 2.0, "serve": 22.0, "train": 31.0, "starved": 84.0}
_USERS: Final = {"train": "ada", "starved": "grace", "notebook": "emmy", "serve": "service"}


@dataclass(frozen=True)
class _Work:
    """What a GPU does at one moment: a job's rank, or nothing (``kind`` is empty)."""

    kind: str = ""
    job: str | None = None
    rank: int | None = None
    number: int = 0
    since: float = 0.0
    slow: bool = False


class MadeCluster:
    """A cluster of made-up nodes; see the head of this file.

    Parameters
    ----------
    nodes, gpus
        How many nodes, each with how many GPUs.
    mig
        How many of the nodes have their first GPU cut in slices.
    began
        When it began, in seconds since the epoch: the names of its jobs tell of the time.
    """

    interval = 1.0

    def __init__(self, *, nodes: int, gpus: int, seed: int, mig: int, began: float) -> None:
        self._gpus = gpus
        self._seed = seed
        self._sliced = range(nodes - mig, nodes)
        self._began = int(began)
        digits = max(2, len(str(nodes)))
        self._names = [f"sim{number:0{digits}}" for number in range(1, nodes + 1)]
        self._roles = [_role(number, nodes) for number in range(nodes)]
        self._numbers = {name: number for number, name in enumerate(self._names)}
        self.nodes = tuple(map(self._facts, range(nodes)))

    # --- what does not change ---

    def _facts(self, node: int) -> Node:
        model = self._model(node)
        return Node(
            name=self._names[node],
            address=self._names[node],
            cpus=128,
            memory_bytes=1024 * _GIB,
            disk_free_bytes=3000 * _GIB,
            gpus=tuple(
                Gpu(
                    uuid=self._uuid(node, gpu),
                    name=model.name,
                    index=gpu,
                    memory_total_bytes=model.memory,
                )
                for gpu in range(self._gpus)
            ),
            python=Interpreter(executable="python3", version=platform.python_version()),
            driver="580.95.05" if self._gpus else None,
            max_procs=max(8, self._gpus),
        )

    def _model(self, node: int) -> _Model:
        model = _MODELS[self._roles[node]]
        return _A100 if node in self._sliced and model is _L4 else model  # L4s cannot be cut

    def _uuid(self, node: int, gpu: int, part: int = -1) -> str:
        text = (
            f"{_mixed(self._seed, node, gpu, part):016x}{_mixed(gpu, self._seed, part, node):016x}"
        )
        kind = "GPU" if part < 0 else "MIG"
        return f"{kind}-{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    # --- what a probe would say ---

    def reading(self, node: str, at: float) -> Mapping[str, Any]:
        """Return what a probe of the node says `at` seconds after the beginning, less its times."""
        number = self._numbers[node]
        rows: list[dict[str, Any]] = []
        busiest = ""
        for gpu in range(self._gpus):
            work = self._work(number, gpu, at)
            busiest = max(busiest, work.kind, key=_CPU_PERCENT.__getitem__)
            rows += self._rows(number, gpu, work, at)
        return {**self._machine(number, busiest, at), "gpus": rows, "problems": []}

    def _work(self, node: int, gpu: int, at: float) -> _Work:
        """Return what a GPU does: whole nodes train together, others have several jobs."""
        role = self._roles[node]
        half = (self._gpus + 1) // 2
        if role == _TRAIN:
            first = node - 1 if node and self._roles[node - 1] == _TRAIN and node % 4 == 1 else node
            others = [n for n in (first, first + 1) if n < len(self._roles)]
            ranks = self._gpus * sum(1 for n in others if self._roles[n] == _TRAIN)
            rank = (node - first) * self._gpus + gpu
            return self._at_work("train", first, rank, at, slow=rank == ranks - 1 and ranks > 1)
        if role == _MIXED:
            if gpu < half:
                return self._at_work("starved", node, gpu, at)
            return self._at_work("notebook", node, 0, at) if gpu == half else _Work()
        return self._at_work("serve", node, gpu, at) if gpu < half else _Work()

    def _at_work(self, kind: str, first: int, rank: int, at: float, *, slow: bool = False) -> _Work:
        """Return what a rank does of the jobs that follow each other on a node."""
        # The first of all has just begun when the cluster begins; others are somewhere in theirs.
        offset = 10 if first == 0 else _mixed(self._seed, first, len(kind)) % _PERIOD
        number, since = divmod(at + offset, _PERIOD)
        if since >= _TRAINS and kind in {"train", "starved"}:
            return _Work()
        return _Work(
            kind=kind,
            job=self._job(first, len(kind), int(number), offset) if kind != "notebook" else None,
            rank=rank if kind != "notebook" else None,
            number=int(number),
            since=since,
            slow=slow,
        )

    def _job(self, node: int, kind: int, number: int, offset: int) -> str:
        """Return the id of a job, as ids are: seven signs of its time and five of chance."""
        seconds = self._began + number * _PERIOD - offset
        chance = _mixed(self._seed, node, kind, number)
        head = "".join(ID_ALPHABET[(seconds >> shift) & 31] for shift in range(30, -1, -5))
        return head + "".join(ID_ALPHABET[(chance >> shift) & 31] for shift in range(0, 25, 5))

    def _rows(self, node: int, gpu: int, work: _Work, at: float) -> list[dict[str, Any]]:
        model = self._model(node)
        row: dict[str, Any] = {
            **dict.fromkeys(_FIELDS),
            "uuid": self._uuid(node, gpu),
            "name": model.name,
            "index": gpu,
            "mem_total": model.memory,
            "lost": False,
        }
        if self._is_lost(node, gpu, at):
            return [{**row, "lost": True, "xid": 79}]
        util = _utilization(work, self._noise(node, gpu, 0, at), at)
        hot = work.slow and at % _HEATS_EVERY < _HOT
        share = 0.0 if not work.kind else (util / 100) * (0.8 if hot else 1.0)
        watts = model.idle_watts + (model.watts - model.idle_watts) * (
            0.93 * share + 0.04 * self._noise(node, gpu, 1, at)
        )
        used = int(0.006 * model.memory + _memory(work) * model.memory)
        row.update(
            util=round(util),
            mem_used=used,
            power_w=round(watts, 1),
            power_limit_w=float(model.watts),
            temp_c=round(_degrees(watts / model.watts, work, hot=hot)),
            sm_mhz=_clock(model, util, hot=hot),
            mem_mhz=model.memory_clock,
            throttle=_throttle(watts / model.watts, hot=hot),
            pcie_rx_bps=round(_traffic(work, util, self._noise(node, gpu, 2, at), at)),
            pcie_tx_bps=round(0.3 * _traffic(work, util, self._noise(node, gpu, 3, at), at)),
            ecc=0,
            xid=0,
            enc=0,
            dec=0,
            procs=self._processes(node, gpu, work, used),
        )
        if model.links:
            flow = 1.6e11 * util / 100 if work.kind == "train" else 0.0
            row.update(nvlink_rx_bps=round(flow), nvlink_tx_bps=round(0.97 * flow))
        if gpu or node not in self._sliced:
            return [row]
        return self._slices(node, row)

    def _slices(self, node: int, row: dict[str, Any]) -> list[dict[str, Any]]:
        """Return a GPU in MIG mode: of a slice only its memory and processes are known."""
        made = []
        for place, (sevenths, eighths) in enumerate(_SLICES):
            total = row["mem_total"] // 8 * eighths
            procs = row["procs"] if place == 0 else []
            made.append(
                {
                    **dict.fromkeys(_FIELDS),
                    "uuid": self._uuid(node, row["index"], place),
                    "name": f"{row['name']} MIG {sevenths}g.{total // _GIB}gb",
                    "index": place,
                    "parent": row["uuid"],
                    "mem_used": min(total, row["mem_used"]) if procs else 20 << 20,
                    "mem_total": total,
                    "procs": procs,
                    "lost": False,
                }
            )
        return [{**row, "util": None, "enc": None, "dec": None, "procs": []}, *made]

    def _is_lost(self, node: int, gpu: int, at: float) -> bool:
        return (
            self._roles[node] == _MIXED
            and gpu == self._gpus - 1 > 0
            and _LOST_FROM <= at % _LOST_EVERY < _LOST_TO
        )

    def _processes(self, node: int, gpu: int, work: _Work, used: int) -> list[dict[str, Any]]:
        if not work.kind:
            return []
        pid = 2000 + _mixed(self._seed, node, gpu, work.number) % 4_000_000
        return [
            {
                "pid": pid,
                "mem": int(0.97 * used),
                "user": _USERS[work.kind],
                "cmd": _COMMANDS[work.kind],
                "job": work.job,
                "seat": work.rank,
            }
        ]

    def _machine(self, node: int, busiest: str, at: float) -> dict[str, Any]:
        wave = self._noise(node, 99, 0, at)
        saves = busiest == "train" and at % _SAVES_EVERY < _SAVES
        cpu = _CPU_PERCENT[busiest]
        read = {"starved": 1.9e9, "train": 2.4e8}.get(busiest, 2e6)
        net = {"train": 9.5e9, "serve": 1.2e8}.get(busiest, 2e6)
        used = {"starved": 410, "train": 330, "serve": 120}.get(busiest, 24)
        return {
            "cpu": {"percent": round(min(100.0, cpu * (0.85 + 0.3 * wave)), 1), "count": 128},
            "memory": {"used": int(used * (0.97 + 0.06 * wave)) * _GIB, "total": 1024 * _GIB},
            "disk": {
                "used": 4700 * _GIB,
                "total": 7700 * _GIB,
                "read_bps": round(read * (0.7 + 0.6 * wave)),
                "write_bps": round(3.1e9 if saves else 4e6 * wave),
            },
            "net": {
                "rx_bps": round(net * (0.8 + 0.4 * wave)),
                "tx_bps": round(net * (0.8 + 0.4 * wave)),
            },
        }

    def _noise(self, node: int, gpu: int, series: int, at: float) -> float:
        """Return a number from 0 to 1 that walks, and is another one some seconds later."""
        whole, part = divmod(at / 7, 1)
        number = (node << 12) + (gpu << 4) + series
        before = _mixed(self._seed, number, int(whole)) / _MASK
        after = _mixed(self._seed, number, int(whole) + 1) / _MASK
        return before + (after - before) * part


_FIELDS: Final = (
    *("parent", "util", "mem_used", "power_w", "power_limit_w", "temp_c", "sm_mhz", "mem_mhz"),
    *("throttle", "pcie_rx_bps", "pcie_tx_bps", "nvlink_rx_bps", "nvlink_tx_bps", "ecc", "xid"),
    *("enc", "dec", "procs"),
)


def _mixed(*numbers: int) -> int:
    """Return 64 bits in which nothing is left to be seen of the numbers."""
    mixed = 0x9E3779B97F4A7C15
    for number in numbers:
        mixed = ((mixed ^ (number & _MASK)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed ^= mixed >> 29
    mixed = (mixed * 0x94D049BB133111EB) & _MASK
    return mixed ^ (mixed >> 31)


def _role(node: int, nodes: int) -> int:
    roles = (_TRAIN, _TRAIN, _MIXED, _SERVE)
    # Of few nodes there is one of each.
    return roles[node % len(roles)] if nodes >= len(roles) else roles[node + 1]


def _utilization(work: _Work, wave: float, at: float) -> float:
    """Return the percent of the time in which a kernel runs."""
    if not work.kind or work.kind == "notebook":
        return 0.0
    if work.kind == "serve":
        return max(0.0, 55 * math.sin(at / 17) ** 3 + 25 * wave)
    if work.since < _LOADS:
        return 6 * wave
    if work.since % _SAVES_EVERY < _SAVES and work.since > _SAVES_EVERY:
        return 3 * wave  # a checkpoint is written
    if work.kind == "starved":
        return 12 + 80 * (at / 9 % 1) * (0.8 + 0.2 * wave)  # a saw tooth: one batch, and wait
    return 99 - 2 * wave if work.slow else 91 + 7 * wave


def _memory(work: _Work) -> float:
    """Return the share of the memory that is in use: it ramps up as the model is loaded."""
    full = {"": 0.0, "notebook": 0.21, "serve": 0.62, "starved": 0.58, "train": 0.86}[work.kind]
    loaded = 1.0 if work.kind in {"notebook", "serve"} else min(1.0, (work.since + 1) / _LOADS)
    return full * loaded


def _degrees(load: float, work: _Work, *, hot: bool) -> float:
    warm = min(1.0, 0.5 + work.since / 240) if work.kind else 0.6
    return 29 + 46 * load * warm + (14 if hot else 0)


def _clock(model: _Model, util: float, *, hot: bool) -> int:
    if util < 1:
        return 345 if model is not _L4 else 210
    return int(model.clock * (0.71 if hot else 1.0)) // 15 * 15


def _throttle(load: float, *, hot: bool) -> list[str]:
    found = ["hw_thermal"] if hot else []
    return [*found, "sw_power_cap"] if load > _CAPPED else found


def _traffic(work: _Work, util: float, wave: float, at: float) -> float:
    """Return how many bytes a second come over PCIe."""
    if work.kind == "starved":
        return 9e9 * (1 - at / 9 % 1) * wave
    return {"train": 2.2e9, "serve": 8e8}.get(work.kind, 0.0) * util / 100 * (0.6 + 0.8 * wave)
