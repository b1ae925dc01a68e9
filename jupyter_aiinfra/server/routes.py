"""The table of endpoints: what the server registers, the OpenAPI file lists and tests walk."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from tornado.web import RequestHandler

__all__ = ["Operation", "Query", "Route"]

_PARAMETERS = {
    "name": r"[^/]+",
    "id": r"[0-9a-z]+",
    "other": r"[0-9a-z]+",
    "rank": r"[0-9]+|launcher(?:-[0-9]{1,5})?",
    "path": r".+",
}
"""What a parameter of a path may look like, by its name."""


@dataclass(frozen=True, kw_only=True)
class Query:
    """One parameter of the query string."""

    name: str
    type: Literal["string", "integer", "number", "boolean"]
    description: str


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One verb of an endpoint.

    ``answer`` is a wire type, or ``bytes`` for a file of the type ``kind``, or ``None`` where
    nothing is answered; ``body`` the wire type of what is sent.
    """

    summary: str
    answer: Any
    kind: str = "application/octet-stream"
    body: Any = None
    status: int = 200
    query: tuple[Query, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Route:
    """An endpoint below ``/aiinfra``: ``path`` has its parameters in braces.

    A handler takes the parameters of its path as arguments of those names. A socket has no
    operations.
    """

    path: str
    handler: type[RequestHandler]
    operations: dict[str, Operation]

    @property
    def pattern(self) -> str:
        """The path as a regular expression with named groups."""
        return re.sub(r"\{(\w+)\}", lambda found: _group(found[1]), self.path)


def _group(name: str) -> str:
    return f"(?P<{name}>{_PARAMETERS[name]})"
