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

from jupyter_aiinfra.node import describe

FILE = str(Path(describe.__file__))

# What the library does is in the environment: how initialising it ends, or how it misbehaves.
MOCK = r"""
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
typedef struct { unsigned long long total, free, used; } memory;
int nvmlInit_v2(void) {
    const char *mode = getenv("MOCK_NVML");
    if (mode && !strcmp(mode, "crash")) abort();
    if (mode && !strcmp(mode, "hang")) for (;;) pause();
    return mode ? atoi(mode) : 0;
}
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) {
    return snprintf(text, size, "550.1") < 0;
}
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    *handle = (void *)(0x7f0000000000UL + index);  /* needs all 64 bits */
    return 0;
}
static unsigned which(void *handle) { return (unsigned)((unsigned long)handle & 0xff); }
int nvmlDeviceGetUUID(void *handle, char *text, unsigned size) {
    return snprintf(text, size, "GPU-%u", which(handle)) < 0;
}
int nvmlDeviceGetName(void *handle, char *text, unsigned size) {
    (void)handle;
    return snprintf(text, size, "Mock 9000") < 0;
}
int nvmlDeviceGetMemoryInfo(void *handle, memory *m) {
    m->total = 80ULL << 30; m->used = (unsigned long long)which(handle) << 30;
    m->free = m->total - m->used;
    return 0;
}
typedef struct { unsigned pid; unsigned long long memory; unsigned gi, ci; } process;
int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, process *found) {
    *count = which(handle);
    if (*count) { found->pid = (unsigned)getppid(); found->memory = 1ULL << 30; }
    return 0;
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("nvml")
    (folder / "mock.c").write_text(MOCK)
    name = "libnvidia-ml.so.1"
    argv = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", name, "mock.c"]
    subprocess.run(argv, cwd=folder, check=True, timeout=60)
    return str(folder)


def run(python: str = sys.executable, **environ: str) -> dict[str, Any]:
    env = {**os.environ, "PATH": "/nowhere", **environ}
    done = subprocess.run(
        [python, "-I", FILE], env=env, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    [line] = done.stdout.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def test_gpus_of_a_compiled_library(library: str) -> None:
    found = run(LD_LIBRARY_PATH=library)
    assert (found["driver"], found["gpu_problem"]) == ("550.1", None)
    assert [gpu["uuid"] for gpu in found["gpus"]] == ["GPU-0", "GPU-1"]
    assert found["gpus"][1]["name"] == "Mock 9000"
    assert found["gpus"][1]["memory_total_bytes"] == 80 << 30
    assert found["gpus"][1]["memory_used_bytes"] == 1 << 30
    assert found["gpus"][0]["used_by"] == []
    [process] = found["gpus"][1]["used_by"]
    assert (process["user"], process["memory_bytes"]) == (getpass.getuser(), 1 << 30)
    assert process["command"].startswith("python")


@pytest.mark.parametrize(
    ("mode", "problem"),
    [("9", "the driver is not loaded"), ("crash", "died of signal 6")],
)
def test_a_broken_library_costs_only_the_gpus(library: str, mode: str, problem: str) -> None:
    found = run(LD_LIBRARY_PATH=library, MOCK_NVML=mode)
    assert found["gpus"] == []
    assert problem in found["gpu_problem"]
    assert found["python"]["packages"]["pytest"]


def test_a_library_that_hangs_costs_a_bounded_wait(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", library)  # for the child; ours was read at our start
    monkeypatch.setenv("MOCK_NVML", "hang")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(describe, "_nvml", lambda: True)
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
