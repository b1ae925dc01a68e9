"""The queue of pools whose GPUs the engine leases, with any number of processes on one record."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.bundle import Bundle, bundle_file
from jupyter_aiinfra.engine import Engine, queue
from jupyter_aiinfra.errors import (
    Conflict,
    PoolInUse,
    StorageFull,
    StoreError,
    SubmitError,
    Unreachable,
)
from jupyter_aiinfra.leases import Turn
from jupyter_aiinfra.model import (
    Desired,
    Gpu,
    GpuProcess,
    Handle,
    Interpreter,
    Job,
    JobState,
    Node,
    Placement,
    Plan,
    Submitter,
)
from jupyter_aiinfra.node import supervise
from jupyter_aiinfra.store import Store
from jupyter_aiinfra.testing import FakeCluster, LeasedFakePool
from tests.support.engines import EMPTY, POOL, House, a_spec, orphaned

ME = Submitter(host=socket.gethostname(), process=supervise.identity(os.getpid()) or {})
_GONE = {"pid": 1, "start": 1, "boot": "never", "pidns": "nowhere"}
DEAD = Submitter(host=socket.gethostname(), process=_GONE)


def machine(*gpus: str, name: str = "box", used: Sequence[str] = ()) -> Node:
    someone = GpuProcess(pid=123, user="alice", memory_bytes=2 << 30)
    return Node(
        name=name,
        address="10.0.0.1",
        gpus=tuple(
            Gpu(uuid=gpu, name="H100", index=index, used_by=(someone,) if gpu in used else ())
            for index, gpu in enumerate(gpus)
        ),
        python=Interpreter(executable="/usr/bin/python3", version="3.11.7"),
    )


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster([machine("g0", "g1")], leased=True)


@pytest.fixture
def house(tmp_path: Path, cluster: FakeCluster) -> Iterator[House]:
    house = House(tmp_path / "home", cluster)
    yield house
    house.close()


@pytest.fixture
def engine(house: House) -> Engine:
    return house.attached()


@pytest.fixture(autouse=True)
def always_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "_LOOK_SECONDS", 0.0)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a process look often by itself; in the other tests it does not at all."""
    monkeypatch.setattr(queue, "_KEEP_SECONDS", 0.01)


async def started(engine: Engine, job: Job) -> None:
    for _ in range(3000):
        if engine.store.get_job(job.id).handle is not None:
            return
        await asyncio.sleep(0.01)
    pytest.fail("the job was not started")


async def launch(engine: Engine, name: str = "job", *, gpus: int = 2, **spec: Any) -> Job:
    return await engine.launch(POOL, a_spec(name, gpus=gpus, **spec), EMPTY)


def end(cluster: FakeCluster, job: Job, state: JobState = JobState.SUCCEEDED) -> None:
    cluster.begin(job.id)
    cluster.end(job.id, state)


def leased(engine: Engine) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for lease in engine.store.leases():
        found.setdefault(lease.job, []).append(lease.gpu)
    return found


def reason(job: Job) -> str | None:
    return job.seen.reason if job.seen else None


async def test_a_job_starts_at_once_on_gpus_that_are_free(
    engine: Engine, cluster: FakeCluster
) -> None:
    job = await launch(engine, gpus=1)
    assert (job.state, job.placement) == (
        JobState.STARTING,
        (Placement(node="box", gpus=("g0",)),),
    )
    assert cluster.jobs[job.id].job.placement == job.placement
    assert leased(engine) == {job.id: ["g0"]}
    assert job.submitter is None


async def test_a_launch_relies_on_the_look_it_was_prepared_with(
    engine: Engine, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    ask = LeasedFakePool.nodes

    async def counted(pool: LeasedFakePool) -> Sequence[Node]:
        looks.append(1)
        return await ask(pool)

    monkeypatch.setattr(LeasedFakePool, "nodes", counted)
    await engine.nodes(POOL)
    assert (await launch(engine, gpus=1)).state is JobState.STARTING
    assert len(looks) == 1
    # It was that launch's alone.
    assert (await launch(engine, gpus=1)).state is JobState.STARTING
    assert len(looks) == 2


async def test_a_launch_does_not_wait_because_of_the_look_it_was_prepared_with(
    engine: Engine, cluster: FakeCluster
) -> None:
    cluster.nodes = (machine("g0", used=["g0"]),)
    await engine.nodes(POOL)
    cluster.nodes = (machine("g0"),)
    assert (await launch(engine, gpus=1)).state is JobState.STARTING


async def test_a_launch_does_not_rely_on_a_look_of_long_ago(
    engine: Engine, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    await engine.nodes(POOL)
    cluster.nodes = (machine("g0", "g1", used=["g0"]),)
    monkeypatch.setattr(queue, "_PREPARED_SECONDS", 0.0)
    assert (await launch(engine, gpus=1)).placement == (Placement(node="box", gpus=("g1",)),)


async def test_what_does_not_fit_waits_and_starts_when_the_gpus_are_let_go(
    engine: Engine, cluster: FakeCluster
) -> None:
    first = await launch(engine)
    second = await launch(engine)
    third = await launch(engine, gpus=1)
    assert (second.state, second.placement, second.handle) == (JobState.QUEUED, (), None)
    assert reason(second) == "waits for 2 GPUs; 1st in the queue"
    assert reason(third) == "waits for 1 GPU; 2nd in the queue"
    assert await engine.queue(POOL) == (
        Turn(job=second.id, position=1, reason="waits for 2 GPUs; 1st in the queue"),
        Turn(job=third.id, position=2, reason="waits for 1 GPU; 2nd in the queue"),
    )
    assert (await engine.refresh(second.id)) == second
    cluster.reachable = False
    with pytest.raises(Unreachable):
        await engine.refresh(third.id)
    cluster.reachable = True
    end(cluster, first)
    assert (await engine.refresh(first.id)).state is JobState.SUCCEEDED
    second = await engine.refresh(second.id)
    assert (second.state, second.seen) == (JobState.STARTING, None)
    assert second.submitter is not None
    assert second.submitter.host == socket.gethostname()
    third = await engine.refresh(third.id)
    assert reason(third) == "waits for 1 GPU; 1st in the queue"
    assert leased(engine) == {second.id: ["g0", "g1"]}
    assert await engine.queue("fake") == (
        Turn(job=third.id, position=1, reason="waits for 1 GPU; 1st in the queue"),
    )


async def test_any_process_starts_what_waits_with_its_bundle(
    house: House, engine: Engine, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Bundle] = []

    async def submit(
        self: LeasedFakePool, plan: Plan, bundle: Bundle, *, secrets: Mapping[str, str] | None
    ) -> Handle:
        sent.append(bundle)
        return await plain(self, plan, bundle, secrets=secrets)

    plain = LeasedFakePool.submit
    first = await launch(engine)
    bundle = Bundle(files=(bundle_file("cell.py", "print(1)\n"),))
    second = await engine.launch(POOL, a_spec(gpus=1, files=bundle.refs()), bundle)
    assert second.state is JobState.QUEUED
    await engine.aclose()
    monkeypatch.setattr(LeasedFakePool, "submit", submit)
    end(cluster, first)
    other = house.engine()
    assert await other.tick() == []
    assert other.store.get_job(first.id).state is JobState.SUCCEEDED
    assert other.store.get_job(second.id).state is JobState.STARTING
    assert [file.path for file in sent[0].files] == ["cell.py"]
    assert sent[0].refs() == bundle.refs()


async def test_the_end_of_one_job_starts_the_next(engine: Engine, cluster: FakeCluster) -> None:
    first = await launch(engine)
    second = await launch(engine)
    end(cluster, first)
    await engine.refresh(first.id)
    await engine.aclose()  # waits for what was set going
    assert cluster.jobs[second.id].state is JobState.STARTING


@pytest.mark.usefixtures("kept")
async def test_a_job_that_waits_is_started_while_its_process_lives(
    engine: Engine, cluster: FakeCluster
) -> None:
    first = await launch(engine)
    second = await launch(engine)
    end(cluster, first)
    engine.store.advance(first.id, expected=1, seen=await engine.pool(POOL).observe(handle(first)))
    await started(engine, second)
    await engine.aclose()


def handle(job: Job) -> Handle:
    assert job.handle is not None
    return job.handle


async def test_a_higher_priority_goes_first(engine: Engine, cluster: FakeCluster) -> None:
    first = await launch(engine)
    low = await launch(engine, priority=-1)
    plain = await launch(engine)
    high = await launch(engine, priority=5)
    assert [turn.job for turn in await engine.queue(POOL)] == [high.id, plain.id, low.id]
    end(cluster, first)
    await engine.tick()
    states = {job.id: job.state for job in engine.store.list_jobs()}
    assert states[high.id] is JobState.STARTING
    assert states[plain.id] is states[low.id] is JobState.QUEUED


async def test_those_who_share_run_together(engine: Engine) -> None:
    jobs = [await launch(engine, share=True) for _ in range(3)]
    assert {job.state for job in jobs} == {JobState.STARTING}
    alone = await launch(engine, gpus=1)
    assert alone.state is JobState.QUEUED
    # Strict order: who shares waits behind who does not.
    assert (await launch(engine, share=True)).state is JobState.QUEUED


async def test_a_gpu_that_outsiders_use_is_avoided_and_named(
    engine: Engine, cluster: FakeCluster
) -> None:
    cluster.nodes = (machine("g0", "g1", used=["g0"]),)
    assert (await launch(engine, gpus=1)).placement == (Placement(node="box", gpus=("g1",)),)
    waits = await launch(engine, gpus=1)
    assert reason(waits) == (
        "waits for 1 GPU; 1st in the queue; gpu0: g0 is used by PID 123 of alice, 2.0 GiB"
    )
    cluster.nodes = (machine("g0", "g1"),)
    assert (await engine.refresh(waits.id)).placement == (Placement(node="box", gpus=("g0",)),)


async def test_a_job_without_gpus_never_waits(engine: Engine) -> None:
    await launch(engine)
    job = await launch(engine, gpus=0)
    assert (job.state, job.placement) == (JobState.STARTING, (Placement(node="box", gpus=()),))


async def test_jobs_on_several_nodes_begin_on_those_that_are_free(
    engine: Engine, cluster: FakeCluster
) -> None:
    cluster.nodes = (machine("a0", name="a"), machine("b0", name="b"), machine("c0", name="c"))
    one = await launch(engine, gpus=1)
    assert one.placement == (Placement(node="a", gpus=("a0",)),)
    elastic = await launch(engine, gpus=1, nodes=3, min_nodes=2)
    assert [place.node for place in elastic.placement] == ["b", "c"]
    cpus = await launch(engine, gpus=0, nodes=2)
    assert (cpus.state, len(cpus.placement)) == (JobState.STARTING, 2)


async def test_a_pool_with_a_scheduler_of_its_own_is_left_alone(tmp_path: Path) -> None:
    house = House(tmp_path, FakeCluster([machine("g0")]))
    engine = house.attached()
    jobs = [await launch(engine, gpus=1) for _ in range(2)]
    # What it runs on is recorded, and no GPU of it is leased by us.
    where = (Placement(node="box", gpus=()),)
    assert {(job.state, job.placement) for job in jobs} == {(JobState.STARTING, where)}
    assert await engine.queue(POOL) == ()
    house.close()


# cancel, rerun, remove, detach


async def test_a_queued_job_is_cancelled_at_once(engine: Engine, cluster: FakeCluster) -> None:
    await launch(engine)
    job = await launch(engine)
    cluster.reachable = False
    over = await engine.cancel(job.id)
    assert (over.state, reason(over)) == (JobState.CANCELLED, "it was still waiting for GPUs")
    assert job.id not in cluster.jobs
    cluster.reachable = True
    await engine.remove(job.id)


async def test_a_wish_to_end_that_is_all_there_is_ends_a_queued_job(engine: Engine) -> None:
    await launch(engine)
    job = await launch(engine)
    # Whoever was to cancel it has died after its first write.
    assert engine.store.request(job.id, expected=job.version, desired=Desired.STOP)
    assert (await engine.refresh(job.id)).state is JobState.CANCELLED


async def test_a_job_claimed_while_it_is_cancelled_ends_on_its_pool(
    engine: Engine, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await launch(engine)
    job = await launch(engine)
    end(cluster, first)
    await engine.refresh(first.id)
    request = Store.request

    def claimed_before(store: Store, job_id: str, **more: Any) -> bool:
        now = store.get_job(job_id)
        if now.state is JobState.QUEUED:
            assert store.claim(
                job_id, expected=now.version, placement=(), shared=False, submitter=ME
            )
        return request(store, job_id, **more)

    monkeypatch.setattr(Store, "request", claimed_before)
    asked = await engine.cancel(job.id)
    assert (asked.state, asked.desired) == (JobState.PENDING, Desired.STOP)


async def test_rerun_may_wait_as_well(engine: Engine) -> None:
    first = await launch(engine)
    assert (await engine.rerun(first.id)).state is JobState.QUEUED


async def test_queued_jobs_count_as_active(engine: Engine, cluster: FakeCluster) -> None:
    first = await launch(engine)
    job = await launch(engine)
    with pytest.raises(Conflict, match="is queued"):
        await engine.remove(job.id)
    with pytest.raises(PoolInUse, match=job.id):
        await engine.detach(POOL)
    await engine.detach(POOL, force=True)
    assert await engine.tick() == [first.id, job.id]
    await engine.attach(POOL, kind="fake")
    end(cluster, first)
    await engine.tick()
    assert engine.store.get_job(job.id).state is JobState.STARTING


async def test_reconcile_leaves_the_queue_as_it_is(engine: Engine) -> None:
    await launch(engine)
    job = await launch(engine)
    found = await engine.reconcile(POOL)
    assert (found.bound, found.failed, found.orphans) == ((), (), ())
    assert engine.store.get_job(job.id) == job


# what ends a start


async def test_a_refusal_frees_the_gpus_and_the_next_goes_on(
    engine: Engine, cluster: FakeCluster
) -> None:
    first = await launch(engine)
    second = await launch(engine)
    end(cluster, first)
    await engine.refresh(first.id)
    cluster.refuse = "no room for it"
    assert reason(await engine.refresh(second.id)) == "no room for it"
    assert engine.store.get_job(second.id).state is JobState.FAILED
    assert leased(engine) == {}
    with pytest.raises(SubmitError):
        await launch(engine)
    assert leased(engine) == {}


async def test_a_bundle_that_is_gone_fails_its_job(engine: Engine, cluster: FakeCluster) -> None:
    first = await launch(engine)
    bundle = Bundle(files=(bundle_file("cell.py", "print(1)\n"),))
    job = await engine.launch(POOL, a_spec(gpus=1, files=bundle.refs()), bundle)
    for blob in engine.settings.blobs.rglob("*"):
        if blob.is_file():
            blob.unlink()
    end(cluster, first)
    await engine.refresh(first.id)
    over = await engine.refresh(job.id)
    assert over.state is JobState.FAILED
    assert "cell.py of this job is no longer stored" in (reason(over) or "")
    assert leased(engine) == {}


async def test_gpus_of_a_job_that_may_run_are_kept_until_it_is_known(
    engine: Engine, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = LeasedFakePool.submit

    async def cut(self: LeasedFakePool, *words: Any, **more: Any) -> Handle:
        await plain(self, *words, **more)
        cluster.reachable = False
        raise Unreachable("the line went dead")

    with monkeypatch.context() as patch:
        patch.setattr(LeasedFakePool, "submit", cut)
        with pytest.raises(Unreachable):
            await launch(engine)
    (given_up,) = engine.store.list_jobs()
    assert given_up.state is JobState.FAILED
    assert leased(engine) == {given_up.id: ["g0", "g1"]}
    cluster.reachable = True
    # It runs there after all: nobody gets its GPUs.
    waits = await launch(engine)
    assert waits.state is JobState.QUEUED
    assert (await engine.reconcile(POOL)).orphans == (given_up.id,)
    assert (await engine.refresh(waits.id)).state is JobState.QUEUED
    cluster.end(given_up.id, JobState.CANCELLED)
    assert (await engine.refresh(waits.id)).state is JobState.STARTING
    assert leased(engine) == {waits.id: ["g0", "g1"]}


async def test_gpus_of_a_removed_record_are_freed_by_reconcile(
    engine: Engine, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dead(self: LeasedFakePool, *_words: Any, **_more: Any) -> Handle:
        raise Unreachable("the line went dead")

    with monkeypatch.context() as patch:
        patch.setattr(LeasedFakePool, "submit", dead)
        with pytest.raises(Unreachable):
            await launch(engine)
    (given_up,) = engine.store.list_jobs()
    await engine.remove(given_up.id)
    assert leased(engine) == {given_up.id: ["g0", "g1"]}
    await engine.reconcile(POOL)
    assert leased(engine) == {}


async def test_an_unreachable_pool_frees_nothing(engine: Engine, cluster: FakeCluster) -> None:
    job = await launch(engine)
    end(cluster, job)
    cluster.reachable = False
    with pytest.raises(Unreachable):
        await engine.refresh(job.id)
    assert leased(engine) == {job.id: ["g0", "g1"]}


# deaths between two writes


def claim(engine: Engine, job: Job, gpu: str, submitter: Submitter) -> bool:
    place = (Placement(node="box", gpus=(gpu,)),)
    return engine.store.claim(
        job.id, expected=job.version, placement=place, shared=False, submitter=submitter
    )


async def test_a_process_that_dies_after_its_claim(engine: Engine, cluster: FakeCluster) -> None:
    job = orphaned(a_spec(gpus=1), state=JobState.QUEUED)
    engine.store.add_job(job)
    assert claim(engine, job, "g0", ME)
    # While the one that claimed it lives nobody meddles, whoever launched it.
    assert (await engine.refresh(job.id)).state is JobState.PENDING
    other = orphaned(a_spec(gpus=1), state=JobState.QUEUED)
    engine.store.add_job(other)
    assert claim(engine, other, "g1", DEAD)
    assert (await engine.refresh(other.id)).state is JobState.FAILED
    assert leased(engine) == {job.id: ["g0"]}
    assert cluster.jobs == {}


async def test_a_process_that_dies_between_submit_and_bind(
    engine: Engine, cluster: FakeCluster
) -> None:
    job = orphaned(a_spec(gpus=1), state=JobState.QUEUED)
    engine.store.add_job(job)
    assert claim(engine, job, "g0", DEAD)
    pool = engine.pool(POOL)
    await pool.submit(await pool.plan(engine.store.get_job(job.id)), EMPTY)
    assert (await engine.refresh(job.id)).state is JobState.STARTING
    assert leased(engine) == {job.id: ["g0"]}
    assert cluster.jobs[job.id].submits == 1


async def test_many_processes_start_a_job_once(house: House, cluster: FakeCluster) -> None:
    engines = [house.attached() for _ in range(4)]
    first = await launch(engines[0])
    waiting = [await launch(engine, gpus=1) for engine in engines[:3]]
    end(cluster, first)
    await engines[0].refresh(first.id)
    await asyncio.gather(*(engine.tick() for engine in engines))
    for engine in engines:
        await engine.aclose()
    assert [cluster.jobs[job.id].submits for job in waiting[:2]] == [1, 1]
    assert waiting[2].id not in cluster.jobs
    assert sorted(leased(engines[0])) == sorted(job.id for job in waiting[:2])


async def test_who_is_overtaken_between_look_and_record_waits(
    house: House, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = house.engine()
    add_placed = Store.add_placed

    def overtaken(store: Store, job: Job) -> bool:
        monkeypatch.setattr(Store, "add_placed", add_placed)
        assert other.store.add_placed(
            dataclasses.replace(orphaned(), placement=(Placement(node="box", gpus=("g1",)),))
        )
        return add_placed(store, job)

    monkeypatch.setattr(Store, "add_placed", overtaken)
    job = await launch(engine)
    assert (job.state, reason(job)) == (JobState.QUEUED, "its turn has come")
    assert reason(await engine.refresh(job.id)) in {
        "its turn has come",
        "waits for 2 GPUs; 1st in the queue",
    }


async def test_who_loses_a_claim_leaves_the_job_to_the_winner(
    engine: Engine, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await launch(engine)
    job = await launch(engine)
    end(cluster, first)
    await engine.refresh(first.id)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "claim", lambda *_words, **_more: False)
        assert (await engine.refresh(job.id)).state is JobState.QUEUED
    assert job.id not in cluster.jobs


async def test_a_full_disk_does_not_stop_the_queue(
    engine: Engine, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await launch(engine)
    second = await launch(engine)
    cluster.nodes = (machine("g0", "g1", "g2"),)

    def full(*_: object, **__: object) -> bool:
        raise StorageFull("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "advance", full)
        cluster.nodes = (machine("g0"),)
        assert (await engine.refresh(second.id)).state is JobState.QUEUED
    assert "wants 2 GPUs on a node" in (reason(await engine.refresh(second.id)) or "")
    assert first.state is JobState.STARTING


# secrets


async def test_only_who_was_given_the_secrets_starts_a_job(
    house: House, engine: Engine, cluster: FakeCluster
) -> None:
    first = await launch(engine)
    spec = a_spec(gpus=2, secrets=("TOKEN",))
    job = await engine.launch(POOL, spec, EMPTY, secrets={"TOKEN": "hush"})
    behind = await launch(engine, gpus=1)
    end(cluster, first)
    other = house.engine()
    await other.tick()
    await other.tick()
    seen = other.store.get_job(job.id)
    host = socket.gethostname()
    said = f"waits for the process on {host} that has its secrets (TOKEN)"
    assert (seen.state, reason(seen)) == (JobState.QUEUED, said)
    # Its process lives: its GPUs are kept for it.
    assert other.store.get_job(behind.id).state is JobState.QUEUED
    assert (await other.queue(POOL))[0].reason == said
    assert (await engine.queue(POOL))[0].reason == "its turn has come"
    await engine.tick()
    assert engine.store.get_job(job.id).state is JobState.STARTING
    assert cluster.jobs[job.id].secrets == {"TOKEN": "hush"}
    assert "hush" not in (engine.settings.home / "aiinfra.db").read_bytes().decode("latin-1")


async def test_a_job_whose_secrets_nobody_has_any_more_ends(engine: Engine) -> None:
    await launch(engine)
    gone = orphaned(a_spec(gpus=1, secrets=("TOKEN",)), state=JobState.QUEUED)
    engine.store.add_job(gone)
    over = await engine.refresh(gone.id)
    assert over.state is JobState.FAILED
    assert reason(over) == (
        "the process that had its secrets (TOKEN) ended while it waited for GPUs"
    )


async def test_nobody_waits_for_a_process_elsewhere(engine: Engine) -> None:
    far = orphaned(a_spec(gpus=2, secrets=("TOKEN",)), host="elsewhere", state=JobState.QUEUED)
    engine.store.add_job(far)
    assert (await launch(engine)).state is JobState.STARTING
    assert (await engine.refresh(far.id)).state is JobState.QUEUED
    (turn,) = await engine.queue(POOL)
    assert turn.reason == "waits for the process on elsewhere that has its secrets (TOKEN)"


# the loops


async def test_looks_are_shared_for_a_while(
    engine: Engine, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    plain = LeasedFakePool.nodes

    async def nodes(self: LeasedFakePool) -> Sequence[Node]:
        looked.append(self.name)
        return await plain(self)

    monkeypatch.setattr(LeasedFakePool, "nodes", nodes)
    monkeypatch.setattr(queue, "_LOOK_SECONDS", 3600.0)
    first = await launch(engine)
    second = await launch(engine)
    for _ in range(5):
        await engine.refresh(second.id)
    assert len(looked) == 2
    end(cluster, first)
    await engine.refresh(first.id)
    # Nothing is started on what was seen before.
    cluster.nodes = (machine("g0", "g1", used=["g1"]),)
    waits = await engine.refresh(second.id)
    assert waits.state is JobState.QUEUED
    assert "is used by PID 123" in (reason(waits) or "")
    await engine.aclose()


@pytest.mark.usefixtures("kept")
async def test_a_store_that_fails_for_a_while_does_not_end_the_watch(
    engine: Engine, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await launch(engine)
    second = await launch(engine)
    list_jobs = Store.list_jobs
    failures = iter([True] * 6)

    def flaky(store: Store, **more: Any) -> Sequence[Job]:
        if next(failures, False):
            raise StoreError("busy")
        return list_jobs(store, **more)

    monkeypatch.setattr(Store, "list_jobs", flaky)
    cluster.end(first.id, JobState.SUCCEEDED)
    seen = await engine.pool(POOL).observe(handle(first))
    assert engine.store.advance(first.id, expected=1, seen=seen)
    await started(engine, second)
    await engine.aclose()


async def test_a_refresh_in_the_middle_of_another_returns_at_once(
    engine: Engine, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    await launch(engine)
    job = await launch(engine)
    await engine.aclose()
    gate, plain = asyncio.Event(), LeasedFakePool.nodes

    async def nodes(self: LeasedFakePool) -> Sequence[Node]:
        await gate.wait()
        return await plain(self)

    monkeypatch.setattr(LeasedFakePool, "nodes", nodes)
    slow = asyncio.ensure_future(engine.refresh(job.id))
    await asyncio.sleep(0)
    assert await engine.refresh(job.id) == job
    gate.set()
    assert (await slow).state is JobState.QUEUED


async def test_a_pool_that_is_gone_needs_no_look(
    house: House, engine: Engine, cluster: FakeCluster
) -> None:
    job = await launch(engine)
    end(cluster, job)
    pool = engine.pool(POOL)
    engine.store.remove_pool(POOL)
    engine._queue.nudge(POOL)
    assert pool is not None
    del house
