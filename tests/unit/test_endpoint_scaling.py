from __future__ import annotations

import math

import pytest

from jupyter_aiinfra.endpoint import Scaling
from jupyter_aiinfra.promote.scaling import Load, Seen, p95_of, replicas_for

BUCKETS = (10.0, 100.0, 1000.0)


def run(
    scaling: Scaling,
    looks: list[tuple[float, int]],
    *,
    present: int = 1,
    last_request: float | None = None,
) -> list[int]:
    """Return how many replicas there are after each look, as each is followed."""
    load = Load()
    found = []
    for at, requests in looks:
        load.note(Seen(at=at, requests=requests))
        present = replicas_for(
            scaling,
            load,
            present=present,
            buckets_ms=BUCKETS,
            last_request=last_request,
            now=at,
        )
        found.append(present)
    return found


def test_a_fixed_number_stays() -> None:
    assert run(Scaling(least=2, most=2), [(0, 0), (1, 500)], present=2) == [2, 2]


def test_more_requests_at_once_want_more_replicas_at_once_up_to_the_most() -> None:
    scaling = Scaling(least=1, most=4, in_flight=8)
    assert run(scaling, [(0, 8), (1, 9), (2, 100)]) == [1, 2, 4]


def test_there_are_fewer_only_when_fewer_were_enough_for_long() -> None:
    scaling = Scaling(least=1, most=4, in_flight=8, cool_seconds=60)
    looks = [(0.0, 30), *((float(at), 2) for at in range(1, 120))]
    counts = run(scaling, looks)
    assert counts[0] == 4
    assert counts[60] == 4
    assert counts[-1] == 1


def test_nothing_runs_when_nobody_has_asked_for_long_and_that_is_allowed() -> None:
    looks = [(float(at), 0) for at in range(120)]
    assert run(Scaling(least=0, most=1, idle_seconds=60), looks, last_request=0.0)[-1] == 0
    assert run(Scaling(least=0, most=1, idle_seconds=60), looks, last_request=90.0)[-1] == 1
    assert run(Scaling(least=1, most=1, idle_seconds=60), looks, last_request=0.0)[-1] == 1


def test_it_does_not_fall_asleep_at_first_sight() -> None:
    assert run(Scaling(least=0, most=1, idle_seconds=5), [(100.0, 0)], last_request=0.0) == [1]


def test_the_first_request_wakes_it() -> None:
    looks = [(0.0, 0), (1.0, 1)]
    assert run(Scaling(least=0, most=3), looks, present=0, last_request=1.0) == [0, 1]


def test_slow_answers_want_one_more() -> None:
    load = Load()
    scaling = Scaling(least=1, most=5, p95_ms=50)
    load.note(Seen(at=0.0, requests=1, counts=(0, 0, 0, 0)))
    load.note(Seen(at=5.0, requests=1, counts=(10, 0, 90, 0)))
    asked = {"buckets_ms": BUCKETS, "last_request": 5.0, "now": 5.0}
    assert replicas_for(scaling, load, present=2, **asked) == 3  # type: ignore[arg-type]


def test_counts_that_began_anew_say_nothing() -> None:
    load = Load()
    scaling = Scaling(least=1, most=5, p95_ms=50)
    load.note(Seen(at=0.0, requests=1, counts=(50, 0, 90, 0)))
    load.note(Seen(at=5.0, requests=1, counts=(0, 0, 3, 0)))
    asked = {"buckets_ms": BUCKETS, "last_request": 5.0, "now": 5.0}
    assert replicas_for(scaling, load, present=1, **asked) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("counts", "found"),
    [((0, 0, 0, 0), None), ((95, 5, 0, 0), 10.0), ((94, 6, 0, 0), 100.0), ((0, 0, 0, 9), math.inf)],
)
def test_the_95th_percentile_is_a_bound(counts: tuple[int, ...], found: float | None) -> None:
    assert p95_of(BUCKETS, counts) == found
