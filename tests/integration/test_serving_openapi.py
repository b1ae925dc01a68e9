"""Strangers send to an endpoint whatever its OpenAPI allows and does not: it answers as it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests

from jupyter_aiinfra.routing.keys import new_key as new_router_key
from jupyter_aiinfra.serving.keys import new_key
from tests.integration.router_home import Router, endpoint
from tests.integration.serving_endpoint import Endpoint, model_folder
from tests.support.openapi import fuzzed

# No schema of JSON says that values and shape belong together, that columns are equally long, that
# a text is itself JSON, or how a table looks as text. What is refused there is looked at elsewhere.
_INFER = """
[[operations]]
include-path-regex = "/infer$"
checks.positive_data_acceptance.enabled = false
"""
_ANY = """
[checks]
positive_data_acceptance.enabled = false
"""

# A model, what its schema cannot say, and how many examples for each operation.
MODELS: dict[str, tuple[str, dict[str, Any], str]] = {
    "tensor": ("def predict(x): return x * 0.5", {}, _INFER),
    "table": (
        "def predict(age, town, tall): return {'n': age // 2, 'at': town}",
        {
            "inputs": [
                {"name": "age", "dtype": "int8"},
                {"name": "town", "dtype": "string"},
                {"name": "tall", "dtype": "bool"},
            ],
            "outputs": [{"name": "n", "dtype": "int8"}, {"name": "at", "dtype": "string"}],
            "example": {"age": [1], "town": ["b"], "tall": [True]},
        },
        _ANY,
    ),
    "any length": (
        "def predict(x): return x.sum(axis=(1, 2))",
        {
            "inputs": [{"name": "x", "dtype": "float16", "shape": [None, 3], "nan": True}],
            "outputs": [{"name": "y", "dtype": "float16"}],
            "example": [[[1, 2, 3]]],
        },
        _ANY,
    ),
    "any JSON": (
        "def predict(value):\n    yield from [value]",
        {"inputs": [], "outputs": [], "example": [{"b": 1}]},
        _INFER,
    ),
}


def made(folder: Path, name: str) -> Path:
    code, told, _ = MODELS[name]
    model = model_folder(folder / "model", **told)
    (model / "endpoint_code.py").write_text(code + "\n")
    return model


@pytest.mark.parametrize("name", [name for name in MODELS if name != "tensor"])
def test_a_worker_answers_as_its_document_says(tmp_path: Path, name: str) -> None:
    with Endpoint(made(tmp_path, name)) as one:
        workers = one.workers()
        asked = fuzzed(f"{one.url}/openapi.json", tmp_path, examples=8, config=MODELS[name][2])
        assert asked > 300
        assert one.workers() == workers
    assert "Traceback" not in one.log.read_text()


def _holds(one: Endpoint, url: str, folder: Path, *, secret: str) -> None:
    """Ask all that is documented at `url`, with a key: it is so, and no worker of `one` dies."""
    workers = one.workers()
    headers = {"Authorization": f"Bearer {secret}"}
    asked = fuzzed(f"{url}/openapi.json", folder, examples=8, config=_INFER, headers=headers)
    assert asked > 400
    assert one.workers() == workers


def test_one_that_wants_a_key(tmp_path: Path) -> None:
    secret, key = new_key("anna", scopes=("predict", "metrics"), per_second=None)
    (tmp_path / "keys.json").write_bytes(msgspec.json.encode([key]))
    with Endpoint(made(tmp_path, "tensor"), "--keys", str(tmp_path / "keys.json")) as one:
        _holds(one, one.url, tmp_path, secret=secret)
        refused = requests.post(f"{one.url}/predict", json={"inputs": [[1, 2]]}, timeout=30)
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    log = one.log.read_text()
    assert "Traceback" not in log
    assert secret not in log


def test_through_the_router(tmp_path: Path) -> None:
    secret, key = new_router_key("anna", scopes=("predict", "metrics"))
    near = tmp_path / "tensor.sock"
    with (
        Endpoint(made(tmp_path, "tensor"), "--unix", str(near)) as one,
        Router(tmp_path, a=endpoint({"3": [f"unix:{near}"]}, keys=(key,))) as router,
    ):
        router.up("a", 1)
        _holds(one, f"{router.url}/a", tmp_path, secret=secret)
        assert router.states("a") == {"3-0": "up"}
    for log in (one.log.read_text(), router.log.read_text()):
        assert "Traceback" not in log
        assert secret not in log
