"""What is told instead of an answer: a status, a sentence, and the field it is about."""

from __future__ import annotations

__all__ = [
    "BadInput",
    "Busy",
    "Fault",
    "Forbidden",
    "ModelFault",
    "NotServed",
    "TooLarge",
    "TooLate",
    "TooSlow",
    "Unauthorized",
    "Unsupported",
]


class Fault(Exception):
    """A request that is answered by an error.

    Parameters
    ----------
    field
        Which part of the request it is about, as a path (``inputs.x[3]``); empty for the whole.
    retry_after_seconds
        When it may be worth asking again; ``None`` where that would change nothing.
    """

    status = 500

    def __init__(
        self, text: str, *, field: str = "", retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(f"{field}: {text}" if field else text)
        self.field = field
        self.retry_after_seconds = retry_after_seconds


class BadInput(Fault):
    """The body is not what the model takes."""

    status = 400


class Unauthorized(Fault):
    """No key, or one that nobody knows."""

    status = 401


class Forbidden(Fault):
    """The key is known and does not open this."""

    status = 403


class NotServed(Fault):
    """There is no such model, version or path."""

    status = 404


class TooSlow(Fault):
    """The body did not arrive in time."""

    status = 408


class TooLarge(Fault):
    """The body is larger than what is accepted."""

    status = 413


class Unsupported(Fault):
    """A content type or encoding that is not spoken here."""

    status = 415


class Busy(Fault):
    """More is waiting than is worth waiting for."""

    status = 429


class ModelFault(Fault):
    """The model failed, or returned what it had not promised."""

    status = 500


class TooLate(Fault):
    """No answer within the time a request may take."""

    status = 504
