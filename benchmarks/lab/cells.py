"""Every small cell: what switching Nagle's algorithm off at the kernel's socket gains."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Sequence

from benchmarks.figure import Figure, Goal
from benchmarks.lab.labs import open_browser, serve, window
from benchmarks.registry import Run, in_turn
from tests.support.lab import LabPage, notebook

__all__ = ["small_cells"]

_CELLS = 40
_TIMES = """async count => {
    const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
    const times = [];
    for (let number = 0; number < count; number++) {
        const begun = performance.now();
        await kernel.requestExecute({code: '1', store_history: false}).done;
        times.push(performance.now() - begun);
    }
    return times;
}"""


def small_cells(run: Run) -> Sequence[Figure]:
    """Run cells of one number from the page, one after another, with the setting on and off."""
    with contextlib.ExitStack() as stack:
        browser = stack.enter_context(open_browser())

        def opened(folder: str, *options: str) -> LabPage:
            lab = stack.enter_context(serve(run.folder / folder, options=options))
            lab.write("small.ipynb", notebook("1"))
            page = stack.enter_context(window(browser, lab)).open()
            page.open_notebook("small.ipynb")
            _median_ms(page)
            return page

        fast = opened("on")
        slow = opened("off", "--AiInfraApp.tcp_nodelay=False")
        on, off = in_turn(
            run, "small cells", ours=lambda: _median_ms(fast), raw=lambda: _median_ms(slow)
        )
    return (
        Figure(
            name="a small cell in the browser",
            unit="ms",
            ours=on,
            raw=off,
            goal=Goal(limit=0.8),
            note=f"median of {_CELLS} executions of `1`, from the page's request until it knows "
            "that the kernel is idle; raw is the same server with `tcp_nodelay` off, as "
            "jupyter_server has it.",
        ),
    )


def _median_ms(page: LabPage) -> float:
    times: list[float] = page.page.evaluate(_TIMES, _CELLS)
    return statistics.median(times)
