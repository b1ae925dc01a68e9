"""The loops: what they do, how often, and what happens when something fails."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from jupyter_events import EventLogger
from traitlets.config import Config

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.errors import JobNotFound, Unreachable
from jupyter_aiinfra.model import JobState
from jupyter_aiinfra.server import background
from jupyter_aiinfra.server.background import Background
from jupyter_aiinfra.server.events import EventBus
from jupyter_aiinfra.server.hub import JOBS, POOLS, Hub, Subscriber
from jupyter_aiinfra.server.pace import Alarm, Paces
from jupyter_aiinfra.server.pools import PoolBoard
from jupyter_aiinfra.server.record import StoreFile
from jupyter_aiinfra.server.shared import SharedEngine
from jupyter_aiinfra.server.wire import LogRow, LogRows, PoolItem, PoolStatus, Topic
from jupyter_aiinfra.testing import FakeCluster
from tests.support.browser import eventually
from tests.support.engines import EMPTY, POOL, House, a_spec

LOG = Topic(topic="log", id="0abc", rank=0)


class FakeBook:
    """A log that is as long as told."""

    def __init__(self) -> None:
        self.lines = 0
        self.complete = False
        self.error: Exception | None = None
        self.asked: list[tuple[str, int, int, int]] = []

    async def rows(self, job_id: str, rank: int, first: int, count: int) -> LogRows:
        self.asked.append((job_id, rank, first, count))
        if self.error is not None:
            raise self.error
        shown = range(max(self.lines + first, 0), self.lines)
        return LogRows(
            rank=rank,
            first=shown.start,
            rows=tuple(LogRow(text=f"line {n}", line=n + 1) for n in shown),
            total_rows=self.lines,
            total_lines=self.lines,
            total_bytes=10 * self.lines,
            complete=self.complete,
        )


class Room:
    """A background over a fake cluster, and a browser that takes everything."""

    def __init__(self, house: House, **speeds: float) -> None:
        self.house = house
        self.cluster = house.cluster
        self.opened = 0
        self.shared = SharedEngine(self._open)
        self.board = PoolBoard(self.shared)
        self.book = FakeBook()
        self.hub = Hub()
        quick = {
            "idle_seconds": 0.02,
            "watch_seconds": 0.02,
            "calm_seconds": 0.02,
            "refresh_seconds": 0.05,
        }
        self.background = Background(
            self.shared,
            hub=self.hub,
            bus=EventBus(EventLogger()),
            board=self.board,
            book=self.book,
            config=Config({"Background": {**quick, **speeds}}),
        )
        self.told: list[bytes] = []
        self.browser = Subscriber(self._tell)
        self.moved = asyncio.Event()

    def _open(self) -> Engine:
        self.opened += 1
        return self.house.engine()

    async def _tell(self, frame: bytes) -> None:
        self.told.append(frame)
        self.moved.set()


@pytest.fixture
def house(aiinfra_home: Path) -> House:
    return House(aiinfra_home, FakeCluster())


@asynccontextmanager
async def open_room(house: House, **speeds: float) -> AsyncIterator[Room]:
    room = Room(house, **speeds)
    telling = asyncio.create_task(room.browser.run())
    room.background.start()
    try:
        yield room
    finally:
        await room.background.stop()
        await room.background.stop()
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)
        await room.board.close()
        await room.shared.close()
        house.close()


async def test_nothing_is_made_where_nothing_was_used(house: House, aiinfra_home: Path) -> None:
    async with open_room(house) as room:
        await asyncio.sleep(0.2)

        assert room.opened == 0
        assert not aiinfra_home.exists()


async def test_job_is_brought_to_its_end_with_nobody_watching(house: House) -> None:
    engine = house.attached()
    async with open_room(house) as room:
        job = await engine.launch(POOL, a_spec(), EMPTY)
        house.cluster.end(job.id, JobState.FAILED)

        await eventually(lambda: engine.store.get_job(job.id).state is JobState.FAILED)
        await eventually(lambda: not room.background.record.active)


async def test_silent_pool_holds_up_no_other_and_is_asked_less_and_less(house: House) -> None:
    engine = house.attached()
    asked: list[float] = []
    async with open_room(house, refresh_seconds=0.02) as room:
        job = await engine.launch(POOL, a_spec(), EMPTY)
        await eventually(lambda: job.id in room.background.record.active)
        room.cluster.reachable = False
        refresh = Engine.refresh

        async def counted(self: Engine, job_id: str) -> Any:
            asked.append(time.monotonic())
            return await refresh(self, job_id)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Engine, "refresh", counted)
            await eventually(lambda: len(asked) >= 5)
        # Doubled each time. The times themselves tell of the machine's other work as well.
        assert room.background._jobs.of(job.id).pause >= 8 * 0.02

        # Once it answers again the job is found as it is.
        room.cluster.reachable = True
        room.cluster.end(job.id, JobState.SUCCEEDED)
        await eventually(lambda: engine.store.get_job(job.id).state is JobState.SUCCEEDED)


async def test_pools_are_asked_while_watched_only(house: House) -> None:
    house.attached()
    asked: list[str] = []
    async with open_room(house, pool_seconds=0.05) as room:
        check = room.board.check

        async def counted(name: str) -> Any:
            asked.append(name)
            return await check(name)

        room.board.check = counted  # type: ignore[method-assign]
        await asyncio.sleep(0.2)
        assert asked == []

        room.hub.watch(room.browser, [POOLS])
        await eventually(lambda: len(asked) >= 2)
        room.hub.watch(room.browser, [])
        await asyncio.sleep(0.1)
        before = len(asked)
        await asyncio.sleep(1.2)

        assert len(asked) == before


async def test_pool_in_part_is_asked_again_sooner_than_one_that_is_silent(house: House) -> None:
    house.attached()
    speeds = {"pool_seconds": 40.0, "pool_degraded_seconds": 10.0, "pool_longest_seconds": 300.0}
    async with open_room(house, **speeds) as room:

        def pauses(*statuses: PoolStatus) -> list[float]:
            room.background._pools.keep(())
            found = []
            for number, status in enumerate(statuses, start=1):
                pool = a_pool(status, checked_at=1000.0 * number)
                found.append(room.background._pool_due(pool) - 1000.0 * number)
                assert room.background._pool_due(pool) == 1000.0 * number + found[-1]
            return found

        live, part, silent = PoolStatus.LIVE, PoolStatus.DEGRADED, PoolStatus.UNREACHABLE
        assert pauses(live, part, part, part, part) == [40, 10, 20, 40, 40]
        assert pauses(live, silent, silent, silent, silent) == [40, 80, 160, 300, 300]
        assert pauses(silent, silent, part, live) == [40, 80, 10, 40]


def a_pool(status: PoolStatus, *, checked_at: float) -> PoolItem:
    return PoolItem(
        name=POOL,
        kind="fake",
        options={},
        created_at=0.0,
        active_jobs=0,
        status=status,
        checked_at=checked_at,
    )


async def test_job_of_a_silent_pool_says_when_it_was_last_heard(house: House) -> None:
    engine = house.attached()
    async with open_room(house) as room:
        job = await engine.launch(POOL, a_spec(), EMPTY)
        room.hub.watch(room.browser, [Topic(topic="job", id=job.id)])

        def last() -> Any:
            news = [json.loads(frame) for frame in room.told]
            return next((one["detail"] for one in reversed(news) if one["type"] == "job"), None)

        await eventually(lambda: last() is not None and job.id in room.background.record.active)
        house.cluster.reachable = False
        await eventually(lambda: last()["silence"] is not None)
        assert last()["silence"]["message"] == "pool fake does not answer"
        assert last()["item"]["state"] == "starting"
        assert engine.store.get_job(job.id).state is JobState.STARTING

        house.cluster.reachable = True
        await eventually(lambda: last()["silence"] is None)


async def test_flood_is_told_a_few_times_a_second(house: House) -> None:
    async with open_room(house) as room:
        room.hub.watch(room.browser, [LOG])
        await eventually(lambda: room.told)
        begun_at = time.monotonic()
        while time.monotonic() - begun_at < 1.5:
            room.book.lines += 100
            await asyncio.sleep(0.01)
        elapsed = time.monotonic() - begun_at

        assert 2 <= len(room.told) <= 8 * elapsed + 2
        assert max(len(frame) for frame in room.told) < 200 * 100
        # No more is asked for than is told.
        assert {asked[2:] for asked in room.book.asked} == {(-200, 200)}


async def test_log_that_rests_is_no_news_and_complete_is_not_asked_again(house: House) -> None:
    async with open_room(house, log_longest_seconds=0.05) as room:
        room.book.lines = 3
        room.hub.watch(room.browser, [LOG])
        await eventually(lambda: len(room.book.asked) >= 5)
        assert len(room.told) == 1

        room.book.complete = True
        await eventually(lambda: len(room.told) == 2)
        asked = len(room.book.asked)
        await asyncio.sleep(0.3)
        assert len(room.book.asked) == asked


@pytest.mark.parametrize(
    ("error", "told"), [(JobNotFound("0abc"), b"gone"), (Unreachable("away"), b"problem")]
)
async def test_log_that_cannot_be_read_is_told_and_tried_again(
    house: House, error: Exception, told: bytes
) -> None:
    async with open_room(house) as room:
        room.book.error = error
        room.hub.watch(room.browser, [LOG])
        await eventually(lambda: room.told)
        assert told in room.told[0]

        room.book.error = None
        room.hub.watch(room.browser, [])
        room.hub.watch(room.browser, [LOG])
        await eventually(lambda: any(b'"log"' in frame for frame in room.told))


async def test_failing_loop_is_logged_once_goes_on_and_says_when_it_works(
    house: House, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "_FAILED_PAUSE_SECONDS", 0.05)
    caplog.set_level(logging.INFO)
    async with open_room(house) as room:
        room.background.log.addHandler(caplog.handler)
        room.book.error = RuntimeError("a defect")
        room.hub.watch(room.browser, [LOG])
        await eventually(lambda: len(room.book.asked) >= 2)
        room.book.error = None
        await eventually(lambda: room.told)
        room.background.log.removeHandler(caplog.handler)

    failures = [record for record in caplog.records if "failed" in record.message]
    assert len({id(record) for record in failures}) == 1
    assert failures[0].exc_info is not None
    assert any("works again" in record.message for record in caplog.records)


async def test_another_database_in_its_place_is_told_anew(house: House, aiinfra_home: Path) -> None:
    engine = house.attached()
    empty = (aiinfra_home / "aiinfra.db").read_bytes()
    async with open_room(house) as room:
        for _ in range(3):
            await engine.launch(POOL, a_spec(), EMPTY)
        room.hub.watch(room.browser, [JOBS])
        await eventually(lambda: any(b'"active":3' in frame for frame in room.told))

        (aiinfra_home / "aiinfra.db").write_bytes(empty)

        anew = b'"active":0,"reset":true'
        await eventually(lambda: any(anew in frame for frame in room.told))


async def test_record_is_asked_less_and_less_while_its_file_rests(
    house: House, aiinfra_home: Path
) -> None:
    house.attached()
    speeds = {"calm_seconds": 0.01, "sure_seconds": 0.05, "sure_longest_seconds": 0.4}
    async with open_room(house, idle_seconds=0.01, **speeds) as room:
        pauses: list[float] = []
        look = room.background.record.look

        async def noted() -> None:
            pauses.append(room.background._sure_pause)
            await look()

        room.background.record.look = noted  # type: ignore[method-assign]
        await eventually(lambda: pauses[-3:] == [0.4, 0.4, 0.4])
        assert {0.1, 0.2} <= set(pauses)

        # What is written is seen at once all the same, and then looked after closely again.
        pauses.clear()
        os.utime(aiinfra_home / "aiinfra.db", ns=(1, 1))
        await eventually(lambda: 0.05 in pauses)
        assert set(pauses[: pauses.index(0.05)]) <= {0.4}


class TestStoreFile:
    def test_tells_that_something_was_written(self, tmp_path: Path) -> None:
        file = StoreFile("sqlite:///" + str(tmp_path / "db"))
        assert file.missing
        assert file.moved()
        (tmp_path / "db").write_bytes(b"1")
        assert not file.missing
        assert file.moved()
        assert not file.moved()
        os.utime(tmp_path / "db", ns=(1, 1))
        assert file.moved()

    def test_database_server_has_none(self) -> None:
        file = StoreFile("postgresql://user@db/team")
        assert not file.missing
        assert file.moved()
        assert file.moved()


async def test_alarm_ends_a_pause_and_is_not_lost() -> None:
    alarm = Alarm()
    assert not await alarm.wait(0.01)
    alarm.ring()
    assert await alarm.wait(60)
    waiting = asyncio.create_task(alarm.wait(60))
    await asyncio.sleep(0)
    alarm.ring()
    assert await waiting
    assert not await alarm.wait(0.01)


def test_paces_are_due_at_once_and_forgotten() -> None:
    paces = Paces()
    assert paces.of("a").due_at == 0
    paces.rest("a", 60)
    paces.of("b")
    assert paces.of("a").due_at > time.monotonic() + 59
    paces.keep({"b"})
    assert paces.of("a").due_at == 0
