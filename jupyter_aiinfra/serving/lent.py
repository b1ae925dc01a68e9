"""Connections that uvicorn answers for a while: all that :mod:`.front` does not do itself."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from jupyter_aiinfra.serving.app import App
from jupyter_aiinfra.serving.front import Desk, Front
from jupyter_aiinfra.serving.heads import Heads

__all__ = ["Fronts"]

_IDLE_SECONDS = 75.0
_LOOK_SECONDS = 5.0


class _Lent(HttpToolsProtocol):
    """Gives the connection back when nothing of the client is under way any more."""

    front: Front
    _midway = False

    def on_message_begin(self) -> None:
        self._midway = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._midway = False

    def on_response_complete(self) -> None:
        super().on_response_complete()
        transport = self.transport
        busy = self._midway or self.pipeline or self.flow.write_paused
        if busy or not self.cycle.keep_alive or transport.is_closing():
            return
        self._unset_keepalive_if_required()
        self.connections.discard(self)
        transport.set_protocol(self.front)
        self.front.returned()


class Fronts:
    """Makes the protocol of each connection that uvicorn accepts, as one of its classes would."""

    loop: asyncio.AbstractEventLoop
    connections: set[Any]

    def __init__(self, app: App) -> None:
        self.desk: Desk = app
        self.heads = Heads(app)
        self._looks = False

    def __call__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> Front:
        """Return what a new connection is told."""
        self.loop = _loop or asyncio.get_running_loop()
        self.connections = server_state.connections
        self._lent = partial(
            _Lent,
            config=config,
            server_state=server_state,
            app_state=app_state,
            _loop=self.loop,
        )
        if not self._looks:
            self._looks = True
            self.loop.call_later(_LOOK_SECONDS, self._look)
        return Front(self)

    def lend(
        self, front: Front, transport: asyncio.Transport, data: bytes, *, leaving: bool
    ) -> None:
        """Have uvicorn answer `data`, and what follows it, until `front` is back."""
        lent = self._lent()
        lent.front = front
        transport.set_protocol(lent)
        lent.connection_made(transport)
        lent.data_received(data)
        if leaving:
            lent.shutdown()

    def _look(self) -> None:
        """End connections that nobody uses; while there are any."""
        now = self.loop.time()
        for one in [*self.connections]:
            if isinstance(one, Front):
                one.check(now, _IDLE_SECONDS)
        self._looks = bool(self.connections)
        if self._looks:
            self.loop.call_later(_LOOK_SECONDS, self._look)
