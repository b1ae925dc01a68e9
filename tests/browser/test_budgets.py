"""Budgets in the sidebar: set, warned of, snoozed, and seen to stop a job and to say why."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import expect

from tests.support.axe import faults
from tests.support.bench import wait_until
from tests.support.lab import Lab, LabPage

Window = Callable[..., LabPage]
Shots = Callable[[LabPage, str], None]

PANEL = "#aiinfra-panel"
STATUS = ".aiinfra-StatusItem-cost"
TOASTS = ".Toastify__toast"
# A dollar a second.
PRICE = "3600"

# One rank, which saves what it has when it is told to end.
TRAINING = """
import json, pathlib, signal, time
from jupyter_aiinfra import step
told = []
signal.signal(signal.SIGINT, lambda *_: told.append(True))
print("it trains", flush=True)
done = 0
while not told and not pathlib.Path("stop").exists():
    done += 1
    step(done)
    time.sleep(0.05)
pathlib.Path("saved.json").write_text(json.dumps({"step": done, "told": bool(told)}))
"""


def train(lab: Lab, name: str = "digits") -> str:
    """Launch a job that goes on until it is told to end; return its id."""
    known = [job.id for job in lab.site.jobs()]
    lab.site.script(f"{name}.py", TRAINING)
    words = ("run", f"{name}.py", "--pool", "here", "--cpu", "--name", name, "--detach")
    done = lab.site.command(*words)
    assert done.returncode == 0, done.stderr
    job = lab.site.next_job(known).id
    lab.site.wait_for_log(job, "it trains")
    return job


def panel(page: LabPage) -> Any:
    return page.page.locator(PANEL)


def job_row(page: LabPage, job: str) -> Any:
    return page.page.locator(f'{PANEL} [data-job="{job}"]')


def budget_row(page: LabPage) -> Any:
    return page.page.locator(f"{PANEL} .aiinfra-BudgetRow")


def toast(page: LabPage, text: str) -> Any:
    return page.page.locator(TOASTS, has_text=text)


def test_a_budget_is_set_warns_is_snoozed_and_stops_a_job(
    lab: Lab, window: Window, shots: Shots
) -> None:
    lab.site.attach()
    job = train(lab)
    page = window(height=1000)
    page.command("aiinfra:show-panel")
    pool = page.page.locator(f'{PANEL} [data-pool="here"]')

    # Without a price nothing has a cost.
    price = pool.locator(".aiinfra-PoolRow-price")
    expect(price).to_have_text("price unknown")
    expect(job_row(page, job).locator(".aiinfra-JobRow-state")).to_have_text("running")
    expect(job_row(page, job).locator(".aiinfra-JobRow-cost")).to_have_count(0)
    expect(page.page.locator(STATUS)).to_be_hidden()
    assert faults(page.page, PANEL) == []
    shots(page, "budgets-none")
    price.click()
    dialog = page.page.get_by_role("dialog")
    dialog.get_by_label("Price", exact=True).fill("cheap")
    dialog.get_by_label("Price", exact=True).press("Enter")
    expect(dialog.get_by_role("alert").first).to_have_text("This is no amount of money.")
    dialog.get_by_label("Price", exact=True).fill(PRICE)
    dialog.get_by_label("For an hour of").select_option("node-h")
    shots(page, "price-form")
    assert faults(page.page, ".jp-Dialog") == []
    dialog.get_by_role("button", name="Set the price").click()
    expect(dialog).to_have_count(0)
    expect(price).to_have_text("$3,600.00/node-h · of today")
    expect(page.page.locator(STATUS)).to_contain_text("$3,600.00/h · $")
    expect(job_row(page, job).locator(".aiinfra-JobRow-cost")).to_have_text(re.compile(r"\$\d"))

    # One dollar of ten thousand is where it warns.
    panel(page).get_by_role("button", name="Set a budget…").press("Enter")
    expect(dialog.get_by_label("Counts")).to_be_focused()
    dialog.get_by_label("Counts").select_option("pool")
    dialog.get_by_role("button", name="Set", exact=True).click()
    expect(dialog.get_by_role("alert").first).to_have_text("Say how much it is.")
    expect(dialog.get_by_label("Amount")).to_be_focused()
    dialog.get_by_label("Amount").fill("10000 gold")
    dialog.get_by_label("Amount").press("Enter")
    expect(dialog.get_by_role("alert").first).to_contain_text("is no amount of money")
    expect(dialog.get_by_label("Amount")).to_be_focused()
    shots(page, "budget-form-refused")
    assert faults(page.page, ".jp-Dialog") == []
    dialog.get_by_label("Amount").fill("10000")
    dialog.get_by_label("Warn at").fill("0.01")
    dialog.get_by_label("Amount").press("Enter")
    expect(dialog).to_have_count(0)

    row = budget_row(page)
    expect(row).to_contain_text("$10,000.00 a month for pool here")
    expect(row.locator(".aiinfra-PoolRow-status")).to_have_text("warns")
    notice = job_row(page, job).locator(".aiinfra-Notice")
    expect(notice).to_contain_text("Budget warning")
    expect(notice).to_contain_text("at $10,000.00 it is stopped")
    expect(toast(page, "at $10,000.00 it is stopped")).to_have_count(1)
    expect(page.page.locator(STATUS)).to_contain_text("budget at")
    shots(page, "budgets-warned")
    assert faults(page.page, PANEL) == []
    assert faults(page.page, "#jp-bottom-panel") == []

    notice.get_by_role("button", name="Snooze for an hour").click()
    expect(row.locator(".aiinfra-PoolRow-status")).to_contain_text("snoozed until")
    expect(notice).to_have_count(0)
    expect(page.page.locator(STATUS)).not_to_contain_text("budget")
    shots(page, "budgets-snoozed")
    row.get_by_role("button", name="Wake up").click()
    expect(row.locator(".aiinfra-PoolRow-status")).to_have_text("warns")
    expect(notice).to_contain_text("Budget warning")

    # A dollar has been spent long ago.
    row.get_by_role("button", name="Change the budget of").click()
    dialog.get_by_label("Amount").fill("1 usd")
    dialog.get_by_label("Amount").press("Enter")
    expect(dialog).to_have_count(0)
    why = "of $1.00 spent; stopped, with 2 min to save"
    expect(notice).to_contain_text(why)
    expect(job_row(page, job).locator(".aiinfra-JobRow-state")).to_have_text("cancelled")
    expect(notice).to_contain_text("Stopped")
    expect(toast(page, "“digits” was stopped on here")).to_have_count(1)
    assert lab.site.end(job)["state"] == "cancelled"
    saved = json.loads((lab.site.work / "saved.json").read_text())
    assert saved["told"]
    assert saved["step"] > 0

    row.locator(".aiinfra-PoolRow-toggle").focus()
    page.page.keyboard.press("ArrowRight")
    decisions = row.get_by_role("list", name="What it has done, the newest first")
    expect(decisions.locator('[data-kind="stop"]')).to_contain_text("stopped, digits")
    expect(decisions.locator('[data-kind="stop"]')).to_contain_text(why)
    expect(decisions.locator('[data-kind="warning"]').last).to_contain_text("warned")
    expect(row.locator(".aiinfra-PoolRow-status")).to_have_text("spent: jobs are stopped")
    shots(page, "budgets-stopped")
    assert faults(page.page, PANEL) == []

    # It refuses what would begin, and says so there.
    job_row(page, job).focus()
    job_row(page, job).get_by_role("button", name="Run digits again").click()
    expect(dialog).to_contain_text("no more jobs may begin")
    dialog.get_by_role("button", name="Close").click()
    expect(decisions.locator('[data-kind="refusal"]')).to_contain_text("was not let begin")

    row.get_by_role("button", name="Remove the budget of").click()
    expect(row).to_have_count(0)
    page.page.get_by_role("button", name="Undo").click()
    expect(row).to_have_count(1)
    row.get_by_role("button", name="Remove the budget of").click()
    wait_until(lambda: lab.ask("GET", "/aiinfra/budgets")["budgets"] == [], seconds=60)


def test_a_question_is_answered_where_it_is_asked(lab: Lab, window: Window, shots: Shots) -> None:
    lab.site.attach("--price", f"{PRICE}/node-h")
    jobs = [train(lab, name) for name in ("digits", "letters")]
    page = window(height=1000)
    page.command("aiinfra:show-panel")
    page.begin("aiinfra:set-budget", {"scope": "pool", "subject": "here"})
    dialog = page.page.get_by_role("dialog")
    dialog.get_by_label("Amount").fill("1")
    dialog.get_by_label("Once it is spent").select_option("ask")
    dialog.get_by_label("Time to answer, in minutes").fill("60")
    shots(page, "budget-form-ask")
    dialog.get_by_role("button", name="Set", exact=True).click()
    expect(dialog).to_have_count(0)

    # Asked once, of both.
    question = toast(page, "may it go on?")
    expect(question).to_have_count(1)
    row = budget_row(page)
    expect(row.locator(".aiinfra-PoolRow-status")).to_contain_text("spent, asks until")
    expect(page.page.locator(STATUS)).to_contain_text("budget asks")
    for job in jobs:
        expect(job_row(page, job).locator(".aiinfra-Notice")).to_contain_text("May it go on?")
    shots(page, "budgets-asked")
    assert faults(page.page, PANEL) == []

    question.get_by_role("button", name="Go on for an hour").click()
    expect(row.locator(".aiinfra-PoolRow-status")).to_contain_text("snoozed until")
    expect(question).to_have_count(0)
    expect(job_row(page, jobs[0]).locator(".aiinfra-Notice")).to_have_count(0)
    row.get_by_role("button", name="Wake up").click()
    expect(question).to_have_count(1)

    job_row(page, jobs[0]).get_by_role("button", name="Stop", exact=True).click()
    expect(dialog).to_contain_text("Stop 2 jobs?")
    expect(dialog).to_contain_text("“digits”")
    shots(page, "budgets-stop-asked")
    assert faults(page.page, ".jp-Dialog") == []
    dialog.get_by_role("button", name="Stop them").click()
    for job in jobs:
        expect(job_row(page, job).locator(".aiinfra-JobRow-state")).to_have_text("cancelled")
        expect(job_row(page, job)).to_contain_text("had its jobs stopped")
        assert lab.site.end(job)["state"] == "cancelled"
    expect(question).to_have_count(0)
