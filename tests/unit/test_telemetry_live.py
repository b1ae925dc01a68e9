"""One stream a node, whoever reads; frames; what is read of jobs and leases."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.errors import JobNotFound, PoolNotFound, UsageError
from jupyter_aiinfra.model import Node, Placement
from jupyter_aiinfra.telemetry import NodeState, Scope, delta_frame, full_frame
from jupyter_aiinfra.telemetry import board as boards
from jupyter_aiinfra.telemetry import sampler as samplers
from jupyter_aiinfra.telemetry.deltas import apply_changes
from jupyter_aiinfra.telemetry.frames import Frame
from jupyter_aiinfra.telemetry.hub import Telemetry
from jupyter_aiinfra.telemetry.prometheus import METRICS, exposition
from jupyter_aiinfra.telemetry.sample import LineReader
from jupyter_aiinfra.testing import FakeCluster
from tests.support.engines import POOL, House, a_spec
from tests.support.readings import GIB, a_gpu, a_sample

HERE = Scope(pool=POOL)


@pytest.fixture
def cluster() -> FakeCluster:
    nodes = [Node(name=name, address=name) for name in ("n0", "n1")]
    return FakeCluster(nodes)


@pytest.fixture
async def engine(
    tmp_path: Path, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Engine]:
    monkeypatch.setattr(boards, "TICK_SECONDS", 0.02)
    monkeypatch.setattr(samplers, "_LINGER_SECONDS", 0.05)
    house = House(tmp_path, cluster)
    engine = house.attached()
    yield engine
    await engine.aclose()
    house.close()


async def until(condition: Callable[[], Any]) -> None:
    async def wait() -> None:
        while not condition():  # noqa: ASYNC110 - what is looked at has no event
            await asyncio.sleep(0.005)

    await asyncio.wait_for(wait(), 20)


def streams(cluster: FakeCluster) -> int:
    return sum(len(each) for each in cluster.probes.values())


async def first(engine: Engine, scope: Scope, wants: Callable[[Frame], Any]) -> Frame:
    """Return the first frame that is as wanted."""

    async def look() -> Frame:
        async with contextlib.aclosing(engine.telemetry.subscribe(scope)) as frames:
            async for frame in frames:
                if wants(frame):
                    return frame
        raise AssertionError

    return await asyncio.wait_for(look(), 20)


def live(count: int) -> Callable[[Frame], bool]:
    return lambda frame: sum(node.state is NodeState.LIVE for node in frame.nodes) == count


class TestOneStream:
    async def test_however_many_read_and_none_once_nobody_does(
        self, engine: Engine, cluster: FakeCluster
    ) -> None:
        cluster.read("n0", a_sample(a_gpu(0)))
        cluster.read("n1", a_sample(a_gpu(1)))
        scopes = [HERE, HERE, Scope(pool=POOL, node="n0"), Scope(pool=POOL, detail="nodes")]
        readers = [engine.telemetry.subscribe(scope) for scope in scopes]
        for reader in readers:
            await asyncio.wait_for(reader.__anext__(), 20)
        assert streams(cluster) == 2
        for reader in readers:
            await reader.aclose()
        await until(lambda: streams(cluster) == 0)

    async def test_who_reads_again_in_time_gets_the_same_stream(
        self, engine: Engine, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(samplers, "_LINGER_SECONDS", 20.0)
        cluster.read("n0", a_sample())
        await first(engine, HERE, live(1))
        (before,) = cluster.probes["n0"]
        await first(engine, HERE, live(1))
        assert cluster.probes["n0"] == [before]

    async def test_a_cut_is_told_and_mended(
        self, engine: Engine, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(samplers, "_FIRST_PAUSE_SECONDS", 0.1)
        cluster.read("n0", a_sample(a_gpu(0)))
        async with contextlib.aclosing(engine.telemetry.subscribe(HERE)) as frames:
            async for frame in frames:
                if live(1)(frame):
                    break
            kept = cluster.printed.pop("n0")
            cluster.end_probe("n0")
            async for frame in frames:
                if frame.nodes[0].state is NodeState.UNREACHABLE:
                    break
            assert "its probe has ended" in frame.nodes[0].problem
            # The GPU is known still; its readings are not.
            assert [gpu.uuid for gpu in frame.gpus] == [a_gpu(0)["uuid"]]
            assert set(frame.gpu_values) == {None}
            cluster.printed["n0"] = kept
            async for frame in frames:
                if live(1)(frame):
                    break
        assert frame.nodes[0].problem == ""

    async def test_silence_is_stale_and_no_value_is_made_up(
        self, engine: Engine, cluster: FakeCluster
    ) -> None:
        clock = cluster.clock
        telemetry = Telemetry(engine.store, engine.pool, clock=clock)
        cluster.read("n0", a_sample(a_gpu(0)))
        try:
            async with contextlib.aclosing(telemetry.subscribe(HERE)) as frames:
                async for frame in frames:
                    if live(1)(frame):
                        break
                assert 50 in frame.gpu_values
                clock.advance(3.5)
                async for frame in frames:
                    if frame.nodes[0].state is NodeState.STALE:
                        break
                assert set(frame.gpu_values) == {None}
                cluster.read("n0", a_sample(a_gpu(0, util=60)))
                async for frame in frames:
                    if live(1)(frame):
                        break
                assert 60 in frame.gpu_values
        finally:
            await telemetry.aclose()

    async def test_an_unreachable_pool_is_a_state(
        self, engine: Engine, cluster: FakeCluster
    ) -> None:
        cluster.reachable = False
        frame = await first(
            engine, HERE, lambda f: all(n.state is NodeState.UNREACHABLE for n in f.nodes)
        )
        assert frame.nodes[0].problem == f"pool {POOL} does not answer"

    async def test_damaged_lines_are_counted_and_cost_nothing(
        self, engine: Engine, cluster: FakeCluster
    ) -> None:
        cluster.read("n0", a_sample(a_gpu(0)))
        async with contextlib.aclosing(engine.telemetry.subscribe(HERE)) as frames:
            async for frame in frames:
                if live(1)(frame):
                    cluster.read("n0", b"Killed\n")
                if frame.nodes[0].problems:
                    break
        assert frame.nodes[0].problems[0].endswith("damaged lines")

    async def test_a_slow_clock_of_a_node_does_not_move_it(self) -> None:
        sampler = samplers.NodeSampler("n", lambda: None, wall=lambda: now)  # type: ignore[arg-type,return-value]
        reader = LineReader()
        now = 5000.0
        import json

        for seconds, late in ((0, 0.2), (1, 0.1), (2, 9.0), (3, 8.0)):
            now = 5000.0 + seconds + late
            text = json.dumps(a_sample(at=100.0 + seconds)).encode() + b"\n"
            (sample,) = reader.feed(text)
            sampler._take(sample)
        # What was held up on its way is put where it belongs.
        assert sampler.history.since(0).at == pytest.approx((5000.2, 5001.1, 5002.1, 5003.1))


class TestScopes:
    async def test_what_is_not_there_is_named(self, engine: Engine) -> None:
        for scope, error in (
            (Scope(pool="nowhere"), PoolNotFound),
            (Scope(job="0abc"), JobNotFound),
            (Scope(pool=POOL, node="n7"), UsageError),
            (Scope(), UsageError),
        ):
            with pytest.raises(error):
                await engine.telemetry.subscribe(scope).__anext__()
            with pytest.raises(error):
                await engine.telemetry.latest(scope)

    async def test_a_job_has_its_gpus_by_placement_or_by_processes(
        self, engine: Engine, cluster: FakeCluster
    ) -> None:
        from jupyter_aiinfra.model import Job

        mine, other, third = a_gpu(0), a_gpu(1), a_gpu(2)
        placed = Placement(node="n0", gpus=(mine["uuid"],))
        job = Job(id="0abc", pool=POOL, spec=a_spec(gpus=1), placement=(placed,))
        engine.store.add_job(job)
        process = {"pid": 9, "mem": GIB, "user": "ada", "cmd": "t", "job": "0abc", "seat": 1}
        third["procs"] = [process]
        cluster.read("n0", a_sample(mine, other, third))
        frame = await first(engine, Scope(job="0abc"), live(1))
        assert [node.name for node in frame.nodes] == ["n0"]
        assert [gpu.uuid for gpu in frame.gpus] == [mine["uuid"], third["uuid"]]
        assert frame.gpus[1].holders[0].ranks == (1,)
        assert streams(cluster) == 1

    async def test_the_only_node_may_call_itself_otherwise(self, tmp_path: Path) -> None:
        from jupyter_aiinfra.model import Job, JobState, Observation, RankStatus

        cluster = FakeCluster([Node(name="localhost", address="localhost")])
        house = House(tmp_path / "one", cluster)
        engine = house.attached()
        ranks = (RankStatus(rank=0, node="its-own-name"),)
        seen = Observation(state=JobState.RUNNING, seen_at=time.time(), ranks=ranks)
        engine.store.add_job(Job(id="0abc", pool=POOL, spec=a_spec(), seen=seen))
        cluster.read("localhost", a_sample())
        try:
            frame = await first(engine, Scope(job="0abc"), live(1))
            assert [node.name for node in frame.nodes] == ["localhost"]
            found = await engine.telemetry.range(Scope(job="0abc"), by="node", of="nodes")
            assert found.curves == ()
        finally:
            await engine.aclose()
            house.close()

    async def test_a_node_tells_its_jobs_and_what_to_look_at_also_in_an_overview(
        self, engine: Engine, cluster: FakeCluster
    ) -> None:
        from jupyter_aiinfra.model import Job

        mine, lost, hot = a_gpu(0), a_gpu(1, lost=True), a_gpu(2, throttle=["hw_thermal"])
        spec = a_spec(gpus=1)
        for job, node, gpu in (("0abc", "n1", "GPU-of-n1"), ("0abd", "n0", mine["uuid"])):
            placed = (Placement(node=node, gpus=(gpu,)),)
            assert engine.store.add_placed(Job(id=job, pool=POOL, spec=spec, placement=placed))
        mine["procs"] = [{"pid": 9, "job": "0abd", "seat": 1}]
        cluster.read("n0", a_sample(mine, lost, hot))
        frame = await first(engine, Scope(pool=POOL, detail="nodes"), live(1))
        # Nothing has been heard of the second node: what it should run is known all the same.
        assert [node.jobs for node in frame.nodes] == [("0abd",), ("0abc",)]
        alerts = frame.nodes[0].alerts
        assert [(alert.kind, alert.index) for alert in alerts] == [("lost", 1), ("hot", 2)]
        own = await first(engine, Scope(job="0abd"), live(1))
        assert [gpu.uuid for gpu in own.gpus] == [mine["uuid"]]
        assert own.nodes[0].alerts == ()

    async def test_an_overview_has_a_row_a_node(self, engine: Engine, cluster: FakeCluster) -> None:
        busy = a_gpu(0, util=90, procs=[{"pid": 1}])
        part, free = a_gpu(2, parent=busy["uuid"], procs=[{"pid": 2}]), a_gpu(3, util=0)
        cluster.read("n0", a_sample(busy, a_gpu(1, util=10), part, free))
        scope = Scope(pool=POOL, detail="nodes")
        frame = await first(engine, scope, live(1))
        assert frame.gpus == ()
        told = full_frame(frame)
        values = {
            series.name: told.node_values[number * 2]
            for number, series in enumerate(told.node_series)
        }
        assert values == {"utilization": 33, "memory": 240, "power": 105, "busy": 2}
        assert told.node_values[1::2] == (None,) * 4


class TestFrames:
    async def test_deltas_lead_from_any_frame_to_any_later_one(
        self, engine: Engine, cluster: FakeCluster
    ) -> None:
        cluster.read("n0", a_sample(a_gpu(0), a_gpu(1)))
        frames: list[Frame] = []
        async with contextlib.aclosing(engine.telemetry.subscribe(HERE)) as coming:
            async for frame in coming:
                if not live(1)(frame):
                    continue
                frames.append(frame)
                number = len(frames)
                if number == 6:
                    break
                process = [{"pid": number, "mem": GIB, "user": "ada"}]
                told = a_gpu(0, util=10 * number, procs=process, temp_c=None)
                cluster.read("n0", a_sample(told, a_gpu(1), seq=number))
        for start, old in enumerate(frames):
            for new in frames[start:]:
                delta = delta_frame(old, new, key=7)
                assert delta is not None
                assert tuple(apply_changes(old.gpu_values, delta.g)) == new.gpu_values
                assert tuple(apply_changes(old.node_values, delta.n)) == new.node_values
                gpus = list(old.gpus)
                for row, gpu in delta.gpus.items():
                    gpus[int(row)] = gpu
                assert tuple(gpus) == new.gpus
                assert (delta.since, delta.seq) == (old.seq, new.seq)

    async def test_other_gpus_are_told_whole(self, engine: Engine, cluster: FakeCluster) -> None:
        cluster.read("n0", a_sample(a_gpu(0)))
        one = await first(engine, HERE, live(1))
        cluster.read("n0", a_sample(a_gpu(0), a_gpu(1)))
        two = await first(engine, HERE, lambda frame: len(frame.gpus) == 2)
        assert delta_frame(one, two) is None

    async def test_a_lost_gpu_has_no_values(self, engine: Engine, cluster: FakeCluster) -> None:
        cluster.read("n0", a_sample(a_gpu(0, lost=True), a_gpu(1)))
        frame = await first(engine, HERE, live(1))
        assert frame.gpus[0].lost
        assert frame.gpu_values[::2] == (None,) * 7
        assert None not in frame.gpu_values[1::2]


class TestPast:
    async def test_the_last_hour_by_the_second(self, engine: Engine, cluster: FakeCluster) -> None:
        begun = time.time()
        cluster.read("n0", a_sample(a_gpu(0), at=begun))
        await first(engine, HERE, live(1))
        past = engine.telemetry.history(HERE, since=begun - 5)
        assert list(past) == ["n0"]
        assert past["n0"].rows[a_gpu(0)["uuid"]][0] == (50,)
        assert engine.telemetry.history(HERE, since=time.time() + 5)["n0"].at == ()

    async def test_what_a_server_samples_is_kept(
        self, engine: Engine, cluster: FakeCluster
    ) -> None:
        engine.telemetry.records = True
        now = time.time()
        cluster.read("n0", a_sample(a_gpu(0), at=now))
        assert await engine.telemetry.record([POOL, "nowhere"]) == ["nowhere"]
        await until(lambda: streams(cluster) == 2)
        await until(lambda: engine.telemetry.history(HERE, since=0))
        assert await engine.telemetry.record([]) == []
        await until(lambda: streams(cluster) == 0)
        await engine.telemetry.write(whole=False)
        found = await engine.telemetry.range(HERE, start=now - 60, end=now + 60, points=12)
        (curve,) = found.curves
        assert (curve.gpu, set(curve.mean)) == (a_gpu(0)["uuid"], {None, 50.0})


class TestPrometheus:
    async def test_names_labels_and_nothing_for_the_unknown(
        self, engine: Engine, cluster: FakeCluster
    ) -> None:
        process = {"pid": 9, "job": "0abc", "seat": 3}
        cluster.read("n0", a_sample(a_gpu(0, name='B"2\\', procs=[process], util=None)))
        frame = await first(engine, HERE, live(1))
        text = exposition({POOL: frame, "away": None}, {(POOL, "running"): 2})
        assert "DCGM_FI_DEV_GPU_UTIL" not in text
        (memory,) = [line for line in text.splitlines() if line.startswith("DCGM_FI_DEV_FB_USED")]
        assert memory.endswith(" 40960")
        assert 'modelName="B\\"2\\\\"' in memory
        assert f'pool="{POOL}",node="n0",aiinfra_job="0abc",rank="3"' in memory
        assert f'aiinfra_pool_up{{pool="{POOL}"}} 1' in text
        assert 'aiinfra_pool_up{pool="away"} 0' in text
        assert f'aiinfra_node_up{{pool="{POOL}",node="n1"}} 0' in text
        assert f'aiinfra_jobs{{pool="{POOL}",state="running"}} 2' in text
        named = {line.split("{")[0] for line in text.splitlines() if not line.startswith("#")}
        assert named <= METRICS
        # Each family once, with its type before it.
        types = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
        assert len(types) == len(set(types)) == len(named)
