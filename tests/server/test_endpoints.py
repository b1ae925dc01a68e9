"""Endpoints over REST, and called through the server by whoever may use it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError

from jupyter_aiinfra.endpoint import ReplicaOptions, VersionState
from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.model import PoolRecord
from jupyter_aiinfra.settings import load_settings
from jupyter_aiinfra.store import open_store
from tests.support.endpoints import model
from tests.support.served import Api


@pytest.fixture
def engine(jp_serverapp: Any) -> Iterator[Engine]:
    settings = load_settings()
    engine = Engine(open_store(settings), settings)
    engine.store.add_pool(PoolRecord(name="here", kind="local"))
    engine.store.add_pool(PoolRecord(name="there", kind="local"))
    yield engine
    engine.store.close()


@pytest.fixture
def folder(jp_root_dir: Path) -> str:
    model(jp_root_dir / "adder")
    return "adder"


async def deployed(api: Api, folder: str, **values: Any) -> dict[str, Any]:
    status, item = await api.ask("POST", "endpoints", {"folder": folder, "pool": "here", **values})
    assert status == 201, item
    made: dict[str, Any] = item
    return made


def answered(engine: Engine, endpoint_id: str, number: int) -> None:
    """Have a version be one that has answered."""
    whole = engine.store.whole_endpoint(endpoint_id)
    ready = replace(whole.version(number), state=VersionState.READY)
    assert engine.store.change_endpoint(whole.endpoint, versions=[ready]) is not None


async def test_an_endpoint_is_made_shown_and_listed(api: Api, engine: Engine, folder: str) -> None:
    made = await deployed(api, folder, scaling={"least": 1, "most": 3}, workers=2, note="first")
    assert (made["name"], made["state"], made["url"]) == ("adder", "starting", None)
    assert made["traffic"] == [{"version": 1, "weight": 100.0, "header": None}]
    (version,) = made["versions"]
    assert (version["pool"], version["note"], version["requests"]) == ("here", "first", None)
    assert version["manifest"]["example"] == [[1, 2]]
    status, listed = await api.ask("GET", "endpoints")
    assert status == 200
    assert [each["id"] for each in listed["endpoints"]] == [made["id"]]
    status, detail = await api.ask("GET", f"endpoint/{made['id']}")
    assert status == 200
    assert [each["kind"] for each in detail["events"]] == ["added"]


@pytest.mark.parametrize(
    ("values", "status", "said"),
    [
        ({"folder": "../outside"}, 400, "not below the server's root"),
        ({"folder": "nowhere"}, 400, "is not a folder"),
        ({"pool": "other"}, 404, "other"),
        ({"name": "Not A Name"}, 400, "no name of an endpoint"),
        ({"scaling": {"least": 3, "most": 2}}, 400, "from 3 to 2 replicas cannot be"),
        ({"workers": "many"}, 400, "workers"),
        ({"workers": 0}, 400, "workers 0 cannot be"),
        ({"gpus": -1}, 400, "gpus -1 cannot be"),
        ({"max_batch": 0}, 400, "max_batch 0 cannot be"),
        ({"drain_seconds": -1}, 400, "drain_seconds -1 cannot be"),
        ({"spot": True}, 400, "nothing takes their place"),
        ({"fallback_pool": "other"}, 404, "other"),
        ({"fallback_pool": "here"}, 400, "cannot take the place of itself"),
        ({"spot": False, "fallback_pool": "there"}, 400, "contradict each other"),
        ({"env": {"A B": "1"}}, 400, "no name of a variable"),
        ({"secrets": ["1st"]}, 400, "no name of a variable"),
        ({"environment": "../env.txt"}, 400, "not below the server's root"),
        ({"environment": "env.txt"}, 400, "there is no such file"),
        ({"options": {"cors": ["shop.example"]}}, 400, "no origin of pages"),
        ({"options": {"cors": ["https://shop.example/page"]}}, 400, "no origin of pages"),
        ({"scaling": {"p95_ms": -1}}, 400, "p95_ms -1 cannot be"),
        ({"options": {"sticky": "two words"}}, 400, "no name of a header"),
        ({"options": {"tolerance": 2}}, 400, "tolerance 2 cannot be"),
    ],
)
async def test_what_cannot_be_deployed_is_refused_by_name(
    api: Api, engine: Engine, folder: str, values: dict[str, Any], status: int, said: str
) -> None:
    asked = {"folder": folder, "pool": "here", **values}
    got, answer = await api.ask("POST", "endpoints", asked)
    assert got == status
    assert said in answer["message"]
    assert engine.store.endpoints() == []


async def test_replicas_run_as_is_asked_and_later_versions_as_those_before(
    api: Api, engine: Engine, folder: str, jp_root_dir: Path
) -> None:
    (jp_root_dir / "env.txt").write_text("numpy\n")
    how = {"gpus": 2, "workers": 3, "spot": True, "fallback_pool": "there", "share": True}
    more = {"max_batch": 8, "max_queue": 9, "drain_seconds": 4.5, "env": {"A": "1"}}
    asked = {**how, **more, "secrets": ["TOKEN"], "environment": "env.txt"}
    router = {"sticky": "X-User", "idempotent": False, "tolerance": 0.1, "sampling": 0.5}
    made = await deployed(api, folder, **asked, options=router)
    (version,) = made["versions"]
    assert (version["gpus"], version["workers"], version["fallback_pool"]) == (2, 3, "there")
    assert {name: made["options"][name] for name in router} == router

    def kept(number: int) -> ReplicaOptions:
        return engine.store.whole_endpoint(made["id"]).version(number).options

    first = kept(1)
    assert {name: getattr(first, name) for name in more} == more
    assert first.share
    assert first.secrets == ("TOKEN",)
    assert first.environment is not None
    answered(engine, made["id"], 1)
    path = f"endpoint/{made['id']}"
    for pool, said in [("other", "other"), ("there", "cannot take the place of itself")]:
        status, answer = await api.ask("POST", f"{path}/update", {"pool": pool})
        assert status in (400, 404)
        assert said in answer["message"]
    status, item = await api.ask("POST", f"{path}/update", {"gpus": 1, "how": "blue-green"})
    assert status == 200, item
    assert kept(2) == replace(first, gpus=1)
    await api.ask("POST", f"{path}/promote")
    own = {"spot": False, "environment": "current"}
    status, item = await api.ask("POST", f"{path}/update", own)
    assert item["versions"][2]["fallback_pool"] is None
    assert kept(3) == replace(
        first, gpus=1, fallback_pool=None, environment=None, environment_files=()
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"gates": {"p95_ms": -5}}, "max_p95 -5 cannot be"),
        ({"gates": {"p95_ms": 0}}, "max_p95 0 cannot be"),
        ({"gates": {"error_rate": 2}}, "max_errors 2 cannot be"),
        ({"gates": {"agreement": -0.1}}, "min_agreement -0.1 cannot be"),
        ({"step_seconds": -1}, "step -1 cannot be"),
        ({"least_requests": -1}, "least_requests -1 cannot be"),
        ({"header": {"X Version": "2"}}, "no name of a header"),
        ({"steps": [101]}, "no part of the traffic"),
    ],
)
async def test_what_the_router_would_not_take_is_refused_and_not_recorded(
    api: Api, engine: Engine, folder: str, values: dict[str, Any], said: str
) -> None:
    made = await deployed(api, folder)
    asked = {"how": "canary", **values}
    status, answer = await api.ask("POST", f"endpoint/{made['id']}/update", asked)
    assert (status, said in answer["message"]) == (400, True), answer
    assert engine.store.get_endpoint(made["id"]).newest == 1


async def test_recorded_calls_are_held_against_it_unless_that_is_left_out(
    api: Api, engine: Engine, folder: str, jp_root_dir: Path
) -> None:
    call = {"inputs": [[1, 2]], "outputs": [[99]]}
    (jp_root_dir / folder / "calls.jsonl").write_text(f"{json.dumps(call)}\n")
    status, answer = await api.ask("POST", "endpoints", {"folder": folder, "pool": "here"})
    assert status == 400, answer
    assert engine.store.endpoints() == []
    made = await deployed(api, folder, replay=False)
    answered(engine, made["id"], 1)
    path = f"endpoint/{made['id']}/update"
    status, answer = await api.ask("POST", path, {"folder": folder})
    assert status == 400, answer
    status, item = await api.ask("POST", path, {"folder": folder, "replay": False})
    assert (status, len(item["versions"])) == (200, 2)


async def test_a_name_is_taken_once(api: Api, engine: Engine, folder: str) -> None:
    await deployed(api, folder)
    status, answer = await api.ask("POST", "endpoints", {"folder": folder, "pool": "here"})
    assert status == 409
    assert "already" in answer["message"]


async def test_versions_come_go_back_and_share_the_traffic(
    api: Api, engine: Engine, folder: str
) -> None:
    made = await deployed(api, folder)
    path = f"endpoint/{made['id']}"
    answered(engine, made["id"], 1)
    asked = {"how": "canary", "steps": [10], "gates": {"p95_ms": None}, "note": "better"}
    status, item = await api.ask("POST", f"{path}/update", asked)
    assert status == 200
    assert item["rollout"]["steps"] == [10.0, 25.0, 50.0, 100.0]
    assert item["rollout"]["percent"] is None
    assert not item["rollout"]["begun"]
    status, answer = await api.ask("POST", f"{path}/update", asked)
    assert status == 409
    assert "on its way from version 1 to 2" in answer["message"]

    status, item = await api.ask("POST", f"{path}/rollback", {"reason": "no"})
    assert item["rollout"] is None
    assert (item["versions"][1]["state"], item["versions"][1]["reason"]) == ("failed", "no")
    status, item = await api.ask("POST", f"{path}/update", {"how": "canary"})
    answered(engine, made["id"], 3)
    status, item = await api.ask("POST", f"{path}/promote")
    assert item["traffic"] == [{"version": 3, "weight": 100.0, "header": None}]
    status, item = await api.ask("POST", f"{path}/traffic", {"weights": {"1": 90, "3": 10}})
    assert status == 200
    assert {each["version"]: each["weight"] for each in item["traffic"]} == {1: 90.0, 3: 10.0}
    for weights, said in [({"x": 1}, "no version"), ({"1": 0}, "at least one"), ({}, "number")]:
        status, answer = await api.ask("POST", f"{path}/traffic", {"weights": weights})
        assert status == 400
        assert said in answer["message"]
    status, answer = await api.ask("POST", f"{path}/traffic", {"weights": {"2": 1}})
    assert status == 409
    assert "nothing runs of version 2" in answer["message"]


async def test_it_is_scaled_configured_removed_and_put_back(
    api: Api, engine: Engine, folder: str
) -> None:
    made = await deployed(api, folder)
    path = f"endpoint/{made['id']}"
    status, item = await api.ask("POST", f"{path}/scale", {"least": 2, "most": 4})
    assert (status, item["scaling"]["most"]) == (200, 4)
    assert item["versions"][0]["wanted"] == 2
    status, _ = await api.ask("POST", f"{path}/scale", {})
    assert status == 400
    status, item = await api.ask("PUT", f"{path}/options", {"timeout_seconds": 5.0, "cors": ["*"]})
    assert item["options"]["timeout_seconds"] == 5.0
    status, _ = await api.ask("DELETE", path)
    assert status == 204
    assert (await api.ask("GET", "endpoints"))[1]["endpoints"] == []
    (gone,) = (await api.ask("GET", "endpoints", removed="true"))[1]["endpoints"]
    assert gone["state"] == "removed"
    status, item = await api.ask("POST", f"{path}/restore")
    assert (status, item["state"]) == (200, "starting")
    assert (await api.ask("GET", "endpoint/e0000000"))[0] == 404


async def test_a_key_is_shown_once(api: Api, engine: Engine, folder: str) -> None:
    made = await deployed(api, folder)
    path = f"endpoint/{made['id']}/keys"
    status, given = await api.ask("POST", path, {"name": "anna", "per_second": 5.0})
    assert status == 201
    assert given["secret"].startswith(f"aii_{given['key']['id']}_")
    status, newer = await api.ask("POST", f"{path}/{given['key']['id']}/rotate")
    assert status == 201
    assert newer["secret"] != given["secret"]
    status, item = await api.ask("GET", f"endpoint/{made['id']}")
    assert [each["ends_at"] is None for each in item["item"]["keys"]] == [False, True]
    assert given["secret"] not in json.dumps(item)
    status, key = await api.ask("DELETE", f"{path}/{newer['key']['id']}")
    assert key["ends_at"] is not None
    assert (await api.ask("DELETE", f"{path}/nobody"))[0] == 404
    assert (await api.ask("POST", path, {"name": "A B"}))[0] == 400


# --- calling through the server ------------------------------------------------------------------


class Inside:
    """What the router's inner socket is: answers as it is told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
        self.asked = b""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        self.asked = head + await reader.readexactly(size)
        writer.write(self.answer)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def listening() -> AsyncIterator[Inside]:
    """Listen where the router would."""
    folder = load_settings().home / "routing"
    folder.mkdir(parents=True, exist_ok=True)
    made = Inside()
    server = await asyncio.start_unix_server(made, folder / "inside.sock")
    yield made
    server.close()
    await server.wait_closed()


async def test_a_call_is_passed_on_without_what_is_jupyters(
    jp_fetch: Any, api: Api, engine: Engine, folder: str
) -> None:
    await deployed(api, folder)
    async with listening() as inside:
        inside.answer = (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 17\r\n"
            b"Set-Cookie: a=b\r\nX-Model: 3\r\n\r\n" + b'{"outputs": [[3]]'
        )
        answer = await jp_fetch(
            "aiinfra",
            "endpoints",
            "adder",
            "predict",
            method="POST",
            body=b'{"inputs": []}',
            params={"a": "1"},
            headers={"Content-Type": "application/json", "Cookie": "secret=1", "Accept": "x/y"},
        )
        assert answer.code == 200
        assert answer.body == b'{"outputs": [[3]]'
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["X-Model"] == "3"
        assert "a=b" not in answer.headers.get("Set-Cookie", "")
        head, _, body = inside.asked.partition(b"\r\n\r\n")
        assert head.startswith(b"POST /adder/predict?a=1 HTTP/1.1\r\n")
        assert body == b'{"inputs": []}'
        assert b"\r\nAccept: x/y" in head
        assert b"uthorization" not in head
        assert b"ookie" not in head


async def test_a_refusal_and_parts_are_passed_on(
    jp_fetch: Any, api: Api, engine: Engine, folder: str
) -> None:
    await deployed(api, folder)
    async with listening() as inside:
        inside.answer = (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: text/event-stream\r\n\r\n"
            b"6\r\ndata: \r\n3\r\n1\n\n\r\n0\r\n\r\n"
        )
        answer = await jp_fetch("aiinfra", "endpoints", "adder", "docs")
        assert answer.body == b"data: 1\n\n"
        inside.answer = b"HTTP/1.1 429 Busy\r\nRetry-After: 2\r\nContent-Length: 2\r\n\r\nno"
        with pytest.raises(HTTPClientError) as refused:
            await jp_fetch("aiinfra", "endpoints", "adder", "predict", method="POST", body=b"{}")
        assert refused.value.code == 429
        assert refused.value.response is not None
        assert refused.value.response.headers["Retry-After"] == "2"
        assert refused.value.response.body == b"no"


async def test_a_cut_answer_is_no_whole_one(
    jp_fetch: Any, api: Api, engine: Engine, folder: str
) -> None:
    await deployed(api, folder)
    async with listening() as inside:
        inside.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"
        with pytest.raises(Exception, match=r"(?i)clos|599|reset|eof"):
            await jp_fetch("aiinfra", "endpoints", "adder", "predict", method="POST", body=b"{}")


async def test_without_a_router_it_says_so(
    jp_fetch: Any, api: Api, engine: Engine, folder: str
) -> None:
    with pytest.raises(HTTPClientError, match="404"):
        await jp_fetch("aiinfra", "endpoints", "adder", "predict", method="POST", body=b"{}")
    await deployed(api, folder)
    with pytest.raises(HTTPClientError) as refused:
        await jp_fetch("aiinfra", "endpoints", "adder", "predict", method="POST", body=b"{}")
    assert refused.value.code == 503
    assert refused.value.response is not None
    assert b"the router does not answer" in refused.value.response.body
