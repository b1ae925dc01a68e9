"""One connection of a client: what is asked often is answered here, from bytes to bytes.

No task, no ASGI: the head is looked up among those that were understood before, the body goes to
the batcher, and its answer is written when it comes. A request that is not of the plain kind has
the connection for as long as it lasts: it is lent to uvicorn, with what came.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Hashable, Mapping
from typing import Any, Protocol, cast

from jupyter_aiinfra.serving.batcher import Batcher, Ticket
from jupyter_aiinfra.serving.dialects import Dialect
from jupyter_aiinfra.serving.faults import Fault, TooSlow
from jupyter_aiinfra.serving.heads import Heads, Known
from jupyter_aiinfra.serving.metrics import Metrics
from jupyter_aiinfra.serving.schema import Batch
from jupyter_aiinfra.serving.tracing import Traces
from jupyter_aiinfra.serving.wire import Answer, check_length, error_answer, fault_answer, unpacked

__all__ = ["MOST", "Asking", "Desk", "Front", "Lobby", "Options"]

_HEAD_BYTES = 64 * 1024
_HEAD_SECONDS = 30.0
_LINGER_SECONDS = 2.0
_CHOKED_SECONDS = 60.0
# As many requests of one connection are under way; what it sends beyond waits in its socket.
MOST = 64
# So many answers leave while those after them are still being written, for whoever asks many things
# on one connection to be at work meanwhile.
_AT_ONCE = 8
_GONE = 499
_NOT_UNDERSTOOD = Known({}, dialect=None, shown=None, keep=False, free=True)
_HEADERS_TOO_LARGE = 431


class Options(Protocol):
    """What a body may be."""

    @property
    def body_bytes(self) -> int:
        """How large."""
        ...

    @property
    def body_seconds(self) -> float:
        """How long it may take to arrive."""
        ...


class Desk(Protocol):
    """Who looks at requests, and has them answered."""

    metrics: Metrics
    traces: Traces | None

    @property
    def options(self) -> Options:
        """What is accepted."""
        ...

    @property
    def batcher(self) -> Batcher:
        """What asks the model."""
        ...

    def admit(self, headers: Mapping[bytes, bytes], scope: str) -> None:
        """Check a key."""
        ...

    def allow(self, answer: Answer, origin: bytes) -> None:
        """Let a page of `origin` read `answer`, if it may."""
        ...

    def key_of(self, batch: Batch) -> Hashable:
        """Return what two batches have in common that may share a call."""
        ...


class Lobby(Protocol):
    """What all connections of a worker share."""

    desk: Desk
    heads: Heads
    connections: set[Any]
    loop: asyncio.AbstractEventLoop

    def lend(
        self, front: Front, transport: asyncio.Transport, data: bytes, *, leaving: bool
    ) -> None:
        """Have `data`, and what follows it, answered by somebody else until `front` is back."""
        ...


class Asking(Ticket):
    """One request, and in the end its answer: they leave in the order in which they came."""

    __slots__ = ("begun", "close", "data", "dialect", "front", "head", "task", "told")

    dialect: Dialect

    def __init__(self, front: Front, head: Known) -> None:
        super().__init__()
        self.front = front
        self.head = head
        self.begun = time.perf_counter()
        self.close = False
        self.data: bytes | None = None
        self.task: asyncio.Task[None] | None = None
        self.told: Any = None

    def tell(self, answer: Batch | Fault) -> None:
        """Write the answer."""
        self.front.answered(self, self._written(answer))

    def _written(self, answer: Batch | Fault) -> Answer:
        if isinstance(answer, Fault):
            return fault_answer(answer)
        try:
            return self.dialect.write(answer, self.head, self.told)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client is answered
            return error_answer(error, "an answer")


class Front(asyncio.Protocol):
    """A connection of a client."""

    def __init__(self, lobby: Lobby) -> None:
        self._lobby = lobby
        self._desk = lobby.desk
        self._metrics = lobby.desk.metrics
        self._traces = lobby.desk.traces
        self._heads = lobby.heads
        self._items: deque[Asking] = deque()
        # What came and is not read yet; the request whose body is arriving, and its parts.
        self._rest = b""
        self._item: Asking | None = None
        self._parts: list[bytes] = []
        self._missing = 0
        self._timer: asyncio.TimerHandle | None = None
        self._since = lobby.loop.time()
        # How many were answered since the last write, while there are more to come.
        self._unsent = 0
        self._going = self._held = self._choked = self._soon = False
        # It is to end after what is under way; it is not listened to any more; it is told nothing
        # more; what it still sends is the rest of what was refused.
        self._leaving = self._deaf = self._ending = self._owes = False

    # --- of the transport --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to write to."""
        self._transport = cast("asyncio.Transport", transport)
        self._lobby.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        """Forget what it had asked for."""
        del error
        self._lobby.connections.discard(self)
        self._ending = True
        self._stop_timer()
        for item in self._items:
            item.done = True
            if item.task is not None:
                item.task.cancel()
            if item.data is None:
                self._metrics.ended(_GONE, time.perf_counter() - item.begun)
                if item.span is not None:
                    item.span.end(_GONE)
        self._items.clear()
        self._parts = []

    def data_received(self, data: bytes) -> None:
        """Read requests."""
        if self._item is not None:
            self._parts.append(data)
            self._missing -= len(data)
            if self._missing > 0:
                return
            data = self._gathered(self._item)
        elif self._ending or self._deaf:
            return
        elif self._rest:
            data = self._rest + data
        self._rest = data
        self._go()

    def pause_writing(self) -> None:
        """Ask nothing more for a client that does not read what it is told."""
        self._choked = True
        self._since = self._lobby.loop.time()

    def resume_writing(self) -> None:
        """Go on."""
        self._choked = False
        if self._held:
            self._go()

    # --- of the lobby ------------------------------------------------------------------------

    def shutdown(self) -> None:
        """End after what is under way."""
        self._leaving = True
        if not self._items:
            self._transport.close()
            return
        # What comes now is not answered. Who asks one thing after another, without waiting, may be
        # sending it already, and is to have the answers to what it sent before.
        self._deaf = True
        self._owes = len(self._items) > 1

    def returned(self) -> None:
        """Go on where somebody else has answered."""
        self._lobby.connections.add(self)
        self._since = self._lobby.loop.time()

    def check(self, now: float, idle_seconds: float) -> None:
        """Give up a client that neither asks nor reads."""
        if self._choked:
            if now - self._since > _CHOKED_SECONDS:
                self._transport.abort()
        elif not (self._items or self._rest or self._ending) and now - self._since > idle_seconds:
            self._transport.close()

    # --- requests ----------------------------------------------------------------------------

    def _go(self) -> None:
        """Read what may be read, and write what is answered. Not by recursion: it may be much."""
        if self._going:
            return
        self._going = True
        try:
            self._read()
            self._flush()
            while self._held and not (self._choked or self._ending or self._waits()):
                self._hold(on=False)
                self._read()
                self._flush()
        finally:
            self._going = False

    def _waits(self) -> bool:
        """Whether there are whole requests without an answer."""
        return len(self._items) > (self._item is not None)

    def _read(self) -> None:
        data = self._rest
        begin, size = 0, len(data)
        while begin < size and not (self._deaf or self._ending):
            if len(self._items) >= MOST or self._choked:
                self._hold(on=True)
                break
            end = data.find(b"\r\n\r\n", begin)
            if end < 0 and self._is_begun(data, begin):
                break
            head = self._heads.of(data[begin:end]) if end >= 0 else None
            if head is None:
                self._rest = data[begin:]
                self._lend()
                return
            begin = self._begin(head, data, end + 4)
        self._rest = data[begin:] if begin else data

    def _is_begun(self, data: bytes, begin: int) -> bool:
        """Wait for the rest of a head, within bounds; return whether it may become one."""
        if not data[begin : begin + 1].isalpha():
            return False
        if len(data) - begin > _HEAD_BYTES:
            said = b'{"error":"the head of the request is larger than %d bytes"}' % _HEAD_BYTES
            self._refuse(Answer(status=_HEADERS_TOO_LARGE, body=said))
        elif self._timer is None:
            self._timer = self._lobby.loop.call_later(_HEAD_SECONDS, self._late)
        return True

    def _lend(self) -> None:
        """Hand the connection over when all is written that was asked before."""
        if self._items:
            self._hold(on=True)
            return
        self._stop_timer()
        self._hold(on=False)
        data, self._rest = self._rest, b""
        self._lobby.connections.discard(self)
        self._lobby.lend(self, self._transport, data, leaving=self._leaving)

    def _begin(self, head: Known, data: bytes, begin: int) -> int:
        """Take a request whose body begins in `data` at `begin`; return where the next one does."""
        if self._timer is not None:
            self._stop_timer()
        item = Asking(self, head)
        self._items.append(item)
        self._metrics.began()
        if self._traces is not None and head.dialect is not None:
            item.span = self._traces.begin(head.headers)
        end = begin + head.length
        options = self._desk.options
        self._deaf = not head.keep
        try:
            if not head.free:
                self._desk.admit(head.headers, "predict")
            if head.length > options.body_bytes:
                check_length(head.length, options.body_bytes)
            if end <= len(data):
                self._ask(item, head, data[begin:end])
                return end
        except Exception as error:  # noqa: BLE001 - whatever it is, the client is answered
            if end > len(data):
                # The rest of the body is still on its way, and is no next request.
                self._deaf = self._owes = item.close = True
            self.answered(item, error_answer(error, "a request"))
            return min(end, len(data))
        self._item = item
        self._parts = [data[begin:]]
        self._missing = end - len(data)
        self._timer = self._lobby.loop.call_later(options.body_seconds, self._late)
        return len(data)

    def _gathered(self, item: Asking) -> bytes:
        """Ask for the request whose body has arrived; return what came after it."""
        self._stop_timer()
        data = b"".join(self._parts)
        self._item, self._parts = None, []
        head = item.head
        try:
            self._ask(item, head, data[: head.length])
        except Exception as error:  # noqa: BLE001 - whatever it is, the client is answered
            self.answered(item, error_answer(error, "a request"))
        return data[head.length :]

    def _ask(self, item: Asking, head: Known, body: bytes) -> None:
        desk = self._desk
        if head.shown is not None:
            item.task = self._lobby.loop.create_task(self._show(item, head))
            return
        if head.encoding is not None:
            body = unpacked(body, head.encoding, desk.options.body_bytes)
        dialect = head.dialect
        if dialect is not None:
            item.dialect = dialect
            batch, item.told = dialect.read(head, body)
            item.fill(batch, desk.key_of(batch))
            desk.batcher.put(item)

    async def _show(self, item: Asking, head: Known) -> None:
        try:
            if head.shown is not None:
                self.answered(item, await head.shown())
        except Exception as error:  # noqa: BLE001 - whatever it is, the client is answered
            self.answered(item, error_answer(error, "a request"))

    # --- answers -----------------------------------------------------------------------------

    def answered(self, item: Asking, answer: Answer) -> None:
        """Write `answer` when it is its turn."""
        self._metrics.ended(answer.status, time.perf_counter() - item.begun)
        if item.span is not None:
            item.span.end(answer.status)
        head = item.head
        if head.origin is not None:
            self._desk.allow(answer, head.origin)
        last = self._leaving and bool(self._items) and self._items[-1] is item
        if not head.keep or last or (b"connection", b"close") in answer.headers:
            item.close = True
        item.data = answer.written(head.accepted, close=item.close)
        if self._going or not self._items:
            return
        if not self._soon:
            if self._items[0] is not item:
                return
            if len(self._items) == 1:
                self._written()
                return
            # The others of its batch are answered in this turn of the loop: in few writes.
            self._soon = True
            self._lobby.loop.call_soon(self._written)
        self._unsent += 1
        if self._unsent == _AT_ONCE:
            self._flush()

    def _written(self) -> None:
        """Write what is answered, and go on with what waited for that."""
        self._soon = False
        self._flush()
        if self._held and not self._waits():
            self._go()

    def _refuse(self, answer: Answer) -> None:
        """Answer what is not understood, and listen no more."""
        item = Asking(self, _NOT_UNDERSTOOD)
        self._deaf = self._owes = True
        self._metrics.began()
        self._items.append(item)
        self.answered(item, answer)

    def _flush(self) -> None:
        self._unsent = 0
        items = self._items
        if not items or (whole := items[0].data) is None:
            return
        last = items.popleft().close
        if items and not last:
            parts = [whole]
            while items and not last and (data := items[0].data) is not None:
                parts.append(data)
                last = items.popleft().close
            whole = b"".join(parts)
        if not self._ending:
            self._transport.write(whole)
            self._since = self._lobby.loop.time()
            if last or (self._leaving and not items):
                self._end()

    def _end(self) -> None:
        """End after what was written; wait a little for a client that is still sending.

        To close with bytes unread would reset the connection, and lose the answer on its way.
        """
        self._ending = True
        self._stop_timer()
        if not self._owes or not self._transport.can_write_eof():
            self._transport.close()
            return
        self._hold(on=False)
        self._transport.write_eof()
        self._timer = self._lobby.loop.call_later(_LINGER_SECONDS, self._transport.abort)

    # --- time --------------------------------------------------------------------------------

    def _late(self) -> None:
        self._timer = None
        item, self._item = self._item, None
        self._parts = []
        if item is None:
            seconds, what = _HEAD_SECONDS, "head"
        else:
            seconds, what = self._desk.options.body_seconds, "body"
        answer = error_answer(TooSlow(f"the {what} did not arrive within {seconds:g} s"), "")
        self._rest = b""
        if item is None:
            self._refuse(answer)
        else:
            self._deaf = self._owes = True
            self.answered(item, answer)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _hold(self, *, on: bool) -> None:
        """Leave what the client sends in its socket, or go on reading."""
        if on == self._held or self._transport.is_closing():
            return
        self._held = on
        if on:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()
