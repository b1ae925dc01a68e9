"""A client that sends bytes, and replicas behind a router for a while, for its tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from jupyter_aiinfra.routing.config import Endpoint
from tests.integration.router_home import Router, Scripted, answer, endpoint

__all__ = ["HEAD", "Client", "body_of", "client", "echo", "length", "routed", "versions"]

HEAD = b"POST /a/predict HTTP/1.1\r\nHost: e\r\n"


async def echo(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    body = await body_of(head, reader)
    writer.write(answer(body, lines="content-type: application/json\r\nx-mine: 1\r\n"))


async def body_of(head: bytes, reader: asyncio.StreamReader) -> bytes:
    if b"transfer-encoding: chunked" in head:
        parts = []
        while size := int(await reader.readline(), 16):
            parts.append(await reader.readexactly(size))
            await reader.readline()
        await reader.readline()
        return b"".join(parts)
    length = head.partition(b"content-length: ")[2].split(b"\r\n")[0]
    return await reader.readexactly(int(length or 0))


class Client:
    """A connection to the router, by bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def head(self) -> bytes:
        return await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 20)

    async def answer(self) -> tuple[int, bytes]:
        head = (await self.head()).lower()
        length = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
        return int(head.split(b" ")[1]), await self.reader.readexactly(length)

    async def ask(self, data: bytes) -> tuple[int, bytes]:
        self.writer.write(data)
        return await self.answer()

    async def end(self) -> bytes:
        return await asyncio.wait_for(self.reader.read(), 20)


@asynccontextmanager
async def client(router: Router) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", router.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


@asynccontextmanager
async def routed(
    router: Router, tmp_path: Path, *handlers: Any, **told: Any
) -> AsyncIterator[list[Scripted]]:
    """Have replicas that do as `handlers` do, all of version 1 of endpoint `a`."""
    replicas = [
        Scripted(tmp_path / f"{number}.sock", handler) for number, handler in enumerate(handlers)
    ]
    for replica in replicas:
        await replica.__aenter__()
    one = endpoint({"1": [replica.address for replica in replicas]}, **told)
    await asyncio.to_thread(router.change, a=one)
    await asyncio.to_thread(router.up, "a", len(replicas))
    try:
        yield replicas
    finally:
        await asyncio.to_thread(router.change)
        for replica in replicas:
            await replica.__aexit__()


def length(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n\r\n" % len(body) + body


@asynccontextmanager
async def versions(
    router: Router, tmp_path: Path, one: Any, two: Any, **told: Any
) -> AsyncIterator[list[Scripted]]:
    first = Scripted(tmp_path / "one.sock", one)
    second = Scripted(tmp_path / "two.sock", two)
    async with first, second:
        config: Endpoint = endpoint({"1": [first.address], "2": [second.address]}, **told)
        await asyncio.to_thread(router.change, a=config)
        await asyncio.to_thread(router.up, "a", 2)
        yield [first, second]
        await asyncio.to_thread(router.change)
