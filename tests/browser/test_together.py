"""Two windows, two kernels, two people on one server: nobody disturbs another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.support.extras import collaboration
from tests.support.lab import Lab, LabPage, notebook, open_lab
from tests.support.site import Site

Window = Callable[..., LabPage]

PANEL = "#aiinfra-panel"


def cell(name: str) -> str:
    """Return a training cell that prints its name until told to stop."""
    return f"""%%accelerate here --cpu --procs 1 --name {name}
import pathlib, time
step = 0
while not pathlib.Path("stop {name}").exists():
    step += 1
    print("{name} at", step, flush=True)
    time.sleep(0.1)
print("{name} is done", flush=True)
"""


def drawn(page: LabPage) -> Any:
    return page.page.locator(".jp-Notebook:visible .aiinfra-job")


def begin(lab: Lab, page: LabPage, name: str) -> str:
    known = [job.id for job in lab.site.jobs()]
    page.run_cell(0)
    page.wait_for_kernel("idle")
    page.run_cell(1)
    job = lab.site.next_job(known).id
    lab.site.wait_for_log(job, f"{name} at 3")
    return job


def stop(lab: Lab, name: str, job: str) -> None:
    (lab.site.work / f"stop {name}").touch()
    assert lab.site.end(job)["state"] == "succeeded"


def test_two_kernels_in_two_windows_keep_to_themselves(lab: Lab, window: Window) -> None:
    lab.site.attach()
    for name in ("one", "two"):
        lab.write(f"{name}.ipynb", notebook("%load_ext jupyter_aiinfra", cell(name)))
    pages = {name: window() for name in ("one", "two")}
    jobs = {}
    for name, page in pages.items():
        page.command("aiinfra:show-panel")
        page.open_notebook(f"{name}.ipynb")
        jobs[name] = begin(lab, page, name)

    for name, page in pages.items():
        expect(drawn(page)).to_contain_text(f"{name} at 3")
        for job in jobs.values():
            expect(page.page.locator(f'{PANEL} [data-job="{job}"]')).to_have_count(1)
    stop(lab, "one", jobs["one"])
    expect(drawn(pages["one"])).to_contain_text("one is done")
    assert lab.site.status(jobs["two"])["state"] == "running"
    expect(drawn(pages["two"])).not_to_contain_text("one")
    stop(lab, "two", jobs["two"])
    expect(drawn(pages["two"])).to_contain_text("two is done")


@pytest.fixture
def shared_lab(site: Site) -> Iterator[Lab]:
    with open_lab(site, env=collaboration()) as opened:
        yield opened


def test_two_people_in_one_notebook_see_one_job(shared_lab: Lab, browser: Any) -> None:
    lab = shared_lab
    lab.site.attach()
    lab.write("both.ipynb", notebook("%load_ext jupyter_aiinfra", cell("shared")))
    people = [LabPage(browser, lab).open() for _ in range(2)]
    for page in people:
        page.command("docmanager:open", {"path": "both.ipynb", "factory": "Notebook"})
        page.page.wait_for_selector(".jp-Notebook .jp-CodeCell")
        page.wait_for_kernel("idle")
        assert page.page.evaluate(
            "() => jupyterapp.shell.currentWidget.context.model.collaborative"
        )

    job = begin(lab, people[0], "shared")

    for page in people:
        expect(drawn(page)).to_have_count(1)
        expect(drawn(page)).to_contain_text("shared at 3")
    # The second leaves and comes back in mid-run: still one, for both.
    people[1].reload()
    for page in people:
        expect(drawn(page)).to_have_count(1)
    stop(lab, "shared", job)
    for page in people:
        expect(drawn(page)).to_contain_text("shared is done")
        expect(drawn(page)).to_have_count(1)
    assert [error for page in people for error in page.errors] == []
    for page in people:
        page.close()


def test_a_hidden_window_sends_nothing(lab: Lab, window: Window) -> None:
    lab.site.attach()
    page = window()
    page.command("aiinfra:show-panel")
    expect(page.page.locator(f'{PANEL} [data-pool="here"]')).to_be_visible()
    assert any("jobs" in str(frame) for frame in page.sent)
    page.page.evaluate(HIDE, True)
    # What it still has to say, that it watches nothing from now on, is said within this.
    page.page.wait_for_function("() => window.aiinfra_hidden_at + 8000 < performance.now()")
    asked: list[str] = []
    page.page.on("request", lambda request: asked.append(request.url))
    page.sent.clear()

    lab.site.script("short.py", "print('done')")
    done = lab.site.command("run", "short.py", "--pool", "here", "--cpu", "--detach")
    assert done.returncode == 0, done.stderr
    lab.site.end(lab.site.newest().id)

    page.page.evaluate("() => null")  # what has happened in the page is told with the next answer
    assert page.sent == []
    assert [url for url in asked if "/aiinfra/" in url] == []
    page.page.evaluate(HIDE, False)
    job = lab.site.newest().id
    row = page.page.locator(f'{PANEL} [data-job="{job}"] .aiinfra-JobRow-state')
    expect(row).to_contain_text("succeeded")


# A headless browser has no window that could be covered: what pages are told of it is said here.
HIDE = """hidden => {
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });
    Object.defineProperty(document, 'visibilityState', {
        configurable: true, get: () => hidden ? 'hidden' : 'visible'
    });
    document.dispatchEvent(new Event('visibilitychange'));
    window.aiinfra_hidden_at = performance.now();
}"""
