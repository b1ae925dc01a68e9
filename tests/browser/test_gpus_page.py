"""The page of GPUs: what is drawn, and what is not; hovering, zooming, keys; coming back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.support.axe import faults
from tests.support.bench import wait_until
from tests.support.lab import Lab, LabPage

Window = Callable[..., LabPage]
Shots = Callable[[LabPage, str], None]

PAGE = ".aiinfra-GpusPage"
CHART = f"{PAGE} .aiinfra-GpusPage-chart"
MAP = f"{PAGE} .aiinfra-GpusPage-heat"

# How often each canvas was drawn: the four charts, then the map of many GPUs.
DRAWN = """() => {
    const page = jupyterapp.shell.currentWidget.content;
    return [...page.charts.map(chart => chart.drawn), page.heat.drawn];
}"""
# Seconds of the newest minutes of which something is known of the pool's first GPU.
KNOWN = """pool => {
    const { model } = jupyterapp.shell.currentWidget.content;
    const { board, trail } = model.sources.find(each => each.pool === pool);
    const [gpu] = board.gpus;
    const { t0, values } = trail.window(board.nodes[gpu.node].name, gpu.uuid, 'utilization', 300);
    return values.flatMap((value, place) => (value === null ? [] : [t0 + place]));
}"""


def attach(lab: Lab, name: str = "sim", **options: Any) -> None:
    """Attach a pool of made-up GPUs."""
    body = {"name": name, "kind": "simulated", "options": options}
    lab.ask("POST", "/aiinfra/pools", body)


def open_page(page: LabPage, **arguments: Any) -> Any:
    """Open the page; returns once its charts are drawn."""
    page.command("aiinfra:open-gpus", arguments)
    page.page.wait_for_function(f"() => ({DRAWN})().some(count => count > 0)")
    return page.page.locator(PAGE)


def drawn(page: LabPage) -> list[int]:
    counts: list[int] = page.page.evaluate(DRAWN)
    return counts


def value(page: LabPage, chart: int = 0) -> Any:
    return page.page.locator(CHART).nth(chart).locator(".aiinfra-GpusPage-value").first


def box(page: LabPage, selector: str = f"{CHART} .aiinfra-GpusPage-plot") -> dict[str, float]:
    found: dict[str, float] = page.page.locator(selector).first.bounding_box()
    return found


def shown(page: LabPage) -> dict[str, float]:
    window: dict[str, float] = page.page.evaluate(
        "() => jupyterapp.shell.currentWidget.content.model.shown()"
    )
    return window


def topics(page: LabPage) -> str:
    """Return what was said last of what is watched."""
    return str(page.sent[-1]) if page.sent else ""


def workspace(lab: Lab) -> str:
    return json.dumps(lab.ask("GET", "/lab/api/workspaces"), separators=(",", ":"))


@pytest.fixture
def page(lab: Lab, window: Window) -> LabPage:
    attach(lab, nodes=2, gpus=4)
    return window(width=1400, height=950)


def test_what_is_drawn_of_8_gpus(page: LabPage, shots: Shots) -> None:
    shown_page = open_page(page)
    expect(shown_page.locator(".aiinfra-Gpus-row")).to_have_count(8)
    expect(shown_page.locator(".aiinfra-GpusPage-tile dd").first).to_contain_text("/8")
    expect(value(page)).to_contain_text("%")
    expect(page.page.locator(MAP)).to_be_visible()

    # One node, one GPU a line.
    shown_page.get_by_label("Pool", exact=True).select_option("sim")
    node = shown_page.get_by_label("Node", exact=True)
    node.select_option("sim02")
    lines = page.page.locator(CHART).first.locator(".aiinfra-GpusPage-line")
    expect(lines).to_have_count(4)
    expect(lines.first).to_contain_text("GPU 0")
    expect(shown_page.locator(".aiinfra-Gpus-row")).to_have_count(4)
    node.select_option("")
    shown_page.get_by_label("By", exact=True).select_option("user")
    expect(lines.first).to_be_visible()

    shown_page.get_by_role("button", name="Show as table").click()
    expect(shown_page.get_by_role("table", name="Utilization")).to_be_visible()
    assert faults(page.page, PAGE) == []
    shown_page.get_by_role("button", name="Show as table").click()
    expect(page.page.locator(CHART).first).to_be_visible()
    assert faults(page.page, PAGE) == []
    shots(page, "gpus-page")


def test_hovering_says_what_was_so_and_draws_nothing(page: LabPage) -> None:
    shown_page = open_page(page)
    # The page at rest on what was recorded: what is live would be drawn meanwhile.
    shown_page.get_by_role("button", name="1 h", exact=True).click()
    plots = page.page.locator(f"{PAGE}-plots")
    expect(plots).to_have_attribute("aria-busy", "false")
    expect(value(page)).to_contain_text("%")
    page.page.wait_for_function(
        "() => jupyterapp.shell.currentWidget.content.model.curves()?.width > 1"
    )
    place = box(page)
    before = drawn(page)
    for step in range(10):
        page.page.mouse.move(place["x"] + 80 + 20 * step, place["y"] + 60)
    # An hour ago nobody looked; the mark is at the same moment in each chart.
    marks = page.page.locator(".aiinfra-GpusPage-mark:visible")
    expect(marks).to_have_count(5)
    for chart in range(4):
        expect(value(page, chart)).to_have_text("n/a")
    assert drawn(page) == before
    page.page.mouse.move(place["x"] + 80, place["y"] - 400)
    expect(marks).to_have_count(0)
    expect(value(page)).to_contain_text("%")

    # In the map it is one GPU.
    where = box(page, f"{MAP} .aiinfra-GpusPage-plot")
    page.page.mouse.move(where["x"] + 100, where["y"] + 3)
    expect(page.page.locator(f"{MAP} .aiinfra-GpusPage-legend")).to_contain_text("sim01:0: n/a")
    assert drawn(page) == before

    # Another series in the map: the charts are as they were but for what is asked anew.
    shown_page.get_by_label("What the rows show").select_option("power")
    page.page.wait_for_function(f"count => ({DRAWN})()[4] > count", arg=before[4])


def test_zooming_with_the_mouse_and_with_keys(page: LabPage) -> None:
    open_page(page)
    plots = page.page.locator(f"{PAGE}-plots")
    place = box(page)
    width = shown(page)["end"] - shown(page)["start"]
    assert width == 300
    page.page.mouse.move(place["x"] + place["width"] - 200, place["y"] + 50)
    page.page.mouse.down()
    page.page.mouse.move(place["x"] + place["width"] - 100, place["y"] + 60, steps=5)
    expect(page.page.locator(".aiinfra-GpusPage-drag:visible")).to_have_count(1)
    page.page.mouse.up()
    zoomed = shown(page)
    assert 10 <= zoomed["end"] - zoomed["start"] < 200
    back = page.page.locator(".aiinfra-GpusPage-window")
    expect(back).to_be_visible()
    assert shown(page) == zoomed  # it stands still
    page.page.mouse.dblclick(place["x"] + 200, place["y"] + 60)
    expect(back).to_be_hidden()

    plots.focus()
    page.page.keyboard.press("+")
    half = shown(page)
    assert half["end"] - half["start"] <= width / 2 + 1
    page.page.keyboard.press("ArrowLeft")
    moved = shown(page)
    assert moved["start"] < half["start"]
    assert moved["end"] - moved["start"] == half["end"] - half["start"]
    page.page.keyboard.press("-")
    assert shown(page)["end"] - shown(page)["start"] > half["end"] - half["start"]
    page.page.keyboard.press("Escape")
    expect(back).to_be_hidden()
    page.page.keyboard.press("Shift+ArrowLeft")
    expect(page.page.locator(".aiinfra-GpusPage-mark:visible").first).to_be_visible()
    page.page.keyboard.press("0")
    expect(page.page.locator(".aiinfra-GpusPage-mark:visible")).to_have_count(0)


def test_a_hidden_tab_watches_and_draws_nothing(page: LabPage) -> None:
    open_page(page, pool="sim")
    page.page.wait_for_function(f"() => ({DRAWN})()[0] > 1")
    assert '"pool":"sim"' in topics(page)
    counts = """() => {
        const { rendered, charts, heat } = window.gpus;
        return [rendered, ...charts.map(chart => chart.drawn), heat.drawn];
    }"""
    page.page.evaluate("() => { window.gpus = jupyterapp.shell.currentWidget.content; }")
    page.command("launcher:create")
    page.page.wait_for_function("() => !window.gpus.isVisible")
    before = page.page.evaluate(counts)
    page.page.wait_for_function(
        "() => window.gpus.model.sources.every(({ live }) => live.state === 'idle')"
    )
    # Another glance at the sizes: whatever else the page watches, no GPU of the pool.
    page.page.wait_for_timeout(3_000)
    assert page.page.evaluate(counts) == before
    assert '"pool":"sim","node":null,"detail":null' not in topics(page)
    page.page.evaluate("() => jupyterapp.shell.activateById('aiinfra-gpus')")
    page.page.wait_for_function(f"count => ({counts})()[1] > count", arg=before[1])


def test_after_a_restart_of_the_server_no_second_is_missing(lab: Lab, page: LabPage) -> None:
    # The server reads on its own from its start on: only while it is away there is nothing.
    open_page(page, pool="sim")
    page.page.wait_for_function(f"() => ({KNOWN})('sim').length > 3")
    before = page.page.evaluate(KNOWN, "sim")
    lab.kill()
    page.page.wait_for_function(
        "() => jupyterapp.shell.currentWidget.content.model.sources[0].live.state !== 'live'"
    )
    lab.start()
    page.page.wait_for_function(
        "() => jupyterapp.shell.currentWidget.content.model.sources[0].live.state === 'live'"
    )
    newest = before[-1]
    page.page.wait_for_function(
        f"newest => ({KNOWN})('sim').filter(second => second > newest).length > 5", arg=newest
    )
    after = page.page.evaluate(KNOWN, "sim")
    assert [second for second in after if second <= newest] == before
    began = next(second for second in after if second > newest)
    resumed = [second for second in after if second >= began]
    assert resumed == list(range(resumed[0], resumed[-1] + 1))


def test_it_is_there_again_after_a_reload(lab: Lab, page: LabPage) -> None:
    open_page(page, pool="sim")
    page.page.locator(PAGE).get_by_role("button", name="6 h").click()
    # JupyterLab keeps what has changed a moment later.
    wait_until(lambda: '"span":21600' in workspace(lab))
    page.reload()
    shown_page = page.page.locator(PAGE)
    expect(shown_page.get_by_role("button", name="6 h")).to_have_attribute("aria-pressed", "true")
    expect(shown_page.get_by_label("Pool", exact=True)).to_have_value("sim")


def test_512_gpus(lab: Lab, window: Window, shots: Shots) -> None:
    attach(lab, "big", nodes=64, gpus=8)
    page = window(width=1500, height=1000)
    shown_page = open_page(page, pool="big")
    expect(shown_page.locator(".aiinfra-GpusPage-tile dd").first).to_contain_text("/512")
    expect(shown_page.locator(".aiinfra-Gpus-row")).to_have_count(512)
    rows = page.page.evaluate(
        "() => jupyterapp.shell.currentWidget.content.model.curves().rows.length"
    )
    assert rows == 512
    # A second is one drawing of each canvas, however many GPUs there are.
    before = drawn(page)
    page.page.wait_for_function(f"count => ({DRAWN})()[0] >= count", arg=before[0] + 5)
    after = drawn(page)
    assert {new - old for old, new in zip(before, after, strict=True)} == {after[0] - before[0]}
    # Of the rows below only those in sight have a curve that is drawn.
    seen = page.page.evaluate(
        "() => [...document.querySelectorAll('.aiinfra-Gpus-row canvas')]"
        ".filter(({ width }) => width !== 300).length"
    )
    assert seen < 100
    shots(page, "gpus-page-512")
