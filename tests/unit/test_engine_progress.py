"""Steps in the engine: seen at every look, written down now and then; and stacks on demand."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from jupyter_aiinfra.commands import tree
from jupyter_aiinfra.commands.context import Context
from jupyter_aiinfra.commands.terminal import TerminalSurface
from jupyter_aiinfra.commands.tree import invoke
from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.errors import PoolError
from jupyter_aiinfra.model import Handle, Job, JobState, Observation, PoolRecord
from jupyter_aiinfra.pools.base import Pool, RankStacks
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.testing import FakePool
from tests.support.engines import EMPTY, POOL, House, a_spec


class Stepping(FakePool):
    """A fake pool whose ranks are at step ``at``, and answer when asked for their stacks."""

    at = 0

    async def observe(self, handle: Handle) -> Observation:
        seen = await super().observe(handle)
        ranks = tuple(dataclasses.replace(rank, step=self.at) for rank in seen.ranks)
        # When user code began is one moment, however often one looks.
        return dataclasses.replace(seen, ranks=ranks, started_at=1.0)

    async def dump_stacks(self, handle: Handle) -> Sequence[RankStacks]:
        assert handle.data["job"] in self.cluster.jobs
        return (RankStacks(rank=0, how="py-spy"), RankStacks(rank=1, problem="it does not listen"))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "home")
    yield house
    house.close()


class Bench:
    def __init__(self, house: House) -> None:
        self.cluster = house.cluster
        self.session = house.session()
        self.engine = Engine(house.attached().store, house.settings, opener=self.open)
        self.session._engine = self.engine
        self.pools: list[Stepping] = []

    def open(self, record: PoolRecord, settings: Settings) -> Pool:
        del settings
        self.pools.append(Stepping(self.cluster, name=record.name))
        return self.pools[-1]

    async def running(self) -> Job:
        job = await self.engine.launch(POOL, a_spec(procs=2), EMPTY)
        self.cluster.begin(job.id)
        return await self.engine.refresh(job.id)

    def at(self, step: int) -> None:
        for pool in self.pools:
            pool.at = step

    def recorded(self, job: Job) -> tuple[int, int | None]:
        kept = self.engine.store.get_job(job.id)
        assert kept.seen is not None
        return kept.version, kept.seen.ranks[0].step


@pytest.fixture
def bench(house: House) -> Bench:
    return Bench(house)


async def test_a_step_is_seen_at_once_and_written_down_after_a_while(bench: Bench) -> None:
    job = await bench.running()
    version, _ = bench.recorded(job)
    for step in (1, 2, 3):
        bench.at(step)
        bench.cluster.clock.advance(0.5)
        job = await bench.engine.refresh(job.id)
        assert job.seen is not None
        assert job.seen.ranks[0].step == step
    assert bench.recorded(job) == (version, 0)
    bench.cluster.clock.advance(0.5)
    await bench.engine.refresh(job.id)
    assert bench.recorded(job) == (version + 1, 3)


async def test_what_else_is_new_is_written_down_at_once_with_the_step(bench: Bench) -> None:
    job = await bench.running()
    bench.at(7)
    bench.cluster.end(job.id, JobState.SUCCEEDED)
    job = await bench.engine.refresh(job.id)
    assert job.state is JobState.SUCCEEDED
    assert bench.recorded(job)[1] == 7


async def test_where_nothing_moves_nothing_is_written(bench: Bench) -> None:
    job = await bench.running()
    before = bench.recorded(job)
    bench.cluster.clock.advance(60.0)
    await bench.engine.refresh(job.id)
    assert bench.recorded(job) == before


def say(bench: Bench, job: Job) -> None:
    context = Context(session=bench.session, surface=TerminalSurface(bench.session))
    invoke(tree.jobs, ["stacks", job.id], name="jobs", context=context)


def running(bench: Bench) -> Job:
    return bench.session.run(bench.running())


def test_the_verb_tells_of_each_rank_and_where_to_look(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    job = running(bench)
    say(bench, job)
    assert capsys.readouterr().out.splitlines() == [
        "rank 0: its stacks are in its log now (by py-spy)",
        "rank 1: no stacks: it does not listen",
        f"see them with: jobs logs {job.id} --rank N",
    ]


def test_a_job_that_is_over_has_no_stacks(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    job = running(bench)
    bench.cluster.end(job.id, JobState.SUCCEEDED)
    say(bench, job)
    assert capsys.readouterr().out == f"no rank of job {job.id} runs: succeeded\n"


def test_a_pool_that_cannot_ask_says_so(house: House) -> None:
    session = house.session()
    job = session.run(session.engine.launch(POOL, a_spec(), EMPTY))
    with pytest.raises(PoolError, match="cannot ask ranks for their stacks"):
        session.run(session.engine.dump_stacks(job.id))
