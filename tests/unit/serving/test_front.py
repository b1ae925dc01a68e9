"""Requests over a real socket: those answered by the front and those lent to uvicorn, mixed."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from jupyter_aiinfra.serving import formats, front, heads
from jupyter_aiinfra.serving.app import App, Options
from jupyter_aiinfra.serving.batcher import Limits
from jupyter_aiinfra.serving.front import Front
from jupyter_aiinfra.serving.keys import Keys, new_key
from jupyter_aiinfra.serving.lent import Fronts
from jupyter_aiinfra.serving.model import Served
from jupyter_aiinfra.serving.schema import Batch, Field, Signature


def double(batch: Any) -> Batch:
    return {"y": batch["x"] * 2}


DOUBLE = Served(
    name="double",
    version="3",
    loader="function",
    signature=Signature(inputs=(Field(name="x", shape=(2,)),)),
    predict=double,
    example={"x": np.ones((1, 2), np.float32)},
    single_seconds=0,
)


def request(
    body: bytes = b'{"inputs": [[1, 2]]}', *lines: str, path: str = "/predict", method: str = "POST"
) -> bytes:
    """Return a request with a length."""
    head = [f"{method} {path} HTTP/1.1", "Host: e", *lines]
    if method == "POST":
        head.append(f"Content-Length: {len(body)}")
    else:
        body = b""
    return "\r\n".join([*head, "", ""]).encode() + body


class Place:
    """A worker's connections without its process."""

    def __init__(self, app: App, server: asyncio.Server, state: ServerState) -> None:
        self.app = app
        self.state = state
        self._server = server

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = self._server.sockets[0].getsockname()[:2]
        return await asyncio.open_connection(host, port)

    @property
    def only(self) -> Any:
        (one,) = self.state.connections
        return one


@asynccontextmanager
async def placed(app: App) -> AsyncIterator[Place]:
    fronts, state = Fronts(app), ServerState()
    config = uvicorn.Config(app, lifespan="off", log_config=None, ws="none")
    config.load()

    def made() -> Front:
        return fronts(config=config, server_state=state, app_state={})

    server = await asyncio.get_running_loop().create_server(made, "127.0.0.1", 0)
    try:
        yield Place(app, server, state)
    finally:
        server.close()
        for one in [*state.connections]:
            one.transport.abort() if hasattr(one, "transport") else one.shutdown()
        app.close()


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with placed(App(DOUBLE)) as made:
        yield made


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Read one answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    told = dict(line.lower().split(": ", 1) for line in head[1:] if line)
    if told.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    else:
        body = await reader.readexactly(int(told.get("content-length", 0)))
    return int(head[0].split()[1]), told, body


async def until(holds: Callable[[], bool]) -> None:
    """Let the others go on until `holds`."""

    async def wait() -> None:
        while not holds():  # noqa: ASYNC110 - what is waited for is no event
            await asyncio.sleep(0.001)

    await asyncio.wait_for(wait(), 10)


def outputs(body: bytes) -> Any:
    return json.loads(body)["outputs"]


async def test_what_is_lent_comes_back(place: Place) -> None:
    reader, writer = await place.dial()
    chunked = (
        b"POST /predict HTTP/1.1\r\nHost: e\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"14\r\n" + b'{"inputs": [[7, 2]]}' + b"\r\n0\r\n\r\n"
    )
    for sent, status in (
        (request(), 200),
        (request(path="/healthz", method="GET"), 200),
        (chunked, 200),
        (request(path="/predict?a=b"), 200),
        (request(path="/predict", method="GET"), 405),
        (request(path="/nothing"), 404),
        (request(path="/v2/health/live", method="GET"), 200),
        (request(path="/v2/models/double", method="GET"), 200),
        (request(b'{"inputs": [[1, 2, 3]]}'), 400),
        (request(b'{"inputs": {"x": [[1, 2]]}}', path="/invocations"), 200),
    ):
        writer.write(sent)
        told = await answer(reader)
        assert told[0] == status, (sent, told)
        assert type(place.only) is Front
    writer.close()


async def test_all_at_once_are_answered_in_order(place: Place) -> None:
    reader, writer = await place.dial()
    sent = []
    for number in range(200):
        sent.append(request(b'{"inputs": [[%d, 0]]}' % number))
        if number % 50 == 25:
            sent.append(request(path="/healthz", method="GET"))
    writer.write(b"".join(sent))
    for number in range(200):
        assert outputs((await answer(reader))[2]) == [[2 * number, 0]]
        if number % 50 == 25:
            # uvicorn has the rest of what came with it, too.
            assert json.loads((await answer(reader))[2]) == {"status": "alive"}
    writer.close()


async def test_it_says_how_many_may_be_under_way(place: Place) -> None:
    reader, writer = await place.dial()
    writer.write(request(path="/readyz", method="GET"))
    _, told, _ = await answer(reader)
    assert told["x-endpoint-pipeline"] == f"{front.MOST};workers=1"
    writer.close()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 60), max_size=12), st.integers(1, 500))
def test_bytes_come_in_any_pieces(cuts: list[int], pad: int) -> None:
    async def asked() -> None:
        async with placed(App(DOUBLE)) as place:
            sent = b"".join(
                request(b'{"inputs": [[%d, 0]]}' % n + b" " * pad, "Accept: */*") for n in range(4)
            )
            one = Fronts(place.app)(
                config=uvicorn.Config(place.app), server_state=place.state, app_state={}
            )
            wire = Wire()
            one.connection_made(wire)
            for cut in cuts:
                one.data_received(sent[:cut])
                sent = sent[cut:]
            one.data_received(sent)
            await place.app.batcher.drained()
            bodies = [part.partition(b"}HTTP")[0] for part in wire.written.split(b"\r\n\r\n")[1:]]
            found = [msgspec.json.decode(b.rstrip(b"}") + b"}")["outputs"] for b in bodies]
            assert found == [[[2 * n, 0]] for n in range(4)]
            one.connection_lost(None)

    asyncio.run(asked())


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.writes = 0
        self.closed = False

    def write(self, data: Any) -> None:
        self.writes += 1
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


async def test_it_says_to_go_on_to_a_client_that_asks(place: Place) -> None:
    reader, writer = await place.dial()
    body = b'{"inputs": [[1, 2]]}'
    whole = request(body, "Expect: 100-continue")
    writer.write(whole[: -len(body)])
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
    writer.write(body)
    assert outputs((await answer(reader))[2]) == [[2, 4]]
    writer.close()


@pytest.mark.parametrize("line", ["Connection: close", "connection: Close"])
async def test_the_last_request_of_a_connection(place: Place, line: str) -> None:
    reader, writer = await place.dial()
    body = b'{"inputs": [[1, 2]]}'
    writer.write(request(body, line)[: -len(body)])
    await asyncio.sleep(0)
    writer.write(body + request())
    status, told, _ = await answer(reader)
    assert (status, told["connection"]) == (200, "close")
    assert await reader.read() == b""
    writer.close()


async def test_old_clients(place: Place) -> None:
    reader, writer = await place.dial()
    writer.write(request().replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert outputs((await answer(reader))[2]) == [[2, 4]]
    assert await reader.read() == b""
    writer.close()


async def test_bytes_in_and_out_and_packed(place: Place) -> None:
    reader, writer = await place.dial()
    many = np.ones((600, 2), np.float32)
    body = gzip.compress(json.dumps({"inputs": many.tolist()}).encode())
    writer.write(request(body, "Content-Encoding: gzip", "Accept-Encoding: gzip"))
    _, told, packed = await answer(reader)
    assert (told["content-encoding"], told["vary"]) == ("gzip", "accept-encoding")
    assert outputs(gzip.decompress(packed)) == (many * 2).tolist()
    for kind, read, written in (
        (formats.NPY, formats.from_npy, formats.to_npy(many)),
        (
            formats.SAFETENSORS,
            lambda body: formats.from_safetensors(body)["y"],
            formats.to_safetensors({"x": many}),
        ),
    ):
        writer.write(request(written, f"Content-Type: {kind}"))
        _, told, body = await answer(reader)
        assert told["content-type"] == kind
        assert np.array_equal(read(body), many * 2)
    for body, said in ((b"\x1f\x8bxx", "no gzip"), (gzip.compress(b"x" * 99)[:-9], "ends early")):
        writer.write(request(body, "Content-Encoding: gzip"))
        status, _, told_now = await answer(reader)
        assert (status, said in json.loads(told_now)["error"]) == (400, True)
    writer.close()


class TestWhatIsRefused:
    async def test_a_body_that_is_too_large_while_it_comes(self) -> None:
        async with placed(App(DOUBLE, options=Options(body_bytes=1000))) as place:
            reader, writer = await place.dial()
            writer.write(request(b" " * 2000)[:-1000])
            status, told, body = await answer(reader)
            assert (status, told["connection"]) == (413, "close")
            assert "at most 1,000" in json.loads(body)["error"]
            # It goes on sending, and is not cut off before it has read that.
            writer.write(b" " * 1000)
            assert await reader.read() == b""
            writer.close()

    async def test_a_body_that_unpacks_to_too_much(self) -> None:
        async with placed(App(DOUBLE, options=Options(body_bytes=1000))) as place:
            reader, writer = await place.dial()
            writer.write(request(gzip.compress(b" " * 10000), "Content-Encoding: gzip"))
            assert (await answer(reader))[0] == 413
            writer.close()

    async def test_a_head_that_is_too_large(self, place: Place) -> None:
        reader, writer = await place.dial()
        writer.write(request(b"", "X: " + "a" * 70000)[:66000])
        status, told, _ = await answer(reader)
        assert (status, told["connection"]) == (431, "close")
        writer.close()

    async def test_a_slow_body(self) -> None:
        async with placed(App(DOUBLE, options=Options(body_seconds=0.02))) as place:
            reader, writer = await place.dial()
            writer.write(request() + request()[:-3])
            assert (await answer(reader))[0] == 200
            status, told, _ = await answer(reader)
            assert (status, told["connection"]) == (408, "close")
            writer.close()

    async def test_a_slow_head(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(front, "_HEAD_SECONDS", 0.02)
        reader, writer = await place.dial()
        writer.write(request()[:20])
        assert (await answer(reader))[0] == 408
        writer.close()

    @pytest.mark.parametrize("sent", [b"\x16\x03\x01", b"\r\n\r\nPOST\r\n\r\n", b"A B\r\n\r\n"])
    async def test_what_is_no_http(self, place: Place, sent: bytes) -> None:
        reader, writer = await place.dial()
        writer.write(sent)
        assert (await answer(reader))[0] == 400
        assert await reader.read() == b""
        writer.close()

    async def test_a_stranger_before_the_body_is_there(self, tmp_path: Path) -> None:
        secret, key = new_key("anna")
        (tmp_path / "keys.json").write_bytes(msgspec.json.encode([key]))
        async with placed(App(DOUBLE, keys=Keys(tmp_path / "keys.json"))) as place:
            reader, writer = await place.dial()
            writer.write(request(b" " * 9000)[:-1])
            assert (await answer(reader))[0] == 401
            writer.close()
            reader, writer = await place.dial()
            for line, status in (
                ("X-API-Key: aii_anna_no", 401),
                (f"X-API-Key: {secret}", 200),
                (f"Authorization: Bearer {secret}", 200),
            ):
                writer.write(request(b'{"inputs": [[1, 2]]}', line))
                assert (await answer(reader))[0] == status
            writer.write(request(path="/ping", method="GET"))
            assert (await answer(reader))[0] == 200
            writer.close()

    async def test_an_answer_that_cannot_be_told(self, place: Place) -> None:
        place.app.asked["/predict"].write = None  # type: ignore[method-assign, assignment]
        reader, writer = await place.dial()
        writer.write(request())
        status, _, body = await answer(reader)
        assert (status, "it is in the log" in json.loads(body)["error"]) == (500, True)
        writer.close()


async def test_pages_of_others() -> None:
    async with placed(App(DOUBLE, options=Options(origins=("https://good.example",)))) as place:
        reader, writer = await place.dial()
        for origin, allowed in (("https://good.example", True), ("https://bad.example", False)):
            writer.write(request(b'{"inputs": [[1, 2]]}', f"Origin: {origin}"))
            _, told, _ = await answer(reader)
            assert ("access-control-allow-origin" in told) == allowed
        writer.close()


class Held:
    """A model that answers when it is let go."""

    def __init__(self) -> None:
        self.go, self.begun = threading.Event(), threading.Event()
        self.sizes: list[int] = []

    def __call__(self, batch: Any) -> Batch:
        self.sizes.append(len(batch["x"]))
        self.begun.set()
        assert self.go.wait(10)
        return double(batch)

    async def running(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self.begun.wait, 10)


async def test_a_client_that_goes_is_not_computed() -> None:
    model = Held()
    app = App(replace(DOUBLE, predict=model, single_seconds=1.0))
    async with placed(app) as place:
        stays_reader, stays = await place.dial()
        stays.write(request())
        await model.running()
        _, goes = await place.dial()
        goes.write(request() + request(b'{"inputs": [[9, 9], [9, 9]]}'))
        await until(lambda: app.batcher.queued_rows == 3)
        goes.transport.abort()
        await until(lambda: len(place.state.connections) == 1)
        model.go.set()
        assert (await answer(stays_reader))[0] == 200
        await app.batcher.drained()
        assert model.sizes == [1]
        text = app.metrics.text(model="m", version="1")
        assert 'code="499"} 2' in text
        assert 'active_requests{model="m",version="1"} 0' in text
        stays.close()


async def test_what_is_under_way_is_answered_before_it_ends() -> None:
    model = Held()
    app = App(replace(DOUBLE, predict=model, single_seconds=1.0))
    async with placed(app) as place:
        idle, bored = await place.dial()
        reader, writer = await place.dial()
        writer.write(request())
        await model.running()
        for one in [*place.state.connections]:
            one.shutdown()
        assert await idle.read() == b""
        model.go.set()
        status, told, _ = await answer(reader)
        assert (status, told["connection"]) == (200, "close")
        assert await reader.read() == b""
        assert not place.state.connections
        bored.close()
        writer.close()


async def test_all_that_was_asked_is_answered_before_it_ends() -> None:
    model = Held()
    app = App(replace(DOUBLE, predict=model, single_seconds=1.0))
    async with placed(app) as place:
        reader, writer = await place.dial()
        writer.write(b"".join(request(b'{"inputs": [[%d, 0]]}' % n) for n in range(5)))
        await model.running()
        await until(lambda: len(place.only._items) == 5)
        place.only.shutdown()
        # Too late, as it says with the last answer.
        writer.write(request(b'{"inputs": [[5, 0]]}'))
        model.go.set()
        for number in range(5):
            status, told, body = await answer(reader)
            assert (status, outputs(body)) == (200, [[2 * number, 0]])
            assert ("connection" in told) == (number == 4)
        assert await reader.read() == b""
        writer.close()
        await until(lambda: not place.state.connections)


async def test_a_batch_of_one_connection_is_answered_by_few_writes() -> None:
    async with placed(App(DOUBLE)) as place:
        one = Fronts(place.app)(
            config=uvicorn.Config(place.app), server_state=place.state, app_state={}
        )
        wire = Wire()
        one.connection_made(wire)
        one.data_received(request() * 10)
        await until(lambda: wire.written.count(b"HTTP/1.1 200") == 10)
        assert wire.writes == 2
        one.data_received(request() * 7)
        await until(lambda: wire.written.count(b"HTTP/1.1 200") == 17)
        assert wire.writes == 3
        one.data_received(request())
        await until(lambda: wire.writes == 4)
        one.connection_lost(None)


async def test_who_does_not_read_is_not_asked_for() -> None:
    limits = Limits(queue=100_000)
    async with placed(App(DOUBLE, options=Options(limits=limits))) as place:
        reader, writer = await place.dial()
        body = json.dumps({"inputs": [[1, 2]] * 400}).encode()
        writer.write(request(body) * 3000)
        await until(lambda: place.only._choked and place.only._held)
        text = place.app.metrics.text(model="m", version="1")
        assert float(text.split('code="200"} ')[1].split()[0]) < 3000
        for _ in range(3000):
            assert (await answer(reader))[0] == 200
        place.only.check(asyncio.get_running_loop().time() + 70, 75)
        assert not place.only._transport.is_closing()
        writer.close()


async def test_who_is_idle_is_let_go(place: Place) -> None:
    reader, writer = await place.dial()
    writer.write(request())
    await answer(reader)
    now = asyncio.get_running_loop().time()
    place.only.check(now + 70, 75)
    assert not reader.at_eof()
    place.only.check(now + 80, 75)
    assert await reader.read() == b""
    writer.close()


async def test_heads_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "_KEPT", 8)
    app = App(DOUBLE)
    known = heads.Heads(app)
    for number in range(100):
        head = request(b"", f"X: {number}").removesuffix(b"\r\n\r\n")
        found = known.of(head)
        assert found is not None
        assert known.of(head) is found
    assert len(known._known) <= 8
    long = request(b"", "X: " + "a" * 4000).removesuffix(b"\r\n\r\n")
    assert known.of(long) is not known.of(long)
    app.close()
