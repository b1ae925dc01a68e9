"""The router of a home: a job on this machine, its configuration, and what it says."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Final, Protocol

import msgspec

from jupyter_aiinfra.bundle import Bundle
from jupyter_aiinfra.endpoint import RouterRecord
from jupyter_aiinfra.engine.asking import Answer, ask
from jupyter_aiinfra.errors import (
    Conflict,
    JobNotFound,
    PoolExists,
    StoreError,
    Unreachable,
)
from jupyter_aiinfra.model import Desired, Job, JobSpec, PoolRecord, Submitter, new_job_id
from jupyter_aiinfra.node import supervise
from jupyter_aiinfra.promote.endpointjob import compose_router
from jupyter_aiinfra.promote.routes import route
from jupyter_aiinfra.routing.files import BadConfig, Places, parse_config, write_config
from jupyter_aiinfra.routing.status import Status, parse_status
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store

__all__ = ["Launch", "RouterJob", "lives"]

_AGAIN_SECONDS: Final = 5.0
_CLAIM_SECONDS: Final = 60.0
_LOCAL: Final = "local"


class Launch(Protocol):
    """What launches a job: :meth:`.Engine.launch`."""

    def __call__(
        self,
        pool: str,
        spec: JobSpec,
        bundle: Bundle,
        *,
        secrets: Mapping[str, str] | None = None,
        job_id: str | None = None,
    ) -> Awaitable[Job]:
        """Record a job, and start it."""
        ...


def lives(claim: Submitter, *, seconds: float, now: float) -> bool:
    """Whether the process that has taken something up is still at it, as far as can be told."""
    if claim.host == socket.gethostname():
        return bool(claim.process) and supervise.alive(dict(claim.process))
    return abs(now - claim.since) < seconds


class RouterJob:
    """Keeps the router of this home there, and tells it what is on record.

    Parameters
    ----------
    launch, refresh, cancel
        Those of the engine.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        launch: Launch,
        refresh: Callable[[str], Awaitable[Job]],
        cancel: Callable[[str], Awaitable[Job]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._settings = settings
        self._launch = launch
        self._refresh = refresh
        self._cancel = cancel
        self._clock = clock
        self.key = f"{socket.gethostname()}:{settings.home}"
        self.places = Places(settings.home / "routing" / "router.json")

    # --- its job -------------------------------------------------------------------------------

    def job(self) -> Job | None:
        """Return its job as it was last seen, if there is one."""
        record = self._store.find_router(self.key)
        if record is None:
            return None
        with contextlib.suppress(JobNotFound):
            return self._store.get_job(record.job)
        return None

    async def ensure(self) -> None:
        """Have the router run; who else does the same at once starts no second one."""
        record = self._store.find_router(self.key)
        job = None
        if record is not None:
            with contextlib.suppress(JobNotFound):
                job = await self._refresh(record.job)
        if job is not None and not job.state.final:
            return
        now = self._clock()
        claim = Submitter(
            host=socket.gethostname(), process=supervise.identity(os.getpid()) or {}, since=now
        )
        if record is None or job is not None:
            if job is not None and abs(now - (job.ended_at or 0.0)) < _AGAIN_SECONDS:
                return  # one that ends at once is not started again and again
            asked = RouterRecord(
                key=self.key,
                job=new_job_id(),
                pool=self._pool(),
                claim=claim,
                revision=0 if record is None else record.revision,
            )
        elif record.claim is not None and lives(record.claim, seconds=_CLAIM_SECONDS, now=now):
            if record.claim.process != claim.process:
                return  # it is being launched
            asked = record
        else:
            asked = replace(record, claim=claim)
        mine = self._store.put_router(asked)
        if mine is not None:
            await self._start(mine)

    async def dismiss(self) -> None:
        """End the router, where there is one: there is nothing for it to do."""
        job = self.job()
        if job is not None and not job.state.final and job.desired is not Desired.STOP:
            with contextlib.suppress(Unreachable):  # the wish is on record, and asked for again
                await self._cancel(job.id)

    async def _start(self, record: RouterRecord) -> None:
        spec, bundle = compose_router(self.places.config, settings=self._settings)
        with contextlib.suppress(Conflict):  # another process was quicker
            await self._launch(record.pool, spec, bundle, job_id=record.job)

    def _pool(self) -> str:
        """Return the pool of this machine that it runs on; made, where none is attached."""
        for record in self._store.list_pools():
            if record.kind == _LOCAL:
                return record.name
        with contextlib.suppress(PoolExists):
            self._store.add_pool(PoolRecord(name=_LOCAL, kind=_LOCAL))
        found = self._store.get_pool(_LOCAL)
        if found.kind != _LOCAL:
            raise Conflict(
                f"pool {_LOCAL} is not of this machine, and the router needs one that is",
                hint="%pool attach here --kind local",
            )
        return found.name

    # --- what it is told -----------------------------------------------------------------------

    async def publish(self) -> bool:
        """Write what is on record for it, if that is anything new, and have it look."""
        changed = await asyncio.to_thread(self._write)
        if changed:
            with contextlib.suppress(Unreachable):  # it looks by itself, too
                await ask(self.places.control, "POST", "/reload")
        return changed

    def _write(self) -> bool:
        folder = self.places.config.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            # What is read under the lock is newer than what was written under it before.
            fcntl.flock(handle, fcntl.LOCK_EX)
            try:
                old = parse_config(self.places.config.read_bytes())
            except (FileNotFoundError, ValueError):
                old = None
            revision = 0 if old is None else old.revision
            made = route(
                self._store.standing_endpoints(self.key),
                port=self._settings.router_port,
                grpc_port=self._settings.router_grpc_port,
                revision=revision,
                now=self._clock(),
            )
            if made == old:
                return False
            try:
                write_config(
                    self.places.config, msgspec.structs.replace(made, revision=revision + 1)
                )
            except BadConfig as error:
                raise Conflict(
                    f"what is on record cannot be routed: {error}",
                    hint="the router goes on as before; endpoint rollback, or configure, mends it",
                ) from error
        finally:
            os.close(handle)
        return True

    # --- what it says --------------------------------------------------------------------------

    async def status(self) -> Status | None:
        """Return what it says; ``None`` where it says nothing just now."""
        with contextlib.suppress(Unreachable):
            answer = await ask(self.places.control, "GET", "/status")
            try:
                return parse_status(answer.body)
            except msgspec.MsgspecError as error:
                raise StoreError(f"the router's status cannot be read: {error}") from error
        return None

    async def metrics(self) -> str:
        """Return its numbers for Prometheus; raises Unreachable where it does not answer."""
        return (await ask(self.places.control, "GET", "/metrics")).body.decode()

    async def call(
        self,
        name: str,
        path: str,
        *,
        body: bytes,
        headers: Mapping[str, str],
        method: str = "POST",
        seconds: float = 120.0,
    ) -> Answer:
        """Call an endpoint as its owner: no key is needed."""
        target = f"/{name}/{path}"
        return await ask(
            self.places.inside, method, target, body=body, headers=headers, seconds=seconds
        )
