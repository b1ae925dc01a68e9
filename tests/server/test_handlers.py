"""Every refusal has one shape, also where it is Jupyter that refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.served import Api


@pytest.mark.parametrize(
    ("verb", "path", "allowed"),
    [
        ("PATCH", "pools", {"GET", "POST", "OPTIONS"}),
        ("POST", "health", {"GET", "OPTIONS"}),
        ("GET", "jobs/0/cancel", {"POST", "OPTIONS"}),
    ],
)
async def test_a_verb_that_is_not_there(api: Api, verb: str, path: str, allowed: set[str]) -> None:
    response = await api.fetch(verb, path, b"{}")
    assert response.code == 405
    assert set(response.headers["Allow"].split(", ")) == allowed
    told = {"hint": "", "option": None, "command": "", "host_key": None}
    assert response.headers["Content-Type"].startswith("application/json")
    assert json.loads(response.body) == {"message": "Method Not Allowed", **told}


async def test_nobody(http_server_client: Any, jp_base_url: str) -> None:
    stranger = Api(http_server_client, base_url=jp_base_url, headers={})
    status, message, hint = await stranger.refused("GET", "pools")
    assert (status, message, hint) == (403, "Forbidden", "")
