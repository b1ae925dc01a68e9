"""Interrupts of a training cell, at every stage of it: who is told, who ends, what is left."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bench import wait_until
from tests.support.kernel import Kernel, open_kernel
from tests.support.site import Site, open_site

NEVER = "import time\ntime.sleep(100)\nprint('never' + ' reached')"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("interrupts") / "site") as site:
        site.attach()
        yield site


@pytest.fixture(scope="module")
def kernel(site: Site) -> Iterator[Kernel]:
    with open_kernel(site) as kernel:
        yield kernel


def test_the_first_interrupt_stops_the_job_and_says_who_ended_how(
    site: Site, kernel: Kernel
) -> None:
    code = """%%accelerate here --procs 2 --grace 20s
import os, time
rank = os.environ["RANK"]
print("ready")
try:
    while True:
        time.sleep(0.05)
except KeyboardInterrupt:
    print("saved by", rank)
    raise SystemExit(0)
"""
    cell, job_id = kernel.launch(code)
    kernel.follow(cell, lambda cell: "ready" in cell.streamed())
    site.wait_for_log(job_id, "ready", rank=1)
    kernel.interrupt()
    kernel.follow(cell, lambda cell: cell.over)
    assert cell.error_name == "JobFailed"
    assert "was cancelled: stopped on request (SIGINT ended ranks 0, 1)" in cell.error
    assert [site.log(job_id, rank) for rank in (0, 1)] == [
        b"ready\nsaved by 0\n",
        b"ready\nsaved by 1\n",
    ]
    assert "saved by 0" in cell.text
    assert site.store.get_job(job_id).state.value == "cancelled"
    assert kernel.value("6 * 7") == 42


def test_the_second_interrupt_detaches_and_leaves_the_end_to_the_supervisor(
    site: Site, kernel: Kernel
) -> None:
    code = """%%accelerate here --procs 2 --grace 4s
import signal, time
signal.signal(signal.SIGINT, lambda *_: print("not yet"))
print("ready")
while True:
    time.sleep(0.05)
"""
    cell, job_id = kernel.launch(code)
    kernel.follow(cell, lambda cell: "ready" in cell.streamed())
    site.wait_for_log(job_id, "ready", rank=1)
    kernel.interrupt()
    kernel.follow(cell, lambda cell: "interrupt again to detach" in cell.streamed())
    kernel.follow(cell, lambda cell: "not yet" in cell.streamed())
    kernel.interrupt()
    kernel.follow(cell, lambda cell: cell.over)
    assert cell.error_name == "JobFailed"
    assert f"detached from job {job_id}" in cell.error
    assert site.status(job_id)["state"] == "running"
    assert site.end(job_id)["ended_by"] == {"SIGTERM": [0, 1]}
    assert "cancelled" in kernel.run(f"%jobs show {job_id}").text
    assert site.log(job_id) == b"ready\nnot yet\n"


def test_an_interrupt_while_the_launcher_starts_leaves_nothing(site: Site, kernel: Kernel) -> None:
    cell, job_id = kernel.launch(f"%%accelerate here --procs 2 --grace 2s\n{NEVER}")
    kernel.follow(cell, lambda cell: "0 of 2 ranks reported" in cell.streamed())
    kernel.interrupt()
    kernel.follow(cell, lambda cell: cell.over)
    assert cell.error_name == "JobFailed"
    assert "was cancelled" in cell.error
    assert site.end(job_id)["state"] == "cancelled"
    assert site.processes(job_id) == []
    assert b"never reached" not in site.log(job_id)


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_interrupt_while_the_job_is_handed_over_leaves_nothing(
    site: Site, kernel: Kernel, when: str
) -> None:
    # An interpreter that takes its time, before the supervisor is started or before it says so.
    slow = site.root / f"slow-{when}"
    wait = f': >"{slow}.now"; sleep 1'
    real = f'{sys.executable} "$@"'
    steps = f"{wait}; {real}" if when == "before" else f"{real}; {wait}"
    slow.write_text(f'#!/bin/sh\ncase "$*" in\n*"start /"*) {steps};;\n*) exec {real};;\nesac\n')
    slow.chmod(0o755)
    site.attach("--python", str(slow), name=slow.name)
    cell, job_id = kernel.launch(f"%%accelerate {slow.name}\n{NEVER}")
    wait_until(Path(f"{slow}.now").exists)
    kernel.interrupt()
    kernel.follow(cell, lambda cell: cell.over)
    assert cell.error_name == "JobFailed"
    assert f"interrupted while job {job_id} was being started" in cell.error
    # However far it had got: there is one record, it ends, and nothing runs on.
    assert site.end(job_id)["state"] == "cancelled"
    assert site.processes(job_id) == []
    assert not kernel.run("%jobs").error
    assert site.store.get_job(job_id).state.value == "cancelled"
    assert b"never reached" not in site.log(job_id)
