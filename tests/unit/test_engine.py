from __future__ import annotations

import asyncio
import dataclasses
import getpass
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from jupyter_aiinfra.aio import collect
from jupyter_aiinfra.bundle import Bundle, bundle_file, place
from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.errors import (
    Conflict,
    JobNotFound,
    PoolError,
    PoolExists,
    PoolInUse,
    PoolNotFound,
    StorageFull,
    SubmitError,
    Unreachable,
    UsageError,
)
from jupyter_aiinfra.model import (
    Desired,
    Handle,
    Job,
    JobState,
    Node,
    Observation,
    Plan,
    PoolRecord,
)
from jupyter_aiinfra.node import supervise
from jupyter_aiinfra.pools.base import Pool
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.testing import FakeCluster, FakePool
from tests.support.engines import EMPTY, POOL, House, a_spec, orphaned


async def running(engine: Engine, cluster: FakeCluster) -> Job:
    job = await engine.launch(POOL, a_spec(), EMPTY)
    cluster.begin(job.id)
    return await engine.refresh(job.id)


class Recorder(FakePool):
    """A fake pool that notes what it is asked for, and can be told to behave otherwise."""

    def __init__(self, cluster: FakeCluster, *, name: str) -> None:
        super().__init__(cluster, name=name)
        self.closed = 0
        self.cancels: list[float] = []
        self.adopted: list[str] = []
        self.supervised = True
        self.gate: asyncio.Event | None = None
        self.folder: Path | None = None

    async def submit(
        self, plan: Plan, bundle: Bundle, *, secrets: Mapping[str, str] | None = None
    ) -> Handle:
        if self.gate is not None:
            await self.gate.wait()
        return await super().submit(plan, bundle, secrets=secrets)

    async def observe(self, handle: Handle) -> Observation:
        seen = await super().observe(handle)
        return dataclasses.replace(seen, supervised=self.supervised or seen.state.final)

    async def cancel(self, handle: Handle, *, grace: float) -> None:
        await super().cancel(handle, grace=grace)
        self.cancels.append(grace)

    async def adopt(self, handle: Handle) -> None:
        self.adopted.append(handle.data["job"])
        self.supervised = True

    async def results(self, handle: Handle) -> Path | None:
        await super().results(handle)
        return self.folder

    async def aclose(self) -> None:
        self.closed += 1


class Recorded:
    """An engine whose pools are recorders."""

    def __init__(self, house: House) -> None:
        self.pools: list[Recorder] = []
        self.cluster = house.cluster
        self.engine = Engine(house.attached().store, house.settings, opener=self.open)

    def open(self, record: PoolRecord, settings: Settings) -> Pool:
        assert settings is self.engine.settings
        self.pools.append(Recorder(self.cluster, name=record.name))
        return self.pools[-1]

    @property
    def pool(self) -> Recorder:
        """The pool that jobs are on."""
        pool = self.engine.pool(POOL)
        assert isinstance(pool, Recorder)
        return pool


@pytest.fixture
def recorded(house: House) -> Recorded:
    return Recorded(house)


# pools


async def test_attach_tells_what_is_there_and_is_recorded(house: House) -> None:
    engine = house.engine()
    view = await engine.attach("gpus", kind="fake", options={"max_procs": "4"})
    assert (view.record.name, view.record.kind, view.active_jobs) == ("gpus", "fake", 0)
    assert view.nodes == house.cluster.nodes
    assert view.problem is None
    assert house.engine().store.get_pool("gpus").options == {"max_procs": "4"}


async def test_attaching_the_same_pool_again_keeps_its_record(house: House) -> None:
    first = await house.engine().attach("gpus", kind="fake", options={"a": 1})
    again = await house.engine().attach("gpus", kind="fake", options={"a": 1})
    assert again.record == first.record
    assert len(house.engine().store.list_pools()) == 1


@pytest.mark.parametrize(("kind", "options"), [("other", {"a": 1}), ("fake", {"a": 2})])
async def test_a_taken_name_is_refused_to_another_pool(
    recorded: Recorded, kind: str, options: dict[str, int]
) -> None:
    await recorded.engine.attach("gpus", kind="fake", options={"a": 1})
    with pytest.raises(PoolExists, match="'gpus'"):
        await recorded.engine.attach("gpus", kind=kind, options=options)
    assert recorded.engine.store.get_pool("gpus").kind == "fake"
    assert [pool.closed for pool in recorded.pools] == [0, 1]


async def test_nothing_is_kept_of_a_pool_that_does_not_answer(
    recorded: Recorded, cluster: FakeCluster
) -> None:
    cluster.reachable = False
    with pytest.raises(Unreachable):
        await recorded.engine.attach("gpus", kind="fake")
    assert [record.name for record in recorded.engine.store.list_pools()] == [POOL]
    assert [pool.closed for pool in recorded.pools] == [1]


@pytest.mark.parametrize("name", ["", "a b", "ä", "../up", "x" * 64, "a/b"])
async def test_a_name_that_cannot_be_one_is_refused(engine: Engine, name: str) -> None:
    with pytest.raises(UsageError, match="is no name for a pool") as caught:
        await engine.attach(name, kind="fake")
    assert repr(name) in caught.value.message
    assert caught.value.hint


async def test_detach_forgets_the_pool_and_closes_it(recorded: Recorded) -> None:
    await recorded.engine.attach("gpus", kind="fake")
    await recorded.engine.detach("gpus")
    assert recorded.pools[0].closed == 1
    with pytest.raises(PoolNotFound, match="'gpus'"):
        recorded.engine.pool("gpus")
    with pytest.raises(PoolNotFound):
        await recorded.engine.detach("gpus")


async def test_detach_of_a_pool_never_opened_here(house: House, engine: Engine) -> None:
    await house.engine().detach(POOL)
    assert engine.store.list_pools() == []


async def test_a_pool_with_jobs_is_detached_only_by_force(
    engine: Engine, cluster: FakeCluster
) -> None:
    job = await running(engine, cluster)
    with pytest.raises(PoolInUse, match=job.id) as caught:
        await engine.detach(POOL)
    assert f"%pool detach {POOL} --force" in caught.value.hint
    await engine.detach(POOL, force=True)
    assert cluster.jobs[job.id].state is JobState.RUNNING
    await engine.attach(POOL, kind="fake")
    assert (await engine.refresh(job.id)).state is JobState.RUNNING


async def test_a_pool_is_detached_once_its_jobs_are_over(
    engine: Engine, cluster: FakeCluster
) -> None:
    job = await running(engine, cluster)
    cluster.end(job.id, JobState.SUCCEEDED)
    await engine.refresh(job.id)
    await engine.detach(POOL)
    assert (await engine.refresh(job.id)).state is JobState.SUCCEEDED


async def test_a_pool_attached_anew_elsewhere_is_opened_anew_here(
    house: House, recorded: Recorded
) -> None:
    before = recorded.pool
    assert recorded.pool is before
    other = house.engine()
    await other.detach(POOL)
    await other.attach(POOL, kind="fake", options={"a": 1})
    assert recorded.pool is not before


async def test_pools_are_shown_and_an_unreachable_one_is_no_error(
    engine: Engine, cluster: FakeCluster
) -> None:
    await running(engine, cluster)
    await engine.attach("another", kind="fake")
    views = await engine.pools()
    assert [view.record.name for view in views] == ["another", POOL]
    assert [view.active_jobs for view in views] == [0, 1]
    assert await engine.nodes(POOL) == cluster.nodes
    cluster.reachable = False
    view = await engine.show_pool(POOL)
    assert (view.nodes, view.problem, view.active_jobs) == (None, f"pool {POOL} does not answer", 1)
    with pytest.raises(Unreachable):
        await engine.nodes(POOL)


# launch


async def test_plan_changes_nothing(engine: Engine, cluster: FakeCluster) -> None:
    plan = await engine.plan(POOL, a_spec())
    assert plan.job.state is JobState.PENDING
    assert cluster.jobs == {}
    assert engine.store.list_jobs() == []
    assert (await engine.plan(POOL, a_spec(), job_id="mine")).job.id == "mine"


async def test_a_job_needs_a_name(engine: Engine) -> None:
    with pytest.raises(UsageError, match="'no name' is no name for a job"):
        await engine.plan(POOL, a_spec("no name"))


async def test_launch_records_submits_and_binds(engine: Engine, cluster: FakeCluster) -> None:
    job = await engine.launch(POOL, a_spec(), EMPTY, secrets={"TOKEN": "hush"})
    assert job == engine.store.get_job(job.id)
    assert (job.state, job.desired, job.seen) == (JobState.STARTING, Desired.RUN, None)
    assert job.handle == Handle(kind="fake", data={"job": job.id})
    there = cluster.jobs[job.id]
    assert (there.submits, there.secrets) == (1, {"TOKEN": "hush"})
    assert "hush" not in repr(job)
    assert (job.spec.origin.user, job.spec.origin.host) == (getpass.getuser(), socket.gethostname())
    assert supervise.alive(job.spec.origin.process)


async def test_launch_on_a_pool_that_is_not_there(engine: Engine) -> None:
    with pytest.raises(PoolNotFound, match="'fale'") as caught:
        await engine.launch("fale", a_spec(), EMPTY)
    assert caught.value.hint == "did you mean fake?"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SubmitError("no room for two"), "no room for two"),
        (StorageFull("the disk is full"), "the disk is full"),
        (Unreachable("no answer"), "no answer"),
        (RuntimeError(), "RuntimeError"),
    ],
)
async def test_a_launch_that_fails_is_recorded_with_its_reason(
    recorded: Recorded, error: Exception, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **__: object) -> Handle:
        raise error

    monkeypatch.setattr(recorded.pool, "submit", refuse)
    with pytest.raises(type(error)):
        await recorded.engine.launch(POOL, a_spec(), EMPTY)
    (job,) = recorded.engine.store.list_jobs()
    assert (job.state, job.handle) == (JobState.FAILED, None)
    assert job.seen is not None
    assert job.seen.reason == reason


async def test_a_refusal_of_the_pool_is_told(engine: Engine, cluster: FakeCluster) -> None:
    cluster.refuse = "quota exceeded"
    with pytest.raises(SubmitError, match="quota exceeded"):
        await engine.launch(POOL, a_spec(), EMPTY)
    assert cluster.jobs == {}


async def held(recorded: Recorded) -> asyncio.Task[Job]:
    """Return a launch whose pool has not yet taken the job, which is on record."""
    recorded.pool.gate = asyncio.Event()
    launch = asyncio.ensure_future(recorded.engine.launch(POOL, a_spec(), EMPTY))
    for _ in range(100):
        if recorded.engine.store.list_jobs():
            return launch
        await asyncio.sleep(0)
    pytest.fail("the launch records no job")


async def interrupted(recorded: Recorded) -> asyncio.Task[Job]:
    """Return a launch that was interrupted while its pool was taking the job."""
    launch = await held(recorded)
    launch.cancel()
    await asyncio.sleep(0)
    return launch


async def test_an_interrupted_launch_ends_its_job(recorded: Recorded) -> None:
    launch = await interrupted(recorded)
    # The wish is on record before the pool has answered: should we be killed, others see to it.
    (job,) = recorded.engine.store.list_jobs()
    assert (job.state, job.desired) == (JobState.PENDING, Desired.STOP)
    assert recorded.pool.gate is not None
    recorded.pool.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await launch
    assert (await recorded.engine.refresh(job.id)).state is JobState.CANCELLED
    assert recorded.pool.cancels == [0.0]
    assert recorded.cluster.jobs[job.id].state is JobState.CANCELLED


async def test_an_interrupted_launch_that_fails_anyway(recorded: Recorded) -> None:
    launch = await interrupted(recorded)
    recorded.cluster.refuse = "quota exceeded"
    assert recorded.pool.gate is not None
    recorded.pool.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await launch
    (job,) = recorded.engine.store.list_jobs()
    assert job.state is JobState.FAILED
    assert job.seen is not None
    assert job.seen.reason == "interrupted while starting; quota exceeded"


async def test_a_job_given_up_meanwhile_is_not_left_running(
    recorded: Recorded, cluster: FakeCluster
) -> None:
    launch = await held(recorded)
    (job,) = recorded.engine.store.list_jobs()
    assert recorded.engine.store.fail_pending(job.id, reason="given up")
    assert recorded.pool.gate is not None
    recorded.pool.gate.set()
    with pytest.raises(SubmitError, match=f"job {job.id} was given up") as caught:
        await launch
    assert "launch it again" in caught.value.hint
    assert cluster.jobs[job.id].state is JobState.CANCELLED
    assert recorded.engine.store.get_job(job.id).state is JobState.FAILED


async def test_a_job_bound_by_another_process_meanwhile_is_launched_all_the_same(
    recorded: Recorded, cluster: FakeCluster
) -> None:
    launch = await held(recorded)
    (job,) = recorded.engine.store.list_jobs()
    handle = Handle(kind="fake", data={"job": job.id})
    assert recorded.engine.store.bind(job.id, handle=handle)
    assert recorded.pool.gate is not None
    recorded.pool.gate.set()
    assert await launch == recorded.engine.store.get_job(job.id)
    assert cluster.jobs[job.id].state is JobState.STARTING


async def test_a_job_given_up_on_a_pool_that_went_away_is_reported_later(
    recorded: Recorded, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = await held(recorded)
    (job,) = recorded.engine.store.list_jobs()
    recorded.engine.store.fail_pending(job.id, reason="given up")

    async def lost(*_: object, **__: object) -> None:
        raise Unreachable("pool fake does not answer")

    assert recorded.pool.gate is not None
    recorded.pool.gate.set()
    with monkeypatch.context() as patch:
        patch.setattr(recorded.pool, "cancel", lost)
        with pytest.raises(SubmitError, match=r"given up .* does not answer") as caught:
            await launch
    assert f"%pool reconcile {POOL}" in caught.value.hint
    assert (await recorded.engine.reconcile(POOL)).orphans == (job.id,)
    cluster.end(job.id, JobState.CANCELLED)
    assert (await recorded.engine.reconcile(POOL)).orphans == ()


async def test_rerun_is_a_new_job_with_the_same_code_and_data(
    engine: Engine, cluster: FakeCluster, tmp_path: Path
) -> None:
    bundle = Bundle(files=(bundle_file("cell.py", "print(1)\n"),))
    place(bundle, blobs=engine.settings.blobs, run_dir=tmp_path / "run")
    spec = a_spec(files=bundle.refs(), secrets=("TOKEN",))
    old = await engine.launch(POOL, spec, bundle, secrets={"TOKEN": "one"})
    new = await engine.rerun(old.id, secrets={"TOKEN": "two"})
    assert new.id != old.id
    assert dataclasses.replace(new.spec, origin=old.spec.origin) == old.spec
    assert cluster.jobs[new.id].secrets == {"TOKEN": "two"}
    with pytest.raises(JobNotFound):
        await engine.rerun("never")


# watch


async def test_refresh_writes_down_what_is_new(engine: Engine, cluster: FakeCluster) -> None:
    job = await engine.launch(POOL, a_spec(), EMPTY)
    cluster.begin(job.id)
    now = await engine.refresh(job.id)
    assert (now.state, now.version) == (JobState.RUNNING, job.version + 1)
    assert now.started_at == cluster.clock()
    cluster.end(job.id, JobState.FAILED)
    end = await engine.refresh(job.id[:11])
    assert end.state is JobState.FAILED
    assert end.seen is not None
    assert (end.seen.reason, end.seen.failed_rank) == ("rank 0 failed", 0)
    assert end == engine.store.get_job(job.id)


async def test_refresh_writes_nothing_where_nothing_is_new(
    engine: Engine, cluster: FakeCluster
) -> None:
    job = await engine.launch(POOL, a_spec(), EMPTY)
    job = await engine.refresh(job.id)
    version = engine.store.version()
    cluster.clock.advance(60)
    assert await engine.refresh(job.id) == job
    assert engine.store.version() == version


async def test_a_job_that_is_over_is_not_observed_again(
    engine: Engine, cluster: FakeCluster
) -> None:
    job = await running(engine, cluster)
    cluster.end(job.id, JobState.SUCCEEDED)
    end = await engine.refresh(job.id)
    cluster.reachable = False
    assert await engine.refresh(job.id) == end


async def test_an_unreachable_pool_raises_and_changes_nothing(
    engine: Engine, cluster: FakeCluster
) -> None:
    job = await running(engine, cluster)
    cluster.reachable = False
    cluster.end(job.id, JobState.SUCCEEDED)
    with pytest.raises(Unreachable):
        await engine.refresh(job.id)
    assert engine.store.get_job(job.id) == job
    cluster.reachable = True
    assert (await engine.refresh(job.id)).state is JobState.SUCCEEDED


async def test_a_job_without_a_supervisor_gets_one(recorded: Recorded) -> None:
    job = await running(recorded.engine, recorded.cluster)
    recorded.pool.supervised = False
    seen = (await recorded.engine.refresh(job.id)).seen
    assert seen is not None
    assert not seen.supervised
    assert recorded.pool.adopted == [job.id]
    await recorded.engine.refresh(job.id)
    assert recorded.pool.adopted == [job.id]


async def test_a_pool_that_cannot_adopt_is_not_asked_to(
    engine: Engine, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await running(engine, cluster)
    observe = FakePool.observe

    async def alone(self: FakePool, handle: Handle) -> Observation:
        return dataclasses.replace(await observe(self, handle), supervised=False)

    monkeypatch.setattr(FakePool, "observe", alone)
    assert (await engine.refresh(job.id)).state is JobState.RUNNING


async def test_a_stop_the_node_does_not_know_of_is_asked_for_again(recorded: Recorded) -> None:
    job = await running(recorded.engine, recorded.cluster)
    await recorded.engine.cancel(job.id)
    recorded.cluster.jobs[job.id].told_to_stop = False
    await recorded.engine.refresh(job.id)
    assert recorded.pool.cancels == [job.spec.grace_seconds] * 2
    await recorded.engine.refresh(job.id)
    assert len(recorded.pool.cancels) == 2


async def test_a_pending_job_is_left_alone_while_its_launcher_lives(
    engine: Engine, cluster: FakeCluster
) -> None:
    plan = await engine.plan(POOL, a_spec())
    origin = dataclasses.replace(
        plan.job.spec.origin, host=socket.gethostname(), process=supervise.myself()
    )
    job = dataclasses.replace(plan.job, spec=dataclasses.replace(plan.job.spec, origin=origin))
    engine.store.add_job(job)
    await engine.pool(POOL).submit(plan, EMPTY)
    assert (await engine.refresh(job.id)).state is JobState.PENDING
    assert (await engine.reconcile(POOL)).bound == ()
    assert cluster.jobs[job.id].submits == 1


async def test_a_pending_job_of_a_dead_launcher_is_bound_if_it_reached_the_pool(
    house: House, engine: Engine
) -> None:
    job = orphaned()
    engine.store.add_job(job)
    await engine.pool(POOL).submit(await engine.pool(POOL).plan(job), EMPTY)
    bound = await house.engine().refresh(job.id)
    assert (bound.state, bound.handle) == (
        JobState.STARTING,
        Handle(kind="fake", data={"job": job.id}),
    )


async def test_a_pending_job_of_a_dead_launcher_fails_if_it_did_not(
    house: House, engine: Engine
) -> None:
    job = orphaned()
    engine.store.add_job(job)
    failed = await house.engine().refresh(job.id)
    assert failed.state is JobState.FAILED
    assert failed.seen is not None
    assert failed.seen.reason is not None
    assert "ended before the job reached its pool" in failed.seen.reason


@pytest.mark.parametrize(("age", "state"), [(0, JobState.PENDING), (900, JobState.FAILED)])
async def test_a_launcher_on_another_machine_has_the_time_it_may_take(
    engine: Engine, age: float, state: JobState
) -> None:
    job = orphaned(host="elsewhere", created_at=time.time() - age)
    engine.store.add_job(job)
    assert (await engine.refresh(job.id)).state is state


async def test_logs_come_from_the_offset_on(engine: Engine, cluster: FakeCluster) -> None:
    job = await running(engine, cluster)
    cluster.write(job.id, b"hello")
    (chunk,) = await collect(engine.logs(job.id, offset=2))
    assert (chunk.offset, chunk.data) == (2, b"llo")
    assert await collect(engine.logs(job.id, rank=1)) == []


async def test_a_job_that_never_reached_its_pool_has_neither_logs_nor_results(
    engine: Engine,
) -> None:
    job = orphaned()
    engine.store.add_job(job)
    assert await collect(engine.logs(job.id)) == []
    assert await engine.results(job.id) is None


async def test_results_are_the_pools(recorded: Recorded, tmp_path: Path) -> None:
    job = await running(recorded.engine, recorded.cluster)
    assert await recorded.engine.results(job.id) is None
    recorded.pool.folder = tmp_path
    assert await recorded.engine.results(job.id) == tmp_path


# end


async def test_cancel_desires_and_asks(recorded: Recorded) -> None:
    job = await running(recorded.engine, recorded.cluster)
    told = await recorded.engine.cancel(job.id, grace=3.0)
    assert (told.desired, told.state) == (Desired.STOP, JobState.RUNNING)
    await recorded.engine.cancel(job.id)
    assert recorded.pool.cancels == [3.0, job.spec.grace_seconds]
    assert recorded.engine.store.get_job(job.id).version == told.version


async def test_cancel_of_what_is_over_changes_nothing(recorded: Recorded) -> None:
    job = await running(recorded.engine, recorded.cluster)
    recorded.cluster.end(job.id, JobState.SUCCEEDED)
    end = await recorded.engine.refresh(job.id)
    assert await recorded.engine.cancel(job.id) == end
    assert recorded.pool.cancels == []


async def test_the_wish_is_kept_while_the_pool_is_away(recorded: Recorded) -> None:
    job = await running(recorded.engine, recorded.cluster)
    recorded.cluster.reachable = False
    with pytest.raises(Unreachable):
        await recorded.engine.cancel(job.id)
    assert recorded.engine.store.get_job(job.id).desired is Desired.STOP
    recorded.cluster.reachable = True
    await recorded.engine.refresh(job.id)
    assert recorded.cluster.jobs[job.id].told_to_stop


async def test_a_job_cancelled_before_it_was_bound_is_stopped_by_who_binds_it(
    house: House, engine: Engine, cluster: FakeCluster
) -> None:
    job = orphaned()
    engine.store.add_job(job)
    await engine.pool(POOL).submit(await engine.pool(POOL).plan(job), EMPTY)
    assert (await engine.cancel(job.id)).desired is Desired.STOP
    other = house.engine()
    await other.refresh(job.id)
    await other.refresh(job.id)
    assert cluster.jobs[job.id].told_to_stop


async def test_cancel_wins_against_changes_made_meanwhile(
    engine: Engine, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await running(engine, cluster)
    request = engine.store.request
    stolen: list[int] = []

    def late(job_id: str, *, expected: int, desired: Desired) -> bool:
        if not stolen:  # another observer writes between our reading and our writing
            stolen.append(expected)
            seen = Observation(state=JobState.RUNNING, seen_at=1.0, strays=1)
            assert engine.store.advance(job_id, expected=expected, seen=seen)
        return request(job_id, expected=expected, desired=desired)

    monkeypatch.setattr(engine.store, "request", late)
    assert (await engine.cancel(job.id)).desired is Desired.STOP
    assert stolen


async def test_remove_forgets_the_job_and_its_files(engine: Engine, cluster: FakeCluster) -> None:
    job = await running(engine, cluster)
    with pytest.raises(Conflict, match=f"job {job.id} is running"):
        await engine.remove(job.id)
    cluster.end(job.id, JobState.SUCCEEDED)
    await engine.remove(job.id)
    assert cluster.jobs == {}
    with pytest.raises(JobNotFound):
        engine.store.get_job(job.id)


async def test_remove_where_the_pool_is_detached_forgets_only_the_record(
    engine: Engine, cluster: FakeCluster
) -> None:
    job = await running(engine, cluster)
    cluster.end(job.id, JobState.SUCCEEDED)
    await engine.refresh(job.id)
    await engine.detach(POOL)
    await engine.remove(job.id)
    assert engine.store.list_jobs() == []
    assert list(cluster.jobs) == [job.id]


async def test_remove_of_a_job_that_never_reached_its_pool(engine: Engine) -> None:
    job = orphaned()
    engine.store.add_job(job)
    await engine.remove(job.id)
    assert engine.store.list_jobs() == []


# everything at once


async def test_tick_refreshes_every_job_that_is_not_over(
    engine: Engine, cluster: FakeCluster
) -> None:
    jobs = [await engine.launch(POOL, a_spec(), EMPTY) for _ in range(3)]
    for job in jobs:
        cluster.begin(job.id)
    cluster.end(jobs[0].id, JobState.SUCCEEDED)
    assert await engine.tick() == []
    assert [engine.store.get_job(job.id).state for job in jobs] == [
        JobState.SUCCEEDED,
        JobState.RUNNING,
        JobState.RUNNING,
    ]
    cluster.reachable = False
    assert set(await engine.tick()) == {jobs[1].id, jobs[2].id}


async def test_one_pool_that_cannot_tell_leaves_the_others_their_tick(house: House) -> None:
    class Broken(FakePool):
        async def observe(self, handle: Handle) -> Observation:
            raise PoolError("the scheduler answers nonsense")

    def opener(record: PoolRecord, settings: Settings) -> Pool:
        if record.name == "broken":
            return Broken(house.cluster)
        return house.cluster.opener(record, settings)

    engine = Engine(house.attached().store, house.settings, opener=opener)
    for name in ("broken", "gone"):
        await engine.attach(name, kind="fake")
    jobs = {name: await engine.launch(name, a_spec(), EMPTY) for name in (POOL, "broken", "gone")}
    await engine.detach("gone", force=True)
    house.cluster.begin(jobs[POOL].id)
    assert set(await engine.tick()) == {jobs["broken"].id, jobs["gone"].id}
    assert engine.store.get_job(jobs[POOL].id).state is JobState.RUNNING


async def test_a_job_removed_in_the_middle_of_a_tick_is_no_error(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await engine.launch(POOL, a_spec(), EMPTY)
    monkeypatch.setattr(engine.store, "list_jobs", lambda **_: [orphaned(), job])
    assert await engine.tick() == []


async def test_reconcile_binds_fails_and_reports_orphans(
    house: House, engine: Engine, cluster: FakeCluster
) -> None:
    launched = await engine.launch(POOL, a_spec(), EMPTY)
    reached, never = orphaned(), orphaned()
    for job in (reached, never):
        engine.store.add_job(job)
    pool = engine.pool(POOL)
    await pool.submit(await pool.plan(reached), EMPTY)
    unknown, over = orphaned(), orphaned()
    for job in (unknown, over):
        await pool.submit(await pool.plan(job), EMPTY)
    cluster.end(over.id, JobState.SUCCEEDED)
    found = await house.engine().reconcile(POOL)
    assert (found.bound, found.failed) == ((reached.id,), (never.id,))
    assert found.orphans == (unknown.id,)
    assert engine.store.get_job(launched.id) == launched
    again = await engine.reconcile(POOL)
    assert (again.bound, again.failed, again.orphans) == ((), (), (unknown.id,))


async def test_reconcile_of_an_unreachable_pool_gives_up_nothing(
    engine: Engine, cluster: FakeCluster
) -> None:
    job = orphaned()
    engine.store.add_job(job)
    cluster.reachable = False
    with pytest.raises(Unreachable):
        await engine.reconcile(POOL)
    assert engine.store.get_job(job.id).state is JobState.PENDING


async def test_close_lets_go_of_pools_and_may_come_twice(recorded: Recorded) -> None:
    pool = recorded.pool
    await recorded.engine.aclose()
    await recorded.engine.aclose()
    assert pool.closed == 1
    nodes: Sequence[Node] = await recorded.engine.nodes(POOL)
    assert nodes
