"""What is told on Jupyter's own event bus, and that its schemas hold."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_events import EventLogger

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.model import Event, JobState
from jupyter_aiinfra.server import events
from jupyter_aiinfra.server.events import JOB_STATE, POOL, POOL_REACHABILITY, EventBus
from jupyter_aiinfra.server.wire import PoolItem, PoolStatus
from jupyter_aiinfra.testing import FakeCluster
from tests.support.browser import eventually
from tests.support.engines import EMPTY, House, a_spec
from tests.support.engines import POOL as FAKE

Told = list[tuple[str, dict[str, Any]]]


def listen(logger: EventLogger) -> Told:
    """Return a list that grows with each of our events, as it is validated and sent."""
    told: Told = []

    async def hear(logger: EventLogger, schema_id: str, data: dict[str, Any]) -> None:
        told.append((schema_id, {k: v for k, v in data.items() if not k.startswith("__")}))

    for schema in events.SCHEMAS:
        logger.add_listener(schema_id=schema, listener=hear)
    return told


async def heard(logger: EventLogger, told: Told) -> Told:
    await logger.gather_listeners()
    return told


def event(what: str, subject: str = "0abc", **detail: Any) -> Event:
    return Event(id=1, at=0.0, kind=what, subject=subject, detail=detail)


def pool(name: str, status: PoolStatus) -> PoolItem:
    return PoolItem(
        name=name, kind="fake", options={"token": "x"}, created_at=0, active_jobs=0, status=status
    )


async def test_job_without_record_is_told_by_its_id() -> None:
    logger = EventLogger()
    bus = EventBus(logger)
    told = listen(logger)

    bus.tell(event("job.state", **{"from": "pending", "to": "failed", "reason": "s3cret"}), None)

    data = {"job": "0abc", "from": "pending", "to": "failed"}
    assert await heard(logger, told) == [(JOB_STATE, data)]


async def test_pools_come_and_go() -> None:
    logger = EventLogger()
    bus = EventBus(logger)
    told = listen(logger)

    bus.tell(event("pool.added", "here", kind="local"), None)
    bus.tell(event("pool.removed", "here"), None)
    bus.tell(event("job.added"), None)

    assert await heard(logger, told) == [
        (POOL, {"action": "attached", "pool": "here", "kind": "local"}),
        (POOL, {"action": "detached", "pool": "here"}),
    ]


async def test_reachability_is_told_when_it_changes() -> None:
    logger = EventLogger()
    bus = EventBus(logger)
    told = listen(logger)
    unknown, live, silent = PoolStatus.UNKNOWN, PoolStatus.LIVE, PoolStatus.UNREACHABLE
    partly = PoolStatus.DEGRADED

    for status in (unknown, live, live, partly, silent, silent, live):
        bus.tell_reachability([pool("a", status)])
    bus.tell_reachability([pool("b", silent)])

    assert [(data["pool"], data["status"]) for _, data in await heard(logger, told)] == [
        ("a", "degraded"),
        ("a", "unreachable"),
        ("a", "live"),
        ("b", "unreachable"),
    ]
    assert {schema for schema, _ in told} == {POOL_REACHABILITY}


def test_schemas_say_which_they_are_and_are_registered_once() -> None:
    logger = EventLogger()
    EventBus(logger)
    EventBus(logger)

    for name, path in events.SCHEMAS.items():
        assert logger.schemas.get(name).id == name
        assert re.fullmatch(r"https://schema\.jupyter\.org/jupyter_aiinfra/[a-z_]+/v1", name)
        assert path.is_file()


@pytest.mark.parametrize("state", list(JobState))
def test_every_state_is_one_of_the_schema(state: JobState) -> None:
    logger = EventLogger()
    EventBus(logger)
    data = {"job": "0abc", "from": "pending", "to": state.value}

    logger.schemas.validate_event(JOB_STATE, data)


class TestServer:
    """The extension in a server, with the record changed by another process."""

    @pytest.fixture
    def cluster(self) -> FakeCluster:
        return FakeCluster()

    @pytest.fixture
    def aiinfra_config(self, cluster: FakeCluster) -> dict[str, Any]:
        return {
            "pool_opener": lambda *given: cluster.opener(*given),  # noqa: PLW0108
            "Background": {"idle_seconds": 0.02, "watch_seconds": 0.02, "refresh_seconds": 0.05},
        }

    @pytest.fixture
    def elsewhere(self, aiinfra_home: Path, cluster: FakeCluster) -> Iterator[Engine]:
        house = House(aiinfra_home, cluster)
        yield house.attached()
        house.close()

    async def test_tells_each_entry_of_the_record_once(
        self, elsewhere: Engine, jp_serverapp: Any, cluster: FakeCluster
    ) -> None:
        (app,) = jp_serverapp.extension_manager.extension_apps["jupyter_aiinfra"]
        told = listen(jp_serverapp.event_logger)
        await app._start_jupyter_server_extension(jp_serverapp)
        await eventually(lambda: app.background.record._version is not None)

        job = await elsewhere.launch(FAKE, a_spec(), EMPTY)
        cluster.end(job.id, JobState.SUCCEEDED)
        await eventually(lambda: told and told[-1][1]["to"] == "succeeded")
        app.background.poke()
        await asyncio.sleep(0.1)

        # Nothing of the pool, which was attached before; nothing twice.
        assert [(schema, data["from"], data["to"]) for schema, data in told] == [
            (JOB_STATE, "pending", "starting"),
            (JOB_STATE, "starting", "succeeded"),
        ]
        assert told[-1][1]["pool"] == FAKE
        await app.background.stop()
