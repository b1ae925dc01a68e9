"""``/aiinfra/endpoint/{id}/samples``: requests to an endpoint with their answers, as kept."""

from __future__ import annotations

from dataclasses import dataclass

from jupyter_server.auth.decorator import authorized
from tornado import web

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.engine.endpointsamples import EndpointSample, SamplePage, SamplesAsked
from jupyter_aiinfra.server import queries
from jupyter_aiinfra.server.endpoints import known
from jupyter_aiinfra.server.handlers import AiInfraHandler
from jupyter_aiinfra.server.routes import Operation, Query, Route

__all__ = ["ROUTES", "EndpointSamplesItem", "SamplesHandler"]

_LIMIT = 50
_MOST = 1000


@dataclass(frozen=True, kw_only=True)
class EndpointSamplesItem:
    """Samples, the newest first, of those ``found``; ``next`` is ``before`` of the next page."""

    samples: tuple[EndpointSample, ...]
    found: int
    next: str | None


class SamplesHandler(AiInfraHandler):
    """What is kept of requests."""

    @web.authenticated
    @authorized
    async def get(self, id: str) -> None:  # noqa: A002 - the parameter's name in the path
        """Write a page of it."""
        version = queries.integer(self, "version", default=0, least=1, most=10**9)
        since = queries.number(self, "since", default=0.0)
        asked = SamplesAsked(
            version=version or None,
            since=since,
            before=queries.text(self, "before"),
            errors=queries.flag(self, "errors"),
            limit=queries.integer(self, "limit", default=_LIMIT, least=1, most=_MOST),
        )

        async def read(engine: Engine) -> EndpointSamplesItem:
            known(engine, id)
            page: SamplePage = await engine.endpoints.samples(id, asked)
            return EndpointSamplesItem(samples=page.samples, found=page.found, next=page.next)

        self.answer(await self.engine.run(read))


_QUERY = (
    Query(name="version", type="integer", description="of this version only"),
    Query(name="since", type="number", description="not before, in seconds since 1970"),
    Query(name="errors", type="boolean", description="only those with a status from 400 on"),
    Query(name="before", type="string", description="`next` of the page before"),
    Query(name="limit", type="integer", description=f"how many ({_LIMIT}), at most {_MOST:,}"),
)

ROUTES = (
    Route(
        path="endpoint/{id}/samples",
        handler=SamplesHandler,
        operations={
            "get": Operation(
                summary="Requests with their answers, as far as they are kept, newest first",
                answer=EndpointSamplesItem,
                query=_QUERY,
            )
        },
    ),
)
