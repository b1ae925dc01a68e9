"""Replicas fail, are late or not there, get copies; what is sampled, and what is told of it."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from jupyter_aiinfra.routing.config import Rollout, Sampling, Share
from tests.integration.router_client import (
    HEAD,
    body_of,
    client,
    echo,
    length,
    routed,
    versions,
)
from tests.integration.router_home import Handler, Router, Scripted, answer, endpoint, until


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    with Router(tmp_path_factory.mktemp("router")) as one:
        yield one


ONLY_ONE = (Share(version="1", weight=1),)


# --- replicas that fail --------------------------------------------------------------------------


async def gone(_: bytes, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def test_another_replica_is_asked(router: Router, tmp_path: Path) -> None:
    async with routed(router, tmp_path, gone, echo) as (bad, _), client(router) as one:
        for number in range(8):
            body = b"%d" % number
            assert await one.ask(HEAD + length(body)) == (200, body)
        assert bad.heads
        errors = router.of("a").versions["1"].errors
        assert errors == 0


async def test_what_was_lost_twice_waits_until_somebody_says_that_he_is_up(
    router: Router, tmp_path: Path
) -> None:
    async def goes(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(bad.heads) == 2:
            bad.ready = False
        if bad.ready and len(bad.heads) > 2:
            await echo(head, reader, writer)
        else:
            writer.transport.abort()

    async with routed(router, tmp_path, goes) as (bad,), client(router) as one:
        asking = asyncio.ensure_future(one.ask(HEAD + length(b"x")))
        await asyncio.to_thread(until, lambda: "up" not in router.states("a").values())
        bad.ready = True
        assert await asking == (200, b"x")
        assert len(bad.heads) == 3


async def test_a_new_version_that_drops_its_requests(router: Router, tmp_path: Path) -> None:
    course = Rollout(id="r", from_="1", to="2", steps=(50, 100), least_requests=100)
    told = {"rollout": course, "traffic": ONLY_ONE}
    async with versions(router, tmp_path, echo, gone, **told) as (_, new), client(router) as one:

        def decided() -> str:
            found = router.of("a").rollout
            return found.reason if found is not None and found.state == "rolled-back" else ""

        while not decided():
            # Others answer instead, and yet it is seen.
            assert (await one.ask(HEAD + length(b"1")))[0] == 200
        assert "were errors; 2 % may be" in decided()
        assert len(new.heads) >= 3


async def test_what_is_lost_with_a_kept_connection_goes_on_a_new_one(
    router: Router, tmp_path: Path
) -> None:
    """As where a worker dies that many connections were kept to: each of them is dead."""
    asked: set[asyncio.StreamWriter] = set()
    most, all_are_here = 6, asyncio.Event()

    async def once(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if writer in asked:
            writer.transport.abort()
            return
        asked.add(writer)
        if len(asked) <= most:
            if len(asked) == most:
                all_are_here.set()
            await all_are_here.wait()  # asked at once, so that each has a connection
        await echo(head, reader, writer)

    async with routed(router, tmp_path, once):
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(client(router)) for _ in range(most)]
            answers = await asyncio.gather(*(one.ask(HEAD + length(b"1")) for one in clients))
            assert answers == [(200, b"1")] * most
            assert await clients[0].ask(HEAD + length(b"2")) == (200, b"2")
        assert len(asked) == most + 1


async def test_what_does_something_is_not_asked_twice(router: Router, tmp_path: Path) -> None:
    told = {"idempotent": False}
    async with routed(router, tmp_path, gone, echo, **told) as (bad, good), client(router) as one:
        statuses = [(await one.ask(HEAD + length(b"1")))[0] for _ in range(4)]
        assert statuses.count(502) == len(bad.heads)
        assert statuses.count(200) == len(good.heads)
        assert bad.heads
        # To look again changes nothing.
        for _ in range(4):
            one.writer.write(b"GET /a/x HTTP/1.1\r\nHost: e\r\n\r\n")
            assert (await one.answer())[0] == 200


def half(size: int) -> Handler:
    """Return what begins an answer of `size` bytes, and does not end it."""

    async def begin(_: bytes, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\nhalf" % size)
        await writer.drain()
        writer.close()

    return begin


async def test_a_small_answer_that_ends_in_the_middle(router: Router, tmp_path: Path) -> None:
    async with routed(router, tmp_path, half(10), echo) as (bad, _), client(router) as one:
        for _number in range(4):
            # Nobody has seen anything of it: another one answers.
            assert await one.ask(HEAD + length(b"1")) == (200, b"1")
        assert bad.heads


async def test_an_answer_that_ends_in_the_middle(router: Router, tmp_path: Path) -> None:
    async with routed(router, tmp_path, half(100_000)), client(router) as one:
        one.writer.write(HEAD + length(b"1"))
        await one.head()
        # Nobody takes it for the whole.
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await one.reader.readexactly(100_000)
        told = router.of("a").versions["1"]
        assert (told.requests, told.errors) == (1, 1)


@pytest.mark.parametrize(
    "told", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"]
)
async def test_an_answer_that_is_none(router: Router, tmp_path: Path, told: bytes) -> None:
    async def bad(_: bytes, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(told)

    async with routed(router, tmp_path, bad), client(router) as one:
        status, body = await one.ask(HEAD + length(b"1"))
        assert status == 502
        assert "no HTTP" in json.loads(body)["error"]


async def test_an_answer_that_does_not_come(router: Router, tmp_path: Path) -> None:
    left = asyncio.Event()

    async def silent(_: bytes, reader: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await body_of(_, reader)
        await reader.read()
        left.set()

    async with routed(router, tmp_path, silent, timeout=0.3), client(router) as one:
        status, body = await one.ask(HEAD + length(b"1"))
        assert (status, json.loads(body)["error"]) == (504, "no answer within 0.3 s")
        # The replica sees that nobody waits for it any more.
        await asyncio.wait_for(left.wait(), 10)


async def test_a_client_that_goes(router: Router, tmp_path: Path) -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def silent(head: bytes, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await body_of(head, reader)
        asked.set()
        await reader.read()
        left.set()

    async with routed(router, tmp_path, silent):
        async with client(router) as one:
            one.writer.write(HEAD + length(b"1"))
            await asyncio.wait_for(asked.wait(), 10)
        await asyncio.wait_for(left.wait(), 10)
        told = router.of("a").versions["1"]
        # It is nobody's fault.
        assert (told.requests, told.errors, told.in_flight) == (0, 0, 0)


async def test_a_client_that_does_not_read(router: Router, tmp_path: Path) -> None:
    sent = 0

    async def large(_: bytes, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (100 * 2**20))
        for _number in range(1600):
            writer.write(b"x" * 2**16)
            await writer.drain()
            sent += 2**16

    async with routed(router, tmp_path, large), client(router) as one:
        one.writer.write(HEAD + length(b"1"))
        await one.head()
        last = -1
        while sent != last:
            last = sent
            await asyncio.sleep(0.5)
        # The replica waits; nothing piles up in the router.
        assert sent < 32 * 2**20
        rest = 0
        while rest < 100 * 2**20:
            data = await one.reader.read(2**20)
            assert data
            rest += len(data)


async def test_one_that_is_not_ready_is_not_asked(router: Router, tmp_path: Path) -> None:
    async with routed(router, tmp_path, echo, echo) as (one, other), client(router) as caller:
        one.ready = False
        await asyncio.to_thread(
            until, lambda: sorted(router.states("a").values()) == ["ejected", "up"], seconds=20
        )
        asked = len(one.heads)
        for _ in range(6):
            assert (await caller.ask(HEAD + length(b"1")))[0] == 200
        assert len(one.heads) == asked
        assert "not ready (status 503)" in router.of("a").versions["1"].replicas["1-0"].reason
        one.ready = True
        await asyncio.to_thread(router.up, "a", 2)
        assert len(other.heads) >= 6


# --- waiting -------------------------------------------------------------------------------------


async def test_the_first_request_waits_for_a_replica(router: Router, tmp_path: Path) -> None:
    replica = Scripted(tmp_path / "late.sock", echo)
    one = endpoint({"1": [replica.address]}, hold_seconds=60, max_held=1)
    await asyncio.to_thread(router.change, a=endpoint({"1": []}, hold_seconds=60, max_held=1))
    async with client(router) as caller, client(router) as other:
        caller.writer.write(HEAD + length(b"1"))
        await asyncio.to_thread(until, lambda: router.of("a").held == 1)
        # More do not wait than may; monitors do not.
        status, body = await other.ask(HEAD + length(b"1"))
        assert (status, "1 requests wait" in json.loads(body)["error"]) == (503, True)
        assert (await other.ask(b"GET /a/readyz HTTP/1.1\r\nHost: e\r\n\r\n"))[0] == 503
        await asyncio.to_thread(router.change, a=one)
        async with replica:
            assert await caller.answer() == (200, b"1")
    await asyncio.to_thread(router.change)


async def test_waiting_has_an_end(router: Router) -> None:
    await asyncio.to_thread(router.change, a=endpoint({"1": []}, hold_seconds=0.3))
    async with client(router) as one:
        one.writer.write(HEAD + length(b"1"))
        head = await one.head()
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 5\r\n" in head
    await asyncio.to_thread(router.change)


async def test_who_waits_and_goes_is_forgotten(router: Router) -> None:
    await asyncio.to_thread(router.change, a=endpoint({"1": []}))
    async with client(router) as one:
        one.writer.write(HEAD + length(b"1"))
        await asyncio.to_thread(until, lambda: router.of("a").held == 1)
    await asyncio.to_thread(until, lambda: router.of("a").held == 0)
    await asyncio.to_thread(router.change)


# --- copies and samples --------------------------------------------------------------------------


async def test_a_shadow_gets_copies_and_delays_nobody(router: Router, tmp_path: Path) -> None:
    seen: list[bytes] = []
    let = asyncio.Event()

    async def first(
        head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        body = await body_of(head, reader)
        writer.write(answer(b'{"outputs": [0.5], "version": "1"}' if body == b"1" else b"[2]"))

    async def second(
        head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        seen.append(await body_of(head, reader))
        await let.wait()
        packed = zlib.compress(b'{"version": "2", "outputs": [0.50001]}')
        writer.write(answer(packed, lines="content-encoding: deflate\r\n"))

    told = {"traffic": ONLY_ONE, "shadow": "2"}
    async with versions(router, tmp_path, first, second, **told), client(router) as one:
        assert (await one.ask(HEAD + length(b"1")))[0] == 200
        assert (await one.ask(HEAD + length(b"2")))[0] == 200
        let.set()

        def agreement() -> tuple[int, int]:
            found = router.of("a").versions["2"].agreement
            return found.same, found.different

        await asyncio.to_thread(until, lambda: agreement() == (1, 1))
        assert sorted(seen) == [b"1", b"2"]
        # Copies are nobody's requests.
        assert router.of("a").versions["2"].requests == 0


async def test_samples_are_kept_redacted(router: Router, tmp_path: Path) -> None:
    sampling = Sampling(rate=0.5, redact=("/inputs/*/name", "/secret"), keep=20)
    async with routed(router, tmp_path, echo, sampling=sampling), client(router) as one:
        for number in range(40):
            told = {"inputs": [{"name": "anna", "x": number}], "secret": [1], "open": 1}
            await one.ask(HEAD + length(json.dumps(told).encode()))
        await one.ask(HEAD + length(b"not json, anna"))
        await one.ask(HEAD + length(b"not json, anna"))
        files = [router.places.samples("a"), router.places.samples("a").with_suffix(".1.jsonl")]

        def kept() -> list[str]:
            return [
                line for path in files if path.exists() for line in path.read_text().splitlines()
            ]

        await asyncio.to_thread(until, lambda: any('"request_bytes":14' in line for line in kept()))
        lines = kept()
        # Half of them, and no more than may be.
        assert 10 < len(lines) <= 20
        assert "anna" not in "".join(lines)
        sample = json.loads(next(line for line in lines if '"x"' in line))
        assert sample["request"]["inputs"][0]["name"] == "[redacted]"
        assert sample["answer"]["secret"] == "[redacted]"
        assert sample["request"]["open"] == 1
        assert (sample["status"], sample["version"], sample["replica"]) == (200, "1", "1-0")
        assert oct(files[0].stat().st_mode)[-3:] == "600"


async def test_headers_go_before_weights(router: Router, tmp_path: Path) -> None:
    traffic = (
        Share(version="1", weight=1),
        Share(version="2", header={"X-Version": "2"}),
    )
    there = versions(router, tmp_path, echo, echo, traffic=traffic)
    async with there as (one, two), client(router) as caller:
        await caller.ask(HEAD + length(b"1"))
        assert (len(one.heads), len(two.heads)) == (1, 0)
        await caller.ask(HEAD + b"X-Version: 2\r\n" + length(b"1"))
        assert (len(one.heads), len(two.heads)) == (1, 1)


# --- what is told --------------------------------------------------------------------------------


async def test_the_control_socket(router: Router, tmp_path: Path) -> None:
    async with routed(router, tmp_path, echo), client(router) as one:
        await one.ask(HEAD + length(b"1"))
        text = (await asyncio.to_thread(router.control, "GET", "/metrics"))[1].decode()
        label = 'endpoint="a",version="1"'
        assert f"aiinfra_router_requests_total{{{label}}} 1\n" in text
        assert f'aiinfra_router_replica_up{{{label},replica="1-0"}} 1\n' in text
        assert f'aiinfra_router_latency_seconds_bucket{{{label},le="+Inf"}} 1\n' in text
        assert (await asyncio.to_thread(router.control, "GET", "/else"))[0] == 404
        before = router.status()
        router.places.config.write_text('{"port": "x"}')
        status, told = await asyncio.to_thread(router.control, "POST", "/reload")
        assert (status, "port" in json.loads(told)["problem"]) == (400, True)
        after = router.status()
        assert (after.revision, bool(after.problem)) == (before.revision, True)
        assert (await one.ask(HEAD + length(b"1")))[0] == 200
        for path in (router.places.control, router.places.inside, router.places.state):
            assert path.stat().st_mode & 0o077 == 0
    assert router.status().problem == ""
