"""What is asked seldom, by FastAPI: OpenAPI and its page, health, metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from fastapi import FastAPI, Response

from jupyter_aiinfra.serving.described import COMPONENTS, described, refusals, security
from jupyter_aiinfra.serving.faults import Unauthorized
from jupyter_aiinfra.serving.front import MOST
from jupyter_aiinfra.serving.metrics import Metrics
from jupyter_aiinfra.serving.model import Served

__all__ = ["Endpoint", "documented"]


class Endpoint(Protocol):
    """What the surface shows."""

    served: Served
    metrics: Metrics
    # How many processes answer with this one, itself included.
    workers: int

    def admit(self, headers: Mapping[bytes, bytes], scope: str) -> None:
        """Raise what is wrong with the key in `headers`, where keys are asked for."""
        ...

    async def ready(self) -> bool:
        """Whether the model answers."""
        ...


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
        # A router may have as many under way on one connection, and knows how many of those it
        # takes for each worker to have its part.
        response.headers["x-endpoint-pipeline"] = f"{MOST};workers={endpoint.workers}"
        return {"ready": good}

    @app.get("/metrics", summary="Prometheus", response_class=Response)
    async def metrics() -> Response:
        text = endpoint.metrics.text(model=served.name, version=served.version)
        return Response(text, media_type="text/plain; version=0.0.4")

    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = plain()
            for operations in schema["paths"].values():
                _also_behind_a_router(operations["get"]["responses"])
            told = schema["paths"]["/metrics"]["get"]
            keyed = _refuses_strangers(endpoint)
            told["security"] = security(keyed=keyed)
            told["responses"]["200"]["content"] = {"text/plain": {"schema": {"type": "string"}}}
            told["responses"] |= refusals(401, 403, 429)
            schema["paths"] |= described(served, keyed=keyed)
            schema["components"] = COMPONENTS
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]
    return app


def _also_behind_a_router(responses: dict[str, Any]) -> None:
    for code, told in refusals(502, 503, 504).items():
        responses.setdefault(code, told)


def _refuses_strangers(endpoint: Endpoint) -> bool:
    try:
        endpoint.admit({}, "predict")
    except Unauthorized:
        return True
    return False
