"""What a browser is told that reads slowly, late, or not at all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from jupyter_aiinfra.model import Desired, JobKind, JobState
from jupyter_aiinfra.server.feeds import JobsFeed, StateFeed
from jupyter_aiinfra.server.hub import JOBS, POOLS, Hub, Subscriber
from jupyter_aiinfra.server.wire import GoneNews, JobItem, PoolsNews, ProblemNews, Topic

A_JOB = Topic(topic="job", id="0a")


def item(job_id: str, *, version: int = 0, state: JobState = JobState.RUNNING) -> JobItem:
    return JobItem(
        id=job_id,
        name="digits",
        kind=JobKind.TRAIN,
        pool="here",
        state=state,
        desired=Desired.RUN,
        version=version,
        nodes=1,
        world=1,
        message="",
        created_at=float(job_id),
        started_at=None,
        ended_at=None,
    )


def read(frame: bytes | None) -> dict[str, Any]:
    assert frame is not None
    news: dict[str, Any] = json.loads(frame)
    return news


def ids(news: dict[str, Any]) -> list[str]:
    return [job["id"] for job in news["changed"]]


class TestJobsFeed:
    def begun(self, *jobs: str) -> JobsFeed:
        feed = JobsFeed()
        feed.begin([item(job) for job in jobs], more=False, active=len(jobs))
        return feed

    def test_says_nothing_before_it_is_begun(self) -> None:
        feed = JobsFeed()

        assert not feed.change([item("1")], active=1)
        assert feed.since(None) is None

    def test_each_reader_gets_what_that_reader_lacks(self) -> None:
        feed = self.begun("2", "1")
        early = feed.stamp
        feed.change([item("3")], active=3)
        late = feed.stamp
        feed.change([item("1", version=1)], removed=["2"], active=2)

        news = read(feed.since(early))
        assert (ids(news), news["removed"], news["reset"]) == (["3", "1"], ["2"], False)
        assert ids(read(feed.since(late))) == ["1"]
        everything = read(feed.since(None))
        assert (ids(everything), everything["reset"], everything["active"]) == (["3", "1"], True, 2)
        assert feed.since(feed.stamp) is None

    def test_what_is_older_than_known_is_left_out(self) -> None:
        feed = self.begun("1")
        feed.change([item("1", version=5)], active=1)
        stamp = feed.stamp

        assert not feed.change([item("1", version=4)], active=1)
        assert feed.stamp == stamp

    def test_removed_job_does_not_come_back(self) -> None:
        feed = self.begun("1")
        feed.change([], removed=["1"], active=0)

        assert not feed.change([item("1", version=9)], active=0)
        assert not feed.change([], removed=["1"], active=0)

    def test_reader_who_is_far_behind_begins_anew(self) -> None:
        feed = self.begun("1")
        early = feed.stamp
        for number in range(2, 700):
            feed.change([item(str(number))], active=number)

        news = read(feed.since(early))
        assert news["reset"]
        assert len(news["changed"]) == 100
        assert news["more"]
        assert news["changed"][0]["id"] == "699"

    def test_problem_is_told_until_it_is_over(self) -> None:
        feed = self.begun("1")
        problem = ProblemNews(message="no database", topic=JOBS)

        assert feed.fail(problem)
        assert not feed.fail(problem)
        assert read(feed.since(None))["message"] == "no database"
        feed.begin([item("1")], more=False, active=1)
        assert read(feed.since(feed.stamp - 1))["reset"]


def test_state_that_is_the_same_is_no_news() -> None:
    feed = StateFeed()
    assert feed.since(None) is None
    assert feed.put(GoneNews(id="a"))
    assert not feed.put(GoneNews(id="a"))
    assert feed.since(feed.stamp) is None
    assert feed.since(None) is not None


class Browser:
    """Takes messages when it is let; it has room for one."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.got: list[dict[str, Any]] = []
        self.reads = asyncio.Event()
        self.gone = False
        self.subscriber = Subscriber(self._send)

    async def _send(self, frame: bytes) -> None:
        if self.gone:
            raise ConnectionError("went away")
        self.got.append(json.loads(frame))
        await self.reads.wait()

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)


@asynccontextmanager
async def browser(hub: Hub) -> AsyncIterator[Browser]:
    one = Browser(hub)
    task = asyncio.create_task(one.subscriber.run())
    try:
        yield one
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_slow_browser_is_told_the_newest_and_nothing_queues() -> None:
    hub = Hub()
    async with browser(hub) as slow, browser(hub) as quick:
        quick.reads.set()
        for one in (slow, quick):
            hub.watch(one.subscriber, [A_JOB])
        for number in range(1000):
            hub.tell(A_JOB, GoneNews(id=str(number)))
            await quick.settle()

        assert [news["id"] for news in slow.got] == ["0"]
        assert len(quick.got) == 1000
        slow.reads.set()
        await slow.settle()
        assert [news["id"] for news in slow.got] == ["0", "999"]


async def test_ends_of_jobs_are_bounded_for_who_does_not_read() -> None:
    hub = Hub()
    async with browser(hub) as slow:
        hub.watch(slow.subscriber, [JOBS])
        for number in range(5000):
            hub.end(item(str(number), state=JobState.SUCCEEDED))
            await slow.settle()
        slow.reads.set()
        await slow.settle()
        for _ in range(200):
            await slow.settle()

        assert len(slow.got) <= 101
        assert slow.got[-1]["job"]["id"] == "4999"


async def test_one_topic_does_not_keep_another_waiting() -> None:
    hub = Hub()
    async with browser(hub) as one:
        one.reads.set()
        hub.watch(one.subscriber, [A_JOB, POOLS])
        hub.tell(A_JOB, GoneNews(id="0"))
        hub.tell(POOLS, PoolsNews(pools=()))
        await one.settle()

        assert [news["type"] for news in one.got] == ["gone", "pools"]


async def test_what_is_no_longer_watched_is_not_told_and_not_kept() -> None:
    hub = Hub()
    async with browser(hub) as one, browser(hub) as other:
        one.reads.set()
        hub.watch(one.subscriber, [A_JOB, POOLS])
        hub.watch(other.subscriber, [POOLS])

        hub.watch(one.subscriber, [])
        assert hub.topics == {POOLS}
        assert not hub.tell(A_JOB, GoneNews(id="0"))
        hub.tell(POOLS, PoolsNews(pools=()))
        await one.settle()

        assert one.got == []
        hub.leave(other.subscriber)
        hub.leave(other.subscriber)
        assert hub.topics == frozenset()


async def test_asking_again_is_told_again() -> None:
    hub = Hub()
    async with browser(hub) as one:
        one.reads.set()
        for _ in range(3):
            hub.watch(one.subscriber, [A_JOB])
            hub.tell(A_JOB, GoneNews(id="0"))
            await one.settle()

        assert len(one.got) == 3
