"""What requests to endpoints cost: what the jobs of replicas do, by how many were counted."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from jupyter_aiinfra.cost.bill import JobCost
from jupyter_aiinfra.cost.ledger import Ledger
from jupyter_aiinfra.cost.money import Money, total
from jupyter_aiinfra.routing.status import EndpointStatus
from jupyter_aiinfra.store import Store
from jupyter_aiinfra.store.endpoints import Whole

__all__ = ["WINDOW_SECONDS", "EndpointCost", "EndpointCosting", "RequestCost", "ServedCost"]

WINDOW_SECONDS: Final = 86_400.0

_HOUR: Final = 3600
_FRESH_SECONDS: Final = 15.0


@dataclass(frozen=True, kw_only=True)
class RequestCost:
    """What requests have cost since a time.

    Parameters
    ----------
    cost
        Of all replicas, whether they were asked or not: one amount a currency.
    unpriced_seconds
        How much of what they had has no price: then nobody knows what a request costs.
    requests
        ``None``: the router does not say, so nobody knows.
    """

    since: float
    cost: tuple[Money, ...] = ()
    unpriced_seconds: float = 0.0
    requests: int | None = None

    @property
    def known(self) -> bool:
        """Whether all of what it had has a price."""
        return bool(self.cost) and not self.unpriced_seconds

    @property
    def per_thousand(self) -> tuple[Money, ...] | None:
        """What 1,000 requests cost; ``None``: unknown, or there were none."""
        if not self.known or not self.requests:
            return None
        return tuple(each * Fraction(1000, self.requests) for each in self.cost)

    @property
    def reason(self) -> str:
        """Why it is not known what requests cost, where it is not."""
        if self.unpriced_seconds:
            return "part of what it ran on has no price: pool price POOL --price 2.49/gpu-h"
        if not self.cost:
            return "nothing is known of anything that it was given"
        if self.requests is None:
            return "the router does not say how many requests there were"
        return "" if self.requests else "there was no request"


@dataclass(frozen=True, kw_only=True)
class ServedCost:
    """What requests have cost since the deploy, and lately: for the hours of a window up to now."""

    all: RequestCost
    window: RequestCost


@dataclass(frozen=True, kw_only=True)
class EndpointCost:
    """What an endpoint and each of its versions have cost up to ``at``."""

    at: float
    whole: ServedCost
    versions: Mapping[int, ServedCost] = field(default_factory=dict)


class EndpointCosting:
    """Puts ledger and router together.

    Parameters
    ----------
    clock
        Seconds since the epoch.
    """

    def __init__(
        self, store: Store, ledger: Ledger, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._clock = clock
        self._made: dict[tuple[str, float, bool], EndpointCost] = {}

    def of(
        self,
        whole: Whole,
        status: EndpointStatus | None,
        *,
        window_seconds: float = WINDOW_SECONDS,
    ) -> EndpointCost:
        """Return what an endpoint costs; at most some seconds old where the router answers."""
        now = self._clock()
        key = (whole.endpoint.id, window_seconds, status is not None)
        self._made = {
            each: made for each, made in self._made.items() if 0 <= now - made.at < _FRESH_SECONDS
        }
        if key not in self._made:
            self._made[key] = self._computed(whole, status, now, window_seconds)
        return self._made[key]

    def _computed(
        self, whole: Whole, status: EndpointStatus | None, now: float, window_seconds: float
    ) -> EndpointCost:
        endpoint = whole.endpoint
        since = endpoint.created_at
        if status is not None and status.counted_since is not None:
            # What was there before nobody has counted.
            since = max(since, status.counted_since)
        # Requests are known by the hour.
        lately = max(since, (now - window_seconds) // _HOUR * _HOUR)
        jobs = self._store.replica_jobs(endpoint.id)
        ids = [job for _, job in jobs]
        everything = self._ledger.job_costs(ids, since=since, now=now)
        late = everything
        if lately > since:
            late = self._ledger.job_costs(ids, since=lately, now=now)
        mine: defaultdict[int, list[str]] = defaultdict(list)
        for version, job in jobs:
            mine[version].append(job)
        numbers = sorted({each.number for each in whole.versions} | mine.keys())
        found = {
            number: ServedCost(
                all=_cost(everything, mine[number], since, _requests(status, [number], since)),
                window=_cost(late, mine[number], lately, _requests(status, [number], lately)),
            )
            for number in numbers
        }
        both = ServedCost(
            all=_cost(everything, ids, since, _requests(status, numbers, since)),
            window=_cost(late, ids, lately, _requests(status, numbers, lately)),
        )
        return EndpointCost(at=now, whole=both, versions=found)


def _cost(
    costs: Mapping[str, JobCost], jobs: Sequence[str], since: float, requests: int | None
) -> RequestCost:
    found = [costs[job] for job in jobs if job in costs]
    return RequestCost(
        since=since,
        cost=total(money for each in found for money in each.cost),
        unpriced_seconds=sum(each.unpriced_seconds for each in found),
        requests=requests,
    )


def _requests(status: EndpointStatus | None, versions: Sequence[int], since: float) -> int | None:
    """Return how many requests versions have answered since a time that hours begin with."""
    if status is None or status.counted_since is None:
        return None
    tallies = [status.tallies[str(each)] for each in versions if str(each) in status.tallies]
    if since <= status.counted_since:
        return sum(each.requests for each in tallies)
    return sum(count for each in tallies for hour, count in each.hours if hour >= since)
