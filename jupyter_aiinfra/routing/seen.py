"""Heads that were parsed before: clients and replicas send the same bytes again and again.

Only what the parser has read as one whole message of a told length on a connection that goes on is
kept, by exactly its bytes. Whatever is not in here is parsed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Generic, TypeVar

from jupyter_aiinfra.routing.wire import Fields

__all__ = ["Answered", "Asked", "Seen"]

_MOST: Final = 1024
_MOST_BYTES: Final = 2048

Told = TypeVar("Told", "Asked", "Answered")


class Asked:
    """The head of a request.

    Parameters
    ----------
    sent
        Header lines as they go on, by what that depends on.
    """

    __slots__ = ("fields", "headers", "length", "method", "sent", "target")

    def __init__(self, method: bytes, target: bytes, fields: Fields, length: int) -> None:
        self.method = method
        self.target = target
        self.fields = fields
        self.headers: Mapping[bytes, bytes] = dict(fields)
        self.length = length
        self.sent: dict[tuple[str, bool, bool], bytes] = {}


class Answered:
    """The head of an answer; `lines` are those that go on."""

    __slots__ = ("length", "lines", "status")

    def __init__(self, status: int, lines: bytes, length: int) -> None:
        self.status = status
        self.lines = lines
        self.length = length


class Seen(Generic[Told]):
    """Heads by their bytes. When there are too many, all are forgotten."""

    def __init__(self) -> None:
        self._heads: dict[bytes, Told] = {}

    def find(self, data: bytes) -> tuple[Told, bytes] | None:
        """Return the head and the body of `data`, if that is one message whose head is known."""
        end = data.find(b"\r\n\r\n") + 4
        head = self._heads.get(data[:end])
        if head is None or len(data) != end + head.length:
            return None
        return head, data[end:]

    def keep(self, data: bytes, head: Told) -> None:
        """Remember that `data`, which is one message, has this head."""
        size = len(data) - head.length
        if size > _MOST_BYTES or data[size - 4 : size] != b"\r\n\r\n":
            return
        if data.find(b"\r\n\r\n") + 4 != size:
            return
        if len(self._heads) >= _MOST:
            self._heads.clear()
        self._heads[data[:size]] = head
