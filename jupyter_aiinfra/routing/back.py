"""One connection to a replica, asked one thing after another."""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

import httptools

from jupyter_aiinfra.routing.seen import Answered, Seen
from jupyter_aiinfra.routing.wire import HOP, Request

__all__ = ["FINAL", "NO_BODY", "Back", "Errand", "Heading", "Line", "Place", "seen"]

_INFORMATION = 100
FINAL = 200
NO_BODY = (204, 304)

seen: Seen[Answered] = Seen()
"""Heads of answers, of all replicas."""


class Line(Protocol):
    """A connection to a replica, as who asks sees it."""

    # Whether its end is to be held against the replica.
    blames: bool

    def more(self, data: bytes) -> None:
        """Send more of the body."""
        ...

    def hold(self, *, on: bool) -> None:
        """Read no more of the answer for now, or go on."""
        ...

    def abandon(self, errand: Errand, *, late: bool = False) -> None:
        """Do without the answer to `errand`; `late`: it took too long."""
        ...


class Errand(Protocol):
    """What is asked, and who is told what comes of it.

    One of `told`, `ended` and `lost` comes last.
    """

    request: Request

    def told(self, line: Line, head: Answered, body: bytes, *, reusable: bool) -> None:
        """Take a whole answer at once."""
        ...

    def head(self, status: int, lines: bytes, length: int | None) -> None:
        """Take the head of an answer; `length` is ``None`` where nobody knows it."""
        ...

    def part(self, data: bytes) -> None:
        """Take a part of the body."""
        ...

    def flush(self) -> None:
        """Hand on what was taken: nothing more comes at once."""
        ...

    def ended(self, back: Back, *, reusable: bool) -> None:
        """All of it was told."""
        ...

    def lost(self, line: Line, reason: str) -> None:
        """Take that the connection ended before the answer did."""
        ...

    def slow(self, *, paused: bool) -> None:
        """Take that the replica has enough of the request for now, or not any more."""
        ...


class Place(Protocol):
    """What a connection belongs to."""

    def dropped(self, back: Back) -> None:
        """Take that a connection which nobody uses has ended."""
        ...


class Heading:
    """What the parser tells of the head of an answer: the lines that go on, and the length."""

    __slots__ = ("_length", "_lines")

    _lines: list[bytes]
    _length: int | None

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one."""
        name = name.lower()
        if name == b"content-length":
            self._length = int(value) if value.isdigit() else None
        elif name not in HOP:
            self._lines.append(b"%b: %b\r\n" % (name, value))


class Back(Heading, asyncio.Protocol):
    """A connection to a replica."""

    __slots__ = (
        "_begun",
        "_closes",
        "_complete",
        "_errand",
        "_fed",
        "_head_lines",
        "_last",
        "_parser",
        "_place",
        "_status",
        "_until_close",
        "blames",
        "idle_since",
        "transport",
    )

    def __init__(self, place: Place) -> None:
        self._place = place
        self._errand: Errand | None = None
        self._parser = httptools.HttpResponseParser(self)
        self.idle_since = 0.0
        self.blames = True
        # Whether nothing can be asked after this answer.
        self._last = False
        self._reset()

    def _reset(self) -> None:
        self._lines: list[bytes] = []
        self._length: int | None = None
        self._status = 0
        self._head_lines = b""
        # Whether the parser has seen something of this answer.
        self._fed = False
        self._begun = self._complete = self._closes = self._until_close = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to write to."""
        self.transport = cast("asyncio.Transport", transport)

    @property
    def usable(self) -> bool:
        """Whether it can be asked something."""
        return self._errand is None and not self.transport.is_closing()

    def send(self, errand: Errand) -> None:
        """Ask; what comes of it is told to `errand`."""
        self._errand = errand
        self._reset()
        self.transport.write(errand.request.sent())

    def more(self, data: bytes) -> None:
        """Send more of the body."""
        self.transport.write(data)

    def adopt(self, transport: asyncio.Transport, errand: Errand, *, last: bool) -> None:
        """Take a connection over on which `errand` was asked, and is answered next."""
        self.transport = transport
        self._errand = errand
        self._last = last

    def hold(self, *, on: bool) -> None:
        """Read no more of the answer for now, or go on."""
        if on:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def abandon(self, errand: Errand, *, late: bool = False) -> None:
        """Do without the answer: the replica sees that nobody is there any more."""
        del errand, late
        self._errand = None
        self.transport.abort()

    # --- of the transport --------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Read an answer."""
        errand = self._errand
        if errand is None:
            # Nothing was asked.
            self.transport.abort()
            return
        first, self._fed = not self._fed, True
        if first and errand.request.method != b"HEAD" and (found := seen.find(data)) is not None:
            self._known(errand, *found)
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._complete:
                self._failed(f"its answer is no HTTP: {error}")
                return
            # The answer is whole, and what follows is not ours.
            self._closes = True
        if self._errand is not errand:
            return
        errand.flush()
        if self._complete:
            if first and not self._closes:
                self._learn(errand, data)
            self._finish(errand)

    def _known(self, errand: Errand, head: Answered, body: bytes) -> None:
        """Take a whole answer whose head needs no parser."""
        self._errand = None
        reusable = errand.request.complete and not self._last
        if not reusable:
            self.transport.close()
        errand.told(self, head, body, reusable=reusable)

    def _learn(self, errand: Errand, data: bytes) -> None:
        """Remember the head of a whole answer that came at once."""
        bodiless = errand.request.method == b"HEAD" or self._status in NO_BODY
        if self._length is not None and not bodiless:
            seen.keep(data, Answered(self._status, self._head_lines, self._length))

    def _finish(self, errand: Errand) -> None:
        self._errand = None
        reusable = errand.request.complete and not (self._closes or self._last)
        if not reusable:
            self.transport.close()
        errand.ended(self, reusable=reusable)

    def _failed(self, reason: str) -> None:
        errand, self._errand = self._errand, None
        self.transport.abort()
        if errand is not None:
            errand.lost(self, reason)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell whoever waits for an answer."""
        errand, self._errand = self._errand, None
        if errand is None:
            self._place.dropped(self)
        elif error is None and self._begun and self._until_close:
            errand.flush()
            errand.ended(self, reusable=False)
        else:
            errand.lost(self, str(error or "it closed the connection"))

    def pause_writing(self) -> None:
        """Have the client wait."""
        if self._errand is not None:
            self._errand.slow(paused=True)

    def resume_writing(self) -> None:
        """Go on."""
        if self._errand is not None:
            self._errand.slow(paused=False)

    # --- of the parser -----------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take what goes on, of this answer only."""
        if not self._complete:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Hand the head on."""
        if self._complete:
            # Another answer follows, which is nobody's here.
            self._closes = True
            return
        status = self._status = self._parser.get_status_code()
        errand = self._errand
        if errand is None:
            return
        if _INFORMATION <= status < FINAL:
            # What it thinks meanwhile is not for the client.
            return
        self._begun = True
        self._closes = not self._parser.should_keep_alive()
        bodiless = errand.request.method == b"HEAD" or status in NO_BODY
        if not bodiless and self._length is None and self._closes:
            self._until_close = True
        self._head_lines = b"".join(self._lines)
        errand.head(status, self._head_lines, self._length)
        if errand.request.method == b"HEAD":
            # The parser would wait for the body that is told and not sent.
            self._complete = self._closes = True

    def on_body(self, data: bytes) -> None:
        """Hand a part on."""
        if self._errand is not None and not self._complete:
            self._errand.part(data)

    def on_message_complete(self) -> None:
        """Note the end."""
        if self._begun:
            self._complete = True
        else:
            self._lines = []
            self._length = None
