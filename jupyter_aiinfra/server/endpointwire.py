"""What crosses between server and browser of endpoints; see ``wire.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from jupyter_aiinfra.endpoint import (
    EndpointKey,
    EndpointOptions,
    EndpointVersion,
    Gates,
    ReplicaState,
    Rollout,
    RolloutKind,
    Scaling,
    Share,
    VersionState,
)
from jupyter_aiinfra.engine.endpointviews import EndpointView
from jupyter_aiinfra.model import Event, to_wire
from jupyter_aiinfra.promote.scaling import p95_of
from jupyter_aiinfra.routing.status import VersionStatus
from jupyter_aiinfra.server.endpointcostwire import ServedCostItem, served_item

__all__ = [
    "EndpointDetail",
    "EndpointEvent",
    "EndpointItem",
    "EndpointKeyItem",
    "EndpointReplicaItem",
    "EndpointRolloutItem",
    "EndpointSecretItem",
    "EndpointShareItem",
    "EndpointVersionItem",
    "EndpointsItem",
    "event_item",
    "item_of",
    "key_item",
]

_State = Literal["removed", "starting", "failed", "asleep", "degraded", "ready"]


@dataclass(frozen=True, kw_only=True)
class EndpointShareItem:
    """Which part of the requests a version gets, and by which header it is asked besides."""

    version: int
    weight: float
    header: Mapping[str, str] | None


@dataclass(frozen=True, kw_only=True)
class EndpointReplicaItem:
    """A copy of a version; its id is that of its job.

    ``router`` is how the router has it: ``starting``, ``up``, ``ejected`` or ``draining``; ``null``
    where it does not know it, or says nothing.
    """

    id: str
    state: ReplicaState
    router: str | None
    in_flight: int | None
    reason: str
    created_at: float


@dataclass(frozen=True, kw_only=True)
class EndpointVersionItem:
    """A version; what the router counted of it is ``null`` where it says nothing.

    ``fallback_pool`` takes the place of what is lost on ``pool``. ``workers`` is ``null`` for one
    on each GPU, else for each core. ``latency_counts`` counts answers up to each of
    ``latency_buckets_ms``, and one more above all.
    """

    number: int
    state: VersionState
    reason: str | None
    pool: str
    fallback_pool: str | None
    workers: int | None
    gpus: int
    wanted: int
    package: str
    digest: str
    size_bytes: int
    manifest: Mapping[str, Any]
    facts: Mapping[str, Any]
    note: str
    created_at: float
    created_by: str | None
    replicas: tuple[EndpointReplicaItem, ...]
    requests: int | None
    errors: int | None
    rejected: int | None
    in_flight: int | None
    p95_ms: float | None
    latency_buckets_ms: tuple[float, ...]
    latency_counts: tuple[int, ...]
    same: int | None
    different: int | None
    cost: ServedCostItem | None


@dataclass(frozen=True, kw_only=True)
class EndpointRolloutItem:
    """A change from one version to another.

    ``percent`` is the part of the new version now; ``null`` until its replicas answer.
    """

    id: str
    old: int
    new: int
    kind: RolloutKind
    steps: tuple[float, ...]
    gates: Gates
    begun: bool
    percent: float | None
    state: str | None
    reason: str
    since: float


@dataclass(frozen=True, kw_only=True)
class EndpointKeyItem:
    """A key of callers; its secret is nowhere."""

    id: str
    name: str
    scopes: tuple[str, ...]
    per_second: float | None
    created_at: float
    created_by: str | None
    ends_at: float | None


@dataclass(frozen=True, kw_only=True)
class EndpointSecretItem:
    """A new key with its secret, which is shown this once."""

    secret: str
    key: EndpointKeyItem


@dataclass(frozen=True, kw_only=True)
class EndpointItem:
    """An endpoint, its versions and how they do.

    ``url`` is where others call it; through this server it is ``/aiinfra/endpoints/NAME/…``.
    ``traffic`` is as in effect. ``held`` requests wait for a replica.
    """

    id: str
    name: str
    state: _State
    problem: str
    url: str | None
    traffic: tuple[EndpointShareItem, ...]
    shadow: int | None
    rollout: EndpointRolloutItem | None
    options: EndpointOptions
    scaling: Scaling
    versions: tuple[EndpointVersionItem, ...]
    keys: tuple[EndpointKeyItem, ...]
    held: int | None
    refused: int | None
    last_request: float | None
    cost: ServedCostItem | None
    created_at: float
    created_by: str | None
    removed_at: float | None


@dataclass(frozen=True, kw_only=True)
class EndpointEvent:
    """Something that has happened to an endpoint."""

    at: float
    kind: str
    reason: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class EndpointDetail:
    """An endpoint, and what has happened to it, oldest first."""

    item: EndpointItem
    events: tuple[EndpointEvent, ...]


@dataclass(frozen=True, kw_only=True)
class EndpointsItem:
    """All endpoints."""

    endpoints: tuple[EndpointItem, ...]


def item_of(view: EndpointView) -> EndpointItem:
    """Return an endpoint as it crosses."""
    endpoint, status = view.endpoint, view.status
    return EndpointItem(
        id=endpoint.id,
        name=endpoint.name,
        state=view.state,
        problem=view.problem,
        url=view.url,
        traffic=_traffic(view),
        shadow=endpoint.shadow,
        rollout=None if endpoint.rollout is None else _rollout(view, endpoint.rollout),
        options=endpoint.options,
        scaling=endpoint.scaling,
        versions=tuple(_version(view, each) for each in view.whole.versions),
        keys=tuple(key_item(each) for each in view.whole.keys),
        held=None if status is None else status.held,
        refused=None if status is None else status.refused,
        last_request=None if status is None else status.last_request,
        cost=served_item(None if view.cost is None else view.cost.whole),
        created_at=endpoint.created_at,
        created_by=endpoint.created_by,
        removed_at=endpoint.removed_at,
    )


def _traffic(view: EndpointView) -> tuple[EndpointShareItem, ...]:
    told = view.status.traffic if view.status is not None else ()
    if told:
        return tuple(
            EndpointShareItem(version=int(each.version), weight=each.weight, header=each.header)
            for each in told
        )
    return tuple(_share(each) for each in view.endpoint.traffic)


def _share(share: Share) -> EndpointShareItem:
    return EndpointShareItem(version=share.version, weight=share.weight, header=share.header)


def _rollout(view: EndpointView, asked: Rollout) -> EndpointRolloutItem:
    told = None if view.status is None else view.status.rollout
    now = told if told is not None and told.id == asked.id else None
    step = None if now is None else min(now.step, len(asked.steps) - 1)
    return EndpointRolloutItem(
        id=asked.id,
        old=asked.old,
        new=asked.new,
        kind=asked.kind,
        steps=asked.steps,
        gates=asked.gates,
        begun=asked.begun,
        percent=None if step is None else asked.steps[step],
        state=None if now is None else now.state,
        reason="its replicas do not answer yet" if now is None else now.reason,
        since=asked.asked_at if now is None else now.since,
    )


def _version(view: EndpointView, version: EndpointVersion) -> EndpointVersionItem:
    told = None if view.status is None else view.status.versions.get(str(version.number))
    found = None if told is None else p95_of(told.latency.buckets_ms, told.latency.counts)
    package = version.package
    return EndpointVersionItem(
        number=version.number,
        state=version.state,
        reason=version.reason,
        pool=version.pool,
        fallback_pool=version.options.fallback_pool,
        workers=version.options.workers,
        gpus=version.options.gpus,
        wanted=version.wanted,
        package=package.name,
        digest=package.digest,
        size_bytes=package.size_bytes,
        manifest=package.manifest,
        facts=package.facts,
        note=version.note,
        created_at=version.created_at,
        created_by=version.created_by,
        replicas=_replicas(view, version.number, told),
        requests=None if told is None else told.requests,
        errors=None if told is None else told.errors,
        rejected=None if told is None else told.rejected,
        in_flight=None if told is None else told.in_flight,
        # Slower than the largest bound is not to be told.
        p95_ms=None if found is None or found == float("inf") else found,
        latency_buckets_ms=() if told is None else told.latency.buckets_ms,
        latency_counts=() if told is None else told.latency.counts,
        same=None if told is None else told.agreement.same,
        different=None if told is None else told.agreement.different,
        cost=served_item(None if view.cost is None else view.cost.versions.get(version.number)),
    )


def _replicas(
    view: EndpointView, number: int, told: VersionStatus | None
) -> tuple[EndpointReplicaItem, ...]:
    found = []
    for each in view.whole.of(number):
        known = None if told is None else told.replicas.get(each.id)
        found.append(
            EndpointReplicaItem(
                id=each.id,
                state=each.state,
                router=None if known is None else known.state,
                in_flight=None if known is None else known.in_flight,
                reason=each.reason or ("" if known is None else known.reason),
                created_at=each.created_at,
            )
        )
    return tuple(found)


def key_item(key: EndpointKey) -> EndpointKeyItem:
    """Return a key as it crosses: without its digest."""
    return EndpointKeyItem(
        id=key.id,
        name=key.name,
        scopes=key.scopes,
        per_second=key.per_second,
        created_at=key.created_at,
        created_by=key.created_by,
        ends_at=key.ends_at,
    )


def event_item(event: Event) -> EndpointEvent:
    """Return something that has happened as it crosses."""
    detail: dict[str, Any] = dict(to_wire(event.detail))
    reason = str(detail.pop("reason", None) or "")
    return EndpointEvent(
        at=event.at, kind=event.kind.removeprefix("endpoint."), reason=reason, detail=detail
    )
