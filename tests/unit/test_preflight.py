from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from jupyter_aiinfra.accelerate import LaunchOptions, launch_argv, launch_env
from jupyter_aiinfra.errors import PreflightError
from jupyter_aiinfra.model import (
    CaptureKind,
    EnvironmentSpec,
    FileRef,
    Finding,
    Gpu,
    Interpreter,
    JobKind,
    JobSpec,
    Manifest,
    ManifestItem,
    Node,
    Severity,
    TrackingSpec,
)
from jupyter_aiinfra.preflight import built, check, render, verdict

GB = 1000**3
PACKAGES = {"torch": "2.6.0", "accelerate": "1.15.0", "numpy": "2.1.0", "mlflow-skinny": "3.1.0"}
PYTHON = Interpreter(executable="/opt/py/bin/python", version="3.11.7", packages=PACKAGES)
KERNEL = dataclasses.replace(PYTHON, executable="/home/me/venv/bin/python")


def gpus(count: int) -> tuple[Gpu, ...]:
    return tuple(Gpu(uuid=f"GPU-{index}", name="H100", index=index) for index in range(count))


def node(name: str = "n0", **more: Any) -> Node:
    given = {"address": "10.0.0.1", "python": PYTHON, "max_procs": 8, **more}
    return Node(name=name, **given)


def spec(procs: int = 2, *, cpu: bool = True, nodes: int = 1, **more: Any) -> JobSpec:
    options = LaunchOptions(procs=procs, nodes=nodes, cpu=cpu)
    given = {
        "argv": launch_argv(options, python="/opt/py/bin/python", script="rank.py"),
        "env": launch_env(options, cpus=8),
        **more,
    }
    return JobSpec(kind=JobKind.TRAIN, name="job", procs=procs, nodes=nodes, **given)


def python(version: str = "3.11.7", without: Sequence[str] = (), **packages: str) -> Interpreter:
    kept = {name: value for name, value in PACKAGES.items() if name not in without}
    return dataclasses.replace(PYTHON, version=version, packages={**kept, **packages})


def only(findings: Sequence[Finding]) -> Finding:
    [finding] = findings
    return finding


ERROR, WARNING = Severity.ERROR, Severity.WARNING


def test_a_launch_that_can_work_has_no_findings() -> None:
    roomy = node(disk_free_bytes=100 * GB, memory_bytes=100 * GB, gpus=gpus(2))
    assert check(spec(), [roomy], kernel=KERNEL, imports={"numpy": ("numpy",), "os": ()}) == ()
    assert check(spec(cpu=False), [roomy]) == ()


# --- ranks and nodes -------------------------------------------------------------------------


def test_more_processes_than_gpus() -> None:
    found = only(check(spec(4, cpu=False), [node(gpus=gpus(2))]))
    assert (found.check, found.severity) == ("gpus", ERROR)
    assert found.message == "node n0: 4 processes asked for, and it has 2 GPUs"
    assert found.hint == "--procs 2, or --cpu to compute without GPUs"


def test_on_the_cpu_the_gpus_do_not_count() -> None:
    assert check(spec(4), [node(gpus=gpus(2))]) == ()
    assert check(spec(4, cpu=False), [node(gpus=gpus(2))], cpu=True) == ()


def test_a_node_without_gpus_among_those_of_a_gpu_job() -> None:
    found = only(check(spec(1, cpu=False, nodes=2), [node(gpus=gpus(1)), node("n1")]))
    assert found.message == "node n1: it has no GPU, and the job is to compute on GPUs"
    assert found.hint == "--cpu"


def test_more_ranks_than_a_node_allows() -> None:
    found = only(check(spec(9), [node()]))
    assert (found.check, found.severity) == ("procs", ERROR)
    assert found.message == "node n0: 9 processes asked for, and at most 8 are allowed"
    assert found.hint == "--procs 8, or attach the pool with --max-procs 9"
    assert check(spec(9), [node(max_procs=None)]) == ()


@pytest.mark.parametrize(
    ("names", "message", "hint"),
    [
        ([], "3 nodes asked for, and the pool has none", "%pool show tells why"),
        (["a", "b"], "3 nodes asked for, and the pool has 2: a, b", "--nodes 2"),
    ],
)
def test_more_nodes_than_the_pool_has(names: list[str], message: str, hint: str) -> None:
    found = only(check(spec(nodes=3), [node(name) for name in names]))
    assert (found.check, found.severity) == ("nodes", ERROR)
    assert (found.message, found.hint) == (message, hint)


def test_nodes_that_the_job_does_not_get_are_not_looked_at() -> None:
    assert check(spec(), [node(), node("n1", python=python(without=["torch"]))]) == ()


def test_what_is_wrong_with_many_nodes_is_one_line() -> None:
    bare = [node(f"n{index}", python=python(without=["torch"])) for index in range(64)]
    found = only(check(spec(nodes=64), bare))
    assert found.message == "nodes n0, n1, n2 and 61 more: no torch in /opt/py/bin/python"


def test_a_taken_port() -> None:
    found = only(check(spec(port=29500), [node()], taken_ports={29500}))
    assert (found.check, found.severity) == ("port", ERROR)
    assert found.message == "port 29500 is taken on n0"
    assert "--port" in found.hint
    assert check(spec(port=29501), [node()], taken_ports={29500}) == ()
    assert check(spec(), [node()], taken_ports={29500}) == ()


# --- room ------------------------------------------------------------------------------------

FILES = (FileRef(digest="a", size_bytes=2 * GB), FileRef(digest="b", size_bytes=GB))


@pytest.mark.parametrize(
    ("free", "severity", "words"),
    [
        (0, ERROR, "the disk is full, and 3 GB are to be sent"),
        (GB, ERROR, "the disk is 1 GB free, and 3 GB are to be sent"),
        (3 * GB + 1000, WARNING, "the disk will have 1 kB left"),
    ],
)
def test_too_little_disk(free: int, severity: Severity, words: str) -> None:
    found = only(check(spec(files=FILES), [node(disk_free_bytes=free)]))
    assert (found.check, found.severity) == ("disk", severity)
    assert found.message.startswith(f"node n0: {words}")
    assert found.hint


def test_what_is_there_already_needs_no_room() -> None:
    disk = node(disk_free_bytes=GB)
    assert check(spec(files=FILES), [disk], missing_bytes=10) == ()
    assert check(spec(files=FILES), [node(disk_free_bytes=None)]) == ()
    margin = only(check(spec(), [disk], missing_bytes=0, disk_margin_bytes=2 * GB))
    assert margin.severity is WARNING
    full = only(check(spec(), [node(disk_free_bytes=0)], missing_bytes=0, disk_margin_bytes=1))
    assert full.severity is ERROR


def test_data_of_all_ranks_beyond_the_memory_is_a_warning() -> None:
    big = spec(4, manifest=Manifest(size_bytes=3 * GB))
    found = only(check(big, [node(memory_bytes=64 * GB)], free_memory_bytes={"n0": 8 * GB}))
    assert (found.check, found.severity) == ("memory", WARNING)
    assert "4 processes with 3 GB of data each, and 8 GB of memory are free" in found.message
    assert only(check(big, [node(memory_bytes=8 * GB)])).check == "memory"
    assert check(big, [node(memory_bytes=64 * GB)]) == ()
    assert check(big, [node()]) == ()


# --- Python and packages ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("missing", "hint"),
    [
        ("torch", "/opt/py/bin/python -m pip install torch"),
        ("accelerate", "/opt/py/bin/python -m pip install 'accelerate>=1.0'"),
    ],
)
def test_what_every_launch_needs(missing: str, hint: str) -> None:
    bare = node(python=python(without=[missing]))
    found = only(check(spec(), [bare], imports={missing: (missing,)}))
    assert (found.check, found.severity) == (missing, ERROR)
    assert found.message == f"node n0: no {missing} in /opt/py/bin/python"
    assert found.hint == hint


def test_a_job_that_accelerate_does_not_start_needs_neither() -> None:
    bare = node(python=python(without=["torch", "accelerate"]))
    assert check(spec(argv=("python", "notebook.py")), [bare]) == ()


@pytest.mark.parametrize(("version", "old"), [("0.34.2", True), ("1.0.0rc1", False), ("1", False)])
def test_an_old_accelerate(version: str, old: bool) -> None:
    findings = check(spec(), [node(python=python(accelerate=version))])
    said = f"node n0: accelerate {version} in /opt/py/bin/python is older than 1.0"
    assert [found.message for found in findings] == ([said] if old else [])


def test_the_pip_line_can_be_pasted() -> None:
    spaced = dataclasses.replace(python(without=["torch"]), executable="/my envs/bin/python")
    assert only(check(spec(), [node(python=spaced)])).hint == (
        "'/my envs/bin/python' -m pip install torch"
    )


def test_a_python_too_old_for_the_node_side() -> None:
    found = only(check(spec(), [node(python=python("3.7.16"))]))
    assert (found.check, found.severity) == ("python", ERROR)
    assert "/opt/py/bin/python is Python 3.7.16, and jobs need 3.8" in found.message


def test_a_python_nothing_is_known_of() -> None:
    found = only(check(spec(), [node(python=None)]))
    assert (found.check, found.severity) == ("python", WARNING)


def test_tracking_needs_mlflow_in_any_of_its_forms() -> None:
    tracked = spec(tracking=TrackingSpec(uri="http://user:secret@host"))
    assert check(tracked, [node()]) == ()
    bare = node(python=python(without=["mlflow-skinny"]))
    assert check(spec(), [bare]) == ()
    found = only(check(tracked, [bare], imports={"mlflow": ("mlflow",)}))
    assert (found.check, found.severity) == ("mlflow", ERROR)
    assert found.hint == "/opt/py/bin/python -m pip install mlflow, or --no-mlflow"
    assert "secret" not in found.message


# --- versions that differ --------------------------------------------------------------------


def entry(name: str = "model", *, portable: bool = False, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "type": "Net",
        "portable": portable,
        "packages": [],
        "route": "data",
        **more,
    }


def manifest(*entries: Mapping[str, Any], **packages: str) -> dict[str, Any]:
    header = {"python": "3.11.7", "implementation": "CPython", "packages": packages}
    return {**header, "variables": list(entries)}


def test_pickled_data_does_not_cross_python_versions() -> None:
    found = only(
        check(
            spec(),
            [node(python=python("3.12.1"))],
            kernel=KERNEL,
            variables=manifest(entry("model"), entry("x", portable=True)),
        )
    )
    assert (found.check, found.severity) == ("data", ERROR)
    assert "`model` (Net): made by Python 3.11.7, to be opened by Python 3.12.1" in found.message
    assert "`x`" not in found.message
    assert "one Python on both sides" in found.hint


def test_plain_data_does_and_the_code_is_warned_of() -> None:
    found = only(
        check(
            spec(),
            [node(python=python("3.12.1"))],
            kernel=KERNEL,
            variables=manifest(entry(portable=True)),
        )
    )
    assert (found.check, found.severity) == ("python", WARNING)
    assert found.message == (
        "node n0: the code was written under Python 3.11 and runs under Python 3.12"
    )
    assert "--python PATH of Python 3.11" in found.hint


def test_another_patch_release_is_the_same_python() -> None:
    patch = node(python=python("3.11.2"))
    assert check(spec(), [patch], kernel=KERNEL, variables=manifest(entry())) == ()


def test_another_implementation_is_another_python() -> None:
    pypy = dataclasses.replace(PYTHON, implementation="PyPy")
    found = only(check(spec(), [node(python=pypy)], kernel=KERNEL))
    assert "runs under PyPy 3.11" in found.message


TENSOR = Manifest(items=(ManifestItem(name="w", kind=CaptureKind.TENSOR, type="Tensor"),))


@pytest.mark.parametrize(
    "travelling",
    [
        {"manifest": TENSOR},
        {"variables": manifest(entry(portable=True, route="tensor"))},
        {"variables": manifest(entry(portable=True, packages=["torch"]))},
    ],
)
def test_tensors_into_another_torch_are_a_warning(travelling: dict[str, Any]) -> None:
    given = spec(**{k: v for k, v in travelling.items() if k == "manifest"})
    other = node(python=python(torch="2.5.1+cu121"))
    found = only(check(given, [other], kernel=KERNEL, variables=travelling.get("variables")))
    assert (found.check, found.severity) == ("torch", WARNING)
    assert found.message == "node n0: tensors or modules of torch 2.6.0 travel to torch 2.5.1+cu121"
    assert found.hint == "/opt/py/bin/python -m pip install torch==2.6.0"


def test_another_torch_does_not_matter_where_no_tensor_travels() -> None:
    assert check(spec(), [node(python=python(torch="2.5.1"))], kernel=KERNEL) == ()
    patch = node(python=python(torch="2.6.9"))
    assert check(spec(manifest=TENSOR), [patch], kernel=KERNEL) == ()


def test_a_pickled_object_needs_the_version_it_was_made_with() -> None:
    variables = manifest(entry(packages=["sklearn"]), sklearn="1.4.0")
    imports = {"sklearn": ("scikit-learn",)}
    other = {"scikit-learn": "1.5.0"}
    found = only(
        check(spec(), [node(python=python(**other))], variables=variables, imports=imports)
    )
    assert (found.check, found.severity) == ("data", ERROR)
    assert "made with sklearn 1.4.0, to be opened with sklearn 1.5.0" in found.message
    none = check(spec(), [node()], variables=variables, imports=imports)
    assert [finding.check for finding in none] == ["data", "imports"]
    assert "to be opened with no sklearn" in none[0].message
    assert check(spec(), [node()], variables=variables) == ()  # who knows what brings sklearn


# --- imports ---------------------------------------------------------------------------------


def imported(imports: Mapping[str, Sequence[str]], **packages: str) -> tuple[Finding, ...]:
    return check(spec(), [node(python=python(**packages))], imports=imports)


def test_a_missing_package_is_named_by_what_pip_calls_it() -> None:
    found = only(imported({"bs4": ("beautifulsoup4",)}))
    assert (found.check, found.severity) == ("imports", ERROR)
    assert found.message == (
        "node n0: the code imports bs4, and /opt/py/bin/python has no beautifulsoup4 or bs4"
    )
    assert found.hint == "/opt/py/bin/python -m pip install beautifulsoup4"


@pytest.mark.parametrize(
    ("imports", "packages"),
    [
        ({"os": (), "json": ()}, {}),
        ({"pandas": ("pandas",)}, {"pandas": "2.2"}),
        ({"ruamel_yaml": ()}, {"ruamel-yaml": "1"}),
        ({"cv2": ("opencv-python",)}, {"opencv-python-headless": "4.9"}),
        ({"PIL": ()}, {"pillow": "11"}),
        ({"google": ("google-auth", "protobuf")}, {"protobuf": "5"}),
    ],
)
def test_what_is_there_under_any_of_its_names(
    imports: Mapping[str, Sequence[str]], packages: Mapping[str, str]
) -> None:
    assert imported(imports, **packages) == ()


def test_a_module_of_unknown_origin_is_a_warning_at_most() -> None:
    found = only(imported({"mystery": ()}))
    assert (found.check, found.severity) == ("imports", WARNING)
    assert "pip" not in found.hint


def test_a_relative_of_the_missing_package_makes_it_a_warning() -> None:
    imports = {"cupy": ("cupy-cuda12x",)}
    assert only(imported(imports)).severity is ERROR
    assert only(imported(imports, **{"cupy-cuda11x": "13.0"})).severity is WARNING


def test_the_notebooks_own_python_imports_what_the_notebook_imports() -> None:
    here = node(address="127.0.0.1")
    assert check(spec(), [here], kernel=PYTHON, imports={"mine": ("mine",)}) == ()
    elsewhere = node()
    assert check(spec(), [elsewhere], kernel=PYTHON, imports={"mine": ("mine",)}) != ()


# --- what is said ----------------------------------------------------------------------------


def finding(severity: Severity, name: str = "disk", hint: str = "make room") -> Finding:
    return Finding(check=name, severity=severity, message=f"about {name}", hint=hint)


def test_errors_come_first() -> None:
    findings = check(
        spec(files=FILES), [node(disk_free_bytes=3 * GB, python=python(without=["torch"]))]
    )
    assert [found.severity for found in findings] == [ERROR, WARNING]


def test_warnings_stop_nothing() -> None:
    verdict([])
    verdict([finding(WARNING), finding(Severity.OK)])


def test_one_error_speaks_for_itself() -> None:
    findings = [finding(ERROR), finding(WARNING, "memory")]
    with pytest.raises(PreflightError) as caught:
        verdict(findings)
    assert (caught.value.message, caught.value.hint) == ("about disk", "make room")
    assert caught.value.findings == tuple(findings)


def test_several_errors_are_a_line_each_with_its_fix() -> None:
    with pytest.raises(PreflightError) as caught:
        verdict([finding(ERROR), finding(ERROR, "accelerate", "pip"), finding(WARNING, "memory")])
    assert caught.value.message == (
        "2 things stop the launch\n"
        "error  disk        about disk -> make room\n"
        "error  accelerate  about accelerate -> pip"
    )


def test_render() -> None:
    assert render([]) == ""
    assert render([finding(WARNING, hint="")]) == "warning  disk  about disk"


# --- environments of their own ---------------------------------------------------------------


def env_spec(kind: str = "requirements", source: str = "requirements.txt", **more: Any) -> JobSpec:
    environment = EnvironmentSpec(kind=kind, digest="a" * 64, source=source)
    return spec(environment=environment, **more)


BARE = node(python=python(without=list(PACKAGES)))
NAMED: dict[str, str | None] = {"torch": "2.6.0", "accelerate": "1.15.0"}


def test_with_an_environment_the_packages_of_the_nodes_python_do_not_count() -> None:
    assert check(env_spec(), [BARE], kernel=KERNEL, locked=NAMED, imports={"numpy": ()}) == ()
    assert check(env_spec(), [BARE], locked={"accelerate": None}) == ()  # it asks for torch
    found = check(env_spec("uv", "uv.lock"), [node()], locked={}, locked_complete=True)
    assert [(f.severity, f.message, f.hint) for f in found] == [
        (
            ERROR,
            "node n0: no torch in uv.lock",
            "add torch to uv.lock, and lock it again",
        ),
        (
            ERROR,
            "node n0: no accelerate in uv.lock",
            "add accelerate>=1.0 to uv.lock, and lock it again",
        ),
    ]


def test_what_a_requirements_file_does_not_name_may_still_come() -> None:
    found = check(env_spec(), [BARE], locked={"trl": "0.9"})
    assert [(f.severity, f.check) for f in found] == [(WARNING, "torch"), (WARNING, "accelerate")]
    assert found[1].message == "node n0: accelerate is not named in requirements.txt"
    assert found[1].hint == "add accelerate to requirements.txt, unless another package brings it"
    old = only(check(env_spec(), [BARE], locked={**NAMED, "accelerate": "0.30"}))
    assert (old.severity, old.hint) == (ERROR, "add accelerate>=1.0 to requirements.txt")


def test_what_was_built_must_have_what_the_job_needs() -> None:
    made = python(without=["accelerate"])
    found = only(built(env_spec(), BARE, made))
    assert (found.severity, found.message) == (ERROR, "node n0: no accelerate in requirements.txt")
    assert built(env_spec(), BARE, PYTHON) == ()


def test_imports_that_a_complete_lock_lacks() -> None:
    lacking = check(
        env_spec("uv", "uv.lock"),
        [node()],
        locked=NAMED,
        locked_complete=True,
        imports={"numpy": ("numpy",), "torch": ("torch",)},
    )
    assert only(lacking).message == "node n0: the code imports numpy, and uv.lock has no numpy"
    assert only(lacking).severity is ERROR


def test_versions_of_the_lock_are_held_against_the_kernel() -> None:
    tensors = {
        "versions": {"python": "3.11.7", "packages": {"torch": "2.6.0"}},
        "variables": [{"name": "t", "route": "tensor", "packages": ["torch"], "portable": True}],
    }
    found = only(
        check(
            env_spec(),
            [BARE],
            kernel=KERNEL,
            locked={**NAMED, "torch": "2.4.1"},
            variables=tensors,
        )
    )
    assert found.message == "node n0: tensors or modules of torch 2.6.0 travel to torch 2.4.1"
    assert found.hint == "add torch==2.6.0 to requirements.txt"
    unknown = {**NAMED, "torch": None}
    assert check(env_spec(), [BARE], kernel=KERNEL, locked=unknown, variables=tensors) == ()


def test_pickled_data_against_what_the_environment_will_have() -> None:
    pickled = {
        "versions": {"python": "3.11.7", "packages": {"numpy": "2.1.0"}},
        "variables": [
            {"name": "t", "type": "T", "route": "pickle", "packages": ["numpy"], "portable": False}
        ],
    }
    more: dict[str, Any] = {"variables": pickled, "imports": {"numpy": ("numpy",)}}
    newer = check(env_spec(), [BARE], locked={**NAMED, "numpy": "1.26"}, **more)
    assert "made with numpy 2.1.0, to be opened with numpy 1.26" in only(newer).message
    assert check(env_spec(), [BARE], locked={**NAMED, "numpy": None}, **more) == ()
    assert check(env_spec(), [BARE], locked=NAMED, **more) == ()


@pytest.mark.parametrize(
    ("pin", "differs"), [(None, False), ("3.11", False), ("3.12.1", True), ("3", False)]
)
def test_conda_brings_a_python_of_its_own(pin: str | None, differs: bool) -> None:
    locked = {"python": pin, "pytorch": "2.6.0", "accelerate": None}
    old = node(python=python("3.9.1"))
    found = check(env_spec("conda", "environment.yml"), [old], kernel=KERNEL, locked=locked)
    assert [f.check for f in found] == ["python"] * differs


@pytest.mark.parametrize(("mib", "severity"), [(90, None), (200, WARNING), (2100, ERROR)])
def test_the_size_of_local_modules(mib: int, severity: Severity | None) -> None:
    files = (
        FileRef(digest="a", size_bytes=(mib - 1) << 20, path="src/mine/weights.bin"),
        FileRef(digest="b", size_bytes=1 << 20, path="src/mine/table.csv"),
        FileRef(digest="c", size_bytes=8 << 30, path=None),
    )
    found = check(spec(files=files), [node()])
    assert [f.severity for f in found] == ([severity] if severity else [])
    if severity:
        assert "the largest are mine/weights.bin (" in found[0].message
        assert ".aiinfraignore" in found[0].hint
