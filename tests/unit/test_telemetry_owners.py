"""Whose GPUs were, and nodes themselves, over hours: by user, by job, rank by rank."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.model import Job, JobState, Observation, Placement, PoolRecord
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store, open_store
from jupyter_aiinfra.telemetry import Scope, Telemetry
from jupyter_aiinfra.telemetry.owners import Owner, owner_labels, owners_in
from jupyter_aiinfra.telemetry.packing import Bucket, Chunk, opened, opened_chunk, pack, unpack
from jupyter_aiinfra.telemetry.ranges import Placed, Range, read_range
from jupyter_aiinfra.telemetry.rollup import Rollups
from jupyter_aiinfra.telemetry.sample import parse_sample
from jupyter_aiinfra.telemetry.sampler import sample_steps
from jupyter_aiinfra.testing import FakeCluster, FakePool
from tests.support.engines import a_spec
from tests.support.readings import GIB, a_gpu, a_sample

NOW = 1_700_000_000 // 36_000 * 36_000
EVER = float("inf")
JOB, OTHER = "1aaaaaaaaaaa", "1bbbbbbbbbbb"


def process(user: str, job: str | None = None, seat: int | None = None) -> dict[str, Any]:
    return {"pid": 9, "mem": GIB, "user": user, "cmd": "python", "job": job, "seat": seat}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(Settings(home=tmp_path))
    store.add_pool(PoolRecord(name="lab", kind="fake"))
    yield store
    store.close()


def gather(rollups: Rollups, node: str, at: float, *gpus: dict[str, Any], **changes: Any) -> None:
    sample = parse_sample(json.dumps(a_sample(*gpus, at=at, **changes)).encode())
    rollups.add("lab", node, at, sample_steps(sample), owner_labels(sample))


def read(store: Store, start: float, end: float, **options: Any) -> Range:
    given: dict[str, Any] = {"points": 100, "now": NOW, **options}
    return read_range(store, start=start, end=end, **given)


def by(found: Range, name: str) -> Mapping[Any, tuple[float | None, ...]]:
    return {getattr(curve, name): curve.mean for curve in found.curves}


class TestLabels:
    def test_there_and_back(self) -> None:
        line = a_sample(
            a_gpu(0, procs=[process("ada", JOB, 1), process("bob"), process("ada", JOB, 1)]),
            a_gpu(1, procs=[]),
            a_gpu(2, procs=None),
        )
        labels = owner_labels(parse_sample(json.dumps(line).encode()))
        assert list(labels) == [a_gpu(0)["uuid"]]
        assert set(owners_in(labels[a_gpu(0)["uuid"]])) == {
            Owner("ada", JOB, 1),
            Owner("bob", None, None),
        }

    def test_what_is_damaged_is_nobodys(self) -> None:
        assert owners_in("") == ()
        assert owners_in("ada\x1fx") == ()
        assert owners_in("\x1f\x1fnone") == (Owner(None, None, None),)

    def test_runs_are_kept_as_they_were(self) -> None:
        chance = random.Random(4)  # noqa: S311 - made-up readings
        for _ in range(50):
            chunk = Chunk()
            for gpu in ("a", "b", "c"):
                for place in range(60):
                    if chance.random() < 0.8:
                        chunk.column(gpu, "power")[place] = Bucket(place, place, place, 1)
                    if chance.random() < 0.5:
                        label = chance.choice("xyz")
                        chunk.labels.setdefault(gpu, {})[place] = label
            again = unpack(pack(chunk))
            assert again.labels == {gpu: each for gpu, each in chunk.labels.items() if each}
            assert again.columns == chunk.columns
            one = opened(pack(chunk), series=["power"], gpus=["b"])
            other = opened_chunk(chunk, series=["power"], gpus=["b"])
            assert [list(map(list, each[2:])) for each in one.columns] == [
                list(map(list, each[2:])) for each in other.columns
            ]

    def test_what_is_cut_off_is_said(self) -> None:
        chunk = Chunk()
        chunk.column("a", "power")[0] = Bucket(1, 1, 1, 1)
        chunk.labels["a"] = dict.fromkeys(range(60), "x")
        data = pack(chunk)
        with pytest.raises(ValueError, match="damaged readings"):
            opened(data[:-6])
        with pytest.raises(ValueError, match="version 01"):
            opened(b"\x01" + data[1:])


class TestByOwner:
    def fill(self, store: Store, *, seconds: int = 100) -> Rollups:
        rollups = Rollups(store)
        for at in range(NOW - seconds, NOW, 5):
            half = at >= NOW - seconds // 2
            ada = [process("ada", OTHER if half else JOB, 0)]
            gather(rollups, "n0", at, a_gpu(0, util=80, procs=ada), a_gpu(1, util=0))
            both = [process("ada", JOB, 1), process("bob")]
            gather(rollups, "n1", at, a_gpu(2, util=40, procs=both), a_gpu(3, procs=None))
        return rollups

    def test_the_mean_of_what_is_a_users(self, store: Store) -> None:
        self.fill(store).write(before=EVER)
        found = by(read(store, NOW - 100, NOW, by="user"), "user")
        assert found == {"ada": (60.0,) * 10, "bob": (40.0,) * 10}

    def test_of_a_job_where_it_was(self, store: Store) -> None:
        self.fill(store).write(before=EVER)
        found = by(read(store, NOW - 100, NOW, by="job"), "job")
        assert found == {
            JOB: (*[60.0] * 5, *[40.0] * 5),
            OTHER: (*[None] * 5, *[80.0] * 5),
        }

    def test_rank_by_rank(self, store: Store) -> None:
        self.fill(store).write(before=EVER)
        placed = Placed(job=JOB, gpus={})
        found = read(store, NOW - 100, NOW, by="rank", placed=placed)
        assert [(curve.rank, curve.node, curve.gpu) for curve in found.curves] == [
            (0, "n0", a_gpu(0)["uuid"]),
            (1, "n1", a_gpu(2)["uuid"]),
        ]
        assert found.curves[0].mean == (*[80.0] * 5, *[None] * 5)
        assert found.curves[1].mean == (40.0,) * 10
        everybody = read(store, NOW - 100, NOW, by="rank")
        assert {(curve.job, curve.rank) for curve in everybody.curves} == {
            (JOB, 0),
            (OTHER, 0),
            (JOB, 1),
        }

    def test_gpus_that_a_job_was_given_are_its_own_without_a_process(self, store: Store) -> None:
        self.fill(store).write(before=EVER)
        placed = Placed(job=JOB, gpus={a_gpu(1)["uuid"]: 5})
        ranks = read(store, NOW - 100, NOW, by="rank", placed=placed)
        assert {(curve.rank, curve.mean[0]) for curve in ranks.curves} == {(0, 80), (1, 40), (5, 0)}
        gpus = read(store, NOW - 100, NOW, placed=placed)
        assert len(gpus.curves) == 3

    @pytest.mark.parametrize("points", [10, 2])
    def test_most_of_a_wider_bucket_counts(self, store: Store, points: int) -> None:
        self.fill(store, seconds=600).write(before=EVER)
        found = read(store, NOW - 600, NOW, by="job", points=points)
        curves = by(found, "job")
        half = found.count // 2
        assert curves[OTHER] == (*[None] * half, *[80.0] * half)
        assert curves[JOB] == (*[60.0] * half, *[40.0] * half)

    def test_what_is_not_written_yet_is_in_it_once(self, store: Store) -> None:
        rollups = self.fill(store)
        rollups.write(before=NOW - 40)
        with rollups.still() as unwritten:
            assert unwritten
            found = read(store, NOW - 100, NOW, by="user", unwritten=unwritten)
            assert by(found, "user")["ada"] == (60.0,) * 10
            nothing = read(store, NOW - 100, NOW, pool="other", unwritten=unwritten)
            assert nothing.curves == ()
        rollups.write(before=EVER)
        with rollups.still() as unwritten:
            assert not unwritten


class TestNodes:
    def test_a_machine_without_a_gpu(self, store: Store) -> None:
        rollups = Rollups(store)
        for at in range(NOW - 100, NOW, 5):
            gather(rollups, "n0", at, cpu={"percent": 30.0, "count": 4})
            gather(rollups, "n1", at, a_gpu(0), cpu={"percent": 50.0, "count": 4})
        rollups.write(before=EVER)
        names = ["cpu", "memory", "network_rx"]
        found = read(store, NOW - 100, NOW, of="nodes", series=names)
        assert [(curve.node, curve.gpu, curve.series) for curve in found.curves] == [
            (node, None, name) for node in ("n0", "n1") for name in names
        ]
        cpu, memory, _ = found.curves[:3]
        assert cpu.mean == (30.0,) * 10
        assert memory.mean == (100.0 * GIB,) * 10
        pool = read(store, NOW - 100, NOW, of="nodes", series=["cpu"], by="pool")
        assert [curve.mean for curve in pool.curves] == [(40.0,) * 10]
        # And the GPUs' memory is that of GPUs alone.
        (gpu,) = read(store, NOW - 100, NOW, series=["memory"]).curves
        assert gpu.mean == (40.0 * GIB,) * 10

    def test_in_every_resolution(self, store: Store) -> None:
        rollups = Rollups(store)
        for at in range(NOW - 7200, NOW, 10):
            gather(rollups, "n0", at)
        rollups.write(before=EVER)
        for points in (720, 60, 2):
            found = read(store, NOW - 7200, NOW, of="nodes", series=["cpu"], points=points)
            assert set(found.curves[0].mean) == {13.0}

    def test_what_nodes_do_not_have(self, store: Store) -> None:
        with pytest.raises(UsageError, match="no series 'power'") as refused:
            read(store, NOW - 100, NOW, of="nodes", series=["power"])
        assert "cpu" in refused.value.hint
        with pytest.raises(UsageError, match="by='user'"):
            read(store, NOW - 100, NOW, of="nodes", series=["cpu"], by="user")

    def test_a_damaged_chunk_is_a_gap(self, store: Store) -> None:
        rollups = Rollups(store)
        gather(rollups, "n0", NOW - 50)
        gather(rollups, "n1", NOW - 50)
        rollups.write(before=EVER)
        keys = [key for key in store.chunks(10, start=0, end=NOW) if key.node == "n0"]
        store.change_chunks(keys, lambda found: dict.fromkeys(found, b"\x01nonsense"))
        found = read(store, NOW - 100, NOW, of="nodes", series=["cpu"])
        assert [curve.node for curve in found.curves] == ["n1"]


class TestJob:
    async def test_after_its_end_rank_by_rank(self, store: Store) -> None:
        telemetry = Telemetry(store, lambda _: FakePool(FakeCluster()), wall=lambda: float(NOW))
        gpus = [a_gpu(number)["uuid"] for number in range(4)]
        placement = (
            Placement(node="n0", gpus=tuple(gpus[:2])),
            Placement(node="n1", gpus=tuple(gpus[2:])),
        )
        seen = Observation(
            state=JobState.SUCCEEDED, seen_at=NOW, started_at=NOW - 80, ended_at=NOW - 30
        )
        job = Job(
            id=JOB,
            pool="lab",
            spec=a_spec(procs=2, nodes=2, gpus=2),
            placement=placement,
            state=JobState.SUCCEEDED,
            seen=seen,
        )
        store.add_job(job)
        rollups = telemetry._rollups
        for at in range(NOW - 100, NOW, 5):
            for node in (0, 1):
                rows = [a_gpu(2 * node + each, util=10 * (2 * node + each)) for each in (0, 1)]
                gather(rollups, f"n{node}", at, *rows)
        found = await telemetry.range(Scope(job=JOB), by="rank")
        assert (found.start, found.count) == (NOW - 80, 5)
        assert [(curve.rank, curve.mean[0]) for curve in found.curves] == [
            (0, 0.0),
            (1, 10.0),
            (2, 20.0),
            (3, 30.0),
        ]
        part = await telemetry.range(Scope(job=JOB), start=NOW - 50, end=NOW, by="job")
        assert (part.start, part.count) == (NOW - 50, 2)
        assert part.curves[0].mean == (15.0, 15.0)
        # A range that does not meet it is a moment at its edge, and no error.
        assert (await telemetry.range(Scope(job=JOB), start=1.0, end=2.0)).count == 1
