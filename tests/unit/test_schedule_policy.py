from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.promote.policy import (
    LATE_SECONDS,
    MOST_WAITING,
    Ruling,
    after_attempt,
    check_policy,
    room,
    rule,
    rule_event,
)
from jupyter_aiinfra.schedule import Policy, Run, RunState, Schedule, Trigger, Version

HOUR = 3600.0
START = 1_767_225_600.0  # 2026-01-01 00:00 UTC


def schedule(*, decided: float = START, **values: object) -> Schedule:
    return replace(Schedule(id="s1", name="nightly", decided=decided), **values)  # type: ignore[arg-type]


def version(*, seconds: float = HOUR, **policy: Any) -> Version:
    return Version(
        schedule="s1",
        number=1,
        notebook="/n.ipynb",
        pool="lab",
        triggers=(Trigger(kind="every", seconds=seconds, anchor=START),),
        policy=Policy(**policy),
    )


def run(run_id: str, state: RunState, *, slot: float | None = START, **values: object) -> Run:
    made = Run(
        id=run_id,
        schedule="s1",
        version=1,
        key=f"slot:{slot}",
        trigger="clock",
        state=state,
        slot=slot,
        created_at=START,
    )
    return replace(made, **values)  # type: ignore[arg-type]


def shown(ruling: Ruling) -> list[tuple[float, str]]:
    """Each decision as hours since the start, and what becomes of it."""
    return [(((each.slot or 0) - START) / HOUR, each.state.value) for each in ruling.verdicts]


# --- on time -------------------------------------------------------------------------------------


def test_a_slot_that_is_due_waits_for_its_start_and_the_next_is_known() -> None:
    ruling = rule(schedule(), version(), [], now=START + HOUR + 0.02)
    assert shown(ruling) == [(1.0, "queued")]
    (verdict,) = ruling.verdicts
    assert verdict.start_at == START + HOUR
    assert verdict.reason is None
    assert verdict.key == f"slot:{START + HOUR:.0f}"
    assert ruling.next_due == START + 2 * HOUR
    assert ruling.decided == START + HOUR + 0.02


def test_what_is_not_due_is_not_decided() -> None:
    ruling = rule(schedule(), version(), [], now=START + HOUR - 0.02)
    assert ruling.verdicts == ()
    assert ruling.next_due == START + HOUR


def test_keys_of_slots_in_fractions_of_a_second_are_apart() -> None:
    ruling = rule(schedule(), version(seconds=1.25), [], now=START + 5)
    assert [each.key for each in ruling.verdicts] == [
        f"slot:{START:.0f}".replace("600", f"60{text}") for text in ("1.25", "2.5", "3.75", "5")
    ]


def test_a_paused_or_removed_schedule_decides_nothing_and_goes_on_from_then() -> None:
    for stopped in ({"paused_at": START}, {"removed_at": START}):
        ruling = rule(schedule(**stopped), version(), [], now=START + 5 * HOUR)
        assert ruling == Ruling(verdicts=(), decided=START + 5 * HOUR, next_due=None)


# --- catching up ---------------------------------------------------------------------------------

NOW = START + 5 * HOUR + 600


def test_missed_slots_are_one_line_where_none_are_caught_up() -> None:
    ruling = rule(schedule(), version(catch_up="none"), [], now=NOW)
    assert shown(ruling) == [(1.0, "missed")]
    (verdict,) = ruling.verdicts
    assert (verdict.slots, verdict.last_slot) == (5, START + 5 * HOUR)
    assert verdict.reason == (
        "5 slots from 2026-01-01 01:00 UTC to 2026-01-01 05:00 UTC: nobody was there, and missed "
        "slots are not caught up"
    )
    assert ruling.next_due == START + 6 * HOUR


def test_only_the_newest_is_caught_up() -> None:
    ruling = rule(schedule(), version(catch_up="last"), [], now=NOW)
    assert shown(ruling) == [(1.0, "missed"), (5.0, "queued")]
    assert ruling.verdicts[0].slots == 4
    assert ruling.verdicts[1].reason == "caught up, 10 min late"
    assert ruling.verdicts[1].trigger == "catch-up"


def test_of_a_slot_on_time_and_missed_ones_only_that_on_time_runs() -> None:
    ruling = rule(schedule(), version(catch_up="last"), [], now=START + 5 * HOUR + 1)
    assert shown(ruling) == [(1.0, "missed"), (5.0, "queued")]
    assert ruling.verdicts[1].trigger == "clock"


def test_all_are_caught_up_one_behind_the_other_whatever_the_overlap() -> None:
    for overlap in ("skip", "queue"):
        ruling = rule(schedule(), version(catch_up="all", overlap=overlap), [], now=NOW)
        assert shown(ruling) == [(float(hour), "queued") for hour in range(1, 6)]
        assert ruling.verdicts[1].reason == (
            "caught up, 3.17 h late; waits for the end of the run of 2026-01-01 01:00 UTC"
        )


@pytest.mark.parametrize(
    ("catch_up", "decided"),
    [
        ("all", [(1.0, "missed"), (3.0, "queued"), (4.0, "queued"), (5.0, "queued")]),
        ("last", [(1.0, "missed"), (5.0, "queued")]),
    ],
)
def test_what_is_older_than_the_window_is_missed(
    catch_up: str, decided: list[tuple[float, str]]
) -> None:
    policy = version(catch_up=catch_up, window_seconds=2.5 * HOUR)
    ruling = rule(schedule(), policy, [], now=NOW)
    assert shown(ruling) == decided
    narrow = rule(schedule(), version(catch_up=catch_up, window_seconds=300.0), [], now=NOW)
    assert shown(narrow) == [(1.0, "missed")]
    assert "older than what is caught up (5 min)" in str(narrow.verdicts[0].reason)


def test_a_slot_is_on_time_for_a_minute() -> None:
    one = rule(schedule(), version(), [], now=START + HOUR + LATE_SECONDS - 1)
    assert shown(one) == [(1.0, "queued")]
    two = rule(schedule(), version(), [], now=START + HOUR + LATE_SECONDS + 1)
    assert shown(two) == [(1.0, "missed")]


def test_a_year_of_minutes_is_decided_at_once_without_counting_them() -> None:
    year = START + 365 * 86400 + 30
    ruling = rule(schedule(), version(seconds=60.0), [], now=year)
    missed, due = ruling.verdicts
    assert missed.state is RunState.MISSED
    assert missed.last_slot == year - 90
    assert "more than 1000 slots from 2026-01-01 00:01 UTC to 2026-12-31 23:59" in str(
        missed.reason
    )
    assert due.slot == year - 30
    last = rule(schedule(), version(seconds=60.0, catch_up="last"), [], now=year)
    assert [each.slot for each in last.verdicts if not each.state.final] == [year - 30]


def test_many_slots_are_caught_up_a_part_at_a_time() -> None:
    policy = version(seconds=60.0, catch_up="all")
    now, found, where = START + 250 * 60.0, [], schedule()
    for _ in range(3):
        ruling = rule(where, policy, [], now=now)
        found += [each.slot for each in ruling.verdicts]
        where = replace(where, decided=ruling.decided)
    assert found == [START + 60.0 * count for count in range(1, 251)]
    assert ruling.next_due == START + 251 * 60.0


# --- clocks --------------------------------------------------------------------------------------


def test_a_clock_that_is_a_little_behind_waits_for_the_other() -> None:
    ruling = rule(schedule(decided=START + 10 * HOUR), version(), [], now=START + 10 * HOUR - 30)
    assert ruling == Ruling(verdicts=(), decided=START + 10 * HOUR, next_due=START + 11 * HOUR)


def test_a_clock_that_was_put_back_decides_from_now_on() -> None:
    ruling = rule(schedule(decided=START + 1000 * HOUR), version(), [], now=START + 2.5 * HOUR)
    assert ruling == Ruling(verdicts=(), decided=START + 2.5 * HOUR, next_due=START + 3 * HOUR)


# --- overlap -------------------------------------------------------------------------------------

RUNNING = run("r1", RunState.RUNNING)


def one(policy: Version, active: list[Run]) -> tuple[str, str | None, tuple[str, ...]]:
    (verdict,) = rule(schedule(), policy, active, now=START + HOUR).verdicts
    return verdict.state.value, verdict.reason, verdict.cancel


def test_a_slot_beside_a_run_that_is_not_over() -> None:
    said = "run r1 of 2026-01-01 00:00 UTC"
    assert one(version(overlap="skip"), [RUNNING]) == ("skipped", f"{said} is not over", ())
    waits = ("queued", f"waits for the end of {said}", ())
    assert one(version(overlap="queue"), [RUNNING]) == waits
    taken = ("queued", "takes the place of r1", ("r1",))
    assert one(version(overlap="cancel-previous"), [RUNNING]) == taken
    assert one(version(overlap="parallel", parallel=2), [RUNNING]) == ("queued", None, ())
    two = [RUNNING, run("r2", RunState.DUE)]
    assert one(version(overlap="parallel", parallel=2), two) == waits


def test_a_run_that_waits_for_its_next_attempt_is_not_over() -> None:
    retrying = run("r1", RunState.QUEUED, attempt=2)
    assert one(version(overlap="skip"), [retrying])[0] == "skipped"


def test_the_queue_of_a_schedule_is_bounded() -> None:
    waiting = [run(f"r{n}", RunState.QUEUED) for n in range(MOST_WAITING)]
    state, reason, _ = one(version(overlap="queue"), waiting)
    assert (state, reason) == ("skipped", f"{MOST_WAITING} runs wait already")


def test_slots_that_come_together_see_each_other() -> None:
    policy = version(seconds=10.0, overlap="skip")
    ruling = rule(schedule(), policy, [], now=START + 30)
    assert [each.state.value for each in ruling.verdicts] == ["queued", "skipped", "skipped"]
    assert ruling.verdicts[1].reason == "the run of 2026-01-01 00:00:10 UTC is not over"


def test_a_slot_that_takes_the_place_of_others_takes_that_of_the_last_one_too() -> None:
    policy = version(seconds=10.0, overlap="cancel-previous")
    ruling = rule(schedule(), policy, [RUNNING], now=START + 20)
    assert [each.cancel for each in ruling.verdicts] == [(), ("r1",)]
    assert ruling.verdicts[0].state is RunState.SKIPPED
    assert ruling.verdicts[1].state is RunState.QUEUED


# --- what is started -----------------------------------------------------------------------------


def ids(runs: list[Run]) -> list[str]:
    return [each.id for each in runs]


def test_who_waits_starts_in_order_as_there_is_room() -> None:
    waiting = [
        run("r3", RunState.QUEUED, start_at=30.0),
        run("r2", RunState.QUEUED, start_at=20.0),
        run("r4", RunState.QUEUED, start_at=99.0),
    ]
    one_place, two_places = Policy(overlap="queue"), Policy(overlap="parallel", parallel=2)
    assert ids(room(one_place, waiting, now=50.0)) == ["r2"]
    assert ids(room(two_places, waiting, now=50.0)) == ["r2", "r3"]
    assert ids(room(two_places, [*waiting, RUNNING], now=50.0)) == ["r2"]
    assert ids(room(one_place, [*waiting, RUNNING], now=50.0)) == []
    assert ids(room(one_place, waiting, now=10.0)) == []


def test_a_retry_keeps_its_place_until_its_pause_is_over() -> None:
    retry = run("r1", RunState.QUEUED, attempt=2, start_at=60.0)
    waiting = run("r2", RunState.QUEUED, start_at=10.0)
    assert ids(room(Policy(overlap="queue"), [retry, waiting], now=50.0)) == []
    assert ids(room(Policy(overlap="queue"), [retry, waiting], now=60.0)) == ["r1"]


# --- retries -------------------------------------------------------------------------------------


def test_a_failed_run_is_begun_again_later_and_later_until_it_has_had_its_attempts() -> None:
    policy = Policy(retries=3, backoff_seconds=60.0, backoff_most_seconds=200.0)
    pauses = []
    attempt = RUNNING
    for number in (1, 2, 3):
        attempt = replace(attempt, attempt=number)
        ending = after_attempt(policy, attempt, RunState.FAILED, "cell 3", retry=True, now=1000.0)
        assert ending.state is RunState.QUEUED
        assert ending.retry_at is not None
        pauses.append(ending.retry_at - 1000.0)
    assert pauses == [60.0, 120.0, 200.0]
    assert ending.reason == "attempt 3 of 4: cell 3; again in 3.33 min"
    last = replace(attempt, attempt=4)
    over = after_attempt(policy, last, RunState.LOST, "gone", retry=True, now=1000.0)
    assert (over.state, over.retry_at) == (RunState.LOST, None)
    assert over.reason == "attempt 4 of 4: gone"


def test_what_a_retry_cannot_help_is_over() -> None:
    policy = Policy(retries=3)
    for state, retry, stop in (
        (RunState.SUCCEEDED, True, False),
        (RunState.CANCELLED, True, False),
        (RunState.FAILED, False, False),
        (RunState.FAILED, True, True),
    ):
        ending = after_attempt(
            policy, replace(RUNNING, stop=stop), state, "so", retry=retry, now=0.0
        )
        assert (ending.state, ending.retry_at) == (state, None)


# --- events --------------------------------------------------------------------------------------


def test_an_event_makes_a_run_but_not_on_days_off_after_the_end_or_paused() -> None:
    def ruled(where: Schedule, **policy: Any) -> str | None:
        verdict = rule_event(
            where, version(**policy), [], key="after:r1", trigger="after", now=START + HOUR
        )
        return None if verdict is None else verdict.state.value

    assert ruled(schedule()) == "queued"
    assert ruled(schedule(paused_at=START)) is None
    assert ruled(schedule(), except_days=("2026-01-01",)) is None
    assert ruled(schedule(), ends_at=START) is None


@pytest.mark.parametrize(
    ("policy", "option"),
    [
        (Policy(overlap="parallel", parallel=0), "overlap"),
        (Policy(window_seconds=0.0), "window"),
        (Policy(retries=-1), "retries"),
        (Policy(retries=101), "retries"),
        (Policy(jitter_seconds=-1.0), "jitter"),
        (Policy(backoff_factor=0.5), "backoff"),
        (Policy(except_days=("Monday",)), "except"),
    ],
)
def test_a_policy_that_cannot_be_names_its_option(policy: Policy, option: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_policy(policy, "UTC")
    assert caught.value.option == option
    check_policy(Policy(), "UTC")
