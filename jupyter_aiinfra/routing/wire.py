"""Requests as they are sent on, and answers of the router's own, as bytes."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

from jupyter_aiinfra.routing.faults import Fault

__all__ = [
    "EARLY_BYTES",
    "HOP",
    "JSON",
    "KEPT_BYTES",
    "Fields",
    "Reply",
    "Request",
    "connection_names",
    "framed",
    "reply_of",
    "status_line",
]

# Names in small letters.
Fields = list[tuple[bytes, bytes]]

JSON = b"application/json"

# Of this connection only (RFC 9110, 7.6.1); what `Connection` names is added to them.
HOP = frozenset(
    {
        b"connection",
        b"expect",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
# A body that is larger is sent on before all of it is there.
EARLY_BYTES = 64 * 1024
# A body that is larger is not kept to ask again.
KEPT_BYTES = 2**20

_LINES = {
    int(status): f"HTTP/1.1 {int(status)} {status.phrase}\r\n".encode() for status in HTTPStatus
}


def status_line(status: int) -> bytes:
    """Return the first line of an answer."""
    return _LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


def framed(part: bytes) -> bytes:
    """Return a part of a body as a chunk."""
    return b"%x\r\n%b\r\n" % (len(part), part)


class Request:
    """What is sent to a replica.

    Parameters
    ----------
    lines
        Header lines that go on, framing not among them.
    length
        As the client told it; ``None`` where it sends chunks.
    head
        All that goes before the body, where it was made for a request before.
    """

    __slots__ = ("complete", "head", "length", "lines", "method", "parts", "size", "target")

    def __init__(
        self, method: bytes, target: bytes, lines: bytes = b"", length: int | None = 0
    ) -> None:
        self.method = method
        self.target = target
        self.lines = lines
        self.length = length
        self.head = b""
        self.parts: list[bytes] | None = []
        self.size = 0
        self.complete = False

    @property
    def chunked(self) -> bool:
        """Whether it has to be sent in chunks: nobody knows yet how long it will be."""
        return self.length is None and not self.complete

    def add(self, part: bytes) -> None:
        """Take a part of the body that has come."""
        self.size += len(part)
        if self.parts is not None:
            self.parts.append(part)

    def forget(self) -> None:
        """Keep what was sent no longer, where it is too much to keep."""
        if self.size > KEPT_BYTES:
            self.parts = None

    def body(self) -> bytes | None:
        """Return the whole body; ``None`` where it is not all there, or not any more."""
        if self.parts is None or not self.complete:
            return None
        return b"".join(self.parts)

    def sent(self) -> bytes:
        """Return head and body as far as they are there."""
        parts = self.parts or []
        if self.head:
            return self.head + b"".join(parts)
        head = self.begun()
        if self.chunked:
            parts = [framed(part) for part in parts if part]
        return head + b"".join(parts) if parts else head

    def begun(self) -> bytes:
        """Return the head."""
        if self.chunked:
            framing = b"transfer-encoding: chunked\r\n\r\n"
        else:
            size = self.size if self.length is None else self.length
            # A request without a body says nothing about its length (RFC 9110, 8.6).
            told = size or self.method in {b"POST", b"PUT", b"PATCH"}
            framing = b"content-length: %d\r\n\r\n" % size if told else b"\r\n"
        return b"%b %b HTTP/1.1\r\n%b%b" % (self.method, self.target, self.lines, framing)


class Reply:
    """An answer of the router's own."""

    __slots__ = ("body", "lines", "status")

    def __init__(self, status: int, body: bytes = b"", *, kind: bytes = JSON) -> None:
        self.status = status
        self.body = body
        self.lines = b"content-type: %b\r\n" % kind if body else b""

    def with_lines(self, lines: bytes) -> Reply:
        """Add header lines; return itself."""
        self.lines += lines
        return self

    def written(self, *, close: bool, head_only: bool = False) -> bytes:
        """Return it as bytes."""
        framing = (
            b""
            if self.status == HTTPStatus.NO_CONTENT
            else (b"content-length: %d\r\n" % len(self.body))
        )
        ending = b"connection: close\r\n\r\n" if close else b"\r\n"
        body = b"" if head_only else self.body
        return b"".join((status_line(self.status), self.lines, framing, ending, body))


def reply_of(fault: Fault) -> Reply:
    """Return the answer that tells a fault."""
    return Reply(fault.status, fault.body()).with_lines(fault.headers())


def connection_names(fields: Iterable[tuple[bytes, bytes]]) -> frozenset[bytes]:
    """Return the fields that are of this connection only."""
    told = b",".join(value for name, value in fields if name == b"connection").lower()
    return HOP | {name.strip() for name in told.split(b",")}
