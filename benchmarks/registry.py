"""The topics: modules with ``PACKAGES`` and ``MEASURES``, imported when they are asked for.

``PACKAGES`` names the distributions whose versions belong to the figures. ``MEASURES`` are
functions that take a :class:`Run` and return figures; each stands for itself.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from benchmarks.figure import Figure

__all__ = ["TOPICS", "CannotMeasure", "Measure", "Run", "Topic", "in_turn", "load_topic"]

TOPICS = {
    "cell": "benchmarks.cell",
    "cost": "benchmarks.cost",
    "endpoint": "benchmarks.endpoint",
    "gpus": "benchmarks.gpus",
    "lab": "benchmarks.lab",
    "schedule": "benchmarks.schedule",
    "ssh": "benchmarks.ssh",
}


class CannotMeasure(Exception):
    """This machine has not what a measure needs; the text says what."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a measure is given.

    Parameters
    ----------
    rounds
        How many rounds to take.
    folder
        An empty folder of its own, deleted afterwards.
    say
        Tells whoever waits what happens; never part of the result.
    """

    rounds: int
    folder: Path
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True)


Measure = Callable[[Run], Sequence[Figure]]


class Topic(Protocol):
    """What a topic's module has."""

    PACKAGES: Sequence[str]
    MEASURES: Sequence[Measure]


def load_topic(name: str) -> Topic:
    """Return the topic `name`.

    Raises
    ------
    KeyError
        There is no such topic.
    """
    return cast("Topic", importlib.import_module(TOPICS[name]))


def in_turn(
    run: Run, name: str, *, ours: Callable[[], float], raw: Callable[[], float]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Take `run.rounds` rounds of ours and then the raw tool; return both series."""
    pairs = []
    for number in range(1, run.rounds + 1):
        pairs.append((ours(), raw()))
        run.say(f"{name} {number}/{run.rounds}: ours {pairs[-1][0]:.3f}, raw {pairs[-1][1]:.3f}")
    return tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs)
