from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from jupyter_aiinfra.endpoint import (
    Endpoint,
    EndpointVersion,
    Package,
    Reach,
    Replica,
    ReplicaState,
    Rollout,
    RouterRecord,
    Share,
    new_key,
)
from jupyter_aiinfra.errors import Conflict, NotFound, UsageError
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store, open_store

PACKAGE = Package(name="digits", digest="0" * 64, size_bytes=1, files=(), manifest={"entry": "a:b"})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(Settings(home=tmp_path))
    yield opened
    opened.close()


def add(store: Store, name: str = "digits", endpoint_id: str = "e1") -> Endpoint:
    made = Endpoint(
        id=endpoint_id, name=name, router="here", traffic=(Share(version=1, weight=100.0),)
    )
    version = EndpointVersion(endpoint=endpoint_id, number=1, package=PACKAGE, pool="lab")
    store.add_endpoint(made, version)
    return made


def test_what_is_recorded_comes_back_whole(store: Store) -> None:
    made = add(store)
    replica = Replica(id="j1", endpoint="e1", version=1, reach=Reach(address="unix:/run/a"))
    _, key = new_key("e1", "anna", per_second=3.0)
    rollout = Rollout(id="r", old=1, new=2, kind="canary", steps=(5.0, 100.0))
    second = EndpointVersion(endpoint="e1", number=2, package=PACKAGE, pool="lab", note="better")
    changed = store.change_endpoint(
        made,
        event="endpoint.updated",
        detail={"version": 2},
        versions=[second],
        replicas=[replica],
        keys=[key],
        newest=2,
        rollout=rollout,
    )
    whole = store.whole_endpoint("e1")
    assert whole.endpoint == changed
    assert whole.endpoint.rollout == rollout
    assert [each.number for each in whole.versions] == [1, 2]
    assert whole.version(2) == second
    assert whole.replicas == (replica,)
    assert whole.keys == (key,)
    kinds = [event.kind for event in store.events(subject="e1")]
    assert kinds == ["endpoint.added", "endpoint.updated"]


def test_of_two_who_decide_on_the_same_one_writes(store: Store) -> None:
    made = add(store)
    assert store.change_endpoint(made, shadow=1) is not None
    late = Replica(id="j1", endpoint="e1", version=1)
    assert store.change_endpoint(made, shadow=2, replicas=[late], event="endpoint.x") is None
    whole = store.whole_endpoint("e1")
    assert whole.endpoint.shadow == 1
    assert whole.replicas == ()
    assert [event.kind for event in store.events(subject="e1")] == ["endpoint.added"]


def test_a_name_is_taken_until_it_is_removed_and_comes_back_if_it_is_free(store: Store) -> None:
    made = add(store)
    with pytest.raises(Conflict, match="there is an endpoint 'digits' already"):
        add(store, endpoint_id="e2")
    gone = store.change_endpoint(made, removed_at=5.0)
    assert gone is not None
    assert store.endpoints() == []
    other = add(store, endpoint_id="e2")
    with pytest.raises(Conflict):
        store.change_endpoint(gone, removed_at=None)
    assert store.change_endpoint(other, removed_at=6.0) is not None
    assert store.change_endpoint(gone, removed_at=None) is not None


def test_it_is_found_by_name_id_or_the_beginning_of_one(store: Store) -> None:
    made = add(store, endpoint_id="e1abc")
    assert [store.get_endpoint(name).id for name in ("digits", "e1abc", "e1a")] == ["e1abc"] * 3
    with pytest.raises(NotFound, match="there is no endpoint 'digts'") as error:
        store.get_endpoint("digts")
    assert "digits" in error.value.hint
    store.change_endpoint(made, removed_at=1.0)
    with pytest.raises(NotFound):
        store.get_endpoint("digits")
    assert store.get_endpoint("digits", removed=True).id == "e1abc"


def test_a_name_that_was_others_before_is_of_the_one_that_has_it_now(store: Store) -> None:
    for number in (1, 2):
        made = add(store, endpoint_id=f"e{number}")
        store.change_endpoint(made, removed_at=float(number))
    with pytest.raises(UsageError, match="may be several endpoints: e1, e2"):
        store.get_endpoint("digits", removed=True)
    add(store, endpoint_id="e3")
    assert store.get_endpoint("digits", removed=True).id == "e3"
    assert store.get_endpoint("e1", removed=True).id == "e1"


def test_a_removed_endpoint_is_looked_at_while_anything_of_it_runs(store: Store) -> None:
    made = add(store)
    replica = Replica(id="j1", endpoint="e1", version=1, state=ReplicaState.SERVING)
    made = store.change_endpoint(made, replicas=[replica], removed_at=1.0) or made
    assert [each.endpoint.id for each in store.standing_endpoints("here")] == ["e1"]
    assert store.standing_endpoints("elsewhere") == []
    store.change_endpoint(made, replicas=[replace(replica, state=ReplicaState.GONE)])
    assert store.standing_endpoints("here") == []
    assert [each.id for each in store.endpoint_replicas("e1")] == ["j1"]


def test_a_version_that_is_not_there_is_told(store: Store) -> None:
    add(store)
    with pytest.raises(NotFound, match="digits has no version 7") as error:
        store.whole_endpoint("e1").version(7)
    assert "there are: 1" in error.value.hint


def test_one_of_many_records_the_router(store: Store) -> None:
    assert store.find_router("here") is None
    mine = store.put_router(RouterRecord(key="here", job="j1", pool="lab"))
    assert mine is not None
    assert store.put_router(RouterRecord(key="here", job="j2", pool="lab")) is None
    assert store.find_router("here") == mine
    assert store.put_router(replace(mine, job="j3")) is not None
    assert store.put_router(replace(mine, job="j4")) is None
