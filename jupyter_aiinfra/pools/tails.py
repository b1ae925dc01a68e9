"""Logs of a node as they grow: one stream a log, kept while somebody asks for its next bytes.

Who follows a job asks every rank's log for news many times a second. A stream that stays open has
the answer here already; a request each time would make a slow network slower.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Sequence

from jupyter_aiinfra.channel import Piece, Stream
from jupyter_aiinfra.errors import PoolError, Unreachable

__all__ = ["Key", "Tails"]

_UNUSED_SECONDS = 30.0
_HELD_BYTES = 4 << 20

Key = tuple[str, int]
"""A job's id and a rank."""


class Tails:
    """The open tails of a pool."""

    def __init__(self) -> None:
        self._open: dict[Key, _Tail] = {}

    def holds(self, key: Key, offset: int) -> bool:
        """Whether the log is being followed, and `offset` is where it goes on."""
        tail = self._open.get(key)
        return tail is not None and tail.offset == offset

    def news(self, key: Key, offset: int) -> Sequence[Piece]:
        """Return what has come since `offset`; nothing where the log is not followed from there.

        Raises
        ------
        Unreachable
            The stream broke; it is not followed any more.
        """
        tail = self._open.get(key)
        if tail is None or tail.offset != offset:
            return ()
        try:
            pieces = tail.take()
        except PoolError:
            del self._open[key]
            raise
        if not pieces and tail.ended:
            del self._open[key]  # the node's part of the job is over: the rest is read directly
        return pieces

    async def keep(self, key: Key, stream: Stream, offset: int) -> None:
        """Follow a log from `offset` on, as long as somebody asks for its news now and then."""
        now = time.monotonic()
        unused = [k for k, tail in self._open.items() if now - tail.used_at > _UNUSED_SECONDS]
        for old in (*unused, key):
            await self._close(old)
        self._open[key] = _Tail(stream, offset)

    async def forget(self, job_id: str) -> None:
        """Close the tails of a job."""
        for key in [key for key in self._open if key[0] == job_id]:
            await self._close(key)

    async def aclose(self) -> None:
        """Close all of them. Idempotent."""
        for key in list(self._open):
            await self._close(key)

    async def _close(self, key: Key) -> None:
        tail = self._open.pop(key, None)
        if tail is not None:
            await tail.aclose()


class _Tail:
    def __init__(self, stream: Stream, offset: int) -> None:
        self.offset = offset
        self.used_at = time.monotonic()
        self._stream = stream
        self._pieces: deque[Piece] = deque()
        self._held = 0
        self._room = asyncio.Event()
        self._error: PoolError | None = None
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async for piece in self._stream:
                self._pieces.append(piece)
                self._held += len(piece.data)
                while self._held >= _HELD_BYTES:
                    self._room.clear()
                    await self._room.wait()
        except PoolError as error:
            self._error = error
        except asyncio.CancelledError:
            self._error = Unreachable("the log is not followed any more")
            raise

    def take(self) -> list[Piece]:
        self.used_at = time.monotonic()
        pieces = list(self._pieces)
        if not pieces and self._error is not None:
            raise self._error
        self._pieces.clear()
        self._held = 0
        self._room.set()
        if pieces:
            self.offset = pieces[-1].offset + len(pieces[-1].data)
        return pieces

    @property
    def ended(self) -> bool:
        return self._task.done()

    async def aclose(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self._stream.aclose()
