"""The OpenAPI of what is asked often: paths that no framework sees, so they are described by hand.

What stands here is held to by tests that send whatever the document allows, and what it does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np

from jupyter_aiinfra.serving import formats, oip
from jupyter_aiinfra.serving.model import Served
from jupyter_aiinfra.serving.schema import Array, Field, listed

__all__ = ["COMPONENTS", "described", "refusals", "security"]

_FAULTS = {
    400: "not what the model takes; `field` names the value",
    401: "no key, or an unknown one",
    403: "the key is not for this",
    408: "the body did not arrive in time",
    413: "too large",
    415: "a content type or encoding that is not accepted",
    429: "too much at once; `Retry-After` says when to come again",
    500: "the model failed",
    502: "by a router: the replica went before it had answered",
    503: "not ready; by a router: no replica is there to ask",
    504: "no answer in time",
}
_ASKING = tuple(_FAULTS)
_LOOKING = (401, 403, 429, 502, 503, 504)
_OPEN = (502, 503, 504)

_FAULT = {
    "type": "object",
    "properties": {
        "error": {"type": "string"},
        "field": {"type": ["string", "null"]},
        "error_code": {"type": "string"},
        "message": {"type": "string"},
    },
    "required": ["error", "field", "error_code", "message"],
}
_HEADERS = {
    401: {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}},
    429: {"Retry-After": {"required": True, "schema": {"type": "integer", "minimum": 1}}},
}
_SHAPE: dict[str, Any] = {"type": "array", "items": {"type": "integer", "minimum": -1}}
_TENSOR = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "datatype": {"type": "string"},
        "shape": _SHAPE,
    },
    "required": ["name", "datatype", "shape"],
}
_TENSORS = {"type": "array", "items": {"$ref": "#/components/schemas/Tensor"}}
_OBJECT = {"type": "object"}

COMPONENTS: Mapping[str, Any] = {
    "schemas": {"Fault": _FAULT, "Tensor": _TENSOR},
    "securitySchemes": {
        "bearer": {"type": "http", "scheme": "bearer"},
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    },
}
"""What the paths refer to."""


def security(*, keyed: bool) -> list[dict[str, list[str]]]:
    """Return what a caller has to bring; a router in front may ask for a key where we do not."""
    ways: list[dict[str, list[str]]] = [{"bearer": []}, {"key": []}]
    return ways if keyed else [{}, *ways]


def refusals(*codes: int) -> dict[str, Any]:
    """Return the answers of these statuses that tell a fault."""
    content = _json({"$ref": "#/components/schemas/Fault"})
    return {
        str(code): {"description": _FAULTS[code], "content": content}
        | ({"headers": _HEADERS[code]} if code in _HEADERS else {})
        for code in codes
    }


def described(served: Served, *, keyed: bool) -> dict[str, Any]:
    """Return the paths by which `served` is asked, and what says whether it can be."""
    model = f"/v2/models/{quote(served.name, safe='')}"
    one = f"{model}/versions/{quote(served.version, safe='')}"
    ready = _looked_at("Whether the model answers its example", {"type": "object"})
    paths = {
        "/predict": _predict(served),
        "/invocations": _invocations(served),
        "/ping": {"get": _answering("As MLflow: whether the model answers its example", {})},
        "/version": {"get": _answering("As MLflow: the version of the model", _text("plain"))},
        "/v2": _looked_at("What server this is", _SERVER, keyed=keyed),
        "/v2/health/live": _looked_at("Whether the process answers", _OBJECT),
        "/v2/health/ready": ready,
    }
    for path in (model, one):
        paths[path] = _looked_at("What the model takes and gives", _METADATA, keyed=keyed)
        paths[f"{path}/ready"] = _looked_at(
            "Whether the model answers its example", _OBJECT, keyed=keyed
        )
        paths[f"{path}/infer"] = _infer(served)
    for operations in paths.values():
        if "post" in operations:
            operations["post"]["security"] = security(keyed=keyed)
    return paths


_SERVER = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "version": {"type": "string"},
        "extensions": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["name", "version", "extensions"],
}
_METADATA = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "versions": {"type": "array", "items": {"type": "string"}},
        "platform": {"type": "string"},
        "inputs": _TENSORS,
        "outputs": _TENSORS,
    },
    "required": ["name", "versions", "platform", "inputs", "outputs"],
}


def _json(schema: Mapping[str, Any], example: Any = None) -> dict[str, Any]:
    told: dict[str, Any] = {"schema": schema}
    if example is not None:
        told["example"] = example
    return {"application/json": told}


def _text(kind: str) -> dict[str, Any]:
    return {f"text/{kind}": {"schema": {"type": "string"}}}


def _answering(summary: str, content: dict[str, Any]) -> dict[str, Any]:
    good = {"description": "it does"} | ({"content": content} if content else {})
    return {"summary": summary, "responses": {"200": good, "503": {"description": "not ready"}}}


def _looked_at(
    summary: str, answer: Mapping[str, Any], *, keyed: bool | None = None
) -> dict[str, Any]:
    """Return a path that is only looked at; without `keyed` it wants no key from anybody."""
    told: dict[str, Any] = {
        "summary": summary,
        "responses": {
            "200": {"description": "the answer", "content": _json(answer)},
            **refusals(*(_OPEN if keyed is None else _LOOKING)),
        },
    }
    if keyed is not None:
        told["security"] = security(keyed=keyed)
    return {"get": told}


def _operation(summary: str, body: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    return {
        "post": {
            "summary": summary,
            "requestBody": {"required": True, "content": body},
            "responses": {
                "200": {"description": "the answer", "content": answer},
                **refusals(*_ASKING),
            },
        }
    }


# --- what goes in and comes out ----------------------------------------------------------------


def _only(properties: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Return the schema of an object that has all of these, and nothing else."""
    return {
        "type": "object",
        "properties": dict(properties) | more,
        "required": list(properties),
        "additionalProperties": False,
    }


def _given(field: Field, schema: dict[str, Any]) -> dict[str, Any]:
    """Return `schema`, in which JSON may say ``null`` for a number that is not finite."""
    if field.kind != "f":
        return schema
    if schema["type"] == "array":
        return schema | {"items": _given(field, schema["items"])}
    return {"type": ["number", "null"]}


def _outputs(served: Served) -> dict[str, Any]:
    fields = served.signature.outputs
    if not fields:
        return {}
    schemas = {field.name: _given(field, field.json_schema()) for field in fields}
    return schemas[fields[0].name] if len(fields) == 1 else _only(schemas)


def _arrays(served: Served) -> Mapping[str, Array] | None:
    """Return the example of a model with typed fields, if JSON can say it."""
    batch = served.example
    if not isinstance(batch, Mapping):
        return None
    sayable = all(a.dtype.kind != "f" or np.isfinite(a).all() for a in batch.values())
    return batch if sayable else None


def _example(served: Served) -> Any:
    batch = _arrays(served)
    if batch is None:
        return list(served.example) if served.signature.free and served.example else None
    told = {name: listed(array) for name, array in batch.items()}
    return told if len(told) > 1 else next(iter(told.values()))


def _predict(served: Served) -> dict[str, Any]:
    signature = served.signature
    example = _example(served)
    asked = _json(
        _only({"inputs": signature.json_schema()}),
        None if example is None else {"inputs": example},
    )
    answer = _json(_only({"outputs": _outputs(served), "version": {"const": served.version}}))
    binary = {"schema": {"type": "string", "format": "binary"}}
    kinds = [] if signature.free else [formats.SAFETENSORS]
    if len(signature.inputs) == 1 and signature.inputs[0].kind != "O":
        kinds.append(formats.NPY)
    binaries = dict.fromkeys(kinds, binary)
    parts = _text("event-stream") if served.stream else {}
    return _operation("Ask the model", asked | binaries, answer | binaries | parts)


def _invocations(served: Served) -> dict[str, Any]:
    signature = served.signature
    ways: list[dict[str, Any]] = [_only({"inputs": signature.json_schema()})]
    if signature.free:
        ways.append(_only({"instances": signature.json_schema()}))
    else:
        ways += _tables(signature.inputs)
    for way in ways:
        way["properties"]["params"] = {"type": ["object", "null"]}
    example = _example(served)
    body = _json({"oneOf": ways}, None if example is None else {"inputs": example})
    if not signature.free and not any(field.shape for field in signature.inputs):
        body |= _text("csv")
    answer = _json(_only({"predictions": _predictions(served.signature.outputs)}))
    return _operation("Ask it as MLflow does", body, answer)


def _tables(fields: Sequence[Field]) -> list[dict[str, Any]]:
    one = {field.name: field.json_schema(rows=False) for field in fields}
    records = {"type": "array", "items": _only(one), "minItems": 1}
    row = {
        "type": "array",
        "prefixItems": list(one.values()),
        "minItems": len(one),
        "maxItems": len(one),
    }
    split = {
        "type": "object",
        "properties": {
            "columns": {"const": list(one)},
            "data": {"type": "array", "items": row, "minItems": 1},
            "index": {},
        },
        "required": ["columns", "data"],
    }
    return [_only({"dataframe_split": split}), _only({"dataframe_records": records})]


def _predictions(fields: Sequence[Field]) -> dict[str, Any]:
    if not fields:
        return {}
    one = {field.name: _given(field, field.json_schema(rows=False)) for field in fields}
    return {"type": "array", "items": _only(one) if len(one) > 1 else one[fields[0].name]}


# --- the Open Inference Protocol ----------------------------------------------------------------


def _infer(served: Served) -> dict[str, Any]:
    told = oip.metadata(served.name, served.version, served.signature)
    fields = served.signature.inputs or (oip.FREE_INPUT,)
    tensors = [
        _tensor(field, each["datatype"]) for field, each in zip(fields, told["inputs"], strict=True)
    ]
    names = [each["name"] for each in told["outputs"]]
    wanted = {
        "type": "object",
        "properties": {
            "name": {"enum": names} if names else {"type": "string"},
            "parameters": _OBJECT,
        },
        "required": ["name"],
    }
    asked = {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "parameters": _OBJECT,
            "inputs": {
                "type": "array",
                "items": tensors[0] if len(tensors) == 1 else {"anyOf": tensors},
                "minItems": len(tensors),
                "maxItems": len(tensors),
            },
            "outputs": {"type": "array", "items": wanted},
        },
        "required": ["inputs"],
    }
    answer = {
        "type": "object",
        "properties": {
            "model_name": {"const": served.name},
            "model_version": {"const": served.version},
            "id": {"type": "string"},
            "outputs": _TENSORS,
        },
        "required": ["model_name", "model_version", "outputs"],
    }
    packed = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    summary = "Ask it by the Open Inference Protocol; `Inference-Header-Content-Length` for bytes"
    return _operation(
        summary, _json(asked, _infer_example(served, tensors)), _json(answer) | packed
    )


def _infer_example(served: Served, tensors: Sequence[Mapping[str, Any]]) -> Any:
    batch = _arrays(served)
    if batch is None:
        return None
    told = [
        {
            "name": each["properties"]["name"]["const"],
            "datatype": each["properties"]["datatype"]["const"],
            "shape": list(array.shape),
            "data": listed(array.reshape(-1)),
        }
        for each, array in zip(tensors, batch.values(), strict=True)
    ]
    return {"inputs": told}


def _tensor(field: Field, datatype: str) -> dict[str, Any]:
    """Return the schema of one input: values flat, or nested as its shape says."""
    flat = Field(name=field.name, dtype=field.dtype, nan=field.nan).json_schema()
    axes = [{"type": "integer", "minimum": 1}]
    axes += [
        {"type": "integer", "minimum": 1} if size is None else {"const": size}
        for size in field.shape
    ]
    shape = {
        "type": "array",
        "prefixItems": axes,
        "minItems": len(axes),
        "maxItems": len(axes),
    }
    return {
        "type": "object",
        "properties": {
            "name": {"const": field.name},
            "datatype": {"const": datatype},
            "shape": shape,
            "parameters": _OBJECT,
            "data": {"anyOf": [flat, field.json_schema()]} if field.shape else flat,
        },
        "required": ["name", "datatype", "shape", "data"],
    }
