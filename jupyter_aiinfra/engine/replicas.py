"""Who keeps endpoints as they are wanted: launches replicas, ends them, finds what was decided.

Any number of processes may do this on one store at once, and any of them may die at any moment.
What follows is written once, by whoever comes first; the job of a replica has its id before it is
launched, so who goes on after another's death cannot launch it twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets as random
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from jupyter_aiinfra import preflight
from jupyter_aiinfra.bundle import stored
from jupyter_aiinfra.endpoint import (
    Endpoint,
    EndpointVersion,
    Replica,
    ReplicaState,
    VersionState,
)
from jupyter_aiinfra.engine.routerjob import Launch, RouterJob, lives
from jupyter_aiinfra.errors import (
    AiInfraError,
    Conflict,
    JobNotFound,
    NotFound,
    StoreError,
    Unreachable,
    UsageError,
)
from jupyter_aiinfra.model import Desired, Job, JobState, Submitter, new_job_id
from jupyter_aiinfra.node import supervise
from jupyter_aiinfra.pools.abilities import Reaching
from jupyter_aiinfra.pools.base import Pool
from jupyter_aiinfra.promote.endpointjob import SOCKET, compose_replica, preflight_replica
from jupyter_aiinfra.promote.scaling import Load, Seen, replicas_for
from jupyter_aiinfra.promote.spot import away_until, is_fallback, pool_for
from jupyter_aiinfra.promote.standing import Change, decide, state_of
from jupyter_aiinfra.routing.status import BUCKETS_MS, EndpointStatus, Status
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store
from jupyter_aiinfra.store.endpoints import Whole
from jupyter_aiinfra.training import check_secrets

__all__ = ["Keeping"]

_CLAIM_SECONDS: Final = 300.0
_REST_SECONDS: Final = 3600.0
_MOVING_SECONDS: Final = 0.25
_WATCHED_SECONDS: Final = 1.0
_CALM_SECONDS: Final = 5.0
_NEW_AT_ONCE: Final = 32


class Keeping:
    """Keeps nothing that another process could not go on with, but for what loads were seen.

    Parameters
    ----------
    router
        That of this home; only its endpoints are looked at.
    launch, refresh, cancel, pool
        Those of the engine.
    clock
        The time; tests have their own.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        router: RouterJob,
        launch: Launch,
        refresh: Callable[[str], Awaitable[Job]],
        cancel: Callable[[str], Awaitable[Job]],
        pool: Callable[[str], Pool],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._settings = settings
        self._router = router
        self._launch = launch
        self._refresh = refresh
        self._cancel = cancel
        self._pool = pool
        self._clock = clock
        self._me = {
            **(supervise.identity(os.getpid()) or {}),
            "engine": random.token_hex(8),
        }
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._looked: dict[str, float] = {}
        self._loads: dict[tuple[str, int], Load] = {}
        self._ejected: set[str] = set()
        self.problems: dict[str, str] = {}

    # --- the tick ------------------------------------------------------------------------------

    async def tick(self) -> float:
        """Do what follows just now; return how many seconds later to look again.

        Launches and ends go on beside it. What fails is tried again with the next tick.
        """
        wholes = self._store.standing_endpoints(self._router.key)
        if not wholes:
            await self._router.dismiss()
            return _REST_SECONDS
        is_served = any(whole.endpoint.removed_at is None for whole in wholes)
        if is_served and await self._could(self._router.ensure()):
            self.problems.pop(self._router.key, None)
        status = await self._router.status()
        for whole in wholes:
            await self._kept(whole, status)
        await self._could(self._router.publish())
        return self._pause(self._store.standing_endpoints(self._router.key), status)

    async def _could(self, work: Awaitable[object]) -> bool:
        """Do something about the router; where it cannot be, that is told and all else goes on."""
        try:
            await work
        except StoreError:
            raise
        except AiInfraError as error:
            self.problems[self._router.key] = error.message
            return False
        return True

    async def settled(self) -> None:
        """Wait until what this process launches and ends just now is launched and ended."""
        while self._tasks:
            await asyncio.wait([*self._tasks.values()])
            await asyncio.sleep(0)  # what is done says so in the loop's next turn

    async def aclose(self) -> None:
        """Let what is being launched get to its pool; the rest is left to other processes."""
        await self.settled()

    def _pause(self, wholes: Sequence[Whole], status: Status | None) -> float:
        pause = _REST_SECONDS if not wholes else _CALM_SECONDS
        for whole in wholes:
            endpoint = whole.endpoint
            here = [each for each in whole.replicas if each.state is ReplicaState.SERVING]
            told = None if status is None else status.endpoints.get(endpoint.name)
            moving = status is None or len(here) < len(whole.replicas)
            moving |= any(not _answers(told, each) for each in here)
            asleep = endpoint.removed_at is None and not here  # its next request waits for us
            if moving or asleep:
                pause = min(pause, _MOVING_SECONDS)
            elif endpoint.rollout is not None or endpoint.scaling.most > endpoint.scaling.least:
                pause = min(pause, _WATCHED_SECONDS)
        return pause

    # --- one endpoint --------------------------------------------------------------------------

    async def _kept(self, whole: Whole, status: Status | None) -> None:
        """Keep one endpoint; what fails of it is no matter of the others."""
        try:
            await self._keep(whole, status)
        except StoreError:
            raise
        except AiInfraError as error:
            self.problems[whole.endpoint.id] = error.message
        else:
            self.problems.pop(whole.endpoint.id, None)

    async def _keep(self, whole: Whole, status: Status | None) -> None:
        now = self._clock()
        await self._observe(whole, now)
        told = None if status is None else status.endpoints.get(whole.endpoint.name)
        if status is not None and told is None:
            told = EndpointStatus()  # the router lives, and knows nothing of it yet
        for replica in whole.replicas:
            gone = state_of(told, replica) == "ejected"
            (self._ejected.add if gone else self._ejected.discard)(replica.id)
        change = decide(
            whole,
            status=told,
            jobs=self._jobs(whole),
            new_ids=[new_job_id() for _ in range(_NEW_AT_ONCE)],
            now=now,
            wanted=self._wanted(whole, told, now),
            away=self._away(whole),
            start_seconds=self._settings.start_timeout_seconds,
        )
        if change and self._write(whole.endpoint, change) is None:
            return  # somebody else has changed it: with the next look
        whole = self._store.whole_endpoint(whole.endpoint.id)
        if change.values or any(r.state is ReplicaState.LEAVING for r in change.replicas.values()):
            await self._router.publish()  # nobody is sent to those that go
        for replica in whole.replicas:
            self._act(whole, replica, told, now)

    def _write(self, endpoint: Endpoint, change: Change) -> Endpoint | None:
        return self._store.change_endpoint(
            endpoint,
            event=change.event,
            detail=change.detail,
            versions=change.versions.values(),
            replicas=change.replicas.values(),
            **change.values,
        )

    def _jobs(self, whole: Whole) -> Mapping[str, Job]:
        found = self._store.jobs_by_id([each.id for each in whole.replicas])
        return {job.id: job for job in found}

    def _away(self, whole: Whole) -> Mapping[int, float]:
        """Return until when nothing is launched on the own pool of versions that can fall back."""
        asked = [each for each in whole.versions if each.options.fallback_pool is not None]
        if not asked:
            return {}
        replicas = self._store.endpoint_replicas(whole.endpoint.id)
        jobs = {job.id: job for job in self._store.jobs_by_id([each.id for each in replicas])}
        return {each.number: away_until(each, replicas, jobs) for each in asked}

    def _pool_of(self, whole: Whole, version: EndpointVersion) -> str:
        """Return where the next replica of a version is launched."""
        if version.options.fallback_pool is None:
            return version.pool
        jobs = self._jobs(whole)
        silent = any(
            each.id in jobs and not is_fallback(version, jobs[each.id])
            for each in whole.of(version.number, ReplicaState.SERVING)
            if each.id in self._ejected
        )
        away = self._away(whole).get(version.number, 0.0)
        return pool_for(version, away=away, silent=silent, now=self._clock())

    async def _observe(self, whole: Whole, now: float) -> None:
        """Look at the jobs of replicas whose time has come; a young one is seen more often."""
        for replica in whole.replicas:
            age = abs(now - replica.created_at)
            every = min(max(0.02 * age, 1.0), 5.0)
            if replica.state is ReplicaState.DUE or replica.id in self._tasks:
                continue
            if abs(now - self._looked.get(replica.id, 0.0)) < every:
                continue
            self._looked[replica.id] = now
            # Of a pool that does not answer nothing is known; the router sees who answers.
            with contextlib.suppress(AiInfraError):
                await self._refresh(replica.id)

    # --- how many ------------------------------------------------------------------------------

    def _wanted(self, whole: Whole, status: EndpointStatus | None, now: float) -> Mapping[int, int]:
        """Return how many replicas the versions with traffic want; nothing, if that is unknown."""
        endpoint = whole.endpoint
        scaling = endpoint.scaling
        if status is None or endpoint.removed_at is not None or endpoint.rollout is not None:
            return {}
        found = {}
        for share in endpoint.traffic:
            number = share.version
            if whole.version(number).state is VersionState.STARTING:
                continue  # it has been asked for, and has had no time to be called
            told = status.versions.get(str(number))
            waiting = status.held if number == endpoint.main else 0
            load = self._loads.setdefault((endpoint.id, number), Load())
            counts = () if told is None else told.latency.counts
            asked = waiting + (0 if told is None else told.in_flight)
            load.note(Seen(at=now, requests=asked, counts=counts))
            found[number] = replicas_for(
                scaling,
                load,
                present=whole.version(number).wanted,
                buckets_ms=BUCKETS_MS if told is None else told.latency.buckets_ms,
                last_request=_later(status.last_request, whole.version(number).created_at),
                now=now,
            )
        return found

    # --- replicas ------------------------------------------------------------------------------

    def _act(
        self, whole: Whole, replica: Replica, status: EndpointStatus | None, now: float
    ) -> None:
        """Begin what a replica needs, beside everything else."""
        if replica.id in self._tasks:
            return
        if replica.state is ReplicaState.DUE:
            claim = replica.claim
            others = claim is not None and dict(claim.process) != self._me
            if claim is not None and others and lives(claim, seconds=_CLAIM_SECONDS, now=now):
                return
            self._begin(replica.id, self._bring_up(whole, replica))
        elif replica.state is ReplicaState.LEAVING and self._may_go(whole, replica, status, now):
            self._begin(replica.id, self._end(replica.id))

    def _may_go(
        self, whole: Whole, replica: Replica, status: EndpointStatus | None, now: float
    ) -> bool:
        """Whether nobody waits for an answer of a replica any more, or has for too long."""
        drain = whole.version(replica.version).options.drain_seconds
        if replica.leaving_at is None or abs(now - replica.leaving_at) > drain:
            return True
        if status is None:
            return False
        told = status.versions.get(str(replica.version))
        return told is None or replica.id not in told.replicas

    async def _bring_up(self, whole: Whole, replica: Replica) -> None:
        """Launch a replica, once, and put on record how it is reached."""
        try:
            job = self._store.get_job(replica.id)
        except JobNotFound:
            if not self._claim(replica):
                return
            try:
                job = await self._launched(whole, replica)
            except StoreError:
                raise  # nothing can be written down; the claim is taken over
            except AiInfraError as error:
                self._failed(replica, error.message)
                return
        if job.state is JobState.PENDING and job.handle is None:
            with contextlib.suppress(AiInfraError):
                job = await self._refresh(job.id)
        elif job.state is JobState.QUEUED:
            job = await self._refresh(job.id)
        if job.handle is None or job.state.final:
            return
        pool = self._pool(job.pool)
        if isinstance(pool, Reaching):
            reach = await pool.reach(job.handle, SOCKET)
            self._change(replica, state=ReplicaState.SERVING, reach=reach, claim=None)

    def _claim(self, replica: Replica) -> bool:
        """Put on record that this process launches a replica; whether nobody else does."""
        claim = Submitter(host=socket.gethostname(), process=self._me, since=self._clock())
        whole = self._store.whole_endpoint(replica.endpoint)
        now = next((each for each in whole.replicas if each.id == replica.id), None)
        if now is None or now.state is not ReplicaState.DUE or now.claim != replica.claim:
            return False
        claimed = replace(now, claim=claim)
        return self._store.change_endpoint(whole.endpoint, replicas=[claimed]) is not None

    async def _launched(self, whole: Whole, replica: Replica) -> Job:
        endpoint = whole.endpoint
        version = whole.version(replica.version)
        place = self._pool_of(self._store.whole_endpoint(endpoint.id), version)
        pool = self._pool(place)
        if not isinstance(pool, Reaching):
            raise UsageError(f"what runs on pool {place} ({pool.kind}) cannot be called")
        options = version.options
        refs = (*version.package.files, *options.environment_files)
        kept = await asyncio.to_thread(stored, refs, blobs=self._settings.blobs)
        nodes = sorted(await pool.nodes(), key=lambda node: node.problem is not None)
        preflight.verdict(preflight_replica(version, nodes[:1]))
        values = check_secrets(options.secrets, os.environ)
        labels = {"endpoint": endpoint.name, "version": str(version.number)}
        spec, bundle = compose_replica(
            endpoint.name,
            version,
            kept,
            endpoint.options,
            node=nodes[0],
            settings=self._settings,
            labels=labels,
        )
        try:
            return await self._launch(place, spec, bundle, secrets=values, job_id=replica.id)
        except Conflict:
            # Another process was quicker, or a budget is spent.
            with contextlib.suppress(JobNotFound):
                return self._store.get_job(replica.id)
            raise

    def _failed(self, replica: Replica, reason: str) -> None:
        """Put on record that a replica could not be launched."""
        while True:
            whole = self._store.whole_endpoint(replica.endpoint)
            now = next((each for each in whole.replicas if each.id == replica.id), None)
            if now is None:
                return
            version = whole.version(replica.version)
            at = self._clock()
            gone = replace(now, state=ReplicaState.GONE, reason=reason, claim=None, ended_at=at)
            worse = replace(version, failures=version.failures + 1, failed_at=at, reason=reason)
            changed = self._store.change_endpoint(whole.endpoint, replicas=[gone], versions=[worse])
            if changed is not None:
                return

    def _change(self, replica: Replica, **values: Any) -> None:
        """Change a replica that is still to be launched; one that is to go by now goes."""
        while True:
            whole = self._store.whole_endpoint(replica.endpoint)
            now = next((each for each in whole.replicas if each.id == replica.id), None)
            if now is None or now.state is not ReplicaState.DUE:
                return
            if self._store.change_endpoint(whole.endpoint, replicas=[replace(now, **values)]):
                return

    async def _end(self, job_id: str) -> None:
        with contextlib.suppress(NotFound, Unreachable):
            job = self._store.get_job(job_id)
            if not job.state.final and job.desired is not Desired.STOP:
                await self._cancel(job_id)

    def _begin(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        async def go() -> None:
            try:
                await work
            except Exception as error:  # noqa: BLE001 - one replica; said, and tried again
                self.problems[name] = f"{type(error).__name__}: {error}"
            else:
                self.problems.pop(name, None)

        task = self._tasks[name] = asyncio.ensure_future(go())
        # Not by `finally`: of a task that is cancelled before its first step nothing is run.
        task.add_done_callback(lambda _: self._tasks.pop(name, None))


def _answers(status: EndpointStatus | None, replica: Replica) -> bool:
    told = None if status is None else status.versions.get(str(replica.version))
    known = None if told is None else told.replicas.get(replica.id)
    return known is not None and known.state == "up"


def _later(last: float | None, created_at: float) -> float:
    """Return since when nobody has asked: what is new is given time to be asked."""
    return created_at if last is None else max(last, created_at)
