"""``/aiinfra/endpoints/NAME/…``: endpoints for whoever may use this server, without a key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

from jupyter_server.auth.decorator import authorized
from tornado import web
from tornado.iostream import StreamClosedError

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.engine.asking import Begun, asked
from jupyter_aiinfra.errors import NotFound
from jupyter_aiinfra.server.handlers import AiInfraHandler
from jupyter_aiinfra.server.routes import Operation, Route

__all__ = ["ROUTES", "CallHandler"]

_SECONDS: Final = 600.0
# What is between two neighbours only, and what Jupyter is told and a model is not to hear.
_NOT_ON: Final = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te"),
        *("trailer", "transfer-encoding", "upgrade", "host", "content-length", "expect"),
        *("authorization", "cookie", "x-xsrftoken", "x-api-key", "origin", "referer"),
    }
)
_NOT_BACK: Final = frozenset(
    {
        *("connection", "keep-alive", "transfer-encoding", "upgrade", "trailer"),
        *("set-cookie", "date", "server", "access-control-allow-origin"),
    }
)


class CallHandler(AiInfraHandler):
    """A call of an endpoint; what the router answers is passed on as it comes."""

    asks_only = True

    @web.authenticated
    @authorized
    async def get(self, name: str, path: str) -> None:
        """Pass it on."""
        await self._pass(name, path)

    @web.authenticated
    @authorized
    async def post(self, name: str, path: str) -> None:
        """Pass it on."""
        await self._pass(name, path)

    async def _pass(self, name: str, path: str) -> None:
        socket = await self.engine.call(lambda engine: _socket(engine, name))
        target = f"/{quote(name, safe='')}/{quote(path, safe='/:@')}"
        query = self.request.query
        async with asked(
            socket,
            self.request.method or "POST",
            f"{target}?{query}" if query else target,
            body=self.request.body,
            headers=_passed_on(self.request.headers),
            seconds=_SECONDS,
        ) as begun:
            try:
                await self._answer(begun)
            except StreamClosedError:
                self.log.debug("who called endpoint %s is gone", name)

    async def _answer(self, begun: Begun) -> None:
        self.set_status(begun.status)
        for key, value in begun.headers.items():
            if key not in _NOT_BACK:
                self.set_header(key, value)
        # What a model answers is never a page of ours, whatever it calls itself.
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Content-Security-Policy", "sandbox allow-scripts")
        kind = begun.headers.get("content-type", "application/octet-stream")
        self.set_header("Content-Type", kind)
        await self.flush()
        try:
            async for piece in begun.pieces():
                self.write(piece)
                await self.flush()
        except (OSError, EOFError, ValueError) as error:
            self.log.warning("an answer of an endpoint was cut: %s", error)
            self.detach().close()  # nothing else tells the other side that this is not all
            return
        await self.finish(set_content_type=kind)


def _socket(engine: Engine, name: str) -> Path:
    """Return where the router answers us; NotFound where it has no such endpoint."""
    if name not in {each.name for each in engine.store.endpoints()}:
        raise NotFound(f"there is no endpoint {name!r}", hint="endpoint list tells what there is")
    return engine.endpoints.router.places.inside


def _passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in headers.items() if key.lower() not in _NOT_ON}


ROUTES = (
    Route(
        path="endpoints/{name}/{path}",
        handler=CallHandler,
        operations={
            "get": Operation(
                summary="Ask an endpoint, such as its /docs or /readyz", answer=bytes, kind="*/*"
            ),
            "post": Operation(
                summary="Call an endpoint, such as its /predict", answer=bytes, kind="*/*"
            ),
        },
    ),
)
