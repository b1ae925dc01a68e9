"""A machine's processors, memory, disks and network, from Linux' ``/proc`` and ``/sys``.

Standard library only, Python 3.8 and later; sent to nodes. Rates are means since the last reading;
at the first, and where a counter is missing or ran backwards, they are unknown.
"""

from __future__ import annotations

import os
import re
from typing import Any, Iterable

__all__ = ["Machine", "rate"]

_SECTOR_BYTES = 512
_PAGE_BYTES = 1 << 16
# What is told of these is told of the disks below them as well, or is memory.
_NO_DISK = re.compile(r"^(?:loop|ram|zram|dm-|md|sr|fd|nbd)")
_NO_CABLE = re.compile(r"^(?:lo$|docker|veth|br-|virbr|cni|flannel|cali|tunl|kube|dummy|ifb|vnet)")
_LISTED_SECONDS = 30.0


def rate(now: float | None, before: float | None, seconds: float | None) -> float | None:
    """Return how much a counter grew a second, if that is known."""
    if now is None or before is None or not seconds or seconds <= 0 or now < before:
        return None
    return (now - before) / seconds


class Machine:
    """Reads the counters of this machine.

    Parameters
    ----------
    folder
        Whose file system counts as the machine's disk.
    root
        Where ``proc`` and ``sys`` are.
    """

    def __init__(self, folder: str = "/", *, root: str = "/") -> None:
        self._folder = folder
        self._proc = os.path.join(root, "proc")
        self._sys = os.path.join(root, "sys")
        self._at: float | None = None
        self._before: dict[str, float] = {}
        self._listed = float("-inf")
        self._disks: frozenset[str] = frozenset()
        self._cables: frozenset[str] = frozenset()

    def read(self, at: float) -> dict[str, Any]:
        """Return what a sample says of the machine; `at` is the monotonic time."""
        if at - self._listed >= _LISTED_SECONDS:
            self._list()
            self._listed = at
        seconds = None if self._at is None else at - self._at
        now = {**self._processors(), **self._traffic(), **self._network()}
        before, self._before, self._at = self._before, now, at
        rates = {
            key: rate(now.get(key), before.get(key), seconds)
            for key in ("read", "write", "rx", "tx")
        }
        used, total = self._memory()
        disk_used, disk_total = self._disk()
        return {
            "cpu": {"percent": _percent(now, before), "count": os.cpu_count()},
            "memory": {"used": used, "total": total},
            "disk": {
                "used": disk_used,
                "total": disk_total,
                "read_bps": _whole(rates["read"]),
                "write_bps": _whole(rates["write"]),
            },
            "net": {"rx_bps": _whole(rates["rx"]), "tx_bps": _whole(rates["tx"])},
        }

    def _list(self) -> None:
        disks = _names(os.path.join(self._sys, "block"))
        self._disks = frozenset(name for name in disks if not _NO_DISK.match(name))
        folder = os.path.join(self._sys, "class/net")
        cables = [name for name in _names(folder) if not _NO_CABLE.match(name)]
        # Bonds, bridges and VLANs tell of the same bytes again. A container has nothing else.
        real = [name for name in cables if os.path.exists(os.path.join(folder, name, "device"))]
        self._cables = frozenset(real or cables)

    def _processors(self) -> dict[str, float]:
        words = _text(os.path.join(self._proc, "stat")).partition("\n")[0].split()
        if len(words) < 5 or words[0] != "cpu":  # noqa: PLR2004
            return {}
        # user nice system idle iowait irq softirq steal; guests are counted in user and nice.
        ticks = [int(word) for word in words[1:9]]
        idle = sum(ticks[3:5])
        return {"busy": sum(ticks) - idle, "ticks": sum(ticks)}

    def _memory(self) -> tuple[int | None, int | None]:
        found = dict.fromkeys(("MemTotal", "MemAvailable"))  # type: dict[str, int | None]
        for line in _text(os.path.join(self._proc, "meminfo")).splitlines()[:5]:
            name, _, value = line.partition(":")
            if name in found:
                found[name] = int(value.split()[0]) * 1024
        total, available = found["MemTotal"], found["MemAvailable"]
        used = None if total is None or available is None else max(0, total - available)
        return used, total

    def _disk(self) -> tuple[int | None, int | None]:
        try:
            stat = os.statvfs(self._folder)
        except OSError:
            return None, None
        # As df: what only root may fill is neither used nor there to be had.
        used = (stat.f_blocks - stat.f_bfree) * stat.f_frsize
        return used, used + stat.f_bavail * stat.f_frsize

    def _traffic(self) -> dict[str, float]:
        lines = _text(os.path.join(self._proc, "diskstats")).splitlines()
        rows = [words for words in map(str.split, lines) if words[2:3] and words[2] in self._disks]
        if not rows:
            return {}
        return {
            "read": _SECTOR_BYTES * _sum(words[5] for words in rows),
            "write": _SECTOR_BYTES * _sum(words[9] for words in rows),
        }

    def _network(self) -> dict[str, float]:
        rows = []
        for line in _text(os.path.join(self._proc, "net/dev")).splitlines():
            name, colon, numbers = line.partition(":")
            if colon and name.strip() in self._cables:
                rows.append(numbers.split())
        if not rows:
            return {}
        return {"rx": _sum(words[0] for words in rows), "tx": _sum(words[8] for words in rows)}


def _percent(now: dict[str, float], before: dict[str, float]) -> float | None:
    if "ticks" not in now or "ticks" not in before or now["ticks"] <= before["ticks"]:
        return None
    share = (now["busy"] - before["busy"]) / (now["ticks"] - before["ticks"])
    return round(100 * min(1.0, max(0.0, share)), 1)


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _sum(words: Iterable[str]) -> int:
    return sum(int(word) for word in words)


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _text(path: str) -> str:
    # Quicker than a file object, and the kernel makes no more of a file than is asked for.
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        parts = []
        while True:
            part = os.read(file, _PAGE_BYTES)
            parts.append(part)
            if len(part) < _PAGE_BYTES:
                return b"".join(parts).decode(errors="replace")
    except OSError:
        return ""
    finally:
        os.close(file)
