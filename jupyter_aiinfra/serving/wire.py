"""One request in, one answer out: reading bodies within bounds, and writing answers."""

from __future__ import annotations

import asyncio
import functools
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import msgspec

from jupyter_aiinfra.serving.faults import Fault, TooLarge, TooSlow, Unauthorized
from jupyter_aiinfra.serving.formats import compressed, decompressed

__all__ = [
    "JSON",
    "Answer",
    "ClientGone",
    "Receive",
    "Scope",
    "Send",
    "check_length",
    "error_answer",
    "fault_answer",
    "read_body",
    "unpacked",
]

Scope = MutableMapping[str, Any]
_Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[_Message]]
Send = Callable[[_Message], Awaitable[None]]

_log = logging.getLogger(__name__)

JSON = b"application/json"

# Compressing less costs more than it saves.
_SMALL_BYTES = 1024


class ClientGone(Exception):
    """Whoever asked is not there any more."""


@dataclass(kw_only=True)
class Answer:
    """What goes back.

    Parameters
    ----------
    stream
        Parts that follow one after the other, instead of a body.
    """

    body: bytes = b""
    status: int = 200
    kind: bytes = JSON
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    stream: AsyncIterator[bytes] | None = None

    def framed(self, accepted: bytes | None) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """Return header and body, compressed where the client takes that and it is worth it."""
        headers = [(b"content-type", self.kind), *self.headers]
        body = self.body
        if accepted is not None and len(body) >= _SMALL_BYTES:
            body, encoding = compressed(body, accepted.decode("latin-1"))
            if encoding:
                headers.append((b"content-encoding", encoding.encode()))
            headers.append((b"vary", b"accept-encoding"))
        if self.stream is None:
            headers.append((b"content-length", b"%d" % len(body)))
        return headers, body

    def written(self, accepted: bytes | None, *, close: bool) -> bytes:
        """Return it as it goes over the wire; not one that comes in parts.

        Parameters
        ----------
        close
            Whether the connection ends with it.
        """
        if self.kind is JSON and not (self.headers or close or len(self.body) >= _SMALL_BYTES):
            # What nearly all are, without a detour.
            return b"%b%d\r\n\r\n%b" % (_starts(self.status), len(self.body), self.body)
        headers, body = self.framed(accepted)
        if close and (b"connection", b"close") not in headers:
            headers.append((b"connection", b"close"))
        lines = [b"%b: %b\r\n" % pair for pair in headers]
        return b"".join([_line(self.status), *lines, b"\r\n", body])

    async def send(self, send: Send, *, accepted: bytes | None) -> None:
        """Send it, compressed where the client takes that and it is worth it."""
        headers, body = self.framed(accepted)
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        if self.stream is not None:
            async for part in self.stream:
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": body})


@functools.lru_cache(maxsize=64)
def _line(status: int) -> bytes:
    return b"HTTP/1.1 %d %b\r\n" % (status, HTTPStatus(status).phrase.encode())


@functools.lru_cache(maxsize=64)
def _starts(status: int) -> bytes:
    return _line(status) + b"content-type: " + JSON + b"\r\ncontent-length: "


def fault_answer(fault: Fault) -> Answer:
    """Return the answer that tells `fault`, in the words of each protocol that is spoken here."""
    text = str(fault)
    told = {"error": text, "field": fault.field or None}
    # MLflow's client reads these.
    code = "BAD_REQUEST" if fault.status < Fault.status else "INTERNAL_ERROR"
    told |= {"error_code": code, "message": text}
    answer = Answer(body=msgspec.json.encode(told), status=fault.status)
    if fault.retry_after_seconds is not None:
        seconds = max(1, math.ceil(fault.retry_after_seconds))
        answer.headers.append((b"retry-after", b"%d" % seconds))
    if isinstance(fault, Unauthorized):
        # HTTP wants it with this status.
        answer.headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(fault, TooSlow | TooLarge):
        # The rest of the body may still be on its way, and is no next request.
        answer.headers.append((b"connection", b"close"))
    return answer


def error_answer(error: Exception, asked: str) -> Answer:
    """Return what tells that `asked` could not be answered; what was not foreseen is logged."""
    if isinstance(error, Fault):
        return fault_answer(error)
    _log.error("%s", asked, exc_info=error)
    return fault_answer(Fault("this should not have happened; it is in the log"))


async def read_body(
    receive: Receive, headers: dict[bytes, bytes], *, limit_bytes: int, seconds: float
) -> bytes:
    """Return the body of a request, unpacked.

    Raises
    ------
    TooLarge
        It is larger than `limit_bytes`, packed or not.
    TooSlow
        It has not arrived within `seconds`.
    ClientGone
        It will not arrive any more.
    """
    length = headers.get(b"content-length", b"")
    if length.isdigit():
        check_length(int(length), limit_bytes)
    body = await _within(_gathered(receive, limit_bytes), seconds)
    return unpacked(body, headers.get(b"content-encoding"), limit_bytes)


def check_length(length: int, limit_bytes: int) -> None:
    """Refuse a body before it comes.

    Raises
    ------
    TooLarge
        It is larger than is accepted.
    """
    if length > limit_bytes:
        raise TooLarge(f"the body is {length:,} bytes; at most {limit_bytes:,} are accepted")


def unpacked(body: bytes, encoding: bytes | None, limit_bytes: int) -> bytes:
    """Return `body` as it was before it was compressed.

    Raises
    ------
    BadInput, TooLarge, Unsupported
        As :func:`.formats.decompressed` does.
    """
    if encoding is None or encoding == b"identity":
        return body
    name = encoding.decode("latin-1").strip().lower()
    return decompressed(body, name, limit_bytes=limit_bytes)


async def _gathered(receive: Receive, limit_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        size += len(part)
        if size > limit_bytes:
            raise TooLarge(f"the body is larger than {limit_bytes:,} bytes")
        if not message.get("more_body"):
            return part if not parts else b"".join([*parts, part])
        parts.append(part)


async def _within(reading: Awaitable[bytes], seconds: float) -> bytes:
    """Await `reading` in this very task: one more a request would cost more than the request."""
    task = asyncio.current_task()
    cut = False

    def stop() -> None:
        nonlocal cut
        cut = True
        if task is not None:
            task.cancel()

    timer = asyncio.get_running_loop().call_later(seconds, stop)
    try:
        return await reading
    except asyncio.CancelledError:
        if not cut:
            raise
        if task is not None and hasattr(task, "uncancel"):
            task.uncancel()
        raise TooSlow(f"the body did not arrive within {seconds:g} s") from None
    finally:
        timer.cancel()
