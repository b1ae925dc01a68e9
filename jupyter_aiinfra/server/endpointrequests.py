"""What a browser asks of endpoints; what it is answered is in ``endpointwire.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from jupyter_aiinfra.endpoint import EndpointOptions, Gates, ReplicaOptions, Scaling
from jupyter_aiinfra.engine.endpointviews import replicas_of

__all__ = [
    "DeployRequest",
    "EndpointKeyRequest",
    "EndpointOptionsRequest",
    "ReplicasAsked",
    "RollbackToRequest",
    "ScaleRequest",
    "TrafficRequest",
    "UpdateRequest",
    "given_of",
]

_How = Literal["rolling", "blue-green", "canary", "shadow"]
_OTHERWISE = frozenset({"spot", "environment", "replay"})


def given_of(asked: Any) -> dict[str, Any]:
    """Return the fields of a request as its own type has them."""
    return {each.name: getattr(asked, each.name) for each in fields(asked)}


@dataclass(frozen=True, kw_only=True)
class ReplicasAsked:
    """How replicas run; what is ``null`` is as before, or as in a new endpoint.

    ``spot`` says that machines of the pool may be taken back, and wants a ``fallback_pool``;
    ``false`` takes that away. ``environment`` is a file below the server's root, or ``current`` for
    the pool's own. ``secrets`` are variables of this server. Without ``replay`` it is not held
    against its recorded calls.
    """

    workers: int | None = None
    gpus: int | None = None
    share: bool | None = None
    spot: bool | None = None
    fallback_pool: str | None = None
    max_batch: int | None = None
    max_queue: int | None = None
    environment: str | None = None
    env: Mapping[str, str] | None = None
    secrets: tuple[str, ...] | None = None
    drain_seconds: float | None = None
    replay: bool = True

    def replicas(self, old: ReplicaOptions) -> ReplicaOptions:
        """Return how they run, where `old` is how they ran before."""
        own = {each.name for each in fields(ReplicasAsked)} - _OTHERWISE
        values = {name: getattr(self, name) for name in own}
        return replicas_of(old, values, spot=self.spot)


@dataclass(frozen=True, kw_only=True)
class DeployRequest(ReplicasAsked):
    """Serve what is in a folder below the server's root."""

    folder: str
    pool: str
    name: str | None = None
    scaling: Scaling = field(default_factory=Scaling)
    options: EndpointOptions = field(default_factory=EndpointOptions)
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class UpdateRequest(ReplicasAsked):
    """Serve another version; without a folder what is served, otherwise.

    ``steps`` are percentages of a canary; ``header`` sends there only what carries it.
    """

    folder: str | None = None
    pool: str | None = None
    how: _How = "rolling"
    steps: tuple[float, ...] = ()
    step_seconds: float | None = None
    least_requests: int | None = None
    gates: Gates = field(default_factory=Gates)
    header: Mapping[str, str] | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class RollbackToRequest:
    """Go back to a version; ``null``: what was before."""

    to: int | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class TrafficRequest:
    """Divide the traffic: weights by version."""

    weights: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class ScaleRequest:
    """Between which numbers of replicas to stay; what is ``null`` stays as it is."""

    least: int | None = None
    most: int | None = None
    in_flight: float | None = None
    p95_ms: float | None = None
    idle_seconds: float | None = None
    cool_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class EndpointOptionsRequest(EndpointOptions):
    """What the router does; what is left out is as in a new endpoint."""


@dataclass(frozen=True, kw_only=True)
class EndpointKeyRequest:
    """Make a key."""

    name: str
    scopes: tuple[str, ...] = ("predict",)
    per_second: float | None = None
