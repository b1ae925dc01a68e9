"""What a job costs, in its cell and on its page; and a budget that warns, asks and stops it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.support.axe import faults
from tests.support.bench import wait_until
from tests.support.lab import Lab, LabPage, notebook, open_lab
from tests.support.site import Site

Window = Callable[..., LabPage]
Shots = Callable[[LabPage, str], None]

CELL = ".aiinfra-LiveJob"
PAGE = ".aiinfra-JobPage"
LINE = "%%accelerate here --cpu --procs 1 --mixed-precision no --name costly"
STEPS = """
import pathlib, time
from jupyter_aiinfra import step
while not pathlib.Path("stop").exists():
    step(of=100_000)
    time.sleep(0.05)
print("that was all", flush=True)
"""


@pytest.fixture
def lab(site: Site) -> Iterator[Lab]:
    # A dollar a second.
    site.attach("--price", "3600/node-h")
    with open_lab(site) as opened:
        yield opened


def begin(lab: Lab, page: LabPage) -> str:
    """Run a cell that makes steps until it is told to stop; return its job."""
    lab.write("costs.ipynb", notebook("%load_ext jupyter_aiinfra", f"{LINE}\n{STEPS}"))
    page.open_notebook("costs.ipynb")
    page.run_cell(0)
    page.wait_for_kernel("idle")
    page.run_cell(1)
    job = lab.site.newest().id
    lab.site.supervisor(job)
    expect(page.page.locator(f"{CELL} .aiinfra-state")).to_have_text("running")
    return job


def open_page(page: LabPage, job: str) -> Any:
    page.command("aiinfra:open-job", {"id": job})
    return page.page.locator(PAGE)


def tab(page: LabPage, name: str) -> None:
    page.page.locator(PAGE).get_by_role("tab", name=name, exact=True).click()


def spent(place: Any) -> float:
    """Return the dollars so far that are shown."""
    text = place.locator(".aiinfra-spent").inner_text()
    found = re.match(r"\$([\d,.]+) (so far|in all)", text)
    assert found is not None, text
    return float(found[1].replace(",", ""))


def budget(lab: Lab, job: str, amount: str, **values: object) -> Any:
    """Set a budget for a job."""
    body = {"amount": amount, "scope": "job", "subject": job, **values}
    return lab.ask("POST", "/aiinfra/budgets", body)


def test_a_job_says_what_it_costs(lab: Lab, window: Window, shots: Shots) -> None:
    page = window()
    job = begin(lab, page)
    cell = page.page.locator(CELL)
    line = cell.locator(".aiinfra-spent")
    expect(line).to_contain_text("· $3,600.00/h ·")
    expect(line).to_contain_text("a step · about $")
    expect(line).to_contain_text("in all, done at ")
    expect(cell.locator(".aiinfra-price")).to_contain_text("price $3,600.00/node-h · of today")
    # It goes on by itself, and never back.
    seen = [spent(cell)]
    while seen[-1] < seen[0] + 3:
        page.page.wait_for_function(
            "([place, text]) => document.querySelector(place).textContent !== text",
            arg=[f"{CELL} .aiinfra-spent", line.inner_text()],
        )
        seen.append(spent(cell))
    assert seen == sorted(seen)
    shots(page, "cost-cell")

    job_page = open_page(page, job)
    expect(job_page.locator(".aiinfra-spent")).to_contain_text("· $3,600.00/h ·")
    tab(page, "Cost")
    facts = job_page.locator(".aiinfra-JobCost-facts")
    for name in ("So far", "An hour", "A step", "When it is done", "Done at", "Price"):
        expect(facts.get_by_role("term").filter(has_text=name)).to_have_count(1)
    expect(facts).to_contain_text("$3,600.00/node-h · of today")
    expect(job_page.get_by_text("No budget counts this job.")).to_be_visible()
    what_if = job_page.get_by_role("table")
    expect(what_if.locator(".aiinfra-mod-measured")).to_contain_text("this job, as it was measured")
    expect(what_if.locator("tbody tr")).not_to_have_count(1)
    shots(page, "cost-page")
    assert faults(page.page, PAGE) == []

    (lab.site.work / "stop").touch()
    assert lab.site.end(job)["state"] == "succeeded"
    expect(job_page.locator(".aiinfra-spent")).to_contain_text("in all · $")
    exact = lab.ask("GET", f"/aiinfra/jobs/{job}")["cost"]["cost"][0]["text"]
    expect(facts.get_by_role("definition").first).to_have_text(exact)
    page.open_notebook_again("costs.ipynb")
    page.wait_for_prompt(1, "2")
    expect(line).to_contain_text(f"{exact} in all")
    page.command("docmanager:save")
    assert f"{exact} in all" in _text_kept(lab)


def _text_kept(lab: Lab) -> str:
    """Return what the notebook's file says of the job as text."""
    outputs = json.loads((lab.site.work / "costs.ipynb").read_text())["cells"][1]["outputs"]
    return "\n".join("".join(each.get("data", {}).get("text/plain", "")) for each in outputs)


def test_a_budget_asks_and_stops_and_says_why(lab: Lab, window: Window, shots: Shots) -> None:
    page = window()
    job = begin(lab, page)
    asking = budget(lab, job, "1usd", action="ask")
    # In the cell, from the server, while its kernel is busy.
    notice = page.page.locator(f"{CELL} .aiinfra-notice")
    expect(notice).to_contain_text("May it go on?")
    expect(notice).to_contain_text("$1.00 for job")
    expect(notice).to_contain_text(re.compile(r"14 min \d\d s left to answer"))
    shots(page, "cost-question-cell")

    job_page = open_page(page, job)
    there = job_page.locator(".aiinfra-notice")
    expect(there).to_contain_text("May it go on?")
    assert faults(page.page, PAGE) == []
    tab(page, "Cost")
    expect(job_page.locator(".aiinfra-JobCost-budgets > li")).to_contain_text("spent")
    shots(page, "cost-question-page")
    there.get_by_role("button", name="Go on for an hour").click()
    expect(there).to_be_hidden()
    assert lab.ask("GET", f"/aiinfra/budgets/{asking['id']}")["item"]["snoozed"]
    expect(job_page.locator(".aiinfra-JobCost-budgets > li")).to_contain_text("snoozed until")
    assert lab.ask("GET", f"/aiinfra/jobs/{job}")["item"]["state"] == "running"

    # The same budget, changed: it stops the job now.
    budget(lab, job, "2usd", action="stop", grace_seconds=20)
    lab.ask("POST", f"/aiinfra/budgets/{asking['id']}/snooze", {"seconds": None})
    expect(there).to_contain_text(re.compile("Being stopped|Stopped"))
    expect(there).to_contain_text("$2.00 for job")
    assert lab.site.end(job)["state"] == "cancelled"
    expect(job_page.locator(".aiinfra-state")).to_have_text("cancelled")
    expect(there).to_contain_text("Stopped")
    expect(there.get_by_role("button")).to_have_count(0)
    tab(page, "Timeline")
    timeline = job_page.get_by_role("table")
    expect(timeline).to_contain_text("asked whether it may go on: ")
    expect(timeline).to_contain_text("to be stopped: ")
    shots(page, "cost-stopped-page")

    # It is still explained where the cell was run, also after a reload.
    wait_until(lambda: "$2.00 for job" in _saved(lab, page))
    page.open_notebook_again("costs.ipynb")
    expect(notice).to_contain_text("Stopped")
    shots(page, "cost-stopped-cell")


def _saved(lab: Lab, page: LabPage) -> str:
    """Save the notebook; return what its file says."""
    page.open_notebook_again("costs.ipynb")
    page.command("docmanager:save")
    return _text_kept(lab)
