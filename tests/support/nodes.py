"""A node that a test plays itself: a shell whose pipes speak the channel's frames."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from jupyter_aiinfra.channel import opening
from jupyter_aiinfra.errors import Unreachable
from jupyter_aiinfra.node import frames
from jupyter_aiinfra.shell import Completed, Pipe

HELLO = {"protocol": frames.PROTOCOL, "time": 1000.0, "python": "3.8.0", "home": "/home/me"}


class PlayedPipe:
    """One channel's pipe: tests say what comes from it, and see what was written to it."""

    def __init__(self, argv: Sequence[str], *, stderr: bytes = b"") -> None:
        self.argv = list(argv)
        self.marker = argv[-1]
        self.stderr_tail = stderr
        self.closed = False
        self.stuck = False
        self._out: asyncio.Queue[bytes] = asyncio.Queue()
        self._in: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._skip = len(opening.opening())
        self._decoder = frames.Decoder()
        self._status = 0

    # --- what the channel does ---

    async def write(self, data: bytes | memoryview) -> None:
        if self.closed:
            raise Unreachable("takes no more input")
        if self.stuck:
            await asyncio.Event().wait()
        skipped = data[: self._skip]
        self._skip -= len(skipped)
        for header, piece, _ in self._decoder.feed(bytes(data[len(skipped) :])):
            self._in.put_nowait({**header, "piece": piece} if piece else dict(header))

    async def read(self, limit: int) -> bytes:
        if self.closed:
            return b""
        data = await self._out.get()
        assert len(data) <= limit
        return data

    async def wait(self) -> int:
        return self._status

    async def close(self, *, grace: float = 1.0) -> None:
        del grace
        self.closed = True
        self._out.put_nowait(b"")

    # --- what the test does ---

    def say(self, data: bytes) -> None:
        self._out.put_nowait(data)

    def send(self, header: dict[str, Any], data: bytes = b"") -> None:
        self.say(frames.encode(header, len(data)) + data)

    def greet(self, *, banner: bytes = b"") -> None:
        self.say(banner + f"\n<<{self.marker}>>\n".encode())
        self.send({"hello": HELLO})

    def end(self, status: int = 0) -> None:
        self._status = status
        self.say(b"")

    async def heard(self, word: str) -> dict[str, Any]:
        """Return the next frame of the channel that has `word` in its header."""
        while True:
            header = await self._in.get()
            if word in header:
                return header


class PlayedShell:
    """Opens :class:`PlayedPipe` objects; `opened` gives them to the test as they are made."""

    def __init__(self) -> None:
        self.opened: asyncio.Queue[PlayedPipe] = asyncio.Queue()
        self.count = 0
        self.refuse: Exception | None = None

    async def open(self, argv: Sequence[str]) -> Pipe:
        if self.refuse is not None:
            raise self.refuse
        pipe = PlayedPipe(argv)
        self.count += 1
        self.opened.put_nowait(pipe)
        return pipe

    async def next(self, *, greet: bool = True) -> PlayedPipe:
        pipe = await self.opened.get()
        if greet:
            pipe.greet()
        return pipe

    async def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 30.0
    ) -> Completed:
        raise AssertionError(f"{argv} was run")

    def stream(self, argv: Sequence[str], *, stdin: bytes = b"") -> AsyncIterator[bytes]:
        raise AssertionError(f"{argv} was run")
