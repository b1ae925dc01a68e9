"""Every protocol asks one model; what is wrong is told by name, and to the right caller."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest

from jupyter_aiinfra.serving import formats
from jupyter_aiinfra.serving.app import App, Options
from jupyter_aiinfra.serving.batcher import Limits
from jupyter_aiinfra.serving.keys import Keys, new_key
from jupyter_aiinfra.serving.model import Served
from jupyter_aiinfra.serving.schema import Batch, Field, Signature

X = Signature(inputs=(Field(name="x", shape=(2,)),), outputs=(Field(name="y", shape=(2,)),))
TABLE = Signature(inputs=(Field(name="age", dtype="int64"), Field(name="town", dtype="string")))


def double(batch: Any) -> Batch:
    if (batch["x"] == 13).any():
        raise ValueError("a secret of the caller")
    return {"y": batch["x"] * 2}


def greet(batch: Any) -> Batch:
    return {"n": batch["age"] + 1, "at": batch["town"]}


def spell(value: Any) -> Iterator[Any]:
    for letter in value:
        if letter == "!":
            raise ValueError("no")
        yield letter


MODELS: dict[str, Served] = {
    name: Served(
        name=name,
        version="3",
        loader="function",
        signature=signature,
        predict=predict,
        example=example,
        single_seconds=0,
        stream=stream,
    )
    for name, signature, predict, example, stream in (
        ("double", X, double, {"x": np.ones((1, 2), np.float32)}, None),
        ("greet", TABLE, greet, None, None),
        ("free", Signature(), lambda batch: [list(spell(v)) for v in batch], ["a"], spell),
    )
}


def client_of(app: App) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app)
    return httpx.AsyncClient(transport=transport, base_url="http://endpoint")


@pytest.fixture
async def double_client() -> AsyncIterator[httpx.AsyncClient]:
    app = App(MODELS["double"], options=Options(body_bytes=5000))
    async with client_of(app) as client:
        yield client
    app.close()


class TestPredict:
    async def test_json(self, double_client: httpx.AsyncClient) -> None:
        answer = await double_client.post("/predict", json={"inputs": [[1, 2], [3, 4]]})
        assert answer.json() == {"outputs": [[2, 4], [6, 8]], "version": "3"}

    async def test_npy_comes_back_as_npy_and_as_json(
        self, double_client: httpx.AsyncClient
    ) -> None:
        body = formats.to_npy(np.ones((1, 2), np.float32))
        kind = {"content-type": formats.NPY}
        answer = await double_client.post("/predict", content=body, headers=kind)
        assert answer.headers["content-type"] == formats.NPY
        assert formats.from_npy(answer.content).tolist() == [[2, 2]]
        kind["accept"] = "application/json"
        answer = await double_client.post("/predict", content=body, headers=kind)
        assert answer.json()["outputs"] == [[2, 2]]

    async def test_safetensors(self, double_client: httpx.AsyncClient) -> None:
        answer = await double_client.post(
            "/predict",
            content=formats.to_safetensors({"x": np.ones((1, 2), np.float32)}),
            headers={"content-type": formats.SAFETENSORS},
        )
        assert formats.from_safetensors(answer.content)["y"].tolist() == [[2, 2]]

    async def test_gzip_both_ways(self, double_client: httpx.AsyncClient) -> None:
        body = json.dumps({"inputs": [[1, 2]] * 300}).encode()
        answer = await double_client.post(
            "/predict", content=gzip.compress(body), headers={"content-encoding": "gzip"}
        )
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.json()["outputs"] == [[2, 4]] * 300

    async def test_many_at_once(self, double_client: httpx.AsyncClient) -> None:
        asked = (double_client.post("/predict", json={"inputs": [[n, n]]}) for n in range(20, 60))
        answers = await asyncio.gather(*asked)
        assert [a.json()["outputs"][0][0] for a in answers] == [2 * n for n in range(20, 60)]


BAD: list[tuple[dict[str, Any], int, str]] = [
    ({"content": b'{"inputs": [[1]]}'}, 400, r"inputs: has shape"),
    ({"content": b'{"inputs": [[1, NaN]]}'}, 400, r"inputs[0][1]: NaN"),
    ({"content": b'{"inputs": [["a", 1]]}'}, 400, r"inputs[0][0]: Expected"),
    ({"content": b'{"inputs": ' + b"[" * 4000}, 400, "inputs"),
    ({"content": b"\xff"}, 400, "UTF-8"),
    ({"content": bytes(6000)}, 413, "6,000 bytes"),
    (
        {"content": gzip.compress(bytes(100_000)), "headers": {"content-encoding": "gzip"}},
        413,
        "unpacks",
    ),
    ({"content": b"junk", "headers": {"content-encoding": "gzip"}}, 400, "no gzip"),
    ({"content": b"junk", "headers": {"content-encoding": "br"}}, 415, "'br'"),
    ({"content": b"junk", "headers": {"content-type": "text/plain"}}, 415, "takes JSON"),
    ({"content": b"junk", "headers": {"content-type": formats.NPY}}, 400, "no .npy"),
    (
        {
            "content": formats.to_npy(np.ones((1, 2))),
            "headers": {"content-type": formats.NPY},
        },
        400,
        "inputs.x: is float64, but float32",
    ),
    (
        {
            "content": formats.to_safetensors({"z": np.ones(1)}),
            "headers": {"content-type": formats.SAFETENSORS},
        },
        400,
        "inputs.z: no such input",
    ),
    ({"json": {"inputs": [[1, 2]]}, "headers": {"accept": "text/event-stream"}}, 415, "in parts"),
]


@pytest.mark.parametrize(("asked", "status", "said"), BAD)
async def test_bad_input_is_told_of_and_does_no_harm(
    double_client: httpx.AsyncClient, asked: dict[str, Any], status: int, said: str
) -> None:
    answer = await double_client.post("/predict", **asked)
    assert answer.status_code == status
    assert said in answer.json()["error"]
    again = await double_client.post("/predict", json={"inputs": [[1, 2]]})
    assert again.status_code == 200


class TestFaults:
    async def test_what_the_model_says_stays_here(self, double_client: httpx.AsyncClient) -> None:
        answer = await double_client.post("/predict", json={"inputs": [[13, 1]]})
        assert answer.status_code == 500
        assert answer.json()["error"] == "the model failed: ValueError"

    async def test_method_and_path(self, double_client: httpx.AsyncClient) -> None:
        answer = await double_client.get("/predict")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
        assert (await double_client.get("/nothing")).status_code == 404
        answer = await double_client.get("/v2/models/other")
        assert (answer.status_code, "this is double, 3" in answer.json()["error"]) == (404, True)

    async def test_a_full_queue_is_429(self) -> None:
        go, begun = threading.Event(), threading.Event()

        def slow(batch: Any) -> Batch:
            begun.set()
            assert go.wait(10)
            return {"y": batch["x"]}

        served = replace(MODELS["double"], predict=slow, single_seconds=1.0)
        app = App(served, options=Options(limits=Limits(queue=1)))
        async with client_of(app) as client:
            ask = {"json": {"inputs": [[1, 2]]}}
            first = asyncio.ensure_future(client.post("/predict", **ask))  # type: ignore[arg-type]
            await asyncio.get_running_loop().run_in_executor(None, begun.wait, 10)
            batcher = app.batcher
            held = batcher.submit({"x": np.ones((1, 2), np.float32)})
            refused = await client.post("/predict", **ask)  # type: ignore[arg-type]
            assert refused.status_code == 429
            assert int(refused.headers["retry-after"]) >= 1
            assert await app.ready(), "busy is not broken"
            go.set()
            assert (await first).status_code == 200
            await held
        app.close()


class TestMlflow:
    @pytest.fixture
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        app = App(MODELS["greet"])
        async with client_of(app) as client:
            yield client
        app.close()

    @pytest.mark.parametrize(
        "body",
        [
            {"dataframe_split": {"columns": ["town", "age"], "data": [["Ulm", 4]], "index": [0]}},
            {"dataframe_records": [{"age": 4, "town": "Ulm"}]},
            {"instances": [{"age": 4, "town": "Ulm"}]},
            {"inputs": {"age": [4], "town": ["Ulm"]}},
        ],
    )
    async def test_all_its_ways(self, client: httpx.AsyncClient, body: Any) -> None:
        answer = await client.post("/invocations", json=body)
        assert answer.json() == {"predictions": [{"n": 5, "at": "Ulm"}]}

    async def test_csv(self, client: httpx.AsyncClient) -> None:
        kind = {"content-type": "text/csv"}
        answer = await client.post("/invocations", content="age,town\n4,Ulm\n", headers=kind)
        assert answer.json() == {"predictions": [{"n": 5, "at": "Ulm"}]}

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            (
                '{"dataframe_split": {"columns": ["age"], "data": [[1]]}}',
                "dataframe_split.town: is m",
            ),
            (
                '{"dataframe_split": {"columns": ["age"], "data": [[1, 2]]}}',
                "data[0]: 2 values for 1",
            ),
            ('{"dataframe_split": {"columns": [], "data": []}}', "dataframe_split.age: is missing"),
            ('{"dataframe_records": [{"age": "x", "town": "y"}]}', "dataframe_records.age[0]: Exp"),
            ('{"dataframe_records": [{"age": 1, "town": "y", "z": 1}]}', "inputs.z: no such input"),
            ('{"dataframe_records": []}', "holds no example"),
            ('{"instances": 3}', "inputs: Expected `object`"),
            ('{"instances": [], "inputs": []}', "exactly one of"),
            ("{}", "exactly one of"),
        ],
    )
    async def test_what_is_wrong(self, client: httpx.AsyncClient, body: str, said: str) -> None:
        answer = await client.post("/invocations", content=body)
        assert (answer.status_code, answer.json()["error_code"]) == (400, "BAD_REQUEST")
        assert said in answer.json()["message"]

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ("age,town\nx,Ulm", "age: 'x' is no int64"),
            ("age,town\n1", "line 2: 1 values for 2 columns"),
            ("", "names the columns"),
            ('age,town\n"1,2', "no CSV"),
        ],
    )
    async def test_wrong_csv(self, client: httpx.AsyncClient, body: str, said: str) -> None:
        kind = {"content-type": "text/csv"}
        answer = await client.post("/invocations", content=body, headers=kind)
        assert answer.status_code == 400
        assert said in answer.json()["error"]

    async def test_one_named_tensor(self, double_client: httpx.AsyncClient) -> None:
        for inputs in ([[1, 2]], {"x": [[1, 2]]}):
            answer = await double_client.post("/invocations", json={"inputs": inputs})
            assert answer.json() == {"predictions": [[2, 4]]}


class TestOpenInference:
    PATH = "/v2/models/double/infer"

    async def test_metadata(self, double_client: httpx.AsyncClient) -> None:
        told = (await double_client.get("/v2/models/double/versions/3")).json()
        assert told["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]
        assert (await double_client.get("/v2")).json()["name"] == "jupyter_aiinfra"
        for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/double/ready"):
            assert (await double_client.get(path)).status_code == 200

    @pytest.mark.parametrize("data", [[1, 2, 3, 4], [[1, 2], [3, 4]]])
    async def test_flat_and_nested(self, double_client: httpx.AsyncClient, data: Any) -> None:
        tensor = {"name": "x", "shape": [2, 2], "datatype": "FP32", "data": data}
        answer = await double_client.post(self.PATH, json={"id": "7", "inputs": [tensor]})
        assert answer.json() == {
            "id": "7",
            "model_name": "double",
            "model_version": "3",
            "outputs": [{"name": "y", "datatype": "FP32", "shape": [2, 2], "data": [2, 4, 6, 8]}],
        }

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"name": "z"}, "inputs[0]: no input 'z'"),
            ({"datatype": "INT8"}, "inputs.x: is INT8, but FP32"),
            ({"shape": [3, 2]}, "inputs.x: 2 values do not make shape [3, 2]"),
            ({"shape": [-1, 2]}, "inputs.x: shape [-1, 2] is none"),
            ({"shape": [2, 1]}, "inputs.x: has shape [2, 1]"),
            ({"shape": []}, "inputs.x: shape [] is none"),
            ({"data": None}, "inputs.x: "),
            ({"data": ["1", "2"]}, "inputs.x: Expected"),
            ({"data": [[1, 2], [3]]}, "inputs.x"),
            ({"parameters": {"binary_data_size": 8}}, "binary_data_size 8 is not in the body"),
            ({"parameters": {"binary_data_size": True}}, "binary_data_size True"),
        ],
    )
    async def test_what_is_wrong(
        self, double_client: httpx.AsyncClient, change: Any, said: str
    ) -> None:
        tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]} | change
        answer = await double_client.post(self.PATH, json={"inputs": [tensor]})
        assert answer.status_code == 400
        assert said in answer.json()["error"]

    async def test_a_model_without_types_takes_texts(self) -> None:
        app = App(MODELS["free"])
        async with client_of(app) as client:
            tensor = {"name": "input", "shape": [2], "datatype": "BYTES", "data": ['"ab"', '"c"']}
            answer = await client.post("/v2/models/free/infer", json={"inputs": [tensor]})
            assert answer.json()["outputs"][0]["data"] == ['["a","b"]', '["c"]']
            tensor["data"] = ['"ab"', "["]
            answer = await client.post("/v2/models/free/infer", json={"inputs": [tensor]})
            assert "inputs.input[1]: no JSON" in answer.json()["error"]
        app.close()


class TestStream:
    @pytest.fixture
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        app = App(MODELS["free"])
        async with client_of(app) as client:
            client.headers["accept"] = "text/event-stream"
            yield client
        app.close()

    @pytest.mark.parametrize(
        ("value", "events"),
        [
            ("ab", 'data: "a"\n\ndata: "b"\n\nevent: end\ndata: {}\n\n'),
            ("a!", 'data: "a"\n\nevent: error\ndata: {"error":"the model failed: ValueError"}\n\n'),
        ],
    )
    async def test_parts(self, client: httpx.AsyncClient, value: str, events: str) -> None:
        answer = await client.post("/predict", json={"inputs": [value]})
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.text == events

    async def test_one_example_only(self, client: httpx.AsyncClient) -> None:
        answer = await client.post("/predict", json={"inputs": ["a", "b"]})
        assert answer.status_code == 400


class TestWhoMay:
    async def test_keys(self, tmp_path: Path) -> None:
        secret, key = new_key("anna")
        watcher, watching = new_key("prometheus", scopes=("metrics",))
        path = tmp_path / "keys.json"
        path.write_bytes(msgspec.json.encode([key, watching]))
        assert secret not in path.read_text()
        app = App(MODELS["double"], keys=Keys(path))
        async with client_of(app) as client:
            ask = {"inputs": [[1, 2]]}

            async def status(path: str, **headers: str) -> int:
                if path == "/predict":
                    return (await client.post(path, json=ask, headers=headers)).status_code
                return (await client.get(path, headers=headers)).status_code

            assert await status("/predict") == 401
            assert await status("/predict", authorization=f"Bearer {secret}") == 200
            assert await status("/predict", **{"x-api-key": secret}) == 200
            assert await status("/predict", authorization=f"Bearer {secret}x") == 401
            assert await status("/predict", authorization="Bearer aii_nobody_x") == 401
            assert await status("/predict", authorization=f"Bearer {watcher}") == 403
            assert await status("/metrics", authorization=f"Bearer {watcher}") == 200
            assert await status("/metrics", authorization=f"Bearer {secret}") == 403
            assert await status("/v2/models/double") == 401
            assert await status("/ping") == 200
            assert await status("/readyz") == 200
        app.close()

    async def test_pages_of_others(self) -> None:
        app = App(MODELS["double"], options=Options(origins=("https://good.example",)))
        async with client_of(app) as client:
            for origin, allowed in (("https://good.example", True), ("https://bad.example", False)):
                headers = {"origin": origin, "access-control-request-method": "POST"}
                answer = await client.options("/predict", headers=headers)
                assert answer.status_code == 204
                assert ("access-control-allow-origin" in answer.headers) == allowed
                answer = await client.post(
                    "/predict", json={"inputs": [[1, 2]]}, headers={"origin": origin}
                )
                assert ("access-control-allow-origin" in answer.headers) == allowed
        app.close()


class TestSurface:
    async def test_health_metrics_and_openapi(self, double_client: httpx.AsyncClient) -> None:
        assert (await double_client.get("/healthz")).json() == {"status": "alive"}
        assert (await double_client.get("/readyz")).json() == {"ready": True}
        await double_client.post("/predict", json={"inputs": [[1, 2]]})
        text = (await double_client.get("/metrics")).text
        assert 'batch_examples_count{model="double",version="3"} 2' in text
        assert 'requests_total{model="double",version="3",code="200"} 3' in text
        schema = (await double_client.get("/openapi.json")).json()
        assert {"/predict", "/invocations", "/metrics", "/readyz"} <= set(schema["paths"])
        assert (await double_client.get("/docs")).status_code == 200

    @pytest.mark.parametrize("prefix", ["/a", "/docs", "/hub/user/endpoints/a/"])
    async def test_pages_behind_a_router(
        self, double_client: httpx.AsyncClient, prefix: str
    ) -> None:
        told = {"x-forwarded-prefix": prefix}
        page = await double_client.get("/docs", headers=told)
        assert f"'{prefix.rstrip('/')}/openapi.json'" in page.text
        schema = (await double_client.get("/openapi.json", headers=told)).json()
        assert schema["servers"] == [{"url": prefix.rstrip("/")}]
        assert (await double_client.get("/readyz", headers=told)).status_code == 200
        # Not one that was not asked for, and nothing that is no path.
        for headers in ({}, {"x-forwarded-prefix": "/a'; alert(1)"}):
            assert "'/openapi.json'" in (await double_client.get("/docs", headers=headers)).text
            told_now = (await double_client.get("/openapi.json", headers=headers)).json()
            assert "servers" not in told_now

    async def test_a_model_that_breaks_is_not_ready(self) -> None:
        def broken(batch: Any) -> Batch:
            raise RuntimeError

        app = App(replace(MODELS["double"], predict=broken))
        async with client_of(app) as client:
            for path in ("/readyz", "/ping", "/v2/health/ready"):
                assert (await client.get(path)).status_code == 503
            assert (await client.get("/healthz")).status_code == 200
        app.close()

    async def test_draining_is_not_ready(self, double_client: httpx.AsyncClient) -> None:
        app = App(MODELS["double"])
        app.draining = True
        assert not await app.ready()
        app.close()


async def test_a_slow_body_is_given_up() -> None:
    app = App(MODELS["double"], options=Options(body_seconds=0.02))
    sent: list[Any] = []
    never = asyncio.Event()

    async def receive() -> Any:
        await never.wait()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": []}
    await app(scope, receive, send)
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]
    app.close()


async def test_a_client_that_goes_is_forgotten() -> None:
    begun, go, ended = threading.Event(), threading.Event(), threading.Event()

    def slow(batch: Any) -> Batch:
        begun.set()
        assert go.wait(10)
        ended.set()
        return {"y": batch["x"]}

    app = App(replace(MODELS["double"], predict=slow, single_seconds=1.0))
    messages: asyncio.Queue[Any] = asyncio.Queue()
    messages.put_nowait({"type": "http.request", "body": b'{"inputs": [[1, 2]]}'})

    async def send(message: Any) -> None:
        raise AssertionError(message)

    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": []}
    asking = asyncio.ensure_future(app(scope, messages.get, send))
    await asyncio.get_running_loop().run_in_executor(None, begun.wait, 10)
    messages.put_nowait({"type": "http.disconnect"})
    await asking
    assert 'code="499"} 1' in app.metrics.text(model="m", version="1")
    go.set()
    await app.batcher.drained()
    assert ended.is_set()
    app.close()
