"""What one idle browser costs the server."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.figure import Figure, Goal, Judged
from benchmarks.lab.labs import open_browser, serve, window
from benchmarks.registry import Run
from tests.support.lab import Lab

__all__ = ["idle"]

_SECONDS = 60.0
_SETTLE_SECONDS = 20.0
_TICKS = os.sysconf("SC_CLK_TCK")


def idle(run: Run) -> Sequence[Figure]:
    """Leave a window open with the panel in sight, and one of a JupyterLab without us beside it."""
    ours: list[float] = []
    raw: list[float] = []
    with contextlib.ExitStack() as stack:
        browser = stack.enter_context(open_browser())
        with_us = stack.enter_context(serve(run.folder / "ours"))
        without = stack.enter_context(serve(run.folder / "raw", ours=False))
        with_us.site.attach()
        page = stack.enter_context(window(browser, with_us)).open()
        page.command("aiinfra:show-panel")
        page.page.get_by_text("here", exact=True).first.wait_for()
        stack.enter_context(window(browser, without)).open(extension=False)
        time.sleep(_SETTLE_SECONDS)
        for number in range(1, run.rounds + 1):
            before = _cpu_seconds(with_us), _cpu_seconds(without)
            time.sleep(_SECONDS)
            ours.append(100 * (_cpu_seconds(with_us) - before[0]) / _SECONDS)
            raw.append(100 * (_cpu_seconds(without) - before[1]) / _SECONDS)
            run.say(f"idle {number}/{run.rounds}: ours {ours[-1]:.3f} %, raw {raw[-1]:.3f} %")
    return (
        Figure(
            name="one idle browser, at the server",
            unit="% of a core",
            ours=tuple(ours),
            raw=tuple(raw),
            judged=Judged.DIFFERENCE,
            goal=Goal(limit=0.1),
            note=f"user + system of the server's process over {_SECONDS:g} s with JupyterLab open "
            "and the panel in sight; raw is a JupyterLab without the extension in the same "
            "minute, which polls its server as well.",
        ),
    )


def _cpu_seconds(lab: Lab) -> float:
    fields = Path(f"/proc/{lab.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
