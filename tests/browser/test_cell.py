"""A training cell in JupyterLab: it streams, and nothing is lost or doubled whatever happens."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
from playwright.sync_api import expect

from tests.support.axe import faults
from tests.support.lab import Lab, LabPage, notebook

Window = Callable[..., LabPage]
Shots = Callable[[LabPage, str], None]

QUICKSTART = Path(__file__).parents[2] / "example_notebooks" / "quickstart.ipynb"
PANEL = "#aiinfra-panel"
CELL = """%%accelerate here --cpu --procs 2 --mixed-precision no --name steps --fetch steps
import os, pathlib, time
steps = 0
while not pathlib.Path("stop").exists():
    steps += 1
    print("step", steps, "of rank", os.environ["RANK"], flush=True)
    time.sleep(0.1)
print("that was all", flush=True)
"""


def shown(page: LabPage) -> Any:
    """Return the drawings of jobs in the notebook's outputs, or below its cells."""
    return page.page.locator(".jp-Notebook .aiinfra-job")


def training(path: Path) -> Any:
    """Return an example without what it does once it has trained: that would outlast the test."""
    found: Any = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    after = next(at for at, cell in enumerate(found.cells) if cell.source.startswith("## At a URL"))
    del found.cells[after:]
    return found


def begin(lab: Lab, page: LabPage, *, cell: str = CELL) -> str:
    """Run a training cell in a fresh notebook; return its job once that prints."""
    lab.site.attach()
    lab.write("steps.ipynb", notebook("%load_ext jupyter_aiinfra", cell, "print(steps > 0)"))
    page.open_notebook("steps.ipynb")
    page.run_cell(0)
    page.wait_for_kernel("idle")
    page.run_cell(1)
    job = lab.site.newest().id
    lab.site.wait_for_log(job, "step 3 of rank 0")
    expect(shown(page)).to_contain_text("step 3 of rank 0")
    return job


def stop(lab: Lab, job: str) -> None:
    (lab.site.work / "stop").touch()
    assert lab.site.end(job)["state"] == "succeeded"


def test_the_quickstart_streams_in_its_cell_and_in_the_panel(
    lab: Lab, window: Window, shots: Shots
) -> None:
    lab.write("quickstart.ipynb", training(QUICKSTART))
    page = window()
    page.command("aiinfra:show-panel")
    page.open_notebook("quickstart.ipynb")
    page.begin("notebook:run-all-cells")

    running = page.page.locator(f"{PANEL} .aiinfra-JobRow-state", has_text="running")
    expect(running).to_be_visible()
    expect(shown(page)).to_contain_text("epoch  3")
    expect(shown(page)).to_have_class(r"aiinfra-job aiinfra-running")
    assert faults(page.page, ".jp-Notebook .aiinfra-job") == []
    shown(page).scroll_into_view_if_needed()
    shots(page, "cell-running")

    expect(shown(page)).to_contain_text("epoch 20")
    done = page.page.locator(f"{PANEL} .aiinfra-JobRow-state", has_text="succeeded")
    expect(done).to_be_visible()
    expect(page.page.locator(".Toastify__toast", has_text="digits")).to_have_count(1)
    expect(page.page.get_by_text("accuracy on held-out data: 0.9")).to_be_visible()
    assert shown(page).count() == 1
    shown(page).scroll_into_view_if_needed()
    shots(page, "cell-finished")

    # The widget has brought its style sheet along; the page of the job keeps its own shape.
    shown(page).get_by_role("button", name="Open").click()
    sections = page.page.locator(".aiinfra-JobPage").get_by_role("tablist").first
    expect(sections).to_be_visible()
    assert sections.bounding_box()["height"] < 50
    shots(page, "job-quickstart")


def test_a_reload_in_mid_run_loses_and_doubles_nothing(
    lab: Lab, window: Window, shots: Shots
) -> None:
    page = window()
    job = begin(lab, page)

    page.reload()
    page.open_notebook_again("steps.ipynb")

    expect(shown(page)).to_have_count(1)
    lab.site.wait_for_log(job, "step 40 of rank 0")
    expect(shown(page)).to_contain_text("step 40 of rank 0")
    shots(page, "cell-reloaded")
    stop(lab, job)
    expect(shown(page)).to_contain_text("that was all")
    expect(shown(page)).to_contain_text("succeeded")
    expect(shown(page)).to_have_count(1)
    # The kernel has gone on: what was asked for is in its variable.
    page.wait_for_kernel("idle")
    page.run_cell(2)
    expect(page.page.locator(".jp-OutputArea-output pre", has_text="True")).to_be_visible()


def test_a_restarted_kernel_is_offered_its_job_again(
    lab: Lab, window: Window, shots: Shots
) -> None:
    page = window()
    job = begin(lab, page)

    page.page.evaluate(
        "async () => { await jupyterapp.shell.currentWidget.sessionContext.session.kernel"
        ".restart(); }"
    )
    page.wait_for_kernel("idle")

    expect(shown(page)).to_have_count(1)
    attach = page.page.locator(".jp-Notebook").get_by_role("button", name="Re-attach")
    expect(attach).to_be_visible()
    assert lab.site.status(job)["state"] == "running"
    shots(page, "cell-reattach")
    attach.click()
    page.wait_for_prompt(1, "*")
    stop(lab, job)
    expect(shown(page)).to_contain_text("that was all")
    page.wait_for_kernel("idle")
    page.run_cell(2)
    expect(page.page.locator(".jp-OutputArea-output pre", has_text="True")).to_be_visible()
    assert [each.id for each in lab.site.jobs()] == [job]


def test_a_cell_stays_alive_when_the_server_is_killed(lab: Lab, window: Window) -> None:
    page = window()
    job = begin(lab, page)
    page.command("docmanager:save")

    lab.kill()
    (lab.site.work / "stop").touch()
    lab.site.end(job)
    lab.start()

    expect(shown(page)).to_contain_text("that was all")
    expect(shown(page)).to_contain_text("succeeded")
    assert shown(page).count() == 1


def test_a_saved_notebook_can_be_read_without_us(lab: Lab, window: Window) -> None:
    page = window()
    job = begin(lab, page)
    stop(lab, job)
    page.wait_for_prompt(1, "2")
    page.command("docmanager:save")

    saved = json.loads((lab.site.work / "steps.ipynb").read_text())
    (output, *more) = saved["cells"][1]["outputs"]
    data = output["data"]
    assert not [each for each in more if each["output_type"] == "error"]
    assert "that was all" in "".join(data["text/plain"])
    assert "that was all" in "".join(data["text/html"])
    assert data["application/vnd.aiinfra.job+json"]["id"] == job
