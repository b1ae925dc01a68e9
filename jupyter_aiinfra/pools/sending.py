"""A bundle to a node through its channel: one request that asks, one that sends what is missing."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jupyter_aiinfra.bundle import Bundle, Transfer, all_frames, deliver, request_line
from jupyter_aiinfra.channel import Upload

__all__ = ["send"]

_PIECE_BYTES = 1 << 20


async def send(
    bundle: Bundle, upload: Callable[..., Upload], *, blobs: str, run_dir: str
) -> Transfer:
    """Put a bundle where `upload` leads; only what is missing there is sent.

    As :func:`~.bundle.push`, with no program to start there. A transfer that is cut is gone on with
    by the next one.

    Parameters
    ----------
    upload
        :meth:`~.channel.Channel.upload` of the node.

    Raises
    ------
    StorageFull, Conflict, UsageError, PoolError
        The node refuses; or a file changed since its digest was taken.
    Unreachable
        The channel broke.
    """
    head = request_line(bundle)

    async def take(missing: Mapping[str, int]) -> tuple[Mapping[str, Any], int]:
        async with upload("take", blobs=blobs, run_dir=run_dir) as stream:
            await stream.head()
            pieces = _small(itertools.chain((head,), all_frames(bundle, missing)))
            # Files are read aside; the loop has others to serve.
            while piece := await asyncio.to_thread(next, pieces, b""):
                await stream.send(piece)
            await stream.finish({})
            assert stream.end is not None  # noqa: S101 - it was waited for
            return stream.end, sum(_left(bundle, digest, have) for digest, have in missing.items())

    return await deliver(bundle, take, blobs=blobs)


def _left(bundle: Bundle, digest: str, have: int) -> int:
    size = bundle.blobs[digest].size_bytes
    return size - have if have <= size else size


def _small(pieces: Iterator[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """Yield the same bytes in pieces that fit a stream's window."""
    for piece in pieces:
        for at in range(0, len(piece), _PIECE_BYTES):
            yield piece[at : at + _PIECE_BYTES]
