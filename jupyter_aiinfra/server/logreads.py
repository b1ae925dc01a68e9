"""Parts of a log from a pool that yields it from an offset on. Runs on the engine's thread."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from jupyter_aiinfra.model import Handle, LogChunk
from jupyter_aiinfra.pools.base import Pool

__all__ = ["News", "log_end", "read_news", "read_range"]

_NEWS_SECONDS = 0.1
_STRIDE_BYTES = 1 << 20


class News(NamedTuple):
    """What came after what was known. ``replaced``: the log is not the one that was read."""

    data: bytes
    more: bool
    replaced: bool = False


@asynccontextmanager
async def _chunks(
    pool: Pool, handle: Handle, *, rank: int, offset: int
) -> AsyncGenerator[AsyncIterator[LogChunk]]:
    """Open a log from `offset` on, and let go of it when enough has been read."""
    chunks = pool.logs(handle, rank=rank, offset=offset)
    try:
        yield chunks
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()


async def read_news(
    pool: Pool, handle: Handle, *, rank: int, offset: int, tail: bytes, most: int
) -> News:
    """Return what comes at `offset`, of `most` bytes or what a slow pool has given in a moment.

    `tail` is the end of what was read before: a log in which it is not there is another one.
    """
    data = bytearray()
    enough, more = len(tail) + most, False
    until = time.monotonic() + _NEWS_SECONDS
    async with _chunks(pool, handle, rank=rank, offset=offset - len(tail)) as chunks:
        async for chunk in chunks:
            data += chunk.data
            if len(data) >= enough or (time.monotonic() > until and len(data) > len(tail)):
                more = True
                break
    if not data.startswith(tail):
        return News(b"", more=True, replaced=True)
    return News(bytes(data[len(tail) :]), more=more)


async def read_range(
    pool: Pool, handle: Handle, *, rank: int, reads: Sequence[tuple[int, int]]
) -> list[bytes]:
    """Return the bytes at each offset, as many as are asked for if there are so many."""
    return [await _read(pool, handle, rank=rank, offset=at, size=size) for at, size in reads]


async def _read(pool: Pool, handle: Handle, *, rank: int, offset: int, size: int) -> bytes:
    data = bytearray()
    if size:
        async with _chunks(pool, handle, rank=rank, offset=offset) as chunks:
            async for chunk in chunks:
                data += chunk.data
                if len(data) >= size:
                    break
    return bytes(data[:size])


async def _waiting(pool: Pool, handle: Handle, *, rank: int, offset: int) -> int:
    """Return how many bytes come at once at `offset`; 0 where the log ends before it."""
    async with _chunks(pool, handle, rank=rank, offset=offset) as chunks:
        async for chunk in chunks:
            if chunk.data:
                return len(chunk.data)
    return 0


async def log_end(pool: Pool, handle: Handle, *, rank: int, known: int) -> int:
    """Return the size of a log of which `known` bytes have been read, in few reads of it."""
    end, stride, beyond = known, _STRIDE_BYTES, None
    while size := await _waiting(pool, handle, rank=rank, offset=end):
        end += size
        # A look far ahead, farther each time; once one fails, half way to it.
        while beyond is None or beyond - end > _STRIDE_BYTES:
            ahead = end + stride if beyond is None else (end + beyond) // 2
            if size := await _waiting(pool, handle, rank=rank, offset=ahead):
                end = ahead + size
                stride *= 2
            else:
                beyond = ahead
    return end
