"""What a store does with schedules and their runs: on SQLite in the unit tests, on PostgreSQL in
the integration tests.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from jupyter_aiinfra.errors import Conflict, NotFound, UsageError
from jupyter_aiinfra.model import Submitter
from jupyter_aiinfra.schedule import Policy, Run, RunState, Schedule, Trigger, Version
from jupyter_aiinfra.store import Store
from jupyter_aiinfra.store.runs import Decided

__all__ = ["ScheduleSuite", "a_run", "a_schedule", "a_version"]

ME = Submitter(host="here", process={"pid": 7}, since=150.0)


def a_schedule(schedule_id: str = "s1", **values: Any) -> Schedule:
    made = Schedule(id=schedule_id, name=f"name-{schedule_id}", next_due=100.0, created_at=50.0)
    return replace(made, **values)


def a_version(schedule_id: str = "s1", number: int = 1, **values: Any) -> Version:
    made = Version(
        schedule=schedule_id,
        number=number,
        notebook="/home/anna/größe.ipynb",
        pool="lab",
        timezone="Europe/Berlin",
        triggers=(Trigger(kind="cron", lines=("0 2 * * *",)), Trigger(kind="at", times=(5.5,))),
        policy=Policy(catch_up="last", window_seconds=60.0, except_days=("2026-12-24",)),
        parameters={"lr": 0.1, "b": None, "deep": {"x": [1, "a"]}},
        form={"type": "object", "properties": {"lr": {"type": "number"}, "b": {}}},
        options={"kernel": "python3"},
        snapshot={"digest": "abc"},
        created_at=50.0,
        created_by="anna",
    )
    return replace(made, **values)


def a_run(run_id: str = "r1", *, key: str | None = None, **values: Any) -> Run:
    made = Run(
        id=run_id,
        schedule="s1",
        version=1,
        key=key or f"slot:{run_id}",
        trigger="clock",
        state=RunState.QUEUED,
        slot=100.0,
        created_at=100.0,
        start_at=100.0,
    )
    return replace(made, **values)


class ScheduleSuite:
    """Subclasses give the fixture `open_again`, which opens the same database."""

    @pytest.fixture
    def store(self, open_again: Callable[[], Store]) -> Store:
        store = open_again()
        store.add_schedule(a_schedule(), a_version())
        return store

    # schedules and versions

    def test_what_is_added_comes_back(self, store: Store) -> None:
        assert store.get_schedule("s1") == a_schedule()
        assert store.schedule_version("s1", 1) == a_version()
        assert list(store.schedule_version("s1", 1).parameters) == ["lr", "b", "deep"]
        assert [event.kind for event in store.events()] == ["schedule.added"]

    def test_a_schedule_is_found_by_name_id_and_beginning(self, store: Store) -> None:
        store.add_schedule(a_schedule("s12x"), a_version("s12x"))
        store.add_schedule(a_schedule("s12y", name="s1"), a_version("s12y"))
        assert store.get_schedule("s1").id == "s1"
        assert store.get_schedule("name-s12x").id == "s12x"
        assert store.get_schedule("s12x").id == "s12x"
        with pytest.raises(UsageError, match="several"):
            store.get_schedule("s12")
        with pytest.raises(NotFound, match="no schedule 'name-s12z'") as caught:
            store.get_schedule("name-s12z")
        assert "did you mean name-s12" in caught.value.hint

    def test_a_name_is_taken_until_its_schedule_is_removed(self, store: Store) -> None:
        second = a_schedule("s2", name="name-s1")
        with pytest.raises(Conflict, match="name-s1"):
            store.add_schedule(second, a_version("s2"))
        removed = store.change_schedule(a_schedule(), event="schedule.removed", removed_at=5.0)
        assert removed is not None
        store.add_schedule(second, a_version("s2"))
        with pytest.raises(Conflict, match="name-s1"):
            store.change_schedule(removed, event="schedule.restored", removed_at=None)
        renamed = store.change_schedule(
            removed, event="schedule.restored", removed_at=None, name="other"
        )
        assert renamed is not None
        assert [each.name for each in store.schedules()] == ["name-s1", "other"]

    def test_a_change_needs_the_schedule_as_it_is(self, store: Store) -> None:
        old = store.get_schedule("s1")
        new = store.change_schedule(
            old, event="schedule.changed", version=a_version(number=2), next_due=7.0
        )
        assert new == store.get_schedule("s1")
        assert new is not None
        assert (new.version, new.next_due, new.revision) == (2, 7.0, 1)
        assert store.change_schedule(old, event="schedule.paused", paused_at=1.0) is None
        assert [each.number for each in store.schedule_versions("s1")] == [2, 1]
        assert store.current_versions()["s1"].number == 2
        with pytest.raises(NotFound):
            store.schedule_version("s1", 3)

    def test_of_many_who_edit_at_once_one_does(self, open_again: Callable[[], Store]) -> None:
        open_again().add_schedule(a_schedule(), a_version())
        stores = [open_again() for _ in range(4)]
        ready = threading.Barrier(4)

        def edit(store: Store) -> bool:
            old = store.get_schedule("s1")
            ready.wait(30)
            changed = store.change_schedule(
                old, event="schedule.changed", version=a_version(number=2)
            )
            return changed is not None

        with ThreadPoolExecutor(4) as pool:
            assert sorted(pool.map(edit, stores)) == [False, False, False, True]

    def test_what_was_removed_long_ago_is_forgotten(self, store: Store) -> None:
        store.add_runs([a_run()])
        store.change_schedule(a_schedule(), event="schedule.removed", removed_at=5.0)
        assert store.forget_schedules(removed_before=5.0) == 0
        assert store.forget_schedules(removed_before=6.0) == 1
        assert store.schedules(removed=True) == []
        assert store.runs() == []

    # deciding

    def test_who_is_due_comes_with_version_and_active_runs(self, store: Store) -> None:
        store.add_schedule(a_schedule("s2", next_due=None), a_version("s2"))
        store.add_schedule(a_schedule("s3", next_due=90.0), a_version("s3"))
        store.add_schedule(a_schedule("s4", next_due=None, paused_at=1.0), a_version("s4"))
        store.add_schedule(a_schedule("s5", next_due=900.0, decided=900.0), a_version("s5"))
        store.add_runs([a_run(), a_run("r2", state=RunState.SUCCEEDED)])
        due = store.due_schedules(100.0, ahead_seconds=300.0, limit=10)
        assert [each.schedule.id for each in due] == ["s3", "s1", "s5"]
        assert due[1].version == a_version()
        assert [run.id for run in due[1].active] == ["r1"]
        assert store.due_schedules(99.0, ahead_seconds=1000.0, limit=10)[0].schedule.id == "s3"
        assert len(store.due_schedules(100.0, ahead_seconds=300.0, limit=1)) == 1
        assert store.next_due() == 90.0

    def test_what_is_decided_is_written_once(self, open_again: Callable[[], Store]) -> None:
        open_again().add_schedule(a_schedule(), a_version())
        stores = [open_again() for _ in range(4)]
        ready = threading.Barrier(4)

        def decide(number: int) -> list[str]:
            store = stores[number]
            (due,) = store.due_schedules(100.0, ahead_seconds=300.0, limit=10)
            ready.wait(30)
            run = a_run(f"r{number}", key="slot:100")
            decided = Decided(
                schedule=due.schedule, decided=100.0, next_due=200.0, seen="x", runs=(run,)
            )
            return [each.id for each in store.decide_schedules([decided])]

        with ThreadPoolExecutor(4) as pool:
            written = [each for some in pool.map(decide, range(4)) for each in some]
        assert len(written) == 1
        assert [run.id for run in stores[0].runs()] == written
        schedule = stores[0].get_schedule("s1")
        assert (schedule.decided, schedule.next_due, schedule.seen) == (100.0, 200.0, "x")

    def test_an_end_is_to_be_told_and_one_of_all_who_look_tells_it(
        self, open_again: Callable[[], Store]
    ) -> None:
        stores = [open_again() for _ in range(4)]
        options = {"notify": {"failure": ["team"], "success": ["boss"]}}
        stores[0].add_schedule(a_schedule(), a_version(options=options))
        (run,) = stores[0].add_runs([a_run(state=RunState.RUNNING)])
        assert stores[0].next_notification() is None
        ended = stores[1].change_run(run, state=RunState.FAILED, reason="größer")
        assert ended is not None
        assert stores[1].change_run(run, state=RunState.FAILED) is None  # it has moved on
        (due,) = stores[2].due_notifications(2e12)
        assert (due.target, due.subject, due.detail["reason"]) == ("team", "r1", "größer")
        ready = threading.Barrier(4)

        def claim(store: Store) -> bool:
            ready.wait(30)
            return store.claim_notification(due, until=3e12)

        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(claim, stores)) == 1
        stores[3].settle_notification(due.key, sent_at=7.5, problem=None, due_at=None)
        (told,) = stores[0].notifications(subject="r1")
        assert (told.tries, told.sent_at, told.due_at) == (1, 7.5, None)
        assert stores[0].next_notification() is None

    def test_a_run_that_is_deleted_is_gone_and_told(self, store: Store) -> None:
        store.add_runs([a_run(), a_run("r2", state=RunState.SUCCEEDED)])
        assert {run.id for run in store.runs_by_id(["r2", "r9", "r1"])} == {"r1", "r2"}
        before = store.version()
        store.remove_run("r2")
        store.remove_run("r2")
        assert [run.id for run in store.runs()] == ["r1"]
        (said,) = store.events(since=before)
        assert (said.kind, said.subject, said.detail) == ("run.removed", "r2", {"schedule": "s1"})

    def test_a_key_is_taken_once_in_a_schedule(self, store: Store) -> None:
        store.add_schedule(a_schedule("s2"), a_version("s2"))
        assert len(store.add_runs([a_run(key="k")])) == 1
        assert store.add_runs([a_run("r2", key="k")]) == []
        assert len(store.add_runs([a_run("r3", key="k", schedule="s2")])) == 1

    def test_who_follows_a_schedule_is_found(self, store: Store) -> None:
        store.add_schedule(a_schedule("s2", upstream="s1"), a_version("s2"))
        store.add_schedule(a_schedule("s3", upstream="s1", paused_at=1.0), a_version("s3"))
        assert [each.schedule.id for each in store.following("s1")] == ["s2"]
        assert store.following("s2") == ()

    # runs

    def test_a_run_comes_back_as_it_was_added_and_changed(self, store: Store) -> None:
        run = a_run(parameters={"a": 1}, jobs=("j0",), last_slot=3.5, slots=2)
        store.add_runs([run])
        assert store.get_run("r1") == run
        (claimed,) = store.claim_runs([(run, "job1")], claim=ME)
        assert claimed == store.get_run("r1")
        assert (claimed.state, claimed.job, claimed.claim) == (RunState.DUE, "job1", ME)
        assert store.claim_runs([(run, "job2")], claim=ME) == []
        changed = store.change_run(
            claimed, state=RunState.FAILED, claim=None, outputs={"ipynb": "file:///x"}, ended_at=9.0
        )
        assert changed == store.get_run("r1")
        assert store.change_run(claimed, state=RunState.SUCCEEDED) is None
        assert store.run_of_job("job1") == changed
        assert store.run_of_job("job2") is None
        told = [event.detail["to"] for event in store.events(subject="r1")]
        assert told == ["queued", "due", "failed"]

    def test_what_follows_of_an_end_is_written_with_it(self, store: Store) -> None:
        store.add_schedule(a_schedule("s2", upstream="s1"), a_version("s2"))
        run = a_run()
        store.add_runs([run, a_run("r9", schedule="s2")])
        then = Decided(
            schedule=a_schedule("s2"),
            decided=0.0,
            next_due=None,
            runs=(a_run("r2", schedule="s2", key="after:r1"),),
            cancel=("r9",),
        )
        assert store.change_run(run, then=[then], state=RunState.SUCCEEDED) is not None
        assert store.get_run("r2").key == "after:r1"
        assert store.get_run("r9").state is RunState.CANCELLED
        assert store.change_run(run, then=[then], state=RunState.SUCCEEDED) is None

    def test_what_waits_is_over_at_once_and_what_runs_is_to_end(self, store: Store) -> None:
        store.add_runs(
            [a_run(), a_run("r2", state=RunState.RUNNING), a_run("r3", state=RunState.FAILED)]
        )
        assert store.stop_run("r1", reason="cancelled by anna").state is RunState.CANCELLED
        running = store.stop_run("r2", reason="cancelled by anna")
        assert (running.state, running.stop) == (RunState.RUNNING, True)
        over = store.stop_run("r3", reason="cancelled by anna")
        assert (over.state, over.stop, over.reason) == (RunState.FAILED, False, None)
        with pytest.raises(NotFound):
            store.stop_run("r4", reason="")

    def test_runs_are_found_by_id_state_time_and_text(self, store: Store) -> None:
        store.add_runs(
            [
                a_run(f"r{n}", created_at=float(n // 2), reason="50% of a_b" if n == 3 else None)
                for n in range(6)
            ]
        )
        assert [run.id for run in store.runs()] == ["r5", "r4", "r3", "r2", "r1", "r0"]
        assert [run.id for run in store.runs(limit=2)] == ["r5", "r4"]
        assert [run.id for run in store.runs(before="r4", limit=2)] == ["r3", "r2"]
        assert [run.id for run in store.runs(text="50%")] == ["r3"]
        assert [run.id for run in store.runs(text="A_B")] == ["r3"]
        assert [run.id for run in store.runs(text="axb")] == []
        assert [run.id for run in store.runs(since=2.0)] == ["r5", "r4"]
        assert store.runs(states=[RunState.FAILED]) == []
        assert len(store.runs(states=[RunState.QUEUED], schedule="s1")) == 6
        assert store.runs(schedule="s2") == []
        assert store.get_run("r5").id == "r5"
        with pytest.raises(UsageError, match="several"):
            store.get_run("r")
        with pytest.raises(NotFound):
            store.get_run("")
        last = store.last_runs(2)
        assert [run.id for run in last["s1"]] == ["r5", "r4"]

    def test_a_purge_takes_what_is_over_and_old(self, store: Store) -> None:
        store.add_schedule(a_schedule("s2"), a_version("s2"))
        states = [RunState.SUCCEEDED, RunState.FAILED, RunState.SKIPPED, RunState.RUNNING]
        for name in ("s1", "s2"):
            store.add_runs(
                [
                    a_run(f"{name}r{n}", schedule=name, created_at=float(n), state=states[n % 4])
                    for n in range(8)
                ]
            )
        gone = store.purge_runs(schedule="s1", before=6.0, keep=3)
        assert sorted(run.id for run in gone) == ["s1r0", "s1r1", "s1r2"]
        gone = store.purge_runs(keep=0, keep_failures=True)
        left = [run.id for run in store.runs()]
        assert sorted(left) == ["s1r3", "s1r5", "s1r7", "s2r1", "s2r3", "s2r5", "s2r7"]
        assert len(gone) == 6

    def test_ten_thousand_runs_are_listed_narrowed_and_purged(self, store: Store) -> None:
        states = [RunState.SUCCEEDED] * 9 + [RunState.FAILED]
        store.add_runs(
            [
                a_run(f"r{n:05}", created_at=float(n), state=states[n % 10], reason=f"why {n}")
                for n in range(10_000)
            ]
        )
        everything: dict[str, Any] = {"limit": None}
        failed = [RunState.FAILED]
        assert len(store.runs(**everything)) == 10_000
        assert len(store.runs(states=failed, **everything)) == 1000
        assert len(store.runs(text="why 99", **everything)) == 111
        some = store.runs(schedule="s1", states=failed, since=5000.0, **everything)
        assert [some[0].id, some[-1].id, len(some)] == ["r09999", "r05009", 500]
        assert len(store.purge_runs(before=9000.0)) == 9000
        assert len(store.runs(limit=None)) == 1000
