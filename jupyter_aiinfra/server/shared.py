"""The server's one engine, opened when first asked for and never used in the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from jupyter_aiinfra.aio import LoopThread
from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.errors import AiInfraError

__all__ = ["SharedEngine"]

T = TypeVar("T")


class SharedEngine:
    """One engine for all of a server, on a thread and an event loop of its own.

    The engine asks its database and reads files without yielding, so it must not share the loop
    that answers browsers. Opening it may take long (a database that does not answer, a migration)
    and may fail: who waited is told, and the next caller tries again.
    """

    def __init__(self, opener: Callable[[], Engine]) -> None:
        self._opener = opener
        self._thread: LoopThread | None = None
        self._engine: Engine | None = None
        self._failure: tuple[float, AiInfraError | None] = (0.0, None)

    async def call(self, work: Callable[[Engine], T]) -> T:
        """Run ``work(engine)`` on the engine's thread and return what it returns.

        Cancelling the caller does not stop what already runs there.
        """
        asked_at = time.monotonic()

        async def run() -> T:
            return work(self._opened(asked_at))

        return await self._submit(run())

    async def run(self, work: Callable[[Engine], Coroutine[Any, Any, T]]) -> T:
        """Await ``work(engine)`` on the engine's thread; cancelling the caller cancels it."""
        asked_at = time.monotonic()

        async def run() -> T:
            return await work(self._opened(asked_at))

        return await self._submit(run())

    async def close(self) -> None:
        """Close the engine if it was opened. Idempotent; a later call opens it again."""
        thread, self._thread = self._thread, None
        engine, self._engine = self._engine, None
        if thread is None:
            return
        if engine is not None:
            await asyncio.wrap_future(thread.submit(engine.aclose()))
        await asyncio.to_thread(thread.close)

    def _opened(self, asked_at: float) -> Engine:
        # Only ever called on the engine's thread, one call at a time.
        if self._engine is None:
            failed_at, error = self._failure
            if error is not None and failed_at >= asked_at:
                # Who waited while it failed has waited long enough to try once more each.
                raise error
            try:
                self._engine = self._opener()
            except AiInfraError as failure:
                self._failure = (time.monotonic(), failure)
                raise
        return self._engine

    async def _submit(self, work: Coroutine[Any, Any, T]) -> T:
        if self._thread is None:
            self._thread = LoopThread("aiinfra-engine")
        return await asyncio.wrap_future(self._thread.submit(work))
