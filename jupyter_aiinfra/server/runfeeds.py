"""What is told of schedules, of runs and of a run's notebook: all of it, then what has changed.

As in ``feeds.py``: nothing queues, who is behind is told in one what is others by now, and who is
far behind begins anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from jupyter_aiinfra.server.encoding import encode
from jupyter_aiinfra.server.feeds import NEWEST
from jupyter_aiinfra.server.runreading import NotebookReading
from jupyter_aiinfra.server.runwire import RunNotebookNews, RunsNews, SchedulesNews
from jupyter_aiinfra.server.schedulewire import RunItem, ScheduleItem
from jupyter_aiinfra.server.wire import GoneNews, ProblemNews, Topic

__all__ = ["ItemsFeed", "NotebookFeed", "feed_of"]

_REMEMBERED = 500
_NEVER: tuple[int, Any] = (0, True)


class _Item(Protocol):
    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=_Item)
T_contra = TypeVar("T_contra", contravariant=True)


class _News(Protocol[T_contra]):
    def __call__(
        self, changed: tuple[T_contra, ...], removed: tuple[str, ...], *, reset: bool, more: bool
    ) -> Any: ...


class ItemsFeed(Generic[T]):
    """A list of things with ids: those it begins with, then only those that changed.

    Parameters
    ----------
    news
        Makes the message: of what has changed, the ids removed, whether it is all there is, and
        whether there is more.
    order
        The key that it is sorted by.
    most
        How many who comes anew is told, the first of them; ``None``: all.
    """

    def __init__(
        self,
        news: _News[T],
        *,
        order: Callable[[T], Any],
        most: int | None = None,
    ) -> None:
        self.stamp = 0
        self.loaded = False
        """Whether something has been put; until then nothing is told."""
        self._news = news
        self._order = order
        self._most = most
        self._known: dict[str, T] = {}
        self._more = False
        # By id, in the order of their last change: when, and what it is now (None: removed).
        self._changes: dict[str, tuple[int, T | None]] = {}
        self._begun = 0  # who was told less than this is told everything
        self._problem: bytes | None = None
        self._frames: dict[int, bytes] = {}

    @property
    def known(self) -> Mapping[str, T]:
        """What who comes now is told, by id."""
        return self._known

    def begin(self, items: Iterable[T]) -> None:
        """Put what there is; every reader is told the first of it."""
        self._keep(items, more=False)
        self._changes.clear()
        self._moved()
        self._begun = self.stamp
        self.loaded = True

    def change(self, changed: Iterable[T], *, removed: Iterable[str] = ()) -> bool:
        """Put what is new; return whether anything is. Does nothing before :meth:`begin`."""
        if not self.loaded:
            return False
        news: dict[str, T | None] = {
            item.id: item for item in changed if self._last(item.id) != item
        }
        # Also of what is not among the first: who has asked for more may show it.
        news |= {each: None for each in removed if self._changes.get(each, _NEVER)[1] is not None}
        if not news:
            return False
        self._moved()
        for each, item in news.items():
            self._changes.pop(each, None)
            self._changes[each] = (self.stamp, item)
            self._known.pop(each, None)
        fresh = [item for item in news.values() if item is not None]
        self._keep([*self._known.values(), *fresh], more=self._more)
        while len(self._changes) > _REMEMBERED:
            oldest = next(iter(self._changes))
            self._begun = max(self._begun, self._changes.pop(oldest)[0])
        return True

    def _last(self, item_id: str) -> T | None:
        told = self._changes.get(item_id)
        return self._known.get(item_id) if told is None else told[1]

    def _keep(self, items: Iterable[T], *, more: bool) -> None:
        ordered = sorted(items, key=self._order)
        kept = ordered if self._most is None else ordered[: self._most]
        self._more = more or len(ordered) > len(kept)
        self._known = {item.id: item for item in kept}

    def fail(self, problem: ProblemNews) -> bool:
        """See :class:`~.feeds.Feed`. The next :meth:`begin` ends it."""
        frame = encode(problem)
        if frame == self._problem:
            return False
        self._moved()
        self._problem = frame
        self.loaded = False
        return True

    def since(self, stamp: int | None) -> bytes | None:
        """See :class:`~.feeds.Feed`."""
        if self.stamp in {stamp, 0}:
            return None
        if self._problem is not None:
            return self._problem
        since = -1 if stamp is None or stamp < self._begun else stamp
        if since not in self._frames:
            self._frames[since] = encode(self._since(since))
        return self._frames[since]

    def _since(self, since: int) -> Any:
        if since < 0:
            return self._news(tuple(self._known.values()), (), reset=True, more=self._more)
        new = {each: item for each, (at, item) in self._changes.items() if at > since}
        changed = tuple(item for item in new.values() if item is not None)
        removed = tuple(each for each, item in new.items() if item is None)
        return self._news(changed, removed, reset=False, more=self._more)

    def _moved(self) -> None:
        self.stamp += 1
        self._frames.clear()
        self._problem = None


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
