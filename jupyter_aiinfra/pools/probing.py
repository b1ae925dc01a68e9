"""What a probe prints, as a stream that ends its program when it is closed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Final

from jupyter_aiinfra.channel import Stream
from jupyter_aiinfra.errors import Unreachable
from jupyter_aiinfra.pools.remote import RemoteNode
from jupyter_aiinfra.shell import Shell

__all__ = ["INTERVAL_SECONDS", "probe_over_channel", "probe_through"]

INTERVAL_SECONDS: Final = 1.0
_CHUNK_BYTES: Final = 1 << 16
_WINDOW_BYTES: Final = 1 << 16
_GRACE_SECONDS: Final = 3.0


async def probe_through(shell: Shell, argv: Sequence[str]) -> AsyncGenerator[bytes, None]:
    """Yield what a program prints that runs for as long as its input is open.

    Raises
    ------
    Unreachable
        It cannot be started, or has ended by itself.
    """
    pipe = await shell.open(argv)
    try:
        while data := await pipe.read(_CHUNK_BYTES):
            yield data
        words = pipe.stderr_tail.decode(errors="replace").strip().splitlines()
        why = f": {words[-1]}" if words else ""
        raise Unreachable(f"its probe has ended{why}")
    finally:
        await pipe.close(grace=_GRACE_SECONDS)


async def probe_over_channel(node: RemoteNode, seconds: float) -> AsyncGenerator[bytes, None]:
    """Yield what the probe of a node prints, through the channel that is there anyway.

    Raises
    ------
    Unreachable, PoolError
        The node does not answer, or its probe has ended.
    """
    await node.hello()  # who does not answer is known from then on, and asked again in time
    stream: Stream = node.stream("probe", window=_WINDOW_BYTES, seconds=seconds)
    try:
        async for piece in stream:
            yield piece.data
        status = (stream.end or {}).get("status")
        raise Unreachable(f"{node.name}: its probe has ended with status {status}")
    finally:
        await stream.aclose()
