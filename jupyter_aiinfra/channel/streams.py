"""A stream of bytes from a node, by offsets, with a window and a memory of how far it came."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from jupyter_aiinfra.channel.link import Link, error_from
from jupyter_aiinfra.errors import PoolError, Unreachable

__all__ = ["Answer", "Piece", "Stream"]

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0


@dataclass(frozen=True)
class Piece:
    """Some bytes of a stream, and where they stand in it."""

    offset: int
    data: bytes


class Answer:
    """The answer of a call, to be awaited."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    def receive(self, header: Mapping[str, Any], piece: bytes, left: int) -> None:
        """Take the answer."""
        del piece, left
        if self.future.done():
            return
        if "error" in header:
            self.future.set_exception(error_from(self._name, header["error"]))
        elif "ok" in header:
            self.future.set_result(header["ok"])

    def broken(self, error: Exception) -> None:
        """Take note that none comes."""
        if not self.future.done():
            self.future.set_exception(Unreachable(str(error)))


class Stream:
    """What one request yields, as pieces in order without a gap; iterate over it in one task.

    Nothing is asked of the node before the first wait. After the last piece `end` has what the
    node said about it. Who stops early calls :meth:`aclose`.

    Parameters
    ----------
    window
        How many bytes the node sends ahead of the reader: what this holds at most.
    resume_seconds
        For how long another channel is tried after one broke, before Unreachable is raised. The
        stream goes on at the byte after the last it got. 0 is not at all.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Link]],
        verb: str,
        args: Mapping[str, Any],
        *,
        window: int,
        resume_seconds: float = 0.0,
        clock: Callable[[], float],
    ) -> None:
        self.end: Mapping[str, Any] | None = None
        self.offset: int = args.get("offset", 0)
        self._connect = connect
        self._verb = verb
        self._args = dict(args)
        self._window = window
        self._resume_seconds = resume_seconds
        self._clock = clock
        self._link: Link | None = None
        self._number = 0
        self._head: Mapping[str, Any] | None = None
        self._pieces: deque[Piece] = deque()
        self._news = asyncio.Event()
        self._received = self.offset
        self._owed = 0
        self._error: Exception | None = None
        self._closed = False
        self._give_up_at: float | None = None
        self._pause = 0.0

    # --- what comes from the link ---

    def receive(self, header: Mapping[str, Any], piece: bytes, left: int) -> None:
        """Take a frame of this stream."""
        del left
        if piece:
            self._pieces.append(Piece(self._received, piece))
            self._received += len(piece)
            self._give_up_at = None
        elif "head" in header:
            self._head = header["head"]
        elif "end" in header:
            self.end = header["end"]
        elif "error" in header:
            assert self._link is not None  # noqa: S101 - it is where this comes from
            self._error = error_from(self._link.name, header["error"])
        elif "more" in header:
            self.granted(header["more"])
        self._news.set()

    def granted(self, amount: int) -> None:
        """Take note that the node has room; only for streams to it."""

    def broken(self, error: Exception) -> None:
        """Take note that nothing more comes on this link."""
        self._error = Unreachable(str(error))
        self._news.set()

    # --- what the reader does ---

    async def head(self) -> Mapping[str, Any]:
        """Return what the node says of the stream before its first byte."""
        while self._head is None:
            if self.end is not None:
                raise PoolError(f"the node said nothing of {self._verb} before its end")
            await self._wait()
        return self._head

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Piece:
        while not self._pieces:
            if self.end is not None or self._closed:
                raise StopAsyncIteration
            await self._wait()
        piece = self._pieces.popleft()
        self.offset = piece.offset + len(piece.data)
        self._owe(len(piece.data))
        return piece

    def _owe(self, amount: int) -> None:
        """Make room at the node for what was taken, not for every little bit by itself."""
        self._owed += amount
        if self._owed >= self._window // 4 and self._link is not None:
            self._link.post({"id": self._number, "more": self._owed})
            self._owed = 0

    async def _wait(self) -> None:
        """Return once there is news; open, or open again, what has to be."""
        if self._closed:
            raise Unreachable(f"the stream of {self._verb} was closed")
        if self._link is None:
            await self._ask(await self._connect())
        self._news.clear()
        if self._error is None and not self._pieces and self.end is None:
            await self._news.wait()
        error = self._error
        if error is not None and not self._pieces:
            if not isinstance(error, Unreachable) or self._resume_seconds <= 0:
                raise error
            await self._resume(error)

    async def _ask(self, link: Link) -> None:
        args = {**self._args, "offset": self._received} if self._received else self._args
        self._error = None
        self._number = link.request(self, self._verb, args, window=self._window)
        self._link, self._owed = link, 0

    async def _resume(self, error: Exception) -> None:
        """Go on over another link. What breaks again before a byte came is the same trouble."""
        if self._give_up_at is None:
            self._give_up_at, self._pause = self._clock() + self._resume_seconds, 0.0
        while not self._closed:
            if self._clock() + self._pause > self._give_up_at:
                raise error
            await asyncio.sleep(self._pause)
            self._pause = min(2 * self._pause, _LONGEST_PAUSE) or _FIRST_PAUSE
            try:
                await self._ask(await self._connect())
            except Unreachable:
                continue
            return

    async def aclose(self) -> None:
        """Ask for no more. Idempotent, and right from another task too."""
        self._closed = True
        self._pieces.clear()
        link, self._link = self._link, None
        if link is not None:
            link.forget(self._number, cancel=True)
        self._news.set()

    async def __aenter__(self) -> Stream:  # noqa: PYI034 - no Self before Python 3.11
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
