"""What a machine and its GPUs do: ``probe.py [SECONDS]``, a line of JSON so often (each second).

Standard library only, Python 3.8 and later; sent to nodes with its neighbours and run from memory.
It ends, within moments and whatever the driver does, when its standard input does, and leaves
neither files nor processes. The ticks do not drift; one that could not be kept is left out, which
``seq`` counts on over. ``null`` is unknown, never 0.

========== =======================================================================================
key        value
========== =======================================================================================
v, seq     version of this form; number of the sample
at, up     seconds of the wall clock, and of one that only ever goes forward
cpu        percent busy of all processors, count
memory     used (what could not be had back), total, in bytes
disk       used, total of the file system of the home folder; read_bps, write_bps of all disks
net        rx_bps, tx_bps: bytes a second of all network cards, "lo" left out
gpus       see below; MIG slices follow their GPU
problems   words on what is not as it should be
========== =======================================================================================

Of each GPU: uuid, name, index (of a slice: its place in its GPU), parent (uuid of a slice's GPU),
util (per cent), mem_used, mem_total (bytes), power_w, power_limit_w, temp_c, sm_mhz, mem_mhz,
throttle (words), pcie_rx_bps, pcie_tx_bps, nvlink_rx_bps, nvlink_tx_bps (bytes a second), ecc
(errors that were not corrected since the driver was loaded), xid (number of the last error since
this program began, 0 for none), enc, dec (per cent), procs (pid, mem, user, cmd, job, seat of each
process), lost (whether it has fallen off the bus, or vanished).
"""

from __future__ import annotations

import json
import math
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING or __package__:
    from jupyter_aiinfra.node import nvml, smi
    from jupyter_aiinfra.node.crew import Abandoned
    from jupyter_aiinfra.node.machine import Machine
    from jupyter_aiinfra.node.nvidia import Nvidia
    from jupyter_aiinfra.node.owners import Owners
else:  # its neighbours
    _HERE = os.path.dirname(os.path.abspath(__file__))
    if _HERE not in sys.path:
        sys.path.insert(0, _HERE)
    import nvml
    import smi
    from crew import Abandoned
    from machine import Machine
    from nvidia import Nvidia
    from owners import Owners

__all__ = ["VERSION", "Probe", "main"]

VERSION = 1

_LEAST_SECONDS = 0.05
_MOST_SECONDS = 3600.0
# Of an interval, and at most: how long a sample waits for the GPUs.
_SHARE = 0.5
_PATIENCE_SECONDS = 2.0


class Probe:
    """Takes samples of this machine, about one in so many `seconds`.

    Parameters
    ----------
    seconds
        The time from one to the next.
    replace
        Has another thread take the sample that one is stuck in; see :meth:`look`.
    """

    def __init__(self, seconds: float = 1.0, *, replace: Callable[[], None] | None = None) -> None:
        self._patience = min(_PATIENCE_SECONDS, _SHARE * seconds)
        self._machine = Machine(os.path.expanduser("~"))
        self._owners = Owners()
        library = nvml.load()
        self._nvidia = None if library is None else Nvidia(library, replace=replace)
        self._sources: list[Any] = [] if self._nvidia is None else [self._nvidia]
        self._tools = smi.found(seconds, nvidia=library is None)
        self._sources += self._tools

    def sample(self, seq: int) -> dict[str, Any]:
        """Return the sample with this number; see the head of this file."""
        at, up = time.time(), time.monotonic()
        sample: dict[str, Any] = {"v": VERSION, "seq": seq, "at": round(at, 3), "up": round(up, 3)}
        sample.update(self._machine.read(up))
        gpus: list[Any] = []
        problems: list[str] = []
        for source in self._sources:
            rows, trouble = source.sample(self._patience)
            gpus += rows
            problems += trouble
        for gpu in gpus:
            if gpu["procs"]:
                gpu["procs"] = [self._process(pid, size, up) for pid, size in gpu["procs"]]
        sample["gpus"], sample["problems"] = gpus, problems
        return sample

    def look(self, began: float, seconds: float) -> None:
        """Look, half of the patience after each tick, whether the thread of the samples is stuck.

        Does not return, unless there is no driver to be stuck in.
        """
        pause = self._patience / 2
        while self._nvidia is not None:
            ticks = math.floor((time.monotonic() - began - pause) / seconds) + 1
            time.sleep(max(0.0, began + ticks * seconds + pause - time.monotonic()))
            self._nvidia.look(0.9 * pause)

    def end(self) -> None:
        """Leave no process behind."""
        for tool in self._tools:
            tool.end()

    def _process(self, pid: int, memory: int | None, now: float) -> dict[str, Any]:
        user, command, job, seat = self._owners.of(pid, now)
        return {"pid": pid, "mem": memory, "user": user, "cmd": command, "job": job, "seat": seat}


def main(argv: list[str] | None = None) -> int:
    """Print samples until standard input or output ends; does not return then."""
    arguments = sys.argv[1:] if argv is None else argv
    seconds = _seconds(arguments)
    if seconds is None:
        print("usage: probe.py [SECONDS]", file=sys.stderr)
        return 2
    _Ticker(seconds).run()
    threading.Event().wait()  # another thread is at it
    return 0


class _Ticker:
    """Prints a sample at each tick."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._began = time.monotonic()
        self._seq = 0
        self._probe = Probe(seconds, replace=lambda: _start(self.run))
        _start(_watch, self._probe)
        _start(self._probe.look, self._began, seconds)

    def run(self) -> None:
        """Go on with the next sample, until another thread does."""
        try:
            while True:
                self._tick()
        except Abandoned:
            return

    def _tick(self) -> None:
        sample = self._probe.sample(self._seq)
        line = json.dumps(sample, separators=(",", ":"), ensure_ascii=False) + "\n"
        if not _write(line.encode("utf-8", errors="replace")):
            _leave(self._probe)
        # The next tick that is still to come: late ones are not made up for.
        passed = (time.monotonic() - self._began) / self._seconds
        self._seq = max(self._seq, math.floor(passed)) + 1
        at = self._began + self._seq * self._seconds
        time.sleep(max(0.0, at - time.monotonic()))


def _start(target: Callable[..., None], *arguments: Any) -> None:
    threading.Thread(target=target, args=arguments, daemon=True).start()


def _seconds(arguments: list[str]) -> float | None:
    try:
        [seconds] = map(float, arguments or ["1"])
    except ValueError:
        return None
    return seconds if _LEAST_SECONDS <= seconds <= _MOST_SECONDS else None


def _watch(probe: Probe) -> None:
    """Wait for standard input to end; main may be held up by a reader that does not read."""
    try:
        while os.read(0, 4096):
            pass
    except OSError:
        print("aiinfra: the probe has no standard input to end with", file=sys.stderr)
    _leave(probe)


def _leave(probe: Probe) -> None:
    """End, without a word to the driver: a thread may be stuck in there for good."""
    probe.end()
    os._exit(0)


def _write(data: bytes) -> bool:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(1, view) :]
    except OSError:  # the reader is gone
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
