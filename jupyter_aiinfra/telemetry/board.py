"""One frame a tick of a scope, however many look at it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from jupyter_aiinfra.errors import AiInfraError
from jupyter_aiinfra.model import Lease
from jupyter_aiinfra.telemetry.alerts import GpuAlert, Held
from jupyter_aiinfra.telemetry.frames import Frame, NodeView, Scope, make_frame
from jupyter_aiinfra.telemetry.sample import Sample
from jupyter_aiinfra.telemetry.sampler import NodeSampler

__all__ = ["TICK_SECONDS", "Board"]

TICK_SECONDS: Final = 1.0
_LEASE_SECONDS: Final = 5.0


class Board:
    """One scope: who looks at it, and its newest frame, a new one each tick.

    Parameters
    ----------
    samplers
        Those of its nodes; held while anybody looks.
    gpus
        The only GPUs to be shown, beside those on which the job of the scope has processes.
    leases
        Returns the leases of all GPUs.
    """

    def __init__(
        self,
        scope: Scope,
        samplers: Sequence[NodeSampler],
        *,
        gpus: frozenset[str] | None,
        leases: Callable[[], Sequence[Lease]],
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._find_leases = leases
        self._clock = clock
        self._wall = wall
        self._scope = scope
        self._samplers = samplers
        self._gpus = gpus
        self._readers = 0
        self._task: asyncio.Task[None] | None = None
        self._frame: Frame | None = None
        self._error: Exception | None = None
        self._news = asyncio.Event()
        self._leases: Sequence[Lease] = ()
        self._held: Held = {}
        self._leases_at = float("-inf")
        self._seq = 0

    def join(self) -> None:
        """Look at it from now on."""
        self._readers += 1
        if self._task is None:
            for sampler in self._samplers:
                sampler.hold()
            self._task = asyncio.create_task(self._run(), name="aiinfra-board")

    def leave(self) -> bool:
        """Look no more; return whether nobody is left who does."""
        self._readers -= 1
        if self._readers == 0:
            self.close()
        return self._readers == 0

    def close(self) -> None:
        """End the ticks, whoever looks. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            for sampler in self._samplers:
                sampler.release()

    async def fresh(self, seconds: float, *, samples: int = 0) -> None:
        """Wait until a node has answered, or all with so many samples; for so long at most."""
        wanted = max(samples, 1)
        waits = [
            asyncio.ensure_future(sampler.fresh(seconds, samples=wanted))
            for sampler in self._samplers
        ]
        if waits:
            how = asyncio.ALL_COMPLETED if samples else asyncio.FIRST_COMPLETED
            try:
                await asyncio.wait(waits, return_when=how)
            finally:
                for wait in waits:
                    wait.cancel()

    async def after(self, seq: int) -> Frame:
        """Return a frame that is newer than `seq`."""
        while self._frame is None or self._frame.seq <= seq:
            if self._error is not None:
                raise self._error
            await self._news.wait()
        return self._frame

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        await self.fresh(TICK_SECONDS)
        due = loop.time()
        while True:
            try:
                self._frame = self.frame()
            except AiInfraError as error:
                self._error = error
            # Whoever waits has this event; who comes next waits for the next.
            news, self._news = self._news, asyncio.Event()
            news.set()
            if self._error is not None:
                return
            due = max(due + TICK_SECONDS, loop.time() + TICK_SECONDS / 2)
            await asyncio.sleep(due - loop.time())

    def frame(self) -> Frame:
        """Return what is known now."""
        self._seq += 1
        held = self._leased()
        nodes = [(self._node(sampler, held), sampler.latest) for sampler in self._samplers]
        return make_frame(
            self._scope,
            seq=self._seq,
            at=round(self._wall(), 1),
            nodes=nodes,
            leases={gpu: tuple(jobs) for gpu, jobs in held.items()},
            gpus=self._gpus,
        )

    def _leased(self) -> Held:
        now = self._clock()
        if now - self._leases_at >= _LEASE_SECONDS:
            self._leases, self._leases_at = self._find_leases(), now
            found: dict[str, dict[str, float]] = {}
            for lease in self._leases:
                found.setdefault(lease.gpu, {})[lease.job] = lease.since
            self._held = found
        return self._held

    def _node(self, sampler: NodeSampler, held: Held) -> NodeView:
        sample = sampler.latest
        alerts = () if sample is None else sampler.follower.alerts(sample, held)
        return _node_view(
            sampler,
            jobs=self._jobs_of(sampler.name, sample),
            alerts=tuple(alert for alert in alerts if self._shows(alert)),
        )

    def _jobs_of(self, node: str, sample: Sample | None) -> tuple[str, ...]:
        """Return the jobs that have GPUs of a node, as far as is known of one that is silent."""
        pool = self._scope.pool
        found = {
            lease.job
            for lease in self._leases
            if lease.node == node and (pool is None or lease.pool == pool)
        }
        for gpu in sample.gpus if sample is not None else ():
            found.update(each.job for each in gpu.processes or () if each.job is not None)
        job = self._scope.job
        return tuple(sorted(found if job is None else found & {job}))

    def _shows(self, alert: GpuAlert) -> bool:
        if self._gpus is None:
            return True
        return alert.uuid in self._gpus or alert.job == self._scope.job


def _node_view(
    sampler: NodeSampler, *, jobs: tuple[str, ...], alerts: tuple[GpuAlert, ...]
) -> NodeView:
    state = sampler.state
    sample = sampler.latest
    return NodeView(
        name=sampler.name,
        state=state,
        problem=sampler.problem,
        problems=_problems(sampler, sample),
        gpus=None if sample is None else sum(1 for gpu in sample.gpus if gpu.parent is None),
        cpu_count=sample.node.cpu_count if sample else None,
        memory_total_bytes=sample.node.memory_total_bytes if sample else None,
        jobs=jobs,
        alerts=alerts,
    )


def _problems(sampler: NodeSampler, sample: Sample | None) -> tuple[str, ...]:
    damaged = (f"{sampler.damaged} damaged lines",) if sampler.damaged else ()
    return (*(sample.problems if sample is not None else ()), *damaged)
