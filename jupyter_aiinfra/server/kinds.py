"""``/aiinfra/kinds``: the kinds of pools there are, each with what the attach form is drawn from.

A kind says what it needs by the dataclass of its options; nothing else has to be written for it.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from jupyter_server.auth.decorator import authorized
from tornado import web

from jupyter_aiinfra.cost.terms import PriceOptions
from jupyter_aiinfra.pools import kinds, pool_class
from jupyter_aiinfra.server.handlers import AiInfraHandler
from jupyter_aiinfra.server.routes import Operation, Route
from jupyter_aiinfra.server.wire import PoolKind

__all__ = ["ROUTES", "KindsHandler", "options_schema", "pool_kinds"]

_log = logging.getLogger(__name__)


def pool_kinds() -> Sequence[PoolKind]:
    """Return the kinds that can be used here, by name."""
    found = []
    for kind in sorted(kinds()):
        try:
            options = pool_class(kind).options_type
        except (ImportError, AttributeError) as error:
            # Somebody else's package is broken or half removed: no reason to offer no kind at all.
            _log.warning("pool kind %s cannot be used: %s", kind, error)
            continue
        title = getattr(pool_class(kind), "title", None) or _title(kind)
        found.append(PoolKind(kind=kind, title=title, schema=_with_price(options_schema(options))))
    return found


def _with_price(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a kind's options with what every kind takes: what it costs."""
    price = options_schema(PriceOptions)
    return {**schema, "properties": {**schema.get("properties", {}), **price["properties"]}}


def options_schema(options: type) -> dict[str, Any]:
    """Return the JSON schema of a dataclass of options, as a form can be drawn from it.

    Each property has a ``title``, which the field's metadata may name; its ``description`` is the
    ``help`` in there.
    There is no ``$ref`` in it, and what may be ``None`` is what it otherwise is, not required. Of
    the fields whose metadata has ``either`` exactly one is to be given.
    """
    schema = msgspec.json.schema(options)
    flat = _flat(schema, schema.get("$defs", {}), ())
    for field in dataclasses.fields(options):
        drawn = flat["properties"][field.name]
        drawn["title"] = field.metadata.get("title") or _title(field.name)
        if description := field.metadata.get("help"):
            drawn["description"] = description
    either = [field.name for field in dataclasses.fields(options) if field.metadata.get("either")]
    if either:
        flat["oneOf"] = [{"required": [name]} for name in either]
    # How the class is called, and its docstring, are for those who read code.
    return {key: value for key, value in flat.items() if key not in {"title", "description"}}


def _flat(schema: Any, known: Mapping[str, Any], within: tuple[str, ...]) -> Any:
    """Return `schema` with references filled in and the alternative of null taken away.

    `within` are the names that are being filled in: one that holds itself ends as any object.
    """
    if isinstance(schema, list):
        return [_flat(each, known, within) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        beside = {key: value for key, value in schema.items() if key not in {"$ref", "$defs"}}
        filled = (
            {"type": "object"} if name in within else _flat(known[name], known, (*within, name))
        )
        return {**filled, **_flat(beside, known, within)}
    flat = {key: _flat(value, known, within) for key, value in schema.items() if key != "$defs"}
    return _without_null(flat)


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    alternatives = schema.get("anyOf")
    if not isinstance(alternatives, list) or {"type": "null"} not in alternatives:
        return schema
    others = [each for each in alternatives if each != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    if rest.get("default", ...) is None:
        del rest["default"]  # left out is what it means
    return {**others[0], **rest} if len(others) == 1 else {"anyOf": others, **rest}


def _title(name: str) -> str:
    """Return ``max_procs`` as ``Max procs``."""
    words = name.replace("_", " ").replace("-", " ").strip()
    return words[:1].upper() + words[1:]


class KindsHandler(AiInfraHandler):
    """The kinds of pools."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Write them, by name."""
        # On the engine's thread: a kind brings the packages that it needs.
        self.answer(await self.engine.call(lambda _: pool_kinds()))


ROUTES = (
    Route(
        path="kinds",
        handler=KindsHandler,
        operations={
            "get": Operation(
                summary="The kinds of pools, and the options of each", answer=list[PoolKind]
            )
        },
    ),
)
