"""Files to and from a node over its channel, gone on with where a cut left them."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import stat
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from jupyter_aiinfra.channel.streams import Stream
from jupyter_aiinfra.errors import (
    Conflict,
    NotFound,
    PoolError,
    ResultError,
    StorageFull,
    Unreachable,
    UsageError,
)
from jupyter_aiinfra.node import frames

if TYPE_CHECKING:
    from jupyter_aiinfra.channel.client import Channel
    from jupyter_aiinfra.channel.link import Link

__all__ = ["Moved", "Upload", "get", "put"]

_WINDOW_BYTES: Final = 1 << 22
_PAUSE_SECONDS: Final = 0.5
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


Moved = Callable[[int], None]
"""Is told how many bytes of a file are where they are to be."""


async def put(
    channel: Channel, source: Path, target: str, *, resume_seconds: float, moved: Moved
) -> int:
    """Copy a local file to the node; see :meth:`~.client.Channel.put`."""
    file, status = await asyncio.to_thread(_open_source, source)
    with file:
        args = {
            "path": target,
            "size": status.st_size,
            "mode": stat.S_IMODE(status.st_mode),
            "modified_at": status.st_mtime,
        }

        async def attempt(*, fresh: bool, moved: Moved) -> int:
            return await _put_once(channel, file, {**args, "fresh": fresh}, moved)

        return await _persist(attempt, resume_seconds, source, moved)


async def get(
    channel: Channel, source: str, target: Path, *, resume_seconds: float, moved: Moved
) -> int:
    """Copy a file of the node to here; see :meth:`~.client.Channel.get`."""
    if await asyncio.to_thread(target.is_dir):
        raise UsageError(f"{target} is a folder", hint="name the file to write")

    async def attempt(*, fresh: bool, moved: Moved) -> int:
        return await _get_once(
            channel, source, target, fresh=fresh, patience=resume_seconds, moved=moved
        )

    return await _persist(attempt, resume_seconds, target, moved)


async def _persist(
    attempt: Callable[..., Awaitable[int]], resume_seconds: float, local: Path, moved: Moved
) -> int:
    """Try again after a cut, and once from the beginning where the pieces do not fit together.

    The time for that begins anew with every byte.
    """
    give_up_at, fresh, was_cut = time.monotonic() + resume_seconds, False, False

    def note(count: int) -> None:
        nonlocal give_up_at
        give_up_at = time.monotonic() + resume_seconds
        moved(count)

    while True:
        try:
            return await attempt(fresh=fresh, moved=note)
        except ResultError as error:  # noqa: PERF203 - what is tried again is the attempt
            if fresh:
                raise PoolError(error.message, hint=f"does something write to {local}?") from error
            fresh = True
        except (Unreachable, Conflict) as error:
            # After a cut it may be our own former request that still writes there.
            was_cut = was_cut or isinstance(error, Unreachable)
            if not was_cut or time.monotonic() + _PAUSE_SECONDS > give_up_at:
                raise
            await asyncio.sleep(_PAUSE_SECONDS)
        except OSError as error:
            if error.errno in _FULL:
                text = f"no room for {local}: {error.strerror}"
                raise StorageFull(text, hint="free some space; it then goes on") from error
            raise UsageError(f"{local}: {error.strerror}") from error


def _open_source(source: Path) -> tuple[BinaryIO, os.stat_result]:
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {source}") from error
    except OSError as error:
        raise UsageError(f"{source}: {error.strerror}") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise UsageError(f"{source} is no plain file", hint="name a file; of a folder make a tar")
    return os.fdopen(descriptor, "rb"), status


class Upload(Stream):
    """A stream the other way: the node makes room, we send.

    First await `head`; at the end `finish`. What the node refuses is raised by whatever is called
    next.
    """

    def __init__(self, channel: Channel, verb: str, args: Mapping[str, Any]) -> None:
        super().__init__(
            channel.connect, verb, args, window=frames.WINDOW_BYTES, clock=time.monotonic
        )
        self._room = _WINDOW_BYTES
        self._has_room = asyncio.Event()

    async def __aenter__(self) -> Upload:  # noqa: PYI034 - no Self before Python 3.11
        return self

    def granted(self, amount: int) -> None:
        """Take note that the node has room."""
        self._room += amount
        self._has_room.set()

    def receive(self, header: Mapping[str, Any], piece: bytes, left: int) -> None:
        """Take a frame of this stream; who waits for room may have to hear of it."""
        super().receive(header, piece, left)
        self._has_room.set()

    def broken(self, error: Exception) -> None:
        """Take note that nothing more comes on this link, nor goes."""
        super().broken(error)
        self._has_room.set()

    async def send(self, data: bytes | memoryview) -> None:
        """Send bytes, of a length that is small beside 4 MiB, once the node has room for them."""
        while self._room < len(data) and self._error is None:
            self._has_room.clear()
            await self._has_room.wait()
        link = self._opened()
        self._room -= len(data)
        await link.send({"id": self._number}, data)

    async def finish(self, last: Mapping[str, Any]) -> None:
        """Say that this was all, and wait for the end, which then is in `end`."""
        self._opened().post({"id": self._number, "eof": dict(last)})
        async for _ in self:
            pass

    def _opened(self) -> Link:
        if self._error is not None:
            raise self._error
        assert self._link is not None  # noqa: S101 - the head was read
        return self._link


async def _put_once(channel: Channel, file: BinaryIO, args: Mapping[str, Any], moved: Moved) -> int:
    upload = Upload(channel, "put", args)
    async with upload:
        offset = int((await upload.head())["offset"])
        sha, sent = hashlib.sha256(), 0
        await asyncio.to_thread(_hash_beginning, file, offset, sha)
        while data := await asyncio.to_thread(_read_hashed, file, sha):
            await upload.send(data)
            sent += len(data)
            moved(offset + sent)
        await upload.finish({"sha256": sha.hexdigest()})
        return sent


def _hash_beginning(file: BinaryIO, length: int, sha: Any) -> None:
    file.seek(0)
    while length and (data := file.read(min(length, frames.CHUNK_BYTES))):
        sha.update(data)
        length -= len(data)


def _read_hashed(file: BinaryIO, sha: Any) -> bytes:
    data = file.read(frames.CHUNK_BYTES)
    sha.update(data)
    return data


async def _get_once(
    channel: Channel, source: str, target: Path, *, fresh: bool, patience: float, moved: Moved
) -> int:
    part = target.with_name(target.name + ".part")
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = await asyncio.to_thread(os.open, part, flags | (os.O_TRUNC * fresh), 0o600)
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        have = os.fstat(descriptor).st_size
        sha, got = hashlib.sha256(), 0
        await asyncio.to_thread(_hash_beginning, file, have, sha)
        args = {"path": source, "offset": have}
        stream = channel.stream("get", window=_WINDOW_BYTES, resume_seconds=patience, **args)
        async with stream:
            head = await stream.head()
            async for piece in stream:
                await asyncio.to_thread(_write_hashed, file, piece.data, sha)
                got += len(piece.data)
                moved(have + got)
        if stream.end is None or stream.end["sha256"] != sha.hexdigest():
            raise ResultError(f"{source} changed while it was read")
        await asyncio.to_thread(_complete, file, part, target, head)
    return got


def _write_hashed(file: Any, data: bytes, sha: Any) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
    sha.update(data)


def _complete(file: Any, part: Path, target: Path, head: Mapping[str, Any]) -> None:
    os.fchmod(file.fileno(), int(head["mode"]) & 0o777)
    os.utime(file.fileno(), (head["modified_at"], head["modified_at"]))
    os.fsync(file.fileno())
    part.replace(target)
