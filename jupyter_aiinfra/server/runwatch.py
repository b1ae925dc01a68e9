"""Telling of schedules and runs: what the record says of them, and notebooks as they grow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Literal

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.errors import AiInfraError, NotFound
from jupyter_aiinfra.model import Event
from jupyter_aiinfra.schedule import Run
from jupyter_aiinfra.server.feeds import NEWEST, ItemsFeed
from jupyter_aiinfra.server.hub import SCHEDULES, Hub
from jupyter_aiinfra.server.pace import Paces
from jupyter_aiinfra.server.runfeeds import NotebookFeed
from jupyter_aiinfra.server.runreading import RunReader
from jupyter_aiinfra.server.schedulewire import RunItem, ScheduleItem, run_item, schedule_item
from jupyter_aiinfra.server.shared import SharedEngine
from jupyter_aiinfra.server.wire import GoneNews, ProblemNews, Topic

__all__ = ["RunWatch"]

_REST_SECONDS = 3600.0
_ACTIVE_SECONDS = 1.0
_PROBLEMS_SECONDS = 30.0
_FEW = 200
_NOTEBOOK_SECONDS = 0.2
_CALM_NOTEBOOK_SECONDS = 1.0
_LONGEST_SECONDS = 30.0
_SHARE = 9.0
"""Of the time that a look takes, how many times as long passes until the next."""


class RunWatch:
    """Keeps the feeds of schedules, runs and notebooks; in the server's loop.

    Parameters
    ----------
    engine, hub
        The server's.
    ring
        Ends the pause that :meth:`tell` (``runs``) or :meth:`read` (``notebooks``) has asked for.
    fails
        Is told of what should not have failed.
    """

    def __init__(
        self,
        engine: SharedEngine,
        hub: Hub,
        *,
        ring: Callable[[Literal["runs", "notebooks"]], None],
        fails: Callable[[str, Exception], None],
    ) -> None:
        self._engine = engine
        self._hub = hub
        self._ring = ring
        self._fails = fails
        self._schedules: set[str] = set()
        self._runs: set[str] = set()
        self._removed: set[str] = set()
        self._troubled: set[str] = set()
        self._active: set[str] = set()
        self._readers: dict[Topic, RunReader] = {}
        self._reading: dict[Topic, asyncio.Task[None]] = {}
        self._paces = Paces()

    def note(self, events: Sequence[Event]) -> None:
        """Take in what is new in the record; :meth:`tell` tells it."""
        before = (len(self._schedules), len(self._runs), len(self._removed))
        for event in events:
            if event.kind.startswith("schedule."):
                self._schedules.add(event.subject)
            elif event.kind.startswith("run."):
                self._schedules.add(str(event.detail.get("schedule", "")))
                removed = event.kind == "run.removed"
                (self._removed if removed else self._runs).add(event.subject)
        if before != (len(self._schedules), len(self._runs), len(self._removed)):
            for topic in self._hub.of("notebook"):
                if topic.id in self._runs:
                    self._paces.of(topic).due_at = 0.0
            self._ring("runs")
            self._ring("notebooks")

    # --- lists ---------------------------------------------------------------------------------

    async def tell(self) -> float:
        """Tell what is new of schedules and runs; return how long until there may be more."""
        schedules, runs, removed = self._schedules, self._runs, self._removed
        self._schedules, self._runs, self._removed = set(), set(), set()
        topics = self._hub.of("runs")
        if not topics and not self._hub.watches(SCHEDULES):
            return _REST_SECONDS
        try:
            if topics:
                # Some of what changes of a run is no event: that its end is wanted, say.
                changed = await self._engine.call(lambda e: _changed(e, runs | self._active))
                self._active = {run.id for run, _ in changed if not run.state.final}
                items = [run_item(run, name) for run, name in changed]
                for topic in topics:
                    await self._tell_runs(topic, items, removed)
            if self._hub.watches(SCHEDULES):
                await self._tell_schedules(schedules)
        except AiInfraError as error:
            self._schedules |= schedules
            for topic in (SCHEDULES, *topics):
                self._hub.fail(topic, _problem(error, topic))
            raise
        if self._active:
            return _ACTIVE_SECONDS
        return _PROBLEMS_SECONDS if self._hub.watches(SCHEDULES) else _REST_SECONDS

    async def _tell_runs(
        self, topic: Topic, changed: Sequence[RunItem], removed: Iterable[str]
    ) -> None:
        feed: ItemsFeed[RunItem] | None = self._hub.items(topic)
        if feed is None:
            return
        if feed.loaded:
            mine = [run for run in changed if topic.id in (None, run.schedule)]
            if feed.change(mine, removed=removed):
                self._hub.wake(topic)
            return
        found = await self._engine.call(lambda engine: _newest(engine, topic.id))
        feed.begin(run_item(run, name) for run, name in found)
        self._active |= {run.id for run, _ in found if not run.state.final}
        self._hub.wake(topic)

    async def _tell_schedules(self, stale: set[str]) -> None:
        feed: ItemsFeed[ScheduleItem] | None = self._hub.items(SCHEDULES)
        if feed is None:
            return
        # What keeps a schedule from running is known to the engine alone: it is no event.
        troubled = await self._engine.call(lambda e: set(e.schedules.firing.problems))
        stale, self._troubled = stale | troubled | self._troubled, troubled
        if not feed.loaded:
            feed.begin(await self._all())
        else:
            found = await self._some(stale)
            gone = (stale - {item.id for item in found}) & feed.known.keys()
            if not feed.change(found, removed=gone):
                return
        self._hub.wake(SCHEDULES)

    async def _all(self) -> list[ScheduleItem]:
        """Return all schedules; of very many a part at a time, so that others get their turn."""
        ids = await self._engine.call(lambda e: {each.id for each in e.store.schedules()})
        if len(ids) <= _FEW:
            return await self._engine.call(_all_views)
        return await self._some(ids)

    async def _some(self, schedule_ids: set[str]) -> list[ScheduleItem]:
        ids = sorted(schedule_ids)
        found: list[ScheduleItem] = []
        for first in range(0, len(ids), _FEW):
            part = ids[first : first + _FEW]
            found += await self._engine.call(lambda e: _views(e, part))  # noqa: B023
        return found

    # --- notebooks -----------------------------------------------------------------------------

    async def read(self) -> float:
        """Look at the notebooks that are due; a slow pool holds up no other."""
        topics = self._hub.of("notebook")
        self._paces.keep(topics)
        self._readers = {
            topic: self._readers.get(topic) or RunReader(topic.id or "") for topic in topics
        }
        now = time.monotonic()
        for topic in topics:
            pace = self._paces.of(topic)
            due = pace.due_at <= now or not self._hub.has_state(topic)
            if due and topic not in self._reading:
                task = asyncio.create_task(self._look(topic, self._readers[topic]))
                self._reading[topic] = task
                task.add_done_callback(partial(self._has_looked, topic))
        waits = [
            self._paces.of(topic).due_at - now if topic not in self._reading else _REST_SECONDS
            for topic in topics
        ]
        return max(min(waits, default=_REST_SECONDS), 0.01)

    def _has_looked(self, topic: Topic, _task: asyncio.Task[None]) -> None:
        self._reading.pop(topic, None)
        self._ring("notebooks")

    async def stop(self) -> None:
        """End what is being read."""
        tasks = [*self._reading.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self, topic: Topic, reader: RunReader) -> None:
        begun = time.monotonic()
        pause = _REST_SECONDS
        try:
            if not self._hub.has_state(topic):
                reader.begin_anew()
            asked: NotebookFeed | None = self._hub.notebook(topic)
            seen = await self._engine.run(reader.look)
            feed: NotebookFeed | None = self._hub.notebook(topic)
            if feed is not asked:
                # Nobody watched for a moment: who came then is told all of it, not what is new.
                reader.begin_anew()
                self._paces.rest(topic, 0.0)
                return
            grown = feed is not None and feed.put(seen)
            if grown:
                self._hub.wake(topic)
            if not seen.run.state.final:
                pause = _NOTEBOOK_SECONDS if grown and seen.live else _CALM_NOTEBOOK_SECONDS
        except NotFound:
            feed = self._hub.notebook(topic)
            if feed is not None and feed.fail(GoneNews(id=topic.id or "")):
                self._hub.wake(topic)
        except AiInfraError as error:
            reader.begin_anew()
            self._hub.fail(topic, _problem(error, topic))
            pause = min(max(2 * self._paces.of(topic).pause, 1.0), _LONGEST_SECONDS)
        except Exception as error:  # noqa: BLE001 - one run; the others go on
            reader.begin_anew()
            self._fails(f"reading the notebook of run {topic.id}", error)
            pause = _LONGEST_SECONDS
        spent = time.monotonic() - begun
        self._paces.rest(topic, max(pause, min(_SHARE * spent, _LONGEST_SECONDS)))


def _problem(error: AiInfraError, topic: Topic) -> ProblemNews:
    return ProblemNews(message=error.message, hint=error.hint, topic=topic)


def _named(engine: Engine, runs: Iterable[Run]) -> list[tuple[Run, str]]:
    """Return runs with the names of their schedules."""
    names: dict[str, str] = {}
    for run in runs:
        if run.schedule not in names:
            schedule = engine.store.find_schedule(run.schedule)
            names[run.schedule] = "" if schedule is None else schedule.name
    return [(run, names[run.schedule]) for run in runs]


def _changed(engine: Engine, run_ids: set[str]) -> list[tuple[Run, str]]:
    """Return the runs that are not over, and those of these ids."""
    active = engine.store.active_runs()
    others = engine.store.runs_by_id(sorted(run_ids - {run.id for run in active}))
    return _named(engine, [*active, *others])


def _newest(engine: Engine, schedule: str | None) -> list[tuple[Run, str]]:
    return _named(engine, engine.store.runs(schedule=schedule, limit=NEWEST + 1))


def _views(engine: Engine, schedule_ids: Sequence[str]) -> list[ScheduleItem]:
    views = [engine.schedules.view(each) for each in schedule_ids]
    return [schedule_item(view) for view in views if view is not None]


def _all_views(engine: Engine) -> list[ScheduleItem]:
    return [schedule_item(view) for view in engine.schedules.views()]
