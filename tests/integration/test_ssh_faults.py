"""Cables pulled and nodes killed under jobs on real sshd hosts, with and without anybody watching.

The jobs that only have to run are shells; the one that has to go on is a real training.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_aiinfra.bundle import Bundle
from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.errors import Unreachable
from jupyter_aiinfra.follow import Follower
from jupyter_aiinfra.model import Health, Job, JobKind, JobSpec, JobState
from tests.support.sshsite import SshSite, open_ssh_site

NAMES = ("gpu1", "gpu2", "gpu3", "gpu4", "gpu5")
STOP_SECONDS = 15.0

# Counts into a file after each step, so that the steps that were lost by a death are known.
TRAIN = """
import os, time
import torch
from accelerate import Accelerator

accelerator = Accelerator(cpu=True)
torch.manual_seed(0)
model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
model, optimizer = accelerator.prepare(model, optimizer)

class Progress:
    done = 0
    def state_dict(self):
        return {"done": self.done}
    def load_state_dict(self, state):
        self.done = state["done"]

progress = Progress()
accelerator.register_for_checkpointing(progress)
folder = os.environ["AIINFRA_CHECKPOINT_DIR"]
saved = sorted(name for name in os.listdir(folder) if name.startswith("step-"))
if saved:
    accelerator.load_state(os.path.join(folder, saved[-1]))
print("begins at", progress.done, "of", accelerator.num_processes, flush=True)
while progress.done < 12:
    loss = model(torch.ones(4, 2)).pow(2).mean()
    accelerator.backward(loss)
    optimizer.step()
    optimizer.zero_grad()
    progress.done += 1
    place = os.path.join(folder, f"step-{progress.done:04}")
    # Under another name until it is whole: a node may die over it.
    accelerator.save_state(place.replace("step-", "part-"))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        os.replace(place.replace("step-", "part-"), place)
    print("step", progress.done, flush=True)
    accelerator.wait_for_everyone()
    time.sleep(0.2)
print("ended at", progress.done, flush=True)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshSite]:
    with open_ssh_site(tmp_path_factory.mktemp("faults"), NAMES) as site:
        site.attach_hosts("gpu1", "gpu2", "gpu3")
        site.attach_hosts("gpu4", "gpu5", pool="other")
        site.script("train.py", TRAIN)
        yield site


@pytest.fixture
def shared() -> Iterator[Path]:
    """Yield a folder that all hosts see, as a network file system is: /var/tmp is the machine's."""
    folder = Path(tempfile.mkdtemp(prefix="aiinfra-shared", dir="/var/tmp"))
    yield folder
    shutil.rmtree(folder)


def a_spec(script: str, *, nodes: int = 2, dead_peer_seconds: float = 10.0) -> JobSpec:
    return JobSpec(
        kind=JobKind.TRAIN,
        name="shell",
        argv=("/bin/sh", "-c", script),
        nodes=nodes,
        dead_peer_seconds=dead_peer_seconds,
        verify_world=False,
        grace_seconds=1.0,
    )


async def launched(engine: Engine, spec: JobSpec, *, pool: str = "lab") -> Job:
    return await engine.launch(pool, spec, Bundle(files=()))


async def until(engine: Engine, job: Job, *states: JobState, seconds: float = 90) -> Job:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(Unreachable):
            job = await engine.refresh(job.id)
        if job.state in states:
            return job
        await asyncio.sleep(0.1)
    pytest.fail(f"job {job.id} is {job.state}, not {states}")


def counting(to: int, pause: float) -> str:
    seat = "log=$AIINFRA_RUN_DIR/logs/rank-$AIINFRA_NODE_RANK.log; i=0; "
    return seat + f"while [ $i -lt {to} ]; do i=$((i+1)); echo $i >>$log; sleep {pause}; done"


# --- links -----------------------------------------------------------------------------------


async def test_a_cut_notebook_sees_unreachable_and_afterwards_the_whole_log(site: SshSite) -> None:
    """The link of the notebook's side is cut for 20 s; one node's is cut meanwhile, then mended."""
    engine = site.engine()
    count, cut_seconds = 260, 20.0
    job = await launched(engine, a_spec(counting(count, 0.1)))
    follower = Follower(engine, job)
    logs = {0: b"", 1: b""}
    states, silences = [], 0
    cut_at: float | None = None
    mended = False
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        news = await follower.poll()
        for chunk in news.chunks:
            if chunk.rank >= 0:
                assert chunk.offset == len(logs[chunk.rank])
                logs[chunk.rank] += chunk.data
        silences += news.unreachable is not None
        states.append(site.job(job.id).state)
        if cut_at is None and logs[0].count(b"\n") > 5 and logs[1].count(b"\n") > 5:
            cut_at = time.monotonic()
            for name in ("gpu1", "gpu2"):
                site.hosts[name].cut()
        if cut_at is not None and not mended and time.monotonic() - cut_at > cut_seconds:
            mended = True
            for name in ("gpu1", "gpu2"):
                site.hosts[name].mend()
        if news.complete:
            break
        await asyncio.sleep(0.1)
    assert mended
    assert silences
    told = [state for state in dict.fromkeys(states) if state is not JobState.STARTING]
    assert told == [JobState.RUNNING, JobState.SUCCEEDED]
    whole = b"".join(b"%d\n" % number for number in range(1, count + 1))
    assert logs == {0: whole, 1: whole}
    await engine.pool("lab").aclose()


async def test_a_short_cut_between_nodes_and_a_slow_network_change_nothing(
    site: SshSite,
) -> None:
    engine = site.engine()
    for name in NAMES:
        site.hosts[name].slow(delay_ms=100, loss=0.05)  # each way: 200 ms there and back
    try:
        begun = time.monotonic()
        site.attach_hosts("gpu1", "gpu2", "gpu3", pool="slow")
        attached = time.monotonic() - begun
        job = await launched(engine, a_spec(counting(25, 0.3)), pool="slow")
        submitted = time.monotonic() - begun - attached
        site.hosts["gpu1"].cut_from(site.hosts["gpu2"])
        # The length of the cut. TCP waits twice as long before each new try, and one in twenty is
        # lost: after this there are two tries left in the ten seconds that the nodes bear.
        await asyncio.sleep(3.0)
        site.hosts["gpu1"].mend_from(site.hosts["gpu2"])
        job = await until(engine, job, JobState.SUCCEEDED, JobState.FAILED)
        assert (job.state, job.seen and job.seen.attempt) == (JobState.SUCCEEDED, 1)
        shown = site.command("jobs", "logs", job.id, "--rank", "1")
        assert shown.stdout.split() == [str(number) for number in range(1, 26)]

        job = await launched(engine, a_spec("exec sleep 300"), pool="slow")
        await until(engine, job, JobState.RUNNING)
        begun = time.monotonic()
        done = site.command("jobs", "cancel", job.id)
        assert done.returncode == 0, done.stderr
        job = await until(engine, job, JobState.CANCELLED)
        sys.stdout.write(
            f"slow: attach {attached:.1f} s, submit {submitted:.1f} s, "
            f"cancel {time.monotonic() - begun:.1f} s\n"
        )
    finally:
        for name in NAMES:
            site.hosts[name].fast()
        await engine.pool("slow").aclose()
    site.assert_nothing_left()


# --- nodes that are lost ---------------------------------------------------------------------


async def test_a_lost_node_stops_the_others_within_15_s_with_nobody_connected(
    site: SshSite,
) -> None:
    """One job's node loses its power, another's its cable, at the same time."""
    engine = site.engine()
    killed = await launched(engine, a_spec("exec sleep 300", nodes=3))
    severed = await launched(engine, a_spec("exec sleep 300"), pool="other")
    site.wait_for_host_processes(killed.id, "gpu1", "gpu2", "gpu3")
    site.wait_for_host_processes(severed.id, "gpu4", "gpu5")
    for name in ("lab", "other"):
        await engine.pool(name).aclose()

    at = time.time()
    site.hosts["gpu3"].power_off()
    site.hosts["gpu5"].isolate()
    try:
        for job, names, lost in (
            (killed, ("gpu1", "gpu2"), "gpu3"),
            (severed, ("gpu4", "gpu5"), None),
        ):
            for name in names:
                record = site.end_on(name, job.id)
                took = record["ended_at"] - at
                sys.stdout.write(f"{name} stopped {took:.1f} s after: {record['reason']}\n")
                assert record["state"] == "failed"
                assert 7.5 < took < STOP_SECONDS  # a beat before the loss may be 2 s old
                assert site.hosts[name].tagged(job.id) == []
                # Who is cut off takes the others for lost.
                other = lost or {"gpu4": "gpu5", "gpu5": "gpu4"}[name]
                assert record["reason"].startswith(f"node {other} was lost"), record
        # Those who ask later are told so, of the dead node as well.
        again = site.engine()
        job = await until(again, killed, JobState.FAILED)
        assert job.seen is not None
        assert (job.seen.reason or "").startswith("node gpu3 was lost")
        assert [node.health for node in job.seen.nodes] == [Health.LIVE] * 2 + [Health.LOST]
        job = await until(again, severed, JobState.FAILED)
        assert job.seen is not None
        assert (job.seen.reason or "").startswith("node gpu5 was lost")
        for name in ("lab", "other"):
            await again.pool(name).aclose()
    finally:
        site.hosts["gpu3"].power_on()
        site.hosts["gpu5"].mend()
    site.assert_nothing_left()


@pytest.mark.parametrize("lost", ["gpu3", "gpu1"])
def test_a_training_goes_on_from_its_checkpoint_without_the_node_that_died(
    site: SshSite, shared: Path, lost: str
) -> None:
    words = ("run", "train.py", "--pool", "lab", "--nodes", "2..3", "--max-restarts", "1")
    env = {"JUPYTER_AIINFRA_DEAD_PEER_SECONDS": "4"}
    checkpoints = f"AIINFRA_CHECKPOINT_DIR={shared}"
    done = site.command(*words, "--env", checkpoints, "--detach", env=env)
    assert done.returncode == 0, done.stderr
    job = site.newest()
    log = "rank-0.log"
    site.wait_for_text("gpu1", job.id, "step 3\n", log=log, seconds=120)
    at = time.time()
    site.hosts[lost].power_off()
    try:
        survivor = "gpu2"
        record = site.end_on(survivor, job.id, seconds=120)
        assert record["state"] == "succeeded", site.tale(job.id)
        assert record["attempt"] == 2
        [restart] = record["restarts"]
        assert restart["reason"].startswith(f"node {lost} was lost")
        assert restart["nodes"] == [name for name in ("gpu1", "gpu2", "gpu3") if name != lost]
        text = site.log_on(survivor, job.id, "rank-1.log")
        first, second = text.split("aiinfra: ")
        assert "begins at 0 of 3\n" in first
        begins = next(line for line in second.splitlines() if line.startswith("begins at"))
        from_step = int(begins.split()[2])
        assert from_step >= 3
        assert begins.endswith("of 2")
        assert f"step {from_step + 1}\n" in second
        assert second.endswith("ended at 12\n")
        assert max(path.name for path in shared.glob("step-*")) == "step-0012"
        sys.stdout.write(
            f"{lost} died: resumed from step {from_step} "
            f"{restart['at'] - at:.1f} s after, through {record['ended_at'] - at:.1f} s after\n"
        )
        seen = site.final(job.id).seen
        assert seen is not None
        assert seen.state is JobState.SUCCEEDED
        assert seen.attempt == 2
        assert {node.name: node.health for node in seen.nodes}[lost] is Health.LOST
        shown = site.command("jobs", "show", job.id)
        assert f"node {lost} was lost" in shown.stdout
    finally:
        site.hosts[lost].power_on()
    site.assert_nothing_left()
