"""``%gpus`` in real kernels: live beside whatever they do, and plain text where nobody looks."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.extras import ipykernel6
from tests.support.kernel import Cell, Kernel, open_kernel
from tests.support.nvml import GIB, MockNvml, build, gpu
from tests.support.papermill import execute, write_notebook
from tests.support.site import Site, open_site

WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def mock(tmp_path: Path, library: Path) -> MockNvml:
    mock = MockNvml(tmp_path / "gpus", library)
    mock.gpus = [gpu(number) for number in range(2)]
    mock.set(1, procs=f"{os.getpid()}:{GIB}")
    return mock


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path / "site") as site:
        site.attach()
        yield site


@pytest.fixture(params=[6, 7])
def kernel(request: pytest.FixtureRequest, site: Site, mock: MockNvml) -> Iterator[Kernel]:
    env = {"LD_LIBRARY_PATH": str(mock.library), "MOCK_NVML": str(mock.path)}
    with open_kernel(site, env={**env, **(ipykernel6() if request.param == 6 else {})}) as kernel:
        version = kernel.run("import ipykernel; print(ipykernel.__version__)").printed
        assert version.startswith(f"{request.param}.")
        yield kernel


def states(cell: Cell, model: str) -> list[Mapping[str, Any]]:
    """Return what the kernel has said to the page of a widget, in order."""
    sent = [content for content in cell.contents("comm_msg") if content["comm_id"] == model]
    return [content["data"].get("state", {}) for content in sent]


def deltas(cell: Cell, model: str) -> list[Mapping[str, Any]]:
    return [state["delta"] for state in states(cell, model) if "delta" in state]


def test_it_goes_on_beside_the_cells_that_follow(kernel: Kernel, mock: MockNvml) -> None:
    cell = kernel.run("%gpus")
    assert not cell.error, cell.error
    (shown,) = cell.displays
    model = shown[WIDGET]["model_id"]
    assert "H100 80GB HBM3" in shown["text/plain"]
    assert "2/2 GPUs in use, 10 % busy" in shown["text/plain"]
    assert "as of 20" in shown["text/html"]
    opened = {each["comm_id"]: each["data"]["state"] for each in cell.contents("comm_open")}
    frame = opened[model]["gpus"]["pools"][0]["frame"]
    assert [each["index"] for each in frame["gpus"]] == [0, 1]

    # Nothing is to be seen of it in the cell that runs now: what it says belongs to its own.
    busy = kernel.begin("import time\nfor _ in range(200): time.sleep(0.02)\nprint('done')")
    mock.set(0, util=77)
    kernel.follow(cell, lambda cell: len(deltas(cell, model)) >= 3, seconds=30)
    kernel.follow(busy, lambda cell: cell.over)
    assert busy.printed == "done\n"
    assert busy.contents("comm_msg") == []

    # A page that looks is heard, and told so.
    look = {"method": "custom", "content": {"type": "look", "view": "a", "number": 1}}
    kernel.tell(model, look)
    kernel.follow(cell, lambda cell: deltas(cell, model)[-1].get("heard") == {"a": 1}, seconds=30)
    said = deltas(cell, model)
    assert [each["seq"] for each in said] == sorted({each["seq"] for each in said})
    leave = {"method": "custom", "content": {"type": "leave", "view": "a"}}
    kernel.tell(model, leave)
    kernel.follow(cell, lambda cell: "life" in states(cell, model)[-1], seconds=30)
    assert states(cell, model)[-1]["life"] == {"state": "paused"}
    assert kernel.value("1 + 1") == 2

    kernel.tell(model, look)
    kernel.follow(cell, lambda cell: "delta" in states(cell, model)[-1], seconds=30)
    kernel.begin("%unload_ext jupyter_aiinfra")
    kernel.follow(cell, lambda cell: "life" in states(cell, model)[-1], seconds=30)
    assert states(cell, model)[-1]["life"]["state"] == "ended"


def test_what_cannot_be_read_is_an_error_and_no_widget(kernel: Kernel) -> None:
    wrong = kernel.run("%gpus nowhere")
    assert "'nowhere' is no pool, and no job" in wrong.error
    assert wrong.displays == []


def test_papermill_gets_a_table(site: Site, mock: MockNvml) -> None:
    path = write_notebook(site.work / "gpus.ipynb", "%load_ext jupyter_aiinfra", "%gpus here")
    env = {"LD_LIBRARY_PATH": str(mock.library), "MOCK_NVML": str(mock.path)}
    done = execute(site, path, env=env)
    assert done.status == 0, done.said
    assert done.widgets == []
    text = done.printed("%gpus")
    assert re.search(r"localhost +0 +H100 80GB HBM3 +10 % ", text)
    assert "2/2 GPUs in use" in text
