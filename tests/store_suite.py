"""What a store does, whatever it is kept in: the unit tests run it on SQLite, the integration
tests on PostgreSQL.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from jupyter_aiinfra.errors import (
    Conflict,
    JobNotFound,
    PoolExists,
    PoolNotFound,
    StoreError,
    UsageError,
)
from jupyter_aiinfra.model import (
    Budget,
    CaptureKind,
    Decision,
    Desired,
    Handle,
    IdleRule,
    Job,
    JobKind,
    JobSpec,
    JobState,
    Manifest,
    ManifestItem,
    Notice,
    Observation,
    Origin,
    Placement,
    PoolRecord,
    RankError,
    RankStatus,
    Restart,
    Submitter,
    TrackingRun,
    TrackingSpec,
    from_wire,
)
from jupyter_aiinfra.store import Store
from jupyter_aiinfra.store.readings import ChunkKey

__all__ = ["StoreSuite", "job", "seen"]

HANDLE = Handle(kind="local", data={"run_dir": "/runs/a", "pid": 7, "boot": None})


def job(job_id: str = "job1", *, pool: str = "here", **values: object) -> Job:
    spec = JobSpec(kind=JobKind.TRAIN, name="digits", argv=("python", "cell.py"))
    return replace(Job(id=job_id, pool=pool, spec=spec, created_at=100.0), **values)  # type: ignore[arg-type]


def seen(state: JobState, **values: object) -> Observation:
    return replace(Observation(state=state, seen_at=200.0), **values)  # type: ignore[arg-type]


def a_budget(budget_id: str = "b1", **values: object) -> Budget:
    made = Budget(
        id=budget_id,
        scope="user",
        subject="anna",
        period="month",
        amount="20",
        currency="USD",
        created_at=3.0,
    )
    return replace(made, **values)  # type: ignore[arg-type]


def decision(kind: str, *, job: str | None = None, **values: object) -> Decision:
    key = f"b1/1/total/{kind}/{job}"
    made = Decision(key=key, by="b1", kind="warning", text="said", at=5.0, job=job)
    return replace(made, kind=kind, **values)  # type: ignore[arg-type]


SUBMITTER = Submitter(host="gpu1", process={"pid": 7}, since=150.0)


def claim(store: Store, job_id: str, *gpus: str, expected: int = 0, shared: bool = False) -> bool:
    return store.claim(
        job_id, expected=expected, placement=placed(*gpus), shared=shared, submitter=SUBMITTER
    )


def placed(*gpus: str, node: str = "n0") -> tuple[Placement, ...]:
    return (Placement(node=node, gpus=gpus),)


class StoreSuite:
    """Subclasses give the fixtures `open_again` (opens the same database) and `store`."""

    @pytest.fixture
    def store(self, open_again: Callable[[], Store]) -> Store:
        store = open_again()
        store.add_pool(PoolRecord(name="here", kind="local"))
        return store

    @pytest.fixture
    def added(self, store: Store) -> Job:
        store.add_job(job())
        return store.get_job("job1")

    # pools

    def test_a_pool_comes_back_as_it_was_added(
        self, store: Store, open_again: Callable[[], Store]
    ) -> None:
        record = PoolRecord(
            name="größer",
            kind="ssh",
            options={"hosts": ["a", "b"], "port": 22, "deep": {"x": [1.5, None, True]}},
            created_at=1732000000.123456,
        )
        store.add_pool(record)
        assert open_again().get_pool("größer") == record

    def test_pools_are_listed_by_name(self, store: Store) -> None:
        for name in ("zeta", "alpha"):
            store.add_pool(PoolRecord(name=name, kind="local"))
        assert [pool.name for pool in store.list_pools()] == ["alpha", "here", "zeta"]

    def test_a_taken_name_is_refused_and_nothing_changes(self, store: Store) -> None:
        version = store.version()
        with pytest.raises(PoolExists, match="'here'") as caught:
            store.add_pool(PoolRecord(name="here", kind="ssh"))
        assert "%pool show here" in caught.value.hint
        assert store.get_pool("here").kind == "local"
        assert store.version() == version

    def test_an_unknown_pool_is_named_with_those_there_are(self, store: Store) -> None:
        with pytest.raises(PoolNotFound, match="'hers'") as caught:
            store.get_pool("hers")
        assert "here" in caught.value.hint
        with pytest.raises(PoolNotFound) as caught:
            store.remove_pool("elsewhere-entirely")
        assert "attached: here" in caught.value.hint

    def test_a_removed_pool_is_gone_and_its_jobs_are_not(self, store: Store, added: Job) -> None:
        store.remove_pool("here")
        assert store.list_pools() == []
        assert store.get_job(added.id) == added
        assert store.bind(added.id, handle=HANDLE)

    # jobs

    def test_a_job_comes_back_as_it_was_added(
        self, store: Store, open_again: Callable[[], Store]
    ) -> None:
        spec = JobSpec(
            kind=JobKind.NOTEBOOK,
            name="naïve",
            argv=("python", "-c", "print('ü')"),
            nodes=2,
            procs=4,
            env={"A": "1"},
            fetch=("history",),
            time_limit_seconds=0.1,
            tracking=TrackingSpec(uri="sqlite:///x", params={"lr": "0.1"}),
            manifest=Manifest(
                items=(ManifestItem(name="x", kind=CaptureKind.DATA, type="int", size_bytes=0),)
            ),
            origin=Origin(code="x = 1\n" * 1000, git={"commit": "abc"}),
        )
        observation = Observation(
            state=JobState.RUNNING,
            seen_at=1.25,
            ranks=(
                RankStatus(
                    rank=0, node="n", error=RankError(type="E", message="m\u0000\ud800", line=3)
                ),
            ),
            ended_by={"SIGINT": (0, 1)},
            tracking=TrackingRun(uri="u", run_id="r"),
            results=("history",),
        )
        given = Job(
            id="whole",
            pool="here",
            spec=spec,
            state=JobState.RUNNING,
            desired=Desired.STOP,
            version=7,
            handle=HANDLE,
            seen=observation,
            created_at=1732000000.123456,
            updated_at=1732000001.654321,
        )
        store.add_job(given)
        assert open_again().get_job("whole") == given

    def test_a_new_job_needs_its_pool(self, store: Store) -> None:
        with pytest.raises(PoolNotFound, match="'gone'"):
            store.add_job(job(pool="gone"))
        assert store.list_jobs() == []

    def test_an_id_is_used_once(self, store: Store, added: Job) -> None:
        with pytest.raises(Conflict, match="job1"):
            store.add_job(job(version=5))
        assert store.get_job("job1") == added

    def test_the_beginning_of_an_id_will_do_when_it_is_the_only_one(self, store: Store) -> None:
        for number, job_id in enumerate(["abc1", "abc2", "abd%", "ab_", "abc"]):
            store.add_job(job(job_id, created_at=float(number)))
        assert store.get_job("abd").id == "abd%"
        assert store.get_job("abc").id == "abc", "a whole id is never ambiguous"
        assert store.get_job("ab_").id == "ab_"
        with pytest.raises(JobNotFound):
            store.get_job("a%")
        with pytest.raises(JobNotFound):
            store.get_job("")
        with pytest.raises(UsageError, match="5 jobs: abc, ab_, abd%, abc2, abc1") as caught:
            store.get_job("ab")
        assert "more of the id" in caught.value.hint

    def test_many_candidates_are_not_all_named(self, store: Store) -> None:
        for number in range(7):
            store.add_job(job(f"j{number}", created_at=float(number)))
        with pytest.raises(UsageError, match="7 jobs: j6, j5, j4, j3, j2 and 2 more"):
            store.get_job("j")

    def test_jobs_are_listed_newest_first_and_as_asked(self, store: Store) -> None:
        store.add_pool(PoolRecord(name="there", kind="local"))
        store.add_job(job("a", created_at=1.0))
        store.add_job(job("b", created_at=3.0, pool="there"))
        store.add_job(job("c", created_at=2.0))
        store.add_job(job("d", created_at=2.0, state=JobState.LOST))

        def ids(**asked: object) -> list[str]:
            return [found.id for found in store.list_jobs(**asked)]  # type: ignore[arg-type]

        assert ids() == ["b", "d", "c", "a"]
        assert ids(pool="here") == ["d", "c", "a"]
        assert ids(active=True) == ["b", "c", "a"]
        assert ids(pool="here", active=True, limit=1) == ["c"]
        assert ids(pool="nowhere") == []
        assert ids(states=[JobState.LOST, JobState.FAILED]) == ["d"]
        assert ids(states=[]) == []
        assert ids(before="b") == ["d", "c", "a"]
        assert ids(before="d", limit=1) == ["c"]
        assert ids(before="a") == []
        store.remove_job("d")
        assert ids(before="d") == ["b", "c", "a"], "of a job that is gone only its id is known"

    def test_active_jobs_are_counted_by_pool(self, store: Store) -> None:
        assert store.count_active() == {}
        store.add_pool(PoolRecord(name="there", kind="local"))
        for number, pool in enumerate(["there", "here", "there"]):
            store.add_job(job(f"j{number}", pool=pool))
        store.add_job(job("over", state=JobState.LOST))
        assert store.count_active() == {"there": 2, "here": 1}

    @pytest.mark.parametrize(
        ("code", "hint"),
        [
            ("loader = None", "LOADER = n"),
            ("100 % x_y", "% x_"),
            ("Straße", "STRASSE"),
            ("\u212a", "k"),
            ("a\\b", "a\\b"),
            ('say "x"', '"x"'),
            ("a\tb", "a\tb"),
        ],
    )
    def test_a_hint_leaves_out_no_job_that_has_it(self, store: Store, code: str, hint: str) -> None:
        spec = JobSpec(kind=JobKind.TRAIN, name="n", argv=(), origin=Origin(code=code))
        store.add_job(Job(id="with", pool="here", spec=spec))
        store.add_job(job("without"))
        assert "with" in [found.id for found in store.list_jobs(hint=hint)]

    def test_a_hint_leaves_out_jobs_without_it(self, store: Store) -> None:
        for number in range(3):
            store.add_job(job(f"id{number}"))
        assert [found.id for found in store.list_jobs(hint="ID1")] == ["id1"]
        assert len(store.list_jobs(hint="here")) == 3
        assert store.list_jobs(hint="i_1") == []

    def test_bind_is_won_once(self, store: Store, added: Job) -> None:
        assert store.bind(added.id, handle=HANDLE)
        assert not store.bind(added.id, handle=Handle(kind="local", data={"other": 1}))
        bound = store.get_job(added.id)
        assert (bound.handle, bound.state, bound.version) == (HANDLE, JobState.STARTING, 1)
        assert bound.updated_at > added.updated_at

    def test_a_job_that_is_over_is_not_bound(self, store: Store, added: Job) -> None:
        assert store.fail_pending(added.id, reason="the kernel is gone")
        assert not store.bind(added.id, handle=HANDLE)
        assert store.get_job(added.id).handle is None

    def test_advance_needs_the_version_it_read(self, store: Store, added: Job) -> None:
        running = seen(JobState.RUNNING, started_at=190.0)
        assert store.advance(added.id, expected=0, seen=running)
        assert not store.advance(added.id, expected=0, seen=seen(JobState.FAILED))
        assert not store.advance(added.id, expected=2, seen=seen(JobState.FAILED))
        now = store.get_job(added.id)
        assert (now.state, now.seen, now.version) == (JobState.RUNNING, running, 1)
        assert (now.started_at, now.ended_at) == (190.0, None)

    @pytest.mark.parametrize("end", [state for state in JobState if state.final])
    @pytest.mark.parametrize("then", list(JobState))
    def test_the_first_end_is_the_end(
        self, store: Store, added: Job, end: JobState, then: JobState
    ) -> None:
        last = seen(end, ended_at=199.0, exit_code=3)
        assert store.advance(added.id, expected=0, seen=last)
        assert not store.advance(added.id, expected=1, seen=seen(then))
        now = store.get_job(added.id)
        assert (now.state, now.seen, now.version, now.ended_at) == (end, last, 1, 199.0)

    def test_a_job_never_goes_back(self, store: Store, added: Job) -> None:
        assert store.advance(added.id, expected=0, seen=seen(JobState.STARTING))
        assert not store.advance(added.id, expected=1, seen=seen(JobState.PENDING))
        assert store.advance(added.id, expected=1, seen=seen(JobState.RUNNING))
        assert not store.advance(added.id, expected=2, seen=seen(JobState.STARTING))
        assert not store.advance(added.id, expected=2, seen=seen(JobState.PENDING))
        assert store.get_job(added.id).state is JobState.RUNNING

    def test_each_restart_is_an_event_once(self, store: Store, added: Job) -> None:
        second = Restart(attempt=2, at=150.0, reason="gpu2 was lost", nodes=("gpu1",))
        third = Restart(attempt=3, at=160.0, reason="rank 1 failed", nodes=("gpu1",))
        running = JobState.RUNNING
        for version, restarts in enumerate([(), (second,), (second,), (), (second, third)]):
            now = seen(running, attempt=1 + len(restarts), restarts=restarts)
            assert store.advance(added.id, expected=version, seen=now)
        assert not store.advance(added.id, expected=0, seen=seen(running, restarts=(third,)))
        told = [event for event in store.events(subject=added.id) if event.kind == "job.restart"]
        assert [from_wire(dict(event.detail), Restart) for event in told] == [second, third]

    def test_seeing_the_same_state_again_is_noted_without_an_event(
        self, store: Store, added: Job
    ) -> None:
        assert store.advance(added.id, expected=0, seen=seen(JobState.RUNNING))
        version = store.version()
        later = seen(JobState.RUNNING, seen_at=300.0, strays=2)
        assert store.advance(added.id, expected=1, seen=later)
        assert store.get_job(added.id).seen == later
        assert store.version() == version

    def test_request_needs_the_version_it_read(self, store: Store, added: Job) -> None:
        assert store.request(added.id, expected=0, desired=Desired.STOP)
        assert not store.request(added.id, expected=0, desired=Desired.RUN)
        now = store.get_job(added.id)
        assert (now.desired, now.state, now.version) == (Desired.STOP, JobState.PENDING, 1)

    def test_nothing_is_asked_of_a_job_that_is_over(self, store: Store, added: Job) -> None:
        assert store.advance(added.id, expected=0, seen=seen(JobState.SUCCEEDED))
        assert not store.request(added.id, expected=1, desired=Desired.STOP)
        assert store.get_job(added.id).desired is Desired.RUN

    def test_only_a_job_that_no_pool_has_fails_pending(self, store: Store, added: Job) -> None:
        store.add_job(job("bound"))
        assert store.bind("bound", handle=HANDLE)
        assert not store.fail_pending("bound", reason="x")
        assert store.fail_pending(added.id, reason="the launching process is gone")
        assert not store.fail_pending(added.id, reason="another reason")
        failed = store.get_job(added.id)
        assert failed.state is JobState.FAILED
        assert failed.seen is not None
        assert failed.seen.reason == "the launching process is gone"
        assert failed.ended_at == failed.seen.seen_at
        assert store.get_job("bound").state is JobState.STARTING

    def test_only_a_job_that_is_over_is_removed(self, store: Store, added: Job) -> None:
        with pytest.raises(Conflict, match="pending") as caught:
            store.remove_job(added.id)
        assert "%jobs cancel" in caught.value.hint
        assert store.advance(added.id, expected=0, seen=seen(JobState.CANCELLED))
        store.remove_job(added.id)
        with pytest.raises(JobNotFound):
            store.get_job(added.id)
        assert store.events(subject=added.id)[-1].kind == "job.removed"

    def test_every_verb_says_when_there_is_no_such_job(self, store: Store, added: Job) -> None:
        for verb in (
            lambda: store.get_job("nope"),
            lambda: store.bind("nope", handle=HANDLE),
            lambda: store.advance("nope", expected=0, seen=seen(JobState.LOST)),
            lambda: store.request("nope", expected=0, desired=Desired.STOP),
            lambda: store.fail_pending("nope", reason="x"),
            lambda: store.remove_job("nope"),
            lambda: claim(store, "nope", "g0"),
            lambda: store.end_queued("nope", state=JobState.CANCELLED, reason="x"),
            lambda: store.remove_job(added.id[:2]),  # a beginning is for get_job only
        ):
            with pytest.raises(JobNotFound):
                verb()

    # leases

    def test_a_queued_job_is_claimed_once_and_lets_its_gpus_go_with_its_end(
        self, store: Store
    ) -> None:
        queued = job(state=JobState.QUEUED)
        store.add_job(queued)
        assert not store.bind("job1", handle=HANDLE)
        assert not store.fail_pending("job1", reason="it waits for nobody's process")
        assert not claim(store, "job1", "g0", expected=1)
        assert claim(store, "job1", "g0", "g1")
        assert not claim(store, "job1", "g2", expected=1)
        claimed = store.get_job("job1")
        assert (claimed.state, claimed.placement) == (JobState.PENDING, placed("g0", "g1"))
        assert claimed.submitter == SUBMITTER
        (one, two) = store.leases()
        assert (one.pool, one.node, one.gpu, one.job, one.shared) == (
            "here",
            "n0",
            "g0",
            "job1",
            False,
        )
        assert two.gpu == "g1"
        assert store.leases(pool="here") == [one, two]
        assert store.leases(pool="there") == []
        assert store.bind("job1", handle=HANDLE)
        assert store.advance("job1", expected=2, seen=seen(JobState.RUNNING))
        assert len(store.leases()) == 2
        assert store.advance("job1", expected=3, seen=seen(JobState.SUCCEEDED))
        assert store.leases() == []
        moves = [event.detail for event in store.events() if event.kind == "job.state"]
        assert moves[0] == {"from": "queued", "to": "pending"}

    def test_what_is_not_wanted_any_more_is_not_claimed(self, store: Store) -> None:
        store.add_job(job(state=JobState.QUEUED))
        assert store.request("job1", expected=0, desired=Desired.STOP)
        assert not claim(store, "job1", "g0", expected=1)
        assert store.end_queued("job1", state=JobState.CANCELLED, reason="cancelled")
        assert not store.end_queued("job1", state=JobState.CANCELLED, reason="cancelled")
        over = store.get_job("job1")
        assert over.state is JobState.CANCELLED
        assert over.seen is not None
        assert (over.seen.reason, over.ended_at) == ("cancelled", over.seen.seen_at)

    @pytest.mark.parametrize(
        ("first", "second", "both"),
        [(False, False, False), (True, False, False), (False, True, False), (True, True, True)],
    )
    def test_a_gpu_is_shared_only_by_those_who_all_ask(
        self, store: Store, first: bool, second: bool, both: bool
    ) -> None:
        for name in ("a", "b"):
            store.add_job(job(name, state=JobState.QUEUED))
        assert claim(store, "a", "g0", shared=first)
        assert claim(store, "b", "g1", "g0", shared=second) is both
        # All of them or none.
        assert {lease.job for lease in store.leases()} == ({"a", "b"} if both else {"a"})
        assert store.get_job("b").state is (JobState.PENDING if both else JobState.QUEUED)

    def test_two_pools_of_one_machine_lease_a_gpu_once(self, store: Store) -> None:
        store.add_pool(PoolRecord(name="there", kind="local"))
        store.add_job(job("a", state=JobState.QUEUED))
        store.add_job(job("b", pool="there", state=JobState.QUEUED))
        assert claim(store, "a", "g0")
        assert not claim(store, "b", "g0")

    def test_a_job_is_added_with_its_leases_or_not_at_all(self, store: Store) -> None:
        assert store.add_placed(job("a", placement=placed("g0")))
        assert not store.add_placed(job("b", placement=placed("g1", "g0")))
        with pytest.raises(JobNotFound):
            store.get_job("b")
        with pytest.raises(Conflict):
            store.add_placed(job("a", placement=placed("g2")))
        assert [lease.gpu for lease in store.leases()] == ["g0"]
        assert store.add_placed(job("c"))
        assert store.get_job("a").placement == placed("g0")

    def test_a_pending_job_that_failed_lets_go_unless_it_may_run_all_the_same(
        self, store: Store
    ) -> None:
        for name, gpu in (("a", "g0"), ("b", "g1")):
            assert store.add_placed(job(name, placement=placed(gpu)))
        assert not store.release("b")
        assert store.fail_pending("a", reason="refused")
        assert store.fail_pending("b", reason="no answer", keep_leases=True)
        assert [lease.job for lease in store.leases()] == ["b"]
        store.remove_job("b")
        assert store.release("b")
        assert not store.release("b")
        assert store.leases() == []

    # events

    def test_each_change_is_an_event_and_a_lost_race_is_none(self, store: Store) -> None:
        store.add_job(job())
        store.bind("job1", handle=HANDLE)
        store.bind("job1", handle=HANDLE)
        store.request("job1", expected=1, desired=Desired.STOP)
        store.request("job1", expected=1, desired=Desired.STOP)
        store.advance("job1", expected=2, seen=seen(JobState.CANCELLED, reason="interrupted"))
        store.advance("job1", expected=2, seen=seen(JobState.FAILED))
        store.remove_job("job1")
        store.remove_pool("here")
        assert [(event.kind, event.subject, event.detail) for event in store.events()] == [
            ("pool.added", "here", {"kind": "local"}),
            ("job.added", "job1", {"pool": "here", "name": "digits", "state": "pending"}),
            ("job.state", "job1", {"from": "pending", "to": "starting"}),
            ("job.desired", "job1", {"from": "run", "to": "stop"}),
            ("job.state", "job1", {"from": "starting", "to": "cancelled", "reason": "interrupted"}),
            ("job.removed", "job1", {"state": "cancelled"}),
            ("pool.removed", "here", {}),
        ]

    def test_events_go_on_from_the_last_one_seen(self, store: Store) -> None:
        last = store.version()
        ids = [store.add_event("note", subject, {"n": 1}) for subject in ("a", "b", "a")]
        assert ids == sorted(set(ids))
        assert ids[0] > last
        assert [event.id for event in store.events(since=last)] == ids
        assert [event.id for event in store.events(since=ids[0])] == ids[1:]
        assert [event.id for event in store.events(since=last, limit=2)] == ids[:2]
        assert [event.id for event in store.events(subject="a")] == [ids[0], ids[2]]
        assert store.version() == ids[-1]
        assert store.events(since=ids[-1]) == []

    def test_the_version_of_an_empty_store_is_zero(self, open_again: Callable[[], Store]) -> None:
        assert open_again().version() == 0

    def test_what_is_no_json_is_refused_whole(self, store: Store) -> None:
        version = store.version()
        with pytest.raises(StoreError, match="not JSON compliant") as caught:
            store.add_event("note", "a", {"loss": float("nan")})
        assert "not finite" in caught.value.hint
        assert store.version() == version

    # from several places at once

    def test_two_stores_see_each_others_changes(
        self, store: Store, added: Job, open_again: Callable[[], Store]
    ) -> None:
        other = open_again()
        assert other.bind(added.id, handle=HANDLE)
        assert store.get_job(added.id).handle == HANDLE
        assert not store.bind(added.id, handle=HANDLE)

    def test_threads_share_a_store(self, store: Store, added: Job) -> None:
        start = threading.Barrier(4)

        def bump(_: int) -> int:
            start.wait(10)
            won = 0
            for _attempt in range(10):
                version = store.get_job(added.id).version
                won += store.request(added.id, expected=version, desired=Desired.STOP)
            return won

        with ThreadPoolExecutor(4) as threads:
            won = sum(threads.map(bump, range(4)))
        assert won == store.get_job(added.id).version > 0

    def test_a_closed_store_closes_again_and_opens_when_used(self, store: Store) -> None:
        store.close()
        store.close()
        assert store.get_pool("here").kind == "local"

    # readings

    def test_chunks_come_back_by_pool_node_and_time(self, store: Store) -> None:
        keys = [
            ChunkKey("here", "n0", 10, 600),
            ChunkKey("here", "n0", 10, 1200),
            ChunkKey("here", "größer", 10, 600),
            ChunkKey("away", "n0", 10, 600),
            ChunkKey("here", "n0", 60, 3600),
        ]
        store.change_chunks(keys, lambda found: {key: f"{key}".encode() for key in keys})
        assert set(store.chunks(10, start=0, end=5000)) == set(keys[:4])
        assert set(store.chunks(10, start=600, end=1200, pool="here")) == {keys[0], keys[2]}
        assert store.chunks(10, start=601, end=5000) == {keys[1]: f"{keys[1]}".encode()}
        found = store.chunks(10, start=0, end=5000, pool="here", nodes=["größer", "n7"])
        assert set(found) == {keys[2]}

    def test_a_chunk_is_changed_by_what_is_there(self, store: Store) -> None:
        key, other = ChunkKey("here", "n0", 10, 600), ChunkKey("here", "n0", 10, 1200)
        store.change_chunks([key], lambda found: {key: b"\x00\xff"})
        seen: list[object] = []

        def change(found: Mapping[ChunkKey, bytes]) -> Mapping[ChunkKey, bytes]:
            seen.append(dict(found))
            return {key: found[key] + b"!", other: b""}

        store.change_chunks([key, other], change)
        assert seen == [{key: b"\x00\xff"}]
        assert store.chunks(10, start=0, end=5000) == {key: b"\x00\xff!", other: b""}

    def test_a_change_that_fails_changes_nothing(self, store: Store) -> None:
        key = ChunkKey("here", "n0", 10, 600)

        def fail(found: Mapping[ChunkKey, bytes]) -> Mapping[ChunkKey, bytes]:
            raise RuntimeError("damaged")

        with pytest.raises(RuntimeError):
            store.change_chunks([key], fail)
        assert store.chunks(10, start=0, end=5000) == {}

    def test_changes_of_many_at_once_are_all_there(
        self, store: Store, open_again: Callable[[], Store]
    ) -> None:
        key = ChunkKey("here", "n0", 10, 600)

        def add(number: int) -> None:
            mine = open_again()
            for _ in range(5):
                mine.change_chunks([key], lambda found: {key: found.get(key, b"") + b"x"})

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(add, range(4)))
        assert store.chunks(10, start=0, end=5000) == {key: b"x" * 20}

    def test_old_chunks_of_one_resolution_go(self, store: Store) -> None:
        keys = [ChunkKey("here", "n0", width, at) for width in (10, 60) for at in (0, 3600)]
        store.change_chunks(keys, lambda found: dict.fromkeys(keys, b"x"))
        assert store.drop_chunks(10, before=3600) == 1
        assert store.drop_chunks(10, before=3600) == 0
        assert set(store.chunks(10, start=0, end=9999)) == {keys[1]}
        assert set(store.chunks(60, start=0, end=9999)) == set(keys[2:])

    # budgets and decisions

    def test_a_budget_is_kept_and_changed_in_place(
        self, store: Store, open_again: Callable[[], Store]
    ) -> None:
        made = store.set_budget(a_budget())
        assert open_again().budgets() == [made]
        changed = store.set_budget(a_budget("b2", amount="7/2", action="ask"))
        assert (changed.id, changed.revision, changed.amount) == ("b1", 2, "7/2")
        other = store.set_budget(a_budget("b3", period="day"))
        assert {each.id for each in store.budgets()} == {"b1", "b3"}
        assert store.snooze_budget("b1", until=50.0, by="anna")
        assert not store.snooze_budget("b9", until=50.0)
        snoozed = store.get_budget("b1")
        assert (snoozed.snoozed_until, snoozed.snoozed_by, snoozed.revision) == (50.0, "anna", 3)
        assert store.remove_budget(other.id)
        assert not store.remove_budget(other.id)
        assert [event.kind for event in store.events(subject="b1")] == [
            "budget.set",
            "budget.set",
            "budget.snoozed",
        ]

    def test_a_decision_is_made_once_by_any_number_of_stores(
        self, store: Store, added: Job, open_again: Callable[[], Store]
    ) -> None:
        budget = store.set_budget(a_budget())
        stores = [store, *(open_again() for _ in range(3))]
        stop = decision("stop", job=added.id, grace_seconds=30.0)
        barrier = threading.Barrier(len(stores))

        def decide(each: Store) -> bool:
            barrier.wait()
            return each.decide(stop, revision=budget.revision)

        with ThreadPoolExecutor(len(stores)) as several:
            assert sorted(several.map(decide, stores)) == [False, False, False, True]
        now = store.get_job(added.id)
        assert now.desired is Desired.STOP
        assert now.notice is not None
        assert (now.notice.kind, now.notice.grace_seconds) == ("stop", 30.0)
        assert store.decisions(by="b1") == [stop]
        assert store.decisions(job=added.id) == [stop]
        assert set(store.claimed([stop.key, "other"])) == {stop.key}
        kinds = [event.kind for event in store.events(subject=added.id)]
        assert kinds == ["job.added", "job.notice", "job.desired"]

    def test_nothing_is_decided_of_what_is_over_or_ends_or_by_what_was_changed(
        self, store: Store, added: Job
    ) -> None:
        budget = store.set_budget(a_budget())
        assert not store.decide(decision("warning", job="gone"))
        store.snooze_budget("b1", until=None)
        assert not store.decide(decision("stop", job=added.id), revision=budget.revision)
        store.request(added.id, expected=0, desired=Desired.STOP)
        assert not store.decide(decision("stop", job=added.id))
        assert store.decide(decision("warning", job=added.id))
        store.fail_pending(added.id, reason="because")
        assert not store.decide(decision("question", job=added.id))
        # What is about no job, and what kept one from being launched, needs none.
        assert store.decide(decision("question"))
        assert store.decide(decision("refusal", job="never"))

    def test_a_notice_is_kept_by_what_weighs_more_and_taken_back(
        self, store: Store, added: Job
    ) -> None:
        store.set_budget(a_budget())
        assert store.decide(decision("question", job=added.id, until=9.0))
        assert store.decide(decision("warning", job=added.id))
        assert store.get_job(added.id).notice == Notice(
            kind="question", text="said", by="b1", at=5.0, until=9.0
        )
        assert not store.take_notice_back(added.id, by="idle")
        assert store.take_notice_back(added.id, by="b1")
        assert store.get_job(added.id).notice is None
        assert store.decide(decision("stop", job=added.id))
        assert not store.take_notice_back(added.id, by="b1")
        assert store.remove_budget("b1")
        assert store.get_job(added.id).notice is not None

    def test_a_job_brings_its_budget_and_takes_it_along(self, store: Store) -> None:
        spec = replace(job().spec, budget="41/2 USD")
        store.add_job(job("job7", spec=spec))
        (budget,) = store.budgets()
        assert (budget.scope, budget.subject, budget.amount) == ("job", "job7", "41/2")
        store.fail_pending("job7", reason="because")
        store.remove_job("job7")
        assert store.budgets() == []

    def test_idle_rules_are_kept_by_name(self, store: Store) -> None:
        store.set_idle_rule("here", IdleRule(stop_seconds=1800.0))
        store.set_idle_rule("job1", IdleRule(watch=False))
        assert store.idle_rules() == {
            "here": IdleRule(stop_seconds=1800.0),
            "job1": IdleRule(watch=False),
        }
        store.set_idle_rule("here", None)
        assert set(store.idle_rules()) == {"job1"}
