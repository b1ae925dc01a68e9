"""One connection of a client: its requests one after the other, within bounds of size and time."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Protocol, cast

import httptools

from jupyter_aiinfra.routing.faults import BadRequest, Fault, TooManyHeaders, TooSlow
from jupyter_aiinfra.routing.relay import Relay
from jupyter_aiinfra.routing.seen import Asked, Seen
from jupyter_aiinfra.routing.wire import EARLY_BYTES, Fields, reply_of

__all__ = ["Front", "Reception"]

_HEAD_BYTES = 64 * 1024
_HEAD_SECONDS = 30.0
_IDLE_SECONDS = 75.0
_LINGER_SECONDS = 2.0
_CHOKED_SECONDS = 60.0
# What makes a request more than its bytes.
_ODD = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"trailer"})

_seen: Seen[Asked] = Seen()


class Reception(Protocol):
    """Who looks at requests when their head is there."""

    draining: bool
    fronts: set[Front]
    # How many connections there may be.
    most: int

    def accept(self, relay: Relay) -> None:
        """Find its endpoint and see whether it may ask; else give it a reply."""
        ...


class Front(asyncio.Protocol):
    """A connection of a client.

    Parameters
    ----------
    trusted
        It came by a socket that only the user can open: no key is asked for.
    """

    def __init__(self, reception: Reception, *, trusted: bool = False) -> None:
        self.trusted = trusted
        self.chunks = True
        self.choked = False
        self._reception = reception
        self._parser = httptools.HttpRequestParser(self)
        self._relay: Relay | None = None
        self._reading: Relay | None = None
        self._queue: deque[Relay] = deque()
        self._fields: Fields = []
        self._url = b""
        self._head_bytes = 0
        # How many requests began in what came last.
        self._begun = 0
        self._in_head = False
        self._waits = False
        self._pumping = False
        # It is told nothing more, and what it still sends is thrown away.
        self._ending = False
        # What it still sends is not to be understood, but there is something to be told.
        self._deaf = False
        # Of the request that was parsed last.
        self._method = b""
        self._plain = False
        self._since = time.monotonic()

    # --- of the transport --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to write to."""
        self._transport = cast("asyncio.Transport", transport)
        if len(self._reception.fronts) >= self._reception.most:
            self._transport.abort()
        else:
            self._reception.fronts.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        """Let go of what it had asked for."""
        del error
        self._reception.fronts.discard(self)
        self._ending = True
        relay, self._relay = self._relay, None
        self._queue.clear()
        if relay is not None:
            relay.abandon()

    def data_received(self, data: bytes) -> None:
        """Read requests."""
        if self._ending or self._deaf:
            return
        between = self._reading is None and not self._in_head
        if between and (found := _seen.find(data)) is not None:
            self._known(*found)
            return
        self._begun = 0
        self._parsed(data)
        if between and self._begun == 1 and self._reading is None and not self._deaf:
            self._learn(data)

    def _known(self, head: Asked, body: bytes) -> None:
        """Take a whole request whose head needs no parser."""
        relay = Relay(self, head.method, head.target, head.fields, persistent=True, known=head)
        self._since = relay.begun
        request = relay.request
        if body:
            request.add(body)
        request.complete = True
        if self._relay is not None:
            self._queue.append(relay)
            self._read(paused=True)
            self._reception.accept(relay)
            return
        self._relay = relay
        self.chunks = True
        self._reception.accept(relay)
        if relay.reply is None:
            relay.dispatch()

    def _learn(self, data: bytes) -> None:
        """Remember the head of a whole request that came at once."""
        headers = dict(self._fields)
        length = headers.get(b"content-length", b"0")
        if self._plain and length.isdigit() and _ODD.isdisjoint(headers):
            _seen.keep(data, Asked(self._method, self._url, self._fields, int(length)))

    def _parsed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Another protocol was offered and is not spoken; what follows would be in it.
            self._deaf = True
        except httptools.HttpParserCallbackError as error:
            raise error.__context__ or error from None
        except httptools.HttpParserError as error:
            self._misunderstood(BadRequest(f"this is no HTTP/1.1 request: {error}"))
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > _HEAD_BYTES:
                limit = f"the head of the request is larger than {_HEAD_BYTES:,} bytes"
                self._misunderstood(TooManyHeaders(limit))

    def pause_writing(self) -> None:
        """Have the replica wait for a client that reads slowly."""
        self.choked = True
        self._since = time.monotonic()
        if self._relay is not None and self._relay.back is not None:
            self._relay.back.hold(on=True)

    def resume_writing(self) -> None:
        """Go on."""
        self.choked = False
        if self._relay is not None and self._relay.back is not None:
            self._relay.back.hold(on=False)
        self._pump()

    # --- of the parser -----------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._fields = []
        self._url = b""
        self._head_bytes = 0
        self._in_head = True
        self._begun += 1
        self._since = time.monotonic()

    def on_url(self, url: bytes) -> None:
        """Take (a part of) what is asked for."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field."""
        self._fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """See what it is, and whether it may."""
        self._in_head = False
        parser = self._parser
        persistent = parser.should_keep_alive() and not parser.should_upgrade()
        self._method = parser.get_method()
        chunks = parser.get_http_version() != "1.0"
        self._plain = persistent and parser.get_http_version() == "1.1"
        relay = Relay(self, self._method, self._url, self._fields, persistent=persistent)
        self._take(relay, chunks=chunks)

    def _take(self, relay: Relay, *, chunks: bool) -> None:
        """See whether a request may, whose head is there."""
        self._reading = relay
        if self._relay is None:
            self._relay = relay
            self.chunks = chunks
        else:
            self._queue.append(relay)
            self._read(paused=True)
        self._reception.accept(relay)
        if relay.reply is None and relay is self._relay:
            expected = relay.headers.get(b"expect", b"").lower()
            if expected == b"100-continue":
                self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        """Take a part of a body."""
        relay = self._reading
        if relay is None:
            return
        if relay is self._relay:
            relay.body(data)
        else:
            relay.request.add(data)

    def on_message_complete(self) -> None:
        """Have a whole request answered when it is its turn."""
        relay, self._reading = self._reading, None
        if relay is None:
            return
        relay.request.complete = True
        if relay is self._relay:
            if relay.reply is not None:
                self._pump()
            else:
                relay.whole()

    # --- of its requests ---------------------------------------------------------------------

    def keeps(self, relay: Relay) -> bool:
        """Whether the connection is still good after this answer."""
        return relay.persistent and relay.request.complete and not self._reception.draining

    def write(self, data: bytes) -> None:
        """Send to the client."""
        self._transport.write(data)

    def replied(self, relay: Relay) -> None:
        """Send a reply of the router's own when it is its turn."""
        if relay is self._relay:
            self._pump()

    def finished(self, relay: Relay) -> None:
        """Go on with the next request, or end."""
        if relay is not self._relay:
            return
        if not self.keeps(relay):
            self._last()
            return
        self._relay = None
        self._since = time.monotonic()
        if self._queue or self._waits:
            self._pump()

    def broken(self, relay: Relay) -> None:
        """End in the middle of an answer: that is how the client sees that it is not whole."""
        if relay is self._relay:
            self._transport.abort()

    def wait(self, relay: Relay, *, paused: bool) -> None:
        """Have the client send no more of this request for now, or go on."""
        if relay is self._relay:
            self._read(paused=paused or bool(self._queue))

    def _read(self, *, paused: bool) -> None:
        if paused == self._waits or self._transport.is_closing():
            return
        self._waits = paused
        if paused:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _pump(self) -> None:
        """Answer what is to be answered now. Not by recursion: any number may be waiting."""
        if self._pumping:
            return
        self._pumping = True
        try:
            # Who does not read what was answered is not answered more.
            while not self._ending and not self.choked:
                if self._relay is None:
                    if not self._queue:
                        self._read(paused=False)
                        return
                    self._relay = self._queue.popleft()
                    self._begin(self._relay)
                elif not self._replies(self._relay):
                    return
        finally:
            self._pumping = False

    def _begin(self, relay: Relay) -> None:
        """Take up a request that has waited for its turn."""
        if not self._queue:
            self._read(paused=False)
        if relay.reply is not None:
            return
        if relay.request.size > relay.limit_bytes:
            relay.body(b"")
        elif relay.request.complete:
            relay.whole()
        elif relay.request.size > EARLY_BYTES:
            relay.dispatch()

    def _replies(self, relay: Relay) -> bool:
        """Send a reply of the router's own; return whether there was one and it is over."""
        reply = relay.reply
        if reply is None:
            return False
        request = relay.request
        if not request.complete and self._worth_waiting(relay):
            return False
        keeps = self.keeps(relay)
        head_only = relay.method == b"HEAD"
        self.write(reply.with_lines(relay.extra).written(close=not keeps, head_only=head_only))
        if keeps:
            self._relay = None
            self._since = time.monotonic()
        else:
            self._last()
        return True

    def _worth_waiting(self, relay: Relay) -> bool:
        """Whether the rest of the body is so small that the connection is worth more."""
        length = relay.request.length
        waits_for_us = b"expect" in relay.headers
        late = time.monotonic() - relay.begun > _LINGER_SECONDS
        return length is not None and length <= EARLY_BYTES and not (waits_for_us or late)

    def _misunderstood(self, fault: Fault) -> None:
        """Say what is wrong after all that was understood has been answered."""
        self._in_head = False
        self._deaf = True
        relay = self._reading
        if relay is None:
            relay = Relay(self, b"GET", b"", [], persistent=False)
            self._queue.append(relay)
        relay.persistent = False
        if relay is self._relay:
            relay.abandon()
        relay.request.length = None
        self._reading = None
        relay.answered_by(reply_of(fault))
        if self._relay is None:
            self._pump()

    def _last(self) -> None:
        """End after what was written; wait a little for a client that is still sending.

        To close with bytes unread would reset the connection, and lose the answer on its way.
        """
        if self._ending:
            return
        self._ending = True
        relay, self._relay = self._relay, None
        self._queue.clear()
        self._since = time.monotonic()
        whole = relay is None or relay.request.complete
        if (whole and not self._in_head) or self._transport.is_closing():
            self._transport.close()
            return
        self._read(paused=False)
        if self._transport.can_write_eof():
            self._transport.write_eof()

    # --- time --------------------------------------------------------------------------------

    def check(self, now: float) -> None:
        """Give up what takes too long."""
        relay = self._relay
        if self._ending:
            if now - self._since > _LINGER_SECONDS:
                self._transport.abort()
        elif self.choked and now - self._since > _CHOKED_SECONDS:
            self._transport.abort()
        elif relay is not None:
            if relay.reply is not None:
                self._pump()
            elif relay.endpoint is not None:
                told = relay.endpoint.config
                relay.check(now, told.body_timeout, told.timeout)
        elif self._in_head:
            if now - self._since > _HEAD_SECONDS:
                late = f"the head of the request did not arrive within {_HEAD_SECONDS:g} s"
                self._misunderstood(TooSlow(late))
        elif now - self._since > _IDLE_SECONDS or self._reception.draining:
            self._transport.close()
