"""A trivial notebook from its submit to its end, against the papermill command line."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.figure import Figure, Goal, Judged
from benchmarks.registry import Run, in_turn
from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.engine.drafting import Draft
from jupyter_aiinfra.schedule import RunState, Trigger
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import open_store

__all__ = ["cold"]

_NAME = "trivial"
_NEVER = 4e9


def cold(run: Run) -> Sequence[Figure]:
    """Run it now, by a schedule on a local pool, and by papermill, in turn."""
    notebook = _trivial(run.folder / f"{_NAME}.ipynb")
    loop = asyncio.new_event_loop()
    engine = loop.run_until_complete(_engine(run.folder / "home", notebook))
    try:
        ours, raw = in_turn(
            run,
            "cold",
            ours=lambda: loop.run_until_complete(_ours(engine)),
            raw=lambda: _raw(notebook),
        )
    finally:
        loop.run_until_complete(engine.aclose())
        loop.close()
    return (
        Figure(
            name="a trivial notebook, submitted to finished",
            unit="s",
            ours=ours,
            raw=raw,
            judged=Judged.DIFFERENCE,
            goal=Goal(limit=0.3),
            note="a run now of a schedule on the local pool, cold, until its end is on record and "
            "its result stored, in a process that is there, as a server is; raw is the papermill "
            "command line.",
        ),
    )


async def _engine(home: Path, notebook: Path) -> Engine:
    settings = Settings(home=home)
    engine = Engine(open_store(settings), settings)
    await engine.attach("here", kind="local")
    never = Trigger(kind="at", times=(_NEVER,))
    await engine.schedules.add(Draft(notebook=notebook, pool="here", triggers=(never,)))
    return engine


async def _ours(engine: Engine) -> float:
    begun = time.perf_counter()
    made = engine.schedules.run_now(_NAME)
    while True:
        pause = await engine.schedules.tick()
        found = engine.store.get_run(made.id)
        if found.state.final:
            break
        await engine.schedules.firing.rest(pause)
    if found.state is not RunState.SUCCEEDED:
        raise RuntimeError(f"the run {found.state.value}: {found.reason}")
    return time.perf_counter() - begun


def _raw(notebook: Path) -> float:
    begun = time.perf_counter()
    argv = [sys.executable, "-m", "papermill", "--no-progress-bar"]
    argv += [str(notebook), str(notebook.with_name("out.ipynb"))]
    subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    return time.perf_counter() - begun


def _trivial(path: Path) -> Path:
    cells: list[dict[str, Any]] = [
        {
            "cell_type": "code",
            "id": f"c{number}",
            "metadata": {},
            "source": source,
            "outputs": [],
            "execution_count": None,
        }
        for number, source in enumerate(("x = 1", "print(x + 1)"))
    ]
    kernel = {"name": "python3", "display_name": "Python 3"}
    made = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(made), encoding="utf-8")
    return path
