"""What users get wrong, and what goes wrong for them: message, state, nothing half-done."""

from __future__ import annotations

import re
import socket
import sys
import venv
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.kernel import Cell, Kernel, open_kernel
from tests.support.site import Site, open_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("bad") / "site") as site:
        site.attach()
        yield site


@pytest.fixture(scope="module")
def kernel(site: Site) -> Iterator[Kernel]:
    with open_kernel(site) as kernel:
        cell = kernel.run("import threading\nlock = threading.Lock()\nlog = open('log.txt', 'w')")
        assert not cell.error
        yield kernel


def refused(site: Site, kernel: Kernel, code: str) -> Cell:
    """Run a cell that is to be refused before anything is recorded, sent or started."""
    before = [job.id for job in site.jobs()], site.run_dirs(), blobs(site)
    cell = kernel.run(code)
    assert cell.error, cell.text
    assert ([job.id for job in site.jobs()], site.run_dirs(), blobs(site)) == before
    assert "Traceback" not in cell.error, "a mistake is answered with a sentence"
    return cell


def blobs(site: Site) -> list[str]:
    """Return the content-addressed files that are there."""
    return sorted(path.name for path in (site.home / "blobs").rglob("*") if path.is_file())


# --- refused before anything starts --------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A cell, and what is to be said of it."""

    code: str
    error: str
    said: tuple[str, ...]


MISTAKES = {
    "unknown pool": Mistake(
        code="%%accelerate her --procs 2\nprint(1)",
        error="PoolNotFound",
        said=("no pool named 'her'", "did you mean here?"),
    ),
    "misspelt option of ours": Mistake(
        code="%%accelerate here --procss 2\nprint(1)",
        error="UnknownOption",
        said=("unknown option --procss", "did you mean --procs?"),
    ),
    "misspelt option of accelerate": Mistake(
        code="%%accelerate here --mixed-precison no\nprint(1)",
        error="UnknownOption",
        said=("unknown option --mixed-precison", "did you mean --mixed"),
    ),
    "value that cannot be": Mistake(
        code="%%accelerate here --procs two\nprint(1)",
        error="UsageError",
        said=("--procs 'two'", "whole number"),
    ),
    "value of accelerate's that cannot be": Mistake(
        code="%%accelerate here --mixed-precision fp17\nprint(1)",
        error="UsageError",
        said=("fp17", "fp16"),
    ),
    "more ranks than allowed": Mistake(
        code="%%accelerate here --procs 99\nprint(1)",
        error="PreflightError",
        said=("99 processes asked for", "at most 8 are allowed", "--procs 8"),
    ),
    "more nodes than there are": Mistake(
        code="%%accelerate here --nodes 3\nprint(1)",
        error="PreflightError",
        said=("3 nodes asked for", "--nodes 1"),
    ),
    "open file": Mistake(
        code="%%accelerate here\nlog.write('x')",
        error="CaptureError",
        said=("`log`", "an open file", "log.txt", "open it in the cell"),
    ),
    "lock": Mistake(
        code="%%accelerate here\nwith lock:\n    print(1)",
        error="CaptureError",
        said=("`lock`", "lock"),
    ),
    "several names at once": Mistake(
        code="%%accelerate here\nwith lock:\n    log.write(word)",
        error="CaptureError",
        said=("3 names", "`lock`", "`log`", "`word`"),
    ),
    "undefined name": Mistake(
        code="%%accelerate here\ntotal = 1\nprint(totl)",
        error="CaptureError",
        said=("`totl` (line 3)", "did you mean total?"),
    ),
    "syntax error": Mistake(
        code="%%accelerate here\nx = 1\ndef broken(:\n    pass",
        error="CaptureError",
        said=("syntax error in line 3", "def broken(:"),
    ),
    "command of the shell in the cell": Mistake(
        code="%%accelerate here\nx = 1\n!nvidia-smi",
        error="CaptureError",
        said=("line 3: !nvidia-smi", "subprocess.run()"),
    ),
    "magic in the cell": Mistake(
        code="%%accelerate here\n%pip install torch\nprint(1)",
        error="CaptureError",
        said=("line 2: %pip install torch", "install it where the pool runs"),
    ),
    "folder that is not there": Mistake(
        code="%%accelerate here --cwd /nowhere/at/all\nprint(1)",
        error="UsageError",
        said=("/nowhere/at/all", "no such folder"),
    ),
    "quote without its fellow": Mistake(
        code="%%accelerate here --name 'x\nprint(1)",
        error="UsageError",
        said=("close the quote",),
    ),
    "no cell": Mistake(
        code="%accelerate here --procs 2",
        error="UsageError",
        said=("needs a cell", "%%accelerate"),
    ),
    "job that is not there": Mistake(
        code="%jobs attach zzz", error="JobNotFound", said=("no job 'zzz'", "%jobs lists them")
    ),
    "verb that is not there": Mistake(
        code="%jobs atach zzz", error="UsageError", said=("atach", "%jobs --help")
    ),
    "pool kind that is not there": Mistake(
        code="%pool attach there --kind locl", error="UsageError", said=("locl", "mean local?")
    ),
    "name that another pool has": Mistake(
        code="%pool attach here --kind local --max-procs 3",
        error="PoolExists",
        said=("'here' is attached already",),
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_answered_and_nothing_is_started(
    site: Site, kernel: Kernel, mistake: Mistake
) -> None:
    cell = refused(site, kernel, mistake.code)
    assert cell.error_name == mistake.error, cell.error
    for words in mistake.said:
        assert words in cell.error, cell.error


def test_a_port_that_is_taken_is_named(site: Site, kernel: Kernel) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        cell = refused(site, kernel, f"%%accelerate here --procs 2 --port {port}\nprint(1)")
    assert cell.error_name == "PreflightError"
    assert f"port {port} is taken" in cell.error
    assert "--port another number" in cell.error


def test_an_interpreter_without_torch_is_named_with_what_to_install(
    site: Site, kernel: Kernel
) -> None:
    bare = site.root / "bare"
    venv.create(bare, with_pip=False, symlinks=True)
    site.attach("--python", str(bare / "bin/python"), name="bare")
    cell = refused(site, kernel, "%%accelerate bare --procs 2\nprint(1)")
    assert cell.error_name == "PreflightError"
    assert f"no torch in {bare}/bin/python" in cell.error
    assert f"{bare}/bin/python -m pip install torch" in cell.error
    assert "no accelerate in" in cell.error


def test_an_interpreter_that_went_away_is_said_to_be(site: Site, kernel: Kernel) -> None:
    gone = site.root / "gone-python"
    gone.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    gone.chmod(0o755)
    site.attach("--python", str(gone), name="gone")
    gone.unlink()
    cell = refused(site, kernel, "%%accelerate gone\nprint(1)")
    assert str(gone) in cell.error
    listed = kernel.run("%pool list")
    assert not listed.error, "the other pools are still there to be seen"
    assert re.search(r"gone .*unreachable", listed.text)
    assert re.search(r"here .*live", listed.text)
    assert not kernel.run("%pool detach gone").error


# --- what ends a job -----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class End:
    """A cell that fails, why it is said to, and the rank that is to blame."""

    cell: str
    reason: str
    rank: int


ENDS = {
    "exits 3": End(
        cell="import os, sys\nif os.environ['RANK'] == '1':\n    sys.exit(3)\n",
        reason="rank 1 exited with status 3",
        rank=1,
    ),
    "killed": End(
        cell="import os, signal\nif os.environ['RANK'] == '0':\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n",
        reason="rank 0 was ended by SIGKILL (often the kernel, out of memory)",
        rank=0,
    ),
    "crashes in compiled code": End(
        cell="import ctypes, os\nif os.environ['RANK'] == '1':\n    ctypes.string_at(0)\n",
        reason="rank 1 was ended by SIGSEGV (a crash in compiled code)",
        rank=1,
    ),
}


def test_an_exception_that_cannot_say_what_it_is_is_told_all_the_same(
    site: Site, kernel: Kernel
) -> None:
    cell = kernel.run(
        "%%accelerate here --procs 1\n"
        "class Mute(Exception):\n"
        "    def __str__(self): raise RuntimeError('no text')\n"
        "raise Mute()\n"
    )
    assert "raised Mute: (its text cannot be had: str() raised RuntimeError) (line 4)" in cell.error
    assert "rank.py" not in site.log(site.newest().id).decode()


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
def test_a_cell_that_ends_badly_fails_with_the_reason(site: Site, kernel: Kernel, end: End) -> None:
    # The other rank would go on: it is the launcher that ends it.
    cell = kernel.run(f"%%accelerate here --procs 2\n{end.cell}\nimport time\ntime.sleep(100)")
    assert cell.error_name == "JobFailed"
    assert end.reason in cell.error
    job = site.newest()
    assert job.state.value == "failed"
    assert job.seen is not None
    assert job.seen.failed_rank == end.rank
    assert job.seen.reason is not None
    assert end.reason in job.seen.reason
    assert end.reason in cell.displays[-1]["text/plain"]
    assert site.processes(job.id) == []


def test_ranks_that_each_train_alone_never_reach_the_cell(site: Site, kernel: Kernel) -> None:
    # What Accelerate 1.15 does with --cpu, here done on purpose: separate worlds of one.
    patch = """
import jupyter_aiinfra.training as training
real_argv = training.launch_argv
def alone(options, **how):
    words = list(real_argv(options, **how))
    words[words.index("--num_processes") + 1] = "1"
    words.remove("--multi_gpu")
    return tuple(words)
training.launch_argv = alone
"""
    assert not kernel.run(patch).error
    try:
        cell = kernel.run("%%accelerate here --procs 2\nprint('trained alone')")
    finally:
        assert not kernel.run("training.launch_argv = real_argv").error
    assert cell.error_name == "JobFailed"
    assert "asked for 2 ranks, but rank 0 was started in a world of 1" in cell.error
    job = site.newest()
    assert job.state.value == "failed"
    assert b"trained alone" not in site.log(job.id)
    assert site.processes(job.id) == []


def test_a_name_that_the_cell_never_made_is_said_when_it_is_fetched(
    site: Site, kernel: Kernel
) -> None:
    cell = kernel.run("%%accelerate here --fetch made,unmade\nmade = 1\nexec('pass')\nprint('ok')")
    assert cell.error_name == "ResultError"
    assert "unmade" in cell.error
    assert kernel.value("made") == 1
    assert site.newest().state.value == "succeeded"
