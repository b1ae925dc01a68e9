"""What crosses between server and browser of what requests cost; see ``wire.py``."""

from __future__ import annotations

from dataclasses import dataclass

from jupyter_aiinfra.engine.endpointcosts import RequestCost, ServedCost
from jupyter_aiinfra.server.costwire import Amount, amounts

__all__ = ["RequestCostItem", "ServedCostItem", "served_item"]


@dataclass(frozen=True, kw_only=True)
class RequestCostItem:
    """What requests have cost since a time, by what the jobs of replicas did.

    ``requests`` is ``null`` where the router does not say. ``per_thousand`` is ``null`` where it is
    not known, or there were none; ``reason`` says why.
    """

    since: float
    cost: tuple[Amount, ...]
    requests: int | None
    per_thousand: tuple[Amount, ...] | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class ServedCostItem:
    """What requests have cost since the deploy, and in the last day (from a full hour on)."""

    all: RequestCostItem
    window: RequestCostItem


def served_item(cost: ServedCost | None) -> ServedCostItem | None:
    """Return it as it crosses."""
    if cost is None:
        return None
    return ServedCostItem(all=_item(cost.all), window=_item(cost.window))


def _item(cost: RequestCost) -> RequestCostItem:
    thousand = cost.per_thousand
    return RequestCostItem(
        since=cost.since,
        # A part of it would be taken for the whole.
        cost=amounts(cost.cost) if cost.known else (),
        requests=cost.requests,
        per_thousand=None if thousand is None else amounts(thousand),
        reason=cost.reason,
    )
