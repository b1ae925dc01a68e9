"""Files of run directories on several nodes, under one list of paths."""

from __future__ import annotations

from collections.abc import Sequence

from jupyter_aiinfra.channel import Stream
from jupyter_aiinfra.pools.base import RunFile

__all__ = ["RemoteFile", "parted"]

_ABOVE = "nodes"


def parted(path: str, names: Sequence[str]) -> tuple[int, str]:
    """Return the slot of the node that holds `path`, and the path there.

    What belongs to a node other than the first is listed below ``nodes/NAME``.
    """
    above, _, rest = path.partition("/")
    name, _, below = rest.partition("/")
    if above == _ABOVE and below and name in names[1:]:
        return names.index(name), below
    return 0, path


class RemoteFile:
    """A file of a node, open for reading; see :class:`~.base.FileReader`."""

    def __init__(self, stream: Stream, file: RunFile) -> None:
        self.file = file
        self._stream = stream

    @classmethod
    async def open(cls, stream: Stream, path: str) -> RemoteFile:
        """Wait for what the node says of the file; raises what it refuses with."""
        try:
            head = await stream.head()
        except BaseException:
            await stream.aclose()
            raise
        file = RunFile(path=path, size_bytes=head["size_bytes"], modified_at=head["modified_at"])
        return cls(stream, file)

    async def read(self) -> bytes:
        """Return what comes next, 1 MiB at most; nothing at the end."""
        async for piece in self._stream:
            return piece.data
        return b""

    async def aclose(self) -> None:
        """Let go of the file. Idempotent."""
        await self._stream.aclose()
