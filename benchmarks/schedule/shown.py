"""Ten thousand runs in the page of schedules: how soon it shows those that were asked for."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any, Final

from benchmarks.figure import Figure, Goal, Judged
from benchmarks.lab.labs import open_browser, serve, window
from benchmarks.registry import Run
from benchmarks.schedule.many import COUNT
from jupyter_aiinfra.schedule import Run as ScheduleRun
from jupyter_aiinfra.schedule import RunState
from tests.support.lab import Lab, LabPage, notebook

__all__ = ["shown"]

_TIMES: Final = 5
_PAGE: Final = ".aiinfra-SchedulePage"
_NAME: Final = "nightly"

# From what a person does to the first frame in which the first row is one of those asked for.
_ASK = """([how, value, wanted, unwanted]) => new Promise((done, fail) => {
    const page = document.querySelector('.aiinfra-SchedulePage');
    const first = () => [...page.querySelectorAll('.aiinfra-Table-row')]
        .find(row => row.offsetParent !== null)?.textContent ?? '';
    const begun = performance.now();
    const look = () => {
        const text = first();
        if (text.includes(wanted) && !(unwanted && text.includes(unwanted))) {
            done(performance.now() - begun);
        } else if (performance.now() - begun > 20_000) {
            fail(new Error(`${how} ${value}: "${text}" is shown, and not "${wanted}"`));
        } else {
            requestAnimationFrame(look);
        }
    };
    const control = how === 'tab'
        ? [...page.querySelectorAll('[role=tab]')].find(tab => tab.textContent === value)
        : page.querySelector(how);
    if (how === 'tab') {
        control.click();
    } else {
        const own = Object.getPrototypeOf(control);
        Object.getOwnPropertyDescriptor(own, 'value').set.call(control, value);
        control.dispatchEvent(new Event(control.tagName === 'SELECT' ? 'change' : 'input', {
            bubbles: true
        }));
    }
    requestAnimationFrame(look);
})"""
_STATE: Final = f"{_PAGE} select[aria-label=State]"
_FIND: Final = f"{_PAGE} input[type=search]"


def shown(run: Run) -> Sequence[Figure]:
    """Open the list of runs, and narrow it by a state and by a text, in a browser."""
    found: dict[str, list[float]] = {}
    with serve(run.folder / "shown") as lab:
        _remember(lab)
        with open_browser() as browser, window(browser, lab) as page:
            page.open()
            page.command("aiinfra:open-schedules")
            page.page.locator(f"{_PAGE} .aiinfra-Table-row:visible").first.wait_for()
            for number in range(1, run.rounds + 1):
                for name, took in _round(page).items():
                    found.setdefault(name, []).append(statistics.median(took))
                said = ", ".join(f"{name} {took[-1]:.0f} ms" for name, took in found.items())
                run.say(f"shown {number}/{run.rounds}: {said}")
    return tuple(
        Figure(
            name=f"of {COUNT:,} runs in the page, {name}",
            unit="ms",
            ours=tuple(took),
            judged=Judged.OURS,
            goal=Goal(limit=200),
            note=f"from the click or key to the frame that shows them; median of {_TIMES}.",
        )
        for name, took in found.items()
    )


def _round(page: LabPage) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}

    def ask(name: str | None, *what: str | None) -> None:
        took = page.page.evaluate(_ASK, list(what))
        if name is not None:
            found.setdefault(name, []).append(took)

    newest = f"run {COUNT - 1} "
    for _ in range(_TIMES):
        ask(None, "tab", "Schedules", f"{_NAME}.ipynb", None)
        ask("opened", "tab", "Runs", newest, None)
        ask("those that failed", _STATE, "failed", "is bad", None)
        ask(None, _STATE, "", newest, None)
        ask("by a text", _FIND, "run 4321", "run 4321 ", None)
        ask(None, _FIND, "", newest, None)
    return found


def _remember(lab: Lab) -> None:
    lab.site.attach()
    lab.write(f"{_NAME}.ipynb", notebook("print(1)"))
    never = [{"kind": "cron", "lines": ["0 2 29 2 *"]}]
    asked: dict[str, Any] = {"name": _NAME, "notebook": f"{_NAME}.ipynb", "pool": "here"}
    made = lab.ask("POST", "/aiinfra/schedules", {**asked, "triggers": never})
    now = time.time()
    runs = []
    for number in range(COUNT):
        failed = number % 10 == 0
        at = now - 60 * (COUNT - number) - 60
        runs.append(
            ScheduleRun(
                id=f"r{number:09d}",
                schedule=made["id"],
                version=1,
                key=f"slot:{number}",
                trigger="clock",
                state=RunState.FAILED if failed else RunState.SUCCEEDED,
                reason=f"run {number} is bad" if failed else f"run {number} went well",
                slot=at,
                created_at=at,
                start_at=at,
                started_at=at,
                ended_at=at + 30,
            )
        )
    lab.site.store.add_runs(runs)
