"""Budgets and idle GPUs over REST and the socket: set, seen, snoozed, and acted on unasked."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from jupyter_aiinfra.cost.terms import PriceOptions
from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.model import Desired, Job
from jupyter_aiinfra.testing import FakeCluster
from tests.support.browser import Page, eventually
from tests.support.engines import EMPTY, POOL, a_spec
from tests.support.served import Api, beside, opener_of

Connect = Callable[..., Awaitable[Any]]


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def aiinfra_config(cluster: FakeCluster) -> dict[str, Any]:
    quick = ("watch", "calm", "sure", "idle", "refresh", "refresh_longest", "budget")
    return {
        "pool_opener": opener_of(cluster),
        "Background": {f"{name}_seconds": 0.05 for name in quick},
    }


@pytest.fixture
def engine(jp_serverapp: Any, cluster: FakeCluster) -> Iterator[Engine]:
    engine = beside(cluster)
    yield engine
    engine.store.close()


@asynccontextmanager
async def open_page(connect: Connect) -> AsyncIterator[Page]:
    page = Page(await connect("aiinfra", "stream"))
    assert (await page.hear())["type"] == "hello"
    yield page
    page.connection.close()


async def until(page: Page, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return the next message that fits."""
    while not fits(news := await page.hear(seconds=30)):
        pass
    return news


async def launch(engine: Engine, cluster: FakeCluster, *, price: str | None, **spec: Any) -> Job:
    await engine.nodes(POOL)
    if price is not None:
        engine.set_price(POOL, PriceOptions(price=price))
    job = await engine.launch(POOL, a_spec(**spec), EMPTY)
    cluster.begin(job.id)
    return job


BUDGET = {"amount": "200usd", "scope": "pool", "subject": POOL}


async def test_a_budget_is_set_changed_shown_and_removed(api: Api, engine: Engine) -> None:
    status, made = await api.ask("POST", "budgets", BUDGET)
    assert status == 201
    assert made["name"] == f"$200.00 a month for pool {POOL}"
    assert made["limit"] == {"amount": "200", "currency": "USD", "text": "$200.00"}
    assert (made["action"], made["warn_share"], made["reach"]) == ("stop", 0.8, "within")
    assert (made["spent"]["amount"], made["hourly"], made["jobs"]) == ("0", None, [])
    _, again = await api.ask("POST", "budgets", {**BUDGET, "amount": "$50", "action": "ask"})
    assert (again["id"], again["limit"]["text"]) == (made["id"], "$50.00")
    assert [each["id"] for each in (await api.get("budgets"))["budgets"]] == [made["id"]]
    detail = await api.get(f"budgets/{made['id']}")
    assert (detail["item"]["action"], detail["decisions"]) == ("ask", [])
    assert (await api.ask("DELETE", f"budgets/{made['id']}"))[0] == 204
    assert (await api.get("budgets"))["budgets"] == []
    assert (await api.refused("GET", f"budgets/{made['id']}"))[0] == 404
    assert (await api.refused("DELETE", "budgets/b0"))[0] == 404


@pytest.mark.parametrize(
    ("wrong", "option"),
    [
        ({"amount": "many"}, "amount"),
        ({"amount": "0usd"}, "amount"),
        ({"subject": ""}, "scope"),
        ({"warn_share": 7}, "warn_at"),
        ({"grace_seconds": -1}, "grace_seconds"),
        ({"scope": "everyone"}, None),
    ],
)
async def test_what_cannot_be_is_refused(
    api: Api, engine: Engine, wrong: dict[str, Any], option: str | None
) -> None:
    status, answer = await api.ask("POST", "budgets", BUDGET | wrong)
    assert status == 400
    assert answer["option"] == option
    assert engine.store.budgets() == []


async def test_another_currency_than_the_pool_s_is_refused(
    api: Api, engine: Engine, cluster: FakeCluster
) -> None:
    await launch(engine, cluster, price="3eur/node-h")
    status, message, _ = await api.refused("POST", "budgets", BUDGET)
    assert status == 400
    assert "nothing here converts money" in message


async def test_the_server_asks_is_answered_and_goes_on(
    api: Api, engine: Engine, cluster: FakeCluster, jp_ws_fetch: Connect
) -> None:
    job = await launch(engine, cluster, price="360000usd/node-h")
    async with open_page(jp_ws_fetch) as page:
        await page.watch({"topic": "budgets"}, {"topic": "job", "id": job.id})
        await api.ask("POST", "budgets", {**BUDGET, "action": "ask"})
        asked = await until(
            page,
            lambda news: (
                news["type"] == "job"
                and news["detail"]["item"]["notice"] is not None
                and news["detail"]["item"]["notice"]["kind"] == "question"
            ),
        )
        notice = asked["detail"]["item"]["notice"]
        assert notice["until"] > time.time()
        assert notice["text"] in asked["detail"]["item"]["message"]
        assert "job.notice" in [each["kind"] for each in asked["detail"]["timeline"]]
        told = await until(
            page,
            lambda news: (
                news["type"] == "budgets"
                and news["budgets"]
                and news["budgets"][0]["asks_until"] is not None
            ),
        )
        assert told["budgets"][0]["reach"] == "spent"
        status, item = await api.ask("POST", f"budgets/{notice['by']}/snooze", {"seconds": 600})
        assert (status, item["snoozed"]) == (200, True)
        assert item["snoozed_by"]
        await until(
            page, lambda news: news["type"] == "job" and news["detail"]["item"]["notice"] is None
        )
    status, woken = await api.ask("POST", f"budgets/{notice['by']}/snooze", {"seconds": None})
    assert (status, woken["snoozed"]) == (200, False)


async def test_the_server_stops_unasked_and_says_why(
    api: Api, engine: Engine, cluster: FakeCluster, jp_ws_fetch: Connect
) -> None:
    async with open_page(jp_ws_fetch):  # which watches nothing
        job = await launch(engine, cluster, price="360000usd/node-h", budget="5 USD")
        await eventually(lambda: cluster.jobs[job.id].told_to_stop, seconds=30)
    recorded = engine.store.get_job(job.id)
    assert recorded.desired is Desired.STOP
    item = (await api.get(f"jobs/{job.id}"))["item"]
    assert item["notice"]["kind"] == "stop"
    assert "stopped, with 2 min to save" in item["message"]
    detail = await api.get(f"budgets/{item['notice']['by']}")
    assert detail["decisions"][0]["kind"] == "stop"


async def test_the_answer_may_be_stop(api: Api, engine: Engine, cluster: FakeCluster) -> None:
    job = await launch(engine, cluster, price="3usd/node-h")
    _, made = await api.ask("POST", "budgets", BUDGET)
    status, answer = await api.ask("POST", f"budgets/{made['id']}/stop")
    assert (status, answer) == (200, {"stopped": [job.id]})
    assert engine.store.get_job(job.id).desired is Desired.STOP


async def test_a_spent_budget_refuses_a_rerun(
    api: Api, engine: Engine, cluster: FakeCluster
) -> None:
    job = await launch(engine, cluster, price="360000usd/node-h")
    await api.ask("POST", "budgets", {**BUDGET, "amount": "1usd", "action": "refuse"})
    status, message, hint = await api.refused("POST", f"jobs/{job.id}/rerun")
    assert status == 409
    assert "no more jobs may begin" in message
    assert "%budget snooze" in hint


async def test_idle_gpus_and_what_is_done_about_them(
    api: Api, engine: Engine, cluster: FakeCluster
) -> None:
    job = await launch(engine, cluster, price=None)
    rule = {"stop_seconds": 1800, "warn_seconds": None, "watch": True}
    assert (await api.ask("PUT", f"idle/{POOL}", {"rule": rule}))[0] == 204
    assert (await api.ask("PUT", f"idle/{job.id}", {"rule": {"watch": False}}))[0] == 204
    told = await api.get("idle", pool=POOL)
    assert {each["name"]: each["rule"]["watch"] for each in told["rules"]} == {
        POOL: True,
        job.id: False,
    }
    assert (told["jobs"], told["kernels"]) == ([], [])
    assert (await api.ask("PUT", f"idle/{POOL}", {"rule": None}))[0] == 204
    assert [each["name"] for each in (await api.get("idle"))["rules"]] == [job.id]
    assert (await api.refused("PUT", f"idle/{POOL}", {"rule": {"stop_seconds": 5}}))[0] == 400
    assert (await api.refused("PUT", "idle/nothere", {"rule": None}))[0] == 404
    assert (await api.refused("GET", "idle", pool="nothere"))[0] == 404
