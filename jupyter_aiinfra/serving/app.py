"""The ASGI application: what is asked often is answered here, the rest by :mod:`.surface`."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from jupyter_aiinfra.serving import oip
from jupyter_aiinfra.serving.batcher import Batcher, Limits
from jupyter_aiinfra.serving.dialects import EVENTS, Dialect, Head, Infer, Invocations, Predict
from jupyter_aiinfra.serving.events import Streams
from jupyter_aiinfra.serving.faults import Busy, Fault, NotServed, Unsupported
from jupyter_aiinfra.serving.keys import Keys
from jupyter_aiinfra.serving.metrics import Metrics
from jupyter_aiinfra.serving.model import Served
from jupyter_aiinfra.serving.schema import Batch, Reader
from jupyter_aiinfra.serving.surface import documented
from jupyter_aiinfra.serving.tracing import CURRENT, Traces
from jupyter_aiinfra.serving.wire import (
    Answer,
    ClientGone,
    Receive,
    Scope,
    Send,
    error_answer,
    read_body,
)

__all__ = ["App", "Options"]

_log = logging.getLogger(__name__)

_READY_SECONDS = 1.0
_GONE = 499
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~%-]+)+")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What an endpoint allows.

    Parameters
    ----------
    body_seconds
        Within which the body of a request has to arrive.
    origins
        Whose pages may call it from a browser; ``*`` is any.
    """

    limits: Limits = field(default_factory=Limits)
    body_bytes: int = 16 * 2**20
    body_seconds: float = 30.0
    origins: tuple[str, ...] = ()
    streams: int = 32


_Shown = Callable[[], Awaitable[Answer]]


class App:
    """One model behind HTTP.

    Call it from one event loop only; :meth:`close` when that ends.
    """

    def __init__(
        self,
        served: Served,
        *,
        options: Options | None = None,
        keys: Keys | None = None,
        metrics: Metrics | None = None,
        traces: Traces | None = None,
        workers: int = 1,
    ) -> None:
        self.served = served
        self.options = options or Options()
        self.metrics = metrics or Metrics()
        self.traces = traces
        self.workers = workers
        self.draining = False
        self._keys = keys
        self._made: Batcher | None = None
        self._ragged = served.signature.ragged
        self._streams = Streams(self.options.streams)
        self._ready = (-_READY_SECONDS, False)
        self._surface = documented(self)
        reader = Reader(served.signature)
        # What asks the model, by POST, and what is shown, by GET. Those in `open` want no key.
        self.asked: dict[str, Dialect] = {
            "/predict": Predict(served, reader),
            "/invocations": Invocations(served, reader),
        }
        self.shown: dict[str, _Shown] = {
            "/ping": self._ping,
            "/version": self._mlflow_version,
            "/v2": self._server,
            "/v2/health/live": self._live,
            "/v2/health/ready": self._v2_ready,
        }
        model = f"/v2/models/{served.name}"
        for path in (model, f"{model}/versions/{served.version}"):
            self.shown[path] = self._metadata
            self.shown[f"{path}/ready"] = self._v2_ready
            self.asked[f"{path}/infer"] = Infer(served)
        self.open = frozenset({"/ping", "/version", "/v2/health/live", "/v2/health/ready"})

    @property
    def batcher(self) -> Batcher:
        """What asks the model; made when there is a loop."""
        if self._made is None:
            predict, traces = self.served.predict, self.traces
            self._made = Batcher(
                predict if traces is None else traces.timed(predict),
                limits=self.options.limits,
                single_seconds=self.served.single_seconds,
                note=self._noted,
                traced=None if traces is None else traces.batched,
            )
        return self._made

    def _noted(self, rows: int, seconds: float) -> None:
        self.metrics.batch(rows, seconds)
        self.metrics.queue(self.batcher.queued_rows)

    def close(self) -> None:
        """Let threads end. May be called twice."""
        if self._made is not None:
            self._made.close()
        self._streams.close()

    async def ready(self) -> bool:
        """Whether the model answers its example now; asked at most once a second."""
        if self.draining:
            return False
        at, good = self._ready
        now = time.monotonic()
        if now - at < _READY_SECONDS:
            return good
        self._ready = (now, good)
        good = True
        if self.served.example is not None:
            try:
                await self.batcher.submit(self.served.example, key="ready")
            except Busy:
                # It works as fast as it can, which is no reason to send everybody away.
                pass
            except Fault as fault:
                _log.warning("not ready: %s", fault)
                good = False
        self._ready = (time.monotonic(), good)
        return good

    # --- ASGI --------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._surface(scope, receive, send)
            return
        begun = time.perf_counter()
        headers: dict[bytes, bytes] = dict(scope["headers"])
        self.metrics.began()
        status = _GONE
        span = None
        if self.traces is not None and scope["path"] in self.asked:
            span = self.traces.begin(headers)
            CURRENT.set(span)
        try:
            answer = await self._answer(scope, headers, receive)
            if answer is None:
                status = await self._asked_surface(scope, receive, send)
                return
            status = answer.status
            origin = headers.get(b"origin")
            if origin is not None:
                self.allow(answer, origin)
            await answer.send(send, accepted=headers.get(b"accept-encoding"))
        except ClientGone:
            status = _GONE
        finally:
            self.metrics.ended(status, time.perf_counter() - begun)
            if span is not None:
                span.end(status)

    async def _answer(
        self, scope: Scope, headers: dict[bytes, bytes], receive: Receive
    ) -> Answer | None:
        """Return the answer, an error included; ``None`` for what the surface answers."""
        try:
            return await self._routed(scope["path"], scope["method"], headers, receive)
        except ClientGone:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the client is answered
            return error_answer(error, f"{scope['method']} {scope['path']}")

    async def _routed(
        self, path: str, method: str, headers: dict[bytes, bytes], receive: Receive
    ) -> Answer | None:
        if method == "OPTIONS" and b"access-control-request-method" in headers:
            return Answer(status=204)
        dialect, shown = self.asked.get(path), self.shown.get(path)
        if dialect is None and shown is None:
            if path.startswith("/v2/"):
                raise NotServed(f"{path}: this is {self.served.name}, {self.served.version}")
            if path == "/metrics":
                self.admit(headers, "metrics")
            return None
        allowed = "POST" if shown is None else "GET"
        if method != allowed:
            allow = (b"allow", allowed.encode())
            return Answer(status=405, body=b'{"error":"no such method"}', headers=[allow])
        if path not in self.open:
            self.admit(headers, "predict")
        if shown is not None:
            return await shown()
        if dialect is None:
            return None
        body = await read_body(
            receive,
            headers,
            limit_bytes=self.options.body_bytes,
            seconds=self.options.body_seconds,
        )
        return await self._told(dialect, Head(headers), body, receive)

    def admit(self, headers: Mapping[bytes, bytes], scope: str) -> None:
        """Check the key in `headers`, where keys are asked for.

        Raises
        ------
        Unauthorized, Forbidden, Busy
            There is none, or it does not open this, or it asks too often.
        """
        if self._keys is not None:
            told = headers.get(b"authorization") or headers.get(b"x-api-key")
            self._keys.admit(told, scope)

    async def _asked_surface(self, scope: Scope, receive: Receive, send: Send) -> int:
        status = 500

        async def noted(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        await self._surface(_prefixed(scope), receive, noted)
        return status

    def allow(self, answer: Answer, origin: bytes) -> None:
        """Let a page of `origin` read `answer`, if it may."""
        origins = self.options.origins
        if origin.decode("latin-1") in origins or "*" in origins:
            answer.headers += [
                (b"access-control-allow-origin", origin),
                (b"access-control-allow-methods", b"GET, POST"),
                (b"access-control-allow-headers", b"authorization, content-type, x-api-key"),
                (b"access-control-max-age", b"600"),
                (b"vary", b"origin"),
            ]

    # --- asking the model --------------------------------------------------------------------

    def submitted(self, batch: Batch) -> asyncio.Future[Batch]:
        """Return what will be the answer to `batch`.

        Raises
        ------
        Busy, TooLarge
            As :meth:`.Batcher.submit` does.
        """
        span = None if self.traces is None else CURRENT.get()
        return self.batcher.submit(batch, key=self.key_of(batch), span=span)

    def key_of(self, batch: Batch) -> Hashable:
        """Return what two batches have in common that may share a call."""
        if self._ragged and isinstance(batch, Mapping):
            return tuple(array.shape[1:] for array in batch.values())
        return None

    async def _told(self, dialect: Dialect, head: Head, body: bytes, receive: Receive) -> Answer:
        batch, told = dialect.read(head, body)
        if EVENTS in head.accept and isinstance(dialect, Predict):
            return self._stream(batch, receive)
        return dialect.write(await self._asked(batch, receive), head, told)

    async def _asked(self, batch: Batch, receive: Receive) -> Batch:
        future = self.submitted(batch)
        if self.batcher.inline:
            # Over before anybody could notice that the client has gone.
            return await future
        gone = asyncio.ensure_future(receive())
        try:
            await asyncio.wait((future, gone), return_when=asyncio.FIRST_COMPLETED)
            if not future.done():
                raise ClientGone
            return future.result()
        finally:
            future.cancel()
            gone.cancel()

    def _stream(self, batch: Batch, receive: Receive) -> Answer:
        if self.served.stream is None:
            raise Unsupported("this model does not answer in parts")
        parts = self._streams.open(self.served.stream, batch, receive)
        return Answer(
            kind=b"text/event-stream", headers=[(b"cache-control", b"no-store")], stream=parts
        )

    # --- what does not ask it ----------------------------------------------------------------

    async def _ping(self) -> Answer:
        return Answer(body=b"\n", status=200 if await self.ready() else 503)

    async def _mlflow_version(self) -> Answer:
        return Answer(body=self.served.version.encode(), kind=b"text/plain")

    async def _server(self) -> Answer:
        told = {"name": "jupyter_aiinfra", "version": "2", "extensions": ["binary_tensor_data"]}
        return Answer(body=msgspec.json.encode(told))

    async def _live(self) -> Answer:
        return Answer(body=b"{}")

    async def _v2_ready(self) -> Answer:
        return Answer(body=b"{}", status=200 if await self.ready() else 503)

    async def _metadata(self) -> Answer:
        served = self.served
        return Answer(
            body=msgspec.json.encode(oip.metadata(served.name, served.version, served.signature))
        )


def _prefixed(scope: Scope) -> Scope:
    """Return `scope` with the path under which a router in front is asked: pages link to it."""
    told = dict(scope["headers"]).get(b"x-forwarded-prefix", b"").decode("latin-1").rstrip("/")
    if not _PREFIX.fullmatch(told):
        return scope
    return {**scope, "root_path": told, "path": told + scope["path"]}
