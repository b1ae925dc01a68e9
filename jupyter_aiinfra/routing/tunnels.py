"""A program that has to run for a replica to be reached: started, watched, started again."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import signal
import sys
import time
from pathlib import Path

from jupyter_aiinfra.routing.config import Replica

__all__ = ["Tunnelled"]

_LONGEST_PAUSE_SECONDS = 10.0
_STEADY_SECONDS = 30.0
_END_SECONDS = 5.0
_TOLD_BYTES = 2000
_SET_DEATH_SIGNAL = 1


def _end_with_the_router() -> None:
    """Have the kernel end this program when the router ends, however that ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGTERM)


class Tunnelled:
    """The tunnel of a replica that has one."""

    def __init__(self, replica: Replica) -> None:
        assert replica.tunnel is not None  # noqa: S101 - for the type checker; callers look
        self._argv = replica.tunnel.argv
        self._address = replica.address
        self._process: asyncio.subprocess.Process | None = None
        self._said: asyncio.Task[bytes] | None = None
        self._begun = 0.0
        self._due = 0.0
        self._pause = 0.0
        self.problem = ""

    async def keep(self) -> None:
        """Have it run; one that ended is started again, more and more slowly."""
        if self._process is not None and self._process.returncode is None:
            return
        now = time.monotonic()
        if self._process is not None:
            await self._bury(now)
        if now < self._due:
            return
        self._clean()
        self._begun = now
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                preexec_fn=_end_with_the_router,
            )
        except OSError as error:
            self.problem = f"the tunnel cannot be started: {error}"
            self._slower(now)
            return
        self._said = asyncio.ensure_future(_tail(self._process))

    def _clean(self) -> None:
        """Remove the socket that a dead one left: ssh would not take its place."""
        if self._address.startswith("unix:"):
            Path(self._address.removeprefix("unix:")).unlink(missing_ok=True)

    async def _bury(self, now: float) -> None:
        process, self._process = self._process, None
        told = (await self._said).decode(errors="replace").strip() if self._said else ""
        status = process.returncode if process is not None else None
        last = told.splitlines()[-1] if told else f"status {status}"
        self.problem = f"the tunnel ended: {last}"
        if now - self._begun > _STEADY_SECONDS:
            self._pause = 0.0
        self._slower(now)

    def _slower(self, now: float) -> None:
        self._due = now + self._pause
        self._pause = min(_LONGEST_PAUSE_SECONDS, 2 * self._pause or 0.25)

    async def close(self) -> None:
        """End it. May be called twice."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), _END_SECONDS)
            except asyncio.TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if self._said is not None:
            await self._said


async def _tail(process: asyncio.subprocess.Process) -> bytes:
    """Read what it says until its end, so that it never waits; return the last of it."""
    said = b""
    stream = process.stderr
    while stream is not None and (data := await stream.read(4096)):
        said = (said + data)[-_TOLD_BYTES:]
    await process.wait()
    return said
