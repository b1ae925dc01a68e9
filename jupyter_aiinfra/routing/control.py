"""The control socket: HTTP for the user's own programs, one request a connection."""

from __future__ import annotations

import asyncio

import msgspec

from jupyter_aiinfra.routing.counts import prometheus
from jupyter_aiinfra.routing.faults import BadRequest, Fault, NoSuchPath
from jupyter_aiinfra.routing.router import Router, unix_listener
from jupyter_aiinfra.routing.wire import Reply, reply_of

__all__ = ["Control"]

_HEAD_BYTES = 16 * 1024
_SECONDS = 10.0
_PLAIN = b"text/plain; version=0.0.4; charset=utf-8"


class Control:
    """``GET /status``, ``GET /metrics`` and ``POST /reload`` of a router."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._server: asyncio.AbstractServer | None = None

    async def start(self) -> None:
        """Listen."""
        made = unix_listener(self._router.places.control)
        self._server = await asyncio.start_unix_server(self._answer, sock=made, limit=_HEAD_BYTES)

    def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()
            self._router.places.control.unlink(missing_ok=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            reply = await self._reply(reader)
            writer.write(reply.written(close=True))
            await asyncio.wait_for(writer.drain(), _SECONDS)
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
            # Whoever asked has gone.
            writer.transport.abort()
        finally:
            writer.close()

    async def _reply(self, reader: asyncio.StreamReader) -> Reply:
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _SECONDS)
        except asyncio.LimitOverrunError:
            return reply_of(BadRequest("the head of the request is too large"))
        asked = head.split(b"\r\n", 1)[0].split(b" ")[:2]
        if asked == [b"GET", b"/status"]:
            return Reply(200, msgspec.json.encode(self._router.status()))
        if asked == [b"GET", b"/metrics"]:
            return Reply(200, prometheus(self._router.status().endpoints), kind=_PLAIN)
        if asked == [b"POST", b"/reload"]:
            problem = await self._router.reload()
            told = {"revision": self._router.config.revision, "problem": problem}
            return Reply(400 if problem else 200, msgspec.json.encode(told))
        fault: Fault = NoSuchPath("GET /status, GET /metrics or POST /reload")
        return reply_of(fault)
