"""What a measurement is, and when its goal is met. Nothing here measures."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

__all__ = ["Figure", "Goal", "Judged", "Spread", "number_text", "spread"]


class Judged(Enum):
    """What of a round is held against the goal."""

    RATIO = "ours / raw"
    DIFFERENCE = "ours - raw"
    OURS = "ours"


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A series in three numbers."""

    median: float
    least: float
    most: float


def spread(values: Sequence[float]) -> Spread:
    """Return median, least and most of `values`."""
    return Spread(median=statistics.median(values), least=min(values), most=max(values))


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A bound on what is judged.

    Parameters
    ----------
    limit
        The bound itself is within.
    at_least
        Whether it is a lower bound.
    always
        Whether every round must be within, and not only the median: for what is exact.
    """

    limit: float
    at_least: bool = False
    always: bool = False

    def allows(self, value: float) -> bool:
        """Whether `value` is within."""
        return value >= self.limit if self.at_least else value <= self.limit

    def met(self, values: Sequence[float]) -> bool:
        """Whether the rounds `values` together meet the goal."""
        if self.always:
            return all(map(self.allows, values))
        return self.allows(statistics.median(values))


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure: a value of ours for each round, and the raw tool's beside it in the same round.

    Parameters
    ----------
    raw
        Empty where there is nothing to compare with; else as many as `ours`.
    goal
        ``None``: given for scale only.
    note
        How it was measured, in a sentence or two.
    """

    name: str
    unit: str
    ours: tuple[float, ...]
    raw: tuple[float, ...] = ()
    judged: Judged = Judged.RATIO
    goal: Goal | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if not self.ours:
            raise ValueError(f"{self.name}: no round was measured")
        if self.raw and len(self.raw) != len(self.ours):
            raise ValueError(f"{self.name}: {len(self.ours)} rounds of ours, {len(self.raw)} raw")
        if not self.raw and self.judged is not Judged.OURS:
            raise ValueError(f"{self.name}: {self.judged.value} needs rounds of the raw tool")

    @property
    def ratios(self) -> tuple[float, ...]:
        """Ours over raw, round by round; empty where raw is, or is zero."""
        if not self.raw or 0 in self.raw:
            return ()
        return tuple(ours / raw for ours, raw in zip(self.ours, self.raw, strict=True))

    @property
    def differences(self) -> tuple[float, ...]:
        """Ours less raw, round by round; empty where raw is."""
        return tuple(ours - raw for ours, raw in zip(self.ours, self.raw, strict=bool(self.raw)))

    @property
    def judged_values(self) -> tuple[float, ...]:
        """What is held against the goal, round by round."""
        if self.judged is Judged.RATIO:
            return self.ratios
        return self.differences if self.judged is Judged.DIFFERENCE else self.ours

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; ``None`` without one, and where nothing can be judged."""
        values = self.judged_values
        return self.goal.met(values) if self.goal and values else None

    @property
    def rounds_within(self) -> int:
        """In how many rounds the goal was met by the round alone."""
        return sum(map(self.goal.allows, self.judged_values)) if self.goal else 0


def number_text(value: float) -> str:
    """Return `value` with three significant digits, or whole with thousands where it is large.

    >>> number_text(0.12345), number_text(500000.0), number_text(12.3), number_text(0)
    ('0.123', '500,000', '12.3', '0')
    """
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.1e}"
