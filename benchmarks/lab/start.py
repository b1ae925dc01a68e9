"""JupyterLab's time to interactive with and without the extension, and what it loads for it."""

from __future__ import annotations

import contextlib
import gzip
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.figure import Figure, Goal, Judged
from benchmarks.lab.labs import open_browser, serve, window
from benchmarks.registry import Run, in_turn
from tests.support.lab import Lab

__all__ = ["start"]

_OURS = "/lab/extensions/jupyter-aiinfra/"
_EACH = 6  # windows a round; the best counts, for what else runs here only ever adds


def start(run: Run) -> Sequence[Figure]:
    """Open JupyterLab in a window with an empty cache, with the extension and without."""
    loaded: list[float] = []
    with contextlib.ExitStack() as stack:
        browser = stack.enter_context(open_browser())
        with_us = stack.enter_context(serve(run.folder / "ours"))
        without = stack.enter_context(serve(run.folder / "raw", ours=False))
        for lab in (with_us, without):  # the server's own first time is nobody's
            _seconds(browser, lab, [])

        def ours() -> float:
            sizes: list[int] = []
            best = min(_seconds(browser, with_us, sizes) for _ in range(_EACH))
            loaded.append(sum(sizes) / _EACH / 1000)
            return best

        def raw() -> float:
            sizes: list[int] = []
            best = min(_seconds(browser, without, sizes) for _ in range(_EACH))
            if sizes:
                raise RuntimeError("the extension was loaded where it is switched off")
            return best

        ours_seconds, raw_seconds = in_turn(run, "start", ours=ours, raw=raw)
    return (
        Figure(
            name="JupyterLab's time to interactive",
            unit="s",
            ours=ours_seconds,
            raw=raw_seconds,
            goal=Goal(limit=1.03),
            note=f"from the address to `app.restored`, empty cache, the best of {_EACH} windows; "
            "raw is the same JupyterLab with all other extensions.",
        ),
        Figure(
            name="what the extension loads at start",
            unit="kB",
            ours=tuple(loaded),
            judged=Judged.OURS,
            goal=Goal(limit=60, always=True),
            note="scripts and styles below our extension's address until JupyterLab is "
            "interactive, each gzipped.",
        ),
    )


def _seconds(browser: Any, lab: Lab, sizes: list[int]) -> float:
    """Open a window; return how long it took, and add what of ours was loaded to `sizes`."""
    with window(browser, lab) as opened:
        answers: list[Any] = []
        opened.page.on("response", lambda answer: answers.append(answer))  # noqa: PLW0108 - no builtin
        begun = time.monotonic()
        opened.page.goto(f"{lab.url}/lab?token={lab.token}&reset")
        opened.page.wait_for_function("() => window.jupyterapp !== undefined")
        opened.page.evaluate("async () => { await jupyterapp.started; await jupyterapp.restored; }")
        took = time.monotonic() - begun
        sizes += [len(gzip.compress(each.body())) for each in answers if _OURS in each.url]
        return took
