"""From the moment that a schedule is due to its job's start, beside ten thousand others."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.figure import Figure, Goal, Judged
from benchmarks.registry import Run
from benchmarks.schedule.many import COUNT, fill
from benchmarks.schedule.notebooks import NAME, POOL, engine_with, over, trivial, until_warm
from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.engine.drafting import Draft
from jupyter_aiinfra.schedule import Policy, RunState, Trigger

__all__ = ["due"]

_SLOTS = 10
_APART_SECONDS = 2.0


def due(run: Run) -> Sequence[Figure]:
    """Have a schedule be due now and then, and see how late its jobs start."""
    late = asyncio.run(_rounds(run))
    return (
        Figure(
            name=f"due to started, beside {COUNT:,} schedules",
            unit="ms",
            ours=late,
            judged=Judged.OURS,
            goal=Goal(limit=100),
            note=f"the latest of {_SLOTS} slots, {_APART_SECONDS:g} s apart, in each round: from "
            "the slot until the job's supervisor is at work and that is on record; kernels wait.",
        ),
    )


async def _rounds(run: Run) -> tuple[float, ...]:
    notebook = trivial(run.folder / f"{NAME}.ipynb")
    with tempfile.TemporaryDirectory(prefix="aiinfra-") as home:
        engine = await engine_with(notebook, Path(home))
        engine.runs.keeps_warm = True
        try:
            fill(engine.store)
            await over(engine, engine.schedules.run_now(NAME).id)
            await until_warm(engine)
            latest = []
            for number in range(1, run.rounds + 1):
                late = await _late(engine, notebook, f"round-{number}")
                latest.append(1000 * max(late))
                run.say(f"due {number}/{run.rounds}: {latest[-1]:.0f} ms at the latest")
        finally:
            await engine.aclose()
    return tuple(latest)


async def _late(engine: Engine, notebook: Path, name: str) -> list[float]:
    """Return how much later than its slot each run of a new schedule started, in seconds."""
    first = time.time() + 1.0
    times = tuple(first + _APART_SECONDS * number for number in range(_SLOTS))
    trigger = Trigger(kind="at", times=times)
    policy = Policy(overlap="parallel", parallel=_SLOTS)
    await engine.schedules.add(
        Draft(notebook=notebook, name=name, pool=POOL, triggers=(trigger,), policy=policy)
    )
    runs = engine.schedules.runs(name, limit=_SLOTS)
    while len(runs) < _SLOTS or not all(each.state.final for each in runs):
        # As the server does it. To list runs takes milliseconds, which would count as late.
        await engine.schedules.firing.rest(await engine.schedules.tick())
        if time.time() > times[-1] + _APART_SECONDS:
            runs = engine.schedules.runs(name, limit=_SLOTS)
    late = []
    for each in runs:
        if each.state is not RunState.SUCCEEDED or each.started_at is None or each.slot is None:
            raise RuntimeError(f"a run {each.state.value}: {each.reason}")
        late.append(each.started_at - each.slot)
    return late
