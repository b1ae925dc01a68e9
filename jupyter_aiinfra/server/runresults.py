"""What runs have made, over REST: their notebooks, stored results, and what differs."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any
from urllib.parse import quote

from jupyter_server.auth.decorator import authorized
from tornado import web
from tornado.iostream import StreamClosedError

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.engine.results import RunDifference, VersionDifference
from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.promote import outputs
from jupyter_aiinfra.promote.celldiff import diff_lines, unified
from jupyter_aiinfra.server import queries
from jupyter_aiinfra.server.handlers import AiInfraHandler
from jupyter_aiinfra.server.routes import Operation, Query, Route
from jupyter_aiinfra.server.runreading import RunReader
from jupyter_aiinfra.server.runwire import (
    CellComparison,
    CellDiff,
    Comparison,
    DiffLine,
    DuplicateRequest,
    FileChange,
    RunNotebook,
    ValueChange,
    VersionDiff,
)
from jupyter_aiinfra.server.schedules import known_schedule, recorded_run
from jupyter_aiinfra.server.schedulewire import ScheduleItem, schedule_item

__all__ = [
    "ROUTES",
    "DuplicateHandler",
    "RunCompareHandler",
    "RunNotebookHandler",
    "RunOutputHandler",
    "VersionDiffHandler",
    "comparison_item",
    "version_diff_item",
]

_BYTES = "application/octet-stream"


class RunNotebookHandler(AiInfraHandler):
    """The notebook of a run."""

    @web.authenticated
    @authorized
    async def get(self, id: str) -> None:  # noqa: A002 - the parameter's name in the path
        """Write it as it is at this moment."""

        async def read(engine: Engine) -> RunNotebook:
            recorded_run(engine, id)
            return await RunReader(id).whole(engine)

        self.answer(await self.engine.run(read))


class RunOutputHandler(AiInfraHandler):
    """A stored result of a run."""

    @web.authenticated
    @authorized
    async def get(self, id: str) -> None:  # noqa: A002
        """Write it as a download: what a notebook shows is never a page of ours."""
        form = queries.text(self, "form") or "ipynb"
        if form not in outputs.FORMS:
            raise UsageError(f"form={form!r}: expected one of {', '.join(outputs.FORMS)}")
        url = await self.engine.call(
            lambda engine: engine.notebooks.stored_at(recorded_run(engine, id), form)
        )
        pieces = outputs.pieces(url)
        try:
            # The first before anything is said: a file that cannot be read is refused as such.
            first = await asyncio.to_thread(next, pieces, b"")
            await self._send(url.rpartition("/")[2], first, pieces)
        except StreamClosedError:
            self.log.debug("who downloaded the result of run %s is gone", id)
        finally:
            await asyncio.to_thread(pieces.close)

    async def _send(self, name: str, first: bytes, pieces: Generator[bytes, None, None]) -> None:
        self.set_header("Content-Type", _BYTES)
        self.set_header(
            "Content-Disposition", f"attachment; filename*=UTF-8''{quote(name, safe='')}"
        )
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cache-Control", "no-cache")
        piece = first
        while piece:
            self.write(piece)
            await self.flush()
            piece = await asyncio.to_thread(next, pieces, b"")
        await self.finish(set_content_type=_BYTES)


class RunCompareHandler(AiInfraHandler):
    """Two runs beside each other."""

    @web.authenticated
    @authorized
    async def get(self, id: str, other: str) -> None:  # noqa: A002
        """Write what the run shows that the other did not, and the other way round."""

        async def compare(engine: Engine) -> Comparison:
            before, after = recorded_run(engine, other), recorded_run(engine, id)
            return comparison_item(await engine.notebooks.compare(before, after))

        self.answer(await self.engine.run(compare))


class VersionDiffHandler(AiInfraHandler):
    """Two versions of a schedule beside each other."""

    @web.authenticated
    @authorized
    async def get(self, id: str) -> None:  # noqa: A002
        """Write what differs: without numbers, between the newest and the one before it."""
        before = queries.integer(self, "from", default=0, least=0)
        after = queries.integer(self, "to", default=0, least=0)

        async def diff(engine: Engine) -> VersionDiff:
            known_schedule(engine, id)
            newest = engine.schedules.versions(id)[0].number
            last = after or newest
            first = before or max(last - 1, 1)
            return version_diff_item(await engine.notebooks.diff(id, first, last))

        self.answer(await self.engine.run(diff))


class DuplicateHandler(AiInfraHandler):
    """Schedules like others."""

    @web.authenticated
    @authorized
    async def post(self, id: str) -> None:  # noqa: A002
        """Make another of what this one runs now."""
        name = self.body(DuplicateRequest).name

        def duplicate(engine: Engine) -> ScheduleItem:
            known_schedule(engine, id)
            return schedule_item(engine.schedules.duplicate(id, name, by=self.who))

        self.answer(await self.engine.call(duplicate), status=201)


def comparison_item(found: RunDifference) -> Comparison:
    """Return the difference of two runs as it crosses."""
    return Comparison(
        same=found.same,
        cells=tuple(
            CellComparison(
                index=cell.index,
                kind=cell.kind,
                source=unified(*(text.splitlines() for text in cell.sources)),
                outputs=unified(*cell.outputs),
            )
            for cell in found.cells
        ),
        parameters=_values(found.parameters),
    )


def version_diff_item(found: VersionDifference) -> VersionDiff:
    """Return the difference of two versions as it crosses."""
    return VersionDiff(
        before=found.before,
        after=found.after,
        cells=tuple(
            CellDiff(
                index=cell.index,
                kind=cell.kind,
                before=cell.sources[0],
                after=cell.sources[1],
                lines=tuple(DiffLine(op=op, text=text) for op, text in diff_lines(*cell.sources)),
            )
            for cell in found.cells
            if cell.kind != "same"
        ),
        fields=_values(found.fields),
        files=tuple(FileChange(path=each.path, kind=each.kind) for each in found.files),
    )


def _values(changes: Any) -> tuple[ValueChange, ...]:
    return tuple(
        ValueChange(name=each.name, before=each.before, after=each.after) for each in changes
    )


def _get(path: str, handler: Any, summary: str, answer: Any, *query: Query) -> Route:
    operation = Operation(summary=summary, answer=answer, query=query)
    return Route(path=path, handler=handler, operations={"get": operation})


ROUTES = (
    _get(
        "runs/{id}/notebook",
        RunNotebookHandler,
        "The notebook of a run: as it is while it runs, as it was stored after",
        RunNotebook,
    ),
    _get(
        "runs/{id}/output",
        RunOutputHandler,
        "The stored result of a run as a file",
        bytes,
        Query(name="form", type="string", description="ipynb (usual), html, py or pdf"),
    ),
    _get(
        "runs/{id}/compare/{other}",
        RunCompareHandler,
        "What a run shows that another, which counts as the one before, did not",
        Comparison,
    ),
    _get(
        "schedules/{id}/diff",
        VersionDiffHandler,
        "What differs between two versions of a schedule",
        VersionDiff,
        Query(name="from", type="integer", description="the number of the first (of two: usual)"),
        Query(name="to", type="integer", description="the number of the second (the newest)"),
    ),
    Route(
        path="schedules/{id}/duplicate",
        handler=DuplicateHandler,
        operations={
            "post": Operation(
                summary="Make another schedule of what one runs now",
                answer=ScheduleItem,
                body=DuplicateRequest,
                status=201,
            )
        },
    ),
)
