"""A training cell in a real kernel, through a real ``accelerate launch``."""

from __future__ import annotations

import collections
import hashlib
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kernel import Cell, Kernel, open_kernel
from tests.support.site import Site, open_site

PRINTED_SECRET = "printed-9aQ-and-hidden-again"
SILENT_SECRET = "silent-7bX-never-written-down"
UNNAMED_SECRET = "unnamed-5cZ-only-in-the-environment"
SECRETS = {
    "PRINTED_API_TOKEN": PRINTED_SECRET,
    "SILENT_API_TOKEN": SILENT_SECRET,
    "AWS_SECRET_ACCESS_KEY": UNNAMED_SECRET,
}

LOCAL_MODULE = """
import pathlib

def folder():
    return pathlib.Path(__file__).parent.name
"""

DEFINITIONS = """
import math
import torch
import local_helpers
from local_helpers import folder

weights = torch.arange(6, dtype=torch.float32).reshape(2, 3)
scale = {"by": 2}

def grown(values):
    return values * scale["by"]

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.bias = torch.nn.Parameter(torch.full((3,), math.pi))

    def forward(self, x):
        return grown(x) + self.bias
"""

TRAINING = """
import os
import torch.distributed as dist

rank = int(os.environ["RANK"])
dist.init_process_group("gloo")
total = torch.tensor([rank + 1.0])
dist.all_reduce(total)
print(f"rank {rank} of {os.environ['WORLD_SIZE']} sums to {total.item():g} in {folder()}")
history = [{"rank": rank, "name": __name__}]
state = {"y": Model()(weights).detach(), "model": Model().state_dict()}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("cell") / "site") as site:
        site.attach()
        (site.work / "local_helpers.py").write_text(LOCAL_MODULE)
        yield site


@pytest.fixture(scope="module")
def kernel(site: Site) -> Iterator[Kernel]:
    with open_kernel(site, env=SECRETS) as kernel:
        yield kernel


# --- what a cell brings to the ranks, and back ---------------------------------------------------


def test_a_dry_run_shows_manifest_and_plan_and_changes_nothing(site: Site, kernel: Kernel) -> None:
    assert not kernel.run(DEFINITIONS).error
    jobs, runs = len(site.jobs()), site.run_dirs()
    cell = kernel.run(f"%%accelerate here --procs 2 --dry-run\n{TRAINING}")
    assert not cell.error
    for name in ("Model", "grown", "weights", "scale", "local_helpers", "folder", "torch"):
        assert re.search(rf"^{name}\b", cell.text, re.MULTILINE), f"{name} in\n{cell.text}"
    assert "accelerate.commands.launch" in cell.text
    assert "dry run: nothing was started" in cell.text
    assert (len(site.jobs()), site.run_dirs()) == (jobs, runs)


def test_a_cell_trains_on_two_ranks_and_brings_its_names_back(site: Site, kernel: Kernel) -> None:
    assert not kernel.run(DEFINITIONS).error
    line = "%%accelerate here --procs 2 --mixed-precision no --fetch history,state --name two"
    cell, job_id = kernel.launch(f"{line}\n{TRAINING}")
    kernel.follow(cell, lambda cell: cell.over, seconds=100)
    assert not cell.error, cell.error
    job = site.store.get_job(job_id)
    assert (job.spec.name, job.state.value) == ("two", "succeeded")
    assert site.log(job_id, 0) == b"rank 0 of 2 sums to 3 in src\n"
    assert site.log(job_id, 1) == b"rank 1 of 2 sums to 3 in src\n"
    assert "rank 0 of 2 sums to 3" in cell.text
    assert "fetched history, state" in cell.text
    assert kernel.value("history") == [{"rank": 0, "name": "__main__"}]
    found = kernel.value("(state['y'].tolist(), sorted(state['model']), type(state['y']).__name__)")
    pi = pytest.approx(3.14159265, abs=1e-6)
    assert found[0][0] == [pi, pytest.approx(5.14159265), pytest.approx(7.14159265)]
    assert found[1:] == [["bias"], "Tensor"]
    how = {item.name: item.kind.value for item in job.spec.manifest.items}
    assert how["Model"] == how["grown"] == "source"
    assert (how["weights"], how["scale"], how["local_helpers"]) == ("tensor", "data", "module")
    assert "history" not in how


def test_output_streams_into_the_cell_before_the_job_is_over(site: Site, kernel: Kernel) -> None:
    code = """%%accelerate here --procs 2
import os, pathlib, time
print("first of", os.environ["RANK"])
while not pathlib.Path("stream-on").exists():
    time.sleep(0.02)
print("last of", os.environ["RANK"])
"""
    cell, job_id = kernel.launch(code)
    kernel.follow(cell, lambda cell: "first of 0" in cell.streamed(), seconds=60)
    assert site.status(job_id)["state"] == "running"
    assert "last of" not in cell.streamed()
    site.script("stream-on", "")
    kernel.follow(cell, lambda cell: cell.over)
    assert not cell.error
    assert "first of 0\nlast of 0" in cell.text
    assert "first of 1\n  last of 1" in cell.text
    (shown,) = cell.displays
    assert "text/html" in shown
    assert "application/vnd.jupyter.widget-view+json" not in shown


def test_a_detached_job_is_attached_to_later(site: Site, kernel: Kernel) -> None:
    code = """%%accelerate here --procs 2 --detach --fetch answer
import os, pathlib, time
while not pathlib.Path("detached-on").exists():
    time.sleep(0.02)
print("printed after the cell was over, by", os.environ["RANK"])
answer = 42
"""
    cell = kernel.run(code)
    assert not cell.error
    job = site.newest()
    assert f"%jobs attach {job.id}" in cell.text
    assert site.status(job.id)["state"] in ("starting", "running")
    assert not kernel.value("'answer' in globals()")
    listed = kernel.run("%jobs")
    assert job.id in listed.text
    site.script("detached-on", "")
    attached = kernel.run(f"%jobs attach {job.id}")
    assert not attached.error
    assert "printed after the cell was over, by 0" in attached.text
    assert kernel.value("answer") == 42
    again = kernel.run(f"del answer\n%jobs attach {job.id[:-1]}")
    assert "printed after the cell was over, by 0" in again.text
    assert kernel.value("answer") == 42


def test_the_failing_rank_stands_on_top_of_the_cell(site: Site, kernel: Kernel) -> None:
    code = """%%accelerate here --procs 2
import os, time
def broken():
    raise ValueError("a bad batch")
if os.environ["RANK"] == "1":
    broken()
time.sleep(60)
"""
    cell, job_id = kernel.launch(code)
    kernel.follow(cell, lambda cell: cell.over)
    assert cell.error_name == "JobFailed"
    assert "rank 1 raised ValueError: a bad batch (line 4)" in cell.error
    assert f"%jobs logs {job_id}" in cell.error
    (shown,) = cell.displays
    text = shown["text/plain"]
    # Below the state, what it cost and an empty line.
    assert "rank 1 raised ValueError: a bad batch (line 4 of the cell)" in text.splitlines()[2:4]
    assert 'cell.py", line 4, in broken' in text
    job = site.store.get_job(job_id)
    assert (job.state.value, job.seen.failed_rank if job.seen else None) == ("failed", 1)
    assert site.processes(job_id) == []


# --- what is written down ------------------------------------------------------------------------


def test_secrets_reach_the_ranks_and_are_written_nowhere(site: Site, kernel: Kernel) -> None:
    assert not kernel.run("import os; PRINTED_API_TOKEN = os.environ['PRINTED_API_TOKEN']").error
    code = """%%accelerate here --procs 2 --fetch digest --secret PRINTED_API_TOKEN,SILENT_API_TOKEN
import hashlib, os
digest = hashlib.sha256(os.environ["SILENT_API_TOKEN"].encode()).hexdigest()
print("it is", os.environ["PRINTED_API_TOKEN"], "as far as", PRINTED_API_TOKEN, "goes")
"""
    cell, job_id = kernel.launch(code)
    kernel.follow(cell, lambda cell: cell.over)
    assert not cell.error, cell.error
    assert kernel.value("digest") == hashlib.sha256(SILENT_SECRET.encode()).hexdigest()
    # A log is the program's own: what it prints is in there, and hidden in the cell.
    said = f"it is {PRINTED_SECRET} as far as {PRINTED_SECRET} goes\n".encode()
    assert site.log(job_id) == said
    for rank in (0, 1):
        (site.run_dir(job_id) / "logs" / f"rank-{rank}.log").unlink()
    assert PRINTED_SECRET not in cell.raw
    assert "it is ••• as far as ••• goes" in cell.text
    assert_nowhere(site, cell, *SECRETS.values())


def test_a_secret_in_an_exception_is_shown_nowhere(site: Site, kernel: Kernel) -> None:
    code = """%%accelerate here --secret PRINTED_API_TOKEN
import os
raise PermissionError("refused: " + os.environ["PRINTED_API_TOKEN"])
"""
    cell, job_id = kernel.launch(code)
    kernel.follow(cell, lambda cell: cell.over)
    assert cell.error_name == "JobFailed"
    assert "raised PermissionError: refused: •••" in cell.error
    assert b"PermissionError: refused: " in site.log(job_id)
    assert_nowhere(site, cell, *SECRETS.values())
    shown = kernel.run(f"%jobs show {job_id}")
    assert "PermissionError" in shown.text
    assert PRINTED_SECRET not in shown.raw


def assert_nowhere(site: Site, cell: Cell, *secrets: str) -> None:
    """Search every byte of the home (record, run directories, blobs) and of the cell."""
    files = [path for path in site.home.rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" for path in files)
    for secret in secrets:
        assert secret not in cell.raw
        for path in files:
            assert secret.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("option", ["--env MY_PASSWORD=hunter2-hunter2", "--secret NOT_SET_AT_ALL"])
def test_a_secret_that_cannot_be_passed_is_refused(site: Site, kernel: Kernel, option: str) -> None:
    jobs = len(site.jobs())
    cell = kernel.run(f"%%accelerate here {option}\nprint(1)")
    assert cell.error_name == "UsageError"
    assert "hunter2" not in cell.raw
    assert len(site.jobs()) == jobs


def test_everything_of_a_job_is_private(site: Site, kernel: Kernel) -> None:
    jobs = [job for job in site.jobs() if job.state.value == "succeeded"]
    assert jobs, "the tests before this one ran some"
    assert any(job.spec.fetch for job in jobs)
    assert stat.S_IMODE(site.home.stat().st_mode) == 0o700
    for path in site.home.rglob("*"):
        mode = stat.S_IMODE(path.lstat().st_mode)
        assert mode & 0o077 == 0, f"{path} is {mode:o}"


def test_a_flood_of_lines_is_all_in_the_log_and_bounded_in_the_cell(
    site: Site, kernel: Kernel
) -> None:
    code = r"""%%accelerate here --procs 2
import os, sys, time
rank = os.environ["RANK"]
for block in range(20):
    for number in range(1000):
        print(f"\x1b[1mline\x1b[0m {rank} {block * 1000 + number:05}")
    for step in range(10):
        sys.stdout.write(f"\r\x1b[3{step % 8}mprogress {block} {step}\x1b[0m")
    print()
    time.sleep(0.15)
"""
    cell, job_id = kernel.launch(code)
    kernel.follow(cell, lambda cell: cell.over)
    assert not cell.error, cell.error
    for rank in (0, 1):
        lines = re.findall(
            rb"^\x1b\[1mline\x1b\[0m (\d) (\d{5})$", site.log(job_id, rank), re.MULTILINE
        )
        assert lines == [(b"%d" % rank, b"%05d" % number) for number in range(20_000)]
        assert site.log(job_id, rank).count(b"\r") == 200
    assert_counts_are_exact(cell, lines=20_020)
    assert "20,020 lines" in cell.text
    last = cell.displays[-1]["text/plain"]
    assert "progress 19 9" in last
    assert "progress 19 8" not in last
    assert len(cell.displays[-1]["text/html"]) < 500_000
    assert_slow_enough(cell)


def assert_counts_are_exact(cell: Cell, *, lines: int) -> None:
    states = [c["data"].get("state", {}) for c in cell.contents("comm_msg")]
    last = [state["log"] for state in states if "log" in state][-1]
    for rank in ("0", "1"):
        counts = last["ranks"][rank]["counts"]
        assert counts["seen"] == lines
        assert counts["shown"] + counts["folded"] + counts["left_out"] == lines
        assert counts["missing"] == 0


def assert_slow_enough(cell: Cell) -> None:
    shown = ("comm_msg", "display_data", "update_display_data", "stream")
    sent = [message.at for message in cell.messages if message.kind in shown]
    assert len(sent) > 5
    busiest = collections.Counter(
        {begin: sum(begin <= at < begin + 1.0 for at in sent) for begin in sent}
    )
    ((_, most),) = busiest.most_common(1)
    assert most <= 10, f"{most} messages in one second"


# --- afterwards, and elsewhere --------------------------------------------------------------------


def test_a_rerun_repeats_a_job_after_its_notebook_has_changed(site: Site, kernel: Kernel) -> None:
    assert not kernel.run("word = 'first'").error
    assert not kernel.run("%%accelerate here --fetch said\nsaid = word\nprint(word)").error
    job = site.newest()
    assert not kernel.run("word = 'second'; said = None").error
    cell = kernel.run(f"%jobs rerun {job.id}")
    assert not cell.error
    assert site.log(site.newest().id) == b"first\n"
    assert kernel.value("said") == "first"
    assert site.newest().id != job.id


def test_a_rank_finds_plain_text_where_the_notebook_had_rich_output(
    site: Site, kernel: Kernel
) -> None:
    cell = kernel.run("%%accelerate here\ndisplay({'a': 1})\nprint(__name__, __file__[-7:])")
    assert not cell.error
    assert "{'a': 1}\n__main__ cell.py" in cell.text


def test_the_home_may_be_anywhere_a_path_can_be(tmp_path: Path) -> None:
    with open_site(tmp_path / "a folder with späces & 'quotes'") as site:
        site.attach()
        script = site.script("say it.py", "import os; print('said by', os.environ['RANK'])\n")
        done = site.command("run", script.name, "--pool", "here", "--procs", "2")
        assert done.returncode == 0, done.stderr + done.stdout
        assert "said by 0" in done.stdout
