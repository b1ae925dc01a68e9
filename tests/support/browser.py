"""The server's side of a page: a socket to ``/aiinfra/stream`` that says and hears JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from tornado.websocket import WebSocketClientConnection

__all__ = ["Page", "eventually"]


class Page:
    """What one page hears over its socket."""

    def __init__(self, connection: WebSocketClientConnection) -> None:
        self.connection = connection
        self.heard: list[dict[str, Any]] = []

    async def watch(self, *topics: Mapping[str, Any]) -> None:
        """Watch exactly these topics."""
        await self.say({"topics": list(topics)})

    async def say(self, message: Any) -> None:
        """Send something; text as it is."""
        text = message if isinstance(message, str) else json.dumps(message)
        await self.connection.write_message(text)

    async def hear(self, *, seconds: float = 30.0) -> dict[str, Any]:
        """Return the next message."""
        text = await asyncio.wait_for(_read(self.connection), seconds)
        assert text is not None, "the server closed the socket"
        news: dict[str, Any] = json.loads(text)
        self.heard.append(news)
        return news

    async def until(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Return the next message of a kind that has these fields."""
        while True:
            news = await self.hear()
            if news["type"] == kind and all(news[name] == value for name, value in fields.items()):
                return news

    async def silence(self, seconds: float) -> None:
        """Fail if anything is heard within this time."""
        try:
            news = await asyncio.wait_for(_read(self.connection), seconds)
        except asyncio.TimeoutError:
            return
        raise AssertionError(f"heard {news!r}")

    async def closed(self) -> None:
        """Wait until the server has closed the socket."""
        while await asyncio.wait_for(_read(self.connection), 30) is not None:
            pass


async def eventually(condition: Callable[[], Any], *, seconds: float = 60.0) -> None:
    """Return once `condition` is true, or fail; the loop goes on meanwhile."""

    async def wait() -> None:
        while not condition():  # noqa: ASYNC110 - what is looked at has no event of its own
            await asyncio.sleep(0.01)

    await asyncio.wait_for(wait(), seconds)


async def _read(connection: WebSocketClientConnection) -> str | bytes | None:
    return await connection.read_message()
