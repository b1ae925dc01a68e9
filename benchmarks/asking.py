"""Questions that are asked in turn, and how long each answer took."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from benchmarks.registry import Run

__all__ = ["asked_in_turn"]


def asked_in_turn(
    run: Run, what: str, questions: Mapping[str, Callable[[], object]]
) -> Mapping[str, tuple[float, ...]]:
    """Ask each question once a round; return the milliseconds of each, round by round."""
    took: dict[str, list[float]] = {name: [] for name in questions}
    for number in range(1, run.rounds + 1):
        for name, ask in questions.items():
            begun = time.perf_counter()
            ask()
            took[name].append(1000 * (time.perf_counter() - begun))
        slowest = max(took, key=lambda name: took[name][-1])
        run.say(f"{what} {number}/{run.rounds}: {took[slowest][-1]:.0f} ms {slowest}")
    return {name: tuple(rounds) for name, rounds in took.items()}
