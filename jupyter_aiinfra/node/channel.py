"""The node's end of a channel: answers requests and feeds streams until its input closes.

Started by ``boot.py``; nothing of it is on the node's disk. After the line ``<<MARKER>>`` only
frames come out (``frames.py``), whatever a login shell prints before it. From the client::

    {"id": 1, "verb": "status", "args": {…}}      a request; the answers may come in any order
    {"id": 1, "more": 65536}                      the client has room for so much more of a stream
    {"id": 1, "n": 4096} + bytes                  what a request takes in
    {"id": 1, "eof": {…}}                         that was all of it
    {"id": 1, "cancel": true}                     nobody waits for this any more
    {"ping": 7}                                   {"pong": 7} comes back

and to it::

    {"id": 1, "ok": {…}}                          the answer of a call
    {"id": 1, "head": {…}}                        what a stream says before its first byte
    {"id": 1, "at": 0, "n": 4096} + bytes         a part of a stream, from this offset
    {"id": 1, "end": {…}}                         a stream is over
    {"id": 1, "more": 65536}                      the node has room for so much more
    {"id": 1, "error": {"kind", "message", "hint"}}

A stream has a window: what the client has not made room for is not read from the disk, so a slow
reader costs neither memory here nor the other streams their pace. The main thread reads, one thread
writes, one follows all logs, some answer. None of them forks: what has to is a program of its own.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
import traceback
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Callable, Dict, Mapping, NamedTuple, NoReturn

if TYPE_CHECKING or __package__:
    from jupyter_aiinfra.node import ends, frames
else:  # its neighbours in the payload
    import ends
    import frames

__all__ = ["Call", "Cancelled", "Refusal", "Session", "Verbs", "main"]

# What the client sends in frames as large as this is read into buffers that are used again.
_LARGE_BYTES = 1 << 16
_BUFFER_BYTES = 1 << 20
_WORKERS = 16
# A client that is not heard of for so long is gone, even if the connection does not say so.
_SILENCE_SECONDS = 60.0
# What has begun when the client goes is finished: a half-made start would be worse than a late end.
_LAST_SECONDS = 30.0

# What changes something outside this process: it is not cut off in the middle.
_ACTS = frozenset(("start", "meet", "adopt", "kill", "remove"))

_Json = Dict[str, Any]


class Refusal(Exception):
    """A request that cannot be met; `kind` is the word for the client's error class."""

    def __init__(self, kind: str, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.hint = hint


class Cancelled(Exception):
    """The client does not wait for this any more."""


class Call:
    """A request: its arguments, and the ways to answer it."""

    def __init__(
        self,
        outlet: ends.Outlet,
        header: _Json,
        closed: Callable[[int], None],
        used: Callable[[frames.Piece], None],
    ) -> None:
        self.args: _Json = header.get("args") or {}
        self.verb: str = header["verb"]
        self.number: int = header["id"]
        self.wakers: list[Callable[[], None]] = []
        self._outlet = outlet
        self._changed = threading.Condition()
        self._room = int(header.get("window", frames.WINDOW_BYTES))
        self._closed = closed
        self._used = used
        self._cancelled = False
        self._taken: deque[frames.Piece] = deque()
        self._last: frames.Piece = b""
        self._owed = 0
        self._unread = 0
        self._eof: _Json | None = None

    def argument(self, name: str, kind: Any, default: Any = None) -> Any:
        """Return an argument of the right type, or refuse the request."""
        value = self.args.get(name, default)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise Refusal("usage", f"{self.verb}: {name} is {value!r}")
        return value

    def flag(self, name: str) -> bool:
        """Return whether an argument is there and true."""
        return bool(self.args.get(name))

    # --- what the client does ---

    def grant(self, amount: int) -> None:
        """Take note that the client has room for `amount` bytes more."""
        with self._changed:
            self._room += amount
            self._changed.notify_all()
        self._wake()

    def cancel(self) -> None:
        """Take note that nobody waits any more. Idempotent."""
        with self._changed:
            self._cancelled = True
            self._changed.notify_all()
        self._wake()

    def feed(self, data: frames.Piece, left: int) -> None:
        """Take in what the client sends: a part of a frame of which `left` bytes are to come."""
        with self._changed:
            self._taken.append(data)
            self._unread += len(data)
            # Nobody is woken for every little bit of a large frame.
            if not left or self._unread >= frames.CHUNK_BYTES:
                self._unread = 0
                self._changed.notify_all()

    def feed_end(self, value: _Json) -> None:
        """Take note that the client has sent all."""
        with self._changed:
            self._eof = value
            self._changed.notify_all()

    def _wake(self) -> None:
        for waker in self.wakers:
            waker()

    # --- what the verb does ---

    def close(self) -> None:
        """Take note that everything was said."""
        self._closed(self.number)

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits any more."""
        return self._cancelled

    @property
    def room(self) -> int:
        """How many bytes the client has room for."""
        return self._room

    def ok(self, value: _Json) -> None:
        """Answer."""
        if not self._cancelled:
            self._outlet.say({"id": self.number, "ok": value}, patient=True)

    def head(self, value: _Json) -> None:
        """Say what comes before the first byte."""
        self._outlet.send({"id": self.number, "head": value})

    def data(self, at: int, data: ends.Part) -> None:
        """Send a part of a stream, for which there has to be room."""
        with self._changed:
            self._room -= len(data)
        self._outlet.send({"id": self.number, "at": at}, data)

    def wait_for_room(self) -> int:
        """Return for how many bytes there is room, once there is; raises Cancelled."""
        with self._changed:
            while self._room <= 0 and not self._cancelled:
                self._changed.wait()
            if self._cancelled:
                raise Cancelled
            return self._room

    def pause(self, seconds: float) -> bool:
        """Wait; return whether the request was cancelled meanwhile."""
        with self._changed:
            self._changed.wait_for(lambda: self._cancelled, seconds)
            return self._cancelled

    def take(self) -> frames.Piece | None:
        """Return what the client sent next, ``None`` at its end, and make room for more.

        It is there until the next call, and then no more.
        """
        self._used(self._last)
        self._last = b""
        with self._changed:
            while not self._taken and self._eof is None and not self._cancelled:
                self._changed.wait()
            if self._cancelled:
                raise Cancelled
            if not self._taken:
                return None
            data = self._last = self._taken.popleft()
        # Not for every little bit by itself: the window is many times as large.
        self._owed += len(data)
        if self._owed >= _BUFFER_BYTES:
            self._outlet.say({"id": self.number, "more": self._owed})
            self._owed = 0
        return data

    @property
    def eof(self) -> _Json:
        """What the client said at the end of what it sent."""
        return self._eof or {}

    def end(self, value: _Json) -> None:
        """Say that a stream is over, behind its bytes."""
        self._outlet.send({"id": self.number, "end": value})

    def refuse(self, error: BaseException) -> None:
        """Answer with what went wrong."""
        if isinstance(error, Cancelled):
            return
        if isinstance(error, Refusal):
            told = {"kind": error.kind, "message": str(error), "hint": error.hint}
        else:
            traceback.print_exception(type(error), error, error.__traceback__)
            text = f"{self.verb} failed: {type(error).__name__}: {error}"
            told = {"kind": "pool", "message": text, "hint": ""}
        self._outlet.send({"id": self.number, "error": told})


class Verbs(NamedTuple):
    """What a node can do.

    A call is answered by one of a few threads; a stream has one of its own; a tail is begun in the
    main thread and closed by whoever feeds it.
    """

    calls: Mapping[str, Callable[[Call], _Json]]
    streams: Mapping[str, Callable[[Call], None]]
    tails: Mapping[str, Callable[[Call], None]]


class Session:
    """One client: reads its frames and has its requests answered."""

    def __init__(
        self,
        source: int,
        target: int,
        *,
        verbs: Verbs,
        silence_seconds: float = _SILENCE_SECONDS,
    ) -> None:
        self.outlet = ends.Outlet(target, self._gone)
        self._inlet = ends.Inlet(source)
        self._spare: deque[bytearray] = deque()
        self._verbs = verbs
        self._silence = silence_seconds
        self._open: dict[int, Call] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="call")
        self._left = threading.Event()

    def serve(self) -> None:
        """Return when the client is gone; it is not heard any more then."""
        with contextlib.closing(self._inlet):
            self._serve()

    def _serve(self) -> None:
        decoder = frames.Decoder()
        heard = time.monotonic()
        while not self._left.is_set():
            if not self._inlet.wait(1.0):
                if time.monotonic() - heard > self._silence:
                    return
                continue
            if decoder.left >= _LARGE_BYTES:
                came = self._read_large(decoder)
            else:
                data = self._inlet.read(frames.CHUNK_BYTES)
                came = bool(data)
                for header, piece, left in decoder.feed(data):
                    self._take(header, piece, left)
            if not came:
                return
            heard = time.monotonic()

    def _read_large(self, decoder: frames.Decoder) -> bool:
        """Read what is to come of a frame, or a large piece of that; return whether any came."""
        buffer = self._spare.popleft() if self._spare else bytearray(_BUFFER_BYTES)
        piece = memoryview(buffer)[: decoder.left]
        piece = piece[: self._inlet.fill(piece)]
        came: frames.Piece = piece
        if len(piece) < _BUFFER_BYTES // 2:  # what comes slowly must not keep many buffers
            came = bytes(piece)
            self._reuse(piece)
        if came:
            self._take(*decoder.passed(came))
        return bool(came)

    def _reuse(self, piece: frames.Piece) -> None:
        """Take back the buffer of a piece that nobody looks at any more."""
        if isinstance(piece, memoryview) and isinstance(piece.obj, bytearray):
            self._spare.append(piece.obj)

    def finish(self) -> None:
        """Cancel what streams, let what was begun come to its end, within some time."""
        deadline = time.monotonic() + _LAST_SECONDS
        with self._lock:
            calls = list(self._open.values())
        for call in calls:
            call.cancel()
        while self._busy() and time.monotonic() < deadline:
            time.sleep(0.02)

    def _busy(self) -> bool:
        with self._lock:
            return any(call.verb in _ACTS for call in self._open.values())

    def _gone(self) -> None:
        self._left.set()

    def _take(self, header: _Json, piece: frames.Piece, left: int) -> None:
        if "ping" in header:
            self.outlet.say({"pong": header["ping"]})
        elif "verb" in header:
            self._begin(header)
        else:
            with self._lock:
                call = self._open.get(header.get("id", -1))
            if call is None:  # it has ended meanwhile
                self._reuse(piece)
                return
            if "more" in header:
                call.grant(int(header["more"]))
            elif "cancel" in header:
                call.cancel()
            elif "eof" in header:
                call.feed_end(header["eof"])
            elif piece:
                call.feed(piece, left)

    def _begin(self, header: _Json) -> None:
        call = Call(self.outlet, header, self._forget, self._reuse)
        with self._lock:
            self._open[call.number] = call
        if call.verb in self._verbs.calls:
            self._pool.submit(self._run, self._answer, call)
        elif call.verb in self._verbs.streams:
            argument = (self._verbs.streams[call.verb], call)
            threading.Thread(target=self._run, args=argument, daemon=True).start()
        elif call.verb in self._verbs.tails:
            try:
                self._verbs.tails[call.verb](call)
            except Exception as error:  # noqa: BLE001 - it goes to the client, whatever it is
                self._refuse(call, error)
        else:
            self._refuse(call, Refusal("usage", f"this node knows no {call.verb!r}"))

    def _answer(self, call: Call) -> None:
        if not call.cancelled:
            call.ok(self._verbs.calls[call.verb](call))

    def _refuse(self, call: Call, error: BaseException) -> None:
        """Refuse what was to begin in the main thread, which must not wait for the client."""
        threading.Thread(target=self._run, args=(_raiser(error), call), daemon=True).start()

    @staticmethod
    def _run(work: Callable[[Call], None], call: Call) -> None:
        try:
            work(call)
        except Exception as error:  # noqa: BLE001 - it goes to the client, whatever it is
            call.refuse(error)
        finally:
            call.close()

    def _forget(self, number: int) -> None:
        with self._lock:
            self._open.pop(number, None)


def _raiser(error: BaseException) -> Callable[[Call], None]:
    def work(_: Call) -> None:
        raise error

    return work


def main(marker: str, sources: Mapping[str, str]) -> NoReturn:
    """Serve the client at standard input and output, and end when it is gone.

    Both become private, so that nothing that prints, here or in a program that is started, gets
    into the frames.
    """
    if TYPE_CHECKING or __package__:
        from jupyter_aiinfra.node import verbs
    else:
        import verbs

    os.umask(0o077)
    source, target = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    status = 0
    try:
        os.write(target, f"\n<<{marker}>>\n".encode("ascii"))
        session = Session(source, target, verbs=verbs.table(sources))
        session.outlet.say({"hello": verbs.hello()})
        session.serve()
        session.finish()
    except BaseException:  # noqa: BLE001 - the last frame: say it, and end
        traceback.print_exc()
        status = 1
    finally:
        sys.stderr.flush()
        # Threads may wait for a client that is gone: nothing of theirs is worth waiting for.
        os._exit(status)
