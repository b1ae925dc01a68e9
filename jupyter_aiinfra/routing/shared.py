"""Connections to a replica with many requests under way, which it answers in order.

What is sent in one turn of the event loop is a few writes then, and what is answered at once is a
few reads. Only replicas that say so are asked in this way, only what is small and may be asked
twice, and only while answers come soon: one that is slow holds up those behind it. Where a
connection to share is not there yet, or is full, a request has one of its own.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, cast

import httptools

from jupyter_aiinfra.routing.back import FINAL, NO_BODY, Back, Errand, Heading, Place, seen
from jupyter_aiinfra.routing.seen import Answered
from jupyter_aiinfra.routing.wire import EARLY_BYTES

__all__ = ["Pool", "Shared", "Sharer"]

# So many on one connection, also where a replica would take more: they are lost together.
_MOST_DEEP: Final = 32
_MOST_CONNECTIONS: Final = 64
# What is read in one turn is sent in parts: the replica is at work on the first while the others
# are read, where it would wait for all of them, and then everybody for it.
_AT_ONCE: Final = 8
# Of a replica with several workers: which of them takes a connection is chance, so it takes some
# for each of them to have its part.
_A_WORKER: Final = 8
# When an answer takes longer, a connection of its own costs nothing in comparison.
_SLOW_SECONDS: Final = 0.25
_UNKNOWN_SECONDS: Final = 2 * _SLOW_SECONDS
_PART: Final = 0.1
# After an answer that was not small.
_PAUSE_SECONDS: Final = 60.0
_IDLE_SECONDS: Final = 30.0
_HEAD_BYTES: Final = 64 * 1024

_DECLARED = re.compile(rb"(?m)^x-endpoint-pipeline: (\d{1,4})(?:; *workers=(\d{1,4}))?\r$")


class Sharer(Errand, Protocol):
    """What is asked on a connection that is shared."""

    def moved(self, back: Back) -> None:
        """Take that the connection is all its own from now on."""
        ...

    def again(self) -> None:
        """Take that nothing was heard of it, which is nobody's fault: it may be asked again."""
        ...


class Shared(asyncio.Protocol):
    """One connection."""

    __slots__ = (
        "_choked",
        "_errands",
        "_out",
        "_pool",
        "_rest",
        "_shut",
        "blames",
        "idle_since",
        "transport",
    )

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        # In the order in which they are answered; ``None``: nobody waits for it any more.
        self._errands: deque[Sharer | None] = deque()
        # What is asked in this turn of the loop.
        self._out: list[bytes] = []
        self._rest = b""
        self._choked = self._shut = False
        # Whether its end is yet to be held against the replica: once, however many it had.
        self.blames = True
        self.idle_since = 0.0

    @property
    def under_way(self) -> int:
        """How many answers are to come."""
        return len(self._errands)

    @property
    def takes(self) -> bool:
        """Whether it can be asked more."""
        return (
            len(self._errands) < self._pool.depth
            and not (self._shut or self._choked)
            and not self.transport.is_closing()
        )

    def send(self, errand: Sharer) -> None:
        """Ask after what was asked before, with all that is asked in this turn of the loop."""
        self._errands.append(errand)
        if not self._out:
            self._pool.loop.call_soon(self._write)
        self._out.append(errand.request.sent())
        if len(self._out) == _AT_ONCE:
            self._write()

    def _write(self) -> None:
        data = b"".join(self._out)
        self._out.clear()
        if data and not self.transport.is_closing():
            self.transport.write(data)

    def more(self, data: bytes) -> None:
        """Only what is all there is asked here."""
        raise AssertionError(f"{len(data)} bytes of a body after its request")

    def hold(self, *, on: bool) -> None:
        """All answers are small: those of others go on."""

    def abandon(self, errand: Errand, *, late: bool = False) -> None:
        """Read its answer and throw it away; with nobody left, the replica sees that.

        Parameters
        ----------
        late
            It took too long: nothing more is asked behind it.
        """
        errands = self._errands
        for number, one in enumerate(errands):
            if one is errand:
                errands[number] = None
        if late:
            self.shut()
        if not any(one is not None for one in errands):
            self.shut()
            self.transport.abort()

    def shut(self) -> None:
        """Be asked nothing more, and end with the last answer."""
        if not self._shut:
            self._shut = True
            self._pool.left(self)
        if not self._errands:
            self.transport.close()

    # --- of the transport --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to write to."""
        self.transport = cast("asyncio.Transport", transport)
        self.idle_since = time.monotonic()

    def pause_writing(self) -> None:
        """Ask nothing more of a replica that does not read."""
        self._choked = True

    def resume_writing(self) -> None:
        """Go on."""
        self._choked = False

    def data_received(self, data: bytes) -> None:
        """Hand out answers."""
        if self._rest:
            data = self._rest + data
        errands, begin, size = self._errands, 0, len(data)
        while begin < size and errands:
            found = seen.at(data, begin) or self._read(data, begin)
            if found is None or found[0].length > EARLY_BYTES:
                if found is None and self._is_begun(data, begin):
                    break
                self._hand_over(data[begin:])
                return
            head, at = found
            end = at + head.length
            if end > size:
                break
            errand = errands.popleft()
            if errand is not None:
                errand.told(self, head, data[at:end], reusable=False)
            begin = end
        self._rest = data[begin:]
        if not errands:
            self._emptied()

    def _emptied(self) -> None:
        """Wait for more to ask; end where there will be none, or where nothing was asked."""
        self.idle_since = time.monotonic()
        if self._rest:
            self.shut()
            self.transport.abort()
        elif self._shut:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Tell all who wait for an answer."""
        self._shut = True
        self._pool.left(self)
        errands, self._errands = self._errands, deque()
        reason = str(error or "it closed the connection")
        for errand in errands:
            if errand is not None:
                errand.lost(self, reason)

    # --- answers -----------------------------------------------------------------------------

    def _is_begun(self, data: bytes, begin: int) -> bool:
        """Whether this may become the head of an answer."""
        return data.find(b"\r\n\r\n", begin) < 0 and len(data) - begin <= _HEAD_BYTES

    def _read(self, data: bytes, begin: int) -> tuple[Answered, int] | None:
        """Return a head that was not known, and where its body begins; ``None`` if it is odd."""
        end = data.find(b"\r\n\r\n", begin) + 4
        if end < begin:
            return None
        text = data[begin:end]
        head = _Head().read(text)
        if head is None:
            return None
        seen.learn(text, head)
        return head, end

    def _hand_over(self, data: bytes) -> None:
        """Leave the connection to the answer that begins with `data`, which is not of the kind."""
        first, *others = self._errands
        self._errands.clear()
        self._shut = True
        self._pool.odd(self)
        if first is None:
            self.transport.abort()
        else:
            back = self._pool.back()
            self.transport.set_protocol(back)
            first.moved(back)
            back.adopt(self.transport, first, last=bool(others))
            back.data_received(data)
        for errand in others:
            if errand is not None:
                errand.again()


class _Head(Heading):
    """The head of an answer, parsed by itself."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._lines = []
        self._length = None
        self._plain = False

    def read(self, text: bytes) -> Answered | None:
        """Return it, if a body of a told length follows and then the next answer."""
        try:
            self._parser.feed_data(text)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return None
        status = self._parser.get_status_code()
        if not self._plain or self._length is None or status < FINAL or status in NO_BODY:
            return None
        return Answered(status, b"".join(self._lines), self._length)

    def on_headers_complete(self) -> None:
        self._plain = self._parser.should_keep_alive()


class Pool:
    """The shared connections to one replica.

    Parameters
    ----------
    connect
        Makes a connection.
    place
        What a connection belongs to that is no longer shared.
    """

    def __init__(
        self, connect: Callable[[Callable[[], Shared]], Awaitable[Shared]], place: Place
    ) -> None:
        # How many requests may be under way on a connection; 0: the replica has not said so.
        self.depth = 0
        # What an answer takes, of late.
        self.seconds = _UNKNOWN_SECONDS
        self.loop = asyncio.get_running_loop()
        self._connect = connect
        self._place = place
        self._spread = 1
        self._lines: list[Shared] = []
        self._current: Shared | None = None
        self._dialling: asyncio.Task[None] | None = None
        self._paused_until = 0.0

    def declared(self, lines: bytes) -> None:
        """Go by what a replica says in the header of an answer about itself."""
        told = _DECLARED.search(lines)
        self.depth = min(int(told[1]), _MOST_DEEP) if told is not None else 0
        workers = int(told[2] or 1) if told is not None else 1
        self._spread = 1 if workers == 1 else min(_A_WORKER * workers, _MOST_CONNECTIONS)

    def took(self, seconds: float) -> None:
        """Note what an answer took."""
        self.seconds += _PART * (seconds - self.seconds)

    def take(self) -> Shared | None:
        """Return a connection for one more request, if it is one to share."""
        if self.depth < 2 or self.seconds > _SLOW_SECONDS:  # noqa: PLR2004 - one is nothing shared
            return None
        current = self._current
        if self._spread > 1:
            return self._spread_out()
        if current is not None and current.takes:
            return current
        # Those that have some are filled first.
        for one in self._lines:
            if one.takes:
                self._current = one
                return one
        self._dial()
        return None

    def _spread_out(self) -> Shared | None:
        """Return who has the least."""
        one = min(self._lines, key=_under_way, default=None)
        if one is not None and one.takes and not one.under_way:
            return one
        if len(self._lines) < self._spread:
            self._dial()
            return None
        return one if one is not None and one.takes else None

    def _dial(self) -> None:
        """Have one more connection made, for those who come later."""
        if self._dialling is not None or len(self._lines) >= _MOST_CONNECTIONS:
            return
        if self._paused_until and time.monotonic() < self._paused_until:
            return
        self._dialling = asyncio.ensure_future(self._dialled())

    async def _dialled(self) -> None:
        try:
            one = await self._connect(lambda: Shared(self))
        except OSError:
            # Whoever has a connection of its own notices, too, and tells.
            return
        finally:
            self._dialling = None
        if self.depth:
            self._lines.append(one)
        else:
            one.shut()

    def left(self, one: Shared) -> None:
        """Ask it nothing more."""
        if one in self._lines:
            self._lines.remove(one)
        if self._current is one:
            self._current = None

    def odd(self, one: Shared) -> None:
        """Share nothing for a while: there are answers that one cannot wait behind."""
        self.left(one)
        self._paused_until = time.monotonic() + _PAUSE_SECONDS
        for other in list(self._lines):
            other.shut()

    def back(self) -> Back:
        """Return what reads an answer of any kind."""
        return Back(self._place)

    def sweep(self, now: float) -> None:
        """Close what was idle for long."""
        for one in list(self._lines):
            if not one.under_way and now - one.idle_since > _IDLE_SECONDS:
                one.shut()

    def shut(self) -> None:
        """Share nothing until the replica says so again; what is under way goes on."""
        self.depth = 0
        for one in list(self._lines):
            one.shut()

    async def close(self) -> None:
        """End what is being made."""
        self.shut()
        dialling = self._dialling
        if dialling is not None:
            dialling.cancel()
            await asyncio.wait([dialling])


def _under_way(one: Shared) -> int:
    return one.under_way
