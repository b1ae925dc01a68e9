"""GPUs as they go on: the readings of several scopes together, and a surface that stays live."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from jupyter_aiinfra.commands.context import FollowsGpus
from jupyter_aiinfra.commands.session import Session
from jupyter_aiinfra.errors import AiInfraError
from jupyter_aiinfra.model import to_wire
from jupyter_aiinfra.telemetry import Frame, NodeState, Scope
from jupyter_aiinfra.widgets.gpuwire import MOST_ROWS, GpusSource, Reading, bounded

if TYPE_CHECKING:
    from jupyter_aiinfra.engine import Engine

__all__ = ["Scopes", "follow", "readings_of"]

Scopes = Sequence[tuple[str, Scope]]
"""What is meant, each by the name of its pool."""

_AGAIN_SECONDS: Final = 5.0
_TOGETHER_SECONDS: Final = 0.1
_FIRST_SECONDS: Final = 2.5
_PAST_SECONDS: Final = 90.0
_PAST_SERIES: Final = 3
"""Utilization, memory and power: what has a line that is drawn."""


def follow(
    session: Session,
    surface: FollowsGpus,
    scopes: Scopes,
    *,
    columns: Sequence[str],
    rows: Callable[[Sequence[Reading]], Sequence[Sequence[str]]],
    note: Callable[[Sequence[Reading]], str],
) -> bool:
    """Have `surface` show these GPUs from now on; return whether it does.

    It does not where nobody is there, and where nothing can be read: then a table says why.
    """
    if not surface.follows():
        return False
    engine = session.engine
    first = session.run(_first(engine, scopes))
    if not any(isinstance(found, Frame) for _, found in first):
        return False
    count = sum(len(found.gpus) for _, found in first if isinstance(found, Frame))
    shown = bounded(scopes, count)
    source = GpusSource(
        title=_title(scopes),
        job=scopes[0][1].job,
        stream=lambda: readings_of(engine, shown),
        submit=session.submit,
        past=lambda: session.run(_past(engine, shown)),
    )
    table = [tuple(row) for row in rows(first)]
    if len(table) > MOST_ROWS:
        more = f"and {len(table) - MOST_ROWS:,} more"
        table = [*table[:MOST_ROWS], (more, *[""] * (len(columns) - 1))]
    surface.follow(
        source,
        first if shown == list(scopes) else (),
        columns=columns,
        rows=table,
        below=note(first),
    )
    return True


def _title(scopes: Scopes) -> str:
    pool, scope = scopes[0]
    if scope.job is not None:
        return f"job {scope.job}"
    return f"pool {pool}" if len(scopes) == 1 else f"{len(scopes)} pools"


async def _first(engine: Engine, scopes: Scopes) -> list[Reading]:
    """Return the first readings with all nodes in them; soon, whatever is missing."""
    newest: list[Reading] = []

    async def look() -> None:
        async with contextlib.aclosing(readings_of(engine, scopes)) as stream:
            async for found in stream:
                newest[:] = found
                if len(found) == len(scopes) and all(_is_settled(each) for _, each in found):
                    return

    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(look(), _FIRST_SECONDS)
    return newest


def _is_settled(found: Frame | str) -> bool:
    return isinstance(found, str) or all(
        node.state is not NodeState.WAITING for node in found.nodes
    )


async def _past(engine: Engine, scopes: Scopes) -> list[Mapping[str, Any]]:
    """Return what was read lately; an overview has no past."""
    past: list[Mapping[str, Any]] = []
    since = time.time() - _PAST_SECONDS
    for _, scope in scopes:
        if scope.detail == "nodes":
            continue
        with contextlib.suppress(AiInfraError):
            for node, each in engine.telemetry.history(scope, since=since).items():
                rows = {
                    name: [list(series) for series in row[:_PAST_SERIES]]
                    for name, row in each.rows.items()
                    if name
                }
                past.append({"node": node, "at": to_wire(each.at), "rows": rows})
    return past


async def readings_of(engine: Engine, scopes: Scopes) -> AsyncGenerator[list[Reading], None]:
    """Yield the newest of all scopes each second, and what became of those that cannot be read."""
    newest: dict[str, Frame | str] = {}
    news = asyncio.Event()

    async def read(name: str, scope: Scope) -> None:
        while True:
            try:
                async with contextlib.aclosing(engine.telemetry.subscribe(scope)) as frames:
                    async for frame in frames:
                        newest[name] = frame
                        news.set()
            except AiInfraError as error:
                newest[name] = error.message
                news.set()
            await asyncio.sleep(_AGAIN_SECONDS)

    tasks = [asyncio.create_task(read(name, scope)) for name, scope in scopes]
    try:
        while True:
            await news.wait()
            # Those of the others come within the same moment.
            await asyncio.sleep(_TOGETHER_SECONDS)
            news.clear()
            yield [(name, newest[name]) for name, _ in scopes if name in newest]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
