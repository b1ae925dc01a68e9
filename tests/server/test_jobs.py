"""``/aiinfra/jobs``: a real server and a real database over a fake cluster."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import pytest

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.model import (
    Desired,
    Event,
    Job,
    JobState,
    Observation,
    Origin,
    RankError,
    RankStatus,
    TrackingRun,
)
from jupyter_aiinfra.server.jobs import job_detail, job_item
from jupyter_aiinfra.store import Store
from jupyter_aiinfra.testing import FakeCluster
from tests.support.engines import EMPTY, POOL, a_spec
from tests.support.served import Api, beside, opener_of


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def aiinfra_config(cluster: FakeCluster) -> dict[str, Any]:
    return {"pool_opener": opener_of(cluster)}


@pytest.fixture
def engine(jp_serverapp: Any, cluster: FakeCluster) -> Iterator[Engine]:
    engine = beside(cluster)
    yield engine
    engine.store.close()


def add(store: Store, job_id: str, at: float, **changes: Any) -> Job:
    """Record a job made at `at`."""
    origin = Origin(**changes.pop("origin", {}))
    spec = a_spec(changes.pop("name", "digits"), origin=origin)
    job = Job(id=job_id, pool=POOL, spec=spec, created_at=at, **changes)
    store.add_job(job)
    return job


async def ids(api: Api, **query: Any) -> list[str]:
    return [job["id"] for job in (await api.get("jobs", **query))["jobs"]]


class TestList:
    async def test_pages_through_everything_once_newest_first(
        self, api: Api, engine: Engine
    ) -> None:
        # Several made at the same moment lie across the edges of pages.
        made = [add(engine.store, f"0job{n:02}", float(n // 4)).id for n in range(23)]
        found: list[str] = []
        query: dict[str, Any] = {"limit": 5}
        while True:
            page = await api.get("jobs", **query)
            found += [job["id"] for job in page["jobs"]]
            if not page["more"]:
                break
            assert len(page["jobs"]) == 5
            query["before"] = found[-1]
        assert found == made[::-1]

    async def test_a_page_goes_on_after_a_job_that_is_gone(self, api: Api, engine: Engine) -> None:
        for n in range(4):
            add(engine.store, f"0job{n}", float(n), state=JobState.FAILED)
        engine.store.remove_job("0job2")
        assert await ids(api, before="0job2") == ["0job1", "0job0"]

    async def test_is_narrowed_by_pool_and_state(self, api: Api, engine: Engine) -> None:
        for n, state in enumerate(JobState):
            add(engine.store, f"0{state.value}", float(n), state=state)
        assert await ids(api, state="active") == [
            "0running",
            "0starting",
            "0pending",
            "0queued",
        ]
        assert await ids(api, state="ended") == ["0lost", "0cancelled", "0failed", "0succeeded"]
        assert await ids(api, state="failed") == ["0failed"]
        assert await ids(api, state="failed", pool=POOL) == ["0failed"]
        assert await ids(api, pool="elsewhere") == []
        assert len(await ids(api, pool="", state="", search="", before="", limit="")) == 8

    @pytest.mark.parametrize(
        ("search", "found"),
        [
            ("0BBB", ["0bbb"]),
            ("resnet", ["0aaa"]),
            ("LUCA", ["0bbb"]),
            ("straße", ["0bbb"]),
            ("STRASSE", ["0bbb"]),
            ("mixed-precision", ["0aaa"]),
            ("loader = ", ["0bbb"]),
            ("fake", ["0bbb", "0aaa"]),
            ("%", ["0aaa"]),
            ("_", ["0bbb"]),
            ("'", []),
            ('"', []),
            ("\\", []),
            ("python", []),
        ],
    )
    async def test_search_takes_every_sign_as_itself(
        self, api: Api, engine: Engine, search: str, found: list[str]
    ) -> None:
        line = "fake --mixed-precision bf16"
        add(engine.store, "0aaa", 1.0, name="ResNet", origin={"line": line, "code": "100 % x"})
        notebook = "Straße/luca_2.ipynb"
        code = "loader = None"
        add(engine.store, "0bbb", 2.0, origin={"notebook": notebook, "user": "Luca", "code": code})
        assert await ids(api, search=search) == found

    async def test_search_reads_on_until_the_page_is_full(self, api: Api, engine: Engine) -> None:
        for n in range(450):
            name = "needle" if n in {3, 100, 101, 449} else "hay"
            add(engine.store, f"0job{n:03}", float(n), name=name)
        assert await ids(api, search="needle") == ["0job449", "0job101", "0job100", "0job003"]
        page = await api.get("jobs", search="needle", limit=2)
        assert ([job["id"] for job in page["jobs"]], page["more"]) == (["0job449", "0job101"], True)
        page = await api.get("jobs", search="needle", limit=2, before="0job101")
        assert ([job["id"] for job in page["jobs"]], page["more"]) == (
            ["0job100", "0job003"],
            False,
        )

    @pytest.mark.parametrize(
        ("query", "said"),
        [
            ({"limit": "0"}, "limit='0': expected a whole number from 1 to 500"),
            ({"limit": "501"}, "limit='501': expected a whole number from 1 to 500"),
            ({"limit": "ten"}, "limit='ten': expected a whole number from 1 to 500"),
            ({"limit": "9" * 5000}, f"limit='{'9' * 5000}': expected a whole number from 1 to 500"),
            ({"state": "runing"}, "state='runing' is no state of jobs"),
            ({"before": "a%b"}, "before='a%b' is no id of a job"),
        ],
    )
    async def test_a_bad_value_is_named(
        self, api: Api, engine: Engine, query: dict[str, str], said: str
    ) -> None:
        status, message, _ = await api.refused("GET", "jobs", **query)
        assert (status, message) == (400, said)


class TestOne:
    async def test_is_told_whole(self, api: Api, engine: Engine, cluster: FakeCluster) -> None:
        origin = Origin(code="print(1)", line="fake --procs 2", notebook="a.ipynb", user="ada")
        spec = a_spec(procs=2, fetch=("history",), origin=origin)
        job = await engine.launch(POOL, spec, EMPTY)
        cluster.begin(job.id)
        await engine.refresh(job.id)
        detail = await api.get(f"jobs/{job.id}")
        item = detail["item"]
        assert (item["id"], item["state"], item["world"], item["user"]) == (
            job.id,
            "running",
            2,
            "ada",
        )
        assert detail["header"]["state"] == "running"
        assert detail["header"]["log"] == f"%jobs logs {job.id}"
        assert [rank["rank"] for rank in detail["ranks"]] == [0, 1]
        assert detail["manifest"] == {"size_bytes": 0, "count": 0, "items": []}
        assert [(each["kind"], each["detail"].get("to")) for each in detail["timeline"]] == [
            ("job.added", None),
            ("job.state", "starting"),
            ("job.state", "running"),
        ]
        assert (detail["code"], detail["line"], detail["fetch"]) == (
            "print(1)",
            "fake --procs 2",
            ["history"],
        )
        assert detail["tracking_url"] is None
        assert (await api.get("jobs"))["jobs"] == [item]

    async def test_half_a_character_in_an_error_is_no_reason_to_fail(
        self, api: Api, engine: Engine
    ) -> None:
        job = add(engine.store, "0abc", 1.0)
        engine.store.fail_pending(job.id, reason="byte \udcff of a log")
        detail = await api.get("jobs/0abc")
        assert detail["item"]["message"] == "byte ? of a log"
        assert detail["header"]["error"]["title"] == "byte ? of a log"
        assert (await api.get("jobs"))["jobs"] == [detail["item"]]

    async def test_unknown_or_half_an_id_is_not_found(self, api: Api, engine: Engine) -> None:
        add(engine.store, "0abc1", 1.0, state=JobState.FAILED)
        add(engine.store, "0abd2", 2.0, state=JobState.FAILED)
        for job_id in ("0abc", "0ab", "0", "zzz"):
            for verb, path in [
                ("GET", ""),
                ("DELETE", ""),
                ("POST", "/cancel"),
                ("POST", "/rerun"),
                ("GET", "/plan"),
                ("GET", "/files"),
                ("GET", "/files/cell.py"),
            ]:
                refused = await api.refused(verb, f"jobs/{job_id}{path}")
                assert refused == (404, f"no job '{job_id}'", "%jobs lists them")
        assert len(engine.store.list_jobs()) == 2


class TestVerbs:
    async def test_cancel_asks_for_the_end_and_a_late_one_changes_nothing(
        self, api: Api, engine: Engine, cluster: FakeCluster
    ) -> None:
        job = await engine.launch(POOL, a_spec(), EMPTY)
        status, item = await api.ask("POST", f"jobs/{job.id}/cancel")
        assert (status, item["desired"], item["state"]) == (200, "stop", "starting")
        assert cluster.jobs[job.id].told_to_stop
        assert cluster.jobs[job.id].state is JobState.STARTING
        await api.ask("POST", f"jobs/{job.id}/cancel", {"grace_seconds": 0})
        assert cluster.jobs[job.id].state is JobState.CANCELLED
        await engine.refresh(job.id)
        status, item = await api.ask("POST", f"jobs/{job.id}/cancel", {"grace_seconds": None})
        assert (status, item["state"]) == (200, "cancelled")

    @pytest.mark.parametrize("grace", ["-1", "NaN", "Infinity", "1e999", '"soon"', "true"])
    async def test_a_grace_that_is_none_is_refused(
        self, api: Api, engine: Engine, cluster: FakeCluster, grace: str
    ) -> None:
        job = await engine.launch(POOL, a_spec(), EMPTY)
        body = f'{{"grace_seconds": {grace}}}'
        status, message, _ = await api.refused("POST", f"jobs/{job.id}/cancel", body)
        assert status == 400
        assert message.startswith(("grace_seconds=", "the request's body is not"))
        assert not cluster.jobs[job.id].told_to_stop

    async def test_a_wish_is_kept_where_the_pool_is_silent(
        self, api: Api, engine: Engine, cluster: FakeCluster
    ) -> None:
        job = await engine.launch(POOL, a_spec(), EMPTY)
        cluster.reachable = False
        status, message, _ = await api.refused("POST", f"jobs/{job.id}/cancel")
        assert (status, message) == (503, "pool fake does not answer")
        assert engine.store.get_job(job.id).desired is Desired.STOP

    async def test_a_job_not_over_is_not_removed(
        self, api: Api, engine: Engine, cluster: FakeCluster
    ) -> None:
        job = await engine.launch(POOL, a_spec(), EMPTY)
        status, message, _ = await api.refused("DELETE", f"jobs/{job.id}")
        assert (status, message) == (409, f"job {job.id} is starting")
        cluster.end(job.id, JobState.SUCCEEDED)
        assert await api.ask("DELETE", f"jobs/{job.id}") == (204, None)
        assert (await api.refused("GET", f"jobs/{job.id}"))[0] == 404
        assert job.id not in cluster.jobs

    async def test_rerun_is_a_new_job_with_the_same_spec(
        self, api: Api, engine: Engine, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HUB_TOKEN", "hf-of-this-test")
        job = await engine.launch(
            POOL, a_spec(secrets=("HUB_TOKEN",)), EMPTY, secrets={"HUB_TOKEN": "old"}
        )
        status, item = await api.ask("POST", f"jobs/{job.id}/rerun")
        assert (status, item["state"]) == (201, "starting")
        assert item["id"] != job.id
        assert cluster.jobs[item["id"]].secrets == {"HUB_TOKEN": "hf-of-this-test"}
        assert "hf-of-this-test" not in json.dumps(item)

    async def test_rerun_without_its_secret_says_where_to_set_it(
        self, api: Api, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("HUB_TOKEN", raising=False)
        job = await engine.launch(
            POOL, a_spec(secrets=("HUB_TOKEN",)), EMPTY, secrets={"HUB_TOKEN": "old"}
        )
        assert await api.refused("POST", f"jobs/{job.id}/rerun") == (
            400,
            "secret HUB_TOKEN is not set in the environment of the Jupyter server",
            f"start the server with it, or run %jobs rerun {job.id} in a notebook that has it",
        )
        assert len(engine.store.list_jobs()) == 1

    async def test_a_detached_pool_is_named_where_it_is_needed(
        self, api: Api, engine: Engine
    ) -> None:
        job = await engine.launch(POOL, a_spec(), EMPTY)
        await engine.detach(POOL, force=True)
        for verb, path in [("POST", "cancel"), ("POST", "rerun"), ("GET", "plan")]:
            status, message, _ = await api.refused(verb, f"jobs/{job.id}/{path}")
            assert (status, message) == (404, "no pool named 'fake'")
        assert (await api.get(f"jobs/{job.id}"))["item"]["pool"] == "fake"

    async def test_two_who_cancel_at_once_both_succeed(self, api: Api, engine: Engine) -> None:
        job = await engine.launch(POOL, a_spec(), EMPTY)
        answers = await asyncio.gather(
            *(api.ask("POST", f"jobs/{job.id}/cancel") for _ in range(8))
        )
        assert {status for status, _ in answers} == {200}


class TestPlan:
    async def test_is_as_recorded_where_that_can_be_read(
        self, api: Api, engine: Engine, cluster: FakeCluster
    ) -> None:
        job = await engine.launch(POOL, a_spec(env={"A": "now"}), EMPTY)
        assert "  env  A=now" in (await api.get(f"jobs/{job.id}/plan"))["text"]
        orders = {
            "node_rank": 0,
            "argv": ["x", "y z"],
            "env": {"A": "then"},
            "cwd": "/w",
            "more": 1,
        }
        cluster.jobs[job.id].files["spec.json"] = json.dumps(orders).encode()
        text = (await api.get(f"jobs/{job.id}/plan"))["text"]
        assert text.splitlines() == [
            "node 0  fake0 (10.0.0.1)",
            "  in   /w",
            "  run  x 'y z'",
            "  env  A=then",
            f"  logs /runs/{job.id}/logs",
        ]

    @pytest.mark.parametrize(
        "content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"node_rank": "x"}']
    )
    async def test_a_record_that_is_none_is_passed_over(
        self, api: Api, engine: Engine, cluster: FakeCluster, content: bytes
    ) -> None:
        job = await engine.launch(POOL, a_spec(), EMPTY)
        cluster.jobs[job.id].files["spec.json"] = content
        assert "run  python cell.py" in (await api.get(f"jobs/{job.id}/plan"))["text"]

    async def test_no_secret_is_in_it(
        self, api: Api, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HUB_TOKEN", "hf-of-this-test")
        spec = a_spec(secrets=("HUB_TOKEN",), env={"URL": "https://hf-of-this-test@hub"})
        job = await engine.launch(POOL, spec, EMPTY, secrets={"HUB_TOKEN": "hf-of-this-test"})
        text = (await api.get(f"jobs/{job.id}/plan"))["text"]
        assert "hf-of-this-test" not in text
        assert "URL=https://•••@hub" in text

    async def test_no_secret_is_in_it_that_a_shell_would_quote(
        self, api: Api, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HUB_TOKEN", "it's of this test")
        spec = a_spec(secrets=("HUB_TOKEN",), env={"A": "it's of this test"})
        spec = dataclasses.replace(spec, argv=("x", "it's of this test"))
        job = await engine.launch(POOL, spec, EMPTY, secrets={"HUB_TOKEN": "it's of this test"})
        assert "of this test" not in (await api.get(f"jobs/{job.id}/plan"))["text"]


# --- in words ------------------------------------------------------------------------------------


def failed(message: str, **changes: Any) -> Job:
    error = RankError(type="ValueError", message=message, traceback=f"Traceback\n{message}")
    seen = Observation(
        state=JobState.FAILED,
        seen_at=2.0,
        ended_at=2.0,
        reason=message,
        failed_rank=0,
        ranks=(RankStatus(rank=0, node="n", exit_code=1, error=error),),
    )
    return Job(id="0abc", pool=POOL, spec=a_spec(**changes), state=JobState.FAILED, seen=seen)


def test_a_line_says_why_a_job_failed() -> None:
    assert job_item(failed("bad shape")).message == "rank 0 raised ValueError: bad shape"


def test_a_line_is_one_line() -> None:
    assert job_item(failed("first\nsecond")).message == "rank 0 raised ValueError: first …"
    assert len(job_item(failed("x" * 100_000)).message) < 320


def test_secrets_of_this_process_are_in_none_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_TOKEN", "hf-secret")
    job = failed("no hf-secret here", secrets=("HUB_TOKEN", "NOT_SET"))
    origin = dataclasses.replace(
        job.spec.origin, code="login('hf-secret')", line="here --env T=hf-secret"
    )
    spec = dataclasses.replace(job.spec, origin=origin, fetch=("hf-secret/*",))
    job = dataclasses.replace(job, spec=spec)
    told = {"reason": "hf-secret", "ranks": [{"error": "hf-secret"}]}
    event = Event(id=1, at=1.0, kind="job.state", subject=job.id, detail=told)
    detail = job_detail(job, [event])
    assert "hf-secret" not in str(detail)
    assert "•••" in detail.item.message
    assert detail.timeline[0].detail == {"reason": "•••", "ranks": [{"error": "•••"}]}
    assert (detail.code, detail.line) == ("login('•••')", "here --env T=•••")
    assert detail.fetch == ("•••/*",)


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("http://host:5000", "http://host:5000/#/experiments/7/runs/r1"),
        ("https://me:pw@host/mlflow/?x=1#y", "https://host/mlflow/#/experiments/7/runs/r1"),
        ("https://a@b@host", "https://host/#/experiments/7/runs/r1"),
        ("sqlite:////home/me/x.db", None),
        ("file:///home/me/mlruns", None),
        ("javascript:alert(1)//http://", None),
        ("databricks", None),
        ("http://[broken", None),
        ("http://", None),
    ],
)
def test_the_page_of_the_mlflow_run(uri: str, url: str | None) -> None:
    run = TrackingRun(uri=uri, run_id="r1", experiment_id="7")
    seen = Observation(state=JobState.RUNNING, seen_at=1.0, tracking=run)
    job = Job(id="0abc", pool=POOL, spec=a_spec(), seen=seen)
    assert job_detail(job, ()).tracking_url == url
    without = dataclasses.replace(seen, tracking=dataclasses.replace(run, run_id=None))
    assert job_detail(dataclasses.replace(job, seen=without), ()).tracking_url is None
