"""A notebook scheduled from its toolbar, changed, run, paused and removed in the sidebar."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import expect

from tests.support.axe import faults
from tests.support.lab import Lab, LabPage, notebook

Window = Callable[..., LabPage]
Shots = Callable[[LabPage, str], None]

PANEL = "#aiinfra-panel"
TOASTS = ".Toastify__toast"
PARAMETERS = """
lr: float = 0.1  # 0 < lr <= 1
epochs: int = 3  # in 1..100
optimiser: Literal["sgd", "adam"] = "sgd"
verbose: bool = False
day: date = date(2026, 1, 1)
token: str = "secret:HUB_TOKEN"
sizes: list[int] = [8, 16]
title = "digits"  # what the report is called
"""


def report() -> dict[str, object]:
    """A notebook with parameters of every kind, which ends at once."""
    imports = "from datetime import date\nfrom typing import Literal"
    # The secret is not there: what needs it is left out when it runs.
    made: Any = notebook(imports, PARAMETERS, "print(f'lr is {lr}, {optimiser}')")
    made["cells"][1]["metadata"] = {"tags": ["parameters"]}
    return dict(made)


def schedule_row(page: LabPage) -> Any:
    return page.page.locator(f"{PANEL} .aiinfra-ScheduleRow")


def toast(page: LabPage, text: str) -> Any:
    return page.page.locator(TOASTS, has_text=text)


def test_a_notebook_is_scheduled_from_its_toolbar(lab: Lab, window: Window, shots: Shots) -> None:
    lab.site.attach()
    lab.write("daily report.ipynb", report())
    page = window(height=1000, width=1400)
    page.open_notebook("daily report.ipynb")
    page.page.locator(".jp-NotebookPanel-toolbar [data-jp-item-name='aiinfra-schedule']").click()

    dialog = page.page.get_by_role("dialog", name="Schedule a notebook")
    expect(dialog.get_by_label("Name", exact=True)).to_have_value("daily-report")
    expect(dialog.get_by_label("Name", exact=True)).to_be_focused()
    expect(dialog.get_by_label("Pool")).to_have_value("here")
    slots = dialog.locator(".aiinfra-ScheduleForm-preview li")
    expect(slots).to_have_count(10)
    expect(dialog.locator(".aiinfra-ScheduleForm-words")).to_have_text("every day at 02:00")
    assert faults(page.page, ".jp-Dialog") == []
    shots(page, "schedule-form")

    # A value that does not fit is told at its field as it stands there, and keeps the focus.
    rate = dialog.get_by_label("lr", exact=True)
    rate.fill("2")
    problem = dialog.locator("#aiinfra-schedule-parameter\\:lr-problem")
    expect(problem).to_contain_text("parameter lr = 2: expected a number more than 0 and at most 1")
    expect(rate).to_be_focused()
    expect(slots).to_have_count(10)
    dialog.get_by_role("button", name="Schedule", exact=True).click()
    expect(problem).to_contain_text("expected a number")
    expect(rate).to_be_focused()
    shots(page, "schedule-form-refused")
    assert faults(page.page, ".jp-Dialog") == []
    rate.fill("0.5")
    expect(problem).to_have_count(0)

    # As is a line that is none; what it means is said in words, and the times follow it.
    lines = dialog.get_by_label("Cron lines")
    lines.fill("61 * * * *")
    expect(dialog.locator("#aiinfra-schedule-cron-problem")).to_contain_text("Bad minute")
    expect(slots).to_have_count(0)
    lines.fill("0 6 * * MON#1\n30 8 * * 1-5")
    zone = dialog.get_by_label("Time zone")
    zone.fill("Europe/Berlin")
    expect(dialog.locator(".aiinfra-ScheduleForm-words li").first).to_have_text(
        "on the first Monday of each month at 06:00"
    )
    expect(slots).to_have_count(10)
    expect(slots.first).to_contain_text(re.compile(r"^20\d\d-\d\d-\d\d 0[68]:[03]0 CES?T"))

    # What is usual is out of sight, and opens by a key that sends nothing.
    results = dialog.locator("summary", has_text="Missed, late and failed runs")
    results.press("Enter")
    dialog.get_by_label("Tries again after a failure").fill("2")
    expect(dialog.get_by_label("First pause before that")).to_have_value("1m")
    dialog.get_by_label("optimiser").select_option("adam")
    shots(page, "schedule-form-more")
    assert faults(page.page, ".jp-Dialog") == []
    dialog.get_by_role("button", name="Schedule", exact=True).click()
    expect(dialog).to_have_count(0)
    expect(toast(page, "“daily-report” is scheduled.")).to_have_count(1)

    (made,) = lab.ask("GET", "/aiinfra/schedules")["schedules"]
    version = made["version"]
    assert version["parameters"] == {"lr": 0.5, "optimiser": "adam"}
    assert version["triggers"][0]["lines"] == ["0 6 * * MON#1", "30 8 * * 1-5"]
    assert (version["timezone"], version["policy"]["retries"]) == ("Europe/Berlin", 2)
    assert version["notebook"].endswith("/daily report.ipynb")


def test_a_schedule_is_changed_run_paused_copied_and_removed_in_the_sidebar(
    lab: Lab, window: Window, shots: Shots
) -> None:
    lab.site.attach()
    lab.write("report.ipynb", report())
    page = window(height=1000)
    page.command("aiinfra:show-panel")
    panel = page.page.locator(PANEL)
    expect(panel).to_contain_text("A schedule runs a notebook by itself.")

    # From the file browser, with only the token given to something that is there.
    page.command("filebrowser:activate")
    listed = page.page.locator(".jp-DirListing-item", has_text="report.ipynb")
    listed.click(button="right")
    page.page.locator(".lm-Menu-item", has_text="Schedule…").click()
    dialog = page.page.get_by_role("dialog", name="Schedule a notebook")
    expect(dialog.locator(".aiinfra-ScheduleForm-preview li")).to_have_count(10)
    dialog.get_by_label("It runs").select_option("every")
    dialog.get_by_label("Every", exact=True).fill("often")
    dialog.get_by_role("button", name="Schedule", exact=True).click()
    expect(dialog.locator("#aiinfra-schedule-every-problem")).to_contain_text("no length of time")
    expect(dialog.get_by_label("Every", exact=True)).to_be_focused()
    dialog.get_by_label("Every", exact=True).fill("2h")
    dialog.get_by_label("token").fill("plain")
    dialog.get_by_label("Run it now, too").check()
    dialog.get_by_role("button", name="Schedule", exact=True).click()
    expect(dialog).to_have_count(0)

    page.command("aiinfra:show-panel")
    row = schedule_row(page)
    expect(row).to_contain_text("report")
    expect(row.locator(".aiinfra-PoolRow-facts")).to_contain_text("(in 1 h")
    dot = row.locator(".aiinfra-RunDot")
    expect(dot).to_have_attribute("data-state", "succeeded")
    row.get_by_role("button", name="Run report now").click()
    expect(row.locator(".aiinfra-RunDot[data-state='succeeded']")).to_have_count(2)
    row.locator(".aiinfra-PoolRow-toggle").click()
    expect(row).to_contain_text('token = "plain"')
    assert faults(page.page, PANEL) == []
    shots(page, "schedules-panel")

    # A change makes a version, and keeps what it does not touch.
    row.get_by_role("button", name="Change…").click()
    changing = page.page.get_by_role("dialog", name="Change the schedule")
    expect(changing.get_by_label("token")).to_have_value("plain")
    expect(changing.get_by_label("Every", exact=True)).to_have_value("2h")
    changing.get_by_label("epochs").fill("5")
    changing.get_by_label("What has changed (optional)").fill("longer")
    changing.get_by_role("button", name="Save as version 2").click()
    expect(changing).to_have_count(0)
    expect(row).to_contain_text("epochs = 5")
    (made,) = lab.ask("GET", "/aiinfra/schedules")["schedules"]
    first, second = reversed(lab.ask("GET", f"/aiinfra/schedules/{made['id']}")["versions"])
    assert second["parameters"] == {"epochs": 5, "token": "plain"}
    assert second["triggers"] == first["triggers"]
    assert second["note"] == "longer"

    row.get_by_role("button", name="Pause report").click()
    expect(row).to_contain_text("paused since")
    shots(page, "schedules-panel-paused")
    row.get_by_role("button", name="Resume report").click()
    expect(row.locator(".aiinfra-PoolRow-facts")).to_contain_text("(in ")

    row.get_by_role("button", name="Duplicate…").click()
    asking = page.page.get_by_role("dialog")
    expect(asking.locator("input")).to_have_value("report-2")
    asking.locator("input").press("Enter")
    expect(schedule_row(page)).to_have_count(2)
    copy = page.page.locator(f"{PANEL} .aiinfra-ScheduleRow", has_text="report-2")
    copy.locator(".aiinfra-PoolRow-head").click(button="right")
    page.page.locator(".lm-Menu-item", has_text=re.compile("^Remove$")).click()
    expect(schedule_row(page)).to_have_count(1)
    toast(page, "“report-2” was removed").get_by_role("button", name="Undo").click()
    expect(schedule_row(page)).to_have_count(2)
