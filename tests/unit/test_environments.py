"""What ``--env`` reads: kinds, includes, local packages, secrets, and the digest."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.environments import (
    BuildStep,
    build,
    locked_packages,
    parse_requirements,
    read_environment,
    remove,
    survey,
)
from jupyter_aiinfra.errors import NotFound, PoolError, StorageFull, UsageError
from jupyter_aiinfra.model import EnvironmentSpec
from jupyter_aiinfra.shell import LocalShell

LOCK = """
version = 1
requires-python = ">=3.10"

[[package]]
name = "mine"
version = "0.1.0"
source = { editable = "." }

[[package]]
name = "Torch_X"
version = "2.5"
source = { registry = "https://pypi.org/simple" }
"""
PROJECT = """
[project]
name = "mine"
version = "0.1.0"
dependencies = ["torch-x"]
"""
CONDA = """
name: mine   # a name
channels:
  - conda-forge
prefix: /home/me/envs/mine
dependencies:
  - python=3.11
  - conda-forge::pytorch>=2.2
  - pip:
      - accelerate==1.2.0
"""


def write(folder: Path, files: Mapping[str, str | bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        (folder / name).write_bytes(data)


def read(
    folder: Path, text: str, name: str = "requirements.txt"
) -> tuple[EnvironmentSpec, Mapping[str, bytes]]:
    write(folder, {name: text})
    spec, files = read_environment(name, folder)
    assert spec is not None
    return spec, files


@pytest.mark.parametrize("value", [None, "current"])
def test_the_current_environment_is_none_of_ours(value: str | None, tmp_path: Path) -> None:
    assert read_environment(value, tmp_path) == (None, {})


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a\n\n# c\n b # d\n", [(1, "a"), (4, "b")]),
        ("a==1 \\\n  --hash=x \\\n  --hash=y\nb", [(1, "a==1 --hash=x --hash=y"), (4, "b")]),
        ("a @ https://h/x#egg=a", [(1, "a @ https://h/x#egg=a")]),
        ("a \\", [(1, "a")]),
        ("", []),
    ],
)
def test_lines_are_what_pip_reads(text: str, lines: list[tuple[int, str]]) -> None:
    assert parse_requirements(text) == lines


def test_requirements_travel_without_comments(tmp_path: Path) -> None:
    spec, files = read(tmp_path, "# mine\r\ntorch==2.5 # why\r\n--index-url https://h/simple\r\n")
    assert files == {"env/requirements.txt": b"torch==2.5\n--index-url https://h/simple\n"}
    assert (spec.kind, spec.source, spec.files) == (
        "requirements",
        "requirements.txt",
        ("env/requirements.txt",),
    )
    assert len(spec.digest) == 64


def test_the_digest_is_that_of_the_content(tmp_path: Path) -> None:
    first, _ = read(tmp_path, "torch\naccelerate\n")
    assert read(tmp_path, "# x\ntorch  \n\naccelerate", "other.txt")[0].digest == first.digest
    assert read(tmp_path, "torch\n")[0].digest != first.digest
    write(tmp_path, {"base.txt": "six"})
    with_base = read(tmp_path, "-r base.txt")[0].digest
    write(tmp_path, {"base.txt": "six==1"})
    assert read(tmp_path, "-r base.txt")[0].digest != with_base


def test_includes_come_along_under_names_of_their_own(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "base.txt": "-rsub/more.txt\n-c limits.txt",
            "sub/more.txt": "-r ../base.txt\nsix",
            "limits.txt": "six<2",
        },
    )
    _, files = read(tmp_path, "-r base.txt\n--requirement=base.txt\n--constraint limits.txt\n")
    assert {name: data.decode() for name, data in files.items()} == {
        "env/requirements.txt": "--requirement 1-base.txt\n--requirement 1-base.txt\n"
        "--constraint 3-limits.txt\n",
        "env/1-base.txt": "--requirement 2-more.txt\n--constraint 3-limits.txt\n",
        "env/2-more.txt": "--requirement 1-base.txt\nsix\n",
        "env/3-limits.txt": "six<2\n",
    }


def test_local_wheels_come_along(tmp_path: Path) -> None:
    wheel = "dist/tiny-1.0-py3-none-any.whl"
    write(tmp_path, {wheel: b"w", "dist/more-2.tar.gz": b"s", "dist/notes.md": b"n"})
    lines = [
        f"./{wheel}",
        f"dist/{Path(wheel).name}[all] ; python_version > '3'",
        f"tiny @ file://{tmp_path}/{wheel}",
        "--find-links dist",
        "-f /nowhere/on/this/machine",
        "-f https://h/x",
        "six",
    ]
    spec, files = read(tmp_path, "\n".join(lines))
    assert files["env/requirements.txt"].decode().splitlines() == [
        "./wheels/tiny-1.0-py3-none-any.whl",
        "./wheels/tiny-1.0-py3-none-any.whl[all] ; python_version > '3'",
        "./wheels/tiny-1.0-py3-none-any.whl",
        "--find-links wheels",
        "--find-links /nowhere/on/this/machine",
        "-f https://h/x",
        "six",
    ]
    assert files["env/wheels/tiny-1.0-py3-none-any.whl"] == b"w"
    assert "env/wheels/notes.md" not in files
    assert locked_packages(spec, files).packages == {"tiny": "1.0", "six": None}


@pytest.mark.parametrize(
    ("line", "said", "hint"),
    [
        ("-e .", "requirements.txt:2: '-e .' is a folder of this machine", "travel with each job"),
        ("--editable=../lib", "is a folder of this machine", "make a wheel"),
        (".", "requirements.txt:2: '.' is a folder", "make a wheel"),
        ("mine @ file:///tmp", "is a folder of this machine", "make a wheel"),
        ("-r gone.txt", "requirements.txt:2: gone.txt does not exist", "leave it out"),
        ("./gone.whl", "requirements.txt:2: ./gone.whl does not exist", "leave it out"),
        ("--find-links gone", "requirements.txt:2: gone is no folder", "leave it out"),
        ("./requirements.txt", "is no wheel and no source archive", ""),
    ],
)
def test_what_only_this_machine_has_is_refused(
    tmp_path: Path, line: str, said: str, hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, f"six\n{line}\n")
    assert said in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://me:hush@h/simple",
        "--extra-index-url https://hush@h/simple",
        "a @ git+https://hush:x-oauth-basic@github.com/a/b",
        "# https://hush@h",
        "-f https://conda.h/t/hush/channel",
    ],
)
def test_secrets_are_refused_and_not_repeated(tmp_path: Path, line: str) -> None:
    with pytest.raises(UsageError, match=r"requirements.txt:2 has a user name, password") as caught:
        read(tmp_path, f"six\n{line}\n")
    assert "hush" not in f"{caught.value} {caught.value.hint}"
    assert "netrc" in caught.value.hint


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://${TOKEN}@h/simple",
        "--index-url https://me:${TOKEN}@h/simple",
        "a @ git+ssh://git@github.com/a/b@v1",
        "a @ https://h/a@1.0/x.whl",
    ],
)
def test_what_tells_no_secret_is_left_alone(tmp_path: Path, line: str) -> None:
    assert read(tmp_path, line)[1]["env/requirements.txt"].decode() == f"{line}\n"


@pytest.mark.parametrize("name", ["uv.lock", "pyproject.toml"])
def test_a_uv_project_is_its_lock_and_what_it_locks(tmp_path: Path, name: str) -> None:
    write(tmp_path, {"uv.lock": LOCK, "pyproject.toml": PROJECT})
    spec, files = read_environment(name, tmp_path)
    assert spec is not None
    assert set(files) == {"env/uv.lock", "env/pyproject.toml"} == set(spec.files)
    locked = locked_packages(spec, files)
    assert locked.complete
    assert locked.packages == {"mine": "0.1.0", "torch-x": "2.5"}
    # Neither a linter's settings nor line ends make another environment.
    write(tmp_path, {"pyproject.toml": PROJECT.replace("\n", "\r\n") + "[tool.ruff]\nselect=[]\n"})
    again, _ = read_environment(name, tmp_path)
    assert again is not None
    assert again.digest == spec.digest
    write(tmp_path, {"pyproject.toml": PROJECT + "[tool.uv]\nindex-url='https://h'\n"})
    other, _ = read_environment(name, tmp_path)
    assert other is not None
    assert other.digest != spec.digest


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"uv.lock": LOCK}, "has no pyproject.toml beside it"),
        ({"pyproject.toml": PROJECT}, "there is no uv.lock beside"),
        ({"uv.lock": "[", "pyproject.toml": PROJECT}, "is not valid TOML"),
        (
            {
                "uv.lock": LOCK + '[[package]]\nname="lib"\nsource={directory="../lib"}',
                "pyproject.toml": PROJECT,
            },
            "lib comes from ../lib on this machine",
        ),
        (
            {
                "uv.lock": LOCK + '[[package]]\nname="lib"\nsource={registry="dist"}',
                "pyproject.toml": PROJECT,
            },
            "lib comes from dist on this machine",
        ),
        (
            {"uv.lock": LOCK, "pyproject.toml": PROJECT + '[tool.uv]\nindex-url="https://a:b@h"'},
            "pyproject.toml:7 has a user name",
        ),
    ],
)
def test_a_uv_project_that_cannot_be_built(
    tmp_path: Path, files: Mapping[str, str], said: str
) -> None:
    write(tmp_path, files)
    with pytest.raises(UsageError, match=said):
        read_environment(next(iter(files)), tmp_path)


def test_a_conda_environment_loses_its_name(tmp_path: Path) -> None:
    spec, files = read(tmp_path, CONDA, "environment.yml")
    text = files["env/environment.yml"].decode()
    assert "name" not in text
    assert "prefix" not in text
    assert locked_packages(spec, files).packages == {
        "conda-forge": None,
        "python": "3.11",
        "pytorch": None,
        "pip": None,
        "accelerate": "1.2.0",
    }
    other = CONDA.replace("name: mine   # a name", "name: other")
    assert read(tmp_path, other, "environment.yml")[0].digest == spec.digest
    for bad in ("-e .", "-r requirements.txt", "./x.whl"):
        with pytest.raises(UsageError, match="is a file of this machine"):
            read(tmp_path, f"{CONDA}      - {bad}\n", "environment.yml")
    with pytest.raises(UsageError, match="has no dependencies"):
        read(tmp_path, "channels: []", "environment.yml")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("gone.txt", "there is no such file"),
        ("poetry.lock", "cannot tell what poetry.lock is"),
        ("binary.txt", "is not UTF-8 text"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, value: str, said: str) -> None:
    write(tmp_path, {"poetry.lock": "x", "binary.txt": b"\xff\xfe\x00"})
    with pytest.raises(UsageError, match=said):
        read_environment(value, tmp_path)


def test_two_wheels_of_one_name_cannot_be_told_apart(tmp_path: Path) -> None:
    write(tmp_path, {"a/x-1-py3-none-any.whl": b"a", "b/x-1-py3-none-any.whl": b"b"})
    with pytest.raises(UsageError, match="two files called x-1"):
        read(tmp_path, "./a/x-1-py3-none-any.whl\n./b/x-1-py3-none-any.whl")


# --- on a node -----------------------------------------------------------------------------------

SPEC = EnvironmentSpec(kind="requirements", digest="a" * 64, source="r.txt", files=("env/r.txt",))
MARKER = {
    "digest": "a" * 64,
    "folder": "/envs/aaaa",
    "reused": False,
    "kind": "requirements",
    "source": "r.txt",
    "tool": "pip",
    "python": {
        "executable": "/envs/aaaa/bin/python",
        "version": "3.11.7",
        "packages": {"A_b": "1"},
    },
}


class Said(LocalShell):
    """A shell on which the far end says what it is told to."""

    def __init__(self, *messages: Any, noise: str = "", cut: bool = False) -> None:
        super().__init__()
        self._messages = messages
        self._noise = noise
        self._cut = cut
        self.stdin = b""
        self.argv: Sequence[str] = ()

    async def stream(self, argv: Sequence[str], *, stdin: bytes = b"") -> AsyncIterator[bytes]:
        self.argv, self.stdin = argv, stdin
        token = argv[6]
        lines = [self._noise, f"<<{token}", *(json.dumps(m) for m in self._messages)]
        text = "\n".join([*lines, *([] if self._cut else [f"{token}>>"]), ""])
        for at in range(0, len(text), 7):
            yield text[at : at + 7].encode()


async def steps(shell: Said) -> list[BuildStep]:
    built = build(shell, python="py", envs="~/envs", spec=SPEC, files={"env/r.txt": b"six\n"})
    return [step async for step in built]


async def test_a_build_tells_how_far_it_is() -> None:
    progress = {
        "phase": "installing",
        "elapsed": 2.5,
        "done": 1,
        "total": 3,
        "line": "Collecting x",
    }
    shell = Said(progress, {"built": MARKER}, noise="Welcome to gpu1")
    first, last = await steps(shell)
    assert first.text == "environment: installing 1 of 3 packages, 2 s: Collecting x"
    assert last.text == "environment built (2.5 s)"
    assert last.built is not None
    assert last.built.python == "/envs/aaaa/bin/python"
    assert last.built.packages == {"a-b": "1"}
    order, _, rest = shell.stdin.partition(b"\n")
    assert json.loads(order)["files"] == [["r.txt", 4]]
    assert rest == b"six\n"
    assert shell.argv[-2:] == [shell.argv[6], "~/envs"]


@pytest.mark.parametrize(
    ("shell", "error", "said"),
    [
        (Said(cut=True), PoolError, "was cut off"),
        (Said(), PoolError, "built no environment"),
        (
            Said(
                {"failed": {"message": "pip failed", "hint": "h", "tail": ["no x"], "full": None}}
            ),
            PoolError,
            "pip failed\n  no x",
        ),
        (
            Said({"failed": {"message": "no room", "hint": "", "tail": [], "full": ["/e", 1000]}}),
            StorageFull,
            "no room in /e: 1,000 bytes are free",
        ),
    ],
)
async def test_a_build_that_fails_says_why(shell: Said, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        await steps(shell)


async def test_environments_are_listed_and_removed() -> None:
    entry = {**MARKER, "whole": True, "size_bytes": 5}
    (found,) = await survey(Said(entry), python="py", envs="e")
    assert (found.digest, found.size_bytes, found.whole) == ("a" * 64, 5, True)
    half = {"digest": "b" * 20, "folder": "/e/b", "whole": False}
    (gone,) = await remove(Said(half), python="py", envs="e", digest="bbbb")
    assert (gone.whole, gone.python) == (False, None)
    failed: dict[str, Any] = {
        "message": "no environment 'x' in e",
        "hint": "",
        "tail": [],
        "full": None,
    }
    with pytest.raises(NotFound, match="no environment"):
        await remove(Said({"failed": failed}), python="py", envs="e", digest="x")
