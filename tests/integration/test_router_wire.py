"""What clients send over HTTP, and what of it the router sends on, refuses, and gives back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_aiinfra.routing.keys import new_key
from tests.integration.router_client import HEAD, client, echo, length, routed
from tests.integration.router_home import Router, until


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    with Router(tmp_path_factory.mktemp("router")) as one:
        yield one


# --- what goes on, and what does not ------------------------------------------------------------


async def test_a_request_goes_through(router: Router, tmp_path: Path) -> None:
    async with routed(router, tmp_path, echo) as (replica,), client(router) as one:
        lines = b"Connection: x-hop, keep-alive\r\nX-Hop: 1\r\nTE: trailers\r\nX-Goes: 1\r\n"
        one.writer.write(HEAD + lines + length(b'{"x":1}'))
        head = await one.head()
        assert await one.reader.readexactly(7) == b'{"x":1}'
        assert b"\r\nx-mine: 1\r\n" in head
        assert b"\r\nx-endpoint-version: 1\r\n" in head
        (told,) = replica.heads
        assert told.startswith(b"POST /predict HTTP/1.1\r\n")
        assert b"x-goes: 1" in told
        assert b"x-forwarded-prefix: /a\r\n" in told
        assert not {b"x-hop", b"te:", b"connection"} & set(told.split())
        # The same connection, on either side.
        target = b"GET http://e/a/some/path?x=1 HTTP/1.1\r\nHost: e\r\n\r\n"
        assert (await one.ask(target))[0] == 200
        assert replica.heads[1].startswith(b"GET /some/path?x=1 HTTP/1.1\r\n")


@pytest.mark.parametrize("size", [0, 10, 70_000, 3_000_000])
@pytest.mark.parametrize("chunks", [False, True])
async def test_bodies(router: Router, tmp_path: Path, size: int, chunks: bool) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    async with routed(router, tmp_path, echo), client(router) as one:
        if chunks:
            parts = [body[begin : begin + 50_000] for begin in range(0, size, 50_000)]
            sent = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
            told = await one.ask(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + sent + b"0\r\n\r\n")
        else:
            told = await one.ask(HEAD + length(body))
        assert told == (200, body)
        assert (await one.ask(HEAD + length(b"1"))) == (200, b"1")


async def test_requests_one_after_the_other_without_waiting(router: Router, tmp_path: Path) -> None:
    async with routed(router, tmp_path, echo), client(router) as one:
        bodies = [b"%d" % number for number in range(200)]
        for number, body in enumerate(bodies):
            path = b"/nobody/predict" if number % 10 == 3 else b"/a/predict"
            one.writer.write(b"POST " + path + b" HTTP/1.1\r\nHost: e\r\n" + length(body))
        for number, body in enumerate(bodies):
            status, told = await one.answer()
            assert (status, status == 404 or told == body) == (
                404 if number % 10 == 3 else 200,
                True,
            )


async def test_parts_come_as_they_are_made(router: Router, tmp_path: Path) -> None:
    more = asyncio.Event()

    async def events(_: bytes, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kind = b"content-type: text/event-stream\r\n"
        writer.write(b"HTTP/1.1 200 OK\r\n" + kind + b"transfer-encoding: chunked\r\n\r\n")
        writer.write(b"9\r\ndata: 1\n\n\r\n")
        await more.wait()
        writer.write(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")

    async with routed(router, tmp_path, events), client(router) as one:
        one.writer.write(HEAD + length(b""))
        assert b"transfer-encoding: chunked" in await one.head()
        assert await one.reader.readuntil(b"data: 1\n\n\r\n") == b"9\r\ndata: 1\n\n\r\n"
        more.set()
        rest = await one.reader.readuntil(b"0\r\n\r\n")
        assert rest == b"9\r\ndata: 2\n\n\r\n0\r\n\r\n"


async def test_answers_without_a_body(router: Router, tmp_path: Path) -> None:
    async def bare(head: bytes, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if head.startswith(b"HEAD"):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n")
        else:
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with routed(router, tmp_path, bare), client(router) as one:
        for method, said in ((b"HEAD", b"content-length: 99"), (b"GET", b" 204 ")) * 3:
            one.writer.write(method + b" /a/x HTTP/1.1\r\nHost: e\r\n\r\n")
            assert said in await one.head()


async def test_old_clients_and_old_replicas(router: Router, tmp_path: Path) -> None:
    async def old(_: bytes, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nuntil the end")
        writer.close()

    async with routed(router, tmp_path, old):
        async with client(router) as one:
            one.writer.write(b"GET /a/x HTTP/1.0\r\n\r\n")
            assert b"connection: close" in await one.head()
            assert await one.end() == b"until the end"
        async with client(router) as one:
            one.writer.write(b"GET /a/x HTTP/1.1\r\nHost: e\r\n\r\n")
            assert b"transfer-encoding: chunked" in await one.head()
            assert await one.reader.readuntil(b"0\r\n\r\n") == b"d\r\nuntil the end\r\n0\r\n\r\n"


async def test_a_large_body_is_asked_for(router: Router, tmp_path: Path) -> None:
    async with routed(router, tmp_path, echo, max_body=1000), client(router) as one:
        lines = b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        one.writer.write(HEAD + lines)
        assert await one.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert await one.ask(b"abc") == (200, b"abc")
        # Nobody sends what will not be read.
        one.writer.write(HEAD + lines.replace(b" 3", b" 3000"))
        assert (await one.answer())[0] == 413
        assert await one.end() == b""


# --- what is refused -----------------------------------------------------------------------------


REFUSED = {
    "no http": (b"\x16\x03\x01nonsense\r\n\r\n", 400),
    "no endpoint": (b"GET /b/x HTTP/1.1\r\nHost: e\r\n\r\n", 404),
    "metrics to be changed": (b"POST /a/metrics HTTP/1.1\r\nHost: e\r\n" + length(b"1"), 405),
    "no path": (b"OPTIONS * HTTP/1.1\r\nHost: e\r\n\r\n", 404),
    "a proxy": (b"CONNECT e:443 HTTP/1.1\r\nHost: e\r\n\r\n", 501),
    "a websocket": (
        b"GET /a/x HTTP/1.1\r\nHost: e\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        501,
    ),
    "two lengths": (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400),
    "length and chunks": (
        HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "a length that is none": (HEAD + b"Content-Length: -1\r\n\r\n", 400),
    "chunks that are none": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", 400),
    "another coding": (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "a large head": (HEAD + b"X: " + b"x" * 70_000, 431),
    "a large body": (HEAD + length(b"x" * 2000), 413),
    "large chunks": (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n7d0\r\n" + b"x" * 2000 + b"\r\n0\r\n\r\n",
        413,
    ),
    "a body that does not come": (HEAD + b"Content-Length: 10\r\n\r\n{", 408),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_refused(router: Router, tmp_path: Path, name: str) -> None:
    sent, status = REFUSED[name]
    told = {"max_body": 1000, "body_timeout": 0.3}
    async with routed(router, tmp_path, echo, **told), client(router) as one:
        answered, body = await one.ask(sent)
        assert answered == status
        assert json.loads(body)["error"]
        async with client(router) as other:
            assert await other.ask(HEAD + length(b"1")) == (200, b"1")


async def test_a_body_that_grows_too_large_on_its_way(router: Router, tmp_path: Path) -> None:
    async with routed(router, tmp_path, echo, max_body=200_000), client(router) as one:
        chunk = b"%x\r\n%b\r\n" % (100_000, b"x" * 100_000)
        one.writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk)
        await asyncio.to_thread(until, lambda: router.of("a").versions["1"].in_flight == 1)
        assert (await one.ask(2 * chunk))[0] == 413
        # The replica that had begun to read it is let go.
        await asyncio.to_thread(until, lambda: router.of("a").versions["1"].in_flight == 0)


async def test_another_protocol_is_not_taken_up(router: Router, tmp_path: Path) -> None:
    async with routed(router, tmp_path, echo), client(router) as one:
        lines = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n"
        one.writer.write(b"GET /a/x HTTP/1.1\r\nHost: e\r\n" + lines)
        assert (await one.head()).startswith(b"HTTP/1.1 200 ")
        assert await one.end() == b""


async def test_keys_scopes_and_rates(router: Router, tmp_path: Path) -> None:
    good, key = new_key("anna")
    metrics, other = new_key("prometheus", scopes=("metrics",))
    seldom, slow = new_key("ben", per_second=0.001)

    def status(secret: str, path: str = "/a/predict", method: str = "POST") -> int:
        headers = {"Authorization": f"Bearer {secret}"}
        return router.ask(path, b"1", headers, method=method).status

    async with routed(router, tmp_path, echo, keys=(key, other, slow)) as (replica,):

        def asked() -> None:
            assert status(good) == 200
            assert router.ask("/a/predict", b"1", {"X-API-Key": good}).status == 200
            assert status("") == 401
            assert status(good + "x") == 401
            assert status(metrics) == 403
            assert status(metrics, "/a/metrics", "GET") == 200
            assert status(good, "/a/metrics", "GET") == 403
            assert [status(seldom), status(seldom)] == [200, 429]
            told = router.ask("/a/predict", b"1", {"X-API-Key": seldom})
            assert 1 <= int(told.headers["retry-after"]) <= 1000
            # Monitors ask without one, and so do the user's own programs.
            assert status("", "/a/readyz", "GET") == 200
            assert router.inside("/a/predict")[0] == 200

        await asyncio.to_thread(asked)
        assert good.encode() not in b"".join(replica.heads)
        assert good not in router.log.read_text()


async def test_nobody_may(router: Router, tmp_path: Path) -> None:
    async with routed(router, tmp_path, echo, keys=()), client(router) as one:
        assert (await one.ask(HEAD + length(b"1")))[0] == 401


async def test_pages_of_an_origin_may_call(router: Router, tmp_path: Path) -> None:
    _, key = new_key("anna")
    known = {"cors": ("https://good.example",), "keys": (key,)}
    async with routed(router, tmp_path, echo, **known), client(router) as one:
        for origin, may in ((b"https://good.example", True), (b"https://bad.example", False)):
            asked = b"Origin: " + origin + b"\r\nAccess-Control-Request-Method: POST\r\n\r\n"
            one.writer.write(b"OPTIONS /a/predict HTTP/1.1\r\nHost: e\r\n" + asked)
            head = await one.head()
            assert head.startswith(b"HTTP/1.1 204 ")
            assert (b"access-control-allow-origin: " + origin in head) is may
        one.writer.write(HEAD + b"Origin: https://good.example\r\n" + length(b"1"))
        head = await one.head()
        # A page reads why it was refused, too.
        assert head.startswith(b"HTTP/1.1 401 ")
        assert b"access-control-allow-origin: https://good.example" in head
