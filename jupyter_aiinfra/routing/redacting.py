"""What is left out of the requests and answers that are kept; pure.

Three things are: what a JSON pointer names, what stands under a name (however deep, and also where
a tensor or a column carries it), and what looks like a token or a password.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from jupyter_aiinfra.node.scrub import Scrubber

__all__ = ["REDACTED", "Redaction", "pointer_of", "redacted"]

REDACTED = "[redacted]"
# What stands under such a name is nobody's, whether or not anybody thought of saying so.
_ALWAYS = frozenset(
    {
        *("password", "passwd", "passphrase", "secret", "client_secret", "authorization"),
        *("api_key", "apikey", "x-api-key", "access_token", "refresh_token", "private_key"),
    }
)
_PLAIN = frozenset({bool, float, int, type(None)})


def pointer_of(text: str) -> tuple[str, ...]:
    """Return the parts of a JSON pointer (RFC 6901)."""
    return tuple(
        part.replace("~1", "/").replace("~0", "~") for part in text.removeprefix("/").split("/")
    )


def redacted(value: Any, pointer: Sequence[str]) -> Any:
    """Return `value` without what is at `pointer`, where ``*`` is any member."""
    if not pointer:
        return REDACTED
    name, rest = pointer[0], pointer[1:]
    if isinstance(value, dict):
        return {
            key: redacted(one, rest) if name in {"*", key} else one for key, one in value.items()
        }
    if isinstance(value, list):
        return [
            redacted(one, rest) if name in {"*", str(number)} else one
            for number, one in enumerate(value)
        ]
    return value


class Redaction:
    """What is not kept of values.

    Parameters
    ----------
    told
        JSON pointers, which begin with a slash, and names, which do not.
    """

    def __init__(self, told: Iterable[str]) -> None:
        told = list(told)
        self._pointers = [pointer_of(text) for text in told if text.startswith("/")]
        names = {text.lower() for text in told if not text.startswith("/")}
        self._names = _ALWAYS | names
        self._scrubber = Scrubber()

    def shown(self, value: Any) -> tuple[Any, bool]:
        """Return what may be kept of a JSON value, and whether something was left out.

        Raises
        ------
        RecursionError
            It is too deep to be looked at.
        """
        kept = value
        for pointer in self._pointers:
            kept = redacted(kept, pointer)
        kept = self._cleaned(kept)
        return kept, kept != value

    def text(self, text: str) -> str:
        """Return a text without what looks like a secret."""
        return self._scrubber.text(text)[0]

    def _cleaned(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            # Most lists are of numbers, and long.
            if set(map(type, value)) <= _PLAIN:
                return value
            return [self._cleaned(one) for one in value]
        if isinstance(value, dict):
            return self._object(value)
        return value

    def _object(self, value: dict[str, Any]) -> dict[str, Any]:
        made = {
            self.text(name): REDACTED if name.lower() in self._names else self._cleaned(one)
            for name, one in value.items()
        }
        named = value.get("name")
        if isinstance(named, str) and named.lower() in self._names and "data" in value:
            # A tensor of the Open Inference Protocol.
            made["data"] = REDACTED
        columns = value.get("columns")
        if isinstance(columns, list) and isinstance(made.get("data"), list):
            # A table of MLflow's, by rows.
            hidden = {
                number
                for number, each in enumerate(columns)
                if isinstance(each, str) and each.lower() in self._names
            }
            if hidden:
                made["data"] = [_without(row, hidden) for row in made["data"]]
        return made


def _without(row: Any, hidden: set[int]) -> Any:
    if not isinstance(row, list):
        return row
    return [REDACTED if number in hidden else one for number, one in enumerate(row)]
