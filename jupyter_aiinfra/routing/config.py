"""What the router is told, in ``router.json``; :mod:`.files` reads, checks and writes it."""

from __future__ import annotations

import msgspec

__all__ = [
    "ApiKey",
    "Config",
    "Endpoint",
    "Gates",
    "Replica",
    "Rollout",
    "Sampling",
    "Share",
    "Tunnel",
    "Version",
]


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    """What is read from the file. Fields that are not known are left alone, for newer writers."""


class Tunnel(_Record, frozen=True, kw_only=True):
    """A program that the router keeps running, behind which the address is: ``ssh … -N -L …``."""

    argv: tuple[str, ...]


class Replica(_Record, frozen=True, kw_only=True):
    """One process that serves a version.

    Parameters
    ----------
    id
        The job's.
    address
        ``unix:/path`` or ``http://host:port``; with a tunnel, its near end.
    """

    id: str
    address: str
    tunnel: Tunnel | None = None


class Version(_Record, frozen=True, kw_only=True):
    """The replicas of one version; none: it is scaled to zero, and the first request waits."""

    replicas: tuple[Replica, ...] = ()


class Share(_Record, frozen=True, kw_only=True):
    """How much of the traffic goes to a version.

    Parameters
    ----------
    weight
        In proportion to the others'.
    header
        Requests that carry all of these go there, whatever the weights.
    """

    version: str
    weight: float = 0.0
    header: dict[str, str] | None = None


class Gates(_Record, frozen=True, kw_only=True):
    """What a new version has to hold; ``None`` is not looked at.

    Parameters
    ----------
    error_rate
        The most of its answers that may be errors (5xx, none in time, or none at all).
    p95_ms
        Within which 95 of 100 answers come.
    agreement
        The least of answers that equal the old version's to the same request. Such requests are
        copied to the other version, aside.
    tolerance
        By how much of it a number may differ and still be equal.
    """

    error_rate: float | None = 0.02
    p95_ms: float | None = 200.0
    agreement: float | None = None
    tolerance: float = 1e-3


class Rollout(_Record, frozen=True, kw_only=True):
    """A change from one version to another, in steps, decided by the router alone.

    Parameters
    ----------
    id
        A new one is a new rollout; a known one goes on where it was.
    steps
        Percent of the traffic for the new version. Where the last one is less than 100, it stays
        there, is watched, and is not promoted.
    step_seconds, least_requests
        Both have to be over before the next step. A broken gate ends it at once. With a least of
        0 a step is over without requests, too; those that come are still judged.
    kind
        ``canary``, ``blue-green`` or ``rolling``: only a word, the steps say what is done.
    """

    id: str
    from_: str = msgspec.field(name="from")
    to: str
    steps: tuple[float, ...] = (5.0, 25.0, 50.0, 100.0)
    step_seconds: float = 60.0
    least_requests: int = 50
    gates: Gates = msgspec.field(default_factory=Gates)
    kind: str = "canary"


class ApiKey(_Record, frozen=True, kw_only=True):
    """One caller; see :mod:`.keys`.

    Parameters
    ----------
    digest
        SHA-256 of the whole secret, ``aii_ID_…``.
    """

    id: str
    name: str
    digest: str
    scopes: tuple[str, ...] = ("predict",)
    per_second: float | None = None


class Sampling(_Record, frozen=True, kw_only=True):
    """Which requests are kept with their answers.

    Parameters
    ----------
    rate
        Of all requests, 0 to 1.
    redact
        JSON pointers (``/inputs/0/name``; ``*`` is any member), and names of members, tensors and
        columns wherever they are: their values are not kept, in requests and answers.
    keep
        How many samples; the oldest go.
    days
        How long they are kept.
    since
        Nothing older is this endpoint's, in seconds since 1970: another had its name.
    """

    rate: float = 0.0
    redact: tuple[str, ...] = ()
    keep: int = 1000
    days: float = 7.0
    since: float = 0.0


class Endpoint(_Record, frozen=True, kw_only=True):
    """One endpoint.

    Parameters
    ----------
    shadow
        A version that gets a copy of each request; its answers are compared and thrown away.
    keys
        ``None``: anybody may call. An empty list: nobody may.
    cors
        Origins whose pages may call it; ``*`` is any.
    max_body
        Bytes of a request.
    timeout
        Seconds to the first byte of an answer.
    body_timeout
        Seconds for a request to arrive.
    hold_seconds, max_held
        How long, and how many requests wait for a first replica.
    idempotent
        Whether a prediction may be asked again elsewhere when its replica died before it answered:
        true where asking a model changes nothing.
    sticky
        Requests with the same value of this header go to the same version.
    tolerance
        By how much of it a number of a shadow's answer may differ and still be equal.
    """

    versions: dict[str, Version] = msgspec.field(default_factory=dict)
    traffic: tuple[Share, ...] = ()
    shadow: str | None = None
    rollout: Rollout | None = None
    keys: tuple[ApiKey, ...] | None = None
    cors: tuple[str, ...] = ()
    max_body: int = 16 * 2**20
    timeout: float = 30.0
    body_timeout: float = 30.0
    hold_seconds: float = 60.0
    max_held: int = 256
    sampling: Sampling = msgspec.field(default_factory=Sampling)
    idempotent: bool = True
    sticky: str = "x-session-id"
    tolerance: float = 1e-3


class Config(_Record, frozen=True, kw_only=True):
    """All of it.

    Parameters
    ----------
    revision
        Grows with each change; the status tells the one in effect.
    port
        0: any free one; the router goes on with it after a restart.
    grpc_port
        Where it takes gRPC, likewise; ``None``: nowhere.
    """

    revision: int = 0
    host: str = "127.0.0.1"
    port: int = 0
    grpc_port: int | None = None
    endpoints: dict[str, Endpoint] = msgspec.field(default_factory=dict)
