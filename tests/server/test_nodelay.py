"""Kernels' sockets send at once, where the setting says so, whatever class connects them."""

from __future__ import annotations

import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from jupyter_server.gateway.connections import GatewayWebSocketConnection
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection

from jupyter_aiinfra.server.nodelay import NoDelayMixin, without_delay

Connect = Callable[..., Awaitable[Any]]


async def nagle_is_off(fetch: Connect, connect: Connect) -> bool:
    """Open a kernel's socket and return what the server's end of it is set to."""
    answer = await fetch("api", "kernels", method="POST", body=json.dumps({"name": "python3"}))
    kernel = json.loads(answer.body)["id"]
    known = set(ZMQChannelsWebsocketConnection._open_sockets)
    page = await connect("api", "kernels", kernel, "channels")
    await page.write_message(json.dumps(execute_request()))
    while json.loads(await page.read_message())["msg_type"] != "execute_reply":
        pass
    (connection,) = set(ZMQChannelsWebsocketConnection._open_sockets) - known
    protocol: Any = connection.websocket_handler.ws_connection
    served = protocol.stream.socket
    option = served.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    page.close()
    await fetch("api", "kernels", kernel, method="DELETE")
    return bool(option)


def execute_request() -> dict[str, Any]:
    header = {
        "msg_id": "one",
        "msg_type": "execute_request",
        "session": "page",
        "username": "",
        "version": "5.3",
        "date": "2026-01-01T00:00:00Z",
    }
    content = {"code": "1", "silent": False, "store_history": False, "allow_stdin": False}
    return {
        "header": header,
        "parent_header": {},
        "metadata": {},
        "content": content,
        "channel": "shell",
        "buffers": [],
    }


async def test_is_on_by_default(jp_fetch: Connect, jp_ws_fetch: Connect) -> None:
    assert await nagle_is_off(jp_fetch, jp_ws_fetch)


class TestSwitchedOff:
    @pytest.fixture
    def aiinfra_config(self) -> dict[str, Any]:
        return {"tcp_nodelay": False}

    async def test_leaves_the_server_as_it_was(
        self, jp_serverapp: Any, jp_fetch: Connect, jp_ws_fetch: Connect
    ) -> None:
        used = jp_serverapp.web_app.settings["kernel_websocket_connection_class"]
        assert used is ZMQChannelsWebsocketConnection
        assert not await nagle_is_off(jp_fetch, jp_ws_fetch)


def test_configured_class_is_kept_underneath(jp_serverapp: Any) -> None:
    used = jp_serverapp.web_app.settings["kernel_websocket_connection_class"]

    assert issubclass(used, NoDelayMixin)
    assert issubclass(used, jp_serverapp.kernel_websocket_connection_class)
    # The class itself is as it was.
    assert not issubclass(jp_serverapp.kernel_websocket_connection_class, NoDelayMixin)


async def test_gateway_class_connects_as_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []

    class Handler:
        ws_connection = object()

        def set_nodelay(self, value: bool) -> None:
            called.append(("nodelay", value))

    async def connect(self: Any) -> str:
        called.append(("connect", True))
        return "connected"

    monkeypatch.setattr(GatewayWebSocketConnection, "connect", connect)
    cls = without_delay(GatewayWebSocketConnection)
    assert without_delay(cls) is cls
    connection: Any = cls.__new__(cls)
    monkeypatch.setattr(cls, "websocket_handler", Handler())

    assert await connection.connect() == "connected"
    assert called == [("nodelay", True), ("connect", True)]
