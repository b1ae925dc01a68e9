"""A frozen notebook, values and options become one job, whose values are data and never code."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.bundle import Bundle
from jupyter_aiinfra.errors import PoolError, UsageError
from jupyter_aiinfra.model import (
    EnvironmentSpec,
    Interpreter,
    JobKind,
    JobSpec,
    Node,
    from_wire,
    to_wire,
)
from jupyter_aiinfra.promote.notebookjob import (
    NotebookOptions,
    Resume,
    compose_notebook,
    preflight_notebook,
    secret_names,
)
from jupyter_aiinfra.promote.snapshot import Snapshot, freeze
from jupyter_aiinfra.settings import Settings
from tests.support.notebooks import notebook_of

PYTHON = Interpreter(executable="/opt/python", version="3.12.1")
NODE = Node(name="n", address="127.0.0.1", python=PYTHON)


@pytest.fixture
def frozen(tmp_path: Path) -> tuple[Snapshot, Bundle]:
    path = tmp_path / "my report.ipynb"
    path.write_text(json.dumps(notebook_of("x = 1")))
    return freeze(path)


def composed(
    frozen: tuple[Snapshot, Bundle], values: dict[str, Any] | None = None, **how: Any
) -> tuple[JobSpec, dict[str, bytes]]:
    resume = how.pop("resume", None)
    spec, bundle = compose_notebook(
        *frozen,
        values or {},
        NotebookOptions(**how),
        node=NODE,
        settings=Settings(home=Path("/nowhere"), grace_seconds=7.0),
        resume=resume,
    )
    texts = {file.path: b"".join(file.read()) for file in bundle.files if file.path}
    return spec, texts


def test_the_job(frozen: tuple[Snapshot, Bundle]) -> None:
    spec, files = composed(frozen, gpus=2, tags={"team": "a"}, budget="2 USD", run_seconds=100.0)
    assert (spec.kind, spec.name) == (JobKind.NOTEBOOK, "my-report")
    assert spec.argv == ("/opt/python", "${AIINFRA_RUN_DIR}/aiinfra/rank.py")
    assert (spec.nodes, spec.procs, spec.gpus) == (1, 1, 2)
    assert spec.time_limit_seconds == 227.0, "the run's own limit comes first"
    assert (spec.grace_seconds, spec.budget, spec.tags) == (7.0, "2 USD", {"team": "a"})
    assert {"aiinfra/rank.py", "aiinfra/notebook.py", "aiinfra/scrub.py", "task.json"} <= set(files)
    assert not [path for path in files if path.startswith(("aiinfra/track", "aiinfra/readings"))]
    asked = json.loads(files["task.json"])["notebook"]
    assert (asked["input"], asked["cwd"], asked["own_python"]) == (
        "notebook/input.ipynb",
        "work",
        False,
    )
    assert json.loads(files["notebook/input.ipynb"])["nbformat"] == 4


def test_values_are_data_and_secrets_are_names(frozen: tuple[Snapshot, Bundle]) -> None:
    nasty = "__import__('os').system('x')"
    values = {"text": nasty, "word": "secret:MY_WORD", "n": 3}
    spec, files = composed(frozen, values, secrets=("OTHER", "MY_WORD"))
    assert json.loads(files["notebook/parameters.json"]) == {
        "values": {"text": nasty, "n": 3},
        "secrets": {"word": "MY_WORD"},
    }
    assert spec.secrets == ("OTHER", "MY_WORD")
    assert secret_names(NotebookOptions(), values) == ("MY_WORD",)
    with pytest.raises(UsageError, match="cannot be written down"):
        composed(frozen, {"thing": object()})


def test_an_environment_runs_the_cells(frozen: tuple[Snapshot, Bundle]) -> None:
    own = EnvironmentSpec(kind="requirements", digest="d" * 64, source="requirements.txt")
    snapshot = dataclasses.replace(frozen[0], environment=own)
    spec, files = composed((snapshot, frozen[1]))
    assert spec.argv[0] == "${AIINFRA_PYTHON}"
    assert spec.environment == own
    assert json.loads(files["task.json"])["notebook"]["own_python"] is True


def test_a_run_that_is_resumed_brings_the_one_before(frozen: tuple[Snapshot, Bundle]) -> None:
    resume = Resume(previous=b"{}", again=(3, 1), checkpoints="/old/checkpoints")
    spec, files = composed(frozen, resume=resume)
    asked = json.loads(files["task.json"])["notebook"]["resume"]
    assert asked == {"previous": "notebook/previous.ipynb", "again": [1, 3]}
    assert files["notebook/previous.ipynb"] == b"{}"
    assert spec.env["AIINFRA_CHECKPOINT_DIR"] == "/old/checkpoints"


def test_options_survive_being_written_down() -> None:
    options = NotebookOptions(files=("a", "b"), env={"A": "1"}, cell_seconds=3.0, forms=("html",))
    assert from_wire(json.loads(json.dumps(to_wire(options))), NotebookOptions) == options


def test_a_node_without_python_is_refused(frozen: tuple[Snapshot, Bundle]) -> None:
    with pytest.raises(PoolError, match="node n has no Python"):
        compose_notebook(
            *frozen,
            {},
            NotebookOptions(),
            node=dataclasses.replace(NODE, python=None),
            settings=Settings(home=Path("/nowhere")),
        )


@pytest.mark.parametrize(
    ("packages", "values", "missing"),
    [
        ({"nbclient": "1", "ipykernel": "7"}, {}, None),
        ({"nbclient": "1", "ipykernel": "7"}, {"a": 1}, "papermill"),
        ({"ipykernel": "7", "papermill": "2"}, {"a": 1}, "nbclient"),
        ({"nbclient": "1", "papermill": "2"}, {}, "ipykernel"),
        ({}, {}, None),
    ],
)
def test_what_a_node_lacks_is_said(
    frozen: tuple[Snapshot, Bundle],
    packages: dict[str, str],
    values: dict[str, int],
    missing: str | None,
) -> None:
    python = dataclasses.replace(PYTHON, packages=packages)
    findings = preflight_notebook(frozen[0], values, [dataclasses.replace(NODE, python=python)])
    assert [f.message for f in findings] == (
        [f"/opt/python on n has no {missing}, which runs notebooks"] if missing else []
    )
    own = EnvironmentSpec(kind="requirements", digest="d", source="r.txt")
    built = dataclasses.replace(frozen[0], environment=own)
    assert preflight_notebook(built, values, [dataclasses.replace(NODE, python=python)]) == ()
