"""What crosses of what runs have made, of what differs, and of news of both; see ``wire.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from jupyter_aiinfra.server.schedulewire import RunItem, ScheduleItem

__all__ = [
    "CellComparison",
    "CellDiff",
    "Comparison",
    "DiffLine",
    "DuplicateRequest",
    "FileChange",
    "FindingItem",
    "NotebookState",
    "RunNotebook",
    "RunNotebookNews",
    "RunsNews",
    "SchedulesNews",
    "ValueChange",
    "VersionDiff",
]

NotebookState = Literal["waiting", "starting", "running", "over"]


@dataclass(frozen=True, kw_only=True)
class FindingItem:
    """Secrets of one kind that were masked in one cell (from 1): how many, and in what of it."""

    cell: int
    kind: str
    count: int
    where: Literal["output", "source", "metadata"] = "output"


@dataclass(frozen=True, kw_only=True)
class RunNotebook:
    """The notebook of a run: as it is at this moment while it runs, later as it was stored.

    Parameters
    ----------
    live
        Whether it is at work; else nothing of it changes any more, or nothing does yet.
    state
        ``waiting`` has no job: the notebook is the frozen one then, as while ``starting``, or that
        of the attempt before.
    cell, cells
        Which cell runs (from 1), and how many there are.
    notebook
        As nbformat 4 has it, every text in one piece; ``null``: there is none, `problem` says why.
    """

    run: RunItem
    live: bool
    state: NotebookState
    cell: int | None
    cells: int | None
    notebook: Mapping[str, Any] | None
    findings: tuple[FindingItem, ...]
    problem: str | None


@dataclass(frozen=True, kw_only=True)
class ValueChange:
    """A value that differs; ``null`` where there was, or is, none."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True, kw_only=True)
class CellComparison:
    """A cell of two runs: lines of a unified diff of its source, and of what it shows.

    ``index`` (from 0) is its place in the second, of a removed one in the first.
    """

    index: int
    kind: Literal["same", "changed", "added", "removed"]
    source: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What two runs have shown differently, and the parameters in which they differ."""

    same: bool
    cells: tuple[CellComparison, ...]
    parameters: tuple[ValueChange, ...]


@dataclass(frozen=True, kw_only=True)
class DiffLine:
    """A line of a cell: in both versions, only in the second, or only in the first."""

    op: Literal[" ", "+", "-"]
    text: str


@dataclass(frozen=True, kw_only=True)
class CellDiff:
    """A cell that differs; ``index`` (from 0) is its place in the second, or where it was."""

    index: int
    kind: Literal["added", "removed", "changed"]
    before: str
    after: str
    lines: tuple[DiffLine, ...]


@dataclass(frozen=True, kw_only=True)
class FileChange:
    """A frozen file that differs."""

    path: str
    kind: Literal["added", "removed", "changed"]


class VersionDiff(
    msgspec.Struct, frozen=True, kw_only=True, rename={"before": "from", "after": "to"}
):
    """What differs between two versions: cells, what is set (``policy.retries``), frozen files."""

    before: int
    after: int
    cells: tuple[CellDiff, ...]
    fields: tuple[ValueChange, ...]
    files: tuple[FileChange, ...]


@dataclass(frozen=True, kw_only=True)
class DuplicateRequest:
    """Make another schedule of what one runs now, under this name."""

    name: str


# --- the socket ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class SchedulesNews:
    """Schedules that are new or have changed, also by how their runs do, and those removed.

    With ``reset`` it is all of them, and what was known before counts no longer.
    """

    changed: tuple[ScheduleItem, ...]
    removed: tuple[str, ...]
    reset: bool = False
    type: Literal["schedules"] = "schedules"


@dataclass(frozen=True, kw_only=True)
class RunsNews:
    """Runs that are new or have changed, of the schedule ``id`` or of all, and those deleted.

    With ``reset`` it is the newest of them instead; ``more``: there are older ones, to be asked
    for by REST.
    """

    id: str | None
    changed: tuple[RunItem, ...]
    removed: tuple[str, ...]
    reset: bool = False
    more: bool = False
    type: Literal["runs"] = "runs"


@dataclass(frozen=True, kw_only=True)
class RunNotebookNews:
    """The notebook of the run ``id``, as :class:`RunNotebook`.

    With ``reset`` all of it is in ``notebook``; else ``changes`` are the cells that are others by
    now, each with its place (from 0), and the rest is as it was told.
    """

    id: str
    reset: bool
    run: RunItem
    live: bool
    state: NotebookState
    cell: int | None
    cells: int | None
    findings: tuple[FindingItem, ...]
    problem: str | None
    notebook: Mapping[str, Any] | None = None
    changes: tuple[tuple[int, Mapping[str, Any]], ...] = ()
    type: Literal["notebook"] = "notebook"
