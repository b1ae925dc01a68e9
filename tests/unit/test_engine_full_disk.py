"""What the engine does where the record cannot be written, or a pool cannot be opened any more."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.errors import JobNotFound, StorageFull, Unreachable, UsageError
from jupyter_aiinfra.model import Job, JobState, PoolRecord
from jupyter_aiinfra.pools.base import Pool
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store
from jupyter_aiinfra.testing import FakeCluster
from tests.support.engines import EMPTY, POOL, House, a_spec


async def running(engine: Engine, cluster: FakeCluster) -> Job:
    job = await engine.launch(POOL, a_spec(), EMPTY)
    cluster.begin(job.id)
    return await engine.refresh(job.id)


def fill_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: Any, **__: Any) -> bool:
        raise StorageFull("no room left for the database")

    for verb in ("advance", "request"):
        monkeypatch.setattr(Store, verb, no_room)


async def test_who_asks_is_told_what_could_not_be_written_down(
    engine: Engine, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await running(engine, cluster)
    cluster.end(job.id, JobState.FAILED)
    with monkeypatch.context() as full:
        fill_disk(full)
        told = await engine.refresh(job.id)
        assert told.state is JobState.FAILED
        assert await engine.tick() == []
        assert engine.store.get_job(job.id).state is JobState.RUNNING
    assert (await engine.refresh(job.id)).state is JobState.FAILED
    assert engine.store.get_job(job.id).state is JobState.FAILED


async def test_a_job_is_stopped_although_the_wish_cannot_be_written_down(
    engine: Engine, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await running(engine, cluster)
    fill_disk(monkeypatch)
    await engine.cancel(job.id, grace=0.0)
    assert (await engine.refresh(job.id)).state is JobState.CANCELLED


async def test_removing_a_job_is_what_makes_room(
    engine: Engine, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await running(engine, cluster)
    cluster.end(job.id, JobState.FAILED)
    remove = type(engine.pool(POOL)).remove
    full = pytest.MonkeyPatch()
    fill_disk(full)

    async def make_room(pool: Any, handle: Any) -> None:
        await remove(pool, handle)
        full.undo()

    monkeypatch.setattr(type(engine.pool(POOL)), "remove", make_room)
    await engine.remove(job.id)
    with pytest.raises(JobNotFound):
        engine.store.get_job(job.id)


async def test_a_pool_that_cannot_be_opened_any_more_is_unreachable(house: House) -> None:
    house.attached()

    def opener(record: PoolRecord, settings: Settings) -> Pool:
        raise UsageError(f"pool {record.name}: its interpreter is gone")

    engine = Engine(house.attached().store, house.settings, opener=opener)
    with pytest.raises(Unreachable, match="its interpreter is gone") as caught:
        await engine.nodes(POOL)
    assert f"%pool detach {POOL}" in caught.value.hint
    (view,) = await engine.pools()
    assert (view.nodes, view.problem) == (None, f"pool {POOL}: its interpreter is gone")
