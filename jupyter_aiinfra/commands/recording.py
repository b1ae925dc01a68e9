"""``gpus POOL --record FILE``: what the probes of a pool say, kept as a trace."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jupyter_aiinfra.commands.asking import Progress
from jupyter_aiinfra.commands.context import Context
from jupyter_aiinfra.commands.show import bytes_text
from jupyter_aiinfra.errors import Unreachable, UsageError
from jupyter_aiinfra.model import Node, to_wire
from jupyter_aiinfra.pools.base import Probing
from jupyter_aiinfra.pools.traces import TraceWriter
from jupyter_aiinfra.telemetry import Scope, sample_line

if TYPE_CHECKING:
    from jupyter_aiinfra.engine import Engine

__all__ = ["Recorded", "record_trace", "seconds_of", "write_trace"]

_LENGTH: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|)")
_UNITS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What is in a trace that was made: lines of readings, of which nodes."""

    path: str
    lines: int
    nodes: tuple[str, ...]
    anonymous: bool


def seconds_of(text: str) -> float:
    """Return ``90``, ``90s``, ``5m`` or ``1h`` in seconds.

    Raises
    ------
    UsageError
        It is none of these.
    """
    found = _LENGTH.fullmatch(text.strip())
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not seconds:
        raise UsageError(f"--for {text}: expected a time such as 60s, 5m or 1h", option="--for")
    return seconds


def write_trace(
    context: Context, pool: str, path: Path, *, seconds: float | None, anonymous: bool
) -> None:
    """Record a pool until the time is over, or until Ctrl+C; show what has come of it."""
    news = Progress(context.surface)
    writer = context.session.run(_begin(context.session.engine, pool, path, anonymous=anonymous))
    try:
        recording = record_trace(context.session.engine, pool, writer, seconds, news.hear)
        with contextlib.suppress(KeyboardInterrupt):  # how it ends
            context.session.run(recording, meanwhile=news.tell)
    finally:
        news.end()
        writer.close()
    names = (
        "" if anonymous else "; names of users and commands are in it, --anonymous replaces them"
    )
    size = bytes_text(path.stat().st_size)
    context.surface.text(f"recorded {writer.lines} samples to {path} ({size}){names}")
    context.surface.value(
        to_wire(
            Recorded(
                path=str(path),
                lines=writer.lines,
                nodes=tuple(sorted(writer.nodes)),
                anonymous=anonymous,
            )
        )
    )


async def _begin(engine: Engine, name: str, path: Path, *, anonymous: bool) -> TraceWriter:
    """Ask the pool what it has, and make the file."""
    view = await engine.show_pool(name)
    if view.nodes is None:
        raise Unreachable(f"pool {name} does not answer: {view.problem}")
    pool = engine.pool(name)
    known = {node.name: node for node in view.nodes}
    names = pool.probe_nodes() if isinstance(pool, Probing) else ()
    nodes = [known.get(each) or Node(name=each, address=each) for each in names]
    return await asyncio.to_thread(
        TraceWriter, path, pool=name, nodes=nodes, recorded_at=time.time(), anonymous=anonymous
    )


async def record_trace(
    engine: Engine,
    pool: str,
    writer: TraceWriter,
    seconds: float | None,
    tell: Callable[[str], None],
) -> None:
    """Write what the probes of a pool say, for so many seconds or until cancelled."""
    begun = time.monotonic()

    async def follow() -> None:
        async with contextlib.aclosing(engine.telemetry.samples(Scope(pool=pool))) as found:
            async for samples in found:
                for node, at, sample in samples:
                    writer.add(node, at, sample_line(sample))
                passed = time.monotonic() - begun
                tell(f"{writer.lines} samples in {passed:.0f} s; Ctrl+C ends this")

    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(follow(), seconds)
