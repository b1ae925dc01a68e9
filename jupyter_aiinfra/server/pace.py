"""When what is due: pauses that end early, and how long each of many things rests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Container, Hashable
from typing import Any

__all__ = ["Alarm", "Pace", "Paces"]


class Alarm:
    """A pause that ends early when somebody rings."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()
        self._early = False

    def ring(self) -> None:
        """End the present pause, or else the next one."""
        self._early = True
        self._rung.set()

    async def wait(self, seconds: float) -> bool:
        """Pause; return whether somebody has rung, before or meanwhile."""
        # A timer, and no task: this is done twice a second for as long as the server lives.
        timer = asyncio.get_running_loop().call_later(seconds, self._rung.set)
        try:
            await self._rung.wait()
        finally:
            timer.cancel()
        self._rung.clear()
        early, self._early = self._early, False
        return early


class Pace:
    """When something is next due by the monotonic clock, and the pause that leads there.

    ``seen`` is what its owner last saw of it.
    """

    def __init__(self) -> None:
        self.due_at = 0.0
        self.pause = 0.0
        self.seen: Any = None


class Paces:
    """The pace of each of many things; one not known yet is due at once."""

    def __init__(self) -> None:
        self._paces: dict[Hashable, Pace] = {}

    def of(self, what: Hashable) -> Pace:
        """Return the pace of `what`."""
        return self._paces.setdefault(what, Pace())

    def rest(self, what: Hashable, seconds: float) -> None:
        """Have `what` due so many seconds from now."""
        pace = self.of(what)
        pace.pause = seconds
        pace.due_at = time.monotonic() + seconds

    def keep(self, these: Container[Hashable]) -> None:
        """Forget all but these."""
        self._paces = {what: pace for what, pace in self._paces.items() if what in these}
