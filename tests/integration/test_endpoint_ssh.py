"""A model deployed on an ssh host is called here, through a tunnel that heals."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_aiinfra.endpoint import ReplicaOptions
from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.engine.endpointviews import Asked
from jupyter_aiinfra.node import supervise
from jupyter_aiinfra.store import open_store
from tests.support.endpoints import ending, model, until
from tests.support.sshpool import Cluster, open_cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    # A socket's name is short, and pytest's folders are not.
    folder = Path(tempfile.mkdtemp(prefix="aie", dir="/tmp"))
    try:
        with open_cluster(folder, ("gpu1",)) as cluster:
            yield cluster
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def tunnels() -> list[int]:
    """Return the processes of this machine that forward a socket of ours."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"StreamLocalBindUnlink=yes" in line and supervise.identity(int(entry.name)):
                found.append(int(entry.name))
    return found


@pytest.mark.timeout(280)
async def test_a_model_on_a_host_is_called_here_and_its_tunnel_heals(
    cluster: Cluster, tmp_path: Path
) -> None:
    engine = Engine(open_store(cluster.settings), cluster.settings)
    try:
        record = cluster.record(folder="~/w")
        await engine.attach("lab", kind="ssh", options=record.options)
        before = set(tunnels())
        try:
            asked = Asked(options=ReplicaOptions(workers=1))
            await engine.endpoints.deploy("adder", model(tmp_path / "m"), pool="lab", asked=asked)
            view = await engine.endpoints.wait("adder", seconds=150)
            assert view.state == "ready", (view.problem, view.status)
            (replica,) = view.whole.replicas
            assert replica.reach is not None
            assert replica.reach.tunnel is not None
            told = {"outputs": [[3.0]], "version": "1"}
            assert await engine.endpoints.call("adder", {"inputs": [[1, 2]]}) == told

            (tunnel,) = set(tunnels()) - before
            os.kill(tunnel, signal.SIGKILL)
            await until(engine, "adder", lambda _: not {tunnel} & set(tunnels()))
            await until(engine, "adder", lambda view: view.up == 1)
            assert await engine.endpoints.call("adder", {"inputs": [[1, 2]]}) == told
        finally:
            await ending(engine)
        await until_gone(before)
    finally:
        await engine.aclose()


async def until_gone(before: set[int]) -> None:
    """Wait until no tunnel is left that was not there before."""
    deadline = time.monotonic() + 20
    while set(tunnels()) - before:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
