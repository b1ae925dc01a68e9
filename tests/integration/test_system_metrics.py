"""What all nodes of a job over ssh do, in its MLflow run: each GPU of each, under its own name."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.bundle import Bundle, bundle_file
from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.model import JobKind, JobSpec
from jupyter_aiinfra.store import open_store
from tests.support.nvml import MockNvml, build, gpu
from tests.support.sshpool import Cluster, open_cluster

# MLflow is imported here to look at what was logged; its own warnings are not ours to mend.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(600)]

HOSTS = ("gpu1", "gpu2")
MIB = 1 << 20
RUN_DIR = "${AIINFRA_RUN_DIR}"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with open_cluster(tmp_path_factory.mktemp("ssh"), HOSTS) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def mocks(cluster: Cluster) -> dict[str, MockNvml]:
    """Give each host two GPUs; all of it lies in its home, which is all that a host sees of us."""
    found = {}
    for number, name in enumerate(HOSTS):
        home = cluster.hosts[name].home
        mock = MockNvml(home / "gpus", build(home / "library"))
        # So little is in use that nobody is taken to compute there.
        mock.gpus = [gpu(each, mem_used=(each + 1) * MIB) for each in (2 * number, 2 * number + 1)]
        mock.write()
        (home / "tools").mkdir()
        rows = "\n".join(
            f"echo '{index}, {each['uuid']}, {each['name']}, 81920, 4, 550.1'"
            for index, each in enumerate(mock.gpus)
        )
        smi = home / "tools" / "nvidia-smi"
        smi.write_text(f'#!/bin/sh\ncase "$1" in --query-gpu=*)\n{rows};; esac\n')
        smi.chmod(0o755)
        (home / ".ssh").mkdir(exist_ok=True)
        (home / ".ssh" / "environment").write_text(
            f"PATH={home}/tools:/usr/local/bin:/usr/bin:/bin\n"
            f"LD_LIBRARY_PATH={mock.library}\nMOCK_NVML={mock.path}\n"
        )
        found[name] = mock
    return found


@pytest.fixture
async def engine(cluster: Cluster, mocks: dict[str, MockNvml]) -> AsyncIterator[Engine]:
    assert set(mocks) == set(HOSTS)  # before anybody looks at the hosts
    engine = Engine(open_store(cluster.settings), cluster.settings)
    await engine.attach("lab", kind="ssh", options=cluster.record().options)
    yield engine
    for job in engine.store.list_jobs(active=True):
        await engine.cancel(job.id, grace=0.0)
        await until(lambda job=job: _over(engine, job.id))  # type: ignore[misc]
    for job in engine.store.list_jobs():
        await engine.remove(job.id)
    await engine.aclose()


async def until(look: Callable[[], Any], *, seconds: float = 120) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds} s"
        await asyncio.sleep(0.2)


async def _over(engine: Engine, job_id: str) -> bool:
    return (await engine.refresh(job_id)).state.final


async def _run_of(engine: Engine, job_id: str) -> str | None:
    seen = (await engine.refresh(job_id)).seen
    return seen.tracking.run_id if seen is not None and seen.tracking is not None else None


def launched(uri: str) -> tuple[JobSpec, Bundle]:
    request = {"format": 1, "uri": uri, "experiment": None, "experiment_id": None}
    request |= {"run_name": "two", "params": {}, "tags": {}, "artifacts": []}
    request["sample_seconds"] = 0.5
    bundle = Bundle(files=(bundle_file("track.json", json.dumps(request).encode()),))
    script = "while [ ! -e $HOME/enough ]; do sleep 0.1; done"
    spec = JobSpec(
        kind=JobKind.TRAIN,
        name="two",
        argv=("/bin/sh", "-c", script),
        nodes=2,
        procs=2,
        gpus=2,
        companion=(sys.executable, f"{RUN_DIR}/aiinfra/track.py", RUN_DIR),
        files=bundle.refs(),
        verify_world=False,
        grace_seconds=1.0,
    )
    return spec, bundle


async def test_each_gpu_of_each_node_has_a_name_of_its_own(
    engine: Engine, cluster: Cluster, mocks: dict[str, MockNvml]
) -> None:
    uri = f"sqlite:///{cluster.hosts[HOSTS[0]].home}/mlflow.db"
    job = await engine.launch("lab", *launched(uri))
    assert {place.node: len(place.gpus) for place in job.placement} == dict.fromkeys(HOSTS, 2)
    run_id = await until(lambda: _run_of(engine, job.id))
    client = importlib.import_module("mlflow").MlflowClient(uri)

    def figures() -> dict[str, float]:
        return dict(client.get_run(run_id).data.metrics)

    def gpus() -> set[str]:
        return {name for name in figures() if name.endswith("utilization_percentage")}

    name = "system/node_{}/gpu_{}_utilization_percentage"
    wanted = {name.format(node, number) for node in (0, 1) for number in (0, 1)}
    await until(lambda: wanted <= gpus())
    values = figures()
    assert [values[each] for each in sorted(wanted)] == [10.0, 11.0, 12.0, 13.0]
    assert values["system/node_1/gpu_1_memory_usage_megabytes"] == 4.194
    assert values["system/node_1/gpu_0_power_usage_watts"] == 102.0
    machine = "system/node_{}/cpu_utilization_percentage"
    await until(lambda: {machine.format(0), machine.format(1)} <= set(figures()))
    # None without the number of its node.
    assert not [each for each in figures() if each.startswith(("system/gpu", "system/cpu"))]
    # What changes is told, and a GPU that hangs costs its own figures alone.
    mocks["gpu2"].gpus[0] |= {"hang": "nvmlDeviceGetUtilizationRates"}
    mocks["gpu2"].set(1, util=77)
    await until(lambda: figures()[name.format(1, 1)] == 77.0)
    for host in HOSTS:
        (cluster.hosts[host].home / "enough").touch()
    await until(lambda: _over(engine, job.id))
    assert (await engine.refresh(job.id)).state.value == "succeeded"
    await until(lambda: client.get_run(run_id).info.status == "FINISHED")
    for host in HOSTS:
        await until(lambda host=host: not companions(cluster, host))  # type: ignore[misc]


def companions(cluster: Cluster, host: str) -> list[str]:
    """Return the companions that still run on a host."""
    home = str(cluster.hosts[host].home).encode()
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            if b"aiinfra/track.py" in words and home in words:
                found.append(entry.name)
    return found
