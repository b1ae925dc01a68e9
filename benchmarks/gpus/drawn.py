"""The page of 512 GPUs in a browser: how long its frames take while it is live and hovered over."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from playwright.sync_api import sync_playwright

from benchmarks.figure import Figure
from benchmarks.gpus.scene import GPUS, NODES, alone
from benchmarks.lab.labs import serve
from benchmarks.registry import Run
from tests.support.lab import Lab, LabPage, chromium

__all__ = ["drawn"]

_SECONDS: Final = 20
_LONGEST_MS: Final = 16.0
# Frames as soon as they can be, not sixty a second: else each takes 16.7 ms, whatever is done.
_FLAGS: Final = ("--disable-frame-rate-limit", "--disable-gpu-vsync")

_HOVER = """async seconds => {
    const { content } = jupyterapp.shell.currentWidget;
    const plot = content.charts[0].plot.node;
    const box = plot.getBoundingClientRect();
    const all = [], drawing = [];
    let before = performance.now(), drawn = content.rendered, x = 0;
    const end = before + 1000 * seconds;
    return await new Promise(done => {
        const step = now => {
            (content.rendered === drawn ? all : drawing).push(now - before);
            [before, drawn] = [now, content.rendered];
            x = (x + 7) % box.width;
            const place = { clientX: box.left + x, clientY: box.top + 50, bubbles: true };
            plot.dispatchEvent(new PointerEvent('pointermove', place));
            if (now < end) requestAnimationFrame(step); else done([all, drawing]);
        };
        requestAnimationFrame(step);
    });
}"""
_READY = """count => {
    const curves = jupyterapp.shell.currentWidget?.content?.model?.curves();
    return curves?.rows.length === count;
}"""


def drawn(run: Run) -> Sequence[Figure]:
    """Hover over a chart of 512 GPUs that are live, each frame at another place."""
    between: list[float] = []
    slow: list[float] = []
    updates: list[float] = []
    with serve(run.folder / "drawn") as lab, _opened(lab) as page:
        for number in range(1, run.rounds + 1):
            hovering, drawing = page.page.evaluate(_HOVER, _SECONDS)
            frames = sorted([*hovering, *drawing])
            between.append(statistics.median(frames))
            slow.append(frames[int(0.95 * len(frames))])
            updates.append(statistics.median(drawing))
            run.say(
                f"drawn {number}/{run.rounds}: {len(frames)} frames, median {between[-1]:.1f} ms, "
                f"95 of 100 in {slow[-1]:.1f} ms, with a second's drawing {updates[-1]:.1f} ms"
            )
    what = f"{NODES} x {GPUS} GPUs, live at 1 Hz, a pointer moving over a chart in each frame"
    return (
        alone(
            "a frame of the page with 512 GPUs, median",
            "ms",
            between,
            limit=_LONGEST_MS,
            note=f"{what}; all frames",
        ),
        alone(
            "a frame of the page with 512 GPUs, 95th",
            "ms",
            slow,
            note=f"{what}; 95 of 100 frames are shorter",
        ),
        alone(
            "a frame in which a second is drawn",
            "ms",
            updates,
            note="the frames in which a second is drawn: five canvases and the numbers beside them",
        ),
    )


@contextmanager
def _opened(lab: Lab) -> Iterator[LabPage]:
    options = {"nodes": NODES, "gpus": GPUS}
    lab.ask("POST", "/aiinfra/pools", {"name": "sim", "kind": "simulated", "options": options})
    with sync_playwright() as started:
        browser: Any = started.chromium.launch(
            executable_path=chromium(), headless=True, args=list(_FLAGS)
        )
        page = LabPage(browser, lab, width=1500, height=1000).open()
        page.command("aiinfra:open-gpus", {"pool": "sim"})
        page.page.wait_for_function(_READY, arg=NODES * GPUS)
        # Until the minutes that are drawn are full of something.
        page.page.wait_for_timeout(1000 * _SECONDS)
        try:
            yield page
        finally:
            page.close()
            browser.close()
