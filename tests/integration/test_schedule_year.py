"""A year of three servers on one PostgreSQL that die at any write, come again, and have clocks
that are off and jump: every slot once, or as the catch-up policy says.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from jupyter_aiinfra.model import PoolRecord
from jupyter_aiinfra.promote.policy import LATE_SECONDS
from jupyter_aiinfra.promote.triggers import timetable_of
from jupyter_aiinfra.schedule import Policy, Run, RunState, Schedule, Trigger, Version
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store, open_store
from tests.postgres_server import PostgresServer, postgres_server
from tests.support.firing import Simulation, World

__all__ = ["postgres_server"]

NEW_YORK = "America/New_York"
START = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc).timestamp()
YEAR = 365 * 86400.0

# Name, cron line, zone, policy.
SCHEDULES: list[tuple[str, str, str, dict[str, Any]]] = [
    ("skipped", "30 2 * * *", NEW_YORK, {"catch_up": "all"}),
    ("lord-howe", "15 2 * * *", "Australia/Lord_Howe", {"catch_up": "all"}),
    ("none", "30 2 * * *", NEW_YORK, {"catch_up": "none"}),
]


@pytest.fixture
def open_again(postgres_server: PostgresServer, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    where = Settings(home=tmp_path, database_url=postgres_server.new_database())
    opened: list[Store] = []

    def open_one() -> Store:
        opened.append(open_store(where))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


def populate(store: Store, *, only: str = "") -> dict[str, list[float]]:
    """Add the schedules; return all slots of the year by schedule."""
    store.add_pool(PoolRecord(name="lab", kind="local"))
    slots = {}
    for name, line, zone, policy in SCHEDULES:
        if only and name not in only:
            continue
        version = Version(
            schedule=name,
            number=1,
            notebook="/n.ipynb",
            pool="lab",
            timezone=zone,
            triggers=(Trigger(kind="cron", lines=(line,)),),
            policy=Policy(**policy),
        )
        times = timetable_of(version)
        due = times.next_after(START)
        schedule = Schedule(id=name, name=name, decided=START, next_due=due)
        store.add_schedule(schedule, version)
        slots[name] = times.between(START, START + YEAR, most=10_000)
    return slots


def check(store: Store, world: World, slots: dict[str, list[float]]) -> dict[str, dict[str, int]]:
    """Check what must hold whatever happened; return how many slots ended how, by schedule."""
    begins = world.begins()
    counted = {}
    for name, wanted in slots.items():
        # The year is over, and what was under way came to its end a little later.
        last = START + YEAR
        runs = [run for run in store.runs(schedule=name, limit=None) if (run.slot or 0) <= last]
        stretches = [run for run in runs if run.state is RunState.MISSED]
        own = [run for run in runs if run.state is not RunState.MISSED]
        by_slot = {run.slot: run for run in own}
        assert len(by_slot) == len(own), f"{name}: a slot has two runs"
        assert by_slot.keys() <= set(wanted), f"{name}: a run of no slot"
        for run in own:
            assert run.state in (RunState.SUCCEEDED, RunState.SKIPPED), (name, run)
            # The notebook began once and to the end, whoever died on the way.
            assert begins[run.id] == (1 if run.state is RunState.SUCCEEDED else 0), (name, run)
        missing = [slot for slot in wanted if slot not in by_slot]
        for slot in missing:
            assert any(_covers(run, slot) for run in stretches), f"{name}: {slot} is lost"
        counted[name] = {
            "slots": len(wanted),
            "ran": sum(run.state is RunState.SUCCEEDED for run in own),
            "skipped": sum(run.state is RunState.SKIPPED for run in own),
            "missed": len(missing),
        }
    return counted


def _covers(run: Run, slot: float) -> bool:
    return run.slot is not None and run.slot <= slot <= (run.last_slot or run.slot)


@pytest.mark.timeout(600)
async def test_a_year_of_deaths_fires_every_slot_exactly_as_the_policy_says(
    open_again: Callable[[], Store],
) -> None:
    store = open_again()
    slots = populate(store, only="skipped none")
    rng = random.Random(20260101)  # noqa: S311 - no secret
    world = World(now=START, lasts=lambda run: 10.0 + (run.slot or 0.0) / 86400 % 7 * 4)

    def away() -> float:
        # Mostly a restart; sometimes a night, or days.
        return rng.choice([5.0, 30.0, 300.0, 40_000.0, 300_000.0])

    simulation = Simulation(
        world, open_again, rng=rng, dies=0.012, away=away, skew=2.0, step_seconds=40.0
    )
    for number in range(3):
        simulation.add(START + number)
    for day in (50, 120, 190, 260, 330):
        await simulation.run(START + day * 86400.0)
        simulation.strike(rng.uniform(1, 4) * 86400.0)  # nobody at all is there for days
    await simulation.run(START + YEAR)
    # What is under way at the end of the year comes to its end; nobody dies any more.
    simulation.spare()
    world.now = START + YEAR
    simulation.add(world.now)
    await simulation.run(START + YEAR + 20_000)
    counted = check(store, world, slots)
    print(simulation.deaths, simulation.ticks, counted)  # noqa: T201 - shown where it fails
    assert simulation.deaths > 50
    every = counted["skipped"]
    assert every["slots"] == 365
    assert every["ran"] + every["skipped"] == every["slots"], every
    assert counted["none"]["missed"] >= 5  # else this has shown nothing
    assert counted["none"]["ran"] > counted["none"]["slots"] / 2
    _check_none(store, simulation, slots["none"])


def _check_none(store: Store, simulation: Simulation, slots: list[float]) -> None:
    """Without catching up: what ran was on time, and what was on time ran."""
    runs = {run.slot: run for run in store.runs(schedule="none", limit=None)}
    for slot in slots:
        run = runs.get(slot)
        if run is not None and run.state is RunState.SUCCEEDED:
            assert run.created_at - slot <= LATE_SECONDS + 4, run
        elif run is None or run.state is RunState.MISSED:
            looked = [at for at in simulation.looks if slot + 2 < at < slot + LATE_SECONDS - 2]
            assert not looked, f"{slot} was missed, and somebody looked at {looked}"


@pytest.mark.timeout(600)
async def test_clocks_that_jump_neither_lose_nor_double_a_slot(
    open_again: Callable[[], Store],
) -> None:
    store = open_again()
    wanted = ("lord-howe",)
    slots = populate(store, only=" ".join(wanted))
    rng = random.Random(7)  # noqa: S311 - no secret
    world = World(now=START, lasts=lambda _: 60.0)
    simulation = Simulation(
        world, open_again, rng=rng, dies=0.0, away=lambda: 30.0, skew=2.0, step_seconds=80.0
    )
    for number in range(3):
        simulation.add(START + number)
    jumps = 0
    for day in range(5, 365, 12):
        await simulation.run(START + day * 86400.0)
        # One server's clock is wrong by up to two days either way, for an hour or so, then right.
        jumps += simulation.jump(rng.uniform(-2, 2) * 86400.0)
        await simulation.run(START + day * 86400.0 + rng.uniform(600, 7200))
        simulation.jump(0.0)
    await simulation.run(START + YEAR + 20_000)
    counted = check(store, world, slots)
    assert jumps == 30
    for name in wanted:
        every = counted[name]
        assert every["ran"] + every["skipped"] == every["slots"], (name, every)


def test_the_year_has_both_changes_of_clocks() -> None:
    zone = ZoneInfo(NEW_YORK)
    days = [dt.datetime.fromtimestamp(START + n * 86400, zone).utcoffset() for n in range(365)]
    assert len(set(days)) == 2
