"""``/aiinfra/gpus`` and ``/aiinfra/metrics``: what GPUs do now, did lately, and did last week."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, Literal, cast, get_args

from jupyter_server.auth.decorator import authorized
from tornado import web

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.engine.endpointviews import EndpointView
from jupyter_aiinfra.errors import AiInfraError, UsageError
from jupyter_aiinfra.model import JobState
from jupyter_aiinfra.server.endpointmetrics import endpoint_exposition
from jupyter_aiinfra.server.handlers import AiInfraHandler
from jupyter_aiinfra.server.queries import integer, number, text
from jupyter_aiinfra.server.routes import Operation, Query, Route
from jupyter_aiinfra.server.wire import GpuPast, GpusFrame, Range
from jupyter_aiinfra.telemetry import Frame, Scope, full_frame
from jupyter_aiinfra.telemetry.prometheus import CONTENT_TYPE, exposition
from jupyter_aiinfra.telemetry.ranges import By, Of

__all__ = ["ROUTES", "HistoryHandler", "MetricsHandler", "NowHandler", "RangeHandler"]

_SCRAPE_LINGER_SECONDS: Final = 90.0
"""For how long a node is sampled on after a scrape: longer than it usually takes to the next."""
_SCRAPE_SECONDS: Final = 2.5
_HOUR: Final = 3600.0
_POINTS: Final = 300
_MOST_POINTS: Final = 2000


class _GpusHandler(AiInfraHandler):
    @property
    def scope(self) -> Scope:
        """Which GPUs are asked for."""
        detail = text(self, "detail") or "gpus"
        if detail not in {"gpus", "nodes"}:
            raise UsageError(f"detail={detail!r}: expected gpus or nodes")
        job = text(self, "job")
        if job is not None:
            return Scope(job=job, detail=cast("Literal['gpus', 'nodes']", detail))
        return Scope(
            pool=text(self, "pool"),
            node=text(self, "node"),
            detail=cast("Literal['gpus', 'nodes']", detail),
        )


class NowHandler(_GpusHandler):
    """GPUs as they are."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Write what a fresh look at the GPUs says."""
        scope = self.scope
        frame = await self.engine.run(lambda engine: engine.telemetry.latest(scope))
        self.answer(full_frame(frame))


class HistoryHandler(_GpusHandler):
    """The last hour, by the second."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Write what this server has sampled since a time."""
        scope, since = self.scope, number(self, "since", default=time.time() - _HOUR)

        def past(engine: Engine) -> list[GpuPast]:
            found = engine.telemetry.history(scope, since=since)
            return [GpuPast(node=node, at=each.at, rows=each.rows) for node, each in found.items()]

        self.answer(await self.engine.call(past))


class RangeHandler(_GpusHandler):
    """What was recorded."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Write curves between two times."""
        scope = self.scope
        start, end = (
            None if text(self, name) is None else number(self, name, default=0.0)
            for name in ("start", "end")
        )
        points = integer(self, "points", default=_POINTS, least=2, most=_MOST_POINTS)
        series, gpus = text(self, "series"), text(self, "gpus")
        by, of = self._word("by", get_args(By)), self._word("of", get_args(Of))
        found = await self.engine.run(
            lambda engine: engine.telemetry.range(
                scope,
                start=start,
                end=end,
                points=points,
                series=None if series is None else series.split(","),
                gpus=None if gpus is None else gpus.split(","),
                by=cast("By", by),
                of=cast("Of", of),
            )
        )
        self.answer(found)

    def _word(self, name: str, known: Sequence[str]) -> str:
        """Return one of some words; the first where none is given."""
        given = text(self, name) or known[0]
        if given not in known:
            raise UsageError(f"{name}={given!r}: expected {', '.join(known)}")
        return given


class MetricsHandler(AiInfraHandler):
    """All pools, for Prometheus."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Write Prometheus' text format."""
        frames = await self.engine.run(_frames)
        jobs = await self.engine.call(_jobs)
        endpoints = await self.engine.run(_endpoints)
        # Of many GPUs it is a long text, and nobody waits for it in a page.
        body = await asyncio.to_thread(exposition, frames, jobs)
        body += endpoint_exposition(endpoints)
        self.set_header("Content-Type", CONTENT_TYPE)
        self.finish(body, set_content_type=CONTENT_TYPE)


async def _frames(engine: Engine) -> Mapping[str, Frame | None]:
    async def one(name: str) -> Frame | None:
        try:
            return await engine.telemetry.latest(
                Scope(pool=name), seconds=_SCRAPE_SECONDS, linger=_SCRAPE_LINGER_SECONDS
            )
        except AiInfraError:
            return None

    names = [record.name for record in engine.store.list_pools()]
    return dict(zip(names, await asyncio.gather(*map(one, names)), strict=True))


async def _endpoints(engine: Engine) -> Sequence[EndpointView]:
    # Without any there is no router to be asked.
    return await engine.endpoints.views() if engine.store.endpoints() else ()


def _jobs(engine: Engine) -> Mapping[tuple[str, str], int]:
    states = [state.value for state in JobState if not state.final]
    pools = [record.name for record in engine.store.list_pools()]
    found = Counter((job.pool, job.state.value) for job in engine.store.list_jobs(active=True))
    return {**{(pool, state): 0 for pool in pools for state in states}, **found}


_SCOPE = (
    Query(name="pool", type="string", description="the GPUs of this pool"),
    Query(name="node", type="string", description="of this node of the pool alone"),
    Query(name="job", type="string", description="or those of this job, by its id"),
    Query(name="detail", type="string", description="gpus (a row a GPU) or nodes (a row a node)"),
)

ROUTES = (
    Route(
        path="gpus",
        handler=NowHandler,
        operations={
            "get": Operation(
                summary="GPUs as they are; takes a second or two where none was looked at yet",
                answer=GpusFrame,
                query=_SCOPE,
            )
        },
    ),
    Route(
        path="gpus/history",
        handler=HistoryHandler,
        operations={
            "get": Operation(
                summary="What was sampled in the last hour, by the second, while it was watched",
                answer=list[GpuPast],
                query=(
                    *_SCOPE,
                    Query(
                        name="since",
                        type="number",
                        description="only samples after this time, in seconds since the epoch",
                    ),
                ),
            )
        },
    ),
    Route(
        path="gpus/range",
        handler=RangeHandler,
        operations={
            "get": Operation(
                summary="What was recorded between two times, in buckets; null is a gap",
                answer=Range,
                query=(
                    *_SCOPE,
                    Query(
                        name="start",
                        type="number",
                        description="seconds since the epoch; an hour before the end, and of a job "
                        "its beginning",
                    ),
                    Query(
                        name="end",
                        type="number",
                        description="seconds since the epoch; now, and of a job its end",
                    ),
                    Query(
                        name="points",
                        type="integer",
                        description=f"buckets at most, up to {_MOST_POINTS:,} ({_POINTS})",
                    ),
                    Query(
                        name="series",
                        type="string",
                        description="names of series with commas between (utilization, or cpu)",
                    ),
                    Query(
                        name="gpus",
                        type="string",
                        description="only these GPUs: UUIDs with commas between",
                    ),
                    Query(
                        name="by",
                        type="string",
                        description="a curve for each gpu, the mean of each node, pool, user or "
                        "job, or a curve for each GPU of each rank",
                    ),
                    Query(
                        name="of",
                        type="string",
                        description="gpus, or the nodes themselves: cpu, memory, disk, network",
                    ),
                ),
            )
        },
    ),
    Route(
        path="metrics",
        handler=MetricsHandler,
        operations={
            "get": Operation(
                summary="All pools, in Prometheus' text format", answer=bytes, kind="text/plain"
            )
        },
    ),
)
