"""Jobs on ssh hosts through the engine: leases, environments, what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.bundle import Bundle, bundle_file
from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.environments import PYTHON, read_environment
from jupyter_aiinfra.model import Health, Job, JobKind, JobSpec, JobState
from jupyter_aiinfra.store import open_store
from tests.support.sshpool import Cluster, open_cluster
from tests.support.wheels import make_wheel

HOSTS = ("gpu1", "gpu2")
# One GPU a host; `apps` in the home holds lines of UUID, PID, MiB of who computes on it.
SMI = """#!/bin/sh
case "$1" in
--query-gpu=*) echo "0, GPU-$(hostname), Fake 9000, 81920, 4, 550.1" ;;
*) cat "$HOME/apps" 2>/dev/null || true ;;
esac
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with open_cluster(tmp_path_factory.mktemp("ssh"), HOSTS) as cluster:
        for name in HOSTS:
            tools = cluster.hosts[name].home / "tools"
            tools.mkdir()
            (tools / "nvidia-smi").write_text(SMI)
            (tools / "nvidia-smi").chmod(0o755)
            ssh = cluster.hosts[name].home / ".ssh"
            ssh.mkdir(exist_ok=True)
            (ssh / "environment").write_text(f"PATH={tools}:/usr/local/bin:/usr/bin:/bin\n")
        yield cluster


@pytest.fixture
async def engine(cluster: Cluster) -> AsyncIterator[Engine]:
    engine = Engine(open_store(cluster.settings), cluster.settings)
    if not engine.store.list_pools():
        record = cluster.record()
        await engine.attach("lab", kind="ssh", options=record.options)
    yield engine
    for job in engine.store.list_jobs(active=True):
        await engine.cancel(job.id, grace=0.0)
        await over(engine, job)
    for job in engine.store.list_jobs():
        await engine.remove(job.id)
    await engine.aclose()


def a_spec(script: str, **changes: Any) -> JobSpec:
    given = {"verify_world": False, "grace_seconds": 1.0, **changes}
    return JobSpec(kind=JobKind.TRAIN, name="ssh", argv=("/bin/sh", "-c", script), **given)


async def over(engine: Engine, job: Job, *, seconds: float = 60) -> Job:
    return await until(engine, job, *(s for s in JobState if s.final), seconds=seconds)


async def until(engine: Engine, job: Job, *states: JobState, seconds: float = 60) -> Job:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        now = await engine.refresh(job.id)
        if now.state in states:
            return now
        await asyncio.sleep(0.1)
    pytest.fail(f"{now.state}: {now.seen}")


async def log(engine: Engine, job: Job, rank: int = -1) -> str:
    return b"".join([c.data async for c in engine.logs(job.id, rank=rank)]).decode()


async def test_each_job_has_a_gpu_of_its_own_and_the_third_waits(engine: Engine) -> None:
    script = (
        "echo $CUDA_VISIBLE_DEVICES on $(hostname); while [ ! -e $HOME/go ]; do sleep 0.1; done"
    )
    jobs = [await engine.launch("lab", a_spec(script, gpus=1), Bundle(files=())) for _ in range(3)]
    assert [job.state for job in jobs[:2]] == [JobState.STARTING] * 2
    assert jobs[2].state is JobState.QUEUED
    assert jobs[2].seen is not None
    assert "waits for 1 GPU" in (jobs[2].seen.reason or "")
    await engine.cancel(jobs[0].id, grace=0.0)
    await over(engine, jobs[0])
    await until(engine, jobs[2], JobState.STARTING, JobState.RUNNING)
    for job in (jobs[1], jobs[2]):
        await engine.cancel(job.id, grace=0.0)
        await over(engine, job)
    said = {(await log(engine, job)).splitlines()[0] for job in jobs}
    assert said == {f"GPU-{name} on {name}" for name in HOSTS}


async def test_a_gpu_that_somebody_else_computes_on_is_left_alone(
    engine: Engine, cluster: Cluster
) -> None:
    apps = cluster.hosts["gpu1"].home / "apps"
    apps.write_text("GPU-gpu1, 1, 20000\n")
    try:
        job = await engine.launch("lab", a_spec("hostname", gpus=1), Bundle(files=()))
        await over(engine, job)
        assert await log(engine, job) == "gpu2\n"
    finally:
        apps.unlink()


async def test_a_job_of_two_gpus_nodes_has_one_on_each(engine: Engine) -> None:
    job = await engine.launch(
        "lab", a_spec("echo $CUDA_VISIBLE_DEVICES", gpus=1, nodes=2), Bundle(files=())
    )
    job = await over(engine, job)
    assert job.state is JobState.SUCCEEDED
    assert [place.gpus for place in job.placement] == [("GPU-gpu1",), ("GPU-gpu2",)]
    assert [await log(engine, job, rank) for rank in (-1, -2)] == ["GPU-gpu1\n", "GPU-gpu2\n"]
    assert not engine.store.leases(pool="lab")


async def test_an_unreachable_node_frees_no_lease(engine: Engine, cluster: Cluster) -> None:
    job = await engine.launch("lab", a_spec("exec sleep 300", gpus=1), Bundle(files=()))
    held = engine.store.leases(pool="lab")
    host = cluster.hosts[held[0].node]
    host.cut()
    try:
        with contextlib.suppress(Exception):
            await engine.refresh(job.id)
        assert engine.store.leases(pool="lab") == held
        nodes = {node.name: node for node in await engine.nodes("lab")}
        assert nodes[host.name].health is Health.UNREACHABLE
    finally:
        host.mend()


async def test_an_environment_is_built_on_each_node_and_the_ranks_run_in_it(
    engine: Engine, cluster: Cluster, tmp_path: Path
) -> None:
    make_wheel(tmp_path / "dist", "tiny", "1.0", {"tiny.py": "SAID = 'hello'\n"})
    (tmp_path / "requirements.txt").write_text("--no-index\n--find-links dist\ntiny==1.0\n")
    spec, files = read_environment("requirements.txt", tmp_path)
    bundle = Bundle(files=tuple(bundle_file(path, data) for path, data in files.items()))
    code = "import sys, tiny; print(tiny.SAID, sys.prefix)"
    wanted = JobSpec(
        kind=JobKind.TRAIN,
        name="env",
        argv=(PYTHON, "-c", code),
        nodes=2,
        environment=spec,
        verify_world=False,
    )
    heard: list[str] = []
    job = await engine.launch("lab", wanted, bundle, report=lambda node, _step: heard.append(node))
    assert (await over(engine, job)).state is JobState.SUCCEEDED
    assert set(heard) == set(HOSTS)
    for slot, name in enumerate(HOSTS):
        said = (await log(engine, job, -1 - slot)).split()
        assert said[0] == "hello"
        assert said[1].startswith(str(cluster.hosts[name].home))
    made = await engine.environments("lab")
    assert sorted(node for node, _ in made) == list(HOSTS)
    again = await engine.launch("lab", wanted, bundle)
    assert (await over(engine, again)).state is JobState.SUCCEEDED
    assert len(await engine.environments("lab")) == len(HOSTS)


async def test_declared_files_come_back_from_the_node(engine: Engine) -> None:
    script = "mkdir out; echo weights >out/model.bin; echo $AIINFRA_NODE_RANK >out/node"
    job = await engine.launch(
        "lab", a_spec(script, nodes=2, artifacts=("out/**",)), Bundle(files=())
    )
    job = await over(engine, job)
    assert job.seen is not None
    assert job.seen.artifacts is not None
    assert job.seen.artifacts.files == 2
    folder = await engine.artifacts(job.id)
    assert folder is not None
    assert (folder / "out/model.bin").read_text() == "weights\n"
    assert (folder / "out/node").read_text() == "0\n"


async def test_a_job_is_run_again_with_what_the_nodes_still_hold(engine: Engine) -> None:
    bundle = Bundle(files=(bundle_file("src/a.txt", b"carried"),))
    spec = a_spec("cat $AIINFRA_RUN_DIR/src/a.txt", files=bundle.refs())
    job = await over(engine, await engine.launch("lab", spec, bundle))
    again = await over(engine, await engine.rerun(job.id))
    assert await log(engine, again) == "carried"
