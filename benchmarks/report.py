"""Figures as a table for a person, as JSON for a program, and as the page that is kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.figure import Figure, Goal, Judged, number_text, spread
from benchmarks.machine import Machine

__all__ = ["COLUMNS", "as_json", "header_lines", "merge_page", "row", "section", "table_text"]

COLUMNS = ("figure", "ours / raw", "ours", "raw", "judged", "goal", "met")

_TITLE = """\
# Measured figures

Written by `python -m benchmarks --write`. Ours and the raw tool run in turn in one run; the ratio
is taken round by round and given as `median [least-most]`. Only ratios and differences carry over
to another machine; the absolute medians are there for scale. `met` says how many rounds would have
met the goal alone: where that is not all of them, the goal lies within the noise.
"""


def _spread_text(values: Sequence[float], *, unit: str = "") -> str:
    if not values:
        return "-"
    seen = spread(values)
    median = number_text(seen.median)
    if len(values) > 1 and seen.least != seen.most:
        median += f" [{number_text(seen.least)} to {number_text(seen.most)}]"
    return f"{median} {unit}".rstrip()


def _median_text(values: Sequence[float], *, unit: str) -> str:
    return f"{number_text(spread(values).median)} {unit}".rstrip() if values else "-"


def _goal_text(goal: Goal | None, *, unit: str) -> str:
    if goal is None:
        return "-"
    always = ", every round" if goal.always else ""
    sign = ">=" if goal.at_least else "<="
    return f"{sign} {number_text(goal.limit)} {unit}".rstrip() + always


def _met_text(figure: Figure) -> str:
    if figure.met is None:
        return "-"
    rounds = len(figure.judged_values)
    return f"{'yes' if figure.met else 'NO'} ({figure.rounds_within}/{rounds})"


def row(figure: Figure) -> tuple[str, ...]:
    """Return the cells of a figure under :data:`COLUMNS`."""
    unit = "" if figure.judged is Judged.RATIO else figure.unit
    judged = _spread_text(figure.judged_values, unit=unit)
    return (
        figure.name,
        _spread_text(figure.ratios),
        _median_text(figure.ours, unit=figure.unit),
        _median_text(figure.raw, unit=figure.unit),
        "the ratio" if figure.judged is Judged.RATIO else f"{figure.judged.value}: {judged}",
        _goal_text(figure.goal, unit=unit),
        _met_text(figure),
    )


def header_lines(machine: Machine, *, rounds: int) -> list[str]:
    """Return what has to be known to read the figures."""
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    load = (
        f"load over 1, 5, 15 min: {_load_text(machine.load_before)} at the start, "
        f"{_load_text(machine.load_after)} at the end (our own work included)"
    )
    return [
        f"{machine.cores} cores, {machine.memory_gib:g} GiB, {machine.system}; {rounds} rounds",
        load,
        versions,
    ]


def _load_text(load: Sequence[float]) -> str:
    return " ".join(f"{value:.2f}" for value in load)


def table_text(figures: Sequence[Figure]) -> str:
    """Return an aligned table, with each figure's note below it."""
    rows = [COLUMNS, *map(row, figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
        for cells in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([*lines, "", *_note_lines(figures, mark="* ")])


def section(
    topic: str, figures: Sequence[Figure], machine: Machine, *, rounds: int, date: str
) -> str:
    """Return a topic's part of the page."""
    lines = [f"## {topic}", "", f"Measured {date} on:", ""]
    lines += [f"- {line}" for line in header_lines(machine, rounds=rounds)]
    lines += ["", _markdown_row(COLUMNS), _markdown_row(["---"] * len(COLUMNS))]
    lines += [_markdown_row(row(figure)) for figure in figures]
    return "\n".join([*lines, "", *_note_lines(figures, mark="- ")]) + "\n"


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _note_lines(figures: Sequence[Figure], *, mark: str) -> list[str]:
    return [f"{mark}{figure.name}: {figure.note}" for figure in figures if figure.note]


def merge_page(page: str, topic: str, text: str) -> str:
    """Return `page` with `text` as the section of `topic`; the other topics' stay as they are."""
    _, *parts = f"\n{page}".split("\n## ")
    kept = {part.partition("\n")[0]: f"## {part.rstrip()}\n" for part in parts}
    kept[topic] = text
    return "\n".join([_TITLE, *kept.values()])


def as_json(
    figures: Mapping[str, Sequence[Figure]], machine: Machine, *, rounds: int
) -> dict[str, Any]:
    """Return everything as plain JSON types: an object a figure, with spreads and each round."""
    return {
        "machine": dataclasses.asdict(machine),
        "rounds": rounds,
        "topics": {topic: [_figure_json(figure) for figure in of] for topic, of in figures.items()},
    }


def _figure_json(figure: Figure) -> dict[str, Any]:
    return {
        "name": figure.name,
        "unit": figure.unit,
        "ours": list(figure.ours),
        "raw": list(figure.raw),
        "ratios": list(figure.ratios),
        "ratio": dataclasses.asdict(spread(figure.ratios)) if figure.ratios else None,
        "judged": figure.judged.value,
        "judged_spread": (
            dataclasses.asdict(spread(figure.judged_values)) if figure.judged_values else None
        ),
        "goal": dataclasses.asdict(figure.goal) if figure.goal else None,
        "met": figure.met,
        "note": figure.note,
    }
