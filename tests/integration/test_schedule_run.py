"""A slot on the clock of this machine runs a real notebook on a local pool, and is on record."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.engine.drafting import Draft
from jupyter_aiinfra.schedule import Policy, Run, RunState, Trigger
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import open_store


def write(path: Path, *cells: str) -> Path:
    made: list[dict[str, Any]] = [
        {
            "cell_type": "code",
            "id": f"c{number}",
            "metadata": {"tags": ["parameters"] if number == 0 else []},
            "source": source,
            "outputs": [],
            "execution_count": None,
        }
        for number, source in enumerate(cells)
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    found = {"cells": made, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(found))
    return path


async def over(engine: Engine, name: str, *, seconds: float = 100.0) -> Run:
    """Fire until the newest run of a schedule is over, and return it."""
    deadline = time.monotonic() + seconds
    while True:
        pause = await engine.schedules.tick()
        runs = engine.schedules.runs(name, limit=1)
        if runs and runs[0].state.final:
            return runs[0]
        assert time.monotonic() < deadline, runs
        await asyncio.sleep(min(pause, 0.5))


@pytest.mark.timeout(240)
async def test_a_slot_runs_the_notebook_as_it_was_frozen_with_its_parameters(
    tmp_path: Path,
) -> None:
    settings = Settings(home=tmp_path / "home")
    engine = Engine(open_store(settings), settings)
    try:
        await engine.attach("here", kind="local")
        notebook = write(
            tmp_path / "report.ipynb",
            "x: int = 1\nname = 'a'",
            "print(x * 2, name)",
            "assert x < 50, 'too much'",
        )
        draft = Draft(
            notebook=notebook,
            pool="here",
            timezone="Europe/Berlin",
            triggers=(Trigger(kind="at", times=(time.time() + 1.5,)),),
            policy=Policy(overlap="queue"),
            words={"x": "21", "name": "__import__('os')"},
        )
        made = await engine.schedules.add(draft)
        write(notebook, "x: int = 1\nname = 'a'", "raise SystemExit('edited since')")
        run = await over(engine, "report")
        assert run.state is RunState.SUCCEEDED, run
        assert run.slot == made.version.triggers[0].times[0]
        assert run.started_at is not None
        assert run.started_at >= run.slot
        (url,) = run.outputs["files"]["ipynb"]
        result = Path(url.removeprefix("file://")).read_text()
        assert "42 __import__('os')" in result

        failing = engine.schedules.run_now("report", words={"x": "60"})
        run = await over(engine, "report")
        assert run.id == failing.id
        assert run.state is RunState.FAILED
        assert "AssertionError" in str(run.reason)
        assert "too much" in str(run.reason)
    finally:
        await engine.aclose()
