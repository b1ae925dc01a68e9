"""One node of a pool that is elsewhere: its shell, its channel, and how it answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jupyter_aiinfra.channel import Channel, Stream, Upload
from jupyter_aiinfra.errors import PoolError, Unreachable
from jupyter_aiinfra.model import Health, NodeStatus
from jupyter_aiinfra.shell import Shell

__all__ = ["Ground", "RemoteNode"]

_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0
# A node that came back so lately may go away as soon.
_STEADY_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What is known of a node that answers: what it said of itself, and where its jobs are to live.

    ``python`` is what its ranks run with, ``address`` by which other nodes reach it.
    """

    hello: Mapping[str, Any]
    folder: str
    python: str
    address: str


class RemoteNode:
    """A node as one process knows it. Who is refused by it is told why, at once, for a while.

    Parameters
    ----------
    name
        What the user calls it.
    shell
        Where programs run there.
    python
        An interpreter of the node, 3.8 or newer.
    clock
        Seconds; for the pauses between attempts to reach a node that does not answer.
    """

    def __init__(
        self,
        name: str,
        shell: Shell,
        *,
        python: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.shell = shell
        self.python = python
        self.channel = Channel(shell, python=python, name=name)
        self._clock = clock
        self._error: PoolError | None = None
        self._since: float | None = None
        self._back_at: float | None = None
        self._retry_at = 0.0
        self._pause = 0.0

    @property
    def status(self) -> NodeStatus:
        """How it answered lately."""
        if self._error is not None:
            reason = self._error.message
            return NodeStatus(
                name=self.name, health=Health.UNREACHABLE, since=self._since, reason=reason
            )
        if self._back_at is not None and self._clock() - self._back_at < _STEADY_SECONDS:
            reason = "it did not answer a moment ago"
            return NodeStatus(name=self.name, health=Health.DEGRADED, reason=reason)
        return NodeStatus(name=self.name, health=Health.LIVE)

    async def hello(self) -> Mapping[str, Any]:
        """Return who the node says it is; see :meth:`.channel.Channel.hello`."""
        try:
            answer = await self.channel.hello()
        except PoolError as error:
            raise self._failed(error) from None
        self._answered()
        return answer

    async def call(
        self, verb: str, *, timeout: float = 20.0, polled: bool = False, **args: Any
    ) -> dict[str, Any]:
        """Ask the node for one answer; see :meth:`.channel.Channel.call`.

        Who asks again and again says so (`polled`): a node that did not answer a moment ago is not
        asked then. What somebody does once is tried in any case.

        Raises
        ------
        Unreachable
            It does not answer, or did not a moment ago.
        """
        if polled:
            self._mind()
        was_open = self.channel.is_open
        try:
            answer = await self._asked(verb, timeout, args, again=was_open)
        except Unreachable as error:
            raise self._failed(error) from None
        self._answered()
        return answer

    async def _asked(
        self, verb: str, timeout: float, args: Mapping[str, Any], *, again: bool
    ) -> dict[str, Any]:
        try:
            return await self.channel.call(verb, timeout=timeout, **args)
        except Unreachable:
            # A channel from before a cut says nothing about now. What is asked of a node may be
            # asked twice, all of it.
            if not again or self.channel.is_open:
                raise
        return await self.channel.call(verb, timeout=timeout, **args)

    def stream(self, verb: str, **args: Any) -> Stream:
        """Return a stream of the node; see :meth:`.channel.Channel.stream`."""
        self._mind()
        return self.channel.stream(verb, **args)

    def upload(self, verb: str, **args: Any) -> Upload:
        """Return a stream to the node; see :meth:`~.channel.Channel.upload`."""
        self._mind()
        return self.channel.upload(verb, **args)

    async def aclose(self) -> None:
        """End the channel. Idempotent."""
        await self.channel.aclose()

    def _mind(self) -> None:
        if self._error is not None and self._clock() < self._retry_at:
            raise self._error

    def _failed(self, error: PoolError) -> PoolError:
        if isinstance(error, Unreachable):
            if self._error is None:
                self._since = time.time()
            self._error = error
            self._pause = min(_LONGEST_PAUSE_SECONDS, 2 * self._pause or _FIRST_PAUSE_SECONDS)
            self._retry_at = self._clock() + self._pause
        return error

    def _answered(self) -> None:
        if self._error is not None:
            self._back_at = self._clock()
        self._error, self._since, self._pause = None, None, 0.0
