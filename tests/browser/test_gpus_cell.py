"""GPUs in a cell of JupyterLab: live from the kernel, beside a job, and readable without either."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.support.axe import faults
from tests.support.bench import wait_until
from tests.support.lab import Lab, LabPage, notebook, open_lab
from tests.support.nvml import GIB, MockNvml, build, gpu
from tests.support.site import Site

Shots = Callable[[LabPage, str], None]

BOARD = ".jp-Notebook .aiinfra-GpuBoard"
STATE = f"{BOARD} .aiinfra-GpuBoard-state"
CELL = """%%accelerate here --procs 2 --mixed-precision no --name steps --fetch steps
import os, pathlib, time
steps = 0
while not pathlib.Path("stop").exists():
    steps += 1
    print("step", steps, "of rank", os.environ["RANK"], flush=True)
    time.sleep(0.1)
print("that was all", flush=True)
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def mock(tmp_path: Path, library: Path) -> MockNvml:
    mock = MockNvml(tmp_path / "gpus", library)
    mock.gpus = [
        gpu(number, util=20 + 30 * number, mem_used=(20 + 9 * number) * GIB) for number in range(2)
    ]
    mock.write()
    return mock


@pytest.fixture
def lab(site: Site, mock: MockNvml) -> Iterator[Lab]:
    site.attach()
    env = {"LD_LIBRARY_PATH": str(mock.library), "MOCK_NVML": str(mock.path)}
    with open_lab(site, env=env) as opened:
        yield opened


def begin(lab: Lab, page: LabPage, *cells: str) -> Any:
    """Run `%gpus` in a fresh notebook; return its widget once that is live."""
    lab.write("gpus.ipynb", notebook("%load_ext jupyter_aiinfra", "%gpus", *cells))
    page.open_notebook("gpus.ipynb")
    page.run_cell(0)
    page.wait_for_prompt(0, "1")
    page.run_cell(1)
    board = page.page.locator(BOARD)
    expect(board).to_be_visible()
    expect(page.page.locator(STATE)).to_have_text("live")
    return board


def utilization(page: LabPage) -> list[str]:
    """Return what the rows say now."""
    texts = page.page.locator(f"{BOARD} .aiinfra-Gpus-util").all_inner_texts()
    return [text.split()[-2] for text in texts]


def wait_for_utilization(page: LabPage, *values: int) -> None:
    wanted = [str(value) for value in values]
    page.page.wait_for_function(
        "([board, wanted]) => [...document.querySelectorAll(`${board} .aiinfra-Gpus-util`)]"
        ".map(each => each.textContent.split(' ')[1]).join() === wanted.join()",
        arg=[BOARD, wanted],
    )


def restart(page: LabPage) -> None:
    page.page.evaluate(
        "async () => { await jupyterapp.shell.currentWidget.sessionContext.session.kernel"
        ".restart(); }"
    )
    page.wait_for_kernel("idle")


def probes(library: Path) -> list[int]:
    """Return the probes that read the mocked library, whoever runs them."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            environ = (entry / "environ").read_bytes() if words else b""
        except OSError:
            continue
        if (
            any(word.endswith(b"node/probe.py") for word in words)
            and os.fsencode(str(library)) in environ
        ):
            found.append(int(entry.name))
    return found


def busy(lab: Lab, mock: MockNvml, job: str) -> Sequence[int]:
    """Have the ranks of a job use a GPU each; return their processes."""

    def ranks() -> list[int]:
        seen = lab.site.status(job)["ranks"]
        return [rank["pid"] for rank in seen if rank.get("pid")]

    pids: list[int] = wait_until(lambda: ranks() if len(ranks()) == 2 else None, seconds=60)
    for number, pid in enumerate(pids):
        held = (8 + number) * GIB
        mock.set(number, procs=f"{pid}:{held}", mem_used=held, util=90 - 20 * number)
    return pids


def test_the_widget_goes_on_when_its_cell_is_over_and_while_another_runs(
    lab: Lab, mock: MockNvml, window: Callable[..., LabPage], shots: Shots
) -> None:
    page = window()
    busy_cell = "import time\nwhile not __import__('os').path.exists('go'): time.sleep(0.05)"
    mock.set(0, procs=f"{os.getpid()}:{3 * GIB}")
    board = begin(lab, page, busy_cell)
    page.wait_for_prompt(1, "2")
    wait_for_utilization(page, 20, 50)
    expect(board).to_contain_text("2 in use")
    expect(board.locator(".aiinfra-GpuBoard-processes tbody tr")).to_have_count(1)
    assert faults(page.page, BOARD) == []

    # In the middle of a cell, the kernel's own thread hears nobody; the loop goes on.
    page.run_cell(2)
    page.wait_for_prompt(2, "*")
    for number, wanted in enumerate((70, 35, 100)):
        mock.set(0, util=wanted)
        wait_for_utilization(page, wanted, 50)
        assert page.page.locator(STATE).inner_text() == "live", number
    shots(page, "gpus-cell")
    (lab.site.work / "go").touch()
    page.wait_for_prompt(2, "3")
    mock.set(1, lost=1)
    expect(board).to_contain_text("lost")
    shots(page, "gpus-cell-lost")


def test_a_reload_keeps_it_live_and_a_restart_leaves_a_table(
    lab: Lab, mock: MockNvml, window: Callable[..., LabPage], shots: Shots
) -> None:
    page = window()
    begin(lab, page)
    page.command("docmanager:save")
    saved = json.loads((lab.site.work / "gpus.ipynb").read_text())
    (output,) = saved["cells"][1]["outputs"]
    assert "NVIDIA" not in "".join(output["data"]["text/plain"])
    assert "H100 80GB HBM3" in "".join(output["data"]["text/plain"])
    assert "20 %" in "".join(output["data"]["text/html"])

    page.reload()
    page.open_notebook_again("gpus.ipynb")
    expect(page.page.locator(STATE)).to_have_text("live")
    mock.set(0, util=64)
    wait_for_utilization(page, 64, 50)

    restart(page)
    expect(page.page.locator(STATE)).to_contain_text("no longer live: its kernel is gone, as of")
    shots(page, "gpus-cell-restarted")
    wait_until(lambda: not probes(mock.library), seconds=60)

    page.reload()
    page.open_notebook_again("gpus.ipynb")
    table = page.page.locator(".jp-Notebook .aiinfra-GpusOutput table")
    expect(table).to_be_visible()
    expect(table).to_contain_text("H100 80GB HBM3")
    expect(page.page.locator(".jp-Notebook")).not_to_contain_text("Error displaying widget")
    shots(page, "gpus-cell-saved")


def test_nothing_is_read_for_nobody(
    lab: Lab, mock: MockNvml, window: Callable[..., LabPage]
) -> None:
    page = window()
    board = begin(lab, page)
    wait_until(lambda: probes(mock.library), seconds=30)
    page.page.evaluate("() => jupyterapp.commands.execute('editmenu:clear-current')")
    expect(board).to_have_count(0)
    # It says that it goes, and what nobody holds ends some seconds later.
    wait_until(lambda: not probes(mock.library), seconds=60)
    page.run_cell(1)
    expect(page.page.locator(STATE)).to_have_text("live")


def test_a_job_shows_the_gpus_of_its_ranks(
    lab: Lab, mock: MockNvml, window: Callable[..., LabPage], shots: Shots
) -> None:
    # What is in use is given to no job.
    for number in range(2):
        mock.set(number, mem_used=0, mem_reserved=0)
    page = window()
    lab.write("job.ipynb", notebook("%load_ext jupyter_aiinfra", CELL))
    page.open_notebook("job.ipynb")
    page.run_cell(0)
    page.wait_for_prompt(0, "1")
    page.run_cell(1)
    job = lab.site.newest().id
    lab.site.wait_for_log(job, "step 3 of rank 0")
    pids = busy(lab, mock, job)
    shown = page.page.locator(".jp-Notebook .aiinfra-job")
    gpus = shown.locator(".aiinfra-gpus")
    expect(gpus.locator(".aiinfra-Gpus-title")).to_have_text(["rank 0", "rank 1"])
    expect(gpus.locator("summary")).to_contain_text("80 %")
    assert len(pids) == 2
    assert faults(page.page, ".jp-Notebook .aiinfra-job") == []
    shots(page, "gpus-job")
    (lab.site.work / "stop").touch()
    assert lab.site.end(job)["state"] == "succeeded"
    expect(shown).to_contain_text("succeeded")
    page.wait_for_prompt(1, "2")
    used = gpus.locator("tbody tr")
    expect(used).to_have_count(2)
    shots(page, "gpus-job-over")
    page.command("docmanager:save")
    saved = json.loads((lab.site.work / "job.ipynb").read_text())
    text = "".join(saved["cells"][1]["outputs"][0]["data"]["text/plain"])
    assert "rank 1 on localhost:1: " in text
    assert "9 of 80 GiB of memory at most" in text
