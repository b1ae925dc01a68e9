"""What was used, of what is on record: allocations times capacity times prices; pure.

Time is in whole microseconds, so that no part of it is lost or counted twice: for every GPU, what
its jobs were allocated and what nobody was is exactly the time that the pool had it. The same facts
give the same rows, by whomever and however often they are asked; a window may be cut anywhere.

A *slot* is what can be allocated: a GPU by its UUID, or ``""``, a node that has none.
"""

from __future__ import annotations

import bisect
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final, NamedTuple

from jupyter_aiinfra.cost.money import Money, Unit

__all__ = [
    "GAP",
    "HOUR",
    "HOUR_US",
    "NOBODY",
    "NODE_SLOT",
    "SECOND_US",
    "Allocation",
    "Capacity",
    "Facts",
    "Load",
    "PriceSince",
    "Usage",
    "cost_of",
    "meter",
    "microseconds",
]

SECOND_US: Final = 1_000_000
HOUR: Final = 3600
HOUR_US: Final = HOUR * SECOND_US
_MINUTE_US: Final = 60 * SECOND_US
_PERCENT: Final = 100

NODE_SLOT: Final = ""
"""The slot of a node without GPUs: all of it."""
NOBODY: Final = ""
"""In place of a job: what nobody was allocated."""
GAP: Final = -1
"""A minute of which the utilization is not known."""


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """A slot that a pool has had from ``since`` until ``until``, or still has."""

    node: str
    slot: str
    since: int
    until: int | None = None


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """A slot that has been a job's from ``since`` until ``until``, or still is."""

    job: str
    node: str
    slot: str
    since: int
    until: int | None = None


@dataclass(frozen=True, kw_only=True)
class PriceSince:
    """Which price holds from a moment on; ``unit`` is ``None`` where it is not known."""

    id: int
    since: int
    unit: Unit | None


Load = Mapping[tuple[str, str, int], Sequence[int]]
"""By node, slot and hour (seconds since the epoch): 60 minutes of percent, or :data:`GAP`."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is on record of one pool."""

    capacity: Sequence[Capacity] = ()
    allocations: Sequence[Allocation] = ()
    prices: Sequence[PriceSince] = ()
    load: Load = field(default_factory=dict)


class Usage(NamedTuple):
    """What one job, or nobody, had of one node in one hour, at one price; times in microseconds.

    ``used`` is the part of ``allocated`` that the GPUs worked, ``idle`` the part that they did not;
    of the rest it is not known. ``parts`` is by how many GPUs the price of a node is shared: 1 for
    a price a GPU; 0 is a node itself. ``price`` 0 is unknown.
    """

    start: int
    node: str
    job: str
    price: int
    parts: int
    allocated: int
    used: int
    idle: int


def microseconds(seconds: float) -> int:
    """Return a time in seconds as whole microseconds."""
    return round(seconds * SECOND_US)


def cost_of(rate: Money, allocated: int, parts: int) -> Money:
    """Return what so many microseconds cost at a price an hour, exactly."""
    return rate * Fraction(allocated, HOUR_US * max(parts, 1))


def meter(facts: Facts, *, start: int, end: int, by_hour: bool = True) -> list[Usage]:
    """Return the usage between two moments, in microseconds since the epoch, by hour.

    Without `by_hour` rows may be of any length, and nothing is known of the load.
    """
    rows: defaultdict[tuple[int, str, str, int, int], list[int]] = defaultdict(lambda: [0, 0, 0])
    if end <= start:
        return []
    allocations = _by_node(facts.allocations)
    capacity = _by_node(facts.capacity)
    load = facts.load if by_hour else {}
    prices = sorted(facts.prices, key=lambda price: (price.since, price.id))
    for node in sorted({*allocations, *capacity}):
        had = capacity.get(node, [])
        spans = _Spans(had, prices, start, end, by_hour=by_hour)
        taken: defaultdict[str, list[Allocation]] = defaultdict(list)
        for allocation in allocations.get(node, ()):
            taken[allocation.slot].append(allocation)
        for slot in sorted({*taken, *(each.slot for each in had)}):
            _meter_slot(rows, load, spans, (node, slot), taken.get(slot, []))
    return [
        Usage(*key, *values)
        for key, values in sorted(rows.items())
        if values[0] and (key[2] != NOBODY or key[4] or key[3])
    ]


_Some = Capacity | Allocation


def _by_node(facts: Iterable[_Some]) -> dict[str, list]:  # type: ignore[type-arg]
    found: defaultdict[str, list[_Some]] = defaultdict(list)
    for fact in facts:
        if fact.until is None or fact.until > fact.since:
            found[fact.node].append(fact)
    return found


class _Spans:
    """Of one node: at which moments anything but an allocation changes, and what holds between."""

    def __init__(
        self,
        capacity: Sequence[Capacity],
        prices: Sequence[PriceSince],
        start: int,
        end: int,
        *,
        by_hour: bool,
    ) -> None:
        self.start, self.end = start, end
        self._prices = prices
        self._since = [price.since for price in prices]
        self._capacity = capacity
        hours = range(start // HOUR_US * HOUR_US + HOUR_US, end, HOUR_US) if by_hour else ()
        cuts = {start, end, *hours, *(at for at in self._since if start < at < end)}
        cuts.update(at for each in capacity for at in (each.since, each.until or end))
        self.cuts = sorted(at for at in cuts if start <= at <= end)
        self.counts = [self._count(at) for at in self.cuts]
        self.priced = [self._price(at) for at in self.cuts]

    def _count(self, at: int) -> Mapping[str, int]:
        return Counter(
            each.slot
            for each in self._capacity
            if each.since <= at and (each.until is None or at < each.until)
        )

    def _price(self, at: int) -> PriceSince | None:
        number = bisect.bisect_right(self._since, at)
        return self._prices[number - 1] if number else None

    def terms(self, number: int, slot: str) -> tuple[int, int]:
        """Return the price of a slot in a span, and by how many it is shared."""
        price = self.priced[number]
        known = price is not None and price.unit is not None
        if slot == NODE_SLOT:
            # A price of GPUs says nothing of a node that has none.
            return (price.id if price and price.unit is Unit.NODE else 0), 0
        if not known or price is None:
            return 0, 1
        if price.unit is Unit.GPU:
            return price.id, 1
        return price.id, max(1, sum(1 for each in self.counts[number] if each != NODE_SLOT))

    def has(self, number: int, slot: str, *, allocated: bool) -> bool:
        """Whether the slot is there in a span; one that a job was given is, listed or not."""
        counts = self.counts[number]
        if slot in counts:
            return True
        return allocated and (slot != NODE_SLOT or not counts)


def _meter_slot(
    rows: Mapping[tuple[int, str, str, int, int], list[int]],
    load: Load,
    spans: _Spans,
    which: tuple[str, str],
    taken: Sequence[Allocation],
) -> None:
    node, slot = which
    for number, begin, end, jobs in _pieces(spans, taken):
        if not spans.has(number, slot, allocated=bool(jobs)):
            continue
        price, parts = spans.terms(number, slot)
        hour = begin // HOUR_US
        minutes = load.get((node, slot, hour * HOUR))
        known, used = _loaded(minutes, begin - hour * HOUR_US, end - hour * HOUR_US)
        for job, share in _shares(jobs or (NOBODY,), end - begin, known, used):
            row = rows[hour * HOUR, node, job, price, parts]
            row[0] += share[0]
            row[1] += share[1]
            row[2] += share[2]


def _pieces(
    spans: _Spans, taken: Sequence[Allocation]
) -> Iterator[tuple[int, int, int, tuple[str, ...]]]:
    """Yield the pieces of time in which nothing changes: in which span, from, to, whose."""
    changes: defaultdict[int, list[tuple[str, int]]] = defaultdict(list)
    for each in taken:
        since = max(each.since, spans.start)
        until = spans.end if each.until is None else min(each.until, spans.end)
        if since < until:
            changes[since].append((each.job, 1))
            changes[until].append((each.job, -1))
    held: Counter[str] = Counter()
    jobs: tuple[str, ...] = ()
    cuts = spans.cuts
    number = 0
    at = spans.start
    for moment in sorted({*changes, *cuts}):
        while number + 1 < len(cuts) and cuts[number + 1] <= at:
            number += 1
        if moment > at:
            yield number, at, moment, jobs
            at = moment
        if moment in changes:
            for job, change in changes[moment]:
                held[job] += change
            jobs = tuple(sorted(job for job, count in held.items() if count > 0))


def _loaded(minutes: Sequence[int] | None, begin: int, end: int) -> tuple[int, int]:
    """Return of how much of a piece of an hour the load is known, and how much was work."""
    if minutes is None:
        return 0, 0
    if begin == 0 and end == HOUR_US:
        present = [each for each in minutes if each >= 0]
        return len(present) * _MINUTE_US, sum(present) * (_MINUTE_US // _PERCENT)
    known = used = 0
    for number in range(begin // _MINUTE_US, -(-end // _MINUTE_US)):
        percent = minutes[number]
        if percent < 0:
            continue
        first, last = max(begin, number * _MINUTE_US), min(end, (number + 1) * _MINUTE_US)
        known += last - first
        used += (last - first) * percent // _PERCENT
    return known, used


def _shares(
    jobs: Sequence[str], time: int, known: int, used: int
) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """Share time among jobs equally: in whole microseconds, which add up to all of it."""
    if len(jobs) == 1:
        yield jobs[0], (time, used, known - used)
        return
    before = known_before = used_before = 0
    for number, job in enumerate(jobs, start=1):
        upto = time * number // len(jobs)
        known_upto = known * upto // time
        used_upto = used * known_upto // known if known else 0
        yield (
            job,
            (
                upto - before,
                used_upto - used_before,
                known_upto - known_before - (used_upto - used_before),
            ),
        )
        before, known_before, used_before = upto, known_upto, used_upto
