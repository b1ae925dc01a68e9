from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.errors import Conflict, NotFound, Unreachable, UsageError
from jupyter_aiinfra.model import Gpu, Handle, Job, JobState, Node, PoolRecord
from jupyter_aiinfra.pools.abilities import NodeSurvey, ProcessTrace, Reclaimed, RunTrace
from jupyter_aiinfra.pools.base import Pool
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.testing import FakeCluster, LeasedFakePool
from tests.support.engines import EMPTY, POOL, House, a_spec, orphaned
from tests.unit.test_tree import Desk


class Surveyed(FakeCluster):
    """A cluster whose nodes hold what the test says."""

    def __init__(self) -> None:
        gpu = Gpu(uuid="GPU-0", name="H100", index=0)
        super().__init__([Node(name="n0", address="10.0.0.1", gpus=(gpu,))], leased=True)
        self.traces: dict[str, NodeSurvey] = {"n0": NodeSurvey(node="n0")}
        self.reclaimed: list[str] = []
        self.problem: str | None = None

    def opener(self, record: PoolRecord, settings: Settings) -> Pool:
        return SurveyedPool(self, name=record.name)

    def hold(
        self, *runs: RunTrace, node: str = "n0", processes: Sequence[ProcessTrace] = ()
    ) -> None:
        self.traces[node] = NodeSurvey(node=node, runs=runs, processes=tuple(processes))

    def silence(self, node: str) -> None:
        self.traces[node] = NodeSurvey(node=node, problem=f"{node} is off")


class SurveyedPool(LeasedFakePool):
    cluster: Surveyed

    async def survey(self) -> Sequence[NodeSurvey]:
        return tuple(self._surveyed().traces.values())

    def _surveyed(self) -> Surveyed:
        self._reach()
        return self.cluster

    def handle_of(self, trace: RunTrace) -> Handle:
        return Handle(kind="fake", data={"job": trace.job, "nodes": list(trace.nodes)})

    async def reclaim(self, job: str, *, grace: float) -> Sequence[Reclaimed]:
        self.cluster.reclaimed.append(job)
        return [Reclaimed(job=job, node="n0", ended=2, removed=True, problem=self.cluster.problem)]


def a_run(job: str, *, node: str = "n0", over: bool = False, **orders: Any) -> RunTrace:
    return RunTrace(
        job=job,
        node=node,
        slot=0,
        run_dir=f"/runs/{job}",
        state="lost" if over else "running",
        over=over,
        nodes=(node,),
        orders={"argv": ["true"], "name": "digits", **orders},
    )


def a_process(job: str, role: str = "rank") -> ProcessTrace:
    return ProcessTrace(job=job, node="n0", pid=7, name="python", role=role, run_dir=f"/runs/{job}")


@pytest.fixture
def cluster() -> Surveyed:
    return Surveyed()


@pytest.fixture
def desk(tmp_path: Path, cluster: Surveyed) -> Iterator[Desk]:
    house = House(tmp_path / "home", cluster)
    yield Desk(house)
    house.close()


Told = Callable[..., Mapping[str, Any]]


@pytest.fixture
def told(desk: Desk) -> Told:
    def ask(*options: str) -> Mapping[str, Any]:
        desk(" ".join(["pool", "reconcile", POOL, *options]))
        value: Mapping[str, Any] = desk.value
        return value

    return ask


def test_what_nobody_records_is_an_orphan_or_a_leftover(
    desk: Desk, cluster: Surveyed, told: Told
) -> None:
    origin = {"host": "laptop", "user": "ada"}
    cluster.hold(
        a_run("runs", origin=origin),
        a_run("over", over=True),
        processes=[a_process("runs"), a_process("dirless")],
    )
    found = told()
    assert found["orphans"] == ["dirless", "runs"]
    assert found["leftovers"] == ["over"]
    lines = desk.said.splitlines()
    assert lines[0].startswith(
        "orphan   dirless: it runs on n0, 1 processes, and its run directory"
    )
    assert lines[1] == (
        "leftover over (digits, launched from somewhere): it is over on n0, and nothing records it"
    )
    assert lines[2].startswith("orphan   runs (digits, launched by ada from laptop): it runs on n0")
    assert "may be of another machine" in lines[3]


def test_files_alone_can_be_removed(desk: Desk, cluster: Surveyed, told: Told) -> None:
    cluster.hold(a_run("over", over=True))
    told("--reclaim", "--yes")
    assert cluster.reclaimed == ["over"]
    assert "--reclaim removes the files" in desk.said
    assert desk.said.endswith("over on n0: 2 processes killed, its run directory removed")


def test_the_jobs_of_the_record_are_nobodys_orphans(
    desk: Desk, cluster: Surveyed, told: Told
) -> None:
    job = desk.launch()
    cluster.hold(a_run(job.id), processes=[a_process(job.id)])
    assert told()["orphans"] == []
    assert desk.said == f"{POOL}: the record is true"


def test_ranks_of_a_job_that_is_over_are_orphans_and_its_supervisor_is_for_a_while_not(
    desk: Desk, cluster: Surveyed, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = desk.launch()
    cluster.end(job.id, JobState.FAILED)
    desk("jobs")
    cluster.hold(a_run(job.id, over=True), processes=[a_process(job.id, "supervisor")])
    monkeypatch.setattr(time, "time", lambda: cluster.clock() + 1)
    assert told()["orphans"] == []
    monkeypatch.setattr(time, "time", lambda: cluster.clock() + 1000)
    assert told()["orphans"] == [job.id]
    monkeypatch.setattr(time, "time", lambda: cluster.clock() + 1)
    cluster.hold(a_run(job.id, over=True), processes=[a_process(job.id)])
    assert told()["orphans"] == [job.id]
    assert "its record says that it is over: failed" in desk.said


def test_a_dry_run_changes_nothing(desk: Desk, cluster: Surveyed, told: Told) -> None:
    store = desk.engine.store
    reached, never = orphaned(), orphaned()
    for job in (reached, never):
        store.add_job(job)
    cluster.hold(a_run(reached.id), a_run("other"))
    found = told("--dry-run", "--reclaim")
    assert (found["bound"], found["failed"], found["dry_run"]) == ([reached.id], [never.id], True)
    assert cluster.reclaimed == []
    assert [store.get_job(job.id).state for job in (reached, never)] == [JobState.PENDING] * 2
    assert desk.said.startswith(f"would be bound    {reached.id}")
    with pytest.raises(UsageError, match="contradict"):
        told("--dry-run", "--adopt", "other")


def test_a_node_that_is_silent_leaves_open_what_it_may_know(
    desk: Desk, cluster: Surveyed, told: Told
) -> None:
    reached, never = orphaned(), orphaned()
    for job in (reached, never):
        desk.engine.store.add_job(job)
    cluster.hold(a_run(reached.id))
    cluster.silence("n1")
    found = told()
    assert (found["bound"], found["failed"]) == ([reached.id], [])
    assert found["undecided"] == [never.id]
    assert found["silent"] == {"n1": "n1 is off"}
    assert "silent   n1: n1 is off" in desk.said
    cluster.silence("n0")
    with pytest.raises(Unreachable, match="n0 is off"):
        told()


def test_what_is_gone_there_is_noted(desk: Desk, cluster: Surveyed, told: Told) -> None:
    store = desk.engine.store
    ghost, half = orphaned(), orphaned()
    for job, nodes in ((ghost, ["n0"]), (half, ["n0", "n1"])):
        store.add_job(job)
        store.bind(job.id, handle=Handle(kind="fake", data={"job": job.id, "nodes": nodes}))
    cluster.hold()
    cluster.hold(a_run(half.id, node="n1"), node="n1")
    found = told("--dry-run")
    assert (found["ghosts"], found["partial"]) == ([ghost.id], {half.id: ["n0"]})
    assert f"partial  {half.id}: nothing of it is on n0" in desk.said
    assert not store.get_job(ghost.id).state.final
    told()
    assert store.get_job(ghost.id).state is JobState.LOST


def test_only_what_was_shown_and_agreed_to_is_reclaimed(
    desk: Desk, cluster: Surveyed, told: Told
) -> None:
    cluster.hold(a_run("one"), a_run("two"))
    with pytest.raises(UsageError, match="nobody to ask") as caught:
        told("--reclaim")
    assert caught.value.hint == "add --yes if it is meant"
    desk.answers = [False]
    with pytest.raises(UsageError, match="nothing was reclaimed"):
        told("--reclaim")
    assert cluster.reclaimed == []
    desk.answers = [True]
    assert [each["job"] for each in told("--reclaim")["reclaimed"]] == ["one", "two"]
    assert desk.surface.questions == ["End these 2, and remove the files there?"]
    cluster.problem = "no"
    assert desk(f"pool reconcile {POOL} --reclaim --yes") == 1
    assert "one on n0: NOT reclaimed: no" in desk.said


def test_a_job_that_is_on_record_is_not_reclaimed(desk: Desk, cluster: Surveyed) -> None:
    job = desk.launch()
    cluster.hold(a_run(job.id))
    with pytest.raises(Conflict, match="it is no orphan"):
        desk.session.run(desk.engine.reclaim(POOL, job.id))
    with pytest.raises(NotFound, match="no orphan 'x'"):
        desk.session.run(desk.engine.reclaim(POOL, "x"))


# --- adopting ------------------------------------------------------------------------------------


def running(cluster: Surveyed, **changes: Any) -> Job:
    """Let the cluster run a job of another record."""
    job = orphaned(a_spec(**changes))
    from jupyter_aiinfra.testing import FakeJob

    cluster.jobs[job.id] = FakeJob(job=job, state=JobState.RUNNING)
    return job


def test_an_orphan_is_taken_in_with_its_gpus(desk: Desk, cluster: Surveyed, told: Told) -> None:
    job = running(cluster)
    run = a_run(job.id, gpus="GPU-0", procs=2, max_restarts=3, env={"A": "1"}, kind="train")
    cluster.hold(dataclasses.replace(run, fetch=("history",)))
    assert told("--adopt", job.id)["adopted"] == [job.id]
    assert desk.said.startswith(f"adopted  {job.id}: digits, running")
    taken = desk.engine.store.get_job(job.id)
    spec = taken.spec
    assert (spec.argv, spec.procs, spec.max_restarts) == (("true",), 2, 3)
    assert (spec.env, spec.gpus, spec.fetch) == ({"A": "1"}, 1, ("history",))
    assert [lease.gpu for lease in desk.engine.store.leases()] == ["GPU-0"]
    with pytest.raises(Conflict, match="its code is not on this machine"):
        desk(f"jobs rerun {job.id}")


def test_an_orphan_whose_gpus_are_anothers_is_not(
    desk: Desk, cluster: Surveyed, told: Told
) -> None:
    desk.launch(gpus=1)
    job = running(cluster)
    cluster.hold(a_run(job.id, gpus="GPU-0"))
    with pytest.raises(Conflict, match="leased to another job"):
        told("--adopt", job.id)


def test_what_cannot_be_adopted_is_told_why(desk: Desk, cluster: Surveyed, told: Told) -> None:
    cluster.hold(
        a_run("wide"),
        dataclasses.replace(a_run("far"), nodes=("n0", "n9")),
        processes=[a_process("dirless")],
    )
    with pytest.raises(Conflict, match="no run directory: nothing says what it is"):
        told("--adopt", "dirless")
    with pytest.raises(Conflict, match="runs on n9 as well"):
        told("--adopt", "far")
    given_up = orphaned()
    desk.engine.store.add_job(given_up)
    desk.engine.store.fail_pending(given_up.id, reason="gone")
    cluster.hold(a_run(given_up.id))
    with pytest.raises(Conflict, match="on record already, as failed"):
        told("--adopt", given_up.id)


def test_a_pool_that_cannot_tell_says_so(tmp_path: Path) -> None:
    house = House(tmp_path)
    desk = Desk(house)
    pool = desk.engine.pool(POOL)
    unknown = orphaned()
    desk.session.run(pool.submit(desk.session.run(pool.plan(unknown)), EMPTY))
    with pytest.raises(UsageError, match="cannot tell what of ours"):
        desk(f"pool reconcile {POOL} --adopt {unknown.id}")
    house.close()


# --- looked for unasked --------------------------------------------------------------------------


def test_the_first_list_of_jobs_tells_what_nobody_records(desk: Desk, cluster: Surveyed) -> None:
    cluster.hold(a_run("stray"))
    desk("jobs")
    assert "nobody records" not in desk.said  # no job of ours is there: the pool was not asked
    desk.engine._leaks_told = False
    job = desk.launch()
    cluster.hold(a_run("stray"), a_run(job.id), a_run("old", over=True))
    desk("jobs")
    assert desk.said == f"on {POOL} runs what nobody records: stray; %pool reconcile {POOL}"
    desk("jobs")
    assert desk.said == ""


def test_a_pool_that_does_not_answer_is_left_out(desk: Desk, cluster: Surveyed) -> None:
    cluster.silence("n0")
    assert desk.session.run(desk.engine.leaks(everywhere=True)) == {}
