"""The description by real interpreters, and GPUs through a library compiled for the test."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.node import describe, nvml, packed
from tests.support.nvml import MockNvml, build, gpu

FILE = str(Path(describe.__file__))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def mock(tmp_path: Path, library: Path) -> MockNvml:
    return MockNvml(tmp_path / "nvml", library)


def run(python: str = sys.executable, **environ: str) -> dict[str, Any]:
    env = {**os.environ, "PATH": "/nowhere", **environ}
    done = subprocess.run(
        [python, "-I", FILE], env=env, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    [line] = done.stdout.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def test_gpus_of_a_compiled_library(mock: MockNvml) -> None:
    mock.gpus = [gpu(0), gpu(1, name="Mock 9000", procs=f"{os.getpid()}:{1 << 30}")]
    mock.write()
    found = run(**mock.environ())
    assert (found["driver"], found["gpu_problem"]) == ("550.1", None)
    assert [each["uuid"] for each in found["gpus"]] == [each["uuid"] for each in mock.gpus]
    assert found["gpus"][1]["name"] == "Mock 9000"
    assert found["gpus"][1]["memory_total_bytes"] == 80 << 30
    assert found["gpus"][1]["memory_used_bytes"] == (2 << 30) + (500 << 20)
    assert found["gpus"][0]["used_by"] == []
    [process] = found["gpus"][1]["used_by"]
    assert (process["user"], process["memory_bytes"]) == (getpass.getuser(), 1 << 30)
    assert process["command"].startswith("python")


@pytest.mark.parametrize("absent", [("_v3",), ("_v3", "_v2")])
def test_who_computes_is_asked_of_old_drivers_too(tmp_path: Path, absent: tuple[str, ...]) -> None:
    name = "nvmlDeviceGetComputeRunningProcesses"
    library = build(tmp_path / "old", without=[name + version for version in absent])
    mock = MockNvml(tmp_path / "nvml", library)
    mock.gpus = [gpu(0, procs=f"1:5,{os.getpid()}")]
    mock.write()
    [found] = run(**mock.environ())["gpus"]
    assert [(each["pid"], each["memory_bytes"]) for each in found["used_by"]] == [
        (1, 5),
        (os.getpid(), None),
    ]


def test_from_an_archive_in_memory(mock: MockNvml) -> None:
    mock.gpus = [gpu(0)]
    mock.write()
    folder = Path(FILE).parent
    sources = {path.stem: path.read_text() for path in folder.glob("*.py")}
    descriptor = packed.in_memory("describe", packed.archive("describe", sources))
    argv = [sys.executable, "-I", f"/proc/{os.getpid()}/fd/{descriptor}"]
    try:
        done = subprocess.run(argv, env=mock.environ(), capture_output=True, timeout=60, check=True)
    finally:
        os.close(descriptor)
    assert done.stderr == b""
    assert [each["name"] for each in json.loads(done.stdout)["gpus"]] == [mock.gpus[0]["name"]]


@pytest.mark.parametrize(
    ("init", "problem"),
    [("9", "the driver is not loaded"), ("crash", "died of signal 6")],
)
def test_a_broken_library_costs_only_the_gpus(mock: MockNvml, init: str, problem: str) -> None:
    mock.driver = {"init": init}
    mock.write()
    found = run(**mock.environ())
    assert found["gpus"] == []
    assert problem in found["gpu_problem"]
    assert found["python"]["packages"]["pytest"]


def test_a_library_that_hangs_costs_a_bounded_wait(
    mock: MockNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    mock.driver = {"hang": "nvmlInit_v2"}
    mock.write()
    for name, value in mock.environ().items():
        monkeypatch.setenv(name, value)  # for the child; ours was read at our start
    monkeypatch.setattr(nvml, "load", lambda: True)
    monkeypatch.setattr(describe, "_GPU_SECONDS", 1.0)
    assert describe.gpus() == ([], None, "the GPU driver did not answer within 1 s")


def test_nvidia_smi_stands_in(tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho '0, GPU-x, NVIDIA T4, 15360, 1, 470.1'\n")
    program.chmod(0o755)
    found = run(PATH=str(tmp_path))
    assert [gpu["uuid"] for gpu in found["gpus"]] == ["GPU-x"]
    assert found["driver"] == "470.1"


def test_it_answers_in_time_to_be_asked_before_each_launch() -> None:
    def seconds(argv: list[str]) -> float:
        # Processor time of the child and its children, which a busy machine does not stretch.
        before = os.times()
        subprocess.run(argv, stdout=subprocess.DEVNULL, check=True, timeout=60)
        after = os.times()
        spent = after.children_user - before.children_user
        return spent + after.children_system - before.children_system

    bare = min(seconds([sys.executable, "-I", "-c", "import json, subprocess"]) for _ in range(5))
    full = min(seconds([sys.executable, "-I", FILE]) for _ in range(5))
    assert full < bare + 0.06


@pytest.mark.parametrize("minor", [8, 9, 10, 12, 13])
def test_another_interpreter_describes_itself(minor: int) -> None:
    python = interpreter(minor)
    if python is None:
        pytest.skip(f"no Python 3.{minor} here")
    found = run(python)
    assert found["python"]["version"].startswith(f"3.{minor}.")
    assert found["cpus"] == describe.describe()["cpus"]


def interpreter(minor: int) -> str | None:
    """Find a Python on the path, or one that a version manager keeps beside its shims."""
    program = shutil.which(f"python3.{minor}")
    if program is None:
        return None
    kept = Path(program).parents[1].glob(f"versions/3.{minor}.*/bin/python3")
    for candidate in (program, *map(str, sorted(kept))):
        if subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


def test_what_it_says_of_this_machine_is_what_psutil_says(tmp_path: Path) -> None:
    psutil = pytest.importorskip("psutil")
    found = describe.describe(str(tmp_path))
    assert found["memory_total_bytes"] <= psutil.virtual_memory().total
    assert found["disk_free_bytes"] == pytest.approx(psutil.disk_usage(str(tmp_path)).free, rel=0.1)
