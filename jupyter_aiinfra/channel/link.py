"""One opened channel, from its marker to its end: frames out, frames in, signs of life."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from jupyter_aiinfra.channel import opening
from jupyter_aiinfra.errors import (
    AiInfraError,
    Conflict,
    NotFound,
    PoolError,
    ResultError,
    StorageFull,
    SubmitError,
    Unreachable,
    UsageError,
)
from jupyter_aiinfra.node import frames
from jupyter_aiinfra.shell import Pipe, Shell

__all__ = ["Link", "Receiver", "error_from"]

_BANNER_BYTES = 1 << 20
_LAST_WORDS_SECONDS = 5.0
# What waits to be written before who writes more has to wait.
_OUTGOING_BYTES = 1 << 20
_WORTH_A_WRITE_BYTES = 1 << 14

_KINDS: Mapping[str, type[AiInfraError]] = {
    "conflict": Conflict,
    "damaged": ResultError,
    "full": StorageFull,
    "not_found": NotFound,
    "pool": PoolError,
    "submit": SubmitError,
    "usage": UsageError,
}


def error_from(name: str, told: Mapping[str, Any]) -> AiInfraError:
    """Return the error that a node told of."""
    kind = _KINDS.get(told["kind"], PoolError)
    return kind(f"{name}: {told['message']}", hint=told.get("hint", ""))


class Receiver(Protocol):
    """Who waits for the frames of one request."""

    def receive(self, header: Mapping[str, Any], piece: bytes, left: int) -> None:
        """Take a frame, or a piece of one with `left` bytes still to come; never waits."""
        ...

    def broken(self, error: Exception) -> None:
        """Take note that nothing comes any more."""
        ...


class Link:
    """An open channel. It never comes back once it is broken; its owner opens another."""

    def __init__(self, pipe: Pipe, *, name: str) -> None:
        self.name = name
        self.hello: Mapping[str, Any] = {}
        self.skew_seconds = 0.0
        self.error: Exception | None = None
        self._pipe = pipe
        self._decoder = frames.Decoder()
        self._receivers: dict[int, Receiver] = {}
        self._number = 0
        self._outgoing: deque[bytes | memoryview] = deque()
        self._outgoing_bytes = 0
        self._has_outgoing = asyncio.Event()
        self._has_room = asyncio.Event()
        self._heard = True
        self._greeted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks: list[asyncio.Task[None]] = []

    # --- opening and closing ---

    @classmethod
    async def open(
        cls,
        shell: Shell,
        *,
        python: str,
        name: str,
        timeout: float,
        silence: float,
        clock: Callable[[], float],
    ) -> Link:
        """Start the far end and wait until it answers.

        Raises
        ------
        PoolError
            There is no Python on the node that will do.
        Unreachable
            The node did not answer, within `timeout` seconds.
        """
        marker = secrets.token_hex(16)
        pipe = await asyncio.wait_for(shell.open(opening.argv(python, marker)), timeout)
        link = cls(pipe, name=name)
        try:
            begun = time.time()
            rest = await link._arrive(marker, python=python, timeout=timeout)
            link._begin(rest, silence=silence, clock=clock)
            await asyncio.wait_for(asyncio.shield(link._greeted), timeout)
            # The node's clock was read somewhere between.
            link.skew_seconds = link.hello["time"] - (begun + time.time()) / 2
        except BaseException:
            await link.aclose(grace=0.0)
            raise
        return link

    async def _arrive(self, marker: str, *, python: str, timeout: float) -> bytes:
        """Send what the far end runs; return what follows its marker, or say why there is none."""
        rest, status = None, None
        with contextlib.suppress(asyncio.TimeoutError):
            rest = await asyncio.wait_for(self._find(marker), timeout)
            if rest is None:
                status = await asyncio.wait_for(self._pipe.wait(), _LAST_WORDS_SECONDS)
        if rest is None:
            stderr = self._pipe.stderr_tail
            raise opening.explain(self.name, python, status=status, stderr=stderr)
        return rest

    async def _find(self, marker: str) -> bytes | None:
        """Send what the far end runs; return what follows its marker, ``None`` without any."""
        # A far end that ends early takes no input: its last words say more than this would.
        with contextlib.suppress(Unreachable):
            await self._pipe.write(opening.opening())
        wanted, seen = f"\n<<{marker}>>\n".encode(), b""
        while chunk := await self._pipe.read(frames.CHUNK_BYTES):
            before, found, rest = (seen + chunk).partition(wanted)
            if found:
                return rest
            seen = before[-_BANNER_BYTES:]
        return None

    def _begin(self, rest: bytes, *, silence: float, clock: Callable[[], float]) -> None:
        self._take(rest)
        every = min(frames.PING_SECONDS, silence / 3)
        for work in (self._read(), self._write(), self._watch(every, silence, clock)):
            self._tasks.append(asyncio.create_task(self._guard(work)))

    async def _guard(self, work: Awaitable[None]) -> None:
        try:
            await work
        except (AiInfraError, ValueError, KeyError) as error:
            self._break(error)

    def _break(self, error: Exception) -> None:
        """Tell everybody, once, that nothing comes any more."""
        if self.error is not None:
            return
        if not isinstance(error, AiInfraError):
            error = Unreachable(f"{self.name}: the channel cannot be understood any more: {error}")
        self.error = error
        self._has_room.set()
        if not self._greeted.done():
            self._greeted.set_exception(error)
        self._greeted.exception() if not self._greeted.cancelled() else None
        receivers, self._receivers = self._receivers, {}
        for receiver in receivers.values():
            receiver.broken(error)

    async def aclose(self, *, grace: float = 1.0) -> None:
        """End it. Idempotent; requests that still wait get Unreachable."""
        self._break(Unreachable(f"{self.name}: the channel was closed"))
        try:
            await self._pipe.close(grace=grace)
        finally:
            for task in self._tasks:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- requests ---

    def request(self, receiver: Receiver, verb: str, args: Mapping[str, Any], **more: Any) -> int:
        """Send a request; return its number. Raises Unreachable once broken."""
        if self.error is not None:
            raise Unreachable(str(self.error))
        self._number += 1
        self._receivers[self._number] = receiver
        self.post({"id": self._number, "verb": verb, "args": dict(args), **more})
        return self._number

    def forget(self, number: int, *, cancel: bool) -> None:
        """Listen no more to a request, and tell the node so if it has not ended. Idempotent."""
        if self._receivers.pop(number, None) is not None and cancel:
            self.post({"id": number, "cancel": True})

    def post(self, header: Mapping[str, Any], data: bytes | memoryview = b"") -> None:
        """Put a frame in the queue of what is written; never waits."""
        if self.error is None:
            line = frames.encode(dict(header), len(data))
            # Much is not copied once more; little is not worth a write of its own.
            parts = (line, data) if len(data) > _WORTH_A_WRITE_BYTES else (line + data,)
            self._outgoing.extend(parts)
            self._outgoing_bytes += len(line) + len(data)
            self._has_outgoing.set()

    async def send(self, header: Mapping[str, Any], data: bytes | memoryview) -> None:
        """Put a frame with bytes in the queue, once that is short enough."""
        while self._outgoing_bytes > _OUTGOING_BYTES and self.error is None:
            self._has_room.clear()
            await self._has_room.wait()
        if self.error is not None:
            raise Unreachable(str(self.error))
        self.post(header, data)

    # --- the tasks ---

    async def _read(self) -> None:
        while data := await self._pipe.read(frames.CHUNK_BYTES):
            self._heard = True
            self._take(data)
        raise Unreachable(f"{self.name}: {_why(self._pipe.stderr_tail)}", hint="try again")

    def _take(self, data: bytes) -> None:
        for header, piece, left in self._decoder.feed(data):
            number = header.get("id")
            if number is None:
                if "hello" in header:
                    self.hello = header["hello"]
                    if not self._greeted.done():
                        self._greeted.set_result(None)
                continue
            receiver = self._receivers.get(number)
            if receiver is None:
                continue
            if not header.keys().isdisjoint(("ok", "end", "error")):
                del self._receivers[number]
            receiver.receive(header, piece, left)

    async def _write(self) -> None:
        while True:
            while not self._outgoing:
                self._has_outgoing.clear()
                await self._has_outgoing.wait()
            part = self._outgoing.popleft()
            self._outgoing_bytes -= len(part)
            self._has_room.set()
            await self._pipe.write(part)

    async def _watch(self, every: float, silence: float, clock: Callable[[], float]) -> None:
        """Ask for a sign of life, and break the link when none comes for `silence` seconds.

        Only time in which this loop ran counts: a notebook that held it up for a minute has not
        listened, which is no silence of the node's.
        """
        silent, ping, before = 0.0, 0, clock()
        while True:
            ping += 1
            self.post({"ping": ping})
            await asyncio.sleep(every)
            now = clock()
            silent = 0.0 if self._heard else silent + min(now - before, 2 * every)
            self._heard, before = False, now
            if silent >= silence:
                raise Unreachable(
                    f"{self.name} has not been heard of for {silent:.0f} s",
                    hint="the connection may be cut; jobs there go on by themselves",
                )


def _why(stderr: bytes) -> str:
    lines = stderr.decode(errors="replace").strip().splitlines()
    return f"the channel ended: {lines[-1]}" if lines else "the channel ended"
