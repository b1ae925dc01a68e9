from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.engine.firing import CLAIM_SECONDS
from jupyter_aiinfra.engine.watched import fingerprint
from jupyter_aiinfra.errors import Unreachable, UsageError
from jupyter_aiinfra.model import JobState, PoolRecord, Submitter
from jupyter_aiinfra.schedule import Policy, Run, RunState, Schedule, Trigger, Version
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store, open_store
from jupyter_aiinfra.store.schedules import DueSchedule
from tests.support.firing import Died, Process, World

START = 1_767_225_600.0  # 2026-01-01 00:00 UTC
HOUR = 3600.0


@pytest.fixture
def open_again(tmp_path: Path) -> Iterator[Callable[[], Store]]:
    opened: list[Store] = []

    def open_one() -> Store:
        opened.append(open_store(Settings(home=tmp_path)))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def world() -> World:
    return World(now=START)


@pytest.fixture
def store(open_again: Callable[[], Store]) -> Store:
    store = open_again()
    store.add_pool(PoolRecord(name="lab", kind="local"))
    return store


@pytest.fixture
def process(world: World, store: Store) -> Process:
    return Process(world, store, "p0")


def add(store: Store, name: str = "s1", *, seconds: float = HOUR, **policy: Any) -> None:
    trigger = Trigger(kind="every", seconds=seconds, anchor=START)
    add_version(store, name, (trigger,), Policy(**policy), next_due=START + seconds)


def add_version(
    store: Store, name: str, triggers: tuple[Trigger, ...], policy: Policy, **values: Any
) -> None:
    version = Version(
        schedule=name, number=1, notebook="/n", pool="lab", triggers=triggers, policy=policy
    )
    store.add_schedule(Schedule(id=name, name=name, decided=START, **values), version)


async def pass_time(process: Process, until: float, *, least: float = 1.0) -> None:
    """Look whenever the process said that it would."""
    while True:
        pause = await process.tick()
        if process.world.now + pause > until:
            process.world.now = until
            await process.tick()
            return
        process.world.now += max(pause, least)


def states(store: Store, **narrowed: Any) -> list[str]:
    return [run.state.value for run in reversed(store.runs(**narrowed))]


async def test_a_slot_is_run_once_and_recorded_from_due_to_done(
    world: World, store: Store, process: Process
) -> None:
    add(store)
    assert await process.tick() == HOUR
    world.now = START + HOUR
    await process.tick()
    (run,) = store.runs()
    assert run.state is RunState.RUNNING
    assert run.slot == START + HOUR
    assert run.started_at == world.now
    await pass_time(process, START + 2 * HOUR - 1)
    (run,) = store.runs()
    assert run.state is RunState.SUCCEEDED
    assert run.outputs == {"ipynb": f"file:///{run.job}"}
    assert run.ended_at == pytest.approx(START + HOUR + 20, abs=3)
    told = [event.detail["to"] for event in store.events(subject=run.id)]
    assert told == ["queued", "due", "running", "succeeded"]


@pytest.mark.parametrize(("at_once", "looks"), [(100, 1), (2, 2), (1, 4)])
async def test_all_that_is_due_is_decided_on_in_no_more_looks_than_it_takes(
    store: Store,
    world: World,
    process: Process,
    monkeypatch: pytest.MonkeyPatch,
    at_once: int,
    looks: int,
) -> None:
    for number in range(3):
        add(store, f"s{number}")
    asked: list[int] = []
    due_schedules = store.due_schedules

    def count(now: float, *, ahead_seconds: float, limit: int) -> Sequence[DueSchedule]:
        asked.append(limit)
        return due_schedules(now, ahead_seconds=ahead_seconds, limit=limit)

    monkeypatch.setattr("jupyter_aiinfra.engine.firing._DECIDED_AT_ONCE", at_once)
    monkeypatch.setattr("jupyter_aiinfra.engine.firing._DECIDE_SECONDS", 3600.0)
    monkeypatch.setattr(store, "due_schedules", count)
    world.now = START + HOUR
    await process.tick()
    assert sorted(run.schedule for run in store.runs()) == ["s0", "s1", "s2"]
    assert asked == [at_once] * looks


async def test_what_a_look_takes_is_no_part_of_the_rest(
    world: World, store: Store, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(store)
    active_runs = store.active_runs

    def slowly() -> Sequence[Run]:
        world.now += 2.0
        return active_runs()

    monkeypatch.setattr(store, "active_runs", slowly)
    assert await process.tick() == HOUR - 2.0


@pytest.mark.parametrize("tells", [True, False], ids=["told", "not told"])
async def test_an_end_that_is_told_is_no_matter_of_the_next_look(
    world: World, store: Store, process: Process, tells: bool
) -> None:
    gone = asyncio.Event()
    rung: list[float] = []

    async def until_gone(job_id: str) -> bool:
        assert job_id in world.began
        await gone.wait()
        return tells

    process.firing._until_gone = until_gone
    process.firing.bell = lambda: rung.append(world.now)
    add(store)
    await process.tick()
    world.now = START + HOUR
    await process.tick()
    world.now += 60
    gone.set()
    await asyncio.gather(*process.firing._heard.values())
    await process.firing.settled()
    (run,) = store.runs()
    assert run.state is (RunState.SUCCEEDED if tells else RunState.RUNNING)
    assert rung == ([world.now] if tells else [])
    await asyncio.wait_for(process.firing.rest(0.0 if not tells else 300.0), 30)
    await pass_time(process, START + 2 * HOUR - 1)
    assert states(store) == ["succeeded"]


async def test_who_ends_hears_of_no_more_ends(world: World, store: Store, process: Process) -> None:
    async def until_gone(_job_id: str) -> bool:
        await asyncio.Event().wait()
        return True

    process.firing._until_gone = until_gone
    add(store)
    await process.tick()
    world.now = START + HOUR
    await process.tick()
    assert len(process.firing._heard) == 1
    await process.firing.aclose()
    assert not process.firing._heard


async def test_jitter_starts_it_later_and_never_before(
    world: World, store: Store, process: Process
) -> None:
    add(store, jitter_seconds=600.0)
    await pass_time(process, START + HOUR)
    (run,) = store.runs()
    assert run.state is RunState.QUEUED
    assert START + HOUR < run.start_at < START + HOUR + 600
    assert await process.tick() == pytest.approx(run.start_at - world.now)
    world.now = run.start_at
    await process.tick()
    assert store.get_run(run.id).state is RunState.RUNNING


async def test_a_failed_run_is_tried_again_with_another_job(
    world: World, store: Store, process: Process
) -> None:
    world.ends = lambda run: JobState.FAILED if run.attempt < 3 else JobState.SUCCEEDED
    add(store, retries=3, backoff_seconds=60.0)
    await pass_time(process, START + 2 * HOUR - 1)
    (run,) = store.runs()
    assert (run.state, run.attempt, len(run.jobs)) == (RunState.SUCCEEDED, 3, 2)
    began = sorted(world.until[job] - 20 - START - HOUR for job in [*run.jobs, run.job or ""])
    assert began == pytest.approx([0.0, 80.0, 220.0], abs=5)


async def test_what_cannot_be_launched_is_a_failed_attempt_with_its_reason(
    world: World, store: Store, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unreachable(_run: Run, _version: Version) -> str:
        raise Unreachable("lab does not answer")

    monkeypatch.setattr(process, "launch_run", unreachable)
    add(store, retries=1, backoff_seconds=10.0)
    await pass_time(process, START + HOUR + 30)
    (run,) = store.runs()
    assert (run.state, run.attempt) == (RunState.FAILED, 2)
    assert run.reason == "attempt 2 of 2: lab does not answer"

    async def impossible(_run: Run, _version: Version) -> str:
        raise UsageError("no kernel named julia")

    monkeypatch.setattr(process, "launch_run", impossible)
    await pass_time(process, START + 2 * HOUR + 30)
    run = store.runs()[0]
    assert (run.state, run.attempt) == (RunState.FAILED, 1)
    assert run.reason == "attempt 1 of 2: no kernel named julia"

    async def broken(_run: Run, _version: Version) -> str:
        raise ZeroDivisionError("a mistake of ours")

    monkeypatch.setattr(process, "launch_run", broken)
    await pass_time(process, START + 3 * HOUR + 30)
    assert store.runs()[0].reason == "attempt 2 of 2: ZeroDivisionError: a mistake of ours"


async def test_a_schedule_that_cannot_be_decided_on_is_paused_and_holds_up_no_other(
    world: World, store: Store, process: Process
) -> None:
    add(store)
    add_version(
        store, "s0", (Trigger(kind="cron", lines=("0 2 * * *",)),), Policy(), next_due=START + 1
    )
    bad = store.schedule_version("s0", 1)
    store.change_schedule(
        store.get_schedule("s0"),
        event="schedule.changed",
        version=replace(bad, number=2, timezone="Atlantis/Harbour"),
    )
    await pass_time(process, START + HOUR)
    paused = store.get_schedule("s0")
    assert paused.paused_at is not None
    assert "Atlantis/Harbour" in paused.pause_reason
    assert states(store) == ["running"]


# --- overlap and room ----------------------------------------------------------------------------


async def test_the_place_of_a_run_is_taken_only_once_it_is_over(
    world: World, store: Store, process: Process
) -> None:
    world.lasts = lambda _: 1e9
    add(store, overlap="cancel-previous")
    await pass_time(process, START + HOUR)
    first = store.runs()[0]
    await pass_time(process, START + 2 * HOUR, least=60.0)
    await pass_time(process, START + 2 * HOUR + 5)
    second, first = store.runs()
    assert first.state is RunState.CANCELLED
    assert first.reason == "another run takes its place"
    assert second.state is RunState.RUNNING
    assert second.started_at is not None
    assert first.ended_at is not None
    assert second.started_at >= first.ended_at


async def test_queued_runs_follow_each_other(world: World, store: Store, process: Process) -> None:
    world.lasts = lambda _: 90 * 60.0
    add(store, overlap="queue", ends_at=START + 3 * HOUR)
    await pass_time(process, START + 6 * HOUR, least=60.0)
    assert states(store) == ["succeeded"] * 3
    runs = store.runs()[::-1]
    for sooner, later in itertools.pairwise(runs):
        assert sooner.ended_at is not None
        assert later.started_at is not None
        assert 0 <= later.started_at - sooner.ended_at <= 60


async def test_no_more_run_on_a_pool_than_there_is_room_for(world: World, store: Store) -> None:
    process = Process(world, store, "p0", room=3)
    for number in range(8):
        add(store, f"s{number}")
    await pass_time(process, START + HOUR + 1)
    assert sorted(states(store)) == ["queued"] * 5 + ["running"] * 3
    await pass_time(process, START + HOUR + 120)
    assert states(store) == ["succeeded"] * 8


# --- other triggers ------------------------------------------------------------------------------


async def test_a_schedule_follows_another(world: World, store: Store, process: Process) -> None:
    add(store, ends_at=START + 2 * HOUR)
    for name, on in (("s2", "success"), ("s3", "end")):
        follows = Trigger(kind="after", schedule="s1", on=on)  # type: ignore[arg-type]
        add_version(store, name, (follows,), Policy(), upstream="s1")
    world.ends = lambda run: (
        JobState.FAILED if (run.schedule, run.slot) == ("s1", START + HOUR) else JobState.SUCCEEDED
    )
    await pass_time(process, START + 3 * HOUR, least=10.0)
    assert states(store, schedule="s1") == ["failed", "succeeded"]
    assert states(store, schedule="s2") == ["succeeded"]
    assert states(store, schedule="s3") == ["succeeded", "succeeded"]
    assert {run.key for run in store.runs(schedule="s3")} == {
        f"after:{run.id}" for run in store.runs(schedule="s1")
    }


async def test_a_file_that_changes_makes_a_run_once_a_change(
    world: World, store: Store, process: Process, tmp_path: Path
) -> None:
    path = tmp_path / "data.csv"
    trigger = Trigger(kind="file", path=str(path), seconds=10.0)
    add_version(store, "s1", (trigger,), Policy(), next_due=START, watched=str(path))
    await pass_time(process, START + 30)
    assert states(store) == []  # it is not there yet
    path.write_text("a")
    await pass_time(process, START + 60)
    assert states(store) == ["succeeded"]
    await pass_time(process, START + 120)
    assert states(store) == ["succeeded"]
    path.write_text("ab")
    await pass_time(process, START + 140)
    path.unlink()
    await pass_time(process, START + 200)
    assert states(store) == ["succeeded", "succeeded"]
    assert store.runs()[0].trigger == "file"


def test_the_fingerprint_of_a_file_changes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "a"
    assert fingerprint(str(path)) == ""
    path.write_text("1")
    before = fingerprint(str(path))
    os.utime(path, ns=(1, 1))
    assert fingerprint(str(path)) != before
    url = path.as_uri()
    first = fingerprint(url)
    path.write_text("22")
    assert fingerprint(url) != first
    path.unlink()
    assert fingerprint(url) == ""


# --- deaths --------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", range(14))
async def test_a_death_at_any_step_neither_loses_nor_doubles_a_run(
    world: World, open_again: Callable[[], Store], store: Store, step: int
) -> None:
    add(store)
    world.now = START + HOUR
    first = Process(world, open_again(), "p0")
    left = [step]

    def may_die() -> None:
        if left[0] == 0:
            first.die()
            raise Died
        left[0] -= 1

    first._may_die = may_die  # type: ignore[method-assign]
    first._make_mortal()
    try:
        for _ in range(60):
            await first.tick()
            world.now += 1.0
    except Died:
        pass
    second = Process(world, open_again(), "p1")
    await pass_time(second, START + 2 * HOUR - 1)
    (run,) = store.runs()
    assert run.state is RunState.SUCCEEDED
    assert world.begins() == {run.id: 1}
    assert len(world.finished) == 1


async def test_what_another_living_process_has_claimed_is_left_to_it_for_a_while(
    world: World, store: Store, process: Process
) -> None:
    add(store, seconds=1e6)
    world.alive.add("other")
    run = Run(
        id="r1",
        schedule="s1",
        version=1,
        key="now:r1",
        trigger="now",
        state=RunState.DUE,
        job="job1",
        claim=Submitter(host="here", process={"name": "other"}, since=START),
    )
    store.add_runs([run])
    await pass_time(process, START + CLAIM_SECONDS - 10)
    assert states(store) == ["due"]
    await pass_time(process, START + CLAIM_SECONDS + 1)
    assert states(store) == ["running"]
    assert list(world.began) == ["job1"]


async def test_a_job_that_was_removed_is_a_lost_run(
    world: World, store: Store, process: Process
) -> None:
    add(store)
    await pass_time(process, START + HOUR)
    run = store.runs()[0]
    await process.cancel(run.job or "")
    store.remove_job(run.job or "")
    await process.tick()
    lost = store.get_run(run.id)
    assert (lost.state, lost.reason) == (RunState.LOST, "its job was removed")


async def test_beside_ten_thousand_schedules_a_tick_fires_none_that_is_not_due(
    world: World, store: Store, process: Process
) -> None:
    with store._database.write() as connection:
        from sqlalchemy import insert

        from jupyter_aiinfra.model import to_wire
        from jupyter_aiinfra.store.schema import schedule_versions, schedules

        made = [
            Schedule(id=f"s{n}", name=f"n{n}", next_due=START + HOUR + n, decided=START)
            for n in range(10_000)
        ]
        trigger = Trigger(kind="every", seconds=1e5, anchor=START)
        versions = [
            Version(schedule=each.id, number=1, notebook="/n", pool="lab", triggers=(trigger,))
            for each in made
        ]
        connection.execute(insert(schedules), [to_wire(each) for each in made])
        connection.execute(insert(schedule_versions), [to_wire(each) for each in versions])
    assert await process.tick() == HOUR
    assert store.runs() == []
