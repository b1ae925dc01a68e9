"""What is told of a topic: its state as it is, or what is new since somebody was last told.

A feed is one topic's newest state, already encoded, whoever reads it and however slowly. Nothing
queues here: who comes late is told the state of then, and what lies between is never sent.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Generic, Protocol, TypeVar

from jupyter_aiinfra.server.encoding import encode
from jupyter_aiinfra.server.wire import JobItem, JobsNews, ProblemNews
from jupyter_aiinfra.telemetry import Frame, delta_frame, full_frame

__all__ = ["NEWEST", "Feed", "GpusFeed", "ItemsFeed", "JobsFeed", "StateFeed", "encode"]

NEWEST = 100
"""How many jobs the list begins with; older ones are asked for by REST."""
_REMEMBERED = 500
"""How many changed items are remembered for readers that are behind; others begin anew."""
_NEVER: Final[tuple[int, Any]] = (0, True)
_SECONDS_REMEMBERED = 8


class Feed(Protocol):
    """What a subscriber needs of a topic.

    ``stamp`` grows with each change, and is 0 while there is nothing to tell.
    """

    @property
    def stamp(self) -> int:
        """How often there was something to tell."""
        ...

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
    descending
        Whether what is last by that key is first.
    most
        How many who comes anew is told, the first of them; ``None``: all.
    """

    def __init__(
        self,
        news: _News[T],
        *,
        order: Callable[[T], Any],
        descending: bool = False,
        most: int | None = None,
    ) -> None:
        self.stamp = 0
        self.loaded = False
        """Whether something has been put; until then nothing is told."""
        self._news = news
        self._order = order
        self._descending = descending
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

    def begin(self, items: Iterable[T], *, more: bool = False) -> None:
        """Put what there is; every reader is told the first of it. `more`: there is still more."""
        self._keep(items, more=more)
        self._changes.clear()
        self._moved()
        self._begun = self.stamp
        self.loaded = True

    def change(
        self, changed: Iterable[T], *, removed: Iterable[str] = (), moved: bool = False
    ) -> bool:
        """Put what is new; return whether anything is. Does nothing before :meth:`begin`.

        With `moved` there is something to tell in any case.
        """
        if not self.loaded:
            return False
        news: dict[str, T | None] = {item.id: item for item in changed if self._is_news(item)}
        # Also of what is not among the first: who has asked for more may show it.
        news |= {each: None for each in removed if not self._is_gone(each)}
        if not news and not moved:
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

    def forget(self) -> None:
        """Take nothing more in before the next :meth:`begin`; what was told stays."""
        self.loaded = False

    def _is_news(self, item: T) -> bool:
        """Whether `item` is to be told."""
        return self._last(item.id) != item

    def _is_gone(self, item_id: str) -> bool:
        """Whether it was told that this one was removed."""
        return self._changes.get(item_id, _NEVER)[1] is None

    def _last(self, item_id: str) -> T | None:
        told = self._changes.get(item_id)
        return self._known.get(item_id) if told is None else told[1]

    def _keep(self, items: Iterable[T], *, more: bool) -> None:
        ordered = sorted(items, key=self._order, reverse=self._descending)
        kept = ordered if self._most is None else ordered[: self._most]
        self._more = more or len(ordered) > len(kept)
        self._known = {item.id: item for item in kept}

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


class _JobItems(ItemsFeed[JobItem]):
    """What is older than what is known is left out."""

    def _is_news(self, item: JobItem) -> bool:
        # Ids are never used twice: what says otherwise was read before the removal.
        if self._is_gone(item.id):
            return False
        last = self._last(item.id)
        return last is None or item.version > last.version


class JobsFeed:
    """The list of jobs: the newest as they are, then only those that changed."""

    def __init__(self) -> None:
        self._active = 0
        self._items = _JobItems(
            self._told,
            order=lambda job: (job.created_at, job.id),
            descending=True,
            most=NEWEST,
        )

    @property
    def stamp(self) -> int:
        """See :class:`Feed`."""
        return self._items.stamp

    @property
    def loaded(self) -> bool:
        """Whether the newest jobs have been put; until then nothing is told."""
        return self._items.loaded

    def begin(self, jobs: Sequence[JobItem], *, more: bool, active: int) -> None:
        """Put the newest jobs, newest first; every reader is told all of them."""
        self._active = active
        self._items.begin(jobs, more=more)

    def change(
        self, changed: Iterable[JobItem], *, removed: Iterable[str] = (), active: int
    ) -> bool:
        """Put what is new of some jobs; return whether anything is.

        What is older than what is known is left out. Does nothing before :meth:`begin`.
        """
        if not self.loaded:
            return False
        moved, self._active = active != self._active, active
        return self._items.change(changed, removed=removed, moved=moved)

    def forget(self) -> None:
        """Take nothing more in before the next :meth:`begin`; what was told stays."""
        self._items.forget()

    def fail(self, problem: ProblemNews) -> bool:
        """See :class:`Feed`. The next :meth:`begin` ends it."""
        return self._items.fail(problem)

    def since(self, stamp: int | None) -> bytes | None:
        """See :class:`Feed`."""
        return self._items.since(stamp)

    def _told(
        self, changed: tuple[JobItem, ...], removed: tuple[str, ...], *, reset: bool, more: bool
    ) -> JobsNews:
        return JobsNews(
            changed=changed, removed=removed, active=self._active, reset=reset, more=more
        )
