"""Whether the router takes gRPC, too, and where; nothing of it is imported where it does not."""

from __future__ import annotations

import logging
from typing import Any

from jupyter_aiinfra.routing.config import Config

__all__ = ["GrpcSide"]

_log = logging.getLogger(__name__)


class GrpcSide:
    """The port for gRPC, where one is asked for."""

    def __init__(self) -> None:
        # Where it listens, 0: nowhere; and why not, where it should.
        self.port = 0
        self.problem = ""
        self._asked: tuple[str, int | None, int] | None = None
        self._server: Any = None
        self._client: Any = None

    async def follow(self, config: Config, *, http_port: int, before: int) -> None:
        """Listen where `config` says, or not any more.

        Parameters
        ----------
        http_port
            Where requests go on to.
        before
            The port that callers know, where any would do.
        """
        asked = (config.host, config.grpc_port, http_port)
        if asked == self._asked:
            return
        await self.stop(0)
        self._asked, self.problem = asked, ""
        if config.grpc_port is None:
            return
        # Where any would do, another one if that is taken which callers know.
        for port in dict.fromkeys((config.grpc_port or before, config.grpc_port)):
            self.problem = await self._opened(config.host, port, http_port)
            if not self.problem:
                return
            _log.error("%s", self.problem)

    async def _opened(self, host: str, port: int, http_port: int) -> str:
        """Listen there; return why not, or nothing."""
        near = f"[{host}]" if ":" in host else host
        try:
            from jupyter_aiinfra.routing import passing  # noqa: PLC0415 - not everybody has it

            self._server, self._client, self.port = await passing.opened(
                f"{near}:{port}", f"http://{near}:{http_port}"
            )
        except ImportError:
            return "gRPC needs pip install 'jupyter_aiinfra[grpc,serve]'"
        except OSError as error:
            return f"gRPC: {error}"
        return ""

    async def stop(self, seconds: float) -> None:
        """Take no more calls; those under way have so long."""
        server, client, self._server, self._client = self._server, self._client, None, None
        self.port = 0
        self._asked = None
        if server is not None:
            await server.stop(seconds)
        if client is not None:
            await client.aclose()
