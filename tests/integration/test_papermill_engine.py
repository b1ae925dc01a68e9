"""papermill's engine of ours: the same notebooks come out as by papermill's own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from papermill import execute_notebook
from papermill.engines import papermill_engines

from jupyter_aiinfra.commands.papermillengine import AiInfraEngine
from jupyter_aiinfra.commands.session import Session
from jupyter_aiinfra.model import JobState
from jupyter_aiinfra.settings import Settings
from tests.support.bench import wait_until
from tests.support.notebooks import code, notebook_of

# papermill's own tests run these; see the LICENSE beside them.
THEIRS = sorted((Path(__file__).parents[1] / "notebooks" / "papermill").glob("*.ipynb"))
CASES: dict[str, dict[str, Any]] = {
    "simple_execute": {"msg": "Hello"},
    "complex_parameters": {"msg": "world", "a": 2, "b": {"foo": 1}, "c": [1, 2]},
    "no_parameters": {"msg": "ok"},
    "result_no_exec": {},
}


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    session = Session(Settings(home=tmp_path_factory.mktemp("engine") / "home"))
    session.run(session.engine.attach("here", kind="local"))
    papermill_engines.register("aiinfra", AiInfraEngine)
    yield session
    session.close()


def comparable(notebook: dict[str, Any]) -> list[Any]:
    """Return what has to be equal of a notebook: no times, and streams joined."""
    cells = []
    for cell in notebook["cells"]:
        outputs: list[Any] = []
        for output in cell.get("outputs", []):
            kept = {key: value for key, value in output.items() if key != "traceback"}
            if "text" in kept:
                kept["text"] = "".join(kept["text"])
            if outputs and kept.get("name") and outputs[-1].get("name") == kept["name"]:
                outputs[-1]["text"] += kept["text"]
            else:
                outputs.append(kept)
        paper = cell["metadata"].get("papermill", {})
        told = {key: paper.get(key) for key in ("exception", "status")}
        source = "".join(cell["source"])
        cells.append((source, cell.get("execution_count"), outputs, told))
    return cells


def outcome(
    source: Path, target: Path, parameters: dict[str, Any], **how: Any
) -> tuple[str | None, list[Any], dict[str, Any]]:
    """Run a notebook by papermill; return the error it raised, the cells, and the metadata."""
    raised = None
    try:
        execute_notebook(source, target, parameters, progress_bar=False, **how)
    except Exception as error:  # noqa: BLE001 - what is raised is compared
        ename, evalue = getattr(error, "ename", ""), getattr(error, "evalue", "")
        raised = f"{type(error).__name__} {ename} {evalue}"
    notebook = json.loads(target.read_text(encoding="utf-8"))
    metadata = notebook["metadata"]
    told = {key: metadata.get("papermill", {}).get(key) for key in ("exception", "parameters")}
    language = metadata.get("language_info", {}).get("name")
    return raised, comparable(notebook), {**told, "language": language}


@pytest.mark.parametrize("source", THEIRS, ids=lambda path: path.stem)
def test_their_own_notebooks_have_the_same_outcome(
    source: Path, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    parameters = CASES.get(source.stem, {})
    how = {"kernel_name": "python3"}
    before = len(session.engine.store.list_jobs())
    theirs = outcome(source, tmp_path / "theirs.ipynb", parameters, **how)
    ours = outcome(
        source, tmp_path / "ours.ipynb", parameters, engine_name="aiinfra", session=session, **how
    )
    assert len(session.engine.store.list_jobs()) == before + 1, "it was a job on the pool"
    assert ours[0] == theirs[0]
    assert ours[1] == theirs[1]
    assert ours[2] == theirs[2]


@pytest.mark.parametrize(
    "cells",
    [
        ["import os\nprint(os.getcwd())", "raise KeyError('x')", "3"],
        [code("1/0", "raises-exception"), "'after'"],
        ["import sys; print('out'); print('err', file=sys.stderr)", "# only a comment", ""],
        ["from IPython.display import *\nh = display('a', display_id=True)", "h.update('b')"],
        [
            "print('gone')\nfrom IPython.display import clear_output\nclear_output()",
            "%pwd",
            "!echo x",
        ],
        ["import ipywidgets\nipywidgets.IntSlider()", "out = ipywidgets.Output()\nout"],
    ],
    ids=["raises", "allowed", "streams", "display", "clear", "widgets"],
)
def test_more_notebooks_have_the_same_outcome(
    cells: list[Any], session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "in.ipynb"
    source.write_text(json.dumps(notebook_of(*cells)))
    theirs = outcome(source, tmp_path / "theirs.ipynb", {})
    ours = outcome(source, tmp_path / "ours.ipynb", {}, engine_name="aiinfra", session=session)
    if "ipywidgets" in str(cells[0]):
        for _, _, outputs, _ in (*theirs[1], *ours[1]):
            for output in outputs:
                output["data"].pop("application/vnd.jupyter.widget-view+json")
    assert ours == theirs


def test_what_is_shown_in_an_output_widget_is_kept_in_it(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "in.ipynb"
    cells = [
        "from ipywidgets import Output\nout = Output()\nout",
        # nbclient tells the kernel what the widget shows, while it waits for the end of the cell.
        *(f"with out:\n    display({number})" for number in range(12)),
        "out.clear_output()\nwith out:\n    print('last')",
        "print('beside it')",
    ]
    source.write_text(json.dumps(notebook_of(*cells)))
    raised, _, _ = outcome(
        source,
        tmp_path / "out.ipynb",
        {},
        engine_name="aiinfra",
        session=session,
        execution_timeout=60,
    )
    assert raised is None
    notebook = json.loads((tmp_path / "out.ipynb").read_text())
    assert [cell["outputs"] for cell in notebook["cells"][1:-1]] == [[]] * 13
    states = notebook["metadata"]["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    (shown,) = [
        each["state"]["outputs"] for each in states.values() if each["model_name"] == "OutputModel"
    ]
    assert shown == [{"output_type": "stream", "name": "stdout", "text": "last\n"}]


def test_a_kernel_that_is_asked_for_writes_no_history(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "in.ipynb"
    source.write_text(json.dumps(notebook_of("get_ipython().history_manager.hist_file")))
    for how in ({}, {"kernel_name": "python3"}):
        _, cells, _ = outcome(
            source, tmp_path / "out.ipynb", {}, engine_name="aiinfra", session=session, **how
        )
        assert cells[0][2][0]["data"]["text/plain"] == ["':memory:'"]


def test_a_dead_kernel_and_a_slow_cell_raise_what_papermill_raises(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for cell, how, name in [
        ("import os; os._exit(1)", {}, "DeadKernelError"),
        ("import time; time.sleep(100)", {"execution_timeout": 1}, "CellTimeoutError"),
    ]:
        source = tmp_path / "in.ipynb"
        source.write_text(json.dumps(notebook_of(cell, "1")))
        raised, cells, _ = outcome(
            source,
            tmp_path / "ours.ipynb",
            {},
            engine_name="aiinfra",
            session=session,
            **how,
        )
        assert raised is not None
        assert raised.startswith(name)
        assert cells[-1][1] is None, "the next one was not run"


# As the entry point does, where the package is not installed from this folder.
REGISTER = (
    "import sys\nfrom papermill.engines import papermill_engines\n"
    "from jupyter_aiinfra.commands.papermillengine import AiInfraEngine\n"
    "papermill_engines.register('aiinfra', AiInfraEngine)\n"
    "from papermill.cli import papermill\npapermill()\n"
)


def test_an_interrupt_of_papermill_ends_the_job(session: Session, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    cell = f"import pathlib, time\npathlib.Path({str(begun)!r}).touch()\ntime.sleep(300)"
    (tmp_path / "in.ipynb").write_text(json.dumps(notebook_of(cell)))
    running = subprocess.Popen(
        [
            *(sys.executable, "-c", REGISTER, "--engine", "aiinfra", "--no-progress-bar"),
            *("in.ipynb", "out.ipynb"),
        ],
        cwd=tmp_path,
        env={**os.environ, "JUPYTER_AIINFRA_HOME": str(session.settings.home)},
        stderr=subprocess.DEVNULL,
    )
    wait_until(begun.exists, seconds=100)
    running.send_signal(signal.SIGINT)
    assert running.wait(timeout=60) != 0
    store = session.engine.store
    job = max(store.list_jobs(), key=lambda job: job.created_at)

    def over() -> bool:
        return session.run(session.engine.refresh(job.id)).state is JobState.CANCELLED

    wait_until(over, seconds=60)


def test_from_the_command_line(session: Session, tmp_path: Path) -> None:
    source = tmp_path / "in.ipynb"
    source.write_text(json.dumps(notebook_of(code("n = 1", "parameters"), "print('n is', n)")))
    done = subprocess.run(
        [
            *(sys.executable, "-c", REGISTER, "--engine", "aiinfra", "-p", "n", "7"),
            *("--no-progress-bar", "--log-output", "in.ipynb", "out.ipynb"),
        ],
        cwd=tmp_path,
        env={**os.environ, "JUPYTER_AIINFRA_HOME": str(session.settings.home)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "n is 7" in done.stderr
    cells = json.loads((tmp_path / "out.ipynb").read_text())["cells"]
    assert "".join(cells[-1]["outputs"][0]["text"]) == "n is 7\n"
