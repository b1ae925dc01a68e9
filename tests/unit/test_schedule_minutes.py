"""A year of minute ticks by three servers that come and go, by the pure rules alone."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from jupyter_aiinfra.promote.policy import LATE_SECONDS, Verdict, rule
from jupyter_aiinfra.promote.triggers import timetable_of
from jupyter_aiinfra.schedule import Policy, RunState, Schedule, Trigger, Version

START = 1_767_225_600.0  # 2026-01-01 00:00 UTC
MINUTES = 365 * 24 * 60


def year(catch_up: Any, *, seed: int) -> tuple[list[float], dict[str, Verdict], list[float]]:
    """Return all slots, what was decided by key, and when somebody looked."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    version = Version(
        schedule="s1",
        number=1,
        notebook="/n",
        pool="lab",
        timezone="America/New_York",
        triggers=(Trigger(kind="cron", lines=("30 2 * * *", "30 1 * * *", "0 */5 * * *")),),
        policy=Policy(catch_up=catch_up, overlap="parallel", parallel=1000),
    )
    times = timetable_of(version)
    schedule = Schedule(id="s1", name="n", decided=START, next_due=times.next_after(START))
    back = [0, 0, 0]  # the minute at which each server is there again
    decided: dict[str, Verdict] = {}
    looks = []
    for minute in range(MINUTES):
        now = START + 60 * minute + 7
        for number in range(3):
            if minute < back[number]:
                continue
            if rng.random() < 0.0005:
                back[number] = minute + rng.choice([1, 5, 60, 3000])
                continue
            looks.append(now)
            while schedule.next_due is not None and schedule.next_due <= now:
                ruling = rule(schedule, version, [], now=now, timetable=times)
                for verdict in ruling.verdicts:
                    assert verdict.key not in decided
                    decided[verdict.key] = verdict
                schedule = replace(schedule, decided=ruling.decided, next_due=ruling.next_due)
    return times.between(START, schedule.decided, most=10_000), decided, looks


@pytest.mark.parametrize("catch_up", ["none", "last", "all"])
def test_every_slot_is_decided_once_and_as_the_policy_says(catch_up: str) -> None:
    slots, decided, looks = year(catch_up, seed=3)
    ran = {each.slot: each for each in decided.values() if each.state is RunState.QUEUED}
    missed = [each for each in decided.values() if each.state is RunState.MISSED]
    assert ran.keys() <= set(slots)
    assert len(slots) > 2400
    seen = set(looks)
    for slot in slots:
        covered = [each for each in missed if (each.slot or 0) <= slot <= (each.last_slot or 0)]
        assert (slot in ran) + len(covered) == 1, slot
        # Minute ticks are at 7 s past: this is the first one after the slot.
        on_time = slot + 7 in seen
        if on_time or catch_up == "all":
            assert slot in ran, slot
        elif catch_up == "none":
            assert slot not in ran or slot + 7 + LATE_SECONDS in seen, slot
    if catch_up == "all":
        assert not missed
    else:
        assert missed
    if catch_up == "last":
        for each in missed:  # the newest of each stretch ran, later than all of it
            after = [slot for slot in slots if slot > (each.last_slot or 0)]
            assert after[0] in ran
