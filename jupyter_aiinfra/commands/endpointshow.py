"""Endpoints as tables, lines and values."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from jupyter_aiinfra.commands.costshow import money_text
from jupyter_aiinfra.cost.money import wire_money
from jupyter_aiinfra.endpoint import Endpoint, EndpointKey, EndpointVersion, Replica
from jupyter_aiinfra.engine.endpointcosts import EndpointCost, RequestCost, ServedCost
from jupyter_aiinfra.engine.endpointviews import EndpointView
from jupyter_aiinfra.model import Event, to_wire
from jupyter_aiinfra.promote.scaling import p95_of
from jupyter_aiinfra.routing.status import VersionStatus
from jupyter_aiinfra.store.endpoints import Whole

__all__ = [
    "ENDPOINT_COLUMNS",
    "EVENT_COLUMNS",
    "KEY_COLUMNS",
    "REQUEST_COLUMNS",
    "VERSION_COLUMNS",
    "cost_value",
    "endpoint_lines",
    "endpoint_rows",
    "endpoint_value",
    "event_rows",
    "key_rows",
    "key_value",
    "request_rows",
    "request_value",
    "thousand_text",
    "traffic_text",
    "version_rows",
]

ENDPOINT_COLUMNS: Final = (
    *("name", "state", "traffic", "replicas", "requests", "errors", "1,000 cost", "url"),
)
VERSION_COLUMNS: Final = (
    *("version", "state", "pool", "replicas", "requests", "errors", "p95"),
    *("agrees", "1,000 cost", "since", "why"),
)
REQUEST_COLUMNS: Final = (
    *("endpoint", "version", "requests", "cost", "1,000 cost"),
    *("lately: requests", "cost", "1,000 cost", "why not"),
)
KEY_COLUMNS: Final = ("key", "name", "for", "rate", "since", "state")
EVENT_COLUMNS: Final = ("at", "what", "why")

_UNKNOWN: Final = "n/a"


def traffic_text(view: EndpointView) -> str:
    """Return which version gets which part of the requests, as it is in effect."""
    told = view.status.traffic if view.status is not None else ()
    shares: list[tuple[str, float, Any]] = [(s.version, s.weight, s.header) for s in told]
    if not shares:
        shares = [(str(s.version), s.weight, s.header) for s in view.endpoint.traffic]
    total = sum(weight for _, weight, _ in shares) or 1.0
    said = [_share(version, weight / total, header) for version, weight, header in shares]
    if view.endpoint.shadow is not None:
        said.append(f"v{view.endpoint.shadow} shadow")
    return ", ".join(said)


def _share(version: str, part: float, header: Any) -> str:
    by = " by " + ", ".join(f"{k}={v}" for k, v in header.items()) if header else ""
    return f"v{version}{by}" if by and not part else f"v{version} {100 * part:.3g}%{by}"


def endpoint_rows(views: Sequence[EndpointView]) -> list[tuple[str, ...]]:
    """Return a row an endpoint."""
    return [
        (
            view.endpoint.name,
            f"{view.state}: {view.problem}" if view.problem else view.state,
            traffic_text(view),
            _replicas(view),
            _sum(view, "requests"),
            _sum(view, "errors"),
            thousand_text(None if view.cost is None else view.cost.whole.all),
            view.url or _UNKNOWN,
        )
        for view in views
    ]


def _replicas(view: EndpointView) -> str:
    wanted = sum(view.whole.version(n).wanted for n in view.endpoint.in_use)
    return _UNKNOWN if view.status is None else f"{view.up}/{wanted}"


def _sum(view: EndpointView, name: str) -> str:
    if view.status is None:
        return _UNKNOWN
    return str(sum(getattr(told, name) for told in view.status.versions.values()))


def endpoint_lines(view: EndpointView) -> list[str]:
    """Return what is to be known of one endpoint, but for its versions."""
    endpoint, scaling, options = view.endpoint, view.endpoint.scaling, view.endpoint.options
    lines = [
        f"{endpoint.name} ({endpoint.id}), {view.state}",
        f"  url       {view.url or _UNKNOWN}",
        *([f"  grpc      {view.grpc}, model {endpoint.name}"] if view.grpc else []),
        f"  traffic   {traffic_text(view)}",
        f"  replicas  {_replicas(view)} up, from {scaling.least} to {scaling.most}",
        f"  keys      {_keys(view.whole.keys)}",
        f"  limits    {options.max_body_bytes >> 20} MiB, {options.timeout_seconds:g} s",
        *_cost_lines(view.cost),
    ]
    rollout = endpoint.rollout
    if rollout is not None:
        told = view.status.rollout if view.status is not None else None
        how = f"{rollout.kind} from v{rollout.old} to v{rollout.new}"
        if not rollout.begun:
            lines.append(f"  change    {how}: waits for its replicas")
        elif told is not None and told.id == rollout.id:
            at = rollout.steps[min(told.step, len(rollout.steps) - 1)]
            lines.append(f"  change    {how}: {told.state} at {at:g}%; {told.reason}")
        else:
            lines.append(f"  change    {how}: begins")
    if view.problem:
        lines.append(f"  problem   {view.problem}")
    return lines


def _keys(keys: Sequence[EndpointKey]) -> str:
    now = time.time()
    valid = sum(key.ends_at is None or key.ends_at > now for key in keys)
    return f"{valid} of {len(keys)} hold" if keys else "none: whoever reaches it may call it"


def version_rows(view: EndpointView) -> list[tuple[str, ...]]:
    """Return a row a version, the newest first."""
    return [_version_row(view, each) for each in reversed(view.whole.versions)]


def _version_replicas(view: EndpointView, version: EndpointVersion) -> str:
    if view.status is None:
        return _UNKNOWN
    told = view.status.versions.get(str(version.number))
    if told is None:  # the router has nothing to do with it: it is kept for a roll back, or gone
        return f"{version.wanted} kept" if version.wanted else "none"
    return f"{sum(each.state == 'up' for each in told.replicas.values())}/{version.wanted}"


def _pool_text(version: EndpointVersion) -> str:
    fallback = version.options.fallback_pool
    return version.pool if fallback is None else f"{version.pool}, else {fallback}"


def _version_row(view: EndpointView, version: EndpointVersion) -> tuple[str, ...]:
    told = None if view.status is None else view.status.versions.get(str(version.number))
    return (
        str(version.number),
        version.state.value,
        _pool_text(version),
        _version_replicas(view, version),
        _UNKNOWN if told is None else str(told.requests),
        _UNKNOWN if told is None else str(told.errors),
        _p95(told),
        _agrees(told),
        thousand_text(_version_cost(view, version.number)),
        time.strftime("%Y-%m-%d %H:%M", time.localtime(version.created_at)),
        version.reason or version.note,
    )


def _p95(told: VersionStatus | None) -> str:
    found = None if told is None else p95_of(told.latency.buckets_ms, told.latency.counts)
    return _UNKNOWN if found is None else f"{found:g} ms"


def _agrees(told: VersionStatus | None) -> str:
    compared = 0 if told is None else told.agreement.same + told.agreement.different
    if told is None or not compared:
        return _UNKNOWN
    return f"{100 * told.agreement.same / compared:.3g}%"


def _version_cost(view: EndpointView, number: int) -> RequestCost | None:
    found = None if view.cost is None else view.cost.versions.get(number)
    return None if found is None else found.all


def thousand_text(cost: RequestCost | None) -> str:
    """Return what 1,000 requests cost; the unknown is ``n/a``, and never zero."""
    return money_text((cost.per_thousand if cost is not None else None) or ())


def _cost_lines(cost: EndpointCost | None) -> list[str]:
    if cost is None:
        return []
    lines = []
    for name, each in (("cost", cost.whole.all), ("lately", cost.whole.window)):
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(each.since))
        said = f"{thousand_text(each)} for 1,000 requests"
        if each.reason:
            said += f": {each.reason}"
        elif each.known:
            said += f"; {money_text(each.cost)} for {each.requests:,} since {since}"
        lines.append(f"  {name:<9} {said}")
    return lines if cost.whole.window.since > cost.whole.all.since else lines[:1]


def cost_value(cost: ServedCost | None) -> dict[str, Any] | None:
    """Return what requests cost for a program."""
    if cost is None:
        return None
    return {"all": _request_cost(cost.all), "window": _request_cost(cost.window)}


def request_rows(found: Sequence[tuple[Whole, EndpointCost]]) -> list[tuple[str, ...]]:
    """Return a row an endpoint, and one for each of its versions that has cost or answered."""
    rows = []
    for whole, cost in found:
        rows.append(_request_row(whole.endpoint.name, "all", cost.whole))
        for number, each in reversed(list(cost.versions.items())):
            if each.all.cost or each.all.unpriced_seconds or each.all.requests:
                rows.append(_request_row(whole.endpoint.name, str(number), each))
    return rows


def _request_row(name: str, version: str, cost: ServedCost) -> tuple[str, ...]:
    told = [text for each in (cost.all, cost.window) for text in _request_texts(each)]
    return (name, version, *told, cost.all.reason or cost.window.reason)


def _request_texts(cost: RequestCost) -> tuple[str, str, str]:
    return (
        _UNKNOWN if cost.requests is None else f"{cost.requests:,}",
        money_text(cost.cost if cost.known else ()),
        thousand_text(cost),
    )


def request_value(endpoint: Endpoint, cost: EndpointCost) -> dict[str, Any]:
    """Return what requests to an endpoint cost for a program."""
    return {
        "id": endpoint.id,
        "name": endpoint.name,
        "cost": cost_value(cost.whole),
        "versions": {str(number): cost_value(each) for number, each in cost.versions.items()},
    }


def _request_cost(cost: RequestCost) -> dict[str, Any]:
    thousand = cost.per_thousand
    return {
        "since": cost.since,
        "cost": [wire_money(each) for each in cost.cost] if cost.known else None,
        "requests": cost.requests,
        "per_thousand": None if thousand is None else [wire_money(each) for each in thousand],
        "reason": cost.reason,
    }


def key_rows(keys: Sequence[EndpointKey]) -> list[tuple[str, ...]]:
    """Return a row a key."""
    now = time.time()
    return [
        (
            key.id,
            key.name,
            ", ".join(key.scopes),
            _UNKNOWN if key.per_second is None else f"{key.per_second:g}/s",
            time.strftime("%Y-%m-%d %H:%M", time.localtime(key.created_at)),
            _standing(key, now),
        )
        for key in keys
    ]


def _standing(key: EndpointKey, now: float) -> str:
    if key.ends_at is None:
        return "holds"
    if key.ends_at <= now:
        return "revoked"
    return f"holds {key.ends_at - now:.0f} s more"


def key_value(key: EndpointKey, *, secret: str | None = None) -> dict[str, Any]:
    """Return a key for a program; its digest is nobody's business."""
    told: dict[str, Any] = to_wire(key)
    del told["digest"]
    return told if secret is None else {**told, "secret": secret}


def event_rows(events: Sequence[Event]) -> list[tuple[str, ...]]:
    """Return a row an event, the newest first."""
    return [
        (
            time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each.at)),
            each.kind.removeprefix("endpoint."),
            _detail(each),
        )
        for each in reversed(events)
    ]


def _detail(event: Event) -> str:
    told = {key: value for key, value in event.detail.items() if value is not None}
    told.pop("name", None)
    reason = told.pop("reason", "")
    rest = ", ".join(f"{key} {value}" for key, value in sorted(told.items()))
    return "; ".join(each for each in (str(reason), rest) if each)


def endpoint_value(view: EndpointView) -> dict[str, Any]:
    """Return an endpoint for a program."""
    return {
        **to_wire(view.endpoint),
        "state": view.state,
        "url": view.url,
        "grpc": view.grpc,
        "problem": view.problem,
        "versions": [_version_value(view, each) for each in view.whole.versions],
        "keys": [key_value(key) for key in view.whole.keys],
        "cost": cost_value(None if view.cost is None else view.cost.whole),
        "status": to_wire(view.status),
    }


def _version_value(view: EndpointView, version: EndpointVersion) -> dict[str, Any]:
    told = to_wire(version)
    package = told["package"]
    del package["files"]
    told["options"].pop("environment_files")
    told["replicas"] = [_replica_value(each) for each in view.whole.of(version.number)]
    found = None if view.cost is None else view.cost.versions.get(version.number)
    return {**told, "package": package, "cost": cost_value(found)}


def _replica_value(replica: Replica) -> dict[str, Any]:
    return {"id": replica.id, "state": replica.state.value, "created_at": replica.created_at}
