"""Cost over REST: reports, what is spent now, jobs, prices, tags, what-if, export."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError

from jupyter_aiinfra.cost.terms import PriceOptions
from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.model import Gpu, JobState, Node, Origin
from jupyter_aiinfra.testing import FakeCluster
from tests.support.browser import eventually
from tests.support.engines import EMPTY, POOL, House, WallClock, a_spec

Fetch = Callable[..., Awaitable[Any]]


class Api:
    """Asks, and returns what was answered; refusals as they are."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    async def get(self, *path: str, **params: str) -> Any:
        return json.loads((await self._fetch("aiinfra", *path, params=params)).body)

    async def send(self, method: str, *path: str, **body: Any) -> Any:
        answer = await self._fetch("aiinfra", *path, method=method, body=json.dumps(body))
        return json.loads(answer.body)

    async def refused(self, *path: str, **params: str) -> Any:
        with pytest.raises(HTTPClientError) as caught:
            await self.get(*path, **params)
        assert caught.value.response is not None
        return caught.value.code, json.loads(caught.value.response.body)


@pytest.fixture
def api(jp_fetch: Fetch) -> Api:
    return Api(jp_fetch)


@pytest.fixture
def cluster() -> FakeCluster:
    gpus = tuple(Gpu(uuid=f"GPU-{n}", name="NVIDIA H100", index=n) for n in range(2))
    node = Node(name="n0", address="n0", cpus=8, gpus=gpus, max_procs=8)
    return FakeCluster([node], leased=True, clock=WallClock())


@pytest.fixture
def aiinfra_config(cluster: FakeCluster) -> dict[str, Any]:
    return {
        # Not the bound method: configuration is copied deeply.
        "pool_opener": lambda *given: cluster.opener(*given),  # noqa: PLW0108
        "Background": {
            "watch_seconds": 0.02,
            "calm_seconds": 0.02,
            "idle_seconds": 0.02,
            "cost_seconds": 0.2,
        },
    }


@pytest.fixture
def elsewhere(aiinfra_home: Path, cluster: FakeCluster) -> Engine:
    return House(aiinfra_home, cluster).attached()


async def launch(engine: Engine, **changes: Any) -> str:
    origin = Origin(user="ada", notebook="digits.ipynb")
    job = await engine.launch(POOL, a_spec(gpus=1, origin=origin, **changes), EMPTY)
    return job.id


async def test_a_job_is_told_with_its_cost(api: Api, elsewhere: Engine) -> None:
    job = await launch(elsewhere, tags={"project": "vision"})
    unknown = (await api.get("jobs", job))["cost"]
    assert (unknown["cost"], unknown["hourly"]) == ([], None)
    assert "has no price" in unknown["reason"]
    elsewhere.set_price(POOL, PriceOptions(price="36/gpu-h"), since=time.time() - 3600)
    detail = await api.get("jobs", job)
    cost = detail["cost"]
    assert cost["hourly"] == {"amount": "36", "currency": "USD", "text": "$36.00"}
    assert float(cost["cost"][0]["amount"]) == pytest.approx(
        cost["allocated_seconds"] / 100, rel=1e-6
    )
    assert cost["price"]["text"].startswith("$36.00 a GPU-hour")
    assert detail["tags"] == {"project": "vision"}
    (same,) = await api.get("cost", "jobs", ids=f"{job},nothere")
    assert same["job"] == job
    assert same["at"] >= cost["at"]


async def test_what_is_spent_now_is_the_rate_of_what_runs(
    api: Api, elsewhere: Engine, cluster: FakeCluster
) -> None:
    elsewhere.set_price(POOL, PriceOptions(price="36/gpu-h"))
    first = await launch(elsewhere)
    await launch(elsewhere)
    now = await api.get("cost", "now")
    assert now["hourly"] == [{"amount": "72", "currency": "USD", "text": "$72.00"}]
    assert now["pools"] == [{"pool": POOL, "hourly": now["hourly"], "jobs": 2}]
    assert now["unpriced_jobs"] == 0
    assert float(now["today"][0]["amount"]) <= float(now["month"][0]["amount"])
    cluster.end(first, JobState.SUCCEEDED)
    await elsewhere.refresh(first)
    later = await api.get("cost", "now")
    assert later["hourly"][0]["amount"] == "36"


async def test_a_report_adds_up(api: Api, elsewhere: Engine) -> None:
    elsewhere.set_price(POOL, PriceOptions(price="36/gpu-h"))
    job = await launch(elsewhere, tags={"project": "vision"})
    report = await api.get("cost", period="today")
    (mine,) = [line for line in report["lines"] if line["key"] == job]
    assert mine["name"] == "digits"
    assert any(line["unallocated"] for line in report["lines"])
    for by, key in (("user", "ada"), ("project", "vision"), ("notebook", "digits.ipynb")):
        lines = (await api.get("cost", by=by, project="vision"))["lines"]
        assert [line["key"] for line in lines] == [key]
    days = await api.get("cost", by="day")
    assert all(len(line["key"]) == 10 for line in days["lines"])
    apart = {line["unallocated"]: line for line in days["lines"]}
    whole = sum(each["allocated_seconds"] for each in days["lines"])
    assert whole == pytest.approx(days["total"]["allocated_seconds"])  # seconds are floats here
    assert 0 < apart[False]["allocated_seconds"] < whole
    for wrong in ({"by": "mood"}, {"period": "soon"}, {"start": "x"}):
        code, problem = await api.refused("cost", **wrong)
        assert code == 400
        assert problem["message"]


async def test_the_server_meters_by_itself_while_jobs_run(
    elsewhere: Engine, jp_serverapp: Any
) -> None:
    elsewhere.set_price(POOL, PriceOptions(price="36/gpu-h"))
    (app,) = jp_serverapp.extension_manager.extension_apps["jupyter_aiinfra"]
    app.background.start()
    job = await launch(elsewhere)

    await eventually(lambda: elsewhere.store.job_usage([job]))
    await app.background.stop()


async def test_pools_are_told_with_their_price_which_can_be_said(
    api: Api, elsewhere: Engine
) -> None:
    del elsewhere
    assert (await api.get("pools", POOL))["price"] is None
    assert await api.get("pools", POOL, "price") == []
    said = await api.send("POST", "pools", POOL, "price", sku="aws:p5.48xlarge", region="us-east-1")
    assert said["price"]["amount"] == "6.88"
    assert said["source"]
    assert (await api.get("pools", POOL))["price"] == said
    (pool,) = await api.get("pools")
    assert pool["price"] == said
    await api.send("POST", "pools", POOL, "price", price="2.49eur/gpu-h")
    history = await api.get("pools", POOL, "price")
    assert [each["price"]["currency"] for each in history] == ["EUR", "USD"]


async def test_prices_are_looked_up(api: Api) -> None:
    found = await api.get("cost", "prices", search="h100", limit="3")
    assert len(found) == 3
    amounts = [float(each["price"]["amount"]) for each in found]
    assert amounts == sorted(amounts)
    assert all(each["source"] and each["as_of"] and each["confidence"] for each in found)


async def test_tags_are_replaced(api: Api, elsewhere: Engine) -> None:
    job = await launch(elsewhere, tags={"project": "vision"})
    assert await api.send("PUT", "jobs", job, "tags", tags={"team": "red"}) == {
        "tags": {"team": "red"}
    }
    assert elsewhere.ledger.charged(job).team == "red"
    assert elsewhere.ledger.charged(job).project is None


async def test_what_if_without_steps_says_what_is_missing(api: Api, elsewhere: Engine) -> None:
    code, problem = await api.refused("jobs", await launch(elsewhere), "whatif")
    assert code == 400
    assert "jupyter_aiinfra.step()" in problem["hint"]


async def test_usage_is_exported(jp_fetch: Fetch, elsewhere: Engine) -> None:
    elsewhere.set_price(POOL, PriceOptions(price="36/gpu-h"))
    job = await launch(elsewhere)
    answer = await jp_fetch("aiinfra", "cost", "export", params={"period": "today"})
    assert answer.headers["Content-Type"].startswith("text/csv")
    lines = answer.body.decode().splitlines()
    assert lines[0].startswith("BillingAccountId,")
    assert any(job in line for line in lines)
