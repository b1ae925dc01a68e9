"""The heads of requests, understood once: a client sends the same one again and again.

What is answered by :mod:`.front` itself is the plain case of what is asked often: HTTP/1.1, a body
of a known length, a path that the model answers. Anything else is no :class:`Known` head.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import httptools

from jupyter_aiinfra.serving.dialects import EVENTS, Dialect, Head
from jupyter_aiinfra.serving.wire import Answer

__all__ = ["Heads", "Known", "Paths", "Shown"]

Shown = Callable[[], Awaitable[Answer]]

_KEPT = 1024
_KEPT_BYTES = 2048
# What changes how a body is framed, or who speaks next.
_STRANGE = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"trailer"})


class Paths(Protocol):
    """What is answered where."""

    asked: dict[str, Dialect]
    shown: dict[str, Shown]
    open: frozenset[str]


class Known(Head):
    """The head of a request that is answered without ado.

    Parameters
    ----------
    dialect, shown
        What answers it; one of both.
    length
        Of its body.
    keep
        Whether the connection may be asked more.
    free
        Whether it wants no key.
    """

    __slots__ = ("accepted", "dialect", "encoding", "free", "keep", "length", "origin", "shown")

    def __init__(
        self,
        headers: Mapping[bytes, bytes],
        *,
        dialect: Dialect | None,
        shown: Shown | None,
        keep: bool,
        free: bool,
    ) -> None:
        super().__init__(headers)
        self.dialect = dialect
        self.shown = shown
        self.keep = keep
        self.free = free
        self.length = int(headers.get(b"content-length", b"0"))
        self.encoding = headers.get(b"content-encoding")
        self.accepted = headers.get(b"accept-encoding")
        self.origin = headers.get(b"origin")


class _Parsed:
    """What the parser tells of one head."""

    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.url = b""
        self.method = b""
        self.headers: dict[bytes, bytes] = {}
        self.keep = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        # Only here does it know: a request without a body is over when this returns.
        self.method = self.parser.get_method()
        self.keep = self.parser.should_keep_alive()
        if self.parser.get_http_version() != "1.1":
            self.method = b""


class Heads:
    """Finds what answers a request by the bytes of its head."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._known: dict[bytes, Known | None] = {}

    def of(self, text: bytes) -> Known | None:
        """Return the head in `text`, which lacks its last empty line; ``None``: not for here."""
        try:
            return self._known[text]
        except KeyError:
            known = self._read(text)
        if len(text) <= _KEPT_BYTES:
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[text] = known
        return known

    def _read(self, text: bytes) -> Known | None:
        parsed = _Parsed()
        try:
            parsed.parser.feed_data(text + b"\r\n\r\n")
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return None
        headers = parsed.headers
        if not _STRANGE.isdisjoint(headers):
            return None
        path = parsed.url.decode("latin-1")
        dialect = shown = None
        if parsed.method == b"POST":
            dialect = self._paths.asked.get(path)
            if EVENTS in headers.get(b"accept", b"").decode("latin-1").lower():
                return None
        elif parsed.method == b"GET" and b"content-length" not in headers:
            shown = self._paths.shown.get(path)
        if dialect is None and shown is None:
            return None
        free = path in self._paths.open
        return Known(headers, dialect=dialect, shown=shown, keep=parsed.keep, free=free)
