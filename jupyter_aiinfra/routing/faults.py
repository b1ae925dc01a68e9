"""What the router answers by itself instead of a replica: a status, and a sentence."""

from __future__ import annotations

import math

import msgspec

__all__ = [
    "BadRequest",
    "Fault",
    "Forbidden",
    "NoReplica",
    "NoSuchMethod",
    "NoSuchPath",
    "ReplicaFailed",
    "TooLarge",
    "TooLate",
    "TooManyHeaders",
    "TooOften",
    "TooSlow",
    "Unauthorized",
    "Unsupported",
]


class Fault(Exception):
    """A request that the router answers by an error.

    Parameters
    ----------
    retry_after_seconds
        When it may be worth asking again; ``None`` where that would change nothing.
    """

    status = 500

    def __init__(self, text: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(text)
        self.retry_after_seconds = retry_after_seconds

    def body(self) -> bytes:
        """Return what is answered, in the shape that replicas use."""
        code = "BAD_REQUEST" if self.status < Fault.status else "INTERNAL_ERROR"
        text = str(self)
        told = {"error": text, "field": None, "error_code": code, "message": text}
        return msgspec.json.encode(told)

    def headers(self) -> bytes:
        """Return header lines of its own."""
        if self.retry_after_seconds is None:
            return b""
        return b"retry-after: %d\r\n" % max(1, math.ceil(self.retry_after_seconds))


class BadRequest(Fault):
    """This is no HTTP/1.1, or not to be understood in one way only."""

    status = 400


class Unauthorized(Fault):
    """No key, or one that nobody knows."""

    status = 401

    def headers(self) -> bytes:
        """Return what HTTP wants with this status."""
        return b"www-authenticate: Bearer\r\n"


class Forbidden(Fault):
    """The key is known and does not open this."""

    status = 403


class NoSuchPath(Fault):
    """There is no such endpoint."""

    status = 404


class NoSuchMethod(Fault):
    """What the router itself shows takes nothing."""

    status = 405

    def headers(self) -> bytes:
        """Return what HTTP wants with this status."""
        return b"allow: GET, HEAD\r\n"


class TooSlow(Fault):
    """The request did not arrive in time."""

    status = 408


class TooLarge(Fault):
    """The body is larger than what is accepted."""

    status = 413


class TooOften(Fault):
    """More was asked than may be."""

    status = 429


class TooManyHeaders(Fault):
    """The head of the request is larger than what is accepted."""

    status = 431


class Unsupported(Fault):
    """What HTTP has, and this router has not."""

    status = 501


class ReplicaFailed(Fault):
    """A replica went before it had answered."""

    status = 502


class NoReplica(Fault):
    """No replica is there to ask."""

    status = 503


class TooLate(Fault):
    """No answer in time."""

    status = 504
