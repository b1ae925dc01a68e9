"""Looking into a run directory on this machine, and never out of it: ``node/browse.py`` for us."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from jupyter_aiinfra.errors import NotFound, UsageError
from jupyter_aiinfra.node import browse, receive
from jupyter_aiinfra.pools.base import RunFile

__all__ = ["LocalFile", "list_files", "open_file", "open_plain"]

_CHUNK_BYTES = 1 << 20


def list_files(run_dir: Path, *, limit: int) -> Sequence[RunFile]:
    """Return the first `limit` files below `run_dir` that a person may want, by path.

    Raises
    ------
    NotFound
        There is no such folder.
    """
    try:
        found = browse.list_files(str(run_dir), limit=limit)
    except browse.Missing as error:
        raise _not_found(error) from error
    return [_run_file(each) for each in found]


def open_file(run_dir: Path, path: str, *, offset: int = 0) -> LocalFile:
    """Open the file `path` below `run_dir` for reading from `offset` on.

    Raises
    ------
    UsageError
        `path` is absolute, empty, or has a part that is none.
    NotFound
        No such file that a person may want; also where the path leads out by a link.
    """
    try:
        descriptor, found = browse.open_file(str(run_dir), path)
    except receive.Refused as error:
        raise UsageError(str(error), hint="name a file as the list of files does") from error
    except browse.Missing as error:
        raise _not_found(error) from error
    return LocalFile(descriptor, _run_file(found), offset=offset)


def open_plain(path: Path) -> int:
    """Open a file that only a supervisor should have made, and return its descriptor.

    Raises
    ------
    FileNotFoundError
        It is not there.
    NotFound
        It, or the folder it is in, is something else, which the job has put there: a link, a pipe.
    """
    try:
        return browse.open_plain(str(path))
    except browse.Missing as error:
        raise _not_found(error) from error


class LocalFile:
    """An open file; see :class:`~.base.FileReader`. It ends where it did when it was opened."""

    def __init__(self, descriptor: int, file: RunFile, *, offset: int = 0) -> None:
        self.file = file
        self._descriptor: int | None = descriptor
        self._offset = offset

    async def read(self) -> bytes:
        """Return what comes next, 1 MiB at most; nothing at the end."""
        size = min(_CHUNK_BYTES, self.file.size_bytes - self._offset)
        if self._descriptor is None or size <= 0:
            return b""
        data = await asyncio.to_thread(os.pread, self._descriptor, size, self._offset)
        self._offset += len(data)
        return data

    async def aclose(self) -> None:
        """Let go of the file. Idempotent."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _run_file(found: browse.Found) -> RunFile:
    return RunFile(**found._asdict())


def _not_found(error: browse.Missing) -> NotFound:
    hint = "only its record is left" if error.path is None else "the list of files names them"
    return NotFound(str(error), hint=hint)
