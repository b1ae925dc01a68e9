"""The ledger: keeps usage up to date in the store, and answers what it came to.

Nothing has to run for it: usage is computed of recorded facts, at any later time, by any process.
Two that do so at once do the same work, and one of them writes it down. An hour is computed again
while it lasts, a few minutes more (readings come late), and whenever a fact of it turns out to have
been another: a job that had ended while its node could not be reached.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Final

from jupyter_aiinfra.cost.bill import (
    Bill,
    JobCost,
    Line,
    PoolPrice,
    Scope,
    facts_of,
    is_in,
    job_costs_of,
    line_of,
    pool_price,
    rank_of,
    rate_of,
)
from jupyter_aiinfra.cost.catalog import Terms
from jupyter_aiinfra.cost.load import read_load
from jupyter_aiinfra.cost.meter import (
    HOUR,
    NOBODY,
    SECOND_US,
    Allocation,
    cost_of,
    meter,
)
from jupyter_aiinfra.cost.money import Money, Rate, total
from jupyter_aiinfra.errors import JobNotFound, UsageError
from jupyter_aiinfra.store import Store
from jupyter_aiinfra.store.charging import ChargedJob
from jupyter_aiinfra.store.meters import MeterRow
from jupyter_aiinfra.store.usage import (
    Dimension,
    PoolFacts,
    SumRow,
    UsageRow,
)

__all__ = ["SETTLE_SECONDS", "Bill", "JobCost", "Ledger", "Line", "PoolPrice", "Scope"]

SETTLE_SECONDS: Final = 60.0
"""How old what is settled may be, for who only looks at jobs."""

_LATE_SECONDS: Final = 300
_HOURS_AT_ONCE: Final = 24
_TRIES: Final = 5


class Ledger:
    """The usage of one store; for any thread and any number of processes.

    Parameters
    ----------
    wall
        Seconds since the epoch.
    """

    def __init__(self, store: Store, *, wall: Callable[[], float] = time.time) -> None:
        self.store = store
        self._wall = wall

    # --- keeping it ----------------------------------------------------------------------------

    def settle(self, *, older_than: float = 0.0, now: float | None = None) -> int:
        """Bring the usage of all pools up to date; return how many were.

        Parameters
        ----------
        older_than
            Leave alone what was settled in the last so many seconds and has no news.
        """
        now = self._wall() if now is None else now
        done = 0
        for each in self.store.meters(due=True):
            fresh = 0 <= now - each.looked_at < older_than and each.dirty is None
            if not fresh:
                done += self._settle_pool(each, now)
        return done

    def _settle_pool(self, found: MeterRow, now: float) -> bool:
        """Settle one pool, a day at a time; others may do the same at once."""
        end = int(now) // HOUR * HOUR + HOUR
        sure = (int(now) - _LATE_SECONDS) // HOUR * HOUR
        failures = 0
        while failures < _TRIES:
            start = found.settled if found.dirty is None else min(found.settled, found.dirty)
            if start >= end:
                # Our clock is behind that of who settled this: it is further than we can see.
                return False
            upto = min(end, start + _HOURS_AT_ONCE * HOUR)
            done = self._settle_hours(found, start, upto, now, sure)
            if done and upto == end:
                return True
            failures += not done
            again = [each for each in self.store.meters() if each.pool == found.pool]
            if not again:
                return False
            found = again[0]
            if not done and found.looked_at >= now and found.dirty is None:
                return True  # somebody else has done it meanwhile
        return False

    def _settle_hours(self, found: MeterRow, start: int, upto: int, now: float, sure: int) -> bool:
        at = min(upto * SECOND_US, round(now * SECOND_US))
        facts = self.store.facts(found.pool, start=start * SECOND_US, end=at)
        if facts is None or facts.meter.version != found.version:
            return False
        rows = self._metered(facts, start * SECOND_US, at)
        # What was settled is gone over again up to its end, if its facts have changed.
        # An hour that is not over by our clock is not done: whose clock is ahead saw more of it.
        done = upto if upto <= now else upto - HOUR
        dirty = done if found.dirty is not None and done < found.settled else None
        settled = max(found.settled, min(upto, sure))
        return self.store.settle(
            found.pool,
            expected=found.version,
            start=start,
            end=upto,
            settled=settled,
            rows=rows,
            at=now if upto > now else found.looked_at,
            dirty=dirty,
        )

    def _metered(self, facts: PoolFacts, start: int, end: int) -> list[UsageRow]:
        load = read_load(
            self.store,
            pool=facts.meter.pool,
            start=start // SECOND_US,
            end=-(-end // SECOND_US),
            now=self._wall(),
        )
        found = meter(replace(facts_of(facts), load=load), start=start, end=end)
        return [UsageRow(*row) for row in found]

    # --- prices --------------------------------------------------------------------------------

    def price(self, pool: str, *, at: float | None = None) -> PoolPrice | None:
        """Return what a pool costs now, or did; ``None`` where nobody has ever said."""
        moment = (self._wall() if at is None else at) * SECOND_US
        held = [row for row in self.store.prices(pool=pool) if row.since <= moment]
        return pool_price(held[-1]) if held else None

    def set_price(self, pool: str, terms: Terms, *, since: float | None = None) -> PoolPrice:
        """Say what a pool costs from now on, or from an earlier moment; see :class:`Terms`."""
        at = round((self._wall() if since is None else since) * SECOND_US) / SECOND_US
        rate = terms.rate
        number = self.store.set_price(
            pool,
            since=at,
            rate=None if rate is None else rate.money.wire_exact,
            currency=None if rate is None else rate.money.currency,
            unit=None if rate is None else rate.unit.value,
            terms=terms.wire,
        )
        return PoolPrice(id=number, pool=pool, since=at, rate=rate, terms=terms)

    # --- asking it -----------------------------------------------------------------------------

    def bill(
        self,
        *,
        start: float,
        end: float,
        by: Dimension = "job",
        scope: Scope | None = None,
        unallocated: bool = True,
        split_days: bool = False,
    ) -> Bill:
        """Return what was used between two times, by one thing; from full hours to full hours.

        As far as settled: call :meth:`settle` first.

        Parameters
        ----------
        unallocated
            Also what nobody was given.
        split_days
            By day, have that on lines of its own; else a day is one line.
        """
        first, last = int(start) // HOUR * HOUR, -(-int(end) // HOUR) * HOUR
        if last <= first:
            raise UsageError(
                f"nothing lies between {start!r} and {end!r}", hint="give the earlier time first"
            )
        where = (scope or Scope()).where
        rows = self.store.sums(start=first, end=last, by=by, where=where)
        if not unallocated or any(name != "pool" for name in where):
            rows = [row for row in rows if row.is_job]
        rates = self._rates()
        groups: defaultdict[tuple[str | None, bool], list[SumRow]] = defaultdict(list)
        for row in rows:
            groups[row.key, not row.is_job and (by != "day" or split_days)].append(row)
        lines = [
            line_of(key, some, rates, unallocated=idle) for (key, idle), some in groups.items()
        ]
        lines.sort(key=lambda line: (line.unallocated, *rank_of(line)))
        return Bill(
            start=first,
            end=last,
            by=by,
            lines=tuple(lines),
            total=line_of(None, rows, rates),
        )

    def spend(
        self, scope: Scope, *, start: float = 0.0, end: float | None = None
    ) -> tuple[Money, ...]:
        """Return what jobs in a scope have cost since a time, one amount a currency.

        Up to now, whatever is settled: what runs is added by the second. `start` is taken as the
        full hour that it is in. What has no price is in it with nothing.
        """
        now = self._wall()
        if end is None and set(scope.where) == {"job"} and not start:
            return self.job_cost(str(scope.job), now=now).cost
        upto = now if end is None else end
        done = self.bill(start=start, end=max(upto, start + 1), scope=scope, unallocated=False)
        late = self._since_settled(scope, start, now) if end is None else ()
        return total([*done.total.cost, *late])

    def _since_settled(self, scope: Scope, start: float, now: float) -> Iterator[Money]:
        """Yield what came since pools were last settled, of jobs in a scope."""
        where = scope.where
        for found in self.store.meters(due=True):
            since = max(found.looked_at or found.settled, start)
            if since >= now or where.get("pool", found.pool) != found.pool:
                continue
            first, last = round(since * SECOND_US), round(now * SECOND_US)
            facts = self.store.facts(found.pool, start=first, end=last)
            if facts is None:
                continue
            rows = meter(facts_of(facts), start=first, end=last, by_hour=False)
            jobs = {row.job for row in rows if row.job != NOBODY}
            mine = {each.job for each in self.store.charged_jobs(jobs) if is_in(each, where)}
            rates = {row.id: rate_of(row) for row in facts.prices}
            for row in rows:
                rate = rates.get(row.price)
                if row.job in mine and rate is not None:
                    yield cost_of(rate.money, row.allocated, row.parts)

    def job_costs(
        self, job_ids: Collection[str], *, since: float = 0.0, now: float | None = None
    ) -> Mapping[str, JobCost]:
        """Return what each of these jobs has cost up to now; of one that had nothing, nothing.

        Computed of the facts themselves, so that it is exact to the second whatever is settled.
        With `since` it is what they have cost from then on, and what of it was used is not known.
        """
        now = self._wall() if now is None else now
        end = round(now * SECOND_US)
        settled: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
        for job, _price, _allocated, used, idle in self.store.job_usage([] if since else job_ids):
            settled[job][0] += used
            settled[job][1] += idle
        found: dict[str, JobCost] = {}
        wanted = set(job_ids)
        for pool, rows in self.store.allocations_beside(job_ids).items():
            given = [Allocation(**row._asdict()) for row in rows]
            start = max(min(each.since for each in given), round(since * SECOND_US))
            # What else a node has decides how its price is shared.
            nodes = {each.node for each in given}
            facts = self.store.facts(pool, start=start, end=end, nodes=nodes)
            if facts is None or start >= end:
                continue
            prices = {row.id: pool_price(row) for row in facts.prices}
            known = replace(facts_of(facts), allocations=given)
            found |= job_costs_of(wanted, known, prices, window=(start, end), settled=settled)
        return found

    def held_seconds(self, job_ids: Collection[str]) -> Mapping[str, float]:
        """Return for how long each of these jobs has held what it was given, up to now."""
        now = round(self._wall() * SECOND_US)
        held: dict[str, tuple[int, int]] = {}
        for rows in self.store.allocations_beside(job_ids).values():
            for row in rows:
                until = now if row.until is None else row.until
                first, last = held.get(row.job, (row.since, until))
                held[row.job] = min(first, row.since), max(last, until)
        wanted = set(job_ids)
        return {
            job: (last - first) / SECOND_US for job, (first, last) in held.items() if job in wanted
        }

    def job_cost(self, job_id: str, *, now: float | None = None) -> JobCost:
        """Return what a job has cost up to now; see :meth:`job_costs`."""
        none = JobCost.none(job_id, at=self._wall() if now is None else now)
        return self.job_costs([job_id], now=now).get(job_id, none)

    def charged(self, job_id: str) -> ChargedJob:
        """Return who pays for a job, also when its record is gone."""
        found = self.store.charged_jobs([job_id])
        if not found:
            raise JobNotFound(job_id)
        return found[0]

    def _rates(self) -> Mapping[int, Rate]:
        rates = {row.id: rate_of(row) for row in self.store.prices()}
        return {number: rate for number, rate in rates.items() if rate is not None}
