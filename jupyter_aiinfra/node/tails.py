"""Follows logs for a channel: one thread for all of them.

What is new of a log goes out about twenty times a second, or as fast as the client takes it where
there is much. A log is over when its job is, and everything was read after that was known.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING or __package__:
    from jupyter_aiinfra.node import browse, ends, frames, receive, supervise
    from jupyter_aiinfra.node.channel import Call, Refusal
else:  # its neighbours in the payload
    import browse
    import ends
    import frames
    import receive
    import supervise
    from channel import Call, Refusal

__all__ = ["Tails"]

_TICK_SECONDS = 0.05
# At once of one log, where there is so much.
_MOST_BYTES = 1 << 19
# A job without an exit record may be over too; finding out may mean a look at all processes.
_STATUS_SECONDS = 2.0
_EXIT_SECONDS = 0.25
_FINAL = frozenset(("succeeded", "failed", "cancelled", "lost", "absent"))


class _Tail:
    """One log, and how far it was read."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.run_dir = os.path.realpath(os.path.expanduser(call.argument("run_dir", str)))
        self.parts = receive.safe_parts(call.argument("stream", str))
        self.offset: int = call.argument("offset", int, 0)
        self.follow = call.flag("follow")
        self.not_before = 0.0
        self.state: str | None = None
        self._descriptor: int | None = None

    def waiting(self) -> int:
        """Return how many bytes there are beyond what was read."""
        if self._descriptor is None:
            try:
                self._descriptor = browse.open_below(os.path.join(self.run_dir, "logs"), self.parts)
            except FileNotFoundError:
                return 0
            except browse.Missing as error:
                raise Refusal("not_found", f"{self.run_dir}: no log {error.path!r}") from error
        return os.fstat(self._descriptor).st_size - self.offset

    def read(self, length: int) -> ends.Part:
        """Return the next `length` bytes, or where they lie if they are many."""
        assert self._descriptor is not None  # noqa: S101 - there was something waiting
        if length > frames.CHUNK_BYTES // 2:
            data: ends.Part = ends.Slice(self._descriptor, self.offset, length)
        else:
            data = os.pread(self._descriptor, length, self.offset)
        self.offset += len(data)
        return data

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


class Tails:
    """All logs that one client follows."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tails: list[_Tail] = []
        self._wake = threading.Event()
        self._begun = False
        self._states: dict[str, str] = {}
        self._asked: dict[str, float] = {}
        self._askers = ThreadPoolExecutor(2, thread_name_prefix="state")

    def add(self, call: Call) -> None:
        """Follow one log from now on; the call is closed when that is over."""
        tail = _Tail(call)
        call.wakers.append(self._wake.set)
        with self._lock:
            if all(each.run_dir != tail.run_dir for each in self._tails):
                self._states.pop(tail.run_dir, None)
            self._tails.append(tail)
            if not self._begun:
                self._begun = True
                threading.Thread(target=self._run, name="tails", daemon=True).start()
        self._wake.set()

    def _run(self) -> None:
        while True:
            self._wake.clear()
            with self._lock:
                tails = list(self._tails)
            busy = False
            for tail in tails:
                busy = self._look(tail) or busy
            if not busy:
                # Without a log to follow there is nothing to look at until one comes.
                self._wake.wait(_TICK_SECONDS if tails else None)

    def _look(self, tail: _Tail) -> bool:
        """Send what is new; return whether there is more to send right away."""
        now = time.monotonic()
        try:
            if not tail.call.cancelled:
                going, busy = self._step(tail, now) if now >= tail.not_before else (True, False)
                if going:
                    return busy
        except Exception as error:  # noqa: BLE001 - of one log; the others go on
            tail.call.refuse(error)
        tail.close()
        with self._lock:
            self._tails.remove(tail)
        tail.call.close()
        return False

    def _step(self, tail: _Tail, now: float) -> tuple[bool, bool]:
        """Return whether the log goes on, and whether there is more to send right away."""
        # Looked up before the log: what was written before the end is there by then.
        state = self._states.get(tail.run_dir)
        waiting, room = tail.waiting(), tail.call.room
        if waiting > 0:
            data = tail.read(min(waiting, _MOST_BYTES, room)) if room > 0 else b""
            if data:
                tail.call.data(tail.offset - len(data), data)
            if len(data) == waiting:
                tail.not_before = now + _TICK_SECONDS
            return True, bool(data) and len(data) < waiting
        if tail.follow and state is None:
            self._ask(tail.run_dir, now)
            return True, False
        tail.call.end({"offset": tail.offset, "state": state})
        return False, False

    def _ask(self, run_dir: str, now: float) -> None:
        """Have somebody find out whether the job is over, from time to time."""
        ended = os.path.lexists(os.path.join(run_dir, "exit.json"))
        if now - self._asked.get(run_dir, float("-inf")) >= (
            _EXIT_SECONDS if ended else _STATUS_SECONDS
        ):
            self._asked[run_dir] = now
            self._askers.submit(self._find_out, run_dir)

    def _find_out(self, run_dir: str) -> None:
        try:
            state = supervise.status(run_dir)["state"]
        except (OSError, ValueError, KeyError) as error:
            # The job may have damaged its own records. It is asked again.
            print(f"{run_dir}: {error}", file=sys.stderr)
            return
        if state in _FINAL:
            self._states[run_dir] = state
            self._wake.set()
