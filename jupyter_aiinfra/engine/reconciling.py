"""The record of a pool held against what really is there, and what is done about the difference."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from jupyter_aiinfra.engine.attached import Attached
from jupyter_aiinfra.engine.launches import Launches
from jupyter_aiinfra.errors import Conflict, NotFound, Unreachable, UsageError
from jupyter_aiinfra.model import Handle, Job, JobKind, JobSpec, JobState, Origin, Placement
from jupyter_aiinfra.pools.abilities import (
    NodeSurvey,
    ProcessTrace,
    Reclaimed,
    RunTrace,
    Surveying,
)
from jupyter_aiinfra.pools.base import Pool
from jupyter_aiinfra.store import Store

__all__ = ["ADOPTED", "Orphan", "Reconciled", "Reconciling"]

ADOPTED = "adopted"
"""The label of a job that was taken into the record from what its nodes knew of it."""

_ENDING_GRACE_SECONDS = 5.0
_FAREWELL_SECONDS = 90.0


@dataclass(frozen=True, kw_only=True)
class Orphan:
    """Something of ours on a pool that no record answers for, and why it is none.

    ``runs`` says whether anything of it lives. ``nodes`` are where it was found. The others are
    what its orders tell.
    """

    job: str
    why: str
    runs: bool
    nodes: tuple[str, ...] = ()
    processes: int = 0
    name: str | None = None
    host: str | None = None
    user: str | None = None


@dataclass(frozen=True, kw_only=True)
class Reconciled:
    """What a reconcile of one pool found and did, as job ids.

    ``bound`` and ``failed`` were left half-launched. ``undecided`` may have been, and a node that
    would know does not answer. ``orphans`` run, or seem to, and nobody records them; ``leftovers``
    are over, and only their files are left. ``ghosts`` are on record and gone there, ``partial`` on
    some of their nodes (each with those that lack it). ``silent`` are nodes that do not answer, and
    why. With ``dry_run``, nothing was done.
    """

    bound: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    orphans: tuple[str, ...] = ()
    undecided: tuple[str, ...] = ()
    ghosts: tuple[str, ...] = ()
    partial: Mapping[str, tuple[str, ...]] | None = None
    leftovers: tuple[str, ...] = ()
    found: tuple[Orphan, ...] = ()
    silent: Mapping[str, str] | None = None
    dry_run: bool = False


class Reconciling:
    """Finds what is wrong between the record and the pools; mends what is safe to mend."""

    def __init__(self, store: Store, pools: Attached, launches: Launches) -> None:
        self._store = store
        self._pools = pools
        self._launches = launches

    async def reconcile(self, name: str, *, dry_run: bool = False) -> Reconciled:
        """Settle the pending jobs of a pool, and find its orphans; see the engine's verb."""
        pool = self._pools.pool(name)
        surveys: Sequence[NodeSurvey] = ()
        if isinstance(pool, Surveying):
            surveys = await pool.survey()
            if all(each.problem is not None for each in surveys):
                raise Unreachable(surveys[0].problem or "no node answers")
            runs = [run for each in surveys for run in each.runs]
            there = {run.job: pool.handle_of(run) for run in runs}
        else:
            handles = await pool.jobs()
            there = {str(handle.data["job"]): handle for handle in handles}
        certain = all(each.problem is None for each in surveys)
        bound, failed, undecided = await self._settle(name, there, certain=certain, dry_run=dry_run)
        if isinstance(pool, Surveying):
            orphans = self._orphans(surveys)
        else:
            orphans = await self._running(pool, handles)
        ghosts, partial = self._missing(name, surveys)
        return Reconciled(
            bound=tuple(bound),
            failed=tuple(failed),
            undecided=tuple(undecided),
            orphans=tuple(each.job for each in orphans if each.runs),
            leftovers=tuple(each.job for each in orphans if not each.runs),
            found=tuple(orphans),
            ghosts=tuple(ghosts),
            partial=partial or None,
            silent={each.node: each.problem for each in surveys if each.problem} or None,
            dry_run=dry_run,
        )

    # --- half-launched ---------------------------------------------------------------------------

    async def _settle(
        self, name: str, there: Mapping[str, Handle], *, certain: bool, dry_run: bool
    ) -> tuple[list[str], list[str], list[str]]:
        bound: list[str] = []
        failed: list[str] = []
        undecided: list[str] = []
        for job in self._store.list_jobs(pool=name, states=[JobState.PENDING]):
            if job.handle is not None or not self._launches.is_abandoned(job):
                continue
            if job.id in there:
                if dry_run or self._store.bind(job.id, handle=there[job.id]):
                    bound.append(job.id)
            elif not certain:
                undecided.append(job.id)
            elif dry_run:
                failed.append(job.id)
            else:
                await self._launches.settle_pending(job)
                now = self._store.get_job(job.id)
                if now.handle is not None:
                    bound.append(job.id)
                elif now.state.final:
                    failed.append(job.id)
        return bound, failed, undecided

    # --- there, and not on record ----------------------------------------------------------------

    def _known(self) -> dict[str, Job]:
        """Return the jobs that the record answers for, those of other pools on the nodes too."""
        # One that was given up before it reached its pool should not be there.
        jobs = self._store.list_jobs()
        return {job.id: job for job in jobs if job.handle is not None or not job.state.final}

    async def _running(self, pool: Pool, handles: Sequence[Handle]) -> list[Orphan]:
        known = self._known()
        found = []
        for handle in handles:
            job_id = str(handle.data["job"])
            if job_id not in known and not (await pool.observe(handle)).state.final:
                found.append(Orphan(job=job_id, why="nothing records it", runs=True))
        return found

    def _orphans(self, surveys: Sequence[NodeSurvey]) -> list[Orphan]:
        known = self._known()
        runs: dict[str, list[RunTrace]] = {}
        living: dict[str, list[ProcessTrace]] = {}
        for each in surveys:
            for run in each.runs:
                runs.setdefault(run.job, []).append(run)
            for process in each.processes:
                living.setdefault(process.job, []).append(process)
        found = []
        for job_id in sorted(runs.keys() | living.keys()):
            mine, alive = runs.get(job_id, []), living.get(job_id, [])
            why = _why(known.get(job_id), mine, alive)
            if why is None:
                continue
            orders = mine[0].orders if mine else {}
            origin = orders.get("origin") or {}
            nodes = dict.fromkeys([*(run.node for run in mine), *(each.node for each in alive)])
            found.append(
                Orphan(
                    job=job_id,
                    why=why,
                    runs=bool(alive) or not all(run.over for run in mine),
                    nodes=tuple(nodes),
                    processes=len(alive),
                    name=orders.get("name"),
                    host=origin.get("host"),
                    user=origin.get("user"),
                )
            )
        return found

    # --- on record, and not there ----------------------------------------------------------------

    def _missing(
        self, name: str, surveys: Sequence[NodeSurvey]
    ) -> tuple[list[str], dict[str, tuple[str, ...]]]:
        asked = {each.node: {run.job for run in each.runs} for each in surveys if not each.problem}
        ghosts, partial = [], {}
        for job in self._store.list_jobs(pool=name, active=True):
            names = list((job.handle.data if job.handle else {}).get("nodes", ()))
            lacking = tuple(node for node in names if node in asked and job.id not in asked[node])
            if names and len(lacking) == len(names):
                ghosts.append(job.id)
            elif lacking:
                partial[job.id] = lacking
        return ghosts, partial

    # --- what is only done when asked for --------------------------------------------------------

    async def reclaim(self, name: str, job_id: str) -> Sequence[Reclaimed]:
        """End what a pool has of a job that no record answers for; see the engine's verb."""
        pool = self._surveying(name)
        orphan = next((o for o in self._orphans(await pool.survey()) if o.job == job_id), None)
        if orphan is None:
            raise self._no_orphan(name, job_id)
        return await pool.reclaim(job_id, grace=_ENDING_GRACE_SECONDS)

    async def adopt(self, name: str, job_id: str) -> Job:
        """Take a job that a pool has into the record; see the engine's verb."""
        pool = self._surveying(name)
        surveys = await pool.survey()
        runs = [run for each in surveys for run in each.runs if run.job == job_id]
        if not any(each.job == job_id for each in self._orphans(surveys)):
            raise self._no_orphan(name, job_id)
        recorded = next((job for job in self._store.list_jobs() if job.id == job_id), None)
        if recorded is not None:
            raise Conflict(
                f"job {job_id} is on record already, as {recorded.state.value}",
                hint=f"%jobs remove {job_id} forgets that; then it can be adopted, or --reclaim it",
            )
        if not runs:
            raise Conflict(
                f"job {job_id} has processes and no run directory: nothing says what it is",
                hint=f"%pool reconcile {name} --reclaim ends it",
            )
        names = {each.node for each in surveys}
        foreign = [node for node in runs[0].nodes if node not in names]
        if foreign:
            raise Conflict(
                f"job {job_id} runs on {', '.join(foreign)} as well, which pool {name} has not",
                hint="attach a pool with all of its nodes, by the same names",
            )
        return self._record(name, job_id, runs, pool.handle_of(runs[0]))

    def _record(self, name: str, job_id: str, runs: Sequence[RunTrace], handle: Handle) -> Job:
        placement = tuple(
            Placement(node=run.nodes[run.slot], gpus=_gpus(run))
            for run in sorted(runs, key=lambda run: run.slot)
        )
        job = Job(id=job_id, pool=name, spec=_spec_of(runs[0]), placement=placement)
        if not self._store.add_placed(job):
            raise Conflict(
                f"GPUs of job {job_id} are leased to another job by now",
                hint="wait for that one's end, or end one of the two",
            )
        self._store.bind(job_id, handle=handle)
        return self._store.get_job(job_id)

    def _no_orphan(self, name: str, job_id: str) -> NotFound | Conflict:
        if job_id in self._known():
            return Conflict(
                f"job {job_id} is on record: it is no orphan", hint=f"%jobs show {job_id}"
            )
        return NotFound(
            f"pool {name} has no orphan {job_id!r}", hint=f"%pool reconcile {name} lists them"
        )

    def _surveying(self, name: str) -> Surveying:
        pool = self._pools.pool(name)
        if not isinstance(pool, Surveying):
            raise UsageError(
                f"pool {name} cannot tell what of ours is on its nodes",
                hint="its jobs are those that %jobs lists",
            )
        return pool


def _why(job: Job | None, runs: Sequence[RunTrace], alive: Sequence[ProcessTrace]) -> str | None:
    """Return why what was found of a job is nobody's; ``None`` if it is somebody's."""
    if job is None:
        return "nothing records it" if runs else "its run directory is gone, and nothing records it"
    # A supervisor outlives its ranks for as long as it takes to tell the other nodes.
    late = job.ended_at is None or time.time() - job.ended_at > _FAREWELL_SECONDS
    if job.state.final and any(late or each.role == "rank" for each in alive):
        return f"its record says that it is over: {job.state.value}"
    return None


def _gpus(run: RunTrace) -> tuple[str, ...]:
    return tuple(part for part in (run.orders.get("gpus") or "").split(",") if part)


_TAKEN: Mapping[str, Callable[[RunTrace], object]] = {
    "argv": lambda run: tuple(run.orders["argv"]),
    "argv_alone": lambda run: tuple(run.orders.get("argv_alone") or ()),
    "env": lambda run: dict(run.orders.get("env") or {}),
    "artifacts": lambda run: tuple(run.orders.get("artifacts") or ()),
    "companion": lambda run: tuple(run.orders.get("tracker") or ()),
    "fetch": lambda run: run.fetch,
    "gpus": lambda run: len(_gpus(run)),
    "nodes": lambda run: len(run.nodes) or 1,
}
_AS_THEY_ARE = (
    "procs",
    "min_nodes",
    "max_restarts",
    "dead_peer_seconds",
    "stall_seconds",
    "cwd",
    "port",
    "verify_world",
    "grace_seconds",
    "start_timeout_seconds",
    "time_limit_seconds",
)


def _spec_of(run: RunTrace) -> JobSpec:
    """Return what a job's orders tell of it: all that it runs with, and nothing of its code."""
    origin = run.orders.get("origin") or {}
    words = {key: run.orders[key] for key in _AS_THEY_ARE if key in run.orders}
    words.update({key: take(run) for key, take in _TAKEN.items()})
    return JobSpec(
        kind=JobKind(run.orders.get("kind") or JobKind.TRAIN.value),
        name=run.orders.get("name") or ADOPTED,
        origin=Origin(host=origin.get("host"), user=origin.get("user")),
        labels={ADOPTED: "from what its nodes knew of it"},
        **words,
    )
