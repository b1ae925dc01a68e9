"""Requests over a socket of this machine: whole answers, and those that come in parts."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jupyter_aiinfra.errors import Unreachable

__all__ = ["Answer", "Begun", "ask", "asked", "near_path"]

_SECONDS: Final = 5.0
_LONGEST_PATH: Final = 100
_MOST_BYTES: Final = 64 << 20
_PIECE_BYTES: Final = 1 << 16
_NO_BODY: Final = (204, 304)
# An IncompleteReadError is an EOFError, a head that is none or too long a ValueError.
_FAILURES: Final = (OSError, EOFError, ValueError, asyncio.TimeoutError, asyncio.LimitOverrunError)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back over a socket."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Begun:
    """An answer whose head is there, and whose body comes.

    Attributes
    ----------
    headers
        By lower-case name.
    """

    def __init__(
        self,
        status: int,
        headers: Mapping[str, str],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        empty: bool,
    ) -> None:
        self.status = status
        self.headers = headers
        self._reader = reader
        self._writer = writer
        self._empty = empty

    def close(self) -> None:
        """Hear no more of it."""
        self._writer.close()

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it comes; EOFError where it ends before it should."""
        if self._empty:
            return
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int((await self._reader.readuntil(b"\r\n")).split(b";")[0], 16):
                async for piece in self._exactly(size):
                    yield piece
                await self._reader.readexactly(2)
        elif "content-length" in self.headers:
            async for piece in self._exactly(int(self.headers["content-length"])):
                yield piece
        else:
            while piece := await self._reader.read(_PIECE_BYTES):
                yield piece

    async def _exactly(self, size: int) -> AsyncGenerator[bytes, None]:
        while size:
            piece = await self._reader.read(min(size, _PIECE_BYTES))
            if not piece:
                raise EOFError("the answer was cut")
            size -= len(piece)
            yield piece


@contextlib.contextmanager
def near_path(path: Path) -> Iterator[str]:
    """Yield a name of a socket's path that fits into its address, which takes some 100 bytes."""
    if len(os.fsencode(path)) <= _LONGEST_PATH or not Path("/proc/self/fd").is_dir():
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


@contextlib.asynccontextmanager
async def asked(
    path: Path,
    method: str,
    target: str,
    *,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    seconds: float = _SECONDS,
) -> AsyncIterator[Begun]:
    """Ask over the socket at `path`; what has begun within `seconds` may then take its time.

    Raises
    ------
    Unreachable
        Nobody listens there, or nothing has begun in time.
    """
    request = _head(method, target, body, headers or {}) + body
    try:
        begun = await asyncio.wait_for(_opened(path, request, method), seconds)
    except _FAILURES as error:
        raise _unreachable(error, seconds) from error
    try:
        yield begun
    finally:
        begun.close()


async def _opened(path: Path, request: bytes, method: str) -> Begun:
    with near_path(path) as name:
        reader, writer = await asyncio.open_unix_connection(name, limit=1 << 20)
    try:
        writer.write(request)
        await writer.drain()
        return await _begun(reader, writer, method)
    except BaseException:
        writer.close()
        raise


def _head(method: str, target: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    lines = {
        "Host": "router",
        "Connection": "close",
        "Content-Length": str(len(body)),
        **headers,
    }
    head = "".join(f"{key}: {value}\r\n" for key, value in lines.items())
    return f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1")


async def _begun(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, method: str) -> Begun:
    first = await reader.readuntil(b"\r\n")
    told: dict[str, str] = {}
    while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
        key, _, value = line.decode("latin-1").partition(":")
        told[key.strip().lower()] = value.strip()
    status = int(first.split(b" ", 2)[1])
    return Begun(status, told, reader, writer, empty=method == "HEAD" or status in _NO_BODY)


async def ask(
    path: Path,
    method: str,
    target: str,
    *,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    seconds: float = _SECONDS,
) -> Answer:
    """Ask once over a socket of this machine, and return the whole answer.

    Raises
    ------
    Unreachable
        Nobody listens there, there was no answer in time, or too long a one.
    """

    async def whole() -> Answer:
        parts: list[bytes] = []
        size = 0
        async with asked(
            path, method, target, body=body, headers=headers, seconds=seconds
        ) as begun:
            async for piece in begun.pieces():
                parts.append(piece)
                size += len(piece)
                if size > _MOST_BYTES:
                    raise ValueError(f"an answer of more than {_MOST_BYTES} bytes")
            return Answer(status=begun.status, headers=begun.headers, body=b"".join(parts))

    try:
        return await asyncio.wait_for(whole(), seconds)
    except _FAILURES as error:
        raise _unreachable(error, seconds) from error


def _unreachable(error: BaseException, seconds: float) -> Unreachable:
    said = str(error) or f"no answer within {seconds:g} s"
    return Unreachable(f"the router does not answer: {said}", hint="%endpoint tells how it is")
