"""A year of three servers on one PostgreSQL whose clocks are off and jump: every slot once."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from jupyter_aiinfra.model import PoolRecord
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
    ("none", "20 7 * * *", "UTC", {"catch_up": "none"}),
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


@pytest.mark.timeout(900)
async def test_clocks_that_jump_neither_lose_nor_double_a_slot(
    open_again: Callable[[], Store],
) -> None:
    store = open_again()
    wanted = ("lord-howe",)
    slots = populate(store, only=" ".join(wanted))
    rng = random.Random(7)  # noqa: S311 - no secret
    world = World(now=START, lasts=lambda _: 60.0)
    simulation = Simulation(world, open_again, rng=rng, dies=0.0, away=lambda: 30.0, skew=2.0)
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
