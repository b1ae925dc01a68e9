"""Sending a kernel's answers at once.

The kernel's socket to the browser carries a cell's answer as several small messages. With Nagle's
algorithm on, as jupyter_server leaves it, each waits until the browser has acknowledged the one
before, and a browser takes its time over that: about 40 ms on every small cell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jupyter_server.services.kernels.connection.base import BaseKernelWebsocketConnection

__all__ = ["NoDelayMixin", "without_delay"]

if TYPE_CHECKING:
    # In truth it must be able to come before any such class.
    _Base = BaseKernelWebsocketConnection
else:
    _Base = object


class NoDelayMixin(_Base):
    """Switches Nagle's algorithm off when a kernel's socket is connected.

    Goes before any class that connects a kernel to a socket: ours, a gateway's, another's.
    """

    def connect(self) -> Any:
        """Connect as the class does that this is mixed into; return what it returns."""
        handler = self.websocket_handler
        if handler.ws_connection is not None:
            handler.set_nodelay(True)
        return super().connect()  # type: ignore[no-untyped-call]


def without_delay(
    connection: type[BaseKernelWebsocketConnection],
) -> type[BaseKernelWebsocketConnection]:
    """Return a class like `connection` that sends at once; the same where it does already.

    `connection` itself is left as it is. Configuration under its name holds for the new class.
    """
    if issubclass(connection, NoDelayMixin):
        return connection
    return type(f"NoDelay{connection.__name__}", (NoDelayMixin, connection), {})
