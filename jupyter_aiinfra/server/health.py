"""``GET /aiinfra/health``: does this installation work? ``tests/wire/health.json`` is a sample."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from importlib import metadata

from jupyter_server.auth.decorator import authorized
from tornado import web

from jupyter_aiinfra.errors import AiInfraError, StoreError
from jupyter_aiinfra.server.handlers import AiInfraHandler
from jupyter_aiinfra.server.routes import Operation, Route
from jupyter_aiinfra.server.shared import SharedEngine
from jupyter_aiinfra.settings import load_settings
from jupyter_aiinfra.store import Store, shown_url

__all__ = ["ROUTES", "Health", "HealthHandler", "JobCounts", "StoreHealth", "check_health"]

_PATIENCE_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class StoreHealth:
    """The database: where it is, and what is wrong with it (empty when nothing is)."""

    ok: bool
    url: str
    message: str = ""
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class JobCounts:
    """Jobs that are not over yet; ``None`` when the database could not be asked."""

    active: int | None


@dataclass(frozen=True, kw_only=True)
class Health:
    """The whole answer. ``status`` is ``"ok"``, or ``"degraded"`` when something is wrong."""

    version: str
    status: str
    store: StoreHealth
    pools: int | None
    jobs: JobCounts


async def check_health(
    engine: SharedEngine, *, url: str, patience_seconds: float = _PATIENCE_SECONDS
) -> Health:
    """Ask the database at `url` for its counts; a failure becomes part of the answer.

    Takes at most `patience_seconds`: a check that hangs helps nobody.
    """
    try:
        pools, active = await asyncio.wait_for(
            engine.call(lambda opened: _counts(opened.store)), patience_seconds
        )
    except asyncio.TimeoutError:
        silent = StoreError(
            f"the database did not answer within {patience_seconds:g} s",
            hint="check that it runs and can be reached from this server",
        )
        return _degraded(silent, url=url)
    except AiInfraError as error:
        return _degraded(error, url=url)
    return Health(
        version=metadata.version("jupyter_aiinfra"),
        status="ok",
        store=StoreHealth(ok=True, url=shown_url(url)),
        pools=pools,
        jobs=JobCounts(active=active),
    )


def _counts(store: Store) -> tuple[int, int]:
    return len(store.list_pools()), len(store.list_jobs(active=True))


def _degraded(error: AiInfraError, *, url: str) -> Health:
    return Health(
        version=metadata.version("jupyter_aiinfra"),
        status="degraded",
        store=StoreHealth(ok=False, url=shown_url(url), message=error.message, hint=error.hint),
        pools=None,
        jobs=JobCounts(active=None),
    )


class HealthHandler(AiInfraHandler):
    """Answers with 200 also when the database does not work: that is what was asked."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Write the health of this installation."""
        health = await check_health(self.engine, url=load_settings().database)
        self.answer(health)


ROUTES = (
    Route(
        path="health",
        handler=HealthHandler,
        operations={"get": Operation(summary="Does this installation work?", answer=Health)},
    ),
)
