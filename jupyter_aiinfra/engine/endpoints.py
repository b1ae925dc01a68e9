"""The verbs on endpoints: deploy, update, roll back, scale; who acts is in ``replicas.py``."""

from __future__ import annotations

import asyncio
import getpass
import json
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from jupyter_aiinfra.bundle import Bundle, bundle_file, keep
from jupyter_aiinfra.endpoint import (
    Endpoint,
    EndpointKey,
    EndpointOptions,
    EndpointVersion,
    Gates,
    Package,
    ReplicaOptions,
    Rollout,
    RolloutKind,
    Scaling,
    Share,
    VersionState,
    check_endpoint_name,
    new_endpoint_id,
    new_key,
)
from jupyter_aiinfra.engine.asking import Answer
from jupyter_aiinfra.engine.replicas import Keeping
from jupyter_aiinfra.engine.routerjob import Launch, RouterJob
from jupyter_aiinfra.environments import read_environment
from jupyter_aiinfra.errors import Conflict, NotFound, Unreachable, UsageError
from jupyter_aiinfra.model import Event, Job
from jupyter_aiinfra.pools.abilities import Reaching
from jupyter_aiinfra.pools.base import Pool
from jupyter_aiinfra.promote.endpointjob import read_package
from jupyter_aiinfra.routing.status import EndpointStatus, Status
from jupyter_aiinfra.settings import Settings
from jupyter_aiinfra.store import Store
from jupyter_aiinfra.store.endpoints import Whole

__all__ = ["CANARY_STEPS", "Asked", "EndpointView", "Endpoints", "How", "steps_of"]

CANARY_STEPS: Final = (5.0, 25.0, 50.0, 100.0)

_ALL: Final = 100.0
_CALLS: Final = "calls.jsonl"
_HERE: Final = "127.0.0.1"
_MOST_REPLICAS: Final = 256
_POLL_SECONDS: Final = 0.2

How = Literal["rolling", "blue-green", "canary", "shadow"]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a version is to be, and how it takes the place of the one before.

    Parameters
    ----------
    steps
        Of a canary: percentages.
    replay
        Whether calls that were recorded with a package have to be answered as they were.
    """

    pool: str | None = None
    options: ReplicaOptions | None = None
    environment: str | None = None
    how: How = "rolling"
    steps: tuple[float, ...] = ()
    step_seconds: float | None = None
    least_requests: int | None = None
    gates: Gates = field(default_factory=Gates)
    header: Mapping[str, str] | None = None
    replay: bool = True
    note: str = ""
    by: str | None = None


@dataclass(frozen=True, kw_only=True)
class EndpointView:
    """An endpoint as on record, and as its router sees it.

    Parameters
    ----------
    url
        Where it is called; ``None`` while its router is not known to listen.
    status
        What the router says; ``None``: it says nothing just now.
    """

    whole: Whole
    url: str | None = None
    status: EndpointStatus | None = None
    router: Status | None = None
    problem: str = ""

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint itself."""
        return self.whole.endpoint

    @property
    def up(self) -> int:
        """How many replicas of versions in use answer."""
        versions = {} if self.status is None else self.status.versions
        return sum(
            each.state == "up" for told in versions.values() for each in told.replicas.values()
        )

    @property
    def state(self) -> Literal["removed", "starting", "failed", "asleep", "degraded", "ready"]:
        """How it stands: ``asleep`` runs nothing until it is called."""
        endpoint = self.endpoint
        if endpoint.removed_at is not None:
            return "removed"
        main = None if endpoint.main is None else self.whole.version(endpoint.main)
        if main is None or main.state is VersionState.FAILED:
            return "failed"
        if not main.wanted:
            return "asleep"
        told = None if self.status is None else self.status.versions.get(str(main.number))
        up = 0 if told is None else sum(r.state == "up" for r in told.replicas.values())
        if up >= main.wanted:
            return "ready"
        return "starting" if main.state is VersionState.STARTING else "degraded"


def steps_of(how: How, *, replicas: int, percent: Sequence[float] = ()) -> tuple[float, ...]:
    """Return the steps of a change: percentages that end with 100.

    Raises
    ------
    UsageError
        A percentage that is none.
    """
    if how == "blue-green":
        return (_ALL,)
    if how == "rolling":
        count = min(max(replicas, 1), 10)
        return tuple(round(_ALL * (i + 1) / count, 3) for i in range(count))
    if not percent:
        return CANARY_STEPS
    for each in percent:
        if not math.isfinite(each) or not 0 < each <= _ALL:
            raise UsageError(
                f"{each:g} is no part of the traffic", hint="a percentage above 0", option="canary"
            )
    if len(percent) == 1:
        return tuple(sorted({*percent, *(each for each in CANARY_STEPS if each > percent[0])}))
    return tuple(sorted({*percent, _ALL}))


class Endpoints:
    """Models that are served, and how that changes.

    Parameters
    ----------
    launch, refresh, cancel, pool
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
        pool: Callable[[str], Pool],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._settings = settings
        self._pool = pool
        self._cancel = cancel
        self._clock = clock
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
        return [self._view(self._store.whole_endpoint(each.id), status) for each in found]

    async def show(self, name: str) -> EndpointView:
        """Return one endpoint, by name or id; also one that was removed."""
        endpoint = self._store.get_endpoint(name, removed=True)
        return self._view(self._store.whole_endpoint(endpoint.id), await self.router.status())

    def _view(self, whole: Whole, status: Status | None) -> EndpointView:
        endpoint = whole.endpoint
        ours = endpoint.router == self.router.key and endpoint.removed_at is None
        known = status if ours else None
        told = None if known is None else known.endpoints.get(endpoint.name)
        # The same name may have been another endpoint's.
        url = None if known is None else f"http://{known.host}:{known.port}/{endpoint.name}"
        problems = self.keeping.problems
        found = [problems[each.id] for each in whole.replicas if each.id in problems]
        problem = problems.get(endpoint.id) or (found[0] if found else "")
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
        scaling = _checked(scaling or Scaling())
        package = await self._packed(folder, pool, replay=asked.replay)
        endpoint_id = new_endpoint_id()
        by = asked.by or getpass.getuser()
        now = self._clock()
        version = EndpointVersion(
            endpoint=endpoint_id,
            number=1,
            package=package,
            pool=self._serving_pool(pool),
            options=await self._options(asked, folder, ReplicaOptions()),
            wanted=max(scaling.least, 1),
            created_at=now,
            created_by=by,
            note=asked.note,
        )
        endpoint = Endpoint(
            id=endpoint_id,
            name=name,
            router=self.router.key,
            options=options or EndpointOptions(),
            scaling=scaling,
            traffic=(Share(version=1, weight=_ALL),),
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
        base = self._store.whole_endpoint(self._ours(name).id)
        old = base.version(_main(base.endpoint))
        pool = old.pool if asked.pool is None else self._serving_pool(asked.pool)
        package = old.package
        if folder is not None:
            package = await self._packed(folder, pool, replay=asked.replay)
        own = await self._options(asked, folder or Path.cwd(), old.options)
        while True:
            whole = self._store.whole_endpoint(base.endpoint.id)
            endpoint = whole.endpoint
            _refuse_two(endpoint)
            old = whole.version(_main(endpoint))
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

    def _toward(
        self, endpoint: Endpoint, old: EndpointVersion, new: int, asked: Asked, *, count: int
    ) -> dict[str, Any]:
        """Return what changes of an endpoint so that it comes to serve another version."""
        if asked.how == "shadow":
            return {"shadow": new}
        if asked.header is not None:
            if not asked.header:
                raise UsageError("which header?", hint="--header X-Version=2", option="header")
            share = Share(version=new, weight=0.0, header=dict(asked.header))
            return {"traffic": (*endpoint.traffic, share)}
        kind: RolloutKind = asked.how
        calm = kind == "canary"
        seconds = asked.step_seconds
        least = asked.least_requests
        return {
            "rollout": Rollout(
                id=f"{endpoint.id}-{new}-{endpoint.revision}",
                old=old.number,
                new=new,
                kind=kind,
                steps=steps_of(kind, replicas=count, percent=asked.steps),
                step_seconds=(60.0 if calm else 5.0) if seconds is None else seconds,
                least_requests=(50 if calm else 0) if least is None else least,
                gates=asked.gates,
                asked_at=self._clock(),
                by=asked.by or getpass.getuser(),
            )
        }

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
        found = await replay_in(folder, python=own[0].executable if own else None)
        if not found.ok:
            raise UsageError(found.text, hint="--no-replay deploys it all the same")

    async def _options(self, asked: Asked, folder: Path, old: ReplicaOptions) -> ReplicaOptions:
        own = asked.options or old
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

    def _ours(self, name: str) -> Endpoint:
        endpoint = self._store.get_endpoint(name)
        if endpoint.router != self.router.key:
            raise Conflict(
                f"endpoint {endpoint.name} is served by {endpoint.router}",
                hint="change it from there",
            )
        return endpoint

    # --- changing ------------------------------------------------------------------------------

    async def promote(self, name: str) -> EndpointView:
        """Give all traffic to the newest version that is tried out, at once: no gate is asked."""

        def values(whole: Whole) -> tuple[dict[str, Any], list[EndpointVersion], dict[str, Any]]:
            endpoint = whole.endpoint
            new = _tried(endpoint)
            if new is None:
                raise Conflict(
                    f"endpoint {endpoint.name} tries out no other version",
                    hint="endpoint update gives it one",
                )
            return self._switched(whole, new, keep_seconds=endpoint.options.keep_seconds)

        return await self._changed(name, "endpoint.promoted", values)

    async def rollback(self, name: str, *, to: int | None = None, reason: str = "") -> EndpointView:
        """Go back: end a change that is under way, or serve the version before once more.

        Replicas of a version that is no longer there are started first, and it takes over when
        they answer.
        """

        def values(whole: Whole) -> tuple[dict[str, Any], list[EndpointVersion], dict[str, Any]]:
            endpoint = whole.endpoint
            tried = _tried(endpoint)
            if to is None and tried is not None:
                return self._given_up(whole, tried, reason or "rolled back by hand")
            target = whole.version(_before(whole) if to is None else to)
            if target.number == _main(endpoint):
                raise Conflict(f"endpoint {endpoint.name} serves version {target.number} already")
            _refuse_two(endpoint)
            if target.wanted and target.state is VersionState.READY:
                return self._switched(whole, target.number, keep_seconds=0.0, reason=reason)
            return self._raised(whole, target, reason)

        return await self._changed(name, "endpoint.rolled-back", values)

    def _switched(
        self, whole: Whole, new: int, *, keep_seconds: float, reason: str = "by hand"
    ) -> tuple[dict[str, Any], list[EndpointVersion], dict[str, Any]]:
        """Return what gives all traffic to `new`, whose replicas answer."""
        endpoint = whole.endpoint
        old = _main(endpoint)
        until = self._clock() + keep_seconds
        versions = [
            replace(each, retire_at=None if each.number == new else until)
            for each in whole.versions
            if each.number == new or each.number in endpoint.in_use
        ]
        values = {
            "traffic": (Share(version=new, weight=_ALL),),
            "rollout": None,
            "shadow": None if endpoint.shadow == new else endpoint.shadow,
        }
        return values, versions, {"from": old, "to": new, "reason": reason or "by hand"}

    def _given_up(
        self, whole: Whole, tried: int, reason: str
    ) -> tuple[dict[str, Any], list[EndpointVersion], dict[str, Any]]:
        endpoint = whole.endpoint
        traffic = tuple(share for share in endpoint.traffic if share.version != tried)
        values = {
            "traffic": traffic,
            "rollout": None,
            "shadow": None if endpoint.shadow == tried else endpoint.shadow,
        }
        failed = replace(whole.version(tried), state=VersionState.FAILED, reason=reason, wanted=0)
        return values, [failed], {"from": _main(endpoint), "to": tried, "reason": reason}

    def _raised(
        self, whole: Whole, target: EndpointVersion, reason: str
    ) -> tuple[dict[str, Any], list[EndpointVersion], dict[str, Any]]:
        """Return what brings a version back of which nothing runs."""
        endpoint = whole.endpoint
        main = whole.version(_main(endpoint))
        asked = Asked(how="blue-green", step_seconds=0.0, gates=_NO_GATES)
        count = max(main.wanted, endpoint.scaling.least, 1)
        back = replace(
            target,
            wanted=count,
            state=VersionState.STARTING,
            reason=None,
            retire_at=None,
            failures=0,
            failed_at=None,
            created_at=self._clock(),
        )
        values = self._toward(endpoint, main, target.number, asked, count=count)
        told = {"from": main.number, "to": target.number, "reason": reason or "by hand"}
        return values, [back], told

    async def split(self, name: str, weights: Mapping[int, float]) -> EndpointView:
        """Divide the traffic by hand; versions that get none are kept for a while.

        Raises
        ------
        UsageError, NotFound, Conflict
            Weights that are none; no such version, or one of which nothing runs.
        """
        if not weights or any(not math.isfinite(w) or w < 0 for w in weights.values()):
            raise UsageError("a weight is a number from 0 on", hint="traffic NAME 3=90 4=10")
        if not any(weights.values()):
            raise UsageError("at least one version has to be asked", hint="traffic NAME 3=100")

        def values(whole: Whole) -> tuple[dict[str, Any], list[EndpointVersion], dict[str, Any]]:
            endpoint = whole.endpoint
            _refuse_two(endpoint)
            for number in weights:
                version = whole.version(number)
                asleep = endpoint.scaling.least == 0 and number == _main(endpoint)
                if not version.wanted and not asleep:
                    raise Conflict(
                        f"nothing runs of version {number} of {endpoint.name}",
                        hint=f"endpoint rollback {endpoint.name} --to {number} starts it",
                    )
            shares = {share.version: share for share in endpoint.traffic}
            traffic = tuple(
                Share(
                    version=number,
                    weight=float(weight),
                    header=shares[number].header if number in shares else None,
                )
                for number, weight in sorted(weights.items())
            )
            until = self._clock() + endpoint.options.keep_seconds
            used = {*weights, endpoint.shadow}
            versions = [
                replace(each, retire_at=None if each.number in used else until)
                for each in whole.versions
                if each.number in used or each.number in endpoint.in_use
            ]
            told = {"traffic": {str(key): weights[key] for key in sorted(weights)}}
            return {"traffic": traffic}, versions, told

        return await self._changed(name, "endpoint.traffic", values)

    async def scale(self, name: str, **asked: Any) -> EndpointView:
        """Change how many replicas there are, and by what; see :class:`~.endpoint.Scaling`."""
        given = {key: value for key, value in asked.items() if value is not None}
        if not given:
            raise UsageError("scale to what?", hint="--min 0 --max 4")

        def values(whole: Whole) -> tuple[dict[str, Any], list[EndpointVersion], dict[str, Any]]:
            endpoint = whole.endpoint
            old = endpoint.scaling
            if "least" in given and "most" not in given:
                given["most"] = max(old.most, given["least"])
            scaling = _checked(replace(old, **given))
            bounded = [
                replace(each, wanted=min(max(each.wanted, scaling.least), scaling.most))
                for each in whole.versions
                if each.number in endpoint.in_use and each.state is not VersionState.FAILED
            ]
            return {"scaling": scaling}, bounded, {"least": scaling.least, "most": scaling.most}

        return await self._changed(name, "endpoint.scaled", values)

    async def configure(self, name: str, **asked: Any) -> EndpointView:
        """Change what the router does; see :class:`~.endpoint.EndpointOptions`."""
        given = {key: value for key, value in asked.items() if value is not None}
        if not given:
            raise UsageError("change what?", hint="--cors https://example.org --timeout 10")

        def values(whole: Whole) -> tuple[dict[str, Any], list[EndpointVersion], dict[str, Any]]:
            return {"options": replace(whole.endpoint.options, **given)}, [], {}

        return await self._changed(name, "endpoint.configured", values)

    async def remove(self, name: str) -> EndpointView:
        """Serve it no more: requests that are under way are answered. :meth:`restore` undoes it."""

        def values(whole: Whole) -> tuple[dict[str, Any], list[EndpointVersion], dict[str, Any]]:
            traffic = (Share(version=_main(whole.endpoint), weight=_ALL),)
            return (
                {"removed_at": self._clock(), "rollout": None, "shadow": None, "traffic": traffic},
                [],
                {},
            )

        return await self._changed(name, "endpoint.removed", values)

    async def restore(self, name: str) -> EndpointView:
        """Serve what was removed once more; Conflict where its name is taken by now."""
        while True:
            whole = self._store.whole_endpoint(self._store.get_endpoint(name, removed=True).id)
            endpoint = whole.endpoint
            if endpoint.removed_at is None:
                raise Conflict(f"endpoint {endpoint.name} was not removed")
            version = whole.version(_main(endpoint))
            back = replace(
                version,
                wanted=max(endpoint.scaling.least, 1),
                state=VersionState.STARTING,
                reason=None,
                retire_at=None,
                failures=0,
                failed_at=None,
                created_at=self._clock(),
            )
            changed = self._store.change_endpoint(
                endpoint, event="endpoint.restored", versions=[back], removed_at=None
            )
            if changed is not None:
                return await self.show(endpoint.id)

    async def _changed(
        self,
        name: str,
        event: str,
        values: Callable[[Whole], tuple[dict[str, Any], list[EndpointVersion], dict[str, Any]]],
    ) -> EndpointView:
        endpoint_id = self._ours(name).id
        while True:
            whole = self._store.whole_endpoint(endpoint_id)
            changes, versions, detail = values(whole)
            changed = self._store.change_endpoint(
                whole.endpoint, event=event, detail=detail, versions=versions, **changes
            )
            if changed is not None:
                await self.router.publish()
                return await self.show(endpoint_id)

    # --- keys ----------------------------------------------------------------------------------

    async def add_key(
        self,
        name: str,
        key_name: str,
        *,
        scopes: tuple[str, ...] = ("predict",),
        per_second: float | None = None,
        by: str | None = None,
    ) -> tuple[str, EndpointKey]:
        """Make a key; return its secret, which is shown once and kept nowhere.

        With the first key, nobody may call without one.
        """
        return await self._new_key(name, key_name, scopes, per_second, by, ending=None)

    async def rotate_key(
        self, name: str, key_id: str, *, keep_seconds: float = 3600.0, by: str | None = None
    ) -> tuple[str, EndpointKey]:
        """Make a key like another, which still holds for a while, so that callers can change."""
        old = _key(self._store.whole_endpoint(self._ours(name).id), key_id)
        ends = self._clock() + keep_seconds
        return await self._new_key(
            name, old.name, old.scopes, old.per_second, by, ending=replace(old, ends_at=ends)
        )

    async def revoke_key(self, name: str, key_id: str) -> EndpointKey:
        """Have a key hold no more, from now on."""
        while True:
            whole = self._store.whole_endpoint(self._ours(name).id)
            key = replace(_key(whole, key_id), ends_at=self._clock())
            detail = {"key": key.id}
            if self._store.change_endpoint(
                whole.endpoint, event="endpoint.key-revoked", detail=detail, keys=[key]
            ):
                await self.router.publish()
                return key

    async def _new_key(
        self,
        name: str,
        key_name: str,
        scopes: tuple[str, ...],
        per_second: float | None,
        by: str | None,
        *,
        ending: EndpointKey | None,
    ) -> tuple[str, EndpointKey]:
        while True:
            endpoint = self._ours(name)
            secret, key = new_key(
                endpoint.id,
                key_name,
                scopes=scopes,
                per_second=per_second,
                by=by or getpass.getuser(),
            )
            keys = [key] if ending is None else [key, ending]
            detail = {"key": key.id}
            if self._store.change_endpoint(
                endpoint, event="endpoint.key-added", detail=detail, keys=keys
            ):
                await self.router.publish()
                return secret, key

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
        return _answered(endpoint.name, answer)

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
        tried = _tried(view.endpoint)
        return tried is None or view.whole.version(tried).state is not VersionState.STARTING

    async def gone(self, name: str, *, seconds: float) -> EndpointView:
        """Do what follows until nothing runs any more of an endpoint that was removed."""
        deadline = time.monotonic() + seconds
        while True:
            pause = await self.tick()
            view = await self.show(name)
            if not view.whole.replicas or time.monotonic() >= deadline:
                await self.keeping.settled()
                return view
            await asyncio.sleep(min(max(pause, 0.05), _POLL_SECONDS))


_NO_GATES: Final = Gates(error_rate=None, p95_ms=None, agreement=None)


def _main(endpoint: Endpoint) -> int:
    main = endpoint.main
    if main is None:
        raise Conflict(f"endpoint {endpoint.name} sends its requests nowhere")
    return main


def _tried(endpoint: Endpoint) -> int | None:
    """Return the version that is tried out beside the one that is served."""
    if endpoint.rollout is not None:
        return endpoint.rollout.new
    main = endpoint.main
    others = [share.version for share in endpoint.traffic if share.version != main]
    return max(others) if others else endpoint.shadow


def _before(whole: Whole) -> int:
    """Return the newest version before the one that is served which was ever good."""
    main = _main(whole.endpoint)
    good = (VersionState.READY, VersionState.RETIRED)
    found = [each.number for each in whole.versions if each.number < main and each.state in good]
    if not found:
        raise NotFound(
            f"endpoint {whole.endpoint.name} has no version before {main} to go back to",
            hint="--to names one",
        )
    return max(found)


def _refuse_two(endpoint: Endpoint) -> None:
    rollout = endpoint.rollout
    if rollout is not None:
        raise Conflict(
            f"endpoint {endpoint.name} is on its way from version {rollout.old} to {rollout.new}",
            hint=f"endpoint promote {endpoint.name}, or endpoint rollback {endpoint.name}, first",
        )


def _checked(scaling: Scaling) -> Scaling:
    if not 0 <= scaling.least <= scaling.most or not 1 <= scaling.most <= _MOST_REPLICAS:
        raise UsageError(
            f"from {scaling.least} to {scaling.most} replicas cannot be",
            hint=f"--min from 0, --max from 1 to {_MOST_REPLICAS}",
            option="min",
        )
    if not 0 < scaling.in_flight < math.inf:
        raise UsageError("a replica is good for at least one request", option="in_flight")
    for name in ("idle_seconds", "cool_seconds"):
        if not 0 <= getattr(scaling, name) < math.inf:
            raise UsageError(f"{name} is a time from 0 on", option=name)
    return scaling


def _key(whole: Whole, key_id: str) -> EndpointKey:
    found = [each for each in whole.keys if each.id == key_id]
    if not found:
        now = [each for each in whole.keys if each.ends_at is None]
        found = [each for each in now if each.name == key_id]
    if len(found) == 1:
        return found[0]
    ids = ", ".join(f"{each.id} ({each.name})" for each in whole.keys) or "none"
    raise NotFound(
        f"endpoint {whole.endpoint.name} has no key {key_id!r}"
        if not found
        else f"several keys are called {key_id!r}",
        hint=f"there are: {ids}",
    )


def _answered(name: str, answer: Answer) -> Any:
    try:
        told = json.loads(answer.body) if answer.body else None
    except ValueError:
        told = answer.body.decode(errors="replace")
    if answer.status < 400:  # noqa: PLR2004 - what HTTP calls an error
        return told
    said = told.get("error") if isinstance(told, dict) else told
    message = f"endpoint {name} answers {answer.status}: {said or 'nothing'}"
    if answer.status < 500:  # noqa: PLR2004
        raise UsageError(message, hint=f"endpoint show {name} tells what it takes")
    raise Unreachable(message, hint=f"endpoint logs {name}")
