"""Whether a replica is up, and what that takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from jupyter_aiinfra.routing.config import Replica
from jupyter_aiinfra.routing.target import Target


class Transport:
    """A connection to a replica that is ready; or one that has ended by the time it is there."""

    def __init__(self, protocol: Any, *, ended: bool) -> None:
        self.ended = ended
        self._protocol = protocol
        protocol.connection_made(self)

    def is_closing(self) -> bool:
        return self.ended

    def write(self, data: bytes) -> None:
        assert data.startswith(b"GET /readyz ")
        if self.ended:
            raise RuntimeError("the handler is closed")  # as uvloop has it
        told = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
        asyncio.get_running_loop().call_soon(self._protocol.data_received, told)

    def close(self) -> None:
        self.ended = True

    abort = close


async def test_one_that_ends_as_it_is_connected_to_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Transport] = []

    async def connect(factory: Callable[[], Any], path: str) -> tuple[Transport, Any]:
        assert path == "/r.sock"
        protocol = factory()
        made.append(Transport(protocol, ended=not made))
        return made[-1], protocol

    monkeypatch.setattr(asyncio.get_running_loop(), "create_unix_connection", connect)
    changed = asyncio.Event()
    target = Target(Replica(id="r", address="unix:/r.sock"), changed=lambda _: changed.set())
    try:
        await asyncio.wait_for(changed.wait(), 30)
        assert target.up
        assert [each.ended for each in made] == [True, False]
    finally:
        await target.close()


async def test_one_that_has_lost_an_answer_is_doubted_until_it_says_that_it_is_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def connect(factory: Callable[[], Any], _path: str) -> tuple[Transport, Any]:
        protocol = factory()
        return Transport(protocol, ended=False), protocol

    monkeypatch.setattr(asyncio.get_running_loop(), "create_unix_connection", connect)
    changed = asyncio.Event()
    target = Target(Replica(id="r", address="unix:/r.sock"), changed=lambda _: changed.set())
    try:
        await asyncio.wait_for(changed.wait(), 30)
        assert not target.doubted
        changed.clear()
        target.failed("it closed the connection")
        target.worked(0.1)
        assert target.up
        assert target.doubted, "that another was answered says nothing of who was asked before"
        await asyncio.wait_for(changed.wait(), 30)
        assert target.up
        assert not target.doubted
    finally:
        await target.close()
