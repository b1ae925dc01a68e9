"""The record of a pool held against what really is there."""

from __future__ import annotations

from dataclasses import dataclass

from jupyter_aiinfra.engine.attached import Attached
from jupyter_aiinfra.engine.launches import Launches
from jupyter_aiinfra.model import JobState
from jupyter_aiinfra.store import Store

__all__ = ["Reconciled", "reconcile"]


@dataclass(frozen=True, kw_only=True)
class Reconciled:
    """What a reconcile of one pool found and did, as job ids."""

    bound: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    orphans: tuple[str, ...] = ()


async def reconcile(store: Store, pools: Attached, launches: Launches, *, name: str) -> Reconciled:
    """Settle the pending jobs of a pool, and find its orphans; see the engine's verb."""
    handles = await pools.pool(name).jobs()
    bound, failed = [], []
    for job in store.list_jobs(pool=name, active=True):
        if job.handle is None and job.state is JobState.PENDING:
            await launches.settle_pending(job)
            now = store.get_job(job.id)
            if now.handle is not None:
                bound.append(job.id)
            elif now.state.final:
                failed.append(job.id)
    known = {
        job.id
        for job in store.list_jobs(pool=name)
        if job.handle is not None or not job.state.final
    }
    orphans = []
    for handle in handles:
        if handle.data["job"] not in known:
            seen = await pools.pool(name).observe(handle)
            if not seen.state.final:
                orphans.append(str(handle.data["job"]))
    return Reconciled(bound=tuple(bound), failed=tuple(failed), orphans=tuple(orphans))
