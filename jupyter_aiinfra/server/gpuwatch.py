"""GPUs as pages watch them: one stream of frames a topic, from the engine's thread to the hub."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.errors import AiInfraError
from jupyter_aiinfra.server.feeds import GpusFeed
from jupyter_aiinfra.server.hub import Hub
from jupyter_aiinfra.server.shared import SharedEngine
from jupyter_aiinfra.server.wire import ProblemNews, Topic
from jupyter_aiinfra.telemetry import Frame, Scope

__all__ = ["GpuWatch", "scope_of"]

_FIRST_PAUSE_SECONDS = 2.0
_LONGEST_PAUSE_SECONDS = 60.0


class GpuWatch:
    """Follows what is watched of GPUs, and only that. Lives in the server's event loop.

    Reading, comparing and encoding are done on the engine's thread; here a frame is handed on.

    Parameters
    ----------
    fails
        Told of what is no error of ours.
    """

    def __init__(
        self, engine: SharedEngine, hub: Hub, *, fails: Callable[[str, Exception], None]
    ) -> None:
        self._engine = engine
        self._hub = hub
        self._fails = fails
        self._tasks: dict[Topic, tuple[GpusFeed, asyncio.Task[None]]] = {}

    def follow(self) -> bool:
        """Begin to follow what is watched anew, end what is no longer; whether there is any."""
        watched = {topic: self._hub.gpus(topic) for topic in self._hub.of("gpus")}
        for topic, (feed, task) in list(self._tasks.items()):
            # Watched anew after nobody did, a topic has another feed, that knows nothing yet.
            if watched.get(topic) is not feed:
                task.cancel()
                del self._tasks[topic]
        for topic, found in watched.items():
            if found is not None and topic not in self._tasks:
                task = asyncio.create_task(self._run(topic, found), name="aiinfra-gpus")
                self._tasks[topic] = found, task
        return bool(self._tasks)

    async def stop(self) -> None:
        """End all of it."""
        tasks = [task for _, task in self._tasks.values()]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, topic: Topic, feed: GpusFeed) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            begun = time.monotonic()
            try:
                await self._stream(topic, feed)
            except AiInfraError as error:
                problem = ProblemNews(message=error.message, hint=error.hint, topic=topic)
                self._hub.fail(topic, problem)
            except Exception as error:  # noqa: BLE001 - one of the loops
                self._fails("reading GPUs", error)
            if time.monotonic() - begun > _LONGEST_PAUSE_SECONDS:
                pause = _FIRST_PAUSE_SECONDS
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _stream(self, topic: Topic, feed: GpusFeed) -> None:
        loop = asyncio.get_running_loop()

        def tell(frame: Frame, change: bytes | None) -> None:
            feed.put(frame, change)
            self._hub.wake(topic)

        async def read(engine: Engine) -> None:
            last: Frame | None = None
            frames = engine.telemetry.subscribe(scope_of(topic))
            async with contextlib.aclosing(frames):
                async for frame in frames:
                    change = feed.change(last, frame)
                    loop.call_soon_threadsafe(tell, frame, change)
                    last = frame

        await self._engine.run(read)


def scope_of(topic: Topic) -> Scope:
    """Return which GPUs a topic is about."""
    return Scope(pool=topic.pool, node=topic.node, job=topic.id, detail=topic.detail or "gpus")
