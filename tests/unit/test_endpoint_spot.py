"""What was lost with its machine is replaced elsewhere at once, and comes back when that does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jupyter_aiinfra.endpoint import Replica, ReplicaOptions, ReplicaState, VersionState
from jupyter_aiinfra.model import Job, JobState
from jupyter_aiinfra.promote.spot import away_until, is_fallback, pool_for
from jupyter_aiinfra.promote.standing import Change, decide
from jupyter_aiinfra.routing.status import EndpointStatus, ReplicaStatus, VersionStatus
from tests.unit.test_endpoint_standing import IDS, NOW, job, replica, version, whole

FALLS = ReplicaOptions(fallback_pool="steady")


def spot(**values: Any) -> Any:
    return version(1, options=FALLS, **values)


def on(pool: str, name: str, state: JobState = JobState.RUNNING, reason: str | None = None) -> Job:
    return replace(job(name, state, reason), pool=pool)


def says(**states: str) -> EndpointStatus:
    told = {name: ReplicaStatus(state=state) for name, state in states.items()}
    return EndpointStatus(versions={"1": VersionStatus(replicas=told)})


def decided(
    *replicas: Replica, status: EndpointStatus, jobs: list[Job], of: Any = None, away: float = 0.0
) -> Change:
    return decide(
        whole(*replicas, versions=(of or spot(),)),
        status=status,
        jobs={each.id: each for each in jobs},
        new_ids=IDS,
        now=NOW,
        away={1: away},
    )


def gone(name: str, *, lived: float, ago: float, reason: str | None = "taken back") -> Replica:
    ended = NOW - ago
    values: dict[str, Any] = {
        "state": ReplicaState.GONE,
        "reason": reason,
        "ended_at": ended,
    }
    return replica(name, created_at=ended - lived, **values)


class TestWhere:
    def test_on_its_own_pool_until_that_is_taken_back(self) -> None:
        assert pool_for(spot(), away=0.0, silent=False, now=NOW) == "lab"
        assert pool_for(spot(), away=NOW + 1, silent=False, now=NOW) == "steady"
        assert pool_for(spot(), away=NOW, silent=False, now=NOW) == "lab"
        assert pool_for(spot(), away=0.0, silent=True, now=NOW) == "steady"

    def test_without_another_pool_it_stays(self) -> None:
        assert pool_for(version(1), away=NOW + 1, silent=True, now=NOW) == "lab"
        assert not is_fallback(version(1), on("lab", "a"))
        assert away_until(version(1), [gone("a", lived=5, ago=1)], {}) == 0.0

    @pytest.mark.parametrize(
        ("lives", "pause"),
        [((7200,), 60), ((5,), 120), ((5, 5), 240), ((5, 7200, 5), 120), ((5,) * 9, 900)],
    )
    def test_each_that_is_lost_early_makes_it_longer(
        self, lives: tuple[int, ...], pause: int
    ) -> None:
        over = [
            gone(f"r{number}", lived=lived, ago=10 + number) for number, lived in enumerate(lives)
        ]
        jobs = {each.id: on("lab", each.id) for each in over}
        assert away_until(spot(), over, jobs) == NOW - 10 + pause

    def test_only_what_was_lost_on_the_own_pool_counts(self) -> None:
        over = [
            gone("a", lived=5, ago=1),
            gone("b", lived=5, ago=2, reason=None),
            replica("c"),
            replace(gone("d", lived=5, ago=3), version=2),
        ]
        jobs = {"a": on("steady", "a"), "b": on("lab", "b"), "d": on("lab", "d")}
        assert away_until(spot(), over, jobs) == 0.0
        # One that could not even be launched has no job.
        assert away_until(spot(), [gone("e", lived=1, ago=4)], {}) == NOW - 4 + 120


class TestFallingBack:
    def test_the_first_that_is_lost_is_replaced_at_once(self) -> None:
        lost = on("lab", "a", JobState.FAILED, "taken back")
        change = decided(replica("a"), status=says(), jobs=[lost])
        assert change.replicas["a"].state is ReplicaState.GONE
        assert change.replicas["new0"].state is ReplicaState.DUE
        # A version that has nowhere to go waits, as it may be its own fault.
        alone = decided(replica("a"), status=says(), jobs=[lost], of=version(1))
        assert set(alone.replicas) == {"a"}

    def test_where_it_is_replaced_already_its_end_brings_no_other(self) -> None:
        lost = on("lab", "a", JobState.FAILED, "taken back")
        both = [lost, on("steady", "b")]
        change = decided(replica("a"), replica("b"), status=says(b="up"), jobs=both)
        assert {name: each.state for name, each in change.replicas.items()} == {
            "a": ReplicaState.GONE
        }

    def test_one_that_fails_there_too_is_waited_with(self) -> None:
        of = spot(failures=1, failed_at=NOW - 0.1)
        lost = on("steady", "a", JobState.FAILED, "it ended")
        change = decided(replica("a"), status=says(), jobs=[lost], of=of)
        assert set(change.replicas) == {"a"}
        assert change.versions[1].failures == 2

    def test_one_whose_machine_is_silent_is_replaced_and_may_come_back(self) -> None:
        silent = [on("lab", "a")]
        change = decided(replica("a"), status=says(a="ejected"), jobs=silent)
        assert set(change.replicas) == {"new0"}
        both = [on("lab", "a"), on("steady", "b")]
        known = (replica("a"), replica("b", created_at=NOW - 1))
        assert not decided(*known, status=says(a="ejected", b="up"), jobs=both)
        back = decided(*known, status=says(a="up", b="up"), jobs=both)
        assert back.replicas["b"].state is ReplicaState.LEAVING
        assert set(back.replicas) == {"b"}

    def test_one_that_is_silent_where_nothing_falls_back_is_waited_for(self) -> None:
        jobs = [on("lab", "a")]
        assert not decided(replica("a"), status=says(a="ejected"), jobs=jobs, of=version(1))


class TestComingBack:
    KNOWN = (replica("b", created_at=NOW - 100),)

    def test_not_before_its_time(self) -> None:
        jobs = [on("steady", "b")]
        assert not decided(*self.KNOWN, status=says(b="up"), jobs=jobs, away=NOW + 1)
        change = decided(*self.KNOWN, status=says(b="up"), jobs=jobs, away=NOW)
        assert set(change.replicas) == {"new0"}
        assert not decided(*self.KNOWN, status=says(b="starting"), jobs=jobs)

    def test_who_fell_back_serves_until_the_other_answers(self) -> None:
        due = replica("c", state=ReplicaState.DUE, reach=None, created_at=NOW)
        one = [on("steady", "b")]
        assert not decided(*self.KNOWN, due, status=says(b="up"), jobs=one)
        both = [*one, on("lab", "c")]
        tried = replica("c", created_at=NOW - 1)
        assert not decided(*self.KNOWN, tried, status=says(b="up", c="starting"), jobs=both)
        change = decided(*self.KNOWN, tried, status=says(b="up", c="up"), jobs=both)
        assert change.replicas["b"].state is ReplicaState.LEAVING
        assert set(change.replicas) == {"b"}

    def test_a_try_that_fails_changes_nothing_of_who_serves(self) -> None:
        tried = replica("c", created_at=NOW - 1)
        jobs = [on("steady", "b"), on("lab", "c", JobState.FAILED, "no capacity")]
        change = decided(*self.KNOWN, tried, status=says(b="up"), jobs=jobs, away=NOW + 60)
        assert set(change.replicas) == {"c"}
        assert change.replicas["c"].state is ReplicaState.GONE
        assert change.versions[1].failures == 0

    def test_several_come_back_one_after_the_other(self) -> None:
        known = (replica("b1", created_at=NOW - 100), replica("b2", created_at=NOW - 90))
        jobs = [on("steady", "b1"), on("steady", "b2")]
        of = spot(wanted=2)
        change = decided(*known, status=says(b1="up", b2="up"), jobs=jobs, of=of)
        assert set(change.replicas) == {"new0"}
        three = (*known, replica("c"))
        told = says(b1="up", b2="up", c="up")
        change = decided(*three, status=told, jobs=[*jobs, on("lab", "c")], of=of)
        assert set(change.replicas) == {"b2"}

    def test_what_is_not_wanted_any_more_is_not_tried_again(self) -> None:
        of = spot(wanted=0, state=VersionState.RETIRED)
        known = (*self.KNOWN, replica("a"))
        jobs = [on("steady", "b"), on("lab", "a")]
        change = decided(*known, status=says(b="up", a="ejected"), jobs=jobs, of=of)
        assert {each.state for each in change.replicas.values()} == {ReplicaState.LEAVING}
        assert set(change.replicas) == {"a", "b"}
