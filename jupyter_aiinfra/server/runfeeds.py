"""What is told of schedules, of runs and of a run's notebook: all of it, then what has changed.

As in ``feeds.py``: nothing queues, who is behind is told in one what is others by now, and who is
far behind begins anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from jupyter_aiinfra.server.encoding import encode
from jupyter_aiinfra.server.feeds import NEWEST, ItemsFeed
from jupyter_aiinfra.server.runreading import NotebookReading
from jupyter_aiinfra.server.runwire import RunNotebookNews, RunsNews, SchedulesNews
from jupyter_aiinfra.server.schedulewire import RunItem, ScheduleItem
from jupyter_aiinfra.server.wire import GoneNews, ProblemNews, Topic

__all__ = ["NotebookFeed", "feed_of"]


class NotebookFeed:
    """The notebook of a run: all of it, then the cells that are others by now."""

    def __init__(self, run_id: str) -> None:
        self.stamp = 0
        self._run_id = run_id
        self._newest: NotebookReading | None = None
        self._head: tuple[Any, ...] = ()
        self._notebook: dict[str, Any] | None = None
        self._cells: dict[int, tuple[int, Mapping[str, Any]]] = {}
        self._begun = 0
        self._problem: bytes | None = None
        self._frames: dict[int, bytes] = {}

    def put(self, seen: NotebookReading) -> bool:
        """Take in what one look at the run has found; return whether anything is new."""
        changes = dict(seen.changes or {})
        told = self._newest is not None and self._problem is None
        if told and seen.notebook is None and not changes and _head(seen) == self._head:
            return False
        self._moved()
        self._newest, self._head = seen, _head(seen)
        if seen.notebook is not None or (self._notebook is None and not changes):
            self._notebook = None if seen.notebook is None else dict(seen.notebook)
            self._cells.clear()
            self._begun = self.stamp
        elif self._notebook is not None:
            cells = list(self._notebook["cells"])
            for at, cell in changes.items():
                cells[at] = cell
                self._cells[at] = (self.stamp, cell)
            self._notebook = {**self._notebook, "cells": cells}
        return True

    def fail(self, problem: ProblemNews | GoneNews) -> bool:
        """See :class:`~.feeds.Feed`. What is put next ends it; everybody begins anew then."""
        frame = encode(problem)
        if frame == self._problem:
            return False
        self._moved()
        self._begun = self.stamp + 1
        self._problem = frame
        return True

    def since(self, stamp: int | None) -> bytes | None:
        """See :class:`~.feeds.Feed`."""
        if self.stamp in {stamp, 0}:
            return None
        if self._problem is not None or self._newest is None:
            return self._problem
        since = -1 if stamp is None or stamp < self._begun else stamp
        if since not in self._frames:
            self._frames[since] = encode(self._news(self._newest, since))
        return self._frames[since]

    def _news(self, newest: NotebookReading, since: int) -> RunNotebookNews:
        reset = since < 0
        changes = {at: cell for at, (when, cell) in self._cells.items() if when > since}
        return RunNotebookNews(
            id=self._run_id,
            reset=reset,
            run=newest.run,
            live=newest.live,
            state=newest.state,
            cell=newest.cell,
            cells=newest.cells,
            findings=newest.findings,
            problem=newest.problem,
            notebook=self._notebook if reset else None,
            changes=() if reset else tuple(sorted(changes.items())),
        )

    def _moved(self) -> None:
        self.stamp += 1
        self._frames.clear()
        self._problem = None


def _head(seen: NotebookReading) -> tuple[Any, ...]:
    return (seen.run, seen.live, seen.state, seen.cell, seen.cells, seen.findings, seen.problem)


def feed_of(topic: Topic) -> ItemsFeed[ScheduleItem] | ItemsFeed[RunItem] | NotebookFeed:
    """Return a new feed of one of our topics."""
    if topic.topic == "schedules":
        return ItemsFeed[ScheduleItem](
            _schedules, order=lambda schedule: (schedule.name, schedule.created_at)
        )
    if topic.topic == "runs":
        return ItemsFeed[RunItem](
            partial(_runs, topic.id), order=lambda run: (-run.created_at, run.id), most=NEWEST
        )
    return NotebookFeed(topic.id or "")


def _schedules(
    changed: tuple[ScheduleItem, ...], removed: tuple[str, ...], *, reset: bool, more: bool
) -> SchedulesNews:
    del more  # it is all of them
    return SchedulesNews(changed=changed, removed=removed, reset=reset)


def _runs(
    schedule: str | None,
    changed: tuple[RunItem, ...],
    removed: tuple[str, ...],
    *,
    reset: bool,
    more: bool,
) -> RunsNews:
    return RunsNews(id=schedule, changed=changed, removed=removed, reset=reset, more=more)
