from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra import tracking
from jupyter_aiinfra.bundle import Bundle
from jupyter_aiinfra.errors import PoolError, UsageError
from jupyter_aiinfra.model import (
    FileRef,
    Gpu,
    Interpreter,
    JobKind,
    JobSpec,
    Manifest,
    Node,
    TrackingSpec,
)
from jupyter_aiinfra.pools.nodeside import node_files
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.training import (
    Code,
    LaunchLine,
    check_secrets,
    choose_procs,
    compose,
    job_name,
    missing_bytes,
    refuse_secret_values,
    this_interpreter,
)

PYTHON = Interpreter(executable="/opt/python", version="3.11.7")
NODE = Node(name="n", address="10.0.0.1", cpus=8, python=PYTHON)
GPUS = tuple(Gpu(uuid=f"GPU-{index}", name="H200", index=index) for index in range(4))
GPU_NODE = Node(name="g", address="10.0.0.2", cpus=8, python=PYTHON, gpus=GPUS)
SETTINGS = Settings(home=Path("/nowhere"), grace_seconds=7.0, start_timeout_seconds=77.0)


def a_cell(**changes: Any) -> Code:
    values: dict[str, Any] = {
        "entry": "cell.py",
        "is_cell": True,
        "manifest": Manifest(),
        "files": {"cell.py": "print(1)\n"},
        "text": "print(1)\n",
        "line": "here --procs 2",
    }
    return Code(**{**values, **changes})


def composed(
    line: LaunchLine, code: Code | None = None, *, node: Node = NODE, **more: Any
) -> tuple[JobSpec, dict[str | None, str]]:
    spec, bundle = compose(line, code or a_cell(), node=node, settings=SETTINGS, **more)
    assert spec.files == bundle.refs()
    return spec, texts(bundle)


def texts(bundle: Bundle) -> dict[str | None, str]:
    return {
        file.path: b"".join(bytes(piece) for piece in file.read()).decode() for file in bundle.files
    }


def test_a_cell_becomes_a_job() -> None:
    line = LaunchLine(
        procs=2,
        nodes=3,
        fetch=("history",),
        secrets=("TOKEN",),
        env={"A": "1"},
        port=29500,
        cwd="/work",
        time_limit_seconds=60.0,
    )
    spec, files = composed(line, a_cell(notebook="/nb/My study.ipynb"), git={"commit": "0ab"})
    assert (spec.kind, spec.name, spec.world) == (JobKind.TRAIN, "My-study", 6)
    assert (spec.fetch, spec.secrets, spec.port, spec.cwd) == (
        ("history",),
        ("TOKEN",),
        29500,
        "/work",
    )
    assert spec.env["A"] == "1"
    assert (spec.grace_seconds, spec.start_timeout_seconds, spec.time_limit_seconds) == (
        7.0,
        77.0,
        60.0,
    )
    assert spec.argv[0] == "/opt/python"
    assert "${AIINFRA_RUN_DIR}/aiinfra/rank.py" in spec.argv
    assert (spec.origin.code, spec.origin.line) == ("print(1)\n", "here --procs 2")
    assert (spec.origin.notebook, spec.origin.git) == ("/nb/My study.ipynb", {"commit": "0ab"})
    assert (spec.tracking, spec.companion) == (None, ())
    assert files["cell.py"] == "print(1)\n"
    assert json.loads(files["task.json"]) == {
        "format": 1,
        "entry": "cell.py",
        "argv": ["cell.py"],
        "context": None,
        "variables": None,
        "fetch": ["history"],
        "path": ["src"],
        "cell": True,
    }


def test_what_the_node_runs_travels_with_the_job() -> None:
    _, files = composed(LaunchLine())
    ours = {path for path in files if path is not None and path.startswith("aiinfra/")}
    assert {"aiinfra/rank.py", "aiinfra/supervise.py", "aiinfra/parcel.py"} <= ours
    assert node_files() is node_files()


def test_context_and_variables_travel_beside_the_cell() -> None:
    variables = {"format": 1, "variables": [{"name": "x"}]}
    code = a_cell(
        context="import math\n", variables=variables, blobs={"ab" * 32: [b"raw ", b"bytes"]}
    )
    _, files = composed(LaunchLine(), code)
    assert files["context.py"] == "import math\n"
    assert json.loads(files["manifest.json"]) == variables
    task = json.loads(files["task.json"])
    assert (task["context"], task["variables"]) == ("context.py", "manifest.json")
    assert files[None] == "raw bytes"


def test_a_script_keeps_its_arguments() -> None:
    code = a_cell(
        entry="src/train.py",
        is_cell=False,
        files={"src/train.py": "print(2)\n"},
        arguments=("--lr", "0.1"),
    )
    spec, files = composed(LaunchLine(procs=1), code)
    assert spec.name == "train"
    assert spec.argv[-2:] == ("--lr", "0.1")
    task = json.loads(files["task.json"])
    assert (task["argv"], task["cell"]) == (["src/train.py", "--lr", "0.1"], False)


def test_a_tracked_job_has_a_companion_that_logs_its_code() -> None:
    run = TrackingSpec(uri="sqlite:///x", params={"lr": "0.1"})
    spec, files = composed(LaunchLine(), a_cell(context="import math\n"), tracking=run)
    assert spec.tracking == run
    assert spec.companion == (
        "/opt/python",
        "${AIINFRA_RUN_DIR}/aiinfra/track.py",
        "${AIINFRA_RUN_DIR}",
    )
    request = json.loads(files["track.json"])
    assert request["params"]["lr"] == "0.1"
    assert request["params"]["command"].startswith("/opt/python ")
    assert request["artifacts"] == ["cell.py", "context.py"]
    assert request == {**request, **tracking.track_request(run), **request}


def test_the_line_goes_before_the_settings() -> None:
    spec, _ = composed(LaunchLine(grace_seconds=0.0, name="mine"))
    assert (spec.grace_seconds, spec.name) == (0.0, "mine")
    assert spec.cwd == str(Path.cwd())


def test_a_config_file_that_lies_here_travels(tmp_path: Path) -> None:
    path = tmp_path / "zero.yaml"
    path.write_text("mixed_precision: 'no'\n")
    spec, files = composed(LaunchLine(procs=1, passed=("--config_file", str(path))))
    (name,) = [name for name, text in files.items() if text == path.read_text()]
    assert str(path) not in spec.argv
    assert any(str(name) in word for word in spec.argv)


def test_a_config_file_that_lies_on_the_node_is_left_there() -> None:
    spec, _ = composed(LaunchLine(procs=1, passed=("--config_file", "/nodes/own.yaml")))
    assert "/nodes/own.yaml" in " ".join(spec.argv)


def test_a_node_without_python_is_named() -> None:
    with pytest.raises(PoolError, match="node bare has no Python"):
        composed(LaunchLine(), node=Node(name="bare", address="10.0.0.3"))


@pytest.mark.parametrize(
    ("line", "node", "procs"),
    [
        (LaunchLine(), NODE, 1),
        (LaunchLine(), GPU_NODE, 4),
        (LaunchLine(cpu=True), GPU_NODE, 1),
        (LaunchLine(procs=3), GPU_NODE, 3),
        (LaunchLine(procs=3, cpu=True), NODE, 3),
    ],
)
def test_one_process_a_gpu_unless_asked_otherwise(line: LaunchLine, node: Node, procs: int) -> None:
    assert choose_procs(line, node) == procs
    assert composed(line, node=node)[0].procs == procs


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (a_cell(notebook="/nb/digits.ipynb"), "digits"),
        (a_cell(notebook="/nb/Übung 1 (neu).ipynb"), "bung-1--neu"),
        (a_cell(notebook="/nb/___.ipynb"), "___"),
        (a_cell(notebook="/nb/日本.ipynb"), "job"),
        (a_cell(notebook=None), "cell"),
        (a_cell(entry="src/" + "x" * 90 + ".py", is_cell=False), "x" * 40),
        (a_cell(entry="src/train.py", is_cell=False, notebook="/nb/other.ipynb"), "train"),
    ],
)
def test_a_job_without_a_name_is_named_after_its_code(code: Code, name: str) -> None:
    assert job_name(code) == name


def test_only_what_the_blob_store_lacks_is_counted(tmp_path: Path) -> None:
    there, missing = "ab" * 32, "cd" * 32
    (tmp_path / "ab").mkdir()
    (tmp_path / "ab" / there).write_bytes(b"x")
    files = (FileRef(digest=there, size_bytes=1), FileRef(digest=missing, size_bytes=20))
    assert missing_bytes(files, blobs=tmp_path) == 20
    assert missing_bytes(files[:1], blobs=tmp_path) == 0


def test_this_interpreter_is_described_without_importing() -> None:
    here = this_interpreter(("msgspec", "no_such_package"))
    assert here.executable == sys.executable
    assert here.minor == sys.version_info[:2]
    assert here.packages["msgspec"]
    assert not here.packages["no_such_package"]


def test_secrets_are_taken_from_the_environment_by_name() -> None:
    assert check_secrets(("A", "B"), {"A": "1", "B": "2", "C": "3"}) == {"A": "1", "B": "2"}
    with pytest.raises(UsageError, match="secret MISSING is not set") as caught:
        check_secrets(("A", "MISSING"), {"A": "hush"})
    assert "hush" not in caught.value.message + caught.value.hint


def test_a_secret_is_refused_where_it_would_be_recorded() -> None:
    refuse_secret_values({"A": "1"}, {"A": "1"})
    with pytest.raises(UsageError, match="--env HF_TOKEN=… looks like a secret") as caught:
        refuse_secret_values({"A": "1", "HF_TOKEN": "hush"}, {"A": "1"})
    assert "--secret HF_TOKEN" in caught.value.hint
    assert "hush" not in caught.value.message


@pytest.mark.parametrize(
    ("line", "node", "gpus"),
    [
        (LaunchLine(), GPU_NODE, 4),
        (LaunchLine(procs=1), GPU_NODE, 1),
        (LaunchLine(procs=2, cpu=True), GPU_NODE, 0),
        (LaunchLine(procs=2), NODE, 0),
    ],
)
def test_a_job_wants_a_gpu_for_each_of_its_ranks(line: LaunchLine, node: Node, gpus: int) -> None:
    spec, _ = composed(line, node=node)
    assert (spec.gpus, spec.share, spec.priority) == (gpus, False, 0)


def test_how_a_job_waits_for_gpus_is_in_its_spec() -> None:
    spec, _ = composed(LaunchLine(share=True, priority=-3))
    assert (spec.share, spec.priority) == (True, -3)
