"""What the verbs share in one process: settings, store, engine and the loop they run on."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from jupyter_aiinfra.aio import LoopThread
from jupyter_aiinfra.settings import Settings, load_settings

if TYPE_CHECKING:
    from jupyter_aiinfra.engine import Engine

__all__ = ["Session"]

T = TypeVar("T")


class Session:
    """Opens the store and the engine at first use; a forked child opens its own."""

    def __init__(self, settings: Settings | None = None) -> None:
        self._given = settings
        self._settings: Settings | None = None
        self._loop: LoopThread | None = None
        self._engine: Engine | None = None
        self._owner = os.getpid()

    @property
    def settings(self) -> Settings:
        """The settings, as they were at first use."""
        if self._settings is None:
            self._settings = self._given or load_settings()
        return self._settings

    @property
    def engine(self) -> Engine:
        """The engine, opened at first use.

        Raises
        ------
        StoreError
            The database cannot be used.
        """
        if self._owner != os.getpid():
            # The parent's loop thread does not exist here, and its connections are not ours.
            self._owner, self._loop, self._engine = os.getpid(), None, None
        if self._engine is None:
            # SQLAlchemy comes with these: `%load_ext` must not wait for it.
            from jupyter_aiinfra.engine import Engine  # noqa: PLC0415
            from jupyter_aiinfra.store import open_store  # noqa: PLC0415

            self._engine = Engine(open_store(self.settings), self.settings)
        return self._engine

    def run(
        self, work: Coroutine[Any, Any, T], *, meanwhile: Callable[[], None] | None = None
    ) -> T:
        """Run `work` on the background loop and wait for it; an interrupt cancels it.

        While it waits, `meanwhile` is called now and then, in the caller's thread.
        """
        return self._running_loop().run(work, meanwhile=meanwhile)

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start `work` on the background loop; an interrupt of who waits for it leaves it be."""
        return self._running_loop().submit(work)

    def _running_loop(self) -> LoopThread:
        if self._loop is None:
            self._loop = LoopThread()
        return self._loop

    def close(self) -> None:
        """Let go of everything. Idempotent; the session opens again at the next use."""
        if self._owner == os.getpid():
            if self._engine is not None:
                self.run(self._engine.aclose())
            if self._loop is not None:
                self._loop.close()
        self._loop, self._engine, self._settings = None, None, None
