"""The verbs, and the only place that changes state: attach, launch, refresh, cancel, reconcile.

Any number of engines in any number of processes may work on one store at once. Each change is a
compare-and-set: who loses reads again. What is *desired* is written first, then *requested* of the
pool, then *observed*; the step between them may be repeated without harm.
"""

from __future__ import annotations

import asyncio
import dataclasses
import getpass
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_aiinfra.bundle import Bundle, stored
from jupyter_aiinfra.errors import (
    Conflict,
    JobNotFound,
    PoolError,
    PoolExists,
    PoolInUse,
    PoolNotFound,
    StorageFull,
    SubmitError,
    Unreachable,
    UsageError,
)
from jupyter_aiinfra.model import (
    Desired,
    Handle,
    Job,
    JobSpec,
    JobState,
    LogChunk,
    Node,
    Observation,
    Plan,
    PoolRecord,
    new_job_id,
)
from jupyter_aiinfra.node import supervise
from jupyter_aiinfra.pools import open_pool
from jupyter_aiinfra.pools.base import Adopting, Pool
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store

__all__ = ["Engine", "PoolOpener", "PoolView", "Reconciled"]

PoolOpener = Callable[[PoolRecord, Settings], Pool]

_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
_NAME_LENGTH = 63


@dataclass(frozen=True, kw_only=True)
class PoolView:
    """A pool as seen now: its nodes, or why they cannot be told."""

    record: PoolRecord
    nodes: tuple[Node, ...] | None
    problem: str | None
    active_jobs: int


@dataclass(frozen=True, kw_only=True)
class Reconciled:
    """What a reconcile of one pool found and did, as job ids."""

    bound: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    orphans: tuple[str, ...] = ()


class Engine:
    """The face of everything: what magics, server and command line call.

    Parameters
    ----------
    store
        The record.
    settings
        What the user may change.
    opener
        Opens a pool from its record; tests put a fake here.
    """

    def __init__(self, store: Store, settings: Settings, *, opener: PoolOpener = open_pool) -> None:
        self.store = store
        self.settings = settings
        self._opener = opener
        self._open: dict[str, tuple[PoolRecord, Pool]] = {}

    # --- pools ---------------------------------------------------------------------------------

    async def attach(
        self, name: str, *, kind: str, options: Mapping[str, Any] | None = None
    ) -> PoolView:
        """Attach a pool under `name`. It is asked for its nodes first; nothing is kept on failure.

        Attaching the same pool again under its name is no error: a notebook is run more than once.

        Raises
        ------
        UsageError
            A name, kind or option that cannot be.
        PoolExists
            The name is taken by another pool.
        Unreachable
            The pool does not answer.
        """
        _check_name("pool", name)
        record = PoolRecord(name=name, kind=kind, options=dict(options or {}))
        pool = self._opener(record, self.settings)
        try:
            nodes = await pool.nodes()
            record = self._add_pool(record)
        except BaseException:
            await pool.aclose()
            raise
        self._open[name] = (record, pool)
        active = len(self.store.list_jobs(pool=name, active=True))
        return PoolView(record=record, nodes=tuple(nodes), problem=None, active_jobs=active)

    def _add_pool(self, record: PoolRecord) -> PoolRecord:
        try:
            self.store.add_pool(record)
        except PoolExists:
            old = self.store.get_pool(record.name)
            if (old.kind, dict(old.options)) != (record.kind, dict(record.options)):
                raise
            return old
        return record

    async def detach(self, name: str, *, force: bool = False) -> None:
        """Forget a pool. Its jobs and their run directories stay as they are.

        Raises
        ------
        PoolInUse
            Jobs on it are not over, and `force` is false.
        """
        self.store.get_pool(name)
        active = self.store.list_jobs(pool=name, active=True)
        if active and not force:
            ids = ", ".join(job.id for job in active)
            raise PoolInUse(
                f"pool {name!r} has jobs that are not over: {ids}",
                hint=f"cancel them (%jobs cancel ID), or %pool detach {name} --force: "
                "they go on, and are found again when the pool is attached under this name",
            )
        self.store.remove_pool(name)
        opened = self._open.pop(name, None)
        if opened is not None:
            await opened[1].aclose()

    def pool(self, name: str) -> Pool:
        """Return the open pool of that name.

        Raises
        ------
        PoolNotFound
            No such pool is attached.
        Unreachable
            What it was attached with holds no longer.
        """
        record = self.store.get_pool(name)
        opened = self._open.get(name)
        if opened is None or opened[0] != record:
            try:
                opened = (record, self._opener(record, self.settings))
            except UsageError as error:
                # It was right when it was attached; its interpreter, say, has been removed since.
                hint = f"%pool detach {name}, and attach it anew"
                raise Unreachable(error.message, hint=hint) from error
            self._open[name] = opened
        return opened[1]

    async def pools(self) -> Sequence[PoolView]:
        """Return every attached pool as seen now, by name."""
        return [await self.show_pool(record.name) for record in self.store.list_pools()]

    async def show_pool(self, name: str) -> PoolView:
        """Return one attached pool as seen now; an unreachable one says so and is no error."""
        record = self.store.get_pool(name)
        active = len(self.store.list_jobs(pool=name, active=True))
        try:
            nodes = tuple(await self.pool(name).nodes())
        except Unreachable as error:
            return PoolView(record=record, nodes=None, problem=error.message, active_jobs=active)
        return PoolView(record=record, nodes=nodes, problem=None, active_jobs=active)

    async def nodes(self, name: str) -> Sequence[Node]:
        """Return the nodes of a pool as of now; raises Unreachable where it does not answer."""
        return await self.pool(name).nodes()

    # --- jobs: launch --------------------------------------------------------------------------

    async def plan(self, pool: str, spec: JobSpec, *, job_id: str | None = None) -> Plan:
        """Lay a job out on a pool. Changes nothing."""
        _check_name("job", spec.name)
        job = Job(id=job_id or new_job_id(), pool=pool, spec=spec)
        return await self.pool(pool).plan(job)

    async def launch(
        self,
        pool: str,
        spec: JobSpec,
        bundle: Bundle,
        *,
        secrets: Mapping[str, str] | None = None,
        job_id: str | None = None,
    ) -> Job:
        """Record a job, start it on its pool and bind the two together.

        Should this process die in between, :meth:`reconcile` finds the half-made job from any
        other process and binds or fails it.

        Raises
        ------
        SubmitError, StorageFull, Unreachable
            The job is recorded as failed, with the reason; nothing of it is left running.
        """
        origin = dataclasses.replace(
            spec.origin,
            user=spec.origin.user or getpass.getuser(),
            host=socket.gethostname(),
            process=supervise.identity(os.getpid()) or {},
        )
        plan = await self.plan(pool, dataclasses.replace(spec, origin=origin), job_id=job_id)
        self.store.add_job(plan.job)
        return await self._submit(plan, bundle, secrets or {})

    async def _submit(self, plan: Plan, bundle: Bundle, secrets: Mapping[str, str]) -> Job:
        job = plan.job
        pool = self.pool(job.pool)
        submitting = asyncio.ensure_future(pool.submit(plan, bundle, secrets=secrets))
        try:
            handle = await asyncio.shield(submitting)
        except asyncio.CancelledError:
            await self._take_back(job, submitting)
            raise
        except Exception as error:
            # Whatever stopped the submit, the record must not stay pending for ever.
            self.store.fail_pending(job.id, reason=str(error) or type(error).__name__)
            raise
        bound = self.store.bind(job.id, handle=handle)
        now = self.store.get_job(job.id)
        if not bound and now.handle != handle:
            said = f"job {job.id} was given up by another process while it was being started"
            try:
                await pool.cancel(handle, grace=0.0)
            except Unreachable as error:
                hint = f"it may run there: %pool reconcile {job.pool} tells once the pool answers"
                raise SubmitError(f"{said}, and {error.message}", hint=hint) from error
            raise SubmitError(said, hint="nothing of it is left running; launch it again")
        return now

    async def _take_back(self, job: Job, submitting: asyncio.Future[Handle]) -> None:
        """End a job whose launch was interrupted: half a submit cannot be told from a whole one."""
        # The wish first: should we be killed now, who finds the job ends it.
        await self.cancel(job.id)
        try:
            handle = await submitting
        except Exception as error:  # noqa: BLE001 - the interrupt is what is reported
            self.store.fail_pending(job.id, reason=f"interrupted while starting; {error}")
            return
        self.store.bind(job.id, handle=handle)
        await self.cancel(job.id, grace=0.0)

    async def rerun(self, job_id: str, *, secrets: Mapping[str, str] | None = None) -> Job:
        """Launch the same job again: same code, same data, same pool, as a new job."""
        old = self.store.get_job(job_id)
        bundle = stored(old.spec.files, blobs=self.settings.blobs)
        return await self.launch(old.pool, old.spec, bundle, secrets=secrets)

    # --- jobs: watch ---------------------------------------------------------------------------

    async def refresh(self, job_id: str) -> Job:
        """Observe a job and write down what changed; return its record.

        Also takes the next step towards what is desired: a stop not yet known to the node is asked
        for again, a job without a supervisor gets one. An unreachable pool changes nothing and
        raises :class:`~jupyter_aiinfra.errors.Unreachable`.
        """
        job = self.store.get_job(job_id)
        if job.state.final:
            return job
        if job.handle is None:
            await self._settle_pending(job)
            return self.store.get_job(job.id)
        pool = self.pool(job.pool)
        seen = await pool.observe(job.handle)
        if _news(job, seen):
            job = self._write_down(job, seen)
        if not seen.state.final:
            await self._step(pool, job, seen)
        return job

    def _write_down(self, job: Job, seen: Observation) -> Job:
        """Record what was seen of `job`, if there is room; return the job as it is now."""
        try:
            self.store.advance(job.id, expected=job.version, seen=seen)
        except StorageFull:
            # It may be the job itself that has filled the disk. Who asks is told all the same, and
            # the record follows with the next look once there is room.
            return dataclasses.replace(job, state=seen.state, seen=seen)
        return self.store.get_job(job.id)

    async def _step(self, pool: Pool, job: Job, seen: Observation) -> None:
        assert job.handle is not None  # noqa: S101 - the caller looked
        if not seen.supervised and isinstance(pool, Adopting):
            await pool.adopt(job.handle)
        if job.desired is Desired.STOP and not seen.stopping:
            await pool.cancel(job.handle, grace=job.spec.grace_seconds)

    async def _settle_pending(self, job: Job) -> None:
        """Bind or fail a job whose launching process is gone; leave it alone while that lives."""
        process = job.spec.origin.process
        here = job.spec.origin.host == socket.gethostname()
        if process and here and supervise.alive(dict(process)):
            return
        if not here and time.time() - job.created_at < job.spec.start_timeout_seconds:
            return
        await self._bind_or_fail(job, await self.pool(job.pool).jobs())

    async def _bind_or_fail(self, job: Job, handles: Sequence[Handle]) -> bool:
        for handle in handles:
            if handle.data["job"] == job.id:
                return self.store.bind(job.id, handle=handle)
        self.store.fail_pending(
            job.id, reason="the process that launched it ended before the job reached its pool"
        )
        return False

    def logs(
        self, job_id: str, *, rank: int = 0, offset: int = 0, follow: bool = False
    ) -> AsyncIterator[LogChunk]:
        """Yield a rank's log from a byte offset; see :meth:`.pools.base.Pool.logs`."""
        job = self.store.get_job(job_id)
        if job.handle is None:
            return _nothing()
        return self.pool(job.pool).logs(job.handle, rank=rank, offset=offset, follow=follow)

    async def results(self, job_id: str) -> Path | None:
        """Return a local folder with what the job's ``--fetch`` saved, or ``None``."""
        job = self.store.get_job(job_id)
        return await self.pool(job.pool).results(job.handle) if job.handle else None

    # --- jobs: end -----------------------------------------------------------------------------

    async def cancel(self, job_id: str, *, grace: float | None = None) -> Job:
        """Desire the end of a job and ask its pool for it. A job that is over is left as it is.

        Where the pool cannot be reached the wish is kept, and asked for again by the next
        :meth:`refresh` that gets through; Unreachable is raised all the same.
        """
        job = self.store.get_job(job_id)
        while not job.state.final and job.desired is not Desired.STOP:
            try:
                self.store.request(job.id, expected=job.version, desired=Desired.STOP)
            except StorageFull:
                break  # the disk may be what the job is to be stopped for
            job = self.store.get_job(job.id)
        if not job.state.final and job.handle is not None:
            wait = job.spec.grace_seconds if grace is None else grace
            await self.pool(job.pool).cancel(job.handle, grace=wait)
        return job

    async def remove(self, job_id: str) -> None:
        """Forget a job that is over, and delete what it left on its pool.

        Raises
        ------
        Conflict
            The job is not over.
        """
        job = await self.refresh(job_id)
        if not job.state.final:
            raise Conflict(
                f"job {job.id} is {job.state.value}", hint=f"%jobs cancel {job.id} ends it first"
            )
        attached = {record.name for record in self.store.list_pools()}
        if job.handle is not None and job.pool in attached:
            await self.pool(job.pool).remove(job.handle)
        recorded = self.store.get_job(job.id)
        if job.seen is not None and not recorded.state.final:
            # There was no room to write its end down, and there is now.
            self.store.advance(recorded.id, expected=recorded.version, seen=job.seen)
        self.store.remove_job(job.id)

    # --- everything at once --------------------------------------------------------------------

    async def tick(self) -> Sequence[str]:
        """Refresh every job that is not over; return the ids of those that cannot be told of now.

        Their pool does not answer, fails, or is detached; one such pool is no reason to leave out
        the others.
        """
        silent = []
        for job in self.store.list_jobs(active=True):
            try:
                await self.refresh(job.id)
            except (PoolError, PoolNotFound):  # noqa: PERF203 - each pool speaks for itself
                silent.append(job.id)
            except JobNotFound:  # another process has removed it meanwhile
                continue
        return silent

    async def reconcile(self, name: str) -> Reconciled:
        """Hold the record of a pool against what really is there.

        Pending jobs whose launcher is gone are bound or failed. Orphans (jobs that run there, and
        are not in the record or were given up in it) are only reported.
        """
        handles = await self.pool(name).jobs()
        bound, failed = [], []
        for job in self.store.list_jobs(pool=name, active=True):
            if job.handle is None and job.state is JobState.PENDING:
                await self._settle_pending(job)
                now = self.store.get_job(job.id)
                if now.handle is not None:
                    bound.append(job.id)
                elif now.state.final:
                    failed.append(job.id)
        known = {
            job.id
            for job in self.store.list_jobs(pool=name)
            if job.handle is not None or not job.state.final
        }
        orphans = []
        for handle in handles:
            if handle.data["job"] not in known:
                seen = await self.pool(name).observe(handle)
                if not seen.state.final:
                    orphans.append(str(handle.data["job"]))
        return Reconciled(bound=tuple(bound), failed=tuple(failed), orphans=tuple(orphans))

    async def aclose(self) -> None:
        """Let go of pools and store. Idempotent."""
        for _, pool in self._open.values():
            await pool.aclose()
        self._open.clear()
        self.store.close()


def _check_name(what: str, name: str) -> None:
    if not name or len(name) > _NAME_LENGTH or not set(name) <= _NAME_CHARACTERS:
        raise UsageError(
            f"{name!r} is no name for a {what}",
            hint=f"up to {_NAME_LENGTH} letters, digits and - _ . make a name",
        )


def _news(job: Job, seen: Observation) -> bool:
    """Whether `seen` says anything that the record does not."""
    if job.seen is None:
        return True
    return dataclasses.replace(seen, seen_at=job.seen.seen_at) != job.seen


async def _nothing() -> AsyncIterator[LogChunk]:
    if False:  # what makes this a generator
        yield
