"""Whatever is sent to whichever endpoint, the server answers as its document says, and not 500."""

from __future__ import annotations

import dataclasses
import json
import random
from typing import Any
from urllib.parse import quote

import pytest

from jupyter_aiinfra.server.app import ROUTES
from jupyter_aiinfra.server.routes import Operation
from jupyter_aiinfra.testing import FakeCluster
from tests.support.engines import EMPTY, POOL, a_spec
from tests.support.served import Api, beside, opener_of

REQUESTS = 40  # to each verb of each endpoint

TEXTS = (
    *(
        "",
        " ",
        "0",
        "-1",
        "1.5",
        "1e9",
        "9" * 40,
        "true",
        "null",
        "NaN",
        "é",
        "\N{GRINNING FACE}",
        "\0",
    ),
    *(
        "\r\nX: y",
        "%",
        "%00",
        "..",
        "../..",
        "/etc/passwd",
        "'",
        '"',
        "\\",
        "{}",
        "<b>",
        "a" * 3000,
    ),
    *("active", "failed", "launcher", "results/x", POOL, "here"),
)
VALUES: tuple[Any, ...] = (
    *TEXTS,
    "\ud800",
    None,
    True,
    0,
    -1,
    10**30,
    0.5,
    [],
    {},
    [[]],
    {"a": {"b": None}},
)
ENDPOINTS = [(route, verb) for route in ROUTES for verb in route.operations]


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def aiinfra_config(cluster: FakeCluster) -> dict[str, Any]:
    return {"pool_opener": opener_of(cluster)}


def _path(dice: random.Random, pattern: str, job_id: str) -> str:
    samples = {
        "{id}": (job_id, job_id[:5], "0", "zz"),
        "{other}": (job_id, "0"),
        "{rank}": ("0", "launcher", "77", "9" * 40),
        "{name}": tuple(quote(text, safe="") for text in TEXTS if text),
        "{path}": tuple(quote(text, safe="/") for text in (*TEXTS, "cell.py") if text),
    }
    for name, values in samples.items():
        pattern = pattern.replace(name, dice.choice(values))
    return pattern


def _body(dice: random.Random, operation: Operation) -> str | bytes | None:
    if operation.body is None:
        return dice.choice((None, "", "{}", b"\xff"))
    names = [field.name for field in dataclasses.fields(operation.body)]
    whole = {name: dice.choice(VALUES) for name in names if dice.random() < 0.8}
    return dice.choice((None, "[]", "{", b"\xff", "[" * 5000, *[json.dumps(whole)] * 12))


@pytest.mark.parametrize(
    ("route", "verb"), ENDPOINTS, ids=[f"{verb} {route.path}" for route, verb in ENDPOINTS]
)
async def test_no_request_is_too_much(
    api: Api, cluster: FakeCluster, route: Any, verb: str
) -> None:
    operation: Operation = route.operations[verb]
    dice = random.Random(f"{verb} {route.path}")  # noqa: S311 - the same requests in each run
    engine = beside(cluster)
    job = await engine.launch(POOL, a_spec(), EMPTY)
    cluster.jobs[job.id].files["cell.py"] = b"x = 1"
    for _ in range(REQUESTS):
        path = _path(dice, route.path, job.id)
        asked = [query for query in operation.query if dice.random() < 0.7]
        query = {each.name: dice.choice(TEXTS) for each in asked}
        body = _body(dice, operation) if verb != "get" else None
        if operation.answer is bytes:
            response = await api.fetch("GET", path, **query)
            assert response.code in {200, 400, 404}, (path, query)
        else:
            status, answer = await api.ask(verb.upper(), path, body, **query)
            assert status != 500, (path, query, body, answer)
    engine.store.close()
