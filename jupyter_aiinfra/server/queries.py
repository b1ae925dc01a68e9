"""The values of a query string, read or refused by name."""

from __future__ import annotations

import re

from tornado.web import RequestHandler

from jupyter_aiinfra.errors import UsageError

__all__ = ["flag", "integer", "number", "text"]

_INTEGER = re.compile(r"-?[0-9]{1,18}")
_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


def text(handler: RequestHandler, name: str) -> str | None:
    """Return the value of `name` without blanks around it; ``None`` where it is not or empty."""
    return handler.get_query_argument(name, "") or None


def integer(
    handler: RequestHandler, name: str, *, default: int, least: int, most: int | None = None
) -> int:
    """Return `name` as a whole number from `least` to `most`.

    Raises
    ------
    UsageError
        It is none, or not within; names the value.
    """
    given = text(handler, name)
    if given is None:
        return default
    number = int(given) if _INTEGER.fullmatch(given) else None
    if number is None or number < least or (most is not None and number > most):
        upto = "on" if most is None else f"to {most:,}"
        raise UsageError(f"{name}={given!r}: expected a whole number from {least:,} {upto}")
    return number


def number(handler: RequestHandler, name: str, *, default: float) -> float:
    """Return `name` as a number that is not negative.

    Raises
    ------
    UsageError
        It is none; names the value.
    """
    given = text(handler, name)
    if given is None:
        return default
    if not _NUMBER.fullmatch(given):
        raise UsageError(f"{name}={given!r}: expected a number")
    return float(given)


def flag(handler: RequestHandler, name: str) -> bool:
    """Return whether `name` is ``true`` (or ``1``); without it, no.

    Raises
    ------
    UsageError
        It is neither that nor ``false``; names the value.
    """
    given = text(handler, name)
    if given is None:
        return False
    if given not in _FLAGS:
        raise UsageError(f"{name}={given!r}: expected true or false")
    return _FLAGS[given]
