"""What was read lately, second by second: bounded, and small.

Each series of each GPU is a ring of 16-bit numbers of steps: 7.2 kB for an hour of seconds, so
50 kB a GPU and 26 MB for 64 nodes of 8. A ring grows to that as it fills.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["CAPACITY", "History", "Past"]

CAPACITY: Final = 3600
"""Samples kept of each series: an hour of seconds."""

_UNKNOWN: Final = -(1 << 15)


@dataclass(frozen=True, kw_only=True)
class Past:
    """Samples after one that was asked for: their numbers, their times, and each row's series.

    ``rows`` has, by row and then by series, one number of steps a sample. ``first`` is the number
    of the oldest sample that is kept: what was asked for before it is gone.
    """

    first: int
    seqs: tuple[int, ...]
    at: tuple[float, ...]
    rows: Mapping[str, tuple[tuple[int | None, ...], ...]]


class History:
    """The samples of one node.

    Parameters
    ----------
    width
        How many series each row (a GPU) has.
    capacity
        How many samples are kept.
    """

    def __init__(self, width: int, *, capacity: int = CAPACITY) -> None:
        self._width = width
        self._capacity = capacity
        self._seqs = array("q")
        self._at = array("d")
        self._rows: dict[str, list[array[int]]] = {}
        self._seen: dict[str, int] = {}
        self._next = 0  # where the next sample goes, once the rings are full

    def __len__(self) -> int:
        return len(self._seqs)

    @property
    def size_bytes(self) -> int:
        """How many bytes the samples take."""
        times = len(self._seqs) * (self._seqs.itemsize + self._at.itemsize)
        rings = (ring for row in self._rows.values() for ring in row)
        return times + sum(len(ring) * ring.itemsize for ring in rings)

    def add(self, seq: int, at: float, rows: Mapping[str, Sequence[int | None]]) -> None:
        """Keep a sample; the oldest goes when there are too many. Numbers ascend."""
        full = len(self._seqs) == self._capacity
        for name in rows.keys() - self._rows.keys():
            unknown = array("h", [_UNKNOWN]) * len(self._seqs)
            self._rows[name] = [array("h", unknown) for _ in range(self._width)]
        _put(self._seqs, self._next, seq, full=full)
        _put(self._at, self._next, at, full=full)
        for name, rings in self._rows.items():
            values = rows.get(name)
            if values is not None:
                self._seen[name] = seq
            for number, ring in enumerate(rings):
                value = values[number] if values is not None else None
                _put(ring, self._next, _UNKNOWN if value is None else value, full=full)
        if full:
            self._next = (self._next + 1) % self._capacity
            self._forget()

    def _forget(self) -> None:
        """Forget the rows of which nothing is kept any more."""
        first = self._seqs[self._next]
        for name in [name for name, seq in self._seen.items() if seq < first]:
            del self._rows[name], self._seen[name]

    def since(self, seq: int) -> Past:
        """Return what came after sample `seq`; all that is kept for one that is older."""
        return self._past(lambda place: self._seqs[place] > seq)

    def after(self, at: float) -> Past:
        """Return what was sampled after a time; all that is kept for one that is older."""
        return self._past(lambda place: self._at[place] > at)

    def _past(self, wants: Callable[[int], bool]) -> Past:
        count = len(self._seqs)
        order = [(self._next + number) % count for number in range(count)] if count else []
        wanted = [place for place in order if wants(place)]
        return Past(
            first=self._seqs[order[0]] if order else 0,
            seqs=tuple(self._seqs[place] for place in wanted),
            at=tuple(self._at[place] for place in wanted),
            rows={
                name: tuple(
                    tuple(None if ring[place] == _UNKNOWN else ring[place] for place in wanted)
                    for ring in rings
                )
                for name, rings in self._rows.items()
            },
        )


def _put(ring: array[int] | array[float], place: int, value: float, *, full: bool) -> None:
    if full:
        ring[place] = value  # type: ignore[call-overload]
    else:
        ring.append(value)  # type: ignore[arg-type]
