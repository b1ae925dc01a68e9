"""What the router tells at ``GET /status`` on its control socket."""

from __future__ import annotations

import msgspec

from jupyter_aiinfra.routing.config import Share

__all__ = [
    "BUCKETS_MS",
    "Agreement",
    "EndpointStatus",
    "Latency",
    "ReplicaStatus",
    "RolloutStatus",
    "Status",
    "Tally",
    "VersionStatus",
    "parse_status",
]

BUCKETS_MS = (0.5, 1, 2.5, 5, 10, 25, 50, 100, 200, 500, 1000, 2500, 10000)


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    """Counts are those since the router started."""


class ReplicaStatus(_Told, frozen=True, kw_only=True):
    """One replica.

    Parameters
    ----------
    state
        ``starting`` (not ready yet), ``up``, ``ejected`` (was up, and fails), or ``draining`` (not
        in the configuration any more, with requests under way: end its job when it is gone here).
    reason
        Why it is not up, in words.
    """

    state: str
    in_flight: int = 0
    requests: int = 0
    errors: int = 0
    reason: str = ""


class Latency(_Told, frozen=True, kw_only=True):
    """How long answers took.

    Parameters
    ----------
    counts
        One for each of `buckets_ms` (up to and with it, and above the one before), and one for
        what is above all of them.
    """

    buckets_ms: tuple[float, ...] = BUCKETS_MS
    counts: tuple[int, ...] = (0,) * (len(BUCKETS_MS) + 1)
    total_ms: float = 0.0


class Agreement(_Told, frozen=True, kw_only=True):
    """Answers compared with the other version's to the same request."""

    same: int = 0
    different: int = 0


class VersionStatus(_Told, frozen=True, kw_only=True):
    """One version.

    Parameters
    ----------
    requests
        Answered, errors included, copies not.
    errors
        5xx, not in time, or not at all.
    rejected
        429 of a replica: it has too much to do.
    in_flight
        Under way now.
    agreement
        Of what was copied to it aside, and of its answers that were compared in a rollout.
    """

    requests: int = 0
    errors: int = 0
    in_flight: int = 0
    rejected: int = 0
    latency: Latency = msgspec.field(default_factory=Latency)
    agreement: Agreement = msgspec.field(default_factory=Agreement)
    replicas: dict[str, ReplicaStatus] = msgspec.field(default_factory=dict)


class RolloutStatus(_Told, frozen=True, kw_only=True):
    """A rollout, and what was decided.

    Parameters
    ----------
    step
        Which of the steps is on, from 0.
    state
        ``running``, ``promoted`` or ``rolled-back``. The last two stay until the configuration
        names another rollout or none, and hold against its traffic.
    reason
        What it waits for, or why it was decided, in words.
    since
        When this step, or the decision, began; seconds since 1970.
    requests, errors, slow, same, different
        Of the new version in this step (at its end, for one that is decided).
    """

    id: str
    step: int = 0
    state: str = "running"
    reason: str = ""
    since: float = 0.0
    requests: int = 0
    errors: int = 0
    slow: int = 0
    same: int = 0
    different: int = 0


class Tally(_Told, frozen=True, kw_only=True):
    """How many requests a version has answered, also by routers before this one.

    Parameters
    ----------
    since
        From when on all are counted, seconds since 1970: when its endpoint was deployed, unless
        what was counted was lost.
    hours
        Beginnings of hours of the last week, and how many in each; hours without any are left out.
    """

    since: float
    requests: int = 0
    hours: tuple[tuple[int, int], ...] = ()


class EndpointStatus(_Told, frozen=True, kw_only=True):
    """One endpoint.

    Parameters
    ----------
    traffic
        As in effect now; weights of a rollout are percent.
    held
        Requests that wait for a first replica.
    refused
        Answered by the router itself for what was wrong with them (keys, rates, sizes, paths).
    last_request
        When one came, seconds since 1970; ``None``: none since the router started.
    counted_since, tallies
        What outlives the router, by version, also of those that are not there any more; a version
        that is not in it has had no request since then.
    """

    traffic: tuple[Share, ...] = ()
    rollout: RolloutStatus | None = None
    held: int = 0
    refused: int = 0
    last_request: float | None = None
    counted_since: float | None = None
    tallies: dict[str, Tally] = msgspec.field(default_factory=dict)
    versions: dict[str, VersionStatus] = msgspec.field(default_factory=dict)


class Status(_Told, frozen=True, kw_only=True):
    """The whole router.

    Parameters
    ----------
    revision
        Of the configuration in effect.
    grpc_port
        Where gRPC is taken; 0: nowhere.
    started
        When this process began to count, seconds since 1970.
    problem
        Why the newest configuration is not in effect, or not all of it; empty where it is.
    """

    revision: int
    pid: int
    port: int
    grpc_port: int = 0
    host: str = "127.0.0.1"
    started: float = 0.0
    problem: str = ""
    endpoints: dict[str, EndpointStatus] = msgspec.field(default_factory=dict)


# Made under the import's lock, as the decoder of the configuration is.
_decoder = msgspec.json.Decoder(Status)


def parse_status(data: bytes | str) -> Status:
    """Return the status in an answer.

    Raises
    ------
    msgspec.MsgspecError
        It is none.
    """
    return _decoder.decode(data)
