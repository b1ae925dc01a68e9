"""GPU leases and the queue on the local pool, with real processes and an nvidia-smi of our own."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_aiinfra.bundle import Bundle
from jupyter_aiinfra.engine import Engine, queue
from jupyter_aiinfra.model import Job, JobKind, JobSpec, JobState
from jupyter_aiinfra.node import nvml, supervise
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import open_store

EMPTY = Bundle(files=())

# Two GPUs. Whose process computes on which is in the file `apps`: lines of UUID, PID, MiB.
SMI = """#!/bin/sh
case "$1" in
--query-gpu=*)
  echo '0, GPU-0, Fake 9000, 81920, 4, 550.1'
  echo '1, GPU-1, Fake 9000, 81920, 4, 550.1'
  ;;
*) cat "{apps}" ;;
esac
"""


class Box:
    """This machine with two GPUs, and engines on it as if in processes of their own."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(home=folder / "home")
        self.apps = folder / "apps"
        self.apps.write_text("")
        self._engines: list[Engine] = []

    def engine(self) -> Engine:
        self._engines.append(Engine(open_store(self.settings), self.settings))
        return self._engines[-1]

    async def close(self) -> None:
        for engine in self._engines:
            for job in engine.store.list_jobs(active=True):
                await engine.cancel(job.id, grace=0.0)
            await engine.aclose()


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Box]:
    tools = tmp_path / "tools"
    tools.mkdir()
    box = Box(tmp_path)
    program = tools / "nvidia-smi"
    program.write_text(SMI.format(apps=box.apps))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setattr(nvml, "load", lambda: None)  # whatever this machine has
    monkeypatch.setattr(queue, "_LOOK_SECONDS", 0.2)
    monkeypatch.setattr(queue, "_KEEP_SECONDS", 0.2)
    yield box
    runs = box.settings.runs
    left = [who for run in runs.iterdir() for who in supervise.tagged(run.name)]
    for who in left:
        supervise.send(who, signal.SIGKILL)
    assert not left


def a_spec(script: str, *, gpus: int = 2, share: bool = False) -> JobSpec:
    return JobSpec(
        kind=JobKind.TRAIN,
        name="gpus",
        argv=("/bin/sh", "-c", script),
        gpus=gpus,
        share=share,
        verify_world=False,
    )


async def until(engine: Engine, job: Job, *states: JobState) -> Job:
    for _ in range(1200):
        now = await engine.refresh(job.id)
        if now.state in states:
            return now
        assert not now.state.final, now.seen
        await asyncio.sleep(0.05)
    raise AssertionError(f"{job.id} is {now.state.value} still: {now.seen}")


def said(engine: Engine, job: Job) -> str:
    return (engine.settings.runs / job.id / "logs/launcher.log").read_text()


async def test_two_jobs_that_want_every_gpu_run_one_after_the_other(
    box: Box, tmp_path: Path
) -> None:
    engine = box.engine()
    await engine.attach("box", kind="local")
    gate, order = tmp_path / "gate", tmp_path / "order"
    wait = f'while [ ! -e "{gate}" ]; do sleep 0.05; done'
    script = f'echo "$AIINFRA_GPUS $CUDA_VISIBLE_DEVICES"; echo "begin $AIINFRA_JOB" >>"{order}"; '
    script += f'{wait}; echo "end $AIINFRA_JOB" >>"{order}"'
    first = await engine.launch("box", a_spec(script), EMPTY)
    second = await engine.launch("box", a_spec(script), EMPTY)
    assert (first.state, second.state) == (JobState.STARTING, JobState.QUEUED)
    assert second.seen is not None
    assert second.seen.reason == "waits for 2 GPUs; 1st in the queue"
    view = await engine.show_pool("box")
    assert view.leases is not None
    assert {(lease.gpu, lease.job) for lease in view.leases} == {
        ("GPU-0", first.id),
        ("GPU-1", first.id),
    }
    # Whoever launched them is gone: another process sees to the rest.
    await engine.aclose()
    other = box.engine()
    gate.touch()
    await until(other, first, JobState.SUCCEEDED)
    await until(other, second, JobState.SUCCEEDED)
    assert order.read_text().split() == [
        word for job in (first, second) for moment in ("begin", "end") for word in (moment, job.id)
    ]
    for job in (first, second):
        assert said(other, job) == "GPU-0,GPU-1 GPU-0,GPU-1\n"
    assert other.store.leases() == []
    await box.close()


async def test_jobs_that_share_run_at_once(box: Box, tmp_path: Path) -> None:
    engine = box.engine()
    await engine.attach("box", kind="local")
    # Each waits for the other.
    script = 'touch "{0}/$AIINFRA_JOB.here"; while [ $(ls "{0}"/*.here | wc -l) -lt 2 ]; '
    script = script.format(tmp_path) + "do sleep 0.05; done"
    jobs = [await engine.launch("box", a_spec(script, share=True), EMPTY) for _ in range(2)]
    for job in jobs:
        await until(engine, job, JobState.SUCCEEDED)
    await box.close()


async def test_a_gpu_that_somebody_else_uses_is_avoided(box: Box) -> None:
    engine = box.engine()
    await engine.attach("box", kind="local")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as outsider:
        box.apps.write_text(f"GPU-0, {outsider.pid}, 20582\n")
        one = await engine.launch("box", a_spec("echo $AIINFRA_GPUS", gpus=1), EMPTY)
        two = await engine.launch("box", a_spec("echo $AIINFRA_GPUS"), EMPTY)
        await until(engine, one, JobState.SUCCEEDED)
        assert said(engine, one) == "GPU-1\n"
        waits = await engine.refresh(two.id)
        assert waits.state is JobState.QUEUED
        assert waits.seen is not None
        assert f"gpu0: GPU-0 is used by PID {outsider.pid} of " in (waits.seen.reason or "")
        assert "20.1 GiB" in (waits.seen.reason or "")
        outsider.communicate(b"\n", timeout=60)
    box.apps.write_text("")
    await until(engine, two, JobState.SUCCEEDED)
    assert said(engine, two) == "GPU-0,GPU-1\n"
    await box.close()
