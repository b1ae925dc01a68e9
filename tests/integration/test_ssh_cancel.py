"""Cancel at every time of a job on two hosts: while it starts, trains, and cannot be reached."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Iterator

import pytest

from jupyter_aiinfra.bundle import Bundle
from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.errors import AiInfraError, Unreachable
from jupyter_aiinfra.model import Desired, Job, JobKind, JobSpec
from tests.support.bench import wait_until
from tests.support.sshsite import SshSite, open_ssh_site

NAMES = ("gpu1", "gpu2")
TRAIN = """
import time
import torch
from accelerate import Accelerator

accelerator = Accelerator(cpu=True)
print("begins", flush=True)
while True:
    accelerator.reduce(torch.ones(1))
    time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshSite]:
    with open_ssh_site(tmp_path_factory.mktemp("cancel"), NAMES, impatient=True) as site:
        site.attach_hosts()
        site.script("train.py", TRAIN)
        yield site


@pytest.fixture(autouse=True)
def _each_for_itself(site: SshSite) -> Iterator[None]:
    yield
    site.clear()


def a_spec(script: str = "exec sleep 300", *, nodes: int = 2) -> JobSpec:
    return JobSpec(
        kind=JobKind.TRAIN,
        name="shell",
        argv=("/bin/sh", "-c", script),
        nodes=nodes,
        verify_world=False,
        grace_seconds=1.0,
    )


def launched(site: SshSite, spec: JobSpec) -> Job:
    return site.ask(lambda engine: engine.launch("lab", spec, Bundle(files=())))


async def interrupted(engine: Engine, after_seconds: float) -> None:
    """Launch a job, and interrupt that, or cancel the job if the launch was through already."""
    launch = asyncio.create_task(engine.launch("lab", a_spec(), Bundle(files=())))
    await asyncio.sleep(after_seconds)
    if launch.done():
        await engine.cancel(launch.result().id)
    launch.cancel()
    with contextlib.suppress(asyncio.CancelledError, AiInfraError):
        await launch


@pytest.mark.parametrize("after_seconds", [0.0, 0.1, 0.3, 0.6, 1.0])
def test_an_interrupt_while_it_is_submitted_leaves_nothing(
    site: SshSite, after_seconds: float
) -> None:
    before = {job.id for job in site.jobs()}
    site.ask(lambda engine: interrupted(engine, after_seconds))
    for job in [job for job in site.jobs() if job.id not in before]:
        state = site.final(job.id, seconds=30).state.value
        sys.stdout.write(f"interrupted after {after_seconds} s: {state}\n")
        assert state in ("cancelled", "failed")
    site.assert_nothing_left()


def test_cancel_while_the_ranks_come_up_and_while_they_train(site: SshSite) -> None:
    """The same training twice: cancelled as soon as it is known, and in mid-training."""
    for wait in (False, True):
        job_id = site.launch("train.py", "--pool", "lab", "--nodes", "2", "--procs", "1")
        if wait:
            site.wait_for_text("gpu1", job_id, "begins")
            site.wait_for_text("gpu2", job_id, "begins", log="rank-1.log")
        done = site.command("jobs", "cancel", job_id, "--grace", "2")
        assert done.returncode == 0, done.stderr
        job = site.final(job_id)
        assert job.state.value == "cancelled"
        # By the machine's own clock: how long a busy one takes to start a command is not asked.
        (asked,) = (
            event.at for event in site.store.events(subject=job_id) if event.kind == "job.desired"
        )
        assert job.ended_at is not None
        assert job.ended_at - asked < 20
        site.assert_nothing_left()


def test_a_ctrl_c_to_a_run_in_the_terminal_ends_the_job_on_all_nodes(site: SshSite) -> None:
    known = [job.id for job in site.jobs()]
    running = site.begin("run", "train.py", "--pool", "lab", "--nodes", "2", "--procs", "1")
    job = site.next_job(known)
    site.wait_for_host_processes(job.id)
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)
    assert running.returncode == 130
    assert site.final(job.id).state.value == "cancelled"
    site.assert_nothing_left()


def test_a_cancel_that_does_not_get_through_is_kept_and_done_later(site: SshSite) -> None:
    job = launched(site, a_spec())
    site.wait_for_host_processes(job.id)
    for name in NAMES:
        site.hosts[name].cut()
    try:
        with pytest.raises(Unreachable):
            site.ask(lambda engine: engine.cancel(job.id))
        now = site.job(job.id)
        assert now.desired is Desired.STOP
        assert not now.state.final
        with pytest.raises(Unreachable):
            site.ask(lambda engine: engine.refresh(job.id))
        assert not site.job(job.id).state.final
        assert all(site.hosts[name].tagged(job.id) for name in NAMES)
    finally:
        for name in NAMES:
            site.hosts[name].mend()
    # Nobody says it again: whoever looks at the job next has it ended.
    site.ask(lambda engine: engine.refresh(job.id))
    wait_until(lambda: site.ask(lambda engine: engine.refresh(job.id)).state.final, seconds=30)
    assert site.job(job.id).state.value == "cancelled"
    site.assert_nothing_left()


def test_a_cancel_while_one_host_is_cut_off_ends_the_job_there_as_well(site: SshSite) -> None:
    job = launched(site, a_spec())
    site.wait_for_host_processes(job.id)
    site.hosts["gpu2"].cut()
    try:
        site.ask(lambda engine: engine.cancel(job.id))
        for name in NAMES:
            assert site.end_on(name, job.id)["state"] == "cancelled"
        assert site.final(job.id).state.value == "cancelled"
    finally:
        site.hosts["gpu2"].mend()
    site.assert_nothing_left()
