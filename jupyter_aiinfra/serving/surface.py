"""What is asked seldom, by FastAPI: OpenAPI and its page, health, metrics."""

from __future__ import annotations

from typing import Any, Protocol

from fastapi import FastAPI, Response

from jupyter_aiinfra.serving import formats, oip
from jupyter_aiinfra.serving.metrics import Metrics
from jupyter_aiinfra.serving.model import Served

__all__ = ["Endpoint", "documented"]


class Endpoint(Protocol):
    """What the surface shows."""

    served: Served
    metrics: Metrics

    async def ready(self) -> bool:
        """Whether the model answers."""
        ...


_FAULTS = {
    "400": "not what the model takes; `field` names the value",
    "401": "no key, or an unknown one",
    "403": "the key is not for this",
    "408": "the body did not arrive in time",
    "413": "too large",
    "415": "a content type or encoding that is not accepted",
    "429": "too much at once; `Retry-After` says when to come again",
    "500": "the model failed",
    "504": "no answer in time",
}
_FAULT = {
    "type": "object",
    "properties": {
        "error": {"type": "string"},
        "field": {"type": ["string", "null"]},
        "error_code": {"type": "string"},
        "message": {"type": "string"},
    },
    "required": ["error", "field"],
}


def documented(endpoint: Endpoint) -> FastAPI:
    """Return the documented application of `endpoint`."""
    served = endpoint.served
    app = FastAPI(
        title=served.name,
        version=served.version,
        redoc_url=None,
        description="`POST /predict` asks the model. The same is spoken in MLflow's words at "
        "`/invocations`, and in those of the Open Inference Protocol under `/v2`.",
    )
    down: dict[int | str, dict[str, Any]] = {503: {"description": "not ready"}}

    @app.get("/healthz", summary="Whether the process answers")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz", summary="Whether the model answers its example", responses=down)
    async def readyz(response: Response) -> dict[str, bool]:
        good = await endpoint.ready()
        response.status_code = 200 if good else 503
        return {"ready": good}

    @app.get("/metrics", summary="Prometheus", response_class=Response)
    async def metrics() -> Response:
        text = endpoint.metrics.text(model=served.name, version=served.version)
        return Response(text, media_type="text/plain; version=0.0.4")

    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = plain()
            schema["paths"] |= _hot_paths(served)
            schema.setdefault("components", {})["securitySchemes"] = {
                "key": {"type": "http", "scheme": "bearer"}
            }
            schema["paths"]["/metrics"]["get"]["responses"]["200"]["content"] = {
                "text/plain": {"schema": {"type": "string"}}
            }
            for path in ("/metrics",):
                schema["paths"][path]["get"]["responses"] |= _faults("401", "403", "429")
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]
    return app


def _faults(*codes: str) -> dict[str, Any]:
    return {
        code: {
            "description": _FAULTS[code],
            "content": {"application/json": {"schema": _FAULT}},
        }
        for code in codes
    }


def _operation(about: str, body: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    return {
        "post": {
            "summary": about,
            "security": [{}, {"key": []}],
            "requestBody": {"required": True, "content": body},
            "responses": {
                "200": {"description": "the answer", "content": answer},
                **_faults(*_FAULTS),
            },
        }
    }


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _hot_paths(served: Served) -> dict[str, Any]:
    signature = served.signature
    inputs = signature.json_schema()
    asked = {
        "type": "object",
        "properties": {"inputs": inputs},
        "required": ["inputs"],
        "additionalProperties": False,
    }
    answer = {
        "type": "object",
        "properties": {"outputs": {}, "version": {"type": "string"}},
        "required": ["outputs", "version"],
    }
    binary = {"schema": {"type": "string", "format": "binary"}}
    kinds = [] if signature.free else [formats.SAFETENSORS]
    if len(signature.inputs) == 1 and signature.inputs[0].kind != "O":
        kinds.append(formats.NPY)
    parts = {"text/event-stream": {"schema": {"type": "string"}}} if served.stream else {}
    binaries = dict.fromkeys(kinds, binary)
    predict = _operation("Ask the model", _json(asked) | binaries, _json(answer) | binaries | parts)
    told = {"type": "object", "properties": {"predictions": {}}, "required": ["predictions"]}
    return {
        "/predict": predict,
        "/invocations": _operation("Ask it as MLflow does", _json(asked), _json(told)),
        f"/v2/models/{served.name}": {
            "get": {
                "summary": "What it takes and gives",
                "security": [{}, {"key": []}],
                "responses": {
                    "200": {
                        "description": "as the Open Inference Protocol has it",
                        "content": {
                            "application/json": {
                                "schema": {"type": "object"},
                                "example": oip.metadata(served.name, served.version, signature),
                            }
                        },
                    },
                    **_faults("401", "403", "429"),
                },
            }
        },
    }
