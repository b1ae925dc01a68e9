"""Watching the record: what any process writes down becomes news here.

Which process that was does not matter: a kernel's cell, the command line, another server.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.errors import AiInfraError, JobNotFound
from jupyter_aiinfra.model import Event, Job, JobState
from jupyter_aiinfra.server.costwire import job_cost_item
from jupyter_aiinfra.server.events import EventBus
from jupyter_aiinfra.server.feeds import NEWEST
from jupyter_aiinfra.server.hub import JOBS, Hub
from jupyter_aiinfra.server.jobs import job_detail, job_item, recorded_job
from jupyter_aiinfra.server.shared import SharedEngine
from jupyter_aiinfra.server.wire import GoneNews, JobItem, JobNews, ProblemNews, Silence, Topic

__all__ = ["RecordWatch", "StoreFile"]

_EVENTS_AT_ONCE = 500
_ENDS_REMEMBERED = 1000
_TIMELINE = 1000


@dataclass(frozen=True, kw_only=True)
class _Reading:
    """What the record says that it did not say at the version before; ``None`` is a job removed.

    ``schedules`` are the names of those that the runs are of that it tells of, by id.
    """

    version: int
    events: Sequence[Event] = ()
    jobs: Mapping[str, JobItem | None]
    schedules: Mapping[str, str] = field(default_factory=dict)


class StoreFile:
    """The file of a store kept in one, asked far more often than the store itself could be.

    A commit changes the file; that is told by a look at its times, which costs microseconds. A
    network's file system may tell it late, and a clock may be coarse: this says when to look
    earlier, never that there is nothing to be seen.

    Parameters
    ----------
    url
        The store's SQLAlchemy URL; one of a database server has no file.
    """

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        is_file = parsed.get_backend_name() == "sqlite" and bool(parsed.database)
        self._path = Path(parsed.database or "").expanduser() if is_file else None
        self._stamp: tuple[int, int] | None = None

    @property
    def missing(self) -> bool:
        """Whether nothing can have been recorded yet."""
        return self._path is not None and not self._path.exists()

    def moved(self) -> bool:
        """Whether it changed since this was last asked; true where it cannot be told."""
        if self._path is None:
            return True
        try:
            found = os.stat(self._path)  # noqa: PTH116 - a Path makes it twice as dear
        except OSError:
            return True
        old, self._stamp = self._stamp, (found.st_mtime_ns, found.st_size)
        return old != self._stamp


class RecordWatch:
    """Reads what is new in the record, and tells it to hub and event bus.

    Lives in the server's loop; the reading itself is done on the engine's thread. The first look
    begins with the record as it is: what is in it already is no news.

    Attributes
    ----------
    active
        The jobs that are not over, by id, as last seen.
    on_change
        Called when pools, or the jobs on them, have changed.
    on_events
        Called with what is new in the record.
    """

    def __init__(self, engine: SharedEngine, hub: Hub, bus: EventBus) -> None:
        self.active: dict[str, JobItem] = {}
        self.on_change: Callable[[], None] = lambda: None
        self.on_events: Callable[[Sequence[Event]], None] = lambda _: None
        self._engine = engine
        self._hub = hub
        self._bus = bus
        self._version: int | None = None
        self._stale: set[str] = set()
        self._heard: dict[str, float] = {}
        self._silent: dict[str, str] = {}
        self._ended: dict[str, None] = {}

    async def look(self) -> None:
        """Read what is new, and tell it; then whatever is watched and has not been told.

        Raises
        ------
        AiInfraError
            The record cannot be read; who watches it has been told why.
        """
        try:
            await self._read()
            await self._tell_newest()
            await self._tell_details()
        except AiInfraError as error:
            # Once it can be read again, each is told anew.
            self._stale.update(topic.id or "" for topic in self._hub.of("job"))
            for topic in (JOBS, *self._hub.of("job")):
                self._hub.fail(
                    topic, ProblemNews(message=error.message, hint=error.hint, topic=topic)
                )
            raise

    def note(self, jobs: Iterable[JobItem]) -> bool:
        """Take in jobs as they were just seen: what changes without an event is found so.

        Returns whether any has changed. Those that are watched are told of by the next look.
        """
        changed = {
            job.id: job
            for job in jobs
            if job.id in self.active and job.version > self.active[job.id].version
        }
        if changed:
            self._take(changed)
        return bool(changed)

    def heard(self, job_id: str, *, at: float) -> bool:
        """Take in that a job's pool has told of it; return whether that ends a silence."""
        self._heard[job_id] = at
        if self._silent.pop(job_id, None) is None:
            return False
        self._stale.add(job_id)
        return True

    def silent(self, job_id: str, message: str) -> bool:
        """Take in why nothing is heard of a job; return whether that is new."""
        if self._silent.get(job_id) == message:
            return False
        self._silent[job_id] = message
        self._stale.add(job_id)
        return True

    def forget(self, job_id: str) -> None:
        """Take in that a job is not in the record any more."""
        self._take({job_id: None})

    async def _read(self) -> None:
        more = True
        while more:
            since = self._version
            reading = await self._engine.call(lambda engine: _read(engine, since))  # noqa: B023
            if since is None or reading.version < since:
                # The first look; or another database has taken the place of the one before.
                self._begin(reading)
                return
            self._version = reading.version
            self._take(reading.jobs)
            for event in reading.events:
                if _is_end(event):
                    self._end(reading.jobs.get(event.subject))
            if reading.events:
                self.on_events(reading.events)
                self.on_change()
            # Last: what others have put behind the bus may fail, and our own pages are told by now.
            for event in reading.events:
                schedule = reading.schedules.get(str(event.detail.get("schedule")))
                self._bus.tell(event, reading.jobs.get(event.subject), schedule=schedule)
            more = len(reading.events) == _EVENTS_AT_ONCE

    def _begin(self, reading: _Reading) -> None:
        self._version = reading.version
        self.active = {job_id: item for job_id, item in reading.jobs.items() if item}
        self._stale.update(topic.id or "" for topic in self._hub.of("job"))
        feed = self._hub.jobs
        if feed is not None:
            feed.forget()
        self.on_change()

    def _take(self, jobs: Mapping[str, JobItem | None]) -> None:
        ends = []
        for job_id, item in jobs.items():
            if item is None or item.state.final:
                if self.active.pop(job_id, None) is not None and item is not None:
                    ends.append(item)
                self._heard.pop(job_id, None)
                self._silent.pop(job_id, None)
            elif self._is_newer(item):
                self.active[job_id] = item
        self._stale.update(jobs)
        feed = self._hub.jobs
        changed = [item for item in jobs.values() if item is not None]
        removed = [job_id for job_id, item in jobs.items() if item is None]
        if feed is not None and feed.change(changed, removed=removed, active=len(self.active)):
            self._hub.wake(JOBS)
        for item in ends:
            self._end(item)

    def _is_newer(self, item: JobItem) -> bool:
        # What says of a job that is over that it is not was read before.
        known = self.active.get(item.id)
        return item.id not in self._ended and (known is None or item.version >= known.version)

    def _end(self, item: JobItem | None) -> None:
        if item is None or item.id in self._ended:
            return
        self._ended[item.id] = None
        while len(self._ended) > _ENDS_REMEMBERED:
            del self._ended[next(iter(self._ended))]
        self._hub.end(item)

    async def _tell_newest(self) -> None:
        feed = self._hub.jobs
        if feed is None or feed.loaded:
            return
        jobs = await self._engine.call(_newest)
        feed.begin(jobs, more=len(jobs) > NEWEST, active=len(self.active))
        self._hub.wake(JOBS)

    async def _tell_details(self) -> None:
        stale, self._stale = self._stale, set()
        for topic in self._hub.of("job"):
            if topic.id in stale or not self._hub.has_state(topic):
                news = await self._engine.call(lambda engine: _detail(engine, topic))  # noqa: B023
                self._hub.tell(topic, self._with_silence(news))

    def _with_silence(self, news: Any) -> Any:
        if not isinstance(news, JobNews) or news.detail.item.state.final:
            return news
        detail = news.detail
        message = self._silent.get(detail.item.id)
        if message is None:
            return news
        silence = Silence(message=message, heard_at=self._heard.get(detail.item.id))
        return JobNews(detail=dataclasses.replace(detail, silence=silence))


def _is_end(event: Event) -> bool:
    return event.kind == "job.state" and JobState(event.detail["to"]).final


def _read(engine: Engine, since: int | None) -> _Reading:
    store = engine.store
    version = store.version()
    if since is None or version < since:
        active = store.list_jobs(active=True)
        return _Reading(version=version, jobs={job.id: job_item(job) for job in active})
    if version == since:
        return _Reading(version=version, jobs={})
    events = store.events(since=since, limit=_EVENTS_AT_ONCE)
    subjects = dict.fromkeys(event.subject for event in events if event.kind.startswith("job."))
    jobs = {subject: _item(engine, subject) for subject in subjects}
    return _Reading(
        version=events[-1].id if events else version,
        events=events,
        jobs=jobs,
        schedules=_names(engine, events),
    )


def _names(engine: Engine, events: Iterable[Event]) -> dict[str, str]:
    """Return the names of the schedules of which runs are told, by id."""
    ids = {str(event.detail["schedule"]) for event in events if event.kind == "run.state"}
    found = [engine.store.find_schedule(each) for each in ids]
    return {each.id: each.name for each in found if each is not None}


def _item(engine: Engine, job_id: str) -> JobItem | None:
    job = _job(engine, job_id)
    return None if job is None else job_item(job)


def _job(engine: Engine, job_id: str) -> Job | None:
    try:
        return recorded_job(engine, job_id)
    except JobNotFound:
        return None


def _newest(engine: Engine) -> list[JobItem]:
    return [job_item(job) for job in engine.store.list_jobs(limit=NEWEST + 1)]


def _detail(engine: Engine, topic: Topic) -> Any:
    job_id = topic.id or ""
    job = _job(engine, job_id)
    if job is None:
        return GoneNews(id=job_id)
    events = engine.store.events(subject=job_id, limit=_TIMELINE)
    cost = job_cost_item(engine.costing.now([job])[job.id])
    return JobNews(detail=job_detail(job, events, cost=cost))
