"""What is told of a topic: its state as it is, or what is new since somebody was last told.

A feed is one topic's newest state, already encoded, whoever reads it and however slowly. Nothing
queues here: who comes late is told the state of then, and what lies between is never sent.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from jupyter_aiinfra.server.encoding import encode
from jupyter_aiinfra.server.wire import JobItem, JobsNews, ProblemNews
from jupyter_aiinfra.telemetry import Frame, delta_frame, full_frame

__all__ = ["NEWEST", "Feed", "GpusFeed", "JobsFeed", "StateFeed", "encode"]

NEWEST = 100
"""How many jobs the list begins with; older ones are asked for by REST."""
_REMEMBERED = 500
"""How many changed jobs are remembered for readers that are behind; others begin anew."""
_SECONDS_REMEMBERED = 8


class Feed(Protocol):
    """What a subscriber needs of a topic.

    ``stamp`` grows with each change, and is 0 while there is nothing to tell.
    """

    stamp: int

    def since(self, stamp: int | None) -> bytes | None:
        """Return what brings a reader up to date who was told all up to `stamp`, or ``None``.

        ``None`` for `stamp` is a reader who knows nothing.
        """
        ...

    def fail(self, problem: ProblemNews) -> bool:
        """Tell `problem` until there is news; return whether that is new."""
        ...


class StateFeed:
    """A topic that is always told whole: the pools, one job, one log."""

    def __init__(self) -> None:
        self.stamp = 0
        self._frame: bytes | None = None

    def put(self, news: Any) -> bool:
        """Make `news` the state; return whether it differs from the last."""
        frame = encode(news)
        if frame == self._frame:
            return False
        self._frame = frame
        self.stamp += 1
        return True

    def fail(self, problem: ProblemNews) -> bool:
        """See :class:`Feed`."""
        return self.put(problem)

    def since(self, stamp: int | None) -> bytes | None:
        """See :class:`Feed`."""
        return None if stamp == self.stamp else self._frame


class GpusFeed:
    """The GPUs of a topic: all of them, then each second what has changed, the same for everybody.

    Who is a few seconds behind is told all of it in one; who is further behind begins anew.
    """

    _keys = itertools.count(1)

    def __init__(self) -> None:
        self.stamp = 0
        self.key = next(self._keys)
        """What the messages of this feed are known by."""
        self._frames: deque[tuple[int, Frame]] = deque(maxlen=_SECONDS_REMEMBERED)
        self._made: dict[int | None, bytes] = {}
        self._problem: bytes | None = None

    def put(self, frame: Frame, change: bytes | None = None) -> None:
        """Make `frame` the state; `change` is what :meth:`change` says of it, made elsewhere."""
        before = self.stamp
        self.stamp += 1
        self._frames.append((self.stamp, frame))
        self._made = {} if change is None or self._problem else {before: change}
        self._problem = None

    def change(self, old: Frame | None, new: Frame) -> bytes | None:
        """Return what tells who knows `old` of `new`; ``None`` where all has to be told. Pure."""
        delta = None if old is None else delta_frame(old, new, key=self.key)
        return None if delta is None else encode(delta)

    def fail(self, problem: ProblemNews) -> bool:
        """See :class:`Feed`."""
        frame = encode(problem)
        if frame == self._problem:
            return False
        self.stamp += 1
        self._frames.clear()
        self._problem = frame
        return True

    def since(self, stamp: int | None) -> bytes | None:
        """See :class:`Feed`."""
        if self.stamp in {stamp, 0}:
            return None
        if self._problem is not None:
            return self._problem
        if stamp not in self._made:
            newest = self._frames[-1][1]
            known = next((frame for at, frame in self._frames if at == stamp), None)
            change = self.change(known, newest)
            if change is None:
                stamp = None
                change = self._made.get(None) or encode(full_frame(newest, key=self.key))
            self._made[stamp] = change
        return self._made[stamp]


class JobsFeed:
    """The list of jobs: the newest as they are, then only those that changed."""

    def __init__(self) -> None:
        self.stamp = 0
        self.loaded = False
        """Whether the newest jobs have been put; until then nothing is told."""
        self._newest: dict[str, JobItem] = {}
        self._more = False
        self._active = 0
        # By id, in the order of their last change: when, and what it is now (None: removed).
        self._changes: dict[str, tuple[int, JobItem | None]] = {}
        self._begun = 0  # who was told less than this is told everything
        self._problem: bytes | None = None
        self._frames: dict[int, bytes] = {}

    def begin(self, jobs: Sequence[JobItem], *, more: bool, active: int) -> None:
        """Put the newest jobs, newest first; every reader is told all of them."""
        self._newest = {job.id: job for job in jobs[:NEWEST]}
        self._more = more or len(jobs) > NEWEST
        self._active = active
        self._changes.clear()
        self._moved()
        self._begun = self.stamp
        self.loaded = True

    def change(
        self, changed: Iterable[JobItem], *, removed: Iterable[str] = (), active: int
    ) -> bool:
        """Put what is new of some jobs; return whether anything is.

        What is older than what is known is left out. Does nothing before :meth:`begin`.
        """
        if not self.loaded:
            return False
        news: dict[str, JobItem | None] = {
            job.id: job for job in changed if job.version > self._version(job.id)
        }
        news |= {job_id: None for job_id in removed if self._known(job_id)}
        if not news and active == self._active:
            return False
        self._active = active
        self._moved()
        for job_id, item in news.items():
            self._changes.pop(job_id, None)
            self._changes[job_id] = (self.stamp, item)
            self._take(job_id, item)
        self._forget_oldest()
        return True

    def fail(self, problem: ProblemNews) -> bool:
        """See :class:`Feed`. The next :meth:`begin` ends it."""
        frame = encode(problem)
        if frame == self._problem:
            return False
        self._moved()
        self._problem = frame
        self.loaded = False
        return True

    def since(self, stamp: int | None) -> bytes | None:
        """See :class:`Feed`."""
        if self.stamp in {stamp, 0}:
            return None
        if self._problem is not None:
            return self._problem
        since = -1 if stamp is None or stamp < self._begun else stamp
        if since not in self._frames:
            self._frames[since] = encode(self._news(since))
        return self._frames[since]

    def _news(self, since: int) -> JobsNews:
        if since < 0:
            jobs = tuple(self._newest.values())
            return JobsNews(
                changed=jobs, removed=(), active=self._active, reset=True, more=self._more
            )
        new = {job_id: item for job_id, (at, item) in self._changes.items() if at > since}
        return JobsNews(
            changed=tuple(item for item in new.values() if item is not None),
            removed=tuple(job_id for job_id, item in new.items() if item is None),
            active=self._active,
            more=self._more,
        )

    def _moved(self) -> None:
        self.stamp += 1
        self._frames.clear()
        self._problem = None

    def _known(self, job_id: str) -> bool:
        return self._changes.get(job_id, (0, True))[1] is not None

    def _version(self, job_id: str) -> int:
        if not self._known(job_id):
            # Ids are never used twice: what says otherwise was read before the removal.
            return 1 << 62
        item = self._changes.get(job_id, (0, None))[1] or self._newest.get(job_id)
        return -1 if item is None else item.version

    def _take(self, job_id: str, item: JobItem | None) -> None:
        if item is None:
            self._newest.pop(job_id, None)
            return
        self._newest[job_id] = item
        ordered = sorted(
            self._newest.values(), key=lambda job: (job.created_at, job.id), reverse=True
        )
        self._more = self._more or len(ordered) > NEWEST
        self._newest = {job.id: job for job in ordered[:NEWEST]}

    def _forget_oldest(self) -> None:
        while len(self._changes) > _REMEMBERED:
            oldest = next(iter(self._changes))
            self._begun = max(self._begun, self._changes.pop(oldest)[0])
