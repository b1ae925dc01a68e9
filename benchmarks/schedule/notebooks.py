"""What the measures of schedules run: a trivial notebook, on an engine with a local pool."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any, Final

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.engine.drafting import Draft
from jupyter_aiinfra.node.supervise import read_json
from jupyter_aiinfra.schedule import Policy, Run, RunState, Trigger
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store, open_store

__all__ = ["NAME", "engine_with", "over", "trivial", "until_warm"]

NAME: Final = "trivial"
POOL: Final = "here"
_NEVER = 4e9
_WARM_SECONDS = 120.0
_LOOK_SECONDS = 0.05


async def engine_with(
    notebook: Path, home: Path, *, store: Store | None = None, parallel: int = 1, **settings: Any
) -> Engine:
    """Return an engine with a schedule of `notebook` that is never due."""
    told = Settings(home=home, **settings)
    engine = Engine(store or open_store(told), told)
    await engine.attach(POOL, kind="local")
    never = Trigger(kind="at", times=(_NEVER,))
    policy = Policy(overlap="parallel", parallel=parallel)
    draft = Draft(notebook=notebook, pool=POOL, triggers=(never,), policy=policy)
    await engine.schedules.add(draft)
    return engine


async def over(engine: Engine, *asked: str) -> list[Run]:
    """Tick until these runs are over, and return them.

    Raises
    ------
    RuntimeError
        One did not succeed.
    """
    while True:
        found = [engine.store.get_run(each) for each in asked]
        if all(run.state.final for run in found):
            break
        await engine.schedules.firing.rest(await engine.schedules.tick())
    for run in found:
        if run.state is not RunState.SUCCEEDED:
            raise RuntimeError(f"a run {run.state.value}: {run.reason}")
    return found


async def until_warm(engine: Engine) -> None:
    """Wait until a kernel waits for the next run."""
    deadline = time.monotonic() + _WARM_SECONDS
    folder = engine.settings.home / "warm"
    while time.monotonic() < deadline:
        told = [read_json(str(path)) or {} for path in folder.glob("*/mother.json")]
        if any(each.get("ready") for each in told):
            return
        await asyncio.sleep(_LOOK_SECONDS)
    raise RuntimeError(f"no kernel waits in {folder}")


def trivial(path: Path) -> Path:
    """Write the notebook."""
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
