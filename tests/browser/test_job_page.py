"""The page of a job: a log of any length, what is beside it, and nothing lost or doubled."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import expect

from tests.support.axe import faults
from tests.support.bench import wait_until
from tests.support.lab import Lab, LabPage, notebook

Window = Callable[..., LabPage]
Shots = Callable[[LabPage, str], None]

PAGE = ".aiinfra-JobPage"
ROWS = f"{PAGE} .aiinfra-row"
MOST_ROWS_IN_PAGE = 80

# Rank 1 waits for the other before it fails: the launcher then ends whoever still prints.
MANY = """
import os, pathlib, time
print("this is rank", os.environ["RANK"])
for n in range(300_000):
    print(f"step {n} \\x1b[3{n % 7 + 1}mloss\\x1b[0m <b>{1 / (n + 1):.6f}</b>")
for n in range(5000):
    print("the same again")
print("long " * 200, flush=True)
done = pathlib.Path("all-is-printed")
if os.environ["RANK"] == "0":
    done.touch()
if os.environ["RANK"] == "1":
    while not done.exists():
        time.sleep(0.05)
    raise ValueError("bad batch <img src=x>")
"""
FLOOD = """
import pathlib, sys, time
begun, n = time.monotonic(), 0
while not pathlib.Path("stop").exists():
    for _ in range(500):
        n += 1
        sys.stdout.write(f"line {n} of a flood\\n")
    sys.stdout.flush()
    time.sleep(max(0, begun + n / 10_000 - time.monotonic()))
"""
STEPS = """
import pathlib, time
n = 0
while not pathlib.Path("stop").exists():
    n += 1
    print("step", n, flush=True)
    time.sleep(0.05)
print("that was all", flush=True)
"""


def launch(lab: Lab, page: LabPage, code: str, *, procs: int = 1) -> str:
    """Launch a cell that does not wait for its job; return the job."""
    lab.site.attach()
    line = f"%%accelerate here --cpu --procs {procs} --mixed-precision no --name pages --detach"
    lab.write("pages.ipynb", notebook("%load_ext jupyter_aiinfra", f"{line}\n{code}"))
    page.open_notebook("pages.ipynb")
    page.run_cell(0)
    page.wait_for_kernel("idle")
    page.run_cell(1)
    job = lab.site.newest().id
    # Until its supervisor is there, a job that was recorded may be taken for one that is lost.
    lab.site.supervisor(job)
    return job


def open_page(page: LabPage, job: str) -> None:
    page.command("aiinfra:open-job", {"id": job})
    page.page.wait_for_selector(ROWS)


def region(page: LabPage) -> Any:
    return page.page.get_by_role("log")


def press(page: LabPage, key: str) -> None:
    region(page).focus()
    page.page.keyboard.press(key)


def row(page: LabPage, text: str) -> Any:
    """Return the rows in the page that are just this text."""
    return page.page.locator(ROWS).filter(has_text=re.compile(f"^{re.escape(text)}$"))


def tab(page: LabPage, name: str) -> None:
    page.page.locator(PAGE).get_by_role("tab", name=name, exact=True).click()


def test_a_log_of_300_000_lines(lab: Lab, window: Window, shots: Shots) -> None:
    page = window(width=1024)
    job = launch(lab, page, MANY, procs=2)
    assert lab.site.end(job, seconds=120)["state"] == "failed"
    wait_until(lambda: lab.ask("GET", f"/aiinfra/jobs/{job}")["item"]["state"] == "failed")
    open_page(page, job)
    job_page = page.page.locator(PAGE)

    expect(job_page.get_by_role("search")).to_be_hidden()
    # The rank that failed comes first.
    tabs = job_page.get_by_role("tablist", name="Logs").get_by_role("tab")
    expect(tabs.first).to_have_text("rank 1")
    expect(job_page.locator(".aiinfra-error")).to_contain_text("bad batch <img src=x>")
    expect(page.page.locator(ROWS).last).to_have_text("ValueError: bad batch <img src=x>")
    assert job_page.locator("img").count() == 0
    shots(page, "job-log")
    assert faults(page.page, PAGE) == []

    tab(page, "rank 0")
    folded = page.page.locator(ROWS, has_text="the same again")
    expect(folded).to_contain_text("5,000")
    expect(job_page.locator(".aiinfra-foot")).to_contain_text("305,002 lines")
    press(page, "Home")
    expect(row(page, "this is rank 0")).to_be_visible()
    press(page, "PageDown")
    expect(row(page, "this is rank 0")).to_have_count(0)
    assert page.page.locator(ROWS).count() < MOST_ROWS_IN_PAGE

    page.page.keyboard.press("Control+f")
    page.page.keyboard.type("STEP 25000 ")
    page.page.keyboard.press("Enter")
    status = job_page.locator(".aiinfra-SearchBar-status")
    expect(status).to_have_text("1 of 1")
    expect(job_page.locator(".aiinfra-mod-current mark")).to_have_text("step 25000 ")
    shots(page, "job-search")
    assert faults(page.page, PAGE) == []
    page.page.keyboard.press("Escape")
    expect(region(page)).to_be_focused()

    job_page.get_by_role("button", name="Wrap").click()
    press(page, "End")
    expect(page.page.locator(ROWS).last).to_contain_text("long long")
    within = page.page.evaluate(
        "() => { const box = document.querySelector('[role=log]').getBoundingClientRect();"
        " const last = [...document.querySelectorAll('.aiinfra-row')].at(-1)"
        ".getBoundingClientRect(); return [last.height > 18, Math.abs(last.bottom - box.bottom)]; }"
    )
    assert within[0]
    assert within[1] <= 1
    shots(page, "job-wrap")
    page.reload()
    expect(page.page.locator(PAGE).get_by_role("tab", name="rank 1")).to_be_visible()


def test_the_parts_beside_the_log(lab: Lab, window: Window, shots: Shots) -> None:
    page = window(width=1024)
    job = launch(lab, page, "print('here')")
    lab.site.wait_for_log(job, "here")
    assert lab.site.end(job)["state"] == "succeeded"
    open_page(page, job)
    other = page.page.locator(f"{PAGE} .aiinfra-JobPage-other")

    for name, text in {
        "Sent": "Nothing was sent",
        "Plan": "accelerate",
        "Timeline": "launched on pool here",
        "Files": "logs/rank-0.log",
        "Code": "print('here')",
    }.items():
        tab(page, name)
        expect(other).to_contain_text(text)
        shots(page, f"job-{name.lower()}")
        assert faults(page.page, PAGE) == [], name

    tab(page, "Files")
    with page.page.expect_download() as download:
        other.get_by_role("link", name="logs/rank-0.log").click()
    assert download.value.path().read_text() == "here\n"
    tab(page, "Log")
    with page.page.expect_download() as download:
        page.page.get_by_role("link", name="Download").click()
    assert download.value.path().read_text() == "here\n"


def test_a_flood_is_drawn_and_the_reader_is_left_where_they_are(lab: Lab, window: Window) -> None:
    page = window()
    job = launch(lab, page, FLOOD)
    lab.site.wait_for_log(job, "line 20000 ")
    open_page(page, job)
    expect(page.page.locator(ROWS).last).to_contain_text("of a flood")

    # It follows: what is last goes on, and nothing of it has to be fetched.
    seen = page.page.locator(ROWS).last.inner_text()
    expect(page.page.locator(ROWS).last).not_to_have_text(seen)
    assert page.page.locator(f"{ROWS}.aiinfra-mod-loading").count() == 0

    page.page.locator(ROWS).first.hover()
    page.page.mouse.wheel(0, -900)
    jump = page.page.get_by_role("button", name="Jump to the end")
    expect(jump).to_be_visible()
    top = page.page.locator(ROWS).first.inner_text()
    press(page, "ArrowUp")
    expect(page.page.locator(ROWS).first).not_to_have_text(top)
    before = page.page.locator(ROWS).all_inner_texts()
    size = len(lab.site.log(job))
    wait_until(lambda: len(lab.site.log(job)) > size + 500_000)
    assert page.page.locator(ROWS).all_inner_texts() == before

    (lab.site.work / "stop").touch()
    lab.site.end(job)
    jump.click()
    last = lab.site.log(job).decode().splitlines()[-1]
    expect(page.page.locator(ROWS).last).to_have_text(last)


def test_a_restart_of_the_server_loses_and_doubles_nothing(lab: Lab, window: Window) -> None:
    page = window()
    job = launch(lab, page, STEPS)
    lab.site.wait_for_log(job, "step 40\n")
    open_page(page, job)
    notice = page.page.locator(f"{PAGE} .aiinfra-JobPage-notice")
    expect(notice).to_be_hidden()

    lab.kill()
    expect(notice).to_have_text("Server not reachable; showing what was known.")
    assert "step" in page.page.locator(ROWS).last.inner_text()
    lab.start()
    expect(notice).to_be_hidden()
    (lab.site.work / "stop").touch()
    lab.site.end(job)
    expect(row(page, "that was all")).to_be_visible()

    # JupyterLab may tell of the server that was away, too, and its dialog takes the keys.
    dialog = page.page.locator(".jp-Dialog").get_by_role("button", name="Close")
    if dialog.is_visible():
        dialog.click()
    press(page, "Home")
    expect(row(page, "step 1")).to_be_visible()
    seen: list[str] = []
    while "that was all" not in seen:
        expect(page.page.locator(f"{ROWS}.aiinfra-mod-loading")).to_have_count(0)
        seen += [text for text in page.page.locator(ROWS).all_inner_texts() if text not in seen]
        top = page.page.locator(ROWS).first.inner_text()
        press(page, "PageDown")
        if "that was all" not in seen:
            expect(page.page.locator(ROWS).first).not_to_have_text(top)
    assert seen == lab.site.log(job).decode().splitlines()
