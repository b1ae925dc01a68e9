"""A trivial notebook from its submit to its end, against the papermill command line."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.figure import Figure, Goal, Judged
from benchmarks.registry import Run, in_turn
from benchmarks.schedule.notebooks import NAME, engine_with, over, trivial, until_warm
from jupyter_aiinfra.engine import Engine

__all__ = ["cold", "warm"]


def cold(run: Run) -> Sequence[Figure]:
    """Run it now, by a schedule on a local pool, and by papermill, in turn."""
    ours, raw = _measured(run, "cold", warm_kernels=0)
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


def warm(run: Run) -> Sequence[Figure]:
    """Run it in a kernel that waits, and by papermill, in turn."""
    ours, raw = _measured(run, "warm", warm_kernels=1)
    return (
        Figure(
            name="a trivial notebook in a kernel that waits",
            unit="s",
            ours=ours,
            raw=raw,
            goal=Goal(limit=1 / 20),
            note="as above, in a kernel that was up before, of the same Python, used for nothing "
            "else; that one waits again is not in the time. Raw is the papermill command line.",
        ),
    )


def _measured(
    run: Run, what: str, *, warm_kernels: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    notebook = trivial(run.folder / f"{NAME}.ipynb")
    loop = asyncio.new_event_loop()
    # Short: sockets lie below it.
    with tempfile.TemporaryDirectory(prefix="aiinfra-") as home:
        engine = loop.run_until_complete(
            engine_with(notebook, Path(home), warm_kernels=warm_kernels)
        )
        engine.runs.keeps_warm = warm_kernels > 0
        try:
            loop.run_until_complete(_once(engine))  # what a server has loaded long ago
            return in_turn(
                run,
                what,
                ours=lambda: loop.run_until_complete(_once(engine, warm=warm_kernels > 0)),
                raw=lambda: _raw(notebook),
            )
        finally:
            loop.run_until_complete(engine.aclose())
            loop.close()


async def _once(engine: Engine, *, warm: bool = False) -> float:
    if warm:
        await until_warm(engine)
    begun = time.perf_counter()
    await over(engine, engine.schedules.run_now(NAME).id)
    return time.perf_counter() - begun


def _raw(notebook: Path) -> float:
    begun = time.perf_counter()
    argv = [sys.executable, "-m", "papermill", "--no-progress-bar"]
    argv += [str(notebook), str(notebook.with_name("out.ipynb"))]
    subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    return time.perf_counter() - begun
