"""From a job on record to one that its pool has, and back: submit, settle, cancel."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Final

from jupyter_aiinfra.bundle import Bundle
from jupyter_aiinfra.engine.attached import Attached
from jupyter_aiinfra.environments import BuildStep, Report
from jupyter_aiinfra.errors import StorageFull, SubmitError, Unreachable
from jupyter_aiinfra.model import Desired, Handle, Job, JobState, Plan
from jupyter_aiinfra.node import supervise
from jupyter_aiinfra.pools.base import Building, Pool
from jupyter_aiinfra.store import Store

__all__ = ["NEVER_STARTED", "Launches"]

NEVER_STARTED: Final = "it was still waiting for GPUs"
"""Why a job was cancelled that was queued."""


def _untold(_node: str, _step: BuildStep) -> None:
    """Take the report of a build that nobody asked to hear of."""


class Launches:
    """Binds jobs and pools together. Holds nothing but who wants to hear of a build."""

    def __init__(self, store: Store, pools: Attached) -> None:
        self._store = store
        self._pools = pools
        self._reports: dict[str, Report] = {}

    def listen(self, job_id: str, report: Report) -> None:
        """Let `report` hear how far the environment of a job is that is about to be submitted."""
        self._reports[job_id] = report

    async def submit(self, plan: Plan, bundle: Bundle, secrets: Mapping[str, str]) -> Job:
        """Give a recorded job to its pool, and write down which it is there.

        Raises
        ------
        SubmitError, StorageFull, Unreachable
            The job is recorded as failed, with the reason; nothing of it is left running.
        """
        job = plan.job
        pool = self._pools.pool(job.pool)
        await self._prepare(pool, plan, bundle)
        submitting = asyncio.ensure_future(pool.submit(plan, bundle, secrets=secrets))
        try:
            handle = await asyncio.shield(submitting)
        except asyncio.CancelledError:
            await self._take_back(job, submitting)
            raise
        except Exception as error:
            # Whatever stopped the submit, the record must not stay pending for ever.
            told = isinstance(error, (SubmitError, StorageFull))
            reason = str(error) or type(error).__name__
            self._store.fail_pending(job.id, reason=reason, keep_leases=not told)
            raise
        bound = self._store.bind(job.id, handle=handle)
        now = self._store.get_job(job.id)
        if not bound and now.handle != handle:
            said = f"job {job.id} was given up by another process while it was being started"
            try:
                await pool.cancel(handle, grace=0.0)
            except Unreachable as error:
                hint = f"it may run there: %pool reconcile {job.pool} tells once the pool answers"
                raise SubmitError(f"{said}, and {error.message}", hint=hint) from error
            raise SubmitError(said, hint="nothing of it is left running; launch it again")
        return now

    async def _prepare(self, pool: Pool, plan: Plan, bundle: Bundle) -> None:
        """Let the pool build what the job needs. Nothing of it is on the pool yet, should that end.

        Raises
        ------
        SubmitError, StorageFull, Unreachable
            It could not be built, or the job was cancelled meanwhile. The job is recorded as over.
        """
        job = plan.job
        if job.spec.environment is None or not isinstance(pool, Building):
            return
        report = self._reports.pop(job.id, _untold)
        try:
            await pool.prepare(plan, bundle, report)
        except asyncio.CancelledError:
            self._store.fail_pending(
                job.id, reason="interrupted while its environment was being built"
            )
            raise
        except Exception as error:
            self._store.fail_pending(job.id, reason=str(error) or type(error).__name__)
            raise
        if self._store.get_job(job.id).desired is Desired.STOP:
            reason = "cancelled while its environment was being built"
            self._store.fail_pending(job.id, reason=reason)
            raise SubmitError(f"job {job.id} was {reason}", hint="the environment is kept")

    async def _take_back(self, job: Job, submitting: asyncio.Future[Handle]) -> None:
        """End a job whose launch was interrupted: half a submit cannot be told from a whole one."""
        # The wish first: should we be killed now, who finds the job ends it.
        await self.cancel(job.id)
        try:
            handle = await submitting
        except Exception as error:  # noqa: BLE001 - the interrupt is what is reported
            told = isinstance(error, (SubmitError, StorageFull))
            reason = f"interrupted while starting; {error}"
            self._store.fail_pending(job.id, reason=reason, keep_leases=not told)
            return
        self._store.bind(job.id, handle=handle)
        await self.cancel(job.id, grace=0.0)

    async def settle_pending(self, job: Job) -> None:
        """Bind or fail a job whose launching process is gone; leave it alone while that lives."""
        process, host, since = job.spec.origin.process, job.spec.origin.host, job.created_at
        if job.submitter is not None:
            process, host, since = job.submitter.process, job.submitter.host, job.submitter.since
        here = host == socket.gethostname()
        if process and here and supervise.alive(dict(process)):
            return
        if not here and time.time() - since < job.spec.start_timeout_seconds:
            return
        await self._bind_or_fail(job, await self._pools.pool(job.pool).jobs())

    async def _bind_or_fail(self, job: Job, handles: Sequence[Handle]) -> bool:
        for handle in handles:
            if handle.data["job"] == job.id:
                return self._store.bind(job.id, handle=handle)
        self._store.fail_pending(
            job.id, reason="the process that launched it ended before the job reached its pool"
        )
        return False

    async def cancel(self, job_id: str, *, grace: float | None = None) -> Job:
        """Desire the end of a job and ask its pool for it. A job that is over is left as it is.

        Where the pool cannot be reached the wish is kept, and asked for again by the next
        refresh that gets through; Unreachable is raised all the same.
        """
        job = self._store.get_job(job_id)
        while not job.state.final and job.desired is not Desired.STOP:
            try:
                self._store.request(job.id, expected=job.version, desired=Desired.STOP)
            except StorageFull:
                break  # the disk may be what the job is to be stopped for
            job = self._store.get_job(job.id)
        if job.state is JobState.QUEUED:
            # If it is claimed just now, it is pending: who starts it finds the wish on record.
            self._store.end_queued(job.id, state=JobState.CANCELLED, reason=NEVER_STARTED)
            job = self._store.get_job(job.id)
        if not job.state.final and job.handle is not None:
            wait = job.spec.grace_seconds if grace is None else grace
            await self._pools.pool(job.pool).cancel(job.handle, grace=wait)
        return job
