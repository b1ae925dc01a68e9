"""The idle policy on traces: what it stops, what it spares, and that the documentation says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from jupyter_aiinfra.governance.idle import Heartbeat, Pulse, judge_idle
from tests.support.idletraces import STOP_SECONDS, TRACES, Trace, outcome, table

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "budgets.md"
NOW = 7200.0


@pytest.mark.parametrize("trace", TRACES, ids=lambda trace: trace.name)
def test_what_is_wasted_is_stopped_and_nothing_else(trace: Trace) -> None:
    done = outcome(trace)
    assert (done.stopped is not None) is trace.wasted
    if done.stopped is not None:
        assert done.warned is not None
        assert done.stopped - done.warned >= 10 * 60
        assert done.verdict is not None
        assert done.verdict.since is not None
        assert done.stopped - done.verdict.since >= STOP_SECONDS


def test_the_guide_has_the_table() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    kept = text.split("<!-- idle table: python -m tests.support.idletraces -->\n")[1]
    assert kept.split("<!-- end -->")[0] == table()


def pulses(**changes: object) -> list[Pulse]:
    made = [
        Pulse(
            at=float(at),
            utilization_most=0.0,
            utilization_least=0.0,
            memory_bytes=1e10,
            bus_bytes=0.0,
            power_watts=70.0,
        )
        for at in range(0, int(NOW), 10)
    ]
    return [replace(each, **changes) for each in made]  # type: ignore[arg-type]


QUIET = Heartbeat(began_at=0.0, said_at=60.0, worked_at=60.0)


def test_nothing_moves() -> None:
    found = judge_idle(pulses(), QUIET, seconds=1800, now=NOW)
    assert (found.state, found.since) == ("idle", 60.0)


@pytest.mark.parametrize(
    ("heartbeat", "state"),
    [
        (replace(QUIET, said_at=NOW - 1700), "waits"),
        (replace(QUIET, worked_at=NOW - 1700), "waits"),
        (replace(QUIET, said_at=None), "waits"),
        (replace(QUIET, worked_at=None), "waits"),
        (replace(QUIET, began_at=NOW - 600), "unknown"),
        (replace(QUIET, began_at=None), "unknown"),
    ],
)
def test_a_sign_of_life_or_none_known_spares_a_job(heartbeat: Heartbeat, state: str) -> None:
    assert judge_idle(pulses(), heartbeat, seconds=1800, now=NOW).state == state


def test_one_second_of_work_spares_a_job() -> None:
    some = pulses()
    some[-100] = replace(some[-100], utilization_most=5.0)
    assert judge_idle(some, QUIET, seconds=1800, now=NOW).state == "busy"


def test_memory_and_bus_count_as_moving() -> None:
    some = pulses()
    some[-50] = replace(some[-50], memory_bytes=2e10)
    assert judge_idle(some, QUIET, seconds=1800, now=NOW).state == "waits"
    assert judge_idle(pulses(bus_bytes=1e9), QUIET, seconds=1800, now=NOW).state == "waits"
    unknown = pulses(bus_bytes=None, memory_bytes=None)
    assert judge_idle(unknown, QUIET, seconds=1800, now=NOW).state == "idle"


def test_a_gap_in_the_readings_is_no_idleness() -> None:
    holed = [each for each in pulses() if not NOW - 1000 < each.at < NOW - 700]
    assert judge_idle(holed, QUIET, seconds=1800, now=NOW).state == "unknown"
    assert judge_idle([], QUIET, seconds=1800, now=NOW).state == "unknown"
    late = [each for each in pulses() if each.at < NOW - 200]
    assert judge_idle(late, QUIET, seconds=1800, now=NOW).state == "unknown"
    assert judge_idle(pulses(utilization_most=None), QUIET, seconds=1800, now=NOW).state == (
        "unknown"
    )
