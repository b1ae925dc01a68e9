"""What is asked of endpoints, and how one stands as on record and as its router sees it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from jupyter_aiinfra.endpoint import (
    Endpoint,
    EndpointOptions,
    EndpointVersion,
    Gates,
    ReplicaOptions,
    Scaling,
    VersionState,
)
from jupyter_aiinfra.engine.endpointcosts import EndpointCost
from jupyter_aiinfra.errors import Conflict, NotFound, UsageError
from jupyter_aiinfra.routing.status import EndpointStatus, Status
from jupyter_aiinfra.store.endpoints import Whole

__all__ = [
    "ALL",
    "CANARY_STEPS",
    "Asked",
    "EndpointView",
    "How",
    "base_of",
    "before_of",
    "check_change",
    "check_options",
    "check_replicas",
    "check_scaling",
    "main_of",
    "refuse_two",
    "replicas_of",
    "steps_of",
    "tried_of",
]

ALL: Final = 100.0
"""The whole of the traffic."""

CANARY_STEPS: Final = (5.0, 25.0, 50.0, 100.0)

_MOST_REPLICAS: Final = 256

_HEADER: Final = re.compile(r"[A-Za-z0-9-]+")
_ORIGIN: Final = re.compile(r"\*|null|https?://[^/\s]+")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BOUNDS: Final = (
    ("hold_seconds", 0, 86_400, "seconds"),
    ("max_held", 0, 1_000_000, "a number"),
    ("timeout_seconds", 0.001, 86_400, "seconds"),
    ("max_body_bytes", 1, 1 << 40, "bytes"),
    ("sampling", 0, 1, "a share"),
    ("samples", 0, 1_000_000, "a number"),
    ("sample_days", 0.001, 3650, "days"),
    ("keep_seconds", 0, 365 * 86_400, "seconds"),
    ("tolerance", 0, 1, "a share"),
)

_REPLICA_BOUNDS: Final = (
    ("workers", 1, 1024, "a number"),
    ("gpus", 0, 1024, "a number"),
    ("max_batch", 1, 1_000_000, "a number"),
    ("max_queue", 1, 1_000_000, "a number"),
    ("drain_seconds", 0, 86_400, "seconds"),
)

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
    cost
        What requests have cost; ``None``: that was not asked for.
    """

    whole: Whole
    url: str | None = None
    status: EndpointStatus | None = None
    cost: EndpointCost | None = None
    router: Status | None = None
    problem: str = ""

    @property
    def grpc(self) -> str | None:
        """``HOST:PORT`` where it is called over gRPC, as a model of its name; ``None``: nowhere."""
        router = self.router
        return f"{router.host}:{router.grpc_port}" if router and router.grpc_port else None

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
        return (ALL,)
    if how == "rolling":
        count = min(max(replicas, 1), 10)
        return tuple(round(ALL * (i + 1) / count, 3) for i in range(count))
    if not percent:
        return CANARY_STEPS
    for each in percent:
        if not math.isfinite(each) or not 0 < each <= ALL:
            raise UsageError(
                f"{each:g} is no part of the traffic", hint="a percentage above 0", option="canary"
            )
    if len(percent) == 1:
        return tuple(sorted({*percent, *(each for each in CANARY_STEPS if each > percent[0])}))
    return tuple(sorted({*percent, ALL}))


def main_of(endpoint: Endpoint) -> int:
    """Return the version with most of the traffic, or raise Conflict."""
    main = endpoint.main
    if main is None:
        raise Conflict(f"endpoint {endpoint.name} sends its requests nowhere")
    return main


def base_of(whole: Whole) -> EndpointVersion:
    """Return the version that another is like where nothing else is said."""
    return whole.version(whole.endpoint.main or whole.endpoint.newest)


def tried_of(endpoint: Endpoint) -> int | None:
    """Return the version that is tried out beside the one that is served."""
    if endpoint.rollout is not None:
        return endpoint.rollout.new
    main = endpoint.main
    others = [share.version for share in endpoint.traffic if share.version != main]
    return max(others) if others else endpoint.shadow


def before_of(whole: Whole) -> int:
    """Return the newest version before the one that is served which was ever good."""
    main = main_of(whole.endpoint)
    good = (VersionState.READY, VersionState.RETIRED)
    found = [each.number for each in whole.versions if each.number < main and each.state in good]
    if not found:
        others = [str(each.number) for each in whole.versions if each.number != main]
        raise NotFound(
            f"endpoint {whole.endpoint.name} has no version before {main} to go back to",
            hint=f"--to names one: {', '.join(others)}" if others else "it is the only one",
        )
    return max(found)


def refuse_two(endpoint: Endpoint) -> None:
    """Raise Conflict where a change is under way."""
    rollout = endpoint.rollout
    if rollout is not None:
        raise Conflict(
            f"endpoint {endpoint.name} is on its way from version {rollout.old} to {rollout.new}",
            hint=f"endpoint promote {endpoint.name}, or endpoint rollback {endpoint.name}, first",
        )


def check_options(options: EndpointOptions) -> EndpointOptions:
    """Return what the router does for an endpoint, or raise UsageError: it takes no other."""
    _check_bounds(options, _BOUNDS)
    if not _HEADER.fullmatch(options.sticky):
        raise UsageError(
            f"{options.sticky!r} is no name of a header",
            hint="such as X-Session-Id",
            option="sticky",
        )
    for origin in options.cors:
        if not _ORIGIN.fullmatch(origin):
            raise UsageError(
                f"{origin!r} is no origin of pages",
                hint="such as https://example.org, without a path; * is any",
                option="cors",
            )
    if not all(options.redact):
        raise UsageError(
            "what is left out has a name", hint="such as /inputs/0/name, or name", option="redact"
        )
    return options


def check_change(asked: Asked) -> Asked:
    """Return how a version takes over, or raise UsageError: the router would not take it."""
    gates = asked.gates
    for name, value, most in (
        ("max_errors", gates.error_rate, 1.0),
        ("min_agreement", gates.agreement, 1.0),
        ("step", asked.step_seconds, 365 * 86_400.0),
        ("least_requests", asked.least_requests, 1e9),
    ):
        _check_bound(name, value, 0, most, "a number")
    _check_p95("max_p95", gates.p95_ms, more="; --no-gates asks for none")
    for name in asked.header or ():
        if not _HEADER.fullmatch(name):
            raise UsageError(
                f"{name!r} is no name of a header", hint="such as X-Version=2", option="header"
            )
    return asked


def _check_bounds(options: Any, bounds: Sequence[tuple[str, float, float, str]]) -> None:
    for name, least, most, what in bounds:
        _check_bound(name, getattr(options, name), least, most, what)


def _check_bound(name: str, value: float | None, least: float, most: float, what: str) -> None:
    if value is not None and not least <= value <= most:
        raise UsageError(
            f"{name} {value:g} cannot be", hint=f"{what} from {least:g} to {most:g}", option=name
        )


def _check_p95(name: str, value: float | None, *, more: str = "") -> None:
    if value is not None and not 0 < value < math.inf:
        raise UsageError(
            f"{name} {value:g} cannot be", hint=f"milliseconds above 0{more}", option=name
        )


def replicas_of(
    old: ReplicaOptions, given: Mapping[str, Any], *, spot: bool | None = None
) -> ReplicaOptions:
    """Return how replicas run: as before, but for what is given and not ``None``.

    Parameters
    ----------
    spot
        Whether machines of the pool may be taken back: then another one has to take their place.
        ``False`` says that none does any more.

    Raises
    ------
    UsageError
        Nothing takes the place of machines that may be taken back, or two things contradict.
    """
    made = replace(old, **{name: value for name, value in given.items() if value is not None})
    if spot is False:
        if given.get("fallback_pool") is not None:
            raise UsageError(
                f"--no-spot and --fallback-pool {made.fallback_pool} contradict each other",
                hint="choose one",
                option="fallback_pool",
            )
        return replace(made, fallback_pool=None)
    if spot and made.fallback_pool is None:
        raise UsageError(
            "--spot is for machines that are taken back, and nothing takes their place",
            hint="--fallback-pool POOL",
            option="fallback_pool",
        )
    return made


def check_replicas(options: ReplicaOptions, *, pool: str) -> ReplicaOptions:
    """Return how the replicas of a version on a pool run, or raise UsageError."""
    _check_bounds(options, _REPLICA_BOUNDS)
    if options.fallback_pool == pool:
        raise UsageError(
            f"pool {pool} cannot take the place of itself",
            hint="--fallback-pool names another, --no-spot none",
            option="fallback_pool",
        )
    for option, names in (("env", options.env), ("secrets", options.secrets)):
        wrong = [name for name in names if not _VARIABLE.fullmatch(name)]
        if wrong:
            raise UsageError(
                f"{wrong[0]!r} is no name of a variable",
                hint="letters, digits and _, and no digit first",
                option=option,
            )
    return options


def check_scaling(scaling: Scaling) -> Scaling:
    """Return how an endpoint is scaled, or raise UsageError."""
    if not 0 <= scaling.least <= scaling.most or not 1 <= scaling.most <= _MOST_REPLICAS:
        raise UsageError(
            f"from {scaling.least} to {scaling.most} replicas cannot be",
            hint=f"--min from 0, --max from 1 to {_MOST_REPLICAS}",
            option="min",
        )
    if not 0 < scaling.in_flight < math.inf:
        raise UsageError("a replica is good for at least one request", option="in_flight")
    _check_p95("p95_ms", scaling.p95_ms)
    for name in ("idle_seconds", "cool_seconds"):
        if not 0 <= getattr(scaling, name) < math.inf:
            raise UsageError(f"{name} is a time from 0 on", option=name)
    return scaling
