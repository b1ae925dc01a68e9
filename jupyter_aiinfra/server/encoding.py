"""How what crosses to the browser is written: always as JSON that can be read there."""

from __future__ import annotations

from typing import Any

import msgspec

from jupyter_aiinfra.model import to_wire

__all__ = ["encode"]


def encode(value: Any) -> bytes:
    """Return a wire value as JSON in UTF-8.

    Half a character (a surrogate by itself) becomes a question mark. A program may well write one
    in an error, from there it is on record, and no encoder would take it.
    """
    plain = to_wire(value)
    try:
        return msgspec.json.encode(plain)
    except UnicodeEncodeError:
        return msgspec.json.encode(_whole(plain))


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_whole(key): _whole(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_whole(each) for each in value]
    return value
