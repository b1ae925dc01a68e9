"""A node's channel as the rest of the package sees it: one a node, opened when first needed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jupyter_aiinfra.channel import transfer
from jupyter_aiinfra.channel.link import Link
from jupyter_aiinfra.channel.streams import Answer, Stream
from jupyter_aiinfra.errors import Unreachable
from jupyter_aiinfra.node import frames
from jupyter_aiinfra.shell import Shell

__all__ = ["Channel"]


def _untold(_count: int) -> None:
    """Take what nobody wants to hear."""


class Channel:
    """Requests to one node, from any number of tasks of one event loop.

    The channel opens with the first request and again after it broke: then what was under way gets
    Unreachable (which says nothing about whether the node has done it), and the next request opens
    another. The verbs and their arguments are those of ``node/verbs.py``.

    Parameters
    ----------
    shell
        Where the far end is started.
    python
        The interpreter it runs with, 3.8 or newer.
    name
        What the node is called in messages.
    clock
        Monotonic seconds.
    silence_seconds
        A node that gives no sign of life for so long is taken for cut off.
    open_seconds
        For how long opening may take.
    """

    def __init__(
        self,
        shell: Shell,
        *,
        python: str = "python3",
        name: str = "the node",
        clock: Callable[[], float] = time.monotonic,
        silence_seconds: float = 15.0,
        open_seconds: float = 30.0,
    ) -> None:
        self.name = name
        self._shell = shell
        self._python = python
        self._clock = clock
        self._silence_seconds = silence_seconds
        self._open_seconds = open_seconds
        self._link: Link | None = None
        self._opening: asyncio.Task[Link] | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a channel just now that is not known to be broken."""
        return self._link is not None and self._link.error is None

    async def hello(self) -> Mapping[str, Any]:
        """Return what the node said when the channel opened; opens it.

        ``skew_seconds`` is how far the node's wall clock is ahead of ours.
        """
        link = await self.connect()
        return {**link.hello, "skew_seconds": link.skew_seconds}

    async def call(self, verb: str, *, timeout: float = 60.0, **args: Any) -> dict[str, Any]:
        """Ask the node for one answer. A task that is cancelled takes its request back.

        Raises
        ------
        Unreachable
            No answer, for whatever reason, within `timeout` seconds; says nothing about whether
            the node has done what was asked.
        NotFound, UsageError, StorageFull, Conflict, SubmitError, PoolError
            The node refuses.
        """
        link = await self.connect()
        answer = Answer(self.name)
        number = link.request(answer, verb, args)
        try:
            return await asyncio.wait_for(answer.future, timeout)
        except asyncio.TimeoutError:
            text = f"{self.name} did not answer {verb} within {timeout:g} s"
            raise Unreachable(text, hint="try again") from None
        finally:
            link.forget(number, cancel=True)

    def stream(
        self,
        verb: str,
        *,
        window: int = frames.WINDOW_BYTES,
        resume_seconds: float = 0.0,
        **args: Any,
    ) -> Stream:
        """Return a stream of the node; see :class:`~.streams.Stream`.

        Streams that are read slowly do not slow down others. Close one that is not read to its end.
        """
        return Stream(
            self.connect,
            verb,
            args,
            window=window,
            resume_seconds=resume_seconds,
            clock=self._clock,
        )

    def upload(self, verb: str, **args: Any) -> transfer.Upload:
        """Return a stream to the node, for a verb that takes something in."""
        return transfer.Upload(self, verb, args)

    async def put(
        self,
        source: Path,
        target: str,
        *,
        resume_seconds: float = 60.0,
        moved: transfer.Moved = _untold,
    ) -> int:
        """Copy a local file to `target` on the node; return how many bytes had to be sent.

        What a cut left there is gone on with, also by a later call. The file gets its name when it
        is whole and its digest is right, with the times and the mode of `source`; one that was
        there is replaced. `moved` is told how many of its bytes are there.

        Raises
        ------
        NotFound, UsageError, StorageFull, Conflict, PoolError
            The node refuses; or `source` is not there.
        """
        return await transfer.put(self, source, target, resume_seconds=resume_seconds, moved=moved)

    async def get(
        self,
        source: str,
        target: Path,
        *,
        resume_seconds: float = 60.0,
        moved: transfer.Moved = _untold,
    ) -> int:
        """Copy `source` on the node to a local file; return how many bytes had to be sent.

        As :meth:`put`, the other way.
        """
        return await transfer.get(self, source, target, resume_seconds=resume_seconds, moved=moved)

    async def connect(self) -> Link:
        """Return the open link; open one, together with whoever else wants it just now."""
        link = self._link
        if link is not None and link.error is None:
            return link
        if self._opening is None:
            self._opening = asyncio.create_task(self._open(link))
            self._opening.add_done_callback(self._opened)
        opening = self._opening
        try:
            # Who is cancelled leaves the others their channel.
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            if opening.cancelled():
                raise Unreachable(f"{self.name}: the channel was closed") from None
            raise

    async def _open(self, broken: Link | None) -> Link:
        if broken is not None:
            await broken.aclose(grace=0.0)
        try:
            self._link = await Link.open(
                self._shell,
                python=self._python,
                name=self.name,
                timeout=self._open_seconds,
                silence=self._silence_seconds,
                clock=self._clock,
            )
        except asyncio.TimeoutError:
            text = f"{self.name} did not open a channel within {self._open_seconds:g} s"
            raise Unreachable(text, hint="try again") from None
        return self._link

    def _opened(self, opening: asyncio.Task[Link]) -> None:
        self._opening = None
        if not opening.cancelled():
            opening.exception()  # whoever still waits has it too

    async def aclose(self) -> None:
        """End the channel. Idempotent; it can be used again, which opens another.

        What is under way gets Unreachable. The far end leaves nothing behind.
        """
        opening = self._opening
        while opening is not None and not opening.done():
            # Once is not enough: before Python 3.12 `wait_for` may swallow it.
            opening.cancel()
            await asyncio.wait({opening}, timeout=0.1)
        link, self._link = self._link, None
        if link is not None:
            await link.aclose()

    async def __aenter__(self) -> Channel:  # noqa: PYI034 - no Self before Python 3.11
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
