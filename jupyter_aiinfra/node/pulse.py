"""Signs of life of a job on its node: when its ranks last said something, and last worked.

One file, standard library only, Python 3.8 or newer (and its neighbour ``supervise.py``). What a
GPU does is told elsewhere; this is for the time in which it does nothing. Said is told by the logs
and the records of steps, worked by a file that the supervisor touches: ``worked``, while any
process of the job computes, reads or writes.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, Mapping, Sequence, Tuple

if TYPE_CHECKING or __package__:
    from jupyter_aiinfra.node import supervise
else:  # its neighbours in the bundle
    _HERE = os.path.dirname(os.path.abspath(__file__))
    if _HERE not in sys.path:
        sys.path.insert(0, _HERE)
    import supervise

__all__ = ["WORKED", "PulseWatch", "signs"]

WORKED = "worked"

_LOOK_SECONDS = 20.0
# A library's thread that wakes up now and then takes less of a core than this, a loop more.
_CPU_SHARE = 0.05
_BYTES_PER_SECOND = 1 << 20
# Stacks are written into the logs of ranks that stand still: that is no word of theirs.
_DUMP_SECONDS = 45.0

_Spent = Dict[Tuple[int, int], Tuple[float, int]]


class PulseWatch:
    """Looks now and then whether any process of the job works, and touches ``worked`` if so."""

    def __init__(
        self, run: supervise.Run, processes: Callable[[], Sequence[Mapping[str, Any]]]
    ) -> None:
        self._run = run
        self._processes = processes
        self._at = float("-inf")
        self._spent: _Spent = {}

    def look(self) -> None:
        """Look if it is time; it never waits."""
        now = time.monotonic()
        if now - self._at < _LOOK_SECONDS:
            return
        seconds, before = now - self._at, self._spent
        self._at = now
        self._spent = {
            (who["pid"], who["start"]): spent
            for who in self._processes()
            for spent in [_spent(who["pid"])]
            if spent is not None
        }
        if not before or _works(before, self._spent, seconds):
            # A full disk is no reason to leave the ranks alone.
            with contextlib.suppress(OSError):
                descriptor = os.open(self._run.path(WORKED), os.O_WRONLY | os.O_CREAT, 0o600)
                try:
                    os.utime(descriptor)
                finally:
                    os.close(descriptor)


def _works(before: _Spent, now: _Spent, seconds: float) -> bool:
    moved = 0
    for who, (cpu, count) in now.items():
        # One that is new has been started by another, which is work.
        old_cpu, old_count = before.get(who, (float("-inf"), 0))
        if cpu - old_cpu > _CPU_SHARE * seconds:
            return True
        moved += count - old_count
    return moved > _BYTES_PER_SECOND * seconds


def _spent(pid: int) -> tuple[float, int] | None:
    """Return the processor seconds of a process, and the bytes it has read and written."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
        fields = text[text.rindex(b")") + 2 :].split()
        ticks = int(fields[11]) + int(fields[12])
    except (OSError, ValueError, IndexError):
        return None
    count = 0
    with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/io") as file:
        count = sum(int(line.split()[1]) for line in file.readlines()[:2])
    return ticks / os.sysconf("SC_CLK_TCK"), count


def signs(run: supervise.Run) -> dict[str, float | None]:
    """Return for how many seconds no rank of this node has said anything, and none has worked.

    Both by the node's own clock, so that it need not agree with that of who asks; ``None`` where
    it is not known.
    """
    now = time.time()
    said = max((_changed(path) for path in _sayings(run)), default=0.0)
    stall = run.json("stall.json")
    if stall is not None and abs(said - stall["at"]) < _DUMP_SECONDS:
        said = stall["since"]
    worked = _changed(run.path(WORKED))
    return {
        "said_ago": max(0.0, now - said) if said else None,
        "worked_ago": max(0.0, now - worked) if worked else None,
    }


def _sayings(run: supervise.Run) -> list[str]:
    paths = []
    for folder, begin, end in (("logs", "rank-", ".log"), ("ranks", "", ".step")):
        with contextlib.suppress(FileNotFoundError):
            names = os.listdir(run.path(folder))
            mine = [name for name in names if name.startswith(begin) and name.endswith(end)]
            paths += [run.path(folder, name) for name in mine]
    return paths


def _changed(path: str) -> float:
    try:
        return os.path.getmtime(path)
    except FileNotFoundError:
        return 0.0
