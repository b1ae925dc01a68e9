"""Several who keep endpoints at once, and who die on the way: each replica has one job."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from jupyter_aiinfra.bundle import Bundle
from jupyter_aiinfra.cost.ledger import Ledger
from jupyter_aiinfra.endpoint import (
    Endpoint,
    Gates,
    Reach,
    ReplicaState,
    Rollout,
    Scaling,
)
from jupyter_aiinfra.engine.endpoints import Endpoints
from jupyter_aiinfra.errors import Conflict, SubmitError
from jupyter_aiinfra.model import Desired, Handle, Interpreter, Job, JobSpec, Node, PoolRecord
from jupyter_aiinfra.pools.local import LocalOptions, LocalPool
from jupyter_aiinfra.routing.status import (
    EndpointStatus,
    ReplicaStatus,
    Status,
    VersionStatus,
)
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store, open_store
from tests.support.endpoints import model


class DiedHere(BaseException):
    """A process that ended in the middle of something."""


class Place(LocalPool):
    """A pool whose one node has all that is needed, and on which nothing runs."""

    async def nodes(self) -> tuple[Node, ...]:
        python = Interpreter(executable="/opt/python", version="3.12.1")
        return (Node(name="n0", address="10.0.0.1", python=python),)

    async def reach(self, handle: Handle, path: str) -> Reach:
        return Reach(address=f"unix:/run/{handle.data['job']}/{path}")


class World:
    """What all processes share: the record, what was launched, and what the router says."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(home=home)
        self.now = 1_800_000_000.0
        self.launched: list[str] = []
        self.cancelled: list[str] = []
        self.up: set[str] = set()
        self.stores: list[Store] = []
        self.fault: BaseException | None = None

    def process(self) -> Endpoints:
        """Open another process's verbs."""
        store = open_store(self.settings)
        if not store.list_pools():
            store.add_pool(PoolRecord(name="here", kind="local"))
        self.stores.append(store)
        place = Place(LocalOptions(), self.settings)

        async def launch(
            pool: str,
            spec: JobSpec,
            bundle: Bundle,
            *,
            secrets: Mapping[str, str] | None = None,
            job_id: str | None = None,
        ) -> Job:
            del bundle, secrets
            assert job_id is not None
            fault = None if spec.name == "router" else self.fault
            if isinstance(fault, DiedHere):
                raise fault
            await asyncio.sleep(0)
            job = Job(id=job_id, pool=pool, spec=spec)
            store.add_job(job)  # an id is taken once
            self.launched.append(spec.name)
            if fault is not None:
                store.fail_pending(job_id, reason=str(fault))
                raise fault
            store.bind(job_id, handle=Handle(kind="local", data={"job": job_id}))
            return store.get_job(job_id)

        async def refresh(job_id: str) -> Job:
            return store.get_job(job_id)

        async def cancel(job_id: str) -> Job:
            self.cancelled.append(job_id)
            job = store.get_job(job_id)
            store.request(job_id, expected=job.version, desired=Desired.STOP)
            return job

        made = Endpoints(
            store,
            self.settings,
            ledger=Ledger(store),
            launch=launch,
            refresh=refresh,
            cancel=cancel,
            pool=lambda _: place,
            clock=lambda: self.now,
        )
        made.router.status = self.status  # type: ignore[method-assign]
        return made

    async def status(self) -> Status:
        """Say what the router would: who is up."""
        store = self.stores[0]
        told = {}
        for endpoint in store.endpoints():
            whole = store.whole_endpoint(endpoint.id)
            versions = {
                str(each.number): VersionStatus(
                    replicas={
                        one.id: ReplicaStatus(state="up")
                        for one in whole.of(each.number, ReplicaState.SERVING)
                        if one.id in self.up
                    }
                )
                for each in whole.versions
            }
            told[endpoint.name] = EndpointStatus(versions=versions)
        return Status(revision=1, pid=1, port=8900, endpoints=told)

    def replicas(self) -> list[str]:
        """Return the jobs of replicas that were launched."""
        return [name for name in self.launched if name != "router"]

    def states(self, endpoint: Endpoint) -> list[str]:
        whole = self.stores[0].whole_endpoint(endpoint.id)
        return sorted(each.state.value for each in whole.replicas)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "home")
    yield made
    for store in made.stores:
        store.close()


async def tick(*processes: Endpoints) -> None:
    """Let all look at once, and what they begin come to its end."""
    await asyncio.gather(*(each.tick() for each in processes))
    await asyncio.gather(*(each.keeping.settled() for each in processes))


async def deployed(process: Endpoints, tmp_path: Path, *, replicas: int = 2) -> Endpoint:
    scaling = Scaling(least=replicas, most=replicas)
    folder = tmp_path / "m"
    made = await process.deploy(
        "adder", folder if folder.is_dir() else model(folder), pool="here", scaling=scaling
    )
    return made.endpoint


async def test_of_many_who_look_at_once_each_replica_is_launched_once(
    world: World, tmp_path: Path
) -> None:
    processes = [world.process() for _ in range(4)]
    endpoint = await deployed(processes[0], tmp_path)
    for _ in range(4):
        await tick(*processes)
    assert world.replicas() == ["adder-1", "adder-1"]
    assert world.states(endpoint) == ["serving", "serving"]
    assert world.launched.count("router") == 1


async def test_what_cannot_be_routed_is_said_and_can_still_be_changed(
    world: World, tmp_path: Path
) -> None:
    process = world.process()
    endpoint = await deployed(process, tmp_path, replicas=1)
    await tick(process)
    store = world.stores[0]
    whole = store.whole_endpoint(endpoint.id)
    second = replace(whole.version(1), number=2)
    # As an earlier release may have recorded it: no gate is checked by the record.
    bad = Rollout(
        id="r", old=1, new=2, kind="canary", steps=(100.0,), gates=Gates(p95_ms=-5.0), begun=True
    )
    changed = store.change_endpoint(whole.endpoint, versions=[second], newest=2, rollout=bad)
    assert changed is not None
    await tick(process)
    (view,) = await process.views()
    assert "what is on record cannot be routed" in view.problem
    assert "p95_ms -5.0" in view.problem
    assert world.states(endpoint) == ["serving", "serving"]
    back = await process.rollback("adder")
    assert back.endpoint.rollout is None
    await tick(process)
    (view,) = await process.views()
    assert view.problem == ""


async def test_who_dies_before_the_launch_leaves_it_to_the_next(
    world: World, tmp_path: Path
) -> None:
    first = world.process()
    endpoint = await deployed(first, tmp_path, replicas=1)
    world.fault = DiedHere()
    with contextlib.suppress(DiedHere):
        await first.tick()
        await first.keeping.settled()
    world.fault = None
    assert world.replicas() == []
    # Its claim says that it lives, as this process does; on another machine it would grow old.
    (due,) = world.stores[0].whole_endpoint(endpoint.id).replicas
    if due.claim is not None:
        gone = replace(due.claim, process={**due.claim.process, "start": 1})
        whole = world.stores[0].whole_endpoint(endpoint.id)
        assert world.stores[0].change_endpoint(whole.endpoint, replicas=[replace(due, claim=gone)])
    second = world.process()
    for _ in range(3):
        await tick(second)
    assert world.replicas() == ["adder-1"]
    assert world.states(endpoint) == ["serving"]


async def test_a_launch_that_is_on_record_is_taken_for_the_one(
    world: World, tmp_path: Path
) -> None:
    first = world.process()
    endpoint = await deployed(first, tmp_path, replicas=1)
    await tick(first)
    (replica,) = world.stores[0].whole_endpoint(endpoint.id).replicas
    # As if it had died between the launch and writing down how it is reached.
    whole = world.stores[0].whole_endpoint(endpoint.id)
    half = replace(replica, state=ReplicaState.DUE, reach=None)
    assert world.stores[0].change_endpoint(whole.endpoint, replicas=[half])
    await tick(world.process())
    assert world.replicas() == ["adder-1"]
    (replica,) = world.stores[0].whole_endpoint(endpoint.id).replicas
    assert replica.reach == Reach(address=f"unix:/run/{replica.id}/serve.sock")


async def test_what_cannot_be_launched_is_tried_again_and_then_given_up(
    world: World, tmp_path: Path
) -> None:
    process = world.process()
    endpoint = await deployed(process, tmp_path, replicas=1)
    world.fault = SubmitError("the disk is full")
    for _ in range(12):
        await tick(process)
        world.now += 30
    assert world.replicas() == ["adder-1"] * 3
    view = await process.show(endpoint.id)
    assert view.state == "failed"
    assert view.whole.version(1).reason == "it never answered: the disk is full"
    assert view.whole.replicas == ()


async def test_one_that_ends_is_replaced_and_one_too_many_is_let_go(
    world: World, tmp_path: Path
) -> None:
    process = world.process()
    endpoint = await deployed(process, tmp_path)
    await tick(process)
    ids = [each.id for each in world.stores[0].whole_endpoint(endpoint.id).replicas]
    world.up |= set(ids)
    await tick(process)
    await process.scale("adder", least=1, most=1)
    await tick(process)
    assert world.states(endpoint) == ["leaving", "serving"]
    for _ in range(3):
        world.now += 1
        await tick(process)
    assert len(world.cancelled) == 1
    assert set(world.cancelled) <= set(ids)

    await process.remove("adder")
    for _ in range(3):
        world.now += 40
        await tick(process)
    assert sorted(set(world.cancelled)) == sorted(ids)


async def test_another_home_is_left_alone(world: World, tmp_path: Path) -> None:
    process = world.process()
    endpoint = await deployed(process, tmp_path)
    store = world.stores[0]
    whole = store.whole_endpoint(endpoint.id)
    assert store.change_endpoint(whole.endpoint, router="elsewhere:/home")
    await tick(process)
    assert world.launched == []
    view = await process.show("adder")
    assert "only seen from there" in view.problem
    with pytest.raises(Conflict, match="is served by elsewhere"):
        await process.remove("adder")
