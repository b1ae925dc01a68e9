"""Asking a replica on the router's own behalf: whether it is ready, and what it says to a copy."""

from __future__ import annotations

import asyncio
from typing import Protocol

from jupyter_aiinfra.routing.back import Back, Line
from jupyter_aiinfra.routing.seen import Answered
from jupyter_aiinfra.routing.wire import Request

__all__ = ["Asked", "ask"]


class _Asking(Protocol):
    async def connect(self) -> Back: ...

    def take(self) -> Back | None: ...

    def give(self, back: Back) -> None: ...


class Asked:
    """An errand whose answer is kept.

    Parameters
    ----------
    limit_bytes
        Of the body; :attr:`whole` says whether it was more.
    """

    def __init__(self, request: Request, *, limit_bytes: int) -> None:
        self.request = request
        self.status = 0
        self.lines = b""
        self.body = bytearray()
        self.whole = True
        self._limit_bytes = limit_bytes
        self._done: asyncio.Future[tuple[Back, bool]] = asyncio.get_running_loop().create_future()

    def told(self, line: Line, head: Answered, body: bytes, *, reusable: bool) -> None:
        """Keep all of it."""
        self.head(head.status, head.lines, head.length)
        self.part(body)
        if isinstance(line, Back):
            self.ended(line, reusable=reusable)

    def head(self, status: int, lines: bytes, length: int | None) -> None:
        """Keep the head."""
        del length
        self.status = status
        self.lines = lines

    def part(self, data: bytes) -> None:
        """Keep a part, within bounds."""
        if len(self.body) + len(data) > self._limit_bytes:
            self.whole = False
        else:
            self.body += data

    def flush(self) -> None:
        """Nobody reads along."""

    def ended(self, back: Back, *, reusable: bool) -> None:
        """Let :func:`ask` return."""
        if not self._done.done():
            self._done.set_result((back, reusable))

    def lost(self, line: Line, reason: str) -> None:
        """Let :func:`ask` fail."""
        del line
        if not self._done.done():
            self._done.set_exception(ConnectionError(reason))

    def slow(self, *, paused: bool) -> None:
        """All of it is in memory."""

    async def answered(self) -> tuple[Back, bool]:
        """Return when all of it is there."""
        return await self._done


async def ask(target: _Asking, asked: Asked, *, seconds: float) -> Asked:
    """Have `target` answer within `seconds`.

    Raises
    ------
    OSError
        It took no connection, or lost it; ``asyncio.TimeoutError`` where it said nothing.
    """
    back = target.take() or await target.connect()
    back.send(asked)
    try:
        back, reusable = await asyncio.wait_for(asked.answered(), seconds)
    except BaseException:
        back.abandon(asked)
        raise
    if reusable:
        target.give(back)
    return asked
