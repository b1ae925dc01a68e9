"""What is counted of a version and its replicas, and told in Prometheus' words."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from itertools import accumulate

from jupyter_aiinfra.routing.status import (
    BUCKETS_MS,
    Agreement,
    EndpointStatus,
    Latency,
    VersionStatus,
)

__all__ = ["Counts", "prometheus"]

_FAILED = 500
_BUSY = 429


class Counts:
    """The counters of one version."""

    __slots__ = (
        "_tallied",
        "buckets",
        "different",
        "errors",
        "rejected",
        "requests",
        "same",
        "total",
    )

    def __init__(self) -> None:
        self.requests = 0
        self.errors = 0
        self.rejected = 0
        self.same = 0
        self.different = 0
        self.buckets = [0] * (len(BUCKETS_MS) + 1)
        self.total = 0.0
        self._tallied = 0

    def untallied(self) -> int:
        """Return how many requests came since this was asked before."""
        new, self._tallied = self.requests - self._tallied, self.requests
        return new

    def answered(self, status: int, seconds: float) -> None:
        """Count an answer."""
        self.requests += 1
        if status >= _FAILED:
            self.errors += 1
        elif status == _BUSY:
            self.rejected += 1
        milliseconds = 1000 * seconds
        self.buckets[bisect_left(BUCKETS_MS, milliseconds)] += 1
        self.total += milliseconds

    def compared(self, *, same: bool) -> None:
        """Count a comparison with another version's answer."""
        if same:
            self.same += 1
        else:
            self.different += 1

    def status(self) -> VersionStatus:
        """Return them as they are told, without replicas."""
        return VersionStatus(
            requests=self.requests,
            errors=self.errors,
            rejected=self.rejected,
            latency=Latency(counts=tuple(self.buckets), total_ms=self.total),
            agreement=Agreement(same=self.same, different=self.different),
        )


def prometheus(endpoints: Mapping[str, EndpointStatus]) -> bytes:
    """Return the state of endpoints as Prometheus reads it."""
    versions = [
        (f'endpoint="{name}",version="{_escaped(version)}"', told)
        for name, endpoint in endpoints.items()
        for version, told in endpoint.versions.items()
    ]
    replicas = [
        (f'{label},replica="{_escaped(number)}"', replica)
        for label, told in versions
        for number, replica in told.replicas.items()
    ]
    named = [(f'endpoint="{name}"', endpoint) for name, endpoint in endpoints.items()]
    text = _Text()
    text.series(
        "requests_total",
        "counter",
        "Answers, errors included.",
        ((label, told.requests) for label, told in versions),
    )
    text.series(
        "errors_total",
        "counter",
        "Answers 5xx, late or lost.",
        ((label, told.errors) for label, told in versions),
    )
    text.series(
        "rejected_total",
        "counter",
        "Answers 429 of replicas.",
        ((label, told.rejected) for label, told in versions),
    )
    text.series(
        "in_flight",
        "gauge",
        "Requests under way.",
        ((label, told.in_flight) for label, told in versions),
    )
    text.histogram(
        "latency_seconds",
        "From sending to the head of the answer.",
        ((label, told.latency) for label, told in versions),
    )
    text.series(
        "compared_total",
        "counter",
        "Answers compared with another version's.",
        (
            (f'{label},result="{result}"', number)
            for label, told in versions
            for result, number in (
                ("same", told.agreement.same),
                ("different", told.agreement.different),
            )
        ),
    )
    text.series(
        "replica_requests_total",
        "counter",
        "Answers, by replica.",
        ((label, told.requests) for label, told in replicas),
    )
    text.series(
        "replica_errors_total",
        "counter",
        "Errors, by replica.",
        ((label, told.errors) for label, told in replicas),
    )
    text.series(
        "replica_up",
        "gauge",
        "Whether it is asked.",
        ((label, int(told.state == "up")) for label, told in replicas),
    )
    text.series(
        "weight",
        "gauge",
        "Share of the traffic, in proportion.",
        (
            (f'{label},version="{_escaped(share.version)}"', share.weight)
            for label, told in named
            for share in told.traffic
        ),
    )
    text.series(
        "held",
        "gauge",
        "Requests that wait for a replica.",
        ((label, told.held) for label, told in named),
    )
    text.series(
        "refused_total",
        "counter",
        "Requests that the router refused.",
        ((label, told.refused) for label, told in named),
    )
    return text.written()


class _Text:
    def __init__(self) -> None:
        self._lines: list[str] = []

    def _named(self, name: str, kind: str, about: str) -> None:
        self._lines.append(f"# HELP aiinfra_router_{name} {about}")
        self._lines.append(f"# TYPE aiinfra_router_{name} {kind}")

    def series(self, name: str, kind: str, about: str, rows: Iterable[tuple[str, float]]) -> None:
        self._named(name, kind, about)
        self._lines += (f"aiinfra_router_{name}{{{label}}} {value:.17g}" for label, value in rows)

    def histogram(self, name: str, about: str, rows: Iterable[tuple[str, Latency]]) -> None:
        self._named(name, "histogram", about)
        for label, told in rows:
            bounds = [*(f"{bound / 1000:g}" for bound in told.buckets_ms), "+Inf"]
            upto = list(accumulate(told.counts))
            self._lines += (
                f'aiinfra_router_{name}_bucket{{{label},le="{bound}"}} {count}'
                for bound, count in zip(bounds, upto, strict=True)
            )
            self._lines.append(f"aiinfra_router_{name}_sum{{{label}}} {told.total_ms / 1000:.17g}")
            self._lines.append(f"aiinfra_router_{name}_count{{{label}}} {upto[-1]}")

    def written(self) -> bytes:
        return ("\n".join(self._lines) + "\n").encode()


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
