"""The verbs on endpoints: deploy, update, call; how one changes is in ``endpointchanges.py``."""

from __future__ import annotations

import asyncio
import getpass
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from jupyter_aiinfra.bundle import Bundle, bundle_file, keep
from jupyter_aiinfra.cost.ledger import Ledger
from jupyter_aiinfra.endpoint import (
    Endpoint,
    EndpointOptions,
    EndpointVersion,
    Package,
    ReplicaOptions,
    Scaling,
    Share,
    VersionState,
    check_endpoint_name,
    new_endpoint_id,
)
from jupyter_aiinfra.engine.asking import Answer
from jupyter_aiinfra.engine.endpointcosts import WINDOW_SECONDS, EndpointCost, EndpointCosting
from jupyter_aiinfra.engine.endpointsamples import SampleVerbs
from jupyter_aiinfra.engine.endpointviews import (
    ALL,
    Asked,
    EndpointView,
    check_change,
    check_options,
    check_replicas,
    check_scaling,
    main_of,
    refuse_two,
    tried_of,
)
from jupyter_aiinfra.engine.replicas import Keeping
from jupyter_aiinfra.engine.routerjob import Launch, RouterJob
from jupyter_aiinfra.environments import read_environment
from jupyter_aiinfra.errors import Unreachable, UsageError
from jupyter_aiinfra.model import Event, Job
from jupyter_aiinfra.pools.abilities import Reaching
from jupyter_aiinfra.pools.base import Pool
from jupyter_aiinfra.promote.endpointjob import read_package
from jupyter_aiinfra.routing.status import Status
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store
from jupyter_aiinfra.store.endpoints import Whole

__all__ = ["Endpoints"]

_CALLS: Final = "calls.jsonl"
_HERE: Final = "127.0.0.1"
_POLL_SECONDS: Final = 0.2


class Endpoints(SampleVerbs):
    """Models that are served, and how that changes.

    Parameters
    ----------
    ledger, launch, refresh, cancel, pool
        Those of the engine.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        ledger: Ledger,
        launch: Launch,
        refresh: Callable[[str], Awaitable[Job]],
        cancel: Callable[[str], Awaitable[Job]],
        pool: Callable[[str], Pool],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._settings = settings
        self._pool = pool
        self._cancel = cancel
        self._clock = clock
        self.costing = EndpointCosting(store, ledger, clock=clock)
        self.router = RouterJob(
            store, settings, launch=launch, refresh=refresh, cancel=cancel, clock=clock
        )
        self.keeping = Keeping(
            store,
            settings,
            router=self.router,
            launch=launch,
            refresh=refresh,
            cancel=cancel,
            pool=pool,
            clock=clock,
        )

    async def tick(self) -> float:
        """Do what follows; see :meth:`~.replicas.Keeping.tick`."""
        return await self.keeping.tick()

    # --- what there is -------------------------------------------------------------------------

    async def views(self, *, removed: bool = False) -> Sequence[EndpointView]:
        """Return all endpoints, by name."""
        status = await self.router.status()
        found = self._store.endpoints(removed=removed)
        wholes = [self._store.whole_endpoint(each.id) for each in found]
        return await asyncio.to_thread(
            lambda: [self._costed(self._view(each, status)) for each in wholes]
        )

    async def show(self, name: str) -> EndpointView:
        """Return one endpoint, by name or id; also one that was removed."""
        endpoint = self._store.get_endpoint(name, removed=True)
        view = self._view(self._store.whole_endpoint(endpoint.id), await self.router.status())
        return await asyncio.to_thread(self._costed, view)

    def _costed(self, view: EndpointView) -> EndpointView:
        return replace(view, cost=self.costing.of(view.whole, view.status))

    async def costs(
        self, name: str | None = None, *, window_seconds: float = WINDOW_SECONDS
    ) -> Sequence[tuple[Whole, EndpointCost]]:
        """Return what requests cost: to one endpoint, or to each that is served."""
        found = self._store.endpoints() if name is None else [self._store.get_endpoint(name)]
        status = await self.router.status()
        views = [self._view(self._store.whole_endpoint(each.id), status) for each in found]
        costing = self.costing
        return await asyncio.to_thread(
            lambda: [
                (view.whole, costing.of(view.whole, view.status, window_seconds=window_seconds))
                for view in views
            ]
        )

    def _view(self, whole: Whole, status: Status | None) -> EndpointView:
        endpoint = whole.endpoint
        ours = endpoint.router == self.router.key and endpoint.removed_at is None
        known = status if ours else None
        told = None if known is None else known.endpoints.get(endpoint.name)
        # The same name may have been another endpoint's.
        url = None if known is None else f"http://{known.host}:{known.port}/{endpoint.name}"
        problems = self.keeping.problems
        found = [problems[each.id] for each in whole.replicas if each.id in problems]
        router = problems.get(self.router.key, "")
        problem = problems.get(endpoint.id) or (found[0] if found else router)
        if not ours and endpoint.removed_at is None:
            problem = f"it is served by {endpoint.router}, and only seen from there"
        if known is not None and known.problem:
            problem = known.problem
        return EndpointView(whole=whole, url=url, status=told, router=known, problem=problem)

    def events(self, name: str) -> Sequence[Event]:
        """Return what has happened to an endpoint, oldest first."""
        endpoint = self._store.get_endpoint(name, removed=True)
        return list(self._store.events(subject=endpoint.id))

    # --- deploying -----------------------------------------------------------------------------

    async def deploy(
        self,
        name: str,
        folder: Path,
        *,
        pool: str,
        options: EndpointOptions | None = None,
        scaling: Scaling | None = None,
        asked: Asked | None = None,
    ) -> EndpointView:
        """Record an endpoint that serves what is in a folder; :meth:`tick` starts it.

        Raises
        ------
        UsageError
            Something of it cannot be; names it. Nothing is recorded.
        PoolNotFound, Conflict
            Its pool is not attached; its name is taken.
        """
        asked = asked or Asked()
        check_endpoint_name(name)
        scaling = check_scaling(scaling or Scaling())
        options = check_options(options or EndpointOptions())
        package = await self._packed(folder, pool, replay=asked.replay)
        endpoint_id = new_endpoint_id()
        by = asked.by or getpass.getuser()
        now = self._clock()
        version = EndpointVersion(
            endpoint=endpoint_id,
            number=1,
            package=package,
            pool=self._serving_pool(pool),
            options=await self._options(asked, folder, ReplicaOptions(), pool=pool),
            wanted=max(scaling.least, 1),
            created_at=now,
            created_by=by,
            note=asked.note,
        )
        endpoint = Endpoint(
            id=endpoint_id,
            name=name,
            router=self.router.key,
            options=options,
            scaling=scaling,
            traffic=(Share(version=1, weight=ALL),),
            created_at=now,
            created_by=by,
        )
        self._store.add_endpoint(endpoint, version)
        return await self.show(endpoint_id)

    async def update(self, name: str, folder: Path | None, asked: Asked) -> EndpointView:
        """Have an endpoint serve another version: by steps, each of which must hold its gates.

        Without a `folder` it is what the version before served, with other options.

        Raises
        ------
        Conflict
            Another change is under way.
        UsageError
            Something of it cannot be; names it.
        """
        check_change(asked)
        base = self._store.whole_endpoint(self._ours(name).id)
        old = base.version(main_of(base.endpoint))
        pool = old.pool if asked.pool is None else self._serving_pool(asked.pool)
        package = old.package
        if folder is not None:
            package = await self._packed(folder, pool, replay=asked.replay)
        own = await self._options(asked, folder or Path.cwd(), old.options, pool=pool)
        while True:
            whole = self._store.whole_endpoint(base.endpoint.id)
            endpoint = whole.endpoint
            refuse_two(endpoint)
            old = whole.version(main_of(endpoint))
            number = endpoint.newest + 1
            version = EndpointVersion(
                endpoint=endpoint.id,
                number=number,
                package=package,
                pool=pool,
                options=own,
                wanted=max(old.wanted, endpoint.scaling.least, 1),
                created_at=self._clock(),
                created_by=asked.by or getpass.getuser(),
                note=asked.note,
            )
            values = self._toward(endpoint, old, number, asked, count=version.wanted)
            changed = self._store.change_endpoint(
                endpoint,
                event="endpoint.updated",
                detail={"version": number, "how": asked.how},
                versions=[version],
                newest=number,
                **values,
            )
            if changed is not None:
                return await self.show(endpoint.id)

    async def _packed(self, folder: Path, pool: str, *, replay: bool) -> Package:
        if replay:
            await self._replayed(folder, pool)

        def read() -> Package:
            package, bundle = read_package(folder)
            keep(bundle, blobs=self._settings.blobs)
            return package

        return await asyncio.to_thread(read)

    async def _replayed(self, folder: Path, pool: str) -> None:
        """Refuse a package that does not answer its recorded calls as they were answered."""
        if not (folder / _CALLS).is_file():
            return
        from jupyter_aiinfra.promote.packaging import replay_in  # noqa: PLC0415 - brings numpy

        nodes = await self._pool(pool).nodes()
        # Of another machine the Python is not here: ours has to do.
        own = [each.python for each in nodes if each.address == _HERE and each.python is not None]
        python = own[0].executable if own else None
        found = await replay_in(folder, python=python, elsewhere=not own)
        if not found.ok:
            raise UsageError(found.text, hint="--no-replay deploys it all the same")

    async def _options(
        self, asked: Asked, folder: Path, old: ReplicaOptions, *, pool: str
    ) -> ReplicaOptions:
        own = check_replicas(asked.options or old, pool=pool)
        if own.fallback_pool is not None:
            self._serving_pool(own.fallback_pool)
        if asked.environment is None:
            return own

        def read() -> ReplicaOptions:
            spec, files = read_environment(asked.environment, folder)
            made = [bundle_file(path, content) for path, content in sorted(files.items())]
            from_files = Bundle(files=tuple(made))
            keep(from_files, blobs=self._settings.blobs)
            return replace(own, environment=spec, environment_files=from_files.refs())

        return await asyncio.to_thread(read)

    def _serving_pool(self, name: str) -> str:
        pool = self._pool(name)
        if not isinstance(pool, Reaching):
            raise UsageError(
                f"what runs on pool {name} ({pool.kind}) cannot be called",
                hint="pools of kinds local and ssh can",
                option="pool",
            )
        return name

    # --- calling -------------------------------------------------------------------------------

    async def call(
        self, name: str, data: Any, *, path: str = "predict", seconds: float = 120.0
    ) -> Any:
        """Call an endpoint as its owner, with `data` as JSON; return what it answers.

        Raises
        ------
        Unreachable, UsageError
            Its router does not answer; it refuses what was sent, with its reason.
        """
        endpoint = self._ours(name)
        answer = await self.router.call(
            endpoint.name,
            path,
            body=json.dumps(data).encode(),
            headers={"Content-Type": "application/json", "Accept": "application/json"},
            seconds=seconds,
        )
        return _answered(endpoint.name, path, answer)

    async def wait(self, name: str, *, seconds: float, through: bool = False) -> EndpointView:
        """Do what follows until the endpoint is as it is wanted, or it is clear that it fails.

        Parameters
        ----------
        through
            A canary is waited for until it is promoted or rolled back, not only begun.

        Raises
        ------
        Unreachable
            It is not within `seconds`; it is gone on with all the same.
        """
        deadline = time.monotonic() + seconds
        while True:
            pause = await self.tick()
            view = await self.show(name)
            rollout = view.endpoint.rollout
            begun = rollout is not None and rollout.begun and rollout.kind == "canary"
            on_its_way = rollout is not None and (through or not begun)
            if not on_its_way and self._answers(view):
                return view
            if time.monotonic() >= deadline:
                raise Unreachable(
                    f"endpoint {view.endpoint.name} is {view.state} after {seconds:g} s"
                    + (f": {view.problem}" if view.problem else ""),
                    hint=f"endpoint show {view.endpoint.name} tells; it is gone on with",
                )
            await asyncio.sleep(min(max(pause, 0.05), _POLL_SECONDS))

    @staticmethod
    def _answers(view: EndpointView) -> bool:
        """Whether what is served and what is tried out answers, or is given up."""
        if view.state not in ("ready", "failed", "asleep"):
            return False
        tried = tried_of(view.endpoint)
        return tried is None or view.whole.version(tried).state is not VersionState.STARTING

    async def gone(self, name: str, *, seconds: float) -> EndpointView:
        """Do what follows until nothing runs any more of an endpoint that was removed."""
        deadline = time.monotonic() + seconds
        while True:
            pause = await self.tick()
            view = await self.show(name)
            if not view.whole.replicas:
                # Once more: with the last endpoint the router goes, too.
                await self.tick()
            if not view.whole.replicas or time.monotonic() >= deadline:
                await self.keeping.settled()
                return view
            await asyncio.sleep(min(max(pause, 0.05), _POLL_SECONDS))


def _answered(name: str, path: str, answer: Answer) -> Any:
    try:
        told = json.loads(answer.body) if answer.body else None
    except ValueError:
        told = answer.body.decode(errors="replace")
    if answer.status < 400:  # noqa: PLR2004 - what HTTP calls an error
        return told
    said = told.get("error") if isinstance(told, dict) else told
    missing = f"it has no path {path}" if answer.status == 404 else "nothing"  # noqa: PLR2004
    message = f"endpoint {name} answers {answer.status}: {said or missing}"
    if answer.status < 500:  # noqa: PLR2004
        raise UsageError(message, hint=f"endpoint show {name} tells what it takes")
    raise Unreachable(message, hint=f"endpoint logs {name}")
