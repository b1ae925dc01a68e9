"""Notebooks with our magics run by papermill: what is left in the file, and the exit status."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from jupyter_aiinfra.cost.money import money
from tests.support.papermill import execute, write_notebook
from tests.support.site import Site, open_site

PROLOGUE = "%load_ext jupyter_aiinfra\n%pool attach here --price 36/node-h"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("papermill") / "site") as site:
        yield site


def test_a_run_that_succeeds_leaves_what_any_reader_can_show(site: Site) -> None:
    notebook = write_notebook(
        site.work / "good.ipynb",
        PROLOGUE,
        "%%accelerate here --procs 2 --cpu --fetch told\n"
        "import os\nrank = os.environ['RANK']\nprint('said by', rank)\ntold = [1, 2]",
        "print('brought back:', told)",
        "%jobs",
    )
    done = execute(site, notebook)
    assert done.status == 0, done.said
    assert done.errors == []
    assert done.widgets == []
    assert "brought back: [1, 2]" in done.printed("brought back")
    shown = [output for output in done.outputs("%%accelerate") if "data" in output]
    (job,) = shown
    assert "[succeeded]" in job.data["text/plain"]
    assert "said by 0" in job.data["text/plain"]
    assert "said by 1" in job.data["text/html"]
    assert "<script" not in job.data["text/html"]
    # The last cost is the job's own, to the end.
    cost = site.command("jobs", "show", site.newest().id, "--json")
    (exact,) = json.loads(cost.stdout)["cost"]["cost"]
    spent = f"{money(exact['amount']).text} in all"
    assert spent in job.data["text/plain"]
    assert spent in job.data["text/html"]
    assert job.data["application/vnd.aiinfra.job+json"]["state"] == "succeeded"
    assert "application/vnd.jupyter.widget-view+json" not in job.data
    assert "text/html" in done.outputs("%jobs")[0].data


def test_a_run_that_fails_ends_papermill_with_our_sentence(site: Site) -> None:
    notebook = write_notebook(
        site.work / "bad.ipynb",
        PROLOGUE,
        "%%accelerate here --procs 2\n"
        "import os\nprint('so far, so good')\n"
        "if os.environ['RANK'] == '1':\n    raise ValueError('a bad batch')\n"
        "import time\ntime.sleep(100)",
        "print('never reached')",
    )
    done = execute(site, notebook)
    assert done.status != 0
    sentence = "rank 1 raised ValueError: a bad batch (line 5)"
    assert sentence in done.said
    assert "JobFailed" in done.said
    assert "engine.py" not in done.said, "no stack of our own frames"
    assert done.widgets == []
    (error,) = done.errors
    assert error.ename == "JobFailed"
    assert sentence in error.evalue
    (job,) = [output for output in done.outputs("%%accelerate") if "data" in output]
    assert "[failed]" in job.data["text/plain"]
    assert 'cell.py", line 5' in job.data["text/plain"]
    assert "so far, so good" in job.data["text/html"]
    assert done.outputs("never reached") == []
    assert site.newest().state.value == "failed"
    assert site.processes(site.newest().id) == []
