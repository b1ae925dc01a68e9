"""Runs of schedules as jobs: frozen, launched once, resumed, and their results stored."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.engine.running import Running
from jupyter_aiinfra.errors import PreflightError, UsageError
from jupyter_aiinfra.model import JobState, new_job_id, to_wire
from jupyter_aiinfra.promote.notebookjob import NotebookOptions
from jupyter_aiinfra.promote.parameters import form_of
from jupyter_aiinfra.schedule import Outcome, Run, RunState, Version, new_run_id
from tests.support.notebooks import POOL, Notebooks, Ran, code, notebook_of, open_notebooks

ENVIRON: dict[str, str] = {"WORD": "correct horse"}


class Schedules(Notebooks):
    """Notebooks that are run by a schedule."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.running = self.another()

    def another(self) -> Running:
        """Return what another process would have."""
        return Running(
            self.engine.store,
            self.settings,
            launch=self.engine.launch,
            pool=self.engine.pool,
            environ=ENVIRON,
        )

    async def version(
        self, *cells: str | dict[str, Any], parameters: Mapping[str, Any] | None = None, **how: Any
    ) -> Version:
        path = self.write(*cells)
        options = to_wire(NotebookOptions(**how))
        return Version(
            schedule="s1",
            number=3,
            notebook=str(path),
            pool=POOL,
            parameters=parameters or {},
            options=options,
            snapshot=await self.running.freeze(path, options),
        )

    def a_run(self, version: Version, **changes: Any) -> Run:
        values: dict[str, Any] = {
            "id": new_run_id(),
            "schedule": version.schedule,
            "version": version.number,
            "key": "slot:1767225600",
            "slot": 1_767_225_600.0,
            "trigger": "cron",
            "state": RunState.RUNNING,
            "job": new_job_id(),
        }
        return Run(**{**values, **changes})

    async def through(self, run: Run, version: Version) -> tuple[Ran, Outcome]:
        """Launch a run and finish it."""
        job_id = await self.running.launch_run(run, version)
        ran = await self.ended(self.engine.store.get_job(job_id))
        return ran, await self.running.finish_run(run, version, ran.job)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Schedules]:
    async with open_notebooks(tmp_path, Schedules) as place:
        yield place


async def test_a_run_from_the_snapshot_to_stored_results(place: Schedules, tmp_path: Path) -> None:
    (place.work / "helper.py").write_text("def double(n):\n    return n * 2\n")
    (place.work / "data").mkdir()
    (place.work / "data" / "a.txt").write_text("frozen")
    target = tmp_path / "reports"
    version = await place.version(
        code("n = 1", "parameters"),
        "from helper import double\nprint(double(n), open('data/a.txt').read())",
        f"print('{'ghp_' + 'a1B2' * 2}' + '{'a1B2' * 7}')",
        parameters={"n": 21},
        files=("data",),
        outputs=(str(target),),
        forms=("ipynb", "html", "py"),
    )
    # What is frozen is what runs, whatever has become of it since.
    (place.work / "data" / "a.txt").write_text("changed")
    (place.work / "helper.py").unlink()
    (place.work / "nb.ipynb").write_text("gone")
    run = place.a_run(version)
    ran, outcome = await place.through(run, version)
    assert (outcome.state, outcome.reason) == (RunState.SUCCEEDED, None)
    assert ran.text(2) == "42 frozen\n"
    assert ran.job.id == run.job
    assert ran.job.spec.labels == {"schedule": "s1", "run": run.id, "version": "3"}
    base = f"nb-2026-01-01T000000Z-{run.id}"
    assert outcome.outputs["files"] == {
        form: [f"file://{target}/{base}.{form}"] for form in ("ipynb", "html", "py")
    }
    kept = json.loads((target / f"{base}.ipynb").read_text())
    assert kept["cells"][3]["outputs"][0]["text"] == ["•••\n"]
    assert {"cell": 4, "kind": "GitHub token", "count": 1, "where": "output"} in (
        outcome.outputs["findings"]
    )
    again = await place.another().finish_run(run, version, ran.job)
    assert again == outcome
    assert len(list(target.iterdir())) == 3


async def test_many_who_launch_a_run_launch_one_job(place: Schedules) -> None:
    version = await place.version("import time; time.sleep(0.3)")
    run = place.a_run(version)
    found = await asyncio.gather(*(place.another().launch_run(run, version) for _ in range(4)))
    assert found == [run.job] * 4
    assert len(place.engine.store.list_jobs()) == 1
    ran = await place.ended(place.engine.store.get_job(found[0]))
    assert ran.job.state is JobState.SUCCEEDED
    assert await place.running.launch_run(run, version) == run.job


async def test_a_failed_run_goes_on_at_its_checkpoint(place: Schedules) -> None:
    flag = place.work / "mended"
    save = "import os\npath = os.path.join(os.environ['AIINFRA_CHECKPOINT_DIR'], 'sum')\n"
    version = await place.version(
        code("import os", "setup"),
        "total = sum(range(1000))\nprint('slow work')\n"
        + save
        + "os.makedirs(os.path.dirname(path), exist_ok=True)\nopen(path, 'w').write(str(total))",
        code(save + "total = int(open(path).read())", "checkpoint"),
        f"assert os.path.exists({str(flag)!r}), 'not mended'",
        "print(total)",
    )
    first = place.a_run(version)
    ran, outcome = await place.through(first, version)
    assert (outcome.state, outcome.retry) == (RunState.FAILED, True)
    assert outcome.outputs["failed"]["cell"] == 4
    flag.touch()
    second = place.a_run(version, id=first.id, attempt=2, jobs=(first.job,))
    again, outcome = await place.through(second, version)
    assert outcome.state is RunState.SUCCEEDED, outcome.reason
    assert again.state["kept"] == [1]
    assert again.text(1).startswith("slow work\n")
    assert again.text(4) == "499500\n"
    counts = [cell["execution_count"] for cell in again.notebook["cells"]]
    assert counts[1] == 2, "as it was"
    assert "slow work" not in again.log
    assert ran.folder != again.folder


async def test_where_it_cannot_be_resumed_it_begins_at_the_beginning(place: Schedules) -> None:
    version = await place.version("print('first')", "1/0")
    first = place.a_run(version)
    await place.through(first, version)
    again, outcome = await place.through(place.a_run(version, jobs=(first.job,)), version)
    assert outcome.reason == "cell 2 (In [2]) raised ZeroDivisionError: division by zero"
    assert again.state["kept"] == []
    assert "first" in again.log


async def test_a_target_that_cannot_be_reached_does_not_fail_the_run(place: Schedules) -> None:
    (place.work / "file").write_text("in the way")
    version = await place.version("1", outputs=(f"{place.work}/file/x", str(place.work / "ok")))
    _, outcome = await place.through(place.a_run(version), version)
    assert outcome.state is RunState.SUCCEEDED
    (problem,) = outcome.outputs["problems"]
    assert problem.startswith(f"results could not be stored at {place.work}/file/x: NotADirectory")
    assert outcome.reason == problem
    assert len(outcome.outputs["files"]["ipynb"]) == 1


async def test_a_url_where_nobody_answers_does_not_fail_the_run(place: Schedules) -> None:
    with socket.socket() as taken:
        # Bound and not listened on: who comes is refused.
        taken.bind(("127.0.0.1", 0))
        url = f"ftp://127.0.0.1:{taken.getsockname()[1]}/results"
        version = await place.version("print('done')", outputs=(url, str(place.work / "ok")))
        _, outcome = await place.through(place.a_run(version), version)
    assert outcome.state is RunState.SUCCEEDED
    assert outcome.reason is not None
    assert outcome.reason.startswith(f"results could not be stored at {url}: ConnectionRefused")
    (kept,) = outcome.outputs["files"]["ipynb"]
    assert "done" in Path(kept.removeprefix("file://")).read_text()


async def test_secrets_are_given_and_stored_nowhere(place: Schedules) -> None:
    version = await place.version(
        code("word = None", "parameters"), "print(word)", parameters={"word": "secret:WORD"}
    )
    ran, outcome = await place.through(place.a_run(version), version)
    assert ran.text(2) == "•••\n"
    (url,) = outcome.outputs["files"]["ipynb"]
    stored = Path(url.removeprefix("file://"))
    assert stored.parent == place.settings.home / "outputs" / "s1"
    assert "correct horse" not in stored.read_text()
    source = code("other: str = 'secret:WORD'\ntext = 'secret: none'", "parameters")
    version = await place.version(source, "print(other, text)")
    version = dataclasses.replace(
        version, form=form_of(notebook_of(source)), parameters={"text": "secret: no name"}
    )
    ran, _ = await place.through(place.a_run(version), version)
    assert ran.text(2) == "••• secret: no name\n", "one that the notebook itself names is had too"
    version = await place.version(code("w = 1", "parameters"), parameters={"w": "secret:NO_SUCH"})
    with pytest.raises(UsageError, match="NO_SUCH is not set"):
        await place.running.launch_run(place.a_run(version), version)


async def test_what_can_help_is_tried_again_and_nothing_else(place: Schedules) -> None:
    version = await place.version("1", kernel="fortress")
    _, outcome = await place.through(place.a_run(version), version)
    assert (outcome.state, outcome.retry) == (RunState.FAILED, False)
    version = await place.version("import time\nprint('begun')\ntime.sleep(300)")
    run = place.a_run(version)
    job = place.engine.store.get_job(await place.running.launch_run(run, version))
    await place.until_said(job, "begun")
    await place.engine.cancel(job.id)
    ran = await place.ended(job)
    outcome = await place.running.finish_run(run, version, ran.job)
    assert (outcome.state, outcome.retry) == (RunState.CANCELLED, False)
    assert outcome.outputs["files"]["ipynb"], "what it had is kept"


async def test_what_cannot_be_frozen_is_named(place: Schedules) -> None:
    for cells, how, said in [
        (("1",), {"files": ("no/such",)}, "no/such"),
        (("1",), {"files": ("../x",)}, "does not lie beside"),
        (("1",), {"forms": ("docx",)}, "'docx'"),
        (("1",), {"outputs": ("sftp://a:b@c/",)}, "password"),
    ]:
        with pytest.raises(UsageError, match=said):
            await place.version(*cells, **how)  # type: ignore[arg-type]
    place.write("1", kernel=None)
    with pytest.raises(UsageError, match="names no kernel"):
        await place.running.freeze(place.work / "nb.ipynb", {})
    (place.work / "nb.ipynb").write_text("{")
    with pytest.raises(UsageError, match="no JSON"):
        await place.running.freeze(place.work / "nb.ipynb", {})


async def test_a_node_without_a_kernel_is_told_before_anything_starts(
    place: Schedules, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = await place.version("1")
    (node,) = await place.engine.nodes(POOL)
    assert node.python is not None
    packages = {k: v for k, v in node.python.packages.items() if k != "ipykernel"}
    monkeypatch.setattr("jupyter_aiinfra.node.describe._packages", lambda *_args, **_more: packages)
    monkeypatch.setattr("jupyter_aiinfra.node.describe.stamps", lambda _path: {"/site-packages": 2})
    with pytest.raises(PreflightError, match="has no ipykernel"):
        await place.running.launch_run(place.a_run(version), version)
    assert place.engine.store.list_jobs() == []
    assert not os.path.lexists(place.settings.home / "runs")
