"""Errands that may never come back, run so that none of them waits for another.

Standard library only, Python 3.8 and later; sent to nodes. A call into a driver cannot be cut off:
the thread that makes it may be stuck for good. So the caller only ever waits for so long. While all
is well one thread does all errands of a round in turn, which costs a fraction of a thread each.
When half of the time is gone, each of those that it has not come to gets a thread of its own, and
the first is left to what holds it up. An errand that is under way is not begun again, so there
are never more threads than errands, and one.

Handing errands to a thread costs as much as some of them. Where the caller can be replaced it does
them itself: when it is stuck, :meth:`Crew.look` has another thread take its place.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from queue import Empty, SimpleQueue
from typing import Any, Callable, Sequence

__all__ = ["Abandoned", "Crew", "Errand"]

# One that was late has a thread of its own until it was in time so often.
_PROBATION = 30


class Errand:
    """Something to be done again and again.

    Parameters
    ----------
    work
        What to do; called with nothing. What it returns or raises is kept.
    """

    __slots__ = ("began", "error", "probation", "result", "round", "work")

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work
        self.result: Any = None
        self.error: Exception | None = None
        self.round = 0
        """The round in which it was last finished."""
        self.began: float | None = None
        """Since when it is under way."""
        self.probation = 0

    def run(self, number: int) -> None:
        """Do it, for round `number`."""
        try:
            self.result, self.error = self.work(), None
        except Exception as error:  # noqa: BLE001 - it is the caller's to judge
            self.result, self.error = None, error
        self.round = number
        self.began = None


class Abandoned(BaseException):
    """Another thread has taken the place of this one, which is to end without a word."""


_Order = Any  # (what to do, where to say that it is done), or None: go home


class Crew:
    """Runs errands, a round at a time; used by one thread.

    Parameters
    ----------
    replace
        Called by :meth:`look` to have another thread do what the caller of :meth:`run` was doing,
        from a point where no errand was begun. Without it all errands are done by other threads.
    """

    def __init__(self, replace: Callable[[], None] | None = None) -> None:
        self._replace = replace
        self._number = 0
        self._inbox: SimpleQueue[_Order] | None = None
        self._lock = threading.Lock()
        self._turn: Errand | None = None
        self._since = 0.0

    def run(self, errands: Sequence[Errand], seconds: float) -> list[bool]:
        """Run those that are not still under way; return which were finished in time.

        Raises
        ------
        Abandoned
            It took so long that another thread is in the place of this one.
        """
        if self._replace is not None and not any(
            errand.probation or errand.began is not None for errand in errands
        ):
            self._do(errands)
            return [True] * len(errands)
        return self._hand_out(errands, seconds)

    def look(self, seconds: float) -> None:
        """Replace the thread that is in :meth:`run` if it does errands since so many seconds."""
        with self._lock:
            errand = self._turn
            if errand is None or time.monotonic() - self._since < seconds:
                return
            self._turn = None
            errand.probation = _PROBATION
        assert self._replace is not None  # noqa: S101 - else nobody takes turns
        self._replace()

    def _do(self, errands: Sequence[Errand]) -> None:
        self._number += 1
        now = time.monotonic()
        before: Errand | None = None
        for errand in errands:
            self._pass(before, errand, now)
            errand.run(self._number)
            before = errand
        self._pass(before, None, now)

    def _pass(self, before: Errand | None, errand: Errand | None, now: float) -> None:
        """Go on from one errand to the next, unless another thread does."""
        with self._lock:
            if before is not None and self._turn is not before:
                raise Abandoned
            self._turn, self._since = errand, now
            if errand is not None:
                errand.began = now

    def _hand_out(self, errands: Sequence[Errand], seconds: float) -> list[bool]:
        self._number += 1
        now = time.monotonic()
        todo = [errand for errand in errands if errand.began is None]
        for errand in todo:
            errand.began = now
        done: SimpleQueue[None] = SimpleQueue()
        alone = [errand for errand in todo if errand.probation]
        together = deque(errand for errand in todo if not errand.probation)
        self._spread(alone, done)
        busy = len(alone) + bool(together)
        if together:
            self._send(together, done)
            busy -= _finished(done, busy, now + seconds / 2)
            if busy:
                rest = list(_drain(together))
                self._dismiss()
                self._spread(rest, done)
                busy += len(rest)
        _finished(done, busy, now + seconds)
        for errand in todo:
            if errand.round != self._number:
                errand.probation = _PROBATION
            elif errand.probation:
                errand.probation -= 1
        return [errand.round == self._number for errand in errands]

    def _send(self, errands: deque[Errand], done: SimpleQueue[None]) -> None:
        if self._inbox is None:
            self._inbox = SimpleQueue()
            _start(_worker, self._inbox)
        self._inbox.put((self._number, errands, done))

    def _dismiss(self) -> None:
        """Let the worker end when it comes back, if it does; the next round has another."""
        if self._inbox is not None:
            self._inbox.put(None)
            self._inbox = None

    def _spread(self, errands: Sequence[Errand], done: SimpleQueue[None]) -> None:
        for errand in errands:
            _start(_alone, errand, self._number, done)


def _start(target: Callable[..., None], *arguments: Any) -> None:
    threading.Thread(target=target, args=arguments, daemon=True).start()


def _worker(inbox: SimpleQueue[_Order]) -> None:
    while True:
        order = inbox.get()
        if order is None:
            return
        number, errands, done = order
        for errand in _drain(errands):
            errand.run(number)
        done.put(None)


def _alone(errand: Errand, number: int, done: SimpleQueue[None]) -> None:
    errand.run(number)
    done.put(None)


def _drain(errands: deque[Errand]) -> Any:
    with contextlib.suppress(IndexError):  # another thread may have had the last
        while True:
            yield errands.popleft()


def _finished(done: SimpleQueue[None], threads: int, until: float) -> int:
    """Wait until so many `threads` are done, or it is `until`; return how many are."""
    count = 0
    with contextlib.suppress(Empty):
        while count < threads:
            done.get(timeout=max(0.0, until - time.monotonic()))
            count += 1
    return count
