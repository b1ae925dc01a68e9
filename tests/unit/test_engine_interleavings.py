"""Two engines on one record and one cluster, in any order: what holds always, and in the end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from jupyter_aiinfra.bundle import Bundle
from jupyter_aiinfra.engine import Engine, queue
from jupyter_aiinfra.errors import AiInfraError
from jupyter_aiinfra.leases import decide
from jupyter_aiinfra.model import (
    Desired,
    Gpu,
    Handle,
    Job,
    JobState,
    Lease,
    Node,
    Observation,
    Placement,
    Plan,
    PoolRecord,
    Submitter,
)
from jupyter_aiinfra.pools.base import Pool
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.testing import FakeCluster, LeasedFakePool
from tests.support.engines import EMPTY, POOL, House, a_spec, orphaned

ENGINES = st.sampled_from([0, 1])
PICKS = st.integers(min_value=0, max_value=6)
ENDS = st.sampled_from([JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.LOST])
# What the other process, or the world, does while a verb waits for its pool.
MEDDLING = st.sampled_from(
    ["nothing", "begin", "end", "end and tick", "reconcile", "cancel", "give up", "bind", "cut"]
)
ORDER = {
    JobState.QUEUED: 0,
    JobState.PENDING: 1,
    JobState.STARTING: 2,
    JobState.RUNNING: 3,
}
GPUS = ("g0", "g1")
# What a job may be that no pool has taken.
NOT_ACCEPTED = (JobState.QUEUED, JobState.PENDING, JobState.FAILED, JobState.CANCELLED)
GONE = {"pid": 1, "start": 1, "boot": "never", "pidns": "nowhere"}


class MeddlingPool(LeasedFakePool):
    """Lets something happen wherever a verb really waits: what it then does, it does too late."""

    def __init__(self, machine: Interleavings, *, name: str) -> None:
        super().__init__(machine.cluster, name=name)
        self.machine = machine

    async def submit(
        self, plan: Plan, bundle: Bundle, *, secrets: Mapping[str, str] | None = None
    ) -> Handle:
        await self.machine.meddle("before submit", plan.job.id)
        handle = await super().submit(plan, bundle, secrets=secrets)
        await self.machine.meddle("after submit", plan.job.id)
        if not self.cluster.reachable:
            self.machine.may_be_left.add(plan.job.id)
        return handle

    async def observe(self, handle: Handle) -> Observation:
        seen = await super().observe(handle)
        await self.machine.meddle("after observe", handle.data["job"])
        return seen

    async def jobs(self) -> Sequence[Handle]:
        found = await super().jobs()
        for handle in found:
            await self.machine.meddle("after jobs", handle.data["job"])
        return found


class Interleavings(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.cluster = FakeCluster([_machine()], leased=True)
        self.house = House(Path(self.folder.name), self.cluster)
        self.engines: list[Engine] = []
        for _ in range(2):
            store = self.house.attached().store
            self.engines.append(Engine(store, self.house.settings, opener=self._open))
        self.loop = asyncio.new_event_loop()
        self.meddling: dict[str, str] = {}
        self.may_be_left: set[str] = set()
        self.last_event = 0
        self.ended: dict[str, JobState] = {}
        self.versions: dict[str, int] = {}
        self.stopped: set[str] = set()
        self.queue_settings = pytest.MonkeyPatch()
        self.queue_settings.setattr(queue, "_LOOK_SECONDS", 0.0)

    def _open(self, record: PoolRecord, _settings: Settings) -> Pool:
        return MeddlingPool(self, name=record.name)

    async def meddle(self, moment: str, job_id: str) -> None:
        """Do what was to be done at this moment, once."""
        what = self.meddling.pop(moment, "nothing")
        other = self.engines[1]
        known = job_id in {job.id for job in self.records()}
        if what == "cut":
            self.cluster.reachable = False
        elif what == "begin" and job_id in self.cluster.jobs:
            self.cluster.begin(job_id)
        elif what in ("end", "end and tick") and job_id in self.cluster.jobs:
            self.cluster.end(job_id, JobState.SUCCEEDED)
            if what == "end and tick":
                await _tolerant(other.tick())
        elif what == "give up" and known:
            given_up = other.store.fail_pending(job_id, reason="given up")
            if given_up and moment == "after jobs":  # of a dead launcher: nobody takes it back
                self.may_be_left.add(job_id)
        elif what == "bind" and job_id in self.cluster.jobs and known:
            other.store.bind(job_id, handle=Handle(kind="fake", data={"job": job_id}))
        elif what == "reconcile":
            await _tolerant(other.reconcile(POOL))
        elif what == "cancel":
            await _tolerant(other.cancel(job_id))

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a verb. It may refuse, in our own words; nothing else may come out of it."""
        result = self.loop.run_until_complete(_tolerant(work))
        self.meddling = {}
        return result

    def records(self) -> list[Job]:
        return sorted(self.engines[0].store.list_jobs(), key=_age)

    def pick(self, number: int) -> str:
        jobs = self.records()
        return jobs[number % len(jobs)].id

    # --- what may happen -------------------------------------------------------------------

    @rule(before=MEDDLING, after=MEDDLING)
    def launch(self, before: str, after: str) -> None:
        self.meddling = {"before submit": before, "after submit": after}
        self.do(self.engines[0].launch(POOL, a_spec(), EMPTY))

    @rule(
        number=ENGINES,
        gpus=st.integers(1, 2),
        share=st.booleans(),
        priority=st.integers(0, 1),
        before=MEDDLING,
        after=MEDDLING,
    )
    def launch_on_gpus(
        self, number: int, gpus: int, share: bool, priority: int, before: str, after: str
    ) -> None:
        self.meddling = {"before submit": before, "after submit": after}
        spec = a_spec(gpus=gpus, share=share, priority=priority)
        self.do(self.engines[number].launch(POOL, spec, EMPTY))

    @rule(number=ENGINES, gpus=st.integers(1, 2))
    def die_while_it_waits(self, number: int, gpus: int) -> None:
        self.engines[number].store.add_job(orphaned(a_spec(gpus=gpus), state=JobState.QUEUED))

    @rule(number=ENGINES, pick=PICKS, submitted=st.booleans())
    def die_after_a_claim(self, number: int, pick: int, submitted: bool) -> None:
        engine = self.engines[number]
        waiting = [job for job in self.records() if job.state is JobState.QUEUED]
        if not waiting:
            return
        job = waiting[pick % len(waiting)]
        won = engine.store.claim(
            job.id,
            expected=job.version,
            placement=(Placement(node="box", gpus=GPUS[: job.spec.gpus]),),
            shared=job.spec.share,
            submitter=Submitter(host=socket.gethostname(), process=GONE),
        )

        async def submit() -> None:
            pool = engine.pool(POOL)
            await pool.submit(await pool.plan(engine.store.get_job(job.id)), EMPTY)

        if won and submitted:
            self.do(submit())

    @rule(number=ENGINES)
    def queue_is_looked_at(self, number: int) -> None:
        self.do(self.engines[number].queue(POOL))

    @rule()
    def launch_and_be_refused(self) -> None:
        self.cluster.refuse = "quota exceeded"
        self.do(self.engines[1].launch(POOL, a_spec(), EMPTY))
        self.cluster.refuse = None

    @rule(number=ENGINES)
    def launch_and_be_interrupted(self, number: int) -> None:
        async def interrupt() -> None:
            task = asyncio.ensure_future(self.engines[number].launch(POOL, a_spec(), EMPTY))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self.do(interrupt())

    @rule(number=ENGINES)
    def die_before_submit(self, number: int) -> None:
        self.engines[number].store.add_job(orphaned())

    @rule(number=ENGINES)
    def die_between_submit_and_bind(self, number: int) -> None:
        async def die() -> None:
            engine, job = self.engines[number], orphaned()
            engine.store.add_job(job)
            pool = engine.pool(POOL)
            await pool.submit(await pool.plan(job), EMPTY)

        self.do(die())

    @precondition(lambda self: self.versions)
    @rule(number=ENGINES, pick=PICKS, observed=MEDDLING, listed=MEDDLING)
    def refresh(self, number: int, pick: int, observed: str, listed: str) -> None:
        self.meddling = {"after observe": observed, "after jobs": listed}
        if self.records():
            self.do(self.engines[number].refresh(self.pick(pick)))

    @precondition(lambda self: self.versions)
    @rule(number=ENGINES, pick=PICKS, grace=st.sampled_from([None, 0.0]))
    def cancel(self, number: int, pick: int, grace: float | None) -> None:
        if self.records():
            self.do(self.engines[number].cancel(self.pick(pick), grace=grace))

    @precondition(lambda self: self.versions)
    @rule(number=ENGINES, pick=PICKS)
    def remove(self, number: int, pick: int) -> None:
        if self.records():
            self.do(self.engines[number].remove(self.pick(pick)))

    @rule(number=ENGINES, observed=MEDDLING)
    def tick(self, number: int, observed: str) -> None:
        self.meddling = {"after observe": observed}
        self.do(self.engines[number].tick())

    @rule(number=ENGINES, listed=MEDDLING)
    def reconcile(self, number: int, listed: str) -> None:
        self.meddling = {"after jobs": listed}
        self.do(self.engines[number].reconcile(POOL))

    @precondition(lambda self: self.cluster.jobs)
    @rule(pick=PICKS)
    def ranks_begin(self, pick: int) -> None:
        self.cluster.begin(list(self.cluster.jobs)[pick % len(self.cluster.jobs)])

    @precondition(lambda self: self.cluster.jobs)
    @rule(pick=PICKS, state=ENDS)
    def job_ends(self, pick: int, state: JobState) -> None:
        self.cluster.end(list(self.cluster.jobs)[pick % len(self.cluster.jobs)], state)

    @precondition(lambda self: self.cluster.jobs)
    @rule(pick=PICKS)
    def node_forgets_that_it_was_told(self, pick: int) -> None:
        job = self.cluster.jobs[list(self.cluster.jobs)[pick % len(self.cluster.jobs)]]
        job.told_to_stop = False

    @precondition(lambda self: not self.cluster.reachable)
    @rule()
    def wire_is_mended(self) -> None:
        self.cluster.reachable = True

    @rule()
    def wire_is_cut(self) -> None:
        self.cluster.reachable = False

    # --- what must hold ----------------------------------------------------------------------

    @invariant()
    def all_of_it(self) -> None:
        records = self.records()
        assert records == sorted(self.engines[1].store.list_jobs(), key=_age)
        self.records_only_move_forward(records)
        self.a_record_never_runs_ahead_of_the_truth(records)
        self.no_gpu_is_given_twice(records)
        # Nothing is started twice.
        assert all(job.submits == 1 for job in self.cluster.jobs.values())

    def no_gpu_is_given_twice(self, records: Sequence[Job]) -> None:
        held: dict[str, list[Lease]] = {}
        for lease in self.engines[0].store.leases():
            held.setdefault(lease.gpu, []).append(lease)
        assert all(len(each) == 1 or all(one.shared for one in each) for each in held.values())
        leased = {(lease.job, lease.gpu) for each in held.values() for lease in each}
        for job in records:
            wanted = {(job.id, gpu) for place in job.placement for gpu in place.gpus}
            # A job has all of its GPUs until its end is on record, and none before its turn.
            assert job.state.final or wanted <= leased
            assert bool(wanted) or {name for name, _ in leased} & {job.id} == set()
            assert job.state is not JobState.QUEUED or job.id not in self.cluster.jobs

    def records_only_move_forward(self, records: Sequence[Job]) -> None:
        for entry in self.engines[0].store.events(since=self.last_event):
            self.last_event = entry.id
            if entry.kind == "job.state":
                assert entry.subject not in self.ended
                if (state := JobState(entry.detail["to"])).final:
                    self.ended[entry.subject] = state
        for job in records:
            assert job.version >= self.versions.get(job.id, 0)
            self.versions[job.id] = job.version
            assert self.ended.get(job.id) is (job.state if job.state.final else None)
            if job.desired is Desired.STOP:
                self.stopped.add(job.id)
            assert (job.id in self.stopped) is (job.desired is Desired.STOP)

    def a_record_never_runs_ahead_of_the_truth(self, records: Sequence[Job]) -> None:
        for job in records:
            if job.handle is None:
                assert job.state in NOT_ACCEPTED
                continue
            truth = self.cluster.jobs[job.id].state
            if job.state.final:
                assert job.state is truth
            elif not truth.final:
                assert ORDER[job.state] <= ORDER[truth]

    def teardown(self) -> None:
        try:
            self.cluster.reachable = True
            for _ in range(3):
                for engine in self.engines:
                    assert self.loop.run_until_complete(engine.tick()) == []
                    found = self.loop.run_until_complete(engine.reconcile(POOL))
            records = self.records()
            for job in records:
                if job.handle is None:
                    assert job.state in (JobState.FAILED, JobState.CANCELLED, JobState.QUEUED)
                else:
                    truth = self.cluster.jobs[job.id]
                    assert job.state is truth.state
                    assert job.state.final or truth.told_to_stop is (job.id in self.stopped)
            bound = {job.id for job in records if job.handle is not None}
            left = {job_id for job_id, job in self.cluster.jobs.items() if not job.state.final}
            assert left - bound == set(found.orphans)
            assert set(found.orphans) <= self.may_be_left
            self.who_waits_waits_for_somebody(records)
            self.records_only_move_forward(records)
        finally:
            for engine in self.engines:
                self.loop.run_until_complete(engine.aclose())
            self.queue_settings.undo()
            self.loop.close()
            self.house.close()
            self.folder.cleanup()

    def who_waits_waits_for_somebody(self, records: Sequence[Job]) -> None:
        """In the end a job is in the queue only because the GPUs are others'."""
        leases = self.engines[0].store.leases()
        waiting = [job for job in records if job.state is JobState.QUEUED]
        grants, _ = decide(self.cluster.nodes, leases, waiting)
        assert grants == ()
        over = {job.id for job in records if job.state.final}
        left = {name for name, job in self.cluster.jobs.items() if not job.state.final}
        assert {lease.job for lease in leases} & over <= left


async def _tolerant(work: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await work
    except AiInfraError:
        return None


def _machine() -> Node:
    gpus = tuple(Gpu(uuid=uuid, name="H100", index=index) for index, uuid in enumerate(GPUS))
    return Node(name="box", address="10.0.0.1", gpus=gpus)


def _age(job: Job) -> tuple[float, str]:
    return job.created_at, job.id


TestInterleavings = pytest.mark.timeout(600)(Interleavings.TestCase)  # finding the shortest way
TestInterleavings.settings = settings(
    max_examples=60,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
