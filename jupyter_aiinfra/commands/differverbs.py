"""``schedule diff`` and ``schedule compare``: what two versions, or two runs, differ in."""

from __future__ import annotations

from typing import Any

import click

from jupyter_aiinfra.commands.context import Context
from jupyter_aiinfra.commands.group import TAKES_CONTEXT, complete_schedule
from jupyter_aiinfra.engine.results import Change
from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.model import to_wire
from jupyter_aiinfra.promote.celldiff import CellPair, diff_lines, unified

__all__ = ["compare", "diff"]


@click.command("diff")
@click.argument("name", metavar="SCHEDULE", shell_complete=complete_schedule)
@click.option("--from", "before", type=click.IntRange(1), help="a version (the one before)")
@click.option("--to", "after", type=click.IntRange(1), help="a later one (the newest)")
@TAKES_CONTEXT
def diff(context: Context, name: str, before: int | None, after: int | None) -> None:
    """Show what differs between two versions: cells, what is set, files.

    \b
    Examples:
      schedule diff report                    the newest version and the one before
      schedule diff report --from 1 --to 3
    """  # noqa: D301 - click keeps the lines below its \b
    engine = context.session.engine
    schedule = engine.schedules.show(name).schedule
    last = after or schedule.version
    first = before or last - 1
    if first < 1:
        raise UsageError(
            f"{schedule.name} has one version, and there is none to compare it with",
            hint="schedule edit makes another",
        )
    found = context.session.run(engine.notebooks.diff(schedule.id, first, last))
    lines = [f"{schedule.name}: version {first} -> {last}"]
    for cell in found.cells:
        lines += [f"cell {cell.index + 1} {cell.kind}", *_source(cell)]
    lines += _changes(found.fields)
    lines += [f"{each.kind} {each.path}" for each in found.files]
    if len(lines) == 1:
        lines.append("nothing differs")
    context.surface.text("\n".join(lines))
    context.surface.value(
        {
            "from": first,
            "to": last,
            "cells": [_value(cell) for cell in found.cells],
            "fields": to_wire(found.fields),
            "files": to_wire(found.files),
        }
    )


@click.command("compare")
@click.argument("before", metavar="RUN")
@click.argument("after", metavar="RUN")
@TAKES_CONTEXT
def compare(context: Context, before: str, after: str) -> None:
    """Show what the second of two runs has shown that the first did not.

    \b
    Example:
      schedule compare r2k1 r7p4
    """  # noqa: D301 - click keeps the lines below its \b
    engine = context.session.engine
    runs = engine.store.get_run(before), engine.store.get_run(after)
    found = context.session.run(engine.notebooks.compare(*runs))
    lines = [f"run {runs[0].id} -> {runs[1].id}", *_changes(found.parameters)]
    for cell in found.cells:
        if cell.kind != "same":
            shown = [f"  {line}" for line in unified(*cell.outputs)]
            lines += [f"cell {cell.index + 1} {cell.kind}", *_source(cell), *shown]
    if found.same:
        lines.append("they have shown the same")
    context.surface.text("\n".join(lines))
    context.surface.value(
        {
            "same": found.same,
            "parameters": to_wire(found.parameters),
            "cells": [_value(cell) for cell in found.cells if cell.kind != "same"],
        }
    )


def _source(cell: CellPair) -> list[str]:
    if cell.sources[0] == cell.sources[1]:
        return []
    return [f"  {op} {text}".rstrip() for op, text in diff_lines(*cell.sources)]


def _changes(changes: tuple[Change, ...]) -> list[str]:
    return [f"{each.name}: {each.before!r} -> {each.after!r}" for each in changes]


def _value(cell: CellPair) -> dict[str, Any]:
    return {
        "index": cell.index,
        "kind": cell.kind,
        "before": cell.sources[0],
        "after": cell.sources[1],
        "outputs": list(unified(*cell.outputs)),
    }
