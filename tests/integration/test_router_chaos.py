"""Clients and replicas that behave at random leave nothing behind; nobody gets another's answer."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import psutil
import pytest

from jupyter_aiinfra.routing.config import Gates, Rollout, Sampling, Share
from tests.integration.router_client import HEAD, Client, body_of, client, length
from tests.integration.router_home import Router, Scripted, answer, endpoint, until

CALLERS = 24
EACH = 60


class Moody:
    """A replica that answers, drops, cuts, refuses, is slow, or closes afterwards."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)  # noqa: S311 - no secret

    async def __call__(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        body = await body_of(head, reader)
        mood = self._dice.choice(["good"] * 12 + ["drop", "cut", "fail", "busy", "late", "close"])
        if mood == "drop":
            writer.transport.abort()
        elif mood == "cut":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n" + body)
            await writer.drain()
            writer.close()
        elif mood in {"fail", "busy"}:
            writer.write(answer(status=500 if mood == "fail" else 429))
        elif mood == "close":
            writer.write(answer(body, lines="connection: close\r\n"))
            await writer.drain()
            writer.close()
        else:
            if mood == "late":
                await asyncio.sleep(self._dice.random() / 20)
            writer.write(answer(body))


async def call(one: Client, body: bytes, dice: random.Random) -> str:
    """Ask in one of some ways; return what came of it."""
    if dice.random() < 0.3:
        middle = dice.randrange(len(body) + 1)
        parts = [part for part in (body[:middle], body[middle:]) if part]
        sent = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
        data = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + sent + b"0\r\n\r\n"
    else:
        data = HEAD + length(body)
    if dice.random() < 0.1:
        # It goes in the middle of what it says.
        one.writer.write(data[: dice.randrange(len(data))])
        await asyncio.sleep(dice.random() / 50)
        raise ConnectionAbortedError
    one.writer.write(data)
    if dice.random() < 0.05:
        await asyncio.sleep(dice.random() / 50)
        raise ConnectionAbortedError
    status, told = await one.answer()
    if status == 200:
        assert told == body
    return str(status)


async def caller(router: Router, number: int, seen: Counter[str]) -> None:
    dice = random.Random(number)  # noqa: S311 - no secret
    left = EACH
    while left:
        async with client(router) as one:
            try:
                while left:
                    left -= 1
                    size = dice.choice([1, 100, 100, 5000, 90_000])
                    body = b"%d-%d-" % (number, left) + b"x" * size
                    seen[await call(one, body, dice)] += 1
            except (ConnectionError, asyncio.IncompleteReadError):
                seen["gone"] += 1
                one.writer.transport.abort()


@pytest.mark.timeout(240)
async def test_nothing_is_left_behind(tmp_path: Path) -> None:
    replicas = [Scripted(tmp_path / f"{number}.sock", Moody(number)) for number in range(4)]
    for replica in replicas:
        await replica.__aenter__()
    addresses = [replica.address for replica in replicas]
    gates = Gates(error_rate=1.0, p95_ms=None, agreement=0.0)
    course = Rollout(id="r", from_="1", to="2", steps=(50,), least_requests=10**6, gates=gates)
    versions = {"1": addresses[:2], "2": addresses[2:]}
    told = {"sampling": Sampling(rate=0.5, keep=100), "traffic": (Share(version="1", weight=1),)}
    quiet = endpoint(versions, **told)
    moving = endpoint(versions, rollout=course, **told)
    fewer = endpoint({"1": addresses[:1], "2": addresses[3:]}, **told)
    router = await asyncio.to_thread(Router, tmp_path, a=quiet)
    try:
        await asyncio.to_thread(router.up, "a", 4)
        process = psutil.Process(router.process.pid)
        seen: Counter[str] = Counter()
        callers = asyncio.gather(*(caller(router, number, seen) for number in range(CALLERS)))
        turns = 0
        while not callers.done():
            # What it is told changes all the time.
            await asyncio.to_thread(router.change, a=(moving, fewer, quiet)[turns % 3])
            turns += 1
            await asyncio.wait([callers], timeout=0.2)
        await callers
        await asyncio.to_thread(router.change, a=quiet)

        def under_way() -> int:
            one = router.of("a")
            return one.held + sum(version.in_flight for version in one.versions.values())

        await asyncio.to_thread(until, lambda: under_way() == 0)
        assert seen["200"] > CALLERS * EACH / 2
        assert seen["gone"]
        # Errors of the model are told; a replica that drops what it had is not.
        assert seen["500"]
        assert seen["502"] < seen["500"]
        assert set(seen) <= {"200", "429", "500", "502", "gone"}
        # Of its clients none is left; to each replica a few connections are kept.
        address = (router.config.host, router.port)

        def clients() -> int:
            found = process.net_connections("tcp")
            return sum(one.laddr == address and one.status == "ESTABLISHED" for one in found)

        await asyncio.to_thread(until, lambda: clients() == 0)
        await asyncio.to_thread(router.change)
        await asyncio.to_thread(until, lambda: not router.status().endpoints)
        await asyncio.to_thread(until, lambda: process.num_fds() < 40)
        assert "Traceback" not in router.log.read_text()
        assert "Fatal error" not in router.log.read_text()
    finally:
        await asyncio.to_thread(router.__exit__)
        for replica in replicas:
            await replica.__aexit__()
