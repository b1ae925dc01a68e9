"""The queue of pools without a scheduler of their own: who waits for GPUs, and who starts.

No process owns the queue. Any that looks at a job that waits holds the nodes against the leases,
and starts whoever's turn has come: a compare-and-set says which one of many. A queued job's bundle
is in the local blob store, so that every process on this store can start it; the values of secrets
are in the memory of who was given them, and only that process starts such a job.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import socket
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from jupyter_aiinfra.bundle import Bundle, keep, stored
from jupyter_aiinfra.engine.attached import Attached
from jupyter_aiinfra.engine.launches import NEVER_STARTED, Launches
from jupyter_aiinfra.errors import (
    AiInfraError,
    PoolError,
    PoolNotFound,
    StorageFull,
    StoreError,
)
from jupyter_aiinfra.leases import Grant, Turn, decide, in_order
from jupyter_aiinfra.model import Desired, Job, JobState, Node, Observation, Submitter
from jupyter_aiinfra.node import supervise
from jupyter_aiinfra.pools.base import Leased
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store

__all__ = ["Queue"]

_KEEP_SECONDS: Final = 3.0
"""How often a process looks by itself at a queue in which jobs of its own wait."""

_LOOK_SECONDS: Final = 3.0
"""How long what was seen of a pool's nodes is relied on to say that a job must wait.

A job is only ever started on a look of its own.
"""

_PREPARED_SECONDS: Final = 2.0
"""How old the look may be that a launch was prepared with, to be the launch's own."""


@dataclass(frozen=True, kw_only=True)
class _Look:
    nodes: Sequence[Node]
    at: float


class Queue:
    """Lets jobs in, and on. What it remembers beside the store: secrets, and its last looks."""

    def __init__(
        self, store: Store, settings: Settings, pools: Attached, launches: Launches
    ) -> None:
        self._store = store
        self._settings = settings
        self._pools = pools
        self._launches = launches
        self._given: dict[str, tuple[str, Mapping[str, str]]] = {}  # pool and secrets, by job
        self._looks: dict[str, _Look] = {}
        self._prepared: dict[str, _Look] = {}
        self._passing: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._keepers: dict[str, asyncio.Task[None]] = {}

    # --- in ------------------------------------------------------------------------------------

    async def launch(self, job: Job, bundle: Bundle, secrets: Mapping[str, str]) -> Job:
        """Start a new job where its GPUs are free and nobody is ahead of it; else let it wait."""
        pool = self._pools.pool(job.pool)
        grant: Grant | None = None
        prepared = self._prepared.pop(job.pool, None)
        if prepared is not None and time.monotonic() - prepared.at < _PREPARED_SECONDS:
            await self.settle_leases(job.pool)
            grant, turns = self._grant(job, prepared)
        if grant is None:
            grant, turns = self._grant(job, await self._look(job.pool))
        if grant is not None:
            plan = await pool.plan(dataclasses.replace(job, placement=grant.placement))
            if self._store.add_placed(plan.job):
                return await self._launches.submit(plan, bundle, secrets)
        # Before the record: whoever finds the job there must be able to start it.
        await asyncio.to_thread(keep, bundle, blobs=self._settings.blobs)
        reason = next((turn.reason for turn in turns if turn.job == job.id), _come(job, None))
        seen = Observation(state=JobState.QUEUED, seen_at=time.time(), reason=reason)
        self._given[job.id] = (job.pool, dict(secrets))
        self._store.add_job(dataclasses.replace(job, state=JobState.QUEUED, seen=seen))
        self._keep_going(job.pool)
        return self._store.get_job(job.id)

    def seen(self, pool: str, nodes: Sequence[Node]) -> None:
        """Take note of nodes as they are now: the next launch need not ask them once more."""
        self._prepared[pool] = _Look(nodes=nodes, at=time.monotonic())

    def _grant(self, job: Job, look: _Look) -> tuple[Grant | None, tuple[Turn, ...]]:
        _, grants, turns = self._decide(job.pool, look.nodes, also=job)
        return next((grant for grant in grants if grant.job == job.id), None), turns

    def _decide(
        self, pool: str, nodes: Sequence[Node], *, also: Job | None = None
    ) -> tuple[Mapping[str, Job], tuple[Grant, ...], tuple[Turn, ...]]:
        """Return who waits, who of them may start now, and what the others wait for."""
        waiting = [job for job in self._queued(pool) if self._may_start(job)]
        waiting += [also] if also else []
        return {job.id: job for job in waiting}, *decide(nodes, self._store.leases(), waiting)

    def _queued(self, pool: str) -> list[Job]:
        return in_order(self._store.list_jobs(pool=pool, states=[JobState.QUEUED]))

    # --- on ------------------------------------------------------------------------------------

    async def advance(self, pool: str) -> None:
        """Start whose turn has come, and write down what the others wait for.

        Returns at once where this process is at it already. What keeps a job from starting is in
        its record.

        Raises
        ------
        Unreachable
            The pool does not answer: nobody starts, and no lease ends.
        """
        if pool in self._passing:
            return
        self._passing.add(pool)
        try:
            waiting = [job for job in self._queued(pool) if not self._ended(job)]
            if waiting:
                await self._pass(pool)
        finally:
            self._passing.discard(pool)

    async def _pass(self, pool: str) -> None:
        look, fresh = self._looks.get(pool), False
        if look is None or time.monotonic() - look.at >= _LOOK_SECONDS:
            look, fresh = await self._look(pool), True
        jobs, grants, turns = self._decide(pool, look.nodes)
        if grants and not fresh:
            look = await self._look(pool)
            jobs, grants, turns = self._decide(pool, look.nodes)
        starting = []
        for grant in grants:
            job = jobs[grant.job]
            if not self._has_secrets(job):
                self._note(job, _come(job, job.spec.origin.host))
            elif self._claim(job, grant):
                starting.append(self._begin(self._start(job.id)))
        for turn in turns:
            self._note(jobs[turn.job], turn.reason)
        if starting:
            # Who asked may be interrupted; the jobs are others'.
            await asyncio.shield(asyncio.gather(*starting))

    async def _look(self, pool: str) -> _Look:
        await self.settle_leases(pool)
        look = _Look(nodes=await self._pools.nodes(pool), at=time.monotonic())
        self._looks[pool] = look
        return look

    def _claim(self, job: Job, grant: Grant) -> bool:
        me = Submitter(host=socket.gethostname(), process=supervise.identity(os.getpid()) or {})
        return self._store.claim(
            job.id,
            expected=job.version,
            placement=grant.placement,
            shared=job.spec.share,
            submitter=me,
        )

    async def _start(self, job_id: str) -> None:
        """Give a job that this process has claimed to its pool. How that ends is in the record."""
        job = self._store.get_job(job_id)
        _, secrets = self._given.pop(job_id, ("", {}))
        try:
            bundle = await asyncio.to_thread(stored, job.spec.files, blobs=self._settings.blobs)
            plan = await self._pools.pool(job.pool).plan(job)
        except AiInfraError as error:
            self._store.fail_pending(job_id, reason=error.message)
            return
        with contextlib.suppress(AiInfraError):  # submit has written down why
            await self._launches.submit(plan, bundle, secrets)

    def _note(self, job: Job, reason: str) -> None:
        if job.seen is not None and job.seen.reason == reason:
            return
        seen = Observation(state=JobState.QUEUED, seen_at=time.time(), reason=reason)
        with contextlib.suppress(StorageFull):  # it is for people; the queue goes on without it
            self._store.advance(job.id, expected=job.version, seen=seen)

    # --- secrets -------------------------------------------------------------------------------

    def _has_secrets(self, job: Job) -> bool:
        return not job.spec.secrets or job.id in self._given

    def _may_start(self, job: Job) -> bool:
        """Whether GPUs are to be reserved for the job: somebody will start it, as far as we know.

        Of a process on another machine that alone has its secrets it is not known that it lives:
        nobody is kept waiting for it.
        """
        return self._has_secrets(job) or job.spec.origin.host == socket.gethostname()

    def _ended(self, job: Job) -> bool:
        """End a job that is not to start any more; whether it was one."""
        if job.desired is Desired.STOP:
            self._store.end_queued(job.id, state=JobState.CANCELLED, reason=NEVER_STARTED)
            return True
        process = dict(job.spec.origin.process)
        here = job.spec.origin.host == socket.gethostname()
        if not self._has_secrets(job) and here and process:
            if supervise.alive(process):
                return False
            names = ", ".join(job.spec.secrets)
            reason = f"the process that had its secrets ({names}) ended while it waited for GPUs"
            self._store.end_queued(job.id, state=JobState.FAILED, reason=reason)
            return True
        return False

    # --- leases --------------------------------------------------------------------------------

    async def settle_leases(self, pool: str) -> None:
        """Free the GPUs of jobs that were given up, once nothing of them is found on the pool."""
        active = {job.id for job in self._store.list_jobs(pool=pool, active=True)}
        doubtful = {lease.job for lease in self._store.leases(pool=pool)} - active
        if not doubtful:
            return
        opened = self._pools.pool(pool)
        running = set()
        for handle in await opened.jobs():
            job_id = str(handle.data["job"])
            if job_id in doubtful and not (await opened.observe(handle)).state.final:
                running.add(job_id)
        for job_id in doubtful - running:
            self._store.release(job_id)

    # --- out -----------------------------------------------------------------------------------

    async def positions(self, pool: str) -> tuple[Turn, ...]:
        """Return who waits, in order, and for what, as of now. Changes nothing."""
        jobs = self._queued(pool)
        if not jobs:
            return ()
        _, _, turns = self._decide(pool, await self._pools.nodes(pool))
        reasons = {turn.job: turn.reason for turn in turns}
        return tuple(
            Turn(
                job=job.id,
                position=position,
                reason=reasons.get(job.id)
                or _come(job, None if self._has_secrets(job) else job.spec.origin.host),
            )
            for position, job in enumerate(jobs, start=1)
        )

    def nudge(self, pool: str) -> None:
        """Have a look at the queue of a pool soon: GPUs may have become free. Returns at once."""
        if self._leased(pool) and self._queued(pool):
            self._begin(self._advance_quietly(pool))

    def _leased(self, pool: str) -> bool:
        try:
            return isinstance(self._pools.pool(pool), Leased)
        except (PoolError, PoolNotFound):
            return False

    def _keep_going(self, pool: str) -> None:
        """Look at the queue of a pool for as long as jobs of this process wait there."""
        if pool not in self._keepers:
            self._keepers[pool] = asyncio.ensure_future(self._keeper(pool))

    async def _keeper(self, pool: str) -> None:
        try:
            while self._waits_here(pool):
                await asyncio.sleep(_KEEP_SECONDS)
                await self._advance_quietly(pool)
        finally:
            del self._keepers[pool]

    def _waits_here(self, pool: str) -> bool:
        try:
            queued = {job.id for job in self._queued(pool)}
        except StoreError:
            return True
        mine = {job_id for job_id, (where, _) in self._given.items() if where == pool}
        for job_id in mine - queued:  # values of secrets are kept no longer than needed
            self._given.pop(job_id, None)
        return bool(mine & queued)

    async def _advance_quietly(self, pool: str) -> None:
        # Who looks at a job of the pool is told; this is tried again.
        with contextlib.suppress(AiInfraError):
            await self.advance(pool)

    def _begin(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def aclose(self) -> None:
        """Let what is being started get to its pool; what waits is left to other processes."""
        for keeper in [*self._keepers.values()]:
            keeper.cancel()
        await asyncio.gather(*self._keepers.values(), *self._tasks, return_exceptions=True)


def _come(job: Job, host: str | None) -> str:
    if host is None:
        return "its turn has come"
    names = ", ".join(job.spec.secrets)
    return f"waits for the process on {host} that has its secrets ({names})"
