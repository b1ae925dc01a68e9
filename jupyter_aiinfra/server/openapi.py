"""The OpenAPI document of the endpoints: ``python -m jupyter_aiinfra.server.openapi`` prints it.

``docs/openapi.json`` is its committed form, from which ``npm run types`` makes
``labextension/src/api/schema.ts``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from http.client import responses
from typing import Any

import msgspec

from jupyter_aiinfra.server import wire
from jupyter_aiinfra.server.routes import Operation, Query, Route

__all__ = ["openapi"]

_REFERENCE = "#/components/schemas/{name}"


def openapi(routes: Sequence[Route]) -> dict[str, Any]:
    """Return the document; it has all wire types, those that only the socket carries too."""
    kinds = [getattr(wire, name) for name in wire.__all__]
    for route in routes:
        for operation in route.operations.values():
            kinds += [kind for kind in (operation.answer, operation.body) if _has_schema(kind)]
    found, components = msgspec.json.schema_components(
        list(dict.fromkeys(kinds)), ref_template=_REFERENCE
    )
    schemas = dict(zip(dict.fromkeys(kinds), found, strict=True))
    paths = {
        f"/aiinfra/{route.path}": {
            **_parameters(route),
            **{verb: _operation(each, schemas) for verb, each in route.operations.items()},
        }
        for route in routes
        if route.operations
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "jupyter-aiinfra",
            "version": "1",
            "description": "The JupyterLab server extension. Paths are below the server's base "
            "URL; Jupyter's own token or cookie authenticates, and a cookie needs its XSRF header.",
        },
        "paths": paths,
        "components": {"schemas": _answered_in_full(components)},
    }


def _has_schema(kind: Any) -> bool:
    return kind is not None and kind is not bytes


def _parameters(route: Route) -> dict[str, Any]:
    names = re.findall(r"\{(\w+)\}", route.path)
    shown = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in names
    ]
    return {"parameters": shown} if shown else {}


def _operation(operation: Operation, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": responses[operation.status]}
    if operation.answer is bytes:
        answer["content"] = {operation.kind: {}}
    elif operation.answer is not None:
        answer["content"] = {"application/json": {"schema": schemas[operation.answer]}}
    refusal = {"application/json": {"schema": schemas[wire.Problem]}}
    shown: dict[str, Any] = {
        "summary": operation.summary,
        "responses": {
            str(operation.status): answer,
            "default": {"description": "Refused", "content": refusal},
        },
    }
    if operation.query:
        shown["parameters"] = [_query(each) for each in operation.query]
    if operation.body is not None:
        content = {"application/json": {"schema": schemas[operation.body]}}
        shown["requestBody"] = {"required": True, "content": content}
    return shown


def _query(query: Query) -> dict[str, Any]:
    return {
        "name": query.name,
        "in": "query",
        "description": query.description,
        "schema": {"type": query.type},
    }


def _answered_in_full(components: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schemas with every property required that the server always sends.

    A default says what a *request* may leave out; what we send has all of its fields.
    """
    return {
        name: schema
        if name.endswith("Request") or "properties" not in schema
        else {**schema, "required": list(schema["properties"])}
        for name, schema in components.items()
    }


def _main() -> None:
    from jupyter_aiinfra.server.app import ROUTES  # noqa: PLC0415 - brings everything

    print(json.dumps(openapi(ROUTES), indent=2))  # noqa: T201


if __name__ == "__main__":
    _main()
