"""Looking into a run directory: everything in there may be hostile, and so may the path."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jupyter_aiinfra.errors import NotFound, UsageError
from jupyter_aiinfra.pools.browsing import LocalFile, list_files, open_file, open_plain

SECRET = "of another job"  # what no path may reach


def put(path: Path, text: str = "x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    run_dir = tmp_path / "runs" / "0abc"
    put(tmp_path / "runs" / "0other" / "results" / "secret", SECRET)
    put(run_dir / "cell.py", "print(1)")
    put(run_dir / "results" / "history", "[1]")
    return run_dir


@contextlib.contextmanager
def opened(run_dir: Path, path: str) -> Iterator[LocalFile]:
    file = open_file(run_dir, path)
    try:
        yield file
    finally:
        assert file._descriptor is not None
        os.close(file._descriptor)


async def read(run_dir: Path, path: str, *, offset: int = 0) -> bytes:
    file = open_file(run_dir, path, offset=offset)
    data = b"".join([piece async for piece in _pieces(file)])
    await file.aclose()
    assert await file.read() == b""
    return data


async def _pieces(file: LocalFile) -> AsyncIterator[bytes]:
    while piece := await file.read():
        yield piece


def paths(run_dir: Path, limit: int = 100) -> list[str]:
    return [file.path for file in list_files(run_dir, limit=limit)]


def test_lists_what_a_person_may_want_in_order(run_dir: Path) -> None:
    for name in (
        "logs/rank-0.log",
        "src/a/b.py",
        "src/a.py",
        "src-2",
        "spec.json",
        "exit.json",
        "requirements.txt",
        "results/rc",
        "model.new",
    ):
        put(run_dir / name)
    for name in (
        "aiinfra/rank.py",
        "ranks/0.json",
        "go",
        "heartbeat",
        "rc",
        "supervisor.json",
        "supervisor.lock",
        "exit.json.reserve",
        "exit.json.123.new",
        "src/__pycache__/a.pyc",
    ):
        put(run_dir / name)
    (run_dir / "empty").mkdir()
    assert paths(run_dir) == [
        "cell.py",
        "exit.json",
        "logs/rank-0.log",
        "model.new",
        "requirements.txt",
        "results/history",
        "results/rc",
        "spec.json",
        "src/a/b.py",
        "src/a.py",
        "src-2",
    ]
    assert paths(run_dir, limit=3) == ["cell.py", "exit.json", "logs/rank-0.log"]
    (file, *_) = list_files(run_dir, limit=1)
    assert (file.size_bytes, file.modified_at) == (8, (run_dir / "cell.py").stat().st_mtime)


async def test_what_is_not_listed_is_not_opened(run_dir: Path) -> None:
    put(run_dir / "ranks" / "0.json")
    put(run_dir / "supervisor.lock")
    (run_dir / "link").symlink_to("ranks/0.json")
    for path in ("ranks/0.json", "supervisor.lock", "link"):
        with pytest.raises(NotFound):
            open_file(run_dir, path)
    assert "link" not in paths(run_dir)


async def test_links_that_stay_within_are_followed(run_dir: Path) -> None:
    (run_dir / "last").symlink_to("results/history")
    (run_dir / "folder").symlink_to("results")
    (run_dir / "absolute").symlink_to(run_dir / "cell.py")
    assert paths(run_dir) == ["absolute", "cell.py", "last", "results/history"]
    assert await read(run_dir, "last") == b"[1]"
    assert await read(run_dir, "folder/history") == b"[1]"
    assert await read(run_dir, "absolute") == b"print(1)"


def test_a_log_is_opened_as_the_file_that_it_should_be_and_nothing_else(run_dir: Path) -> None:
    put(run_dir / "logs" / "rank-0.log", "told")
    descriptor = open_plain(run_dir / "logs" / "rank-0.log")
    assert os.pread(descriptor, 9, 0) == b"told"
    os.close(descriptor)
    with pytest.raises(FileNotFoundError):
        open_plain(run_dir / "logs" / "rank-1.log")
    (run_dir / "logs" / "link").symlink_to("/etc/passwd")
    os.mkfifo(run_dir / "logs" / "pipe")
    (run_dir / "logs" / "folder").mkdir()
    (run_dir / "elsewhere").symlink_to("logs")
    for path in ("logs/link", "logs/pipe", "logs/folder", "elsewhere/rank-0.log", "cell.py/x"):
        before = len([*Path("/proc/self/fd").iterdir()])
        with pytest.raises(NotFound):
            open_plain(run_dir / path)
        assert len([*Path("/proc/self/fd").iterdir()]) == before


@pytest.mark.parametrize(
    "target", ["../0other/results/secret", "/etc/passwd", "loop", "results/gone", ".", "..", "/"]
)
def test_links_that_lead_out_or_nowhere_are_not(run_dir: Path, target: str) -> None:
    (run_dir / "loop").symlink_to(target)
    (run_dir / "results" / "up").symlink_to("..")
    (run_dir / "results" / "out").symlink_to("../../0other")
    assert paths(run_dir) == ["cell.py", "results/history"]
    for path in ("loop", "loop/0other/results/secret", "results/out/results/secret"):
        with pytest.raises(NotFound):
            open_file(run_dir, path)


def test_a_sibling_whose_name_begins_alike_is_outside(run_dir: Path) -> None:
    put(run_dir.parent / "0abcd" / "secret", SECRET)
    (run_dir / "link").symlink_to("../0abcd/secret")
    with pytest.raises(NotFound):
        open_file(run_dir, "link")


def test_a_link_put_there_in_between_is_refused(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = os.path.realpath

    def swap(path: str) -> str:
        found = resolve(path)
        if found.endswith("history"):
            Path(found).unlink()
            Path(found).symlink_to("../../0other/results/secret")
        return found

    monkeypatch.setattr(os.path, "realpath", swap)
    with pytest.raises(NotFound):
        open_file(run_dir, "results/history")


def test_what_is_no_plain_file_is_neither_listed_nor_waited_for(run_dir: Path) -> None:
    os.mkfifo(run_dir / "pipe")
    assert paths(run_dir) == ["cell.py", "results/history"]
    for path in ("pipe", "results"):
        with pytest.raises(NotFound):
            open_file(run_dir, path)


async def test_names_of_any_letters_but_no_text_are_served(run_dir: Path) -> None:
    for name in ("ü \n\t.txt", "a\\b", "-rf", "…", "<b>.html"):
        put(run_dir / "results" / name, name)
        assert await read(run_dir, f"results/{name}") == name.encode()
    with (run_dir / os.fsdecode(b"\xff")).open("w"):
        pass
    assert len(paths(run_dir)) == 7
    with pytest.raises(NotFound):
        open_file(run_dir, os.fsdecode(b"\xff"))
    with pytest.raises(NotFound):
        open_file(run_dir, "x" * 5000)


async def test_a_file_ends_where_it_did_when_it_was_opened(run_dir: Path) -> None:
    log = run_dir / "logs" / "rank-0.log"
    put(log, "x" * 2_500_000)
    file = open_file(run_dir, "logs/rank-0.log", offset=10)
    with log.open("a") as growing:
        growing.write("more")
    sizes = [len(piece) async for piece in _pieces(file)]
    assert sizes == [1 << 20, 1 << 20, 2_500_000 - 10 - (2 << 20)]
    await file.aclose()
    await file.aclose()


def test_a_folder_that_cannot_be_read_is_passed_over(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = os.scandir

    def scandir(path: str) -> Any:
        if path.endswith("results"):
            raise PermissionError(path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert paths(run_dir) == ["cell.py"]


def test_a_run_directory_that_is_gone_says_so(tmp_path: Path) -> None:
    for ask in (lambda: list_files(tmp_path / "gone", limit=1), lambda: open_file(tmp_path, "x")):
        with pytest.raises(NotFound):
            ask()


# --- any path at all -----------------------------------------------------------------------------

_PARTS = st.sampled_from(
    ["..", ".", "", "0abc", "0other", "results", "secret", "history", "cell.py", "out", "up", "\0"]
)
_PATHS = st.one_of(
    st.lists(_PARTS | st.text(max_size=4), max_size=7).map("/".join),
    st.text(max_size=20),
    st.lists(_PARTS, max_size=5).map(lambda parts: "/" + "/".join(parts)),
)


@pytest.fixture(scope="module")
def trap() -> Iterator[Path]:
    """A run directory full of ways out."""
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder) / "runs"
        put(runs / "0other" / "secret", SECRET)
        put(runs / "0other" / "results" / "secret", SECRET)
        put(Path(folder) / "secret", SECRET)
        run_dir = runs / "0abc"
        put(run_dir / "cell.py", "print(1)")
        put(run_dir / "results" / "history", "[1]")
        (run_dir / "out").symlink_to("../0other")
        (run_dir / "up").symlink_to(".")
        (run_dir / "results" / "up").symlink_to("..")
        (run_dir / "results" / "out").symlink_to(runs / "0other" / "results")
        (run_dir / "secret").symlink_to("../../secret")
        yield run_dir


@settings(
    max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(path=_PATHS)
def test_no_path_leads_out(trap: Path, path: str) -> None:
    try:
        with opened(trap, path) as file:
            assert file._descriptor is not None
            content = os.pread(file._descriptor, 100, 0)
    except (UsageError, NotFound):
        return
    assert content in {b"print(1)", b"[1]"}
