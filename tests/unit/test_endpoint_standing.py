from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from jupyter_aiinfra.endpoint import (
    Endpoint,
    EndpointVersion,
    Package,
    Reach,
    Replica,
    ReplicaState,
    Rollout,
    Share,
    VersionState,
)
from jupyter_aiinfra.model import Job, JobKind, JobSpec, JobState, Observation
from jupyter_aiinfra.promote.standing import GIVEN_UP, Change, decide
from jupyter_aiinfra.routing.status import (
    EndpointStatus,
    ReplicaStatus,
    RolloutStatus,
    VersionStatus,
)
from jupyter_aiinfra.store.endpoints import Whole

NOW = 1_800_000_000.0
IDS = tuple(f"new{number}" for number in range(8))
PACKAGE = Package(name="digits", digest="0" * 64, size_bytes=1, files=())


def version(number: int, **values: Any) -> EndpointVersion:
    made = {"state": VersionState.READY, "created_at": NOW - 10, **values}
    return EndpointVersion(endpoint="e1", number=number, package=PACKAGE, pool="lab", **made)


def replica(name: str, number: int = 1, **values: Any) -> Replica:
    made = {
        "state": ReplicaState.SERVING,
        "created_at": NOW - 5,
        "reach": Reach(address=f"unix:/run/{name}"),
        **values,
    }
    return Replica(id=name, endpoint="e1", version=number, **made)


def endpoint(**values: Any) -> Endpoint:
    made = {"traffic": (Share(version=1, weight=100.0),), "created_at": NOW - 10, **values}
    return Endpoint(id="e1", name="digits", router="here", **made)


def whole(*replicas: Replica, versions: tuple[EndpointVersion, ...] = (), **values: Any) -> Whole:
    return Whole(endpoint=endpoint(**values), versions=versions or (version(1),), replicas=replicas)


def job(name: str, state: JobState = JobState.RUNNING, reason: str | None = None) -> Job:
    spec = JobSpec(kind=JobKind.ENDPOINT, name="digits-1", argv=("python",))
    seen = Observation(state=state, seen_at=NOW, reason=reason)
    return Job(id=name, pool="lab", spec=spec, state=state, seen=seen)


def says(up: dict[int, list[str]], rollout: RolloutStatus | None = None) -> EndpointStatus:
    versions = {
        str(number): VersionStatus(replicas={name: ReplicaStatus(state="up") for name in names})
        for number, names in up.items()
    }
    return EndpointStatus(versions=versions, rollout=rollout)


def decided(
    known: Whole, status: EndpointStatus | None = None, *jobs: Job, **values: Any
) -> Change:
    found = {each.id: each for each in (jobs or tuple(job(r.id) for r in known.replicas))}
    return decide(known, status=status, jobs=found, new_ids=IDS, now=NOW, **values)


ROLLOUT = Rollout(id="r1", old=1, new=2, kind="canary", steps=(5.0, 100.0), asked_at=NOW)


def test_what_is_as_it_should_be_is_left_alone() -> None:
    change = decided(whole(replica("a")), says({1: ["a"]}))
    assert not change


def test_a_missing_replica_is_recorded_under_a_new_id() -> None:
    change = decided(whole(replica("a"), versions=(version(1, wanted=3),)), says({1: ["a"]}))
    assert sorted(change.replicas) == ["new0", "new1"]
    assert all(each.state is ReplicaState.DUE for each in change.replicas.values())


def test_one_that_is_over_is_buried_and_replaced_after_a_pause() -> None:
    known = whole(replica("a"))
    change = decided(known, says({}), job("a", JobState.FAILED, "the script exited"))
    assert change.replicas["a"].state is ReplicaState.GONE
    assert change.replicas["a"].reason == "the script exited"
    assert change.versions[1].failures == 1
    assert set(change.replicas) == {"a"}

    later = whole(versions=(replace(change.versions[1], failed_at=NOW - 1),))
    assert set(decided(later, says({})).replicas) == {"new0"}


def test_a_replica_without_a_job_yet_is_waited_for() -> None:
    due = replica("a", state=ReplicaState.DUE, reach=None)
    assert not decide(whole(due), status=says({}), jobs={}, new_ids=IDS, now=NOW)


def test_a_replica_whose_job_was_removed_is_gone() -> None:
    change = decide(whole(replica("a")), status=says({}), jobs={}, new_ids=IDS, now=NOW)
    assert change.replicas["a"].reason == "its job was removed"


def test_a_version_is_ready_when_one_of_it_answers_and_its_failures_are_forgotten() -> None:
    starting = version(1, state=VersionState.STARTING, failures=2, failed_at=NOW - 5, reason="x")
    change = decided(whole(replica("a"), versions=(starting,)), says({1: ["a"]}))
    assert change.versions[1].state is VersionState.READY
    assert (change.versions[1].failures, change.versions[1].reason) == (0, None)


def test_a_version_that_never_answers_is_given_up_with_its_reason() -> None:
    starting = version(
        1, state=VersionState.STARTING, failures=GIVEN_UP, failed_at=NOW - 500, reason="no torch"
    )
    change = decided(whole(versions=(starting,)), says({}))
    assert change.versions[1].state is VersionState.FAILED
    assert change.versions[1].reason == "it never answered: no torch"
    assert not change.replicas


@pytest.mark.parametrize("answers", [True, False])
def test_a_version_has_so_long_to_answer(answers: bool) -> None:
    slow = version(1, state=VersionState.STARTING, created_at=NOW - 700)
    change = decided(whole(replica("a"), versions=(slow,)), says({}) if answers else None)
    # Where the router says nothing, nobody knows whether it answers.
    assert (1 in change.versions) is answers


def test_one_that_has_answered_is_never_given_up() -> None:
    ready = version(1, failures=50, failed_at=NOW - 100)
    assert set(decided(whole(versions=(ready,)), says({})).replicas) == {"new0"}


def test_a_change_begins_when_all_replicas_of_the_new_version_answer() -> None:
    versions = (version(1), version(2, wanted=2))
    known = whole(
        replica("a"), replica("b", 2), replica("c", 2), versions=versions, rollout=ROLLOUT
    )
    assert not decided(known, says({1: ["a"], 2: ["b"]})).values
    change = decided(known, says({1: ["a"], 2: ["b", "c"]}))
    assert change.values["rollout"].begun
    assert change.event == "endpoint.rollout"


def test_a_new_version_that_does_not_come_up_never_gets_a_request() -> None:
    broken = version(
        2, state=VersionState.STARTING, failures=GIVEN_UP, failed_at=NOW - 9, reason="no torch"
    )
    known = whole(replica("a"), versions=(version(1), broken), rollout=ROLLOUT)
    change = decided(known, says({1: ["a"]}))
    assert change.event == "endpoint.rolled-back"
    assert change.values["rollout"] is None
    assert change.values["traffic"] == (Share(version=1, weight=100.0),)
    assert change.detail["reason"] == "version 2: it never answered: no torch"


def test_what_the_router_has_promoted_is_put_on_record_and_the_old_kept_for_a_while() -> None:
    begun = replace(ROLLOUT, begun=True)
    known = whole(replica("a"), replica("b", 2), versions=(version(1), version(2)), rollout=begun)
    told = RolloutStatus(id="r1", state="promoted", reason="all gates held")
    change = decided(known, says({1: ["a"], 2: ["b"]}, told))
    assert change.values["traffic"] == (Share(version=2, weight=100.0),)
    assert change.event == "endpoint.promoted"
    assert change.versions[1].retire_at == NOW + 600.0
    assert not change.replicas


def test_what_the_router_has_rolled_back_is_put_on_record_and_ended() -> None:
    begun = replace(ROLLOUT, begun=True)
    known = whole(replica("a"), replica("b", 2), versions=(version(1), version(2)), rollout=begun)
    told = RolloutStatus(id="r1", state="rolled-back", reason="5% of its answers were errors")
    change = decided(known, says({1: ["a"], 2: ["b"]}, told))
    assert change.event == "endpoint.rolled-back"
    assert change.detail["reason"] == "5% of its answers were errors"
    assert change.versions[2].state is VersionState.FAILED
    assert change.replicas["b"].state is ReplicaState.LEAVING
    assert "a" not in change.replicas


def test_what_the_router_says_of_another_change_is_no_matter() -> None:
    begun = replace(ROLLOUT, begun=True)
    known = whole(replica("a"), replica("b", 2), versions=(version(1), version(2)), rollout=begun)
    told = RolloutStatus(id="r0", state="rolled-back", reason="long ago")
    assert not decided(known, says({1: ["a"], 2: ["b"]}, told))


def test_a_version_without_traffic_is_retired_when_its_time_is_over() -> None:
    old = version(1, retire_at=NOW - 1)
    traffic = (Share(version=2, weight=100.0),)
    known = whole(replica("a"), replica("b", 2), versions=(old, version(2)), traffic=traffic)
    change = decided(known, says({1: ["a"], 2: ["b"]}))
    assert change.versions[1].state is VersionState.RETIRED
    assert change.replicas["a"].state is ReplicaState.LEAVING

    again = whole(replica("a"), versions=(old,))
    assert not decided(again, says({1: ["a"]}))


def test_who_does_not_answer_is_dismissed_first_then_the_youngest() -> None:
    old, young, silent = (
        replica("old", created_at=NOW - 90),
        replica("young", created_at=NOW - 10),
        replica("silent", created_at=NOW - 99),
    )
    known = whole(old, young, silent, versions=(version(1, wanted=2),))
    assert set(decided(known, says({1: ["old", "young"]})).replicas) == {"silent"}
    known = whole(old, young, silent, versions=(version(1, wanted=1),))
    assert set(decided(known, says({1: ["old", "young"]})).replicas) == {"silent", "young"}


def test_of_a_removed_endpoint_everything_goes() -> None:
    known = whole(replica("a"), removed_at=NOW)
    change = decided(known, says({1: ["a"]}))
    assert change.replicas["a"].state is ReplicaState.LEAVING
    assert change.versions[1].wanted == 0


def test_one_that_leaves_and_has_ended_failed_at_nothing() -> None:
    leaving = replica("a", state=ReplicaState.LEAVING, leaving_at=NOW)
    known = whole(leaving, versions=(version(1, wanted=0),))
    change = decided(known, says({}), job("a", JobState.CANCELLED, "stopped"))
    assert change.replicas["a"].state is ReplicaState.GONE
    assert change.replicas["a"].reason is None
    assert not change.versions


def test_the_load_says_how_many_there_are_to_be() -> None:
    change = decided(whole(replica("a")), says({1: ["a"]}), wanted={1: 3})
    assert change.versions[1].wanted == 3
    assert len(change.replicas) == 2


def test_a_shadow_that_fails_is_no_shadow_any_more() -> None:
    broken = version(2, state=VersionState.FAILED, wanted=0, reason="no torch")
    known = whole(replica("a"), versions=(version(1), broken), shadow=2)
    change = decided(known, says({1: ["a"]}))
    assert change.values == {"shadow": None}
    assert change.detail["reason"] == "no torch"
