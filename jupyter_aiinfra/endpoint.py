"""The nouns of endpoints: what is deployed, each version of it, its replicas, and who may call.

As in :mod:`~jupyter_aiinfra.model`: frozen, ``None`` means unknown, times are seconds since the
epoch.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Literal

from jupyter_aiinfra.errors import UsageError
from jupyter_aiinfra.model import EnvironmentSpec, FileRef, Submitter, short_id
from jupyter_aiinfra.routing.keys import SCOPES, digest_of, new_secret

__all__ = [
    "SCOPES",
    "Endpoint",
    "EndpointKey",
    "EndpointOptions",
    "EndpointVersion",
    "Gates",
    "Package",
    "Reach",
    "Replica",
    "ReplicaOptions",
    "ReplicaState",
    "Rollout",
    "RolloutKind",
    "RouterRecord",
    "Scaling",
    "Share",
    "VersionState",
    "check_endpoint_name",
    "new_endpoint_id",
    "new_key",
]

RolloutKind = Literal["canary", "blue-green", "rolling"]

_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_KEY_NAME: Final = re.compile(r"[a-z0-9-]{1,63}")


class VersionState(str, Enum):
    """What is known of a version.

    ``STARTING`` has no replica yet that answers, ``READY`` has had one, ``FAILED`` is given up with
    a reason, ``RETIRED`` runs no more because another took its place.
    """

    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    RETIRED = "retired"


class ReplicaState(str, Enum):
    """What is known of a replica.

    ``DUE`` is to be launched under the id that it has, ``SERVING`` has a job, ``LEAVING`` gets no
    new requests and is then stopped, ``GONE`` is over.
    """

    DUE = "due"
    SERVING = "serving"
    LEAVING = "leaving"
    GONE = "gone"


@dataclass(frozen=True, kw_only=True)
class Package:
    """What is served: a folder with ``endpoint.json``, kept by the digests of its files.

    Parameters
    ----------
    digest
        Of all files and their names: two packages of one digest serve the same.
    manifest
        What ``endpoint.json`` says.
    facts
        What ``package.json`` says of where it came from; empty where there is none.
    """

    name: str
    digest: str
    size_bytes: int
    files: tuple[FileRef, ...]
    manifest: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ReplicaOptions:
    """How each replica of a version runs.

    Parameters
    ----------
    workers
        Processes of a replica; ``None``: one on a GPU, else one for each core.
    secrets
        Variables whose values the model is given and that nobody writes down.
    fallback_pool
        Where the place of a replica is taken that was lost on the version's own pool, as its
        machines may be taken back at any time.
    """

    workers: int | None = None
    max_batch: int = 64
    max_queue: int = 1024
    gpus: int = 0
    share: bool = False
    priority: int = 0
    environment: EnvironmentSpec | None = None
    environment_files: tuple[FileRef, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    drain_seconds: float = 30.0
    fallback_pool: str | None = None


@dataclass(frozen=True, kw_only=True)
class EndpointVersion:
    """What an endpoint serves, or served: never changed but for how it stands.

    Parameters
    ----------
    wanted
        How many replicas there are to be.
    retire_at
        From then on it runs no more, unless it has traffic again.
    failures, failed_at
        How many of its replicas in a row ended by themselves, and when the last one did.
    """

    endpoint: str
    number: int
    package: Package
    pool: str
    options: ReplicaOptions = field(default_factory=ReplicaOptions)
    wanted: int = 1
    state: VersionState = VersionState.STARTING
    reason: str | None = None
    retire_at: float | None = None
    failures: int = 0
    failed_at: float | None = None
    created_at: float = field(default_factory=time.time)
    created_by: str | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Share:
    """Which part of the requests a version gets; with `header`, whatever carries that as well."""

    version: int
    weight: float
    header: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Gates:
    """What the new version must hold in each step; ``None`` asks nothing.

    Parameters
    ----------
    error_rate
        At most this part of its requests may fail.
    p95_ms
        95 of 100 requests are answered within so many milliseconds.
    agreement
        At least this part of its answers is that of the old version.
    """

    error_rate: float | None = 0.02
    p95_ms: float | None = 200.0
    agreement: float | None = None


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """A change from one version to another, step by step.

    The router goes through the steps and decides; it waits until ``begun``, which is when the
    replicas of the new version answer.
    """

    id: str
    old: int
    new: int
    kind: RolloutKind
    steps: tuple[float, ...]
    step_seconds: float = 60.0
    least_requests: int = 50
    gates: Gates = field(default_factory=Gates)
    begun: bool = False
    asked_at: float = field(default_factory=time.time)
    by: str | None = None


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Between which numbers of replicas a version is kept, and by what.

    Parameters
    ----------
    least, most
        With ``least`` 0 an endpoint that nobody calls runs nothing: its next request waits for a
        replica.
    in_flight
        How many requests at once a replica is good for.
    p95_ms
        Slower than this, it gets one more; ``None`` looks at the number of requests only.
    idle_seconds
        After how long without a request nothing is run.
    cool_seconds
        How long fewer must have been enough before there are fewer.
    """

    least: int = 1
    most: int = 1
    in_flight: float = 8.0
    p95_ms: float | None = None
    idle_seconds: float = 300.0
    cool_seconds: float = 60.0


@dataclass(frozen=True, kw_only=True)
class EndpointOptions:
    """What the router does for an endpoint, whatever the version.

    Parameters
    ----------
    hold_seconds, max_held
        How long, and how many, requests wait for a replica where none answers.
    timeout_seconds
        Until an answer has begun.
    cors
        Origins whose pages may call it.
    sampling, redact, samples, sample_days
        The part of requests whose bodies are kept, what is left out of them (JSON pointers, and
        names wherever they are), how many are kept, and for how long.
    keep_seconds
        How long replicas of the version before are kept for a quick way back.
    idempotent
        Whether a request may be asked again elsewhere when its replica is lost before it answered.
    sticky
        Requests with the same value of this header go to the same version.
    tolerance
        By how much of it a number may differ from another version's answer and still be equal.
    """

    hold_seconds: float = 60.0
    max_held: int = 256
    timeout_seconds: float = 30.0
    max_body_bytes: int = 16 << 20
    cors: tuple[str, ...] = ()
    sampling: float = 0.0
    redact: tuple[str, ...] = ()
    samples: int = 1000
    sample_days: float = 7.0
    keep_seconds: float = 600.0
    idempotent: bool = True
    sticky: str = "x-session-id"
    tolerance: float = 1e-3


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """An endpoint as it stands.

    Parameters
    ----------
    router
        Whose router answers for it: that of one home on one machine.
    newest
        The number of its newest version.
    shadow
        A version that gets a copy of each request, whose answers nobody gets.
    revision
        Grows with each change of this row, its versions, replicas and keys.
    """

    id: str
    name: str
    router: str
    newest: int = 1
    options: EndpointOptions = field(default_factory=EndpointOptions)
    scaling: Scaling = field(default_factory=Scaling)
    traffic: tuple[Share, ...] = ()
    shadow: int | None = None
    rollout: Rollout | None = None
    removed_at: float | None = None
    revision: int = 0
    created_at: float = field(default_factory=time.time)
    created_by: str | None = None

    @property
    def main(self) -> int | None:
        """The version with the largest part of the traffic."""
        weighed = [share for share in self.traffic if share.weight > 0]
        return max(weighed, key=lambda share: share.weight).version if weighed else None

    @property
    def in_use(self) -> frozenset[int]:
        """The versions whose replicas are needed now."""
        used = {share.version for share in self.traffic}
        used |= {self.shadow} if self.shadow is not None else set()
        if self.rollout is not None:
            used |= {self.rollout.old, self.rollout.new}
        return frozenset(used)


@dataclass(frozen=True, kw_only=True)
class Reach:
    """Where a replica listens, as seen from this machine.

    Parameters
    ----------
    address
        ``unix:/path`` or ``http://host:port``.
    tunnel
        A program that has to run for it, such as an ssh that forwards the socket.
    """

    address: str
    tunnel: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Replica:
    """One copy of a version. Its id is that of its job, chosen before the launch.

    Parameters
    ----------
    reach
        How the router gets there, once it is launched.
    claim
        The process that launches it just now.
    """

    id: str
    endpoint: str
    version: int
    state: ReplicaState = ReplicaState.DUE
    reason: str | None = None
    reach: Reach | None = None
    claim: Submitter | None = None
    created_at: float = field(default_factory=time.time)
    ended_at: float | None = None
    leaving_at: float | None = None


@dataclass(frozen=True, kw_only=True)
class EndpointKey:
    """Who may call an endpoint: the digest of a secret that is nowhere else."""

    id: str
    endpoint: str
    name: str
    digest: str
    scopes: tuple[str, ...] = ("predict",)
    per_second: float | None = None
    created_at: float = field(default_factory=time.time)
    created_by: str | None = None
    ends_at: float | None = None


@dataclass(frozen=True, kw_only=True)
class RouterRecord:
    """The router of one home on one machine, by the job that it is."""

    key: str
    job: str
    pool: str
    claim: Submitter | None = None
    revision: int = 0


def new_endpoint_id() -> str:
    """Return a new id: short enough to be typed."""
    return short_id("e", 7)


def check_endpoint_name(name: str) -> str:
    """Return a name that can stand in a URL, or raise UsageError."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name of an endpoint",
            hint="small letters, digits and dashes, at most 63: it stands in a URL",
            option="name",
        )
    return name


def new_key(
    endpoint: str,
    name: str,
    *,
    scopes: tuple[str, ...] = ("predict",),
    per_second: float | None = None,
    by: str | None = None,
) -> tuple[str, EndpointKey]:
    """Return a new secret, and what is kept of it.

    Raises
    ------
    UsageError
        The name, a scope or the rate is not one.
    """
    if not _KEY_NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name of a key", hint="small letters, digits and dashes", option="name"
        )
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise UsageError(
            f"there is no scope {unknown[0]!r}" if unknown else "a key is for something",
            hint=f"choose from {', '.join(SCOPES)}",
            option="scope",
        )
    if per_second is not None and not 0 < per_second < float("inf"):
        raise UsageError(f"{per_second!r} is no rate", hint="a number above 0", option="per_second")
    key_id = short_id("k", 7)
    secret = new_secret(key_id)
    key = EndpointKey(
        id=key_id,
        endpoint=endpoint,
        name=name,
        digest=digest_of(secret),
        scopes=scopes,
        per_second=per_second,
        created_by=by,
    )
    return secret, key
