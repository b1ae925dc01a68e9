"""Heads that were parsed before: clients and replicas send the same bytes again and again.

Only what the parser has read as one whole message of a told length on a connection that goes on is
kept, by exactly its bytes. Whatever is not in here is parsed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Generic, TypeVar

from jupyter_aiinfra.routing.wire import Fields, status_line

__all__ = ["Answered", "Asked", "Seen", "Way"]

_MOST: Final = 1024
_MOST_BYTES: Final = 2048
_MOST_STARTS: Final = 16

Told = TypeVar("Told", "Asked", "Answered")


class Asked:
    """The head of a request.

    Parameters
    ----------
    way
        Where it goes; known when one of them went there.
    """

    __slots__ = ("fields", "headers", "length", "method", "target", "way")

    def __init__(self, method: bytes, target: bytes, fields: Fields, length: int) -> None:
        self.method = method
        self.target = target
        self.fields = fields
        self.headers: Mapping[bytes, bytes] = dict(fields)
        self.length = length
        self.way: Way | None = None


class Way:
    """Where a request goes whose head was looked at before, as far as that is all in its head.

    Parameters
    ----------
    name
        Of the endpoint.
    path, target
        There, without and with the query.
    counted
        Whether it asks the model.
    shares
        Whether it may be one of many under way on a connection.
    origin
        Whether a page of somebody's asks.
    heads
        What is sent on before the body, and the lines of it, by what else they depend on: whether
        keys are the router's, and whether the user's own programs ask.
    """

    __slots__ = ("counted", "heads", "name", "origin", "path", "shares", "target")

    def __init__(
        self, name: bytes, *, path: bytes, target: bytes, counted: bool, shares: bool, origin: bool
    ) -> None:
        self.name = name
        self.path = path
        self.target = target
        self.counted = counted
        self.shares = shares
        self.origin = origin
        self.heads: dict[tuple[bool, bool], tuple[bytes, bytes]] = {}


class Answered:
    """The head of an answer; `lines` are those that go on."""

    __slots__ = ("_starts", "length", "lines", "status")

    def __init__(self, status: int, lines: bytes, length: int) -> None:
        self.status = status
        self.lines = lines
        self.length = length
        self._starts: dict[tuple[bytes, bool], bytes] = {}

    def start(self, line: bytes, *, keeps: bool) -> bytes:
        """Return what the client is told before the body, with one more `line`.

        Parameters
        ----------
        keeps
            Whether the client's connection goes on.
        """
        start = self._starts.get((line, keeps))
        if start is None:
            framing = b"content-length: %d\r\n" % self.length
            ending = b"\r\n" if keeps else b"connection: close\r\n\r\n"
            start = b"".join((status_line(self.status), self.lines, framing, line, ending))
            if len(self._starts) >= _MOST_STARTS:
                self._starts.clear()
            self._starts[line, keeps] = start
        return start


class Seen(Generic[Told]):
    """Heads by their bytes. When there are too many, all are forgotten."""

    def __init__(self) -> None:
        self._heads: dict[bytes, Told] = {}

    def find(self, data: bytes) -> tuple[Told, bytes] | None:
        """Return the head and the body of `data`, if that is one message whose head is known."""
        found = self.at(data, 0)
        if found is None or len(data) != found[1] + found[0].length:
            return None
        return found[0], data[found[1] :]

    def at(self, data: bytes, begin: int) -> tuple[Told, int] | None:
        """Return the head that begins at `begin`, if it is known, and where its body begins."""
        end = data.find(b"\r\n\r\n", begin) + 4
        head = self._heads.get(data[begin:end])
        return None if head is None else (head, end)

    def keep(self, data: bytes, head: Told) -> None:
        """Remember that `data`, which is one message, has this head."""
        size = len(data) - head.length
        if size > _MOST_BYTES or data[size - 4 : size] != b"\r\n\r\n":
            return
        if data.find(b"\r\n\r\n") + 4 != size:
            return
        self.learn(data[:size], head)

    def learn(self, text: bytes, head: Told) -> None:
        """Remember a head that is `text`, empty line and all."""
        if len(text) > _MOST_BYTES:
            return
        if len(self._heads) >= _MOST:
            self._heads.clear()
        self._heads[text] = head
