"""A job that prints 10,000 lines a second for a minute, with its page open and following."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from benchmarks.figure import Figure, Goal, Judged
from benchmarks.lab.labs import open_browser, serve, window
from benchmarks.registry import Run
from tests.support.lab import Lab, notebook

__all__ = ["flood"]

_RATE = 10_000
_SECONDS = 60
_LINES = _RATE * _SECONDS
_SCRIPT = f"""
import sys, time
begun = time.monotonic()
step = {_RATE // 10}
for tenth in range({_SECONDS * 10}):
    numbers = range(tenth * step, (tenth + 1) * step)
    sys.stdout.write("".join(f"step {{n:07d}} loss 0.1234 accuracy 0.9876\\n" for n in numbers))
    sys.stdout.flush()
    time.sleep(max(0.0, begun + (tenth + 1) / 10 - time.monotonic()))
"""
_COUNT_FRAMES = """() => {
    window.frames_drawn = 0;
    const next = () => { window.frames_drawn += 1; requestAnimationFrame(next); };
    requestAnimationFrame(next);
}"""
_EXECUTE = """async () => {
    const begun = performance.now();
    await window.flood_kernel.requestExecute({code: '1', store_history: false}).done;
    return [performance.now() - begun, window.frames_drawn, performance.now()];
}"""


def flood(run: Run) -> Sequence[Figure]:
    """Watch the flood in the job's page while small cells run in a notebook's kernel."""
    rates: list[float] = []
    answers: list[float] = []
    heaps: list[float] = []
    lost: list[float] = []
    with open_browser() as browser, serve(run.folder / "ours") as lab:
        lab.site.attach()
        lab.site.script("flood.py", _SCRIPT)
        lab.write("small.ipynb", notebook("1"))
        for number in range(1, run.rounds + 1):
            with window(browser, lab) as opened:
                opened.open()
                opened.open_notebook("small.ipynb")
                opened.page.evaluate(
                    "() => { window.flood_kernel ="
                    " jupyterapp.shell.currentWidget.sessionContext.session.kernel; }"
                )
                job = _launch(lab)
                lab.site.wait_for_log(job, "step 0000000")
                opened.command("aiinfra:open-job", {"id": job})
                rate, answer = _watch(opened.page, lab, job)
                rates.append(rate)
                answers.append(answer)
                heaps.append(_heap_megabytes(opened))
                lost.append(float(_LINES - _lines_in_view(lab, job)))
            run.say(
                f"flood {number}/{run.rounds}: {rates[-1]:.0f} frames/s, {answers[-1]:.0f} ms, "
                f"{heaps[-1]:.0f} MB, {lost[-1]:.0f} lines lost"
            )
    return _figures(rates, answers, heaps, lost)


def _launch(lab: Lab) -> str:
    done = lab.site.command("run", "flood.py", "--pool", "here", "--cpu", "--detach")
    if done.returncode:
        raise RuntimeError(done.stderr)
    return lab.site.newest().id


def _watch(page: Any, lab: Lab, job: str) -> tuple[float, float]:
    """Return the frames a second in the worst five seconds, and the slowest of 9 in 10 answers."""
    page.evaluate(_COUNT_FRAMES)
    samples: list[tuple[float, float, float]] = []
    while lab.site.status(job)["state"] not in ("succeeded", "failed", "cancelled", "lost"):
        samples.append(tuple(page.evaluate(_EXECUTE)))
        time.sleep(0.5)
    frames = []
    for index, (_, drawn, at) in enumerate(samples):
        later = next((each for each in samples[index:] if each[2] - at >= 5000), None)
        if later is not None:
            frames.append(1000 * (later[1] - drawn) / (later[2] - at))
    took = sorted(each[0] for each in samples)
    return min(frames), took[int(0.9 * (len(took) - 1))]


def _heap_megabytes(opened: Any) -> float:
    session = opened.context.new_cdp_session(opened.page)
    session.send("HeapProfiler.collectGarbage")
    metrics = session.send("Performance.enable") or session.send("Performance.getMetrics")
    found = {each["name"]: each["value"] for each in metrics["metrics"]}
    return float(found["JSHeapUsedSize"]) / 1e6


def _lines_in_view(lab: Lab, job: str) -> int:
    """Return how many lines the log view has, once it has all that it will get."""
    deadline = time.monotonic() + 60
    while True:
        answer = lab.ask("GET", f"/aiinfra/jobs/{job}/logs/0/rows?first=-1&count=1")
        if answer["complete"] or time.monotonic() > deadline:
            return int(answer["total_lines"])
        time.sleep(0.2)


def _figures(
    rates: Sequence[float], answers: Sequence[float], heaps: Sequence[float], lost: Sequence[float]
) -> Sequence[Figure]:
    what = f"{_RATE:,} lines a second for {_SECONDS} s, the job's page open and following"
    return (
        Figure(
            name="frames a second in a flood",
            unit="1/s",
            ours=tuple(rates),
            judged=Judged.OURS,
            goal=Goal(limit=30, at_least=True),
            note=f"{what}: the worst five seconds.",
        ),
        Figure(
            name="a small cell in a flood",
            unit="ms",
            ours=tuple(answers),
            judged=Judged.OURS,
            goal=Goal(limit=100),
            note="executions of `1` from the same page meanwhile, two a second: 9 of 10 were "
            "answered within this.",
        ),
        Figure(
            name="the browser's memory after a flood",
            unit="MB",
            ours=tuple(heaps),
            judged=Judged.OURS,
            goal=Goal(limit=200),
            note="JavaScript heap of the page, JupyterLab's own included, after a collection.",
        ),
        Figure(
            name="lines of a flood not in the log view",
            unit="lines",
            ours=tuple(lost),
            judged=Judged.OURS,
            goal=Goal(limit=0, always=True),
            note=f"of {_LINES:,}.",
        ),
    )
