"""What a job has cost, in a line that stays in the notebook."""

from __future__ import annotations

from decimal import Decimal

from jupyter_aiinfra.cost.money import money
from jupyter_aiinfra.widgets.costwire import Amount, JobCostItem

__all__ = ["cost_text"]

_LEAST_IDLE = 0.005


def cost_text(item: JobCostItem | None, *, running: bool) -> str:
    """Return ``$1.23 in all · $0.0021 a step · 24 % idle, about $0.30 · price $2.49 a GPU-hour``.

    What is not known is left out, the whole with its reason; empty where there is nothing to say.
    """
    if item is None:
        return ""
    if not item.cost:
        return f"cost n/a: {item.reason}" if item.reason else ""
    spent = " + ".join(each.text for each in item.cost)
    said = [f"{spent} {'so far' if running else 'in all'}"]
    if item.unpriced_seconds:
        why = f" ({item.reason})" if item.reason else ""
        said[0] += f", without what has no price{why}"
    if running and item.hourly is not None:
        said.append(f"{item.hourly.text}/h")
    if item.step_cost is not None:
        said.append(f"{item.step_cost.text} a step")
    said.append(_idle(item))
    if item.price is not None:
        said.append(f"price {item.price.text}")
    return " · ".join(filter(None, said))


def _idle(item: JobCostItem) -> str:
    """Return the part of its GPUs' time in which nothing ran on them, where that is known."""
    known = item.used_seconds + item.idle_seconds
    if not known or item.idle_seconds < _LEAST_IDLE * known:
        return ""
    part = min(1.0, item.idle_seconds / item.allocated_seconds) if item.allocated_seconds else 0.0
    lost = " + ".join(_part(each, part) for each in item.cost)
    return f"{100 * item.idle_seconds / known:.0f} % idle, about {lost}"


def _part(whole: Amount, part: float) -> str:
    return money(Decimal(whole.amount) * Decimal(repr(part)), whole.currency).text
