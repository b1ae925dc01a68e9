"""A notebook scheduled, run, watched and looked into: the pages of schedules and of a run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from jupyter_aiinfra.schedule import Run, RunState
from tests.support.axe import faults
from tests.support.bench import wait_until
from tests.support.lab import Lab, LabPage, notebook

Window = Callable[..., LabPage]
Shots = Callable[[LabPage, str], None]

RUN = ".aiinfra-RunPage:visible"
PAGE = ".aiinfra-SchedulePage"
ROWS = f"{PAGE} .aiinfra-Table-row:visible"
TOASTS = ".Toastify__toast"
ENDED = ("succeeded", "failed", "missed", "skipped")
MANY = 10_000

PARAMETERS = """
import pathlib
import time

steps: int = 3  # in 1..1000
word: str = "step"
"""
TRAINING = """
n = 0
while n < steps or not pathlib.Path({stop!r}).exists():
    n += 1
    print(word, n, "loss", round(1 / n, 4), flush=True)
    time.sleep(0.1)
"""
TABLE = """
import html
print(html.escape("all <b>done</b>"))
"""


def training(stop: Path) -> dict[str, Any]:
    """Return a notebook with parameters that goes on until there is a file."""
    made: Any = notebook(PARAMETERS, TRAINING.format(stop=str(stop)), TABLE)
    made["cells"][0]["metadata"] = {"tags": ["parameters"]}
    text = {"cell_type": "markdown", "id": "m0", "metadata": {}, "source": "# Digits, *nightly*"}
    made["cells"].insert(0, text)
    return dict(made)


def add(lab: Lab, name: str, **values: Any) -> dict[str, Any]:
    """Schedule the notebook of this name; return what was made."""
    asked = {"name": name, "notebook": f"{name}.ipynb", "pool": "here", **values}
    return dict(lab.ask("POST", "/aiinfra/schedules", asked))


def workspace(lab: Lab) -> str:
    return json.dumps(lab.ask("GET", "/lab/api/workspaces"), separators=(",", ":"))


def toast(page: LabPage, text: str) -> Any:
    return page.page.locator(TOASTS, has_text=text)


def tab(page: LabPage, place: str, name: str) -> None:
    page.page.locator(place).get_by_role("tab", name=name, exact=True).click()


def test_from_the_toolbar_to_the_second_version(lab: Lab, window: Window, shots: Shots) -> None:
    stop = lab.site.work / "stop"
    lab.site.attach()
    lab.write("quickstart.ipynb", training(stop))
    page = window(width=1400, height=900)
    page.open_notebook("quickstart.ipynb")
    page.page.locator(".jp-NotebookPanel-toolbar [data-jp-item-name='aiinfra-schedule']").click()
    dialog = page.page.get_by_role("dialog", name="Schedule a notebook")
    expect(dialog.locator(".aiinfra-ScheduleForm-preview li")).to_have_count(10)
    dialog.get_by_label("steps", exact=True).fill("5")
    dialog.get_by_label("Run it now, too").check()
    dialog.get_by_role("button", name="Schedule", exact=True).click()
    expect(dialog).to_have_count(0)
    toast(page, "is run now").get_by_role("button", name="Open").click()

    # What a cell prints is seen while it runs.
    shown = page.page.locator(RUN)
    running = shown.locator(".aiinfra-RunCell[data-state='running']")
    expect(running.locator(".aiinfra-RunCell-outputs")).to_contain_text("step 7 loss 0.1429")
    expect(shown.locator(".aiinfra-RunHead-cell")).to_have_text("cell 4 of 5")
    expect(shown).to_contain_text("steps = 5")
    expect(shown.locator("h1")).to_contain_text("Digits, nightly")
    expect(running.locator(".aiinfra-RunCell-outputs")).to_contain_text("step 20 ")
    assert faults(page.page, ".aiinfra-RunPage") == []
    shots(page, "run-live")
    tab(page, RUN, "Log")
    expect(shown.locator(".aiinfra-row", has_text="loss").last).to_be_visible()
    tab(page, RUN, "Notebook")

    stop.touch()
    expect(shown.locator(".aiinfra-state")).to_have_text("succeeded")
    expect(shown.locator(".aiinfra-RunCell").last).to_contain_text("all <b>done</b>")
    assert shown.locator(".aiinfra-RunCell b").count() == 0
    tab(page, RUN, "Results")
    with page.page.expect_download() as downloading:
        shown.get_by_role("link", name="Notebook", exact=True).click()
    made = json.loads(downloading.value.path().read_text())
    assert "step 20 " in "".join(made["cells"][3]["outputs"][0]["text"])
    assert faults(page.page, ".aiinfra-RunPage") == []

    # The notebook is another, and so is a parameter: that is a second version.
    changed = training(stop)
    changed["cells"][3]["source"] += "\nprint('and more')"
    lab.write("quickstart.ipynb", changed)
    page.page.get_by_role("button", name="Edit schedule…").click()
    editing = page.page.get_by_role("dialog", name="Change the schedule")
    expect(editing.get_by_label("steps", exact=True)).to_have_value("5")
    editing.get_by_label("steps", exact=True).fill("8")
    editing.get_by_label("What has changed (optional)").fill("longer")
    editing.get_by_role("button", name="Save as version 2").click()
    expect(editing).to_have_count(0)
    shown.get_by_role("button", name="quickstart", exact=True).click()
    schedules = page.page.locator(PAGE)
    expect(schedules.locator("h2")).to_have_text("quickstart")
    expect(page.page.locator(ROWS)).to_have_count(1)
    tab(page, PAGE, "Versions")
    difference = schedules.locator(".aiinfra-Diff")
    expect(difference.locator(".aiinfra-mod-added", has_text="and more")).to_be_visible()
    expect(difference.locator("tr", has_text="steps")).to_contain_text("58")
    expect(schedules.locator(".aiinfra-SchedulePage-table")).to_contain_text("longer")
    assert faults(page.page, PAGE) == []
    shots(page, "schedule-versions")

    schedules.get_by_role("button", name="Pause", exact=True).click()
    expect(schedules.locator(".aiinfra-SchedulePage-title")).to_contain_text("paused")
    (paused,) = lab.ask("GET", "/aiinfra/schedules")["schedules"]
    assert (paused["state"], paused["version"]["number"]) == ("paused", 2)
    schedules.get_by_role("button", name="Roll back to version 1").click()
    expect(schedules.locator(".aiinfra-SchedulePage-table tbody tr")).to_have_count(3)
    (back,) = lab.ask("GET", "/aiinfra/schedules")["schedules"]
    assert back["version"]["parameters"] == {"steps": 5}


def test_why_a_run_has_failed(lab: Lab, window: Window, shots: Shots) -> None:
    lab.site.attach()
    cells = [
        f"print('cell {n}')\n" + "\n".join(f"x{n}_{i} = {i}" for i in range(12)) for n in "abc"
    ]
    broken = "bad = True\nif bad:\n    raise ValueError('a bad <img src=x> batch')"
    lab.write("report.ipynb", notebook(*cells, broken, "print('never')"))
    made = add(lab, "report")
    page = window(width=1200, height=760)
    page.command("aiinfra:open-schedules")
    row = page.page.locator(ROWS)
    expect(row).to_have_count(1)
    row.get_by_role("button", name="Run report now").click()
    # It is told once, as a run and not as a job.
    told = toast(page, "The run of “report” has failed: cell 4")
    expect(told).to_have_count(1)
    expect(page.page.locator(TOASTS, has_text="“report” has failed on here")).to_have_count(0)
    told.get_by_role("button", name="Open").click()
    shown = page.page.locator(RUN)
    expect(shown.get_by_role("alert")).to_contain_text("raised ValueError: a bad <img src=x> batch")
    cell = shown.locator(".aiinfra-RunCell[data-state='failed']")
    expect(cell).to_be_in_viewport()
    expect(cell).to_contain_text("ValueError")
    assert shown.locator("img").count() == 0
    assert faults(page.page, ".aiinfra-RunPage") == []
    shots(page, "run-failed")

    # Without what was bad it goes well, and what differs is seen.
    lab.write("report.ipynb", notebook(*cells, broken.replace("True", "False"), "print('now')"))
    lab.ask("PUT", f"/aiinfra/schedules/{made['id']}", {"note": "mended"})
    run = lab.ask("POST", f"/aiinfra/schedules/{made['id']}/run", {})
    page.command("aiinfra:open-run", {"id": run["id"]})
    expect(page.page.locator(RUN).locator(".aiinfra-state")).to_have_text("succeeded")
    tab(page, RUN, "Compare")
    difference = page.page.locator(RUN).locator(".aiinfra-Diff")
    expect(difference.locator(".aiinfra-mod-removed", has_text="bad = True")).to_be_visible()
    expect(difference.locator(".aiinfra-mod-added", has_text="now").first).to_be_visible()
    assert faults(page.page, RUN.removesuffix(":visible")) == []


def remember(lab: Lab, schedules: list[str]) -> None:
    """Write the past of some schedules down: ten thousand runs, a minute apart."""
    now = time.time()
    for first in range(0, MANY, 500):
        runs = []
        for number in range(first, first + 500):
            state = RunState(ENDED[number % len(ENDED)])
            at = now - 120 - 60 * (MANY - number)
            ran = state in {RunState.SUCCEEDED, RunState.FAILED}
            runs.append(
                Run(
                    id=f"r{number:09d}",
                    schedule=schedules[number % len(schedules)],
                    version=1,
                    key=f"slot:{number}",
                    trigger="clock",
                    state=state,
                    slot=at,
                    reason=f"batch {number} is bad" if state is RunState.FAILED else None,
                    created_at=at,
                    start_at=at,
                    started_at=at if ran else None,
                    ended_at=at + 1 + number % 50,
                )
            )
        lab.site.store.add_runs(runs)


def test_ten_thousand_runs_are_found_and_sorted(lab: Lab, window: Window, shots: Shots) -> None:
    lab.site.attach()
    made = []
    for name in ("nightly", "weekly"):
        lab.write(f"{name}.ipynb", notebook("print(1)"))
        # Far enough away: nothing but what is written down has run.
        when = [{"kind": "cron", "lines": ["0 2 1 1 *"]}]
        made.append(add(lab, name, triggers=when, timezone="Europe/Berlin")["id"])
    remember(lab, made)
    page = window(width=1300, height=820)
    page.command("aiinfra:open-schedules")
    rows = page.page.locator(ROWS)
    expect(rows).to_have_count(2)
    assert faults(page.page, PAGE) == []
    shots(page, "schedules")
    tab(page, PAGE, "Runs")
    table = page.page.get_by_role("table", name="Runs")
    expect(table).to_have_attribute("aria-rowcount", "201")
    assert rows.count() < 60
    # The end is not the end: more of them come.
    rows.first.focus()
    page.page.keyboard.press("End")
    expect(table).to_have_attribute("aria-rowcount", "401")

    search = page.page.locator(PAGE).get_by_role("searchbox")
    search.fill("batch 17 is")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("batch 17 is bad")
    search.fill("")
    state = page.page.locator(PAGE).get_by_label("State")
    state.select_option("failed")
    expect(rows.first).to_contain_text("is bad")
    expect(rows.filter(has_text="succeeded")).to_have_count(0)
    # Sorted by what the server does not sort by, all of them are known first.
    page.page.locator(PAGE).get_by_role("button", name="Took").click()
    expect(table).to_have_attribute("aria-rowcount", "2501")
    expect(rows.first).to_contain_text("50 s")
    shots(page, "schedule-runs")
    assert faults(page.page, PAGE) == []

    # One is deleted, and had back; another is gone.
    first = rows.first.get_attribute("data-id") or ""
    rows.first.focus()
    page.page.keyboard.press("Delete")
    expect(page.page.locator(f"{ROWS}[data-id={first}]")).to_have_count(0)
    toast(page, "was deleted").get_by_role("button", name="Undo").click()
    expect(page.page.locator(f"{ROWS}[data-id={first}]")).to_have_count(1)
    assert lab.ask("GET", f"/aiinfra/runs/{first}")["state"] == "failed"

    # How it was looked at is there again after a reload.
    rows.first.get_by_role("button", name="weekly").click()
    expect(page.page.locator(f"{PAGE} h2")).to_have_text("weekly")
    expect(table).to_have_attribute("aria-rowcount", "2501")
    wait_until(lambda: f'"schedule":"{made[1]}"' in workspace(lab))
    page.reload()
    expect(page.page.locator(f"{PAGE} h2")).to_have_text("weekly")
    expect(page.page.locator(PAGE).get_by_label("State")).to_have_value("failed")
    expect(table).to_have_attribute("aria-rowcount", "2501")
