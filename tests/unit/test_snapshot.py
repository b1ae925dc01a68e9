"""What is frozen of a notebook is what it needs, and the same things have the same digest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.bundle import keep, stored
from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.model import from_wire, to_wire
from jupyter_aiinfra.promote.snapshot import INPUT, Snapshot, check_notebook, differences, freeze
from tests.support.notebooks import notebook_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".gitignore").write_text("*.log\nbig/\n")
    (tmp_path / "data" / "deep").mkdir(parents=True)
    for name in ("data/a.csv", "data/b.log", "data/deep/c.csv", "helper.py", "unused.py"):
        (tmp_path / name).write_text(name)
    (tmp_path / "helper.py").write_text("import second_helper\n")
    (tmp_path / "second_helper.py").write_text("x = 1\n")
    write(tmp_path, "%matplotlib inline\nimport helper, json", "!ls", "not python (")
    return tmp_path


def write(folder: Path, *cells: str, **how: Any) -> Path:
    path = folder / "nb.ipynb"
    path.write_text(json.dumps(notebook_of(*cells, **how)))
    return path


def paths(snapshot: Snapshot) -> list[str]:
    return sorted(
        file.path.removeprefix("work/")
        for file in snapshot.files
        if file.path and file.path.startswith("work/")
    )


def test_modules_travel_and_what_is_asked_for_but_for_ignored_files(folder: Path) -> None:
    snapshot, _ = freeze(folder / "nb.ipynb")
    assert paths(snapshot) == ["helper.py", "second_helper.py"]
    snapshot, bundle = freeze(folder / "nb.ipynb", files=("data",), modules=False)
    assert paths(snapshot) == ["data/a.csv", "data/deep/c.csv"]
    assert snapshot.left_out == ("data/b.log",)
    assert snapshot.size_bytes == bundle.size_bytes
    assert snapshot.kernel == "python3"
    snapshot, _ = freeze(folder / "nb.ipynb", files=("data/*.csv", "unused.py"), modules=False)
    assert paths(snapshot) == ["data/a.csv", "unused.py"]


def test_it_is_kept_by_digest_and_is_the_same_again(folder: Path, tmp_path: Path) -> None:
    first, bundle = freeze(folder / "nb.ipynb", files=("data",))
    keep(bundle, blobs=tmp_path / "blobs")
    again, _ = freeze(folder / "nb.ipynb", files=("data",))
    assert again.digest == first.digest
    kept = from_wire(json.loads(json.dumps(to_wire(first))), Snapshot)
    assert kept == first
    (folder / "nb.ipynb").unlink()
    back = stored(kept.files, blobs=tmp_path / "blobs")
    (notebook,) = [file for file in back.files if file.path == INPUT]
    assert json.loads(b"".join(notebook.read()))["nbformat"] == 4


def test_differences_are_named(folder: Path) -> None:
    first, _ = freeze(folder / "nb.ipynb", files=("data",))
    write(folder, "import helper", kernel="ir")
    (folder / "data" / "a.csv").unlink()
    (folder / "data" / "d.csv").write_text("new")
    (folder / "second_helper.py").write_text("x = 2\n")
    second, _ = freeze(folder / "nb.ipynb", files=("data",))
    assert second.digest != first.digest
    assert differences(first, second) == [
        "changed notebook/input.ipynb",
        "removed data/a.csv",
        "added data/d.csv",
        "changed second_helper.py",
        "kernel python3 -> ir",
    ]
    assert differences(first, first) == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("missing.csv", "there is no missing.csv"),
        ("*.none", r"there is no \*\.none"),
        ("/etc/passwd", "does not lie beside the notebook"),
        ("../other", "does not lie beside the notebook"),
    ],
)
def test_files_that_cannot_be_are_named(folder: Path, asked: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        freeze(folder / "nb.ipynb", files=(asked,))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "it is no JSON"),
        ("[]", "does not say its nbformat"),
        ('{"nbformat": 2, "cells": []}', "of notebook format 2"),
        ('{"nbformat": 4}', "has no list of cells"),
        ('{"nbformat": 4, "cells": [], "metadata": {}}', "names no kernel"),
        ('{"nbformat": 4, "cells": [], "metadata": null}', "names no kernel"),
    ],
)
def test_what_is_no_notebook_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        check_notebook(text, name="nb.ipynb")
    if "no kernel" in said:
        assert check_notebook(text, name="nb.ipynb", kernel="python3")["nbformat"] == 4


def test_a_token_in_a_cell_is_said(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    token = "ghp_" + "a1B2" * 9
    snapshot, _ = freeze(write(tmp_path, "1", f"token = '{token}'"))
    (said,) = snapshot.warnings
    assert "GitHub token in the source of cell 2" in said
    assert token not in said
    assert freeze(write(tmp_path, "1"))[0].warnings == ()


def test_a_notebook_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read notebook .*/gone\.ipynb: No such file"):
        freeze(tmp_path / "gone.ipynb")
