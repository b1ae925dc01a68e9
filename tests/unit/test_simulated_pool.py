"""The pool of GPUs that are not there: made up or recorded, looked at, and never launched on."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.bundle import Bundle
from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.errors import SubmitError, Unreachable, UsageError
from jupyter_aiinfra.model import Handle, Job, JobState, Plan, PoolRecord, new_job_id
from jupyter_aiinfra.pools import open_pool
from jupyter_aiinfra.pools.base import Pool, Probing
from jupyter_aiinfra.pools.made import MadeCluster
from jupyter_aiinfra.pools.simulated import SimulatedOptions, SimulatedPool
from jupyter_aiinfra.server.kinds import options_schema
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import open_store
from jupyter_aiinfra.telemetry import NodeSample, NodeState, Scope
from jupyter_aiinfra.telemetry.sample import Sample, parse_sample
from jupyter_aiinfra.testing import FakeClock
from tests.contract.suite import a_spec

HEAD = '{"format":"aiinfra-gpus","version":1,"nodes":[{"name":"n0","address":"n0"}]}'


def opened(tmp_path: Path, **options: Any) -> SimulatedPool:
    pool = open_pool(
        PoolRecord(name="sim", kind="simulated", options=options, created_at=1000.0),
        Settings(home=tmp_path),
    )
    assert isinstance(pool, SimulatedPool)
    return pool


def a_trace(path: Path, *, seconds: int = 5) -> Path:
    lines = [HEAD]
    for second in range(seconds):
        gpu = {"uuid": "GPU-1", "name": "H100", "util": second, "mem_used": 7, "procs": []}
        lines.append(json.dumps({"node": "n0", "at": 50.0 + second, "gpus": [gpu]}))
    path.write_text("\n".join([*lines, ""]))
    return path


async def first(pool: SimulatedPool, node: str) -> Sample:
    async with contextlib.aclosing(pool.probe(node)) as lines:
        async for line in lines:
            assert line.endswith(b"\n")
            return parse_sample(line)
    raise AssertionError


class TestMade:
    def samples(self, cluster: MadeCluster, at: float) -> dict[str, Sample]:
        return {
            node.name: parse_sample(
                json.dumps({"at": at, **cluster.reading(node.name, at)}).encode()
            )
            for node in cluster.nodes
        }

    def cluster(self, **changes: Any) -> MadeCluster:
        return MadeCluster(**{"nodes": 2, "gpus": 4, "seed": 1, "mig": 0, "began": 1e9, **changes})

    def test_the_same_seed_says_the_same_and_another_does_not(self) -> None:
        one, two = self.cluster(), self.cluster()
        assert one.nodes == two.nodes
        # Whoever looks, and in whatever order.
        assert [self.samples(one, at) for at in (5, 300)] == [
            self.samples(two, at) for at in (300, 5)
        ][::-1]
        other = self.cluster(seed=2)
        assert {g.uuid for n in other.nodes for g in n.gpus}.isdisjoint(
            g.uuid for n in one.nodes for g in n.gpus
        )

    @pytest.mark.parametrize(
        ("nodes", "gpus", "mig"), [(1, 1, 1), (3, 2, 0), (5, 0, 0), (64, 8, 2)]
    )
    def test_values_are_ones_that_can_be(self, nodes: int, gpus: int, mig: int) -> None:
        cluster = self.cluster(nodes=nodes, gpus=gpus, mig=mig)
        uuids = [gpu.uuid for node in cluster.nodes for gpu in node.gpus]
        assert len(set(uuids)) == nodes * gpus
        for at in (0.0, 13.0, 65.5, 790.0, 1e6):
            for name, sample in self.samples(cluster, at).items():
                machine = sample.node
                assert 0 <= (machine.cpu_percent or -1) <= 100, name
                whole = [gpu for gpu in sample.gpus if gpu.parent is None]
                assert len(whole) == gpus
                for gpu in sample.gpus:
                    if gpu.lost or gpu.parent is not None:
                        continue
                    assert 0 <= (gpu.memory_used_bytes or -1) <= (gpu.memory_total_bytes or 0)
                    assert 0 < (gpu.power_watts or 0) <= (gpu.power_limit_watts or 0)
                    assert 20 < (gpu.temperature_celsius or 0) < 95
                    util = gpu.utilization_percent
                    assert util is None or 0 <= util <= 100

    def test_jobs_load_train_save_and_end(self) -> None:
        cluster = self.cluster()
        train = [self.samples(cluster, at)["sim01"].gpus[0] for at in (2, 100, 352, 800, 900)]
        util = [gpu.utilization_percent or 0 for gpu in train]
        assert util[0] < 10  # loads
        assert util[1] > 90  # trains
        assert util[2] < 10  # saves
        assert [len(gpu.processes or ()) for gpu in train] == [1, 1, 1, 0, 1]
        memory = [gpu.memory_used_bytes or 0 for gpu in train]
        assert memory[3] < memory[0] < memory[1]
        jobs = [(gpu.processes or (None,))[0] for gpu in (train[1], train[4])]
        assert jobs[0] is not None
        assert jobs[1] is not None
        assert jobs[0].job != jobs[1].job
        assert jobs[0].seat == 0

    def test_one_rank_is_hot_and_slow(self) -> None:
        gpus = self.samples(self.cluster(), 140)["sim01"].gpus
        slow, other = gpus[3], gpus[0]
        assert "hw_thermal" in (slow.throttle or ())
        assert "hw_thermal" not in (other.throttle or ())
        assert (slow.sm_clock_mhz or 0) < (other.sm_clock_mhz or 0)
        assert (slow.temperature_celsius or 0) > (other.temperature_celsius or 0)

    def test_ranks_go_on_on_the_next_node(self) -> None:
        found = self.samples(self.cluster(nodes=4), 100)
        processes = [
            (gpu.processes or ())[0] for name in ("sim01", "sim02") for gpu in found[name].gpus
        ]
        assert [each.seat for each in processes] == list(range(8))
        assert len({each.job for each in processes}) == 1

    def test_one_waits_for_data_one_holds_and_one_is_lost_for_a_while(self) -> None:
        cluster = self.cluster()
        waits = [
            self.samples(cluster, at)["sim02"].gpus[0].utilization_percent or 0
            for at in range(100, 118)
        ]
        assert max(waits) > 70
        assert min(waits) < 30
        holds = self.samples(cluster, 100)["sim02"].gpus[2]
        assert (holds.utilization_percent, len(holds.processes or ())) == (0, 1)
        assert [self.samples(cluster, at)["sim02"].gpus[3].lost for at in (599, 601, 721)] == [
            False,
            True,
            False,
        ]

    def test_slices_have_memory_and_no_utilization(self) -> None:
        gpus = self.samples(self.cluster(mig=1), 100)["sim02"].gpus
        whole, *slices = gpus[:4]
        assert whole.utilization_percent is None
        assert [each.parent for each in slices] == [whole.uuid] * 3
        assert [each.utilization_percent for each in slices] == [None] * 3
        assert all(each.memory_used_bytes for each in slices)
        assert gpus[4].utilization_percent is not None


class TestPool:
    async def test_the_inventory_and_what_is_used_of_it(self, tmp_path: Path) -> None:
        nodes = await opened(tmp_path).nodes()
        assert [node.name for node in nodes] == ["sim01", "sim02"]
        assert all(node.python is not None for node in nodes)
        assert nodes[1].gpus[2].used_by[0].user == "emmy"
        assert nodes[0].gpus[0].memory_used_bytes

    async def test_options_are_words_as_typed(self, tmp_path: Path) -> None:
        nodes = await opened(tmp_path, nodes="3", gpus="1", seed="7", speed="2.5").nodes()
        assert [len(node.gpus) for node in nodes] == [1, 1, 1]

    @pytest.mark.parametrize(
        ("options", "option"),
        [
            ({"nodes": 0}, "nodes"),
            ({"gpus": 17}, "gpus"),
            ({"mig": 3}, "mig"),
            ({"speed": "0"}, "speed"),
            ({"nodes": "many"}, "nodes"),
            ({"node": 3}, "node"),
            ({"trace": "/nowhere/t.jsonl"}, "trace"),
            ({"trace": "t.jsonl"}, "trace"),
            ({"trace": "/nowhere/t.jsonl", "seed": 0}, "seed"),
        ],
    )
    def test_what_cannot_be_is_named(
        self, tmp_path: Path, options: dict[str, Any], option: str
    ) -> None:
        with pytest.raises(UsageError) as refused:
            opened(tmp_path, **options)
        assert refused.value.option == option

    def test_a_form_can_be_drawn_of_its_options(self) -> None:
        drawn = options_schema(SimulatedOptions)
        assert list(drawn["properties"]) == ["trace", "nodes", "gpus", "seed", "mig", "speed"]
        assert all("description" in each for each in drawn["properties"].values())
        assert drawn["properties"]["gpus"]["title"] == "GPUs"
        assert "required" not in drawn or not drawn["required"]

    async def test_nothing_runs_on_it(self, tmp_path: Path) -> None:
        pool = opened(tmp_path)
        job = Job(id=new_job_id(), pool="sim", spec=a_spec("true"))
        with pytest.raises(SubmitError, match="simulated") as refused:
            await pool.plan(job)
        assert "--kind local" in refused.value.hint
        with pytest.raises(SubmitError, match="simulated"):
            await pool.submit(Plan(job=job, nodes=()), Bundle(files=()))
        handle = Handle(kind="simulated", data={"job": job.id})
        assert (await pool.observe(handle)).state is JobState.LOST
        await pool.cancel(handle, grace=0)
        await pool.remove(handle)
        assert await pool.jobs() == ()
        assert await pool.shells(handle) == ()
        assert await pool.results(handle) is None
        assert [chunk async for chunk in pool.logs(handle)] == []

    async def test_it_may_be_closed_twice_and_used_again(self, tmp_path: Path) -> None:
        pool: Pool = opened(tmp_path)
        await pool.aclose()
        await pool.aclose()
        assert await pool.nodes()
        assert isinstance(pool, Probing)


class TestProbe:
    async def test_a_line_a_second_by_the_clock(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = FakeClock(1000.5)
        pool = SimulatedPool(
            SimulatedOptions(trace=str(a_trace(tmp_path / "t.jsonl"))), began=1000.0, clock=clock
        )

        async def sleep(seconds: float) -> None:
            assert 0 < seconds <= 1
            clock.advance(seconds)

        monkeypatch.setattr(asyncio, "sleep", sleep)
        found = []
        async with contextlib.aclosing(pool.probe("n0")) as lines:
            async for line in lines:
                sample = parse_sample(line)
                found.append((sample.seq, sample.gpus[0].utilization_percent))
                if len(found) == 3:
                    clock.advance(30.0)  # asleep
                if len(found) == 5:
                    clock.now = 1001.0  # set back
                if len(found) == 7:
                    break
        # It begins anew after its five seconds.
        assert found == [(0, 0), (1, 1), (2, 2), (32, 2), (33, 3), (1, 1), (2, 2)]

    async def test_time_runs_faster(self, tmp_path: Path) -> None:
        trace = str(a_trace(tmp_path / "t.jsonl", seconds=100))
        clock = FakeClock(1004.0)
        pool = SimulatedPool(SimulatedOptions(trace=trace, speed=10.0), began=1000.0, clock=clock)
        assert (await first(pool, "n0")).gpus[0].utilization_percent == 40

    async def test_a_node_that_is_none(self, tmp_path: Path) -> None:
        with pytest.raises(Unreachable, match="no node"):
            await first(opened(tmp_path), "n9")

    async def test_through_the_engine(self, tmp_path: Path) -> None:
        settings = Settings(home=tmp_path)
        engine = Engine(open_store(settings), settings)
        try:
            trace = a_trace(tmp_path / "t.jsonl")
            await engine.attach("sim", kind="simulated", options={"trace": str(trace)})
            frame = await engine.telemetry.latest(Scope(pool="sim"))
            assert frame.nodes[0].state is NodeState.LIVE
            assert frame.gpus[0].uuid == "GPU-1"
            seen: list[NodeSample] = []
            async with contextlib.aclosing(engine.telemetry.samples(Scope(pool="sim"))) as found:
                async for samples in found:
                    seen += samples
                    if len(seen) >= 2:
                        break
            assert {each.node for each in seen} == {"n0"}
            assert seen[0].at < seen[1].at
            # What it was attached with is gone.
            trace.write_text(f"{HEAD}\nnonsense\n")
            again = Engine(open_store(settings), settings)
            try:
                (view,) = await again.pools()
                assert view.nodes is None
                assert "line 2" in (view.problem or "")
            finally:
                await again.aclose()
        finally:
            await engine.aclose()
