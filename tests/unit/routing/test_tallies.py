"""Requests are counted by version and hour, and what is counted outlives the router."""

from __future__ import annotations

from pathlib import Path

import pytest

from jupyter_aiinfra.routing.counts import Counts
from jupyter_aiinfra.routing.tallies import HOUR_SECONDS, Tallies

START = 1_790_000_000 // HOUR_SECONDS * HOUR_SECONDS


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock(START + 10.0)


def answered(counts: Counts, number: int) -> None:
    for _ in range(number):
        counts.answered(200, 0.001)


def test_what_is_new_is_counted_once_and_by_the_hour(tmp_path: Path, clock: Clock) -> None:
    tallies = Tallies(tmp_path / "t.json", clock=clock)
    found = tallies.of("a", START)
    counts = Counts()
    answered(counts, 3)
    tallies.take(found, "1", counts)
    tallies.take(found, "1", counts)
    clock.now += HOUR_SECONDS
    answered(counts, 2)
    tallies.take(found, "1", counts)
    told = found.told()
    assert told["1"].requests == 5
    assert told["1"].hours == ((START, 3), (START + HOUR_SECONDS, 2))
    assert told["1"].since == START
    # Hours without any, and versions without any, are not there.
    clock.now += 5 * HOUR_SECONDS
    tallies.take(found, "1", counts)
    tallies.take(found, "2", Counts())
    assert found.told() == told


def test_hours_of_more_than_a_week_ago_go(tmp_path: Path, clock: Clock) -> None:
    tallies = Tallies(tmp_path / "t.json", clock=clock)
    found = tallies.of("a", START)
    counts = Counts()
    for _ in range(400):
        answered(counts, 1)
        tallies.take(found, "1", counts)
        clock.now += HOUR_SECONDS
    told = found.told()["1"]
    assert (told.requests, len(told.hours)) == (400, 169)


def test_the_next_router_goes_on(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "t.json"
    tallies = Tallies(path, clock=clock)
    counts = Counts()
    answered(counts, 3)
    tallies.take(tallies.of("a", START), "1", counts)
    data = tallies.changed()
    assert data is not None
    tallies.write(data)
    assert tallies.changed() is None
    clock.now += 50 * HOUR_SECONDS
    again = Tallies(path, clock=clock)
    found = again.of("a", START)
    assert (found.since, found.told()["1"].requests) == (START, 3)
    # Another endpoint has its name now.
    other = again.of("a", START + 40.0)
    assert (other.since, other.told()) == (clock.now, {})
    again.kept(["b"])
    assert again.changed() == b"{}"


def test_what_is_lost_is_told(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "t.json"
    path.write_text("{")
    tallies = Tallies(path, clock=clock)
    assert "counted anew" in caplog.text
    # Long after the deploy: who had asked before is not known.
    assert tallies.of("a", START - 7000.0).since == clock.now
    assert tallies.of("b", START - 500.0).since == START - 500.0
    tallies.write(b"{}")
    Tallies(tmp_path, clock=clock).write(b"{}")
    assert "cannot be kept" in caplog.text
