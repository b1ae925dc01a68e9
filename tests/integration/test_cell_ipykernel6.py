"""A training cell in a kernel of ipykernel 6; the other tests have the newest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.extras import ipykernel6
from tests.support.kernel import Kernel, open_kernel
from tests.support.site import Site, open_site

CELL = """%%accelerate here --cpu --procs 2 --mixed-precision no --fetch seen --name six
import os
seen = [first + 1, os.environ["WORLD_SIZE"]]
print("rank", os.environ["RANK"], "says", seen)
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path / "site") as site:
        site.attach()
        yield site


@pytest.fixture
def kernel(site: Site) -> Iterator[Kernel]:
    with open_kernel(site, env=ipykernel6()) as kernel:
        yield kernel


def test_a_cell_streams_and_brings_its_results(site: Site, kernel: Kernel) -> None:
    version = kernel.run("import ipykernel; print(ipykernel.__version__)").printed
    assert version.startswith("6.")
    kernel.run("first = 1")

    cell = kernel.run(CELL)

    assert not cell.error, cell.error
    assert "rank 0 says [2, '2']" in cell.text
    assert kernel.value("seen") == [2, "2"]
    # What was shown belongs to this cell and to no other: one widget, one result.
    assert len(cell.displays) == 1
    assert site.newest().state.value == "succeeded"


def test_an_interrupt_ends_the_job(site: Site, kernel: Kernel) -> None:
    kernel.run("first = 1")
    endless = CELL.replace("import os\n", "import os, time\nprint('there')\ntime.sleep(600)\n")
    cell, job_id = kernel.launch(endless)
    site.wait_for_log(job_id, "there")

    kernel.interrupt()
    kernel.follow(cell, lambda cell: cell.over)

    assert site.end(job_id)["state"] == "cancelled"
    assert "cancelled" in cell.text
