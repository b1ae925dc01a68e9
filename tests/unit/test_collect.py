"""Which files a job keeps, and which it does not."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.node.collect import collect, main, matches


@pytest.mark.parametrize(
    ("path", "pattern", "meant"),
    [
        ("out/a.txt", "out/**", True),
        ("out/deep/er/a.txt", "out/**", True),
        ("out/a.txt", "out", True),
        ("out/a.txt", "out/", True),
        ("outer/a.txt", "out", False),
        ("a.txt", "*.txt", True),
        ("deep/a.txt", "*.txt", False),
        ("deep/er/a.txt", "**/*.txt", True),
        ("a.txt", "**/*.txt", True),
        ("a.txt", "?.txt", True),
        ("ab.txt", "?.txt", False),
        ("a+b.txt", "a+b.txt", True),
        ("x/a\nb", "x/*", True),
        ("deep/er/a.txt", "deep/*/a.txt", True),
        ("deep/a.txt", "./deep/a.txt", True),
    ],
)
def test_patterns_mean_what_they_do_elsewhere(path: str, pattern: str, *, meant: bool) -> None:
    assert matches(path, pattern) is meant


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def test_files_are_copied_with_their_folders_and_are_private(tmp_path: Path) -> None:
    work, run_dir = tmp_path / "work", tmp_path / "run"
    run_dir.mkdir()
    write(work, "out/a.txt", "out/b/c.bin", "other.txt")
    found = collect(str(run_dir), str(work), ["out/**"])
    assert (found["files"], found["bytes"], found["problems"]) == (2, 20, [])
    copy = run_dir / "artifacts/out/b/c.bin"
    assert copy.read_text() == "out/b/c.bin"
    assert copy.stat().st_mode & 0o777 == 0o600
    assert copy.parent.stat().st_mode & 0o777 == 0o700
    assert not (run_dir / "artifacts/other.txt").exists()


def test_nothing_that_fits_is_said(tmp_path: Path) -> None:
    found = collect(str(tmp_path / "run"), str(tmp_path), ["*.pt"])
    assert found["problems"] == [f"nothing fits *.pt in {tmp_path}"]


def test_links_are_named_and_not_followed(tmp_path: Path) -> None:
    write(tmp_path, "secret", "work/a.txt")
    (tmp_path / "work/link").symlink_to(tmp_path / "secret")
    (tmp_path / "work/folder").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "work/pipe")
    found = collect(str(tmp_path / "run"), str(tmp_path / "work"), ["**"])
    assert found["files"] == 1
    assert found["problems"] == [f"{n}: it is a link, or no plain file" for n in ("link", "pipe")]


def test_a_run_directory_that_is_the_working_directory_does_not_swallow_itself(
    tmp_path: Path,
) -> None:
    write(tmp_path, "out.txt", "logs/rank-0.log", "artifacts/old.txt")
    found = collect(str(tmp_path), str(tmp_path), ["**"])
    assert found["files"] == 1
    assert (tmp_path / "artifacts/out.txt").exists()


def test_what_cannot_be_copied_is_named_and_the_rest_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "work/a.txt", "work/b.txt")
    whole = shutil.copyfileobj

    def full(reader: Any, writer: Any, size: int) -> None:
        if "b.txt" in str(getattr(reader, "name", "")):
            raise OSError(28, "No space left on device")
        whole(reader, writer, size)

    monkeypatch.setattr("jupyter_aiinfra.node.collect.shutil.copyfileobj", full)
    found = collect(str(tmp_path / "run"), str(tmp_path / "work"), ["**"])
    assert found["files"] == 1
    assert found["problems"] == ["b.txt: No space left on device"]
    assert [p.name for p in (tmp_path / "run/artifacts").iterdir()] == ["a.txt"]


def test_the_program_writes_down_what_it_found(tmp_path: Path) -> None:
    write(tmp_path, "work/a.txt")
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    orders = {"cwd": str(tmp_path / "work"), "artifacts": ["a.txt"]}
    (run_dir / "spec.json").write_text(json.dumps(orders))
    assert main(["collect.py", str(run_dir)]) == 0
    assert json.loads((run_dir / "artifacts.json").read_text())["files"] == 1
    assert main(["collect.py", str(tmp_path / "nowhere")]) == 1
