"""Notebooks in another Python of this machine, and on hosts that ssh reaches."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import sysconfig
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.engine.running import Running
from jupyter_aiinfra.model import JobState, new_job_id
from jupyter_aiinfra.schedule import Run, RunState, Version, new_run_id
from jupyter_aiinfra.store import open_store
from tests.support.notebooks import Notebooks, code, notebook_of, open_notebooks
from tests.support.sshpool import open_cluster

WHERE = "import sys\nprint(sys.executable)\nprint(sys.prefix)"


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Notebooks]:
    async with open_notebooks(tmp_path, Notebooks) as place:
        yield place


def another_python(folder: Path) -> Path:
    """Return the Python of a new environment, which sees the packages of ours."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "ours.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "python"


async def test_the_python_of_the_pool_runs_the_cells_whatever_python3_is_elsewhere(
    place: Notebooks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = another_python(tmp_path / "venv")
    await place.engine.attach("other", kind="local", options={"python": str(python)})
    misleading = tmp_path / "data" / "kernels" / "python3"
    misleading.mkdir(parents=True)
    spec = {"argv": ["/bin/false"], "display_name": "Not this one", "language": "python"}
    (misleading / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "data"))
    monkeypatch.setattr("tests.support.notebooks.POOL", "other")
    ran = await place.run(WHERE)
    assert ran.job.state is JobState.SUCCEEDED, ran.reason
    executable, prefix = ran.text(0).split()
    assert Path(executable).parent == python.parent
    assert prefix == str(tmp_path / "venv")
    ran = await place.run("1", kernel="python3")
    assert ran.job.state is JobState.FAILED, "asked for by name it is the one that is installed"
    assert ran.reason.startswith("kernel 'python3' died as it started: it exited with status 1")


async def test_a_run_on_a_host_that_ssh_reaches(tmp_path: Path) -> None:
    with open_cluster(tmp_path / "ssh", ("gpu1",)) as cluster:
        engine = Engine(open_store(cluster.settings), cluster.settings)
        await engine.attach("lab", kind="ssh", options=cluster.record().options)
        running = Running(
            engine.store,
            cluster.settings,
            launch=engine.launch,
            pool=engine.pool,
            environ={"WORD": "correct horse"},
        )
        notebook = tmp_path / "nb.ipynb"
        (tmp_path / "helper.py").write_text("said = 'from a module'\n")
        cells: list[str | dict[str, Any]] = [
            code("word = None", "parameters"),
            "import socket, helper\nprint(socket.gethostname(), helper.said, word)",
            "raise ValueError('after all')",
        ]
        notebook.write_text(json.dumps(notebook_of(*cells)))
        version = Version(
            schedule="s1",
            number=1,
            notebook=str(notebook),
            pool="lab",
            parameters={"word": "secret:WORD"},
            snapshot=await running.freeze(notebook, {}),
        )
        run = Run(
            id=new_run_id(),
            schedule="s1",
            version=1,
            key="now:1",
            trigger="now",
            state=RunState.RUNNING,
            job=new_job_id(),
        )
        job = engine.store.get_job(await running.launch_run(run, version))
        deadline = time.monotonic() + 100
        while not job.state.final and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
            job = await engine.refresh(job.id)
        outcome = await running.finish_run(run, version, job)
        await engine.remove(job.id)
        await engine.aclose()
    assert outcome.state is RunState.FAILED
    assert outcome.reason == "cell 4 (In [4]) raised ValueError: after all"
    (url,) = outcome.outputs["files"]["ipynb"]
    kept = json.loads(Path(url.removeprefix("file://")).read_text())
    assert "".join(kept["cells"][2]["outputs"][0]["text"]) == "gpu1 from a module •••\n"
