"""Requests to an endpoint, as kept, over REST."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.model import PoolRecord
from jupyter_aiinfra.routing.samples import Sample
from jupyter_aiinfra.settings import load_settings
from jupyter_aiinfra.store import open_store
from tests.support.endpoints import keep_samples, model, sampled
from tests.support.served import Api


@pytest.fixture
def engine(jp_serverapp: Any) -> Iterator[Engine]:
    settings = load_settings()
    engine = Engine(open_store(settings), settings)
    engine.store.add_pool(PoolRecord(name="here", kind="local"))
    yield engine
    engine.store.close()


@pytest.fixture
def folder(jp_root_dir: Path) -> str:
    model(jp_root_dir / "adder")
    return "adder"


async def deployed(api: Api) -> str:
    status, made = await api.ask("POST", "endpoints", {"folder": "adder", "pool": "here"})
    assert status == 201, made
    return f"endpoint/{made['id']}"


def sample(number: int, **told: Any) -> Sample:
    return sampled({"inputs": [number], "name": "anna"}, {"outputs": [number]}, **told)


async def test_samples_come_by_pages_the_newest_first(
    api: Api, engine: Engine, folder: str
) -> None:
    adder = await deployed(api)
    status, page = await api.ask("GET", f"{adder}/samples")
    assert (status, page) == (200, {"samples": [], "found": 0, "next": None})
    await keep_samples(engine, *(sample(number) for number in range(5)))
    status, page = await api.ask("GET", f"{adder}/samples", limit=2)
    assert status == 200
    assert [each["answer"]["outputs"] for each in page["samples"]] == [[4], [3]]
    assert page["found"] == 5
    first = page["samples"][0]
    assert first["request"] == {"inputs": [4], "name": "[redacted]"}
    assert first["hidden"]
    assert (first["version"], first["status"], first["replica"]) == (1, 200, "j1")
    found = [each["id"] for each in page["samples"]]
    while page["next"] is not None:
        status, page = await api.ask("GET", f"{adder}/samples", limit=2, before=page["next"])
        found += [each["id"] for each in page["samples"]]
    assert len(found) == 5
    assert found == sorted(found, reverse=True)


async def test_samples_are_found_by_version_time_and_errors(
    api: Api, engine: Engine, folder: str
) -> None:
    adder = await deployed(api)
    now = time.time()
    late = sample(3, at=now + 10)
    failed = sample(1, status=502, answer=None)
    await keep_samples(engine, sample(0, at=now - 9e6), failed, sample(2, version="2"), late)

    async def found(**query: Any) -> list[int]:
        _, page = await api.ask("GET", f"{adder}/samples", **query)
        return [each["request"]["inputs"][0] for each in page["samples"]]

    # What was before the endpoint is another's.
    assert await found() == [3, 2, 1]
    assert await found(errors="true") == [1]
    assert await found(version=1) == [3, 1]
    assert await found(since=f"{now + 5:.0f}") == [3]


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ({"limit": "0"}, 400, "limit"),
        ({"limit": "1001"}, 400, "1,000"),
        ({"before": "x"}, 400, "no id of a sample"),
        ({"version": "9"}, 404, "version 9"),
        ({"version": "v"}, 400, "version"),
        ({"errors": "perhaps"}, 400, "errors"),
    ],
)
async def test_what_no_sample_can_be_found_by_is_said(
    api: Api, engine: Engine, folder: str, query: dict[str, Any], status: int, said: str
) -> None:
    adder = await deployed(api)
    got, answer = await api.ask("GET", f"{adder}/samples", **query)
    assert got == status
    assert said in answer["message"]


async def test_samples_of_no_endpoint_are_not_there(api: Api, engine: Engine) -> None:
    status, _ = await api.ask("GET", "endpoint/enothere/samples")
    assert status == 404


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sampling": 2}, "sampling 2"),
        ({"sample_days": 0}, "sample_days"),
        ({"redact": [""]}, "left out"),
        ({"sticky": "not a header"}, "not a header"),
        ({"tolerance": -1}, "tolerance"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
    ],
)
async def test_options_that_no_router_takes_are_refused(
    api: Api, engine: Engine, folder: str, options: dict[str, Any], said: str
) -> None:
    adder = await deployed(api)
    status, answer = await api.ask("PUT", f"{adder}/options", options)
    assert status == 400
    assert said in answer["message"]
    status, item = await api.ask("PUT", f"{adder}/options", {"sampling": 0.5, "sample_days": 2})
    assert (status, item["options"]["sampling"], item["options"]["sample_days"]) == (200, 0.5, 2)
