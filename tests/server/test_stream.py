"""The socket of a browser: who may open it, what it tells, and what it makes of nonsense."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from jupyter_server.auth import Authorizer
from tornado.httpclient import HTTPClientError
from tornado.websocket import websocket_connect

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.model import Job, JobState, PoolRecord, new_job_id
from jupyter_aiinfra.server.stream import MOST_TOPICS
from jupyter_aiinfra.server.wire import Topic
from jupyter_aiinfra.testing import FakeCluster
from tests.support.browser import Page, eventually
from tests.support.engines import EMPTY, POOL, House, a_spec

Connect = Callable[..., Awaitable[Any]]

POOLS = {"topic": "pools"}
JOBS = {"topic": "jobs"}


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def aiinfra_config(cluster: FakeCluster) -> dict[str, Any]:
    return {
        # Not the bound method: configuration is copied deeply.
        "pool_opener": lambda *given: cluster.opener(*given),  # noqa: PLW0108
        "Background": {
            "watch_seconds": 0.02,
            "calm_seconds": 0.02,
            "sure_seconds": 0.05,
            "idle_seconds": 0.02,
            "refresh_seconds": 0.05,
            "refresh_longest_seconds": 0.05,
        },
    }


@pytest.fixture
def elsewhere(aiinfra_home: Path, cluster: FakeCluster) -> Engine:
    """The engine of another process, as a kernel has it."""
    return House(aiinfra_home, cluster).attached()


@pytest.fixture
def page(jp_ws_fetch: Connect, jp_serverapp: Any, jp_asyncio_loop: Any) -> Iterator[Page]:
    opening = open_page(jp_ws_fetch, jp_serverapp)
    yield jp_asyncio_loop.run_until_complete(opening.__aenter__())
    jp_asyncio_loop.run_until_complete(opening.__aexit__(None, None, None))


@asynccontextmanager
async def open_page(connect: Connect, serverapp: Any) -> AsyncIterator[Page]:
    page = Page(await connect("aiinfra", "stream"))
    assert (await page.hear())["type"] == "hello"
    yield page
    page.connection.close()
    extension = serverapp.extension_manager.extension_apps["jupyter_aiinfra"]
    (app,) = extension
    await app.background.stop()


def log(job: Job, rank: int = 0) -> dict[str, Any]:
    return {"topic": "log", "id": job.id, "rank": rank}


async def launch(engine: Engine) -> Job:
    return await engine.launch(POOL, a_spec(), EMPTY)


class TestWhoMayOpenIt:
    @pytest.mark.parametrize("authorization", [None, "token wrong", "Bearer wrong"])
    async def test_stranger_may_not(
        self, http_server_client: Any, jp_http_port: int, jp_base_url: str, authorization: Any
    ) -> None:
        from tornado.httpclient import HTTPRequest

        headers = {"Authorization": authorization} if authorization else {}
        url = f"ws://localhost:{jp_http_port}{jp_base_url}aiinfra/stream"
        with pytest.raises(HTTPClientError) as refused:
            await websocket_connect(HTTPRequest(url, headers=headers))
        assert refused.value.code == 403

    async def test_who_may_not_read_may_not(self, jp_ws_fetch: Connect, jp_serverapp: Any) -> None:
        class Nobody(Authorizer):
            asked: list[tuple[str, str]] = []  # noqa: RUF012 - traitlets makes the instance

            def is_authorized(self, handler: Any, user: Any, action: str, resource: str) -> bool:
                self.asked.append((action, resource))
                return False

        jp_serverapp.web_app.settings["authorizer"] = nobody = Nobody(parent=jp_serverapp)
        with pytest.raises(HTTPClientError) as refused:
            await jp_ws_fetch("aiinfra", "stream")
        assert refused.value.code == 403
        assert nobody.asked == [("read", "aiinfra")]

    async def test_page_of_another_site_may_not_use_the_cookie(
        self, jp_serverapp: Any, http_server_client: Any, jp_http_port: int, jp_base_url: str
    ) -> None:
        from tornado.httpclient import HTTPRequest

        # Logging in with the token sets the cookie that every site's page would send.
        token = jp_serverapp.identity_provider.token
        login = await http_server_client.fetch(
            f"{jp_base_url}api/status?token={token}",
            headers={"Host": f"localhost:{jp_http_port}"},  # the cookie is named after it
        )
        cookie = "; ".join(each.partition(";")[0] for each in login.headers.get_list("Set-Cookie"))
        url = f"ws://localhost:{jp_http_port}{jp_base_url}aiinfra/stream"
        own = {"Cookie": cookie, "Origin": f"http://localhost:{jp_http_port}"}
        connection = await websocket_connect(HTTPRequest(url, headers=own))
        connection.close()

        foreign = {"Cookie": cookie, "Origin": "http://evil.example"}
        with pytest.raises(HTTPClientError) as refused:
            await websocket_connect(HTTPRequest(url, headers=foreign))
        assert refused.value.code == 403


class TestHello:
    async def test_comes_first_and_names_this_run_of_the_server(
        self, jp_ws_fetch: Connect, jp_serverapp: Any
    ) -> None:
        opening = open_page(jp_ws_fetch, jp_serverapp)
        async with opening as one, open_page(jp_ws_fetch, jp_serverapp) as two:
            assert one.heard[0]["version"]
            assert one.heard[0]["instance"] == two.heard[0]["instance"]


class TestJobs:
    async def test_are_told_whole_then_by_what_changes(
        self, page: Page, elsewhere: Engine, cluster: FakeCluster
    ) -> None:
        old = await launch(elsewhere)
        await page.watch(JOBS)
        first = await page.until("jobs", reset=True)
        assert [job["id"] for job in first["changed"]] == [old.id]
        assert first["active"] == 1

        new = await launch(elsewhere)
        while (news := await page.until("jobs", reset=False))["active"] == 1:
            assert [job["id"] for job in news["changed"]] == [old.id]
        # The older one may have begun to run meanwhile, which is a change of its own.
        assert new.id in (told := {job["id"] for job in news["changed"]})
        assert told <= {new.id, old.id}

        cluster.end(new.id, JobState.SUCCEEDED)
        ended = await page.until("ended")
        assert (ended["job"]["id"], ended["job"]["state"]) == (new.id, "succeeded")
        # The server's own refresh has written that down: no other process looked.
        assert elsewhere.store.get_job(new.id).state is JobState.SUCCEEDED

    async def test_removed_job_is_named(self, page: Page, elsewhere: Engine) -> None:
        job = await launch(elsewhere)
        await elsewhere.cancel(job.id, grace=0)
        await elsewhere.refresh(job.id)
        await page.watch(JOBS)
        await page.until("jobs", reset=True)

        await elsewhere.remove(job.id)

        while not (news := await page.until("jobs"))["removed"]:
            pass
        assert news["removed"] == [job.id]

    async def test_end_from_before_is_no_news(
        self, jp_ws_fetch: Connect, jp_serverapp: Any, elsewhere: Engine
    ) -> None:
        job = await launch(elsewhere)
        await elsewhere.cancel(job.id, grace=0)
        await elsewhere.refresh(job.id)

        async with open_page(jp_ws_fetch, jp_serverapp) as page:
            await page.watch(JOBS)

            assert (await page.hear())["changed"][0]["state"] == "cancelled"
            await page.silence(0.3)

    async def test_only_the_newest_hundred_are_told(self, page: Page, elsewhere: Engine) -> None:
        for number in range(120):
            job = Job(id=new_job_id(), pool=POOL, spec=a_spec(), created_at=1000.0 + number)
            elsewhere.store.add_job(job)
            elsewhere.store.fail_pending(job.id, reason="never meant to run")

        await page.watch(JOBS)

        news = await page.until("jobs")
        assert [job["created_at"] for job in news["changed"]] == [
            1119.0 - number for number in range(100)
        ]
        assert news["more"]

    async def test_asking_again_is_answered_again(self, page: Page, elsewhere: Engine) -> None:
        job = await launch(elsewhere)
        for _ in range(3):
            await page.watch(JOBS, {"topic": "job", "id": job.id})
            await page.until("jobs", reset=True)
            assert (await page.until("job"))["detail"]["item"]["id"] == job.id


class TestPools:
    async def test_are_told_with_what_they_answer(
        self, page: Page, elsewhere: Engine, cluster: FakeCluster
    ) -> None:
        await page.watch(POOLS)
        while (news := await page.until("pools"))["pools"][0]["status"] != "live":
            pass
        assert news["pools"][0]["nodes"][0]["name"] == "fake0"

        elsewhere.store.add_pool(PoolRecord(name="other", kind="fake"))

        while len(news["pools"]) < 2:
            news = await page.until("pools")
        assert [pool["name"] for pool in news["pools"]] == [POOL, "other"]

    async def test_pool_that_answers_no_more_is_told(
        self, page: Page, elsewhere: Engine, cluster: FakeCluster
    ) -> None:
        await launch(elsewhere)
        await page.watch(POOLS)
        while (await page.until("pools"))["pools"][0]["status"] != "live":
            pass

        cluster.reachable = False

        # Found by refreshing the job: nobody waits for the next regular check.
        while (news := await page.until("pools"))["pools"][0]["status"] != "unreachable":
            pass
        assert "does not answer" in news["pools"][0]["problem"]


class TestOneJob:
    async def test_is_told_at_each_version(
        self, page: Page, elsewhere: Engine, cluster: FakeCluster
    ) -> None:
        job = await launch(elsewhere)
        await page.watch({"topic": "job", "id": job.id})
        assert (await page.until("job"))["detail"]["item"]["id"] == job.id

        cluster.begin(job.id)

        while (news := await page.until("job"))["detail"]["item"]["state"] != "running":
            pass
        kinds = [entry["kind"] for entry in news["detail"]["timeline"]]
        assert kinds[0] == "job.added"
        assert kinds[-1] == "job.state"

    async def test_unknown_job_is_gone(self, page: Page, elsewhere: Engine) -> None:
        await page.watch({"topic": "job", "id": "0nothing"})

        assert (await page.hear())["type"] == "gone"

    async def test_beginning_of_an_id_is_no_job(self, page: Page, elsewhere: Engine) -> None:
        one, two = await launch(elsewhere), await launch(elsewhere)

        for part in (one.id[:-1], one.id[:2]):  # of one job, and of both
            assert two.id.startswith(one.id[:2])
            await page.watch({"topic": "job", "id": part}, JOBS)
            assert (await page.until("gone"))["id"] == part


class TestLog:
    async def test_is_told_by_its_last_rows_until_it_is_complete(
        self, page: Page, elsewhere: Engine, cluster: FakeCluster
    ) -> None:
        job = await launch(elsewhere)
        cluster.write(job.id, b"one\ntwo\n")
        await page.watch(log(job))
        while (news := await page.until("log", id=job.id))["log"]["total_rows"] < 2:
            pass
        assert [row["text"] for row in news["log"]["rows"]] == ["one", "two"]

        cluster.write(job.id, b"".join(b"line %d\n" % number for number in range(1000)))
        while (news := await page.until("log"))["log"]["total_rows"] < 1002:
            pass
        assert (news["log"]["first"], len(news["log"]["rows"])) == (802, 200)
        assert news["log"]["rows"][-1]["text"] == "line 999"
        assert not news["log"]["complete"]

        cluster.end(job.id, JobState.SUCCEEDED)
        while not (await page.until("log"))["log"]["complete"]:
            pass

    async def test_rank_that_says_nothing_is_told_too(self, page: Page, elsewhere: Engine) -> None:
        job = await launch(elsewhere)

        await page.watch(log(job, 0), log(job, -1))

        told = {(await page.until("log"))["log"]["rank"] for _ in range(2)}
        assert told == {0, -1}

    async def test_log_of_no_job_is_gone(self, page: Page, elsewhere: Engine) -> None:
        await page.watch({"topic": "log", "id": "0nothing", "rank": 0})

        assert (await page.hear())["type"] == "gone"


class TestKeepAlive:
    @pytest.fixture
    def pinged(self, jp_serverapp: Any) -> None:
        jp_serverapp.web_app.settings["ws_ping_interval"] = 50  # milliseconds

    async def test_browser_that_answers_pings_stays(
        self, pinged: None, page: Page, elsewhere: Engine
    ) -> None:
        await page.watch(JOBS)
        await page.until("jobs")
        await page.silence(1.0)

        await launch(elsewhere)
        assert (await page.until("jobs"))["changed"]

    async def test_browser_that_is_gone_without_a_word_is_forgotten(
        self, pinged: None, page: Page, jp_serverapp: Any
    ) -> None:
        (app,) = jp_serverapp.extension_manager.extension_apps["jupyter_aiinfra"]
        await page.watch(POOLS)
        await page.until("pools")

        # As a machine does that lost its network: the connection stays, nothing is answered.
        protocol: Any = page.connection.protocol
        protocol._handle_message = lambda *_: None

        await eventually(lambda: not app.background.hub.topics)


class TestNonsense:
    @pytest.mark.parametrize(
        "message",
        [
            "no JSON",
            "[]",
            '{"topics": 1}',
            {"topics": [{"topic": "secrets"}]},
            {"topics": [{"topic": "job"}]},
            {"topics": [{"topic": "job", "id": "../../etc"}]},
            {"topics": [{"topic": "log", "id": "abc", "rank": -100_000}]},
            {"topics": [{"topic": "job", "id": f"a{n}"} for n in range(MOST_TOPICS + 1)]},
            "[" * 20_000,
        ],
    )
    async def test_is_refused_and_what_was_watched_stays(
        self, page: Page, elsewhere: Engine, message: Any
    ) -> None:
        await page.watch(JOBS)
        await page.until("jobs")

        await page.say(message)

        problem = await page.until("problem")
        assert problem["message"]
        assert problem["topic"] is None
        await launch(elsewhere)
        assert (await page.until("jobs"))["changed"]

    async def test_is_not_answered_each_time(self, page: Page) -> None:
        for _ in range(200):
            await page.say("no JSON")
        await page.watch(JOBS)
        await page.until("jobs")

        problems = [news for news in page.heard if news["type"] == "problem"]
        assert 1 <= len(problems) <= 15

    async def test_too_much_at_once_closes_the_socket(self, page: Page) -> None:
        await page.say("x" * 100_000)

        await page.closed()

    async def test_of_many_requests_the_last_counts(self, page: Page, elsewhere: Engine) -> None:
        for _ in range(50):
            await page.watch(POOLS)
        await page.watch({"topic": "job", "id": "0nothing"})
        await page.until("gone")

        await launch(elsewhere)

        await page.silence(0.3)


class TestBrokenRecord:
    async def test_is_told_and_mended_by_itself(
        self, page: Page, elsewhere: Engine, aiinfra_home: Path
    ) -> None:
        job = await launch(elsewhere)
        await page.watch(JOBS, {"topic": "job", "id": job.id})
        await page.until("job")
        database = aiinfra_home / "aiinfra.db"
        whole = database.read_bytes()

        database.write_bytes(b"this is no database, and longer than its header" * 100)
        problem = await page.until("problem")
        assert "database" in problem["message"]
        assert problem["hint"]
        assert problem["topic"] is not None

        database.write_bytes(whole)
        await page.until("jobs", reset=True)
        assert (await page.until("job"))["detail"]["item"]["id"] == job.id


class TestOwnRequests:
    @pytest.fixture
    def aiinfra_config(self, cluster: FakeCluster) -> dict[str, Any]:
        slow = dict.fromkeys(
            ("watch_seconds", "calm_seconds", "sure_seconds", "refresh_longest_seconds"), 3600.0
        )
        return {
            "pool_opener": lambda *given: cluster.opener(*given),  # noqa: PLW0108
            "Background": {**slow, "refresh_seconds": 0.05},
        }

    async def test_show_at_once(
        self, page: Page, elsewhere: Engine, jp_fetch: Connect, cluster: FakeCluster
    ) -> None:
        job = await launch(elsewhere)
        await page.watch(JOBS)
        await page.until("jobs", reset=True)

        await jp_fetch("aiinfra", "jobs", job.id, "cancel", method="POST", body="{}")

        while (await page.until("jobs"))["changed"][0]["desired"] != "stop":
            pass
        cluster.end(job.id, JobState.CANCELLED)
        assert (await page.until("ended"))["job"]["state"] == "cancelled"


class TestManyPages:
    async def test_one_that_leaves_is_forgotten(
        self, jp_ws_fetch: Connect, jp_serverapp: Any, elsewhere: Engine
    ) -> None:
        async with open_page(jp_ws_fetch, jp_serverapp) as stays:
            await stays.watch(JOBS)
            await stays.until("jobs")
            (app,) = jp_serverapp.extension_manager.extension_apps["jupyter_aiinfra"]
            leaves = Page(await jp_ws_fetch("aiinfra", "stream"))
            await leaves.watch(JOBS, POOLS)
            await leaves.until("pools")
            assert {topic.topic for topic in app.background.hub.topics} == {"jobs", "pools"}

            leaves.connection.close()

            await eventually(lambda: len(app.background.hub.topics) == 1)
            await launch(elsewhere)
            assert (await stays.until("jobs"))["changed"]

    def test_a_topic_is_the_same_for_all(self) -> None:
        from jupyter_aiinfra.server.stream import _topics

        told = '{"topics": [{"topic": "jobs", "id": null, "rank": 7}, {"topic": "jobs"}]}'
        (topic,) = _topics(told)
        assert topic == Topic(topic="jobs")
