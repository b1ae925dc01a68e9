"""What endpoints cost, for Prometheus; what is unknown has no line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from jupyter_aiinfra.engine.endpointcosts import ServedCost
from jupyter_aiinfra.engine.endpointviews import EndpointView
from jupyter_aiinfra.telemetry.prometheus import family

__all__ = ["ENDPOINT_METRICS", "endpoint_exposition"]

_COST: Final = "aiinfra_endpoint_cost_total"
_REQUESTS: Final = "aiinfra_endpoint_requests_total"
_THOUSAND: Final = "aiinfra_endpoint_cost_per_1000_requests"

ENDPOINT_METRICS: Final = frozenset({_COST, _REQUESTS, _THOUSAND})
"""The names of all metrics."""

_Labels = dict[str, str]


def endpoint_exposition(views: Sequence[EndpointView]) -> str:
    """Return the text that Prometheus reads."""
    each = list(_versions(views))
    lines: list[str] = []
    family(
        lines,
        _COST,
        "What the replicas of a version have cost since the deploy.",
        [
            (labels | {"currency": money.currency}, float(money.amount))
            for labels, cost in each
            if cost.all.known
            for money in cost.all.cost
        ],
        "counter",
        places=9,
    )
    family(
        lines,
        _REQUESTS,
        "Requests that a version has answered since the deploy.",
        [(labels, cost.all.requests) for labels, cost in each],
        "counter",
    )
    family(
        lines,
        _THOUSAND,
        "What 1,000 requests cost: since the deploy (all), or in the last day (1d).",
        [
            (labels | {"currency": money.currency, "window": window}, float(money.amount))
            for labels, cost in each
            for window, of in (("all", cost.all), ("1d", cost.window))
            for money in of.per_thousand or ()
        ],
        places=9,
    )
    return "".join(f"{line}\n" for line in lines)


def _versions(views: Sequence[EndpointView]) -> Iterator[tuple[_Labels, ServedCost]]:
    for view in views:
        versions = {} if view.cost is None else view.cost.versions
        for number, cost in versions.items():
            yield {"endpoint": view.endpoint.name, "version": str(number)}, cost
