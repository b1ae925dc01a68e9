"""What a node's processors, memory, disks, network and GPUs do, under the names of MLflow.

The companion (``track.py``) of a job's first node logs it; on the other nodes it runs as ``track.py
RUN_DIR meter`` and writes it to ``system.json``, which the supervisors carry to the first one, into
``system.nodes.json`` there. It needs neither MLflow nor a way to its server.

Python 3.8 or newer, standard library and neighbours; psutil is used where it is there. The driver
is asked by threads of their own: one that hangs costs the figures of its GPU, and nothing else.
"""

from __future__ import annotations

import importlib
import logging
import os
import select
import shutil
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __package__:
    from jupyter_aiinfra.node import nvml, supervise
    from jupyter_aiinfra.node.nvidia import Nvidia
else:  # its neighbours in the bundle; track.py sees to it that they are found
    import nvml
    import supervise
    from nvidia import Nvidia

__all__ = [
    "Gpus",
    "ProcMachine",
    "PsutilMachine",
    "Sampler",
    "keep",
    "make_sampler",
    "optional",
    "prefix",
]

_log = logging.getLogger("aiinfra.meter")

_PATIENCE_SECONDS = 2.0


def prefix(spec: dict[str, Any], slot: int) -> str:
    """Return what the names of a node's figures begin with: of several nodes each has its own."""
    return f"system/node_{slot}/" if spec.get("node_count", 1) > 1 else "system/"


class ProcMachine:
    """Figures of this machine from ``/proc``; ``None`` where there is none."""

    def __init__(self, root: str = "/proc") -> None:
        self._root = root
        self._ticks = self._cpu_ticks()

    def _lines(self, *names: str) -> list[list[str]]:
        text = supervise.read_text(os.path.join(self._root, *names)) or ""
        return [line.replace(":", " ").split() for line in text.splitlines()]

    def _cpu_ticks(self) -> tuple[int, int] | None:
        for words in self._lines("stat"):
            if words and words[0] == "cpu":
                # user nice system idle iowait irq softirq steal; guest time is in user already
                ticks = [int(word) for word in words[1:9]]
                return sum(ticks), sum(ticks) - sum(ticks[3:5])
        return None

    def cpu_percent(self) -> float | None:
        """Return how busy the cores were since the last call."""
        before, self._ticks = self._ticks, self._cpu_ticks()
        if before is None or self._ticks is None or self._ticks[0] <= before[0]:
            return None
        return 100.0 * (self._ticks[1] - before[1]) / (self._ticks[0] - before[0])

    def memory_bytes(self) -> tuple[int, int] | None:
        """Return used and total memory."""
        sizes = {words[0]: int(words[1]) * 1024 for words in self._lines("meminfo") if words[1:]}
        if "MemTotal" not in sizes or "MemAvailable" not in sizes:
            return None
        return sizes["MemTotal"] - sizes["MemAvailable"], sizes["MemTotal"]

    def network_bytes(self) -> tuple[int, int] | None:
        """Return bytes received and sent since the machine started."""
        rows = [words for words in self._lines("net", "dev")[2:] if words]
        if not rows:
            return None
        # name, eight columns of what was received, then those of what was sent; bytes come first
        return sum(int(words[1]) for words in rows), sum(int(words[9]) for words in rows)


class PsutilMachine:
    """The same figures from psutil, which knows systems without ``/proc`` too."""

    def __init__(self, psutil: Any) -> None:
        self._psutil = psutil
        psutil.cpu_percent()  # the first call only sets the beginning of the next one's interval

    def cpu_percent(self) -> float | None:
        """Return how busy the cores were since the last call."""
        return float(self._psutil.cpu_percent())

    def memory_bytes(self) -> tuple[int, int] | None:
        """Return used and total memory."""
        memory = self._psutil.virtual_memory()
        return memory.used, memory.total

    def network_bytes(self) -> tuple[int, int] | None:
        """Return bytes received and sent since the machine started."""
        counters = self._psutil.net_io_counters()
        return (counters.bytes_recv, counters.bytes_sent) if counters else None


class Gpus:
    """Figures of the GPUs given to the job, numbered as the job's code numbers them.

    Parameters
    ----------
    nvidia
        All GPUs of the node.
    wanted
        UUIDs or indices, as in ``CUDA_VISIBLE_DEVICES``; ``None`` is every GPU there is.
    """

    def __init__(self, nvidia: Nvidia, wanted: str | None) -> None:
        self._nvidia = nvidia
        self._wanted = wanted
        self._said = ""

    def read(self) -> dict[str, float]:
        """Return what can be read now; what a GPU does not tell is left out."""
        rows, problems = self._nvidia.sample(_PATIENCE_SECONDS)
        said = "; ".join(problems)
        if said and said != self._said:
            _log.info("GPU figures: %s", said)
        self._said = said
        values: dict[str, float] = {}
        for index, row in enumerate(self._chosen(rows)):
            if row is not None and not row["lost"]:
                values.update({f"gpu_{index}_{name}": value for name, value in _figures(row)})
        return values

    def _chosen(self, rows: list[dict[str, Any]]) -> list[dict[str, Any] | None]:
        """Return the rows of those wanted, in their order; ``None`` for one that is not there."""
        whole = [row for row in rows if row["parent"] is None]
        if self._wanted is None:
            return list(whole)
        found: list[dict[str, Any] | None] = []
        for name in (each.strip() for each in self._wanted.split(",")):
            if name.isdigit():
                fits = [row for row in whole if row["index"] == int(name)]
            else:
                # The beginning of a UUID will do for CUDA, too.
                fits = [row for row in rows if name and row["uuid"].startswith(name)]
            if not fits and not name.startswith(("GPU-", "MIG-")):
                break  # CUDA sees none from there on
            found.append(fits[0] if fits else None)
        return found


def _figures(row: dict[str, Any]) -> list[tuple[str, float]]:
    used, total = row["mem_used"], row["mem_total"]
    watts, limit = row["power_w"], row["power_limit_w"]
    values = [
        ("memory_usage_percentage", 100.0 * used / total if used is not None and total else None),
        ("memory_usage_megabytes", None if used is None else used / 1e6),
        ("utilization_percentage", row["util"]),
        ("power_usage_watts", watts),
        ("power_usage_percentage", 100.0 * watts / limit if watts is not None and limit else None),
    ]
    return [(name, float(value)) for name, value in values if value is not None]


class Sampler:
    """Reads the machine under the names of MLflow's own system metrics.

    Parameters
    ----------
    prefix
        What the names begin with.
    """

    def __init__(
        self,
        machine: ProcMachine | PsutilMachine,
        gpus: Gpus | None,
        prefix: str = "system/",
    ) -> None:
        self._machine = machine
        self._gpus = gpus
        self._prefix = prefix
        self._network = machine.network_bytes()

    def read(self) -> dict[str, float]:
        """Return the figures of now by name; what cannot be known is left out."""
        values: dict[str, float] = {}
        cpu = self._machine.cpu_percent()
        if cpu is not None:
            values["cpu_utilization_percentage"] = cpu
        memory = self._machine.memory_bytes()
        if memory is not None:
            values["system_memory_usage_megabytes"] = memory[0] / 1e6
            values["system_memory_usage_percentage"] = 100.0 * memory[0] / memory[1]
        disk = shutil.disk_usage(os.sep)
        values["disk_usage_percentage"] = 100.0 * disk.used / max(1, disk.used + disk.free)
        values["disk_usage_megabytes"] = disk.used / 1e6
        values["disk_available_megabytes"] = disk.free / 1e6
        network = self._machine.network_bytes()
        if network is not None and self._network is not None:
            values["network_receive_megabytes"] = (network[0] - self._network[0]) / 1e6
            values["network_transmit_megabytes"] = (network[1] - self._network[1]) / 1e6
        if self._gpus is not None:
            values.update(self._gpus.read())
        return {f"{self._prefix}{name}": round(value, 3) for name, value in values.items()}


def make_sampler(spec: dict[str, Any], environ: dict[str, str]) -> Sampler:
    """Return a sampler of this node's part of a job, over what there is to read with."""
    psutil, library = optional("psutil"), nvml.load()
    wanted = spec.get("gpus") or environ.get("CUDA_VISIBLE_DEVICES")
    return Sampler(
        PsutilMachine(psutil) if psutil is not None else ProcMachine(),
        Gpus(Nvidia(library), wanted) if library is not None else None,
        prefix(spec, int(spec.get("node_rank") or 0)),
    )


def optional(name: str) -> Any:
    """Return the module called `name`, or ``None`` where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def keep(run: supervise.Run, sampler: Sampler, *, seconds: float, stdin: int = 0) -> None:
    """Write what is read to ``system.json``, so often, until standard input ends with the job."""
    while True:
        try:
            values = sampler.read()
            run.write(
                supervise.SYSTEM, {"at": round(time.time(), 3), "values": values}, durable=False
            )
        except (OSError, ValueError):  # a full disk, or a /proc that fails once
            _log.exception("the system metrics cannot be kept just now")
        if _ended(stdin, seconds):
            return


def _ended(stdin: int, seconds: float) -> bool:
    try:
        ready, _, _ = select.select([stdin], [], [], seconds)
        return bool(ready) and not os.read(stdin, 4096)
    except (OSError, ValueError):
        return True  # there is no pipe: nobody would tell us of the end
