"""From what is on record of endpoints to the configuration of their router; pure."""

from __future__ import annotations

from collections.abc import Iterable

from jupyter_aiinfra.endpoint import Endpoint, ReplicaState, Rollout
from jupyter_aiinfra.routing import config
from jupyter_aiinfra.store.endpoints import Whole

__all__ = ["route"]


def route(
    wholes: Iterable[Whole],
    *,
    port: int,
    revision: int,
    now: float,
    grpc_port: int | None = None,
) -> config.Config:
    """Return what the router is told. Endpoints that were removed are not in it."""
    served = [whole for whole in wholes if whole.endpoint.removed_at is None]
    return config.Config(
        revision=revision,
        port=port,
        grpc_port=grpc_port,
        endpoints={whole.endpoint.name: _endpoint(whole, now) for whole in served},
    )


def _endpoint(whole: Whole, now: float) -> config.Endpoint:
    endpoint = whole.endpoint
    options = endpoint.options
    used = sorted(endpoint.in_use)
    return config.Endpoint(
        versions={str(number): _version(whole, number) for number in used},
        traffic=tuple(
            config.Share(
                version=str(share.version),
                weight=share.weight,
                header=None if share.header is None else dict(share.header),
            )
            for share in endpoint.traffic
        ),
        shadow=None if endpoint.shadow is None else str(endpoint.shadow),
        rollout=_rollout(endpoint),
        keys=_keys(whole, now),
        cors=options.cors,
        max_body=options.max_body_bytes,
        timeout=options.timeout_seconds,
        hold_seconds=options.hold_seconds,
        max_held=options.max_held,
        sampling=config.Sampling(
            rate=options.sampling,
            redact=options.redact,
            keep=options.samples,
            days=options.sample_days,
            since=endpoint.created_at,
        ),
        idempotent=options.idempotent,
        sticky=options.sticky,
        tolerance=options.tolerance,
    )


def _version(whole: Whole, number: int) -> config.Version:
    return config.Version(
        replicas=tuple(
            config.Replica(
                id=replica.id,
                address=replica.reach.address,
                tunnel=None
                if replica.reach.tunnel is None
                else config.Tunnel(argv=replica.reach.tunnel),
            )
            for replica in whole.of(number, ReplicaState.SERVING)
            if replica.reach is not None
        )
    )


def _rollout(endpoint: Endpoint) -> config.Rollout | None:
    asked: Rollout | None = endpoint.rollout
    if asked is None or not asked.begun:
        return None
    return config.Rollout(
        id=asked.id,
        from_=str(asked.old),
        to=str(asked.new),
        steps=asked.steps,
        step_seconds=asked.step_seconds,
        least_requests=asked.least_requests,
        gates=config.Gates(
            error_rate=asked.gates.error_rate,
            p95_ms=asked.gates.p95_ms,
            agreement=asked.gates.agreement,
            tolerance=endpoint.options.tolerance,
        ),
        kind=asked.kind,
    )


def _keys(whole: Whole, now: float) -> tuple[config.ApiKey, ...] | None:
    # Where there was ever a key, one is needed: to revoke the last one opens nothing.
    if not whole.keys:
        return None
    return tuple(
        config.ApiKey(
            id=key.id,
            name=key.name,
            digest=key.digest,
            scopes=key.scopes,
            per_second=key.per_second,
        )
        for key in whole.keys
        if key.ends_at is None or key.ends_at > now
    )
