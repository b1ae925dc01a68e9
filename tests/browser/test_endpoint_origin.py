"""A page of another origin calls an endpoint by ``fetch``, with a key, where it was let to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.support.bench import wait_until
from tests.support.endpoints import model
from tests.support.lab import PATIENCE_MS, Lab

STARTS = 120.0

# As a web page has it: JSON, and a key in either of the two headers; a refusal of the browser
# itself is told by its kind, as it says no more of it.
CALL = """async ([url, headers]) => {
    try {
        const answer = await fetch(`${url}/predict`, {
            method: 'POST',
            headers: { 'Content-Type': 'application/json', ...headers },
            body: JSON.stringify({ inputs: [[1, 2]] })
        });
        return [answer.status, (await answer.json()).outputs ?? null];
    } catch (error) {
        return [error.name, null];
    }
}"""


class Shop(BaseHTTPRequestHandler):
    """A site that has nothing to do with ours."""

    def do_GET(self) -> None:
        page = b"<!doctype html><title>Shop</title>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def origins() -> Iterator[tuple[str, str]]:
    """Yield the origins of two sites."""
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), Shop) for _ in range(2)]
    threads = [threading.Thread(target=each.serve_forever) for each in servers]
    for thread in threads:
        thread.start()
    first, second = (f"http://127.0.0.1:{each.server_port}" for each in servers)
    yield first, second
    for server in servers:
        server.shutdown()
        server.server_close()
    for thread in threads:
        thread.join()


@pytest.fixture
def endpoint(lab: Lab) -> Iterator[str]:
    """Yield the id of an endpoint that adds."""
    lab.site.attach()
    model(lab.site.work / "adder")
    asked = {"folder": "adder", "pool": "here", "workers": 1}
    made = lab.ask("POST", "/aiinfra/endpoints", asked)["id"]
    address = f"/aiinfra/endpoint/{made}"
    wait_until(lambda: lab.ask("GET", address)["item"]["state"] == "ready", seconds=STARTS)
    yield made
    lab.ask("DELETE", address)
    wait_until(lambda: not lab.site.store.list_jobs(active=True), seconds=STARTS)


def test_a_page_of_another_origin_calls_it_with_a_key(
    browser: Any, lab: Lab, endpoint: str, origins: tuple[str, str]
) -> None:
    address = f"/aiinfra/endpoint/{endpoint}"
    shop, other = origins
    url = lab.ask("GET", address)["item"]["url"]
    key = lab.ask("POST", f"{address}/keys", {"name": "shop"})["secret"]
    context = browser.new_context()
    context.set_default_timeout(PATIENCE_MS)
    try:
        page = context.new_page()
        page.goto(shop)

        def call(headers: dict[str, str]) -> list[Any]:
            return list(page.evaluate(CALL, [url, headers]))

        with_key = {"X-API-Key": key}
        # Nobody has said that its pages may: the browser keeps the answer from it.
        assert call(with_key) == ["TypeError", None]
        lab.ask("PUT", f"{address}/options", {"cors": [shop]})
        wait_until(lambda: call(with_key) == [200, [[3]]], seconds=STARTS)
        assert call({"Authorization": f"Bearer {key}"}) == [200, [[3]]]
        # What is wrong with a call the page is told, too.
        assert call({}) == [401, None]
        assert call({"X-API-Key": "another"}) == [401, None]
        page.goto(other)
        assert call(with_key) == ["TypeError", None]
    finally:
        context.close()
