"""``GET /aiinfra/stream``: the one socket of a browser. ``wire.py`` has its messages."""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
from collections.abc import Iterable
from importlib import metadata
from typing import Any, Final

from jupyter_server.auth.decorator import authorized, ws_authenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.model import LAUNCHER, from_wire
from jupyter_aiinfra.server.background import BACKGROUND_SETTING, Background
from jupyter_aiinfra.server.hub import Subscriber
from jupyter_aiinfra.server.routes import Route
from jupyter_aiinfra.server.wire import HelloNews, ProblemNews, Topic, WatchRequest

__all__ = ["MOST_TOPICS", "ROUTES", "StreamHandler"]

MOST_TOPICS: Final = 64
_MESSAGE_BYTES: Final = 32 * 1024
_WATCH_PAUSE_SECONDS: Final = 0.05
_PROBLEMS_A_SECOND: Final = 5
_ID = re.compile(r"[0-9a-z]{1,64}")
_WHOSE: Final = {"job": "a job", "log": "a job", "runs": "a schedule", "notebook": "a run"}
_RANKS: Final = range(LAUNCHER - (1 << 16), 1 << 20)
_NAME_LENGTH: Final = 256

_PING_MILLISECONDS: Final = 30_000  # as Jupyter's other sockets do

_INSTANCE: Final = uuid.uuid4().hex


class StreamHandler(WebSocketMixin, WebSocketHandler, JupyterHandler):
    """Tells a browser of what it watches. Who may not read is refused before it is opened."""

    auth_resource = "aiinfra"

    _telling: asyncio.Task[None] | None = None
    _subscriber: Subscriber | None = None
    _asked: tuple[Topic, ...] | None = None
    _watched_at = 0.0
    _problems: tuple[int, int] = (0, 0)

    @property
    def background(self) -> Background:
        """The server's."""
        background: Background = self.settings[BACKGROUND_SETTING]
        return background

    # Tornado itself pings, and means seconds. Jupyter's own pinging, which `WebSocketMixin.open`
    # would begin, means milliseconds by the same properties, and one of the two is always wrong.

    @property
    def ping_interval(self) -> float:
        """Seconds from one ping to the next; 0 for none."""
        return float(self.settings.get("ws_ping_interval", _PING_MILLISECONDS)) / 1000

    @property
    def ping_timeout(self) -> float:
        """Seconds after which a browser that does not answer a ping is taken to be gone."""
        return self.ping_interval

    @property
    def max_message_size(self) -> int:
        """What a browser may send at once; more closes the socket."""
        return _MESSAGE_BYTES

    def set_default_headers(self) -> None:
        """Leave out what Jupyter says with pages: a socket has none of it."""

    def get_compression_options(self) -> dict[str, Any]:
        """Compress, as cheaply as can be: a log is mostly the same words again."""
        configured = self.settings.get("websocket_compression_options")
        return {"compression_level": 1, "mem_level": 6} if configured is None else configured

    @ws_authenticated
    @authorized("read")  # type: ignore[untyped-decorator]
    async def get(self, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Open the socket."""
        await super().get(*args, **kwargs)

    def open(self, *args: str, **kwargs: str) -> None:
        """Say hello; all else is told when it is asked for."""
        del args, kwargs
        self.set_nodelay(True)
        self.background.start()
        self._subscriber = Subscriber(self._tell)
        version = metadata.version("jupyter_aiinfra")
        self._subscriber.say(HelloNews(version=version, instance=_INSTANCE))
        self._telling = asyncio.create_task(self._run(self._subscriber))

    def on_message(self, message: str | bytes) -> None:
        """Watch what the browser asks for; the last word counts where it asks too often."""
        try:
            topics = _topics(message)
        except UsageError as error:
            self._refuse(error)
            return
        waiting, self._asked = self._asked is not None, topics
        if not waiting:
            pause = self._watched_at + _WATCH_PAUSE_SECONDS - time.monotonic()
            asyncio.get_running_loop().call_later(max(pause, 0.0), self._watch)

    def on_close(self) -> None:
        """Forget the browser."""
        super().on_close()
        telling, self._telling = self._telling, None
        if telling is not None:
            telling.cancel()
        subscriber, self._subscriber = self._subscriber, None
        if subscriber is not None:
            self.background.hub.leave(subscriber)

    def _watch(self) -> None:
        topics, self._asked = self._asked, None
        if topics is not None and self._subscriber is not None:
            self._watched_at = time.monotonic()
            self.background.hub.watch(self._subscriber, topics)

    def _refuse(self, error: UsageError) -> None:
        second, said = self._problems
        now = int(time.monotonic())
        said = said if now == second else 0
        self._problems = (now, said + 1)
        if said < _PROBLEMS_A_SECOND and self._subscriber is not None:
            self._subscriber.say(ProblemNews(message=error.message, hint=error.hint))

    async def _run(self, subscriber: Subscriber) -> None:
        try:
            await subscriber.run()
        except (WebSocketClosedError, StreamClosedError):
            # It went away without a word; the end of the connection may be noticed much later.
            self.background.hub.leave(subscriber)
        except Exception:
            self.log.exception("aiinfra: telling a browser failed; its socket is closed")
            self.close(1011)

    async def _tell(self, frame: bytes) -> None:
        # Resolves when the browser's machine has room for it: nothing is sent ahead of that.
        await self.write_message(frame)


def _topics(message: str | bytes) -> tuple[Topic, ...]:
    """Return what is asked for, each once.

    Raises
    ------
    UsageError
        It is not understood.
    """
    try:
        request = from_wire(json.loads(message), WatchRequest)
    # ValueError: not JSON, not text, or not what is expected.
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the message is not understood: {error}") from error
    if len(request.topics) > MOST_TOPICS:
        raise UsageError(
            f"{len(request.topics)} topics are too many",
            hint=f"a socket may watch {MOST_TOPICS} at once",
        )
    return tuple(dict.fromkeys(_checked(request.topics)))


def _checked(topics: Iterable[Topic]) -> Iterable[Topic]:
    for topic in topics:
        if topic.topic in {"pools", "jobs", "budgets", "schedules"}:
            yield Topic(topic=topic.topic)
            continue
        if topic.topic == "runs" and topic.id is None:
            yield Topic(topic="runs")
            continue
        if topic.topic == "gpus":
            yield _gpus(topic)
            continue
        if topic.id is None or not _ID.fullmatch(topic.id):
            raise UsageError(f"the topic {topic.topic} needs the id of {_WHOSE[topic.topic]}")
        if topic.topic in _WHOSE and topic.topic != "log":
            yield Topic(topic=topic.topic, id=topic.id)
            continue
        rank = 0 if topic.rank is None else topic.rank
        if rank not in _RANKS:
            raise UsageError(f"there is no rank {rank}")
        yield Topic(topic="log", id=topic.id, rank=rank)


def _gpus(topic: Topic) -> Topic:
    detail = topic.detail or "gpus"
    if topic.id is not None:
        if not _ID.fullmatch(topic.id):
            raise UsageError(f"{topic.id!r} is no id of a job")
        return Topic(topic="gpus", id=topic.id, detail=detail)
    if not topic.pool or len(topic.pool) > _NAME_LENGTH or len(topic.node or "") > _NAME_LENGTH:
        raise UsageError("the topic gpus needs a pool, or the id of a job")
    return Topic(topic="gpus", pool=topic.pool, node=topic.node or None, detail=detail)


ROUTES = (Route(path="stream", handler=StreamHandler, operations={}),)
