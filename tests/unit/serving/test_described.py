"""The document of an endpoint says what there is, and what it says of bodies is true."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import jsonschema  # type: ignore[import-untyped]
import msgspec
import numpy as np
import pytest

from jupyter_aiinfra.serving.app import App
from jupyter_aiinfra.serving.keys import Keys, new_key
from jupyter_aiinfra.serving.model import Served
from jupyter_aiinfra.serving.schema import Batch, Field, Signature

ROW = Field(name="x", shape=(2,))
AGE = Field(name="age", dtype="int8")
TOWN = Field(name="town", dtype="string")
ANY = Field(name="r", shape=(None, 3), nan=True)


def same(batch: Batch) -> Batch:
    return batch


def app_of(inputs: tuple[Field, ...], example: Any, keys: Keys | None = None) -> App:
    served = Served(
        name="a b",
        version="3",
        loader="function",
        signature=Signature(inputs=inputs, outputs=inputs),
        predict=same,
        example=example,
        single_seconds=0,
    )
    return App(served, keys=keys)


MODELS: dict[str, tuple[tuple[Field, ...], Any]] = {
    "tensor": ((ROW,), {"x": np.ones((1, 2), np.float32)}),
    "table": (
        (AGE, TOWN),
        {"age": np.array([1, 2], np.int8), "town": np.array(["b", "c"], object)},
    ),
    "any": ((ANY,), {"r": np.full((1, 1, 3), np.nan, np.float32)}),
    "free": ((), [{"b": 1}, None]),
}


# What is asked where the document has no example: JSON has no NaN, and a model of any JSON has
# texts of JSON in the Open Inference Protocol.
INSTEAD: dict[tuple[str, str], Any] = {
    ("any", "predict"): {"inputs": [[[1, 2, 3]]]},
    ("any", "cations"): {"dataframe_records": [{"r": [[1, 2, 3]]}]},
    ("any", "b/infer"): {
        "inputs": [{"name": "r", "datatype": "FP32", "shape": [1, 1, 3], "data": [1, 2, 3]}]
    },
    ("free", "b/infer"): {
        "inputs": [{"name": "input", "datatype": "BYTES", "shape": [1], "data": ["[1]"]}]
    },
}


@asynccontextmanager
async def asked(app: App) -> AsyncIterator[tuple[dict[str, Any], httpx.AsyncClient]]:
    """Give what `app` says of itself, and what asks it."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://e") as client:
        yield (await client.get("/openapi.json")).json(), client
    app.close()


def validator(document: dict[str, Any], content: dict[str, Any]) -> Any:
    schema = {**content["schema"], "components": document["components"]}
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("name", MODELS)
async def test_every_path_is_there_and_answers_as_it_is_described(name: str) -> None:
    app = app_of(*MODELS[name])
    async with asked(app) as (document, client):
        assert len(document["paths"]) == 16
        for path, operations in document["paths"].items():
            for verb, told in operations.items():
                sent: dict[str, Any] = {}
                if verb == "post":
                    content = told["requestBody"]["content"]["application/json"]
                    sent["json"] = content.get(
                        "example", INSTEAD.get((name, path.replace("/versions/3", "")[-7:]))
                    )
                    validator(document, content).validate(sent["json"])
                answer = await client.request(verb, path, **sent)
                assert answer.status_code == 200, (path, answer.text)
                content = told["responses"]["200"].get("content", {})
                if "application/json" in content:
                    validator(document, content["application/json"]).validate(answer.json())


@pytest.mark.parametrize(
    ("name", "path", "body"),
    [
        ("tensor", "/invocations", {"inputs": [[1, 2]], "instances": [[1, 2]]}),
        ("tensor", "/predict", {"inputs": [[1, 1e39]]}),
        ("table", "/invocations", {"dataframe_records": [{"age": 1}]}),
        ("table", "/invocations", {"dataframe_records": [{"age": 200, "town": "b"}]}),
        ("table", "/invocations", {"dataframe_split": {"columns": ["age"], "data": [[1]]}}),
        ("table", "/predict", {"inputs": {"age": [1], "town": ["b"], "more": [1]}}),
        ("any", "/predict", {"inputs": [[[1, 2]]]}),
        ("free", "/predict", {"inputs": []}),
    ],
)
async def test_what_is_refused_is_not_described(name: str, path: str, body: Any) -> None:
    app = app_of(*MODELS[name])
    async with asked(app) as (document, client):
        content = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        assert not validator(document, content).is_valid(body)
        assert (await client.post(path, json=body)).status_code == 400


async def test_an_infinite_number_of_an_answer_is_null_as_described() -> None:
    app = app_of(*MODELS["any"])
    async with asked(app) as (document, client):
        body = {"inputs": [[[1e39, 0, 0]]]}
        told = document["paths"]["/predict"]["post"]
        takes = told["requestBody"]["content"]["application/json"]
        validator(document, takes).validate(body)
        answer = (await client.post("/predict", json=body)).json()
        assert answer["outputs"] == [[[None, 0, 0]]]
        content = told["responses"]["200"]["content"]["application/json"]
        validator(document, content).validate(answer)


@pytest.mark.parametrize("keyed", [False, True])
async def test_whether_a_key_is_asked_for(tmp_path: Path, keyed: bool) -> None:
    _, key = new_key("anna", scopes=("predict",), per_second=None)
    (tmp_path / "keys.json").write_bytes(msgspec.json.encode([key]))
    app = app_of(*MODELS["tensor"], keys=Keys(tmp_path / "keys.json") if keyed else None)
    async with asked(app) as (document, client):
        for path, operations in document["paths"].items():
            for verb, told in operations.items():
                refused = (await client.request(verb, path)).status_code == 401
                assert refused == (keyed and "security" in told), path
                assert ({} in told.get("security", [{}])) != refused
        known = set(document["components"]["securitySchemes"])
        assert known == {"bearer", "key"}
