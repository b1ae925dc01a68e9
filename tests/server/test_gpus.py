"""GPUs over REST and over the socket: full frames, deltas, history, ranges, Prometheus."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.model import Node
from jupyter_aiinfra.server.feeds import GpusFeed
from jupyter_aiinfra.server.wire import ProblemNews
from jupyter_aiinfra.telemetry import NodeState, NodeView, Scope, board
from jupyter_aiinfra.telemetry.deltas import apply_changes
from jupyter_aiinfra.telemetry.frames import Frame
from jupyter_aiinfra.testing import FakeCluster
from tests.support.browser import Page, eventually
from tests.support.engines import EMPTY, POOL, House, a_spec
from tests.support.readings import a_gpu, a_sample

Fetch = Callable[..., Awaitable[Any]]
GPUS = {"topic": "gpus", "pool": POOL}


@pytest.fixture
def cluster() -> FakeCluster:
    cluster = FakeCluster([Node(name="n0", address="n0")])
    cluster.read("n0", a_sample(a_gpu(0), a_gpu(1)))
    return cluster


@pytest.fixture
def aiinfra_config(cluster: FakeCluster) -> dict[str, Any]:
    return {
        # Not the bound method: configuration is copied deeply.
        "pool_opener": lambda *given: cluster.opener(*given),  # noqa: PLW0108
        "Background": {"watch_seconds": 0.02, "calm_seconds": 0.02, "idle_seconds": 0.02},
    }


@pytest.fixture
def elsewhere(aiinfra_home: Path, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setattr(board, "TICK_SECONDS", 0.05)
    return House(aiinfra_home, cluster).attached()


@pytest.fixture
def page(
    jp_ws_fetch: Fetch, jp_serverapp: Any, jp_asyncio_loop: Any, elsewhere: Engine
) -> Iterator[Page]:
    opening = open_page(jp_ws_fetch, jp_serverapp)
    yield jp_asyncio_loop.run_until_complete(opening.__aenter__())
    jp_asyncio_loop.run_until_complete(opening.__aexit__(None, None, None))


@asynccontextmanager
async def open_page(connect: Fetch, serverapp: Any) -> AsyncIterator[Page]:
    page = Page(await connect("aiinfra", "stream"))
    assert (await page.hear())["type"] == "hello"
    yield page
    page.connection.close()
    (app,) = serverapp.extension_manager.extension_apps["jupyter_aiinfra"]
    await app.background.stop()


def streams(cluster: FakeCluster) -> int:
    return sum(len(each) for each in cluster.probes.values())


async def until_live(page: Page) -> dict[str, Any]:
    while True:
        news = await page.hear()
        if news["type"] == "gpus" and news["nodes"][0]["state"] == "live":
            return news


class TestSocket:
    async def test_all_of_it_then_what_changes_and_nothing_once_not_watched(
        self, page: Page, cluster: FakeCluster
    ) -> None:
        await page.watch(GPUS)
        full = await until_live(page)
        assert [gpu["uuid"] for gpu in full["gpus"]] == [a_gpu(0)["uuid"], a_gpu(1)["uuid"]]
        names = [series["name"] for series in full["gpu_series"]]
        values, seq = full["gpu_values"], full["seq"]
        assert values[2 * names.index("power")] == 350
        cluster.read("n0", a_sample(a_gpu(0, util=73), a_gpu(1, lost=True), seq=2))
        lost = False
        while values[0] != 73 or not lost:
            delta = await page.until("gpus+", key=full["key"])
            assert delta["since"] == seq
            values, seq = apply_changes(values, delta["g"]), delta["seq"]
            lost = lost or delta["gpus"].get("1", {}).get("lost", False)
        assert values[1] is None
        await page.watch()
        await eventually(lambda: streams(cluster) == 0, seconds=30)

    async def test_a_page_that_joins_is_told_everything_and_shares_the_stream(
        self, page: Page, cluster: FakeCluster, jp_ws_fetch: Fetch
    ) -> None:
        await page.watch(GPUS)
        first = await until_live(page)
        other = Page(await jp_ws_fetch("aiinfra", "stream"))
        await other.watch(GPUS, {"topic": "gpus", "pool": POOL, "node": "n0"})
        second = await until_live(other)
        assert second["gpus"] == first["gpus"]
        await other.until("gpus+")
        assert streams(cluster) == 1
        other.connection.close()

    async def test_an_overview(self, page: Page) -> None:
        await page.watch({**GPUS, "detail": "nodes"})
        news = await until_live(page)
        assert [series["name"] for series in news["node_series"]] == [
            "utilization",
            "memory",
            "power",
            "busy",
        ]
        assert news["scope"] == {"pool": POOL, "node": None, "job": None, "detail": "nodes"}

    async def test_what_is_not_there_is_a_problem(self, page: Page) -> None:
        await page.watch({"topic": "gpus", "pool": "nowhere"})
        news = await page.until("problem")
        assert news["topic"]["pool"] == "nowhere"
        assert "nowhere" in news["message"]

    @pytest.mark.parametrize("topic", [{}, {"id": "../x"}, {"pool": "x" * 300}, {"detail": "all"}])
    async def test_a_topic_that_cannot_be(self, page: Page, topic: dict[str, str]) -> None:
        await page.watch({"topic": "gpus", **topic})
        assert (await page.until("problem"))["topic"] is None


class TestFeed:
    def frame(self, seq: int, value: int | None) -> Frame:
        node = NodeView(name="n0", state=NodeState.LIVE)
        return Frame(
            scope=Scope(pool=POOL), seq=seq, at=float(seq), nodes=(node,), node_values=(value,) * 6
        )

    def test_who_is_behind_is_told_all_in_one_and_who_is_far_behind_everything(self) -> None:
        feed = GpusFeed()
        assert feed.since(None) is None
        last = None
        for seq in range(1, 31):
            new = self.frame(seq, seq)
            feed.put(new, feed.change(last, new))
            last = new
        assert feed.since(feed.stamp) is None
        one = json.loads(feed.since(feed.stamp - 1) or b"")
        assert (one["type"], one["n"], one["since"]) == ("gpus+", "aaaaaa", 29)
        three = json.loads(feed.since(feed.stamp - 3) or b"")
        assert (three["n"], three["since"]) == ("cccccc", 27)
        for stamp in (feed.stamp - 20, None):
            full = json.loads(feed.since(stamp) or b"")
            assert (full["type"], full["seq"], full["key"]) == ("gpus", 30, feed.key)

    def test_a_problem_and_after_it_everything(self) -> None:
        feed = GpusFeed()
        feed.put(self.frame(1, 1))
        told = feed.stamp
        assert feed.fail(ProblemNews(message="gone"))
        assert not feed.fail(ProblemNews(message="gone"))
        assert json.loads(feed.since(told) or b"")["message"] == "gone"
        told = feed.stamp
        feed.put(self.frame(2, 2), b"a delta of what nobody has")
        assert json.loads(feed.since(told) or b"")["type"] == "gpus"


class TestRest:
    async def test_now(self, jp_fetch: Fetch, elsewhere: Engine) -> None:
        answer = await jp_fetch("aiinfra", "gpus", params={"pool": POOL})
        found = json.loads(answer.body)
        assert found["type"] == "gpus"
        assert found["nodes"][0]["state"] == "live"
        assert found["gpu_values"][0] == 50

    async def test_history_is_what_was_watched(self, jp_fetch: Fetch, elsewhere: Engine) -> None:
        empty = await jp_fetch("aiinfra", "gpus", "history", params={"pool": POOL, "since": "0"})
        assert json.loads(empty.body) == []
        await jp_fetch("aiinfra", "gpus", params={"pool": POOL})
        full = await jp_fetch("aiinfra", "gpus", "history", params={"pool": POOL, "since": "0"})
        (past,) = json.loads(full.body)
        assert past["node"] == "n0"
        assert set(past["rows"]) == {"", a_gpu(0)["uuid"], a_gpu(1)["uuid"]}

    async def test_a_range(self, jp_fetch: Fetch, elsewhere: Engine) -> None:
        answer = await jp_fetch(
            "aiinfra",
            "gpus",
            "range",
            params={"pool": POOL, "start": "1000", "end": "1600", "points": "60", "by": "pool"},
        )
        found = json.loads(answer.body)
        assert (found["start"], found["curves"]) == (0.0, [])

    async def test_what_was_recorded_by_user_and_of_nodes(
        self, jp_fetch: Fetch, jp_serverapp: Any, elsewhere: Engine, cluster: FakeCluster
    ) -> None:
        process = {"pid": 9, "user": "ada", "job": "1aaaaaaaaaaa", "seat": 2}
        cluster.read("n0", a_sample(a_gpu(0, procs=[process]), a_gpu(1)))
        (app,) = jp_serverapp.extension_manager.extension_apps["jupyter_aiinfra"]
        await jp_fetch("aiinfra", "gpus", params={"pool": POOL})

        async def ask(**params: str) -> Any:
            answer = await jp_fetch("aiinfra", "gpus", "range", params={"pool": POOL, **params})
            return json.loads(answer.body)

        # Without a word from who writes: what was just read is in it.
        (user,) = (await ask(by="user", series="power"))["curves"]
        assert (user["user"], user["gpu"]) == ("ada", None)
        assert 350.0 in user["mean"]
        (rank,) = (await ask(by="rank"))["curves"]
        assert (rank["job"], rank["rank"], rank["node"]) == ("1aaaaaaaaaaa", 2, "n0")
        (node,) = (await ask(of="nodes"))["curves"]
        assert (node["node"], node["series"]) == ("n0", "cpu")
        assert 13.0 in node["mean"]
        await app.background.stop()

    @pytest.mark.parametrize(
        ("path", "params"),
        [
            ("gpus", {}),
            ("gpus", {"pool": POOL, "detail": "x"}),
            ("gpus", {"pool": POOL, "node": "n9"}),
            ("gpus/history", {"pool": POOL, "since": "yesterday"}),
            ("gpus/range", {"pool": POOL, "points": "1"}),
            ("gpus/range", {"pool": POOL, "start": "5", "end": "4"}),
            ("gpus/range", {"pool": POOL, "series": "heat"}),
            ("gpus/range", {"pool": POOL, "by": "colour"}),
            ("gpus/range", {"pool": POOL, "of": "chairs"}),
            ("gpus/range", {"pool": POOL, "of": "nodes", "by": "user"}),
        ],
    )
    async def test_what_cannot_be_asked(
        self, jp_fetch: Fetch, elsewhere: Engine, path: str, params: dict[str, str]
    ) -> None:
        with pytest.raises(HTTPClientError) as refused:
            await jp_fetch("aiinfra", *path.split("/"), params=params)
        assert refused.value.code == 400

    async def test_metrics(self, jp_fetch: Fetch, elsewhere: Engine) -> None:
        elsewhere.store.add_pool(type(elsewhere.store.get_pool(POOL))(name="b", kind="fake"))
        answer = await jp_fetch("aiinfra", "metrics")
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = answer.body.decode()
        assert text.count("\nDCGM_FI_DEV_GPU_UTIL{") == 4
        assert f'aiinfra_jobs{{pool="{POOL}",state="running"}} 0' in text

    async def test_metrics_of_nothing(self, jp_fetch: Fetch) -> None:
        assert (await jp_fetch("aiinfra", "metrics")).body == b""


class TestRecording:
    async def test_while_jobs_run_their_pool_is_recorded(
        self, elsewhere: Engine, cluster: FakeCluster, jp_serverapp: Any
    ) -> None:
        (app,) = jp_serverapp.extension_manager.extension_apps["jupyter_aiinfra"]
        app.background.start()
        job = await elsewhere.launch(POOL, a_spec(), EMPTY)
        cluster.begin(job.id)
        await elsewhere.refresh(job.id)
        await eventually(lambda: streams(cluster) == 1)
        from jupyter_aiinfra.model import JobState

        cluster.end(job.id, JobState.SUCCEEDED)
        await elsewhere.refresh(job.id)
        await eventually(lambda: streams(cluster) == 0, seconds=30)
        await app.background.stop()
        await asyncio.sleep(0)
