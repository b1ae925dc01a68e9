"""How far a rank has come: ``from jupyter_aiinfra import step`` in a script, and who reads it.

One file, standard library only, Python 3.8 or newer. It is sent to the nodes as
``jupyter_aiinfra.py`` too, at the very end of a rank's ``sys.path``, so that the import works
where the package itself is not installed. It therefore imports no neighbour.

A rank writes over one short record, ``ranks/SEAT.step`` in its run directory, at most every few
milliseconds and without ever waiting for the disk.
"""

from __future__ import annotations

import atexit
import itertools
import json
import math
import os
import time
from collections import deque
from typing import Any, Callable, Mapping, Optional

__all__ = ["VARIABLE", "read_steps", "step"]

VARIABLE = "AIINFRA_STEP_FILE"
"""Names, in a rank of ours, the file to keep; outside of one it is not set."""

_ENDING = ".step"
_RECORD_BYTES = 1024
# Steps that follow one another faster are noted together: the record is at most this late.
_PAUSE_SECONDS = 0.01
_LATEST = 33  # odd, so that the median is one of them
_METRICS = 8
_NAME_CHARACTERS = 40
_READS = 5

_Note = Callable[[Optional[int], Optional[float], Optional[int], Mapping[str, Any]], None]


class _Reporter:
    """Keeps the record of one rank. What cannot be written is not worth a training."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        self._number = 0
        self._at = 0.0
        self._clock: float | None = None
        self._written = float("-inf")
        self._pending = False
        self._took: deque[float] = deque(maxlen=_LATEST)
        self._metrics: dict[str, float] = {}
        self._of: int | None = None
        # Of the latest steps: when each ended, and what processor time had been spent by then.
        self._spent: deque[tuple[int, float]] = deque(maxlen=_LATEST)
        atexit.register(self.flush)

    def note(
        self,
        number: int | None,
        seconds: float | None,
        of: int | None,
        metrics: Mapping[str, Any],
    ) -> None:
        """Take note of one call; most calls write nothing."""
        now = time.monotonic()
        number = self._number + 1 if number is None else int(number)
        if seconds is not None:
            self._took.append(float(seconds))
        elif self._clock is not None:
            # Who reports every tenth step tells of ten; who begins an epoch anew, of one.
            self._took.append((now - self._clock) / max(1, number - self._number))
        self._clock = now
        self._number = number
        self._at = time.time()
        self._of = self._of if of is None else int(of)
        if self._spent and number <= self._spent[-1][0]:
            self._spent.clear()  # counted anew
        self._spent.append((number, time.process_time()))
        for name, value in metrics.items():
            # Not even held on to: a loss keeps the whole graph behind it alive.
            if isinstance(value, (int, float)):
                self._metrics[name] = value
        if now - self._written >= _PAUSE_SECONDS:
            self._written = now
            self._write()
        else:
            self._pending = True

    def flush(self) -> None:
        """Write what was noted last, if it has not been."""
        if self._pending:
            self._write()

    def _write(self) -> None:
        self._pending = False
        took = sorted(self._took)
        record = {
            "step": self._number,
            "step_at": self._at,
            "step_seconds": took[len(took) // 2] if took else None,
            "step_cpu_seconds": self._cpu_seconds(),
            "step_of": self._of,
            "metrics": _shown(self._metrics),
        }
        text = json.dumps(record)
        if len(text) >= _RECORD_BYTES:
            text = json.dumps({**record, "metrics": {}})
        try:
            os.pwrite(self._file, text.encode().ljust(_RECORD_BYTES - 1) + b"\n", 0)
        except OSError:
            # A full disk, a server that is away: the next steps may be noted again.
            self._pending = True

    def _cpu_seconds(self) -> float | None:
        """Return the processor time of a step, on all threads, over the latest ones."""
        if len(self._spent) < 2:  # noqa: PLR2004 - a step lies between two
            return None
        (first, before), (last, after) = self._spent[0], self._spent[-1]
        return (after - before) / (last - first)


def _shown(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Return the first few metrics; ``None`` is one that is not finite, which JSON cannot say."""
    return {
        name[:_NAME_CHARACTERS]: float(value) if math.isfinite(value) else None
        for name, value in itertools.islice(metrics.items(), _METRICS)
    }


def _begin(
    number: int | None, seconds: float | None, of: int | None, metrics: Mapping[str, Any]
) -> None:
    """Answer the first call of a process: find out whether there is somebody to tell."""
    global _note  # noqa: PLW0603 - one process is one rank, and a call must cost next to nothing
    path = os.environ.get(VARIABLE)
    try:
        _note = _Reporter(path).note if path else _tell_nobody
    except OSError:
        _note = _tell_nobody  # the run directory is out of reach; the training goes on
    _note(number, seconds, of, metrics)


def _tell_nobody(
    number: int | None, seconds: float | None, of: int | None, metrics: Mapping[str, Any]
) -> None:
    """Do nothing: this is no rank of ours."""


_note: _Note = _begin


def step(
    number: int | None = None,
    *,
    seconds: float | None = None,
    of: int | None = None,
    **metrics: float,
) -> None:
    """Report that this rank has finished a training step; outside a job it does nothing.

    Call it once a step, on every rank. It takes a few microseconds at most, waits for nothing and
    never fails for want of a disk.

    Parameters
    ----------
    number
        The number of the step; one more than the last where it is left out.
    seconds
        How long the step took; the time since the last call where it is left out. Where every step
        waits for all ranks, all of them take equally long, unless it is measured without the wait.
    of
        How many steps there will be in all. Once is enough; then it can be told when the job will
        be done, and what it will have cost.
    metrics
        Plain numbers to show beside it, such as ``loss=0.41``. Anything else, a tensor for one, is
        left out: reading it would make the GPU wait.
    """
    _note(number, seconds, of, metrics)


# A cell that uses it is sent with the import line, never with this file's inner name.
step.__module__ = "jupyter_aiinfra"


def read_steps(run_dir: str) -> dict[int, dict[str, Any]]:
    """Return what the ranks of a run directory last reported, by seat.

    Each entry has ``step``, ``step_at`` (seconds since the epoch), ``step_seconds`` (the median of
    the latest steps, or ``None``), ``step_cpu_seconds`` (processor time of a step), ``step_of``
    (how many there will be, or ``None``) and ``metrics``.
    """
    folder = os.path.join(run_dir, "ranks")
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return {}
    steps = {}
    for name in names:
        seat = name[: -len(_ENDING)]
        if name.endswith(_ENDING) and seat.isdigit():
            record = _read(os.path.join(folder, name))
            if record is not None:
                steps[int(seat)] = record
    return steps


def _read(path: str) -> dict[str, Any] | None:
    """Return one record. It is written over in place: what two looks agree on is whole."""
    text = _bytes(path)
    for _ in range(_READS):
        again = _bytes(path)
        if again == text:
            break
        text = again
    try:
        record = json.loads(text)
    except ValueError:
        return None  # begun, and nothing in it yet
    return record if isinstance(record, dict) else None


def _bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_RECORD_BYTES)
    except FileNotFoundError:
        return b""
