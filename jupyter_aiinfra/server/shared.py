"""The server's one store, opened when first asked for and never used in the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from jupyter_aiinfra.store import Store

__all__ = ["SharedStore"]

T = TypeVar("T")


class SharedStore:
    """One store for all handlers of a server.

    Opening it may take long (a database that does not answer, a migration) and may fail; both
    happen in a thread, once for all who wait, and the next caller after a failure tries again.
    """

    def __init__(self, opener: Callable[[], Store]) -> None:
        self._opener = opener
        self._opening: asyncio.Task[Store] | None = None

    async def call(self, work: Callable[[Store], T]) -> T:
        """Run ``work(store)`` in a thread and return what it returns.

        Cancelling the caller does not stop what already runs in a thread.
        """
        store = await self._opened()
        return await asyncio.to_thread(work, store)

    async def close(self) -> None:
        """Close the store if it was opened. Idempotent; a later call opens it again."""
        opening, self._opening = self._opening, None
        if opening is None:
            return
        # What failed to open needs no closing, and whoever waited for it has been told.
        results = await asyncio.gather(opening, return_exceptions=True)
        for store in results:
            if not isinstance(store, BaseException):
                await asyncio.to_thread(store.close)

    async def _opened(self) -> Store:
        if self._opening is None:
            self._opening = asyncio.create_task(asyncio.to_thread(self._opener))
            self._opening.add_done_callback(self._forget_failure)
        # One impatient caller must not cancel the opening for the others.
        return await asyncio.shield(self._opening)

    def _forget_failure(self, opening: asyncio.Task[Store]) -> None:
        failed = opening.cancelled() or opening.exception() is not None
        if failed and self._opening is opening:
            self._opening = None
