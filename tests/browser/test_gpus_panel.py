"""GPUs in the sidebar, in the status bar and on a job's page, of a pool whose driver is made up."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.support.axe import faults
from tests.support.lab import Lab, LabPage, open_lab
from tests.support.nvml import GIB, MockNvml, build, gpu
from tests.support.site import Site

Window = Callable[..., LabPage]
Shots = Callable[[LabPage, str], None]

PANEL = "#aiinfra-panel"
PAGE = ".aiinfra-JobPage"
STATUS = ".aiinfra-StatusItem-gpus"

TRAINING = """
import os, pathlib, time
print("rank", os.environ["RANK"], "is process", os.getpid(), flush=True)
while not pathlib.Path("stop").exists():
    time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def mock(tmp_path: Path, library: Path) -> MockNvml:
    return MockNvml(tmp_path / "gpus", library)


@pytest.fixture
def environ(mock: MockNvml) -> dict[str, str]:
    return {"LD_LIBRARY_PATH": str(mock.library), "MOCK_NVML": str(mock.path)}


@pytest.fixture
def lab(site: Site, environ: dict[str, str]) -> Iterator[Lab]:
    with open_lab(site, env=environ) as opened:
        yield opened


def train(site: Site, environ: dict[str, str], *options: str) -> str:
    """Launch a job of two ranks that goes on until there is a file ``stop``; return its id."""
    site.script("digits.py", TRAINING)
    words = ("run", "digits.py", "--pool", "here", "--procs", "2", "--name", "digits", "--detach")
    done = site.command(*words, *options, env=environ)
    assert done.returncode == 0, done.stderr
    job = site.newest().id
    for rank in range(2):
        site.wait_for_log(job, "is process", rank=rank)
    return job


def process(site: Site, job: str, rank: int) -> int:
    found = re.search(rb"is process (\d+)", site.log(job, rank))
    assert found
    return int(found[1])


def attach(site: Site, environ: dict[str, str]) -> None:
    done = site.command("pool", "attach", "here", "--kind", "local", env=environ)
    assert done.returncode == 0, done.stderr


def watched(page: LabPage) -> list[dict[str, Any]]:
    """Return what of GPUs the page has said last that it watches."""
    topics: list[dict[str, Any]] = json.loads(page.sent[-1])["topics"]
    return [topic for topic in topics if topic["topic"] == "gpus"]


def settle(page: LabPage, condition: Callable[[], bool]) -> None:
    """Wait for what the page sends, which is heard while one waits for the page."""
    for _ in range(400):
        if condition():
            return
        page.page.wait_for_timeout(50)
    raise AssertionError(watched(page))


def pool(page: LabPage, name: str) -> Any:
    return page.page.locator(f'{PANEL} [data-pool="{name}"]')


def node(page: LabPage, name: str) -> Any:
    return page.page.locator(f'{PANEL} [data-node="{name}"]')


def test_from_the_pools_to_each_gpu_and_to_the_job_that_has_it(
    lab: Lab, mock: MockNvml, environ: dict[str, str], window: Window, shots: Shots
) -> None:
    # What is in use is given to no job.
    doing = enumerate((35, 20, 0, 65))
    mock.gpus = [gpu(n, util=util, mem_used=0, mem_reserved=0) for n, util in doing]
    mock.write()
    attach(lab.site, environ)
    job = train(lab.site, environ)
    ranks = [process(lab.site, job, rank) for rank in range(2)]
    for rank, pid in enumerate(ranks):
        mock.set(rank, procs=f"{pid}:{9 * GIB}", mem_used=(30 + 10 * rank) * GIB)
    mock.set(3, procs=f"1:{2 * GIB}", mem_used=2 * GIB)
    # Rows out of sight are not drawn, and other sections share the panel: tall enough for all.
    page = window(width=1280, height=1600)
    page.command("aiinfra:show-panel")

    here = pool(page, "here")
    expect(here.locator(".aiinfra-PoolUse")).to_contain_text("3/4 GPUs busy")
    expect(here.locator(".aiinfra-PoolUse")).to_contain_text("30 %")
    assert {topic["detail"] for topic in watched(page)} == {"nodes"}
    expect(page.page.locator(STATUS)).to_have_text("3/4 GPUs · 30 %")
    shots(page, "gpus-panel-closed")
    assert faults(page.page, PANEL) == []

    here.locator(".aiinfra-PoolRow-toggle").focus()
    page.page.keyboard.press("ArrowRight")
    rows = node(page, "localhost").locator(".aiinfra-Gpus-row")
    expect(rows).to_have_count(4)
    expect(rows.nth(1)).to_contain_text("20 %")
    expect(rows.nth(1)).to_contain_text("digits (rank 1)")
    expect(rows.nth(3)).to_contain_text("root")
    expect(node(page, "localhost").locator(".aiinfra-NodeLoad")).to_contain_text("CPU")
    shots(page, "gpus-panel-open")
    assert faults(page.page, PANEL) == []

    rows.nth(0).get_by_role("button", name="digits").click()
    expect(page.page.locator(PAGE)).to_contain_text("digits")
    page.page.locator(PAGE).get_by_role("tab", name="GPUs").click()
    mine = page.page.locator(f"{PAGE} .aiinfra-Gpus-row")
    expect(mine).to_have_count(2)
    expect(mine.nth(1)).to_contain_text("rank 1")
    shots(page, "gpus-job-live")
    assert faults(page.page, PAGE) == []

    mock.set(2, lost=1)
    expect(page.page.locator(STATUS)).to_contain_text("GPU lost")
    shots(page, "gpus-status-lost")
    assert faults(page.page, "#jp-bottom-panel") == []

    (lab.site.work / "stop").touch()
    assert lab.site.end(job)["state"] == "succeeded"
    expect(page.page.locator(f"{PAGE} .aiinfra-JobPage-curve")).to_have_count(2)
    shots(page, "gpus-job-past")
    assert faults(page.page, PAGE) == []


def test_of_many_nodes_only_what_is_opened_is_watched(
    lab: Lab, window: Window, shots: Shots
) -> None:
    words = ("pool", "attach", "big", "--kind", "simulated", "--nodes", "64", "--gpus", "8")
    done = lab.site.command(*words)
    assert done.returncode == 0, done.stderr
    page = window(width=1280)
    page.command("aiinfra:show-panel")
    expect(pool(page, "big").locator(".aiinfra-PoolUse")).to_contain_text("/512 GPUs busy")
    pool(page, "big").locator(".aiinfra-PoolRow-toggle").click()
    toggles = pool(page, "big").locator(".aiinfra-NodeToggle")
    expect(toggles).to_have_count(64)
    expect(toggles.nth(0)).to_contain_text("/8 · ")
    settle(page, lambda: len(watched(page)) == 1)
    toggles.nth(1).click()
    expect(pool(page, "big").locator(".aiinfra-Gpus-row")).to_have_count(8)
    assert [bool(topic["node"]) for topic in watched(page)] == [False, True]
    shots(page, "gpus-panel-many")
    assert faults(page.page, PANEL) == []

    page.command("application:toggle-left-area")
    settle(page, lambda: watched(page) == [])


def test_a_machine_without_a_gpu_shows_its_processors_and_memory(
    lab: Lab, environ: dict[str, str], window: Window, shots: Shots
) -> None:
    attach(lab.site, environ)
    job = train(lab.site, environ, "--cpu")
    page = window(width=1280)
    page.command("aiinfra:show-panel")
    pool(page, "here").locator(".aiinfra-PoolRow-toggle").click()
    expect(node(page, "localhost").locator(".aiinfra-NodeLoad")).to_contain_text("no GPU")
    expect(node(page, "localhost").locator(".aiinfra-NodeLoad")).to_contain_text("CPU")
    expect(pool(page, "here").locator(".aiinfra-PoolUse")).to_have_count(0)
    expect(page.page.locator(STATUS)).to_be_hidden()

    page.command("aiinfra:open-job", {"id": job})
    job_page = page.page.locator(PAGE)
    job_page.get_by_role("tab", name="Nodes").click()
    expect(job_page).to_contain_text("This job has no GPU.")
    expect(job_page.locator(".aiinfra-JobGpus-nodes tbody tr")).to_contain_text(" % of ")
    shots(page, "gpus-job-without")
    assert faults(page.page, PAGE) == []
    assert faults(page.page, PANEL) == []

    (lab.site.work / "stop").touch()
    assert lab.site.end(job)["state"] == "succeeded"
    rows = job_page.get_by_role("table", name="Nodes").locator("tbody tr")
    expect(rows).to_have_count(1)
    expect(rows.nth(0)).to_contain_text("localhost")
    shots(page, "gpus-job-without-past")
    assert faults(page.page, PAGE) == []


def test_the_page_of_gpus_is_a_click_away(
    lab: Lab, mock: MockNvml, environ: dict[str, str], window: Window
) -> None:
    mock.gpus = [gpu(number) for number in range(2)]
    mock.write()
    attach(lab.site, environ)
    page = window(width=1280)
    page.command("aiinfra:show-panel")
    expect(page.page.locator(STATUS)).to_have_text("2/2 GPUs · 11 %")
    # Read because the panel is in sight; not for the status bar alone.
    page.command("application:toggle-left-area")
    settle(page, lambda: watched(page) == [])
    expect(page.page.locator(STATUS)).to_have_text("2 GPUs")

    page.page.locator(STATUS).click()
    expect(page.page.locator(".aiinfra-GpusPage")).to_be_visible()
