"""What crosses to the page of GPUs: all of it at first and now and then, else what has changed.

The frames are those of ``telemetry/frames.py``, with their number in the list as their ``key``. A
page that has missed something is told all of it again soon; how soon goes by how much that is.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Final

import msgspec

from jupyter_aiinfra.model import to_wire
from jupyter_aiinfra.telemetry import Frame, Scope, delta_frame, full_frame

__all__ = ["MOST_ROWS", "FrameWire", "GpusSource", "Reading", "Told", "bounded"]

Reading = tuple[str, Frame | str]
"""A pool and its newest frame, or why there is none."""

MOST_ROWS: Final = 128
"""Of so many GPUs at most there is a row a GPU; where there are more, there is a row a node."""

_WHOLE_SECONDS: Final = 5.0
_REPEAT_BYTES_PER_SECOND: Final = 8_000
_MOST_BYTES_PER_SECOND: Final = 32_000


@dataclass(frozen=True, kw_only=True)
class Told:
    """What to tell a page: everything, what has changed, both, or nothing."""

    whole: dict[str, Any] | None = None
    delta: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class GpusSource:
    """Where a view has its readings from.

    ``title`` says of what they are, ``job`` whose ranks are shown. ``stream`` opens the readings,
    and ``past`` returns what was read before, as ``GpuPast`` on the wire. ``submit`` runs a
    coroutine on the loop that all of that belongs to, without waiting for it.
    """

    title: str
    job: str | None = None
    stream: Callable[[], AsyncGenerator[list[Reading], None]]
    submit: Callable[[Coroutine[Any, Any, None]], object]
    past: Callable[[], Sequence[Mapping[str, Any]]] = field(default=lambda: ())


class FrameWire:
    """Makes messages of readings, one reading after the other.

    Parameters
    ----------
    clock
        Seconds that only grow, for tests.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._readings: Sequence[Reading] = ()
        self._seq = 0
        self._whole_at = float("-inf")
        self._whole_bytes = 0
        self._behind = True

    def take(self, readings: Sequence[Reading]) -> Told:
        """Take what is so now, and return what to tell of it: of each :data:`MOST_ROWS` at most."""
        readings = [(pool, _cut(found)) for pool, found in readings]
        changes = None if self._behind else _changes(self._readings, readings)
        self._readings = readings
        self._seq += 1
        since = self._clock() - self._whole_at
        if changes is None:
            # No change tells this. All of it does, but not each second where it is much.
            self._behind = since < self._whole_bytes / _MOST_BYTES_PER_SECOND
            return Told() if self._behind else Told(whole=self._made_whole())
        delta = {"seq": self._seq, "changes": changes}
        due = max(_WHOLE_SECONDS, self._whole_bytes / _REPEAT_BYTES_PER_SECOND)
        return Told(delta=delta, whole=self._made_whole() if since >= due else None)

    def whole(self) -> dict[str, Any]:
        """Return all of what was taken last."""
        return {
            "seq": self._seq,
            "pools": [
                {
                    "pool": pool,
                    "problem": found if isinstance(found, str) else "",
                    "frame": None
                    if isinstance(found, str)
                    else to_wire(full_frame(found, key=number)),
                }
                for number, (pool, found) in enumerate(self._readings)
            ],
        }

    def _made_whole(self) -> dict[str, Any]:
        whole = self.whole()
        self._whole_at = self._clock()
        self._whole_bytes = len(msgspec.json.encode(whole))
        self._behind = False
        return whole


def _changes(old: Sequence[Reading], new: Sequence[Reading]) -> list[Any] | None:
    """Return what turns `old` into `new`; ``None`` where that cannot be told."""
    if len(old) != len(new):
        return None
    changes = []
    for number, ((pool, before), (named, now)) in enumerate(zip(old, new, strict=True)):
        if pool != named:
            return None
        if isinstance(before, str) or isinstance(now, str):
            if before != now:
                return None
        elif before.seq != now.seq:
            delta = delta_frame(before, now, key=number) if before.scope == now.scope else None
            if delta is None:
                return None
            changes.append(to_wire(delta))
    return changes


def _cut(found: Frame | str) -> Frame | str:
    """Return the frame with its first GPUs alone, where there are many."""
    if isinstance(found, str) or len(found.gpus) <= MOST_ROWS:
        return found
    count = len(found.gpus)
    kept = (
        found.gpu_values[begin : begin + MOST_ROWS]
        for begin in range(0, len(found.gpu_values), count)
    )
    return replace(found, gpus=found.gpus[:MOST_ROWS], gpu_values=tuple(chain(*kept)))


def bounded(scopes: Sequence[tuple[str, Scope]], gpus: int) -> list[tuple[str, Scope]]:
    """Return the scopes as overviews where all of them have more GPUs than are shown."""
    if gpus <= MOST_ROWS:
        return list(scopes)
    return [(pool, replace(scope, detail="nodes")) for pool, scope in scopes]
