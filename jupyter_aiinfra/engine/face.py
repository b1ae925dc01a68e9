"""The face of the engine: every verb, each a call to what knows how."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import getpass
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jupyter_aiinfra.bundle import Bundle, stored
from jupyter_aiinfra.cost.ledger import SETTLE_SECONDS, Ledger, PoolPrice
from jupyter_aiinfra.cost.terms import PriceOptions
from jupyter_aiinfra.engine.attached import Attached, PoolCheck, PoolOpener, PoolView, check_name
from jupyter_aiinfra.engine.costing import Costing
from jupyter_aiinfra.engine.endpoints import Endpoints
from jupyter_aiinfra.engine.launches import Launches
from jupyter_aiinfra.engine.notifying import Notifying
from jupyter_aiinfra.engine.poolfired import PoolFired
from jupyter_aiinfra.engine.queue import Queue
from jupyter_aiinfra.engine.reconciling import ADOPTED, Reconciled, Reconciling
from jupyter_aiinfra.engine.results import Results
from jupyter_aiinfra.engine.running import Running
from jupyter_aiinfra.engine.scheduling import Scheduling
from jupyter_aiinfra.environments import BuiltEnvironment, Report
from jupyter_aiinfra.errors import (
    Conflict,
    JobNotFound,
    PoolError,
    PoolInUse,
    PoolNotFound,
    StorageFull,
    StoreError,
    Unreachable,
    UsageError,
)
from jupyter_aiinfra.governance import Governor
from jupyter_aiinfra.leases import Turn
from jupyter_aiinfra.model import (
    Desired,
    Job,
    JobSpec,
    JobState,
    LogChunk,
    Node,
    Observation,
    Placement,
    Plan,
    new_job_id,
)
from jupyter_aiinfra.node import supervise
from jupyter_aiinfra.pools import open_pool
from jupyter_aiinfra.pools.abilities import (
    Confirm,
    Reclaimed,
    Surveying,
    Tell,
    Telling,
    Transferred,
    Transferring,
    TransferStep,
)
from jupyter_aiinfra.pools.base import (
    Adopting,
    Building,
    Collecting,
    Holding,
    Leased,
    Pool,
    RankStacks,
    StackDumping,
)
from jupyter_aiinfra.progress import settled, steadied
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store
from jupyter_aiinfra.telemetry import Telemetry

__all__ = ["Engine"]

# How often steps alone are worth a write to the record.
_PROGRESS_SECONDS = 2.0
_LEAKS_SECONDS = 15.0


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

    Attributes
    ----------
    telemetry
        What the GPUs of the pools do, live and over time.
    ledger
        What pools cost, and what jobs have cost.
    costing
        What jobs will cost, and would elsewhere.
    governor
        Budgets, and what is done about GPUs that nobody uses.
    runs
        Notebooks as jobs: what is frozen, launched and kept of them.
    notebooks
        What versions and runs hold, to be looked at, and what differs.
    notifying
        Who is told elsewhere what has become of them.
    schedules
        What runs when, and is recorded.
    endpoints
        Models that are served, and how that changes.
    """

    def __init__(self, store: Store, settings: Settings, *, opener: PoolOpener = open_pool) -> None:
        self.store = store
        self.settings = settings
        self.ledger = Ledger(store)
        self._pools = Attached(store, settings, opener=opener, ledger=self.ledger)
        self.costing = Costing(store, self.ledger, self._pools)
        self.telemetry = Telemetry(store, self._pools.pool)
        self._launches = Launches(store, self._pools)
        self._queue = Queue(store, settings, self._pools, self._launches)
        self._reconciling = Reconciling(store, self._pools, self._launches)
        self.governor = Governor(
            store,
            settings,
            ledger=self.ledger,
            telemetry=self.telemetry,
            stop=lambda job_id, grace: self._launches.cancel(job_id, grace=grace),
        )
        self.runs = Running(store, settings, launch=self.launch, pool=self.pool)
        self.notebooks = Results(store, settings, left=self.runs.left)
        self.notifying = Notifying(store, settings)
        self.schedules = Scheduling(
            store,
            settings,
            runner=self.runs,
            refresh=self.refresh,
            cancel=self.cancel,
            until_gone=self.until_gone,
            nodes=PoolFired(store, settings, pool=self.pool),
        )
        self.endpoints = Endpoints(
            store,
            settings,
            ledger=self.ledger,
            launch=self.launch,
            refresh=self.refresh,
            cancel=self.cancel,
            pool=self.pool,
        )
        self._leaks_told = False

    # --- pools ---------------------------------------------------------------------------------

    async def attach(
        self,
        name: str,
        *,
        kind: str,
        options: Mapping[str, Any] | None = None,
        confirm: Confirm | None = None,
    ) -> PoolView:
        """Attach a pool under `name`. It is asked for its nodes first; nothing is kept on failure.

        Attaching the same pool again under its name is no error: a notebook is run more than once.
        `confirm` is asked once about each host key that nobody has accepted yet.

        Raises
        ------
        UsageError
            A name, kind or option that cannot be.
        PoolExists
            The name is taken by another pool.
        HostKeyUnknown
            Of one of its hosts: `confirm` did not accept it, or there is nobody to ask.
        Unreachable
            The pool does not answer.
        """
        return await self._pools.attach(name, kind=kind, options=options, confirm=confirm)

    async def detach(self, name: str, *, force: bool = False) -> None:
        """Forget a pool. Its jobs and their run directories stay as they are.

        Raises
        ------
        PoolInUse
            Jobs on it are not over, and `force` is false.
        """
        await self._pools.detach(name, force=force)

    def pool(self, name: str) -> Pool:
        """Return the open pool of that name.

        Raises
        ------
        PoolNotFound
            No such pool is attached.
        Unreachable
            What it was attached with holds no longer.
        """
        return self._pools.pool(name)

    async def pools(self) -> Sequence[PoolView]:
        """Return every attached pool as seen now, by name."""
        return await self._pools.pools()

    async def show_pool(self, name: str) -> PoolView:
        """Return one attached pool as seen now; an unreachable one says so and is no error."""
        return await self._pools.show_pool(name)

    async def nodes(self, name: str) -> Sequence[Node]:
        """Return the nodes of a pool as of now; raises Unreachable where it does not answer.

        A launch that follows at once relies on them, and does not ask the pool again.
        """
        nodes = await self._pools.nodes(name)
        self._queue.seen(name, nodes)
        return nodes

    async def check(
        self, name: str, *, confirm: Confirm | None = None, tell: Tell | None = None
    ) -> PoolCheck:
        """Look into all that jobs need of a pool, nodes that do not answer too.

        `confirm` is asked about each host key that nobody has accepted yet; `tell` hears what is
        being done. Changes nothing but what `confirm` accepts.
        """
        return await self._pools.check(name, confirm=confirm, tell=tell)

    async def put_files(
        self,
        name: str,
        source: Path,
        target: str,
        *,
        nodes: Sequence[str] = (),
        report: Callable[[TransferStep], None],
    ) -> Sequence[Transferred]:
        """Copy files to nodes of a pool; see :class:`~.pools.abilities.Transferring`."""
        pool = self._transferring(name)
        return await pool.put_files(source, target, nodes=nodes, report=report)

    async def get_files(
        self,
        name: str,
        source: str,
        target: Path,
        *,
        node: str | None = None,
        report: Callable[[TransferStep], None],
    ) -> Transferred:
        """Copy files of a node of a pool to here; see :class:`~.pools.abilities.Transferring`."""
        return await self._transferring(name).get_files(source, target, node=node, report=report)

    def _transferring(self, name: str) -> Transferring:
        pool = self.pool(name)
        if not isinstance(pool, Transferring):
            raise UsageError(
                f"the nodes of pool {name} have no files of their own",
                hint="its jobs see the files of this machine",
            )
        return pool

    async def environments(self, name: str) -> Sequence[tuple[str, BuiltEnvironment]]:
        """Return the environments that were built on a pool's nodes, with the node's name.

        Raises
        ------
        UsageError
            The pool builds none.
        """
        return await self._building(name).environments()

    async def remove_environment(
        self, name: str, digest: str
    ) -> Sequence[tuple[str, BuiltEnvironment]]:
        """Remove environments from a pool's nodes by the beginning of their digest.

        Raises
        ------
        PoolInUse
            A job that is not over runs in one of them.
        NotFound, PoolError
            There is none; a process uses it.
        """
        pool = self._building(name)
        for job in self.store.list_jobs(pool=name, active=True):
            own = job.spec.environment
            if own is not None and own.digest.startswith(digest):
                raise PoolInUse(
                    f"environment {digest} is that of job {job.id}, which is {job.state.value}",
                    hint=f"wait for its end, or %jobs cancel {job.id}",
                )
        return await pool.remove_environment(digest)

    def _building(self, name: str) -> Building:
        pool = self.pool(name)
        if not isinstance(pool, Building):
            raise UsageError(
                f"pool {name} builds no environments",
                hint="its jobs run in the Python that is there",
            )
        return pool

    # --- jobs: launch --------------------------------------------------------------------------

    async def plan(self, pool: str, spec: JobSpec, *, job_id: str | None = None) -> Plan:
        """Lay a job out on a pool. Changes nothing."""
        check_name("job", spec.name)
        job = Job(id=job_id or new_job_id(), pool=pool, spec=spec)
        return await self._pools.pool(pool).plan(job)

    async def launch(
        self,
        pool: str,
        spec: JobSpec,
        bundle: Bundle,
        *,
        secrets: Mapping[str, str] | None = None,
        job_id: str | None = None,
        report: Report | None = None,
        over_budget: bool = False,
    ) -> Job:
        """Record a job, start it on its pool and bind the two together.

        Where the GPUs of the pool are leased and not free, the job is returned as queued: any
        process that looks at it starts it when its turn has come.

        Should this process die in between, :meth:`reconcile` finds the half-made job from any
        other process and binds or fails it.

        Parameters
        ----------
        over_budget
            Somebody has said that it may begin although a budget that asks is spent.

        Raises
        ------
        BudgetSpent
            A budget that counts it is spent. Nothing is recorded of the job.
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
        self.governor.admit(plan.job.spec, pool=pool, job_id=plan.job.id, over_budget=over_budget)
        if report is not None and spec.environment is not None:
            self._launches.listen(plan.job.id, report)
        if (spec.gpus or spec.nodes > 1) and isinstance(self._pools.pool(pool), Leased):
            return await self._queue.launch(plan.job, bundle, secrets or {})
        plan = _placed(plan)
        self.store.add_job(plan.job)
        return await self._launches.submit(plan, bundle, secrets or {})

    async def rerun(self, job_id: str, *, secrets: Mapping[str, str] | None = None) -> Job:
        """Launch the same job again: same code, same data, same pool, as a new job."""
        old = self.store.get_job(job_id)
        if ADOPTED in old.spec.labels:
            raise Conflict(
                f"job {old.id} was adopted from its nodes: its code is not on this machine",
                hint="launch it from its notebook or script",
            )
        elsewhere = isinstance(self._pools.pool(old.pool), Holding)
        bundle = stored(old.spec.files, blobs=self.settings.blobs, elsewhere=elsewhere)
        return await self.launch(old.pool, old.spec, bundle, secrets=secrets)

    # --- jobs: watch ---------------------------------------------------------------------------

    async def refresh(self, job_id: str) -> Job:
        """Observe a job and write down what changed; return its record.

        Also takes the next step towards what is desired: a stop not yet known to the node is asked
        for again, a job without a supervisor gets one, a queued one whose turn has come is started
        (with it those of its pool that are ahead). An unreachable pool changes nothing and
        raises :class:`~jupyter_aiinfra.errors.Unreachable`.
        """
        job = self.store.get_job(job_id)
        if job.state.final:
            return job
        if job.state is JobState.QUEUED:
            await self._queue.advance(job.pool)
            return self.store.get_job(job.id)
        if job.handle is None:
            await self._launches.settle_pending(job)
            return self.store.get_job(job.id)
        pool = self._pools.pool(job.pool)
        seen = _explained(job, await pool.observe(job.handle))
        if _news(job, seen):
            job = self._write_down(job, seen)
        elif job.seen is not None and seen.ranks != job.seen.ranks:
            job = dataclasses.replace(job, seen=seen)
        if seen.state.final:
            self._queue.nudge(job.pool)
        else:
            await self._step(pool, job, seen)
            await self.governor.glance()
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
            await pool.cancel(job.handle, grace=_grace(job))

    def logs(
        self, job_id: str, *, rank: int = 0, offset: int = 0, follow: bool = False
    ) -> AsyncIterator[LogChunk]:
        """Yield a rank's log from a byte offset; see :meth:`.pools.base.Pool.logs`."""
        job = self.store.get_job(job_id)
        if job.handle is None:
            return _nothing()
        return self._pools.pool(job.pool).logs(job.handle, rank=rank, offset=offset, follow=follow)

    async def dump_stacks(self, job_id: str) -> Sequence[RankStacks]:
        """Have all ranks of a job write where they are into their logs; they go on.

        Raises
        ------
        PoolError
            Its pool cannot ask them.
        """
        job = self.store.get_job(job_id)
        if job.handle is None or job.state.final:
            return ()
        pool = self._pools.pool(job.pool)
        if not isinstance(pool, StackDumping):
            raise PoolError(
                f"pool {job.pool} ({pool.kind}) cannot ask ranks for their stacks",
                hint=f"%jobs logs {job.id} shows what they printed",
            )
        return await pool.dump_stacks(job.handle)

    async def results(self, job_id: str) -> Path | None:
        """Return a local folder with what the job's ``--fetch`` saved, or ``None``."""
        job = self.store.get_job(job_id)
        return await self._pools.pool(job.pool).results(job.handle) if job.handle else None

    async def artifacts(self, job_id: str) -> Path | None:
        """Return a local folder with the files that the job has declared, or ``None``."""
        job = self.store.get_job(job_id)
        if job.handle is None:
            return None
        pool = self._pools.pool(job.pool)
        return await pool.artifacts(job.handle) if isinstance(pool, Collecting) else None

    # --- jobs: end -----------------------------------------------------------------------------

    async def cancel(self, job_id: str, *, grace: float | None = None) -> Job:
        """Desire the end of a job and ask its pool for it. A job that is over is left as it is.

        Where the pool cannot be reached the wish is kept, and asked for again by the next
        :meth:`refresh` that gets through; Unreachable is raised all the same.
        """
        return await self._launches.cancel(job_id, grace=grace)

    async def until_gone(self, job_id: str) -> bool:
        """Wait until a job may be over; ``False`` at once where its pool does not tell that."""
        job = self.store.get_job(job_id)
        pool = self._pools.pool(job.pool) if job.handle is not None else None
        if job.handle is None or not isinstance(pool, Telling):
            return False
        await pool.until_gone(job.handle)
        return True

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
            await self._pools.pool(job.pool).remove(job.handle)
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
        queued: dict[str, list[str]] = {}
        for job in self.store.list_jobs(active=True):
            if job.state is JobState.QUEUED:
                queued.setdefault(job.pool, []).append(job.id)
                continue
            try:
                await self.refresh(job.id)
            except (PoolError, PoolNotFound):
                silent.append(job.id)
            except JobNotFound:  # another process has removed it meanwhile
                continue
        for pool, ids in queued.items():
            try:
                await self._queue.advance(pool)
            except (PoolError, PoolNotFound):  # noqa: PERF203 - each pool speaks for itself
                silent += ids
        await self.settle(older_than=SETTLE_SECONDS)
        await self.govern()
        return silent

    async def govern(self) -> float:
        """Have budgets and the idle policy act; return how soon to look again.

        Where there is no room for it, or no time, it is done with the next look.
        """
        try:
            return await self.governor.look()
        except (StoreError, StorageFull):
            return SETTLE_SECONDS

    async def settle(self, *, older_than: float = 0.0) -> None:
        """Bring what jobs have cost up to date; see :meth:`.Ledger.settle`.

        Where there is no room for it, or no time, it is done with the next look.
        """
        with contextlib.suppress(StoreError, StorageFull):
            await asyncio.to_thread(self.ledger.settle, older_than=older_than)

    def set_price(self, name: str, asked: PriceOptions, *, since: float | None = None) -> PoolPrice:
        """Say what a pool costs from now on, or has cost since an earlier time.

        Raises
        ------
        PoolNotFound
            No such pool is attached.
        UsageError
            What was said is no price, or a time to come.
        """
        self.store.get_pool(name)
        if since is not None and since > time.time():
            raise UsageError("a price holds from now on, or from an earlier time")
        return self.ledger.set_price(name, self._pools.terms(asked), since=since)

    async def queue(self, pool: str) -> Sequence[Turn]:
        """Return the jobs that wait for GPUs of a pool, in the order of their turns, and why."""
        return await self._queue.positions(pool)

    async def reconcile(self, name: str, *, dry_run: bool = False) -> Reconciled:
        """Hold the record of a pool against what really is there.

        Pending jobs whose launcher is gone are bound or failed; queued ones wait on. Jobs on record
        that are gone there are refreshed, which says so. GPUs that were kept for a job that was
        given up are freed if nothing of it is there. Orphans (what is there, and not in the record
        or given up in it) are only reported. With `dry_run` nothing is changed.

        Raises
        ------
        Unreachable
            No node of the pool answers.
        """
        if not dry_run:
            with contextlib.suppress(Unreachable):  # a node that is silent frees nothing
                await self._queue.settle_leases(name)
        found = await self._reconciling.reconcile(name, dry_run=dry_run)
        for job_id in () if dry_run else found.ghosts:
            with contextlib.suppress(Unreachable):
                await self.refresh(job_id)
        return found

    async def leaks(self, *, everywhere: bool = False) -> Mapping[str, Reconciled]:
        """Look once for what nobody records, on the pools that can tell, and return where it is.

        Only on pools that have jobs, which are asked anyway, unless `everywhere`. Changes nothing,
        and leaves out the pools that do not answer. A second call returns nothing.
        """
        if self._leaks_told:
            return {}
        self._leaks_told = True
        jobs = self.store.list_jobs(active=True)
        names = {job.pool for job in jobs if job.state is not JobState.QUEUED}
        if everywhere:
            names = {record.name for record in self.store.list_pools()}
        found = await asyncio.gather(*(self._leaks_of(name) for name in sorted(names)))
        return {name: each for name, each in zip(sorted(names), found, strict=True) if each}

    async def _leaks_of(self, name: str) -> Reconciled | None:
        try:
            if not isinstance(self.pool(name), Surveying):
                return None
            looking = self._reconciling.reconcile(name, dry_run=True)
            found = await asyncio.wait_for(looking, _LEAKS_SECONDS)
        except (PoolError, PoolNotFound, asyncio.TimeoutError):
            return None
        return found if found.orphans else None

    async def adopt_orphan(self, name: str, job_id: str) -> Job:
        """Take a job that is on a pool, and that nothing records, into the record.

        What its nodes know of it is enough to watch, stop and fetch it, but not to run it again:
        its code and data are on the nodes alone.

        Raises
        ------
        Conflict
            It is on record, has no run directory, or its GPUs are another's by now.
        NotFound, Unreachable
            There is no such orphan; no node answers.
        """
        await self._reconciling.adopt(name, job_id)
        return await self.refresh(job_id)

    async def reclaim(self, name: str, job_id: str) -> Sequence[Reclaimed]:
        """End what a pool has of a job that no record answers for, and remove its run directories.

        Only what carries our tag, is this user's, and lies in the folder of the pool. Another
        database of the same user may record it all the same: ask a person first.

        Raises
        ------
        Conflict, NotFound
            The job is on record; there is no such orphan.
        """
        return await self._reconciling.reclaim(name, job_id)

    async def aclose(self) -> None:
        """Let go of pools and store. Idempotent."""
        await self.telemetry.aclose()
        await self.schedules.firing.aclose()
        await self.runs.aclose()
        await self.endpoints.keeping.aclose()
        await self._queue.aclose()
        await self._pools.aclose()
        self.store.close()


def _placed(plan: Plan) -> Plan:
    """Return a plan whose job says where it will be, so that the record does."""
    if plan.job.placement:
        return plan
    placement = tuple(Placement(node=node.node, gpus=node.gpus) for node in plan.nodes)
    return dataclasses.replace(plan, job=dataclasses.replace(plan.job, placement=placement))


def _grace(job: Job) -> float:
    """Return how long a job may take to end: who stops it may allow more than it has asked for."""
    notice = job.notice
    if notice is not None and notice.kind == "stop" and notice.grace_seconds is not None:
        return notice.grace_seconds
    return job.spec.grace_seconds


def _explained(job: Job, seen: Observation) -> Observation:
    """Return what was seen of a job, with the reason for which it was stopped: its node has none.

    And with its last signs of life as they are on record, if they are hardly any later.
    """
    seen = steadied(seen, job.seen)
    notice = job.notice
    if seen.state is JobState.CANCELLED and notice is not None and notice.kind == "stop":
        return dataclasses.replace(seen, reason=notice.text)
    return seen


def _news(job: Job, seen: Observation) -> bool:
    """Whether `seen` says anything that the record does not."""
    old = job.seen
    if old is None or seen.seen_at - old.seen_at >= _PROGRESS_SECONDS:
        return old is None or dataclasses.replace(seen, seen_at=old.seen_at) != old
    # How far the ranks are changes at every look: whoever looks sees it, the record now and then.
    return settled(dataclasses.replace(seen, seen_at=old.seen_at)) != settled(old)


async def _nothing() -> AsyncIterator[LogChunk]:
    if False:  # what makes this a generator
        yield
