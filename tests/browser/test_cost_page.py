"""The page of cost: what is on record, looked into; prices and idle rules; coming back."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.support.axe import faults
from tests.support.bench import wait_until
from tests.support.lab import Lab, LabPage, notebook
from tests.support.spending import DAY, HOUR, Spender

Window = Callable[..., LabPage]
Shots = Callable[[LabPage, str], None]

PAGE = ".aiinfra-CostPage"
BILL = f"{PAGE}-bill tbody tr"
OFFICE = 8 * HOUR
USERS = ("ada", "bob", "carol")


def spend(lab: Lab) -> None:
    """Write what two pools have cost in the last ten days, and a third that has no price."""
    today = time.time() // DAY * DAY
    spent = Spender(lab.site.store)
    begin = today - 10 * DAY + OFFICE
    spent.attach("lab", at=begin, gpus=4, amount="2.50")
    spent.attach("haus", at=begin, gpus=1, amount="1.20", currency="EUR")
    spent.attach("bare", at=begin + 9 * DAY, gpus=1, amount=None)
    for day in range(9):
        at = begin + day * DAY
        user = USERS[day % 3]
        spent.job(
            f"digits {day}",
            "lab",
            at=at,
            hours=4 + day % 3,
            gpus=1 + day % 4,
            busy=90 - 9 * day,
            user=user,
            notebook="digits.ipynb",
            project="vision",
        )
        spent.job(
            f"words {day}", "lab", at=at + 7 * HOUR, hours=6, gpus=2, user=user, project="speech"
        )
    spent.job("probe", "haus", at=begin + 7 * DAY, hours=5, busy=50, user="bob")
    spent.job("try", "bare", at=begin + 9 * DAY, hours=1, user="bob")
    for name in ("lab", "haus", "bare"):
        spent.detach(name, at=begin + 9 * DAY + 2 * HOUR)


def open_page(page: LabPage, **arguments: Any) -> Any:
    """Open the page; returns once it has its answer."""
    page.command("aiinfra:open-cost", arguments)
    page.page.wait_for_function(
        "() => { const { model } = jupyterapp.shell.currentWidget.content;"
        " return model.answer !== null && !model.isLoading; }"
    )
    return page.page.locator(PAGE)


def workspace(lab: Lab) -> str:
    return json.dumps(lab.ask("GET", "/lab/api/workspaces"), separators=(",", ":"))


@pytest.fixture
def page(lab: Lab, window: Window) -> LabPage:
    spend(lab)
    return window(width=1400, height=1150)


def test_what_was_spent_is_looked_into(page: LabPage, shots: Shots) -> None:
    shown = open_page(page)
    rows = page.page.locator(BILL)
    # In dollars and in euros, side by side; and what has no price is said.
    expect(shown.locator(f"{PAGE}-bill tfoot")).to_contain_text("€")
    expect(shown.locator(f"{PAGE}-bill tfoot")).to_contain_text("+ $")
    expect(shown.locator(f"{PAGE}-notes")).to_contain_text("have no price")
    expect(shown.locator(f"{PAGE}-tile").last).to_contain_text("%")
    expect(shown.locator(f"{PAGE}-bar")).to_have_count(7)
    shots(page, "cost")

    shown.get_by_label("By", exact=True).select_option("project")
    expect(rows).to_have_count(4)
    expect(shown.get_by_role("button", name="vision", exact=True)).to_be_visible()
    shown.get_by_role("button", name="speech", exact=True).click()
    expect(rows.first).to_contain_text("words")
    expect(rows).to_have_count(5)
    shown.get_by_label("Search in the lines of the bill").fill("words 8")
    expect(rows).to_have_count(1)
    expect(rows.first.locator("td").nth(3)).to_contain_text("$30.00")
    shown.get_by_label("Search in the lines of the bill").fill("")
    shown.get_by_role("button", name="project speech").click()

    expect(rows).to_have_count(13)
    # Sorted by name, then by what is idle.
    head = shown.get_by_role("columnheader", name="name")
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "ascending")
    shown.get_by_role("columnheader", name="idle", exact=True).get_by_role("button").click()
    expect(rows.first).to_contain_text("digits 8")
    assert faults(page.page, PAGE) == []


def test_bars_are_told_and_lead_to_a_day(page: LabPage) -> None:
    shown = open_page(page)
    legend = shown.locator(f"{PAGE}-legend")
    expect(legend).to_contain_text("all days")
    whole = legend.inner_text()
    bar = shown.locator(f"{PAGE}-bar").nth(2).bounding_box()
    page.page.mouse.move(bar["x"] + bar["width"] / 2, bar["y"] + bar["height"] / 2)
    expect(legend).not_to_contain_text("all days")
    assert legend.inner_text() != whole
    shown.get_by_role("button", name="Show as table").click()
    # What most lines have is drawn first; currencies are never put together.
    expect(shown.get_by_role("table", name="Cost in USD")).to_be_visible()
    shown.get_by_label("What bars stand for").select_option("EUR")
    table = shown.get_by_role("table", name="Cost in EUR")
    expect(table.locator("tbody tr")).to_have_count(7)
    expect(table.get_by_role("columnheader", name="idle")).to_be_visible()
    assert faults(page.page, PAGE) == []
    shown.get_by_role("button", name="Show as table").click()
    plot = shown.locator(f"{PAGE}-plot")
    plot.focus()
    page.page.keyboard.press("Home")
    page.page.keyboard.press("ArrowRight")
    page.page.keyboard.press("Enter")
    expect(shown.get_by_label("First day")).to_have_value(
        time.strftime("%Y-%m-%d", time.gmtime(time.time() - 5 * DAY))
    )
    expect(shown.locator(f"{PAGE}-bar.aiinfra-mod-beside")).to_have_count(6)


def test_usage_is_downloaded(page: LabPage, lab: Lab) -> None:
    shown = open_page(page)
    with page.page.expect_download() as begun:
        shown.get_by_role("link", name="Download CSV").click()
    path = lab.site.root / "usage.csv"
    begun.value.save_as(path)
    assert begun.value.suggested_filename == "usage.csv"
    with path.open(newline="") as file:
        found = list(csv.DictReader(file))
    assert {row["x_Pool"] for row in found} == {"lab", "haus", "bare"}
    assert {row["BillingCurrency"] for row in found} == {"USD", "EUR", ""}


def test_what_runs_is_counted_as_it_goes_on(lab: Lab, window: Window) -> None:
    # A dollar a second, of a machine without any GPU.
    lab.site.attach("--price", "3600/node-h")
    page = window()
    text = "import pathlib, time\nwhile not pathlib.Path('stop').exists(): time.sleep(0.05)"
    line = "%%accelerate here --cpu --procs 1 --mixed-precision no --name costly"
    lab.write("costs.ipynb", notebook("%load_ext jupyter_aiinfra", f"{line}\n{text}"))
    page.open_notebook("costs.ipynb")
    page.run_cell(0)
    page.wait_for_kernel("idle")
    page.run_cell(1)
    job = lab.site.newest().id
    lab.site.supervisor(job)
    shown = open_page(page, by="notebook")
    tiles = shown.locator(f"{PAGE}-number")
    expect(tiles.first).to_have_text("$3,600.00/h")
    today = tiles.nth(1)
    expect(today).to_contain_text("$")
    seen = [float(today.inner_text()[1:].replace(",", ""))]
    while seen[-1] < seen[0] + 5:
        page.page.wait_for_function(
            "([place, text]) => document.querySelectorAll(place)[1].textContent !== text",
            arg=[f"{PAGE}-number", today.inner_text()],
        )
        seen.append(float(today.inner_text()[1:].replace(",", "")))
    row = page.page.locator(BILL, has_text="costs.ipynb")
    expect(row).to_contain_text("node-h")
    row.get_by_role("button").click()
    # Of a notebook nobody's time is no part.
    expect(page.page.locator(BILL)).to_have_count(1)
    expect(page.page.locator(BILL)).to_contain_text("costly")
    (lab.site.work / "stop").touch()
    lab.site.end(job)
    expect(tiles.first).to_have_text("none")


def test_a_price_and_a_rule_are_seen_and_set(page: LabPage, lab: Lab) -> None:
    shown = open_page(page)
    prices = shown.locator(f"{PAGE}-prices tbody")
    expect(prices.locator("tr", has_text="haus")).to_contain_text("€1.20/GPU-h")
    expect(prices.locator("tr", has_text="haus")).to_contain_text("the contract")
    expect(prices.locator("tr", has_text="bare")).to_contain_text("unknown")
    lab.ask("POST", "/aiinfra/pools/bare/price", {"price": "0.50/gpu-h"})
    expect(prices.locator("tr", has_text="bare")).to_contain_text("$0.50/GPU-h")

    expect(shown.locator(f"{PAGE}-idle")).to_contain_text("as of")
    shown.get_by_label("When GPUs of lab are idle").select_option("1800")
    wait_until(lambda: lab.ask("GET", "/aiinfra/idle")["rules"])
    (rule,) = lab.ask("GET", "/aiinfra/idle")["rules"]
    assert rule == {
        "name": "lab",
        "rule": {"stop_seconds": 1800.0, "warn_seconds": None, "watch": True},
    }
    expect(shown.get_by_label("When GPUs of lab are idle")).to_have_value("1800")


def test_it_is_there_again_after_a_reload(page: LabPage, lab: Lab, shots: Shots) -> None:
    lab.ask("POST", "/aiinfra/budgets", {"amount": "600usd", "scope": "pool", "subject": "lab"})
    lab.ask("POST", "/aiinfra/budgets", {"amount": "50usd", "scope": "user", "subject": "ada"})
    shown = open_page(page, pool="lab", by="user")
    shown.get_by_role("button", name="Month", exact=True).click()
    wait_until(lambda: '"span":"month"' in workspace(lab))
    page.reload()
    again = page.page.locator(PAGE)
    expect(again.get_by_role("button", name="Month", exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )
    expect(again.get_by_label("Pool", exact=True)).to_have_value("lab")
    expect(again.get_by_label("By", exact=True)).to_have_value("user")
    expect(page.page.locator(BILL).first).to_be_visible()
    expect(again.locator(f"{PAGE}-budget")).to_have_count(2)
    expect(again.locator(f"{PAGE}-budgets")).to_contain_text("spent")
    assert faults(page.page, PAGE) == []
    shots(page, "cost-pool")


def test_without_any_pool_it_says_so(window: Window, shots: Shots) -> None:
    page = window(width=1000, height=700)
    shown = open_page(page)
    expect(shown).to_contain_text("No pool is attached")
    expect(shown.get_by_role("button", name="Attach a Pool…")).to_be_visible()
    assert faults(page.page, PAGE) == []
    shots(page, "cost-empty")
