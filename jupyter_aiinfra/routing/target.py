"""One replica as the router sees it: whether it is up, its connections, and who is under way there.

A replica is up when it says so at ``/readyz``. It is asked again and again; one that refuses a
connection is out at once, one that loses or delays several answers in a row, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from jupyter_aiinfra.routing.aside import Asked, ask
from jupyter_aiinfra.routing.back import Back
from jupyter_aiinfra.routing.config import Replica
from jupyter_aiinfra.routing.shared import Pool
from jupyter_aiinfra.routing.status import ReplicaStatus
from jupyter_aiinfra.routing.tunnels import Tunnelled
from jupyter_aiinfra.routing.wire import Request

if TYPE_CHECKING:
    from jupyter_aiinfra.routing.relay import Relay

__all__ = ["DRAINING", "EJECTED", "STARTING", "UP", "Target"]

_log = logging.getLogger(__name__)

STARTING = "starting"
UP = "up"
EJECTED = "ejected"
DRAINING = "draining"

_CONNECT_SECONDS = 5.0
# Replicas keep a connection longer (75 s): who closes it first must be us, or a request meets it.
_IDLE_SECONDS = 30.0
_PROBE_SECONDS = 2.0
# A replica that loads its model takes the connection and answers when it can: asking is waiting.
_ANSWER_SECONDS = 30.0
_UP_ANSWER_SECONDS = 5.0
_FIRST_PAUSE_SECONDS = 0.05
_MOST_STRIKES = 3
_GOOD = 500


Made = TypeVar("Made", bound=asyncio.BaseProtocol)


class Target:
    """A replica.

    Parameters
    ----------
    changed
        Called when it came up or went.
    """

    def __init__(self, replica: Replica, *, changed: Callable[[Target], None]) -> None:
        self.replica = replica
        self.id = replica.id
        self.state = STARTING
        self.reason = "not asked yet"
        self.in_flight = 0
        self.requests = 0
        self.errors = 0
        self._changed = changed
        self._idle: list[Back] = []
        self.shared = Pool(self._connected, self)
        self._strikes = 0
        # How many answers it has lost; how many of them when it was asked, and said that it is up.
        self._doubts = self._cleared = 0
        self._dialling: set[asyncio.Task[None]] = set()
        self._hurry = asyncio.Event()
        self._tunnel = Tunnelled(replica) if replica.tunnel else None
        self._watching = asyncio.ensure_future(self._watch())

    @property
    def up(self) -> bool:
        """Whether requests may go there."""
        return self.state == UP

    @property
    def doubted(self) -> bool:
        """Whether it has lost an answer, and was not asked since then whether it is up."""
        return self._doubts != self._cleared

    def status(self) -> ReplicaStatus:
        """Return it as it is told."""
        return ReplicaStatus(
            state=self.state,
            in_flight=self.in_flight,
            requests=self.requests,
            errors=self.errors,
            reason=self.reason,
        )

    # --- connections -------------------------------------------------------------------------

    def take(self) -> Back | None:
        """Return a connection that is there already."""
        while self._idle:
            back = self._idle.pop()
            if back.usable:
                return back
        return None

    def give(self, back: Back) -> None:
        """Keep a connection for the next request."""
        if self.state == DRAINING or not back.usable:
            back.transport.close()
            return
        back.idle_since = time.monotonic()
        self._idle.append(back)

    def dropped(self, back: Back) -> None:
        """Forget a connection that ended."""
        with contextlib.suppress(ValueError):
            self._idle.remove(back)

    def sweep(self, now: float) -> None:
        """Close what was idle for long: the oldest are first."""
        count = 0
        for back in self._idle:
            if now - back.idle_since < _IDLE_SECONDS:
                break
            back.transport.close()
            count += 1
        del self._idle[:count]
        self.shared.sweep(now)

    async def connect(self) -> Back:
        """Return a new connection.

        Raises
        ------
        OSError
            There is none.
        """
        return await self._connected(lambda: Back(self))

    async def _connected(self, made: Callable[[], Made]) -> Made:
        loop = asyncio.get_running_loop()
        address = self.replica.address
        try:
            if address.startswith("unix:"):
                making = loop.create_unix_connection(made, address.removeprefix("unix:"))
                transport, one = await asyncio.wait_for(making, _CONNECT_SECONDS)
            else:
                host, _, port = address.removeprefix("http://").rstrip("/").rpartition(":")
                reaching = loop.create_connection(made, host.strip("[]"), int(port))
                transport, one = await asyncio.wait_for(reaching, _CONNECT_SECONDS)
        except asyncio.TimeoutError:
            raise ConnectionError(f"not within {_CONNECT_SECONDS:g} s") from None
        if transport.is_closing():
            # A process that ends may take it first. Whoever asked there now would not be told.
            raise ConnectionError("it closed the connection at once")
        return one

    def dial(self, relay: Relay) -> None:
        """Have `relay` connected, or told that it cannot be."""
        task = asyncio.ensure_future(self._dial(relay))
        self._dialling.add(task)
        task.add_done_callback(self._dialling.discard)

    async def _dial(self, relay: Relay) -> None:
        try:
            back = await self.connect()
        except OSError as error:
            if relay.target is self:
                relay.refused(error)
            else:
                self.refused(error)
            return
        if relay.target is self and relay.back is None:
            relay.connected(back)
        else:
            # Who wanted it has gone meanwhile.
            self.give(back)

    # --- whether it is up --------------------------------------------------------------------

    def refused(self, error: OSError) -> None:
        """Note that it took no connection."""
        self._down(f"takes no connection: {error.strerror or error}")

    def failed(self, reason: str) -> None:
        """Note that an answer was lost, or did not come in time."""
        self._strikes += 1
        self._doubts += 1
        if self._strikes >= _MOST_STRIKES:
            self._down(f"{self._strikes} answers in a row failed, the last one: {reason}")
        self._hurry.set()

    def worked(self, seconds: float) -> None:
        """Note that it answered, and what that took."""
        self._strikes = 0
        self.shared.took(seconds)

    def _down(self, reason: str) -> None:
        if self.state == UP:
            self.state = EJECTED
            _log.warning("replica %s is out: %s", self.id, reason)
            for back in self._idle:
                back.transport.close()
            self._idle.clear()
            self.shared.shut()
            self._changed(self)
        if self.state != DRAINING:
            self.reason = reason
        self._hurry.set()

    def _came_up(self, doubts: int) -> None:
        """Take that it says so, asked when it had lost so many answers."""
        self._strikes = 0
        doubted, self._cleared = self.doubted, doubts
        if self.state in {STARTING, EJECTED}:
            _log.info("replica %s is up", self.id)
            self.state = UP
            self.reason = ""
            self._changed(self)
        elif doubted and not self.doubted:
            self._changed(self)

    async def _watch(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        silent = 0
        while self.state != DRAINING:
            self._hurry.clear()
            seconds = _UP_ANSWER_SECONDS if self.up else _ANSWER_SECONDS
            doubts = self._doubts
            problem, late = await self._probe(seconds)
            silent = silent + 1 if late else 0
            if not problem:
                self._came_up(doubts)
            elif not late or silent >= _MOST_STRIKES or not self.up:
                # One that is busy is asked some more times before it is out.
                self._down(problem)
            if self.up:
                pause = _FIRST_PAUSE_SECONDS
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._hurry.wait(), _PROBE_SECONDS)
            else:
                await asyncio.sleep(pause)
                pause = min(_PROBE_SECONDS / 8, 2 * pause)

    async def _probe(self, seconds: float) -> tuple[str, bool]:
        """Return why it is not up (nothing: it is), and whether that was for want of an answer."""
        if self._tunnel is not None:
            await self._tunnel.keep()
        request = Request(b"GET", b"/readyz", b"host: replica\r\n")
        request.complete = True
        try:
            answer = await ask(self, Asked(request, limit_bytes=4096), seconds=seconds)
        except (asyncio.TimeoutError, TimeoutError):
            return f"did not say within {seconds:g} s that it is ready", True
        except OSError as error:
            why = self._tunnel.problem if self._tunnel is not None else ""
            return f"does not answer: {why or error.strerror or error}", False
        if answer.status >= _GOOD:
            return f"says that it is not ready (status {answer.status})", False
        self.shared.declared(answer.lines)
        return "", False

    # --- the end -----------------------------------------------------------------------------

    def drain(self) -> None:
        """Take no more requests; what is under way goes on."""
        self.state = DRAINING
        self.reason = "not in the configuration any more"
        for back in self._idle:
            back.transport.close()
        self._idle.clear()
        self.shared.shut()

    async def close(self) -> None:
        """End what watches it. May be called twice."""
        self.drain()
        self._watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._watching
        await self.shared.close()
        if self._tunnel is not None:
            await self._tunnel.close()
