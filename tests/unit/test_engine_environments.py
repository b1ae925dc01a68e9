"""Between a launch and its pool: the environment is made first, told of, and may be given up."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest

from jupyter_aiinfra.bundle import Bundle
from jupyter_aiinfra.commands.launch import BuildNews
from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.environments import BuildStep, BuiltEnvironment, Report, read_environment
from jupyter_aiinfra.errors import PoolInUse, SubmitError, UsageError
from jupyter_aiinfra.model import EnvironmentSpec, Interpreter, JobState, Node, Plan, PoolRecord
from jupyter_aiinfra.pools.base import Building, Pool
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import open_store
from jupyter_aiinfra.testing import FakeCluster, FakePool
from jupyter_aiinfra.training import Code, LaunchLine, compose
from tests.support.engines import EMPTY, POOL, House, a_spec
from tests.unit.test_training import a_cell

OWN = EnvironmentSpec(kind="requirements", digest="a" * 64, source="requirements.txt")
BUILT = BuiltEnvironment(digest="a" * 64, folder="/envs/aa", python="/envs/aa/bin/python")


class BuildingPool(FakePool):
    """A pool whose builds end when the test says so."""

    begun: asyncio.Event
    go_on: asyncio.Event
    error: Exception | None = None

    async def prepare(self, plan: Plan, bundle: Bundle, report: Report) -> None:
        del plan, bundle
        report("n0", BuildStep(phase="installing", elapsed_seconds=1.0))
        self.begun.set()
        await self.go_on.wait()
        if self.error is not None:
            raise self.error
        report("n0", BuildStep(phase="done", elapsed_seconds=2.0, built=BUILT))

    async def environments(self) -> Sequence[tuple[str, BuiltEnvironment]]:
        return [("n0", BUILT)]

    async def remove_environment(self, digest: str) -> Sequence[tuple[str, BuiltEnvironment]]:
        return [("n0", dataclasses.replace(BUILT, digest=digest))]


class Place:
    """An engine on one building pool."""

    def __init__(self, home: Path) -> None:
        self.cluster = FakeCluster()
        self.pool = BuildingPool(self.cluster)
        self.pool.begun, self.pool.go_on = asyncio.Event(), asyncio.Event()
        settings = Settings(home=home)
        self.store = open_store(settings)
        self.store.add_pool(PoolRecord(name=POOL, kind="fake"))
        self.engine = Engine(self.store, settings, opener=self._open)

    def _open(self, record: PoolRecord, settings: Settings) -> Pool:
        del record, settings
        return self.pool


@pytest.fixture
async def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def test_a_job_is_submitted_once_its_environment_is_there(place: Place) -> None:
    assert isinstance(place.pool, Building)
    told: list[BuildStep] = []
    spec = a_spec(environment=OWN)
    launching = asyncio.create_task(
        place.engine.launch(POOL, spec, EMPTY, report=lambda _node, step: told.append(step))
    )
    await place.pool.begun.wait()
    (pending,) = place.store.list_jobs()
    assert (pending.state, place.cluster.jobs) == (JobState.PENDING, {})
    with pytest.raises(PoolInUse, match=pending.id):
        await place.engine.remove_environment(POOL, "aaaa")
    place.pool.go_on.set()
    job = await launching
    assert set(place.cluster.jobs) == {job.id}
    assert [step.phase for step in told] == ["installing", "done"]
    # Who launches without wanting to hear is told nothing, and neither is the one before.
    await place.engine.launch(POOL, spec, EMPTY)
    assert len(told) == 2
    ((node, removed),) = await place.engine.remove_environment(POOL, "bbbb")
    assert (node, removed.digest) == ("n0", "bbbb")


async def test_a_job_without_one_waits_for_nothing(place: Place) -> None:
    await place.engine.launch(POOL, a_spec(), EMPTY)
    assert not place.pool.begun.is_set()


async def test_what_cannot_be_built_is_a_failed_job(place: Place) -> None:
    place.pool.error = SubmitError("pip failed")
    place.pool.go_on.set()
    with pytest.raises(SubmitError, match="pip failed"):
        await place.engine.launch(POOL, a_spec(environment=OWN), EMPTY)
    (job,) = place.store.list_jobs()
    assert (job.state, place.cluster.jobs) == (JobState.FAILED, {})
    assert job.seen is not None
    assert job.seen.reason == "pip failed"


async def test_an_interrupted_build_leaves_no_job(place: Place) -> None:
    launching = asyncio.create_task(place.engine.launch(POOL, a_spec(environment=OWN), EMPTY))
    await place.pool.begun.wait()
    launching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await launching
    (job,) = place.store.list_jobs()
    assert job.state.final
    assert place.cluster.jobs == {}


async def test_a_job_cancelled_while_it_is_built_is_not_submitted(place: Place) -> None:
    launching = asyncio.create_task(place.engine.launch(POOL, a_spec(environment=OWN), EMPTY))
    await place.pool.begun.wait()
    (job,) = place.store.list_jobs()
    await place.engine.cancel(job.id)
    place.pool.go_on.set()
    with pytest.raises(SubmitError, match="cancelled while its environment was being built"):
        await launching
    assert place.store.get_job(job.id).state.final
    assert place.cluster.jobs == {}


async def test_a_pool_that_builds_none_says_so(house: House) -> None:
    with pytest.raises(UsageError, match="builds no environments"):
        await house.attached().environments(POOL)


def test_news_of_a_build_are_few() -> None:
    lines: list[str] = []
    news = BuildNews(lines.append)
    for second in range(12):
        news.hear("n0", BuildStep(phase="installing", elapsed_seconds=float(second)))
        news.hear("n1", BuildStep(phase="creating", elapsed_seconds=float(second)))
    news.hear("n0", BuildStep(phase="done", elapsed_seconds=12.0, built=BUILT))
    reused = dataclasses.replace(BUILT, reused=True)
    news.hear("n1", BuildStep(phase="done", elapsed_seconds=12.0, built=reused))
    assert lines == []
    news.tell()
    assert [line for line in lines if line.startswith("n0")] == [
        "n0: environment: installing, 0 s",
        "n0: environment: installing, 5 s",
        "n0: environment: installing, 10 s",
        "n0: environment built (12.0 s)",
    ]
    assert len(lines) == 7


def test_a_launch_line_with_an_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "requirements.txt").write_text("torch\naccelerate\n")
    monkeypatch.chdir(tmp_path)
    python = Interpreter(executable="/node/python", version="3.11.1")
    code: Code = a_cell()
    spec, bundle = compose(
        LaunchLine(environment="requirements.txt"),
        code,
        node=Node(name="n", address="10.0.0.1", python=python),
        settings=Settings(home=tmp_path),
    )
    assert spec.argv[0] == "${AIINFRA_PYTHON}"
    assert spec.environment == read_environment("requirements.txt", tmp_path)[0]
    assert "env/requirements.txt" in {file.path for file in bundle.files}
