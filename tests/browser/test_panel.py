"""The sidebar: pools attached by its form, jobs steered from its list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import expect

from tests.support.axe import faults
from tests.support.bench import wait_until
from tests.support.lab import Lab, LabPage, notebook

Window = Callable[..., LabPage]
Shots = Callable[[LabPage, str], None]

PANEL = "#aiinfra-panel"
TRAINING = """%%accelerate here --cpu --procs 2 --mixed-precision no --name endless
import os, time
print("rank", os.environ["RANK"], "is there", flush=True)
while True:
    time.sleep(0.1)
"""


def row(page: LabPage, job_id: str) -> Any:
    """Return the job's row in the panel."""
    return page.page.locator(f'{PANEL} [data-job="{job_id}"]')


def state(page: LabPage, job_id: str) -> Any:
    return row(page, job_id).locator(".aiinfra-JobRow-state")


def test_a_pool_comes_and_goes_by_the_keyboard_alone(window: Window, shots: Shots) -> None:
    page = window(width=1024)
    page.command("aiinfra:show-panel")
    panel = page.page.locator(PANEL)
    expect(panel.get_by_role("button", name="Attach this machine")).to_be_visible()
    shots(page, "panel-empty")
    assert faults(page.page, PANEL) == []

    panel.get_by_role("button", name="Attach a pool…").press("Enter")
    dialog = page.page.get_by_role("dialog")
    expect(dialog.get_by_label("Name")).to_be_focused()
    shots(page, "attach-form")
    assert faults(page.page, ".jp-Dialog") == []
    dialog.get_by_label("Name").press_sequentially("no name")
    dialog.get_by_label("Name").press("Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("'no name' is no name for a pool")
    shots(page, "attach-form-refused")
    dialog.get_by_label("Name").press("Control+a")
    dialog.get_by_label("Name").press_sequentially("here")
    dialog.get_by_label("Name").press("Enter")
    expect(dialog).to_have_count(0)

    pool = panel.locator('[data-pool="here"]')
    expect(pool.locator(".aiinfra-PoolRow-status")).to_have_text("live")
    expect(pool.locator(".aiinfra-PoolRow-toggle")).to_be_focused()
    shots(page, "panel-pool")
    assert faults(page.page, PANEL) == []
    page.page.keyboard.press("Tab")
    page.page.keyboard.press("Tab")
    expect(pool.get_by_role("button", name="Detach here")).to_be_focused()
    page.page.keyboard.press("Enter")
    expect(pool).to_have_count(0)
    page.page.get_by_role("button", name="Attach again").click()
    expect(pool.locator(".aiinfra-PoolRow-status")).to_have_text("live")


def test_a_job_is_cancelled_while_its_kernel_is_busy(
    lab: Lab, window: Window, shots: Shots
) -> None:
    lab.site.attach()
    lab.write("endless.ipynb", notebook("%load_ext jupyter_aiinfra", TRAINING))
    page = window()
    page.command("aiinfra:show-panel")
    page.open_notebook("endless.ipynb")
    page.run_cell(0)
    page.wait_for_kernel("idle")
    page.run_cell(1)
    job = lab.site.newest().id
    lab.site.wait_for_log(job, "is there")
    expect(state(page, job)).to_contain_text("running")
    page.wait_for_prompt(1, "*")
    shots(page, "panel-running")

    row(page, job).focus()
    row(page, job).get_by_role("button", name="Cancel").click()

    expect(state(page, job)).to_contain_text("cancelled")
    assert lab.site.end(job)["state"] == "cancelled"
    page.wait_for_kernel("idle")
    expect(page.page.locator(".jp-OutputArea-output", has_text="cancelled").first).to_be_visible()
    assert page.page.locator(".jp-OutputArea-output .aiinfra-job").count() == 1


def test_jobs_are_found_removed_and_brought_back(lab: Lab, window: Window, shots: Shots) -> None:
    lab.site.attach()
    jobs = {}
    for name in ("alpha", "beta"):
        lab.site.script(f"{name}.py", f"print('{name} is done')")
        done = lab.site.command("run", f"{name}.py", "--pool", "here", "--cpu", "--name", name)
        assert done.returncode == 0, done.stderr
        jobs[name] = lab.site.newest().id
    page = window()
    page.command("aiinfra:show-panel")
    expect(state(page, jobs["alpha"])).to_contain_text("succeeded")
    shots(page, "panel-jobs")
    assert faults(page.page, PANEL) == []

    page.page.locator(PANEL).get_by_role("searchbox").fill("bet")
    expect(row(page, jobs["alpha"])).to_have_count(0)
    expect(row(page, jobs["beta"])).to_be_visible()
    page.page.locator(PANEL).get_by_role("searchbox").press("Escape")
    expect(row(page, jobs["alpha"])).to_be_visible()

    row(page, jobs["alpha"]).press("Delete")
    expect(row(page, jobs["alpha"])).to_have_count(0)
    page.page.get_by_role("button", name="Undo").click()
    expect(row(page, jobs["alpha"])).to_be_visible()
    assert {job.id for job in lab.site.jobs()} == set(jobs.values())

    row(page, jobs["alpha"]).press("Delete")
    expect(row(page, jobs["alpha"])).to_have_count(0)
    wait_until(lambda: [job.id for job in lab.site.jobs()] == [jobs["beta"]], seconds=60)


def test_the_panel_recovers_when_the_server_is_back(lab: Lab, window: Window) -> None:
    lab.site.attach()
    lab.site.script("steps.py", STEPS)
    done = lab.site.command("run", "steps.py", "--pool", "here", "--cpu", "--detach")
    assert done.returncode == 0, done.stderr
    job = lab.site.newest().id
    page = window()
    page.command("aiinfra:show-panel")
    page.command("aiinfra:open-job", {"id": job})
    expect(state(page, job)).to_contain_text("running")
    lab.site.wait_for_log(job, "step 2")

    lab.kill()
    expect(page.page.locator(PANEL)).to_contain_text("not reachable")
    expect(row(page, job)).to_be_visible()
    assert faults(page.page, PANEL) == []
    (lab.site.work / "go on").touch()
    lab.site.end(job)
    lab.start()

    expect(state(page, job)).to_contain_text("succeeded")
    expect(page.page.locator(PANEL)).not_to_contain_text("not reachable")
    expect(page.page.get_by_text("the last step", exact=True)).to_have_count(1)
    assert row(page, job).count() == 1


STEPS = """
import pathlib, time
for step in range(3):
    print("step", step, flush=True)
while not pathlib.Path("go on").exists():
    time.sleep(0.05)
print("the last step", flush=True)
"""
