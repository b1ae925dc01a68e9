"""No endpoint of ours answers anybody who is not logged in, or not allowed to."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from http.cookies import SimpleCookie
from typing import Any

import pytest
from jupyter_server.auth import Authorizer
from tornado.httpclient import HTTPClientError
from tornado.web import RequestHandler

from jupyter_aiinfra.server.app import ROUTES
from jupyter_aiinfra.server.routes import Route

Fetch = Callable[..., Awaitable[Any]]

SAMPLES = {"name": "here", "id": "0abc", "other": "0abd", "rank": "0", "path": "results/history"}
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
    nobody.asked.clear()
    with pytest.raises(HTTPClientError) as refused:
        await jp_fetch("aiinfra", path, **_body(verb))
    assert refused.value.code == 403
    assert [resource for _, resource in nobody.asked] == ["aiinfra"]


# Asking by POST, since what is asked about does not fit an address; nothing is changed by it.
ASKING = {("POST", "launch-line")}
WRITING = [each for each in ENDPOINTS if each[0] != "GET" and each not in ASKING]


def test_there_are_endpoints_that_write() -> None:
    assert {verb for verb, _ in WRITING} >= {"POST", "DELETE"}
    assert set(ENDPOINTS) >= ASKING


class Reader(Authorizer):
    """Lets everybody read, and nobody do anything else."""

    def is_authorized(self, handler: Any, user: Any, action: str, resource: str) -> bool:
        return action == "read"


async def _status(fetch: Callable[[], Awaitable[Any]]) -> int:
    try:
        response = await fetch()
    except HTTPClientError as refused:
        return refused.code
    return int(response.code)


@pytest.mark.parametrize(("verb", "path"), ENDPOINTS)
async def test_who_may_only_read_writes_nothing(
    jp_fetch: Fetch, jp_serverapp: Any, verb: str, path: str
) -> None:
    jp_serverapp.web_app.settings["authorizer"] = Reader(parent=jp_serverapp)
    status = await _status(lambda: jp_fetch("aiinfra", path, **_body(verb)))
    assert (status == 403) == ((verb, path) in WRITING)


@pytest.mark.parametrize(("verb", "path"), WRITING)
async def test_a_cookie_alone_writes_nothing(
    http_server_client: Any,
    jp_serverapp: Any,
    jp_base_url: str,
    verb: str,
    path: str,
) -> None:
    token = jp_serverapp.identity_provider.token
    cookies: SimpleCookie = SimpleCookie()
    # The form sets one cookie, getting past it the other.
    for page in ("login", f"login?token={token}"):
        answer = await http_server_client.fetch(
            jp_base_url + page, follow_redirects=False, raise_error=False
        )
        for cookie in answer.headers.get_list("Set-Cookie"):
            cookies.load(cookie)
    sent = "; ".join(f"{name}={morsel.coded_value}" for name, morsel in cookies.items())
    url = f"{jp_base_url}aiinfra/{path}"

    def fetch(**headers: str) -> Awaitable[Any]:
        given = {"Cookie": sent, **headers}
        answer: Awaitable[Any] = http_server_client.fetch(url, headers=given, **_body(verb))
        return answer

    assert await _status(fetch) == 403
    xsrf = cookies["_xsrf"].value
    assert await _status(lambda: fetch(**{"X-XSRFToken": "of another site"})) == 403
    # With it the same request gets through to the endpoint, which finds nothing to work on.
    assert await _status(lambda: fetch(**{"X-XSRFToken": xsrf})) in {400, 404}
