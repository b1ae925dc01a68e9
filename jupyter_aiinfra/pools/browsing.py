"""Looking into a run directory on this machine, and never out of it.

What is in there was written by the user's job, and the path is what somebody sent: both may be
anything. A file is opened part by part, and no link is followed but those that stay within.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from jupyter_aiinfra.errors import NotFound, UsageError
from jupyter_aiinfra.node import receive
from jupyter_aiinfra.pools.base import RunFile

__all__ = ["LocalFile", "list_files", "open_file", "open_plain"]

_CHUNK_BYTES = 1 << 20

# What only supervisor and ranks need of a run directory (`docs/run-directory.md`).
_INTERNAL: Final = frozenset(
    {"aiinfra", "go", "heartbeat", "ranks", "rc", "rc.new", "supervisor.json", "supervisor.lock"}
)
_TEMPORARY: Final = re.compile(r"\.json(\.\d+\.new|\.reserve)\Z")
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A named pipe would keep who opens it waiting for a writer.
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def list_files(run_dir: Path, *, limit: int) -> Sequence[RunFile]:
    """Return the first `limit` files below `run_dir` that a person may want, by path.

    Raises
    ------
    NotFound
        There is no such folder.
    """
    root = _root(run_dir)
    found: list[RunFile] = []
    for path in _walk(root):
        if len(found) >= limit:
            break
        try:
            descriptor = _open_within(root, path)
        except (OSError, NotFound):  # gone since, a link that leads out, or not ours to read
            continue
        try:
            found.append(_described(path, descriptor))
        finally:
            os.close(descriptor)
    return found


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
        receive.safe_parts(path)
    except receive.Refused as error:
        raise UsageError(str(error), hint="name a file as the list of files does") from error
    root = _root(run_dir)
    try:
        descriptor = _open_within(root, path)
    except (OSError, ValueError) as error:  # ValueError: characters no file name can have
        raise _no_file(path) from error
    return LocalFile(descriptor, _described(path, descriptor), offset=offset)


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
        folder = os.open(path.parent, _FOLDER)
        try:
            descriptor = os.open(path.name, _FILE, dir_fd=folder)
        finally:
            os.close(folder)
    except OSError as error:
        # A link; no folder; a socket or a device that cannot be opened.
        if error.errno in {errno.ELOOP, errno.ENOTDIR, errno.ENXIO}:
            raise _no_file(path.name) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _no_file(path.name)
    return descriptor


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


def _root(run_dir: Path) -> str:
    root = os.path.realpath(run_dir)
    if not os.path.isdir(root):  # noqa: PTH112 - realpath, as all below
        raise NotFound("the run directory of this job is gone", hint="only its record is left")
    return root


def _walk(root: str) -> Iterator[str]:
    """Yield the paths below `root` of what is no folder, sorted part by part."""
    waiting = [("", True)]
    while waiting:
        path, is_folder = waiting.pop()
        if not is_folder:
            yield path
            continue
        try:
            with os.scandir(os.path.join(root, path)) as entries:  # noqa: PTH118
                below = sorted((each.name, each.is_dir(follow_symlinks=False)) for each in entries)
        except OSError:  # gone since, or not ours to read
            continue
        inside = [(f"{path}/{name}" if path else name, folder) for name, folder in below]
        waiting += reversed([each for each in inside if _wanted(each[0])])


def _wanted(path: str) -> bool:
    parts = path.split("/")
    # A name that is no text cannot be said to a browser, nor asked for by one.
    is_text = not any("\ud800" <= character <= "\udfff" for character in path)
    internal = parts[0] in _INTERNAL or "__pycache__" in parts
    return is_text and not internal and not _TEMPORARY.search(path)


def _open_within(root: str, path: str) -> int:
    """Open the plain file that `path` is, or raise OSError or NotFound.

    Links are resolved first; what they lead to is opened as what it then is, so that one put there
    in between is refused.
    """
    if not _wanted(path):
        raise _no_file(path)
    target = os.path.realpath(os.path.join(root, path))  # noqa: PTH118
    inside = os.path.relpath(target, root)
    if not target.startswith(root.rstrip("/") + "/") or not _wanted(inside):
        raise _no_file(path)
    *folders, name = inside.split("/")
    at = os.open(root, _FOLDER)
    try:
        for folder in folders:
            below = os.open(folder, _FOLDER, dir_fd=at)
            os.close(at)
            at = below
        descriptor = os.open(name, _FILE, dir_fd=at)
    finally:
        os.close(at)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _no_file(path)
    return descriptor


def _described(path: str, descriptor: int) -> RunFile:
    status = os.fstat(descriptor)
    return RunFile(path=path, size_bytes=status.st_size, modified_at=status.st_mtime)


def _no_file(path: str) -> NotFound:
    return NotFound(f"no file {path!r} in the run directory", hint="the list of files names them")
