"""Ten thousand schedules beside a tick, and ten thousand runs in a list."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from sqlalchemy import insert

from benchmarks.asking import asked_in_turn
from benchmarks.figure import Figure, Goal, Judged
from benchmarks.registry import Run
from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.model import to_wire
from jupyter_aiinfra.schedule import Run as ScheduleRun
from jupyter_aiinfra.schedule import RunState, Schedule, Trigger, Version
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store, open_store
from jupyter_aiinfra.store.schema import schedule_versions, schedules

__all__ = ["COUNT", "fill", "listed", "ticked"]

COUNT = 10_000
_TICKS = 50
_FAR = 1e6


def ticked(run: Run) -> Sequence[Figure]:
    """Tick an engine on whose record lie ten thousand schedules, none of them due."""
    settings = Settings(home=run.folder / "ticked")
    store = open_store(settings)
    fill(store)

    async def ticks() -> list[float]:
        engine = Engine(store, settings)
        took = []
        try:
            for number in range(1, run.rounds + 1):
                begun = time.process_time()
                for _ in range(_TICKS):
                    await engine.schedules.tick()
                took.append(1000 * (time.process_time() - begun) / _TICKS)
                run.say(f"ticked {number}/{run.rounds}: {took[-1]:.2f} ms")
        finally:
            await engine.aclose()
        return took

    return (
        Figure(
            name=f"a tick beside {COUNT:,} schedules",
            unit="ms",
            ours=tuple(asyncio.run(ticks())),
            judged=Judged.OURS,
            goal=Goal(limit=20),
            note="processor time of looking what is due, where nothing is; SQLite.",
        ),
    )


def listed(run: Run) -> Sequence[Figure]:
    """List and narrow ten thousand runs that are over."""
    store = open_store(Settings(home=run.folder / "listed"))
    states = [RunState.SUCCEEDED] * 9 + [RunState.FAILED]
    fill(store, count=1)
    store.add_runs(
        [
            ScheduleRun(
                id=f"r{number:05}",
                schedule="s0",
                version=1,
                key=f"slot:{number}",
                trigger="clock",
                state=states[number % 10],
                reason=f"why {number}",
                slot=float(number),
                created_at=float(number),
                start_at=float(number),
            )
            for number in range(COUNT)
        ]
    )
    questions: dict[str, Callable[[], object]] = {
        "the newest": lambda: store.runs(limit=100),
        "those that failed": lambda: store.runs(states=[RunState.FAILED], limit=100),
        "by a text": lambda: store.runs(text="why 99", limit=100),
    }
    took = asked_in_turn(run, "listed", questions)
    store.close()
    return tuple(
        Figure(
            name=f"of {COUNT:,} runs, {name}",
            unit="ms",
            ours=rounds,
            judged=Judged.OURS,
            goal=Goal(limit=200),
            note="a hundred of them at most, out of SQLite.",
        )
        for name, rounds in took.items()
    )


def fill(store: Store, *, count: int = COUNT) -> None:
    """Write schedules at once, which nobody would make in one go."""
    now = time.time()
    trigger = Trigger(kind="every", seconds=_FAR, anchor=now)
    made = [
        Schedule(id=f"s{n}", name=f"name {n}", next_due=now + _FAR + n, decided=now)
        for n in range(count)
    ]
    versions = [
        Version(schedule=each.id, number=1, notebook="/n", pool="lab", triggers=(trigger,))
        for each in made
    ]
    with store._database.write() as connection:  # noqa: SLF001 - nobody else could
        connection.execute(insert(schedules), [to_wire(each) for each in made])
        connection.execute(insert(schedule_versions), [to_wire(each) for each in versions])
