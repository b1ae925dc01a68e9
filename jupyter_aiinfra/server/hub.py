"""Who watches what, and how each is told: at the pace of each, newest state first and no queue."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

from jupyter_aiinfra.server.feeds import Feed, GpusFeed, ItemsFeed, JobsFeed, StateFeed, encode
from jupyter_aiinfra.server.runfeeds import NotebookFeed, feed_of
from jupyter_aiinfra.server.wire import EndedNews, JobItem, ProblemNews, Topic

__all__ = ["BUDGETS", "JOBS", "POOLS", "SCHEDULES", "Hub", "Subscriber"]

BUDGETS = Topic(topic="budgets")
JOBS = Topic(topic="jobs")
POOLS = Topic(topic="pools")
SCHEDULES = Topic(topic="schedules")

_ONCE_KEPT = 100


class Subscriber:
    """One browser: what it watches, and how much of it it has been told.

    `send` returns once the message is on its way: as long as it does not, nothing is encoded,
    copied or kept for this browser but a bounded number of ends of jobs.
    """

    def __init__(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        self._send = send
        self._told: dict[Topic, int | None] = {}
        self._feeds: dict[Topic, Feed] = {}
        self._once: deque[bytes] = deque(maxlen=_ONCE_KEPT)
        self._due = asyncio.Event()

    @property
    def topics(self) -> frozenset[Topic]:
        """What is watched."""
        return frozenset(self._feeds)

    def begin(self, feeds: dict[Topic, Feed]) -> None:
        """Watch these from now on, and be told the state of each as it is."""
        self._feeds = feeds
        self._told = dict.fromkeys(feeds)
        self.wake()

    def wake(self) -> None:
        """Say that something watched has changed."""
        self._due.set()

    def say(self, news: Any) -> None:
        """Tell this browser something that is no state; the oldest goes where it does not read."""
        self.pass_on(encode(news))

    def pass_on(self, frame: bytes) -> None:
        """Like :meth:`say`, for what is encoded already."""
        self._once.append(frame)
        self.wake()

    async def run(self) -> None:
        """Send until cancelled, or until `send` raises: then there is nobody to be told."""
        while True:
            await self._due.wait()
            self._due.clear()
            for frame in self._frames():
                await self._send(frame)

    def _frames(self) -> Iterator[bytes]:
        # Looked at one by one, each when the one before has gone out: by then it may be newer.
        for topic in list(self._feeds):
            feed = self._feeds.get(topic)
            if feed is None:  # no longer watched, while another was being sent
                continue
            frame = feed.since(self._told[topic])
            if feed.stamp:
                self._told[topic] = feed.stamp
            if frame is not None:
                yield frame
        # An end is told after the list that has the job in it.
        while self._once:
            yield self._once.popleft()


class Hub:
    """All subscribers of a server, and one feed for each topic that any of them watches.

    Used in the server's event loop only. `on_watch` is called when somebody watches or asks anew:
    what is told may have to be found out first.
    """

    def __init__(self) -> None:
        self.on_watch: Callable[[], None] = lambda: None
        self._feeds: dict[Topic, Feed] = {}
        self._watchers: dict[Topic, set[Subscriber]] = {}

    @property
    def topics(self) -> frozenset[Topic]:
        """Everything that anybody watches."""
        return frozenset(self._feeds)

    def watches(self, topic: Topic) -> bool:
        """Whether anybody watches `topic`."""
        return topic in self._feeds

    def of(self, kind: str) -> list[Topic]:
        """Return what is watched of one kind of topic."""
        return [topic for topic in self._feeds if topic.topic == kind]

    def watch(self, subscriber: Subscriber, topics: Iterable[Topic]) -> None:
        """Have `subscriber` watch exactly these, and be told of each as it is."""
        wanted = dict.fromkeys(topics)
        for topic in subscriber.topics - wanted.keys():
            self._drop(subscriber, topic)
        for topic in wanted:
            if topic not in self._feeds:
                self._feeds[topic] = _feed(topic)
            self._watchers.setdefault(topic, set()).add(subscriber)
        subscriber.begin({topic: self._feeds[topic] for topic in wanted})
        self.on_watch()

    def leave(self, subscriber: Subscriber) -> None:
        """Forget a subscriber. Idempotent."""
        for topic in subscriber.topics:
            self._drop(subscriber, topic)
        subscriber.begin({})

    def has_state(self, topic: Topic) -> bool:
        """Whether there is something to tell of `topic`."""
        feed = self._feeds.get(topic)
        return feed is not None and feed.stamp > 0

    @property
    def jobs(self) -> JobsFeed | None:
        """The list of jobs, while anybody watches it."""
        feed = self._feeds.get(JOBS)
        return feed if isinstance(feed, JobsFeed) else None

    def gpus(self, topic: Topic) -> GpusFeed | None:
        """Return the feed of a topic of GPUs, while anybody watches it."""
        feed = self._feeds.get(topic)
        return feed if isinstance(feed, GpusFeed) else None

    def items(self, topic: Topic) -> ItemsFeed[Any] | None:
        """Return the feed of a list of schedules or runs, while anybody watches it."""
        feed = self._feeds.get(topic)
        return feed if isinstance(feed, ItemsFeed) else None

    def notebook(self, topic: Topic) -> NotebookFeed | None:
        """Return the feed of a run's notebook, while anybody watches it."""
        feed = self._feeds.get(topic)
        return feed if isinstance(feed, NotebookFeed) else None

    def tell(self, topic: Topic, news: Any) -> bool:
        """Make `news` the state of `topic`; return whether it is another than before.

        What nobody watches any more is dropped.
        """
        feed = self._feeds.get(topic)
        if not isinstance(feed, StateFeed) or not feed.put(news):
            return False
        self.wake(topic)
        return True

    def fail(self, topic: Topic, problem: ProblemNews) -> None:
        """Tell who watches `topic` why there is no news of it."""
        feed = self._feeds.get(topic)
        if feed is not None and feed.fail(problem):
            self.wake(topic)

    def end(self, job: JobItem) -> None:
        """Tell who watches the jobs that one has come to its end."""
        watchers = self._watchers.get(JOBS)
        if watchers:
            frame = encode(EndedNews(job=job))
            for subscriber in watchers:
                subscriber.pass_on(frame)

    def wake(self, topic: Topic) -> None:
        """Say that the feed of `topic` has changed."""
        for subscriber in self._watchers.get(topic, ()):
            subscriber.wake()

    def _drop(self, subscriber: Subscriber, topic: Topic) -> None:
        watchers = self._watchers.get(topic, set())
        watchers.discard(subscriber)
        if not watchers:
            self._watchers.pop(topic, None)
            self._feeds.pop(topic, None)


def _feed(topic: Topic) -> Feed:
    if topic == JOBS:
        return JobsFeed()
    if topic.topic in {"schedules", "runs", "notebook"}:
        return feed_of(topic)
    return GpusFeed() if topic.topic == "gpus" else StateFeed()
