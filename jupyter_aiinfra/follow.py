"""Following one job: its record and its log bytes, from offsets, until it has ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jupyter_aiinfra.engine import Engine
from jupyter_aiinfra.errors import Unreachable
from jupyter_aiinfra.model import LAUNCHER, Job, LogChunk
from jupyter_aiinfra.pools.base import Pool

__all__ = ["Follower", "News"]

# How often the job is observed: at first, and in the end; in between a small part of the time it
# has run for, so that the end of a long job is seen a little later and its ranks keep their cores.
_OBSERVE_SECONDS = 0.25
_OBSERVE_SHARE = 0.02
_OBSERVE_LONGEST_SECONDS = 1.0
# What one poll reads of a rank at most: a flood of output must not keep the reader from showing it.
_POLL_BYTES = 16 << 20


@dataclass(frozen=True, kw_only=True)
class News:
    """What one poll brought. ``complete`` is true once the job is over and its log is read."""

    job: Job
    chunks: Sequence[LogChunk]
    complete: bool
    unreachable: str | None = None


@dataclass
class _Read:
    chunks: list[LogChunk] = field(default_factory=list)
    behind: bool = False
    unreachable: str | None = None


class Follower:
    """Reads what is new of a job at each :meth:`poll`; it keeps the byte offsets.

    Parameters
    ----------
    offsets
        Where to begin in each rank's log; 0 where nothing is given.
    """

    def __init__(
        self, engine: Engine, job: Job, *, offsets: Mapping[int, int] | None = None
    ) -> None:
        self._engine = engine
        self._job = job
        self._offsets = dict(offsets or {})
        self._begun_at = time.monotonic()
        self._observed_at = float("-inf")
        self._pool: Pool | None = None

    async def poll(self) -> News:
        """Observe the job if that is due, then read each rank's new bytes.

        The order matters: what is read after the job was seen to be over is everything.
        """
        unreachable = None
        if not self._job.state.final and self._observation_due():
            try:
                self._job = await self._engine.refresh(self._job.id)
            except Unreachable as error:
                unreachable = error.message
            self._pool = None
        spec = self._job.spec
        ranks = (*range(spec.world), *(LAUNCHER - slot for slot in range(spec.nodes)))
        # All at once: where nodes are far away, one after the other takes as long as the way to
        # them, times the ranks.
        read = await asyncio.gather(*(self._read(rank) for rank in ranks))
        unreachable = next((each.unreachable for each in read if each.unreachable), unreachable)
        behind = any(each.behind for each in read)
        return News(
            job=self._job,
            chunks=[chunk for each in read for chunk in each.chunks],
            complete=self._job.state.final and not behind and unreachable is None,
            unreachable=unreachable,
        )

    def _observation_due(self) -> bool:
        """Whether to observe the job now; then the time is taken."""
        now = time.monotonic()
        pause = _OBSERVE_SHARE * (now - self._begun_at)
        pause = min(max(pause, _OBSERVE_SECONDS), _OBSERVE_LONGEST_SECONDS)
        if now - self._observed_at < pause:
            return False
        self._observed_at = now
        return True

    async def _read(self, rank: int) -> _Read:
        """Read `rank`'s new chunks; what was had before it fell silent counts."""
        read = _Read()
        try:
            read.behind = await self._read_into(read.chunks, rank)
        except Unreachable as error:  # the other ranks are read all the same
            read.unreachable = error.message
        return read

    async def _read_into(self, chunks: list[LogChunk], rank: int) -> bool:
        """Append `rank`'s new chunks; return whether there may be more."""
        if self._job.handle is None:
            return False
        if self._pool is None:
            # Asked for once an observation, not once a rank: it is looked up in the database, and
            # what the watching costs is taken from the ranks where they run on this machine.
            self._pool = self._engine.pool(self._job.pool)
        begun = self._offsets.get(rank, 0)
        offset = begun
        async for chunk in self._pool.logs(self._job.handle, rank=rank, offset=offset):
            chunks.append(chunk)
            offset = chunk.offset + len(chunk.data)
            self._offsets[rank] = offset
            if offset - begun >= _POLL_BYTES:
                return True
        return False
