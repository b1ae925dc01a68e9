"""One background event loop a process, so that what is written async once serves sync callers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

__all__ = ["LoopThread", "collect"]

T = TypeVar("T")

_MEANWHILE_SECONDS = 0.2


class LoopThread:
    """An event loop in a daemon thread.

    The kernel's own loop is busy while a cell runs, so sync callers (magics, command line) hand
    their coroutines to this one. Close is idempotent; coroutines still running are cancelled.
    """

    def __init__(self, name: str = "aiinfra-loop") -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start `work` on the loop and return its future at once."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(
        self, work: Coroutine[Any, Any, T], *, meanwhile: Callable[[], None] | None = None
    ) -> T:
        """Run `work` on the loop and wait for its result.

        While it waits, and once at the end, `meanwhile` is called in the caller's thread.

        A ``KeyboardInterrupt`` while waiting cancels the work and is raised once its clean-up is
        through: an interrupted launch has taken back what it started. A second one does not wait.
        """
        ended = threading.Event()
        tasks: list[asyncio.Task[T]] = []

        def begin() -> None:
            task = self._loop.create_task(work)
            task.add_done_callback(lambda _: ended.set())
            tasks.append(task)

        def cancel() -> None:
            tasks[0].cancel()

        self._loop.call_soon_threadsafe(begin)
        try:
            while not ended.wait(None if meanwhile is None else _MEANWHILE_SECONDS):
                if meanwhile is not None:
                    meanwhile()
        except BaseException:
            self._loop.call_soon_threadsafe(cancel)
            ended.wait()
            raise
        if meanwhile is not None:
            meanwhile()
        return tasks[0].result()

    def close(self) -> None:
        """Cancel what still runs, stop the loop and join the thread."""
        if self._loop.is_closed():
            return
        self.run(self._cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _cancel_all(self) -> None:
        current = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not current]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def collect(items: AsyncIterator[T]) -> list[T]:
    """Return everything `items` yields, as a list."""
    return [item async for item in items]
