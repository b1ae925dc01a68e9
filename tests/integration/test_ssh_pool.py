"""The ssh pool against the contract, on real sshd hosts, and what is its own."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.aio import collect
from jupyter_aiinfra.bundle import Bundle, bundle_file
from jupyter_aiinfra.errors import HostKeyUnknown, PoolError, SubmitError, Unreachable, UsageError
from jupyter_aiinfra.model import Handle, Health, Job, JobSpec, JobState
from jupyter_aiinfra.pools.base import Pool
from jupyter_aiinfra.pools.ssh import SshPool
from tests.contract.suite import FINAL, PoolContract, Rig, a_spec, make_job, until
from tests.support.bench import wait_until
from tests.support.sshpool import Cluster, connections, open_cluster


class SshRig(Rig):
    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.opened: list[SshPool] = []

    def open(self) -> Pool:
        self.opened.append(self.cluster.open())
        return self.opened[-1]

    def spec(self, *, exit_code: int | None = 0, text: str = "") -> JobSpec:
        end = "exec sleep 300" if exit_code is None else f"exit {exit_code}"
        return a_spec("/bin/sh", "-c", f'printf %s "$0"; {end}', text)

    async def settle(self, job: Job) -> None:
        del job  # real processes move by themselves

    def cut(self) -> bool:
        return False  # what a cut link does is told below, where it is mended again


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with open_cluster(tmp_path_factory.mktemp("ssh"), ("gpu1", "gpu2", "gpu3")) as cluster:
        yield cluster


@pytest.fixture
async def rig(cluster: Cluster) -> AsyncIterator[Rig]:
    rig = SshRig(cluster)
    yield rig
    for pool in rig.opened:
        await pool.aclose()
    pool = cluster.open()
    for handle in await pool.jobs():
        await pool.cancel(handle, grace=0.0)
        await until(lambda h=handle: pool.observe(h), *FINAL)  # type: ignore[misc]
        await pool.remove(handle)
    await pool.aclose()


class TestSshPool(PoolContract):
    async def run(
        self, rig: Rig, script: str, *, bundle: Bundle | None = None, **changes: Any
    ) -> tuple[Pool, Handle]:
        pool = rig.open()
        spec = dataclasses.replace(a_spec("/bin/sh", "-c", script), **changes)
        handle = await pool.submit(await pool.plan(make_job(spec)), bundle or Bundle(files=()))
        return pool, handle

    async def test_the_bundle_is_in_place_on_every_node(self, rig: Rig) -> None:
        script = "cat $AIINFRA_RUN_DIR/src/a.txt; hostname"
        bundle = Bundle(files=(bundle_file("src/a.txt", b"carried "), bundle_file(None, b"blob")))
        pool, handle = await self.run(rig, script, bundle=bundle, nodes=3)
        assert (await self.end(pool, handle)).state is JobState.SUCCEEDED
        for slot, name in enumerate(("gpu1", "gpu2", "gpu3")):
            chunks = await collect(pool.logs(handle, rank=-1 - slot))
            assert b"".join(c.data for c in chunks) == f"carried {name}\n".encode()

    async def test_every_node_is_told_its_place_and_its_way_to_the_others(self, rig: Rig) -> None:
        script = (
            "echo $AIINFRA_NODE_RANK $AIINFRA_NODE_COUNT $AIINFRA_HEAD $AIINFRA_PORT "
            "$GLOO_SOCKET_IFNAME $NCCL_SOCKET_IFNAME"
        )
        pool, handle = await self.run(rig, script, nodes=2)
        await self.end(pool, handle)
        said = []
        for slot in range(2):
            chunks = await collect(pool.logs(handle, rank=-1 - slot))
            said.append(b"".join(chunk.data for chunk in chunks).decode().split())
        head = (await pool.nodes())[0].address
        assert [words[:3] for words in said] == [["0", "2", head], ["1", "2", head]]
        assert said[0][3] == said[1][3] != "None"
        assert said[0][4] == said[0][5] == "eth0"

    async def test_nodes_that_do_not_answer_are_told_from_those_that_do(
        self, rig: Rig, cluster: Cluster
    ) -> None:
        pool = rig.open()
        assert [node.health for node in await pool.nodes()] == [Health.LIVE] * 3
        cluster.hosts["gpu2"].power_off()
        try:
            nodes = {node.name: node for node in await rig.open().nodes()}
            assert nodes["gpu1"].problem is None
            assert nodes["gpu2"].health is Health.UNREACHABLE
            assert "gpu2" in (nodes["gpu2"].problem or "")
            plan = await rig.open().plan(make_job(a_spec("true")))
            assert plan.nodes[0].node == "gpu1"
        finally:
            cluster.hosts["gpu2"].power_on()

    async def test_a_job_goes_on_while_the_notebook_is_cut_off(
        self, rig: Rig, cluster: Cluster
    ) -> None:
        script = "i=0; while [ $i -lt 100 ]; do i=$((i+1)); echo $i; sleep 0.05; done"
        pool, handle = await self.run(rig, script, nodes=2)
        await until(lambda: pool.observe(handle), JobState.RUNNING)
        for name in ("gpu1", "gpu2"):
            cluster.hosts[name].cut()
        with pytest.raises(Unreachable):
            await asyncio.wait_for(pool.observe(handle), 60)
        for name in ("gpu1", "gpu2"):
            cluster.hosts[name].mend()
        other = rig.open()
        assert (await self.end(other, handle)).state is JobState.SUCCEEDED
        chunks = await collect(other.logs(handle, rank=-1))
        text = b"".join(chunk.data for chunk in chunks)
        assert text == b"".join(b"%d\n" % number for number in range(1, 101))

    async def test_logs_polled_many_times_are_whole_and_in_order(self, rig: Rig) -> None:
        script = "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo line $i; done; sleep 1; echo end"
        pool, handle = await self.run(rig, script)
        data, over = b"", False
        while True:
            chunks = await collect(pool.logs(handle, rank=-1, offset=len(data)))
            for chunk in chunks:
                assert chunk.offset == len(data)
                data += chunk.data
            if over and not chunks:
                break
            over = (await pool.observe(handle)).state.final
        assert data == b"".join(b"line %d\n" % n for n in range(1, 2001)) + b"end\n"

    async def test_a_host_that_lacks_a_folder_refuses_and_nothing_is_left(self, rig: Rig) -> None:
        pool = rig.open()
        job = make_job(dataclasses.replace(a_spec("true"), nodes=2, cwd="/not/there"))
        with pytest.raises(SubmitError, match="/not/there"):
            await pool.submit(await pool.plan(job), Bundle(files=()))
        assert job.id not in {handle.data["job"] for handle in await pool.jobs()}

    async def test_secrets_reach_the_ranks_of_all_nodes_and_no_file(
        self, rig: Rig, cluster: Cluster
    ) -> None:
        spec = dataclasses.replace(
            a_spec("/bin/sh", "-c", 'test "${#TOKEN}" = 12'), nodes=2, secrets=("TOKEN",)
        )
        pool = rig.open()
        plan = await pool.plan(make_job(spec))
        secrets = {"TOKEN": "s3cr3t-value"}
        handle = await pool.submit(plan, Bundle(files=()), secrets=secrets)
        assert (await self.end(pool, handle)).state is JobState.SUCCEEDED
        for name in ("gpu1", "gpu2"):
            found = cluster.hosts[name].run(
                ["grep", "-rl", "s3cr3t-value", str(cluster.hosts[name].home)]
            )
            assert found.stdout == b""

    async def test_a_dead_node_is_named_with_nobody_connected(
        self, rig: Rig, cluster: Cluster
    ) -> None:
        pool, handle = await self.run(rig, "exec sleep 300", nodes=2, dead_peer_seconds=3.0)
        cluster.wait_for_processes(("gpu1", "gpu2"), handle.data["job"])
        await pool.aclose()
        cluster.hosts["gpu2"].power_off()
        try:
            seen = await self.end(rig.open(), handle)
            assert seen.state is JobState.FAILED
            assert (seen.reason or "").startswith("node gpu2 was lost")
            assert [node.health for node in seen.nodes] == [Health.LIVE, Health.LOST]
        finally:
            cluster.hosts["gpu2"].power_on()

    async def test_a_cut_between_nodes_for_good_ends_the_job_on_both(
        self, rig: Rig, cluster: Cluster
    ) -> None:
        pool, handle = await self.run(rig, "exec sleep 300", nodes=2, dead_peer_seconds=2.0)
        cluster.wait_for_processes(("gpu1", "gpu2"), handle.data["job"])
        cluster.hosts["gpu1"].cut_from(cluster.hosts["gpu2"])
        try:
            seen = await self.end(pool, handle)
            assert seen.state is JobState.FAILED
            # Each side has lost the other, and either may be the first to say so.
            assert re.match(r"node gpu[12] was lost", seen.reason or ""), seen.reason
            # The other may notice a little later; neither has anybody to tell it.
            job = handle.data["job"]
            await asyncio.to_thread(
                wait_until,
                lambda: not any(cluster.processes(name, job) for name in ("gpu1", "gpu2")),
            )
        finally:
            cluster.hosts["gpu1"].mend_from(cluster.hosts["gpu2"])

    async def test_a_short_cut_between_nodes_changes_nothing(
        self, rig: Rig, cluster: Cluster
    ) -> None:
        script = "i=0; while [ $i -lt 60 ]; do i=$((i+1)); sleep 0.1; done"
        pool, handle = await self.run(rig, script, nodes=2, dead_peer_seconds=8.0)
        cluster.wait_for_processes(("gpu1", "gpu2"), handle.data["job"])
        cluster.hosts["gpu1"].cut_from(cluster.hosts["gpu2"])
        await asyncio.sleep(3.0)  # a length of the cut, not a wait for something
        cluster.hosts["gpu1"].mend_from(cluster.hosts["gpu2"])
        seen = await self.end(pool, handle)
        assert (seen.state, seen.attempt) == (JobState.SUCCEEDED, 1)

    async def test_a_cancel_of_one_reachable_node_reaches_them_all(
        self, rig: Rig, cluster: Cluster
    ) -> None:
        pool, handle = await self.run(rig, "exec sleep 300", nodes=2)
        cluster.wait_for_processes(("gpu1", "gpu2"), handle.data["job"])
        cluster.hosts["gpu1"].cut()
        try:
            await pool.cancel(handle, grace=0.5)
            seen = await self.end(pool, handle)
            assert seen.state is JobState.CANCELLED
        finally:
            cluster.hosts["gpu1"].mend()


async def test_an_unknown_host_key_is_shown_and_not_waved_through(cluster: Cluster) -> None:
    known = cluster.hosts.known_hosts.read_text()
    cluster.hosts.known_hosts.write_text("")
    pool = cluster.open(hosts="gpu1")
    try:
        with connections(), pytest.raises(HostKeyUnknown, match="SHA256:"):
            await pool.nodes()
    finally:
        cluster.hosts.known_hosts.write_text(known)
        await pool.aclose()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hosts": None}, "which hosts"),
        ({"hosts": "a", "hosts_from": "f:x*"}, "contradict"),
        ({"hosts": "a,b", "addresses": "10.0.0.1"}, "names 1 and there are 2"),
        ({"hosts": "a", "max_procs": "0"}, "leaves no rank"),
        ({"hosts": "a", "host": "b"}, "unknown option 'host'"),
        ({"hosts": "-oProxyCommand=x"}, "-oProxyCommand"),
    ],
)
def test_options_that_cannot_be_are_refused(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    from jupyter_aiinfra.model import PoolRecord
    from jupyter_aiinfra.settings import Settings

    given = {key: value for key, value in options.items() if value is not None}
    record = PoolRecord(name="lab", kind="ssh", options=given)
    with pytest.raises((UsageError, PoolError)) as found:
        SshPool.from_record(record, Settings(home=tmp_path))
    assert message in f"{found.value.message} {found.value.hint}"
