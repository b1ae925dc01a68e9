from __future__ import annotations

import ctypes
import io
import json
import os
import pwd
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jupyter_aiinfra.node import describe, nvml

GIB = 1 << 30
ME = pwd.getpwuid(os.getuid()).pw_name
COMMAND = Path("/proc/self/comm").read_text().strip()
NOBODY = 1 << 30  # no process has such a number


@pytest.fixture(autouse=True)
def no_gpu_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine has: no library, no nvidia-smi, no child process."""
    monkeypatch.setattr(nvml, "load", lambda: None)
    monkeypatch.setattr(shutil, "which", lambda _: None)


@pytest.fixture
def root(tmp_path: Path) -> Callable[[dict[str, str]], str]:
    """Make a folder that stands for / and holds the files given."""

    def make(files: dict[str, str]) -> str:
        for name, text in files.items():
            path = tmp_path / "root" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return str(tmp_path / "root")

    return make


MEMINFO = {"proc/meminfo": "MemTotal:       16777216 kB\nMemAvailable:   12582912 kB\n"}
VERSION_2 = {
    **MEMINFO,
    "proc/self/cgroup": "0::/user/job\n",
    "proc/self/mountinfo": "29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
}
VERSION_1 = {
    **MEMINFO,
    "proc/self/cgroup": "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n0::/\n",
    "proc/self/mountinfo": "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup "
    "cgroup rw,cpu,cpuacct\n35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
}


def seen(root: str) -> dict[str, Any]:
    return describe.describe(root=root)


def test_a_plain_host(root: Callable[..., str]) -> None:
    found = seen(root(MEMINFO))
    assert found["memory_total_bytes"] == 16 * GIB
    assert found["memory_available_bytes"] == 12 * GIB
    assert found["cpus"] == len(os.sched_getaffinity(0))


def test_no_proc_at_all_is_unknown_not_zero(root: Callable[..., str]) -> None:
    found = seen(root({}))
    assert found["memory_total_bytes"] is None
    assert found["memory_available_bytes"] is None


def test_version_2_limits_of_us_and_of_those_above_us(root: Callable[..., str]) -> None:
    files = {
        "user/memory.max": str(6 * GIB),
        "user/memory.current": str(5 * GIB),
        "user/memory.stat": f"anon 5\ninactive_file {2 * GIB}\n",
        "user/job/memory.max": "max\n",
        "user/job/memory.current": str(GIB),
        "user/cpu.max": "max 100000\n",
        "user/job/cpu.max": "100000 100000\n",
    }
    found = seen(root({**VERSION_2, **{f"sys/fs/cgroup/{k}": v for k, v in files.items()}}))
    assert found["memory_total_bytes"] == 6 * GIB
    assert found["memory_available_bytes"] == 3 * GIB  # file cache can be had back
    assert found["cpus"] == 1


def test_version_1_in_a_container_that_sees_its_own_group_as_the_top(
    root: Callable[..., str],
) -> None:
    files = {
        "memory/memory.limit_in_bytes": str(4 * GIB),
        "memory/memory.usage_in_bytes": str(GIB),
        "memory/memory.stat": "cache 9\ntotal_inactive_file 0\n",
        "cpu,cpuacct/cpu.cfs_quota_us": "50000\n",
        "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    }
    found = seen(root({**VERSION_1, **{f"sys/fs/cgroup/{k}": v for k, v in files.items()}}))
    assert found["memory_total_bytes"] == 4 * GIB
    assert found["memory_available_bytes"] == 3 * GIB
    assert found["cpus"] == 1


def test_a_cgroup_without_limits_limits_nothing(root: Callable[..., str]) -> None:
    files = {
        "memory/memory.limit_in_bytes": "9223372036854771712",
        "cpu,cpuacct/cpu.cfs_quota_us": "-1",
        "cpu,cpuacct/cpu.cfs_period_us": "100000",
    }
    found = seen(root({**VERSION_1, **{f"sys/fs/cgroup/{k}": v for k, v in files.items()}}))
    assert found["memory_total_bytes"] == 16 * GIB
    assert found["cpus"] == len(os.sched_getaffinity(0))


def test_affinity_counts(monkeypatch: pytest.MonkeyPatch, root: Callable[..., str]) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 5, 7})
    assert seen(root(MEMINFO))["cpus"] == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert seen(root(MEMINFO))["cpus"] == 6


@pytest.mark.parametrize(("quota", "cpus"), [("150000", 2), ("800000", 8), ("9999999", 16)])
def test_part_of_a_core_keeps_a_core_busy(
    monkeypatch: pytest.MonkeyPatch, root: Callable[..., str], quota: str, cpus: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    place = root({**VERSION_2, "sys/fs/cgroup/cpu.max": f"{quota} 100000"})
    assert seen(place)["cpus"] == cpus


def test_free_disk_of_a_folder_that_is_still_to_be_made(tmp_path: Path) -> None:
    found = describe.describe(str(tmp_path / "a" / "b"))["disk_free_bytes"]
    stat = os.statvfs(tmp_path)
    assert found == pytest.approx(stat.f_bavail * stat.f_frsize, rel=0.05)


# --- Python ----------------------------------------------------------------------------------


def test_this_python_and_all_its_packages() -> None:
    python = describe.describe()["python"]
    assert python["executable"] == sys.executable
    assert python["implementation"] == "CPython"
    assert python["version"] == ".".join(map(str, sys.version_info[:3]))
    assert python["packages"]["pytest"] == metadata.version("pytest")
    assert python["packages"]["sqlalchemy"] == metadata.version("SQLAlchemy")


def test_packages_of_every_kind_and_the_first_on_the_path_counts(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (
        first / "torch-2.5.1+cu121.dist-info",
        first / "ruamel.yaml-0.18.dist-info",
        first / "Old_Style-1.2-py3.8.egg-info",
        second / "torch-1.0.dist-info",
        second / "developed.egg-info",
        second / "broken.dist-info",
    ):
        folder.mkdir(parents=True)
    (second / "developed.egg-info" / "PKG-INFO").write_text("Name: developed\nVersion: 3.4\n")
    path = [str(first), str(second), str(tmp_path / "absent"), str(tmp_path / "some.zip")]
    assert describe._packages(path) == {
        "torch": "2.5.1+cu121",
        "ruamel-yaml": "0.18",
        "old-style": "1.2",
        "developed": "3.4",
    }


def test_which_distributions_a_module_came_with(tmp_path: Path) -> None:
    records = {
        "torch-2.5.dist-info": "torch/__init__.py,,\n",
        "scikit_learn-1.4.dist-info": "scikit_learn.libs/x.so,,\nsklearn/__init__.py,,\n",
        "six_like-1.dist-info": "sixer.py,,\n",
        "acme_a-1.dist-info": "acme/a.py,,\n",
        "acme_b-1.dist-info": "acme/b.py,,\n",
    }
    for name, text in records.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "RECORD").write_text(text)
    modules = ["torch", "sklearn", "sixer", "acme", "sk", "mine"]
    assert describe.providers(modules, path=[str(tmp_path)]) == {
        "torch": ("torch",),
        "sklearn": ("scikit-learn",),
        "sixer": ("six-like",),
        "acme": ("acme-a", "acme-b"),
        "sk": (),
        "mine": (),
    }


# --- the command line ------------------------------------------------------------------------


def test_one_line_of_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert describe.main([str(tmp_path)]) == 0
    [line] = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert found["platform"] == sys.platform
    assert found["disk_free_bytes"] > 0
    assert (found["gpus"], found["driver"], found["gpu_problem"]) == ([], None, None)


@pytest.mark.parametrize("argv", [["--help"], ["a", "b"]])
def test_usage(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert describe.main(argv) == 2
    assert "usage" in capsys.readouterr().err


# --- GPUs: the library -----------------------------------------------------------------------


class FakeLibrary:
    """What ctypes gives for libnvidia-ml: functions that fill in what they are pointed at."""

    def __init__(self, count: int = 2, **failing: int) -> None:
        self.failing = failing
        self.count = count
        self.open = 0

    def __getattr__(self, name: str) -> Callable[..., int]:
        if not name.startswith("nvml") or self.failing.get(name) == -1:
            raise AttributeError(name)
        return lambda *arguments: self.failing.get(name) or self.answer(name, *arguments)

    def answer(self, name: str, *arguments: Any) -> int:  # noqa: C901 - a line a function
        if name in {"nvmlInit_v2", "nvmlShutdown"}:
            self.open += 1 if name == "nvmlInit_v2" else -1
        elif name == "nvmlSystemGetDriverVersion":
            arguments[0].value = b"550.54.15"
        elif name == "nvmlDeviceGetCount_v2":
            arguments[0]._obj.value = self.count
        elif name == "nvmlDeviceGetHandleByIndex_v2":
            if arguments[0].value == self.failing.get("lost"):
                return 15
            arguments[1]._obj.value = 100 + arguments[0].value
        elif name == "nvmlDeviceGetUUID":
            arguments[1].value = b"GPU-%d" % arguments[0].value
        elif name == "nvmlDeviceGetName":
            arguments[1].value = b"NVIDIA H100"
        elif name == "nvmlDeviceGetMemoryInfo":
            memory = arguments[1]._obj
            memory.total, memory.used, memory.free = 80 * GIB, 5 * GIB, 75 * GIB
        elif name.startswith("nvmlDeviceGetComputeRunningProcesses"):
            if arguments[0].value != 101:
                arguments[1]._obj.value = 0
                return 0
            arguments[1]._obj.value = 2
            form = {"": "@I4xQ"}.get(name.rpartition("Processes")[2], "@I4xQII")
            rest = () if form == "@I4xQ" else (0, 0)
            each = struct.calcsize(form)
            struct.pack_into(form, arguments[2], 0, os.getpid(), 3 * GIB, *rest)
            struct.pack_into(form, arguments[2], each, NOBODY, (1 << 64) - 1, *rest)
        return 0


def ask(monkeypatch: pytest.MonkeyPatch, library: FakeLibrary) -> describe.Gpus:
    monkeypatch.setattr(nvml, "load", lambda: library)
    answer = describe._ask_nvml()
    assert library.open == 0 or "nvmlShutdown" in library.failing
    return answer


def test_gpus_by_uuid(monkeypatch: pytest.MonkeyPatch) -> None:
    found, driver, problem = ask(monkeypatch, FakeLibrary())
    assert (driver, problem) == ("550.54.15", None)
    assert found[1] == {
        "uuid": "GPU-101",
        "name": "NVIDIA H100",
        "index": 1,
        "memory_total_bytes": 80 * GIB,
        "memory_used_bytes": 5 * GIB,
        "used_by": [
            {"pid": os.getpid(), "user": ME, "command": COMMAND, "memory_bytes": 3 * GIB},
            # It has ended meanwhile, or it is not for us to see.
            {"pid": NOBODY, "user": None, "command": None, "memory_bytes": None},
        ],
    }
    assert len(found) == 2


def test_a_lost_gpu_is_left_out_and_the_others_keep_their_index(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, _, problem = ask(monkeypatch, FakeLibrary(3, lost=1))
    assert [gpu["index"] for gpu in found] == [0, 2]
    assert problem is None


@pytest.mark.parametrize("versions", [("_v3",), ("_v3", "_v2")])
def test_who_computes_is_asked_of_old_drivers_too(
    monkeypatch: pytest.MonkeyPatch, versions: tuple[str, ...]
) -> None:
    library = FakeLibrary()
    for version in versions:
        library.failing[f"nvmlDeviceGetComputeRunningProcesses{version}"] = -1
    found, _, problem = ask(monkeypatch, library)
    assert problem is None
    assert len(found[1]["used_by"]) == 2


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless(_uid: int) -> Any:
        raise KeyError

    monkeypatch.setattr("jupyter_aiinfra.node.owners.pwd.getpwuid", nameless)
    found, _, _ = ask(monkeypatch, FakeLibrary())
    assert found[1]["used_by"][0]["user"] == str(os.getuid())


def test_memory_that_cannot_be_told_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _, _ = ask(monkeypatch, FakeLibrary(1, nvmlDeviceGetMemoryInfo=3))
    assert found[0]["memory_total_bytes"] is None


@pytest.mark.parametrize(
    ("failing", "problem"),
    [
        ({"nvmlInit_v2": 9}, "nvmlInit_v2 says the driver is not loaded"),
        ({"nvmlInit_v2": 18}, "library and driver are of different versions"),
        ({"nvmlInit_v2": 77}, "nvmlInit_v2 says error 77"),
        ({"nvmlDeviceGetCount_v2": -1}, "has no nvmlDeviceGetCount_v2: the driver is too old"),
        ({"nvmlSystemGetDriverVersion": 4}, "no permission"),
    ],
)
def test_what_is_wrong_with_the_driver_is_said(
    monkeypatch: pytest.MonkeyPatch, failing: dict[str, int], problem: str
) -> None:
    found, driver, said = ask(monkeypatch, FakeLibrary(**failing))
    assert (found, driver) == ([], None)
    assert said is not None
    assert problem in said


def test_no_library_in_the_child_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert describe._ask_nvml() == ([], None, "libnvidia-ml.so.1 cannot be loaded")


def test_an_absent_library_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(nvml, "LIBRARY", "libsurely-absent.so.1")
    assert nvml.load() is None


# --- GPUs: library in a child, else nvidia-smi, else none -------------------------------------


def answering(
    monkeypatch: pytest.MonkeyPatch,
    library: tuple[str | None, str | None],
    smi: str | None,
    apps: str | None = None,
) -> None:
    monkeypatch.setattr(nvml, "load", ctypes.c_int)  # there is something to ask
    monkeypatch.setattr(shutil, "which", lambda _: "nvidia-smi" if smi else None)

    def asked(argv: list[str]) -> tuple[str | None, str | None]:
        if argv[0] != "nvidia-smi":
            return library
        return (apps if "compute-apps" in argv[1] else smi), None

    monkeypatch.setattr(describe, "_asked", asked)


SMI = """0, GPU-a, NVIDIA A100, 81920, 1024, 535.1
1, GPU-b, NVIDIA GB10, [N/A], [N/A], 535.1
"""


def test_nvidia_smi_answers_where_the_library_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    apps = f"GPU-a, {os.getpid()}, 1024\nGPU-a, {NOBODY}, [N/A]\nGPU-z, 1, 2\nodd\n"
    answering(monkeypatch, (None, "died"), SMI, apps)
    found, driver, problem = describe.gpus()
    assert (driver, problem) == ("535.1", None)
    assert found == [
        {
            "uuid": "GPU-a",
            "name": "NVIDIA A100",
            "index": 0,
            "memory_total_bytes": 80 * GIB,
            "memory_used_bytes": GIB,
            "used_by": [
                {"pid": os.getpid(), "user": ME, "command": COMMAND, "memory_bytes": GIB},
                {"pid": NOBODY, "user": None, "command": None, "memory_bytes": None},
            ],
        },
        {
            "uuid": "GPU-b",
            "name": "NVIDIA GB10",
            "index": 1,
            "memory_total_bytes": None,
            "memory_used_bytes": None,
            "used_by": [],
        },
    ]


def test_nvidia_smi_that_has_no_devices_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, (None, "died"), "No devices were found\n")
    assert describe.gpus() == ([], None, "No devices were found")


def test_without_nvidia_smi_the_librarys_trouble_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, (json.dumps([[], None, "the driver is not loaded"]), None), None)
    assert describe.gpus() == ([], None, "the driver is not loaded")


def test_trouble_costs_the_gpus_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, (None, "died of signal 11"), None)
    found = describe.describe()
    assert (found["gpus"], found["gpu_problem"]) == ([], "died of signal 11")
    assert found["cpus"] >= 1
    assert found["python"]["packages"]


def process(**given: Any) -> Callable[..., SimpleNamespace]:
    ended = {"returncode": 0, "stdout": None, "stderr": None, "kill": lambda: None, **given}
    return lambda *args, **kwargs: SimpleNamespace(**ended)


@pytest.mark.parametrize(
    ("given", "output", "trouble"),
    [
        ({"communicate": lambda timeout: (b"x", b"")}, "x", None),
        (
            {"communicate": lambda timeout: (b"", b""), "returncode": -11},
            None,
            "the GPU driver's library died of signal 11",
        ),
        ({"communicate": lambda timeout: (b"", b"a\nno\n"), "returncode": 9}, None, "no"),
        ({"communicate": lambda timeout: (b"", b""), "returncode": 9}, None, "ask exits 9"),
    ],
)
def test_how_a_child_ends(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], output: str, trouble: str
) -> None:
    monkeypatch.setattr(subprocess, "Popen", process(**given))
    assert describe._asked(["ask"]) == (output, trouble)


def test_a_child_that_cannot_be_killed_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = []

    def stuck(timeout: float) -> None:
        waits.append(timeout)
        raise subprocess.TimeoutExpired("ask", timeout)

    pipe = io.BytesIO()
    monkeypatch.setattr(subprocess, "Popen", process(communicate=stuck, stdout=pipe))
    assert describe._asked(["ask"]) == (None, "the GPU driver did not answer within 20 s")
    assert waits == [20.0, 1.0]
    assert pipe.closed


def test_a_program_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*args: Any, **kwargs: Any) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(subprocess, "Popen", absent)
    assert describe._asked(["ask"]) == (None, "ask: No such file or directory")


def test_the_library_answers_first(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = {"uuid": "GPU-a", "name": "H100", "index": 0}
    answering(monkeypatch, (json.dumps([[gpu], "550.1", None]), None), SMI)
    assert describe.gpus() == ([gpu], "550.1", None)


def test_nvidia_smi_that_fails_leaves_the_first_trouble_to_be_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: "nvidia-smi")
    monkeypatch.setattr(describe, "_asked", lambda argv: (None, f"{argv[0]} exits 9"))
    assert describe.gpus() == ([], None, "nvidia-smi exits 9")


def test_the_child_prints_what_the_library_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert describe.main(["--gpus"]) == 0
    assert json.loads(capsys.readouterr().out) == [[], None, "libnvidia-ml.so.1 cannot be loaded"]


def test_where_there_is_no_proc_the_system_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(describe, "_read", lambda _: None)
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert describe.describe()["memory_total_bytes"] == physical
    monkeypatch.delattr(os, "sched_getaffinity")

    def refuse(_: str) -> int:
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(os, "sysconf", refuse)
    assert describe.describe()["memory_total_bytes"] is None


def test_a_file_system_that_cannot_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(shutil, "disk_usage", refuse)
    assert describe.describe()["disk_free_bytes"] is None
