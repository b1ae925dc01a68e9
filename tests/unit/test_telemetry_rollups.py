"""What was sampled, over hours and days: buckets, gaps, who writes them, how long they stay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_aiinfra.errors import StoreError, UsageError
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store, open_store
from jupyter_aiinfra.telemetry.ranges import Range, read_range
from jupyter_aiinfra.telemetry.rollup import RESOLUTIONS, Rollups
from jupyter_aiinfra.telemetry.series import GPU_SERIES

DAY = 86400
NOW = 1_700_000_000 // DAY * DAY
EVER = float("inf")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(Settings(home=tmp_path))
    yield store
    store.close()


def row(utilization: int | None, **others: int) -> list[int | None]:
    values = {"utilization": utilization, **others}
    return [values.get(series.name) for series in GPU_SERIES]


def sample(rollups: Rollups, *times: float, utilization: int = 50, gpu: str = "a") -> None:
    for at in times:
        rollups.add("here", "n0", at, {gpu: row(utilization), "": row(1)})


def read(store: Store, start: float, end: float, points: int = 100, **options: object) -> Range:
    return read_range(store, start=start, end=end, points=points, now=NOW, **options)  # type: ignore[arg-type]


def test_buckets_have_mean_least_and_most(store: Store) -> None:
    rollups = Rollups(store)
    for number in range(10):
        sample(rollups, NOW - 100 + number, utilization=10 * number)
    rollups.write(before=NOW)
    found = read(store, NOW - 100, NOW - 80)
    (curve,) = found.curves
    assert (curve.pool, curve.node, curve.gpu, curve.series) == ("here", "n0", "a", "utilization")
    assert (found.start, found.width_seconds, found.count) == (NOW - 100, 10, 2)
    assert (curve.mean, curve.least, curve.most) == ((45, None), (0, None), (90, None))


def test_a_series_is_in_its_unit(store: Store) -> None:
    rollups = Rollups(store)
    rollups.add("here", "n0", NOW - 100, {"a": row(None, memory=64, clock=132)})
    rollups.write(before=EVER)
    found = read(store, NOW - 100, NOW - 90, series=("memory", "clock", "utilization"))
    assert {curve.series: curve.mean for curve in found.curves} == {
        "memory": (1 << 30,),
        "clock": (1980,),
    }


def test_only_what_is_over_is_written(store: Store) -> None:
    rollups = Rollups(store)
    sample(rollups, NOW - 20, NOW - 4)
    rollups.write(before=NOW)
    assert read(store, NOW - 20, NOW).curves[0].mean == (50, None)
    rollups.write(before=EVER)
    assert read(store, NOW - 20, NOW).curves[0].mean == (50, 50)


@pytest.mark.parametrize(("seconds", "width"), [(600, 10), (3600, 60), (90 * 60, 60)])
def test_a_gap_is_a_gap_at_every_resolution(store: Store, seconds: int, width: int) -> None:
    rollups = Rollups(store)
    begin = NOW - 2 * seconds
    missing = range(begin + 2 * width, begin + 4 * width)
    times = [at for at in range(begin, begin + seconds, 10) if at not in missing]
    sample(rollups, *times)
    rollups.write(before=EVER)
    (curve,) = read(store, begin, begin + seconds, points=seconds // width).curves
    gaps = [number for number, mean in enumerate(curve.mean) if mean is None]
    assert gaps == [2, 3]
    assert set(curve.mean) == {50, None}


def test_two_writers_of_one_bucket_do_no_harm(store: Store) -> None:
    one, other = Rollups(store), Rollups(store)
    sample(one, *range(NOW - 60, NOW - 50), utilization=40)
    sample(other, *range(NOW - 60, NOW - 50), utilization=60)
    for each in (one, other, one, other):
        each.write(before=EVER)
    for points in (60, 2):
        found = read(store, NOW - 60, NOW - 50 if points == 60 else NOW, points=points)
        assert found.curves[0].mean[0] == 50
    (curve,) = read(store, NOW - 60, NOW).curves
    assert (curve.least[0], curve.most[0]) == (40, 60)


def test_who_takes_over_in_the_middle_goes_on(store: Store) -> None:
    first, second = Rollups(store), Rollups(store)
    sample(first, *range(NOW - 60, NOW - 58), utilization=0)
    first.write(before=EVER)
    sample(second, *range(NOW - 58, NOW - 50), utilization=100)
    second.write(before=EVER)
    assert read(store, NOW - 60, NOW - 50).curves[0].mean == (80,)


def test_what_cannot_be_written_is_kept_for_later(store: Store) -> None:
    class Broken:
        down = True

        def change_chunks(self, *given: object) -> None:
            if self.down:
                raise StoreError("no answer")
            store.change_chunks(*given)  # type: ignore[arg-type]

    broken = Broken()
    rollups = Rollups(broken)  # type: ignore[arg-type]
    sample(rollups, NOW - 60)
    with pytest.raises(StoreError):
        rollups.write(before=EVER)
    sample(rollups, NOW - 50)
    broken.down = False
    rollups.write(before=EVER)
    assert read(store, NOW - 60, NOW - 40).curves[0].mean == (50, 50)


@pytest.mark.parametrize(
    ("hours", "ago", "points", "width"),
    [
        (1, 1, 360, 10),
        (1, 1, 60, 60),
        (1, 100, 360, 60),  # so old that only minutes are left
        (24, 24, 1440, 60),
        (24, 24, 300, 300),
        (24 * 7, 24 * 7, 700, 3600),
        (24, 24 * 30, 1000, 3600),
        (24 * 300, 24 * 300, 300, 24 * 3600),
    ],
)
def test_the_right_resolution(store: Store, hours: int, ago: int, points: int, width: int) -> None:
    found = read(store, NOW - ago * 3600, NOW - (ago - hours) * 3600, points=points)
    assert found.width_seconds == width
    assert found.count <= points


def test_never_more_points_than_asked_for(store: Store) -> None:
    for points in (2, 3, 7, 50):
        for begin in (NOW - 7203, NOW - 86411, NOW - 9 * DAY - 17):
            found = read(store, begin, NOW - 5, points=points)
            assert found.count <= points
            assert found.start <= begin
            assert found.start + found.count * found.width_seconds >= NOW - 5


def test_together_by_node_and_by_pool(store: Store) -> None:
    rollups = Rollups(store)
    for node, gpu, utilization in (("n0", "a", 10), ("n0", "b", 30), ("n1", "c", 80)):
        rollups.add("here", node, NOW - 60, {gpu: row(utilization)})
    rollups.add("away", "n0", NOW - 60, {"d": row(99)})
    rollups.write(before=EVER)
    by_node = read(store, NOW - 60, NOW - 50, pool="here", by="node").curves
    assert [(curve.node, curve.gpu, curve.mean) for curve in by_node] == [
        ("n0", None, (20,)),
        ("n1", None, (80,)),
    ]
    (by_pool,) = read(store, NOW - 60, NOW - 50, pool="here", by="pool").curves
    assert (by_pool.mean, by_pool.least, by_pool.most) == ((40,), (10,), (80,))
    (alone,) = read(store, NOW - 60, NOW - 50, gpus=["c"]).curves
    assert alone.gpu == "c"


def test_what_is_old_goes(store: Store) -> None:
    rollups = Rollups(store)
    kept = {width: int(seconds) for width, seconds in RESOLUTIONS.items()}
    sample(rollups, NOW - 60, NOW - 3 * DAY, NOW - 20 * DAY, NOW - 500 * DAY)
    rollups.write(before=EVER)
    assert rollups.sweep(NOW) == 3 + 2 + 1
    left = {width: len(store.chunks(width, start=0, end=NOW)) for width in kept}
    assert left == {10: 1, 60: 2, 3600: 3}
    assert rollups.sweep(NOW) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"start": NOW, "end": NOW},
        {"end": float("nan")},
        {"points": 1},
        {"points": 10**6},
        {"series": ("utilisation",)},
    ],
)
def test_what_cannot_be_asked(store: Store, changes: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        read(store, **{"start": NOW - 60, "end": NOW, **changes})  # type: ignore[arg-type]


def test_a_damaged_chunk_is_begun_anew(store: Store) -> None:
    rollups = Rollups(store)
    sample(rollups, NOW - 60)
    rollups.write(before=EVER)
    for width in RESOLUTIONS:
        keys = list(store.chunks(width, start=0, end=NOW))
        store.change_chunks(keys, lambda found: dict.fromkeys(found, b"rubbish"))
    sample(rollups, NOW - 50)
    rollups.write(before=EVER)
    assert read(store, NOW - 60, NOW - 40).curves[0].mean == (None, 50)
