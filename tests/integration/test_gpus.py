"""Readings from the real probe to a table and to the store: on this machine, and over ssh."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import open_store
from jupyter_aiinfra.telemetry import Frame, NodeState, Scope
from tests.support.nvml import GIB, MockNvml, build, gpu
from tests.support.sshpool import Cluster, open_cluster

COMMAND = [
    sys.executable,
    "-c",
    "import sys; from jupyter_aiinfra.cli import main; sys.exit(main())",
]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def mock(tmp_path: Path, library: Path) -> MockNvml:
    mock = MockNvml(tmp_path / "gpus", library)
    mock.gpus = [gpu(number) for number in range(2)]
    mock.write()
    return mock


def probes(homes: Sequence[Path] = ()) -> list[int]:
    """Return the processes that run a probe; those of tests in other workers are theirs.

    `homes` are those of hosts, on which a process knows nothing of us.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    marks = [f"PYTEST_XDIST_WORKER={worker}".encode(), *(os.fsencode(home) for home in homes)]
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            is_probe = any(word.endswith(b"node/probe.py") or b"/fd/" in word for word in words)
            if is_probe and b"-S" in words:
                environ = (entry / "environ").read_bytes()
                if worker is None or any(mark in environ for mark in marks):
                    found.append(int(entry.name))
    return found


async def first(engine: Engine, scope: Scope, wants: Callable[[Frame], Any]) -> Frame:
    async def look() -> Frame:
        async with contextlib.aclosing(engine.telemetry.subscribe(scope)) as frames:
            async for frame in frames:
                if wants(frame):
                    return frame
        raise AssertionError

    return await asyncio.wait_for(look(), 40)


async def gone(homes: Sequence[Path] = ()) -> None:
    async def wait() -> None:
        while probes(homes):  # noqa: ASYNC110 - processes have no event
            await asyncio.sleep(0.05)

    await asyncio.wait_for(wait(), 30)


class TestHere:
    def command(self, mock: MockNvml, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
        environ = mock.environ(JUPYTER_AIINFRA_HOME=str(home), PATH=os.environ["PATH"])
        return subprocess.run(
            [*COMMAND, *words], env=environ, text=True, capture_output=True, check=True, timeout=120
        )

    def test_one_look(self, mock: MockNvml, tmp_path: Path) -> None:
        mock.set(1, util=None, procs=f"{os.getpid()}:{GIB}")
        self.command(mock, tmp_path / "home", "pool", "attach", "here", "--kind", "local")
        found = self.command(mock, tmp_path / "home", "gpus", "here", "--json")
        (pool,) = json.loads(found.stdout)
        one, two = pool["nodes"][0]["gpus"]
        assert (one["utilization_percent"], one["power_watts"]) == (10.0, 100.0)
        assert two["utilization_percent"] is None
        assert two["processes"][0]["pid"] == os.getpid()
        text = self.command(mock, tmp_path / "home", "gpus").stdout
        assert "2/2 GPUs in use" in text
        assert probes() == []

    def test_no_gpu(self, tmp_path: Path, library: Path) -> None:
        none = MockNvml(tmp_path / "none", library)
        self.command(none, tmp_path / "home", "pool", "attach", "here", "--kind", "local")
        text = self.command(none, tmp_path / "home", "gpus").stdout
        assert "no GPU" in text
        assert "CPUs" in text

    async def test_a_killed_probe_is_a_gap_and_comes_back(self, tmp_path: Path) -> None:
        settings = Settings(home=tmp_path)
        engine = Engine(open_store(settings), settings)
        await engine.attach("here", kind="local")
        scope = Scope(pool="here")
        try:
            async with contextlib.aclosing(engine.telemetry.subscribe(scope)) as frames:
                states: list[NodeState] = []
                async for frame in frames:
                    state = frame.nodes[0].state
                    if not states or states[-1] is not state:
                        states.append(state)
                        if states == [NodeState.WAITING, NodeState.LIVE]:
                            states.pop(0)
                        if states == [NodeState.LIVE]:
                            for pid in probes():
                                os.kill(pid, 9)
                    if states[1:] == [NodeState.UNREACHABLE, NodeState.LIVE]:
                        break
            at = engine.telemetry.history(scope, since=0)["localhost"].at
            assert max(b - a for a, b in itertools.pairwise(at)) > 1.0
        finally:
            await engine.aclose()
        await gone()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with open_cluster(tmp_path_factory.mktemp("ssh"), ("gpu1", "gpu2")) as cluster:
        yield cluster


async def test_over_ssh_one_channel_a_node_and_nothing_left(cluster: Cluster) -> None:
    engine = Engine(open_store(cluster.settings), cluster.settings)
    engine.telemetry.records = True
    try:
        record = cluster.record()
        await engine.attach("lab", kind="ssh", options=record.options)
        both = Scope(pool="lab")
        one = Scope(pool="lab", node="gpu1")
        frames = await asyncio.gather(
            first(engine, both, lambda f: all(n.state is NodeState.LIVE for n in f.nodes)),
            first(
                engine, one, lambda f: f.samples and f.samples["gpu1"].node.cpu_percent is not None
            ),
        )
        assert [node.name for node in frames[0].nodes] == ["gpu1", "gpu2"]
        assert frames[1].samples["gpu1"].node.cpu_count == os.cpu_count()
        homes = [host.home for host in cluster.hosts.values()]
        assert len(probes(homes)) == 2
        past = engine.telemetry.history(both, since=time.time() - 60)
        assert set(past) == {"gpu1", "gpu2"}
        await gone(homes)
    finally:
        await engine.aclose()
