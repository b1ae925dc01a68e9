"""No endpoint of ours answers anybody who is not logged in, or not allowed to."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from jupyter_server.auth import Authorizer
from tornado.httpclient import HTTPClientError
from tornado.web import RequestHandler

from jupyter_aiinfra.server.app import ROUTES
from jupyter_aiinfra.server.routes import Route

Fetch = Callable[..., Awaitable[Any]]

SAMPLES = {"name": "here", "id": "0abc", "rank": "0", "path": "results/history"}
ENDPOINTS = [
    (verb.upper(), re.sub(r"\{(\w+)\}", lambda found: SAMPLES[found[1]], route.path))
    for route in ROUTES
    for verb in route.operations
]


def _body(verb: str) -> dict[str, Any]:
    return {"method": verb, "allow_nonstandard_methods": True}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_table_names_every_verb_that_answers(route: Route) -> None:
    answers = {
        verb
        for verb in ("get", "post", "put", "patch", "delete")
        if getattr(route.handler, verb) is not getattr(RequestHandler, verb)
    }
    # A socket is opened by a GET that is no operation.
    assert answers - set(route.operations) <= ({"get"} if not route.operations else set())


@pytest.mark.parametrize(("verb", "path"), ENDPOINTS)
@pytest.mark.parametrize("authorization", [None, "token wrong", "Bearer wrong"])
async def test_stranger_is_refused(
    http_server_client: Any,
    jp_serverapp: Any,
    jp_base_url: str,
    verb: str,
    path: str,
    authorization: str | None,
) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    with pytest.raises(HTTPClientError) as refused:
        await http_server_client.fetch(
            f"{jp_base_url}aiinfra/{path}", headers=headers, **_body(verb)
        )
    assert refused.value.code == 403


class Nobody(Authorizer):
    """Lets nobody do anything of ours, and remembers what was asked."""

    asked: list[tuple[str, str]] = []  # noqa: RUF012 - traitlets makes the instance

    def is_authorized(self, handler: Any, user: Any, action: str, resource: str) -> bool:
        self.asked.append((action, resource))
        return resource != "aiinfra"


@pytest.mark.parametrize(("verb", "path"), ENDPOINTS)
async def test_user_without_permission_is_refused(
    jp_fetch: Fetch, jp_serverapp: Any, verb: str, path: str
) -> None:
    jp_serverapp.web_app.settings["authorizer"] = nobody = Nobody(parent=jp_serverapp)
    with pytest.raises(HTTPClientError) as refused:
        await jp_fetch("aiinfra", path, **_body(verb))
    assert refused.value.code == 403
    assert [resource for _, resource in nobody.asked] == ["aiinfra"]
