"""Clients of a replica that takes many requests on one connection: nobody gets another's answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.integration.router_client import HEAD, Client, body_of, client, length
from tests.integration.router_home import Router, Scripted, answer, endpoint

CLIENTS = 24


class Sharing(Scripted):
    """Reads on while it answers, in order; answers are held while `gate` is closed.

    `asked` has the connection of each request, by number, and its body.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, self._never)
        self.gate = asyncio.Event()
        self.gate.set()
        self._came = asyncio.Event()
        self.asked: list[tuple[int, bytes]] = []
        self.connections: list[asyncio.StreamWriter] = []

    async def _never(self, *_: object) -> None:
        raise AssertionError

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self.connections)
        self.connections.append(writer)
        self._writers.add(writer)
        bodies: asyncio.Queue[bytes] = asyncio.Queue()
        telling = asyncio.create_task(self._tell(bodies, writer))
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET /readyz "):
                    writer.write(answer(lines="x-endpoint-pipeline: 16;workers=1\r\n"))
                    continue
                body = await body_of(head, reader)
                self.asked.append((number, body))
                self._came.set()
                bodies.put_nowait(body)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            telling.cancel()
            self._writers.discard(writer)
            writer.close()

    async def _tell(self, bodies: asyncio.Queue[bytes], writer: asyncio.StreamWriter) -> None:
        while True:
            body = await bodies.get()
            await self.gate.wait()
            writer.write(answer(body))

    async def has(self, count: int) -> set[int]:
        """Wait until so many are asked and held; return the connections that they came on."""
        while len(self.asked) < count:
            self._came.clear()
            await asyncio.wait_for(self._came.wait(), 60)
        return {number for number, _ in self.asked}


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    with Router(tmp_path_factory.mktemp("home")) as made:
        yield made


def body(number: int) -> bytes:
    return b"%04d" % number


async def ask(one: Client, number: int) -> tuple[int, bytes]:
    return await one.ask(HEAD + length(body(number)))


@asynccontextmanager
async def shared(
    router: Router, tmp_path: Path, **told: object
) -> AsyncIterator[tuple[Sharing, list[Client]]]:
    """Have a replica of endpoint `a` that answers soon, as the router knows, and clients."""
    async with Sharing(tmp_path / "one.sock") as replica, AsyncExitStack() as stack:
        assert isinstance(replica, Sharing)
        await asyncio.to_thread(router.change, a=endpoint({"1": [replica.address]}, **told))
        await asyncio.to_thread(router.up, "a", 1)
        clients = [await stack.enter_async_context(client(router)) for _ in range(CLIENTS)]
        for number in range(40):
            assert await ask(clients[0], number) == (200, body(number))
        replica.asked.clear()
        yield replica, clients
        replica.gate.set()
        await asyncio.to_thread(router.change)


async def test_each_gets_its_own_and_few_connections_do(router: Router, tmp_path: Path) -> None:
    async with shared(router, tmp_path) as (replica, clients):
        for begin in range(0, 100 * CLIENTS, CLIENTS):
            asking = (ask(one, begin + number) for number, one in enumerate(clients))
            told = await asyncio.gather(*asking)
            assert told == [(200, body(begin + number)) for number in range(CLIENTS)]
        replica.asked.clear()
        replica.gate.clear()
        waiting = [asyncio.create_task(ask(one, n)) for n, one in enumerate(clients)]
        assert len(await replica.has(CLIENTS)) == 2
        replica.gate.set()
        told = await asyncio.gather(*waiting)
        assert told == [(200, body(number)) for number in range(CLIENTS)]


async def test_what_was_lost_with_its_connection_is_asked_again(
    router: Router, tmp_path: Path
) -> None:
    async with shared(router, tmp_path) as (replica, clients):
        replica.gate.clear()
        waiting = [asyncio.create_task(ask(one, n)) for n, one in enumerate(clients)]
        for number in await replica.has(CLIENTS):
            replica.connections[number].transport.abort()
        replica.gate.set()
        assert await asyncio.gather(*waiting) == [(200, body(n)) for n in range(CLIENTS)]
        # Each that was lost came again by a connection of its own, and nothing was asked twice
        # that was not lost.
        assert len(replica.asked) == 2 * CLIENTS
        assert len({number for number, _ in replica.asked[CLIENTS:]}) == CLIENTS
        status = await asyncio.to_thread(router.of, "a")
        assert status.versions["1"].errors == 0


async def test_what_may_not_be_asked_twice_shares_nothing(router: Router, tmp_path: Path) -> None:
    async with shared(router, tmp_path, idempotent=False) as (replica, clients):
        replica.gate.clear()
        waiting = [asyncio.create_task(ask(one, n)) for n, one in enumerate(clients)]
        connections = await replica.has(CLIENTS)
        assert len(connections) == CLIENTS
        for number in connections:
            replica.connections[number].transport.abort()
        replica.gate.set()
        assert {status for status, _ in await asyncio.gather(*waiting)} == {502}
        assert len(replica.asked) == CLIENTS


async def test_some_go_while_they_wait(router: Router, tmp_path: Path) -> None:
    async with shared(router, tmp_path) as (replica, clients):
        replica.gate.clear()
        waiting = {n: asyncio.create_task(ask(one, n)) for n, one in enumerate(clients)}
        await replica.has(CLIENTS)
        for number in range(0, CLIENTS, 3):
            clients[number].writer.transport.abort()
        gone = [waiting.pop(number) for number in range(0, CLIENTS, 3)]
        await asyncio.gather(*gone, return_exceptions=True)
        replica.gate.set()
        told = await asyncio.gather(*waiting.values())
        assert told == [(200, body(number)) for number in waiting]
        # Their answers were thrown away, and the connections go on.
        assert await ask(clients[1], 7) == (200, body(7))


async def test_each_has_its_own_time(router: Router, tmp_path: Path) -> None:
    async with shared(router, tmp_path, timeout=2) as (replica, clients):
        replica.gate.clear()
        first = asyncio.create_task(ask(clients[0], 0))
        await replica.has(1)
        assert (await first)[0] == 504
        # What was asked later is answered, behind or beside it.
        later = asyncio.create_task(ask(clients[1], 1))
        await replica.has(2)
        replica.gate.set()
        assert await later == (200, body(1))
