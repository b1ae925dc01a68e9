"""What a node's cron does with slots; that jobs are really started is tried by the integration."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.model import new_job_id
from jupyter_aiinfra.node import cronstart
from jupyter_aiinfra.promote.crontab import ahead, check_pool_fires, segments
from jupyter_aiinfra.promote.triggers import timetable_of
from jupyter_aiinfra.schedule import Policy, Trigger, Version

OTHERS = "MAILTO=me\n# a comment\n*/5 * * * * backup  # jupyter-aiinfra s12\n"
START = 1_767_225_600.0  # 2026-01-01 00:00 UTC
HOURLY = Trigger(kind="cron", lines=("0 * * * *",))


def version(*triggers: Trigger, **changes: Any) -> Version:
    values: dict[str, Any] = {"schedule": "s1", "number": 1, "notebook": "/n.ipynb", "pool": "here"}
    return Version(**{**values, "triggers": triggers or (HOURLY,), **changes})


# --- the crontab ---------------------------------------------------------------------------------


def test_a_line_comes_and_goes_and_leaves_all_others_as_they_are() -> None:
    with_one = cronstart.crontab_with(OTHERS, "s1", "'/a b/python' wake 100%")
    assert with_one == OTHERS + "* * * * * '/a b/python' wake 100\\% # jupyter-aiinfra s1\n"
    assert cronstart.crontab_with(with_one, "s1", "'/a b/python' wake 100%") == with_one
    with_two = cronstart.crontab_with(with_one, "s2", "other")
    assert cronstart.crontab_without(with_two, "s2") == with_one
    assert cronstart.crontab_without(with_one, "s1") == OTHERS
    assert cronstart.crontab_without(OTHERS, "s1") == OTHERS


def test_a_last_line_without_an_end_gets_one() -> None:
    assert cronstart.crontab_with("@daily x", "s1", "c").startswith("@daily x\n* * * * * c ")


# --- slots ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "zone"),
    [
        ("30 2 * * *", "America/New_York"),
        ("*/7 8-9 * * MON#1", "Europe/Berlin"),
        ("15 * L * *", "Australia/Lord_Howe"),
        ("5 10 12 * * *", "UTC"),
    ],
)
def test_slots_on_the_node_are_those_of_the_timetable(line: str, zone: str) -> None:
    wanted = version(Trigger(kind="cron", lines=(line,)), timezone=zone)
    stretches, until = ahead(wanted, START)
    slots = timetable_of(wanted).between(START, until, most=100_000)
    read = json.loads(json.dumps(stretches))
    assert cronstart.slots_between(read, START, until, 100_000) == slots
    middle = slots[len(slots) // 2]
    assert cronstart.slots_between(read, middle, until, 2) == slots[len(slots) // 2 + 1 :][:2]
    assert cronstart.slots_between(read, middle - 1, middle) == [middle]


def test_equal_steps_are_one_stretch() -> None:
    assert segments([10.0, 20.0, 30.0, 35.0, 40.0, 45.0]) == [[10.0, 10.0, 3], [35.0, 5.0, 3]]
    assert segments([7.0]) == [[7.0, 0.0, 1]]
    assert cronstart.slots_between([[7.0, 0.0, 1]], 0.0, 100.0) == [7.0]
    assert cronstart.slots_between([[7.0, 0.0, 1]], 7.0, 100.0) == []


def test_an_interval_is_one_stretch_that_goes_on_from_its_anchor() -> None:
    every = version(Trigger(kind="every", seconds=90.0, anchor=START - 45.0))
    stretches, until = ahead(every, START)
    assert stretches[0][:2] == [START + 45.0, 90.0]
    assert until == START + 400 * 86400
    (last,) = cronstart.slots_between(stretches, until - 90.0, until)
    assert last == timetable_of(every).between(until - 90.0, until, most=2)[0]


def test_ids_of_jobs_are_as_all_are_and_always_the_same() -> None:
    first = cronstart.job_id("s1", START)
    assert first == cronstart.job_id("s1", START) != cronstart.job_id("s2", START)
    assert cronstart.job_id("s1", START + 1) > first
    assert len(first) == len(new_job_id())


# --- what becomes of them ------------------------------------------------------------------------


class Node:
    """A folder of a schedule, whose jobs are names only."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.started: list[str] = []
        self.over: set[str] = set()
        self.failing = ""
        self.hanging = False
        monkeypatch.setattr(cronstart, "_lay_out", lambda _f, _o, job, _v: job)
        monkeypatch.setattr(cronstart, "_begin", self._begin)
        monkeypatch.setattr(cronstart, "_is_active", lambda _f, _o, j: j["job"] not in self.over)

    def _begin(self, _orders: dict[str, Any], job: str) -> None:
        if self.hanging:
            raise subprocess.TimeoutExpired("supervise.py", 60)
        if self.failing:
            raise cronstart.Refused(self.failing)
        self.started.append(job)

    def orders(self, **changes: Any) -> None:
        usual = {
            "schedule": "s1",
            "version": 1,
            "segments": [[START, 60.0, 100_000]],
            "since": START - 1,
            "places": 1,
            "overlap": "skip",
            "catch_up": "none",
            "window_seconds": None,
        }
        (self.folder / "current.json").write_text(json.dumps({**usual, **changes}))

    def look(self, now: float) -> None:
        cronstart.look(str(self.folder), now)

    def end(self) -> None:
        self.over |= set(self.started)

    @property
    def events(self) -> list[dict[str, Any]]:
        return cronstart._events(str(self.folder))

    def what(self) -> list[tuple[str, float]]:
        return [(event["what"], event["slot"] - START) for event in self.events]


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    return Node(tmp_path, monkeypatch)


def test_a_slot_is_started_once(node: Node) -> None:
    node.orders()
    for now in (START - 0.5, START + 1, START + 2, START + 30):
        node.look(now)
    assert node.started == [cronstart.job_id("s1", START)]
    assert node.what() == [("started", 0.0)]
    assert [event["n"] for event in node.events] == [1]


def test_a_slot_beside_one_that_runs_is_skipped_or_waits(node: Node) -> None:
    node.orders()
    node.look(START + 1)
    node.look(START + 61)
    assert node.what() == [("started", 0.0), ("skipped", 60.0)]
    assert "is not over" in node.events[1]["reason"]
    node.orders(overlap="queue")
    node.look(START + 121)
    assert node.what()[2:] == []
    node.end()
    node.look(START + 130)
    assert node.what()[2:] == [("started", 120.0)]


def test_so_many_at_once(node: Node) -> None:
    node.orders(overlap="parallel", places=2)
    for minute in range(4):
        node.look(START + 60 * minute + 1)
    assert node.what() == [("started", 0.0), ("started", 60.0)]
    node.end()
    node.look(START + 182)
    assert node.what()[2:] == [("started", 120.0), ("started", 180.0)]


@pytest.mark.parametrize(
    ("policy", "window", "told"),
    [
        ("none", None, [("missed", 60.0), ("started", 600.0)]),
        ("last", None, [("missed", 60.0), ("started", 600.0)]),
        ("all", 300.0, [("missed", 60.0), ("started", 360.0)]),
        ("all", None, [("started", 60.0)]),
    ],
)
def test_what_was_missed_is_caught_up_as_the_policy_says(
    node: Node, policy: str, window: float | None, told: list[tuple[str, float]]
) -> None:
    node.orders(catch_up=policy, window_seconds=window, overlap="queue")
    node.look(START + 1)
    node.end()
    node.look(START + 631)
    assert node.what()[1:] == told
    missed = [event for event in node.events if event["what"] == "missed"]
    for event in missed:
        assert event["slots"] == (event["last_slot"] - event["slot"]) / 60 + 1
    for _ in range(20):
        node.end()
        node.look(START + 632)
    covered = sum(event.get("slots", 1) for event in node.events)
    assert covered == 11, "each slot is told of once"


def test_only_the_newest_of_missed_slots_is_caught_up(node: Node) -> None:
    node.orders(catch_up="last", segments=[[START, 60.0, 5]])
    node.look(START + 3600)
    assert node.what() == [("missed", 0.0), ("started", 240.0)]


def test_a_clock_that_was_put_back_starts_nothing_twice(node: Node) -> None:
    node.orders()
    node.look(START + 61)
    node.end()
    before = list(node.started)
    for now in (START - 86400, START + 1, START + 60):
        node.look(now)
    assert node.started == before
    node.look(START + 121)
    assert len(node.started) == len(before) + 1


def test_what_cannot_be_started_is_told_and_the_next_slot_comes(node: Node) -> None:
    node.orders()
    node.failing = "no room"
    node.look(START + 1)
    node.failing = ""
    node.look(START + 61)
    assert node.what() == [("failed", 0.0), ("started", 60.0)]
    assert node.events[0]["reason"] == "no room"


def test_one_that_did_not_answer_is_begun_again_and_told_of_once(node: Node) -> None:
    node.orders(overlap="queue")
    node.hanging = True
    with pytest.raises(subprocess.TimeoutExpired):
        node.look(START + 1)
    assert node.events == []
    node.hanging = False
    node.look(START + 61)
    assert node.what() == [("started", 0.0)]


@pytest.mark.parametrize("dies_at", range(6))
def test_a_death_at_any_write_neither_loses_nor_doubles_a_slot(
    node: Node, monkeypatch: pytest.MonkeyPatch, dies_at: int
) -> None:
    class Died(BaseException):
        pass

    node.orders(overlap="queue")
    left = [dies_at]

    def mortal(real: Any) -> Any:
        def step(*given: Any, **named: Any) -> None:
            if left[0] == 0:
                left[0] = -1
                raise Died
            left[0] -= 1
            real(*given, **named)

        return step

    for name in ("_write_json", "_tell", "_begin"):
        monkeypatch.setattr(cronstart, name, mortal(getattr(cronstart, name)))
    for minute in range(3):
        for _ in range(2):
            try:
                node.look(START + 60 * minute + 1)
            except Died:
                continue
            node.end()
    node.end()
    node.look(START + 122)
    jobs = [cronstart.job_id("s1", START + 60 * minute) for minute in range(3)]
    # To start again what has started is no error of the supervisor's; under another id it would be.
    assert set(node.started) == set(jobs)
    told = {(event["what"], event["slot"], event["job"]) for event in node.events}
    assert told == {("started", START + 60 * n, job) for n, job in enumerate(jobs)}
    numbers = [event["n"] for event in node.events]
    assert numbers == sorted(set(numbers))


def test_half_a_line_of_the_events_is_told_again(node: Node) -> None:
    node.orders()
    node.look(START + 1)
    node.end()
    with (node.folder / "events.jsonl").open("a") as file:
        file.write('{"n": 2, "wh')
    node.look(START + 61)
    assert node.what() == [("started", 0.0), ("started", 60.0)]
    assert [event["n"] for event in node.events] == [1, 2]


# --- what it cannot be ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "option"),
    [
        (version(Trigger(kind="after", schedule="s2")), "after"),
        (version(Trigger(kind="file", path="/x")), "when_changed"),
        (version(policy=Policy(retries=1)), "retries"),
        (version(policy=Policy(jitter_seconds=5)), "jitter"),
        (version(policy=Policy(overlap="cancel-previous")), "overlap"),
        (version(options={"gpus": 1}), "gpus"),
        (version(options={"environment": "requirements.txt"}), "env"),
        (version(options={"secrets": ["TOKEN"]}), "secret"),
        (version(parameters={"word": "secret:TOKEN"}), "secret"),
        (version(form={"properties": {"word": {"default": "secret:TOKEN"}}}), "secret"),
    ],
)
def test_what_a_node_cannot_do_alone_is_refused_by_name(wanted: Version, option: str) -> None:
    with pytest.raises(UsageError) as refused:
        check_pool_fires(wanted)
    assert refused.value.option == option
    assert "--fired-by server" in refused.value.hint


def test_what_it_can_do_is_not_refused() -> None:
    check_pool_fires(version(policy=Policy(overlap="parallel", parallel=3, catch_up="all")))
    check_pool_fires(version(Trigger(kind="at", times=(START,)), policy=Policy(ends_at=START)))
