"""Whether anybody looks at a widget, as far as a kernel can know.

A page that shows it says so every few seconds. A kernel hears that only between two cells: while
one runs, silence says nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

__all__ = ["PATIENCE_SECONDS", "Attention"]

PATIENCE_SECONDS: Final = 30.0
_MOST_VIEWS: Final = 32


class Attention:
    """Who said that they look. Any thread may ask and tell.

    Parameters
    ----------
    busy
        Whether a cell runs now.
    clock
        Seconds that only grow, for tests.
    """

    def __init__(self, *, busy: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._busy = busy
        # Who made the widget looks at it, until a page says more.
        self._heard_at = clock()
        self._views: dict[str, int] = {}

    @property
    def is_wanted(self) -> bool:
        """Whether somebody looks, or may."""
        with self._lock:
            return self._busy or self._clock() - self._heard_at <= PATIENCE_SECONDS

    @property
    def heard(self) -> Mapping[str, int]:
        """The number of the last word heard of each view: it need not say it again before."""
        with self._lock:
            return dict(self._views)

    def look(self, view: str, number: int) -> None:
        """Take a view's word that it is looked at."""
        with self._lock:
            self._heard_at = self._clock()
            self._views.pop(view, None)
            self._views[view] = number
            while len(self._views) > _MOST_VIEWS:
                del self._views[next(iter(self._views))]

    def leave(self, view: str) -> None:
        """Take a view's word that it is gone. After the last one nobody looks."""
        with self._lock:
            self._views.pop(view, None)
            if not self._views:
                self._heard_at = float("-inf")

    def begin(self) -> None:
        """Note that a cell runs."""
        with self._lock:
            self._busy = True

    def end(self) -> None:
        """Note that the cell has ended: from now on pages are heard again."""
        with self._lock:
            self._busy = False
            if self._heard_at > float("-inf"):
                self._heard_at = self._clock()
