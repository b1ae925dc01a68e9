"""Live readings, for any number of readers in this process.

Each node is sampled once, while anybody reads, and each scope has one board that makes one frame a
tick, however many look at it. Everything but :meth:`Telemetry.range` is for the engine's loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from typing import Final, NamedTuple

from jupyter_aiinfra.errors import AiInfraError, UsageError
from jupyter_aiinfra.model import Job
from jupyter_aiinfra.pools.base import Pool, Probing
from jupyter_aiinfra.store import Store
from jupyter_aiinfra.telemetry.board import TICK_SECONDS, Board
from jupyter_aiinfra.telemetry.frames import Frame, Scope
from jupyter_aiinfra.telemetry.history import Past
from jupyter_aiinfra.telemetry.owners import owner_labels
from jupyter_aiinfra.telemetry.ranges import By, Of, Placed, Range, read_range
from jupyter_aiinfra.telemetry.rollup import Rollups
from jupyter_aiinfra.telemetry.sample import Sample
from jupyter_aiinfra.telemetry.sampler import Listener, NodeSampler, Rows

__all__ = ["NodeSample", "Telemetry"]

_FRESH_SECONDS: Final = 2.5
_WRITE_SECONDS: Final = 60.0
_SWEEP_SECONDS: Final = 3600.0
_MOST_WAITING: Final = 4096
_HOUR_SECONDS: Final = 3600.0


class NodeSample(NamedTuple):
    """A sample of a node, and when it was taken by our clock."""

    node: str
    at: float
    sample: Sample


class Telemetry:
    """The readings of all pools of one engine.

    Parameters
    ----------
    store
        Where leases and jobs are looked up, and rollups kept.
    pool
        Returns the open pool of a name.
    records
        Whether what is sampled is kept in the store: true in a server, which lives long.
    """

    def __init__(
        self,
        store: Store,
        pool: Callable[[str], Pool],
        *,
        records: bool = False,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.records = records
        self._store = store
        self._pool = pool
        self._clock = clock
        self._wall = wall
        self._rollups = Rollups(store)
        self._samplers: dict[tuple[str, str], tuple[Pool, NodeSampler]] = {}
        self._boards: dict[Scope, Board] = {}
        self._recorded: dict[str, list[NodeSampler]] = {}
        self._writer: asyncio.Task[None] | None = None

    # --- live ---

    async def subscribe(self, scope: Scope) -> AsyncGenerator[Frame, None]:
        """Yield a frame a tick, the newest; the first as soon as there is anything to tell.

        Close the generator to read no more.

        Raises
        ------
        PoolNotFound, JobNotFound, UsageError, Unreachable
            There is no such pool, node or job, or its pool cannot be read.
        """
        board = self._boards.get(scope)
        if board is None:
            samplers, gpus = self._resolved(scope)
            board = self._boards[scope] = self._board(scope, samplers, gpus)
        board.join()
        seq = 0
        try:
            await board.fresh(TICK_SECONDS)
            while True:
                frame = await board.after(seq)
                seq = frame.seq
                yield frame
        finally:
            if board.leave():
                del self._boards[scope]

    async def latest(
        self, scope: Scope, *, seconds: float = _FRESH_SECONDS, linger: float = 0.0
    ) -> Frame:
        """Return what is read now; waits for so many seconds at most for nodes that are slow.

        They are sampled on for `linger` seconds, so that who asks again until then need not wait.

        Raises
        ------
        PoolNotFound, JobNotFound, UsageError, Unreachable
            As :meth:`subscribe`.
        """
        samplers, gpus = self._resolved(scope)
        board = self._board(scope, samplers, gpus)
        for sampler in samplers:
            sampler.hold()
        try:
            await board.fresh(seconds, samples=2)
            return board.frame()
        finally:
            for sampler in samplers:
                sampler.release(linger=linger)

    async def samples(self, scope: Scope) -> AsyncGenerator[Sequence[NodeSample], None]:
        """Yield every sample of the nodes of a scope as it comes: some at a time, none twice.

        Close the generator to read no more. Who does not keep up misses the oldest.

        Raises
        ------
        PoolNotFound, JobNotFound, UsageError, Unreachable
            As :meth:`subscribe`.
        """
        samplers, _ = self._resolved(scope)
        waiting: deque[NodeSample] = deque(maxlen=_MOST_WAITING)
        news = asyncio.Event()

        def listener(sampler: NodeSampler) -> Listener:
            def hear(at: float, rows: Rows) -> None:
                del rows
                if sampler.latest is not None:
                    waiting.append(NodeSample(sampler.name, at, sampler.latest))
                news.set()

            return hear

        listeners = [listener(sampler) for sampler in samplers]
        for sampler, hear in zip(samplers, listeners, strict=True):
            sampler.listeners.append(hear)
            sampler.hold()
        try:
            while True:
                await news.wait()
                news.clear()
                found = list(waiting)
                waiting.clear()
                yield found
        finally:
            for sampler, hear in zip(samplers, listeners, strict=True):
                sampler.listeners.remove(hear)
                sampler.release()

    def history(self, scope: Scope, *, since: float) -> Mapping[str, Past]:
        """Return, by node, the samples after a time, as far as an hour is kept.

        Only of nodes that are sampled, or were a moment ago.
        """
        samplers, _ = self._resolved(scope)
        return {sampler.name: sampler.history.after(since) for sampler in samplers if sampler.seq}

    # --- kept ---

    async def record(self, pools: Collection[str]) -> Sequence[str]:
        """Sample exactly these pools from now on, whether anybody looks or not.

        Returns those that cannot be.
        """
        refused = []
        for name in self._recorded.keys() - set(pools):
            for sampler in self._recorded.pop(name):
                sampler.release()
        for name in pools:
            if name in self._recorded:
                continue
            try:
                samplers, _ = self._resolved(Scope(pool=name))
            except AiInfraError:
                refused.append(name)
                continue
            for sampler in samplers:
                sampler.hold()
            self._recorded[name] = list(samplers)
        return refused

    async def range(
        self,
        scope: Scope,
        *,
        start: float | None = None,
        end: float | None = None,
        points: int = 300,
        series: Sequence[str] | None = None,
        gpus: Collection[str] | None = None,
        by: By = "gpu",
        of: Of = "gpus",
    ) -> Range:
        """Return curves of what was recorded between two times; see :func:`.ranges.read_range`.

        Of a job it is what its GPUs did while it ran; without times, all of that. Else without
        times it is the last hour.
        """
        now = self._wall()
        pool, nodes = scope.pool, None if scope.node is None else [scope.node]
        end, placed = now if end is None else end, None
        if scope.job is not None:
            job = self._store.get_job(scope.job)
            pool, nodes = job.pool, list(self._nodes_of(job)) or None
            placed = _ranks_placed(job)
            begun, ended = job.started_at or job.created_at, job.ended_at or now
            # A job that ends as it begins is in one bucket all the same.
            start = min(max(start or begun, begun), ended)
            end = max(min(end, ended), start + 1)
        first = end - _HOUR_SECONDS if start is None else start
        names = series or (("utilization",) if of == "gpus" else ("cpu",))

        def read() -> Range:
            with self._rollups.still() as unwritten:
                return read_range(
                    self._store,
                    start=first,
                    end=end,
                    points=points,
                    now=now,
                    series=names,
                    pool=pool,
                    nodes=nodes,
                    gpus=gpus,
                    by=by,
                    of=of,
                    placed=placed,
                    unwritten=unwritten,
                )

        return await asyncio.to_thread(read)

    async def write(self, *, whole: bool = True) -> None:
        """Write what was sampled to the store; with `whole`, only buckets that are over."""
        before = self._wall() if whole else float("inf")
        await asyncio.to_thread(self._rollups.write, before=before)

    async def _write_on(self) -> None:
        swept_at = float("-inf")
        while True:
            await asyncio.sleep(_WRITE_SECONDS)
            # No room, or no answer: it is tried again with what has come until then.
            with contextlib.suppress(AiInfraError):
                await self.write()
                if self._clock() - swept_at > _SWEEP_SECONDS:
                    swept_at = self._clock()
                    await asyncio.to_thread(self._rollups.sweep, self._wall())

    async def aclose(self) -> None:
        """End all streams, and write what is left to be written. Idempotent."""
        boards, self._boards = list(self._boards.values()), {}
        for board in boards:
            board.close()
        samplers = [sampler for _, sampler in self._samplers.values()]
        self._samplers.clear()
        self._recorded.clear()
        await asyncio.gather(*(sampler.aclose() for sampler in samplers))
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            with contextlib.suppress(AiInfraError):
                await self.write(whole=False)

    # --- who is where ---

    def _board(
        self, scope: Scope, samplers: Sequence[NodeSampler], gpus: frozenset[str] | None
    ) -> Board:
        return Board(
            scope,
            samplers,
            gpus=gpus,
            leases=self._store.leases,
            clock=self._clock,
            wall=self._wall,
        )

    def _resolved(self, scope: Scope) -> tuple[list[NodeSampler], frozenset[str] | None]:
        """Return the samplers of the nodes of a scope, and which GPUs of them, if not all."""
        if scope.job is not None:
            job = self._store.get_job(scope.job)
            return self._of(job.pool, self._nodes_of(job)), _placed(job)
        if scope.pool is None:
            raise UsageError("which pool, or which job?", hint="%pool list names the pools")
        return self._of(scope.pool, None if scope.node is None else [scope.node]), None

    def _nodes_of(self, job: Job) -> Sequence[str]:
        """Return the nodes that a job is on, as far as is known, by the names of its pool."""
        names = _nodes_of(job)
        if job.placement:
            return names  # as its pool has called them, then
        try:
            pool = self._pool(job.pool)
        except AiInfraError:
            return names  # detached: what was recorded is there all the same
        known = pool.probe_nodes() if isinstance(pool, Probing) else names
        # Ranks say what their machine calls itself, and the only node of a pool is that one.
        return known if len(known) == 1 and names else names

    def _of(self, name: str, wanted: Collection[str] | None) -> list[NodeSampler]:
        pool = self._pool(name)
        if not isinstance(pool, Probing):
            raise UsageError(
                f"pool {name} ({pool.kind}) does not let its GPUs be read",
                hint="%pool show tells what it has",
            )
        names = pool.probe_nodes()
        for each in wanted or ():
            if each not in names:
                raise UsageError(
                    f"{each} is no node of pool {name}", hint=f"it has {', '.join(names)}"
                )
        return [
            self._sampler(name, pool, each) for each in names if wanted is None or each in wanted
        ]

    def _sampler(self, pool_name: str, pool: Pool, node: str) -> NodeSampler:
        known = self._samplers.get((pool_name, node))
        if known is not None and known[0] is pool:
            return known[1]
        assert isinstance(pool, Probing)  # noqa: S101 - the caller looked
        probing: Probing = pool
        sampler = NodeSampler(node, lambda: probing.probe(node), clock=self._clock, wall=self._wall)
        if self.records:
            sampler.listeners.append(self._recorder(pool_name, sampler))
            if self._writer is None:
                self._writer = asyncio.create_task(self._write_on(), name="aiinfra-readings")
        self._samplers[pool_name, node] = pool, sampler
        return sampler

    def _recorder(self, pool: str, sampler: NodeSampler) -> Listener:
        """Return what gathers the samples of a node, with whose its GPUs are."""

        def record(at: float, rows: Rows) -> None:
            labels = {} if sampler.latest is None else owner_labels(sampler.latest)
            self._rollups.add(pool, sampler.name, at, rows, labels)

        return record


def _ranks_placed(job: Job) -> Placed:
    """Return the GPUs of a job, with their ranks where each rank has one."""
    gpus = [gpu for place in job.placement for gpu in place.gpus]
    one_each = len(gpus) == job.spec.procs * max(len(job.placement), 1)
    return Placed(
        job=job.id, gpus={gpu: rank if one_each else None for rank, gpu in enumerate(gpus)}
    )


def _nodes_of(job: Job) -> Sequence[str]:
    """Return the nodes that a job is on, as far as is known."""
    if job.placement:
        return [place.node for place in job.placement]
    names: Sequence[str] = job.handle.data.get("nodes", ()) if job.handle else ()
    if not names and job.seen is not None:
        names = list(dict.fromkeys(rank.node for rank in job.seen.ranks))
    return names


def _placed(job: Job) -> frozenset[str]:
    return frozenset(gpu for place in job.placement for gpu in place.gpus)
