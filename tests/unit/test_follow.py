from __future__ import annotations

import time

import pytest

from jupyter_aiinfra.commands import watch
from jupyter_aiinfra.follow import Follower
from jupyter_aiinfra.model import Job, JobState
from tests.support.engines import EMPTY, POOL, House, a_spec, orphaned


async def begun(house: House) -> tuple[Job, Follower]:
    engine = house.attached()
    job = await engine.launch(POOL, a_spec(), EMPTY)
    house.cluster.begin(job.id)
    job = await engine.refresh(job.id)
    return job, Follower(engine, job)


async def test_each_poll_brings_the_bytes_that_are_new(house: House) -> None:
    job, follower = await begun(house)
    logs = house.cluster.jobs[job.id].logs
    logs[0] = b"one\n"
    first = await follower.poll()
    logs[0] += b"two\n"
    second = await follower.poll()
    third = await follower.poll()
    assert [(c.rank, c.offset, c.data) for c in first.chunks] == [(0, 0, b"one\n")]
    assert [(c.rank, c.offset, c.data) for c in second.chunks] == [(0, 4, b"two\n")]
    assert third.chunks == []
    assert not third.complete


async def test_the_pool_is_looked_up_once_an_observation_and_not_for_each_rank(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, follower = await begun(house)
    await follower.poll()
    follower._observed_at = float("inf")  # no observation is due for the rest of the test
    asked: list[str] = []
    store = house.attached().store
    monkeypatch.setattr(type(store), "get_pool", lambda _self, name: asked.append(name))
    monkeypatch.setattr(type(store), "get_job", lambda _self, name: asked.append(name))
    for _ in range(5):
        await follower.poll()
    assert asked == []


async def test_the_end_is_complete_only_with_all_of_the_log(house: House) -> None:
    job, follower = await begun(house)
    fake = house.cluster.jobs[job.id]
    fake.logs[0] = b"last words\n"
    fake.state = JobState.SUCCEEDED
    follower._observed_at = float("-inf")
    news = await follower.poll()
    assert news.complete
    assert b"".join(chunk.data for chunk in news.chunks) == b"last words\n"


async def test_a_long_job_is_observed_less_often(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    _, follower = await begun(house)

    def seconds_between() -> float:
        nonlocal now
        assert follower._observation_due()
        begun_at = now
        while not follower._observation_due():
            now += 0.01
        return now - begun_at

    assert seconds_between() == pytest.approx(0.25, abs=0.02)
    now += 25.0
    assert seconds_between() == pytest.approx(0.5, abs=0.05)
    now += 3600.0
    assert seconds_between() == pytest.approx(1.0, abs=0.02)


async def test_a_pool_that_does_not_answer_is_said_and_nothing_is_lost(house: House) -> None:
    job, follower = await begun(house)
    house.cluster.write(job.id, b"one\n")
    house.cluster.reachable = False
    away = await follower.poll()
    assert (away.unreachable, away.complete) == (f"pool {POOL} does not answer", False)
    assert away.job == job
    house.cluster.end(job.id, JobState.SUCCEEDED)
    house.cluster.reachable = True
    follower._observed_at = float("-inf")
    back = await follower.poll()
    assert (back.unreachable, back.complete) == (None, True)
    assert [chunk.data for chunk in back.chunks] == [b"one\n"]


async def test_an_end_whose_logs_cannot_be_read_yet_is_not_complete(house: House) -> None:
    job, follower = await begun(house)
    house.cluster.end(job.id, JobState.SUCCEEDED)
    follower = Follower(house.attached(), await house.attached().refresh(job.id))
    house.cluster.write(job.id, b"last words\n")
    house.cluster.reachable = False
    assert not (await follower.poll()).complete
    house.cluster.reachable = True
    news = await follower.poll()
    assert news.complete
    assert [chunk.data for chunk in news.chunks] == [b"last words\n"]


async def test_a_flood_is_shown_in_parts(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jupyter_aiinfra.follow._POLL_BYTES", 4)
    job, _ = await begun(house)
    house.cluster.write(job.id, b"abcdefgh")
    house.cluster.end(job.id, JobState.SUCCEEDED)
    engine = house.attached()
    follower = Follower(engine, await engine.refresh(job.id), offsets={0: 2})
    first, second = await follower.poll(), await follower.poll()
    assert [(chunk.offset, chunk.data) for chunk in first.chunks] == [(2, b"cdefgh")]
    assert not first.complete
    assert second.complete


async def test_a_job_that_never_reached_its_pool_has_no_log(house: House) -> None:
    engine, job = house.attached(), orphaned()
    engine.store.add_job(job)
    news = await Follower(engine, job).poll()
    assert (news.job.state, news.chunks, news.complete) == (JobState.FAILED, [], True)


@pytest.mark.parametrize(
    ("spent", "pause"), [(0.0, 0.12), (0.001, 0.12), (0.002, 0.2), (0.05, 0.25)]
)
def test_what_takes_long_to_show_is_shown_less_often(spent: float, pause: float) -> None:
    assert watch._pause(spent, quiet=0) == pytest.approx(pause)
    assert 1 / watch._pause(spent, quiet=0) < 10


def test_a_job_that_prints_nothing_is_looked_at_less_often_after_a_while() -> None:
    pauses = [watch._pause(0.0, quiet=quiet) for quiet in range(20)]
    assert pauses[0] == pytest.approx(0.12)
    assert pauses[-1] == pytest.approx(0.4)
